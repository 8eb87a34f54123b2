"""`hemiec snapshots`: immutable copies of the candidates that leaderboards are ranked from."""

from __future__ import annotations

import click

from hemiec.cli.session import console, json_option, print_json, quiet, say_left_out, store
from hemiec.schemas.snapshot import SnapshotManifest
from hemiec.settings import load_settings


@click.group()
def snapshots() -> None:
    """Keep the candidates as they are now: to rank, share and compare them later.

    \b
    Examples:
      hemiec snapshots take
      hemiec snapshots list
    """


@snapshots.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the snapshots in the data folder, the latest first.

    \b
    Example: hemiec snapshots list
    """
    from rich.box import SIMPLE
    from rich.table import Table

    from hemiec.store.snapshots import read_snapshots, snapshots_folder

    settings = load_settings()
    found, broken = read_snapshots(settings)
    if as_json:
        print_json([_brief(manifest) for manifest in found])
    elif found:
        table = Table(box=SIMPLE)
        for heading in ("snapshot", "taken (UTC)", "candidates", "campaign", "condition", "rules"):
            table.add_column(heading, justify="right" if heading == "candidates" else "left", overflow="fold")
        for m in found:
            rules = m.definition.name if m.definition else "—"
            when = f"{m.created_at:%Y-%m-%d %H:%M}"
            table.add_row(m.snapshot_id, when, f"{m.n_candidates:,}", m.campaign or "all", m.where or "—", rules)
        console(140).print(table)
    else:
        click.echo(f"no snapshot in {snapshots_folder(settings)}; `hemiec snapshots take` takes one.", err=True)
    for name, reason in broken.items():
        click.echo(f"{name} is left out: {reason}", err=True)


@snapshots.command()
@click.option("--campaign", metavar="NAME", help="Only candidates of this campaign.")
@click.option("--where", metavar="EXPR", default="", help="Only what fulfils this, in the language of `hemiec query`.")
@click.option("--definition", metavar="NAME|FILE", help="The leaderboard that it is taken for; kept with it.")
@json_option
def take(campaign: str | None, where: str, definition: str | None, as_json: bool) -> None:
    """Copy the candidates as they are now into a snapshot, which never changes.

    The same candidates taken twice are one snapshot: its name is a hash of its content.

    \b
    Examples:
      hemiec snapshots take
      hemiec snapshots take --campaign quickstart --definition cathode-miec
      hemiec snapshots take --where 'has(Co) and known(migration_barrier)'
    """
    from hemiec.ranking.definition import load_definition
    from hemiec.store.snapshots import take_snapshot

    rules = None if definition is None else load_definition(definition)
    left_out: dict[str, str] = {}
    with store(read_only=True) as (settings, database):
        snapshot = take_snapshot(
            database, settings, where=where, campaign=campaign, definition=rules, report=left_out.__setitem__
        )
    say_left_out(left_out)
    for note in snapshot.manifest.notes:
        click.echo(note, err=True)
    if as_json:
        print_json(_brief(snapshot.manifest) | {"folder": str(snapshot.folder)})
    else:
        click.echo(f"{snapshot.snapshot_id}: {len(snapshot):,} candidates in {snapshot.folder}")


@snapshots.command()
@click.argument("snapshot")
@json_option
def show(snapshot: str, as_json: bool) -> None:
    """Show what a snapshot holds: candidates, protocols, corrections, reference phases, versions.

    SNAPSHOT is an id, the beginning of one, or a folder. JSON is the whole manifest.

    \b
    Example: hemiec snapshots show snap-0123456789abcdef
    """
    from hemiec.store.snapshots import open_snapshot

    quiet()
    found = open_snapshot(snapshot, load_settings())
    if as_json:
        print_json(found.manifest.to_mongo())
    else:
        for line in _lines(found.manifest):
            click.echo(line)
        click.echo(f"  folder       {found.folder.absolute()}")


@snapshots.command()
@click.argument("names", metavar="[SNAPSHOT]...", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Compare every byte of snapshots with their manifests; default: of all in the data folder.

    \b
    Examples:
      hemiec snapshots verify
      hemiec snapshots verify snap-0123456789abcdef
    """
    from hemiec.errors import HemiecError, StoreError
    from hemiec.ranking.snapshots.files import find_snapshot
    from hemiec.ranking.snapshots.snapshot import Snapshot
    from hemiec.store.snapshots import snapshots_folder

    quiet()
    root = snapshots_folder(load_settings())
    folders = [find_snapshot(name, root) for name in names] or sorted(root.glob("snap-*"))
    damaged = []
    for folder in folders:
        try:
            manifest = Snapshot.at(folder, verify=True).manifest
        except HemiecError as error:
            damaged.append(folder.name)
            click.echo(f"{folder.name}: {error.message}")
        else:
            click.echo(f"{manifest.snapshot_id}: as it was taken, {manifest.n_candidates:,} candidates")
    if damaged:
        raise StoreError(f"{len(damaged)} of {len(folders)} snapshots are damaged.", mend="do not rank from these")
    if not folders:
        click.echo(f"no snapshot in {root}.", err=True)


def _brief(manifest: SnapshotManifest) -> dict[str, object]:
    return manifest.model_dump(mode="json", exclude={"columns", "references"})


def _lines(m: SnapshotManifest) -> list[str]:
    references = sum(map(len, m.references.energies_per_atom.values()))
    lines = [
        m.snapshot_id,
        f"  taken        {m.created_at:%Y-%m-%d %H:%M:%S} UTC by hemiec {m.versions['hemiec']}",
        f"  candidates   {m.n_candidates:,} of {'campaign ' + m.campaign if m.campaign else 'all campaigns'}",
        f"  condition    {m.where or 'none'}",
        f"  rules        {m.definition.name + ': ' + m.definition.title if m.definition else 'none'}",
    ]
    for name, use in m.properties.items():
        by = ", ".join(f"{p.protocol or 'unknown'} {p.protocol_hash or ''} ({p.n:,})" for p in use.protocols)
        corrected = f"; corrected by {', '.join(use.calibrations)}" if use.calibrations else ""
        lines.append(
            f"  {name:40} {use.n_values:>9,} values, {use.n_intervals:,} with interval: {by or '—'}{corrected}"
        )
    return [
        *lines,
        f"  references   {references:,} phases of {len(m.references.energies_per_atom)} protocols, "
        f"{m.references.hash[:12]}",
        f"  versions     builder {_joined(m.builder_versions)}, thermodynamics {_joined(m.thermo_versions)}, "
        f"documents {m.schema_version}",
        f"  columns      {len(m.columns)}, {sum(file.size_bytes for file in m.files) / 2**20:,.1f} MiB",
        *(f"  note         {note}" for note in m.notes),
    ]


def _joined(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
