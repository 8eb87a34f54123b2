"""Which B ions take the electrons that an oxygen vacancy leaves, and how many they can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf

from hemiec.composition.candidate import exact_sites
from hemiec.schemas.documents import CandidateSpec

#: Valences nearer than this to an integer are the integer; candidates store six digits.
_INTEGER = 1e-5


@dataclass(frozen=True)
class RedoxCouple:
    """The B ions that take a vacancy's electrons.

    ``amount`` of them per formula unit can each take one, and the share ``reduced`` has taken one in the candidate as
    it was computed; ``name`` is as in ``Fe +4/+3``.
    """

    name: str
    amount: float
    reduced: float


def redox_couple(candidate: CandidateSpec, states: Mapping[str, Sequence[int]]) -> RedoxCouple | None:
    """Return the B ions that take the electrons of the next vacancy; None if none can.

    All B species with several allowed states share their charge and go one integer down together, without those that
    cannot go so low. If there are none, species with one state go down that have a lower one in six-fold coordination
    in Shannon's table (doi:10.1107/S0567739476001551), such as Ti+4. The computed energies are those of this step:
    the one below costs more, and how much they do not tell.
    """
    pool = _flexible(candidate, states)
    lowest = {symbol: min(states[symbol]) for symbol in pool}
    charge = sum(x * candidate.oxidation_states[symbol] for symbol, x in pool.items())
    while pool:
        upper = ceil(charge / sum(pool.values()) - _INTEGER)
        full = [symbol for symbol in pool if lowest[symbol] >= upper]
        if not full:
            amount = sum(pool.values())
            return RedoxCouple(_named(pool, upper), amount, max(upper - charge / amount, 0.0))
        for symbol in full:
            charge -= pool.pop(symbol) * lowest[symbol]
    return _hard_couple(candidate, states)


def _hard_couple(candidate: CandidateSpec, states: Mapping[str, Sequence[int]]) -> RedoxCouple | None:
    """Return the couple of B species with one state, by Shannon's table."""
    flexible, taken, names, reduced = _flexible(candidate, states), 0.0, [], 0.0
    for symbol, fraction in exact_sites(candidate)["B"].items():
        valence = candidate.oxidation_states[symbol]
        upper = ceil(valence - _INTEGER)
        if symbol not in flexible and upper > min(_octahedral_states(symbol), default=upper):
            taken += float(fraction)
            reduced += float(fraction) * max(upper - valence, 0.0)
            names.append(_named([symbol], upper))
    return RedoxCouple(", ".join(names), taken, reduced / taken) if taken else None


def _octahedral_states(symbol: str) -> list[int]:
    """Return the oxidation states for which Shannon lists a radius in six-fold coordination, in e."""
    from pymatgen.core import Element

    radii = Element(symbol).data.get("Shannon radii", {})
    return [int(state) for state, by_coordination in radii.items() if "VI" in by_coordination]


def _flexible(candidate: CandidateSpec, states: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the B species with several allowed states, with their amounts per formula unit."""
    sites = exact_sites(candidate)["B"]
    return {s: float(x) for s, x in sites.items() if min(states.get(s, (0,))) < max(states.get(s, (0,)))}


def couple_range(couple: RedoxCouple) -> tuple[float, float]:
    """Return how much oxygen a couple can take up and give off, per formula unit."""
    return couple.reduced * couple.amount / 2, (1 - couple.reduced) * couple.amount / 2


def valence_range(candidate: CandidateSpec, states: Mapping[str, Sequence[int]]) -> tuple[float, float]:
    """Return how much oxygen all allowed valences can take up and give off, per formula unit; without any, no limit."""
    flexible = _flexible(candidate, states)
    if not flexible:
        return inf, inf
    q = candidate.oxidation_states
    up = sum(x * max(max(states[s]) - q[s], 0.0) for s, x in flexible.items())
    down = sum(x * max(q[s] - min(states[s]), 0.0) for s, x in flexible.items())
    return up / 2, down / 2


def _named(symbols: Iterable[str], upper: int) -> str:
    return f"{', '.join(symbols)} {upper:+d}/{upper - 1:+d}"
