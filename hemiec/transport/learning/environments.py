"""The surroundings of sites and hops as numbers: which species are near, how far, how charged, how tight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Structure

from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.composition.elements import COORDINATION, shannon_radius
from hemiec.composition.fractions import VACANCY
from hemiec.errors import StructureError
from hemiec.transport.network import FloatArray, HopNetwork, IntArray

#: Neighbours looked at, in units of the mean distance between atoms, (volume per atom)^(1/3).
_REACH = 3.2
#: A shell ends at the widest gap among the distances of this many neighbours.
_MOST_IN_SHELL = 30
#: Narrower gaps than this, as the ratio of the distances beside it, end no shell.
_GAP = 1.02
#: Length over which a bond loses a factor e of its valence, in angstrom (doi:10.1107/S0108768190011041).
_BOND_SOFTNESS = 0.37
#: Elements above this Pauling electronegativity are anions where a host does not say which sublattice a site is on.
_ANION_ELECTRONEGATIVITY = 2.5
#: Columns that vary less than this between centres are no features.
_CONSTANT = 1e-6
#: What varies less than this, in angstrom or e, is divided by this and not by its standard deviation: a relaxation does
#: not end more exactly, and no barrier changes much with it.
_LEAST_SPREAD = 0.02
#: An atom this near to the walker's own sites is the walker, in angstrom.
_OWN_SITE = 0.05
#: The bottleneck lies within this of the middle of the hop, in angstrom, between some of this many nearest ions.
_SIDEWAYS, _WALLS = 1.0, 8
#: Rounding of clearances in angstrom, and of areas in angstrom^2.
_TOUCHES = 1e-9


@dataclass(frozen=True)
class Features:
    """Numbers about the surroundings of sites, or of hops, in groups whose weights are chosen together.

    Parameters
    ----------
    groups
        ``near`` and ``far``: number of each species in the first and in the second shell of every mixed sublattice,
        vacancies included; ``local``: distances, charges, radii and bond valence of the first shells, and for hops
        length and radius of the bottleneck. Each of shape=(n_centres, n_columns), with mean 0 over the cell and a
        mean square length over all columns of 1, or less where all centres are nearly alike; a group without columns
        is left out.
    names
        Names of the columns of each group.
    n_centres
        Sites or hops described.
    """

    groups: dict[str, FloatArray]
    names: dict[str, tuple[str, ...]]
    n_centres: int


@dataclass(frozen=True)
class Environments:
    """Features of all sites and of all hops of a network."""

    sites: Features
    hops: Features


@dataclass(frozen=True)
class _Atoms:
    """The host's atoms and the network's empty sites: fractional coordinates, species, sublattice, charge, radius."""

    matrix: FloatArray
    frac_coords: FloatArray
    species: NDArray[np.str_]
    sublattice: NDArray[np.str_]
    charge: FloatArray
    radius: FloatArray
    reach: float

    def mixed(self) -> list[str]:
        """The sublattices with more than one species."""
        return [s for s in np.unique(self.sublattice) if len(set(self.species[self.sublattice == s])) > 1]


@dataclass(frozen=True)
class _Near:
    """Atoms near a centre: distance in angstrom and index, both shape=(n,), and vector to them, shape=(n, 3)."""

    distance: FloatArray
    atom: IntArray
    vector: FloatArray


def describe(
    host: Structure, network: HopNetwork, *, oxidation_states: Mapping[str, float] | None = None
) -> Environments:
    """Return the features of all sites and hops of a network in its host.

    They do not depend on orientation, origin, order of atoms, choice of supercell or the direction of a hop. Shells
    are found from the gaps in the distances, so that any mobile species in any host will do; an atom in a gap counts
    in part, so that features change smoothly with the geometry.

    Parameters
    ----------
    host
        Relaxed cell without the walker. With a site property ``site`` the sublattices are those; without it there are
        two, cations and anions.
    network
        Sites and hops of the walker in this cell; its empty sites (``atom_index`` -1) count as vacancies.
    oxidation_states
        Formal charges in e by element; those left out have their usual ones.

    Raises
    ------
    StructureError
        If the network says nothing of the host's atoms or belongs to another cell.
    """
    if network.atom_index is None:
        raise StructureError(f"{host.formula}: the network has no atom_index.", mend="make the network from this host")
    if not np.allclose(network.lattice, host.lattice.matrix, atol=1e-3):
        raise StructureError(
            f"{host.formula}: host and network have different cells.", mend="make the network from this host"
        )
    atoms = _atoms(host, network.atom_index, network.frac_coords, oxidation_states or {})
    walkers = np.where(network.atom_index < 0, len(host), network.atom_index)
    walkers = walkers[walkers < len(host)]
    charge, radius = (
        (float(atoms.charge[walkers].mean()), float(atoms.radius[walkers].mean())) if len(walkers) else (1.0, 0.0)
    )
    first = network.frac_coords
    one, two = first[network.start], first[network.end] + network.image
    at_sites = [_near(atoms, x, [x]) for x in first]
    at_hops = [_near(atoms, (a + b) / 2, [a, b]) for a, b in zip(one, two, strict=True)]
    tight = [
        bottleneck_radius(near.vector, atoms.radius[near.atom], along)
        for near, along in zip(at_hops, network.displacements, strict=True)
    ]
    passage = {"length": np.linalg.norm(network.displacements, axis=1), "bottleneck radius": np.array(tight)}
    return Environments(
        sites=_features(at_sites, atoms, charge, radius, {}),
        hops=_features(at_hops, atoms, charge, radius, passage),
    )


def bottleneck_radius(vectors: FloatArray, radii: FloatArray, along: FloatArray) -> float:
    """Return the radius in angstrom of the largest sphere that passes between ions half way along a hop.

    For two A cations and one B cation this is the critical radius of Kilner and Brook
    (doi:10.1016/0167-2738(82)90045-5), for any geometry of them.

    Parameters
    ----------
    vectors
        From the middle of the hop to the ions, in angstrom, shape=(n, 3).
    radii
        Of the ions, in angstrom, shape=(n,).
    along
        Direction of the hop, shape=(3,).
    """
    along = along / np.linalg.norm(along)
    nearest = np.argsort(np.linalg.norm(vectors, axis=1) - radii, kind="stable")[:_WALLS]
    vectors, radii = vectors[nearest], radii[nearest]
    in_plane = vectors @ np.linalg.svd(along[None, :])[2][1:].T
    height = vectors @ along
    middle = float((np.linalg.norm(vectors, axis=1) - radii).min())
    three = np.array(list(combinations(range(len(radii)), 3)), dtype=int).reshape(-1, 3)
    centres, found = _touching(in_plane[three], height[three], radii[three])
    away = np.linalg.norm(centres[:, None, :] - in_plane, axis=-1)
    clearance = (np.hypot(away, height) - radii).min(axis=1)
    free = (clearance > found - _TOUCHES) & (np.linalg.norm(centres, axis=1) < _SIDEWAYS)
    return float(found[free].max(initial=middle))


def _touching(in_plane: FloatArray, height: FloatArray, radii: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return centres in the plane and radii of all spheres that touch three others (Apollonius' problem).

    Arguments are for many sets of three: shape=(n, 3, 2), (n, 3) and (n, 3).
    """
    # |u - p_k|^2 + h_k^2 = (R + r_k)^2; differences of two of these are linear in u for given R.
    matrix = 2 * (in_plane[:, 1:] - in_plane[:, :1])
    apart = np.abs(np.linalg.det(matrix)) > _TOUCHES
    matrix, in_plane, height, radii = matrix[apart], in_plane[apart], height[apart], radii[apart]
    squares = (in_plane**2).sum(axis=-1) + height**2 - radii**2
    sides = np.stack([squares[:, 1:] - squares[:, :1], -2 * (radii[:, 1:] - radii[:, :1])], axis=-1)
    constant, slope = np.moveaxis(np.linalg.solve(matrix, sides), -1, 0)
    offset = constant - in_plane[:, 0]
    square = (slope**2).sum(axis=1) - 1
    half = (offset * slope).sum(axis=1) - radii[:, 0]
    rest = (offset**2).sum(axis=1) + height[:, 0] ** 2 - radii[:, 0] ** 2
    real = half**2 - square * rest > 0
    constant, slope, square, half, rest = (x[real] for x in (constant, slope, square, half, rest))
    # Roots of square R^2 + 2 half R + rest, in the form that loses no digits.
    far = -(half + np.copysign(np.sqrt(half**2 - square * rest), half))
    roots = [far / np.where(np.abs(square) > _TOUCHES, square, np.inf), rest / np.where(far == 0, np.inf, far)]
    return np.vstack([constant + slope * r[:, None] for r in roots]), np.concatenate(roots)


def _atoms(host: Structure, atom_index: IntArray, sites: FloatArray, states: Mapping[str, float]) -> _Atoms:
    symbols = [site.specie.symbol for site in host]
    labels = list(host.site_properties.get("site") or ()) or [
        "anion" if Element(s).X > _ANION_ELECTRONEGATIVITY else "cation" for s in symbols
    ]
    empty = sites[atom_index < 0]
    occupied = atom_index[atom_index >= 0]
    own = labels[int(occupied[0])] if len(occupied) else "walker"
    charges = {s: float(states.get(s, _usual_charge(s))) for s in set(symbols)}
    radii = {(s, at): _radius(s, at, charges[s]) for s, at in set(zip(symbols, labels, strict=True))}
    none = [0.0] * len(empty)
    return _Atoms(
        matrix=host.lattice.matrix,
        frac_coords=np.vstack([host.frac_coords, empty]),
        species=np.array([*symbols, *[VACANCY] * len(empty)]),
        sublattice=np.array([*labels, *[own] * len(empty)]),
        charge=np.array([*(charges[s] for s in symbols), *none]),
        radius=np.array([*(radii[key] for key in zip(symbols, labels, strict=True)), *none]),
        reach=_REACH * (host.volume / len(host)) ** (1 / 3),
    )


def _usual_charge(symbol: str) -> float:
    """Return the mean of the usual oxidation states of an element, in e."""
    states = DEFAULT_OXIDATION_STATES.get(symbol) or Element(symbol).common_oxidation_states or (0,)
    return float(np.mean(states))


def _radius(symbol: str, label: str, charge: float) -> float:
    """Return Shannon's radius in angstrom on a sublattice, or the atomic one where he lists none."""
    radius = shannon_radius(symbol, charge, COORDINATION.get(label, 6))
    return float(Element(symbol).atomic_radius or 1.0) if radius is None else radius


def _near(atoms: _Atoms, centre: FloatArray, own: list[FloatArray]) -> _Near:
    """Return the atoms within reach of a point, nearest first, without those on the walker's own sites."""
    n_cells = np.ceil(atoms.reach * np.linalg.norm(np.linalg.inv(atoms.matrix), axis=0)).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in n_cells), indexing="ij"), axis=-1).reshape(-1, 3)
    home = atoms.frac_coords - centre
    home -= np.round(home)
    vectors = (home[:, None, :] + cells) @ atoms.matrix
    distances = np.linalg.norm(vectors, axis=-1)
    taken = [np.linalg.norm(vectors - (x - centre) @ atoms.matrix, axis=-1) < _OWN_SITE for x in own]
    atom, image = np.nonzero((distances < atoms.reach) & ~np.any(taken, axis=0))
    order = np.argsort(distances[atom, image], kind="stable")
    atom, image = atom[order], image[order]
    return _Near(distances[atom, image], atom, vectors[atom, image])


def _features(
    centres: list[_Near], atoms: _Atoms, walker_charge: float, walker_radius: float, more: dict[str, FloatArray]
) -> Features:
    """Return the groups of features of some centres; ``more`` are columns of the local group."""
    columns: dict[str, dict[str, FloatArray]] = {"near": {}, "far": {}, "local": dict(more)}
    mixed = atoms.mixed()
    valence = np.zeros(len(centres))
    for name in np.unique(atoms.sublattice):
        shells = _shells(centres, atoms, name)
        near = [shell[0] for shell in shells]
        columns["local"][f"{name} distance"] = _mean(near, [c.distance for c in centres])
        valence += [
            _bond_valence(w, c, atoms, walker_charge, walker_radius) for w, c in zip(near, centres, strict=True)
        ]
        if name not in mixed:
            continue
        columns["local"][f"{name} charge"] = _mean(near, [atoms.charge[c.atom] for c in centres])
        columns["local"][f"{name} radius"] = _mean(near, [atoms.radius[c.atom] for c in centres])
        for species in np.unique(atoms.species[atoms.sublattice == name]):
            is_it = [atoms.species[c.atom] == species for c in centres]
            for k, group in enumerate(("near", "far")):
                columns[group][f"{species} {group} on {name}"] = np.array(
                    [float(shell[k] @ hit) for shell, hit in zip(shells, is_it, strict=True)]
                )
    columns["local"]["bond valence"] = valence
    groups, names = {}, {}
    for group, found in columns.items():
        table = {name: x - x.mean() for name, x in found.items() if np.ptp(x) > _CONSTANT}
        if not table:
            continue
        stacked = np.column_stack(list(table.values()))
        if group == "local":
            groups[group] = stacked / np.maximum(stacked.std(axis=0), _LEAST_SPREAD) / np.sqrt(len(table))
        else:
            # Counts keep their relative size: one ion more is one ion more.
            groups[group] = stacked / np.sqrt((stacked**2).sum(axis=1).mean())
        names[group] = tuple(table)
    return Features(groups, names, len(centres))


def _shells(centres: list[_Near], atoms: _Atoms, sublattice: str) -> list[FloatArray]:
    """Return the weights of every centre's neighbours in the first and second shell of a sublattice, shape=(2, n).

    A shell ends at the widest relative gap of the mean distances of the first, second, ... neighbour.
    """
    on_it = [atoms.sublattice[c.atom] == sublattice for c in centres]
    count = min(int(hit.sum()) for hit in on_it)
    mean = np.mean([c.distance[hit][:count] for c, hit in zip(centres, on_it, strict=True)], axis=0)
    weights = [np.zeros((2, len(c.distance))) for c in centres]
    begin, inside = 0, [np.zeros(len(c.distance)) for c in centres]
    for k in range(2):
        following = mean[begin : begin + _MOST_IN_SHELL + 1]
        ratios = following[1:] / following[:-1]
        if ratios.max(initial=1.0) < _GAP:
            break
        begin += int(ratios.argmax()) + 1
        gap = mean[begin] - mean[begin - 1]
        low, high = mean[begin - 1] + gap / 4, mean[begin] - gap / 4
        for n, (centre, hit) in enumerate(zip(centres, on_it, strict=True)):
            within = np.clip((high - centre.distance) / (high - low), 0, 1) * hit
            weights[n][k] = within - inside[n]
            inside[n] = within
    return weights


def _mean(weights: list[FloatArray], values: list[FloatArray]) -> FloatArray:
    """Return the weighted mean of every centre, 0 where nothing has weight; shape=(n_centres,)."""
    return np.array([float(w @ x / w.sum()) if w.sum() > 0 else 0.0 for w, x in zip(weights, values, strict=True)])


def _bond_valence(weights: FloatArray, near: _Near, atoms: _Atoms, walker_charge: float, walker_radius: float) -> float:
    """Return the valence in e of the walker's ion at the centre from ions of the opposite charge.

    A bond as long as the sum of the radii has the ion's charge over its coordination number (Pauling's second rule).
    """
    charge = atoms.charge[near.atom]
    opposite = charge * walker_charge < 0
    coordination = np.array([COORDINATION.get(name, 6) for name in atoms.sublattice[near.atom]])
    stretch = near.distance - atoms.radius[near.atom] - walker_radius
    return float((weights * opposite * np.abs(charge) / coordination * np.exp(-stretch / _BOND_SOFTNESS)).sum())
