"""Climbing-image nudged elastic band between two relaxed end points."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.mep import NEB
from ase.optimize import FIRE
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.errors import NotConvergedError, StructureError


@dataclass(frozen=True)
class MinimumEnergyPath:
    """A converged path: energies in eV relative to the initial state, lengths in angstrom."""

    images: list[Structure]
    energies: list[float]
    reaction_coordinate: list[float]
    max_force: float
    n_steps: int
    n_force_calls: int
    elapsed_s: float

    @property
    def forward_barrier(self) -> float:
        """Highest image minus initial state, in eV; at least 0."""
        return max(self.energies)

    @property
    def reverse_barrier(self) -> float:
        """Highest image minus final state, in eV; at least 0."""
        return max(self.energies) - self.energies[-1]


class _ImageCalculator(Calculator):
    """Energy and forces of a shared calculator, remembered for one image and counted.

    One calculator shared by all images forgets each image for the next, and the band asks for the
    same energies and forces many times a step: it would be called five times as often.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, inner: Calculator) -> None:
        super().__init__()
        self.inner = inner
        self.calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        copy = atoms.copy()
        copy.calc = self.inner
        forces = np.array(copy.get_forces(), dtype=float)
        energy = float(copy.get_potential_energy())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def find_saddle(
    initial: Structure,
    final: Structure,
    calculator: Calculator,
    *,
    n_images: int = 3,
    fmax: float = 0.05,
    max_steps: int = 200,
    spring: float = 0.5,
) -> MinimumEnergyPath:
    """Return the minimum-energy path over the saddle between two relaxed states in a fixed cell.

    Climbing-image NEB (doi:10.1063/1.1329672) with improved tangents (doi:10.1063/1.1323224) from an
    image-dependent pair-potential start (doi:10.1063/1.4878664). The band first relaxes without
    climbing to ten times ``fmax``, then with it.

    Parameters
    ----------
    initial, final
        Same atoms in the same order; final coordinates are the images the path leads to.
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom; shared by all images.
    n_images
        Moving images, odd values put one near the middle.
    fmax
        Convergence of the force perpendicular to the path, and of the full force on the climbing
        image, in eV/angstrom.
    max_steps
        Optimiser steps in all.
    spring
        Spring constant in eV/angstrom^2.

    Raises
    ------
    NotConvergedError
        If forces stay above ``fmax``, or no image lies above both ends.
    StructureError
        If the end points hold different atoms.
    """
    if [s.specie for s in initial] != [s.specie for s in final]:
        raise StructureError(f"{initial.formula}: the end points hold different atoms or another order.")
    started = time.perf_counter()
    band = _interpolate(initial, final, n_images)
    for image in band:
        image.calc = _ImageCalculator(calculator)
    neb = NEB(band, k=spring, climb=False, method="improvedtangent")
    n_steps = 0
    for climb, limit in ((False, 10 * fmax), (True, fmax)):
        neb.climb = climb
        optimiser = FIRE(neb, logfile=None, maxstep=0.1)
        converged = optimiser.run(fmax=limit, steps=max_steps - n_steps)
        n_steps += optimiser.nsteps
    max_force = float(np.sqrt((neb.get_forces() ** 2).sum(axis=1).max()))
    energies = np.array([image.get_potential_energy() for image in band])
    energies -= energies[0]
    if not converged or not np.all(np.isfinite(energies)):
        raise NotConvergedError(
            f"{initial.formula}: saddle search stopped after {n_steps} steps with a force of {max_force:.3f} "
            f"eV/angstrom, expected at most {fmax}.",
            mend="raise `max_steps` of the protocol",
        )
    if max(energies[1:-1]) <= max(energies[0], energies[-1]):
        raise NotConvergedError(
            f"{initial.formula}: no image lies above both end points; one of them is not a minimum of this hop.",
            mend="relax the end points further",
        )
    return MinimumEnergyPath(
        images=[AseAtomsAdaptor.get_structure(image) for image in band],
        energies=[float(e) for e in energies],
        reaction_coordinate=_path_length(band),
        max_force=max_force,
        n_steps=n_steps,
        n_force_calls=sum(image.calc.calls for image in band),
        elapsed_s=time.perf_counter() - started,
    )


def _interpolate(initial: Structure, final: Structure, n_images: int) -> list[Atoms]:
    """Return the band with IDPP-interpolated images; coordinates are not wrapped."""

    def atoms_of(structure: Structure) -> Atoms:
        return Atoms(
            [s.specie.symbol for s in structure],
            positions=structure.lattice.get_cartesian_coords(structure.frac_coords),
            cell=structure.lattice.matrix,
            pbc=True,
        )

    first, last = atoms_of(initial), atoms_of(final)
    band = [first, *(first.copy() for _ in range(n_images)), last]
    NEB(band, method="improvedtangent").interpolate(method="idpp", mic=False)
    return band


def _path_length(band: list[Atoms]) -> list[float]:
    """Return the length of the path up to each image, in angstrom, shape=(n_images + 2,)."""
    steps = [np.linalg.norm(b.positions - a.positions) for a, b in pairwise(band)]
    return [0.0, *(float(x) for x in np.cumsum(steps))]
