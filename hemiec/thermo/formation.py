"""Formation energies of a candidate from the elements and from binary oxides.

Everything is at 0 K without zero-point energy, and within one protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pymatgen.core import Composition

from hemiec.composition.candidate import exact_sites
from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.composition.fractions import VACANCY
from hemiec.errors import ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.thermo.references.table import ReferencePhase, cations, element_phase, is_oxide, oxide_phase


@dataclass(frozen=True)
class FormationEnergy:
    """A formation energy in eV/atom, its reaction per formula unit, and the phases it refers to."""

    value: float
    reaction: str
    phases: tuple[ReferencePhase, ...]


def composition(candidate: CandidateSpec) -> Composition:
    """Return the amounts of atoms per formula unit; vacancies are none, so oxygen is 3 - delta."""
    amounts: dict[str, float] = {}
    for site, species in exact_sites(candidate).items():
        for symbol, fraction in species.items():
            if symbol == VACANCY:
                continue
            amounts[symbol] = amounts.get(symbol, 0.0) + float(fraction) * SITE_MULTIPLICITY[site]
    return Composition(amounts)


def from_elements(
    candidate: CandidateSpec,
    energy_per_atom: float,
    references: Mapping[str, float],
    o2_correction: float,
    *,
    made: Composition | None = None,
) -> FormationEnergy:
    """Return the formation energy from the elements in their standard states.

    ``E_f = E/N - sum_i x_i mu_i``, mu the energy per atom of the reference phase; the energy of O2 is
    shifted by ``o2_correction`` (eV per O atom), 0 where the energies are corrected already. Fluorides and chlorides
    are formed from F2 and Cl2.

    Parameters
    ----------
    candidate
        The composition.
    energy_per_atom
        Energy of its relaxed cell, in eV/atom.
    references
        phase_id to energy of the relaxed phase, in eV/atom, same protocol.
    o2_correction
        Added to the energy of O2, in eV per O atom.
    made
        What the relaxed cell really holds, if its fractions were rounded to fit; by default the candidate's amounts.

    Raises
    ------
    ThermoError
        If a reference energy is missing.
    """
    amounts = _amounts(candidate, made)
    value = energy_per_atom
    phases = []
    terms = []
    for element, amount in amounts.items():
        phase = element_phase(element.symbol)
        mu = _energy(references, phase) + (o2_correction if phase.formula == "O2" else 0.0)
        value -= amount / amounts.num_atoms * mu
        phases.append(phase)
        terms.append((amount / Composition(phase.formula).num_atoms, phase.formula))
    return FormationEnergy(value, _write(terms, candidate), tuple(phases))


def from_oxides(
    candidate: CandidateSpec,
    energy_per_atom: float,
    references: Mapping[str, float],
    o2_correction: float,
    *,
    made: Composition | None = None,
) -> FormationEnergy:
    """Return the formation enthalpy from binary oxides, one per cation, and O2 for the balance.

    Per cation the tabulated oxide nearest in oxidation state is taken; oxygen that the oxides lack
    (or have in excess) is exchanged as O2, corrected as in :func:`from_elements`; the arguments are the same.
    An oxygen-deficient candidate is compared as it is, with its 3 - delta oxygen.

    Raises
    ------
    ThermoError
        If oxygen is not the only anion, or a reference energy is missing.
    """
    if not is_oxide(candidate):
        others = ", ".join(s for s in candidate.sites["X"] if s not in ("O", VACANCY))
        raise ThermoError(
            f"{candidate.label}: binary oxides are no reference for a compound with other anions ({others})."
        )
    amounts = _amounts(candidate, made)
    oxygen = float(amounts["O"])
    energy = energy_per_atom * amounts.num_atoms
    terms: list[tuple[float, str]] = []
    phases = []
    for symbol in cations(candidate):
        phase = oxide_phase(symbol, candidate.oxidation_states[symbol])
        oxide = Composition(phase.formula)
        amount = float(amounts[symbol]) / float(oxide[symbol])
        energy -= amount * oxide.num_atoms * _energy(references, phase)
        oxygen -= amount * float(oxide["O"])
        terms.append((amount, phase.formula))
        phases.append(phase)
    if abs(oxygen) > 1e-6:
        phase = element_phase("O")
        energy -= oxygen * (_energy(references, phase) + o2_correction)
        terms.append((oxygen / 2, "O2"))
        phases.append(phase)
    return FormationEnergy(energy / amounts.num_atoms, _write(terms, candidate), tuple(phases))


def _amounts(candidate: CandidateSpec, made: Composition | None) -> Composition:
    """Return the amounts per ABX3 unit that the energy belongs to."""
    stated = composition(candidate)
    if made is None:
        return stated
    cations_B = sum(float(x) for x in exact_sites(candidate)["B"].values())
    on_B = sum(made[symbol] for symbol in candidate.sites["B"] if symbol not in candidate.sites["A"])
    scale = stated.num_atoms / made.num_atoms if not on_B else cations_B / on_B
    return made * scale


def _energy(references: Mapping[str, float], phase: ReferencePhase) -> float:
    if phase.phase_id not in references:
        raise ThermoError(f"the energy of reference phase {phase.phase_id} is missing.", mend="run the campaign on")
    return references[phase.phase_id]


def _write(terms: list[tuple[float, str]], candidate: CandidateSpec) -> str:
    """Return '0.2 BaO + ... -> formula'; negative amounts go to the product side."""
    left = [f"{amount:.4g} {formula}" for amount, formula in terms if amount > 0]
    right = [candidate.formula] + [f"{-amount:.4g} {formula}" for amount, formula in terms if amount < 0]
    return " + ".join(left) + " -> " + " + ".join(right)
