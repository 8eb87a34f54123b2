"""Octahedral tilts of the cubic parent as starting geometries: Pnma, R-3c, I4/mcm, Imma, P4/mbm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

from hemiec.errors import StructureError
from hemiec.structures.cells import Shape
from hemiec.structures.parent import FloatArray, IntArray, Supercell

#: Rotation of each octahedron about each axis that the system tilts around, in degrees: that of common tilted oxides.
TILT_ANGLE = 8.0
#: Standard deviation of the displacements that a tilted start is given besides, in angstrom: enough to leave the
#: symmetry of the tilts, too little to leave their basin.
START_DISPLACEMENT = 0.02
#: The same of the start without tilts, which has to find them.
CUBIC_DISPLACEMENT = 0.03
#: A site of an ideal cell is on its place of the parent within this, in units of its lattice parameter.
_PLACE_TOLERANCE = 0.01


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

    def turns(self, rows: IntArray) -> list[int]:
        """Return the cyclic turns of the axes with which the tilts fit into a cell."""
        fit = [not any(np.any((np.array(rows) @ mask) % 2) for mask in self.masks(turn)) for turn in range(3)]
        # Tilts that are alike about all axes look the same however they are turned.
        alike = len(self.antiphase) == 3 or len(self.in_phase) == 3
        return [turn for turn in range(1 if alike else 3) if fit[turn]]

    def turn(self, rows: IntArray) -> int | None:
        """Return the first cyclic turn of the axes with which the tilts fit into a cell, or None."""
        return next(iter(self.turns(rows)), None)


#: Tilt systems by the space group of the ternary compound, as `sqs.tilt` names them.
TILTS = {
    "Pnma": Tilt("Pnma", "a-b+a-", antiphase=(0, 2), in_phase=(1,)),
    "R-3c": Tilt("R-3c", "a-a-a-", antiphase=(0, 1, 2), in_phase=()),
    "I4/mcm": Tilt("I4/mcm", "a0a0c-", antiphase=(2,), in_phase=()),
}

#: Those and two more that perovskites are found in, as starts of the search for the lowest basin.
START_TILTS = {
    **TILTS,
    "Imma": Tilt("Imma", "a0b-b-", antiphase=(1, 2), in_phase=()),
    "P4/mbm": Tilt("P4/mbm", "a0a0c+", antiphase=(), in_phase=(2,)),
}

#: Those that the search for the lowest basin starts from.
BASIN_SYSTEMS = ("Pnma", "R-3c", "I4/mcm")


def commensurate(shapes: tuple[Shape, ...], tilt: Tilt) -> tuple[Shape, ...]:
    """Return the shapes that hold whole periods of the tilts."""
    return tuple(shape for shape in shapes if tilt.turn(np.array(shape.rows)) is not None)


def fitting_tilts(rows: IntArray | list[list[int]]) -> dict[str, list[int]]:
    """Return the systems of :data:`START_TILTS` that fit into a cell, and the turns of the axes they fit with.

    Empty for a cell with an odd number of formula units, which holds whole periods of none of them.
    """
    cell = np.array(rows)
    return {name: turns for name, tilt in START_TILTS.items() if (turns := tilt.turns(cell))}


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
    moved[on_X] += _shifts(unit[on_X], points[on_X], tilt, turn, angle)
    return (moved @ np.linalg.inv(cell.rows) + 1e-9) % 1.0 - 1e-9


def tilted_start(
    ideal: Structure,
    tilt: str,
    *,
    angle: float = TILT_ANGLE,
    turn: int | None = None,
    displacement: float = START_DISPLACEMENT,
    seed: int = 0,
) -> Structure:
    """Return a cell on ideal cubic sites with its octahedra tilted and every atom displaced a little, for relaxation.

    Parameters
    ----------
    ideal
        A supercell of the cubic perovskite, decorated in any way and with any sites vacant, B on whole multiples of
        the cubic cell vectors, which are along x, y and z: ``SqsDoc.ideal_structure``. Its sites are labelled A, B, X.
    tilt
        Name of one of :data:`START_TILTS`.
    angle
        Of the turn about each axis, in degrees.
    turn
        Cyclic turn of the axes: with 1 what the system does about x it does about y; None for the first that fits.
    displacement
        Standard deviation of the random displacements in angstrom; 0 keeps the symmetry of the tilts.
    seed
        Of the displacements.

    Raises
    ------
    StructureError
        If the cell cuts the tilts' period, or is not a supercell of the cubic perovskite.
    """
    system = START_TILTS.get(tilt)
    if system is None:
        raise StructureError(f"tilt system {tilt!r} is unknown; expected one of {', '.join(START_TILTS)}.")
    rows, unit = _on_parent(ideal)
    fitting = system.turns(rows)
    if not fitting or (turn is not None and turn not in fitting):
        raise StructureError(
            f"{ideal.formula}: the cell {rows.tolist()} does not hold whole periods of {system.glazer} ({tilt})"
            + (f" turned by {turn}." if fitting else "."),
            mend=f"turn it by one of {fitting}" if fitting else "start from another tilt system or in another cell",
        )
    on_X = np.array(ideal.site_properties["site"]) == "X"
    # The half that an X sits from its B is the one coordinate that is no whole number.
    points = np.floor(unit[on_X] + 0.25).astype(np.int64)
    moved = unit.copy()
    moved[on_X] += _shifts(unit[on_X], points, system, fitting[0] if turn is None else turn, angle)
    cartesian = ideal.lattice.get_cartesian_coords(moved @ np.linalg.inv(rows))
    return _displaced(ideal, cartesian, displacement, seed)


def basin_starts(ideal: Structure, *, seed: int = 0) -> dict[str, Structure]:
    """Return the starts from which relaxations find the lowest tilt basin of a cell, by name.

    "displaced" (every atom at random by :data:`CUBIC_DISPLACEMENT`), and the tilt systems of :data:`BASIN_SYSTEMS` that
    the cell holds whole periods of, in every orientation that fits: cations break their symmetry. A start is named
    after system and turn of the axes, as "Pnma 1". In a cell with an odd number of formula units "displaced" is alone.

    Parameters
    ----------
    ideal
        As for :func:`tilted_start`.
    seed
        Of the displacements.

    Raises
    ------
    StructureError
        If the cell is not a supercell of the cubic perovskite on ideal sites.
    """
    rows, _ = _on_parent(ideal)
    starts = {"displaced": _displaced(ideal, ideal.cart_coords, CUBIC_DISPLACEMENT, seed)}
    for name, turns in fitting_tilts(rows).items():
        if name in BASIN_SYSTEMS:
            starts |= {f"{name} {turn}": tilted_start(ideal, name, turn=turn, seed=seed) for turn in turns}
    return starts


def _displaced(ideal: Structure, cartesian: FloatArray, scale: float, seed: int) -> Structure:
    return Structure(
        ideal.lattice,
        ideal.species,
        cartesian + np.random.default_rng(seed).normal(scale=scale, size=cartesian.shape),
        coords_are_cartesian=True,
        site_properties={"site": list(ideal.site_properties["site"])},
    )


def _shifts(unit: FloatArray, points: IntArray, tilt: Tilt, turn: int, angle: float) -> FloatArray:
    """Return how far X atoms move, in units of the cubic lattice parameter, shape=(n, 3).

    Parameters
    ----------
    unit
        Their coordinates in cubic cell vectors, shape=(n, 3).
    points
        The whole numbers of the B cation that each is half a cell vector beyond, shape=(n, 3).
    tilt, turn, angle
        The system, the cyclic turn of its axes, and the angle about each in degrees.
    """
    shifts = np.zeros_like(unit)
    bond = np.argmax(unit - points, axis=1)
    for axes, in_phase in ((tilt.antiphase, False), (tilt.in_phase, True)):
        for original in axes:
            axis = (original + turn) % 3
            counted = [n for n in range(3) if not in_phase or n != axis]
            sign = 1 - 2 * (points[:, counted].sum(axis=1) % 2)
            direction = np.cross(np.eye(3)[axis], np.eye(3)[bond])
            shifts += sign[:, None] * direction * (0.5 * np.tan(np.radians(angle)))
    return shifts


def _on_parent(ideal: Structure) -> tuple[IntArray, FloatArray]:
    """Return cell rows and coordinates of a cell on ideal sites in units of the cubic cell vectors."""
    labels = ideal.site_properties.get("site")
    if not labels or not {"A", "B", "X"}.issuperset(labels) or "B" not in labels:
        raise StructureError(f"{ideal.formula}: sites are not labelled A, B and X; make the cell with hemiec.")
    a = (ideal.volume / labels.count("B")) ** (1 / 3)
    rows = np.rint(ideal.lattice.matrix / a).astype(np.int64)
    unit = ideal.frac_coords @ rows
    halves = {"A": 3, "B": 0, "X": 1}
    places = np.rint(2 * unit)
    right = np.abs(2 * unit - places).max() < 2 * _PLACE_TOLERANCE
    if np.abs(rows - ideal.lattice.matrix / a).max() > _PLACE_TOLERANCE or not right:
        raise StructureError(
            f"{ideal.formula}: not a supercell of the cubic perovskite on ideal sites, cubic axes along x, y and z.",
            mend="give the SQS before relaxation (`ideal_structure`)",
        )
    if any(int(odd) != halves[label] for odd, label in zip((places % 2).sum(axis=1), labels, strict=True)):
        raise StructureError(f"{ideal.formula}: the sites labelled A, B and X are not those of the cubic perovskite.")
    return rows, unit
