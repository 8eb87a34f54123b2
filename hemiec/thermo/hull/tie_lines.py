"""The hull along a straight line between two compositions: where its facets meet, and what is there.

Along ``c(x) = (1 - x) c0 + x c1`` the hull is convex and piecewise linear in x. From one facet the next is found
without another linear program: the amounts of its phases change linearly with x, the phase that runs out first leaves,
and the one whose plane is met first as the facet turns about the others takes its place (a step of the dual simplex
method). A trace of every element keeps the line off borders of facets, where it would not be clear which phase leaves;
energies and kinks are then those of the planes on the line itself, so the trace is not in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hemiec.errors import ThermoError
from hemiec.thermo.hull.facets import Facet, Facets, Floats

#: Atomic share of the trace of each element: above the tolerance of facets (1e-9), and products of it are left out.
_TRACE = 1e-7
#: Shares of atoms below which a product is the trace or rounding.
ABSENT = 1e-5
#: Slopes in eV/atom nearer than this belong to one piece of the line: the difference is rounding.
_SAME_SLOPE = 1e-7
#: Facets on one line; a line through the largest system tried, of 15 elements, has some 30.
_MOST_FACETS = 2000


@dataclass(frozen=True)
class Kink:
    """A point of the line: ``x`` on it, the energy of the hull in eV/atom, and phase number to share of the atoms."""

    x: float
    energy: float
    shares: dict[int, float]


def kinks_along(facets: Facets, start: Floats, end: Floats) -> list[Kink]:
    """Return both ends and every point between them where the products change, with rising x.

    Parameters
    ----------
    facets
        The hull. Its phases must include the elements.
    start, end
        Amounts of the elements at x = 0 and 1, shape (elements,). They may have different sums: energies are then per
        what the sums count (as in open systems, where one element is not counted).

    Raises
    ------
    ThermoError
        If the line leaves the phases, or a facet cannot be found.
    """
    pieces = _pieces(facets, start, end)
    direction = end - start
    levels = np.array([piece.potentials @ start for piece in pieces])
    slopes = np.array([piece.potentials @ direction for piece in pieces])
    # A convex curve is the highest of its tangents; neighbours with one slope are one piece, which ends at its last.
    new = np.concatenate([[True], np.diff(slopes) > _SAME_SLOPE])
    first = np.flatnonzero(new)
    owners = [pieces[n - 1] for n in first[1:]]
    inner = [float((levels[a] - levels[b]) / (slopes[b] - slopes[a])) for a, b in pairwise(first)]
    kinks = [_kink(0.0, pieces[0], start)]
    for x, piece in zip(inner, owners, strict=True):
        if kinks[-1].x + ABSENT < x < 1 - ABSENT:
            kinks.append(_kink(x, piece, start + x * direction))
    return [*kinks, _kink(1.0, pieces[-1], end)]


def _kink(x: float, piece: Facet, amounts: Floats) -> Kink:
    shares = piece.inverse @ amounts
    present = shares > ABSENT
    return Kink(
        x,
        float(piece.potentials @ amounts),
        dict(zip(piece.members[present].tolist(), shares[present].tolist(), strict=True)),
    )


def _pieces(facets: Facets, start: Floats, end: Floats) -> list[Facet]:
    """Return the facets that the line goes through, in order."""
    trace = _TRACE * _uneven(len(start))
    start, end = start + trace, end + trace
    total = start.sum()
    facet = facets.found[facets.at((start / total)[None])[0]]
    pieces = [facet]
    x = 0.0
    for _ in range(_MOST_FACETS):
        begin, change = facet.inverse @ start, facet.inverse @ (end - start)
        falling = change < -1e-15
        reach = np.full(len(change), np.inf)
        reach[falling] = np.maximum(-begin[falling] / change[falling], x)
        leaving = int(reach.argmin())
        x = float(reach[leaving])
        if x >= 1:
            return pieces
        facet = _turned(facets, facet, leaving)
        pieces.append(facet)
    raise ThermoError(f"the hull along a line was not found in {_MOST_FACETS} facets.")


def _turned(facets: Facets, facet: Facet, leaving: int) -> Facet:
    """Return the neighbour of a facet across the border on which one of its phases runs out."""
    rates = facets.points @ facet.inverse[leaving]
    slack = np.maximum(facets.energies - facets.points @ facet.potentials, 0.0)
    rows = np.flatnonzero(rates < -1e-9)
    if not len(rows):
        raise ThermoError("the line leaves the compositions that the phases span.")
    entering = rows[np.argmin(slack[rows] / -rates[rows])]
    members = facet.members.copy()
    members[leaving] = entering
    inverse = np.asarray(np.linalg.inv(facets.points[members].T), dtype=float)
    return Facet(members, inverse, inverse.T @ facets.energies[members])


def _uneven(n: int) -> Floats:
    """Return n numbers between 1 and 2 in no simple ratio, the same every time."""
    return 1 + np.sqrt(np.arange(2, n + 2)) % 1
