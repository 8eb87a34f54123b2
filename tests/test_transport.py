"""Vacancy hops, walks, end points and saddles."""

from __future__ import annotations

import itertools
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from hemiec.errors import StructureError
from hemiec.structures.cells import compact_supercell
from hemiec.transport.hops import choose_walk, end_points, label_sites, octahedron_edge_hops, vacancy

A_LATTICE = 3.905
UNIT_CELL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
IDEAL = [("Sr", (0.5, 0.5, 0.5)), ("Ti", (0, 0, 0)), ("O", (0.5, 0, 0)), ("O", (0, 0.5, 0)), ("O", (0, 0, 0.5))]


def perovskite(rows: Any = UNIT_CELL, on_A: tuple[str, ...] = ("Sr",), a: float = A_LATTICE) -> Structure:
    """Return an ideal supercell with labelled sites; the A species repeat in order."""
    cell = Structure(
        Lattice.cubic(a), [s for s, _ in IDEAL], [x for _, x in IDEAL], site_properties={"site": list("ABXXX")}
    )
    cell = cell.make_supercell(np.array(rows), in_place=False)
    names = itertools.cycle(on_A)
    for n, label in enumerate(cell.site_properties["site"]):
        if label == "A":
            cell.replace(n, next(names), properties={"site": "A"})
    return cell


# Hops


@pytest.mark.parametrize("rows", [np.eye(3), 2 * np.eye(3), *(np.array(compact_supercell(n)) for n in (2, 5, 10))])
def test_every_anion_has_eight_octahedron_edges(rows: Any) -> None:
    cell = perovskite(rows)
    hops = octahedron_edge_hops(cell)
    n_anions = cell.site_properties["site"].count("X")
    assert len(hops) == 8 * n_anions
    assert set(Counter(h.from_site for h in hops).values()) == {8}
    assert {h.environment for h in hops} == {"Sr-Sr | Ti"}
    for hop in hops:
        assert hop.distance == pytest.approx(A_LATTICE / 2**0.5)


def test_every_hop_has_its_reverse() -> None:
    cell = perovskite(compact_supercell(5), ("La", "Y", "Sr", "Ba", "Ca"))
    hops = octahedron_edge_hops(cell)
    forward = {(h.from_site, h.to_site, tuple(h.image)): h.environment for h in hops}
    backward = {(h.to_site, h.from_site, tuple(-x for x in h.image)): h.environment for h in hops}
    assert forward == backward
    assert len(forward) == len(hops)


def test_hops_do_not_depend_on_the_origin() -> None:
    cell = perovskite(compact_supercell(5), ("La", "Y", "Sr", "Ba", "Ca"))
    moved = cell.copy().translate_sites(range(len(cell)), [0.37, 0.11, -0.43], to_unit_cell=True)
    one, two = octahedron_edge_hops(cell), octahedron_edge_hops(moved)
    key = Counter((h.from_site, h.to_site, h.environment) for h in one)
    assert key == Counter((h.from_site, h.to_site, h.environment) for h in two)


def test_the_environment_is_the_triangle_the_anion_passes() -> None:
    """Around each hop the two A cations share the cube face edge, counted by hand on a layered cell."""
    cell = perovskite(np.diag([1, 1, 2]), ("Sr", "Ba"))
    heights = {s.specie.symbol: s.coords[2] for s in cell if s.specie.symbol in ("Sr", "Ba")}
    assert sorted(heights.values()) == pytest.approx([A_LATTICE / 2, 1.5 * A_LATTICE])
    found = Counter(h.environment for h in octahedron_edge_hops(cell))
    # In-plane edges of a TiO2 layer lie between a Sr and a Ba layer: 2 layers x 2 anions x 4 edges. An edge from the
    # layer to an apical anion passes two A cations of the layer that the apical anion is in: the other 32, halved.
    assert found == {"Ba-Sr | Ti": 16, "Ba-Ba | Ti": 16, "Sr-Sr | Ti": 16}


@pytest.mark.parametrize("angle", [0, 5, 9, 12, 15])
def test_tilted_octahedra_have_the_same_edges_and_no_others(angle: float) -> None:
    """In-phase tilts (a0a0c+) bring anions of different octahedra as near as those of one edge."""
    tan = np.tan(np.radians(angle))
    cell = perovskite(2 * np.eye(3))
    coords = cell.cart_coords / A_LATTICE
    for site in range(len(cell)):
        if cell.site_properties["site"][site] != "X":
            continue
        along = int(np.argmax(np.abs(coords[site] - np.round(coords[site]))))
        if along == 2:
            continue
        # Octahedra at even and odd positions turn against each other; their shared corner moves sideways.
        base = np.floor(coords[site] + 1e-6).astype(int)
        sign = (-1) ** (base[0] + base[1])
        coords[site, 1 - along] += (1 if along == 0 else -1) * sign * tan / 2
    tilted = Structure(
        cell.lattice, cell.species, coords * A_LATTICE, coords_are_cartesian=True, site_properties=cell.site_properties
    )
    hops = octahedron_edge_hops(tilted)
    assert set(Counter(h.from_site for h in hops).values()) == {8}
    assert len(hops) == 8 * 24
    for hop in hops:
        ends = [tilted[hop.from_site].frac_coords, tilted[hop.to_site].frac_coords + hop.image]
        bound = []
        for end in ends:
            point = tilted.lattice.get_cartesian_coords(end)
            near = tilted.get_sites_in_sphere(point, 0.75 * A_LATTICE)
            bound.append({(s.index, tuple(int(x) for x in s.image)) for s in near if s.specie.symbol == "Ti"})
        assert all(len(b) == 2 for b in bound)
        assert len(bound[0] & bound[1]) == 1, "the two anions of an edge share one octahedron"


@pytest.mark.parametrize("seed", range(3))
def test_distortions_neither_add_nor_remove_edges(seed: int) -> None:
    """Long edges of a distorted octahedron are hops too: relaxed high-entropy cells have some of 3.3 angstrom."""
    cell = perovskite(compact_supercell(10))
    shift = np.random.default_rng(seed).uniform(-0.28, 0.28, size=(len(cell), 3))
    distorted = Structure(
        cell.lattice,
        cell.species,
        cell.cart_coords + shift,
        coords_are_cartesian=True,
        site_properties=cell.site_properties,
    )
    key = Counter((h.from_site, h.to_site, tuple(h.image)) for h in octahedron_edge_hops(distorted))
    assert key == Counter((h.from_site, h.to_site, tuple(h.image)) for h in octahedron_edge_hops(cell))


def test_structures_that_cannot_have_hops_are_refused() -> None:
    cell = perovskite()
    with pytest.raises(StructureError, match="no mobile F on the X sublattice"):
        octahedron_edge_hops(cell, "F")
    with pytest.raises(StructureError, match="no mobile Sr on the X sublattice"):
        octahedron_edge_hops(cell, "Sr")
    bare = cell.copy()
    bare.remove_site_property("site")
    with pytest.raises(StructureError, match="not labelled"):
        octahedron_edge_hops(bare)


def test_labels_are_copied_only_onto_the_same_atoms() -> None:
    ideal = perovskite(compact_supercell(2), ("Sr", "Ba"))
    relaxed = ideal.copy()
    relaxed.remove_site_property("site")
    assert label_sites(relaxed, ideal).site_properties["site"] == ideal.site_properties["site"]
    assert "site" not in relaxed.site_properties
    with pytest.raises(StructureError, match="differ in atoms or their order"):
        label_sites(Structure.from_sites(list(relaxed)[::-1]), ideal)


# Walks


@pytest.mark.parametrize(("n_hops", "seed"), [(1, 0), (3, 0), (6, 1), (12, 2), (14, 3)])
def test_walks_are_self_avoiding_and_connected(n_hops: int, seed: int) -> None:
    cell = perovskite(compact_supercell(5), ("La", "Y", "Sr", "Ba", "Ca"))
    walk = choose_walk(cell, n_hops=n_hops, seed=seed)
    assert len(walk.hops) == n_hops
    assert len(set(walk.vacancies)) == n_hops + 1 == len(walk.vacancy_structures)
    assert walk.vacancies == [walk.hops[0].from_site, *(h.to_site for h in walk.hops)]
    for one, two in pairwise(walk.hops):
        assert one.to_site == two.from_site
    possible = {(h.from_site, h.to_site, tuple(h.image)) for h in octahedron_edge_hops(cell)}
    assert {(h.from_site, h.to_site, tuple(h.image)) for h in walk.hops} <= possible


def test_short_walks_see_only_different_surroundings() -> None:
    cell = perovskite(compact_supercell(10), ("La", "Y", "Sr", "Ba", "Ca"))
    for seed in range(4):
        walk = choose_walk(cell, n_hops=5, seed=seed)
        assert len({h.environment for h in walk.hops}) == 5


def test_walks_are_seeded() -> None:
    cell = perovskite(compact_supercell(5), ("La", "Y", "Sr", "Ba", "Ca"))
    assert choose_walk(cell, n_hops=4, seed=5) == choose_walk(cell, n_hops=4, seed=5)
    assert len({tuple(choose_walk(cell, n_hops=4, seed=s).vacancies) for s in range(6)}) > 1


def test_a_walk_longer_than_the_cell_is_refused() -> None:
    with pytest.raises(StructureError, match=r"no walk of 3 hops.*the longest has 2"):
        choose_walk(perovskite(), n_hops=3)


def test_a_vacancy_keeps_the_order_of_the_other_atoms() -> None:
    cell = perovskite(compact_supercell(2), ("Sr", "Ba"))
    without = vacancy(cell, 7)
    assert list(without) == [*list(cell)[:7], *list(cell)[8:]]


# End points


def rattled(structure: Structure, seed: int, amplitude: float = 0.02) -> Structure:
    shift = np.random.default_rng(seed).normal(scale=amplitude, size=(len(structure), 3))
    coords = structure.cart_coords + shift
    # wrapped into the cell, as relaxations leave them
    return Structure(structure.lattice, structure.species, coords, coords_are_cartesian=True, to_unit_cell=True)


def test_end_points_of_every_hop_map_onto_each_other() -> None:
    host = perovskite(compact_supercell(5), ("La", "Y", "Sr", "Ba", "Ca"))
    hops = octahedron_edge_hops(host)
    assert any(any(h.image) for h in hops)
    for k, hop in enumerate(hops[::3]):
        before = rattled(vacancy(host, hop.from_site), 2 * k)
        after = rattled(vacancy(host, hop.to_site), 2 * k + 1)
        initial, final = end_points(host, hop, before, after)
        assert [s.specie for s in initial] == [s.specie for s in final] == [s.specie for s in before]
        np.testing.assert_allclose(initial.frac_coords, before.frac_coords)
        moved = np.linalg.norm(host.lattice.get_cartesian_coords(final.frac_coords - initial.frac_coords), axis=1)
        order = np.argsort(moved)
        assert moved[order[-1]] == pytest.approx(A_LATTICE / 2**0.5, abs=0.3)
        assert moved[order[-2]] < 0.25  # nothing else moves, nor jumps to another image
        # Modulo the lattice, the final state is the relaxed cell without to_site.
        where = final.lattice.get_all_distances(final.frac_coords, after.frac_coords)
        assert where.min(axis=1).max() < 1e-6
        assert where.min(axis=0).max() < 1e-6
        # The atom goes from to_site to from_site through the edge the hop names.
        vector = host.lattice.get_cartesian_coords(final.frac_coords - initial.frac_coords)[order[-1]]
        edge = host.lattice.get_cartesian_coords(
            host[hop.from_site].frac_coords - host[hop.to_site].frac_coords - np.array(hop.image)
        )
        assert np.linalg.norm(vector - edge) < 0.25


def test_missing_atoms_are_noticed() -> None:
    host = perovskite(compact_supercell(5), ("La", "Y", "Sr", "Ba", "Ca"))
    hop = octahedron_edge_hops(host)[0]
    before, after = vacancy(host, hop.from_site), vacancy(host, hop.to_site)
    with pytest.raises(StructureError, match="one atom less"):
        end_points(host, hop, host, after)
    with pytest.raises(StructureError, match="one atom less"):
        end_points(host, hop, before, vacancy(after, 0))
    on_A = next(n for n, s in enumerate(host.site_properties["site"]) if s == "A")
    with pytest.raises(StructureError, match="different species"):
        end_points(host, hop, before, vacancy(host, on_A))


def test_an_end_point_that_left_its_site_is_noticed() -> None:
    host = perovskite(compact_supercell(5), ("La", "Y", "Sr", "Ba", "Ca"))
    hop = octahedron_edge_hops(host)[0]
    before, after = vacancy(host, hop.from_site), vacancy(host, hop.to_site)
    mover = [n for n in range(len(host)) if n != hop.from_site].index(hop.to_site)
    halfway = (host[hop.from_site].frac_coords - host[hop.to_site].frac_coords - np.array(hop.image)) * 0.8
    before.translate_sites([mover], halfway, to_unit_cell=False)
    with pytest.raises(StructureError, match="an end point left its site"):
        end_points(host, hop, before, after)
