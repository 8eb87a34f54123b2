"""`hemiec db`."""

from __future__ import annotations

from dataclasses import asdict

import click

from hemiec.cli.archive import backup, restore, verify
from hemiec.cli.layout import migrate, schema
from hemiec.cli.session import json_option, print_json
from hemiec.cli.users import users
from hemiec.errors import InputError
from hemiec.settings import Settings, load_settings
from hemiec.store.database import open_database
from hemiec.store.layout.prepare import describe
from hemiec.store.mongod import EmbeddedMongod


@click.group()
def db() -> None:
    """Start, stop and inspect the embedded MongoDB; back up and restore any database."""


for command in (backup, restore, verify, users, migrate, schema):
    db.add_command(command)


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
        database = open_database(settings, start=False, as_is=True)
        names = ("campaigns", "candidates", "references", "outputs", "fireworks")
        facts["documents"] = {name: database[name].estimated_document_count() for name in names}
        facts["layout"] = describe(database)
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
    click.echo(f"  layout: {facts['layout']}")
    for name, count in facts["documents"].items():  # type: ignore[attr-defined]
        click.echo(f"  {count:8d} {name}")


def _embedded() -> Settings:
    settings = load_settings()
    if settings.mongo_uri is not None:
        raise InputError("HEMIEC_MONGO_URI names a server, which hemiec does not start or stop.", mend="unset it")
    return settings
