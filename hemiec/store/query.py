"""A small query language for people, compiled to MongoDB filters.

``band_gap < 1.0 and has(Co) and not has(Pb)``: comparisons of fields with numbers, joined with and, or,
not and parentheses; ``has(El)`` asks for an element. Nothing else is accepted, so nothing else can run.
"""

from __future__ import annotations

import ast
from typing import Any

from pymatgen.core import Element

from hemiec.composition.descriptors import UNITS
from hemiec.errors import QueryError, did_you_mean
from hemiec.schemas.documents import PROPERTIES

#: Field in the language to path in a candidate document; all are numbers.
FIELDS: dict[str, str] = {
    **{name: f"{name}.value" for name in PROPERTIES},
    "migration_barrier.min": "migration_barrier.min",
    "migration_barrier.max": "migration_barrier.max",
    "migration_barrier.std": "migration_barrier.std",
    **{name: f"candidate.{name}" for name in (*UNITS, "oxygen_deficiency", "net_charge")},
}
_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Lt: "$lt",
    ast.LtE: "$lte",
    ast.Gt: "$gt",
    ast.GtE: "$gte",
    ast.Eq: "$eq",
    ast.NotEq: "$ne",
}
_MIRRORED = {"$lt": "$gt", "$lte": "$gte", "$gt": "$lt", "$gte": "$lte", "$eq": "$eq", "$ne": "$ne"}
_MAX_LENGTH = 2000
#: MongoDB refuses documents nested deeper than 200; every level of the language takes two.
_MAX_DEPTH = 50


def compile_query(expression: str) -> dict[str, Any]:
    """Return the MongoDB filter of an expression; an empty one matches everything.

    Raises
    ------
    QueryError
        If it cannot be read, names an unknown field or element, or uses anything else.
    """
    if not expression.strip():
        return {}
    if len(expression) > _MAX_LENGTH:
        raise QueryError(f"query: longer than {_MAX_LENGTH} characters.")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        return _compile(tree.body)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise QueryError(
            f"query: cannot read {expression[:80]!r}.", mend="write it like 'band_gap < 1.0 and has(Co)'"
        ) from error


def _compile(node: ast.expr, depth: int = 0) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise QueryError(f"query: nested deeper than {_MAX_DEPTH} levels.")
    if isinstance(node, ast.BoolOp):
        parts = [_compile(value, depth + 1) for value in node.values]
        return {"$and" if isinstance(node.op, ast.And) else "$or": parts}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return {"$nor": [_compile(node.operand, depth + 1)]}
    if isinstance(node, ast.Compare):
        return _comparison(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "has":
        return _has(node)
    raise QueryError(
        f"query: {ast.unparse(node)[:60]!r} is not a comparison or has(Element).",
        mend="write it like 'band_gap < 1.0 and has(Co)'",
    )


def _comparison(node: ast.Compare) -> dict[str, Any]:
    terms = [node.left, *node.comparators]
    parts = []
    for left, operator, right in zip(terms[:-1], node.ops, terms[1:], strict=True):
        symbol = _OPERATORS.get(type(operator))
        if symbol is None:
            raise QueryError(f"query: {ast.unparse(node)[:60]!r}: use one of < <= > >= == !=.")
        if _number(left) is None:
            parts.append(_condition(_field(left), symbol, right))
        else:
            parts.append(_condition(_field(right), _MIRRORED[symbol], left))
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _condition(path: str, operator: str, number: ast.expr) -> dict[str, Any]:
    value = _number(number)
    if value is None:
        raise QueryError(f"query: expected a number, got {ast.unparse(number)[:40]!r}.")
    # A missing number is neither above nor below, nor different from, another one.
    return {path: {operator: value, "$type": "number"}}


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    return None


def _field(node: ast.expr) -> str:
    name = ast.unparse(node)
    if name not in FIELDS:
        raise QueryError(f"query: unknown field {name[:60]!r}; {did_you_mean(name[:60], FIELDS)}")
    return FIELDS[name]


def _has(node: ast.Call) -> dict[str, Any]:
    name = node.args[0].id if len(node.args) == 1 and isinstance(node.args[0], ast.Name) else None
    if name is None or node.keywords or not Element.is_valid_symbol(name):
        raise QueryError(f"query: {ast.unparse(node)[:60]!r}: expected an element, as in has(Co).")
    return {"$or": [{f"candidate.sites.{site}.{name}": {"$exists": True}} for site in ("A", "B", "X")]}
