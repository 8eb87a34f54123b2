"""An archive of candidates into a store: checked from end to end first, compared, and then candidate by candidate.

What is in the store already stays. Each candidate comes with all its parts at once, and is marked as imported with the
archive it came from: the builder leaves it alone, and its provenance is the archive's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pymongo import DeleteMany, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError

from hemiec.errors import InputError
from hemiec.schemas.provenance import ImportedDoc, Origin, Provenance
from hemiec.store.archive.bundles import (
    PARTS,
    Bundle,
    bundles,
    digest,
    same_reference,
    stored,
    trusted,
    valid_references,
)
from hemiec.store.archive.members import COLLECTIONS, OBJECTS, OUTPUTS, Archive, Manifest, open_archive
from hemiec.store.building.changes import forget_state, note_import
from hemiec.store.building.optimade import fill
from hemiec.store.database import Database, Document, store_errors
from hemiec.store.provenance import IMPORTED
from hemiec.store.trust import Trust

Keep = Literal["mine", "theirs"]
Report = Callable[[str, int, int], None]
_LISTED = 10
_BATCH = 100
_DUPLICATE = 11000


@dataclass
class Imported:
    """What an import did, or would do: ids of the candidates by what became of them, and how many of the rest came."""

    manifest: Manifest
    new: list[str] = field(default_factory=list)
    identical: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    references_added: int = 0
    outputs_added: int = 0
    objects_added: int = 0


def import_archive(
    database: Database, path: Path, *, keep: Keep | None = None, dry_run: bool = False, report: Report | None = None
) -> Imported:
    """Bring the candidates of an archive into a store; doing it again changes nothing, nor does an interruption.

    Parameters
    ----------
    database
        The store.
    path
        The archive.
    keep
        What to do with candidates that are here with other numbers: keep mine, or take theirs, which goes only for
        candidates that were imported before. By default they are an error, and nothing is written.
    dry_run
        Whether only to say what would be done.
    report
        Called from time to time with what is being done, how much is done, and of how much.

    Raises
    ------
    InputError
        If the archive is damaged or hostile, or candidates or reference phases differ from those here.
    StoreError
        If the store refuses.
    """
    tell = report or (lambda *_: None)
    trust = Trust(database.trusted_packages)
    with open_archive(path) as archive, store_errors():
        archive.verify()
        found = _compare(database, archive, trust, keep, tell)
        if dry_run:
            return found
        # Jobs' outputs and phases first: a candidate that shows itself has everything behind it.
        found.references_added = _add(database, "references", valid_references(archive, trust))
        found.objects_added = _add_objects(database, trusted(archive, OBJECTS, trust))
        found.outputs_added = _add(database, "outputs", trusted(archive, OUTPUTS, trust))
        _add_candidates(database, archive, trust, found, tell)
        # Also of those that are here already: an earlier import of them may have been interrupted before this.
        fill(database, [*found.new, *found.replaced, *found.identical])
        if found.outputs_added:
            forget_state(database)
        note_import(database, archive.manifest.content_hash)
    return found


def _compare(database: Database, archive: Archive, trust: Trust, keep: Keep | None, tell: Report) -> Imported:
    """Check every document of an archive, and say what becomes of each candidate.

    Raises
    ------
    InputError
        If a document is not valid, or something differs and it was not said what to keep.
    """
    found = Imported(archive.manifest)
    for member in (OUTPUTS, OBJECTS):
        for _ in trusted(archive, member, trust):
            pass
    conflicts = [] if keep == "mine" else _other_references(database, archive, trust)
    expected = archive.manifest.documents.get("candidates", 0)
    for n, bundle in enumerate(bundles(archive, trust), 1):
        here = stored(database, bundle.candidate_id)
        if here is None:
            found.new.append(bundle.candidate_id)
        elif digest(here) == digest({"candidates": [bundle.candidate], **bundle.parts}):
            found.identical.append(bundle.candidate_id)
        elif keep == "mine":
            found.kept.append(bundle.candidate_id)
        elif keep == "theirs" and _was_imported(database, bundle.candidate_id):
            found.replaced.append(bundle.candidate_id)
        else:
            computed = " (computed here)" if keep == "theirs" else ""
            conflicts.append(f"{bundle.candidate['candidate']['label']} {bundle.candidate_id}{computed}")
        tell("compared", n, expected)
    if conflicts:
        more = f" and {len(conflicts) - _LISTED} more" if len(conflicts) > _LISTED else ""
        mend = "add --keep mine to leave them as they are here and import the others"
        if keep is None:
            mend += ", or --keep theirs to replace what was imported before"
        raise InputError(
            f"{archive.path}: differs from this store in {'; '.join(conflicts[:_LISTED])}{more}. Nothing was imported.",
            mend=mend,
        )
    return found


def _other_references(database: Database, archive: Archive, trust: Trust) -> list[str]:
    conflicts = []
    for reference in valid_references(archive, trust):
        here = database["references"].find_one({"reference_id": reference["reference_id"]})
        if here is not None and not same_reference(here, reference):
            energies = f"{here['energy_per_atom']:.4f} here, {reference['energy_per_atom']:.4f} eV/atom there"
            conflicts.append(f"reference {reference['reference_id']} ({energies})")
    return conflicts


def _was_imported(database: Database, candidate_id: str) -> bool:
    """Return whether a candidate is still what an archive said, and was not built here since."""
    mark = database[IMPORTED].find_one({"candidate_id": candidate_id}, {"input_hash": 1})
    if mark is None:
        return False
    here = database["candidates"].find_one({"candidate_id": candidate_id}, {"input_hash": 1})
    return here is not None and bool(here["input_hash"] == mark["input_hash"])


def _add(database: Database, collection: str, documents: Iterable[Document]) -> int:
    """Insert those documents that no unique index knows, and return how many."""
    added = 0
    for batch in _batches(documents):
        try:
            added += len(database[collection].insert_many(batch, ordered=False).inserted_ids)
        except BulkWriteError as error:
            if any(e["code"] != _DUPLICATE for e in error.details["writeErrors"]):
                raise
            added += error.details["nInserted"]
    return added


def _add_objects(database: Database, objects: Iterable[Document]) -> int:
    """Store those large objects that are not there yet, where this store keeps such; return how many."""
    batches = _batches(objects)
    first = next(batches, None)
    if first is None:
        return 0
    store = database.job_store()
    added = 0
    try:
        target = store.additional_stores["data"]
        for batch in (first, *batches):
            names = [document["blob_uuid"] for document in batch]
            there = set(target.distinct("blob_uuid", {"blob_uuid": {"$in": names}}))
            new = [document for document in batch if document["blob_uuid"] not in there]
            if new:
                target.update(new)
            added += len(new)
    finally:
        store.close()
    return added


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _add_candidates(database: Database, archive: Archive, trust: Trust, found: Imported, tell: Report) -> None:
    manifest = archive.manifest
    origin = Origin(
        archive=manifest.content_hash,
        file=archive.path.name,
        title=manifest.title,
        exported_on=manifest.created_on,
        imported_on=datetime.now(UTC),
    )
    wanted = {*found.new, *found.replaced}
    transactions = _has_transactions(database)
    done = 0
    for bundle in bundles(archive, trust):
        if bundle.candidate_id in wanted:
            _write(database, bundle, origin, transactions)
            done += 1
            tell("imported", done, len(wanted))


def _write(database: Database, bundle: Bundle, origin: Origin, transactions: bool) -> None:
    """Write one candidate with its parts: all at once where there are transactions, else itself last."""
    mark = ImportedDoc(
        candidate_id=bundle.candidate_id,
        input_hash=bundle.candidate["input_hash"],
        origin=origin,
        provenance=Provenance.model_validate(bundle.provenance),
    )

    def write(session: ClientSession | None) -> None:
        for name in PARTS:
            _replace_parts(database, name, bundle, session)
        for name, document in ((IMPORTED, mark.to_mongo()), ("candidates", bundle.candidate)):
            key = {"candidate_id": bundle.candidate_id}
            database[name].replace_one(key, document, upsert=True, session=session)

    if not transactions:
        write(None)
        return
    with database.client.start_session() as session:
        session.with_transaction(write)


def _replace_parts(database: Database, name: str, bundle: Bundle, session: ClientSession | None) -> None:
    """Write a candidate's documents of one collection, and delete others that it had there."""
    key = COLLECTIONS[name][1]
    documents = bundle.parts[name]
    others = {"candidate_id": bundle.candidate_id, key: {"$nin": [document[key] for document in documents]}}
    operations: list[Any] = [ReplaceOne({key: document[key]}, document, upsert=True) for document in documents]
    database[name].bulk_write([*operations, DeleteMany(others)], session=session)


def _has_transactions(database: Database) -> bool:
    hello = database.client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"
