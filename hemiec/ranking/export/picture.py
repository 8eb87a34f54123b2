"""A leaderboard as a picture."""

from __future__ import annotations

import io

from hemiec.schemas.leaderboard import LeaderboardDoc


def to_png(doc: LeaderboardDoc) -> bytes:
    """Return the leaderboard as a PNG: ranks and what counts with intervals, and the probability of the top.

    Raises
    ------
    InputError
        If no candidate is ranked.
    """
    from hemiec.ranking.figures import leaderboard

    out = io.BytesIO()
    leaderboard(doc).savefig(out, format="png", metadata={"Title": doc.title, "Software": "hemiec"})
    return out.getvalue()
