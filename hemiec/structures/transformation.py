"""A pymatgen transformation from any disordered structure to its special quasirandom structure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pymatgen.core import DummySpecies, Lattice, Structure
from pymatgen.transformations.transformation_abc import AbstractTransformation

from hemiec.errors import InputError, did_you_mean
from hemiec.structures.cells import inequivalent_shapes, well_shaped
from hemiec.structures.ensemble import choose_members
from hemiec.structures.icet_score import IcetScorer
from hemiec.structures.parent import Parent, Supercell
from hemiec.structures.problem import N_SHELLS, N_SHELLS_BETWEEN, Problem
from hemiec.structures.search import QUALITIES, search

#: Shapes whose periodic images are closer than this share of the best shape's are not tried.
SHAPE_TOLERANCE = 0.7
#: A site fraction may be off by this much because a cell holds whole atoms.
ROUNDING = 0.01
#: Stands for an empty site; it does not appear in results.
EMPTY = "empty"


class SqsTransformation(AbstractTransformation):
    """Turn partial occupancies into a special quasirandom structure, in the form of pymatgen's SQSTransformation.

    Works for any parent crystal, several mixed sublattices, oxidation states, vacancies (occupancies that sum to
    less than one) and species on several sublattices.

    Parameters
    ----------
    scaling
        Number of input cells in the result, in the best of all shapes, or three numbers of repetitions.
    cluster_size_and_shell
        Cluster size to neighbour shell: 2 sets the shells of pairs that are searched (default 4), 2 and 3 set
        icet's cutoffs for the reported scores.
    search_time
        Wall time in minutes after which the best so far is returned.
    instances
        How many distinct structures `return_ranked_list` may ask for.
    best_only, remove_duplicate_structures
        As in pymatgen. Structures returned here are always distinct; with ``best_only`` all have the best error.
    reduction_algo
        niggli, LLL, or False to leave the cell as it is.
    quality
        fast, standard or best.
    seed
        Of the search.
    directory, temperature, wr, wn, wd, tol, icet_sqs_kwargs, sqs_method
        Accepted so that a call need not change; they steer mcsqs or icet's own search and have no effect here.
    """

    def __init__(
        self,
        scaling: int | Sequence[int],
        cluster_size_and_shell: dict[int, int] | None = None,
        search_time: float = 60,
        directory: str | None = None,
        instances: int | None = None,
        temperature: float = 1,
        wr: float = 1,
        wn: float = 1,
        wd: float = 0.5,
        tol: float = 1e-3,
        icet_sqs_kwargs: dict[str, Any] | None = None,
        best_only: bool = True,
        remove_duplicate_structures: bool = True,
        reduction_algo: Literal["niggli", "LLL", False] = "LLL",
        sqs_method: str | None = None,
        quality: str = "standard",
        seed: int = 0,
    ) -> None:
        self.scaling = scaling
        # JSON turns the keys into text.
        self.cluster_size_and_shell = (
            {int(k): n for k, n in cluster_size_and_shell.items()} if cluster_size_and_shell else None
        )
        self.search_time = search_time
        self.directory = directory
        self.instances = instances
        self.temperature = temperature
        self.wr = wr
        self.wn = wn
        self.wd = wd
        self.tol = tol
        self.icet_sqs_kwargs = icet_sqs_kwargs
        self.best_only = best_only
        self.remove_duplicate_structures = remove_duplicate_structures
        self.reduction_algo = reduction_algo
        self.sqs_method = sqs_method
        self.quality = quality
        self.seed = seed

    @property
    def is_one_to_many(self) -> bool:
        """Whether several structures can come back: yes, as a ranked list."""
        return True

    def apply_transformation(
        self, structure: Structure, return_ranked_list: bool | int = False
    ) -> Structure | list[dict[str, Any]]:
        """Return the best structure, or a list of {structure, objective_function, icet_l1, icet_objective}.

        The objective function is the root mean square Warren-Cowley parameter, unit 1; the list is ranked by it.

        Raises
        ------
        InputError
            If nothing is disordered, the cell cannot hold the fractions, or more structures than instances are
            asked for.
        """
        wanted = self._number(return_ranked_list)
        if self.quality not in QUALITIES:
            raise InputError(f"sqs quality {self.quality!r} is unknown; {did_you_mean(self.quality, QUALITIES)}")
        disordered = _Disordered(structure)
        shapes = self._shapes(disordered)
        amounts = disordered.amounts(len(Supercell(disordered.parent, shapes[0]).points))
        n_shells = (self.cluster_size_and_shell or {}).get(2, N_SHELLS)
        problems = [
            Problem.of_shells(
                Supercell(disordered.parent, rows),
                amounts,
                n_shells=n_shells,
                n_shells_between=min(n_shells, N_SHELLS_BETWEEN),
            )
            for rows in shapes
        ]
        found = search(problems, quality=self.quality, seed=self.seed, budget_s=60 * self.search_time)
        cells = [problems[p.shape] for p in found.patterns]
        members = choose_members(cells, [p.occupation for p in found.patterns], wanted, seed=self.seed)
        scorer = IcetScorer(
            disordered.parent, {s: len(n) for s, n in amounts.items()}, self._cutoffs(disordered, amounts, problems[0])
        )
        ranked = []
        for member in members:
            cell = cells[member.pattern]
            score = scorer.score(cell, member.occupation)
            ranked.append(
                {
                    "structure": self._reduced(disordered.decorate(cell, member.occupation)),
                    "objective_function": round(cell.error(member.occupation), 12),
                    "icet_l1": score.l1,
                    "icet_objective": score.objective,
                }
            )
        ranked.sort(key=lambda entry: entry["objective_function"])
        if return_ranked_list is False:
            return ranked[0]["structure"]
        if self.best_only:
            best = ranked[0]["objective_function"]
            ranked = [entry for entry in ranked if entry["objective_function"] <= best + 1e-9]
        return ranked

    def _number(self, return_ranked_list: bool | int) -> int:
        if return_ranked_list is False:
            return 1
        if self.instances is None:
            raise InputError("return_ranked_list needs `instances`.", mend="give SqsTransformation(..., instances=n)")
        if return_ranked_list is not True and return_ranked_list > self.instances:
            raise InputError(f"return_ranked_list={return_ranked_list} exceeds instances={self.instances}.")
        return self.instances if return_ranked_list is True else int(return_ranked_list)

    def _shapes(self, disordered: _Disordered) -> list[Any]:
        if isinstance(self.scaling, int | np.integer):
            if self.scaling < 1:
                raise InputError(f"scaling {self.scaling}: expected a positive number of cells.")
            sublattice = next(iter(disordered.fractions))
            shapes = inequivalent_shapes(int(self.scaling), disordered.parent, sublattice=sublattice)
            best = max(shape.shortest for shape in shapes)
            allowed = well_shaped(shapes, SHAPE_TOLERANCE * best)
            return [shape.rows for shape in allowed[: QUALITIES[self.quality].n_shapes]]
        if len(self.scaling) != 3 or any(n < 1 for n in self.scaling):
            raise InputError(f"scaling {self.scaling}: expected a number of cells or three repetitions.")
        return [np.diag(list(self.scaling))]

    def _cutoffs(self, disordered: _Disordered, amounts: dict[str, tuple[int, ...]], problem: Problem) -> list[float]:
        clusters = self.cluster_size_and_shell or {2: N_SHELLS}
        # icet must see every pair that is counted, also between sublattices.
        pairs = 1.001 * max(pair.distance for pair in problem.classes)
        return [pairs] + [
            1.001 * max(disordered.parent.neighbours(site, site, clusters.get(size, 1))[-1][0] for site in amounts)
            for size in range(3, max(clusters) + 1)
        ]

    def _reduced(self, structure: Structure) -> Structure:
        if not self.reduction_algo:
            return structure
        return structure.get_reduced_structure(reduction_algo=self.reduction_algo)


class _Disordered:
    """A disordered structure as a parent with mixed sublattices: symmetry-equivalent sites of equal occupancy."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        if structure.is_ordered:
            raise InputError(f"{structure.formula}: every site is ordered.", mend="give partial occupancies")
        self.names = self._names()
        self.parent = Parent(np.array(structure.lattice.matrix), np.array(structure.frac_coords), tuple(self.names))

    @cached_property
    def fractions(self) -> dict[str, list[tuple[Any, float]]]:
        """Mixed sublattice to its species, by atomic number with empty sites first, and their site fractions."""
        found: dict[str, list[tuple[Any, float]]] = {}
        for name, site in zip(self.names, self.structure, strict=True):
            if site.is_ordered:
                continue
            species = [(s, float(x)) for s, x in site.species.items() if not isinstance(s, DummySpecies)]
            species.sort(key=lambda item: (item[0].Z, str(item[0])))
            empty = 1 - sum(x for _, x in species)
            found[name] = ([(EMPTY, empty)] if empty > 1e-8 else []) + species
        return found

    def amounts(self, n_units: int) -> dict[str, tuple[int, ...]]:
        """Return whole numbers of sites for every species of every mixed sublattice."""
        result = {}
        for name, species in self.fractions.items():
            total = self.names.count(name) * n_units
            exact = [x * total for _, x in species]
            counts = [math.floor(x + 1e-9) for x in exact]
            for k in sorted(range(len(exact)), key=lambda k: counts[k] - exact[k])[: total - sum(counts)]:
                counts[k] += 1
            off = max(abs(n - x) for n, x in zip(counts, exact, strict=True)) / total
            if off > ROUNDING or 0 in counts:
                raise InputError(
                    f"{self.structure.formula}: {total} sites of {', '.join(f'{s} {x:g}' for s, x in species)} cannot "
                    f"hold these fractions (off by {off:.3f}).",
                    mend="give a `scaling` that makes every fraction a whole number of sites",
                )
            result[name] = tuple(counts)
        return result

    def decorate(self, problem: Problem, occupation: np.ndarray) -> Structure:
        """Return the decorated cell with the input's species; empty sites are left out."""
        cell = problem.supercell
        species: list[Any] = [self.structure[b].species for b in cell.basis]
        flat = [s for name in problem.amounts for s, _ in self.fractions[name]]
        for site, k in zip(problem.sites, occupation, strict=True):
            species[site] = flat[k]
        kept = [n for n, s in enumerate(species) if s != EMPTY]
        return Structure(
            Lattice(cell.lattice), [species[n] for n in kept], cell.positions[kept], charge=None
        ).get_sorted_structure()

    def _names(self) -> list[str]:
        """Return a name per site, equal for sites that symmetry makes equivalent."""
        import spglib

        occupancies = [site.species_string for site in self.structure]
        kinds = [sorted(set(occupancies)).index(o) for o in occupancies]
        cell = (self.structure.lattice.matrix.tolist(), self.structure.frac_coords.tolist(), kinds)
        dataset = spglib.get_symmetry_dataset(cell, symprec=1e-3)
        orbits = dataset.equivalent_atoms if dataset is not None else range(len(kinds))
        return [f"{occupancy} #{orbit}" for occupancy, orbit in zip(occupancies, orbits, strict=True)]
