"""A worker: one process that runs one Firework after another until it is stopped.

Started as ``python -m hemiec.launch.fireworks.worker``; models are loaded once and serve all its jobs.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemiec.launch.fireworks.names import worker_name

if TYPE_CHECKING:
    from fireworks import FWorker

    from hemiec.launch.fireworks.patience import Duty, PatientLaunchPad

POLL_SECONDS = 1.0
#: A worker without a job looks again after this; every look in vain doubles it, up to POLL_SECONDS.
FIRST_POLL_SECONDS = 0.05
#: How often a running job signs on the LaunchPad.
PING_SECONDS = 30
#: How often a worker looks whose budget is spent.
BUDGET_SECONDS = 10.0
#: A worker whose parent is gone gives its job back, and ends after this if it could not.
ORPHAN_SECONDS = 10.0
#: Signals wait for a write, so no attempt at one may outlast the scheduler's patience between TERM and KILL (30 s).
STORE_TIMEOUT_MS = 10_000
#: Less free space than this, and no further job is taken: it would fail for want of space.
MIN_FREE_BYTES = 100 * 1024**2
#: Exit code of a worker that stopped because the disk is full.
DISK_FULL = 74
#: Threads per worker: one core each, as many workers as cores.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Assignment:
    """Which jobs a worker takes.

    Parameters
    ----------
    campaign
        Only jobs of this campaign; None for all.
    categories
        Only jobs of these categories (``mlip``, ``dft``, ``gpu``); none for all.
    until
        When the work has to end, in s since 1970: jobs whose walltime does not fit into what is left are not taken,
        and the one that still runs is put back.
    """

    campaign: str | None = None
    categories: Sequence[str] = field(default_factory=tuple)
    until: float | None = None

    def query(self, spent: Collection[str] = ()) -> dict[str, Any]:
        """Return the condition on jobs, as FireWorks' workers take it; categories come beside it.

        Parameters
        ----------
        spent
            Campaigns whose budget is spent.
        """
        from hemiec.store.queue.fireworks import wanted_by

        query = wanted_by(self.campaign, spent)
        if self.until is not None:
            walltime = "spec.hemiec.resources.walltime_min"
            query["$or"] = [{walltime: {"$lte": (self.until - time.time()) / 60}}, {walltime: None}]
        return query

    def fworker(self, name: str, spent: Collection[str] = ()) -> FWorker:
        """Return FireWorks' description of a worker that takes these jobs."""
        from fireworks import FWorker

        return FWorker(name=name, category=list(self.categories) or "", query=self.query(spent))

    def arguments(self) -> list[str]:
        """Return it as arguments of a worker's command line."""
        words = [] if self.campaign is None else ["--campaign", self.campaign]
        words += [word for category in self.categories for word in ("--category", category)]
        return words if self.until is None else [*words, "--until", str(self.until)]


def work(*, run_dir: Path, assignment: Assignment, parent_pid: int | None) -> int:
    """Run ready Fireworks in this process until it is told to stop, and return its exit code.

    Parameters
    ----------
    run_dir
        Each job runs in a folder of its own in here.
    assignment
        Which jobs, until when.
    parent_pid
        Stop when this process is gone.
    """
    _quiet()
    from fireworks.core import rocket
    from jobflow import SETTINGS

    from hemiec.launch.budget import spent_campaigns
    from hemiec.launch.fireworks.folders import tidy_after
    from hemiec.launch.fireworks.launchpad import open_launchpad
    from hemiec.launch.fireworks.patience import CANCEL_SIGNAL, Duty, PatientJobStore, PatientLaunchPad, patiently
    from hemiec.settings import load_settings
    from hemiec.store.database import open_database
    from hemiec.store.trust import Trust

    duty = Duty()
    signal.signal(signal.SIGTERM, duty.signal)
    signal.signal(signal.SIGINT, duty.signal)
    signal.signal(CANCEL_SIGNAL, duty.cancel)
    if parent_pid is not None:
        _die_with(parent_pid)
    if assignment.until is not None:
        _end_at(assignment.until)
    rocket.PING_TIME_SECS = PING_SECONDS
    settings = load_settings()
    database = open_database(settings, timeout_ms=STORE_TIMEOUT_MS, start=False)
    store = PatientJobStore(patiently(database.job_store), duty)
    SETTINGS.JOB_STORE = store
    launchpad = PatientLaunchPad(
        patiently(lambda: open_launchpad(database)),
        duty,
        trust=Trust(database.trusted_packages),
        run_dir=run_dir,
        job_store=store,
    )
    tidy = partial(tidy_after, database, policy=settings.keep_folders, run_dir=run_dir)
    shift = _Shift(launchpad, duty, assignment, run_dir, tidy, partial(spent_campaigns, database))
    with contextlib.suppress(KeyboardInterrupt):
        shift.run()
    duty.finish()
    shift.give_back()
    return DISK_FULL if duty.disk_full else 0


class _Shift:
    """One job after the other.

    Parameters
    ----------
    launchpad
        A :class:`hemiec.launch.fireworks.patience.PatientLaunchPad`.
    duty
        Its duty.
    assignment, run_dir
        As in :func:`work`.
    tidy
        Called with the fw_id of each job that was run.
    spent_campaigns
        Returns the names of campaigns whose budget is spent.
    """

    def __init__(
        self,
        launchpad: PatientLaunchPad,
        duty: Duty,
        assignment: Assignment,
        run_dir: Path,
        tidy: Callable[[int], None],
        spent_campaigns: Callable[[], list[str]],
    ) -> None:
        self.launchpad = launchpad
        self.duty = duty
        self.assignment = assignment
        self.run_dir = run_dir
        self.tidy = tidy
        self.spent_campaigns = spent_campaigns
        self.done = 0
        self._spent: list[str] = []
        self._look_again = time.monotonic()

    def run(self) -> None:
        """Run jobs until the duty ends."""
        folder: Path | None = None
        wait = FIRST_POLL_SECONDS
        try:
            while not self.duty.stop and self._has_space():
                folder = folder or self._new_folder()
                ran = self._run_one(folder)
                if ran or any(folder.iterdir()):  # never in what another job has left there
                    folder = None
                if ran:
                    wait = FIRST_POLL_SECONDS
                else:
                    time.sleep(wait)
                    wait = min(2 * wait, POLL_SECONDS)
        finally:
            if folder is not None:
                with contextlib.suppress(OSError):  # unless a job was interrupted in it
                    folder.rmdir()

    def _run_one(self, folder: Path) -> bool:
        """Run a job in a folder if one is ready, and return whether one was."""
        from fireworks.core.rocket_launcher import launch_rocket
        from pymongo.errors import PyMongoError

        from hemiec.launch.fireworks.patience import patiently
        from hemiec.store.outages import is_outage

        os.chdir(folder)
        try:
            self.duty.begin()
            if self.duty.stop:  # since we looked
                return False
            fworker = self.assignment.fworker(worker_name(), self._spent_campaigns())
            ran = bool(launch_rocket(self.launchpad, fworker, strm_lvl="CRITICAL"))
        except PyMongoError as error:
            if not is_outage(error):
                raise
            patiently(self.give_back)  # a job may have been taken half
            ran = False
        except KeyboardInterrupt:  # not within the job
            if self.duty.stop:
                raise
            patiently(self.give_back)
            ran = False
        finally:
            os.chdir(self.run_dir)
            # FireWorks keeps a copy of every job it has run.
            self.launchpad.backup_launch_data.clear()
            self.launchpad.backup_fw_data.clear()
        if ran:
            self._clear_up(folder)
        return ran

    def _spent_campaigns(self) -> list[str]:
        if time.monotonic() > self._look_again:
            self._spent = self.spent_campaigns()
            self._look_again = time.monotonic() + BUDGET_SECONDS
        return self._spent

    def _clear_up(self, folder: Path) -> None:
        """Tidy what a job left; it has its result, so trouble here is not the job's."""
        from pymongo.errors import PyMongoError

        self.done += 1
        try:
            if self.launchpad.fw_id is not None:
                self.tidy(self.launchpad.fw_id)
            if folder.exists() and not any(folder.iterdir()):  # the job ran elsewhere
                folder.rmdir()
        except (OSError, PyMongoError) as error:
            print(f"{folder}: not tidied ({error})", file=sys.stderr, flush=True)

    def give_back(self) -> None:
        """Make ready again what this worker has taken and does not run."""
        from hemiec.launch.fireworks.reconcile import give_back

        mine = {"fworker.name": worker_name(), "state": "RUNNING"}
        for launch in self.launchpad.launches.find(mine, {"launch_id": 1}):
            give_back(self.launchpad, launch["launch_id"], None)

    def _has_space(self) -> bool:
        free = shutil.disk_usage(self.run_dir).free
        if free < MIN_FREE_BYTES:
            self.duty.disk_full = True
        if self.duty.disk_full:
            print(
                f"{self.run_dir}: the disk is full ({free / 1024**2:.0f} MiB free); this worker takes no more jobs.",
                file=sys.stderr,
                flush=True,
            )
        return not self.duty.disk_full

    def _new_folder(self) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = self.run_dir / f"{stamp}-{socket.gethostname()}-{os.getpid()}-{self.done}"
        folder.mkdir(parents=True)
        return folder


def _die_with(parent_pid: int) -> None:
    """End this process when its parent is gone, even if that was killed: no worker runs unwatched."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_at(until: float) -> None:
    """Give the running job back when the time is over."""
    timer = threading.Timer(max(0.0, until - time.time()), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()


def _quiet() -> None:
    """Keep libraries' chatter out of the log; errors still come through."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def main(arguments: list[str] | None = None) -> int:
    """Run a worker from the command line."""
    parser = argparse.ArgumentParser(prog="python -m hemiec.launch.fireworks.worker", description=main.__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="folder for the jobs' own folders")
    parser.add_argument("--parent", type=int, help="stop when this process is gone")
    parser.add_argument("--campaign", help="run only jobs of this campaign")
    parser.add_argument("--category", action="append", default=[], help="run only jobs of this category; repeatable")
    parser.add_argument("--until", type=float, help="stop at this moment, in s since 1970")
    options = parser.parse_args(arguments)
    assignment = Assignment(options.campaign, tuple(options.category), options.until)
    return work(run_dir=options.run_dir.absolute(), assignment=assignment, parent_pid=options.parent)


if __name__ == "__main__":
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    # Whoever may read a run folder may not write there, however lax the shell was that started us.
    os.umask(os.umask(0) | 0o022)
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # FireWorks' thread that signs for a job is asleep for up to PING_SECONDS; nobody waits for it.
    os._exit(code)
