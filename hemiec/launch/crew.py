"""Worker processes on this machine, watched until a campaign is settled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fireworks import LaunchPad
from pymongo.errors import PyMongoError

from hemiec.errors import LaunchError, StoreError
from hemiec.launch.ladder import advance_settled
from hemiec.launch.reconcile import reconcile
from hemiec.launch.status import Status, read_status
from hemiec.launch.worker import THREAD_VARIABLES
from hemiec.settings import CONFIG_VARIABLE, Settings, config_file
from hemiec.store.database import Database
from hemiec.store.mongod import EmbeddedMongod

POLL_SECONDS = 1.0
RECONCILE_SECONDS = 5.0
#: A worker that dies this soon never took a job: after a few of those something is wrong with all.
INFANT_SECONDS = 20.0
MAX_INFANT_DEATHS = 4
STORE_PATIENCE_SECONDS = 120.0
#: Workers are stopped below this, before jobs fail for want of space.
MIN_FREE_BYTES = 100 * 1024**2


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)


class Crew:
    """Start workers, replace those that die, repair what they leave, and stop them.

    Parameters
    ----------
    settings
        Data folder and number of workers.
    database, launchpad
        Where the work is.
    campaign
        Work on this campaign only; None for everything on the LaunchPad.
    """

    def __init__(
        self, settings: Settings, database: Database, launchpad: LaunchPad, *, campaign: str | None, workers: int
    ) -> None:
        self.settings = settings
        self.database = database
        self.launchpad = launchpad
        self.campaign = campaign
        self.n_workers = workers
        self.log: Path = settings.data_dir / "worker.log"
        self._workers: list[_Worker] = []
        self._infant_deaths = 0

    def run(self, report: Callable[[Status], None]) -> Status:
        """Work until the campaign is settled, up its ladder if it has one, and return its last status.

        Parameters
        ----------
        report
            Called about once a second with the status.

        Raises
        ------
        LaunchError
            If workers die as soon as they start.
        StoreError
            If the database stays away.
        """
        settled_before = False
        last_reconcile = -RECONCILE_SECONDS
        try:
            while True:
                try:
                    if time.monotonic() - last_reconcile > RECONCILE_SECONDS:
                        reconcile(self.database, self.launchpad)
                        if self.campaign is None:  # one campaign may be ready for its next tier while others run
                            advance_settled(self.database, self.launchpad)
                        last_reconcile = time.monotonic()
                    status = read_status(self.database, self.campaign)
                    if status.jobs_settled and not status.settled:
                        advance_settled(self.database, self.launchpad, self.campaign)
                        status = read_status(self.database, self.campaign)
                except PyMongoError:
                    self._revive_store()
                    continue
                report(status)
                if status.settled and settled_before and not self._brought_back():
                    return status
                self._require_space()
                # Between a job's end and its children's start there is a moment when nothing is ready.
                settled_before = status.settled
                if not status.settled:
                    self._staff()
                time.sleep(POLL_SECONDS)
        finally:
            self.stop()

    def _brought_back(self) -> bool:
        """Return whether there is more to do after all: lost jobs that are ready again, or no store to ask."""
        try:
            return bool(reconcile(self.database, self.launchpad))
        except PyMongoError:
            self._revive_store()
            return True

    def stop(self) -> None:
        """End all workers at once; `reconcile` makes their jobs ready again."""
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGKILL)
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()

    def _staff(self) -> None:
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._workers.remove(worker)
                early = time.monotonic() - worker.started < INFANT_SECONDS
                self._infant_deaths = self._infant_deaths + 1 if early else 0
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
        command = [
            sys.executable,
            "-m",
            "hemiec.launch.worker",
            "--run-dir",
            str(run_dir),
            "--parent",
            str(os.getpid()),
        ]
        if self.campaign is not None:
            command += ["--campaign", self.campaign]
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, "1")
        environment |= {"HEMIEC_DATA_DIR": str(self.settings.data_dir), "HEMIEC_DATABASE": self.settings.database}
        environment[CONFIG_VARIABLE] = str(config_file().absolute())  # workers run in another folder
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=run_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops them
            )

    def _require_space(self) -> None:
        """Stop before a full disk fails one job after the other."""
        free = shutil.disk_usage(self.settings.data_dir).free
        if free < MIN_FREE_BYTES:
            raise LaunchError(
                f"{self.settings.data_dir}: only {free / 1024**2:.0f} MiB free; the workers were stopped.",
                mend="free some space and run the same command again; what finished is kept",
            )

    def _revive_store(self) -> None:
        """Start an embedded MongoDB that died, or wait for a server to come back."""
        deadline = time.monotonic() + STORE_PATIENCE_SECONDS
        while True:
            try:
                if self.settings.mongo_uri is None:
                    EmbeddedMongod(self.settings).up()
                self.database.client.admin.command("ping")
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
