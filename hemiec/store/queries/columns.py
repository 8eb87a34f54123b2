"""The query language on columns: which rows of a table fulfil an expression.

The same language, and the same rows, as MongoDB finds by its filters: what is unknown fulfils neither a condition nor
its negation. A million rows take some milliseconds per comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.store.queries.arithmetic import Linear, Term, solved
from hemiec.store.queries.fields import Field, fields_of
from hemiec.store.queries.language import compiled
from hemiec.store.queries.syntax import Expression

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]
#: Column with the filling of each sublattice, as "La:1/5 Sr:4/5", vacancies included.
SITES_COLUMN = "sites.{site}"
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal, "!=": np.not_equal
}  # fmt: skip


class Columns(Protocol):
    """Columns by the names of the query language's fields, and `sites.A`, `sites.B` and `sites.X`; as `pyarrow.Table`.

    Numbers are float64, dates text as they are stored, lists of text lists of strings; text may be dictionary-encoded.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, name: str, /) -> pa.ChunkedArray: ...


def mask(where: str | Expression, columns: Columns) -> Mask:
    """Return which candidates fulfil a query, shape=(n_candidates,); an empty query is fulfilled by all.

    Parameters
    ----------
    where
        What is asked for, as text or parsed.
    columns
        The candidates; only the columns that the query needs are looked at.

    Raises
    ------
    QueryError
        If it cannot be read, names an unknown field, function, element or unit, or mixes types or units.
    InputError
        If a column that it needs is not there.
    """
    found = compiled(where, _Rows(columns))
    return np.ones(len(columns), dtype=np.bool_) if found is None else found


class _Rows:
    """A `Target`: conditions as the rows that fulfil them."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._numbers: dict[Term, NDArray[np.float64]] = {}

    def all_of(self, parts: Sequence[Mask]) -> Mask:
        """Return the rows that all hold for."""
        return reduce(np.logical_and, parts)

    def any_of(self, parts: Sequence[Mask]) -> Mask:
        """Return the rows that one of them holds for."""
        return reduce(np.logical_or, parts)

    def compare(self, left: Linear, operator: str, right: Linear) -> Mask:
        """Return the rows with a comparison of two sums."""
        form, sense = solved(left, operator, right)
        # A single term has the factor 1.
        factors = [float(factor) for factor in form.terms.values()]
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [x if k == 1 else k * x for k, x in zip(factors, map(self._number, form.terms), strict=True)]
            total = reduce(np.add, parts)
        found: Mask = _COMPARE[sense](total, float(-form.constant))
        # NaN, which stands for unknown, is unequal to everything.
        return found & ~np.isnan(total) if sense == "!=" else found

    def truth(self, field: Field, wanted: bool) -> Mask:
        """Return the rows with a field that is true, or false."""
        return self._joined(field.name, lambda chunk: _filled(_equal(chunk, wanted)))

    def texts(self, field: Field, values: Sequence[str], wanted: bool) -> Mask:
        """Return the rows with a text, or list, that has one of some texts, or none."""
        if field.kind == "texts":
            return self._listed(field.name, values) == wanted
        return self._text(field.name, lambda texts: _is_in(texts, values) == wanted)

    def dates(self, field: Field, first: str, after: str, inside: bool) -> Mask:
        """Return the rows with a date within ``first <= date < after``, or outside."""

        def within(texts: pa.StringArray) -> Mask:
            import pyarrow.compute as pc

            low = _filled(pc.greater_equal(texts, first)) if first else np.ones(len(texts), dtype=np.bool_)
            return low & _filled(pc.less(texts, after)) if after else low

        return self._text(field.name, lambda texts: within(texts) == inside)

    def known(self, field: Field, wanted: bool) -> Mask:
        """Return the rows with a field with a value, or without."""
        if field.kind == "texts":
            return self._listed(field.name, None) == wanted
        return self._joined(field.name, lambda chunk: _filled(chunk.is_valid())) == wanted

    def has(self, element: str, wanted: bool) -> Mask:
        """Return the rows with an element that is there, or not."""
        return self._listed("elements", [element]) == wanted

    def has_on(self, site: str, species: str, wanted: bool) -> Mask:
        """Return the rows with a species that is on a sublattice, or not."""

        def there(texts: pa.StringArray) -> Mask:
            import pyarrow.compute as pc

            return _filled(pc.match_substring_regex(texts, rf"(^| ){re.escape(species)}:"))

        return self._text(SITES_COLUMN.format(site=site), there) == wanted

    def _number(self, term: Term) -> NDArray[np.float64]:
        """Return the value of a field or a site fraction; NaN where there is none."""
        if term not in self._numbers:
            if term.species is None:
                found = self._column(term.field.name).to_numpy().astype(np.float64, copy=False)
            else:
                site, species = term.species
                found = self._by_text(SITES_COLUMN.format(site=site), lambda texts: _fractions(texts, species), 0.0)
            self._numbers[term] = found
        return self._numbers[term]

    def _column(self, name: str) -> pa.ChunkedArray:
        try:
            return self.columns[name]
        except KeyError:
            raise InputError(f"query: these candidates have no column {name!r}.", mend="take a new snapshot") from None

    def _joined(self, name: str, rows: Callable[[pa.Array], Mask]) -> Mask:
        chunks = [rows(chunk) for chunk in self._column(name).chunks]
        return np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.bool_)

    def _text(self, name: str, test: Callable[[pa.StringArray], Mask]) -> Mask:
        """Return the rows whose text is known and passes a test; each different text is tested once."""
        return self._by_text(name, test, False)

    def _by_text(self, name: str, work: Callable[[pa.StringArray], NDArray[Any]], missing: Any) -> NDArray[Any]:
        """Return what is worked out from a text, for every row."""
        import pyarrow as pa

        found = [np.full(0, missing)]
        for chunk in self._column(name).chunks:
            encoded = chunk if pa.types.is_dictionary(chunk.type) else None
            texts = chunk if encoded is None else encoded.dictionary
            values = work(texts)
            if encoded is None:
                known = _filled(chunk.is_valid())
            else:
                known = _filled(encoded.indices.is_valid())
                values = np.append(values, missing)[encoded.indices.fill_null(len(texts)).to_numpy()]
            found.append(np.where(known, values, missing))
        return np.concatenate(found)

    def _listed(self, name: str, values: Sequence[str] | None) -> Mask:
        """Return the rows whose list has one of some texts; any text at all if none are named."""

        def rows(chunk: pa.ListArray) -> Mask:
            ends = chunk.offsets.to_numpy()
            found = (ends[1:] > ends[:-1]) & _filled(chunk.is_valid())
            if values is not None and found.any():
                # Of the lists with entries, which follow each other without a gap.
                hits = _is_in(chunk.values, values)[: ends[-1]]
                found[found] = np.logical_or.reduceat(hits, ends[:-1][found])
            return found

        return self._joined(name, rows)


def columns_asked(where: str | Expression) -> set[str]:
    """Return the names of the columns that a query looks at.

    Raises
    ------
    QueryError
        If it cannot be read.
    """
    seen = _Names()
    mask(where, seen)
    return seen.names


class _Names:
    """No rows, and a note of every column that is asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __len__(self) -> int:
        return 0

    def __getitem__(self, name: str, /) -> pa.ChunkedArray:
        import pyarrow as pa

        self.names.add(name)
        field = fields_of().get(name)
        return pa.chunked_array([], pa.float64() if field is not None and field.kind == "number" else pa.string())


def _fractions(fillings: pa.StringArray, species: str) -> NDArray[np.float64]:
    """Return the site fraction of a species in each filling such as 'La:1/5 Sr:4/5'; 0 where it is not."""
    import pyarrow.compute as pc

    pattern = rf"(?:^| ){re.escape(species)}:(?P<over>[0-9]+)(?:/(?P<under>[0-9]+))?(?: |$)"
    parts = pc.extract_regex(fillings, pattern)
    over, under = (pc.struct_field(parts, [k]) for k in (0, 1))
    under = pc.if_else(pc.equal(under, ""), "1", under)
    numbers = [pc.cast(part, "float64").to_numpy(zero_copy_only=False) for part in (over, under)]
    return np.nan_to_num(numbers[0] / numbers[1], nan=0.0)


def _is_in(texts: pa.Array, values: Sequence[str]) -> Mask:
    """Return which texts are among some; one that is missing is not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(texts.type):
        hits = np.append(_is_in(texts.dictionary, values), False)
        return np.asarray(hits[texts.indices.fill_null(len(texts.dictionary)).to_numpy()])
    return _filled(pc.is_in(texts, value_set=pa.array(values, texts.type)))


def _equal(truths: pa.BooleanArray, wanted: bool) -> pa.BooleanArray:
    import pyarrow.compute as pc

    return truths if wanted else pc.invert(truths)


def _filled(truths: pa.BooleanArray) -> Mask:
    """Return what may be unknown as false there."""
    found: Mask = truths.fill_null(False).to_numpy(zero_copy_only=False)
    return found
