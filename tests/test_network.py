"""Hop networks: which sites and hops there are, whatever the cell, and how they lie in a relaxed one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from crystals import A_LATTICE, perovskite, rattled
from pymatgen.core import Lattice, Structure

from hemiec.composition.block import ChargeRule
from hemiec.composition.candidate import make_candidate
from hemiec.errors import StructureError
from hemiec.schemas.campaign import SqsSettings
from hemiec.structures.cells import compact_supercell
from hemiec.structures.sqs import make_sqs, vacant_sites
from hemiec.transport.hops import (
    cutoff_network,
    hop_environments,
    label_sites,
    perovskite_network,
    require_computable,
)
from hemiec.transport.network import HopNetwork, undirected

FIVE = ("La", "Y", "Sr", "Ba", "Ca")
CELLS = [np.eye(3), 2 * np.eye(3), *(np.array(compact_supercell(n)) for n in (2, 5, 10))]


def neighbours_of(network: HopNetwork) -> Counter[int]:
    return Counter([*network.start.tolist(), *network.end.tolist()])


def keys(network: HopNetwork) -> Counter[tuple[int, ...]]:
    """Hops by the indices of the host's ions."""
    index = network.atom_index
    assert index is not None
    hops = zip(network.start, network.end, network.image, strict=True)
    return Counter((int(index[i]), int(index[j]), *(int(x) for x in image)) for i, j, image in hops)


# Networks of perovskites


@pytest.mark.parametrize("rows", CELLS)
def test_every_anion_has_eight_octahedron_edges(rows: Any) -> None:
    cell = perovskite(rows)
    network = perovskite_network(cell)
    assert network.n_sites == cell.site_properties["site"].count("X")
    assert network.n_hops == 4 * network.n_sites  # each of the eight belongs to two anions
    assert set(neighbours_of(network).values()) == {8}
    assert set(hop_environments(cell, network)) == {"Sr-Sr | Ti"}
    np.testing.assert_allclose(np.linalg.norm(network.displacements, axis=1), A_LATTICE / 2**0.5)
    # The hops of a cubic crystal have no direction: sum of d d^T is isotropic.
    np.testing.assert_allclose(
        network.displacements.T @ network.displacements, np.eye(3) * network.n_hops * A_LATTICE**2 / 6, atol=1e-9
    )


@pytest.mark.parametrize("rows", CELLS)
def test_every_A_site_has_six_windows(rows: Any) -> None:
    cell = perovskite(rows)
    network = perovskite_network(cell, "Sr")
    assert network.n_hops == 3 * network.n_sites
    np.testing.assert_allclose(np.linalg.norm(network.displacements, axis=1), A_LATTICE)
    assert set(hop_environments(cell, network)) == {"Ti-Ti-Ti-Ti"}


def test_every_hop_stands_once() -> None:
    network = perovskite_network(perovskite(compact_supercell(5), FIVE))
    forward = keys(network)
    backward = {(j, i, -x, -y, -z) for i, j, x, y, z in forward}
    assert set(forward.values()) == {1}
    assert not backward & set(forward)


def test_hops_do_not_depend_on_the_origin() -> None:
    cell = perovskite(compact_supercell(5), FIVE)
    moved = cell.copy().translate_sites(range(len(cell)), [0.37, 0.11, -0.43], to_unit_cell=True)
    one, two = perovskite_network(cell), perovskite_network(moved)
    assert Counter(zip(one.start, one.end, hop_environments(cell, one), strict=True)) == Counter(
        zip(two.start, two.end, hop_environments(moved, two), strict=True)
    )


def test_the_environment_is_the_triangle_the_anion_passes() -> None:
    """Around each hop the two A cations share the cube face edge, counted by hand on a layered cell."""
    cell = perovskite(np.diag([1, 1, 2]), ("Sr", "Ba"))
    found = Counter(hop_environments(cell, perovskite_network(cell)))
    # In-plane edges of a TiO2 layer lie between a Sr and a Ba layer: 2 layers x 2 anions x 4 edges. An edge from the
    # layer to an apical anion passes two A cations of the layer that the apical anion is in. Each edge counts once.
    assert found == {"Ba-Sr | Ti": 8, "Ba-Ba | Ti": 8, "Sr-Sr | Ti": 8}


def tilted_in_phase(angle: float) -> Structure:
    """Return a 2x2x2 cell of octahedra turned by a0a0c+ through an angle in degrees."""
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
    return Structure(
        cell.lattice, cell.species, coords * A_LATTICE, coords_are_cartesian=True, site_properties=cell.site_properties
    )


@pytest.mark.parametrize("angle", [0, 5, 9, 12, 15])
def test_tilted_octahedra_have_the_same_edges_and_no_others(angle: float) -> None:
    """In-phase tilts bring anions of different octahedra as near as those of one edge."""
    cell = tilted_in_phase(angle)
    assert keys(perovskite_network(cell)) == keys(perovskite_network(tilted_in_phase(0)))


@pytest.mark.parametrize("seed", range(3))
def test_distortions_neither_add_nor_remove_edges(seed: int) -> None:
    """Long edges of a distorted octahedron are hops too: relaxed high-entropy cells have some of 3.3 angstrom."""
    cell = perovskite(compact_supercell(10))
    shift = np.random.default_rng(seed).uniform(-0.28, 0.28, size=(len(cell), 3))
    distorted = label_sites(
        Structure(cell.lattice, cell.species, cell.cart_coords + shift, coords_are_cartesian=True), cell
    )
    assert keys(perovskite_network(distorted)) == keys(perovskite_network(cell))


def test_ions_far_off_the_centre_of_their_site_keep_their_windows() -> None:
    """Li sits near a window of its cage; distances alone would give it one neighbour more on one side."""
    ideal = perovskite(compact_supercell(5), ("Li", "La"))
    host = ideal.copy()
    for n, site in enumerate(host):
        if site.specie.symbol == "Li":
            host.translate_sites([n], [0, 0, 0.45 * A_LATTICE], frac_coords=False, to_unit_cell=True)
    with pytest.raises(StructureError, match=r"expected 6 in a perovskite.*give the ideal cell"):
        perovskite_network(host, "Li")
    moved = perovskite_network(host, "Li", ideal=ideal)
    assert keys(moved) == keys(perovskite_network(ideal, "Li"))
    # All of them moved alike, so the ways between them are the ideal ones.
    np.testing.assert_allclose(np.linalg.norm(moved.displacements, axis=1), A_LATTICE)


def test_relaxed_positions_are_those_nearest_to_the_ideal_ones() -> None:
    ideal = perovskite(compact_supercell(5), FIVE)
    host = label_sites(rattled(ideal, seed=4, amplitude=0.1), ideal)  # wrapped into the cell
    network = perovskite_network(host, ideal=ideal)
    assert keys(network) == keys(perovskite_network(ideal))
    lengths = np.linalg.norm(network.displacements, axis=1)
    assert lengths.max() < A_LATTICE / 2**0.5 + 0.8
    assert lengths.std() > 0.02
    # The way round any closed loop is a lattice vector: the sum of all of a site's image hops tells.
    np.testing.assert_allclose(
        network.displacements @ np.linalg.inv(network.lattice),
        network.frac_coords[network.end] - network.frac_coords[network.start] + network.image,
        atol=1e-12,
    )


# Vacant sites


@pytest.mark.parametrize(
    ("sites", "mobile", "sublattice", "n_neighbours"),
    [
        ({"A": {"Li": "1/4", "La": "1/2", "vacancy": "1/4"}, "B": {"Ti": 1}}, "Li", "A", None),
        ({"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": 1}, "X": {"O": "11/12", "vacancy": "1/12"}}, "O", "X", 8),
    ],
)
def test_vacant_sites_are_part_of_the_network(
    sites: Any, mobile: str, sublattice: str, n_neighbours: int | None
) -> None:
    states = {"Li": (1,), "La": (3,), "Sr": (2,), "Ti": (4,), "Co": (2, 3, 4), "O": (-2,)}
    candidate = make_candidate(sites, states, rule=ChargeRule(unbalanced="keep"))
    doc = make_sqs(candidate, SqsSettings(max_atoms=60)).members[0]
    ideal, vacant = Structure.from_dict(doc.ideal_structure), vacant_sites(doc)
    host = label_sites(Structure.from_dict(doc.structure), ideal)
    assert set(vacant) == {sublattice}
    assert len(vacant[sublattice]) == doc.sublattices[sublattice].amounts["vacancy"] == 3
    network = perovskite_network(host, mobile, ideal=ideal, vacant=vacant[sublattice])
    assert network.atom_index is not None
    assert sorted(network.atom_index)[:3] == [-1, -1, -1]
    assert network.n_sites == doc.sublattices[sublattice].amounts[mobile] + 3
    if n_neighbours is not None:
        assert set(neighbours_of(network).values()) == {n_neighbours}
    into_vacancy = next(h for h in range(network.n_hops) if network.atom_index[network.end[h]] < 0)
    with pytest.raises(StructureError, match="no ion in the host"):
        require_computable(network, into_vacancy)
    with pytest.raises(StructureError, match="neighbours to hop to"):
        perovskite_network(host, "O" if mobile == "O" else "La", ideal=ideal)  # its vacant sites left out


# Other networks


def test_a_cutoff_makes_the_network_of_any_crystal() -> None:
    """Copper: twelve neighbours at a/sqrt(2), six more at a."""
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
    near = cutoff_network(copper, "Cu", 2.6)
    assert near.n_hops == 6 * 4
    assert cutoff_network(copper, "Cu", 3.7).n_hops == 9 * 4
    with pytest.raises(StructureError, match=r"within 1 angstrom.*raise the cutoff"):
        cutoff_network(copper, "Cu", 1)
    with pytest.raises(StructureError, match="no mobile Ag"):
        cutoff_network(copper, "Ag", 3)
    with pytest.raises(StructureError, match="above 0"):
        cutoff_network(copper, "Cu", -1)


def test_both_directions_of_a_hop_are_one() -> None:
    start, end, image = (
        np.array([0, 1, 2, 2, 0]),
        np.array([1, 0, 2, 2, 1]),
        np.array([[1, 0, 0], [-1, 0, 0], [0, -1, 2], [0, 1, -2], [0, 0, 0]]),
    )
    hops = [x.tolist() for x in undirected(start, end, image)]
    assert hops == [[0, 0, 2], [1, 1, 2], [[0, 0, 0], [1, 0, 0], [0, 1, -2]]]


def test_a_part_of_a_network_keeps_its_hops() -> None:
    network = perovskite_network(perovskite(2 * np.eye(3)))
    some = np.array([7, 3, 12, 0])
    part = network.restricted_to(some)
    assert network.atom_index is not None
    assert part.atom_index is not None
    assert part.atom_index.tolist() == network.atom_index[some].tolist()
    inside = set(network.atom_index[some].tolist())
    undirected_keys = {frozenset({k[:2], k[:2][::-1]}) for k in keys(network) if set(k[:2]) <= inside}
    assert {frozenset({k[:2], k[:2][::-1]}) for k in keys(part)} == undirected_keys
    lengths = sorted(np.linalg.norm(part.displacements, axis=1))
    np.testing.assert_allclose(lengths, A_LATTICE / 2**0.5)


def test_arrays_that_do_not_fit_are_refused() -> None:
    good = perovskite_network(perovskite())
    with pytest.raises(StructureError, match="arrays of other lengths"):
        HopNetwork(good.lattice, good.frac_coords, good.start[:-1], good.end, good.image)
    with pytest.raises(StructureError, match="outside 0 to 2"):
        HopNetwork(good.lattice, good.frac_coords, good.start, good.end + 3, good.image)


def test_structures_that_cannot_have_hops_are_refused() -> None:
    cell = perovskite()
    with pytest.raises(StructureError, match="no mobile F in the cell"):
        perovskite_network(cell, "F")
    with pytest.raises(StructureError, match=r"Ti is on B; a mobile species sits on X, or on A"):
        perovskite_network(cell, "Ti")
    bare = cell.copy()
    bare.remove_site_property("site")
    with pytest.raises(StructureError, match="not labelled"):
        perovskite_network(bare)
    own_image = perovskite_network(cell)
    assert not own_image.onto_own_image.any()
    along_c = perovskite_network(cell, "Sr")
    assert along_c.onto_own_image.all()
    with pytest.raises(StructureError, match=r"own periodic image.*larger cell"):
        require_computable(along_c, 0)


def test_labels_are_copied_only_onto_the_same_atoms() -> None:
    ideal = perovskite(compact_supercell(2), ("Sr", "Ba"))
    relaxed = ideal.copy()
    relaxed.remove_site_property("site")
    assert label_sites(relaxed, ideal).site_properties["site"] == ideal.site_properties["site"]
    assert "site" not in relaxed.site_properties
    with pytest.raises(StructureError, match="differ in atoms or their order"):
        label_sites(Structure.from_sites(list(relaxed)[::-1]), ideal)
