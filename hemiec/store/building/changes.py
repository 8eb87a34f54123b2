"""Which candidates a pass of the builder has to look at, and what it remembers for the next one.

The state of the last complete pass is one document of the collection ``builds``. It is written when everything before
it is, so a pass that was killed is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from pymongo.errors import DuplicateKeyError

from hemiec.store.building.failed_jobs import forget_returned
from hemiec.store.building.feeds import (
    FAILED_JOBS,
    FEEDS,
    OUTPUTS,
    PLANS,
    Feed,
    Trace,
    trace_of,
    written_in,
)
from hemiec.store.building.shared import Shared, read_shared
from hemiec.store.building.writing import PARTS, text_of
from hemiec.store.campaigns import BUILDS
from hemiec.store.database import Database, Document

STATE = "candidates"
#: Key of the note of the last import.
IMPORT = "import"
#: Of more candidates than this, all are looked at in the order of their ids: a list of them would fill the memory.
MANY = 50_000
_UUIDS = 1_000


@dataclass(frozen=True)
class Changes:
    """The candidates to look at (None for all), what they share, and the state to remember when they are done.

    ``dropped`` says whether candidates may have left a campaign.
    """

    ids: list[str] | None
    shared: Shared
    state: Document
    dropped: bool


def find_changes(database: Database, moment: datetime, *, everything: bool = False) -> Changes:
    """Return what has changed since the last complete pass.

    Parameters
    ----------
    database
        The store.
    moment
        When this pass started, by the server's clock.
    everything
        Whether all candidates are looked at in any case.
    """
    last = database[BUILDS].find_one({"_id": STATE})
    # Before anything is read: what is written from now on is new to the next pass.
    traces, minutes = _traces(database, moment, last)
    shared = read_shared(database)
    stamps = {name: shared.campaign_stamp(name) for name in shared.headers}
    counts = {name: database[name].estimated_document_count() for name in ("plans", "candidates", *PARTS)}
    state: Document = {
        "_id": STATE,
        "started_at": text_of(moment),
        "stamp": shared.stamp,
        "counts": counts,
        "campaigns": [[name, stamp] for name, stamp in stamps.items()],
        "feeds": {name: trace.to_mongo() for name, trace in traces.items()},
    }
    if last is None or everything or minutes is None or last["stamp"] != shared.stamp:
        return Changes(None, shared, state, dropped=True)
    known = dict(last["campaigns"])
    # What was lost from a collection, or a campaign that is gone, no feed tells of.
    if known.keys() - stamps.keys() or any(counts[name] < n for name, n in last["counts"].items()):
        return Changes(None, shared, state, dropped=True)
    ids = _candidates(database, shared, minutes, {name for name in known if known[name] != stamps[name]})
    return Changes(None if ids is None else sorted(ids), shared, state, dropped=False)


def remember(database: Database, changes: Changes) -> None:
    """Write the state of a complete pass, with the counts that it leaves; that of a later pass stays."""
    # Plans as they were at the start: those that were dropped since are for the next pass.
    derived = (name for name in changes.state["counts"] if name != "plans")
    counts = changes.state["counts"] | {name: database[name].estimated_document_count() for name in derived}
    state = changes.state | {"counts": counts}
    earlier = {"_id": STATE, "started_at": {"$lte": state["started_at"]}}
    try:
        database[BUILDS].replace_one(earlier, state, upsert=True)
    except DuplicateKeyError:
        return
    forget_returned(database, state["feeds"][FAILED_JOBS.collection]["since"])


def forget_state(database: Database) -> None:
    """Let the next pass look at everything, as after documents came from elsewhere."""
    database[BUILDS].delete_many({})


def note_import(database: Database, archive: str) -> None:
    """Write down which archive was imported last: candidates that took the place of others may bear earlier dates."""
    database[BUILDS].replace_one({"_id": IMPORT}, {"_id": IMPORT, "archive": archive}, upsert=True)


def _traces(
    database: Database, moment: datetime, last: Document | None
) -> tuple[dict[str, Trace], dict[str, list[str]] | None]:
    """Return the state of every feed, and the minutes of each that differ from the last pass; None if not known."""
    traces: dict[str, Trace] = {}
    minutes: dict[str, list[str] | None] = {}
    for feed in FEEDS:
        stored = None if last is None else last["feeds"].get(feed.collection)
        before = None if stored is None else Trace.from_mongo(stored)
        traces[feed.collection], minutes[feed.collection] = trace_of(database, feed, moment, before)
    known = {name: changed for name, changed in minutes.items() if changed is not None}
    return traces, known if len(known) == len(FEEDS) else None


def _candidates(
    database: Database, shared: Shared, minutes: dict[str, list[str]], campaigns: set[str]
) -> set[str] | None:
    """Return the candidates that something was written of, and all of some campaigns; None for many."""
    ids: set[str] = set()
    plans = (p["candidate"]["candidate_id"] for p in _written(database, PLANS, minutes, "candidate.candidate_id"))
    if not _collect(ids, plans):
        return None
    campaigns = set(campaigns)
    for feed in (OUTPUTS, FAILED_JOBS):
        written = (document["uuid"] for document in _written(database, feed, minutes, "uuid"))
        while uuids := list(islice(written, _UUIDS)):
            for uuid in uuids:
                campaigns |= shared.reference_jobs.get(uuid, set())
            where = {"jobs.uuid": {"$in": uuids}}
            found = database["plans"].find(where, {"_id": 0, "candidate.candidate_id": 1})
            if not _collect(ids, (plan["candidate"]["candidate_id"] for plan in found)):
                return None
    of_campaigns = database["plans"].find(
        {"campaign": {"$in": list(campaigns)}}, {"_id": 0, "candidate.candidate_id": 1}
    )
    return ids if _collect(ids, (plan["candidate"]["candidate_id"] for plan in of_campaigns)) else None


def _written(database: Database, feed: Feed, minutes: dict[str, list[str]], name: str) -> Iterable[Document]:
    return written_in(database, feed, minutes[feed.collection], {"_id": 0, name: 1})


def _collect(ids: set[str], more: Iterable[str]) -> bool:
    """Add ids; return whether there are few enough to be listed."""
    for candidate_id in more:
        ids.add(candidate_id)
        if len(ids) > MANY:
            return False
    return True
