"""What a finished run of VASP says: energies, forces, bands, moments and densities of states, in the caller's order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.engines.electronic import BandEdges, band_edges
from hemiec.errors import EngineError
from hemiec.schemas.calculations import ElectronicStructure

if TYPE_CHECKING:
    from pymatgen.io.vasp import Outcar, Vasprun

Array = NDArray[np.float64]

#: 1 kB in eV/angstrom^3 (CODATA 2018 through 1 eV/angstrom^3 = 160.21766 GPa).
KBAR = 0.1 / 160.2176634
_TETRAHEDRON = {-5, -4, -14, -15}


@dataclass(frozen=True)
class VaspResult:
    """Numbers of one run, sites in the order of the structure that was asked for.

    ``forces`` has shape=(n_atoms, 3) in eV/angstrom, ``stress`` shape=(3, 3) in eV/angstrom^3 with tension positive,
    ``eigenvalues`` shape=(n_spins, n_kpoints, n_bands) in eV.
    """

    structure: Structure
    energy: float
    forces: Array
    stress: Array | None
    eigenvalues: Array
    fermi_level: float
    site_moments: list[float]
    total_moment: float
    smearing_eV: float
    scf_energies: list[float]
    n_ionic_steps: int
    converged_electronic: bool
    converged_ionic: bool
    elapsed_s: float
    oxygen_2p_center: float | None
    dos_at_fermi_level: float | None
    potcars: list[str]
    vasp_version: str
    cutoff_eV: float

    @property
    def edges(self) -> BandEdges | None:
        """Band edges over all k-points, None for a metal or a gap that the smearing hides."""
        edges = band_edges(self.eigenvalues, self.fermi_level)
        return edges.resolved(self.smearing_eV) if edges else None


def read_result(folder: Path, structure: Structure, order: Sequence[int]) -> VaspResult:
    """Return the numbers of the run in a folder.

    Parameters
    ----------
    folder
        With vasprun.xml and OUTCAR, zipped or not.
    structure
        What was asked for: species and order of the sites.
    order
        Index in ``structure`` of each site of the POSCAR.

    Raises
    ------
    EngineError
        If a file is missing or cut off, a number is not finite, or the sites are not those that were asked for.
    """
    from monty.os.path import zpath
    from pymatgen.io.vasp import Outcar, Vasprun
    from pymatgen.io.vasp.outputs import UnconvergedVASPWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnconvergedVASPWarning)  # the caller judges convergence
            vasprun = Vasprun(zpath(str(folder / "vasprun.xml")), parse_potcar_file=False)
        outcar = Outcar(zpath(str(folder / "OUTCAR")))
    except Exception as error:
        raise EngineError(
            f"{structure.formula}: the output of VASP cannot be read ({type(error).__name__}: {error}).",
            mend=f"look at {folder}",
        ) from error
    result = _result(vasprun, outcar, structure, order)
    _refuse_unphysical(result, folder)
    return result


def electronic_structure(
    result: VaspResult, edges: BandEdges | None, mesh: list[int], *, spin_polarised: bool
) -> ElectronicStructure:
    """Return the document of a run's electrons, with the band edges given."""
    return ElectronicStructure(
        band_gap=edges.gap if edges else 0.0,
        direct_gap=edges.direct_gap if edges else None,
        is_metal=edges is None,
        valence_band_maximum=edges.valence_maximum if edges else None,
        conduction_band_minimum=edges.conduction_minimum if edges else None,
        fermi_level=result.fermi_level,
        total_moment=result.total_moment,
        site_moments=result.site_moments,
        oxygen_2p_center=result.oxygen_2p_center,
        dos_at_fermi_level=result.dos_at_fermi_level,
        kpoint_mesh=mesh,
        smearing_eV=result.smearing_eV,
        spin_polarised=spin_polarised,
    )


def in_order(values: Any, order: Sequence[int]) -> Array:
    """Return values per site of the POSCAR as values per site of the structure that was asked for."""
    array = np.asarray(values, dtype=float)
    back = np.empty_like(array)
    back[list(order)] = array
    return back


def _result(vasprun: Vasprun, outcar: Outcar, structure: Structure, order: Sequence[int]) -> VaspResult:
    last = vasprun.ionic_steps[-1]
    eigenvalues = _eigenvalues(vasprun)
    fermi = float(vasprun.calculate_efermi()) if np.isfinite(eigenvalues).all() else float("nan")
    moments = [float(m["tot"]) for m in outcar.magnetization or ()]
    polarised = len(eigenvalues) == 2
    if polarised and len(moments) != len(structure):
        raise EngineError(f"{structure.formula}: OUTCAR has no moments of the sites.", mend="set LORBIT: 11")
    stress = last.get("stress")
    smearing = int(vasprun.parameters.get("ISMEAR", 1))
    return VaspResult(
        structure=_final_structure(vasprun.final_structure, structure, order),
        energy=float(vasprun.final_energy),
        forces=in_order(last["forces"], order),
        stress=None if stress is None else 0.0 - KBAR * np.asarray(stress, dtype=float),
        eigenvalues=eigenvalues,
        fermi_level=fermi,
        site_moments=in_order(moments, order).tolist() if polarised else [0.0] * len(structure),
        total_moment=float(outcar.total_mag or 0.0) if polarised else 0.0,
        smearing_eV=0.0 if smearing in _TETRAHEDRON else float(vasprun.parameters.get("SIGMA", 0.2)),
        scf_energies=[float(s["e_0_energy"]) for s in last["electronic_steps"] if "e_0_energy" in s],
        n_ionic_steps=len(vasprun.ionic_steps),
        converged_electronic=bool(vasprun.converged_electronic),
        converged_ionic=bool(vasprun.converged_ionic),
        elapsed_s=float(outcar.run_stats.get("Elapsed time (sec)") or 0.0),
        oxygen_2p_center=_oxygen_2p_center(vasprun, fermi),
        dos_at_fermi_level=_dos_at(vasprun, fermi),
        potcars=list(vasprun.potcar_symbols),
        vasp_version=str(vasprun.vasp_version).strip(),
        cutoff_eV=float(vasprun.parameters["ENMAX"]),
    )


def _eigenvalues(vasprun: Vasprun) -> Array:
    """Return the sorted eigenvalues, spin up first, in eV, shape=(n_spins, n_kpoints, n_bands)."""
    if not vasprun.eigenvalues:
        raise EngineError("vasprun.xml has no eigenvalues.")
    channels = sorted(vasprun.eigenvalues.items(), key=lambda item: -item[0].value)
    return np.sort(np.array([values[:, :, 0] for _, values in channels], dtype=float), axis=2)


def _final_structure(final: Structure, asked: Structure, order: Sequence[int]) -> Structure:
    if [site.specie.symbol for site in final] != [asked[i].specie.symbol for i in order]:
        raise EngineError(f"{asked.formula}: VASP returned other atoms, or another order: {final.formula}.")
    frac = in_order(final.frac_coords, order)
    # VASP folds coordinates into the cell; the same images as in the input keep hops and displacements readable.
    frac += np.round(asked.frac_coords - frac)
    return Structure(final.lattice, [site.specie.symbol for site in asked], frac)


def _oxygen_2p_center(vasprun: Vasprun, fermi: float) -> float | None:
    """Return the first moment of the O 2p density of states relative to the Fermi level, in eV.

    Over the whole window of the density of states, filled and empty (doi:10.1039/C1EE02032C).
    """
    from pymatgen.electronic_structure.core import OrbitalType

    if "O" not in vasprun.atomic_symbols or not vasprun.pdos:
        return None
    projected = vasprun.complete_dos.get_element_spd_dos("O").get(OrbitalType.p)
    if projected is None:
        return None
    density = sum(np.asarray(d, dtype=float) for d in projected.densities.values())
    total = float(np.sum(density))
    if not total > 0:
        return None
    return float(np.sum(density * (np.asarray(projected.energies) - fermi)) / total)


def _dos_at(vasprun: Vasprun, fermi: float) -> float | None:
    """Return the density of states of both spins at the Fermi level, in states/eV per cell."""
    if not getattr(vasprun, "tdos", None):
        return None
    density = sum(np.asarray(d, dtype=float) for d in vasprun.tdos.densities.values())
    return float(np.interp(fermi, vasprun.tdos.energies, density))


def _refuse_unphysical(result: VaspResult, folder: Path) -> None:
    """Raise EngineError if a number is not finite."""
    numbers: dict[str, Any] = {
        "energy": result.energy,
        "forces": result.forces,
        "stress": result.stress if result.stress is not None else 0.0,
        "eigenvalues": result.eigenvalues,
        "moments": result.site_moments,
        "cell": result.structure.lattice.matrix,
        "positions": result.structure.frac_coords,
        "energies of the iterations": result.scf_energies,
    }
    for name, value in numbers.items():
        if not np.isfinite(np.asarray(value, dtype=float)).all():
            raise EngineError(
                f"{result.structure.formula}: VASP returned {name} that are not finite.", mend=f"look at {folder}"
            )
