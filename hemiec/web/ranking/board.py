"""What is asked of the table of candidates: which of them, ranked how, in which order. Answers are kept for a while."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import InputError, did_you_mean
from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.order import Ranking, rank_table
from hemiec.ranking.table import Floats
from hemiec.schemas.definition import Criterion, LeaderboardDefinition
from hemiec.schemas.documents import PROPERTIES
from hemiec.schemas.leaderboard import WeightRange
from hemiec.web.ranking.latest import Kept, Latest, compute
from hemiec.web.ranking.standing import best_row, best_standing, contenders
from hemiec.web.ranking.table import LiveTable

if TYPE_CHECKING:
    from hemiec.ranking.probability import RankDraws

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
#: Pareto layers of more candidates than this take longer than an answer may.
MAX_LAYERED = 20_000
#: Draws are over no more than so many, the best by score.
MAX_DRAWN = 20_000
#: Draws of an answer unless others are asked for.
DRAWS = 200
#: Answers kept, of the latest questions: choices of a megabyte, rankings of some 20 for a million candidates each.
_CHOICES, _RULES, _RANKINGS, _DRAWS, _FRONTS, _PAPERS = 16, 3, 6, 8, 8, 2
#: Requests that wait for a ranking, which is quick, and which each needs.
_WAITING = 12
#: Candidates whose doubts are kept.
_DOUBTS = 10_000


@dataclass(frozen=True)
class Filter:
    """Which candidates are asked for.

    Parameters
    ----------
    where
        Conditions in the query language, each to be fulfilled.
    campaign
        Only those that this campaign asked for; None for all.
    elements
        Elements that they have, all of them.
    without
        Elements that they do not have, none of them.
    """

    where: tuple[str, ...] = ()
    campaign: str | None = None
    elements: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked:
    """Candidates under a filter, ranked.

    Parameters
    ----------
    board
        What they are of.
    ranking
        Scores and ranks of all rows of the table.
    chosen
        Those under the filter, shape=(n_candidates,).
    key
        What tells this answer from others.
    unweighted
        What tells it from those by other scales, or of other candidates.
    """

    board: Board
    ranking: Ranking
    chosen: Mask
    key: Hashable
    unweighted: Hashable

    @property
    def table(self) -> LiveTable:
        """The candidates."""
        return self.board.table

    @property
    def definition(self) -> LeaderboardDefinition:
        """The rules with the weights of this answer."""
        return self.ranking.definition

    @cached_property
    def n_found(self) -> int:
        """How many are under the filter."""
        return int(np.count_nonzero(self.chosen))

    @cached_property
    def n_ranked(self) -> int:
        """How many of them are ranked."""
        return self.ranking.n_ranked

    def page(self, sort: str, *, descending: bool, first: int, limit: int) -> tuple[Rows, NDArray[np.int64]]:
        """Return the rows of one page, and their ranks; candidates without what they are sorted by come last, by ids.

        Parameters
        ----------
        sort
            rank, label or a property.
        descending
            Whether the largest come first.
        first, limit
            Place of the first row, from 0, and how many.

        Raises
        ------
        InputError
            If there is no such order.
        """
        from hemiec.ranking.scoring import best_rows

        if sort == "rank" and not descending and first + limit <= self.n_ranked:
            return best_standing(self.ranking, first, limit)
        key = self._key(sort)
        keyed = np.where(self.chosen, key if descending else -key, np.nan)
        rows = best_rows(keyed, first, limit)
        if len(rows) < limit:
            rest = np.flatnonzero(self.chosen & np.isnan(key))
            n_known = self.n_found - len(rest)
            begin = max(0, first - n_known)
            rows = np.concatenate([rows, rest[begin : begin + limit - len(rows)]])
        return rows, self.ranking.ranks[rows]

    def _key(self, sort: str) -> Floats:
        if sort == "rank":
            ranks = self.ranking.ranks
            return np.where(ranks > 0, ranks, np.nan)
        if sort == "label":
            return self.table.label_order
        if sort not in PROPERTIES:
            raise InputError(f"sort: no {sort[:60]!r}; {did_you_mean(sort[:60], ('rank', 'label', *PROPERTIES))}")
        return self.table.table.estimates[sort].value

    @property
    def scales(self) -> str:
        """What the rules say beside their weights."""
        return _scales(self.definition)

    def layers(self) -> NDArray[np.int64] | None:
        """Return the Pareto layers, 0 for who is not ranked; None if there are too many candidates."""
        return self.board.layers(self)

    def draws(self, n: int) -> RankDraws:
        """Return where the best may stand, from random draws."""
        return self.board.draws(self, n)

    def sensitivity(self) -> list[WeightRange]:
        """Return how far each weight can move before another candidate wins; nothing if none is ranked."""
        return self.board.sensitivity(self)

    def rows(self, rows: Rows, ranks: NDArray[np.int64] | None = None) -> list[dict[str, Any]]:
        """Return what a list says of some candidates, without their doubts.

        Parameters
        ----------
        rows
            The candidates.
        ranks
            Their ranks, 0 for who has none; if they are not known, all are ranked.
        """
        table, layers = self.table, self.layers()
        if ranks is None:
            ranks = self.ranking.ranks[rows]
        formulas = table.formula.take(rows).to_pylist()
        layered = np.zeros(len(rows), dtype=np.int64) if layers is None else layers[rows]
        counted = [criterion.property for criterion in self.definition.criteria]
        columns = (
            table.table.candidate_id[rows].tolist(), table.labels.take(rows), formulas, ranks.tolist(),
            self.ranking.scores[rows].tolist(), layered.tolist(), table.values(rows),
        )  # fmt: skip
        return [
            {
                "candidate_id": key,
                "label": label,
                "formula": formula,
                "rank": rank or None,
                "score": score if rank else None,
                "pareto_layer": layer or None,
                "missing": [name for name in counted if values[name]["value"] is None],
                "values": values,
            }
            for key, label, formula, rank, score, layer, values in zip(*columns, strict=True)
        ]


class Board:
    """One table, and the latest answers from it.

    Parameters
    ----------
    table
        The candidates.
    """

    def __init__(self, table: LiveTable) -> None:
        self.table = table
        self._choices = Latest(_CHOICES)
        self._rules = Latest(_RULES)
        self._rankings = Latest(_RANKINGS, waiting=_WAITING)
        self._layers = Latest(_RANKINGS)
        self._ranges = Latest(_DRAWS)
        self._contenders = Latest(_RANKINGS)
        self._draws = Latest(_DRAWS)
        self._fronts = Latest(_FRONTS)
        self.doubts = Kept(_DOUBTS)
        #: Tables for papers, which take seconds.
        self.papers = Latest(_PAPERS, waiting=3)

    def warm(self) -> None:
        """Answer the first questions, so that who asks them does not wait for kernels to be loaded."""
        found = self.ranked(DEFAULT, {}, Filter())
        compute(self.table, "label_order")
        self.table.columns["elements"]  # read from the file, and kept
        self.sensitivity(found)
        self.draws(found, DRAWS)

    def choice(self, asked: Filter) -> Mask:
        """Return which candidates a filter finds, shape=(n_candidates,).

        Raises
        ------
        QueryError
            If a condition is wrong.
        """
        return self._choices.get(asked, lambda: self._chosen(asked))

    def ranked(self, definition: LeaderboardDefinition, weights: Mapping[str, float], asked: Filter) -> Ranked:
        """Return candidates under a filter ranked by a definition.

        Parameters
        ----------
        definition
            The rules; its own condition is applied too.
        weights
            Other weights by property; 0 takes a criterion out.
        asked
            The filter.

        Raises
        ------
        InputError
            If a weight or a condition is wrong.
        Problem
            If too many rankings are asked for at once, as from everything else here that has to be worked out.
        """
        own = (definition.where,) if definition.where.strip() else ()
        asked = replace(asked, where=(*own, *asked.where))
        rules = definition.model_dump_json()
        key = (rules, tuple(sorted(weights.items())), asked)

        def make() -> Ranked:
            chosen = self.choice(asked)
            found = self._ruled(rules, definition).with_weights(weights).among(chosen)
            compute(found, "scores")
            return Ranked(self, found, chosen, key, (_scales(found.definition), asked))

        return self._rankings.get(key, make)

    def layers(self, found: Ranked) -> NDArray[np.int64] | None:
        """Return the Pareto layers of ranked candidates; None if there are too many."""
        return (
            None if found.n_ranked > MAX_LAYERED else self._layers.get(found.unweighted, lambda: found.ranking.layers)
        )

    def sensitivity(self, found: Ranked) -> list[WeightRange]:
        """Return how far each weight can move before another candidate wins."""
        return self._ranges.get(found.key, lambda: self._weight_ranges(found))

    def draws(self, found: Ranked, n: int) -> RankDraws:
        """Return where the best candidates by score may stand, from n random draws."""
        from hemiec.ranking.probability import draw_ranks

        ranking = found.ranking
        return self._draws.get(
            (found.key, n),
            lambda: draw_ranks(ranking.table, ranking.definition, ranking.page(0, MAX_DRAWN), draws=n),
        )

    def front(self, x: str, y: str, definition: LeaderboardDefinition, among: Mask, key: Hashable) -> Mask:
        """Return which of some candidates no other one of them is better than in both of two properties.

        What better means says the definition; of a property that it does not name, lower is better.

        Parameters
        ----------
        x, y
            The properties; all of ``among`` have both.
        definition
            The rules.
        among
            The candidates, shape=(n_candidates,).
        key
            What tells them from others.
        """
        return self._fronts.get((x, y, _scales(definition), key), lambda: self._front(x, y, definition.criteria, among))

    def element_counts(self, chosen: Mask) -> dict[str, int]:
        """Return element to the number of candidates that have it, by the alphabet; elements of none are left out."""
        columns, has = self.table.element_sets
        counts = np.bincount(self.table.elements.codes[chosen], minlength=len(has))
        numbers = counts @ has
        return {symbol: int(numbers[k]) for symbol, k in columns.items() if numbers[k]}

    def _weight_ranges(self, found: Ranked) -> list[WeightRange]:
        from hemiec.ranking.sensitivity import weight_ranges

        ranking = found.ranking
        if not found.n_ranked:
            return []
        rows = self._contenders.get(found.unweighted, lambda: contenders(ranking))
        winner = best_row(ranking)
        rows = np.union1d(rows, [winner])
        return weight_ranges(
            self.table.table.candidate_id[rows],
            ranking.scaled[rows],
            ranking.definition.criteria,
            winner=int(np.searchsorted(rows, winner)),
        )

    def _ruled(self, rules: str, definition: LeaderboardDefinition) -> Ranking:
        def make() -> Ranking:
            made = rank_table(self.table.table, definition)
            compute(made, "scaled")  # shared by all weights and filters
            return made

        return self._rules.get(rules, make)

    def _front(self, x: str, y: str, criteria: list[Criterion], among: Mask) -> Mask:
        from hemiec.ranking.pareto import pareto_front
        from hemiec.ranking.scoring import costs

        by_name = {criterion.property: criterion for criterion in criteria}
        rows = np.flatnonzero(among)
        columns = []
        for name in (x, y):
            values = self.table.table.estimates[name].value[rows]
            columns.append(costs(values, by_name[name]) if name in by_name else values)
        found = np.zeros(len(self.table), dtype=np.bool_)
        found[rows[pareto_front(np.column_stack(columns))]] = True
        return found

    def _chosen(self, asked: Filter) -> Mask:
        from hemiec.store.queries.columns import mask

        found = np.ones(len(self.table), dtype=np.bool_)
        if asked.elements or asked.without:
            columns, has = self.table.element_sets
            nowhere = np.zeros(len(has), dtype=np.bool_)
            fits = ~nowhere
            for symbol in asked.elements:
                fits &= has[:, columns[symbol]] if symbol in columns else nowhere
            for symbol in asked.without:
                fits &= ~(has[:, columns[symbol]] if symbol in columns else nowhere)
            found &= self.table.elements.where(fits)
        if asked.campaign is not None:
            texts = self.table.campaigns
            of_it = [asked.campaign in text.split("\n") for text in texts.values]
            found &= texts.where(np.array(of_it, dtype=np.bool_))
        for where in asked.where:
            found &= mask(where, self.table.columns)
        return found


def _scales(definition: LeaderboardDefinition) -> str:
    """Return what a definition says beside its weights."""
    return "".join(criterion.model_dump_json(exclude={"weight"}) for criterion in definition.criteria)
