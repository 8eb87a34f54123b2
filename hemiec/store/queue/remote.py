"""What jobflow-remote's job documents say: state, time, whose they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from pymongo.collection import Collection as MongoCollection

from hemiec.store.database import Document
from hemiec.store.queue.states import State, Tally

#: Collection of the jobs.
JOBS = "jf_jobs"
#: jobflow-remote's states in words for people. The runner takes every ready job at once and hands it on; until it has
#: begun, it is ready.
STATES: dict[str, State] = {
    "WAITING": "waiting",
    "READY": "ready",
    "CHECKED_OUT": "ready",
    "UPLOADED": "ready",
    "SUBMITTED": "ready",
    "BATCH_SUBMITTED": "ready",
    "RUNNING": "running",
    "BATCH_RUNNING": "running",
    "RUN_FINISHED": "running",
    "DOWNLOADED": "running",
    "COMPLETED": "done",
    "FAILED": "failed",
    "REMOTE_ERROR": "failed",
    "STOPPED": "cancelled",
    "USER_STOPPED": "cancelled",
    "PAUSED": "paused",
}
#: Uuids in one query: MongoDB takes no query of more than 16 MB.
CHUNK = 20_000
ABOUT = "job.metadata.hemiec"


def states_of(*ours: State) -> list[str]:
    """Return jobflow-remote's states that are called so."""
    return [theirs for theirs, word in STATES.items() if word in ours]


def in_chunks(uuids: Iterable[str]) -> Iterator[Document]:
    """Yield queries for jobs by uuid."""
    listed = list(uuids)
    for k in range(0, len(listed), CHUNK):
        yield {"uuid": {"$in": listed[k : k + CHUNK]}}


def latest(documents: Iterable[Document]) -> dict[str, Document]:
    """Return uuid to document; of a job that was replaced, the last one counts."""
    found: dict[str, Document] = {}
    for document in documents:
        if document["index"] >= found.get(document["uuid"], document)["index"]:
            found[document["uuid"]] = document
    return found


def elapsed_s(document: Mapping[str, object]) -> float | None:
    """Return how long the last launch of a job ran, in s; None if it did not start."""
    start = document.get("start_time")
    if not isinstance(start, datetime):
        return None
    end = document.get("end_time")
    if not isinstance(end, datetime):
        # One that was killed leaves no end; what is known of it was written soon after.
        running = STATES[str(document["state"])] == "running"
        end = datetime.now(UTC).replace(tzinfo=None) if running else document["updated_on"]
        assert isinstance(end, datetime)
    return max(0.0, (end - start).total_seconds())


def wanted_by(campaign: str | None, spent: Collection[str]) -> Document:
    """Return the condition on jobs that a campaign (or any) asks for whose budget is not spent."""
    if campaign is not None:
        return {f"{ABOUT}.campaigns": {"$in": [name for name in [campaign] if name not in spent]}}
    if spent:
        return {f"{ABOUT}.campaigns": {"$elemMatch": {"$nin": list(spent)}}}
    # Of all that are greater than nothing, the index alone is read; of all that exist, every document.
    return {f"{ABOUT}.campaigns": {"$gt": ""}}


def tally_jobs(
    jobs: MongoCollection[Document], campaign: str | None, costs: bool, spent: Collection[str]
) -> list[Tally]:
    """Return counts, by index alone; see :meth:`hemiec.launch.queue.Queue.tally`."""
    key = {name: f"${ABOUT}.{name}" for name in ("tier", "kind", "protocol")} | {"state": "$state"}
    cores = {"$ifNull": [f"${ABOUT}.resources.cores", 1]}
    group: Document = {"_id": key, "n": {"$sum": 1}, "cores": {"$sum": cores}}
    if costs:
        group["core_seconds"] = {"$sum": {"$multiply": [cores, _SECONDS]}}
    match = wanted_by(campaign, spent)
    found: dict[tuple[str | None, str, str | None, State], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for entry in jobs.aggregate([{"$match": match}, {"$group": group}]):
        cell = found[_cell(entry["_id"], entry["_id"]["state"])]
        cell[0] += entry["n"]
        cell[1] += entry["cores"]
        cell[2] += entry.get("core_seconds", 0.0)
    for document in _replaced(jobs, match):
        about = document["job"]["metadata"]["hemiec"]
        cell = found[_cell(about, document["state"])]
        cell[0] -= 1
        cell[1] -= (about.get("resources") or {}).get("cores", 1)
    # One that was replaced after it was counted would be taken off a state that it was not counted in.
    return [
        Tally(*cell, n=max(0, int(n)), cores=max(0, int(cores)), core_seconds=used)
        for cell, (n, cores, used) in found.items()
        if n > 0 or used
    ]


#: Wall time of all launches of a job in s, as an expression on indexed fields.
_SECONDS: Document = {
    "$add": [
        {"$ifNull": ["$hemiec.seconds", 0.0]},
        {
            "$cond": [
                {"$gt": ["$start_time", None]},
                {
                    "$divide": [
                        {
                            "$subtract": [
                                {
                                    "$ifNull": [
                                        "$end_time",
                                        {
                                            "$cond": [
                                                {"$in": ["$state", states_of("running")]},
                                                "$$NOW",
                                                "$updated_on",
                                            ]
                                        },
                                    ]
                                },
                                "$start_time",
                            ]
                        },
                        1000.0,
                    ]
                },
                0.0,
            ]
        },
    ]
}
#: Fields of the index that :func:`tally_jobs` reads instead of the documents.
TALLY_INDEX = (
    f"{ABOUT}.campaigns",
    f"{ABOUT}.tier",
    f"{ABOUT}.kind",
    f"{ABOUT}.protocol",
    f"{ABOUT}.resources.cores",
    "state",
    "start_time",
    "end_time",
    "updated_on",
    "hemiec.seconds",
)


def _cell(about: Document, state: str) -> tuple[str | None, str, str | None, State]:
    return about.get("tier"), about.get("kind") or "", about.get("protocol"), STATES[state]


def _replaced(jobs: MongoCollection[Document], match: Document) -> list[Document]:
    """Return the documents of jobs that were replaced by themselves, such as a VASP run that goes on: not the last."""
    replacing = jobs.distinct("uuid", {"index": {"$gt": 1}})
    fields = {"uuid": 1, "index": 1, "state": 1, ABOUT: 1}
    found = [document for part in in_chunks(replacing) for document in jobs.find({**match, **part}, fields)]
    last = latest(found)
    return [document for document in found if document["index"] < last[document["uuid"]]["index"]]
