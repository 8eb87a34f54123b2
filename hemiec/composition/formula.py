"""From a formula such as ``Ba0.5Sr0.5Co0.8Fe0.2O2.9`` to a candidate: which cation stands on which site."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from pymatgen.core import Element

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES, SITE_MULTIPLICITY, balance_charge
from hemiec.composition.elements import shannon_radius
from hemiec.composition.fractions import VACANCY, parse_fraction
from hemiec.errors import CompositionError
from hemiec.schemas.documents import CandidateSpec

States = dict[str, tuple[int, ...]]

#: States of elements that the defaults for campaigns do not list.
_MORE: States = {
    **dict.fromkeys(("Tb", "Tm", "Pm"), (3,)),
    **dict.fromkeys(("Be", "Hg"), (2,)),
    **dict.fromkeys(("Th", "U", "Np", "Pu", "Pt", "Ir", "Ru", "Tc"), (4,)),
    "Tl": (1,),
    "Eu": (3,),
    "B": (3,),
    "Rh": (3,),
    "Re": (5,),
    "Os": (5,),
    "Pd": (2,),
    "N": (-3,),
    "Se": (-2,),
}
#: What an element is on one of the sites, where that differs: lone-pair and large ions on A, oxidised ones on B.
_ON_SITE: dict[str, States] = {
    "A": {"Ce": (3,), "Sn": (2,), "Ge": (2,), "Mn": (2,), "Fe": (2,), "Co": (2,), "Ni": (2,), "Cu": (2,), "Cr": (2,)},
    "B": {"Sb": (5,)},
}
#: Other states that exist in perovskites, tried where the usual ones do not add up.
_WIDER: States = {
    "Ti": (3, 4), "V": (2, 5), "Cr": (2, 6), "Mn": (2, 7), "Fe": (2, 6), "Co": (2, 5), "Ni": (2, 4), "Cu": (1, 3),
    "Nb": (3, 5), "Ta": (4, 5), "Mo": (3, 6), "W": (4, 6), "Ce": (3, 4), "Pr": (3, 4), "Tb": (3, 4), "Eu": (2, 3),
    "Sm": (2, 3), "Yb": (2, 3), "Tm": (2, 3), "Dy": (2, 3), "Bi": (3, 5), "Sb": (3, 5), "Sn": (2, 4), "Ge": (2, 4),
    "Pb": (2, 4), "Tl": (1, 3), "Ru": (3, 5), "Ir": (3, 6), "Rh": (3, 4), "Os": (4, 7), "Re": (4, 7), "U": (3, 6),
    "Np": (3, 7), "Pu": (3, 6), "Pd": (2, 4), "Ag": (1, 3),
}  # fmt: skip
_ANIONS = ("O", "F", "Cl", "Br", "I", "S", "Se", "N")
_VACANCIES = ("vacancy", "Va", "□")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉․·", "0123456789..")
_NUMBER = r"\d+/\d+|\d*\.?\d+|\d+\."
_TOKEN = re.compile(rf"(vacancy|Va(?![a-z])|□|[A-Z][a-z]?|\(|\)|,)({_NUMBER})?")
#: Two splits whose mean radii on A differ by less than this, in angstrom, are equally good.
_SAME_SIZE = 0.01
_MAX_CATIONS = 16
#: Per formula unit; fewer than in a brownmillerite are another structure (MgAl2O4 is no AlMg0.5O2).
_LEAST_ANIONS = Fraction(5, 2)
_MEND = "state the sites, as in 'A:La0.5Sr0.5 B:Co X:O3'"


@dataclass(frozen=True)
class _Split:
    sites: dict[str, dict[str, Fraction]]
    states: States
    radius_A: float
    radius_B: float


def candidate_from_formula(
    text: str, oxidation_states: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[CandidateSpec, str]:
    """Return the candidate that a formula names, and one sentence on how it was put on the sites.

    Either the sites are stated (``A:Sr0.5Ba0.5 B:Co0.5Fe0.5 X:O2.9``, per formula unit) or it is a plain formula
    (``La0.6Sr0.4CoO3``, ``(La,Pr,Nd,Sr,Ba)CoO3``, ``Li1/12La7/12TiO3``, ``Sr2FeMoO6``). In a plain formula, of all ways
    to put whole species on A and B with one ion on B, at most one on A, and no net charge, the one with the largest
    ions (Shannon, sixfold) on A is taken.

    Anions below three per formula unit are vacancies on X. Cations below one on A are vacancies in a plain formula;
    where sites are stated they must be written (``vacancy0.1`` or ``Va0.1``), so that a slip is not taken for one.

    Parameters
    ----------
    text
        The formula.
    oxidation_states
        Species to allowed states in e, over the built-in ones.

    Raises
    ------
    CompositionError
        If it cannot be read, fits no perovskite, or two splits are equally good.
    """
    where = f"formula {text[:80]!r}"
    given = dict(oxidation_states or {})
    if ":" in text:
        sites = _stated_sites(text, where)
        splits = _neutral(sites, given)
        states = splits.states if splits else _states(sites, given, wider=())
        candidate = make_candidate(sites, states, where=where)
        return candidate, f"Sites as stated: {_words(candidate)}."
    amounts = _amounts(text.translate(_SUBSCRIPTS).replace(" ", ""), where)
    split = _best_split(amounts, given, where)
    candidate = make_candidate(split.sites, split.states, where=where)
    sizes = f"the larger ions on A: {split.radius_A:.2f} against {split.radius_B:.2f} angstrom on B, sixfold"
    return candidate, f"Split by radius and charge ({sizes}): {_words(candidate)}."


def _words(candidate: CandidateSpec) -> str:
    parts = []
    for site in ("A", "B", "X"):
        m = SITE_MULTIPLICITY[site]
        listed = [f"{s} {_short(m * Fraction(x))}" for s, x in candidate.sites[site].items()]
        parts.append(f"{site} holds {', '.join(listed)}")
    return "; ".join(parts)


def _short(value: Fraction) -> str:
    return f"{float(value):.4g}"


# Reading


def _amount(written: str, where: str) -> Fraction:
    """Return an amount exactly; decimals as site fractions are read (2.667 is 8/3)."""
    if not written:
        return Fraction(1)
    if "/" in written:
        return parse_fraction(written, where=where)
    whole, _, decimals = written.partition(".")
    rest = float(f"0.{decimals or 0}")
    return int(whole or 0) + (parse_fraction(rest, where=where) if rest else Fraction(0))


def _amounts(text: str, where: str) -> dict[str, Fraction]:
    """Return species to amount of a formula with nested brackets and comma lists, in the order written."""
    if re.search(r"[-+][a-zδ]", text):
        raise CompositionError(f"{where}: delta or x must be a number.", mend="write the amounts, as in La0.9CoO2.9")
    text = text.translate(str.maketrans("[]{}", "()()"))
    stack: list[list[tuple[str, Fraction]]] = [[]]
    commas = [0]
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise CompositionError(f"{where}: cannot read it at {text[position : position + 10]!r}.", mend=_MEND)
        word, number = match[1], match[2] or ""
        position = match.end()
        if word == "(":
            if number:
                raise CompositionError(f"{where}: an amount follows its bracket, as in (La,Sr)0.9.")
            stack.append([])
            commas.append(0)
        elif word == ",":
            if len(stack) == 1 or number:
                raise CompositionError(f"{where}: commas list species inside brackets, as in (La,Sr)CoO3.")
            commas[-1] += 1
        elif word == ")":
            if len(stack) == 1:
                raise CompositionError(f"{where}: a bracket is closed that was not opened.")
            inner, n_commas = stack.pop(), commas.pop()
            scale = _amount(number, where)
            if n_commas:
                if len(inner) != n_commas + 1 or any(x != 1 for _, x in inner):
                    raise CompositionError(f"{where}: a list such as (La,Sr) means equal amounts; write (La0.6Sr0.4).")
                scale /= len(inner)
            stack[-1] += [(s, x * scale) for s, x in inner]
        else:
            stack[-1].append((_species(word, where), _amount(number, where)))
    if len(stack) != 1:
        raise CompositionError(f"{where}: a bracket is not closed.")
    amounts: dict[str, Fraction] = {}
    for symbol, amount in stack[0]:
        amounts[symbol] = amounts.get(symbol, Fraction(0)) + amount
    amounts = {s: x for s, x in amounts.items() if x}
    if not amounts:
        raise CompositionError(f"{where}: it is empty.", mend=_MEND)
    return amounts


def _species(word: str, where: str) -> str:
    if word in _VACANCIES:
        return VACANCY
    if not Element.is_valid_symbol(word):
        raise CompositionError(f"{where}: unknown element {word!r}.")
    return word


def _stated_sites(text: str, where: str) -> dict[str, dict[str, Fraction]]:
    sites: dict[str, dict[str, Fraction]] = {}
    for part in text.translate(_SUBSCRIPTS).split():
        site, colon, species = part.partition(":")
        if site not in SITE_MULTIPLICITY or not colon or not species:
            raise CompositionError(f"{where}: cannot read {part!r}.", mend=_MEND)
        if site in sites:
            raise CompositionError(f"{where}: site {site} is given twice.")
        sites[site] = _amounts(species, where)
    sites.setdefault("X", {"O": Fraction(3)})
    for site in ("A", "B"):
        if site not in sites:
            raise CompositionError(f"{where}: site {site} is missing.", mend=_MEND)
        total = sum(sites[site].values(), Fraction(0))
        if total != 1:
            more = "; or write the vacancies, as in Va0.1" if total < 1 and site == "A" else ""
            raise CompositionError(
                f"{where}: site {site}: amounts sum to {_short(total)}, expected 1.", mend=f"correct them{more}"
            )
    sites["X"] = _full_anions(sites["X"], where)
    return sites


def _full_anions(anions: Mapping[str, Fraction], where: str) -> dict[str, Fraction]:
    """Return site fractions of X, what is missing to three per formula unit as vacancies."""
    m = SITE_MULTIPLICITY["X"]
    total = sum(anions.values(), Fraction(0))
    if total > m:
        raise CompositionError(f"{where}: site X: amounts sum to {_short(total)}, expected at most 3 per formula unit.")
    filled = dict(anions)
    if total < m:
        filled[VACANCY] = filled.get(VACANCY, Fraction(0)) + m - total
    return {s: x / m for s, x in filled.items()}


# Splitting


def _best_split(amounts: Mapping[str, Fraction], given: Mapping[str, tuple[int, ...]], where: str) -> _Split:
    anions = {s: x for s, x in amounts.items() if s in _ANIONS}
    cations = {s: x for s, x in amounts.items() if s not in _ANIONS}
    if not anions or not cations:
        raise CompositionError(f"{where}: expected cations and anions ({', '.join(_ANIONS)}).", mend=_MEND)
    if len(cations) > _MAX_CATIONS:
        raise CompositionError(f"{where}: more than {_MAX_CATIONS} cations.", mend=_MEND)
    units = -(-sum(anions.values(), Fraction(0)) // SITE_MULTIPLICITY["X"])
    if sum(anions.values(), Fraction(0)) / units < _LEAST_ANIONS:
        raise CompositionError(f"{where}: it is no ABX3: it has too few anions for its cations.", mend=_MEND)
    X = _full_anions({s: x / units for s, x in anions.items()}, where)
    cations = {s: x / units for s, x in cations.items()}
    vacant = cations.pop(VACANCY, Fraction(0))
    tried: list[dict[str, dict[str, Fraction]]] = []
    splits: list[_Split] = []
    for n in range(1, len(cations)):
        for on_B in combinations(cations, n):
            A = {s: x for s, x in cations.items() if s not in on_B}
            empty = 1 - sum(A.values(), Fraction(0))
            if sum((cations[s] for s in on_B), Fraction(0)) != 1 or empty < 0 or (vacant and vacant != empty):
                continue
            sites = {"A": A | ({VACANCY: empty} if empty else {}), "B": {s: cations[s] for s in on_B}, "X": X}
            tried.append(sites)
            split = _neutral(sites, given)
            splits += [split] if split else []
    if not tried:
        why = "no set of its cations adds up to one on B with at most one left for A"
        raise CompositionError(f"{where}: it is no ABX3 that can be split: {why}.", mend=_MEND)
    if not splits:
        # Nearly all splits have the same charge; the error about one of them says what is amiss.
        balance_charge(tried[0], _states(tried[0], given, wider=[s for s in cations if s in _WIDER]), where=where)
    splits.sort(key=lambda split: -split.radius_A)
    best = splits[0]
    if best.radius_A <= best.radius_B:
        raise CompositionError(
            f"{where}: the ions left for A ({', '.join(best.sites['A'])}, {best.radius_A:.2f} angstrom) are not larger "
            f"than those on B ({', '.join(best.sites['B'])}, {best.radius_B:.2f}).",
            mend=_MEND,
        )
    if len(splits) > 1 and best.radius_A - splits[1].radius_A < _SAME_SIZE:
        both = " or ".join(f"A:{','.join(s.sites['A'])} B:{','.join(s.sites['B'])}" for s in splits[:2])
        raise CompositionError(f"{where}: ambiguous: {both} fit equally well.", mend=_MEND)
    return best


def _neutral(sites: dict[str, dict[str, Fraction]], given: Mapping[str, tuple[int, ...]]) -> _Split | None:
    """Return the split with the most usual oxidation states that make it neutral, or None if none do.

    First all in usual states, then one species in unusual ones, A first (Eu2+ in EuTiO3), then all.
    """
    cations = [s for site in ("A", "B") for s in sites[site] if s in _WIDER and s not in given]
    for wider in ((), *((symbol,) for symbol in cations), cations):
        states = _states(sites, given, wider=wider)
        try:
            charges = balance_charge(sites, states, where="")
        except CompositionError:
            continue
        radius_A, radius_B = (_mean_size(sites[site], charges) for site in ("A", "B"))
        return _Split(sites, states, radius_A, radius_B)
    return None


def _states(
    sites: Mapping[str, Mapping[str, Fraction]], given: Mapping[str, tuple[int, ...]], *, wider: Collection[str]
) -> States:
    states: States = {}
    for site, species in sites.items():
        for symbol in species:
            usual = _ON_SITE.get(site, {}).get(symbol) or DEFAULT_OXIDATION_STATES.get(symbol) or _MORE.get(symbol, ())
            allowed = given.get(symbol) or (_WIDER[symbol] if symbol in wider else usual)
            before = states.get(symbol, ())
            states[symbol] = tuple(sorted({*before, *allowed}))
    return {s: q for s, q in states.items() if q}


def _mean_size(species: Mapping[str, Fraction], charges: Mapping[str, Fraction]) -> float:
    """Return the mean sixfold radius in angstrom; half the atomic radius stands for one that Shannon does not list."""
    ions = {s: float(x) for s, x in species.items() if s != VACANCY}
    return sum(x * _size(s, float(charges[s])) for s, x in ions.items()) / sum(ions.values())


def _size(symbol: str, charge: float) -> float:
    radius = shannon_radius(symbol, charge, 6)
    return radius if radius is not None else float(Element(symbol).atomic_radius or 1.0) * 0.6
