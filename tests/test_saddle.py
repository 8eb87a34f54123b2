"""Minima and saddles between them, found with few calls; the nudged elastic band they are compared with."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from pymatgen.core import Lattice, Structure

from hemiec.errors import EngineError, NotConvergedError, StructureError
from hemiec.transport.saddles.forces import ForceCalls
from hemiec.transport.saddles.nudged_band import climbing_image_band
from hemiec.transport.saddles.path import structure_of, unwrapped
from hemiec.transport.saddles.quasi_newton import climb, minimise, spring_hessian
from hemiec.transport.saddles.saddle import FROM_BAND, QUICK, SaddleSearch, find_saddle, half_way


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
    well = CurvedDoubleWell(s=0.3, bend=0.6)
    band = climbing_image_band(state(-1), state(1), well, fmax=0.005, max_steps=1000)
    path = find_saddle(state(-1), state(1), CurvedDoubleWell(s=0.3, bend=0.6), TIGHT)
    assert path.method == QUICK
    assert path.forward_barrier == pytest.approx(band.forward_barrier, abs=2e-3)
    assert path.reverse_barrier == pytest.approx(band.reverse_barrier, abs=2e-3)
    assert band.n_force_calls == well.calls
    assert path.n_force_calls < band.n_force_calls / 5


def test_swapping_the_ends_swaps_the_barriers() -> None:
    there = find_saddle(state(-1), state(1), CurvedDoubleWell(), TIGHT)
    back = find_saddle(state(1), state(-1), CurvedDoubleWell(), TIGHT)
    assert there.forward_barrier == pytest.approx(back.reverse_barrier, abs=2e-4)
    assert there.reverse_barrier == pytest.approx(back.forward_barrier, abs=2e-4)


def test_force_calls_and_their_time_are_counted() -> None:
    well = CurvedDoubleWell()
    path = find_saddle(state(-1), state(1), well, SaddleSearch(fmax=0.01))
    assert path.n_force_calls == well.calls < 40
    assert 0 < path.seconds_in_calls < path.elapsed_s
    known = CurvedDoubleWell()
    energies = known.along(-1), known.along(1)
    again = find_saddle(state(-1), state(1), known, SaddleSearch(fmax=0.01), relaxed=energies)
    assert again.n_force_calls == known.calls == path.n_force_calls - 2
    assert again.energies == pytest.approx(path.energies, abs=1e-6)


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
    """Minima at x = -2, -0.3 and 2 of energy 0, 0.1 and 0 eV; the left one of the two passes is the higher."""

    WELLS: ClassVar[list[float]] = [-2.0, -0.3, 2.0]

    def along(self, x: float) -> float:
        left, middle, right = self.WELLS
        if not left < x < right:
            return 2.0 * min((x - left) ** 2, (x - right) ** 2)
        width, up, barrier = (middle - left, x - left, 0.5) if x < middle else (right - middle, right - x, 0.3)
        share = np.pi * up / width
        return 0.05 * (1 - np.cos(share)) + barrier / 2 * (1 - np.cos(2 * share))

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        x, y, z = atoms.positions[0] - 10.0
        slope = (self.along(x + 1e-5) - self.along(x - 1e-5)) / 2e-5
        self.results["energy"] = self.along(x) + 4 * (y**2 + z**2)
        self.results["forces"] = np.array([[-slope, -8 * y, -8 * z], [0, 0, 0]])


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_passes_the_higher_one_counts(turned: bool) -> None:
    """The minimum between them lies before the middle, above the end points."""
    well = TripleWell()
    grid = np.linspace(-2, 2, 40001)
    top = grid[np.argmax([well.along(x) for x in grid])]
    ends = (2, -2) if turned else (-2, 2)
    path = find_saddle(state(ends[0]), state(ends[1]), well, SaddleSearch(n_images=5, fmax=0.01))
    assert path.method == FROM_BAND
    assert path.attempts == ["OSr: the saddle found leads to a minimum within the hop."]
    assert [image[0].coords[0] - 10 for image in path.images] == pytest.approx([ends[0], top, ends[1]], abs=0.02)
    assert path.forward_barrier == pytest.approx(well.along(top), abs=1e-3)


def test_too_few_steps_say_which_searches_ended_how() -> None:
    few = SaddleSearch(fmax=1e-6, quick_calls=3, max_steps=3, climbing_max_steps=2)
    with pytest.raises(NotConvergedError, match="stopped after 3 calls") as told:
        find_saddle(state(-1), state(1), CurvedDoubleWell(), few)
    for words in (
        "minimum-mode following stopped after 3 steps",
        "band stopped after 2 steps",
        "Mend: raise the limits",
    ):
        assert words in str(told.value)


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
        structure_of(relaxed[0], relaxed[0].positions),
        structure_of(final, final.positions),
        EMT(),
        SaddleSearch(fmax=0.02),
    )
    assert path.forward_barrier == pytest.approx(path.reverse_barrier, abs=2e-3)
    assert path.forward_barrier - path.reverse_barrier == pytest.approx(energies[1] - energies[0], abs=1e-3)
    assert path.reaction_coordinate[1] == pytest.approx(path.reaction_coordinate[2] / 2, abs=0.05)
    # EMT in a cell of 32 sites; experiment 0.7 eV (Ehrhart, Landolt-Boernstein III/25)
    assert 0.4 < path.forward_barrier < 0.9


# Quasi-Newton


def copper_with_vacancy() -> Any:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    del atoms[0]
    return atoms


def test_the_starting_hessian_is_symmetric_and_stiff_against_stretching() -> None:
    atoms = copper_with_vacancy()
    hessian = spring_hessian(atoms)
    np.testing.assert_allclose(hessian, hessian.T)
    values, vectors = np.linalg.eigh(hessian)
    assert values[0] > 0.5
    # Moving all atoms together is left out of steps; breathing of the lattice is among the stiff modes.
    rigid = np.tile([1.0, 0, 0], len(atoms)) / np.sqrt(len(atoms))
    assert rigid @ hessian @ rigid > 100
    softest = vectors[:, 0].reshape(-1, 3)
    assert abs(softest.sum(axis=0)).max() < 1e-6
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(np.linalg.eigvalsh(spring_hessian(turned)), values, atol=1e-6)


def test_a_vacancy_relaxes_in_few_calls_to_the_same_energy() -> None:
    atoms = copper_with_vacancy()
    atoms.calc = EMT()
    slow = BFGS(atoms.copy(), logfile=None)
    slow.atoms.calc = EMT()
    assert slow.run(fmax=0.01, steps=200)
    calls = ForceCalls(EMT())

    def evaluate(x: Any) -> Any:
        energy, forces = calls(atoms, x)
        return energy, -forces.ravel()

    found = minimise(
        evaluate, atoms.positions.ravel(), spring_hessian(atoms), fmax=0.01, energy_tolerance=5e-4, max_calls=50
    )
    assert found.converged
    assert found.energy == pytest.approx(slow.atoms.get_potential_energy(), abs=2e-3)
    assert calls.calls <= slow.nsteps + 1
    assert 0 <= found.remaining < 5e-4


def hilltop(x: Any) -> tuple[float, Any]:
    """Return a surface with a second-order saddle at 0 and first-order ones at y = +-1 on either side, 1 eV lower."""
    along, across, rest = x[0], x[1], x[2:]
    energy = -(along**2) + across**4 - 2 * across**2 + 2.0 * (rest**2).sum()
    return energy, np.concatenate([[-2 * along, 4 * across**3 - 4 * across], 4.0 * rest])


def test_a_saddle_of_higher_order_is_left_for_the_pass_below() -> None:
    start = np.array([0.15, 0.0, 0.0, 0.1, 0.0, -0.1])
    found = climb(
        hilltop, start, np.eye(6)[0], np.diag([3.0, 1, 3, 3, 3, 3]), fmax=0.01, energy_tolerance=1e-3, max_calls=60
    )
    assert found.converged
    assert found.energy == pytest.approx(-1.0, abs=2e-3)
    assert abs(found.positions[1]) == pytest.approx(1.0, abs=0.02)
    assert found.curvature == pytest.approx(-2.0, abs=0.1)


def test_half_way_the_hopping_atom_keeps_its_distances() -> None:
    """Round a neighbour at the corner of its way the atom stays on the arc, not on the chord."""
    cell = Lattice.cubic(30)
    first = Structure(cell, ["O", "Ti"], [[17, 15, 15], [15, 15, 15]], coords_are_cartesian=True)
    last = Structure(cell, ["O", "Ti"], [[15, 17, 15], [15, 15, 15]], coords_are_cartesian=True)
    middle = half_way(unwrapped(first), unwrapped(first).positions, unwrapped(last).positions, 0)
    np.testing.assert_allclose(middle[1], [15, 15, 15])
    np.testing.assert_allclose(middle[0] - middle[1], [2**0.5, 2**0.5, 0], atol=1e-4)


def test_forces_that_are_not_finite_stop_the_search() -> None:
    class Broken(CurvedDoubleWell):
        def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
            super().calculate(atoms, properties, system_changes)
            self.results["energy"] = float("nan")

    with pytest.raises(EngineError, match="not finite"):
        find_saddle(state(-1), state(1), Broken())
