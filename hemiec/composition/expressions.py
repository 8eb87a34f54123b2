"""Exact arithmetic on what a user writes: ``1/6 - x`` with named parameters."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from fractions import Fraction
from operator import add, mul, sub, truediv

from hemiec.composition.fractions import parse_fraction
from hemiec.errors import CompositionError, did_you_mean

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
}
_MAX_LENGTH = 200
#: A numerator or denominator of more digits comes from no composition, and would only cost time.
_MAX_DIGITS = 30


def parameters_in(written: object) -> frozenset[str]:
    """Return the names that an expression uses; empty for a plain number or what cannot be read."""
    if not isinstance(written, str):
        return frozenset()
    try:
        return frozenset(node.id for node in ast.walk(ast.parse(written.strip(), mode="eval")) if _is_name(node))  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def evaluate(written: object, parameters: Mapping[str, Fraction], *, where: str) -> Fraction:
    """Return the exact value of a number or of an expression in the parameters.

    A plain number is read as :func:`~hemiec.composition.fractions.parse_fraction` reads it (0.333 is 1/3); within an
    expression decimals are taken as they stand (``0.25 - x``). Only numbers, names, ``+ - * /`` and parentheses are
    accepted.

    Raises
    ------
    CompositionError
        If it cannot be read, names an unknown parameter, divides by zero or is negative.
    """
    names = parameters_in(written)
    if not names and (not isinstance(written, str) or not set(written.strip().lstrip("-")) & set("+-*()")):
        return parse_fraction(written, where=where)
    assert isinstance(written, str)
    if len(written) > _MAX_LENGTH:
        raise CompositionError(f"{where}: expression is longer than {_MAX_LENGTH} characters.")
    try:
        value = _value(ast.parse(written.strip(), mode="eval").body, parameters, where)
    except ZeroDivisionError as error:
        raise CompositionError(f"{where}: {written!r} divides by zero{at(parameters, names)}.") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CompositionError(
            f"{where}: fraction {written[:40]!r}: expected a number such as 0.2 or '1/5', "
            "or an expression such as '1/6 - x'."
        ) from error
    if value < 0:
        raise CompositionError(f"{where}: {written} is negative ({value}){at(parameters, names)}.")
    return value


def at(parameters: Mapping[str, Fraction], used: frozenset[str] | set[str] | None = None) -> str:
    """Return `` at x = 1/8`` for messages; empty without parameters."""
    named = [f"{name} = {value}" for name, value in parameters.items() if used is None or name in used]
    return f" at {', '.join(named)}" if named else ""


def _value(node: ast.expr, parameters: Mapping[str, Fraction], where: str) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _bounded(Fraction(repr(node.value)), where)
    if isinstance(node, ast.Name):
        if node.id not in parameters:
            known = did_you_mean(node.id, parameters) if parameters else "this entry has no `parameters`."
            raise CompositionError(f"{where}: unknown parameter {node.id!r}; {known}")
        return parameters[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, parameters, where)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, parameters, where), _value(node.right, parameters, where)
        return _bounded(_OPERATORS[type(node.op)](left, right), where)
    raise CompositionError(
        f"{where}: {ast.unparse(node)[:40]!r} is not allowed in a fraction; use numbers, parameters and + - * /."
    )


def _bounded(value: Fraction, where: str) -> Fraction:
    if max(abs(value.numerator), value.denominator) >= 10**_MAX_DIGITS:
        raise CompositionError(f"{where}: a number with more than {_MAX_DIGITS} digits is no fraction of a site.")
    return value
