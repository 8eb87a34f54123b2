"""From a filter in OPTIMADE to one in MongoDB: the library's, with types checked and text taken literally."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from lark import v_args
from lark.exceptions import LarkError, VisitError
from optimade.exceptions import BadRequest
from optimade.filterparser import LarkParser
from optimade.filtertransformers.mongo import MongoTransformer
from optimade.server.mappers import BaseResourceMapper

from hemiec.errors import did_you_mean

#: The library's parser takes time that grows faster than the length.
MAX_LENGTH = 2_000
#: The library copies a filter once for every level of nesting.
MAX_DEPTH = 20
_MAX_INTEGER = 2**63
_SHOWN = 60
_ORDERED = {"$lt", "$lte", "$gt", "$gte", "$eq", "$ne"}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "float": (int, float),
    "timestamp": (datetime,),
}


class _Name(str):
    """The name of a field, where the library returns a plain string."""


def compile_filter(
    text: str, parser: LarkParser, mapper: BaseResourceMapper, types: dict[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the MongoDB filter of an expression, and remarks on what in it was ignored.

    Parameters
    ----------
    text
        The expression; an empty one matches everything.
    parser
        The library's.
    mapper
        Knows the fields of the entry type.
    types
        Field to OPTIMADE type: string, integer, float, timestamp, list or dictionary.

    Raises
    ------
    BadRequest
        If it cannot be read, is too long or too deep, names an unknown field, or compares different types.
    NotImplementedError
        For parts of the language that the library does not have.
    """
    if not text.strip():
        return {}, []
    _check_size(text)
    transformer = _Transformer(mapper, types)
    try:
        return transformer.transform(parser.parse(text)), transformer.remarks
    except BadRequest as error:
        # The parser quotes all of a filter with a picture of where it stopped.
        if str(error.detail).startswith("Unable to parse filter"):
            raise BadRequest(f"filter: cannot read {text[:_SHOWN]!r}; write it like nelements>4.") from error
        raise
    except VisitError as error:
        if isinstance(error.orig_exc, BadRequest | NotImplementedError):
            raise error.orig_exc from error
        raise BadRequest(f"filter: cannot use {text[:_SHOWN]!r}.") from error
    except (LarkError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise BadRequest(f"filter: cannot use {text[:_SHOWN]!r}.") from error


def _check_size(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"filter: longer than {MAX_LENGTH} characters.")
    depth = deepest = 0
    for character in re.sub(r'"(\\.|[^"\\])*"', "", text):
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise BadRequest(f"filter: nested deeper than {MAX_DEPTH} levels.")


class _Transformer(MongoTransformer):
    """The library's transformer for one filter.

    It differs in this: text in CONTAINS, STARTS and ENDS is no regular expression, values have the type of their
    field, `_id` is not a field, and what is not supported is refused instead of matching nothing.
    """

    def __init__(self, mapper: BaseResourceMapper, types: dict[str, str]) -> None:
        super().__init__(mapper)
        self.types = types
        self.remarks: list[str] = []

    def property(self, args: list[Any]) -> _Name:
        """Return the name of a field, after a look whether it is there."""
        name = str(args[0])
        foreign = re.fullmatch(r"_([a-z][a-z0-9]*)_.+", name)
        known = self.types.keys() | self.mapper.RELATIONSHIP_ENTRY_TYPES
        if name not in known:
            if foreign is None or foreign[1] in self.mapper.SUPPORTED_PREFIXES:
                raise BadRequest(f"filter: unknown field {name[:_SHOWN]!r}; {_near(name, known)}")
            self.remarks.append(f"filter: {name[:_SHOWN]} is unknown here and was taken to have no value.")
        return _Name(".".join([name, *map(str, args[1:])]))

    @v_args(inline=True)
    def value(self, value: Any) -> Any:
        """Return a value; a field cannot be one."""
        if isinstance(value, _Name):
            raise NotImplementedError(f"filter: {value!s:.60} is a field; only values can be compared with.")
        return value

    @v_args(inline=True)
    def string(self, string: str) -> str:
        """Return a text without its quotes and escapes."""
        return re.sub(r"\\(.)", r"\1", str(string)[1:-1], flags=re.DOTALL)

    @v_args(inline=True)
    def number(self, number: Any) -> int | float:
        """Return a number that MongoDB can hold."""
        return _checked(int(number) if number.type == "SIGNED_INT" else float(number))

    @v_args(inline=True)
    def signed_int(self, number: Any) -> int | float:
        """Return a length."""
        length = int(number)
        if not 0 <= length < 2**31:
            raise BadRequest("filter: expected a length from 0 on.")
        return length

    def fuzzy_string_op_rhs(self, arg: list[Any]) -> dict[str, Any]:
        """Return a match with literal text."""
        text = arg[-1]
        if not isinstance(text, str):
            raise BadRequest(f"filter: {arg[0]} expects text in double quotes.")
        if "\0" in text:
            raise BadRequest("filter: text with a null character.")
        return super().fuzzy_string_op_rhs([*arg[:-1], re.escape(text)])

    @v_args(inline=True)
    def property_first_comparison(self, name: Any, query: dict[str, Any]) -> dict[str, Any]:
        """Return a condition on a field, after a look whether the types fit."""
        if not isinstance(name, _Name):
            raise BadRequest("filter: expected a field on one side of a comparison.")
        kind = self.types.get(str(name))
        if kind is not None:
            query = {operator: self._fitting(name, kind, operator, value) for operator, value in query.items()}
        return super().property_first_comparison(str(name), query)

    def _fitting(self, name: str, kind: str, operator: str, value: Any) -> Any:
        """Return the value of a condition in the type of its field."""
        if operator == "#known":
            return value
        of_list = operator in ("$in", "$all", "$size", "#only")
        if of_list != (kind == "list"):
            usage = "HAS, HAS ANY, HAS ALL, HAS ONLY and LENGTH" if kind == "list" else "comparisons"
            raise BadRequest(f"filter: {name} is a {kind}; use {usage} with it.")
        if operator == "$size" and isinstance(value, dict) and self.mapper.length_alias_for(name) is None:
            raise NotImplementedError(f"filter: {name} LENGTH supports = only.")
        if of_list:
            return value
        if operator == "$regex" and kind != "string":
            raise BadRequest(f"filter: {name} is a {kind}; CONTAINS, STARTS and ENDS are for text.")
        if kind == "timestamp" and isinstance(value, str):
            value = _moment(value)
        if not isinstance(value, _PYTHON_TYPES[kind]):
            raise BadRequest(f"filter: {name} is a {kind}, got {str(value)[:_SHOWN]!r}.")
        return value

    def _apply_mongo_id_filter(self, filter_: dict[str, Any]) -> dict[str, Any]:
        """Leave the filter as it is: `_id` is not a field."""
        return filter_

    def _apply_mongo_date_filter(self, filter_: dict[str, Any]) -> dict[str, Any]:
        """Leave the filter as it is: times are times already."""
        return filter_


def _checked(number: float) -> int | float:
    if isinstance(number, int) and abs(number) >= _MAX_INTEGER:
        return float(number)
    return number


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(f"filter: expected a time such as 2030-01-31T12:00:00Z, got {text[:_SHOWN]!r}.") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _near(name: str, known: Any) -> str:
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did you mean") else "see info/structures."
