"""DFT barriers with VASP: single points on a path that a cheaper engine found, or that a band of VASP found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jobflow import Flow, Job, Maker, job
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.engines.vasp.bands import VaspApproxNebMaker, VaspBandMaker
from hemiec.engines.vasp.inputs import steps_of
from hemiec.engines.vasp.makers import despite_failures
from hemiec.engines.vasp.protocol import VaspProtocol
from hemiec.engines.vasp.run import VaspRunMaker, load_vasp
from hemiec.errors import EngineError, StructureError
from hemiec.schemas.calculations import CalculationDoc, DftSaddleDoc

Array = NDArray[np.float64]

_METHODS = {
    "single-points": "{functional} single points at minima and saddle of a path from a cheaper engine",
    "neb": "{functional} climbing-image band of {n} images between relaxed minima, single points at minima and top",
    "approx-neb": "{functional} ApproxNEB of {n} images (doi:10.1063/1.4960790), single points at minima and top",
}


@dataclass
class VaspSaddleMaker(Maker):
    """DFT barrier of a hop, by the protocol's ``barrier``.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped VASP protocol, or all of another one.
    start
        Magnetic start; None for the protocol's first that applies.
    """

    name: str = "DFT barrier"
    protocol: str | dict[str, Any] = "vasp-mp"
    start: str | None = None

    def make(self, path: dict[str, Any], prev_dir: str | None = None) -> Flow:
        """Return the jobs; ``output`` is a DftSaddleDoc.

        Parameters
        ----------
        path
            HopBarrierDoc of a cheaper engine, or reference to one: its three images are used.
        prev_dir
            Folder of an earlier run of the first image to start from.

        Raises
        ------
        EngineError
            If the protocol's total energies may not be compared.
        """
        protocol = load_vasp(self.protocol)
        if not protocol.energies:
            raise EngineError(
                f"protocol {protocol.name} is for gaps alone: its total energies may not be compared.",
                mend="use one with `energies: true`, such as vasp-mp",
            )
        jobs: list[Job] = []
        if protocol.barrier == "neb":
            jobs = self._band_jobs(path)
        elif protocol.barrier == "approx-neb":
            maker = VaspApproxNebMaker(name=f"{self.name} ApproxNEB", protocol=self.protocol, start=self.start)
            jobs = [maker.make(path)]
        source = jobs[-1].output if jobs else path
        points = self._single_points(source, protocol, prev_dir, found_here=bool(jobs))
        last = len(points) // 3
        collect = VaspSaddleCollector(name=self.name, protocol=self.protocol).make(
            [point.output for point in points[last - 1 :: last]],
            band=source if jobs else None,
        )
        return Flow([*jobs, *points, despite_failures(collect)], output=collect.output, name=self.name)

    def _single_points(self, path: Any, protocol: VaspProtocol, prev_dir: str | None, *, found_here: bool) -> list[Job]:
        """Return the static runs of the three images; each has the moments of the first and starts from it."""
        jobs: list[Job] = []
        for k, label in enumerate(("initial", "saddle", "final")):
            for n, (name, _) in enumerate(steps_of(protocol, "static")):
                run = VaspRunMaker(
                    name=f"{self.name} {label} {name}",
                    protocol=self.protocol,
                    kind="static",
                    step=name,
                    start=self.start,
                )
                structure = path["images"][k] if n == 0 else None
                if not jobs:
                    first = run.make(structure, prev_dir=prev_dir)
                    jobs.append(despite_failures(first) if found_here else first)
                else:
                    jobs.append(despite_failures(run.make(structure, before=jobs[-1].output, chained=True)))
        return jobs

    def _band_jobs(self, path: Any) -> list[Job]:
        """Return the relaxations of the end points and the band between them through the saddle."""
        ends = [
            VaspRunMaker(
                name=f"{self.name} {label} minimum",
                protocol=self.protocol,
                kind="relax",
                step="neb endpoint",
                start=self.start,
                relax_cell=False,
            )
            for label in ("initial", "final")
        ]
        first = ends[0].make(path["images"][0])
        last = despite_failures(ends[1].make(path["images"][2], before=first.output, chained=True))
        band = VaspBandMaker(name=f"{self.name} band", protocol=self.protocol).make(
            first.output, path["images"][1], last.output
        )
        return [first, last, despite_failures(band)]


@dataclass
class VaspSaddleCollector(Maker):
    """Gather the single points of a path.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped VASP protocol, or all of another one.
    """

    name: str = "DFT barrier"
    protocol: str | dict[str, Any] = "vasp-mp"

    @job
    def make(self, points: list[dict[str, Any] | None], band: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a DftSaddleDoc for the CalculationDocs of initial minimum, saddle and final minimum.

        Raises
        ------
        EngineError
            If one of them has no result.
        """
        documents = [CalculationDoc.model_validate(point) for point in points if point is not None]
        if len(documents) < 3:
            raise EngineError(
                f"{3 - len(documents)} of the 3 single points have no result.", mend="`hemiec errors` says why"
            )
        return saddle_document(documents, load_vasp(self.protocol), band).to_mongo()


def saddle_document(
    points: list[CalculationDoc], protocol: VaspProtocol, band: dict[str, Any] | None = None
) -> DftSaddleDoc:
    """Return the barriers between three static calculations of one path, each of which counts those before.

    Parameters
    ----------
    points
        Initial minimum, saddle, final minimum.
    protocol
        Of all three.
    band
        Output of the band that found them, if one did: its ``n_force_calls`` and ``elapsed_s`` are added.

    Raises
    ------
    StructureError
        If they hold different atoms or have other cells.
    """
    structures = [Structure.from_dict(point.structure) for point in points]
    first, top, last = structures
    species = [[site.specie.symbol for site in s] for s in structures]
    if species[1:] != species[:1] * 2 or any(
        not np.allclose(s.lattice.matrix, first.lattice.matrix) for s in structures
    ):
        raise StructureError(f"{first.formula}: the images hold different atoms, another order or other cells.")
    energies = [point.energy for point in points]
    forces = np.array(points[1].forces)
    tangent = _step(first, top) + _step(top, last)
    along = tangent / np.linalg.norm(tangent)
    pull = float((forces * along).sum())
    used = band or {"n_force_calls": 0, "elapsed_s": 0.0}
    neb = protocol.neb
    return DftSaddleDoc(
        forward_barrier=energies[1] - energies[0],
        reverse_barrier=energies[1] - energies[2],
        energies=energies,
        magnetic_start=points[0].magnetic_start,
        initial_moments=points[0].initial_moments,
        total_moments=[point.electronic.total_moment if point.electronic else 0.0 for point in points],
        saddle=points[1].structure,
        n_force_calls=points[2].n_force_calls + used["n_force_calls"],
        n_saddle_steps=0,
        max_force_at_saddle=float(np.linalg.norm(forces, axis=1).max()),
        force_along_path=pull,
        max_force_across_path=float(np.linalg.norm(forces - pull * along, axis=1).max()),
        converged=energies[1] > max(energies[0], energies[2]),
        attempts=[point.attempts for point in points],
        datasets=points[0].datasets,
        files={
            f"{label} {name}": path
            for label, point in zip(("initial", "saddle", "final"), points, strict=True)
            for name, path in point.files.items()
        },
        elapsed_s=points[2].elapsed_s + used["elapsed_s"],
        method=_METHODS[protocol.barrier].format(functional=protocol.functional, n=neb.n_images if neb else 0),
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        versions=points[0].versions,
    )


def _step(here: Structure, there: Structure) -> Array:
    """Return the shortest displacement of each atom, in angstrom, shape=(n_atoms, 3)."""
    fractional = there.frac_coords - here.frac_coords
    return np.asarray(here.lattice.get_cartesian_coords(fractional - np.round(fractional)))
