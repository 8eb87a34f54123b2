"""Bring back jobs that were lost, and finish what a kill left half done on the LaunchPad.

Who is asked whether a job is lost: this machine about its own processes; the scheduler about workers in an allocation;
otherwise the worker's sign of life, which FireWorks writes into the launch. Who cannot be asked is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from fireworks import FWAction, LaunchPad, fw_config

from hemiec.launch.cluster.scheduler import Scheduler, find_scheduler, is_here
from hemiec.launch.fireworks.launches import stack_trace
from hemiec.launch.fireworks.locks import mend_workflows
from hemiec.launch.fireworks.names import WorkerName, is_alive
from hemiec.store.database import Database, Document

#: A Firework taken by nobody is older than any of FireWorks' own steps.
GRACE = timedelta(seconds=10)
#: Workers sign every 30 s; one that missed three is gone, if the scheduler does not know its allocation either ...
SILENCE = timedelta(seconds=80)
#: ... and one outside of any allocation is believed for longer, since nobody else can be asked.
LONG_SILENCE = timedelta(minutes=5)
#: A reservation is written in two steps; the scheduler's command is between them.
RESERVING = timedelta(minutes=2)
#: Who wants to bring a job back claims it for this long, so that two do not do it one after the other.
CLAIM = timedelta(seconds=60)
#: Errors that are the connection's fault, not the job's, signals, a full disk, and a walltime that left a restart:
#: the job runs again by itself ...
_NOT_THE_JOBS_FAULT = (
    "pymongo.errors.AutoReconnect",
    "pymongo.errors.ServerSelectionTimeoutError",
    "pymongo.errors.NetworkTimeout",
    "pymongo.errors.NotPrimaryError",
    "pymongo.errors.ConnectionFailure",
    "pymongo.errors.WriteConcernError",
    "pymongo.errors._OperationCancelled",
    "KeyboardInterrupt",
    "hemiec.engines.gpaw.scf.WalltimeError",
)
#: No space left on device, disk quota exceeded.
_DISK_FULL = ("[Errno 28]", "[Errno 122]")
#: ... but not for ever.
MAX_LAUNCHES = 10
_FW_FIELDS = {"fw_id": 1, "state": 1, "launches": 1, "archived_launches": 1, "updated_on": 1}
_LAUNCH_FIELDS = {
    **dict.fromkeys(("launch_id", "fw_id", "fworker.name", "host", "state"), 1),
    "state_history": {"$slice": -2},
}


def reconcile(
    database: Database,
    launchpad: LaunchPad,
    *,
    scheduler: Scheduler | None = None,
    reachable_since: datetime | None = None,
) -> list[int]:
    """Return the fw_ids of lost jobs, made ready again.

    A job is lost if its worker is gone, its allocation has ended or was requeued, it was taken but never started, or
    it failed because the database went away, a signal came or a disk was full. Calling it from several processes at a
    time brings nothing back twice.

    Parameters
    ----------
    scheduler
        Whom to ask about allocations; by default whichever is on this machine, if any.
    reachable_since
        When the database last came back, if the caller knows that it was away: nobody could sign before.
    """
    mend_workflows(launchpad)
    census = _Census(database, scheduler, reachable_since)
    taken = list(database["fireworks"].find({"state": {"$in": ["RUNNING", "RESERVED"]}}, _FW_FIELDS))
    lost = _bring_back(database, launchpad, taken, census)
    lost += _interrupted(database, launchpad)
    _tag(database)
    return lost


def reconcile_here(database: Database, launchpad: LaunchPad) -> list[int]:
    """Do what :func:`reconcile` does, for workers of this machine; it is quick on any LaunchPad."""
    mend_workflows(launchpad)
    running = {
        fw["launches"][-1]: fw
        for fw in database["fireworks"].find({"state": "RUNNING"}, _FW_FIELDS)
        if fw.get("launches")
    }
    # Whatever the state of the launch: a worker may have been killed between noting its end and the Firework's.
    name = {"$regex": f"^{re.escape(WorkerName.prefix_here())}"}
    mine = {"launch_id": {"$in": list(running)}, "fworker.name": name}
    taken = [running[launch["launch_id"]] for launch in database["launches"].find(mine, {"launch_id": 1})]
    taken += database["fireworks"].find({"state": "RESERVED", "launches": []}, _FW_FIELDS)
    return _bring_back(database, launchpad, taken, _Census(database, None, None))


def give_back(launchpad: LaunchPad, launch_id: int, action: FWAction | None) -> bool:
    """Make a job that was interrupted ready again, with what its launch left; False if it had its chances.

    It is never failed on the way: children that run despite failures would start.
    """
    fw = launchpad.fireworks.find_one({"launches": launch_id}, _FW_FIELDS)
    if fw is None:  # it was believed lost and was brought back by somebody else
        return True
    if _n_launches(fw) >= MAX_LAUNCHES:
        return False
    launch = launchpad.get_launch_by_id(launch_id)
    launch.state = "FIZZLED"
    if action is not None:
        action.stored_data.pop("_task", None)  # the whole job again, which may be too large for one document
    launch.action = action
    launchpad.launches.find_one_and_replace({"launch_id": launch_id}, launch.to_db_dict())
    launchpad.rerun_fw(fw["fw_id"])
    return True


def is_interruption(stacktrace: str) -> bool:
    """Return whether a traceback is of an error that is not the job's fault."""
    return _last(stacktrace).startswith(_NOT_THE_JOBS_FAULT) or is_disk_full(stacktrace)


def is_disk_full(stacktrace: str) -> bool:
    """Return whether a traceback is of a full disk or quota."""
    return any(sign in stacktrace for sign in _DISK_FULL)


def _last(stacktrace: str) -> str:
    lines = [line for line in stacktrace.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


class _Census:
    """Who is alive; the scheduler is asked once, and only if somebody is in an allocation."""

    def __init__(self, database: Database, scheduler: Scheduler | None, reachable_since: datetime | None) -> None:
        self.database = database
        self._scheduler = scheduler
        self._reachable_since = reachable_since

    @cached_property
    def scheduler(self) -> Scheduler | None:
        return self._scheduler or find_scheduler()

    @cached_property
    def allocations(self) -> Any:
        return self.scheduler.allocations() if self.scheduler is not None else None

    @cached_property
    def nodes(self) -> frozenset[str]:
        return self.scheduler.nodes() if self.scheduler is not None else frozenset()

    @cached_property
    def could_sign_since(self) -> datetime:
        """Since when workers could write to the database: nobody is silent for longer than it has been there."""
        hello = self.database.client.admin.command("hello")
        started: datetime = hello["topologyVersion"]["processId"].generation_time
        return max(started, self._reachable_since or started)

    def is_lost(self, launch: Document) -> bool:
        """Return whether nobody works on a launch any more; False if that is not known."""
        name = launch["fworker"]["name"]
        reservation = _reservation(launch)
        if launch["state"] == "RESERVED":
            if reservation is None:
                return self._silence(launch) > RESERVING
            return self._allocation_lost(self._full_name(reservation), launch)
        alive = is_alive(name)
        if alive is not None:
            return not alive
        worker = WorkerName.read(name)
        if worker is None:  # rlaunch
            return self._plain_lost(launch, reservation)
        if worker.allocation is not None:
            return self._allocation_lost(worker.allocation, launch)
        return self._silence(launch) > LONG_SILENCE

    def _allocation_lost(self, name: str | None, launch: Document) -> bool:
        if name is None or self.scheduler is None or not self.scheduler.gave(name) or self.allocations is None:
            return False
        found = self.allocations.get(name)
        if found is not None and found.state in ("ended", "waiting"):
            return bool(found.state == "ended" or launch["state"] != "RESERVED")
        silent = self._silence(launch) > _patience(launch)
        if found is None or found.state == "ending":
            # It may be somebody else's, whose allocations we are not shown: then the worker still signs.
            return silent
        requeued = launch["state"] == "RUNNING" and found.started is not None and found.started > _signed(launch)
        return silent and requeued

    def _plain_lost(self, launch: Document, reservation: str | None) -> bool:
        """Judge a launch of plain rlaunch, whose name says nothing."""
        if reservation is not None:
            return self._allocation_lost(self._full_name(reservation), launch)
        host = launch.get("host", "").partition(".")[0]
        if is_here(host) or host not in {node.partition(".")[0] for node in self.nodes} or self.allocations is None:
            return False
        busy = {n.partition(".")[0] for a in self.allocations.values() if a.state != "ended" for n in a.nodes}
        return host not in busy and self._silence(launch) > _patience(launch)

    def _full_name(self, reservation: str) -> str | None:
        """Return the allocation's name of a scheduler's number that qlaunch stored; PBS's without its server."""
        if self.scheduler is None:
            return None
        name = self.scheduler.name(reservation)
        if self.allocations and name not in self.allocations:
            return next((n for n in self.allocations if n.startswith(f"{name}.")), name)
        return name

    def _silence(self, launch: Document) -> timedelta:
        return datetime.now(UTC) - max(_signed(launch), self.could_sign_since)


def _bring_back(database: Database, launchpad: LaunchPad, taken: list[Document], census: _Census) -> list[int]:
    """Return the fw_ids of those of some running or reserved Fireworks that were lost, made ready again."""
    latest = [fw["launches"][-1] for fw in taken if fw.get("launches")]
    launches = {
        launch["launch_id"]: launch
        for launch in database["launches"].find({"launch_id": {"$in": latest}}, _LAUNCH_FIELDS)
    }
    lost = []
    for fw in taken:
        launch = launches.get(fw["launches"][-1]) if fw.get("launches") else None
        if launch is None:
            if _age(fw.get("updated_on")) > GRACE and _release(database, fw):
                lost.append(fw["fw_id"])
        elif launch["state"] in ("COMPLETED", "FIZZLED"):
            if _age(_signed(launch)) > GRACE:  # it ended, but who ran it was killed before all had been told
                launchpad._refresh_wf(fw["fw_id"])
        elif census.is_lost(launch) and _claim(database, fw, launch):
            if _n_launches(fw) < MAX_LAUNCHES:
                launchpad.rerun_fw(fw["fw_id"])
                lost.append(fw["fw_id"])
            else:  # it kills every worker that takes it
                launchpad.mark_fizzled(launch["launch_id"])
    return lost


def _release(database: Database, fw: Document) -> bool:
    """Undo the first step of taking a Firework, if it is still as it was seen."""
    seen = {"fw_id": fw["fw_id"], "state": fw["state"], "updated_on": fw.get("updated_on"), "launches": fw["launches"]}
    ready = {"$set": {"state": "READY", "updated_on": datetime.now(UTC).isoformat()}}
    return database["fireworks"].update_one(seen, ready).modified_count == 1


def _claim(database: Database, fw: Document, launch: Document) -> bool:
    """Return whether it is us who may bring a launch's job back, and it is still to be."""
    now = datetime.now(UTC)
    free = [{"claimed_on": None}, {"claimed_on": {"$lt": now - CLAIM}}]
    query = {"launch_id": launch["launch_id"], "state": launch["state"], "$or": free}
    if database["launches"].update_one(query, {"$set": {"claimed_on": now}}).modified_count == 0:
        return False
    still = {"fw_id": fw["fw_id"], "state": fw["state"], "launches": fw["launches"]}
    return database["fireworks"].count_documents(still, limit=1) == 1


def _interrupted(database: Database, launchpad: LaunchPad) -> list[int]:
    """Make failed jobs ready again that failed through no fault of their own."""
    failed = {
        fw["launches"][-1]: fw
        for fw in database["fireworks"].find({"state": "FIZZLED"}, _FW_FIELDS)
        if fw.get("launches") and _n_launches(fw) < MAX_LAUNCHES
    }
    if not failed:
        return []
    # Each failure is judged once: there may be thousands, with long tracebacks.
    trace = "action.stored_data._exception._stacktrace"
    unjudged = {"launch_id": {"$in": list(failed)}, "own_fault": None}
    lost, own = [], []
    for launch in database["launches"].find(unjudged, {"launch_id": 1, "state": 1, trace: 1}):
        fw = failed[launch["launch_id"]]
        if not is_interruption(stack_trace(launch)):
            own.append(launch["launch_id"])
        elif _claim(database, fw, launch):
            launchpad.rerun_fw(fw["fw_id"])
            lost.append(fw["fw_id"])
    if own:
        database["launches"].update_many({"launch_id": {"$in": own}}, {"$set": {"own_fault": True}})
    return lost


def _tag(database: Database) -> None:
    """Give jobs that were made at run time the campaigns of the other jobs of their workflow."""
    fireworks = database["fireworks"]
    untagged = [fw["fw_id"] for fw in fireworks.find({"spec.hemiec.campaigns": None}, {"fw_id": 1})]
    for some in _chunks(untagged, 1000):
        for workflow in database["workflows"].find({"nodes": {"$in": some}}, {"nodes": 1}):
            nodes = {"$in": workflow["nodes"]}
            names = fireworks.distinct(
                "spec.hemiec.campaigns", {"fw_id": nodes, "spec.hemiec.campaigns": {"$ne": None}}
            )
            if names:  # else the workflow is not hemiec's
                untold = {"fw_id": nodes, "spec.hemiec.campaigns": None}
                fireworks.update_many(untold, {"$set": {"spec.hemiec.campaigns": sorted(names)}})


def _chunks(items: list[int], size: int) -> Iterable[Collection[int]]:
    return (items[k : k + size] for k in range(0, len(items), size))


def _n_launches(fw: Document) -> int:
    return len(fw.get("launches", [])) + len(fw.get("archived_launches", []))


def _patience(launch: Document) -> timedelta:
    """Return how long a launch may be silent; plain rlaunch signs every hour, or as FW_config.yaml says."""
    if WorkerName.read(launch["fworker"]["name"]) is not None:
        return SILENCE
    return max(SILENCE, 2.5 * timedelta(seconds=fw_config.PING_TIME_SECS))


def _reservation(launch: Document) -> str | None:
    """Return the number of the allocation that qlaunch reserved a job for."""
    found = [entry["reservation_id"] for entry in launch.get("state_history", []) if "reservation_id" in entry]
    return str(found[-1]) if found else None


def _signed(launch: Document) -> datetime:
    """Return the last sign of life of a launch."""
    history = launch.get("state_history") or [{}]
    return _moment(history[-1].get("updated_on") or history[-1].get("created_on")) or datetime.fromtimestamp(0, UTC)


def _age(moment: object) -> timedelta:
    """Return how long ago a FireWorks time stamp was; very long if there is none."""
    return datetime.now(UTC) - (_moment(moment) or datetime.fromtimestamp(0, UTC))


def _moment(stamp: object) -> datetime | None:
    """Return a FireWorks time stamp (ISO text or datetime, UTC) as a datetime."""
    if isinstance(stamp, str):
        stamp = datetime.fromisoformat(stamp)
    if not isinstance(stamp, datetime):
        return None
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
