"""Campaigns in the store: one document of the campaign, and one of each of its candidates.

``campaigns`` holds what is common; ``plans`` holds, for each campaign and candidate, the composition, how far it has
come, and its jobs. Together they are what :meth:`hemiec.workflows.campaign.Campaign.document` returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from pymongo import ASCENDING, UpdateOne

from hemiec.errors import InputError, did_you_mean
from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.database import Database, Document

#: Collection of what the builder remembers of its last complete pass; without it, it looks at every candidate.
BUILDS = "builds"
#: In an update: the server's clock as text, UTC.
SERVER_TIME = {"$dateToString": {"date": "$$NOW", "format": "%Y-%m-%dT%H:%M:%S.%LZ"}}
#: Plans written in one go.
_BATCH = 1_000


def read_header(database: Database, name: str, fields: Document | None = None) -> Document:
    """Return the document of a campaign without its candidates, or some fields of it.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    header = database["campaigns"].find_one({"name": name}, fields)
    if header is None:
        raise _no_campaign(name, database["campaigns"].distinct("name"))
    return header


def _no_campaign(name: str, known: Collection[str]) -> InputError:
    hint = did_you_mean(name, known) if known else "none was submitted to this store yet."
    return InputError(f"no campaign {name!r} in the store; {hint}")


def require_campaign(database: Database, name: str) -> None:
    """Make sure that a campaign was submitted to this store, or that imported candidates name it.

    Raises
    ------
    InputError
        If neither is so.
    """
    named = database["candidates"].find_one({"campaigns": name}, {"_id": 1})
    if named is None and database["campaigns"].find_one({"name": name}, {"_id": 1}) is None:
        known = {*database["campaigns"].distinct("name"), *database["candidates"].distinct("campaigns")}
        raise _no_campaign(name, known)


def read_campaign(database: Database, name: str, plan_fields: Document | None = None) -> Document:
    """Return the document of a campaign with its candidates, of which only some fields may be wanted.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    return read_header(database, name) | {"candidates": list(plans_of(database, name, plan_fields))}


def plans_of(database: Database, name: str, fields: Document | None = None) -> Iterator[Document]:
    """Yield the plans of a campaign's candidates in the campaign's order."""
    ours = ("_id", "schema_version", "campaign", "order", "changed_at")
    projection = dict.fromkeys(ours, 0) if fields is None else {"_id": 0, **fields}
    yield from database["plans"].find({"campaign": name}, projection).sort("order", ASCENDING)


def write_header(database: Database, header: Document) -> None:
    """Write the document of a campaign over that of the same name; what it does not mention is kept."""
    fields = header | {"schema_version": SCHEMA_VERSION}
    database["campaigns"].update_one({"name": header["name"]}, {"$set": fields}, upsert=True)


def write_plans(database: Database, name: str, plans: Iterable[tuple[int, Document]]) -> set[str]:
    """Write plans with their places in the campaign; return the uuids of jobs that are no longer in them."""
    collection = database["plans"]
    new = {plan["candidate"]["candidate_id"]: (order, plan) for order, plan in plans}
    where = {"campaign": name, "candidate.candidate_id": {"$in": list(new)}}
    dropped: set[str] = set()
    for old in collection.find(where, {"candidate.candidate_id": 1, "jobs.uuid": 1}):
        dropped |= _uuids(old) - _uuids(new[old["candidate"]["candidate_id"]][1])
    operations = [
        UpdateOne(
            {"campaign": name, "candidate.candidate_id": candidate_id},
            _replacement({"schema_version": SCHEMA_VERSION, "campaign": name, "order": order, **plan}),
            upsert=True,
        )
        for candidate_id, (order, plan) in new.items()
    ]
    for k in range(0, len(operations), _BATCH):
        collection.bulk_write(operations[k : k + _BATCH], ordered=False)
    return dropped


def drop_other_plans(database: Database, name: str, kept: Collection[str]) -> set[str]:
    """Delete the plans of candidates that a campaign no longer has; return the uuids of their jobs."""
    others = set(database["plans"].distinct("candidate.candidate_id", {"campaign": name})) - set(kept)
    where = {"campaign": name, "candidate.candidate_id": {"$in": list(others)}}
    dropped = {uuid for old in database["plans"].find(where, {"jobs.uuid": 1}) for uuid in _uuids(old)}
    if others:
        # No plan that is left tells the builder of this; a kill in between makes it look again.
        database[BUILDS].delete_many({})
        database["plans"].delete_many(where)
        database[BUILDS].delete_many({})
    return dropped


def _replacement(plan: Document) -> list[Document]:
    """Return the update that puts a plan in the place of another, with the moment by the server's clock."""
    return [{"$replaceWith": {"$mergeObjects": [{"$literal": plan}, {"_id": "$_id", "changed_at": SERVER_TIME}]}}]


def _uuids(plan: Document) -> set[str]:
    return {job["uuid"] for job in plan["jobs"]}
