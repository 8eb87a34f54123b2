"""`hemiec db`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.errors import InputError
from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod

#: A line at least this often says how far a long command is, in s.
PROGRESS_SECONDS = 2.0
Report = Callable[[str, int, int], None]


@click.group()
def db() -> None:
    """Start, stop and inspect the embedded MongoDB; back up and restore any database."""


@db.command()
def up() -> None:
    """Start the embedded MongoDB if it does not run.

    \b
    Example:
      hemiec db up
    """
    settings = _embedded()
    open_database(settings).close()
    status = EmbeddedMongod(settings).status()
    click.echo(f"MongoDB runs on 127.0.0.1:{status.port} (pid {status.pid}), data in {status.folder}")


@db.command()
def down() -> None:
    """Stop the embedded MongoDB; data stay.

    \b
    Example:
      hemiec db down
    """
    stopped = EmbeddedMongod(_embedded()).down()
    click.echo("MongoDB stopped." if stopped else "MongoDB did not run.")


@db.command("status")
@json_option
def db_status(as_json: bool) -> None:
    """Say whether MongoDB runs, where, and what it holds.

    \b
    Example:
      hemiec db status
    """
    settings = load_settings()
    facts: dict[str, object] = {}
    if settings.mongo_uri is None:
        facts = asdict(EmbeddedMongod(settings).status())
        facts["folder"] = str(facts["folder"])
    if settings.mongo_uri is not None or facts["running"]:
        database = open_database(settings, start=False)
        names = ("campaigns", "candidates", "references", "outputs", "fireworks")
        facts["documents"] = {name: database[name].estimated_document_count() for name in names}
        facts["running"] = True
        database.close()
    if as_json:
        print_json(facts)
        return
    if not facts["running"]:
        click.echo(f"MongoDB does not run; `hemiec db up` starts it. Data folder: {facts['folder']}")
        return
    where = "on the configured server" if settings.mongo_uri else f"on 127.0.0.1:{facts['port']} (pid {facts['pid']})"
    click.echo(f"MongoDB runs {where}, database {settings.database!r}")
    if "size_bytes" in facts:
        click.echo(f"  data in {facts['folder']}, {int(str(facts['size_bytes'])) / 1024**2:.0f} MiB")
    for name, count in facts["documents"].items():  # type: ignore[attr-defined]
        click.echo(f"  {count:8d} {name}")


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def backup(file: Path, force: bool, as_json: bool) -> None:
    """Write the whole database into one file, while workers go on.

    It holds jobs, results, candidates and what lies in GridFS; run folders are not in it. It has no password in it.

    \b
    Example:
      hemiec db backup hemiec-2026-11-22.zip
    """
    from hemiec.store.archive.backup import write_backup

    quiet()
    settings = load_settings()
    database = open_database(settings)
    try:
        manifest = write_backup(
            database, file, force=force, large_objects=settings.large_objects, report=_progress("backup")
        )
    finally:
        database.close()
    size = file.stat().st_size
    documents = {name: entry.documents for name, entry in manifest.collections.items()}
    if as_json:
        consistency = manifest.consistency
        print_json({"file": str(file), "bytes": size, "consistency": consistency, "documents": documents})
        return
    click.echo(f"{file}: {sum(documents.values())} documents of database {manifest.database!r}, {size / 1e6:.1f} MB")
    if manifest.consistency == "ordered":
        click.echo("The server has no snapshots: jobs that ended meanwhile may run again after a restore.")
    if manifest.large_objects != "gridfs":
        click.echo(f"Large objects lie in {manifest.large_objects} and are not in the file: keep a copy of them too.")


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--merge", is_flag=True, help="Add what is missing to a database that holds something; without jobs.")
@json_option
def restore(file: Path, merge: bool, as_json: bool) -> None:
    """Put a backup into an empty database, or add its results to one that is in use.

    The file is read to its end before anything is written. If the restore is interrupted, the same command goes on
    with it, and other commands refuse the database until then.

    \b
    Example:
      HEMIEC_MONGO_URI=mongodb://user:password@host/ hemiec db restore hemiec-2026-11-22.zip
    """
    from hemiec.store.archive.restore import restore_backup

    quiet()
    settings = load_settings()
    database = open_database(settings, restoring=True)
    ready: list[int] = []
    try:
        finish = None if merge else lambda: ready.extend(_make_ready(database))
        done = restore_backup(database, file, merge=merge, report=_progress("restore"), finish=finish)
    finally:
        database.close()
    left_out = {name: n for name, n in done.left_out.items() if n}
    if as_json:
        print_json({"file": str(file), "added": done.added, "left_out": left_out, "made_ready": len(ready)})
        return
    click.echo(f"{sum(done.added.values())} documents of {done.manifest.created_on:%Y-%m-%d %H:%M} UTC restored.")
    for name, n in done.added.items():
        click.echo(f"  {n:8d} {name}{f', {left_out[name]} left out' if name in left_out else ''}")
    others = ", ".join(name for name in left_out if name not in done.added)
    if others:
        click.echo(f"Left out, as they belong to the queue of the other database: {others}")
    if ready:
        click.echo(f"{len(ready)} jobs that were running are ready to run again.")
    if merge:
        click.echo("Run `hemiec build`, which gathers the numbers anew; submit campaigns again to go on with them.")


def _make_ready(database: Database) -> list[int]:
    """Make jobs ready that were running when the backup was made, as they run nowhere now; return which."""
    from hemiec.launch.fireworks.launchpad import open_launchpad

    running: list[int] = database["fireworks"].distinct("fw_id", {"state": {"$in": ["RUNNING", "RESERVED"]}})
    if running:
        launchpad = open_launchpad(database)
        try:
            for fw_id in running:
                launchpad.rerun_fw(fw_id)
        finally:
            launchpad.connection.close()
    return running


def _progress(what: str) -> Report:
    """Return a function that says on stderr, every few seconds, how far a collection is."""
    last = time.monotonic()

    def report(collection: str, done: int, expected: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            click.echo(f"{what}: {collection}, {done} of {max(done, expected)}", err=True)

    return report


def _embedded() -> Settings:
    settings = load_settings()
    if settings.mongo_uri is not None:
        raise InputError("HEMIEC_MONGO_URI names a server, which hemiec does not start or stop.", mend="unset it")
    return settings
