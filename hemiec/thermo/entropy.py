"""Ideal mixing entropy of a candidate, and the temperature at which it makes the candidate stable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite, log
from typing import Literal

from hemiec.composition.candidate import exact_sites
from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.composition.fractions import VACANCY
from hemiec.errors import ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import EntropyDoc
from hemiec.units import BOLTZMANN_EV_PER_K

#: In K. The highest stands for the synthesis: what entropy cannot stabilise there it will not at all. A choice.
TEMPERATURES_K = tuple(float(t) for t in range(0, 1501, 50))

Decision = Literal["enthalpy", "entropy", "neither", "undecided"]


def mixing_entropy(
    candidate: CandidateSpec, *, vacancies: bool = True, charge_disorder: bool = False
) -> dict[str, float]:
    """Return the ideal mixing entropy of each sublattice, in eV/K per atom of the candidate.

    ``S = -k_B m sum_i x_i ln x_i / N``, m sites per formula unit, N atoms (not vacancies) per formula unit: all species
    of a sublattice on it at random, no short-range order.

    Parameters
    ----------
    candidate
        The composition.
    vacancies
        Whether vacancies mix as a species does; if not, ions mix over the sites they fill.
    charge_disorder
        Whether the two valences of each B cation of fractional mean valence (Co3.6+: 60 % 4+) mix at random, under
        the key ``charge``. True for localised charges at high temperature, an upper bound otherwise (none in a metal).
    """
    sites = exact_sites(candidate)
    atoms = sum(
        float(x) * SITE_MULTIPLICITY[site]
        for site, species in sites.items()
        for s, x in species.items()
        if s != VACANCY
    )
    entropies = {}
    for site, species in sites.items():
        mixed = {s: float(x) for s, x in species.items() if vacancies or s != VACANCY}
        filled = sum(mixed.values())
        per_site = filled * _mixing(x / filled for x in mixed.values()) if filled else 0.0
        entropies[site] = BOLTZMANN_EV_PER_K * SITE_MULTIPLICITY[site] * per_site / atoms
    if charge_disorder:
        higher = {s: candidate.oxidation_states[s] % 1 for s in sites["B"] if s != VACANCY}
        per_site = sum(float(sites["B"][s]) * _mixing((f, 1 - f)) for s, f in higher.items())
        entropies["charge"] = BOLTZMANN_EV_PER_K * SITE_MULTIPLICITY["B"] * per_site / atoms
    return entropies


def _mixing(fractions: Iterable[float]) -> float:
    """Return -sum x ln x."""
    return -sum(x * log(x) for x in fractions if x > 0) + 0.0


def decide(low: float, high: float, entropy: float, highest_K: float) -> Decision:
    """Return what makes a candidate stable, given the 90 % interval of its energy above the hull at 0 K.

    ``enthalpy``
        The upper end at 0 K is not above zero: stable without any entropy.
    ``entropy``
        The lower end at 0 K is above zero, and the upper end falls to zero up to the highest temperature: not stable
        without its entropy, stable with it.
    ``neither``
        The lower end is above zero up to the highest temperature: not stable with its entropy either.
    ``undecided``
        The interval allows two of these.

    Parameters
    ----------
    low, high
        Ends of the interval, in eV/atom.
    entropy
        Total mixing entropy, in eV/K/atom.
    highest_K
        Highest temperature, in K.
    """
    gain = entropy * highest_K
    if high <= 0:
        return "enthalpy"
    if low > 0 and high - gain <= 0:
        return "entropy"
    if low - gain > 0:
        return "neither"
    return "undecided"


def entropy_doc(
    candidate: CandidateSpec,
    energy_above_hull: Quantity,
    *,
    temperatures_K: Sequence[float] = TEMPERATURES_K,
    vacancies: bool = True,
    charge_disorder: bool = False,
) -> EntropyDoc:
    """Return the stability of a candidate as a function of temperature, by its ideal mixing entropy.

    ``E_hull(T) = E_hull - T S``. The products are ordered phases: they have no mixing entropy. Where they would mix
    among themselves (into two solid solutions instead of one), S is an upper bound of what the candidate gains, as it
    is with short-range order. Vibrations are taken to be alike in candidate and products, and the entropy of O2 among
    the products is not counted (`OxygenDoc` and the windows have the gas).

    Parameters
    ----------
    candidate
        The composition.
    energy_above_hull
        At 0 K, in eV/atom, with its interval.
    temperatures_K
        Of the curve, ascending, in K; the last is the highest that counts for a decision.
    vacancies, charge_disorder
        As in :func:`mixing_entropy`.

    Raises
    ------
    ThermoError
        If there is no energy above the hull, or temperatures are not ascending from 0 or more.
    """
    if energy_above_hull.value is None:
        raise ThermoError(f"{candidate.label}: no energy above the hull: {energy_above_hull.reason}.")
    temperatures = list(map(float, temperatures_K))
    ascending = all(a < b for a, b in pairwise(temperatures))
    if not temperatures or not ascending or temperatures[0] < 0 or not all(map(isfinite, temperatures)):
        raise ThermoError(f"temperatures in K must ascend from 0 or more, got {temperatures}.")
    parts = mixing_entropy(candidate, vacancies=vacancies, charge_disorder=charge_disorder)
    entropy, value, highest = sum(parts.values()), energy_above_hull.value, temperatures[-1]
    ends = energy_above_hull.interval
    return EntropyDoc(
        mixing_entropy=parts,
        temperatures_K=temperatures,
        energy_above_hull=[value - T * entropy for T in temperatures],
        low=[ends[0] - T * entropy for T in temperatures] if ends else None,
        high=[ends[1] - T * entropy for T in temperatures] if ends else None,
        stabilised_above_K=_stable_from(value, entropy, highest) if value > 0 else None,
        stabilised_interval_K=(
            _stable_from(ends[0], entropy, highest) if ends else None,
            _stable_from(ends[1], entropy, highest) if ends else None,
        ),
        decided_by=decide(*ends, entropy, highest) if ends else "undecided",
        method=_method(vacancies, charge_disorder, known=ends is not None),
    )


def _stable_from(energy: float, entropy: float, highest_K: float) -> float | None:
    """Return the temperature from which an energy above the hull is made up for, in K; None above the highest."""
    if energy <= 0:
        return 0.0
    return energy / entropy if energy <= entropy * highest_K else None


def _method(vacancies: bool, charge_disorder: bool, *, known: bool) -> str:
    counted = [
        "cations and anions",
        *(["vacancies"] if vacancies else []),
        *(["valences on B"] if charge_disorder else []),
    ]
    interval = "" if known else "; undecided, for the energy above the hull has no interval"
    return (
        f"ideal mixing of {', '.join(counted)} per sublattice, none in the ordered products; vibrations alike; "
        f"entropy of gases not counted{interval}"
    )
