"""Random draws of uncertain values that are a candidate's own, whoever else is drawn.

A value with a 90 % interval is drawn from two half normal distributions that are joined at the value: 5 % of the draws
lie below the interval, 5 % above it, and half on either side of the value.

The draws are counter-based: number n of a candidate's property is a hash of its id, the property, the seed and n, so
that leaving other candidates out, adding some or drawing in another order changes none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
#: 95th percentile of the standard normal distribution: half the width of a 90 % interval in standard deviations.
Z95 = 1.6448536269514722
#: Properties that physics keeps from falling below a value, in their units.
FLOORS = {"band_gap": 0.0, "migration_barrier": 0.0}
_COMPILED: dict[str, Any] = {"cache": True, "nogil": True}


@dataclass(frozen=True)
class HalfNormals:
    """The distribution of each candidate's value; NaN where it has none.

    Parameters
    ----------
    centre
        Median, in the property's unit, shape=(n_candidates,).
    below, above
        Standard deviations of the normal distributions whose halves lie below and above, same unit and shape.
    floor
        No draw is lower; in the property's unit.
    """

    centre: Floats
    below: Floats
    above: Floats
    floor: float = -np.inf

    def at(self, uniform: Floats) -> Floats:
        """Return the values at given probabilities between 0 and 1, shape=(n_draws, n_candidates) as those."""
        from scipy.special import ndtri

        values: Floats = ndtri(uniform)
        _stretch(values, self.centre, self.below, self.above, self.floor)
        return values


def half_normals(
    value: Floats, low: Floats, high: Floats, *, standard_uncertainty: float | Floats = 0.0, floor: float = -np.inf
) -> HalfNormals:
    """Return the distributions that values and their 90 % intervals state.

    An interval that does not hold its value has its own middle as the median.

    Parameters
    ----------
    value, low, high
        In the property's unit, shape=(n_candidates,); NaN where there is none.
    standard_uncertainty
        Standard deviation of values without an interval, in the same unit; with 0 they are exact.
    floor
        No draw is lower; in the same unit.
    """
    known = ~(np.isnan(low) | np.isnan(high))
    holds = (low <= value) & (value <= high)
    centre = np.where(known & ~holds & ~np.isnan(value), 0.5 * (low + high), value)
    below = np.where(known, (centre - low) / Z95, standard_uncertainty)
    above = np.where(known, (high - centre) / Z95, standard_uncertainty)
    return HalfNormals(centre, below, above, floor)


def stream_keys(candidate_ids: NDArray[np.str_], name: str, seed: int) -> Keys:
    """Return the key of every candidate's own stream of random numbers for one property, shape=(n_candidates,).

    The id is hashed by FNV-1a over its code points (doi:10.17487/RFC9923), and the key mixed from that, the property
    and the seed.
    """
    start = _keys(_codes(np.array([name])), np.uint64(seed % 2**64))[0]
    return _keys(_codes(candidate_ids), start)


def uniforms(keys: Keys, first: int, count: int) -> Floats:
    """Return numbers of the streams, between 0 and 1 and never either, shape=(count, n_candidates).

    Row n has number ``first + n`` of the SplitMix64 generator that starts from the key (doi:10.1145/2660193.2660195).

    Parameters
    ----------
    keys
        From :func:`stream_keys`, shape=(n_candidates,).
    first
        Number of the first draw, from 0.
    count
        How many draws.
    """
    return _uniforms(keys, first, count)


def _codes(texts: NDArray[np.str_]) -> NDArray[np.uint32]:
    """Return the code points of texts, filled up with zeros, shape=(n_texts, n_letters)."""
    letters = texts.dtype.itemsize // 4
    return np.ascontiguousarray(texts, dtype=f"=U{letters}").view(np.uint32).reshape(len(texts), letters)


@njit(**_COMPILED)
def _mixed(state: np.uint64) -> np.uint64:
    """Return the output function of SplitMix64: every bit of the state turns half of the bits of the result."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(**_COMPILED)
def _keys(codes: np.ndarray, start: np.uint64) -> np.ndarray:
    n, letters = codes.shape
    result = np.empty(n, dtype=np.uint64)
    for i in range(n):
        hashed = np.uint64(0xCBF29CE484222325)
        for j in range(letters):
            if codes[i, j] == 0:
                break
            hashed = (hashed ^ np.uint64(codes[i, j])) * np.uint64(0x100000001B3)
        result[i] = _mixed(hashed + _mixed(start))
    return result


@njit(**_COMPILED)
def _uniforms(keys: np.ndarray, first: int, count: int) -> np.ndarray:
    result = np.empty((count, len(keys)))
    for n in range(count):
        step = np.uint64(first + n + 1) * np.uint64(0x9E3779B97F4A7C15)
        for i in range(len(keys)):
            result[n, i] = (float(_mixed(keys[i] + step) >> np.uint64(12)) + 0.5) * 2.0**-52
    return result


@njit(**_COMPILED)
def _stretch(values: np.ndarray, centre: np.ndarray, below: np.ndarray, above: np.ndarray, floor: float) -> None:
    """Turn draws of the standard normal distribution into draws of the values, in place."""
    n, m = values.shape
    for d in range(n):
        for i in range(m):
            normal = values[d, i]
            value = centre[i] + (below[i] if normal < 0 else above[i]) * normal
            values[d, i] = floor if value < floor else value
