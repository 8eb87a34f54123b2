"""The SQS engine: supercells and their symmetry, the compiled search, icet's agreement, published anchors."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from hemiec.errors import InputError, StructureError
from hemiec.structures.cells import (
    cubic_shapes,
    inequivalent_shapes,
    most_compact,
    shortest_image_distance,
    smallest_cell,
    well_shaped,
    write_table,
)
from hemiec.structures.icet_score import IcetScorer
from hemiec.structures.kernel import anneal, environments, features, objective
from hemiec.structures.order import rms, warren_cowley
from hemiec.structures.parent import (
    Parent,
    Supercell,
    cubic_perovskite,
    hermite_normal_form,
    hermite_normal_forms,
    pair_orbits,
)
from hemiec.structures.problem import Problem
from hemiec.structures.search import Found, canonical, search
from hemiec.structures.templates import UNIT, find_templates, problem, scorer, scoring_parent
from hemiec.structures.templates import TemplateKey as Key

PEROVSKITE = cubic_perovskite(UNIT)
SIMPLE = Parent(np.eye(3) * 3.9, np.zeros((1, 3)), ("A",))
FCC = Parent(np.array([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]]), np.zeros((1, 3)), ("A",))
#: The 48 operations of the cube, rows of signed permutation matrices.
CUBE = [
    np.diag(signs)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
SPECTATORS = {"A": "Ba", "B": "Ti", "X": "O"}
#: Elements of the mixed sublattices by atomic number, the order in which icet numbers them; X is icet's vacancy.
ELEMENTS = {"A": ["X", "K", "Ca", "Sr"], "B": ["Mn", "Fe", "Co", "Ni"], "X": ["N", "F", "Cl", "Br"]}


@st.composite
def hermite(draw: st.DrawFn, largest: int = 12) -> np.ndarray:
    """Draw a sublattice by its Hermite normal form."""
    n = draw(st.integers(1, largest))
    a = draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
    c = draw(st.sampled_from([d for d in range(1, n // a + 1) if (n // a) % d == 0]))
    b, d, e = draw(st.integers(0, a - 1)), draw(st.integers(0, a - 1)), draw(st.integers(0, c - 1))
    return np.array([[a, 0, 0], [b, c, 0], [d, e, n // (a * c)]])


@st.composite
def unimodular(draw: st.DrawFn) -> np.ndarray:
    """Draw an integer change of basis, of determinant 1 or -1."""
    matrix = draw(st.sampled_from(CUBE)).astype(np.int64)
    for _ in range(draw(st.integers(0, 4))):
        i, j = draw(st.permutations(range(3)))[:2]
        matrix[i] += draw(st.integers(-2, 2)) * matrix[j]
    return matrix


@st.composite
def mixtures(draw: st.DrawFn, *, largest: int = 10, most_species: int = 4) -> tuple[Problem, int]:
    """Draw a mixture on one to three sublattices of a random cell, and a seed."""
    rows = draw(unimodular()) @ draw(hermite(largest))
    cell = Supercell(PEROVSKITE, rows)
    names = draw(st.sampled_from([("A",), ("B",), ("X",), ("A", "B"), ("A", "X"), ("B", "X"), ("A", "B", "X")]))
    amounts = {}
    for name in names:
        total = cell.n_units * (3 if name == "X" else 1)
        assume(total > 1)
        n = draw(st.integers(2, min(most_species, total)))
        cuts = sorted(draw(st.permutations(range(1, total)))[: n - 1])
        amounts[name] = tuple(np.diff([0, *cuts, total]).tolist())
    return Problem.of_shells(cell, amounts), draw(st.integers(0, 2**31))


def start_and_stop(system: Any) -> tuple[float, float]:
    step = float(2 / np.min(system.pairs))
    return (4 * step, 0.1 * step) if system.norm == 1 else (4 * step**2, 0.1 * step**2)


def decorated(solved: Problem, occupation: np.ndarray) -> Structure:
    """Return the mixed sites alone as elements, labelled by sublattice; elements of two sublattices differ."""
    cell = solved.supercell
    names = [element for site, amounts in solved.amounts.items() for element in _elements(site, len(amounts))]
    return Structure(
        cell.lattice,
        [names[k].replace("X", "He") for k in occupation],
        cell.positions[solved.sites],
        site_properties={"site": [cell.sublattices[i] for i in solved.sites]},
    )


def _elements(site: str, n: int) -> list[str]:
    return ELEMENTS[site][:n]


def shells(cell: Supercell, first: str, second: str, n: int) -> list[tuple[float, np.ndarray]]:
    """Return distance and neighbour counts of the first shells, whatever their symmetry orbits."""
    return [
        (distance, np.sum([cell.neighbours(orbit) for orbit in orbits], axis=0))
        for distance, orbits in pair_orbits(cell.parent, first, second, n)
    ]


def recounted(solved: Problem, structure: Structure) -> list[float]:
    """Return all Warren-Cowley parameters from pymatgen's neighbour list: four shells within, two between."""
    labels = np.array(structure.site_properties["site"])
    species = np.array([s.specie.symbol for s in structure])
    values: list[float] = []
    names = list(solved.amounts)
    i, j, _, distance = structure.get_neighbor_list(2.01 * UNIT)
    for n, first in enumerate(names):
        own = structure.copy()
        own.remove_sites(np.flatnonzero(labels != first).tolist())
        values += [x for shell in warren_cowley(own, sublattice=first) for x in shell.alpha.values()]
        for second in names[n + 1 :]:
            between = (labels[i] == first) & (labels[j] == second)
            for d in np.unique(np.round(distance[between], 3))[:2]:
                inside = between & (np.abs(distance - d) < 2e-3)
                for x, y in itertools.product(set(species[labels == first]), set(species[labels == second])):
                    c = np.mean(species[labels == first] == x) * np.mean(species[labels == second] == y)
                    values.append(1 - np.mean((species[i[inside]] == x) & (species[j[inside]] == y)) / c)
    return values


def across_and_beside(solved: Problem, structure: Structure) -> float:
    """Return what the objective adds for X-X pairs along and across the B-X-B line: the variance within a shell."""
    labels = np.array(structure.site_properties["site"])
    species = np.array([s.specie.symbol for s in structure])
    i, j, image, distance = structure.get_neighbor_list(1.45 * UNIT)
    vector = structure.frac_coords[j] + image - structure.frac_coords[i]
    vector = vector @ structure.lattice.matrix
    # The B-X-B line runs along the axis on which X lies halfway.
    halfway = np.abs(structure.cart_coords / UNIT % 1 - 0.5) < 1e-3
    along = np.abs((vector * halfway[i]).sum(axis=1)) > 1e-3
    own = (labels[i] == "X") & (labels[j] == "X")
    names = sorted(set(species[labels == "X"]))
    c = [np.mean(species[labels == "X"] == name) for name in names]
    total = 0.0
    for d in (UNIT, 2**0.5 * UNIT):
        shell = own & (np.abs(distance - d) < 1e-3)
        for (k, x), (m, y) in itertools.product(enumerate(names), repeat=2):
            is_pair = (species[i] == x) & (species[j] == y)
            alpha = [1 - is_pair[shell & part].mean() / (c[k] * c[m]) for part in (along, ~along)]
            share = [(shell & part).sum() / shell.sum() for part in (along, ~along)]
            total += float(np.dot(share, np.square(alpha)) - np.dot(share, alpha) ** 2)
    return total


class PlainIcet:
    """icet on the full perovskite with real elements, and its own target vector."""

    def __init__(self, amounts: Mapping[str, Sequence[int]], cutoffs: Sequence[float], a: float = UNIT) -> None:
        from icet import ClusterSpace
        from icet.tools.structure_generation import _get_sqs_cluster_vector

        self.amounts, self.a = amounts, a
        allowed = [
            _elements(site, len(amounts[site])) if site in amounts else [SPECTATORS[site]]
            for site in PEROVSKITE.sublattices
        ]
        self.primitive = Atoms(
            [symbols[0] for symbols in allowed], scaled_positions=PEROVSKITE.positions, cell=[a] * 3, pbc=True
        )
        self.space = ClusterSpace(self.primitive, [c * a for c in cutoffs], allowed)
        letters = self.space.get_sublattices(self.primitive).active_sublattices
        concentrations = {}
        for sublattice in letters:
            (site,) = (s for s in amounts if set(sublattice.chemical_symbols) == set(_elements(s, len(amounts[s]))))
            fractions = np.array(amounts[site]) / sum(amounts[site])
            concentrations[sublattice.symbol] = dict(zip(_elements(site, len(fractions)), fractions, strict=True))
        self.target = _get_sqs_cluster_vector(self.space, concentrations)

    def vector(self, solved: Problem, occupation: np.ndarray) -> np.ndarray:
        cell = solved.supercell
        symbols = np.array([SPECTATORS[site] for site in cell.sublattices], dtype=object)
        names = [e for site, amounts in self.amounts.items() for e in _elements(site, len(amounts))]
        symbols[solved.sites] = [names[k] for k in occupation]
        lattice = cell.lattice * self.a / UNIT
        atoms = Atoms(symbols.tolist(), scaled_positions=cell.positions, cell=lattice, pbc=True)
        return np.array(self.space.get_cluster_vector(atoms))

    def l1(self, solved: Problem, occupation: np.ndarray) -> float:
        return float(np.abs(self.vector(solved, occupation) - self.target).sum())

    def objective(self, solved: Problem, occupation: np.ndarray) -> float:
        from mchammer.calculators import compare_cluster_vectors

        vector = self.vector(solved, occupation)
        return float(compare_cluster_vectors(vector, self.target, as_list=self.space.as_list, optimality_weight=1.0))


# Supercells


@given(hermite(16), unimodular())
@settings(max_examples=40, deadline=None)
def test_shells_of_every_cell_have_the_cubic_coordination_numbers(form: np.ndarray, change: np.ndarray) -> None:
    cell = Supercell(PEROVSKITE, change @ form)
    own = [("A", [6, 12, 8, 6], [1, 2**0.5, 3**0.5, 2]), ("B", [6, 12, 8, 6], [1, 2**0.5, 3**0.5, 2])]
    # X: 8 at a/sqrt(2), then 2 through B and 4 beside it at a, 16 and 12.
    own.append(("X", [8, 6, 16, 12], [0.5**0.5, 1, 1.5**0.5, 2**0.5]))
    for site, numbers, distances in own:
        found = shells(cell, site, site, 4)
        assert [d for d, _ in found] == pytest.approx([UNIT * x for x in distances])
        for (_, counts), number in zip(found, numbers, strict=True):
            inside = counts[np.ix_(cell.sites(site), cell.sites(site))]
            assert np.array_equal(counts, counts.T)
            assert (inside.sum(axis=1) == number).all()
            assert counts.sum() == inside.sum()
    for first, second, numbers, distances in (
        ("A", "B", [(8, 8), (24, 24)], [0.75**0.5, 2.75**0.5]),
        ("A", "X", [(12, 4), (24, 8)], [0.5**0.5, 1.5**0.5]),
        ("B", "X", [(6, 2), (24, 8)], [0.5, 1.25**0.5]),
    ):
        found = shells(cell, first, second, 2)
        assert [d for d, _ in found] == pytest.approx([UNIT * x for x in distances])
        for (_, counts), (one, other) in zip(found, numbers, strict=True):
            assert np.array_equal(counts, counts.T)
            block = counts[np.ix_(cell.sites(first), cell.sites(second))]
            assert (block.sum(axis=1) == one).all() and (block.sum(axis=0) == other).all()
            assert counts.sum() == 2 * block.sum()


def test_a_site_counts_its_own_images() -> None:
    cell = Supercell(PEROVSKITE, np.diag([1, 2, 4]))
    (_, nearest), (_, second), _, (_, fourth) = shells(cell, "A", "A", 4)
    a = cell.sites("A")
    assert (np.diag(nearest)[a] == 2).all()  # along the first vector
    assert (np.diag(second)[a] == 0).all()
    assert (np.diag(fourth)[a] == 4).all()  # twice the first vector, once the second, both ways
    one = Supercell(PEROVSKITE, np.eye(3, dtype=int))
    assert [int(counts[0, 0]) for _, counts in shells(one, "A", "A", 4)] == [6, 12, 8, 6]


@given(hermite(10), unimodular())
@settings(max_examples=40, deadline=None)
def test_neighbour_counts_are_those_of_pymatgen(form: np.ndarray, change: np.ndarray) -> None:
    cell = Supercell(PEROVSKITE, change @ form)
    structure = Structure(cell.lattice, ["H"] * len(cell), cell.positions).copy()
    i, j, _, distances = structure.get_neighbor_list(2.05 * UNIT)
    labels = np.array(cell.sublattices)
    for first, second in (("A", "A"), ("X", "X"), ("A", "B"), ("B", "X")):
        for distance, counts in shells(cell, first, second, 2):
            inside = (np.abs(distances - distance) < 1e-3) & (labels[i] == first) & (labels[j] == second)
            found = np.zeros_like(counts)
            np.add.at(found, (i[inside], j[inside]), 1)
            assert np.array_equal(found if first == second else found + found.T, counts)


@given(hermite(10), unimodular(), st.sampled_from([PEROVSKITE, FCC]))
@settings(max_examples=40, deadline=None)
def test_permutations_are_symmetries(form: np.ndarray, change: np.ndarray, parent: Parent) -> None:
    cell = Supercell(parent, change @ form)
    found = cell.permutations
    assert len(found) % cell.n_units == 0  # the translations are a subgroup
    assert (np.sort(found, axis=1) == np.arange(len(cell))).all()
    names = np.array(cell.sublattices)
    pairs = [("A", "A"), ("X", "X"), ("A", "B")] if parent is PEROVSKITE else [("A", "A")]
    matrices = [cell.neighbours(o) for pair in pairs for _, orbits in pair_orbits(parent, *pair, 4) for o in orbits]
    for row in found[:: max(1, len(found) // 30)]:
        assert (names[row] == names).all()
        for counts in matrices:
            assert np.array_equal(counts[np.ix_(row, row)], counts)
    group = {row.tobytes() for row in found}
    assert np.arange(len(cell)).tobytes() in group
    assert found[-1][found[len(found) // 2]].tobytes() in group  # closed
    assert np.argsort(found[-1]).tobytes() in group  # with inverses


def test_the_cube_keeps_all_operations() -> None:
    cell = Supercell(PEROVSKITE, 2 * np.eye(3, dtype=int))
    assert len(PEROVSKITE.symmetry[0]) == 48
    assert len(np.unique(cell.permutations, axis=0)) == 48 * 8


@given(hermite(30), unimodular())
@settings(max_examples=60, deadline=None)
def test_the_hermite_normal_form_names_the_lattice(form: np.ndarray, change: np.ndarray) -> None:
    rows = change @ form
    h = hermite_normal_form(rows)
    assert np.array_equal(h, form)  # drawn in normal form, so every basis must lead back to it
    assert round(np.linalg.det(h)) == abs(round(np.linalg.det(rows)))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 8, 12, 16])
def test_the_number_of_sublattices_is_the_known_sum(n: int) -> None:
    """The sublattices of index n number the sum over divisors d of d times the sum of the divisors of d."""
    forms = [h.tobytes() for h in hermite_normal_forms(n)]
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    assert len(forms) == sum(d * sum(e for e in range(1, d + 1) if d % e == 0) for d in divisors)
    assert len(set(forms)) == len(forms)


@pytest.mark.parametrize(
    ("parent", "numbers"),
    [(SIMPLE, [1, 3, 3, 9, 5, 13, 7, 24]), (FCC, [1, 2, 3, 7, 5, 10, 7, 20])],
    ids=["simple cubic", "fcc"],
)
def test_the_number_of_inequivalent_superlattices_is_the_published_one(parent: Parent, numbers: list[int]) -> None:
    """Hart and Forcade, doi:10.1103/PhysRevB.77.224115, table IV."""
    found = [inequivalent_shapes(n, parent, sublattice="A") for n in range(1, 9)]
    assert [len(shapes) for shapes in found] == numbers
    for n, shapes in enumerate(found, 1):
        for shape in shapes:
            assert round(np.linalg.det(np.array(shape.rows))) == n  # right-handed


@pytest.mark.parametrize("n", [5, 12, 16])
def test_inequivalent_shapes_are_inequivalent_and_complete(n: int) -> None:
    classes = [
        {hermite_normal_form(np.array(shape.rows) @ turn).tobytes() for turn in CUBE}
        for shape in inequivalent_shapes(n, SIMPLE, sublattice="A")
    ]
    assert sum(len(c) for c in classes) == len(set().union(*classes)) == len(list(hermite_normal_forms(n)))


@pytest.mark.parametrize("n", [1, 6, 20, 24, 27])
def test_the_shipped_table_equals_a_fresh_computation(n: int) -> None:
    fresh = inequivalent_shapes(n, cubic_perovskite(), sublattice="A")
    shipped = cubic_shapes(n)
    if n <= 24:
        assert len(shipped) == len(fresh)
    assert most_compact(fresh).rows in [shape.rows for shape in shipped]
    for one, other in zip(shipped[:40], fresh, strict=False):
        assert one.rows == other.rows
        assert one.shortest == pytest.approx(other.shortest)
        assert one.crowding == pytest.approx(other.crowding, abs=1e-6)
        assert one.shortest == pytest.approx(shortest_image_distance(np.array(one.rows)))


def test_the_table_writer_repeats_what_is_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    monkeypatch.setattr("hemiec.structures.cells.TABLE_LAST", 8)
    written = json.loads(write_table())["shapes"]
    for n in range(1, 9):
        assert [[v[0:3], v[3:6], v[6:9]] for v in written[str(n)]] == [
            [list(row) for row in shape.rows] for shape in cubic_shapes(n)
        ]


def test_well_shaped_falls_back_to_the_longest() -> None:
    shapes = cubic_shapes(20)
    assert {s.shortest for s in well_shaped(shapes, 99)} == {most_compact(shapes).shortest}
    assert all(s.shortest >= 2 for s in well_shaped(shapes, 2))
    assert well_shaped(shapes, 0.1) == shapes


def test_shapes_beyond_the_table_are_computed_once() -> None:
    """They take seconds from a hundred units on, and one structure asks for them several times."""
    assert all(one is other for one, other in zip(cubic_shapes(67), cubic_shapes(67), strict=True))


def test_a_flat_cell_is_refused() -> None:
    with pytest.raises(StructureError, match="no volume"):
        Supercell(PEROVSKITE, [[1, 0, 0], [0, 1, 0], [1, 1, 0]])


def test_thirds_on_x_fit_one_formula_unit() -> None:
    from fractions import Fraction

    assert smallest_cell({"A": {"Sr": Fraction(1)}, "X": {"O": Fraction(2, 3), "F": Fraction(1, 3)}}) == 1


# The compiled search


@given(mixtures())
@settings(max_examples=60, deadline=None)
def test_the_incremental_objective_equals_counting_on_the_structure(drawn: tuple[Problem, int]) -> None:
    solved, seed = drawn
    value, occupation = anneal(solved.sorted_occupation, solved.system, *start_and_stop(solved.system), 3000, seed)
    assert np.array_equal(np.sort(occupation), solved.sorted_occupation)
    names = np.array([s for s, site in enumerate(solved.amounts) for _ in solved.amounts[site]])
    on = np.array([list(solved.amounts).index(solved.supercell.sublattices[i]) for i in solved.sites])
    assert (names[occupation] == on).all()
    structure = decorated(solved, occupation)
    parameters = recounted(solved, structure)
    assert len(parameters) == sum(a.size for a in solved.warren_cowley(occupation))
    # Anions one lattice parameter apart, and those at its sqrt(2), are of two kinds that the objective tells apart.
    by_kind = across_and_beside(solved, structure) if "X" in solved.amounts else 0.0
    assert value == pytest.approx(np.sum(np.square(parameters)) + by_kind, rel=1e-9, abs=1e-8)
    assert solved.error(occupation) == pytest.approx(np.sqrt(np.mean(np.square(parameters))), abs=1e-9)


@given(mixtures())
@settings(max_examples=30, deadline=None)
def test_one_sublattice_is_wc4(drawn: tuple[Problem, int]) -> None:
    solved, seed = drawn
    assume(len(solved.amounts) == 1)
    _, occupation = anneal(solved.sorted_occupation, solved.system, 1.0, 0.1, 50, seed)
    assert solved.error(occupation) == pytest.approx(rms(warren_cowley(decorated(solved, occupation))), abs=1e-9)


# The same examples every time: a swap that changes nothing is a tie, and where one path rounds it to a rise that draws
# a random number and the other does not, the two go different ways. It is rare, and says nothing of either.
@given(mixtures())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_the_dense_and_the_diagonal_path_agree(drawn: tuple[Problem, int]) -> None:
    solved, seed = drawn
    system = solved.system
    dense = system._replace(diagonal=False)
    # Hot and short: the two paths round differently, and a long cold run could part ways on a tie.
    answers = [anneal(solved.sorted_occupation, s, 1e9, 1e9, 300, seed) for s in (system, dense)]
    assert answers[0][0] == pytest.approx(answers[1][0], abs=1e-8)
    for value, occupation in answers:
        feature = features(occupation, environments(occupation, dense), dense)
        assert objective(feature, dense) == pytest.approx(value, abs=1e-8)


def annealed_l1(solved: Problem, seed: int) -> tuple[float, np.ndarray]:
    mine = IcetScorer(PEROVSKITE, {site: len(amounts) for site, amounts in solved.amounts.items()}, [2.05 * UNIT])
    system = mine.l1_system(solved)
    value, occupation = anneal(solved.sorted_occupation, system, *start_and_stop(system), 2000, seed)
    return float(value), occupation


# Building a cluster space costs a second: no shrinking.
@given(mixtures(largest=6, most_species=3))
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_the_incremental_l1_equals_a_fresh_icet_cluster_space(drawn: tuple[Problem, int]) -> None:
    solved, seed = drawn
    assume(len(solved.amounts.get("X", ())) < 3)  # the next test
    value, occupation = annealed_l1(solved, seed)
    assert value == pytest.approx(PlainIcet(solved.amounts, [2.05]).l1(solved, occupation), abs=1e-6)


def test_the_incremental_l1_of_three_anions_equals_icets() -> None:
    """X-X pairs at sqrt(5/2) a have no symmetry that swaps their ends: icet lists functions (0, 1) and (1, 0)."""
    solved = Problem.of_shells(Supercell(PEROVSKITE, [[1, 0, 0], [0, 1, 0], [0, 0, 2]]), {"X": (1, 2, 3)})
    value, occupation = annealed_l1(solved, 3)
    assert value == pytest.approx(PlainIcet(solved.amounts, [2.05]).l1(solved, occupation), abs=1e-6)


def test_annealing_finds_rock_salt_when_asked_for_it() -> None:
    """The decoration whose unlike pairs have parameters -1, 1, -1, 1 is unique."""
    solved = Problem.of_shells(Supercell(PEROVSKITE, 2 * np.eye(3, dtype=int)), {"A": (4, 4)})
    salt = np.array([-1, 1, -1, 1])
    target = 1.0 + salt[:, None, None] * (2 * np.eye(2) - 1)
    system = solved.system._replace(target=target * (solved.system.target > 0))
    value, occupation = anneal(solved.sorted_occupation, system, 1.0, 0.01, 4000, 1)
    assert value == pytest.approx(0, abs=1e-9)
    parity = solved.supercell.points.sum(axis=1) % 2
    assert len(set(occupation[parity == 0])) == len(set(occupation[parity == 1])) == 1


# icet


CASES = {
    "A, four": ({"A": (4, 4, 4, 8)}, [[-2, 1, 2], [2, 2, -1], [-2, 2, -1]]),
    "A, unequal": ({"A": (1, 4, 3)}, [[2, 0, 0], [0, 2, 0], [0, 0, 2]]),
    "B": ({"B": (5, 1)}, [[1, 0, 1], [0, 3, 1], [-1, 0, 1]]),
    "A and B": ({"A": (3, 5), "B": (2, 6)}, [[2, 0, 0], [0, 2, 0], [0, 0, 2]]),
    "X": ({"X": (4, 14)}, [[1, 1, 0], [0, 2, 0], [-1, 0, 3]]),
    "A and X, thin": ({"A": (1, 3), "X": (10, 2)}, [[1, 0, 0], [0, 1, 0], [0, 0, 4]]),
    "A, B and X": ({"A": (2, 2), "B": (1, 3), "X": (2, 4, 6)}, [[1, 1, 0], [-1, 1, 0], [0, 0, 2]]),
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_scorer_gives_plain_icets_scores_of_the_real_perovskite(case: str) -> None:
    amounts, rows = CASES[case]
    solved = Problem.of_shells(Supercell(PEROVSKITE, rows), amounts)
    assert sum(amounts[next(iter(amounts))]) == len(solved.supercell.sites(next(iter(amounts))))
    mine = scorer(tuple((site, len(n)) for site, n in amounts.items()))
    plain = PlainIcet(amounts, [2.05, 1.45])
    assert len(mine.space) == len(plain.space)
    for seed in range(3):
        _, occupation = anneal(solved.sorted_occupation, solved.system, 1.0, 0.01, 200 * seed, seed)
        score = mine.score(solved, occupation)
        assert score.l1 == pytest.approx(plain.l1(solved, occupation), abs=1e-6)
        assert score.objective == pytest.approx(plain.objective(solved, occupation), abs=1e-6)
        # From icet's correlations the same Warren-Cowley parameters as from our counts.
        assert score.error == pytest.approx(solved.error(occupation), abs=1e-9)


def test_icets_parameters_are_ours_one_by_one() -> None:
    amounts = {"A": (3, 2, 3), "B": (2, 6)}
    solved = Problem.of_shells(Supercell(PEROVSKITE, 2 * np.eye(3, dtype=int)), amounts)
    mine = scorer((("A", 3), ("B", 2)))
    _, occupation = anneal(solved.sorted_occupation, solved.system, 1.0, 0.1, 100, 5)
    vector = mine.space.get_cluster_vector(mine.atoms(solved, occupation))
    for ours, theirs in zip(solved.warren_cowley(occupation), mine.warren_cowley(solved, vector), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-9)


# Anchors


def test_fcc_sqs_8_has_the_published_objective() -> None:
    """The best 8-atom 50:50 fcc SQS, seven pair shells with triangle and tetrahedron: Q = -17/12, L1 = 7/12."""
    problems = [
        Problem.of_shells(Supercell(FCC, shape.rows), {"A": (4, 4)}, n_shells=7)
        for shape in inequivalent_shapes(8, FCC, sublattice="A")
    ]
    icet = IcetScorer(FCC, {"A": 2}, [7.5, 2.9, 2.9])
    assert len(icet.space) == 11
    scores = []
    for solved in problems:
        for pattern in search([solved], quality="fast").patterns:
            scores.append(icet.score(solved, pattern.occupation))
    best = min(scores, key=lambda score: score.objective)
    assert best.objective == pytest.approx(-17 / 12, abs=1e-9)
    assert best.l1 == pytest.approx(7 / 12, abs=1e-9)


@pytest.fixture(scope="module")
def fcc16() -> tuple[Problem, np.ndarray]:
    for shape in inequivalent_shapes(16, FCC, sublattice="A"):
        solved = Problem.of_shells(Supercell(FCC, shape.rows), {"A": (8, 8)}, n_shells=7)
        (best, *_) = search([solved], quality="fast").patterns
        if best.error < 1e-9:
            return solved, best.occupation
    pytest.fail("no 16-atom fcc cell with seven perfect pair shells was found")


def test_fcc_sqs_16_has_no_pair_correlations(fcc16: tuple[Problem, np.ndarray]) -> None:
    """Seven shells vanish; icet's Q is then minus half the seventh distance, sqrt(14) for a = 4 angstrom."""
    score = IcetScorer(FCC, {"A": 2}, [7.5]).score(*fcc16)
    assert score.objective == pytest.approx(-3.74165738677, abs=1e-9) == pytest.approx(-math.sqrt(14))
    assert score.l1 == pytest.approx(0, abs=1e-9)


def best_of_all_shapes(n: int, amounts: tuple[int, ...], n_shells: int) -> float:
    best = math.inf
    for shape in inequivalent_shapes(n, SIMPLE, sublattice="A"):
        solved = Problem.of_shells(Supercell(SIMPLE, shape.rows), {"A": amounts}, n_shells=n_shells)
        best = min(best, search([solved], quality="fast").patterns[0].error)
        if best < 1e-9:
            break
    return best


def test_simple_cubic_binary_of_16_sites_is_perfect_in_four_shells() -> None:
    assert best_of_all_shapes(16, (8, 8), 4) == pytest.approx(0, abs=1e-9)


def test_simple_cubic_quaternary_of_16_sites_is_perfect_in_three_shells_and_never_in_four() -> None:
    """Exhaustively: 28 of the 651 sublattices allow three perfect shells, none allows four."""
    assert best_of_all_shapes(16, (4, 4, 4, 4), 3) == pytest.approx(0, abs=1e-9)
    assert best_of_all_shapes(16, (4, 4, 4, 4), 4) > 0.05


def test_the_compact_cell_of_16_sites_stops_at_two_perfect_shells() -> None:
    errors = {}
    for n_shells in (2, 3):
        cell = Supercell(SIMPLE, [[4, 0, 0], [2, 2, 0], [2, 0, 2]])
        solved = Problem.of_shells(cell, {"A": (4, 4, 4, 4)}, n_shells=n_shells)
        errors[n_shells] = search([solved], quality="fast").patterns[0].error
    assert errors[2] == pytest.approx(0, abs=1e-9)
    assert errors[3] > 0.05


@pytest.mark.parametrize(
    ("n_units", "amounts", "shape", "quality", "known"),
    [
        (10, (2,) * 5, "compact", "fast", 0.3578),
        (20, (4,) * 5, "compact", "fast", 0.1868),
        (20, (4,) * 5, "free", "standard", 0.142064),
        (12, (2,) * 6, "free", "standard", 0.3467),
        (15, (3,) * 5, "compact", "standard", 0.2170),
    ],
)
def test_the_best_known_values_are_reached(
    n_units: int, amounts: tuple[int, ...], shape: str, quality: str, known: float
) -> None:
    """Errors that long searches of several programs have not improved on."""
    key = Key((("A", amounts),), n_units, shape, 2, quality, "none", "warren-cowley")
    found = find_templates(key)
    assert found.patterns[0].error == pytest.approx(known, abs=5.1e-5)
    assert found.patterns[0].error <= min(p.error for p in found.patterns) + 1e-9


# Invariance


@pytest.fixture(scope="module")
def found() -> tuple[list[Problem], Found]:
    problems = [problem(shape.rows, (("A", (2, 2, 2)), ("B", (3, 3)))) for shape in cubic_shapes(6)[:4]]
    return problems, search(problems, quality="fast", seed=7)


@given(mixtures(largest=8))
@settings(max_examples=25, deadline=None)
def test_the_error_does_not_depend_on_names_basis_orientation_origin_or_order(drawn: tuple[Problem, int]) -> None:
    solved, seed = drawn
    generator = np.random.default_rng(seed)
    _, occupation = anneal(solved.sorted_occupation, solved.system, 1.0, 0.5, 100, seed)
    error = solved.error(occupation)

    # Names: the species of each sublattice in another order.
    amounts, renaming, start = {}, [], 0
    for site, species in solved.amounts.items():
        order = generator.permutation(len(species))
        amounts[site] = tuple(species[k] for k in order)
        renaming += (start + np.argsort(order)).tolist()
        start += len(species)
    renamed = Problem.of_shells(solved.supercell, amounts)
    assert renamed.error(np.array(renaming)[occupation]) == pytest.approx(error, abs=1e-12)

    # Origin and operations that keep the cell.
    for row in solved.permutations[generator.integers(len(solved.permutations), size=5)]:
        assert solved.error(occupation[row]) == pytest.approx(error, abs=1e-12)

    # Orientation: the cell turned by any operation of the cube, in another basis.
    old = decorated(solved, occupation)
    change = np.array([[1, 1, 0], [0, 1, 0], [0, -2, 1]])
    for turn in (CUBE[k] for k in generator.integers(48, size=4)):
        cell = Supercell(PEROVSKITE, change @ solved.supercell.rows @ turn)
        turned = Problem.of_shells(cell, solved.amounts)
        centre = PEROVSKITE.positions[0] * UNIT
        moved = (old.cart_coords - centre) @ turn + centre  # about an A site, which keeps every sublattice
        fractional = moved @ np.linalg.inv(cell.lattice)
        own = cell.positions[turned.sites]
        nearest = [np.argmin(np.abs((f - own + 0.5) % 1 - 0.5).sum(axis=1)) for f in fractional]
        assert sorted(nearest) == list(range(len(own)))
        again = np.empty_like(occupation)
        again[nearest] = occupation
        assert turned.error(again) == pytest.approx(error, abs=1e-12)

    # Site order.
    shuffled = Structure.from_sites([old[int(k)] for k in generator.permutation(len(old))])
    assert np.sqrt(np.mean(np.square(recounted(solved, shuffled)))) == pytest.approx(error, abs=1e-9)


def test_all_48_orientations_of_one_cell_have_one_error() -> None:
    rows = np.array([[-1, 0, -2], [-2, -1, 2], [-1, 3, 0]])
    solved = problem(tuple(map(tuple, rows.tolist())), (("A", (4,) * 5),))
    pattern = search([solved], quality="fast").patterns[0]
    points = solved.supercell.points
    for turn in CUBE:
        cell = Supercell(scoring_parent(), rows @ turn)
        turned = Problem.of_shells(cell, solved.amounts)
        occupation = np.empty_like(pattern.occupation)
        occupation[cell.point_index(points @ turn)] = pattern.occupation
        assert turned.error(occupation) == pytest.approx(pattern.error, abs=1e-12)


def test_canonical_names_follow_symmetry_and_only_symmetry(found: tuple[list[Problem], Found]) -> None:
    problems, result = found
    for pattern in result.patterns[:6]:
        solved = problems[pattern.shape]
        name = canonical(solved, pattern.occupation)
        for row in solved.permutations[::17]:
            assert canonical(solved, pattern.occupation[row]) == name
        swapped = pattern.occupation.copy()
        swapped[swapped < 2] = 1 - swapped[swapped < 2]  # the first two species, of equal amount
        anonymous = canonical(solved, pattern.occupation, anonymous=True)
        assert canonical(solved, swapped, anonymous=True) == anonymous
        other = np.random.default_rng(1).permutation(pattern.occupation[:6])
        shuffled = np.concatenate([other, pattern.occupation[6:]])
        if not math.isclose(solved.error(shuffled), pattern.error, abs_tol=1e-9):
            assert canonical(solved, shuffled, anonymous=True) != anonymous


# The search


def test_patterns_are_distinct_ranked_and_as_good_as_they_say(found: tuple[list[Problem], Found]) -> None:
    problems, result = found
    names = [(p.shape, canonical(problems[p.shape], p.occupation, anonymous=True)) for p in result.patterns]
    assert len(set(names)) == len(names) > 1
    errors = [p.error for p in result.patterns]
    assert errors == pytest.approx(sorted(errors), abs=1e-9)
    for pattern in result.patterns:
        assert problems[pattern.shape].error(pattern.occupation) == pytest.approx(pattern.error)
        assert np.array_equal(np.sort(pattern.occupation), problems[0].sorted_occupation)


@pytest.mark.parametrize("n_cores", [1, 3])
def test_the_seed_decides_and_cores_do_not(found: tuple[list[Problem], Found], n_cores: int) -> None:
    problems, first = found
    again = search(problems, quality="fast", seed=7, n_cores=n_cores)
    assert _digest(again) == _digest(first)
    assert again.n_runs == first.n_runs and not again.truncated
    assert _digest(search(problems, quality="fast", seed=8, n_cores=n_cores)) != _digest(first)


def _digest(result: Found) -> str:
    text = b"".join(b"%d " % p.shape + p.occupation.astype(np.uint8).tobytes() for p in result.patterns)
    return hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("n_cores", [1, 2])
def test_a_spent_budget_returns_what_there_is(found: tuple[list[Problem], Found], n_cores: int) -> None:
    problems, whole = found
    result = search(problems, quality="best", budget_s=1e-9, n_cores=n_cores)
    assert result.truncated
    assert 1 <= result.n_runs <= n_cores  # one run in a cell of 1000 atoms takes a good part of a second
    assert result.patterns[0].error >= whole.patterns[0].error - 1e-9
    ample = search(problems, quality="fast", seed=7, budget_s=1e6)
    assert not ample.truncated and _digest(ample) == _digest(whole)


def test_more_effort_is_never_worse() -> None:
    problems = [problem(shape.rows, (("A", (3, 3, 2)),)) for shape in cubic_shapes(8)]
    fast, standard = (search(problems, quality=q).patterns[0].error for q in ("fast", "standard"))
    assert standard <= fast + 1e-9


def test_an_unknown_quality_is_corrected() -> None:
    with pytest.raises(InputError, match=r"'standrad' is unknown; did you mean 'standard'"):
        search([problem(cubic_shapes(2)[0].rows, (("A", (1, 1)),))], quality="standrad")


def test_icets_own_objective_is_minimised_when_asked() -> None:
    """On one cell the L1 search reaches a smaller pair L1 than the best Warren-Cowley pattern has."""
    rows = cubic_shapes(10)[0].rows
    amounts = (("A", (2,) * 5),)
    solved = problem(rows, amounts)
    by_order = search([solved], quality="fast").patterns[0]
    by_l1 = search([solved], quality="fast", system=scorer((("A", 5),)).l1_system).patterns[0]
    system = scorer((("A", 5),)).l1_system(solved)
    values = [
        objective(features(p.occupation, environments(p.occupation, system), system), system) for p in (by_order, by_l1)
    ]
    assert values[1] <= values[0] + 1e-9
    assert by_order.error <= by_l1.error + 1e-9
