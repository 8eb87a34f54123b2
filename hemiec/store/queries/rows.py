"""All that a query finds, one after the other, in constant memory however much it is: for files and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hemiec.store.database import Database, Document
from hemiec.store.queries.arithmetic import Filter
from hemiec.store.queries.fields import KEYS, Field
from hemiec.store.queries.language import compile, parse
from hemiec.store.queries.order import in_time, mongo_order, segments, sort_field

#: Longest time that MongoDB may take for all of them, in ms.
MAX_TIME_MS = 600_000
BATCH = 2_000


@dataclass(frozen=True)
class Query:
    """What is asked for.

    Parameters
    ----------
    where
        The query; default all.
    collection
        candidates, hops or structures.
    sort
        Name of a field with an index; default the order in which documents were stored.
    descending
        Whether large values come first.
    limit
        How many at most; default all.
    """

    where: str = ""
    collection: str = "candidates"
    sort: str | None = None
    descending: bool = False
    limit: int | None = None

    def filter(self) -> Filter:
        """Return the filter of MongoDB.

        Raises
        ------
        QueryError
            If the query cannot be read or names what there is not.
        """
        return compile(parse(self.where), self.collection)

    def stages(self) -> Iterator[list[Document]]:
        """Yield aggregation stages that find one part of the documents after the other, in order; limits left out.

        Raises
        ------
        QueryError
            If the query is wrong, or there is no such order.
        """
        matches = self.filter()
        if self.sort is None:
            yield [{"$match": matches}]
            return
        order, key = sort_field(self.sort, self.collection), KEYS[self.collection]
        by = dict(mongo_order(order, key, self.descending))
        for segment in segments(order, key, self.descending, None):
            yield [{"$match": {"$and": [matches, segment]} if matches else segment}, {"$sort": by}]


def read_rows(database: Database, query: Query, fields: Sequence[Field]) -> Iterator[list[list[Any]]]:
    """Yield batches of rows, each with the values of some fields in their order; None where there is none.

    Raises
    ------
    QueryError
        If the query is wrong.
    StoreError
        If it takes too long, or the database cannot be reached.
    """
    # MongoDB takes the values out of their documents, several times faster than Python would.
    row = {"$project": {"_id": 0, "row": [f"${field.path}" for field in fields]}}
    batch: list[list[Any]] = []
    for document in _found(database, query, row):
        batch.append(document["row"])
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def read_documents(database: Database, query: Query, paths: Sequence[str] | None = None) -> Iterator[Document]:
    """Yield whole documents, or only what lies at some paths.

    Raises
    ------
    QueryError
        If the query is wrong.
    StoreError
        If it takes too long, or the database cannot be reached.
    """
    projection = {"_id": 0} if paths is None else {"_id": 0, **dict.fromkeys(paths, 1)}
    return _found(database, query, {"$project": projection})


def _found(database: Database, query: Query, last: Document) -> Iterator[Document]:
    left = query.limit
    with in_time(MAX_TIME_MS):
        for stages in query.stages():
            if left == 0:
                return
            limit = [] if left is None else [{"$limit": left}]
            found = database[query.collection].aggregate(
                [*stages, *limit, last], maxTimeMS=MAX_TIME_MS, batchSize=BATCH, allowDiskUse=True
            )
            with found:
                for document in found:
                    left = None if left is None else left - 1
                    yield document
