"""What the hook is told: new failures once, spent budgets, lost jobs, steps up a ladder, the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fireworks import FWAction, FWorker, LaunchPad

from hemiec.launch.fireworks.names import worker_name
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.ladder import Advance
from hemiec.launch.status import read_status
from hemiec.launch.submit import submit
from hemiec.launch.watch import Watch, look_after
from hemiec.settings import Settings
from hemiec.workflows.campaign import load_campaign

pytestmark = pytest.mark.store


@pytest.fixture
def told(settings: Settings, tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """A hook that keeps what it is told, and a function that returns it."""
    kept = tmp_path / "told.jsonl"
    script = tmp_path / "hook.py"
    script.write_text(f"import sys\nopen({str(kept)!r}, 'a').write(sys.stdin.read() + '\\n')\n")
    settings.hook = f"{sys.executable} {script}"
    return lambda: [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


@pytest.fixture
def watch(settings: Settings, queue: FireWorksQueue, tmp_path: Path) -> Watch:
    path = tmp_path / "two.yaml"
    two = {
        "name": "two",
        "space": [{"A": {"choose": 1, "from": ["Sr", "Ba"]}, "B": {"Ti": 1}}],
        "sqs": {"max_atoms": 5, "quality": "fast"},
        "protocols": {"gap": None, "barrier": None},
        "competitors": "none",
        "shipped_references": False,
        "budget": {"core_hours": 1e-9},
    }
    path.write_text(yaml.safe_dump(two))
    submit(queue, load_campaign(path))
    return Watch(settings, queue, "two")


def fail(launchpad: LaunchPad, kind: str, message: str) -> None:
    worker = FWorker(name="hemiec:elsewhere:1:1", query={"spec.hemiec.kind": kind})
    _, launch_id = launchpad.checkout_fw(worker, "/a/folder")
    trace = {"_exception": {"_stacktrace": f"Traceback (most recent call last):\n{message}\n"}}
    launchpad.complete_launch(launch_id, FWAction(stored_data=trace), "FIZZLED")


def test_a_cause_is_told_once_and_a_spent_budget_too(
    watch: Watch, launchpad: LaunchPad, told: Callable[[], list[dict[str, Any]]]
) -> None:
    fail(launchpad, "reference", "ValueError: of before")
    lines = watch.look()
    assert len(lines) == 1 and "budget of 1e-09 core-hours is spent" in lines[0]  # what failed before is no news
    fail(launchpad, "sqs", "ValueError: cell of 3.8 angstrom")
    fail(launchpad, "sqs", "ValueError: cell of 4.1 angstrom")
    (line,) = watch.look()
    assert "sqs failed: ValueError: cell of" in line
    assert watch.look() == []
    budget, failed = told()
    assert (budget["event"], budget["campaign"]) == ("budget", "two")
    assert budget["core_hours"] >= budget["budget_core_hours"]
    assert failed["event"] == "failed" and failed["job"]["step"] == "sqs"


def test_lost_jobs_steps_and_the_end_are_told(
    watch: Watch, queue: FireWorksQueue, told: Callable[[], list[dict[str, Any]]]
) -> None:
    watch.lost([])
    watch.lost(["a", "b"])
    watch.climbed([Advance("two"), Advance("two", 5, ["2 candidates enter tier relax"])])
    watch.settled(read_status(queue, "two"))
    lost, promoted, settled = told()
    assert lost["event"] == "lost" and lost["uuids"] == ["a", "b"]
    assert promoted["event"] == "promoted" and promoted["message"] == "2 candidates enter tier relax"
    assert settled["event"] == "settled" and settled["counts"]["ready"] > 0


def test_looking_after_brings_lost_jobs_back_and_ends_when_all_has_settled(
    watch: Watch, queue: FireWorksQueue, launchpad: LaunchPad, told: Callable[[], list[dict[str, Any]]]
) -> None:
    dead = worker_name().replace(f":{os.getpid()}:", ":999999:")
    firework, _ = launchpad.checkout_fw(FWorker(name=dead), "/a/folder")
    lines: list[str] = []
    look_after(watch, interval=0.1, report=lines.append, once=True)
    assert lines[0] == "1 lost jobs are ready again" and told()[0]["event"] == "lost"
    assert launchpad.get_fw_dict_by_id(firework.fw_id)["state"] == "READY"
    look_after(watch, interval=0.1, report=lines.append)  # the budget is spent: nothing can run any more
    assert told()[-1]["event"] == "settled"
