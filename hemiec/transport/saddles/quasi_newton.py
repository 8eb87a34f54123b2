"""Minima and saddle points with a Hessian that is learned from every force call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
#: Energy in eV and gradient (minus forces) in eV/angstrom, shape=(3 n_atoms,), at positions of the same shape.
EnergyAndGradient = Callable[[FloatArray], tuple[float, FloatArray]]
#: Whether a search may end at these positions with this energy and gradient.
Enough = Callable[[FloatArray, float, FloatArray], bool]

#: Springs of the starting Hessian: strength at the shortest bond in eV/angstrom^2, decay with distance over it, reach
#: in angstrom, share of the strength across the bond, and what holds every atom to its place. Chosen by the force calls
#: that relaxations of oxygen vacancies in LaFeO3 and (La,Pr,Nd,Sr,Ba)CoO3 took with CHGNet.
_SPRING, _DECAY, _REACH, _ACROSS, _ANCHOR = 4.0, 3.0, 5.0, 0.03, 0.6
#: Stiffness against moving all atoms together, which changes nothing and is to be left out of every step.
_RIGID = 100.0
#: Curvatures below this, in eV/angstrom^2, are taken as this: softer modes would be sent too far.
_SOFTEST = 0.1
#: The same for the mode that is climbed.
_SOFTEST_MODE = 0.5
#: An energy may rise by this in a step downhill, in eV: potentials with cutoffs jump by as much.
_JUMP = 0.003
#: Shortest and longest step of one atom, in angstrom.
_SHORTEST, _LONGEST = 0.02, 0.3
#: The same uphill, where curvatures are small and those found in a shorter step are mostly jitter of the potential.
_SHORTEST_CLIMB = 0.06
#: A step shorter than this, in angstrom, leads nowhere.
_NOWHERE = 1e-4
#: Finite difference along a mode, in angstrom of all atoms together.
_PROBE = 0.1
#: The mode is looked for among this many of lowest curvature.
_LOWEST = 6
#: Other modes looked at when a saddle is found. One below -_UNSTABLE (eV/angstrom^2) is left by a step of _KICK
#: (angstrom of all atoms together), _KICKS times at most; one above _STIFF says that there is no need to look at more.
#: Weaker instabilities are the host's own, such as the tilts of cubic SrTiO3, and the same at the sites.
_CHECKS, _UNSTABLE, _STIFF, _KICK, _KICKS = 2, 0.4, 1.0, 0.25, 3


@dataclass(frozen=True)
class Stationary:
    """Where a search ended: a minimum with its softest mode, or a saddle with the one of negative curvature.

    Positions, gradient and mode have shape (3 n_atoms,); energy in eV, curvature of the mode in eV/angstrom^2;
    ``remaining`` is the energy in eV that further steps would still change, to second order.
    """

    positions: FloatArray
    energy: float
    gradient: FloatArray
    mode: FloatArray
    curvature: float
    remaining: float
    converged: bool

    @property
    def max_force(self) -> float:
        """Largest force on an atom, in eV/angstrom."""
        return largest(self.gradient)


def largest(vector: FloatArray) -> float:
    """Return the length of the longest of the atoms' vectors in an array of shape (3 n_atoms,)."""
    return float(np.sqrt((vector.reshape(-1, 3) ** 2).sum(axis=1).max()))


def spring_hessian(atoms: Atoms) -> FloatArray:
    """Return a starting Hessian in eV/angstrom^2, shape=(3 n_atoms, 3 n_atoms): springs between neighbours.

    Their strength falls off exponentially with distance over the shortest bond, as in the preconditioner of Packwood
    et al. (doi:10.1063/1.4947024, eq. 9); unlike there they resist stretching far more than turning, which leaves the
    tilts of octahedra soft.
    """
    first, second, distance, vector = neighbor_list("ijdD", atoms, _REACH)
    size = len(atoms)
    hessian = np.zeros((size, size, 3, 3))
    if len(distance):
        along = vector / distance[:, None]
        strength = _SPRING * np.exp(-_DECAY * (distance / distance.min() - 1))
        blocks = strength[:, None, None] * (along[:, :, None] * along[:, None, :] + _ACROSS * np.eye(3))
        np.add.at(hessian, (first, first), blocks)
        np.add.at(hessian, (first, second), -blocks)
    flat = hessian.transpose(0, 2, 1, 3).reshape(3 * size, 3 * size)
    rigid = np.tile(np.eye(3), (size, 1)) / np.sqrt(size)
    return (flat + flat.T) / 2 + _ANCHOR * np.eye(3 * size) + _RIGID * rigid @ rigid.T


def minimise(
    evaluate: EnergyAndGradient,
    positions: FloatArray,
    hessian: FloatArray,
    *,
    fmax: float,
    energy_tolerance: float,
    max_calls: int,
    enough: Enough | None = None,
) -> Stationary:
    """Return the minimum that quasi-Newton steps reach from a start.

    The Hessian is updated by damped BFGS (Nocedal and Wright, Numerical Optimization, procedure 18.2); steps are as
    long as the quadratic model was right about the last one. It ends when no atom feels more than ``fmax``
    (eV/angstrom) and the model promises less than ``energy_tolerance`` (eV): in soft modes forces alone say little.
    ``enough``, asked with positions, energy and gradient of every step, may end it before, unconverged.
    """
    x = np.array(positions, dtype=float)
    energy, gradient = evaluate(x)
    trust = 0.2
    for calls in range(1, max_calls + 1):
        values, vectors = np.linalg.eigh(hessian)
        step = -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), _SOFTEST))
        remaining = -float(gradient @ step) / 2
        if largest(gradient) < fmax and remaining < energy_tolerance:
            return Stationary(x, energy, gradient, vectors[:, 0], float(values[0]), remaining, True)
        if calls == max_calls or (enough is not None and enough(x, energy, gradient)):
            break
        length = largest(step)
        step *= min(1.0, trust / length)
        promised = -float(gradient @ step + step @ hessian @ step / 2)
        new_energy, new_gradient = evaluate(x + step)
        hessian = _damped_bfgs(hessian, step, new_gradient - gradient)
        kept = (energy - new_energy) / max(promised, 1e-9)
        if new_energy < energy + _JUMP:
            x, energy, gradient = x + step, new_energy, new_gradient
            if kept > 0.75 and length > trust:
                trust = min(1.5 * trust, _LONGEST)
            elif kept < 0.25:
                trust = max(min(trust, length) / 2, _SHORTEST)
        else:
            trust = max(min(trust, length) / 3, _SHORTEST)
    return Stationary(x, energy, gradient, vectors[:, 0], float(values[0]), remaining, False)


def climb(
    evaluate: EnergyAndGradient,
    positions: FloatArray,
    mode: FloatArray,
    hessian: FloatArray,
    *,
    fmax: float,
    energy_tolerance: float,
    max_calls: int,
) -> Stationary:
    """Return the saddle that eigenvector following reaches from a start near it.

    One finite difference gives the Hessian along ``mode``. Steps then go uphill along the eigenvector most like the
    mode so far and downhill along all others (Cerjan and Miller, doi:10.1063/1.442352); every force call updates the
    Hessian by TS-BFGS (Bofill, doi:10.1002/qua.10709), which, unlike BFGS, keeps a negative curvature. It ends as
    :func:`minimise`, when finite differences confirm that the mode leads down and find no other that does: up to
    two, each along the eigenvector that looks softest after the one before. A second one that leads down is
    followed there, since the saddle would lie above the pass.
    """
    search = _Climb(evaluate, np.array(positions, dtype=float), mode / np.linalg.norm(mode), hessian)
    while True:
        followed, step, remaining = search.step()
        near = search.curvature < 0 and largest(search.gradient) < fmax and remaining < energy_tolerance
        done = near and search.checked
        stuck = not near and largest(step) < _NOWHERE  # at a minimum, which has no way up
        if done or stuck or search.calls >= max_calls:
            return Stationary(search.x, search.energy, search.gradient, search.mode, search.curvature, remaining, done)
        if near:
            search.check(followed)
        else:
            search.move(step * min(1.0, search.trust / largest(step)))


class _Climb:
    """State of an eigenvector following."""

    def __init__(self, evaluate: EnergyAndGradient, x: FloatArray, mode: FloatArray, hessian: FloatArray) -> None:
        self.evaluate, self.x, self.mode, self.hessian = evaluate, x, mode, hessian
        self.energy, self.gradient = evaluate(x)
        self.trust, self.calls, self.checks, self.kicks = 0.15, 1, 0, 0
        self.curvature = 0.0
        self._diagonalise()
        self._probe(mode)

    @property
    def checked(self) -> bool:
        """Whether enough of the softest modes were looked at since the last step."""
        return self.checks > _CHECKS

    def step(self) -> tuple[int, FloatArray, float]:
        """Return which eigenvector is followed, the step, and the energy in eV that it promises."""
        self._diagonalise()
        values, vectors = self.values, self.vectors
        followed = int(np.argmax(np.abs(vectors[:, :_LOWEST].T @ self.mode)))
        self.mode = vectors[:, followed] * np.copysign(1.0, vectors[:, followed] @ self.mode)
        self.curvature = float(values[followed])
        slopes = vectors.T @ self.gradient
        stiffness = np.maximum(np.abs(values), _SOFTEST)
        along = -slopes / stiffness
        along[followed] = slopes[followed] / max(abs(self.curvature), _SOFTEST_MODE)
        return followed, vectors @ along, float((slopes**2 / stiffness).sum()) / 2

    def move(self, step: FloatArray) -> None:
        """Go a step; how well the Hessian foretold the new gradient sets the length of the next."""
        energy, gradient = self.evaluate(self.x + step)
        self.calls += 1
        change, expected = gradient - self.gradient, self.hessian @ step
        self._update(step, change)
        size = max(float(np.linalg.norm(expected)), float(np.linalg.norm(self.gradient)))
        error = float(np.linalg.norm(change - expected)) / max(size, 1e-3)
        if error < 0.5:
            self.trust = min(1.3 * self.trust, _LONGEST)
        elif error > 1:
            self.trust = max(0.6 * self.trust, _SHORTEST_CLIMB)
        self.x, self.energy, self.gradient, self.checks = self.x + step, energy, gradient, 0

    def check(self, followed: int) -> None:
        """Look at the followed mode, then at the softest others; leave along one that leads down."""
        direction = self.mode if self.checks == 0 else self.vectors[:, int(followed == 0)]
        curvature = self._probe(direction)
        self.checks += 1
        if self.checks > 1 and curvature < -_UNSTABLE and self.kicks < _KICKS:
            self.kicks += 1
            self._diagonalise()
            self.move(-np.copysign(_KICK, self.gradient @ direction) * direction)
        elif self.checks > 1 and curvature > _STIFF:
            self.checks = _CHECKS + 1

    def _probe(self, direction: FloatArray) -> float:
        """Return the curvature along a unit vector in eV/angstrom^2; the Hessian learns from it."""
        product = (self.evaluate(self.x + _PROBE * direction)[1] - self.gradient) / _PROBE
        self.calls += 1
        self._update(direction, product)
        return float(product @ direction)

    def _update(self, step: FloatArray, change: FloatArray) -> None:
        self.hessian = _ts_bfgs(self.hessian, self.values, self.vectors, step, change)

    def _diagonalise(self) -> None:
        self.values, self.vectors = np.linalg.eigh(self.hessian)


def _damped_bfgs(hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    product = hessian @ step
    curvature, found = float(step @ product), float(step @ change)
    if found < 0.2 * curvature:
        share = 0.8 * curvature / (curvature - found)
        change = share * change + (1 - share) * product
        found = float(step @ change)
    return hessian + np.outer(change, change) / found - np.outer(product, product) / curvature


def _ts_bfgs(
    hessian: FloatArray, values: FloatArray, vectors: FloatArray, step: FloatArray, change: FloatArray
) -> FloatArray:
    missing = change - hessian @ step
    stiff = vectors @ (np.abs(values) * (vectors.T @ step))
    weight = float(step @ change) * change + float(step @ stiff) * stiff
    norm = float(weight @ step)
    if norm < 1e-12:  # no curvature expected, and none found
        return hessian
    weight /= norm
    update = np.outer(missing, weight)
    return hessian + update + update.T - float(missing @ step) * np.outer(weight, weight)
