"""Pareto front and layers of many points in any number of criteria.

A point dominates another if it is no worse in every cost and better in at least one; equal points share their layer.
Layer 1, the front, is what no other point dominates; layer k is what no other dominates once layers 1 to k-1 are
taken away.

The kernel is the divide and conquer of Jensen (doi:10.1109/TEVC.2003.817234), made right for equal values by
Fortin, Grenier and Parizeau (doi:10.1145/2463372.2463454): O(n log^(m-1) n) in time for n points and m criteria,
whatever their shape, and O(n) in memory. Points come in lexicographic order, as the ranks of their values: then a
point is dominated only by points before it, and the first criterion needs no comparison.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.ranking.sorting import ascending

Floats = NDArray[np.float64]
#: Points whose front sifts the others before the exact search, and how many of that front are used.
_SAMPLE, _SIEVE = 4096, 64
#: Pairs of points up to which comparing each with each is faster than dividing.
_FEW_PAIRS = 1024
_COMPILED: dict[str, Any] = {"cache": True, "nogil": True}


def pareto_front(costs: Floats) -> NDArray[np.bool_]:
    """Return which points no other point dominates, shape=(n_points,).

    Parameters
    ----------
    costs
        Lower is better, each in a unit of its own, shape=(n_points, n_criteria), at least one criterion.

    Raises
    ------
    InputError
        If a cost is not a number, or if there is no criterion.
    """
    costs = _checked(costs)
    front = np.zeros(len(costs), dtype=np.bool_)
    left = _sifted(costs)
    points, which = _points_in_order(costs[left])
    front[left] = _layers(points, True)[which] == 1
    return front


def pareto_layers(costs: Floats) -> NDArray[np.int64]:
    """Return the layer of each point, 1 for the front, shape=(n_points,).

    Parameters
    ----------
    costs
        Lower is better, each in a unit of its own, shape=(n_points, n_criteria), at least one criterion.

    Raises
    ------
    InputError
        If a cost is not a number, or if there is no criterion.
    """
    points, which = _points_in_order(_checked(costs))
    return _layers(points, False)[which]


def _checked(costs: Floats) -> Floats:
    costs = np.asarray(costs, dtype=np.float64)
    if costs.ndim != 2 or costs.shape[1] == 0:
        raise InputError(f"Pareto front: expected costs of shape (n_points, n_criteria), got {costs.shape}.")
    if np.isnan(costs).any():
        raise InputError(
            f"Pareto front: {np.isnan(costs).any(axis=1).sum()} of {len(costs)} points lack a cost.",
            mend="leave them out, or give them infinity, which cannot dominate",
        )
    return costs


def _sifted(costs: Floats) -> NDArray[np.intp]:
    """Return the points that the best of an even sample do not dominate: all of the front and few others."""
    if len(costs) <= _SAMPLE:
        return np.arange(len(costs))
    sample = costs[:: len(costs) // _SAMPLE]
    points, which = _points_in_order(sample)
    best = sample[_layers(points, True)[which] == 1]
    # Those with a small sum dominate the most.
    best = best[np.argsort(_even_sum(best), kind="stable")[:_SIEVE]]
    return np.flatnonzero(_undominated(np.ascontiguousarray(costs), np.ascontiguousarray(best)))


def _even_sum(points: Floats) -> Floats:
    """Return the sum over the criteria of the places of each point among the others, which no unit changes."""
    return np.argsort(np.argsort(points, axis=0, kind="stable"), axis=0).sum(axis=1).astype(np.float64)


def _points_in_order(costs: Floats) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the different points in lexicographic order, and which of them each row is.

    Values are replaced by their ranks among the column's values, from 0: shape=(n_different, n_criteria).
    """
    n, m = costs.shape
    ranks = np.empty((n, m), dtype=np.int32)
    order = np.arange(n)
    for j in reversed(range(m)):
        column = np.ascontiguousarray(costs[:, j])
        by_value = ascending(column)
        column = column[by_value]
        steps = np.zeros(n, dtype=np.int32)
        steps[1:] = column[1:] > column[:-1]
        ranks[by_value, j] = np.cumsum(steps)
        # The last criterion first: each pass keeps the order of those that are equal in its own.
        order = order[ascending(ranks[order, j].astype(np.float64))]
    ordered = ranks[order]
    new = np.ones(n, dtype=np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    which = np.empty(n, dtype=np.intp)
    which[order] = np.cumsum(new) - 1
    return np.ascontiguousarray(ordered[new]), which


def _layers(points: NDArray[np.int32], only_front: bool) -> NDArray[np.int64]:
    """Return the layer of each point, or, if only the front is asked for, 1 for it and 2 for all others."""
    layers = np.zeros(len(points), dtype=np.int64)
    if len(points):
        stairs = np.empty((2, len(points)), dtype=np.int64)
        _divide(points, layers, np.arange(len(points)), points.shape[1], only_front, stairs)
    return layers + 1


@njit(**_COMPILED)
def _undominated(costs: np.ndarray, best: np.ndarray) -> np.ndarray:
    n, m = costs.shape
    result = np.ones(n, dtype=np.bool_)
    for i in range(n):
        for k in range(len(best)):
            worse, equal = False, True
            for j in range(m):
                if best[k, j] > costs[i, j]:
                    worse = True
                    break
                if best[k, j] < costs[i, j]:
                    equal = False
            if not worse and not equal:
                result[i] = False
                break
    return result


@njit(**_COMPILED)
def _raise(layers: np.ndarray, point: int, above: int, only_front: bool) -> None:
    """Put a point below one that dominates it."""
    if only_front:
        layers[point] = 1
    elif layers[point] <= layers[above]:
        layers[point] = layers[above] + 1


@njit(**_COMPILED)
def _dominates(points: np.ndarray, one: int, other: int, m: int) -> bool:
    """Tell whether a point is no worse in criteria 1 to m-1 than one that comes after it."""
    for j in range(1, m):  # noqa: SIM110 - numba compiles no generator
        if points[one, j] > points[other, j]:
            return False
    return True


@njit(**_COMPILED)
def _divide(
    points: np.ndarray, layers: np.ndarray, chosen: np.ndarray, m: int, only_front: bool, stairs: np.ndarray
) -> None:
    """Find the layers among some points, in lexicographic order, by their first m criteria; the others are equal."""
    n = len(chosen)
    if n * n <= _FEW_PAIRS:
        for i in range(n):
            for k in range(i):
                if _dominates(points, chosen[k], chosen[i], m):
                    _raise(layers, chosen[i], chosen[k], only_front)
        return
    if m <= 2:
        _sweep(points, layers, chosen, chosen, m, only_front, stairs)
        return
    low, high = _range(points, chosen, m - 1)
    if low == high:
        _divide(points, layers, chosen, m - 1, only_front, stairs)
        return
    better, worse = _split(points, chosen, m - 1, (low + high) // 2)
    _divide(points, layers, better, m, only_front, stairs)
    if only_front:
        better = better[layers[better] == 0]
    _conquer(points, layers, better, worse, m - 1, only_front, stairs)
    if only_front:
        worse = worse[layers[worse] == 0]
    _divide(points, layers, worse, m, only_front, stairs)


@njit(**_COMPILED)
def _conquer(
    points: np.ndarray,
    layers: np.ndarray,
    better: np.ndarray,
    worse: np.ndarray,
    m: int,
    only_front: bool,
    stairs: np.ndarray,
) -> None:
    """Put the worse points below the better ones that dominate them; beyond criterion m they cannot but be worse."""
    if len(better) == 0 or len(worse) == 0:
        return
    if len(better) * len(worse) <= _FEW_PAIRS:
        for point in worse:
            for above in better:
                if above > point:
                    break
                if _dominates(points, above, point, m):
                    _raise(layers, point, above, only_front)
        return
    if m <= 2:
        _sweep(points, layers, better, worse, m, only_front, stairs)
        return
    low, high = _range(points, better, m - 1)
    low_worse, high_worse = _range(points, worse, m - 1)
    if low > high_worse:
        return
    if high <= low_worse:
        _conquer(points, layers, better, worse, m - 1, only_front, stairs)
        return
    middle = (min(low, low_worse) + max(high, high_worse)) // 2
    better_1, better_2 = _split(points, better, m - 1, middle)
    worse_1, worse_2 = _split(points, worse, m - 1, middle)
    _conquer(points, layers, better_1, worse_1, m, only_front, stairs)
    _conquer(points, layers, better_1, worse_2, m - 1, only_front, stairs)
    if only_front:
        worse_2 = worse_2[layers[worse_2] == 0]
    _conquer(points, layers, better_2, worse_2, m, only_front, stairs)


@njit(**_COMPILED)
def _range(points: np.ndarray, chosen: np.ndarray, j: int) -> tuple[int, int]:
    low = high = points[chosen[0], j]
    for point in chosen:
        low = min(low, points[point, j])
        high = max(high, points[point, j])
    return low, high


@njit(**_COMPILED)
def _split(points: np.ndarray, chosen: np.ndarray, j: int, middle: int) -> tuple[np.ndarray, np.ndarray]:
    """Return those up to a value and those above it, both in their order."""
    better, worse = np.empty_like(chosen), np.empty_like(chosen)
    n_better = n_worse = 0
    for point in chosen:
        if points[point, j] <= middle:
            better[n_better] = point
            n_better += 1
        else:
            worse[n_worse] = point
            n_worse += 1
    return better[:n_better], worse[:n_worse]


@njit(**_COMPILED)
def _sweep(
    points: np.ndarray,
    layers: np.ndarray,
    better: np.ndarray,
    worse: np.ndarray,
    m: int,
    only_front: bool,
    stairs: np.ndarray,
) -> None:
    """Put the worse points below the better ones that come before them and are no worse in the second criterion.

    The better ones passed so far make stairs, of rising value and rising layer: the deepest layer up to a value. The
    two may be the same points.
    """
    n_stairs, next_better = 0, 0
    for point in worse:
        while next_better < len(better) and better[next_better] < point:
            above = better[next_better]
            n_stairs = _step(stairs, n_stairs, points[above, 1] if m == 2 else 0, layers[above])
            next_better += 1
        place = _steps_up_to(stairs, n_stairs, points[point, 1] if m == 2 else 0)
        if place > 0:
            above_layer = stairs[1, place - 1]
            if only_front:
                layers[point] = 1
            elif layers[point] <= above_layer:
                layers[point] = above_layer + 1


@njit(**_COMPILED)
def _steps_up_to(stairs: np.ndarray, n_stairs: int, value: int) -> int:
    """Return how many steps are no higher than a value."""
    low, high = 0, n_stairs
    while low < high:
        middle = (low + high) // 2
        if stairs[0, middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**_COMPILED)
def _step(stairs: np.ndarray, n_stairs: int, value: int, layer: int) -> int:
    """Add a point to the stairs unless a lower value is as deep; return the number of steps."""
    place = _steps_up_to(stairs, n_stairs, value)
    if place > 0 and stairs[1, place - 1] >= layer:
        return n_stairs
    first = place - 1 if place > 0 and stairs[0, place - 1] == value else place
    last = first
    while last < n_stairs and stairs[1, last] <= layer:
        last += 1
    if last == first:
        for i in range(n_stairs, first, -1):
            stairs[0, i], stairs[1, i] = stairs[0, i - 1], stairs[1, i - 1]
        n_stairs += 1
    elif last > first + 1:
        gone = last - first - 1
        for i in range(last, n_stairs):
            stairs[0, i - gone], stairs[1, i - gone] = stairs[0, i], stairs[1, i]
        n_stairs -= gone
    stairs[0, first], stairs[1, first] = value, layer
    return n_stairs
