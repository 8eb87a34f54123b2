"""Jobs with GPAW: relax, static, gap and saddle, each from one magnetic start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobflow import Maker, job
from pymatgen.core import Structure

from hemiec.engines.gpaw.gap import compute_gap, compute_static
from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.gpaw.relax import relax
from hemiec.engines.gpaw.restart import earlier_launch
from hemiec.engines.gpaw.saddle import saddle_energies
from hemiec.engines.protocol import load_dft
from hemiec.errors import CampaignError


@dataclass
class GpawRelaxMaker(Maker):
    """Relax a structure; see :func:`hemiec.engines.gpaw.relax.relax`.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped GPAW protocol, or all of another one.
    start
        Magnetic start; None for the protocol's first that the composition can have.
    relax_cell
        Whether the cell relaxes too.
    """

    name: str = "relax"
    protocol: str | dict[str, Any] = "gpaw-standard"
    start: str | None = None
    relax_cell: bool = True

    @job(data=["trajectory"])
    def make(
        self, structure: Structure, supercell: list[list[int]] | None = None, prev_dir: str | None = None
    ) -> dict[str, Any]:
        """Return a CalculationDoc; ``prev_dir`` is the folder of a relaxation to go on from."""
        return relax(
            structure,
            _gpaw(self.protocol),
            relax_cell=self.relax_cell,
            start=self.start,
            previous=_folder(prev_dir),
        ).to_mongo()


@dataclass
class GpawStaticMaker(Maker):
    """Energy and forces of a structure as it is; see :func:`hemiec.engines.gpaw.gap.compute_static`.

    Parameters
    ----------
    name, protocol, start
        As :class:`GpawRelaxMaker`.
    stress
        Whether the stress is computed too; it costs about as much as two iterations.
    """

    name: str = "static"
    protocol: str | dict[str, Any] = "gpaw-standard"
    start: str | None = None
    stress: bool = False

    @job
    def make(
        self, structure: Structure, supercell: list[list[int]] | None = None, prev_dir: str | None = None
    ) -> dict[str, Any]:
        """Return a CalculationDoc; ``prev_dir`` is the folder of a density to start from."""
        return compute_static(
            structure,
            _gpaw(self.protocol),
            start=self.start,
            with_stress=self.stress,
            previous=_folder(prev_dir),
        ).to_mongo()


@dataclass
class GpawGapMaker(Maker):
    """Band gap of a structure as it is; see :func:`hemiec.engines.gpaw.gap.compute_gap`.

    Parameters
    ----------
    name, protocol, start
        As :class:`GpawRelaxMaker`.
    """

    name: str = "band gap"
    protocol: str | dict[str, Any] = "gpaw-standard"
    start: str | None = None

    @job
    def make(
        self, structure: Structure, supercell: list[list[int]] | None = None, prev_dir: str | None = None
    ) -> dict[str, Any]:
        """Return a CalculationDoc; rows of ``supercell`` are cell vectors in units of the cubic parent's.

        GLLB-SC leaves no restart, so with it ``prev_dir`` changes nothing.
        """
        protocol = _gpaw(self.protocol)
        if protocol.functional == "GLLBSC":
            from hemiec.engines.gpaw.gllbsc import compute_gllbsc_gap

            return compute_gllbsc_gap(structure, protocol, start=self.start, supercell=supercell).to_mongo()
        return compute_gap(
            structure, protocol, start=self.start, supercell=supercell, previous=_folder(prev_dir)
        ).to_mongo()


@dataclass
class GpawSaddleMaker(Maker):
    """DFT barrier of a path that a cheaper engine found; see :func:`hemiec.engines.gpaw.saddle.saddle_energies`.

    Parameters
    ----------
    name, protocol, start
        As :class:`GpawRelaxMaker`.
    """

    name: str = "DFT barrier"
    protocol: str | dict[str, Any] = "gpaw-standard"
    start: str | None = None

    @job
    def make(self, path: dict[str, Any], prev_dir: str | None = None) -> dict[str, Any]:
        """Return a DftSaddleDoc of a HopBarrierDoc."""
        images = [image if isinstance(image, Structure) else Structure.from_dict(image) for image in path["images"]]
        return saddle_energies(images, _gpaw(self.protocol), start=self.start, previous=_folder(prev_dir)).to_mongo()


def _gpaw(reference: str | dict[str, Any]) -> GpawProtocol:
    """Return a GPAW protocol; others are refused with CampaignError."""
    protocol = load_dft(reference)
    if not isinstance(protocol, GpawProtocol):
        raise CampaignError(f"{protocol.name!r} is not a GPAW protocol.", mend="use the Maker of its engine")
    return protocol


def _folder(prev_dir: str | None) -> Path | None:
    """Return the folder to go on from: the one given (atomate2's host name left out), else that of a lost launch."""
    return earlier_launch(Path.cwd()) if prev_dir is None else Path(str(prev_dir).rsplit(":", 1)[-1])
