"""Protocols of GPAW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator

from hemiec.engines.settings import HubbardU, NamedProtocol, RelaxSettings, SpinSettings, ThermoSettings
from hemiec.schemas.quantity import Document


class GpawAttempt(Document):
    """One rung of the retry ladder of the self-consistency cycle."""

    mixer: dict[str, Any] = Field(description="GPAW mixer keywords.")
    smearing_eV: float = Field(gt=0, description="Fermi-Dirac width in eV.")
    max_iterations: int = Field(gt=0, description="SCF iterations; unit 1.")


class GpawConvergence(Document):
    """When a self-consistency cycle ends: GPAW's criteria."""

    energy: float = Field(gt=0, description="Change of the energy, in eV per valence electron.")
    density: float = Field(gt=0, description="Change of the density, in electrons per valence electron.")
    eigenstates: float = Field(gt=0, description="Residual of the eigenstates, in eV^2 per valence electron.")


class GpawProtocol(NamedProtocol):
    """Spin-polarised DFT+U with GPAW in plane waves."""

    engine: Literal["gpaw"] = Field(description="What computes: this kind of protocol.")
    thermo: ThermoSettings
    functional: Literal["PBE", "PBEsol", "LDA", "GLLBSC"] = Field(description="Exchange-correlation functional.")
    cutoff_eV: float = Field(ge=200, description="Plane-wave cutoff in eV.")
    energies: bool = Field(
        description="Whether total energies are converged well enough to be compared; false: gaps only."
    )
    kpoint_spacing_per_A: float = Field(gt=0, description="Largest k-point spacing (2 pi included), in 1/angstrom.")
    kpoints_gamma_centred: bool = Field(description="Whether the mesh contains the zone centre.")
    check_kpoint_spacing_per_A: float | None = Field(
        gt=0,
        description="Spacing of the denser zone-centred mesh on which the gap is looked for again at fixed density, in "
        "1/angstrom; null for no check.",
    )
    band_edge_points: list[list[float]] = Field(
        description="k-points at which gaps are looked for besides the mesh, in the cubic parent's reciprocal basis."
    )
    bands: str = Field(description="Number of bands as GPAW's `nbands`, such as '115%' of the occupied ones.")
    hubbard_u: dict[str, HubbardU] = Field(description="Element to U.")
    spin: SpinSettings
    refused_elements: list[str] = Field(description="Elements this protocol does not treat: open 4f shells.")
    datasets: dict[str, str] = Field(description="Element to GPAW setup type where it is not the default one.")
    convergence: GpawConvergence
    attempts: list[GpawAttempt] = Field(min_length=1, description="Retry ladder, first attempt first.")
    relax: RelaxSettings | None = Field(description="How structures are relaxed; null if the protocol does not relax.")
    saddle_steps: int = Field(
        ge=0, description="Steps by which a saddle found with a cheaper engine is followed on; 0 for single points."
    )
    walltime_h: float | None = Field(
        gt=0, description="A calculation that runs longer leaves a restart file and stops, in h; null for no limit."
    )

    @field_validator("hubbard_u", "refused_elements", "datasets")
    @classmethod
    def _are_elements(cls, value: Any) -> Any:
        _refuse_unknown_elements(value)
        return value

    @field_validator("spin")
    @classmethod
    def _moments_are_of_elements(cls, value: SpinSettings) -> SpinSettings:
        _refuse_unknown_elements(value.moments)
        return value


def _refuse_unknown_elements(symbols: Iterable[str]) -> None:
    """Raise ValueError for what is not a chemical element: a misspelt key would be left out in silence."""
    unknown = sorted(set(symbols) - (atomic_numbers.keys() - {"X"}))
    if unknown:
        raise ValueError(f"no such element: {', '.join(unknown)}")
