"""What changed between two ranked snapshots or leaderboards, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from hemiec.schemas.quantity import Document

Status = Literal["up", "down", "same", "entered", "left", "ranked", "unranked"]
CauseKind = Literal[
    "new-data",
    "model",
    "references",
    "hull",
    "definition",
    "filter",
    "added",
    "removed",
    "new-candidate",
    "others",
    "unknown",
]


class DiffSide(Document):
    """One of the two things compared."""

    kind: Literal["snapshot", "leaderboard"] = Field(description="What it is.")
    id: str = Field(description="Its snapshot_id or leaderboard_id.")
    snapshot_id: str | None = Field(description="The snapshot that its numbers are from; null if none was kept.")
    created_at: datetime = Field(description="When it was made, UTC.")
    campaign: str | None = Field(description="Only candidates of this campaign; null for all.")
    where: str = Field(description="Condition of its snapshot, in the language of `hemiec query`.")
    definition: str = Field(description="Name of the rules that it is ranked by here.")
    n_candidates: int = Field(ge=0, description="Candidates in it; unit 1.")
    n_ranked: int = Field(ge=0, description="Candidates with a rank; unit 1.")


class DiffCause(Document):
    """One reason why a candidate stands elsewhere."""

    kind: CauseKind = Field(
        description="new-data: other jobs, or the same run again; model: another protocol, correction or version of "
        "the code; references: the phases that energies are relative to were computed anew; hull: other phases are "
        "what it decomposes to; "
        "definition: other rules; filter: a condition leaves it out or no longer does; added, removed: it is only in "
        "one of the two; new-candidate: one that was not there passed it; others: others moved, nothing of its own; "
        "unknown: what is stored does not tell."
    )
    property: str | None = Field(None, description="The property that it concerns; null if none or all.")
    text: str = Field(description="One sentence for people.")
    old: float | None = Field(None, description="Value before, in `unit`; null if there was none.")
    new: float | None = Field(None, description="Value after, in `unit`; null if there is none.")
    unit: str | None = Field(None, description="Unit of the two values.")
    job_uuids: list[str] = Field(
        default_factory=list, description="jobflow jobs that are new behind the value, or ran again."
    )
    phases: list[str] = Field(default_factory=list, description="Reference phases that are new or changed.")
    candidates: list[str] = Field(default_factory=list, description="candidate_ids that moved past it or away.")


class DiffMove(Document):
    """One candidate that moved, or whose ranked values changed."""

    candidate_id: str = Field(description="The candidate.")
    label: str = Field(description="Short formula for people.")
    status: Status = Field(
        description="up, down, same: ranked in both; entered, left: ranked, and only in one of the two; ranked, "
        "unranked: in both, and ranked only in the new or the old one."
    )
    rank_old: int | None = Field(description="Rank of the old data by the old rules; unit 1; null if unranked.")
    rank_between: int | None = Field(description="Rank of the old data by the new rules; unit 1; null if unranked.")
    rank_new: int | None = Field(description="Rank of the new data by the new rules; unit 1; null if unranked.")
    rank_alone: int | None = Field(
        description="Rank that its own new values would give it among the old ones of all others, by the new rules; "
        "unit 1; null if it is not ranked by both, or ties are not shared."
    )
    score_old: float | None = Field(description="Score in the old ranking, 0 to 1; unit 1; null if unranked.")
    score_new: float | None = Field(description="Score in the new ranking, 0 to 1; unit 1; null if unranked.")
    causes: list[DiffCause] = Field(description="Why, what concerns itself first.")


class DiffDoc(Document):
    """Two rankings compared: what `hemiec diff --json` prints and the web sends."""

    old: DiffSide = Field(description="The earlier one.")
    new: DiffSide = Field(description="The later one.")
    definition_changes: list[str] = Field(description="How the rules differ, one sentence each; empty if they do not.")
    model_changes: list[str] = Field(
        description="How protocols, corrections, reference phases and versions of the code differ, one sentence each."
    )
    statuses: dict[str, int] = Field(description="Status to the number of candidates, unmoved ones included; unit 1.")
    causes: dict[str, int] = Field(description="Kind of cause to the number of listed candidates with it; unit 1.")
    n_moves: int = Field(ge=0, description="Candidates that moved or whose ranked values changed; unit 1.")
    moves: list[DiffMove] = Field(description="Those candidates, the best of either rank first.")
    notes: list[str] = Field(default_factory=list, description="What a reader should know, one sentence each.")
