"""What `hemiec doctor` says of a rendered configuration, and its batch scripts on a real Slurm."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr
from slurm import SlurmCluster, slurm

from hemiec.errors import InputError, LaunchError, StoreError
from hemiec.launch.cluster.config import Configuration, given_settings, render, write_private
from hemiec.launch.cluster.sites import make_site, site_content
from hemiec.launch.doctor.cluster import check_files, check_private, check_scheduler
from hemiec.settings import Settings, load_settings

__all__ = ["slurm"]
URI = "mongodb://me:s%40cret@127.0.0.1:27018/?authSource=admin"
#: Says what it was called with and by whom, and when it is told to stop.
STAND_IN = """#!/bin/bash
trap 'echo told to stop; exit 0' TERM
echo "$$ called with $*, variables with the password: $(env | grep -c s%40cret)"
while true; do sleep 0.1; done
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rendered configuration that is in use."""
    content = site_content("slurm")
    content["categories"] = {
        category: {"partition": "debug", "cores": 1, "memory_gib": 1, "walltime": "01:00:00"}
        for category in ("mlip", "dft")
    }
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    made = Configuration(
        make_site(content, "test"),
        SecretStr(URI),
        "group",
        tmp_path / "config",
        tmp_path / "venv",
        given_settings(Settings(data_dir=tmp_path / "data")),
    )
    write_private(made.folder, render(made))
    for name in [name for name in os.environ if name.startswith("HEMIEC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(made.folder / "hemiec.yaml"))
    monkeypatch.setenv("FW_CONFIG_FILE", str(made.folder / "FW_config.yaml"))
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(made.folder / "jobflow.yaml"))
    return made.folder


def change(path: Path, key: str, value: object) -> None:
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {key: value}))


def test_what_is_not_configured_is_not_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FW_CONFIG_FILE", raising=False)
    settings = Settings(data_dir=tmp_path, mongo_uri=None)
    for check in (check_private, check_files, check_scheduler):
        assert check(settings).startswith("not configured (optional)")


def test_a_rendered_configuration_passes(folder: Path) -> None:
    assert "for you alone" in check_private(load_settings())
    said = check_files(load_settings())
    assert "all, dft, mlip" in said and "my_qadapter_dft.yaml, my_qadapter_mlip.yaml" in said


@pytest.mark.parametrize("name", ["my_launchpad.yaml", "jobflow.yaml", "hemiec.yaml", "."])
def test_a_file_that_others_can_read_is_found(folder: Path, name: str) -> None:
    path = folder / name
    path.chmod(path.stat().st_mode | 0o040)
    with pytest.raises(InputError, match="other users can open it") as caught:
        check_private(load_settings())
    assert str(path.absolute()) in str(caught.value) and "chmod" in (caught.value.mend or "")


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("my_launchpad.yaml", "host", URI.replace("27018", "27019"), "another server"),
        ("my_launchpad.yaml", "name", "other", "another database: 'other'"),
        ("my_launchpad.yaml", "host", "mongodb://me:s%40cret/x@h", "FireWorks cannot read it"),
        ("jobflow.yaml", "JOB_STORE", {"docs_store": {"uri": URI, "database": "other"}}, "another database"),
        ("jobflow.yaml", "JOB_STORE", "none", "expected a mapping"),
        ("my_fworker.yaml", "query", "{", "FireWorks cannot read it"),
        ("my_qadapter_dft.yaml", "_fw_q_type", "LSF", "FireWorks cannot read it"),
        ("FW_config.yaml", "FWORKER_LOC", "/nowhere.yaml", "FWORKER_LOC names no file"),
    ],
)
def test_a_file_that_does_not_fit_is_found(folder: Path, name: str, key: str, value: object, said: str) -> None:
    change(folder / name, key, value)
    with pytest.raises(InputError, match=said) as caught:
        check_files(load_settings())
    assert "s%40cret" not in str(caught.value)


def test_a_machine_without_the_scheduler_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LaunchError, match="sbatch is not on PATH"):
        check_scheduler(load_settings())
    for path in folder.glob("my_qadapter*"):
        change(path, "_fw_q_type", "MOAB")
    assert "MOAB: not known" in check_scheduler(load_settings())


def test_an_embedded_server_that_never_ran_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no embedded MongoDB"):
        check_files(Settings(data_dir=tmp_path / "empty", mongo_uri=None))


def test_the_worker_hears_the_batch_shells_signals(folder: Path, tmp_path: Path) -> None:
    """It takes the shell's place: a shell in front of it would keep TERM to itself."""
    script = batch_script(folder, tmp_path, "mlip")
    with subprocess.Popen(["bash", str(script)], stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.terminate()
        rest = process.stdout.read()
    called = f"{process.pid} called with work --category mlip --workers 1 --walltime 01:00:00"
    assert said == f"{called}, variables with the password: 0\n"
    assert rest == "told to stop\n" and process.returncode == 0


def test_slurm_runs_the_script_and_the_doctor_sees_it(slurm: SlurmCluster, folder: Path, tmp_path: Path) -> None:
    assert "SLURM answers; 0 of your jobs" in check_scheduler(load_settings())
    script = batch_script(folder, tmp_path, "dft")
    done = subprocess.run(
        ["sbatch", str(script)], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    number = done.stdout.split()[-1]
    out = tmp_path / f"hemiec-dft-{number}.out"
    await_text(out, "called with work --category dft")
    assert "1 of your jobs" in check_scheduler(load_settings())
    about = slurm.command("scontrol", "show", "job", number)
    assert "Requeue=0" in about and "JobName=hemiec-dft" in about and "s%40cret" not in about
    slurm.command("scancel", number)
    await_text(out, "told to stop")
    # Slurm hands the environment of the shell that submits on; the script takes the password out of it.
    assert "variables with the password: 0" in out.read_text()
    change(folder / "my_qadapter_mlip.yaml", "queue", "debg")
    with pytest.raises(InputError, match="did you mean 'debug'"):
        check_scheduler(load_settings())


def test_slurm_that_does_not_answer_is_told(slurm: SlurmCluster, folder: Path) -> None:
    slurm.stop_controller()
    try:
        with pytest.raises(LaunchError, match="squeue does not answer"):
            check_scheduler(load_settings())
    finally:
        slurm.start_controller()


def environment() -> dict[str, str]:
    """A user's shell that still has the password exported."""
    return os.environ | {"HEMIEC_MONGO_URI": URI}


def batch_script(folder: Path, tmp_path: Path, category: str) -> Path:
    """What qlaunch submits, with a stand-in for hemiec in the environment."""
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    program = tmp_path / "venv" / "bin" / "hemiec"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    adapter = CommonAdapter.from_file(str(folder / f"my_qadapter_{category}.yaml"))
    script = tmp_path / "submit.sh"
    script.write_text(adapter.get_script_str(str(tmp_path)))
    assert "s%40cret" not in script.read_text()
    return script


def await_text(path: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text() if path.exists() else f"no {path}"
        time.sleep(0.1)
