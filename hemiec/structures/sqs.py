"""Special quasirandom structures of perovskite candidates, made and scored by icet."""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from hemiec import __version__
from hemiec.composition.candidate import Sites, exact_sites
from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.composition.descriptors import mean_radius
from hemiec.errors import CompositionError, did_you_mean
from hemiec.schemas.documents import CandidateSpec, SqsDoc
from hemiec.structures.cells import compact_supercell, formula_units, shortest_image_distance
from hemiec.structures.order import ShellOrder, rms, warren_cowley

if TYPE_CHECKING:
    from ase import Atoms
    from icet import ClusterSpace

#: Independent icet searches by quality; the one with the smallest Warren-Cowley error is kept.
QUALITIES = {"fast": 2, "standard": 6, "best": 24}
#: Pairs to just past the fourth shell of the cubic parent, triplets to just past the second; in units of a.
CUTOFFS = (2.05, 1.45)
#: Random displacements that let octahedra tilt and Jahn-Teller modes start, in angstrom.
DISPLACEMENT = 0.03
_IDEAL_SITES = {"A": [(0.5, 0.5, 0.5)], "B": [(0.0, 0.0, 0.0)], "X": [(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]}
_FALLBACK_RADIUS = {"A": 1.40, "B": 0.62, "X": 1.40}


def lattice_parameter(candidate: CandidateSpec) -> float:
    """Return a starting cubic lattice parameter in angstrom from mean Shannon radii.

    The mean of the two contact distances, 2 (r_B + r_X) and sqrt(2) (r_A + r_X); relaxation does the rest.
    """
    sites = exact_sites(candidate)
    charges = {s: Fraction(str(q)) for s, q in candidate.oxidation_states.items()}
    r = {site: mean_radius(site, sites[site], charges) or _FALLBACK_RADIUS[site] for site in sites}
    return float(0.5 * (2 * (r["B"] + r["X"]) + np.sqrt(2) * (r["A"] + r["X"])))


def make_sqs(candidate: CandidateSpec, *, max_atoms: int, quality: str = "standard", seed: int = 0) -> SqsDoc:
    """Return a special quasirandom structure of a candidate with its error.

    The cell is the largest within ``max_atoms`` that holds the fractions exactly, in its most compact
    shape. icet searches (doi:10.1002/adts.201900015; SQS: doi:10.1103/PhysRevLett.65.353) from several
    seeds; the result with the smallest Warren-Cowley error is kept. Same arguments, same structure.

    Raises
    ------
    CompositionError
        If no cell within ``max_atoms`` holds the fractions, or the quality is unknown.
    """
    if quality not in QUALITIES:
        raise CompositionError(f"sqs quality {quality!r} is unknown; {did_you_mean(quality, QUALITIES)}")
    sites = exact_sites(candidate)
    n_units = formula_units(sites, max_atoms, where=candidate.formula)
    supercell = compact_supercell(n_units)
    search = _Search(sites, lattice_parameter(candidate), supercell)

    best: tuple[float, float, Structure] | None = None
    n_tries = QUALITIES[quality] if search.is_mixed else 1
    for n in range(n_tries):
        structure = search.run(seed=seed * 1000 + n)
        error = rms(search.order(structure))
        l1 = search.l1(structure)
        if best is None or (error, l1) < (best[0] - 1e-9, best[1]):
            best = error, l1, structure
    assert best is not None
    error, l1, ideal = best
    return SqsDoc(
        candidate=candidate,
        structure=displaced(ideal, seed).as_dict(),
        ideal_structure=ideal.as_dict(),
        n_atoms=len(ideal),
        n_formula_units=n_units,
        supercell=[list(row) for row in supercell],
        shortest_image_distance=shortest_image_distance(ideal.lattice.matrix),
        warren_cowley_rms=error,
        icet_l1=l1,
        icet_objective=search.objective(ideal),
        warren_cowley=[
            {"sublattice": s.sublattice, "distance": s.distance, "pair": list(pair), "alpha": alpha}
            for s in search.order(ideal)
            for pair, alpha in s.alpha.items()
        ],
        seed=seed,
        n_tries=n_tries,
        cutoffs=list(CUTOFFS),
        versions={"hemiec": __version__, **_icet_version()},
    )


def displaced(structure: Structure, seed: int, amplitude: float = DISPLACEMENT) -> Structure:
    """Return a copy with seeded Gaussian displacements of standard deviation ``amplitude`` angstrom."""
    generator = np.random.default_rng(seed)
    cartesian = structure.cart_coords + generator.normal(scale=amplitude, size=structure.cart_coords.shape)
    return Structure(structure.lattice, structure.species, cartesian, coords_are_cartesian=True)


class _Search:
    """One supercell with icet's cluster space: searched, scored and relabelled.

    icet refuses or mistreats one species on two sublattices, so every species on every mixed
    sublattice is searched as a placeholder element of its own and relabelled afterwards.
    """

    def __init__(self, sites: Sites, a: float, supercell: tuple[tuple[int, int, int], ...]) -> None:
        from ase import Atoms
        from ase.build import make_supercell
        from icet import ClusterSpace

        self.sites = sites
        self.mixed = [site for site, species in sites.items() if len(species) > 1]
        self.placeholder = _placeholders(sites)
        self.a = a
        basis = [(site, xyz) for site in ("A", "B", "X") for xyz in _IDEAL_SITES[site]]
        allowed = [[self.placeholder[site, s] for s in sites[site]] for site, _ in basis]
        primitive = Atoms(
            [symbols[0] for symbols in allowed], scaled_positions=[xyz for _, xyz in basis], cell=[a] * 3, pbc=True
        )
        primitive.set_tags([("A", "B", "X").index(site) for site, _ in basis])
        self.supercell: Atoms = make_supercell(primitive, np.array(supercell))
        self.site_of = [("A", "B", "X")[tag] for tag in self.supercell.get_tags()]
        self.space: ClusterSpace | None = None
        if self.is_mixed:
            self.space = ClusterSpace(primitive, cutoffs=[c * a for c in CUTOFFS], chemical_symbols=allowed)

    @property
    def is_mixed(self) -> bool:
        return bool(self.mixed)

    def run(self, seed: int) -> Structure:
        """Return icet's structure for one seed, with the real species."""
        if self.space is None:
            return self._relabel(self.supercell)
        from icet.tools.structure_generation import generate_sqs_from_supercells

        state = random.getstate()  # icet reseeds the global generator
        try:
            atoms = generate_sqs_from_supercells(
                self.space,
                [self.supercell],
                self._concentrations(),
                random_seed=seed,
                # With weight 1 icet perfects the nearest shells and leaves the rest, with 0 it spreads the error:
                # which is better depends on the case, so the searches alternate.
                optimality_weight=float(seed % 2),
            )
        finally:
            random.setstate(state)
        return self._relabel(atoms)

    def order(self, structure: Structure) -> list[ShellOrder]:
        """Return the Warren-Cowley parameters of every mixed sublattice."""
        shells = []
        for site in self.mixed:
            members = [n for n, name in enumerate(self.site_of) if name == site]
            shells += warren_cowley(Structure.from_sites([structure[n] for n in members]), sublattice=site)
        return shells

    def l1(self, structure: Structure) -> float:
        """Return the sum of absolute deviations of icet's cluster vector from the ideal one."""
        if self.space is None:
            return 0.0
        from icet.tools.structure_generation import _get_sqs_cluster_vector

        target = _get_sqs_cluster_vector(self.space, self._concentrations())
        return float(np.abs(self.space.get_cluster_vector(self._to_icet(structure)) - target).sum())

    def objective(self, structure: Structure) -> float:
        """Return icet's SQS objective Q."""
        if self.space is None:
            return 0.0
        from icet.tools.structure_generation import _get_sqs_cluster_vector
        from mchammer.calculators import compare_cluster_vectors

        return float(
            compare_cluster_vectors(
                cv_1=self.space.get_cluster_vector(self._to_icet(structure)),
                cv_2=_get_sqs_cluster_vector(self.space, self._concentrations()),
                as_list=self.space.as_list,
                optimality_weight=1.0,
            )
        )

    def _concentrations(self) -> dict[str, dict[str, float]]:
        """Return icet's concentrations: its sublattice letters are its own, so map them by site index."""
        assert self.space is not None
        concentrations = {}
        for sublattice in self.space.get_sublattices(self.supercell).active_sublattices:
            site = self.site_of[sublattice.indices[0]]
            concentrations[sublattice.symbol] = {
                self.placeholder[site, s]: float(x) for s, x in self.sites[site].items()
            }
        return concentrations

    def _relabel(self, atoms: Atoms) -> Structure:
        real = {(site, p): species for (site, species), p in self.placeholder.items()}
        species = [real[site, symbol] for site, symbol in zip(self.site_of, atoms.get_chemical_symbols(), strict=True)]
        structure = Structure(
            Lattice(np.asarray(atoms.cell)),
            species,
            atoms.get_scaled_positions(),
            site_properties={"site": self.site_of},
        )
        for site, fractions in self.sites.items():
            expected = {s: x * SITE_MULTIPLICITY[site] * (len(atoms) // 5) for s, x in fractions.items()}
            found = {s: sum(n == site and m == s for n, m in zip(self.site_of, species, strict=True)) for s in expected}
            if found != expected:
                raise CompositionError(f"icet returned {found} on site {site}, expected {expected}.")
        return structure

    def _to_icet(self, structure: Structure) -> Atoms:
        atoms = self.supercell.copy()
        atoms.set_chemical_symbols(
            [self.placeholder[site, s.specie.symbol] for site, s in zip(self.site_of, structure, strict=True)]
        )
        return atoms


def _placeholders(sites: Mapping[str, Mapping[str, Fraction]]) -> dict[tuple[str, str], str]:
    """Return (site, species) -> element to search with: itself, or an unused one if it is on two sites."""
    present = {s for species in sites.values() for s in species}
    spare = iter(e.symbol for e in Element if e.Z > 2 and e.symbol not in present)
    used: set[str] = set()
    result: dict[tuple[str, str], str] = {}
    for site, species in sites.items():
        for symbol in species:
            name = symbol if symbol not in used else next(spare)
            used.add(name)
            result[site, symbol] = name
    return result


def _icet_version() -> dict[str, Any]:
    import icet

    return {"icet": icet.__version__}
