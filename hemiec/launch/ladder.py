"""Take a campaign up its ladder: let candidates into tiers, and submit the promotion when a tier has settled.

Jobs never open the database: here the numbers are gathered, and a promotion job judges them. Everything that was
decided can be read from the campaign's document and the promotions' results, so a process that is killed anywhere loses
nothing: the next call goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jobflow import Flow

from hemiec.launch.lease import submission_lease
from hemiec.launch.queue import Queue
from hemiec.launch.shipped import load_shipped
from hemiec.launch.status import read_status
from hemiec.launch.tiers import TierState, admit, fingerprint, read_ladder
from hemiec.schemas.ladder import DESCRIPTORS, TIERS, JudgedValue, PromotionDoc, PromotionEntry, TierName
from hemiec.store.building.builder import build
from hemiec.store.campaigns import read_campaign, write_header, write_plans
from hemiec.store.database import Document
from hemiec.workflows.campaign import Campaign, Climb, campaign_of
from hemiec.workflows.identity import jobs_of
from hemiec.workflows.ladder import promotion_flow


@dataclass(frozen=True)
class Advance:
    """What a step up the ladder did: jobs that were added, and in words."""

    campaign: str
    added: int = 0
    actions: list[str] = field(default_factory=list)


def advance(queue: Queue, name: str) -> Advance:
    """Take a campaign as far up its ladder as its finished jobs allow, and return what was done.

    Calling it again, or from several processes at a time, does nothing twice. Without a ladder it does nothing.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    LaunchError
        If another submission holds the lock for too long.
    """
    document = read_campaign(queue.database, name)
    states = read_ladder(queue, document)
    if not states:
        return Advance(name)
    if any(state.entered and state.settled and state.tier.tier != TIERS[0] for state in states[:-1]):
        only = {e["candidate"]["candidate_id"] for e in document["candidates"]}
        build(queue.database, failures=queue.failures, only=only, strict=False)
    with submission_lease(queue.database) as lease:
        if lease.inherited:
            queue.mend_submission()
        return climb(queue, name)


def advance_settled(queue: Queue, campaign: str | None = None) -> list[Advance]:
    """Advance every campaign (or one) whose jobs have settled and whose ladder has something new to decide."""
    names = queue.database["campaigns"].distinct("name", {"spec.ladder": {"$ne": None}})
    done = []
    for name in names:
        if campaign in (None, name):
            status = read_status(queue, name, listed=())
            if status.jobs_settled and not status.settled:
                done.append(advance(queue, name))
    return done


def climb(queue: Queue, name: str, *, judge: bool = True) -> Advance:
    """Do what :func:`advance` does with the numbers gathered so far; hold the submission lease meanwhile.

    Parameters
    ----------
    judge
        Whether numbers are gathered, so that tiers may be judged; if not, only that of the descriptors is.
    """
    database = queue.database
    document = read_campaign(database, name)
    before = fingerprint(queue, document)
    campaign = campaign_of(document)
    step = _Step(queue, campaign, read_ladder(queue, document), judge=judge)
    step.take()
    campaign = replace(campaign, climb=Climb(step.reached, step.stopped, step.promotions))
    # Written before the jobs: one that is killed in between leaves jobs to add, never a job without its campaign.
    flows = _write_climb(queue, campaign, document)
    load_shipped(queue, campaign.references.shipped, name)
    added = queue.add_missing([*flows, *campaign.reference_flows, *step.flows], name)
    if not added and judge and not step.moved:
        write_header(database, {"name": name, "ladder_seen": before})
    return Advance(name, added, step.actions)


def _write_climb(queue: Queue, campaign: Campaign, document: Mapping[str, Any]) -> list[Flow]:
    """Write how far the candidates have come; return the flows of those with jobs that are not in the queue yet."""
    name = campaign.spec.name
    write_header(queue.database, campaign.header())
    stored = {entry["candidate"]["candidate_id"]: entry for entry in document["candidates"]}
    known = queue.states([job["uuid"] for entry in stored.values() for job in entry["jobs"]])
    plans, flows = [], []
    for order, candidate in enumerate(campaign.candidates):
        entry = stored[candidate.candidate_id]
        now = campaign.climb.reached.get(candidate.candidate_id), campaign.climb.stopped.get(candidate.candidate_id)
        lacking = any(job["uuid"] not in known for job in entry["jobs"])
        if now != (entry["tier"], entry["stopped"]) or lacking:
            flow = campaign.flow(candidate)
            plans.append((order, campaign.plan(candidate, flow)))
            flows += [flow] if flow is not None else []
    write_plans(queue.database, name, plans)
    return flows


def with_first_tier(campaign: Campaign) -> Campaign:
    """Return the campaign with those candidates in its first tier that would enter it at once."""
    if campaign.spec.ladder is None:
        return campaign
    first = campaign.spec.ladder[0]
    ids = [c.candidate_id for c in campaign.candidates]
    entered = [c for c in ids if c in campaign.climb.reached]
    state = TierState(first, ids, entered, [], [], 0, 0.0, [])
    reached = dict.fromkeys(admit(state)[0], first.tier) | dict(campaign.climb.reached)
    return replace(campaign, climb=replace(campaign.climb, reached=reached))


class _Step:
    """One pass over the tiers, up to the first that has not settled.

    Parameters
    ----------
    queue
        Where candidates' numbers and promotions' results are.
    campaign
        As far as it has come.
    states
        Its tiers.
    judge
        Whether tiers beyond the descriptors may be judged.
    """

    def __init__(self, queue: Queue, campaign: Campaign, states: list[TierState], *, judge: bool) -> None:
        self.queue = queue
        self.campaign = campaign
        self.states = states
        self.judge = judge
        self.reached: dict[str, TierName] = dict(campaign.climb.reached)
        self.stopped: dict[str, str] = dict(campaign.climb.stopped)
        self.promotions: list[Mapping[str, Any]] = list(campaign.climb.promotions)
        self.flows: list[Flow] = []
        self.actions: list[str] = []
        self.moved = False

    def take(self) -> None:
        """Fill `reached`, `stopped`, `promotions`, `flows` and `actions`."""
        for k, state in enumerate(self.states):
            if not self._enter(state) or k == len(self.states) - 1 or not self._promote(state):
                return

    def _enter(self, state: TierState) -> bool:
        """Let candidates into a tier; return whether the tier has settled, so that it can be judged."""
        tier = state.tier.tier
        admitted, reason = admit(state)
        for candidate_id in admitted:
            self.reached[candidate_id] = tier
            self.stopped.pop(candidate_id, None)
        for candidate_id in state.entered:
            if self.reached[candidate_id] == tier and candidate_id in state.working:
                self.stopped.pop(candidate_id, None)
        if reason is not None:
            self.stopped |= dict.fromkeys(set(state.queue) - set(state.entered) - set(admitted), reason)
        if admitted:
            self.moved = True
            self.actions.append(f"{len(admitted)} candidates enter tier {tier}")
        computes = tier != TIERS[0]
        return state.settled and not (admitted and computes) and (self.judge or not computes)

    def _promote(self, state: TierState) -> bool:
        """Submit the promotion from a settled tier, or take its result; return whether there is one."""
        tier, rule, spec = state.tier.tier, state.tier.promote, self.campaign.spec
        ids = [c for c in self.reached if _at_least(self.reached[c], tier)]
        if not ids or rule is None:
            return False
        flow = promotion_flow(spec.name, tier, self._entries(ids, [c.property for c in rule.by]), rule, spec.seed)
        (job,) = jobs_of(flow)
        known = self.queue.states([job.uuid]).get(job.uuid)
        # What was recorded but killed before it was added, and would be another job today, never existed.
        dead = {p.uuid for p in state.promotions if p.state is None and p.uuid != job.uuid}
        self.promotions = [record for record in self.promotions if record["uuid"] not in dead]
        records = {record["uuid"]: record for record in self.promotions}
        if job.uuid not in records:
            self.promotions.append(job.metadata["hemiec"] | {"name": job.name})
            self.moved = True
        if known is None:
            self.flows.append(flow)
            self.actions.append(f"promotion from tier {tier} of {len(ids)} candidates submitted")
            return False
        if known != "done" or job.uuid not in records:
            return False
        self._note(state, job.uuid)
        return True

    def _note(self, state: TierState, uuid: str) -> None:
        """Keep why those who are not promoted go no further."""
        output = self.queue.database["outputs"].find_one({"uuid": uuid}, {"output": 1})
        if output is None:
            return
        promoted = set(state.promoted)
        for decision in PromotionDoc.model_validate(output["output"]).decisions:
            if self.reached[decision.candidate_id] == state.tier.tier:
                self.stopped.pop(decision.candidate_id, None)
                if decision.candidate_id not in promoted:
                    self.stopped[decision.candidate_id] = decision.reason

    def _entries(self, ids: list[str], properties: list[str]) -> list[PromotionEntry]:
        """Return what the promotion goes by: descriptors, and numbers of this campaign's own plan."""
        candidates = {c.candidate_id: c for c in self.campaign.candidates}
        fields = {"_id": 0, "candidate_id": 1, "results.plan_id": 1} | {f"results.{p}": 1 for p in properties}
        documents = {
            d["candidate_id"]: d for d in self.queue.database["candidates"].find({"candidate_id": {"$in": ids}}, fields)
        }
        entries = []
        for candidate_id in ids:
            plan_id = self.campaign.plan_ids[candidate_id]
            results = documents.get(candidate_id, {}).get("results", [])
            result: Document = next((r for r in results if r["plan_id"] == plan_id), {})
            estimates = {
                name: _descriptor(getattr(candidates[candidate_id], name))
                if name in DESCRIPTORS
                else _estimate(result.get(name))
                for name in properties
            }
            label = candidates[candidate_id].label
            entries.append(PromotionEntry(candidate_id=candidate_id, label=label, plan_id=plan_id, estimates=estimates))
        return entries


def _descriptor(value: float | None) -> JudgedValue:
    reason = None if value is not None else "not tabulated for one of its species"
    return JudgedValue(value=value, reason=reason)


def _estimate(quantity: Document | None) -> JudgedValue:
    if quantity is None:
        return JudgedValue(value=None, reason="its results have not been gathered; `hemiec build` says why")
    return JudgedValue.model_validate({key: quantity.get(key) for key in JudgedValue.model_fields})


def _at_least(reached: TierName, tier: TierName) -> bool:
    return TIERS.index(reached) >= TIERS.index(tier)
