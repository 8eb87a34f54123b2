"""Magnetic starts: which apply, and the signs of the patterns on known cells."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from hemiec.engines.magnetism import initial_moments, starts_for
from hemiec.engines.protocol import load_dft
from hemiec.engines.settings import GIVEN_START, SpinSettings
from hemiec.errors import StructureError

ALL = [
    "ferromagnetic", "antiferromagnetic-G", "antiferromagnetic-A", "antiferromagnetic-C", "low-spin", "nonmagnetic",
]  # fmt: skip
SPIN = SpinSettings.model_validate(
    {
        "starts": ALL,
        "moments": {"Fe": {"high": 4.5, "low": 1.0}, "Mn": {"high": 4.0}, "Co": {"high": 3.0, "low": 0.0}},
    }
)


def perovskite(b: str = "Fe", a: float = 3.9, scale: object = (1, 1, 1)) -> Structure:
    sites = [(0.5, 0.5, 0.5), (0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]
    cell = Structure(Lattice.cubic(a), ["La", b, "O", "O", "O"], sites)
    return cell.make_supercell(scale, in_place=False)


def magnetic(structure: Structure) -> list[int]:
    return [i for i, site in enumerate(structure) if site.specie.symbol in SPIN.moments]


def signs(structure: Structure, start: str) -> dict[tuple[int, ...], int]:
    """Return the sign at each lattice point of a 3.9 angstrom cubic B lattice."""
    moments = initial_moments(structure, start, SPIN)
    points = np.round(structure.cart_coords / 3.9).astype(int)
    return {tuple(points[i]): int(np.sign(moments[i])) for i in magnetic(structure)}


def same_up_to_sign(a: dict[tuple[int, ...], int], b: dict[tuple[int, ...], int]) -> bool:
    return a == b or a == {k: -v for k, v in b.items()}


# Which starts apply


def test_starts_follow_from_the_composition() -> None:
    antiferro = [s for s in ALL if s.startswith("anti")]
    assert starts_for(["La", "Al", "O", "O", "O"], SPIN) == []
    assert starts_for(["La", "Fe", "O"], SPIN) == ["ferromagnetic", "low-spin", "nonmagnetic"]
    assert starts_for(["La", "Fe", "Fe", "O"], SPIN) == ALL
    assert starts_for(["La", "Mn", "Mn", "O"], SPIN) == ["ferromagnetic", *antiferro, "nonmagnetic"]
    assert starts_for(["La", "Mn", "Fe", "O"], SPIN) == ALL


def test_low_spin_without_moments_is_nonmagnetic_and_counts_once() -> None:
    assert starts_for(["La", "Co", "Co", "O"], SPIN) == [s for s in ALL if s != "nonmagnetic"]
    assert initial_moments(perovskite("Co"), "low-spin", SPIN) == [0.0] * 5
    assert "nonmagnetic" in starts_for(["La", "Co", "Fe", "O"], SPIN)


def test_low_spin_keeps_elements_that_have_none() -> None:
    cell = perovskite(scale=(2, 1, 1))
    first, second = magnetic(cell)
    cell.replace(second, "Mn")
    moments = initial_moments(cell, "low-spin", SPIN)
    assert (moments[first], moments[second]) == (1.0, 4.0)


@pytest.mark.parametrize("name", ["gpaw-standard", "gpaw-fast", "gpaw-precise", "gpaw-calibration"])
def test_every_shipped_protocol_has_a_first_start_for_magnetic_cells(name: str) -> None:
    protocol = load_dft(name)
    for element in protocol.spin.moments:
        assert starts_for([element, element, "O"], protocol.spin)[0] == "ferromagnetic"


# Patterns


def test_patterns_of_the_eight_cube() -> None:
    cell = perovskite(scale=(2, 2, 2))
    expected = {
        "antiferromagnetic-G": lambda x, y, z: (-1) ** (x + y + z),
        "antiferromagnetic-A": lambda x, y, z: (-1) ** z,
        "antiferromagnetic-C": lambda x, y, z: (-1) ** (x + y),
    }
    for start, sign in expected.items():
        found = signs(cell, start)
        assert same_up_to_sign(found, {k: sign(*k) for k in found}), start
        moments = initial_moments(cell, start, SPIN)
        assert sum(moments) == pytest.approx(0)
        assert {abs(m) for m in moments} == {0.0, 4.5}


@pytest.mark.parametrize("start", [s for s in ALL if s.startswith("anti")])
def test_patterns_do_not_depend_on_the_order_of_sites(start: str) -> None:
    cell = perovskite(scale=(2, 2, 2))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(cell))
        shuffled = Structure.from_sites([cell[i] for i in order])
        assert signs(shuffled, start) == signs(cell, start)


@pytest.mark.parametrize("start", [s for s in ALL if s.startswith("anti")])
def test_patterns_do_not_depend_on_the_supercell(start: str) -> None:
    small, large = signs(perovskite(scale=(2, 2, 2)), start), signs(perovskite(scale=(4, 2, 2)), start)
    folded = {k: small[tuple(np.mod(k, 2))] for k in large}
    assert same_up_to_sign(large, folded)


def test_the_search_for_large_cells_finds_the_unfrustrated_pattern() -> None:
    cell = perovskite(scale=(4, 4, 2))  # 32 sites: too many to try every arrangement
    found = signs(cell, "antiferromagnetic-G")
    assert len(found) == 32
    assert same_up_to_sign(found, {k: (-1) ** sum(k) for k in found})


def test_tilted_and_shaken_octahedra_keep_the_pattern() -> None:
    cell = perovskite(scale=(2, 2, 2))
    ideal = signs(cell, "antiferromagnetic-C")
    for i, site in enumerate(cell):
        if site.specie.symbol == "O":  # alternating rotations about z, about 12 degrees
            x, y, _ = np.round(2 * site.coords / 3.9).astype(int)
            turn = 0.4 * (-1) ** ((x + y) // 2)
            along_x = x % 2 == 1
            cell.translate_sites([i], [0, turn, 0] if along_x else [-turn, 0, 0], frac_coords=False)
    cell.perturb(0.1, seed=1)
    moments = initial_moments(cell, "antiferromagnetic-C", SPIN)
    points = np.round(cell.cart_coords / 3.9).astype(int) % 2
    found = {tuple(points[i]): int(np.sign(moments[i])) for i in magnetic(cell)}
    assert same_up_to_sign(found, ideal)


def test_a_missing_oxygen_keeps_the_pattern() -> None:
    cell = perovskite(scale=(2, 2, 2))
    whole = signs(cell, "antiferromagnetic-A")
    cell.remove_sites([next(i for i, s in enumerate(cell) if s.specie.symbol == "O")])
    assert signs(cell, "antiferromagnetic-A") == whole


def test_the_chains_and_planes_follow_the_longer_side_of_a_flat_cell() -> None:
    # One site high along z: planes along z are all parallel to themselves, so A must stack along x or y.
    found = signs(perovskite(scale=(2, 2, 1)), "antiferromagnetic-A")
    along_y = [found[(0, 0, 0)] * found[(0, 1, 0)], found[(0, 0, 0)] * found[(1, 0, 0)]]
    assert sorted(along_y) == [-1, 1]


@pytest.mark.parametrize("n", [3, 5])
def test_an_odd_row_is_cut_at_all_bonds_but_one(n: int) -> None:
    cell = perovskite(scale=(1, 1, n))
    found = signs(cell, "antiferromagnetic-G")
    row = [found[(0, 0, k)] for k in range(n)]
    assert sum(row[k] != row[(k + 1) % n] for k in range(n)) == n - 1
    assert abs(sum(row)) == 1


def test_five_sites_in_a_sheared_cell_reach_the_best_cut() -> None:
    cell = perovskite(scale=[[2, 1, 0], [-1, 2, 0], [0, 0, 1]])
    sites = magnetic(cell)
    assert len(sites) == 5
    moments = np.array(initial_moments(cell, "antiferromagnetic-G", SPIN))[sites]
    bonds = [
        (a, sites.index(n.index))
        for a, i in enumerate(sites)
        for n in cell.get_neighbors(cell[i], 4.0)
        if n.index in sites and n.index != i
    ]

    def cut(s: np.ndarray) -> int:
        return sum(s[a] != s[b] for a, b in bonds)

    every = [np.array([1 if k >> b & 1 else -1 for b in range(5)]) for k in range(32)]
    assert cut(np.sign(moments)) == max(cut(s) for s in every)


def test_separate_clusters_of_magnetic_ions_keep_the_pattern_of_the_lattice() -> None:
    cell = perovskite(scale=(2, 2, 2))
    iron = magnetic(cell)
    keep = {i for i in iron if tuple(np.round(cell[i].coords / 3.9).astype(int)) in {(0, 0, 0), (1, 1, 0), (1, 1, 1)}}
    for i in set(iron) - keep:
        cell.replace(i, "Al")
    found = signs(cell, "antiferromagnetic-G")
    assert found[(0, 0, 0)] == found[(1, 1, 0)] == -found[(1, 1, 1)]


def test_two_sublattices_of_moments_differ_and_the_ferrimagnet_has_a_moment() -> None:
    cell = perovskite(scale=(1, 1, 2))
    cell.replace(magnetic(cell)[1], "Mn")
    moments = initial_moments(cell, "antiferromagnetic-G", SPIN)
    assert abs(sum(moments)) == pytest.approx(0.5)


def test_other_crystals_get_the_best_cut_and_no_planes() -> None:
    iron = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [(0, 0, 0), (0.5, 0.5, 0.5)])
    assert sum(initial_moments(iron, "antiferromagnetic-G", SPIN)) == 0
    with pytest.raises(StructureError, match="needs magnetic ions in corner-sharing octahedra"):
        initial_moments(iron, "antiferromagnetic-A", SPIN)


def test_cells_that_cannot_hold_a_pattern_are_refused() -> None:
    with pytest.raises(StructureError, match="needs two magnetic sites, the cell has 1"):
        initial_moments(perovskite(), "antiferromagnetic-G", SPIN)
    with pytest.raises(StructureError, match="not a magnetic arrangement"):
        initial_moments(perovskite(), "spiral", SPIN)


def test_no_start_and_nonmagnetic_have_no_moments() -> None:
    for start in (None, "nonmagnetic"):
        assert initial_moments(perovskite(), start, SPIN) == [0.0] * 5


def test_given_moments_are_those_of_the_structure() -> None:
    oxygen = Structure(Lattice.cubic(8), ["O", "O"], [(0, 0, 0), (0, 0, 0.155)], site_properties={"magmom": [1.0, 1.0]})
    assert initial_moments(oxygen, GIVEN_START, SPIN) == [1.0, 1.0]
    with pytest.raises(StructureError, match="given moments are missing"):
        initial_moments(perovskite(), GIVEN_START, SPIN)
