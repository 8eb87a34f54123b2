"""Two sides with their candidates brought together, and the three rankings that tell rules from data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemiec.ranking.order import Ranking, rank_table
from hemiec.ranking.snapshots.changes import same_rules
from hemiec.ranking.snapshots.sides import Mask, Rows, Side
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.documents import PROPERTIES


class Pair:
    """The candidates of both sides in one list, in the order of their ids, each with its three ranks; 0 for none."""

    def __init__(self, old: Side, new: Side) -> None:
        self.old, self.new = old, new
        self.notes = [*old.notes, *(note for note in new.notes if note not in old.notes)]
        ids = np.union1d(old.table.candidate_id, new.table.candidate_id)
        self.ids = ids
        self.row_old = _places(ids, old.table.candidate_id)
        self.row_new = _places(ids, new.table.candidate_id)
        self.common = np.flatnonzero((self.row_old >= 0) & (self.row_new >= 0))
        self.first = self._ranking(old, old.definition)
        same = same_rules(old.definition, new.definition)
        self.between = self.first if same else self._ranking(old, new.definition)
        self.last = self._ranking(new, new.definition)
        self.rank_old = _taken(self.first.ranks, self.row_old)
        self.rank_between = _taken(self.between.ranks, self.row_old)
        self.rank_new = _taken(self.last.ranks, self.row_new)
        self.in_old, self.in_between = (_taken(_choice(r), self.row_old) for r in (self.first, self.between))
        self.in_new = _taken(_choice(self.last), self.row_new)

    def _ranking(self, side: Side, rules: LeaderboardDefinition) -> Ranking:
        return rank_table(side.table, rules, chosen=self.fulfilling(side, rules.where))

    def fulfilling(self, side: Side, where: str) -> Mask | None:
        """Return which candidates of a side fulfil a condition; None if all do, or, which is noted, nobody can tell."""
        found = side.chosen(where) if where else None
        if where and found is None:
            note = f"Which candidates of {side.id} fulfil '{where}' cannot be told; all of them count."
            self.notes += [note] if note not in self.notes else []
        return found

    @cached_property
    def counting(self) -> list[str]:
        """The properties that count in either definition, in their usual order."""
        named = {c.property for side in (self.old, self.new) for c in side.definition.criteria}
        return [name for name in PROPERTIES if name in named]

    @cached_property
    def changed(self) -> Mapping[str, Mask]:
        """Property to whether the value of a candidate that is in both is another one now."""
        found = {}
        for name in self.counting:
            before = self.old.table.estimates[name].value[self.row_old[self.common]]
            after = self.new.table.estimates[name].value[self.row_new[self.common]]
            found[name] = np.zeros(len(self.ids), dtype=np.bool_)
            found[name][self.common] = (before != after) & ~(np.isnan(before) & np.isnan(after))
        return found

    @cached_property
    def statuses(self) -> NDArray[np.str_]:
        """Status of every candidate; empty for those that are ranked in neither."""
        was, is_now = self.rank_old > 0, self.rank_new > 0
        cases = {
            "up": was & is_now & (self.rank_new < self.rank_old),
            "down": was & is_now & (self.rank_new > self.rank_old),
            "same": was & is_now & (self.rank_new == self.rank_old),
            "entered": is_now & (self.row_old < 0),
            "left": was & (self.row_new < 0),
            "ranked": ~was & is_now & (self.row_old >= 0),
            "unranked": was & ~is_now & (self.row_new >= 0),
        }
        return np.select(list(cases.values()), list(cases), default="")

    def moved_rows(self) -> Rows:
        """Return the candidates that moved, or whose values changed, the best of either rank first."""
        changed = np.logical_or.reduce([np.zeros(len(self.ids), dtype=np.bool_), *self.changed.values()])
        moved = (self.rank_old != self.rank_new) | (changed & ((self.rank_old > 0) | (self.rank_new > 0)))
        rows = np.flatnonzero(moved)
        large = np.iinfo(np.int64).max
        ranks = [np.where(ranks[rows] > 0, ranks[rows], large) for ranks in (self.rank_new, self.rank_old)]
        return rows[np.lexsort((rows, ranks[1], ranks[0], np.minimum(*ranks)))]

    def rank_alone(self, row: int) -> int:
        """Return the rank that a candidate's own new values would give it among the old ones of the others.

        It is 0 if not told: it is not ranked by both, or ties are not shared.
        """
        ties = self.new.definition.ties
        if ties.rule != "shared" or not self.rank_between[row] or not self.rank_new[row]:
            return 0
        mine, before = -self.last.scores[self.row_new[row]], -self.between.scores[self.row_old[row]]
        costs, first = self._groups[0], self._first_of_group(mine, before)
        # Its own old place does not count.
        if first >= 0 and mine - costs[first] <= ties.tolerance:
            return 1 + first - int(before < costs[first])
        return 1 + int(np.searchsorted(costs, mine)) - int(before < mine)

    @cached_property
    def _groups(self) -> tuple[NDArray[np.float64], Rows, NDArray[np.float64]]:
        """The old scores by the new rules, negated and ascending; where groups of equal ones begin, and with which."""
        scores, ranks = self.between.scores, self.between.ranks
        costs = np.sort(-scores[~np.isnan(scores)])
        firsts = np.unique(ranks[ranks > 0]) - 1
        return costs, firsts, costs[firsts]

    def _first_of_group(self, mine: float, before: float) -> int:
        """Return the place of the best of the last group that begins at a negated score or before; -1 if there is none.

        That is of the groups of all but one candidate, whose own was ``before``.
        """
        costs, firsts, bests = self._groups
        last = int(np.searchsorted(bests, mine, side="right")) - 1
        place = int(np.searchsorted(costs, before))
        own = int(np.searchsorted(firsts, place))
        shares = place + 1 < len(costs) and costs[place + 1] == before
        if before > mine or shares or own == len(firsts) or firsts[own] != place:
            return int(firsts[last]) if last >= 0 else -1
        # It is the best of a group itself; without it, groups are others from there on, until one begins as before.
        first, after = int(firsts[own - 1]) if own else -1, place + 1
        while after < len(costs) and costs[after] <= mine:
            own = int(np.searchsorted(firsts, after))
            if own < len(firsts) and firsts[own] == after:
                return int(firsts[last])
            first, after = after, self._end_of_group(after)
        return first

    def _end_of_group(self, first: int) -> int:
        """Return the first place that is too far behind the best of a group to be equal."""
        costs, tolerance = self._groups[0], self.new.definition.ties.tolerance
        end = max(first + 1, int(np.searchsorted(costs, costs[first] + tolerance)))
        # The sum is rounded otherwise than the difference, which decides.
        while end < len(costs) and costs[end] - costs[first] <= tolerance:
            end += 1
        while end > first + 1 and costs[end - 1] - costs[first] > tolerance:
            end -= 1
        return end

    def label(self, row: int) -> str:
        """Return the short formula of a candidate."""
        place = self.row_new[row]
        return self.new.table.label[place] if place >= 0 else self.old.table.label[self.row_old[row]]


def _places(ids: NDArray[np.str_], some: NDArray[np.str_]) -> Rows:
    """Return where each of ``ids`` is in ``some``, both ascending; -1 for those that are not in it."""
    if not len(some):
        return np.full(len(ids), -1)
    places = np.minimum(np.searchsorted(some, ids), len(some) - 1)
    return np.where(some[places] == ids, places, -1)


def _taken(values: NDArray[Any], places: Rows) -> NDArray[Any]:
    """Return values at places; 0 or false where there is none."""
    found = np.zeros(len(places), dtype=values.dtype)
    there = places >= 0
    found[there] = values[places[there]]
    return found


def _choice(ranking: Ranking) -> Mask:
    return np.ones(len(ranking.table), dtype=np.bool_) if ranking.chosen is None else ranking.chosen
