"""A whole database in one file, taken while others go on writing.

The file is a zip archive: for every collection a stream of BSON documents compressed with zstd (what ``mongodump``
writes, after ``zstd -d``), and at its end ``manifest.json`` with counts, checksums, indexes and versions. Of GridFS the
ids of all files are in memory, of everything else one batch.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow
from bson import json_util
from bson.raw_bson import RawBSONDocument
from pydantic import Field, ValidationError
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from hemiec import __version__
from hemiec.errors import InputError, StoreError
from hemiec.schemas.quantity import Document as Model
from hemiec.store.building.builder import BUILDER_VERSION
from hemiec.store.database import Database, store_errors

FORMAT = 2
#: Archives of these can be read; the first has no content hashes.
READABLE = (1, 2)
MANIFEST = "manifest.json"
#: What says nothing on another day or another machine: who holds which lock, what the last pass of the builder had
#: seen, which indexes and validators this server has.
TRANSIENT = frozenset({"locks", "doctor", "restore", "builds", "layout"})
#: FireWorks' counters, read last where there are no snapshots: none may be lower than a number already taken.
COUNTER = "fw_id_assigner"
_SUFFIX = ".bson.zst"
_CHUNKS, _FILES = ".chunks", ".files"
#: Documents of one file of GridFS that are read at a time, bytes of one piece of a stream.
_BLOCK = 1024**2
#: What a server itself may write, a little above its limit for users.
MAX_DOCUMENT_BYTES = 16 * 1024**2 + 16 * 1024
MAX_MANIFEST_BYTES = 64 * 1024**2
_SNAPSHOT_TOO_OLD = 239
#: Of MongoDB 5.0.
_WIRE_VERSION_OF_SNAPSHOTS = 13

#: Called with a collection's name, the documents done so far and those expected.
Report = Callable[[str, int, int], None]


class CollectionEntry(Model):
    """One collection of an archive."""

    documents: int = Field(ge=0, description="Number of documents; unit 1.")
    bytes: int = Field(ge=0, description="Size in BSON, before compression, in bytes.")
    sha256: str = Field(description="SHA-256 of the documents in BSON, one after the other, in hexadecimal.")
    content: str | None = Field(
        None,
        description="Hash of the documents in any order: sum of their SHA-256, modulo 2^256, in hexadecimal; null in "
        "archives of format 1.",
    )
    indexes: str = Field(description="Its indexes except that of `_id`, in MongoDB's extended JSON.")


class Manifest(Model):
    """What an archive holds."""

    format: int = Field(description="Version of the layout of the archive; unit 1.")
    created_on: datetime = Field(description="When the backup was complete, UTC.")
    hemiec: str = Field(description="Version of hemiec that wrote it.")
    builder: int = Field(description="Version of the builder of candidates at that time; unit 1.")
    mongodb: str = Field(description="Version of the server it was read from.")
    database: str = Field(description="Name of the database it was read from.")
    consistency: Literal["snapshot", "ordered"] = Field(
        description="Whether all is of one moment, or the results are at least as new as the queue."
    )
    large_objects: str = Field(description="Setting of where large objects lie; only GridFS is in the archive.")
    collections: dict[str, CollectionEntry] = Field(description="Name of each collection to what it holds.")


@dataclass
class _Writer:
    """Documents of one collection on their way into the archive."""

    stream: pyarrow.CompressedOutputStream
    tally: Tally = field(default_factory=lambda: Tally())

    def write(self, documents: bytes) -> None:
        """Add some documents in BSON, one after the other."""
        self.stream.write(documents)
        self.tally.add(documents)


@dataclass
class Tally:
    """Number, size and hashes of documents in BSON."""

    documents: int = 0
    size: int = 0
    _ordered: Any = field(default_factory=hashlib.sha256)
    _sum: int = 0

    def add(self, documents: bytes) -> None:
        """Count some documents, one after the other."""
        self._ordered.update(documents)
        self.size += len(documents)
        for document in split(documents):
            self.documents += 1
            self._sum += int.from_bytes(hashlib.sha256(document).digest(), "big")

    @property
    def sha256(self) -> str:
        """Hash of the documents in this order."""
        return str(self._ordered.hexdigest())

    @property
    def content(self) -> str:
        """Hash of the documents in any order.

        A sum, unlike an exclusive or, also tells a document that is there twice. It finds what is lost or changed by
        accident; that nobody has forged it is what ``sha256`` and a signature are for.
        """
        return f"{self._sum % 2**256:064x}"


def write_backup(
    database: Database, path: Path, *, force: bool = False, large_objects: str = "gridfs", report: Report | None = None
) -> Manifest:
    """Write all of a database into one file, which appears when it is complete, and return what it holds.

    On a replica set (the embedded MongoDB is one) all collections are of the same moment. On a single server they are
    read one after the other, the queue before the results: a job that ends meanwhile is in the archive as a result
    whose job still runs, and it runs again.

    Parameters
    ----------
    database
        The database.
    path
        The file, readable by its owner only.
    force
        Whether a file of that name is replaced.
    large_objects
        Where large objects lie, for the manifest; only those in GridFS are in the archive.
    report
        Called from time to time.

    Raises
    ------
    InputError
        If the file exists, or its folder does not.
    StoreError
        If the server refuses, or files are removed from GridFS meanwhile.
    """
    if path.exists() and not force:
        raise InputError(f"{path} exists.", mend="choose another name, or add --force")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist.", mend="make the folder first")
    # Of a kill remains a hidden file that ends in .part, and never half an archive under the name that was asked for.
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with store_errors(), zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                manifest = _write(database, archive, large_objects, report or (lambda *_: None))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _write(database: Database, archive: zipfile.ZipFile, large_objects: str, report: Report) -> Manifest:
    entries: dict[str, CollectionEntry] = {}
    try:
        with _snapshot(database) as session:
            names = _order(database)
            wanted: dict[str, dict[Any, int]] = {}
            for name in names:
                if name.endswith(_CHUNKS) and name.removesuffix(_CHUNKS) + _FILES in names:
                    continue
                if name.endswith(_FILES):
                    wanted[name.removesuffix(_FILES)] = _chunk_counts(database, name, session)
                entries[name] = _copy(database, archive, name, session, report)
    except OperationFailure as error:
        if error.code != _SNAPSHOT_TOO_OLD:
            raise
        raise StoreError(
            "reading took longer than the server keeps its past.",
            mend="raise the server's parameter minSnapshotHistoryWindowInSeconds, or back up while nothing is written",
        ) from error
    # Chunks never change once they are written, and are most of the bytes: they are read outside the snapshot, which a
    # server keeps for minutes only.
    for prefix, counts in wanted.items():
        entries[prefix + _CHUNKS] = _copy_chunks(database, archive, prefix + _CHUNKS, counts, report)
    manifest = Manifest(
        format=FORMAT,
        created_on=datetime.now(UTC),
        hemiec=__version__,
        builder=BUILDER_VERSION,
        mongodb=str(database.client.server_info()["version"]),
        database=database.name,
        consistency="snapshot" if session is not None else "ordered",
        large_objects=large_objects,
        collections=entries,
    )
    archive.writestr(MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


@contextmanager
def _snapshot(database: Database) -> Iterator[ClientSession | None]:
    """Yield a session in which all reads see the same moment; None on a server that has no snapshots."""
    hello = database.client.admin.command("hello")
    replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
    if not replicated or hello["maxWireVersion"] < _WIRE_VERSION_OF_SNAPSHOTS:
        yield None
        return
    with database.client.start_session(snapshot=True) as session:
        yield session


def _order(database: Database) -> list[str]:
    """Return the collections to copy: queue first, results after, files of GridFS late, counters last."""
    listed = database.mongo.list_collections(filter={"type": "collection"})
    names = {c["name"] for c in listed if not c["name"].startswith("system.")} - TRANSIENT
    first = [n for n in ("launches", "fireworks", "workflows", "jobs", "flows", "outputs") if n in names]
    files = sorted(n for n in names if n.endswith((_FILES, _CHUNKS)))
    last = [n for n in (COUNTER, "jf_auxiliary") if n in names]
    return [*first, *sorted(names.difference(first, files, last)), *files, *last]


def _copy(
    database: Database, archive: zipfile.ZipFile, name: str, session: ClientSession | None, report: Report
) -> CollectionEntry:
    """Copy one collection as the server sends it, batch by batch."""
    collection = database[name]
    expected = collection.estimated_document_count()
    with _member(archive, name) as writer:
        for batch in collection.find_raw_batches({}, session=session):
            writer.write(batch)
            report(name, writer.tally.documents, expected)
    return _entry(database, name, writer)


def _chunk_counts(database: Database, name: str, session: ClientSession | None) -> dict[Any, int]:
    """Return the id of each file of GridFS to how many chunks it has."""
    found = database[name].find({}, {"length": 1, "chunkSize": 1}, session=session)
    return {doc["_id"]: -(-doc["length"] // doc["chunkSize"]) for doc in found}


def _copy_chunks(
    database: Database, archive: zipfile.ZipFile, name: str, counts: dict[Any, int], report: Report
) -> CollectionEntry:
    """Copy the chunks of the files that are in the archive, and no others."""
    expected = sum(counts.values())
    with _member(archive, name) as writer:
        for batch in database[name].find_raw_batches({}):
            for raw in split(batch):
                file_id = RawBSONDocument(raw)["files_id"]
                if file_id in counts:
                    counts[file_id] -= 1
                    writer.write(raw)
            report(name, writer.tally.documents, expected)
    if missing := sum(left != 0 for left in counts.values()):
        raise StoreError(
            f"{missing} files were removed from GridFS while the backup ran.", mend="run the same command again"
        )
    return _entry(database, name, writer)


def _entry(database: Database, name: str, writer: _Writer) -> CollectionEntry:
    indexes = [dict(index) for index in database[name].list_indexes() if index["name"] != "_id_"]
    return CollectionEntry(
        documents=writer.tally.documents,
        bytes=writer.tally.size,
        sha256=writer.tally.sha256,
        content=writer.tally.content,
        indexes=json_util.dumps(indexes),
    )


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[_Writer]:
    """Add a compressed stream to an archive."""
    with (
        archive.open(name + _SUFFIX, "w", force_zip64=True) as member,
        pyarrow.CompressedOutputStream(pyarrow.PythonFile(member, "w"), "zstd") as stream,
    ):
        yield _Writer(stream)


def split(batch: bytes) -> Iterator[bytes]:
    """Yield the documents of some that stand one after the other."""
    start = 0
    while start < len(batch):
        end = start + int.from_bytes(batch[start : start + 4], "little", signed=True)
        if end - start < 5 or end > len(batch):
            raise ValueError("not a document in BSON")
        yield batch[start:end]
        start = end


def read_manifest(path: Path) -> Manifest:
    """Return what an archive says that it holds.

    Raises
    ------
    InputError
        If the file cannot be read, is no archive of hemiec, or a later version of hemiec wrote it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
                raise _damaged(path, "its manifest is too long")
            content = json.loads(archive.read(MANIFEST))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, NotImplementedError, RecursionError) as error:
        raise _damaged(path, "not a backup of hemiec, or cut off") from error
    if not isinstance(content, dict) or content.get("format") not in READABLE:
        raise InputError(
            f"{path}: its format is {content.get('format') if isinstance(content, dict) else None!r}, "
            f"this hemiec {__version__} reads formats up to {FORMAT}.",
            mend="restore it with the version of hemiec that wrote it, or a later one",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise _damaged(path, "its manifest is not complete") from error


def check_backup(path: Path, *, report: Report | None = None) -> Manifest:
    """Read an archive from end to end, and return what it holds, content hashes always included.

    Raises
    ------
    InputError
        If a collection is missing or is not what was written.
    """
    manifest = read_manifest(path)
    checked: dict[str, CollectionEntry] = {}
    tell = report or (lambda *_: None)
    with zipfile.ZipFile(path) as archive:
        expected = {MANIFEST, *(n + _SUFFIX for n in manifest.collections)}
        if sorted(archive.namelist()) != sorted(expected):
            raise _damaged(path, "its collections are not those of its manifest")
        for name, entry in manifest.collections.items():
            tally = Tally()
            try:
                for raw in _documents(archive, name):
                    tally.add(raw)
                    if tally.documents % 1000 == 0:
                        tell(name, tally.documents, entry.documents)
                    # A stream that goes on and on is no backup: it is not read to its end.
                    if tally.documents > entry.documents:
                        break
            except (zipfile.BadZipFile, OSError, EOFError, ValueError, zlib.error) as error:
                raise _damaged(path, f"{name} cannot be read") from error
            if (tally.documents, tally.sha256) != (entry.documents, entry.sha256):
                raise _damaged(path, f"{name} is not what was written")
            if entry.content not in (None, tally.content):
                raise _damaged(path, f"{name} has another content hash than its manifest says")
            checked[name] = entry.model_copy(update={"content": tally.content})
            tell(name, tally.documents, entry.documents)
    return manifest.model_copy(update={"collections": checked})


def read_documents(path: Path, name: str) -> Iterator[RawBSONDocument]:
    """Yield the documents of one collection of an archive that has been checked."""
    with zipfile.ZipFile(path) as archive:
        for raw in _documents(archive, name):
            yield RawBSONDocument(raw)


def _documents(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with (
        archive.open(name + _SUFFIX) as member,
        pyarrow.CompressedInputStream(pyarrow.PythonFile(member, "r"), "zstd") as stream,
    ):
        yield from _split_blocks(iter(lambda: stream.read(_BLOCK), b""))


def _split_blocks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield documents from blocks that end anywhere."""
    rest = bytearray()
    for block in blocks:
        rest += block
        start = 0
        while len(rest) - start >= 4:
            length = int.from_bytes(rest[start : start + 4], "little", signed=True)
            if not 5 <= length <= MAX_DOCUMENT_BYTES:
                raise ValueError("not a document in BSON")
            if start + length > len(rest):
                break
            yield bytes(rest[start : start + length])
            start += length
        del rest[:start]
    if rest:
        raise EOFError("the last document is cut off")


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} is damaged: {what}.", mend="use another copy; nothing was written to the database")
