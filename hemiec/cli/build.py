"""`hemiec build`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import json_option, print_json, queue, store
from hemiec.errors import InputError
from hemiec.store.database import Database

if TYPE_CHECKING:
    from hemiec.store.building.builder import BuildReport, Progress

#: A line at least this often says how far a long command is, in s.
_PROGRESS_SECONDS = 3.0


@click.command()
@click.option("--all", "everything", is_flag=True, help="Look at every candidate; try failed ones again.")
@click.option("--failed", is_flag=True, help="List candidates that could not be built; build nothing.")
@click.option("--orphans", is_flag=True, help="List documents that no campaign asks for any more; build nothing.")
@click.option("--remove-orphans", is_flag=True, help="Remove them, after a question; jobs and outputs stay.")
@click.option("--yes", is_flag=True, help="Remove without a question.")
@json_option
@click.pass_context
def build(
    ctx: click.Context, everything: bool, failed: bool, orphans: bool, remove_orphans: bool, yes: bool, as_json: bool
) -> None:
    """Gather finished jobs into candidates; what is up to date is left alone.

    A candidate that cannot be built keeps its old documents; it is tried again when something of it changes, or with
    --all. The command then ends with code 1.

    \b
    Examples:
      hemiec build
      hemiec build --failed
      hemiec build --remove-orphans
    """
    chosen = [name for name, is_set in _modes(everything, failed, orphans, remove_orphans) if is_set]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)} exclude each other.", mend="give one of them")
    if yes and not remove_orphans:
        raise InputError("--yes goes with --remove-orphans.", mend="leave it out")
    if failed or orphans or remove_orphans:
        with store() as (_, database):
            if failed:
                _list_failed(database, as_json=as_json)
            else:
                _orphans(database, remove=remove_orphans, ask=not yes, as_json=as_json)
        return
    from hemiec.store.building.builder import update

    with queue() as (_, opened):
        report = update(opened.database, failures=opened.failures, everything=everything, progress=_progress())
    _print_report(report, as_json=as_json)
    ctx.exit(1 if report.errors else 0)


def _modes(everything: bool, failed: bool, orphans: bool, remove: bool) -> list[tuple[str, bool]]:
    return [("--all", everything), ("--failed", failed), ("--orphans", orphans), ("--remove-orphans", remove)]


def _print_report(report: BuildReport, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "built": report.built,
                "up_to_date": report.up_to_date,
                "failed": report.failed,
                "seconds": round(report.seconds, 3),
            }
        )
    else:
        click.echo(f"{report.built} candidates built, {report.up_to_date} were up to date.")
    if report.errors:
        click.echo(
            f"error: {len(report.errors)} candidates could not be built and keep their old documents, the first "
            f"{report.errors[0]}. Mend: `hemiec build --failed` lists them; if hemiec was updated, submit their "
            "campaign again",
            err=True,
        )
    elif report.failed:
        click.echo(f"note: {report.failed} candidates could not be built before; `hemiec build --failed`", err=True)


def _list_failed(database: Database, *, as_json: bool) -> None:
    found = list(database["build_failures"].find({}, {"_id": 0}).sort("candidate_id", 1))
    if as_json:
        print_json(found)
        return
    for document in found:
        click.echo(f"{document['candidate_id']}  {document['failed_at'][:19]}  {document['error']}")
    click.echo(f"{len(found)} candidates could not be built; `hemiec build --all` tries them again.", err=True)


def _orphans(database: Database, *, remove: bool, ask: bool, as_json: bool) -> None:
    from hemiec.store.building.orphans import find_orphans

    found = find_orphans(database)
    if remove and found.total and ask:
        click.confirm(f"Remove {found.total} documents that no campaign asks for?", abort=True, err=True)
    if remove and found.total:
        found = find_orphans(database, remove=True)
    if as_json:
        print_json({"removed": remove, "documents": found.counts, "first": found.first})
        return
    for name, n in found.counts.items():
        click.echo(f"  {n:8d} {name}: {', '.join(found.first[name][:3])}{', ...' if n > 3 else ''}")
    click.echo(f"{found.total} documents {'removed' if remove else 'that no campaign asks for'}.")


def _progress() -> Progress:
    """Return a function that says on stderr, every few seconds, how far the build is."""
    last = time.monotonic()

    def report(looked_at: int, total: int, built: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            click.echo(f"build: {looked_at} of {total} candidates looked at, {built} built", err=True)

    return report
