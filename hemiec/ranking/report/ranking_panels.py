"""What the HTML report says of the ranking itself: rules, where each may stand, weights, and what is doubtful."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hemiec.ranking.columns import BY_PROPERTY
from hemiec.ranking.doubts import CODES, doubts, in_order, structure_doubts
from hemiec.ranking.export.cells import weight_sentence
from hemiec.ranking.report.background import Background
from hemiec.schemas.definition import Criterion
from hemiec.schemas.leaderboard import Doubt, LeaderboardDoc, LeaderboardEntry

_MISSING_RULES = {
    "unranked": "",
    "leave_out": "without a value the other properties make the score",
    "whole_range": "without a value the score is in the middle of what any value could make it",
}
#: Times its present value up to which the bar of a weight reaches, if it may grow without bound.
_BEYOND = 3.0


@dataclass(frozen=True)
class Standing:
    """Where the bar of a rank lies in its cell, in per cent of the width: 0 is rank 1, 100 the last one."""

    low: float
    width: float
    expected: float
    rank: float


def rule(criterion: Criterion) -> tuple[str, str]:
    """Return which way is better, and on which scale with which weight."""
    column = BY_PROPERTY[criterion.property]

    def at(value: float) -> str:
        return f"{_general(value)} {column.unit}"

    details = []
    if criterion.window is not None:
        low, high = criterion.window
        better = f"best between {_general(low)} and {at(high)}"
        ends = criterion.zero_at or (None, None)
        details += [
            f"{word} the window {'all scores 0' if end is None else f'{at(end)} scores 0'}"
            for word, end in zip(("below", "above"), ends, strict=True)
        ]
    else:
        better = "lower is better" if criterion.direction == "minimise" else "higher is better"
        if criterion.best is not None and criterion.worst is not None:
            details += [f"{at(criterion.best)} scores 1", f"{at(criterion.worst)} scores 0"]
    if criterion.transform == "log":
        details.append("on a logarithmic scale")
    details.append(f"weight {_general(criterion.weight)}")
    if criterion.standard_uncertainty is not None:
        details.append(f"without an interval ± {at(criterion.standard_uncertainty)} is taken")
    if _MISSING_RULES[criterion.missing]:
        details.append(_MISSING_RULES[criterion.missing])
    return better, ", ".join(details)


def standings(entries: Sequence[LeaderboardEntry]) -> list[Standing | None]:
    """Return the bar of each entry's rank; None for one without draws."""
    highest = max((entry.uncertainty.rank_interval[1] for entry in entries if entry.uncertainty), default=1.0)
    last = max(highest, *(entry.rank or 1 for entry in entries), 2) if entries else 2.0

    def place(rank: float) -> float:
        return round(100 * (rank - 1) / (last - 1), 2)

    found: list[Standing | None] = []
    for entry in entries:
        of = entry.uncertainty
        if of is None or entry.rank is None:
            found.append(None)
            continue
        low, high = (place(end) for end in of.rank_interval)
        found.append(Standing(low, round(high - low, 2), place(of.expected_rank), place(entry.rank)))
    return found


def weights(doc: LeaderboardDoc) -> list[dict[str, object]]:
    """Return how far each weight can move: its title, a sentence, and the bar in per cent of the width."""
    labels = {entry.candidate_id: entry.label for entry in doc.entries}
    bars: list[dict[str, object]] = []
    for of in doc.sensitivity:
        column = BY_PROPERTY.get(of.property)
        ends = [of.weight * _BEYOND, 1.25 * (of.high or 0.0)]
        scale = min(max(ends), sys.float_info.max)
        high = scale if of.high is None else of.high
        bars.append(
            {
                "title": column.title if column else of.property,
                "sentence": weight_sentence(of, labels),
                "from": round(100 * (of.low / scale), 2),
                "width": round(100 * (max(high - of.low, 0.0) / scale), 2),
                "at": round(100 * (of.weight / scale), 2),
                "open": of.high is None,
                "scale": f"0 to {scale:.3g}",
            }
        )
    return bars


def all_doubts(doc: LeaderboardDoc, background: Mapping[str, Background]) -> list[list[Doubt]]:
    """Return what is doubtful of each entry: as it was ranked, as its numbers tell now, and of its structure."""
    criteria = [criterion.property for criterion in doc.criteria]
    found = []
    for entry in doc.entries:
        known = background.get(entry.candidate_id)
        # A leaderboard that an earlier hemiec saved has none.
        of_numbers = entry.doubts or doubts(entry, doc)
        of_structure = structure_doubts(known.structures[0]) if known is not None and known.structures else []
        found.append(in_order([*of_numbers, *of_structure], criteria))
    return found


def doubts_by_code(several: Sequence[Sequence[Doubt]]) -> list[tuple[str, str, list[int]]]:
    """Return each code that occurs, what it stands for, and the places of the entries that have it, the most first."""
    places: dict[str, list[int]] = {}
    for place, found in enumerate(several):
        for code in dict.fromkeys(doubt.code for doubt in found):
            places.setdefault(code, []).append(place)
    known = list(CODES)
    ordered = sorted(places, key=lambda code: (-len(places[code]), known.index(code) if code in known else len(known)))
    return [(code, CODES.get(code, code), places[code]) for code in ordered]


def _general(value: float) -> str:
    return f"{value:g}".replace("-", "−")
