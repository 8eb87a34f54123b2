"""Where a page ended, as a text that fits into a web address."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from hemiec.errors import QueryError

_MAX_LENGTH = 1_000


@dataclass(frozen=True)
class Position:
    """The last document of a page: its value of the sort key (None if it has none), and its key."""

    value: float | str | None
    key: str


def encode(position: Position, query: tuple[Any, ...]) -> str:
    """Return the cursor of a position within a query."""
    text = json.dumps([_mark(query), position.value, position.key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, query: tuple[Any, ...]) -> Position:
    """Return the position that a cursor stands for.

    Raises
    ------
    QueryError
        If it is none, or belongs to another query.
    """
    broken = QueryError("query: the cursor cannot be read.", mend="copy `next` of the page before as it stands")
    if len(cursor) > _MAX_LENGTH or not cursor.isascii():
        raise broken
    try:
        content = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        mark, value, key = content
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise broken from None
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
    if not isinstance(key, str) or not isinstance(mark, str) or not (number or value is None or isinstance(value, str)):
        raise broken
    if mark != _mark(query):
        raise QueryError("query: the cursor belongs to another query or order.", mend="start again without it")
    return Position(value, key)


def _mark(query: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps(query).encode()).hexdigest()[:12]
