"""Vacancy hops in a perovskite cell: which there are, which to sample, and their end points."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.errors import StructureError
from hemiec.schemas.documents import Hop, HopWalkDoc

#: An octahedron edge is a/sqrt(2) long in the cubic parent; this reaches distorted ones too, in units of a.
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


def octahedron_edge_hops(structure: Structure, mobile: str = "O") -> list[Hop]:
    """Return every directed nearest-neighbour anion hop along an octahedron edge.

    Two anions are neighbours if they bind to the same B cation at an angle below 135 degrees: side by
    side, not across the octahedron. In a tilted cell distance alone would add hops across voids and
    miss stretched edges. Periodic images are separate hops.

    Parameters
    ----------
    structure
        Relaxed perovskite with a ``site`` property (A, B or X) on every site.
    mobile
        Species that hops; it must sit on the X sublattice.

    Raises
    ------
    StructureError
        If the structure lacks the site labels or the mobile species.
    """
    labels = structure.site_properties.get("site")
    if not labels:
        raise StructureError(f"{structure.formula}: sites are not labelled A, B and X; make the cell with hemiec.")
    anions = [n for n, site in enumerate(structure) if site.specie.symbol == mobile and labels[n] == "X"]
    if not anions:
        raise StructureError(f"{structure.formula}: no mobile {mobile} on the X sublattice.")
    n_units = labels.count("B")
    a = (structure.volume / n_units) ** (1 / 3)
    centres, neighbours, images, distances = structure.get_neighbor_list(_EDGE_REACH * a)
    bonds = {n: _bonds(structure, labels, n, a) for n in anions}
    hops = []
    for i, j, image, distance in zip(centres, neighbours, images, distances, strict=True):
        if i not in bonds or j not in bonds or not _share_an_edge(bonds[i], bonds[j], image):
            continue
        midpoint = structure.lattice.get_cartesian_coords(
            (structure[i].frac_coords + structure[j].frac_coords + image) / 2
        )
        hops.append(
            Hop(
                from_site=int(i),
                to_site=int(j),
                image=[int(x) for x in image],
                distance=float(distance),
                environment=_environment(structure, labels, midpoint, 0.9 * a),
            )
        )
    if not hops:
        raise StructureError(f"{structure.formula}: no two {mobile} sites share an octahedron edge.")
    return sorted(hops, key=lambda h: (h.from_site, h.to_site, h.image))


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


def _environment(structure: Structure, labels: list[str], midpoint: NDArray[np.float64], reach: float) -> str:
    """Return 'A1-A2 | B': the two A cations and the B cation of the triangle the anion passes through."""
    near = sorted(structure.get_sites_in_sphere(midpoint, reach), key=lambda s: s.nn_distance)
    on_A = sorted(s.specie.symbol for s in [s for s in near if labels[s.index] == "A"][:2])
    on_B = [s.specie.symbol for s in near if labels[s.index] == "B"][:1]
    return f"{'-'.join(on_A) or '?'} | {on_B[0] if on_B else '?'}"


def choose_walk(structure: Structure, mobile: str = "O", *, n_hops: int, seed: int = 0) -> HopWalkDoc:
    """Return a self-avoiding walk of one vacancy that samples as many different surroundings as it can.

    Consecutive hops share an end point, so n hops need n + 1 relaxed vacancies. The walk is found
    by depth-first search from a seeded start; at each step the hop with the least sampled
    surroundings comes first, and the most diverse walk seen within a fixed number of steps is kept.

    Raises
    ------
    StructureError
        If the cell has no walk of that many hops.
    """
    hops = octahedron_edge_hops(structure, mobile)
    from_site: dict[int, list[Hop]] = {}
    for hop in hops:
        from_site.setdefault(hop.from_site, []).append(hop)
    generator = np.random.default_rng(seed)
    starts = generator.permutation(sorted(from_site))
    shuffled = {site: [from_site[site][n] for n in generator.permutation(len(from_site[site]))] for site in starts}

    best: list[Hop] = []
    best_score = (-1, -1)
    goal = min(n_hops, len({hop.environment for hop in hops}))
    stack: deque[list[Hop]] = deque([hop] for site in reversed(starts) for hop in reversed(shuffled[site]))
    for _ in range(20_000):
        if not stack:
            break
        walk = stack.pop()
        kinds = {hop.environment for hop in walk}
        score = (len(walk), len(kinds))
        if score > best_score:
            best, best_score = walk, score
        if len(walk) == n_hops:
            if len(kinds) >= goal:
                break
            continue
        visited = {walk[0].from_site, *(hop.to_site for hop in walk)}
        onward = [hop for hop in shuffled[walk[-1].to_site] if hop.to_site not in visited]
        onward.sort(key=lambda hop: hop.environment in kinds, reverse=True)  # the last is taken first
        stack.extend([*walk, hop] for hop in onward)
    if len(best) < n_hops:
        raise StructureError(
            f"{structure.formula}: no walk of {n_hops} hops over different {mobile} sites; "
            f"the longest has {len(best)}.",
            mend="ask for fewer hops or a larger cell",
        )
    vacancies = [best[0].from_site, *(hop.to_site for hop in best)]
    return HopWalkDoc(
        mobile=mobile,
        vacancies=vacancies,
        hops=best,
        host=structure.as_dict(),
        vacancy_structures=[vacancy(structure, site).as_dict() for site in vacancies],
    )


def vacancy(structure: Structure, site: int) -> Structure:
    """Return the host without one site, the order of the others unchanged."""
    return Structure.from_sites([s for n, s in enumerate(structure) if n != site])


def end_points(
    host: Structure, hop: Hop, vacant_before: Structure, vacant_after: Structure
) -> tuple[Structure, Structure]:
    """Return the two end points of a hop with the same atoms in the same order.

    Parameters
    ----------
    host
        The cell without vacancy, which hop and vacancies refer to.
    hop
        The vacancy moves from ``hop.from_site`` to ``hop.to_site``; the atom moves the other way.
    vacant_before, vacant_after
        Relaxed host without from_site, and without to_site; atoms in the host's order.

    Returns
    -------
    Initial and final structure. Every atom of the final one is the periodic image nearest to where
    it was, and the hopping atom crosses the edge the hop names.

    Raises
    ------
    StructureError
        If atoms are missing, species differ, or the hopping atom did not stay on its edge.
    """
    before = [n for n in range(len(host)) if n != hop.from_site]
    after = [n for n in range(len(host)) if n != hop.to_site]
    if len(vacant_before) != len(before) or len(vacant_after) != len(after):
        raise StructureError(f"{host.formula}: end points must have one atom less than the host.")
    at = {n: vacant_after[k] for k, n in enumerate(after)}
    # The atom that sat on to_site now fills from_site; all others keep their index.
    sites = [at[hop.from_site] if n == hop.to_site else at[n] for n in before]
    species = [site.specie.symbol for site in vacant_before]
    if [site.specie.symbol for site in sites] != species:
        raise StructureError(f"{host.formula}: the two end points of hop {hop.environment} hold different species.")
    start = vacant_before.frac_coords
    shift = np.array([site.frac_coords for site in sites]) - start
    shift -= np.round(shift)
    mover = before.index(hop.to_site)
    # The hop goes from_site -> to_site + image, so the atom goes from to_site to from_site - image.
    ideal = host[hop.from_site].frac_coords - np.array(hop.image) - host[hop.to_site].frac_coords
    shift[mover] += np.round(ideal - shift[mover])
    length = float(np.linalg.norm(host.lattice.get_cartesian_coords(shift[mover])))
    if abs(length - hop.distance) > 0.5 * hop.distance:
        raise StructureError(
            f"{host.formula}: hop {hop.environment} is {hop.distance:.2f} angstrom in the host but its relaxed end "
            f"points are {length:.2f} apart; an end point left its site."
        )
    initial = Structure(vacant_before.lattice, species, start)
    final = Structure(vacant_before.lattice, species, start + shift)
    return initial, final
