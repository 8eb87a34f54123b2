"""`hemiec rank`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import console, json_option, quiet, say_left_out, store
from hemiec.errors import InputError, StoreError
from hemiec.files import write_whole_bytes
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.documents import CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database

if TYPE_CHECKING:
    from hemiec.ranking.report.background import Background
    from hemiec.ranking.snapshots.snapshot import Snapshot

#: How often a snapshot is taken that a build does not let be the candidates that were read.
_TRIES = 3
_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("definition", required=False)
@click.option("--campaign", metavar="NAME", help="Only candidates of this campaign.")
@click.option("--where", metavar="EXPR", help="Only what fulfils this too, in the language of `hemiec query`.")
@click.option("--weights", metavar="A=X,B=Y", help="Other weights, as band_gap=2; 0 takes a criterion out.")
@click.option("--draws", type=click.IntRange(100, 100_000), help="Random draws behind intervals and probabilities.")
@click.option("--top", type=click.IntRange(1, 1_000), help="Ranks that count as the top.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the draws.")
@click.option("--snapshot", metavar="ID|DIR", help="Rank a snapshot instead of the store.")
@click.option("--save", is_flag=True, help="Keep a snapshot and the leaderboard, under names made of their content.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--parquet", type=_file, help="Write a Parquet file.")
@click.option("--latex", type=_file, help="Write a table for LaTeX.")
@click.option("--png", type=_file, help="Write a figure.")
@click.option("--html", type=_file, help="Write a self-contained report.")
def rank(
    definition: str | None,
    campaign: str | None,
    where: str | None,
    weights: str | None,
    draws: int | None,
    top: int | None,
    seed: int | None,
    snapshot: str | None,
    save: bool,
    as_json: bool,
    as_csv: bool,
    parquet: Path | None,
    latex: Path | None,
    png: Path | None,
    html: Path | None,
) -> None:
    """Rank candidates, by gap, barrier and formation energy or by a DEFINITION: a shipped one or a YAML file.

    Every rank has a 90 % interval, from draws of every value from its own.

    \b
    Examples:
      hemiec rank
      hemiec rank cathode-miec --where 'mobile = "Li"' --html report.html
      hemiec rank analysis/leaderboards/solid-electrolyte.yaml --weights migration_barrier=3 --csv
      hemiec rank --campaign quickstart --save
      hemiec rank --snapshot snap-0123456789abcdef --top 5 --png figure.png
    """
    quiet()
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other.", mend="leave one out, or write a file with --parquet")
    if snapshot is not None and (save or campaign is not None):
        raise InputError(
            "a snapshot is saved already, with the candidates it has.", mend="leave --save and --campaign out"
        )
    _require_different({"--html": html, "--parquet": parquet, "--latex": latex, "--png": png})
    rules = _rules(definition, where, weights, {"draws": draws, "top": top, "seed": seed})
    background = None
    if snapshot is not None:
        leaderboard = _of_snapshot(snapshot, rules)
    else:
        with store(read_only=not save) as (settings, database):
            if save:
                leaderboard = save_leaderboard(settings, database, rules, campaign=campaign)
            else:
                leaderboard = make_leaderboard(database, rules, campaign=campaign)
            if html is not None:
                background = background_of(database, leaderboard)
    if html is not None:
        write_report(leaderboard, html, background)
    _write_files(leaderboard, {"parquet": parquet, "latex": latex, "png": png})
    show_leaderboard(leaderboard, as_json=as_json, as_csv=as_csv)


def make_leaderboard(
    database: Database, rules: LeaderboardDefinition | None = None, *, campaign: str | None = None
) -> LeaderboardDoc:
    """Return the leaderboard of the candidates in the store, by the default definition unless told otherwise.

    Raises
    ------
    InputError
        If the store has no such campaign, or no candidates that the definition asks for.
    """
    from hemiec.ranking.definition import DEFAULT
    from hemiec.ranking.leaderboard import rank as rank_candidates

    rules = rules or DEFAULT
    return rank_candidates(_candidates(database, rules, campaign), rules, campaign=campaign)


def save_leaderboard(
    settings: Settings, database: Database, rules: LeaderboardDefinition | None = None, *, campaign: str | None = None
) -> LeaderboardDoc:
    """Return the leaderboard as :func:`make_leaderboard` does, after keeping it and a snapshot of the candidates.

    Raises
    ------
    InputError
        As :func:`make_leaderboard` does.
    StoreError
        If the candidates changed meanwhile, or there is no room.
    """
    from hemiec.ranking.definition import DEFAULT
    from hemiec.ranking.leaderboard import rank as rank_candidates
    from hemiec.store import leaderboards
    from hemiec.store.snapshots import take_snapshot

    rules = rules or DEFAULT
    for _ in range(_TRIES):
        documents = _candidates(database, rules, campaign)
        # What cannot be read was named when the candidates were, and the manifest says it too.
        snapshot = take_snapshot(database, settings, campaign=campaign, definition=rules, report=lambda *_: None)
        if _are_in(documents, snapshot):
            break
    else:
        raise StoreError("the candidates changed while the snapshot was taken.", mend="run the command again")
    leaderboard = rank_candidates(documents, rules, campaign=campaign, snapshot_id=snapshot.snapshot_id)
    key = leaderboards.save_leaderboard(database, leaderboard)
    click.echo(f"saved: {key} from {snapshot.snapshot_id}", err=True)
    return leaderboard


def background_of(database: Database, leaderboard: LeaderboardDoc) -> Mapping[str, Background]:
    """Return what the store knows of the candidates that get a card in the report, beyond their entries."""
    from hemiec.ranking.report.page import MOST_CARDS
    from hemiec.store.backgrounds import read_backgrounds

    return read_backgrounds(database, [entry.candidate_id for entry in leaderboard.entries[:MOST_CARDS]])


def write_report(leaderboard: LeaderboardDoc, path: Path, background: Mapping[str, Background] | None = None) -> None:
    """Write the report of a leaderboard, whole or not at all, and say where it is.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    from hemiec.ranking.report.page import to_html

    _write(path, to_html(leaderboard, background).encode())
    click.echo(f"report: {path.absolute()}", err=True)


def show_leaderboard(leaderboard: LeaderboardDoc, *, as_json: bool = False, as_csv: bool = False) -> None:
    """Print a leaderboard as a table, JSON or CSV."""
    from hemiec.ranking import export

    if as_json:
        click.echo(export.to_json(leaderboard))
    elif as_csv:
        click.echo(export.to_csv(leaderboard), nl=False)
    else:
        console().print(export.to_table(leaderboard))
        n_ranked = sum(entry.rank is not None for entry in leaderboard.entries)
        if 1 < n_ranked <= leaderboard.top:
            about = f"all {n_ranked} ranked candidates are in the top {leaderboard.top}"
            click.echo(f"{about}; `hemiec rank --top 1` says which may be the best", err=True)


def _rules(
    definition: str | None, where: str | None, weights: str | None, numbers: dict[str, int | None]
) -> LeaderboardDefinition:
    """Return a definition with what the options change of it."""
    from hemiec.ranking.definition import DEFAULT, load_definition, parse_weights, with_weights
    from hemiec.store.leaderboards import narrowed

    rules = DEFAULT if definition is None else load_definition(definition)
    if weights is not None:
        rules = with_weights(rules, parse_weights(weights))
    rules = narrowed(rules, where or "")
    return rules.model_copy(update={name: value for name, value in numbers.items() if value is not None})


def _candidates(database: Database, rules: LeaderboardDefinition, campaign: str | None) -> list[CandidateDoc]:
    """Return the candidates to rank, and say how many the rules leave out and which cannot be read."""
    from hemiec.store.leaderboards import candidates_to_rank

    left_out: dict[str, str] = {}
    documents = candidates_to_rank(database, rules, campaign=campaign, report=left_out.__setitem__)
    say_left_out(left_out)
    _say_chosen(len(documents), rules)
    return documents


def _of_snapshot(name: str, rules: LeaderboardDefinition) -> LeaderboardDoc:
    """Return the leaderboard of the candidates in a snapshot."""
    from hemiec.ranking.leaderboard import rank as rank_candidates
    from hemiec.store.leaderboards import rows_to_rank
    from hemiec.store.snapshots import open_snapshot

    snapshot = open_snapshot(name, load_settings())
    rows = rows_to_rank(snapshot, rules)
    _say_chosen(len(rows), rules)
    return rank_candidates(
        list(snapshot.documents(rows)), rules, campaign=snapshot.manifest.campaign, snapshot_id=snapshot.snapshot_id
    )


def _are_in(documents: Sequence[CandidateDoc], snapshot: Snapshot) -> bool:
    """Return whether a snapshot holds candidates as they were read; a build may have gone on between the two."""
    columns = snapshot.columns()
    copied = dict(zip(columns["candidate_id"].to_pylist(), columns["input_hash"].to_pylist(), strict=True))
    return all(copied.get(doc.candidate_id) == doc.input_hash for doc in documents)


def _say_chosen(n: int, rules: LeaderboardDefinition) -> None:
    if rules.where:
        click.echo(f"candidates that fulfil {rules.where}: {n}", err=True)


def _require_different(files: Mapping[str, Path | None]) -> None:
    seen: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        other = seen.setdefault(path.absolute(), option)
        if other != option:
            raise InputError(f"{other} and {option} name the same file, {path}.", mend="give each a file of its own")


def _write_files(leaderboard: LeaderboardDoc, files: Mapping[str, Path | None]) -> None:
    """Write the files that were asked for, and say where they are."""
    from hemiec.ranking import export

    makers: dict[str, Callable[[LeaderboardDoc], str | bytes]] = {
        "parquet": export.to_parquet, "latex": export.to_latex, "png": export.to_png
    }  # fmt: skip
    for kind, path in files.items():
        if path is not None:
            made = makers[kind](leaderboard)
            _write(path, made.encode() if isinstance(made, str) else made)
            click.echo(f"{kind}: {path.absolute()}", err=True)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole_bytes(path, content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error
