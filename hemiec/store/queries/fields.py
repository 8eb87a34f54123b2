"""What can be asked for: the fields of each collection, from the schemas of its documents."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hemiec.composition.descriptors import SITES, UNITS
from hemiec.errors import QueryError, did_you_mean
from hemiec.schemas.documents import CandidateDoc, CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.stored import HopDoc, StructureDoc

Kind = Literal["number", "text", "truth", "date", "texts"]

#: Collection to the schema of its documents.
SCHEMAS: dict[str, type[BaseModel]] = {"candidates": CandidateDoc, "hops": HopDoc, "structures": StructureDoc}
#: Collection to its key, which settles the order of equal values.
KEYS = {"candidates": "candidate_id", "hops": "hop_id", "structures": "structure_id"}
#: Shorter names that people write.
_ALIASES = {
    "barrier": "migration_barrier",
    "barrier.effective": "migration_barrier",
    "gap": "band_gap",
    "formation_energy": "formation_energy_per_atom",
    "formation_enthalpy": "formation_enthalpy_from_oxides_per_atom",
    "e_hull": "energy_above_hull",
    "ehull": "energy_above_hull",
    "hull": "energy_above_hull",
    "interface": "interface_reaction_energy",
    "campaign": "campaigns",
}
#: Parts of a quantity that can be asked for; the value itself goes by the quantity's name.
_PARTS = ("std", "min", "max", "n", "uncorrected", "method", "protocol", "protocol_hash", "calibration", "reason")
_UNIT_1 = re.compile(r"\bunit 1\b")
_IN_UNIT = re.compile(r"\bin (e per formula unit|[A-Za-z]+(?:\^\d)?(?:/[A-Za-z]+(?:\^\d)?)*)(?=[;,.]|$)")


@dataclass(frozen=True)
class Field:
    """A field of a stored document.

    Parameters
    ----------
    name
        In the language.
    path
        In the document.
    kind
        number, text, truth (true or false), date or texts (a list of text).
    unit
        Of a number; "1" if it has none, empty for other kinds.
    description
        From the schema.
    at_least
        Smallest value that the schema allows, in `unit`; None if it allows any.
    """

    name: str
    path: str
    kind: Kind
    unit: str
    description: str
    at_least: float | None = None


@cache
def fields_of(collection: str = "candidates") -> Mapping[str, Field]:
    """Return name to field of a collection, in the order of its schema.

    Raises
    ------
    QueryError
        If the collection is none that can be queried.
    """
    if collection not in SCHEMAS:
        raise QueryError(f"collection {collection[:40]!r} cannot be queried; {did_you_mean(collection[:40], SCHEMAS)}")
    found: dict[str, Field] = {}
    for field in _fields(SCHEMAS[collection], ""):
        # The candidate's own id stands before that of its composition.
        found.setdefault(field.name, field)
    return types.MappingProxyType(found)


def field_named(name: str, collection: str = "candidates") -> Field:
    """Return a field by its name or a shorter one (``gap``, ``barrier.std``).

    Raises
    ------
    QueryError
        If there is none; it says which is nearest.
    """
    known = fields_of(collection)
    plain = name.removesuffix(".value")
    stem, _, part = plain.partition(".")
    for candidate in (plain, _ALIASES.get(plain, ""), f"{_ALIASES.get(stem, stem)}.{part}"):
        if candidate in known:
            return known[candidate]
    aliases = {alias for alias, full in _ALIASES.items() if full in known}
    raise QueryError(f"query: unknown field {name[:60]!r} of {collection}; {_nearest(plain, {*known, *aliases})}")


def _nearest(name: str, known: set[str]) -> str:
    hint = did_you_mean(name[:60], known)
    return hint if hint.startswith("did you mean") else "`hemiec query --list-fields` lists them."


def species_field(site: str) -> Field:
    """Return the number of species on a sublattice (A, B or X) of a candidate."""
    return Field(f"n_species.{site}", f"n_species.{site}", "number", "1", f"Species on {site}; no vacancies.", 0.0)


def _fields(model: type[BaseModel], prefix: str) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        annotation = _without_none(info.annotation)
        if annotation is Quantity:
            yield from _quantity(name, info)
        elif annotation is CandidateSpec:
            yield from _fields(CandidateSpec, f"{name}.")
        elif name == "n_species":
            yield from map(species_field, SITES)
        else:
            field = _plain(f"{prefix}{name}", name, info)
            if field is not None:
                yield field


def _quantity(name: str, info: FieldInfo) -> Iterator[Field]:
    about = info.description or ""
    unit = _unit(info)
    yield Field(name, f"{name}.value", "number", unit, about)
    for part in _PARTS:
        inner = Quantity.model_fields[part]
        field = _plain(f"{name}.{part}", f"{name}.{part}", inner)
        assert field is not None
        own = field.unit if part == "n" else unit
        yield replace(field, unit=own if field.kind == "number" else "", description=f"{name}: {field.description}")


def _plain(path: str, name: str, info: FieldInfo) -> Field | None:
    kind = _kind(_without_none(info.annotation))
    if kind is None:
        return None
    unit = (UNITS.get(name) or _unit(info)) if kind == "number" else ""
    limits = [
        float(limit.ge if isinstance(limit, Ge) else limit.gt)  # type: ignore[arg-type]
        for limit in info.metadata
        if isinstance(limit, Ge | Gt)
    ]
    return Field(name, path, kind, unit, info.description or "", max(limits, default=None))


def _unit(info: FieldInfo) -> str:
    about = info.description or ""
    if _UNIT_1.search(about):
        return "1"
    found = _IN_UNIT.search(about)
    return found.group(1) if found else "1"


def _without_none(annotation: Any) -> Any:
    """Return the type of a field that may be null."""
    if get_origin(annotation) in (Union, types.UnionType):
        others = [choice for choice in get_args(annotation) if choice is not type(None)]
        return others[0] if len(others) == 1 else annotation
    return annotation


def _kind(annotation: Any) -> Kind | None:
    if get_origin(annotation) is Literal:
        return "text"
    kinds: dict[Any, Kind] = {
        bool: "truth", int: "number", float: "number", str: "text", datetime: "date", list[str]: "texts"
    }  # fmt: skip
    return kinds.get(annotation)
