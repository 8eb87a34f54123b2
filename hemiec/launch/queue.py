"""Where submitted jobs wait, run and end: one interface over FireWorks and jobflow-remote.

Submission, status, ladders and commands use nothing else, so they mean the same on every backend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from jobflow import Flow

from hemiec.store.database import Database

#: What a job is doing, in words for people; each backend's own states are mapped onto them.
State = Literal["waiting", "ready", "running", "done", "failed", "cancelled", "paused"]
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
class Tally:
    """How many jobs of one tier, kind and protocol are in one state, and what their launches took in core-seconds."""

    tier: str | None
    kind: str
    protocol: str | None
    state: State
    n: int
    core_seconds: float = 0.0


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

        Jobs that are there already are from now on jobs of this campaign too. Hold the submission lock meanwhile.
        """

    @abstractmethod
    def states(self, uuids: Collection[str]) -> dict[str, State]:
        """Return uuid to state of those that are in the queue or have a result; a result alone counts as done."""

    @abstractmethod
    def tally(self, campaign: str | None = None) -> list[Tally]:
        """Return the counts of a campaign's jobs (or of all), within a second for 100,000."""

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
    def blocked(self, uuids: Collection[str]) -> set[str]:
        """Return which of some waiting jobs cannot run because one that they wait for failed or was cancelled."""

    @abstractmethod
    def seconds(self, uuids: Collection[str]) -> dict[str, float]:
        """Return uuid to the wall time of all its launches in s, those that failed or were lost included."""

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

    @abstractmethod
    def reconcile(self) -> list[str]:
        """Bring lost jobs back to ready, mend what a kill left half done, and return the uuids of those brought back.

        A job is lost if what ran it is gone: its process, its scheduler's allocation, or its node.
        """
