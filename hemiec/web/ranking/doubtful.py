"""Rows of the ranked list with what is doubtful of their numbers, which only their documents tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemiec.ranking.doubts import doubts
from hemiec.store.candidates import read_candidates
from hemiec.web.ranking.board import Ranked, Rows
from hemiec.web.reading import Reading


def with_doubts(
    read: Reading, found: Ranked, rows: Rows, ranks: NDArray[np.int64] | None = None, *, whole: bool = False
) -> list[dict[str, Any]]:
    """Return what the list says of some candidates.

    Parameters
    ----------
    read
        Lends the database; it is asked for candidates that were not shown by these rules before.
    found
        The ranked candidates.
    rows
        Those that are wanted.
    ranks
        Their ranks, 0 for who has none; if they are not known, all are ranked.
    whole
        Whether hops, transport and thermodynamics are looked at too, which takes longer.
    """
    entries = found.rows(rows, ranks)
    known = found.board.doubts
    key = found.scales
    told = {name: known.of((name, key, whole)) for name in (entry["candidate_id"] for entry in entries)}
    missing = [name for name, doubted in told.items() if doubted is None]
    if missing:
        # One that was removed meanwhile, or cannot be read, has none.
        told |= {name: [] for name in missing}
        with read() as database:
            for doc in read_candidates(database, {"candidate_id": {"$in": missing}}, whole=whole, report=_left_out):
                told[doc.candidate_id] = [doubt.model_dump(mode="json") for doubt in doubts(doc, found.definition)]
        for name in missing:
            known.keep((name, key, whole), told[name])
    return [entry | {"doubts": told[entry["candidate_id"]]} for entry in entries]


def _left_out(candidate_id: str, reason: str) -> None:
    """Leave it to the list of candidates to say so."""
