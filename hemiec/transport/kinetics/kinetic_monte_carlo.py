"""Kinetic Monte Carlo of walkers that exclude each other from the sites of a periodic network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit

from hemiec.errors import InputError, NotConvergedError
from hemiec.transport.kinetics.diffusion import CM2_PER_S, harmonic_displacements
from hemiec.transport.kinetics.percolation import check_energies
from hemiec.transport.kinetics.residence_time import HopTable, hop_table, walk
from hemiec.transport.network import FloatArray, HopNetwork, IntArray
from hemiec.units import BOLTZMANN_EV_PER_K

#: Positions are recorded at equal intervals of a run: so many that all sites together have about as many records as the
#: first number says, within the limits of the other two.
_RECORDS_OF_ALL, _MIN_RECORDS, _MAX_RECORDS = 2**20, 32, 4096
#: A run that takes this many times the expected number of hops is stopped.
_PATIENCE = 100
#: No number without this many effective hops (squared displacement over squared hop length) in all runs, without the
#: second number per walker and run, or if walkers did not cross the network's cell this often.
_MIN_EFFECTIVE, _MIN_EACH, _MIN_CROSSINGS = 200, 1.0, 30
#: Beyond the window taken, diffusion may not slow down by more than this many standard errors, or this share.
_LINEAR_STD, _LINEAR_SHARE = 2.5, 0.01


@dataclass(frozen=True)
class Simulation:
    """How much to simulate.

    Parameters
    ----------
    n_walkers
        Walkers in the replicated cell.
    replicas
        Repetitions of the network's cell along its lattice vectors.
    n_hops
        Hops to expect in all runs together.
    n_runs
        Independent runs; standard errors come from their spread.
    seed
        Of the random numbers; the same seed gives the same result.
    """

    n_walkers: int = 1
    replicas: tuple[int, int, int] = (1, 1, 1)
    n_hops: int = 1_000_000
    n_runs: int = 16
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A diffusion tensor and its standard error, in cm^2/s, shape=(3, 3), and a third of its trace."""

    tensor: FloatArray
    tensor_std: FloatArray
    d: float
    d_std: float


@dataclass(frozen=True)
class KineticMonteCarlo:
    """Diffusion at a finite concentration of walkers.

    Parameters
    ----------
    walker
        Tracer diffusion of a walker, <dr dr> / 2t.
    collective
        Diffusion of the sum R of all walkers' displacements, <dR dR> / (2 n t): what conductivity follows from.
    ion
        If walkers are vacancies: tracer diffusion of the ions that fill the other sites. None without such ions, or if
        their squared displacement did not come to grow linearly. An ion meets the images of a vacancy as if they were
        others: the replicated cell should be large.
    walker_haven_ratio
        walker / collective (traces) and its standard error: the Haven ratio if walkers are ions.
    ion_haven_ratio
        The Haven ratio if walkers are vacancies, n_ions ion / (n_walkers collective), and its standard error.
    ion_correlation_factor
        Trace of ``ion`` over that of uncorrelated hops at the same rate, and its standard error.
    n_walkers, n_sites
        In the replicated cell.
    n_hops
        Hops made.
    effective_hops
        Squared displacements of all walkers over the mean squared hop: hops back and forth do not count.
    time_s
        Time simulated, all runs together.
    """

    walker: Estimate
    collective: Estimate
    ion: Estimate | None
    walker_haven_ratio: tuple[float, float]
    ion_haven_ratio: tuple[float, float] | None
    ion_correlation_factor: tuple[float, float] | None
    n_walkers: int
    n_sites: int
    n_hops: int
    effective_hops: float
    time_s: float


def kinetic_monte_carlo(
    network: HopNetwork,
    site_energies: ArrayLike,
    saddle_energies: ArrayLike,
    temperature_K: float,
    *,
    simulation: Simulation | None = None,
    attempt_frequency_THz: float = 10.0,
) -> KineticMonteCarlo:
    """Return the diffusion of walkers that hop on a network and never share a site.

    Rejection-free residence-time algorithm (doi:10.1016/0021-9991(75)90060-1): a binary tree over the walkers' total
    rates selects the next hop. Runs begin in equilibrium: the sites are drawn independently with Fermi probabilities
    until as many are filled as there are walkers, which is the canonical distribution of walkers without other
    interaction.

    Walkers are followed in the harmonic coordinates of the dilute limit (`harmonic_displacements`, with the mean share
    of free sites in the rates), which differ from true ones by a bounded amount: the limit is the same, but hops back
    and forth between two sites hardly count, and squares grow linearly almost from the start. Displacements are taken
    over the shortest window from which on they do; standard errors come from the spread between runs. Whether walkers
    are trapped is judged by the trace of the tensor, not by its smallest element.

    Parameters
    ----------
    network
        Sites and hops of the cell that is repeated.
    site_energies, saddle_energies
        In eV, same zero, shapes (n_sites,) and (n_hops,); +infinity closes a hop.
    temperature_K
        Temperature.
    simulation
        How much to simulate; default one walker and a million hops.
    attempt_frequency_THz
        The same for all hops.

    Raises
    ------
    InputError
        If input is missing or not physical, walkers would meet their own images, or no path crosses the cell.
    NotConvergedError
        If walkers are trapped: they made too few effective hops, or diffusion still slows down at the longest window.
        Nothing is returned rather than a number that the runs do not hold.
    """
    simulation = simulation or Simulation()
    sites, saddles = check_energies(network, site_energies, saddle_energies)
    for name, value in (("temperature_K", temperature_K), ("attempt_frequency_THz", attempt_frequency_THz)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, got {value!r}.")
    _check(network, simulation)
    kT = BOLTZMANN_EV_PER_K * temperature_K
    n_cells = int(np.prod(simulation.replicas))
    reduced = np.tile((sites - sites.min()) / kT, n_cells)
    reduced -= _chemical_potential(reduced, simulation.n_walkers)
    # A lone walker blocks nobody.
    log_free = log_expit(reduced[: network.n_sites]) if simulation.n_walkers > 1 else np.zeros(network.n_sites)
    blocked = saddles - kT * (log_free[network.start] + log_free[network.end])
    harmonic = harmonic_displacements(network, sites, blocked, temperature_K)
    if not harmonic.any():
        raise InputError("no path of open hops leads to a periodic image: walkers are confined and do not diffuse.")
    table, log_unit = hop_table(network, sites / kT, saddles / kT, harmonic, simulation.replicas)
    runs = _simulate(table, reduced, simulation)
    unit_THz = attempt_frequency_THz * np.exp(log_unit)
    return _analyse(runs, unit_THz, simulation.n_walkers, n_cells * network.n_sites, network.volume)


class _Runs(NamedTuple):
    """What came of all runs.

    Parameters
    ----------
    walkers, together, ions
        <dr dr> / 2t over windows of 1, 2, 4 ... intervals, in angstrom^2 times the fastest rate, of one walker, of the
        sum of all and of one ion, shape=(n_runs, n_windows, 3, 3).
    n_hops
        Shape=(n_runs,).
    squares
        Sum of the squared lengths of all hops in angstrom^2, shape=(n_runs,).
    span
        Time of one run in units of the inverse fastest rate.
    """

    walkers: FloatArray
    together: FloatArray
    ions: FloatArray
    n_hops: IntArray
    squares: FloatArray
    span: float


def _check(network: HopNetwork, simulation: Simulation) -> None:
    n_sites = network.n_sites * int(np.prod(simulation.replicas))
    counts = (simulation.n_hops, *simulation.replicas)
    if len(simulation.replicas) != 3 or min(counts) < 1 or simulation.n_runs < 4:
        raise InputError(f"replicas and hops must be positive and runs at least 4, got {simulation}.")
    if not (simulation.n_walkers == 1 or 1 <= simulation.n_walkers < n_sites):
        raise InputError(
            f"{simulation.n_walkers} walkers cannot move on {n_sites} sites: expected from 1 to one less than sites.",
            mend="change `n_walkers` or `replicas`",
        )
    reach = np.abs(network.image[network.onto_own_image]) % np.array(simulation.replicas)
    if simulation.n_walkers > 1 and len(reach) and not reach.any(axis=1).all():
        raise InputError(
            "a hop leads from a site to its own periodic image, where exclusion has no meaning.",
            mend="raise `replicas` along it",
        )


def _chemical_potential(E: FloatArray, n_walkers: int) -> float:
    """Return mu for which the Fermi occupations 1 / (1 + exp(E - mu)) add to the number of walkers; in units of kT."""
    low, high = E.min() - np.log(2 * len(E)) - 1, E.max() + np.log(2 * len(E)) + 1
    if n_walkers == len(E):
        return float(high)
    return float(brentq(lambda mu: float(expit(mu - E).sum()) - n_walkers, low, high, xtol=1e-12))


def _simulate(table: HopTable, E: FloatArray, simulation: Simulation) -> _Runs:
    """Return all runs, given site energies relative to the chemical potential in units of kT."""
    fermi = expit(-E)
    from_site = np.repeat(np.arange(len(E)), np.diff(table.first))
    free = 1.0 if simulation.n_walkers == 1 else expit(E)[table.other]
    rate = float((fermi[from_site] * table.rate * free).sum())
    if rate == 0:
        raise NotConvergedError("no walker can move: the hops from filled sites to free ones are too slow for a float.")
    each = max(1, simulation.n_hops // simulation.n_runs)
    span = each / rate
    n_records = 2 ** int(np.log2(np.clip(_RECORDS_OF_ALL / len(fermi), _MIN_RECORDS, _MAX_RECORDS)))
    found: list[list[FloatArray]] = [[], [], []]
    n_hops, squares = [], []
    for seed in np.random.SeedSequence(simulation.seed).spawn(simulation.n_runs):
        generator = np.random.default_rng(seed)
        filled = _canonical(fermi, simulation.n_walkers, generator)
        walkers = np.zeros((n_records + 1, simulation.n_walkers, 3))
        ions = np.zeros((n_records + 1, len(fermi) - simulation.n_walkers, 3))
        limit = _PATIENCE * each + 10_000
        hops, squared = walk(table, filled, walkers, ions, span / n_records, limit, generator)
        if hops < 0:
            raise NotConvergedError(
                f"a walker hops back and forth: one run took more than {limit} hops where {each} were expected.",
                mend="raise the temperature or `n_hops`, or use the exact solution of the dilute limit",
            )
        for n, positions in enumerate((walkers, walkers.sum(axis=1, keepdims=True), ions)):
            found[n].append(_windows(positions, span))
        n_hops.append(hops)
        squares.append(squared)
    walker, together, ion = (np.array(x) for x in found)
    return _Runs(walker, together / simulation.n_walkers, ion, np.array(n_hops), np.array(squares), span)


def _windows(positions: FloatArray, span: float) -> FloatArray:
    """Return <dr dr> / 2t for windows of 1, 2, 4 ... intervals up to half a run, shape=(n_windows, 3, 3)."""
    n_records = len(positions) - 1
    found = []
    for every in 2 ** np.arange(int(np.log2(n_records))):
        moved = np.diff(positions[::every], axis=0).reshape(-1, 3)
        found.append(moved.T @ moved / max(len(moved), 1) / (2 * span * every / n_records))
    return np.array(found)


def _canonical(fermi: FloatArray, n_walkers: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return which sites are filled, drawn from the canonical distribution."""
    while True:
        filled = generator.random(len(fermi)) < fermi
        if np.count_nonzero(filled) == n_walkers:
            return filled


def _analyse(runs: _Runs, unit_THz: float, n_walkers: int, n_sites: int, cell_volume: float) -> KineticMonteCarlo:
    walker, together = _diffusing(runs.walkers), _diffusing(runs.together)
    n_ions, n_runs = n_sites - n_walkers, len(runs.n_hops)
    ion = _diffusing(runs.ions) if n_ions else None
    n_hops = int(runs.n_hops.sum())
    square = 0.0 if walker is None else float(2 * _traces(walker).mean() * runs.span)
    per_walker = square * n_hops / runs.squares.sum() if n_hops else 0.0
    effective = float(per_walker * n_walkers * n_runs)
    crossings = square * n_walkers * n_runs / cell_volume ** (2 / 3)
    mend = "raise `n_hops` or the temperature, or use the exact solution of the dilute limit"
    if walker is None or together is None:
        raise NotConvergedError(f"squared displacements do not yet grow linearly after {n_hops} hops.", mend=mend)
    if effective < _MIN_EFFECTIVE or per_walker < _MIN_EACH or crossings < _MIN_CROSSINGS:
        raise NotConvergedError(
            f"walkers are trapped: {n_hops} hops are worth {effective:.3g}, {per_walker:.2g} per walker and run, and "
            f"cross the cell {crossings:.2g} times.",
            mend=mend,
        )
    to_cm2 = CM2_PER_S * unit_THz
    # Hops of one ion that are not correlated with each other.
    bare = runs.squares / (2 * runs.span * max(n_ions, 1))
    return KineticMonteCarlo(
        walker=_estimate(walker * to_cm2),
        collective=_estimate(together * to_cm2),
        ion=None if ion is None else _estimate(ion * to_cm2),
        walker_haven_ratio=_ratio(_traces(walker), _traces(together)),
        ion_haven_ratio=None if ion is None else _ratio(n_ions * _traces(ion), n_walkers * _traces(together)),
        ion_correlation_factor=None if ion is None else _ratio(_traces(ion), bare),
        n_walkers=n_walkers,
        n_sites=n_sites,
        n_hops=n_hops,
        effective_hops=effective,
        time_s=float(n_runs * runs.span / unit_THz) * 1e-12,
    )


def _diffusing(windows: FloatArray) -> FloatArray | None:
    """Return the diffusion tensor of each run, shape=(n_runs, 3, 3), or None if the longest window is too short.

    Under detailed balance <r^2>/t falls with the window towards its limit, D + C/t in the end. The shortest window is
    sought that no longer one undercuts by more than the standard error of the difference allows; one of four times its
    length, where a quarter of C/t is left, is the result. If there is none, the same with the slopes of <r^2>, which
    are free of C but less certain.
    """
    for tensors in (windows, 2 * windows[:, 1:] - windows[:, :-1]):
        traces = _traces(tensors)
        for n in range(tensors.shape[1] - 1):
            drop = traces[:, n, None] - traces[:, n + 1 :]
            allowed = _LINEAR_STD * drop.std(axis=0, ddof=1) / np.sqrt(len(drop))
            if np.all(drop.mean(axis=0) <= np.maximum(allowed, _LINEAR_SHARE * traces[:, n].mean())):
                return tensors[:, min(n + 2, tensors.shape[1] - 1)]
    return None


def _traces(tensors: FloatArray) -> FloatArray:
    return np.trace(tensors, axis1=-2, axis2=-1)


def _estimate(tensors: FloatArray) -> Estimate:
    n = len(tensors)
    d = _traces(tensors) / 3
    return Estimate(
        tensor=tensors.mean(axis=0),
        tensor_std=tensors.std(axis=0, ddof=1) / np.sqrt(n),
        d=float(d.mean()),
        d_std=float(d.std(ddof=1) / np.sqrt(n)),
    )


def _ratio(above: FloatArray, below: FloatArray) -> tuple[float, float]:
    """Return the ratio of two means over runs and its standard error (jackknife)."""
    n = len(above)
    left_out = (above.sum() - above) / (below.sum() - below)
    std = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    return float(above.sum() / below.sum()), float(std)
