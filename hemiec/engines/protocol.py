"""Protocols: the physics of a calculation as data, named and hashed."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from hemiec.errors import CampaignError, InputError, did_you_mean
from hemiec.schemas.quantity import Document

#: Fields that say what a protocol is for, and what the builder does with finished energies; everything else
#: decides what a job computes and goes into the hash.
_NOT_IN_HASH = {"name", "purpose", "cost", "source", "thermo"}


class _Named(Document):
    name: str = Field(description="Name that campaigns use.", pattern=r"^[a-z0-9-]+$")
    purpose: str = Field(description="What the protocol is good for, and where it is weak.")
    cost: str = Field(description="What it costs, on what.")
    source: str = Field(description="Where model or settings come from.")

    @property
    def hash(self) -> str:
        """Hash of the physics: equal for equal settings whatever the protocol is called."""
        return _hash(self.model_dump(mode="json", exclude=_NOT_IN_HASH))


def _hash(physics: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(physics, sort_keys=True).encode()).hexdigest()[:12]


class MlipModel(Document):
    """Which machine-learned potential."""

    force_field: Literal["CHGNet", "SevenNet"] = Field(description="Name that atomate2 knows it by.")
    package: str = Field(description="Distribution whose version is recorded and that carries the weights.")
    calculator_kwargs: dict[str, Any] = Field(description="Keywords of its ASE calculator.")


class RelaxSettings(Document):
    """How structures are relaxed."""

    fmax_eV_per_A: float = Field(gt=0, description="Largest force on any atom, in eV/angstrom.")
    max_steps: int = Field(gt=0, description="Optimiser steps; unit 1.")
    optimizer: Literal["FIRE", "BFGS", "LBFGS"] = Field(description="ASE optimiser.")

    @property
    def allowed_force(self) -> float:
        """Largest force of a finished relaxation, in eV/angstrom.

        A tenth above the limit: optimisers of cell and positions measure forces on the strained cell.
        """
        return 1.1 * self.fmax_eV_per_A


class AnnealSettings(Document):
    """How a relaxed cell is shaken into a lower basin before it is relaxed again."""

    temperature_K: float = Field(gt=0, description="Temperature of the molecular dynamics, in K.")
    n_steps: int = Field(gt=0, description="Time steps; unit 1.")
    timestep_fs: float = Field(gt=0, description="Time step in fs.")


class SaddleSettings(Document):
    """How saddle points are found."""

    n_images: int = Field(gt=0, description="Moving images of the band; unit 1.")
    band_fmax_eV_per_A: float = Field(gt=0, description="Force at which the band is good enough, in eV/angstrom.")
    band_max_steps: int = Field(gt=0, description="Optimiser steps of the band; unit 1.")
    spring_eV_per_A2: float = Field(gt=0, description="Spring constant in eV/angstrom^2.")
    fmax_eV_per_A: float = Field(gt=0, description="Force at the saddle and the minima beside it, in eV/angstrom.")
    max_steps: int = Field(gt=0, description="Steps of minimum-mode following; unit 1.")


class ThermoSettings(Document):
    """What the model's energies may be compared with."""

    o2_correction_eV_per_O: float = Field(description="Added to the energy of the O2 molecule, in eV per O atom.")
    o2_correction_source: str = Field(description="Why that number.")
    not_from_elements: list[str] = Field(description="Elements whose compounds and metals are on different scales.")


class MlipProtocol(_Named):
    """Relaxations and barriers with a machine-learned interatomic potential."""

    engine: Literal["mlip"]
    thermo: ThermoSettings
    model: MlipModel
    relax: RelaxSettings
    anneal: AnnealSettings
    saddle: SaddleSettings

    def hash_of(self, part: Literal["relax", "anneal", "saddle"]) -> str:
        """Hash of the model and one part: what a job of that kind depends on, and nothing else."""
        return _hash(self.model_dump(mode="json", include={"engine", "model", part}))


class HubbardU(Document):
    """Effective U on one shell of one element (doi:10.1103/PhysRevB.57.1505)."""

    orbital: Literal["d", "f"] = Field(description="Shell.")
    value_eV: float = Field(ge=0, description="U - J in eV.")


class ScfAttemptSettings(Document):
    """One rung of the retry ladder."""

    mixer: dict[str, Any] = Field(description="GPAW mixer keywords.")
    smearing_eV: float = Field(gt=0, description="Fermi-Dirac width in eV.")
    max_iterations: int = Field(gt=0, description="SCF iterations; unit 1.")


class GpawProtocol(_Named):
    """Spin-polarised DFT+U gaps with GPAW in plane waves."""

    engine: Literal["gpaw"]
    functional: str = Field(description="Exchange-correlation functional.")
    cutoff_eV: float = Field(gt=0, description="Plane-wave cutoff in eV.")
    kpoint_spacing_per_A: float = Field(gt=0, description="Largest k-point spacing (2 pi included), in 1/angstrom.")
    kpoints_gamma_centred: bool = Field(description="Whether the mesh contains the zone centre.")
    hubbard_u: dict[str, HubbardU] = Field(description="Element to U.")
    initial_moments: dict[str, float] = Field(description="Element to starting moment in Bohr magnetons; others 0.")
    refused_elements: list[str] = Field(description="Elements this protocol does not treat: open 4f shells.")
    band_edge_points: list[list[float]] = Field(
        description="k-points at which gaps are looked for besides the mesh, in the cubic parent's reciprocal basis."
    )
    bands: str = Field(description="Number of bands as GPAW's `nbands`, such as '115%' of the occupied ones.")
    convergence: dict[str, float] = Field(description="GPAW convergence criteria.")
    attempts: list[ScfAttemptSettings] = Field(min_length=1, description="Retry ladder, first attempt first.")


Protocol = Annotated[MlipProtocol | GpawProtocol, Field(discriminator="engine")]
_ADAPTER: TypeAdapter[MlipProtocol | GpawProtocol] = TypeAdapter(Protocol)


def protocol_names(engine: str | None = None) -> list[str]:
    """Return the names of the shipped protocols, of one engine if given."""
    folder = resources.files("hemiec.engines") / "protocols"
    names = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    return [n for n in names if engine is None or n.startswith(f"{engine}-")]


def load_protocol(name: str, *, where: str = "protocol") -> MlipProtocol | GpawProtocol:
    """Return a shipped protocol by name.

    Raises
    ------
    CampaignError
        If there is no protocol of that name.
    InputError
        If the file of the protocol is not valid.
    """
    if name not in protocol_names():
        raise CampaignError(f"{where}: unknown protocol {name!r}; {did_you_mean(name, protocol_names())}")
    text = (resources.files("hemiec.engines") / "protocols" / f"{name}.yaml").read_text()
    try:
        protocol = _ADAPTER.validate_python(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"protocol {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    if protocol.name != name:
        raise InputError(f"protocol {name}: its file says name {protocol.name!r}.")
    return protocol


def load_mlip(name: str, *, where: str = "protocol") -> MlipProtocol:
    """Return a protocol that can relax and find saddles; other engines are refused with CampaignError."""
    protocol = load_protocol(name, where=where)
    if not isinstance(protocol, MlipProtocol):
        raise CampaignError(
            f"{where}: {name!r} cannot relax structures or find saddles; "
            f"use one of {', '.join(protocol_names('mlip'))}."
        )
    return protocol


def load_gpaw(name: str, *, where: str = "protocol") -> GpawProtocol:
    """Return a protocol that computes band gaps; other engines are refused with CampaignError."""
    protocol = load_protocol(name, where=where)
    if not isinstance(protocol, GpawProtocol):
        raise CampaignError(
            f"{where}: {name!r} cannot compute band gaps; use one of {', '.join(protocol_names('gpaw'))}."
        )
    return protocol
