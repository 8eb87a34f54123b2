"""The sites that a walker visits in a periodic cell, and the hops between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import StructureError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class HopNetwork:
    """Sites and undirected hops of one walker (a vacancy or an ion) in a periodic cell.

    Parameters
    ----------
    lattice
        Cell vectors in angstrom, rows, shape=(3, 3).
    frac_coords
        Fractional coordinates of the sites, shape=(n_sites, 3); not wrapped.
    start, end
        The two sites of every hop, shape=(n_hops,); each hop stands there once and goes both ways.
    image
        Lattice translation of ``end``, shape=(n_hops, 3): the hop leads from site ``start`` in the home cell to site
        ``end`` in that cell. A site may hop to its own image, and two sites may be joined by several hops.
    atom_index
        Index in the host structure of the ion on each site, -1 where the host has a vacancy, shape=(n_sites,); None
        for a network that comes from no structure.
    """

    lattice: FloatArray
    frac_coords: FloatArray
    start: IntArray
    end: IntArray
    image: IntArray
    atom_index: IntArray | None = None

    def __post_init__(self) -> None:
        n, shape = self.n_hops, self.end.shape
        if shape != (n,) or self.image.shape != (n, 3) or self.frac_coords.shape != (self.n_sites, 3):
            raise StructureError(
                f"a network with {self.n_sites} sites and {n} hops has arrays of other lengths: "
                f"end {shape}, image {self.image.shape}, frac_coords {self.frac_coords.shape}."
            )
        if n and not 0 <= min(self.start.min(), self.end.min()) <= max(self.start.max(), self.end.max()) < self.n_sites:
            raise StructureError(f"a hop leads to a site outside 0 to {self.n_sites - 1}.")

    @property
    def n_sites(self) -> int:
        """Sites in the cell."""
        return len(self.frac_coords)

    @property
    def n_hops(self) -> int:
        """Undirected hops in the cell."""
        return len(self.start)

    @property
    def volume(self) -> float:
        """Volume of the cell in angstrom^3."""
        return float(abs(np.linalg.det(self.lattice)))

    @cached_property
    def displacements(self) -> FloatArray:
        """Vector of every hop from start to end in angstrom, shape=(n_hops, 3)."""
        shift = self.frac_coords[self.end] - self.frac_coords[self.start] + self.image
        return shift @ self.lattice

    @cached_property
    def onto_own_image(self) -> NDArray[np.bool_]:
        """Whether a hop leads from a site to its own periodic image, which one cell cannot compute; shape=(n_hops,)."""
        return self.start == self.end

    def hops_of(self, site: int) -> IntArray:
        """Return the hops that begin or end at a site."""
        return np.flatnonzero((self.start == site) | (self.end == site))

    def restricted_to(self, sites: IntArray) -> HopNetwork:
        """Return the network of some of the sites and the hops among them, sites in the order given."""
        number = np.full(self.n_sites, -1, dtype=np.int64)
        number[sites] = np.arange(len(sites))
        kept = (number[self.start] >= 0) & (number[self.end] >= 0)
        return replace(
            self,
            frac_coords=self.frac_coords[sites],
            start=number[self.start[kept]],
            end=number[self.end[kept]],
            image=self.image[kept],
            atom_index=None if self.atom_index is None else self.atom_index[sites],
        )


def undirected(start: IntArray, end: IntArray, image: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return every hop once, in a fixed order, of a list that may hold both directions of it.

    The direction kept goes from the lower to the higher site, or to the image whose first non-zero number is positive.
    """
    start, end, image = (np.asarray(x, dtype=np.int64) for x in (start, end, image))
    first = np.where(image != 0, image, 0)
    leading = np.take_along_axis(first, (first != 0).argmax(axis=1)[:, None], axis=1)[:, 0] if len(image) else start
    turned = (start > end) | ((start == end) & (leading < 0))
    hops = np.column_stack([np.where(turned, end, start), np.where(turned, start, end)])
    hops = np.column_stack([hops, np.where(turned[:, None], -image, image)])
    hops = np.unique(hops, axis=0)
    return hops[:, 0], hops[:, 1], hops[:, 2:]
