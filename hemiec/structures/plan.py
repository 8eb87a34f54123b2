"""The cell of a candidate before it is decorated: how large, with how many sites of each species."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from pymatgen.core import Element

from hemiec.composition.candidate import Sites, exact_sites
from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.composition.fractions import VACANCY
from hemiec.errors import CompositionError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.structures.cells import formula_units, rounded_amounts
from hemiec.structures.tilts import TILTS

#: A rounded cell may carry this much charge with the oxidation states of the exact composition, in e/formula unit.
MAX_ROUNDING_CHARGE = 0.1
_FALLBACK_RADIUS = {"A": 1.40, "B": 0.62, "X": 1.40}


def lattice_parameter(candidate: CandidateSpec) -> float:
    """Return a starting cubic lattice parameter in angstrom from mean Shannon radii.

    The mean of the two contact distances, 2 (r_B + r_X) and sqrt(2) (r_A + r_X); relaxation does the rest. Where a
    radius is not tabulated a typical one is taken: of O2-, Ti4+ and a large A cation.
    """
    r = {site: getattr(candidate, f"radius_mean_{site}") or radius for site, radius in _FALLBACK_RADIUS.items()}
    return float(0.5 * (2 * (r["B"] + r["X"]) + np.sqrt(2) * (r["A"] + r["X"])))


@dataclass(frozen=True)
class CellPlan:
    """How many sites of each species the cell of a candidate has.

    Parameters
    ----------
    n_units
        Formula units.
    amounts
        Sublattice to species, by atomic number with vacancies first, to number of sites.
    rounding
        Largest deviation of a site fraction from the one asked for, unit 1.
    """

    n_units: int
    amounts: dict[str, dict[str, int]]
    rounding: float

    @cached_property
    def mixed(self) -> dict[str, dict[str, int]]:
        """The sublattices with more than one species."""
        return {site: species for site, species in self.amounts.items() if len(species) > 1}


def plan_cell(candidate: CandidateSpec, settings: SqsSettings, *, where: str | None = None) -> CellPlan:
    """Return the cell of a candidate within ``settings.max_atoms``: exact if it can be, else rounded if allowed.

    Parameters
    ----------
    candidate
        The composition.
    settings
        Largest cell, rounding and tilt.
    where
        What messages call the composition; default its formula.

    Raises
    ------
    CompositionError
        If no cell holds the fractions within ``settings.rounding``, or rounding unbalances the charge.
    """
    where = where or candidate.formula
    sites = exact_sites(candidate)
    multiple = 1 if settings.tilt == "none" else TILTS[settings.tilt].multiple
    try:
        n_units = formula_units(sites, settings.max_atoms, where=where, multiple=multiple)
        counts = {
            site: {s: int(x * n_units * SITE_MULTIPLICITY[site]) for s, x in species.items()}
            for site, species in sites.items()
        }
    except CompositionError:
        if settings.rounding == 0:
            raise
        n_units, counts = rounded_amounts(sites, settings.max_atoms, settings.rounding, where=where, multiple=multiple)
    amounts = {
        site: {s: species[s] for s in sorted(species, key=_atomic_number) if species[s]}
        for site, species in counts.items()
    }
    plan = CellPlan(n_units, amounts, _deviation(sites, counts, n_units))
    if plan.rounding > 0 and abs(net_charge(candidate, plan) - candidate_charge(candidate)) > MAX_ROUNDING_CHARGE:
        raise CompositionError(
            f"{where}: rounded to {n_units} formula units the cell has a charge of "
            f"{net_charge(candidate, plan):+.3f} e per formula unit, expected at most {MAX_ROUNDING_CHARGE} e.",
            mend="allow a larger cell with `sqs: {max_atoms: ...}`",
        )
    return plan


def net_charge(candidate: CandidateSpec, plan: CellPlan) -> float:
    """Return the charge of the cell with the candidate's oxidation states, in e per formula unit."""
    return (
        sum(n * candidate.oxidation_states.get(s, 0.0) for species in plan.amounts.values() for s, n in species.items())
        / plan.n_units
    )


def candidate_charge(candidate: CandidateSpec) -> float:
    """Return the charge of the exact composition, in e per formula unit: 0 unless an unbalanced one was kept."""
    return sum(
        float(x) * SITE_MULTIPLICITY[site] * candidate.oxidation_states.get(s, 0.0)
        for site, species in exact_sites(candidate).items()
        for s, x in species.items()
    )


def _deviation(sites: Sites, counts: Mapping[str, Mapping[str, int]], n_units: int) -> float:
    return max(
        float(abs(Fraction(counts[site].get(s, 0), n_units * SITE_MULTIPLICITY[site]) - x))
        for site, species in sites.items()
        for s, x in species.items()
    )


def _atomic_number(species: str) -> int:
    return 0 if species == VACANCY else int(Element(species).Z)
