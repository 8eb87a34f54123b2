"""Charge balance of a composition with stated oxidation states."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

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


def balance_charge(
    sites: Mapping[str, Mapping[str, Fraction]],
    allowed: Mapping[str, tuple[int, ...]],
    *,
    where: str,
) -> dict[str, Fraction]:
    """Return the mean oxidation state of each species that makes ABX3 neutral.

    Species with one allowed state keep it. Species with several may take any mean between their
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
            amounts[symbol] = amounts.get(symbol, Fraction(0)) + fraction * SITE_MULTIPLICITY[site]
    for symbol, amount in amounts.items():
        states = allowed.get(symbol)
        if not states:
            raise CompositionError(
                f"{where}: no oxidation state is stated for {symbol}.",
                mend=f"add it to the campaign, as in `oxidation_states: {{{symbol}: 3}}`",
            )
        lowest += amount * min(states)
        highest += amount * max(states)
    if not lowest <= 0 <= highest:
        stated = ", ".join(f"{s} {'/'.join(f'{q:+d}' for q in allowed[s])}" for s in amounts)
        span = f"{float(lowest):+g}" if lowest == highest else f"{float(lowest):+g} to {float(highest):+g}"
        raise CompositionError(
            f"{where}: cannot be charge-balanced: with {stated} the formula unit has charge {span} e, expected 0.",
            mend="change the composition, or allow other states under `oxidation_states`",
        )
    share = Fraction(0) if highest == lowest else -lowest / (highest - lowest)
    return {s: min(allowed[s]) + share * (max(allowed[s]) - min(allowed[s])) for s in amounts}
