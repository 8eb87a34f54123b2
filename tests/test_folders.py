"""Run folders that are compressed and pruned, and events that reach a hook command."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hemiec.launch import notify as notify_module
from hemiec.launch.fireworks.folders import Policy, tidy, tidy_after
from hemiec.launch.notify import notify
from hemiec.settings import Settings
from hemiec.store.database import Database, open_database

TEXT = "energy -1.234567\n" * 5_000


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder with what VASP and GPAW leave, and links that lead out of it."""
    run_dir = tmp_path / "runs"
    folder = run_dir / "job"
    (folder / "step").mkdir(parents=True)
    for name in ("OUTCAR", "step/gpaw.txt", "WAVECAR.gz", "FW.json", "CONTCAR"):
        (folder / name).write_text(TEXT)
    (folder / "small.txt").write_text("few")
    (folder / "CHGCAR").write_bytes(bytes(100_000))
    (folder / "restart.gpw").write_bytes(os.urandom(50_000))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text(TEXT)
    (folder / "link.txt").symlink_to(outside / "precious.txt")
    (folder / "elsewhere").symlink_to(outside)
    return run_dir


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


EVERYTHING = {"OUTCAR", "step/gpaw.txt", "WAVECAR.gz", "FW.json", "CONTCAR", "small.txt", "CHGCAR", "restart.gpw"}
RESTARTS = {"WAVECAR.gz", "FW.json", "CONTCAR", "CHGCAR", "restart.gpw"}
COMPRESSED = {"OUTCAR.gz", "step/gpaw.txt.gz", "CONTCAR.gz"} | EVERYTHING - {"OUTCAR", "step/gpaw.txt", "CONTCAR"}


@pytest.mark.parametrize(
    ("policy", "finished", "left"),
    [
        ("all", True, EVERYTHING),
        ("compressed", True, COMPRESSED),
        ("compressed", False, EVERYTHING),
        ("failed", True, set()),
        ("failed", False, EVERYTHING),
        ("none", True, set()),
        ("none", False, RESTARTS),
    ],
)
def test_policies(run_dir: Path, policy: Policy, finished: bool, left: set[str]) -> None:
    folder = run_dir / "job"
    for _ in range(2):  # a second time changes nothing
        tidy(folder, policy, run_dir=run_dir, finished=finished)
        assert files(folder) == left if left else not folder.exists()
    if "OUTCAR.gz" in left:
        assert gzip.decompress((folder / "OUTCAR.gz").read_bytes()).decode() == TEXT
    # Nothing outside is touched, whatever links say.
    assert (run_dir.parent / "outside" / "precious.txt").read_text() == TEXT


def test_a_kill_in_the_middle_loses_nothing(run_dir: Path) -> None:
    folder = run_dir / "job"
    (folder / "OUTCAR.hemiec-part").write_bytes(b"half")  # killed while it was written
    (folder / "step" / "gpaw.txt.gz").write_bytes(b"old")  # killed before the original was removed
    tidy(folder, "compressed", run_dir=run_dir, finished=True)
    assert files(folder) == COMPRESSED
    for name in ("OUTCAR.gz", "step/gpaw.txt.gz"):
        assert gzip.decompress((folder / name).read_bytes()).decode() == TEXT


def test_only_folders_below_the_run_folder_are_touched(run_dir: Path) -> None:
    outside = run_dir.parent / "outside"
    (run_dir / "link").symlink_to(outside)
    for folder in (outside, run_dir / "link", run_dir / ".." / "outside", run_dir, run_dir / "job" / "elsewhere"):
        tidy(folder, "none", run_dir=run_dir, finished=True)
    assert (outside / "precious.txt").exists() and files(run_dir / "job") == EVERYTHING


@pytest.fixture
def database(settings: Settings) -> Any:
    with closing(open_database(settings)) as database:
        yield database


def workflow(database: Database, run_dir: Path, *states: str) -> None:
    """Put a workflow on the LaunchPad, each job with a launch in run_dir/<number> and one that was lost before."""
    database["workflows"].insert_one({"nodes": list(range(1, len(states) + 1))})
    for fw_id, state in enumerate(states, start=1):
        launches = [10 * fw_id] if state != "WAITING" else []
        archived = [10 * fw_id + 1] if launches else []
        database["fireworks"].insert_one(
            {"fw_id": fw_id, "state": state, "launches": launches, "archived_launches": archived}
        )
        for launch_id in (*launches, *archived):
            folder = run_dir / str(launch_id)
            folder.mkdir(parents=True)
            (folder / "out.txt").write_text(TEXT)
            (folder / "restart.gpw").write_bytes(b"\0")
            database["launches"].insert_one({"launch_id": launch_id, "launch_dir": str(folder)})


@pytest.mark.store
def test_folders_go_when_no_open_job_can_read_them(database: Database, tmp_path: Path) -> None:
    run_dir = tmp_path / "runs"
    workflow(database, run_dir, "COMPLETED", "FIZZLED", "WAITING")
    everything = {f"{n}/{name}" for n in (10, 11, 20, 21) for name in ("out.txt", "restart.gpw")}
    for policy in ("all", "failed", "none"):
        tidy_after(database, 1, policy, run_dir)
        assert files(run_dir) == everything  # the third may start from the folder of the first
    tidy_after(database, 1, "compressed", run_dir)
    tidy_after(database, 2, "compressed", run_dir)
    compressed = {"10/out.txt.gz", "11/out.txt.gz"} | everything - {"10/out.txt", "11/out.txt"}
    assert files(run_dir) == compressed
    database["fireworks"].update_one({"fw_id": 3}, {"$set": {"state": "COMPLETED"}})
    tidy_after(database, 3, "failed", run_dir)
    assert files(run_dir) == {name for name in everything if name.startswith("2")}
    tidy_after(database, 3, "none", run_dir)
    assert files(run_dir) == {"20/restart.gpw", "21/restart.gpw"}
    tidy_after(database, 99, "none", run_dir)  # no such job


def hook(settings: Settings, tmp_path: Path, code: str) -> Settings:
    script = tmp_path / "my hook.py"
    script.write_text(f"import json, os, subprocess, sys, time\n{code}\n")
    return settings.model_copy(update={"hook": f"{sys.executable} {shlex.quote(str(script))} 'one argument; true'"})


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", mongo_uri=None)


def test_the_hook_gets_the_event(plain: Settings, tmp_path: Path) -> None:
    assert not notify(plain, "settled")  # none is set
    assert not plain.data_dir.exists()
    code = f"json.dump([json.load(sys.stdin), sys.argv[1:]], open({str(tmp_path / 'got')!r}, 'w')); print('told them')"
    settings = hook(plain, tmp_path, code)
    counts = {"done": 3, "failed": 1}
    assert notify(settings, "settled", campaign="quick; rm -rf", counts=counts, folder=tmp_path)
    event, arguments = json.loads((tmp_path / "got").read_text())
    assert event.pop("time").endswith("+00:00")
    assert event == {"event": "settled", "campaign": "quick; rm -rf", "counts": counts, "folder": str(tmp_path)}
    assert arguments == ["one argument; true"]  # no shell took it apart
    assert (plain.data_dir / "hook.log").read_text().endswith("settled quick; rm -rf: taken\ntold them\n")


@pytest.mark.parametrize(
    ("code", "reason"),
    [("sys.exit(3)", "exit code 3"), ("os.close(0); time.sleep(0.1); sys.exit(4)", "exit code 4")],
    ids=["fails", "does not read"],
)
def test_a_failing_hook_is_logged_only(plain: Settings, tmp_path: Path, code: str, reason: str) -> None:
    assert not notify(hook(plain, tmp_path, code), "lost", text="x" * 200_000)
    assert reason in (plain.data_dir / "hook.log").read_text()


@pytest.mark.parametrize("command", ["/no/such/program", "'unclosed", "  "])
def test_a_wrong_command_is_logged_only(plain: Settings, command: str) -> None:
    assert not notify(plain.model_copy(update={"hook": command}), "budget")
    assert "taken" not in (plain.data_dir / "hook.log").read_text()


def test_a_hook_that_hangs_is_stopped_with_all_it_started(
    plain: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify_module, "TIME_LIMIT_S", 1.0)
    child = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid)); time.sleep(600)"
    assert not notify(hook(plain, tmp_path, child), "promoted")
    assert "stopped after 1 s" in (plain.data_dir / "hook.log").read_text()
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not alive(pid):
            break
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_an_unknown_event_is_a_mistake_of_the_caller(plain: Settings) -> None:
    with pytest.raises(ValueError, match="no event"):
        notify(plain.model_copy(update={"hook": "true"}), "finished")  # type: ignore[arg-type]
