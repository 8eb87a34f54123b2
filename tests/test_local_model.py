"""Surroundings as numbers, and what is learned from them: symmetries, limits, honest intervals."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from hemiec.errors import InputError, StructureError
from hemiec.transport.hops import perovskite_network
from hemiec.transport.learning.environments import Environments, Features, bottleneck_radius, describe
from hemiec.transport.learning.local_model import Prior, fit_local_model
from hemiec.transport.network import HopNetwork, undirected

A_LATTICE = 3.9
IDEAL = [("Sr", (0.5, 0.5, 0.5)), ("Ti", (0, 0, 0)), ("O", (0.5, 0, 0)), ("O", (0, 0.5, 0)), ("O", (0, 0, 0.5))]


def perovskite(rows: object, on_A: tuple[str, ...], on_B: tuple[str, ...] = ("Ti",), rattle: float = 0.0) -> Structure:
    cell = Structure(
        Lattice.cubic(A_LATTICE), [s for s, _ in IDEAL], [x for _, x in IDEAL], site_properties={"site": list("ABXXX")}
    )
    cell = cell.make_supercell(np.array(rows), in_place=False)
    names = {"A": itertools.cycle(on_A), "B": itertools.cycle(on_B)}
    for n, label in enumerate(cell.site_properties["site"]):
        if label in names:
            cell.replace(n, next(names[label]), properties={"site": label})
    shift = rattle * np.random.default_rng(5).standard_normal((len(cell), 3))
    for n in range(len(cell)):
        cell.translate_sites([n], shift[n], frac_coords=False, to_unit_cell=False)
    return cell


def table(features: Features) -> np.ndarray:
    return np.hstack([features.groups[g] for g in sorted(features.groups)])


def sorted_rows(x: np.ndarray) -> np.ndarray:
    x = np.round(x, 6) + 0.0
    return x[np.lexsort(x.T)]


FIVE = ("La", "Y", "Sr", "Ba", "Ca")
TWO_BY_TWO = 2 * np.eye(3)


# Features


def test_counts_of_an_ideal_cell_are_those_of_its_shells() -> None:
    host = perovskite(TWO_BY_TWO, ("La", "Sr"), ("Fe", "Co"))
    env = describe(host, perovskite_network(host))
    # On A an oxygen site has 4 and then 8 neighbours, a hop 2 and then 4; on B 2 and 8, and 1 and 2.
    assert env.sites.names["near"] == ("La near on A", "Sr near on A", "Co near on B", "Fe near on B")
    for features, shells in ((env.sites, {"near": (4, 2), "far": (8, 8)}), (env.hops, {"near": (2, 1), "far": (4, 2)})):
        for group, (on_A, on_B) in shells.items():
            counts = features.groups[group]
            scale = np.diff(np.unique(np.round(counts[:, 0], 9))).min()
            for columns, most in ((counts[:, :2], on_A), (counts[:, 2:], on_B)):
                steps = np.round(np.ptp(columns, axis=0) / scale, 6)
                assert np.all(steps <= most)
                assert np.allclose(steps % 1, 0)
                assert np.allclose(columns.sum(axis=1), 0), "what one species has more the other has less"


def test_features_do_not_depend_on_orientation_origin_or_order() -> None:
    host = perovskite(TWO_BY_TWO, FIVE, rattle=0.08)
    network, shift = perovskite_network(host), np.array([0.3, -0.2, 0.7])
    first = describe(host, network)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    order = np.random.default_rng(2).permutation(len(host))
    turned = Structure(
        Lattice(host.lattice.matrix @ rotation),
        [host[int(n)].specie for n in order],
        host.frac_coords[order] + shift,
        site_properties={"site": [host.site_properties["site"][n] for n in order]},
    )
    moved = replace(
        network,
        lattice=turned.lattice.matrix,
        frac_coords=network.frac_coords + shift,
        atom_index=np.argsort(order)[network.atom_index],
    )
    second = describe(turned, moved)
    for one, two in ((first.sites, second.sites), (first.hops, second.hops)):
        assert one.names == two.names
        assert np.allclose(table(one), table(two), atol=1e-5)


def test_features_do_not_depend_on_the_direction_of_a_hop_or_the_supercell() -> None:
    host = perovskite(TWO_BY_TWO, FIVE, rattle=0.08)
    network = perovskite_network(host)
    turned = replace(network, start=network.end, end=network.start, image=-network.image)
    assert np.allclose(table(describe(host, network).hops), table(describe(host, turned).hops), atol=1e-6)
    double = host.copy().make_supercell([[1, 1, 0], [-1, 1, 0], [0, 0, 1]], in_place=False)
    single = sorted_rows(table(describe(host, network).hops))
    assert np.allclose(sorted_rows(table(describe(double, perovskite_network(double)).hops))[::2], single, atol=1e-5)


def test_features_change_smoothly_with_the_geometry() -> None:
    one = perovskite(TWO_BY_TWO, FIVE, rattle=0.08)
    network = perovskite_network(one)
    two = one.copy()
    two.translate_sites(range(0, len(two), 3), [1e-4, -1e-4, 1e-4], frac_coords=False, to_unit_cell=False)
    moved = replace(network, frac_coords=two.frac_coords[network.atom_index])
    change = table(describe(two, moved).hops) - table(describe(one, network).hops)
    assert 0 < np.abs(change).max() < 0.02


def test_what_a_relaxation_leaves_is_no_feature() -> None:
    """Sites of SrTiO3 that differ by 0.0005 angstrom are alike; a distortion by 0.05 angstrom counts in full."""
    for rattle, least, most in ((5e-4, 0.0, 0.05), (0.05, 0.7, 1.01)):
        host = perovskite(TWO_BY_TWO, ("Sr",), rattle=rattle)
        local = describe(host, perovskite_network(host)).sites.groups["local"]
        assert least <= np.sqrt((local**2).sum(axis=1).mean()) <= most


def test_a_vacancy_is_a_species() -> None:
    """Li through the A sites of a cell with La, Li and empty sites: 6 neighbours on A, La and vacancies among them."""
    ideal = perovskite(TWO_BY_TWO, ("La", "Li", "La", "La", "Li", "Li", "La", "Li"))
    lithium = [n for n, site in enumerate(ideal) if site.specie.symbol == "Li"]
    host = ideal.copy()
    host.remove_sites(lithium[:1])
    network = perovskite_network(host, "Li", vacant=ideal.frac_coords[lithium[:1]])
    environments = describe(host, network)
    assert environments.sites.n_centres == 4
    assert set(environments.sites.names["near"]) == {"La near on A", "Li near on A", "vacancy near on A"}
    assert set(environments.hops.names["local"]) == {"A charge", "A radius"}, "all else is alike in the ideal cell"


def test_bottleneck_is_kilner_and_brooks_critical_radius() -> None:
    """doi:10.1016/0167-2738(82)90045-5, equation for the cubic cell."""
    a, r_A, r_B = 3.905, 1.44, 0.605
    vectors = np.array([[0.25, 0.25, 0.5], [0.25, 0.25, -0.5], [-0.25, -0.25, 0.0]]) * a
    found = bottleneck_radius(vectors, np.array([r_A, r_A, r_B]), np.array([1.0, -1.0, 0.0]))
    critical = (a * (0.75 * a - np.sqrt(2) * r_B) + r_B**2 - r_A**2) / (2 * (r_A - r_B) + np.sqrt(2) * a)
    assert found == pytest.approx(critical, abs=0.002)


def test_networks_of_other_cells_are_refused() -> None:
    host = perovskite(TWO_BY_TWO, FIVE)
    network = perovskite_network(host)
    other = host.copy()
    other.scale_lattice(1.1 * host.volume)
    with pytest.raises(StructureError, match="different cells"):
        describe(other, network)
    with pytest.raises(StructureError, match="atom_index"):
        describe(host, HopNetwork(network.lattice, network.frac_coords, network.start, network.end, network.image))


# What is learned


def cubic_network(n: int = 3) -> HopNetwork:
    """A simple cubic lattice of n x n x n sites."""
    index = np.arange(n**3).reshape(n, n, n)
    cells = np.array(list(np.ndindex(n, n, n)))
    start, end, image = [], [], []
    for axis in range(3):
        to = cells + np.eye(3, dtype=int)[axis]
        start += index[tuple(cells.T)].tolist()
        end += index[tuple((to % n).T)].tolist()
        image += (to // n).tolist()
    return HopNetwork(3.0 * n * np.eye(3), cells / n, *undirected(start, end, image))


def random_features(rng: np.random.Generator, n: int) -> Features:
    groups = {name: rng.standard_normal((n, k)) for name, k in (("near", 4), ("far", 4), ("local", 6))}
    groups = {k: x / np.sqrt((x**2).sum(axis=1).mean()) for k, x in groups.items()}
    return Features(groups, {k: tuple(f"{k} {i}" for i in range(x.shape[1])) for k, x in groups.items()}, n)


def some_of(features: Features, rng: np.random.Generator, spread: float, explained: float) -> np.ndarray:
    """Energies that the features explain in part."""
    y = table(features) @ rng.standard_normal(sum(x.shape[1] for x in features.groups.values()))
    return spread * (np.sqrt(explained) * y / y.std() + np.sqrt(1 - explained) * rng.standard_normal(len(y)))


def synthetic(seed: int, explained: float = 0.7) -> tuple[HopNetwork, Environments, np.ndarray, np.ndarray]:
    """Network, surroundings, site energies and saddle energies of an invented cell, far from zero like real ones."""
    rng, network = np.random.default_rng(seed), cubic_network()
    environments = Environments(random_features(rng, network.n_sites), random_features(rng, network.n_hops))
    sites = some_of(environments.sites, rng, 0.15, explained) - 350
    saddles = 0.5 + some_of(environments.hops, rng, 0.12, explained) + (sites[network.start] + sites[network.end]) / 2
    return (
        network,
        environments,
        sites,
        np.maximum(saddles, 0.02 + np.maximum(sites[network.start], sites[network.end])),
    )


def known_part(network: HopNetwork, sites: np.ndarray, saddles: np.ndarray, hops: object) -> tuple:
    """The energies of some hops and their end sites, NaN elsewhere."""
    some_sites, some_saddles = np.full(network.n_sites, np.nan), np.full(network.n_hops, np.nan)
    some_saddles[hops] = saddles[hops]
    for ends in (network.start[hops], network.end[hops]):
        some_sites[ends] = sites[ends]
    return some_sites, some_saddles


def test_what_was_computed_stays_and_saddles_lie_above_their_sites() -> None:
    network, environments, sites, saddles = synthetic(0)
    hops = np.arange(0, 81, 4)
    some_sites, some_saddles = known_part(network, sites, saddles, hops)
    posterior = fit_local_model(environments, network, some_sites, some_saddles, Prior(tolerance=0.01))
    E, S = posterior.draw(400, np.random.default_rng(0))
    known = np.isfinite(some_sites)
    assert np.allclose(E[:, known].mean(axis=0), sites[known], atol=0.003)
    assert np.allclose(S[:, hops].std(axis=0), 0.01, atol=0.0025)
    unknown = ~np.isfinite(some_saddles)
    assert np.all(S[:, unknown] >= np.maximum(E[:, network.start], E[:, network.end])[:, unknown] - 1e-9)
    assert E[:, ~known].std(axis=0).min() > 0.03


def test_covariance_is_that_of_the_draws() -> None:
    network, environments, sites, saddles = synthetic(1)
    posterior = fit_local_model(environments, network, *known_part(network, sites, saddles, np.arange(0, 81, 6)))
    draws = np.hstack(posterior.draw(4000, np.random.default_rng(0)))
    expected = sum(posterior.covariances.values())
    assert np.allclose(np.linalg.eigvalsh(expected).min(), 0, atol=1e-6) or np.linalg.eigvalsh(expected).min() > 0
    found = np.cov(draws.T)
    assert np.trace(found) == pytest.approx(np.trace(expected), rel=0.05)
    assert np.linalg.norm(found - expected) < 0.2 * np.linalg.norm(expected)


def test_one_species_has_one_barrier() -> None:
    """Without features and with equal energies computed, all others are expected to be the same, with little doubt."""
    network = cubic_network()
    no_features = Environments(Features({}, {}, network.n_sites), Features({}, {}, network.n_hops))
    sites, saddles = np.full(network.n_sites, -20.0), np.full(network.n_hops, -19.4)
    posterior = fit_local_model(no_features, network, *known_part(network, sites, saddles, np.arange(0, 81, 5)))
    E, S = posterior.draw(300, np.random.default_rng(0))
    assert np.abs((S - E[:, network.start]).mean(axis=0) - 0.6).max() < 0.02
    assert np.abs(E + 20).std() < 0.06


def test_shared_surroundings_teach_and_unrelated_ones_do_not() -> None:
    network, environments, sites, saddles = synthetic(2, explained=0.95)
    hops = np.random.default_rng(0).permutation(81)[:30]
    some = known_part(network, sites, saddles, hops)
    posterior = fit_local_model(environments, network, *some)
    for validation, n in (
        (posterior.site_validation, int(np.isfinite(some[0]).sum())),
        (posterior.saddle_validation, 30),
    ):
        assert validation.n == n
        assert validation.rmse < 0.75 * validation.rmse_of_mean
        assert validation.coverage > 0.7
    left = np.setdiff1d(np.arange(81), hops)
    S = posterior.draw(300, np.random.default_rng(0))[1].mean(axis=0)
    assert np.sqrt(((S - saddles)[left] ** 2).mean()) < 0.7 * np.std(saddles[left])
    other = synthetic(3)[1]
    validation = fit_local_model(other, network, *some).saddle_validation
    assert validation.rmse > 0.85 * validation.rmse_of_mean
    assert validation.coverage > 0.7


def test_leave_one_out_is_a_prediction_without_the_one() -> None:
    network, environments, sites, saddles = synthetic(4)
    some_sites, some_saddles = known_part(network, sites, saddles, np.arange(0, 81, 3))
    validation = fit_local_model(environments, network, some_sites, some_saddles).saddle_validation
    errors = []
    for hop in np.arange(0, 81, 3):
        without = some_saddles.copy()
        without[hop] = np.nan
        S = fit_local_model(environments, network, some_sites, without).draw(200, np.random.default_rng(0))[1]
        errors.append(S[:, hop].mean() - saddles[hop])
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(validation.rmse, rel=0.15)


def test_nothing_computed_leaves_what_is_expected_of_any_cell() -> None:
    network, environments, *_ = synthetic(5)
    nothing = np.full(network.n_sites, np.nan), np.full(network.n_hops, np.nan)
    posterior = fit_local_model(environments, network, *nothing)
    assert posterior.site_validation.rmse is None
    E, S = posterior.draw(500, np.random.default_rng(0))
    barriers = S - np.maximum(E[:, network.start], E[:, network.end])
    assert np.isfinite(barriers).all()
    assert 0.2 < np.median(barriers) < 0.7
    assert 0.1 < E.std(axis=1).mean() < 0.5


def test_a_network_of_a_single_hop_needs_no_computed_one() -> None:
    start, end, image = undirected([0], [1], [[0, 0, 0]])
    network = HopNetwork(9.0 * np.eye(3), np.array([[0.0, 0, 0], [1 / 3, 0, 0]]), start, end, image)
    rng = np.random.default_rng(7)
    environments = Environments(random_features(rng, 2), random_features(rng, 1))
    posterior = fit_local_model(environments, network, np.full(2, np.nan), np.full(1, np.nan))
    E, S = posterior.draw(100, rng)
    assert E.shape == (100, 2) and S.shape == (100, 1)
    assert (S[:, 0] >= E.max(axis=1)).all()


def test_bad_energies_are_refused() -> None:
    network, environments, sites, saddles = synthetic(6)
    with pytest.raises(InputError, match="81 saddle energies"):
        fit_local_model(environments, network, sites, saddles[:-1])
    with pytest.raises(InputError, match="infinite"):
        fit_local_model(environments, network, np.where(sites == sites[0], np.inf, sites), saddles)
