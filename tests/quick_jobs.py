"""Jobs that take a moment, for tests of what runs them, and workflows of them as hemiec submits its own."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from fireworks import LaunchPad, Workflow
from jobflow import Job, Response, job
from jobflow.managers.fireworks import job_to_firework

from hemiec.files import write_whole

#: A note that a job finds in the folder of its last launch.
NOTE = "restart.txt"


@job
def mark(name: str, folder: str, seconds: float = 0.0, after: object = None) -> str:
    """Note that the job started, take a while, note that it ended."""
    _note(folder, "started", name)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
    _note(folder, "ended", name)
    return name


@job
def resume(name: str, folder: str, steps: int) -> int:
    """Count up to a number of tenths of a second, from where the last launch left off; return where it started."""
    import json

    first = 0
    for launch in json.loads(Path("FW.json").read_text()).get("archived_launches", []):
        left = Path(launch["launch_dir"]) / NOTE
        if left.exists():
            first = max(first, int(left.read_text()))
    _note(folder, "started", name)
    for step in range(first, steps):
        time.sleep(0.1)
        write_whole(Path(NOTE), str(step + 1))  # it may be interrupted in the middle
    _note(folder, "ended", name)
    return first


@job
def fill_disk(name: str, folder: str) -> str:
    """Write more than a small disk holds."""
    _note(folder, "started", name)
    Path("large").write_bytes(bytes(200 * 1024**2))
    return name


@job
def detour(name: str, folder: str) -> Response[Any]:
    """Be replaced by another job, made at run time."""
    return Response(replace=mark(f"{name}-detour", folder))


def _note(folder: str, event: str, name: str) -> None:
    descriptor = os.open(Path(folder) / "events.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{event} {name} {time.time()}\n".encode())
    finally:
        os.close(descriptor)


def events(folder: Path, event: str) -> Counter[str]:
    """How often each job started or ended."""
    path = folder / "events.txt"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return Counter(name for what, name, _ in lines if what == event)


def add(
    launchpad: LaunchPad, jobs: list[Job], *, category: str = "mlip", walltime_min: float = 1, campaign: str = "quick"
) -> dict[str, str]:
    """Put jobs on the LaunchPad, each with those of its parents that are among them, and return uuid to name."""
    parents = {job.uuid: [u for u in job.input_uuids if u in {other.uuid for other in jobs}] for job in jobs}
    groups: list[list[Job]] = []
    for each in jobs:
        home = next((g for g in groups if {m.uuid for m in g} & set(parents[each.uuid])), None)
        groups.append([each]) if home is None else home.append(each)
    workflows = []
    for group in groups:
        made: dict[str, Any] = {}
        fireworks = []
        for each in group:
            kind, each.name = each.name, str(each.function_args[0])
            each.metadata["hemiec"] = {
                "uuid": each.uuid,
                "kind": kind,
                "step": kind,
                "label": each.name,
                "protocol": None,
                "tier": None,
                "campaigns": [campaign],
                "resources": {
                    "category": category, "cores": 1, "memory_gib": 1, "gpus": 0, "walltime_min": walltime_min,
                },
            }  # fmt: skip
            each.config.manager_config["_category"] = category
            fireworks.append(job_to_firework(each, None, parents=parents[each.uuid], parent_mapping=made))
        workflows.append(Workflow(fireworks, name=group[0].name))
    launchpad.bulk_add_wfs(workflows)
    return {each.uuid: each.name for each in jobs}


def marks(n: int, folder: Path, *, seconds: float = 0.0) -> list[Job]:
    """Independent jobs, named m0, m1, ..."""
    return [mark(f"m{k}", str(folder), seconds) for k in range(n)]


def new_uuid() -> str:
    return str(uuid.uuid4())
