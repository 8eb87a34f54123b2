"""Documents into a collection, many at a time, leaving what is there as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo.errors import BulkWriteError

from hemiec.errors import StoreError
from hemiec.store.archive.backup import Report
from hemiec.store.database import Database

#: Written in one go, in bytes and documents; the server takes 48 MB and 100,000.
_BATCH_BYTES, _BATCH_DOCUMENTS = 8 * 1024**2, 1_000
_DUPLICATE, _INVALID = 11000, 121


def insert_missing(
    database: Database,
    name: str,
    documents: Iterable[RawBSONDocument],
    expected: int,
    report: Report,
    refused: list[RawBSONDocument] | None = None,
) -> int:
    """Insert those documents of which no unique index holds one yet, and return how many.

    Parameters
    ----------
    database
        Where to; acknowledged by one member, as whoever calls makes sure at the end that a majority has all.
    name
        The collection.
    documents
        In BSON.
    expected
        How many there are at most.
    report
        Called after each batch.
    refused
        What the collection's validator refuses is added to it; default: that is an error.
    """
    collection = database[name].with_options(write_concern=WriteConcern(w=1))
    added = done = 0
    for batch in _batches(documents):
        try:
            collection.insert_many(batch, ordered=False)
            added += len(batch)
        except BulkWriteError as error:
            errors: list[dict[str, Any]] = error.details["writeErrors"]
            if any(e["code"] not in (_DUPLICATE, _INVALID) for e in errors):
                raise
            if refused is None and any(e["code"] == _INVALID for e in errors):
                raise StoreError(
                    f"{name}: the validator of this database refuses documents that are not of its layout.",
                    mend="restore as a user with the role `admin` (dbOwner), or into a database of another name",
                ) from error
            if refused is not None:
                refused += [batch[e["index"]] for e in errors if e["code"] == _INVALID]
            added += error.details["nInserted"]
        done += len(batch)
        report(name, done, expected)
    return added


def _batches(documents: Iterable[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    batch: list[RawBSONDocument] = []
    size = 0
    for document in documents:
        if batch and (size + len(document.raw) > _BATCH_BYTES or len(batch) == _BATCH_DOCUMENTS):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document.raw)
    if batch:
        yield batch
