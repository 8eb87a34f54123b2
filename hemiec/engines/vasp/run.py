"""One run of VASP as a job: inputs, VASP under custodian, document; after its wall time it goes on as a new job."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jobflow import Maker, Response, job
from pymatgen.core import Structure

from hemiec import __version__
from hemiec.engines.electronic import BandEdges
from hemiec.engines.protocol import load_protocol
from hemiec.engines.vasp import recovery
from hemiec.engines.vasp.execution import VaspRun
from hemiec.engines.vasp.inputs import mesh_of, steps_of, uses_u
from hemiec.engines.vasp.outputs import VaspResult, electronic_structure, read_result
from hemiec.engines.vasp.protocol import VaspProtocol, VaspStep
from hemiec.errors import EngineError, NotConvergedError
from hemiec.schemas.calculations import CalculationDoc, ElectronicStructure, GapCheck, ScfAttempt

Kind = Literal["relax", "static", "gap"]
GAP_CHECK = "gap check"
_NOTHING_USED: dict[str, Any] = {"n": 0, "n_force_calls": 0, "elapsed_s": 0.0}


@dataclass
class VaspRunMaker(Maker):
    """Run one step of a VASP protocol.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped VASP protocol, or all of another one.
    kind
        What the chain of steps computes.
    step
        Name of the step, from :func:`~hemiec.engines.vasp.inputs.steps_of`, or ``neb endpoint``.
    start
        Magnetic start; None for the protocol's first that applies.
    relax_cell
        Whether a relaxation changes the cell.
    """

    name: str = "vasp"
    protocol: str | dict[str, Any] = "vasp-mp"
    kind: Kind = "static"
    step: str = "static 1-static"
    start: str | None = None
    relax_cell: bool = True

    @job
    def make(
        self,
        structure: Structure | dict[str, Any] | None,
        before: dict[str, Any] | None = None,
        prev_dir: str | None = None,
        chained: bool = False,
        stopped: dict[str, Any] | None = None,
    ) -> Any:
        """Return a CalculationDoc, or the job that goes on if the wall time was reached.

        Parameters
        ----------
        structure
            Cell and positions; None to take those of ``before``.
        before
            CalculationDoc of the step before, of the same magnetic state.
        prev_dir
            Folder of an earlier run to start from; None for that of the step before.
        chained
            Whether there must be a ``before``.
        stopped
            What runs of this step that reached their wall time have used: ``n``, ``n_force_calls``, ``elapsed_s``; and
            the ``initial_moments`` of the first.

        Raises
        ------
        EngineError
            If VASP or a POTCAR is missing, VASP fails, or the step before did.
        NotConvergedError
            If the run ends without converging, or needs more restarts than the protocol allows.
        """
        protocol = load_vasp(self.protocol)
        step = find_step(protocol, self.kind, self.step)
        done = CalculationDoc.model_validate(before) if before else None
        if chained and done is None:
            raise EngineError(f"{self.step}: the step before has no result.", mend="`hemiec errors` says why it failed")
        if structure is None:
            if done is None:
                raise EngineError(f"{self.step}: there is no structure: what should give it has no result.")
            structure = Structure.from_dict(done.structure)
        elif not isinstance(structure, Structure):
            structure = Structure.from_dict(structure)
        if self.step == GAP_CHECK and done and done.electronic and done.electronic.is_metal:
            return done.to_mongo()  # bands that cross the Fermi level on some k-points do so on more of them
        moments = stopped["initial_moments"] if stopped else None
        run = VaspRun(protocol, step, structure, done, self.start, self.relax_cell, moments)
        source = prev_dir if prev_dir is not None or done is None else done.directory
        result = run.execute(self.name, None if source is None else Path(source), going_on=stopped is not None)
        if result is None:
            return Response(replace=self._go_on(run, before, stopped))
        return self._document(run, result, stopped).to_mongo()

    def _go_on(self, run: VaspRun, before: dict[str, Any] | None, stopped: dict[str, Any] | None) -> Any:
        """Return the job that continues a run which reached its wall time."""
        used = stopped or _NOTHING_USED
        folder = Path.cwd()
        if used["n"] >= run.protocol.max_restarts:
            raise NotConvergedError(
                f"{run.structure.formula}: {self.step} reached its wall time of {run.protocol.walltime_h} h "
                f"{used['n'] + 1} times.",
                mend=f"raise `max_restarts` or `walltime_h` of the protocol; the last restart is in {folder}",
            )
        last = read_result(folder, run.structure, run.order)
        again = VaspRunMaker(
            **{k: getattr(self, k) for k in ("name", "protocol", "kind", "step", "start", "relax_cell")}
        )
        used = {
            "initial_moments": run.moments,
            "n": used["n"] + 1,
            "n_force_calls": used["n_force_calls"] + last.n_ionic_steps,
            "elapsed_s": used["elapsed_s"] + last.elapsed_s,
        }
        return again.make(last.structure, before=before, chained=before is not None, prev_dir=str(folder), stopped=used)

    def _document(self, run: VaspRun, result: VaspResult, stopped: dict[str, Any] | None) -> CalculationDoc:
        used = stopped or _NOTHING_USED
        folder = Path.cwd()
        attempts = [*recovery.failed_attempts(folder), _last_attempt(result, run.step, used["n"])]
        # A run at fixed density solves bands, not the energy.
        n_new = 0 if run.step.incar.get("ICHARG") == 11 else result.n_ionic_steps
        n_calls, elapsed = used["n_force_calls"] + n_new, used["elapsed_s"] + result.elapsed_s
        if run.before is not None:
            n_calls, elapsed = n_calls + run.before.n_force_calls, elapsed + run.before.elapsed_s
        if self.step == GAP_CHECK:
            assert run.before is not None
            return _checked(run.before, result, mesh_of(run.structure, run.step)).model_copy(
                update={
                    "kind": self.kind,
                    "n_force_calls": n_calls,
                    "elapsed_s": elapsed,
                    "attempts": [*run.before.attempts, *attempts],
                    "files": {**run.before.files, **_files(folder, "gap check ")},
                }
            )
        n = len(run.structure)
        return CalculationDoc(
            kind=self.kind,
            structure=result.structure.as_dict(),
            n_atoms=n,
            energy=result.energy,
            energy_per_atom=result.energy / n,
            forces=result.forces.tolist(),
            max_force=float(np.linalg.norm(result.forces, axis=1).max()),
            stress=None if result.stress is None else result.stress.tolist(),
            converged=True,
            electronic=_electronic(run, result),
            magnetic_start=run.start,
            initial_moments=run.moments,
            functional=run.protocol.functional,
            hubbard_u=uses_u(run.structure, run.protocol),
            cutoff_eV=result.cutoff_eV,
            attempts=attempts,
            n_force_calls=n_calls,
            elapsed_s=elapsed,
            datasets=run.datasets,
            files=_files(folder),
            directory=str(folder),
            protocol=run.protocol.name,
            protocol_hash=run.protocol.hash,
            versions=versions(result.vasp_version),
        )


def load_vasp(reference: str | dict[str, Any]) -> VaspProtocol:
    """Return a VASP protocol; others are refused with EngineError."""
    protocol = load_protocol(reference)
    if not isinstance(protocol, VaspProtocol):
        raise EngineError(f"protocol {protocol.name} is not one of VASP.")
    return protocol


def find_step(protocol: VaspProtocol, kind: Kind, name: str) -> VaspStep:
    """Return a step of a protocol by its name."""
    if name == "neb endpoint" and protocol.neb is not None:
        return protocol.neb.endpoint
    for found, step in steps_of(protocol, kind):
        if found == name:
            return step
    raise EngineError(f"protocol {protocol.name} has no step {name!r} for {kind}.")


def versions(vasp: str) -> dict[str, str]:
    """Return the versions that decide the numbers."""
    packages = ("atomate2", "pymatgen", "custodian")
    return {"hemiec": __version__, "vasp": vasp, **{p: version(p) for p in packages}}


def _files(folder: Path, prefix: str = "") -> dict[str, str]:
    """Return what a run left: its output and, if it wrote wavefunctions, the restart."""
    candidates = [
        (key, folder / f"{name}{end}")
        for key, name in (("output", "OUTCAR"), ("restart", "WAVECAR"))
        for end in ("", ".gz")
    ]
    return {f"{prefix}{key}": str(path) for key, path in candidates if path.is_file()}


def _electronic(run: VaspRun, result: VaspResult) -> ElectronicStructure:
    """Return the electrons of a run, with the mesh of weight 0 as its check if it has one."""
    mesh = mesh_of(run.structure, run.step)
    electronic = electronic_structure(result, result.edges, mesh, spin_polarised=run.spin_polarised)
    if run.step.zero_weight_density_A3 is None:
        return electronic
    dense = mesh_of(run.structure, run.step, zero_weight=True)
    check = GapCheck(kpoint_mesh=dense, band_gap=electronic.band_gap, is_metal=electronic.is_metal)
    return electronic.model_copy(update={"kpoint_check": check})


def _checked(before: CalculationDoc, result: VaspResult, mesh: list[int]) -> CalculationDoc:
    """Return the document with the gap over both meshes."""
    electronic, found = before.electronic, result.edges
    assert electronic is not None
    edges = None
    if found and electronic.valence_band_maximum is not None and electronic.conduction_band_minimum is not None:
        first = BandEdges(
            electronic.valence_band_maximum,
            electronic.conduction_band_minimum,
            np.inf if electronic.direct_gap is None else electronic.direct_gap,
            found.n_occupied,
        )
        edges = first.merge(found)
    gap = {
        "band_gap": edges.gap if edges else 0.0,
        "direct_gap": edges.direct_gap if edges else None,
        "is_metal": edges is None,
        "valence_band_maximum": edges.valence_maximum if edges else None,
        "conduction_band_minimum": edges.conduction_minimum if edges else None,
        "kpoint_check": GapCheck(kpoint_mesh=mesh, band_gap=edges.gap if edges else 0.0, is_metal=edges is None),
    }
    return before.model_copy(update={"electronic": electronic.model_copy(update=gap)})


def _last_attempt(result: VaspResult, step: VaspStep, restarts: int) -> ScfAttempt:
    return ScfAttempt(
        settings={"ALGO": step.incar.get("ALGO"), "restarts": restarts},
        converged=True,
        n_iterations=len(result.scf_energies),
        elapsed_s=result.elapsed_s,
        energies=result.scf_energies,
    )
