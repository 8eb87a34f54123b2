"""Write what was built, so that the newest inputs win whatever else is writing, and a kill leaves nothing that lies.

Every document says when the pass that wrote it had started (``last_updated``, by the server's clock); it is replaced
only by one of a pass that started later. The parts of a candidate come first, then the candidate, then parts of earlier
passes go: whatever a candidate's numbers point to is there at every moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.building.documents import Built
from hemiec.store.building.feeds import server_time
from hemiec.store.building.imported import leave_imported
from hemiec.store.building.shared import BUILDER_VERSION
from hemiec.store.database import Database, Document

#: Collection of what belongs to candidates to its key.
PARTS = {
    "structures": "structure_id",
    "hops": "hop_id",
    "transport": "transport_id",
    "thermodynamics": "thermodynamics_id",
    "optimade": "id",
}
FAILURES = "build_failures"
#: What is later by less was not written by a wrong clock, but by another pass while this one was held up.
_HELD_UP = timedelta(minutes=1)
_DUPLICATE, _INVALID = 11000, 121


@dataclass(frozen=True)
class Written:
    """Candidates that were written, that could not be (and why), and that another builder wrote meanwhile."""

    built: list[str]
    failed: dict[str, str]
    overtaken: list[str]


def text_of(moment: datetime) -> str:
    """Return a moment (UTC) as pydantic writes it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_built(database: Database, items: Sequence[Built]) -> Written:
    """Write candidates with all their parts; return what became of each.

    Raises
    ------
    BulkWriteError
        If MongoDB refuses for another reason than a newer document or a validator.
    """
    items = leave_imported(database, items)
    errors = {item.candidate_id: item.error for item in items if item.error is not None}
    good = {item.candidate_id: item for item in items if item.error is None}
    now = server_time(database)
    for collection, key in PARTS.items():
        made = [doc for item in good.values() for doc in item.documents[collection]]
        refused = _replace(database, collection, [(doc, {key: doc[key]}) for doc in made], now)
        errors |= {doc["candidate_id"]: reason for doc, reason in refused if reason is not None}
    candidates = [
        (doc, {"candidate_id": name, "input_hash": item.seen})
        for name, item in good.items()
        if name not in errors
        for doc in item.documents["candidates"]
    ]
    refused = _replace(database, "candidates", candidates, now)
    errors |= {doc["candidate_id"]: reason for doc, reason in refused if reason is not None}
    overtaken = [doc["candidate_id"] for doc, reason in refused if reason is None]
    built = [name for name in good if name not in errors and name not in overtaken]
    _remove_other_parts(database, [good[name] for name in built], now)
    _note_failures(database, [(item, errors[item.candidate_id]) for item in items if item.candidate_id in errors])
    forget_failures(database, built)
    return Written(built, errors, overtaken)


def write_references(database: Database, documents: Sequence[Document]) -> None:
    """Write the documents of reference phases."""
    keyed = [(doc, {"reference_id": doc["reference_id"]}) for doc in documents]
    _replace(database, "references", keyed, server_time(database))


def written_since(database: Database, ids: Iterable[str], moment: datetime) -> list[str]:
    """Return which of some candidates a pass wrote that started later."""
    later = {"$gt": text_of(moment), "$lte": text_of(server_time(database) + _HELD_UP)}
    found = database["candidates"].find(
        {"candidate_id": {"$in": list(ids)}, "last_updated": later}, {"candidate_id": 1}
    )
    return [document["candidate_id"] for document in found]


def forget_failures(database: Database, ids: Sequence[str]) -> None:
    """Take candidates off the list of those that could not be built."""
    if ids:
        database[FAILURES].delete_many({"candidate_id": {"$in": list(ids)}})


def remove_parts_of(database: Database, ids: Iterable[str], moment: datetime) -> None:
    """Remove the parts that a pass wrote of candidates which a later pass has written."""
    where = {"candidate_id": {"$in": list(ids)}, "last_updated": text_of(moment)}
    for collection in PARTS:
        database[collection].delete_many(where)


def _replace(
    database: Database, collection: str, documents: Sequence[tuple[Document, Document]], now: datetime
) -> list[tuple[Document, str | None]]:
    """Replace documents by filters; return those that were not written: why, or None if another builder was later."""
    if not documents:
        return []
    operations = [
        ReplaceOne(where | _not_later(doc["last_updated"], now), doc, upsert=True) for doc, where in documents
    ]
    try:
        database[collection].bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        details: dict[str, Any] = dict(error.details or {})
        errors = details["writeErrors"]
        if details.get("writeConcernErrors") or any(e["code"] not in (_DUPLICATE, _INVALID) for e in errors):
            raise
        return [(documents[e["index"]][0], _refusal(collection, e)) for e in errors]
    return []


def _not_later(moment: str, now: datetime) -> Document:
    """Return the filter of documents of a pass or earlier ones; one from the future was written by a wrong clock."""
    return {"$or": [{"last_updated": {"$lte": moment}}, {"last_updated": {"$gt": text_of(now + _HELD_UP)}}]}


def _refusal(collection: str, error: Document) -> str | None:
    """Return why MongoDB's validator refused a document; None if there is a newer one."""
    if error["code"] == _DUPLICATE:
        return None
    failing = (error.get("errInfo") or {}).get("details", {}).get("schemaRulesNotSatisfied", [])
    names = sorted({n for rule in failing for n in _property_names(rule)})
    return f"the validator of {collection} refuses {', '.join(names) or 'a document'}"


def _property_names(rule: Document) -> list[str]:
    named = [entry.get("propertyName") for entry in rule.get("propertiesNotSatisfied", [])]
    return [str(name) for name in [*named, *rule.get("missingProperties", []), *rule.get("additionalProperties", [])]]


def _remove_other_parts(database: Database, items: Sequence[Built], now: datetime) -> None:
    """Remove the parts of candidates that this pass did not write and no later one did."""
    if not items:
        return
    mine = {"candidate_id": {"$in": [item.candidate_id for item in items]}, **_not_later(text_of(items[0].moment), now)}
    for collection, key in PARTS.items():
        keys = [doc[key] for item in items for doc in item.documents[collection]]
        database[collection].delete_many({**mine, key: {"$nin": keys}})


def _note_failures(database: Database, failed: Sequence[tuple[Built, str | None]]) -> None:
    """Keep why candidates could not be built, and with which inputs."""
    operations = [
        ReplaceOne(
            {"candidate_id": item.candidate_id},
            {
                "candidate_id": item.candidate_id,
                "schema_version": SCHEMA_VERSION,
                "error": reason,
                "failed_at": text_of(item.moment),
                "input_hash": item.stamp,
                "builder_version": BUILDER_VERSION,
            },
            upsert=True,
        )
        for item, reason in failed
    ]
    if operations:
        database[FAILURES].bulk_write(operations, ordered=False)
