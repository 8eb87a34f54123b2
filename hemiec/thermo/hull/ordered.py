"""The ordered perovskites of a candidate's cations: what its solid solution would unmix to without leaving ABX3."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pymatgen.core import Composition

from hemiec.composition.fractions import VACANCY
from hemiec.errors import ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.thermo.hull.facets import AMOUNT_TOLERANCE, Facets
from hemiec.thermo.phases import PhaseEnergy, PhaseSet

_KEPT_SYSTEMS = 256
#: Decimals of amounts and energies, far beyond any meaning; as in the hull.
_DIGITS = 12


@dataclass(frozen=True)
class OrderedMixture:
    """The lowest mixture of ordered phases with a candidate's cations.

    ``energy_per_atom`` is that of the mixture with what it exchanges, in eV per atom of the candidate; ``amounts`` maps
    phase_id to its share of the candidate's atoms. They sum to one; that of an anion's element is negative where
    the mixture takes more of it than the candidate holds (a candidate with vacancies on X and O2 make stoichiometric
    perovskites).
    """

    energy_per_atom: float
    amounts: dict[str, float]


@dataclass(frozen=True)
class _System:
    """Ordered phases of some cations, per cation, the anions' elements taken off at 0 K."""

    cations: tuple[str, ...]
    phases: tuple[PhaseEnergy, ...]
    gases: dict[str, PhaseEnergy]
    facets: Facets


def ordered_mixture(candidate: CandidateSpec, composition: Composition, phases: PhaseSet) -> OrderedMixture:
    """Return the lowest mixture of ordered perovskites with the cations of a candidate.

    Ordered perovskites are the phases with as many cations of site A as of site B and three times as many anions, of
    whatever structure: all tabulated prototypes of ABX3, and double perovskites. For a pair of cations without any
    (Li and Co), its ABX2 phases stand in (layered LiCoO2). Anions that the mixture has too many or too few of are
    exchanged with their elements at the 0 K reference (O2): a composition with 3 - delta oxygen has a value too.

    Parameters
    ----------
    candidate
        Says which cations are on A and on B.
    composition
        What its energy belongs to, in any multiple.
    phases
        Reference phases.

    Raises
    ------
    ThermoError
        If no mixture has these cations: a pair without a tabulated phase, or unequal amounts on A and B.
    """
    on = {site: frozenset(candidate.sites[site]) - {VACANCY} for site in ("A", "B", "X")}
    system = _system(phases, on["A"], on["B"], on["X"])
    units = _mixture(candidate, composition, system)
    atoms = {phase_id: n * phases[phase_id].composition.num_atoms for phase_id, n in units.items()}
    for symbol, gas in system.gases.items():
        taken = sum(n * phases[phase_id].composition[symbol] for phase_id, n in units.items())
        left = composition[symbol] - taken
        if abs(left) > AMOUNT_TOLERANCE * composition.num_atoms:
            atoms[gas.phase_id] = left
    amounts = {phase_id: n / composition.num_atoms for phase_id, n in sorted(atoms.items())}
    energy = sum(share * phases[phase_id].energy_per_atom for phase_id, share in amounts.items())
    return OrderedMixture(round(energy, _DIGITS), amounts)


def _mixture(candidate: CandidateSpec, composition: Composition, system: _System) -> dict[str, float]:
    """Return phase_id to formula units in the lowest mixture with the cations of a composition."""
    known = ", ".join(phase.formula for phase in system.phases)
    held = frozenset(symbol for phase in system.phases for symbol in phase.elements)
    lacking = [symbol for symbol in system.cations if composition[symbol] > 0 and symbol not in held]
    if lacking:  # the usual case: no program needs to be solved to see it
        raise ThermoError(f"{candidate.label}: no ordered ABX3 phase of its cations holds {', '.join(lacking)}.")
    n_cations = _cations(composition, system.cations)
    shares = np.array([[composition[symbol] / n_cations for symbol in system.cations]])
    try:
        facet = system.facets.found[system.facets.at(shares)[0]]
    except ThermoError as error:
        raise ThermoError(f"{candidate.label}: {error.message} Ordered ABX3 phases of its cations: {known}.") from error
    amounts = zip((system.phases[n] for n in facet.members), facet.inverse @ shares[0], strict=True)
    return {
        phase.phase_id: round(float(share), _DIGITS) * n_cations / _cations(phase.composition, system.cations)
        for phase, share in amounts
        if share > AMOUNT_TOLERANCE
    }


@lru_cache(maxsize=_KEPT_SYSTEMS)
def _system(phases: PhaseSet, on_A: frozenset[str], on_B: frozenset[str], on_X: frozenset[str]) -> _System:
    """Return the ordered phases of some cations; kept for the same set of phases (the same object)."""
    within = phases.within(on_A | on_B | on_X)
    within.require(on_X)
    gases = {
        symbol: next(phase for phase in within.lowest.values() if phase.elements == {symbol}) for symbol in sorted(on_X)
    }
    perovskites = [phase for phase in within.lowest.values() if _is_ordered(phase, on_A, on_B, on_X, 3)]
    paired = {phase.elements - on_X for phase in perovskites}
    perovskites += [
        phase
        for phase in within.lowest.values()
        if _is_ordered(phase, on_A, on_B, on_X, 2) and phase.elements - on_X not in paired
    ]
    cations = tuple(sorted(on_A | on_B))
    points, energies = [], []
    for phase in perovskites:
        amounts = phase.composition
        n_cations = _cations(amounts, cations)
        energy = phase.energy_per_atom * amounts.num_atoms
        energy -= sum(amounts[symbol] * gas.energy_per_atom for symbol, gas in gases.items())
        points.append([amounts[symbol] / n_cations for symbol in cations])
        energies.append(energy / n_cations)
    facets = Facets(np.array(points, dtype=float).reshape(-1, len(cations)), np.array(energies))
    return _System(cations, tuple(perovskites), gases, facets)


def _cations(composition: Composition, cations: tuple[str, ...]) -> float:
    return float(sum(composition[symbol] for symbol in cations))


def _is_ordered(
    phase: PhaseEnergy, on_A: frozenset[str], on_B: frozenset[str], on_X: frozenset[str], anions_per_unit: int
) -> bool:
    """Return whether a phase is A_n B_n X_(anions n): half of its cations fit on A and half on B."""
    amounts = {element.symbol: float(amount) for element, amount in phase.composition.items()}
    units = sum(amounts.get(symbol, 0.0) for symbol in on_A | on_B) / 2
    if units == 0 or len(phase.elements - on_X) < 2:
        return False
    only_A = sum(amounts.get(symbol, 0.0) for symbol in on_A - on_B)
    only_B = sum(amounts.get(symbol, 0.0) for symbol in on_B - on_A)
    anions = sum(amounts.get(symbol, 0.0) for symbol in on_X)
    tolerance = 1e-6 * units
    return abs(anions - anions_per_unit * units) < tolerance and max(only_A, only_B) < units + tolerance
