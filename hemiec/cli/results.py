"""`hemiec build`, `query`, `show` and `rank`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hemiec.cli.session import json_option, print_json, queue, store
from hemiec.errors import InputError
from hemiec.files import write_whole
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.schemas.transport import TransportSummary
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database

PIPED_WIDTH = 110


@click.command()
def build() -> None:
    """Gather finished jobs into candidates; what is up to date is left alone.

    \b
    Example:
      hemiec build
    """
    from hemiec.store.building.builder import build as build_candidates

    with queue() as (_, opened):
        built = build_candidates(opened.database, failures=opened.failures)
        total = opened.database["candidates"].count_documents({})
        click.echo(f"{built} candidates built, {total - built} were up to date.")


@click.command()
@click.argument("expression")
@json_option
def query(expression: str, as_json: bool) -> None:
    """List the candidates that fulfil an expression.

    \b
    Examples:
      hemiec query 'band_gap < 1.0 and has(Co)'
      hemiec query 'migration_barrier.max < 0.8 and not has(Bi)' --json
    """
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from hemiec.store.query import compile_query

    criteria = compile_query(expression)
    with store() as (_, database):
        found = list(read_candidates(database, criteria, whole=False))
    if as_json:
        print_json([_brief(doc) for doc in found])
        return
    table = Table(title=f"{len(found)} candidates", caption="energies in eV and eV/atom", box=SIMPLE)
    for header in ("candidate", "formula", *PROPERTIES):
        table.add_column(header.replace("_", " "), justify="right" if header in PROPERTIES else "left")
    for doc in found:
        values = (getattr(doc, name).value for name in PROPERTIES)
        table.add_row(doc.candidate_id, doc.candidate.label, *("—" if v is None else f"{v:.3f}" for v in values))
    Console().print(table)


@click.command()
@click.argument("candidate_id")
@json_option
def show(candidate_id: str, as_json: bool) -> None:
    """Show one candidate with every number's method and the jobs behind it.

    \b
    Example:
      hemiec show hm-e0de7f182d2cabdf
    """
    from rich.console import Console
    from rich.table import Table

    with store() as (_, database):
        doc = next(read_candidates(database, {"candidate_id": candidate_id}), None)
        if doc is None:
            near = [d["candidate_id"] for d in database["candidates"].find({}, {"candidate_id": 1}).limit(10_000)]
            raise InputError(f"no candidate {candidate_id!r} in the store.", mend=_near(candidate_id, near))
    if as_json:
        print_json(doc.to_mongo())
        return
    console = Console()
    spec = doc.candidate
    console.print(
        f"[bold]{spec.label}[/bold]  {doc.candidate_id}  campaigns: {', '.join(doc.campaigns)}", highlight=False
    )
    states = ", ".join(f"{s} {q:+g}" for s, q in spec.oxidation_states.items())
    console.print(f"oxidation states: {states}", highlight=False)
    table = Table(show_header=True)
    for header in ("property", "value", "method", "jobs"):
        table.add_column(header, overflow="fold")
    for name in PROPERTIES:
        quantity = getattr(doc, name)
        value = quantity.reason if quantity.value is None else f"{quantity.value:.4f} {quantity.unit}"
        if quantity.interval is not None:
            value += f"\n90 %: {quantity.interval[0]:.3f} to {quantity.interval[1]:.3f}"
        if quantity.uncorrected is not None:
            value += f"\nuncorrected {quantity.uncorrected:.4f}"
        references = f"\n+ {len(quantity.reference_job_uuids)} reference jobs" if quantity.reference_job_uuids else ""
        table.add_row(name, value, quantity.method, "\n".join(quantity.job_uuids) + references)
    console.print(table)
    for result in doc.results:
        console.print(f"plan {result.plan_id}: {result.n_atoms} atoms; {result.oxide_reaction or ''}", highlight=False)
        if result.transport is not None:
            for line in _transport_lines(result.transport):
                console.print(f"  {line}", highlight=False)
        for hop in result.hops:
            barrier = hop.reason or f"{hop.forward_barrier:.3f} / {hop.reverse_barrier:.3f} eV"
            if hop.dft_forward_barrier is not None and hop.dft_reverse_barrier is not None:
                barrier += f" ({hop.dft_protocol}: {hop.dft_forward_barrier:.3f} / {hop.dft_reverse_barrier:.3f} eV)"
            console.print(f"  hop {hop.environment}: {barrier}  job {hop.job_uuid}", highlight=False)
        for job in result.jobs:
            console.print(
                f"  {job.state:10} {job.step:10} {job.uuid}  {job.protocol or ''} {job.message or ''}", highlight=False
            )


@click.command()
@click.argument("definition", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--campaign", help="Only candidates of this campaign.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained report.")
def rank(definition: Path | None, campaign: str | None, as_json: bool, as_csv: bool, html: Path | None) -> None:
    """Rank the candidates in the store, by a definition or by gap, barrier and formation energy.

    \b
    Examples:
      hemiec rank
      hemiec rank analysis/leaderboards/solid-electrolyte.yaml --html report.html
    """
    from hemiec.ranking.report import to_html

    with store() as (_, database):
        leaderboard = make_leaderboard(database, definition, campaign=campaign)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        write_whole(html, to_html(leaderboard))
        click.echo(f"report: {html.absolute()}", err=True)
    show_leaderboard(leaderboard, as_json=as_json, as_csv=as_csv)


def make_leaderboard(database: Database, definition: Path | None, *, campaign: str | None) -> LeaderboardDoc:
    """Return the leaderboard of the candidates in the store.

    Raises
    ------
    InputError
        If the definition is not valid, or the store has no such campaign or no candidates.
    """
    from hemiec.ranking.definition import DEFAULT, load_definition
    from hemiec.ranking.leaderboard import rank as rank_candidates
    from hemiec.store.campaigns import read_header

    if campaign is not None:
        read_header(database, campaign, {"name": 1})  # says so if there is none of that name
    rules = DEFAULT if definition is None else load_definition(definition)
    wanted = {} if campaign is None else {"campaigns": campaign}
    documents = list(read_candidates(database, wanted))
    if not documents:
        raise InputError(
            "there are no candidates in the store.", mend="run a campaign, or `hemiec build` what has finished"
        )
    return rank_candidates(documents, rules, campaign=campaign)


def show_leaderboard(leaderboard: LeaderboardDoc, *, as_json: bool = False, as_csv: bool = False) -> None:
    """Print a leaderboard as a table, JSON or CSV."""
    from rich.console import Console

    from hemiec.ranking import export

    if as_json:
        click.echo(export.to_json(leaderboard))
    elif as_csv:
        click.echo(export.to_csv(leaderboard), nl=False)
    else:
        console = Console()
        # In a file or pipe there is no width to fit.
        (console if console.is_terminal else Console(width=PIPED_WIDTH)).print(export.to_table(leaderboard))


def _transport_lines(found: TransportSummary) -> list[str]:
    """Return in a few lines what governs the conduction of a candidate's mobile ion."""
    single = found.hop_barrier
    lines = [
        f"{found.mobile} at {found.reference_temperature_K:g} K: {found.n_computed} of {found.n_hops} hops computed, "
        f"{found.n_failed} without a saddle, {found.n_force_calls} force calls; {found.stopped}"
    ]
    if single.value is not None:
        lines.append(f"median of single hops {single.value:.3f} eV ({single.min:.3f} to {single.max:.3f})")
    if found.sites_in_use is not None and found.hops_in_use is not None:
        lines.append(
            f"current on {found.sites_in_use:.0%} of sites and {found.hops_in_use:.0%} of hops; highest saddle on the "
            "way along each cell vector "
            + ", ".join("none" if barrier is None else f"{barrier:.2f} eV" for barrier in found.bottlenecks)
        )
    for name, unit, band in (("D", "cm2/s", found.log10_diffusivity), ("sigma", "S/cm", found.log10_conductivity)):
        if band is not None:
            at = [
                f"{T:g} K {m:.2f} [{low:.2f}, {high:.2f}]"
                for T, m, low, high in zip(found.temperatures_K, band.median, band.low, band.high, strict=True)
                if m is not None and low is not None and high is not None
            ]
            lines.append(f"log10 {name} ({unit}): {'; '.join(at) or 'nothing moves through the crystal'}")
    return [*lines, *(f"note: {note}" for note in found.notes)]


def _brief(doc: CandidateDoc) -> dict[str, Any]:
    return {
        "candidate_id": doc.candidate_id,
        "formula": doc.candidate.formula,
        "label": doc.candidate.label,
        **{name: getattr(doc, name).model_dump(mode="json") for name in PROPERTIES},
    }


def _near(word: str, known: list[str]) -> str:
    from hemiec.errors import did_you_mean

    return did_you_mean(word, known[:8]) if known else "run a campaign first"
