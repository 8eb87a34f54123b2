"""`hemiec work` and `hemiec launch`: drain the queue here, or under a cluster's scheduler."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import queue, quiet

if TYPE_CHECKING:
    from hemiec.launch.cluster.needs import Need, Needs
    from hemiec.launch.queue import Queue
    from hemiec.settings import Settings

_name = click.argument("campaign", required=False)


def _walltime(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a walltime in s."""
    from hemiec.launch.cluster.scheduler import seconds_of

    try:
        return None if value is None else seconds_of(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a walltime; expected HH:MM:SS, D-HH:MM:SS or minutes.") from None


@click.command()
@_name
@click.option("-n", "--workers", type=click.IntRange(1, 256), help="Worker processes; default one per core.")
@click.option("--category", "categories", multiple=True, help="Take jobs of this category only; may be repeated.")
@click.option(
    "--walltime",
    callback=_walltime,
    help="Stop before so much time is over, HH:MM:SS or minutes: jobs that would take longer than what is left are not "
    "taken. In an allocation the scheduler is asked too.",
)
@click.option(
    "--idle",
    type=click.IntRange(0),
    help="In an allocation, or with --walltime: end when nothing has been ready for so many seconds; default 60.",
)
@click.pass_context
def work(
    ctx: click.Context,
    campaign: str | None,
    workers: int | None,
    categories: tuple[str, ...],
    walltime: int | None,
    idle: int | None,
) -> None:
    """Run what is in the queue, of one campaign (by name) or of all.

    In an allocation of a scheduler it ends when nothing is ready any more, or before the time is over; what runs then
    is put back and goes on in another. Elsewhere it ends when all jobs have settled.

    \b
    Example:
      hemiec work quickstart -n 2
    """
    from hemiec.launch.cluster.scheduler import current_allocation

    if current_allocation() is not None or walltime is not None or idle is not None:
        _drain(ctx, campaign, workers, categories, walltime, idle)
    else:
        _settle(ctx, campaign, workers, categories)


def _settle(ctx: click.Context, campaign: str | None, workers: int | None, categories: tuple[str, ...]) -> None:
    """Work until all jobs have settled."""
    from hemiec.cli.campaigns import stopped, verdict
    from hemiec.cli.progress import Progress
    from hemiec.launch.fireworks.crew import Crew
    from hemiec.launch.status import read_status

    with queue() as (settings, opened):
        status = read_status(opened, campaign)
        if not status.n_jobs and status.settled:
            click.echo("nothing is in the queue; `hemiec submit CAMPAIGN` puts it there.")
            return
        n = workers or settings.workers
        crew = Crew(settings, opened, campaign=campaign, workers=n, categories=categories)
        try:
            with Progress(campaign or "LaunchPad") as progress:
                status = crew.run(progress)
        except KeyboardInterrupt:
            stopped(opened, f"hemiec work {campaign or ''}".strip())
            ctx.exit(130)
        click.echo(f"{status.counts['done']} of {status.n_jobs} jobs done; `hemiec build` gathers the results.")
        ctx.exit(verdict(status, incomplete=status.counts["failed"] > 0))


def _drain(
    ctx: click.Context,
    campaign: str | None,
    workers: int | None,
    categories: tuple[str, ...],
    walltime: int | None,
    idle: int | None,
) -> None:
    """Work while there is something to do and time is left."""
    from hemiec.launch.cluster.scheduler import allocated_cores
    from hemiec.launch.fireworks.crew import IDLE_SECONDS, Crew, open_patiently, time_to_stop
    from hemiec.launch.open import open_queue
    from hemiec.settings import load_settings

    quiet()
    settings = load_settings()
    until = time_to_stop(time.time(), walltime)
    try:
        with closing(open_patiently(settings, until, _say)) as database, open_queue(settings, database) as opened:
            n = workers or allocated_cores()
            crew = Crew(settings, opened, campaign=campaign, workers=n, categories=categories, until=until)
            crew.drain(_say, idle_seconds=IDLE_SECONDS if idle is None else idle)
    except KeyboardInterrupt:
        _say("stopped; what ran is ready again")
        ctx.exit(130)


@click.command()
@_name
@click.option(
    "--config",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with my_qadapter_<category>.yaml; default the one that FW_CONFIG_FILE is in.",
)
@click.option(
    "--max-allocations",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="No more than these wait and run at a time, of each category.",
)
@click.option(
    "--per-allocation",
    type=click.IntRange(1),
    help="Jobs that one allocation is to take; default by measured or declared times and its walltime.",
)
@click.option("--interval", type=click.FloatRange(1), default=30, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Take one step and end.")
@click.option("--forever", is_flag=True, help="Go on when everything has settled.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked for, with the batch scripts; change nothing.")
@click.option("--cancel", is_flag=True, help="End the allocations that were asked for here.")
@click.pass_context
def launch(
    ctx: click.Context,
    campaign: str | None,
    config: Path | None,
    max_allocations: int,
    per_allocation: int | None,
    interval: float,
    once: bool,
    forever: bool,
    dry_run: bool,
    cancel: bool,
) -> None:
    """Drain the queue under the scheduler of a cluster, of one campaign (by name) or of all.

    It asks for as many allocations as the ready jobs need, brings lost jobs back, takes ladders further, and ends when
    all jobs have settled. Stopped or killed, the same command goes on; allocations do not need it while they run. On
    jobflow-remote, whose runner asks for allocations itself, it does the rest.

    \b
    Example:
      hemiec submit flows/quickstart.yaml && hemiec launch quickstart
    """
    from hemiec.errors import LaunchError
    from hemiec.launch.cluster.allocations import Launcher, config_folder
    from hemiec.launch.cluster.needs import Needs
    from hemiec.launch.cluster.scheduler import find_scheduler, is_here
    from hemiec.launch.fireworks.queue import FireWorksQueue
    from hemiec.store.campaigns import read_header

    quiet()
    with queue() as (settings, opened):
        if campaign is not None:
            read_header(opened.database, campaign, {"name": 1})
        if not isinstance(opened, FireWorksQueue):
            _look_after(ctx, settings, opened, campaign, interval=interval, once=once, forever=forever)
            return
        scheduler = find_scheduler()
        if scheduler is None:
            raise LaunchError(
                "no scheduler: neither squeue nor qstat is on PATH.",
                mend="run this on the cluster's login node; on one machine `hemiec work` drains the queue",
            )
        if settings.mongo_uri is None and not all(is_here(node) for node in scheduler.nodes()):
            _say(
                "warning: the embedded MongoDB answers on this machine alone, jobs on other nodes cannot reach it. "
                "Mend: set HEMIEC_MONGO_URI to a server that all nodes reach"
            )
        needs = Needs(
            opened,
            scheduler,
            (config or config_folder()).absolute(),
            max_allocations=max_allocations,
            per_allocation=per_allocation,
            report=_say,
        )
        launcher = Launcher(settings, opened, scheduler, needs, campaign=campaign, report=_say)
        if cancel:
            click.echo(f"{len(launcher.cancel())} allocations cancelled; their jobs are ready again.")
        elif dry_run:
            _show_plan(needs.read(campaign), needs, settings.data_dir / "allocations")
        else:
            try:
                launcher.run(interval=interval, once=once, forever=forever)
            except KeyboardInterrupt:
                live = launcher.live()
                again = f"hemiec launch {campaign or ''}".strip()
                click.echo(
                    f"Stopped; {len(live)} allocations go on{': ' if live else ''}{', '.join(live)}. "
                    f"Go on with: {again}; end them with: {again} --cancel",
                    err=True,
                )
                ctx.exit(130)


def _look_after(
    ctx: click.Context,
    settings: Settings,
    opened: Queue,
    campaign: str | None,
    *,
    interval: float,
    once: bool,
    forever: bool,
) -> None:
    """Mind the jobs that jobflow-remote's runner runs."""
    from hemiec.launch.watch import Watch, look_after

    _say("jobs are run by jobflow-remote (`jf runner start`); this brings back lost ones and takes ladders further")
    try:
        look_after(Watch(settings, opened, campaign), interval=interval, report=_say, once=once, forever=forever)
    except KeyboardInterrupt:
        click.echo("Stopped; the runner goes on: `jf runner stop` ends it.", err=True)
        ctx.exit(130)


def _show_plan(found: dict[str, Need], needs: Needs, folder: Path) -> None:
    for need in found.values():
        click.echo(
            f"{need.category}: {need.ready} jobs ready, {need.running} running, about {need.seconds:.0f} s each: "
            f"{need.allocations} allocations{f'; {need.stuck} that no allocation takes' if need.stuck else ''}"
        )
        qadapter = needs.qadapter(need.category)
        if qadapter is not None:
            click.echo(f"--- {qadapter.path}\n{qadapter.script(folder).strip()}\n---")
    if not found:
        click.echo("no job is ready or runs.")


def _say(line: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')}  {line}")
