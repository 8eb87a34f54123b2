"""One way to the database for everything in hemiec: embedded or a server, the same code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jobflow import JobStore
from maggma.stores import GridFSStore, MongoStore
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

from hemiec.errors import StoreError
from hemiec.settings import Settings
from hemiec.store.layout.prepare import prepare, require_readable
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.objects import OutputStore, object_store
from hemiec.store.trust import Trust

#: A command answers soon; a worker waits for a MongoDB that is being restarted.
COMMAND_TIMEOUT_MS = 5_000
WORKER_TIMEOUT_MS = 120_000

#: Collection that holds a mark while a backup is being restored.
RESTORE = "restore"

Document = dict[str, Any]
_URI_FORM = "write mongodb://user:password@host/, special characters percent-encoded"


@dataclass
class Database:
    """A reachable MongoDB database with hemiec's collections.

    ``outputs`` holds what jobs return, ``data`` (GridFS) trajectories and paths, ``data_index`` where those lie that
    are in a folder or in S3, ``fireworks``, ``workflows`` and ``launches`` belong to the LaunchPad, ``campaigns`` (with
    ``plans``, one for each of their candidates), ``candidates`` (with ``hops``, ``transport`` and ``structures``),
    ``references``, ``calibrations`` and ``leaderboards`` (with ``leaderboard_entries``) are ours; ``layout`` says which
    layout they have.
    """

    uri: str = field(repr=False)
    name: str
    timeout_ms: int = COMMAND_TIMEOUT_MS
    large_objects: str = "gridfs"
    trusted_packages: tuple[str, ...] = ()

    @property
    def client_kwargs(self) -> dict[str, Any]:
        """Keywords of every MongoClient: time-outs, retries and durable writes."""
        return {
            "serverSelectionTimeoutMS": self.timeout_ms,
            "connectTimeoutMS": 5_000,
            "retryWrites": True,
            "retryReads": True,
            # On a single server that is itself.
            "w": "majority",
        }

    @cached_property
    def client(self) -> MongoClient[Document]:
        """The client, made at first use."""
        return MongoClient(self.uri, **self.client_kwargs)

    @property
    def mongo(self) -> MongoDatabase[Document]:
        """The database."""
        return self.client[self.name]

    def __getitem__(self, collection: str) -> Collection[Document]:
        return self.mongo[collection]

    def job_store(self) -> JobStore:
        """Return jobflow's store: outputs in MongoDB, trajectories and paths where large objects lie."""
        shared = {"database": self.name, "uri": self.uri, "mongoclient_kwargs": self.client_kwargs}
        gridfs = GridFSStore(collection_name="data", compression=True, **shared)
        objects = object_store(self.large_objects, gridfs, MongoStore(collection_name="data_index", **shared))
        outputs = MongoStore(collection_name="outputs", **shared)
        store = OutputStore(Trust(self.trusted_packages), outputs, additional_stores={"data": objects})
        store.connect()
        return store

    def prepare(self) -> None:
        """Bring it to this hemiec's layout; one look if it has it."""
        prepare(self)

    def close(self) -> None:
        """Close the connection."""
        if "client" in self.__dict__:
            self.client.close()


def open_database(
    settings: Settings,
    *,
    timeout_ms: int = COMMAND_TIMEOUT_MS,
    start: bool = True,
    restoring: bool = False,
    read_only: bool = False,
    as_is: bool = False,
) -> Database:
    """Return the configured database, starting the embedded MongoDB if that is what is configured.

    Parameters
    ----------
    settings
        Where the database is.
    timeout_ms
        How long an operation waits for a server, in ms.
    start
        Whether an embedded MongoDB that does not run is started.
    restoring
        Whether a database that holds part of a backup is opened too, of any layout.
    read_only
        Whether nothing is going to be written: then nothing is prepared, and documents of an older layout are brought
        to this one as they are read.
    as_is
        Whether a database of any layout is opened as it is, to back it up or to migrate it.

    Raises
    ------
    StoreError
        If it cannot be started, reached or logged into, holds part of a backup, has to be migrated first, or was
        written by a newer hemiec.
    """
    if settings.mongo_uri is not None:
        uri = settings.mongo_uri.get_secret_value()
        mend = "check that the server runs and HEMIEC_MONGO_URI is right"
    else:
        embedded = EmbeddedMongod(settings)
        uri = embedded.up() if start else embedded.uri()
        mend = "start it with `hemiec db up`"
    if not uri.startswith(("mongodb://", "mongodb+srv://")):
        raise StoreError("HEMIEC_MONGO_URI is not a MongoDB URI.", mend=_URI_FORM)
    packages = tuple(settings.trusted_packages)
    database = Database(uri, settings.database, timeout_ms, settings.large_objects, packages)
    try:
        with store_errors(mend):
            database.client.admin.command("ping")
            if not restoring:
                _refuse_part_of_backup(database)
            if read_only:
                require_readable(database)
            elif not (restoring or as_is):
                database.prepare()
    except (InvalidURI, ConfigurationError, ValueError):
        # Its cause may quote a part of the password, which `--debug` would show.
        raise StoreError("HEMIEC_MONGO_URI is not a valid MongoDB URI.", mend=_URI_FORM) from None
    except OSError as error:
        raise StoreError(
            f"{error.filename}: HEMIEC_MONGO_URI names it, and it cannot be read ({error.strerror}).",
            mend="correct tlsCAFile or tlsCertificateKeyFile in it",
        ) from None
    except BaseException:
        database.close()
        raise
    return database


def _refuse_part_of_backup(database: Database) -> None:
    """Raise StoreError if the restore of a backup was interrupted, or is under way."""
    mark = database[RESTORE].find_one({})
    if mark is not None:
        command = f"hemiec db restore {mark['file']}{' --merge' if mark['merge'] else ''}"
        raise StoreError(
            f"database {database.name!r} holds only part of {mark['file']}, which was being restored.",
            mend=f"run `{command}`, which goes on where it was interrupted",
        )


@contextmanager
def store_errors(
    mend: str = "check that MongoDB runs (`hemiec db status`) and run the same command again",
) -> Iterator[None]:
    """Turn pymongo's errors into a StoreError of one line without secrets."""
    try:
        yield
    except OperationFailure as error:
        reason = (error.details or {}).get("errmsg", "operation refused")
        raise StoreError(f"MongoDB refused: {str(reason)[:200]}.", mend=mend) from error
    except (ConfigurationError, InvalidURI):
        raise
    except PyMongoError as error:
        # Of the texts of these errors, only what is asked for here is told: they may quote the URI.
        if "certificate verify failed" in str(error):
            mend = "name the certificate of the server's authority by tlsCAFile in HEMIEC_MONGO_URI"
            raise StoreError("MongoDB cannot be reached: its TLS certificate is not trusted.", mend=mend) from error
        raise StoreError(f"MongoDB cannot be reached ({type(error).__name__}).", mend=mend) from error
