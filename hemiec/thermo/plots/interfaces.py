"""Figures of interface reactions: the curves with one partner, their products, the jumps of chemical potentials."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hemiec.errors import InputError
from hemiec.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, bare, empty_figure
from hemiec.schemas.thermo import InterfaceDoc, ReactionKink
from hemiec.thermo.plots.text import COLUMN, LETTERS, SMALL, formula_text, products_text, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Kinks of a reaction curve that are numbered.
_NUMBERED = 5
#: Jumps of a chemical potential below this, in eV, are none.
_NO_JUMP = 1e-3


def interface(curves: Sequence[InterfaceDoc], *, label: str = "") -> Figure:
    """Return reaction energy against mixing fraction with one partner, and the jumps of the chemical potentials.

    Above the first curve, which is the closed one in :func:`hemiec.thermo.plots.candidate.figures`; below it the
    others, on a scale of their own. The deepest kinks of the first are numbered, with their products in a list; the
    worst is always among them.

    Raises
    ------
    InputError
        If there is no curve, a curve has no point, or the partners differ.
    """
    if len({curve.partner for curve in curves}) != 1 or not all(curve.kinks for curve in curves):
        partners = ", ".join(curve.partner for curve in curves) or "none"
        raise InputError(f"interface: expected curves with points, all of one partner, got partners {partners}.")
    first, others = curves[0], curves[1:]
    shown = _deepest(first)
    lines = _kink_lines(first, shown)
    jumps = {name: jump for name, jump in first.potential_jump.items() if abs(jump) > _NO_JUMP}
    heights = [2.1, 1.9 if others else 0, 0.16 + 0.125 * len(lines), 0.45 + 0.16 * len(jumps) if jumps else 0]
    figure = empty_figure(COLUMN, sum(heights))
    parts: Any = figure.subfigures(4 - heights.count(0), 1, height_ratios=[h for h in heights if h], squeeze=False)
    top, *middle, text = list(parts.flat)[: 3 if others else 2]
    _draw_curves(top.subplots(), [first], f"{label} with {first.partner}" if label else first.partner)
    for number, kink in enumerate(shown, start=1):
        top.axes[0].annotate(str(number), (kink.fraction, 1000 * kink.reaction_energy), (0, -10), ha="center",
                             textcoords="offset points", fontsize=SMALL)  # fmt: skip
    if others:
        _draw_curves(middle[0].subplots(), others, "")
    text.text(0.03, 0.98, "\n".join(formula_text(line) for line in lines), fontsize=SMALL, va="top", linespacing=1.25)
    if jumps:
        _draw_jumps(parts.flat[-1].subplots(), jumps)
    return figure


def by_partner(found: Sequence[InterfaceDoc]) -> Mapping[str, list[InterfaceDoc]]:
    """Return the curves of each partner, the closed one first."""
    grouped: dict[str, list[InterfaceDoc]] = {}
    for curve in sorted(found, key=lambda curve: curve.open_element or ""):
        grouped.setdefault(curve.partner, []).append(curve)
    return grouped


def _draw_curves(axes: Axes, curves: Sequence[InterfaceDoc], title: str) -> None:
    for curve, colour, style in zip(curves, (BLUE, VERMILION, GREEN, ORANGE), ("-", "--", ":", "-."), strict=False):
        x, y = [kink.fraction for kink in curve.kinks], [1000 * kink.reaction_energy for kink in curve.kinks]
        axes.plot(x, y, style, color=colour, linewidth=1.6, marker="o", markersize=3, label=_curve_name(curve))
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.margins(y=0.15)
    axes.set(xlim=(0, 1), xlabel="share of the candidate, by atoms", ylabel="reaction energy\n(meV/atom)")
    axes.set_title(formula_text(title), fontsize=8, loc="left")
    axes.legend(frameon=False, fontsize=SMALL, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
                columnspacing=1, handlelength=1.8)  # fmt: skip
    bare(axes)


def _deepest(curve: InterfaceDoc) -> list[ReactionKink]:
    """Return the worst inner kink and those farthest from the line between their neighbours, by their fractions."""
    points = [(kink.fraction, kink.reaction_energy) for kink in curve.kinks]
    depth = {k: _below_chord(*points[k - 1 : k + 2]) for k in range(1, len(points) - 1)}
    worst = min(depth, key=lambda k: points[k][1], default=None)
    ordered = sorted(depth, key=lambda k: (k != worst, -depth[k]))
    return [curve.kinks[k] for k in sorted(ordered[:_NUMBERED])]


def _below_chord(left: tuple[float, float], at: tuple[float, float], right: tuple[float, float]) -> float:
    """Return how far a point lies below the line between its neighbours."""
    share = (at[0] - left[0]) / (right[0] - left[0]) if right[0] > left[0] else 0.0
    return (1 - share) * left[1] + share * right[1] - at[1]


def _kink_lines(curve: InterfaceDoc, shown: Sequence[ReactionKink]) -> list[str]:
    lines: list[str] = []
    for number, kink in enumerate(shown, start=1):
        lines += textwrap.wrap(f"{number}: {products_text(kink.products)}", LETTERS, subsequent_indent="    ")
    more = len(curve.kinks) - 2 - len(shown)
    lines += [f"and {more} more in the document"] if more > 0 else []
    if all(abs(jump) <= _NO_JUMP for jump in curve.potential_jump.values()):
        lines.append("no jump of a chemical potential")
    return lines or ["no reaction"]


def _curve_name(curve: InterfaceDoc) -> str:
    if curve.open_element is None:
        return "closed"
    if curve.chemical_potential is None:
        return f"open to {curve.open_element}"
    if curve.open_element == "Li":
        return f"Li at {signed(-curve.chemical_potential, 1)} V"
    return f"{curve.open_element} at {signed(curve.chemical_potential, 2)} eV"


def _draw_jumps(axes: Axes, jumps: Mapping[str, float]) -> None:
    names = sorted(jumps)
    axes.barh(range(len(names)), [jumps[name] for name in names], color=GREY, height=0.6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("jump of the chemical potential into the candidate (eV)")
    bare(axes)
    axes.xaxis.label.set_fontsize(8)
