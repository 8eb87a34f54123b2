"""The query language, compiled to MongoDB filters, or to whatever else its leaves are written as.

``band_gap < 1.0 and has(Co) and not has(Pb) and n_species(A) >= 5 and barrier + barrier.std < 0.5``. Names, units and
types are checked against the schemas; nothing of MongoDB's own language gets through.

A condition on a field without a value is neither true nor false but unknown, as in SQL: neither ``band_gap < 1`` nor
``not (band_gap < 1)`` finds a candidate without a gap; ``missing(band_gap)`` does. ``not`` is moved inwards to the
comparisons, which have a negation each that is not true of what is unknown either.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Generic, TypeVar

from pymatgen.core import Element

from hemiec.composition.descriptors import SITES
from hemiec.composition.fractions import VACANCY
from hemiec.errors import QueryError, did_you_mean
from hemiec.store.queries.arithmetic import NEGATED, Filter, Linear, Term
from hemiec.store.queries.fields import Field, field_named, fields_of, species_field
from hemiec.store.queries.filters import MongoFilters
from hemiec.store.queries.syntax import (
    Arithmetic,
    Call,
    Comparison,
    Expression,
    Logic,
    Membership,
    Name,
    Node,
    Number,
    Text,
    parse,
    position,
)
from hemiec.store.queries.target import Target

__all__ = ["Expression", "compile", "parse"]

T = TypeVar("T")

#: Function to how it is written.
FUNCTIONS = {
    "has": "has(Co), has(Co, B)",
    "fraction": "fraction(A, La)",
    "n_species": "n_species(A)",
    "known": "known(band_gap)",
    "missing": "missing(band_gap)",
}
_NUMERIC = {"fraction", "n_species"}
_TRUTH = {"true": True, "false": False}


def compile(expression: str | Expression, collection: str = "candidates") -> Filter:
    """Return the MongoDB filter of a query; that of an empty one matches everything.

    Parameters
    ----------
    expression
        What is asked for, as text or parsed.
    collection
        Whose fields it names: candidates, hops or structures.

    Raises
    ------
    QueryError
        If it cannot be read, names an unknown field, function, element or unit, or mixes types or units.
    """
    found = compiled(expression, MongoFilters(), collection)
    return {} if found is None else found


def compiled(expression: str | Expression, target: Target[T], collection: str = "candidates") -> T | None:
    """Return a query as a target writes it; None if it is empty and matches everything.

    Raises
    ------
    QueryError
        As :func:`compile`.
    """
    fields_of(collection)  # says if there is no such collection
    parsed = parse(expression) if isinstance(expression, str) else expression
    return None if parsed.tree is None else _Compiler(parsed.text, collection, target).condition(parsed.tree, True)


class _Compiler(Generic[T]):
    """One query on one collection."""

    def __init__(self, text: str, collection: str, target: Target[T]) -> None:
        self.text = text
        self.collection = collection
        self.target = target

    def condition(self, node: Node, wanted: bool) -> T:
        """Return what says that a condition is true, or (not wanted) false."""
        if isinstance(node, Logic):
            return self._logic(node, wanted)
        if isinstance(node, Comparison):
            return self._chain(node, wanted)
        if isinstance(node, Membership):
            return self._membership(node, wanted)
        if isinstance(node, Call) and node.name not in _NUMERIC:
            return self._asked(node, wanted)
        if isinstance(node, Name):
            field = self._field(node)
            if field.kind == "truth":
                return self.target.truth(field, wanted)
        raise self._error(node, "expected a comparison or a function such as has(Co)")

    def _joined(self, parts: Sequence[T], every: bool) -> T:
        return self.target.all_of(parts) if every else self.target.any_of(parts)

    def _logic(self, node: Logic, wanted: bool) -> T:
        if node.operator == "not":
            return self.condition(node.conditions[0], not wanted)
        parts = [self.condition(part, wanted) for part in node.conditions]
        return self._joined(parts, (node.operator == "and") == wanted)

    def _chain(self, node: Comparison, wanted: bool) -> T:
        parts = [
            self._compare(left, "=" if operator == "==" else operator, right, wanted)
            for left, operator, right in zip(node.terms[:-1], node.operators, node.terms[1:], strict=True)
        ]
        return self._joined(parts, wanted)

    def _compare(self, left: Node, operator: str, right: Node, wanted: bool) -> T:
        for one, other, mirrored in ((left, right, False), (right, left, True)):
            if isinstance(one, Name) and one.name not in _TRUTH:
                field = self._field(one)
                if field.kind == "number":
                    continue
                sense = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(operator, operator) if mirrored else operator
                return self._not_number(field, sense if wanted else NEGATED[sense], other)
        sense = operator if wanted else NEGATED[operator]
        return self.target.compare(self._number(left), sense, self._number(right))

    def _not_number(self, field: Field, operator: str, other: Node) -> T:
        if field.kind == "truth":
            value = _TRUTH.get(other.name) if isinstance(other, Name) else None
            if value is None or operator not in ("=", "!="):
                raise self._error(other, f"{field.name} is true or false; write {field.name} or not {field.name}")
            return self.target.truth(field, value == (operator == "="))
        if not isinstance(other, Text):
            raise self._error(other, f'{field.name} is {_said(field)}; compare it with one in quotes, as in = "..."')
        if field.kind == "date":
            return self._date(field, operator, other)
        if operator not in ("=", "!="):
            raise self._error(other, f"{field.name} is {_said(field)}; only = != and in go with it")
        return self.target.texts(field, [other.text], operator == "=")

    def _date(self, field: Field, operator: str, text: Text) -> T:
        """Compare as text, which is how dates are stored: ISO 8601 in UTC; a date alone is the whole day."""
        try:
            if len(text.text) == len("2026-11-22"):
                day = date.fromisoformat(text.text)
                first, after = day.isoformat(), (day + timedelta(days=1)).isoformat()
            else:
                moment = datetime.fromisoformat(text.text)
                if moment.tzinfo is not None:
                    moment = (moment - (moment.utcoffset() or timedelta())).replace(tzinfo=None)
                first = moment.isoformat()
                after = (moment + timedelta(microseconds=1)).isoformat()
        except (ValueError, OverflowError):
            raise self._error(text, f'{field.name} is a date; write it like "2026-11-22"') from None
        ranges = {"<": ("", first), "<=": ("", after), ">": (after, ""), ">=": (first, ""), "=": (first, after)}
        return self.target.dates(field, *ranges.get(operator, (first, after)), operator != "!=")

    def _membership(self, node: Membership, wanted: bool) -> T:
        wanted = wanted != node.negated
        field = self._field(node.term) if isinstance(node.term, Name) else None
        if node.is_range:
            low, high = node.values
            parts = [self._compare(node.term, ">=", low, wanted), self._compare(node.term, "<=", high, wanted)]
            return self._joined(parts, wanted)
        texts = [value.text for value in node.values if isinstance(value, Text)]
        if field is not None and field.kind in ("text", "texts") and len(texts) == len(node.values):
            return self.target.texts(field, texts, wanted)
        return self._joined([self._compare(node.term, "=", value, wanted) for value in node.values], not wanted)

    def _asked(self, node: Call, wanted: bool) -> T:
        """Compile a function that is true or false."""
        self._function(node)
        arguments = [argument.name for argument in node.arguments if isinstance(argument, Name)]
        how = f"write it like {FUNCTIONS[node.name]}"
        if len(arguments) != len(node.arguments) or not 1 <= len(arguments) <= (2 if node.name == "has" else 1):
            raise self._error(node, how)
        if node.name != "has":
            argument = node.arguments[0]
            assert isinstance(argument, Name)
            return self.target.known(self._field(argument), wanted == (node.name == "known"))
        element = self._element(arguments[0], node.arguments[0])
        if len(arguments) == 1:
            return self.target.has(element, wanted)
        return self.target.has_on(self._site(arguments[1], node.arguments[1]), element, wanted)

    def _number(self, node: Node) -> Linear:
        if isinstance(node, Number):
            return Linear({}, node.value, node.unit)
        if isinstance(node, Name):
            field = self._field(node)
            if field.kind != "number":
                raise self._error(node, f"{field.name} is {_said(field)}, not a number")
            return Linear({Term(field): Fraction(1)}, Fraction(0), field.unit)
        if isinstance(node, Call):
            self._function(node)
            if node.name in _NUMERIC:
                return self._counted(node)
            raise self._error(node, f"{node.name} is true or false, not a number")
        if isinstance(node, Arithmetic):
            return self._arithmetic(node)
        what = "a text" if isinstance(node, Text) else "a condition"
        raise self._error(node, f"{what} stands where a number is expected")

    def _arithmetic(self, node: Arithmetic) -> Linear:
        numbers = [self._number(term) for term in node.terms]
        if len(numbers) == 1:
            return numbers[0].times(Fraction(-1 if node.operators[0] == "-" else 1))
        result = numbers[0]
        for operator, number in zip(node.operators, numbers[1:], strict=True):
            if operator in "+-":
                result = result.plus(number, 1 if operator == "+" else -1)
            else:
                result = self._scaled(result, operator, number, node)
        return result

    def _scaled(self, left: Linear, operator: str, right: Linear, node: Node) -> Linear:
        if operator == "*" and not left.terms and left.unit is None:
            left, right = right, left
        if right.terms or right.unit is not None:
            raise self._error(node, f"{right.name} has to be a plain number: * and / are by constants only")
        if operator == "/" and not right.constant:
            raise self._error(node, "division by zero")
        return left.times(right.constant if operator == "*" else 1 / right.constant)

    def _counted(self, node: Call) -> Linear:
        """Return `n_species(A)` or `fraction(A, La)`."""
        names = [argument.name for argument in node.arguments if isinstance(argument, Name)]
        if len(names) != len(node.arguments) or len(names) != (1 if node.name == "n_species" else 2):
            raise self._error(node, f"write it like {FUNCTIONS[node.name]}")
        site = self._site(names[0], node)
        if node.name == "n_species":
            return Linear({Term(species_field(site)): Fraction(1)}, Fraction(0), "1")
        species = VACANCY if names[1] == VACANCY else self._element(names[1], node)
        about = f"fraction({site}, {species})"
        field = Field(about, f"candidate.sites.{site}.{species}", "number", "1", "Site fraction.", 0.0)
        return Linear({Term(field, (site, species)): Fraction(1)}, Fraction(0), "1")

    def _field(self, node: Name) -> Field:
        return field_named(node.name, self.collection)

    def _function(self, node: Call) -> None:
        if node.name not in FUNCTIONS:
            raise self._error(node, f"unknown function {node.name[:40]!r}; {did_you_mean(node.name[:40], FUNCTIONS)}")

    def _element(self, name: str, node: Node) -> str:
        if not Element.is_valid_symbol(name):
            near = did_you_mean(name[:20], {element.value for element in Element})
            hint = f"; {near}" if near.startswith("did you mean") else ", as in has(Co)"
            raise self._error(node, f"{name[:20]!r} is not the symbol of an element{hint}")
        return name

    def _site(self, name: str, node: Node) -> str:
        if self.collection != "candidates":
            raise self._error(node, f"{self.collection} have no sublattices; has(Co) asks for an element")
        if name not in SITES:
            raise self._error(node, f"expected a sublattice ({', '.join(SITES)}), got {name[:20]!r}")
        return name

    def _error(self, node: Node, message: str) -> QueryError:
        return QueryError(f"query: {message}, {position(self.text, node.at)}.")


def _said(field: Field) -> str:
    return {"texts": "a list of texts", "text": "text", "truth": "true or false", "date": "a date"}.get(
        field.kind, f"a number in {field.unit}"
    )
