"""The ranked list as a file, made and sent part by part, so that a million candidates take little memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from hemiec.ranking.export import to_latex
from hemiec.ranking.export.plain import csv_cell
from hemiec.ranking.leaderboard import rank
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.candidates import read_candidates
from hemiec.web.problems import Problem
from hemiec.web.ranking.board import Ranked, Rows
from hemiec.web.reading import Reading

#: Candidates in one part of a file.
_PART = 5_000
#: A table for a paper is no longer than this.
MAX_LATEX = 2_000
_LATEX_TIME_S = 20.0
_OF_VALUE = ("value", "unit", "low", "high", "corrected", "n", "method", "reason")
_UNITED = ("value", "low", "high")


@dataclass(frozen=True)
class Export:
    """One format: how its parts are made, its media type and the end of its file's name."""

    parts: Callable[[Reading, Ranked], Iterator[bytes]]
    media_type: str
    suffix: str


def _csv(_: Reading, found: Ranked) -> Iterator[bytes]:
    columns = ["rank", "candidate_id", "label", "formula", "score"]
    columns += [f"{name}_{part}" for name in PROPERTIES for part in _OF_VALUE]
    yield _lines([[*columns, "missing"]])
    for rows in _parts(found):
        yield _lines([_flat(row) for row in found.rows(rows)])


def _flat(row: dict[str, Any]) -> list[Any]:
    values = [row["values"][name][part] for name in PROPERTIES for part in _OF_VALUE]
    about = [row[name] for name in ("rank", "candidate_id", "label", "formula", "score")]
    return [*about, *values, " ".join(row["missing"])]


def _lines(rows: list[list[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        writer.writerow([csv_cell(value) for value in row])
    return out.getvalue().encode()


def _json(_: Reading, found: Ranked) -> Iterator[bytes]:
    about = {
        "definition": found.definition.model_dump(mode="json"),
        "read_at": found.table.read_at.isoformat(),
        "n_ranked": found.n_ranked,
    }
    yield orjson.dumps(about)[:-1] + b',"rows":['
    comma = b""
    for rows in _parts(found):
        yield comma + b",\n".join(map(orjson.dumps, found.rows(rows)))
        comma = b",\n"
    yield b"]}\n"


def _parquet(_: Reading, found: Ranked) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    units = {name: found.table.table.estimates[name].unit for name in PROPERTIES}
    fields = [
        pa.field("rank", pa.int64(), metadata={"unit": "1"}), pa.field("candidate_id", pa.string()),
        pa.field("label", pa.string()), pa.field("formula", pa.string()),
        pa.field("score", pa.float64(), metadata={"unit": "1"}),
    ]  # fmt: skip
    for name in PROPERTIES:
        fields += [pa.field(f"{name}_{part}", pa.float64(), metadata={"unit": units[name]}) for part in _UNITED]
        fields += [pa.field(f"{name}_corrected", pa.bool_()), pa.field(f"{name}_n", pa.int32())]
        fields += [pa.field(f"{name}_{part}", pa.string()) for part in ("method", "reason")]
    about = {"hemiec.definition": found.definition.model_dump_json(), "hemiec.read_at": str(found.table.read_at)}
    schema = pa.schema(fields, metadata=about)
    out = _Pipe()
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for rows in _parts(found):
            writer.write_table(pa.Table.from_arrays(_arrays(found, rows), schema=schema))
            yield out.taken()
    yield out.taken()


def _arrays(found: Ranked, rows: Rows) -> list[Any]:
    """Return the columns of a Parquet file, of some candidates."""
    import pyarrow as pa

    table, ranks = found.table.table, found.ranking.ranks[rows]
    columns: list[Any] = [
        pa.array(ranks, mask=ranks == 0), table.candidate_id[rows].tolist(), found.table.labels.take(rows),
        found.table.formula.take(rows).combine_chunks(), _known(found.ranking.scores[rows]),
    ]  # fmt: skip
    for name in PROPERTIES:
        estimates, about = table.estimates[name], found.table.about[name]
        columns += [_known(getattr(estimates, part)[rows]) for part in _UNITED]
        columns += [pa.array(about.corrected[rows]), pa.array(about.n[rows])]
        columns += [pa.array(texts.take(rows), pa.string()) for texts in (about.method, about.reason)]
    return [column if isinstance(column, pa.Array) else pa.array(column, pa.string()) for column in columns]


def _known(values: Any) -> Any:
    import pyarrow as pa

    return pa.array(values, mask=np.isnan(values))


def _latex(read: Reading, found: Ranked) -> Iterator[bytes]:
    n = found.n_found
    if n > MAX_LATEX:
        raise Problem(422, f"format latex: a table of {n:,} candidates.", mend=f"narrow it to {MAX_LATEX:,} or fewer")
    yield found.board.papers.get(found.key, lambda: _paper(read, found))


def _paper(read: Reading, found: Ranked) -> bytes:
    ids = found.table.table.candidate_id[np.flatnonzero(found.chosen)].tolist()
    with read(time_limit_s=_LATEX_TIME_S) as database:
        documents = list(read_candidates(database, {"candidate_id": {"$in": ids}}, whole=False))
    return to_latex(rank(documents, found.definition, created_at=found.table.read_at)).encode()


#: Name of a format to how it is made.
EXPORTS = {
    "csv": Export(_csv, "text/csv; charset=utf-8", "csv"),
    "json": Export(_json, "application/json", "json"),
    "parquet": Export(_parquet, "application/vnd.apache.parquet", "parquet"),
    "latex": Export(_latex, "application/x-tex; charset=utf-8", "tex"),
}


def _parts(found: Ranked) -> Iterator[Rows]:
    """Yield the rows of the table in the order of the list: ranked ones first, the others by their ids."""
    order = found.ranking.order
    rest = np.flatnonzero(found.chosen & (found.ranking.ranks == 0))
    rows = np.concatenate([order, rest])
    for k in range(0, len(rows), _PART):
        yield rows[k : k + _PART]


class _Pipe(io.RawIOBase):
    """A file that is written at one end and taken from at the other."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._n = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._n

    def write(self, content: Any) -> int:
        self._written.append(bytes(content))
        self._n += len(self._written[-1])
        return len(self._written[-1])

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        found = b"".join(self._written)
        self._written = []
        return found
