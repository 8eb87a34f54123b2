"""Geometric and entropic descriptors of a perovskite composition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from hemiec.composition.charge import SITE_MULTIPLICITY

#: Coordination numbers of the cubic parent.
COORDINATION = {"A": 12, "B": 6, "X": 6}
_NUMERALS = {"IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10, "XI": 11, "XII": 12, "XIV": 14}


@lru_cache(maxsize=1024)
def shannon_radius(symbol: str, oxidation_state: float, coordination: int) -> float | None:
    """Return the ionic radius in angstrom, or None if Shannon lists none for this ion.

    Non-integer mean states are interpolated between the two integer ones. Where the coordination is
    not listed the nearest listed one is taken; high spin is preferred where both spins are listed.
    Values are Shannon's (doi:10.1107/S0567739476001551) as tabulated in pymatgen.
    """
    low = math.floor(oxidation_state)
    if oxidation_state != low:
        radii = [shannon_radius(symbol, float(q), coordination) for q in (low, low + 1)]
        if radii[0] is None or radii[1] is None:
            return radii[0] if radii[1] is None else radii[1]
        return radii[0] + (oxidation_state - low) * (radii[1] - radii[0])
    from pymatgen.core import Element

    table = Element(symbol).data.get("Shannon radii", {}).get(str(low))
    if not table:
        return None
    listed = {_NUMERALS[key]: spins for key, spins in table.items() if key in _NUMERALS}
    if not listed:
        return None
    spins = listed[min(listed, key=lambda n: abs(n - coordination))]
    for spin in ("High Spin", "", "Low Spin"):
        if spin in spins:
            return float(spins[spin]["ionic_radius"])
    return None


def mean_radius(site: str, species: Mapping[str, Fraction], oxidation_states: Mapping[str, Fraction]) -> float | None:
    """Return the mean ionic radius of one sublattice in angstrom, or None if one is not tabulated."""
    total = 0.0
    for symbol, fraction in species.items():
        radius = shannon_radius(symbol, float(oxidation_states[symbol]), COORDINATION[site])
        if radius is None:
            return None
        total += float(fraction) * radius
    return total


def tolerance_factor(radius_A: float, radius_B: float, radius_X: float) -> float:
    """Return Goldschmidt's tolerance factor, unit 1 (doi:10.1007/BF01507527); radii in angstrom."""
    return (radius_A + radius_X) / (math.sqrt(2) * (radius_B + radius_X))


def bartel_tau(radius_A: float, radius_B: float, radius_X: float, valence_A: float) -> float | None:
    """Return the tolerance factor tau, unit 1 (doi:10.1126/sciadv.aav0693, eq. 1); radii in angstrom.

    None where it is not defined (r_A <= r_B). Perovskites are expected for tau < 4.18.
    """
    if radius_A <= radius_B:
        return None
    ratio = radius_A / radius_B
    return radius_X / radius_B - valence_A * (valence_A - ratio / math.log(ratio))


def configurational_entropy(sites: Mapping[str, Mapping[str, Fraction]]) -> float:
    """Return the ideal mixing entropy of all sublattices per formula unit, in units of R."""
    return sum(
        SITE_MULTIPLICITY[site] * float(x) * math.log(1 / float(x))
        for site, species in sites.items()
        for x in species.values()
    )
