"""Candidates that came from an archive: they stay until this store has computed as much itself."""

from __future__ import annotations

from collections.abc import Sequence

from hemiec.schemas.documents import PROPERTIES
from hemiec.store.building.documents import Built
from hemiec.store.database import Database, Document
from hemiec.store.provenance import IMPORTED


def leave_imported(database: Database, items: Sequence[Built]) -> list[Built]:
    """Return those that may be written: all but the ones that would replace an imported candidate by fewer numbers."""
    ids = [item.candidate_id for item in items if item.error is None]
    marks = {
        mark["candidate_id"]: mark["input_hash"]
        for mark in database[IMPORTED].find({"candidate_id": {"$in": ids}}, {"candidate_id": 1, "input_hash": 1})
    }
    if not marks:
        return list(items)
    fields = {"candidate_id": 1, "input_hash": 1} | {f"{name}.value": 1 for name in PROPERTIES}
    n_stored = {
        document["candidate_id"]: _values(document)
        for document in database["candidates"].find({"candidate_id": {"$in": list(marks)}}, fields)
        # One that was built here since is no longer what was imported.
        if document["input_hash"] == marks[document["candidate_id"]]
    }
    return [
        item
        for item in items
        if item.error is not None or _values(item.documents["candidates"][0]) >= n_stored.get(item.candidate_id, 0)
    ]


def _values(candidate: Document) -> int:
    # One of an earlier hemiec lacks the newest properties.
    return sum(candidate.get(name, {}).get("value") is not None for name in PROPERTIES)
