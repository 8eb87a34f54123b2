"""`hemiec status`, `errors`, `reconcile`, `rerun` and `promote`."""

from __future__ import annotations

import time

import click

from hemiec.cli.session import json_option, print_json, store

_name = click.argument("campaign", required=False)


@click.command()
@_name
@click.option("--watch", is_flag=True, help="Show it again every two seconds until Ctrl-C.")
@json_option
def status(campaign: str | None, watch: bool, as_json: bool) -> None:
    """Say what a campaign's jobs (or all jobs) are doing.

    \b
    Example:
      hemiec status quickstart --watch
    """
    from rich.console import Console

    from hemiec.cli.progress import next_step, steps_table, summary, tiers_table
    from hemiec.launch.status import read_status

    console = Console()
    with store() as (_, database):
        while True:
            now = read_status(database, campaign)
            if as_json:
                print_json(now.to_json())
            elif not now.jobs and not now.tiers:
                click.echo("nothing is on the LaunchPad; `hemiec submit CAMPAIGN` puts it there.")
            else:
                if watch:
                    console.clear()
                console.print(summary(now, campaign or "all campaigns"))
                if now.tiers:
                    console.print(tiers_table(now))
                console.print(steps_table(now))
                if (line := next_step(now)) is not None:
                    click.echo(line)
            if not watch:
                return
            time.sleep(2)


@click.command()
@_name
@json_option
def errors(campaign: str | None, as_json: bool) -> None:
    """List failed jobs, grouped by cause.

    \b
    Example:
      hemiec errors quickstart
    """
    from hemiec.launch.status import read_status

    with store() as (_, database):
        failed = [job for job in read_status(database, campaign).jobs if job.state == "failed"]
    if as_json:
        print_json(
            [{"uuid": j.uuid, "fw_id": j.fw_id, "label": j.label, "step": j.step, "message": j.message} for j in failed]
        )
        return
    causes: dict[str, list[str]] = {}
    for job in failed:
        causes.setdefault(job.message or "", []).append(f"{job.label} {job.step} (fw_id {job.fw_id})")
    for message, jobs in causes.items():
        click.echo(f"{message}\n  " + "\n  ".join(jobs))
    if not failed:
        click.echo("no job failed.")


@click.command()
def reconcile() -> None:
    """Make jobs ready again whose worker on this machine is gone, and take ladders further.

    \b
    Example:
      hemiec reconcile
    """
    from hemiec.launch.ladder import advance_settled
    from hemiec.launch.launchpad import open_launchpad
    from hemiec.launch.reconcile import reconcile as bring_back

    with store() as (_, database):
        launchpad = open_launchpad(database)
        lost = bring_back(database, launchpad)
        click.echo(f"{len(lost)} lost jobs made ready again.")
        for step in advance_settled(database, launchpad):
            for action in step.actions:
                click.echo(f"{step.campaign}: {action}")


@click.command()
@_name
def rerun(campaign: str | None) -> None:
    """Make failed jobs ready again; DFT goes on from the density that a killed one left.

    \b
    Example:
      hemiec rerun quickstart && hemiec work quickstart
    """
    from hemiec.launch.launchpad import open_launchpad
    from hemiec.launch.status import read_status

    with store() as (_, database):
        launchpad = open_launchpad(database)
        failed = [job for job in read_status(database, campaign).jobs if job.state == "failed"]
        for job in failed:
            launchpad.rerun_fw(job.fw_id)
        click.echo(f"{len(failed)} failed jobs made ready again.")


@click.command()
@click.argument("campaign")
@json_option
def promote(campaign: str, as_json: bool) -> None:
    """Take a campaign up its ladder as far as its finished jobs allow.

    It submits the promotion of a tier that has settled, and the next tier's jobs of those who were promoted. `hemiec
    run` and `hemiec work` do it by themselves; where workers run elsewhere, call it again and again, as from cron.

    \b
    Example:
      hemiec promote ladder
    """
    from dataclasses import asdict

    from hemiec.cli.progress import tiers_table
    from hemiec.launch.ladder import advance
    from hemiec.launch.launchpad import open_launchpad
    from hemiec.launch.status import read_status

    with store() as (_, database):
        step = advance(database, open_launchpad(database), campaign)
        now = read_status(database, campaign)
    if as_json:
        print_json(asdict(step) | {"settled": now.settled, "tiers": [asdict(tier) for tier in now.tiers]})
    elif not now.tiers:
        click.echo(f"{campaign} has no ladder; there is nothing to promote.")
    else:
        from rich.console import Console

        click.echo("\n".join(step.actions) or "nothing to promote at present.")
        Console().print(tiers_table(now))
