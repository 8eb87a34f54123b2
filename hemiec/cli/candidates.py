"""`hemiec space` and `hemiec sqs`: what a campaign holds, before anything is computed."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Any

import click

from hemiec.cli.session import json_option, print_json, quiet
from hemiec.errors import CompositionError, InputError
from hemiec.schemas.documents import CandidateSpec, SqsDoc


@click.command()
@click.argument("campaign", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def space(campaign: Path, as_json: bool, as_csv: bool) -> None:
    """List the candidates of a campaign file with charge balance and descriptors.

    \b
    Example:
      hemiec space flows/quickstart.yaml
    """
    quiet()
    from rich.console import Console
    from rich.table import Table

    from hemiec.workflows.campaign import load_campaign

    loaded = load_campaign(campaign)
    rows = [_row(candidate) for candidate in loaded.candidates]
    if as_json:
        print_json(
            {"campaign": loaded.spec.name, "n": len(rows), "candidates": [c.to_mongo() for c in loaded.candidates]}
        )
        return
    if as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return
    table = Table(
        title=f"{loaded.spec.name}: {len(rows)} candidates", caption="valences in e, entropy in R per formula unit"
    )
    for name, header in _COLUMNS.items():
        table.add_column(header, justify="left" if name in ("candidate_id", "label") else "right")
    for row in rows:
        table.add_row(*(str(row[name]) for name in _COLUMNS))
    Console().print(table)


_COLUMNS = {
    "candidate_id": "candidate",
    "label": "formula",
    "mean_B_valence": "B valence",
    "tolerance_factor": "t",
    "bartel_tau": "tau",
    "configurational_entropy": "S_config",
}


def _row(candidate: CandidateSpec) -> dict[str, Any]:
    def short(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    return {
        "candidate_id": candidate.candidate_id,
        "label": candidate.label,
        "formula": candidate.formula,
        "mean_B_valence": short(candidate.mean_B_valence),
        "tolerance_factor": short(candidate.tolerance_factor),
        "bartel_tau": short(candidate.bartel_tau),
        "configurational_entropy": short(candidate.configurational_entropy),
    }


@click.command()
@click.argument("what", metavar="CAMPAIGN|FORMULA")
@click.option(
    "-n", "members", default=1, show_default=True, type=click.IntRange(1, 1000), help="Structures per candidate."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**20), help="Seed of the search.")
@click.option("--max-atoms", default=100, show_default=True, type=click.IntRange(5, 400), help="Largest cell.")
@click.option("--quality", default="standard", show_default=True, type=click.Choice(["fast", "standard", "best"]))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write POSCAR and CIF files here.")
@json_option
def sqs(what: str, members: int, seed: int, max_atoms: int, quality: str, out: Path | None, as_json: bool) -> None:
    """Make special quasirandom structures and report their error.

    A formula states its sites: 'A:La0.2Y0.2Sr0.2Ba0.2Ca0.2 B:Co X:O3'. For a campaign file the cell, quality
    and seed are the campaign's, so the structures are those that it will compute.

    \b
    Examples:
      hemiec sqs flows/quickstart.yaml --out structures
      hemiec sqs 'A:Sr0.5Ba0.5 B:Co0.5Fe0.5 X:O3' -n 3 --max-atoms 40
    """
    quiet()
    from hemiec.structures.sqs import make_sqs

    made: list[SqsDoc] = []
    if Path(what).suffix in (".yaml", ".yml"):
        from hemiec.workflows.campaign import load_campaign

        campaign = load_campaign(what)
        candidates, first = campaign.candidates, campaign.spec.seed
        max_atoms, quality = campaign.spec.sqs.max_atoms, campaign.spec.sqs.quality
    else:
        candidates, first = [parse_formula(what)], seed
    for candidate in candidates:
        for n in range(members):
            made.append(make_sqs(candidate, max_atoms=max_atoms, quality=quality, seed=first + n))
            if not as_json:
                _describe(made[-1])
    if out is not None:
        for doc in made:
            _write(doc, out)
    if as_json:
        print_json([doc.to_mongo() for doc in made])


def parse_formula(text: str) -> CandidateSpec:
    """Return the candidate of ``A:La0.5Sr0.5 B:Co X:O3``; amounts on X are per formula unit (three sites).

    Raises
    ------
    InputError
        If it does not have that form.
    """
    from hemiec.composition.candidate import make_candidate
    from hemiec.composition.charge import DEFAULT_OXIDATION_STATES

    mend = "write it as 'A:La0.5Sr0.5 B:Co X:O3', or give a campaign file ending in .yaml"
    sites: dict[str, dict[str, object]] = {}
    for part in text.split():
        site, _, species = part.partition(":")
        found = re.findall(r"([A-Z][a-z]?)([0-9.]*)", species)
        if site not in ("A", "B", "X") or "".join(s + n for s, n in found) != species or not found:
            raise InputError(f"formula {text!r}: cannot read {part!r}.", mend=mend)
        total = 3 if site == "X" else 1
        sites[site] = {}
        for symbol, number in found:
            try:
                amount = float(number or 1) / total
            except ValueError as error:
                raise InputError(f"formula {text!r}: {number!r} is not a number.", mend=mend) from error
            sites[site][symbol] = 1 if len(found) == 1 and not number else amount
    try:
        return make_candidate(sites, DEFAULT_OXIDATION_STATES, where=f"formula {text!r}")
    except CompositionError as error:
        raise CompositionError(error.message, mend=error.mend or mend) from error


def _describe(doc: SqsDoc) -> None:
    click.echo(
        f"{doc.candidate.label:32} seed {doc.seed}: {doc.n_atoms} atoms, "
        f"shortest image {doc.shortest_image_distance:.2f} angstrom, "
        f"Warren-Cowley rms {doc.warren_cowley_rms:.3f}, icet L1 {doc.icet_l1:.3f}"
    )


def _write(doc: SqsDoc, folder: Path) -> None:
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter
    from pymatgen.io.vasp import Poscar

    folder.mkdir(parents=True, exist_ok=True)
    ideal = Structure.from_dict(doc.ideal_structure)
    stem = f"{doc.candidate.candidate_id}-{doc.seed}"
    comment = f"{doc.candidate.formula} SQS hemiec {doc.versions['hemiec']} icet {doc.versions['icet']} seed {doc.seed}"
    Poscar(ideal.get_sorted_structure(), comment=comment).write_file(folder / f"{stem}.POSCAR")
    CifWriter(ideal).write_file(folder / f"{stem}.cif")
    click.echo(f"wrote {folder / stem}.POSCAR and .cif", err=True)
