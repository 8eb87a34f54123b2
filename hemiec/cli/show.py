"""`hemiec show`: one candidate, and where its numbers come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hemiec.cli.session import console, json_option, print_json, store
from hemiec.cli.thermodynamics import thermodynamics_lines
from hemiec.errors import InputError
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.provenance import Provenance
from hemiec.schemas.transport import TransportSummary
from hemiec.store.candidates import read_candidates

if TYPE_CHECKING:
    from rich.console import Console

    from hemiec.store.database import Database


@click.command()
@click.argument("candidate_id")
@click.option("--provenance", is_flag=True, help="Show jobs, inputs, protocols, versions and files behind the numbers.")
@click.option("--property", "number", help="With --provenance: of this number only, such as band_gap or hops.0.")
@click.option(
    "--plot",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Draw every figure into a folder: hull, temperature, oxygen, windows, interfaces, transport.",
)
@json_option
def show(candidate_id: str, provenance: bool, number: str | None, folder: Path | None, as_json: bool) -> None:
    """Show one candidate with every number's method and the jobs behind it.

    \b
    Examples:
      hemiec show hm-e0de7f182d2cabdf
      hemiec show hm-e0de7f182d2cabdf --provenance
      hemiec show hm-e0de7f182d2cabdf --provenance --property migration_barrier
      hemiec show hm-e0de7f182d2cabdf --plot figures
    """
    from hemiec.store.provenance import no_candidate, trace

    if number is not None and not provenance:
        raise InputError("--property belongs to --provenance.", mend="add --provenance")
    if folder is not None and provenance:
        raise InputError("--plot and --provenance exclude each other.", mend="run the command twice")
    with store(read_only=True) as (_, database):
        if provenance:
            found = trace(database, candidate_id, number, local_files=True)
            _print_found(found, as_json)
            return
        doc = next(read_candidates(database, {"candidate_id": candidate_id}), None)
        if doc is None:
            raise no_candidate(database, candidate_id)
        files = [] if folder is None else _draw(database, doc, folder)
    if as_json:
        print_json(doc.to_mongo())
    else:
        _print_candidate(doc, console(150))
    for file in files:
        click.echo(f"wrote {file}", err=True)


def _draw(database: Database, doc: CandidateDoc, folder: Path) -> list[Path]:
    from hemiec.cli.figures import draw

    return draw(database, doc, folder)


def _print_found(found: Provenance, as_json: bool) -> None:
    from hemiec.cli.provenance import print_provenance

    if as_json:
        print_json(found.to_mongo())
        return
    print_provenance(found, console(200, markup=True))


def _print_candidate(doc: CandidateDoc, out: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    spec = doc.candidate
    about = f"  {doc.candidate_id}  campaigns: {', '.join(doc.campaigns)}"
    out.print(Text.assemble((spec.label, "bold"), about))
    states = ", ".join(f"{s} {q:+g}" for s, q in spec.oxidation_states.items())
    out.print(f"oxidation states: {states}")
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
    out.print(table)
    for result in doc.results:
        out.print(f"plan {result.plan_id}: {result.n_atoms} atoms; {result.oxide_reaction or ''}")
        if result.thermodynamics is not None:
            for line in thermodynamics_lines(spec, result.thermodynamics):
                out.print(f"  {line}")
        if result.transport is not None:
            for line in _transport_lines(result.transport):
                out.print(f"  {line}")
        for hop in result.hops:
            barrier = hop.reason or f"{hop.forward_barrier:.3f} / {hop.reverse_barrier:.3f} eV"
            if hop.dft_forward_barrier is not None and hop.dft_reverse_barrier is not None:
                barrier += f" ({hop.dft_protocol}: {hop.dft_forward_barrier:.3f} / {hop.dft_reverse_barrier:.3f} eV)"
            out.print(f"  hop {hop.environment}: {barrier}  job {hop.job_uuid}")
        for job in result.jobs:
            out.print(f"  {job.state:10} {job.step:10} {job.uuid}  {job.protocol or ''} {job.message or ''}")


def _transport_lines(found: TransportSummary) -> list[str]:
    """Return in a few lines what governs the conduction of a candidate's mobile ion."""
    single = found.hop_barrier
    lines = [
        f"{found.mobile} at {found.reference_temperature_K:g} K: {found.n_computed} of {found.n_hops} hops computed, "
        f"{found.n_failed} without a saddle, {found.n_force_calls} force calls; {found.stopped}"
    ]
    if single.value is not None:
        extent = "" if single.min is None or single.max is None else f" ({single.min:.3f} to {single.max:.3f})"
        lines.append(f"median of single hops {single.value:.3f} eV{extent}")
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
