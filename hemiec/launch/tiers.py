"""Where a campaign's ladder stands, read from the store: who is in which tier, what it cost, what it waits for."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hemiec.launch.queue import ENDED, Queue, State
from hemiec.schemas.ladder import TIERS, Ladder, Tier, TierBudget, TierName

_LADDER: TypeAdapter[list[Tier]] = TypeAdapter(Ladder)
#: What :func:`read_ladder` reads of a candidate's plan.
PLAN_FIELDS = {
    "candidate.candidate_id": 1,
    "plan_id": 1,
    "tier": 1,
    **{f"jobs.{key}": 1 for key in ("uuid", "kind", "tier", "resources.cores")},
}


@dataclass(frozen=True)
class Promotion:
    """One promotion job: its state (None before it is in the queue) and whom it promoted, in order."""

    uuid: str
    state: State | None
    promoted: list[str]


@dataclass(frozen=True)
class TierState:
    """One tier of a campaign's ladder as it stands; ids are candidate_ids.

    ``queue`` are those who may be in the tier, in order; ``entered`` those whose jobs were submitted; ``working`` those
    with jobs that run or can run, ``failed`` others with a job that failed or is blocked by one; ``open_references``
    counts jobs of reference phases that numbers of this tier wait for; ``core_hours`` is what its jobs have taken.
    """

    tier: Tier
    queue: list[str]
    entered: list[str]
    working: list[str]
    failed: list[str]
    open_references: int
    core_hours: float
    promotions: list[Promotion]

    @property
    def settled(self) -> bool:
        """Whether nothing of the tier runs or can run."""
        return not self.working and not self.open_references

    @property
    def promoted(self) -> list[str]:
        """Whom any promotion from this tier let go on, in order: who was promoted once stays promoted."""
        return list(dict.fromkeys(c for promotion in self.promotions for c in promotion.promoted))


@dataclass(frozen=True)
class TierStatus:
    """One tier for people: numbers of candidates, cost, and what it waits for (None: nothing)."""

    tier: str
    candidates: int
    done: int
    failed: int
    promoted: int
    queued: int
    core_hours: float
    waiting_for: str | None


def read_ladder(queue: Queue, document: Mapping[str, Any]) -> list[TierState]:
    """Return the tiers of a campaign's document, the first one first; empty without a ladder."""
    if not document["spec"].get("ladder"):
        return []
    ladder = _LADDER.validate_python(document["spec"]["ladder"])
    names = [tier.tier for tier in ladder]
    entries = {entry["candidate"]["candidate_id"]: entry for entry in document["candidates"]}
    uuids = [job["uuid"] for entry in entries.values() for job in entry["jobs"]]
    uuids += [job["uuid"] for job in document["references"]]
    states = queue.states([*uuids, *(record["uuid"] for record in document["promotions"])])
    # A job that is not in the queue yet is still to run.
    running = open_jobs(queue, states) | (set(uuids) - set(states))
    seconds = queue.seconds(uuids)
    cores = {j["uuid"]: (j.get("resources") or {}).get("cores") for e in entries.values() for j in e["jobs"]}

    def core_seconds(uuid: str, tier: Tier) -> float:
        return seconds.get(uuid, 0.0) * _cores(tier, cores.get(uuid))

    found: list[TierState] = []
    for k, tier in enumerate(ladder):
        reached = [c for c, e in entries.items() if e["tier"] is not None and names.index(e["tier"]) >= k]
        jobs = {c: [j["uuid"] for j in entries[c]["jobs"] if _owner(names, j["tier"]) == tier.tier] for c in reached}
        # A magnetic start may fail; the job that keeps the lowest says whether there is a number.
        kinds = {j["uuid"]: j["kind"] for c in reached for j in entries[c]["jobs"]}
        needed = {c: [u for u in jobs[c] if not kinds[u].endswith(("-start", "-part"))] for c in reached}
        working = [c for c in reached if running.intersection(jobs[c])]
        invited = list(entries) if k == 0 else [c for c in found[-1].promoted if c in entries]
        references = [j["uuid"] for j in document["references"] if _owner(names, j.get("tier", "relax")) == tier.tier]
        found.append(
            TierState(
                tier=tier,
                # Who is in the tier stays, whatever became of the promotion that let it in.
                queue=list(dict.fromkeys([*invited, *reached])),
                entered=reached,
                working=working,
                failed=[c for c in reached if c not in working and not _finished(needed[c], states)],
                open_references=len(running.intersection(references)),
                core_hours=sum(core_seconds(u, tier) for c in reached for u in jobs[c]) / 3600,
                promotions=_promotions(queue, document, tier.tier, entries, states),
            )
        )
    return found


def admit(state: TierState) -> tuple[list[str], str | None]:
    """Return who of the queue is let into the tier now, and why the rest waits (None if nobody does).

    With a limit of core-hours, a first batch shows what a candidate costs; when it has settled, as many as are
    expected to fit are let in, and again when those have.
    """
    waiting = [c for c in state.queue if c not in set(state.entered)]
    if not waiting or state.tier.budget is None:
        return waiting, None
    room, reason = _room(state, state.tier.budget, len(waiting))
    return waiting[:room], f"waits for tier {state.tier.tier}: {reason}" if room < len(waiting) else None


def _room(state: TierState, budget: TierBudget, wanted: int) -> tuple[int, str]:
    n = len(state.entered)
    room, reason = wanted, ""
    if budget.candidates is not None and budget.candidates - n < room:
        room, reason = max(0, budget.candidates - n), f"its budget of {budget.candidates} candidates is used"
    if budget.core_hours is None:
        return room, reason
    if n == 0:
        fits, why = budget.first_batch, f"the first {budget.first_batch} show what a candidate costs"
    elif not state.settled:
        fits, why = 0, "those before it show what a candidate costs"
    else:
        mean = state.core_hours / n
        left = budget.core_hours - state.core_hours
        fits = max(0, math.floor(left / mean + 1e-9)) if mean > 0 else wanted
        why = (
            f"of its budget of {budget.core_hours:g} core-hours {state.core_hours:.3g} are used, "
            f"and a candidate takes {mean:.3g}"
        )
    return (fits, why) if fits < room else (room, reason)


def tier_statuses(states: Sequence[TierState]) -> list[TierStatus]:
    """Return the tiers for people."""
    found = []
    for k, state in enumerate(states):
        working, failed = len(state.working), len(state.failed)
        found.append(
            TierStatus(
                tier=state.tier.tier,
                candidates=len(state.entered),
                done=len(state.entered) - working - failed,
                failed=failed,
                promoted=len(state.promoted),
                queued=len(set(state.queue) - set(state.entered)),
                core_hours=state.core_hours,
                waiting_for=_waiting_for(state, states[k - 1] if k else None, last=k == len(states) - 1),
            )
        )
    return found


def _waiting_for(state: TierState, before: TierState | None, *, last: bool) -> str | None:
    if state.working:
        return f"jobs of {len(state.working)} candidates"
    if state.open_references:
        return f"{state.open_references} jobs of reference phases"
    admitted, reason = admit(state)
    if admitted:
        return f"{len(admitted)} candidates to enter"
    if not state.entered:
        return reason or (f"tier {before.tier.tier}" if before else None)
    latest = state.promotions[-1] if state.promotions else None
    if not last and (latest is None or latest.state is None):
        return "promotion"
    if not last and latest is not None and latest.state != "done":
        return "promotion job, which failed" if latest.state in ENDED else "promotion job"
    return reason


def fingerprint(queue: Queue, document: Mapping[str, Any]) -> str:
    """Return a hash of how the campaign's jobs ended; equal ones leave a ladder nothing new to decide."""
    records = [*(j for e in document["candidates"] for j in e["jobs"]), *document["references"]]
    states = queue.states([record["uuid"] for record in (*records, *document["promotions"])])
    return hashlib.sha256(json.dumps(sorted(states.items())).encode()).hexdigest()


def open_jobs(queue: Queue, states: Mapping[str, State]) -> set[str]:
    """Return the uuids of jobs that run or can still run: not ended, and not blocked by one that failed."""
    blocked = queue.blocked([uuid for uuid, state in states.items() if state == "waiting"])
    return {uuid for uuid, state in states.items() if state not in ENDED} - blocked


def _owner(names: list[TierName], tier: TierName) -> TierName | None:
    """Return the ladder's tier that pays for a job: the job's own, or the next one if the ladder leaves that out."""
    return next((name for name in names if TIERS.index(name) >= TIERS.index(tier)), None)


def _cores(tier: Tier, of_the_job: int | None) -> int:
    """Return how many cores a job of a tier takes: what the budget states, else what its protocol does."""
    stated = tier.budget.cores_per_job if tier.budget else None
    return stated or of_the_job or 1


def _finished(uuids: Iterable[str], states: Mapping[str, State]) -> bool:
    return all(states.get(uuid) == "done" for uuid in uuids)


def _promotions(
    queue: Queue,
    document: Mapping[str, Any],
    tier: TierName,
    entries: Mapping[str, Any],
    states: Mapping[str, State],
) -> list[Promotion]:
    """Return a tier's promotions; a promoted candidate whose plan has changed since has to be judged again."""
    wanted = [record["uuid"] for record in document["promotions"] if record["tier"] == tier]
    fields = {"uuid": 1, "output.promoted": 1, "output.decisions.candidate_id": 1, "output.decisions.plan_id": 1}
    outputs = {d["uuid"]: d["output"] for d in queue.database["outputs"].find({"uuid": {"$in": wanted}}, fields)}
    found = []
    for uuid in wanted:
        state = states.get(uuid)
        output = outputs.get(uuid) if state == "done" else None
        promoted: list[str] = []
        if output is not None:
            plans = {d["candidate_id"]: d["plan_id"] for d in output["decisions"]}
            promoted = [c for c in output["promoted"] if c in entries and entries[c]["plan_id"] == plans[c]]
        found.append(Promotion(uuid, state, promoted))
    return found
