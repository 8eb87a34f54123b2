"""What an archive of candidates says to people: README and citation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import yaml

from hemiec import __version__

_WHAT = {
    "candidates": "compositions with their best numbers and one result per plan (cell and protocols)",
    "hops": "computed hops with barriers and energy profiles",
    "transport": "hop networks, conduction, molecular dynamics",
    "thermodynamics": "stability, temperature, oxygen content, windows of chemical potentials, interfaces",
    "structures": "special quasirandom structures, ideal and relaxed",
    "references": "energies of the reference phases",
    "calibrations": "corrections of numbers towards another protocol, with the points behind them",
    "provenance": "of each candidate: jobs with settings, arguments, launches and files behind its numbers",
    "outputs": "what each of these jobs returned (`raw/outputs.jsonl`)",
    "objects": "large parts of these outputs: trajectories, paths (`raw/objects.jsonl`)",
}
_README = """# {title}

Candidates of high-entropy perovskites computed with hemiec {version}, with all that is needed to trust and reuse them.

| documents | number | what |
|---|---|---|
{rows}

- `documents/*.jsonl`: one JSON document per line; every field with unit and meaning in `schemas/*.json`
- `structures/CANDIDATE/PLAN-MEMBER-ideal|relaxed.cif|vasp`: the structures as CIF and POSCAR
- `protocols/*.yaml`: every setting of the calculations; `campaigns/*.yaml`: the files that asked for them
- `versions.json`: versions of all codes; `CITATION.cff`: how to cite
- `manifest.json`: SHA-256 and size of every other file{raw}

Load it into any hemiec database with `hemiec import FILE.zip` (`--dry-run` says what it would do), or read it with any
program: energies are in eV, lengths in angstrom, and every number carries its unit and its method.

The content hash in `CITATION.cff` and `manifest.json` depends on the content alone, not on when it was written: it is
the SHA-256 of the lines `SHA256  NAME` of all files but these two, in the order of their names.
"""


def readme(title: str, documents: Mapping[str, int], *, raw: bool) -> str:
    """Return the README of an archive."""
    rows = "\n".join(f"| {name} | {n} | {_WHAT[name]} |" for name, n in documents.items())
    about_raw = "\n- `raw/`: what the jobs returned, as jobflow stores it" if raw else ""
    return _README.format(title=title, version=__version__, rows=rows, raw=about_raw)


def citation(
    title: str, authors: Iterable[str], created_on: datetime, content: str, versions: Mapping[str, list[str]]
) -> str:
    """Return how to cite an archive, in the Citation File Format 1.2 (doi:10.5281/zenodo.5171937).

    Parameters
    ----------
    title
        Title of the archive.
    authors
        Names of people as `Family, Given`, or of groups.
    created_on
        When it was written.
    content
        Its content hash.
    versions
        Code to versions that the numbers were computed with.
    """
    named = [_author(name) for name in authors] or [{"name": "Authors not named"}]
    codes = "; ".join(f"{code} {', '.join(found)}" for code, found in versions.items())
    about = {
        "cff-version": "1.2.0",
        "message": "If you use these data, please cite them as below.",
        "type": "dataset",
        "title": title,
        "authors": named,
        "date-released": created_on.date().isoformat(),
        "version": content[:16],
        "identifiers": [
            {"type": "other", "value": f"sha256:{content}", "description": "Content hash of the archive."},
        ],
        "abstract": f"Computed with {codes or 'codes that are not recorded'}.",
        "references": [
            {
                "type": "software",
                "title": "hemiec",
                "version": __version__,
                "authors": [{"name": "The hemiec developers"}],
            },
        ],
    }
    return yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=110)


def _author(name: str) -> dict[str, str]:
    family, comma, given = (part.strip() for part in name.partition(","))
    return {"family-names": family, "given-names": given} if comma and given else {"name": name.strip()}
