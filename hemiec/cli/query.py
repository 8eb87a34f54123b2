"""`hemiec query`: what is in the store, by an expression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from hemiec.cli.session import console, json_option, print_json, quiet
from hemiec.errors import InputError
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.queries.fields import Field
from hemiec.store.queries.files import csv_parts, json_parts
from hemiec.store.queries.page import MAX_LIMIT
from hemiec.store.queries.results import Found, Results
from hemiec.store.queries.rows import Query

#: Rows of a table unless told otherwise.
FIRST = 100
#: Columns of a table or CSV unless told otherwise.
_SHOWN = {
    "candidates": ("candidate_id", "label", *PROPERTIES),
    "hops": ("hop_id", "label", "environment", "forward_barrier", "reverse_barrier", "protocol"),
    "structures": ("structure_id", "formula_pretty", "nsites", "energy_per_atom", "tilt", "warren_cowley_rms"),
}


@click.command()
@click.argument("expression", default="")
@click.option(
    "--collection", type=click.Choice(list(_SHOWN)), default="candidates", show_default=True, help="What to look in."
)
@click.option("--sort", metavar="FIELD", help="Field to sort by: one with an index.")
@click.option("--descending", is_flag=True, help="Large values first; without a value last either way.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help=f"At most N; a table has {FIRST} unless told so.")
@click.option("--fields", metavar="A,B,...", help="Fields to show, such as band_gap,barrier.std,label.")
@click.option("--after", metavar="CURSOR", help="Go on after the page that ended with this cursor.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--parquet", type=click.Path(dir_okay=False, path_type=Path), help="Write all into a Parquet file.")
@click.option("--explain", is_flag=True, help="Say how MongoDB finds the first page, instead of showing it.")
@click.option("--list-fields", is_flag=True, help="List the fields with unit and description.")
def query(
    expression: str,
    collection: str,
    sort: str | None,
    descending: bool,
    limit: int | None,
    fields: str | None,
    after: str | None,
    as_json: bool,
    as_csv: bool,
    parquet: Path | None,
    explain: bool,
    list_fields: bool,
) -> None:
    """List what fulfils an expression: candidates, hops or structures.

    A table, and whatever is sorted or goes on after a cursor, is a page; CSV, JSON and Parquet hold all there are
    unless --limit says otherwise.

    \b
    Examples:
      hemiec query 'band_gap < 1.0 and has(Co)'
      hemiec query 'barrier + barrier.std < 500 meV and not has(Bi)' --sort band_gap --json
      hemiec query 'n_species(A) >= 5' --fields label,band_gap,tolerance_factor --csv
      hemiec query --parquet everything.parquet
      hemiec query 'forward_barrier < 0.3 and has(La)' --collection hops
      hemiec query --list-fields
    """
    quiet()
    if list_fields:
        _list_fields(collection, as_json)
        return
    chosen = [as_json, as_csv, parquet is not None, explain]
    if sum(chosen) > 1:
        raise InputError("--json, --csv, --parquet and --explain exclude each other.", mend="leave all but one out")
    if after is not None and parquet is not None:
        raise InputError("--parquet writes all there are; it does not go on after a cursor.", mend="leave --after out")
    names = None if fields is None else [name.strip() for name in fields.split(",") if name.strip()]
    if explain:
        _explain(expression, collection, sort, descending, limit or FIRST)
    elif parquet is not None:
        _write_parquet(parquet, Query(expression, collection, sort, descending, limit), names)
    elif (as_json or as_csv) and after is None and (limit is None or limit > MAX_LIMIT):
        _print_all(Query(expression, collection, sort, descending, limit), names, as_csv)
    else:
        order = {"sort": sort, "descending": descending, "limit": limit or FIRST, "after": after}
        _print_page(expression, collection, names, order, as_json=as_json, as_csv=as_csv)


def _print_page(
    expression: str, collection: str, names: list[str] | None, order: dict[str, Any], *, as_json: bool, as_csv: bool
) -> None:
    """Print a page, and on stderr how to go on."""
    from hemiec.store.queries.order import chosen_fields
    from hemiec.store.queries.page import read_page

    brief = as_json and names is None and collection == "candidates"
    fields = chosen_fields(names or _SHOWN[collection], collection)
    with Results() as results:
        page = read_page(
            results.database, where=expression, collection=collection, fields=None if brief else list(fields), **order
        )
    rows = [[document[name] for name in fields] for document in page.documents] if not brief else []
    if as_json:
        print_json([_brief(document) for document in page.documents] if brief else page.documents)
    elif as_csv:
        _print_parts(csv_parts(fields, [rows]))
    else:
        _print_table(rows, fields, _counted(page.count, collection, " or more" if page.count_capped else ""))
    if page.next is not None:
        click.echo(f"the next page: --after {page.next}", err=True)


def _print_all(query: Query, names: list[str] | None, as_csv: bool) -> None:
    """Print all there is as it comes."""
    from hemiec.store.queries.order import chosen_fields
    from hemiec.store.queries.rows import read_documents, read_rows

    fields = chosen_fields(names or _SHOWN[query.collection], query.collection)
    with Results() as results:
        if as_csv:
            _print_parts(csv_parts(fields, read_rows(results.database, query, list(fields.values()))))
        elif names is None and query.collection == "candidates":
            paths = ["candidate_id", "candidate.formula", "candidate.label", *PROPERTIES]
            _print_parts(json_parts(map(_brief, read_documents(results.database, query, paths))))
            click.echo()
        else:
            batches = read_rows(results.database, query, list(fields.values()))
            _print_parts(json_parts(dict(zip(fields, row, strict=True)) for batch in batches for row in batch))
            click.echo()


def _counted(n: int, collection: str, more: str = "") -> str:
    """Return a count with what is counted, in the plural unless it is one."""
    return f"{n:,}{more} {collection[:-1] if n == 1 else collection}"


def _write_parquet(path: Path, query: Query, names: list[str] | None) -> None:
    with Results() as results:
        total = Found(results.database, query, None if names is None else tuple(names)).to_parquet(path)
    size = f"{path.stat().st_size / 2**20:,.1f} MiB"
    click.echo(f"wrote {_counted(total, query.collection)} to {path} ({size})", err=True)


def _print_table(rows: list[list[Any]], fields: Mapping[str, Field], title: str) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    units = {field.unit for field in fields.values()} - {"", "1"}
    caption = ", ".join(f"{name} in {field.unit}" for name, field in fields.items() if field.unit in units)
    table = Table(title=title, caption=caption or None, box=SIMPLE)
    for name, field in fields.items():
        number, key = field.kind == "number", name.endswith("_id")
        table.add_column(name.replace("_", " "), justify="right" if number else "left", overflow="fold", no_wrap=key)
    for row in rows:
        table.add_row(*map(_cell, row))
    console(140).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:.3f}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _explain(expression: str, collection: str, sort: str | None, descending: bool, limit: int) -> None:
    from hemiec.store.queries.explain import explain_page

    with Results() as results:
        steps = explain_page(
            results.database, where=expression, collection=collection, sort=sort, descending=descending, limit=limit
        )
    for step in steps:
        click.echo(str(step))


def _list_fields(collection: str, as_json: bool) -> None:
    from hemiec.store.queries.fields import fields_of
    from hemiec.store.queries.language import FUNCTIONS
    from hemiec.store.queries.page import sort_fields

    sortable = sort_fields(collection)
    listed = [
        {
            "name": field.name,
            "type": field.kind,
            "unit": field.unit,
            "sortable": field.name in sortable,
            "description": field.description,
        }
        for field in fields_of(collection).values()
    ]
    if as_json:
        print_json(listed)
        return
    for entry in listed:
        unit = entry["unit"] if entry["unit"] not in ("", "1") else ""
        mark = "*" if entry["sortable"] else " "
        click.echo(f"{mark} {entry['name']:52} {entry['type']:7} {unit:20} {entry['description']}")
    click.echo(f"* can be sorted by. Functions: {'; '.join(FUNCTIONS.values())}.")


def _print_parts(parts: Iterable[str]) -> None:
    for part in parts:
        click.echo(part, nl=False)


def _brief(document: Mapping[str, Any]) -> dict[str, Any]:
    spec = document["candidate"]
    return {
        "candidate_id": document["candidate_id"],
        "formula": spec["formula"],
        "label": spec["label"],
        **{name: document[name] for name in PROPERTIES},
    }
