"""What Fireworks and their launches say: whose they are, how long they took, why they failed, which wait in vain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hemiec.store.database import Database, Document
from hemiec.store.queue.fireworks import CHUNK, measured_seconds


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


def seconds_by_uuid(database: Database, uuids: Collection[str]) -> dict[str, float]:
    """Return job uuid to the wall time of all launches in s: also of those that failed or were lost."""
    listed = list(uuids)
    owner: dict[int, str] = {}
    for k in range(0, len(listed), CHUNK):
        query = {"spec.hemiec.uuid": {"$in": listed[k : k + CHUNK]}}
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
