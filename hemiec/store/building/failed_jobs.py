"""Which jobs failed, kept in the store: the builder reads it there, also where there is no queue to ask.

Whoever builds with a queue writes first what the queue says. ``failed_jobs`` has a document for each job, with why it
failed and when that was learned; a job that has come back keeps one without a message until the next complete pass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pymongo import UpdateOne

from hemiec.store.campaigns import SERVER_TIME
from hemiec.store.database import Database

COLLECTION = "failed_jobs"
_BATCH = 1_000


def record_failed_jobs(database: Database, failed: Mapping[str, str]) -> int:
    """Make the store agree with the queue, and return how many jobs failed, failed otherwise or came back.

    Parameters
    ----------
    database
        The store.
    failed
        Job uuid to the reason, of every job that is failed or cancelled now.
    """
    known = {d["uuid"]: d["message"] for d in database[COLLECTION].find({}, {"_id": 0, "uuid": 1, "message": 1})}
    new: dict[str, str | None] = {uuid: text for uuid, text in failed.items() if known.get(uuid) != text}
    new |= {uuid: None for uuid, text in known.items() if text is not None and uuid not in failed}
    operations = [
        UpdateOne({"uuid": uuid}, [{"$set": {"message": {"$literal": text}, "changed_at": SERVER_TIME}}], upsert=True)
        for uuid, text in new.items()
    ]
    for k in range(0, len(operations), _BATCH):
        database[COLLECTION].bulk_write(operations[k : k + _BATCH], ordered=False)
    return len(operations)


def failed_jobs(database: Database, uuids: Collection[str]) -> dict[str, str]:
    """Return uuid to the reason of those that failed, as the store knows it."""
    where = {"uuid": {"$in": list(uuids)}, "message": {"$ne": None}}
    return {d["uuid"]: d["message"] for d in database[COLLECTION].find(where, {"_id": 0, "uuid": 1, "message": 1})}


def forget_returned(database: Database, before: str) -> None:
    """Delete what stands there of jobs that came back before a moment (ISO text)."""
    database[COLLECTION].delete_many({"message": None, "changed_at": {"$lt": before}})
