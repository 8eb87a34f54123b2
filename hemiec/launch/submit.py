"""Hand a campaign to the queue: only what is missing, once, also from two shells at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jobflow import Flow

from hemiec.launch.budget import check_budgets
from hemiec.launch.ladder import climb, with_first_tier
from hemiec.launch.lease import submission_lease
from hemiec.launch.queue import Queue
from hemiec.schemas.documents import CandidateSpec
from hemiec.store.campaigns import drop_other_plans, read_campaign, write_header, write_plans
from hemiec.workflows.campaign import Campaign
from hemiec.workflows.identity import jobs_of

#: Candidates whose flows are made, written and forgotten together: ten thousand at once would fill the memory.
BATCH = 250

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Submission:
    """How many jobs were added (by kind and protocol), and how many were there already."""

    kinds: Mapping[tuple[str, str | None], int]
    finished: int
    pending: int

    @property
    def added(self) -> int:
        """How many jobs were added."""
        return sum(self.kinds.values())

    def to_json(self) -> dict[str, int]:
        """Return the numbers as plain types."""
        return {"added": self.added, "finished": self.finished, "pending": self.pending}


def submit(queue: Queue, campaign: Campaign, report: Report | None = None) -> Submission:
    """Add the jobs of a campaign that neither have a result nor are in the queue.

    A job's uuid is a hash of its content, so equal work of other campaigns counts. Of a campaign with a ladder, the
    jobs of the first tier are added, and those of the tiers that an earlier submission has reached. Killed anywhere,
    the same call goes on.

    Parameters
    ----------
    queue
        Where jobs go.
    campaign
        As it was read.
    report
        Called with the candidates done so far and all of them.

    Raises
    ------
    LaunchError
        If another submission holds the lock for too long.
    """
    database, name = queue.database, campaign.spec.name
    with submission_lease(database) as lease:
        if lease.inherited:
            queue.mend_submission()
        campaign = _continued(queue, campaign)
        # The campaign comes before its jobs, so that no job is without one.
        header = campaign.header()
        write_header(database, header | {"last_submitted": datetime.now(UTC)})
        count = _Count(queue)
        dropped: set[str] = set()
        for done, plans, flows in _batches(campaign):
            dropped |= write_plans(database, name, plans)
            count.add(flows)
            queue.add_missing(flows, name)
            lease.renew()
            if report is not None:
                report(done, len(campaign.candidates))
        dropped |= drop_other_plans(database, name, [c.candidate_id for c in campaign.candidates])
        count.add(campaign.reference_flows)
        queue.add_missing(campaign.reference_flows, name)
        queue.release(name, dropped - count.seen - {record["uuid"] for record in header["promotions"]})
        if campaign.spec.ladder is not None:
            climbed = climb(queue, name, judge=False).added
            count.kinds[("of the next tier", None)] += climbed
    check_budgets(queue)  # a raised one lets jobs start again at once
    return count.submission()


def plan_submission(queue: Queue, campaign: Campaign) -> Submission:
    """Return what :func:`submit` would add, without changing anything.

    Of a ladder, what the tiers reached so far (at first the first one) need; promotions are not counted.
    """
    campaign = with_first_tier(_continued(queue, campaign))
    count = _Count(queue)
    for _, _, flows in _batches(campaign):
        count.add(flows)
    count.add(campaign.reference_flows)
    return count.submission()


class _Count:
    """Jobs that a submission meets, each once: new ones by kind, and those that are there."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.seen: set[str] = set()
        self.kinds: Counter[tuple[str, str | None]] = Counter()
        self.finished = 0
        self.pending = 0

    def add(self, flows: Sequence[Flow]) -> None:
        """Count the jobs of flows that are about to be added."""
        new = {job.uuid: job for flow in flows for job in jobs_of(flow) if job.uuid not in self.seen}
        states = self.queue.states(list(new))
        self.seen |= set(new)
        self.finished += sum(state == "done" for state in states.values())
        self.pending += sum(state != "done" for state in states.values())
        about = (job.metadata["hemiec"] for uuid, job in new.items() if uuid not in states)
        self.kinds.update((entry["kind"], entry["protocol"]) for entry in about)

    def submission(self) -> Submission:
        """Return the counts."""
        return Submission(dict(+self.kinds), self.finished, self.pending)


def _batches(campaign: Campaign) -> Iterator[tuple[int, list[tuple[int, dict[str, object]]], list[Flow]]]:
    """Yield how many candidates are done, and for some at a time their places, plans and flows."""
    numbered: Sequence[tuple[int, CandidateSpec]] = list(enumerate(campaign.candidates))
    for k in range(0, len(numbered), BATCH):
        part = [(order, candidate, campaign.flow(candidate)) for order, candidate in numbered[k : k + BATCH]]
        plans = [(order, campaign.plan(candidate, flow)) for order, candidate, flow in part]
        yield k + len(part), plans, [flow for _, _, flow in part if flow is not None]


def _continued(queue: Queue, campaign: Campaign) -> Campaign:
    """Return the campaign as far as an earlier submission has brought it up its ladder."""
    name = campaign.spec.name
    if campaign.spec.ladder is None or queue.database["campaigns"].find_one({"name": name}, {"_id": 1}) is None:
        return campaign
    fields = {"candidate.candidate_id": 1, "plan_id": 1, "tier": 1, "stopped": 1}
    return campaign.continuing(read_campaign(queue.database, name, fields))
