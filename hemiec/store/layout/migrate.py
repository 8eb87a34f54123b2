"""Bring a whole store to this layout: batch by batch, so that it goes on wherever it was killed.

What other collections take over is written first, under keys that follow from the document; then the document replaces
itself. So a step that is repeated does nothing twice. The stamp says meanwhile that the store is being migrated, which
keeps every other command from writing to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pymongo import ASCENDING, ReplaceOne
from pymongo.errors import BulkWriteError

from hemiec.errors import StoreError
from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.database import Database, Document, store_errors
from hemiec.store.layout.migrations import KEYS, STEPS, upgraded, version_of
from hemiec.store.layout.prepare import lift_validators, make_indexes, prepare, require_readable, set_stamp
from hemiec.store.layout.schema_files import STORED

#: Called with a collection's name, the documents done so far and those expected.
Report = Callable[[str, int, int], None]
_DUPLICATE = 11000
_STOP_OTHERS = "stop workers and commands of the older hemiec, and run the same command again"
#: Documents in one go: those of layout 1 are up to some hundred kB.
_BATCH = 100
#: Documents that are named one by one; of more, only the number is told.
MAX_NAMED = 1_000
#: What tells a document from all others of its collection, where its name alone does not.
_MORE_KEYS = {"plans": ("campaign", "candidate.candidate_id"), "leaderboard_entries": ("leaderboard_id", "order")}


@dataclass(frozen=True)
class LeftAlone:
    """A document that was not migrated: where, which, and why."""

    collection: str
    name: str
    reason: str


@dataclass
class Migration:
    """What a migration did, or would do.

    ``migrated`` maps collection to documents of an older layout that were brought to this one, ``written`` collection
    to documents that came out of others, ``unreadable`` and ``newer`` collection to how many were left as they are;
    ``left_alone`` names the first :data:`MAX_NAMED` of both.
    """

    migrated: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    newer: Counter[str] = field(default_factory=Counter)
    left_alone: list[LeftAlone] = field(default_factory=list)

    def to_json(self) -> Document:
        """Return everything as plain types."""
        counts = ("migrated", "written", "unreadable", "newer")
        return {name: dict(getattr(self, name)) for name in counts} | {
            "left_alone": [asdict(left) for left in self.left_alone]
        }

    def leave(self, kind: Counter[str], collection: str, document: Document, reason: str) -> None:
        """Note a document that stays as it is."""
        kind[collection] += 1
        if len(self.left_alone) < MAX_NAMED:
            name = document.get(KEYS[collection], document["_id"])
            self.left_alone.append(LeftAlone(collection, str(name), reason))


def pending(database: Database) -> dict[str, int]:
    """Return collection to the number of documents of an older layout, where there are any.

    Raises
    ------
    StoreError
        If a newer hemiec has migrated the store.
    """
    with store_errors():
        require_readable(database)
        found = {name: database[name].count_documents(_older()) for name in STORED}
    return {name: n for name, n in found.items() if n}


def migrate(database: Database, *, dry_run: bool = False, report: Report | None = None) -> Migration:
    """Bring every document of an older layout to this one, and prepare the store for it.

    Killed anywhere, the same call goes on. Documents that cannot be read, and those of a newer layout, stay as they
    are and are named in what is returned. Nobody else may write meanwhile.

    Parameters
    ----------
    database
        The store, opened as it is.
    dry_run
        Whether nothing is written.
    report
        Called from time to time.

    Raises
    ------
    StoreError
        If a newer hemiec has migrated the store, the counts do not agree afterwards, or MongoDB refuses.
    """
    expected = pending(database)
    done = Migration()
    with store_errors():
        if expected and not dry_run:
            # Earlier versions of hemiec take it for migrated, this one for one to go on with.
            set_stamp(database, {"schema_version": SCHEMA_VERSION, "migrating": True})
            lift_validators(database)
            make_indexes(database)  # by which what was written before a kill is found again
        for name in STORED:
            _migrate_collection(database, name, expected.get(name, 0), done, dry_run=dry_run, report=report)
        _note_newer(database, done)
        if not dry_run:
            _verify(database, done)
            set_stamp(database, {"schema_version": SCHEMA_VERSION, "migrating": False})
            prepare(database, force=True)
    return done


def _older(after: Any = None) -> Document:
    """Return the filter of documents of an older layout, or of those behind one in the order of `_id`."""
    older: Document = {"$or": [{"schema_version": {"$exists": False}}, {"schema_version": {"$lt": SCHEMA_VERSION}}]}
    return older if after is None else older | {"_id": {"$gt": after}}


def _batches(database: Database, name: str) -> Iterator[list[Document]]:
    """Yield documents of an older layout, some at a time, each once."""
    after = None
    while batch := list(database[name].find(_older(after)).sort("_id", ASCENDING).limit(_BATCH)):
        yield batch
        after = batch[-1]["_id"]


def _migrate_collection(
    database: Database, name: str, expected: int, done: Migration, *, dry_run: bool, report: Report | None
) -> None:
    seen = 0
    for batch in _batches(database, name) if expected else ():
        ready = []
        for document in batch:
            try:
                ready.append((document, upgraded(name, document)))
            except StoreError as error:
                done.leave(done.unreadable, name, document, error.message)
        if not dry_run:
            _write(database, name, ready)
        done.migrated[name] += len(ready)
        for _, parts in ready:
            done.written.update({other: len(several) for other, several in parts.items() if other != name})
        seen += len(batch)
        if report is not None:
            report(name, seen, expected)


def _write(database: Database, name: str, ready: list[tuple[Document, dict[str, list[Document]]]]) -> None:
    """Write what some documents become: what others take over, then what refers to them, then themselves."""
    parts: dict[str, list[Document]] = {}
    for _, made in ready:
        for other, several in made.items():
            if other != name:
                parts.setdefault(other, []).extend(several)
    for other, several in parts.items():
        # What is there already is of a run that was killed, or newer.
        _bulk(database, other, [ReplaceOne(_key(other, d) | _older(), d, upsert=True) for d in several])
    for document, _ in ready:
        for step in STEPS:
            if version_of(document) < step.VERSION:
                step.mark_others(database, name, document)
    itself = [(document, made[name][0]) for document, made in ready]
    _bulk(database, name, [ReplaceOne({"_id": old["_id"]} | _older(), new) for old, new in itself])


def _bulk(database: Database, name: str, operations: list[ReplaceOne[Document]]) -> None:
    """Write, and check that every document is there: replaced, added, or in the way with the same key.

    The last are of this layout already, from a run that was killed.
    """
    if not operations:
        return
    there = 0
    try:
        counts: Document = database[name].bulk_write(operations, ordered=False).bulk_api_result
    except BulkWriteError as error:
        counts = dict(error.details or {})
        if any(e["code"] != _DUPLICATE for e in counts["writeErrors"]) or counts.get("writeConcernErrors"):
            raise
        there = len(counts["writeErrors"])
    if counts["nMatched"] + counts["nUpserted"] + there != len(operations):
        raise StoreError(f"{name}: documents were changed while they were migrated.", mend=_STOP_OTHERS)


def _key(name: str, document: Document) -> Document:
    """Return the filter of one document by what the collection's unique index holds."""
    key: Document = {}
    for path in _MORE_KEYS.get(name, (KEYS[name],)):
        value: Any = document
        for part in path.split("."):
            value = value[part]
        key[path] = value
    return key


def _note_newer(database: Database, done: Migration) -> None:
    for name in STORED:
        for document in database[name].find({"schema_version": {"$gt": SCHEMA_VERSION}}):
            reason = f"written by a newer hemiec (layout {version_of(document)})"
            done.leave(done.newer, name, document, reason)


def _verify(database: Database, done: Migration) -> None:
    """Check that nothing of an older layout is left but what was named."""
    for name in STORED:
        left = database[name].count_documents(_older())
        if left != done.unreadable[name]:
            raise StoreError(
                f"{left} documents of {name} are still of an older layout, expected {done.unreadable[name]}: "
                "something else writes to the store.",
                mend=_STOP_OTHERS,
            )
