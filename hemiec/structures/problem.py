"""A search problem in numbers: which pairs count, with which functions, towards which target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hemiec.structures.kernel import System
from hemiec.structures.parent import FloatArray, IntArray, Supercell, pair_orbits

#: Neighbour shells within one mixed sublattice and between two of them.
N_SHELLS = 4
N_SHELLS_BETWEEN = 2


@dataclass(frozen=True, eq=False)
class PairClass:
    """Pairs of mixed sites that symmetry makes equivalent: a neighbour shell between two sublattices, or part of it.

    Parameters
    ----------
    first, second
        Names of the sublattices; equal within one.
    shell
        Number of the shell, from 1.
    distance
        In angstrom.
    counts
        How often site j is a neighbour of i, periodic images included, over the mixed sites, shape=(n, n).
    """

    first: str
    second: str
    shell: int
    distance: float
    counts: IntArray


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything :func:`hemiec.structures.kernel.anneal` needs for one supercell and one set of counts.

    Species are numbered through all mixed sublattices, sites likewise, sublattice after sublattice.

    Parameters
    ----------
    supercell
        The cell that is decorated.
    amounts
        Mixed sublattice to the number of sites of each of its species, in a fixed order.
    classes
        Pairs that count.
    """

    supercell: Supercell
    amounts: Mapping[str, tuple[int, ...]]
    classes: Sequence[PairClass]

    @classmethod
    def of_shells(
        cls,
        supercell: Supercell,
        amounts: Mapping[str, tuple[int, ...]],
        *,
        n_shells: int = N_SHELLS,
        n_shells_between: int = N_SHELLS_BETWEEN,
    ) -> Problem:
        """Return the problem of the first shells in each mixed sublattice and of those between them."""
        names = list(amounts)
        sites = np.concatenate([supercell.sites(name) for name in names])
        classes = []
        for n, first in enumerate(names):
            for second in names[n:]:
                wanted = n_shells if first == second else n_shells_between
                for number, (distance, orbits) in enumerate(pair_orbits(supercell.parent, first, second, wanted)):
                    for orbit in orbits:
                        counts = supercell.neighbours(orbit)[np.ix_(sites, sites)]
                        classes.append(PairClass(first, second, number + 1, distance, counts))
        return cls(supercell, dict(amounts), classes)

    @cached_property
    def sites(self) -> IntArray:
        """Supercell index of every mixed site, shape=(n,)."""
        return np.concatenate([self.supercell.sites(name) for name in self.amounts])

    @cached_property
    def sorted_occupation(self) -> IntArray:
        """Species index of every mixed site in an unmixed start, shape=(n,)."""
        counts = [n for species in self.amounts.values() for n in species]
        return np.repeat(np.arange(len(counts)), counts)

    @cached_property
    def concentrations(self) -> FloatArray:
        """Fraction of every species on its own sublattice, shape=(n_species,)."""
        return np.concatenate([np.array(species) / sum(species) for species in self.amounts.values()])

    @cached_property
    def permutations(self) -> IntArray:
        """Symmetry of the supercell as permutations of the mixed sites, shape=(n_operations, n)."""
        return self._of_mixed(self.supercell.permutations)

    def repeats(self, occupation: IntArray) -> bool:
        """Whether an occupation has a smaller period than the cell: it is then the pattern of a smaller cell."""
        images = occupation[self._of_mixed(self.supercell.translations[1:])]
        return bool(np.any(np.all(images == occupation, axis=1)))

    def _of_mixed(self, permutations: IntArray) -> IntArray:
        """Return permutations of all sites as permutations of the mixed ones."""
        position = np.full(len(self.supercell), -1)
        position[self.sites] = np.arange(len(self.sites))
        return position[permutations[:, self.sites]]

    def species_range(self, sublattice: str) -> slice:
        """Return the species numbers of one sublattice."""
        start = 0
        for name, species in self.amounts.items():
            if name == sublattice:
                return slice(start, start + len(species))
            start += len(species)
        raise KeyError(sublattice)

    @cached_property
    def shells(self) -> list[list[PairClass]]:
        """The classes of each shell, shell by shell."""
        found: dict[tuple[str, str, int], list[PairClass]] = {}
        for pair in self.classes:
            found.setdefault((pair.first, pair.second, pair.shell), []).append(pair)
        return list(found.values())

    @cached_property
    def _shell_counts(self) -> list[FloatArray]:
        """How often site j is a neighbour of i, shell by shell, shape=(n, n) each."""
        return [np.sum([pair.counts for pair in shell], axis=0, dtype=float) for shell in self.shells]

    def warren_cowley(self, occupation: IntArray) -> list[FloatArray]:
        """Return the Warren-Cowley parameters of every shell for an occupation.

        ``alpha_ij = 1 - p_ij / (c_i c_j)`` with p_ij the fraction of the shell's ordered pairs that are (i, j) and
        c the fractions on the sublattices (doi:10.1103/PhysRev.77.669, eq. 1, for several species).

        Returns
        -------
        Per shell, shape=(n_species of the first sublattice, n_species of the second), unit 1.
        """
        one_hot = np.eye(len(self.concentrations))[occupation]
        found = []
        for shell, counts in zip(self.shells, self._shell_counts, strict=True):
            first, second = self.species_range(shell[0].first), self.species_range(shell[0].second)
            number = one_hot[:, first].T @ counts @ one_hot[:, second]
            c = np.outer(self.concentrations[first], self.concentrations[second])
            found.append(1 - number / (number.sum() * c))
        return found

    def error(self, occupation: IntArray) -> float:
        """Return the root mean square Warren-Cowley parameter over all ordered species pairs of all shells.

        With one mixed sublattice this is wc4. It does not change when species are renamed or the cell is
        turned, shifted or its sites reordered.
        """
        return root_mean_square(self.warren_cowley(occupation))

    @cached_property
    def system(self) -> System:
        """The kernel's arrays of the Warren-Cowley objective, the sum of alpha^2.

        A shell of several classes counts as one: each class by its share of the pairs, so that the objective
        also tells apart pairs that the shell's mean does not, such as O-F across B and beside it.
        """
        n_species = len(self.concentrations)
        target = np.zeros((len(self.classes), n_species, n_species))
        weight = np.zeros_like(target)
        for c, pair in enumerate(self.classes):
            first, second = self.species_range(pair.first), self.species_range(pair.second)
            target[c, first, second] = 1.0
            block = np.ones((first.stop - first.start, second.stop - second.start))
            if pair.first == pair.second:
                block = 2 * np.triu(block) - np.eye(len(block))
            whole = next(shell for shell in self.shells if pair in shell)
            weight[c, first, second] = block * (pair.counts.sum() / sum(p.counts.sum() for p in whole))
        functions = np.cumsum([0, *(len(species) for species in self.amounts.values())])
        return self.with_functions(np.diag(1 / self.concentrations), functions, target=target, weight=weight, norm=2)

    def with_functions(
        self, phi: FloatArray, functions: IntArray, *, target: FloatArray, weight: FloatArray, norm: int
    ) -> System:
        """Return the kernel's arrays for functions of the species; see :class:`hemiec.structures.kernel.System`."""
        names = list(self.amounts)
        sizes = [sum(species) for species in self.amounts.values()]
        last = np.cumsum(sizes)
        counts = np.array([pair.counts for pair in self.classes])
        touching = counts.sum(axis=0) > 0
        neighbours = np.full((len(self.sites), int(touching.sum(axis=1).max())), -1)
        for i, row in enumerate(touching):
            found = np.flatnonzero(row)
            neighbours[i, : len(found)] = found
        # Counts are kept in both directions; between two sublattices that is each ordered pair twice.
        directions = [1 if pair.first == pair.second else 2 for pair in self.classes]
        return System(
            counts=counts.astype(np.int16),
            neighbours=neighbours,
            side=np.array([[names.index(pair.first), names.index(pair.second)] for pair in self.classes]),
            sublattice=np.repeat(np.arange(len(names)), sizes),
            first=last - sizes,
            last=last,
            pairs=counts.sum(axis=(1, 2)) / np.array(directions),
            phi=phi,
            functions=functions,
            target=target,
            weight=weight,
            norm=norm,
            diagonal=norm == 2,
        )


def root_mean_square(parameters: Sequence[FloatArray]) -> float:
    """Return the root mean square over all elements of all arrays, unit 1; 0 of nothing."""
    if not parameters:
        return 0.0
    return float(np.sqrt(np.mean(np.concatenate([p.ravel() for p in parameters]) ** 2)))
