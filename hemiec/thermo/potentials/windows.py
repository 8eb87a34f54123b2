"""Windows of a chemical potential in which a candidate stays as it is: oxidation, reduction, voltage.

Chemical potentials mu of all elements at which a candidate of composition c and energy e is in equilibrium obey::

    mu . c_j <= e_j   for every phase j (none forms),      mu . c >= e   (the candidate does not fall apart)

This is the region in which the candidate lies on the grand-potential hull (doi:10.1021/cm702327g). The window of one
element is its extent along that element's potential, by two linear programs; the phases whose inequality stops it, with
the programs' duals as amounts, are the products of the reaction with a reservoir of the element beyond the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition
from scipy.optimize import linprog

from hemiec.errors import ThermoError
from hemiec.schemas.thermo import PhaseAmount, WindowDoc
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.potentials.gases import log10_oxygen_pressure

Floats = NDArray[np.float64]

#: Temperature at which oxygen potentials are given as pressures: firing of most perovskites.
PRESSURE_AT_K = 1273.0
#: Energies nearer than this to the hull, in eV/atom, are on it: far below the error of any method.
_ON_HULL = 1e-6
#: A candidate is lowered this far below the hull, in eV/atom, so that rounding cannot leave it without a window.
_ROUNDING = 1e-8
#: Shares of atoms below which a product is rounding.
_ABSENT = 1e-6
#: HiGHS's tightest.
_TOLERANCE = 1e-10


def windows(
    composition: Composition,
    energy_per_atom: float,
    phases: PhaseSet,
    *,
    elements: Sequence[str] = ("Li", "O"),
    temperature_K: float = PRESSURE_AT_K,
) -> list[WindowDoc]:
    """Return the windows of a candidate in chemical potentials; see :func:`window`."""
    return [window(composition, energy_per_atom, phases, element, temperature_K=temperature_K) for element in elements]


def window(
    composition: Composition,
    energy_per_atom: float,
    phases: PhaseSet,
    element: str,
    *,
    temperature_K: float = PRESSURE_AT_K,
) -> WindowDoc:
    """Return where a candidate neither takes up an element nor gives it off, at 0 K.

    A candidate above the hull is lowered onto it first, as is usual for metastable electrolytes
    (doi:10.1021/acsami.5b07517), and ``driving_force`` says by how much: the window is then that of its decomposition
    products together, and has no width if they already differ in how they react.

    Parameters
    ----------
    composition
        Of the candidate; only ratios matter. It need not hold the element: the window then ends where insertion begins.
    energy_per_atom
        Of the candidate in eV/atom, on the scale of the phases.
    phases
        All phases of its elements and of ``element``, without the candidate itself.
    element
        The one that the reservoir holds, such as Li or O.
    temperature_K
        At which the ends of an oxygen window are given as pressures of O2.

    Raises
    ------
    ThermoError
        If the energy is not finite, or an element has no reference phase.
    """
    if not isfinite(energy_per_atom):
        raise ThermoError(
            f"the energy of {composition.reduced_formula} is {energy_per_atom}; expected a finite number in eV/atom."
        )
    elements = sorted({e.symbol for e in composition} | {element})
    phases.require(elements)
    system = _System.of(composition, phases.within(elements), elements, element)
    hull = system.hull_energy()
    above = energy_per_atom - hull
    energy = min(energy_per_atom, hull - _ROUNDING)
    low, products_below = system.end(energy, upper=False)
    high, products_above = system.end(energy, upper=True)
    doc = WindowDoc(
        element=element,
        low=low,
        high=high,
        products_below=products_below,
        products_above=products_above,
        driving_force=above if above > _ON_HULL else 0.0,
    )
    if element == "Li":
        return doc.model_copy(
            update={"voltage_low": None if high is None else -high, "voltage_high": None if low is None else -low}
        )
    if element == "O":
        return doc.model_copy(
            update={
                "temperature_K": temperature_K,
                "log10_pO2_low": None if low is None else float(log10_oxygen_pressure(low, temperature_K)),
                "log10_pO2_high": None if high is None else float(log10_oxygen_pressure(high, temperature_K)),
            }
        )
    return doc


@dataclass(frozen=True)
class _System:
    """A candidate among the phases of its elements.

    ``shares`` are atomic fractions, shape (phases, elements), ``energies`` those of the phases in eV/atom above the
    elements, ``composition`` the candidate's fractions, ``column`` that of the open element, and ``zero`` the mean
    energy of the elements at the candidate's composition, in eV/atom.
    """

    phases: tuple[PhaseEnergy, ...]
    shares: Floats
    energies: Floats
    composition: Floats
    column: int
    zero: float

    @classmethod
    def of(cls, composition: Composition, phases: PhaseSet, elements: Sequence[str], element: str) -> _System:
        """Return the system with energies from the elements, which keeps all numbers small."""
        lowest = tuple(phases.lowest.values())
        shares = np.array([[p.composition.get_atomic_fraction(e) for e in elements] for p in lowest])
        energies = np.array([p.energy_per_atom for p in lowest])
        pure = np.array([energies[shares[:, n] == 1].min() for n in range(len(elements))])
        fractions = np.array([composition.get_atomic_fraction(e) for e in elements])
        return cls(
            lowest, shares, energies - shares @ pure, fractions, elements.index(element), float(fractions @ pure)
        )

    def hull_energy(self) -> float:
        """Return the energy of the hull at the candidate's composition, in eV/atom."""
        answer = linprog(-self.composition, self.shares, self.energies, bounds=(None, None), options=_options())
        if answer.status != 0:
            raise ThermoError(f"no hull was found at the candidate's composition: {answer.message}")
        return self.zero - float(answer.fun)

    def end(self, energy: float, *, upper: bool) -> tuple[float | None, list[PhaseAmount]]:
        """Return one end of the window, in eV from the element, and the products beyond.

        None without products stands for no end: the program is unbounded, or the element itself ends it.
        """
        goal = np.zeros(len(self.composition))
        goal[self.column] = -1.0 if upper else 1.0
        matrix = np.vstack([self.shares, -self.composition])
        limits = np.append(self.energies, self.zero - energy)
        answer = linprog(goal, matrix, limits, bounds=(None, None), options=_options())
        if answer.status == 3:
            return None, []
        if answer.status != 0:
            raise ThermoError(f"no window was found: {answer.message}")
        amounts = -np.asarray(answer.ineqlin.marginals)
        products = self._products(amounts[:-1])
        if amounts[-1] < _ABSENT:
            return None, []
        return float(answer.x[self.column]), products

    def _products(self, amounts: Floats) -> list[PhaseAmount]:
        """Return the phases that form, their atoms as shares of all that form."""
        total = amounts.sum()
        found = [
            PhaseAmount(phase_id=p.phase_id, formula=p.composition.reduced_formula, amount=float(x / total))
            for p, x in zip(self.phases, amounts, strict=True)
            if total > 0 and x / total > _ABSENT
        ]
        return sorted(found, key=lambda product: (-product.amount, product.phase_id))


def _options() -> dict[str, float]:
    return {"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE}
