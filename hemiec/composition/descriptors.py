"""Geometric, entropic, chemical and economic descriptors of perovskite compositions, for many rows at once.

Rows come as fillings of three sublattices (:class:`~hemiec.composition.sublattice.Sublattice`); a single candidate is
a batch of one row. Means and variances over a sublattice are over the ions on it; vacancies count in entropies only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hemiec.composition.elements import interpolate_radius
from hemiec.composition.sublattice import Sublattice

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SITES = ("A", "B", "X")
#: Descriptor to unit, in the order of the columns.
UNITS: dict[str, str] = {
    "mean_A_valence": "e",
    "mean_B_valence": "e",
    "mean_X_valence": "e",
    "tolerance_factor": "1",
    "bartel_tau": "1",
    "tau_probability": "1",
    "octahedral_factor": "1",
    "configurational_entropy": "R per formula unit",
    "entropy_per_atom": "R per atom",
    **{f"entropy_{site}": "R per formula unit" for site in SITES},
    **{f"radius_mean_{site}": "angstrom" for site in SITES},
    **{f"radius_variance_{site}": "angstrom^2" for site in SITES},
    **{f"electronegativity_mean_{site}": "1" for site in SITES},
    **{f"electronegativity_variance_{site}": "1" for site in SITES},
    **{f"valence_variance_{site}": "e^2" for site in SITES},
    "molar_mass": "g/mol",
    "raw_material_cost": "USD/kg",
    "hhi_production": "1",
    "hhi_reserve": "1",
    "scarcity": "1",
}
#: Two logistic terms (weight, slope, midpoint) for P(perovskite | tau), fitted to the 2-digit probabilities that the
#: authors of tau tabulate (doi:10.1126/sciadv.aav0693, table S1; mean of three calibrated classifiers): root mean
#: square deviation 0.005, largest 0.018 over 64 of their compounds with tau from 1.2 to 7.
_TAU_LOGISTIC = ((0.4924, 2.7248, 4.1864), (0.5076, 1.1459, 4.3976))
#: Round-off of a variance of equal values, relative to the mean square.
_VARIANCE_NOISE = 1e-13


def describe(tables: Mapping[str, Sublattice], index: Mapping[str, Integers], share: Floats) -> dict[str, Floats]:
    """Return the descriptors of compositions, each an array of shape=(n,) in the unit that :data:`UNITS` says.

    NaN stands where a radius, electronegativity, price or abundance is not tabulated.

    Parameters
    ----------
    tables
        The three sublattices.
    index
        Row of each sublattice's table, per composition.
    share
        How far the species with several oxidation states are moved from the lowest (0) to the highest (1).
    """
    gathered = {site: _gather(tables[site], index[site]) for site in SITES}
    found: dict[str, Floats] = {}
    radii: dict[str, Floats] = {}
    for site in SITES:
        sums = gathered[site]
        charge, charge2, radius, radius2 = _ions(tables[site], index[site], share, sums)
        ions = sums["ions"]
        found[f"mean_{site}_valence"], found[f"valence_variance_{site}"] = _moments(charge, charge2, ions)
        radii[site], found[f"radius_variance_{site}"] = _moments(radius, radius2, ions)
        found[f"radius_mean_{site}"] = radii[site]
        found[f"electronegativity_mean_{site}"], found[f"electronegativity_variance_{site}"] = _moments(
            sums["chi"], sums["chi2"], ions
        )
        found[f"entropy_{site}"] = sums["entropy"]
    found["tolerance_factor"] = tolerance_factor(radii["A"], radii["B"], radii["X"])
    found["bartel_tau"] = bartel_tau(radii["A"], radii["B"], radii["X"], found["mean_A_valence"])
    found["tau_probability"] = tau_probability(found["bartel_tau"])
    found["octahedral_factor"] = radii["B"] / radii["X"]

    total = {name: gathered["A"][name] + gathered["B"][name] + gathered["X"][name] for name in _TOTALS}
    found["configurational_entropy"] = total["entropy"]
    found["entropy_per_atom"] = total["entropy"] / total["atoms"]
    found["molar_mass"] = total["mass"]
    for name, key in (("raw_material_cost", "cost"), ("hhi_production",) * 2, ("hhi_reserve",) * 2):
        found[name] = total[key] / total["mass"]
    found["scarcity"] = total["scarcity"] / total["cation_mass"]
    return {name: found[name] for name in UNITS}


_TOTALS = ("entropy", "atoms", "mass", "cation_mass", "cost", "hhi_production", "hhi_reserve", "scarcity")


def _gather(table: Sublattice, index: Integers) -> dict[str, Floats]:
    return {name: values.take(index) for name, values in table.sums.items()}


def _ions(
    table: Sublattice, index: Integers, share: Floats, sums: Mapping[str, Floats]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return sum x q, sum x q^2, sum x r and sum x r^2 of a sublattice with its species in their mean states."""
    charge, charge2, radius, radius2 = (sums[name] for name in ("charge", "charge2", "radius", "radius2"))
    for ion in table.flexible:
        x = table.fractions[index, table.column(ion.symbol)]
        above = share * (ion.high - ion.low)
        q = above + ion.low
        r = interpolate_radius(ion.radii, above)
        xq, xr = x * q, x * r
        if np.isnan(ion.radii).any():
            xr = np.where(x > 0, xr, 0.0)
            r = np.where(x > 0, r, 0.0)
        charge, charge2 = charge + xq, charge2 + xq * q
        radius, radius2 = radius + xr, radius2 + xr * r
    return charge, charge2, radius, radius2


def _moments(first: Floats, second: Floats, ions: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance from the weighted sums of values and of their squares."""
    mean, square = first / ions, second / ions
    variance = square - mean * mean
    variance[variance < _VARIANCE_NOISE * square] = 0.0
    return mean, variance


def tolerance_factor(radius_A: Floats, radius_B: Floats, radius_X: Floats) -> Floats:
    """Return Goldschmidt's tolerance factor, unit 1 (doi:10.1007/BF01507527); radii in angstrom."""
    return (radius_A + radius_X) / (math.sqrt(2) * (radius_B + radius_X))


def bartel_tau(radius_A: Floats, radius_B: Floats, radius_X: Floats, valence_A: Floats) -> Floats:
    """Return the tolerance factor tau, unit 1 (doi:10.1126/sciadv.aav0693, eq. 1); radii in angstrom.

    NaN where it is not defined (r_A <= r_B). Perovskites are expected for tau < 4.18.
    """
    ratio = np.asarray(radius_A / radius_B, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = radius_X / radius_B - valence_A * (valence_A - ratio / np.log(ratio))
    return np.where(ratio > 1, tau, np.nan)


def tau_probability(tau: Floats) -> Floats:
    """Return the probability of a perovskite at a value of tau, unit 1; NaN where tau is NaN.

    The calibrated classifier of tau's authors, as the closed form fitted to their table of probabilities: 0.98 at
    tau = 1.6, 0.53 at 4.18, 0.07 at 6.
    """
    with np.errstate(over="ignore"):
        terms = [weight / (1.0 + np.exp(slope * (tau - middle))) for weight, slope, middle in _TAU_LOGISTIC]
    return terms[0] + terms[1]
