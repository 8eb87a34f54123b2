"""Band edges, densities of states and meshes from eigenvalues: limits, symmetries and sums."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from hemiec.engines.electronic import (
    BandEdges,
    band_center,
    band_edges,
    dos_at_fermi_level,
    folded_points,
    kpoint_mesh,
)
from hemiec.engines.protocol import load_dft
from hemiec.errors import EngineError


def srtio3(a: float = 3.905) -> Structure:
    sites = [(0.5, 0.5, 0.5), (0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]
    return Structure(Lattice.cubic(a), ["Sr", "Ti", "O", "O", "O"], sites)


def spins(*channels: list[list[float]]) -> np.ndarray:
    return np.array(channels, dtype=float)


# Band edges


def test_an_insulator_has_its_edges_at_different_kpoints() -> None:
    # shape (1 spin, 2 k-points, 3 bands); the top is at the first, the bottom at the second k-point
    edges = band_edges(spins([[-3, -1.0, 2.0], [-3, -1.5, 1.0]]), 0.0)
    assert edges == BandEdges(-1.0, 1.0, 2.5, (2,))
    assert edges.gap == 2.0
    assert edges.gap <= edges.direct_gap


def test_a_metal_has_no_edges() -> None:
    assert band_edges(spins([[-1, 0.5], [-1, -0.5]]), 0.0) is None  # the second band crosses
    assert band_edges(spins([[-1, 1], [-1, 1]], [[-1, 0.5], [-1, -0.5]]), 0.0) is None  # in one spin: half-metal


def test_a_gap_may_lie_between_spins() -> None:
    up, down = [[-2.0, -1.0, 3.0]], [[-2.0, 0.5, 4.0]]
    edges = band_edges(spins(up, down), 0.0)
    assert edges is not None
    assert edges.n_occupied == (2, 1)  # one Bohr magneton
    assert edges.gap == pytest.approx(0.5 - -1.0)
    assert band_edges(spins(down, up), 0.0).gap == edges.gap  # type: ignore[union-attr]


def test_an_empty_spin_channel_has_no_valence_band() -> None:
    edges = band_edges(spins([[-1.0, 2.0]], [[0.5, 3.0]]), 0.0)
    assert edges == BandEdges(-1.0, 0.5, 1.5, (1, 0))


def test_without_an_empty_band_nothing_is_claimed() -> None:
    with pytest.raises(EngineError, match="no empty band"):
        band_edges(spins([[-2.0, -1.0]]), 0.0)


def test_a_known_filling_replaces_the_fermi_level() -> None:
    values = spins([[-1.0, 2.0], [-0.5, 1.0]])
    assert band_edges(values, 99.0, [1]) == BandEdges(-0.5, 1.0, 1.5, (1,))
    assert band_edges(spins([[-1.0, 2.0], [3.0, 4.0]]), 99.0, [1]) is None  # bands overlap: a metal


def test_shifting_all_eigenvalues_shifts_the_edges_alone() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(2, 4, 6)), axis=2)
    values[..., 3:] += 5
    edges, shifted = band_edges(values, 2.5), band_edges(values + 7, 9.5)
    assert edges is not None
    assert shifted is not None
    assert shifted.valence_maximum == pytest.approx(edges.valence_maximum + 7)
    assert (shifted.gap, shifted.direct_gap) == pytest.approx((edges.gap, edges.direct_gap))


def test_merging_kpoint_sets_equals_their_union() -> None:
    values = np.sort(np.random.default_rng(1).normal(size=(2, 6, 4)), axis=2)
    values[..., 2:] += 6
    whole = band_edges(values, 3.0)
    one, two = band_edges(values[:, :2], 3.0), band_edges(values[:, 2:], 3.0)
    assert one is not None
    assert two is not None
    assert one.merge(two) == two.merge(one) == whole


def test_a_gap_on_each_mesh_that_closes_over_both_is_a_metal() -> None:
    here, there = BandEdges(0.0, 1.0, 1.0, (1,)), BandEdges(1.5, 2.5, 1.0, (1,))
    assert here.merge(there) is None
    assert here.merge(here) == here


def test_gaps_within_the_smearing_are_not_resolved() -> None:
    edges = BandEdges(0.0, 0.4, 0.5, (1,))
    assert edges.resolved(0.05) == edges
    assert edges.resolved(0.1) is None


# Densities of states


def test_a_flat_band_at_the_fermi_level_has_the_height_of_the_derivative() -> None:
    width = 0.1
    one_spin = dos_at_fermi_level(np.zeros((1, 1, 1)), np.ones(1), 0.0, width)
    assert one_spin == pytest.approx(2 / (4 * width))  # -df/dE at the level is 1/(4 kT); two electrons
    assert dos_at_fermi_level(np.zeros((2, 1, 1)), np.ones(1), 0.0, width) == pytest.approx(one_spin)


def test_the_density_of_states_of_a_wide_band_is_one_over_its_width() -> None:
    energies = np.linspace(-5, 5, 20001)  # as many k-points of one band: 2 electrons over 10 eV
    weights = np.full(len(energies), 1 / len(energies))
    assert dos_at_fermi_level(energies[None, :, None], weights, 0.3, 0.05) == pytest.approx(0.2, rel=1e-3)


def test_far_bands_give_no_density_and_no_overflow() -> None:
    assert dos_at_fermi_level(np.array([[[-500.0, 500.0]]]), np.ones(1), 0.0, 0.01) < 1e-100


def test_the_band_center_is_the_weighted_mean_below_the_fermi_level() -> None:
    values = np.array([[[-4.0, 2.0], [-2.0, 2.0]]])
    projections = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    weights = np.array([0.25, 0.75])
    center = band_center(values, weights, projections, 1.0)
    assert center == pytest.approx(-4 * 0.25 - 2 * 0.75 - 1)
    assert band_center(values + 3, weights, 5 * projections, 4.0) == pytest.approx(center)
    assert band_center(values, weights, 0 * projections, 1.0) is None


# Meshes


@pytest.mark.parametrize(
    ("spacing", "mesh"), [(0.41, (4, 4, 4)), (0.66, (3, 3, 3)), (2.0, (1, 1, 1)), (2 * np.pi / 3.905 / 2, (2, 2, 2))]
)
def test_meshes_of_strontium_titanate(spacing: float, mesh: tuple[int, int, int]) -> None:
    assert kpoint_mesh(srtio3(), spacing) == mesh


def test_the_protocols_give_the_meshes_they_promise() -> None:
    assert kpoint_mesh(srtio3(), load_dft("gpaw-standard").kpoint_spacing_per_A) == (4, 4, 4)
    long = srtio3().make_supercell([1, 1, 4], in_place=False)
    assert kpoint_mesh(long, 0.41) == (4, 4, 1)
    assert kpoint_mesh(long, 0.40) == (5, 5, 2)


def test_special_points_fold_into_the_supercell() -> None:
    corner = [[0, 0, 0], [0.5, 0.5, 0.5]]
    assert folded_points(corner, None).tolist() == corner
    assert folded_points(corner, [[2, 0, 0], [0, 2, 0], [0, 0, 2]]).tolist() == [[0, 0, 0]]
    assert folded_points(corner, [[1, 0, 0], [0, 1, 0], [0, 0, 2]]).tolist() == [[0, 0, 0], [0.5, 0.5, 0]]
