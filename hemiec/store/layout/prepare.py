"""Bring a database to this hemiec's layout: indexes and validators, once, and a stamp that says so.

The stamp is the one document of the collection ``layout``. While it fits, opening costs one look at it, and a user who
may only read can open. Documents of an older layout are for ``hemiec db migrate``, which sets the stamp last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from packaging.version import Version
from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.errors import CollectionInvalid, DuplicateKeyError, OperationFailure

from hemiec import __version__
from hemiec.errors import StoreError
from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.layout.indexes import INDEXES, Index

if TYPE_CHECKING:
    from hemiec.store.database import Database

#: Collection of the stamp, and the stamp's key in it.
LAYOUT, STAMP = "layout", "layout"
_NOT_AUTHORIZED, _NOT_FOUND, _SAME_NAME, _SAME_KEYS, _DUPLICATE = 13, 27, 86, 85, 11000
#: A document that says nothing of its version is of the first one.
_OLDER: dict[str, Any] = {"$or": [{"schema_version": {"$exists": False}}, {"schema_version": {"$lt": SCHEMA_VERSION}}]}
_NEWER: dict[str, Any] = {"schema_version": {"$gt": SCHEMA_VERSION}}
_MIGRATE = "run `hemiec db migrate`, which writes a backup first"
_GO_ON = "run `hemiec db migrate`, which goes on where it was interrupted"
_UPDATE = "update hemiec to that version or a later one"


def prepare(database: Database, *, force: bool = False) -> None:
    """Make indexes and validators if the stamp is not that of this hemiec; else nothing but read the stamp.

    Parameters
    ----------
    database
        The store.
    force
        Whether they are made although the stamp fits, or a later hemiec made others.

    Raises
    ------
    StoreError
        If documents are of an older layout, which has to be migrated, or of a newer one; if the user may not write,
        and something has to be made.
    """
    stamp = read_stamp(database)
    _require_this_version(database, stamp)
    if stamp is not None and not force and (_fits(stamp) or _is_of_later(stamp)):
        return
    try:
        _install(database, stamp or {})
    except OperationFailure as error:
        if error.code != _NOT_AUTHORIZED:
            raise
        raise StoreError(
            f"database {database.name!r} has to be prepared for hemiec {__version__}, and this user may only read it.",
            mend="open it once as a user with the roles readWrite and dbAdmin, such as by `hemiec db migrate`",
        ) from error


def require_readable(database: Database) -> None:
    """Check that nothing is of a newer layout, for commands that only read; one look at the stamp.

    Raises
    ------
    StoreError
        If a newer hemiec has migrated the store.
    """
    stamp = read_stamp(database)
    if stamp is not None and stamp["schema_version"] > SCHEMA_VERSION:
        raise _newer(database, stamp)


def require_current(database: Database) -> None:
    """Check that every document is of this layout, so that a query on stored fields finds all there are.

    Raises
    ------
    StoreError
        If the store has to be migrated first, or a newer hemiec has.
    """
    _require_this_version(database, read_stamp(database))


def read_stamp(database: Database) -> dict[str, Any] | None:
    """Return the stamp, or None for a database without one: new, just restored, or of hemiec 0.1."""
    return database[LAYOUT].find_one({"_id": STAMP})


def describe(database: Database) -> str:
    """Return in words which layout a database has, and what is to be done about it."""
    stamp = read_stamp(database)
    if stamp is None:
        return f"of an older hemiec; {_MIGRATE}" if _found(database, _OLDER) else "not prepared yet"
    if stamp.get("migrating"):
        return "its migration is not finished; " + _GO_ON
    number = stamp["schema_version"]
    if number != SCHEMA_VERSION:
        return f"{number}, this hemiec has {SCHEMA_VERSION}; {_MIGRATE if number < SCHEMA_VERSION else _UPDATE}"
    return f"{number}, validators {stamp.get('validators')}"


def lift(database: Database) -> None:
    """Take validators and stamp away, so that documents of any layout can be restored.

    The next opening prepares the database again, or asks for a migration.
    """
    database[LAYOUT].delete_one({"_id": STAMP})
    lift_validators(database)


def lift_validators(database: Database) -> None:
    """Take the validators away from all collections."""
    for collection in database.mongo.list_collections(filter={"type": "collection"}):
        if collection.get("options", {}).get("validator"):
            database.mongo.command("collMod", collection["name"], validator={}, validationLevel="off")


def set_stamp(database: Database, fields: Mapping[str, Any]) -> None:
    """Write fields of the stamp; others stay."""
    database[LAYOUT].update_one({"_id": STAMP}, {"$set": dict(fields)}, upsert=True)


@cache
def fingerprint() -> str:
    """Return a hash of all indexes and validators of this hemiec."""
    indexes = {name: [(index.keys, index.options) for index in several] for name, several in INDEXES.items()}
    validators = json.loads(files(__package__).joinpath("fingerprint.json").read_text())["validators"]
    return hashlib.sha256(json.dumps([indexes, validators], sort_keys=True).encode()).hexdigest()


def _require_this_version(database: Database, stamp: Mapping[str, Any] | None) -> None:
    if stamp is None:
        older, newer = _found(database, _OLDER), _found(database, _NEWER)
    else:
        older = stamp["schema_version"] < SCHEMA_VERSION
        newer = stamp["schema_version"] > SCHEMA_VERSION
        if not newer and stamp.get("migrating"):
            raise StoreError(f"the migration of database {database.name!r} is not finished.", mend=_GO_ON)
    if older:
        raise StoreError(f"database {database.name!r} holds documents of an older hemiec.", mend=_MIGRATE)
    if newer:
        raise _newer(database, stamp)


def _newer(database: Database, stamp: Mapping[str, Any] | None) -> StoreError:
    by = f" ({stamp['hemiec']})" if stamp and "hemiec" in stamp else ""
    return StoreError(f"database {database.name!r} was written by a newer hemiec{by}.", mend=_UPDATE)


def _found(database: Database, where: dict[str, Any]) -> bool:
    """Return whether any of our documents fulfils a filter on its version."""
    from hemiec.store.layout.schema_files import STORED

    return any(database[name].find_one(where, {"_id": 1}) is not None for name in STORED)


def _fits(stamp: Mapping[str, Any]) -> bool:
    return stamp.get("fingerprint") == fingerprint()


def _is_of_later(stamp: Mapping[str, Any]) -> bool:
    """Return whether a later hemiec of the same layout prepared the database: its indexes stay as they are."""
    return Version(stamp.get("hemiec", "0")) > Version(__version__)


def _install(database: Database, stamp: Mapping[str, Any]) -> None:
    from hemiec.store.layout.validators import validators

    refused = None
    for name, validator in validators().items():
        refused = _set_validator(database, name, validator) or refused
    make_indexes(database)
    for name, index_name in _stale(stamp):
        _drop(database[name], index_name)
    set_stamp(
        database,
        {
            "schema_version": SCHEMA_VERSION,
            "fingerprint": fingerprint(),
            "hemiec": __version__,
            "indexes": {name: [index.options["name"] for index in several] for name, several in INDEXES.items()},
            "validators": "installed" if refused is None else refused,
            "prepared_at": datetime.now(UTC),
        },
    )


def make_indexes(database: Database) -> None:
    """Make every index that is missing.

    Raises
    ------
    StoreError
        If two documents are the same in what is unique.
    """
    for name, indexes in INDEXES.items():
        try:
            # All of a collection in one go: that is several times faster.
            database[name].create_indexes([IndexModel(index.keys, **index.options) for index in indexes])
        except OperationFailure as error:
            if error.code not in (_SAME_NAME, _SAME_KEYS, _DUPLICATE):
                raise
            for index in indexes:
                _create(database[name], index)


def _set_validator(database: Database, name: str, validator: dict[str, Any]) -> str | None:
    """Give a collection its validator; return why not, if the user may not change a collection that is there.

    With ``moderate``, what an earlier hemiec wrote can still be updated if it does not fulfil the validator; what is
    new must.
    """
    options: dict[str, Any] = {"validator": validator, "validationLevel": "moderate", "validationAction": "error"}
    try:
        database.mongo.create_collection(name, **options)
    except CollectionInvalid:  # it is there
        try:
            database.mongo.command("collMod", name, **options)
        except OperationFailure as error:
            if error.code != _NOT_AUTHORIZED:
                raise
            return "not installed: the user who prepared the database lacks the role dbAdmin"
    return None


def _create(collection: Collection[dict[str, Any]], index: Index) -> None:
    try:
        collection.create_index(index.keys, **index.options)
    except DuplicateKeyError as error:
        raise StoreError(
            f"collection {collection.name} holds two documents of the same {' and '.join(f for f, _ in index.keys)}: "
            f"{(error.details or {}).get('keyValue')}.",
            mend="remove one of them",
        ) from error
    except OperationFailure as error:
        if error.code not in (_SAME_NAME, _SAME_KEYS):
            raise
        _replace(collection, index)


def _replace(collection: Collection[dict[str, Any]], index: Index) -> None:
    """Make an index in place of one of the same name or fields; one that only has another name stays."""
    wanted = {key: value for key, value in index.options.items() if key != "name"}
    for name, known in collection.index_information().items():
        if known["key"] != index.keys and name != index.options["name"]:
            continue
        options = {key: value for key, value in known.items() if key not in ("v", "key", "ns")}
        if known["key"] == index.keys and options == wanted:
            return
        _drop(collection, name)
    collection.create_index(index.keys, **index.options)


def _stale(stamp: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield collection and name of the indexes that an earlier hemiec made and this one does not want."""
    for name, made in stamp.get("indexes", {}).items():
        wanted = {index.options["name"] for index in INDEXES.get(name, ())}
        yield from ((name, index_name) for index_name in made if index_name not in wanted)


def _drop(collection: Collection[dict[str, Any]], name: str) -> None:
    try:
        collection.drop_index(name)
    except OperationFailure as error:
        if error.code != _NOT_FOUND:
            raise
