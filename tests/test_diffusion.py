"""Diffusion of one walker: analytic results, an independent formula, symmetries, published numbers."""

from dataclasses import replace

import numpy as np
import pytest
from ideal_networks import (
    CUBE,
    FCC,
    body_centred,
    disordered,
    face_centred,
    network,
    perovskite_oxygen,
    repeated,
    ring,
    simple_cubic,
)
from scipy.spatial.transform import Rotation

from hemiec.errors import InputError, NotConvergedError, StructureError
from hemiec.transport.kinetics import approximate_elimination, elimination
from hemiec.transport.kinetics.diffusion import diffusion, diffusion_many, harmonic_displacements
from hemiec.transport.kinetics.percolation import percolation
from hemiec.transport.network import HopNetwork
from hemiec.units import BOLTZMANN_EV_PER_K as K

#: 1 THz times angstrom^2 in cm^2/s.
UNIT = 1e-4
TRICLINIC_SADDLES = {
    (0, 1, (-1, 0, 0)): 0.63,
    (0, 1, (0, -1, 0)): 0.47,
    (0, 1, (0, 0, 0)): 0.35,
    (0, 2, (0, -1, -1)): 0.75,
    (0, 2, (0, 0, -1)): 0.59,
    (1, 2, (0, 0, -1)): 0.43,
    (1, 2, (0, 0, 0)): 0.71,
}
TRICLINIC_TENSOR = [
    [1.486687086994e-04, 2.119780036917e-04, -3.136481435848e-06],
    [2.119780036917e-04, 1.220636875590e-03, 4.538405099985e-06],
    [-3.136481435850e-06, 4.538405099985e-06, 3.407838057737e-05],
]


def beta(temperature_K):
    return 1 / (K * temperature_K)


@pytest.mark.parametrize(
    ("cell", "neighbours", "length"),
    [
        (simple_cubic(4.0), 6, 4.0),
        (face_centred(4.0), 12, 4.0 / np.sqrt(2)),
        (body_centred(4.0), 8, 4.0 * np.sqrt(3) / 2),
        (perovskite_oxygen(3.9), 8, 3.9 / np.sqrt(2)),
    ],
)
def test_uniform_networks(cell, neighbours, length):
    found = diffusion(cell, np.full(cell.n_sites, -3.0), np.full(cell.n_hops, -2.4), 900.0, attempt_frequency_THz=5.0)
    rate = 5.0 * np.exp(-0.6 * beta(900.0))
    assert cell.n_hops == cell.n_sites * neighbours / 2
    np.testing.assert_allclose(found.tensor, CUBE * neighbours * rate * length**2 / 6 * UNIT, rtol=1e-12, atol=1e-20)
    assert found.effective_barrier == pytest.approx(0.6, abs=1e-12)
    assert found.effective_barriers == pytest.approx((0.6, 0.6, 0.6), abs=1e-12)
    assert found.correlation_factor == pytest.approx(1, abs=1e-12)
    assert found.hop_participation == pytest.approx(1) and found.site_participation == pytest.approx(1)
    np.testing.assert_allclose(found.hop_share, 1 / cell.n_hops, rtol=1e-12)


@pytest.mark.parametrize("temperature_K", [50.0, 300.0, 1200.0])
def test_one_dimension_is_the_harmonic_mean_of_rates(temperature_K):
    """D = nu L^2 / (sum_i exp(-E_i/kT) sum_h exp(S_h/kT)) for any sites and saddles in a row."""
    generator = np.random.default_rng(3)
    chain = ring(9)
    sites = generator.normal(0, 0.1, 9)
    for E in (np.zeros(9), sites):
        S = np.maximum(E, np.roll(E, -1)) + generator.uniform(0.1, 0.9, 9)
        found = diffusion(chain, E, S, temperature_K)
        b = beta(temperature_K)
        top = np.log(np.exp(b * (S - S.max())).sum()) + b * S.max()
        low = np.log(np.exp(-b * (E - E.min())).sum()) - b * E.min()
        assert found.log10_d * np.log(10) == pytest.approx(np.log(10.0 * UNIT * 100.0 / 3) - top - low, rel=1e-12)
        assert found.effective_barriers[1:] == (None, None)
        assert not found.tensor[1:].any() and not found.tensor[:, 1:].any()
        np.testing.assert_allclose(found.hop_share, np.exp(b * S - top), rtol=1e-9, atol=1e-14)


def test_master_equation():
    """The resistor network against the rate matrix: D = D_0 - sum_i p_i u_i (W^+ u)_i with the mean velocities u_i."""
    cell, E, S = disordered()
    temperature_K = 1500.0
    d, b = cell.displacements, beta(temperature_K)
    p = np.exp(-b * (E - E.min()))
    p /= p.sum()
    rates, velocity, bare = np.zeros((cell.n_sites,) * 2), np.zeros((cell.n_sites, 3)), np.zeros((3, 3))
    for i, j, step, saddle in zip(cell.start, cell.end, d, S, strict=True):
        for a, to, vector in ((i, j, step), (j, i, -step)):
            rate = 10.0 * np.exp(-b * (saddle - E[a]))
            rates[a, to] += rate
            rates[a, a] -= rate
            velocity[a] += rate * vector
            bare += p[a] * rate * np.outer(vector, vector) / 2
    flow = p[:, None] * rates
    np.testing.assert_allclose(flow, flow.T, rtol=1e-9)  # detailed balance
    np.testing.assert_allclose(p @ rates, 0, atol=1e-12 * np.abs(flow).max())
    fields = np.linalg.lstsq(rates, -velocity, rcond=None)[0]
    expected = (bare - (p[:, None] * velocity).T @ fields) * UNIT
    found = diffusion(cell, E, S, temperature_K)
    np.testing.assert_allclose(found.tensor, expected, rtol=1e-7, atol=1e-7 * found.d)
    np.testing.assert_allclose(found.occupation, p, rtol=1e-12)
    assert found.correlation_factor == pytest.approx(np.trace(expected) / np.trace(bare * UNIT), rel=1e-7)


def test_agrees_with_the_onsager_package():
    """Numbers from OnsagerCalc.Interstitial(...).diffusivity(..., CalcDeriv=True) of onsager 1.4 (D. R. Trinkle).

    Three sites in a triclinic cell, where each site and hop has its own energy, and octahedral and tetrahedral
    interstitials of fcc; prefactors 1.
    """
    lattice = [[4.1, 0, 0], [0.7, 3.8, 0], [-0.4, 0.6, 4.4]]
    cell = network(lattice, [[0.1, 0.2, 0.05], [0.55, 0.4, 0.3], [0.3, 0.75, 0.8]], 3.4)
    assert cell.n_hops == 7
    S = [TRICLINIC_SADDLES[key] for key in zip(cell.start, cell.end, map(tuple, cell.image.tolist()), strict=True)]
    found = diffusion(cell, [0.0, 0.11, -0.07], S, 700.0, attempt_frequency_THz=1.0)
    np.testing.assert_allclose(found.tensor / UNIT, TRICLINIC_TENSOR, rtol=1e-10)
    assert found.effective_barrier == pytest.approx(0.5249351984838335, abs=1e-10)

    cell = network(FCC * 4.0, [[0.5] * 3, [0.25] * 3, [0.75] * 3], 2.2)
    length = np.linalg.norm(cell.displacements, axis=1)
    found = diffusion(cell, [0, 0.18, 0.18], np.where(length < 1.9, 0.52, 0.61), 600.0, attempt_frequency_THz=1.0)
    np.testing.assert_allclose(found.tensor / UNIT, CUBE * 3.79783097e-04, rtol=1e-8, atol=1e-15)
    assert found.effective_barrier == pytest.approx(0.5229967696766549, abs=1e-10)


@pytest.mark.parametrize("temperature_K", [300.0, 2000.0])
def test_duality_of_the_square_lattice(temperature_K):
    """In two dimensions the dual network of inverse conductances has the inverse tensor, turned by 90 degrees.

    J. B. Keller, J. Math. Phys. 5, 548 (1964), doi:10.1063/1.1704146. For two phases that are dual to each other
    D = sqrt(D_1 D_2) follows.
    """
    n, generator = 5, np.random.default_rng(11)
    saddles = {key: generator.choice([0.2, 0.5]) for key in np.ndindex(n, n, 2)}

    def square(energy):
        start, end, image, S = [], [], [], []
        for x, y, axis in np.ndindex(n, n, 2):
            to = np.array([x + (axis == 0), y + (axis == 1)])
            start.append(n * x + y)
            end.append(n * (to[0] % n) + to[1] % n)
            image.append([*(to // n), 0])
            S.append(energy(x, y, axis))
        frac = np.array([[x / n, y / n, 0.0] for x, y in np.ndindex(n, n)])
        cell = HopNetwork(CUBE * n, frac, np.array(start), np.array(end), np.array(image))
        return diffusion(cell, np.zeros(n * n), S, temperature_K).tensor[:2, :2]

    def crossed(x, y, axis):
        # The dual site (x, y) is the face right of and above site (x, y); what it crosses conducts inversely.
        return 0.7 - (saddles[(x + 1) % n, y, 1] if axis == 0 else saddles[x, (y + 1) % n, 0])

    tensor, dual = square(lambda *key: saddles[key]), square(crossed)
    phases = [square(lambda *_, e=e: e)[0, 0] for e in (0.2, 0.5)]
    turn = np.array([[0, -1], [1, 0]])
    product = turn @ tensor @ turn.T @ dual / (phases[0] * phases[1])
    np.testing.assert_allclose(product, np.eye(2), atol=1e-10)


def test_honeycomb_of_two_kinds_of_sites():
    """No site has a drift: D_xx = D_yy = nu exp(-S/kT) / Z times half of the sum of three squared hops."""
    lattice = np.array([[3.0, 0, 0], [-1.5, 1.5 * np.sqrt(3), 0], [0, 0, 9.0]])
    cell = network(lattice, [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0]], 1.8)
    assert cell.n_hops == 3
    found = diffusion(cell, [0.0, 0.2], [0.5] * 3, 700.0)
    b = beta(700.0)
    expected = 10.0 * UNIT * np.exp(-0.5 * b) / (1 + np.exp(-0.2 * b)) * 3 * 3.0 / 2
    np.testing.assert_allclose(found.tensor, np.diag([expected, expected, 0]), rtol=1e-12, atol=1e-12 * expected)
    assert found.effective_barriers[2] is None


@pytest.mark.parametrize("temperature_K", [150.0, 600.0, 2500.0])
def test_derivatives(temperature_K):
    """Effective barrier, hop shares and occupations are the derivatives that they are said to be."""
    cell, E, S = disordered(seed=2)
    found = diffusion(cell, E, S, temperature_K)
    kT = K * temperature_K

    def ln_d(E=E, S=S, kT=kT):
        return diffusion(cell, E, S, kT / K).log10_d * np.log(10)

    step = 1e-4 / kT
    colder, hotter = 1 / (1 / kT + step), 1 / (1 / kT - step)
    assert found.effective_barrier == pytest.approx((ln_d(kT=hotter) - ln_d(kT=colder)) / (2 * step), abs=1e-6)
    h, i = int(np.argmax(found.hop_share)), int(np.argmax(found.occupation))
    for n, share, energies in ((h, found.hop_share, "S"), (i, -found.occupation, "E")):
        base, change = {"S": S, "E": E}[energies], np.zeros(len({"S": S, "E": E}[energies]))
        change[n] = 1e-3 * kT
        slope = (ln_d(**{energies: base + change}) - ln_d(**{energies: base - change})) / 2e-3
        assert slope == pytest.approx(-share[n], abs=1e-6)
    assert found.hop_share.sum() == pytest.approx(1) and found.site_share.sum() == pytest.approx(1)
    many = found.hops_carrying(0.9)
    assert found.hop_share[many].sum() >= 0.9 > found.hop_share[many[:-1]].sum()


@pytest.mark.parametrize("temperature_K", [80.0, 700.0])
def test_nothing_depends_on_how_the_network_is_written(temperature_K):
    cell, E, S = disordered(seed=5)
    reference = diffusion(cell, E, S, temperature_K)
    generator = np.random.default_rng(0)

    def same(other, E=E, S=S, tensor=reference.tensor):
        found = diffusion(other, E, S, temperature_K)
        np.testing.assert_allclose(found.tensor, tensor, rtol=1e-9, atol=1e-9 * reference.d)
        assert found.effective_barrier == pytest.approx(reference.effective_barrier, abs=1e-9)
        assert found.correlation_factor == pytest.approx(reference.correlation_factor, rel=1e-9)
        assert percolation(other, E, S).by_dimension[2].saddle_energy == pytest.approx(
            percolation(cell, *disordered(seed=5)[1:]).by_dimension[2].saddle_energy
        )

    order = generator.permutation(cell.n_sites)
    new = np.argsort(order)
    same(replace(cell, frac_coords=cell.frac_coords[order], start=new[cell.start], end=new[cell.end]), E=E[order])
    flip = generator.random(cell.n_hops) < 0.5
    same(
        replace(
            cell,
            start=np.where(flip, cell.end, cell.start),
            end=np.where(flip, cell.start, cell.end),
            image=np.where(flip[:, None], -cell.image, cell.image),
        )
    )
    wrap = generator.integers(-2, 3, (cell.n_sites, 3))
    image = cell.image - wrap[cell.end] + wrap[cell.start]
    same(replace(cell, frac_coords=cell.frac_coords + wrap + [0.37, 0.1, 0.9], image=image))
    for rows in ([[1, 1, 0], [0, 1, 1], [1, 0, -2]], [[1, 3, 0], [0, 1, 0], [2, 0, 1]], np.diag([1, 2, 1])):
        larger, sites, hops = repeated(cell, rows)
        same(larger, E=E[sites], S=S[hops])
    turn = Rotation.from_rotvec([0.3, -1.1, 0.6]).as_matrix()
    same(replace(cell, lattice=cell.lattice @ turn.T), tensor=turn @ reference.tensor @ turn.T)
    shifted = diffusion(cell, E + 1234.5, S + 1234.5, temperature_K)
    np.testing.assert_allclose(shifted.tensor, reference.tensor, rtol=1e-6)
    assert shifted.effective_barrier == pytest.approx(reference.effective_barrier, abs=1e-9)


def test_no_temperature_is_too_low():
    """50 K with barriers of about 2 eV, and one kelvin: the barrier becomes the percolation bottleneck."""
    cell, E, S = disordered(seed=1)
    S = S + 1.5
    lowest = percolation(cell, E, S).by_dimension[0]
    found = diffusion(cell, E, S, 50.0)
    assert 0 < found.d < 1e-150 and np.log10(found.d) == pytest.approx(found.log10_d)
    assert found.effective_barrier == pytest.approx(lowest.barrier, abs=0.01)
    cold = diffusion(cell, E, S, 1.0)
    assert cold.d == 0 and cold.log10_d < -8000
    assert cold.effective_barrier == pytest.approx(lowest.barrier, abs=1e-9)
    assert cold.hop_share[lowest.hop] == pytest.approx(1)
    for barrier, direction in zip(cold.effective_barriers, range(3), strict=True):
        # Oblique windings open in any direction, so that none of the axes is above the last dimension to open.
        assert lowest.barrier - 1e-9 <= barrier <= percolation(cell, E, S).by_dimension[2].barrier + 1e-9, direction


def test_a_strong_cluster_on_weak_ties():
    """Two sites, joined 300 decades better than to the rest, act as one: a Laplacian would lose their ties."""
    chain = ring(4)
    S = np.array([-1.0, 1.0, 1.1, 1.05])
    found = diffusion(chain, np.zeros(4), S, 40.0)
    b = beta(40.0)
    resistance = np.exp(b * (S[1:] - 1.1)).sum()
    log10 = (np.log(10 * UNIT * 100 / 12) - b * 1.1 - np.log(resistance)) / np.log(10)
    assert found.log10_d == pytest.approx(log10, rel=1e-12)


def test_a_weak_direction_beside_strong_ones():
    """Layers conduct 200 decades better than the hops between them, whose conductances therefore add up."""
    cell = repeated(simple_cubic(), np.diag([3, 3, 1]))[0]
    generator, b = np.random.default_rng(6), beta(100.0)
    across = cell.onto_own_image
    S = np.where(across, 5.0, 0.5) + generator.uniform(0, 0.3, cell.n_hops)
    found = diffusion(cell, np.zeros(9), S, 100.0)
    expected = 10 * UNIT * 16.0 * np.exp(-b * S[across]).sum() / 9
    assert found.tensor[2, 2] == pytest.approx(expected, rel=1e-12)
    assert found.effective_barriers[2] == pytest.approx(np.average(S[across], weights=np.exp(-b * S[across])))
    assert found.tensor[2, 2] < 1e-190 * found.tensor[0, 0]


def test_parts_share_the_walker():
    """Two chains that no hop joins, one along x and one along y, and a site on its own."""
    frac = np.zeros((4, 3))
    frac[:, 2] = [0, 0.25, 0.5, 0.75]
    hops = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    cell = HopNetwork(np.diag([3.0, 4.0, 20.0]), frac, np.array([0, 1, 2]), np.array([0, 1, 3]), hops)
    E, S, T = np.array([0.0, 0.1, 0.2, -0.05]), np.array([0.4, 0.7, 0.3]), 800.0
    found = diffusion(cell, E, S, T)
    b, Z = beta(T), np.exp(-beta(T) * E).sum()
    expected = np.diag([9.0 * np.exp(-b * 0.4), 16.0 * np.exp(-b * 0.7), 0]) * 10 * UNIT / Z
    np.testing.assert_allclose(found.tensor, expected, rtol=1e-12, atol=0)
    thermal = found.occupation @ E
    assert found.effective_barriers[:2] == pytest.approx((0.4 - thermal, 0.7 - thermal))
    assert found.effective_barriers[2] is None
    assert found.correlation_factors[2] == 0
    ways = percolation(cell, E, S)
    assert (ways.rank, ways.n_clusters) == (1, 3)
    assert [b and b.hop for b in ways.along_lattice] == [0, 1, None]


def test_confined_walkers():
    open_cell, E, S = disordered()
    for cell, saddles in (
        (open_cell, np.full(open_cell.n_hops, np.inf)),
        (open_cell, np.where(open_cell.image.any(axis=1), np.inf, S)),
        (HopNetwork(CUBE, np.zeros((21, 3)), *np.zeros((2, 0), int), np.zeros((0, 3), int)), np.zeros(0)),
    ):
        found = diffusion(cell, E, saddles, 600.0)
        assert found.d == 0 and found.log10_d is None and found.effective_barrier is None
        assert found.effective_barriers == (None, None, None) and not found.hop_share.any()
        assert found.hop_participation == 0 and len(found.hops_carrying()) == 0
        assert percolation(cell, E, saddles).rank == 0
        assert np.isnan(diffusion_many(cell, [E], [saddles], 600.0)[1]).all()


def test_bottlenecks_by_closing_hops():
    """Without the hops from the bottleneck on nothing crosses; with it something does."""
    for seed in range(4):
        cell, E, S = disordered(seed=seed)
        ways = percolation(cell, E, S)
        for dimension, bottleneck in enumerate(ways.by_dimension):
            below = percolation(cell, E, np.where(bottleneck.saddle_energy > S, S, np.inf))
            upto = percolation(cell, E, np.where(bottleneck.saddle_energy >= S, S, np.inf))
            assert below.rank <= dimension < upto.rank
        for axis, bottleneck in enumerate(ways.along_lattice):
            cut = np.where(bottleneck.saddle_energy > S, S, np.inf)
            along = np.linalg.inv(cell.lattice)[:, axis]
            assert percolation(cell, E, cut).along_lattice[axis] is None
            assert (
                np.linalg.norm(along @ diffusion(cell, E, cut, 1000.0).tensor) < 1e-12 * diffusion(cell, E, S, 1000.0).d
            )


def test_windings_of_a_helix():
    """A chain that closes after two cells along x and one along y winds in one direction only, across both axes."""
    cell = HopNetwork(CUBE * 4, np.zeros((1, 3)), np.array([0]), np.array([0]), np.array([[2, 1, 0]]))
    ways = percolation(cell, [0.0], [0.3])
    assert ways.rank == 1 and [b is None for b in ways.along_lattice] == [False, False, True]
    found = diffusion(cell, [0.0], [0.3], 500.0)
    assert np.linalg.matrix_rank(found.tensor / found.d) == 1
    assert found.tensor[0, 0] == pytest.approx(4 * found.tensor[1, 1])


@pytest.mark.parametrize(("filled", "percolates"), [(0.20, False), (0.45, True)])
def test_site_percolation_of_the_simple_cubic_lattice(filled, percolates):
    """The threshold is 0.3116 (doi:10.1103/PhysRevE.87.052107)."""
    cell = repeated(simple_cubic(), np.diag([9, 9, 9]))[0]
    for seed in range(4):
        kept = np.random.default_rng(seed).random(cell.n_sites) < filled
        part = cell.restricted_to(np.flatnonzero(kept))
        ways = percolation(part, np.zeros(part.n_sites), np.ones(part.n_hops))
        assert (ways.rank == 3) == percolates
        assert (diffusion(part, np.zeros(part.n_sites), np.ones(part.n_hops), 900.0).d > 0) == (ways.rank > 0)


@pytest.mark.parametrize("temperature_K", [60.0, 300.0, 1000.0])
def test_large_networks_are_solved_alike(monkeypatch, temperature_K):
    cell, E, S = disordered(np.diag([6, 5, 5]), seed=4)
    assert cell.n_sites > elimination.MAX_EXACT
    found = diffusion(cell, E, S, temperature_K)
    monkeypatch.setattr(elimination, "MAX_EXACT", cell.n_sites)
    exact = diffusion(cell, E, S, temperature_K)
    np.testing.assert_allclose(found.tensor, exact.tensor, rtol=1e-9, atol=1e-9 * exact.d)
    np.testing.assert_allclose(found.hop_share, exact.hop_share, atol=1e-7)
    assert found.effective_barrier == pytest.approx(exact.effective_barrier, abs=1e-7)


def test_what_did_not_converge_is_refused(monkeypatch):
    cell, E, S = disordered()
    monkeypatch.setattr(elimination, "MAX_EXACT", 0)
    monkeypatch.setattr(approximate_elimination, "_ACCEPTED", 0.0)
    with pytest.raises(NotConvergedError, match="residual holds"):
        diffusion(cell, E, S, 700.0)
    monkeypatch.undo()
    monkeypatch.setattr(elimination, "eliminate", lambda n, a, b, w, source: np.zeros(source.shape))
    with pytest.raises(NotConvergedError, match="net currents hold"):
        diffusion(cell, E, S, 700.0)


def test_many_draws():
    cell, E, S = disordered()
    generator = np.random.default_rng(0)
    sites, saddles = E + generator.normal(0, 0.05, (5, len(E))), S + generator.normal(0, 0.05, (5, len(S)))
    tensors, barriers = diffusion_many(cell, sites, saddles, 700.0, attempt_frequency_THz=7.0)
    for n in range(5):
        one = diffusion(cell, sites[n], saddles[n], 700.0, attempt_frequency_THz=7.0)
        np.testing.assert_allclose(tensors[n], one.tensor, rtol=1e-12)
        assert barriers[n] == pytest.approx(one.effective_barrier, abs=1e-12)


def test_harmonic_displacements_have_no_drift():
    cell, E, S = disordered()
    steps = harmonic_displacements(cell, E, S, 900.0)
    current = np.exp(-beta(900.0) * (S - S.min()))[:, None] * steps
    net = np.zeros((cell.n_sites, 3))
    np.add.at(net, cell.start, current)
    np.subtract.at(net, cell.end, current)
    np.testing.assert_allclose(net, 0, atol=1e-10 * np.abs(current).max())
    # They differ from true displacements by a function of the ends: around any loop both add to the winding.
    change = steps - cell.displacements
    fit = np.zeros((cell.n_hops, cell.n_sites))
    fit[np.arange(cell.n_hops), cell.end] += 1
    fit[np.arange(cell.n_hops), cell.start] -= 1
    np.testing.assert_allclose(fit @ np.linalg.lstsq(fit, change, rcond=None)[0], change, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"E": [0.0]}, "21 sites and 84 hops"),
        ({"E": np.full(21, np.nan)}, "site 0 is not a finite"),
        ({"S": np.full(84, -np.inf)}, "hop 0 is -inf"),
        ({"S": np.full(84, np.nan)}, "hop 0 is nan"),
        ({"T": 0.0}, "temperature_K must be a positive"),
        ({"T": np.nan}, "temperature_K must be a positive"),
        ({"nu": -1.0}, "attempt_frequency_THz must be a positive"),
    ],
)
def test_bad_input(change, message):
    cell, E, S = disordered()
    given = {"E": E, "S": S, "T": 600.0, "nu": 10.0} | change
    with pytest.raises(InputError, match=message):
        diffusion(cell, given["E"], given["S"], given["T"], attempt_frequency_THz=given["nu"])


def test_bad_networks():
    with pytest.raises(StructureError):
        HopNetwork(CUBE, np.zeros((1, 3)), np.array([0]), np.array([1]), np.zeros((1, 3), int))
    with pytest.raises(InputError, match="5 draws of site energies, but 4"):
        diffusion_many(simple_cubic(), np.zeros((5, 1)), np.zeros((4, 3)), 300.0)
