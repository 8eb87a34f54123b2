"""Private copies of the templates in ``db_config``: filled in for one site and server, mode 0600, all or none.

The templates hold words in capitals. A line with a word that has no value here (no account, no GPU) is left out; a
word with several values repeats its line.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr
from pymongo.errors import ConfigurationError, InvalidURI

from hemiec.errors import InputError, StoreError
from hemiec.launch.cluster.scheduler import seconds_of
from hemiec.launch.cluster.sites import ASK, Allocation, Site, templates
from hemiec.settings import Settings
from hemiec.store.database import Database, store_errors

PROFILE = "profile.sh"
SETTINGS_FILE = "hemiec.yaml"
REMOTE_FOLDER = "jobflow-remote"
REMOTE_FILE = f"{REMOTE_FOLDER}/hemiec.yaml"
#: Paths as they go into shell scripts and YAML without quotes.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+,=@~-]*")
_WORD = re.compile(r"(?<![A-Za-z])[A-Z][A-Z_]*[A-Z](?![A-Za-z])")

#: What a word in capitals stands for: one value, several lines, or nothing.
Values = dict[str, str | list[str] | None]


@dataclass(frozen=True)
class Configuration:
    """What the copies are filled in with.

    ``settings`` are the other settings of hemiec by name, among them ``data_dir``; see :func:`given_settings`.
    ``own_server`` says whether ``uri`` is a server's: that of the embedded MongoDB does not go into hemiec's settings,
    so that hemiec goes on starting and stopping it.
    """

    site: Site
    uri: SecretStr
    database: str
    folder: Path
    environment: Path
    settings: dict[str, Any] = field(repr=False)
    own_server: bool = True

    @property
    def backend(self) -> str:
        """The launcher that hemiec's settings name."""
        return str(self.settings.get("backend", "fireworks"))


def render(configuration: Configuration) -> dict[str, str]:
    """Return file name to text of every private copy.

    Raises
    ------
    InputError
        If a path has characters that shell scripts and YAML would have to quote, or the account is missing.
    LaunchError
        If jobflow-remote's project is asked for, and jobflow-remote is missing or refuses it.
    """
    site = configuration.site
    if site.account == ASK:
        raise InputError(f"site {site.name}: an account is needed.", mend="name what jobs are charged to")
    values = _values(configuration)
    files = {name: _filled(name, values) for name in ("FW_config.yaml", "my_launchpad.yaml", "jobflow.yaml", PROFILE)}
    files[SETTINGS_FILE] = _filled(
        SETTINGS_FILE, values | ({} if configuration.own_server else {"MONGO_URI": None})
    ) + yaml.safe_dump(configuration.settings, sort_keys=True, allow_unicode=True)
    if site.scheduler == "sge":
        files["sge_template.txt"] = _filled("sge/sge_template.txt", values)
    files["my_fworker.yaml"] = _filled("my_fworker.yaml", values | {"CATEGORY": "''"})
    for category, allocation in site.categories.items():
        more = values | _allocation_values(site, allocation) | {"CATEGORY": category}
        files[f"my_fworker_{category}.yaml"] = _filled("my_fworker.yaml", more)
        template = f"my_qadapter_{category}.yaml" if site.scheduler == "slurm" else f"{site.scheduler}/my_qadapter.yaml"
        files[f"my_qadapter_{category}.yaml"] = _filled(template, more)
    if configuration.backend == "jobflow-remote":
        files[REMOTE_FILE] = _remote_project(configuration)
    return files


def _values(configuration: Configuration) -> Values:
    site = configuration.site
    remote = configuration.backend == "jobflow-remote"
    return {
        "MONGO_URI": configuration.uri.get_secret_value(),
        "DATABASE_NAME": configuration.database,
        "CONFIG_FOLDER": _plain(configuration.folder),
        "ENVIRONMENT_FOLDER": _plain(configuration.environment),
        "REMOTE_FOLDER": REMOTE_FOLDER if remote else None,
        "WORKER_NAME": site.name,
        "ACCOUNT": site.account,
        "PARALLEL_ENVIRONMENT": site.parallel_environment,
        "SETUP": site.setup,
    }


def _allocation_values(site: Site, allocation: Allocation) -> Values:
    """Return the values of one category's batch script."""
    gpus = f":ngpus={allocation.gpus}" if allocation.gpus else ""
    return {
        "PARTITION": allocation.partition,
        "CORES": str(allocation.cores),
        "MEMORY": f"{allocation.memory_gib}G",
        "CORE_MEMORY": f"{1024 * allocation.memory_gib // allocation.cores}M",
        "GPUS": str(allocation.gpus) if allocation.gpus else None,
        "SELECT": f"1:ncpus={allocation.cores}:mpiprocs={allocation.cores}:mem={allocation.memory_gib}gb{gpus}",
        "WALLTIME": allocation.walltime,
        "WORKERS": str(allocation.jobs_at_a_time),
        "OPTIONS": allocation.options,
    }


def _filled(template: str, values: Values) -> str:
    """Return a template's text with its words replaced."""
    text = (templates().joinpath(*template.split("/"))).read_text(encoding="utf-8")
    lines: list[str] = []
    for line in text.splitlines():
        given = [(word, values[word]) for word in dict.fromkeys(_WORD.findall(line)) if word in values]
        if any(value is None for _, value in given):
            continue
        several = next((word for word, value in given if isinstance(value, list)), None)
        for item in values[several] or () if several else (None,):
            chosen = {word: item if word == several else value for word, value in given}
            lines.append(_WORD.sub(lambda found, chosen=chosen: str(chosen.get(found[0], found[0])), line))  # type: ignore[misc]
    return "\n".join(lines) + "\n"


def _remote_project(configuration: Configuration) -> str:
    """Return jobflow-remote's project, with the site's partition, memory and time for each category."""
    from hemiec.launch.remote.config import ProjectValues, render_project

    site = configuration.site
    values = ProjectValues(
        mongo_uri=configuration.uri.get_secret_value(),
        database=configuration.database,
        environment=configuration.environment,
        run_folder=Path(configuration.settings["data_dir"]) / REMOTE_FOLDER,
        scheduler=site.scheduler,
        partition=next(iter(site.categories.values())).partition,
        account=site.account,
    )
    with tempfile.TemporaryDirectory() as scratch:
        # It is checked by jobflow-remote there, and moved with all other files at the end.
        text = render_project(values, Path(scratch)).read_text("utf-8")
    header = "".join(line + "\n" for line in text.splitlines() if line.startswith("#"))
    project = yaml.safe_load(text)
    project["base_dir"] = str(configuration.folder / REMOTE_FOLDER / project["name"])
    workers = {name: worker for name, worker in project["workers"].items() if name in site.categories}
    for name, worker in workers.items():
        worker["pre_run"] = "\n".join([*site.setup, worker["pre_run"]])
        if site.scheduler == "slurm":
            _fit(worker, site.categories[name])
    return header + yaml.safe_dump(project | {"workers": workers}, sort_keys=False, allow_unicode=True)


def _fit(worker: dict[str, Any], allocation: Allocation) -> None:
    """Change a worker of jobflow-remote to what the site gives its category; a DFT job's protocol says the rest."""
    asked: dict[str, Any] = {"partition": allocation.partition}
    if "batch" in worker:  # one job after another, so a share of the memory; the longest fits into the last sixth
        asked |= {"mem": f"{math.ceil(allocation.memory_gib / allocation.jobs_at_a_time)}G"}
        asked |= {"time": allocation.walltime} | ({"gres": f"gpu:{allocation.gpus}"} if allocation.gpus else {})
        worker["batch"]["max_time"] = seconds_of(allocation.walltime) * 5 // 6
    worker["resources"] = {k: v for k, v in (worker["resources"] | asked).items() if v is not None}


def _plain(path: Path) -> str:
    text = str(path.expanduser().absolute())
    if not _PLAIN_PATH.fullmatch(text):
        raise InputError(
            f"{text}: batch scripts cannot take this path.",
            mend="choose one of letters, digits and the characters _ . / + , = @ ~ -",
        )
    return text


def given_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that were set somewhere, as they go into a file; server and database are left out."""
    names = sorted((settings.model_fields_set | {"data_dir"}) - {"mongo_uri", "database"})
    plain = settings.model_dump(mode="json", include=set(names))
    for name in names:
        if isinstance(secret := getattr(settings, name), SecretStr):
            plain[name] = secret.get_secret_value()
    return {name: value for name, value in plain.items() if value is not None}


def check_connection(uri: SecretStr, database: str) -> str:
    """Return the version of a MongoDB server after writing, reading and removing a document.

    Raises
    ------
    StoreError
        If it cannot be reached, or refuses the password or the write.
    """
    try:
        with closing(Database(uri.get_secret_value(), database)) as opened:
            return probe(opened)
    except (InvalidURI, ConfigurationError) as error:
        # Their texts may quote the URI.
        raise StoreError(f"the MongoDB URI does not work ({type(error).__name__}).", mend="check its options") from None


def probe(database: Database) -> str:
    """Return the version of a database's server after writing, reading and removing a document; StoreError if not."""
    with store_errors("check the server, user, password and database; the user needs the role readWrite on it"):
        database.client.admin.command("ping")
        documents = database["doctor"]
        key = documents.insert_one({"probe": True}).inserted_id
        found = documents.count_documents({"_id": key})
        documents.delete_one({"_id": key})
        version = str(database.client.server_info()["version"])
    if not found:
        raise StoreError("a document that was written could not be read back.")
    return version


def write_private(folder: Path, files: dict[str, str], *, force: bool = False) -> None:
    """Write files that only their owner can read into a folder that only its owner can open: all, or none.

    Parameters
    ----------
    folder
        Created if it is missing. One that others can open is closed to them if it holds nothing else.
    files
        File name (with / for folders within) to text.
    force
        Whether files that differ are replaced.

    Raises
    ------
    InputError
        If the folder is a file or is shared, or a file is there with other content.
    OSError
        If it cannot be written; then everything is as before.
    """
    _check_target(folder, files, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = not folder.is_dir()
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent if new else folder))
    try:
        for name, text in files.items():
            _write(staged / name, text.encode())
        if new:
            staged.rename(folder)
        else:
            folder.chmod(0o700)
            _move_in(staged, folder, list(files))
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check_target(folder: Path, files: dict[str, str], *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder.", mend="choose another one with --to")
    if not folder.is_dir():
        return
    others = {f.name for f in folder.iterdir()} - {name.split("/")[0] for name in files}
    if others and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        raise InputError(
            f"{folder}: other users can open it, and it holds more than the configuration ({sorted(others)[0]}).",
            mend=f"choose a folder of its own, or run `chmod 700 {folder}`",
        )
    differing = [n for n, text in files.items() if (folder / n).exists() and (folder / n).read_bytes() != text.encode()]
    if differing and not force:
        raise InputError(
            f"{folder}: {', '.join(differing)} would be overwritten.", mend="add --force, or choose another folder"
        )


def _write(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600, whatever the umask is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            raise InputError(f"{path.parent}: this file system does not keep files private.", mend="choose another one")
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _move_in(staged: Path, folder: Path, names: list[str]) -> None:
    """Move files into a folder; if one cannot be moved, those before it are put back."""
    before = staged / "before"
    for name in names:
        if (folder / name).exists():
            _write(before / name, (folder / name).read_bytes())
    moved: list[str] = []
    try:
        for name in names:
            (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
            (staged / name).replace(folder / name)
            moved.append(name)
    except OSError:
        for name in moved:
            if (before / name).exists():
                (before / name).replace(folder / name)
            else:
                (folder / name).unlink()
        raise
