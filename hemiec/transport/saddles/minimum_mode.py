"""Minimum-mode following: uphill along the softest mode, downhill along all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Energy in eV and forces in eV/angstrom, shape=(n_atoms, 3), at positions in angstrom of the same shape.
EnergyAndForces = Callable[[Array], tuple[float, Array]]

#: Finite difference for curvatures, in angstrom.
_PROBE = 0.02
#: The mode is not turned further once its rotational force is below this, in eV/angstrom^2.
_TURNED = 0.3
#: Turns per step: more at the start, where the mode is a guess.
_FIRST_STEPS, _FIRST_TURNS = 5, 2
#: Longest step of all atoms together, in angstrom.
_MAX_STEP = 0.1


@dataclass(frozen=True)
class SaddlePoint:
    """Where the search ended: a first-order saddle if ``converged``."""

    positions: Array
    energy: float
    mode: Array
    curvature: float
    max_force: float
    n_steps: int
    converged: bool


def follow_minimum_mode(
    evaluate: EnergyAndForces, positions: Array, mode: Array, *, fmax: float, max_steps: int
) -> SaddlePoint:
    """Return the saddle point reached from a start near it.

    The force along the softest mode is turned round (doi:10.1063/1.480097); the mode is turned in the
    plane of itself and its rotational force, whose two-dimensional Hessian comes from forward
    differences (doi:10.1063/1.2815812); steps are those of FIRE (doi:10.1103/PhysRevLett.97.170201).

    Parameters
    ----------
    evaluate
        Energy and forces.
    positions
        Start, in angstrom, shape=(n_atoms, 3).
    mode
        Guess of the mode, such as the tangent of a band; any length, same shape.
    fmax
        Largest force on an atom at the end, in eV/angstrom; the curvature must be negative there.
    max_steps
        Steps at most; each costs two to five force calls.
    """
    positions = np.array(positions, dtype=float)
    mode = mode / np.linalg.norm(mode)
    stepper = _Fire()
    for step in range(1, max_steps + 1):
        energy, forces = evaluate(positions)
        mode, curvature = _turn(evaluate, positions, forces, mode, _FIRST_TURNS if step <= _FIRST_STEPS else 1)
        max_force = float(np.linalg.norm(forces, axis=1).max())
        if max_force < fmax and curvature < 0:
            return SaddlePoint(positions, energy, mode, curvature, max_force, step, True)
        along = float((forces * mode).sum())
        # Outside the region of negative curvature only the climb counts, or the search slides back.
        effective = -along * mode if curvature > 0 else forces - 2 * along * mode
        positions = positions + stepper.step(effective)
    return SaddlePoint(positions, energy, mode, curvature, max_force, max_steps, False)


def _turn(evaluate: EnergyAndForces, positions: Array, forces: Array, mode: Array, turns: int) -> tuple[Array, float]:
    """Return the mode turned towards the softest one, and its curvature in eV/angstrom^2."""

    def hessian_times(direction: Array) -> Array:
        return -(evaluate(positions + _PROBE * direction)[1] - forces) / _PROBE

    curvature = 0.0
    for _ in range(turns):
        product = hessian_times(mode)
        curvature = float((product * mode).sum())
        across = product - curvature * mode
        length = float(np.linalg.norm(across))
        if length < _TURNED:
            break
        across /= length
        coupling = float((product * across).sum())
        stiffness = float((hessian_times(across) * across).sum())
        values, vectors = np.linalg.eigh(np.array([[curvature, coupling], [coupling, stiffness]]))
        mode = vectors[0, 0] * mode + vectors[1, 0] * across
        mode /= np.linalg.norm(mode)
        curvature = float(values[0])
    return mode, curvature


class _Fire:
    """FIRE steps for forces that are not the gradient of anything."""

    def __init__(self) -> None:
        self.velocity: Array | None = None
        self.timestep, self.mixing, self.downhill_steps = 0.1, 0.1, 0

    def step(self, forces: Array) -> Array:
        """Return the displacement for these forces, in angstrom."""
        velocity = np.zeros_like(forces) if self.velocity is None else self.velocity
        if float((velocity * forces).sum()) > 0:
            direction = forces / np.linalg.norm(forces)
            velocity = (1 - self.mixing) * velocity + self.mixing * direction * np.linalg.norm(velocity)
            if self.downhill_steps > 5:
                self.timestep, self.mixing = min(1.1 * self.timestep, 1.0), 0.99 * self.mixing
            self.downhill_steps += 1
        else:
            velocity = np.zeros_like(forces)
            self.timestep, self.mixing, self.downhill_steps = 0.5 * self.timestep, 0.1, 0
        self.velocity = velocity + self.timestep * forces
        displacement = self.timestep * self.velocity
        length = float(np.linalg.norm(displacement))
        return displacement if length <= _MAX_STEP else displacement * (_MAX_STEP / length)
