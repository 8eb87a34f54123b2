"""Put flows on the LaunchPad: only jobs that are missing, by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from fireworks import Firework, LaunchPad, Workflow
from jobflow import Flow, Job
from jobflow.managers.fireworks import job_to_firework
from pymongo.errors import DuplicateKeyError

from hemiec.errors import LaunchError
from hemiec.launch.worker import is_alive, worker_name
from hemiec.store.database import Database, Document
from hemiec.workflows.campaign import jobs_of

LOCK_SECONDS = 120


def add_missing(database: Database, launchpad: LaunchPad, flows: Sequence[Flow]) -> int:
    """Add the jobs that neither have a result nor are on the LaunchPad, and return how many were.

    Hold :func:`submission_lock` meanwhile.
    """
    known = job_states(database, [job.uuid for flow in flows for job in jobs_of(flow)])
    workflows: list[Workflow] = []
    added = 0
    for flow in flows:
        missing = [job for job in jobs_of(flow) if job.uuid not in known]
        if not missing:
            continue
        added += len(missing)
        parents = {u for job in missing for u in job.input_uuids if known.get(u, {}).get("state") != "COMPLETED"}
        if any(known.get(u, {}).get("fw_id") is not None for u in parents):
            _join(database, launchpad, missing, known)
        else:
            workflows.append(_workflow(flow, missing))
        known |= {job.uuid: {"fw_id": None, "state": "WAITING"} for job in missing}
    if workflows:
        _add(launchpad, workflows)
    return added


def job_states(database: Database, uuids: Collection[str]) -> dict[str, Document]:
    """Return uuid to fw_id and FireWorks' state for every job that has a Firework or a result."""
    query = {"spec.hemiec.uuid": {"$in": list(uuids)}}
    fields = {"fw_id": 1, "state": 1, "spec.hemiec.uuid": 1}
    known: dict[str, Document] = {
        fw["spec"]["hemiec"]["uuid"]: {"fw_id": fw["fw_id"], "state": fw["state"]}
        # Of a job that was replaced, the last Firework counts.
        for fw in sorted(database["fireworks"].find(query, fields), key=lambda fw: fw["fw_id"])
    }
    # Results without a Firework come from elsewhere (restored, imported); they count as finished.
    missing = {"uuid": {"$in": [u for u in uuids if u not in known]}, "output": {"$ne": None}}
    for output in database["outputs"].find(missing, {"uuid": 1}):
        known[output["uuid"]] = {"fw_id": None, "state": "COMPLETED"}
    return known


def remove_half_written(database: Database) -> None:
    """Remove what a submission killed between two writes left: workflows or Fireworks without the other half."""
    fw_ids = set(database["fireworks"].distinct("fw_id"))
    broken = [wf["_id"] for wf in database["workflows"].find({}, {"nodes": 1}) if not fw_ids.issuperset(wf["nodes"])]
    if broken:
        database["workflows"].delete_many({"_id": {"$in": broken}})
    nodes = {node for wf in database["workflows"].find({}, {"nodes": 1}) for node in wf["nodes"]}
    orphans = list(fw_ids - nodes)
    if orphans:
        database["fireworks"].delete_many({"fw_id": {"$in": orphans}})


@contextmanager
def submission_lock(database: Database) -> Iterator[None]:
    """Hold the only right to submit; a lock whose holder died expires.

    Raises
    ------
    LaunchError
        If another submission holds it for too long.
    """
    locks = database["locks"]
    owner = worker_name()
    deadline = time.monotonic() + 2 * LOCK_SECONDS
    while True:
        now = datetime.now(UTC)
        claim = {"owner": owner, "expires": now + timedelta(seconds=LOCK_SECONDS)}
        try:
            locks.update_one({"_id": "submit", "expires": {"$lt": now}}, {"$set": claim}, upsert=True)
            break
        except DuplicateKeyError:
            held = locks.find_one({"_id": "submit"}) or {}
            if is_alive(held.get("owner", "")) is False:
                locks.delete_one({"_id": "submit", "owner": held["owner"]})
            elif time.monotonic() > deadline:
                raise LaunchError(
                    f"another submission ({held.get('owner')}) has been running for {2 * LOCK_SECONDS} s.",
                    mend="wait for it and run the same command again",
                ) from None
            time.sleep(0.2)
    try:
        yield
    finally:
        locks.delete_one({"_id": "submit", "owner": owner})


def _workflow(flow: Flow, jobs: list[Job]) -> Workflow:
    """Return the workflow of some jobs of a flow; references to other jobs are resolved from the store."""
    chosen = {job.uuid for job in jobs}
    fireworks_by_uuid: dict[str, object] = {}
    fireworks = []
    for job, parents in flow.iterflow():
        if job.uuid in chosen:
            inside = [uuid for uuid in parents if uuid in chosen]
            fireworks.append(job_to_firework(job, None, parents=inside, parent_mapping=fireworks_by_uuid))
    return Workflow(fireworks, name=flow.name)


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


def _add(launchpad: LaunchPad, workflows: list[Workflow]) -> None:
    """Add workflows in bulk, without FireWorks' progress bar."""
    import fireworks.core.launchpad as module

    bar, module.tqdm = module.tqdm, lambda items: items
    try:
        launchpad.bulk_add_wfs(workflows)
    finally:
        module.tqdm = bar
