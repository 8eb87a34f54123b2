"""The provider fields of OPTIMADE entries, ``_hemiec_...``, from the schemas of candidates and structures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from hemiec.schemas.documents import PROPERTIES
from hemiec.store.queries.fields import Field, fields_of

PREFIX = "_hemiec_"
#: Which document a field is read from; `result` is the candidate for disordered entries, else the result of the plan.
Source = Literal["entry", "candidate", "result", "structure"]

#: Units of the schemas in the Unified Code for Units of Measure, as OPTIMADE wants them. Entropies in units of R are
#: numbers.
_UCUM = {
    "1": "1",
    "e": "[e]",
    "e per formula unit": "[e]",
    "e^2": "[e]2",
    "eV": "eV",
    "eV/atom": "eV/{atom}",
    "eV/angstrom": "eV/Ao",
    "angstrom": "Ao",
    "angstrom^2": "Ao2",
    "angstrom^3": "Ao3",
    "g/mol": "g/mol",
    "g/cm^3": "g/cm3",
    "R per formula unit": "1",
    "R per atom": "1",
    "USD/kg": "{USD}/kg",
}
#: Keys of numbers that are whole.
_INTEGERS = {"n", "n_species", "member", "seed"}
_NOT_IN_NAMES = re.compile("[^a-z0-9]+")
_TYPES = {"number": "float", "text": "string", "texts": "list"}
#: Said by OPTIMADE's own fields, of no use outside the store, or (campaigns) changed there without building anew.
_LEFT_OUT = {
    *("formula", "elements", "chemsys", "nelements", "nsites", "formula_pretty", "formula_anonymous", "structure_id"),
    *("schema_version", "builder_version", "input_hash", "last_updated", "campaigns"),
}
#: Parts of a quantity that entries have, beside its value and interval.
_PARTS = ("std", "n", "method", "protocol", "protocol_hash", "reason")


@dataclass(frozen=True)
class ProviderField:
    """A field of an entry that OPTIMADE does not define.

    Parameters
    ----------
    name
        With the prefix.
    description
        From the schema.
    unit
        In the Unified Code for Units of Measure; None if it is not a number.
    type
        OPTIMADE's: float, integer, string or list.
    source
        Which document it is read from.
    path
        Keys that lead to it there; an integer is a place in a list.
    """

    name: str
    description: str
    unit: str | None
    type: str
    source: Source
    path: tuple[str | int, ...]


@cache
def provider_fields() -> tuple[ProviderField, ...]:
    """Return the provider fields of structure entries, in the order of the schemas."""
    found: dict[str, ProviderField] = {}
    for field in (*_own(), *_of_candidates(), *_of_structures()):
        found.setdefault(field.name, field)
    return tuple(found.values())


def _own() -> Iterator[ProviderField]:
    about = {
        "kind": "sqs: a special quasirandom structure of a candidate; disordered: the candidate itself, as site "
        "fractions on the five sites of the cubic perovskite cell.",
        "geometry": "relaxed: the relaxed cell. ideal: the cell on ideal cubic sites, as it has not been relaxed. "
        "relaxed_volume: cubic cell with the mean volume per formula unit of the relaxed structures. ionic_radii: "
        "cubic cell with a lattice parameter estimated from Shannon radii.",
    }
    for name, description in about.items():
        yield ProviderField(f"{PREFIX}{name}", description, None, "string", "entry", (name,))


def _of_candidates() -> Iterator[ProviderField]:
    known = fields_of("candidates")
    for field in known.values():
        stem, _, part = field.name.partition(".")
        if stem in PROPERTIES:
            if part in ("", *_PARTS):
                yield _field(field, "result")
            if part == "std":
                yield from _interval(known[stem])
        else:
            yield from _kept(field, "candidate")


def _of_structures() -> Iterator[ProviderField]:
    taken = {field.name for field in fields_of("candidates").values()}
    for field in fields_of("structures").values():
        clashes = field.name in taken and field.name not in ("candidate_id", "label")
        yield from _kept(field, "structure", "cell_" if clashes else "")


def _kept(field: Field, source: Source, prefix: str = "") -> Iterator[ProviderField]:
    # The library's filters know no truth values.
    if field.name not in _LEFT_OUT and field.kind in _TYPES:
        yield _field(field, source, prefix)


def _field(field: Field, source: Source, prefix: str = "") -> ProviderField:
    # OPTIMADE's names are in lower case, without points and parentheses.
    name = PREFIX + prefix + _NOT_IN_NAMES.sub("_", field.name.lower()).strip("_")
    number = field.kind == "number"
    kind = "integer" if number and set(field.path.split(".")) & _INTEGERS else _TYPES[field.kind]
    about = field.description
    if source == "result" and not field.name.partition(".")[2]:
        about += " Of an sqs entry: of its own cell and protocols."
    return ProviderField(name, about, _ucum(field) if number else None, kind, source, _path(field))


def _interval(field: Field) -> Iterator[ProviderField]:
    for place, end in enumerate(("low", "high")):
        about = f"{field.name}: {end} end of the 90 % interval."
        path = (field.name, "interval", place)
        yield ProviderField(f"{PREFIX}{field.name}_interval_{end}", about, _ucum(field), "float", "result", path)


def _ucum(field: Field) -> str:
    # An unknown unit is an annotation in braces, which any unit may be.
    return _UCUM.get(field.unit, f"{{{field.unit.replace(' ', '_')}}}")


def _path(field: Field) -> tuple[str | int, ...]:
    return tuple(field.path.split("."))
