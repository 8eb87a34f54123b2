"""The saddle point between two vacancy positions, and the two minima it connects."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.mep import NEB
from ase.optimize import FIRE
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.errors import NotConvergedError, StructureError
from hemiec.transport.minimum_mode import SaddlePoint, follow_minimum_mode

#: The saddle is pushed along its mode in steps of this, in angstrom, until it feels a force on its way down; a
#: relaxation that began on the flat top would stop there.
_PUSH = 0.15
_MAX_PUSHES = 6
_QUENCH_STEPS = 300


@dataclass(frozen=True)
class SaddleSearch:
    """Settings of the search; forces in eV/angstrom, the spring constant in eV/angstrom^2."""

    n_images: int = 3
    band_fmax: float = 0.3
    band_max_steps: int = 60
    spring: float = 0.5
    fmax: float = 0.05
    max_steps: int = 200


@dataclass(frozen=True)
class MinimumEnergyPath:
    """Minimum, saddle, minimum: energies in eV relative to the first, lengths in angstrom."""

    images: list[Structure]
    energies: list[float]
    reaction_coordinate: list[float]
    max_force: float
    n_steps: int
    n_force_calls: int
    elapsed_s: float

    @property
    def forward_barrier(self) -> float:
        """Saddle minus first minimum, in eV."""
        return max(self.energies)

    @property
    def reverse_barrier(self) -> float:
        """Saddle minus last minimum, in eV."""
        return max(self.energies) - self.energies[-1]


def find_saddle(
    initial: Structure, final: Structure, calculator: Calculator, settings: SaddleSearch | None = None
) -> MinimumEnergyPath:
    """Return the saddle between two relaxed states in a fixed cell, with the two minima it connects.

    A short nudged elastic band (improved tangents, doi:10.1063/1.1323224; image-dependent pair potential
    start, doi:10.1063/1.4878664) locates the pass; minimum-mode following from its highest image finds
    the saddle; relaxations from both sides of it give the minima. In tilted perovskites these can lie
    lower than the states the search began with, where a climbing-image band (doi:10.1063/1.1329672) between
    fixed end points does not converge; where that does converge, both give the same saddle.

    Parameters
    ----------
    initial, final
        Same atoms in the same order; final coordinates are the images the path leads to.
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom; shared by all images.
    settings
        Band and convergence; default SaddleSearch().

    Raises
    ------
    NotConvergedError
        If no saddle is found, or the one found belongs to another hop.
    StructureError
        If the end points hold different atoms.
    """
    if [s.specie for s in initial] != [s.specie for s in final]:
        raise StructureError(f"{initial.formula}: the end points hold different atoms or another order.")
    settings = settings or SaddleSearch()
    started = time.perf_counter()
    band, band_steps = _relax_band(initial, final, calculator, settings)
    saddle = _climb(band, settings)
    if not saddle.converged:
        raise NotConvergedError(
            f"{initial.formula}: saddle search stopped after {saddle.n_steps} steps with a force of "
            f"{saddle.max_force:.3f} eV/angstrom and a curvature of {saddle.curvature:.1f} eV/angstrom^2.",
            mend="raise `max_steps` of the protocol",
        )
    hop = band[-1].positions - band[0].positions
    direction = float(np.sign((saddle.mode * hop).sum())) or 1.0
    at_saddle = band[0].copy()
    at_saddle.positions = saddle.positions
    ends = []
    for sign in (-direction, direction):
        end = at_saddle.copy()
        end.calc = _ImageCalculator(calculator)
        _descend(end, sign * saddle.mode, settings.fmax)
        ends.append(end)
    _require_the_hop(initial.formula, band, ends)
    path = [ends[0], at_saddle, ends[1]]
    energies = np.array([ends[0].get_potential_energy(), saddle.energy, ends[1].get_potential_energy()])
    if not np.all(np.isfinite(energies)) or energies[1] <= max(energies[0], energies[2]):
        raise NotConvergedError(f"{initial.formula}: the saddle does not lie above the minima beside it.")
    return MinimumEnergyPath(
        images=[AseAtomsAdaptor.get_structure(atoms) for atoms in path],
        energies=[float(e) for e in energies - energies[0]],
        reaction_coordinate=_path_length(path),
        max_force=saddle.max_force,
        n_steps=band_steps + saddle.n_steps,
        n_force_calls=sum(atoms.calc.calls for atoms in (*band, *ends)),
        elapsed_s=time.perf_counter() - started,
    )


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

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        copy = atoms.copy()
        copy.calc = self.inner
        forces = np.array(copy.get_forces(), dtype=float)
        energy = float(copy.get_potential_energy())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def _relax_band(
    initial: Structure, final: Structure, calculator: Calculator, settings: SaddleSearch
) -> tuple[list[Atoms], int]:
    """Return the band between two states, relaxed loosely, and the steps it took."""
    first, last = _unwrapped(initial), _unwrapped(final)
    band = [first, *(first.copy() for _ in range(settings.n_images)), last]
    neb = NEB(band, k=settings.spring, climb=False, method="improvedtangent")
    neb.interpolate(method="idpp", mic=False)
    for image in band:
        image.calc = _ImageCalculator(calculator)
    optimiser = FIRE(neb, logfile=None, maxstep=0.1)
    optimiser.run(fmax=settings.band_fmax, steps=settings.band_max_steps)
    return band, int(optimiser.nsteps)


def _climb(band: list[Atoms], settings: SaddleSearch) -> SaddlePoint:
    """Return the saddle that minimum-mode following reaches from the band's highest image."""
    energies = [image.get_potential_energy() for image in band]
    top = 1 + int(np.argmax(energies[1:-1]))
    image = band[top]
    # The improved tangent of the highest image points to its higher neighbour.
    before, after = image.positions - band[top - 1].positions, band[top + 1].positions - image.positions
    tangent = after if energies[top + 1] > energies[top - 1] else before

    def evaluate(positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        image.positions = positions
        return float(image.get_potential_energy()), np.array(image.get_forces())

    return follow_minimum_mode(evaluate, image.positions, tangent, fmax=settings.fmax, max_steps=settings.max_steps)


def _descend(atoms: Atoms, mode: NDArray[np.float64], fmax: float) -> None:
    """Relax atoms from a saddle down the side that ``mode`` points to, in place."""
    for _ in range(_MAX_PUSHES):
        atoms.positions += _PUSH * mode
        if np.linalg.norm(atoms.get_forces(), axis=1).max() > 3 * fmax:
            break
    if not FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=fmax, steps=_QUENCH_STEPS):
        raise NotConvergedError(f"{atoms.get_chemical_formula()}: the minimum beside the saddle did not relax.")


def _require_the_hop(formula: str, band: list[Atoms], ends: list[Atoms]) -> None:
    """Raise NotConvergedError unless the hopping atom starts and ends where the hop says."""
    displacement = band[-1].positions - band[0].positions
    mover = int(np.argmax(np.linalg.norm(displacement, axis=1)))
    hop = displacement[mover]
    progress = [float((end.positions[mover] - band[0].positions[mover]) @ hop / (hop @ hop)) for end in ends]
    if not (progress[0] < 0.5 < progress[1]):
        raise NotConvergedError(
            f"{formula}: the saddle found belongs to another motion: the minima beside it have the hopping atom at "
            f"{progress[0]:.0%} and {progress[1]:.0%} of the way."
        )


def _unwrapped(structure: Structure) -> Atoms:
    """Return ASE atoms with the coordinates as they are, not wrapped into the cell."""
    return Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.lattice.get_cartesian_coords(structure.frac_coords),
        cell=structure.lattice.matrix,
        pbc=True,
    )


def _path_length(path: list[Atoms]) -> list[float]:
    """Return the length of the path up to each image, in angstrom."""
    return [0.0, *(float(x) for x in np.cumsum([np.linalg.norm(b.positions - a.positions) for a, b in pairwise(path)]))]
