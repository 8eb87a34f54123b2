"""The parts that protocols of several engines are made of."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from hemiec.schemas.quantity import Document

#: Fields that say what a protocol is for, where and how long a job may run, and what the builder does with finished
#: energies; everything else decides what a job computes and goes into the hash.
_NOT_IN_HASH = {"name", "purpose", "cost", "source", "thermo", "resources", "walltime_h"}


def physics_hash(physics: dict[str, Any]) -> str:
    """Return the hash of settings, whatever order they are written in."""
    return hashlib.sha256(json.dumps(physics, sort_keys=True).encode()).hexdigest()[:12]


#: Which workers take a job: each category has its own kind of allocation.
Category = Literal["mlip", "dft", "gpu"]


class Resources(Document):
    """Where one job runs and for how long: never part of a hash, because it changes no result."""

    category: Category = Field(
        description="Workers that take the job: mlip (many short jobs in one process), dft (long jobs), gpu."
    )
    cores: int = Field(gt=0, description="CPU cores of one job; unit 1.")
    memory_gib: float = Field(gt=0, description="Memory of one job in GiB.")
    gpus: int = Field(0, ge=0, description="GPUs of one job; unit 1.")
    walltime_min: int = Field(gt=0, description="The longest that one job may take, in min.")

    @model_validator(mode="after")
    def _gpus_are_in_their_category(self) -> Resources:
        if (self.category == "gpu") != (self.gpus > 0):
            raise ValueError(f"`category: {self.category}` with `gpus: {self.gpus}`: only category gpu has GPUs")
        return self


#: Of jobs that no protocol computes: they prepare, choose and collect. Making a structure takes the longest.
LIGHT = Resources(category="mlip", cores=1, memory_gib=2, walltime_min=30)

#: Engine to what a job takes if its protocol does not say. Measured: a worker that has loaded CHGNet and run GPAW on
#: 25 atoms takes 1.1 GB; GPAW as `make setup` builds it is serial. VASP: an estimate (it is licensed), a few GiB less
#: than a node's share of 32 cores.
_RESOURCES = {
    "mlip": {"category": "mlip", "cores": 1, "memory_gib": 2, "walltime_min": 60},
    "gpaw": {"category": "dft", "cores": 1, "memory_gib": 4, "walltime_min": 1440},
    "vasp": {"category": "dft", "cores": 32, "memory_gib": 60, "walltime_min": 1440},
}


class NamedProtocol(Document):
    """What every protocol says of itself."""

    name: str = Field(description="Name that campaigns use.", pattern=r"^[a-z0-9-]+$")
    purpose: str = Field(description="What the protocol is good for, and where it is weak.")
    cost: str = Field(description="What it costs, on what.")
    source: str = Field(description="Where model or settings come from.")
    resources: Resources = Field(description="Where and how long its jobs run; what is left out is the engine's usual.")

    _shipped: bool = PrivateAttr(default=False)

    @model_validator(mode="before")
    @classmethod
    def _usual_resources(cls, content: Any) -> Any:
        """Fill in what the engine usually takes; a protocol names what differs."""
        if not isinstance(content, dict):
            return content
        given = content.get("resources") or {}
        usual = _RESOURCES.get(content.get("engine", ""), {})
        return {**content, "resources": {**usual, **given}} if isinstance(given, dict) else content

    @model_validator(mode="after")
    def _ends_before_it_is_killed(self) -> NamedProtocol:
        walltime_h: float | None = getattr(self, "walltime_h", None)
        if walltime_h is not None and 60 * walltime_h >= self.resources.walltime_min:
            raise ValueError(
                f"`walltime_h: {walltime_h:g}` must be less than `resources: {{walltime_min: "
                f"{self.resources.walltime_min}}}`, or the job is killed before it can leave a restart"
            )
        return self

    @property
    def hash(self) -> str:
        """Hash of the physics: equal for equal settings whatever the protocol is called."""
        return physics_hash(self.model_dump(mode="json", exclude=_NOT_IN_HASH))

    @property
    def reference(self) -> str | dict[str, Any]:
        """What a job carries to find the protocol anywhere: the name of a shipped one, else all of it."""
        return self.name if self._shipped else self.model_dump(mode="json")


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


class HubbardU(Document):
    """Effective U on one shell of one element (doi:10.1103/PhysRevB.57.1505)."""

    orbital: Literal["d", "f"] = Field(description="Shell.")
    value_eV: float = Field(ge=0, le=20, description="U - J in eV.")


class ElementCorrection(Document):
    """A correction that an element carries in compounds with some others."""

    element: str = Field(description="Its symbol.")
    compounds_with: list[str] = Field(min_length=1, description="One of these must be in the compound.")
    eV_per_atom: float = Field(description="Added per atom of the element, in eV.")


class ThermoSettings(Document):
    """What energies may be compared with; applied by :mod:`hemiec.thermo.corrections`."""

    o2_correction_eV_per_O: float = Field(description="Added to the energy of the O2 molecule, in eV per O atom.")
    o2_correction_source: str = Field(description="Why that number.")
    elemental_corrections_eV_per_atom: dict[str, float] = Field(
        default_factory=dict,
        description="Formula of an elemental phase (F2, Cl2, S) to what is added to its energy, in eV per atom.",
    )
    elemental_corrections_source: str = Field("none", description="Why those numbers.")
    phase_corrections_eV_per_atom: dict[str, float] = Field(
        default_factory=dict,
        description="Reduced formula to what is added to the energy of reference phases of just that composition, in "
        "eV per atom.",
    )
    phase_corrections_source: str = Field("none", description="Why those numbers.")
    element_corrections: list[ElementCorrection] = Field(
        default_factory=list, description="Added to compounds of some elements."
    )
    element_corrections_source: str = Field("none", description="Why those numbers.")
    not_from_elements: list[str] = Field(description="Elements whose compounds and metals are on different scales.")
    model_error_eV_per_atom: float | None = Field(
        None,
        ge=0,
        description="Standard deviation of enthalpies from oxides and of energies above the hull from experiment, in "
        "eV/atom; null if it was not measured.",
    )
    model_error_source: str = Field("not measured", description="On what it was measured.")
    vacancies_mix: bool = Field(True, description="Whether vacancies count as a species in the mixing entropy.")
    charge_disorder: bool = Field(
        False, description="Whether the valences of B cations of fractional mean valence mix at random, as an entropy."
    )

    @property
    def molecule_corrections_eV_per_atom(self) -> dict[str, float]:
        """Formula of an elemental phase, O2 included, to what is added to its energy, in eV per atom."""
        return {"O2": self.o2_correction_eV_per_O, **self.elemental_corrections_eV_per_atom}


class SpinMoment(Document):
    """Starting magnetic moments of one element."""

    high: float = Field(ge=0, le=10, description="High spin, in Bohr magnetons.")
    low: float | None = Field(None, ge=0, le=10, description="Low spin, in Bohr magnetons; null if there is none.")


MagneticStart = Literal[
    "ferromagnetic", "antiferromagnetic-G", "antiferromagnetic-A", "antiferromagnetic-C", "low-spin", "nonmagnetic"
]


#: The start whose moments stand in the structure's site property ``magmom``: molecules, users' own arrangements.
GIVEN_START = "given"


class SpinSettings(Document):
    """Which magnetic states a calculation is started from; the one of lowest energy is kept, all are recorded."""

    starts: list[MagneticStart] = Field(
        min_length=1,
        description="Arrangements of the moments; those that a cell cannot hold or that coincide drop out.",
    )
    moments: dict[str, SpinMoment] = Field(
        description="Element to its starting moments; elements not named start without. Cells without any of these "
        "elements are computed without spin polarisation."
    )
