"""icet's own judgement of a decorated cell: cluster vector, L1 distance to random, objective Q.

Every structure that leaves hemiec is counted and scored here by icet (doi:10.1002/adts.201900015), independently
of the search that proposed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hemiec.errors import StructureError
from hemiec.structures.kernel import System
from hemiec.structures.parent import FloatArray, IntArray, Parent
from hemiec.structures.problem import PairClass, Problem, root_mean_square

if TYPE_CHECKING:
    from ase import Atoms
    from icet import ClusterSpace

#: Largest difference between icet's and our Warren-Cowley error, unit 1.
AGREEMENT = 1e-6


@dataclass(frozen=True)
class IcetScore:
    """What icet says of one decorated cell.

    Parameters
    ----------
    l1
        Sum of |element - random value| over the cluster vector, unit 1.
    objective
        icet's SQS objective Q with optimality weight 1, unit 1.
    error
        Root mean square Warren-Cowley parameter over the problem's shells, from icet's pair correlations, unit 1.
    """

    l1: float
    objective: float
    error: float


class IcetScorer:
    """icet's cluster space of a parent whose mixed sublattices hold given numbers of species.

    Species are placeholders in the order of their numbers, so that icet accepts a species on two sublattices.
    Number them by atomic number, vacancies first, and the scores are those that icet gives the real structure.

    Parameters
    ----------
    parent
        The primitive crystal.
    n_species
        Mixed sublattice to its number of species.
    cutoffs
        icet's cutoffs in angstrom, pairs first.
    """

    def __init__(self, parent: Parent, n_species: Mapping[str, int], cutoffs: Sequence[float]) -> None:
        from ase.data import chemical_symbols

        self.n_species = dict(n_species)
        self.cutoffs = list(cutoffs)
        self.parent = parent
        # By atomic number from lithium on; helium stands on sites that are not mixed.
        names = iter(chemical_symbols[3:])
        self.symbols = {site: [next(names) for _ in range(n)] for site, n in self.n_species.items()}
        #: Basis sites that icet sees: all, unless the others do not lower the symmetry.
        self.basis = self._needed_basis()

    @cached_property
    def space(self) -> ClusterSpace:
        """icet's cluster space."""
        from ase import Atoms
        from icet import ClusterSpace

        allowed = [self.symbols.get(self.parent.sublattices[b], ["He"]) for b in self.basis]
        primitive = Atoms(
            [symbols[0] for symbols in allowed],
            scaled_positions=self.parent.positions[self.basis],
            cell=self.parent.lattice,
            pbc=True,
        )
        return ClusterSpace(primitive, cutoffs=self.cutoffs, chemical_symbols=allowed)

    def atoms(self, problem: Problem, occupation: IntArray) -> Atoms:
        """Return the decorated cell with placeholder elements, as icet reads it."""
        from ase import Atoms

        cell = problem.supercell
        symbols = np.full(len(cell), "He", dtype=object)
        symbols[problem.sites] = np.array([s for site in problem.amounts for s in self.symbols[site]])[occupation]
        seen = np.flatnonzero(np.isin(cell.basis, self.basis))
        return Atoms(symbols[seen].tolist(), scaled_positions=cell.positions[seen], cell=cell.lattice, pbc=True)

    def random_vector(self, concentrations: Mapping[str, Sequence[float]]) -> FloatArray:
        """Return the cluster vector of the infinite random crystal, its zerolet (1) first.

        Each element is the product of the mean point functions of its sites.
        """
        mean = {site: self._point_functions(len(x))[1:] @ np.array(x) for site, x in concentrations.items()}
        vector = [1.0]
        for orbit in self.space.as_list[1:]:
            sites = [self._letters[letter] for letter in orbit["sublattices"]]
            vector.append(
                float(np.prod([mean[s][f] for s, f in zip(sites, orbit["multicomponent_vector"], strict=True)]))
            )
        return np.array(vector)

    def score(self, problem: Problem, occupation: IntArray) -> IcetScore:
        """Return icet's L1 and Q of a decorated cell, and the Warren-Cowley error that follows from its counts.

        Raises
        ------
        StructureError
            If icet's error disagrees with ours.
        """
        from mchammer.calculators import compare_cluster_vectors

        vector = self.space.get_cluster_vector(self.atoms(problem, occupation))
        random = self._random(tuple((s, tuple(n / sum(a) for n in a)) for s, a in problem.amounts.items()))
        objective = compare_cluster_vectors(vector, random, as_list=self._as_list, optimality_weight=1.0)
        error = root_mean_square(self.warren_cowley(problem, vector))
        if abs(error - problem.error(occupation)) > AGREEMENT:
            raise StructureError(
                f"icet counts a Warren-Cowley error of {error:.6f}, hemiec {problem.error(occupation):.6f}.",
                mend="report this with the command that you ran",
            )
        return IcetScore(float(np.abs(vector - random).sum()), float(objective), error)

    def warren_cowley(self, problem: Problem, vector: FloatArray) -> list[FloatArray]:
        """Return the Warren-Cowley parameters of the problem's shells from icet's cluster vector.

        With the constant the point functions are a basis, Phi, of the functions of a species. An orbit's
        correlations are C = Phi p Phi^T with p the pair fractions, so p = Phi^-1 C Phi^-T.
        """
        basis = {site: self._point_functions(n) for site, n in self.n_species.items()}
        fractions = {site: np.array(a) / sum(a) for site, a in problem.amounts.items()}
        order = list(problem.amounts)
        found: dict[tuple[str, str, int], FloatArray] = {}
        multiplicity: dict[tuple[str, str, int], dict[int, int]] = {}
        for value, orbit in zip(vector, self._as_list, strict=True):
            if orbit["order"] != 2:
                continue
            (s, f), (t, g) = sorted(
                zip((self._letters[x] for x in orbit["sublattices"]), orbit["multicomponent_vector"], strict=True),
                key=lambda side: order.index(side[0]),
            )
            shell = _shell(problem, s, t, 2 * orbit["radius"])
            if shell is None:
                continue
            name = s, t, shell
            number = orbit["orbit_index"]
            if name not in found:
                found[name] = np.zeros((self.n_species[s], self.n_species[t]))
                multiplicity[name] = {}
            if number not in multiplicity[name]:
                multiplicity[name][number] = orbit["multiplicity"]
                correlation = np.outer(basis[s] @ fractions[s], basis[t] @ fractions[t])
                correlation[1:, 1:] = 0
                found[name] += orbit["multiplicity"] * correlation
            # Of elements with different functions on two like sites icet doubles the multiplicity, not the value. If
            # the two ends of the pairs cannot be swapped it lists both orders, of which counts hold the mean.
            mirrored = s == t and f != g
            value *= multiplicity[name][number] * (0.5 if mirrored and number in self._directed else 1.0)
            found[name][f + 1, g + 1] += value
            if mirrored:
                found[name][g + 1, f + 1] += value
        parameters = []
        inverse = {site: np.linalg.inv(functions) for site, functions in basis.items()}
        for pair, *_ in problem.shells:
            name = pair.first, pair.second, pair.shell
            p = inverse[pair.first] @ found[name] @ inverse[pair.second].T / sum(multiplicity[name].values())
            parameters.append(1 - p / np.outer(fractions[pair.first], fractions[pair.second]))
        return parameters

    def l1_system(self, problem: Problem) -> System:
        """Return the kernel's arrays of the pair part of icet's L1.

        Where the two ends of a pair cannot be swapped (X atoms sqrt(5/2) a apart, say) icet has an element for each
        order of two functions; the kernel then takes both as equal to their mean, which bounds L1 from below.
        """
        orbits = self._pair_orbits(problem)
        classes = list(orbits.values())
        pairs = Problem(problem.supercell, problem.amounts, classes)
        functions = np.cumsum([0, *(n - 1 for n in self.n_species.values())])
        species = np.cumsum([0, *self.n_species.values()])
        phi = np.zeros((functions[-1], species[-1]))
        for s, n in enumerate(self.n_species.values()):
            phi[functions[s] : functions[s + 1], species[s] : species[s + 1]] = self._point_functions(n)[1:]
        mean = phi @ pairs.concentrations
        target = np.zeros((len(classes), functions[-1], functions[-1]))
        weight = np.zeros_like(target)
        names = list(problem.amounts)
        for c, (orbit, pair) in enumerate(orbits.items()):
            first, second = (slice(functions[i], functions[i + 1]) for i in map(names.index, (pair.first, pair.second)))
            target[c, first, second] = np.outer(mean[first], mean[second])
            block = np.ones((first.stop - first.start, second.stop - second.start))
            weight[c, first, second] = np.triu(block) if pair.first == pair.second else block
            if orbit in self._directed:
                weight[c, first, second] += np.triu(block, 1)
        return pairs.with_functions(phi, functions, target=target, weight=weight, norm=1)

    def _pair_orbits(self, problem: Problem) -> dict[int, PairClass]:
        """Return icet's pair orbits, by icet's number, as pair classes of the supercell."""
        from icet.core.local_orbit_list_generator import LocalOrbitListGenerator
        from icet.core.structure import structure_to_arrays

        atoms = self.atoms(problem, problem.sorted_occupation)
        seen = np.flatnonzero(np.isin(problem.supercell.basis, self.basis))
        number = np.full(len(problem.supercell), -1)
        number[problem.sites] = np.arange(len(problem.sites))
        number = number[seen]
        orbits = LocalOrbitListGenerator(
            self.space.orbit_list,
            **structure_to_arrays(atoms),
            fractional_position_tolerance=self.space.fractional_position_tolerance,
        ).generate_full_orbit_list()
        names = [problem.supercell.sublattices[i] for i in problem.sites]
        order = list(problem.amounts)
        classes: dict[int, PairClass] = {}
        for n in range(len(orbits)):
            orbit = orbits.get_orbit(n)
            if orbit.order != 2:
                continue
            counts = np.zeros((len(problem.sites), len(problem.sites)), dtype=np.int64)
            for cluster in orbit.clusters:
                i, j = (int(number[site.index]) for site in cluster.lattice_sites)
                counts[i, j] += 1
                counts[j, i] += 1
            first, second = sorted((names[i], names[j]), key=order.index)
            classes[n] = PairClass(first, second, len(classes) + 1, 2 * float(orbit.radius), counts)
        return classes

    def _needed_basis(self) -> list[int]:
        mixed = [n for n, name in enumerate(self.parent.sublattices) if name in self.n_species]
        alone = Parent(
            self.parent.lattice, self.parent.positions[mixed], tuple(self.parent.sublattices[n] for n in mixed)
        )
        everything = list(range(len(self.parent.sublattices)))
        return mixed if len(alone.symmetry[0]) == len(self.parent.symmetry[0]) else everything

    @lru_cache(maxsize=64)  # noqa: B019 - a scorer is kept as long as its cache is wanted
    def _point_functions(self, n: int) -> FloatArray:
        """Return the constant and icet's n - 1 point functions (rows) of n species (columns)."""
        return np.array(
            [[1.0] * n, *([self.space.evaluate_cluster_function(n, f, y) for y in range(n)] for f in range(n - 1))]
        )

    @cached_property
    def _directed(self) -> set[int]:
        """icet's numbers of the orbits of pairs whose ends cannot be swapped though they are on one sublattice."""
        seen: dict[int, set[tuple[int, ...]]] = {}
        for orbit in self._as_list:
            if orbit["order"] == 2 and len(set(orbit["sublattices"])) == 1:
                seen.setdefault(orbit["orbit_index"], set()).add(tuple(orbit["multicomponent_vector"]))
        return {n for n, vectors in seen.items() if any(f != g and (g, f) in vectors for f, g in vectors)}

    @cached_property
    def _letters(self) -> dict[str, str]:
        """icet's letters of the mixed sublattices, which follow an order of its own, to our names."""
        site_of = {symbol: site for site, symbols in self.symbols.items() for symbol in symbols}
        return {
            sublattice.symbol: site_of[sublattice.chemical_symbols[0]]
            for sublattice in self.space.get_sublattices(self.space.primitive_structure).active_sublattices
        }

    @cached_property
    def _as_list(self) -> list[dict[str, Any]]:
        return self.space.as_list

    @lru_cache(maxsize=256)  # noqa: B019 - a scorer is kept as long as its cache is wanted
    def _random(self, concentrations: tuple[tuple[str, tuple[float, ...]], ...]) -> FloatArray:
        return self.random_vector(dict(concentrations))


def _shell(problem: Problem, first: str, second: str, distance: float) -> int | None:
    """Return the number of the problem's shell at a distance, or None if it does not count that far."""
    for pair, *_ in problem.shells:
        if (pair.first, pair.second) == (first, second) and abs(pair.distance - distance) < 1e-3 * distance:
            return pair.shell
    return None
