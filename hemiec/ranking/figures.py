"""Figures of a leaderboard for papers: where candidates may stand, how likely, and their properties with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from hemiec.errors import InputError, did_you_mean
from hemiec.figures import BLUE, GREY, ORANGE, VERMILION, bare, empty_figure, figure_with_axes
from hemiec.ranking.columns import BY_PROPERTY, Column
from hemiec.ranking.entries import quantity
from hemiec.ranking.export.cells import FORMULA_AMOUNT, counted, printable, tells_top
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Candidates in a figure with a row for each.
MOST_ROWS = 25
#: Points that get a name in a scatter plot; more would cover each other.
MOST_NAMES = 12
#: Letters of a formula at most: one of ten species with shares has no more.
LONGEST_NAME = 60
#: Height of a row and of what is above and below all of them, in inches.
_ROW, _MARGIN = 0.24, 0.85
#: Width of a letter beside a row, in inches.
_LETTER = 0.075
TOP, FRONT = "top", "front"


def leaderboard(doc: LeaderboardDoc, *, most: int = MOST_ROWS) -> Figure:
    """Return the ranked list as a figure: rank with its 90 % interval, what counts with its own, and a probability.

    That is P of the top, or of the Pareto front where all that rank are in the top.

    Parameters
    ----------
    doc
        The leaderboard.
    most
        Rows at most; what is left out is said below.

    Raises
    ------
    InputError
        If no candidate is ranked.
    """
    entries, columns = _ranked(doc)[:most], counted(doc)
    drawn = any(entry.uncertainty for entry in entries)
    figure = empty_figure(_names(entries) + 1.7 * (len(columns) + 1) + 1.2 * drawn, _height(entries))
    widths = [1.3, *([1.0] * len(columns)), *([0.8] * drawn)]
    panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    _rank_rows(panels[0], doc, entries)
    for axes, column in zip(panels[1:], columns, strict=False):
        _value_rows(axes, entries, column)
    if drawn:
        _probability_rows(panels[-1], doc, entries, [TOP if tells_top(doc) else FRONT])
    for axes in panels[1:]:
        axes.tick_params(axis="y", length=0)
    _say_left_out(figure, doc, entries)
    return figure


def rank_intervals(doc: LeaderboardDoc, *, most: int = MOST_ROWS) -> Figure:
    """Return the rank of each candidate, its mean over the draws, and its 90 % interval.

    Parameters and errors are those of :func:`leaderboard`.
    """
    entries = _ranked(doc)[:most]
    figure, axes = figure_with_axes(_names(entries) + 3.2, _height(entries))
    _rank_rows(axes, doc, entries)
    _say_left_out(figure, doc, entries)
    return figure


def probability_bars(doc: LeaderboardDoc, *, most: int = MOST_ROWS) -> Figure:
    """Return the probability of the top and of the Pareto front for each candidate, one bar each.

    Parameters are those of :func:`leaderboard`.

    Raises
    ------
    InputError
        If no candidate is ranked, or the leaderboard has no draws.
    """
    entries = _ranked(doc)[:most]
    if not any(entry.uncertainty for entry in entries):
        raise InputError("the leaderboard has no draws, so there are no probabilities.", mend="rank again")
    figure, axes = figure_with_axes(_names(entries) + 3.0, _height(entries) + 0.2)
    _probability_rows(axes, doc, entries, [TOP, FRONT] if tells_top(doc) else [FRONT])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)
    _say_left_out(figure, doc, entries)
    return figure


def pareto_scatter(doc: LeaderboardDoc, x: str, y: str) -> Figure:
    """Return one property against another with 90 % intervals, the Pareto front of the whole leaderboard marked.

    Parameters
    ----------
    doc
        The leaderboard.
    x, y
        Names of two properties.

    Raises
    ------
    InputError
        If there is no such property, or no candidate has both.
    """
    across, up = (_column(name) for name in (x, y))
    entries = _with_both(doc, across, up)
    figure, axes = figure_with_axes(4.4, 3.6)
    groups = (
        ("on the Pareto front", VERMILION, "o", [e for e in entries if e.pareto_layer == 1]),
        ("behind it", BLUE, "s", [e for e in entries if e.pareto_layer is not None and e.pareto_layer > 1]),
        ("not ranked", GREY, "D", [e for e in entries if e.pareto_layer is None]),
    )
    for name, tone, marker, members in groups:
        if members:
            _points(axes, members, across, up, color=tone, marker=marker, label=f"{name} ({len(members)})")
    _name_points(axes, entries, across, up)
    _name_axes(axes, doc, across, up)
    axes.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def gap_barrier_map(doc: LeaderboardDoc) -> Figure:
    """Return band gap against migration barrier with 90 % intervals, coloured by score; open marks are not ranked.

    Raises
    ------
    InputError
        If no candidate has both.
    """
    across, up = _column("band_gap"), _column("migration_barrier")
    entries = _with_both(doc, across, up)
    figure, axes = figure_with_axes(5.0, 3.8)
    ranked = [entry for entry in entries if entry.score is not None]
    others = [entry for entry in entries if entry.score is None]
    _points(axes, entries, across, up, color=GREY, marker="none")
    if others:
        xs, ys = _values(others, across), _values(others, up)
        axes.scatter(xs, ys, facecolor="none", edgecolor=GREY, s=42, zorder=3, label="not ranked")
    if ranked:
        scores = [entry.score or 0.0 for entry in ranked]
        dots = axes.scatter(
            _values(ranked, across), _values(ranked, up), c=scores, cmap="cividis", s=46, zorder=3, edgecolor="white",
            linewidth=0.6,
        )  # fmt: skip
        bar = figure.colorbar(dots, ax=axes, pad=0.02)
        bar.set_label("Score", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    _name_points(axes, entries, across, up)
    _name_axes(axes, doc, across, up)
    return figure


def formula_text(formula: str) -> str:
    """Return a formula as matplotlib shows it: amounts as subscripts, all else as it is.

    Letters that the font lacks are replaced by a box, and what is longer than any formula is cut.
    """
    short = formula if len(formula) <= LONGEST_NAME else f"{formula[: LONGEST_NAME - 1]}…"
    plain = "".join(letter if _in_font(letter) else "\N{WHITE SQUARE}" for letter in printable(short))
    parts = FORMULA_AMOUNT.split(plain)
    return "".join(f"$_{{{part}}}$" if index % 2 else part.replace("$", r"\$") for index, part in enumerate(parts))


@cache
def _in_font(letter: str) -> bool:
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont("DejaVu Sans")).get_char_index(ord(letter)) != 0


def _ranked(doc: LeaderboardDoc) -> list[LeaderboardEntry]:
    entries = [entry for entry in doc.entries if entry.rank is not None]
    if not entries:
        raise InputError(
            "no candidate of the leaderboard is ranked, so there is nothing to draw.",
            mend="see which values are missing with `hemiec rank --csv`",
        )
    return entries


def _column(name: str) -> Column:
    if name not in BY_PROPERTY:
        raise InputError(f"unknown property {name!r}; {did_you_mean(name, tuple(BY_PROPERTY))}")
    return BY_PROPERTY[name]


def _with_both(doc: LeaderboardDoc, x: Column, y: Column) -> list[LeaderboardEntry]:
    found = [
        entry for entry in doc.entries
        if quantity(entry, x.property).value is not None and quantity(entry, y.property).value is not None
    ]  # fmt: skip
    if not found:
        raise InputError(f"no candidate has both {x.property} and {y.property}.")
    return found


def _height(entries: Sequence[LeaderboardEntry]) -> float:
    return _MARGIN + _ROW * len(entries)


def _names(entries: Sequence[LeaderboardEntry]) -> float:
    """Return the width that the names beside the rows need, in inches."""
    return 0.5 + _LETTER * min(LONGEST_NAME, max(len(entry.label) for entry in entries))


def _rows(axes: Axes, entries: Sequence[LeaderboardEntry]) -> None:
    """Give each entry a row, the first one on top."""
    bare(axes)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_yticks(range(len(entries)), [f"{formula_text(e.label)}  {e.rank}" for e in entries])
    axes.xaxis.grid(True, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def _rank_rows(axes: Axes, doc: LeaderboardDoc, entries: Sequence[LeaderboardEntry]) -> None:
    from matplotlib.ticker import MaxNLocator

    _rows(axes, entries)
    drawn = [(row, entry.uncertainty) for row, entry in enumerate(entries) if entry.uncertainty]
    for row, of in drawn:
        axes.plot(of.rank_interval, [row, row], color=BLUE, alpha=0.35, linewidth=5, solid_capstyle="round")
    axes.scatter([of.expected_rank for _, of in drawn], [row for row, _ in drawn], s=22, color=BLUE, zorder=3)
    ranks = [entry.rank or 0 for entry in entries]
    axes.scatter(ranks, range(len(entries)), marker="|", s=60, color="black", linewidth=1.2, zorder=4)
    axes.set_xlim(left=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("Rank: line; mean and 90 % interval" if drawn else "Rank", fontsize=8)


def _value_rows(axes: Axes, entries: Sequence[LeaderboardEntry], column: Column) -> None:
    _rows(axes, entries)
    for row, entry in enumerate(entries):
        found = quantity(entry, column.property)
        if found.value is None:
            axes.text(0.5, row, "no value", transform=axes.get_yaxis_transform(), ha="center", va="center",
                      fontsize=7, color=VERMILION)  # fmt: skip
            continue
        low, high = found.interval or (found.value, found.value)
        axes.plot([low, high], [row, row], color=ORANGE, linewidth=1.4)
        axes.scatter([found.value], [row], s=16, color=VERMILION, zorder=3)
    axes.set_xlabel(f"{column.heading} ({column.unit})", fontsize=8)
    axes.locator_params(axis="x", nbins=4)


def _probability_rows(
    axes: Axes, doc: LeaderboardDoc, entries: Sequence[LeaderboardEntry], kinds: Sequence[str]
) -> None:
    _rows(axes, entries)
    drawn = [(row, entry.uncertainty) for row, entry in enumerate(entries) if entry.uncertainty]
    thick = 0.6 if len(kinds) == 1 else 0.36
    for kind, shift in zip(kinds, (0.0,) if len(kinds) == 1 else (-0.19, 0.19), strict=True):
        top = kind == TOP
        shares = [of.probability_top if top else of.probability_pareto for _, of in drawn]
        axes.barh(
            [row + shift for row, _ in drawn], shares, height=thick, color=BLUE if top else ORANGE,
            label=f"in the top {doc.top}" if top else "on the Pareto front",
        )  # fmt: skip
    axes.set_xlim(0, 1)
    names = {TOP: f"P(top {doc.top})", FRONT: "P(Pareto front)"}
    axes.set_xlabel("Probability" if len(kinds) > 1 else names[kinds[0]], fontsize=8)


def _points(
    axes: Axes, entries: Sequence[LeaderboardEntry], x: Column, y: Column, *, color: str, marker: str,
    label: str | None = None,
) -> None:  # fmt: skip
    reach = [[_reach(quantity(entry, of.property)) for entry in entries] for of in (x, y)]
    bars = [[[low for low, _ in several], [high for _, high in several]] for several in reach]
    axes.errorbar(
        _values(entries, x), _values(entries, y), xerr=bars[0], yerr=bars[1], fmt=marker, color=color, markersize=5,
        elinewidth=0.8, ecolor=color, alpha=0.85, label=label,
    )  # fmt: skip


def _reach(found: Quantity) -> tuple[float, float]:
    if found.value is None or found.interval is None:
        return 0.0, 0.0
    return max(0.0, found.value - found.interval[0]), max(0.0, found.interval[1] - found.value)


def _values(entries: Sequence[LeaderboardEntry], column: Column) -> list[float]:
    return [value for entry in entries if (value := quantity(entry, column.property).value) is not None]


def _name_points(axes: Axes, entries: Sequence[LeaderboardEntry], x: Column, y: Column) -> None:
    """Write the formulas of the best ranked beside their points."""
    named = [entry for entry in entries if entry.rank is not None][:MOST_NAMES]
    for entry, across, up in zip(named, _values(named, x), _values(named, y), strict=True):
        text = f"{entry.rank}  {formula_text(entry.label)}" if len(entries) <= MOST_NAMES else str(entry.rank)
        axes.annotate(text, (across, up), xytext=(5, 4), textcoords="offset points", fontsize=7, color="0.25")


def _name_axes(axes: Axes, doc: LeaderboardDoc, x: Column, y: Column) -> None:
    axes.set_xlabel(f"{x.title} ({x.unit})")
    axes.set_ylabel(f"{y.title} ({y.unit})")
    axes.grid(True, color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(0.12)


def _say_left_out(figure: Figure, doc: LeaderboardDoc, entries: Sequence[LeaderboardEntry]) -> None:
    n_ranked = sum(entry.rank is not None for entry in doc.entries)
    words = []
    if n_ranked > len(entries):
        words.append(f"the first {len(entries)} of {n_ranked} ranked")
    if len(doc.entries) > n_ranked:
        words.append(f"{len(doc.entries) - n_ranked} without a rank are not drawn")
    if words:
        figure.supxlabel("; ".join(words).capitalize(), fontsize=7, color="0.35", x=0.99, ha="right")
