"""Documents from a finished GPAW calculator."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.engines.electronic import BandEdges, band_center, band_edges, dos_at_fermi_level, kpoint_mesh
from hemiec.engines.gpaw.calculator import datasets_of, eigenvalues_of, versions
from hemiec.engines.gpaw.scf import Scf
from hemiec.errors import EngineError
from hemiec.schemas.calculations import CalculationDoc, ElectronicStructure, GapCheck

#: Bound p states of the oxygen dataset.
_P = 1


def calculation_doc(
    scf: Scf,
    structure: Structure,
    *,
    kind: Literal["relax", "static", "gap"],
    start: str | None,
    electronic: ElectronicStructure,
    forces: NDArray[np.float64] | None = None,
    stress: NDArray[np.float64] | None = None,
    converged: bool = True,
    extra_files: dict[str, str] | None = None,
    trajectory: Any = None,
) -> CalculationDoc:
    """Return the document of the last solution.

    Parameters
    ----------
    scf
        Solved.
    structure
        The geometry that the numbers belong to.
    kind, start, electronic, converged, trajectory
        As :class:`CalculationDoc` says.
    forces
        In eV/angstrom, shape=(n_atoms, 3).
    stress
        ASE's six components, tension positive, in eV/angstrom^3.
    extra_files
        Name to path of files besides output and restart.

    Raises
    ------
    EngineError
        If energy, forces or stress are not finite.
    """
    protocol, calc = scf.protocol, scf.calc
    symbols = [site.specie.symbol for site in structure]
    energy = float(calc.results["energy"])
    for name, value in (("energy", energy), ("force", forces), ("stress", stress)):
        if value is not None and not np.all(np.isfinite(value)):
            raise EngineError(f"{structure.formula}: GPAW returned a {name} that is not finite; see {scf.output}.")
    return CalculationDoc(
        kind=kind,
        structure=structure.as_dict(),
        n_atoms=len(structure),
        energy=energy,
        energy_per_atom=energy / len(structure),
        forces=None if forces is None else np.asarray(forces).tolist(),
        max_force=None if forces is None else float(np.linalg.norm(forces, axis=1).max()),
        stress=None if stress is None else voigt_6_to_full_3x3_stress(np.asarray(stress)).tolist(),
        converged=converged,
        electronic=electronic,
        magnetic_start=start,
        initial_moments=scf.moments,
        functional=protocol.functional,
        hubbard_u={s: u.value_eV for s, u in protocol.hubbard_u.items() if s in symbols},
        cutoff_eV=protocol.cutoff_eV,
        attempts=scf.attempts,
        n_force_calls=scf.n_solved,
        elapsed_s=scf.clock.elapsed_s,
        datasets=datasets_of(calc),
        files=scf.files | (extra_files or {}),
        trajectory=trajectory,
        directory=str(scf.folder),
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        versions=versions(),
    )


def electronic_structure(
    scf: Scf, structure: Structure, *, edges: BandEdges | None, check: GapCheck | None = None
) -> ElectronicStructure:
    """Return what the bands of the last solution say.

    Parameters
    ----------
    scf
        Solved.
    structure
        The geometry solved.
    edges
        Band edges over all k-points looked at; None for a metal.
    check
        The gap on a denser mesh, if one was looked at.
    """
    calc, smearing = scf.calc, scf.settings.smearing_eV
    fermi = float(calc.get_fermi_level())
    eigenvalues, weights = eigenvalues_of(calc), np.array(calc.get_k_point_weights())
    oxygens = [i for i, site in enumerate(structure) if site.specie.symbol == "O"]
    projections = orbital_weights(calc, oxygens, _P) if oxygens else None
    return ElectronicStructure(
        band_gap=edges.gap if edges else 0.0,
        direct_gap=edges.direct_gap if edges else None,
        is_metal=edges is None,
        valence_band_maximum=edges.valence_maximum if edges else None,
        conduction_band_minimum=edges.conduction_minimum if edges else None,
        fermi_level=fermi,
        total_moment=float(calc.get_magnetic_moment()),
        site_moments=[float(m) for m in calc.get_magnetic_moments()],
        oxygen_2p_center=None if projections is None else band_center(eigenvalues, weights, projections, fermi),
        dos_at_fermi_level=dos_at_fermi_level(eigenvalues, weights, fermi, smearing),
        kpoint_mesh=list(kpoint_mesh(structure, scf.protocol.kpoint_spacing_per_A)),
        smearing_eV=smearing,
        spin_polarised=scf.spin_polarised,
        kpoint_check=check,
    )


def mesh_edges(scf: Scf) -> BandEdges | None:
    """Return the band edges on the mesh of the last solution, or None for a metal."""
    edges = band_edges(eigenvalues_of(scf.calc), float(scf.calc.get_fermi_level()))
    return None if edges is None else edges.resolved(scf.settings.smearing_eV)


def orbital_weights(calc: Any, atoms: list[int], ell: int) -> NDArray[np.float64]:
    """Return each state's weight on the valence orbitals of some atoms, shape=(n_spins, n_kpoints, n_bands).

    The squares of the projections onto the PAW dataset's bound partial waves, bands in order of energy.
    """
    from gpaw.dos import get_projector_numbers

    eigenvalues = np.array(
        [
            [calc.get_eigenvalues(kpt=k, spin=s) for k in range(len(calc.get_ibz_k_points()))]
            for s in range(calc.get_number_of_spins())
        ]
    )
    weights = np.zeros_like(eigenvalues)
    columns = {atom: get_projector_numbers(calc.setups[atom], ell) for atom in atoms}
    for wave_functions in calc.dft.ibzwfs:
        for atom in atoms:
            found = np.abs(wave_functions.P_ani[atom][:, columns[atom]]) ** 2
            weights[wave_functions.spin, wave_functions.k] += found.sum(axis=1)
    return np.take_along_axis(weights, eigenvalues.argsort(axis=2), axis=2)
