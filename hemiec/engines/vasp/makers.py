"""Relaxation, static calculation and gap with VASP: chains of runs, each a job, the last one's output the document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobflow import Flow, Job, Maker, OnMissing
from pymatgen.core import Structure

from hemiec.engines.vasp.inputs import steps_of
from hemiec.engines.vasp.run import Kind, VaspRunMaker, load_vasp

Supercell = list[list[int]] | None


@dataclass
class VaspRelaxMaker(Maker):
    """Relax a structure with every relaxation step of a protocol, then compute it with its static steps.

    Energy, forces and stress are those of the last static run: the settings that all energies of the protocol have.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped VASP protocol, or all of another one.
    start
        Magnetic start; None for the protocol's first that applies.
    relax_cell
        Whether the cell relaxes too.
    """

    name: str = "relax"
    protocol: str | dict[str, Any] = "vasp-mp"
    start: str | None = None
    relax_cell: bool = True

    def make(self, structure: Structure, supercell: Supercell = None, prev_dir: str | None = None) -> Flow | Job:
        """Return the jobs; ``output`` is a CalculationDoc.

        Parameters
        ----------
        structure
            Cell and positions.
        supercell
            Not used: VASP looks for the band edges on a mesh.
        prev_dir
            Folder of an earlier run to start from, if that was in the same magnetic state.
        """
        return chain(self, "relax", structure, prev_dir)


@dataclass
class VaspStaticMaker(Maker):
    """Energy, forces and stress of a structure as it is; parameters as :class:`VaspRelaxMaker`."""

    name: str = "static"
    protocol: str | dict[str, Any] = "vasp-mp"
    start: str | None = None

    def make(self, structure: Structure, supercell: Supercell = None, prev_dir: str | None = None) -> Flow | Job:
        """Return the jobs; ``output`` is a CalculationDoc; parameters as :meth:`VaspRelaxMaker.make`."""
        return chain(self, "static", structure, prev_dir)


@dataclass
class VaspGapMaker(Maker):
    """Band gap with its check on a denser mesh; parameters as :class:`VaspRelaxMaker`."""

    name: str = "gap"
    protocol: str | dict[str, Any] = "vasp-mp"
    start: str | None = None

    def make(self, structure: Structure, supercell: Supercell = None, prev_dir: str | None = None) -> Flow | Job:
        """Return the jobs; ``output`` is a CalculationDoc; parameters as :meth:`VaspRelaxMaker.make`."""
        return chain(self, "gap", structure, prev_dir)


def despite_failures(job: Job) -> Job:
    """Return the job, set to run although those it waits for failed.

    It then fails itself, and what waits for the last job of a chain is told; else that would wait for ever.
    """
    job.config.on_missing_references = OnMissing.NONE
    return job


def chain(
    maker: VaspRelaxMaker | VaspStaticMaker | VaspGapMaker, kind: Kind, structure: Any, prev_dir: str | None
) -> Flow | Job:
    """Return the runs of a kind of calculation, one from the other."""
    steps = steps_of(load_vasp(maker.protocol), kind)
    jobs: list[Job] = []
    for name, _ in steps:
        run = VaspRunMaker(
            name=f"{maker.name} {name}" if len(steps) > 1 else maker.name,
            protocol=maker.protocol,
            kind=kind,
            step=name,
            start=maker.start,
            relax_cell=getattr(maker, "relax_cell", True),
        )
        if not jobs:
            jobs.append(run.make(structure, prev_dir=prev_dir))
        else:
            jobs.append(despite_failures(run.make(None, before=jobs[-1].output, chained=True)))
    return jobs[0] if len(jobs) == 1 else Flow(jobs, output=jobs[-1].output, name=maker.name)
