"""Diffusion of one walker on a periodic network of sites and saddles: exact, by linear solves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hemiec.errors import InputError
from hemiec.transport.kinetics.elimination import potentials
from hemiec.transport.kinetics.percolation import Windings, check_energies, windings
from hemiec.transport.network import FloatArray, HopNetwork, IntArray
from hemiec.units import BOLTZMANN_EV_PER_K

#: angstrom^2 THz in cm^2/s.
CM2_PER_S = 1e-4
#: Hops by ln of their conductance over that of the bottleneck: above the first limit the two sites are one node of the
#: solve, below the second the hop is left out. Either changes the result by about exp(-limit).
_SHORT, _OPEN = 34.0, -40.0
#: Directions whose bottlenecks are closer than this, in units of kT, are solved together.
_CLOSE = 10.0

Triple = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Diffusion:
    """Diffusion of one walker in the dilute limit.

    Parameters
    ----------
    tensor
        Diffusion tensor in cm^2/s, Cartesian axes of the lattice given, shape=(3, 3).
    log10_d
        log10 of a third of its trace in cm^2/s, also where that is too small for a float; None for a confined walker.
    effective_barrier
        -d ln D / d(1/kT) of a third of the trace, in eV; None if the walker is confined.
    effective_barriers
        The same of each diagonal element of the tensor; None along an axis without diffusion.
    hop_share
        f_h = -kT d ln D / d(saddle energy), D a third of the trace: the share of each hop in the power that the current
        dissipates, shape=(n_hops,). Adds to 1; all zero if the walker is confined.
    occupation
        p_i = kT d ln D / d(site energy): the probability to find the walker on each site, shape=(n_sites,).
    correlation_factor
        Trace of the tensor over that of a walk with the same rates and uncorrelated hops; None without hops.
    correlation_factors
        The same of each diagonal element; None where no hop leads along the axis.
    site_share
        Half of the shares of all hops at each site, shape=(n_sites,).
    """

    tensor: FloatArray
    log10_d: float | None
    effective_barrier: float | None
    effective_barriers: Triple
    hop_share: FloatArray
    occupation: FloatArray
    correlation_factor: float | None
    correlation_factors: Triple
    site_share: FloatArray

    @property
    def d(self) -> float:
        """A third of the trace of the tensor, in cm^2/s."""
        return float(np.trace(self.tensor)) / 3

    @property
    def hop_participation(self) -> float:
        """Fraction of hops that carry the current, 1 / (n sum f^2): 1 if all do alike, 1/n if one does, 0 if none."""
        return _participation(self.hop_share)

    @property
    def site_participation(self) -> float:
        """Fraction of sites that carry the current, 1 / (n sum of squared site shares)."""
        return _participation(self.site_share)

    def hops_carrying(self, share: float = 0.9) -> IntArray:
        """Return the fewest hops that together dissipate this share of the power, the largest first."""
        order = np.argsort(-self.hop_share, kind="stable")
        if self.log10_d is None:
            return order[:0]
        # Without the margin rounding would add a hop where shares are equal.
        return order[: 1 + int(np.searchsorted(np.cumsum(self.hop_share[order]), share - 1e-12))]


def diffusion(
    network: HopNetwork,
    site_energies: ArrayLike,
    saddle_energies: ArrayLike,
    temperature_K: float,
    *,
    attempt_frequency_THz: float = 10.0,
) -> Diffusion:
    """Return the exact diffusion of one walker on a periodic network, from the master equation.

    The rate from site i over hop h is nu exp(-(S_h - E_i) / kT). By detailed balance the master equation is that of a
    resistor network with conductances w_h = exp(-S_h / kT). Along a unit vector e ::

        D_ee = nu / Z  min over g of  sum_h w_h (d_h.e + g_end - g_start)^2,     Z = sum_i exp(-E_i / kT)

    where d_h is the displacement of hop h and each undirected hop counts once (the variational principle of
    doi:10.1103/PhysRevLett.121.235901 for one walker). Because the minimum is stationary, its derivatives are explicit:
    d ln D / d S_h = -f_h / kT with the share f_h of hop h in the sum, and ::

        -d ln D / d(1/kT) = sum_h f_h S_h - sum_i p_i E_i

    The displacements are replaced by windings (`hemiec.transport.kinetics.percolation`), integers that are zero for all
    hops below the bottleneck, and each direction is solved in units of its own bottleneck: directions without diffusion
    give exactly zero, and temperatures near zero are no harder than others. Sets of sites that no hop joins share the
    walker in equilibrium.

    Parameters
    ----------
    network
        Sites and hops.
    site_energies
        E_i in eV, any zero, shape=(n_sites,).
    saddle_energies
        S_h in eV, same zero, shape=(n_hops,); +infinity closes a hop. A saddle below its sites is not refused: the
        rate is then above the attempt frequency.
    temperature_K
        Temperature.
    attempt_frequency_THz
        nu, the same for all hops.

    Raises
    ------
    InputError
        If energies are missing or not finite, or temperature or frequency are not positive.
    NotConvergedError
        If the iterative solve (of more than some hundred sites) misses its tolerance.
    """
    sites, saddles = check_energies(network, site_energies, saddle_energies)
    kT, log_prefactor = _thermal(temperature_K, attempt_frequency_THz)
    return _Walk(network, sites, saddles, kT, log_prefactor).diffusion()


def diffusion_many(
    network: HopNetwork,
    site_energies: ArrayLike,
    saddle_energies: ArrayLike,
    temperature_K: float,
    *,
    attempt_frequency_THz: float = 10.0,
) -> tuple[FloatArray, FloatArray]:
    """Return tensors and effective barriers of `diffusion` for many draws of the energies of one network.

    Parameters
    ----------
    network, temperature_K, attempt_frequency_THz
        As in `diffusion`.
    site_energies, saddle_energies
        In eV, shapes (n_draws, n_sites) and (n_draws, n_hops).

    Returns
    -------
    tensors
        In cm^2/s, shape=(n_draws, 3, 3).
    effective_barriers
        Of a third of the trace, in eV, shape=(n_draws,); NaN where the walker is confined.

    Raises
    ------
    InputError, NotConvergedError
        As in `diffusion`.
    """
    sites, saddles = (np.atleast_2d(np.asarray(x, dtype=float)) for x in (site_energies, saddle_energies))
    if len(sites) != len(saddles):
        raise InputError(f"{len(sites)} draws of site energies, but {len(saddles)} of saddle energies.")
    kT, log_prefactor = _thermal(temperature_K, attempt_frequency_THz)
    tensors, barriers = np.zeros((len(sites), 3, 3)), np.full(len(sites), np.nan)
    for n in range(len(sites)):
        walk = _Walk(network, *check_energies(network, sites[n], saddles[n]), kT, log_prefactor)
        drops = walk.drops()
        tensors[n] = walk.tensor(drops)
        log_power, share = walk.power(drops)
        barrier = walk.barrier(log_power, share)
        barriers[n] = np.nan if barrier is None else barrier
    return tensors, barriers


def harmonic_displacements(
    network: HopNetwork, site_energies: ArrayLike, saddle_energies: ArrayLike, temperature_K: float
) -> FloatArray:
    """Return d_h + g_end - g_start of every hop with the minimising g of `diffusion`, in angstrom, shape=(n_hops, 3).

    Their sum along a path differs from the displacement by a bounded function of its ends. In these coordinates the
    walker has no drift on any site, so that the square of its displacement grows linearly from the first hop on.

    Raises
    ------
    InputError, NotConvergedError
        As in `diffusion`.
    """
    kT, log_prefactor = _thermal(temperature_K, 1.0)
    return _Walk(network, *check_energies(network, site_energies, saddle_energies), kT, log_prefactor).drops()


def _thermal(temperature_K: float, attempt_frequency_THz: float) -> tuple[float, float]:
    """Return kT in eV, and ln of angstrom^2 times the attempt frequency in cm^2/s."""
    for name, value in (("temperature_K", temperature_K), ("attempt_frequency_THz", attempt_frequency_THz)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, got {value!r}.")
    return BOLTZMANN_EV_PER_K * temperature_K, float(np.log(attempt_frequency_THz * CM2_PER_S))


def _participation(share: FloatArray) -> float:
    squares = float((share**2).sum())
    return 1 / (len(share) * squares) if squares > 0 else 0.0


def _ratio(log: float, log_of_whole: float) -> float | None:
    return None if log_of_whole == -np.inf else float(np.exp(log - log_of_whole))


class _Walk:
    """One walker: energies relative to the lowest site and in units of kT."""

    def __init__(
        self, network: HopNetwork, sites: FloatArray, saddles: FloatArray, kT: float, log_prefactor: float
    ) -> None:
        self.network, self.kT = network, kT
        self.windings: Windings = windings(network, saddles)
        self.E, self.S = (sites - sites.min()) / kT, (saddles - sites.min()) / kT
        boltzmann = np.exp(-self.E)
        self.occupation = boltzmann / boltzmann.sum()
        self.log_prefactor = log_prefactor - float(np.log(boltzmann.sum()))

    def diffusion(self) -> Diffusion:
        drops, lengths = self.drops(), self.network.displacements
        log_power, share = self.power(drops)
        log_bare = self.power(lengths)[0]
        axes = [self.power(drops[:, [d]]) for d in range(3)]
        bare = [self.power(lengths[:, [d]])[0] for d in range(3)]
        ends = np.concatenate([self.network.start, self.network.end])
        log_d = self.log_prefactor + log_power - np.log(3)
        barriers = [self.barrier(*axis) for axis in axes]
        factors = [_ratio(log, whole) for (log, _), whole in zip(axes, bare, strict=True)]
        return Diffusion(
            tensor=self.tensor(drops),
            log10_d=None if log_power == -np.inf else float(log_d / np.log(10)),
            effective_barrier=self.barrier(log_power, share),
            effective_barriers=(barriers[0], barriers[1], barriers[2]),
            hop_share=share,
            occupation=self.occupation,
            correlation_factor=_ratio(log_power, log_bare),
            correlation_factors=(factors[0], factors[1], factors[2]),
            site_share=np.bincount(ends, np.tile(share, 2) / 2, self.network.n_sites).astype(float),
        )

    def power(self, drops: FloatArray) -> tuple[float, FloatArray]:
        """Return ln of sum_h w_h |x_h|^2, -inf if zero, and the share of every hop, for vectors x_h."""
        squares = np.einsum("hd,hd->h", drops, drops)
        used = np.flatnonzero((squares > 0) & np.isfinite(self.S))
        share = np.zeros(len(squares))
        if len(used) == 0:
            return -np.inf, share
        logs = np.log(squares[used]) - self.S[used]
        terms = np.exp(logs - logs.max())
        share[used] = terms / terms.sum()
        return float(logs.max() + np.log(terms.sum())), share

    def barrier(self, log_power: float, share: FloatArray) -> float | None:
        """Return sum_h f_h S_h - sum_i p_i E_i in eV."""
        if log_power == -np.inf:
            return None
        used = share > 0
        return float((share[used] @ self.S[used] - self.occupation @ self.E) * self.kT)

    def tensor(self, drops: FloatArray) -> FloatArray:
        """Return the diffusion tensor in cm^2/s."""
        used = np.flatnonzero(drops.any(axis=1))
        if len(used) == 0:
            return np.zeros((3, 3))
        lowest = self.S[used].min()
        half = np.exp((lowest - self.S[used]) / 2)[:, None] * drops[used]
        return np.exp(self.log_prefactor - lowest) * (half.T @ half)

    def drops(self) -> FloatArray:
        """Return d_h + g_end - g_start of every hop for fields along the axes, in angstrom, shape=(n_hops, 3)."""
        cut = self.windings
        cluster = cut.cluster[self.network.start]
        opening = cut.opening_hop[cluster]
        level = np.where(opening >= 0, self.S[opening], np.inf) if self.network.n_hops else np.zeros((0, 3))
        vectors = cut.basis @ self.network.lattice
        # A product of a rotated lattice that should be zero is not quite.
        vectors[np.abs(vectors) < 1e-12 * np.abs(vectors).max()] = 0
        drops = np.zeros((self.network.n_hops, 3))
        for group in _groups(level):
            used = np.flatnonzero(np.isfinite(level[:, group[0]]) & np.isfinite(self.S))
            if len(used) > 0:
                found = self.solve(used, level[used, group[0]] - self.S[used], cut.components[used][:, group])
                drops[used] += np.einsum("hn,hnd->hd", found, vectors[cluster[used]][:, group])
        return drops

    def solve(self, used: IntArray, log_w: FloatArray, components: FloatArray) -> FloatArray:
        """Return c_h + g_end - g_start of some hops for windings c of shape (n_used, n_directions), in that shape."""
        start, end = self.network.start[used], self.network.end[used]
        short, kept = log_w > _SHORT, (log_w > _OPEN) & (log_w <= _SHORT)
        node = np.arange(self.network.n_sites)
        if short.any():
            joined = coo_matrix((np.ones(short.sum()), (start[short], end[short])), shape=(len(node), len(node)))
            node = connected_components(joined, directed=False)[1]
        nodes, ends = np.unique(node[np.concatenate([start[kept], end[kept]])], return_inverse=True)
        a, b = ends.reshape(2, -1)
        g = np.zeros((len(node), components.shape[1]))
        g[nodes] = potentials(len(nodes), a, b, np.exp(log_w[kept]), components[kept])
        return np.where(short[:, None], 0.0, components + g[node[end]] - g[node[start]])


def _groups(level: FloatArray) -> list[list[int]]:
    """Return which directions to solve together, given the energies at which they open, shape=(n_hops, 3)."""
    groups = [[0]]
    for d in (1, 2):
        opens = np.isfinite(level[:, d])
        if np.all(level[opens, d] - level[opens, groups[-1][0]] < _CLOSE):
            groups[-1].append(d)
        else:
            groups.append([d])
    return groups
