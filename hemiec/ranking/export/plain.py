"""A leaderboard as JSON, which reads back whole, and as CSV for spreadsheets."""

from __future__ import annotations

import csv
import io

from hemiec.ranking.entries import quantity
from hemiec.schemas.documents import PROPERTIES
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity

QUANTITY_FIELDS = (
    "value", "unit", "std", "n", "min", "max", "interval_low", "interval_high", "uncorrected", "calibration",
    "method", "reason",
)  # fmt: skip
UNCERTAINTY_FIELDS = (
    "expected_rank", "rank_low", "rank_high", "score_low", "score_high", "probability_top", "probability_pareto",
)  # fmt: skip
#: A spreadsheet takes a cell that starts so for a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_json(doc: LeaderboardDoc) -> str:
    """Return the whole leaderboard as JSON; ``LeaderboardDoc.model_validate_json`` reads it back."""
    return doc.model_dump_json(indent=2) + "\n"


def to_csv(doc: LeaderboardDoc) -> str:
    """Return one row per candidate: rank, identity, and each property with unit, spread and method.

    Numbers are written in full precision; what is missing is an empty cell, with the reason in the
    column ``<property>_reason``. ``interval_low`` and ``interval_high`` bound the 90 % interval. Then come the draws
    (rank and score intervals, probabilities), the criteria without a value and the codes of doubts, with spaces
    between. Text that a spreadsheet would run as a formula gets a leading apostrophe, and ends its lines with a line
    feed only.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    properties = [f"{name}_{field}" for name in PROPERTIES for field in QUANTITY_FIELDS]
    writer.writerow(
        ["rank", "candidate_id", "formula", *properties, "score", "pareto_layer", *UNCERTAINTY_FIELDS, "missing",
         "doubts"]
    )  # fmt: skip
    for entry in doc.entries:
        row: list[object] = [entry.rank, entry.candidate_id, entry.formula]
        for name in PROPERTIES:
            row += [_field(quantity(entry, name), field) for field in QUANTITY_FIELDS]
        row += [entry.score, entry.pareto_layer, *uncertainty_values(entry).values()]
        row += [" ".join(entry.missing), " ".join(dict.fromkeys(doubt.code for doubt in entry.doubts))]
        writer.writerow([csv_cell(value) for value in row])
    return out.getvalue()


def uncertainty_values(entry: LeaderboardEntry) -> dict[str, float | None]:
    """Return what the draws say of an entry by the names of :data:`UNCERTAINTY_FIELDS`; None without draws."""
    of = entry.uncertainty
    if of is None:
        return dict.fromkeys(UNCERTAINTY_FIELDS)
    values = (
        of.expected_rank, *of.rank_interval, *of.score_interval, of.probability_top, of.probability_pareto,
    )  # fmt: skip
    return dict(zip(UNCERTAINTY_FIELDS, values, strict=True))


def _field(found: Quantity, field: str) -> object:
    if field in ("interval_low", "interval_high"):
        return None if found.interval is None else found.interval[field == "interval_high"]
    return getattr(found, field)


def csv_cell(value: object) -> object:
    """Return what stands in a cell: a text with line feeds only, and no formula to a spreadsheet; else as it is."""
    if not isinstance(value, str):
        return value
    # Before Python 3.13 csv leaves a lone carriage return without quotes, and readers end the row there.
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
