"""How far a campaign has come, from the queue's collections, whatever backend filled them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from pydantic import Field

from hemiec.schemas.quantity import Document as Schema
from hemiec.store.building.feeds import server_time
from hemiec.store.campaigns import require_campaign
from hemiec.store.database import Database, Document
from hemiec.store.queue import fireworks, remote
from hemiec.store.queue.states import State, Tally

#: Candidates with jobs that run or failed that come first; more of them stand at their place in the campaign.
MAX_ACTIVE = 500
_ACTIVE: tuple[State, ...] = ("running", "failed")


class StateCounts(Schema):
    """How many jobs are in which state; unit 1."""

    done: int = Field(0, ge=0, description="Jobs with a result; unit 1.")
    running: int = Field(0, ge=0, description="Jobs that run; unit 1.")
    ready: int = Field(0, ge=0, description="Jobs that may start; unit 1.")
    waiting: int = Field(0, ge=0, description="Jobs that wait for others, or are not in the queue yet; unit 1.")
    failed: int = Field(0, ge=0, description="Jobs that failed; unit 1.")
    cancelled: int = Field(0, ge=0, description="Jobs that were cancelled; unit 1.")
    paused: int = Field(0, ge=0, description="Jobs that are held; unit 1.")


class KindProgress(StateCounts):
    """The jobs of one kind and protocol."""

    kind: str = Field(description="Kind of job: sqs, basin, sample, gap, reference, ...")
    protocol: str | None = Field(description="Protocol name; null if no protocol computes it.")
    total: int = Field(ge=0, description="Jobs in all; unit 1.")


class CandidateProgress(Schema):
    """The jobs of one candidate."""

    candidate_id: str = Field(description="The candidate.")
    label: str = Field(description="Its short formula.")
    done: int = Field(ge=0, description="Jobs with a result; unit 1.")
    total: int = Field(ge=0, description="Jobs in all so far; unit 1.")
    failed: int = Field(ge=0, description="Jobs that failed; unit 1.")
    running: int = Field(ge=0, description="Jobs that run; unit 1.")
    stopped: str | None = Field(description="Why it goes no further for now; null if it does.")


class CampaignProgress(Schema):
    """How far a campaign has come."""

    name: str = Field(description="Name of the campaign.")
    counts: StateCounts = Field(description="All its jobs in the queue.")
    kinds: list[KindProgress] = Field(description="The same by kind and protocol.")
    candidates: list[CandidateProgress] = Field(
        description="Some of its candidates: those with jobs that run or failed first, then in the campaign's order."
    )
    n_candidates: int = Field(ge=0, description="Its candidates in all; unit 1.")
    first: int = Field(ge=0, description="Place of the first of `candidates`, from 0; unit 1.")
    updated_at: datetime = Field(description="When it was read, by the database's clock, UTC.")


def read_progress(database: Database, campaign: str, *, first: int = 0, limit: int = 100) -> CampaignProgress:
    """Return how far a campaign has come; one that was only imported has no jobs.

    Parameters
    ----------
    database
        The store.
    campaign
        Its name.
    first, limit
        Which of its candidates are listed.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    require_campaign(database, campaign)
    counts: Counter[str] = Counter()
    kinds: dict[tuple[str, str | None], Counter[str]] = {}
    for entry in tally(database, campaign):
        counts[entry.state] += entry.n
        kinds.setdefault((entry.kind, entry.protocol), Counter())[entry.state] += entry.n
    return CampaignProgress(
        name=campaign,
        counts=StateCounts(**counts),
        kinds=[
            KindProgress(kind=kind, protocol=protocol, total=found.total(), **found)
            for (kind, protocol), found in sorted(kinds.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        ],
        candidates=_candidates(database, campaign, first, limit),
        n_candidates=database["plans"].count_documents({"campaign": campaign}),
        first=first,
        updated_at=server_time(database),
    )


def tally(database: Database, campaign: str | None = None) -> list[Tally]:
    """Return the counts of a campaign's jobs, or of all, in whichever queues there are."""
    return [
        *fireworks.tally_fireworks(database, campaign),
        *remote.tally_jobs(database[remote.JOBS], campaign, False, ()),
    ]


def states(database: Database, uuids: Collection[str]) -> dict[str, State]:
    """Return uuid to state of those that are in a queue or have a result; a result alone counts as done."""
    found = {uuid: fireworks.STATES[entry["state"]] for uuid, entry in fireworks.job_states(database, uuids).items()}
    fields = {"_id": 0, "uuid": 1, "index": 1, "state": 1}
    for part in remote.in_chunks(uuid for uuid in uuids if uuid not in found):
        for uuid, document in remote.latest(database[remote.JOBS].find(part, fields)).items():
            found[uuid] = remote.STATES[document["state"]]
    return found


def _candidates(database: Database, campaign: str, first: int, limit: int) -> list[CandidateProgress]:
    active = _active(database, campaign)
    # Not all of them need have a plan: one that was taken out of the campaign may still have jobs.
    leading = _plans(database, campaign, {"$in": active})
    plans = leading[first : first + limit]
    if len(plans) < limit:
        skipped = max(0, first - len(leading))
        plans += _plans(database, campaign, {"$nin": active}, skipped, limit - len(plans))
    known = states(database, [job["uuid"] for plan in plans for job in plan["jobs"]])
    found = []
    for plan in plans:
        counts = Counter(known.get(job["uuid"], "waiting") for job in plan["jobs"])
        about = plan["candidate"]
        found.append(
            CandidateProgress(
                candidate_id=about["candidate_id"],
                label=about["label"],
                done=counts["done"],
                total=counts.total(),
                failed=counts["failed"],
                running=counts["running"],
                stopped=plan.get("stopped"),
            )
        )
    return found


def _plans(
    database: Database, campaign: str, which: Document, skipped: int = 0, limit: int = MAX_ACTIVE
) -> list[Document]:
    where = {"campaign": campaign, "candidate.candidate_id": which}
    fields = {"_id": 0, "candidate.candidate_id": 1, "candidate.label": 1, "jobs.uuid": 1, "stopped": 1}
    return list(database["plans"].find(where, fields).sort("order", 1).skip(skipped).limit(limit))


def _active(database: Database, campaign: str) -> list[str]:
    """Return candidates of which a job runs or failed, not more than :data:`MAX_ACTIVE`."""
    found: set[str] = set()
    for collection, about, words in (
        ("fireworks", "spec.hemiec", fireworks.STATES),
        (remote.JOBS, remote.ABOUT, remote.STATES),
    ):
        theirs = [word for word, state in words.items() if state in _ACTIVE]
        where = {f"{about}.campaigns": campaign, "state": {"$in": theirs}}
        for document in database[collection].find(where, {"_id": 0, f"{about}.candidate_id": 1}).limit(10 * MAX_ACTIVE):
            part = document
            for key in about.split("."):
                part = part[key]
            if part.get("candidate_id") and len(found) < MAX_ACTIVE:
                found.add(part["candidate_id"])
    return sorted(found)
