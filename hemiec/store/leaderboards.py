"""Leaderboards in the store: a header each, and their entries one by one, so that none is too long for MongoDB."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, DESCENDING, ReplaceOne

from hemiec.errors import InputError, did_you_mean
from hemiec.schemas.documents import APART
from hemiec.schemas.leaderboard import LeaderboardDoc, StoredEntry, StoredLeaderboard
from hemiec.store.database import Database, store_errors

_BATCH = 1_000


def save_leaderboard(database: Database, leaderboard: LeaderboardDoc) -> str:
    """Store a leaderboard and return its id; one that is there already keeps its first time.

    Hops, transport and dynamics are left out: they are the candidates'.

    Raises
    ------
    StoreError
        If the database refuses or cannot be reached; the leaderboard is then not listed.
    """
    key = leaderboard.leaderboard_id
    header = StoredLeaderboard(
        **leaderboard.model_dump(exclude={"entries", "leaderboard_id"}),
        leaderboard_id=key,
        n_entries=len(leaderboard.entries),
    )
    with store_errors():
        for start in range(0, len(leaderboard.entries), _BATCH):
            documents = _entries(leaderboard, range(start, min(start + _BATCH, len(leaderboard.entries))))
            database["leaderboard_entries"].bulk_write(
                [ReplaceOne({"leaderboard_id": key, "order": d["order"]}, d, upsert=True) for d in documents],
                ordered=False,
            )
        # Last, so that what is listed is whole.
        database["leaderboards"].update_one({"leaderboard_id": key}, {"$setOnInsert": header.to_mongo()}, upsert=True)
    return key


def read_leaderboard(
    database: Database, leaderboard_id: str, *, first: int = 0, limit: int | None = None
) -> LeaderboardDoc:
    """Return a stored leaderboard, its entries without what has collections of its own.

    Parameters
    ----------
    database
        The store.
    leaderboard_id
        Its id, as :func:`save_leaderboard` returned it.
    first
        Place of the first entry wanted, from 0.
    limit
        How many entries are wanted; default all from there on.

    Raises
    ------
    InputError
        If there is none of that id.
    """
    with store_errors():
        header = database["leaderboards"].find_one({"leaderboard_id": leaderboard_id}, {"_id": 0, "n_entries": 0})
        if header is None:
            known = [h["leaderboard_id"] for h in database["leaderboards"].find({}, {"leaderboard_id": 1}).limit(1000)]
            hint = did_you_mean(leaderboard_id, known) if known else "none was saved yet: `hemiec rank --save` does."
            raise InputError(f"no leaderboard {leaderboard_id!r} in the store; {hint}")
        of_it = {"leaderboard_id": leaderboard_id, "order": {"$gte": first}}
        fields = {"_id": 0, "leaderboard_id": 0, "schema_version": 0, "order": 0}
        entries = database["leaderboard_entries"].find(of_it, fields).sort("order", ASCENDING).limit(limit or 0)
        return LeaderboardDoc.model_validate(header | {"entries": list(entries)})


def list_leaderboards(database: Database) -> list[StoredLeaderboard]:
    """Return the stored leaderboards without their entries, the latest first."""
    with store_errors():
        order = [("created_at", DESCENDING), ("leaderboard_id", ASCENDING)]
        return [StoredLeaderboard.model_validate(h) for h in database["leaderboards"].find({}, {"_id": 0}).sort(order)]


def _entries(leaderboard: LeaderboardDoc, places: Sequence[int]) -> list[dict[str, object]]:
    about = {"leaderboard_id": leaderboard.leaderboard_id}
    return [
        StoredEntry(**leaderboard.entries[order].model_dump(exclude=APART), **about, order=order).model_dump(
            mode="json", exclude=APART
        )
        for order in places
    ]
