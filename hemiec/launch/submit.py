"""Hand a campaign to the LaunchPad: only what is missing, once, also from two shells at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fireworks import LaunchPad, Workflow
from jobflow import Flow, Job
from jobflow.managers.fireworks import job_to_firework
from pymongo.errors import DuplicateKeyError

from hemiec.errors import LaunchError
from hemiec.launch.worker import is_alive, worker_name
from hemiec.store.database import Database, Document
from hemiec.workflows.campaign import Campaign, jobs_of

LOCK_SECONDS = 120


@dataclass(frozen=True)
class Submission:
    """How many jobs were added, and how many were there already."""

    added: int
    finished: int
    pending: int


def submit(database: Database, launchpad: LaunchPad, campaign: Campaign) -> Submission:
    """Add the jobs of a campaign that neither have a result nor are on the LaunchPad.

    A job's uuid is a hash of its content, so equal work of other campaigns counts.

    Raises
    ------
    LaunchError
        If another submission holds the lock for too long.
    """
    with _submission_lock(database):
        _remove_half_written(database)
        known = _states(database, campaign.job_uuids)
        _keep_campaign(database, campaign)
        workflows: list[Workflow] = []
        added = 0
        for flow in campaign.flows:
            missing = [job for job in jobs_of(flow) if job.uuid not in known]
            if not missing:
                continue
            added += len(missing)
            parents = {u for job in missing for u in job.input_uuids if known.get(u, {}).get("state") != "COMPLETED"}
            waiting = sorted({known[u]["fw_id"] for u in parents if u in known})
            workflow = _workflow(flow, missing)
            if waiting:
                # Some parents are still to run, in the workflow of an earlier submission: the new jobs join it.
                launchpad.append_wf(workflow, waiting)
            else:
                workflows.append(workflow)
            known |= {job.uuid: {"state": "WAITING"} for job in missing}
        if workflows:
            _add(launchpad, workflows)
        states = [entry["state"] for entry in known.values()]
        finished = states.count("COMPLETED")
        return Submission(added, finished, len(states) - finished - added)


def plan_submission(database: Database, campaign: Campaign) -> Submission:
    """Return what :func:`submit` would add, without changing anything."""
    known = _states(database, campaign.job_uuids)
    finished = sum(entry["state"] == "COMPLETED" for entry in known.values())
    return Submission(len(set(campaign.job_uuids) - set(known)), finished, len(known) - finished)


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


def _add(launchpad: LaunchPad, workflows: list[Workflow]) -> None:
    """Add workflows in bulk, without FireWorks' progress bar."""
    import fireworks.core.launchpad as module

    bar, module.tqdm = module.tqdm, lambda items: items
    try:
        launchpad.bulk_add_wfs(workflows)
    finally:
        module.tqdm = bar


def _states(database: Database, uuids: list[str]) -> dict[str, Document]:
    """Return uuid to fw_id and state for every job that has a Firework or a result."""
    query = {"spec.hemiec.uuid": {"$in": uuids}}
    fields = {"fw_id": 1, "state": 1, "spec.hemiec.uuid": 1}
    known: dict[str, Document] = {
        fw["spec"]["hemiec"]["uuid"]: {"fw_id": fw["fw_id"], "state": fw["state"]}
        for fw in database["fireworks"].find(query, fields)
    }
    # Results without a Firework come from elsewhere (restored, imported); they count as finished.
    for output in database["outputs"].find({"uuid": {"$in": [u for u in uuids if u not in known]}}, {"uuid": 1}):
        known[output["uuid"]] = {"fw_id": None, "state": "COMPLETED"}
    return known


def _remove_half_written(database: Database) -> None:
    """Remove what a submission killed between two writes left: workflows or Fireworks without the other half."""
    fw_ids = set(database["fireworks"].distinct("fw_id"))
    broken = [wf["_id"] for wf in database["workflows"].find({}, {"nodes": 1}) if not fw_ids.issuperset(wf["nodes"])]
    if broken:
        database["workflows"].delete_many({"_id": {"$in": broken}})
    nodes = {node for wf in database["workflows"].find({}, {"nodes": 1}) for node in wf["nodes"]}
    orphans = list(fw_ids - nodes)
    if orphans:
        database["fireworks"].delete_many({"fw_id": {"$in": orphans}})


def _keep_campaign(database: Database, campaign: Campaign) -> None:
    """Store the campaign before its jobs, so that no job is without one."""
    document = campaign.document() | {"last_submitted": datetime.now(UTC)}
    database["campaigns"].replace_one({"name": campaign.spec.name}, document, upsert=True)


@contextmanager
def _submission_lock(database: Database) -> Iterator[None]:
    """Hold the only right to submit; a lock whose holder died expires."""
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
