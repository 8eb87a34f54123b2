"""What a card of the HTML report shows of one candidate beyond its quantities, and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hemiec.ranking.report.background import Background
from hemiec.ranking.report.structure_panels import composition, structure_panel, sublattice_counts
from hemiec.ranking.report.text import plotly_text
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.leaderboard import LeaderboardEntry
from hemiec.schemas.stored import StructureDoc


@dataclass(frozen=True)
class Card:
    """One candidate as its card shows it.

    Parameters
    ----------
    entry
        Its entry on the leaderboard.
    known
        What the store knows beyond that; None if the report was made without it.
    sites
        Sublattices with the share and colour of each species.
    structure
        What is drawn in three dimensions; None if nothing is, then ``no_structure`` says why.
    amounts
        Sublattice to species to the number of atoms in the cell.
    """

    entry: LeaderboardEntry
    known: Background | None
    sites: list[dict[str, Any]]
    structure: dict[str, Any] | None
    no_structure: str
    amounts: dict[str, dict[str, int]]

    @classmethod
    def of(cls, entry: LeaderboardEntry, known: Background | None) -> Card:
        """Return the card of an entry."""
        drawn, why = _structure(known)
        return cls(
            entry=entry,
            known=known,
            sites=composition(known),
            structure=drawn,
            no_structure=why,
            amounts=sublattice_counts(known) if known is not None and drawn is not None else {},
        )

    @property
    def sqs(self) -> StructureDoc | None:
        """The special quasirandom structure that is drawn."""
        return self.known.structures[0] if self.known is not None and self.known.structures else None


def gap_panel(starts: Sequence[GapStart]) -> dict[str, Any] | None:
    """Return the gap of each magnetic solution over its energy above the lowest one; None with fewer than two."""
    found = [start for start in starts if start.energy is not None and start.band_gap is not None]
    if len(found) < 2:
        return None
    lowest = min(start.energy for start in found if start.energy is not None)
    return {
        "points": [
            {
                "name": plotly_text(start.magnetic_start or "no spin"),
                "energy": round(start.energy - lowest, 4),
                "gap": round(start.band_gap, 4),
                "moment": start.total_moment,
            }
            for start in found
            if start.energy is not None and start.band_gap is not None
        ]
    }


def _structure(known: Background | None) -> tuple[dict[str, Any] | None, str]:
    """Return what is drawn, or why nothing is."""
    if known is None:
        return None, "the report was made without the store that holds it"
    if not known.structures:
        return None, "no structure of the shown result is stored"
    try:
        return structure_panel(known), ""
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return None, f"the stored structure cannot be read ({type(error).__name__}: {error})"
