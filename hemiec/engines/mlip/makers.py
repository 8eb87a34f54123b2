"""Relaxations and static calculations with a machine-learned potential, run by atomate2's makers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure

from hemiec.engines.mlip.potential import calculator, versions
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import load_mlip
from hemiec.errors import EngineError
from hemiec.schemas.calculations import CalculationDoc


@dataclass
class MlipRelaxMaker(Maker):
    """Relax a structure.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped MLIP protocol, or all of another one.
    relax_cell
        Whether the cell relaxes too.
    """

    name: str = "relax"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    relax_cell: bool = True

    @job(data=["trajectory"])
    def make(self, structure: Structure) -> dict[str, Any]:
        """Return a CalculationDoc; one that ran out of steps says `converged: false`."""
        return relax(structure, load_mlip(self.protocol), relax_cell=self.relax_cell).to_mongo()


@dataclass
class MlipStaticMaker(Maker):
    """Energy, forces and stress of a structure as it is.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped MLIP protocol, or all of another one.
    """

    name: str = "static"
    protocol: str | dict[str, Any] = "mlip-chgnet"

    @job
    def make(self, structure: Structure) -> dict[str, Any]:
        """Return a CalculationDoc."""
        return static(structure, load_mlip(self.protocol)).to_mongo()


def relax(structure: Structure, protocol: MlipProtocol, *, relax_cell: bool) -> CalculationDoc:
    """Relax a structure with atomate2's force-field maker; energies in eV, forces in eV/angstrom.

    Raises
    ------
    EngineError
        If the model's package is missing, or it returns an energy that is not finite.
    """
    settings = protocol.relax
    return _run(structure, protocol, "relax", relax_cell=relax_cell, steps=settings.max_steps)


def static(structure: Structure, protocol: MlipProtocol) -> CalculationDoc:
    """Return energy, forces and stress of a structure as it is; errors as :func:`relax`."""
    return _run(structure, protocol, "static", relax_cell=False, steps=0)


def _run(
    structure: Structure, protocol: MlipProtocol, kind: Literal["relax", "static"], *, relax_cell: bool, steps: int
) -> CalculationDoc:
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker

    maker = ForceFieldRelaxMaker(
        force_field_name=protocol.model.force_field,
        calculator_kwargs=dict(protocol.model.calculator_kwargs),
        relax_cell=relax_cell,
        steps=steps,
        relax_kwargs={"fmax": protocol.relax.fmax_eV_per_A, "use_emmet_models": True},
        optimizer_kwargs={"optimizer": protocol.relax.optimizer},
    )
    maker._calculator = calculator(protocol)  # loaded once per process, not once per job
    result = maker.run_ase(structure)
    final, trajectory = result.final_mol_or_struct, result.trajectory
    energy = float(trajectory.energy[-1])
    forces = np.array(trajectory.forces[-1], dtype=float)
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise EngineError(
            f"{structure.formula}: {protocol.name} returned an energy or force that is not finite.",
            mend="look at the structure for atoms on top of each other",
        )
    max_force = float(np.linalg.norm(forces, axis=1).max())
    n_atoms = len(structure)
    return CalculationDoc(
        kind=kind,
        structure=Structure(final.lattice, structure.species, final.frac_coords).as_dict(),
        n_atoms=n_atoms,
        energy=energy,
        energy_per_atom=energy / n_atoms,
        forces=forces.tolist(),
        max_force=max_force,
        stress=_stress(maker.calculator),
        converged=kind == "static" or max_force <= protocol.relax.allowed_force,
        n_force_calls=len(trajectory.energy),
        elapsed_s=float(result.elapsed_time),
        trajectory=trajectory.model_dump(mode="json") if kind == "relax" else None,
        directory=str(Path.cwd()),
        protocol=protocol.name,
        protocol_hash=protocol.hash_of("relax"),
        versions=versions(protocol),
    )


def _stress(calc: Any) -> list[list[float]]:
    """Return the stress of the calculator's last call in eV/angstrom^3, tension positive as in ASE."""
    from ase.stress import voigt_6_to_full_3x3_stress

    stress = np.array(calc.results["stress"], dtype=float)
    return (stress if stress.shape == (3, 3) else voigt_6_to_full_3x3_stress(stress)).tolist()
