"""What one calculation of any engine returns, and what a gap is gathered from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from hemiec.schemas.quantity import Document


class ScfAttempt(Document):
    """One attempt of a self-consistent calculation."""

    settings: dict[str, Any] = Field(description="What this attempt changed: mixer, smearing, limits, start.")
    converged: bool = Field(description="Whether all convergence criteria were met and the solution is physical.")
    n_iterations: int | None = Field(description="SCF iterations; unit 1; null if the code did not say.")
    elapsed_s: float = Field(description="Wall time in s.")
    energies: list[float] = Field(default_factory=list, description="Energy after each iteration, in eV per cell.")
    message: str | None = Field(None, description="What went wrong, if anything did.")


class GapCheck(Document):
    """The gap looked for again on a denser mesh at the density of the first."""

    kpoint_mesh: list[int] = Field(description="Zone-centred k-point mesh; unit 1.")
    band_gap: float = Field(ge=0, description="Fundamental gap on both meshes together, in eV; 0 if metal.")
    is_metal: bool = Field(description="Whether bands cross the Fermi level.")


class ElectronicStructure(Document):
    """Gap, band edges, moments and density of states of one self-consistent solution."""

    band_gap: float = Field(
        ge=0, description="Fundamental (indirect) gap over both spins and all k-points looked at, in eV; 0 if metal."
    )
    direct_gap: float | None = Field(description="Smallest direct gap, in eV; null for a metal.")
    is_metal: bool = Field(description="Whether the Fermi level crosses a band, or the smearing hides the gap.")
    valence_band_maximum: float | None = Field(description="Highest occupied eigenvalue, in eV; null for a metal.")
    conduction_band_minimum: float | None = Field(description="Lowest empty eigenvalue, in eV; null for a metal.")
    derivative_discontinuity: float | None = Field(
        None, description="Part of the gap that is not a difference of eigenvalues (GLLB-SC), in eV; else null."
    )
    fermi_level: float = Field(description="Fermi level on the code's scale, in eV.")
    total_moment: float = Field(description="Total magnetic moment of the cell, in Bohr magnetons.")
    site_moments: list[float] = Field(description="Magnetic moment of each site, in Bohr magnetons.")
    oxygen_2p_center: float | None = Field(
        description="First moment of the density of states projected on oxygen 2p, filled and empty, relative to the "
        "Fermi level, in eV (doi:10.1039/C1EE02032C); null without oxygen or projections."
    )
    dos_at_fermi_level: float | None = Field(
        description="Density of states of both spins at the Fermi level, in states/eV per cell."
    )
    kpoint_mesh: list[int] = Field(description="k-point mesh of the self-consistent calculation; unit 1.")
    smearing_eV: float = Field(description="Smearing width in eV.")
    spin_polarised: bool = Field(description="Whether both spin channels were computed.")
    kpoint_check: GapCheck | None = Field(None, description="Gap on a denser mesh; null if none was made.")


def _as_stored(structure: Any) -> Any:
    """Return a structure as it is stored: jobflow's references bring it as an object."""
    return structure.as_dict() if hasattr(structure, "as_dict") else structure


StoredStructure = Annotated[dict[str, Any], BeforeValidator(_as_stored)]


class CalculationDoc(Document):
    """One relaxation or static calculation of one structure with one engine."""

    kind: Literal["relax", "static", "gap"] = Field(description="What was computed.")
    structure: StoredStructure = Field(description="pymatgen Structure that the numbers belong to.")
    n_atoms: int = Field(description="Atoms in the cell; unit 1.")
    energy: float = Field(description="Total energy (at zero smearing), in eV per cell; the code's own reference.")
    energy_per_atom: float = Field(description="energy / n_atoms, in eV/atom.")
    forces: list[list[float]] | None = Field(
        None, description="Force on each atom, in eV/angstrom; null if not asked for."
    )
    max_force: float | None = Field(None, description="Largest norm of a force, in eV/angstrom.")
    stress: list[list[float]] | None = Field(
        None, description="Stress tensor, tension positive, in eV/angstrom^3; null if not asked for."
    )
    converged: bool = Field(description="Whether forces fulfil the protocol's limit (relax) and the SCF converged.")
    electronic: ElectronicStructure | None = Field(None, description="Null for a machine-learned potential.")
    magnetic_start: str | None = Field(None, description="Arrangement of the starting moments; null without spin.")
    initial_moments: list[float] = Field(
        default_factory=list, description="Starting magnetic moment of each site, in Bohr magnetons."
    )
    functional: str | None = Field(None, description="Exchange-correlation functional; null for a potential.")
    hubbard_u: dict[str, float] = Field(default_factory=dict, description="Effective U of each element, in eV.")
    cutoff_eV: float | None = Field(None, description="Plane-wave cutoff in eV.")
    attempts: list[ScfAttempt] = Field(
        default_factory=list, description="Every SCF attempt of the last structure; the last one is reported."
    )
    n_force_calls: int = Field(description="Energy-and-force evaluations; unit 1.")
    elapsed_s: float = Field(description="Wall time in s.")
    datasets: dict[str, str] = Field(default_factory=dict, description="PAW dataset of each element, with its hash.")
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Name to path of the files left on the machine that computed: output, restart.",
    )
    trajectory: Any | None = Field(None, description="Structures of a relaxation (kept in GridFS); null if static.")
    directory: str | None = Field(None, description="Folder of the job on the machine that computed it.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the protocol's physics.")
    versions: dict[str, str] = Field(description="Versions of hemiec, the code and its interface.")


class GapStart(Document):
    """One magnetic start of a gap calculation and what it led to."""

    magnetic_start: str | None = Field(description="Arrangement of the starting moments; null without spin.")
    energy: float | None = Field(description="Total energy in eV per cell; null if it failed.")
    band_gap: float | None = Field(description="Gap in eV; null if it failed.")
    total_moment: float | None = Field(description="Total moment of the cell, in Bohr magnetons; null if it failed.")
    job_uuid: str = Field(description="jobflow job.")
    reason: str | None = Field(None, description="Why it has no result; null if it has one.")


class GapDoc(Document):
    """The band gap of the magnetic solution of lowest energy, with all solutions that were found."""

    band_gap: float = Field(ge=0, description="Fundamental gap of the lowest solution, in eV; 0 if metal.")
    lowest: CalculationDoc = Field(description="The calculation of lowest energy.")
    starts: list[GapStart] = Field(description="Every magnetic start, the lowest solution first, failed ones last.")
    spread: float | None = Field(
        description="Sample standard deviation of the gap over the solutions found, in eV; null for a single one."
    )


class DftSaddleDoc(Document):
    """DFT energies of the minimum, saddle and minimum of a path that a cheaper engine found."""

    forward_barrier: float = Field(description="Saddle minus initial minimum, in eV.")
    reverse_barrier: float = Field(description="Saddle minus final minimum, in eV.")
    energies: list[float] = Field(
        min_length=3, max_length=3, description="Total energy of initial minimum, saddle and final minimum, in eV/cell."
    )
    magnetic_start: str | None = Field(description="Arrangement of the starting moments; null without spin.")
    initial_moments: list[float] = Field(
        default_factory=list, description="Starting magnetic moment of each site in all images, in Bohr magnetons."
    )
    total_moments: list[float] = Field(
        description="Total moment of the cell at each of the three, in Bohr magnetons: far apart, they are different "
        "magnetic solutions."
    )
    saddle: StoredStructure = Field(description="pymatgen Structure of the saddle that the numbers belong to.")
    n_force_calls: int = Field(description="DFT energy-and-force evaluations; unit 1.")
    n_saddle_steps: int = Field(description="DFT steps by which the saddle was followed on; unit 1.")
    max_force_at_saddle: float = Field(description="Largest DFT force on an atom at the saddle, in eV/angstrom.")
    force_along_path: float = Field(
        description="DFT force of all atoms along the path at the saddle, in eV/angstrom; large: the DFT saddle lies "
        "elsewhere along it, and the barrier is too low."
    )
    max_force_across_path: float = Field(
        description="Largest DFT force on an atom across the path at the saddle, in eV/angstrom; large: the DFT path "
        "runs elsewhere, and the barrier is too high."
    )
    converged: bool = Field(description="Whether the saddle lies above both minima.")
    saddle_relaxed: bool | None = Field(
        None, description="Whether the followed saddle meets the force limit; null if it was not followed."
    )
    attempts: list[list[ScfAttempt]] = Field(description="SCF attempts at each of the three.")
    datasets: dict[str, str] = Field(default_factory=dict, description="PAW dataset of each element, with its hash.")
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Name to path of the files left on the machine that computed: output, restart.",
    )
    elapsed_s: float = Field(description="Wall time in s.")
    method: str = Field(description="How path and energies were computed.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the protocol's physics.")
    versions: dict[str, str] = Field(description="Versions of hemiec, the code and its interface.")
