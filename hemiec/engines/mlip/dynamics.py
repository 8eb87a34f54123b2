"""Molecular dynamics at constant cell and temperature, which a killed job takes up where it was."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.bussi import Bussi
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.errors import EngineError, StructureError
from hemiec.schemas.dynamics import DynamicsSettings
from hemiec.structures.cells import shortest_image_distance

FloatArray = NDArray[np.float64]

CHECKPOINT_FILE = "dynamics.npz"
#: Time between checkpoints: little is lost, and writing them is no work beside the model's.
_CHECKPOINT_PS = 0.5
#: Fastest atom of a sound run, in angstrom/fs: oxygen at 2000 K has 0.02.
_TOO_FAST = 0.3


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Parameters
    ----------
    positions
        Unwrapped positions of all atoms after equilibration, in angstrom, shape=(n_frames, n_atoms, 3).
    interval_ps
        Time between frames.
    mean_temperature_K
        Mean kinetic temperature of the frames.
    n_force_calls
        Energy-and-force evaluations, equilibration and earlier launches included.
    elapsed_s
        Wall time of this launch.
    resumed_at_ps
        Time at which this launch took the run over; None if it began it.
    """

    positions: FloatArray
    interval_ps: float
    mean_temperature_K: float
    n_force_calls: int
    elapsed_s: float
    resumed_at_ps: float | None


def supercell_with_vacancies(
    structure: Structure, sites: FloatArray, mobile: str, settings: DynamicsSettings, *, seed: int
) -> tuple[Structure, FloatArray, tuple[int, int, int]]:
    """Return the cell of a run, all sites of the mobile ions in it, and the repeats that it is made of.

    Parameters
    ----------
    structure
        Relaxed cell.
    sites
        Fractional coordinates of the mobile ions' sites in it, vacant ones too, shape=(n_sites, 3).
    mobile
        Their species.
    settings
        How far images have to be apart and how many vacancies are made.
    seed
        Chooses the ions that are taken out.

    Raises
    ------
    StructureError
        If the cell has no such ions, fewer than are taken out, or no site would be vacant.
    """
    repeats = _repeats(structure.lattice.matrix, settings.shortest_image_distance)
    cell = structure.copy()
    for name in list(cell.site_properties):
        cell.remove_site_property(name)
    cell.make_supercell(np.diag(repeats), to_unit_cell=False)
    corners = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    all_sites = ((np.asarray(sites, dtype=float)[:, None] + corners) / repeats).reshape(-1, 3)
    ions = [i for i, site in enumerate(cell) if site.specie.symbol == mobile]
    if len(ions) <= settings.vacancies:
        raise StructureError(
            f"{structure.formula}: {settings.vacancies} of {len(ions)} {mobile} ions cannot be taken out.",
            mend="take fewer, or name the species that moves",
        )
    if len(all_sites) <= len(ions) - settings.vacancies:
        raise StructureError(
            f"{structure.formula}: every {mobile} site is filled, nothing can move.",
            mend="set `vacancies` to 1 or more",
        )
    cell.remove_sites(sorted(np.random.default_rng(seed).choice(ions, settings.vacancies, replace=False).tolist()))
    return cell, all_sites, repeats


def run_nvt(
    atoms: Atoms,
    calculator: Calculator,
    settings: DynamicsSettings,
    temperature_K: float,
    *,
    seed: int,
    folders: Iterable[Path],
) -> Run:
    """Return a run of molecular dynamics at constant cell and temperature.

    Velocity Verlet with stochastic velocity rescaling (doi:10.1063/1.2408420), which samples the canonical ensemble
    and, unlike friction, leaves the time correlations that diffusion rests on almost as they are. The centre of mass
    rests. Same seed, same path; a run that was cut off goes on along it.

    Parameters
    ----------
    atoms
        Start; not changed.
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom.
    settings
        Times, steps and thermostat.
    temperature_K
        Of the thermostat and the first velocities.
    seed
        Of velocities and thermostat.
    folders
        The run's folder, where its checkpoints go, then those in which earlier launches may have left one.

    Raises
    ------
    EngineError
        If atoms get so fast that the model has failed.
    """
    started, (folder, *earlier) = time.perf_counter(), list(folders)
    per_frame = max(1, round(settings.sample_fs / settings.timestep_fs))
    interval_ps = per_frame * settings.timestep_fs / 1000
    n_discarded = round(settings.equilibration_ps / interval_ps)
    n_frames = n_discarded + round(settings.time_ps / interval_ps) + 1
    state = _State.start(atoms, temperature_K, seed, settings)
    resumed = next((found for at in (folder, *earlier) if (found := state.read(at / CHECKPOINT_FILE))), None)
    state = resumed or state
    dynamics = state.dynamics(calculator, settings, temperature_K)
    calls = 1
    between = max(1, round(_CHECKPOINT_PS / interval_ps))
    while len(state.frames) < n_frames:
        dynamics.run(per_frame)
        calls += per_frame
        state.record(dynamics.atoms, temperature_K)
        if len(state.frames) % between == 0 or len(state.frames) == n_frames:
            state.n_force_calls += calls
            calls = 0
            state.write(folder / CHECKPOINT_FILE)
    kept = slice(n_discarded, None)
    return Run(
        positions=np.array(state.frames[kept]),
        interval_ps=interval_ps,
        mean_temperature_K=float(np.mean(state.temperatures[kept])),
        n_force_calls=state.n_force_calls,
        elapsed_s=time.perf_counter() - started,
        resumed_at_ps=None if resumed is None else (resumed.first_frame - 1) * interval_ps,
    )


@dataclass(eq=False)
class _State:
    """All that a run needs to go on: atoms with momenta, the thermostat's random numbers, what was seen so far."""

    atoms: Atoms
    rng: np.random.Generator
    key: str
    frames: list[FloatArray]
    temperatures: list[float]
    n_force_calls: int = 0
    first_frame: int = 1

    @classmethod
    def start(cls, atoms: Atoms, temperature_K: float, seed: int, settings: DynamicsSettings) -> _State:
        """Return the state before the first step, named by all that decides its path."""
        content = [atoms.symbols.get_chemical_formula("reduce"), atoms.cell.tolist(), atoms.positions.tolist()]
        length = {"time_ps", "temperatures_K", "equilibration_ps"}  # a longer run begins as a shorter one
        physics = settings.model_dump(mode="json", exclude=length)
        key = hashlib.sha256(json.dumps([content, temperature_K, seed, physics], sort_keys=True).encode()).hexdigest()
        moving, rng = atoms.copy(), np.random.default_rng(seed)
        spread = np.sqrt(moving.get_masses()[:, None] * units.kB * temperature_K)
        momenta = rng.standard_normal((len(moving), 3)) * spread
        moving.set_momenta(momenta - momenta.mean(axis=0))
        return cls(moving, rng, key, [moving.get_positions()], [_temperature(moving)])

    def dynamics(self, calculator: Calculator, settings: DynamicsSettings, temperature_K: float) -> Bussi:
        """Return the integrator of this state."""
        self.atoms.calc = calculator
        dynamics = Bussi(
            self.atoms,
            settings.timestep_fs * units.fs,
            temperature_K=temperature_K,
            taut=settings.thermostat_fs * units.fs,
            rng=self.rng,
        )
        # The centre of mass rests. ASE's constraint for that is one that the converters of some potentials refuse.
        dynamics.ndof -= 3
        dynamics.target_kinetic_energy = dynamics.ndof * units.kB * temperature_K / 2
        return dynamics

    def record(self, atoms: Atoms, temperature_K: float) -> None:
        """Add a frame."""
        fastest = float(np.abs(atoms.get_velocities()).max()) * units.fs
        if not fastest < _TOO_FAST:
            raise EngineError(
                f"{atoms.get_chemical_formula()}: molecular dynamics at {temperature_K:g} K went astray after "
                f"{len(self.frames)} frames, an atom moves by {fastest:.2g} angstrom/fs.",
                mend="take a shorter `timestep_fs` or a lower temperature, or another potential",
            )
        self.frames.append(atoms.get_positions())
        self.temperatures.append(_temperature(atoms))

    def write(self, path: Path) -> None:
        """Write a checkpoint; it appears whole or not at all."""
        part = path.with_suffix(".part.npz")
        np.savez(
            part,
            key=self.key,
            momenta=self.atoms.get_momenta(),
            frames=np.array(self.frames),
            temperatures=np.array(self.temperatures),
            n_force_calls=self.n_force_calls,
            rng=json.dumps(self.rng.bit_generator.state),
        )
        part.replace(path)

    def read(self, path: Path) -> _State | None:
        """Return the state of a checkpoint of this very run; None if there is none, or it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as left:
                if str(left["key"]) != self.key:
                    return None
                frames, momenta, rng = left["frames"], left["momenta"], np.random.default_rng()
                rng.bit_generator.state = json.loads(str(left["rng"]))
                temperatures, n_force_calls = left["temperatures"].tolist(), int(left["n_force_calls"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        atoms = self.atoms.copy()
        atoms.set_positions(frames[-1])
        atoms.set_momenta(momenta)
        return _State(atoms, rng, self.key, list(frames), temperatures, n_force_calls, len(frames))


def _temperature(atoms: Atoms) -> float:
    """Return the kinetic temperature of atoms whose centre of mass rests, in K."""
    return float(2 * atoms.get_kinetic_energy() / ((3 * len(atoms) - 3) * units.kB))


def _repeats(cell: FloatArray, distance: float) -> tuple[int, int, int]:
    """Return the fewest repeats along the cell vectors whose images are as far apart, in angstrom."""
    repeats = np.ones(3, dtype=int)
    while shortest_image_distance(cell * repeats[:, None]) < distance - 1e-6:
        repeats[np.argmin(np.linalg.norm(cell, axis=1) * repeats)] += 1
    return int(repeats[0]), int(repeats[1]), int(repeats[2])
