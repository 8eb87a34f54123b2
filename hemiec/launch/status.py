"""What a campaign's jobs are doing, read from the LaunchPad."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from hemiec.errors import InputError, did_you_mean
from hemiec.launch.reconcile import last_line
from hemiec.launch.tiers import TierStatus, blocked_fireworks, fingerprint, launch_seconds, read_ladder, tier_statuses
from hemiec.store.database import Database, Document

#: FireWorks' states in words for people.
STATES = {
    "COMPLETED": "done",
    "RUNNING": "running",
    "RESERVED": "running",
    "READY": "ready",
    "WAITING": "waiting",
    "FIZZLED": "failed",
    "DEFUSED": "cancelled",
    "PAUSED": "paused",
    "ARCHIVED": "archived",
}


#: What a ladder is read from, of a campaign's document.
_LADDER_FIELDS = {
    "name": 1,
    "spec.ladder": 1,
    "ladder_seen": 1,
    "candidates.candidate.candidate_id": 1,
    "candidates.plan_id": 1,
    "candidates.tier": 1,
    "candidates.jobs": 1,
    "references": 1,
    "promotions": 1,
}


@dataclass(frozen=True)
class JobStatus:
    """One job on the LaunchPad."""

    uuid: str
    fw_id: int
    label: str
    step: str
    state: str
    elapsed_s: float | None
    message: str | None
    blocked: bool = False


@dataclass(frozen=True)
class Status:
    """All jobs of a campaign (or of the whole LaunchPad) and what they are doing.

    ``tiers`` are those of the campaign's ladder, if it has one; ``open_ladders`` names the campaigns on whose ladder
    something is to be decided when their jobs have settled.
    """

    campaign: str | None
    jobs: list[JobStatus]
    tiers: list[TierStatus] = field(default_factory=list)
    open_ladders: list[str] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """State to number of jobs."""
        return Counter(job.state for job in self.jobs)

    @property
    def jobs_settled(self) -> bool:
        """Whether no job runs or can run: the rest is done, failed or blocked by a failure."""
        return not any(
            job.state in ("running", "ready") or (job.state == "waiting" and not job.blocked) for job in self.jobs
        )

    @property
    def settled(self) -> bool:
        """Whether no job runs or can run, and no ladder has another step to take."""
        return self.jobs_settled and not self.open_ladders

    def by_label(self) -> dict[str, list[JobStatus]]:
        """Return the jobs of each candidate or reference phase."""
        groups: dict[str, list[JobStatus]] = {}
        for job in self.jobs:
            groups.setdefault(job.label, []).append(job)
        return groups

    def to_json(self) -> dict[str, Any]:
        """Return counts, jobs and tiers as plain types."""
        return {
            "campaign": self.campaign,
            "settled": self.settled,
            "counts": dict(self.counts),
            "tiers": [asdict(tier) for tier in self.tiers],
            "jobs": [asdict(job) for job in self.jobs],
        }


def read_status(database: Database, campaign: str | None = None) -> Status:
    """Return the status of a campaign's jobs, or of all jobs.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    query = {} if campaign is None else {"spec.hemiec.uuid": {"$in": campaign_uuids(database, campaign)}}
    fireworks = list(
        database["fireworks"].find(query, {"fw_id": 1, "state": 1, "name": 1, "launches": 1, "spec.hemiec": 1})
    )
    launches = _launches(database, fireworks)
    blocked = blocked_fireworks(database, [fw["fw_id"] for fw in fireworks if fw["state"] == "WAITING"])
    jobs = []
    for fw in sorted(fireworks, key=lambda f: f["fw_id"]):
        about = fw["spec"].get("hemiec", {})
        launch = launches.get(fw["launches"][-1]) if fw["launches"] else None
        state = STATES.get(fw["state"], fw["state"].lower())
        message = None
        if state == "failed":
            message = (last_line(launch) if launch else "") or "its worker died again and again"
        jobs.append(
            JobStatus(
                uuid=about.get("uuid", ""),
                fw_id=fw["fw_id"],
                label=about.get("label", fw["name"]),
                step=about.get("step", fw["name"]),
                state=state,
                elapsed_s=launch_seconds(launch, running=state == "running") if launch else None,
                message=message,
                blocked=fw["fw_id"] in blocked,
            )
        )
    ladders = {
        document["name"]: document
        for document in database["campaigns"].find(
            {"spec.ladder": {"$ne": None}} | ({} if campaign is None else {"name": campaign}), _LADDER_FIELDS
        )
    }
    return Status(
        campaign,
        jobs,
        tiers=tier_statuses(read_ladder(database, ladders[campaign])) if campaign in ladders else [],
        open_ladders=[
            name for name, document in ladders.items() if document.get("ladder_seen") != fingerprint(database, document)
        ],
    )


def stopped_reasons(database: Database, campaign: str) -> set[str]:
    """Return the reasons why a ladder leaves candidates without the numbers of its higher tiers, as it should.

    A candidate that is held for want of a number is not among them.
    """
    document = database["campaigns"].find_one({"name": campaign}, {"candidates.stopped": 1}) or {"candidates": []}
    reasons = {entry.get("stopped") for entry in document["candidates"]}
    return {reason for reason in reasons if reason is not None and not reason.startswith("held")}


def campaign_uuids(database: Database, campaign: str) -> list[str]:
    """Return the uuids of all jobs of a campaign.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    fields = {"candidates.jobs.uuid": 1, "references.uuid": 1, "promotions.uuid": 1}
    document = campaign_document(database, campaign, fields)
    jobs = [job for candidate in document["candidates"] for job in candidate["jobs"]] + document["references"]
    return [job["uuid"] for job in (*jobs, *document.get("promotions", []))]


def campaign_document(database: Database, campaign: str, fields: dict[str, int] | None = None) -> Document:
    """Return the stored document of a campaign, or some fields of it.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    document = database["campaigns"].find_one({"name": campaign}, fields)
    if document is None:
        known = database["campaigns"].distinct("name")
        hint = did_you_mean(campaign, known) if known else "none was submitted to this store yet."
        raise InputError(f"no campaign {campaign!r} in the store; {hint}")
    return document


def _launches(database: Database, fireworks: list[Document]) -> dict[int, Document]:
    wanted = [fw["launches"][-1] for fw in fireworks if fw["launches"]]
    fields = {
        "launch_id": 1,
        "state": 1,
        "state_history.state": 1,
        "state_history.created_on": 1,
        "state_history.updated_on": 1,
        "action.stored_data._exception._stacktrace": 1,
    }
    return {launch["launch_id"]: launch for launch in database["launches"].find({"launch_id": {"$in": wanted}}, fields)}
