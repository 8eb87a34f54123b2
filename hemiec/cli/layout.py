"""`hemiec db migrate` and `hemiec db schema`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.errors import InputError
from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database

if TYPE_CHECKING:
    from hemiec.store.layout.migrate import Migration

#: How long the lock of a migration lasts without being renewed, in s.
_LOCK_SECONDS = 120
_SHOWN = 20


@click.command()
@click.option(
    "--backup",
    "backup_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the backup goes; default: backups/ in the data folder, named after database and time.",
)
@click.option("--no-backup", is_flag=True, help="Write no backup first.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_option
def migrate(backup_file: Path | None, no_backup: bool, dry_run: bool, as_json: bool) -> None:
    """Bring the documents of an older hemiec to the layout of this one, after a backup.

    Stop workers of the older version first. If it is interrupted, the same command goes on with it; until then other
    commands do not write to the store. Documents that cannot be read, or are of a newer hemiec, are listed and stay as
    they are.

    \b
    Examples:
      hemiec db migrate --dry-run
      hemiec db migrate
    """
    from hemiec.cli.archive import progress
    from hemiec.launch.lease import Lease
    from hemiec.store.layout.migrate import migrate as migrate_store
    from hemiec.store.layout.migrate import pending

    if backup_file is not None and no_backup:
        raise InputError("--backup and --no-backup exclude each other.")
    quiet()
    settings = load_settings()
    database = open_database(settings, as_is=True)
    try:
        if dry_run:
            _show(migrate_store(database, dry_run=True, report=progress("dry run")), None, as_json, dry_run=True)
            return
        with Lease(database, "db migrate", _LOCK_SECONDS).held() as lock:
            report = progress("migrate")

            def renew_and_report(collection: str, done: int, expected: int) -> None:
                lock.renew()
                report(collection, done, expected)

            saved = None
            if pending(database) and not no_backup:
                saved = _backed_up(database, settings, backup_file, renew_and_report)
            _show(migrate_store(database, report=renew_and_report), saved, as_json, dry_run=False)
    finally:
        database.close()


@click.command()
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder.")
def schema(folder: Path) -> None:
    """Write the JSON schema of every collection's documents into a folder.

    \b
    Example:
      hemiec db schema --to schemas
    """
    from hemiec.store.layout.schema_files import write_schemas

    for file in write_schemas(folder):
        click.echo(str(file))


def _backed_up(database: Database, settings: Settings, path: Path | None, report: object) -> Path:
    """Write a backup and return its file."""
    from hemiec.store.archive.backup import write_backup

    if path is None:
        folder = settings.data_dir / "backups"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{settings.database}-before-migration-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.zip"
    write_backup(database, path, large_objects=settings.large_objects, report=report)  # type: ignore[arg-type]
    click.echo(f"backup: {path}", err=True)
    return path


def _show(done: Migration, saved: Path | None, as_json: bool, *, dry_run: bool) -> None:
    if as_json:
        print_json({"dry_run": dry_run, "backup": None if saved is None else str(saved), **done.to_json()})
        return
    verb = "would be brought" if dry_run else "brought"
    for name, n in done.migrated.items():
        click.echo(f"{n:8d} {name} {verb} to this layout")
    for name, n in done.written.items():
        click.echo(f"{n:8d} {name} {'would be ' if dry_run else ''}written out of others")
    if not done.migrated:
        click.echo("Every document that can be read has this layout already.")
    for kind, counts in (("cannot be read", done.unreadable), ("of a newer hemiec", done.newer)):
        if n := sum(counts.values()):
            click.echo(f"{n} documents {kind} and stay as they are:")
            for left in [a for a in done.left_alone if ("newer" in a.reason) == (counts is done.newer)][:_SHOWN]:
                click.echo(f"  {left.collection} {left.name}: {left.reason}")
            if n > _SHOWN:
                click.echo("  ... (--json lists more)")
