"""A campaign as a user writes it in YAML."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictInt, field_validator

from hemiec.schemas.dynamics import DynamicsSettings
from hemiec.schemas.ladder import Ladder
from hemiec.schemas.quantity import Document

#: Species to fraction, or a choice, or a grid, or a list of such mappings; `hemiec.composition.options` reads it.
SiteEntry = Any


class ChargeSettings(Document):
    """How a composition is made neutral, and what becomes of one that cannot be."""

    solve: Literal["B_valence", "delta"] = Field(
        "B_valence",
        description="What is solved for: the mean valence of the species with several allowed oxidation states, or "
        "the oxygen deficiency delta at fixed valences.",
    )
    unbalanced: Literal["refuse", "drop", "keep"] = Field(
        "refuse", description="What becomes of a composition that cannot be made neutral."
    )
    max_delta: float | str = Field(
        0.5, description="Largest delta that may be solved for, oxygen vacancies per formula unit; unit 1."
    )
    valence: dict[str, StrictInt] = Field(
        default_factory=dict,
        description="Fixed formal oxidation state of a species with several allowed ones, for `solve: delta`, in e.",
    )


class SpaceEntry(Document):
    """One composition, or one family of compositions, on the sites of ABX3."""

    A: SiteEntry = Field(
        description="Species to fraction, or {choose: n, from: [...]} for every choice at equal fractions, or "
        "{grid: [...], step: s} for every composition with that step, or a list of such entries."
    )
    B: SiteEntry = Field(description="As A, for the B sublattice.")
    X: SiteEntry = Field(default_factory=lambda: {"O": 1}, description="As A, for the anions; default oxygen.")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Name to list of values or {from, to, step}; fractions may use them.",
    )
    oxygen_deficiency: Any = Field(
        None,
        description="Oxygen vacancies per formula unit (delta): a number, an expression, a list of them, or `solve`; "
        "null for those written on X.",
    )
    charge: ChargeSettings | None = Field(None, description="As the campaign's `charge`, for this entry alone.")
    note: str = Field("", description="Why it is in the campaign.")

    @field_validator("A", "B", "X", mode="before")
    @classmethod
    def _is_a_site(cls, value: Any) -> Any:
        entries = value if isinstance(value, list) and value else [value]
        for entry in entries:
            if not isinstance(entry, dict):
                raise ValueError("expected a mapping of species to fraction, as {La: 1/2, Sr: 1/2}, or a list of them")
            for key in entry:
                if not isinstance(key, str):
                    raise ValueError(f"expected a chemical symbol, got {key!r}")
        return value


class SqsSettings(Document):
    """Which special quasirandom structure is made for each candidate."""

    max_atoms: int = Field(
        50, ge=5, le=1000, strict=True, description="Largest cell, vacant sites counted as atoms; unit 1."
    )
    members: int = Field(
        1,
        ge=1,
        le=20,
        strict=True,
        description="Structures per candidate whose spread goes into energies and barriers; unit 1.",
    )
    quality: Literal["fast", "standard", "best"] = Field("standard", description="Search effort.")
    shape: Literal["free", "compact"] = Field(
        "free", description="The best of all well-shaped cells, or the one with the most distant periodic images."
    )
    min_image_distance: float = Field(
        8.5,
        gt=0,
        le=100,
        description="Shapes with closer periodic images are not used, unless the cell is too small; in angstrom.",
    )
    rounding: float = Field(
        0.0, ge=0, le=0.5, description="Largest deviation of a site fraction that is accepted; 0 is exact; unit 1."
    )
    tilt: Literal["none", "Pnma", "R-3c", "I4/mcm"] = Field(
        "none", description="Octahedral tilts of the starting geometry, by the space group of the ternary compound."
    )
    objective: Literal["warren-cowley", "icet-l1"] = Field(
        "warren-cowley", description="What the search minimises: pair order by itself, or icet's L1 over pairs."
    )


class ProtocolNames(Document):
    """Which protocol computes which property: a shipped name, the path of a YAML file, or a protocol itself."""

    relax: str | dict[str, Any] = Field("mlip-chgnet", description="Cell, energy and reference phases.")
    barrier: str | dict[str, Any] | None = Field("mlip-chgnet", description="Vacancies and hops; null for none.")
    gap: str | dict[str, Any] | None = Field("gpaw-fast", description="Band gap by DFT; null for none.")
    confirm: str | dict[str, Any] | None = Field(
        None, description="DFT energy of the relaxed cell and of the first hops' minima and saddles; null for none."
    )


class HopSettings(Document):
    """Which ion moves, and how much of its network is computed."""

    mobile: str = Field(
        "O", description="Species that moves by vacancies: an anion along octahedron edges, or Li, Na, ... on A."
    )
    n: int = Field(24, ge=1, le=1000, strict=True, description="Hops computed at most; unit 1.")
    batch: int = Field(
        8, ge=1, le=100, strict=True, description="Hops computed before the model is asked again which matter; unit 1."
    )
    interval_eV: float = Field(
        0.05,
        gt=0,
        le=2,
        description="No more hops are computed once half the 90 % interval of the effective barrier is below, in eV.",
    )
    reference_temperature_K: float | None = Field(
        None,
        gt=0,
        le=3000,
        description="Temperature of the effective barrier, in K; null for 300 of cations and 1000 of anions.",
    )
    temperatures_K: list[float] | None = Field(
        None,
        min_length=1,
        max_length=50,
        description="Temperatures of diffusion and conductivity, in K; null for 300 to 600 of cations and 600 to 1300 "
        "of anions.",
    )
    carriers: float | None = Field(
        None,
        gt=0,
        le=3,
        description="Mobile vacancies per formula unit, for the conductivity; unit 1; null: those of the composition.",
    )
    confirm: int = Field(
        1, ge=0, le=100, strict=True, description="How many of them `protocols.confirm` computes again; unit 1."
    )

    def reference_K(self, charge: float) -> float:
        """Return the temperature of the effective barrier of an ion of this charge, in K."""
        return self.reference_temperature_K or (300.0 if charge > 0 else 1000.0)

    def temperatures(self, charge: float) -> list[float]:
        """Return the temperatures of diffusion and conductivity of an ion of this charge, in K."""
        usual = (300.0, 350.0, 400.0, 500.0, 600.0) if charge > 0 else (600.0, 700.0, 800.0, 1000.0, 1300.0)
        return self.temperatures_K or list(usual)

    @field_validator("temperatures_K")
    @classmethod
    def _are_temperatures(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and (min(value) <= 0 or max(value) > 3000 or len(set(value)) < len(value)):
            raise ValueError("expected different temperatures above 0 and up to 3000 K")
        return None if value is None else sorted(value)


class BudgetSettings(Document):
    """What a campaign may spend."""

    core_hours: float | None = Field(
        None, gt=0, description="Core-hours after which no more of its jobs start; null for no limit."
    )


class CampaignSpec(Document):
    """A whole campaign file."""

    name: str = Field(
        description="Short name, letters, digits and dashes.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
    )
    description: str = Field("", description="What the campaign is for.")
    seed: int = Field(0, ge=0, le=2**20, strict=True, description="Seed of everything that is drawn at random.")
    space: list[SpaceEntry] = Field(
        description="The compositions; none in what the store keeps of reference phases by themselves."
    )
    charge: ChargeSettings = Field(default_factory=ChargeSettings, description="How compositions are made neutral.")
    constraints: list[str] = Field(
        default_factory=list,
        description="Conditions on descriptors that a candidate must fulfil, such as 'bartel_tau < 4.18'.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Elements that must not occur, such as 'Pb', or not together: 'La & Pr'."
    )
    oxidation_states: dict[str, list[StrictInt]] = Field(
        default_factory=dict, description="Species to allowed formal oxidation states, in e; over the defaults."
    )
    sqs: SqsSettings = Field(default_factory=SqsSettings, description="Special quasirandom structures.")
    protocols: ProtocolNames = Field(default_factory=ProtocolNames, description="Which protocol for which property.")
    competitors: Literal["shipped", "compute", "none"] = Field(
        "shipped",
        description="Competing phases of the convex hull and of interfaces: those whose energies are shipped for the "
        "protocol, all of which a structure is known (the rest is computed), or none but elements and oxides.",
    )
    shipped_references: bool = Field(
        True, description="Whether shipped energies of reference phases are used; false computes them here."
    )
    hops: HopSettings = Field(default_factory=HopSettings, description="Which hops.")
    dynamics: DynamicsSettings | None = Field(
        None, description="Molecular dynamics beside the network's diffusion, hours per run; null for none."
    )
    budget: BudgetSettings = Field(default_factory=BudgetSettings, description="What the campaign may spend.")
    ladder: Ladder | None = Field(
        None, description="Tiers, what promotes and budgets; null computes everything for all candidates."
    )

    @field_validator("oxidation_states", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if isinstance(v, list) else [v] for k, v in value.items()}
        return value
