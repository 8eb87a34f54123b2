"""Conditions on compositions, evaluated for many rows at once: ``0.85 <= tolerance_factor <= 1.05``, ``La & Pr``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from hemiec.composition.block import Rows
from hemiec.composition.descriptors import SITES, UNITS, Floats
from hemiec.composition.fractions import VACANCY
from hemiec.errors import CompositionError, did_you_mean

#: What a condition may name.
NAMES = (*UNITS, "oxygen_deficiency", "net_charge")
FUNCTIONS = ("fraction", "n_species")
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_MAX_LENGTH = 500
_MEND = "write it like '0.85 <= tolerance_factor <= 1.05', 'fraction(A, Li) >= 0.05' or 'n_species(A) >= 5'"
#: Fractions are floats here: a composition on a bound must not fall to round-off.
_ROUND_OFF = 1e-9


@dataclass(frozen=True)
class Constraint:
    """A condition as written, checked when made; what has no value (a NaN) does not fulfil it."""

    text: str
    tree: ast.expr

    def fulfilled(self, rows: Rows, columns: Mapping[str, Floats]) -> NDArray[np.bool_]:
        """Return which compositions fulfil it, shape=(n,)."""
        return np.broadcast_to(_truth(self.tree, rows, columns), (len(rows),))


def parse_constraint(text: str, *, where: str) -> Constraint:
    """Return a condition that is safe to evaluate.

    Raises
    ------
    CompositionError
        If it cannot be read, or names something unknown.
    """
    if len(text) > _MAX_LENGTH:
        raise CompositionError(f"{where}: longer than {_MAX_LENGTH} characters.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CompositionError(f"{where}: cannot read {text[:60]!r}.", mend=_MEND) from error
    _check_truth(tree, where)
    return Constraint(text, tree)


def _check_truth(node: ast.expr, where: str) -> None:
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check_truth(value, where)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_truth(node.operand, where)
    elif isinstance(node, ast.Compare):
        if not all(type(op) in _COMPARE for op in node.ops):
            raise CompositionError(f"{where}: {_short(node)}: use one of < <= > >= == !=.")
        for value in (node.left, *node.comparators):
            _check_number(value, where)
    else:
        raise CompositionError(f"{where}: {_short(node)} is not a comparison.", mend=_MEND)


def _check_number(node: ast.expr, where: str) -> None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return
    if isinstance(node, ast.Name):
        if node.id not in NAMES:
            raise CompositionError(f"{where}: unknown name {node.id[:60]!r}; {_nearest(node.id)}")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check_number(node.operand, where)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        _check_number(node.left, where)
        _check_number(node.right, where)
    elif isinstance(node, ast.Call):
        _check_call(node, where)
    else:
        raise CompositionError(f"{where}: {_short(node)} is not allowed in a condition.", mend=_MEND)


def _nearest(word: str) -> str:
    """Return a hint on a misspelt or shortened name; the whole list would fill a screen."""
    holding = [name for name in NAMES if word.lower() in name.lower()][:3]
    if holding:
        return f"did you mean {' or '.join(map(repr, holding))}?"
    hint = did_you_mean(word, (*NAMES, *FUNCTIONS))
    return hint if hint.startswith("did") else "docs/campaign-file.md lists the names, such as bartel_tau."


def _check_call(node: ast.Call, where: str) -> None:
    name = ast.unparse(node.func)
    if name not in FUNCTIONS:
        raise CompositionError(f"{where}: unknown function {name[:40]!r}; {did_you_mean(name, FUNCTIONS)}")
    words = [argument.id for argument in node.args if isinstance(argument, ast.Name)]
    expected = "fraction(A, Li)" if name == "fraction" else "n_species(A)"
    if len(words) != len(node.args) or node.keywords or len(words) != (2 if name == "fraction" else 1):
        raise CompositionError(f"{where}: {_short(node)}: expected something like {expected}.")
    if words[0] not in SITES:
        raise CompositionError(f"{where}: {_short(node)}: unknown site {words[0]!r}; use one of A, B, X.")
    if name == "fraction" and words[1] != VACANCY and not Element.is_valid_symbol(words[1]):
        raise CompositionError(f"{where}: {_short(node)}: unknown species {words[1]!r}.")


def _short(node: ast.AST) -> str:
    return repr(ast.unparse(node)[:60])


def _truth(node: ast.expr, rows: Rows, columns: Mapping[str, Floats]) -> Any:
    if isinstance(node, ast.BoolOp):
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return combine.reduce([np.broadcast_to(_truth(v, rows, columns), (len(rows),)) for v in node.values])
    if isinstance(node, ast.UnaryOp):
        return np.logical_not(_truth(node.operand, rows, columns))
    assert isinstance(node, ast.Compare)
    values = [_number(value, rows, columns) for value in (node.left, *node.comparators)]
    truth: Any = True
    for left, op, right in zip(values[:-1], node.ops, values[1:], strict=True):
        truth = np.logical_and(truth, _compare(type(op), left, right))
    return truth


def _compare(op: type[ast.cmpop], left: Any, right: Any) -> Any:
    """Compare with a little room: equal within round-off counts as equal."""
    difference = np.subtract(left, right, dtype=float)
    known = ~np.isnan(difference)
    return known & _COMPARE[op](np.where(np.abs(difference) < _ROUND_OFF, 0.0, difference), 0.0)


def _number(node: ast.expr, rows: Rows, columns: Mapping[str, Floats]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.UnaryOp):
        return -_number(node.operand, rows, columns)
    if isinstance(node, ast.BinOp):
        with np.errstate(divide="ignore", invalid="ignore"):
            left, right = (np.asarray(_number(n, rows, columns), float) for n in (node.left, node.right))
            return _ARITHMETIC[type(node.op)](left, right)
    assert isinstance(node, ast.Call)
    words = [argument.id for argument in node.args if isinstance(argument, ast.Name)]
    return rows.kinds(words[0]) if len(words) == 1 else rows.fraction(words[0], words[1])


@dataclass(frozen=True)
class Exclusion:
    """Elements that must not occur together (or at all, if it is one)."""

    text: str
    elements: tuple[str, ...]

    def hits(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which compositions hold all of the elements, shape=(n,)."""
        return np.logical_and.reduce([rows.has(symbol) for symbol in self.elements])


def parse_exclusion(text: str, *, where: str) -> Exclusion:
    """Return an exclusion such as ``Pb`` or ``La & Pr``.

    Raises
    ------
    CompositionError
        If it holds anything but elements joined with ``&``.
    """
    symbols = tuple(part.strip() for part in text.split("&"))
    for symbol in symbols:
        if not Element.is_valid_symbol(symbol):
            raise CompositionError(f"{where}: unknown element {symbol[:40]!r}; expected 'Pb', or 'La & Pr'.")
    return Exclusion(text, symbols)
