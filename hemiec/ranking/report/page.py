"""A leaderboard as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any

from markupsafe import Markup

from hemiec.ranking.export import COLUMNS, CORRECTED, MISSING, Column, distinct_methods, method_mark, missing_reasons
from hemiec.ranking.leaderboard import quantity
from hemiec.ranking.report.text import chemical, interval, number, plotly_text, spread
from hemiec.ranking.report.thermo_panels import (
    PARTS,
    curve_name,
    pressures,
    products,
    thermo_facts,
    thermo_panels,
    window_text,
    worst_products,
)
from hemiec.ranking.report.transport_panels import MOST_RANKS, band, hops_for, order_panel, scientific, transport_panels
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopSummary

TEMPLATE = "page.html.jinja"
#: The properties that are always drawn against each other, in pairs; others are if they count or say of stability.
DRAWN = tuple(
    column for column in COLUMNS
    if column.property in ("band_gap", "migration_barrier", "formation_energy_per_atom")
)  # fmt: skip
#: Width given to a hop without a path, in angstrom: about one oxygen-oxygen distance in a perovskite.
UNKNOWN_HOP_LENGTH = 2.8
#: Gap between two hops in a profile, in angstrom.
HOP_SPACING = 0.4
#: Points of the curve from one computed state to the next.
POINTS_BETWEEN = 12


def to_html(doc: LeaderboardDoc) -> str:
    """Return the leaderboard as one self-contained HTML file of about 5 MB.

    It holds the sortable table, the order by effective barrier beside that by single hops, the ranked properties
    against each other, and a card per candidate with its thermodynamics, conducting network, barriers, Arrhenius curve,
    energy profiles and provenance. plotly.js is inlined, and a content security policy
    forbids the page to ask any host for anything.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("hemiec.ranking.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["chemical"] = chemical
    return environment.get_template(TEMPLATE).render(
        doc=doc,
        columns=COLUMNS,
        by_property={column.property: column for column in COLUMNS},
        n_ranked=sum(entry.rank is not None for entry in doc.entries),
        methods={column.property: distinct_methods(doc.entries, column.property) for column in COLUMNS},
        n_protocols={column.property: _n_protocols(doc.entries, column) for column in COLUMNS},
        reasons={column.property: missing_reasons(doc.entries, column.property) for column in COLUMNS},
        charts={
            "panels": [_panel(doc, x, y) for x, y in _pairs(doc)],
            "profiles": [profile(entry.hops) for entry in doc.entries],
            "order": order_panel(doc.entries),
            "transport": [transport_panels(entry.transport, entry.dynamics) for entry in doc.entries],
            "thermo": [thermo_panels(entry.thermodynamics) for entry in doc.entries],
        },
        # The library itself, from the installed package, goes in as it is.
        plotly_js=Markup(get_plotlyjs()),
        quantity=quantity,
        number=number,
        spread=spread,
        interval=interval,
        band=band,
        most_ranks=MOST_RANKS,
        hops_for=hops_for,
        scientific=scientific,
        thermo_facts=thermo_facts,
        thermo_parts=PARTS,
        window_text=window_text,
        products=products,
        curve_name=curve_name,
        worst_products=worst_products,
        pressures=pressures,
        method_mark=method_mark,
        MISSING=MISSING,
        CORRECTED=CORRECTED,
        any_corrected=any(quantity(entry, c.property).calibration for entry in doc.entries for c in COLUMNS),
        any_interval=any(quantity(entry, c.property).interval for entry in doc.entries for c in COLUMNS),
    )


def profile(hops: Sequence[HopSummary]) -> dict[str, Any]:
    """Return the energy along each computed hop, hops side by side.

    Each hop has its zero at its first site. Between computed states, where the energy is stationary, the line is the
    cubic with zero slope at both.

    Returns
    -------
    dict
        ``x`` path length in angstrom, ``y`` energy in eV, ``hover`` and marker ``size`` (0 between
        computed states), with None where the line breaks; ``hops``, each with ``from`` and ``to`` in
        angstrom, ``label``, and ``failed``; ``broken``, whether any hop failed.
    """
    x: list[float | None] = []
    y: list[float | None] = []
    hover: list[str] = []
    size: list[int] = []
    spans: list[dict[str, Any]] = []
    start = 0.0
    for index, hop in enumerate(hops, start=1):
        label = plotly_text(hop.environment)
        failed = hop.forward_barrier is None or not hop.energies
        length = UNKNOWN_HOP_LENGTH if failed else hop.reaction_coordinate[-1]
        spans.append({"from": start, "to": start + length, "label": label, "failed": failed})
        if not failed:
            about = (
                f"Hop {index}: {label}<br>forward {number(hop.forward_barrier, 2)} eV, "
                f"reverse {number(hop.reverse_barrier, 2)} eV"
            )
            for distance, energy, computed in _smooth(hop.reaction_coordinate, hop.energies):
                x.append(round(start + distance, 4))
                y.append(round(energy, 4))
                hover.append(f"{about}<br>this state {number(energy, 2)} eV" if computed else "")
                size.append(7 if computed else 0)
        x, y, hover, size = [*x, None], [*y, None], [*hover, ""], [*size, 0]
        start += length + HOP_SPACING
    return {
        "x": x,
        "y": y,
        "hover": hover,
        "size": size,
        "hops": spans,
        "broken": any(span["failed"] for span in spans),
    }


def _smooth(distances: Sequence[float], energies: Sequence[float]) -> Iterator[tuple[float, float, bool]]:
    """Yield (distance, energy, whether computed) of the states and of points between them."""
    yield distances[0], energies[0], True
    for (x0, e0), (x1, e1) in pairwise(zip(distances, energies, strict=True)):
        for step in range(1, POINTS_BETWEEN + 1):
            t = step / POINTS_BETWEEN
            yield x0 + t * (x1 - x0), e0 + (3 - 2 * t) * t * t * (e1 - e0), step == POINTS_BETWEEN


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


def _n_protocols(entries: Sequence[LeaderboardEntry], column: Column) -> int:
    used = [quantity(entry, column.property) for entry in entries]
    return len({found.protocol_hash for found in used if found.value is not None and found.protocol_hash})
