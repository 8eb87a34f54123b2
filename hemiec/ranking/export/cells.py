"""What all forms of a leaderboard share: the quantities in its cells, their methods, and why some are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hemiec.ranking.columns import BY_PROPERTY, COLUMNS, Column
from hemiec.ranking.entries import quantity
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry, WeightRange

MISSING = "—"
#: Stands behind a value that was corrected towards DFT.
CORRECTED = "*"
#: Amounts in a formula: numbers behind an element or a bracket.
FORMULA_AMOUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)")
#: How much was computed, as methods tell it: `15 of 60 hops`, `40% of the atoms`.
_AMOUNT = re.compile(r"(?<!\d)\d{1,9}(?= of \d+ hops)|(?<= of )\d{1,9}(?= hops)|(?<!\d)\d{1,9}(?=% of the atoms)")


def counted(doc: LeaderboardDoc) -> list[Column]:
    """Return the columns that count, in the order of the criteria."""
    return [BY_PROPERTY[criterion.property] for criterion in doc.criteria]


def counted_first(doc: LeaderboardDoc) -> list[Column]:
    """Return the columns that count in the order of the criteria, then the others in theirs."""
    first = counted(doc)
    return [*first, *(column for column in COLUMNS if column not in first)]


_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class Methods:
    """The different methods behind the values of one property, in order of first use.

    Methods that differ only in how much was computed (hops, atoms of a mixture) are one; its text then has the range.

    Parameters
    ----------
    texts
        One for each method.
    """

    texts: tuple[str, ...]
    _kinds: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, entries: Sequence[LeaderboardEntry], name: str) -> Methods:
        """Return those behind the values of one property."""
        used = [quantity(entry, name) for entry in entries]
        kinds: dict[tuple[str, ...], list[str]] = {}
        for method in dict.fromkeys(found.method for found in used if found.value is not None):
            kinds.setdefault(_kind(method), []).append(method)
        return cls(tuple(_merged(several) for several in kinds.values()), tuple(kinds))

    def mark(self, method: str) -> str:
        """Return the letter of a method (a, b, ...), or nothing if all values share one method."""
        return self._letter(self._kinds.index(_kind(method))) if len(self.texts) > 1 else ""

    def named(self) -> list[tuple[str, str]]:
        """Return each method with its letter, or with none if there is but one."""
        return [(self._letter(k) if len(self.texts) > 1 else "", text) for k, text in enumerate(self.texts)]

    @staticmethod
    def _letter(position: int) -> str:
        return (chr(ord("a") + position // 26 - 1) if position >= 26 else "") + chr(ord("a") + position % 26)


def _kind(method: str) -> tuple[str, ...]:
    """Return what of a method is left between its amounts; equal for methods that differ in these only."""
    return tuple(_AMOUNT.split(method))


def _merged(methods: Sequence[str]) -> str:
    """Return methods that differ in amounts only as one, with the range of each amount."""
    amounts = [[int(found) for found in _AMOUNT.findall(method)] for method in methods]
    ranges = iter([(min(column), max(column)) for column in zip(*amounts, strict=True)])

    def range_of(_: re.Match[str]) -> str:
        low, high = next(ranges)
        return f"{low}" if low == high else f"{low} to {high}"

    return _AMOUNT.sub(range_of, methods[0])


def missing_reasons(entries: Sequence[LeaderboardEntry], name: str) -> dict[str, list[LeaderboardEntry]]:
    """Return why values of one property are missing: reason to candidates.

    Reasons that differ only in the job that they name are one, without the job.
    """
    reasons: dict[str, list[tuple[str, LeaderboardEntry]]] = {}
    for entry in entries:
        reason = quantity(entry, name).reason
        if reason is not None:
            reasons.setdefault(_UUID.sub("…", reason), []).append((reason, entry))
    return {
        several[0][0] if len(several) == 1 else reason: [entry for _, entry in several]
        for reason, several in reasons.items()
    }


def tells_top(doc: LeaderboardDoc) -> bool:
    """Return whether the probability of the top says anything: there were draws, and not all that rank are in it."""
    drawn = any(entry.uncertainty is not None for entry in doc.entries)
    return drawn and sum(entry.rank is not None for entry in doc.entries) > doc.top


def rank_interval(entry: LeaderboardEntry, dash: str = "–") -> str:
    """Return the 90 % interval of the rank, such as ``1–4``; one number if both ends are the same; empty without."""
    if entry.uncertainty is None:
        return ""
    low, high = (f"{end:g}" for end in entry.uncertainty.rank_interval)
    return low if low == high else f"{low}{dash}{high}"


def percent(share: float) -> str:
    """Return a probability as a whole per cent; what is not certain is neither 0 nor 100."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def weight_sentence(of: WeightRange, labels: dict[str, str]) -> str:
    """Return in words how far one weight can move before another candidate wins.

    At a weight of 0 the criterion is out and whoever lacks a value of it may win, which no range tells.

    Parameters
    ----------
    of
        The weight and its range.
    labels
        candidate_id to the short formula of who may win.
    """
    column = BY_PROPERTY.get(of.property)
    name = column.phrase if column else of.property
    below = None if of.winner_below is None else labels.get(of.winner_below, of.winner_below)
    above = None if of.winner_above is None else labels.get(of.winner_above, of.winner_above)
    if below is None and above is None:
        return f"The winner stays first whatever the {name} weighs, if it counts at all."
    changes = []
    if below is not None:
        changes.append(f"below {of.low:.3g} {below} wins")
    if above is not None and of.high is not None:
        changes.append(f"above {of.high:.3g} {above} wins")
    return f"The {name} weighs {of.weight:.3g}; {', '.join(changes)}."


def printable(text: str) -> str:
    """Return text without control characters, so that stored text cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
