"""Ideal perovskite cells for tests."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

A_LATTICE = 3.905
UNIT_CELL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
IDEAL = [("Sr", (0.5, 0.5, 0.5)), ("Ti", (0, 0, 0)), ("O", (0.5, 0, 0)), ("O", (0, 0.5, 0)), ("O", (0, 0, 0.5))]


def perovskite(rows: Any = UNIT_CELL, on_A: tuple[str, ...] = ("Sr",), a: float = A_LATTICE) -> Structure:
    """Return an ideal supercell with labelled sites; the A species repeat in order."""
    cell = Structure(
        Lattice.cubic(a), [s for s, _ in IDEAL], [x for _, x in IDEAL], site_properties={"site": list("ABXXX")}
    )
    cell = cell.make_supercell(np.array(rows), in_place=False)
    names = itertools.cycle(on_A)
    for n, label in enumerate(cell.site_properties["site"]):
        if label == "A":
            cell.replace(n, next(names), properties={"site": "A"})
    return cell


def rattled(structure: Structure, seed: int, amplitude: float = 0.02) -> Structure:
    """Return the structure with normal displacements, wrapped into the cell as relaxations leave it."""
    shift = np.random.default_rng(seed).normal(scale=amplitude, size=(len(structure), 3))
    coords = structure.cart_coords + shift
    return Structure(structure.lattice, structure.species, coords, coords_are_cartesian=True, to_unit_cell=True)
