"""The energies of the reference phases that hulls are made from, whichever campaign asked for them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

from pymatgen.core import Composition

from hemiec.composition.fractions import VACANCY
from hemiec.engines.settings import ThermoSettings
from hemiec.store.building.digest import digest
from hemiec.store.database import Document
from hemiec.thermo.corrections import corrected_energy_per_atom
from hemiec.thermo.interfaces.partners import MOBILE, PARTNERS
from hemiec.thermo.phases import PhaseEnergy, PhaseSet

_SYMBOL = re.compile("[A-Z][a-z]?")
#: Sets of phases that are kept: the hulls of each are kept with it.
_KEPT = 256
_KEPT_PHASES = 8_192


@dataclass(frozen=True)
class Relaxed:
    """A reference phase whose job has finished.

    ``energy_per_atom`` is as the job computed it, in eV/atom.
    """

    phase_id: str
    name: str
    job_uuid: str
    completed_at: str
    energy_per_atom: float
    converged: bool


@dataclass(frozen=True)
class Pool:
    """The phases of some chemical systems in one protocol; pools of equal stamp are equal.

    ``failures`` maps phase_id to why its job failed.
    """

    protocol_hash: str
    stamp: str
    phases: tuple[Relaxed, ...] = field(default=(), compare=False)
    failures: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def computed(self) -> set[str]:
        """Ids of the phases whose jobs have finished, those that did not converge too."""
        return {phase.phase_id for phase in self.phases}


class Pools:
    """The phases of all campaigns, by protocol.

    A phase that several jobs computed (its starting structure was changed since) is that of the latest.

    Parameters
    ----------
    relaxed
        Hash of the protocol to its phases.
    failures
        Hash of the protocol to phase_id to why its job failed.
    """

    def __init__(self, relaxed: Mapping[str, Iterable[Relaxed]], failures: Mapping[str, Mapping[str, str]]) -> None:
        self._failures = failures
        self._stamps: dict[str | None, str] = {}
        self._by_elements: dict[str, dict[frozenset[str], list[Relaxed]]] = {}
        for protocol_hash, phases in relaxed.items():
            grouped = self._by_elements.setdefault(protocol_hash, defaultdict(list))
            latest = {phase.phase_id: phase for phase in sorted(phases, key=lambda p: (p.completed_at, p.job_uuid))}
            for phase_id in sorted(latest):
                grouped[elements_of(phase_id)].append(latest[phase_id])

    @classmethod
    def of(cls, jobs: Iterable[Document], outputs: Mapping[str, Document], failures: Mapping[str, str]) -> Pools:
        """Return the pools of jobs of reference phases, with what these returned or failed of."""
        relaxed: dict[str, list[Relaxed]] = defaultdict(list)
        failed: dict[str, dict[str, str]] = defaultdict(dict)
        for uuid, job in {job["uuid"]: job for job in jobs}.items():
            document = outputs.get(uuid)
            if document is not None:
                output = document["output"]
                energy, converged = float(output["energy_per_atom"]), bool(output["converged"])
                about = (job["phase_id"], job["label"], uuid, str(document["completed_at"]))
                relaxed[job["protocol_hash"]].append(Relaxed(*about, energy, converged))
            elif uuid in failures:
                failed[job["protocol_hash"]][job["phase_id"]] = failures[uuid]
        return cls(relaxed, failed)

    def stamp(self, protocol_hash: str | None) -> str:
        """Return the hash of all phases of a protocol."""
        if protocol_hash not in self._stamps:
            groups = self._by_elements.get(protocol_hash or "", {})
            phases = (phase for group in groups.values() for phase in group)
            self._stamps[protocol_hash] = _stamp(phases, self._failures.get(protocol_hash or ""))
        return self._stamps[protocol_hash]

    def within(self, protocol_hash: str, elements: frozenset[str]) -> Pool:
        """Return the phases of one protocol in the systems that belong to some elements; see :func:`systems_of`."""
        groups = self._by_elements.get(protocol_hash, {})
        systems = systems_of(elements)
        found = [phase for own, group in groups.items() if _is_within(own, systems) for phase in group]
        failed = {
            phase_id: reason
            for phase_id, reason in self._failures.get(protocol_hash, {}).items()
            if _is_within(elements_of(phase_id), systems)
        }
        ordered = tuple(sorted(found, key=lambda phase: phase.phase_id))
        return Pool(protocol_hash, _stamp(ordered, failed), ordered, failed)


@cache
def elements_of(phase_id: str) -> frozenset[str]:
    """Return the elements of a reference phase: its id begins with the formula."""
    return frozenset(_SYMBOL.findall(phase_id.split("-")[0]))


@lru_cache(maxsize=4_096)
def systems_of(elements: frozenset[str]) -> tuple[frozenset[str], ...]:
    """Return the chemical systems that a candidate's thermodynamics looks at.

    Its own elements with those that move, and with those of each partner of its interfaces.
    """
    own = elements - {VACANCY} | set(MOBILE)
    return (own, *dict.fromkeys(own | partner.elements for partner in PARTNERS))


@lru_cache(maxsize=_KEPT)
def phase_set(pool: Pool, protocol: str) -> PhaseSet:
    """Return the phases of a pool on the scale of their protocol, the same object for equal pools.

    Parameters
    ----------
    pool
        The phases; those that did not converge are left out.
    protocol
        The protocol's thermodynamic settings as JSON.

    Raises
    ------
    ThermoError
        If an energy is not finite.
    """
    return PhaseSet(_phase_energy(phase, pool.protocol_hash, protocol) for phase in pool.phases if phase.converged)


@lru_cache(maxsize=_KEPT_PHASES)
def corrected_energy(phase_id: str, energy_per_atom: float, settings: str) -> float:
    """Return the energy of a reference phase on the scale of its protocol, in eV/atom.

    Parameters
    ----------
    phase_id
        The phase.
    energy_per_atom
        As its job computed it, in eV/atom.
    settings
        The protocol's thermodynamic settings as JSON.

    Raises
    ------
    ThermoError
        If the energy is not finite.
    """
    return corrected_energy_per_atom(phase_id, composition_of(phase_id), energy_per_atom, _settings(settings))


@lru_cache(maxsize=_KEPT_PHASES)
def _phase_energy(phase: Relaxed, protocol_hash: str, settings: str) -> PhaseEnergy:
    energy = corrected_energy(phase.phase_id, phase.energy_per_atom, settings)
    return PhaseEnergy(
        phase.phase_id, composition_of(phase.phase_id), energy, protocol_hash, phase.job_uuid, phase.name
    )


@lru_cache(maxsize=_KEPT_PHASES)
def composition_of(phase_id: str) -> Composition:
    """Return the composition of a reference phase: its id begins with the formula."""
    return Composition(phase_id.split("-")[0])


@lru_cache(maxsize=64)
def _settings(content: str) -> ThermoSettings:
    return ThermoSettings.model_validate_json(content)


def _stamp(phases: Iterable[Relaxed], failures: Mapping[str, str] | None) -> str:
    return digest([sorted([p.phase_id, p.job_uuid, p.completed_at] for p in phases), failures or {}])


def _is_within(elements: frozenset[str], systems: Collection[frozenset[str]]) -> bool:
    return any(elements <= system for system in systems)
