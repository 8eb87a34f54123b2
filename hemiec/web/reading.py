"""The database as the web reads it: opened once, by a user who may only read, with a time limit on every answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import pymongo
from fastapi import Depends, Request
from pydantic import SecretStr
from pymongo.errors import ConnectionFailure, PyMongoError

from hemiec.errors import StoreError
from hemiec.settings import Settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.users import ensure_reader, may_write
from hemiec.web.problems import of_store

#: How long an answer waits for a server, in ms; a visitor does not wait like a command does.
SERVER_TIMEOUT_MS = 2_000
#: How long an answer may take until all is read, in s; while MongoDB is away, it is tried as long.
TIME_LIMIT_S = 5.0
SOCKET_TIMEOUT_MS = 15_000


class Reading:
    """One shared connection for all requests; it is opened by the first, and again where MongoDB has moved.

    Parameters
    ----------
    settings
        Where the database is.
    database
        An open one to use instead; it is not closed.
    """

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        self.settings = settings
        self._given = database
        self._database = database
        self._outgrown: list[Database] = []
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, *, time_limit_s: float | None = TIME_LIMIT_S) -> Iterator[Database]:
        """Lend the database for one answer.

        Parameters
        ----------
        time_limit_s
            How long all that MongoDB does may take, in s. None leaves that to whoever limits single steps, which
            pymongo's limit of the whole would override.

        Raises
        ------
        Problem
            If MongoDB cannot be reached, refuses, or needs longer than the limit.
        """
        try:
            with pymongo.timeout(time_limit_s):
                yield self.database()
        except (PyMongoError, StoreError) as error:
            if isinstance(error, ConnectionFailure) or isinstance(error.__cause__, ConnectionFailure):
                self._look_again()
            raise of_store(error) from error

    def database(self) -> Database:
        """Return the open database.

        Raises
        ------
        StoreError
            If it cannot be opened.
        """
        with self._lock:
            if self._database is None:
                self._database = _opened(self.settings)
            return self._database

    def may_write(self) -> bool:
        """Return whether MongoDB would let this server change anything."""
        return may_write(self.database())

    def close(self) -> None:
        """Close what was opened here."""
        with self._lock:
            opened = [*self._outgrown, *([] if self._database is self._given else [self._database])]
            self._outgrown, self._database = [], self._given
        for database in opened:
            if database is not None:
                database.close()

    def _look_again(self) -> None:
        """Forget the connection if the embedded MongoDB has come up on another port since it was opened."""
        settings = self.settings
        if settings.web_mongo_uri is not None or settings.mongo_uri is not None:
            return
        port = EmbeddedMongod(settings).status().port
        with self._lock:
            if port is None or self._database is None or self._database is self._given:
                return
            if f":{port}/" not in self._database.uri:
                # Other requests may be using it: it is closed at the end.
                self._outgrown.append(self._database)
                self._database = None


def _opened(settings: Settings) -> Database:
    """Open the database as the web's own user, if there is one."""
    own = settings.web_mongo_uri
    if own is None and settings.mongo_uri is None:
        # Its reader could not make the indexes of this version.
        open_database(settings).close()
    uri = ensure_reader(settings) if own is None else own.get_secret_value()
    as_reader = settings.model_copy(update={"mongo_uri": SecretStr(_limited(uri))})
    try:
        return open_database(as_reader, timeout_ms=SERVER_TIMEOUT_MS, read_only=True)
    except StoreError as error:
        if own is None:
            raise
        # The message names the setting that commands use.
        parts = [part.replace("HEMIEC_MONGO_URI", "HEMIEC_WEB_MONGO_URI") for part in (error.message, error.mend or "")]
        raise StoreError(parts[0], mend=parts[1] or None) from error


def _limited(uri: str) -> str:
    """Return a URI with the limits that an answer needs, where it does not set them."""
    limits = {"socketTimeoutMS": SOCKET_TIMEOUT_MS, "appName": "hemiec-web"}
    address, _, options = uri.partition("?")
    # A server that was stopped without closing its connections would hold a thread for ever.
    added = [f"{name}={value}" for name, value in limits.items() if f"{name.lower()}=" not in options.lower()]
    separator = "" if "/" in address.partition("://")[2] else "/"
    return f"{address}{separator}?{'&'.join([*filter(None, [options]), *added])}"


def _reading_of(request: Request) -> Reading:
    reading: Reading = request.app.state.reading
    return reading


#: What an address declares to read the database.
Read = Annotated[Reading, Depends(_reading_of)]
