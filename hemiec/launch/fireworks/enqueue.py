"""Put flows on the LaunchPad: only jobs that are missing, by one process at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from fireworks import Firework, LaunchPad, Workflow
from jobflow import Flow, Job, OnMissing
from jobflow.managers.fireworks import job_to_firework
from monty.json import jsanitize

from hemiec.store.database import Database, Document
from hemiec.store.queue.fireworks import in_chunks, job_states
from hemiec.workflows.identity import jobs_of

_JOB_TASK = "{{jobflow.managers.fireworks.JobFiretask}}"


def add_missing(database: Database, launchpad: LaunchPad, flows: Sequence[Flow], campaign: str) -> int:
    """Add the jobs that neither have a result nor are on the LaunchPad, and return how many were.

    Those that are there already become jobs of this campaign too. Hold the submission lease meanwhile.
    """
    graphs = [(flow, graph_of(flow)) for flow in flows]
    known = job_states(database, [job.uuid for _, graph in graphs for job, _ in graph])
    tag(database, campaign, [uuid for uuid, entry in known.items() if entry["fw_id"] is not None])
    bulk = _Bulk()
    added = 0
    for flow, graph in graphs:
        missing = [(job, parents) for job, parents in graph if job.uuid not in known]
        if not missing:
            continue
        added += len(missing)
        for job, _ in missing:
            job.metadata["hemiec"]["campaigns"] = [campaign]
        chosen = {job.uuid for job, _ in missing}
        outside = {u for _, parents in missing for u in parents} - chosen
        if any(known[u]["fw_id"] is not None and known[u]["state"] != "COMPLETED" for u in outside if u in known):
            _join(database, launchpad, [job for job, _ in missing], known)
        else:
            bulk.add(flow.name, missing)
        known |= {job.uuid: {"fw_id": None, "state": "WAITING"} for job, _ in missing}
    bulk.write(launchpad)
    return added


def graph_of(flow: Flow) -> list[tuple[Job, list[str]]]:
    """Return the jobs of a flow with the uuids of all jobs they need, parents first."""
    jobs = list(jobs_of(flow))
    place = {job.uuid: k for k, job in enumerate(jobs)}
    graph = [(job, list(dict.fromkeys(job.input_uuids))) for job in jobs]
    in_order = all(place.get(u, -1) < place[job.uuid] for job, parents in graph for u in parents)
    if in_order and len(jobs) == len(flow.jobs):
        return graph
    # Flows within the flow may have an order of their own; networkx sorts them out, at ten times the time.
    return [(job, list({*parents, *job.input_uuids})) for job, parents in flow.iterflow()]


def tag(database: Database, campaign: str, uuids: Collection[str]) -> None:
    """Make jobs on the LaunchPad jobs of a campaign."""
    for where in in_chunks(uuids):
        query = {**where, "spec.hemiec.campaigns": {"$ne": campaign}}
        database["fireworks"].update_many(query, {"$addToSet": {"spec.hemiec.campaigns": campaign}})


def untag(database: Database, campaign: str, uuids: Collection[str]) -> None:
    """Take jobs from a campaign that no longer asks for them; they stay on the LaunchPad."""
    for where in in_chunks(uuids):
        database["fireworks"].update_many(where, {"$pull": {"spec.hemiec.campaigns": campaign}})


def remove_half_written(database: Database) -> None:
    """Remove what a submission killed between two writes left: workflows or Fireworks without the other half."""
    fw_ids = {fw["fw_id"] for fw in database["fireworks"].find({}, {"_id": 0, "fw_id": 1})}
    workflows = {wf["_id"]: wf["nodes"] for wf in database["workflows"].find({}, {"nodes": 1})}
    broken = [key for key, nodes in workflows.items() if not fw_ids.issuperset(nodes)]
    if broken:
        database["workflows"].delete_many({"_id": {"$in": broken}})
    orphans = list(fw_ids - {node for key, nodes in workflows.items() if key not in set(broken) for node in nodes})
    if orphans:
        database["fireworks"].delete_many({"fw_id": {"$in": orphans}})


class _Bulk:
    """New workflows, written to the LaunchPad all at once.

    FireWorks' own ``bulk_add_wfs`` writes the same documents, but serialises each of them three times over.
    """

    def __init__(self) -> None:
        self._workflows: list[tuple[str, list[tuple[Job, list[str]]]]] = []

    def add(self, name: str, graph: list[tuple[Job, list[str]]]) -> None:
        """Add a workflow: its name, and its jobs with their parents' uuids, parents first.

        References to jobs that are not among them are resolved from the store.
        """
        self._workflows.append((name, graph))

    def write(self, launchpad: LaunchPad) -> None:
        """Write what was added, workflows first, so that no Firework is taken before its workflow is there."""
        if not self._workflows:
            return
        n_jobs = sum(len(graph) for _, graph in self._workflows)
        next_id = launchpad.get_new_fw_id(quantity=n_jobs)
        workflows: list[Document] = []
        fireworks: list[Document] = []
        for name, graph in self._workflows:
            workflow, members = documents(name, graph, next_id)
            workflows.append(workflow)
            fireworks += members
            next_id += len(members)
        launchpad.workflows.insert_many(workflows, ordered=False)
        launchpad.fireworks.insert_many(fireworks, ordered=False)


def documents(name: str, graph: Sequence[tuple[Job, Sequence[str]]], first_id: int) -> tuple[Document, list[Document]]:
    """Return the documents of a new workflow and of its Fireworks, as FireWorks itself would write them.

    Parameters
    ----------
    name
        Of the workflow.
    graph
        Jobs with their parents' uuids, parents first.
    first_id
        ``fw_id`` of the first one; the others follow.
    """
    now = datetime.now(UTC)
    ids = {job.uuid: first_id + k for k, (job, _) in enumerate(graph)}
    parents = {ids[job.uuid]: sorted(ids[u] for u in above if u in ids) for job, above in graph}
    children: dict[int, list[int]] = {fw_id: [] for fw_id in parents}
    for fw_id, above in parents.items():
        for parent in above:
            children[parent].append(fw_id)
    states = {fw_id: "WAITING" if above else "READY" for fw_id, above in parents.items()}
    workflow = {
        "links": {str(fw_id): below for fw_id, below in children.items()},
        "parent_links": {str(fw_id): above for fw_id, above in parents.items() if above},
        "nodes": list(ids.values()),
        "metadata": {},
        "state": "READY",
        "name": name,
        "created_on": now,
        "updated_on": now,
        "fw_states": {str(fw_id): state for fw_id, state in states.items()},
    }
    fireworks = [
        {
            "spec": _spec(job),
            "fw_id": ids[job.uuid],
            "created_on": now.isoformat(),
            "updated_on": now.isoformat(),
            "launches": [],
            "archived_launches": [],
            "state": states[ids[job.uuid]],
            "name": job.name,
        }
        for job, _ in graph
    ]
    return workflow, fireworks


def _spec(job: Job) -> dict[str, Any]:
    """Return the spec that :func:`jobflow.managers.fireworks.job_to_firework` gives a job."""
    spec: dict[str, Any] = {"_add_launchpad_and_fw_id": True}
    if job.config.on_missing_references != OnMissing.ERROR:
        spec["_allow_fizzled_parents"] = True
    spec |= job.config.manager_config
    spec |= job.metadata
    # As `jsanitize` alone would leave it, at a quarter of the time.
    plain = json.loads(json.dumps(job.as_dict(), default=jsanitize))
    return spec | {"_tasks": [{"_fw_name": _JOB_TASK, "job": plain, "store": None}]}


def _join(database: Database, launchpad: LaunchPad, missing: list[Job], known: dict[str, Document]) -> None:
    """Add jobs, parents first, to the workflow of an earlier submission in which some of their parents still wait.

    One at a time, so that each waits for its own parents only: a failed hop must not hold up the energy of the cell.
    """
    fw_ids = {u: e["fw_id"] for u, e in known.items() if e["fw_id"] is not None and e["state"] != "COMPLETED"}
    first = next(fw_ids[u] for job in missing for u in job.input_uuids if u in fw_ids)
    workflow = database["workflows"].find_one({"nodes": first}, {"nodes": 1}) or {"nodes": []}
    inside = {"fw_id": {"$in": workflow["nodes"]}, "state": "COMPLETED"}
    finished = database["fireworks"].find_one(inside, {"fw_id": 1})
    # A job without parents here still has to be put somewhere in the workflow.
    anchor = finished["fw_id"] if finished else first
    for job in missing:
        firework: Firework = job_to_firework(job, None, parents=[], parent_mapping={})
        parents = sorted({fw_ids[u] for u in job.input_uuids if u in fw_ids})
        launchpad.append_wf(Workflow([firework]), parents or [anchor])
        fw_ids[job.uuid] = firework.fw_id
