"""Users of one database, each with no more rights than its work needs.

They live in the database itself, so that whoever administers that one database can manage them:
``mongodb://NAME:PASSWORD@host/?authSource=DATABASE``.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from filelock import FileLock
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from hemiec.errors import InputError, StoreError, did_you_mean
from hemiec.settings import Settings
from hemiec.store.database import Database, store_errors
from hemiec.store.mongod import EmbeddedMongod, write_private

Role = Literal["reader", "worker", "admin"]
#: Role to MongoDB's built-in role, on the one database: managed servers allow no roles of one's own.
ROLES: dict[str, str] = {"reader": "read", "worker": "readWrite", "admin": "dbOwner"}
#: User of the web server on the embedded MongoDB.
READER = "hemiec-reader"
MIN_PASSWORD_LENGTH = 12
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: Options of a URI that say how to get to the server, and are no secrets.
_KEPT_OPTIONS = {"tls", "tlsCAFile", "replicaSet", "directConnection"}
_AUTHENTICATION_FAILED, _UNAUTHORIZED, _USER_EXISTS, _NO_USER = 18, 13, 51003, 11
_WRITES = {"insert", "update", "remove", "dropCollection", "dropDatabase", "createCollection", "createUser"}


@dataclass(frozen=True)
class User:
    """A user of the database; `role` is null for one that hemiec did not make."""

    name: str
    role: str | None
    roles: tuple[str, ...]


def list_users(database: Database) -> list[User]:
    """Return the users that live in a database, by name.

    Raises
    ------
    StoreError
        If the connected user may not see them.
    """
    found = _command(database, "usersInfo", 1)["users"]
    return [_user(database, document) for document in sorted(found, key=lambda d: d["user"])]


def add_user(database: Database, name: str, role: Role, password: str) -> User:
    """Add a user and return it.

    Raises
    ------
    InputError
        If the name or the password is not one, or there is such a user.
    StoreError
        If the connected user may not add users.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name of a user.", mend="use letters, digits, dots, dashes and underscores")
    if role not in ROLES:
        raise InputError(f"no role {role!r}; {did_you_mean(role, ROLES)}")
    if len(password) < MIN_PASSWORD_LENGTH or not password.isprintable():
        raise InputError(f"a password has at least {MIN_PASSWORD_LENGTH} characters, all printable.")
    roles = [{"role": ROLES[role], "db": database.name}]
    _command(database, "createUser", name, pwd=password, roles=roles, mechanisms=["SCRAM-SHA-256"])
    return User(name, role, (ROLES[role],))


def remove_user(database: Database, name: str) -> None:
    """Remove a user; connections that it has are refused from then on.

    Raises
    ------
    InputError
        If there is no such user, or it is the connected one.
    StoreError
        If the connected user may not remove users.
    """
    users = [user.name for user in list_users(database)]
    if name not in users:
        hint = did_you_mean(name, users) if users else "none lives in it."
        raise InputError(f"database {database.name!r} has no user {name!r}; {hint}")
    if (name, database.name) in _connected(database):
        raise InputError(f"{name!r} is the user that this command is connected as.", mend="connect as another one")
    _command(database, "dropUser", name)


def asks_for_passwords(database: Database) -> bool:
    """Return whether the connection is one of a user; a server without access control lets in everybody."""
    return bool(_connected(database))


def may_write(database: Database) -> bool:
    """Return whether the connected user may change anything on the server."""
    with store_errors():
        status = database.client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    if not status["authenticatedUsers"]:
        return True
    return any(_WRITES & set(privilege["actions"]) for privilege in status["authenticatedUserPrivileges"])


def generate_password() -> str:
    """Return a random password that needs no encoding in a URI."""
    return secrets.token_urlsafe(24)


@contextmanager
def password_from(path: Path) -> Iterator[str]:
    """Yield the password in a file; one that does not exist is made, of mode 0600, and stays unless an error follows.

    Raises
    ------
    InputError
        If others can read the file, it is empty, or cannot be read or written.
    """
    made = False
    try:
        made = not path.exists()
        if made:
            write_private(path, generate_password() + "\n")
        if path.stat().st_mode & 0o077:
            raise InputError(f"{path}: others can read it, and it holds a password.", mend=f"chmod 600 {path}")
        password = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be used ({getattr(error, 'strerror', None) or 'not text'}).") from error
    if not password:
        raise InputError(f"{path}: is empty.", mend="put a password into it, or name a file that does not exist")
    try:
        yield password
    except BaseException:
        if made:
            path.unlink(missing_ok=True)
        raise


def uri_of(name: str, database: Database) -> str:
    """Return the URI of a user for people: with the options of the connected one, without any password."""
    hosts = ",".join(f"{host}:{port}" for host, port in sorted(database.client.nodes)) or "HOST"
    kept = [(key, value) for key, value in parse_qsl(database.uri.partition("?")[2]) if key in _KEPT_OPTIONS]
    return f"mongodb://{name}:PASSWORD@{hosts}/?{urlencode([('authSource', database.name), *kept])}"


def ensure_reader(settings: Settings) -> str:
    """Return the URI of a user that can only read, for the web server; the embedded MongoDB is started and gets one.

    Of a configured server it is that of the settings: :func:`may_write` tells whether it can do more than read.

    Raises
    ------
    StoreError
        If the embedded MongoDB does not start, or its folder cannot be written.
    """
    if settings.mongo_uri is not None:
        return settings.mongo_uri.get_secret_value()
    mongod = EmbeddedMongod(settings)
    admin = mongod.up()
    path = mongod.folder / f"reader-{settings.database}.json"
    try:
        with FileLock(mongod.folder / "reader.lock", timeout=60):
            password = _stored_password(path)
            if password is not None and _logs_in(uri := mongod.uri_as(READER, password, settings.database)):
                return uri
            password = generate_password()
            _set_reader(admin, settings.database, password)
            write_private(path, json.dumps({"user": READER, "password": password}))
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error}).", mend="free space there") from error
    return mongod.uri_as(READER, password, settings.database)


def _stored_password(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text())["password"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _logs_in(uri: str) -> bool:
    with store_errors("see its log, mongodb/mongod.log in the data folder"), _client(uri) as client:
        try:
            client.admin.command("ping")
        except OperationFailure as error:
            if error.code != _AUTHENTICATION_FAILED:
                raise
            return False
    return True


def _set_reader(admin: str, database: str, password: str) -> None:
    rights: dict[str, Any] = {
        "pwd": password,
        "roles": [{"role": "read", "db": database}],
        "mechanisms": ["SCRAM-SHA-256"],
    }
    with store_errors(), _client(admin) as client:
        try:
            client[database].command("updateUser", READER, **rights)
        except OperationFailure as error:
            if error.code != _NO_USER:
                raise
            client[database].command("createUser", READER, **rights)


def _client(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=5_000, connectTimeoutMS=5_000)


def _connected(database: Database) -> set[tuple[str, str]]:
    with store_errors():
        status = database.client.admin.command("connectionStatus")
    return {(user["user"], user["db"]) for user in status["authInfo"]["authenticatedUsers"]}


def _command(database: Database, command: str, value: Any, **arguments: Any) -> dict[str, Any]:
    """Run a command on users; refusals are named for what they are, and no message repeats an argument."""
    with store_errors():
        try:
            return database.mongo.command(command, value, **arguments)
        except OperationFailure as error:
            if error.code == _UNAUTHORIZED:
                raise StoreError(
                    f"the connected user may not manage users of database {database.name!r}.",
                    mend=f"connect as one with the role `admin` (dbOwner of {database.name}), or ask for it",
                ) from None
            if error.code == _USER_EXISTS:
                raise InputError(
                    f"database {database.name!r} has a user {value!r} already.",
                    mend=f"remove it first: `hemiec db users remove {value}`",
                ) from None
            raise


def _user(database: Database, document: dict[str, Any]) -> User:
    roles = tuple(
        sorted(r["role"] if r["db"] == database.name else f"{r['role']} of {r['db']}" for r in document["roles"])
    )
    ours = [role for role, builtin in ROLES.items() if roles == (builtin,)]
    return User(document["user"], ours[0] if ours else None, roles)
