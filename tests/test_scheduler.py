"""What schedulers print, and what it means: samples follow the formats' documentation."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from hemiec.errors import InputError, LaunchError
from hemiec.launch.cluster.qadapters import Qadapter, find_qadapter
from hemiec.launch.cluster.scheduler import (
    Pbs,
    Scheduler,
    Sge,
    Slurm,
    current_allocation,
    expand,
    find_scheduler,
    seconds_of,
)
from hemiec.launch.fireworks.names import WorkerName, worker_name

#: `qstat -f -F json`, from the OpenPBS reference guide: exec_host per chunk, stime in ctime's form, states Q R E F.
PBS = {
    "timestamp": 1700000000,
    "pbs_version": "23.06.06",
    "pbs_server": "server",
    "Jobs": {
        "101.server": {
            "Job_Name": "hemiec-mlip",
            "Job_Owner": f"{getpass.getuser()}@login",
            "job_state": "R",
            "stime": "Mon Nov 20 10:00:00 2023",
            "exec_host": "n01/0*8+n02/1*8",
            "Resource_List": {"walltime": "24:00:00", "ncpus": 16},
            "Variable_List": {"PBS_O_WORKDIR": "/scratch/run"},
        },
        "102.server": {
            "Job_Name": "hemiec-dft",
            "Job_Owner": f"{getpass.getuser()}@login",
            "job_state": "Q",
            "Resource_List": {},
        },
        "103.server": {"Job_Name": "other", "Job_Owner": "somebody@login", "job_state": "R"},
        "104.server": {"Job_Name": "hemiec-dft", "Job_Owner": f"{getpass.getuser()}@login", "job_state": "E"},
    },
}
#: `qstat -xml`, from the Grid Engine manual.
SGE = """<?xml version='1.0'?>
<job_info>
  <queue_info>
    <job_list state="running">
      <JB_job_number>7</JB_job_number><JB_name>hemiec-mlip</JB_name><JB_owner>me</JB_owner><state>r</state>
      <JAT_start_time>2023-11-20T10:00:00</JAT_start_time><queue_name>all.q@n01.cluster</queue_name><slots>8</slots>
    </job_list>
    <job_list state="running">
      <JB_job_number>8</JB_job_number><JB_name>hemiec-mlip</JB_name><JB_owner>me</JB_owner><state>dr</state>
      <JAT_start_time>2023-11-20T10:00:00.250</JAT_start_time><queue_name>all.q@n02</queue_name><slots>8</slots>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>9</JB_job_number><JB_name>hemiec-dft</JB_name><JB_owner>me</JB_owner><state>qw</state>
      <JB_submission_time>2023-11-20T09:00:00</JB_submission_time><queue_name></queue_name><slots>1</slots>
    </job_list>
  </job_info>
</job_info>
"""
QADAPTER = {
    "_fw_name": "CommonAdapter",
    "_fw_q_type": "SLURM",
    "walltime": "1-00:00:00",
    "queue": "debug",
    "rocket_launch": "exec hemiec work --category mlip --workers 8 --walltime 1-00:00:00",
}


def test_pbs_is_read() -> None:
    found = Pbs().read(json.dumps(PBS))
    assert {name: a.state for name, a in found.items()} == {
        "pbs-101.server": "running", "pbs-102.server": "waiting", "pbs-104.server": "ending",
    }  # fmt: skip
    first = found["pbs-101.server"]
    assert first.nodes == ("n01", "n02") and first.folder == Path("/scratch/run")
    assert first.started == datetime(2023, 11, 20, 10).astimezone(UTC)
    assert (first.ends - first.started).total_seconds() == 86400
    assert found["pbs-102.server"].started is None and found["pbs-102.server"].nodes == ()
    assert Pbs().read('{"timestamp": 1, "Jobs": {}}') == {}


def test_sge_is_read() -> None:
    found = Sge().read(SGE)
    assert {name: a.state for name, a in found.items()} == {
        "sge-7": "running", "sge-8": "ending", "sge-9": "waiting",
    }  # fmt: skip
    assert found["sge-7"].nodes == ("n01.cluster",)
    assert found["sge-7"].started == found["sge-8"].started == datetime(2023, 11, 20, 10).astimezone(UTC)


@pytest.mark.parametrize("scheduler", [Pbs(), Sge(), Slurm()])
def test_a_scheduler_that_fails_or_talks_nonsense_has_not_answered(
    scheduler: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scheduler.allocations() is None and scheduler.nodes() == frozenset()
    assert find_scheduler() is None
    program = tmp_path / scheduler.command
    program.write_text("#!/bin/sh\necho cannot connect >&2\nexit 1\n")
    program.chmod(0o755)
    assert scheduler.allocations() is None
    if not isinstance(scheduler, Slurm):
        program.write_text("#!/bin/sh\necho this is no answer\n")
        assert scheduler.allocations() is None
    with pytest.raises(LaunchError, match="No such file"):
        scheduler.cancel([scheduler.name("1")])


@pytest.mark.parametrize(
    ("scheduler", "said", "name"),
    [
        (Slurm(), "Submitted batch job 1234 on cluster x\n", "slurm-1234"),
        (Pbs(), "1234.server\n", "pbs-1234.server"),
        (Pbs(), "1234[].server\n", "pbs-1234[].server"),
        (Sge(), 'Your job 44275 ("hemiec-mlip") has been submitted\n', "sge-44275"),
    ],
)
def test_the_answer_to_a_submission_is_the_allocations_name(
    scheduler: Scheduler, said: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert scheduler.submitted(said) == name
    assert scheduler.gave(name) and scheduler.gave(f"{name}@somewhere")
    with pytest.raises(LaunchError, match="no number"):
        scheduler.submitted("queue is full")


def test_allocations_of_another_cluster_are_not_ours() -> None:
    scheduler = Slurm()
    scheduler._cluster = "here"
    assert scheduler.gave("slurm-1@here") and not scheduler.gave("slurm-1@there") and not scheduler.gave("pbs-1.here")


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "big"}, "slurm-7@big"),
        ({"PBS_JOBID": "7.server"}, "pbs-7.server"),
        ({"JOB_ID": "7", "SGE_ROOT": "/sge", "SGE_CELL": "default"}, "sge-7@default"),
        ({"JOB_ID": "7"}, None),  # of something else
    ],
)
def test_a_worker_knows_its_allocation(
    variables: dict[str, str], name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in ("SLURM_JOB_ID", "SLURM_CLUSTER_NAME", "PBS_JOBID", "JOB_ID", "SGE_ROOT", "SGE_CELL"):
        monkeypatch.delenv(known, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert current_allocation() == name
    worker_name.cache_clear()
    read = WorkerName.read(worker_name())
    worker_name.cache_clear()
    assert read is not None and read.allocation == name


@pytest.mark.parametrize(
    ("short", "nodes"),
    [
        ("", []),
        ("login", ["login"]),
        ("n[01-03,7],login", ["n01", "n02", "n03", "n7", "login"]),
        ("r1n[9-11]-ib", ["r1n9-ib", "r1n10-ib", "r1n11-ib"]),
    ],
)
def test_nodes_are_spelt_out(short: str, nodes: list[str]) -> None:
    assert expand(short) == nodes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:01:30", 90), ("1-00:00:00", 86400), ("2-12", 216000), ("30", 1800), ("10:30", 630), ("24:00:00", 86400)],
)
def test_walltimes_are_read_as_slurm_reads_them(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


def test_a_qadapter_says_what_an_allocation_does(tmp_path: Path) -> None:
    path = find_qadapter(tmp_path, "mlip")
    path.write_text(yaml.safe_dump(QADAPTER))
    read = Qadapter.read(path, "mlip")
    assert (read.walltime_s, read.workers) == (86400, 8)
    script = read.script(tmp_path)
    assert "#SBATCH --job-name=hemiec-mlip" in script and "#SBATCH --time=1-00:00:00" in script
    assert f"cd {tmp_path}\nexec hemiec work" in script
    path.write_text(yaml.safe_dump(QADAPTER | {"rocket_launch": "rlaunch multi 4"}))
    assert Qadapter.read(path, "mlip").workers == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_fw_q_type": "LSF"}, "expected one of SLURM, PBS, SGE"),
        ({"walltime": "a day"}, "`walltime` is 'a day'"),
        ({"walltime": None}, "no `walltime`"),
        ({"rocket_launch": ""}, "no `rocket_launch`"),
    ],
)
def test_a_wrong_qadapter_is_one_clear_error(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "my_qadapter_mlip.yaml"
    path.write_text(yaml.safe_dump(QADAPTER | change))
    with pytest.raises(InputError, match=message):
        Qadapter.read(path, "mlip")


def test_a_key_that_the_batch_script_has_no_place_for_is_named(tmp_path: Path) -> None:
    path = tmp_path / "my_qadapter_mlip.yaml"
    path.write_text(yaml.safe_dump(QADAPTER | {"partition": "debug"}))
    with pytest.raises(InputError, match="no place for `partition`"):
        Qadapter.read(path, "mlip").script(tmp_path)
    path.write_text("a: [")
    with pytest.raises(InputError, match="is not YAML"):
        Qadapter.read(path, "mlip")
