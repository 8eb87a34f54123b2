"""Figures of thermodynamics: decomposition, E_hull(T), oxygen deficiency, windows; and all of a candidate.

Every function takes documents of :mod:`hemiec.schemas.thermo` and returns a :class:`matplotlib.figure.Figure` of its
own, one column wide, without pyplot: nothing is shown or kept open. Save it with ``figure.savefig("name.pdf")``.
Interface reactions are drawn by :mod:`hemiec.thermo.plots.interfaces`, hulls through a set of phases by
:mod:`hemiec.thermo.plots.hulls`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hemiec.errors import InputError
from hemiec.figures import BLUE, ORANGE, VERMILION, bare, empty_figure, figure_with_axes
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import EntropyDoc, HullDoc, OxygenDoc, PhaseAmount, Thermodynamics, WindowDoc
from hemiec.thermo.plots.interfaces import by_partner, interface
from hemiec.thermo.plots.text import COLUMN, LETTERS, SMALL, formula_text, products_text, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Steps of colour in the map of oxygen deficiency.
_LEVELS = 12


def decomposition(hull: HullDoc, *, label: str = "") -> Figure:
    """Return what the candidate decomposes to, and how far above it lies.

    Above: energies per atom over the hull of all phases, of the candidate with its 90 % interval and of the lowest
    mixture of ordered perovskites. Below: products, by their share of the atoms, of the one and the other.

    Raises
    ------
    InputError
        If there is no energy above the hull.
    """
    value = _value(hull.energy_above_hull, "decomposition")
    groups = [("hull", BLUE, hull.decomposition), ("ordered perovskites", ORANGE, hull.ordered)]
    rows = sum(len(products) for _, _, products in groups)
    figure = empty_figure(COLUMN, 1.3 + 0.7 + 0.17 * max(2, rows + 1))
    top, below = figure.subplots(2, 1, height_ratios=[1.1, 0.5 + 0.17 * max(2, rows + 1)])
    levels = [("candidate", VERMILION, value), ("hull", BLUE, 0.0)]
    if hull.energy_above_ordered.value is not None:
        levels.insert(1, ("ordered perovskites", ORANGE, value - hull.energy_above_ordered.value))
    for row, (name, colour, energy) in enumerate(reversed(levels)):
        reach = _reach(hull.energy_above_hull) if name == "candidate" else None
        top.errorbar([1000 * energy], [row], xerr=reach, fmt="D", color=colour, markersize=5, capsize=3, linewidth=1.4)
        top.annotate(signed(1000 * energy, 0), (1000 * energy, row), (4, 4), textcoords="offset points",
                     fontsize=SMALL)  # fmt: skip
    top.axvline(0, color=BLUE, linewidth=0.8, zorder=0)
    top.set_yticks(range(len(levels)), [name for name, _, _ in reversed(levels)])
    top.set(ylim=(-0.5, len(levels) - 0.2), xlabel="energy above the hull (meV/atom)")
    top.set_title(formula_text(label), fontsize=8)
    top.margins(x=0.12)
    _draw_products(below, groups)
    for axes in (top, below):
        bare(axes)
    return figure


def hull_over_temperature(entropy: EntropyDoc, *, label: str = "") -> Figure:
    """Return energy above the hull less temperature times mixing entropy, with its 90 % band.

    Where the curve passes zero is marked with its interval; the heading says what makes the phase stable.

    Raises
    ------
    InputError
        If the curve has no point, or is not as long as its temperatures.
    """
    n = len(entropy.temperatures_K)
    T, curve = _row(entropy.temperatures_K, n), _row(entropy.energy_above_hull, n)
    figure, axes = figure_with_axes(COLUMN, 2.7)
    if entropy.low is not None and entropy.high is not None:
        low, high = _row(entropy.low, n), _row(entropy.high, n)
        axes.fill_between(T, 1000 * low, 1000 * high, color=BLUE, alpha=0.2, linewidth=0, label="90 % interval")
    axes.plot(T, 1000 * curve, color=BLUE, linewidth=1.8, label=formula_text(label) or None)
    axes.axhline(0, color="black", linewidth=0.8)
    at = entropy.stabilised_above_K
    start, end = entropy.stabilised_interval_K
    if start is not None:
        axes.plot([start, T[-1] if end is None else end], [0, 0], color=VERMILION, linewidth=4, alpha=0.5,
                  solid_capstyle="butt")  # fmt: skip
    if at is not None:
        axes.plot([at], [0], "o", color=VERMILION, markersize=6, zorder=4, label=f"hull reached at {at:.0f} K")
    axes.set(xlabel="temperature (K)", ylabel="$E_\\mathrm{hull}$ − $TS$ (meV/atom)", xlim=(T[0], T[-1]))
    axes.set_title(verdict(entropy), fontsize=8, loc="left")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=SMALL)
    return figure


def oxygen_map(oxygen: OxygenDoc) -> Figure:
    """Return the oxygen deficiency over temperature and pressure in colours, the valence on B as contour lines.

    The dashed line is where the deficiency is that of the composition that was computed; the point is air.

    Raises
    ------
    InputError
        If the grid has less than two temperatures or pressures, or does not fit them.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    T, pressure = np.array(oxygen.temperatures_K), np.array(oxygen.log10_pO2_bar)
    delta, valence = np.array(oxygen.delta, dtype=float), np.array(oxygen.mean_B_valence, dtype=float)
    if min(len(T), len(pressure)) < 2 or delta.shape != (len(T), len(pressure)) or valence.shape != delta.shape:
        raise InputError(
            f"oxygen map: expected grids of {len(T)} temperatures and {len(pressure)} pressures, at least two each, "
            f"got shapes {delta.shape} and {valence.shape}."
        )
    figure, axes = figure_with_axes(COLUMN, 3.0)
    top = max(float(delta.max()), 1e-3)
    # The dark end of the colours is left out: black lines and their labels stay readable on the rest.
    colours = colormaps["Blues"](np.linspace(0, 0.7, _LEVELS))
    levels = np.linspace(min(0.0, float(delta.min())), top, _LEVELS + 1)
    filled = axes.contourf(pressure, T, delta, levels=levels, colors=colours)
    if np.ptp(valence) > 0.02:
        lines = axes.contour(pressure, T, valence, levels=5, colors="black", linewidths=0.8,
                             linestyles="solid")  # fmt: skip
        axes.clabel(lines, fmt="%.2f", fontsize=SMALL)
    assumed = oxygen.delta_assumed
    if delta.min() < assumed < delta.max():
        axes.contour(pressure, T, delta, levels=[assumed], colors=VERMILION, linewidths=1.8, linestyles="dashed")
        axes.plot([], [], "--", color=VERMILION, linewidth=1.8, label=f"δ = {assumed:.3g} as computed")
    air = float(np.log10(0.21))
    if T[0] <= oxygen.air_temperature_K <= T[-1] and pressure[0] <= air <= pressure[-1]:
        axes.plot([air], [oxygen.air_temperature_K], "o", color=VERMILION, markeredgecolor="white", markersize=7,
                  clip_on=False, label=f"air: δ = {oxygen.delta_in_air:.3g}")  # fmt: skip
    bar = figure.colorbar(filled, ax=axes, format="%.3g", ticks=MaxNLocator(6))
    bar.set_label("δ, O vacancies per formula unit", fontsize=8)
    bar.ax.tick_params(labelsize=SMALL)
    axes.set(xlabel="log$_{10}$ $p$(O$_2$) / bar", ylabel="temperature (K)")
    axes.set_title("lines: mean valence on B", fontsize=8, loc="left")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(frameon=False, fontsize=SMALL, ncols=2, loc="outside lower center")
    return figure


def windows(found: Sequence[WindowDoc], *, label: str = "") -> Figure:
    """Return the windows of Li and O potential as bars, with what the candidate becomes beyond their ends.

    Lithium is over voltage against Li/Li+, oxygen over its chemical potential relative to O2 at 0 K. An end that is
    not there is an arrow.

    Raises
    ------
    InputError
        If there is no window.
    """
    if not found:
        raise InputError("windows: expected at least one.")
    notes = [_window_note(window) for window in found]
    heights = [0.75 + 0.14 * note.count("\n") for note in notes]
    figure = empty_figure(COLUMN, sum(heights) + 0.55 * len(found))
    grid = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)
    for axes, window, note in zip(grid.flat, found, notes, strict=True):
        _draw_window(axes, window)
        axes.set_title(note, fontsize=SMALL, loc="left")
        bare(axes)
    if label:
        figure.suptitle(formula_text(label), fontsize=9)
    return figure


def figures(found: Thermodynamics, *, label: str) -> dict[str, Figure]:
    """Return every figure that a candidate's thermodynamics allows: file name without ending to figure."""
    drawn: dict[str, Figure] = {}
    if found.hull is not None and found.hull.energy_above_hull.value is not None:
        drawn["decomposition"] = decomposition(found.hull, label=label)
    if found.entropy is not None:
        drawn["hull-over-temperature"] = hull_over_temperature(found.entropy, label=label)
    if found.oxygen is not None:
        drawn["oxygen"] = oxygen_map(found.oxygen)
    if found.windows:
        drawn["windows"] = windows(found.windows, label=label)
    for partner, curves in by_partner(found.interfaces).items():
        drawn["interface-" + re.sub(r"[^\w.-]", "_", partner)] = interface(curves, label=label)
    return drawn


def verdict(entropy: EntropyDoc) -> str:
    """Return in a few words what makes the phase stable, such as ``entropy decides: stable above 1100 K``."""
    at, highest = entropy.stabilised_above_K, entropy.temperatures_K[-1]
    words = {
        "enthalpy": "enthalpy decides: stable at 0 K",
        "entropy": "entropy decides: " + (f"stable above {at:.0f} K" if at is not None else "stable when hot"),
        "neither": f"not stable up to {highest:.0f} K",
        "undecided": "undecided within the interval",
    }
    return words[entropy.decided_by]


def _draw_products(axes: Axes, groups: Sequence[tuple[str, str, list[PhaseAmount]]]) -> None:
    names, row = [], 0
    for title, colour, products in groups:
        for k, product in enumerate(sorted(products, key=lambda product: -product.amount)):
            axes.barh(row, 100 * product.amount, color=colour, height=0.7, label=None if k else title)
            share = 100 * product.amount
            axes.annotate(signed(share, 0), (max(0.0, share), row), (3, 0), textcoords="offset points", va="center",
                          fontsize=SMALL)  # fmt: skip
            names.append((row, formula_text(product.formula)))
            row += 1
        row += 1 if products else 0
    axes.set_yticks([at for at, _ in names], [name for _, name in names])
    axes.invert_yaxis()
    # O2 that the ordered phases take up from the gas is a negative amount.
    least = min((product.amount for _, _, products in groups for product in products), default=0.0)
    axes.set(xlabel="share of the atoms (%)", xlim=(min(0.0, 130 * least), 112))
    axes.set_xticks([0, 25, 50, 75, 100])
    if len([1 for _, _, products in groups if products]) > 1:
        axes.legend(frameon=False, fontsize=SMALL, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def _draw_window(axes: Axes, window: WindowDoc) -> None:
    lithium = window.element == "Li"
    low, high = (window.voltage_low, window.voltage_high) if lithium else (window.low, window.high)
    known = [end for end in (low, high) if end is not None]
    start, end = (min(known), max(known)) if known else (0.0, 0.0)
    pad = max(0.5, 0.25 * (end - start))
    limits = (start - pad, end + pad)
    left, right = limits[0] if low is None else low, limits[1] if high is None else high
    colour = BLUE if window.driving_force == 0 else ORANGE
    axes.barh([0], [max(right - left, 0.0)], left=[left], height=0.5, color=colour)
    for at, known_end, arrow in ((left, low, "<"), (right, high, ">")):
        if known_end is None:
            axes.plot([at], [0], arrow, color=colour, markersize=9, clip_on=False)
        else:
            outward = (-1, "right") if at == left else (1, "left")
            axes.annotate(signed(known_end, 2), (at, 0), (4 * outward[0], 0), textcoords="offset points",
                          ha=outward[1], va="center", fontsize=8)  # fmt: skip
    axes.set(
        yticks=[], ylim=(-0.5, 0.5), xlim=limits,
        xlabel="voltage against Li/Li$^+$ (V)" if lithium else f"$μ$({window.element}) − ½$E$(O$_2$) (eV)"
        if window.element == "O" else f"$μ$({window.element}), relative to the element (eV)",
    )  # fmt: skip
    axes.spines["left"].set_visible(False)


def _window_note(window: WindowDoc) -> str:
    """Return what is beyond the ends, in the order of the axis: voltage runs against the potential of Li."""
    ends = (window.low, window.high)
    sides, unit = (window.products_below, window.products_above), "eV"
    if window.element == "Li":
        ends, sides, unit = (window.voltage_low, window.voltage_high), sides[::-1], "V"
    taken = f": {1000 * window.driving_force:.0f} meV/atom above the hull taken off" if window.driving_force else ""
    lines = [window.element + taken]
    for side, end, products in zip(("below", "above"), ends, sides, strict=True):
        if products and end is not None:
            lines += textwrap.wrap(f"{side} {signed(end, 2)} {unit}: {products_text(products)}", LETTERS)
    return "\n".join(formula_text(line) for line in lines)


def _value(found: Quantity, name: str) -> float:
    if found.value is None:
        raise InputError(f"{name}: there is no energy above the hull: {found.reason}")
    return found.value


def _reach(found: Quantity) -> Any:
    """Return how far the interval reaches below and above the value, in meV, shape=(2, 1); None without one."""
    if found.value is None or found.interval is None:
        return None
    ends = np.array([found.value - found.interval[0], found.interval[1] - found.value])
    return 1000 * ends.clip(0.0).reshape(2, 1)


def _row(values: Sequence[float], n: int) -> Any:
    if len(values) != n or n == 0:
        raise InputError(f"curve over temperature: expected {n or 'some'} values, one per temperature, "
                         f"got {len(values)}.")  # fmt: skip
    return np.array(values, dtype=float)
