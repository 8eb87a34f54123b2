"""Relaxations with GPAW: every geometry through the retry ladder, and a trajectory to go on from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io.trajectory import Trajectory
from pymatgen.core import Structure

from hemiec.engines.gpaw.calculator import structure_of
from hemiec.engines.gpaw.document import calculation_doc, electronic_structure, mesh_edges
from hemiec.engines.gpaw.gap import first_start, need_energies
from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.gpaw.restart import Restart
from hemiec.engines.gpaw.scf import Scf, unused_path
from hemiec.engines.magnetism import initial_moments
from hemiec.errors import EngineError
from hemiec.files import write_whole
from hemiec.schemas.calculations import CalculationDoc

TRAJECTORY_FILE = "relax.traj"
#: Says which relaxation the trajectories of a folder belong to.
_NOTE_FILE = "relax.json"


class LadderCalculator(Calculator):
    """An ASE calculator whose every geometry goes through the retry ladder.

    Parameters
    ----------
    scf
        Solver of the cell.
    with_stress
        Whether the stress is computed: for relaxations of the cell.
    """

    def __init__(self, scf: Scf, *, with_stress: bool) -> None:
        super().__init__()
        self.results: dict[str, Any] = {}
        self.scf = scf
        self.implemented_properties = ["energy", "free_energy", "forces", "magmoms"]
        if with_stress:
            self.implemented_properties.append("stress")

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = ()
    ) -> None:
        """Solve for the atoms and keep energy (eV), forces (eV/angstrom), moments, and stress (eV/angstrom^3)."""
        super().calculate(atoms, properties, system_changes)
        calc = self.scf.solve(atoms)
        self.results = {
            "energy": float(calc.results["energy"]),
            "free_energy": float(calc.results["free_energy"]),
            "forces": np.array(calc.get_forces()),
            "magmoms": np.array(calc.get_magnetic_moments()),
        }
        if "stress" in self.implemented_properties:
            self.results["stress"] = np.array(calc.get_stress())
        for name, value in self.results.items():
            if not np.all(np.isfinite(value)):
                raise EngineError(f"{atoms.get_chemical_formula()}: GPAW returned {name} that are not finite.")


def relax(
    structure: Structure,
    protocol: GpawProtocol,
    *,
    relax_cell: bool,
    start: str | None = None,
    folder: Path | None = None,
    previous: Path | None = None,
) -> CalculationDoc:
    """Relax positions, and the cell if asked for, with atomate2's ASE relaxation.

    One that runs out of steps says ``converged: false``. In a folder (or after a ``previous`` one) that holds the
    trajectory of the same relaxation it goes on from the last geometry there, with the protocol's number of steps.

    Parameters
    ----------
    structure
        Start.
    protocol
        With ``relax`` settings and comparable energies.
    relax_cell
        Whether the cell relaxes too.
    start
        Magnetic arrangement; None for the protocol's first that the composition can have.
    folder
        Where files go; default the current one.
    previous
        Folder of an interrupted relaxation of the same structure.

    Raises
    ------
    EngineError
        If the protocol does not relax or does not treat an element, or GPAW fails.
    NotConvergedError
        If the self-consistency of a geometry does not converge.
    WalltimeError
        At the protocol's walltime.
    """
    from atomate2.ase.jobs import AseRelaxMaker

    need_energies(protocol)
    settings = protocol.relax
    if settings is None:
        raise EngineError(f"protocol {protocol.name} does not relax structures.", mend="use one that has `relax`")
    folder = folder or Path.cwd()
    start = start or first_start(structure, protocol)
    scf = Scf(structure, protocol, initial_moments(structure, start, protocol.spin), folder=folder, previous=previous)
    atoms = scf.atoms()
    note = _note(scf, atoms, relax_cell=relax_cell)
    _resume_geometry(atoms, note, scf.restart, [f for f in (previous, folder) if f is not None])
    write_whole(folder / _NOTE_FILE, json.dumps(note))
    trajectory = unused_path(folder / TRAJECTORY_FILE)
    maker = AseRelaxMaker(
        relax_cell=relax_cell,
        steps=max(settings.max_steps, 2),  # atomate2 takes one step for a static calculation
        relax_kwargs={
            "fmax": settings.fmax_eV_per_A,
            "trajectory": str(trajectory),
            "final_atoms_object_file": None,
            "use_emmet_models": True,
        },
        optimizer_kwargs={"optimizer": settings.optimizer},
    )
    maker._calculator = calculator = LadderCalculator(scf, with_stress=relax_cell)
    result = maker.run_ase(atoms)
    final = structure_of(atoms, structure)
    forces = calculator.results["forces"]
    return calculation_doc(
        scf,
        final,
        kind="relax",
        start=start,
        electronic=electronic_structure(scf, final, edges=mesh_edges(scf)),
        forces=forces,
        stress=calculator.results.get("stress"),
        converged=bool(np.linalg.norm(forces, axis=1).max() <= settings.allowed_force),
        extra_files={"trajectory": str(trajectory)},
        trajectory=result.trajectory.model_dump(mode="json"),
    )


def _note(scf: Scf, atoms: Atoms, *, relax_cell: bool) -> dict[str, Any]:
    """Return what a trajectory must belong to for a relaxation to go on from it."""
    return asdict(scf.owner) | {
        "relax_cell": relax_cell,
        "cell": np.array(atoms.cell).round(4).tolist(),
        "positions": atoms.positions.round(4).tolist(),
    }


def _resume_geometry(atoms: Atoms, note: dict[str, Any], restart: Restart | None, folders: Sequence[Path]) -> None:
    """Move the atoms to where the same relaxation was in the first of these folders that has one.

    That is the geometry of the restart file, which may be a step after the last of the trajectory, or that last one.
    """
    for folder in folders:
        try:
            if json.loads((folder / _NOTE_FILE).read_text(encoding="utf-8")) != note:
                continue
        except (OSError, ValueError):
            continue
        if restart is not None and restart.path.parent == folder:
            atoms.cell[:] = restart.cell
            atoms.positions = restart.positions
            return
        files = sorted(folder.glob(f"{Path(TRAJECTORY_FILE).stem}*.traj"), key=lambda f: f.stat().st_mtime_ns)
        for file in reversed(files):
            last = _last_whole_image(file)
            if last is not None and len(last) == len(atoms):
                atoms.cell[:] = last.cell
                atoms.positions = last.positions
                return


def _last_whole_image(file: Path) -> Atoms | None:
    """Return the last image of a trajectory that was written whole; None if there is none."""
    try:
        with Trajectory(str(file)) as images:
            count = len(images)
            for k in range(count - 1, -1, -1):
                try:
                    return images[k]
                except (OSError, ValueError, KeyError, EOFError):
                    continue
    except Exception as error:  # ASE's reader raises its own classes and bare ones for damaged files
        if isinstance(error, MemoryError):
            raise
    return None
