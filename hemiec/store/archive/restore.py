"""Put a backup into a database: into an empty one, or only what is missing into one that is in use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from hemiec.errors import StoreError
from hemiec.store.archive.backup import COUNTER, TRANSIENT, Manifest, Report, check_backup, read_documents
from hemiec.store.database import RESTORE, Database, store_errors

#: What a merge brings in. The queue is left out: its numbers mean other jobs in another database.
MERGED = (
    *("calibrations", "references", "candidates"),
    *("data.chunks", "data.files", "data_index", "outputs", "plans", "campaigns"),
)
#: Written in one go, in bytes and documents; the server takes 48 MB and 100,000.
_BATCH_BYTES, _BATCH_DOCUMENTS = 8 * 1024**2, 1_000
_DUPLICATE = 11000
_INDEX_CONFLICTS = {85, 86}
#: FireWorks' counters before the first job.
_UNUSED: dict[str, Any] = {"next_fw_id": {"$lte": 1}, "next_launch_id": {"$lte": 1}}


@dataclass(frozen=True)
class Restored:
    """What a restore did: collection to how many documents were added, and to how many were left out."""

    manifest: Manifest
    added: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def restore_backup(
    database: Database,
    path: Path,
    *,
    merge: bool = False,
    report: Report | None = None,
    finish: Callable[[], object] | None = None,
) -> Restored:
    """Put a backup into a database, after it was read from end to end and found whole.

    Until it is done the database carries a mark: other commands refuse it, and the same restore goes on with it.

    Parameters
    ----------
    database
        Where to; opened with ``restoring=True``.
    path
        The archive.
    merge
        Whether to add to what is there. Campaigns, plans, outputs with their large objects, candidates, references
        and calibrations that are missing are added, what is there stays as it is, and jobs are not brought in.
    report
        Called from time to time.
    finish
        Called when everything is there, and again if it was interrupted.

    Raises
    ------
    InputError
        If the archive is damaged or of a later hemiec; nothing was written.
    StoreError
        If the database holds something and ``merge`` is not set, or another restore was interrupted in it.
    """
    manifest = check_backup(path, report=report)
    tell = report or (lambda *_: None)
    with store_errors():
        _begin(database, path, manifest, merge=merge)
        restored = _merge(database, path, manifest, tell) if merge else _fill(database, path, manifest, tell)
        if finish is not None:
            finish()
        # Acknowledged by a majority, and so is then everything written before.
        database[RESTORE].delete_many({})
    return restored


def _begin(database: Database, path: Path, manifest: Manifest, *, merge: bool) -> None:
    """Mark the database as partly restored.

    Raises
    ------
    StoreError
        If it is not empty, or partly restored from another archive.
    """
    archive_id = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()
    mark = {"_id": "restore", "archive": archive_id, "merge": merge, "file": str(path.absolute())}
    earlier = database[RESTORE].find_one({})
    if earlier is not None:
        if (earlier["archive"], earlier["merge"]) != (archive_id, merge):
            raise StoreError(
                f"database {database.name!r} holds part of {earlier['file']}, whose restore was interrupted.",
                mend=f"finish it first: `hemiec db restore {earlier['file']}{' --merge' if earlier['merge'] else ''}`",
            )
        return
    if not merge and (found := _contents(database)):
        raise StoreError(
            f"database {database.name!r} is not empty ({', '.join(found)}).",
            mend="set HEMIEC_DATABASE to a new name, or add --merge to add what is missing",
        )
    try:
        database[RESTORE].insert_one(mark | {"started_on": datetime.now(UTC)})
    except DuplicateKeyError as error:
        raise StoreError(f"another restore into {database.name!r} has just begun.", mend="wait for it") from error


def _contents(database: Database) -> list[str]:
    """Return what a database holds, in words; nothing for one that was only opened."""
    found = []
    for name in sorted(database.mongo.list_collection_names(filter={"type": "collection"})):
        if name.startswith("system.") or name in TRANSIENT:
            continue
        n = database[name].count_documents({"$nor": [_UNUSED]} if name == COUNTER else {}, limit=1000)
        if n:
            found.append(f"{n}{' or more' if n == 1000 else ''} {name}")
    return found


def _fill(database: Database, path: Path, manifest: Manifest, report: Report) -> Restored:
    """Bring back everything; what an interrupted restore brought already is skipped."""
    restored = Restored(manifest)
    for name, entry in manifest.collections.items():
        if name == COUNTER:
            database[name].delete_many(_UNUSED)
        documents = read_documents(path, name)
        restored.added[name] = _insert(database, name, documents, entry.documents, report)
    for name, entry in manifest.collections.items():
        _make_indexes(database, name, json_util.loads(entry.indexes))
    _raise_counters(database)
    return restored


def _merge(database: Database, path: Path, manifest: Manifest, report: Report) -> Restored:
    """Add results that are missing; an output comes after its large objects, a campaign after its plans."""
    restored = Restored(manifest)
    entries = manifest.collections
    campaigns = set(database["campaigns"].distinct("name"))
    missing = _missing_outputs(database, path) if "outputs" in entries else set()
    file_ids = {
        document["_id"]
        for document in (read_documents(path, "data.files") if "data.files" in entries else ())
        if _key(document.get("metadata") or {}, "job_uuid", "job_index") in missing
    }
    wanted: dict[str, Callable[[RawBSONDocument], bool]] = {
        "data.chunks": lambda d: d["files_id"] in file_ids,
        "data.files": lambda d: d["_id"] in file_ids,
        "data_index": lambda d: _key(d, "job_uuid", "job_index") in missing,
        "outputs": lambda d: _key(d, "uuid", "index") in missing,
        "plans": lambda d: d["campaign"] not in campaigns,
        "campaigns": lambda d: d["name"] not in campaigns,
    }
    for name in MERGED:
        if name not in entries:
            continue
        chosen = (d for d in read_documents(path, name) if name not in wanted or wanted[name](d))
        restored.added[name] = _insert(database, name, chosen, entries[name].documents, report)
    for name, entry in entries.items():
        restored.left_out[name] = entry.documents - restored.added.get(name, 0)
    return restored


def _missing_outputs(database: Database, path: Path) -> set[tuple[Any, ...]]:
    """Return uuid and index of the outputs of an archive that a database lacks."""
    missing = set()
    for batch in _batches(read_documents(path, "outputs")):
        keys = {_key(document, "uuid", "index") for document in batch}
        there = database["outputs"].find({"uuid": {"$in": [key[0] for key in keys]}}, {"uuid": 1, "index": 1})
        missing |= keys - {_key(document, "uuid", "index") for document in there}
    return missing


def _key(document: Any, *names: str) -> tuple[Any, ...]:
    return tuple(document.get(name) for name in names)


def _insert(database: Database, name: str, documents: Iterator[RawBSONDocument], expected: int, report: Report) -> int:
    """Insert those documents of which no unique index holds one yet, and return how many."""
    collection = database[name].with_options(write_concern=WriteConcern(w=1))
    added = done = 0
    for batch in _batches(documents):
        try:
            collection.insert_many(batch, ordered=False)
            added += len(batch)
        except BulkWriteError as error:
            if any(e["code"] != _DUPLICATE for e in error.details["writeErrors"]):
                raise
            added += error.details["nInserted"]
        done += len(batch)
        report(name, done, expected)
    return added


def _batches(documents: Iterator[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
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


def _make_indexes(database: Database, name: str, indexes: list[dict[str, Any]]) -> None:
    """Create the indexes that a collection had; one that this version of hemiec has made otherwise stays."""
    for index in indexes:
        options = {key: value for key, value in index.items() if key not in ("v", "key", "ns")}
        try:
            database[name].create_index(list(index["key"].items()), **options)
        except OperationFailure as error:
            if error.code not in _INDEX_CONFLICTS:
                raise


def _raise_counters(database: Database) -> None:
    """Make sure that FireWorks gives no number twice: an ordered backup may hold newer jobs than its counters."""
    for collection, key, counter in (("fireworks", "fw_id", "next_fw_id"), ("launches", "launch_id", "next_launch_id")):
        last = database[collection].find_one({}, {key: 1}, sort=[(key, -1)])
        if last is not None:
            database[COUNTER].update_one({}, {"$max": {counter: last[key] + 1}})
