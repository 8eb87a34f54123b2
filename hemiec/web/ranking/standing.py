"""Parts of a ranking that can be had without sorting all candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hemiec.ranking.order import Ranking
from hemiec.ranking.table import Floats

Rows = NDArray[np.intp]
#: Candidates that are looked at beside those of the page, at first and then ever more, until a group of equals ends.
_MARGINS = (64, 4_096)


def best_standing(ranking: Ranking, first: int, limit: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return the rows of one page of the ranked candidates, the best first, with their ranks.

    They are those of ``ranking.order`` and ``ranking.ranks``, which take longer.

    Parameters
    ----------
    ranking
        The ranked candidates.
    first, limit
        Place of the page's first row, from 0, and how many.
    """
    if ranking.definition.ties.rule == "shared" and "ranks" not in ranking.__dict__:
        for margin in _MARGINS:
            found = _within(ranking, first, limit, margin)
            if found is not None:
                return found
    rows = ranking.order[first : first + limit]
    return rows, ranking.ranks[rows]


def _within(ranking: Ranking, first: int, limit: int, margin: int) -> tuple[Rows, NDArray[np.int64]] | None:
    """Return the same from the page and some places around it; None if a group of equals reaches beyond them."""
    begin = max(0, first - margin)
    rows = ranking.page(begin, first - begin + limit + margin)
    scores = ranking.scores[rows]
    if begin == 0:
        start = 0
    else:
        # A gap wider than the tolerance is between two groups, whatever came before.
        gaps = np.flatnonzero(scores[:-1] - scores[1:] > ranking.definition.ties.tolerance) + 1
        before = gaps[gaps <= first - begin]
        if not before.size:
            return None
        start = int(before[0])
    rows, scores = rows[start:], scores[start:]
    starts = _groups(scores, ranking.definition.ties.tolerance)
    is_end = begin + start + len(rows) == ranking.n_ranked
    if not is_end and (not len(starts) or begin + start + starts[-1] < first + limit):
        return None  # the last group may go on, and its rows come in the order of the table
    place = np.repeat(starts, np.diff([*starts, len(rows)]))
    order = np.lexsort((rows, place))
    page = slice(first - begin - start, first - begin - start + limit)
    return rows[order][page], (begin + start + place[order] + 1)[page].astype(np.int64)


def _groups(scores: Floats, tolerance: float) -> list[int]:
    """Return where groups of equal scores begin; the first does at 0."""
    starts: list[int] = []
    begin = 0
    while begin < len(scores):
        starts.append(begin)
        # Scores fall, so that the first that is too far from the group's best ends it.
        begin += int(np.searchsorted(scores[begin] - scores[begin:], tolerance, side="right"))
    return starts


def best_row(ranking: Ranking) -> int:
    """Return the row of the candidate that stands first; at least one has to be ranked."""
    ties = ranking.definition.ties
    if ties.rule == "broken":
        return int(ranking.order[0])
    scores = ranking.scores
    return int(np.flatnonzero(scores >= np.nanmax(scores) - ties.tolerance)[0])


def contenders(ranking: Ranking) -> Rows:
    """Return rows of which one wins whatever the weights are.

    They are those ranked candidates that no other one with values for the same criteria surpasses in the score of one
    criterion without falling behind in another.
    """
    from hemiec.ranking.pareto import pareto_front

    rows = np.flatnonzero(~np.isnan(ranking.scores))
    scaled = ranking.scaled[rows].copy()
    for j, criterion in enumerate(ranking.definition.criteria):
        if criterion.missing == "whole_range":
            scaled[np.isnan(scaled[:, j]), j] = 0.5
    lacking = np.isnan(scaled)
    patterns = lacking @ (1 << np.arange(lacking.shape[1]))
    found = []
    for pattern in np.unique(patterns):
        alike = np.flatnonzero(patterns == pattern)
        there = ~lacking[alike[0]]
        if there.any():
            found.append(rows[alike[pareto_front(-scaled[np.ix_(alike, np.flatnonzero(there))])]])
    return np.sort(np.concatenate(found)) if found else rows[:0]
