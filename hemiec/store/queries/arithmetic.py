"""Numbers of a query: sums of fields times constants, in one unit."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hemiec.errors import QueryError
from hemiec.store.queries.fields import Field
from hemiec.store.queries.units import converted

Filter = dict[str, Any]

MONGO = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "=": "$eq", "!=": "$ne"}
NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "!=", "!=": "="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
#: A derived bound is this much wider, relative and absolute, so that round-off in MongoDB's sum excludes nothing.
_SLACK = Fraction(1, 10**9)


@dataclass(frozen=True)
class Term:
    """What varies from document to document: a field, or the fraction of a species on a sublattice.

    Parameters
    ----------
    field
        Name, path, unit and lower limit.
    species
        (sublattice, species) of a site fraction, which is stored as text such as '1/5'; None for a field.
    """

    field: Field
    species: tuple[str, str] | None = None

    @property
    def expression(self) -> Any:
        """Return MongoDB's aggregation expression of its value."""
        if self.species is None:
            return f"${self.field.path}"
        parts = {"$split": [{"$ifNull": [f"${self.field.path}", "0"]}, "/"]}
        denominator = {"$ifNull": [{"$arrayElemAt": ["$$parts", 1]}, "1"]}
        quotient = {"$divide": [{"$toDouble": {"$arrayElemAt": ["$$parts", 0]}}, {"$toDouble": denominator}]}
        return {"$let": {"vars": {"parts": parts}, "in": quotient}}


@dataclass(frozen=True)
class Linear:
    """A sum of terms times constants, plus a constant.

    Parameters
    ----------
    terms
        Term to what it is multiplied by.
    constant
        What is added, in `unit`.
    unit
        Unit of the sum; None for plain numbers, which take that of what they are added to or compared with.
    """

    terms: Mapping[Term, Fraction]
    constant: Fraction
    unit: str | None

    @property
    def name(self) -> str:
        """Return its first field, for errors."""
        return next(iter(self.terms)).field.name if self.terms else "the number"

    def plus(self, other: Linear, sign: int = 1) -> Linear:
        """Return the sum (or difference) in one unit.

        Raises
        ------
        QueryError
            If the units do not fit.
        """
        ours, theirs = (self, other) if self.terms or not other.terms else (other, self)
        unit = ours.unit if ours.unit is not None else theirs.unit
        moved = theirs
        if theirs.unit is not None and unit is not None and theirs.unit != unit:
            if theirs.terms:
                raise QueryError(
                    f"query: {ours.name} is in {_said(unit)} and {theirs.name} in {_said(theirs.unit)}; they can "
                    "neither be added nor compared."
                )
            moved = Linear({}, converted(theirs.constant, theirs.unit, unit, ours.name), unit)
        left, right = (ours, moved) if ours is self else (moved, ours)
        terms = dict(left.terms)
        for term, factor in right.terms.items():
            terms[term] = terms.get(term, Fraction(0)) + sign * factor
        kept = {term: factor for term, factor in terms.items() if factor}
        if terms and not kept:
            raise QueryError(f"query: {self.name} cancels out.", mend="compare it with something else")
        return Linear(kept, left.constant + sign * right.constant, unit)

    def times(self, factor: Fraction) -> Linear:
        """Return the product with a plain number."""
        if not factor and self.terms:
            raise QueryError(f"query: {self.name} is multiplied by 0.", mend="leave it out")
        return Linear({term: k * factor for term, k in self.terms.items()}, self.constant * factor, self.unit)


def solved(left: Linear, operator: str, right: Linear) -> tuple[Linear, str]:
    """Return what is compared with 0, and how; a single term stands alone, as its field less a number.

    Raises
    ------
    QueryError
        If the units do not fit, no field is compared, or a number is too large.
    """
    difference = left.plus(right, -1)
    if not difference.terms:
        raise QueryError("query: compares two numbers, but no field.", mend="write it like 'band_gap < 1.0'")
    if len(difference.terms) == 1:
        (factor,) = difference.terms.values()
        operator = operator if factor > 0 else _MIRRORED[operator]
        difference = difference.times(1 / factor)
    try:
        for number in (*difference.terms.values(), difference.constant):
            float(number)
    except OverflowError as error:
        raise QueryError("query: a number is not between -1e308 and 1e308.") from error
    return difference, operator


def condition(left: Linear, operator: str, right: Linear) -> Filter:
    """Return the filter of a comparison of two sums; it holds only where all their fields are known.

    Raises
    ------
    QueryError
        If the units do not fit, no field is compared, or a number is too large.
    """
    difference, sense = solved(left, operator, right)
    if len(difference.terms) == 1:
        (term,) = difference.terms
        return _one(term, sense, float(-difference.constant))
    return _several(difference, sense)


def _one(term: Term, operator: str, number: float) -> Filter:
    if term.species is None:
        different = {"$type": "number"} if operator == "!=" else {}
        return {term.field.path: {MONGO[operator]: number, **different}}
    site_fraction: Filter = {"$expr": {MONGO[operator]: [term.expression, number]}}
    absent = {"<": number > 0, "<=": number >= 0, ">": number < 0, ">=": number <= 0, "=": number == 0}
    return site_fraction if absent.get(operator, number != 0) else present(*term.species) | site_fraction


def present(site: str, species: str) -> Filter:
    """Return the filter of candidates that have a species on a sublattice."""
    element = {} if species == "vacancy" else {"elements": species}
    return element | {f"candidate.sites.{site}.{species}": {"$exists": True}}


def _several(form: Linear, operator: str) -> Filter:
    known = [{term.field.path: {"$type": "number"}} for term in form.terms if term.species is None]
    compared = {"$expr": {MONGO[operator]: [_total(form), float(-form.constant)]}}
    return {"$and": [*known, *_bounds(form, operator), compared]}


def _total(form: Linear) -> Any:
    """Return MongoDB's expression of a sum without its constant, rounded after each term from the first to the last.

    $add of three terms and more is rounded otherwise by each of MongoDB's engines, and nested ones are made one;
    $subtract is left alone, so that columns give the very same sum.
    """
    (first, factor), *others = form.terms.items()
    total = first.expression if factor == 1 else {"$multiply": [float(factor), first.expression]}
    for term, factor in others:
        total = {"$subtract": [total, {"$multiply": [float(-factor), term.expression]}]}
    return total


def _bounds(form: Linear, operator: str) -> list[Filter]:
    """Return what a sum that is limited says of each single field, which an index can answer.

    From ``barrier + barrier.std < 0.5`` and a standard deviation that is never below 0 follows ``barrier <= 0.5``.
    """
    found = []
    for sign, operators in ((1, ("<", "<=", "=")), (-1, (">", ">=", "="))):
        if operator not in operators:
            continue
        factors = {term: sign * factor for term, factor in form.terms.items()}
        for term, factor in factors.items():
            least = [_least(other, k) for other, k in factors.items() if other is not term]
            if term.species is not None or None in least:
                continue
            limit = (-sign * form.constant - sum(x for x in least if x is not None)) / factor
            wider = (abs(limit) + 1) * _SLACK
            if abs(limit) + wider > sys.float_info.max:
                continue
            bound = {"$lte": float(limit + wider)} if factor > 0 else {"$gte": float(limit - wider)}
            found.append({term.field.path: bound})
    return found


def _least(term: Term, factor: Fraction) -> Fraction | None:
    """Return the smallest value of a term times a number; None if there is none."""
    at_least = term.field.at_least
    return factor * Fraction(at_least) if factor > 0 and at_least is not None else None


def _said(unit: str) -> str:
    return "no unit" if unit == "1" else unit
