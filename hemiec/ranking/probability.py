"""Where candidates may stand: ranks and Pareto fronts over random draws of every value from its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.ranking.pareto import pareto_front
from hemiec.ranking.scoring import costs, costs_at, ranks, scaled, scaled_matrix, scores, with_missing_costs
from hemiec.ranking.spread import FLOORS, HalfNormals, Keys, half_normals, stream_keys, uniforms
from hemiec.ranking.table import CandidateTable
from hemiec.schemas.definition import Criterion, LeaderboardDefinition

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
#: Share of the draws that may lie beyond either end of an interval.
TAIL = 0.05
#: Most memory that the ends of the intervals may take while they are gathered, in bytes.
MOST_BYTES = 2**30
_BYTES_PER_EXTREME = 2 * (8 + 4)  # two ends, each of a score and a rank
_COMPILED: dict[str, Any] = {"cache": True, "nogil": True}


@dataclass(frozen=True)
class RankDraws:
    """Where each candidate stood over the draws; all of shape=(n_rows,), unit 1.

    A candidate that is left unranked has NaN and ranks 0.

    Parameters
    ----------
    rows
        The candidates, as rows of their table.
    expected_rank
        Mean of the ranks.
    rank_low, rank_high
        Ends of the interval that holds at least 90 % of the ranks: at most 5 % lie below it and 5 % above.
    score_low, score_high
        The same of the scores, 0 to 1.
    probability_top
        Share of draws with a rank of at most ``top``.
    probability_pareto
        Share of draws on the Pareto front; NaN where it was not asked for.
    draws, seed, top
        What was drawn.
    """

    rows: Rows
    expected_rank: Floats
    rank_low: NDArray[np.int64]
    rank_high: NDArray[np.int64]
    score_low: Floats
    score_high: Floats
    probability_top: Floats
    probability_pareto: Floats
    draws: int
    seed: int
    top: int


def draw_ranks(
    table: CandidateTable,
    definition: LeaderboardDefinition,
    rows: Rows,
    *,
    draws: int | None = None,
    seed: int | None = None,
    top: int | None = None,
    pareto: bool = True,
) -> RankDraws:
    """Return ranks and probabilities from drawing every value of some candidates and ranking them each time anew.

    Values are independent of each other and drawn as :mod:`hemiec.ranking.spread` says; one without an interval has the
    criterion's standard uncertainty, or is exact. A missing value does what its criterion says; one that may be
    anywhere on the scale is drawn from all of it. A candidate's draws do not depend on who else is there, its ranks
    of course do. Memory is about 24 bytes for each candidate and each twentieth draw, refused above 1 GiB, and some
    hundred bytes for each candidate.

    Parameters
    ----------
    table
        All candidates.
    definition
        What counts; also the number of draws, the seed and the top, unless given.
    rows
        Those that compete, each once, shape=(n_rows,).
    draws, seed, top
        In place of the definition's.
    pareto
        Whether to find the Pareto front of each draw.

    Raises
    ------
    InputError
        If there are too many candidates and draws for the memory.
    """
    draws = definition.draws if draws is None else draws
    seed = definition.seed if seed is None else seed
    top = definition.top if top is None else top
    criteria = definition.criteria
    values = {c.property: table.estimates[c.property].value[rows] for c in criteria}
    ranked = np.flatnonzero(~np.isnan(scores(scaled_matrix(values, criteria), criteria)))
    extremes = _Extremes(len(ranked), draws)
    drawers = [_Drawer.of(table, c, rows[ranked], seed) for c in criteria]
    total = np.zeros(len(ranked), dtype=np.int64)
    hits, fronts = total.copy(), total.copy()
    for draw in range(draws):
        drawn = [drawer.draw(draw) for drawer in drawers]
        score = scores(np.stack([one for one, _ in drawn]).T, criteria)
        cost = {c.property: one for c, (_, one) in zip(criteria, drawn, strict=True)}
        breakers = np.stack([cost[name] for name in definition.ties.by]).T if definition.ties.by else None
        rank = ranks(score, definition.ties, breakers)
        total += rank
        hits += rank <= top
        extremes.add(score, rank)
        if pareto and len(ranked):
            fronts += pareto_front(np.stack(list(cost.values())).T)
    return _gathered(rows, ranked, total, hits, fronts if pareto else None, extremes, (draws, seed, top))


@dataclass(frozen=True)
class _Drawer:
    """Draws of one criterion: its scores and its costs."""

    criterion: Criterion
    spread: HalfNormals
    keys: Keys
    missing: Rows

    @classmethod
    def of(cls, table: CandidateTable, criterion: Criterion, rows: Rows, seed: int) -> _Drawer:
        found = table.estimates[criterion.property].take(rows)
        spread = half_normals(
            found.value,
            found.low,
            found.high,
            standard_uncertainty=criterion.standard_uncertainty or 0.0,
            floor=FLOORS.get(criterion.property, -np.inf),
        )
        keys = stream_keys(table.candidate_id[rows], criterion.property, seed)
        return cls(criterion, spread, keys, np.flatnonzero(np.isnan(found.value)))

    def draw(self, number: int) -> tuple[Floats, Floats]:
        """Return scores, NaN where the criterion is left out, and costs for Pareto comparisons."""
        uniform = uniforms(self.keys, number, 1)
        values, uniform = self.spread.at(uniform)[0], uniform[0]
        score, cost = scaled(values, self.criterion), costs(values, self.criterion)
        if self.missing.size and self.criterion.missing == "whole_range":
            score[self.missing] = uniform[self.missing]
            cost[self.missing] = costs_at(uniform[self.missing], self.criterion)
        return score, with_missing_costs(cost, self.criterion)


class _Extremes:
    """The lowest and the highest scores and ranks of each candidate so far, as many as lie beyond an interval's end."""

    def __init__(self, n: int, draws: int) -> None:
        kept = int(TAIL * (draws - 1)) + 1
        if n * kept * _BYTES_PER_EXTREME > MOST_BYTES:
            most = MOST_BYTES // (kept * _BYTES_PER_EXTREME)
            raise InputError(
                f"probabilities: {draws:,} draws of {n:,} candidates take over {MOST_BYTES / 2**30:g} GiB of memory.",
                mend=f"ask for fewer draws, or choose {most:,} candidates at most by a condition or a campaign",
            )
        self._scores = [np.full((n, kept), np.inf) for _ in range(2)]
        self._ranks = [np.full((n, kept), np.iinfo(np.int32).max, dtype=np.int32) for _ in range(2)]

    def add(self, score: Floats, rank: NDArray[np.int64]) -> None:
        """Take one draw into account."""
        numbers = rank.astype(np.int32)
        _keep_smallest(self._scores[0], score)
        _keep_smallest(self._scores[1], -score)
        _keep_smallest(self._ranks[0], numbers)
        _keep_smallest(self._ranks[1], -numbers)

    def scores(self) -> tuple[Floats, Floats]:
        """Return the ends of the scores' intervals."""
        return self._scores[0][:, 0], -self._scores[1][:, 0]

    def ranks(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the ends of the ranks' intervals."""
        return self._ranks[0][:, 0], -self._ranks[1][:, 0]


def _gathered(
    rows: Rows,
    ranked: Rows,
    total: NDArray[np.int64],
    hits: NDArray[np.int64],
    fronts: NDArray[np.int64] | None,
    extremes: _Extremes,
    asked: tuple[int, int, int],
) -> RankDraws:
    """Return what was counted over the ranked ones, placed among all rows."""
    draws, seed, top = asked

    def placed(numbers: NDArray[Any]) -> Floats:
        result = np.full(len(rows), np.nan)
        result[ranked] = numbers
        return result

    def placed_ranks(numbers: NDArray[np.int32]) -> NDArray[np.int64]:
        result = np.zeros(len(rows), dtype=np.int64)
        result[ranked] = numbers
        return result

    rank_low, rank_high = extremes.ranks()
    score_low, score_high = extremes.scores()
    return RankDraws(
        rows=rows,
        expected_rank=placed(total / draws),
        rank_low=placed_ranks(rank_low),
        rank_high=placed_ranks(rank_high),
        score_low=placed(score_low),
        score_high=placed(score_high),
        probability_top=placed(hits / draws),
        probability_pareto=np.full(len(rows), np.nan) if fronts is None else placed(fronts / draws),
        draws=draws,
        seed=seed,
        top=top,
    )


@njit(**_COMPILED)
def _keep_smallest(heaps: np.ndarray, values: np.ndarray) -> None:
    """Let each value take the place of the largest in its heap if it is smaller; the largest of a heap comes first."""
    n, size = heaps.shape
    for i in range(n):
        value = values[i]
        if value >= heaps[i, 0]:
            continue
        place = 0
        while True:
            child = 2 * place + 1
            if child >= size:
                break
            if child + 1 < size and heaps[i, child + 1] > heaps[i, child]:
                child += 1
            if heaps[i, child] <= value:
                break
            heaps[i, place] = heaps[i, child]
            place = child
        heaps[i, place] = value
