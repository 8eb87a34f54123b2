"""`hemiec status`, `errors`, `reconcile`, `rerun`, `cancel`, `pause`, `resume` and `promote`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hemiec.cli.session import json_option, print_json, queue
from hemiec.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from hemiec.launch.queue import JobStatus, Queue, State

_name = click.argument("campaign", required=False)


def _choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose jobs of a campaign."""
    for option in (
        click.option("--uuid", "uuids", multiple=True, help="Only the job of this uuid; may be given again."),
        click.option("--step", help="Only jobs of this step, such as sample-2, or of this kind, such as sample."),
        click.option("--candidate", help="Only jobs of this candidate_id."),
    ):
        command = option(command)
    return _name(command)


@click.command()
@_name
@click.option("--candidate", help="List the jobs of this candidate_id.")
@click.option("--watch", is_flag=True, help="Show it again every few seconds until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(min=0.5), default=2.0, show_default=True, help="For --watch, in s.")
@json_option
def status(campaign: str | None, candidate: str | None, watch: bool, interval: float, as_json: bool) -> None:
    """Say what a campaign's jobs (or all jobs) are doing, what they took and what is left.

    Of more than 2,000 jobs, those that run or failed are listed; the counts are of all.

    \b
    Examples:
      hemiec status quickstart --watch
      hemiec status quickstart --candidate hm-0cd0ea1bed02
    """
    from rich.console import Console

    from hemiec.cli.progress import jobs_table, kinds_table, next_step, steps_table, summary, tiers_table
    from hemiec.launch.status import read_status

    console = Console()
    with queue() as (_, opened):
        while True:
            now = read_status(opened, campaign, costs=True)
            if candidate is not None:
                jobs = _chosen(opened, campaign, candidate, None, (), None)
                if as_json:
                    print_json([asdict(job) for job in jobs])
                else:
                    console.print(jobs_table(jobs))
            elif as_json:
                print_json(now.to_json())
            elif not now.n_jobs and not now.tiers:
                click.echo("nothing is in the queue; `hemiec submit CAMPAIGN` puts it there.")
            else:
                if watch:
                    console.clear()
                console.print(summary(now, campaign or "all campaigns"))
                if now.tiers:
                    console.print(tiers_table(now))
                console.print(kinds_table(now))
                console.print(steps_table(now))
                if (line := next_step(now)) is not None:
                    click.echo(line)
            if not watch:
                return
            time.sleep(interval)


@click.command()
@_name
@click.option("--tail", default=0, show_default=True, help="Lines of the output's end to print for each cause.")
@json_option
def errors(campaign: str | None, tail: int, as_json: bool) -> None:
    """List failed jobs, grouped by cause.

    Messages that differ only in numbers are one cause. Jobs that wait for a failed one go on when that was mended and
    `hemiec rerun` has made it ready again.

    \b
    Example:
      hemiec errors quickstart --tail 20
    """
    from hemiec.launch.failures import by_cause

    with queue() as (_, opened):
        causes = by_cause(opened.jobs(_known(opened, campaign), states={"failed"}))
        traces = [opened.trace(cause.jobs[0], lines=max(tail, 1)) for cause in causes]
    if as_json:
        print_json(
            [
                {**_brief(job), "cause": k, "first": {"uuid": cause.jobs[0].uuid, **asdict(trace)}}
                for k, (cause, trace) in enumerate(zip(causes, traces, strict=True))
                for job in cause.jobs
            ]
        )
        return
    for cause, trace in zip(causes, traces, strict=True):
        names = [f"{job.label} {job.step} ({_reference(job)})" for job in cause.jobs[:5]]
        if len(cause.jobs) > 5:
            names.append(f"and {len(cause.jobs) - 5} more")
        click.echo(f"{len(cause.jobs)} × {cause.message}\n  " + "\n  ".join(names))
        if trace.folder:
            click.echo(f"  in {trace.host}:{trace.folder}")
        if tail:
            click.echo("".join(f"    {line}\n" for line in trace.text.splitlines()), nl=False)
    if not causes:
        click.echo("no job failed.")


@click.command()
@json_option
def reconcile(as_json: bool) -> None:
    """Make jobs ready again that lost what ran them, and take ladders further.

    A job is lost if its process, its scheduler's allocation or its node is gone. `hemiec run`, `work` and `launch` do
    it by themselves.

    \b
    Example:
      hemiec reconcile
    """
    from hemiec.launch.ladder import advance_settled

    with queue() as (_, opened):
        lost = opened.reconcile()
        steps = advance_settled(opened)
    if as_json:
        print_json({"lost": lost, "steps": [asdict(step) for step in steps]})
        return
    click.echo(f"{len(lost)} lost jobs made ready again.")
    for step in steps:
        for action in step.actions:
            click.echo(f"{step.campaign}: {action}")


@click.command()
@_choice
def rerun(campaign: str | None, candidate: str | None, step: str | None, uuids: tuple[str, ...]) -> None:
    """Make failed jobs ready again; DFT goes on from the density that a killed one left.

    \b
    Examples:
      hemiec rerun quickstart && hemiec work quickstart
      hemiec rerun quickstart --step gap
    """
    with queue() as (_, opened):
        n = opened.rerun(_chosen(opened, campaign, candidate, step, uuids, {"failed"}))
    click.echo(f"{n} failed jobs made ready again.")


@click.command()
@_choice
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(campaign: str | None, candidate: str | None, step: str | None, uuids: tuple[str, ...], yes: bool) -> None:
    """Stop jobs and keep them from running; what has finished stays. `hemiec resume` undoes it.

    \b
    Examples:
      hemiec cancel quickstart
      hemiec cancel quickstart --candidate hm-0cd0ea1bed02
    """
    with queue() as (_, opened):
        jobs = _chosen(opened, campaign, candidate, step, uuids, {"waiting", "ready", "running", "paused", "failed"})
        running = sum(job.state == "running" for job in jobs)
        if jobs and not yes:
            click.confirm(f"Cancel {len(jobs)} jobs, of which {running} run?", abort=True, err=True)
        click.echo(f"{opened.cancel(jobs)} jobs cancelled; `hemiec resume` undoes it.")


@click.command()
@_choice
def pause(campaign: str | None, candidate: str | None, step: str | None, uuids: tuple[str, ...]) -> None:
    """Hold jobs that have not started; those that run are left to finish. `hemiec resume` undoes it.

    \b
    Example:
      hemiec pause flagship --step gap
    """
    with queue() as (_, opened):
        n = opened.pause(_chosen(opened, campaign, candidate, step, uuids, {"waiting", "ready"}))
    click.echo(f"{n} jobs paused; `hemiec resume` lets them run.")


@click.command()
@_choice
def resume(campaign: str | None, candidate: str | None, step: str | None, uuids: tuple[str, ...]) -> None:
    """Let paused and cancelled jobs run.

    \b
    Example:
      hemiec resume flagship
    """
    with queue() as (_, opened):
        n = opened.resume(_chosen(opened, campaign, candidate, step, uuids, {"paused", "cancelled"}))
    click.echo(f"{n} jobs may run again.")


@click.command()
@click.argument("campaign")
@json_option
def promote(campaign: str, as_json: bool) -> None:
    """Take a campaign up its ladder as far as its finished jobs allow.

    It submits the promotion of a tier that has settled, and the next tier's jobs of those who were promoted. `hemiec
    run`, `work` and `launch` do it by themselves.

    \b
    Example:
      hemiec promote ladder
    """
    from hemiec.cli.progress import tiers_table
    from hemiec.launch.ladder import advance
    from hemiec.launch.status import read_status

    with queue() as (_, opened):
        step = advance(opened, campaign)
        now = read_status(opened, campaign, listed=())
    if as_json:
        print_json(asdict(step) | {"settled": now.settled, "tiers": [asdict(tier) for tier in now.tiers]})
    elif not now.tiers:
        click.echo(f"{campaign} has no ladder; there is nothing to promote.")
    else:
        from rich.console import Console

        click.echo("\n".join(step.actions) or "nothing to promote at present.")
        Console().print(tiers_table(now))


def _known(opened: Queue, campaign: str | None) -> str | None:
    """Return the name of a campaign of the store.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    from hemiec.store.campaigns import read_header

    if campaign is not None:
        read_header(opened.database, campaign, {"name": 1})
    return campaign


def _chosen(
    opened: Queue,
    campaign: str | None,
    candidate: str | None,
    step: str | None,
    uuids: tuple[str, ...],
    states: set[State] | None,
) -> list[JobStatus]:
    """Return the jobs of some states that the options choose.

    Raises
    ------
    InputError
        If there is no such campaign, candidate, step or job.
    """
    jobs = opened.jobs(_known(opened, campaign), uuids=uuids or None)
    for what, wanted, known in (
        ("job", uuids, [{job.uuid} for job in jobs]),
        ("candidate", (candidate,) if candidate else (), [{job.candidate_id} for job in jobs]),
        ("step", (step,) if step else (), [{job.step, job.kind} for job in jobs]),
    ):
        everything = {name for names in known for name in names if name}
        for word in wanted:
            if word not in everything:
                raise InputError(f"no {what} {word!r} in the queue; {did_you_mean(word, everything)}")
    return [
        job
        for job in jobs
        if (states is None or job.state in states)
        and (candidate is None or job.candidate_id == candidate)
        and (step is None or step in (job.step, job.kind))
    ]


def _brief(job: JobStatus) -> dict[str, Any]:
    return {
        "uuid": job.uuid,
        "fw_id": job.fw_id,
        "db_id": job.db_id,
        "label": job.label,
        "step": job.step,
        "message": job.message,
    }


def _reference(job: JobStatus) -> str:
    return f"fw_id {job.fw_id}" if job.fw_id is not None else f"db_id {job.db_id}"
