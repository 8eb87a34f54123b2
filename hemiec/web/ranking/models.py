"""What answers about the ranked table look like, for the OpenAPI description."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.leaderboard import Doubt, RankUncertainty, WeightRange
from hemiec.schemas.quantity import Document
from hemiec.schemas.snapshot import SnapshotManifest


class PropertyAbout(Document):
    """How people see one property."""

    name: str = Field(description="Name of the property.")
    title: str = Field(description="In full.")
    heading: str = Field(description="Short, for the head of a table.")
    unit: str = Field(description="Unit of its numbers.")
    digits: int = Field(description="Digits after the point; unit 1.")


class DefinitionList(Document):
    """The rules that candidates can be ranked by."""

    documents: list[LeaderboardDefinition] = Field(description="Definitions, the default first.")
    properties: list[PropertyAbout] = Field(description="Everything that can be ranked by.")


class TableAbout(Document):
    """The table that the answer is from."""

    status: Literal["ready", "renewing", "stale"] = Field(
        description="renewing: a newer one is being read; stale: that failed."
    )
    read_at: datetime = Field(description="When it was read from the store, UTC.")
    n_candidates: int = Field(ge=0, description="Candidates in it; unit 1.")
    snapshot_id: str | None = Field(description="Snapshot that it is of; null if it is the store's.")


class Value(Document):
    """One value of a candidate."""

    value: float | None = Field(description="The number in `unit`, corrected if there is a correction; null if none.")
    low: float | None = Field(description="Lower end of its 90 % interval, in `unit`; null if none is known.")
    high: float | None = Field(description="Upper end of it, in `unit`; null if none is known.")
    unit: str = Field(description="Unit of the three.")
    corrected: bool = Field(description="Whether it was corrected towards DFT.")
    n: int = Field(ge=0, description="Independent samples behind it; unit 1.")
    method: str | None = Field(description="How it was computed.")
    reason: str | None = Field(description="Why there is no value; null if there is one.")


class RankingRow(Document):
    """One candidate in the ranked list."""

    candidate_id: str = Field(description="Content hash of the composition.")
    label: str = Field(description="Short formula for people.")
    formula: str = Field(description="Formula with site fractions.")
    rank: int | None = Field(description="1 is best; unit 1; null if it is not ranked.")
    score: float | None = Field(description="0 to 1; unit 1; null if it is not ranked.")
    pareto_layer: int | None = Field(description="From 1; unit 1; null if not ranked, or of very many candidates.")
    missing: list[str] = Field(description="Criteria that it has no value for.")
    doubts: list[Doubt] = Field(description="What a reader should know of its numbers.")
    values: dict[str, Value] = Field(description="Property to value.")


class RankingPage(Document):
    """A page of the ranked list."""

    definition: LeaderboardDefinition = Field(description="The rules, with the weights of this answer.")
    table: TableAbout = Field(description="The table that it is from.")
    n_found: int = Field(ge=0, description="Candidates under the filter; unit 1.")
    n_ranked: int = Field(ge=0, description="Those of them that are ranked; unit 1.")
    n_unranked: int = Field(ge=0, description="Those that are not, for want of a value; unit 1.")
    first: int = Field(ge=0, description="Place of the first row, from 0; unit 1.")
    rows: list[RankingRow] = Field(description="The candidates of this page.")
    sensitivity: list[WeightRange] = Field(description="How far each weight can move before another candidate wins.")
    elapsed_ms: float = Field(description="Time that the server took, in ms.")


class CandidateUncertainty(RankUncertainty):
    """Where one candidate may stand."""

    candidate_id: str = Field(description="The candidate.")


class UncertaintyPage(Document):
    """Where the candidates of a page may stand."""

    rows: list[CandidateUncertainty] = Field(description="Those of the page that were drawn.")
    draws: int = Field(ge=1, description="Random draws; unit 1.")
    seed: int = Field(ge=0, description="Seed of the draws; unit 1.")
    top: int = Field(ge=1, description="Ranks that count as the top; unit 1.")
    n_drawn: int = Field(ge=0, description="Candidates that competed; unit 1.")
    note: str | None = Field(description="Who was left out; null if nobody was.")


class Card(Document):
    """One candidate among the ranked."""

    row: RankingRow = Field(description="What the list says of it.")
    uncertainty: CandidateUncertainty | None = Field(description="Where it may stand; null if it was not drawn.")
    note: str | None = Field(description="Who was left out of the draws; null if nobody was.")
    n_ranked: int = Field(ge=0, description="Candidates that are ranked; unit 1.")


class Axis(Document):
    """One axis of a scatter."""

    property: str = Field(description="Name of the property.")
    title: str = Field(description="In full.")
    unit: str = Field(description="Unit of its numbers.")


class Points(Document):
    """Points, one column each."""

    candidate_id: list[str] = Field(description="The candidates, by their ids.")
    label: list[str] = Field(description="Short formulas.")
    x: list[float] = Field(description="Values to the right, in the unit of the axis.")
    y: list[float] = Field(description="Values upwards, in the unit of the axis.")
    x_low: list[float | None] = Field(description="Lower ends of 90 % intervals, in the unit of the axis.")
    x_high: list[float | None] = Field(description="Upper ends, in the unit of the axis.")
    y_low: list[float | None] = Field(description="Lower ends of 90 % intervals, in the unit of the axis.")
    y_high: list[float | None] = Field(description="Upper ends, in the unit of the axis.")
    rank: list[int | None] = Field(description="Ranks; unit 1; null if not ranked.")
    front: list[bool] = Field(description="Whether no other candidate is as good in both and better in one.")


class PointsAnswer(Document):
    """Points of a scatter."""

    x: Axis = Field(description="To the right.")
    y: Axis = Field(description="Upwards.")
    points: Points = Field(description="The points that are shown.")
    n_found: int = Field(ge=0, description="Candidates under the filter that have both values; unit 1.")
    n_shown: int = Field(ge=0, description="Points; unit 1.")
    how: str = Field(description="Which of them are shown, in words.")


class ElementCounts(Document):
    """Candidates per element."""

    elements: dict[str, int] = Field(description="Element to the candidates under the filter that have it; unit 1.")


class SnapshotList(Document):
    """The snapshots in the data folder."""

    documents: list[SnapshotManifest] = Field(description="Their manifests, the latest first.")
    damaged: dict[str, str] = Field(description="Folder of one that cannot be read, to the reason.")
