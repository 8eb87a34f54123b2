"""`hemiec diff`: which candidates moved between two rankings, and why."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import console, json_option, print_json, quiet, store
from hemiec.schemas.diff import DiffDoc, DiffMove, DiffSide
from hemiec.settings import load_settings

if TYPE_CHECKING:
    from rich.table import Table

_WORDS = {
    "up": "moved up", "down": "moved down", "same": "kept their rank", "entered": "entered", "left": "left",
    "ranked": "newly ranked", "unranked": "no longer ranked",
}  # fmt: skip
_CAUSES = {
    "new-data": "new data", "model": "another protocol, correction or code", "references": "other reference phases",
    "hull": "other phases on the hull", "definition": "other rules", "filter": "the condition", "added": "new",
    "removed": "not there any more", "new-candidate": "passed by a new candidate", "others": "others moved",
    "unknown": "cannot be told",
}  # fmt: skip
#: Rows of the table unless told otherwise.
_FIRST = 50


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--definition", metavar="NAME|FILE", help="Rank both by this; default: each by its own rules.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), help=f"List N candidates; default {_FIRST}, in JSON 1000."
)
@json_option
def diff(old: str, new: str, definition: str | None, limit: int | None, as_json: bool) -> None:
    """Say which candidates moved between two snapshots or saved leaderboards, and why.

    OLD and NEW are ids (snap-..., lb-...) or folders of snapshots.

    \b
    Examples:
      hemiec diff snap-0123456789abcdef snap-fedcba9876543210
      hemiec diff lb-0123456789abcdef lb-fedcba9876543210 --json
      hemiec diff snap-0123456789abcdef snap-fedcba9876543210 --definition cathode-miec
    """
    from hemiec.ranking.definition import load_definition
    from hemiec.ranking.snapshots.compare import LIMIT
    from hemiec.store.comparisons import compare_stored, is_leaderboard

    quiet()
    rules = None if definition is None else load_definition(definition)
    with ExitStack() as stack:
        # Snapshots are compared without the database, on any machine that has their folders.
        database = stack.enter_context(store(read_only=True))[1] if is_leaderboard(old) or is_leaderboard(new) else None
        found = compare_stored(
            old,
            new,
            load_settings(),
            database=database,
            definition=rules,
            limit=limit or (LIMIT if as_json else _FIRST),
        )
    if as_json:
        print_json(found.to_mongo())
    else:
        _show(found)


def _show(found: DiffDoc) -> None:
    out = console(140)
    for words, side in (("old", found.old), ("new", found.new)):
        out.print(f"{words}  {_side(side)}")
    for heading, sentences in (("rules", found.definition_changes), ("models", found.model_changes)):
        for sentence in sentences:
            out.print(f"{heading}: {sentence}")
    if found.moves:
        out.print(_table(found.moves))
    statuses = [f"{n:,} {_WORDS[name]}" for name, n in found.statuses.items()]
    out.print(f"{', '.join(statuses) or 'no candidate is ranked in either'}.")
    if not found.n_moves:
        out.print("Nothing moved: the ranked values and the ranks are the same.")
    if found.causes:
        out.print(
            "Causes of those listed: " + ", ".join(f"{_CAUSES[kind]} {n:,}" for kind, n in found.causes.items()) + "."
        )
    for note in found.notes:
        out.print(note)


def _side(side: DiffSide) -> str:
    made = "" if side.snapshot_id in (side.id, None) else f" from {side.snapshot_id}"
    where = f" that fulfil {side.where}" if side.where else ""
    of = f" of {side.campaign}" if side.campaign else ""
    return (
        f"{side.id}{made}, {side.created_at:%Y-%m-%d %H:%M} UTC: {side.n_ranked:,} of {side.n_candidates:,} "
        f"candidates{of}{where} are ranked by {side.definition}"
    )


def _table(moves: list[DiffMove]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("candidate", overflow="fold")
    table.add_column("why", overflow="fold", ratio=1)
    for move in moves:
        ranks = f"{move.rank_old or '—'} -> {move.rank_new or '—'}"
        table.add_row(ranks, move.label, "\n".join(cause.text for cause in move.causes))
    return table
