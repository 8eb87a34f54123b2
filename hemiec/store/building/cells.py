"""The relaxed cells of a plan: all that their thermodynamics is computed from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import mean

from pymatgen.core import Composition

from hemiec.engines.settings import ThermoSettings
from hemiec.errors import HemiecError, ThermoError
from hemiec.schemas.transport import HopSummary, TransportSummary
from hemiec.store.building.digest import digest
from hemiec.store.building.phases import Pool, phase_set
from hemiec.store.building.plan import Plan
from hemiec.store.building.vacancies import Vacancies, vacancies
from hemiec.thermo import THERMO_VERSION
from hemiec.thermo.phases import PhaseSet
from hemiec.thermo.references.shipped import not_converging
from hemiec.thermo.references.table import element_phase, phases_within
from hemiec.thermo.uncertainty import ModelError


@dataclass(frozen=True)
class Cells:
    """The relaxed cells of a plan, all that their thermodynamics is computed from.

    ``energies`` maps the uuid of the job to the energy of its cell, in eV/atom on the scale of the protocol;
    ``vacancies`` are those of oxygen, or why there are none.
    """

    plan: Plan
    pool: Pool
    settings: ThermoSettings
    protocol: str
    energies: dict[str, float]
    vacancies: Vacancies | str

    @classmethod
    def of(cls, plan: Plan, hops: Sequence[HopSummary], transport: TransportSummary | None) -> Cells:
        """Return those of a plan.

        Raises
        ------
        HemiecError
            If no cell is relaxed, an energy is not finite, or the protocol is unknown.
        """
        protocol = plan.protocol("relax")
        finished = plan.finished("basin")
        if plan.pool is None:
            raise ThermoError(f"{protocol.name} relaxes no reference phases")
        energies = {
            job["uuid"]: plan.corrected("relax", plan.outputs[job["uuid"]]["output"]["energy_per_atom"])
            for job in finished
        }
        found: Vacancies | str
        try:
            found = vacancies(plan, hops, transport)
        except HemiecError as error:
            found = reason_of(error)
        return cls(plan, plan.pool, protocol.thermo, protocol.name, energies, found)

    @property
    def _protocol_option(self) -> str:
        """What the command line takes for the protocol: a shipped name, or the file of the user's own."""
        return self.protocol if isinstance(self.plan.protocols["relax"], str) else f"{self.protocol}.yaml"

    @property
    def composition(self) -> Composition:
        """What the cells hold, per formula unit."""
        return self.plan.composition

    @property
    def mean_energy(self) -> float:
        """Mean over the cells, in eV/atom."""
        return mean(self.energies.values())

    @cached_property
    def elements(self) -> frozenset[str]:
        """Symbols of the elements."""
        return frozenset(element.symbol for element in self.composition)

    @property
    def model_error(self) -> ModelError | None:
        """Of the protocol's reaction energies; None if it was not measured."""
        std = self.settings.model_error_eV_per_atom
        return None if std is None else ModelError(std, self.settings.model_error_source)

    @property
    def phases(self) -> PhaseSet:
        """The reference phases; the same object for all candidates of a chemistry."""
        return phase_set(self.pool, self.settings.model_dump_json())

    @cached_property
    def _cations_without_oxide(self) -> list[str]:
        if "O" not in self.elements:
            return []
        within = self.phases.within(self.elements).phases
        oxides = {phase.elements - {"O"} for phase in within if "O" in phase.elements}
        charges = self.plan.candidate.oxidation_states
        return sorted(symbol for symbol, charge in charges.items() if charge > 0 and frozenset({symbol}) not in oxides)

    @cached_property
    def hash(self) -> str:
        """Hash of what the thermodynamics is computed from, but the oxygen deficiency."""
        return digest(
            [
                THERMO_VERSION,
                self.plan.candidate.model_dump(mode="json", include={"sites", "oxidation_states", "mean_B_valence"}),
                self.protocol,
                self.settings.model_dump(mode="json"),
                sorted(self.composition.as_dict().items()),
                self.energies,
                self.pool.protocol_hash,
                self.pool.stamp,
            ]
        )

    @cached_property
    def oxygen_hash(self) -> str:
        """Hash of what the oxygen deficiency is computed from."""
        found = self.vacancies
        energies = found if isinstance(found, str) else [found.site_energies, found.mean.to_mongo()]
        return digest([THERMO_VERSION, self.plan.candidate.model_dump(mode="json"), energies])

    def require(self, elements: Collection[str]) -> None:
        """Refuse a chemical system of which a tabulated phase has not been computed.

        Raises
        ------
        ThermoError
            If an element is not in the table; or with the number of phases, one of them, and how to compute them.
        """
        for symbol in sorted(elements):
            element_phase(symbol)
        wanted = _tabulated(frozenset(elements))
        known = self.pool.computed | not_converging(self.pool.protocol_hash)
        missing = [name for name in wanted if name not in known]
        if not missing:
            return
        listed = ",".join(sorted(elements))
        failed = next((name for name in missing if name in self.pool.failures), None)
        which = f"{failed} (its job failed: {self.pool.failures[failed]})" if failed else missing[0]
        raise ThermoError(
            f"{len(missing)} of {len(wanted)} reference phases of {'-'.join(sorted(elements))} have no energy in "
            f"{self.protocol}, such as {which}",
            mend=f"hemiec references compute --protocol {self._protocol_option} --elements {listed}",
        )

    def require_oxides(self) -> None:
        """Refuse an oxide with a cation of which no binary oxide is among the phases.

        Such a cation's nearest competitor is its element, and everything that holds it seems to be far below the hull.

        Raises
        ------
        ThermoError
            With the cations.
        """
        without = self._cations_without_oxide
        if without:
            raise ThermoError(
                f"no binary oxide of {' or '.join(without)} is among the reference phases of {self.protocol}: "
                "the candidate would seem far too stable",
                mend="add one with `hemiec references add`",
            )


@lru_cache(maxsize=1024)
def _tabulated(elements: frozenset[str]) -> tuple[str, ...]:
    """Return the ids of the tabulated phases made of some elements."""
    return tuple(sorted(phase.phase_id for phase in phases_within(elements)))


def reason_of(error: HemiecError) -> str:
    """Return an error in one line, with what mends it."""
    return f"{error.message.rstrip('.')}{f'; {error.mend}' if error.mend else ''}"
