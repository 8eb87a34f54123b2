"""Hand a campaign to the queue: only what is missing, once, also from two shells at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobflow import Flow

from hemiec.engines.protocol import load_mlip
from hemiec.launch.budget import check_budgets
from hemiec.launch.ladder import climb, with_first_tier
from hemiec.launch.lease import submission_lease
from hemiec.launch.queue import Queue
from hemiec.launch.shipped import count_shipped, load_shipped, version_notice
from hemiec.schemas.documents import CandidateSpec
from hemiec.store.campaigns import drop_other_plans, read_campaign, read_header, write_header, write_plans
from hemiec.workflows.campaign import Campaign
from hemiec.workflows.identity import jobs_of

#: Candidates whose flows are made, written and forgotten together: ten thousand at once would fill the memory.
BATCH = 250

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Submission:
    """How many jobs were added (by kind and protocol), and how many were there already.

    ``shipped`` counts the reference phases whose energies came with hemiec; they are in none of the other numbers.
    ``notice`` is what to know about them, None if nothing.
    """

    kinds: Mapping[tuple[str, str | None], int]
    finished: int
    pending: int
    shipped: int = 0
    notice: str | None = None

    @property
    def added(self) -> int:
        """How many jobs were added."""
        return sum(self.kinds.values())

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain types."""
        return {
            "added": self.added,
            "finished": self.finished,
            "pending": self.pending,
            "shipped": self.shipped,
            "notice": self.notice,
        }


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
        load_shipped(queue, campaign.references.shipped, name)
        count = Count(queue, campaign.references.shipped)
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
            records = read_header(database, name, {"references.uuid": 1})["references"]
            count.shipped = count_shipped(database, [record["uuid"] for record in records])
    check_budgets(queue)  # a raised one lets jobs start again at once
    return count.submission(_notice(campaign))


def plan_submission(queue: Queue, campaign: Campaign) -> Submission:
    """Return what :func:`submit` would add, without changing anything.

    Of a ladder, what the tiers reached so far (at first the first one) need; promotions are not counted.
    """
    campaign = with_first_tier(_continued(queue, campaign))
    count = Count(queue, campaign.references.shipped)
    for _, _, flows in _batches(campaign):
        count.add(flows)
    count.add(campaign.reference_flows)
    return count.submission(_notice(campaign))


class Count:
    """Jobs that a submission meets, each once: new ones by kind, and those that are there.

    Parameters
    ----------
    queue
        Where the jobs are.
    shipped
        Uuids of the jobs whose results are shipped.
    """

    def __init__(self, queue: Queue, shipped: Collection[str]) -> None:
        self.queue = queue
        self.kinds: Counter[tuple[str, str | None]] = Counter()
        # Of the phases that are shipped, some may have been computed here, or be in the queue, for longer than that.
        self.seen: set[str] = set(shipped)
        states = queue.states(list(self.seen))
        done = sum(state == "done" for state in states.values())
        loaded = count_shipped(queue.database, self.seen)
        self.shipped = loaded + len(self.seen) - len(states)
        self.finished = done - loaded
        self.pending = len(states) - done

    def add(self, flows: Sequence[Flow]) -> None:
        """Count the jobs of flows that are about to be added."""
        new = {job.uuid: job for flow in flows for job in jobs_of(flow) if job.uuid not in self.seen}
        states = self.queue.states(list(new))
        self.seen |= set(new)
        self.finished += sum(state == "done" for state in states.values())
        self.pending += sum(state != "done" for state in states.values())
        about = (job.metadata["hemiec"] for uuid, job in new.items() if uuid not in states)
        self.kinds.update((entry["kind"], entry["protocol"]) for entry in about)

    def submission(self, notice: str | None = None) -> Submission:
        """Return the counts, with what to know about the shipped phases."""
        return Submission(dict(+self.kinds), self.finished, self.pending, self.shipped, notice)


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


def _notice(campaign: Campaign) -> str | None:
    return version_notice(load_mlip(campaign.spec.protocols.relax)) if campaign.spec.shipped_references else None
