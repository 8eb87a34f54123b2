"""A provenance as a tree: numbers, the jobs under each, and what all of them share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hemiec.schemas.provenance import JobTrace, NumberTrace, Provenance

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

#: Longer values are cut in the tree; `--json` has them in full.
_WIDTH = 90


def print_provenance(found: Provenance, console: Console) -> None:
    """Print where the numbers of a candidate come from."""
    from rich.markup import escape
    from rich.tree import Tree

    root = Tree(f"[bold]{escape(found.label)}[/bold]  {found.candidate_id}  {escape(found.formula)}", highlight=False)
    if found.origin is not None:
        origin = found.origin
        root.add(f"imported {origin.imported_on:%Y-%m-%d} from {escape(origin.file)}, archive {origin.archive[:16]}")
    root.add(f"campaigns: {escape(', '.join(found.campaigns)) or 'none'}")
    jobs = {job.uuid: job for job in found.jobs}
    shown: set[str] = set()
    for number in found.numbers:
        _add_number(root, number, jobs, shown)
    _add_shared(root, found)
    console.print(root, highlight=False)


def _add_number(root: Tree, number: NumberTrace, jobs: Mapping[str, JobTrace], shown: set[str]) -> None:
    from rich.markup import escape

    value = f"none: {number.reason}" if number.value is None else f"{_value(number.value)} {number.unit or ''}".strip()
    branch = root.add(f"[bold]{escape(number.property)}[/bold]: {escape(value)}")
    if number.method and number.value is not None:
        branch.add(f"method: {escape(number.method)}")
    quantity = number.quantity
    if quantity is not None and quantity.calibration is not None:
        branch.add(f"{quantity.uncorrected} {quantity.unit} before correction by {quantity.calibration}")
    if number.plan_id is not None:
        branch.add(f"plan {number.plan_id}")
    for uuid in number.job_uuids:
        _add_job(branch, uuid, jobs, shown)
    if number.reference_job_uuids:
        references = branch.add("reference phases")
        for uuid in number.reference_job_uuids:
            _add_job(references, uuid, jobs, shown)


def _add_job(branch: Tree, uuid: str, jobs: Mapping[str, JobTrace], shown: set[str]) -> None:
    from rich.markup import escape

    job = jobs.get(uuid)
    if job is None:
        branch.add(f"job {uuid}: [red]missing[/red]")
        return
    protocol = f"  {job.protocol} {job.protocol_hash}" if job.protocol else ""
    title = f"job {uuid} {escape(f'{job.step or job.name} ({job.name}): {job.state}{protocol}')}"
    if uuid in shown:
        branch.add(f"{title}, shown above")
        return
    shown.add(uuid)
    node = branch.add(title)
    if job.shipped_with:
        by = ", ".join(f"{code} {version}" for code, version in sorted(job.versions.items()))
        node.add(escape(f"came with {job.shipped_with}, computed by {by}"))
    if job.function:
        node.add(escape(job.function))
    if job.settings:
        node.add(escape(f"settings: {_value(job.settings)}"))
    for name, argument in job.arguments.items():
        if not _only_references(argument):
            node.add(escape(f"argument {name}: {_value(argument)}"))
    for launch in job.launches:
        took = f" in {launch.elapsed_s:.1f} s" if launch.elapsed_s is not None else ""
        where = f" on {launch.host}" if launch.host else ""
        allocation = f", allocation {launch.scheduler_id}" if launch.scheduler_id else ""
        node.add(escape(f"launched {launch.started_at}{where}{took}: {launch.state.lower()}{allocation}"))
    for file in job.files:
        size = f", {file.bytes} bytes" if file.bytes is not None else ""
        there = " [red](gone)[/red]" if file.present is False else ""
        host = f"{file.host}:" if file.host and file.present is None else ""
        node.add(escape(f"{file.kind} {host}{file.place}{size}") + there)
    for uuid_of_parent in dict.fromkeys(i.job_uuid for i in job.inputs):
        parts = ", ".join(i.attribute or "all" for i in job.inputs if i.job_uuid == uuid_of_parent)
        _add_job(node.add(escape(f"input: {parts} of")), uuid_of_parent, jobs, shown)


def _add_shared(root: Tree, found: Provenance) -> None:
    from rich.markup import escape

    for structure in found.structures:
        root.add(f"structure {structure.structure_id}: {structure.formula_pretty}, {structure.nsites} atoms")
    for reference in found.references:
        root.add(escape(f"reference {reference.phase}: {reference.energy_per_atom:.4f} eV/atom, {reference.job_uuid}"))
    for protocol in found.protocols:
        about = {True: "content has these hashes", False: "content differs", None: "hash covers the job's settings"}
        branch = root.add(f"protocol {escape(protocol.name)} {', '.join(protocol.hashes)}: {about[protocol.verified]}")
        for key, value in (protocol.content or {}).items():
            branch.add(escape(f"{key}: {_value(value)}"))
    for calibration in found.calibrations:
        root.add(
            f"calibration {calibration.calibration_id}: {calibration.low_protocol} to {calibration.high_protocol} "
            f"{calibration.high_protocol_hash}, {calibration.n_points} points, {calibration.model}"
        )
    if found.versions:
        root.add(", ".join(f"{code} {'/'.join(versions)}" for code, versions in found.versions.items()))
    for text in found.missing:
        root.add(f"[red]missing:[/red] {escape(text)}")


def _only_references(value: Any) -> bool:
    """Return whether an argument is nothing but outputs of other jobs, which stand under `input`."""
    if isinstance(value, list):
        return bool(value) and all(map(_only_references, value))
    return isinstance(value, dict) and value.get("@class") == "OutputReference"


def _value(value: Any) -> str:
    """Return a value in one short line; structures by what is in them."""
    if isinstance(value, dict) and value.get("@class") == "Structure":
        species = [s["species"][0]["element"] for s in value["sites"] if s.get("species")]
        counts = ", ".join(f"{n} {e}" for e, n in sorted({e: species.count(e) for e in species}.items()))
        return f"structure of {counts}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
