"""Points of a scatter of two properties: all, or the Pareto front and a random sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from hemiec.errors import InputError, did_you_mean
from hemiec.ranking.columns import BY_PROPERTY
from hemiec.web.ranking.board import Mask, Ranked, Rows
from hemiec.web.ranking.parameters import PointsQuery
from hemiec.web.ranking.table import numbers

#: The sample of the same question is always the same.
_SEED = 0


def scatter(found: Ranked, query: PointsQuery) -> dict[str, Any]:
    """Return the points of a scatter, with what was left out.

    Raises
    ------
    InputError
        If a property is none, or a range is empty.
    """
    for axis, name in (("x", query.x), ("y", query.y)):
        if name not in BY_PROPERTY:
            raise InputError(f"{axis}: no property {name[:60]!r}; {did_you_mean(name[:60], BY_PROPERTY)}")
    inside, bounds = _inside(found, query)
    rows = np.flatnonzero(inside)
    front = found.board.front(query.x, query.y, found.definition, inside, (found.key, bounds))
    shown, how = _shown(rows, front, query.limit)
    table = found.table.table
    x, y = table.estimates[query.x], table.estimates[query.y]
    return {
        **{
            axis: {"property": name, "title": BY_PROPERTY[name].title, "unit": BY_PROPERTY[name].unit}
            for axis, name in (("x", query.x), ("y", query.y))
        },
        "points": {
            "candidate_id": table.candidate_id[shown].tolist(),
            "label": found.table.labels.take(shown),
            "x": numbers(x.value[shown]),
            "y": numbers(y.value[shown]),
            "x_low": numbers(x.low[shown]),
            "x_high": numbers(x.high[shown]),
            "y_low": numbers(y.low[shown]),
            "y_high": numbers(y.high[shown]),
            "rank": [rank or None for rank in found.ranking.ranks[shown].tolist()],
            "front": front[shown].tolist(),
        },
        "n_found": len(rows),
        "n_shown": len(shown),
        "how": how,
    }


def _inside(found: Ranked, query: PointsQuery) -> tuple[Mask, tuple[float | None, ...]]:
    """Return which candidates have both values, within the ranges."""
    inside = found.chosen
    for axis, name, low, high in (("x", query.x, query.xmin, query.xmax), ("y", query.y, query.ymin, query.ymax)):
        if low is not None and high is not None and low > high:
            raise InputError(f"{axis}min: expected it below {axis}max, got {low:g} and {high:g}.")
        values = found.table.table.estimates[name].value
        inside = inside & ~np.isnan(values)
        if low is not None:
            inside &= values >= low
        if high is not None:
            inside &= values <= high
    return inside, (query.xmin, query.xmax, query.ymin, query.ymax)


def _shown(rows: Rows, front: Mask, limit: int) -> tuple[Rows, str]:
    """Return the rows that are shown, in the order of the table, and in words which they are."""
    if len(rows) <= limit:
        return rows, f"All {len(rows):,} candidates that have both values."
    on_front = rows[front[rows]]
    others = rows[~front[rows]]
    rng = np.random.default_rng(_SEED)
    if len(on_front) >= limit:
        taken = np.sort(rng.choice(on_front, limit, replace=False))
        return taken, f"{limit:,} drawn at random from the {len(on_front):,} on the Pareto front; none of the others."
    n_drawn = limit - len(on_front)
    taken = np.sort(np.concatenate([on_front, rng.choice(others, n_drawn, replace=False)]))
    return taken, (
        f"All {len(on_front):,} on the Pareto front of these two, and {n_drawn:,} drawn at random from the other "
        f"{len(others):,}."
    )
