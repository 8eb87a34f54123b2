"""Writing a snapshot: whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hemiec
from hemiec.errors import HemiecError, StoreError
from hemiec.ranking.snapshots.files import MANIFEST, TABLE, sha256_of, snapshot_id, verify_files
from hemiec.schemas.snapshot import SNAPSHOT_FORMAT, FileDoc, SnapshotContent, SnapshotManifest

if TYPE_CHECKING:
    import pyarrow as pa

_PART = ".taking-"
#: A folder of an unfinished snapshot is left alone for so long, in s, as its maker may not have locked it yet.
_YOUNG_S = 60.0
#: A row group has so many candidates, or fewer if they take more memory than this, in bytes.
_ROWS, _ROW_GROUP_BYTES = 50_000, 2**27


def write_snapshot(
    root: Path, tables: Iterable[pa.Table], schema: pa.Schema, describe: Callable[[], SnapshotContent]
) -> Path:
    """Write a snapshot into a folder of its own under ``root``, named by its id; return that folder.

    One that is there already, of the same content, is kept with its first time. Whatever goes wrong, even a kill or a
    full disk, nothing half-written is ever found under the name of a snapshot.

    Parameters
    ----------
    root
        Folder of all snapshots; made if it is not there.
    tables
        The candidates in the order of their ids, some thousand each.
    schema
        Columns of the tables.
    describe
        Called when all tables have been written; says what they hold.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written, or if a damaged snapshot is in the way.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        with _part_folder(root) as part:
            _write_table(part / TABLE, tables, schema)
            manifest = _manifest(describe(), [_file(part / TABLE)])
            _write_read_only(part / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
            (part / TABLE).chmod(0o444)
            return _publish(part, root / manifest["snapshot_id"])
    except OSError as error:
        raise _cannot_write(root, error) from error


def _manifest(content: SnapshotContent, files: list[FileDoc]) -> dict[str, Any]:
    manifest = content.to_mongo() | {
        "format_version": SNAPSHOT_FORMAT,
        "versions": {
            "hemiec": hemiec.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "pyarrow", "pydantic", "pymongo")},
        },
        "files": [file.to_mongo() for file in files],
    }
    key = snapshot_id(manifest)
    manifest = {"snapshot_id": key, "created_at": datetime.now(UTC).isoformat(), **manifest}
    SnapshotManifest.model_validate(manifest)
    return manifest


def _write_table(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    lists = [f"{field.name}.list.element" for field in schema if pa.types.is_list(field.type)]
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=[*encoded, *lists], write_page_checksum=True
    ) as writer:
        for table in _row_groups(tables):
            writer.write_table(table, row_group_size=max(1, len(table)))


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield small tables joined to larger ones."""
    import pyarrow as pa

    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(map(len, pending)) >= _ROWS or sum(each.nbytes for each in pending) >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def _write_read_only(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o444)


@contextmanager
def _part_folder(root: Path) -> Iterator[Path]:
    """Lend a locked folder, which is gone afterwards unless it was renamed."""
    part = Path(tempfile.mkdtemp(prefix=_PART, dir=root))
    lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks: what a killed one leaves there stays
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
    finally:
        os.close(lock)
        shutil.rmtree(part, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what makers that were killed left."""
    for part in root.glob(f"{_PART}*"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime < _YOUNG_S:
                continue
            lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part, ignore_errors=True)
            finally:
                os.close(lock)


def _publish(part: Path, folder: Path) -> Path:
    """Give a finished folder its name; where there is one of that name, that one counts if it is whole."""
    _sync(part / TABLE)
    _sync(part)
    # Made by mkdtemp for its owner alone; the group may read it as other files.
    mask = os.umask(0)
    os.umask(mask)
    part.chmod(0o777 & ~mask)
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        try:
            verify_files(folder)
        except HemiecError as damage:
            raise StoreError(
                f"{folder} is in the way, and damaged: {damage.message}", mend=f"remove {folder} and take it again"
            ) from damage
        return folder
    _sync(folder.parent)
    return folder


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _file(path: Path) -> FileDoc:
    return FileDoc(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def _cannot_write(root: Path, error: OSError) -> StoreError:
    # pyarrow tells a full disk in its message only.
    text = str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "errno 28" in text:
        return StoreError(f"{root}: the disk is full; no snapshot was taken.", mend="make room")
    return StoreError(f"{root}: the snapshot cannot be written ({error.strerror or text.splitlines()[0]}).")
