"""The query language: what it compiles to, and that nothing else gets through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemiec.errors import QueryError
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateSpec, Quantity
from hemiec.store.query import FIELDS, compile_query

OPERATORS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "==": "$eq", "!=": "$ne"}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def where(field: str, operator: str, value: float) -> dict[str, Any]:
    """Return the condition on a number; a missing number fulfils none."""
    return {field: {operator: value, "$type": "number"}}


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_and_mirrored_numbers(operator: str) -> None:
    expected = where("band_gap.value", OPERATORS[operator], 1.5)
    assert compile_query(f"band_gap {operator} 1.5") == expected
    assert compile_query(f"1.5 {MIRRORED[operator]} band_gap") == expected


@pytest.mark.parametrize(
    ("written", "number"), [("1", 1.0), ("-1", -1.0), ("--1", 1.0), ("1e-3", 0.001), (".5", 0.5), ("-0.25", -0.25)]
)
def test_numbers(written: str, number: float) -> None:
    assert compile_query(f"band_gap < {written}") == where("band_gap.value", "$lt", number)


def test_chains_are_both_conditions() -> None:
    both = {"$and": [where("band_gap.value", "$gt", 0.5), where("band_gap.value", "$lte", 3.0)]}
    assert compile_query("0.5 < band_gap <= 3") == both


def test_and_or_not_and_parentheses() -> None:
    a, b, c = (where("band_gap.value", "$lt", float(n)) for n in (1, 2, 3))
    one, two, three = (f"band_gap < {n}" for n in (1, 2, 3))
    assert compile_query(f"{one} and {two} and {three}") == {"$and": [a, b, c]}
    assert compile_query(f"{one} or {two} and {three}") == {"$or": [a, {"$and": [b, c]}]}
    assert compile_query(f"({one} or {two}) and {three}") == {"$and": [{"$or": [a, b]}, c]}
    assert compile_query(f"not {one}") == {"$nor": [a]}
    assert compile_query(f"  (({one}))\n") == a


def test_has_asks_all_sublattices() -> None:
    assert compile_query("has(Co)") == {
        "$or": [{f"candidate.sites.{site}.Co": {"$exists": True}} for site in ("A", "B", "X")]
    }
    assert compile_query("not has(Pb)") == {"$nor": [compile_query("has(Pb)")]}


@pytest.mark.parametrize("empty", ["", "   ", "\n"])
def test_nothing_asked_matches_everything(empty: str) -> None:
    assert compile_query(empty) == {}


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_a_number_of_a_candidate(field: str) -> None:
    path = FIELDS[field].split(".")
    assert compile_query(f"{field} > 0") == where(FIELDS[field], "$gt", 0.0)
    models = {"candidate": CandidateSpec, **dict.fromkeys(PROPERTIES, Quantity)}
    assert path[0] in CandidateDoc.model_fields
    assert path[1] in models[path[0]].model_fields
    assert "float" in str(models[path[0]].model_fields[path[1]].annotation)


def test_unknown_fields_are_corrected() -> None:
    with pytest.raises(QueryError, match=r"unknown field 'bandgap'; did you mean 'band_gap'\?"):
        compile_query("bandgap < 1")
    with pytest.raises(QueryError, match=r"did you mean 'migration_barrier\.min'\?"):
        compile_query("migration_barier.min < 1")
    with pytest.raises(QueryError, match="use one of: band_gap, bartel_tau"):
        compile_query("zzzzzz < 1")


HOSTILE = [
    "__import__('os')",
    "__import__('os').system('true') == 0",
    "$where",
    "{'$where': 'sleep(1000)'}",
    "'$where' == 1",
    "band_gap == {'$gt': ''}",
    "band_gap == 'x'",
    "band_gap.__class__ < 1",
    "band_gap.value < 1",
    "().__class__ == 1",
    "(lambda: 1)()",
    "[x for x in (1,)]",
    "band_gap[0] < 1",
    "f'{band_gap}' < 1",
    "(x := 1) < 2",
    "band_gap if 1 else 2",
    "band_gap < 1 if has(Co) else band_gap < 2",
    "band_gap",
    "1",
    "1 < 2",
    "True",
    "None",
    "...",
    "band_gap < True",
    "band_gap < None",
    "band_gap < 1j",
    "band_gap < nan",
    "band_gap < migration_barrier",
    "band_gap < 1 + 1",
    "band_gap < ~1",
    "band_gap < +1 - 1",
    "-band_gap < 1",
    "band_gap in (1, 2)",
    "band_gap is 1",
    "band_gap < 1; has(Co)",
    "band_gap < 1\nhas(Co)",
    "band_gap < 1 \x00",
    "band_gap <",
    "band_gap = 1",
    "band_gap < 1, has(Co)",
    "has()",
    "has(Co, Ni)",
    "has('Co')",
    "has(*Co)",
    "has(Co=1)",
    "has(Co, x=1)",
    "has(cobalt)",
    "has(sites.A.Co)",
    "hasnt(Co)",
    "has.has(Co)",
    "has(Co)(Co)",
    "has(Co) & has(Ni)",
    "await has(Co)",
    "import os",
    "\udcff",
]


@pytest.mark.parametrize("expression", HOSTILE)
def test_anything_else_is_a_query_error(expression: str) -> None:
    with pytest.raises(QueryError) as caught:
        compile_query(expression)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("query: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 900 + "band_gap < 1" + ")" * 900,
        "not " * 450 + "band_gap < 1",  # MongoDB refuses documents nested deeper than 200
        "band_gap < 1 and (" * 105 + "band_gap < 1" + ")" * 105,
        "band_gap < " + "-" * 1900 + "1",
        "a." * 900 + "b < 1",
        "[" * 1900,
        "band_gap < " + "9" * 400,  # above the largest float
        "band_gap < 1" + " or band_gap < 1" * 1000,
        "x" * 100_000,
    ],
    ids=["parentheses", "not", "and", "minus", "attributes", "brackets", "huge number", "long", "longer"],
)
def test_deep_and_huge_queries_are_query_errors(expression: str) -> None:
    with pytest.raises(QueryError):
        compile_query(expression)


def test_deep_queries_within_reason_are_compiled() -> None:
    assert compile_query("not " * 10 + "band_gap < 1")
    assert len(compile_query(" and ".join(["band_gap < 1"] * 100))["$and"]) == 100


ATOMS = st.sampled_from(
    ["band_gap", "1", "<", ">=", "and", "or", "not", "(", ")", "has", "Co", ".", ",", "'", "$", "\n"]
)


@given(st.one_of(st.text(max_size=60), st.lists(ATOMS, max_size=14).map(" ".join)))
def test_any_text_gives_a_known_filter_or_a_query_error(text: str) -> None:
    try:
        compiled = compile_query(text)
    except QueryError:
        return
    operators = {"$and", "$or", "$nor", "$exists", "$type", *OPERATORS.values()}
    keys = {key for key in _keys(compiled) if key.startswith("$")}
    assert keys <= operators
    json.dumps(compiled)


def _keys(content: Any) -> set[str]:
    if isinstance(content, dict):
        return set(content) | {k for value in content.values() for k in _keys(value)}
    return {k for item in content for k in _keys(item)} if isinstance(content, list) else set()
