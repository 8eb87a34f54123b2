"""The queue of jobflow-remote: its runner hands jobs to a scheduler and fetches what they return."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from jobflow import Flow, JobStore
from maggma.stores import MongoStore
from pymongo.errors import DuplicateKeyError

from hemiec.errors import LaunchError
from hemiec.launch.budget import spent_campaigns
from hemiec.launch.queue import JobStatus, Queue, State, Tally, Trace
from hemiec.launch.remote import enqueue, reconcile
from hemiec.launch.remote.config import JOBS, load_project, require_same_store
from hemiec.launch.remote.jobs import blocked_jobs, read_jobs, read_trace, seconds_of
from hemiec.settings import Settings
from hemiec.store.database import Database, Document
from hemiec.store.queue.remote import (
    ABOUT,
    STATES,
    TALLY_INDEX,
    elapsed_s,
    in_chunks,
    latest,
    states_of,
    tally_jobs,
    wanted_by,
)

if TYPE_CHECKING:
    from jobflow_remote import JobController
    from jobflow_remote.config.base import Project

Result = TypeVar("Result")
#: The runner holds a job's lock for a step, which may be a transfer.
_PATIENCE_S = 30.0
_HELD = ("PAUSED", "STOPPED", "USER_STOPPED")
_FIELDS = {
    "uuid": 1,
    "index": 1,
    "db_id": 1,
    "state": 1,
    "worker": 1,
    "remote.process_id": 1,
    "start_time": 1,
    "end_time": 1,
    "updated_on": 1,
    "job.hosts": 1,
    "run_dir": 1,
}


class RemoteQueue(Queue):
    """The jobs of one database in the hands of a jobflow-remote project.

    Parameters
    ----------
    settings
        Which project.
    database
        Where queue and results are.

    Raises
    ------
    LaunchError
        If jobflow-remote is missing, there is no such project, its store is another one, or large objects are to lie
        outside of MongoDB.
    """

    backend = "jobflow-remote"

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(database)
        if settings.large_objects != "gridfs":
            raise LaunchError(
                f"large objects are to lie in {settings.large_objects}; jobflow-remote's runner knows GridFS only.",
                mend="set HEMIEC_LARGE_OBJECTS=gridfs, or HEMIEC_BACKEND=fireworks",
            )
        project, path = load_project(settings)
        require_same_store(project, path, database)
        self.controller = _controller(project, database)

    def close(self) -> None:
        """Do nothing: all connections are the database's."""

    def add_missing(self, flows: Sequence[Flow], campaign: str) -> int:
        """Add jobs; see :meth:`Queue.add_missing`."""
        return enqueue.add_missing(self.database, self.controller, flows, campaign)

    def claim(self, campaign: str, uuids: Collection[str]) -> None:
        """Make jobs a campaign's; see :meth:`Queue.claim`."""
        enqueue.claim(self.controller, campaign, uuids)

    def release(self, campaign: str, uuids: Collection[str]) -> None:
        """Take jobs from a campaign; see :meth:`Queue.release`."""
        enqueue.release(self.controller, campaign, uuids)

    def mend_submission(self) -> None:
        """Undo a half-written submission; see :meth:`Queue.mend_submission`."""
        enqueue.mend_submission(self.controller)

    def states(self, uuids: Collection[str]) -> dict[str, State]:
        """Return uuid to state; see :meth:`Queue.states`."""
        known = enqueue.known_jobs(self.database, self.controller, uuids)
        return {uuid: STATES[entry["state"]] for uuid, entry in known.items()}

    def tally(self, campaign: str | None = None, *, costs: bool = False, spent: Collection[str] = ()) -> list[Tally]:
        """Return counts; see :meth:`Queue.tally`."""
        return tally_jobs(self.controller.jobs, campaign, costs, spent)

    def jobs(
        self,
        campaign: str | None = None,
        *,
        uuids: Collection[str] | None = None,
        states: Collection[State] | None = None,
        limit: int | None = None,
    ) -> list[JobStatus]:
        """Return jobs; see :meth:`Queue.jobs`."""
        return read_jobs(self.controller.jobs, campaign, uuids, states, limit)

    def trace(self, job: JobStatus, *, lines: int = 15) -> Trace:
        """Return the end of traceback and output; see :meth:`Queue.trace`."""
        return read_trace(self.controller.jobs, job.uuid, lines)

    def finished_since(self, moment: datetime, campaign: str | None = None) -> int:
        """Return how many jobs were done; see :meth:`Queue.finished_since`."""
        query: Document = {"state": "COMPLETED", "end_time": {"$gte": moment}}
        if campaign is not None:
            query[f"{ABOUT}.campaigns"] = campaign
        return self.controller.jobs.count_documents(query)

    def blocked(self, uuids: Collection[str]) -> set[str]:
        """Return the blocked ones; see :meth:`Queue.blocked`."""
        return blocked_jobs(self.controller.jobs, set(uuids))

    def seconds(self, uuids: Collection[str]) -> dict[str, float]:
        """Return wall times; see :meth:`Queue.seconds`."""
        return seconds_of(self.controller.jobs, uuids)

    def startable(self, campaign: str | None, spent: Collection[str]) -> int:
        """Return how many may start; see :meth:`Queue.startable`."""
        query = {"state": {"$in": states_of("ready")}, **wanted_by(campaign, spent)}
        return self.controller.jobs.count_documents(query)

    def hold(self, spent: Collection[str]) -> None:
        """Pause jobs that have not started; the runner knows of no budgets. See :meth:`Queue.hold`.

        `reconcile` holds what was added or became ready since, and lets all run again that a campaign may pay for.
        """
        mine = {f"{ABOUT}.campaigns": {"$gt": "", "$not": {"$elemMatch": {"$nin": list(spent)}}}}
        waiting = {**mine, "state": {"$in": ["WAITING", "READY"]}, "lock_id": None}
        self.controller.jobs.update_many(waiting, {"$set": {"state": "PAUSED", "hemiec.held": True}})
        for job in list(self.controller.jobs.find({**mine, "state": {"$in": states_of("ready")}}, _FIELDS)):
            if self.patiently(self._stop, job, "PAUSED"):
                self.controller.jobs.update_one({"_id": job["_id"]}, {"$set": {"hemiec.held": True}})

    def keep_budgets(self) -> None:
        """Hold what only campaigns ask for whose budget is spent, and let go of what is held for no such reason."""
        spent = spent_campaigns(self.database)
        if spent:
            self.hold(spent)
        jobs = self.controller.jobs
        free = {"hemiec.held": True, "state": "PAUSED", **wanted_by(None, spent)}
        flows = {job["job"]["hosts"][-1] for job in jobs.find(free, {"job.hosts": 1})}
        jobs.update_many(free, {"$set": {"state": "WAITING"}, "$unset": {"hemiec.held": ""}})
        for flow in flows:
            enqueue.refresh(self.controller, flow)

    def rerun(self, jobs: Sequence[JobStatus]) -> int:
        """Make failed jobs ready again in their folders; see :meth:`Queue.rerun`."""
        chosen = self._latest(jobs, "failed")
        for job in chosen:
            self.controller.jobs.update_one({"_id": job["_id"]}, {"$unset": {"hemiec.returns": ""}})
            self.make_ready(job)
        return len(chosen) - len(self._latest(jobs, "failed"))

    def cancel(self, jobs: Sequence[JobStatus]) -> int:
        """Cancel jobs; one that runs in an allocation with others runs on, and what it returns is left out.

        See :meth:`Queue.cancel`.
        """
        chosen = self._latest(jobs, "waiting", "ready", "running", "paused")
        done = [job for job in chosen if self.patiently(self._stop, job, "USER_STOPPED")]
        for flow in {job["job"]["hosts"][-1] for job in done}:  # children that tolerate it need not wait longer
            enqueue.refresh(self.controller, flow)
        return len(done)

    def pause(self, jobs: Sequence[JobStatus]) -> int:
        """Pause jobs, also those that wait in the scheduler's queue; see :meth:`Queue.pause`."""
        return sum(self.patiently(self._stop, job, "PAUSED") for job in self._latest(jobs, "waiting", "ready"))

    def resume(self, jobs: Sequence[JobStatus]) -> int:
        """Resume jobs; see :meth:`Queue.resume`."""
        chosen = self._latest(jobs, "paused", "cancelled")
        return sum(self.patiently(self.controller.resume_job, db_id=job["db_id"]) for job in chosen)

    def reconcile(self) -> list[str]:
        """Bring lost jobs back; see :meth:`Queue.reconcile`."""
        return reconcile.reconcile(self)

    def make_ready(self, job: Document) -> bool:
        """Let a failed or lost job run again where its files are; return whether it will.

        What came after it in spite of its failure runs again too. Jobs below it that people hold stay held.
        """
        if self.controller.jobs.find_one({"_id": job["_id"], "state": job["state"]}, {"_id": 1}) is None:
            return False  # it came back with one that it waits for
        below = self._below(job["uuid"])
        started = [child for child in below if child["state"] not in ("READY", "WAITING", *_HELD)]
        for child in started:
            if STATES[child["state"]] in ("ready", "running"):
                self.patiently(self._stop, child, "USER_STOPPED")
        for launched in (job, *started):
            self._forget_launch(launched["db_id"])
        batch = job["state"] in ("BATCH_SUBMITTED", "BATCH_RUNNING")
        held = any(child["state"] in ("STOPPED", "USER_STOPPED") for child in below)
        done = self.patiently(
            self.controller.rerun_job, db_id=job["db_id"], force=bool(started) or batch or held, delete_files=False
        )
        for child in below if done else []:
            if child["state"] in _HELD:
                self.controller.jobs.update_one(
                    {"_id": child["_id"], "state": "WAITING"}, {"$set": {"state": child["state"]}}
                )
        return done

    def patiently(self, act: Callable[..., Any], *arguments: Any, **keywords: Any) -> bool:
        """Do something to a job that the runner may have locked for a step; return whether it was done.

        It is not if the job has meanwhile moved to a state in which it cannot be.

        Raises
        ------
        LaunchError
            If the job stays locked.
        """
        from jobflow_remote.utils.db import LockedDocumentError

        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return act(*arguments, **keywords) is not False
            except LockedDocumentError as error:
                if time.monotonic() > deadline:
                    raise LaunchError(
                        f"a job has been locked for {_PATIENCE_S:.0f} s ({str(error).splitlines()[0]})",
                        mend="if no runner runs, start it and run `hemiec reconcile`, then the same command again",
                    ) from error
                time.sleep(0.2)
            except ValueError:  # how jobflow-remote says that the state forbids it
                return False

    def _latest(self, jobs: Sequence[JobStatus], *states: State) -> list[Document]:
        """Return the documents of jobs that are now in some states; of a replaced job, the last one."""
        found: dict[str, Document] = {}
        for part in in_chunks(job.uuid for job in jobs):
            found |= latest(self.controller.jobs.find(part, _FIELDS))
        return [document for document in found.values() if STATES[document["state"]] in states]

    def _below(self, uuid: str) -> list[Document]:
        """Return the documents of all jobs that wait for a job, directly or not."""
        found: dict[str, Document] = {}
        front = {uuid}
        while front:
            children = latest(self.controller.jobs.find({"parents": {"$in": sorted(front)}}, _FIELDS))
            front = set(children) - set(found)
            found |= children
        return list(found.values())

    def _stop(self, job: Document, state: str) -> bool:
        """Take a job from the scheduler if it is there, and give it a state; return whether it could be done."""
        from jobflow_remote.jobs.state import JobState

        with self.controller.lock_job_flow(
            db_id=job["db_id"],
            job_lock_kwargs={"projection": ["uuid", "index", "db_id", "state", "remote", "worker", "run_dir"]},
            flow_lock_kwargs={"projection": ["uuid"]},
        ) as (lock, flow):
            current = lock.locked_document
            allowed = ("waiting", "ready") if state == "PAUSED" else ("waiting", "ready", "running", "paused")
            if STATES[current["state"]] not in allowed:
                return False
            if current["state"] in ("SUBMITTED", "RUNNING"):
                self._end_process(current)
            elif current["state"] == "BATCH_SUBMITTED" and not self._withdraw(current) and state == "PAUSED":
                return False  # an allocation has just taken it
            lock.update_on_release = {"$set": {"state": state}}
            self.controller.update_flow_state(
                flow.locked_document["uuid"], {current["uuid"]: {current["index"]: JobState(state)}}
            )
        return True

    def _end_process(self, job: Document) -> None:
        """End a job's process or allocation; one that is gone already is as good."""
        from jobflow_remote.remote.queue import QueueManager
        from jobflow_remote.utils.remote import SharedHosts

        process = job["remote"]["process_id"]
        worker = self.controller.project.workers[job["worker"]]
        with SharedHosts(self.controller.project) as hosts:
            host = hosts.get_host(job["worker"])
            if worker.scheduler_type == "shell" and re.fullmatch(r"\d+", str(process)):
                host.execute(f"pkill -KILL -P {process}")  # a killed shell leaves what it has started
            QueueManager(worker.get_scheduler_io(), host).cancel(process)

    def _withdraw(self, job: Document) -> bool:
        """Take back a job that waits for an allocation of a batch worker; return whether it was still there."""
        from jobflow_remote.jobs.batch import SUBMITTED_DIR
        from jobflow_remote.utils.remote import SharedHosts

        folder = PurePosixPath(self.controller.project.workers[job["worker"]].batch.jobs_handle_dir) / SUBMITTED_DIR
        with SharedHosts(self.controller.project) as hosts:
            _, _, code = hosts.get_host(job["worker"]).execute(f"rm '{folder}/{job['uuid']}_{job['index']}'")
        return bool(code == 0)

    def _forget_launch(self, db_id: str) -> None:
        """Keep the time of a job's last launch before jobflow-remote forgets it, and remove what it returned.

        Otherwise, a launch that is cancelled before it begins would be taken for the last one.
        """
        from jobflow_remote.jobs.data import OUT_FILENAME
        from jobflow_remote.utils.remote import SharedHosts

        document = self.controller.jobs.find_one({"db_id": db_id}, _FIELDS)
        if document is None:
            return
        seconds = elapsed_s(document)
        if seconds is not None:
            update = {"$inc": {"hemiec.seconds": seconds}, "$set": {"start_time": None, "end_time": None}}
            self.controller.jobs.update_one({"db_id": db_id, "start_time": document["start_time"]}, update)
        if document.get("run_dir"):
            with SharedHosts(self.controller.project) as hosts:
                answer = PurePosixPath(document["run_dir"]) / OUT_FILENAME
                hosts.get_host(document["worker"]).execute(f"rm -f '{answer}' '{answer}'.*")


def _controller(project: Project, database: Database) -> JobController:
    """Return jobflow-remote's controller on hemiec's own connection, its collections made if they are not there."""
    from jobflow_remote import JobController

    controller = JobController(
        queue_store=MongoStore.from_collection(database[JOBS]),
        jobstore=JobStore(MongoStore.from_collection(database["outputs"])),
        flows_collection=project.queue.flows_collection,
        auxiliary_collection=project.queue.auxiliary_collection,
        batches_collection=project.queue.batches_collection,
        project=project,
    )
    _prepare(controller)
    return controller


def _prepare(controller: JobController) -> None:
    """Make what `jf admin reset` makes, without deleting anything, and the indexes that a large queue needs."""
    auxiliary, jobs = controller.auxiliary, controller.jobs
    if auxiliary.find_one({"next_id": {"$exists": True}}) is None:
        # Named, so that of two processes at once only one makes each.
        first: Document = {"next_id": 1, "running_runner": None, "runner_pings": []}
        for name, value in first.items():
            try:
                auxiliary.insert_one({"_id": f"hemiec-{name}", name: value})
            except DuplicateKeyError:
                continue
        controller.update_version_information()
        controller.build_indexes()
    # jobflow-remote looks for the jobs of a flow, and for children, at every job that ends.
    jobs.create_index("job.hosts")
    jobs.create_index("parents")
    jobs.create_index([("state", 1), ("end_time", 1)])
    jobs.create_index([(field, 1) for field in TALLY_INDEX], name="hemiec_tally")
    for collection in (jobs, controller.flows):
        # Only what is locked, which is little.
        collection.create_index("lock_time", partialFilterExpression={"lock_time": {"$type": "date"}})
    jobs.create_index("hemiec.held", sparse=True)
    controller.flows.create_index("metadata.hemiec.writing", sparse=True)
    controller.flows.create_index("metadata.hemiec.into", sparse=True)
