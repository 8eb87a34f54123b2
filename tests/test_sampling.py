"""Intervals of the effective barrier, and the choice of the next hops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_local_model import known_part, synthetic

from hemiec.errors import InputError, StructureError
from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.learning.local_model import Posterior, Prior, fit_local_model
from hemiec.transport.learning.sampling import _gradients, combine, estimate, is_converged, next_hops
from hemiec.transport.network import HopNetwork

T = 1000.0


def quick(network: HopNetwork, posterior: Posterior, n_draws: int = 120, **more: object):
    return estimate(network, posterior, [], reference_temperature_K=T, n_draws=n_draws, **more)


def test_everything_computed_is_the_exact_answer() -> None:
    network, environments, sites, saddles = synthetic(0)
    posterior = fit_local_model(environments, network, sites, saddles, Prior(tolerance=0.0))
    found = estimate(network, posterior, [800.0, 1200.0], reference_temperature_K=T, n_draws=20)
    exact = diffusion(network, sites, saddles, T)
    barrier = found.effective_barrier
    assert barrier.low == pytest.approx(barrier.high, abs=1e-9)
    assert barrier.median == pytest.approx(exact.effective_barrier, abs=1e-9)
    assert barrier.std == pytest.approx(0, abs=1e-9)
    assert [x.median for x in found.effective_barriers] == pytest.approx(list(exact.effective_barriers), abs=1e-9)
    assert np.allclose(found.hop_share, exact.hop_share)
    assert np.allclose(found.occupation, exact.occupation)
    for temperature, interval in zip((800.0, 1200.0), found.log10_d, strict=True):
        assert interval.median == pytest.approx(diffusion(network, sites, saddles, temperature).log10_d, abs=1e-9)
    assert found.variance_share == {"sites": 0.0, "saddles": 0.0, "model": 0.0}
    assert is_converged(found, 1e-6)
    assert next_hops(network, posterior, 4, temperature_K=T) == []


def test_nothing_computed_is_wide_but_finite() -> None:
    network, environments, *_ = synthetic(1)
    nothing = np.full(network.n_sites, np.nan), np.full(network.n_hops, np.nan)
    found = estimate(
        network, fit_local_model(environments, network, *nothing), [800.0], reference_temperature_K=T, n_draws=100
    )
    assert np.isfinite(found.barrier_draws).all()
    assert np.isfinite(found.log10_d_draws).all()
    assert found.effective_barrier.half_width > 0.25
    assert not is_converged(found, 0.05)
    assert sum(found.variance_share.values()) == pytest.approx(1)


def test_the_interval_narrows_as_hops_are_computed() -> None:
    network, environments, sites, saddles = synthetic(2)
    order = np.random.default_rng(0).permutation(network.n_hops)
    widths = []
    for n in (0, 5, 20, 60):
        some = known_part(network, sites, saddles, order[:n])
        widths.append(quick(network, fit_local_model(environments, network, *some)).effective_barrier.half_width)
    assert np.all(np.diff(widths) < 0)


@pytest.mark.slow
def test_ninety_per_cent_of_intervals_hold_the_truth() -> None:
    """On 30 invented cells, a third of whose variance no feature explains; 90 % within three standard errors."""
    inside = []
    for seed in range(30):
        network, environments, sites, saddles = synthetic(100 + seed, explained=0.67)
        hops = np.random.default_rng(seed).permutation(network.n_hops)[: 6 + seed % 20]
        posterior = fit_local_model(environments, network, *known_part(network, sites, saddles, hops))
        found = quick(network, posterior, 80).effective_barrier
        inside.append(found.low < diffusion(network, sites, saddles, T).effective_barrier < found.high)
    assert np.mean(inside) > 0.73


def test_sensitivities_are_derivatives_of_the_effective_barrier() -> None:
    network, _, sites, saddles = synthetic(3)
    gradient = _gradients(network, sites[None], saddles[None], T)[0]
    assert gradient.sum() == pytest.approx(0, abs=1e-6), "a common shift of all energies changes nothing"
    for k in (0, 5, 30, 60, 100):
        step = np.zeros(network.n_sites + network.n_hops)
        step[k] = 1e-4
        up, down = (
            diffusion(network, sites + x[: network.n_sites], saddles + x[network.n_sites :], T).effective_barrier
            for x in (step, -step)
        )
        assert gradient[k] == pytest.approx((up - down) / 2e-4, abs=2e-3)


def spent(network: HopNetwork, hops: list[int], site_cost: float, saddle_cost: float) -> float:
    return saddle_cost * len(hops) + site_cost * len({*network.start[hops], *network.end[hops]})


@pytest.mark.slow
def test_chosen_hops_tell_more_than_random_ones_of_the_same_cost() -> None:
    widths = {"chosen": [], "random": []}
    errors = {"chosen": [], "random": []}
    for seed in range(6):
        network, environments, sites, saddles = synthetic(200 + seed)
        truth = diffusion(network, sites, saddles, T).effective_barrier
        random = np.random.default_rng(seed).permutation(network.n_hops).tolist()
        hops: list[int] = []
        for _ in range(3):
            posterior = fit_local_model(environments, network, *known_part(network, sites, saddles, hops))
            hops += next_hops(network, posterior, 5, temperature_K=T, site_cost=40, saddle_cost=40, seed=seed)
        budget = spent(network, hops, 40, 40)
        same_cost = [n for n in range(1, len(random)) if spent(network, random[:n], 40, 40) <= budget][-1]
        for how, some in (("chosen", hops), ("random", random[:same_cost])):
            posterior = fit_local_model(environments, network, *known_part(network, sites, saddles, some))
            found = quick(network, posterior).effective_barrier
            widths[how].append(found.half_width)
            errors[how].append(abs(found.median - truth))
    assert np.mean(widths["chosen"]) < 0.9 * np.mean(widths["random"])
    assert np.mean(errors["chosen"]) < np.mean(errors["random"])


def test_a_batch_is_new_shares_end_points_and_leaves_out_what_it_must() -> None:
    network, environments, sites, saddles = synthetic(4)
    known = [0, 10, 20]
    posterior = fit_local_model(environments, network, *known_part(network, sites, saddles, known))
    excluded = list(range(30, 60))
    batch = next_hops(network, posterior, 10, temperature_K=T, excluded=excluded)
    assert len(batch) == len(set(batch)) == 10
    assert not {*known, *excluded} & {*batch}

    def n_sites(hops: list[int]) -> int:
        return len({*network.start[hops], *network.end[hops]})

    dear = next_hops(network, posterior, 10, temperature_K=T, site_cost=1000, saddle_cost=10)
    free = next_hops(network, posterior, 10, temperature_K=T, site_cost=0, saddle_cost=10)
    assert n_sites(dear) < n_sites(free)
    everything = next_hops(network, posterior, 1000, temperature_K=T, excluded=excluded)
    assert sorted(everything) == sorted(set(range(network.n_hops)) - {*known, *excluded})


def test_a_hop_onto_its_own_image_is_predicted_and_never_chosen() -> None:
    network, environments, sites, saddles = synthetic(5)
    end = network.end.copy()
    end[0] = network.start[0]
    image = network.image.copy()
    image[0] = [1, 0, 0]
    looped = replace(network, end=end, image=image)
    posterior = fit_local_model(environments, looped, *known_part(looped, sites, saddles, [5, 6, 7]))
    assert 0 not in next_hops(looped, posterior, 1000, temperature_K=T)
    assert np.isfinite(quick(looped, posterior, 20).barrier_draws).all()


def test_same_seed_same_answer() -> None:
    network, environments, sites, saddles = synthetic(6)
    some = known_part(network, sites, saddles, np.arange(0, 81, 9))
    first, second = (fit_local_model(environments, network, *some) for _ in range(2))
    assert np.array_equal(quick(network, first, 30).barrier_draws, quick(network, second, 30).barrier_draws)
    assert not np.array_equal(quick(network, first, 30).barrier_draws, quick(network, first, 30, seed=1).barrier_draws)
    assert next_hops(network, first, 5, temperature_K=T) == next_hops(network, second, 5, temperature_K=T)


def test_cells_of_one_material_widen_the_interval_by_their_spread() -> None:
    found = []
    for seed in (7, 8):
        network, environments, sites, saddles = synthetic(seed)
        saddles = saddles + (0.3 if seed == 8 else 0.0)
        posterior = fit_local_model(environments, network, sites, saddles)
        found.append(estimate(network, posterior, [900.0], reference_temperature_K=T, n_draws=30))
    barrier, log10_d = combine(found)
    each = [x.effective_barrier for x in found]
    assert barrier.low < min(x.median for x in each) < max(x.median for x in each) < barrier.high
    assert barrier.std > 3 * max(x.std for x in each)
    assert len(log10_d) == 1
    with pytest.raises(InputError, match="same temperatures"):
        combine([found[0], replace(found[1], temperatures_K=(700.0,))])
    with pytest.raises(InputError):
        combine([])


def test_a_walker_that_is_confined_is_said_to_be() -> None:
    network, environments, sites, saddles = synthetic(9)
    confined = replace(network, image=np.zeros_like(network.image))
    posterior = fit_local_model(environments, confined, sites, saddles)
    with pytest.raises(StructureError, match="cannot cross"):
        estimate(confined, posterior, [], reference_temperature_K=T, n_draws=10)
    with pytest.raises(InputError, match="ten draws"):
        estimate(network, posterior, [], reference_temperature_K=T, n_draws=3)
