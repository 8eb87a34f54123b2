"""The parent crystal that is decorated, and its supercells: sites, neighbour shells, symmetry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import StructureError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
#: Site of the primitive cell, site of its neighbour, lattice translation of the neighbour.
Pair = tuple[int, int, tuple[int, int, int]]

#: Distances closer than this share a shell, relative to the shortest one.
SHELL_TOLERANCE = 1e-4
#: Tolerance of the symmetry search, relative to the shortest lattice vector.
SYMMETRY_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Parent:
    """A primitive cell whose sites belong to named sublattices.

    Parameters
    ----------
    lattice
        Cell vectors in angstrom, rows, shape=(3, 3).
    positions
        Fractional coordinates, shape=(n_basis, 3).
    sublattices
        Name of the sublattice of every site.
    """

    lattice: FloatArray
    positions: FloatArray
    sublattices: tuple[str, ...]

    @cached_property
    def symmetry(self) -> tuple[IntArray, FloatArray]:
        """Rotations, shape=(n, 3, 3), and translations, shape=(n, 3), acting on fractional columns."""
        import spglib

        kinds = [sorted(set(self.sublattices)).index(name) + 1 for name in self.sublattices]
        shortest = float(np.linalg.norm(self.lattice, axis=1).min())
        cell = self.lattice.tolist(), self.positions.tolist(), kinds
        found = spglib.get_symmetry(cell, symprec=SYMMETRY_TOLERANCE * shortest)
        if found is None:
            raise StructureError("the parent cell has no symmetry that spglib can find; check its coordinates.")
        return found["rotations"].astype(np.int64), found["translations"]

    def neighbours(self, first: str, second: str, n_shells: int) -> list[tuple[float, list[Pair]]]:
        """Return the first shells between two sublattices.

        Returns
        -------
        Per shell its distance in angstrom and every ordered pair that starts in the primitive cell.
        """
        ours = [n for n, name in enumerate(self.sublattices) if name == first]
        theirs = [n for n, name in enumerate(self.sublattices) if name == second]
        shortest_row = float(np.linalg.norm(self.lattice, axis=1).min())
        reach = 1
        while True:
            # Everything closer than the inscribed sphere of the searched block is complete.
            heights = 1 / np.linalg.norm(np.linalg.inv(self.lattice), axis=0)
            limit = reach * float(heights.min())
            shells = self._shells(ours, theirs, reach, limit)
            if len(shells) >= n_shells:
                return shells[:n_shells]
            reach += 1
            if limit > 50 * shortest_row:
                raise StructureError(f"fewer than {n_shells} shells between sublattices {first} and {second}.")

    def orbits(self, pairs: list[Pair]) -> list[list[Pair]]:
        """Split the pairs of one shell into those that symmetry makes equivalent, the smallest set first.

        In cubic ABX3 two X atoms one lattice parameter apart either have a B between them or not.
        """
        rotations, translations = self.symmetry
        left = dict.fromkeys(pairs)
        found = []
        while left:
            i, j, shift = next(iter(left))
            ends = np.array([self.positions[i], self.positions[j] + shift])
            orbit: dict[Pair, None] = {}
            for rotation, translation in zip(rotations, translations, strict=True):
                (a, start), (b, end) = (self._site(x) for x in ends @ rotation.T + translation)
                x, y, z = (int(n) for n in end - start)
                # A pair and its reverse are one.
                orbit |= dict.fromkeys(p for p in ((a, b, (x, y, z)), (b, a, (-x, -y, -z))) if p in left)
            for pair in orbit:
                del left[pair]
            found.append(list(orbit))
        return sorted(found, key=lambda orbit: (len(orbit), min(orbit)))

    def _site(self, position: FloatArray) -> tuple[int, IntArray]:
        """Return basis site and lattice translation of a position in fractional coordinates."""
        offset = position - self.positions
        whole = np.rint(offset)
        basis = int(np.argmin(np.abs(offset - whole).max(axis=1)))
        return basis, whole[basis].astype(np.int64)

    def _shells(self, ours: list[int], theirs: list[int], reach: int, limit: float) -> list[tuple[float, list[Pair]]]:
        shifts = _block(reach + 1)
        pairs: list[tuple[float, Pair]] = []
        for i in ours:
            for j in theirs:
                vectors = (self.positions[j] - self.positions[i] + shifts) @ self.lattice
                lengths = np.linalg.norm(vectors, axis=1)
                for k in np.flatnonzero((lengths > 1e-6) & (lengths <= limit)):
                    x, y, z = (int(n) for n in shifts[k])
                    pairs.append((float(lengths[k]), (i, j, (x, y, z))))
        pairs.sort(key=lambda pair: pair[0])
        shells: list[tuple[float, list[Pair]]] = []
        for length, pair in pairs:
            if not shells or length > shells[-1][0] * (1 + SHELL_TOLERANCE):
                shells.append((length, []))
            shells[-1][1].append(pair)
        return shells


@lru_cache(maxsize=128)
def pair_orbits(parent: Parent, first: str, second: str, n_shells: int) -> list[tuple[float, list[list[Pair]]]]:
    """Return the distance in angstrom of the first shells between two sublattices, and the orbits of each."""
    return [(distance, parent.orbits(pairs)) for distance, pairs in parent.neighbours(first, second, n_shells)]


def cubic_perovskite(a: float = 1.0) -> Parent:
    """Return the cubic ABX3 parent with lattice parameter ``a`` in angstrom (space group 221)."""
    positions = np.array([[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    return Parent(np.eye(3) * a, positions, ("A", "B", "X", "X", "X"))


def _block(reach: int) -> IntArray:
    span = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)


class Supercell:
    """A supercell of a parent: which sites it has, who neighbours whom, and its symmetry.

    Parameters
    ----------
    parent
        The primitive crystal.
    rows
        Supercell vectors in units of the primitive ones, integers, shape=(3, 3).

    Sites are numbered lattice point by lattice point, basis within: ``site = point * n_basis + basis``.
    """

    def __init__(self, parent: Parent, rows: IntArray | list[list[int]] | tuple[tuple[int, int, int], ...]) -> None:
        self.parent = parent
        self.rows: IntArray = np.array(rows, dtype=np.int64)
        self.n_units = round(abs(np.linalg.det(self.rows)))
        if self.n_units == 0:
            raise StructureError(f"supercell {self.rows.tolist()} has no volume; give three independent vectors.")
        # t @ adjugate, modulo the determinant, is the same for two translations exactly if they are equivalent.
        self._adjugate = np.rint(np.linalg.inv(self.rows) * self.n_units).astype(np.int64)
        self.points = self._lattice_points()
        self._keys = self._key(self.points)
        self._order = np.argsort(self._keys)
        self.basis: IntArray = np.tile(np.arange(len(parent.sublattices)), self.n_units)
        self.sublattices = parent.sublattices * self.n_units

    def __len__(self) -> int:
        return len(self.sublattices)

    @property
    def lattice(self) -> FloatArray:
        """Cell vectors in angstrom, rows, shape=(3, 3)."""
        return self.rows @ self.parent.lattice

    @cached_property
    def positions(self) -> FloatArray:
        """Fractional coordinates of all sites in the supercell, shape=(n_sites, 3)."""
        unit = self.points[:, None, :] + self.parent.positions[None, :, :]
        positions = unit.reshape(-1, 3) @ self._adjugate / self.n_units
        return (positions + 1e-9) % 1.0 - 1e-9

    def sites(self, sublattice: str) -> IntArray:
        """Return the indices of one sublattice."""
        return np.flatnonzero(np.array(self.sublattices) == sublattice)

    def neighbours(self, pairs: list[Pair]) -> IntArray:
        """Return how often site j is a neighbour of i by one of these pairs or its reverse, shape=(n_sites, n_sites).

        Periodic images count, a site's own among them.
        """
        counts = np.zeros((len(self), len(self)), dtype=np.int64)
        starts = np.arange(self.n_units)
        for i, j, shift in pairs:
            ends = self.point_index(self.points + np.array(shift))
            np.add.at(counts, (starts * self._n_basis + i, ends * self._n_basis + j), 1)
        both_ways = self.parent.sublattices[pairs[0][0]] == self.parent.sublattices[pairs[0][1]]
        return counts if both_ways else counts + counts.T

    def point_index(self, translations: IntArray) -> IntArray:
        """Return which lattice point of the supercell each translation is equivalent to."""
        return self._order[np.searchsorted(self._keys, self._key(translations), sorter=self._order)]

    @cached_property
    def permutations(self) -> IntArray:
        """Site permutations of the supercell's symmetry, shape=(n_operations, n_sites); each row maps new to old."""
        rotations, translations = self.parent.symmetry
        found = [self._permutation(r, t) for r, t in zip(rotations, translations, strict=True) if self._keeps(r)]
        products = np.array(found)[:, self.translations]
        return products.reshape(-1, len(self))

    @cached_property
    def translations(self) -> IntArray:
        """Site permutations of the parent's translations, shape=(n_units, n_sites); the first is the identity."""
        ends = np.array([self.point_index(self.points + point) for point in self.points])
        return (ends[:, :, None] * self._n_basis + np.arange(self._n_basis)).reshape(self.n_units, -1)

    @property
    def _n_basis(self) -> int:
        return len(self.parent.sublattices)

    def _keeps(self, rotation: IntArray) -> bool:
        """Whether a rotation (on columns of primitive coordinates) maps the superlattice onto itself."""
        return not np.any((self.rows @ rotation.T @ self._adjugate) % self.n_units)

    def _permutation(self, rotation: IntArray, translation: FloatArray) -> IntArray:
        unit = (self.points[:, None, :] + self.parent.positions[None, :, :]).reshape(-1, 3)
        moved = unit @ rotation.T + translation
        result = np.empty(len(self), dtype=np.int64)
        for basis, position in enumerate(self.parent.positions):
            offset = moved - position
            whole = np.rint(offset)
            hit = np.abs(offset - whole).max(axis=1) < 1e-3
            result[hit] = self.point_index(whole[hit].astype(np.int64)) * self._n_basis + basis
        return result

    def _key(self, translations: IntArray) -> IntArray:
        n = self.n_units
        reduced = (translations @ self._adjugate) % n
        return (reduced[..., 0] * n + reduced[..., 1]) * n + reduced[..., 2]

    def _lattice_points(self) -> IntArray:
        """Return one translation per lattice point: those of the Hermite normal form's box."""
        form = hermite_normal_form(self.rows)
        box = np.stack(np.meshgrid(*(np.arange(n) for n in np.diag(form)), indexing="ij"), axis=-1)
        return box.reshape(-1, 3)


def hermite_normal_form(rows: IntArray) -> IntArray:
    """Return the lower-triangular Hermite normal form of integer rows, shape=(3, 3): the lattice's unique name."""
    h = [[int(x) for x in row] for row in rows]
    for column in (2, 1, 0):
        # Euclid on the rows 0..column until only the row `column` has an entry in this column.
        while any(h[r][column] for r in range(column)):
            pivot = min((r for r in range(column + 1) if h[r][column]), key=lambda r: abs(h[r][column]))
            h[pivot], h[column] = h[column], h[pivot]
            for r in range(column):
                factor = h[r][column] // h[column][column]
                h[r] = [x - factor * y for x, y in zip(h[r], h[column], strict=True)]
        if h[column][column] < 0:
            h[column] = [-x for x in h[column]]
    for column in (1, 0):
        for r in range(column + 1, 3):
            factor = h[r][column] // h[column][column]
            h[r] = [x - factor * y for x, y in zip(h[r], h[column], strict=True)]
    return np.array(h, dtype=np.int64)


def hermite_normal_forms(index: int) -> Iterator[IntArray]:
    """Yield every sublattice of this index once, as lower-triangular rows [[a,0,0],[b,c,0],[d,e,f]]."""
    for a in range(1, index + 1):
        if index % a:
            continue
        for c in range(1, index // a + 1):
            if (index // a) % c:
                continue
            f = index // (a * c)
            for b in range(a):
                for d in range(a):
                    for e in range(c):
                        yield np.array([[a, 0, 0], [b, c, 0], [d, e, f]], dtype=np.int64)
