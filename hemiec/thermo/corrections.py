"""What a protocol adds to energies so that phases of different kinds share one scale: applied here and nowhere else.

Builders turn what jobs computed into :class:`~hemiec.thermo.phases.PhaseEnergy` through
:func:`corrected_energy_per_atom`, references and candidates alike, and pass no correction on: whoever calls
:mod:`hemiec.thermo.formation` with corrected energies states ``o2_correction=0``. The corrections are data of the
protocol (its block ``thermo``), with source and error: no part of the hash of its physics, and the builder rebuilds
when they change. What they are worth: docs/thermodynamic-accuracy.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Protocol

from pymatgen.core import Composition

from hemiec.errors import ThermoError


class ElementCorrection(Protocol):
    """One entry of a protocol's ``element_corrections``."""

    @property
    def element(self) -> str:
        """Symbol of the element that carries it."""
        ...

    @property
    def compounds_with(self) -> list[str]:
        """Elements of which one must be in the compound."""
        ...

    @property
    def eV_per_atom(self) -> float:
        """What is added per atom of the element, in eV."""
        ...


class Corrections(Protocol):
    """What is read of a protocol's ``thermo`` block (:class:`hemiec.engines.settings.ThermoSettings`)."""

    @property
    def molecule_corrections_eV_per_atom(self) -> Mapping[str, float]:
        """Formula of an elemental phase (O2, Cl2, F2, S) to what is added per atom, in eV."""
        ...

    @property
    def phase_corrections_eV_per_atom(self) -> Mapping[str, float]:
        """Reduced formula of a compound to what is added to phases of just that composition, in eV per atom."""
        ...

    @property
    def element_corrections(self) -> Sequence[ElementCorrection]:
        """Corrections of elements in compounds."""
        ...


def corrected_energy_per_atom(
    phase_id: str, composition: Composition, energy_per_atom: float, settings: Corrections
) -> float:
    """Return an energy on the scale of its protocol, in eV/atom.

    Parameters
    ----------
    phase_id
        Of a reference phase, whose formula stands before the first hyphen; for a candidate, its id. It tells the
        molecule O2 from a solid of the same element.
    composition
        What the energy belongs to, in any multiple.
    energy_per_atom
        As the job computed it, in eV/atom.
    settings
        ``load_protocol(name).thermo``.

    Raises
    ------
    ThermoError
        If the energy is not finite, or there are no atoms.
    """
    if not isfinite(energy_per_atom):
        raise ThermoError(
            f"the energy of phase {phase_id} is {energy_per_atom}; expected a finite number in eV/atom.",
            mend="run its job again: hemiec rerun",
        )
    return energy_per_atom + sum(applied_corrections(phase_id, composition, settings).values())


def applied_corrections(phase_id: str, composition: Composition, settings: Corrections) -> dict[str, float]:
    """Return what :func:`corrected_energy_per_atom` adds, in eV/atom, by the formula or element that it is stated for.

    Empty where nothing is added: documents say in their ``method`` what is in their numbers. The arguments are the
    same.

    Raises
    ------
    ThermoError
        If there are no atoms.
    """
    if composition.num_atoms <= 0:
        raise ThermoError(f"phase {phase_id} has no atoms.")
    amounts = {element.symbol: float(amount) for element, amount in composition.items() if amount}
    if len(amounts) == 1:
        formula = phase_id.split("-")[0]
        added = settings.molecule_corrections_eV_per_atom.get(formula)
        return {} if added is None else {formula: added}
    found = {}
    formula = composition.reduced_formula
    if formula in settings.phase_corrections_eV_per_atom:
        found[formula] = settings.phase_corrections_eV_per_atom[formula]
    total = sum(amounts.values())
    for entry in settings.element_corrections:
        if entry.element in amounts and not amounts.keys().isdisjoint(entry.compounds_with):
            found[entry.element] = found.get(entry.element, 0.0) + amounts[entry.element] / total * entry.eV_per_atom
    return found
