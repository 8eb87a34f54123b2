"""`hemiec run` and `submit`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import json_option, print_json, queue, quiet
from hemiec.launch.status import Status
from hemiec.schemas.documents import NOT_ASKED, PROPERTIES
from hemiec.schemas.leaderboard import LeaderboardDoc

if TYPE_CHECKING:
    from hemiec.launch.predict import Cost
    from hemiec.launch.queue import Queue
    from hemiec.launch.submit import Submission

_campaign = click.argument("campaign", type=click.Path(dir_okay=False, path_type=Path))
_workers = click.option("-n", "--workers", type=click.IntRange(1, 256), help="Worker processes; default one per core.")


@click.command()
@_campaign
@_workers
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Report file; default NAME-leaderboard.html."
)
@json_option
@click.pass_context
def run(ctx: click.Context, campaign: Path, workers: int | None, html: Path | None, as_json: bool) -> None:
    """Run a campaign here, from compositions to leaderboard.

    What is finished is never computed again. Stopped or killed, the same command goes on.

    \b
    Example:
      hemiec run flows/quickstart.yaml
    """
    from hemiec.cli.progress import Progress
    from hemiec.cli.results import background_of, save_leaderboard, show_leaderboard, write_report
    from hemiec.launch.fireworks.crew import Crew
    from hemiec.launch.status import read_status, stopped_reasons
    from hemiec.launch.submit import submit as submit_campaign
    from hemiec.store.building.builder import build
    from hemiec.workflows.campaign import load_campaign

    quiet()
    loaded = load_campaign(campaign)  # before anything is started
    name = loaded.spec.name
    with queue() as (settings, opened):
        opened.reconcile()
        added = submit_campaign(opened, loaded, _submitting(name))
        click.echo(_added(name, added), err=True)
        _notice(added)
        status = read_status(opened, name)
        if not status.settled:
            crew = Crew(settings, opened, campaign=name, workers=workers or settings.workers)
            try:
                with Progress(name) as progress:
                    status = crew.run(progress)
            except KeyboardInterrupt:
                stopped(opened, f"hemiec run {campaign}")
                ctx.exit(130)
        build(opened.database, failures=opened.failures)
        leaderboard = save_leaderboard(settings, opened.database, campaign=name)
        show_leaderboard(leaderboard, as_json=as_json)
        report = html or Path(f"{name}-leaderboard.html")
        write_report(leaderboard, report, background_of(opened.database, leaderboard))
        lacking = _lacks_a_number(leaderboard, stopped_reasons(opened.database, name))
        ctx.exit(verdict(status, incomplete=status.counts["failed"] > 0 and lacking))


@click.command()
@_campaign
@click.option("--dry-run", is_flag=True, help="Say what would be added; change nothing.")
@json_option
def submit(campaign: Path, dry_run: bool, as_json: bool) -> None:
    """Put a campaign's missing jobs on the LaunchPad without running them.

    \b
    Example:
      hemiec submit flows/quickstart.yaml && hemiec work
    """
    from dataclasses import asdict

    from hemiec.launch.predict import predict
    from hemiec.launch.submit import plan_submission
    from hemiec.launch.submit import submit as submit_campaign
    from hemiec.workflows.campaign import load_campaign

    quiet()
    loaded = load_campaign(campaign)
    name = loaded.spec.name
    with queue() as (_, opened):
        if dry_run:
            plan = plan_submission(opened, loaded)
            cost = predict(opened, plan.kinds)
            if as_json:
                print_json({"campaign": name, "dry_run": True, **plan.to_json(), "cost": asdict(cost)})
            else:
                click.echo(_added(name, plan, "would be added"))
                _print_cost(cost)
                _notice(plan)
            return
        result = submit_campaign(opened, loaded, _submitting(name))
    if as_json:
        print_json({"campaign": name, "dry_run": False, **result.to_json()})
    else:
        click.echo(_added(name, result))
        _notice(result)


def stopped(opened: Queue, command: str) -> None:
    """Bring back what the workers of this command ran, and say how to go on."""
    opened.reconcile()
    click.echo(f"Stopped; everything that finished is kept. Go on with: {command}", err=True)


def _added(name: str, found: Submission, done: str = "added") -> str:
    line = f"{name}: {found.added} jobs {done}, {found.pending} pending, {found.finished} finished before"
    return f"{line}; {found.shipped} reference phases came with hemiec" if found.shipped else line


def _notice(found: Submission) -> None:
    if found.notice is not None:
        click.echo(f"note: {found.notice}", err=True)


def _submitting(name: str) -> Callable[[int, int], None]:
    """Return a function that says now and then how far a large submission has come."""
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 3:
            last = time.monotonic()
            click.echo(f"{name}: {done} of {total} candidates submitted", err=True)

    return report


def _print_cost(cost: Cost) -> None:
    from rich.console import Console

    from hemiec.cli.progress import cost_table

    Console().print(cost_table(cost))


def _lacks_a_number(leaderboard: LeaderboardDoc, expected: set[str]) -> bool:
    """Return whether a number is missing for another reason than the expected ones."""
    quantities = [getattr(entry, name) for entry in leaderboard.entries for name in PROPERTIES]
    return any(q.value is None and q.reason not in {NOT_ASKED, *expected} for q in quantities)


def verdict(status: Status, *, incomplete: bool) -> int:
    """Say which jobs failed, and return the exit code: 1 if a number that was asked for is missing."""
    failed = [job for job in status.jobs if job.state == "failed"]
    if failed:
        first = failed[0]
        click.echo(
            f"{'error' if incomplete else 'note'}: {len(failed)} of {status.n_jobs} jobs failed, the first "
            f"{first.label} {first.step}: {first.message} Mend: `hemiec errors` lists them, `hemiec rerun` makes them "
            "ready again.",
            err=True,
        )
    return 1 if incomplete else 0
