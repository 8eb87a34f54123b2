"""From the text of a query to its tree."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput

from hemiec.errors import QueryError

MAX_LENGTH = 2_000
#: Every level takes two in MongoDB's filter, which refuses documents nested deeper than 100.
MAX_DEPTH = 45
_NUMBER = re.compile(r"([0-9.]+(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)
#: What the parser calls its tokens, for people.
_EXPECTED = {
    "COMPARE": "a comparison such as <",
    "NUMBER": "a number",
    "NAME": "a field",
    "_AND": "and",
    "_OR": "or",
    "_NOT": "not",
    "IN": "in",
    "SIGN": "+ or -",
    "SCALE": "* or /",
    "RPAR": ")",
    "LPAR": "(",
    "RSQB": "]",
    "LSQB": "[",
    "COMMA": "a comma",
    "TEXT": "a text in quotes",
    "$END": "the end",
    "__ANON_0": "..",
}
_EXAMPLE = "write it like 'band_gap < 1.0 and has(Co)'"


@dataclass(frozen=True)
class Number:
    """A number as it was written, exact, with its unit if it has one."""

    value: Fraction
    unit: str | None
    at: int


@dataclass(frozen=True)
class Text:
    """A text in quotes."""

    text: str
    at: int


@dataclass(frozen=True)
class Name:
    """Name of a field, an element, a sublattice, or true or false."""

    name: str
    at: int


@dataclass(frozen=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple[Node, ...]
    at: int
    depth: int


@dataclass(frozen=True)
class Arithmetic:
    """Terms joined by + and -, or by * and /; one operator before each term but the first, or before a single one."""

    terms: tuple[Node, ...]
    operators: tuple[str, ...]
    at: int
    depth: int


@dataclass(frozen=True)
class Comparison:
    """Terms with a comparison between each two neighbours: a < b <= c."""

    terms: tuple[Node, ...]
    operators: tuple[str, ...]
    at: int
    depth: int


@dataclass(frozen=True)
class Membership:
    """A term in a list of values, or in a range with both its ends."""

    term: Node
    values: tuple[Node, ...]
    is_range: bool
    negated: bool
    at: int
    depth: int


@dataclass(frozen=True)
class Logic:
    """Conditions joined by `and` or `or`, or one after `not`."""

    operator: str
    conditions: tuple[Node, ...]
    at: int
    depth: int


Node = Number | Text | Name | Call | Arithmetic | Comparison | Membership | Logic


@dataclass(frozen=True)
class Expression:
    """A query that could be read: its text, and its tree; None matches everything."""

    text: str
    tree: Node | None


def parse(text: str) -> Expression:
    """Return the tree of a query; fields, units and types are checked when it is compiled.

    Raises
    ------
    QueryError
        If it is too long, too deep or cannot be read; the message says where.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"query: longer than {MAX_LENGTH} characters.", mend="split it in two")
    if not text.strip():
        return Expression("", None)
    if not text.isprintable() and not text.replace("\n", " ").replace("\t", " ").replace("\r", " ").isprintable():
        raise QueryError("query: holds characters that cannot be printed.", mend=_EXAMPLE)
    try:
        tree: Any = _parser().parse(text)
    except UnexpectedInput as error:
        raise QueryError(_where(text, error), mend=_EXAMPLE) from error
    return Expression(text, tree.children[0])


def position(text: str, at: int) -> str:
    """Return where in a query something is, for an error: the column, and the text around it with a mark before it."""
    before, after = text[max(0, at - 20) : at], text[at : at + 20]
    return f"at column {at + 1}, {' '.join(f'{before}»{after}'.split())!r}"


def _where(text: str, error: UnexpectedInput) -> str:
    at = error.pos_in_stream if error.pos_in_stream is not None and error.pos_in_stream >= 0 else len(text)
    allowed: set[str] = set(getattr(error, "accepts", None) or getattr(error, "expected", None) or ())
    allowed |= set(getattr(error, "allowed", None) or ())
    words = sorted({_EXPECTED.get(name, "") for name in allowed} - {""})
    expected = f"; expected {', '.join(words[:-1])}{' or ' if words[:-1] else ''}{words[-1]}" if words else ""
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return f"query: {text[-40:]!r} ends too early{expected}."
    return f"query: cannot read it {position(text, at)}{expected}."


class _Build(Transformer[Token, Any]):
    """Make nodes while parsing, so that nothing has to walk a tree that may be too deep."""

    def number(self, tokens: list[Token]) -> Number:
        token = tokens[0]
        found = _NUMBER.fullmatch(str(token))
        assert found is not None
        digits, unit = found.groups()
        size = float(digits)
        # As a fraction 1e-99999999 would fill the memory.
        if not math.isfinite(size) or (size == 0 and re.search("[1-9]", digits.lower().partition("e")[0])):
            raise QueryError(f"query: {digits[:40]} is not between 1e-308 and 1e308.")
        return Number(Fraction(digits), unit or None, _start(token))

    def text(self, tokens: list[Token]) -> Text:
        return Text(str(tokens[0])[1:-1], _start(tokens[0]))

    def name(self, tokens: list[Token]) -> Name:
        return Name(str(tokens[0]), _start(tokens[0]))

    def call(self, parts: list[Any]) -> Call:
        return Call(str(parts[0]), tuple(parts[1:]), _start(parts[0]), _deeper(parts[1:]))

    def signed(self, parts: list[Any]) -> Arithmetic:
        return Arithmetic((parts[1],), (str(parts[0]),), _start(parts[0]), _deeper(parts[1:]))

    def sum(self, parts: list[Any]) -> Arithmetic:
        terms = parts[::2]
        return Arithmetic(tuple(terms), tuple(map(str, parts[1::2])), terms[0].at, _deeper(terms))

    product = sum

    def comparison(self, parts: list[Any]) -> Comparison:
        terms = parts[::2]
        return Comparison(tuple(terms), tuple(map(str, parts[1::2])), terms[0].at, _deeper(terms))

    def between(self, parts: list[Any]) -> tuple[bool, list[Any]]:
        return True, parts

    def values(self, parts: list[Any]) -> tuple[bool, list[Any]]:
        return False, parts

    def membership(self, parts: list[Any]) -> Membership:
        term, token, (is_range, values) = parts
        depth = _deeper([term, *values])
        return Membership(term, tuple(values), is_range, token.type == "NOT_IN", term.at, depth)

    def any_of(self, parts: list[Any]) -> Logic:
        return Logic("or", tuple(parts), parts[0].at, _deeper(parts))

    def all_of(self, parts: list[Any]) -> Logic:
        return Logic("and", tuple(parts), parts[0].at, _deeper(parts))

    def negation(self, parts: list[Any]) -> Logic:
        return Logic("not", tuple(parts), parts[0].at, _deeper(parts))


def _start(token: Token) -> int:
    return token.start_pos or 0


def _deeper(nodes: Sequence[Any]) -> int:
    depth = 1 + max((getattr(node, "depth", 0) for node in nodes), default=0)
    if depth > MAX_DEPTH:
        raise QueryError(f"query: nested deeper than {MAX_DEPTH} levels.", mend="write it with fewer parentheses")
    return depth


@cache
def _parser() -> Lark:
    grammar = files("hemiec.store.queries").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", transformer=_Build(), maybe_placeholders=False)
