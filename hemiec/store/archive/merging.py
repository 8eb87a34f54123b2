"""The results of a backup into a database that is in use: only what is missing, and never the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from hemiec.errors import InputError, StoreError
from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.archive.backup import Manifest, Report, read_documents
from hemiec.store.archive.verifying import Trouble
from hemiec.store.archive.writing import insert_missing
from hemiec.store.database import Database, Document
from hemiec.store.layout.migrations import KEYS, upgraded, version_of
from hemiec.store.layout.schema_files import STORED

#: Parts of a candidate, which come only with it.
_PARTS = ("hops", "transport", "thermodynamics", "structures", "imported")
#: What a merge brings in, in this order: an output after its large objects, a campaign after its plans, a candidate
#: after its parts. The queue is left out: its numbers mean other jobs in another database.
MERGED = (
    *("calibrations", "references", "leaderboard_entries", "leaderboards", *_PARTS, "candidates"),
    *("data.chunks", "data.files", "data_index", "outputs", "plans", "campaigns"),
)
_BATCH = 1_000
_NAMED = 5


def merge_documents(
    database: Database, path: Path, manifest: Manifest, report: Report
) -> tuple[dict[str, int], dict[str, int], list[Trouble]]:
    """Add campaigns, plans, outputs with large objects, candidates with their parts, references, calibrations and
    leaderboards that are missing; what is there stays as it is, and jobs are not brought in.

    Documents of an older layout are brought to this one; what cannot be is left out and named.

    Returns
    -------
    tuple of dict, dict and list
        Collection to documents added, to documents left out, and what could not be read.
    """
    entries = manifest.collections
    added: Counter[str] = Counter()
    unreadable: dict[str, list[str]] = {}
    wanted = _filters(database, path, manifest)
    for name in MERGED:
        if name not in entries:
            continue
        chosen: Iterable[RawBSONDocument] = read_documents(path, name)
        if name in wanted:
            chosen = filter(wanted[name], chosen)
        if name not in STORED:
            added[name] += insert_missing(database, name, chosen, entries[name].documents, report)
            continue
        for batch in _batches(chosen):
            added += _insert_upgraded(database, name, batch, unreadable, report)
        report(name, entries[name].documents, entries[name].documents)
    left_out = {name: max(0, entry.documents - added[name]) for name, entry in entries.items()}
    trouble = [
        Trouble(name, "that cannot be read, left out", len(names), tuple(names[:_NAMED]))
        for name, names in unreadable.items()
    ]
    return {name: added[name] for name in MERGED if name in entries or added[name]}, left_out, trouble


def refuse_newer(path: Path, manifest: Manifest) -> None:
    """Raise InputError if a backup holds documents of a newer layout, which cannot be merged."""
    newer: Counter[str] = Counter()
    for name in STORED:
        if name in manifest.collections:
            newer[name] += sum(d.get("schema_version", 1) > SCHEMA_VERSION for d in read_documents(path, name))
    if found := [f"{n} {name}" for name, n in newer.items() if n]:
        raise InputError(
            f"{path}: holds documents of a newer layout ({', '.join(found)}); nothing was written.",
            mend="update hemiec to the version that wrote them, or a later one",
        )


def _insert_upgraded(
    database: Database, name: str, batch: list[RawBSONDocument], unreadable: dict[str, list[str]], report: Report
) -> Counter[str]:
    """Insert documents as this layout has them, what they take along before them; return how many of which."""
    ready: dict[str, list[RawBSONDocument]] = {}
    for raw in batch:
        if version_of(raw) == SCHEMA_VERSION:  # type: ignore[arg-type]
            ready.setdefault(name, []).append(raw)
            continue
        document: Document = bson.decode(raw.raw)
        try:
            parts = upgraded(name, document)
        except StoreError:
            unreadable.setdefault(name, []).append(str(document.get(KEYS[name])))
            continue
        for other, several in parts.items():
            ready.setdefault(other, []).extend(RawBSONDocument(bson.encode(part)) for part in several)
    added: Counter[str] = Counter()
    for other in sorted(ready, key=lambda other: other == name):
        refused: list[RawBSONDocument] = []
        added[other] += insert_missing(database, other, ready[other], len(ready[other]), report, refused)
        for document in refused:  # type: ignore[assignment]
            unreadable.setdefault(other, []).append(str(document.get(KEYS[other])))
    return added


def _filters(database: Database, path: Path, manifest: Manifest) -> dict[str, Callable[[RawBSONDocument], bool]]:
    """Return collection to whether a document is missing, where no unique index tells."""
    entries = manifest.collections
    campaigns = set(database["campaigns"].distinct("name"))
    boards = set(database["leaderboards"].distinct("leaderboard_id"))
    candidates = _missing(database, path, "candidates", ("candidate_id",)) if "candidates" in entries else set()
    outputs = _missing(database, path, "outputs", ("uuid", "index")) if "outputs" in entries else set()
    file_ids = {
        document["_id"]
        for document in (read_documents(path, "data.files") if "data.files" in entries else ())
        if _key(document.get("metadata") or {}, ("job_uuid", "job_index")) in outputs
    }
    of_candidate = {name: lambda d: (d["candidate_id"],) in candidates for name in _PARTS}
    return {
        **of_candidate,
        "leaderboard_entries": lambda d: d["leaderboard_id"] not in boards,
        "data.chunks": lambda d: d["files_id"] in file_ids,
        "data.files": lambda d: d["_id"] in file_ids,
        "data_index": lambda d: _key(d, ("job_uuid", "job_index")) in outputs,
        "outputs": lambda d: _key(d, ("uuid", "index")) in outputs,
        "plans": lambda d: d["campaign"] not in campaigns,
        "campaigns": lambda d: d["name"] not in campaigns,
    }


def _missing(database: Database, path: Path, name: str, key: tuple[str, ...]) -> set[tuple[Any, ...]]:
    """Return the keys of the documents of an archive that a database lacks."""
    missing = set()
    for batch in _batches(read_documents(path, name)):
        keys = {_key(document, key) for document in batch}
        there = database[name].find({key[0]: {"$in": [values[0] for values in keys]}}, dict.fromkeys(key, 1))
        missing |= keys - {_key(document, key) for document in there}
    return missing


def _key(document: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(document.get(name) for name in names)


def _batches(documents: Iterable[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
