"""`hemiec space`: what a campaign holds, before anything is computed."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.schemas.documents import CandidateSpec

if TYPE_CHECKING:
    from hemiec.composition.block import Rows
    from hemiec.composition.descriptors import Floats
    from hemiec.composition.space import Counts, Space

#: Spaces of at most this many compositions are listed, and checked in full (cells, protocols) as by `hemiec run`.
SMALL = 500
#: Candidates of a larger space that a table, CSV or JSON shows unless told otherwise.
FIRST = 20
#: Compositions after which a progress bar is worth it (about a second).
_LONG = 1_000_000


@click.command()
@click.argument("campaign", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--parquet", type=click.Path(dir_okay=False, path_type=Path), help="Write all candidates, however many, to a file."
)
@click.option("--limit", type=click.IntRange(0, 100_000), help="Candidates to show; default all, or 20 of many.")
def space(campaign: Path, as_json: bool, as_csv: bool, parquet: Path | None, limit: int | None) -> None:
    """List the candidates of a campaign file with charge balance and descriptors.

    Counts say how many compositions there are and what became of those that are not candidates. A space of many
    millions streams to a Parquet file in little memory.

    \b
    Examples:
      hemiec space flows/quickstart.yaml
      hemiec space flows/five-B.yaml --parquet five-B.parquet
    """
    quiet()
    from hemiec.composition.parquet import write_space
    from hemiec.composition.space import Space
    from hemiec.workflows.campaign import load_campaign, read_spec

    spec = read_spec(campaign)
    found = Space(spec, where=str(campaign))
    if len(found) <= SMALL and parquet is None:
        load_campaign(campaign)
    glance = _Glance(found, limit if limit is not None else (SMALL if len(found) <= SMALL else FIRST))
    with glance:
        if parquet is not None:
            write_space(found, spec, parquet, on_chunk=glance)
        else:
            for rows, columns in found.chunks():
                glance(rows, columns)
    shown, counts = glance.shown, found.counts
    if as_json:
        content = {"campaign": spec.name, "n": counts.kept, "counts": counts.to_json()}
        print_json(content | {"candidates": [candidate.to_mongo() for candidate in shown]})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(_row(shown[0])) if shown else list(_COLUMNS))
        writer.writeheader()
        writer.writerows(map(_row, shown))
    else:
        _print_table(spec.name, shown, counts)
    if len(shown) < counts.kept and (as_json or as_csv):
        click.echo(f"the first {len(shown):,} of {counts.kept:,} candidates; --limit N shows more", err=True)
    if parquet is not None:
        size = parquet.stat().st_size / 2**20
        click.echo(f"wrote {counts.kept:,} candidates to {parquet} ({size:,.1f} MiB)", err=True)


class _Glance:
    """Look at the chunks of a space as they pass: keep the first candidates, show progress if it takes long."""

    def __init__(self, space: Space, wanted: int) -> None:
        self.space, self.wanted = space, wanted
        self.shown: list[CandidateSpec] = []
        self._bar: Any = None

    def __enter__(self) -> _Glance:
        if len(self.space) >= _LONG:
            self._bar = click.progressbar(
                length=len(self.space), file=sys.stderr, label=f"{len(self.space):,} compositions", width=30
            )
            self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*error)

    def __call__(self, rows: Rows, columns: Mapping[str, Floats]) -> None:
        from hemiec.composition.candidate import specs

        missing = self.wanted - len(self.shown)
        if missing > 0:
            self.shown += specs(rows.first(missing), columns)
        if self._bar is not None:
            self._bar.update(self.space.counts.enumerated - self._bar.pos)


_COLUMNS = {
    "candidate_id": "candidate",
    "label": "formula",
    "mean_B_valence": "B valence",
    "oxygen_deficiency": "delta",
    "tolerance_factor": "t",
    "bartel_tau": "tau",
    "configurational_entropy": "S_config",
}


def _print_table(name: str, shown: list[CandidateSpec], counts: Counts) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    caption = "valences in e, delta per formula unit, entropy in R per formula unit"
    more = f", the first {len(shown):,}" if len(shown) < counts.kept else ""
    table = Table(
        title=f"{name}: {counts.kept:,} candidates{more}",
        caption=caption,
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    columns = [c for c in _COLUMNS if c != "oxygen_deficiency" or any(spec.oxygen_deficiency for spec in shown)]
    for column in columns:
        text = column in ("candidate_id", "label")
        # On a narrow terminal the formula is folded; an id or a number is never cut.
        table.add_column(
            _COLUMNS[column],
            justify="left" if text else "right",
            no_wrap=column != "label",
            overflow="fold",
            min_width=None if column == "label" else max(len(_COLUMNS[column]), 19 if text else 5),
        )
    for candidate in shown:
        row = _row(candidate)
        table.add_row(*(str(row[column]) for column in columns))
    console = Console()
    if shown:
        console.print(table)
    if counts.enumerated > counts.kept or len(shown) < counts.kept:
        click.echo(f"{counts.enumerated:,} compositions: " + ", ".join([*counts.losses(), f"{counts.kept:,} kept"]))
    if counts.kept_unbalanced:
        click.echo(f"{counts.kept_unbalanced:,} of those kept are not charge-balanced (net_charge says by how much)")
    if len(shown) < counts.kept:
        click.echo("--limit N shows more, --parquet FILE writes all")


def _row(candidate: CandidateSpec) -> dict[str, Any]:
    def short(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    numbers = [name for name in _COLUMNS if name not in ("candidate_id", "label")]
    return {
        "candidate_id": candidate.candidate_id,
        "label": candidate.label,
        "formula": candidate.formula,
        **{name: short(getattr(candidate, name)) for name in numbers},
    }
