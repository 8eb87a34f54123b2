"""`hemiec config`: private copies of the templates for FireWorks, jobflow and schedulers."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote_plus

import click
from pydantic import SecretStr, ValidationError

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.errors import InputError
from hemiec.launch.cluster.config import (
    PROFILE,
    Configuration,
    check_connection,
    given_settings,
    render,
    write_private,
)
from hemiec.launch.cluster.mongo_uri import check_uri, has_secret, is_exposed, lacks_password, masked, only_here
from hemiec.launch.cluster.sites import ASK, Site, make_site, never_started, site_content, site_names, site_text
from hemiec.schemas.validation import read_yaml
from hemiec.settings import Settings, config_file, load_settings
from hemiec.store.mongod import EmbeddedMongod

_CATEGORIES = ("mlip", "dft", "gpu")
#: Key of an allocation to the type of its flag, and what the help says.
_ALLOCATION_FLAGS: dict[str, tuple[str, Any, str]] = {
    "partition": ("partition", str, "partition or queue"),
    "cores": ("cores", click.IntRange(min=1), "cores of an allocation"),
    "memory": ("memory_gib", click.IntRange(min=1), "their memory together, in GiB"),
    "walltime": ("walltime", str, "its length, HH:MM:SS"),
    "workers": ("workers", click.IntRange(min=1), "jobs at a time in it"),
}
#: What a category that the preset lacks starts from when a flag names it.
_NEW_CATEGORY: dict[str, Any] = {"cores": 4, "memory_gib": 16, "walltime": "12:00:00"}
_SERVER_MEND = (
    "put the URI into HEMIEC_MONGO_URI or into a private file for --mongo-uri-file, or run the command on a "
    "terminal, which asks for it"
)


@click.group()
def config() -> None:
    """Configure clusters: private copies of the templates for FireWorks, jobflow and the scheduler.

    \b
    Example:
      hemiec config render --to ~/hemiec-config
    """


def _allocation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add a flag for each category and key, such as --cores-dft."""
    for category in reversed(_CATEGORIES):
        if category == "gpu":
            command = click.option("--gpus", type=click.IntRange(min=1), help="gpu: GPUs of an allocation.")(command)
        for key, (_, kind, text) in reversed(_ALLOCATION_FLAGS.items()):
            command = click.option(f"--{key}-{category}", type=kind, help=f"{category}: {text}.")(command)
    return command


@config.command("render")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder of the copies, seen by all nodes.")
@click.option("--site", "preset", help="Preset (`hemiec config sites`), or the path of a YAML file like one.")
@click.option("--scheduler", type=click.Choice(["slurm", "pbs", "sge"]), help="Without --site: a plain preset.")
@click.option("--name", help="Name of the cluster, stored with every launch.")
@click.option("--account", help="What is charged.")
@click.option("--environment", type=click.Path(path_type=Path), help="Environment with hemiec; default: this one.")
@click.option("--mongo-uri", help="MongoDB server; no password, which everyone could read here.")
@click.option("--mongo-uri-file", type=click.File(), help="File with the URI, password included; - for stdin.")
@click.option("--database", help="Name of the database; default: that of hemiec's settings.")
@click.option("--embedded", is_flag=True, help="Use the embedded MongoDB: clusters of one node alone.")
@click.option("--backend", type=click.Choice(["fireworks", "jobflow-remote"]), help="Launcher of hemiec.")
@click.option("--force", is_flag=True, help="Replace copies that differ.")
@click.option("--no-test", is_flag=True, help="Do not connect, and do not look for the environment.")
@_allocation_options
def render_config(
    folder: Path | None,
    preset: str | None,
    scheduler: str | None,
    name: str | None,
    account: str | None,
    environment: Path | None,
    database: str | None,
    backend: str | None,
    force: bool,
    no_test: bool,
    mongo_uri: str | None,
    mongo_uri_file: TextIO | None,
    embedded: bool,
    **allocations: Any,
) -> None:
    """Write private copies of the templates, mode 0600, and test the connection.

    On a terminal it asks for what is missing.

    \b
    Examples:
      hemiec config render --to ~/hemiec-config
      hemiec config render --to ~/hemiec-config --scheduler slurm --partition-mlip short --mongo-uri-file ~/mongo-uri
      hemiec config render --to ~/hemiec-config --site my-cluster.yaml --account ab12
    """
    quiet()
    folder = folder or Path(_ask("Folder of the copies", "--to", default="~/hemiec-config"))
    folder = folder.expanduser().absolute()
    site = _site(preset, scheduler, {"name": name, "account": account}, allocations)
    environment = (environment or Path(sys.prefix)).expanduser().absolute()
    if not no_test and not (environment / "bin" / "hemiec").exists():
        raise InputError(f"{environment}: has no bin/hemiec.", mend="name hemiec's virtual environment: --environment")
    settings = _settings(database)
    uri, own_server = _server(settings, mongo_uri, mongo_uri_file, embedded=embedded, files=not no_test)
    more = given_settings(settings) | ({"backend": backend} if backend else {})
    files = render(Configuration(site, uri, settings.database, folder, environment, more, own_server))
    tested = "not tested" if no_test else f"MongoDB {check_connection(uri, settings.database)}, written to and read"
    write_private(folder, files, force=force)
    if short := never_started(site):
        _warn(
            "jobs of these protocols may take longer than an allocation and are never started in one: "
            f"{', '.join(short)}. Mend: a longer --walltime-..., or a protocol with another walltime_min."
        )
    if settings.large_objects != "gridfs":
        _warn("large_objects is for hemiec's own workers: plain rlaunch writes to GridFS and reads from there alone.")
    click.echo(f"{folder}: {len(files)} files that only you can read, for site {site.name} ({site.scheduler})")
    for file in sorted(files):
        click.echo(f"  {file}")
    click.echo(f"server: {masked(uri.get_secret_value())}, database {settings.database!r}: {tested}")
    click.echo(f"\nPut this line into your shell profile (~/.bashrc):\n\n  source {folder / PROFILE}\n")
    if "HEMIEC_MONGO_URI" in os.environ:
        click.echo("and take HEMIEC_MONGO_URI out of it: the password is in the private files now.\n")
    click.echo("`hemiec doctor` in a new shell checks files, server and scheduler.")


@config.command("sites")
@click.argument("name", required=False)
def sites(name: str | None) -> None:
    """List the presets of clusters, or print one, to start a file of your own from.

    \b
    Examples:
      hemiec config sites
      hemiec config sites slurm-gpu > my-cluster.yaml
    """
    if name is not None:
        click.echo(site_text(name), nl=False)
        return
    for known in site_names():
        site = make_site(site_content(known), f"site {known}")
        click.echo(f"{known:12} {', '.join(site.categories):16} {site.description}")


@config.command("show")
@json_option
def show(as_json: bool) -> None:
    """Print the settings in use, secrets masked, and where each comes from.

    \b
    Example:
      hemiec config show
    """
    settings = load_settings()
    path = config_file()
    from_file = read_yaml(path) if path.exists() and path.read_text(encoding="utf-8").strip() else {}
    rows: dict[str, dict[str, Any]] = {}
    for name in type(settings).model_fields:
        variable = f"HEMIEC_{name.upper()}"
        source = variable if variable in os.environ else str(path) if name in from_file else "default"
        rows[name] = {"value": _shown(getattr(settings, name)), "from": source}
    for variable in ("HEMIEC_CONFIG_FILE", "FW_CONFIG_FILE", "JOBFLOW_CONFIG_FILE"):
        rows[variable] = {
            "value": os.environ.get(variable),
            "from": "environment" if variable in os.environ else "default",
        }
    if as_json:
        print_json(rows)
        return
    for name, row in rows.items():
        value = "-" if row["value"] is None else row["value"]
        click.echo(f"{name:20} {value}  ({row['from']})")


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return masked(value.get_secret_value()) if "://" in value.get_secret_value() else "***"
    return str(value) if isinstance(value, Path) else value


def _settings(database: str | None) -> Settings:
    """Return hemiec's settings, with another database if a flag names one."""
    settings = load_settings()
    if database is not None:
        try:
            Settings.__pydantic_validator__.validate_assignment(settings, "database", database)
        except ValidationError as error:
            raise click.UsageError(f"--database {database!r}: {error.errors()[0]['msg']}.") from error
    return settings


def _site(preset: str | None, scheduler: str | None, named: dict[str, str | None], allocations: dict[str, Any]) -> Site:
    """Return the site of a preset with what the flags change, asking for what it leaves open."""
    reference = preset or scheduler
    if reference is None:
        reference = _ask("Preset", "--scheduler or --site", type=click.Choice(site_names()))
    content = site_content(reference)
    if scheduler is not None and content.get("scheduler") != scheduler:
        raise click.UsageError(f"--site {preset} is for {content.get('scheduler')}, --scheduler says {scheduler}.")
    content |= {key: value for key, value in named.items() if value is not None}
    known = dict(content.get("categories") or {})
    gpus = allocations.pop("gpus")
    for category in _CATEGORIES:
        given = {key: allocations[f"{flag}_{category}"] for flag, (key, _, _) in _ALLOCATION_FLAGS.items()}
        given |= {"gpus": gpus} if category == "gpu" else {}
        given = {key: value for key, value in given.items() if value is not None}
        if not given:
            continue
        usual = known.get(category) or _NEW_CATEGORY | ({"gpus": 1, "workers": 1} if category == "gpu" else {})
        known[category] = {**usual, **given}
    site = make_site(content | {"categories": known}, f"site {reference}" if preset is None else f"--site {preset}")
    if site.account == ASK:
        site = site.model_copy(update={"account": _ask("Account that is charged", "--account")})
    if _on_terminal():
        for category, allocation in site.categories.items():
            if allocation.partition is None:
                found = click.prompt(f"Partition or queue of category {category} (empty: the default)", default="")
                allocation.partition = found or None
    return make_site(site.model_dump(), "your answers")


def _server(
    settings: Settings, option: str | None, file: TextIO | None, *, embedded: bool, files: bool
) -> tuple[SecretStr, bool]:
    """Return the URI with its password, and whether it is a server's rather than the embedded MongoDB's."""
    if sum((option is not None, file is not None, embedded)) > 1:
        raise click.UsageError("--mongo-uri, --mongo-uri-file and --embedded exclude each other.")
    if embedded:
        if settings.mongo_uri is not None:
            raise click.UsageError("--embedded: HEMIEC_MONGO_URI or your settings file names a server.")
        return SecretStr(EmbeddedMongod(settings).up()), False
    if option is not None:
        uri = _with_password(option)
    elif file is not None:
        uri = _read(file)
    elif settings.mongo_uri is not None:
        uri = settings.mongo_uri.get_secret_value()
    elif _on_terminal():
        uri = click.prompt("MongoDB URI with password (not shown)", hide_input=True)
    else:
        raise click.UsageError(
            "no MongoDB server: compute nodes cannot reach the embedded one, which listens on this machine's loopback "
            f"alone. Mend: {_SERVER_MEND}; --embedded for a cluster of this one node."
        )
    check_uri(uri, files=files)
    if only_here(uri):
        _warn("the MongoDB URI leads to this machine alone: other nodes cannot reach it.")
    if is_exposed(uri):
        _warn("the MongoDB URI has no TLS (tls=true): what is sent can be read on the network.")
    return SecretStr(uri), True


def _with_password(uri: str) -> str:
    """Return the URI of the command line with the password that its user still needs, typed in."""
    if has_secret(uri):
        raise click.UsageError(
            f"--mongo-uri with a password: every user of this machine can see it. Mend: {_SERVER_MEND}."
        )
    check_uri(uri, files=False)  # where it comes together with the others it is checked in full
    if not lacks_password(uri):
        return uri
    if not _on_terminal():
        raise click.UsageError(f"--mongo-uri names a user without a password. Mend: {_SERVER_MEND}.")
    password = click.prompt("Password (not shown)", hide_input=True)
    scheme, _, rest = uri.partition("://")
    user, _, hosts = rest.partition("@")
    return f"{scheme}://{user}:{quote_plus(password)}@{hosts}"


def _read(file: TextIO) -> str:
    lines = [line.strip() for line in file.read().splitlines() if line.strip()]
    if len(lines) != 1:
        raise InputError(f"{file.name}: expected one line with a MongoDB URI, got {len(lines)}.")
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
        _warn(f"{file.name}: other users can read it; run `chmod 600 {file.name}`.")
    return lines[0]


def _ask(question: str, flag: str, *, default: str | None = None, type: Any = None) -> str:
    """Return the answer to a question; without a terminal, say which flag is missing."""
    if not _on_terminal():
        raise click.UsageError(f"{flag} is missing: {question[0].lower()}{question[1:]}.")
    return str(click.prompt(question, default=default, type=type))


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)
