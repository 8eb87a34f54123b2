"""Charge balance of a composition with stated oxidation states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from hemiec.composition.fractions import VACANCY
from hemiec.errors import CompositionError

SITE_MULTIPLICITY: dict[str, int] = {"A": 1, "B": 1, "X": 3}

#: Oxidation states used when a campaign states none: those common in perovskite oxides and halides
#: (Shannon, doi:10.1107/S0567739476001551, lists radii for each).
DEFAULT_OXIDATION_STATES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs", "Ag"), (1,)),
    **dict.fromkeys(("Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Pb"), (2,)),
    **dict.fromkeys(("Sc", "Y", "La", "Pr", "Nd", "Sm", "Gd", "Dy", "Ho", "Er", "Yb", "Lu"), (3,)),
    **dict.fromkeys(("Al", "Ga", "In", "Bi", "Sb"), (3,)),
    **dict.fromkeys(("Ti", "Zr", "Hf", "Sn", "Ge", "Si", "Ce"), (4,)),
    **dict.fromkeys(("Nb", "Ta"), (5,)),
    "W": (6,),
    "V": (3, 5),
    "Cr": (3, 4),
    "Mo": (4, 6),
    "Mn": (2, 4),
    "Fe": (2, 4),
    "Co": (2, 4),
    "Ni": (2, 4),
    "Cu": (1, 3),
    "O": (-2,),
    "S": (-2,),
    "F": (-1,),
    "Cl": (-1,),
    "Br": (-1,),
    "I": (-1,),
}


#: Valence at which a species with several allowed states is held when delta is solved for, if the campaign states
#: none: that of the transition metals in LaBO3, and Cu2+. Others (Mo, Ce with two states, ...) must be stated.
FIXED_VALENCE: dict[str, int] = {**dict.fromkeys(("V", "Cr", "Mn", "Fe", "Co", "Ni"), 3), "Cu": 2}


def states_of(symbol: str, allowed: Mapping[str, tuple[int, ...]], *, where: str) -> tuple[int, ...]:
    """Return the allowed oxidation states of a species, in e.

    Raises
    ------
    CompositionError
        If none is stated.
    """
    states = allowed.get(symbol)
    if not states:
        raise CompositionError(
            f"{where}: no oxidation state is stated for {symbol}.",
            mend=f"add it to the campaign, as in `oxidation_states: {{{symbol}: 3}}`",
        )
    return states


def fixed_valences(
    species: Iterable[str], allowed: Mapping[str, tuple[int, ...]], stated: Mapping[str, int], *, where: str
) -> dict[str, tuple[int, ...]]:
    """Return the one oxidation state at which each species is held while delta is solved for, in e.

    The stated one; else the only allowed one; else that of :data:`FIXED_VALENCE`, if it lies in the allowed range.

    Raises
    ------
    CompositionError
        If a species has several allowed states and none of them is stated or usual.
    """
    fixed = {}
    for symbol in species:
        states = states_of(symbol, allowed, where=where)
        if symbol in stated:
            fixed[symbol] = stated[symbol]
        elif min(states) == max(states):
            fixed[symbol] = states[0]
        elif symbol in FIXED_VALENCE and min(states) <= FIXED_VALENCE[symbol] <= max(states):
            fixed[symbol] = FIXED_VALENCE[symbol]
        else:
            raise CompositionError(
                f"{where}: delta is solved for at fixed valences, and {symbol} may have "
                f"{', '.join(f'{q:+d}' for q in states)}.",
                mend=f"state one, as in `charge: {{solve: delta, valence: {{{symbol}: {states[-1]}}}}}`",
            )
    return {symbol: (state,) for symbol, state in fixed.items()}


def balance_charge(
    sites: Mapping[str, Mapping[str, Fraction]],
    allowed: Mapping[str, tuple[int, ...]],
    *,
    where: str,
) -> dict[str, Fraction]:
    """Return the mean oxidation state of each species that makes ABX3 neutral.

    Vacancies carry none. Species with one allowed state keep it. Species with several may take any mean between their
    lowest and highest state; all of them are moved by the same share of their range, which is the
    only choice that does not prefer one species over another.

    Parameters
    ----------
    sites
        Sublattice to species to fraction.
    allowed
        Species to allowed formal oxidation states, in e.
    where
        Composition the message is about.

    Raises
    ------
    CompositionError
        If a species has no stated oxidation state or no combination is neutral.
    """
    lowest = highest = Fraction(0)
    amounts: dict[str, Fraction] = {}
    for site, species in sites.items():
        for symbol, fraction in species.items():
            if symbol == VACANCY:
                continue
            amounts[symbol] = amounts.get(symbol, Fraction(0)) + fraction * SITE_MULTIPLICITY[site]
    for symbol, amount in amounts.items():
        states = states_of(symbol, allowed, where=where)
        lowest += amount * min(states)
        highest += amount * max(states)
    if not lowest <= 0 <= highest:
        stated = ", ".join(f"{s} {'/'.join(f'{q:+d}' for q in allowed[s])}" for s in amounts)
        span = f"{float(lowest):+g}" if lowest == highest else f"{float(lowest):+g} to {float(highest):+g}"
        raise CompositionError(
            f"{where}: cannot be charge-balanced: with {stated} the formula unit has charge {span} e, expected 0.",
            mend="change the composition, allow other states under `oxidation_states`, or leave such compositions out "
            "with `charge: {unbalanced: drop}`",
        )
    share = Fraction(0) if highest == lowest else -lowest / (highest - lowest)
    return {s: min(allowed[s]) + share * (max(allowed[s]) - min(allowed[s])) for s in amounts}
