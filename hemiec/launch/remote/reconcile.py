"""Bring back jobs of jobflow-remote that were killed, and free what a killed runner left locked."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hemiec.launch.remote.enqueue import refresh
from hemiec.launch.remote.jobs import was_killed
from hemiec.store.database import Document

if TYPE_CHECKING:
    from jobflow_remote import JobController

    from hemiec.launch.remote.queue import RemoteQueue

#: A lock younger than this is left alone, whatever the runner says; people's own commands take a few seconds.
LOCK_GRACE = timedelta(seconds=30)
#: A lock as old as this has no owner, even if no runner has come since to tell.
LOCK_AGE = timedelta(hours=1)
#: After jobflow-remote's own attempts at a step have failed, it is left in peace for this long.
RETRY_AFTER = timedelta(seconds=60)
#: The runner has noticed by then what became of a job in an allocation.
BATCH_GRACE = timedelta(seconds=60)
#: Which part of the runner works on jobs in a state; on others only people's commands do.
_DUTIES = {
    "CHECKED_OUT": "transfer",
    "RUN_FINISHED": "transfer",
    "UPLOADED": "queue",
    "SUBMITTED": "queue",
    "RUNNING": "queue",
    "BATCH_SUBMITTED": "queue",
    "BATCH_RUNNING": "queue",
    "DOWNLOADED": "complete",
}
#: Errors that are not the job's fault: signals, and a walltime that left a restart.
_NOT_THE_JOBS_FAULT = ("KeyboardInterrupt", "hemiec.engines.gpaw.scf.WalltimeError")
#: So often a job comes back by itself.
MAX_RETURNS = 10
_MAY_RETURN = {"$not": {"$gte": MAX_RETURNS}}
_FIELDS = {"uuid": 1, "index": 1, "db_id": 1, "state": 1, "error": 1, "previous_state": 1, "updated_on": 1}


def reconcile(queue: RemoteQueue) -> list[str]:
    """Return the uuids of lost jobs, made ready again; see :meth:`hemiec.launch.queue.Queue.reconcile`.

    The runner itself notices within seconds that a process or an allocation is gone. What it leaves are jobs that it
    calls failed, steps that it has given up, and locks if it is killed itself.
    """
    controller = queue.controller
    now = server_time(controller)
    _free_locks(controller, now)
    queue.keep_budgets()
    lost = [
        job for job in controller.jobs.find({"state": "FAILED", "hemiec.returns": _MAY_RETURN}, _FIELDS) if _lost(job)
    ]
    lost += _lost_in_batches(controller, now)
    given_up = {
        "state": "REMOTE_ERROR",
        "updated_on": {"$lt": now - RETRY_AFTER},
        "hemiec.returns": _MAY_RETURN,
    }
    returned = []
    for job in [*lost, *controller.jobs.find(given_up, _FIELDS)]:
        controller.jobs.update_one({"_id": job["_id"]}, {"$inc": {"hemiec.returns": 1}})
        # A step is taken up where it was left; there is no such place in an allocation that is gone.
        if job["state"] == "REMOTE_ERROR" and not str(job["previous_state"]).startswith("BATCH_"):
            done = queue.patiently(controller.retry_job, db_id=job["db_id"])
        else:
            done = queue.make_ready(job)
        if done:
            returned.append(job["uuid"])
    return returned


def server_time(controller: JobController) -> datetime:
    """Return MongoDB's time, in UTC without a zone as in its documents; that of this machine may be wrong."""
    now: datetime = controller.db.command("hello")["localTime"]
    return now


def _lost(job: Document) -> bool:
    error = str(job.get("error") or "")
    last = next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "")
    return was_killed(error) or last.startswith(_NOT_THE_JOBS_FAULT)


def _free_locks(controller: JobController, now: datetime) -> None:
    """Take away locks of runners that are gone.

    A runner gives a sign of life between two steps only, so one that came after the lock shows that the runner of that
    duty does not hold it; a runner in a step of many minutes gives none, and keeps its lock.
    """
    pings = (controller.auxiliary.find_one({"runner_pings": {"$exists": True}}) or {}).get("runner_pings", [])
    old = {"lock_time": {"$lt": now - LOCK_GRACE}}
    fields = {"lock_id": 1, "lock_time": 1, "state": 1, "worker": 1, "run_dir": 1}
    for job in list(controller.jobs.find(old, fields)):
        if _is_orphan(job["lock_time"], _DUTIES.get(job["state"]), pings, now):
            _free(controller.jobs, job, _submitted(controller, job) if job["state"] == "UPLOADED" else {})
    for flow in list(controller.flows.find(old, {"lock_id": 1, "lock_time": 1, "uuid": 1})):
        # The last step of a job holds the lock of its flow, and makes the children ready at its end.
        if _is_orphan(flow["lock_time"], "complete", pings, now) and _free(controller.flows, flow):
            refresh(controller, flow["uuid"])


def _is_orphan(locked: datetime, duty: str | None, pings: list[Document], now: datetime) -> bool:
    after = [ping for ping in pings if ping["time"] > locked and (ping.get("run_options") or {}).get(duty, True)]
    return bool(after) or now - locked > LOCK_AGE


def _free(collection: Any, document: Document, found: Document | None = None) -> bool:
    """Take away a lock if it is still the same one, and write what was found meanwhile; return whether it was."""
    same = {"_id": document["_id"], "lock_id": document["lock_id"]}
    update = {"$set": {"lock_id": None, "lock_time": None, **(found or {})}}
    return bool(collection.update_one(same, update).modified_count)


def _submitted(controller: JobController, job: Document) -> Document:
    """Return what a runner that was killed right after it submitted a job did not write: that it is submitted, and as
    what. Without it, the job would be submitted a second time.
    """
    from jobflow_remote.utils.remote import SharedHosts

    worker = controller.project.workers[job["worker"]]
    folder = job["run_dir"]
    find = {
        "slurm": f"squeue -h -u \"$(id -un)\" -o '%A %Z' | grep -F ' {folder}' | cut -d' ' -f1",
        "shell": f"pgrep -f -- 'remote.run {folder}$'",
    }.get(str(worker.scheduler_type))
    if find is None or worker.is_batch:
        return {}
    with SharedHosts(controller.project) as hosts:
        out, _, _ = hosts.get_host(job["worker"]).execute(find)
    numbers = out.split()
    return {"state": "SUBMITTED", "remote.process_id": numbers[0]} if numbers and numbers[0].isdigit() else {}


def _lost_in_batches(controller: JobController, now: datetime) -> list[Document]:
    """Return jobs handed to allocations that neither wait for one, nor run in one, nor have ended in one."""
    from jobflow_remote.jobs.batch import RemoteBatchManager
    from jobflow_remote.utils.remote import SharedHosts

    lost: list[Document] = []
    for name, worker in controller.project.workers.items():
        handed = {
            "worker": name,
            "state": {"$in": ["BATCH_SUBMITTED", "BATCH_RUNNING"]},
            "updated_on": {"$lt": now - BATCH_GRACE},
            "hemiec.returns": _MAY_RETURN,
        }
        jobs = list(controller.jobs.find(handed, _FIELDS)) if worker.is_batch else []
        if not jobs:
            continue
        with SharedHosts(controller.project) as hosts:
            manager = RemoteBatchManager(hosts.get_host(name), worker.batch.jobs_handle_dir)
            # A job that moves on while the folders are read, or is between two of them, is seen the second time.
            there = _in_allocations(manager)
            if all((job["uuid"], job["index"]) in there for job in jobs):
                continue
            time.sleep(1)
            there |= _in_allocations(manager)
        moved = {j["_id"] for j in jobs} - {j["_id"] for j in controller.jobs.find(handed, {"_id": 1})}
        lost += [job for job in jobs if (job["uuid"], job["index"]) not in there and job["_id"] not in moved]
    return lost


def _in_allocations(manager: Any) -> set[tuple[str, int]]:
    waiting = (name.split("_") for name in manager.get_submitted())
    found = {(uuid, int(index)) for uuid, index in waiting}
    return found | {(uuid, index) for uuid, index, _ in (*manager.get_running(), *manager.get_run_finished())}
