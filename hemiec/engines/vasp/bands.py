"""Paths found by VASP itself: climbing-image bands (VTST) and ApproxNEB, both run by atomate2's makers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import Flow, Maker, Response, job
from pymatgen.core import Structure

from hemiec.engines.vasp.execution import failure, is_relaxation, run_settings
from hemiec.engines.vasp.inputs import input_generator, magnetic_start, prepare, refuse_elements, sorted_order
from hemiec.engines.vasp.makers import VaspStaticMaker
from hemiec.engines.vasp.outputs import in_order
from hemiec.engines.vasp.protocol import VaspNeb, VaspProtocol
from hemiec.engines.vasp.run import load_vasp
from hemiec.errors import EngineError, NotConvergedError, StructureError
from hemiec.schemas.calculations import CalculationDoc

_FERROMAGNETIC = "ferromagnetic"


@dataclass
class VaspBandMaker(Maker):
    """Climbing-image nudged elastic band (doi:10.1063/1.1329672) in a VASP with the VTST code.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped VASP protocol, or all of another one; with ``neb``.
    """

    name: str = "band"
    protocol: str | dict[str, Any] = "vasp-mp"

    @job
    def make(
        self, first: dict[str, Any] | None, through: Structure | dict[str, Any], last: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Return the ``images`` at minimum, top and minimum, ``n_force_calls`` and ``elapsed_s``.

        Parameters
        ----------
        first, last
            CalculationDocs of the relaxed end points.
        through
            The saddle of a cheaper engine, through which the band is laid.

        Raises
        ------
        EngineError
            If an end point has no result, or VASP fails.
        NotConvergedError
            If the band did not converge, or its top is an end point.
        """
        if first is None or last is None:
            raise EngineError("an end point of the band has no result.", mend="`hemiec errors` says why")
        protocol = load_vasp(self.protocol)
        ends = [CalculationDoc.model_validate(first), CalculationDoc.model_validate(last)]
        a, b = (Structure.from_dict(end.structure) for end in ends)
        through = through if isinstance(through, Structure) else Structure.from_dict(through)
        neb = settings_of(protocol)
        order = sorted_order(a)
        frames = [prepare(frame, protocol, ends[0].initial_moments) for frame in lay_band(a, through, b, neb.n_images)]
        doc = run_band(self.name, protocol, frames, spin_polarised=ends[0].magnetic_start is not None)
        energies = [float(e) for e in doc.energies]
        if not np.isfinite(energies).all():
            raise EngineError(f"{a.formula}: VASP returned energies of the band that are not finite.")
        top = int(np.argmax(energies))
        if energies[top] <= max(end.energy for end in ends):
            raise NotConvergedError(f"{a.formula}: no image of the band lies above its end points.")
        final = Structure(a.lattice, a.species, in_order(doc.images[top].frac_coords, order))
        calculations = doc.calculations or []
        return {
            "images": [a.as_dict(), final.as_dict(), b.as_dict()],
            "n_force_calls": ends[1].n_force_calls + sum(len(c.output.ionic_steps or []) for c in calculations),
            "elapsed_s": ends[1].elapsed_s
            + max(
                (float(c.output.run_stats.elapsed_time or 0.0) for c in calculations if c.output.run_stats), default=0.0
            ),
        }


@dataclass
class VaspApproxNebMaker(Maker):
    """ApproxNEB (doi:10.1063/1.4960790): a path through the charge density, images relaxed with two atoms fixed.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped VASP protocol, or all of another one; with ``neb``.
    start
        Magnetic start; atomate2's flow can carry the ferromagnetic one alone.
    """

    name: str = "ApproxNEB"
    protocol: str | dict[str, Any] = "vasp-mp"
    start: str | None = None

    @job
    def make(self, path: dict[str, Any]) -> Response:
        """Return the jobs that replace this one; their output has the ``images`` at minimum, top and minimum.

        Raises
        ------
        EngineError
            If pymatgen-analysis-diffusion is not installed, or the start is not ferromagnetic.
        """
        protocol = load_vasp(self.protocol)
        images = [i if isinstance(i, Structure) else Structure.from_dict(i) for i in path["images"]]
        start = magnetic_start(images[0], protocol, self.start)
        if start not in (None, _FERROMAGNETIC):
            raise EngineError(
                f"ApproxNEB starts from ferromagnetic moments, {start!r} was asked for.",
                mend="use `barrier: single-points` or `neb`",
            )
        ends, mobile = mobile_first(images[0], images[2])
        host = ends[0].copy()
        host.remove_sites([mobile])
        density = VaspStaticMaker(name=f"{self.name} charge density", protocol=self.protocol, start=start).make(host)
        hop = approx_neb_maker(protocol, host, spin_polarised=start is not None).make(
            working_ion=ends[0][mobile].specie.symbol,
            end_point_structures=ends,
            charge_density_path=density.output["directory"],
            n_images=settings_of(protocol).n_images,
        )
        picked = pick_top(hop.output, density.output["n_force_calls"], density.output["elapsed_s"])
        return Response(replace=Flow([density, hop, picked], output=picked.output))


@job
def pick_top(result: Any, n_force_calls: int, elapsed_s: float) -> dict[str, Any]:
    """Return the ``images`` at minimum, top and minimum of atomate2's NebResult.

    The force calls and time of ApproxNEB's own relaxations are not in it: those of the charge density are returned.

    Raises
    ------
    NotConvergedError
        If the hop failed, or its top is an end point.
    """
    energies = result.energies or []
    reasons = ", ".join(str(getattr(r, "value", r)) for r in result.failure_reasons or [])
    top = int(np.argmax(energies)) if energies else 0
    if reasons or len(energies) < 3 or top in (0, len(energies) - 1):
        raise NotConvergedError(f"ApproxNEB found no saddle ({reasons or 'no image lies above the end points'}).")
    images = [result.images[k] for k in (0, top, -1)]
    return {
        "images": [
            image.remove_site_property("magmom").as_dict() if "magmom" in image.site_properties else image.as_dict()
            for image in images
        ],
        "n_force_calls": n_force_calls,
        "elapsed_s": elapsed_s,
    }


def approx_neb_maker(protocol: VaspProtocol, host: Structure, *, spin_polarised: bool) -> Any:
    """Return atomate2's ApproxNEB maker of one hop with the settings of the protocol.

    Raises
    ------
    EngineError
        If pymatgen-analysis-diffusion is not installed.
    """
    from importlib.util import find_spec

    # The namespace package may exist without the part that is needed.
    if find_spec("pymatgen.analysis") is None or find_spec("pymatgen.analysis.diffusion") is None:
        raise EngineError(
            "ApproxNEB needs pymatgen-analysis-diffusion, which is not installed.",
            mend="pip install pymatgen-analysis-diffusion, or use `barrier: single-points` or `neb`",
        )
    from atomate2.vasp.flows.approx_neb import ApproxNebSingleHopMaker
    from atomate2.vasp.jobs.base import BaseVaspMaker

    refuse_elements(host, protocol)
    neb = settings_of(protocol)
    symbols = sorted(protocol.potcars)
    generator = input_generator(
        prepare(host, protocol, [0.0] * len(host)), protocol, neb.image, spin_polarised=spin_polarised
    )
    # atomate2 makes the structures of this flow: moments by element, mesh by density.
    config = dict(generator.config_dict)
    if spin_polarised:
        moments = {s: protocol.spin.moments[s].high if s in protocol.spin.moments else 0.0 for s in symbols}
        config["INCAR"] = {**config["INCAR"], "MAGMOM": moments}
    images = type(generator)(
        config_dict=config,
        user_kpoints_settings={"reciprocal_density": neb.image.kpoint_density_A3},
        auto_ismear=False,
        auto_metal_kpoints=False,
        inherit_incar=False,
        sort_structure=False,
    )
    return ApproxNebSingleHopMaker(
        image_relax_maker=BaseVaspMaker(name="ApproxNEB image", input_set_generator=images),
        min_hop_distance=False,
    )


def settings_of(protocol: VaspProtocol) -> VaspNeb:
    """Return the band settings of a protocol; EngineError if it has none."""
    if protocol.neb is None:
        raise EngineError(f"protocol {protocol.name} has no `neb`.", mend="use vasp-mp, or give it one")
    return protocol.neb


def lay_band(first: Structure, through: Structure, last: Structure, n_images: int) -> list[Structure]:
    """Return the frames of a band through a known saddle, end points included.

    Parameters
    ----------
    first, through, last
        Same atoms in the same order and cell; images of the atoms are followed along the path.
    n_images
        Between the end points; they are spread evenly over both halves' lengths, one on ``through``.

    Raises
    ------
    StructureError
        If the structures hold different atoms.
    """
    species = [[site.specie.symbol for site in s] for s in (first, through, last)]
    if species[0] != species[1] or species[1] != species[2]:
        raise StructureError(f"{first.formula}: the images hold different atoms or another order.")
    here = first.frac_coords
    middle = here + _shortest(through.frac_coords - here)
    there = middle + _shortest(last.frac_coords - middle)
    halves = [float(np.linalg.norm(first.lattice.get_cartesian_coords(d))) for d in (middle - here, there - middle)]
    before = min(max(round(n_images * halves[0] / sum(halves) - 0.5), 0), n_images - 1)
    fractions = [
        *(here + (middle - here) * k / (before + 1) for k in range(before + 1)),
        *(middle + (there - middle) * k / (n_images - before) for k in range(n_images - before + 1)),
    ]
    return [Structure(first.lattice, first.species, f) for f in fractions]


def run_band(name: str, protocol: VaspProtocol, frames: list[Structure], *, spin_polarised: bool) -> Any:
    """Run a band in the current folder and return atomate2's document of its images.

    Raises
    ------
    EngineError
        If VASP fails.
    NotConvergedError
        If an image did not converge.
    """
    from atomate2 import SETTINGS
    from atomate2.vasp.jobs.neb import NebFromImagesMaker
    from atomate2.vasp.run import JobType

    neb = settings_of(protocol)
    assert is_relaxation(neb.band)
    run = run_settings(protocol, neb.band, SETTINGS)
    run |= {"job_type": JobType.NEB, "vasp_job_kwargs": {"output_file": "vasp.out", "stderr_file": "std_err.txt"}}
    maker = NebFromImagesMaker(
        name=name,
        input_set_generator=input_generator(
            frames[0], protocol, neb.band, spin_polarised=spin_polarised, more={"IMAGES": len(frames) - 2}
        ),
        run_vasp_kwargs=run,
        stop_children_kwargs={"handle_unsuccessful": False},
    )
    folder = Path.cwd()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in execution.py
            doc = NebFromImagesMaker.make.original(maker, frames).output
    except Exception as error:
        raise failure(error, frames[0].formula, folder) from error
    if getattr(doc.state, "value", doc.state) != "successful":
        raise NotConvergedError(f"{frames[0].formula}: the band did not converge.", mend=f"look at {folder}")
    return doc


def mobile_first(first: Structure, last: Structure) -> tuple[list[Structure], int]:
    """Return both end points in the POSCAR's order with the atom that moves most first of its element, and its index.

    atomate2's ApproxNEB takes the first site of the element for the one that moves.
    """
    steps = np.linalg.norm(first.lattice.get_cartesian_coords(_shortest(last.frac_coords - first.frac_coords)), axis=1)
    mobile = int(np.argmax(steps))
    order = [mobile, *(i for i in range(len(first)) if i != mobile)]
    order = [order[k] for k in sorted_order(Structure.from_sites([first[i] for i in order]))]
    ends = [Structure(s.lattice, [s[i].specie for i in order], s.frac_coords[order]) for s in (first, last)]
    return ends, order.index(mobile)


def _shortest(fractional: Any) -> Any:
    return fractional - np.round(fractional)
