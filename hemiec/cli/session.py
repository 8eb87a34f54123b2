"""What most commands need: the database of the current settings, quiet libraries, JSON output."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database

if TYPE_CHECKING:
    from rich.console import Console

    from hemiec.launch.queue import Queue

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def quiet() -> None:
    """Keep libraries' warnings and log lines off the terminal."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


@contextmanager
def store(*, read_only: bool = False) -> Iterator[tuple[Settings, Database]]:
    """Open the configured database for one command; one that only reads works for users who may only read."""
    quiet()
    settings = load_settings()
    database = open_database(settings, read_only=read_only)
    try:
        yield settings, database
    finally:
        database.close()


@contextmanager
def queue() -> Iterator[tuple[Settings, Queue]]:
    """Open the configured database and its queue for one command."""
    from hemiec.launch.open import open_queue

    with store() as (settings, database), open_queue(settings, database) as opened:
        yield settings, opened


def say_left_out(reasons: Mapping[str, str]) -> None:
    """Say on stderr which documents could not be read, or are of a newer hemiec: id to reason."""
    if reasons:
        first = "; ".join(list(reasons.values())[:3])
        click.echo(f"{len(reasons)} candidates were left out: {first}{'; ...' if len(reasons) > 3 else ''}", err=True)


def console(piped_width: int = 110, *, markup: bool = False) -> Console:
    """Return where tables are printed: as wide as the terminal, or in a file or pipe, which has no width, as told.

    With ``markup``, whoever prints escapes what comes from the store.
    """
    from rich.console import Console

    found = Console(markup=markup, highlight=False)
    return found if found.is_terminal else Console(width=piped_width, markup=markup, highlight=False)


def print_json(content: Any) -> None:
    """Print JSON for programs."""
    click.echo(json.dumps(content, indent=2, default=str))
