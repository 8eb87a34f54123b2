"""A candidate: species on the sites of ABX3, charge-balanced, with a content hash for a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction

from pymatgen.core import Element

from hemiec.composition import descriptors
from hemiec.composition.charge import SITE_MULTIPLICITY, balance_charge
from hemiec.composition.fractions import parse_site
from hemiec.errors import CompositionError, did_you_mean
from hemiec.schemas.documents import CandidateSpec

Sites = dict[str, dict[str, Fraction]]


def make_candidate(
    sites: Mapping[str, Mapping[str, object]],
    oxidation_states: Mapping[str, tuple[int, ...]],
    *,
    where: str = "composition",
) -> CandidateSpec:
    """Return a candidate from the species on its A, B and X sites.

    Parameters
    ----------
    sites
        Sublattice (A, B, X; X defaults to oxygen) to species to fraction; fractions sum to one per site.
    oxidation_states
        Species to allowed formal oxidation states, in e.
    where
        File and place the composition was read from, for messages.

    Raises
    ------
    CompositionError
        For an unknown element, fractions that do not sum to one, or no charge balance.
    """
    for site in sites:
        if site not in SITE_MULTIPLICITY:
            raise CompositionError(f"{where}: unknown site {site!r}; {did_you_mean(site, SITE_MULTIPLICITY)}")
    for site in SITE_MULTIPLICITY:
        if not sites.get(site, {"O": 1} if site == "X" else None):
            raise CompositionError(f"{where}: site {site} is empty; expected species with fractions, as {{La: 1}}.")
    exact: Sites = {
        site: _in_order(parse_site(site, sites.get(site, {"O": 1}), where=where)) for site in SITE_MULTIPLICITY
    }
    charges = balance_charge(exact, oxidation_states, where=where)
    factor, tau = _tolerance(exact, charges)
    on_B = sum((x * charges[s] for s, x in exact["B"].items()), Fraction(0))
    return CandidateSpec(
        candidate_id=candidate_id(exact),
        formula=formula(exact),
        label=label(exact),
        sites={site: {s: str(x) for s, x in species.items()} for site, species in exact.items()},
        oxidation_states={s: round(float(q), 6) for s, q in sorted(charges.items())},
        mean_B_valence=round(float(on_B), 6),
        tolerance_factor=factor,
        bartel_tau=tau,
        configurational_entropy=round(descriptors.configurational_entropy(exact), 6),
    )


def _tolerance(sites: Sites, charges: Mapping[str, Fraction]) -> tuple[float | None, float | None]:
    """Return Goldschmidt's t and Bartel's tau, or None for both if a radius is not tabulated."""
    r_A, r_B, r_X = (descriptors.mean_radius(site, sites[site], charges) for site in ("A", "B", "X"))
    if r_A is None or r_B is None or r_X is None:
        return None, None
    valence_A = float(sum((x * charges[s] for s, x in sites["A"].items()), Fraction(0)))
    return descriptors.tolerance_factor(r_A, r_B, r_X), descriptors.bartel_tau(r_A, r_B, r_X, valence_A)


def _in_order(species: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Return the species by rising electronegativity, so that a composition has one formula."""
    return dict(sorted(species.items(), key=lambda item: (Element(item[0]).X, item[0])))


def exact_sites(candidate: CandidateSpec) -> Sites:
    """Return the candidate's sites with exact fractions."""
    return {site: {s: Fraction(x) for s, x in species.items()} for site, species in candidate.sites.items()}


def candidate_id(sites: Mapping[str, Mapping[str, Fraction]]) -> str:
    """Return the content hash of a composition: equal however its species and fractions were written."""
    content = {"prototype": "ABX3", "sites": {k: {s: str(x) for s, x in v.items()} for k, v in sites.items()}}
    return "hm-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _number(value: Fraction) -> str:
    return "" if value == 1 else f"{float(value):.4g}"


def formula(sites: Mapping[str, Mapping[str, Fraction]]) -> str:
    """Return the formula with amounts per formula unit, species in the order they were given."""
    return "".join(
        f"{symbol}{_number(fraction * SITE_MULTIPLICITY[site])}"
        for site in ("A", "B", "X")
        for symbol, fraction in sites[site].items()
    )


def label(sites: Mapping[str, Mapping[str, Fraction]]) -> str:
    """Return a short formula: equal fractions on a site are written ``(La,Y,Sr)`` without numbers."""
    parts = []
    for site in ("A", "B", "X"):
        species = sites[site]
        number = _number(Fraction(SITE_MULTIPLICITY[site]))
        if len(species) == 1:
            parts.append(f"{next(iter(species))}{number}")
        elif len(set(species.values())) == 1:
            parts.append(f"({','.join(species)}){number}")
        else:
            parts.append("(" + "".join(f"{s}{_number(x)}" for s, x in species.items()) + f"){number}")
    return "".join(parts)
