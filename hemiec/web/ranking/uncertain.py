"""What random draws say of the candidates of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hemiec.web.ranking.board import Ranked, Rows

if TYPE_CHECKING:
    from hemiec.ranking.probability import RankDraws


def drawn_rows(found: Ranked, drawn: RankDraws, rows: Rows) -> list[dict[str, Any]]:
    """Return what the draws say of some candidates; those that are not ranked or were not drawn are left out."""
    places = np.full(len(found.table), -1, dtype=np.intp)
    places[drawn.rows] = np.arange(len(drawn.rows))
    ids = found.table.table.candidate_id
    return [
        {
            "candidate_id": str(ids[row]),
            "expected_rank": float(drawn.expected_rank[k]),
            "rank_interval": [float(drawn.rank_low[k]), float(drawn.rank_high[k])],
            "score_interval": [float(drawn.score_low[k]), float(drawn.score_high[k])],
            "probability_top": float(drawn.probability_top[k]),
            "probability_pareto": float(drawn.probability_pareto[k]),
        }
        for row, k in zip(rows.tolist(), places[rows].tolist(), strict=True)
        if k >= 0
    ]


def note_of(found: Ranked, drawn: RankDraws) -> str | None:
    """Return in words who was left out of the draws; None if nobody was."""
    n_ranked = found.n_ranked
    if len(drawn.rows) >= n_ranked:
        return None
    return (
        f"Drawn are the {len(drawn.rows):,} best by score of {n_ranked:,} ranked candidates; those further down are "
        "taken to stay behind them."
    )
