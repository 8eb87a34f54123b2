"""Octahedral tilts of the cubic parent as starting geometries: Pnma, R-3c, I4/mcm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hemiec.structures.cells import Shape
from hemiec.structures.parent import FloatArray, IntArray, Supercell

#: Rotation of each octahedron about each axis that the system tilts around, in degrees: that of common tilted oxides.
TILT_ANGLE = 8.0


@dataclass(frozen=True)
class Tilt:
    """A tilt system in Glazer's sense (doi:10.1107/S0567740872007976).

    Parameters
    ----------
    name
        Space group of an ABX3 with these tilts.
    glazer
        Its notation.
    antiphase
        Axes with octahedra of one column alternating, the R point.
    in_phase
        Axes with octahedra of one column alike, the M point.
    """

    name: str
    glazer: str
    antiphase: tuple[int, ...]
    in_phase: tuple[int, ...]

    @property
    def multiple(self) -> int:
        """The number of formula units is a multiple of this."""
        return 4 if self.in_phase and self.antiphase else 2

    def masks(self, turn: int) -> list[IntArray]:
        """Axes over which the components of every cell vector must sum to an even number, the axes turned by turn."""
        masks = [np.array([1, 1, 1])] if self.antiphase else []
        for axis in self.in_phase:
            masks.append(np.array([int(n != (axis + turn) % 3) for n in range(3)]))
        return masks

    def turn(self, rows: IntArray) -> int | None:
        """Return a cyclic turn of the axes with which the tilts fit into a cell, or None."""
        for turn in range(3):
            if not any(np.any((np.array(rows) @ mask) % 2) for mask in self.masks(turn)):
                return turn
        return None


#: Tilt systems by the space group of the ternary compound.
TILTS = {
    "Pnma": Tilt("Pnma", "a-b+a-", antiphase=(0, 2), in_phase=(1,)),
    "R-3c": Tilt("R-3c", "a-a-a-", antiphase=(0, 1, 2), in_phase=()),
    "I4/mcm": Tilt("I4/mcm", "a0a0c-", antiphase=(2,), in_phase=()),
}


def commensurate(shapes: tuple[Shape, ...], tilt: Tilt) -> tuple[Shape, ...]:
    """Return the shapes that hold whole periods of the tilts."""
    return tuple(shape for shape in shapes if tilt.turn(np.array(shape.rows)) is not None)


def tilted_positions(cell: Supercell, tilt: Tilt, angle: float = TILT_ANGLE) -> FloatArray:
    """Return fractional coordinates with every octahedron turned, shape=(n_sites, 3).

    X atoms move by a/2 tan(angle) per axis, perpendicular to their bond, so that both octahedra of an X agree.

    Parameters
    ----------
    cell
        A supercell of the cubic perovskite that is commensurate with the tilts.
    tilt
        The system.
    angle
        Of the turn about each axis, in degrees.
    """
    turn = tilt.turn(cell.rows)
    if turn is None:
        raise ValueError(f"the cell {cell.rows.tolist()} is not commensurate with {tilt.name}")
    unit = (cell.points[:, None, :] + cell.parent.positions[None, :, :]).reshape(-1, 3)
    moved = unit.copy()
    points = np.repeat(cell.points, len(cell.parent.sublattices), axis=0)
    on_X = np.array(cell.sublattices) == "X"
    # An X atom at B + half a cell vector along `bond`.
    bond = np.argmax(unit - points, axis=1)
    for kinds, along in ((tilt.antiphase, None), (tilt.in_phase, 0)):
        for original in kinds:
            axis = (original + turn) % 3
            counted = [n for n in range(3) if along is None or n != axis]
            sign = 1 - 2 * (points[:, counted].sum(axis=1) % 2)
            direction = np.cross(np.eye(3)[axis], np.eye(3)[bond])
            moved += np.where(on_X, sign, 0)[:, None] * direction * (0.5 * np.tan(np.radians(angle)))
    return (moved @ np.linalg.inv(cell.rows) + 1e-9) % 1.0 - 1e-9
