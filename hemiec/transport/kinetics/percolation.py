"""Whether a walker can cross a periodic network, in how many directions, and over which hop.

A closed path of hops either returns to the site it began on or to a periodic image of it; the lattice translation it
makes is its *winding*. A walker diffuses along the windings of its network, and along no other direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hemiec.errors import InputError
from hemiec.transport.network import FloatArray, HopNetwork, IntArray


@dataclass(frozen=True)
class Bottleneck:
    """The highest saddle on the easiest path that winds in some direction.

    Parameters
    ----------
    hop
        Index of the hop.
    saddle_energy
        Its saddle energy in eV, on the scale that was given.
    barrier
        Saddle energy minus the lowest site energy of the whole network, in eV: the limit of the effective barrier
        for T to 0.
    """

    hop: int
    saddle_energy: float
    barrier: float


@dataclass(frozen=True)
class Percolation:
    """How a network percolates.

    Parameters
    ----------
    along_lattice
        For each lattice vector the bottleneck of paths whose winding has a component along it (that cross the cell
        that way, whatever they do otherwise); None where no path does.
    by_dimension
        The bottleneck from which on a walker diffuses along one, two and three independent directions; None where
        it never does. These do not depend on the choice of the cell.
    n_clusters
        Sets of sites that no hop joins.
    """

    along_lattice: tuple[Bottleneck | None, Bottleneck | None, Bottleneck | None]
    by_dimension: tuple[Bottleneck | None, Bottleneck | None, Bottleneck | None]
    n_clusters: int

    @property
    def rank(self) -> int:
        """Directions that a walker diffuses along: 0 (not at all) to 3."""
        return sum(b is not None for b in self.by_dimension)


@dataclass(frozen=True)
class Windings:
    """A network cut open along a spanning forest of its lowest saddles.

    Parameters
    ----------
    cluster
        Cluster of every site, numbered from 0, shape=(n_sites,).
    winding
        Winding of the loop that a hop closes with the hops of lower saddle, in lattice vectors, shape=(n_hops, 3):
        zero for the hops of the forest. No other path that makes this loop has a lower highest saddle.
    basis
        Of each cluster, up to three independent windings in the order in which they open as the energy rises,
        completed by vectors that no winding has a component along, shape=(n_clusters, 3, 3).
    opening_hop
        The hops that open them, -1 for those completed, shape=(n_clusters, 3).
    components
        Windings of the hops in terms of the basis of their cluster, shape=(n_hops, 3). Component d is exactly zero for
        every hop whose saddle is below that of opening hop d.
    """

    cluster: IntArray
    winding: IntArray
    basis: IntArray
    opening_hop: IntArray
    components: FloatArray


def check_energies(
    network: HopNetwork, site_energies: ArrayLike, saddle_energies: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return site and saddle energies as arrays of the network's shapes.

    Raises
    ------
    InputError
        If their shapes are others, or an energy is not finite; a saddle may be +infinity, which closes the hop.
    """
    sites, saddles = np.asarray(site_energies, dtype=float), np.asarray(saddle_energies, dtype=float)
    if sites.shape != (network.n_sites,) or saddles.shape != (network.n_hops,):
        raise InputError(
            f"a network with {network.n_sites} sites and {network.n_hops} hops needs as many site and saddle energies; "
            f"got shapes {sites.shape} and {saddles.shape}."
        )
    if network.n_sites == 0:
        raise InputError("a network without sites has no walker.")
    if not np.isfinite(sites).all():
        raise InputError(f"the energy of site {int(np.argmin(np.isfinite(sites)))} is not a finite number.")
    bad = np.isnan(saddles) | (saddles == -np.inf)
    if bad.any():
        raise InputError(
            f"the saddle energy of hop {int(np.argmax(bad))} is {saddles[np.argmax(bad)]}.",
            mend="give +infinity for a hop that cannot be made",
        )
    return sites, saddles


def percolation(network: HopNetwork, site_energies: ArrayLike, saddle_energies: ArrayLike) -> Percolation:
    """Return the bottlenecks of a network.

    Hops are opened in the order of their saddles; a union-find that carries lattice translations
    (doi:10.1103/PhysRevE.64.016706) says when a cluster first meets its own image.

    Parameters
    ----------
    network
        Sites and hops.
    site_energies
        In eV, shape=(n_sites,).
    saddle_energies
        In eV on the same scale, +infinity for a hop that cannot be made, shape=(n_hops,).

    Raises
    ------
    InputError
        If energies are missing or not finite.
    """
    sites, saddles = check_energies(network, site_energies, saddle_energies)
    found = windings(network, saddles)
    lowest = float(sites.min())

    def bottleneck(hops: IntArray) -> Bottleneck | None:
        if len(hops) == 0:
            return None
        hop = int(hops[np.argmin(saddles[hops])])
        return Bottleneck(hop, float(saddles[hop]), float(saddles[hop]) - lowest)

    opening = [found.opening_hop[:, d] for d in range(3)]
    return Percolation(
        along_lattice=tuple(bottleneck(np.flatnonzero(found.winding[:, d])) for d in range(3)),  # type: ignore[arg-type]
        by_dimension=tuple(bottleneck(hops[hops >= 0]) for hops in opening),  # type: ignore[arg-type]
        n_clusters=len(found.basis),
    )


def windings(network: HopNetwork, saddle_energies: FloatArray) -> Windings:
    """Return the windings of a network whose hops open in the order of their saddles; see `Windings`."""
    order = np.argsort(saddle_energies, kind="stable")
    order = order[np.isfinite(saddle_energies[order])]
    root, winding = _spanning_forest(order, network.start, network.end, network.image, network.n_sites)
    cluster = np.unique(root, return_inverse=True)[1].astype(np.int64)
    basis, opening_hop = _graded_bases(order, cluster[network.start], winding, int(cluster.max()) + 1)
    a, b, c = np.moveaxis(basis, 1, 0)
    reciprocal = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    volume = np.einsum("nd,nd->n", a, reciprocal[:, 0])
    at = cluster[network.start]
    # Integers up to the division, so that what should be zero is.
    components = np.einsum("nkd,nd->nk", reciprocal[at], winding) / volume[at, None]
    return Windings(cluster, winding, basis, opening_hop, components)


@njit(cache=True, nogil=True)
def _find(parent: NDArray[np.int64], offset: NDArray[np.int64], site: int) -> int:
    """Return the root of a site; afterwards the site hangs on it, and its offset is the one to the root."""
    root = site
    x = y = z = 0
    while parent[root] != root:
        x, y, z = x + offset[root, 0], y + offset[root, 1], z + offset[root, 2]
        root = parent[root]
    while parent[site] != root and site != root:
        above = parent[site]
        own = offset[site].copy()
        offset[site, 0], offset[site, 1], offset[site, 2] = x, y, z
        x, y, z = x - own[0], y - own[1], z - own[2]
        parent[site] = root
        site = above
    return root


@njit(cache=True, nogil=True)
def _spanning_forest(
    order: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    image: NDArray[np.int64],
    n_sites: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the root of every site and the winding of every hop (Kruskal's algorithm with translations)."""
    parent = np.arange(n_sites)
    size = np.ones(n_sites, dtype=np.int64)
    offset = np.zeros((n_sites, 3), dtype=np.int64)
    for h in order:
        a, b = _find(parent, offset, start[h]), _find(parent, offset, end[h])
        if a == b:
            continue
        # The site at the end lies in the cell of the one at the start, plus the image.
        sign = 1
        if size[a] < size[b]:
            a, b, sign = b, a, -1
        for d in range(3):
            offset[b, d] = sign * (offset[start[h], d] + image[h, d] - offset[end[h], d])
        parent[b] = a
        size[a] += size[b]
    winding = np.zeros((len(start), 3), dtype=np.int64)
    for i in range(n_sites):
        _find(parent, offset, i)
    for h in order:
        for d in range(3):
            winding[h, d] = image[h, d] + offset[start[h], d] - offset[end[h], d]
    return parent, winding


@njit(cache=True, nogil=True)
def _cross(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


@njit(cache=True, nogil=True)
def _graded_bases(
    order: NDArray[np.int64], cluster: NDArray[np.int64], winding: NDArray[np.int64], n_clusters: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bases of `Windings`, and the hops that open their vectors."""
    basis = np.zeros((n_clusters, 3, 3), dtype=np.int64)
    opening = np.full((n_clusters, 3), -1, dtype=np.int64)
    rank = np.zeros(n_clusters, dtype=np.int64)
    for h in order:
        n, c = winding[h], cluster[h]
        r = rank[c]
        if r == 3 or (n[0] == 0 and n[1] == 0 and n[2] == 0):
            continue
        across = n if r == 0 else _cross(basis[c, 0], n if r == 1 else basis[c, 1])
        independent = np.any(across != 0) if r < 2 else (across * n).sum() != 0
        if independent:
            basis[c, r] = n
            opening[c, r] = h
            rank[c] = r + 1
    for c in range(n_clusters):
        if rank[c] == 0:
            basis[c] = np.eye(3).astype(np.int64)
        if rank[c] == 1:
            other = np.zeros(3, dtype=np.int64)
            other[np.argmin(np.abs(basis[c, 0]))] = 1
            basis[c, 1] = _cross(basis[c, 0], other)
        if rank[c] in (1, 2):
            basis[c, 2] = _cross(basis[c, 0], basis[c, 1])
    return basis, opening
