"""What a query finds as CSV, JSON or Parquet: written as it comes, in constant memory; a file whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemiec import __version__
from hemiec.errors import InputError, StoreError
from hemiec.ranking.export.plain import csv_cell
from hemiec.store.database import Database
from hemiec.store.queries.fields import Field
from hemiec.store.queries.rows import Query, read_rows

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_GROUP = 100_000


def csv_parts(fields: Mapping[str, Field], batches: Iterable[Sequence[Sequence[Any]]]) -> Iterator[str]:
    """Yield the text of a CSV file: names, then rows; a number that is missing is an empty cell.

    A text that a spreadsheet would take for a formula is preceded by an apostrophe, and a line break within a text is a
    line feed. Lists are joined with semicolons.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    for batch in batches:
        writer.writerows([_cell(value) for value in row] for row in batch)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def json_parts(documents: Iterable[Any]) -> Iterator[str]:
    """Yield the text of a JSON list, one part per document."""
    separator = "[\n"
    for document in documents:
        yield separator + json.dumps(document, indent=2, default=str)
        separator = ",\n"
    yield "[]" if separator == "[\n" else "\n]"


def write_parquet(database: Database, query: Query, fields: Mapping[str, Field], path: Path) -> int:
    """Write what a query finds into a Parquet file, with the unit and description of each column, and return how many.

    Raises
    ------
    QueryError
        If the query is wrong.
    InputError
        If the file cannot be written.
    StoreError
        If it takes too long, the database cannot be reached, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(fields, query)
    total = 0
    with _whole(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        tables: list[pa.RecordBatch] = []
        for batch in read_rows(database, query, list(fields.values())):
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            tables.append(pa.record_batch(columns, schema=schema))
            total += len(batch)
            if sum(map(len, tables)) >= _ROW_GROUP:
                writer.write_table(pa.Table.from_batches(tables))
                tables = []
        if tables:
            writer.write_table(pa.Table.from_batches(tables))
    return total


def _schema(fields: Mapping[str, Field], query: Query) -> pa.Schema:
    import pyarrow as pa

    types = {
        "number": pa.float64(), "text": pa.string(), "date": pa.string(), "truth": pa.bool_(),
        "texts": pa.list_(pa.string()),
    }  # fmt: skip
    columns = [
        pa.field(name, types[field.kind], metadata={"unit": field.unit, "description": field.description})
        for name, field in fields.items()
    ]
    about = {"hemiec_version": __version__, "hemiec_query": query.where, "hemiec_collection": query.collection}
    return pa.schema(columns, metadata=about)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = ";".join(map(str, value))
    return csv_cell(value)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Lend a file beside the one wanted, which takes its place if all goes well; else nothing is left of it."""
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
        os.close(descriptor)
        part = Path(name)
        yield part
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if "No space left" in str(error):
            raise StoreError(f"{path}: the disk is full; nothing was written.", mend="make room") from error
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}).",
            mend="name a file in a folder that you may write to",
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
