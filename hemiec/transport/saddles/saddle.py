"""The saddle point between two neighbouring minima, with as few force calls as it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pymatgen.core import Structure
from scipy.optimize import least_squares

from hemiec.errors import NotConvergedError
from hemiec.transport.saddles.forces import ForceCalls
from hemiec.transport.saddles.minimum_mode import follow_minimum_mode
from hemiec.transport.saddles.nudged_band import climbing_image_band, loose_band
from hemiec.transport.saddles.path import (
    FloatArray,
    MinimumEnergyPath,
    Progress,
    State,
    check_same_atoms,
    profile,
    structure_of,
    unwrapped,
)
from hemiec.transport.saddles.quasi_newton import Enough, Stationary, climb, largest, minimise, spring_hessian

QUICK, FROM_BAND = "eigenvector following", "search from the top of a band"
#: Passes looked at on the way from one vacancy to the next.
MAX_PASSES = 3
#: The cubic through two energies and their slopes falls all the way to a flat end if force times way is at most three
#: times the drop; a little more is the jitter of the potential.
_MONOTONE = 3.5
#: From farther than this share of the hop no energy and slope tell what lies between.
_FAR = 0.4
#: Two relaxations that end within this (angstrom for every atom; eV) are in the same minimum.
SAME_PLACE, SAME_ENERGY = 0.3, 0.01
#: A relaxation that ends with the hopping atom within this share of the hop from the end point is at that site; from
#: farther away the energy is looked at on the straight way there.
_SAME_SITE, _WAY_ON = 0.2, (0.25, 0.5, 0.75)
#: The saddle is pushed along its mode in steps of this, in angstrom, until the mode leads downhill.
_PUSH, _MAX_PUSHES = 0.15, 6
_QUENCH_CALLS = 150
#: Nearest neighbours of the hopping atom that place it on its way, in angstrom.
_NEIGHBOURHOOD = 5.0


@dataclass(frozen=True)
class SaddleSearch:
    """Settings; forces in eV/angstrom, spring constants in eV/angstrom^2, energies in eV.

    ``fmax`` and ``energy_tolerance`` end every search, ``quick_calls`` bounds the first one. The band of ``n_images``
    that a second one starts from is relaxed to ``band_fmax`` in ``band_max_steps`` at most, with springs of
    ``spring``; minimum-mode following from it takes ``max_steps`` at most. The last resort is a climbing-image band of
    ``climbing_images`` and ``climbing_max_steps``; none if that is 0. With ``quench`` every saddle is followed down to
    both minima by full relaxations, which doubles the calls and now and then finds a lower one.
    """

    n_images: int = 3
    band_fmax: float = 0.5
    band_max_steps: int = 30
    spring: float = 0.5
    fmax: float = 0.05
    max_steps: int = 80
    energy_tolerance: float = 0.002
    quick_calls: int = 60
    climbing_images: int = 5
    climbing_max_steps: int = 80
    quench: bool = False


def find_saddle(
    initial: Structure,
    final: Structure,
    calculator: Calculator | ForceCalls,
    settings: SaddleSearch | None = None,
    *,
    relaxed: tuple[float, float] | None = None,
) -> MinimumEnergyPath:
    """Return the saddle between two states and the minima it connects, in a fixed cell.

    States that are not relaxed are relaxed first. Three searches are tried, the next when one fails:

    1. Eigenvector following (:func:`~hemiec.transport.saddles.quasi_newton.climb`) from half-way between the two
       minima, the hopping atom where the distances to its neighbours are half-way too. Half-way down from the saddle
       to either minimum energy and force must lead on to that minimum; where they do not, a relaxation tells where the
       saddle leads to.
    2. The same from the highest image of a loosely relaxed band, then minimum-mode following
       (:func:`~hemiec.transport.saddles.minimum_mode.follow_minimum_mode`) from there, and relaxations to both sides.
       If that pass leads between intermediate minima on one side of the hop, the search goes on beyond, and the
       highest of the passes counts.
    3. A climbing-image band (:func:`hemiec.transport.saddles.nudged_band.climbing_image_band`).

    The minima of the path are those looked for, or others at the same two sites if that is where the saddle leads.

    Parameters
    ----------
    initial, final
        Same atoms in the same order; final coordinates are the images the path leads to.
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom, or one that is counted already.
    settings
        Convergence and limits; default SaddleSearch().
    relaxed
        Energies in eV of end points that are relaxed already; by default they are looked at, and relaxed if they are
        not.

    Raises
    ------
    NotConvergedError
        If no saddle is found, or those found belong to other hops; says what each search ended in.
    StructureError
        If the end points hold different atoms or cells.
    """
    check_same_atoms(initial, final)
    settings = settings or SaddleSearch()
    started = time.perf_counter()
    counter = calculator if isinstance(calculator, ForceCalls) else ForceCalls(calculator)
    calls, seconds = counter.calls, counter.seconds
    search = _Search(unwrapped(initial), counter, settings)
    ends = [unwrapped(structure).positions for structure in (initial, final)]
    if relaxed is None:
        first, last = (search.relaxed(positions) for positions in ends)
    else:
        first, last = (State(positions, energy) for positions, energy in zip(ends, relaxed, strict=True))
    attempts: list[str] = []
    for attempt in (search.quick, search.from_band, search.climbing_band):
        try:
            path = attempt(first, last)
        except NotConvergedError as error:
            attempts.append(error.message)
            continue
        return replace(
            path,
            n_force_calls=counter.calls - calls,
            elapsed_s=time.perf_counter() - started,
            seconds_in_calls=counter.seconds - seconds,
            attempts=attempts,
        )
    raise NotConvergedError(" ".join(attempts), mend="raise the limits of the protocol's `saddle`")


class _Search:
    """The three searches between two minima of the same atoms."""

    def __init__(self, atoms: Atoms, counter: ForceCalls, settings: SaddleSearch) -> None:
        self.atoms, self.counter, self.settings = atoms, counter, settings
        self.name = atoms.get_chemical_formula()

    def evaluate(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Return energy and gradient, as quasi-Newton searches want them."""
        energy, forces = self.counter(self.atoms, positions)
        return energy, -forces.ravel()

    def _at(self, positions: FloatArray) -> Atoms:
        atoms = self.atoms.copy()
        atoms.positions = positions.reshape(-1, 3)
        return atoms

    def relaxed(self, positions: FloatArray) -> State:
        """Return the minimum below; positions that are one already cost one call."""
        found = self._quench(positions, self.settings.fmax)
        return State(found.positions.reshape(-1, 3), found.energy)

    def quick(self, first: State, last: State) -> MinimumEnergyPath:
        """Return the path by eigenvector following from half-way, checked to lead to both minima."""
        progress = Progress(first.positions, last.positions)
        start = half_way(self.atoms, first.positions, last.positions, progress.mover)
        saddle = self._climb(start, last.positions - first.positions, self.settings.quick_calls)
        reach = _FAR * float(np.linalg.norm(progress.hop))
        before, after = (self._minimum_towards(saddle, end, reach) for end in (first, last))
        here, there = progress(before.positions), progress(after.positions)
        if not here < 0.5 < there:
            raise NotConvergedError(f"{self.name}: the saddle found leads from {here:.0%} to {there:.0%} of the hop.")
        for way, found, end in ((here, before, first), (1 - there, after, last)):
            if way > _SAME_SITE:
                self._no_higher_pass(saddle, found, end)
        return self._path(before, saddle, after, QUICK)

    def from_band(self, first: State, last: State) -> MinimumEnergyPath:
        """Return the path by a search from a band's highest image, with the minima below its saddle."""
        settings = self.settings
        progress = Progress(first.positions, last.positions)
        passes: list[Stationary] = []
        outer: dict[str, State] = {}
        for _ in range(MAX_PASSES):
            top, tangent = loose_band(
                self._at(first.positions),
                self._at(last.positions),
                self.counter,
                n_images=settings.n_images,
                spring=settings.spring,
                fmax=settings.band_fmax,
                max_steps=settings.band_max_steps,
            )
            passes.append(self._follow(top, tangent))
            before, after = sorted(self._minima_beside(passes[-1]), key=lambda state: progress(state.positions))
            here, there = progress(before.positions), progress(after.positions)
            if here < 0.5 < there:
                highest = max(passes, key=lambda saddle: saddle.energy)
                return self._path(outer.get("before", before), highest, outer.get("after", after), FROM_BAND)
            # A pass between intermediate minima: there is another one on the far side of the middle.
            if there <= 0.5:
                outer.setdefault("before", before)
                first = after
            else:
                outer.setdefault("after", after)
                last = before
        raise NotConvergedError(f"{self.name}: {MAX_PASSES} passes found, none takes the hopping atom past the middle.")

    def climbing_band(self, first: State, last: State) -> MinimumEnergyPath:
        """Return the path of a climbing-image band between the two minima."""
        settings = self.settings
        if not settings.climbing_images:
            raise NotConvergedError(f"{self.name}: no climbing-image band was asked for.")
        return climbing_image_band(
            structure_of(self.atoms, first.positions),
            structure_of(self.atoms, last.positions),
            self.counter,
            n_images=settings.climbing_images,
            fmax=settings.fmax,
            spring=settings.spring,
            max_steps=settings.climbing_max_steps,
        )

    def _climb(self, start: FloatArray, mode: FloatArray, max_calls: int) -> Stationary:
        saddle = climb(
            self.evaluate,
            start.ravel(),
            mode.ravel(),
            spring_hessian(self._at(start)),
            fmax=self.settings.fmax,
            energy_tolerance=self.settings.energy_tolerance,
            max_calls=max_calls,
        )
        if not saddle.converged:
            raise NotConvergedError(
                f"{self.name}: eigenvector following stopped after {max_calls} calls with a force of "
                f"{saddle.max_force:.3f} eV/angstrom and a curvature of {saddle.curvature:.1f} eV/angstrom^2."
            )
        return saddle

    def _follow(self, start: FloatArray, mode: FloatArray) -> Stationary:
        try:
            return self._climb(start, mode, self.settings.quick_calls)
        except NotConvergedError:
            found = follow_minimum_mode(
                lambda positions: self.counter(self.atoms, positions),
                start,
                mode,
                fmax=self.settings.fmax,
                max_steps=self.settings.max_steps,
            )
        if not found.converged:
            raise NotConvergedError(
                f"{self.name}: minimum-mode following stopped after {found.n_steps} steps with a force of "
                f"{found.max_force:.3f} eV/angstrom and a curvature of {found.curvature:.1f} eV/angstrom^2."
            )
        gradient = -self.counter(self.atoms, found.positions)[1].ravel()
        return Stationary(
            found.positions.ravel(), found.energy, gradient, found.mode.ravel(), found.curvature, 0.0, True
        )

    def _quench(self, positions: FloatArray, fmax: float, enough: Enough | None = None) -> Stationary:
        """Return the minimum below, or where ``enough`` was seen of the way there, not converged."""
        found = minimise(
            self.evaluate,
            positions.ravel(),
            spring_hessian(self._at(positions)),
            fmax=fmax,
            energy_tolerance=self.settings.energy_tolerance,
            max_calls=_QUENCH_CALLS,
            enough=enough,
        )
        if not found.converged and not (enough and enough(found.positions, found.energy, found.gradient)):
            raise NotConvergedError(
                f"{self.name}: a relaxation to a minimum stopped after {_QUENCH_CALLS} calls with a force of "
                f"{found.max_force:.3f} eV/angstrom."
            )
        return found

    def _minimum_towards(self, saddle: Stationary, end: State, reach: float) -> State:
        """Return the minimum that a saddle leads to on the side of an end point: that one, if it can be seen."""
        target = end.positions.ravel()

        def falls_to_end(x: FloatArray, energy: float, gradient: FloatArray) -> bool:
            work = -float(gradient @ (target - x))
            return largest(target - x) < reach and 0 < work < _MONOTONE * (energy - end.energy)

        half = (saddle.positions + target) / 2
        energy, gradient = self.evaluate(half)
        if not self.settings.quench and energy < saddle.energy and falls_to_end(half, energy, gradient):
            return end
        start = half if energy < saddle.energy else self._downhill(saddle, target - saddle.positions)
        found = self._quench(start, self.settings.fmax, enough=None if self.settings.quench else falls_to_end)
        same = largest(found.positions - target) < SAME_PLACE and found.energy > end.energy - SAME_ENERGY
        if same or not found.converged:
            return end
        return State(found.positions.reshape(-1, 3), found.energy)

    def _no_higher_pass(self, saddle: Stationary, found: State, end: State) -> None:
        """Refuse a path whose minimum is not at the end point's site, unless the way on stays below the saddle."""
        if found.energy < end.energy - SAME_ENERGY:
            return
        for share in _WAY_ON:
            between = found.positions + share * (end.positions - found.positions)
            if self.evaluate(between)[0] > saddle.energy:
                raise NotConvergedError(f"{self.name}: the saddle found leads to a minimum within the hop.")

    def _minima_beside(self, saddle: Stationary) -> list[State]:
        """Return the two minima that relaxations down either side of a saddle end in."""
        minima = []
        for sign in (-1.0, 1.0):
            # Tighter than the saddle: a flat shelf below it is not a minimum.
            found = self._quench(self._downhill(saddle, sign * saddle.mode), self.settings.fmax / 2)
            minima.append(State(found.positions.reshape(-1, 3), found.energy))
        return minima

    def _downhill(self, saddle: Stationary, way: FloatArray) -> FloatArray:
        """Return where the saddle's mode, turned to the side of ``way``, has begun to lead downhill."""
        mode = saddle.mode * np.copysign(1.0, saddle.mode @ way)
        positions = saddle.positions
        for _ in range(_MAX_PUSHES):
            positions = positions + _PUSH * mode
            if -float(self.evaluate(positions)[1] @ mode) > 3 * self.settings.fmax:
                break
        return positions

    def _path(self, before: State, saddle: Stationary, after: State, method: str) -> MinimumEnergyPath:
        top = State(saddle.positions.reshape(-1, 3), saddle.energy)
        images, energies, lengths = profile(self.atoms, [before, top, after])
        return MinimumEnergyPath(
            images=images,
            energies=energies,
            initial_energy=before.energy,
            reaction_coordinate=lengths,
            max_force=saddle.max_force,
            n_force_calls=0,
            elapsed_s=0.0,
            seconds_in_calls=0.0,
            method=method,
            curvature=saddle.curvature,
        )


def half_way(atoms: Atoms, first: FloatArray, last: FloatArray, mover: int) -> FloatArray:
    """Return positions half-way between two states, shape=(n_atoms, 3), the hopping atom on its curved path.

    All others are at their mean position; the hopping atom is where its distances to them are nearest to the mean of
    those in the two states, weighted by distance^-4 (doi:10.1063/1.4878664, eq. 6).
    """
    middle = (first + last) / 2
    cells = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T @ np.array(atoms.cell)
    others = np.delete(np.arange(len(atoms)), mover)

    def neighbours(positions: FloatArray) -> FloatArray:
        return (positions[others, None] + cells[None]).reshape(-1, 3)

    ends = [np.linalg.norm(neighbours(x) - x[mover], axis=1) for x in (first, last)]
    wanted = (ends[0] + ends[1]) / 2
    around = neighbours(middle)
    near = np.linalg.norm(around - middle[mover], axis=1) < _NEIGHBOURHOOD
    around, wanted = around[near], wanted[near]
    if len(wanted):
        fit = least_squares(lambda x: (np.linalg.norm(around - x, axis=1) - wanted) / wanted**2, middle[mover])
        middle[mover] = fit.x
    return middle
