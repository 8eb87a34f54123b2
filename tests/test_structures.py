"""Compact cells, Warren-Cowley parameters and special quasirandom structures."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from hemiec.errors import CompositionError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import CandidateSpec, SqsDoc
from hemiec.structures.cells import compact_supercell, formula_units, shortest_image_distance, smallest_cell
from hemiec.structures.order import rms, warren_cowley
from hemiec.structures.sqs import DISPLACEMENT, displacements, lattice_parameter, make_sqs

FIVE = dict.fromkeys(("La", "Y", "Sr", "Ba", "Ca"), "1/5")


def cubic(n: int, symbols: list[str], a: float = 4.0) -> Structure:
    """Return a simple cubic n x n x n cell, first index slowest."""
    grid = np.array(list(itertools.product(range(n), repeat=3))) / n
    return Structure(Lattice.cubic(n * a), symbols, grid)


# Cells


@pytest.mark.parametrize(
    ("n_units", "distance"),
    # The most compact cells for a = 3.9 angstrom: facts measured beforehand, by enumeration.
    [(5, 5.52), (10, 8.72), (15, 9.55), (20, 11.70), (30, 12.33), (12, 9.55), (24, 11.70)],
)
def test_compact_cells_have_the_known_image_distances(n_units: int, distance: float) -> None:
    rows = np.array(compact_supercell(n_units))
    assert round(np.linalg.det(rows)) == n_units  # right-handed
    assert shortest_image_distance(3.9 * rows) == pytest.approx(distance, abs=0.005)


@pytest.mark.parametrize("n_units", range(1, 33))
def test_compact_cells_are_no_worse_than_a_row_of_cubes_and_no_better_than_close_packing(n_units: int) -> None:
    rows = np.array(compact_supercell(n_units))
    assert round(np.linalg.det(rows)) == n_units
    shortest = shortest_image_distance(rows)
    assert 1 <= shortest <= (2**0.5 * n_units) ** (1 / 3) + 1e-9  # fcc is the densest lattice
    if round(n_units ** (1 / 3)) ** 3 == n_units:
        assert shortest >= round(n_units ** (1 / 3)) - 1e-9


def test_shortest_image_distance_does_not_depend_on_the_basis() -> None:
    cell = 3.9 * np.array(compact_supercell(10))
    sheared = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ cell
    assert shortest_image_distance(sheared) == pytest.approx(shortest_image_distance(cell))


def exact(**sites: dict[str, str]) -> dict[str, dict[str, Fraction]]:
    whole = {"A": {"Sr": "1"}, "B": {"Ti": "1"}, "X": {"O": "1"}} | sites
    return {site: {s: Fraction(x) for s, x in species.items()} for site, species in whole.items()}


@pytest.mark.parametrize(
    ("sites", "smallest", "max_atoms", "expected"),
    [
        (exact(), 1, 24, 4),
        (exact(A=FIVE), 5, 49, 5),
        (exact(A=FIVE), 5, 50, 10),
        (exact(A=FIVE), 5, 160, 30),  # 150 atoms: 1/5 does not fit into 160
        (exact(A=FIVE, B={"Ti": "1/2", "Zr": "1/2"}), 10, 50, 10),
        (exact(A={"Sr": "1/6", "Ba": "5/6"}), 6, 65, 12),
        (exact(X={"O": "2/3", "F": "1/3"}), 1, 5, 1),  # three anions per unit hold thirds
        (exact(X={"O": "5/6", "F": "1/6"}), 2, 10, 2),
    ],
)
def test_the_largest_cell_that_holds_the_fractions(
    sites: dict[str, dict[str, Fraction]], smallest: int, max_atoms: int, expected: int
) -> None:
    assert smallest_cell(sites) == smallest
    assert formula_units(sites, max_atoms, where="here") == expected


def test_a_cell_that_is_too_small_says_which_is_not() -> None:
    with pytest.raises(CompositionError, match=r"here: .*at most 24 atoms.*25 atoms.*max_atoms: 25"):
        formula_units(exact(A=FIVE), 24, where="here")


# Warren-Cowley parameters


def test_rock_salt_order_alternates_between_minus_one_and_one() -> None:
    symbols = [("Sr", "Ba")[sum(ijk) % 2] for ijk in itertools.product(range(4), repeat=3)]
    shells = warren_cowley(cubic(4, symbols))
    assert [s.distance for s in shells] == pytest.approx([4, 4 * 2**0.5, 4 * 3**0.5, 8], abs=1e-3)
    # First and third shell hold only unlike neighbours, second and fourth only like ones.
    for shell, unlike in zip(shells, (-1, 1, -1, 1), strict=True):
        assert shell.alpha["Ba", "Sr"] == pytest.approx(unlike)
        assert shell.alpha["Sr", "Ba"] == pytest.approx(unlike)
        assert shell.alpha["Sr", "Sr"] == pytest.approx(-unlike)
    assert rms(shells) == pytest.approx(1)


def test_sum_rule_and_symmetry() -> None:
    rng = random.Random(1)
    symbols = ["La"] * 20 + ["Sr"] * 30 + ["Ba"] * 14
    rng.shuffle(symbols)
    c = {s: n / 64 for s, n in Counter(symbols).items()}
    for shell in warren_cowley(cubic(4, symbols)):
        for i in c:
            assert sum(c[j] * shell.alpha[i, j] for j in c) == pytest.approx(0, abs=1e-12)
            for j in c:
                assert shell.alpha[i, j] == pytest.approx(shell.alpha[j, i])


def test_a_large_random_cell_is_near_zero() -> None:
    symbols = ["La", "Sr", "Ba"] * 576
    random.Random(2).shuffle(symbols)
    shells = warren_cowley(cubic(12, symbols))
    assert 0 < rms(shells) < 0.05


def test_parameters_of_a_shell_against_counting_on_the_integer_lattice() -> None:
    """The most compact five-site cell has only one decoration, so its parameters follow from its vectors."""
    rows = np.array(compact_supercell(5))
    structure = Structure(Lattice(4.0 * rows), list(FIVE), np.arange(5)[:, None] * _coset(rows) % 1)
    shells = warren_cowley(structure)
    sites = np.rint(structure.frac_coords @ rows).astype(int)
    names = [s.specie.symbol for s in structure]
    inverse = np.linalg.inv(rows)
    for shell, square in zip(shells, (1, 2, 3, 4), strict=True):
        vectors = [v for v in itertools.product(range(-2, 3), repeat=3) if np.dot(v, v) == square]
        pairs: Counter[tuple[str, str]] = Counter()
        for (i, u), (j, w) in itertools.product(enumerate(sites), repeat=2):
            for v in vectors:
                difference = (u + v - w) @ inverse
                pairs[names[i], names[j]] += bool(np.allclose(difference, np.round(difference)))
        total = 5 * len(vectors)
        assert sum(pairs.values()) == total
        for pair, alpha in shell.alpha.items():
            assert alpha == pytest.approx(1 - pairs[pair] / total * 25)


def _coset(rows: np.ndarray) -> np.ndarray:
    """Return fractional coordinates of a site whose multiples visit all sites of a cell of prime size."""
    return np.array([1, 0, 0]) @ np.linalg.inv(rows)


# Special quasirandom structures

#: The most compact cell: a known shape, with a known best error.
COMPACT = SqsSettings(max_atoms=50, quality="fast", shape="compact")


@pytest.fixture(scope="module")
def five(candidate: Any) -> CandidateSpec:
    spec: CandidateSpec = candidate(FIVE, {"Co": 1})
    return spec


@pytest.fixture(scope="module")
def five_sqs(five: CandidateSpec) -> SqsDoc:
    return make_sqs(five, COMPACT, seed=3).members[0]


def test_the_composition_is_exact_and_on_the_right_sites(five_sqs: SqsDoc) -> None:
    ideal = Structure.from_dict(five_sqs.ideal_structure)
    labels = ideal.site_properties["site"]
    found = Counter((label, s.specie.symbol) for label, s in zip(labels, ideal, strict=True))
    assert found == {**{("A", s): 2 for s in FIVE}, ("B", "Co"): 10, ("X", "O"): 30}
    assert five_sqs.n_atoms == 50
    assert five_sqs.n_formula_units == 10 == round(np.linalg.det(five_sqs.supercell))


def test_the_ideal_cell_is_the_cubic_perovskite(five: CandidateSpec, five_sqs: SqsDoc) -> None:
    ideal = Structure.from_dict(five_sqs.ideal_structure)
    a = lattice_parameter(five)
    assert ideal.volume == pytest.approx(10 * a**3)
    assert five_sqs.shortest_image_distance == pytest.approx(a * 5**0.5)
    for n, label in enumerate(ideal.site_properties["site"]):
        if label != "A":
            shells = {"B": 0.5, "X": 0.5}  # six B-O and two O-B bonds of a/2
            bonds = [d for d in ideal.get_neighbors(ideal[n], 0.6 * a) if d.nn_distance < 0.51 * a]
            assert len(bonds) == {"B": 6, "X": 2}[label]
            assert bonds[0].nn_distance == pytest.approx(shells[label] * a)
        else:
            assert len(ideal.get_neighbors(ideal[n], 0.75 * a)) == 12


def test_the_stored_error_is_that_of_the_stored_structure(five_sqs: SqsDoc) -> None:
    ideal = Structure.from_dict(five_sqs.ideal_structure)
    on_A = Structure.from_sites(
        [s for s, label in zip(ideal, ideal.site_properties["site"], strict=True) if label == "A"]
    )
    shells = warren_cowley(on_A)
    assert rms(shells) == pytest.approx(five_sqs.warren_cowley_rms)
    stored = {(p.shell, *p.pair): p for p in five_sqs.warren_cowley}
    assert len(stored) == 4 * 25
    for number, shell in enumerate(shells, 1):
        for pair, alpha in shell.alpha.items():
            assert stored[number, *pair].alpha == pytest.approx(alpha)
            assert stored[number, *pair].distance == pytest.approx(shell.distance, abs=1e-3)
    # Facts: 0.358 is the best that this cell shape allows; 0.635 is a 5 x 2 x 2 one with diagonal order.
    assert five_sqs.warren_cowley_rms == pytest.approx(0.3578, abs=5e-5)


def test_the_same_arguments_give_the_same_structure_and_leave_global_random_alone(
    five: CandidateSpec, five_sqs: SqsDoc
) -> None:
    random.seed(11)
    np.random.seed(11)  # noqa: NPY002 - the legacy generator is what must stay untouched
    state, legacy = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    (again,) = make_sqs(five, COMPACT, seed=3).members
    assert random.getstate() == state
    assert np.random.get_state()[1].tolist() == legacy  # noqa: NPY002
    assert again == five_sqs
    (other,) = make_sqs(five, COMPACT, seed=4).members
    assert other.structure != five_sqs.structure


def test_pymatgen_reads_the_stored_structures_back(five_sqs: SqsDoc) -> None:
    stored = SqsDoc.model_validate_json(five_sqs.model_dump_json())
    ideal, start = Structure.from_dict(stored.ideal_structure), Structure.from_dict(stored.structure)
    assert StructureMatcher(primitive_cell=False).fit(ideal, start)
    assert [s.specie for s in start] == [s.specie for s in ideal]
    shift = start.frac_coords - ideal.frac_coords
    moved = np.linalg.norm(ideal.lattice.get_cartesian_coords(shift - np.round(shift)), axis=1)
    assert 0 < moved.mean() < 3 * DISPLACEMENT
    assert start.formula == ideal.formula
    assert "site" not in start.site_properties  # labels would not survive a relaxation anyway


def test_displacements_are_seeded_gaussians_of_the_stated_width() -> None:
    one, same, other = (displacements(512, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)
    assert one.std() == pytest.approx(DISPLACEMENT, rel=0.1)
    assert abs(one.mean()) < 5e-3


def test_an_ordered_compound_needs_no_search(candidate: Any) -> None:
    (sqs,) = make_sqs(candidate({"Sr": 1}, {"Ti": 1}), SqsSettings(max_atoms=5)).members
    assert (sqs.n_runs, sqs.icet_l1, sqs.warren_cowley_rms, sqs.warren_cowley) == (0, 0, 0, [])
    ideal = Structure.from_dict(sqs.ideal_structure)
    assert ideal.get_space_group_info() == ("Pm-3m", 221)
    # 2 (0.605 + 1.40) = 4.010 and sqrt(2) (1.44 + 1.40) = 4.016 angstrom from Shannon's radii
    assert ideal.lattice.a == pytest.approx((4.010 + 4.0164) / 2, abs=1e-3)
