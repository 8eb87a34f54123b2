"""A LaunchPad and a store that wait for a database that is away, so that no finished calculation is lost.

FireWorks and jobflow fail a job whose result cannot be written at once. Here the write is tried again until it
succeeds; the calculation is not repeated. If the worker dies meanwhile, the job is lost like any other and runs again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from fireworks import FWAction, FWorker, LaunchPad
from fireworks.core.launchpad import WFLock
from jobflow import JobStore
from pymongo.errors import PyMongoError

from hemiec.launch.fireworks.locks import mend_workflows
from hemiec.launch.fireworks.reconcile import give_back, is_disk_full, is_interruption
from hemiec.launch.fireworks.trust import TrustedLaunchPad
from hemiec.store.objects import OutputStore
from hemiec.store.outages import is_outage
from hemiec.store.trust import Trust

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Tells a worker to drop its job and go on with another.
CANCEL_SIGNAL = signal.SIGUSR1
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 15.0


class Duty:
    """What a worker is at, so that a signal stops a calculation and never the writing of its result."""

    def __init__(self) -> None:
        #: No further job is taken.
        self.stop = False
        #: A signal ended the calculation that ran.
        self.interrupted = False
        #: A job runs.
        self.busy = False
        #: A job could not write to the disk.
        self.disk_full = False
        self._may_interrupt = True

    def begin(self) -> None:
        """Allow signals to interrupt."""
        self._may_interrupt = True

    def finish(self) -> None:
        """From now on what was calculated is being written: signals wait."""
        self.busy = False
        self._may_interrupt = False

    def signal(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: end the calculation, or note that no other is to start."""
        self.stop = True
        self._interrupt()

    def cancel(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: end this calculation alone."""
        if self.busy:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._may_interrupt:
            self._may_interrupt = False  # a second signal must not interrupt what the first one set off
            self.interrupted = True
            raise KeyboardInterrupt


def patiently(call: Callable[[], _T], *, again: Callable[[], object] | None = None) -> _T:
    """Return what a call on the database returns, waiting for as long as the database is away.

    Parameters
    ----------
    call
        May be made again: what it writes, it writes twice without harm.
    again
        Called before each further attempt, to free what the one before left locked.
    """
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            if wait > FIRST_WAIT_SECONDS and again is not None:
                again()
            return call()
        except PyMongoError as error:
            if not is_outage(error):
                raise
            _log.error("MongoDB is away (%s); trying again in %.0f s", type(error).__name__, wait)
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


class PatientLaunchPad(TrustedLaunchPad):
    """A LaunchPad that waits for its database where FireWorks would fail the job.

    Parameters
    ----------
    launchpad
        The LaunchPad whose connection it uses.
    duty
        What its worker is at.
    trust, run_dir, job_store
        As for :class:`hemiec.launch.fireworks.trust.TrustedLaunchPad`.
    """

    def __init__(
        self, launchpad: LaunchPad, duty: Duty, *, trust: Trust, run_dir: Path, job_store: PatientJobStore
    ) -> None:
        self.__dict__.update(launchpad.__dict__)
        self.duty = duty
        self.trust = trust
        self.run_dir = run_dir
        self.job_store = job_store
        #: The job that was taken last.
        self.fw_id: int | None = None

    def checkout_fw(self, fworker: FWorker, launch_dir: str, *args: Any, **kwargs: Any) -> Any:
        """Take a job; see :meth:`fireworks.LaunchPad.checkout_fw`."""
        self.duty.interrupted = False
        firework, launch_id = super().checkout_fw(fworker, launch_dir, *args, **kwargs)
        self.fw_id = firework.fw_id if firework is not None else None
        self.duty.busy = firework is not None
        return firework, launch_id

    def ping_launch(self, launch_id: int, *args: Any, **kwargs: Any) -> None:
        """Sign; a sign that cannot be given is not missed. A job that was cancelled or given to another is dropped."""
        with suppress(PyMongoError):
            super().ping_launch(launch_id, *args, **kwargs)
            mine = {"launches": launch_id, "state": {"$ne": "DEFUSED"}}
            in_background = threading.current_thread() is not threading.main_thread()
            if in_background and self.fireworks.count_documents(mine, limit=1) == 0:
                os.kill(os.getpid(), CANCEL_SIGNAL)

    def complete_launch(self, launch_id: int, action: FWAction | None = None, state: str = "COMPLETED") -> Any:
        """End a launch; an interrupted job becomes ready again instead of failing."""
        self.duty.finish()
        trace = ((action.stored_data if action else {}).get("_exception") or {}).get("_stacktrace") or ""
        if state == "FIZZLED":
            self.duty.disk_full = self.duty.disk_full or is_disk_full(trace)
            interrupted = self.duty.interrupted or is_interruption(trace)
            if interrupted and patiently(lambda: give_back(self, launch_id, action), again=self._free(launch_id)):
                return None
        return patiently(
            lambda: super(PatientLaunchPad, self).complete_launch(launch_id, action, state), again=self._free(launch_id)
        )

    def _free(self, launch_id: int) -> Callable[[], object]:
        def free() -> None:
            fw = self.fireworks.find_one({"launches": launch_id}, {"fw_id": 1})
            if fw is not None:
                mend_workflows(self, fw["fw_id"])

        return free

    def _refresh_wf(self, fw_id: int) -> None:
        """Bring a workflow up to date; FireWorks would mark it failed if the database goes away in the middle."""
        try:
            with WFLock(self, fw_id):
                workflow = self.get_wf_by_fw_id_lzyfw(fw_id)
                self._update_wf(workflow, workflow.refresh(fw_id))
        except Exception as error:
            if isinstance(error, PyMongoError) and is_outage(error):
                raise
            super()._refresh_wf(fw_id)  # FireWorks' own way with workflows that cannot be brought up to date


class PatientJobStore(OutputStore):
    """A job store that waits for its database where jobflow would fail the job.

    Parameters
    ----------
    store
        The store whose connections it uses.
    duty
        What its worker is at.
    """

    def __init__(self, store: JobStore, duty: Duty) -> None:
        self.__dict__.update(store.__dict__)
        self.duty = duty

    def connect(self, force_reset: bool = False) -> None:
        """Connect; see :meth:`jobflow.JobStore.connect`."""
        patiently(lambda: super(PatientJobStore, self).connect(force_reset=force_reset))

    def get_output(self, *args: Any, **kwargs: Any) -> Any:
        """Return another job's output; see :meth:`jobflow.JobStore.get_output`."""
        return patiently(lambda: super(PatientJobStore, self).get_output(*args, **kwargs))

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Write a job's output; see :meth:`jobflow.JobStore.update`."""
        self.duty.finish()
        patiently(lambda: super(PatientJobStore, self).update(*args, **kwargs))
