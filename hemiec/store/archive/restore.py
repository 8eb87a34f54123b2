"""Put a backup into an empty database, and compare what is there afterwards with what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo.errors import DuplicateKeyError, OperationFailure

from hemiec.errors import StoreError
from hemiec.store.archive.backup import COUNTER, TRANSIENT, Manifest, Report, check_backup, read_documents
from hemiec.store.archive.merging import merge_documents, refuse_newer
from hemiec.store.archive.verifying import Comparison, Trouble, compare, find_trouble
from hemiec.store.archive.writing import insert_missing
from hemiec.store.building.changes import forget_state
from hemiec.store.database import RESTORE, Database, store_errors
from hemiec.store.layout.prepare import lift, prepare

_INDEX_CONFLICTS = {85, 86}
_NOT_AUTHORIZED = 13
#: FireWorks' counters before the first job.
_UNUSED: dict[str, Any] = {"next_fw_id": {"$lte": 1}, "next_launch_id": {"$lte": 1}}


@dataclass
class Restored:
    """What a restore did.

    ``added`` and ``left_out`` map collection to numbers of documents, ``compared`` to what the database had of it
    before running jobs were made ready again; ``trouble`` lists documents that this hemiec cannot use, and ``note``
    says what is to be done before other commands can be used, if anything.
    """

    manifest: Manifest
    added: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    compared: dict[str, Comparison] = field(default_factory=dict)
    trouble: list[Trouble] = field(default_factory=list)
    note: str | None = None


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
        Whether to add to what is there; see :func:`hemiec.store.archive.merging.merge_documents`.
    report
        Called from time to time.
    finish
        Called when everything is there and was compared, and again if it was interrupted.

    Raises
    ------
    InputError
        If the archive is damaged or of a later hemiec, or is to be merged and holds documents of a newer layout;
        nothing was written.
    StoreError
        If the database holds something and ``merge`` is not set, another restore was interrupted in it, or it does
        not hold afterwards what was written.
    """
    manifest = check_backup(path, report=report)
    tell = report or (lambda *_: None)
    restored = Restored(manifest)
    with store_errors():
        if merge:
            refuse_newer(path, manifest)
            prepare(database)  # documents come in as this layout has them
        _begin(database, path, manifest, merge=merge)
        if merge:
            restored.added, restored.left_out, restored.trouble = merge_documents(database, path, manifest, tell)
        else:
            _fill(database, path, restored, tell)
        if finish is not None:
            finish()
        # The next pass of the builder has to look at everything.
        forget_state(database)
        # Acknowledged by a majority, and so is then everything written before.
        database[RESTORE].delete_many({})
    if not merge:
        restored.note = _prepared(database)
    return restored


def _prepared(database: Database) -> str | None:
    """Make indexes and validators; return what has to be done first if documents are of another layout."""
    try:
        prepare(database)
    except StoreError as error:
        return str(error)
    return None


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


def _fill(database: Database, path: Path, restored: Restored, report: Report) -> None:
    """Bring back everything, and compare; what an interrupted restore brought already is skipped."""
    collections = restored.manifest.collections
    if database[RESTORE].find_one({"compared": True}) is not None:
        restored.added = dict.fromkeys(collections, 0)
        return
    # Every document comes back as it was, readable for this hemiec or not.
    try:
        lift(database)
    except OperationFailure as error:
        # Who may only write leaves the validators; they are in the way of documents alone that do not fit.
        if error.code != _NOT_AUTHORIZED:
            raise
    for name, entry in collections.items():
        if name == COUNTER:
            database[name].delete_many(_UNUSED)
        restored.added[name] = insert_missing(database, name, read_documents(path, name), entry.documents, report)
    restored.compared = compare(database, restored.manifest, report=report)
    if different := [name for name, found in restored.compared.items() if not found.same]:
        raise StoreError(
            f"database {database.name!r} does not hold what was written, in {', '.join(different)}: something else "
            "wrote to it, or a document was refused.",
            mend="restore into another, empty database (HEMIEC_DATABASE)",
        )
    restored.trouble = find_trouble(database)
    for name, entry in collections.items():
        _make_indexes(database, name, json_util.loads(entry.indexes))
    _raise_counters(database)
    database[RESTORE].update_one({}, {"$set": {"compared": True}})


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
