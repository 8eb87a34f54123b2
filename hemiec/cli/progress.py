"""Progress of a running campaign: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hemiec.launch.predict import Cost
from hemiec.launch.queue import STATES, JobStatus, Tally
from hemiec.launch.status import Status

#: Rows of candidates in a table; those in which something runs or failed come first.
MAX_ROWS = 40
#: Without a terminal, a line at least this often says what is going on.
HEARTBEAT_SECONDS = 30.0
_MARKS = {"done": ("●", "green"), "running": ("◐", "yellow"), "failed": ("✗", "red")}


class Progress:
    """Show what runs, how much is left and for how long it has been going; use as a context manager."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.console = Console(stderr=True)
        self.started = time.monotonic()
        self._live: Live | None = None
        self._seen: dict[str, str] = {}
        self._last_line = -HEARTBEAT_SECONDS

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, traceback)

    def __call__(self, status: Status) -> None:
        """Show a status."""
        if self._live is not None:
            tables = [tiers_table(status)] if status.tiers else []
            self._live.update(Group(summary(status, self.title, self._elapsed()), *tables, steps_table(status)))
            return
        before, self._seen = self._seen, {job.uuid: job.state for job in status.jobs}
        done = status.counts["done"] + status.counts["failed"]
        for job in status.jobs:
            if before and before.get(job.uuid) != job.state and job.state in ("running", "done", "failed"):
                self._print(f"[{done}/{status.n_jobs}]  {line(job)}")
        if self._elapsed() - self._last_line > HEARTBEAT_SECONDS:
            running = ", ".join(
                f"{j.label} {j.step} {clock(j.elapsed_s or 0)}" for j in status.jobs if j.state == "running"
            )
            self._print(f"{summary(status, self.title)}{f'; now {running}' if running else ''}")

    def _print(self, text: str) -> None:
        self._last_line = self._elapsed()
        self.console.print(Text(f"{clock(self._last_line):>6}  {text}"), soft_wrap=True)

    def _elapsed(self) -> float:
        return time.monotonic() - self.started


def summary(status: Status, title: str, elapsed_s: float | None = None) -> Text:
    """Return one line: how many jobs are in which state."""
    counts = status.counts
    left = sum(counts[s] for s in ("running", "ready", "waiting"))
    text = f"{title}: {counts['done']} of {status.n_jobs} jobs done, {counts['running']} running, {left} left"
    for state in ("failed", "paused", "cancelled"):
        if counts[state]:
            text += f", {counts[state]} {state}"
    if elapsed_s is not None:
        text += f", {clock(elapsed_s)} elapsed"
    if status.core_hours is not None:
        text += f"\n{status.done_per_hour} done in the last hour, {status.core_hours:.3g} core-hours used"
        if status.budget_core_hours is not None:
            text += f" of {status.budget_core_hours:g}"
        if left and status.core_hours_left is not None:
            text += f", about {status.core_hours_left:.3g} left"
        if left and status.hours_left is not None:
            text += f" ({clock(3600 * status.hours_left)} on as many cores as now)"
    if status.spent:
        text += "\nthe budget is spent: no more jobs start; raise `budget.core_hours` and submit the campaign again"
    return Text(text)


def kinds_table(status: Status) -> Table:
    """Return a table with a row for every kind of job: how many are in which state, and what they took."""
    shown = [state for state in STATES if status.counts[state]]
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("protocol", no_wrap=True)
    for state in shown:
        table.add_column(state, justify="right", no_wrap=True)
    table.add_column("core-h", justify="right", no_wrap=True)
    kinds: dict[tuple[str, str], list[Tally]] = {}
    for tally in sorted(status.tallies, key=lambda t: (t.tier or "", t.kind)):
        kinds.setdefault((tally.kind, tally.protocol or ""), []).append(tally)
    for (kind, protocol), tallies in kinds.items():
        numbers = [sum(t.n for t in tallies if t.state == state) for state in shown]
        cells = [str(n) if n else "" for n in numbers]
        table.add_row(kind, protocol, *cells, f"{sum(t.core_seconds for t in tallies) / 3600:.3f}")
    return table


def cost_table(cost: Cost) -> Table:
    """Return a table with a row for every kind of job: how many, and what they are expected to take."""
    table = Table(show_edge=False, pad_edge=False, show_footer=True)
    least = "" if cost.complete else "at least "
    table.add_column("kind", "all", no_wrap=True)
    table.add_column("protocol", no_wrap=True)
    table.add_column("jobs", str(sum(kind.n for kind in cost.kinds)), justify="right")
    table.add_column("core-h", f"{least}{cost.core_hours:.3g}", justify="right")
    table.add_column("database, MB", f"{least}{cost.bytes / 1e6:.3g}", justify="right")
    table.add_column("measured on", justify="right")
    for kind in cost.kinds:
        hours = "?" if kind.core_hours is None else f"{kind.core_hours:.3g}"
        size = "?" if kind.bytes is None else f"{kind.bytes / 1e6:.3g}"
        jobs = f"{kind.n_measured} jobs" if kind.n_measured else "none yet"
        table.add_row(kind.kind, kind.protocol or "", str(kind.n), hours, size, jobs)
    return table


def jobs_table(jobs: Iterable[JobStatus]) -> Table:
    """Return a table with a row for every job."""
    table = Table(show_edge=False, pad_edge=False)
    for column in ("step", "state", "time", "job", "why"):
        table.add_column(column, overflow="fold")
    for job in jobs:
        took = clock(job.elapsed_s) if job.elapsed_s is not None else ""
        why = job.message or ("waits for one that failed" if job.blocked else "")
        table.add_row(job.step, job.state, took, job.uuid, why)
    return table


def steps_table(status: Status) -> Table:
    """Return a table with a mark for every job of every candidate; reference phases share a row."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("candidate")
    table.add_column("jobs")
    table.add_column("now")
    references: list[JobStatus] = []
    rows = []
    for label, jobs in status.by_label().items():
        if all(job.step == "reference" for job in jobs):
            references += jobs
        else:
            rows.append((label, jobs))
    if len(rows) > MAX_ROWS:
        rows.sort(key=lambda row: not any(job.state in ("running", "failed") for job in row[1]))
        table.caption = f"{len(rows) - MAX_ROWS} more; `hemiec status --json` lists them"
    for label, jobs in rows[:MAX_ROWS]:
        table.add_row(label, _marks(jobs), _now(jobs))
    if references or status.shipped:
        marks = _marks(references) if len(references) <= MAX_ROWS else _counted(references)
        now = [_now(references)] if references else []
        table.add_row("reference phases", marks, "; ".join([*now, *_shipped(status)]))
    return table


def tiers_table(status: Status) -> Table:
    """Return a table with a row for every tier of a campaign's ladder."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("tier", no_wrap=True)
    for column in ("let in", "done", "failed", "promoted", "queued", "core-h"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("waits for")
    for k, tier in enumerate(status.tiers):
        promoted = str(tier.promoted) if k < len(status.tiers) - 1 else ""
        counts = [str(tier.candidates), str(tier.done), str(tier.failed), promoted, str(tier.queued)]
        table.add_row(tier.tier, *counts, f"{tier.core_hours:.3f}", tier.waiting_for or "")
    return table


def next_step(status: Status) -> str | None:
    """Return how to take ladders further that wait for nobody's jobs, or None."""
    if not status.jobs_settled or not status.open_ladders:
        return None
    commands = ", ".join(f"`hemiec promote {name}`" for name in status.open_ladders)
    return f"a tier has settled: {commands} takes the next step; `hemiec work` and `hemiec run` do it by themselves."


def line(job: JobStatus) -> str:
    """Return one line about a job."""
    took = f" ({clock(job.elapsed_s)})" if job.elapsed_s is not None and job.state != "running" else ""
    why = f": {job.message}" if job.message else ""
    return f"{job.label}  {job.step}  {job.state}{took}{why}"


def clock(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _marks(jobs: list[JobStatus]) -> Text:
    text = Text()
    for job in jobs:
        mark, colour = _MARKS.get(job.state, ("·", "dim"))
        text.append(mark, style=colour)
    return text


def _counted(jobs: list[JobStatus]) -> Text:
    return Text(", ".join(f"{n} {state}" for state in STATES if (n := sum(job.state == state for job in jobs))))


def _shipped(status: Status) -> list[str]:
    return [f"{status.shipped} came with hemiec"] if status.shipped else []


def _now(jobs: list[JobStatus]) -> str:
    running = [job for job in jobs if job.state == "running"]
    if running:
        return ", ".join(
            f"{job.label if job.step == 'reference' else job.step} {clock(job.elapsed_s or 0)}" for job in running
        )
    left = sum(job.state not in ("done", "failed") for job in jobs)
    return f"{left} left" if left else "done" if all(job.state == "done" for job in jobs) else "failed"
