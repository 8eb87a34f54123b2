"""Look after campaigns while their jobs run: budgets, and the events that the user's hook is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pymongo.errors import PyMongoError

from hemiec.launch.budget import check_budgets
from hemiec.launch.failures import by_cause
from hemiec.launch.ladder import Advance, advance_settled
from hemiec.launch.notify import notify
from hemiec.launch.queue import Queue
from hemiec.launch.status import LIST_ACTIVE, Status, read_status
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


def look_after(
    watch: Watch, *, interval: float, report: Callable[[str], None], once: bool = False, forever: bool = False
) -> None:
    """Bring back lost jobs, take ladders further and keep budgets while something else runs the jobs.

    Parameters
    ----------
    watch
        Of the queue and the campaign.
    interval
        Seconds between looks.
    report
        Called with a line about each event.
    once
        Look once only.
    forever
        Go on when all jobs have settled.
    """
    queue, campaign = watch.queue, watch.campaign
    settled_before = False
    while True:
        try:
            lost = queue.reconcile()
            watch.lost(lost)
            steps = advance_settled(queue, campaign)
            watch.climbed(steps)
            lines = [f"{len(lost)} lost jobs are ready again"] if lost else []
            lines += [f"{step.campaign}: {action}" for step in steps for action in step.actions]
            for line in (*lines, *watch.look()):
                report(line)
            status = read_status(queue, campaign, listed=(), tiers=False)
            if once or (status.settled and settled_before and not forever):
                if status.settled:
                    watch.settled(status)
                return
            settled_before = status.settled
        except PyMongoError as error:
            report(f"MongoDB does not answer ({type(error).__name__}); waiting for it")
        time.sleep(interval)
