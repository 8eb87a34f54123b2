"""The templates in db_config: no secrets, every word explained, and copies filled in by hand are what is wanted."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from hemiec.launch.cluster.sites import make_site, site_content, site_names
from hemiec.store.database import Database

TEMPLATES = Path(__file__).parent.parent / "db_config"
URI = "mongodb://someone:secret@127.0.0.1:9/?authSource=admin"
#: What a user without `hemiec config render` puts for each word.
WORDS = {
    "MONGO_URI": URI,
    "DATABASE_NAME": "group",
    "CONFIG_FOLDER": "/shared/config",
    "ENVIRONMENT_FOLDER": "/shared/venv",
    "RUN_FOLDER": "/shared/runs",
    "REMOTE_FOLDER": "jobflow-remote",
    "WORKER_NAME": "cluster",
    "CATEGORY": "dft",
    "PARTITION": "normal",
    "ACCOUNT": "project",
    "CORES": "32",
    "MEMORY": "64G",
    "CORE_MEMORY": "2048M",
    "GPUS": "2",
    "SELECT": "1:ncpus=32:mpiprocs=32:mem=64gb",
    "PARALLEL_ENVIRONMENT": "smp",
    "WALLTIME": "48:00:00",
    "WORKERS": "4",
    "OPTIONS": "--exclusive",
    "SETUP": "module load vasp",
}
FILES = sorted(
    path for path in TEMPLATES.rglob("*") if path.suffix in (".yaml", ".sh", ".txt") and "sites" not in path.parts
)


def filled_in(text: str) -> str:
    for word, value in WORDS.items():
        text = re.sub(rf"(?<![A-Z_a-z]){word}(?![A-Z_])|(?<=my_fworker_){word}", value, text)
    return text


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return a folder with copies of the templates, filled in by hand."""
    for template in FILES:
        (tmp_path / template.relative_to(TEMPLATES)).parent.mkdir(exist_ok=True)
        (tmp_path / template.relative_to(TEMPLATES)).write_text(filled_in(template.read_text()))
    return tmp_path


def test_templates_hold_no_secret_and_every_word_is_explained() -> None:
    readme = (TEMPLATES / "README.md").read_text()
    words = set()
    for template in FILES:
        assert f"`{template.relative_to(TEMPLATES)}`" in readme
        text = template.read_text()
        if template.suffix == ".yaml":
            values = yaml.safe_dump(yaml.safe_load(text), default_flow_style=False)
            assert "mongodb://" not in values and "password" not in values
        words |= {word for word in WORDS if re.search(rf"(?<![A-Z_a-z]){word}(?![A-Z_])", text)}
        left = re.findall(r"\b[A-Z_]{4,}\b", filled_in(text))
        assert not set(left) & set(WORDS)
    assert words == set(WORDS)
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
        assert store.docs_store.uri == store.additional_stores["data"].uri == URI
    # JobStore.connect would talk to a server; what it is made of is enough to compare.
    store_folder = Path(sys.modules[Database.__module__].__file__ or "").parent
    source = (store_folder / "database.py").read_text() + (store_folder / "objects.py").read_text()
    assert f'collection_name="{configured.docs_store.collection_name}"' in source
    assert f'collection_name="{configured.additional_stores["data"].collection_name}"' in source
    assert configured.additional_stores["data"].compression is True


def test_fireworks_reads_launchpad_and_worker(filled: Path) -> None:
    from fireworks import FWorker, LaunchPad

    launchpad = LaunchPad.from_file(str(filled / "my_launchpad.yaml"))  # pymongo connects at first use
    try:
        assert launchpad.fireworks.full_name == "group.fireworks"
    finally:
        launchpad.connection.close()
    worker = FWorker.from_file(str(filled / "my_fworker.yaml"))
    assert (worker.name, worker.category) == ("cluster", "dft")
    # FireWorks adds that jobs meant for one worker stay its own; the template itself leaves nothing out.
    assert set(worker.query) == {"$or", "spec._category"} and {"spec._fworker": None} in worker.query["$or"]


COMMON = (
    "source /shared/config/profile.sh",
    "cd /scratch",
    "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMEXPR_NUM_THREADS=1",
    "module load vasp",
)
SLURM = (
    "#SBATCH --partition=normal",
    "#SBATCH --account=project",
    "#SBATCH --time=48:00:00",
    "#SBATCH --mem=64G",
    "#SBATCH --signal=B:TERM@120",
    "#SBATCH --no-requeue",
    "#SBATCH --exclusive",
)
SCRIPTS = {
    "my_qadapter_mlip.yaml": (
        *SLURM,
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=32",
        "#SBATCH --job-name=hemiec-mlip",
    ),
    "my_qadapter_dft.yaml": (
        *SLURM,
        "#SBATCH --ntasks=32",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --job-name=hemiec-dft",
    ),
    "my_qadapter_gpu.yaml": (*SLURM, "#SBATCH --gres=gpu:2", "#SBATCH --job-name=hemiec-gpu"),
    "pbs/my_qadapter.yaml": (
        *("#PBS -q normal", "#PBS -A project", "#PBS -N hemiec-dft", "#PBS -l walltime=48:00:00", "#PBS -r n"),
        *("#PBS -l select=1:ncpus=32:mpiprocs=32:mem=64gb", "#PBS --exclusive"),
    ),
    "sge/my_qadapter.yaml": (
        *("#$ -q normal", "#$ -A project", "#$ -N hemiec-dft", "#$ -l h_rt=48:00:00", "#$ -l h_vmem=2048M", "#$ -r n"),
        *("#$ -pe smp 32", "#$ -l gpu=2", "#$ -S /bin/bash"),
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_fireworks_makes_the_batch_script(filled: Path, name: str) -> None:
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # FireWorks warns of keys that its template of the scheduler lacks
        content = yaml.safe_load((filled / name).read_text())
        if "_fw_template_file" in content:  # in the folder of the copies
            content["_fw_template_file"] = str(filled / "sge" / Path(content["_fw_template_file"]).name)
        script = CommonAdapter.from_dict(content).get_script_str("/scratch")
    lines = script.splitlines()
    category = {"mlip", "gpu"} & set(re.split(r"[_.]", name)) or {"dft"}
    command = f"exec hemiec work --category {category.pop()} --workers 4 --walltime 48:00:00"
    assert not {*SCRIPTS[name], *COMMON, command} - set(lines)
    # The scheduler stops reading options at the first command.
    options = [n for n, line in enumerate(lines) if re.match(r"#(SBATCH|PBS|\$) ", line)]
    commands = [n for n, line in enumerate(lines) if line and not line.startswith("#")]
    assert max(options) < min(commands)
    assert "secret" not in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


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


def test_every_preset_is_a_site() -> None:
    assert {"slurm", "slurm-gpu", "pbs", "sge"} <= set(site_names())
    for name in site_names():
        site = make_site(site_content(name), name)
        assert site.name == name and "mlip" in site.categories
        assert name.split("-")[0] == site.scheduler


def test_the_package_carries_the_templates() -> None:
    """A wheel follows the link; a checkout without it would render nothing."""
    from hemiec.launch.cluster.sites import templates

    assert {path.name for path in TEMPLATES.iterdir()} == {entry.name for entry in templates().iterdir()}
