"""`hemiec calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hemiec.cli.session import console, json_option, print_json, store
from hemiec.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from hemiec.schemas.calibration import CalibrationDoc, CalibrationFit, CalibrationPoint

_LEGEND = """\
DFT = center + offset + slope (MLIP - center) + residual; ± one standard deviation of what is fitted, and the residual's
own standard deviation. Inside: part of the points inside their 90 % interval. Error: root mean square before → after.
Both are of points predicted without their own cell."""


@click.command()
@click.option(
    "--points",
    "files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add the points in this file; may be given again.",
)
@click.option("--no-shipped", is_flag=True, help="Leave out the points that come with hemiec.")
@click.option("--dry-run", is_flag=True, help="Fit and print, but store nothing.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw parity plots into a png, svg or pdf."
)
@json_option
def calibrate(files: tuple[Path, ...], no_shipped: bool, dry_run: bool, plot: Path | None, as_json: bool) -> None:
    """Fit DFT values to those of the potential wherever both exist, and correct ranks by it.

    Takes the candidates in the store that have a property in both tiers, the points that come with hemiec, and files.
    Stored, the correction is used by the next `hemiec build`.

    \b
    Examples:
      hemiec calibrate
      hemiec calibrate --dry-run --plot parity.png
    """
    from hemiec.ranking.calibration.fit import fit_calibrations
    from hemiec.ranking.calibration.shipped import read_set, shipped_sets
    from hemiec.store.calibration import collect_points, save_calibration

    points: list[CalibrationPoint] = [point for file in files for point in read_set(file).points]
    if not no_shipped:
        points += [point for shipped in shipped_sets() for point in shipped.points]
    with store() as (_, database):
        points += collect_points(database)
        if not points:
            raise InputError(
                "there is no property with values of both tiers.",
                mend="run a campaign whose ladder confirms candidates with DFT, or give --points FILE",
            )
        calibrations = fit_calibrations(points)
        if not dry_run:
            for calibration in calibrations:
                if calibration.fits:
                    save_calibration(database, calibration)
    if plot is not None:
        _draw(calibrations, plot)
    if as_json:
        print_json([calibration.to_mongo() for calibration in calibrations])
    else:
        _show(calibrations, stored=not dry_run)


def _show(calibrations: list[CalibrationDoc], *, stored: bool) -> None:
    out = console()
    for calibration in calibrations:
        out.print(
            f"{calibration.low_protocol} to {calibration.high_protocol}: {len(calibration.points)} points, "
            f"{calibration.calibration_id}",
            highlight=False,
        )
        for fit in calibration.fits:
            out.print(_table(fit))
        for name, reason in calibration.too_few.items():
            out.print(f"no correction of {_name(name)}: {reason}", highlight=False)
    if any(calibration.fits for calibration in calibrations):
        out.print(_LEGEND, style="dim", highlight=False)
        if stored:
            out.print("stored; `hemiec build` uses it from now on", highlight=False)


def _table(fit: CalibrationFit) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{_name(fit.property)} in {fit.unit}, center {fit.center:.2f}"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for header in ("B site", "offset", "slope", "residual", "points (cells)", "inside", "error"):
        table.add_column(header, justify="left" if header == "B site" else "right", no_wrap=True)
    for c in fit.classes:
        table.add_row(
            c.chemistry,
            f"{c.offset.value:+.3f} ± {c.offset.std:.3f}",
            f"{c.slope.value:.2f} ± {c.slope.std:.2f}",
            f"{c.residual_std.value:.3f} ± {c.residual_std.std:.3f}",
            f"{c.n_points} ({c.n_groups})",
            "—" if c.coverage is None else f"{c.coverage:.0%}",
            "",
        )
    error = f"{fit.error_before:.3f} → {fit.error_after:.3f}"
    table.add_row("both", "", "", "", f"{fit.n_points} ({fit.n_groups})", f"{fit.coverage:.0%}", error)
    return table


def _name(name: str) -> str:
    return name.replace("_", " ").removesuffix(" per atom")


def _draw(calibrations: list[CalibrationDoc], path: Path) -> None:
    """Draw a parity plot per fit: points, and prediction with interval for cells that are not among them."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from hemiec.ranking.calibration.fit import chemistry_class, points_of_fit, predict

    fits = [(calibration, fit) for calibration in calibrations for fit in calibration.fits]
    if not fits:
        raise InputError("there is nothing to draw: no property has points enough.")
    figure, axes = plt.subplots(1, len(fits), figsize=(4.6 * len(fits), 4.4), squeeze=False, layout="constrained")
    for axis, (calibration, fit) in zip(axes[0], fits, strict=True):
        low, high = fit.range
        xs = np.linspace(low - 0.05 * (high - low), high + 0.05 * (high - low), 50)
        for chemistry, fraction, colour, marker in (("closed-shell", 0.0, "C0", "o"), ("open-shell", 1.0, "C1", "s")):
            mine = [p for p in points_of_fit(calibration, fit) if chemistry_class(p.open_shell_fraction) == chemistry]
            if not mine:
                continue
            predictions = [predict(calibration, fit, float(x), fraction) for x in xs]
            axis.fill_between(xs, [p.low for p in predictions], [p.high for p in predictions], color=colour, alpha=0.15)
            axis.plot(xs, [p.value for p in predictions], color=colour, linewidth=1.2)
            axis.plot([p.low for p in mine], [p.high for p in mine], marker, color=colour, label=chemistry)
        axis.axline((low, low), slope=1, color="0.6", linewidth=0.8, linestyle="--")
        axis.set(
            title=_name(fit.property),
            xlabel=f"{calibration.low_protocol} ({fit.unit})",
            ylabel=f"{calibration.high_protocol} ({fit.unit})",
        )
        axis.legend(title="90 % interval of a new cell", frameon=False, fontsize=8, title_fontsize=8)
    _save(figure, path)
    plt.close(figure)


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the plot cannot be written ({error}).", mend="use a .png, .svg or .pdf file"
        ) from error
    click.echo(f"plot: {path.absolute()}", err=True)
