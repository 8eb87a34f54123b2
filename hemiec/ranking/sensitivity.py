"""How far the weights of a leaderboard can move before another candidate wins.

With weight t of criterion j, the score of candidate i is ``S_i(t) = (a_i + t b_i) / (c_i + t d_i)``, where a and c are
the sums of ``w s`` and ``w`` over its other criteria, b is its score of criterion j and d is 1, or b and d are 0 where
that criterion is left out for want of a value. Who has no other criterion has one score at any weight: a is that score,
c is 1, b and d are 0. The winner w is caught up by i where
``(a_w + t b_w)(c_i + t d_i) = (a_i + t b_i)(c_w + t d_w)``: a quadratic equation in t, linear where both have the same
criteria. Its roots are solved exactly for all candidates, so the range has no step width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hemiec.ranking.scoring import MIDDLE, balanced, descending, scores
from hemiec.schemas.definition import Criterion
from hemiec.schemas.leaderboard import WeightRange

Floats = NDArray[np.float64]
#: Part of a number that rounding may change.
_ROUNDING = 1e-12


def weight_ranges(
    candidate_ids: NDArray[np.str_], matrix: Floats, criteria: Sequence[Criterion], *, winner: int | None = None
) -> list[WeightRange]:
    """Return, for every criterion, the weights between which the same candidate wins, the other weights as they are.

    A range ends where another candidate has the same score and overtakes beyond; equal scores at the weight itself end
    it there, on the side on which the other one is better. An empty list if nobody is ranked.

    Parameters
    ----------
    candidate_ids
        Shape=(n_candidates,).
    matrix
        Scores of every criterion, NaN where a value is missing, shape=(n_candidates, n_criteria); from
        :func:`hemiec.ranking.scoring.scaled_matrix`. Rows that do not compete are to be left out.
    criteria
        What counts, with the weights as they are.
    winner
        Row of the candidate on rank 1, where ties decide; default: the first of those with the best score.
    """
    score = scores(matrix, criteria)
    rows = np.flatnonzero(~np.isnan(score))
    if not rows.size:
        return []
    best = int(descending(score)[0]) if winner is None else winner
    # The winner first, then the others in the order that settles equal ones.
    rows = np.concatenate([[best], rows[rows != best]])
    known = matrix[rows]
    for j, criterion in enumerate(criteria):
        if criterion.missing == "whole_range":
            known[np.isnan(known[:, j]), j] = MIDDLE
    return [_range(candidate_ids[rows], known, criteria, j) for j in range(len(criteria))]


def _range(ids: NDArray[np.str_], known: Floats, criteria: Sequence[Criterion], j: int) -> WeightRange:
    """Return the range of weight j for candidates of which the first wins."""
    weights, exponent = balanced([criterion.weight for criterion in criteria])
    there = ~np.isnan(known)
    others = np.where(np.arange(len(weights)) == j, 0.0, weights)
    filled = np.where(there, known, 0.0)
    a, b, c, d = filled @ others, filled[:, j], there @ others, there[:, j].astype(np.float64)
    alone = c == 0
    a, b, c, d = np.where(alone, b, a), np.where(alone, 0.0, b), np.where(alone, 1.0, c), np.where(alone, 0.0, d)
    # The winner's lead over each of the others times a size, both as coefficients of t^2, t and 1. The size is the
    # product of both sums of weights, or the one sum where both have the same criteria.
    same = (there == there[0]).all(axis=1)
    lead = np.where(
        same,
        [np.zeros_like(a), b[0] - b, a[0] - a],
        [b[0] * d - b * d[0], a[0] * d + b[0] * c - a * d[0] - b * c[0], a[0] * c - a * c[0]],
    )[:, 1:]
    size = np.where(same, [np.zeros_like(c), d, c], [d[0] * d, c[0] * d + c * d[0], c[0] * c])[:, 1:]
    at = float(weights[j])
    low, below = _first_loss(lead, size, at, -1)
    high, above = _first_loss(lead, size, at, 1)
    with np.errstate(over="ignore"):
        low, high = (float(end) for end in np.ldexp([max(low, 0.0), high], exponent))
    return WeightRange(
        property=criteria[j].property,
        weight=criteria[j].weight,
        low=low,
        high=None if np.isinf(high) else high,
        winner_below=None if below is None or low == 0 else str(ids[1 + below]),
        winner_above=None if above is None or np.isinf(high) else str(ids[1 + above]),
    )


def _first_loss(lead: Floats, size: Floats, at: float, side: int) -> tuple[float, int | None]:
    """Return the first weight on one side of another beyond which a lead is lost, and to which candidate.

    Leads in the score are ``(p t^2 + q t + r) / (P t^2 + Q t + R)``, the coefficients of both of shape=(3, n_others),
    and not negative at the weight itself. ``side`` is -1 for smaller and 1 for larger weights. None where no lead is
    lost at a positive weight.
    """
    if not lead.shape[1]:
        return side * np.inf, None
    # In x = side (t - at), from 0 on: u x^2 + v x + w. Scores are 1 at most, so each of these is at most the same of
    # the sums of weights, and zero if it is no more than rounding leaves of that.
    (u, v, w), most = _moved(lead, at), _moved(size, at)
    u = np.where(np.abs(u) <= _ROUNDING * most[0], 0.0, u)
    v = np.where(np.abs(v) <= _ROUNDING * most[1], 0.0, side * v)
    w = np.where(w <= _ROUNDING * most[2], 0.0, w)
    distance = _first_negative(u, v, w)
    nearest = float(distance.min())
    if np.isinf(nearest) or (side < 0 and nearest >= at * (1 - _ROUNDING)):
        return side * np.inf, None
    end = at + side * nearest
    # Of several that overtake at once, the one whose score gains most just beyond.
    tied = np.flatnonzero(distance <= nearest * (1 + _ROUNDING))
    gain = -(2 * u * nearest + v)[tied] / _moved(size, end)[2][tied]
    return end, int(tied[np.argmax(gain)])


def _moved(coefficients: Floats, at: float) -> tuple[Floats, Floats, Floats]:
    """Return the coefficients of ``p t^2 + q t + r`` in powers of ``t - at``."""
    p, q, r = coefficients
    return p, 2 * p * at + q, p * at**2 + q * at + r


def _first_negative(u: Floats, v: Floats, w: Floats) -> Floats:
    """Return the smallest x >= 0 beyond which u x^2 + v x + w is negative, infinity if it never is; w is not negative.

    Roots are taken in the form that loses no digits, ``2 w / (-v + s)`` or ``(-v - s) / 2 u`` with
    ``s = sqrt(v^2 - 4 u w)``.
    """
    result = np.full(len(u), np.inf)
    inside = v**2 - 4 * u * w
    root = np.sqrt(np.maximum(inside, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Opens downward: one root on the right. Straight and falling: that of the line.
        one = np.where(v > 0, (-v - root) / (2 * u), 2 * w / (-v + root))
        falls = (u < 0) | ((u == 0) & (v < 0))
        result[falls] = np.nan_to_num(one[falls])  # 0 / 0 where it touches zero at 0
        # Opens upward and falls at first, through zero: the smaller of two roots.
        dips = (u > 0) & (v < 0) & (inside > 0)
        result[dips] = (2 * w / (-v + root))[dips]
    return result
