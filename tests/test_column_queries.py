"""The query language on columns: the same rows as the words say, and as MongoDB finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from stored_candidates import insert_candidates
from test_query_language import HOSTILE, conditions, some_documents, truth

from hemiec.errors import InputError, QueryError
from hemiec.schemas.documents import PROPERTIES
from hemiec.settings import Settings
from hemiec.store.database import Database
from hemiec.store.queries.columns import columns_asked, mask
from hemiec.store.queries.fields import Field, fields_of
from hemiec.store.queries.language import compile, parse
from hemiec.store.queries.tables import arrow_schema, candidate_columns, read_table, table_of_documents
from hemiec.store.snapshots import take_snapshot

EXAMPLES = [
    "has(Co)", "not has(Co)", "has(Co, B)", "not has(La, A)", "has(La) and not has(Sr) or has(Ti)",
    "fraction(A, La) >= 1/5", "fraction(A, La) < 1/5", "fraction(B, Co) + fraction(B, Fe) > 1/2",
    "fraction(X, vacancy) > 0", "fraction(X, vacancy) = 0", "fraction(X, O) < 1", "n_species(A) = 5",
    "n_species(B) in [1, 2]", "barrier + barrier.std < 0.6", "2*gap - barrier > 1", "gap < 500 meV",
    "gap in [0.5 .. 1.5]", "gap not in [0.5 .. 1.5]", "migration_barrier < 50 kJ/mol", 'campaigns = "synthetic-2"',
    'campaigns != "synthetic-2"', 'campaigns in ["nobody", "synthetic"]', "missing(band_gap)", "known(band_gap)",
    "not known(campaigns)", 'last_updated >= "2030-01-02"', 'last_updated = "2030-01-02"',
    'last_updated != "2030-01-02"',
    'last_updated < "2030-01-02T03:04:20+00:00"', "charge_balanced", "not charge_balanced", "",
]  # fmt: skip


def columns_of(documents: list[dict[str, Any]], where: str) -> pa.Table:
    """Return the columns that a query asks for."""
    columns = [candidate_columns()[name] for name in ("label", *sorted(columns_asked(where) - {"label"}))]
    return table_of_documents(documents, columns, arrow_schema(columns))


def test_rows_are_those_that_the_words_say() -> None:
    documents = some_documents(250)

    @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(conditions)
    def agrees(text: str) -> None:
        table = columns_of(documents, text)
        tree = parse(text).tree
        assert tree is not None
        expected = [truth(tree, document) is True for document in documents]
        assert mask(text, table).tolist() == expected
        # Pieces, and texts without a dictionary, are the same rows.
        plain = table.cast(pa.schema([_plain(field) for field in table.schema]))
        pieces = pa.concat_tables([plain.slice(0, 100), plain.slice(100, 1), plain.slice(101)])
        assert mask(text, pieces).tolist() == expected

    agrees()


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field


@pytest.mark.store
def test_rows_are_those_that_mongodb_finds(database: Database, settings: Settings) -> None:
    insert_candidates(database, 60, structures=False)
    database["candidates"].update_many({"n_species.B": 1}, {"$set": {"campaigns": []}})
    database["candidates"].update_many({"elements": "Ti"}, {"$set": {"candidate.hhi_production": None}})
    columns = take_snapshot(database, settings).columns()
    ids = np.array(columns["candidate_id"].to_pylist())
    asked = [*EXAMPLES, *(text for field in fields_of().values() for text in _questions(field, columns[field.name]))]
    found_some = 0
    for text in asked:
        found = database["candidates"].find(compile(text), {"candidate_id": 1})
        expected = {document["candidate_id"] for document in found}
        assert set(ids[mask(text, columns)]) == expected, text
        found_some += 0 < len(expected) < len(ids)
    assert found_some > 100


@pytest.mark.store
def test_sums_are_rounded_as_mongodb_rounds_them(database: Database, settings: Settings) -> None:
    insert_candidates(database, 60, structures=False)
    columns = take_snapshot(database, settings).columns()
    ids = np.array(columns["candidate_id"].to_pylist())
    rng = np.random.default_rng(0)
    named = [field.name for field in fields_of().values() if field.kind == "number" and field.unit == "1"]
    numbers = {name: columns[name].to_numpy() for name in named}
    filled = [name for name in named if not np.isnan(numbers[name]).any()]
    for _ in range(150):
        names = rng.choice(filled, size=rng.integers(2, 6), replace=False)
        factors = rng.choice([1.0, -1.0, 2.0, 0.1, 0.3], size=len(names))
        row = rng.integers(len(ids))
        # What one candidate has, so that the last digit decides.
        limit = sum(float(k * numbers[name][row]) for k, name in zip(factors, names, strict=True))
        text = " + ".join(f"({k}*{name})" for k, name in zip(factors, names, strict=True)) + f" <= {limit!r}"
        found = database["candidates"].find(compile(text), {"candidate_id": 1})
        assert set(ids[mask(text, columns)]) == {document["candidate_id"] for document in found}, text
    assert mask("1e308*nelements + 1e308*n_species.A > 0", columns).all()  # and no warning of an overflow


def _questions(field: Field, column: pa.ChunkedArray) -> list[str]:
    """Return conditions on a field with values that it has."""
    name, values = field.name, sorted({str(v) for v in column.to_pylist() if v is not None and v != []})
    asked = [f"known({name})", f"missing({name})", f"not known({name})"]
    if field.kind == "number" and values:
        some = sorted(map(float, values))
        middle = some[len(some) // 2]
        asked += [f"{name} {symbol} {middle!r}" for symbol in ("<", "<=", ">", ">=", "=", "!=")]
        asked += [
            f"not ({name} < {middle!r})",
            f"{name} in [{some[0]!r} .. {middle!r}]",
            f"{name} + {name} < {middle!r}",
        ]
    elif field.kind == "text" and values and all('"' not in v and len(v) < 200 for v in values[:2]):
        asked += [f'{name} = "{values[0]}"', f'{name} != "{values[0]}"', f'{name} in ["{values[0]}", "{values[-1]}"]']
    elif field.kind == "date" and values:
        asked += [f'{name} {symbol} "{values[len(values) // 2][:26]}"' for symbol in ("<", "<=", ">", ">=", "=", "!=")]
    return asked


@pytest.mark.store
def test_columns_read_from_the_store_are_those_of_a_snapshot(database: Database, settings: Settings) -> None:
    insert_candidates(database, 40, structures=False)
    read = read_table(database)
    kept = take_snapshot(database, settings).columns()
    assert read.column_names == list(candidate_columns())
    for name in read.column_names:
        assert read[name].to_pylist() == kept[name].to_pylist(), name
    some = read_table(database, ["candidate_id", "sites.A"], where="has(Co)", campaign="synthetic-2")
    both = mask('has(Co) and campaigns = "synthetic-2"', kept)
    assert some["candidate_id"].to_pylist() == np.array(kept["candidate_id"].to_pylist())[both].tolist()
    assert 0 < len(some) < 40
    with pytest.raises(QueryError, match=r"did you mean 'band_gap\.low'"):
        read_table(database, ["band_gap.lo"])


def test_interval_ends_and_fillings_are_columns() -> None:
    documents = some_documents(3)
    documents[0]["band_gap"]["interval"] = [0.25, 0.75]
    documents[1]["band_gap"]["interval"] = None
    documents[2]["candidate"]["sites"]["A"] = {"Sr": "3/4", "La": "1/4"}
    columns = [candidate_columns()[name] for name in ("band_gap.low", "band_gap.high", "sites.A")]
    table = table_of_documents(documents, columns, arrow_schema(columns))
    assert table["band_gap.low"].to_pylist() == [0.25, None, None]
    assert table["band_gap.high"].to_pylist() == [0.75, None, None]
    assert table["sites.A"].to_pylist()[2] == "La:1/4 Sr:3/4"  # whatever order it was stored in
    assert {f"{name}.{end}" for name in PROPERTIES for end in ("low", "high")} <= candidate_columns().keys()


def test_a_symbol_is_not_taken_for_a_longer_one() -> None:
    documents = some_documents(2)
    documents[0]["candidate"]["sites"]["A"] = {"Sc": "1/3", "Sm": "2/3"}
    documents[1]["candidate"]["sites"]["A"] = {"S": "1"}
    for text, rows in {
        "has(S, A)": [False, True], "has(Sm, A)": [True, False], "fraction(A, S) = 0": [True, False],
        "fraction(A, Sm) > 0.66": [True, False], "fraction(A, S) = 1": [False, True], "not has(Sc, A)": [False, True],
    }.items():  # fmt: skip
        assert mask(text, columns_of(documents, text)).tolist() == rows, text


@pytest.mark.parametrize("expression", HOSTILE)
def test_what_mongodb_is_not_asked_columns_are_not_asked_either(expression: str) -> None:
    with pytest.raises(QueryError) as ours:
        mask(expression, columns_of(some_documents(1), "band_gap < 1"))
    with pytest.raises(QueryError) as theirs:
        compile(expression)
    assert str(ours.value) == str(theirs.value)


def test_no_rows_and_no_condition() -> None:
    table = columns_of(some_documents(5), "band_gap < 1")
    assert mask("", table).all()
    assert len(mask("", table)) == 5
    none = table.slice(0, 0)
    for text in ("", "band_gap < 1", "label = 'a'", "not label = 'a'", "missing(band_gap)"):
        assert mask(text, none).shape == (0,)
    assert columns_asked("has(Co) and fraction(A, La) > 0 and gap + barrier.std < 1") == {
        "elements", "sites.A", "band_gap", "migration_barrier.std",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"no column .tolerance_factor"):
        mask("tolerance_factor < 1", table)


def test_only_the_columns_that_a_query_needs_are_asked_for() -> None:
    asked: list[str] = []
    table = columns_of(some_documents(5), "band_gap < 1 and has(La)")

    class Noted:
        def __len__(self) -> int:
            return len(table)

        def __getitem__(self, name: str, /) -> pa.ChunkedArray:
            asked.append(name)
            return table[name]

    mask("band_gap < 1 and band_gap > 0 and has(La)", Noted())
    assert sorted(asked) == ["band_gap", "elements"]
