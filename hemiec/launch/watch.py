"""Look after campaigns while their jobs run: budgets, and the events that the user's hook is told."""

from __future__ import annotations

from collections.abc import Sequence

from hemiec.launch.budget import check_budgets
from hemiec.launch.failures import by_cause
from hemiec.launch.ladder import Advance
from hemiec.launch.notify import notify
from hemiec.launch.queue import Queue
from hemiec.launch.status import LIST_ACTIVE, Status
from hemiec.settings import Settings


class Watch:
    """What has happened in a queue since this was made.

    Parameters
    ----------
    settings
        With the hook.
    queue
        Where the jobs are.
    campaign
        Look at this campaign's failures only; None for all.
    """

    def __init__(self, settings: Settings, queue: Queue, campaign: str | None) -> None:
        self.settings = settings
        self.queue = queue
        self.campaign = campaign
        self._told: set[str] | None = None

    def look(self) -> list[str]:
        """Mark spent budgets, tell of these and of failures with a new cause, and return a line for each."""
        lines = []
        for spent in check_budgets(self.queue):
            lines.append(
                f"{spent.campaign}: its budget of {spent.budget:g} core-hours is spent ({spent.used:.3g}); no more of "
                "its jobs start"
            )
            content = {"budget_core_hours": spent.budget, "core_hours": spent.used, "message": lines[-1]}
            notify(self.settings, "budget", campaign=spent.campaign, **content)
        causes = by_cause(self.queue.jobs(self.campaign, states={"failed"}, limit=LIST_ACTIVE))
        before, self._told = self._told, {cause.pattern for cause in causes}
        for cause in causes:
            if before is not None and cause.pattern not in before:
                first = cause.jobs[0]
                lines.append(f"{first.label} {first.step} failed: {cause.message}")
                job = {"uuid": first.uuid, "label": first.label, "step": first.step}
                notify(self.settings, "failed", campaign=self.campaign, message=cause.message, job=job)
        return lines

    def lost(self, uuids: Sequence[str]) -> None:
        """Tell of jobs that were lost and are ready again."""
        if uuids:
            message = f"{len(uuids)} lost jobs are ready again"
            notify(self.settings, "lost", campaign=self.campaign, message=message, uuids=list(uuids))

    def climbed(self, steps: Sequence[Advance]) -> None:
        """Tell of steps up a ladder."""
        for step in steps:
            if step.actions:
                notify(self.settings, "promoted", campaign=step.campaign, message="; ".join(step.actions))

    def settled(self, status: Status) -> None:
        """Tell that nothing runs or can run any more."""
        message = ", ".join(f"{n} {state}" for state, n in status.counts.items())
        counts = dict(status.counts)
        notify(self.settings, "settled", campaign=self.campaign, message=message, counts=counts)
