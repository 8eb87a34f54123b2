"""Candidates as columns of Arrow: every field of the query language, interval ends and the fillings of sublattices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hemiec.composition.descriptors import SITES
from hemiec.errors import QueryError, did_you_mean
from hemiec.schemas.documents import PROPERTIES
from hemiec.schemas.snapshot import ColumnDoc
from hemiec.store.database import Database, Document
from hemiec.store.queries.columns import SITES_COLUMN
from hemiec.store.queries.fields import Kind, fields_of
from hemiec.store.queries.language import compile
from hemiec.store.queries.order import in_time
from hemiec.store.queries.rows import MAX_TIME_MS

if TYPE_CHECKING:
    import pyarrow as pa

#: Texts that are different for most candidates, so that a dictionary of them would be no smaller.
_ALL_DIFFERENT = {"candidate_id", "input_hash", "formula"}
_BATCH = 20_000
_Value = Callable[[Any], Any]


@dataclass(frozen=True)
class Column:
    """One column of a table of candidates.

    Parameters
    ----------
    name, kind, unit, description
        As in its manifest.
    path
        Of what it is made from, in the document.
    value
        What makes it from that; None if that is it.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    path: str
    value: _Value | None = None

    def of(self, found: Any) -> Any:
        """Return its value from what lies at its path; None if there is nothing."""
        return found if self.value is None or found is None else self.value(found)

    def doc(self) -> ColumnDoc:
        """Return what a manifest says of it."""
        return ColumnDoc(name=self.name, kind=self.kind, unit=self.unit, description=self.description)


@cache
def candidate_columns() -> Mapping[str, Column]:
    """Return name to column of candidates, in the order of a table."""
    fields = fields_of("candidates")
    columns = [Column(f.name, f.kind, f.unit, f.description, f.path) for f in fields.values()]
    for name in PROPERTIES:
        for end, which in ((0, "low"), (1, "high")):
            about = f"{name}: {'lower' if end == 0 else 'upper'} end of the 90 % interval."
            columns.append(Column(f"{name}.{which}", "number", fields[name].unit, about, f"{name}.interval", _end(end)))
    for site in SITES:
        about = f"Site fractions on {site}, such as La:1/5 Sr:4/5, vacancies included."
        columns.append(Column(SITES_COLUMN.format(site=site), "text", "", about, f"candidate.sites.{site}", filling))
    return MappingProxyType({column.name: column for column in columns})


def filling(fractions: Mapping[str, str]) -> str:
    """Return a sublattice as one text, by name of the species: ``La:1/5 Sr:4/5``."""
    return " ".join(f"{species}:{fraction}" for species, fraction in sorted(fractions.items()))


def _end(which: int) -> _Value:
    return lambda interval: interval[which]


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the types of columns, each with unit and description: text in dictionaries unless most is different."""
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    types = {
        "number": pa.float64(), "text": text, "date": pa.string(), "truth": pa.bool_(), "texts": pa.list_(pa.string())
    }  # fmt: skip
    return pa.schema(
        [
            pa.field(
                column.name,
                pa.string() if column.name in _ALL_DIFFERENT else types[column.kind],
                metadata={"unit": column.unit, "description": column.description},
            )
            for column in columns
        ]
    )


def read_table(
    database: Database, names: Sequence[str] | None = None, *, where: str = "", campaign: str | None = None
) -> pa.Table:
    """Return columns of candidates in the order of their ids, in memory.

    Parameters
    ----------
    database
        The store.
    names
        Columns wanted (:func:`candidate_columns`); default all, which is about 1 GB for a million candidates.
    where
        Condition that they fulfil, in the query language; default all.
    campaign
        Only candidates of this campaign.

    Raises
    ------
    QueryError
        If a column is unknown or the condition is wrong.
    StoreError
        If it takes too long, or the database cannot be reached.
    """
    import pyarrow as pa

    batches = list(read_batches(database, names, where=where, campaign=campaign))
    return pa.Table.from_batches(batches).unify_dictionaries()


def read_batches(
    database: Database, names: Sequence[str] | None = None, *, where: str = "", campaign: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the same by parts of 20,000 candidates; the last one may be empty. Arguments are those of `read_table`."""
    known = candidate_columns()
    for name in names or ():
        if name not in known:
            raise QueryError(f"candidates have no column {name[:60]!r}; {did_you_mean(name[:60], known)}")
    columns = [known[name] for name in (known if names is None else names)]
    schema = arrow_schema(columns)
    for rows in _rows(database, columns, where, campaign):
        yield _batch(rows, columns, schema)


def matching(where: str, campaign: str | None) -> Document:
    """Return MongoDB's filter of the candidates that fulfil a query and were asked for by a campaign.

    Raises
    ------
    QueryError
        If the query is wrong.
    """
    parts = [part for part in (compile(where), {} if campaign is None else {"campaigns": campaign}) if part]
    return {"$and": parts} if len(parts) > 1 else parts[0] if parts else {}


def table_of_documents(documents: Sequence[Document], columns: Sequence[Column], schema: pa.Schema) -> pa.Table:
    """Return some documents, as they are stored, as a table."""
    import pyarrow as pa

    paths = [column.path.split(".") for column in columns]
    rows = [
        [column.of(_at(document, path)) for column, path in zip(columns, paths, strict=True)] for document in documents
    ]
    return pa.Table.from_batches([_arrays(rows, schema)], schema=schema)


def _rows(database: Database, columns: Sequence[Column], where: str, campaign: str | None) -> Iterator[list[list[Any]]]:
    """Yield batches of what lies at the paths of columns; MongoDB takes it out of the documents."""
    stages = [
        {"$match": matching(where, campaign)},
        {"$sort": {"candidate_id": 1}},
        {"$project": {"_id": 0, "row": [f"${column.path}" for column in columns]}},
    ]
    with in_time(MAX_TIME_MS):
        found = database["candidates"].aggregate(stages, maxTimeMS=MAX_TIME_MS, batchSize=2_000, allowDiskUse=True)
        with found:
            batch: list[list[Any]] = []
            for document in found:
                batch.append(document["row"])
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
            yield batch


def _batch(rows: list[list[Any]], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    return _arrays([[c.of(value) for c, value in zip(columns, row, strict=True)] for row in rows], schema)


def _arrays(rows: list[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    values = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document
