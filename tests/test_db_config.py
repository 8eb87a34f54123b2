"""The templates in db_config: FireWorks and jobflow read them, and they name hemiec's own collections."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hemiec.store.database import Database

TEMPLATES = Path(__file__).parent.parent / "db_config"
PLACEHOLDERS = {
    "MONGO_URI": "mongodb://someone:secret@127.0.0.1:9/?authSource=admin",
    "DATABASE_NAME": "group",
    "CONFIG_FOLDER": "/shared/config",
    "ENVIRONMENT_FOLDER": "/shared/venv",
    "WORKER_NAME": "cluster",
    "PARTITION": "normal",
    "ACCOUNT": "project",
}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return a folder with private copies of the templates."""
    for template in TEMPLATES.glob("*.yaml"):
        text = template.read_text()
        for word, value in PLACEHOLDERS.items():
            text = re.sub(rf"\b{word}\b", value, text)
        (tmp_path / template.name).write_text(text)
    return tmp_path


def test_templates_hold_no_secret_and_every_placeholder_is_explained() -> None:
    readme = (TEMPLATES / "README.md").read_text()
    words = set()
    for template in TEMPLATES.glob("*.yaml"):
        assert f"`{template.name}`" in readme
        values = yaml.safe_dump(yaml.safe_load(template.read_text()), default_flow_style=False)
        assert "mongodb://" not in values and "password" not in values
        words |= {word for word in PLACEHOLDERS if re.search(rf"\b{word}\b", values)}
    assert words == set(PLACEHOLDERS)
    assert all(f"`{word}`" in readme for word in words)


def test_jobflow_reads_the_same_stores_that_hemiec_writes(filled: Path) -> None:
    from jobflow import JobStore
    from jobflow.settings import JobflowSettings
    from maggma.stores import GridFSStore, MongoStore

    spec = yaml.safe_load((filled / "jobflow.yaml").read_text())["JOB_STORE"]
    configured = JobflowSettings(CONFIG_FILE=str(filled / "jobflow.yaml")).JOB_STORE
    for store in (configured, JobStore.from_dict_spec(spec)):
        assert isinstance(store.docs_store, MongoStore)
        assert isinstance(store.additional_stores["data"], GridFSStore)
        assert store.docs_store.database == store.additional_stores["data"].database == "group"
        assert store.docs_store.uri == store.additional_stores["data"].uri == PLACEHOLDERS["MONGO_URI"]
    # JobStore.connect would talk to a server; what it is made of is enough to compare.
    source = Path(sys.modules[Database.__module__].__file__ or "").read_text()
    assert f'collection_name="{configured.docs_store.collection_name}"' in source
    assert f'collection_name="{configured.additional_stores["data"].collection_name}"' in source
    assert configured.additional_stores["data"].compression is True


def test_fireworks_reads_launchpad_worker_and_queue_adapter(filled: Path) -> None:
    from fireworks import FWorker, LaunchPad
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    launchpad = LaunchPad.from_file(str(filled / "my_launchpad.yaml"))  # pymongo connects at first use
    try:
        assert launchpad.fireworks.full_name == "group.fireworks"
    finally:
        launchpad.connection.close()
    worker = FWorker.from_file(str(filled / "my_fworker.yaml"))
    assert worker.name == "cluster"
    # FireWorks adds that jobs meant for one worker stay its own; the template itself leaves nothing out.
    assert set(worker.query) == {"$or"} and {"spec._fworker": None} in worker.query["$or"]
    script = CommonAdapter.from_file(str(filled / "my_qadapter_slurm.yaml")).get_script_str("/scratch")
    for line in (
        "#SBATCH --partition=normal",
        "#SBATCH --account=project",
        "source /shared/venv/bin/activate",
        "cd /scratch",
        "rlaunch -c /shared/config rapidfire --timeout 72000",
    ):
        assert line in script.splitlines()
    assert "JOBFLOW_CONFIG_FILE=/shared/config/jobflow.yaml" in script
    assert not any(word in script for word in PLACEHOLDERS)


def test_fireworks_takes_its_settings_from_the_config_file(filled: Path, tmp_path: Path) -> None:
    wanted = yaml.safe_load((filled / "FW_config.yaml").read_text())
    # FireWorks reads the file when it is imported, so in a process of its own, where no other one is found.
    code = f"import fireworks.fw_config as c, json; print(json.dumps({{k: getattr(c, k) for k in {list(wanted)}}}))"
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"FW_CONFIG_FILE": str(filled / "FW_config.yaml"), "HOME": str(empty)},
        cwd=empty,
        capture_output=True,
        text=True,
        check=True,
    )
    assert yaml.safe_load(done.stdout.splitlines()[-1]) == wanted
    for key in ("LAUNCHPAD_LOC", "FWORKER_LOC", "QUEUEADAPTER_LOC"):
        assert (TEMPLATES / Path(wanted[key]).name).exists()
