"""Thermodynamics of a candidate, as it is stored: hull, temperature, chemical potentials, interfaces."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hemiec.schemas.quantity import Document, Quantity


class PhaseAmount(Document):
    """A phase among products, with how much of it."""

    phase_id: str = Field(description="The reference phase, as in the collection `references` before the colon.")
    formula: str = Field(description="Its reduced formula.")
    amount: float = Field(description="Share of the atoms that it holds; unit 1; the amounts of all products sum to 1.")


class HullDoc(Document):
    """Stability against decomposition at 0 K, without zero-point energy."""

    energy_above_hull: Quantity = Field(
        description="Energy above the convex hull of all phases of the elements but the candidate itself, in eV/atom; "
        "negative if it lies below them."
    )
    decomposition: list[PhaseAmount] = Field(
        description="Products on the hull at the candidate's composition, the most plentiful first."
    )
    energy_above_other_compositions: float = Field(
        description="The same with phases of the candidate's own composition left out, in eV/atom: how far it is from "
        "separating into others. Equal to energy_above_hull unless a polymorph is tabulated."
    )
    energy_above_ordered: Quantity = Field(
        description="Energy above the lowest mixture of ordered ABX3 phases of the same cations, in eV/atom; anions "
        "they have too many or too few of are exchanged with their elements (O2) at 0 K."
    )
    ordered: list[PhaseAmount] = Field(
        description="That mixture; a negative amount of O2 is taken up from the gas. Empty if there is none."
    )
    n_phases: int = Field(description="Phases in the hull; unit 1.")
    chemsys: str = Field(description="Elements of the hull, alphabetical, joined with hyphens.")


class EntropyDoc(Document):
    """Ideal mixing entropy and what it does to the stability."""

    mixing_entropy: dict[str, float] = Field(
        description="Sublattice (A, B, X, and charge for charge disorder if asked) to its ideal mixing entropy, in "
        "eV/K/atom."
    )
    temperatures_K: list[float] = Field(description="Temperatures of the curve, in K.")
    energy_above_hull: list[float] = Field(description="E_hull - T S at these, in eV/atom.")
    low: list[float] | None = Field(description="5 % bound of the same, in eV/atom; null if the interval is unknown.")
    high: list[float] | None = Field(description="95 % bound of the same, in eV/atom; null if the interval is unknown.")
    stabilised_above_K: float | None = Field(
        description="Where the curve passes zero, in K; null if it does not up to the highest temperature, or lies "
        "below zero from 0 K on."
    )
    stabilised_interval_K: tuple[float | None, float | None] = Field(
        description="90 % interval of that temperature, in K; 0 for an end that is stable from 0 K on, null for one "
        "that is not reached up to the highest temperature, or if the interval is unknown."
    )
    decided_by: Literal["enthalpy", "entropy", "neither", "undecided"] = Field(
        description="What makes the candidate stable: its enthalpy at 0 K, its entropy up to the highest temperature, "
        "neither, or undecided where the interval allows two of them or is unknown."
    )
    method: str = Field(description="Which entropies are in it.")


class OxygenDoc(Document):
    """Oxygen deficiency in equilibrium with the gas, from the vacancies of the cell."""

    vacancy_energy: Quantity = Field(
        description="Mean formation energy of an oxygen vacancy with half an O2 at 0 K, in eV."
    )
    site_energies: list[float] = Field(description="Formation energies that the equilibrium is over, in eV, by site.")
    temperatures_K: list[float] = Field(description="Rows of the grids, in K.")
    log10_pO2_bar: list[float] = Field(description="Columns of the grids: log10 of the partial pressure over 1 bar.")
    delta: list[list[float]] = Field(description="Oxygen vacancies per formula unit, shape (T, pO2); unit 1.")
    mean_B_valence: list[list[float]] = Field(description="Mean oxidation state on B, shape (T, pO2), in e.")
    delta_assumed: float = Field(description="Deficiency of the candidate as it was computed; unit 1.")
    delta_bounds: tuple[float, float] = Field(
        description="Lowest and highest deficiency that sites and the valences behind the energies allow; unit 1."
    )
    delta_in_air: float = Field(description="Deficiency at `air_temperature_K` and 0.21 bar; unit 1.")
    delta_in_air_interval: tuple[float, float] | None = Field(
        description="The same with all energies at the ends of the interval of `vacancy_energy`; unit 1; null if it "
        "has none."
    )
    air_temperature_K: float = Field(description="Temperature of that, in K.")
    delta_in_air_at_298_K: float = Field(
        description="Deficiency in equilibrium with air at 298.15 K, which cooling may not reach; unit 1."
    )
    feedback: str = Field(description="What it says of the composition that was computed.")
    method: str = Field(description="The model, and the interaction of vacancies if any.")


class WindowDoc(Document):
    """Range of a chemical potential in which the candidate (or what it decomposes to) does not react."""

    element: str = Field(description="Li or O.")
    low: float | None = Field(
        description="Lower end relative to the element, in eV; null if there is none, as without the element."
    )
    high: float | None = Field(
        description="Upper end relative to the element, in eV; null if there is none: it stands the pure element."
    )
    products_below: list[PhaseAmount] = Field(description="What it becomes below.")
    products_above: list[PhaseAmount] = Field(description="What it becomes above.")
    driving_force: float = Field(
        description="Energy above the hull at 0 K that was taken off to have a window, in eV/atom; 0 if stable."
    )
    voltage_low: float | None = Field(None, description="Voltage against Li/Li+ of the upper end, in V; Li only.")
    voltage_high: float | None = Field(None, description="Voltage against Li/Li+ of the lower end, in V; Li only.")
    temperature_K: float | None = Field(None, description="Temperature of the two pressures, in K; O only.")
    log10_pO2_low: float | None = Field(
        None, description="log10 of the pressure of O2 in bar at the lower end, solids at 0 K; O only."
    )
    log10_pO2_high: float | None = Field(None, description="log10 of that in bar at the upper end; O only.")


class ReactionKink(Document):
    """A point of an interface reaction curve where the products change."""

    fraction: float = Field(ge=0, le=1, description="Share of the candidate in the mixture, by atoms; unit 1.")
    reaction_energy: float = Field(
        description="From candidate and partner as computed, in eV per atom of the mixture before any exchange; "
        "negative releases energy. Of an open system, the change of the grand potential."
    )
    uptake: float = Field(
        description="Atoms of the open element taken from the reservoir, per atom of the mixture before; negative if "
        "given to it; 0 if closed; unit 1."
    )
    products: list[PhaseAmount] = Field(description="What is there, atoms from the reservoir included.")


class InterfaceDoc(Document):
    """Reaction of the candidate with one partner."""

    partner: str = Field(description="Name of the partner, such as Li3PS4.")
    role: Literal["electrode", "electrolyte"] = Field(description="What the partner is in a battery.")
    phases: list[PhaseAmount] = Field(description="The reference phases whose energies make that of the partner.")
    open_element: Literal["Li", "O"] | None = Field(description="Element with fixed potential; null if closed.")
    chemical_potential: float | None = Field(description="That potential relative to the element, in eV.")
    kinks: list[ReactionKink] = Field(description="The curve, straight between its kinks, from fraction 0 to 1.")
    reaction_energy: float = Field(
        description="Lowest of the curve, in eV per atom of the mixture; 0 if nothing reacts. It includes what a "
        "metastable candidate or partner releases on its own."
    )
    worst_fraction: float = Field(description="Where it is: share of the candidate, by atoms; unit 1.")
    mutual_energy: float = Field(
        description="Lowest of the curve less the straight line between its ends, in eV per atom of the mixture: what "
        "the contact adds to the decomposition of each side alone."
    )
    potential_jump: dict[str, float] = Field(
        description="Element to its chemical potential in the candidate minus that in the partner, in eV, both on "
        "their own and closed. Of two ranges the nearest ends count: 0 if they overlap. Positive: it is driven to the "
        "partner."
    )


class Thermodynamics(Document):
    """Everything of one result of a candidate; stored apart in the collection `thermodynamics`.

    A part that could not be computed is null, and `reasons` says why.
    """

    hull: HullDoc | None = Field(None, description="Decomposition at 0 K.")
    entropy: EntropyDoc | None = Field(None, description="Temperature and mixing.")
    oxygen: OxygenDoc | None = Field(None, description="Oxygen deficiency.")
    windows: list[WindowDoc] = Field(default_factory=list, description="Windows of Li and O potential.")
    interfaces: list[InterfaceDoc] = Field(default_factory=list, description="Reactions with electrodes.")
    interface_reaction_energy: Quantity = Field(
        description="Most negative reaction energy with a solid electrolyte, in eV/atom; 0 if nothing reacts."
    )
    reasons: dict[str, str] = Field(
        default_factory=dict,
        description="Part (hull, entropy, oxygen, windows, interfaces) to why it is missing or incomplete.",
    )
    protocol: str = Field(description="Protocol of all energies.")
    protocol_hash: str = Field(description="Hash of its physics.")
    thermo_version: int = Field(description="Version of the code that computed it; unit 1.")
    own_hash: str = Field(
        description="Hash of what all but the oxygen was computed from: while it stays, a later build keeps it."
    )
    oxygen_hash: str = Field("", description="The same of the oxygen deficiency: of vacancies and composition.")
