"""The jobflow-remote project: written from the template in ``db_config``, found, read and checked."""

from __future__ import annotations

import stat
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import ValidationError

from hemiec.errors import LaunchError
from hemiec.launch.cluster.sites import templates
from hemiec.settings import Settings
from hemiec.store.database import Database, open_database

if TYPE_CHECKING:
    from jobflow_remote.config.base import Project

TEMPLATE = "jobflow_remote.yaml"
JOBS, FLOWS, AUXILIARY, BATCHES = "jf_jobs", "jf_flows", "jf_auxiliary", "jf_batches"
#: Without a sign of life for this many of its intervals, a runner is not running.
MISSED_PINGS = 4


@dataclass(frozen=True)
class ProjectValues:
    """What a project file needs to know of a site.

    ``environment`` is the folder of the virtual environment and ``run_folder`` that of the jobs, both as the compute
    nodes see them; ``host`` and ``user`` name a login node that is reached through ssh, None if the runner is on it;
    ``allocations`` is how many for short jobs are in the scheduler's queue at a time.
    """

    mongo_uri: str = field(repr=False)
    database: str
    environment: Path
    run_folder: Path
    project: str = "hemiec"
    scheduler: Literal["slurm", "pbs", "sge", "shell"] = "slurm"
    partition: str | None = None
    account: str | None = None
    host: str | None = None
    user: str | None = None
    allocations: int = 8


def render_project(values: ProjectValues, folder: Path) -> Path:
    """Write a jobflow-remote project, readable by its owner only, and return its path.

    Parameters
    ----------
    values
        What goes into the template.
    folder
        The projects folder of jobflow-remote, made if it is not there; nothing else belongs into it.

    Raises
    ------
    LaunchError
        If jobflow-remote is missing, or refuses what was written.
    """
    from jobflow_remote.config.base import Project

    require_jobflow_remote()
    folder = folder.expanduser().absolute()
    content = _filled(values, folder)
    try:
        Project.model_validate(content)
    except ValidationError as error:
        raise LaunchError(f"jobflow-remote does not take the project: {_first(error)}.") from None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{values.project}.yaml"
    head = f"# Written by `hemiec config render`; what each line means is said in db_config/{TEMPLATE}. Private.\n"
    _write_private(path, head + yaml.safe_dump(content, sort_keys=False))
    return path


def _filled(values: ProjectValues, folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((templates() / TEMPLATE).read_text(encoding="utf-8"))
    content |= {"name": values.project, "base_dir": str(folder / values.project)}
    stores = content["jobstore"]
    for store in (content["queue"]["store"], stores["docs_store"], stores["additional_stores"]["data"]):
        store |= {"uri": values.mongo_uri, "database": values.database}
    for name, worker in content["workers"].items():
        _fill_worker(name, worker, values)
    return content


def _fill_worker(name: str, worker: dict[str, Any], values: ProjectValues) -> None:
    """Fill in one worker of the template; without a scheduler it keeps no resources, and its commands end with it."""
    words = {"RUN_FOLDER": str(values.run_folder), "ENVIRONMENT_FOLDER": str(values.environment)}
    for part in (worker, worker.get("batch", {})):
        for key, value in part.items():
            if isinstance(value, str):
                for word, text in words.items():
                    value = value.replace(word, text)
                part[key] = value
    if values.host is not None:
        worker |= {"type": "remote", "host": values.host, "user": values.user}
    worker |= {"scheduler_type": values.scheduler, "resources": _site_resources(worker["resources"], values)}
    if "batch" in worker:
        worker["max_jobs"] = values.allocations
    if values.scheduler == "shell":
        # A killed shell leaves what it started; what took its place is killed itself.
        worker["execution_cmd"] = f"exec {worker['execution_cmd']}"
        if name == "dft":
            worker["max_jobs"] = values.allocations


def _site_resources(slurm: dict[str, Any], values: ProjectValues) -> dict[str, Any] | None:
    """Return a worker's resources in the words of the site's scheduler, from the template's, which are Slurm's."""
    from qtoolkit.io import scheduler_mapping

    if values.scheduler == "shell":
        return None
    site = {"partition": values.partition, "account": values.account}
    if values.scheduler == "slurm":
        return {key: site.get(key, value) for key, value in slurm.items() if site.get(key, value) is not None}
    hours = int(slurm.get("time", "0").split(":")[0])
    asked = {"queue_name": values.partition, "account": values.account, "time_limit": hours * 3600 or None}
    if "ntasks" in slurm:
        asked |= {"nodes": 1, "processes_per_node": 1}
    return scheduler_words(scheduler_mapping[values.scheduler](), asked)


def scheduler_words(scheduler: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a scheduler's template takes, from the fields of qtoolkit's QResources; what it lacks is left out."""
    from qtoolkit.core.data_objects import ProcessPlacement, QResources

    known = set(scheduler.supported_qresources_keys)
    kept = {key: value for key, value in asked.items() if key in known and value is not None}
    placed = ProcessPlacement.EVENLY_DISTRIBUTED if "nodes" in kept else ProcessPlacement.NO_CONSTRAINTS
    words: dict[str, Any] = scheduler.check_convert_qresources(QResources(**kept, process_placement=placed))
    if type(scheduler).__name__ == "SGEIO":
        # qtoolkit gives SGE what PBS takes; there, cores are asked for by a parallel environment of the site's.
        words = {key: value for key, value in words.items() if key not in ("select", "place")}
    return {key: value for key, value in words.items() if value is not None}


def _write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as file:  # mode 0600
        part = Path(file.name)
        try:
            file.write(text)
            file.flush()
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def require_jobflow_remote() -> None:
    """Raise LaunchError if jobflow-remote is not installed."""
    if find_spec("jobflow_remote") is None:
        raise LaunchError("jobflow-remote is not installed.", mend="pip install 'hemiec[remote]'")


def load_project(settings: Settings) -> tuple[Project, Path]:
    """Return the project that the settings or jobflow-remote's own variables name, and its file.

    Raises
    ------
    LaunchError
        If jobflow-remote is missing, or there is no such project, or it cannot be read.
    """
    require_jobflow_remote()
    from jobflow_remote.config.base import Project
    from jobflow_remote.config.settings import JobflowRemoteSettings

    theirs = JobflowRemoteSettings()
    folder = Path(theirs.projects_folder).expanduser()
    wanted = settings.remote_project or theirs.project
    files = _project_files(folder)
    render = (
        f"write one with `hemiec config render --backend jobflow-remote` and set JFREMOTE_PROJECTS_FOLDER ({folder})"
    )
    if wanted is None and len(files) != 1:
        found = f"{len(files)} projects" if files else "no project"
        raise LaunchError(f"{folder}: {found} of jobflow-remote.", mend="set JFREMOTE_PROJECT" if files else render)
    name = wanted or next(iter(files))
    if name not in files:
        known = f"; there is {', '.join(sorted(files))}" if files else ""
        raise LaunchError(f"{folder}: no jobflow-remote project {name!r}{known}.", mend=render)
    path, content = files[name]
    try:
        return Project.model_validate(content), path
    except ValidationError as error:
        raise LaunchError(f"{path}: {_first(error)}.", mend=render) from None


def _project_files(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return the name of every project in a folder to its file and content, as jobflow-remote looks for them."""
    found = {}
    for path in sorted(p for kind in ("json", "yaml") for p in folder.glob(f"*.{kind}")):
        try:
            content = yaml.safe_load(path.read_text())  # JSON is YAML too
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(content, dict) and isinstance(content.get("name"), str):
            found[content["name"]] = (path, content)
    return found


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong, without the values, among which is a password."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].splitlines()[0]}"


def require_same_store(project: Project, path: Path, database: Database) -> None:
    """Raise LaunchError if a project's queue or results are not where hemiec looks for them."""
    queue = project.queue
    documents = project.jobstore.get("docs_store", {})
    found = {
        "queue.store.database": (queue.store.get("database"), database.name),
        "queue.store.collection_name": (queue.store.get("collection_name"), JOBS),
        "queue.flows_collection": (queue.flows_collection, FLOWS),
        "queue.auxiliary_collection": (queue.auxiliary_collection, AUXILIARY),
        "queue.batches_collection": (queue.batches_collection, BATCHES),
        "jobstore.docs_store.database": (documents.get("database"), database.name),
        "jobstore.docs_store.collection_name": (documents.get("collection_name"), "outputs"),
        "jobstore.additional_stores": (list(project.jobstore.get("additional_stores", {})), ["data"]),
    }
    for key, (is_, expected) in found.items():
        if is_ != expected:
            raise LaunchError(
                f"{path}: {key} is {is_!r}, expected {expected!r}.",
                mend="render it again with `hemiec config render --backend jobflow-remote`",
            )


def check_remote(settings: Settings) -> str:
    """Return one line on the jobflow-remote project: file private, store the same as hemiec's, runner alive.

    Raises
    ------
    LaunchError
        If any of it is wrong, with the mend.
    StoreError
        If hemiec's own database cannot be reached.
    """
    project, path = load_project(settings)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LaunchError(f"{path} holds a password and others may read it.", mend=f"chmod 600 {path}")
    database = open_database(settings)
    try:
        require_same_store(project, path, database)
        _require_same_server(project, path, database)
        pings = (database[AUXILIARY].find_one({"runner_pings": {"$exists": True}}) or {}).get("runner_pings", [])
        last = max(pings, key=lambda ping: ping["time"], default=None)
        patience = timedelta(seconds=MISSED_PINGS * project.runner.delay_ping_db)
        now = database.mongo.command("hello")["localTime"].replace(tzinfo=UTC)
        if last is None or _age(last["time"], now) > patience:
            seen = f"last seen {last['time']:%Y-%m-%d %H:%M} UTC" if last else "never seen"
            raise LaunchError(
                f"project {project.name!r}: no runner ({seen}), so nothing runs.",
                mend=f"start it with `jf -p {project.name} runner start` where it can reach MongoDB and the scheduler",
            )
        workers = ", ".join(f"{name} ({worker.scheduler_type})" for name, worker in project.workers.items())
        return f"project {project.name!r}, runner on {last['hostname']}, workers {workers}"
    finally:
        database.close()


def _require_same_server(project: Project, path: Path, database: Database) -> None:
    """Write through hemiec's connection and read through the project's, to see that both are one server."""
    from pymongo.errors import PyMongoError

    probe = database["doctor"]
    key = probe.insert_one({"probe": "jobflow-remote"}).inserted_id
    store = project.get_queue_store()
    try:
        store.connect()
        seen = store._collection.database["doctor"].find_one({"_id": key})
    except PyMongoError as error:
        raise LaunchError(f"{path}: its MongoDB cannot be reached ({type(error).__name__}).") from error
    finally:
        probe.drop()
        if store._coll is not None:
            store.close()
    if seen is None:
        raise LaunchError(
            f"{path}: its MongoDB is not hemiec's.", mend="put HEMIEC_MONGO_URI into it, or render it again"
        )


def _age(moment: datetime, now: datetime) -> timedelta:
    return now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
