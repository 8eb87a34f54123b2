"""Jobs of molecular dynamics, the check of finalists that needs no sites, saddles or rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import Maker, job
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.engines.mlip.dynamics import Run, run_nvt, supercell_with_vacancies
from hemiec.engines.mlip.potential import hop_calculator, versions
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import load_mlip
from hemiec.engines.relaunch import earlier_launches
from hemiec.engines.settings import physics_hash
from hemiec.errors import InputError, NotConvergedError
from hemiec.schemas.dynamics import ArrheniusDoc, ArrheniusPoint, DynamicsDoc, DynamicsSettings
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopNetworkDoc
from hemiec.transport.dynamics.arrhenius import fit_arrhenius
from hemiec.transport.dynamics.trajectories import (
    Diffusivity,
    IonTrajectory,
    ion_diffusion,
    relative_to,
    require_kinisi,
)
from hemiec.units import EV

CM2_PER_S = "cm^2/s"
#: An atom of the framework whose mean position moved further, in angstrom, has left its site: half an edge of the
#: octahedra; a change of tilts moves it less.
_LEFT_SITE = 1.5


@dataclass
class DynamicsMaker(Maker):
    """Run molecular dynamics of a cell with vacancies at one temperature.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped MLIP protocol, or all of another one.
    temperature_K
        Temperature of the run.
    settings
        Fields of :class:`hemiec.schemas.dynamics.DynamicsSettings`, in plain types as jobs are stored.
    seed
        Seed of vacancies, velocities and thermostat.
    """

    name: str = "molecular dynamics"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    temperature_K: float = 1500.0
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    @job(data=["trajectory"])
    def make(self, network: dict[str, Any]) -> dict[str, Any]:
        """Return a DynamicsDoc for a HopNetworkDoc; the positions of the ions go to GridFS.

        Checkpoints are written to the job's folder; a job that was killed goes on from the last one.

        Raises
        ------
        InputError
            If kinisi is not installed: before hours are spent, not after.
        StructureError
            If there is nothing that could move.
        EngineError
            If the model fails.
        """
        require_kinisi()
        protocol, settings = load_mlip(self.protocol), DynamicsSettings.model_validate(self.settings)
        of = HopNetworkDoc.model_validate(network)
        cell, sites, repeats = supercell_with_vacancies(
            Structure.from_dict(of.host), np.array(of.network.frac_coords), of.mobile, settings, seed=self.seed
        )
        run = run_nvt(
            AseAtomsAdaptor.get_atoms(cell, msonable=False),
            hop_calculator(protocol),
            settings,
            self.temperature_K,
            seed=self.seed,
            folders=[Path.cwd(), *(launch for launch, _ in earlier_launches(Path.cwd()))],
        )
        doc = analyse(run, cell, sites=sites, mobile=of.mobile, settings=settings, temperature_K=self.temperature_K)
        return DynamicsDoc.model_validate(
            doc
            | {
                "supercell": list(repeats),
                "protocol": protocol.name,
                "protocol_hash": _hash(protocol, settings),
                "versions": versions(protocol) | {"kinisi": version("kinisi")},
            }
        ).to_mongo()


@dataclass
class DiffusionFromDynamicsMaker(Maker):
    """Gather the runs of one cell at several temperatures.

    Parameters
    ----------
    name
        Job name.
    """

    name: str = "diffusion from dynamics"

    @job
    def make(self, runs: list[dict[str, Any] | None], temperatures_K: list[float]) -> dict[str, Any]:
        """Return an ArrheniusDoc for the DynamicsDoc of each temperature, None for those that failed.

        Raises
        ------
        NotConvergedError
            If no run is there.
        """
        docs = [DynamicsDoc.model_validate({**run, "trajectory": {}}) for run in runs if run]
        if not docs:
            raise NotConvergedError("no run of molecular dynamics ended.", mend="see `hemiec errors`")
        missing = [f"the run at {T:g} K failed" for T, run in zip(temperatures_K, runs, strict=True) if not run]
        return arrhenius_doc(docs, missing).to_mongo()


def analyse(
    run: Run,
    cell: Structure,
    *,
    sites: NDArray[np.float64],
    mobile: str,
    settings: DynamicsSettings,
    temperature_K: float,
) -> dict[str, Any]:
    """Return the fields of a DynamicsDoc that the run itself decides.

    Parameters
    ----------
    run
        As :func:`hemiec.engines.mlip.dynamics.run_nvt` gives it.
    cell
        The simulated cell, atoms in the run's order.
    sites
        Fractional coordinates of all sites of the mobile ions, shape=(n_sites, 3).
    mobile
        Their species.
    settings, temperature_K
        What the run was asked for.
    """
    moving = np.array([site.specie.symbol == mobile for site in cell])
    framework = run.positions[:, ~moving]
    trajectory = IonTrajectory(
        positions=relative_to(run.positions[:, moving], framework),
        interval_ps=run.interval_ps,
        lattice=cell.lattice.matrix,
        sites=sites,
    )
    tenth = max(1, len(framework) // 10)
    shift = relative_to(framework, framework)
    moved = np.linalg.norm(shift[-tenth:].mean(axis=0) - shift[:tenth].mean(axis=0), axis=-1).max(initial=0.0)
    found = ion_diffusion(trajectory)
    method = (
        f"molecular dynamics at constant cell, velocity rescaling ({settings.thermostat_fs:g} fs), step "
        f"{settings.timestep_fs:g} fs; slope of the mean squared displacement by Bayesian regression (kinisi)"
    )
    reason = None
    if moved > _LEFT_SITE:
        reason = (
            f"the crystal did not hold at {temperature_K:g} K: an atom that should stay moved by {moved:.1f} angstrom"
        )
    lags, n = found.tracer.lags_ps or found.vacancy.lags_ps, found.n_hops
    return {
        "mobile": mobile,
        "temperature_K": temperature_K,
        "mean_temperature_K": run.mean_temperature_K,
        "time_ps": trajectory.duration_ps,
        "n_atoms": len(cell),
        "n_ions": int(moving.sum()),
        "n_vacancies": trajectory.n_vacancies,
        "n_hops": n,
        "vacancy_diffusivity": _quantity(found.vacancy, n, f"{method}; joint displacement of all ions", reason),
        "tracer_diffusivity": _quantity(found.tracer, n, f"{method}; displacement of each ion", reason),
        "vacancy_upper_bound": None if reason else found.vacancy.upper_bound,
        "tracer_upper_bound": None if reason else found.tracer.upper_bound,
        "lags_ps": list(lags),
        "vacancy_msd": list(found.vacancy.msd),
        "tracer_msd": list(found.tracer.msd),
        "framework_displacement": float(moved),
        "n_force_calls": run.n_force_calls,
        "elapsed_s": run.elapsed_s,
        "resumed_at_ps": run.resumed_at_ps,
        "trajectory": {
            "interval_ps": run.interval_ps,
            "lattice": cell.lattice.matrix.tolist(),
            "sites": sites.tolist(),
            "positions": trajectory.positions.round(3).tolist(),
        },
        "method": method,
    }


def arrhenius_doc(docs: list[DynamicsDoc], missing: list[str]) -> ArrheniusDoc:
    """Return the Arrhenius line of the vacancies' diffusion.

    Raises
    ------
    InputError
        If the runs are of different models or settings.
    """
    docs = sorted(docs, key=lambda doc: doc.temperature_K)
    if len({doc.protocol_hash for doc in docs}) > 1:
        raise InputError("runs of different models or settings cannot be on one Arrhenius line.")
    points = [ArrheniusPoint.model_validate(doc.model_dump(include=set(ArrheniusPoint.model_fields))) for doc in docs]
    seen = [p for p in points if p.vacancy_diffusivity.value is not None]
    method = f"line of ln D against 1/T through {len(seen)} temperatures; {docs[0].method}"
    energy = Quantity(
        value=None,
        unit=EV,
        method=method,
        reason=f"diffusion was seen at {len(seen)} of {len(points) + len(missing)} temperatures, a line needs two",
    )
    log10_prefactor = None
    if len(seen) >= 2:
        line = fit_arrhenius(
            [p.temperature_K for p in seen],
            [p.vacancy_diffusivity.value or 0.0 for p in seen],
            [p.vacancy_diffusivity.interval or (0.0, 0.0) for p in seen],
        )
        energy = Quantity(
            value=line.activation_energy,
            unit=EV,
            method=method,
            n=line.n,
            interval=line.activation_interval,
            protocol=docs[0].protocol,
            protocol_hash=docs[0].protocol_hash,
        )
        log10_prefactor = line.log_prefactor / float(np.log(10))
    return ArrheniusDoc(
        mobile=docs[0].mobile,
        points=points,
        activation_energy=energy,
        log10_prefactor=log10_prefactor,
        missing=missing,
        n_force_calls=sum(doc.n_force_calls for doc in docs),
        method=method,
        protocol=docs[0].protocol,
        protocol_hash=docs[0].protocol_hash,
        versions=docs[0].versions,
    )


def _quantity(found: Diffusivity, n_hops: int, method: str, reason: str | None) -> Quantity:
    if reason or found.value is None:
        return Quantity(value=None, unit=CM2_PER_S, method=method, n=0, reason=reason or found.reason)
    return Quantity(value=found.value, unit=CM2_PER_S, method=method, n=n_hops, interval=found.interval)


def _hash(protocol: MlipProtocol, settings: DynamicsSettings) -> str:
    """Return the hash of what all runs of one line have in common."""
    of_run = settings.model_dump(mode="json", exclude={"temperatures_K"})
    return physics_hash(protocol.model_dump(mode="json", include={"engine", "model"}) | {"dynamics": of_run})
