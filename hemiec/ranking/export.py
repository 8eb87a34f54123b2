"""A leaderboard as CSV, as JSON and as a table for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hemiec.ranking.leaderboard import quantity
from hemiec.schemas.documents import PROPERTIES
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity
from hemiec.units import EV, EV_PER_ATOM

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

QUANTITY_FIELDS = (
    "value", "unit", "std", "n", "min", "max", "interval_low", "interval_high", "uncorrected", "calibration",
    "method", "reason",
)  # fmt: skip
MISSING = "—"
#: Stands behind a value that was corrected towards DFT.
CORRECTED = "*"
#: A spreadsheet takes a cell that starts so for a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Width of the table, in letters; what of it formulas get at most before they are folded, and space beside a column.
TABLE_WIDTH, _FORMULA, _SPACE = 100, 20, 3
_LONG_HEADING = 10


@dataclass(frozen=True)
class Column:
    """How people see one property."""

    property: str
    title: str
    heading: str
    unit: str
    digits: int


COLUMNS = (
    Column("band_gap", "Band gap", "Band gap", EV, 2),
    Column("migration_barrier", "Migration barrier", "Barrier", EV, 2),
    Column("formation_energy_per_atom", "Formation energy from the elements", "Formation energy", EV_PER_ATOM, 3),
    Column("formation_enthalpy_from_oxides_per_atom", "Formation enthalpy from oxides", "From oxides", EV_PER_ATOM, 3),
    Column("energy_above_hull", "Energy above the hull", "Above hull", EV_PER_ATOM, 3),
    Column("interface_reaction_energy", "Worst interface reaction energy", "Interface", EV_PER_ATOM, 3),
)


def to_json(doc: LeaderboardDoc) -> str:
    """Return the whole leaderboard as JSON; ``LeaderboardDoc.model_validate_json`` reads it back."""
    return doc.model_dump_json(indent=2) + "\n"


def to_csv(doc: LeaderboardDoc) -> str:
    """Return one row per candidate: rank, identity, and each property with unit, spread and method.

    Numbers are written in full precision; what is missing is an empty cell, with the reason in the
    column ``<property>_reason``. ``interval_low`` and ``interval_high`` bound the 90 % interval. Text
    that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    properties = [f"{name}_{field}" for name in PROPERTIES for field in QUANTITY_FIELDS]
    writer.writerow(["rank", "candidate_id", "formula", *properties, "score", "pareto_layer"])
    for entry in doc.entries:
        row: list[object] = [entry.rank, entry.candidate_id, entry.formula]
        for name in PROPERTIES:
            row += [_field(quantity(entry, name), field) for field in QUANTITY_FIELDS]
        writer.writerow([_cell(value) for value in [*row, entry.score, entry.pareto_layer]])
    return out.getvalue()


def to_table(doc: LeaderboardDoc) -> Table:
    """Return the leaderboard for the terminal, readable at 100 columns.

    Each property has its unit in the heading and its method in the caption; where candidates
    differ in method, letters in the cells say which. A missing value is a dash, with the reason in
    the caption. Properties that do not count and find no room are named there.
    """
    from rich import box
    from rich.table import Table

    methods = {column.property: distinct_methods(doc.entries, column.property) for column in COLUMNS}
    cells = {
        column: [_value_text(quantity(entry, column.property), column, methods[column.property])
                 for entry in doc.entries]
        for column in COLUMNS
    }  # fmt: skip
    shown = _with_room(doc, cells)
    table = Table(
        title=printable(doc.title),
        caption=_caption(doc, shown, methods),
        caption_justify="left",
        title_justify="left",
        title_style="bold",
        caption_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("Rank", justify="right")
    table.add_column("Formula", overflow="fold")
    for column in shown:
        table.add_column(_heading(column), justify="right", no_wrap=True)
    for order, entry in enumerate(doc.entries):
        rank = MISSING if entry.rank is None else str(entry.rank)
        table.add_row(rank, _plain(entry.label), *(cells[column][order] for column in shown))
    return table


def distinct_methods(entries: Sequence[LeaderboardEntry], name: str) -> list[str]:
    """Return the methods behind the values of one property, in order of first use."""
    used = [quantity(entry, name) for entry in entries]
    return list(dict.fromkeys(found.method for found in used if found.value is not None))


def method_mark(method: str, methods: Sequence[str]) -> str:
    """Return the letter of a method (a, b, ...), or nothing if all values share one method."""
    if len(methods) < 2:
        return ""
    position = methods.index(method)
    return (chr(ord("a") + position // 26 - 1) if position >= 26 else "") + chr(ord("a") + position % 26)


def missing_reasons(entries: Sequence[LeaderboardEntry], name: str) -> dict[str, list[LeaderboardEntry]]:
    """Return why values of one property are missing: reason to candidates."""
    reasons: dict[str, list[LeaderboardEntry]] = {}
    for entry in entries:
        reason = quantity(entry, name).reason
        if reason is not None:
            reasons.setdefault(reason, []).append(entry)
    return reasons


def printable(text: str) -> str:
    """Return text without control characters, so that stored text cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _field(found: Quantity, field: str) -> object:
    if field in ("interval_low", "interval_high"):
        return None if found.interval is None else found.interval[field == "interval_high"]
    return getattr(found, field)


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _plain(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(printable(text), style=style)


def _value_text(found: Quantity, column: Column, methods: Sequence[str]) -> Text:
    """Return the value with the mark of its method and, below it, the interval and the range or the deviation."""
    if found.value is None:
        return _plain(MISSING)
    text = _plain(f"{found.value:.{column.digits}f}{CORRECTED if found.calibration else ''}")
    mark = method_mark(found.method, methods)
    if mark:
        text.append(f" {mark}", style="cyan")
    if found.interval is not None:
        low, high = found.interval
        text.append(f"\n[{low:.{column.digits}f}, {high:.{column.digits}f}]")
    if found.n > 1 and found.min is not None and found.max is not None:
        separator = "–" if found.min >= 0 else " to "
        spread = f"{found.min:.{column.digits}f}{separator}{found.max:.{column.digits}f}"
        text.append(f"\n{spread} ({found.n})", style="dim")
    elif found.std is not None:
        text.append(f"\n±{found.std:.{column.digits}f} ({found.n})", style="dim")
    return text


def _heading(column: Column) -> str:
    """Return the heading with the unit in a line of its own, a long one in two."""
    heading = column.heading if len(column.heading) <= _LONG_HEADING else column.heading.replace(" ", "\n", 1)
    return f"{heading}\n{column.unit}"


def _with_room(doc: LeaderboardDoc, cells: Mapping[Column, Sequence[Text]]) -> tuple[Column, ...]:
    """Return the columns that fit: those that count always, then the others in their order."""
    labels = [len("Formula"), *(len(entry.label) for entry in doc.entries)]
    left = TABLE_WIDTH - len("Rank") - min(_FORMULA, max(labels)) - 2 * _SPACE
    counted = {criterion.property for criterion in doc.criteria}
    chosen: set[Column] = set()
    for column in sorted(COLUMNS, key=lambda column: column.property not in counted):
        lines = [*_heading(column).split("\n"), *(line for cell in cells[column] for line in cell.plain.split("\n"))]
        width = max(len(line) for line in lines) + _SPACE
        if column.property in counted or width <= left:
            chosen.add(column)
            left -= width
    return tuple(column for column in COLUMNS if column in chosen)


def _caption(doc: LeaderboardDoc, shown: Sequence[Column], methods: dict[str, list[str]]) -> Text:
    lines = []
    for column in shown:
        for method in methods[column.property]:
            mark = method_mark(method, methods[column.property])
            lines.append(f"{column.title}{' ' + mark if mark else ''}: {method}")
    spreads = [quantity(entry, column.property) for entry in doc.entries for column in shown]
    if any(found.calibration for found in spreads):
        lines.append(f"{CORRECTED} Corrected towards DFT by a calibration; the rank is by this value")
    if any(found.interval for found in spreads):
        lines.append("Below a value: [90 % interval]")
    if any(found.n > 1 for found in spreads):
        lines.append("Below a value: smallest–largest or ± standard deviation (number of samples)")
    for column in shown:
        for reason, entries in missing_reasons(doc.entries, column.property).items():
            who = "; ".join(dict.fromkeys(entry.label for entry in entries))
            lines.append(f"{MISSING} {column.title} of {who}: {reason}")
    hidden = [column.title.lower() for column in COLUMNS if column not in shown]
    if hidden:
        lines.append(f"For want of room not here, but in the report, in --csv and --json: {', '.join(hidden)}")
    text = _plain("")
    for index, line in enumerate(lines):
        text.append("\n" if index else "").append(printable(line), style="dim")
    return text
