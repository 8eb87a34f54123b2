"""A snapshot to rank from: columns read as they are asked for, whole documents of some candidates."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import StoreError
from hemiec.ranking.snapshots.files import TABLE, read_manifest, verify_files
from hemiec.ranking.table import CandidateTable, Estimates
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.snapshot import SnapshotManifest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Columns are kept in memory up to so much, in bytes; a column of a million numbers takes 8 MB.
CACHE_BYTES = 2**28
#: Files up to this size, in bytes, are compared with their hash whenever they are opened, in a tenth of a second.
SMALL_BYTES = 2**26
#: Arrow's texts of one piece take less than 2 GB.
_MOST_IN_ONE_PIECE = 2**30
#: The candidate's document, as JSON, without what has collections of its own.
DOCUMENT = "document"


class ParquetColumns:
    """Columns of a Parquet file by name, each read when it is first asked for; the latest ones are kept.

    Parameters
    ----------
    path
        The file. Its pages carry checksums, which are compared while reading.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self._lock = Lock()
        self._kept: OrderedDict[str, pa.ChunkedArray] = OrderedDict()
        with self._errors():
            self._file: pq.ParquetFile = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
            self.names: list[str] = list(self._file.schema_arrow.names)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str, /) -> pa.ChunkedArray:
        if name not in self.names:
            raise KeyError(name)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            with self._errors():
                found = _whole(self._file.read(columns=[name]).column(0))
            self._kept[name] = found
            while len(self._kept) > 1 and sum(column.nbytes for column in self._kept.values()) > CACHE_BYTES:
                self._kept.popitem(last=False)
            return found

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers, NaN where there is none; it is not kept."""
        self._require(name)
        with self._lock, self._errors():
            column = self._file.read(columns=[name]).column(0)
        found: NDArray[np.float64] = np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)
        return found

    def rows(self, name: str, rows: NDArray[np.intp]) -> Iterator[Any]:
        """Yield values of one column in ascending order of some rows; only the row groups that hold them are read."""
        self._require(name)
        wanted, start = np.unique(rows), 0
        for group in range(self._file.num_row_groups):
            stop = start + self._file.metadata.row_group(group).num_rows
            here = wanted[(wanted >= start) & (wanted < stop)] - start
            if len(here):
                with self._lock, self._errors():
                    column = self._file.read_row_group(group, columns=[name]).column(0)
                yield from column.take(here).to_pylist()
            start = stop

    def _require(self, name: str) -> None:
        if name not in self.names:
            raise StoreError(f"{self.path}: made by another hemiec: it has no column {name!r}.", mend="take it again")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:200]
            raise StoreError(
                f"{self.path}: the snapshot is damaged: it cannot be read ({reason}).",
                mend="use another one, or take it again",
            ) from error


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in a folder; nothing is read but its manifest until it is asked for."""

    folder: Path
    manifest: SnapshotManifest

    @classmethod
    def at(cls, folder: Path, *, verify: bool = False) -> Snapshot:
        """Return the snapshot in a folder.

        Parameters
        ----------
        folder
            Where its manifest is.
        verify
            Whether every byte of a large one is compared with the manifest too; else its size, and what is read by the
            checksums of its pages.

        Raises
        ------
        InputError
            If there is none.
        StoreError
            If it is damaged.
        """
        manifest = read_manifest(folder)
        if verify or sum(file.size_bytes for file in manifest.files) <= SMALL_BYTES:
            verify_files(folder)
        return cls(folder, manifest)

    @property
    def snapshot_id(self) -> str:
        """Its id."""
        return self.manifest.snapshot_id

    def __len__(self) -> int:
        return self.manifest.n_candidates

    @cached_property
    def _columns(self) -> ParquetColumns:
        columns = ParquetColumns(self.folder / TABLE)
        named = [column.name for column in self.manifest.columns]
        if columns.names != named or len(columns) != len(self):
            raise StoreError(
                f"{columns.path}: the snapshot is damaged: the table is not what its manifest says.",
                mend="use another one, or take it again",
            )
        return columns

    def columns(self) -> ParquetColumns:
        """Return the columns by name, such as ``band_gap`` or ``band_gap.low``, each read when it is used."""
        return self._columns

    def table(self, properties: Sequence[str] = PROPERTIES) -> CandidateTable:
        """Return what ranking works on.

        Parameters
        ----------
        properties
            Those that are wanted.

        Raises
        ------
        StoreError
            If the snapshot is damaged.
        """
        return candidate_table(self._columns, {c.name: c.unit for c in self.manifest.columns}, properties)

    def documents(self, rows: Iterable[int] | None = None) -> Iterator[CandidateDoc]:
        """Yield candidates in the order of their ids, without hops, transport, dynamics and thermodynamics.

        Parameters
        ----------
        rows
            Rows of those that are wanted; default all.

        Raises
        ------
        StoreError
            If the snapshot is damaged, or of another layout of documents.
        """
        for content in self.raw_documents(rows):
            with self.of_this_version(content):
                document = CandidateDoc.model_validate(content)
            yield document

    def raw_documents(self, rows: Iterable[int] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the same as plain JSON types, which is much quicker."""
        wanted = np.arange(len(self)) if rows is None else np.array(list(rows), dtype=np.intp)
        for text in self._columns.rows(DOCUMENT, wanted):
            try:
                content = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise StoreError(
                    f"{self._columns.path}: the snapshot is damaged: a document in it is not JSON.",
                    mend="use another one, or take it again",
                ) from error
            yield content

    @contextmanager
    def of_this_version(self, content: dict[str, Any]) -> Iterator[None]:
        """Say of a document that does not fit the schemas that another hemiec wrote it.

        Raises
        ------
        StoreError
            If it does not.
        """
        from pydantic import ValidationError

        try:
            yield
        except (ValidationError, KeyError, TypeError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"without {error}"
            raise StoreError(
                f"{self.folder}: candidate {content.get('candidate_id')} is of another version of hemiec ({reason}).",
                mend="take a new snapshot",
            ) from error


def candidate_table(columns: ParquetColumns, units: dict[str, str], properties: Sequence[str]) -> CandidateTable:
    """Return what ranking works on, from columns.

    Parameters
    ----------
    columns
        ``candidate_id``, ``label``, and of each property the value and both ends, as ``band_gap``, ``band_gap.low`` and
        ``band_gap.high``.
    units
        Column to unit.
    properties
        Those that are wanted.
    """
    estimates = {}
    for name in properties:
        value, low, high = (columns.numbers(f"{name}{part}") for part in ("", ".low", ".high"))
        estimates[name] = Estimates(value, low, high, units[name])
    return CandidateTable(_ids(columns["candidate_id"]), _texts(columns["label"]), estimates)


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in one piece, with one dictionary of its texts; one that is too large for that as it is.

    The texts of lists are put into a dictionary too: they repeat, and are then quick to search.
    """
    import pyarrow as pa

    if column.nbytes > _MOST_IN_ONE_PIECE:
        return column
    found = pa.concat_arrays(column.unify_dictionaries().chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_list(found.type):
        values = found.values.dictionary_encode()
        found = pa.ListArray.from_arrays(found.offsets, values, mask=found.is_null())
    return pa.chunked_array([found])


def _ids(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """Return ids as numpy has them; those of one length, which all of ours are, in one step."""
    import pyarrow.compute as pc

    lengths = pc.min_max(pc.binary_length(column)).as_py() if len(column) else {"min": 0, "max": 0}
    if column.num_chunks != 1 or lengths["min"] != lengths["max"] or not lengths["max"]:
        return np.array(column.to_pylist(), dtype=np.str_)
    chunk, size = column.chunk(0), lengths["max"]
    start = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[chunk.offset] if len(chunk) else 0
    found = np.frombuffer(chunk.buffers()[2], dtype=f"S{size}", count=len(chunk), offset=int(start))
    return found.astype(np.str_)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return texts; equal ones of a chunk are one object."""
    import pyarrow as pa

    found: list[str] = []
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type):
            known = np.array(chunk.dictionary.to_pylist(), dtype=object)
            found += known[chunk.indices.to_numpy()].tolist()
        else:
            found += chunk.to_pylist()
    return found
