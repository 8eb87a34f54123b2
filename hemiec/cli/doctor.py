"""`hemiec doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.launch.doctor.checks import run_checks
from hemiec.settings import load_settings


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check what works here: Python, disk, store, launcher, engines. Each engine runs a two-atom cell.

    \b
    Example:
      hemiec doctor
    """
    quiet()
    found = []
    for check in run_checks(load_settings()):
        found.append(check)
        if not as_json:
            mark = click.style("ok  ", fg="green") if check.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark}  {check.name:20} {check.detail}")
            if check.mend:
                click.echo(f"      {'':20} mend: {check.mend}")
    if as_json:
        print_json([asdict(check) for check in found])
    ctx.exit(0 if all(check.ok for check in found) else 1)
