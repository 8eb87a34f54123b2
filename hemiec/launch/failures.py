"""Failed jobs by what they failed of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hemiec.launch.queue import JobStatus

#: What differs from job to job: formulas such as La0.2Sr0.8CoO3, numbers, and paths.
_FORMULA = re.compile(r"\b(?:[A-Z][a-z]?\d*\.?\d*\s?){2,}(?=[:\s,])")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_PATH = re.compile(r"(?:/[\w.+-]+){2,}")


@dataclass(frozen=True)
class Cause:
    """One cause of failure: what its messages have in common, the first job's message, and all jobs."""

    pattern: str
    message: str
    jobs: list[JobStatus]


def by_cause(failed: Iterable[JobStatus]) -> list[Cause]:
    """Return the causes, the most frequent first; messages that differ in numbers, formulas or paths are one."""
    groups: dict[str, list[JobStatus]] = {}
    for job in failed:
        groups.setdefault(_pattern(job.message or ""), []).append(job)
    causes = [Cause(pattern, jobs[0].message or "", jobs) for pattern, jobs in groups.items()]
    return sorted(causes, key=lambda cause: -len(cause.jobs))


def _pattern(message: str) -> str:
    return _NUMBER.sub("#", _FORMULA.sub("formula", _PATH.sub("path", message)))
