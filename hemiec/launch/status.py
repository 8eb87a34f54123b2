"""What a campaign's jobs are doing, read from the LaunchPad."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from hemiec.errors import InputError, did_you_mean
from hemiec.launch.reconcile import last_line
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


@dataclass(frozen=True)
class Status:
    """All jobs of a campaign (or of the whole LaunchPad) and what they are doing."""

    campaign: str | None
    jobs: list[JobStatus]

    @property
    def counts(self) -> Counter[str]:
        """State to number of jobs."""
        return Counter(job.state for job in self.jobs)

    @property
    def settled(self) -> bool:
        """Whether nothing runs or can run: the rest is done, failed or blocked by a failure."""
        counts = self.counts
        return not (counts["running"] or counts["ready"] or (counts["waiting"] and not counts["failed"]))

    def by_label(self) -> dict[str, list[JobStatus]]:
        """Return the jobs of each candidate or reference phase."""
        groups: dict[str, list[JobStatus]] = {}
        for job in self.jobs:
            groups.setdefault(job.label, []).append(job)
        return groups

    def to_json(self) -> dict[str, Any]:
        """Return counts and jobs as plain types."""
        return {"campaign": self.campaign, "counts": dict(self.counts), "jobs": [asdict(job) for job in self.jobs]}


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
                elapsed_s=_elapsed(launch),
                message=message,
            )
        )
    return Status(campaign, jobs)


def campaign_uuids(database: Database, campaign: str) -> list[str]:
    """Return the uuids of all jobs of a campaign.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    fields = {"candidates.jobs.uuid": 1, "references.uuid": 1}
    document = database["campaigns"].find_one({"name": campaign}, fields)
    if document is None:
        known = database["campaigns"].distinct("name")
        hint = did_you_mean(campaign, known) if known else "none was submitted to this store yet."
        raise InputError(f"no campaign {campaign!r} in the store; {hint}")
    jobs = [job for candidate in document["candidates"] for job in candidate["jobs"]] + document["references"]
    return [job["uuid"] for job in jobs]


def _launches(database: Database, fireworks: list[Document]) -> dict[int, Document]:
    wanted = [fw["launches"][-1] for fw in fireworks if fw["launches"]]
    fields = {
        "launch_id": 1,
        "state": 1,
        "state_history.state": 1,
        "state_history.created_on": 1,
        "action.stored_data._exception._stacktrace": 1,
    }
    return {launch["launch_id"]: launch for launch in database["launches"].find({"launch_id": {"$in": wanted}}, fields)}


def _elapsed(launch: Document | None) -> float | None:
    """Return how long the last launch ran, or has been running, in s."""
    if launch is None:
        return None
    times = {entry["state"]: entry["created_on"] for entry in launch.get("state_history", [])}
    started = _time(times.get("RUNNING"))
    if started is None:
        return None
    ended = _time(times.get("COMPLETED")) or _time(times.get("FIZZLED")) or datetime.now(UTC)
    return max(0.0, (ended - started).total_seconds())


def _time(moment: object) -> datetime | None:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
