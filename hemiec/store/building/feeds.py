"""What was written since the last complete pass of the builder, found without a look at every candidate.

Plans, outputs and failed jobs say when they were written. Of each collection a :class:`Trace` is kept: how many
documents were written in each minute of the recent past and on each day before. What differs from the last pass holds
what is new. More documents than before that no recent moment tells of (a restore) or, where documents only come, fewer
(a deletion, a computation done again) mean that every candidate is looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hemiec.store.database import Database, Document

#: Lengths of the text of a moment to the day and to the minute, such as 2026-11-22T13:52.
_DAY, _MINUTE = 10, 16
#: Sorts after every character of a moment.
_END = "~"
#: How often a count is repeated while documents come in.
_ATTEMPTS = 5
#: With more documents than this, days before the overlap are not looked at, but for the number of documents.
WHOLE_HISTORY = 300_000

Amounts = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Feed:
    """A collection whose documents carry the moment of their writing as ISO text.

    Parameters
    ----------
    collection
        Its name.
    moment
        The field of the moment.
    overlap
        How far before a pass the moment of a document may lie that was written after its start.
    replaced
        Whether its documents are usually replaced by later ones, so that earlier moments get fewer.
    """

    collection: str
    moment: str
    overlap: timedelta
    replaced: bool = True


#: Moments of plans and failed jobs are the server's own; jobflow writes the worker's local time, whatever its zone is,
#: and a result may be fetched long after.
PLANS = Feed("plans", "changed_at", timedelta(minutes=10))
OUTPUTS = Feed("outputs", "completed_at", timedelta(hours=14), replaced=False)
FAILED_JOBS = Feed("failed_jobs", "changed_at", timedelta(minutes=10))
FEEDS = (PLANS, OUTPUTS, FAILED_JOBS)


@dataclass(frozen=True)
class Trace:
    """State of a feed when a pass started.

    ``amounts`` maps every minute from ``since`` on, and every day before it from ``start`` on, to the number of
    documents and the sum of their moments in ms; ``others`` is the number of the rest (None if it changed as it was
    counted).
    """

    start: str
    since: str
    others: int | None
    amounts: Mapping[str, tuple[int, int]]

    def to_mongo(self) -> Document:
        """Return plain types."""
        amounts = [[key, *amount] for key, amount in self.amounts.items()]
        return {"start": self.start, "since": self.since, "others": self.others, "amounts": amounts}

    @classmethod
    def from_mongo(cls, document: Document) -> Trace:
        """Return the trace that was stored."""
        amounts = {key: (n, total) for key, n, total in document["amounts"]}
        return cls(document["start"], document["since"], document["others"], amounts)


def server_time(database: Database) -> datetime:
    """Return the time by the clock of the server, UTC."""
    moment: datetime = database.mongo.command("hello")["localTime"]
    return moment.replace(tzinfo=UTC)


def trace_of(database: Database, feed: Feed, now: datetime, last: Trace | None) -> tuple[Trace, list[str] | None]:
    """Return the state of a feed, and the minutes and days with something new; None if that cannot be told."""
    since = (now - feed.overlap).isoformat()[:_MINUTE]
    whole = database[feed.collection].estimated_document_count() <= WHOLE_HISTORY
    start = "" if whole and not feed.replaced else since
    if last is None:
        return Trace(start, since, _others(database, feed, start), _amounts(database, feed, start, since)), None
    since = max(since, last.since)
    start = since if start else ""
    amounts = _amounts(database, feed, last.start, last.since)
    if start == "" != last.start:
        merged = _amounts(database, feed, start, since)
    else:
        merged = {key: amount for key, amount in _by_days(amounts, since).items() if key >= start}
    trace = Trace(start, since, _others(database, feed, start), merged)
    differing = [key for key in amounts.keys() | last.amounts.keys() if amounts.get(key) != last.amounts.get(key)]
    others = _others(database, feed, last.start)
    if others is None or last.others is None or others > last.others:
        return trace, None
    fewer = any(amounts.get(key, (0, 0))[0] < last.amounts.get(key, (0, 0))[0] for key in differing)
    if not feed.replaced and (fewer or others < last.others):
        return trace, None
    return trace, differing


def written_in(database: Database, feed: Feed, keys: list[str], fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield some fields of the documents of some minutes and days."""
    for key in keys:
        yield from database[feed.collection].find({feed.moment: {"$gte": key, "$lt": key + _END}}, fields)


def _others(database: Database, feed: Feed, start: str) -> int | None:
    """Return how many documents have no moment from a start on; None if it changes as fast as it is counted."""
    collection = database[feed.collection]
    before = collection.estimated_document_count()
    for _ in range(_ATTEMPTS):
        recent = collection.count_documents({feed.moment: {"$gte": start}})
        after = collection.estimated_document_count()
        if after == before:
            return after - recent
        before = after
    return None


def _amounts(database: Database, feed: Feed, start: str, since: str) -> Amounts:
    """Return day or minute to number and sum of moments, from the index alone."""
    moment = f"${feed.moment}"
    milliseconds = {"$toLong": {"$dateFromString": {"dateString": moment, "onError": datetime(1970, 1, 1)}}}
    length = {"$cond": [{"$gte": [moment, since]}, _MINUTE, _DAY]}
    stages: list[Document] = [
        {"$match": {feed.moment: {"$gte": start}}},
        {"$group": {"_id": {"$substrBytes": [moment, 0, length]}, "n": {"$sum": 1}, "total": {"$sum": milliseconds}}},
    ]
    return {group["_id"]: (group["n"], group["total"]) for group in database[feed.collection].aggregate(stages)}


def _by_days(amounts: Amounts, since: str) -> Amounts:
    """Return amounts with the minutes before another moment added to their days."""
    merged: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for key, (n, total) in amounts.items():
        into = key if key >= since else key[:_DAY]
        merged[into] = merged[into][0] + n, merged[into][1] + total
    return dict(merged)
