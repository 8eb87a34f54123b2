"""The conditions of a query as MongoDB's filters."""

from __future__ import annotations

from collections.abc import Sequence

from hemiec.store.queries.arithmetic import Filter, Linear, condition, present
from hemiec.store.queries.fields import Field

_TYPES = {"number": "number", "text": "string", "date": "string", "truth": "bool"}


class MongoFilters:
    """A `Target`: conditions as MongoDB's filters."""

    def all_of(self, parts: Sequence[Filter]) -> Filter:
        """Return the filter of what all hold for."""
        return parts[0] if len(parts) == 1 else {"$and": list(parts)}

    def any_of(self, parts: Sequence[Filter]) -> Filter:
        """Return the filter of what one of them holds for."""
        return parts[0] if len(parts) == 1 else {"$or": list(parts)}

    def compare(self, left: Linear, operator: str, right: Linear) -> Filter:
        """Return the filter of a comparison of two sums."""
        return condition(left, operator, right)

    def truth(self, field: Field, wanted: bool) -> Filter:
        """Return the filter of a field that is true, or false."""
        return {field.path: wanted}

    def texts(self, field: Field, values: Sequence[str], wanted: bool) -> Filter:
        """Return the filter of a text, or list, that has one of some texts, or none."""
        if wanted:
            return {field.path: values[0] if len(values) == 1 else {"$in": list(values)}}
        # A list without the text does not have it; a text that is missing is unknown.
        known = {} if field.kind == "texts" else {"$type": "string"}
        return {field.path: {"$nin": list(values), **known}}

    def dates(self, field: Field, first: str, after: str, inside: bool) -> Filter:
        """Return the filter of a date within ``first <= date < after``, or outside."""
        if inside:
            ends = {"$gte": first, "$lt": after}
            return {field.path: {operator: end for operator, end in ends.items() if end}}
        return {"$or": [{field.path: {"$lt": first}}, {field.path: {"$gte": after}}]}

    def known(self, field: Field, wanted: bool) -> Filter:
        """Return the filter of a field with a value, or without."""
        if field.kind == "texts":
            return {f"{field.path}.0": {"$exists": wanted}}
        return {field.path: {"$type": _TYPES[field.kind]} if wanted else None}

    def has(self, element: str, wanted: bool) -> Filter:
        """Return the filter of an element that is there, or not."""
        return {"elements": element if wanted else {"$ne": element}}

    def has_on(self, site: str, species: str, wanted: bool) -> Filter:
        """Return the filter of a species that is on a sublattice, or not."""
        return present(site, species) if wanted else {f"candidate.sites.{site}.{species}": {"$exists": False}}
