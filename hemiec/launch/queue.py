"""Where submitted jobs wait, run and end: one interface over FireWorks and jobflow-remote.

Submission, status, ladders and commands use nothing else, so they mean the same on every backend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from jobflow import Flow

from hemiec.store.database import Database
from hemiec.store.queue.states import STATES as STATES
from hemiec.store.queue.states import State as State
from hemiec.store.queue.states import Tally as Tally

#: A job in one of these will not run by itself any more.
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True)
class JobStatus:
    """One job of the queue.

    ``fw_id`` is FireWorks' number of it, ``db_id`` jobflow-remote's; ``elapsed_s`` the wall time of its last launch in
    s; ``message`` why it failed; ``blocked`` whether it waits for one that failed or was cancelled.
    """

    uuid: str
    label: str
    step: str
    state: State
    kind: str = ""
    tier: str | None = None
    candidate_id: str | None = None
    fw_id: int | None = None
    db_id: str | None = None
    elapsed_s: float | None = None
    message: str | None = None
    blocked: bool = False


@dataclass(frozen=True)
class Trace:
    """What a failed job left: the end of its output, and the folder and the machine in which it ran."""

    text: str
    folder: str | None = None
    host: str | None = None


class Queue(ABC):
    """The jobs of one database, whatever runs them.

    Parameters
    ----------
    database
        Where the queue and the results are.
    """

    backend: ClassVar[str]

    def __init__(self, database: Database) -> None:
        self.database = database

    @abstractmethod
    def add_missing(self, flows: Sequence[Flow], campaign: str) -> int:
        """Add the jobs that neither have a result nor are in the queue, and return how many were.

        Jobs that are there already are from now on jobs of this campaign too. Hold the submission lease meanwhile.
        """

    @abstractmethod
    def claim(self, campaign: str, uuids: Collection[str]) -> None:
        """Make jobs that are in the queue jobs of this campaign too."""

    @abstractmethod
    def release(self, campaign: str, uuids: Collection[str]) -> None:
        """Take jobs from a campaign that no longer asks for them; they stay in the queue."""

    @abstractmethod
    def mend_submission(self) -> None:
        """Undo what a submission killed between two writes left in the queue; hold the submission lease meanwhile."""

    @abstractmethod
    def close(self) -> None:
        """Close what the queue itself opened; the database stays open."""

    @abstractmethod
    def states(self, uuids: Collection[str]) -> dict[str, State]:
        """Return uuid to state of those that are in the queue or have a result; a result alone counts as done."""

    @abstractmethod
    def tally(self, campaign: str | None = None, *, costs: bool = False, spent: Collection[str] = ()) -> list[Tally]:
        """Return the counts of a campaign's jobs, or of all campaigns', within a second for 100,000.

        Parameters
        ----------
        campaign
            Its name; None for all.
        costs
            Whether ``core_seconds`` are gathered; 0 if not.
        spent
            Leave out jobs that only these campaigns ask for.
        """

    @abstractmethod
    def jobs(
        self,
        campaign: str | None = None,
        *,
        uuids: Collection[str] | None = None,
        states: Collection[State] | None = None,
        limit: int | None = None,
    ) -> list[JobStatus]:
        """Return jobs in the order of their submission, each once, with the last launch's time and message."""

    @abstractmethod
    def trace(self, job: JobStatus, *, lines: int = 15) -> Trace:
        """Return the last lines of what a job that failed had to say."""

    @abstractmethod
    def finished_since(self, moment: datetime, campaign: str | None = None) -> int:
        """Return how many jobs were done since a moment (UTC)."""

    @abstractmethod
    def blocked(self, uuids: Collection[str]) -> set[str]:
        """Return which of some waiting jobs cannot run because one that they wait for failed or was cancelled."""

    @abstractmethod
    def seconds(self, uuids: Collection[str]) -> dict[str, float]:
        """Return uuid to the wall time of all its launches in s, those that failed or were lost included."""

    @abstractmethod
    def startable(self, campaign: str | None, spent: Collection[str]) -> int:
        """Return how many ready jobs may start: those that a campaign whose budget is not spent asks for."""

    @abstractmethod
    def hold(self, spent: Collection[str]) -> None:
        """Keep jobs from starting that only campaigns ask for whose budget is spent."""

    @abstractmethod
    def rerun(self, jobs: Sequence[JobStatus]) -> int:
        """Make failed jobs ready again, in their folders where they have some, and return how many were."""

    @abstractmethod
    def cancel(self, jobs: Sequence[JobStatus]) -> int:
        """Stop jobs that run and keep others from running; return how many were."""

    @abstractmethod
    def pause(self, jobs: Sequence[JobStatus]) -> int:
        """Hold jobs that have not started; return how many were."""

    @abstractmethod
    def resume(self, jobs: Sequence[JobStatus]) -> int:
        """Let paused and cancelled jobs run; return how many were."""

    def failures(self, uuids: Collection[str] | None = None) -> dict[str, str]:
        """Return uuid to the reason of every job (or of some jobs) that failed or was cancelled."""
        found = self.jobs(uuids=uuids, states={"failed", "cancelled"})
        return {job.uuid: (job.message or job.state)[:500] for job in found}

    @abstractmethod
    def reconcile(self) -> list[str]:
        """Bring lost jobs back to ready, mend what a kill left half done, and return the uuids of those brought back.

        A job is lost if what ran it is gone: its process, its scheduler's allocation, or its node.
        """
