"""Molecular dynamics as a check of the network's diffusion: settings, one run, and the Arrhenius line of several."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from hemiec.schemas.quantity import Document, Quantity


class DynamicsSettings(Document):
    """Molecular dynamics at constant cell and temperature, one run per temperature."""

    temperatures_K: list[float] = Field(
        default=[1200.0, 1500.0, 1800.0],
        min_length=3,
        max_length=10,
        description="Temperatures of the runs, in K: high enough for ten hops or more within `time_ps`; cations, which "
        "move faster, take lower ones.",
    )
    time_ps: float = Field(100.0, gt=0, le=1e6, description="Length of each run after equilibration, in ps.")
    equilibration_ps: float = Field(5.0, ge=0, le=1e5, description="Start of each run that is discarded, in ps.")
    timestep_fs: float = Field(2.0, gt=0, le=10, description="Time step, in fs.")
    sample_fs: float = Field(50.0, gt=0, le=1000, description="Time between stored positions, in fs.")
    thermostat_fs: float = Field(100.0, gt=0, description="Time constant of the thermostat, in fs.")
    vacancies: int = Field(
        1,
        ge=0,
        le=100,
        strict=True,
        description="Mobile ions taken out of the cell at random, beyond sites vacant in it; unit 1.",
    )
    shortest_image_distance: float = Field(
        7.5, ge=0, le=100, description="The cell is repeated until its images are as far apart, in angstrom."
    )

    @field_validator("temperatures_K")
    @classmethod
    def _differ(cls, value: list[float]) -> list[float]:
        if min(value) <= 0 or max(value) > 5000 or len(set(value)) < len(value):
            raise ValueError("expected different temperatures above 0 and up to 5000 K")
        return sorted(value)

    @model_validator(mode="after")
    def _enough_frames(self) -> DynamicsSettings:
        if self.time_ps * 1000 < 100 * self.sample_fs or self.sample_fs < self.timestep_fs:
            raise ValueError("expected timestep_fs <= sample_fs <= a hundredth of time_ps")
        return self


class DynamicsDoc(Document):
    """One run at one temperature, and the diffusion seen in it."""

    mobile: str = Field(description="Species that moves, such as O.")
    temperature_K: float = Field(description="Temperature of the thermostat, in K.")
    mean_temperature_K: float = Field(description="Mean kinetic temperature after equilibration, in K.")
    time_ps: float = Field(description="Length after equilibration, in ps.")
    supercell: list[int] = Field(description="Repeats of the cell along its vectors; unit 1.")
    n_atoms: int = Field(description="Atoms in the simulated cell; unit 1.")
    n_ions: int = Field(description="Mobile ions in it; unit 1.")
    n_vacancies: int = Field(description="Vacant sites of theirs; unit 1.")
    n_hops: int = Field(description="Changes of site that were seen; unit 1.")
    vacancy_diffusivity: Quantity = Field(
        description="D of a vacancy from the joint displacement of all ions, in cm^2/s: what the network's D is."
    )
    tracer_diffusivity: Quantity = Field(
        description="D of a mobile ion from its own displacement, in cm^2/s: what an isotope profile shows."
    )
    vacancy_upper_bound: float | None = Field(
        None, description="95 % upper bound of a vacancy_diffusivity without value, in cm^2/s; null if it has one."
    )
    tracer_upper_bound: float | None = Field(
        None, description="95 % upper bound of a tracer_diffusivity without value, in cm^2/s; null if it has one."
    )
    lags_ps: list[float] = Field(description="Time differences of the mean squared displacements, in ps.")
    vacancy_msd: list[float] = Field(description="|joint displacement|^2 over n_vacancies at each lag, in angstrom^2.")
    tracer_msd: list[float] = Field(description="Mean squared displacement of an ion at each lag, in angstrom^2.")
    framework_displacement: float = Field(
        description="Largest displacement of the mean position of an atom that should stay, in angstrom."
    )
    n_force_calls: int = Field(description="Energy-and-force evaluations of the whole run, equilibration too; unit 1.")
    elapsed_s: float = Field(description="Wall time of the last launch, in s.")
    resumed_at_ps: float | None = Field(
        None, description="Time, from the start of equilibration, at which the last launch took the run over, in ps."
    )
    trajectory: dict[str, Any] = Field(
        description="interval_ps; lattice in angstrom, rows; sites, fractional; positions of the mobile ions relative "
        "to the framework, unwrapped, in angstrom, shape=(n_frames, n_ions, 3) (kept in GridFS)."
    )
    method: str = Field(description="Integrator, thermostat, cell and estimator.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the model and the settings of the run.")
    versions: dict[str, str] = Field(description="Versions of hemiec, the engine, ASE and kinisi.")


class ArrheniusPoint(Document):
    """The diffusion at one temperature."""

    temperature_K: float = Field(description="Temperature, in K.")
    vacancy_diffusivity: Quantity = Field(description="D of a vacancy, in cm^2/s.")
    tracer_diffusivity: Quantity = Field(description="D of a mobile ion, in cm^2/s.")
    vacancy_upper_bound: float | None = Field(
        None, description="95 % upper bound where there is no value, in cm^2/s; null if there is one."
    )
    tracer_upper_bound: float | None = Field(
        None, description="95 % upper bound where there is no value, in cm^2/s; null if there is one."
    )
    time_ps: float = Field(description="Length of the run, in ps.")
    n_hops: int = Field(description="Hops seen; unit 1.")


class ArrheniusDoc(Document):
    """Diffusion by molecular dynamics at several temperatures, and the straight line through it."""

    mobile: str = Field(description="Species that moves, such as O.")
    points: list[ArrheniusPoint] = Field(description="Every run, the lowest temperature first.")
    activation_energy: Quantity = Field(
        description="-d ln D / d(1/kT) of the vacancy's D over the range of the runs, in eV."
    )
    log10_prefactor: float | None = Field(description="log10 of D at 1/T = 0 in cm^2/s; null without a line.")
    missing: list[str] = Field(default_factory=list, description="Runs that failed, with the reason.")
    n_force_calls: int = Field(description="Energy-and-force evaluations of all runs; unit 1.")
    method: str = Field(description="How runs and line were made.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the model and the settings of the runs.")
    versions: dict[str, str] = Field(description="Versions of hemiec, the engine, ASE and kinisi.")
