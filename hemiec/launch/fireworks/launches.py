"""What Fireworks and their launches say: whose they are, how long they took, why they failed, which wait in vain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from hemiec.store.database import Database, Document

#: So many ids go into one query; more are found by reading all.
_FEW = 20_000


def last_line(launch: Mapping[str, Any]) -> str:
    """Return the last line of a failed launch's traceback, or nothing."""
    return last_line_of(stack_trace(launch))


def last_line_of(text: str) -> str:
    """Return the last line of a text that is not empty, or nothing."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def stack_trace(launch: Mapping[str, Any]) -> str:
    """Return a failed launch's traceback, or nothing."""
    stored = ((launch.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    return str(stored.get("_stacktrace") or "")


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
    where: Document = {"fw_id": {"$in": list(fw_ids)}} if fw_ids is not None and len(fw_ids) <= _FEW else {}
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


def seconds_by_uuid(database: Database, uuids: Collection[str]) -> dict[str, float]:
    """Return job uuid to the wall time of all launches in s: also of those that failed or were lost."""
    listed = list(uuids)
    owner: dict[int, str] = {}
    for k in range(0, len(listed), _FEW):
        query = {"spec.hemiec.uuid": {"$in": listed[k : k + _FEW]}}
        for fw in database["fireworks"].find(query, {"_id": 0, "fw_id": 1, "spec.hemiec.uuid": 1}):
            owner[fw["fw_id"]] = fw["spec"]["hemiec"]["uuid"]
    seconds: dict[str, float] = {}
    for fw_id, took in measured_seconds(database, list(owner)).items():
        if fw_id in owner:
            seconds[owner[fw_id]] = seconds.get(owner[fw_id], 0.0) + took
    return seconds


def blocked_fireworks(database: Database, waiting: Collection[int]) -> set[int]:
    """Return which of some waiting Fireworks cannot run because one that they wait for failed or was cancelled."""
    blocked: set[int] = set()
    if not waiting:
        return blocked
    dead = [
        fw["fw_id"]
        for fw in database["fireworks"].find(
            {"state": {"$in": ["FIZZLED", "DEFUSED", "ARCHIVED"]}}, {"_id": 0, "fw_id": 1}
        )
    ]
    workflows = database["workflows"].find({"nodes": {"$in": dead}}, {"nodes": 1, "parent_links": 1})
    for workflow in workflows:
        nodes = {"fw_id": {"$in": workflow["nodes"]}}
        fields = {"fw_id": 1, "state": 1, "spec._allow_fizzled_parents": 1}
        fireworks = {fw["fw_id"]: fw for fw in database["fireworks"].find(nodes, fields)}
        links = {int(child): parents for child, parents in workflow.get("parent_links", {}).items()}
        open_ones = {fw_id for fw_id, fw in fireworks.items() if fw["state"] == "WAITING"}
        stuck: set[int] = set()
        while more := {i for i in open_ones - stuck if _is_stuck(fireworks[i], links.get(i, []), fireworks, stuck)}:
            stuck |= more
        blocked |= stuck
    return blocked.intersection(waiting)


def _is_stuck(fw: Document, parents: Iterable[int], fireworks: Mapping[int, Document], stuck: set[int]) -> bool:
    fatal = {"DEFUSED", "ARCHIVED"} if fw["spec"].get("_allow_fizzled_parents") else {"DEFUSED", "ARCHIVED", "FIZZLED"}
    return any(p in stuck or fireworks[p]["state"] in fatal for p in parents)


def wanted_by(campaign: str | None, spent: Collection[str]) -> Document:
    """Return the condition on Fireworks that a campaign (or any) asks for whose budget is not spent."""
    if campaign is None:
        return {"spec.hemiec.campaigns": {"$elemMatch": {"$nin": list(spent)}}} if spent else {}
    return {"spec.hemiec.campaigns": campaign if campaign not in spent else {"$in": []}}
