"""Warren-Cowley short-range order of a decorated sublattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

N_SHELLS = 4


@dataclass(frozen=True)
class ShellOrder:
    """Warren-Cowley parameters of one shell: distance in angstrom, alpha by species pair."""

    sublattice: str
    distance: float
    alpha: dict[tuple[str, str], float]


def warren_cowley(structure: Structure, *, sublattice: str = "A", n_shells: int = N_SHELLS) -> list[ShellOrder]:
    """Return the Warren-Cowley parameters of the first shells of one sublattice.

    ``alpha_ij = 1 - p_ij / (c_i c_j)`` with p_ij the fraction of ordered neighbour pairs (i, j) in the
    shell and c the site fractions (doi:10.1103/PhysRev.77.669, eq. 1, for several species). Zero is
    random; periodic images count.

    Parameters
    ----------
    structure
        The sites of that sublattice alone, on ideal positions.
    sublattice
        Its name, for the result.
    n_shells
        How many neighbour shells.
    """
    species = np.array([site.specie.symbol for site in structure])
    names = sorted(set(species))
    concentration = {name: float((species == name).mean()) for name in names}
    # A simple cubic sublattice has its fourth shell at twice its nearest-neighbour distance; 3D nets are denser.
    reach = 2.1 * (structure.volume / len(structure)) ** (1 / 3)
    centres, neighbours, _, distances = structure.get_neighbor_list(reach)
    shells = np.unique(np.round(distances, 3))[:n_shells]
    result = []
    for shell in shells:
        inside = np.abs(distances - shell) < 2e-3
        first, second = species[centres[inside]], species[neighbours[inside]]
        alpha = {
            (i, j): 1 - float(np.mean((first == i) & (second == j))) / (concentration[i] * concentration[j])
            for i in names
            for j in names
        }
        result.append(ShellOrder(sublattice, float(shell), alpha))
    return result


def rms(shells: list[ShellOrder]) -> float:
    """Return the root mean square parameter over all ordered species pairs and shells, unit 1."""
    values = [value for shell in shells for value in shell.alpha.values()]
    return float(np.sqrt(np.mean(np.square(values)))) if values else 0.0
