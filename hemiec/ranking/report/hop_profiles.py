"""What the HTML report draws of single hops: the energy along each path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from hemiec.ranking.report.text import number, plotly_text
from hemiec.schemas.transport import HopSummary

#: Width given to a hop without a path, in angstrom: about one oxygen-oxygen distance in a perovskite.
UNKNOWN_HOP_LENGTH = 2.8
#: Gap between two hops in a profile, in angstrom.
HOP_SPACING = 0.4
#: Points of the curve from one computed state to the next.
POINTS_BETWEEN = 12


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
