"""Self-consistency with a retry ladder, plateaus told from solutions, restarts and a walltime."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pymatgen.core import Structure

from hemiec.engines.gpaw.calculator import (
    OUTPUT_FILE,
    atoms_of,
    build_calculator,
    check_elements,
    mixer_of,
)
from hemiec.engines.gpaw.plateau import not_a_solution
from hemiec.engines.gpaw.protocol import GpawAttempt, GpawProtocol
from hemiec.engines.gpaw.restart import (
    RESTART_FILE,
    Owner,
    Restart,
    find_restart,
    resume_from_density,
    write_restart,
)
from hemiec.errors import EngineError, NotConvergedError
from hemiec.schemas.calculations import ScfAttempt

#: A restart is written at most this often while a cycle runs, in s: it costs about a second for 25 atoms.
_CHECKPOINT_S = 600.0
#: Numerical breakdowns that another mixer may mend.
_BROKE_DOWN = "GPAW broke down"
_BREAKDOWNS = (ArithmeticError, np.linalg.LinAlgError, AssertionError, RuntimeError, ValueError)


class WalltimeError(EngineError):
    """A calculation reached the protocol's walltime and left a restart file."""


class Clock:
    """Time since a calculation began, and the limit it has.

    Parameters
    ----------
    walltime_h
        Limit in h; None for none.
    """

    def __init__(self, walltime_h: float | None) -> None:
        self.started = time.perf_counter()
        self.limit_s = math.inf if walltime_h is None else 3600 * walltime_h

    @property
    def elapsed_s(self) -> float:
        """Wall time in s since the start."""
        return time.perf_counter() - self.started

    @property
    def expired(self) -> bool:
        """Whether the limit is reached."""
        return self.elapsed_s >= self.limit_s


class Scf:
    """Self-consistent solutions of one cell with one magnetic start, at one geometry after another.

    Parameters
    ----------
    structure
        Species and first geometry.
    protocol
        Cutoff, mesh, U, retry ladder, walltime.
    moments
        Starting moment of each site, in Bohr magnetons; all zero: without spin polarisation.
    folder
        Where output and restart files go, and where a restart of the same calculation is looked for.
    previous
        Folder of a calculation that this one goes on from; it is looked at before ``folder``.
    point_group
        Whether rotations of the crystal reduce the k-points; not for geometries of different symmetry in one run.

    Raises
    ------
    EngineError
        If GPAW, a dataset, or an element's treatment is missing.
    """

    def __init__(
        self,
        structure: Structure,
        protocol: GpawProtocol,
        moments: Sequence[float],
        *,
        folder: Path,
        previous: Path | None = None,
        point_group: bool = True,
    ) -> None:
        symbols = [site.specie.symbol for site in structure]
        check_elements(symbols, protocol)
        self.structure, self.protocol, self.folder = structure, protocol, folder
        self.moments = [float(m) for m in moments]
        self.spin_polarised = any(self.moments)
        self.point_group = point_group
        self.clock = Clock(protocol.walltime_h)
        self.owner = Owner(protocol.hash, self.spin_polarised, symbols, self.moments)
        self.attempts: list[ScfAttempt] = []
        self.settings: GpawAttempt = protocol.attempts[0]
        self.n_solved = 0
        self.output = folder / OUTPUT_FILE
        self._calc: Any = None
        self._checkpoint = time.perf_counter()
        self.restart, self._notes = self._look_for_restart(previous)

    @property
    def calc(self) -> Any:
        """The GPAW calculator of the last accepted solution."""
        if self._calc is None:
            raise EngineError(f"{self.structure.formula}: no self-consistent solution was computed yet.")
        return self._calc

    @property
    def files(self) -> dict[str, str]:
        """Name to path of the files left in the folder."""
        paths = {"output": self.output, "restart": self.folder / RESTART_FILE}
        return {key: str(path) for key, path in paths.items() if path.exists()}

    def atoms(self) -> Atoms:
        """Return the structure as ASE atoms with the starting moments."""
        return atoms_of(self.structure, self.moments)

    def solve(self, atoms: Atoms) -> Any:
        """Return a calculator converged for these atoms, by the first rung of the retry ladder that gets there.

        The solution before is the start of the next where atoms have moved; if that fails the ladder begins anew.

        Raises
        ------
        NotConvergedError
            If no attempt converges.
        WalltimeError
            At the walltime; the restart file is named.
        EngineError
            If GPAW breaks down or runs out of memory.
        """
        self.attempts = []
        if self._calc is not None:
            calc, self._calc = self._calc, None
            if self._attempt(calc, atoms, self.settings, "the solution before"):
                return self._accept(calc, atoms)
        restart, self.restart = self.restart, None
        if restart is not None and not restart.fits(atoms):
            self._notes.append(f"{restart.path}: not used, it belongs to another geometry")
            restart = None
        for settings in self.protocol.attempts:
            calc = self._build(settings)
            origin = "atomic densities"
            if restart is not None:
                resume_from_density(calc, atoms, restart)
                origin, restart = str(restart.path), None
            if self._attempt(calc, atoms, settings, origin):
                self.settings = settings
                return self._accept(calc, atoms)
        raise self._exhausted()

    def check_walltime(self) -> None:
        """Raise WalltimeError if the time is over; the restart file was written after the last solution."""
        if self.clock.expired:
            raise self._out_of_time()

    def _exhausted(self) -> EngineError:
        """Return the error of a ladder without a rung left: what was tried, and what each attempt ended with."""
        tried = "; ".join(
            f"{a.settings['mixer'].get('name')} from {a.settings['start']}: {a.message} "
            f"after {a.n_iterations} iterations"
            for a in self.attempts
        )
        if all(a.message and a.message.startswith(_BROKE_DOWN) for a in self.attempts):
            return EngineError(
                f"{self.structure.formula}: GPAW failed in every attempt ({tried}).",
                mend=f"see {self.output}; look at the structure for atoms on top of each other",
            )
        return NotConvergedError(
            f"{self.structure.formula}: SCF did not converge ({tried}).",
            mend=f"see {self.output}; more iterations or a wider smearing in `attempts` may help",
        )

    def _look_for_restart(self, previous: Path | None) -> tuple[Restart | None, list[str]]:
        notes: list[str] = []
        for folder in [previous, self.folder]:
            if folder is None:
                continue
            restart, note = find_restart(folder, self.owner)
            if restart is not None:
                return restart, notes
            if note:
                notes.append(note)
            elif folder is previous:
                notes.append(f"{folder}: has no {RESTART_FILE}")
        return None, notes

    def _build(self, settings: GpawAttempt) -> Any:
        changes: dict[str, Any] = {} if self.point_group else {"symmetry": {"point_group": False}}
        self.output = unused_path(self.folder / OUTPUT_FILE)
        try:
            calc = build_calculator(
                self.structure, self.protocol, settings, spin_polarised=self.spin_polarised, txt=self.output, **changes
            )
        except (TypeError, ValueError, KeyError) as error:
            raise EngineError(
                f"protocol {self.protocol.name}: GPAW does not take its settings ({type(error).__name__}: {error}).",
                mend="check `attempts`, `bands` and `functional`",
            ) from error
        if calc.old:
            raise EngineError(
                f"protocol {self.protocol.name}: {self.protocol.functional} runs only in GPAW's former code.",
                mend="use a functional without orbital-dependent parts",
            )
        return calc

    def _accept(self, calc: Any, atoms: Atoms) -> Any:
        self._calc = calc
        self.n_solved += 1
        self._save(calc, atoms)
        return calc

    def _save(self, calc: Any, atoms: Atoms) -> None:
        write_restart(calc, atoms, self.owner, self.folder)
        self._checkpoint = time.perf_counter()

    def _out_of_time(self) -> EngineError:
        return WalltimeError(
            f"{self.structure.formula}: reached the walltime of {self.protocol.walltime_h} h; "
            f"the density is in {self.folder / RESTART_FILE}.",
            mend="run the job again (`hemiec rerun`), or with `prev_dir` set to this folder: it goes on from there",
        )

    def _attempt(self, calc: Any, atoms: Atoms, settings: GpawAttempt, origin: str) -> bool:
        """Run one cycle, record it, and return whether its solution is accepted."""
        started = time.perf_counter()
        energies: list[float] = []
        message: str | None
        try:
            self._iterate(calc, atoms, energies)
            message = not_a_solution(energies, calc, self.protocol, settings.smearing_eV)
        except _failures() as error:
            message = _reason(error)
        except MemoryError as error:
            raise EngineError(
                f"{self.structure.formula}: GPAW ran out of memory.",
                mend=f"see {self.output}; use a machine with more memory, a smaller cell or mesh",
            ) from error
        self.attempts.append(
            ScfAttempt(
                settings={
                    "mixer": mixer_of(settings, spin_polarised=self.spin_polarised),
                    "smearing_eV": settings.smearing_eV,
                    "max_iterations": settings.max_iterations,
                    "start": origin,
                    "notes": self._notes_on(settings),
                },
                converged=message is None,
                n_iterations=len(energies),
                elapsed_s=time.perf_counter() - started,
                energies=energies,
                message=message,
            )
        )
        return message is None

    def _notes_on(self, settings: GpawAttempt) -> list[str]:
        notes, self._notes = self._notes, []
        first = self.protocol.attempts[0].smearing_eV
        if settings.smearing_eV != first:
            notes = [*notes, f"smearing {settings.smearing_eV} eV, the first attempt had {first} eV"]
        return notes

    def _iterate(self, calc: Any, atoms: Atoms, energies: list[float]) -> None:
        """Iterate to convergence, with a checkpoint now and then and a stop at the walltime."""
        from ase.units import Ha

        for step in calc.iconverge(atoms):
            energy = float(step.energies.total_extrapolated) * Ha
            if not math.isfinite(energy):
                raise FloatingPointError(f"the energy is {energy}")
            energies.append(energy)
            if self.clock.expired:
                self._save(calc, atoms)
                raise self._out_of_time()
            if time.perf_counter() - self._checkpoint > _CHECKPOINT_S:
                self._save(calc, atoms)


def _failures() -> tuple[type[BaseException], ...]:
    from gpaw import KohnShamConvergenceError

    return (KohnShamConvergenceError, *_BREAKDOWNS)


def _reason(error: BaseException) -> str:
    from gpaw import KohnShamConvergenceError

    if isinstance(error, KohnShamConvergenceError):
        return str(error) or "criteria not met"
    return f"{_BROKE_DOWN} ({type(error).__name__}: {error})"


def unused_path(path: Path) -> Path:
    """Return the path, with a number from 2 before its suffix if there is such a file: no attempt's output is lost."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
