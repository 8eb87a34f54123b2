"""Protocols of machine-learned interatomic potentials."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hemiec.engines.settings import NamedProtocol, RelaxSettings, ThermoSettings, physics_hash
from hemiec.schemas.quantity import Document


class MlipModel(Document):
    """Which machine-learned potential."""

    force_field: Literal["CHGNet", "SevenNet"] = Field(description="Name that atomate2 knows it by.")
    package: str = Field(description="Distribution whose version is recorded and that carries the weights.")
    calculator_kwargs: dict[str, Any] = Field(description="Keywords of its ASE calculator.")


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


class MlipProtocol(NamedProtocol):
    """Relaxations and barriers with a machine-learned interatomic potential."""

    engine: Literal["mlip"]
    thermo: ThermoSettings
    model: MlipModel
    relax: RelaxSettings
    anneal: AnnealSettings
    saddle: SaddleSettings

    def hash_of(self, part: Literal["relax", "anneal", "saddle"]) -> str:
        """Hash of the model and one part: what a job of that kind depends on, and nothing else."""
        return physics_hash(self.model_dump(mode="json", include={"engine", "model", part}))
