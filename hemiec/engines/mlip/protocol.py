"""Protocols of machine-learned interatomic potentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hemiec.engines.settings import NamedProtocol, RelaxSettings, ThermoSettings, physics_hash
from hemiec.schemas.quantity import Document

if TYPE_CHECKING:
    from hemiec.transport.saddles.saddle import SaddleSearch


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
    """How saddle points are found: a quick search, one from a band if that fails, then a climbing-image band."""

    fmax_eV_per_A: float = Field(gt=0, description="Force at saddles and minima, in eV/angstrom.")
    energy_tolerance_eV: float = Field(
        gt=0, description="Energy that the last steps may still promise at saddles and minima, in eV."
    )
    quick_calls: int = Field(gt=0, description="Force calls of the quick search; unit 1.")
    n_images: int = Field(gt=0, description="Moving images of the band that the second search starts from; unit 1.")
    band_fmax_eV_per_A: float = Field(gt=0, description="Force at which that band is good enough, in eV/angstrom.")
    band_max_steps: int = Field(gt=0, description="Optimiser steps of that band; unit 1.")
    spring_eV_per_A2: float = Field(gt=0, description="Spring constant of the bands, in eV/angstrom^2.")
    max_steps: int = Field(gt=0, description="Steps of minimum-mode following; unit 1.")
    climbing_images: int = Field(ge=0, description="Moving images of the climbing-image band; 0 for none; unit 1.")
    climbing_max_steps: int = Field(gt=0, description="Optimiser steps of the climbing-image band; unit 1.")

    @property
    def search(self) -> SaddleSearch:
        """The same as :mod:`hemiec.transport.saddles.saddle` wants it."""
        from hemiec.transport.saddles.saddle import SaddleSearch  # with ASE and SciPy; reading a protocol needs neither

        return SaddleSearch(
            fmax=self.fmax_eV_per_A,
            energy_tolerance=self.energy_tolerance_eV,
            quick_calls=self.quick_calls,
            n_images=self.n_images,
            band_fmax=self.band_fmax_eV_per_A,
            band_max_steps=self.band_max_steps,
            spring=self.spring_eV_per_A2,
            max_steps=self.max_steps,
            climbing_images=self.climbing_images,
            climbing_max_steps=self.climbing_max_steps,
        )


class MlipProtocol(NamedProtocol):
    """Relaxations and barriers with a machine-learned interatomic potential."""

    engine: Literal["mlip"] = Field(description="What computes: this kind of protocol.")
    thermo: ThermoSettings
    model: MlipModel
    relax: RelaxSettings
    anneal: AnnealSettings
    saddle: SaddleSettings

    def hash_of(self, part: Literal["model", "relax", "anneal", "saddle"]) -> str:
        """Hash of the model and one part: what a job of that kind depends on, and nothing else.

        Of the saddle search only the force at which it ends: how a saddle was looked for does not change where it is.
        """
        only: set[str] | dict[str, Any] = {"engine", "model", part}
        if part == "saddle":
            only = {"engine": True, "model": True, "saddle": {"fmax_eV_per_A"}}
        return physics_hash(self.model_dump(mode="json", include=only))
