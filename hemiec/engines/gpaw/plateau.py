"""Solutions told from plateaus: cycles that met the criteria where nothing is stationary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hemiec.engines.electronic import band_edges
from hemiec.engines.gpaw.calculator import eigenvalues_of
from hemiec.engines.gpaw.protocol import GpawProtocol

#: The moment of an insulator is a whole number; farther off, the density had not settled (Bohr magnetons).
MOMENT_TOLERANCE = 0.1
#: Energies looked back on for a drift; GPAW itself compares the last three.
_DRIFT_STEPS = 5


def not_a_solution(energies: Sequence[float], calc: Any, protocol: GpawProtocol, smearing_eV: float) -> str | None:
    """Return why a cycle that met the criteria stopped on a plateau, or None if it did not."""
    allowed = protocol.convergence.energy * float(calc.get_number_of_electrons())
    return drift(energies, allowed) or _unsettled_moment(calc, smearing_eV)


def drift(energies: Sequence[float], allowed: float) -> str | None:
    """Return what is wrong if the last energies still move one way without slowing down, else None.

    A converging cycle's changes shrink as a geometric series; the rest of the series is what the energy has still
    to go. On a plateau the changes are below the criterion but do not shrink.

    Parameters
    ----------
    energies
        After each iteration, in eV per cell.
    allowed
        What the energy may still change by, in eV per cell.
    """
    steps = np.diff(np.array(energies[-_DRIFT_STEPS:], dtype=float))
    if len(steps) < _DRIFT_STEPS - 1 or not (np.all(steps < 0) or np.all(steps > 0)):
        return None
    covered = float(np.abs(steps).sum())
    if covered < 0.1 * allowed:
        return None
    ratio = float(np.abs(steps[-1] / steps[0])) ** (1 / (len(steps) - 1))
    left = math.inf if ratio >= 1 else float(np.abs(steps[-1])) * ratio / (1 - ratio)
    if left <= allowed:
        return None
    return f"a plateau: the energy moved by {covered:.2g} eV in the last {len(steps)} iterations without slowing down"


def _unsettled_moment(calc: Any, smearing_eV: float) -> str | None:
    """Return what is wrong if an insulator's moment is not that of its filled bands: a plateau, not a solution."""
    edges = band_edges(eigenvalues_of(calc), float(calc.get_fermi_level()))
    if edges is None or edges.resolved(smearing_eV) is None or len(edges.n_occupied) == 1:
        return None
    expected = edges.n_occupied[0] - edges.n_occupied[1]
    moment = float(calc.get_magnetic_moment())
    if abs(moment - expected) <= MOMENT_TOLERANCE:
        return None
    return f"a plateau: moment {moment:.2f}, but the filled bands have {expected}"
