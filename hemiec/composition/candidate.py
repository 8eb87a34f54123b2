"""A candidate: species on the sites of ABX3, charge-balanced, with a content hash for a name."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from hemiec.composition.block import Block, ChargeRule, Rows
from hemiec.composition.charge import SITE_MULTIPLICITY, balance_charge
from hemiec.composition.descriptors import SITES, UNITS, Floats
from hemiec.composition.fractions import VACANCY, parse_site
from hemiec.composition.identity import PROTOTYPE, candidate_id
from hemiec.composition.options import Option, in_order
from hemiec.errors import CompositionError, did_you_mean
from hemiec.schemas.documents import CandidateSpec

__all__ = ["Sites", "candidate_id", "exact_sites", "formula", "label", "make_candidate"]

Sites = dict[str, dict[str, Fraction]]
#: Significant digits kept of a descriptor, well within double precision and beyond any meaning.
_DIGITS = 8


def make_candidate(
    sites: Mapping[str, Mapping[str, object]],
    oxidation_states: Mapping[str, tuple[int, ...]],
    *,
    rule: ChargeRule | None = None,
    where: str = "composition",
) -> CandidateSpec:
    """Return a candidate from the species on its A, B and X sites.

    Parameters
    ----------
    sites
        Sublattice (A, B, X; X defaults to oxygen) to species to fraction; fractions sum to one per site. `vacancy`
        may stand on A and X.
    oxidation_states
        Species to allowed formal oxidation states, in e.
    rule
        How it is made neutral; by default the valences are solved for and what cannot be balanced is refused.
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
    options: dict[str, list[Option]] = {}
    for site in SITES:
        written = sites.get(site, {"O": 1} if site == "X" else {})
        if not written:
            raise CompositionError(f"{where}: site {site} is empty; expected species with fractions, as {{La: 1}}.")
        options[site] = [in_order(parse_site(site, written, where=where))]
    block = Block(options, oxidation_states, rule or ChargeRule(), where=where)
    rows = block.rows(0, 1)
    if not rows.neutral()[0] and block.rule.unbalanced != "keep":
        raise unbalanced_error(rows, 0, where=where)
    rows = rows.balanced()
    return specs(rows, rows.describe())[0]


def specs(rows: Rows, columns: Mapping[str, Floats]) -> list[CandidateSpec]:
    """Return the documents of described compositions."""
    return [_spec(rows, n, {name: values[n] for name, values in columns.items()}) for n in range(len(rows))]


def _spec(rows: Rows, n: int, described: Mapping[str, float]) -> CandidateSpec:
    sites = sites_of(rows, n)
    lowest, span = int(rows.lowest[n]), int(rows.span[n])
    share = min(max(Fraction(-lowest, span), Fraction(0)), Fraction(1)) if span else Fraction(0)
    charges = {}
    for site in SITES:
        for symbol in sites[site]:
            if symbol != VACANCY:
                states = rows.tables[site].states[symbol]
                charges[symbol] = min(states) + share * (max(states) - min(states))
    return CandidateSpec(
        candidate_id=candidate_id(sites),
        formula=formula(sites),
        label=label(sites),
        prototype=PROTOTYPE,
        sites={site: {s: str(x) for s, x in species.items()} for site, species in sites.items()},
        oxidation_states={s: round(float(q), 6) for s, q in sorted(charges.items())},
        oxygen_deficiency=float(sites["X"].get(VACANCY, Fraction(0)) * SITE_MULTIPLICITY["X"]),
        net_charge=_rounded(described["net_charge"]),
        charge_balanced=described["net_charge"] == 0,
        charge_solved_for=rows.block.rule.solve,
        **{name: _rounded(described[name]) for name in UNITS},
    )


def _rounded(value: float) -> float | None:
    return None if value != value else float(f"{value:.{_DIGITS}g}")


def sites_of(rows: Rows, n: int) -> Sites:
    """Return the exact site fractions of one of some compositions."""
    return {site: dict(rows.tables[site].options[int(rows.index[site][n])]) for site in SITES}


def unbalanced_error(rows: Rows, n: int, *, where: str) -> CompositionError:
    """Return the error that says why a composition cannot be made neutral."""
    sites = sites_of(rows, n)
    if rows.block.rule.solve == "delta":
        charge = Fraction(int(rows.lowest[n]), rows.block.denominator)
        states = {s: q for site in SITES for s, q in rows.tables[site].states.items()}
        stated = ", ".join(f"{s} {states[s][0]:+d}" for site in SITES for s in sites[site])
        why = (
            "expected a charge of at most 0, which oxygen vacancies compensate"
            if charge > 0
            else f"which needs delta = {float(-charge / 2):.4g}; expected at most "
            f"{float(min(rows.block.rule.max_delta, 3 * sites['X']['O'])):.4g}"
        )
        return CompositionError(
            f"{where}: {label(sites)} cannot be charge-balanced: with {stated} the formula unit has charge "
            f"{float(charge):+g} e, {why}.",
            mend="state other valences under `charge: {valence: ...}`, raise `max_delta`, or leave such compositions "
            "out with `unbalanced: drop`",
        )
    try:
        balance_charge(sites, rows.block.allowed, where=f"{where}: {label(sites)}")
    except CompositionError as error:
        return error
    raise AssertionError(f"{label(sites)} is neutral")


def exact_sites(candidate: CandidateSpec) -> Sites:
    """Return the candidate's sites with exact fractions."""
    return {site: {s: _fraction(x) for s, x in species.items()} for site, species in candidate.sites.items()}


@lru_cache(maxsize=4096)
def _fraction(text: str) -> Fraction:
    """Return a site fraction; few different ones are read again and again."""
    return Fraction(text)


def _number(value: Fraction) -> str:
    return "" if value == 1 else f"{float(value):.4g}"


def formula(sites: Mapping[str, Mapping[str, Fraction]]) -> str:
    """Return the formula with amounts per formula unit, species in the order they were given; vacancies left out."""
    return "".join(
        f"{symbol}{_number(fraction * SITE_MULTIPLICITY[site])}"
        for site in SITES
        for symbol, fraction in sites[site].items()
        if symbol != VACANCY
    )


def label(sites: Mapping[str, Mapping[str, Fraction]]) -> str:
    """Return a short formula: equal fractions on a site are written ``(La,Y,Sr)`` without numbers.

    Vacancies are written ``Va`` on A; on X the anions that are there are written per formula unit.
    """
    parts = []
    for site in SITES:
        species = {"Va" if s == VACANCY else s: x for s, x in sites[site].items()}
        number = _number(Fraction(SITE_MULTIPLICITY[site]))
        if site == "X" and len(set(species.values())) > 1:
            amounts = [f"{s}{_number(x * SITE_MULTIPLICITY[site])}" for s, x in species.items() if s != "Va"]
            parts.append("".join(amounts))
        elif len(species) == 1:
            parts.append(f"{next(iter(species))}{number}")
        elif len(set(species.values())) == 1:
            parts.append(f"({','.join(species)}){number}")
        else:
            parts.append("(" + "".join(f"{s}{_number(x)}" for s, x in species.items()) + f"){number}")
    return "".join(parts)
