"""The octahedral-tilt basin of a relaxed perovskite: tilts per axis, their name, and whether two cells share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from hemiec.errors import StructureError
from hemiec.structures.parent import FloatArray, IntArray

#: Coherent tilts below this are none, in degrees: disorder alone turns single octahedra by as much.
ANGLE_THRESHOLD = 2.0
#: Tilts of the same sense about two axes are the same amplitude if they differ by less than this, in degrees.
EQUAL_WITHIN = 3.0
#: Neighbours along the axis must agree or oppose to this part of the full correlation for the tilts to be named.
SENSE_THRESHOLD = 0.5
#: A cell has left its host's basin if the coherent part of the change of tilts exceeds this, in degrees.
CHANGE_THRESHOLD = 3.0

#: An X belongs to a B within this, in pseudo-cubic lattice parameters (half of one, and stretched), ...
_BOND_REACH = 0.8
#: ... if its bond is within 45 degrees of the axis to the B beyond it.
_BOND_COSINE = 0.707

#: Space groups of ABX3 with the tilts, after Howard & Stokes (doi:10.1107/S0108768198004200, table 1); the in-phase
#: tilts come first here. a+b+c- and a+b+c+ with all amplitudes different are Glazer's (doi:10.1107/S0567740872007976).
SPACE_GROUPS = {
    "a0a0a0": "Pm-3m",
    "a0a0c+": "P4/mbm",
    "a0b+b+": "I4/mmm",
    "a0b+c+": "Immm",
    "a+a+a+": "Im-3",
    "a+b+b+": "Immm",
    "a+b+c+": "Immm",
    "a+a+c-": "P4_2/nmc",
    "a+b+c-": "Pmmn",
    "a0b+c-": "Cmcm",
    "a+b-b-": "Pnma",
    "a+b-c-": "P2_1/m",
    "a0a0c-": "I4/mcm",
    "a0b-b-": "Imma",
    "a0b-c-": "C2/m",
    "a-a-a-": "R-3c",
    "a-b-b-": "C2/c",
    "a-b-c-": "P-1",
}


@dataclass(frozen=True)
class TiltSystem:
    """Tilts of a perovskite cell about its three pseudo-cubic axes.

    Parameters
    ----------
    axes
        Directions of the axes, orthonormal rows, shape=(3, 3); nearest to x, y and z.
    angles
        Coherent part of the tilt about each axis in degrees, shape=(3,): octahedra that share an X in the plane
        across the axis turn against each other, and this is the root of their mean product with the sign turned.
    senses
        Per axis "+" (octahedra along it alike), "-" (alternating), "0" (no tilt) or "?" (tilted, but neither).
    glazer
        Its name in the notation of Glazer with the in-phase tilts first, such as a+b-b-; None where it has none.
    space_group
        Space group of an ABX3 with these tilts; None where they have no name.
    """

    axes: FloatArray
    angles: FloatArray
    senses: tuple[str, str, str]
    glazer: str | None
    space_group: str | None

    @property
    def label(self) -> str:
        """What it is in a few words: name and angles, such as 'a+b-b- (9.1+ 7.2- 7.4- degrees)'."""
        angles = " ".join(
            "0" if sense == "0" else f"{angle:.1f}{sense}"
            for angle, sense in zip(self.angles, self.senses, strict=True)
        )
        return f"{self.glazer or 'mixed'} ({angles} degrees)"


@dataclass(frozen=True)
class BasinChange:
    """How the tilts of a cell differ from those of its host.

    Parameters
    ----------
    left
        Whether it is in another basin.
    change
        Coherent part of the change of tilts about each axis in degrees, shape=(3,).
    host, relaxed
        The tilts of the two.
    """

    left: bool
    change: FloatArray
    host: TiltSystem
    relaxed: TiltSystem


def tilt_system(structure: Structure) -> TiltSystem:
    """Return the tilts of a perovskite cell of any shape and decoration, and their name.

    Every octahedron's rotation is that of its three X-X diagonals (polar decomposition), so stretched (Jahn-Teller)
    and off-centre octahedra count by their orientation alone; where an X is missing its bond's partner stands for the
    diagonal. Neighbours that share an X must turn against each other about the axes across their bond; along the axis
    they are alike (+) or alternate (-), doi:10.1107/S0567740872007976. Both are measured as mean products over the
    bonds of the cell, which needs no sublattice of octahedra and so holds for cells of any shape:

        angle^2 = -<phi_i phi_j> over bonds across the axis,    sense = <phi_i phi_j> over bonds along it / angle^2

    Rotations that are random from one octahedron to the next drop out. Below 2 degrees (:data:`ANGLE_THRESHOLD`) there
    is no tilt; a sense between -0.5 and 0.5 has no name; amplitudes within 3 degrees (:data:`EQUAL_WITHIN`) are equal.

    Parameters
    ----------
    structure
        Perovskite cell with a ``site`` property (A, B or X) on every site; vacant A and X sites are allowed.

    Raises
    ------
    StructureError
        If the sites are not labelled, or the B cations do not form a perovskite's framework.
    """
    framework = _Framework.of(structure)
    return framework.system(framework.rotations(structure))


def left_basin(host: Structure, relaxed: Structure, *, threshold: float = CHANGE_THRESHOLD) -> BasinChange:
    """Return whether a cell with a vacancy or a moved ion is in another tilt basin than the host it comes from.

    A vacancy turns the octahedra beside it; that is no other basin. What counts is the coherent part of the change of
    all rotations, in the measure of :func:`tilt_system`: tilts that appear, vanish, change sense or change sign, as a
    whole. Energies of two cells in different basins are not to be subtracted.

    Parameters
    ----------
    host
        Relaxed cell, sites labelled A, B and X.
    relaxed
        The same cell with the ions near their host sites, some missing; labels are taken from the host.
    threshold
        Coherent change about any axis that counts as another basin, in degrees.

    Raises
    ------
    StructureError
        If the host has no labels or is no perovskite, or the cells differ in their B cations.
    """
    framework = _Framework.of(host)
    labelled = _with_labels_of(host, relaxed)
    before, after = framework.rotations(host), framework.rotations(labelled)
    change = framework.coherent(after - before)[0]
    return BasinChange(
        left=bool(np.any(change > threshold)),
        change=change,
        host=framework.system(before),
        relaxed=framework.system(after),
    )


@dataclass(frozen=True)
class _Framework:
    """The simple cubic framework of B cations: axes, and the neighbours of every B along them.

    Parameters
    ----------
    axes
        Orthonormal rows, shape=(3, 3).
    a
        Pseudo-cubic lattice parameter in angstrom.
    origins
        Cartesian coordinates of the B cations, shape=(n, 3).
    neighbour
        Number of the B beyond each B along each axis, shape=(n, 3).
    """

    axes: FloatArray
    a: float
    origins: FloatArray
    neighbour: IntArray

    @classmethod
    def of(cls, structure: Structure) -> _Framework:
        """Return the framework of a labelled structure."""
        labels = structure.site_properties.get("site")
        if not labels or "B" not in labels or "X" not in labels:
            raise StructureError(f"{structure.formula}: sites are not labelled A, B and X; make the cell with hemiec.")
        sites = [n for n, label in enumerate(labels) if label == "B"]
        a = (structure.volume / len(sites)) ** (1 / 3)
        frac = structure.frac_coords[sites]
        lattice = structure.lattice.matrix
        images = _images(structure, 1.5 * a)
        vectors = ((frac[None, :, :] - frac[:, None, :])[:, :, None, :] + images) @ lattice
        lengths = np.linalg.norm(vectors, axis=-1)
        vectors, lengths = vectors.reshape(len(sites), -1, 3), lengths.reshape(len(sites), -1)
        nearest = np.argsort(np.where(lengths < 0.1, np.inf, lengths), axis=1)[:, :6]
        bonds = np.take_along_axis(vectors, nearest[:, :, None], axis=1)
        axes = _axes(bonds.reshape(-1, 3))
        along = np.einsum("nkc,ac->nka", bonds, axes) / np.linalg.norm(bonds, axis=-1)[:, :, None]
        chosen = along.argmax(axis=1)
        if np.take_along_axis(along, chosen[:, None, :], axis=1).min() < 0.9:
            raise StructureError(f"{structure.formula}: the B cations do not form the framework of a perovskite.")
        neighbour = np.take_along_axis(nearest, chosen, axis=1) // len(images)
        return cls(axes, a, frac @ lattice, neighbour)

    def rotations(self, structure: Structure) -> FloatArray:
        """Return the rotation of every octahedron about the axes in degrees, shape=(n, 3); NaN where X are missing."""
        labels = structure.site_properties["site"]
        B = structure.frac_coords[[n for n, label in enumerate(labels) if label == "B"]]
        X = structure.frac_coords[[n for n, label in enumerate(labels) if label == "X"]]
        if len(B) != len(self.origins):
            raise StructureError(
                f"{structure.formula}: {len(B)} B cations, expected {len(self.origins)} as in the host."
            )
        images = _images(structure, _BOND_REACH * self.a)
        vectors = ((X[None, :, :] - B[:, None, :])[:, :, None, :] + images) @ structure.lattice.matrix
        vectors = vectors.reshape(len(B), -1, 3) @ self.axes.T
        return np.array([_rotation(v, self.a) for v in vectors])

    def coherent(self, rotations: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the coherent angle about each axis in degrees, and the mean product along it in degrees^2."""
        angles, along = np.zeros(3), np.zeros(3)
        for axis in range(3):
            phi = rotations[:, axis]
            products = phi[:, None] * phi[self.neighbour]
            across = np.delete(products, axis, axis=1)
            angles[axis] = np.sqrt(max(0.0, -_mean(across)))
            along[axis] = _mean(products[:, axis])
        return angles, along

    def system(self, rotations: FloatArray) -> TiltSystem:
        """Return the named tilts of rotations about the axes, shape=(n, 3)."""
        angles, along = self.coherent(rotations)
        senses = []
        for angle, product in zip(angles, along, strict=True):
            sense = 0.0 if angle < ANGLE_THRESHOLD else product / angle**2
            tilted = "+" if sense > SENSE_THRESHOLD else "-" if sense < -SENSE_THRESHOLD else "?"
            senses.append("0" if angle < ANGLE_THRESHOLD else tilted)
        name = glazer_name(angles, senses)
        return TiltSystem(
            self.axes, angles, (senses[0], senses[1], senses[2]), name, None if name is None else SPACE_GROUPS[name]
        )


def glazer_name(angles: FloatArray, senses: Sequence[str]) -> str | None:
    """Return the name of tilts about three axes, in-phase ones first, or None if a sense is "?".

    Parameters
    ----------
    angles
        About each axis in degrees, shape=(3,).
    senses
        Of each axis: "+", "-", "0" or "?".
    """
    if "?" in senses:
        return None
    name = ""
    for sense in "0+-":
        of_sense = sorted(angle for angle, own in zip(angles, senses, strict=True) if own == sense)
        if len(of_sense) == 3 and of_sense[1] - of_sense[0] < of_sense[2] - of_sense[1]:
            of_sense.reverse()  # the two that are closest stand last: a-b-b-
        first = len(name) // 2
        for n, angle in enumerate(of_sense):
            same = n > 0 and (sense == "0" or abs(angle - of_sense[n - 1]) < EQUAL_WITHIN)
            if n == 2 and same and name[-2] == "b" and abs(angle - of_sense[0]) < EQUAL_WITHIN:
                name = name.replace("b", "a")
            name += (name[-2] if same else "abc"[first + n]) + sense
    return name


def _axes(bonds: FloatArray) -> FloatArray:
    """Return the three directions that vectors of a simple cubic framework point along, nearest to x, y, z first.

    Parameters
    ----------
    bonds
        Vectors to the six neighbours of every B in angstrom, shape=(n, 3).
    """
    units = bonds / np.linalg.norm(bonds, axis=1)[:, None]
    one = units[0]
    two = units[np.abs(units @ one).argmin()]
    axes = _orthonormal(np.array([one, two, np.cross(one, two)]))
    for _ in range(5):
        along = units @ axes.T
        nearest = np.abs(along).argmax(axis=1)
        turned = units * np.sign(along[np.arange(len(units)), nearest])[:, None]
        axes = _orthonormal(np.array([turned[nearest == n].sum(axis=0) for n in range(3)]))
    # Ties, as in a cell turned by 45 degrees, go to the first order that reaches the best sum.
    order = max(permutations(range(3)), key=lambda p: round(float(np.abs(axes[list(p), range(3)]).sum()), 6))
    axes = axes[list(order)]
    return np.asarray(axes * np.where(np.diag(axes) < 0, -1.0, 1.0)[:, None])


def _orthonormal(rows: FloatArray) -> FloatArray:
    """Return the orthonormal rows nearest to three vectors (polar decomposition)."""
    u, _, v = np.linalg.svd(rows / np.linalg.norm(rows, axis=1)[:, None])
    return np.asarray(u @ v)


def _rotation(vectors: FloatArray, a: float) -> FloatArray:
    """Return the rotation of one octahedron in degrees, shape=(3,), from the vectors to X in the frame of the axes."""
    lengths = np.linalg.norm(vectors, axis=1)
    near = lengths < _BOND_REACH * a
    vectors, lengths = vectors[near], lengths[near]
    diagonals: list[FloatArray | None] = []
    for axis in range(3):
        ends: list[FloatArray] = []
        for sign in (1, -1):
            there = np.flatnonzero(sign * vectors[:, axis] > _BOND_COSINE * lengths)
            if len(there):
                ends.append(sign * vectors[there[lengths[there].argmin()]])
        total = np.sum(ends, axis=0) if ends else None
        diagonals.append(None if total is None else total / np.linalg.norm(total))
    if sum(d is None for d in diagonals) > 1:
        return np.full(3, np.nan)
    known = [
        np.cross(diagonals[axis - 2], diagonals[axis - 1]) if d is None else d  # type: ignore[arg-type]
        for axis, d in enumerate(diagonals)
    ]
    return np.asarray(Rotation.from_matrix(_orthonormal(np.array(known)).T).as_rotvec(degrees=True))


def _images(structure: Structure, reach: float) -> IntArray:
    """Return the lattice translations that bring any two atoms within reach in angstrom, shape=(n, 3)."""
    heights = structure.volume / np.linalg.norm(np.cross(*_others(structure.lattice.matrix)), axis=1)
    spans = [np.arange(-n, n + 1) for n in np.ceil(reach / heights).astype(int) + 1]
    return np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)


def _others(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return for every cell vector the next two."""
    return np.roll(matrix, -1, axis=0), np.roll(matrix, -2, axis=0)


def _mean(products: FloatArray) -> float:
    """Return the mean of the products that are known."""
    known = products[np.isfinite(products)]
    return float(known.mean()) if len(known) else 0.0


def _with_labels_of(host: Structure, relaxed: Structure) -> Structure:
    """Return a cell in the order of its host's sites, with the labels of the nearest host sites of the same species."""
    distances = relaxed.lattice.get_all_distances(relaxed.frac_coords, host.frac_coords)
    same = np.array([[mine.specie == theirs.specie for theirs in host] for mine in relaxed])
    distances = np.where(same, distances, np.inf)
    nearest = distances.argmin(axis=1)
    labels = [host.site_properties["site"][n] for n in nearest]
    on_B = [n for n, label in zip(nearest, labels, strict=True) if label == "B"]
    if not np.isfinite(distances.min(axis=1)).all() or len(set(on_B)) < host.site_properties["site"].count("B"):
        raise StructureError(
            f"{relaxed.formula}: holds other B cations than its host {host.formula}, or on other sites."
        )
    order = np.argsort(nearest, kind="stable")
    return Structure(
        relaxed.lattice,
        [relaxed[n].specie for n in order],
        relaxed.frac_coords[order],
        site_properties={"site": [labels[n] for n in order]},
    )
