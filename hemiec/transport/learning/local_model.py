"""Site and saddle energies that were not computed, from those that were and from what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.transport.learning.environments import Environments, Features
from hemiec.transport.network import FloatArray, HopNetwork

BoolArray = NDArray[np.bool_]

#: How the variance between centres may be shared out: species near and far, local geometry, and what no feature
#: explains. The data weight them; none is chosen.
_SHARES: tuple[dict[str, float], ...] = (
    {"near": 0.00, "far": 0.00, "local": 0.00, "residual": 1.00},
    {"near": 0.15, "far": 0.05, "local": 0.15, "residual": 0.65},
    {"near": 0.30, "far": 0.00, "local": 0.30, "residual": 0.40},
    {"near": 0.20, "far": 0.20, "local": 0.20, "residual": 0.40},
    {"near": 0.40, "far": 0.10, "local": 0.30, "residual": 0.20},
    {"near": 0.10, "far": 0.00, "local": 0.70, "residual": 0.20},
    {"near": 0.45, "far": 0.05, "local": 0.45, "residual": 0.05},
)
#: Factors on the expected spread, and the standard deviation of its logarithm.
_SPREADS, _LOG_SPREAD_STD = (0.2, 0.35, 0.6, 1.0, 1.6), 0.7
#: Share of its end sites' energies that a saddle follows, and how likely each is beforehand: 1 is the kinetically
#: resolved form, 0 a saddle that knows nothing of its ends.
_FOLLOWS = {0.0: 0.15, 0.5: 0.35, 1.0: 0.5}
#: Components of the mixture below this weight are left out.
_NEGLIGIBLE = 2e-3
#: How far off the zero of the site energies may be, in eV: their mean is taken off before.
_ZERO_STD = 0.5
#: Added to variances in eV^2, so that rounding makes none of them negative.
_JITTER = 1e-12
#: Of a Gaussian distribution, 90 % lie within this many standard deviations.
_Z90 = 1.6448536269514722


@dataclass(frozen=True)
class Prior:
    """What is expected of a cell before anything is computed; all in eV.

    Parameters
    ----------
    site_spread
        Standard deviation of site energies in a cell: 0.1 to 0.4 with CHGNet in five-cation cobaltites and ferrites.
    saddle_spread
        Standard deviation of saddle energies after those of their end sites are taken off.
    barrier, barrier_std
        Mean barrier and how uncertain it is: 0.2 to 1.6 in more than 40 perovskites (doi:10.1016/j.ssi.2016.09.007).
    tolerance
        Standard deviation of a computed energy: what is left when a search stops at its force tolerance.
    """

    site_spread: float = 0.25
    saddle_spread: float = 0.2
    barrier: float = 0.6
    barrier_std: float = 0.3
    tolerance: float = 0.005


@dataclass(frozen=True)
class Validation:
    """Leave-one-out prediction of computed energies; all in eV but the fraction.

    Parameters
    ----------
    n
        Computed energies.
    rmse
        Root mean square error, None with fewer than three.
    rmse_of_mean
        The same if each is predicted by the mean of the others, of saddles over their end sites.
    coverage
        Fraction inside the predicted 90 % interval.
    """

    n: int
    rmse: float | None
    rmse_of_mean: float | None
    coverage: float | None


@dataclass(frozen=True)
class _Mixture:
    """Gaussian distributions of the values at the centres that were not computed, one per weighing of the features.

    ``weights`` and ``follows`` have shape=(m,); means, shape=(n_unknown,), and covariances belong to one each.
    """

    weights: FloatArray
    follows: FloatArray
    means: list[FloatArray]
    covariances: list[FloatArray]

    def draw(self, n_draws: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return values, shape=(n_draws, n_unknown), and how much of the end sites' energies is to be added."""
        # Systematic picks: the shares of the components have no noise of their own.
        marks = (np.arange(n_draws) + rng.random()) / n_draws
        picked = rng.permutation(np.searchsorted(np.cumsum(self.weights)[:-1], marks, side="right"))
        values = np.empty((n_draws, len(self.means[0])))
        for k in np.unique(picked):
            rows = np.flatnonzero(picked == k)
            values[rows] = self.means[k] + rng.standard_normal((len(rows), values.shape[1])) @ _root(
                self.covariances[k]
            )
        return values, self.follows[picked]

    def covariance(self) -> tuple[FloatArray, FloatArray]:
        """Return the mean covariance within the distributions, and the covariance of their means."""
        means = np.array(self.means)
        within = np.tensordot(self.weights, np.array(self.covariances), axes=1)
        apart = means - self.weights @ means
        return within, apart.T @ (self.weights[:, None] * apart)


@dataclass(frozen=True)
class Posterior:
    """What is known of all site and saddle energies of a network, in eV with the zero of the computed ones.

    Parameters
    ----------
    network
        Sites and hops.
    site_energies, saddle_energies
        Computed energies, NaN where there is none; shape=(n_sites,) and (n_hops,).
    tolerance
        Standard deviation of a computed energy, in eV.
    site_validation, saddle_validation
        Leave-one-out errors; of a saddle given its end sites.
    """

    network: HopNetwork
    site_energies: FloatArray
    saddle_energies: FloatArray
    tolerance: float
    site_validation: Validation
    saddle_validation: Validation
    _sites: _Mixture = field(repr=False)
    _saddles: _Mixture = field(repr=False)
    _zero: float = field(repr=False)

    @property
    def site_known(self) -> BoolArray:
        """Whether a site was computed, shape=(n_sites,)."""
        return np.isfinite(self.site_energies)

    @property
    def saddle_known(self) -> BoolArray:
        """Whether a saddle was computed, shape=(n_hops,)."""
        return np.isfinite(self.saddle_energies)

    def draw(self, n_draws: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return site energies, shape=(n_draws, n_sites), and saddle energies, shape=(n_draws, n_hops), in eV.

        A saddle that was not computed lies no lower than its end sites.
        """
        sites = self.site_energies + self.tolerance * rng.standard_normal((n_draws, self.network.n_sites))
        saddles = self.saddle_energies + self.tolerance * rng.standard_normal((n_draws, self.network.n_hops))
        sites[:, ~self.site_known] = self._zero + self._sites.draw(n_draws, rng)[0]
        start, end = sites[:, self.network.start], sites[:, self.network.end]
        resolved, follows = self._saddles.draw(n_draws, rng)
        unknown = ~self.saddle_known
        ends = (start + end)[:, unknown] / 2 - self._zero
        drawn = self._zero + resolved + follows[:, None] * ends
        saddles[:, unknown] = np.maximum(drawn, np.maximum(start, end)[:, unknown])
        return sites, saddles

    @cached_property
    def covariances(self) -> dict[str, FloatArray]:
        """Covariance in eV^2 of all site and then all saddle energies, in three parts that add up to it.

        ``sites``: because site energies, and what saddles inherit of them, are uncertain; ``saddles``: because saddles
        are, given their end sites; ``model``: because it is uncertain how far the features are to be trusted. Each has
        shape=(n_sites + n_hops, n_sites + n_hops).
        """
        network, n_sites = self.network, self.network.n_sites
        unknown_sites, unknown_hops = np.flatnonzero(~self.site_known), np.flatnonzero(~self.saddle_known)
        # d (all energies) / d (site energies): a predicted saddle inherits a share from its two ends.
        inherit = np.vstack([np.eye(n_sites), np.zeros((network.n_hops, n_sites))])
        share = float(self._saddles.weights @ self._saddles.follows) / 2
        np.add.at(inherit, (n_sites + unknown_hops, network.start[unknown_hops]), share)
        np.add.at(inherit, (n_sites + unknown_hops, network.end[unknown_hops]), share)
        parts = {}
        for part, of_sites, of_saddles in zip(
            ("within", "model"), self._sites.covariance(), self._saddles.covariance(), strict=True
        ):
            tolerance = self.tolerance**2 if part == "within" else 0.0
            sites = np.diag(np.where(self.site_known, tolerance, 0.0))
            sites[np.ix_(unknown_sites, unknown_sites)] += of_sites
            saddles = np.diag(np.concatenate([np.zeros(n_sites), np.where(self.saddle_known, tolerance, 0.0)]))
            saddles[np.ix_(n_sites + unknown_hops, n_sites + unknown_hops)] += of_saddles
            parts[part] = inherit @ sites @ inherit.T, saddles
        return {"sites": parts["within"][0], "saddles": parts["within"][1], "model": sum(parts["model"])}


def fit_local_model(
    environments: Environments,
    network: HopNetwork,
    site_energies: FloatArray,
    saddle_energies: FloatArray,
    prior: Prior | None = None,
) -> Posterior:
    """Return what the computed energies and the surroundings say about all site and saddle energies of a network.

    Two Gaussian process regressions with linear kernels (Bayesian linear regressions), one of site energies and one
    of saddles less a share of their end sites' mean: with the whole of it, the kinetically resolved activation barrier
    of Van der Ven et al. (doi:10.1103/PhysRevB.64.184307), so that forward minus reverse barrier is the difference of
    the sites whatever is predicted. How far features are to be trusted, the spread, and that share are not fitted,
    which from few energies would be sure too early, but averaged over with the weights that the data give them.
    A computed energy stays what it is, within the tolerance. Everything else keeps a spread of its own that no
    feature explains.

    Parameters
    ----------
    environments
        Features of the sites and hops of this network.
    network
        Sites and hops.
    site_energies, saddle_energies
        In eV with a common zero, shape=(n_sites,) and (n_hops,); NaN where none was computed or the search failed.
        That is not the same as missing by chance, which no model can mend: count failures and report them.
    prior
        What is expected beforehand; default Prior().

    Raises
    ------
    InputError
        If arrays have the wrong length, or energies are infinite.
    """
    prior = prior or Prior()
    site_energies, saddle_energies = _checked(environments, network, site_energies, saddle_energies)
    known = np.isfinite(site_energies)
    zero = float(site_energies[known].mean()) if known.any() else 0.0
    sites = _regress(environments.sites, site_energies - zero, prior.site_spread, 0.0, _ZERO_STD, prior.tolerance)
    ends = (site_energies[network.start] + site_energies[network.end]) / 2 - zero
    candidates = []
    for follows, share in _FOLLOWS.items():
        resolved = saddle_energies - zero - follows * ends
        found = _regress(
            environments.hops, resolved, prior.saddle_spread, prior.barrier, prior.barrier_std, prior.tolerance
        )
        candidates += [replace(c, follows=follows, log_weight=c.log_weight + np.log(share)) for c in found]
    # A computed saddle between sites that were not computed teaches nothing here, but is known.
    unknown = ~np.isfinite(saddle_energies)
    return Posterior(
        network,
        site_energies,
        saddle_energies,
        prior.tolerance,
        _validate(sites),
        _validate(candidates),
        _mixture(sites, environments.sites, ~known),
        _mixture(candidates, environments.hops, unknown),
        zero,
    )


def _checked(
    environments: Environments, network: HopNetwork, site_energies: FloatArray, saddle_energies: FloatArray
) -> tuple[FloatArray, FloatArray]:
    for what, features, energies, n in (
        ("site", environments.sites, site_energies, network.n_sites),
        ("saddle", environments.hops, saddle_energies, network.n_hops),
    ):
        if np.shape(energies) != (n,) or features.n_centres != n:
            raise InputError(
                f"{n} {what} energies and surroundings are needed, NaN where none is known; "
                f"got {np.shape(energies)} and {features.n_centres}."
            )
        if np.isinf(energies).any():
            raise InputError(f"a {what} energy is infinite.", mend="give NaN for a search that failed")
    return np.array(site_energies, dtype=float), np.array(saddle_energies, dtype=float)


@dataclass(frozen=True)
class _Candidate:
    """One regression: hyperparameters fixed, and how well they explain the computed values."""

    log_weight: float
    process: Any
    scales: dict[str, float]
    offset: float
    values: FloatArray
    follows: float = 0.0

    def predict(self, features: Features, rows: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and covariance of the values of some centres, what no feature explains included."""
        mean, covariance = self.process.predict(_design(features, self.scales)[rows], return_cov=True)
        # Of a single centre, a process that was fitted to nothing returns a mean without a dimension.
        return np.reshape(mean, -1) + self.offset, covariance

    def left_out(self) -> tuple[FloatArray, FloatArray]:
        """Return the error of predicting each value from the others and its standard deviation.

        Both in closed form: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equation 5.12.
        """
        from scipy.linalg import cho_solve

        inverse = cho_solve((self.process.L_, True), np.eye(len(self.values)))
        spread = 1 / np.diag(inverse)
        return (inverse @ (self.values - self.offset)) * spread, np.sqrt(spread)


def _design(features: Features, scales: dict[str, float]) -> FloatArray:
    """Return the features, each group in its scale, shape=(n_centres, n_columns)."""
    # A column of zeros where there are no features at all: the process needs one.
    columns = [scales[g] * x for g, x in features.groups.items()]
    return np.hstack([np.zeros((features.n_centres, 1)), *columns])


def _regress(
    features: Features, values: FloatArray, spread: float, mean: float, mean_std: float, tolerance: float
) -> list[_Candidate]:
    """Return a regression for every spread and every way to share it out, with the logarithm of its weight."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import DotProduct, WhiteKernel

    known = np.isfinite(values)
    found = []
    for factor, shares in product(_SPREADS, _SHARES):
        variance = (factor * spread) ** 2
        scales = {group: float(np.sqrt(variance * share)) for group, share in shares.items()}
        kernel = DotProduct(mean_std, "fixed") + WhiteKernel(variance * shares["residual"], "fixed")
        process = GaussianProcessRegressor(kernel, alpha=tolerance**2, optimizer=None)
        log_weight = -0.5 * (np.log(factor) / _LOG_SPREAD_STD) ** 2
        if known.any():
            process.fit(_design(features, scales)[known], values[known] - mean)
            log_weight += process.log_marginal_likelihood_value_
        found.append(_Candidate(log_weight, process, scales, mean, values[known]))
    return found


def _weights(candidates: list[_Candidate]) -> FloatArray:
    logs = np.array([c.log_weight for c in candidates])
    weights = np.exp(logs - logs.max())
    weights[weights < _NEGLIGIBLE * weights.max()] = 0.0
    return weights / weights.sum()


def _mixture(candidates: list[_Candidate], features: Features, unknown: BoolArray) -> _Mixture:
    weights = _weights(candidates)
    kept = np.flatnonzero(weights)
    n = int(unknown.sum())
    predicted = [candidates[k].predict(features, unknown) if n else (np.empty(0), np.empty((0, 0))) for k in kept]
    return _Mixture(
        weights[kept],
        np.array([candidates[k].follows for k in kept]),
        [mean for mean, _ in predicted],
        [covariance for _, covariance in predicted],
    )


def _validate(candidates: list[_Candidate]) -> Validation:
    n = len(candidates[0].values)
    if n < 3:
        return Validation(n, None, None, None)
    weights = _weights(candidates)
    left_out = [c.left_out() for c in candidates]
    errors, spreads = np.array([e for e, _ in left_out]), np.array([s for _, s in left_out])
    error = weights @ errors
    spread = np.sqrt(weights @ (spreads**2 + (errors - error) ** 2))
    of_mean = weights @ [np.std(c.values) * n / (n - 1) for c in candidates]
    return Validation(
        n,
        float(np.sqrt((error**2).mean())),
        float(of_mean),
        float((np.abs(error) < _Z90 * spread).mean()),
    )


def _root(covariance: FloatArray) -> FloatArray:
    """Return R with R.T @ R the covariance."""
    root = np.linalg.cholesky(covariance + _JITTER * np.eye(len(covariance))).astype(np.float64)
    return root.T
