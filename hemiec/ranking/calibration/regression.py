"""A straight line from a cheap tier to a dear one, with classes, correlated cells, and predictive intervals.

The model of one property: ``high - low = X b + e`` with the columns of ``X`` 1, z, c and c z, where z is the cheap
value, centred and scaled, and c the class, -1/2 to 1/2. Residuals of one cell are correlated (compound symmetry), and
their variance may differ between the classes:
``cov(e_i, e_j) = s2 v_i v_j (d_ij (1 - rho) + rho [same cell])``, ``v_i^2 = exp(c_i L)``.

The posterior is exact in b and s2 (doi:10.1201/b16018, sections 14.2 and 15.2) and summed over a grid of the three
parameters that have no closed form: the intraclass correlation rho; the log ratio L of the classes' variances, with a
normal prior of standard deviation 2 ln 2 (residuals differ by a factor of 2); and the prior variance of what follows.
The slope around 1 and the differences between the classes around none have Cauchy priors, which data overrule and few
data leave wide (after doi:10.1214/08-AOAS191); they are relative to s2, so that none carries a unit. The priors of the
offset and of the residuals' standard deviation are flat (doi:10.1214/06-BA117A).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array = NDArray[np.float64]
#: Intraclass correlations of equal prior probability: midpoints of the quantiles of Beta(1, 1/2), whose heavy upper end
#: stands for the few cells that a variance between cells is known from (a half-Cauchy prior behaves so).
CORRELATIONS = 1 - (1 - (np.arange(8) + 0.5) / 8) ** 2
#: Log ratios of the residual variance of the two classes.
LOG_RATIOS = 2 * np.log(2) * np.linspace(-2, 2, 7)
#: Prior variances of slope and class differences (of scaled columns), over s2.
PRIOR_VARIANCES = 400.0 * 5.0 ** np.arange(-6, 1)
#: Energies are no better than this, in the unit of the property: residuals below it are rounding.
FLOOR = 1e-4
#: With fewer, the variance of the coefficients is infinite.
MIN_POINTS = 5


@dataclass(frozen=True)
class Prediction:
    """A corrected value with its interval, in the unit of the property."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Parameter:
    """Posterior mean and standard deviation."""

    mean: float
    std: float


@dataclass(frozen=True)
class Line:
    """The posterior of the model on its grid of shape (n_grid,).

    ``weight`` is normalised; ``coefficients`` (n_grid, 4) and ``covariance`` (n_grid, 4, 4; over s2) belong to the
    columns of X, ``scale2`` (n_grid) is the posterior scale of s2 with ``freedom`` degrees of freedom.
    """

    center: float
    scale: float
    freedom: int
    weight: Array
    coefficients: Array
    covariance: Array
    scale2: Array
    log_ratio: Array
    correlation: Array

    def predict(self, low: float, open_fraction: float, *, level: float = 0.9) -> Prediction:
        """Return the dear tier's value in a new cell: posterior mean and central interval.

        Parameters
        ----------
        low
            The cheap tier's value.
        open_fraction
            Class, from 0 to 1.
        level
            Probability of the interval.
        """
        x = design(np.array([(low - self.center) / self.scale]), np.array([open_fraction]))[0]
        mean = low + self.coefficients @ x
        spread = np.sqrt(self.scale2 * (self._variance(open_fraction) + self._quadratic(x)))
        tail = (1 - level) / 2
        return Prediction(
            value=float(self.weight @ mean),
            low=self._quantile(tail, mean, spread),
            high=self._quantile(1 - tail, mean, spread),
        )

    def offset(self, open_fraction: float) -> Parameter:
        """Return high minus low at ``center`` for a class, in the unit of the property."""
        return self._combination(design(np.array([0.0]), np.array([open_fraction]))[0])

    def slope(self, open_fraction: float) -> Parameter:
        """Return the change of high with low for a class; unit 1."""
        x = np.array([0.0, 1.0, 0.0, open_fraction - 0.5]) / self.scale
        change = self._combination(x)
        return Parameter(1 + change.mean, change.std)

    def residual(self, open_fraction: float) -> Parameter:
        """Return the standard deviation of one point about the line for a class, in the unit of the property."""
        # Moments of the root of a scaled inverse chi-square variable.
        square = self.scale2 * self._variance(open_fraction) * self.freedom / (self.freedom - 2)
        half = self.freedom / 2
        mean = np.sqrt(square * (half - 1)) * np.exp(special.gammaln(half - 0.5) - special.gammaln(half))
        average = float(self.weight @ mean)
        return Parameter(average, max(float(self.weight @ square) - average**2, 0.0) ** 0.5)

    def intraclass_correlation(self) -> Parameter:
        """Return the correlation of the residuals of one cell; unit 1."""
        mean = float(self.weight @ self.correlation)
        return Parameter(mean, float(np.sqrt(self.weight @ (self.correlation - mean) ** 2)))

    def _variance(self, open_fraction: float) -> Array:
        variance: Array = np.exp((open_fraction - 0.5) * self.log_ratio)
        return variance

    def _quadratic(self, x: Array) -> Array:
        form: Array = np.einsum("i,gij,j->g", x, self.covariance, x)
        return form

    def _combination(self, x: Array) -> Parameter:
        mean = self.coefficients @ x
        inner = self.scale2 * self.freedom / (self.freedom - 2) * self._quadratic(x)
        average = float(self.weight @ mean)
        return Parameter(average, float(np.sqrt(self.weight @ (inner + (mean - average) ** 2))))

    def _quantile(self, probability: float, mean: Array, spread: Array) -> float:
        """Return a quantile of the mixture of t distributions; it lies between those of the components."""
        each = mean + spread * special.stdtrit(self.freedom, probability)
        low, high = float(each.min()), float(each.max())
        if high - low < 1e-12 * max(1.0, abs(high)):
            return high

        def excess(q: float) -> float:
            # What scipy.stats.t.cdf calls, without its checks, which take longer than the rest.
            return float(self.weight @ special.stdtr(self.freedom, (q - mean) / spread)) - probability

        return float(optimize.brentq(excess, low - 1e-9, high + 1e-9))


def design(z: Array, open_fraction: Array) -> Array:
    """Return the columns 1, z, c, c z, shape=(n, 4)."""
    c = open_fraction - 0.5
    return np.column_stack([np.ones_like(z), z, c, c * z])


def fit_line(low: Array, high: Array, open_fraction: Array, groups: Sequence[str]) -> Line:
    """Return the posterior of the line from low to high.

    Parameters
    ----------
    low, high
        Values of the cheap and the dear tier, shape=(n,), n of at least 5.
    open_fraction
        Class of each point, 0 to 1, shape=(n,).
    groups
        Cell of each point, shape=(n,).

    Raises
    ------
    ValueError
        If there are fewer than five points.
    """
    n = len(low)
    if n < MIN_POINTS:
        raise ValueError(f"a line with its spread needs at least {MIN_POINTS} points, got {n}")
    # Equal values say nothing about the slope: the prior keeps it.
    center, scale = float(low.mean()), float(low.std()) or 1.0
    X, r = design((low - center) / scale, open_fraction), high - low
    labels = np.array(groups)
    same = (labels[:, None] == labels[None, :]).astype(float)
    rho, ratio, kappa = (a.ravel() for a in np.meshgrid(CORRELATIONS, LOG_RATIOS, PRIOR_VARIANCES, indexing="ij"))
    correlation, log_ratio = (a.ravel() for a in np.meshgrid(CORRELATIONS, LOG_RATIOS, indexing="ij"))
    v = np.exp((open_fraction - 0.5)[None, :] * log_ratio[:, None] / 2)
    V = (correlation[:, None, None] * same + (1 - correlation)[:, None, None] * np.eye(n)) * v[:, :, None] * v[:, None]
    Y = np.linalg.solve(V, np.broadcast_to(np.column_stack([X, r]), (len(V), n, 5)))
    moments = np.einsum("ia,gib->gab", np.column_stack([X, r]), Y)
    moments = np.repeat(moments, len(PRIOR_VARIANCES), axis=0)
    log_V = np.repeat(np.linalg.slogdet(V)[1], len(PRIOR_VARIANCES))
    prior = np.zeros((len(rho), 4))
    prior[:, 1:] = 1 / kappa[:, None]
    A = moments[:, :4, :4] + prior[:, :, None] * np.eye(4)
    b = moments[:, :4, 4]
    covariance = np.linalg.inv(A)
    coefficients = np.einsum("gij,gj->gi", covariance, b)
    S = moments[:, 4, 4] - np.einsum("gi,gi->g", b, coefficients) + n * FLOOR**2
    freedom = n - 2  # one for the offset, one for the prior of s2
    evidence = -0.5 * (log_V + np.linalg.slogdet(A)[1] - np.log(prior[:, 1:]).sum(axis=1) + freedom * np.log(S))
    # Inverse gamma (1/2, 1/2) on the variance of a normal is a Cauchy prior; the grid is even in its logarithm.
    log_prior = -0.5 * np.log(kappa) - 0.5 / kappa - 0.5 * (ratio / (2 * np.log(2))) ** 2
    weight = np.exp(evidence + log_prior - np.max(evidence + log_prior))
    return Line(
        center=center,
        scale=scale,
        freedom=freedom,
        weight=weight / weight.sum(),
        coefficients=coefficients,
        covariance=covariance.astype(np.float64),
        scale2=S / freedom,
        log_ratio=ratio,
        correlation=rho,
    )
