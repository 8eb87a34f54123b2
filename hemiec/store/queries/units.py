"""Numbers in one unit, written in another: meV for eV, kJ/mol for eV per ion."""

from __future__ import annotations

import re
from fractions import Fraction

from hemiec.errors import QueryError, did_you_mean

#: As people write them, to the names that pymatgen knows.
_SPELLINGS = {"angstrom": "ang", "Å": "ang", "A": "ang", "atoms": "atom", "kcal": "kCal", "ion": "atom"}
_PART = re.compile(r"([A-Za-zÅµ]+)(?:\^(\d))?")


def converted(value: Fraction, unit: str, wanted: str, what: str) -> Fraction:
    """Return a number in another unit of the same dimension.

    An energy per mole is per mole of the ions or atoms that the field counts: 50 kJ/mol is 0.518 eV for a barrier and
    0.518 eV/atom for an energy per atom. eV and eV/atom are different dimensions.

    Parameters
    ----------
    value
        The number, in `unit`.
    unit
        As written, such as meV/atom.
    wanted
        Unit of the field.
    what
        Name of the field, for errors.

    Raises
    ------
    QueryError
        If the unit is unknown or of another dimension.
    """
    # "e per formula unit" is written e, and R per atom R.
    wanted = wanted.partition(" ")[0]
    if unit == wanted:
        return value
    ours, theirs = _parsed(wanted), _parsed(unit)
    if theirs is None:
        raise QueryError(f"query: unknown unit {unit[:30]!r}; {_nearest(unit)}")
    if ours is None or ours[0] != theirs[0]:
        per_mole = ours is not None and "mol" in re.split(r"\W", unit) and wanted == "eV"
        as_per_atom = _parsed(f"{wanted}/atom") if per_mole else None
        if as_per_atom is None or as_per_atom[0] != theirs[0]:
            plain = "has no unit" if wanted == "1" else f"is in {wanted}"
            raise QueryError(f"query: {what} {plain}, which {unit[:30]!r} cannot be converted to.")
        ours = as_per_atom
    assert ours is not None
    return value * Fraction(theirs[1]) / Fraction(ours[1])


def _parsed(unit: str) -> tuple[dict[str, int], float] | None:
    """Return the SI base units and the factor to them; None for a unit that pymatgen does not know, such as R."""
    from pymatgen.core.units import Unit

    powers: dict[str, int] = {}
    for k, part in enumerate(unit.split("/")):
        found = _PART.fullmatch(part)
        if found is None:
            return None
        name = _SPELLINGS.get(found.group(1), found.group(1))
        if name not in _known():
            return None
        powers[name] = powers.get(name, 0) + (1 if k == 0 else -1) * int(found.group(2) or 1)
    base, factor = Unit(powers).as_base_units
    return {name: int(power) for name, power in base.items() if power}, float(factor)


def _known() -> tuple[str, ...]:
    from pymatgen.core import units

    return tuple(units.SUPPORTED_UNIT_NAMES)


def _nearest(unit: str) -> str:
    for part in unit.split("/"):
        name = part.partition("^")[0]
        if _SPELLINGS.get(name, name) not in _known():
            hint = did_you_mean(name, {*_known(), *_SPELLINGS})
            return hint if hint.startswith("did you mean") else "write it like meV, eV/atom, kJ/mol or angstrom."
    return "write it like meV, eV/atom, kJ/mol or angstrom."
