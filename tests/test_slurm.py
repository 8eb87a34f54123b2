"""Jobs on a real Slurm: submission, every loss that one machine can produce, and FireWorks' own tools beside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from fireworks import LaunchPad
from launching import assert_done, await_, await_done, database, folder, launchpad, server, settings
from quick_jobs import add, detour, events, mark, marks, resume
from slurm import CLUSTER, SlurmCluster, slurm

from hemiec.launch.fireworks.names import WorkerName
from hemiec.launch.fireworks.reconcile import reconcile
from hemiec.store.database import Database
from hemiec.store.mongod import EmbeddedMongod

__all__ = ["database", "folder", "launchpad", "server", "settings", "slurm"]  # fixtures
pytestmark = [pytest.mark.store, pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

BIN = Path(sys.executable).parent
#: A node of its own name, as on a cluster: nobody can then look at its processes from elsewhere.
OWN_HOST = "exec unshare --uts sh -c 'hostname $SLURMD_NODENAME; exec {command}'"


@pytest.fixture
def launch(tmp_path: Path, slurm: SlurmCluster) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `hemiec launch` with a qadapter that runs a command."""
    running: list[subprocess.Popen[str]] = []

    def start(
        *options: str, command: str | None = None, own_host: bool = False, requeue: bool = False
    ) -> subprocess.Popen[str]:
        command = command or "hemiec work --category mlip --workers 2 --idle 3"
        rocket_launch = OWN_HOST.format(command=command) if own_host else f"exec {command}"
        write_qadapter(tmp_path, rocket_launch, requeue=requeue)
        process = hemiec("launch", "--config", str(tmp_path), "--interval", "1", *options, cwd=tmp_path)
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()
    slurm.command("scancel", "--user=root")
    await_(lambda: set(slurm.states().values()) <= {"CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT"}, 30)


def write_qadapter(folder: Path, command: str, *, requeue: bool = False) -> Path:
    content = {
        "_fw_name": "CommonAdapter",
        "_fw_q_type": "SLURM",
        "nodes": 1,
        "ntasks": 1,
        "cpus_per_task": 2,
        "walltime": "03:00:00",  # longer than any job declares
        "queue": "debug",
        "pre_rocket": f"#SBATCH {'--requeue' if requeue else '--no-requeue'}\nexport PATH={BIN}:$PATH",
        "rocket_launch": command,
    }
    path = folder / "my_qadapter_mlip.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def hemiec(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(BIN / "hemiec"), *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str], seconds: float = 90) -> str:
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, f"{out}\n{err}"
    return out


def running(database: Database) -> list[WorkerName]:
    """The workers that run a job."""
    found = [WorkerName.read(e["fworker"]["name"]) for e in database["launches"].find({"state": "RUNNING"})]
    return [worker for worker in found if worker is not None]


def test_jobs_run_in_allocations_that_end_when_nothing_is_left(
    database: Database, launchpad: LaunchPad, folder: Path, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = mark("first", str(folder))
    names = add(launchpad, [first, mark("second", str(folder), after=first.output), *marks(8, folder)])
    out = finish(launch("--max-allocations", "1"))
    assert_done(database, names)
    assert set(events(folder, "started").values()) == {1}
    assert out.count("asked for") == 1
    (record,) = database["allocations"].find()
    assert record["_id"].endswith(f"@{CLUSTER}")
    workers = {WorkerName.read(e["fworker"]["name"]).allocation for e in database["launches"].find()}
    assert workers == {record["_id"]}
    await_(lambda: "nothing has been ready" in _printed(record["folder"]), 30)
    # Again there is nothing to do.
    assert finish(hemiec("launch", "--config", str(tmp_path), "--interval", "1", cwd=tmp_path)).count("asked for") == 0


@pytest.mark.slow
@pytest.mark.mlip
def test_a_campaign_from_submission_to_its_results(
    database: Database, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    campaign = {
        "name": "small",
        "space": [{"A": {"Sr": "1/2", "Ba": "1/2"}, "B": {"Ti": 1}}],
        "sqs": {"max_atoms": 10, "quality": "fast"},
        "protocols": {"gap": None, "barrier": None},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(campaign))
    finish(hemiec("submit", "small.yaml", cwd=tmp_path))
    out = finish(launch("small", command="hemiec work --category mlip --workers 2 --idle 10"), 240)
    assert "all jobs have settled" in out
    assert set(database["fireworks"].distinct("state")) == {"COMPLETED"}
    finish(hemiec("build", cwd=tmp_path))
    (candidate,) = database["candidates"].find()
    assert -3.8 < candidate["formation_energy_per_atom"]["value"] < -3.0


@pytest.mark.slow
def test_a_cancelled_allocation_gives_its_jobs_back_and_they_finish(
    database: Database,
    launchpad: LaunchPad,
    folder: Path,
    launch: Callable[..., subprocess.Popen[str]],
    slurm: SlurmCluster,
) -> None:
    names = add(launchpad, [resume("long", str(folder), steps=50), *marks(2, folder)])
    process = launch("--max-allocations", "1")
    await_(lambda: events(folder, "started")["long"] == 1)
    time.sleep(1)
    number = _allocation(database)
    slurm.command("scancel", number)
    await_(lambda: database["fireworks"].count_documents({"name": "long", "state": "READY"}), 20)
    finish(process)
    assert_done(database, names)
    assert events(folder, "started")["long"] == 2 and events(folder, "ended")["long"] == 1
    assert database["outputs"].find_one({"name": "long"})["output"] > 3  # it went on where it was


def test_a_killed_worker_is_replaced_and_its_job_runs_again(
    database: Database, launchpad: LaunchPad, folder: Path, launch: Callable[..., subprocess.Popen[str]]
) -> None:
    names = add(launchpad, marks(4, folder, seconds=2))
    process = launch("--max-allocations", "1")
    await_(lambda: sum(events(folder, "started").values()) == 2)
    os.kill(running(database)[0].pid, signal.SIGKILL)
    finish(process)
    assert_done(database, names)
    assert sum(events(folder, "started").values()) == 5 and set(events(folder, "ended").values()) == {1}
    assert database["allocations"].count_documents({}) == 1


@pytest.mark.slow
def test_a_job_that_reaches_the_walltime_goes_on_in_the_next_allocation(
    database: Database, launchpad: LaunchPad, folder: Path, launch: Callable[..., subprocess.Popen[str]]
) -> None:
    # It declares less than it takes, or it would not be taken at all.
    names = add(launchpad, [resume("long", str(folder), steps=90)], walltime_min=0.01)
    process = launch(
        "--max-allocations", "1", command="hemiec work --category mlip --workers 1 --idle 20 --walltime 00:00:08"
    )
    finish(process)
    assert_done(database, names)
    assert 2 <= events(folder, "started")["long"] <= 4 and events(folder, "ended")["long"] == 1
    assert database["allocations"].count_documents({}) >= 2
    assert database["outputs"].find_one({})["output"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("requeue", [False, True])
def test_jobs_of_a_lost_node_are_brought_back(
    requeue: bool,
    database: Database,
    launchpad: LaunchPad,
    folder: Path,
    launch: Callable[..., subprocess.Popen[str]],
    slurm: SlurmCluster,
) -> None:
    names = add(launchpad, marks(2, folder, seconds=4))
    process = launch("--max-allocations", "1", own_host=True, requeue=requeue)
    await_(lambda: sum(events(folder, "started").values()) == 2)
    node = running(database)[0].host
    assert node in slurm.nodes
    try:
        slurm.lose_node(node)
        await_(lambda: database["fireworks"].count_documents({"state": "READY"}) == 2, 30)
        if requeue:  # Slurm starts the allocation again, but not before two minutes are over
            assert slurm.states()[_allocation(database)] == "PENDING"
            return
        finish(process)
    finally:
        slurm.start_node(node)
    assert_done(database, names)
    assert set(events(folder, "started").values()) == {2} and set(events(folder, "ended").values()) == {1}


@pytest.mark.slow
def test_while_the_controller_is_away_nothing_is_declared_lost(
    database: Database,
    launchpad: LaunchPad,
    folder: Path,
    launch: Callable[..., subprocess.Popen[str]],
    slurm: SlurmCluster,
) -> None:
    names = add(launchpad, marks(2, folder, seconds=15))
    process = launch("--max-allocations", "1", own_host=True)
    await_(lambda: sum(events(folder, "started").values()) == 2)
    slurm.stop_controller()
    try:
        assert reconcile(database, launchpad) == []
    finally:
        slurm.start_controller()
    out = finish(process)
    assert "squeue does not answer; waiting for it" in out and "squeue answers again" in out
    assert_done(database, names)
    assert set(events(folder, "started").values()) == {1}


@pytest.mark.slow
def test_a_result_survives_a_database_that_is_away_when_its_job_ends(
    server: EmbeddedMongod,
    database: Database,
    launchpad: LaunchPad,
    folder: Path,
    launch: Callable[..., subprocess.Popen[str]],
) -> None:
    names = add(launchpad, [*marks(2, folder, seconds=4)])
    process = launch("--max-allocations", "1", own_host=True)
    await_(lambda: sum(events(folder, "started").values()) == 2)
    server.down()
    await_(lambda: sum(events(folder, "ended").values()) == 2)
    time.sleep(12)  # longer than a worker's time-out
    server.up()
    out = finish(process)
    assert "MongoDB does not answer" in out and "MongoDB answers again" in out
    assert_done(database, names)
    assert set(events(folder, "started").values()) == {1}
    assert database["launches"].count_documents({}) == 2


def test_jobs_made_at_run_time_belong_to_the_campaign(
    database: Database, launchpad: LaunchPad, folder: Path, launch: Callable[..., subprocess.Popen[str]]
) -> None:
    add(launchpad, [detour("split", str(folder))])
    finish(launch("--max-allocations", "1"))
    assert events(folder, "ended") == {"split-detour": 1}
    assert database["fireworks"].count_documents({"spec.hemiec.campaigns": "quick"}) == 2


@pytest.mark.slow
def test_only_one_launcher_works_on_a_launchpad(
    database: Database, launchpad: LaunchPad, folder: Path, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    add(launchpad, marks(1, folder, seconds=600))
    first = launch("--max-allocations", "1")
    await_(lambda: events(folder, "started"))
    second = hemiec("launch", "--config", str(tmp_path), cwd=tmp_path)
    _, err = second.communicate(timeout=30)
    assert second.returncode == 1 and "another `hemiec launch`" in err
    # One that was killed is followed by the next, which knows the allocation and asks for no other.
    first.kill()
    first.communicate()
    third = launch("--max-allocations", "1")
    await_(lambda: f":{third.pid}:" in (database["locks"].find_one({"_id": "launch"}) or {}).get("owner", ""))
    time.sleep(3)
    third.send_signal(signal.SIGTERM)
    out, err = third.communicate(timeout=30)
    assert third.returncode == 130 and "asked for" not in out and "1 allocations go on" in err
    out = finish(hemiec("launch", "--config", str(tmp_path), "--cancel", cwd=tmp_path))
    assert "1 allocations cancelled" in out
    await_(lambda: database["fireworks"].count_documents({"state": "READY"}) or reconcile(database, launchpad), 30)


def test_allocations_that_cannot_work_stop_the_launcher(
    launchpad: LaunchPad, folder: Path, launch: Callable[..., subprocess.Popen[str]]
) -> None:
    add(launchpad, marks(1, folder))
    process = launch("--max-allocations", "1", command="no-such-program hemiec work")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ended without taking a job" in err and "no-such-program" in err


@pytest.mark.parametrize("mode", ["rapidfire", "singleshot"])
def test_plain_fireworks_tools_drain_the_same_launchpad(
    mode: str, database: Database, launchpad: LaunchPad, folder: Path, tmp_path: Path, slurm: SlurmCluster
) -> None:
    names = add(launchpad, marks(2, folder))
    uri = database.uri
    (tmp_path / "my_launchpad.yaml").write_text(yaml.safe_dump({"host": uri, "uri_mode": True, "name": database.name}))
    store = {"uri": uri, "database": database.name}
    jobflow = {"JOB_STORE": {"docs_store": {"type": "MongoStore", "collection_name": "outputs", **store}}}
    (tmp_path / "jobflow.yaml").write_text(yaml.safe_dump(jobflow))
    qadapter = write_qadapter(tmp_path, f"rlaunch -c {tmp_path} {'rapidfire' if mode == 'rapidfire' else 'singleshot'}")
    environment = os.environ | {
        "JOBFLOW_CONFIG_FILE": str(tmp_path / "jobflow.yaml"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    reserve = ["-r"] if mode == "singleshot" else []
    command = [str(BIN / "qlaunch"), "-c", str(tmp_path), "-q", str(qadapter), *reserve, "singleshot"]
    for _ in range(2 if reserve else 1):
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=60)
    await_done(database)
    assert_done(database, names)


def test_reservations_whose_allocation_is_gone_come_back(
    database: Database, launchpad: LaunchPad, folder: Path, tmp_path: Path, slurm: SlurmCluster
) -> None:
    add(launchpad, marks(1, folder))
    (tmp_path / "my_launchpad.yaml").write_text(
        yaml.safe_dump({"host": database.uri, "uri_mode": True, "name": database.name})
    )
    qadapter = write_qadapter(tmp_path, f"sleep 100; rlaunch -c {tmp_path} singleshot")
    command = [str(BIN / "qlaunch"), "-c", str(tmp_path), "-q", str(qadapter), "-r", "singleshot"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (launch,) = database["launches"].find({"state": "RESERVED"})
    assert reconcile(database, launchpad) == []  # its allocation waits or runs
    slurm.command("scancel", launch["state_history"][0]["reservation_id"])
    await_(lambda: reconcile(database, launchpad) == [launch["fw_id"]], 30)
    assert database["fireworks"].count_documents({"state": "READY"}) == 1


def _allocation(database: Database) -> str:
    (record,) = database["allocations"].find({"ended_on": None})
    return str(record["_id"]).partition("-")[2].partition("@")[0]


def _printed(folder: str) -> str:
    return "".join(file.read_text() for file in Path(folder).glob("*.out"))
