"""Convex hull of phases: what a composition decomposes to, and how far above the hull an energy lies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition

from hemiec.errors import ThermoError
from hemiec.thermo.hull.facets import AMOUNT_TOLERANCE, Facets, Floats
from hemiec.thermo.phases import PhaseEnergy, PhaseSet

#: Systems whose facets are kept: a campaign has tens.
_KEPT_SYSTEMS = 256
#: Decimals of amounts and energies, far beyond any meaning.
_DIGITS = 12


@dataclass(frozen=True)
class Decomposition:
    """The hull at one composition.

    ``energy_per_atom`` is in eV/atom, ``amounts`` phase_id to the share of the atoms that the phase holds (they sum to
    one), ``chemical_potentials`` element to eV per atom, so that ``energy_per_atom = sum_i x_i mu_i``. Where fewer
    phases than elements coexist the potentials are not unique: these are then those of one of the facets that meet
    there.
    """

    energy_per_atom: float
    amounts: dict[str, float]
    chemical_potentials: dict[str, float]


class Hull:
    """Convex hull at 0 K of the phases of a chemical system.

    Of several polymorphs the lowest counts. The numbers are those of pymatgen's PhaseDiagram; that one makes the whole
    hull and goes through all of its facets for every composition, this one (:mod:`hemiec.thermo.hull.facets`) does not.

    Parameters
    ----------
    phases
        Phases of one protocol; those with other elements are left out.
    elements
        The system.

    Raises
    ------
    ThermoError
        If an element has no phase.
    """

    def __init__(self, phases: PhaseSet, elements: Collection[str]) -> None:
        self.elements = tuple(sorted(elements))
        phases.require(self.elements)
        lowest = phases.within(self.elements).lowest.values()
        self.phases: tuple[PhaseEnergy, ...] = tuple(sorted(lowest, key=lambda phase: phase.phase_id))
        self._index = {symbol: n for n, symbol in enumerate(self.elements)}
        self._facets = Facets(
            self.fractions([phase.composition for phase in self.phases]),
            np.array([phase.energy_per_atom for phase in self.phases]),
        )

    @property
    def chemsys(self) -> str:
        """Elements, alphabetical, joined with hyphens."""
        return "-".join(self.elements)

    def fractions(self, compositions: Sequence[Composition]) -> Floats:
        """Return atomic fractions of the system's elements, shape (compositions, elements); rows sum to one.

        Raises
        ------
        ThermoError
            If a composition is empty or has an element that the hull has not.
        """
        amounts = np.zeros((len(compositions), len(self.elements)))
        for row, composition in zip(amounts, compositions, strict=True):
            for element, amount in composition.items():
                if element.symbol not in self._index:
                    raise ThermoError(
                        f"{composition.formula}: element {element.symbol} is not in the hull of {self.chemsys}.",
                        mend="make the hull of all its elements",
                    )
                row[self._index[element.symbol]] += amount
        totals = amounts.sum(axis=1, keepdims=True)
        if not (np.isfinite(totals) & (totals > 0)).all():
            raise ThermoError("a composition has no atoms, or an amount that is not finite.")
        return np.asarray(amounts / totals)

    def energies(self, fractions: Floats) -> NDArray[np.float64]:
        """Return the energy of the hull in eV/atom, shape (compositions,), at atomic fractions of :meth:`fractions`."""
        facets = self._facets.at(fractions)
        potentials = np.array([facet.potentials for facet in self._facets.found])
        return np.asarray((fractions * potentials[facets]).sum(axis=1))

    def decompose(self, composition: Composition) -> Decomposition:
        """Return the mixture of phases of lowest energy at a composition, in any multiple."""
        return self.decompose_all([composition])[0]

    def decompose_all(self, compositions: Sequence[Composition]) -> list[Decomposition]:
        """Return the decompositions of many compositions."""
        fractions = self.fractions(compositions)
        return [
            self._decomposition(row, number)
            for row, number in zip(fractions, self._facets.at(fractions).tolist(), strict=True)
        ]

    def energy_above(self, composition: Composition, energy_per_atom: float) -> float:
        """Return an energy minus that of the hull, in eV/atom; negative if it lies below all mixtures of phases.

        Raises
        ------
        ThermoError
            If the energy is not finite, or the composition has an element that the hull has not.
        """
        if not isfinite(energy_per_atom):
            raise ThermoError(
                f"{composition.formula}: its energy is {energy_per_atom}; expected a finite number in eV/atom."
            )
        return energy_per_atom - self.decompose(composition).energy_per_atom

    def _decomposition(self, fractions: Floats, number: int) -> Decomposition:
        facet = self._facets.found[number]
        shares = zip((self.phases[n] for n in facet.members), (facet.inverse @ fractions).tolist(), strict=True)
        # Rounded, so that the last digits do not tell which of the facets that meet there was found first.
        products = sorted((p.phase_id, round(x, _DIGITS), p.energy_per_atom) for p, x in shares if x > AMOUNT_TOLERANCE)
        energy = sum(share * energy for _, share, energy in products)
        return Decomposition(
            round(energy, _DIGITS),
            {phase_id: share for phase_id, share, _ in products},
            dict(zip(self.elements, facet.potentials.tolist(), strict=True)),
        )


@lru_cache(maxsize=_KEPT_SYSTEMS)
def _hull_of(phases: PhaseSet, elements: frozenset[str]) -> Hull:
    return Hull(phases, elements)


def hull_of(phases: PhaseSet, elements: Collection[str]) -> Hull:
    """Return the hull of a system, made once for the same set of phases (the same object) and elements."""
    return _hull_of(phases, frozenset(elements))
