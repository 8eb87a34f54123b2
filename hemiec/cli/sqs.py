"""`hemiec sqs`: special quasirandom structures with their error, of a campaign or of one formula."""

from __future__ import annotations

from pathlib import Path

import click

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.errors import InputError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import CandidateSpec, SqsEnsemble


@click.command()
@click.argument("what", metavar="CAMPAIGN|FORMULA")
@click.option(
    "-n", "members", default=1, show_default=True, type=click.IntRange(1, 1000), help="Structures per candidate."
)
@click.option("--seed", default=None, type=click.IntRange(0, 2**20), help="Seed of choice and displacements. [0]")
@click.option("--max-atoms", type=click.IntRange(5, 1000), help="Largest cell. [100]")
@click.option("--quality", type=click.Choice(["fast", "standard", "best"]), help="Search effort. [standard]")
@click.option("--shape", type=click.Choice(["free", "compact"]), help="Best shape, or most distant images. [free]")
@click.option("--min-image", type=click.FloatRange(0, 100, min_open=True), help="Closest image, angstrom. [8.5]")
@click.option("--tilt", type=click.Choice(["none", "Pnma", "R-3c", "I4/mcm"]), help="Octahedral tilts. [none]")
@click.option("--rounding", type=click.FloatRange(0, 0.5), help="Accepted error of a site fraction. [0, exact]")
@click.option("--objective", type=click.Choice(["warren-cowley", "icet-l1"]), help="[warren-cowley]")
@click.option("--budget", type=click.FloatRange(0, min_open=True), help="Seconds per candidate; best so far.")
@click.option("--cores", default=1, show_default=True, type=click.IntRange(1, 256), help="Cores of the search.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write cached patterns.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write POSCAR, CIF and extxyz here.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the order into this png, svg, pdf.")
@json_option
def sqs(
    what: str,
    members: int,
    seed: int | None,
    budget: float | None,
    cores: int,
    no_cache: bool,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
    **cell: object,
) -> None:
    """Make special quasirandom structures and report their error.

    A plain formula is split onto A, B and X by charge and radius, and the split is stated; 'A:... B:... X:...'
    gives it. For a campaign file cell, quality and seed are the campaign's unless options override them, so that
    the structures are those that it will compute.

    \b
    Examples:
      hemiec sqs '(La,Pr,Nd,Sr,Ba)CoO3' -n 5 --out structures --plot order.png
      hemiec sqs 'A:Sr0.5Ba0.5 B:Co0.5Fe0.5 X:O2.75' --max-atoms 80 --quality best
      hemiec sqs flows/quickstart.yaml --json
    """
    quiet()
    from hemiec.settings import load_settings
    from hemiec.structures.sqs import make_sqs

    candidates, base, default_seed = _read(what, quiet=as_json)
    if plot is not None and len(candidates) > 1:
        raise InputError(f"--plot draws one candidate, {what} has {len(candidates)}.", mend="give a formula")
    names = {"min_image": "min_image_distance"}
    chosen = {names.get(key, key): value for key, value in cell.items() if value is not None}
    settings = SqsSettings.model_validate(base.model_dump() | chosen)
    cache = None if no_cache else load_settings().pattern_cache
    made: list[SqsEnsemble] = []
    for candidate in candidates:
        made.append(
            make_sqs(
                candidate,
                settings,
                n=members,
                seed=default_seed if seed is None else seed,
                budget_s=budget,
                n_cores=cores,
                cache=cache,
            )
        )
        if not as_json:
            _describe(made[-1])
        if out is not None:
            _write(made[-1], out)
    if plot is not None:
        from hemiec.structures.export import plot as draw

        draw(made[0], plot)
        click.echo(f"wrote {plot}", err=True)
    if as_json:
        print_json([doc.to_mongo() for ensemble in made for doc in ensemble.members])


def _read(what: str, *, quiet: bool) -> tuple[list[CandidateSpec], SqsSettings, int]:
    """Return candidates, cell settings and seed of a campaign file or a formula."""
    if Path(what).suffix in (".yaml", ".yml"):
        from hemiec.workflows.campaign import load_campaign

        campaign = load_campaign(what)
        return list(campaign.candidates), campaign.spec.sqs, campaign.spec.seed
    from hemiec.composition.formula import candidate_from_formula

    candidate, split = candidate_from_formula(what)
    if not quiet:
        click.echo(split)
    return [candidate], SqsSettings(max_atoms=100), 0


def _describe(ensemble: SqsEnsemble) -> None:
    first = ensemble.members[0]
    composition = "; ".join(
        f"{site}: {', '.join(f'{n} {s}' for s, n in order.amounts.items())}"
        for site, order in first.sublattices.items()
    )
    click.echo(
        f"{first.candidate.label}: {first.n_atoms} atoms, {first.n_formula_units} formula units ({composition}), "
        f"charge {first.net_charge:+.3f} e per formula unit"
    )
    for note in first.notes + ensemble.notes:
        click.echo(f"  note: {note}")
    for doc in ensemble.members:
        cut = ", cut short by the budget" if doc.truncated else ""
        click.echo(
            f"  member {doc.member}: cell {' '.join(str(list(row)).replace(' ', '') for row in doc.supercell)}, "
            f"nearest image {doc.shortest_image_distance:.2f} angstrom, Warren-Cowley rms {doc.warren_cowley_rms:.4f}, "
            f"icet L1 {doc.icet_l1:.3f}, Q {doc.icet_objective:.3f} ({doc.origin}{cut})"
        )
    if len(ensemble.members) > 1:
        click.echo(f"  mean of {len(ensemble.members)} members: Warren-Cowley rms {ensemble.warren_cowley_rms:.4f}")


def _write(ensemble: SqsEnsemble, folder: Path) -> None:
    from hemiec.structures.export import stem, write

    for doc in ensemble.members:
        write(doc, folder)
        click.echo(f"wrote {folder / stem(doc)}.POSCAR, .cif and .extxyz", err=True)
