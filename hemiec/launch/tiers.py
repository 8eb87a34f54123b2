"""Where a campaign's ladder stands, read from the store: who is in which tier, what it cost, what it waits for."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from hemiec.launch.enqueue import job_states
from hemiec.schemas.ladder import TIERS, Ladder, Tier, TierBudget, TierName
from hemiec.store.database import Database, Document

_LADDER: TypeAdapter[list[Tier]] = TypeAdapter(Ladder)
_ENDED = {"COMPLETED", "FIZZLED", "DEFUSED", "ARCHIVED"}


@dataclass(frozen=True)
class Promotion:
    """One promotion job: its state (None before it is on the LaunchPad) and whom it promoted, in order."""

    uuid: str
    state: str | None
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


def read_ladder(database: Database, document: Mapping[str, Any]) -> list[TierState]:
    """Return the tiers of a campaign's document, the first one first; empty without a ladder."""
    if not document["spec"].get("ladder"):
        return []
    ladder = _LADDER.validate_python(document["spec"]["ladder"])
    names = [tier.tier for tier in ladder]
    entries = {entry["candidate"]["candidate_id"]: entry for entry in document["candidates"]}
    uuids = [job["uuid"] for entry in entries.values() for job in entry["jobs"]]
    uuids += [job["uuid"] for job in document["references"]]
    states = job_states(database, [*uuids, *(record["uuid"] for record in document["promotions"])])
    # A job that is not on the LaunchPad yet is still to run.
    running = open_jobs(database, states) | (set(uuids) - set(states))
    cost = _core_seconds(database, uuids)
    found: list[TierState] = []
    for k, tier in enumerate(ladder):
        reached = [c for c, e in entries.items() if e["tier"] is not None and names.index(e["tier"]) >= k]
        jobs = {c: [j["uuid"] for j in entries[c]["jobs"] if _owner(names, j["tier"]) == tier.tier] for c in reached}
        # A magnetic start may fail; the job that keeps the lowest says whether there is a number.
        kinds = {j["uuid"]: j["kind"] for c in reached for j in entries[c]["jobs"]}
        needed = {c: [u for u in jobs[c] if not kinds[u].endswith(("-start", "-part"))] for c in reached}
        working = [c for c in reached if running.intersection(jobs[c])]
        queue = list(entries) if k == 0 else [c for c in found[-1].promoted if c in entries]
        references = [j["uuid"] for j in document["references"] if _owner(names, j.get("tier", "relax")) == tier.tier]
        found.append(
            TierState(
                tier=tier,
                # Who is in the tier stays, whatever became of the promotion that let it in.
                queue=list(dict.fromkeys([*queue, *reached])),
                entered=reached,
                working=working,
                failed=[c for c in reached if c not in working and not _finished(needed[c], states)],
                open_references=len(running.intersection(references)),
                core_hours=sum(cost.get(u, 0.0) for c in reached for u in jobs[c])
                * (tier.budget.cores_per_job if tier.budget else 1)
                / 3600,
                promotions=_promotions(database, document, tier.tier, entries, states),
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
    if not last and latest is not None and latest.state != "COMPLETED":
        return "promotion job, which failed" if latest.state in _ENDED else "promotion job"
    return reason


def fingerprint(database: Database, document: Mapping[str, Any]) -> str:
    """Return a hash of how the campaign's jobs ended; equal ones leave a ladder nothing new to decide."""
    records = [*(j for e in document["candidates"] for j in e["jobs"]), *document["references"]]
    states = job_states(database, [record["uuid"] for record in (*records, *document["promotions"])])
    content = sorted((uuid, entry["state"]) for uuid, entry in states.items())
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def open_jobs(database: Database, states: Mapping[str, Document]) -> set[str]:
    """Return the uuids of jobs that run or can still run: not ended, and not blocked by one that failed."""
    blocked = blocked_fireworks(database, [e["fw_id"] for e in states.values() if e["state"] == "WAITING"])
    return {uuid for uuid, e in states.items() if e["state"] not in _ENDED and e["fw_id"] not in blocked}


def blocked_fireworks(database: Database, waiting: Collection[int]) -> set[int]:
    """Return which of some waiting Fireworks cannot run because one that they wait for failed or was cancelled."""
    blocked: set[int] = set()
    workflows = database["workflows"].find({"nodes": {"$in": list(waiting)}}, {"nodes": 1, "parent_links": 1})
    for workflow in workflows:
        nodes = {"fw_id": {"$in": workflow["nodes"]}}
        fields = {"fw_id": 1, "state": 1, "spec._allow_fizzled_parents": 1}
        fireworks = {fw["fw_id"]: fw for fw in database["fireworks"].find(nodes, fields)}
        links = {int(child): parents for child, parents in workflow.get("parent_links", {}).items()}
        open_ones = {fw_id for fw_id, fw in fireworks.items() if fw["state"] == "WAITING"}
        stuck: set[int] = set()
        while more := {i for i in open_ones - stuck if _is_stuck(fireworks[i], links.get(i, []), fireworks, stuck)}:
            stuck |= more
        blocked |= stuck
    return blocked.intersection(waiting)


def _is_stuck(fw: Document, parents: Iterable[int], fireworks: Mapping[int, Document], stuck: set[int]) -> bool:
    fatal = {"DEFUSED", "ARCHIVED"} if fw["spec"].get("_allow_fizzled_parents") else {"DEFUSED", "ARCHIVED", "FIZZLED"}
    return any(p in stuck or fireworks[p]["state"] in fatal for p in parents)


def launch_seconds(launch: Mapping[str, Any], *, running: bool) -> float | None:
    """Return how long a launch ran, in s; None if it never started.

    One that was lost counts to its last heartbeat, one that still runs to now.
    """
    history = {entry["state"]: entry for entry in launch.get("state_history", [])}
    start = history.get("RUNNING")
    if start is None:
        return None
    ended = history.get("COMPLETED") or history.get("FIZZLED")
    if ended is not None:
        end = _time(ended["created_on"])
    else:
        end = datetime.now(UTC) if running else _time(start.get("updated_on") or start["created_on"])
    return max(0.0, (end - _time(start["created_on"])).total_seconds())


def _time(moment: str | datetime) -> datetime:
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _core_seconds(database: Database, uuids: Collection[str]) -> dict[str, float]:
    """Return job uuid to the time of all its launches, in s: also of those that failed or were lost."""
    fields = {"launches": 1, "archived_launches": 1, "state": 1, "spec.hemiec.uuid": 1}
    fireworks = list(database["fireworks"].find({"spec.hemiec.uuid": {"$in": list(uuids)}}, fields))
    owner = {launch_id: fw for fw in fireworks for launch_id in (*fw["launches"], *fw.get("archived_launches", []))}
    seconds: dict[str, float] = {}
    wanted = {"launch_id": 1, "state_history": 1}
    for launch in database["launches"].find({"launch_id": {"$in": list(owner)}}, wanted):
        fw = owner[launch["launch_id"]]
        running = fw["state"] == "RUNNING" and launch["launch_id"] in fw["launches"]
        uuid = fw["spec"]["hemiec"]["uuid"]
        seconds[uuid] = seconds.get(uuid, 0.0) + (launch_seconds(launch, running=running) or 0.0)
    return seconds


def _owner(names: list[TierName], tier: TierName) -> TierName | None:
    """Return the ladder's tier that pays for a job: the job's own, or the next one if the ladder leaves that out."""
    return next((name for name in names if TIERS.index(name) >= TIERS.index(tier)), None)


def _finished(uuids: Iterable[str], states: Mapping[str, Document]) -> bool:
    return all(states.get(uuid, {}).get("state") == "COMPLETED" for uuid in uuids)


def _promotions(
    database: Database,
    document: Mapping[str, Any],
    tier: TierName,
    entries: Mapping[str, Any],
    states: Mapping[str, Document],
) -> list[Promotion]:
    """Return a tier's promotions; a promoted candidate whose plan has changed since has to be judged again."""
    wanted = [record["uuid"] for record in document["promotions"] if record["tier"] == tier]
    fields = {"uuid": 1, "output.promoted": 1, "output.decisions.candidate_id": 1, "output.decisions.plan_id": 1}
    outputs = {d["uuid"]: d["output"] for d in database["outputs"].find({"uuid": {"$in": wanted}}, fields)}
    found = []
    for uuid in wanted:
        state = states.get(uuid, {}).get("state")
        output = outputs.get(uuid) if state == "COMPLETED" else None
        promoted: list[str] = []
        if output is not None:
            plans = {d["candidate_id"]: d["plan_id"] for d in output["decisions"]}
            promoted = [c for c in output["promoted"] if c in entries and entries[c]["plan_id"] == plans[c]]
        found.append(Promotion(uuid, state, promoted))
    return found
