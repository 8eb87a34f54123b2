"""Relaxation of cell and atoms with a learned Hessian, a few force calls each: for many starts of one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from pymatgen.core import Structure

from hemiec.errors import NotConvergedError, StructureError
from hemiec.structures.basins import TiltSystem, tilt_system
from hemiec.transport.saddles.quasi_newton import minimise, spring_hessian

#: Curvature of the energy along a strain, per volume, in eV/angstrom^3: 190 GPa, an oxide's; it is only where the
#: Hessian starts.
STIFFNESS = 1.2


@dataclass(frozen=True)
class RelaxedCell:
    """A relaxed cell: structure, energy in eV, largest force in eV/angstrom, and the force calls it took."""

    structure: Structure
    energy: float
    max_force: float
    n_force_calls: int


@dataclass(frozen=True)
class Basins:
    """Relaxations of one cell from several starts.

    Parameters
    ----------
    lowest
        Name of the start that ended lowest.
    found
        Start to the relaxed cell.
    tilts
        Start to the tilts it ended in.
    failed
        Start to the reason why it did not relax.
    """

    lowest: str
    found: dict[str, RelaxedCell]
    tilts: dict[str, TiltSystem]
    failed: dict[str, str]

    @property
    def n_force_calls(self) -> int:
        """Force calls of the relaxations that converged."""
        return sum(cell.n_force_calls for cell in self.found.values())


def lowest_basin(
    starts: Mapping[str, Structure],
    calculator: Calculator,
    *,
    fmax: float = 0.05,
    energy_tolerance: float = 0.003,
    max_calls: int = 200,
    known: Basins | None = None,
) -> Basins:
    """Return the relaxations of a cell from several starts, and which is lowest.

    Parameters
    ----------
    starts
        Name to structure, sites labelled A, B and X: :func:`hemiec.structures.tilts.basin_starts`.
    calculator, fmax, energy_tolerance, max_calls
        As for :func:`relax_cell`.
    known
        Relaxations of the same cell from other starts, to compare with.

    Raises
    ------
    NotConvergedError
        If none relaxed.
    """
    found = dict(known.found) if known else {}
    failed = dict(known.failed) if known else {}
    for name, start in starts.items():
        try:
            found[name] = relax_cell(
                start, calculator, fmax=fmax, energy_tolerance=energy_tolerance, max_calls=max_calls
            )
        except NotConvergedError as error:
            failed[name] = error.message
    if not found:
        raise NotConvergedError("; ".join(failed.values()), mend="look at the structure")
    return Basins(
        lowest=min(found, key=lambda name: found[name].energy),
        found=found,
        tilts={name: tilt_system(cell.structure) for name, cell in found.items()},
        failed=failed,
    )


def relax_cell(
    structure: Structure,
    calculator: Calculator,
    *,
    fmax: float = 0.05,
    energy_tolerance: float = 0.003,
    max_calls: int = 200,
    free: Sequence[int] = (1, 1, 1, 1, 1, 1),
) -> RelaxedCell:
    """Return a structure with cell and positions relaxed.

    Quasi-Newton steps (:func:`~hemiec.transport.saddles.quasi_newton.minimise`) in the positions and the logarithm
    of the strain (ASE's FrechetCellFilter), from springs between neighbours and an oxide's stiffness. SrTiO3 and LaGaO3
    of 20 atoms took 4 to 25 calls from tilted and displaced starts, FIRE 80 and more to the same forces.

    Parameters
    ----------
    structure
        Start; its site properties are kept.
    calculator
        ASE calculator with energies in eV, forces in eV/angstrom and stresses in eV/angstrom^3.
    fmax
        Largest force on an atom in eV/angstrom, and largest force of the strain over the number of atoms.
    energy_tolerance
        The energy in eV per cell that further steps may still promise.
    max_calls
        Force calls at most.
    free
        Which strains relax: xx, yy, zz, yz, xz, xy; 1 for those that do.

    Raises
    ------
    NotConvergedError
        If the calls run out.
    StructureError
        If the cell vectors are left-handed: CHGNet divides by the signed volume, so its stress has the wrong sign.
    """
    if np.linalg.det(structure.lattice.matrix) < 0:
        raise StructureError(f"{structure.formula}: the cell vectors are left-handed.", mend="swap two of them")
    atoms = Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.frac_coords @ structure.lattice.matrix,
        cell=structure.lattice.matrix,
        pbc=True,
    )
    atoms.calc = calculator
    n = len(atoms)
    cell = FrechetCellFilter(atoms, mask=list(free))
    hessian = np.zeros((3 * n + 9, 3 * n + 9))
    hessian[: 3 * n, : 3 * n] = spring_hessian(atoms)
    # The filter's strain is in units of its factor, the number of atoms.
    hessian[3 * n :, 3 * n :] = np.eye(9) * STIFFNESS * atoms.get_volume() / n**2
    calls = 0

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        cell.set_positions(x.reshape(-1, 3))
        gradient = -np.array(cell.get_forces(), dtype=float).ravel()
        # Not the filter's energy: it asks for the free energy, which CHGNet's calculator does not give.
        return float(atoms.get_potential_energy()), gradient

    found = minimise(
        evaluate,
        cell.get_positions().ravel(),
        hessian,
        fmax=fmax,
        energy_tolerance=energy_tolerance,
        max_calls=max_calls,
    )
    if not found.converged:
        raise NotConvergedError(
            f"{structure.formula}: cell and positions did not relax in {max_calls} calls; the force is "
            f"{found.max_force:.3f} eV/angstrom.",
            mend="look at the structure, or allow more calls",
        )
    cell.set_positions(found.positions.reshape(-1, 3))
    matrix = np.array(atoms.cell.array)
    relaxed = Structure(
        matrix,
        structure.species,
        atoms.positions @ np.linalg.inv(matrix),
        site_properties=structure.site_properties,
    )
    return RelaxedCell(relaxed, found.energy, found.max_force, calls)
