"""Candidates ranked by a definition, with how sure each rank is and how far the weights can move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

import hemiec
from hemiec.ranking.doubts import doubts
from hemiec.ranking.entries import entry_of, quantity
from hemiec.ranking.order import Ranking, rank_table
from hemiec.ranking.table import table_of
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.documents import CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry, RankUncertainty


def rank(
    candidates: Sequence[CandidateDoc],
    definition: LeaderboardDefinition,
    *,
    campaign: str | None = None,
    created_at: datetime | None = None,
    snapshot_id: str | None = None,
) -> LeaderboardDoc:
    """Return the leaderboard of the candidates; it does not depend on their order.

    Ranked candidates come first, equal ones in the order of their ``candidate_id``; then, in that order too, those that
    lack a required value: they have no rank, score or Pareto layer, as a missing value never counts as 0. Where a value
    was corrected towards DFT, the corrected one counts.

    Parameters
    ----------
    candidates
        The candidates, each at most once. The condition ``where`` of the definition is the caller's to apply.
    definition
        What counts, in which direction, how much and on which scale.
    campaign
        Rank only the candidates that this campaign asked for; default: all.
    created_at
        Time stamp of the leaderboard; default: now, UTC.
    snapshot_id
        The snapshot that the candidates are of; kept in the leaderboard.

    Raises
    ------
    InputError
        If a candidate comes twice, a value is in an unexpected unit, or the definition contradicts itself.
    """
    chosen = [doc for doc in candidates if campaign is None or campaign in doc.campaigns]
    by_id = sorted(chosen, key=lambda doc: doc.candidate_id)
    ranking = rank_table(table_of(by_id), definition)
    entries = [entry_of(doc).model_copy(update={"doubts": doubts(doc, definition)}) for doc in by_id]
    uncertainty = _uncertainty(ranking)
    unranked = np.flatnonzero(ranking.ranks == 0)
    return LeaderboardDoc(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        campaign=campaign,
        criteria=definition.criteria,
        where=definition.where,
        ties=definition.ties,
        draws=definition.draws,
        top=definition.top,
        seed=definition.seed,
        sensitivity=ranking.weight_ranges(),
        snapshot_id=snapshot_id,
        created_at=created_at or datetime.now(UTC),
        versions={"hemiec": hemiec.__version__},
        entries=[_placed(entries[row], ranking, row, uncertainty.get(row)) for row in (*ranking.order, *unranked)],
    )


def _placed(entry: LeaderboardEntry, ranking: Ranking, row: int, found: RankUncertainty | None) -> LeaderboardEntry:
    """Return an entry with its rank, which is None where a required value is missing."""
    criteria = ranking.definition.criteria
    rank, layer = int(ranking.ranks[row]), int(ranking.layers[row])
    place = {
        "rank": rank or None,
        "score": float(ranking.scores[row]) if rank else None,
        "pareto_layer": layer or None,
        "missing": [c.property for c in criteria if quantity(entry, c.property).value is None],
        "uncertainty": found,
    }
    return entry.model_copy(update=place)


def _uncertainty(ranking: Ranking) -> dict[int, RankUncertainty]:
    """Return row to where its candidate may stand, of all that are ranked."""
    from hemiec.ranking.probability import draw_ranks

    rules = ranking.definition
    if not ranking.n_ranked:
        return {}
    drawn = draw_ranks(ranking.table, rules, ranking.order)
    return {
        int(row): RankUncertainty(
            expected_rank=drawn.expected_rank[i],
            rank_interval=(drawn.rank_low[i], drawn.rank_high[i]),
            score_interval=(drawn.score_low[i], drawn.score_high[i]),
            probability_top=drawn.probability_top[i],
            probability_pareto=drawn.probability_pareto[i],
        )
        for i, row in enumerate(ranking.order)
    }
