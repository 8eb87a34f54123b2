"""A path from one minimum over a saddle to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.errors import NotConvergedError, StructureError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """A configuration and its energy in eV; positions in angstrom, shape=(n_atoms, 3), not wrapped."""

    positions: FloatArray
    energy: float


@dataclass(frozen=True)
class MinimumEnergyPath:
    """Minimum, saddle, minimum, or all images of a band: energies in eV, relative to the first; lengths in angstrom.

    ``initial_energy`` is that of the first in eV per cell. ``max_force`` (eV/angstrom) is that at the saddle,
    ``curvature`` (eV/angstrom^2) the one along its mode, None from a band, which does not know it. ``method`` names the
    search that found it, ``attempts`` why quicker ones did not. ``seconds_in_calls`` of ``elapsed_s`` were spent in the
    calculator.
    """

    images: list[Structure]
    energies: list[float]
    initial_energy: float
    reaction_coordinate: list[float]
    max_force: float
    n_force_calls: int
    elapsed_s: float
    seconds_in_calls: float
    method: str
    curvature: float | None = None
    attempts: list[str] = field(default_factory=list)

    @property
    def forward_barrier(self) -> float:
        """Saddle minus first minimum, in eV."""
        return max(self.energies)

    @property
    def reverse_barrier(self) -> float:
        """Saddle minus last minimum, in eV."""
        return max(self.energies) - self.energies[-1]

    @property
    def saddle(self) -> Structure:
        """The configuration of highest energy."""
        return self.images[int(np.argmax(self.energies))]


class Progress:
    """How far along its hop the hopping atom is: 0 at the first state, 1 at the last."""

    def __init__(self, first: FloatArray, last: FloatArray) -> None:
        displacement = last - first
        self.mover = int(np.argmax(np.linalg.norm(displacement, axis=1)))
        self.start, self.hop = first[self.mover].copy(), displacement[self.mover]

    def __call__(self, positions: FloatArray) -> float:
        """Return it for positions of shape (n_atoms, 3)."""
        return float((positions[self.mover] - self.start) @ self.hop / (self.hop @ self.hop))


def unwrapped(structure: Structure) -> Atoms:
    """Return ASE atoms with the coordinates as they are, not wrapped into the cell."""
    return Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.lattice.get_cartesian_coords(structure.frac_coords),
        cell=structure.lattice.matrix,
        pbc=True,
    )


def structure_of(atoms: Atoms, positions: FloatArray) -> Structure:
    """Return the atoms at these positions in angstrom, not wrapped, as a pymatgen structure."""
    return Structure(np.array(atoms.cell), atoms.get_chemical_symbols(), positions, coords_are_cartesian=True)


def check_same_atoms(initial: Structure, final: Structure) -> None:
    """Refuse two states that hold different atoms, another order or other cells.

    Raises
    ------
    StructureError
        If they do.
    """
    if [s.specie for s in initial] != [s.specie for s in final]:
        raise StructureError(f"{initial.formula}: the end points hold different atoms or another order.")
    if not np.allclose(initial.lattice.matrix, final.lattice.matrix, atol=1e-4):
        raise StructureError(f"{initial.formula}: the end points have different cells; hops are computed in one.")


def profile(atoms: Atoms, states: list[State]) -> tuple[list[Structure], list[float], list[float]]:
    """Return structures of states, their energies relative to the first in eV, and the lengths up to each in angstrom.

    Raises
    ------
    NotConvergedError
        If none of the states between the first and the last lies above both.
    """
    energies = np.array([state.energy for state in states])
    if not energies[1:-1].max() > max(energies[0], energies[-1]):
        raise NotConvergedError(f"{atoms.get_chemical_formula()}: the saddle does not lie above the minima beside it.")
    lengths = np.cumsum([0.0, *(np.linalg.norm(b.positions - a.positions) for a, b in pairwise(states))])
    images = [structure_of(atoms, state.positions) for state in states]
    return images, [float(e) for e in energies - energies[0]], [float(x) for x in lengths]
