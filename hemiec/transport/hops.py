"""The hops of a mobile species in a perovskite cell, or in any crystal: sites, neighbours, and what a hop passes."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import DummySpecies, Structure

from hemiec.errors import StructureError
from hemiec.transport.network import HopNetwork, undirected

#: An octahedron edge is a/sqrt(2) long in the cubic parent, the way to the next A site a, to the second next sqrt(2) a;
#: this reaches distorted ones too, in units of a.
_EDGE_REACH = 1.2
#: B cations sit a/2 from their anions and sqrt(5)/2 a from the next ones, in units of a.
_BOND_REACH = 0.8
#: Cosine of the anion-B-anion angle: 0 along an edge, -1 across the octahedron; the threshold is at 135 degrees.
_EDGE_COSINE = -0.707


def label_sites(structure: Structure, ideal: Structure) -> Structure:
    """Return a copy of a relaxed structure with the sublattice labels of the ideal one (same order).

    Raises
    ------
    StructureError
        If the two do not hold the same atoms in the same order.
    """
    if [s.specie for s in structure] != [s.specie for s in ideal]:
        raise StructureError(f"{structure.formula}: the relaxed cell and the SQS differ in atoms or their order.")
    copy = structure.copy()
    copy.add_site_property("site", ideal.site_properties["site"])
    return copy


def perovskite_network(
    host: Structure,
    mobile: str = "O",
    *,
    ideal: Structure | None = None,
    vacant: NDArray[np.float64] | None = None,
) -> HopNetwork:
    """Return the sites of a mobile species and its vacant ones in a perovskite, and every hop between neighbours.

    Anions hop along octahedron edges: two of them are neighbours if they bind to the same B cation side by side, at an
    angle below 135 degrees. Distance alone would add hops across voids of a tilted cell and miss stretched edges.
    Cations on A hop through the windows of four anions to the six next A sites. Periodic images are separate hops.

    Parameters
    ----------
    host
        Relaxed cell with a ``site`` property (A, B or X) on every site.
    mobile
        Species that hops, on X or on A.
    ideal
        The undistorted cell, same atoms in the same order, in which neighbours are looked for: ions far off the centre
        of their site are then no difficulty. Default: the host itself.
    vacant
        Fractional coordinates of the vacant sites of the mobile species' sublattice in the ideal cell,
        shape=(n_vacant, 3).

    Raises
    ------
    StructureError
        If labels or the mobile species are missing, it sits on more than one sublattice or on B, host and ideal cell
        differ, or a site has another number of neighbours than the perovskite structure gives it.
    """
    labels = _labels(host)
    frame = host if ideal is None else label_sites(ideal, host)
    on = {labels[n] for n, site in enumerate(host) if site.specie.symbol == mobile}
    if not on:
        raise StructureError(f"{host.formula}: no mobile {mobile} in the cell.")
    if on not in ({"A"}, {"X"}):
        raise StructureError(
            f"{host.formula}: {mobile} is on {' and '.join(sorted(on))}; a mobile species sits on X, or on A, and "
            "there alone."
        )
    sublattice = on.pop()
    complete = _with_vacant(frame, sublattice, vacant)
    all_labels = _labels(complete)
    members = [n for n, label in enumerate(all_labels) if label == sublattice]
    directed = (_edges if sublattice == "X" else _windows)(complete, all_labels, members)
    _require_neighbours(complete, members, directed, {"X": 8, "A": 6}[sublattice])
    mobile_sites = [
        n for n in members if isinstance(complete[n].specie, DummySpecies) or complete[n].specie.symbol == mobile
    ]
    return _network(host, complete, mobile_sites, directed)


def cutoff_network(host: Structure, mobile: str, cutoff: float) -> HopNetwork:
    """Return the sites of a species in any crystal, and the hops between those not farther apart than a cutoff.

    Parameters
    ----------
    host
        Relaxed cell.
    mobile
        Species that hops.
    cutoff
        Longest hop, in angstrom.

    Raises
    ------
    StructureError
        If the species is not in the cell, or no two of its sites are that close.
    """
    members = [n for n, site in enumerate(host) if site.specie.symbol == mobile]
    if not members:
        raise StructureError(f"{host.formula}: no mobile {mobile} in the cell.")
    if not cutoff > 0:
        raise StructureError(f"{host.formula}: a cutoff of {cutoff} angstrom; expected a length above 0.")
    wanted = set(members)
    centres, neighbours, images, _ = host.get_neighbor_list(cutoff)
    directed = [
        (int(i), int(j), tuple(int(x) for x in image))
        for i, j, image in zip(centres, neighbours, images, strict=True)
        if i in wanted and j in wanted
    ]
    if not directed:
        raise StructureError(
            f"{host.formula}: no two {mobile} sites are within {cutoff:g} angstrom.", mend="raise the cutoff"
        )
    return _network(host, host, members, directed)


def hop_environments(host: Structure, network: HopNetwork) -> list[str]:
    """Return what each hop passes: the A-A pair and shared B of an anion, the B cations round an A-site window.

    An anion's reads ``La-Sr | Co``, a window's ``Ti-Ti-Ta-Zr``; in a host without site labels it is ``?``.
    """
    labels = host.site_properties.get("site")
    if not labels or network.atom_index is None:
        return ["?"] * network.n_hops
    on_A = any(labels[n] == "A" for n in network.atom_index if n >= 0)
    a = (host.volume / labels.count("B")) ** (1 / 3)
    midpoints = network.frac_coords[network.start] @ network.lattice + network.displacements / 2
    if on_A:
        return ["-".join(_nearest(host, labels, point, "B", 4, 1.1 * a)) or "?" for point in midpoints]
    return [
        f"{'-'.join(_nearest(host, labels, point, 'A', 2, 0.9 * a)) or '?'} | "
        f"{'-'.join(_nearest(host, labels, point, 'B', 1, 0.9 * a)) or '?'}"
        for point in midpoints
    ]


def require_computable(network: HopNetwork, hop: int) -> None:
    """Raise StructureError if a hop cannot be computed as that of one vacancy.

    That is so if one of its sites is vacant in the host, or it leads onto the site's own periodic image.
    """
    i, j = int(network.start[hop]), int(network.end[hop])
    if network.atom_index is None or min(network.atom_index[i], network.atom_index[j]) < 0:
        raise StructureError(f"hop {hop} begins or ends at a site that holds no ion in the host.")
    if i == j:
        raise StructureError(f"hop {hop} leads onto its own periodic image.", mend="use a larger cell")


def vacancy(structure: Structure, site: int) -> Structure:
    """Return the host without one site, the order of the others unchanged."""
    return Structure.from_sites([s for n, s in enumerate(structure) if n != site])


def _labels(structure: Structure) -> list[str]:
    labels = structure.site_properties.get("site")
    if not labels:
        raise StructureError(f"{structure.formula}: sites are not labelled A, B and X; make the cell with hemiec.")
    return list(labels)


def _with_vacant(frame: Structure, sublattice: str, vacant: NDArray[np.float64] | None) -> Structure:
    """Return the cell with a dummy on each vacant site, behind the ions."""
    complete = frame.copy()
    for position in [] if vacant is None else vacant:
        complete.append(DummySpecies("X"), position, properties={"site": sublattice})
    return complete


Directed = list[tuple[int, int, tuple[int, ...]]]


def _edges(structure: Structure, labels: list[str], members: list[int]) -> Directed:
    """Return the hops along octahedron edges, as site, neighbour and its periodic image."""
    a = (structure.volume / labels.count("B")) ** (1 / 3)
    bonds = {n: _bonds(structure, labels, n, a) for n in members}
    centres, neighbours, images, _ = structure.get_neighbor_list(_EDGE_REACH * a)
    return [
        (int(i), int(j), tuple(int(x) for x in image))
        for i, j, image in zip(centres, neighbours, images, strict=True)
        if i in bonds and j in bonds and _share_an_edge(bonds[i], bonds[j], image)
    ]


def _windows(structure: Structure, labels: list[str], members: list[int]) -> Directed:
    """Return the hops between neighbouring A sites, as site, neighbour and its periodic image."""
    a = (structure.volume / labels.count("B")) ** (1 / 3)
    wanted = set(members)
    centres, neighbours, images, _ = structure.get_neighbor_list(_EDGE_REACH * a)
    return [
        (int(i), int(j), tuple(int(x) for x in image))
        for i, j, image in zip(centres, neighbours, images, strict=True)
        if i in wanted and j in wanted
    ]


def _require_neighbours(structure: Structure, members: list[int], directed: Directed, expected: int) -> None:
    counts = Counter(i for i, _, _ in directed)
    wrong = [n for n in members if counts[n] != expected]
    if wrong:
        raise StructureError(
            f"{structure.formula}: site {wrong[0]} ({structure[wrong[0]].species_string}) has {counts[wrong[0]]} "
            f"neighbours to hop to, expected {expected} in a perovskite.",
            mend="give the ideal cell and its vacant sites, or use a cutoff network",
        )


def _network(host: Structure, complete: Structure, sites: list[int], directed: Directed) -> HopNetwork:
    """Return the network of these sites of the complete cell, at the positions of the relaxed host."""
    number = {site: k for k, site in enumerate(sites)}
    kept = [(number[i], number[j], image) for i, j, image in directed if i in number and j in number]
    if not kept:
        raise StructureError(f"{host.formula}: no two sites of the mobile species are neighbours.")
    start, end, image = (np.array([hop[k] for hop in kept], dtype=np.int64) for k in range(3))
    start, end, image = undirected(start, end, image)
    # Relaxed positions nearest to the ideal ones, so that the images found there hold; vacant sites follow the drift.
    shift = host.frac_coords - complete.frac_coords[: len(host)]
    shift -= np.round(shift)
    drift = shift.mean(axis=0)
    positions = complete.frac_coords + np.vstack([shift, np.tile(drift, (len(complete) - len(host), 1))])
    return HopNetwork(
        lattice=np.array(host.lattice.matrix),
        frac_coords=positions[sites],
        start=start,
        end=end,
        image=image,
        atom_index=np.array([n if n < len(host) else -1 for n in sites], dtype=np.int64),
    )


def _nearest(
    structure: Structure, labels: list[str], point: NDArray[np.float64], label: str, n: int, reach: float
) -> list[str]:
    """Return the species of the nearest sites of a sublattice, in alphabetical order."""
    near = sorted(structure.get_sites_in_sphere(point, reach), key=lambda s: s.nn_distance)
    return sorted([s.specie.symbol for s in near if labels[s.index] == label][:n])


Bonds = dict[tuple[int, tuple[int, ...]], NDArray[np.float64]]


def _bonds(structure: Structure, labels: list[str], anion: int, a: float) -> Bonds:
    """Return (index, periodic image) to bond vector in angstrom of the two B cations an anion bridges."""
    near = structure.get_neighbors(structure[anion], _BOND_REACH * a)
    on_B = sorted((s for s in near if labels[s.index] == "B"), key=lambda s: s.nn_distance)[:2]
    return {(s.index, tuple(int(x) for x in s.image)): s.coords - structure[anion].coords for s in on_B}


def _share_an_edge(one: Bonds, two: Bonds, image: NDArray[np.int_]) -> bool:
    """Return whether two anions, the second in a periodic image, bind to one B cation side by side."""
    for (b, offset), vector in two.items():
        other = one.get((b, tuple(int(x) for x in np.add(offset, image))))
        if other is not None:
            cosine = float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other))
            return cosine > _EDGE_COSINE
    return False
