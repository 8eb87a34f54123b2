"""`hemiec protocols`: what is shipped, and what a protocol says."""

from __future__ import annotations

from pathlib import Path

import click

from hemiec.cli.session import console, json_option, print_json


@click.command()
@click.argument("name", required=False)
@json_option
def protocols(name: str | None, as_json: bool) -> None:
    """List the shipped protocols, or print one in full; NAME may be a YAML file of your own, which is checked.

    \b
    Examples:
      hemiec protocols
      hemiec protocols gpaw-standard
      hemiec protocols my-protocol.yaml
    """
    import yaml

    from hemiec.engines.protocol import load_protocol, protocol_names, read_protocol_file

    if name is None:
        shipped = [load_protocol(n) for n in protocol_names()]
        if as_json:
            print_json([{"name": p.name, "engine": p.engine, "hash": p.hash, "purpose": p.purpose} for p in shipped])
            return
        _table([(p.name, p.hash, " ".join(p.purpose.split()), p.cost) for p in shipped])
        return
    is_file = name.endswith((".yaml", ".yml"))
    protocol = load_protocol(read_protocol_file(Path(name)) if is_file else name)
    content = protocol.model_dump(mode="json")
    if as_json:
        print_json({"hash": protocol.hash, **content})
        return
    click.echo(f"# hash {protocol.hash}")
    click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), nl=False)


def _table(rows: list[tuple[str, str, str, str]]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE)
    for header in ("protocol", "hash", "purpose", "cost"):
        table.add_column(header, overflow="fold", no_wrap=header in ("protocol", "hash"))
    for row in rows:
        table.add_row(*row)
    console(160).print(table)
