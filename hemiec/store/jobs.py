"""What the store knows of jobs: arguments, parents, launches, and what they left.

The queue says what ran (FireWorks' `fireworks` and `launches`, or jobflow-remote's `jf_jobs`), `outputs` what came out,
GridFS and `data_index` which large objects belong to it.
"""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hemiec.schemas.provenance import JobInput, JobTrace, LaunchTrace, RawFile
from hemiec.store.database import Database, Document

#: A larger argument is only named; it stays in the queue.
_MAX_ARGUMENT_BYTES = 256 * 1024
#: Files of one folder that are listed.
_MAX_FILES = 100
_ABOUT_OUTPUT = {
    "uuid": 1,
    "index": 1,
    "name": 1,
    "completed_at": 1,
    "metadata": 1,
    "output.versions": 1,
    "output.lowest.versions": 1,
    "output.directory": 1,
    "output.files": 1,
    "output.lowest.directory": 1,
    "output.lowest.files": 1,
}


def trace_jobs(
    database: Database, uuids: Iterable[str], *, local_files: bool = False
) -> tuple[list[JobTrace], list[str]]:
    """Return some jobs and all that they took something from, parents first, and what is missing of them in words."""
    found: dict[str, JobTrace] = {}
    front = set(uuids)
    missing: list[str] = []
    while front:
        level = _Level(database, sorted(front))
        for uuid in sorted(front):
            found[uuid], lacking = level.job(uuid, local_files)
            missing += lacking
        front = {i.job_uuid for uuid in front for i in found[uuid].inputs} - set(found)
    return _parents_first(found), missing


def _parents_first(jobs: dict[str, JobTrace]) -> list[JobTrace]:
    ordered: dict[str, JobTrace] = {}
    waiting = dict(sorted(jobs.items()))
    while waiting:
        free = [u for u, job in waiting.items() if all(i.job_uuid not in waiting for i in job.inputs)]
        # Jobs cannot wait for each other; documents that say so are shown in any order.
        for uuid in free or list(waiting):
            ordered[uuid] = waiting.pop(uuid)
    return list(ordered.values())


class _Level:
    """What the store holds of some jobs, read in a few queries."""

    def __init__(self, database: Database, uuids: list[str]) -> None:
        named = {"$in": uuids}
        self.large_objects = database.large_objects
        self.outputs = _latest(database["outputs"].find({"uuid": named, "output": {"$ne": None}}, _ABOUT_OUTPUT))
        self.fireworks = _by(database["fireworks"].find({"spec.hemiec.uuid": named}), lambda d: d["spec"]["hemiec"])
        fw_ids = [fw["fw_id"] for documents in self.fireworks.values() for fw in documents]
        # The environment of a worker is its own business: it may hold what nobody should read.
        hidden = {"fworker.env": 0, "action": 0}
        self.launches: dict[int, list[Document]] = defaultdict(list)
        for launch in database["launches"].find({"fw_id": {"$in": fw_ids}}, hidden).sort("launch_id", 1):
            self.launches[launch["fw_id"]].append(launch)
        self.remote = _by(database["jf_jobs"].find({"uuid": named}).sort("index", 1), lambda d: d)
        self.objects: dict[str, list[RawFile]] = defaultdict(list)
        for entry in database["data.files"].find({"metadata.job_uuid": named}, {"metadata": 1, "length": 1}):
            name = str(entry["metadata"].get("blob_uuid"))
            self.objects[entry["metadata"]["job_uuid"]].append(
                RawFile(kind="gridfs", place=name, bytes=entry["length"], present=True)
            )
        for entry in database["data_index"].find({"job_uuid": named}, {"job_uuid": 1, "blob_uuid": 1}):
            kind: Any = "s3" if database.large_objects.startswith("s3:") else "folder object"
            self.objects[entry["job_uuid"]].append(RawFile(kind=kind, place=str(entry["blob_uuid"])))

    def job(self, uuid: str, local_files: bool) -> tuple[JobTrace, list[str]]:
        """Return one job, and what is missing of it."""
        output = self.outputs.get(uuid, {})
        fireworks = self.fireworks.get(uuid, [])
        remote = self.remote.get(uuid, [])
        job, about = _specification(fireworks, remote)
        about = about or (output.get("metadata") or {}).get("hemiec", {})
        launches = [_launch(launch) for fw in fireworks for launch in self.launches.get(fw["fw_id"], [])] + [
            _remote_launch(document) for document in remote
        ]
        files = [*self.objects.get(uuid, []), *_files(output.get("output") or {}, launches, local_files)]
        stored_argument = "argument_of" in (output.get("metadata") or {})
        shipped = about.get("shipped")
        missing = []
        if not job and not stored_argument and not shipped:
            missing.append(f"job {uuid}: not in the queue, so its arguments and launches are not known")
        if not output:
            missing.append(f"job {uuid} ({about.get('step') or 'unknown step'}): it has no output in the store")
        content = output.get("output") or {}
        function = job.get("function") or {}
        arguments = _arguments(job)
        return JobTrace(
            uuid=uuid,
            index=output.get("index") or job.get("index") or 1,
            name=output.get("name") or job.get("name") or "unknown",
            step=about.get("step"),
            state=_state(bool(output), fireworks, remote),
            function=f"{function['@module']}.{function['@callable']}" if "@callable" in function else None,
            settings={k: v for k, v in (function.get("@bound") or {}).items() if not k.startswith("@")},
            arguments={name: _brief(value) for name, value in arguments.items()},
            inputs=list(_inputs(arguments)),
            protocol=about.get("protocol"),
            protocol_hash=about.get("protocol_hash"),
            versions=content.get("versions") or (content.get("lowest") or {}).get("versions") or {},
            completed_at=output.get("completed_at"),
            shipped_with=shipped["source"] if shipped else None,
            launches=launches,
            files=files,
        ), missing


def _latest(documents: Iterable[Document]) -> dict[str, Document]:
    """Return uuid to document; of a job that was replaced, the last one counts."""
    found: dict[str, Document] = {}
    for document in documents:
        if document["index"] >= found.get(document["uuid"], document)["index"]:
            found[document["uuid"]] = document
    return found


def _by(documents: Iterable[Document], owner: Any) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        found[owner(document)["uuid"]].append(document)
    return found


def _specification(fireworks: list[Document], remote: list[Document]) -> tuple[Document, Document]:
    """Return a job as it was submitted, and what hemiec says of it; nothing if the queue does not have it."""
    if fireworks:
        spec = fireworks[0]["spec"]
        jobs = [task["job"] for task in spec.get("_tasks", []) if isinstance(task.get("job"), dict)]
        return (jobs[0] if jobs else {}), spec["hemiec"]
    if remote:
        job = remote[0]["job"]
        return job, (job.get("metadata") or {}).get("hemiec", {})
    return {}, {}


def _state(has_output: bool, fireworks: list[Document], remote: list[Document]) -> Any:
    states = {str(document.get("state")) for document in (*fireworks, *remote)}
    if has_output:
        return "completed"
    if states & {"FIZZLED", "DEFUSED", "FAILED", "REMOTE_ERROR", "STOPPED", "USER_STOPPED"}:
        return "failed"
    return "unfinished" if states else "unknown"


def _launch(launch: Document) -> LaunchTrace:
    name = str((launch.get("fworker") or {}).get("name") or "")
    reserved = [entry["reservation_id"] for entry in launch.get("state_history", []) if "reservation_id" in entry]
    parts = name.split(":", 4)
    # hemiec's workers carry their allocation in their name: hemiec:host:pid:created:allocation.
    allocation = parts[4] if len(parts) == 5 and parts[0] == "hemiec" else None
    return LaunchTrace(
        state=str(launch.get("state")),
        host=launch.get("host"),
        worker=name or None,
        scheduler_id=allocation or (str(reserved[-1]) if reserved else None),
        started_at=_moment(launch.get("time_start")),
        ended_at=_moment(launch.get("time_end")),
        elapsed_s=launch.get("runtime_secs"),
        folder=launch.get("launch_dir"),
    )


def _remote_launch(document: Document) -> LaunchTrace:
    started, ended = document.get("start_time"), document.get("end_time")
    process = (document.get("remote") or {}).get("process_id")
    return LaunchTrace(
        state=str(document.get("state")),
        host=None,
        worker=document.get("worker"),
        scheduler_id=None if process is None else str(process),
        started_at=_moment(started),
        ended_at=_moment(ended),
        elapsed_s=(ended - started).total_seconds() if started and ended else None,
        folder=document.get("run_dir"),
    )


def _moment(value: object) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else None if value is None else str(value)


def _arguments(job: Document) -> dict[str, Any]:
    positional = {str(k): value for k, value in enumerate(job.get("function_args") or [])}
    return {**positional, **(job.get("function_kwargs") or {})}


def _brief(value: Any) -> Any:
    size = len(json.dumps(value, default=str))
    return value if size <= _MAX_ARGUMENT_BYTES else {"omitted": f"{size} bytes, kept in the queue"}


def _inputs(content: Any) -> Iterator[JobInput]:
    """Yield every reference to another job's output in nested arguments."""
    if isinstance(content, Mapping):
        if content.get("@class") == "OutputReference" and "uuid" in content:
            parts = content.get("attributes") or []
            attribute = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for _, name in parts)
            yield JobInput(job_uuid=content["uuid"], attribute=attribute.lstrip("."))
            return
        for value in content.values():
            yield from _inputs(value)
    elif isinstance(content, list):
        for value in content:
            yield from _inputs(value)


def _files(output: Document, launches: list[LaunchTrace], local_files: bool) -> list[RawFile]:
    """Return the folders that a job ran in and the files that its output names, with sizes if they are here."""
    hosts = {launch.folder: launch.host for launch in launches if launch.folder}
    last = launches[-1].host if launches else None
    found: list[RawFile] = []
    for part in (output, output.get("lowest") or {}):
        if part.get("directory"):
            hosts.setdefault(part["directory"], last)
        found += [_file("file", str(path), last, local_files) for path in (part.get("files") or {}).values()]
    for folder, host in hosts.items():
        found.append(_file("folder", folder, host, local_files))
        if local_files and found[-1].present:
            listed = sorted(p for p in Path(folder).rglob("*") if p.is_file() and not p.is_symlink())[:_MAX_FILES]
            found += [_file("file", str(path), host, True) for path in listed]
    unique = {(file.kind, file.place): file for file in found}
    return list(unique.values())


def _file(kind: Any, place: str, host: str | None, local_files: bool) -> RawFile:
    path = Path(place)
    if not local_files or not path.is_absolute():
        return RawFile(kind=kind, place=place, host=host)
    present = path.exists()
    if not present and host != socket.gethostname():
        return RawFile(kind=kind, place=place, host=host)
    size = path.stat().st_size if present and path.is_file() else None
    return RawFile(kind=kind, place=place, host=host, bytes=size, present=present)
