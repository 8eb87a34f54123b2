"""What a campaign's jobs are doing, read from the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hemiec.launch.budget import spent_campaigns
from hemiec.launch.queue import JobStatus, Queue, State, Tally
from hemiec.launch.shipped import count_shipped
from hemiec.launch.tiers import PLAN_FIELDS, TierStatus, fingerprint, read_ladder, tier_statuses
from hemiec.store.campaigns import read_campaign, read_header
from hemiec.store.database import Database

#: A status lists all jobs of a queue up to so many; of a larger one those that run or failed.
LIST_ALL = 2_000
#: ... and of those no more than this.
LIST_ACTIVE = 500


@dataclass(frozen=True)
class Status:
    """The jobs of a campaign (or of the whole queue) and what they are doing.

    ``tallies`` counts all of them; ``jobs`` lists them, or those that run or failed if there are very many; ``tiers``
    are those of the campaign's ladder, if it has one; ``open_ladders`` names the campaigns on whose ladder something is
    to be decided now that their jobs have settled; ``n_blocked`` of the waiting jobs wait in vain, ``n_startable`` of
    the ready ones are within a budget; ``spent`` says whether the campaign's budget is; ``done_per_hour`` is the rate
    of the last hour, None if it was not asked for; ``shipped`` counts the campaign's reference phases whose energies
    came with hemiec, which are no jobs of the queue.
    """

    campaign: str | None
    tallies: list[Tally]
    jobs: list[JobStatus]
    tiers: list[TierStatus] = field(default_factory=list)
    open_ladders: list[str] = field(default_factory=list)
    n_blocked: int = 0
    n_startable: int = 0
    budget_core_hours: float | None = None
    spent: bool = False
    done_per_hour: int | None = None
    shipped: int = 0

    @property
    def counts(self) -> Counter[State]:
        """State to number of jobs."""
        found: Counter[State] = Counter()
        for tally in self.tallies:
            found[tally.state] += tally.n
        return found

    @property
    def n_jobs(self) -> int:
        """How many jobs there are."""
        return sum(tally.n for tally in self.tallies)

    @property
    def core_hours(self) -> float | None:
        """What all launches have taken, in core-hours; None if it was not asked for."""
        return None if self.done_per_hour is None else sum(tally.core_seconds for tally in self.tallies) / 3600

    @property
    def core_hours_left(self) -> float | None:
        """What the rest is expected to take in core-hours, by the mean of finished jobs of the same kind and protocol.

        None if no job of some kind has finished yet, or it was not asked for.
        """
        if self.core_hours is None:
            return None
        done: dict[tuple[str, str | None], list[float]] = {}
        for tally in self.tallies:
            if tally.state == "done":
                entry = done.setdefault((tally.kind, tally.protocol), [0, 0.0])
                entry[0] += tally.n
                entry[1] += tally.core_seconds
        left = 0.0
        for tally in self.tallies:
            if tally.state in ("waiting", "ready", "running"):
                n, seconds = done.get((tally.kind, tally.protocol), (0, 0.0))
                if not n:
                    return None
                left += tally.n * seconds / n
        return left / 3600

    @property
    def hours_left(self) -> float | None:
        """How long the rest is expected to take on as many cores as are busy now, in h; None if that is not known."""
        busy = sum(tally.cores for tally in self.tallies if tally.state == "running")
        return self.core_hours_left / busy if busy and self.core_hours_left is not None else None

    @property
    def jobs_settled(self) -> bool:
        """Whether no job runs or can run: the rest is done, failed, blocked by a failure or beyond a budget."""
        counts = self.counts
        if counts["running"] or self.n_startable:
            return False
        return bool(counts["ready"]) or counts["waiting"] == self.n_blocked

    @property
    def settled(self) -> bool:
        """Whether no job runs or can run, and no ladder has another step to take."""
        return self.jobs_settled and not self.open_ladders

    def by_label(self) -> dict[str, list[JobStatus]]:
        """Return the listed jobs of each candidate or reference phase."""
        groups: dict[str, list[JobStatus]] = {}
        for job in self.jobs:
            groups.setdefault(job.label, []).append(job)
        return groups

    def to_json(self) -> dict[str, Any]:
        """Return counts, jobs and tiers as plain types."""
        return {
            "campaign": self.campaign,
            "settled": self.settled,
            "n_jobs": self.n_jobs,
            "counts": dict(self.counts),
            "core_hours": self.core_hours,
            "budget_core_hours": self.budget_core_hours,
            "spent": self.spent,
            "core_hours_left": self.core_hours_left,
            "hours_left": self.hours_left,
            "done_per_hour": self.done_per_hour,
            "kinds": [asdict(tally) for tally in self.tallies],
            "shipped_references": self.shipped,
            "tiers": [asdict(tier) for tier in self.tiers],
            "jobs": [asdict(job) for job in self.jobs],
        }


def read_status(
    queue: Queue,
    campaign: str | None = None,
    *,
    listed: Collection[State] | None = None,
    costs: bool = False,
    tiers: bool = True,
) -> Status:
    """Return the status of a campaign's jobs, or of all jobs.

    Parameters
    ----------
    queue
        Where the jobs are.
    campaign
        Its name; None for all.
    listed
        States of the jobs to list; None lists all, or those that run or failed if there are more than
        :data:`LIST_ALL`.
    costs
        Whether core-hours and the rate are gathered.
    tiers
        Whether the tiers of a ladder are looked at.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    header = read_header(queue.database, campaign) if campaign is not None else None
    spent = spent_campaigns(queue.database)
    tallies = queue.tally(campaign, costs=costs)
    status = Status(campaign, tallies, [])
    counts = status.counts
    if listed is None and status.n_jobs <= LIST_ALL:
        jobs = queue.jobs(campaign)
    else:
        wanted = listed if listed is not None else ("running", "failed")
        jobs = [job for state in wanted for job in queue.jobs(campaign, states={state}, limit=LIST_ACTIVE)]
    n_blocked = 0
    open_ladders: list[str] = []
    n_startable = queue.startable(campaign, spent) if spent and counts["ready"] else counts["ready"]
    if not counts["running"] and not counts["ready"]:
        # Only then does it matter whether what waits can ever run.
        waiting = queue.jobs(campaign, states={"waiting"}) if counts["waiting"] else []
        n_blocked = sum(job.blocked for job in waiting)
        if n_blocked == counts["waiting"]:
            open_ladders = _open_ladders(queue, campaign)
    shown: list[TierStatus] = []
    if tiers and header is not None and header["spec"].get("ladder"):
        shown = tier_statuses(read_ladder(queue, read_campaign(queue.database, header["name"], PLAN_FIELDS)))
    references = [record["uuid"] for record in header["references"]] if tiers and header is not None else []
    rate = queue.finished_since(datetime.now(UTC) - timedelta(hours=1), campaign) if costs else None
    return Status(
        campaign,
        tallies,
        jobs,
        tiers=shown,
        open_ladders=open_ladders,
        n_blocked=n_blocked,
        n_startable=n_startable,
        budget_core_hours=(header["spec"].get("budget") or {}).get("core_hours") if header is not None else None,
        spent=campaign in spent,
        done_per_hour=rate,
        shipped=count_shipped(queue.database, references) if references else 0,
    )


def _open_ladders(queue: Queue, campaign: str | None) -> list[str]:
    """Return the campaigns whose jobs have ended in a way that their ladder has not been asked about yet."""
    query = {"spec.ladder": {"$ne": None}} | ({} if campaign is None else {"name": campaign})
    headers = list(queue.database["campaigns"].find(query, {"name": 1, "ladder_seen": 1}))
    return [
        header["name"]
        for header in headers
        if header.get("ladder_seen")
        != fingerprint(queue, read_campaign(queue.database, header["name"], {"jobs.uuid": 1}))
    ]


def stopped_reasons(database: Database, campaign: str) -> set[str]:
    """Return the reasons why a ladder leaves candidates without the numbers of its higher tiers, as it should.

    A candidate that is held for want of a number is not among them.
    """
    reasons = database["plans"].distinct("stopped", {"campaign": campaign})
    return {reason for reason in reasons if reason is not None and not reason.startswith("held")}
