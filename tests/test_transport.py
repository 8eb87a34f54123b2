"""Vacancy hops, walks, end points and saddles."""

from __future__ import annotations

import itertools
from collections import Counter
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.errors import NotConvergedError, StructureError
from hemiec.structures.cells import compact_supercell
from hemiec.transport.hops import choose_walk, end_points, label_sites, octahedron_edge_hops, vacancy
from hemiec.transport.saddle import SaddleSearch, find_saddle

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


# Saddles


class CurvedDoubleWell(Calculator):
    """One atom in a curved valley with minima at x = -1 and 1 and a saddle at x = s, all exact.

    dV/dx along the valley is k (x + 1) (x - s) (x - 1) eV/angstrom; the valley is y = bend (1 - x^2).
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, k: float = 2.0, s: float = 0.2, bend: float = 0.3, stiffness: float = 8.0) -> None:
        super().__init__()
        self.k, self.s, self.bend, self.stiffness = k, s, bend, stiffness
        self.calls = 0

    def along(self, x: float) -> float:
        return self.k * (x**4 / 4 - self.s * x**3 / 3 - x**2 / 2 + self.s * x)

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        x, y, z = atoms.positions[0] - 10.0
        off = y - self.bend * (1 - x**2)
        energy = self.along(x) + self.stiffness / 2 * (off**2 + z**2)
        forces = np.zeros((len(atoms), 3))
        slope = self.k * (x + 1) * (x - self.s) * (x - 1)
        forces[0] = [-slope - self.stiffness * off * 2 * self.bend * x, -self.stiffness * off, -self.stiffness * z]
        self.results = {"energy": energy, "forces": forces}


def state(x: float, y: float = 0.0) -> Structure:
    """Return the moving atom at x, y, and a spectator far away."""
    return Structure(Lattice.cubic(20), ["O", "Sr"], [[10 + x, 10 + y, 10], [2, 2, 2]], coords_are_cartesian=True)


TIGHT = SaddleSearch(fmax=0.005, max_steps=500)


@pytest.mark.parametrize("s", [-0.3, 0.0, 0.2, 0.5])
@pytest.mark.parametrize("n_images", [3, 5])
def test_the_exact_saddle_of_a_curved_double_well(s: float, n_images: int) -> None:
    well = CurvedDoubleWell(s=s)
    path = find_saddle(state(-1), state(1), well, SaddleSearch(n_images=n_images, fmax=0.005, max_steps=500))
    forward, reverse = well.along(s) - well.along(-1), well.along(s) - well.along(1)
    assert path.forward_barrier == pytest.approx(forward, abs=2e-4)
    assert path.reverse_barrier == pytest.approx(reverse, abs=2e-4)
    assert path.forward_barrier - path.reverse_barrier == pytest.approx(well.along(1) - well.along(-1), abs=1e-4)
    top = path.images[1]
    assert top[0].coords[0] - 10 == pytest.approx(s, abs=0.02)
    assert top[0].coords[1] - 10 == pytest.approx(well.bend * (1 - s**2), abs=0.02)
    assert path.max_force <= 0.005
    assert len(path.energies) == len(path.images) == len(path.reaction_coordinate) == 3
    assert path.energies[0] == 0 == path.reaction_coordinate[0]
    # The valley is longer than the straight line.
    assert path.reaction_coordinate == sorted(path.reaction_coordinate)
    assert 2 < path.reaction_coordinate[-1] < 2.5


def test_starting_from_the_flanks_gives_the_same_minima_and_saddle() -> None:
    """End points that are not minima cost nothing: the minima are found from the saddle."""
    well = CurvedDoubleWell()
    exact = find_saddle(state(-1), state(1), well, TIGHT)
    path = find_saddle(state(-0.8, 0.3), state(1.1, -0.2), well, TIGHT)
    assert path.energies == pytest.approx(exact.energies, abs=2e-4)


def test_agrees_with_a_climbing_image_band() -> None:
    """The same saddle as ASE's climbing-image NEB with improved tangents, in a cell where that converges."""
    well = CurvedDoubleWell(s=0.3, bend=0.6)
    images = [AseAtomsAdaptor.get_atoms(state(x), msonable=False) for x in np.linspace(-1, 1, 7)]
    for image in images:
        image.calc = CurvedDoubleWell(s=0.3, bend=0.6)
    neb = NEB(images, climb=True, method="improvedtangent", k=0.5)
    assert FIRE(neb, logfile=None).run(fmax=0.005, steps=1000)
    energies = [image.get_potential_energy() for image in images]
    path = find_saddle(state(-1), state(1), well, TIGHT)
    assert path.forward_barrier == pytest.approx(max(energies) - energies[0], abs=2e-3)


def test_swapping_the_ends_swaps_the_barriers() -> None:
    there = find_saddle(state(-1), state(1), CurvedDoubleWell(), TIGHT)
    back = find_saddle(state(1), state(-1), CurvedDoubleWell(), TIGHT)
    assert there.forward_barrier == pytest.approx(back.reverse_barrier, abs=2e-4)
    assert there.reverse_barrier == pytest.approx(back.forward_barrier, abs=2e-4)


def test_force_calls_are_counted_and_not_repeated() -> None:
    well = CurvedDoubleWell()
    path = find_saddle(state(-1), state(1), well, SaddleSearch(fmax=0.01))
    assert path.n_force_calls == well.calls
    # Three images a step of the band, at most five calls a step of mode following, then two relaxations.
    assert path.n_force_calls <= 5 * (path.n_steps + 2) + 2 * 150


class Slope(CurvedDoubleWell):
    """A constant slope: no saddle anywhere."""

    def along(self, x: float) -> float:
        return 0.3 * x

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        x, y, z = atoms.positions[0] - 10.0
        self.results["energy"] = self.along(x) + 4 * (y**2 + z**2)
        self.results["forces"] = np.array([[-0.3, -8 * y, -8 * z], [0, 0, 0]])


def test_a_monotone_path_has_no_saddle() -> None:
    with pytest.raises(NotConvergedError):
        find_saddle(state(-1), state(1), Slope(), SaddleSearch(fmax=0.01))


class TripleWell(CurvedDoubleWell):
    """Minima at x = -2, 0 and 2 with a high pass on the left of 0 and a lower one on its right."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        x, y, z = atoms.positions[0] - 10.0
        curve = np.polynomial.Polynomial.fromroots([-2, -1, 0, 0.7, 2])
        self.results["energy"] = 0.2 * curve.integ()(x) + 4 * (y**2 + z**2)
        self.results["forces"] = np.array([[-0.2 * curve(x), -8 * y, -8 * z], [0, 0, 0]])


def test_the_pass_that_crosses_the_middle_is_found_behind_a_higher_one() -> None:
    """From -2 to 2.2 the higher pass, at -1, leads to the minimum at 0; the middle is crossed at 0.7."""
    well = TripleWell()
    path = find_saddle(state(-2), state(2.2), well, SaddleSearch(n_images=5, fmax=0.01))
    assert [image[0].coords[0] - 10 for image in path.images] == pytest.approx([0, 0.7, 2], abs=0.02)


def test_too_few_steps_say_so() -> None:
    with pytest.raises(NotConvergedError, match=r"stopped after 3 steps with a force of .*`max_steps`"):
        find_saddle(state(-1), state(1), CurvedDoubleWell(), SaddleSearch(fmax=1e-6, max_steps=3))


def test_end_points_with_other_atoms_are_refused() -> None:
    swapped = Structure.from_sites([state(1)[1], state(1)[0]])
    with pytest.raises(StructureError, match="different atoms or another order"):
        find_saddle(state(-1), swapped, CurvedDoubleWell())


@pytest.mark.slow
@pytest.mark.parametrize("across_boundary", [False, True])
def test_vacancy_hop_in_copper_with_emt(across_boundary: bool) -> None:
    """A symmetric hop: equal barriers, saddle half-way; and the same hop through the cell boundary."""
    crystal = bulk("Cu", cubic=True) * (2, 2, 2)
    if across_boundary:
        crystal.positions += 0.24 * crystal.cell.lengths() / 2
        crystal.wrap()
    a = crystal.cell.lengths()[0] / 2
    start = int(np.argmin(np.linalg.norm(crystal.positions, axis=1)))
    near = crystal.get_distances(start, range(len(crystal)), mic=True)
    partner = int(np.flatnonzero(np.abs(near - a / 2**0.5) < 1e-3)[-1])
    vector = crystal.get_distance(start, partner, mic=True, vector=True)
    relaxed = []
    for gone in (start, partner):
        atoms = crystal.copy()
        del atoms[gone]
        atoms.calc = EMT()
        assert BFGS(atoms, logfile=None).run(fmax=0.005, steps=100)
        relaxed.append(atoms)
    energies = [atoms.get_potential_energy() for atoms in relaxed]
    assert energies[0] == pytest.approx(energies[1], abs=1e-3)
    # In the second cell the atom at `start` is the one that filled the first cell's vacancy.
    before = [n for n in range(len(crystal)) if n != start]
    after = {n: k for k, n in enumerate(n for n in range(len(crystal)) if n != partner)}
    final = relaxed[0].copy()
    for k, n in enumerate(before):
        target = relaxed[1].positions[after[start if n == partner else n]]
        ideal = -vector if n == partner else np.zeros(3)
        shift = np.linalg.solve(crystal.cell.T, target - relaxed[0].positions[k] - ideal)
        final.positions[k] += crystal.cell.T @ (shift - np.round(shift)) + ideal
    path = find_saddle(
        AseAtomsAdaptor.get_structure(relaxed[0]),
        AseAtomsAdaptor.get_structure(final),
        EMT(),
        SaddleSearch(fmax=0.02),
    )
    assert path.forward_barrier == pytest.approx(path.reverse_barrier, abs=2e-3)
    assert path.forward_barrier - path.reverse_barrier == pytest.approx(energies[1] - energies[0], abs=1e-3)
    assert path.reaction_coordinate[1] == pytest.approx(path.reaction_coordinate[2] / 2, abs=0.05)
    # EMT in a cell of 32 sites; experiment 0.7 eV (Ehrhart, Landolt-Boernstein III/25)
    assert 0.4 < path.forward_barrier < 0.9
