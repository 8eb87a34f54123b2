"""Energies and forces of one calculator, counted and timed."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from hemiec.errors import EngineError

FloatArray = NDArray[np.float64]


class ForceCalls:
    """A calculator shared by many structures: how often it was called, and how long the calls took.

    Parameters
    ----------
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom.
    """

    def __init__(self, calculator: Calculator) -> None:
        self.calculator = calculator
        self.calls = 0
        self.seconds = 0.0

    def __call__(self, atoms: Atoms, positions: FloatArray) -> tuple[float, FloatArray]:
        """Return energy in eV and forces in eV/angstrom, shape=(n_atoms, 3), of the atoms at these positions.

        Raises
        ------
        EngineError
            If either is not finite.
        """
        copy = atoms.copy()
        copy.positions = np.asarray(positions, dtype=float).reshape(-1, 3)
        copy.calc = self.calculator
        started = time.perf_counter()
        # Forces first: calculators that compute both at once are then called once.
        forces = np.array(copy.get_forces(), dtype=float)
        energy = float(copy.get_potential_energy())
        self.seconds += time.perf_counter() - started
        self.calls += 1
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise EngineError(
                f"{atoms.get_chemical_formula()}: the calculator returned an energy or force that is not finite.",
                mend="look at the structure for atoms on top of each other",
            )
        return energy, forces


class CountedImage(Calculator):
    """The same as an ASE calculator of one image, which remembers the image's last result.

    One calculator shared by all images of a band forgets each image for the next, and the band asks for the same
    energies and forces many times a step: it would be called five times as often.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, force_calls: ForceCalls) -> None:
        super().__init__()
        self.force_calls = force_calls

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        """Compute energy and forces of ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        energy, forces = self.force_calls(self.atoms, self.atoms.positions)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
