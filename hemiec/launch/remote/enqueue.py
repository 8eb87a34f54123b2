"""Put flows into jobflow-remote's queue: only jobs that are missing, joined to the flows that they wait for."""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import bson
from jobflow import Flow, Job, OnMissing

from hemiec.errors import LaunchError
from hemiec.launch.fireworks.large import MAX_ARGUMENTS_BYTES, move_large_arguments
from hemiec.launch.remote.config import scheduler_words
from hemiec.launch.remote.jobs import blocked_jobs
from hemiec.store.database import Database, Document
from hemiec.store.queue.remote import ABOUT, STATES, in_chunks, latest

if TYPE_CHECKING:
    from jobflow_remote import JobController

#: Flows written in one go.
_BATCH = 250
#: Marks of a flow that is being written, or being merged into another one.
_WRITING, _INTO = "metadata.hemiec.writing", "metadata.hemiec.into"
_LOCK_WAIT_S = 60
#: A job with the uuids of its parents.
Node = tuple[Job, list[str]]


def add_missing(database: Database, controller: JobController, flows: Sequence[Flow], campaign: str) -> int:
    """Add the jobs that neither have a result nor are in the queue; see :meth:`hemiec.launch.queue.Queue.add_missing`.

    Raises
    ------
    LaunchError
        If the project has no worker for a category of jobs, or a flow that a job waits for stays locked.
    """
    graphs = [(flow, list(flow.iterflow())) for flow in flows]
    _require_workers(controller, {_category(job) for _, graph in graphs for job, _ in graph} - {None})
    known = known_jobs(database, controller, {job.uuid for _, graph in graphs for job, _ in graph})
    claim(controller, campaign, [u for u, entry in known.items() if entry["flow"] is not None])
    unwritten: list[tuple[Flow, list[Node]]] = []
    in_unwritten: set[str] = set()
    added = 0
    for flow, graph in graphs:
        missing = [node for node in graph if node[0].uuid not in known]
        if not missing:
            continue
        added += len(missing)
        for job, _ in missing:
            job.metadata["hemiec"]["campaigns"] = [campaign]
        chosen = {job.uuid for job, _ in missing}
        outside = {u for job, _ in missing for u in job.input_uuids} - chosen
        if outside & in_unwritten:
            _write(database, controller, unwritten)
            known |= known_jobs(database, controller, in_unwritten)
            unwritten, in_unwritten = [], set()
        known |= known_jobs(database, controller, outside - set(known))
        waits = _waits(controller, missing, known)
        if waits:
            _join(database, controller, missing, known, waits)
            known |= known_jobs(database, controller, chosen)
        else:
            unwritten.append((flow, missing))
            in_unwritten |= chosen
            known |= {u: {"state": "WAITING", "flow": None} for u in chosen}
    _write(database, controller, unwritten)
    return added


def known_jobs(database: Database, controller: JobController, uuids: Collection[str]) -> dict[str, Document]:
    """Return uuid to state and flow of every job that is in the queue, or has a result (then without a flow)."""
    fields = {"_id": 0, "uuid": 1, "index": 1, "state": 1, "job.hosts": 1}
    known: dict[str, Document] = {}
    for part in in_chunks(uuids):
        for found, document in latest(controller.jobs.find(part, fields)).items():
            known[found] = {"state": document["state"], "flow": document["job"]["hosts"][-1]}
    # Results without a job come from elsewhere (restored, another backend); they count as finished.
    for part in in_chunks(u for u in uuids if u not in known):
        for output in database["outputs"].find({**part, "output": {"$ne": None}}, {"_id": 0, "uuid": 1}):
            known[output["uuid"]] = {"state": "COMPLETED", "flow": None}
    return known


def claim(controller: JobController, campaign: str, uuids: Collection[str]) -> None:
    """Make jobs in the queue jobs of a campaign too."""
    for part in in_chunks(uuids):
        query = {**part, f"{ABOUT}.campaigns": {"$ne": campaign}}
        controller.jobs.update_many(query, {"$addToSet": {f"{ABOUT}.campaigns": campaign}})


def release(controller: JobController, campaign: str, uuids: Collection[str]) -> None:
    """Take jobs from a campaign; they stay in the queue."""
    for part in in_chunks(uuids):
        controller.jobs.update_many(part, {"$pull": {f"{ABOUT}.campaigns": campaign}})


def _waits(controller: JobController, nodes: Sequence[Node], known: dict[str, Document]) -> dict[str, set[str]]:
    """Return uuid of a new job to the jobs of other flows that it has to wait for; only jobs that wait are in it.

    A job that tolerates failures does not wait for one that has failed, or is blocked by one that has.
    """
    chosen = {job.uuid for job, _ in nodes}
    open_ones = {u for u, entry in known.items() if entry["flow"] is not None and entry["state"] != "COMPLETED"}
    inputs = {job.uuid: (set(job.input_uuids) - chosen) & open_ones for job, _ in nodes}
    tolerant = {job.uuid for job, _ in nodes if job.config.on_missing_references != OnMissing.ERROR}
    asked = {u for found in inputs.values() for u in found}
    ended = {u for u in asked if STATES[known[u]["state"]] in ("failed", "cancelled")}
    ended |= blocked_jobs(controller.jobs, {u for u in asked if known[u]["state"] == "WAITING"})
    waits = {u: found - ended if u in tolerant else found for u, found in inputs.items()}
    return {u: found for u, found in waits.items() if found}


def _write(database: Database, controller: JobController, flows: Sequence[tuple[Flow, list[Node]]]) -> None:
    """Write new flows; references to jobs that are not among their own are resolved from the store.

    The flow comes before its jobs, as in jobflow-remote's own ``add_flow``, which writes one at a time.
    """
    from jobflow_remote.jobs.data import get_initial_flow_doc_dict

    for k in range(0, len(flows), _BATCH):
        flow_documents, jobs = [], []
        for flow, nodes in flows[k : k + _BATCH]:
            chosen = {job.uuid for job, _ in nodes}
            parents = {job.uuid: [u for u in above if u in chosen] for job, above in nodes}
            # A new name: what is missing of a flow may be written while the rest of it is there.
            name = str(uuid.uuid4())
            documents = _documents(database, controller, [job for job, _ in nodes], parents, name)
            document = get_initial_flow_doc_dict(flow, documents)
            document |= {"uuid": name, "metadata": {**document["metadata"], "hemiec": {"writing": True}}}
            flow_documents.append(document)
            jobs += documents
        controller.flows.insert_many(flow_documents)
        controller.jobs.insert_many(jobs)
        names = [document["uuid"] for document in flow_documents]
        controller.flows.update_many({"uuid": {"$in": names}}, {"$unset": {"metadata.hemiec": ""}})


def _documents(
    database: Database, controller: JobController, jobs: Sequence[Job], parents: dict[str, list[str]], flow_uuid: str
) -> list[Document]:
    """Return the documents of new jobs of a flow."""
    counter = controller.auxiliary.find_one_and_update({"next_id": {"$exists": True}}, {"$inc": {"next_id": len(jobs)}})
    prefix = controller.project.queue.db_id_prefix or ""
    documents = []
    for k, job in enumerate(jobs):
        db_id = f"{prefix}{counter['next_id'] + k}"
        document = _document(controller, job, parents[job.uuid], db_id)
        if len(bson.encode(document)) > MAX_ARGUMENTS_BYTES:
            with closing(database.job_store()) as store:
                move_large_arguments(job, store)
            document = _document(controller, job, parents[job.uuid], db_id)
        document["job"]["hosts"] = [*document["job"]["hosts"][:-1], flow_uuid]
        documents.append(document)
    return documents


def _document(controller: JobController, job: Job, parents: list[str], db_id: str) -> Document:
    from jobflow_remote.jobs.data import get_initial_job_doc_dict

    worker, resources = placement(controller.project, job.metadata.get("hemiec", {}).get("resources"))
    priority = job.config.manager_config.get("_priority", 0)
    document: Document = get_initial_job_doc_dict(
        job, parents, db_id, worker=worker, exec_config=None, resources=resources, priority=priority
    )
    return document


def _category(job: Job) -> str | None:
    category: str | None = (job.metadata.get("hemiec", {}).get("resources") or {}).get("category")
    return category


def _require_workers(controller: JobController, categories: Iterable[str | None]) -> None:
    for category in categories:
        if category not in controller.project.workers:
            raise LaunchError(
                f"project {controller.project.name!r} has no worker {category!r} for the jobs of that category; "
                f"it has {', '.join(controller.project.workers)}.",
                mend=f"add a worker {category!r} to the project file",
            )


def placement(project: Any, wanted: Document | None) -> tuple[str, Document | None]:
    """Return the worker that takes a job, and what it asks of the scheduler, in the scheduler's words.

    Parameters
    ----------
    project
        The jobflow-remote project.
    wanted
        ``{category, cores, memory_gib, gpus, walltime_min}``; None puts the job on the first worker.

    Returns
    -------
    tuple
        The worker's name; and its own resources with the job's over them, None where the worker's alone count: it runs
        jobs in allocations of its own (batch), or has no scheduler.
    """
    if wanted is None:
        return next(iter(project.workers)), None
    name = wanted["category"]
    worker = project.workers[name]
    scheduler = worker.get_scheduler_io()
    if worker.is_batch or "processes_per_node" not in scheduler.supported_qresources_keys:
        return name, None
    cores = wanted["cores"]
    words = scheduler_words(
        scheduler,
        {
            "nodes": 1,
            "processes_per_node": cores,
            "memory_per_thread": math.ceil(wanted["memory_gib"] * 1024 / cores),
            "time_limit": wanted["walltime_min"] * 60,
            "gpus_per_job": wanted["gpus"] or None,
        },
    )
    site = dict(worker.resources or {})
    if "mem_per_cpu" in words:  # Slurm takes one of the two
        site.pop("mem", None)
    return name, site | words


def _join(
    database: Database,
    controller: JobController,
    nodes: Sequence[Node],
    known: dict[str, Document],
    waits: dict[str, set[str]],
) -> None:
    """Add jobs to the flow of an earlier submission in which jobs that they wait for are, as dynamic jobs are added.

    jobflow-remote makes a job ready when those of its own flow are done; if jobs of several flows are waited for, these
    flows become one.
    """
    chosen = {job.uuid for job, _ in nodes}
    targets = sorted({known[u]["flow"] for found in waits.values() for u in found})
    with _locked(controller, targets) as locks:
        for other in targets[1:]:
            _absorb(controller, targets[0], locks[other].locked_document)
            locks[other].delete_on_release = True
        inside = {u for u, entry in known.items() if entry["flow"] in targets and entry["state"] == "COMPLETED"}
        parents = {
            job.uuid: [u for u in above if u in chosen]
            + sorted(waits.get(job.uuid, set()) | (inside & set(job.input_uuids)))
            for job, above in nodes
        }
        documents = _documents(database, controller, [job for job, _ in nodes], parents, targets[0])
        ids = [[document["db_id"], document["uuid"], document["index"]] for document in documents]
        update = {
            "$addToSet": {"jobs": {"$each": [document["uuid"] for document in documents]}, "ids": {"$each": ids}},
            "$set": {_WRITING: True} | {f"parents.{u}.1": above for u, above in parents.items()},
        }
        controller.flows.update_one({"uuid": targets[0]}, update)
        controller.jobs.insert_many(documents)
        controller.flows.update_one({"uuid": targets[0]}, {"$unset": {"metadata.hemiec": ""}})
        refresh(controller, targets[0])


@contextmanager
def _locked(controller: JobController, flow_uuids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Hold the locks of flows, without which the runner completes no job of theirs."""
    with ExitStack() as stack:
        locks = {}
        for name in flow_uuids:
            lock = controller.lock_flow(filter={"uuid": name}, get_locked_doc=True, sleep=1, max_wait=_LOCK_WAIT_S)
            locks[name] = stack.enter_context(lock)
            if locks[name].locked_document is None:
                raise LaunchError(
                    f"flow {name} of jobflow-remote has been locked for {_LOCK_WAIT_S} s, or was deleted.",
                    mend="run `hemiec reconcile`, then the same command again",
                )
        yield locks


def _absorb(controller: JobController, keep: str, other: Document) -> None:
    """Make one flow's jobs another's; the rest of it is then to be deleted. Safe to do again."""
    controller.flows.update_one({"uuid": other["uuid"]}, {"$set": {_INTO: keep}})
    update: Document = {"$addToSet": {"jobs": {"$each": other["jobs"]}, "ids": {"$each": other["ids"]}}}
    update["$set"] = {f"parents.{u}": above for u, above in other["parents"].items()}
    controller.flows.update_one({"uuid": keep}, update)
    controller.jobs.update_many({"job.hosts": other["uuid"]}, {"$set": {"job.hosts.$": keep}})


def refresh(controller: JobController, flow_uuid: str) -> None:
    """Let children see that their parents are done; hold the flow's lock if the runner may work on it."""
    flow = controller.flows.find_one({"uuid": flow_uuid}, {"jobs": 1})
    if flow is not None:
        controller.refresh_children(flow["jobs"])
        controller.update_flow_state(flow_uuid)


def mend_submission(controller: JobController) -> None:
    """Undo what a submission killed between two writes left; hold the submission lease meanwhile."""
    flows = controller.flows
    marked = {"$or": [{_WRITING: {"$exists": True}}, {_INTO: {"$exists": True}}]}
    flows.update_many(marked, {"$set": {"lock_id": None, "lock_time": None}})
    for other in list(flows.find({_INTO: {"$exists": True}})):
        _absorb(controller, other["metadata"]["hemiec"]["into"], other)
        flows.delete_one({"_id": other["_id"]})
    for flow in list(flows.find({_WRITING: {"$exists": True}})):
        written = controller.jobs.find({"uuid": {"$in": flow["jobs"]}}, {"_id": 0, "uuid": 1})
        there = {document["uuid"] for document in written}
        if not there:
            flows.delete_one({"_id": flow["_id"]})
            continue
        kept = {
            "jobs": [u for u in flow["jobs"] if u in there],
            "ids": [entry for entry in flow["ids"] if entry[1] in there],
            "parents": {u: above for u, above in flow["parents"].items() if u in there},
        }
        flows.update_one({"_id": flow["_id"]}, {"$set": kept, "$unset": {"metadata.hemiec": ""}})
        refresh(controller, flow["uuid"])
