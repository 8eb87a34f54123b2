"""Pages of what a query finds, in a stable order, each as fast as the first.

A page starts where the one before ended (keyset paging), so nothing is skipped over or counted twice while documents
come and go. Equal values are in the order of the collection's key; documents without a value of the sort key come last,
whichever way is sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import ExecutionTimeout, OperationFailure

from hemiec.errors import QueryError
from hemiec.store.database import Database, Document
from hemiec.store.queries.arithmetic import Filter
from hemiec.store.queries.cursor import Position, decode, encode
from hemiec.store.queries.fields import KEYS, Field
from hemiec.store.queries.language import compile, parse
from hemiec.store.queries.order import (
    DEFAULT_SORT,
    chosen_fields,
    flat,
    in_time,
    mongo_order,
    segments,
    sort_field,
    sort_fields,
    value_of,
)
from hemiec.store.queries.plan import Plan, choose_plan

__all__ = ["COUNT_CAP", "MAX_LIMIT", "Page", "read_page", "sort_fields"]

#: More matches than this are not counted.
COUNT_CAP = 10_001
#: Longest time that MongoDB may take for a page, in ms.
MAX_TIME_MS = 10_000
#: Longest time that it may take to count: a page does not wait longer for its count.
_COUNT_TIME_MS = 50
MAX_LIMIT = 1_000
_BAD_VALUE = 2


@dataclass(frozen=True)
class Page:
    """A page of documents.

    Parameters
    ----------
    documents
        Documents as they are stored, without `_id`; where fields were asked for, name to value.
    next
        Cursor of the next page; None on the last one.
    count
        How many documents match in all, at least: see `count_capped`.
    count_capped
        Whether there may be more than `count`, as no more are counted.
    """

    documents: list[Document]
    next: str | None
    count: int
    count_capped: bool


@dataclass(frozen=True)
class Listing:
    """A query with an order.

    Parameters
    ----------
    collection
        candidates, hops or structures.
    matches
        Filter of the query.
    order
        Field that is sorted by.
    descending
        Whether large values come first.
    query
        What a cursor belongs to.
    """

    collection: str
    matches: Filter
    order: Field
    descending: bool
    query: tuple[str, str, str, bool]

    @classmethod
    def of(cls, where: str, collection: str, sort: str | None, descending: bool) -> Listing:
        """Return the listing of what a user asks for.

        Raises
        ------
        QueryError
            If the query or the order is wrong.
        """
        matches = compile(parse(where), collection)
        order = sort_field(sort or DEFAULT_SORT[collection], collection)
        return cls(collection, matches, order, descending, (collection, where.strip(), order.name, descending))

    @property
    def key(self) -> str:
        """Key of the collection, which equal values are in the order of."""
        return KEYS[self.collection]

    def position(self, document: Document) -> Position:
        """Return where a document stands in the order."""
        return Position(value_of(document, self.order), document[self.key])

    def finds(self, plan: Plan, position: Position | None) -> Iterator[dict[str, Any]]:
        """Yield how to find what comes after a position: one range of the order after the other."""
        for segment in segments(self.order, self.key, self.descending, position):
            yield {
                "filter": {"$and": [plan.matches, segment]} if plan.matches else segment,
                "sort": mongo_order(self.order, self.key, self.descending),
                "hint": plan.hint,
            }


def read_page(
    database: Database,
    *,
    collection: str = "candidates",
    where: str = "",
    sort: str | None = None,
    descending: bool = False,
    limit: int = 100,
    after: str | None = None,
    fields: Sequence[str] | None = None,
    without: Sequence[str] = (),
    counted: bool = True,
    max_time_ms: int = MAX_TIME_MS,
) -> Page:
    """Return a page of the documents that a query finds.

    Parameters
    ----------
    database
        The store.
    collection
        candidates, hops or structures.
    where
        The query; default all.
    sort
        Name of a field with an index (:func:`sort_fields`); default that of :data:`DEFAULT_SORT`.
    descending
        Whether large values come first.
    limit
        Length of the page, at most 1,000.
    after
        `next` of the page before, of the same query and order.
    fields
        Names of the fields to return, beside the collection's key; default whole documents.
    without
        Keys to leave out of whole documents; they must not come from outside.
    counted
        Whether matches are counted; else `count` is only that of this page.
    max_time_ms
        Longest time for MongoDB, in ms.

    Raises
    ------
    QueryError
        If the query, a name, the limit or the cursor is wrong.
    StoreError
        If it takes too long, or the database cannot be reached.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(f"query: the limit has to be 1 to {MAX_LIMIT}, not {limit}.", mend="go on with the next page")
    listing = Listing.of(where, collection, sort, descending)
    wanted = None if fields is None else chosen_fields(fields, collection)
    position = None if after is None else decode(after, listing.query)
    options = {"projection": _projection(wanted, listing, without), "max_time_ms": max_time_ms}
    with in_time(max_time_ms):
        try:
            plan = choose_plan(database[collection], listing.matches, listing.order)
            found = _found(database[collection], listing.finds(plan, position), options, limit + 1)
        except OperationFailure as error:
            if error.code != _BAD_VALUE or "hint" not in str(error):
                raise
            # An earlier hemiec prepared the database, and this user may only read it: MongoDB has to choose.
            plan = Plan(listing.matches, None)
            found = _found(database[collection], listing.finds(plan, position), options, limit + 1)
        shown, more = found[:limit], len(found) > limit
        count, capped = len(shown), more or after is not None
        if capped and counted:
            count, capped = _count(database[collection], plan, at_least=len(found))
    return Page(
        documents=shown if wanted is None else [flat(document, wanted) for document in shown],
        next=encode(listing.position(shown[-1]), listing.query) if more else None,
        count=count,
        count_capped=capped,
    )


def _found(
    collection: Collection[Document], finds: Iterable[dict[str, Any]], options: dict[str, Any], limit: int
) -> list[Document]:
    found: list[Document] = []
    for find in finds:
        found += collection.find(**find, **options, limit=limit - len(found), batch_size=limit)
        if len(found) == limit:
            break
    return found


def _projection(wanted: Mapping[str, Field] | None, listing: Listing, without: Sequence[str]) -> Document:
    if wanted is None:
        return {"_id": 0, **dict.fromkeys(without, 0)}
    return {"_id": 0, listing.key: 1, listing.order.path: 1, **{field.path: 1 for field in wanted.values()}}


def _count(collection: Collection[Document], plan: Plan, at_least: int) -> tuple[int, bool]:
    """Return how many documents match, and whether there may be more."""
    hint: dict[str, Any] = {} if plan.hint is None else {"hint": plan.hint}
    try:
        count = collection.count_documents(plan.matches, limit=COUNT_CAP, maxTimeMS=_COUNT_TIME_MS, **hint)
    except ExecutionTimeout:
        return at_least, True
    return count, count == COUNT_CAP
