"""Chemical potential of oxygen in its gas."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemiec.errors import ThermoError
from hemiec.units import BOLTZMANN_EV_PER_K, KJ_PER_MOL_PER_EV

#: Share of O2 in dry air; with 1 bar in all, its partial pressure in bar.
AIR_PO2_BAR = 0.21

#: Shomate coefficients A to G of O2 gas up to a temperature in K: NIST Chemistry WebBook (SRD 69), after M. W. Chase,
#: NIST-JANAF Thermochemical Tables, 4th edition (1998). Valid from 100 K; enthalpies are from 298.15 K, at 1 bar.
_SHOMATE = (
    (700.0, (31.32234, -20.23531, 57.86644, -36.50624, -0.007374, -8.903471, 246.7945)),
    (2000.0, (30.03235, 8.772972, -3.988133, 0.788313, -0.741599, -11.32468, 236.1663)),
)
_LOWEST_K = 100.0
#: H(0 K) - H(298.15 K) of O2 in kJ/mol, same tables.
_ENTHALPY_AT_ZERO_K = -8.683


def oxygen_chemical_potential(temperature_K: ArrayLike, pO2_bar: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return the chemical potential of oxygen in O2 gas, in eV per O atom, from half an O2 molecule at 0 K.

    ``mu = (H(T) - H(0) - T S(T)) / 2 + kT/2 ln(p / 1 bar)`` of the ideal gas. The zero is the molecule's energy with
    its zero-point energy in it, so none is added to a computed molecule, as none is to computed solids.

    Parameters
    ----------
    temperature_K
        Temperature, 100 to 2000 K.
    pO2_bar
        Partial pressure of O2 in bar, above 0; any shape that broadcasts with the temperature.

    Raises
    ------
    ThermoError
        If a temperature is out of range or a pressure is not a positive number.
    """
    T, pressure = np.asarray(temperature_K, dtype=float), np.asarray(pO2_bar, dtype=float)
    if not (np.isfinite(pressure) & (pressure > 0)).all():
        raise ThermoError(f"partial pressures of O2 are positive numbers in bar, got {pO2_bar!r}.")
    return _standard(T) + BOLTZMANN_EV_PER_K * T / 2 * np.log(pressure)


def log10_oxygen_pressure(chemical_potential: ArrayLike, temperature_K: ArrayLike) -> NDArray[np.float64]:
    """Return log10 of the partial pressure of O2 in bar at which oxygen has a chemical potential.

    Parameters
    ----------
    chemical_potential
        In eV per O atom, from half an O2 molecule at 0 K.
    temperature_K
        Temperature, 100 to 2000 K.

    Raises
    ------
    ThermoError
        If a temperature is out of range.
    """
    T = np.asarray(temperature_K, dtype=float)
    above = np.asarray(chemical_potential, dtype=float) - _standard(T)
    return np.asarray(2 * above / (BOLTZMANN_EV_PER_K * T * np.log(10)))


def _standard(T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the chemical potential at 1 bar, in eV per O atom."""
    highest = _SHOMATE[-1][0]
    if not ((T >= _LOWEST_K) & (highest >= T)).all():
        raise ThermoError(
            f"the tables of O2 are from {_LOWEST_K:g} to {highest:g} K, got {np.min(T):g} to {np.max(T):g} K."
        )
    low, high = (_gibbs(T / 1000, coefficients) for _, coefficients in _SHOMATE)
    gibbs = np.where(_SHOMATE[0][0] >= T, low, high)
    return np.asarray((gibbs - _ENTHALPY_AT_ZERO_K) / 2 / KJ_PER_MOL_PER_EV)


def _gibbs(t: NDArray[np.float64], coefficients: tuple[float, ...]) -> NDArray[np.float64]:
    """Return H(T) - H(298.15 K) - T S(T) in kJ/mol by the Shomate equation, t in 1000 K."""
    a, b, c, d, e, f, g = coefficients
    enthalpy = a * t + b * t**2 / 2 + c * t**3 / 3 + d * t**4 / 4 - e / t + f
    entropy = a * np.log(t) + b * t + c * t**2 / 2 + d * t**3 / 3 - e / (2 * t**2) + g
    return np.asarray(enthalpy - t * entropy)
