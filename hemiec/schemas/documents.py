"""What jobs return and what the builder gathers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from hemiec.schemas.calculations import ElectronicStructure, GapStart
from hemiec.schemas.dynamics import ArrheniusDoc
from hemiec.schemas.quantity import Document, Quantity
from hemiec.schemas.thermo import Thermodynamics
from hemiec.schemas.transport import HopSummary, TransportSummary
from hemiec.units import EV_PER_ATOM

#: Raise it when a field of a stored document is added, changed or removed after a release, with a step to it in
#: `hemiec.store.layout.steps`.
SCHEMA_VERSION = 2
#: Fields of a result, and of an entry of a leaderboard, that have collections of their own.
APART = {"hops", "transport", "dynamics", "thermodynamics"}
#: Reason of a quantity that the campaign turned off.
NOT_ASKED = "the campaign does not ask for it"
#: Reason of a quantity that the hemiec which built a document did not know.
NOT_BUILT = "built by an earlier hemiec; run `hemiec build`"


class CandidateSpec(Document):
    """One composition on the sites of the cubic ABX3 parent, with its charge balance and descriptors.

    Means and variances over a sublattice are over the ions on it: vacancies are left out (they count in entropies).
    A descriptor is null where a radius, an electronegativity, a price or an abundance is not tabulated.
    """

    candidate_id: str = Field(description="Content hash of prototype and sites: hm- and 16 hex digits.")
    formula: str = Field(description="Formula with site fractions, such as La0.2Y0.2Sr0.2Ba0.2Ca0.2CoO3.")
    label: str = Field(description="Short formula for people, such as (La,Y,Sr,Ba,Ca)CoO3.")
    prototype: str = Field("ABX3", description="Parent structure type: cubic perovskite, space group 221.")
    sites: dict[str, dict[str, str]] = Field(
        description="Sublattice (A, B, X) to species (or 'vacancy') to exact fraction such as '1/5'; unit 1."
    )
    oxidation_states: dict[str, float] = Field(
        description="Mean formal oxidation state of each species but vacancies, after charge balance, in e."
    )
    mean_B_valence: float = Field(description="Mean formal oxidation state on the B sublattice, in e.")
    tolerance_factor: float | None = Field(
        description="Goldschmidt tolerance factor from mean Shannon radii; unit 1; null if a radius is not tabulated."
    )
    bartel_tau: float | None = Field(
        description="Tolerance factor of Bartel et al. (doi:10.1126/sciadv.aav0693, eq. 1); unit 1; "
        "below 4.18 a perovskite is expected."
    )
    configurational_entropy: float = Field(
        description="Ideal configurational entropy of all sublattices with vacancies, per formula unit, in units of R."
    )
    oxygen_deficiency: float = Field(
        0.0, description="Vacancies on X per formula unit (delta of ABX(3-delta)); unit 1."
    )
    charge_balanced: bool = Field(True, description="Whether the formal charges sum to zero.")
    net_charge: float = Field(0.0, description="Formal charge left over, in e per formula unit; 0 if balanced.")
    charge_solved_for: Literal["B_valence", "delta"] = Field(
        "B_valence", description="What was adjusted for neutrality: valences with several allowed states, or delta."
    )
    tau_probability: float | None = Field(
        None,
        description="Probability of a perovskite from bartel_tau, after the calibrated classifier of "
        "doi:10.1126/sciadv.aav0693; unit 1.",
    )
    octahedral_factor: float | None = Field(None, description="Mean radius on B over mean radius on X; unit 1.")
    entropy_A: float | None = Field(
        None, description="Ideal configurational entropy of sublattice A, per formula unit, in units of R."
    )
    entropy_B: float | None = Field(
        None, description="Ideal configurational entropy of sublattice B, per formula unit, in units of R."
    )
    entropy_X: float | None = Field(
        None, description="Ideal configurational entropy of sublattice X, per formula unit, in units of R."
    )
    entropy_per_atom: float | None = Field(
        None,
        description="configurational_entropy over the atoms (not vacancies) of a formula unit, in units of R.",
    )
    mean_A_valence: float | None = Field(None, description="Mean formal oxidation state of the ions on A, in e.")
    mean_X_valence: float | None = Field(None, description="Mean formal oxidation state of the ions on X, in e.")
    valence_variance_A: float | None = Field(
        None, description="Variance of the mean oxidation states of the species on A, over its ions, in e^2."
    )
    valence_variance_B: float | None = Field(
        None, description="Variance of the mean oxidation states of the species on B, over its ions, in e^2."
    )
    valence_variance_X: float | None = Field(
        None, description="Variance of the mean oxidation states of the species on X, over its ions, in e^2."
    )
    radius_mean_A: float | None = Field(None, description="Mean Shannon radius of the ions on A, in angstrom.")
    radius_mean_B: float | None = Field(None, description="Mean Shannon radius of the ions on B, in angstrom.")
    radius_mean_X: float | None = Field(None, description="Mean Shannon radius of the ions on X, in angstrom.")
    radius_variance_A: float | None = Field(
        None, description="Variance of the Shannon radius over the ions on A, in angstrom^2."
    )
    radius_variance_B: float | None = Field(
        None, description="Variance of the Shannon radius over the ions on B, in angstrom^2."
    )
    radius_variance_X: float | None = Field(
        None, description="Variance of the Shannon radius over the ions on X, in angstrom^2."
    )
    electronegativity_mean_A: float | None = Field(
        None, description="Mean Pauling electronegativity over the ions on A; unit 1."
    )
    electronegativity_mean_B: float | None = Field(
        None, description="Mean Pauling electronegativity over the ions on B; unit 1."
    )
    electronegativity_mean_X: float | None = Field(
        None, description="Mean Pauling electronegativity over the ions on X; unit 1."
    )
    electronegativity_variance_A: float | None = Field(
        None, description="Variance of the Pauling electronegativity over the ions on A; unit 1."
    )
    electronegativity_variance_B: float | None = Field(
        None, description="Variance of the Pauling electronegativity over the ions on B; unit 1."
    )
    electronegativity_variance_X: float | None = Field(
        None, description="Variance of the Pauling electronegativity over the ions on X; unit 1."
    )
    molar_mass: float | None = Field(None, description="Mass of a formula unit without vacancies, in g/mol.")
    raw_material_cost: float | None = Field(
        None, description="Price of the cations as elements, 2013, in USD per kg of compound; anions cost nothing."
    )
    hhi_production: float | None = Field(
        None, description="Herfindahl-Hirschman index of production, mass-weighted (doi:10.1021/cm400893e); 0 to 10000."
    )
    hhi_reserve: float | None = Field(
        None, description="Herfindahl-Hirschman index of reserves, mass-weighted (doi:10.1021/cm400893e); 0 to 10000."
    )
    scarcity: float | None = Field(
        None,
        description="Mass-weighted mean over the cations of -log10 of their mass share of the crust; unit 1.",
    )


class SublatticeOrder(Document):
    """Composition and short-range order of one sublattice of a special quasirandom structure."""

    requested: dict[str, float] = Field(description="Site fraction of each species that was asked for; unit 1.")
    realised: dict[str, float] = Field(description="Site fraction of each species in the cell; unit 1.")
    amounts: dict[str, int] = Field(description="Sites of each species in the cell; unit 1.")
    wc4: float | None = Field(
        None,
        description="Root mean square Warren-Cowley parameter over ordered species pairs of the first four shells "
        "within this sublattice; unit 1; null if it is not mixed.",
    )


class ShellParameter(Document):
    """One Warren-Cowley parameter."""

    sublattices: list[str] = Field(description="The sublattices of the two species; equal within one.")
    shell: int = Field(description="Number of the neighbour shell, from 1.")
    distance: float = Field(description="Distance of the shell in the ideal cell, in angstrom.")
    pair: list[str] = Field(description="The two species.")
    alpha: float = Field(description="1 - p_ij / (c_i c_j); 0 is random, below 0 more pairs than random; unit 1.")


class SqsDoc(Document):
    """A special quasirandom structure, ideal and as displaced for relaxation, with its error."""

    candidate: CandidateSpec = Field(description="The composition the structure was made for.")
    member: int = Field(0, description="Number within its ensemble, from 0.")
    structure: dict[str, Any] = Field(
        description="pymatgen Structure: SQS, tilted if asked, seeded displacements added; vacant sites left out."
    )
    ideal_structure: dict[str, Any] = Field(
        description="pymatgen Structure: SQS on ideal cubic sites; vacant sites left out."
    )
    n_atoms: int = Field(description="Atoms in the cell, vacant sites not counted; unit 1.")
    n_formula_units: int = Field(description="ABX3 units in the cell; unit 1.")
    supercell: list[list[int]] = Field(description="Rows: cell vectors in units of the cubic lattice parameter.")
    shortest_image_distance: float = Field(description="Shortest distance between periodic images, in angstrom.")
    tilt: str | None = Field(None, description="Tilt system of `structure`; null for none.")
    sublattices: dict[str, SublatticeOrder] = Field(description="Composition and order of A, B and X.")
    rounding: float = Field(description="Largest deviation of a realised from a requested site fraction; unit 1.")
    net_charge: float = Field(
        description="Charge of the realised composition with the candidate's oxidation states, in e per formula unit."
    )
    warren_cowley_rms: float = Field(
        description="Root mean square Warren-Cowley parameter over ordered species pairs of the first four shells "
        "within each mixed sublattice and the first two between two (wc4 for one mixed sublattice); unit 1."
    )
    icet_l1: float = Field(description="Sum of |cluster correlation - ideal| over icet's cluster vector; unit 1.")
    icet_objective: float = Field(description="icet's SQS objective Q (depends on species labels); unit 1.")
    warren_cowley: list[ShellParameter] = Field(description="Every parameter behind `warren_cowley_rms`.")
    seed: int = Field(description="Seed of the choice of member and of the displacements.")
    origin: str = Field(description="Where the pattern came from: search, cache or shipped.")
    n_runs: int = Field(description="Annealing runs of the search that found the pattern; unit 1.")
    truncated: bool = Field(False, description="Whether a time budget ended the search early.")
    cutoffs: list[float] = Field(description="icet's cutoffs, pairs first, in units of the lattice parameter.")
    notes: list[str] = Field(default_factory=list, description="What a reader should know: small cell, rounding.")
    versions: dict[str, str] = Field(description="Versions of hemiec, its SQS engine and icet.")


class SqsEnsemble(Document):
    """Distinct special quasirandom structures of one candidate."""

    members: list[SqsDoc] = Field(description="The structures, the best first.")
    warren_cowley_rms: float = Field(
        description="Root mean square of the Warren-Cowley parameters averaged over the members; unit 1."
    )
    notes: list[str] = Field(default_factory=list, description="Why there are fewer members than asked for, if so.")


class BasinDoc(Document):
    """The lowest of several relaxations of one cell: its octahedral-tilt basin."""

    structure: dict[str, Any] = Field(
        description="pymatgen Structure of the lowest relaxation, sites labelled A, B, X."
    )
    step: str = Field(
        description="Which start it came from: displaced, annealed, or a tilt system and its orientation (Pnma 1)."
    )
    energy_per_atom: float = Field(description="Its energy, in eV/atom.")
    max_force: float = Field(description="Largest force on an atom, in eV/angstrom.")
    energies_per_atom: dict[str, float] = Field(description="Start to energy of its relaxation, in eV/atom.")
    tilt: str = Field(description="Tilts of the lowest in Glazer's notation with angles, or `mixed`.")
    space_group: str | None = Field(
        description="Space group of the ternary compound with that tilt; null if not named."
    )
    tilts: dict[str, str] = Field(description="Start to tilts of its relaxation.")
    failed: dict[str, str] = Field(description="Start to the reason why it did not relax.")
    n_force_calls: int = Field(description="Energy-and-force evaluations of all starts; unit 1.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the protocol's physics.")
    versions: dict[str, str] = Field(description="Versions of hemiec, the engine and ASE.")


class ReferenceDoc(Document):
    """Energy of one reference phase within one protocol; the collection `references`.

    Names of what says something of the composition are those of emmet.
    """

    reference_id: str = Field(description="Phase and protocol hash; the key of the collection.")
    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    phase: str = Field(description="Name of the phase, such as La2O3 (A-type).")
    formula_pretty: str = Field(description="Reduced formula.")
    elements: list[str] = Field(description="Elements, alphabetical.")
    nelements: int = Field(description="Number of elements; unit 1.")
    chemsys: str = Field(description="Elements, alphabetical, joined with hyphens.")
    structure: dict[str, Any] | None = Field(
        None, description="pymatgen Structure: relaxed; null if an earlier hemiec built this document."
    )
    energy_per_atom: float = Field(description="Energy of the relaxed phase, in eV/atom; protocol's own zero.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the protocol's physics.")
    job_uuid: str = Field(description="jobflow job that relaxed the phase.")
    last_updated: datetime = Field(description="When this document was built, UTC.")


def energy_above_hull_not_built() -> Quantity:
    """Return the energy above the hull of a document that was built before there was one."""
    return Quantity(value=None, unit=EV_PER_ATOM, method="energy above the convex hull", reason=NOT_BUILT)


def interface_reaction_energy_not_built() -> Quantity:
    """Return the interface reaction energy of a document that was built before there was one."""
    return Quantity(value=None, unit=EV_PER_ATOM, method="worst interface reaction", reason=NOT_BUILT)


class JobRecord(Document):
    """One job of a candidate."""

    uuid: str = Field(description="jobflow uuid.")
    step: str = Field(description="Which step of the workflow: sqs, relax, network, sample-1, gap, ...")
    name: str = Field(description="Job name.")
    state: str = Field(description="completed, failed or missing.")
    completed_at: str | None = Field(None, description="When it finished, ISO 8601.")
    protocol: str | None = Field(None, description="Protocol name.")
    protocol_hash: str | None = Field(None, description="Hash of the protocol's physics.")
    message: str | None = Field(None, description="Last line of the error, if it failed.")


class CandidateResult(Document):
    """Everything computed for one candidate with one cell and one set of protocols (a plan).

    Hops, transport, dynamics and thermodynamics have collections of their own (`hemiec.schemas.stored`); whoever reads
    whole candidates finds them here.
    """

    plan_id: str = Field(description="Hash of the cell and protocols that this result was computed with.")
    mobile: str | None = Field(
        None, description="Species whose migration barrier the campaign asks for, such as O; null if it asks for none."
    )
    band_gap: Quantity = Field(description="Fundamental gap, in eV.")
    migration_barrier: Quantity = Field(description="Migration barrier of the mobile species, in eV.")
    formation_energy_per_atom: Quantity = Field(description="Formation energy from the elements, in eV/atom.")
    formation_enthalpy_from_oxides_per_atom: Quantity = Field(
        description="Formation enthalpy (0 K, no zero-point energy) from binary oxides, in eV/atom."
    )
    oxide_reaction: str | None = Field(None, description="Reaction behind the enthalpy from oxides, per formula unit.")
    energy_above_hull: Quantity = Field(
        default_factory=energy_above_hull_not_built,
        description="Energy at 0 K above the convex hull of the reference phases, in eV/atom; negative below them.",
    )
    interface_reaction_energy: Quantity = Field(
        default_factory=interface_reaction_energy_not_built,
        description="Most negative reaction energy with a solid electrolyte, in eV/atom; 0 if nothing reacts.",
    )
    confirmed_formation_enthalpy_from_oxides_per_atom: Quantity = Field(
        description="The same by DFT at the geometry of the relaxation, in eV/atom."
    )
    electronic: ElectronicStructure | None = Field(
        None, description="Lowest magnetic solution of the gap calculation; null if there is none."
    )
    gap_starts: list[GapStart] = Field(
        default_factory=list, description="Every magnetic start of the gap calculation, the lowest solution first."
    )
    energy_per_atom: float | None = Field(None, description="Energy of the relaxed SQS, in eV/atom.")
    volume_per_atom: float | None = Field(None, description="Volume of the relaxed SQS, in angstrom^3/atom.")
    n_atoms: int | None = Field(None, description="Atoms in the SQS cell; unit 1.")
    shortest_image_distance: float | None = Field(
        None, description="Shortest distance between periodic images, in angstrom."
    )
    tilt: str | None = Field(None, description="Octahedral tilts of the relaxed SQS, Glazer's notation with angles.")
    warren_cowley_rms: float | None = Field(None, description="SQS error wc4; unit 1.")
    icet_l1: float | None = Field(None, description="SQS error L1 of icet's cluster vector; unit 1.")
    hops: list[HopSummary] = Field(default_factory=list, description="The hops computed, in the order of computing.")
    transport: TransportSummary | None = Field(
        None, description="Network, energies and conduction of the mobile ion; null if there is none."
    )
    dynamics: ArrheniusDoc | None = Field(
        None, description="Diffusion by molecular dynamics, beside the network's; null if there is none."
    )
    thermodynamics: Thermodynamics | None = Field(
        None, description="Hull, temperature, oxygen, windows and interfaces; null if there is no relaxed cell."
    )
    jobs: list[JobRecord] = Field(description="All jobs of this plan, done or not.")
    versions: dict[str, str] = Field(default_factory=dict, description="Code versions of the jobs.")


class CandidateDoc(Document):
    """One candidate with every result and, per property, the best available one; the collection `candidates`.

    Results are in the order of trust: the larger cell first, then more hops behind the migration barrier, then the
    later job. The best value of a property is that of the first result that has one, whatever its number is; where
    none has, the reason is that of the first result.
    """

    candidate_id: str = Field(description="Content hash of the composition; key of the collection.")
    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    candidate: CandidateSpec = Field(description="Composition, charge balance and descriptors.")
    elements: list[str] = Field(description="Elements, alphabetical.")
    nelements: int = Field(description="Number of elements; unit 1.")
    chemsys: str = Field(description="Elements, alphabetical, joined with hyphens.")
    n_species: dict[str, int] = Field(
        description="Sublattice (A, B, X) to its number of species, vacancies not counted; unit 1."
    )
    campaigns: list[str] = Field(description="Names of the campaigns that asked for this candidate.")
    mobile: str | None = Field(
        None, description="Species that the migration barrier is of, such as Li or O; null if no campaign asks for one."
    )
    band_gap: Quantity = Field(description="Best available fundamental gap, in eV.")
    migration_barrier: Quantity = Field(description="Best available migration barrier, in eV.")
    formation_energy_per_atom: Quantity = Field(description="Best available, from the elements, in eV/atom.")
    formation_enthalpy_from_oxides_per_atom: Quantity = Field(description="Best available, from oxides, in eV/atom.")
    energy_above_hull: Quantity = Field(
        default_factory=energy_above_hull_not_built,
        description="Best available, at 0 K, in eV/atom; negative below the hull of the reference phases.",
    )
    interface_reaction_energy: Quantity = Field(
        default_factory=interface_reaction_energy_not_built,
        description="Best available, most negative with a solid electrolyte, in eV/atom.",
    )
    results: list[CandidateResult] = Field(description="One result per plan (cell and protocols).")
    input_hash: str = Field(description="Hash of everything this document was built from.")
    builder_version: int = Field(description="Version of the builder's code.")
    last_updated: datetime = Field(description="When this document was built, UTC.")


PROPERTIES = (
    "band_gap",
    "migration_barrier",
    "formation_energy_per_atom",
    "formation_enthalpy_from_oxides_per_atom",
    "energy_above_hull",
    "interface_reaction_energy",
)
