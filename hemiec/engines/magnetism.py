"""Magnetic starting states: which ones a composition can have, and the moment of each site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.engines.settings import GIVEN_START, SpinSettings
from hemiec.errors import StructureError

Array = NDArray[np.float64]

#: Magnetic neighbours within this many nearest distances are of the first shell; a cubic lattice's second is at 1.41.
_FIRST_SHELL = 1.25
#: Ligands within this many nearest distances belong to the octahedron: Jahn-Teller long bonds do, A cations do not.
_OCTAHEDRON = 1.35
#: Weight of couplings beyond the first shell: they only decide between arrangements equal in the first.
_FAR_WEIGHT = 0.01
#: Largest distance of a neighbour from a node of the cubic B lattice, in its parameter.
_OFF_LATTICE = 0.35
#: Up to this many magnetic sites every arrangement is tried.
_EXACT = 16
#: Which of a neighbour's lattice steps turn its moment: those along the axis (A), across it (C), all (G).
_TURNING = {"antiferromagnetic-A": (0, 0, 1), "antiferromagnetic-C": (1, 1, 0), "antiferromagnetic-G": (1, 1, 1)}


@dataclass(frozen=True)
class _Couplings:
    """Products of signs that an arrangement asks for: weight > 0 wants parallel moments, < 0 antiparallel ones.

    ``matrix`` has shape=(n, n) and a zero diagonal; ``fixed`` is the weight a site has with its own images.
    """

    matrix: Array
    fixed: float


def starts_for(species: Sequence[str], spin: SpinSettings) -> list[str]:
    """Return the starts of the settings that a cell with these species can hold, without those that coincide.

    Parameters
    ----------
    species
        Element of every site of the cell; only the composition counts.
    spin
        Starts and moments of the protocol.

    Returns
    -------
    list of str
        In the order of the settings; empty without magnetic elements.
    """
    moments = [spin.moments[s] for s in species if s in spin.moments and spin.moments[s].high > 0]
    if not moments:
        return []
    low_differs = any(m.low is not None and m.low != m.high for m in moments)
    low_is_zero = all(m.low == 0 for m in moments)
    kept: list[str] = []
    for start in spin.starts:
        if start.startswith("antiferromagnetic") and len(moments) < 2:
            continue
        if start == "low-spin" and (not low_differs or (low_is_zero and "nonmagnetic" in kept)):
            continue
        if start == "nonmagnetic" and low_is_zero and "low-spin" in kept:
            continue
        if start not in kept:
            kept.append(start)
    return kept


def initial_moments(structure: Structure, start: str | None, spin: SpinSettings) -> list[float]:
    """Return the starting moment of each site, in Bohr magnetons.

    Antiferromagnetic patterns are the arrangement of signs that fulfils most couplings to the nearest magnetic
    neighbours: for G all antiparallel, for A parallel in planes and antiparallel between them, for C antiparallel
    in planes and parallel along chains (doi:10.1103/PhysRev.100.545). In a frustrated cell, such as an odd number
    of sites in a row, this is a maximum cut of the neighbour graph. Of equal arrangements the one with the smallest
    total moment is taken.

    Parameters
    ----------
    structure
        Cell; the directions of A and C are those from the magnetic ions to their ligands, the axis the one that
        fulfils most couplings, then the one nearest the Cartesian z.
    start
        Name of the arrangement; None for no moments; "given" for those of the site property ``magmom``.
    spin
        Moments of the protocol.

    Raises
    ------
    StructureError
        For an antiferromagnetic start with fewer than two magnetic sites, for A and C without a cubic lattice of
        magnetic octahedra, or for given moments that are not there.
    """
    symbols = [site.specie.symbol for site in structure]
    if start is None or start == "nonmagnetic":
        return [0.0] * len(symbols)
    if start == GIVEN_START:
        if "magmom" not in structure.site_properties:
            raise StructureError(f"{structure.formula}: the given moments are missing.", mend="set `magmom` per site")
        return [float(m or 0.0) for m in structure.site_properties["magmom"]]
    known = [spin.moments.get(symbol) for symbol in symbols]
    if start == "low-spin":
        return [0.0 if m is None else m.high if m.low is None else m.low for m in known]
    high = [0.0 if m is None else m.high for m in known]
    if start == "ferromagnetic":
        return high
    if start not in _TURNING:
        raise StructureError(f"{start!r} is not a magnetic arrangement; use one of {', '.join(_TURNING)}.")
    sites = [i for i, moment in enumerate(high) if moment > 0]
    if len(sites) < 2:
        raise StructureError(f"{structure.formula}: {start} needs two magnetic sites, the cell has {len(sites)}.")
    signs = _signs(structure, sites, start, np.array([high[i] for i in sites]))
    moments = [0.0] * len(symbols)
    for i, sign in zip(sites, signs, strict=True):
        moments[i] = float(sign) * high[i]
    return moments


def _signs(structure: Structure, sites: list[int], start: str, moments: Array) -> NDArray[np.int_]:
    """Return +1 or -1 for each magnetic site."""
    pairs = _pairs(structure, sites)
    axes = _octahedral_axes(structure, sites)
    if axes is not None and not _on_lattice(pairs, axes):
        axes = None
    order = _canonical_order(structure, sites)
    if axes is None:
        if start != "antiferromagnetic-G":
            raise StructureError(
                f"{structure.formula}: {start} needs magnetic ions in corner-sharing octahedra.",
                mend="use ferromagnetic and antiferromagnetic-G starts",
            )
        return _arrange(_nearest_couplings(pairs, len(sites)), moments, order)[0]
    best: tuple[float, NDArray[np.int_]] | None = None
    for axis in _axis_order(axes) if start != "antiferromagnetic-G" else [2]:
        turning = np.roll(_TURNING[start], axis - 2)
        signs, fulfilled = _arrange(_lattice_couplings(pairs, axes, turning, len(sites)), moments, order)
        if best is None or fulfilled > best[0] + 1e-9:
            best = fulfilled, signs
    assert best is not None
    return best[1]


def _pairs(structure: Structure, sites: list[int]) -> list[tuple[int, int, Array]]:
    """Return each pair of magnetic sites, self-images too, up to the third shell: numbers within ``sites``, vector."""
    lattice, frac = structure.lattice, structure.frac_coords
    shifts = np.array(list(product(range(-2, 3), repeat=3)), dtype=float)
    found: list[tuple[int, int, Array]] = []
    for a, i in enumerate(sites):
        for b in range(a, len(sites)):
            step = frac[sites[b]] - frac[i]
            vectors = lattice.get_cartesian_coords(step - np.round(step) + shifts)
            found.extend((a, b, v) for v in vectors if np.linalg.norm(v) > 0.1)
    nearest = min(np.linalg.norm(v) for _, _, v in found)
    return [(a, b, v) for a, b, v in found if np.linalg.norm(v) < 1.9 * nearest]


def _octahedral_axes(structure: Structure, sites: list[int]) -> Array | None:
    """Return the cubic parent's vectors from the magnetic ions' ligands, shape=(3, 3), or None if not octahedral.

    Tilts of neighbouring octahedra are opposite, so the mean over ions is along the untilted axes.
    """
    ligands: list[Array] = []
    for i in sites:
        near = sorted(structure.get_neighbors(structure[i], 3.2), key=lambda n: n.nn_distance)
        near = [n for n in near if n.nn_distance < _OCTAHEDRON * near[0].nn_distance]
        ligands.extend(n.coords - structure[i].coords for n in near)
    if len(ligands) < 3:
        return None
    vectors = np.array(ligands)
    axes = _first_guess(vectors)
    for _ in range(10):
        if axes is None:
            return None
        projections = vectors @ (axes / np.linalg.norm(axes, axis=1)[:, None]).T
        nearest = np.abs(projections).argmax(axis=1)
        if any(not (nearest == k).any() for k in range(3)):
            return None
        turned = vectors * np.sign(projections[np.arange(len(vectors)), nearest])[:, None]
        axes = 2 * np.array([turned[nearest == k].mean(axis=0) for k in range(3)])
    assert axes is not None
    unit = axes / np.linalg.norm(axes, axis=1)[:, None]
    along = np.abs(vectors @ unit.T).max(axis=1) / np.linalg.norm(vectors, axis=1)
    skew = np.abs(unit @ unit.T - np.eye(3)).max()
    return axes if along.min() > np.cos(np.radians(40)) and skew < 0.3 else None


def _first_guess(vectors: Array) -> Array | None:
    """Return three ligand vectors that are nearly orthogonal, or None."""
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    first = 0
    across = [int(k) for k in np.flatnonzero(np.abs(unit @ unit[first]) < 0.5)]
    for second in across:
        third = [k for k in across if abs(unit[k] @ unit[second]) < 0.5]
        if third:
            return np.asarray(vectors[[first, second, third[0]]])
    return None


def _on_lattice(pairs: list[tuple[int, int, Array]], axes: Array) -> bool:
    """Return whether all magnetic neighbours lie near nodes of the lattice with these vectors."""
    steps = np.array([v for _, _, v in pairs]) @ np.linalg.inv(axes)
    return bool(np.abs(steps - np.round(steps)).max() < _OFF_LATTICE)


def _axis_order(axes: Array) -> list[int]:
    """Return the axes, the one nearest the Cartesian z first, then y."""
    unit = np.abs(axes / np.linalg.norm(axes, axis=1)[:, None]).round(3)
    return sorted(range(3), key=lambda k: tuple(-unit[k][::-1]))


def _nearest_couplings(pairs: list[tuple[int, int, Array]], n: int) -> _Couplings:
    """Return antiparallel couplings of the first shell."""
    nearest = min(np.linalg.norm(v) for _, _, v in pairs)
    return _gather([(a, b, -1.0) for a, b, v in pairs if np.linalg.norm(v) < _FIRST_SHELL * nearest], n)


def _lattice_couplings(pairs: list[tuple[int, int, Array]], axes: Array, turning: Array, n: int) -> _Couplings:
    """Return the couplings of a pattern on the cubic lattice: the parity of the steps that turn the moment."""
    inverse = np.linalg.inv(axes)
    weighted = []
    for a, b, vector in pairs:
        steps = np.round(vector @ inverse).astype(int)
        weight = 1.0 if np.abs(steps).sum() == 1 else _FAR_WEIGHT
        weighted.append((a, b, weight * (-1.0) ** int(np.abs(steps) @ turning)))
    return _gather(weighted, n)


def _gather(weighted: list[tuple[int, int, float]], n: int) -> _Couplings:
    matrix, fixed = np.zeros((n, n)), 0.0
    for a, b, weight in weighted:
        if a == b:
            fixed += weight / 2  # an image and its opposite are both in the list
        else:
            matrix[a, b] += weight
            matrix[b, a] += weight
    return _Couplings(matrix, fixed)


def _canonical_order(structure: Structure, sites: list[int]) -> list[int]:
    """Return numbers within ``sites`` in an order that does not depend on that of the sites."""
    wrapped = np.mod(structure.frac_coords[sites].round(3), 1.0)
    return sorted(range(len(sites)), key=lambda a: (structure[sites[a]].specie.symbol, *wrapped[a]))


def _arrange(couplings: _Couplings, moments: Array, order: list[int]) -> tuple[NDArray[np.int_], float]:
    """Return the signs that fulfil most couplings, the first site of ``order`` up, and the weight fulfilled."""
    matrix = couplings.matrix[np.ix_(order, order)]
    candidates = _all_signs(len(order)) if len(order) <= _EXACT else _searched_signs(matrix)
    fulfilled = 0.5 * np.einsum("ci,ij,cj->c", candidates, matrix, candidates)
    best = candidates[fulfilled > fulfilled.max() - 1e-9]
    chosen = best[np.abs(best @ moments[order]).round(6).argmin()]
    signs = np.empty(len(order), dtype=int)
    signs[order] = np.round(chosen * chosen[0]).astype(int)
    return signs, float(fulfilled.max() + couplings.fixed)


def _all_signs(n: int) -> Array:
    """Return every choice of signs with the first up, shape=(2**(n-1), n)."""
    bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1)[None, ::-1]) & 1
    return np.hstack([np.ones((len(bits), 1)), 1.0 - 2.0 * bits])


def _searched_signs(matrix: Array) -> Array:
    """Return good choices of signs for many sites: sign propagation and eigenvectors, each improved by single turns."""
    n = len(matrix)
    values, vectors = np.linalg.eigh(matrix)
    starts = [_propagated(matrix, root) for root in range(min(n, 8))]
    starts += [np.where(vectors[:, k] >= 0, 1.0, -1.0) for k in np.argsort(values)[::-1][:8]]
    for signs in starts:
        while True:
            gain = -2 * signs * (matrix @ signs)
            site = int(gain.argmax())
            if gain[site] <= 1e-12:
                break
            signs[site] *= -1
    return np.array(starts)


def _propagated(matrix: Array, root: int) -> Array:
    """Return signs spread from one site along the strongest couplings: exact where no coupling is frustrated."""
    signs = np.zeros(len(matrix))
    signs[root] = 1.0
    while (signs == 0).any():
        known = np.flatnonzero(signs)
        unknown = np.flatnonzero(signs == 0)
        block = matrix[np.ix_(unknown, known)]
        row, column = np.unravel_index(np.abs(block).argmax(), block.shape)
        signs[unknown[row]] = signs[known[column]] * (np.sign(block[row, column]) or 1.0)
    return signs
