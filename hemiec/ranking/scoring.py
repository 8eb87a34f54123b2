"""Scores of candidates on the fixed scales of a definition, and the ranks that they make.

A criterion scales its property x, through f(x) = x or ln x, to a score s from 0 to 1. Where it is minimised or
maximised::

    s = (f(worst) - f(x)) / (f(worst) - f(best)), clipped to 0..1

and where it has a target, s is 1 in the window and falls in the same way to 0 at ``zero_at`` on either side. The score
of a candidate is the weighted mean ``sum w s / sum w`` of its criteria. All functions take the candidates as columns
and keep NaN for what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.ranking.sorting import ascending
from hemiec.schemas.definition import Criterion, MissingRule, Ties

Floats = NDArray[np.float64]
#: What the kernel of the score does about a missing value, by the criterion's rule.
_RULES: dict[MissingRule, int] = {"unranked": 0, "leave_out": 1, "whole_range": 2}
#: Score of a missing value that may have any: the middle of what it could be.
MIDDLE = 0.5
#: Bins that scores are counted in to find a page.
_BINS = 4096
_COMPILED: dict[str, Any] = {"cache": True, "nogil": True}


def scaled(values: Floats, criterion: Criterion) -> Floats:
    """Return the scores of one criterion, 0 to 1, shape as the values; NaN stays.

    On a logarithmic scale a value of 0 or less is beyond every positive one.

    Parameters
    ----------
    values
        Of its property, in the property's unit, any shape.
    criterion
        A sensible one (:func:`hemiec.ranking.definition.checked`).
    """
    if criterion.direction == "target":
        return np.clip(1.0 - _distance(values, criterion), 0.0, 1.0)
    best, worst = _ends(criterion)
    return np.clip((worst - _transformed(values, criterion)) / (worst - best), 0.0, 1.0)


def costs(values: Floats, criterion: Criterion) -> Floats:
    """Return what is to be low for Pareto comparisons, shape as the values; NaN stays.

    That is the value, with its sign turned where it is maximised, and not clipped to the scale. With a target it is the
    distance from the window in units of the distance over which the score falls to 0; on a side without such a
    distance, 1 plus the distance in the property's unit (or logarithm). A lower cost never has a lower score.

    Parameters
    ----------
    values
        Of its property, in the property's unit, any shape.
    criterion
        A sensible one.
    """
    if criterion.direction == "target":
        return _distance(values, criterion)
    return np.asarray(values if criterion.direction == "minimise" else np.negative(values), dtype=np.float64)


def costs_at(score: Floats, criterion: Criterion) -> Floats:
    """Return the costs that have given scores between 0 and 1, shape as the scores."""
    if criterion.direction == "target":
        return 1.0 - score
    best, worst = _ends(criterion)
    values = worst + score * (best - worst)
    values = np.exp(values) if criterion.transform == "log" else values
    return values if criterion.direction == "minimise" else -values


def scaled_matrix(columns: Mapping[str, Floats], criteria: Sequence[Criterion]) -> Floats:
    """Return the scores of every criterion, shape=(n_candidates, n_criteria), each column contiguous; NaN stays.

    No weight is in it: it serves every choice of weights.

    Parameters
    ----------
    columns
        Name of a property to the values of all candidates, in its unit, shape=(n_candidates,).
    criteria
        What counts.
    """
    return np.stack([scaled(columns[c.property], c) for c in criteria]).T


def cost_matrix(columns: Mapping[str, Floats], criteria: Sequence[Criterion]) -> Floats:
    """Return the costs of every criterion for Pareto comparisons, shape=(n_candidates, n_criteria).

    What is missing costs infinity where it is left out of the score, so that a candidate cannot dominate by a number
    that nobody knows, and as much as the middle of the scale where it may have any value. It stays NaN where it
    leaves the candidate unranked.

    Parameters
    ----------
    columns
        Name of a property to the values of all candidates, in its unit, shape=(n_candidates,).
    criteria
        What counts.
    """
    return np.stack([with_missing_costs(costs(columns[c.property], c), c) for c in criteria]).T


def with_missing_costs(cost: Floats, criterion: Criterion) -> Floats:
    """Return costs of one criterion with those of missing values filled in by its rule."""
    if criterion.missing == "unranked":
        return cost
    fill = np.inf if criterion.missing == "leave_out" else float(costs_at(np.array(MIDDLE), criterion))
    return np.where(np.isnan(cost), fill, cost)


def scores(matrix: Floats, criteria: Sequence[Criterion], weights: Sequence[float] | None = None) -> Floats:
    """Return the score of every candidate, 0 to 1, shape=(n_candidates,); NaN where it is unranked.

    A missing value leaves a candidate unranked, or leaves its criterion out of the mean, or counts as the middle of the
    scale, by the criterion's rule.

    Parameters
    ----------
    matrix
        Scores of every criterion, shape=(n_candidates, n_criteria); from :func:`scaled_matrix`.
    criteria
        What counts.
    weights
        One for each criterion, in place of its own; 0 takes its score out, not its rule about missing values.

    Raises
    ------
    InputError
        If a weight is negative or not finite, or none is above 0.
    """
    chosen = np.array([c.weight for c in criteria] if weights is None else weights, dtype=np.float64)
    if chosen.shape != (len(criteria),) or not np.isfinite(chosen).all() or (chosen < 0).any() or not chosen.any():
        raise InputError(
            f"weights: expected {len(criteria)} numbers from 0 up, one of them above 0, got {chosen.tolist()}."
        )
    rules = np.array([_RULES[c.missing] for c in criteria], dtype=np.int64)
    return _weighted_means(np.asarray(matrix, dtype=np.float64), balanced(chosen)[0], rules)


def balanced(weights: Sequence[float] | Floats) -> tuple[Floats, int]:
    """Return weights of which the largest is between 0.5 and 1, and the power of 2 that makes them the given ones.

    Only ratios of weights count, and these are kept exactly; sums and products of them cannot overflow.
    """
    given = np.asarray(weights, dtype=np.float64)
    exponent = int(np.frexp(given.max())[1])
    return np.ldexp(given, -exponent), exponent


def descending(scores: Floats) -> NDArray[np.intp]:
    """Return the rows that have a score, the best first, equal ones in the order of their rows; shape=(n_ranked,)."""
    known = np.flatnonzero(~np.isnan(scores))
    if len(known) == len(scores):
        return ascending(-scores)
    return known[ascending(-scores[known])]


def best_rows(scores: Floats, first: int, limit: int) -> NDArray[np.intp]:
    """Return the rows of one page of the list, the best first, equal ones in the order of their rows.

    Only scores near those of the page are sorted.

    Parameters
    ----------
    scores
        Higher is better, NaN is not listed, shape=(n_candidates,).
    first
        Place of the page's first row in the list, from 0.
    limit
        Rows on the page.
    """
    rows, above = _around(np.asarray(scores, dtype=np.float64), first, first + limit)
    return rows[ascending(-scores[rows])][first - above : first + limit - above]


def ranks(scores: Floats, ties: Ties, breakers: Floats | None = None) -> NDArray[np.int64]:
    """Return the rank of every candidate, 1 for the best and 0 for the unranked, shape=(n_candidates,).

    Parameters
    ----------
    scores
        Higher is better, NaN for those to be left unranked, shape=(n_candidates,).
    ties
        What equal scores get.
    breakers
        Costs of the properties ``ties.by``, lower is better, NaN behind all others, shape=(n_candidates, n_by); needed
        where ties are to be broken.
    """
    order = descending(scores)
    if ties.rule != "broken" or not ties.by:
        return _numbered(scores, order, ties.tolerance, ties.rule == "dense")
    if breakers is None or breakers.shape != (len(scores), len(ties.by)):
        raise InputError(f"ties: expected the costs of {', '.join(ties.by)} for every candidate.")
    group = _numbered(scores, order, ties.tolerance, True)[order]
    order, group = _broken(order, group, np.where(np.isnan(breakers), np.inf, breakers))
    result = np.zeros(len(scores), dtype=np.int64)
    result[order] = _first_of_group(group) + 1
    return result


def _broken(
    order: NDArray[np.intp], group: NDArray[np.int64], breakers: Floats
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the order with every group sorted by the breakers, and the groups that are left."""
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = group[1:] != group[:-1]
    tied = ~new
    tied[:-1] |= ~new[1:]
    places = np.flatnonzero(tied)
    rows = order[places]
    again = np.lexsort((rows, *breakers[rows].T[::-1], group[places]))
    order = order.copy()
    order[places] = rows[again]
    keys = breakers[rows[again]]
    # Neighbours of one group stand side by side among the tied as well.
    new[places[1:]] |= (keys[1:] != keys[:-1]).any(axis=1)
    return order, np.cumsum(new) - 1


def rows_by_rank(ranks: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the ranked rows, the best first, those that share a rank in the order of their rows."""
    return descending(np.where(ranks > 0, -ranks.astype(np.float64), np.nan))


def _transformed(values: Floats, criterion: Criterion) -> Floats:
    if criterion.transform == "linear":
        return np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(values, 0.0))  # NaN stays, and what is not positive becomes minus infinity


def _ends(criterion: Criterion) -> tuple[float, float]:
    if criterion.best is None or criterion.worst is None:
        raise InputError(f"{criterion.property}: expected `best` and `worst`.")
    best, worst = _transformed(np.array([criterion.best, criterion.worst]), criterion)
    return float(best), float(worst)


def _distance(values: Floats, criterion: Criterion) -> Floats:
    """Return how far beyond the window values are; 0 in it, 1 where the score has fallen to 0."""
    if criterion.window is None:
        raise InputError(f"{criterion.property}: expected `window`.")
    x = _transformed(values, criterion)
    result = np.where(np.isnan(x), np.nan, 0.0)
    for side, (edge, zero) in enumerate(zip(criterion.window, criterion.zero_at or (None, None), strict=True)):
        at = float(_transformed(np.array(edge), criterion))
        beyond = at - x if side == 0 else x - at
        width = None if zero is None else abs(float(_transformed(np.array(zero), criterion)) - at)
        result = np.where(beyond > 0, 1.0 + beyond if width is None else beyond / width, result)
    return result


@njit(**_COMPILED)
def _weighted_means(matrix: np.ndarray, weights: np.ndarray, rules: np.ndarray) -> np.ndarray:
    n, m = matrix.shape
    result = np.empty(n)
    for i in range(n):
        total = weight = 0.0
        ranked = True
        for j in range(m):
            value = matrix[i, j]
            if np.isnan(value):
                if rules[j] == 0:
                    ranked = False
                    break
                if rules[j] == 1:
                    continue
                value = MIDDLE
            total += weights[j] * value
            weight += weights[j]
        result[i] = total / weight if ranked and weight > 0 else np.nan
    return result


@njit(**_COMPILED)
def _around(scores: np.ndarray, first: int, end: int) -> tuple[np.ndarray, int]:
    """Return the rows that can have places first to end - 1 in the list, in their order, and how many are above them.

    Scores are counted in bins of even width; those of all bins that reach into the page are taken.
    """
    n, low, high = 0, np.inf, -np.inf
    for score in scores:
        if not np.isnan(score):
            n, low, high = n + 1, min(low, score), max(high, score)
    first, end = min(max(first, 0), n), min(max(end, 0), n)
    per_unit = (_BINS - 1) / (high - low) if high > low else 0.0
    if not np.isfinite(per_unit) or not np.isfinite(high - low):
        return np.flatnonzero(~np.isnan(scores)), 0
    counts = np.zeros(_BINS, dtype=np.int64)
    for score in scores:
        if not np.isnan(score):
            counts[int((score - low) * per_unit)] += 1
    top, above = _BINS - 1, 0
    while top > 0 and above + counts[top] <= first:
        above += counts[top]
        top -= 1
    bottom, taken = top, counts[top]
    while bottom > 0 and above + taken < end:
        bottom -= 1
        taken += counts[bottom]
    rows, k = np.empty(taken, dtype=np.intp), 0
    for i in range(len(scores)):
        if not np.isnan(scores[i]) and bottom <= int((scores[i] - low) * per_unit) <= top:
            rows[k] = i
            k += 1
    return rows, above


@njit(**_COMPILED)
def _numbered(scores: np.ndarray, order: np.ndarray, tolerance: float, dense: bool) -> np.ndarray:
    """Return the ranks of rows in the order of their scores; a group ends where a score is too far from its best."""
    result = np.zeros(len(scores), dtype=np.int64)
    best, rank = np.inf, 0
    for place in range(len(order)):
        row = order[place]
        if place == 0 or best - scores[row] > tolerance:
            best = scores[row]
            rank = rank + 1 if dense else place + 1
        result[row] = rank
    return result


@njit(**_COMPILED)
def _first_of_group(group: np.ndarray) -> np.ndarray:
    """Return the place of the first of each one's group."""
    result = np.zeros(len(group), dtype=np.int64)
    for i in range(1, len(group)):
        result[i] = i if group[i] != group[i - 1] else result[i - 1]
    return result
