"""Exact site fractions from however a user writes them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from pymatgen.core import Element

from hemiec.errors import CompositionError, did_you_mean

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
        if not isinstance(symbol, str) or not Element.is_valid_symbol(symbol):
            known = [element.symbol for element in Element]
            hint = did_you_mean(symbol.capitalize(), known) if isinstance(symbol, str) and len(symbol) < 3 else ""
            hint = hint if hint.startswith("did") else "expected a chemical symbol such as La."
            raise CompositionError(f"{where}: site {site}: unknown element {symbol!r}; {hint}")
        fraction = parse_fraction(value, where=f"{where}: site {site}: {symbol}")
        if fraction > 0:
            parsed[symbol] = fraction
    total = sum(parsed.values(), Fraction(0))
    if total != 1:
        written = ", ".join(f"{symbol} {fraction}" for symbol, fraction in parsed.items())
        raise CompositionError(
            f"{where}: site {site}: fractions sum to {float(total):g}, expected 1 ({written or 'nothing given'}).",
            mend=f"correct the fractions of site {site}; write thirds and sixths as '1/3', '1/6'",
        )
    return parsed
