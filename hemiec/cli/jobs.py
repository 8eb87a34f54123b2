"""`hemiec status`, `errors`, `reconcile` and `rerun`."""

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

    from hemiec.cli.progress import steps_table, summary
    from hemiec.launch.status import read_status

    console = Console()
    with store() as (_, database):
        while True:
            now = read_status(database, campaign)
            if as_json:
                print_json(now.to_json())
            elif not now.jobs:
                click.echo("nothing is on the LaunchPad; `hemiec submit CAMPAIGN` puts it there.")
            else:
                if watch:
                    console.clear()
                console.print(summary(now, campaign or "all campaigns"))
                console.print(steps_table(now))
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
    """Make jobs ready again whose worker on this machine is gone.

    \b
    Example:
      hemiec reconcile
    """
    from hemiec.launch.launchpad import open_launchpad
    from hemiec.launch.reconcile import reconcile as bring_back

    with store() as (_, database):
        lost = bring_back(database, open_launchpad(database))
        click.echo(f"{len(lost)} lost jobs made ready again.")


@click.command()
@_name
def rerun(campaign: str | None) -> None:
    """Make failed jobs ready again.

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
