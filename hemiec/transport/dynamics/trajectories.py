"""Diffusion from molecular dynamics: hops, mean squared displacements and what they say about D, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.spatial import cKDTree
from scipy.stats import chi2

from hemiec.errors import InputError, StructureError
from hemiec.transport.network import FloatArray, IntArray

#: angstrom^2/ps in cm^2/s.
CM2_PER_S = 1e-4
#: With fewer hops there is an upper bound, not a number: ten leave an error of a third.
MIN_HOPS = 10
#: An ion belongs to a site once it is within this many distances between sites; until then it keeps the one before.
_AT_SITE = 0.35
#: Displacements are correlated while a vacancy can still go back: the line begins after this many hops of each vacancy.
#: An ion hops back at once, on any network; a vacancy does so where energies differ, and its line is worse known, so
#: short runs begin it earlier: at this part of the run, after one hop at the earliest.
_FIRST_HOPS, _EARLY_START = 5.0, 0.025
#: The line begins at the latest, and ends, at these parts of the run: longer lags have too few samples.
_LATEST_START, _LAST = 0.1, 0.25
_N_LAGS = 16
#: A slope whose 5 % quantile is below this part of its median is not told from zero.
_RESOLVED = 0.25
#: Least part of Gaussian displacements in the variance at the last lag, against that of jumps.
_LEAST_GAUSSIAN = 0.1
#: Steps of the posterior sampling. Without the discarded ones the walkers have not spread yet.
_SAMPLES, _DISCARDED, _THINNING = 500, 500, 10


@dataclass(frozen=True, eq=False)
class IonTrajectory:
    """Where the mobile ions of a cell went.

    Parameters
    ----------
    positions
        Cartesian, relative to the atoms that stay, unwrapped, equally spaced in time, in angstrom,
        shape=(n_frames, n_ions, 3).
    interval_ps
        Time between frames.
    lattice
        Cell vectors, rows, in angstrom, shape=(3, 3).
    sites
        Fractional coordinates of all sites of the ions, vacant ones too, shape=(n_sites, 3).

    Raises
    ------
    InputError
        If the arrays do not fit each other.
    StructureError
        If no site is vacant.
    """

    positions: FloatArray
    interval_ps: float
    lattice: FloatArray
    sites: FloatArray

    def __post_init__(self) -> None:
        shape = self.positions.shape
        if len(shape) != 3 or shape[2] != 3 or shape[0] < 2 or shape[1] < 1:
            raise InputError(f"positions need the shape (n_frames > 1, n_ions, 3), got {shape}.")
        if not (np.isfinite(self.positions).all() and self.interval_ps > 0):
            raise InputError("positions have to be finite and the interval between frames positive.")
        if self.n_vacancies < 1:
            raise StructureError(
                f"{shape[1]} ions on {len(self.sites)} sites leave none vacant.", mend="take ions out of the cell"
            )

    @property
    def n_vacancies(self) -> int:
        """Vacant sites."""
        return len(self.sites) - self.positions.shape[1]

    @property
    def duration_ps(self) -> float:
        """Time from the first frame to the last."""
        return (len(self.positions) - 1) * self.interval_ps


@dataclass(frozen=True)
class Diffusivity:
    """A diffusion coefficient in cm^2/s: a value with its 90 % interval, or an upper bound and the reason.

    Parameters
    ----------
    value
        Median of the posterior; None if diffusion was not seen.
    interval
        Its 5 and 95 % quantiles; None without value.
    upper_bound
        95 % upper bound; None with a value.
    reason
        Why there is no value; None if there is one.
    lags_ps, msd
        Time differences and mean squared displacements that it rests on, in ps and angstrom^2; empty if too few hops
        were seen.
    """

    value: float | None
    interval: tuple[float, float] | None
    upper_bound: float | None = None
    reason: str | None = None
    lags_ps: tuple[float, ...] = ()
    msd: tuple[float, ...] = ()


@dataclass(frozen=True)
class IonDiffusion:
    """Diffusion seen in a trajectory: of a vacancy, of an ion, and the hops behind both."""

    vacancy: Diffusivity
    tracer: Diffusivity
    n_hops: int


def require_kinisi() -> None:
    """Raise InputError, with the mend, if the estimator's library is not installed."""
    from importlib.util import find_spec

    if find_spec("kinisi") is None:
        raise InputError("kinisi, which molecular dynamics needs, is not installed.", mend="pip install 'hemiec[md]'")


def relative_to(positions: FloatArray, framework: FloatArray, masses: FloatArray | None = None) -> FloatArray:
    """Return positions without the drift of the atoms that stay.

    Parameters
    ----------
    positions
        Unwrapped, in angstrom, shape=(n_frames, n_ions, 3).
    framework
        The same of the atoms that stay, shape=(n_frames, n_atoms, 3); without atoms nothing is taken away.
    masses
        Weights of their mean, shape=(n_atoms,); None for equal ones.
    """
    if framework.shape[1] == 0:
        return positions
    mean = np.average(framework, axis=1, weights=masses)
    return positions - (mean - mean[0])[:, None]


def count_hops(trajectory: IonTrajectory) -> int:
    """Return how often an ion went from one site to another.

    An ion changes site when it comes near another one, not when it leaves its own: vibrations do not count.
    """
    lattice, sites = trajectory.lattice, trajectory.sites % 1.0
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    tree = cKDTree(((sites[None] + images[:, None]) @ lattice).reshape(-1, 3))
    reach = _AT_SITE * _site_spacing(trajectory)
    wrapped = (trajectory.positions @ np.linalg.inv(lattice)) % 1.0
    distance, found = tree.query(wrapped @ lattice, distance_upper_bound=reach)
    site = np.where(np.isfinite(distance), found % len(sites), -1)
    hops = 0
    for of_ion in site.T:
        seen = of_ion[of_ion >= 0]
        hops += int(np.count_nonzero(np.diff(seen)))
    return hops


def ion_diffusion(trajectory: IonTrajectory, *, seed: int = 0) -> IonDiffusion:
    """Return the diffusion of the vacancies and of the ions of a cell at one temperature.

    A vacancy moves against the ions: its D is that of the joint displacement of all ions over the number of vacancies,
    which is what the network of a single vacancy gives, and what carries the charge. An ion's own D is smaller, by its
    share of the vacancies and by the correlation of its hops.

    D is a sixth of the slope of the mean squared displacement, beyond the lags at which ions hop back, from the
    Bayesian regression of kinisi (doi:10.1021/acs.jctc.4c01249). Its covariances are given variances that a sum of rare
    jumps and of Brownian motion has, fitted to those seen: as they are, noise makes the matrix indefinite.

    Parameters
    ----------
    trajectory
        Equilibrated.
    seed
        Seed of the posterior sampling.

    Raises
    ------
    InputError
        If kinisi is not installed, or the run has fewer than 100 frames.
    """
    if len(trajectory.positions) < 100:
        raise InputError(f"diffusion needs 100 frames or more, got {len(trajectory.positions)}.")
    n_hops = count_hops(trajectory)
    n_ions, n_vacancies = trajectory.positions.shape[1], trajectory.n_vacancies
    if n_hops < MIN_HOPS:
        bound = _bound_from_hops(trajectory, n_hops)
        seen = f"{n_hops} hop{'' if n_hops == 1 else 's'}" if n_hops else "no diffusion"
        reason = f"{seen} seen within {trajectory.duration_ps:g} ps, a value needs {MIN_HOPS}"
        return IonDiffusion(
            vacancy=Diffusivity(None, None, bound / n_vacancies, reason),
            tracer=Diffusivity(None, None, bound / n_ions, reason),
            n_hops=n_hops,
        )
    require_kinisi()
    of_a_hop = n_vacancies / n_hops
    latest = min(_FIRST_HOPS * of_a_hop, _LATEST_START)
    earliest = min(max(of_a_hop, _EARLY_START), latest)
    lags = _lags(trajectory, earliest)
    return IonDiffusion(
        vacancy=_estimate(trajectory, lags, earliest, collective=True, seed=seed),
        tracer=_estimate(trajectory, lags, latest, collective=False, seed=seed),
        n_hops=n_hops,
    )


def _site_spacing(trajectory: IonTrajectory) -> float:
    """Return the largest distance from a site to its nearest neighbour, in angstrom."""
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = trajectory.sites % 1.0
    tree = cKDTree(((sites[None] + images[:, None]) @ trajectory.lattice).reshape(-1, 3))
    return float(tree.query(sites @ trajectory.lattice, k=2)[0][:, 1].max())


def _bound_from_hops(trajectory: IonTrajectory, n_hops: int) -> float:
    """Return the 95 % upper bound of D of one ion with all hops, for uncorrelated hops to nearest neighbours."""
    most = float(chi2.ppf(0.95, 2 * n_hops + 2)) / 2
    return most * _site_spacing(trajectory) ** 2 / (6 * trajectory.duration_ps) * CM2_PER_S


def _lags(trajectory: IonTrajectory, start: float) -> IntArray:
    """Return the time differences of the line, in frames, from one that is given as a part of the run."""
    n = len(trajectory.positions) - 1
    return np.unique(np.geomspace(max(1.0, start * n), _LAST * n, _N_LAGS).astype(np.int64))


def _estimate(trajectory: IonTrajectory, lags: IntArray, start: float, *, collective: bool, seed: int) -> Diffusivity:
    """Return D of a vacancy (collective) or of an ion from lags that are longer than a part of the run."""
    import scipp
    from kinisi.diffusion import Diffusion
    from kinisi.displacement import calculate_msd, calculate_mstd

    parsed = _parsed(trajectory, lags)
    found = (calculate_mstd if collective else calculate_msd)(parsed, progress=False)
    scale = trajectory.positions.shape[1] / trajectory.n_vacancies if collective else 1.0
    data = found["da"]["time interval", : len(lags)]
    times, n_samples = data.coords["time interval"].values, data.coords["n_samples"].values
    data.variances = _smooth(times, data.variances * n_samples) / n_samples
    regression = Diffusion(scipp.DataGroup({"da": data, "dimensionality": found["dimensionality"]}))
    state = np.random.get_state()  # noqa: NPY002, kinisi seeds and uses the global generator
    try:
        regression.bayesian_regression(
            data.coords["time interval"][min(int((times < start * trajectory.duration_ps).sum()), len(times) - 3)],
            n_samples=_SAMPLES,
            n_burn=_DISCARDED,
            n_thin=_THINNING,
            progress=False,
            random_state=np.random.RandomState(seed),
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    low, median, high = (float(d) for d in np.quantile(regression.gradient.values, [0.05, 0.5, 0.95]) * scale / 6)
    lags_ps, msd = tuple(times.tolist()), tuple((data.values * scale).tolist())
    if low < _RESOLVED * median:
        reason = f"the mean squared displacement within {trajectory.duration_ps:g} ps does not grow beyond its error"
        return Diffusivity(None, None, high * CM2_PER_S, reason, lags_ps, msd)
    return Diffusivity(median * CM2_PER_S, (low * CM2_PER_S, high * CM2_PER_S), None, None, lags_ps, msd)


def _parsed(trajectory: IonTrajectory, lags: IntArray) -> Any:
    """Return the trajectory as kinisi takes it; the last lag is the whole run, which it counts samples by."""
    import scipp
    from kinisi.parser import Parser

    n_frames, n_ions, _ = trajectory.positions.shape
    frames = scipp.array(dims=["time interval"], values=np.append(lags, n_frames - 1))
    interval = scipp.scalar(trajectory.interval_ps, unit="ps")
    return Parser(
        coords=scipp.array(
            dims=["time", "particle", "dimension"], values=trajectory.positions @ np.linalg.inv(trajectory.lattice)
        ),
        latt=scipp.array(
            dims=["time", "row", "column"], values=np.tile(trajectory.lattice, (n_frames, 1, 1)), unit="angstrom"
        ),
        time_step=interval,
        step_skip=scipp.scalar(1),
        dt=frames * interval,
        specie_indices=scipp.array(dims=["particle"], values=np.arange(n_ions)),
        drift_indices=scipp.array(dims=["particle"], values=np.array([], dtype=np.int64)),
    )


def _smooth(times: FloatArray, variances: FloatArray) -> FloatArray:
    """Return variances of squared displacements as b t + c t^2, fitted to those seen.

    n rare jumps of length l have the variance n l^4, and displacements that are Gaussian two thirds of their mean
    square squared. Neither b nor c is negative, and c is not zero: jumps alone make all lags one measurement, whose
    covariance matrix is singular.
    """
    jumps = times * (1 + _LEAST_GAUSSIAN * times / times[-1])
    terms = np.stack([jumps, times**2], axis=1)
    weights, _ = nnls(terms / variances[:, None], np.ones(len(times)))
    return terms @ weights
