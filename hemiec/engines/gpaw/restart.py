"""Restart files: the density of an unfinished or finished cycle, and whose it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from hemiec.engines.relaunch import earlier_launches
from hemiec.files import write_whole

RESTART_FILE = "restart.gpw"
#: Says which calculation the density belongs to, and what the undamaged file hashes to.
_NOTE_FILE = "restart.json"
#: Largest difference of a coordinate of the same structure, in angstrom: that of text files.
_SAME = 1e-4


@dataclass(frozen=True)
class Owner:
    """What a density may be used for again: the same physics, spins, atoms, starting moments."""

    protocol_hash: str
    spin_polarised: bool
    symbols: list[str]
    moments: list[float]


@dataclass(frozen=True)
class Restart:
    """A density that was found whole and fitting, with the geometry it belongs to."""

    path: Path
    cell: list[list[float]]
    positions: list[list[float]]

    def fits(self, atoms: Atoms) -> bool:
        """Return whether the density is that of these atoms where they are."""
        cell = np.abs(np.array(self.cell) - np.array(atoms.cell)).max()
        moved = np.abs(np.array(self.positions) - atoms.positions).max()
        return bool(max(cell, moved) < _SAME)


def write_restart(calc: Any, atoms: Atoms, owner: Owner, folder: Path) -> Path:
    """Write the density of a calculator that has begun; files appear whole or not at all."""
    path = folder / RESTART_FILE
    part = folder / f"{RESTART_FILE}.part"
    calc.write(part, include_projections=False)
    digest = _sha256(part)
    part.replace(path)
    note = asdict(owner) | {
        "sha256": digest,
        "cell": np.array(atoms.cell).tolist(),
        "positions": atoms.positions.tolist(),
    }
    write_whole(folder / _NOTE_FILE, json.dumps(note))
    return path


def find_restart(folder: Path, owner: Owner) -> tuple[Restart | None, str | None]:
    """Return the folder's density if it is whole and fits, and else why it is not used (None if there is none)."""
    path, note_path = folder / RESTART_FILE, folder / _NOTE_FILE
    if not path.exists() and not note_path.exists():
        return None, None
    try:
        note = json.loads(note_path.read_text(encoding="utf-8"))
        whole = note["sha256"] == _sha256(path)
        restart = Restart(path, note["cell"], note["positions"])
        found = Owner(**{key: note[key] for key in asdict(owner)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"{path}: not used, its description is damaged ({type(error).__name__})"
    if not whole:
        return None, f"{path}: not used, it is damaged or was cut off while it was written"
    if found != owner:
        changed = [key for key, value in asdict(owner).items() if asdict(found)[key] != value]
        return None, f"{path}: not used, it belongs to another calculation ({', '.join(changed)} differ)"
    return restart, None


def resume_from_density(calc: Any, atoms: Atoms, restart: Restart) -> None:
    """Give a new calculator the density of a restart file as its start; wave functions start from atoms again.

    GPAW's own continuation of a file without wave functions throws the density away.

    Parameters
    ----------
    calc
        From :func:`hemiec.engines.gpaw.calculator.build_calculator`, not yet run, with the settings of the file's.
    atoms
        Atoms with starting moments that the density fits.
    restart
        As :func:`find_restart` gives it.
    """
    from gpaw.new.calculation import DFT
    from gpaw.new.gpw import read_gpw

    density = read_gpw(restart.path, log=None)[1].density
    builder = calc.params.dft_component_builder(atoms, log=calc.log, comm=calc.comm)
    basis = builder.create_basis_set()
    scf_loop = builder.create_scf_loop()
    potentials = builder.create_potential_calculator()
    potential, energies, _ = potentials.calculate_without_orbitals(density, kpt_band_comm=builder.communicators["D"])
    calc._dft = DFT.from_components(
        atoms,
        builder.create_ibz_wave_functions(basis, potential),
        density,
        potential,
        builder.setups,
        scf_loop,
        potentials,
        calc.log,
        params=calc.params,
        energies=energies,
        converge=False,
    )
    calc._atoms = atoms.copy()
    calc.log(f"Starting from the density in {restart.path}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def earlier_launch(folder: Path) -> Path | None:
    """Return the folder of the latest earlier launch of the Firework that runs here, if it left a restart.

    A launch that did not converge is passed over: its density may be that of a plateau.
    """
    for left, action in earlier_launches(folder):
        if "NotConvergedError" not in json.dumps(action) and (left / RESTART_FILE).is_file():
            return left
    return None
