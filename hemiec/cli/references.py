"""`hemiec references`: the phases that candidates are compared with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hemiec.cli.session import console, json_option, print_json, queue, quiet, store
from hemiec.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from hemiec.engines.mlip.protocol import MlipProtocol
    from hemiec.engines.protocol import ProtocolReference
    from hemiec.launch.references import KnownPhase
    from hemiec.thermo.references.table import ReferencePhase

_protocol = click.option(
    "--protocol",
    "protocol_name",
    default="mlip-chgnet",
    show_default=True,
    metavar="P",
    help="Potential that relaxes: a shipped name, or a YAML file.",
)
_elements = click.option("--elements", metavar="La,Sr,...", help="Only phases made of these elements.")
_file = click.Path(dir_okay=False, path_type=Path)


@click.group()
def references() -> None:
    """List, compute and share the reference phases: elements, oxides, competitors, phases of interfaces.

    They are computed once for a protocol and shared by all campaigns; those of mlip-chgnet come with hemiec.

    \b
    Examples:
      hemiec references list --elements La,Sr,Co,O
      hemiec references compute --elements La,Sr,Co,O --protocol mlip-7net-0 && hemiec work references-mlip-7net-0
    """


@references.command("list")
@_elements
@_protocol
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def list_command(elements: str | None, protocol_name: str, as_json: bool, as_csv: bool) -> None:
    """List the phases, and whether the store has their energies.

    Energies are in eV/atom as the protocol computed them, before corrections.

    \b
    Examples:
      hemiec references list --elements Sr,Ti,O
      hemiec references list --protocol mlip-7net-0 --csv
    """
    from hemiec.launch.references import known_phases

    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other.", mend="leave one out")
    symbols, protocol = _symbols(elements), _potential(protocol_name)
    with store(read_only=True) as (_, database):
        found = known_phases(database, protocol, symbols)
    if as_json:
        print_json({"protocol": protocol.name, "hash": protocol.hash_of("relax"), "phases": _plain(found)})
    elif as_csv:
        _print_csv(found)
    else:
        _print_table(found, protocol)


@references.command()
@_elements
@click.option("--campaign", type=_file, help="Those that the candidates of this campaign file are compared with.")
@click.option("--phase", "names", multiple=True, metavar="PHASE_ID", help="Only this one; may be given again.")
@_protocol
@click.option("--confirm", metavar="P", help="DFT protocol for the energies of compounds: a shipped name or YAML file.")
@click.option("--recompute", is_flag=True, help="Compute also what is shipped, unless it was loaded already.")
@click.option("--dry-run", is_flag=True, help="Say what would be added; change nothing.")
@json_option
def compute(
    elements: str | None,
    campaign: Path | None,
    names: tuple[str, ...],
    protocol_name: str,
    confirm: str | None,
    recompute: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Submit the jobs of reference phases; `hemiec work` runs them.

    They belong to no campaign of yours: all campaigns with the protocol take their results. What is finished or waits
    already is not added again, and what is shipped is written into the store instead. With --confirm, energies of
    compounds and molecules are computed by DFT too, from every magnetic start that applies, and the lowest is kept.

    \b
    Examples:
      hemiec references compute --elements La,Sr,Co,O --dry-run
      hemiec references compute --campaign flows/quickstart.yaml --protocol mlip-7net-0
      hemiec references compute --phase NiO-rock-salt --confirm gpaw-standard
    """
    from hemiec.launch.predict import predict
    from hemiec.launch.references import request_references, submit_references

    quiet()
    given = [elements is not None, campaign is not None, bool(names)]
    if sum(given) != 1:
        raise InputError("say which phases: one of --elements, --campaign and --phase.")
    protocol = _reference(protocol_name, "--protocol")
    with queue() as (_, opened):
        phases = _chosen(opened.database, _potential(protocol_name), elements, campaign, names)
        confirmed = None if confirm is None else _reference(confirm, "--confirm")
        request = request_references(phases, protocol, confirm=confirmed, use_shipped=not recompute)
        found = submit_references(opened, request, dry_run=dry_run)
        cost = predict(opened, found.kinds) if dry_run else None
    if as_json:
        about = {"campaign": request.name, "dry_run": dry_run, "phases": len(phases), **found.to_json()}
        print_json(about | ({} if cost is None else {"cost": asdict(cost)}))
        return
    word = "would be added" if dry_run else "added"
    click.echo(
        f"{request.name}: {len(phases)} phases; {found.added} jobs {word}, {found.pending} pending, "
        f"{found.finished} finished before, {found.shipped} shipped"
    )
    if cost is not None:
        from hemiec.cli.progress import cost_table

        console().print(cost_table(cost))
    elif found.added or found.pending:
        click.echo(f"next: hemiec work {request.name}")
    if found.notice is not None:
        click.echo(f"note: {found.notice}", err=True)


@references.command()
@click.argument("phase_id")
@_protocol
@click.option("--structure", type=click.Choice(["poscar", "cif"]), help="Print the relaxed cell instead.")
@click.option("--unrelaxed", is_flag=True, help="With --structure: the tabulated cell that the relaxation starts from.")
@json_option
def show(phase_id: str, protocol_name: str, structure: str | None, unrelaxed: bool, as_json: bool) -> None:
    """Show one phase: structure type, source, energy and the job behind it.

    \b
    Examples:
      hemiec references show SrO-rock-salt
      hemiec references show SrO-rock-salt --structure cif > SrO.cif
    """
    from hemiec.launch.references import find_phase

    if structure is not None and as_json:
        raise InputError("--structure and --json exclude each other.", mend="leave one out")
    if unrelaxed and structure is None:
        raise InputError("--unrelaxed belongs to --structure.", mend="add --structure poscar")
    protocol = _potential(protocol_name)
    with store(read_only=True) as (_, database):
        found = find_phase(database, protocol, phase_id)
    if structure is not None:
        click.echo(_written(found, protocol, structure, unrelaxed), nl=False)
    elif as_json:
        print_json(found.to_json())
    else:
        _print_phase(found, protocol)


@references.command()
@click.argument("file", type=_file)
@_protocol
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def export(file: Path, protocol_name: str, force: bool) -> None:
    """Write the energies that were computed here into one file, for groups with the same protocol.

    Those that came with hemiec are not in it. `hemiec references add` reads it.

    \b
    Example:
      hemiec references export ours.json.gz
    """
    from hemiec.launch.reference_files import export_references

    protocol = _potential(protocol_name)
    with store(read_only=True) as (_, database):
        n = export_references(database, protocol, file, force=force)
    click.echo(f"{file}: {n} phases by {protocol.name}, {file.stat().st_size / 1e3:.0f} kB")


@references.command()
@click.argument("file", type=_file, required=False)
@click.option("--materials-project", is_flag=True, help="Competing phases of the Materials Project; key in MP_API_KEY.")
@click.option("--elements", metavar="La,Sr,...", help="With --materials-project: of these elements.")
@_protocol
@click.option("--dry-run", is_flag=True, help="Say what would be added; change nothing.")
def add(file: Path | None, materials_project: bool, elements: str | None, protocol_name: str, dry_run: bool) -> None:
    """Add energies from a file of `hemiec references export`, or phases of the Materials Project.

    Of the Materials Project only structures are taken: jobs that relax them are submitted, and `hemiec work` runs them.
    A file is checked from end to end first; what is in the store stays as it is.

    \b
    Examples:
      hemiec references add theirs.json.gz
      MP_API_KEY=... hemiec references add --materials-project --elements La,Sr,Co,O
    """
    quiet()
    if (file is not None) == materials_project:
        raise InputError("say what to add: either a file, or --materials-project with --elements.")
    if materials_project != (elements is not None):
        raise InputError("--materials-project and --elements go together.")
    if file is not None:
        _add_file(file, protocol_name, dry_run)
    else:
        _add_materials_project(_symbols(elements) or [], protocol_name, dry_run)


def _add_file(file: Path, protocol_name: str, dry_run: bool) -> None:
    from hemiec.launch.reference_files import add_references, read_references
    from hemiec.store.trust import Trust

    protocol = _potential(protocol_name)
    with queue() as (settings, opened):
        found = read_references(file, protocol, Trust(tuple(settings.trusted_packages)))
        if dry_run:
            new = len(found.outputs) - len(opened.states([output["uuid"] for output in found.outputs]))
        else:
            new = add_references(opened, found, _reference(protocol_name, "--protocol"))
    word = "would be added" if dry_run else "added"
    rest = "; the store has the others" if new < len(found.outputs) else ""
    click.echo(f"{file}: {new} of {len(found.outputs)} energies {word}{rest}.")
    if found.left_out:
        click.echo(
            f"note: {len(found.left_out)} are of phases that this hemiec does not know or tabulates otherwise: "
            f"{', '.join(found.left_out[:5])}",
            err=True,
        )


def _add_materials_project(symbols: list[str], protocol_name: str, dry_run: bool) -> None:
    from hemiec.launch.references import request_references, submit_references
    from hemiec.thermo.references.materials_project import materials_project_phases

    protocol = _reference(protocol_name, "--protocol")
    _potential(protocol_name)
    found = materials_project_phases(symbols)
    click.echo(
        f"the Materials Project has {len(found.phases)} phases that are not tabulated, {len(found.tabulated)} that are"
    )
    for name, why in found.left_out.items():
        click.echo(f"note: {name} is left out: {why}", err=True)
    if not found.phases:
        return
    request = request_references(found.phases, protocol)
    with queue() as (_, opened):
        done = submit_references(opened, request, dry_run=dry_run)
    click.echo(
        f"{request.name}: {done.added} jobs {'would be added' if dry_run else 'added'}, {done.pending} pending, "
        f"{done.finished} finished before"
    )
    if not dry_run and (done.added or done.pending):
        click.echo(f"next: hemiec work {request.name}")


def _chosen(
    database: Any, protocol: MlipProtocol, elements: str | None, campaign: Path | None, names: tuple[str, ...]
) -> list[ReferencePhase]:
    """Return the phases that the options choose; those that are known not to converge only by name."""
    from hemiec.launch.references import computable_phases, find_phase, without_hopeless
    from hemiec.workflows.campaign import load_campaign

    if names:
        return [find_phase(database, protocol, name).phase for name in dict.fromkeys(names)]
    if campaign is not None:
        return without_hopeless(load_campaign(campaign).surroundings, protocol)
    return computable_phases(database, protocol, _symbols(elements) or [])


def _symbols(elements: str | None) -> list[str] | None:
    """Return symbols of elements as they were typed with commas or spaces.

    Raises
    ------
    InputError
        If one is no element.
    """
    if elements is None:
        return None
    from pymatgen.core import Element

    symbols = elements.replace(",", " ").split()
    for symbol in symbols:
        if not Element.is_valid_symbol(symbol):
            known = [element.symbol for element in Element]
            near = [name for name in known if name.lower() == symbol.lower()]
            hint = f"did you mean {near[0]!r}?" if near else did_you_mean(symbol, known)
            hint = hint if hint.startswith("did") else "write symbols such as La,Sr,Co,O."
            raise InputError(f"--elements: {symbol!r} is no element; {hint}")
    if not symbols:
        raise InputError("--elements: expected symbols with commas between them, such as La,Sr,Co,O; got none.")
    return symbols


def _reference(name: str, where: str) -> ProtocolReference:
    from hemiec.engines.protocol import inlined

    found = inlined(name, Path.cwd(), where=where)
    assert found is not None
    return found


def _potential(name: str) -> MlipProtocol:
    """Return the protocol that relaxes.

    Raises
    ------
    CampaignError
        If there is none of that name, or it is no potential's.
    """
    from hemiec.engines.protocol import load_mlip

    return load_mlip(_reference(name, "--protocol"), where="--protocol")


def _plain(found: list[KnownPhase]) -> list[dict[str, Any]]:
    return [known.to_json() for known in found]


def _row(known: KnownPhase) -> list[str]:
    energy = "" if known.energy_per_atom is None else f"{known.energy_per_atom:.4f}"
    state = known.state if known.converged in (None, True) else f"{known.state}, not converged"
    return [known.phase.phase_id, known.phase.prototype, state, energy]


def _print_csv(found: list[KnownPhase]) -> None:
    import csv
    import sys

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["phase_id", "formula", "prototype", "space_group", "state", "energy_per_atom", "job_uuid"])
    for known in found:
        phase = known.phase
        energy = "" if known.energy_per_atom is None else repr(known.energy_per_atom)
        writer.writerow(
            [phase.phase_id, phase.formula, phase.prototype, phase.space_group, known.state, energy, known.job_uuid]
        )


def _print_table(found: list[KnownPhase], protocol: MlipProtocol) -> None:
    from collections import Counter

    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for column in ("phase", "prototype", "state"):
        table.add_column(column, overflow="fold")
    table.add_column("eV/atom", justify="right", no_wrap=True)
    for known in found:
        table.add_row(*_row(known))
    console().print(table)
    counts = Counter(known.state for known in found)
    numbers = ", ".join(f"{n} {state}" for state, n in counts.items())
    click.echo(f"{len(found)} phases by {protocol.name}: {numbers}" if found else "no phase is made of these elements.")
    if counts["missing"]:
        click.echo("`hemiec references compute` submits those that are missing.")


def _print_phase(known: KnownPhase, protocol: MlipProtocol) -> None:
    phase = known.phase
    click.echo(f"{phase.phase_id}: {phase.formula}, {phase.phase}, {phase.prototype}, space group {phase.space_group}")
    click.echo(f"source: {phase.source}")
    if phase.note:
        click.echo(f"note: {phase.note}")
    energy = f"{known.energy_per_atom:.4f} eV/atom, " if known.energy_per_atom is not None else ""
    unfinished = ", not converged" if known.converged is False else ""
    click.echo(f"{protocol.name} {protocol.hash_of('relax')}: {energy}{known.state}{unfinished}")
    click.echo(f"job {known.job_uuid}")
    if known.versions:
        click.echo("by " + ", ".join(f"{code} {version}" for code, version in sorted(known.versions.items())))


def _written(known: KnownPhase, protocol: MlipProtocol, form: str, unrelaxed: bool) -> str:
    """Return a cell in a file's form.

    Raises
    ------
    InputError
        If it was not relaxed yet.
    """
    from pymatgen.core import Structure

    if unrelaxed:
        cell = known.phase.structure()
    elif known.structure is None:
        raise InputError(
            f"{known.phase.phase_id} has not been relaxed with {protocol.name}.",
            mend=f"`hemiec references compute --phase {known.phase.phase_id}`, or --unrelaxed for the tabulated cell",
        )
    else:
        cell = Structure.from_dict(known.structure)
    text = str(cell.to(fmt=form))
    return text if text.endswith("\n") else text + "\n"
