"""Hulls of which one element may be open: held at a chemical potential by a reservoir."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pymatgen.core import Composition

from hemiec.thermo.hull.facets import Facets, Floats
from hemiec.thermo.phases import PhaseEnergy, PhaseSet

#: Reduced formula of an element where it is not its symbol.
_ELEMENTAL = {"O": "O2"}
#: Step in composition for one-sided chemical potentials: far above the tolerance of facets.
_STEP = 1e-5
#: Systems whose hulls are kept: some twenty per set of elements.
_KEPT_SYSTEMS = 512


@lru_cache(maxsize=8)
def _table(phases: PhaseSet) -> tuple[tuple[PhaseEnergy, ...], tuple[str, ...], Floats]:
    """Return the lowest phases, the elements, and the fractions of these in those, shape (phases, elements)."""
    lowest = tuple(phases.lowest.values())
    symbols = tuple(sorted({symbol for phase in lowest for symbol in phase.elements}))
    return lowest, symbols, np.array([fractions_of(phase.composition, symbols) for phase in lowest])


def fractions_of(composition: Composition, symbols: Sequence[str]) -> Floats:
    """Return the atomic fractions of some elements, shape (elements,)."""
    row = np.zeros(len(symbols))
    for element, amount in composition.items():
        row[symbols.index(element.symbol)] = amount
    return np.asarray(row / row.sum())


@dataclass(frozen=True, eq=False)
class OpenHull:
    """Hull of the phases of some elements, of which one may be open.

    ``fractions`` are of all elements, shape (phases, elements), ``energies`` in eV/atom, ``column`` that of the open
    element or None, ``potential`` its potential in eV on the scale of the energies. The hull is over the other
    elements, of grand potentials per atom of these.
    """

    names: tuple[tuple[str, str], ...]
    symbols: tuple[str, ...]
    fractions: Floats
    energies: Floats
    column: int | None
    potential: float
    facets: Facets

    @classmethod
    def of(
        cls,
        names: tuple[tuple[str, str], ...],
        symbols: tuple[str, ...],
        fractions: Floats,
        energies: Floats,
        column: int | None,
        potential: float,
    ) -> OpenHull:
        """Return the system without the open element's own phases, of which nothing else is left."""
        held = np.ones(len(energies)) if column is None else 1 - fractions[:, column]
        rows = np.flatnonzero(held > 0)
        fractions, energies, held = fractions[rows], energies[rows], held[rows]
        grand = energies if column is None else energies - potential * fractions[:, column]
        rest = fractions if column is None else np.delete(fractions, column, axis=1)
        facets = Facets(rest / held[:, None], grand / held)
        return cls(tuple(names[row] for row in rows), symbols, fractions, energies, column, potential, facets)

    def closed(self, fractions: Floats) -> Floats:
        """Return the amounts of the elements that are not open."""
        return fractions if self.column is None else np.delete(fractions, self.column)

    def grand(self, fractions: Floats, energy_per_atom: float) -> float:
        """Return the energy, less that of open atoms in their reservoir, in eV per atom of all elements."""
        return energy_per_atom if self.column is None else energy_per_atom - self.potential * fractions[self.column]

    def hull(self, fractions: Floats) -> float:
        """Return the (grand) potential of the hull at a composition, in eV per atom of all elements."""
        rest = self.closed(fractions)
        facet = self.facets.found[self.facets.at((rest / rest.sum())[None])[0]]
        return float(facet.potentials @ rest)

    def with_phase(self, name: tuple[str, str], fractions: Floats, energy_per_atom: float) -> OpenHull:
        """Return the system with one more phase."""
        return OpenHull.of(
            (*self.names, name),
            self.symbols,
            np.vstack([self.fractions, fractions]),
            np.append(self.energies, energy_per_atom),
            self.column,
            self.potential,
        )

    def potential_range(self, fractions: Floats, symbol: str) -> tuple[float, float]:
        """Return the chemical potentials of an element, in eV, between which the equilibrium at a composition holds.

        The lower is minus infinity if it has none of the element.
        """
        column = self.symbols.index(symbol)
        step = np.zeros(len(fractions))
        step[column] = _STEP
        ends = [fractions + step] + ([fractions - step] if fractions[column] > _STEP else [])
        facets = self.facets.at(np.array([end / end.sum() for end in ends])).tolist()
        potentials = [float(self.facets.found[number].potentials[column]) for number in facets]
        return (potentials[1] if len(ends) > 1 else -np.inf), potentials[0]


@lru_cache(maxsize=_KEPT_SYSTEMS)
def open_hull(phases: PhaseSet, elements: frozenset[str], element: str | None, potential: float | None) -> OpenHull:
    """Return the hull of the phases of some elements under a condition; kept, for candidates share it."""
    lowest, symbols, table = _table(phases)
    inside = np.array([symbol in elements for symbol in symbols])
    rows = np.flatnonzero(~(table[:, ~inside] > 0).any(axis=1))
    kept = tuple(symbol for symbol in symbols if symbol in elements)
    return OpenHull.of(
        tuple((lowest[row].phase_id, lowest[row].composition.reduced_formula) for row in rows),
        kept,
        table[np.ix_(rows, inside)],
        np.array([lowest[row].energy_per_atom for row in rows]),
        None if element is None else kept.index(element),
        0.0 if element is None else phases.lowest[_ELEMENTAL.get(element, element)].energy_per_atom + (potential or 0),
    )
