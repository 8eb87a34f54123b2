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

#: The saddle is pushed along its mode in steps of this, in angstrom, until the mode leads downhill; a relaxation
#: that began on the flat top would stop there.
_PUSH = 0.15
_MAX_PUSHES = 6
#: Passes looked at on the way from one vacancy to the next: with intermediate minima the highest is not always the
#: one that the hopping atom crosses the middle by.
MAX_PASSES = 3
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
    """Minimum, saddle, minimum: energies in eV relative to the first (itself in eV per cell), lengths in angstrom."""

    images: list[Structure]
    energies: list[float]
    initial_energy: float
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
    fixed end points does not converge; where that does converge, both give the same saddle. If the highest
    pass leads between intermediate minima on one side of the hop, the search goes on between the one nearer
    the middle and the end point beyond it.

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
    counter = _Counter(calculator)
    first, last = _unwrapped(initial), _unwrapped(final)
    progress = _Progress(first, last)
    n_steps = 0
    found = []
    for _ in range(MAX_PASSES):
        band, band_steps = _relax_band(first, last, counter, settings)
        saddle = _climb(band, settings)
        n_steps += band_steps + saddle.n_steps
        if not saddle.converged:
            raise NotConvergedError(
                f"{initial.formula}: saddle search stopped after {saddle.n_steps} steps with a force of "
                f"{saddle.max_force:.3f} eV/angstrom and a curvature of {saddle.curvature:.1f} eV/angstrom^2.",
                mend="raise `max_steps` of the protocol",
            )
        before, after = sorted(_minima_beside(saddle, band[0], counter, settings.fmax), key=progress)
        if progress(before) < 0.5 < progress(after):
            images, energies, lengths = _path(before, saddle, after)
            return MinimumEnergyPath(
                images=images,
                energies=energies,
                initial_energy=float(before.get_potential_energy()),
                reaction_coordinate=lengths,
                max_force=saddle.max_force,
                n_steps=n_steps,
                n_force_calls=counter.calls,
                elapsed_s=time.perf_counter() - started,
            )
        # Another pass of the same way, between intermediate minima: the middle is crossed before it or after it.
        found.append(f"{progress(before):.0%} to {progress(after):.0%}")
        first, last = (first, before) if progress(before) >= 0.5 else (after, last)
    raise NotConvergedError(
        f"{initial.formula}: none of the saddles found takes the hopping atom past the middle; "
        f"they lead from {', from '.join(found)} of its way."
    )


class _Counter:
    """A calculator shared by many images, and how often it was called."""

    def __init__(self, calculator: Calculator) -> None:
        self.calculator = calculator
        self.calls = 0


class _ImageCalculator(Calculator):
    """Energy and forces of a shared calculator, remembered for one image and counted.

    One calculator shared by all images forgets each image for the next, and the band asks for the
    same energies and forces many times a step: it would be called five times as often.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self.counter = counter

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.counter.calls += 1
        copy = atoms.copy()
        copy.calc = self.counter.calculator
        forces = np.array(copy.get_forces(), dtype=float)
        energy = float(copy.get_potential_energy())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


class _Progress:
    """How far along its hop the hopping atom is: 0 at the first state, 1 at the last."""

    def __init__(self, first: Atoms, last: Atoms) -> None:
        displacement = last.positions - first.positions
        self.mover = int(np.argmax(np.linalg.norm(displacement, axis=1)))
        self.start, self.hop = first.positions[self.mover].copy(), displacement[self.mover]

    def __call__(self, atoms: Atoms) -> float:
        return float((atoms.positions[self.mover] - self.start) @ self.hop / (self.hop @ self.hop))


def _relax_band(first: Atoms, last: Atoms, counter: _Counter, settings: SaddleSearch) -> tuple[list[Atoms], int]:
    """Return the band between two states, relaxed loosely, and the steps it took."""
    band = [first.copy(), *(first.copy() for _ in range(settings.n_images)), last.copy()]
    neb = NEB(band, k=settings.spring, climb=False, method="improvedtangent")
    neb.interpolate(method="idpp", mic=False)
    for image in band:
        image.calc = _ImageCalculator(counter)
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


def _minima_beside(saddle: SaddlePoint, like: Atoms, counter: _Counter, fmax: float) -> list[Atoms]:
    """Return the two minima that relaxations down either side of a saddle end in."""
    minima = []
    for mode in (-saddle.mode, saddle.mode):
        atoms = like.copy()
        atoms.positions = saddle.positions
        atoms.calc = _ImageCalculator(counter)
        for _ in range(_MAX_PUSHES):
            atoms.positions += _PUSH * mode
            if float((atoms.get_forces() * mode).sum()) > 3 * fmax:
                break
        # Tighter than the saddle: a flat shelf below it is not a minimum.
        if not FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=fmax / 2, steps=_QUENCH_STEPS):
            raise NotConvergedError(f"{atoms.get_chemical_formula()}: the minimum beside the saddle did not relax.")
        minima.append(atoms)
    return minima


def _unwrapped(structure: Structure) -> Atoms:
    """Return ASE atoms with the coordinates as they are, not wrapped into the cell."""
    return Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.lattice.get_cartesian_coords(structure.frac_coords),
        cell=structure.lattice.matrix,
        pbc=True,
    )


def _path(before: Atoms, saddle: SaddlePoint, after: Atoms) -> tuple[list[Structure], list[float], list[float]]:
    """Return the states over a saddle, their energies relative to the first, and the lengths up to each."""
    top = before.copy()
    top.positions = saddle.positions
    states = [before, top, after]
    energies = np.array([before.get_potential_energy(), saddle.energy, after.get_potential_energy()])
    if not np.all(np.isfinite(energies)) or energies[1] <= max(energies[0], energies[2]):
        raise NotConvergedError(f"{before.get_chemical_formula()}: the saddle does not lie above the minima beside it.")
    lengths = np.cumsum([0.0, *(np.linalg.norm(b.positions - a.positions) for a, b in pairwise(states))])
    images = [AseAtomsAdaptor.get_structure(atoms) for atoms in states]
    return images, [float(e) for e in energies - energies[0]], [float(x) for x in lengths]
