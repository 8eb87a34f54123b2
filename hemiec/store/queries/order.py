"""Orders that documents can be listed in, each with an index, and what comes after a document in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import ExecutionTimeout

from hemiec.errors import QueryError, StoreError, did_you_mean
from hemiec.store.database import Document, store_errors
from hemiec.store.layout.indexes import INDEXES
from hemiec.store.queries.arithmetic import Filter
from hemiec.store.queries.cursor import Position
from hemiec.store.queries.fields import KEYS, Field, field_named, fields_of

#: What is sorted by if nothing else is asked for.
DEFAULT_SORT = {"candidates": "migration_barrier", "hops": "forward_barrier", "structures": "structure_id"}
_SLOW = "add a condition that few documents fulfil on a field that can be sorted by, has(Element) or a chemsys"


def sort_fields(collection: str = "candidates") -> tuple[str, ...]:
    """Return the names of the fields that a collection can be sorted by: those with an index."""
    key = KEYS[collection]
    paths = {
        index.fields[0]
        for index in INDEXES[collection]
        if (not index.only and index.fields[1:2] == (key,)) or index.fields == (key,)
    }
    return tuple(name for name, field in fields_of(collection).items() if field.path in paths)


def sort_field(name: str, collection: str = "candidates") -> Field:
    """Return a field to sort by.

    Raises
    ------
    QueryError
        If there is none of that name, or it has no index.
    """
    field = field_named(name, collection)
    sortable = sort_fields(collection)
    if field.name not in sortable:
        raise QueryError(f"query: {collection} are not sorted by {field.name}; {did_you_mean(field.name, sortable)}")
    return field


def chosen_fields(names: Sequence[str], collection: str = "candidates") -> dict[str, Field]:
    """Return name to field for the fields that a user lists, the collection's key first.

    Raises
    ------
    QueryError
        If one is unknown.
    """
    key = KEYS[collection]
    return {key: fields_of(collection)[key]} | {name: field_named(name, collection) for name in names}


def flat(document: Document, fields: Mapping[str, Field]) -> Document:
    """Return name to value of some fields of a document; None where it has none."""
    return {name: value_of(document, field) for name, field in fields.items()}


def value_of(document: Document, field: Field) -> Any:
    """Return a field's value in a document; None if it has none."""
    value: Any = document
    for part in field.path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def mongo_order(order: Field, key: str, descending: bool) -> list[tuple[str, int]]:
    """Return the order as MongoDB takes it: by a field, equal values by the collection's key."""
    way = DESCENDING if descending else ASCENDING
    return [(path, way) for path in dict.fromkeys((order.path, key))]


def segments(order: Field, key: str, descending: bool, position: Position | None) -> Iterator[Filter]:
    """Yield filters of what comes after a position, in its order; each is one range of the sort key's index."""
    beyond = "$lt" if descending else "$gt"
    if order.path == key:
        yield {} if position is None else {key: {beyond: position.key}}
        return
    if position is not None and position.value is None:
        yield {order.path: None, key: {beyond: position.key}}
        return
    if position is None:
        # Any value there is: those of other types, and null, are not compared with.
        yield {order.path: {"$gte": float("-inf") if order.kind == "number" else ""}}
    else:
        yield {order.path: position.value, key: {beyond: position.key}}
        yield {order.path: {beyond: position.value}}
    yield {order.path: None}


@contextmanager
def in_time(max_time_ms: int) -> Iterator[None]:
    """Turn pymongo's errors, running out of time among them, into a StoreError."""
    with store_errors():
        try:
            yield
        except ExecutionTimeout as error:
            raise StoreError(
                f"query: nothing found within {max_time_ms / 1000:g} s, as no index fits it.", mend=_SLOW
            ) from error
