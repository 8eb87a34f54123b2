"""Reactions of a candidate with lithium and solid electrolytes, in the pseudo-binary approach.

Candidate and partner are mixed at every fraction x and fall to the hull of all phases of their elements; the energy
released is the reaction energy, and where the products change the curve has a kink
(doi:10.1021/acs.chemmater.5b04082, doi:10.1039/C5TA08574H). If one element is exchanged with a reservoir, the grand
potential ``E - mu N`` takes the place of the energy. It is what pymatgen's InterfacialReactivity and
GrandPotentialInterfacialReactivity do, but for any number of elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Literal

import numpy as np
from pymatgen.core import Composition

from hemiec.errors import ThermoError
from hemiec.schemas.thermo import InterfaceDoc, PhaseAmount, ReactionKink
from hemiec.thermo.hull.open_system import OpenHull, fractions_of, open_hull
from hemiec.thermo.hull.tie_lines import Kink, kinks_along
from hemiec.thermo.interfaces.partners import MOBILE, PARTNERS, Partner
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.potentials.gases import AIR_PO2_BAR, oxygen_chemical_potential

#: Element to the lower and upper end of its chemical potential, in eV.
Ranges = dict[str, tuple[float, float]]

#: phase_id of the candidate itself among products.
CANDIDATE = "candidate"
#: A candidate less than this below the hull, in eV/atom, is on it.
_ON_HULL = 1e-7


@dataclass(frozen=True)
class Condition:
    """An open element and its chemical potential relative to the element, in eV; both None for a closed system."""

    element: Literal["Li", "O"] | None
    potential: float | None
    why: str


CLOSED = Condition(None, None, "nothing is exchanged")
CONDITIONS = (
    CLOSED,
    Condition("Li", 0.0, "0 V against Li/Li+: in contact with the anode"),
    Condition("Li", -4.0, "4 V against Li/Li+: a charged cathode"),
    Condition("O", float(oxygen_chemical_potential(298.15, AIR_PO2_BAR)), "air at 298.15 K"),
)


def interfaces(
    composition: Composition,
    energy_per_atom: float,
    phases: PhaseSet,
    *,
    partners: Sequence[Partner] = PARTNERS,
    conditions: Sequence[Condition] = CONDITIONS,
) -> list[InterfaceDoc]:
    """Return the reactions of a candidate with each partner under each condition.

    Energies are from the candidate and the partner as computed, so a metastable candidate has a curve that ends at
    minus its energy above the hull (``use_hull_energy=False`` in pymatgen), and are per atom of the mixture before it
    exchanges anything. A candidate below all phases is itself among them, with phase_id :data:`CANDIDATE`. An
    element is its own reservoir, on either side, and is only taken closed.

    Parameters
    ----------
    composition
        Of the candidate, in any multiple.
    energy_per_atom
        Of the candidate, in eV/atom, on the scale of the phases.
    phases
        Phases of one protocol: all of the elements of candidate and partners, Li and O.
    partners, conditions
        Which, and in contact with what.

    Raises
    ------
    ThermoError
        If the energy is not finite, the composition is empty, or an element or a partner has no phase.
    """
    if not isfinite(energy_per_atom) or composition.num_atoms <= 0:
        raise ThermoError(
            f"interfaces need atoms and a finite energy; got {composition.formula or 'no atoms'} with "
            f"{energy_per_atom} eV/atom."
        )
    missing = lacking(composition, phases, partners)
    if missing:
        needed = sorted(set().union(*(_elements(composition, partner) for partner in partners)))
        raise ThermoError(
            f"interfaces of {composition.reduced_formula}: " + "; ".join(missing.values()),
            mend=f"hemiec references compute --elements {','.join(needed)}",
        )
    docs = []
    own = _ranges(composition, energy_per_atom, phases)
    for partner in partners:
        pair = _Pair(composition, energy_per_atom, phases, partner, own)
        closed_only = len(partner.elements) == 1 or len(composition) == 1
        docs += [pair.doc(condition) for condition in conditions if condition == CLOSED or not closed_only]
    return docs


def lacking(composition: Composition, phases: PhaseSet, partners: Sequence[Partner] = PARTNERS) -> dict[str, str]:
    """Return the partners that cannot be computed, by name, with what they lack."""
    found = {}
    for partner in partners:
        formulas = [formula for formula, _ in partner.mixture if _reduced(formula) not in phases.lowest]
        elements = sorted(_elements(composition, partner) - phases.elements)
        lacks = [f"the energy of phase {formula}" for formula in formulas]
        lacks += [f"the energy of element {', '.join(elements)}"] if elements else []
        if lacks:
            found[partner.name] = f"{partner.name} lacks {' and '.join(lacks)}"
    return found


def worst(docs: Iterable[InterfaceDoc]) -> InterfaceDoc | None:
    """Return the most negative reaction with a solid electrolyte in a closed system; None if there is none.

    Open systems are left out: there much of the energy is what the electrolyte alone would release to the reservoir.
    """
    closed = [doc for doc in docs if doc.role == "electrolyte" and doc.open_element is None]
    return min(closed, key=lambda doc: doc.reaction_energy, default=None)


def _elements(composition: Composition, partner: Partner) -> frozenset[str]:
    return partner.elements | {element.symbol for element in composition} | set(MOBILE)


@lru_cache(maxsize=1024)
def _reduced(formula: str) -> str:
    return Composition(formula).reduced_formula


def _ranges(composition: Composition, energy_per_atom: float, phases: PhaseSet) -> Ranges:
    """Return the potentials of the mobile elements between which a composition keeps its equilibrium, closed."""
    system = open_hull(phases, frozenset(e.symbol for e in composition) | set(MOBILE), None, None)
    fractions = fractions_of(composition, system.symbols)
    if energy_per_atom < system.hull(fractions) - _ON_HULL:
        system = system.with_phase((CANDIDATE, composition.reduced_formula), fractions, energy_per_atom)
    return {symbol: system.potential_range(fractions, symbol) for symbol in MOBILE}


class _Pair:
    """A candidate and a partner: what all conditions share."""

    def __init__(
        self, composition: Composition, energy_per_atom: float, phases: PhaseSet, partner: Partner, own: Ranges
    ) -> None:
        self.phases, self.partner = phases, partner
        self.elements = _elements(composition, partner)
        symbols = sorted(self.elements)
        self.name = (CANDIDATE, composition.reduced_formula)
        self.fractions = np.array([fractions_of(composition, symbols), fractions_of(partner.composition, symbols)])
        self.energies = (energy_per_atom, sum(share * phase.energy_per_atom for phase, share in self._parts()))
        theirs = _ranges(partner.composition, self.energies[1], phases)
        self.jump = {
            symbol: max(own[symbol][0] - theirs[symbol][1], 0.0) + min(own[symbol][1] - theirs[symbol][0], 0.0)
            for symbol in MOBILE
        }

    def _parts(self) -> list[tuple[PhaseEnergy, float]]:
        """Return the phases of the partner with their shares of its atoms."""
        return [
            (
                self.phases.lowest[_reduced(formula)],
                units * Composition(formula).num_atoms / self.partner.composition.num_atoms,
            )
            for formula, units in self.partner.mixture
        ]

    def _curve(self, condition: Condition) -> tuple[OpenHull, list[Kink]]:
        """Return the hull and its kinks from the partner to the candidate, which is in it if it lies below all else."""
        system = open_hull(self.phases, self.elements, condition.element, condition.potential)
        candidate, partner = self.fractions
        kinks = kinks_along(system.facets, system.closed(partner), system.closed(candidate))
        if system.grand(candidate, self.energies[0]) < kinks[-1].energy - _ON_HULL:
            system = system.with_phase(self.name, candidate, self.energies[0])
            kinks = kinks_along(system.facets, system.closed(partner), system.closed(candidate))
        return system, kinks

    def doc(self, condition: Condition) -> InterfaceDoc:
        """Return the reaction curve under a condition."""
        system, found = self._curve(condition)
        candidate, partner = self.fractions
        before = system.grand(candidate, self.energies[0]), system.grand(partner, self.energies[1])
        kinks = [
            self._kink(system, kink, kink.energy - kink.x * before[0] - (1 - kink.x) * before[1]) for kink in found
        ]
        own = kinks[0].reaction_energy, kinks[-1].reaction_energy
        lowest = min(kinks, key=lambda kink: kink.reaction_energy)
        return InterfaceDoc(
            partner=self.partner.name,
            role=self.partner.role,
            phases=[
                _amount((phase.phase_id, phase.composition.reduced_formula), share) for phase, share in self._parts()
            ],
            open_element=condition.element,
            chemical_potential=condition.potential,
            kinks=kinks,
            reaction_energy=lowest.reaction_energy,
            worst_fraction=lowest.fraction,
            mutual_energy=min(k.reaction_energy - (1 - k.fraction) * own[0] - k.fraction * own[1] for k in kinks),
            potential_jump=self.jump,
        )

    def _kink(self, system: OpenHull, kink: Kink, energy: float) -> ReactionKink:
        """Return a kink as it is stored: amounts in atoms of all elements, those from the reservoir included."""
        numbers = list(kink.shares)
        held = np.ones(len(numbers)) if system.column is None else 1 - system.fractions[numbers, system.column]
        atoms = np.array(list(kink.shares.values())) / held
        before = kink.x * self.fractions[0] + (1 - kink.x) * self.fractions[1]
        after = atoms @ system.fractions[numbers]
        uptake = 0.0 if system.column is None else float(after[system.column] - before[system.column])
        amounts = zip((system.names[number] for number in numbers), atoms / atoms.sum(), strict=True)
        return ReactionKink(
            fraction=kink.x,
            # Not above zero by rounding: what does not react stays as it is.
            reaction_energy=min(energy, 0.0),
            uptake=uptake,
            products=sorted((_amount(name, share) for name, share in amounts), key=lambda p: (-p.amount, p.phase_id)),
        )


def _amount(name: tuple[str, str], share: float) -> PhaseAmount:
    return PhaseAmount(phase_id=name[0], formula=name[1], amount=float(share))
