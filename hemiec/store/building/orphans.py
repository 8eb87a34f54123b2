"""Documents that nothing asks for any more, and candidates that a campaign does not ask for any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pymongo import ASCENDING, UpdateOne

from hemiec.store.building.writing import FAILURES, PARTS
from hemiec.store.database import Database, Document, store_errors
from hemiec.store.provenance import IMPORTED

_BATCH = 1_000
#: So many ids of each collection are named.
_NAMED = 20


@dataclass
class Orphans:
    """Collection to the number of documents that no plan of a campaign asks for, and to the ids of the first ones."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


def find_orphans(database: Database, *, remove: bool = False) -> Orphans:
    """Return what no campaign asks for, and remove it if that is wanted.

    Parameters
    ----------
    database
        The store. Outputs and jobs are never removed: submitted again, a campaign finds them.
    remove
        Whether they are removed; each is looked at again just before.

    Raises
    ------
    StoreError
        If MongoDB cannot be reached or refuses.
    """
    found = Orphans()
    with store_errors():
        # Parts last: while they go, no candidate is there that would point to them.
        for collection in ("candidates", *PARTS, FAILURES):
            _of_candidates(database, collection, found, remove=remove)
        _references(database, found, remove=remove)
    return found


def forget_dropped(database: Database) -> None:
    """Take the names of campaigns off candidates that they no longer ask for; the candidates stay."""
    for batch in _by_candidate(database, "candidates", {"campaigns": {"$ne": []}}, {"campaigns": 1}):
        asked = _asked(database, [document["candidate_id"] for document in batch])
        operations = [
            UpdateOne({"candidate_id": name}, {"$pull": {"campaigns": {"$in": dropped}}})
            for name, dropped in (
                (d["candidate_id"], sorted(set(d["campaigns"]) - asked.get(d["candidate_id"], set()))) for d in batch
            )
            if dropped
        ]
        if operations:
            database["candidates"].bulk_write(operations, ordered=False)


def _of_candidates(database: Database, collection: str, found: Orphans, *, remove: bool) -> None:
    for batch in _by_candidate(database, collection, {}, {}):
        ids = {document["candidate_id"] for document in batch}
        lost = sorted(ids - _asked(database, list(ids)).keys())
        if not lost:
            continue
        where = {"candidate_id": {"$in": lost}}
        if remove:
            n = database[collection].delete_many(where).deleted_count
        else:
            n = database[collection].count_documents(where)
        _add(found, collection, n, lost)


def _references(database: Database, found: Orphans, *, remove: bool) -> None:
    asked = {
        f"{job['phase_id']}:{job['protocol_hash']}"
        for campaign in database["campaigns"].find({}, {"references": 1})
        for job in campaign["references"]
    }
    asked |= set(database[IMPORTED].distinct("provenance.references.reference_id"))
    ids = [d["reference_id"] for d in database["references"].find({}, {"reference_id": 1})]
    lost = sorted(set(ids) - asked)
    if lost:
        if remove:
            database["references"].delete_many({"reference_id": {"$in": lost}})
        _add(found, "references", len(lost), lost)


def _add(found: Orphans, collection: str, n: int, ids: list[str]) -> None:
    found.counts[collection] = found.counts.get(collection, 0) + n
    named = found.first.setdefault(collection, [])
    named += ids[: _NAMED - len(named)]


def _asked(database: Database, ids: list[str]) -> dict[str, set[str]]:
    """Return which of some candidates are in plans, and of which campaigns that are there; imported ones of none."""
    campaigns: list[str] = database["campaigns"].distinct("name")
    where = {"candidate.candidate_id": {"$in": ids}, "campaign": {"$in": campaigns}}
    imported = database[IMPORTED].find({"candidate_id": {"$in": ids}}, {"_id": 0, "candidate_id": 1})
    found: dict[str, set[str]] = {document["candidate_id"]: set() for document in imported}
    for plan in database["plans"].find(where, {"_id": 0, "candidate.candidate_id": 1, "campaign": 1}):
        found.setdefault(plan["candidate"]["candidate_id"], set()).add(plan["campaign"])
    return found


def _by_candidate(database: Database, collection: str, where: Document, fields: Document) -> Iterator[list[Document]]:
    """Yield some fields of documents, a thousand at a time, in the order of their candidates."""
    last = ""
    while True:
        query = {**where, "candidate_id": {"$gt": last}}
        found = database[collection].find(query, {"_id": 0, "candidate_id": 1, **fields})
        batch = list(found.sort("candidate_id", ASCENDING).limit(_BATCH))
        if not batch:
            return
        yield batch
        last = batch[-1]["candidate_id"]
