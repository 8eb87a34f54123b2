"""Ionic conductivity from diffusion, by Nernst and Einstein."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hemiec.errors import InputError
from hemiec.transport.network import FloatArray
from hemiec.units import BOLTZMANN_EV_PER_K

#: Elementary charge in C, exact in the SI.
ELEMENTARY_CHARGE_C = 1.602176634e-19
PER_CM3_PER_PER_ANGSTROM3 = 1e24


def carrier_density(walkers: float, sites: float, volume: float) -> float:
    """Return the density of walkers times the fraction of sites free for them, in 1/angstrom^3.

    Walkers on a fraction c of their sites find a fraction 1 - c of the sites beside them free. On a uniform network
    without other interaction their conductivity is exactly that of the dilute limit times 1 - c (Kutner, Phys. Lett. A
    81, 239, 1981); on others a simulation tells how far it is from that.

    Parameters
    ----------
    walkers
        Walkers per formula unit, or per cell: oxygen vacancies (delta), or the vacancies that Li hops into.
    sites
        Sites that they move on, in the same unit: 3 per perovskite formula unit for oxygen.
    volume
        Volume of that unit in angstrom^3.

    Raises
    ------
    InputError
        If walkers are not between 0 and sites, or the volume is not positive.
    """
    if not (np.isfinite(volume) and volume > 0 and np.isfinite(sites) and 0 <= walkers <= sites and sites > 0):
        raise InputError(
            f"expected 0 <= walkers <= sites and a positive volume, got {walkers} walkers on {sites} sites in {volume}."
        )
    return walkers * (1 - walkers / sites) / volume


def conductivity(diffusion: ArrayLike, density: float, charge: float, temperature_K: float) -> FloatArray:
    """Return n z^2 e^2 D / kT in S/cm, a number or a tensor as D is.

    Parameters
    ----------
    diffusion
        Diffusion coefficient or tensor of the walkers in cm^2/s: of a walker in the dilute limit, or the collective one
        of a simulation (then with the full density of walkers). Any shape.
    density
        n, walkers per angstrom^3 (`carrier_density`).
    charge
        z of the ion that hops, in elementary charges; its sign has no effect.
    temperature_K
        Temperature.

    Raises
    ------
    InputError
        If density is negative, charge zero, or temperature not positive.
    """
    return np.asarray(diffusion, dtype=float) * _per_diffusion(density, charge, temperature_K)


def log10_conductivity(log10_d: ArrayLike, density: float, charge: float, temperature_K: float) -> FloatArray:
    """Return log10 of the conductivity in S/cm from log10 of the diffusion coefficient in cm^2/s.

    For coefficients too small for a float; parameters and errors as in `conductivity`, with a positive density.
    """
    factor = _per_diffusion(density, charge, temperature_K)
    if factor == 0:
        raise InputError("without walkers the conductivity is zero and has no logarithm.")
    return np.asarray(log10_d, dtype=float) + np.log10(factor)


def _per_diffusion(density: float, charge: float, temperature_K: float) -> float:
    """Return conductivity over diffusion coefficient in S s/cm^3."""
    if not (np.isfinite(density) and density >= 0):
        raise InputError(f"the density of walkers must be a number from 0, got {density!r}.")
    if not (np.isfinite(charge) and charge != 0):
        raise InputError(f"the charge of the ion must be a number other than 0, got {charge!r}.")
    if not (np.isfinite(temperature_K) and temperature_K > 0):
        raise InputError(f"temperature_K must be a positive number, got {temperature_K!r}.")
    thermal_V = BOLTZMANN_EV_PER_K * temperature_K
    return density * PER_CM3_PER_PER_ANGSTROM3 * charge**2 * ELEMENTARY_CHARGE_C / thermal_V
