"""The parts that protocols of several engines are made of."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from hemiec.schemas.quantity import Document

#: Fields that say what a protocol is for, how long a job may take, and what the builder does with finished energies;
#: everything else decides what a job computes and goes into the hash.
_NOT_IN_HASH = {"name", "purpose", "cost", "source", "thermo", "walltime_h"}


def physics_hash(physics: dict[str, Any]) -> str:
    """Return the hash of settings, whatever order they are written in."""
    return hashlib.sha256(json.dumps(physics, sort_keys=True).encode()).hexdigest()[:12]


class NamedProtocol(Document):
    """What every protocol says of itself."""

    name: str = Field(description="Name that campaigns use.", pattern=r"^[a-z0-9-]+$")
    purpose: str = Field(description="What the protocol is good for, and where it is weak.")
    cost: str = Field(description="What it costs, on what.")
    source: str = Field(description="Where model or settings come from.")

    _shipped: bool = PrivateAttr(default=False)

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


class ThermoSettings(Document):
    """What energies may be compared with."""

    o2_correction_eV_per_O: float = Field(description="Added to the energy of the O2 molecule, in eV per O atom.")
    o2_correction_source: str = Field(description="Why that number.")
    not_from_elements: list[str] = Field(description="Elements whose compounds and metals are on different scales.")


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
