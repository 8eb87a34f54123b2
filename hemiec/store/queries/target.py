"""What a query can be written as: a filter of MongoDB, rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from hemiec.store.queries.arithmetic import Linear
from hemiec.store.queries.fields import Field

T = TypeVar("T")


class Target(Protocol[T]):
    """What conditions are written as: `not` has been moved inwards, so each is told in the way that it is to hold."""

    def all_of(self, parts: Sequence[T]) -> T:
        """Return that all hold; there is one at least."""

    def any_of(self, parts: Sequence[T]) -> T:
        """Return that one of them holds; there is one at least."""

    def compare(self, left: Linear, operator: str, right: Linear) -> T:
        """Return a comparison of two sums, which holds only where all their fields are known."""

    def truth(self, field: Field, wanted: bool) -> T:
        """Return that a field is true, or false."""

    def texts(self, field: Field, values: Sequence[str], wanted: bool) -> T:
        """Return that a text is known and one of some, or none of them; or that a list has one, or none, of them."""

    def dates(self, field: Field, first: str, after: str, inside: bool) -> T:
        """Return that a date is known and in ``first <= date < after``, or outside; an empty end is open."""

    def known(self, field: Field, wanted: bool) -> T:
        """Return that a field has a value (a list: an entry), or none."""

    def has(self, element: str, wanted: bool) -> T:
        """Return that an element is there, or not."""

    def has_on(self, site: str, species: str, wanted: bool) -> T:
        """Return that a species is on a sublattice, or not."""
