"""Well-shaped supercells of the cubic perovskite that hold given fractions exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.errors import CompositionError

ATOMS_PER_FORMULA_UNIT = 5
#: Integer vectors up to this length cover the shortest image of every compact cell of up to 200 units.
_SEARCH_RADIUS = 7


def smallest_cell(sites: Mapping[str, Mapping[str, Fraction]]) -> int:
    """Return the smallest number of formula units that holds all fractions exactly."""
    denominators = [
        (x * SITE_MULTIPLICITY[site]).denominator for site, species in sites.items() for x in species.values()
    ]
    return math.lcm(*denominators)


def formula_units(sites: Mapping[str, Mapping[str, Fraction]], max_atoms: int, *, where: str) -> int:
    """Return the largest number of formula units within ``max_atoms`` that holds the fractions exactly.

    Raises
    ------
    CompositionError
        If even the smallest such cell has more than ``max_atoms`` atoms.
    """
    smallest = smallest_cell(sites)
    largest = max_atoms // (smallest * ATOMS_PER_FORMULA_UNIT)
    if largest == 0:
        raise CompositionError(
            f"{where}: a cell of at most {max_atoms} atoms cannot hold these fractions; "
            f"the smallest that does has {smallest * ATOMS_PER_FORMULA_UNIT} atoms ({smallest} formula units).",
            mend=f"set `sqs: {{max_atoms: {smallest * ATOMS_PER_FORMULA_UNIT}}}` or more, or use simpler fractions",
        )
    return smallest * largest


def _hermite_forms(determinant: int) -> Iterator[tuple[int, ...]]:
    """Yield (a, b, c, d, e, f) of every lower-triangular Hermite normal form [[a,0,0],[b,c,0],[d,e,f]]."""
    for a in range(1, determinant + 1):
        if determinant % a:
            continue
        for c in range(1, determinant // a + 1):
            if (determinant // a) % c:
                continue
            f = determinant // (a * c)
            for b in range(a):
                for d in range(a):
                    for e in range(c):
                        yield a, b, c, d, e, f


@lru_cache(maxsize=64)
def compact_supercell(n_units: int) -> tuple[tuple[int, int, int], ...]:
    """Return the most compact supercell of ``n_units`` primitive cubic cells.

    Of all sublattices of that index the one with the longest shortest vector is taken, then the one
    with the fewest shortest vectors; its basis is reduced (pymatgen's LLL). Deterministic.

    Returns
    -------
    Rows of integers, shape=(3, 3), cell vectors in units of the cubic lattice parameter.
    """
    from pymatgen.core import Lattice

    span = np.arange(-_SEARCH_RADIUS, _SEARCH_RADIUS + 1)
    vectors = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths2 = (vectors**2).sum(axis=1)
    keep = lengths2 > 0
    # Each vector once, not also its negative.
    first_sign = np.sign(vectors @ np.array([10_000, 100, 1]))
    keep &= first_sign > 0
    order = np.argsort(lengths2[keep], kind="stable")
    vectors, lengths2 = vectors[keep][order], lengths2[keep][order]

    best: tuple[int, int] | None = None
    best_form: tuple[int, ...] = ()
    for a, b, c, d, e, f in _hermite_forms(n_units):
        # v = k H with integer k, solved from the last component back.
        x, y, z = vectors.T
        k3, r3 = np.divmod(z, f)
        k2, r2 = np.divmod(y - k3 * e, c)
        r1 = (x - k2 * b - k3 * d) % a
        inside = (r1 == 0) & (r2 == 0) & (r3 == 0)
        hits = lengths2[inside]
        if not hits.size:
            continue
        score = (int(hits[0]), -int((hits == hits[0]).sum()))
        if best is None or score > best:
            best, best_form = score, (a, b, c, d, e, f)
    if best is None:
        raise CompositionError(f"no compact supercell of {n_units} formula units was found.", mend="use a smaller cell")
    a, b, c, d, e, f = best_form
    reduced = Lattice([[a, 0, 0], [b, c, 0], [d, e, f]]).get_lll_reduced_lattice().matrix
    rows = np.rint(reduced).astype(int)
    if np.linalg.det(rows) < 0:
        rows = -rows
    return tuple((int(r[0]), int(r[1]), int(r[2])) for r in rows)


def shortest_image_distance(cell: NDArray[np.float64]) -> float:
    """Return the length of the shortest lattice vector, in the unit of ``cell`` (shape=(3, 3), rows)."""
    span = np.arange(-3, 4)
    shifts = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = shifts[np.any(shifts != 0, axis=1)]
    return float(np.linalg.norm(shifts @ np.asarray(cell), axis=1).min())
