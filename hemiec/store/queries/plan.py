"""Which index finds a page with the least work: that of its order, or that of a condition.

MongoDB tries plans against each other by counting steps, of which one that fetches a document takes far longer than one
within an index; so we choose. The indexes of an order hold the values that are asked for most, and conditions on those
are checked without fetching documents; a small one, with the ranked values alone, is quicker to go through. How many
candidates fulfil a condition, and how many all of them, is told by a small index of a random sample; where that is
none, by counting a few entries. Choosing takes an amount of work, not of time, so a busy server chooses as an idle one
does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import ExecutionTimeout

from hemiec.store.database import Document
from hemiec.store.layout.indexes import INDEXES, SAMPLE, Index
from hemiec.store.queries.arithmetic import Filter
from hemiec.store.queries.fields import KEYS, Field

#: Entries of the index of a condition that are counted where there is no sample.
FEW = 1_000
#: Fetching a document takes as long as so many entries of an index.
_FETCH = 25
#: Fewer candidates than this are quick to go through, and a sample of them says little.
_MANY = 50_000
#: Documents of a page; more are asked for rarely.
_PAGE = 100
_DIVE_MS = 1_000


@dataclass(frozen=True)
class Plan:
    """A filter, and the fields of the index to use; None if MongoDB has to choose."""

    matches: Filter
    hint: list[tuple[str, int]] | None


def choose_plan(collection: Collection[Document], matches: Filter, order: Field) -> Plan:
    """Return how to find the documents that fulfil a filter, in an order.

    Raises
    ------
    pymongo.errors.PyMongoError
        If the database cannot be reached.
    """
    asked = set(paths_asked(within_index(matches)))
    ordered = order_index(collection.name, order, asked)
    conditions = _conditions(matches)
    of_conditions = [_holding(collection.name, (path,), asked) for path in conditions if path != ordered.fields[0]]
    others = [index for index in of_conditions if index is not None]
    if not others:
        return _using(ordered, matches)
    sample = _Sample.of(collection, matches)
    costs = {}
    for index in others:
        here: Filter = {"$and": conditions[index.fields[0]]}
        size = None if sample is None else sample.size(here)
        if size is None:
            size = _count(collection, here, index)
        fetched = min(size, sample.found) if sample is not None and _is_wide(index) else size
        costs[index] = size + _FETCH * fetched
    best = min(others, key=costs.__getitem__)
    return _using(best if costs[best] < _walk(sample) else ordered, matches)


def _using(index: Index, matches: Filter) -> Plan:
    return Plan(within_index(matches) if _is_wide(index) else matches, index.keys)


def _is_wide(index: Index) -> bool:
    return "chemsys" in index.fields[1:]


def _walk(sample: _Sample | None) -> float:
    """Return the work of going through an order until a page is full; without a sample that of a few documents."""
    if sample is None:
        return _FETCH * FEW
    return min(sample.total, _PAGE * sample.total / sample.found) + _FETCH * _PAGE


@dataclass
class _Sample:
    """What a random sample of a collection says of all of it.

    Parameters
    ----------
    collection
        The collection.
    total
        Documents in it.
    sampled
        Of them in the sample.
    found
        How many fulfil all conditions of a query that the sample's index knows, estimated.
    """

    collection: Collection[Document]
    total: int
    sampled: int = 0
    found: float = 0.0

    @classmethod
    def of(cls, collection: Collection[Document], matches: Filter) -> _Sample | None:
        """Return the sample; None if there is none, or the collection is small."""
        if collection.name != "candidates" or (total := collection.estimated_document_count()) < _MANY:
            return None
        sample = cls(collection, total)
        sample.sampled = sample._count([])
        if not sample.sampled:
            return None
        sample.found = sample._estimate(
            sample._count([part for part in _all_of(within_index(matches)) if _known(part)])
        )
        return sample

    def size(self, condition: Filter) -> float | None:
        """Return how many documents fulfil a condition, estimated; None if the sample's index does not know."""
        return self._estimate(self._count([condition])) if _known(condition) else None

    def _estimate(self, count: int) -> float:
        return max(count, 0.5) / self.sampled * self.total

    def _count(self, conditions: list[Filter]) -> int:
        return self.collection.count_documents({"$and": [SAMPLE, *conditions]}, hint=_SAMPLED.keys, maxTimeMS=_DIVE_MS)


_SAMPLED = next(index for index in INDEXES["candidates"] if index.only)


def _known(condition: Filter) -> bool:
    """Return whether the sample's index holds all that a condition asks for."""
    return all(
        all(map(_known, part)) if path in ("$and", "$or") else path in _SAMPLED.fields
        for path, part in condition.items()
    )


def order_index(collection: str, order: Field, asked: set[str]) -> Index:
    """Return the index of an order: the smallest that holds all paths that are asked for, else the largest."""
    key = KEYS[collection]
    index = _holding(collection, (order.path,) if order.path == key else (order.path, key), asked)
    if index is None:
        raise ValueError(f"{collection} have no index of {order.name}")
    return index


def _holding(collection: str, first: tuple[str, ...], asked: set[str]) -> Index | None:
    """Return the smallest index with these first fields that holds all that is asked for, else the largest, if any."""
    found = [i for i in INDEXES[collection] if not i.only and i.fields[: len(first)] == first]
    return next((i for i in found if asked <= set(i.fields)), found[-1] if found else None)


def paths_asked(matches: Any) -> Iterator[str]:
    """Yield the paths that a filter asks for, those within `$expr` included."""
    if isinstance(matches, str) and matches.startswith("$") and not matches.startswith("$$"):
        yield matches[1:]
    for part in matches if isinstance(matches, list) else ():
        yield from paths_asked(part)
    for path, part in matches.items() if isinstance(matches, dict) else ():
        if path.startswith("$"):
            yield from paths_asked(part)
        else:
            yield path


def within_index(matches: Any) -> Any:
    """Return a filter that asks for elements by the chemical system, which is text and so can be in a wide index."""
    if isinstance(matches, list):
        return [within_index(part) for part in matches]
    if not isinstance(matches, dict):
        return matches
    found = {path: within_index(part) for path, part in matches.items() if path != "elements"}
    element = matches.get("elements")
    if isinstance(element, str):
        found["chemsys"] = {"$regex": f"(^|-){re.escape(element)}(-|$)"}
    elif isinstance(element, dict) and set(element) == {"$ne"}:
        # MongoDB does not look into the index for `$not`.
        found["chemsys"] = {"$regex": f"^(?!(.*-)?{re.escape(element['$ne'])}(-|$))"}
    elif element is not None:
        found["elements"] = element
    return found


def _conditions(matches: Filter) -> dict[str, list[Filter]]:
    """Return path to the conditions on it that all matches fulfil; those that most documents do are left out."""
    found: dict[str, list[Filter]] = {}
    for part in _all_of(matches):
        for path, condition in part.items():
            if not path.startswith("$") and not (isinstance(condition, dict) and {"$ne", "$nin"} & set(condition)):
                found.setdefault(path, []).append({path: condition})
    return found


def _all_of(matches: Filter) -> Iterator[Filter]:
    yield from ({path: condition} for path, condition in matches.items() if path != "$and")
    for part in matches.get("$and", []):
        yield from _all_of(part)


def _count(collection: Collection[Document], matches: Filter, index: Index) -> float:
    """Return how many entries of an index fulfil a filter; infinite if they are not few."""
    try:
        count = collection.count_documents(matches, limit=FEW + 1, hint=index.keys, maxTimeMS=_DIVE_MS)
    except ExecutionTimeout:
        return math.inf
    return count if count <= FEW else math.inf
