"""Bring back jobs whose worker died, and undo what a kill left half done on the LaunchPad."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from fireworks import LaunchPad

from hemiec.launch.worker import is_alive
from hemiec.store.database import Database, Document

#: A Firework taken by nobody, or a workflow lock held by nobody, is older than any of FireWorks' own steps.
GRACE = timedelta(seconds=10)
#: Errors that are the connection's fault, not the job's, signals, and a walltime that left a restart: the job runs
#: again by itself ...
_NOT_THE_JOBS_FAULT = (
    "pymongo.errors.AutoReconnect",
    "pymongo.errors.ServerSelectionTimeoutError",
    "pymongo.errors.NetworkTimeout",
    "pymongo.errors.NotPrimaryError",
    "pymongo.errors.ConnectionFailure",
    "pymongo.errors._OperationCancelled",
    "KeyboardInterrupt",
    "hemiec.engines.gpaw.scf.WalltimeError",
)
#: ... but not for ever.
MAX_LAUNCHES = 10
_FW_FIELDS = {"fw_id": 1, "launches": 1, "archived_launches": 1}


def reconcile(database: Database, launchpad: LaunchPad) -> list[int]:
    """Return the fw_ids of lost jobs, made ready again.

    A job is lost if its worker ran on this machine and is gone, if it was taken but never started,
    or if it failed because the database went away. Jobs of other machines are left alone.
    """
    _unlock(database)
    lost = _abandoned(database, launchpad) + _interrupted(database)
    for fw_id in lost:
        launchpad.rerun_fw(fw_id)
    _refresh(database, launchpad)
    return lost


def _abandoned(database: Database, launchpad: LaunchPad) -> list[int]:
    lost = []
    taken = {"state": {"$in": ["RUNNING", "RESERVED"]}}
    for fw in database["fireworks"].find(taken, _FW_FIELDS | {"updated_on": 1}):
        launch = _last_launch(database, fw)
        if launch is None:
            if _age(fw.get("updated_on")) > GRACE:
                lost.append(fw["fw_id"])
        elif is_alive(launch["fworker"]["name"]) is False:
            if _n_launches(fw) < MAX_LAUNCHES:
                lost.append(fw["fw_id"])
            else:  # it kills every worker that takes it
                launchpad.mark_fizzled(launch["launch_id"])
    return lost


def _interrupted(database: Database) -> list[int]:
    lost = []
    for fw in database["fireworks"].find({"state": "FIZZLED"}, _FW_FIELDS):
        launch = _last_launch(database, fw)
        message = last_line(launch) if launch else ""
        if message.startswith(_NOT_THE_JOBS_FAULT) and _n_launches(fw) < MAX_LAUNCHES:
            lost.append(fw["fw_id"])
    return lost


def _n_launches(fw: Document) -> int:
    return len(fw.get("launches", [])) + len(fw.get("archived_launches", []))


def last_line(launch: Document) -> str:
    """Return the last line of a failed launch's traceback, or nothing."""
    stored = ((launch.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    lines = [line for line in (stored.get("_stacktrace") or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _last_launch(database: Database, fw: Document) -> Document | None:
    if not fw.get("launches"):
        return None
    fields = {"launch_id": 1, "fworker.name": 1, "state": 1, "action.stored_data._exception": 1}
    return database["launches"].find_one({"launch_id": fw["launches"][-1]}, fields)


def _age(moment: object) -> timedelta:
    """Return how long ago a FireWorks time stamp (ISO text or datetime, UTC) was."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        return GRACE * 2
    return datetime.now(UTC) - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _unlock(database: Database) -> None:
    """Free workflows whose lock was left by a killed process.

    FireWorks holds a lock for a fraction of a second; one that is seen unchanged for all of the grace
    time has no owner. Waiting here is what keeps the steps below from waiting minutes for it.
    """
    fields = {"updated_on": 1}
    stale = {wf["_id"]: wf.get("updated_on") for wf in database["workflows"].find({"locked": True}, fields)}
    deadline = time.monotonic() + GRACE.total_seconds()
    while stale and time.monotonic() < deadline:
        time.sleep(0.5)
        held = database["workflows"].find({"_id": {"$in": list(stale)}, "locked": True}, fields)
        stale = {wf["_id"]: wf.get("updated_on") for wf in held if wf.get("updated_on") == stale[wf["_id"]]}
    for workflow_id, moment in stale.items():
        database["workflows"].update_one({"_id": workflow_id, "updated_on": moment}, {"$unset": {"locked": ""}})


def _refresh(database: Database, launchpad: LaunchPad) -> None:
    """Let children see that their parents are done, where a kill came between the two updates."""
    finished = {"COMPLETED", "FIZZLED"}
    for wf in database["workflows"].find(
        {"state": {"$ne": "COMPLETED"}}, {"nodes": 1, "fw_states": 1, "parent_links": 1}
    ):
        states = {
            fw["fw_id"]: fw["state"]
            for fw in database["fireworks"].find({"fw_id": {"$in": wf["nodes"]}}, {"fw_id": 1, "state": 1})
        }
        stale = {
            fw_id for fw_id, state in states.items() if state in finished and wf["fw_states"].get(str(fw_id)) != state
        }
        for child, parents in wf.get("parent_links", {}).items():
            if states.get(int(child)) == "WAITING" and all(states.get(p) == "COMPLETED" for p in parents):
                stale.add(parents[0])
        for fw_id in stale:
            launchpad._refresh_wf(fw_id)
