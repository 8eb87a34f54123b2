"""Figures of ion transport: barriers, hop profiles, the conducting network, Arrhenius curves.

Every function returns a :class:`matplotlib.figure.Figure` of its own, without pyplot: nothing is shown or kept open.
Save it with ``figure.savefig("name.pdf")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from hemiec.errors import InputError
from hemiec.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, bare, empty_figure, figure_with_axes
from hemiec.transport.network import FloatArray, HopNetwork
from hemiec.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Hops with less than this part of the largest share are drawn as thin grey lines.
_FAINT = 0.01
_WIDEST = 6.0
_COLUMNS = 4
_POINTS_BETWEEN = 24


@dataclass(frozen=True, eq=False)
class Points:
    """Diffusion or conductivity from elsewhere, beside the curve of a network.

    Parameters
    ----------
    temperatures_K
        Temperatures, shape=(n,).
    log10_values
        log10 of the values, shape=(n,); where ``upper_bound`` is true, of the bound.
    log10_low, log10_high
        Ends of their intervals, shape=(n,); None for points without.
    upper_bound
        Which points are bounds only, shape=(n,); None if none is.
    label
        What they are.
    """

    temperatures_K: ArrayLike
    log10_values: ArrayLike
    log10_low: ArrayLike | None = None
    log10_high: ArrayLike | None = None
    upper_bound: ArrayLike | None = None
    label: str = "molecular dynamics"


@dataclass(frozen=True, eq=False)
class HopPath:
    """The computed states along one hop.

    Parameters
    ----------
    distances
        Path length from the first state in angstrom, increasing, shape=(n,).
    energies
        Energies in eV, any zero, shape=(n,).
    label
        Name of the hop, such as ``La-Sr | Co``.
    """

    distances: ArrayLike
    energies: ArrayLike
    label: str = ""


def barrier_distribution(
    computed: ArrayLike,
    predicted: ArrayLike = (),
    *,
    effective: float | None = None,
    interval: tuple[float, float] | None = None,
    single_hop: float | None = None,
    bin_width: float | None = None,
) -> Figure:
    """Return a histogram of barriers, with the one that governs conduction marked.

    Parameters
    ----------
    computed, predicted
        Barriers in eV, of hops that were computed and of those predicted by a model, shapes (n,) and (m,).
    effective, interval
        Effective barrier in eV and its 90 % interval.
    single_hop
        Median barrier of single hops, in eV.
    bin_width
        In eV; None for one chosen by the data.

    Raises
    ------
    InputError
        If there are no barriers, or one is not finite.
    """
    from matplotlib.ticker import MaxNLocator

    known, model = _finite(computed, "computed"), _finite(predicted, "predicted")
    every = np.concatenate([known, model])
    if len(every) == 0:
        raise InputError("a distribution needs barriers, got none.")
    figure, axes = figure_with_axes(4.6, 3.2)
    edges = np.histogram_bin_edges(every, bins="auto")
    if bin_width is not None or len(edges) < 6 or len(edges) > 41:
        width = bin_width or max(0.01, float(np.ptp(every)) / 15)
        edges = np.arange(np.floor(every.min() / width), np.floor(every.max() / width) + 2) * width
    stacks, labels, colours = [known], [f"computed ({len(known)})"], [BLUE]
    if len(model):
        stacks, labels, colours = [known, model], [*labels, f"predicted ({len(model)})"], [BLUE, "#A9CCE3"]
    axes.hist(stacks, bins=edges.tolist(), stacked=True, color=colours, label=labels, edgecolor="white", linewidth=0.6)
    if effective is not None:
        text = f"effective {effective:.2f} eV"
        if interval is not None:
            axes.axvspan(*interval, color=VERMILION, alpha=0.18, linewidth=0)
            text += f" ({interval[0]:.2f} to {interval[1]:.2f})"
        axes.axvline(effective, color=VERMILION, linewidth=2, label=text)
    if single_hop is not None:
        axes.axvline(
            single_hop, color="black", linewidth=1.4, linestyle="--", label=f"median single hop {single_hop:.2f} eV"
        )
    axes.set(xlabel="barrier of a hop (eV)", ylabel="hops, both directions")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return figure


def hop_profile(paths: HopPath | Sequence[HopPath]) -> Figure:
    """Return the energy along one or more hops, a panel each, all with one scale.

    Dots are computed states, where the energy is stationary; the line between two is the cubic with zero slope at both.

    Raises
    ------
    InputError
        If there is no hop, or states and distances do not fit each other.
    """
    hops = [paths] if isinstance(paths, HopPath) else list(paths)
    if not hops:
        raise InputError("a profile needs at least one hop.")
    columns = min(_COLUMNS, len(hops))
    rows = -(-len(hops) // columns)
    figure = empty_figure(max(3.4, 1.9 * columns + 0.7), 1.9 * rows + 0.8)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, hop in zip(grid.flat, hops, strict=False):
        x, y = _finite(hop.distances, "distances"), _finite(hop.energies, "energies")
        if len(x) != len(y) or len(x) < 2 or not (np.diff(x) > 0).all():
            raise InputError(
                f"hop {hop.label!r}: {len(x)} increasing distances and {len(y)} energies, expected as many."
            )
        y = y - y[0]
        axes.plot(*_smooth(x, y), color=BLUE, linewidth=1.8)
        axes.plot(x, y, "o", color=BLUE, markersize=5)
        top = int(y.argmax())
        axes.annotate(f"{y[top]:.2f}", (x[top], y[top]), (0, 5), textcoords="offset points", ha="center", fontsize=8)
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.set_title(hop.label, fontsize=8)
        axes.margins(y=0.18)
        bare(axes)
    for axes in grid.flat[len(hops) :]:
        axes.remove()
    figure.supxlabel("path length (Å)", fontsize=9)
    figure.supylabel("energy (eV)", fontsize=9)
    return figure


def conducting_network(
    network: HopNetwork,
    hop_share: ArrayLike,
    *,
    site_energies: ArrayLike | None = None,
    elevation: float = 16.0,
    azimuth: float = -64.0,
) -> Figure:
    """Return the cell with its sites coloured by energy and its hops as wide as their share of the current.

    A hop across the cell's faces is drawn in two halves, one at each end. The cell is moved, as a periodic one may be,
    until its faces lie in the widest gaps between the sites.

    Parameters
    ----------
    network
        Sites and hops.
    hop_share
        Share of every hop, such as :attr:`hemiec.transport.kinetics.diffusion.Diffusion.hop_share`, shape=(n_hops,).
    site_energies
        Energies in eV, any zero, shape=(n_sites,); None for sites of one colour.
    elevation, azimuth
        Direction of view, in degrees.

    Raises
    ------
    InputError
        If the arrays do not fit the network.
    """
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    share = _finite(hop_share, "hop_share")
    if len(share) != network.n_hops or (share < 0).any():
        raise InputError(f"expected a share >= 0 of each of {network.n_hops} hops, got {len(share)} numbers.")
    figure = empty_figure(5.6, 4.8)
    axes: Any = figure.add_subplot(projection="3d", proj_type="ortho", computed_zorder=False)
    sites = _between_the_faces(network.frac_coords) @ network.lattice
    segments, hop = _half_hops(network, sites)
    relative = share / share.max() if share.max(initial=0.0) > 0 else share
    strong = relative >= _FAINT
    order = np.argsort(relative[hop])
    order = order[strong[hop][order]]
    faint = ~strong[hop]
    lines = [
        (_cell_edges(network.lattice), {"colors": "black", "linewidths": 0.7}),
        (segments[faint], {"colors": GREY, "linewidths": 0.5, "alpha": 0.35}),
        (segments[order], {"colors": VERMILION, "linewidths": 0.6 + _WIDEST * relative[hop][order], "alpha": 0.85}),
    ]
    for layer, (ends, look) in enumerate(lines):
        if len(ends) > 0:
            axes.add_collection3d(Line3DCollection(ends, zorder=layer, **look))
    _draw_sites(figure, axes, sites, None if site_energies is None else _finite(site_energies, "site_energies"))
    corners = _cell_edges(network.lattice).reshape(-1, 3)
    axes.set_box_aspect(np.ptp(np.concatenate([corners, sites]), axis=0).clip(1e-3), zoom=1.15)
    axes.view_init(elevation, azimuth)
    axes.set_axis_off()
    carrying = int(np.searchsorted(np.cumsum(np.sort(share)[::-1]), 0.9 * share.sum()) + 1) if share.sum() else 0
    axes.set_title(
        f"line width: share of the current; {carrying} of {network.n_hops} hops dissipate 90 % of its power"
        if carrying
        else "no hop leads through the crystal",
        fontsize=8,
    )
    return figure


def arrhenius(
    temperatures_K: ArrayLike,
    log10_median: ArrayLike,
    log10_low: ArrayLike | None = None,
    log10_high: ArrayLike | None = None,
    *,
    quantity: Literal["diffusivity", "conductivity"] = "diffusivity",
    effective_barrier: float | None = None,
    points: Sequence[Points] = (),
) -> Figure:
    """Return log10 of D or of conductivity times temperature against 1000/T, with its band and points beside it.

    Parameters
    ----------
    temperatures_K
        Temperatures of the curve, shape=(n,).
    log10_median, log10_low, log10_high
        log10 of D in cm^2/s or of the conductivity (not yet times T) in S/cm: median and ends of the interval,
        shape=(n,).
    quantity
        Which of the two.
    effective_barrier
        -d ln D / d(1/kT) in eV, for the legend; None for the slope of the median.
    points
        Others to compare with, same quantity and unit.

    Raises
    ------
    InputError
        If there are no temperatures, or arrays do not fit each other.
    """
    T = _finite(temperatures_K, "temperatures_K")
    shift = np.log10(T) if quantity == "conductivity" else np.zeros(len(T))
    curves = [None if c is None else _finite(c, "log10 values") for c in (log10_median, log10_low, log10_high)]
    if len(T) == 0 or (T <= 0).any() or any(c is not None and len(c) != len(T) for c in curves):
        raise InputError(f"expected as many values as the {len(T)} positive temperatures.")
    order = np.argsort(T)
    x, (median, low, high) = 1000 / T[order], [None if c is None else (c + shift)[order] for c in curves]
    assert median is not None
    figure, axes = figure_with_axes(4.4, 3.6)
    if low is not None and high is not None:
        axes.fill_between(x, low, high, color=BLUE, alpha=0.2, linewidth=0, label="90 % interval")
    if effective_barrier is None and len(T) > 1:
        slope = np.polyfit(1 / (BOLTZMANN_EV_PER_K * T[order]), median * np.log(10), 1)[0]
        effective_barrier = -float(slope)
    text = "network of hops" + ("" if effective_barrier is None else f", {effective_barrier:.2f} eV")
    axes.plot(x, median, color=BLUE, linewidth=1.8, marker="o", markersize=3.5, label=text)
    for of, colour, marker in zip(points, (VERMILION, GREEN, ORANGE), ("s", "^", "D"), strict=False):
        _draw_points(axes, of, colour, marker, conductivity=quantity == "conductivity")
    unit = "log$_{10}$ $D$ (cm² s⁻¹)" if quantity == "diffusivity" else "log$_{10}$ $σT$ (S cm⁻¹ K)"
    axes.set(xlabel="1000 / $T$ (K⁻¹)", ylabel=unit)
    axes.legend(frameon=False, fontsize=8)
    top = axes.secondary_xaxis("top", functions=(_reciprocal, _reciprocal))
    top.set_xlabel("$T$ (K)", fontsize=9)
    top.set_xticks(_round_temperatures(*axes.get_xlim()))
    top.tick_params(labelsize=8)
    return figure


def _finite(values: ArrayLike, name: str) -> FloatArray:
    found = np.atleast_1d(np.asarray(values, dtype=float))
    if found.ndim != 1 or not np.isfinite(found).all():
        raise InputError(f"{name}: expected a list of finite numbers.")
    return found


def _smooth(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a curve through states at which the energy is stationary: cubics with zero slope at both ends."""
    t = np.linspace(0, 1, _POINTS_BETWEEN)
    between = [(x0 + t * (x1 - x0), y0 + (3 - 2 * t) * t * t * (y1 - y0)) for x0, x1, y0, y1 in
               zip(x, x[1:], y, y[1:], strict=False)]  # fmt: skip
    return np.concatenate([c[0] for c in between]), np.concatenate([c[1] for c in between])


def _between_the_faces(frac_coords: FloatArray) -> FloatArray:
    """Return the sites in the cell whose faces lie in the middle of the widest gaps between them."""
    wrapped = frac_coords % 1.0
    ordered = np.sort(wrapped, axis=0)
    gaps = np.diff(ordered, axis=0, append=ordered[:1] + 1)
    widest = gaps.argmax(axis=0)
    axes = np.arange(3)
    face = ordered[widest, axes] + gaps[widest, axes] / 2
    return (wrapped - face) % 1.0


def _half_hops(network: HopNetwork, sites: FloatArray) -> tuple[FloatArray, Any]:
    """Return the half of every hop at each of its ends, shape=(2 n_hops, 2, 3), and which hop it is of."""
    half = network.displacements / 2
    first = np.stack([sites[network.start], sites[network.start] + half], axis=1)
    second = np.stack([sites[network.end], sites[network.end] - half], axis=1)
    return np.concatenate([first, second]), np.tile(np.arange(network.n_hops), 2)


def _cell_edges(lattice: FloatArray) -> FloatArray:
    """Return the twelve edges of the cell, shape=(12, 2, 3)."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    pairs = [(a, b) for a in corners for b in corners if (b - a).sum() == 1 and (b >= a).all()]
    return np.array(pairs) @ lattice


def _draw_sites(figure: Figure, axes: Any, sites: FloatArray, energies: FloatArray | None) -> None:
    if energies is None:
        axes.scatter(*sites.T, s=22, color="black", depthshade=False, zorder=4)
        return
    if len(energies) != len(sites):
        raise InputError(f"expected an energy of each of {len(sites)} sites, got {len(energies)}.")
    drawn = axes.scatter(
        *sites.T, s=30, c=energies - energies.min(), cmap="cividis_r", edgecolors="black", linewidths=0.4,
        depthshade=False, zorder=4,
    )  # fmt: skip
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("energy of the site above the lowest (eV)", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _draw_points(axes: Axes, points: Points, colour: str, marker: str, *, conductivity: bool) -> None:
    T, y = _finite(points.temperatures_K, "temperatures_K"), _finite(points.log10_values, points.label)
    shift = np.log10(T) if conductivity else 0.0
    bound = np.zeros(len(T), bool) if points.upper_bound is None else np.asarray(points.upper_bound, dtype=bool)
    errors = None
    if points.log10_low is not None and points.log10_high is not None:
        ends = np.asarray([points.log10_low, points.log10_high], dtype=float)
        errors = np.abs(ends - y)[:, ~bound]
    axes.errorbar(
        1000 / T[~bound], (y + shift)[~bound], errors, fmt=marker, color=colour, markersize=5, capsize=2.5,
        linewidth=1.2, label=points.label,
    )  # fmt: skip
    if bound.any():
        label = f"{points.label}: upper bound"
        axes.plot(1000 / T[bound], (y + shift)[bound], "v", color=colour, markerfacecolor="none", label=label)


def _reciprocal(x: Any) -> Any:
    with np.errstate(divide="ignore"):
        return 1000 / np.asarray(x, dtype=float)


def _round_temperatures(low: float, high: float) -> list[float]:
    """Return a few round temperatures between two values of 1000/T, far enough apart to be read."""
    chosen: list[float] = []
    for T in (100, 150, 200, 250, 300, 350, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000, 2500, 3000):
        x = 1000 / T
        if low <= x <= high and (not chosen or 1000 / chosen[-1] - x > 0.1 * (high - low)):
            chosen.append(float(T))
    return chosen
