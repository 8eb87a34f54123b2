"""How many allocations the jobs of each category need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hemiec.errors import InputError
from hemiec.launch.budget import spent_campaigns
from hemiec.launch.cluster.qadapters import Qadapter, find_qadapter
from hemiec.launch.cluster.scheduler import Scheduler
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.queue import Tally

#: Jobs without a category are taken by any worker; their allocations are asked for as this one's.
DEFAULT_CATEGORY = "mlip"
#: What a job is expected to take if nothing is declared and none of its kind has been measured, in s.
UNKNOWN_JOB_SECONDS = 60.0
#: The end of an allocation is kept free, for putting back what runs then.
ENDING_SECONDS = 120.0


@dataclass(frozen=True)
class Need:
    """What one category's jobs need.

    ``ready`` and ``running`` jobs, the mean time of one in s, and how many allocations that makes; ``stuck`` jobs are
    ready too, but no allocation is long enough for them, or there is no qadapter.
    """

    category: str
    ready: int = 0
    running: int = 0
    stuck: int = 0
    seconds: float = 0.0
    allocations: int = 0


@dataclass(frozen=True)
class _Kind:
    category: str
    walltime_min: float | None


class Needs:
    """Count jobs and allocations.

    Parameters
    ----------
    queue
        The LaunchPad.
    scheduler
        Who gives the allocations.
    config
        Folder with the qadapter files.
    max_allocations
        No more than so many, of each category.
    per_allocation
        Jobs that one allocation is to take; None goes by measured or declared times.
    report
        Called with a line about what can never run.
    """

    def __init__(
        self,
        queue: FireWorksQueue,
        scheduler: Scheduler,
        config: Path,
        *,
        max_allocations: int,
        per_allocation: int | None,
        report: Callable[[str], None],
    ) -> None:
        self.queue = queue
        self.scheduler = scheduler
        self.config = config
        self.max_allocations = max_allocations
        self.per_allocation = per_allocation
        self.report = report
        self._kinds: dict[tuple[str, str | None], _Kind] = {}
        self._qadapters: dict[str, Qadapter | None] = {}

    def read(self, campaign: str | None) -> dict[str, Need]:
        """Return category to what its ready and running jobs need, of a campaign or of all.

        Raises
        ------
        InputError
            If a qadapter file is wrong.
        """
        tallies = self.queue.tally(campaign, costs=True)
        measured = _measured(tallies)
        spent = spent_campaigns(self.queue.database)
        if spent:  # what runs is left to finish, what is ready does not start
            wanted = self.queue.tally(campaign, spent=spent)
            tallies = [t for t in tallies if t.state == "running"] + [t for t in wanted if t.state == "ready"]
        found: dict[str, Need] = {}
        for tally in tallies:
            if tally.state not in ("ready", "running") or not tally.n:
                continue
            kind = self._kind(tally)
            need = found.get(kind.category, Need(kind.category))
            if tally.state == "ready" and not self._fits(kind):
                need = replace(need, stuck=need.stuck + tally.n)
            else:
                declared = 60 * kind.walltime_min if kind.walltime_min else UNKNOWN_JOB_SECONDS
                seconds = tally.n * measured.get((tally.kind, tally.protocol), declared)
                before = need.seconds * (need.ready + need.running)
                ready = need.ready + (tally.n if tally.state == "ready" else 0)
                running = need.running + (tally.n if tally.state == "running" else 0)
                need = replace(need, ready=ready, running=running, seconds=(before + seconds) / (ready + running))
            found[kind.category] = need
        return {name: replace(need, allocations=self._allocations(need)) for name, need in sorted(found.items())}

    def qadapter(self, category: str) -> Qadapter | None:
        """Return how a category's allocations are asked for; None, said once, if there is no file for it.

        Raises
        ------
        InputError
            If the file is wrong.
        """
        if category not in self._qadapters:
            path = find_qadapter(self.config, category)
            found = Qadapter.read(path, category) if path.exists() else None
            if found is None:
                self.report(f"warning: no {path}; jobs of category {category} wait. Mend: `hemiec config render`")
            elif found.adapter.q_type != self.scheduler.q_type:
                here = self.scheduler.q_type
                raise InputError(f"{path}: is for {found.adapter.q_type}, but the scheduler here is {here}.")
            self._qadapters[category] = found
        return self._qadapters[category]

    def _allocations(self, need: Need) -> int:
        qadapter = self.qadapter(need.category)
        jobs = need.ready + need.running
        if qadapter is None or not need.ready:
            return 0
        if self.per_allocation is not None:
            wanted = math.ceil(jobs / self.per_allocation)
        else:
            usable = max(1.0, qadapter.walltime_s - ENDING_SECONDS)
            wanted = max(1, math.ceil(jobs * need.seconds / (qadapter.workers * usable)))
        return min(self.max_allocations, wanted)

    def _fits(self, kind: _Kind) -> bool:
        """Return whether an allocation is long enough for a kind of job."""
        qadapter = self.qadapter(kind.category)
        return qadapter is not None and 60 * (kind.walltime_min or 0) <= qadapter.walltime_s - ENDING_SECONDS

    def _kind(self, tally: Tally) -> _Kind:
        """Return the category and walltime of a kind of job, and say if it can never run."""
        key = (tally.kind, tally.protocol)
        if key not in self._kinds:
            query = {"spec.hemiec.kind": tally.kind, "spec.hemiec.protocol": tally.protocol}
            active = {"state": {"$in": ["READY", "RUNNING", "RESERVED"]}}
            fields = {"spec._category": 1, "spec.hemiec.resources.walltime_min": 1}
            found = self.queue.database["fireworks"].find_one(active | query, fields)
            if found is None:  # it has ended since it was counted
                return _Kind(DEFAULT_CATEGORY, None)
            minutes = found["spec"].get("hemiec", {}).get("resources", {}).get("walltime_min")
            kind = self._kinds[key] = _Kind(found["spec"].get("_category") or DEFAULT_CATEGORY, minutes)
            self._warn(tally.kind, kind)
        return self._kinds[key]

    def _warn(self, name: str, kind: _Kind) -> None:
        qadapter = self.qadapter(kind.category)
        if qadapter is not None and kind.walltime_min is not None and not self._fits(kind):
            self.report(
                f"warning: {name} jobs need {kind.walltime_min:.0f} min, an allocation of {qadapter.path} has "
                f"{qadapter.walltime_s / 60:.0f} min and keeps {ENDING_SECONDS / 60:.0f} free: they never start. "
                "Mend: raise `walltime` there, or lower `walltime_min` in the protocol"
            )


def _measured(tallies: list[Tally]) -> dict[tuple[str, str | None], float]:
    """Return kind and protocol to the mean wall time of those that are done, in s."""
    sums: dict[tuple[str, str | None], tuple[float, int]] = {}
    for tally in tallies:
        if tally.state == "done" and tally.n:
            seconds, n = sums.get((tally.kind, tally.protocol), (0.0, 0))
            sums[tally.kind, tally.protocol] = (seconds + tally.core_seconds / max(1, tally.cores), n + tally.n)
    return {key: seconds / n for key, (seconds, n) in sums.items()}
