"""The results database from Python: ask, and get documents, a table or structures.

from hemiec.store.queries.results import Results

with Results() as results:
    found = results.query("band_gap < 1.0 and has(Co)", sort="migration_barrier", limit=20)
    for candidate in found:
        print(candidate.candidate.label, candidate.migration_barrier.value)
    table = found.to_pandas()
    structures = found.to_structures()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pymongo import ASCENDING

from hemiec.errors import InputError, QueryError, StoreError
from hemiec.schemas.documents import CandidateDoc, ReferenceDoc
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.settings import Settings, load_settings
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database, open_database, store_errors
from hemiec.store.layout.prepare import require_current
from hemiec.store.queries.fields import KEYS, SCHEMAS, Field, fields_of
from hemiec.store.queries.files import write_parquet
from hemiec.store.queries.order import chosen_fields
from hemiec.store.queries.rows import MAX_TIME_MS, Query, read_documents, read_rows

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

_BATCH = 500
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Found:
    """What a query finds; every use asks the database again, and nothing is held in memory but what is returned.

    Parameters
    ----------
    database
        The store.
    request
        What is asked for.
    fields
        Names of the fields wanted; None for whole documents.
    """

    database: Database
    request: Query
    fields: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield CandidateDoc (without hops and transport), HopDoc or StructureDoc; name to value if fields were named.

        Raises
        ------
        StoreError
            If the database cannot be reached, takes too long, or holds a document of another hemiec.
        """
        if self.fields is not None:
            columns = self.columns()
            for batch in read_rows(self.database, self.request, list(columns.values())):
                yield from (dict(zip(columns, row, strict=True)) for row in batch)
            return
        model = SCHEMAS[self.request.collection]
        for document in read_documents(self.database, self.request):
            yield _validated(model, document, KEYS[self.request.collection])

    def count(self) -> int:
        """Return how many there are, exactly; on a million documents this may take seconds."""
        limit: dict[str, Any] = {} if self.request.limit is None else {"limit": self.request.limit}
        with store_errors():
            collection = self.database[self.request.collection]
            return collection.count_documents(self.request.filter(), maxTimeMS=MAX_TIME_MS, **limit)

    def columns(self) -> dict[str, Field]:
        """Return name to field of the table: those that were named, else all."""
        collection = self.request.collection
        return dict(fields_of(collection)) if self.fields is None else chosen_fields(self.fields, collection)

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with a column per field; its ``attrs['units']`` says their units.

        A number that is missing is NaN, a text that is missing None.
        """
        import pandas as pd

        columns = self.columns()
        values: dict[str, list[Any]] = {name: [] for name in columns}
        for batch in read_rows(self.database, self.request, list(columns.values())):
            for name, column in zip(columns, zip(*batch, strict=True), strict=True):
                values[name].extend(column)
        table = pd.DataFrame(
            {
                name: pd.Series(values[name], dtype="float64" if field.kind == "number" else "object")
                for name, field in columns.items()
            }
        )
        table.attrs["units"] = {name: field.unit for name, field in columns.items() if field.kind == "number"}
        return table

    def to_parquet(self, path: str | Path) -> int:
        """Write the table into a Parquet file, with units, and return how many rows it has."""
        return write_parquet(self.database, self.request, self.columns(), Path(path))

    def to_structures(self, kind: Literal["relaxed", "ideal"] = "relaxed") -> Iterator[Structure]:
        """Yield the special quasirandom structures of what was found.

        Their ``properties`` say structure_id, candidate_id, label, protocol and energy_per_atom (eV/atom, relaxed).
        Structures that are not relaxed are left out of the relaxed ones.

        Parameters
        ----------
        kind
            relaxed, or ideal: on the sites of the cubic parent.

        Raises
        ------
        QueryError
            For another kind, or of hops, which have no structures of their own.
        """
        if kind not in ("relaxed", "ideal"):
            raise QueryError(f"structures are 'relaxed' or 'ideal', not {str(kind)[:20]!r}.")
        collection = self.request.collection
        if collection == "hops":
            raise QueryError("hops have no structures.", mend="ask for candidates or structures")
        key = KEYS[collection]
        batch: list[str] = []
        for document in read_documents(self.database, self.request, [key]):
            batch.append(document[key])
            if len(batch) == _BATCH:
                yield from self._structures(key, batch, kind)
                batch = []
        yield from self._structures(key, batch, kind)

    def _structures(self, key: str, keys: list[str], kind: str) -> Iterator[Structure]:
        from pymatgen.core import Structure

        path = "structure" if kind == "relaxed" else "ideal_structure"
        about = ["structure_id", "candidate_id", "label", "protocol", "energy_per_atom"]
        with store_errors():
            where = {key: {"$in": keys}}
            found = self.database["structures"].find(where, {"_id": 0, path: 1, **dict.fromkeys(about, 1)})
            by_key: dict[str, list[dict[str, Any]]] = {}
            for document in found.sort("structure_id", ASCENDING).max_time_ms(MAX_TIME_MS):
                by_key.setdefault(document[key], []).append(document)
        for document in (document for one in keys for document in by_key.get(one, [])):
            if document[path] is not None:
                structure = Structure.from_dict(document[path])
                structure.properties = {name: document[name] for name in about}
                yield structure


class Results:
    """The results of a store, to be asked; nothing is ever written.

    Parameters
    ----------
    source
        An open database, which stays open; settings to open one by; default the current settings. What was opened
        here is closed by :meth:`close`, or at the end of a ``with``.

    Raises
    ------
    StoreError
        If the database cannot be opened, or is of another layout.
    """

    def __init__(self, source: Database | Settings | None = None) -> None:
        self._own = not isinstance(source, Database)
        self.database = (
            source if isinstance(source, Database) else open_database(source or load_settings(), read_only=True)
        )
        try:
            with store_errors():
                require_current(self.database)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection if it was opened here."""
        if self._own:
            self.database.close()

    def query(
        self,
        expression: str = "",
        *,
        collection: str = "candidates",
        sort: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        fields: Sequence[str] | None = None,
    ) -> Found:
        """Return what an expression finds, such as ``band_gap < 1.0 and has(Co)``; documents are read when it is used.

        Parameters
        ----------
        expression
            The query, as docs/queries.md describes it; default all.
        collection
            candidates, hops or structures.
        sort
            Name of a field with an index; default the order in which documents were stored.
        descending
            Whether large values come first; documents without a value come last either way.
        limit
            How many at most; default all.
        fields
            Names of the fields wanted, which come beside the collection's key; default whole documents.

        Raises
        ------
        QueryError
            If the expression, a name or the limit is wrong.
        """
        if limit is not None and limit < 1:
            raise QueryError(f"query: the limit has to be 1 or more, not {limit}.")
        request = Query(expression, collection, sort, descending, limit)
        list(request.stages())  # says now what is wrong with it, not at first use
        found = Found(self.database, request, None if fields is None else tuple(fields))
        found.columns()
        return found

    def hops(self, expression: str = "", **options: Any) -> Found:
        """Return the hops that an expression finds, such as ``forward_barrier < 0.3 and has(La)``; as :meth:`query`."""
        return self.query(expression, collection="hops", **options)

    def structures(self, expression: str = "", **options: Any) -> Found:
        """Return the structures that an expression finds, such as ``nsites <= 40``; as :meth:`query`."""
        return self.query(expression, collection="structures", **options)

    def candidate(self, candidate_id: str) -> CandidateDoc:
        """Return one candidate with everything computed for it: hops, transport, dynamics.

        Raises
        ------
        InputError
            If there is none of that id.
        """
        with store_errors():
            found = next(read_candidates(self.database, {"candidate_id": str(candidate_id)}), None)
        if found is None:
            raise InputError(f"no candidate {str(candidate_id)[:40]!r} in the store.", mend="find it by a query")
        return found

    def references(self) -> list[ReferenceDoc]:
        """Return all reference phases, in the order of their ids."""
        with store_errors():
            found = self.database["references"].find({}, {"_id": 0}).sort("reference_id", ASCENDING)
            return [_validated(ReferenceDoc, document, "reference_id") for document in found]

    def leaderboard(self, leaderboard_id: str | None = None) -> LeaderboardDoc:
        """Return a saved leaderboard, by default the latest.

        Raises
        ------
        InputError
            If there is none.
        """
        from hemiec.store.leaderboards import list_leaderboards, read_leaderboard

        if leaderboard_id is None:
            saved = list_leaderboards(self.database)
            if not saved:
                raise InputError("no leaderboard was saved yet.", mend="save one with `hemiec rank --save`")
            leaderboard_id = saved[0].leaderboard_id
        return read_leaderboard(self.database, leaderboard_id)


def _validated(model: type[_Model], document: dict[str, Any], key: str) -> _Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise StoreError(
            f"{document.get(key)}: stored by another version of hemiec ({error.errors()[0]['msg']}).",
            mend="run `hemiec build`",
        ) from error
