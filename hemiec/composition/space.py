"""From a campaign's space to its candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import combinations, product
from typing import Any

from pymatgen.core import Element

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.errors import CompositionError, did_you_mean
from hemiec.schemas.campaign import CampaignSpec, SpaceEntry
from hemiec.schemas.documents import CandidateSpec


def enumerate_candidates(campaign: CampaignSpec, *, where: str) -> list[CandidateSpec]:
    """Return the campaign's candidates in the order of its space, each composition once.

    Raises
    ------
    CompositionError
        If any composition is not possible; the message names the entry.
    """
    states = oxidation_states(campaign, where=where)
    found: dict[str, CandidateSpec] = {}
    for n, entry in enumerate(campaign.space):
        for sites in _expand(entry, where=f"{where}: space[{n}]"):
            candidate = make_candidate(sites, states, where=f"{where}: space[{n}]")
            found.setdefault(candidate.candidate_id, candidate)
    return list(found.values())


def oxidation_states(campaign: CampaignSpec, *, where: str) -> dict[str, tuple[int, ...]]:
    """Return the allowed oxidation states of every species: the campaign's over the defaults, in e."""
    for symbol, states in campaign.oxidation_states.items():
        if not Element.is_valid_symbol(symbol):
            raise CompositionError(f"{where}: oxidation_states: unknown element {symbol!r}.")
        if not states:
            raise CompositionError(f"{where}: oxidation_states: {symbol} has an empty list; give at least one integer.")
    return DEFAULT_OXIDATION_STATES | {s: tuple(q) for s, q in campaign.oxidation_states.items()}


def _expand(entry: SpaceEntry, *, where: str) -> Iterator[dict[str, Mapping[str, object]]]:
    choices = {site: list(_choices(site, getattr(entry, site), where=where)) for site in ("A", "B", "X")}
    for combination in product(*choices.values()):
        yield dict(zip(choices, combination, strict=True))


def _choices(site: str, written: dict[str, Any], *, where: str) -> Iterator[Mapping[str, object]]:
    if "choose" not in written and "from" not in written:
        yield written
        return
    for key in written:
        if key not in ("choose", "from"):
            raise CompositionError(
                f"{where}: site {site}: unknown key {key!r}; {did_you_mean(key, ('choose', 'from'))}"
            )
    number, pool = written.get("choose"), written.get("from")
    if (
        not isinstance(pool, list)
        or isinstance(number, bool)
        or not isinstance(number, int)
        or not 1 <= number <= len(set(map(str, pool)))
    ):
        raise CompositionError(
            f"{where}: site {site}: expected {{choose: n, from: [species, ...]}} with n at most the number of species."
        )
    if not all(isinstance(symbol, str) for symbol in pool):
        raise CompositionError(f"{where}: site {site}: `from` lists something that is not a chemical symbol.")
    if len(set(pool)) != len(pool):
        raise CompositionError(f"{where}: site {site}: a species is listed twice under `from`.")
    for chosen in combinations(pool, number):
        yield dict.fromkeys(chosen, Fraction(1, number))
