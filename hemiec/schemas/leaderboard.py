"""A leaderboard as it is printed, exported and drawn."""

from __future__ import annotations

import hashlib
from datetime import datetime

from pydantic import Field, model_validator

from hemiec.schemas.calculations import GapStart
from hemiec.schemas.definition import Criterion, Ties
from hemiec.schemas.documents import (
    APART,
    SCHEMA_VERSION,
    energy_above_hull_not_built,
    interface_reaction_energy_not_built,
)
from hemiec.schemas.dynamics import ArrheniusDoc
from hemiec.schemas.quantity import Document, Quantity
from hemiec.schemas.thermo import Thermodynamics
from hemiec.schemas.transport import HopSummary, TransportSummary


class Doubt(Document):
    """One thing about a candidate's numbers that a reader should know before trusting its rank."""

    code: str = Field(description="Kind of doubt: lower case and hyphens.")
    property: str | None = Field(None, description="The property that it concerns; null if all.")
    text: str = Field(description="One sentence for people.")


class RankUncertainty(Document):
    """Where a candidate may stand, from draws of every value from its interval."""

    expected_rank: float = Field(ge=1, description="Mean of its ranks over the draws; unit 1.")
    rank_interval: tuple[float, float] = Field(description="5th and 95th percentile of its ranks; unit 1.")
    score_interval: tuple[float, float] = Field(description="5th and 95th percentile of its scores, 0 to 1; unit 1.")
    probability_top: float = Field(ge=0, le=1, description="Share of draws in which it is in the top; unit 1.")
    probability_pareto: float = Field(
        ge=0,
        le=1,
        description="Share of draws in which no other is as good in every criterion and better in one; unit 1.",
    )


class WeightRange(Document):
    """How far one weight can move, the others as they are, before another candidate wins."""

    property: str = Field(description="The criterion.")
    weight: float = Field(description="Its weight; unit 1.")
    low: float = Field(ge=0, description="Smallest weight with the same winner; 0 if any above 0 has it; unit 1.")
    high: float | None = Field(description="Largest weight with the same winner; null if there is none; unit 1.")
    winner_below: str | None = Field(None, description="candidate_id that wins below `low`; null if none does.")
    winner_above: str | None = Field(None, description="candidate_id that wins above `high`; null if none does.")


class LeaderboardEntry(Document):
    """One candidate on the leaderboard."""

    rank: int | None = Field(
        description="1 is best, by corrected values where there are; unit 1; null if one is missing."
    )
    candidate_id: str = Field(description="Content hash of the composition.")
    formula: str = Field(description="Formula with site fractions.")
    label: str = Field(description="Short formula for people.")
    score: float | None = Field(description="Weighted mean of the scaled criteria, 0 to 1; unit 1; null if unranked.")
    pareto_layer: int | None = Field(
        description="1 if no other candidate is as good in every criterion and better in one; unit 1."
    )
    band_gap: Quantity = Field(description="Fundamental gap, in eV.")
    migration_barrier: Quantity = Field(description="Migration barrier, in eV.")
    formation_energy_per_atom: Quantity = Field(description="From the elements, in eV/atom.")
    formation_enthalpy_from_oxides_per_atom: Quantity = Field(description="From binary oxides, in eV/atom.")
    energy_above_hull: Quantity = Field(
        default_factory=energy_above_hull_not_built,
        description="Above the convex hull of the reference phases, in eV/atom.",
    )
    interface_reaction_energy: Quantity = Field(
        default_factory=interface_reaction_energy_not_built,
        description="Most negative reaction energy with a solid electrolyte, in eV/atom of the mixture.",
    )
    confirmed_formation_enthalpy_from_oxides_per_atom: Quantity | None = Field(
        None, description="From binary oxides by DFT, in eV/atom; null if no result is shown."
    )
    gap_starts: list[GapStart] = Field(
        default_factory=list, description="Every magnetic start behind the gap, the lowest solution first."
    )
    oxide_reaction: str | None = Field(None, description="Reaction behind the enthalpy from oxides.")
    mobile: str | None = Field(
        None, description="Species that the migration barrier is of, such as Li or O; null if no campaign asks for one."
    )
    mean_B_valence: float = Field(description="Mean formal oxidation state on B, in e.")
    tolerance_factor: float | None = Field(None, description="Goldschmidt tolerance factor; unit 1.")
    bartel_tau: float | None = Field(None, description="Tolerance factor of Bartel et al.; unit 1.")
    configurational_entropy: float = Field(description="Ideal, per formula unit, in units of R.")
    missing: list[str] = Field(default_factory=list, description="Criteria that it has no value for.")
    doubts: list[Doubt] = Field(default_factory=list, description="What a reader should know of its numbers.")
    uncertainty: RankUncertainty | None = Field(
        None, description="Where it may stand, from draws; null if it is not ranked."
    )
    n_atoms: int | None = Field(None, description="Atoms in the SQS cell; unit 1.")
    shortest_image_distance: float | None = Field(None, description="Between periodic images, in angstrom.")
    warren_cowley_rms: float | None = Field(None, description="SQS error wc4; unit 1.")
    icet_l1: float | None = Field(None, description="SQS error L1; unit 1.")
    hops: list[HopSummary] = Field(default_factory=list, description="Hops computed, with energy profiles.")
    transport: TransportSummary | None = Field(
        None, description="Network, energies and conduction of the mobile ion; null if no result is shown."
    )
    dynamics: ArrheniusDoc | None = Field(
        None, description="Diffusion by molecular dynamics, beside the network's; null if there is none."
    )
    thermodynamics: Thermodynamics | None = Field(
        None, description="Hull, temperature, oxygen, windows and interfaces; null if no result is shown."
    )


class LeaderboardHeader(Document):
    """What a ranked list was made of and when, without its entries."""

    leaderboard_id: str = Field(
        "", description="Content hash without the time: lb- and 16 hex digits; filled in where it is empty."
    )
    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    name: str = Field(description="Name of the definition.")
    title: str = Field(description="Title for people.")
    description: str = Field("", description="What the leaderboard is for.")
    campaign: str | None = Field(None, description="Only candidates of this campaign; null for all in the store.")
    criteria: list[Criterion] = Field(description="What the rank was made of.")
    where: str = Field("", description="Condition that its candidates fulfil, in the language of `hemiec query`.")
    ties: Ties = Field(default_factory=Ties, description="What candidates of equal score got.")
    draws: int = Field(0, ge=0, description="Random draws behind the probabilities; 0 if there are none; unit 1.")
    top: int = Field(10, ge=1, description="Ranks that count as the top; unit 1.")
    seed: int = Field(0, ge=0, description="Seed of the draws; unit 1.")
    sensitivity: list[WeightRange] = Field(
        default_factory=list, description="How far each weight can move before another candidate wins."
    )
    snapshot_id: str | None = Field(None, description="Snapshot that it was ranked from; null if from the store.")
    created_at: datetime = Field(description="When it was ranked, UTC.")
    versions: dict[str, str] = Field(description="Version of hemiec.")


class LeaderboardDoc(LeaderboardHeader):
    """A ranked list with the definition it was ranked by."""

    entries: list[LeaderboardEntry] = Field(description="Ranked candidates first, then unranked ones.")

    @model_validator(mode="after")
    def _has_id(self) -> LeaderboardDoc:
        if not self.leaderboard_id:
            self.leaderboard_id = f"lb-{self._content_hash()[:16]}"
        return self

    def _content_hash(self) -> str:
        """Return a hash of everything but the time; what lies in collections of its own is left out."""
        digest = hashlib.sha256()
        header = self.model_dump_json(exclude={"leaderboard_id", "created_at", "entries"})
        for part in (header, *(entry.model_dump_json(exclude=APART) for entry in self.entries)):
            digest.update(part.encode())
        return digest.hexdigest()


class StoredLeaderboard(LeaderboardHeader):
    """A saved ranked list without its entries; the collection `leaderboards`."""

    leaderboard_id: str = Field(description="Content hash without the time: lb- and 16 hex digits; the key.")
    n_entries: int = Field(ge=0, description="Number of its entries; unit 1.")


class StoredEntry(LeaderboardEntry):
    """One candidate of a saved ranked list; the collection `leaderboard_entries`.

    Hops, transport, dynamics and thermodynamics are not kept with it: they are the candidate's.
    """

    leaderboard_id: str = Field(description="The ranked list that it belongs to.")
    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    order: int = Field(ge=0, description="Place in the list, from 0; ranked candidates come first; unit 1.")
