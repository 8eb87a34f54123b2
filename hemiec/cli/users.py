"""`hemiec db users`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import json_option, print_json, store

if TYPE_CHECKING:
    from hemiec.store.users import Role


@click.group()
def users() -> None:
    """List, add and remove users of the database, each with no more rights than its work needs.

    A reader can only read (people who look, `hemiec serve`); a worker reads and writes (who submits, works and builds);
    an admin may also manage users, prepare and migrate the database. None has rights on any other database.
    """


@users.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the users that live in the database.

    \b
    Example:
      hemiec db users list
    """
    from hemiec.store.users import list_users

    with store() as (_, database):
        found = list_users(database)
    if as_json:
        print_json([{"name": user.name, "role": user.role, "roles": list(user.roles)} for user in found])
        return
    for user in found:
        click.echo(f"{user.name:24} {user.role or 'other: ' + ', '.join(user.roles)}")
    if not found:
        click.echo(f"No users live in database {database.name!r}; `hemiec db users add NAME --role reader` adds one.")


@users.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["reader", "worker", "admin"]), required=True, help="What the user may do.")
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Take the password from this file, or write a random one into it (mode 0600); default: print a random one.",
)
@json_option
def add_command(name: str, role: Role, password_file: Path | None, as_json: bool) -> None:
    """Add a user; its password is random, and printed this once.

    \b
    Examples:
      hemiec db users add jane --role reader
      hemiec db users add cluster --role worker --password-file cluster.password
    """
    from hemiec.store.users import add_user, asks_for_passwords, generate_password, password_from, uri_of

    with store() as (_, database):
        if password_file is None:
            password = generate_password()
            user = add_user(database, name, role, password)
        else:
            with password_from(password_file) as password:
                user = add_user(database, name, role, password)
        uri, is_open = uri_of(name, database), not asks_for_passwords(database)
    if as_json:
        secret = {"password": password} if password_file is None else {"password_file": str(password_file)}
        print_json({"name": user.name, "role": user.role, "uri": uri, **secret})
    else:
        click.echo(f"{role} {name} added to database {database.name!r}.")
        where = f"password: {password}  (it is not shown again)"
        click.echo(where if password_file is None else f"password in {password_file}")
        click.echo(f"HEMIEC_MONGO_URI={uri}")
    if is_open:
        click.echo("This server lets in everybody without a password: start it with --auth.", err=True)


@users.command("remove")
@click.argument("name")
def remove_command(name: str) -> None:
    """Remove a user.

    \b
    Example:
      hemiec db users remove jane
    """
    from hemiec.store.users import remove_user

    with store() as (_, database):
        remove_user(database, name)
        click.echo(f"{name} removed from database {database.name!r}.")
