"""What a FireWorks LaunchPad says of jobs: state, time, whose they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from hemiec.store.database import Database, Document
from hemiec.store.queue.states import State, Tally

#: FireWorks' states in words for people.
STATES: dict[str, State] = {
    "COMPLETED": "done",
    "RUNNING": "running",
    "RESERVED": "running",
    "READY": "ready",
    "WAITING": "waiting",
    "FIZZLED": "failed",
    "DEFUSED": "cancelled",
    "ARCHIVED": "cancelled",
    "PAUSED": "paused",
}
#: Ids in one query: MongoDB takes no query of more than 16 MB.
CHUNK = 20_000


def tally_fireworks(
    database: Database, campaign: str | None = None, *, costs: bool = False, spent: Collection[str] = ()
) -> list[Tally]:
    """Return the counts of a campaign's Fireworks, or of all, by index alone.

    Parameters
    ----------
    database
        With the LaunchPad.
    campaign
        Its name; None for all.
    costs
        Whether ``core_seconds`` are gathered; 0 if not.
    spent
        Leave out jobs that only these campaigns ask for.
    """
    fields: Document = {
        "tier": "$spec.hemiec.tier",
        "kind": "$spec.hemiec.kind",
        "protocol": "$spec.hemiec.protocol",
        "cores": "$spec.hemiec.resources.cores",
        "state": "$state",
    }
    group: Document = {"_id": fields, "n": {"$sum": 1}}
    if costs:
        # Ids by the hundred thousand, so that no group outgrows a document.
        fields["part"] = {"$floor": {"$divide": ["$fw_id", 100_000]}}
        group["ids"] = {"$push": "$fw_id"}
    # Any name at all: a bound of the index, unlike `$exists`, for which the Fireworks themselves are read.
    match = {"$match": wanted_by(campaign, spent) or {"spec.hemiec.campaigns": {"$gt": ""}}}
    groups = list(database["fireworks"].aggregate([match, {"$group": group}]))
    wanted = None if campaign is None else [fw_id for g in groups for fw_id in g.get("ids", ())]
    seconds = measured_seconds(database, wanted) if costs else {}
    found: dict[tuple[str | None, str, str | None, State], Tally] = {}
    for entry in groups:
        about = entry["_id"]
        cores = about.get("cores") or 1
        key = (about.get("tier"), about.get("kind") or "", about.get("protocol"), STATES[about["state"]])
        so_far = found.get(key) or Tally(*key, n=0)
        found[key] = Tally(
            *key,
            n=so_far.n + entry["n"],
            cores=so_far.cores + cores * entry["n"],
            core_seconds=so_far.core_seconds + cores * sum(seconds.get(fw_id, 0.0) for fw_id in entry.get("ids", ())),
        )
    return list(found.values())


def job_states(database: Database, uuids: Collection[str]) -> dict[str, Document]:
    """Return uuid to fw_id and FireWorks' state for every job that has a Firework or a result."""
    fields = {"_id": 0, "fw_id": 1, "state": 1, "spec.hemiec.uuid": 1}
    known: dict[str, Document] = {}
    for where in in_chunks(uuids):
        found = database["fireworks"].find(where, fields)
        # Of a job that was replaced, the last Firework counts.
        for fw in sorted(found, key=lambda fw: fw["fw_id"]):
            known[fw["spec"]["hemiec"]["uuid"]] = {"fw_id": fw["fw_id"], "state": fw["state"]}
    # Results without a Firework come from elsewhere (restored, imported); they count as finished.
    missing = [u for u in uuids if u not in known]
    for k in range(0, len(missing), CHUNK):
        query = {"uuid": {"$in": missing[k : k + CHUNK]}, "output": {"$ne": None}}
        for output in database["outputs"].find(query, {"uuid": 1}):
            known[output["uuid"]] = {"fw_id": None, "state": "COMPLETED"}
    return known


def in_chunks(uuids: Collection[str]) -> Iterator[Document]:
    """Yield queries for the Fireworks of some jobs."""
    listed = list(uuids)
    for k in range(0, len(listed), CHUNK):
        yield {"spec.hemiec.uuid": {"$in": listed[k : k + CHUNK]}}


def launch_seconds(launch: Mapping[str, Any], *, running: bool) -> float | None:
    """Return how long a launch ran, in s; None if it never started.

    One that was lost counts to its last heartbeat, one that still runs to now.
    """
    history = {entry["state"]: entry for entry in launch.get("state_history", [])}
    start = history.get("RUNNING")
    if start is None:
        return None
    ended = history.get("COMPLETED") or history.get("FIZZLED")
    if ended is not None:
        end = _time(ended["created_on"])
    else:
        end = datetime.now(UTC) if running else _time(start.get("updated_on") or start["created_on"])
    return max(0.0, (end - _time(start["created_on"])).total_seconds())


def _time(moment: str | datetime) -> datetime:
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def measured_seconds(database: Database, fw_ids: Collection[int] | None) -> dict[int, float]:
    """Return fw_id to the wall time of all its launches in s; None asks for all Fireworks.

    Times of launches that ended are read from an index; the few that run or were lost are looked at one by one.
    """
    where: Document = {"fw_id": {"$in": list(fw_ids)}} if fw_ids is not None and len(fw_ids) <= CHUNK else {}
    part = {"$floor": {"$divide": ["$fw_id", 100_000]}}
    group = {"_id": part, "ids": {"$push": "$fw_id"}, "seconds": {"$push": "$runtime_secs"}}
    ended = {"$match": {**where, "runtime_secs": {"$gte": 0}}}
    seconds: dict[int, float] = {}
    for entry in database["launches"].aggregate([ended, {"$group": group}]):
        for fw_id, took in zip(entry["ids"], entry["seconds"], strict=True):
            seconds[fw_id] = seconds.get(fw_id, 0.0) + took
    running = set(database["fireworks"].distinct("launches", {"state": "RUNNING"}))
    fields = {"fw_id": 1, "launch_id": 1, "state_history": 1}
    for launch in database["launches"].find({**where, "runtime_secs": None}, fields):
        took = launch_seconds(launch, running=launch["launch_id"] in running)
        seconds[launch["fw_id"]] = seconds.get(launch["fw_id"], 0.0) + (took or 0.0)
    return seconds


def wanted_by(campaign: str | None, spent: Collection[str]) -> Document:
    """Return the condition on Fireworks that a campaign (or any) asks for whose budget is not spent."""
    if campaign is None:
        return {"spec.hemiec.campaigns": {"$elemMatch": {"$nin": list(spent)}}} if spent else {}
    return {"spec.hemiec.campaigns": campaign if campaign not in spent else {"$in": []}}
