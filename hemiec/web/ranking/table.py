"""The candidates as the web holds them: what ranking works on in memory, the rest as columns of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from hemiec.ranking.snapshots.snapshot import ParquetColumns, candidate_table
from hemiec.ranking.table import CandidateTable
from hemiec.schemas.documents import NOT_BUILT, PROPERTIES
from hemiec.store.queries.tables import candidate_columns
from hemiec.web.ranking.latest import compute

if TYPE_CHECKING:
    import pyarrow as pa

#: Between the campaigns of a candidate; names have none.
_AND = "\n"


@dataclass(frozen=True)
class Texts:
    """Text of every candidate, each different one kept once; code -1 where there is none.

    Parameters
    ----------
    codes
        Place of each candidate's text among ``values``, shape=(n_candidates,).
    values
        The different texts.
    """

    codes: NDArray[np.int32]
    values: list[str]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Texts:
        """Return a column of text in this form."""
        import pyarrow as pa

        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        whole = encoded.unify_dictionaries().combine_chunks()
        if isinstance(whole, pa.ChunkedArray):  # of no chunks
            return cls(np.zeros(0, dtype=np.int32), [])
        codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return cls(codes, whole.dictionary.to_pylist())

    def take(self, rows: NDArray[np.intp]) -> list[str | None]:
        """Return the texts of some candidates."""
        return [None if code < 0 else self.values[code] for code in self.codes[rows].tolist()]

    def where(self, fits: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which candidates have one of some texts: ``fits`` is of the different ones."""
        found: NDArray[np.bool_] = np.append(fits, False)[self.codes]
        return found


class Labels(Sequence[str]):
    """Short formulas, kept by Arrow: as Python's texts they would take three times the memory.

    Parameters
    ----------
    column
        With the label of every candidate.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        import pyarrow as pa

        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        chunks = encoded.unify_dictionaries().chunks
        self.codes = np.concatenate([np.zeros(0, np.int32), *(chunk.indices.to_numpy() for chunk in chunks)])
        self.texts: pa.StringArray = chunks[0].dictionary if chunks else pa.array([], pa.string())

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int, /) -> str: ...
    @overload
    def __getitem__(self, row: slice, /) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice, /) -> str | Sequence[str]:
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        found: str = self.texts[int(self.codes[row])].as_py()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.take(np.arange(len(self))))

    def take(self, rows: NDArray[np.intp]) -> list[str]:
        """Return the labels of some candidates."""
        found: list[str] = self.texts.take(self.codes[rows]).to_pylist()
        return found

    def order(self) -> NDArray[np.float64]:
        """Return the place of each label by the alphabet, shape=(n_candidates,); equal labels share one."""
        import pyarrow.compute as pc

        places = np.empty(len(self.texts))
        places[pc.sort_indices(self.texts).to_numpy()] = np.arange(len(places))
        return places[self.codes]


@dataclass(frozen=True)
class About:
    """What a row says of one property beside its numbers, shape=(n_candidates,) each."""

    corrected: NDArray[np.bool_]
    n: NDArray[np.int32]
    method: Texts
    reason: Texts


class LiveTable:
    """All candidates of the store at one moment.

    Parameters
    ----------
    path
        Parquet file with every column of :func:`hemiec.store.queries.tables.candidate_columns`; it may be replaced by
        another one while it is open, but not written over.
    read_at
        When it was read from the store, UTC.

    Raises
    ------
    StoreError
        If the file cannot be read.
    InputError
        If the candidates in it are out of order.
    """

    def __init__(self, path: Path, read_at: datetime) -> None:
        self.read_at = read_at
        units = {name: column.unit for name, column in candidate_columns().items()}
        columns = ParquetColumns(path)
        table = candidate_table(columns, units, PROPERTIES)
        self.labels = Labels(columns["label"])
        self.table: CandidateTable = replace(table, label=self.labels)
        # Another one, which does not keep what is in the table already.
        self.columns = ParquetColumns(path)

    def __len__(self) -> int:
        return len(self.table)

    def warm(self) -> None:
        """Read what every request needs, so that the first does not wait for it.

        Raises
        ------
        StoreError
            If the file is damaged.
        """
        import pyarrow as pa

        compute(self, "element_sets", "campaigns", "formula", "about")
        pa.default_memory_pool().release_unused()

    @cached_property
    def elements(self) -> Texts:
        """Elements of each candidate, alphabetical, joined with hyphens."""
        return Texts.of(self.columns["chemsys"])

    @cached_property
    def element_sets(self) -> tuple[dict[str, int], NDArray[np.bool_]]:
        """Element to its column, and which of the different sets of elements have it, shape=(n_sets, n_elements)."""
        sets = [text.split("-") for text in self.elements.values]
        columns = {symbol: k for k, symbol in enumerate(sorted(set().union(*sets)))}
        has = np.zeros((len(sets), len(columns)), dtype=np.bool_)
        for k, symbols in enumerate(sets):
            has[k, [columns[symbol] for symbol in symbols]] = True
        return columns, has

    @cached_property
    def campaigns(self) -> Texts:
        """Campaigns of each candidate, one a line."""
        import pyarrow as pa
        import pyarrow.compute as pc

        chunks = self.columns["campaigns"].cast(pa.list_(pa.string())).chunks
        joined = [pc.binary_join(chunk, _AND) for chunk in chunks]
        return Texts.of(pa.chunked_array(joined, pa.string()))

    @cached_property
    def formula(self) -> pa.ChunkedArray:
        """Formulas with site fractions."""
        return self.columns["formula"]

    @cached_property
    def about(self) -> dict[str, About]:
        """Property to the rest of what a row says of it."""
        return {
            name: About(
                corrected=Texts.of(self.columns[f"{name}.calibration"]).codes >= 0,
                n=np.nan_to_num(self.columns[f"{name}.n"].to_numpy()).astype(np.int32),
                method=Texts.of(self.columns[f"{name}.method"]),
                reason=Texts.of(self.columns[f"{name}.reason"]),
            )
            for name in PROPERTIES
        }

    @cached_property
    def label_order(self) -> NDArray[np.float64]:
        """Place of each label by the alphabet."""
        return self.labels.order()

    def row_of(self, candidate_id: str) -> int | None:
        """Return the row of a candidate; None if it has none."""
        ids = self.table.candidate_id
        row = int(np.searchsorted(ids, candidate_id))
        return row if row < len(ids) and ids[row] == candidate_id else None

    def values(self, rows: NDArray[np.intp]) -> list[dict[str, dict[str, Any]]]:
        """Return of some candidates, property to what a list says of its value."""
        found: list[dict[str, dict[str, Any]]] = [{} for _ in range(len(rows))]
        for name, about in self.about.items():
            of = self.table.estimates[name]
            columns = (
                numbers(of.value[rows]), numbers(of.low[rows]), numbers(of.high[rows]), about.corrected[rows].tolist(),
                about.n[rows].tolist(), about.method.take(rows), about.reason.take(rows),
            )  # fmt: skip
            for entry, (value, low, high, corrected, n, method, reason) in zip(
                found, zip(*columns, strict=True), strict=True
            ):
                entry[name] = {
                    "value": value,
                    "low": low,
                    "high": high,
                    "unit": of.unit,
                    "corrected": corrected,
                    "n": n,
                    "method": method,
                    "reason": None if value is not None else (reason or NOT_BUILT),
                }
        return found


def numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Return some numbers of a column; None where there is none."""
    return [None if value != value else value for value in values.tolist()]
