"""DFT energies along a path that a cheaper engine found, and a few DFT steps of its saddle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.engines.gpaw.calculator import atoms_of, datasets_of, versions
from hemiec.engines.gpaw.gap import first_start, need_energies
from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.gpaw.relax import LadderCalculator
from hemiec.engines.gpaw.scf import Scf
from hemiec.engines.magnetism import initial_moments
from hemiec.errors import StructureError
from hemiec.schemas.calculations import DftSaddleDoc, ScfAttempt
from hemiec.transport.saddles.minimum_mode import SaddlePoint, follow_minimum_mode

Array = NDArray[np.float64]

#: Force at which a saddle counts as found if the protocol does not relax, in eV/angstrom.
_FMAX = 0.05


def saddle_energies(
    images: list[Structure],
    protocol: GpawProtocol,
    *,
    start: str | None = None,
    folder: Path | None = None,
    previous: Path | None = None,
) -> DftSaddleDoc:
    """Return DFT energies of initial minimum, saddle and final minimum, and the barriers between them.

    All images have the same starting moments, site by site, and each goes on from the density before, so that the
    energies belong to one magnetic solution. With ``saddle_steps`` in the protocol the saddle is followed on with
    DFT forces by :func:`hemiec.transport.saddles.minimum_mode.follow_minimum_mode`; the minima stay where they are.

    Parameters
    ----------
    images
        Initial minimum, saddle, final minimum: same atoms in the same order and cell.
    protocol
        With comparable energies.
    start
        Magnetic arrangement; None for the protocol's first that the composition can have.
    folder
        Where files go; default the current one.
    previous
        Folder of an interrupted run.

    Raises
    ------
    StructureError
        If there are not three images of the same atoms in the same cell.
    EngineError, NotConvergedError, WalltimeError
        As :func:`hemiec.engines.gpaw.gap.compute_static`.
    """
    need_energies(protocol)
    _check_images(images)
    start = start or first_start(images[0], protocol)
    moments = initial_moments(images[0], start, protocol.spin)
    scf = Scf(
        images[0],
        protocol,
        moments,
        folder=folder or Path.cwd(),
        previous=previous,
        point_group=False,
    )
    run = _Run(scf)
    first, top, last = (atoms_of(image, moments) for image in images)
    tangent = _towards(first, top) + _towards(top, last)
    energies = [run.energy(first), run.energy(top)]
    followed = _follow(run, top, tangent, protocol) if protocol.saddle_steps else None
    if followed is not None:
        energies[1] = run.energy(top)
    forces = run.forces(top)
    at_saddle = run.records[-1]
    energies.append(run.energy(last))
    along = tangent / np.linalg.norm(tangent)
    pull = float((forces * along).sum())
    return DftSaddleDoc(
        forward_barrier=energies[1] - energies[0],
        reverse_barrier=energies[1] - energies[2],
        energies=energies,
        magnetic_start=start,
        initial_moments=scf.moments,
        total_moments=[run.records[0][1], at_saddle[1], run.records[-1][1]],
        saddle=_structure(top, images[1]).as_dict(),
        n_force_calls=run.calculator.scf.n_solved,
        n_saddle_steps=followed.n_steps if followed else 0,
        max_force_at_saddle=float(np.linalg.norm(forces, axis=1).max()),
        force_along_path=pull,
        max_force_across_path=float(np.linalg.norm(forces - pull * along, axis=1).max()),
        converged=energies[1] > max(energies[0], energies[2]),
        saddle_relaxed=followed.converged if followed else None,
        attempts=[run.records[0][0], at_saddle[0], run.records[-1][0]],
        datasets=datasets_of(scf.calc),
        files=scf.files,
        elapsed_s=scf.clock.elapsed_s,
        method=_method(protocol),
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        versions=versions(),
    )


class _Run:
    """Energies and forces of geometries, with the SCF attempts and total moment of each."""

    def __init__(self, scf: Scf) -> None:
        self.calculator = LadderCalculator(scf, with_stress=False)
        self.records: list[tuple[list[ScfAttempt], float]] = []

    def energy(self, atoms: Atoms) -> float:
        """Return the energy in eV."""
        self._solve(atoms)
        return float(self.calculator.results["energy"])

    def forces(self, atoms: Atoms) -> Array:
        """Return the forces in eV/angstrom, shape=(n_atoms, 3)."""
        self._solve(atoms)
        return np.array(self.calculator.results["forces"])

    def _solve(self, atoms: Atoms) -> None:
        solved = self.calculator.scf.n_solved
        atoms.calc = self.calculator
        atoms.get_potential_energy()
        if self.calculator.scf.n_solved > solved:
            scf = self.calculator.scf
            self.records.append((scf.attempts, float(scf.calc.get_magnetic_moment())))


def _follow(run: _Run, top: Atoms, tangent: Array, protocol: GpawProtocol) -> SaddlePoint:
    """Move ``top`` along by the protocol's steps of minimum-mode following on DFT forces."""

    def evaluate(positions: Array) -> tuple[float, Array]:
        top.positions = positions
        return run.energy(top), run.forces(top)

    fmax = protocol.relax.fmax_eV_per_A if protocol.relax else _FMAX
    found = follow_minimum_mode(evaluate, top.positions, tangent, fmax=fmax, max_steps=protocol.saddle_steps)
    top.positions = found.positions
    return found


def _check_images(images: list[Structure]) -> None:
    if len(images) != 3:
        raise StructureError(f"a path has 3 images (minimum, saddle, minimum), got {len(images)}.")
    species = [[site.specie.symbol for site in image] for image in images]
    cells = [image.lattice.matrix for image in images]
    if species[1:] != species[:1] * 2 or any(not np.allclose(cell, cells[0], atol=1e-4) for cell in cells):
        raise StructureError(f"{images[0].formula}: the images hold different atoms, another order or other cells.")


def _towards(here: Atoms, there: Atoms) -> Array:
    """Return the shortest displacement of each atom, in angstrom, shape=(n_atoms, 3)."""
    step = there.get_scaled_positions(wrap=False) - here.get_scaled_positions(wrap=False)
    return np.asarray((step - np.round(step)) @ np.array(here.cell))


def _structure(atoms: Atoms, like: Structure) -> Structure:
    return Structure(like.lattice, like.species, atoms.positions, coords_are_cartesian=True)


def _method(protocol: GpawProtocol) -> str:
    steps = f", {protocol.saddle_steps} DFT steps of the saddle at most" if protocol.saddle_steps else ""
    return f"{protocol.functional} single points at minima and saddle of a path from a cheaper engine{steps}"
