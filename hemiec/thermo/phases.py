"""Energies of phases on one scale: what a hull is built from.

Energies come from one protocol. Two protocols never meet in one set, and every energy carries the job that computed it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

from pymatgen.core import Composition

from hemiec.errors import ThermoError


@dataclass(frozen=True)
class PhaseEnergy:
    """A phase with its energy.

    ``energy_per_atom`` is in eV/atom on the scale of its protocol, every correction that the protocol states already
    in it; ``job_uuid`` is the job that relaxed the phase.
    """

    phase_id: str
    composition: Composition
    energy_per_atom: float
    protocol_hash: str
    job_uuid: str
    name: str = ""

    def __post_init__(self) -> None:
        if not isfinite(self.energy_per_atom):
            raise ThermoError(
                f"the energy of phase {self.phase_id} is {self.energy_per_atom}; expected a finite number in eV/atom.",
                mend=f"look at job {self.job_uuid}, and run it again: hemiec rerun {self.job_uuid}",
            )

    @cached_property
    def elements(self) -> frozenset[str]:
        """Symbols of its elements."""
        return frozenset(element.symbol for element in self.composition)

    @cached_property
    def formula(self) -> str:
        """Its reduced formula."""
        return str(self.composition.reduced_formula)


class PhaseSet:
    """Phases of one protocol, the lowest of every composition known.

    Raises
    ------
    ThermoError
        If they come from several protocols.
    """

    def __init__(self, phases: Iterable[PhaseEnergy]) -> None:
        self.phases = tuple(sorted(phases, key=lambda phase: phase.phase_id))
        hashes = sorted({phase.protocol_hash for phase in self.phases})
        if len(hashes) > 1:
            raise ThermoError(
                f"phases of {len(hashes)} protocols ({', '.join(hashes)}) cannot meet in one hull: "
                "their energies have different zeros.",
                mend="compute all of them with one protocol: hemiec references compute --help",
            )
        self.protocol_hash = hashes[0] if hashes else None

    def __len__(self) -> int:
        return len(self.phases)

    def __getitem__(self, phase_id: str) -> PhaseEnergy:
        return self._by_id[phase_id]

    def within(self, elements: Collection[str]) -> PhaseSet:
        """Return those made of some elements only."""
        wanted = frozenset(elements)
        return PhaseSet(phase for phase in self.phases if phase.elements <= wanted)

    @cached_property
    def _by_id(self) -> dict[str, PhaseEnergy]:
        return {phase.phase_id: phase for phase in self.phases}

    @cached_property
    def elements(self) -> frozenset[str]:
        """Every element that has a phase of its own, which a hull needs."""
        return frozenset(next(iter(phase.elements)) for phase in self.phases if len(phase.elements) == 1)

    def require(self, elements: Collection[str]) -> None:
        """Refuse a system of which an element has no phase.

        Raises
        ------
        ThermoError
            With the elements, and how to compute them.
        """
        missing = sorted(set(elements) - self.elements)
        if missing:
            raise ThermoError(
                f"the energy of element {', '.join(missing)} is missing from the reference phases.",
                mend=f"hemiec references compute --elements {','.join(sorted(elements))}",
            )

    @cached_property
    def lowest(self) -> dict[str, PhaseEnergy]:
        """Reduced formula to the lowest of its phases."""
        found: dict[str, PhaseEnergy] = {}
        for phase in self.phases:
            if phase.formula not in found or phase.energy_per_atom < found[phase.formula].energy_per_atom:
                found[phase.formula] = phase
        return found
