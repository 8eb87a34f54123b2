"""What jobflow-remote's job documents say: state, time, message, and which jobs wait in vain."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pymongo.collection import Collection as MongoCollection

from hemiec.launch.queue import JobStatus, State, Trace
from hemiec.store.database import Document
from hemiec.store.queue.remote import ABOUT, CHUNK, STATES, elapsed_s, in_chunks, latest, states_of

#: How jobflow-remote says that a job ended without a word of its own: its process, allocation or node was killed.
KILLED = (
    "The job was likely killed",
    "was not present in the download folder",
    "No explicit error raised during the remote execution",
)
#: Parents in these keep a child that needs them from running; those in the second do so even if it tolerates failures.
_FATAL = {"FAILED", "REMOTE_ERROR", "STOPPED", "USER_STOPPED"}
_ALWAYS_FATAL = {"REMOTE_ERROR", "STOPPED"}
_FIELDS = {
    "uuid": 1,
    "index": 1,
    "db_id": 1,
    "state": 1,
    "job.name": 1,
    ABOUT: 1,
    "start_time": 1,
    "end_time": 1,
    "updated_on": 1,
    "error": 1,
    "remote.error": 1,
    "remote.queue_err": 1,
}


def read_jobs(
    jobs: MongoCollection[Document],
    campaign: str | None,
    uuids: Collection[str] | None,
    states: Collection[State] | None,
    limit: int | None,
) -> list[JobStatus]:
    """Return jobs in the order of their submission; see :meth:`hemiec.launch.queue.Queue.jobs`."""
    query: Document = {} if campaign is None else {f"{ABOUT}.campaigns": campaign}
    if states is not None:
        query["state"] = {"$in": states_of(*states)}
    parts = [query] if uuids is None else [query | part for part in in_chunks(uuids)]
    found: list[Document] = []
    for part in parts:
        cursor = jobs.find(part, _FIELDS)
        found += cursor.sort("_id").limit(limit) if limit else cursor
    found = sorted(latest(found).values(), key=lambda document: document["_id"])[: limit or None]
    blocked = blocked_jobs(jobs, {document["uuid"] for document in found if document["state"] == "WAITING"})
    return [_status(document, document["uuid"] in blocked) for document in found]


def _status(document: Document, blocked: bool) -> JobStatus:
    job = document["job"]
    about = (job.get("metadata") or {}).get("hemiec", {})
    state = STATES[document["state"]]
    return JobStatus(
        uuid=document["uuid"],
        label=about.get("label", job["name"]),
        step=about.get("step", job["name"]),
        state=state,
        kind=about.get("kind", ""),
        tier=about.get("tier"),
        candidate_id=about.get("candidate_id"),
        db_id=document["db_id"],
        elapsed_s=elapsed_s(document),
        message=message(document) if state == "failed" else None,
        blocked=blocked,
    )


def message(document: Mapping[str, object]) -> str:
    """Return why a job failed, in one line: the last of its traceback, or what its shell said before it was killed."""
    remote = document.get("remote")
    assert isinstance(remote, dict)
    if document["state"] == "REMOTE_ERROR":
        return f"jobflow-remote: {_last_line(remote.get('error'))}"
    error = str(document.get("error") or "")
    if not was_killed(error):
        return _last_line(error)
    said = _last_line(remote.get("queue_err"))
    return f"killed, or never started{f' ({said})' if said else ''}"


def read_trace(jobs: MongoCollection[Document], uuid: str, lines: int) -> Trace:
    """Return the last lines of what a job that failed had to say; see :meth:`hemiec.launch.queue.Queue.trace`."""
    fields = {"uuid": 1, "index": 1, "error": 1, "remote": 1, "run_dir": 1}
    document = latest(jobs.find({"uuid": uuid}, fields)).get(uuid)
    if document is None:
        return Trace("it is not in the queue")
    remote = document["remote"]
    texts = (remote.get("queue_out"), remote.get("queue_err"), remote.get("error"), document.get("error"))
    text = "\n".join(str(part).rstrip() for part in texts if part)
    return Trace("\n".join(text.splitlines()[-lines:]) or "it ended without a word", document.get("run_dir"))


def was_killed(error: str) -> bool:
    """Return whether jobflow-remote's words for a failure mean that the job did not end by itself."""
    return any(words in error for words in KILLED)


def _last_line(text: object) -> str:
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def seconds_of(jobs: MongoCollection[Document], uuids: Collection[str]) -> dict[str, float]:
    """Return uuid to the wall time of all launches of a job in s; see :meth:`hemiec.launch.queue.Queue.seconds`."""
    fields = {"uuid": 1, "state": 1, "start_time": 1, "end_time": 1, "updated_on": 1, "hemiec.seconds": 1}
    seconds: dict[str, float] = {}
    for part in in_chunks(uuids):
        for document in jobs.find(part, fields):
            before = document.get("hemiec", {}).get("seconds", 0.0)
            uuid = document["uuid"]
            seconds[uuid] = seconds.get(uuid, 0.0) + before + (elapsed_s(document) or 0.0)
    return seconds


def blocked_jobs(jobs: MongoCollection[Document], waiting: Collection[str]) -> set[str]:
    """Return which of some waiting jobs cannot run because one that they wait for failed or was cancelled."""
    if not waiting:
        return set()
    dead = latest(jobs.find({"state": {"$in": sorted(_FATAL)}}, {"_id": 0, "uuid": 1, "index": 1, "state": 1}))
    fatal = {uuid for uuid, document in dead.items() if document["state"] in _ALWAYS_FATAL}
    front = set(dead)
    stuck: set[str] = set()
    fields = {"_id": 0, "uuid": 1, "parents": 1, "job.config.on_missing_references": 1}
    while front:
        found: set[str] = set()
        listed = sorted(front)
        for k in range(0, len(listed), CHUNK):
            query = {"parents": {"$in": listed[k : k + CHUNK]}, "state": "WAITING"}
            for document in jobs.find(query, fields):
                parents = front.intersection(document["parents"])
                if not tolerates_failures(document) or parents & (fatal | stuck):
                    found.add(document["uuid"])
        front = found - stuck
        stuck |= found
    return stuck.intersection(waiting)


def tolerates_failures(document: Document) -> bool:
    """Return whether a job runs although some of its parents failed."""
    return document["job"]["config"]["on_missing_references"] != "error"
