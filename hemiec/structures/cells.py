"""Supercell shapes: how many units hold given fractions, and which cells of that size are well shaped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.errors import CompositionError
from hemiec.structures.parent import FloatArray, IntArray, Parent, cubic_perovskite, hermite_normal_forms

ATOMS_PER_FORMULA_UNIT = 5
#: A periodic image closer than this, in angstrom, is felt by a vacancy or a hop; smaller cells cannot avoid it.
MIN_IMAGE_DISTANCE = 8.5
#: The shipped table of cubic shapes holds all cells up to TABLE_ALL units, and the best of each size up to TABLE_LAST.
TABLE_ALL, TABLE_LAST, TABLE_BEST = 24, 64, 40
Rows = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Shape:
    """A supercell of a parent lattice.

    Parameters
    ----------
    rows
        Reduced cell vectors in units of the parent's, right-handed.
    shortest
        Length of the shortest lattice vector, in units of the parent's shortest one.
    crowding
        How much the pairs of one neighbour shell fall on the same site of the cell: the mean over the first four
        shells of (sum over sites of counts^2) / (coordination number), unit 1. 1 is best: all neighbours differ.
    """

    rows: Rows
    shortest: float
    crowding: float


def smallest_cell(sites: Mapping[str, Mapping[str, Fraction]]) -> int:
    """Return the smallest number of formula units that holds all fractions exactly."""
    denominators = [
        (x * SITE_MULTIPLICITY[site]).denominator for site, species in sites.items() for x in species.values()
    ]
    return math.lcm(*denominators)


def formula_units(sites: Mapping[str, Mapping[str, Fraction]], max_atoms: int, *, where: str, multiple: int = 1) -> int:
    """Return the largest number of formula units within ``max_atoms`` that holds the fractions exactly.

    Parameters
    ----------
    sites
        Sublattice to species to fraction.
    max_atoms
        Largest cell, vacancies counted as atoms.
    where
        Composition the message is about.
    multiple
        The number is a multiple of this, because of a tilt system.

    Raises
    ------
    CompositionError
        If even the smallest such cell has more than ``max_atoms`` atoms.
    """
    smallest = math.lcm(smallest_cell(sites), multiple)
    largest = max_atoms // (smallest * ATOMS_PER_FORMULA_UNIT)
    if largest == 0:
        raise CompositionError(
            f"{where}: a cell of at most {max_atoms} atoms cannot hold these fractions; "
            f"the smallest that does has {smallest * ATOMS_PER_FORMULA_UNIT} atoms ({smallest} formula units).",
            mend=f"set `sqs: {{max_atoms: {smallest * ATOMS_PER_FORMULA_UNIT}}}` or more, use simpler fractions, "
            "or allow rounding with `sqs: {rounding: 0.02}`",
        )
    return smallest * largest


def rounded_amounts(
    sites: Mapping[str, Mapping[str, Fraction]], max_atoms: int, tolerance: float, *, where: str, multiple: int = 1
) -> tuple[int, dict[str, dict[str, int]]]:
    """Return formula units and site counts within ``max_atoms`` that come closest to the fractions.

    The error of a cell is its largest deviation of a site fraction; of equally good cells the largest is taken.

    Raises
    ------
    CompositionError
        If a fraction is off by more than ``tolerance`` in every cell.
    """
    best: tuple[float, int, dict[str, dict[str, int]]] | None = None
    for units in range(multiple, max_atoms // ATOMS_PER_FORMULA_UNIT + 1, multiple):
        amounts = {site: _round(species, units * SITE_MULTIPLICITY[site]) for site, species in sites.items()}
        if any(n == 0 for species in amounts.values() for n in species.values()):
            continue  # a species that was asked for may become rarer or more frequent, not vanish
        error = max(
            float(abs(Fraction(n, units * SITE_MULTIPLICITY[site]) - sites[site][s]))
            for site, species in amounts.items()
            for s, n in species.items()
        )
        if best is None or error <= best[0] + 1e-12:
            best = error, units, amounts
    if best is None or best[0] > tolerance + 1e-12:
        off = f"; the best one is off by {best[0]:.3f}" if best else ""
        smallest = math.lcm(smallest_cell(sites), multiple) * ATOMS_PER_FORMULA_UNIT
        raise CompositionError(
            f"{where}: no cell of at most {max_atoms} atoms holds these fractions within {tolerance:g}{off}; "
            f"{smallest} atoms hold them exactly.",
            mend=f"set max_atoms to {smallest} or more, use simpler fractions, or allow more rounding",
        )
    return best[1], best[2]


def _round(species: Mapping[str, Fraction], n_sites: int) -> dict[str, int]:
    """Return whole numbers that sum to ``n_sites``, by largest remainders."""
    floor = {s: int(x * n_sites) for s, x in species.items()}
    by_remainder = sorted(species, key=lambda s: (floor[s] - species[s] * n_sites, s))
    for s in by_remainder[: n_sites - sum(floor.values())]:
        floor[s] += 1
    return floor


def cubic_shapes(n_units: int) -> tuple[Shape, ...]:
    """Return shapes of the cubic parent, the least crowded first, from the shipped table where it reaches.

    All symmetry-inequivalent ones up to 24 units, the best 40 of each size beyond.
    """
    table = _table()
    if n_units in table:
        return table[n_units]
    return _keep(inequivalent_shapes(n_units, _cubic(), sublattice="A"), n_units)


@lru_cache(maxsize=1)
def _cubic() -> Parent:
    return cubic_perovskite()


def _keep(shapes: tuple[Shape, ...], n_units: int) -> tuple[Shape, ...]:
    """Return what the table holds of all shapes of one size: the least crowded and the most compact one."""
    if n_units <= TABLE_ALL:
        return shapes
    compact = most_compact(shapes)
    kept = shapes[:TABLE_BEST]
    return kept if compact in kept else (*kept, compact)


@lru_cache(maxsize=1)
def _table() -> dict[int, tuple[Shape, ...]]:
    text = files("hemiec.structures").joinpath("cubic_shapes.json").read_text()
    return {
        int(n): tuple(
            Shape(((v[0], v[1], v[2]), (v[3], v[4], v[5]), (v[6], v[7], v[8])), v[9] ** 0.5, v[10]) for v in shapes
        )
        for n, shapes in json.loads(text)["shapes"].items()
    }


def write_table() -> str:
    """Return the text of the shipped table, computed anew."""
    table = {
        str(n): [
            [*(x for row in shape.rows for x in row), round(shape.shortest**2), round(shape.crowding, 6)]
            for shape in _keep(inequivalent_shapes(n, cubic_perovskite(), sublattice="A"), n)
        ]
        for n in range(1, TABLE_LAST + 1)
    }
    about = "Supercells of the simple cubic lattice: nine integers of the rows, shortest vector squared, crowding."
    return json.dumps({"about": about, "shapes": table}, separators=(",", ":")) + "\n"


def compact_supercell(n_units: int) -> Rows:
    """Return the cubic perovskite's cell of ``n_units`` formula units with the most distant periodic images.

    Returns
    -------
    Rows of integers, shape=(3, 3), cell vectors in units of the cubic lattice parameter.
    """
    return most_compact(cubic_shapes(n_units)).rows


def most_compact(shapes: tuple[Shape, ...]) -> Shape:
    """Return the shape with the most distant periodic images; of equal ones the least crowded."""
    return max(shapes, key=lambda shape: (round(shape.shortest, 6), -shape.crowding))


def well_shaped(shapes: tuple[Shape, ...], shortest: float) -> tuple[Shape, ...]:
    """Return the shapes whose shortest vector is at least ``shortest``; if none, the longest there is.

    ``shortest`` is in units of the parent's shortest vector.
    """
    limit = min(shortest, max(shape.shortest for shape in shapes))
    return tuple(shape for shape in shapes if shape.shortest >= limit - 1e-9)


@lru_cache(maxsize=64)
def inequivalent_shapes(n_units: int, parent: Parent, *, sublattice: str) -> tuple[Shape, ...]:
    """Return every sublattice of this index once per symmetry class of the parent, the least crowded first.

    Crowding is that of the neighbours within ``sublattice``.
    """
    rotations = np.unique(parent.symmetry[0], axis=0)
    forms = np.array(list(hermite_normal_forms(n_units)))
    names = _canonical(forms, rotations)
    _, chosen = np.unique(names, axis=0, return_index=True)
    unit = float(shortest_image_distance(parent.lattice))
    shapes = []
    shells = [
        np.array([(j - i, *shift) for i, j, shift in pairs if i == pairs[0][0]])
        for _, pairs in parent.neighbours(sublattice, sublattice, 4)
    ]
    for form in forms[np.sort(chosen)]:
        rows = _reduced(form, parent.lattice)
        shapes.append(
            Shape(
                tuple((int(r[0]), int(r[1]), int(r[2])) for r in rows),
                shortest_image_distance(rows @ parent.lattice) / unit,
                _crowding(rows, n_units, shells),
            )
        )
    return tuple(sorted(shapes, key=lambda s: (round(s.crowding, 6), -round(s.shortest, 6), s.rows)))


def _crowding(rows: IntArray, n_units: int, shells: list[IntArray]) -> float:
    adjugate = np.rint(np.linalg.inv(rows) * np.linalg.det(rows)).astype(np.int64)
    values = []
    for pairs in shells:
        keys = (pairs[:, 1:] @ adjugate) % n_units
        keys = np.column_stack([pairs[:, 0], keys])
        # Next to nothing is as bad as a site that neighbours its own image: it is always a like pair.
        own = ~np.any(keys, axis=1)
        _, counts = np.unique(keys, axis=0, return_counts=True)
        values.append((np.sum(counts**2) + 4 * own.sum() ** 2) / len(pairs))
    return float(np.mean(values))


def _reduced(form: IntArray, lattice: FloatArray) -> IntArray:
    """Return a reduced right-handed basis (pymatgen's LLL) of the same superlattice."""
    from pymatgen.core import Lattice

    reduced = Lattice(form @ lattice).get_lll_reduced_lattice().matrix
    rows: IntArray = np.rint(reduced @ np.linalg.inv(lattice)).astype(np.int64)
    return -rows if np.linalg.det(rows @ lattice) < 0 else rows


@njit(cache=True)
def _canonical(forms: NDArray[np.int64], rotations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each Hermite form the smallest one among its images under the rotations, flattened."""
    result = np.empty((len(forms), 9), dtype=np.int64)
    image = np.empty((3, 3), dtype=np.int64)
    for n in range(len(forms)):
        for k in range(len(rotations)):
            for i in range(3):
                for j in range(3):
                    image[i, j] = 0
                    for m in range(3):
                        image[i, j] += forms[n, i, m] * rotations[k, j, m]
            _hermite(image)
            smaller = k == 0
            for m in range(9):
                x = image[m // 3, m % 3]
                if x != result[n, m] or k == 0:
                    smaller = k == 0 or x < result[n, m]
                    break
            if smaller:
                for m in range(9):
                    result[n, m] = image[m // 3, m % 3]
    return result


@njit(cache=True)
def _hermite(h: NDArray[np.int64]) -> None:
    """Bring integer rows to lower-triangular Hermite normal form in place."""
    for column in (2, 1, 0):
        for r in range(column):
            while h[r, column] != 0:
                factor = h[column, column] // h[r, column]
                for m in range(3):
                    h[column, m] -= factor * h[r, m]
                    h[column, m], h[r, m] = h[r, m], h[column, m]
        if h[column, column] < 0:
            for m in range(3):
                h[column, m] = -h[column, m]
    for column in (1, 0):
        for r in range(column + 1, 3):
            factor = h[r, column] // h[column, column]
            for m in range(3):
                h[r, m] -= factor * h[column, m]


def shortest_image_distance(cell: NDArray[np.float64]) -> float:
    """Return the length of the shortest lattice vector, in the unit of ``cell`` (rows of a reduced cell)."""
    span = np.arange(-3, 4)
    shifts = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = shifts[np.any(shifts != 0, axis=1)]
    return float(np.linalg.norm(shifts @ np.asarray(cell), axis=1).min())
