"""Checks of a rendered configuration for `hemiec doctor`: files that are private and fit, a scheduler that answers."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hemiec.errors import InputError, LaunchError, did_you_mean
from hemiec.launch.cluster.config import REMOTE_FOLDER
from hemiec.launch.cluster.mongo_uri import masked
from hemiec.launch.cluster.scheduler import SCHEDULERS, Slurm
from hemiec.schemas.validation import read_yaml
from hemiec.settings import Settings, config_file
from hemiec.store.mongod import EmbeddedMongod

FIREWORKS_VARIABLE = "FW_CONFIG_FILE"
JOBFLOW_VARIABLE = "JOBFLOW_CONFIG_FILE"
NOT_CONFIGURED = f"not configured (optional): {FIREWORKS_VARIABLE} is not set"
_RENDER = "`hemiec config render --force` writes them anew; see docs/configuration.md"
_SUBMIT = {"SLURM": "sbatch", "PBS": "qsub", "SGE": "qsub"}


def configuration_folder() -> Path | None:
    """Return the folder of the rendered configuration: that of the file FW_CONFIG_FILE names; None if it is not set."""
    where = os.environ.get(FIREWORKS_VARIABLE)
    return Path(where).expanduser().absolute().parent if where else None


def check_private(settings: Settings) -> str:
    """Return that no other user can read the files that may hold a password.

    Raises
    ------
    InputError
        If one can.
    """
    folder = configuration_folder()
    paths = [config_file()] if settings.mongo_uri is not None and config_file().exists() else []
    if folder is not None:
        paths += [folder, *folder.glob("*.yaml"), *folder.glob(f"{REMOTE_FOLDER}/*.yaml")]
    if not paths:
        return NOT_CONFIGURED
    paths = list(dict.fromkeys(path.absolute() for path in paths))
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise InputError(
                f"{path}: mode {mode:04o}, other users can open it.",
                mend=f"chmod {'700' if path.is_dir() else '600'} {path}; change the password if it may have been read",
            )
    return f"{len(paths)} files and folders, for you alone" + (f", in {folder}" if folder else "")


def check_files(settings: Settings) -> str:
    """Return what FireWorks and jobflow read from the configuration; it is hemiec's own server and database.

    Raises
    ------
    InputError
        If a file is missing, cannot be read, or names another server or database than hemiec's settings.
    """
    folder = configuration_folder()
    if folder is None:
        return NOT_CONFIGURED
    content = read_yaml(Path(os.environ[FIREWORKS_VARIABLE]).expanduser())
    ours = _server(settings)
    launchpad_file = _named(content, "LAUNCHPAD_LOC", folder)
    launchpad = _launchpad(launchpad_file)  # pymongo connects at first use
    with closing(launchpad.connection):
        _compare(launchpad_file, (str(launchpad.host), str(launchpad.name)), ours)
    workers = sorted({_named(content, "FWORKER_LOC", folder), *folder.glob("my_fworker*.yaml")})
    categories = [_worker(path).category or "all" for path in workers]
    jobflow_file = Path(os.environ.get(JOBFLOW_VARIABLE, folder / "jobflow.yaml")).expanduser()
    store = _part(read_yaml(jobflow_file), jobflow_file, "JOB_STORE", "docs_store")
    _compare(jobflow_file, (str(store.get("uri")), str(store.get("database"))), ours)
    scripts = [path.name for path in qadapters(folder) if _adapter(path).get_script_str(str(folder))]
    return f"workers for {', '.join(map(str, categories))}; batch scripts {', '.join(scripts) or 'none'}"


def check_scheduler(settings: Settings) -> str:
    """Return that the scheduler of the batch scripts answers and has their partitions.

    Raises
    ------
    InputError
        If a partition does not exist.
    LaunchError
        If a command is missing or does not answer.
    """
    folder = configuration_folder()
    found = {path: _adapter(path) for path in qadapters(folder)} if folder is not None else {}
    if not found:
        return NOT_CONFIGURED if folder is None else "not configured (optional): no my_qadapter_*.yaml"
    said = []
    for q_type in sorted({adapter.q_type for adapter in found.values()}):
        if q_type not in SCHEDULERS:
            said.append(f"{q_type}: not known to hemiec, which cannot reconcile it")
            continue
        scheduler = SCHEDULERS[q_type]()
        for command in (_SUBMIT[q_type], scheduler.command):
            if shutil.which(command) is None:
                raise LaunchError(
                    f"{q_type}: {command} is not on PATH.", mend="run this on a login node of the cluster"
                )
        waiting = scheduler.allocations()
        if waiting is None:
            raise LaunchError(f"{q_type}: {scheduler.command} does not answer.", mend="try again, or ask the operators")
        if isinstance(scheduler, Slurm):
            _check_partitions(scheduler, {p: a.get("queue") for p, a in found.items() if a.q_type == q_type})
        live = [allocation for allocation in waiting.values() if allocation.state != "ended"]
        said.append(f"{q_type} answers; {len(live)} of your jobs in the queue")
    return "; ".join(said)


def qadapters(folder: Path) -> list[Path]:
    """Return the files of the batch scripts in a configuration folder."""
    return sorted(folder.glob("my_qadapter*.yaml"))


def _check_partitions(scheduler: Slurm, wanted: dict[Path, str | None]) -> None:
    known = scheduler.call(["sinfo", "--noheader", "--format=%R"]).split()
    for path, partition in wanted.items():
        if partition is not None and partition not in known:
            raise InputError(f"{path}: Slurm has no partition {partition!r}; {did_you_mean(partition, known)}")


def _launchpad(path: Path) -> Any:
    from fireworks import LaunchPad

    with _read_by_fireworks(path):
        return LaunchPad.from_file(str(path))


def _worker(path: Path) -> Any:
    from fireworks import FWorker

    with _read_by_fireworks(path):
        return FWorker.from_file(str(path))


def _adapter(path: Path) -> Any:
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    with _read_by_fireworks(path):
        return CommonAdapter.from_file(str(path))


@contextmanager
def _read_by_fireworks(path: Path) -> Iterator[None]:
    """Name the file that FireWorks cannot read; the texts of such errors may hold the password."""
    try:
        yield
    except Exception as error:  # whatever YAML, FireWorks and pymongo raise
        raise InputError(f"{path}: FireWorks cannot read it ({type(error).__name__}).", mend=_RENDER) from None


def _named(content: dict[str, Any], key: str, folder: Path) -> Path:
    path = Path(str(content.get(key))).expanduser()
    if key not in content or not path.is_file():
        raise InputError(f"{folder / 'FW_config.yaml'}: {key} names no file ({content.get(key)}).", mend=_RENDER)
    return path


def _part(content: dict[str, Any], path: Path, *keys: str) -> dict[str, Any]:
    for key in keys:
        content = content.get(key) or {}
        if not isinstance(content, dict):
            raise InputError(f"{path}: key {key!r}: expected a mapping.", mend=_RENDER)
    return content


def _server(settings: Settings) -> tuple[str, str]:
    """Return URI and database that hemiec uses."""
    if settings.mongo_uri is not None:
        return settings.mongo_uri.get_secret_value(), settings.database
    return EmbeddedMongod(settings).uri(), settings.database


def _compare(path: Path, theirs: tuple[str, str], ours: tuple[str, str]) -> None:
    if theirs == ours:
        return
    what = "database" if theirs[0] == ours[0] else "server, user or password"
    said = (
        f"{theirs[1]!r}, hemiec's settings say {ours[1]!r}"
        if theirs[0] == ours[0]
        else f"{masked(theirs[0])}, hemiec's settings say {masked(ours[0])}"
    )
    raise InputError(f"{path}: another {what}: {said}.", mend=_RENDER)
