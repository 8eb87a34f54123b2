"""Kinetic Monte Carlo against exact solutions, published correlation factors, and its own statements."""

import itertools

import numpy as np
import pytest
from ideal_networks import (
    CUBE,
    body_centred,
    disordered,
    face_centred,
    perovskite_oxygen,
    repeated,
    ring,
    simple_cubic,
)

from hemiec.errors import InputError, NotConvergedError
from hemiec.transport.kinetics import kinetic_monte_carlo as module
from hemiec.transport.kinetics.conductivity import carrier_density, conductivity, log10_conductivity
from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.kinetics.kinetic_monte_carlo import Simulation, kinetic_monte_carlo
from hemiec.transport.network import HopNetwork


def uniform(cell, simulation, barrier=0.5, temperature_K=1000.0):
    return kinetic_monte_carlo(
        cell, np.zeros(cell.n_sites), np.full(cell.n_hops, barrier), temperature_K, simulation=simulation
    )


def close(estimate, exact, sigmas=4.0):
    """Within some standard errors, and those no larger than a twelfth."""
    assert estimate.d_std < exact / 12
    return abs(estimate.d - exact) < sigmas * estimate.d_std


@pytest.mark.parametrize(("seed", "temperature_K"), [(0, 1200.0), (1, 1500.0), (2, 2500.0)])
def test_one_walker_agrees_with_the_exact_solution(seed, temperature_K):
    cell, E, S = disordered(seed=seed, spread=0.15)
    exact = diffusion(cell, E, S, temperature_K, attempt_frequency_THz=4.0)
    simulation = Simulation(n_hops=2_000_000, seed=seed)
    found = kinetic_monte_carlo(cell, E, S, temperature_K, simulation=simulation, attempt_frequency_THz=4.0)
    assert close(found.walker, exact.d)
    assert np.all(np.abs(found.walker.tensor - exact.tensor) < 5 * found.walker.tensor_std)
    np.testing.assert_allclose(found.collective.tensor, found.walker.tensor)
    assert found.walker_haven_ratio == pytest.approx((1, 0), abs=1e-9)
    # Hops back and forth are many, and do not count.
    assert 0 < found.effective_hops < 0.8 * found.n_hops


def test_standard_errors_are_honest():
    """Deviations from the exact solution over many seeds, in units of the standard error."""
    deviations = []
    for seed in range(24):
        cell, E, S = disordered(seed=seed % 6, spread=0.15)
        exact = diffusion(cell, E, S, 1200.0).d
        found = kinetic_monte_carlo(cell, E, S, 1200.0, simulation=Simulation(n_hops=150_000, seed=seed)).walker
        deviations.append((found.d - exact) / found.d_std)
    assert 0.6 < np.std(deviations) < 1.6
    assert abs(np.mean(deviations)) < 0.8


def test_two_walkers_agree_with_the_exact_solution():
    """Two walkers that exclude each other are one walker on the network of pairs of sites.

    Its exact diffusion tensor is that of the sum of both displacements.
    """
    cell, E, S = disordered(((1, 1, 0), (0, 1, 1), (1, 0, 1)), seed=3, spread=0.1)
    pairs = {pair: n for n, pair in enumerate(itertools.combinations(range(cell.n_sites), 2))}
    start, end, image, saddles = [], [], [], []
    for h, (i, j) in enumerate(zip(cell.start, cell.end, strict=True)):
        for other in set(range(cell.n_sites)) - {i, j}:
            start.append(pairs[tuple(sorted((i, other)))])
            end.append(pairs[tuple(sorted((j, other)))])
            image.append(cell.image[h])
            saddles.append(S[h] + E[other])
    frac = np.array([cell.frac_coords[a] + cell.frac_coords[b] for a, b in pairs])
    both = HopNetwork(cell.lattice, frac, np.array(start), np.array(end), np.array(image))
    exact = diffusion(both, [E[a] + E[b] for a, b in pairs], saddles, 1500.0)
    found = kinetic_monte_carlo(cell, E, S, 1500.0, simulation=Simulation(2, n_hops=3_000_000))
    assert close(found.collective, exact.d / 2)
    assert np.all(np.abs(found.collective.tensor - exact.tensor / 2) < 5 * found.collective.tensor_std)
    # They do not diffuse as one walker alone would, and the error is small enough to tell.
    alone = diffusion(cell, E, S, 1500.0).d
    assert abs(found.collective.d - alone) > 5 * found.collective.d_std


@pytest.mark.parametrize(
    ("cell", "replicas", "published"),
    [
        # Anions of perovskite: T. Ishigaki et al., J. Solid State Chem. 73, 179 (1988). The others: K. Compaan and
        # Y. Haven, Trans. Faraday Soc. 52, 786 (1956), doi:10.1039/TF9565200786.
        (perovskite_oxygen(), (8, 8, 8), 0.69),
        (simple_cubic(), (11, 11, 11), 0.6531),
        (body_centred(), (11, 11, 11), 0.7272),
        (face_centred(), (11, 11, 11), 0.7815),
    ],
)
def test_tracer_correlation_factors(cell, replicas, published):
    """Of ions that hop into a vacancy, at about 0.1 % of vacancies."""
    found = uniform(cell, Simulation(2, replicas, n_hops=3_000_000))
    factor, std = found.ion_correlation_factor
    assert std < 0.005
    assert factor == pytest.approx(published, abs=3 * std + 0.003)
    haven, std = found.ion_haven_ratio
    assert haven == pytest.approx(published, abs=4 * std)
    assert close(found.walker, diffusion(cell, np.zeros(cell.n_sites), np.full(cell.n_hops, 0.5), 1000.0).d)


@pytest.mark.parametrize("filled", [0.2, 0.75])
def test_uniform_lattice_gas(filled):
    """Collective diffusion is the dilute one times the fraction of free sites, exactly (N - n) / (N - 1)."""
    cell, n_sites = simple_cubic(), 6**3
    n = round(filled * n_sites)
    found = uniform(cell, Simulation(n, (6, 6, 6), n_hops=600_000))
    dilute = diffusion(cell, [0.0], [0.5] * 3, 1000.0).d
    assert close(found.collective, dilute * (n_sites - n) / (n_sites - 1))
    assert found.walker_haven_ratio[0] < 1
    # Walkers and the ions on the other sites are each other's vacancies.
    swapped = uniform(cell, Simulation(n_sites - n, (6, 6, 6), n_hops=600_000, seed=5))
    difference = found.ion.d - swapped.walker.d
    assert abs(difference) < 4 * np.hypot(found.ion.d_std, swapped.walker.d_std)


def test_sites_are_filled_in_equilibrium():
    """Pairs on four sites occur as often as their Boltzmann factors say."""
    E, n_draws = np.array([0.0, 0.5, 1.0, 2.5]), 4000
    fermi = 1 / (1 + np.exp(E - module._chemical_potential(E, 2)))
    assert fermi.sum() == pytest.approx(2)
    generator = np.random.default_rng(0)
    drawn = [tuple(np.flatnonzero(module._canonical(fermi, 2, generator)).tolist()) for _ in range(n_draws)]
    weights = {pair: np.exp(-E[list(pair)].sum()) for pair in itertools.combinations(range(4), 2)}
    for pair, weight in weights.items():
        p = weight / sum(weights.values())
        assert drawn.count(pair) == pytest.approx(n_draws * p, abs=4 * np.sqrt(n_draws * p * (1 - p)))


def test_walkers_in_a_row_block_each_other():
    """On a ring of uniform sites the sum of displacements diffuses as if (N - n) / (N - 1) of all were free."""
    chain = ring(12)
    found = uniform(chain, Simulation(4, (2, 1, 1), n_hops=600_000))
    dilute = diffusion(chain, np.zeros(12), np.full(12, 0.5), 1000.0)
    assert close(found.collective, dilute.d * 20 / 23)
    assert found.walker.d < 0.7 * found.collective.d
    assert not found.walker.tensor[1:].any()


def test_seeds():
    cell, E, S = disordered(spread=0.1)
    runs = [
        kinetic_monte_carlo(cell, E, S, 1500.0, simulation=Simulation(3, n_hops=200_000, seed=seed))
        for seed in (7, 7, 8)
    ]
    assert runs[0].walker.d == runs[1].walker.d != runs[2].walker.d
    # The time scale is the attempt frequency's.
    faster = kinetic_monte_carlo(
        cell, E, S, 1500.0, simulation=Simulation(3, n_hops=200_000, seed=7), attempt_frequency_THz=20.0
    )
    assert faster.walker.d == pytest.approx(2 * runs[0].walker.d)
    assert faster.time_s == pytest.approx(runs[0].time_s / 2)


def test_trapped_walkers_give_no_number():
    cell, E, S = disordered(seed=1)
    with pytest.raises(NotConvergedError, match=r"hops"):
        kinetic_monte_carlo(cell, E, S, 250.0, simulation=Simulation(n_hops=300_000))
    pairs = np.where(np.arange(cell.n_hops) == 0, S, S + 3.0)
    with pytest.raises(NotConvergedError, match=r"hops"):
        kinetic_monte_carlo(cell, E, pairs, 600.0, simulation=Simulation(n_hops=300_000))


@pytest.mark.parametrize(
    ("simulation", "message"),
    [
        (Simulation(0), "0 walkers cannot move on 1 sites"),
        (Simulation(8, (2, 2, 2)), "8 walkers cannot move on 8 sites"),
        (Simulation(2, (2, 2, 1)), "its own periodic image"),
        (Simulation(n_hops=0), "must be positive"),
        (Simulation(n_runs=2), "at least 4"),
        (Simulation(replicas=(2, 2)), "replicas"),
    ],
)
def test_bad_simulations(simulation, message):
    with pytest.raises(InputError, match=message):
        uniform(simple_cubic(), simulation)


def test_bad_input():
    closed = HopNetwork(CUBE, np.zeros((1, 3)), np.array([0]), np.array([0]), np.array([[1, 0, 0]]))
    with pytest.raises(InputError, match="confined"):
        kinetic_monte_carlo(closed, [0.0], [np.inf], 300.0)
    with pytest.raises(InputError, match="temperature_K"):
        kinetic_monte_carlo(closed, [0.0], [0.4], -300.0)


def test_replicas_are_the_repeated_cell():
    cell, E, S = disordered(spread=0.1)
    larger, sites, hops = repeated(cell, np.diag([2, 1, 1]))
    one = kinetic_monte_carlo(cell, E, S, 1500.0, simulation=Simulation(4, (2, 1, 1), n_hops=400_000))
    two = kinetic_monte_carlo(larger, E[sites], S[hops], 1500.0, simulation=Simulation(4, n_hops=400_000, seed=1))
    assert one.n_sites == two.n_sites == 42
    assert abs(one.collective.d - two.collective.d) < 4 * np.hypot(one.collective.d_std, two.collective.d_std)
    assert abs(one.walker.d - two.walker.d) < 4 * np.hypot(one.walker.d_std, two.walker.d_std)


def test_conductivity():
    """z^2 F^2 c D / RT with CODATA's F and R, for 1e22 carriers of charge 2 per cm^3."""
    faraday, gas, avogadro = 96485.33212, 8.314462618, 6.02214076e23
    expected = 4 * faraday**2 * (1e22 / avogadro) * 1e-7 / (gas * 1000.0)
    assert conductivity(1e-7, 0.01, -2, 1000.0) == pytest.approx(expected, rel=1e-9)
    assert log10_conductivity(-7, 0.01, 2, 1000.0) == pytest.approx(np.log10(expected))
    tensor = np.diag([1e-7, 2e-7, 0])
    np.testing.assert_allclose(conductivity(tensor, 0.01, 2, 1000.0), tensor / 1e-7 * expected)
    assert carrier_density(0.3, 3, 60.0) == pytest.approx(0.3 * 0.9 / 60)
    assert conductivity(1e-7, carrier_density(0, 3, 60.0), 2, 1000.0) == 0


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (carrier_density, (3.1, 3, 60.0), "0 <= walkers <= sites"),
        (carrier_density, (-0.1, 3, 60.0), "0 <= walkers <= sites"),
        (carrier_density, (0.1, 3, 0.0), "positive volume"),
        (conductivity, (1e-7, -1.0, 2, 1000.0), "density"),
        (conductivity, (1e-7, 0.01, 0, 1000.0), "charge"),
        (conductivity, (1e-7, 0.01, 2, 0.0), "temperature_K"),
        (log10_conductivity, (-7.0, 0.0, 2, 1000.0), "no logarithm"),
    ],
)
def test_bad_conductivity(function, arguments, message):
    with pytest.raises(InputError, match=message):
        function(*arguments)
