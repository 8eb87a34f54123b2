"""How figures of hemiec look: one column wide, colours for all kinds of vision, no state of pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that differ for all kinds of colour vision (doi:10.1038/nmeth.1618), and grey.
BLUE, VERMILION, GREEN, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#7F7F7F"


def empty_figure(width: float, height: float) -> Figure:
    """Return a figure without axes, width and height in inches, that nothing keeps open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def figure_with_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return such a figure with one pair of axes."""
    figure = empty_figure(width, height)
    axes = figure.add_subplot()
    bare(axes)
    return figure, axes


def bare(axes: Axes) -> None:
    """Leave out what frames the axes above and at the right, and make labels small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
