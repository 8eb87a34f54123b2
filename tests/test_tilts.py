"""Octahedral tilts: starts that have them, and their names in relaxed, disordered and broken cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy.spatial.transform import Rotation

from hemiec.errors import StructureError
from hemiec.structures.basins import SPACE_GROUPS, glazer_name, left_basin, tilt_system
from hemiec.structures.parent import Supercell, cubic_perovskite
from hemiec.structures.tilts import START_TILTS, basin_starts, fitting_tilts, tilted_start

A = 3.9
TWO = np.diag([2, 2, 2])
#: Tilts about x, y, z as (sense, degrees), by the name they must get. Axis by axis, not in the order of the name.
SYSTEMS = {
    "a0a0a0": (("0", 0), ("0", 0), ("0", 0)),
    "a0a0c+": (("0", 0), ("+", 9), ("0", 0)),
    "a0b+b+": (("+", 8), ("+", 8), ("0", 0)),
    "a0b+c+": (("+", 12), ("+", 5), ("0", 0)),
    "a+a+a+": (("+", 8), ("+", 8), ("+", 8)),
    "a+b+c+": (("+", 4), ("+", 8), ("+", 12)),
    "a+a+c-": (("+", 7), ("-", 11), ("+", 7)),
    "a+b+c-": (("+", 4), ("-", 9), ("+", 10)),
    "a0b+c-": (("+", 7), ("-", 11), ("0", 0)),
    "a+b-b-": (("-", 9), ("+", 11), ("-", 9)),
    "a+b-c-": (("-", 5), ("+", 8), ("-", 11)),
    "a0a0c-": (("-", 6), ("0", 0), ("0", 0)),
    "a0b-b-": (("-", 8), ("0", 0), ("-", 8)),
    "a0b-c-": (("-", 12), ("0", 0), ("-", 6)),
    "a-a-a-": (("-", 8), ("-", 8), ("-", 8)),
    "a-b-b-": (("-", 5), ("-", 11), ("-", 11)),
    "a-b-c-": (("-", 4), ("-", 8), ("-", 12)),
}


def ideal(rows: Any = TWO, A_species: tuple[str, ...] = ("Sr",)) -> Structure:
    """Return a cubic perovskite in a supercell, A species in turn."""
    cell = Supercell(cubic_perovskite(A), rows)
    names, n = [], 0
    for site in cell.sublattices:
        names.append(A_species[n % len(A_species)] if site == "A" else {"B": "Ti", "X": "O"}[site])
        n += site == "A"
    return Structure(Lattice(cell.lattice), names, cell.positions, site_properties={"site": list(cell.sublattices)})


def tilted(tilts: Any, rows: Any = TWO, **kwargs: Any) -> Structure:
    """Return a cell whose octahedra are turned by hand: every X goes to the mean of where its two octahedra put it."""
    cell = ideal(rows, **kwargs)
    unit = cell.cart_coords / A
    moved = unit.copy()
    for n, site in enumerate(cell):
        if site.properties["site"] != "X":
            continue
        bond = int(np.argmax(np.abs(unit[n] - np.round(unit[n]))))
        ends = []
        for step in (0.5, -0.5):
            B = np.round(unit[n] - step * np.eye(3)[bond]).astype(int)
            turn = np.zeros(3)
            for axis, (sense, degrees) in enumerate(tilts):
                counted = B.sum() - (B[axis] if sense == "+" else 0)
                turn[axis] = (-1) ** counted * degrees
            ends.append(B + Rotation.from_rotvec(turn, degrees=True).apply(step * np.eye(3)[bond]))
        moved[n] = np.mean(ends, axis=0)
    return Structure(
        cell.lattice, cell.species, moved * A, coords_are_cartesian=True, site_properties=cell.site_properties
    )


def with_coords(structure: Structure, cartesian: Any, lattice: Any = None) -> Structure:
    return Structure(
        lattice or structure.lattice,
        structure.species,
        cartesian,
        coords_are_cartesian=True,
        site_properties=structure.site_properties,
    )


def noisy(structure: Structure, scale: float, seed: int = 0) -> Structure:
    return with_coords(
        structure, structure.cart_coords + np.random.default_rng(seed).normal(scale=scale, size=(len(structure), 3))
    )


# Names


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_every_tilt_system_is_named_and_its_space_group_is_that_of_spglib(name: str) -> None:
    structure = tilted(SYSTEMS[name])
    found = tilt_system(structure)
    assert found.glazer == name
    for angle, sense, (own_sense, own) in zip(found.angles, found.senses, SYSTEMS[name], strict=True):
        assert angle == pytest.approx(own, abs=0.6), "rotations about several axes do not quite add"
        assert sense == own_sense
    symmetry = SpacegroupAnalyzer(structure, symprec=1e-3).get_space_group_symbol()
    assert found.space_group == symmetry


def test_names_of_unequal_tilts() -> None:
    assert glazer_name(np.array([8.0, 9.9, 0.0]), ["-", "-", "0"]) == "a0b-b-"
    assert glazer_name(np.array([8.0, 11.5, 0.0]), ["-", "-", "0"]) == "a0b-c-"
    assert glazer_name(np.array([8.0, 12.0, 12.5]), ["-", "-", "-"]) == "a-b-b-"
    assert glazer_name(np.array([12.5, 8.0, 12.0]), ["-", "-", "-"]) == "a-b-b-"
    assert glazer_name(np.array([8.0, 8.5, 13.0]), ["-", "-", "-"]) == "a-b-b-"
    assert glazer_name(np.array([8.0, 9.0, 10.0]), ["-", "-", "-"]) == "a-a-a-"
    assert glazer_name(np.array([8.0, 9.0, 10.0]), ["-", "?", "-"]) is None
    senses = [[a, b, c] for a in "0+-" for b in "0+-" for c in "0+-"]
    for angles in ([5.0, 5.0, 5.0], [4.0, 8.0, 12.0], [5.0, 5.5, 12.0], [5.0, 12.0, 12.5], [12.0, 5.0, 5.5]):
        for sense in senses:
            assert glazer_name(np.array(angles), sense) in SPACE_GROUPS


@pytest.mark.parametrize(
    "rows", [[[1, 1, 0], [1, -1, 0], [0, 0, 2]], [[2, 0, 0], [0, 2, 0], [1, 1, 2]], np.diag([4, 2, 2])]
)
def test_the_name_does_not_depend_on_cell_noise_order_origin_or_orientation(rows: Any) -> None:
    tilts = (("-", 8), ("-", 8), ("+", 9))
    structure = tilted(tilts, rows, A_species=("La", "Sr", "Ba"))
    rng = np.random.default_rng(3)
    order = rng.permutation(len(structure))
    turn = Rotation.random(random_state=5).as_matrix()
    shaken = noisy(structure, 0.05)
    moved = Structure.from_sites([shaken[n] for n in order])
    moved.translate_sites(range(len(moved)), [0.31, 0.77, 0.12])
    moved = with_coords(moved, moved.cart_coords @ turn.T, Lattice(moved.lattice.matrix @ turn.T))
    found = tilt_system(moved)
    assert found.glazer == "a+b-b-" and found.space_group == "Pnma"
    assert sorted(found.senses) == sorted(("-", "-", "+"))
    assert np.allclose(np.sort(found.angles), [8, 8, 9], atol=1.0)


def test_strained_and_sheared_cells_keep_their_tilts() -> None:
    structure = tilted((("-", 7), ("-", 7), ("-", 7)))
    shear = np.array([[1.03, 0.03, 0.0], [0.0, 0.98, -0.02], [0.02, 0.0, 1.0]])
    found = tilt_system(
        with_coords(structure, structure.cart_coords @ shear, Lattice(structure.lattice.matrix @ shear))
    )
    assert found.glazer == "a-a-a-"
    assert found.angles == pytest.approx([7, 7, 7], abs=1.0)


def test_stretched_off_centre_and_randomly_turned_octahedra_are_not_tilted() -> None:
    """Jahn-Teller modes, polar shifts and disorder are no tilts."""
    cell = ideal()
    unit = cell.cart_coords / A
    moved = cell.cart_coords.copy()
    for n, site in enumerate(cell):
        if site.properties["site"] == "X":
            bond = int(np.argmax(np.abs(unit[n] - np.round(unit[n]))))
            point = np.floor(unit[n] + 1e-6).astype(int)
            if bond < 2:  # long and short bonds alternate in the plane
                moved[n, bond] += 0.12 * (-1) ** (point.sum() + bond)
        elif site.properties["site"] == "B":
            moved[n] += [0.1, 0.15, 0.2]
    found = tilt_system(with_coords(cell, moved))
    assert found.glazer == "a0a0a0" and found.angles == pytest.approx([0, 0, 0], abs=0.3)
    for seed in range(5):
        assert tilt_system(noisy(cell, 0.08, seed)).glazer == "a0a0a0"


def test_tilts_of_two_and_two_along_an_axis_have_no_name() -> None:
    """++-- along z is neither in phase nor antiphase."""
    rows = np.diag([2, 2, 4])
    plus, minus = (tilted((("0", 0), ("0", 0), ("+", angle)), rows) for angle in (9, -9))
    high = plus.frac_coords[:, 2] % 1 > 0.49
    coords = np.where(high[:, None], minus.cart_coords, plus.cart_coords)
    found = tilt_system(with_coords(plus, coords))
    assert found.senses == ("0", "0", "?")
    assert found.glazer is None and found.space_group is None
    assert found.label.startswith("mixed (0 0 8.9?")


def test_missing_anions_and_cations_do_not_hide_the_tilts() -> None:
    structure = tilted((("-", 8), ("+", 9), ("-", 8)))
    labels = structure.site_properties["site"]
    X = [n for n, site in enumerate(labels) if site == "X"]
    for gone in ([X[0]], [X[0], X[1], X[5]], [labels.index("A")]):
        broken = structure.copy()
        broken.remove_sites(gone)
        found = tilt_system(broken)
        assert found.glazer == "a+b-b-"
        assert found.angles == pytest.approx([8, 9, 8], abs=1.0)


def test_what_is_no_labelled_perovskite_is_refused() -> None:
    bare = ideal()
    bare.remove_site_property("site")
    with pytest.raises(StructureError, match="not labelled"):
        tilt_system(bare)
    with pytest.raises(StructureError, match="not labelled"):
        tilted_start(bare, "Pnma")
    bcc = Structure(
        Lattice.cubic(3.2), ["Fe", "Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]],
        site_properties={"site": ["B", "B", "X"]},
    )  # fmt: skip
    with pytest.raises(StructureError, match="framework"):
        tilt_system(bcc)


# Starts


@pytest.mark.parametrize("rows", [TWO, [[1, 1, 0], [1, -1, 0], [0, 0, 2]], [[2, 0, 0], [0, 2, 0], [1, 1, 2]]])
def test_starts_have_the_tilts_they_are_named_after(rows: Any) -> None:
    cell = ideal(rows, ("La", "Y", "Sr", "Ba"))
    fitting = fitting_tilts(rows)
    assert set(fitting) == set(START_TILTS)
    for name, turns in fitting.items():
        seen = set()
        for turn in turns:
            start = tilted_start(cell, name, turn=turn, seed=turn)
            found = tilt_system(start)
            assert found.space_group == name
            assert found.angles[found.angles > 2] == pytest.approx(8.0, abs=0.8)
            assert [s.specie for s in start] == [s.specie for s in cell]
            assert start.site_properties == cell.site_properties
            seen.add(found.senses)
        assert len(seen) == len(turns), "every turn is another orientation of the system"


def test_starts_are_seeded_and_keep_the_symmetry_without_displacements() -> None:
    cell = ideal()
    one, again, other = (tilted_start(cell, "Pnma", seed=seed) for seed in (1, 1, 2))
    assert np.allclose(one.cart_coords, again.cart_coords, atol=1e-12)
    assert not np.allclose(one.cart_coords, other.cart_coords, atol=1e-3)
    for name in START_TILTS:
        symmetric = tilted_start(cell, name, displacement=0.0)
        assert SpacegroupAnalyzer(symmetric, symprec=1e-3).get_space_group_symbol() == name


def test_a_cell_gets_every_orientation_of_the_systems_that_fit_and_an_odd_one_none() -> None:
    cell = ideal(TWO, ("La", "Y", "Sr", "Ba"))
    starts = basin_starts(cell, seed=4)
    assert list(starts) == [
        "displaced", "Pnma 0", "Pnma 1", "Pnma 2", "R-3c 0", "I4/mcm 0", "I4/mcm 1", "I4/mcm 2"
    ]  # fmt: skip
    senses = {tilt_system(starts[f"Pnma {turn}"]).senses for turn in range(3)}
    assert senses == {("-", "+", "-"), ("-", "-", "+"), ("+", "-", "-")}
    assert tilt_system(starts["displaced"]).glazer == "a0a0a0"
    again = basin_starts(cell, seed=4)
    assert all(np.allclose(starts[name].cart_coords, again[name].cart_coords, atol=1e-12) for name in starts)
    assert list(basin_starts(ideal([[1, 1, 0], [1, -1, 1], [1, 0, -2]]))) == ["displaced"]


def test_vacant_sites_and_mixed_ones_are_no_obstacle() -> None:
    cell = ideal(TWO, ("La", "Y", "Sr", "Ba"))
    labels = cell.site_properties["site"]
    cell.remove_sites([labels.index("A"), labels.index("X"), len(labels) - 1])
    assert tilt_system(tilted_start(cell, "R-3c")).space_group == "R-3c"


def test_cells_that_cut_the_tilts_are_refused_with_what_to_do() -> None:
    for rows in ([[2, 0, 0], [1, 2, 0], [0, 1, 2]], np.diag([1, 1, 5]), np.diag([3, 3, 3])):
        assert fitting_tilts(rows) == {}
        for name in START_TILTS:
            with pytest.raises(StructureError, match="does not hold whole periods"):
                tilted_start(ideal(rows), name)
    small = [[1, 1, 0], [1, -1, 0], [0, 0, 2]]
    assert fitting_tilts(small)["P4/mbm"] == [0]
    with pytest.raises(StructureError, match=r"turn it by one of \[0\]"):
        tilted_start(ideal(small), "P4/mbm", turn=1)
    with pytest.raises(StructureError, match=r"'Cmcm' is unknown; expected one of Pnma"):
        tilted_start(ideal(), "Cmcm")


def test_relaxed_cells_and_other_crystals_are_no_ideal_cells() -> None:
    with pytest.raises(StructureError, match="ideal sites"):
        tilted_start(noisy(ideal(), 0.1), "Pnma")
    swapped = ideal()
    labels = list(swapped.site_properties["site"])
    first_A, first_B = labels.index("A"), labels.index("B")
    labels[first_A], labels[first_B] = "B", "A"
    swapped.add_site_property("site", labels)
    with pytest.raises(StructureError, match="not those of the cubic perovskite"):
        tilted_start(swapped, "Pnma")


# Basins


def vacancy(structure: Structure, n: int = 0, pull: float = 0.3) -> Structure:
    """Return a cell without its n-th X, the neighbours within 3 angstrom moved at random, labels dropped."""
    X = [k for k, site in enumerate(structure.site_properties["site"]) if site == "X"][n]
    centre = structure[X]
    near = {site.index for site in structure.get_neighbors(centre, 3.0)}
    rng = np.random.default_rng(n)
    coords = structure.cart_coords.copy()
    for k in near:
        coords[k] += rng.normal(scale=pull / 3**0.5, size=3)
    kept = [k for k in range(len(structure)) if k != X]
    return Structure(structure.lattice, [structure[k].specie for k in kept], coords[kept], coords_are_cartesian=True)


def test_a_vacancy_that_turns_its_own_octahedra_stays_in_the_basin() -> None:
    host = tilted((("-", 8), ("+", 9), ("-", 8)), A_species=("La", "Sr"))
    for n in range(0, 24, 5):
        change = left_basin(host, vacancy(host, n))
        assert not change.left, change
        assert change.relaxed.glazer == "a+b-b-"


@pytest.mark.parametrize(
    "other",
    [
        (("-", -8), ("+", 9), ("-", 8)),  # the same system, another domain
        (("-", 8), ("+", -9), ("-", 8)),
        (("-", 8), ("0", 0), ("-", 8)),  # a tilt is gone
        (("-", 8), ("-", 9), ("-", 8)),  # another sense
        (("-", 8), ("+", 9), ("-", 13)),  # much stronger about one axis
    ],
)
def test_other_tilts_and_other_domains_are_other_basins(other: Any) -> None:
    host = tilted((("-", 8), ("+", 9), ("-", 8)), A_species=("La", "Sr"))
    change = left_basin(host, vacancy(tilted(other, A_species=("La", "Sr"))))
    assert change.left
    assert change.host.glazer == "a+b-b-"


def test_order_and_images_of_the_sites_do_not_matter() -> None:
    host = tilted((("-", 8), ("+", 9), ("-", 8)), A_species=("La", "Sr"))
    order = np.random.default_rng(1).permutation(len(host))
    mixed = Structure(
        host.lattice,
        [host[n].specie for n in order],
        host.frac_coords[order] + np.random.default_rng(2).integers(-1, 2, size=(len(host), 3)),
    )
    assert left_basin(host, mixed).change == pytest.approx([0, 0, 0], abs=1e-6)
    without = host.copy()
    without.remove_sites([host.site_properties["site"].index("B")])
    with pytest.raises(StructureError, match="B cations"):
        left_basin(host, without)
