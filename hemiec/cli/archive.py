"""`hemiec db backup`, `restore` and `verify`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.errors import StoreError
from hemiec.settings import load_settings
from hemiec.store.database import Database, open_database

if TYPE_CHECKING:
    from hemiec.store.archive.backup import Manifest
    from hemiec.store.archive.verifying import Comparison

#: A line at least this often says how far a long command is, in s.
PROGRESS_SECONDS = 2.0
#: Digits of a hash that are shown to people.
_SHORT = 16
Report = Callable[[str, int, int], None]
_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@_file
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
    from hemiec.store.archive.verifying import find_trouble

    quiet()
    settings = load_settings()
    database = open_database(settings, as_is=True)
    try:
        manifest = write_backup(
            database, file, force=force, large_objects=settings.large_objects, report=progress("backup")
        )
        trouble = find_trouble(database)
    finally:
        database.close()
    size = file.stat().st_size
    if as_json:
        about = {"bytes": size, "consistency": manifest.consistency, **_counts(manifest)}
        print_json({"file": str(file), **about, "trouble": [asdict(found) for found in trouble]})
        return
    n = sum(entry.documents for entry in manifest.collections.values())
    click.echo(f"{file}: {n} documents of database {manifest.database!r}, {size / 1e6:.1f} MB")
    if manifest.consistency == "ordered":
        click.echo("The server has no snapshots: jobs that ended meanwhile may run again after a restore.")
    if manifest.large_objects != "gridfs":
        click.echo(f"Large objects lie in {manifest.large_objects} and are not in the file: keep a copy of them too.")
    for found in trouble:
        click.echo(f"In the file as they are: {found}")


@click.command()
@_file
@click.option("--merge", is_flag=True, help="Add what is missing to a database that holds something; without jobs.")
@json_option
def restore(file: Path, merge: bool, as_json: bool) -> None:
    """Put a backup into an empty database, or add its results to one that is in use.

    The file is read to its end before anything is written, and afterwards the database is compared with it by number
    and hash of the documents. If the restore is interrupted, the same command goes on with it, and other commands
    refuse the database until then.

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
        done = restore_backup(database, file, merge=merge, report=progress("restore"), finish=finish)
    finally:
        database.close()
    left_out = {name: n for name, n in done.left_out.items() if n}
    if as_json:
        about = {"added": done.added, "left_out": left_out, "made_ready": len(ready), "note": done.note}
        compared = {name: asdict(found) | {"same": found.same} for name, found in done.compared.items()}
        trouble = [asdict(found) for found in done.trouble]
        print_json({"file": str(file), **about, "compared": compared, "trouble": trouble})
        return
    click.echo(f"{sum(done.added.values())} documents of {done.manifest.created_on:%Y-%m-%d %H:%M} UTC restored.")
    _print_compared(done.compared)
    for name, n in done.added.items() if merge else ():
        click.echo(f"  {n:8d} {name}{f', {left_out[name]} left out' if name in left_out else ''}")
    others = ", ".join(name for name in left_out if name not in done.added)
    if others:
        click.echo(f"Left out, as they belong to the queue of the other database: {others}")
    if ready:
        click.echo(f"{len(ready)} jobs that were running are ready to run again.")
    for found in done.trouble:
        click.echo(f"Not usable by this hemiec: {found}")
    if done.note:
        click.echo(done.note)
    if merge:
        click.echo("Run `hemiec build`, which gathers the numbers anew; submit campaigns again to go on with them.")


@click.command()
@_file
@click.option("--database", "with_database", is_flag=True, help="Compare with what is in the database now, too.")
@json_option
def verify(file: Path, with_database: bool, as_json: bool) -> None:
    """Read a backup from end to end, and say what it holds: number and hash of the documents of each collection.

    The hash does not depend on the order of the documents: two backups, or a backup and a database, hold the same if
    numbers and hashes are the same.

    \b
    Examples:
      hemiec db verify hemiec-2026-11-22.zip
      hemiec db verify hemiec-2026-11-22.zip --database
    """
    from hemiec.store.archive.backup import check_backup
    from hemiec.store.archive.verifying import compare

    quiet()
    manifest = check_backup(file, report=progress("verify"))
    compared: dict[str, Comparison] = {}
    if with_database:
        database = open_database(load_settings(), as_is=True)
        try:
            compared = compare(database, manifest, report=progress("verify"))
        finally:
            database.close()
    if as_json:
        about = {"created_on": manifest.created_on.isoformat(), "database": manifest.database, **_counts(manifest)}
        found = {name: asdict(each) | {"same": each.same} for name, each in compared.items()}
        print_json({"file": str(file), **about, "compared": found})
    else:
        click.echo(f"{file}: whole; database {manifest.database!r} of {manifest.created_on:%Y-%m-%d %H:%M} UTC")
        for name, entry in () if compared else manifest.collections.items():
            if not entry.documents:
                continue
            click.echo(f"  {entry.documents:8d} {name:22} {(entry.content or '')[:_SHORT]}")
        _print_compared(compared)
    if different := [name for name, each in compared.items() if not each.same]:
        raise StoreError(f"the database does not hold the same: {', '.join(different)}.")


def _counts(manifest: Manifest) -> dict[str, Any]:
    entries = manifest.collections.items()
    return {
        "documents": {name: entry.documents for name, entry in entries},
        "content": {name: entry.content for name, entry in entries},
    }


def _print_compared(compared: Mapping[str, Comparison]) -> None:
    """Print number and hash of each collection that holds anything, and whether they are those of the archive."""
    for name, found in compared.items():
        if not found.documents and found.same:
            continue
        verdict = "same" if found.same else f"DIFFERENT: {found.documents} {(found.content or '')[:_SHORT]} in the file"
        click.echo(f"  {found.found_documents:8d} {name:22} {found.found_content[:_SHORT]}  {verdict}")


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


def progress(what: str) -> Report:
    """Return a function that says on stderr, every few seconds, how far a collection is."""
    last = time.monotonic()

    def report(collection: str, done: int, expected: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            click.echo(f"{what}: {collection}, {done} of {max(done, expected)}", err=True)

    return report
