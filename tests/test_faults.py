"""Nothing is lost and nothing doubled: killed workers, full disks, half-written workflows, silent machines."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from fireworks import FWAction, FWorker, LaunchPad
from jobflow.managers.fireworks import flow_to_workflow
from launching import assert_done, await_, await_done, database, folder, launchpad, server, settings
from pymongo.errors import (
    BulkWriteError,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from quick_jobs import add, events, fill_disk, mark, marks, resume

import hemiec.launch.fireworks.reconcile as reconciling
from hemiec.launch.cluster.scheduler import Allocation, Scheduler
from hemiec.launch.fireworks.locks import mend_workflows
from hemiec.launch.fireworks.names import WorkerName, worker_name
from hemiec.launch.fireworks.reconcile import MAX_LAUNCHES, reconcile
from hemiec.launch.fireworks.worker import DISK_FULL, Assignment
from hemiec.settings import Settings
from hemiec.store.database import Database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.outages import is_outage

__all__ = ["database", "folder", "launchpad", "server", "settings"]  # fixtures
pytestmark = pytest.mark.store


@contextmanager
def workers(n: int, run_dir: Path, *options: str, ping_seconds: int = 30) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Some workers without anybody who watches them."""
    run_dir.mkdir(exist_ok=True)
    program = f"import sys, hemiec.launch.fireworks.worker as w; w.PING_SECONDS = {ping_seconds}; sys.exit(w.main())"
    command = [sys.executable, "-c", program, "--run-dir", str(run_dir), *options]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(n)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            _, said = process.communicate()
            print(said.decode(errors="replace"))  # pytest shows it if the test fails


@pytest.mark.slow
def test_two_hundred_jobs_under_a_random_killer(
    settings: Settings, database: Database, launchpad: LaunchPad, folder: Path, tmp_path: Path
) -> None:
    first = marks(100, folder, seconds=0.3)
    second = [mark(f"after-{k}", str(folder), 0.3, after=parent.output) for k, parent in enumerate(first)]
    names = add(launchpad, [*first, *second])
    generator, kills = random.Random(1), 0
    command = [sys.executable, "-m", "hemiec.cli.main", "work", "-n", "4", "--idle", "13"]
    crew = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while crew.poll() is None:
            time.sleep(generator.uniform(0.2, 0.5))
            found = [WorkerName.read(e["fworker"]["name"]) for e in database["launches"].find({"state": "RUNNING"})]
            if found and kills < 40:
                # Whoever runs a job now: in the middle of it, of taking it or of writing its result.
                victim = generator.choice(found)
                try:
                    os.kill(victim.pid, signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
        _, err = crew.communicate(timeout=60)
    finally:
        crew.kill()
    assert crew.returncode == 0, err
    assert kills > 10
    assert_done(database, names)
    # A job ran again only if the worker that ran it was killed.
    assert sum(events(folder, "started").values()) <= 200 + kills
    assert set(events(folder, "ended")) == set(names.values())


@pytest.mark.slow
def test_twenty_workers_lose_and_double_nothing(
    settings: Settings, database: Database, launchpad: LaunchPad, folder: Path
) -> None:
    first = marks(50, folder)
    names = add(launchpad, [*first, *(mark(f"after-{k}", str(folder), after=p.output) for k, p in enumerate(first))])
    with workers(20, settings.run_dir):
        await_done(database, 120)
    assert_done(database, names)
    assert set(events(folder, "started").values()) == {1}
    assert len(database["launches"].distinct("fworker.name")) > 10


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_gives_its_job_back(
    how: signal.Signals, settings: Settings, database: Database, launchpad: LaunchPad, folder: Path
) -> None:
    long = resume("long", str(folder), steps=20)
    child = mark("child", str(folder), after=long.output)
    names = add(launchpad, [long, child])
    # A child that runs despite failures must not take this for one.
    database["fireworks"].update_one({"name": "child"}, {"$set": {"spec._allow_fizzled_parents": True}})
    with workers(1, settings.run_dir) as (worker,):
        await_(lambda: events(folder, "started")["long"] == 1)
        time.sleep(1)
        worker.send_signal(how)
        assert worker.wait(10) == 0
    states = {fw["name"]: fw["state"] for fw in database["fireworks"].find()}
    assert states == {"long": "READY", "child": "WAITING"}
    with workers(1, settings.run_dir):
        await_done(database)
    assert_done(database, names)
    assert database["outputs"].find_one({"name": "long"})["output"] > 3  # it found what the first launch left


def test_a_worker_stops_in_time(settings: Settings, database: Database, launchpad: LaunchPad, folder: Path) -> None:
    add(launchpad, [resume("long", str(folder), steps=600)], walltime_min=0.01)
    add(launchpad, marks(1, folder), walltime_min=60)
    with workers(1, settings.run_dir, "--until", str(time.time() + 6)) as (worker,):
        assert worker.wait(20) == 0
    assert events(folder, "started") == {"long": 1}  # the other declares more than there is time for
    assert set(database["fireworks"].distinct("state")) == {"READY"}


def test_workers_take_jobs_of_their_category_and_campaign_only(
    settings: Settings, database: Database, launchpad: LaunchPad, folder: Path
) -> None:
    for category in ("mlip", "dft"):
        for campaign in ("one", "two"):
            add(launchpad, [mark(f"{category}-{campaign}", str(folder))], category=category, campaign=campaign)
    with workers(1, settings.run_dir, "--category", "dft", "--campaign", "two"):
        await_(lambda: events(folder, "ended"))
        time.sleep(1)
    assert events(folder, "ended") == {"dft-two": 1}
    assert Assignment("two", ("dft",)).fworker("x").query["spec._category"] == {"$in": ["dft"]}


def test_a_cancelled_job_is_dropped_and_its_worker_goes_on(
    settings: Settings, database: Database, launchpad: LaunchPad, folder: Path
) -> None:
    add(launchpad, marks(1, folder, seconds=600))
    with workers(1, settings.run_dir, ping_seconds=1) as (worker,):
        await_(lambda: events(folder, "started"))
        launchpad.defuse_fw(database["fireworks"].find_one({})["fw_id"])
        add(launchpad, [mark("next", str(folder))])
        await_(lambda: events(folder, "ended")["next"])
        assert worker.poll() is None
    assert database["fireworks"].find_one({"name": "m0"})["state"] == "DEFUSED"


def test_a_job_that_fills_the_disk_comes_back_and_its_worker_stops(
    settings: Settings, database: Database, launchpad: LaunchPad, folder: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small-disk"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs to mount a small disk")
    try:
        add(launchpad, [fill_disk("large", str(folder))])
        with workers(1, small) as (worker,):
            assert worker.wait(30) == DISK_FULL
            assert b"the disk is full" in worker.stderr.read()
        assert events(folder, "started") == {"large": 1}
        assert database["fireworks"].find_one({})["state"] == "READY"
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


class _Killed(BaseException):
    """Stands for SIGKILL between two writes."""


@pytest.mark.parametrize("replaced", [False, True])
def test_a_workflow_that_was_half_written_is_finished(
    replaced: bool, database: Database, launchpad: LaunchPad, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, new = mark("parent", str(folder)), mark("new", str(folder))
    new.name = "new"
    add(launchpad, [parent, mark("child", str(folder), after=parent.output)])
    firework, launch_id = launchpad.checkout_fw(FWorker(name=worker_name()), str(folder))
    action = FWAction(detours=[flow_to_workflow(new)] if replaced else None)

    def killed(*_: object, **__: object) -> None:
        raise _Killed

    workflows = launchpad.workflows
    with monkeypatch.context() as patch:
        patch.setattr(type(workflows), "find_one_and_replace", _only_other_than("workflows", killed))
        with pytest.raises(_Killed):
            launchpad.complete_launch(launch_id, action)
    workflows.update_one({}, {"$set": {"locked": True}})  # Python's way out has unlocked it; SIGKILL has none
    assert database["fireworks"].find_one({"name": "parent"})["state"] == "COMPLETED"
    assert workflows.find_one({})["fw_states"][str(firework.fw_id)] != "COMPLETED"
    monkeypatch.setattr("hemiec.launch.fireworks.locks.GRACE", timedelta(seconds=0.6))
    with ThreadPoolExecutor(3) as pool:  # also when several come across it
        assert sum(pool.map(lambda _: mend_workflows(launchpad), range(3))) == 1
    states = {fw["name"]: fw["state"] for fw in database["fireworks"].find()}
    expected = {"parent": "COMPLETED", "child": "READY"}
    assert states == (expected | {"child": "WAITING", "new": "READY"} if replaced else expected)
    workflow = workflows.find_one({})
    assert set(workflow["nodes"]) == set(database["fireworks"].distinct("fw_id"))
    assert {int(k): v for k, v in workflow["fw_states"].items()} == {
        fw["fw_id"]: fw["state"] for fw in database["fireworks"].find()
    }
    assert not workflow.get("locked")


def _only_other_than(name: str, replacement: Callable[..., object]) -> Callable[..., object]:
    from pymongo.collection import Collection

    original = Collection.find_one_and_replace

    def method(self: Collection[dict[str, object]], *args: object, **kwargs: object) -> object:
        return (replacement if self.name == name else original)(self, *args, **kwargs)

    return method


class _Known(Scheduler):
    """A scheduler with a given answer, for the cases that a real one shows only after minutes."""

    q_type, prefix, command, answer = "KNOWN", "known", "no-such-command", ""

    def __init__(self, *allocations: Allocation, answers: bool = True) -> None:
        self.known = {allocation.name: allocation for allocation in allocations} if answers else None

    def allocations(self) -> dict[str, Allocation] | None:
        return self.known

    def nodes(self) -> frozenset[str]:
        return frozenset({"n01"})


NOW = datetime.now(UTC)
RUNS = Allocation("known-1", "running", started=NOW - timedelta(hours=5), nodes=("n01",))
REQUEUED = Allocation("known-1", "running", started=NOW + timedelta(hours=2), nodes=("n01",))


@pytest.mark.parametrize(
    ("name", "scheduler", "lost_if_silent", "lost_at_once"),
    [
        ("hemiec:n01:1:1:known-1", _Known(RUNS), False, False),
        ("hemiec:n01:1:1:known-1", _Known(Allocation("known-1", "ended")), True, True),
        ("hemiec:n01:1:1:known-1", _Known(Allocation("known-1", "waiting")), True, True),
        ("hemiec:n01:1:1:known-1", _Known(Allocation("known-1", "ending")), True, False),
        ("hemiec:n01:1:1:known-1", _Known(REQUEUED), True, False),
        ("hemiec:n01:1:1:known-1", _Known(), True, False),  # may be somebody else's
        ("hemiec:n01:1:1:known-1", _Known(answers=False), False, False),
        ("hemiec:n01:1:1:other-1", _Known(), False, False),  # of another cluster
        ("hemiec:n01:1:1", _Known(), True, False),  # in no allocation
        ("plain rlaunch", _Known(RUNS), False, False),
        ("plain rlaunch", _Known(), True, False),
        ("plain rlaunch", _Known(answers=False), False, False),
    ],
)
def test_who_is_believed_lost(
    name: str,
    scheduler: Scheduler,
    lost_if_silent: bool,
    lost_at_once: bool,
    database: Database,
    launchpad: LaunchPad,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(launchpad, marks(1, folder))
    firework, _ = launchpad.checkout_fw(FWorker(name=name), str(folder), host="n01")
    # Silent for hours; but the database was away until now, so nobody could have signed.
    long_ago = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    database["launches"].update_one({}, {"$set": {"state_history.0.updated_on": long_ago}})
    lost = reconcile(database, launchpad, scheduler=scheduler, reachable_since=datetime.now(UTC))
    assert lost == ([firework.fw_id] if lost_at_once else [])
    if not lost_at_once:
        monkeypatch.setattr(reconciling._Census, "could_sign_since", NOW - timedelta(hours=4))
        lost = reconcile(database, launchpad, scheduler=scheduler)
        assert lost == ([firework.fw_id] if lost_if_silent else [])
    assert database["fireworks"].find_one({})["state"] == ("READY" if lost_if_silent else "RUNNING")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ServerSelectionTimeoutError("no server"), True),
        (WriteConcernError("shutting down", 11600, {"code": 11600}), True),
        (BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 91, "errmsg": "shutting down"}]}), True),
        (OperationFailure("disk is full", 14031), True),
        (OperationFailure("not allowed", 13), False),
        (BulkWriteError({"writeErrors": [{"code": 11000}]}), False),
        (DocumentTooLarge("too large"), False),
    ],
)
def test_only_errors_that_pass_are_waited_for(error: PyMongoError, passes: bool) -> None:
    assert is_outage(error) is passes


def test_nobody_is_silent_for_longer_than_the_database_runs(database: Database, server: EmbeddedMongod) -> None:
    started = reconciling._Census(database, None, None).could_sign_since
    process = psutil.Process(server.status().pid)
    assert abs(started.timestamp() - process.create_time()) < 5
    later = datetime.now(UTC)
    assert reconciling._Census(database, None, later).could_sign_since == later


def test_several_that_reconcile_bring_a_job_back_once(database: Database, launchpad: LaunchPad, folder: Path) -> None:
    add(launchpad, marks(8, folder))
    dead = worker_name().replace(f":{os.getpid()}:", ":999999:")
    for _ in range(8):
        launchpad.checkout_fw(FWorker(name=dead), str(folder))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: reconcile(database, launchpad), range(4)))
    assert sorted(fw_id for lost in found for fw_id in lost) == sorted(database["fireworks"].distinct("fw_id"))
    assert {len(fw["archived_launches"]) for fw in database["fireworks"].find()} == {1}


def test_what_was_taken_and_never_started_is_released(
    database: Database, launchpad: LaunchPad, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(launchpad, marks(1, folder))
    launchpad._get_a_fw_to_run({})  # the first step of taking it; killed before the second
    assert database["fireworks"].find_one({})["state"] == "RESERVED"
    assert reconcile(database, launchpad) == []  # it may be on its way
    monkeypatch.setattr(reconciling, "GRACE", timedelta(0))
    assert len(reconcile(database, launchpad)) == 1
    assert database["fireworks"].find_one({})["state"] == "READY"


def test_a_result_that_was_written_before_its_worker_was_killed_counts(
    database: Database, launchpad: LaunchPad, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(launchpad, marks(1, folder))
    dead = worker_name().replace(f":{os.getpid()}:", ":999999:")
    _, launch_id = launchpad.checkout_fw(FWorker(name=dead), str(folder))
    with monkeypatch.context() as patch:
        patch.setattr(launchpad, "_refresh_wf", lambda fw_id: None)
        launchpad.complete_launch(launch_id, FWAction())
    assert database["fireworks"].find_one({})["state"] == "RUNNING"
    monkeypatch.setattr(reconciling, "GRACE", timedelta(0))
    assert reconcile(database, launchpad) == []
    assert database["fireworks"].find_one({})["state"] == "COMPLETED"


def test_a_job_that_kills_every_worker_is_given_up(database: Database, launchpad: LaunchPad, folder: Path) -> None:
    add(launchpad, marks(1, folder))
    dead = worker_name().replace(f":{os.getpid()}:", ":999999:")
    for _ in range(MAX_LAUNCHES - 1):
        launchpad.checkout_fw(FWorker(name=dead), str(folder))
        assert len(reconcile(database, launchpad)) == 1
    launchpad.checkout_fw(FWorker(name=dead), str(folder))
    assert reconcile(database, launchpad) == []
    assert database["fireworks"].find_one({})["state"] == "FIZZLED"


def test_jobs_without_a_campaign_take_that_of_their_workflow(
    database: Database, launchpad: LaunchPad, folder: Path
) -> None:
    first = mark("first", str(folder))
    add(launchpad, [first, mark("second", str(folder), after=first.output)])
    add(launchpad, [mark("foreign", str(folder))])
    database["fireworks"].update_many({"name": {"$ne": "first"}}, {"$unset": {"spec.hemiec.campaigns": ""}})
    reconcile(database, launchpad)
    found = {fw["name"]: fw["spec"]["hemiec"].get("campaigns") for fw in database["fireworks"].find()}
    assert found == {"first": ["quick"], "second": ["quick"], "foreign": None}
