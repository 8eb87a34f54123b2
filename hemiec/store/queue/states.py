"""The words for what a job is doing, whatever queue it is in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What a job is doing, in words for people; each queue's own states are mapped onto them.
State = Literal["waiting", "ready", "running", "done", "failed", "cancelled", "paused"]
STATES: tuple[State, ...] = ("done", "running", "ready", "waiting", "failed", "cancelled", "paused")


@dataclass(frozen=True)
class Tally:
    """How many jobs of one tier, kind and protocol are in one state.

    ``cores`` is what they take in all when they run, ``core_seconds`` what their launches took so far.
    """

    tier: str | None
    kind: str
    protocol: str | None
    state: State
    n: int
    cores: int = 0
    core_seconds: float = 0.0
