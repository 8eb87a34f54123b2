"""Candidates of a table in the order that a definition puts them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.ranking.definition import checked, with_weights
from hemiec.ranking.table import CandidateTable
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.leaderboard import WeightRange

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


def rank_table(
    table: CandidateTable,
    definition: LeaderboardDefinition,
    *,
    chosen: Mask | None = None,
    weights: Mapping[str, float] | None = None,
) -> Ranking:
    """Return the order that a definition puts the candidates of a table in.

    Parameters
    ----------
    table
        The candidates.
    definition
        What counts, in which direction, how much and on which scale. Its condition ``where`` is the caller's to apply.
    chosen
        Which candidates take part, shape=(n_candidates,); default all.
    weights
        Other weights than the definition's by property; 0 takes a criterion out.

    Raises
    ------
    InputError
        If the definition contradicts itself, a weight is wrong, or ``chosen`` has another shape.
    """
    rules = with_weights(checked(definition), weights or {})
    if chosen is not None and chosen.shape != (len(table),):
        raise InputError(f"candidates to rank: expected a choice among {len(table)}, got shape {chosen.shape}.")
    return Ranking(table, rules, chosen)


@dataclass(frozen=True)
class Ranking:
    """Scores, ranks and Pareto layers of the candidates of a table; each is computed when it is first asked for.

    Parameters
    ----------
    table
        The candidates; all arrays are in the order of its rows.
    definition
        What they are ranked by.
    chosen
        Which take part; None for all.
    """

    table: CandidateTable
    definition: LeaderboardDefinition
    chosen: Mask | None = None

    @cached_property
    def scaled(self) -> Floats:
        """Score of each criterion by itself, 0 to 1, shape=(n_candidates, n_criteria); NaN where it has no value."""
        from hemiec.ranking.scoring import scaled_matrix

        return scaled_matrix(self._values, self.definition.criteria)

    @cached_property
    def scores(self) -> Floats:
        """Weighted mean of the scaled criteria, shape=(n_candidates,); NaN for whoever is not ranked or not chosen."""
        from hemiec.ranking.scoring import scores

        found = scores(self.scaled, self.definition.criteria)
        return found if self.chosen is None else np.where(self.chosen, found, np.nan)

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Ranks from 1 with equal ones as the definition has it, shape=(n_candidates,); 0 for whoever is not ranked."""
        from hemiec.ranking.scoring import ranks

        return ranks(self.scores, self.definition.ties, self._breakers)

    @cached_property
    def order(self) -> Rows:
        """Rows of the ranked candidates, the best first and equal ones in the order of their ids, shape=(n_ranked,)."""
        from hemiec.ranking.scoring import rows_by_rank

        return rows_by_rank(self.ranks)

    @cached_property
    def layers(self) -> NDArray[np.int64]:
        """Pareto layers from 1, shape=(n_candidates,); 0 for whoever is not ranked.

        An optional value that is missing does not help: see :func:`hemiec.ranking.scoring.cost_matrix`.
        """
        from hemiec.ranking.pareto import pareto_layers
        from hemiec.ranking.scoring import cost_matrix

        ranked = ~np.isnan(self.scores)
        layers = np.zeros(len(self.table), dtype=np.int64)
        layers[ranked] = pareto_layers(cost_matrix(self._values, self.definition.criteria)[ranked])
        return layers

    @property
    def n_ranked(self) -> int:
        """How many candidates are ranked."""
        return int(np.count_nonzero(~np.isnan(self.scores)))

    def page(self, first: int, limit: int) -> Rows:
        """Return the rows of some candidates in the order of their scores, from place `first`, without sorting all."""
        from hemiec.ranking.scoring import best_rows

        return best_rows(self.scores, first, limit)

    def weight_ranges(self) -> list[WeightRange]:
        """Return how far each weight can move, the others as they are, before another candidate wins; none if empty."""
        from hemiec.ranking.sensitivity import weight_ranges

        rows = np.flatnonzero(self.ranks)
        if not len(rows):
            return []
        winner = int(np.flatnonzero(rows == self.order[0])[0])
        return weight_ranges(self.table.candidate_id[rows], self.scaled[rows], self.definition.criteria, winner=winner)

    def with_weights(self, weights: Mapping[str, float]) -> Ranking:
        """Return the order by other weights; what does not depend on them is not computed again.

        Raises
        ------
        InputError
            If a property is no criterion, a weight is negative or not finite, or nothing is left.
        """
        definition = with_weights(self.definition, weights)
        ranking = replace(self, definition=definition)
        left = {criterion.property for criterion in definition.criteria}
        kept = [criterion.property in left for criterion in self.definition.criteria]
        if "scaled" in self.__dict__:
            ranking.__dict__["scaled"] = self.scaled if all(kept) else self.scaled[:, kept]
        return ranking

    def among(self, chosen: Mask | None) -> Ranking:
        """Return the order of others by the same rules; what does not depend on who takes part is not computed again.

        Parameters
        ----------
        chosen
            Which candidates take part, shape=(n_candidates,); None for all.
        """
        ranking = replace(self, chosen=chosen)
        if "scaled" in self.__dict__:
            ranking.__dict__["scaled"] = self.scaled
        return ranking

    @property
    def _breakers(self) -> Floats | None:
        from hemiec.ranking.scoring import costs

        criteria = {criterion.property: criterion for criterion in self.definition.criteria}
        by = [costs(self._values[name], criteria[name]) for name in self.definition.ties.by]
        return np.column_stack(by) if by else None

    @property
    def _values(self) -> dict[str, Floats]:
        return {c.property: self.table.estimates[c.property].value for c in self.definition.criteria}
