"""Figures of a convex hull itself: a cut along one line of compositions, and a triangle of three compounds.

As in :mod:`hemiec.thermo.plots.candidate`, every function returns a figure of its own that nothing keeps open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Composition

from hemiec.errors import InputError
from hemiec.figures import BLUE, GREY, VERMILION, empty_figure, figure_with_axes
from hemiec.thermo.hull.convex import Hull
from hemiec.thermo.phases import PhaseSet
from hemiec.thermo.plots.text import COLUMN, SMALL, formula_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A composition this far from a line, by atomic fractions, is not on it.
_ON_LINE = 1e-4
_POINTS = 401
#: Phases higher above the hull than this, in eV/atom, are left out: they would squeeze the rest.
_SHOWN_ABOVE = 0.3


def hull_cut(
    hull: Hull,
    ends: tuple[Composition, Composition],
    *,
    candidate: Composition | None = None,
    energy_per_atom: float | None = None,
    label: str = "candidate",
) -> Figure:
    """Return the hull along the mixtures of two compositions, as in a pseudo-binary phase diagram.

    Energies are relative to the ends, each as it decomposes itself. Dots are phases on the line: filled on the hull,
    open above it. Where the curve bends between them, the products include phases beside the line.

    Parameters
    ----------
    hull
        Of all elements of the ends.
    ends
        Any two compositions; for a perovskite its oxides of A, and the rest.
    candidate, energy_per_atom
        A composition on the line and its energy in eV/atom on the scale of the hull; None for the hull alone.
    label
        Name of the candidate.

    Raises
    ------
    InputError
        If the ends are the same, or the candidate is not on the line.
    ThermoError
        If an element has no phase.
    """
    corners = hull.fractions(ends)
    if np.abs(corners[0] - corners[1]).max() < _ON_LINE:
        raise InputError(f"hull cut: expected two different compositions, got {ends[0].formula} twice.")
    x = np.linspace(0, 1, _POINTS)
    base = hull.energies(corners)
    curve = hull.energies(np.outer(1 - x, corners[0]) + np.outer(x, corners[1])) - _between(base, x)
    figure, axes = figure_with_axes(COLUMN, 2.8)
    axes.plot(x, 1000 * curve, color=BLUE, linewidth=1.6, label="hull")
    fractions = hull.fractions([phase.composition for phase in hull.phases])
    at, distance = _place(fractions, corners)
    on_line = distance < _ON_LINE
    for k in np.flatnonzero(on_line):
        phase = hull.phases[int(k)]
        height = phase.energy_per_atom - _between(base, at[k])
        above = phase.energy_per_atom - float(hull.energies(fractions[k : k + 1])[0])
        if above < _SHOWN_ABOVE:
            stable = above < 1e-6
            axes.plot([at[k]], [1000 * height], "o", color=BLUE, markerfacecolor=BLUE if stable else "white", zorder=3)
            side = "left" if at[k] < 0.1 else "right" if at[k] > 0.9 else "center"
            axes.annotate(formula_text(phase.composition.reduced_formula), (at[k], 1000 * height),
                          (0, -11 if stable else 5), textcoords="offset points", ha=side, fontsize=SMALL)  # fmt: skip
    if candidate is not None and energy_per_atom is not None:
        where, apart = _place(hull.fractions([candidate]), corners)
        if apart[0] > _ON_LINE:
            raise InputError(
                f"hull cut: {candidate.formula} is not a mixture of {ends[0].formula} and {ends[1].formula}."
            )
        above = hull.energy_above(candidate, energy_per_atom)
        height = energy_per_atom - _between(base, where[0])
        axes.plot([where[0]], [1000 * height], "D", color=VERMILION, markersize=6, zorder=4, clip_on=False,
                  label=f"{formula_text(label)}: {1000 * above:+.0f} meV/atom")  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set(xlim=(0, 1), ylabel="energy from the ends (meV/atom)",
             xlabel=f"share of the atoms\n{_name(ends[0])} to {_name(ends[1])}")  # fmt: skip
    axes.margins(y=0.2)
    axes.legend(frameon=False, fontsize=SMALL, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return figure


def hull_triangle(
    phases: PhaseSet,
    corners: Sequence[str],
    *,
    candidate: Composition | None = None,
    label: str = "candidate",
) -> Figure:
    """Return which phases coexist among three compounds, as pymatgen's compound phase diagram finds them.

    Parameters
    ----------
    phases
        Of one protocol; those that are no mixture of the corners are left out.
    corners
        Three formulas, such as SrO, Fe2O3 and O2.
    candidate
        A composition to mark; None for none.
    label
        Its name.

    Raises
    ------
    InputError
        If there are not three different corners with phases, or the candidate is no mixture of them.
    """
    from pymatgen.analysis.phase_diagram import CompoundPhaseDiagram, PDEntry, PDPlotter

    terminals = [Composition(corner) for corner in corners]
    if len({terminal.reduced_formula for terminal in terminals}) != 3:
        raise InputError(f"hull triangle: expected three different compounds, got {', '.join(corners) or 'none'}.")
    missing = [corner for corner, of in zip(corners, terminals, strict=True) if of.reduced_formula not in phases.lowest]
    if missing:
        raise InputError(f"hull triangle: there is no phase {', '.join(missing)} to be a corner.")
    entries = [PDEntry(p.composition, p.energy_per_atom * p.composition.num_atoms) for p in phases.lowest.values()]
    lines, stable, unstable = PDPlotter(CompoundPhaseDiagram(entries, terminals)).pd_plot_data
    figure = empty_figure(COLUMN, 3.1)
    axes = figure.add_subplot()
    for line in lines:
        axes.plot(*line, color=BLUE, linewidth=1.0, zorder=1)
    for at, entry in stable.items():
        axes.plot(*at, "o", color=BLUE, markersize=5)
        _name_point(axes, at, entry.original_entry.composition.reduced_formula)
    for at in unstable.values():
        axes.plot(*at, "o", color=BLUE, markerfacecolor="white", markersize=4)
    if candidate is not None:
        where = _barycentric(candidate, terminals)
        axes.plot(where[1] + where[2] / 2, where[2] * np.sqrt(3) / 2, "D", color=VERMILION, markersize=6, zorder=4,
                  label=formula_text(label))  # fmt: skip
    axes.plot([], [], "o", color=BLUE, markersize=5, label="on the hull")
    if unstable:
        axes.plot([], [], "o", color=BLUE, markerfacecolor="white", markersize=4, label="above it")
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.margins(0.12)
    figure.legend(frameon=False, fontsize=SMALL, ncols=3, loc="outside lower center")
    return figure


def oxide_ends(
    candidate: Composition, on_A: Sequence[str], states: Mapping[str, float]
) -> tuple[Composition, Composition]:
    """Return the oxides of the cations on A, and what is left of the candidate: a line that leads through it.

    Parameters
    ----------
    candidate
        Amounts per formula unit.
    on_A
        Cations on A, oxidised as ``states`` says.
    states
        Element to oxidation state.

    Raises
    ------
    InputError
        If the candidate has not enough oxygen for the oxides of A, or nothing else is left.
    """
    oxides = {symbol: float(candidate[symbol]) for symbol in on_A}
    oxides["O"] = sum(amount * states[symbol] / 2 for symbol, amount in oxides.items())
    rest = {e.symbol: float(n) - oxides.get(e.symbol, 0.0) for e, n in candidate.items()}
    if min(rest.values()) < -1e-6 or sum(rest.values()) < 1e-6:
        raise InputError(f"{candidate.formula}: its oxides of {', '.join(on_A)} leave no other composition.")
    return Composition(oxides), Composition({symbol: n for symbol, n in rest.items() if n > 1e-6})


def _between(ends: Any, x: Any) -> Any:
    return (1 - x) * ends[0] + x * ends[1]


def _place(fractions: Any, corners: Any) -> tuple[Any, Any]:
    """Return where on the line compositions are, and how far beside it or beyond its ends, shapes (n,)."""
    along = corners[1] - corners[0]
    at = (fractions - corners[0]) @ along / (along @ along)
    apart = np.abs(fractions - _between(corners[:, None], at[:, None])).max(axis=1)
    beyond = np.maximum(0.0, np.maximum(-at, at - 1))
    return at.clip(0, 1), np.maximum(apart, beyond)


def _barycentric(candidate: Composition, corners: Sequence[Composition]) -> Any:
    """Return the shares of the atoms that three compositions have in a mixture of them, shape=(3,)."""
    elements = sorted({e for of in (candidate, *corners) for e in of}, key=str)
    columns = np.array([[of.get_atomic_fraction(e) for e in elements] for of in (*corners, candidate)]).T
    shares = np.linalg.lstsq(columns[:, :3], columns[:, 3], rcond=None)[0]
    if np.abs(columns[:, :3] @ shares - columns[:, 3]).max() > _ON_LINE or shares.min() < -_ON_LINE:
        names = ", ".join(of.reduced_formula for of in corners)
        raise InputError(f"hull triangle: {candidate.formula} is no mixture of {names}.")
    return shares


def _name(composition: Composition) -> str:
    """Return the formula of a compound; of a mixture of many elements, the cations only."""
    if len(composition) <= 3:
        return formula_text(composition.get_integer_formula_and_factor(max_denominator=100)[0])
    return "(" + ",".join(e.symbol for e in composition if e.symbol != "O") + ") oxides"


def _name_point(axes: Axes, at: tuple[float, float], formula: str) -> None:
    low = at[1] < 0.05
    axes.annotate(formula_text(formula), at, (0, -12 if low else 6), textcoords="offset points", ha="center",
                  fontsize=SMALL)  # fmt: skip
