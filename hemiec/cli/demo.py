"""`hemiec demo-data`."""

from __future__ import annotations

from dataclasses import asdict

import click

from hemiec.cli.archive import progress
from hemiec.cli.session import json_option, print_json, store


@click.command("demo-data")
@json_option
def demo_data(as_json: bool) -> None:
    """Load the sample database into an empty store: real candidates, to try every other command on.

    They are those of flows/sample-*.yaml, computed with the default protocols; no number is made up.

    \b
    Examples:
      hemiec demo-data
      HEMIEC_DATA_DIR=~/hemiec-sample hemiec demo-data
    """
    from hemiec.store.sample import load_sample

    with store() as (_, database):
        done = load_sample(database, report=progress("demo-data"))
        name = database.name
    if as_json:
        print_json(asdict(done) | {"manifest": done.manifest.model_dump(mode="json", exclude={"members"})})
        return
    click.echo(f"{done.manifest.title}, content hash {done.manifest.content_hash[:16]}")
    click.echo(f"{len(done.new)} candidates loaded into {name!r}, {len(done.identical)} were there already.")
    click.echo("next: hemiec rank, hemiec query 'has(Li)', hemiec serve")
