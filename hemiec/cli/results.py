"""`hemiec rank`."""

from __future__ import annotations

from pathlib import Path

import click

from hemiec.cli.session import console, json_option, say_left_out, store
from hemiec.errors import InputError
from hemiec.files import write_whole
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database


@click.command()
@click.argument("definition", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--campaign", help="Only candidates of this campaign.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained report.")
@click.option("--save", is_flag=True, help="Keep the leaderboard in the store, under a name made of its content.")
def rank(
    definition: Path | None, campaign: str | None, as_json: bool, as_csv: bool, html: Path | None, save: bool
) -> None:
    """Rank the candidates in the store, by a definition or by gap, barrier and formation energy.

    \b
    Examples:
      hemiec rank
      hemiec rank analysis/leaderboards/solid-electrolyte.yaml --html report.html
      hemiec rank --campaign quickstart --save
    """
    from hemiec.ranking.report.page import to_html
    from hemiec.store.leaderboards import save_leaderboard

    with store(read_only=not save) as (_, database):
        leaderboard = make_leaderboard(database, definition, campaign=campaign)
        if save:
            click.echo(f"saved: {save_leaderboard(database, leaderboard)}", err=True)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        write_whole(html, to_html(leaderboard))
        click.echo(f"report: {html.absolute()}", err=True)
    show_leaderboard(leaderboard, as_json=as_json, as_csv=as_csv)


def make_leaderboard(database: Database, definition: Path | None, *, campaign: str | None) -> LeaderboardDoc:
    """Return the leaderboard of the candidates in the store.

    Raises
    ------
    InputError
        If the definition is not valid, or the store has no such campaign or no candidates.
    """
    from hemiec.ranking.definition import DEFAULT, load_definition
    from hemiec.ranking.leaderboard import rank as rank_candidates
    from hemiec.store.campaigns import read_header

    if campaign is not None:
        read_header(database, campaign, {"name": 1})  # says so if there is none of that name
    rules = DEFAULT if definition is None else load_definition(definition)
    wanted = {} if campaign is None else {"campaigns": campaign}
    left_out: dict[str, str] = {}
    documents = list(read_candidates(database, wanted, report=left_out.__setitem__))
    say_left_out(left_out)
    if not documents:
        raise InputError(
            "there are no candidates in the store.", mend="run a campaign, or `hemiec build` what has finished"
        )
    return rank_candidates(documents, rules, campaign=campaign)


def show_leaderboard(leaderboard: LeaderboardDoc, *, as_json: bool = False, as_csv: bool = False) -> None:
    """Print a leaderboard as a table, JSON or CSV."""
    from hemiec.ranking import export

    if as_json:
        click.echo(export.to_json(leaderboard))
    elif as_csv:
        click.echo(export.to_csv(leaderboard), nl=False)
    else:
        console().print(export.to_table(leaderboard))
