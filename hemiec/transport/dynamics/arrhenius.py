"""The straight line of ln D against 1/T, with its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hemiec.errors import InputError
from hemiec.transport.network import FloatArray
from hemiec.units import BOLTZMANN_EV_PER_K

#: Standard deviations to either side of a 90 % interval of a normal distribution.
NORMAL_90 = 1.6448536269514722


@dataclass(frozen=True, eq=False)
class ArrheniusLine:
    """ln D = ln D0 - E / kT with normal errors.

    Parameters
    ----------
    activation_energy
        E in eV.
    log_prefactor
        ln D0, D0 in the unit of D.
    covariance
        Of (ln D0, E), shape=(2, 2).
    n
        Points.
    scatter
        Root of chi^2 per degree of freedom: about 1 if the points lie on the line within their errors; None for two.
    """

    activation_energy: float
    log_prefactor: float
    covariance: FloatArray
    n: int
    scatter: float | None

    @property
    def activation_interval(self) -> tuple[float, float]:
        """90 % interval of E in eV."""
        half = NORMAL_90 * float(np.sqrt(self.covariance[1, 1]))
        return self.activation_energy - half, self.activation_energy + half

    def log10(self, temperature_K: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return log10 D at temperatures, with the lower and the upper end of its 90 % interval."""
        design = _design(np.asarray(temperature_K, dtype=float))
        middle = design @ np.array([self.log_prefactor, self.activation_energy])
        half = NORMAL_90 * np.sqrt(np.einsum("...i,ij,...j->...", design, self.covariance, design))
        ten = np.log(10)
        return middle / ten, (middle - half) / ten, (middle + half) / ten


def fit_arrhenius(
    temperatures_K: Sequence[float], values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> ArrheniusLine:
    """Return the line through diffusion coefficients or conductivities of two or more temperatures.

    Least squares of ln D, weighted by the errors; where the points scatter more than their errors allow, the errors of
    the line grow with them (Birge ratio, doi:10.1103/PhysRev.40.207).

    Parameters
    ----------
    temperatures_K
        Different temperatures, shape=(n,).
    values
        D > 0, in any unit, shape=(n,).
    intervals
        90 % interval of each, above 0.

    Raises
    ------
    InputError
        If there are fewer than two temperatures, or values or intervals are not positive and increasing.
    """
    T, D, ends = np.array(temperatures_K, float), np.array(values, float), np.array(intervals, float)
    if len(set(T.tolist())) < 2 or D.shape != T.shape or ends.shape != (*T.shape, 2):
        raise InputError(f"an Arrhenius line needs values and intervals at two temperatures or more, got {len(T)}.")
    if not (T > 0).all() or not (ends[:, 0] > 0).all() or not ((ends[:, 0] < D) & (ends[:, 1] > D)).all():
        raise InputError("an Arrhenius line needs positive values inside their intervals.")
    sigma = np.log(ends[:, 1] / ends[:, 0]) / (2 * NORMAL_90)
    design = _design(T) / sigma[:, None]
    target = np.log(D) / sigma
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    scatter = None
    if len(T) > 2:
        scatter = float(np.sqrt(((design @ solution - target) ** 2).sum() / (len(T) - 2)))
    covariance = np.linalg.inv(design.T @ design) * max(1.0, scatter or 1.0) ** 2
    return ArrheniusLine(float(solution[1]), float(solution[0]), covariance, len(T), scatter)


def _design(T: FloatArray) -> FloatArray:
    return np.stack([np.ones_like(T), -1 / (BOLTZMANN_EV_PER_K * T)], axis=-1)
