"""How sure a stability is: scatter over structures and error of the model, in one interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, isfinite
from statistics import mean, stdev

from scipy import stats

from hemiec.errors import ThermoError

#: Probability below the upper end of a 90 % interval.
_UPPER = 0.95


@dataclass(frozen=True)
class ModelError:
    """Error of a protocol's reaction energies.

    ``std`` is the standard deviation of (model minus truth) in eV/atom, ``source`` says over what it was found.
    """

    std: float
    source: str

    def __post_init__(self) -> None:
        if not (isfinite(self.std) and self.std >= 0):
            raise ThermoError(f"a model error of {self.std} eV/atom; expected a finite number, 0 or more.")


def combined_interval(values: Sequence[float], model_error: ModelError | None) -> tuple[float, float] | None:
    """Return the 90 % interval of a mean over structures, the error of the model included.

    Both are taken as normal and independent, the model as free of bias. The half-width of the mean over n structures is
    ``t(0.95, n-1) s / sqrt(n)`` (Student), that of the model ``1.645 std``; they are added in quadrature. That is a
    little wider than the exact one, and unlike the effective degrees of freedom of Welch and Satterthwaite it never
    shrinks when either error grows. One structure has no scatter that could be known: its interval is the model's.

    Parameters
    ----------
    values
        One number per structure.
    model_error
        Of the model; None if unknown.

    Returns
    -------
    tuple or None
        Lower and upper end in the unit of the values, or None if neither error is known.

    Raises
    ------
    ThermoError
        If there are no values, or one is not finite.
    """
    if not values or not all(map(isfinite, values)):
        raise ThermoError(f"expected finite energies of one structure or more, got {list(values)}.")
    if len(values) == 1 and model_error is None:
        return None
    scatter = 0.0
    if len(values) > 1:
        scatter = float(stats.t.ppf(_UPPER, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    model = float(stats.norm.ppf(_UPPER)) * model_error.std if model_error else 0.0
    half_width = hypot(scatter, model)
    return mean(values) - half_width, mean(values) + half_width


def describe(n: int, model_error: ModelError | None) -> str:
    """Return in words what an interval of :func:`combined_interval` holds."""
    scatter = "mean and std over special quasirandom structures" if n > 1 else "one structure, scatter unknown"
    model = f"model error {model_error.std:.3f} eV/atom ({model_error.source})" if model_error else "no model error"
    return f"{scatter}; {model}"
