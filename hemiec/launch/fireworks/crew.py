"""Worker processes on this machine, watched: until a campaign is settled, or in an allocation while there is work."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pymongo.errors import ConnectionFailure, PyMongoError

from hemiec.errors import LaunchError, StoreError
from hemiec.launch.budget import spent_campaigns
from hemiec.launch.cluster.scheduler import allocated_cores, allocation_end, current_allocation
from hemiec.launch.fireworks.names import WorkerName
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.fireworks.reconcile import reconcile_here
from hemiec.launch.fireworks.worker import DISK_FULL, MIN_FREE_BYTES, THREAD_VARIABLES, Assignment
from hemiec.launch.ladder import advance_settled
from hemiec.launch.queue import Queue
from hemiec.launch.status import Status, read_status
from hemiec.launch.watch import Watch
from hemiec.settings import CONFIG_VARIABLE, Settings, config_file
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.outages import is_outage

POLL_SECONDS = 1.0
RECONCILE_SECONDS = 5.0
#: How often a crew in an allocation looks for what is ready and who is lost.
DRAIN_POLL_SECONDS = 2.0
#: An allocation in which nothing could be done for so long ends.
IDLE_SECONDS = 60.0
#: An allocation's end is kept free for putting back what runs then.
ENDING_SECONDS = 60.0
#: Workers give their jobs back within seconds; what is not back by then is ended, and `reconcile` brings it back.
STOP_SECONDS = 10.0
#: A worker that dies this soon without having taken a job: after a few of those something is wrong with all.
INFANT_SECONDS = 20.0
MAX_INFANT_DEATHS = 4
STORE_PATIENCE_SECONDS = 120.0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)


def time_to_stop(began: float, walltime: int | None) -> float | None:
    """Return when work that began then has to end, in s since 1970, with time to put jobs back; None for never.

    Parameters
    ----------
    began
        In s since 1970.
    walltime
        What was asked for in s; the scheduler is asked for the end of the allocation too.
    """
    ends = [end for end in (allocation_end(), None if walltime is None else began + walltime) if end is not None]
    if not ends:
        return None
    # Of a very short one, no more than a tenth.
    return min(ends) - min(ENDING_SECONDS, (min(ends) - began) / 10)


def open_patiently(settings: Settings, until: float | None, report: Callable[[str], None]) -> Database:
    """Return the database, waiting for it; an embedded one is never started: it would end with the allocation.

    Raises
    ------
    StoreError
        If it did not answer until the end.
    """
    said = False
    while True:
        try:
            return open_database(settings, start=False)
        except StoreError as error:
            if not isinstance(error.__cause__, ConnectionFailure) or (until is not None and time.time() > until):
                raise
            if not said:
                report(f"{error.message} Waiting for it")
            said = True
        time.sleep(DRAIN_POLL_SECONDS)


class Crew:
    """Start workers, replace those that die, repair what they leave, and stop them.

    Parameters
    ----------
    settings
        Data folder and where the database is.
    queue
        Where the work is.
    campaign
        Work on this campaign only; None for everything in the queue.
    workers
        How many.
    categories
        Take jobs of these categories only; none for all.
    until
        When all has to be over, in s since 1970.

    Raises
    ------
    LaunchError
        If the queue is jobflow-remote's, which has a runner of its own.
    """

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        *,
        campaign: str | None,
        workers: int,
        categories: Sequence[str] = (),
        until: float | None = None,
    ) -> None:
        if not isinstance(queue, FireWorksQueue):
            raise LaunchError(
                "workers run the jobs of a FireWorks LaunchPad; this queue is jobflow-remote's.",
                mend="start its runner, `jf runner start`, and `hemiec launch` to look after it",
            )
        self.settings = settings
        self.queue = queue
        self.assignment = Assignment(campaign, tuple(categories), until)
        self.n_workers = workers
        self.in_allocation = current_allocation() is not None
        # Allocations on several machines would write into one file, each over the other's lines.
        self.log: Path = (Path.cwd() if self.in_allocation else settings.data_dir) / "worker.log"
        self._workers: list[_Worker] = []
        self._infant_deaths = 0
        self._disk_full = False

    def run(self, report: Callable[[Status], None]) -> Status:
        """Work until the campaign is settled, up its ladder if it has one, and return its last status.

        Parameters
        ----------
        report
            Called about once a second with the status.

        Raises
        ------
        LaunchError
            If workers die as soon as they start, or the disk is full.
        StoreError
            If the database stays away.
        """
        settled_before = False
        last_reconcile = -RECONCILE_SECONDS
        campaign = self.assignment.campaign
        watch = Watch(self.settings, self.queue, campaign)
        try:
            while True:
                try:
                    if time.monotonic() - last_reconcile > RECONCILE_SECONDS:
                        watch.lost(self.queue.reconcile())
                        watch.look()
                        if campaign is None:  # one campaign may be ready for its next tier while others run
                            watch.climbed(advance_settled(self.queue))
                        last_reconcile = time.monotonic()
                    status = read_status(self.queue, campaign)
                    if status.jobs_settled and not status.settled:
                        watch.climbed(advance_settled(self.queue, campaign))
                        status = read_status(self.queue, campaign)
                except PyMongoError:
                    self._revive_store()
                    continue
                report(status)
                if status.settled and settled_before and not self._brought_back():
                    watch.settled(status)
                    return status
                # Between a job's end and its children's start there is a moment when nothing is ready.
                settled_before = status.settled
                if not status.settled:
                    try:
                        self._staff()
                    except PyMongoError:
                        self._revive_store()
                time.sleep(POLL_SECONDS)
        finally:
            self.stop()

    def drain(self, report: Callable[[str], None], *, idle_seconds: float = IDLE_SECONDS) -> None:
        """Work until nothing has been ready for a while or the time is over; for an allocation, whose hours cost.

        What is lost elsewhere, and ladders, are left to `hemiec launch`.

        Parameters
        ----------
        report
            Called with a line about each event.
        idle_seconds
            How long nothing may be ready, with no worker busy, before the allocation is given up, in s.

        Raises
        ------
        LaunchError
            If workers die as soon as they start, or the disk is full.
        """
        busy_at = last_reconcile = time.monotonic()
        away = False
        try:
            while not self._is_over():
                try:
                    if time.monotonic() - last_reconcile > RECONCILE_SECONDS or self._n_ended():
                        reconcile_here(self.queue.database, self.queue.launchpad)
                        last_reconcile = time.monotonic()
                    if self._n_running() or self._is_anything_ready():
                        busy_at = time.monotonic()
                    self._staff()
                    if away:
                        report("MongoDB answers again")
                    away = False
                except PyMongoError as error:
                    if not is_outage(error):
                        raise
                    if not away:
                        report(f"MongoDB does not answer ({type(error).__name__}); waiting for it")
                    away = True
                    busy_at = time.monotonic()
                if time.monotonic() - busy_at > idle_seconds and not self._finds_more():
                    report(f"nothing has been ready for {idle_seconds:.0f} s")
                    return
                time.sleep(DRAIN_POLL_SECONDS)
            report("the time is over")
        finally:
            self.stop()
            with suppress(PyMongoError):  # then `hemiec launch` brings back what workers could not
                reconcile_here(self.queue.database, self.queue.launchpad)

    def _finds_more(self) -> bool:
        """Return whether something is ready after all: a worker that was killed may have left its job half ended."""
        try:
            reconcile_here(self.queue.database, self.queue.launchpad)
            return self._is_anything_ready()
        except ConnectionFailure:
            return True

    def stop(self) -> None:
        """End all workers; they make their jobs ready again, and `reconcile` those of workers that cannot."""
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._workers.clear()

    def _is_over(self) -> bool:
        return self.assignment.until is not None and time.time() > self.assignment.until

    def _brought_back(self) -> bool:
        """Return whether there is more to do after all: lost jobs that are ready again, or no store to ask."""
        try:
            return bool(self.queue.reconcile())
        except PyMongoError:
            self._revive_store()
            return True

    def _n_ended(self) -> int:
        return sum(worker.process.poll() is not None for worker in self._workers)

    def _n_running(self) -> int:
        """Return how many jobs this crew runs."""
        pids = "|".join(str(worker.process.pid) for worker in self._workers)
        name = {"$regex": f"^{re.escape(WorkerName.prefix_here())}({pids}):"}
        return self.queue.database["launches"].count_documents({"state": "RUNNING", "fworker.name": name})

    def _took_a_job(self, worker: _Worker) -> bool:
        name = {"$regex": f"^{re.escape(WorkerName.prefix_here())}{worker.process.pid}:"}
        return self.queue.database["launches"].count_documents({"fworker.name": name}, limit=1) == 1

    def _is_anything_ready(self) -> bool:
        spent = spent_campaigns(self.queue.database)
        return bool(self.queue.launchpad.run_exists(self.assignment.fworker("", spent)))

    def _staff(self) -> None:
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is not None:
                self._workers.remove(worker)
                self._disk_full = self._disk_full or code == DISK_FULL
                infant = time.monotonic() - worker.started < INFANT_SECONDS and not self._took_a_job(worker)
                self._infant_deaths = self._infant_deaths + 1 if infant else 0
        self._require_space()
        if self._infant_deaths >= MAX_INFANT_DEATHS:
            raise LaunchError(
                f"workers stop as soon as they start ({self._last_words()}).",
                mend=f"see {self.log}, or run `hemiec doctor`",
            )
        while len(self._workers) < self.n_workers:
            self._workers.append(_Worker(self._start()))

    def _start(self) -> subprocess.Popen[bytes]:
        run_dir = self.settings.run_dir
        run_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "hemiec.launch.fireworks.worker", "--run-dir", str(run_dir), "--parent"]
        environment = dict(os.environ)
        if self.in_allocation:  # the batch script may ask for another number of threads
            threads = str(max(1, allocated_cores() // self.n_workers))
            environment |= {name: os.environ.get(name, threads) for name in THREAD_VARIABLES}
        else:
            environment |= dict.fromkeys(THREAD_VARIABLES, "1")
        environment |= {"HEMIEC_DATA_DIR": str(self.settings.data_dir), "HEMIEC_DATABASE": self.settings.database}
        environment[CONFIG_VARIABLE] = str(config_file().absolute())  # workers run in another folder
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*command, str(os.getpid()), *self.assignment.arguments()],
                cwd=run_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops them
            )

    def _require_space(self) -> None:
        """Stop before a full disk fails one job after the other."""
        folder = self.settings.data_dir
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES or self._disk_full:
            raise LaunchError(
                f"{folder}: only {free / 1024**2:.0f} MiB free; the workers were stopped.",
                mend="free some space and run the same command again; what finished is kept",
            )

    def _revive_store(self) -> None:
        """Start an embedded MongoDB that died, or wait for a server to come back."""
        deadline = time.monotonic() + STORE_PATIENCE_SECONDS
        while True:
            try:
                if self.settings.mongo_uri is None:
                    EmbeddedMongod(self.settings).up()
                self.queue.database.client.admin.command("ping")
                return
            except PyMongoError as error:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"MongoDB has been unreachable for {STORE_PATIENCE_SECONDS:.0f} s ({type(error).__name__}).",
                        mend="bring it back and run the same command again; nothing is lost",
                    ) from error
                time.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no message")
