"""The effective barrier with its interval when only some energies are known, and which hops to compute next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from hemiec.errors import InputError, StructureError
from hemiec.transport.kinetics.diffusion import Diffusion, diffusion
from hemiec.transport.learning.local_model import Posterior
from hemiec.transport.network import FloatArray, HopNetwork

#: Ends and middle of the 90 % interval.
_QUANTILES = (0.05, 0.5, 0.95)
#: Draws that sensitivities are averaged over.
_SENSITIVITY_DRAWS = 60
#: Relative step of 1/T that the sensitivities are differences over.
_TEMPERATURE_STEP = 0.01


@dataclass(frozen=True)
class Interval:
    """Median, ends of the 90 % interval and standard deviation of a quantity over draws, in its unit."""

    median: float
    low: float
    high: float
    std: float

    @property
    def half_width(self) -> float:
        """Half of the 90 % interval."""
        return (self.high - self.low) / 2

    @classmethod
    def of(cls, draws: FloatArray) -> Interval:
        """Return the interval of draws, shape=(n_draws,)."""
        low, median, high = (float(x) for x in np.quantile(draws, _QUANTILES))
        return cls(median, low, high, float(np.std(draws)))


@dataclass(frozen=True)
class Estimate:
    """Diffusion on a network some of whose energies are uncertain.

    Parameters
    ----------
    reference_temperature_K
        Of effective barriers, hop shares and occupations.
    temperatures_K
        Of log10_d.
    effective_barrier
        -d ln D / d(1/kT) of the mean over directions, in eV.
    effective_barriers
        The same along x, y and z, None where the network does not percolate.
    log10_d
        log10 of D in cm^2/s, mean over directions, at every temperature.
    hop_share
        Expected share of every hop in the dissipated power, shape=(n_hops,); they add to 1.
    occupation
        Expected share of the time on every site, shape=(n_sites,).
    variance_share
        Parts of the variance of the effective barrier, to first order, from ``sites``, from ``saddles``, and from
        not knowing how far features are to be trusted (``model``); they add to 1.
    barrier_draws, log10_d_draws
        Effective barriers in eV, shape=(n_draws,), and log10_d, shape=(n_draws, n_temperatures), of the same draws.
    """

    reference_temperature_K: float
    temperatures_K: tuple[float, ...]
    effective_barrier: Interval
    effective_barriers: tuple[Interval | None, ...]
    log10_d: tuple[Interval, ...]
    hop_share: FloatArray
    occupation: FloatArray
    variance_share: dict[str, float]
    barrier_draws: FloatArray
    log10_d_draws: FloatArray


def estimate(
    network: HopNetwork,
    posterior: Posterior,
    temperatures_K: Sequence[float],
    *,
    reference_temperature_K: float,
    n_draws: int = 400,
    seed: int = 0,
    attempt_frequency_THz: float = 10.0,
) -> Estimate:
    """Return effective barrier and diffusivity with 90 % intervals: diffusion is solved for each of many draws.

    Parameters
    ----------
    network, posterior
        Sites and hops, and what is known of their energies.
    temperatures_K
        Where the diffusivity is wanted; may be empty.
    reference_temperature_K
        Where the effective barrier is wanted.
    n_draws
        Draws; the ends of the interval are known to about a tenth of its width with 400.
    seed
        Of the draws.
    attempt_frequency_THz
        Prefactor of all rates.

    Raises
    ------
    StructureError
        If the walker cannot cross the network in any direction.
    InputError
        If there are fewer than ten draws.
    """
    if n_draws < 10:
        raise InputError(f"an interval needs ten draws or more, got {n_draws}.")
    sites, saddles = posterior.draw(n_draws, np.random.default_rng(seed))
    solve = {"attempt_frequency_THz": attempt_frequency_THz}
    at_reference = [diffusion(network, *x, reference_temperature_K, **solve) for x in zip(sites, saddles, strict=True)]
    if at_reference[0].effective_barrier is None:
        raise StructureError("the walker cannot cross this network in any direction.", mend="raise the hop cutoff")
    log10_d = np.empty((n_draws, len(temperatures_K)))
    for k, temperature_K in enumerate(temperatures_K):
        log10_d[:, k] = [
            diffusion(network, *x, temperature_K, **solve).log10_d for x in zip(sites, saddles, strict=True)
        ]
    barriers = np.array([found.effective_barrier for found in at_reference])
    some = slice(0, _SENSITIVITY_DRAWS)
    gradients = _gradients(network, sites[some], saddles[some], reference_temperature_K)
    return Estimate(
        reference_temperature_K=reference_temperature_K,
        temperatures_K=tuple(temperatures_K),
        effective_barrier=Interval.of(barriers),
        effective_barriers=tuple(_along(at_reference, axis) for axis in range(3)),
        log10_d=tuple(Interval.of(column) for column in log10_d.T),
        hop_share=np.mean([found.hop_share for found in at_reference], axis=0),
        occupation=np.mean([found.occupation for found in at_reference], axis=0),
        variance_share=_variance_share(gradients, posterior),
        barrier_draws=barriers,
        log10_d_draws=log10_d,
    )


def is_converged(found: Estimate, half_width_eV: float) -> bool:
    """Return whether half of the 90 % interval of the effective barrier is at most this, in eV."""
    return found.effective_barrier.half_width <= half_width_eV


def combine(estimates: Sequence[Estimate]) -> tuple[Interval, tuple[Interval, ...]]:
    """Return effective barrier in eV and log10 D at every temperature over several cells of one material.

    Each cell has the same weight and its own draws are kept, so the interval holds the spread over cells as well as
    the uncertainty of each.

    Raises
    ------
    InputError
        If there is no estimate, or they belong to different temperatures.
    """
    temperatures = {(x.reference_temperature_K, x.temperatures_K) for x in estimates}
    if len(temperatures) != 1:
        raise InputError(f"estimates at the same temperatures are needed, got {sorted(temperatures)}.")
    n = min(len(x.barrier_draws) for x in estimates)
    barriers = np.concatenate([x.barrier_draws[:n] for x in estimates])
    log10_d = np.concatenate([x.log10_d_draws[:n] for x in estimates])
    return Interval.of(barriers), tuple(Interval.of(column) for column in log10_d.T)


def next_hops(
    network: HopNetwork,
    posterior: Posterior,
    n: int,
    *,
    temperature_K: float,
    site_cost: float = 30.0,
    saddle_cost: float = 30.0,
    excluded: Collection[int] = (),
    seed: int = 0,
) -> list[int]:
    """Return the hops that, computed next, lower the variance of the effective barrier most for what they cost.

    By how much a batch lowers it does not depend on the energies that will be found: to first order it follows from
    the covariance of all energies and the sensitivities of the barrier to them, averaged over draws, since they
    depend on the energies that are not known yet. Hops are taken one after the other, each given those before. With
    nothing computed all sensitivities are alike, and the batch covers the surroundings that tell most about others.

    Parameters
    ----------
    network, posterior
        Sites and hops, and what is known of their energies.
    n
        Hops wanted; fewer come back if there are no more.
    temperature_K
        Reference temperature of the effective barrier.
    site_cost, saddle_cost
        Force calls to relax one site and to find one saddle. A hop costs its saddle and those of its end sites that
        are not relaxed yet.
    excluded
        Hops not to be taken, such as those whose search failed before. Hops of a site onto its own image never are.
    seed
        Of the draws.
    """
    sites, saddles = posterior.draw(_SENSITIVITY_DRAWS, np.random.default_rng(seed))
    gradients = _gradients(network, sites, saddles, temperature_K)
    covariance = np.sum(list(posterior.covariances.values()), axis=0)
    new_site = ~posterior.site_known
    allowed = ~posterior.saddle_known & ~network.onto_own_image
    allowed[list(excluded)] = False
    chosen: list[int] = []
    while len(chosen) < n and allowed.any():
        projected = gradients @ covariance
        best, best_score, best_rows = -1, -1.0, [0]
        for hop in np.flatnonzero(allowed):
            ends = [int(site) for site in (network.start[hop], network.end[hop]) if new_site[site]]
            rows = [*ends, network.n_sites + int(hop)]
            score = _gain(projected, covariance, rows, posterior.tolerance) / (saddle_cost + site_cost * len(ends))
            if score > best_score:
                best, best_score, best_rows = int(hop), score, rows
        covariance = _conditioned(covariance, best_rows, posterior.tolerance)
        new_site[best_rows[:-1]] = False
        allowed[best] = False
        chosen.append(best)
    return chosen


def _gradients(network: HopNetwork, sites: FloatArray, saddles: FloatArray, temperature_K: float) -> FloatArray:
    """Return d (effective barrier) / d (site and saddle energies) of every draw, shape=(n_draws, n_sites + n_hops).

    With b = 1/kT, d ln D / d S_h = -b f_h and d ln D / d E_i = b p_i, so the effective barrier -d ln D / d b has the
    derivatives d(b f_h) / db and -d(b p_i) / db, which are taken from two temperatures.
    """
    gradients = np.empty((len(sites), network.n_sites + network.n_hops))
    cold, hot = 1 + _TEMPERATURE_STEP, 1 - _TEMPERATURE_STEP  # 1/T in units of 1 / temperature_K
    for k, energies in enumerate(zip(sites, saddles, strict=True)):
        below, above = (diffusion(network, *energies, temperature_K / x) for x in (cold, hot))
        gradients[k, : network.n_sites] = hot * above.occupation - cold * below.occupation
        gradients[k, network.n_sites :] = cold * below.hop_share - hot * above.hop_share
    return gradients / (cold - hot)


def _gain(projected: FloatArray, covariance: FloatArray, rows: list[int], tolerance: float) -> float:
    """Return by how much the mean variance falls if some energies become known, in eV^2."""
    block = covariance[np.ix_(rows, rows)] + tolerance**2 * np.eye(len(rows))
    some = projected[:, rows]
    return float((some * np.linalg.solve(block, some.T).T).sum() / len(some))


def _conditioned(covariance: FloatArray, rows: list[int], tolerance: float) -> FloatArray:
    """Return the covariance once some energies are known within the tolerance."""
    block = covariance[np.ix_(rows, rows)] + tolerance**2 * np.eye(len(rows))
    return covariance - covariance[:, rows] @ np.linalg.solve(block, covariance[rows])


def _variance_share(gradients: FloatArray, posterior: Posterior) -> dict[str, float]:
    parts = {k: float(((gradients @ c) * gradients).sum()) for k, c in posterior.covariances.items()}
    total = sum(parts.values())
    return {k: value / total for k, value in parts.items()} if total > 0 else dict.fromkeys(parts, 0.0)


def _along(drawn: Sequence[Diffusion], axis: int) -> Interval | None:
    barriers = [found.effective_barriers[axis] for found in drawn]
    return None if barriers[0] is None else Interval.of(np.array(barriers, dtype=float))
