"""A leaderboard as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hemiec.ranking.columns import COLUMNS, Column
from hemiec.ranking.entries import quantity
from hemiec.ranking.export.cells import (
    CORRECTED,
    MISSING,
    Methods,
    missing_reasons,
    percent,
    printable,
    rank_interval,
    tells_top,
    weight_sentence,
)
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: Width of the table, in letters; what of it formulas get at most before they are folded, and space beside a column.
TABLE_WIDTH, _FORMULA, _SPACE = 100, 20, 3
_LONG_HEADING = 10


def to_table(doc: LeaderboardDoc) -> Table:
    """Return the leaderboard for the terminal, readable at 100 columns.

    Below each rank stands its 90 % interval, and beside it the probability of the top, if there were draws and not all
    are in it. Each property has its unit in the heading and its method in the caption; where candidates
    differ in method, letters in the cells say which. A missing value is a dash, with the reason in
    the caption. Properties that do not count and find no room are named there.
    """
    from rich import box
    from rich.table import Table

    methods = {column.property: Methods.of(doc.entries, column.property) for column in COLUMNS}
    cells = {
        column: [_value_text(quantity(entry, column.property), column, methods[column.property])
                 for entry in doc.entries]
        for column in COLUMNS
    }  # fmt: skip
    ranks, tops = [_rank_text(entry) for entry in doc.entries], [_top_text(entry) for entry in doc.entries]
    drawn = tells_top(doc)
    top_heading = f"Top\n{doc.top}"
    shown = _with_room(doc, cells, _width("Rank", ranks) + (_width(top_heading, tops) + _SPACE if drawn else 0))
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
    table.add_column("Rank", justify="right", no_wrap=True)
    if drawn:
        table.add_column(top_heading, justify="right", no_wrap=True)
    table.add_column("Formula", overflow="fold")
    for column in shown:
        table.add_column(_heading(column), justify="right", no_wrap=True)
    for order, entry in enumerate(doc.entries):
        row = [ranks[order], *([tops[order]] if drawn else []), _plain(entry.label)]
        table.add_row(*row, *(cells[column][order] for column in shown))
    return table


def _rank_text(entry: LeaderboardEntry) -> Text:
    text = _plain(MISSING if entry.rank is None else str(entry.rank))
    within = rank_interval(entry)
    return text.append(f"\n{within}", style="dim") if within else text


def _top_text(entry: LeaderboardEntry) -> Text:
    return _plain(MISSING if entry.uncertainty is None else percent(entry.uncertainty.probability_top))


def _plain(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(printable(text), style=style)


def _value_text(found: Quantity, column: Column, methods: Methods) -> Text:
    """Return the value with the mark of its method and, below it, the interval and the range or the deviation."""
    if found.value is None:
        return _plain(MISSING)
    text = _plain(f"{found.value:.{column.digits}f}{CORRECTED if found.calibration else ''}")
    mark = methods.mark(found.method)
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


def _width(heading: str, cells: Sequence[Text]) -> int:
    return max(len(line) for text in (heading, *(cell.plain for cell in cells)) for line in text.split("\n"))


def _with_room(doc: LeaderboardDoc, cells: Mapping[Column, Sequence[Text]], beside: int) -> tuple[Column, ...]:
    """Return the columns that fit: those that count always, then the others in their order."""
    labels = [len("Formula"), *(len(entry.label) for entry in doc.entries)]
    left = TABLE_WIDTH - beside - min(_FORMULA, max(labels)) - 2 * _SPACE
    counting = {criterion.property for criterion in doc.criteria}
    chosen: set[Column] = set()
    for column in sorted(COLUMNS, key=lambda column: column.property not in counting):
        width = _width(_heading(column), cells[column]) + _SPACE
        if column.property in counting or width <= left:
            chosen.add(column)
            left -= width
    return tuple(column for column in COLUMNS if column in chosen)


def _caption(doc: LeaderboardDoc, shown: Sequence[Column], methods: Mapping[str, Methods]) -> Text:
    lines = []
    if any(entry.uncertainty is not None for entry in doc.entries):
        shares = f"; Top {doc.top}: share of them within it" if tells_top(doc) else ""
        lines.append(f"Below a rank: its 90 % interval over {doc.draws} draws{shares}")
    for column in shown:
        for mark, method in methods[column.property].named():
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
    labels = {entry.candidate_id: entry.label for entry in doc.entries}
    lines += [weight_sentence(of, labels) for of in doc.sensitivity]
    doubtful = sum(bool(entry.doubts) for entry in doc.entries)
    if doubtful:
        lines.append(f"What is doubtful of {doubtful} of them: in the report and in --json")
    hidden = [column.title.lower() for column in COLUMNS if column not in shown]
    if hidden:
        lines.append(f"For want of room not here, but in the report, in --csv and --json: {', '.join(hidden)}")
    text = _plain("")
    for index, line in enumerate(lines):
        text.append("\n" if index else "").append(printable(line), style="dim")
    return text
