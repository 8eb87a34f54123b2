"""Special quasirandom structures as files of other programs, with provenance, and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Structure

from hemiec.errors import InputError
from hemiec.files import write_whole
from hemiec.schemas.documents import SqsDoc, SqsEnsemble

if TYPE_CHECKING:
    from ase import Atoms

#: File ending of each format.
FORMATS = {"poscar": ".POSCAR", "cif": ".cif", "extxyz": ".extxyz"}


def provenance(doc: SqsDoc) -> str:
    """Return one line that says what a structure is and how it was made."""
    versions = " ".join(f"{name} {version}" for name, version in doc.versions.items())
    return (
        f"{doc.candidate.formula} {doc.candidate.candidate_id} SQS member {doc.member} seed {doc.seed} "
        f"wc_rms {doc.warren_cowley_rms:.4f} icet_L1 {doc.icet_l1:.4f} {versions}"
    )


def stem(doc: SqsDoc) -> str:
    """Return the file name without ending: candidate, seed and member."""
    return f"{doc.candidate.candidate_id}-s{doc.seed}-m{doc.member}"


def as_text(doc: SqsDoc, kind: str) -> str:
    """Return the ideal structure (vacant sites left out, tilted and displaced ones are not ideal) in a format.

    Parameters
    ----------
    doc
        The structure.
    kind
        poscar, cif or extxyz.
    """
    if kind == "cif":
        from pymatgen.io.cif import CifWriter

        return f"# {provenance(doc)}\n{CifWriter(Structure.from_dict(doc.ideal_structure), significant_figures=10)}"
    from ase.io.extxyz import write_extxyz
    from ase.io.vasp import write_vasp

    text = StringIO()
    if kind == "poscar":
        write_vasp(text, _atoms(doc), direct=True, sort=True)
        # The first line is a comment; ASE repeats the species there.
        return f"{provenance(doc)}\n{text.getvalue().split(chr(10), 1)[1]}"
    if kind == "extxyz":
        write_extxyz(text, _atoms(doc))
        return text.getvalue()
    raise InputError(f"format {kind!r} is unknown; expected one of {', '.join(FORMATS)}.")


def write(doc: SqsDoc, folder: Path, kinds: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write a structure in several formats and return the files; each appears whole or not at all.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    for kind in kinds:
        if kind not in FORMATS:
            raise InputError(f"format {kind!r} is unknown; expected one of {', '.join(FORMATS)}.")
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            path = folder / f"{stem(doc)}{FORMATS[kind]}"
            write_whole(path, as_text(doc, kind))
            paths.append(path)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}).", mend="give another folder with --out"
        ) from error
    return paths


def plot(ensemble: SqsEnsemble, path: Path) -> None:
    """Draw the Warren-Cowley parameters of every member and their mean against the ideal zero.

    The file's ending decides the format (png, svg, pdf).

    Raises
    ------
    InputError
        If nothing is mixed or the file cannot be written.
    """
    from matplotlib.figure import Figure

    first = ensemble.members[0]
    if not first.warren_cowley:
        raise InputError(f"{first.candidate.formula}: no sublattice is mixed, so there is no order to plot.")
    between = list(dict.fromkeys(tuple(p.sublattices) for p in first.warren_cowley))
    figure = Figure(figsize=(8.0, 2.8 * len(between) + 0.6), layout="constrained")
    for row, sublattices in enumerate(between):
        axes = figure.add_subplot(len(between), 1, row + 1)
        _draw(axes, ensemble, sublattices)
    figure.suptitle(
        f"{first.candidate.label}: {first.n_atoms} atoms, Warren-Cowley rms {first.warren_cowley_rms:.3f}"
        + (
            f", mean of {len(ensemble.members)} members {ensemble.warren_cowley_rms:.3f}"
            if ensemble.members[1:]
            else ""
        )
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be written ({error}).", mend="give a file ending in .png, .svg or .pdf"
        ) from error


def _draw(axes: Any, ensemble: SqsEnsemble, sublattices: tuple[str, ...]) -> None:
    """Draw one pair of sublattices: pairs of species along, alpha up, one colour per shell."""
    first = [p for p in ensemble.members[0].warren_cowley if tuple(p.sublattices) == sublattices]
    same = sublattices[0] == sublattices[1]
    pairs = list(dict.fromkeys(tuple(sorted(p.pair)) if same else tuple(p.pair) for p in first))
    shells = sorted({p.shell for p in first})
    for k, shell in enumerate(shells):
        offset = (k - (len(shells) - 1) / 2) * 0.16
        values = np.array(
            [
                [
                    next(
                        p.alpha
                        for p in member.warren_cowley
                        if p.shell == shell and tuple(p.sublattices) == sublattices and _is(p.pair, pair, same)
                    )
                    for pair in pairs
                ]
                for member in ensemble.members
            ]
        )
        x = np.arange(len(pairs)) + offset
        colour = f"C{k}"
        if len(values) > 1:
            axes.plot(np.tile(x, len(values)), values.ravel(), ".", color=colour, alpha=0.35, markersize=4)
        axes.plot(x, values.mean(axis=0), "o", color=colour, markersize=4, label=f"shell {shell}")
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xticks(np.arange(len(pairs)), ["–".join(pair) for pair in pairs], rotation=60 if len(pairs) > 6 else 0)
    axes.set_ylabel(f"α, {'–'.join(sublattices)} (0 is random)")
    axes.legend(ncols=len(shells), fontsize="small", frameon=False)


def _is(found: list[str], pair: tuple[str, ...], same: bool) -> bool:
    return tuple(found) == pair or (same and tuple(reversed(found)) == pair)


def _atoms(doc: SqsDoc) -> Atoms:
    """Return the ideal structure with sublattices and provenance, as ASE has it."""
    from ase import Atoms

    sites = doc.ideal_structure["sites"]
    atoms = Atoms(
        [site["species"][0]["element"] for site in sites],
        scaled_positions=[site["abc"] for site in sites],
        cell=doc.ideal_structure["lattice"]["matrix"],
        pbc=True,
    )
    atoms.arrays["sublattice"] = np.array([site["properties"]["site"] for site in sites])
    atoms.info = {
        "candidate_id": doc.candidate.candidate_id,
        "member": doc.member,
        "seed": doc.seed,
        "warren_cowley_rms": doc.warren_cowley_rms,
        "icet_l1": doc.icet_l1,
        "provenance": provenance(doc),
    }
    return atoms
