"""Leaderboards in the store: a header each, and their entries one by one, so that none is too long for MongoDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pymongo import ASCENDING, DESCENDING, ReplaceOne

from hemiec.errors import InputError, QueryError, did_you_mean
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.documents import APART, CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc, StoredEntry, StoredLeaderboard
from hemiec.store.campaigns import require_campaign
from hemiec.store.candidates import Report, read_candidates
from hemiec.store.database import Database, store_errors
from hemiec.store.queries.columns import mask
from hemiec.store.queries.language import compile

if TYPE_CHECKING:
    from hemiec.ranking.snapshots.snapshot import Snapshot

_BATCH = 1_000


def candidates_to_rank(
    database: Database,
    definition: LeaderboardDefinition,
    *,
    campaign: str | None = None,
    whole: bool = True,
    report: Report | None = None,
) -> list[CandidateDoc]:
    """Return the candidates that a definition asks for, in the order of their ids.

    Parameters
    ----------
    database
        The store.
    definition
        Its condition ``where`` chooses them.
    campaign
        Only those that this campaign asked for; default all.
    whole, report
        As for :func:`hemiec.store.candidates.read_candidates`.

    Raises
    ------
    InputError
        If the condition is wrong, there is no such campaign, no candidate fulfils both, or none of them can be read.
    """
    wanted = where_filter(definition)
    unreadable: list[str] = []

    def told(candidate_id: str, reason: str) -> None:
        unreadable.append(reason)
        if report is not None:
            report(candidate_id, reason)

    if campaign is not None:
        require_campaign(database, campaign)  # says so if there is none of that name
        wanted = {"$and": [wanted, {"campaigns": campaign}]} if wanted else {"campaigns": campaign}
    with store_errors():
        documents = list(read_candidates(database, wanted, whole=whole, report=told if report else None))
        if documents:
            return documents
        if unreadable:
            raise InputError(
                f"none of the {len(unreadable)} candidates can be read: {unreadable[0]}",
                mend="run `hemiec build`, or rank with the hemiec that wrote them",
            )
        if database["candidates"].find_one({}, {"_id": 1}) is None or not definition.where:
            mend = "run a campaign, or `hemiec build` what has finished"
            raise InputError(f"there are no candidates {'of ' + campaign if campaign else 'in the store'}.", mend=mend)
    raise InputError(
        f"no candidate{' of ' + campaign if campaign else ''} fulfils {definition.where!r} of {definition.name}.",
        mend="see what there is with `hemiec query`; `hemiec build` fills in what an earlier hemiec did not know",
    )


def rows_to_rank(snapshot: Snapshot, definition: LeaderboardDefinition) -> NDArray[np.intp]:
    """Return the rows of a snapshot's candidates that a definition asks for, ascending.

    Raises
    ------
    InputError
        If its condition is wrong or no candidate fulfils it.
    """
    with _naming(definition):
        rows = np.flatnonzero(mask(definition.where, snapshot.columns()))
    if not len(rows):
        raise InputError(f"no candidate of {snapshot.snapshot_id} fulfils {definition.where!r} of {definition.name}.")
    return rows


def narrowed(definition: LeaderboardDefinition, where: str) -> LeaderboardDefinition:
    """Return a definition whose candidates must fulfil another condition too.

    Raises
    ------
    QueryError
        If that condition is wrong.
    InputError
        If the definition's own is wrong.
    """
    # Each by itself: "a) or (b" reads well between parentheses, and means something else.
    compile(where)
    where_filter(definition)
    both = f"({definition.where}) and ({where})" if definition.where.strip() and where.strip() else None
    return definition.model_copy(update={"where": both or where.strip() or definition.where})


def where_filter(definition: LeaderboardDefinition) -> dict[str, object]:
    """Return the MongoDB filter of the condition that a definition's candidates must fulfil.

    Raises
    ------
    InputError
        If it is wrong; it names the definition.
    """
    with _naming(definition):
        return dict(compile(definition.where))


def save_leaderboard(database: Database, leaderboard: LeaderboardDoc) -> str:
    """Store a leaderboard and return its id; one that is there already keeps its first time.

    Hops, transport, dynamics and thermodynamics are left out: they are the candidates'.

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
        of_it: dict[str, Any] = {"leaderboard_id": leaderboard_id, "order": {"$gte": first}}
        fields = {"_id": 0, "leaderboard_id": 0, "schema_version": 0, "order": 0}
        if limit is not None:
            of_it["order"]["$lt"] = first + limit
        entries = database["leaderboard_entries"].find(of_it, fields).sort("order", ASCENDING)
        return LeaderboardDoc.model_validate(header | {"entries": list(entries)})


def list_leaderboards(database: Database) -> list[StoredLeaderboard]:
    """Return the stored leaderboards without their entries, the latest first."""
    with store_errors():
        order = [("created_at", DESCENDING), ("leaderboard_id", ASCENDING)]
        return [StoredLeaderboard.model_validate(h) for h in database["leaderboards"].find({}, {"_id": 0}).sort(order)]


@contextmanager
def _naming(definition: LeaderboardDefinition) -> Iterator[None]:
    """Say whose condition it is that is wrong."""
    try:
        yield
    except QueryError as error:
        raise InputError(f"{definition.name}: where: {error.message}", mend=error.mend) from error


def _entries(leaderboard: LeaderboardDoc, places: Sequence[int]) -> list[dict[str, object]]:
    about = {"leaderboard_id": leaderboard.leaderboard_id}
    return [
        StoredEntry(**leaderboard.entries[order].model_dump(exclude=APART), **about, order=order).model_dump(
            mode="json", exclude=APART
        )
        for order in places
    ]
