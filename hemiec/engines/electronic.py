"""Gaps, band edges, projected band centres and densities of states from eigenvalues of any code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.errors import EngineError

Array = NDArray[np.float64]

#: A gap of fewer smearing widths than this is not resolved: the states on both sides are partly filled.
RESOLUTION_IN_WIDTHS = 5.0


@dataclass(frozen=True)
class BandEdges:
    """Extrema of the filled and empty bands over k-points and spins, in eV, and the filled bands of each spin."""

    valence_maximum: float
    conduction_minimum: float
    direct_gap: float
    n_occupied: tuple[int, ...]

    @property
    def gap(self) -> float:
        """Fundamental gap in eV."""
        return self.conduction_minimum - self.valence_maximum

    def merge(self, other: BandEdges) -> BandEdges | None:
        """Return the edges over both sets of k-points, or None if the bands overlap over them."""
        merged = BandEdges(
            max(self.valence_maximum, other.valence_maximum),
            min(self.conduction_minimum, other.conduction_minimum),
            min(self.direct_gap, other.direct_gap),
            self.n_occupied,
        )
        return merged if merged.gap > 0 else None

    def resolved(self, smearing_eV: float) -> BandEdges | None:
        """Return the edges if their gap is wide enough to be told from a metal with this smearing, else None."""
        return self if self.gap >= RESOLUTION_IN_WIDTHS * smearing_eV else None


def band_edges(eigenvalues: Array, fermi_level: float, n_occupied: Sequence[int] | None = None) -> BandEdges | None:
    """Return the band edges, or None for a metal.

    Parameters
    ----------
    eigenvalues
        In eV, shape=(n_spins, n_kpoints, n_bands), each k-point sorted.
    fermi_level
        In eV.
    n_occupied
        Filled bands of each spin, if known from another mesh; else counted below the Fermi level.

    Raises
    ------
    EngineError
        If no empty band was computed.
    """
    counts = (eigenvalues < fermi_level).sum(axis=2)
    if n_occupied is None:
        if any(len(set(row)) > 1 for row in counts.tolist()):
            return None
        n_occupied = [int(row[0]) for row in counts]
    filled, empty = [], []
    for spin, n in enumerate(n_occupied):
        if n >= eigenvalues.shape[2]:
            raise EngineError("no empty band was computed.", mend="raise the number of bands of the protocol")
        empty.append(eigenvalues[spin, :, n])
        # A spin channel without electrons has no valence band.
        filled.append(eigenvalues[spin, :, n - 1] if n else np.full(eigenvalues.shape[1], -np.inf))
    top, bottom = np.array(filled), np.array(empty)
    direct = float((bottom.min(axis=0) - top.max(axis=0)).min())
    edges = BandEdges(float(top.max()), float(bottom.min()), direct, tuple(n_occupied))
    return edges if edges.gap > 0 else None


def dos_at_fermi_level(eigenvalues: Array, kpoint_weights: Array, fermi_level: float, smearing_eV: float) -> float:
    """Return the density of states of both spins at the Fermi level, in states/eV per cell.

    Every state is as wide as the Fermi-Dirac distribution's derivative, which the occupations had.

    Parameters
    ----------
    eigenvalues
        In eV, shape=(n_spins, n_kpoints, n_bands); one spin stands for both.
    kpoint_weights
        Sum 1, shape=(n_kpoints,).
    fermi_level
        In eV.
    smearing_eV
        Fermi-Dirac width in eV.
    """
    x = np.clip(np.abs(eigenvalues - fermi_level) / smearing_eV, None, 500)
    derivative = np.exp(-x) / (1 + np.exp(-x)) ** 2 / smearing_eV
    degeneracy = 2 / len(eigenvalues)
    return float(degeneracy * np.einsum("skn,k->", derivative, kpoint_weights))


def band_center(eigenvalues: Array, kpoint_weights: Array, projections: Array, fermi_level: float) -> float | None:
    """Return the first moment of a projected density of states relative to the Fermi level, in eV.

    All bands given count, filled and empty (doi:10.1039/C1EE02032C).

    Parameters
    ----------
    eigenvalues
        In eV, shape=(n_spins, n_kpoints, n_bands).
    kpoint_weights
        Sum 1, shape=(n_kpoints,).
    projections
        Weight of each state on the orbitals, shape of eigenvalues; unit 1.
    fermi_level
        In eV.

    Returns
    -------
    float or None
        None if nothing is projected on the orbitals.
    """
    weights = projections * kpoint_weights[None, :, None]
    total = float(weights.sum())
    return float((weights * (eigenvalues - fermi_level)).sum() / total) if total > 0 else None


def kpoint_mesh(structure: Structure, spacing: float) -> tuple[int, int, int]:
    """Return the smallest mesh whose spacing (2 pi included) is at most ``spacing`` in 1/angstrom."""
    lengths = structure.lattice.reciprocal_lattice.abc
    n = [max(1, math.ceil(length / spacing - 1e-6)) for length in lengths]
    return n[0], n[1], n[2]


def folded_points(points: Sequence[Sequence[float]], supercell: Sequence[Sequence[int]] | None) -> Array:
    """Return k-points of the parent in a supercell's reciprocal basis, folded into its zone, each once.

    Parameters
    ----------
    points
        In the parent's reciprocal basis, shape=(n, 3); unit 1.
    supercell
        Rows: the cell vectors in units of the parent's, shape=(3, 3); None for the unit matrix.
    """
    matrix = np.eye(3) if supercell is None else np.array(supercell, dtype=float)
    # A reciprocal vector of the parent has components (cell rows) . k in the supercell's reciprocal basis.
    folded = np.mod((np.array(points, dtype=float) @ matrix.T).round(8), 1.0)
    return np.unique(folded, axis=0)
