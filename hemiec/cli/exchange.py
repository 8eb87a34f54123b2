"""`hemiec export` and `hemiec import`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from hemiec.cli.archive import progress
from hemiec.cli.session import json_option, print_json, store


@click.command()
@click.argument("expression", default="")
@click.option("--to", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--ids", multiple=True, help="A candidate's id; may be given several times.")
@click.option("--campaign", help="Only candidates of this campaign.")
@click.option("--raw", is_flag=True, help="Add what the jobs behind them returned, with large objects.")
@click.option("--title", help="Title for the citation.")
@click.option("--author", "authors", multiple=True, help="`Family, Given` or a group; may be given several times.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def export(
    expression: str,
    file: Path,
    ids: tuple[str, ...],
    campaign: str | None,
    raw: bool,
    title: str | None,
    authors: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write candidates with structures, protocols, versions and provenance into one file that can be cited.

    EXPRESSION is one of `hemiec query`; without any, all candidates are written. `hemiec import` reads the file.

    \b
    Examples:
      hemiec export 'band_gap < 1.0 and has(Co)' --to cobaltates.zip
      hemiec export --campaign quickstart --raw --to quickstart.zip --title 'First screen' --author 'Doe, Jane'
    """
    from hemiec.store.archive.exporting import export_candidates, select_candidates

    with store(read_only=not raw) as (_, database):
        found = select_candidates(database, expression, campaign=campaign, ids=ids)
        manifest = export_candidates(
            database, file, found, title=title, authors=authors, raw=raw, force=force, report=progress("export")
        )
    size = file.stat().st_size
    if as_json:
        about = {"content_hash": manifest.content_hash, "title": manifest.title, "documents": manifest.documents}
        print_json({"file": str(file), "bytes": size, **about})
        return
    counts = ", ".join(f"{n} {name}" for name, n in manifest.documents.items() if n)
    click.echo(f"{file}: {counts}; {size / 1e6:.1f} MB")
    click.echo(f"content hash {manifest.content_hash}; {manifest.title}")


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option(
    "--keep",
    type=click.Choice(["mine", "theirs"]),
    help="Of candidates that differ: leave mine, or replace what was imported before by theirs.",
)
@json_option
def import_command(file: Path, dry_run: bool, keep: Literal["mine", "theirs"] | None, as_json: bool) -> None:
    """Add the candidates of an archive of `hemiec export` to this store.

    The file is checked from end to end first. What is here already is never changed without being asked; a second
    time, nothing is new.

    \b
    Examples:
      hemiec import cobaltates.zip --dry-run
      hemiec import cobaltates.zip
    """
    from hemiec.store.archive.importing import import_archive

    with store() as (_, database):
        done = import_archive(database, file, keep=keep, dry_run=dry_run, report=progress("import"))
    if as_json:
        facts = asdict(done) | {"manifest": done.manifest.model_dump(mode="json", exclude={"members"})}
        print_json({"file": str(file), "dry_run": dry_run, **facts})
        return
    click.echo(f"{file}: {done.manifest.title}, content hash {done.manifest.content_hash[:16]}")
    words = ("would be imported", "would be replaced") if dry_run else ("imported", "replaced")
    click.echo(f"{len(done.new)} candidates {words[0]}, {len(done.identical)} are here already.")
    if done.replaced:
        click.echo(f"{len(done.replaced)} imported before {words[1]}.")
    if done.kept:
        click.echo(f"{len(done.kept)} differ and stay as they are here: {', '.join(done.kept[:5])}")
    if not dry_run and (done.references_added or done.outputs_added):
        click.echo(f"{done.references_added} reference phases and {done.outputs_added} outputs of jobs added.")
