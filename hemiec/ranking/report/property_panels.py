"""What the HTML report draws of properties against each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hemiec.ranking.columns import COLUMNS, Column
from hemiec.ranking.entries import quantity
from hemiec.ranking.export.cells import CORRECTED
from hemiec.ranking.report.text import interval, number, plotly_text, spread
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity

#: The properties that are always drawn against each other, in pairs; others are if they count or say of stability.
DRAWN = tuple(
    column for column in COLUMNS
    if column.property in ("band_gap", "migration_barrier", "formation_energy_per_atom")
)  # fmt: skip


def property_panels(doc: LeaderboardDoc) -> list[dict[str, Any]]:
    """Return the points of each pair of properties that is drawn, with bars and who is left out."""
    return [_panel(doc, x, y) for x, y in _pairs(doc)]


def _pairs(doc: LeaderboardDoc) -> list[tuple[Column, Column]]:
    """Return what is drawn against what: the usual three, and each other property against the barrier.

    Of the others, those that count are drawn, and the energy above the hull if any candidate has one.
    """
    counted = {criterion.property for criterion in doc.criteria}
    if any(entry.energy_above_hull.value is not None for entry in doc.entries):
        counted.add("energy_above_hull")
    barrier = next(column for column in DRAWN if column.property == "migration_barrier")
    others = [column for column in COLUMNS if column.property in counted and column not in DRAWN]
    return [*combinations(DRAWN, 2), *((barrier, column) for column in others)]


def _panel(doc: LeaderboardDoc, x: Column, y: Column) -> dict[str, Any]:
    """Return the points of one property against another, and who cannot be drawn."""
    points, left_out = [], []
    # The best are drawn last, on top.
    for entry in reversed(doc.entries):
        at_x, at_y = quantity(entry, x.property), quantity(entry, y.property)
        if at_x.value is None or at_y.value is None:
            left_out.append(entry.label)
            continue
        points.append(
            {
                "x": at_x.value,
                "y": at_y.value,
                "x_error": _error(at_x),
                "y_error": _error(at_y),
                "mark": "" if entry.rank is None else str(entry.rank),
                "front": entry.pareto_layer == 1,
                "href": entry.candidate_id,
                "hover": _hover(entry),
            }
        )
    directions = {criterion.property: criterion.direction for criterion in doc.criteria}
    toward = {
        x: {"minimise": "left", "maximise": "right"}.get(directions.get(x.property, "")),
        y: {"minimise": "lower", "maximise": "upper"}.get(directions.get(y.property, "")),
    }
    better = " ".join(word for word in (toward[y], toward[x]) if word)
    return {
        "x_title": f"{x.heading} ({x.unit})",
        "y_title": f"{y.heading} ({y.unit})",
        "title": f"{y.title} against {x.title[0].lower()}{x.title[1:]}",
        "better": better,
        "points": points,
        "left_out": left_out[::-1],
    }


def _error(found: Quantity) -> list[float]:
    """Return how far the 90 % interval reaches below and above the value; else range, else deviation, else 0."""
    assert found.value is not None
    if found.interval is not None:
        return [max(0.0, found.value - found.interval[0]), max(0.0, found.interval[1] - found.value)]
    if found.n > 1 and found.min is not None and found.max is not None:
        return [max(0.0, found.value - found.min), max(0.0, found.max - found.value)]
    return [found.std or 0.0, found.std or 0.0]


def _hover(entry: LeaderboardEntry) -> str:
    lines = [f"<b>{plotly_text(entry.label)}</b>"]
    if entry.rank is not None:
        lines.append(f"Rank {entry.rank}, Pareto layer {entry.pareto_layer}")
    for column in COLUMNS:
        found = quantity(entry, column.property)
        if found.value is None and column not in DRAWN:
            continue
        line = f"{column.heading}: {number(found.value, column.digits)}"
        if found.value is not None:
            line += f"{CORRECTED if found.calibration else ''} {plotly_text(found.unit)}"
            line += f", 90 % interval {interval(found, column.digits)}" if found.interval else ""
        lines.append(f"{line}, {spread(found, column.digits)}" if found.n > 1 else line)
    return "<br>".join(lines)
