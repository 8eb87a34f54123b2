"""Exact site fractions from however a user writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from pymatgen.core import Element

from hemiec.errors import CompositionError, did_you_mean

#: The pseudo-species of an empty site: charge 0, no radius, no mass; allowed on A and X.
VACANCY = "vacancy"
#: A decimal this close to a fraction with a small denominator is meant to be that fraction (0.333 is 1/3).
DECIMAL_TOLERANCE = 1e-3
MAX_DENOMINATOR = 24


def parse_fraction(value: object, *, where: str = "composition") -> Fraction:
    """Return ``value`` (``'1/5'``, ``0.2``, ``'0.2'``, ``1``) as an exact fraction.

    Decimals are rounded to the fraction with the smallest denominator (at most 24) within
    0.001; other decimals are kept to four digits.

    Parameters
    ----------
    value
        What the user wrote.
    where
        What the fraction belongs to, for messages.

    Raises
    ------
    CompositionError
        If it is not a number or is negative.
    """
    wrong = f"{where}: fraction {str(value)[:40]!r}: expected a number such as 0.2 or '1/5'."
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise CompositionError(wrong)
    written = str(value).strip()
    try:
        # Through float, so that an absurd exponent is no integer with millions of digits.
        exact = Fraction(written) if "/" in written else Fraction(repr(float(written)))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise CompositionError(wrong) from error
    if exact < 0:
        raise CompositionError(f"{where}: fraction {value!r} is negative.")
    if "/" in written:
        return exact
    for denominator in range(1, MAX_DENOMINATOR + 1):
        near = Fraction(round(exact * denominator), denominator)
        if abs(near - exact) < DECIMAL_TOLERANCE and near > 0:
            return near
    return Fraction(round(exact * 10_000), 10_000)


def parse_site(site: str, species: Mapping[str, object], *, where: str) -> dict[str, Fraction]:
    """Return the species of one sublattice with exact fractions that sum to one.

    Parameters
    ----------
    site
        Name of the sublattice, for messages.
    species
        Species symbol to fraction, in any notation :func:`parse_fraction` reads.
    where
        Composition or file the site belongs to, for messages.

    Raises
    ------
    CompositionError
        If a species is not an element or the fractions do not sum to one.
    """
    parsed: dict[str, Fraction] = {}
    for symbol, value in species.items():
        check_species(site, symbol, where=where)
        fraction = parse_fraction(value, where=f"{where}: site {site}: {symbol}")
        if fraction > 0:
            parsed[symbol] = fraction
    check_sum(site, parsed, where=where)
    return parsed


def check_species(site: str, symbol: object, *, where: str, keys: Iterable[str] = ()) -> None:
    """Raise CompositionError unless ``symbol`` is an element, or a vacancy on A or X.

    ``keys`` are words that are allowed beside species, for the hint on a misspelt one.
    """
    if symbol == VACANCY:
        if site == "B":
            raise CompositionError(
                f"{where}: site B: vacancies are not allowed on B, which carries the octahedra.",
                mend="put them on A or X",
            )
        return
    if isinstance(symbol, str) and Element.is_valid_symbol(symbol):
        return
    if isinstance(symbol, str) and symbol.lower() in ("va", "vac", "x_va", "vacancies"):
        hint = f"did you mean {VACANCY!r}?"
    elif isinstance(symbol, str) and len(symbol) < 3:
        hint = did_you_mean(symbol.capitalize(), [element.symbol for element in Element])
        hint = hint if hint.startswith("did") else "expected a chemical symbol such as La."
    else:
        hint = "expected a chemical symbol such as La."
        near = did_you_mean(str(symbol), [*keys, VACANCY])
        if near.startswith("did"):
            if near[14:-2] in keys:
                raise CompositionError(f"{where}: site {site}: unknown key {symbol!r}; {near}")
            hint = near
    raise CompositionError(f"{where}: site {site}: unknown element {symbol!r}; {hint}")


def check_sum(site: str, species: Mapping[str, Fraction], *, where: str, at: str = "") -> None:
    """Raise CompositionError unless the fractions sum to one and at least one ion is there."""
    total = sum(species.values(), Fraction(0))
    if total != 1:
        written = ", ".join(f"{symbol} {fraction}" for symbol, fraction in species.items())
        raise CompositionError(
            f"{where}: site {site}: fractions sum to {float(total):g}{at}, expected 1 ({written or 'nothing given'}).",
            mend=f"correct the fractions of site {site}; write thirds and sixths as '1/3', '1/6'",
        )
    if set(species) == {VACANCY}:
        raise CompositionError(f"{where}: site {site} holds only vacancies{at}; expected at least one ion.")
