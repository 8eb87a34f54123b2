"""The thermodynamics of a candidate's relaxed cells, from the reference phases that any campaign has computed.

Every part is computed by itself: one that cannot be leaves its reason, and the others stand. What was computed from
the same inputs before is kept as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import stdev
from typing import ParamSpec, TypeVar

from hemiec.errors import HemiecError, ThermoError
from hemiec.schemas.documents import energy_above_hull_not_built, interface_reaction_energy_not_built
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import EntropyDoc, HullDoc, InterfaceDoc, OxygenDoc, Thermodynamics, WindowDoc
from hemiec.schemas.transport import HopSummary, TransportSummary
from hemiec.store.building.cells import Cells, reason_of
from hemiec.store.building.formation import corrections_in_words
from hemiec.store.building.plan import Plan
from hemiec.thermo import THERMO_VERSION
from hemiec.thermo.entropy import entropy_doc
from hemiec.thermo.hull.stability import hull_doc
from hemiec.thermo.interfaces.partners import MOBILE, PARTNERS, Partner
from hemiec.thermo.interfaces.reactions import CANDIDATE, interfaces, lacking, worst
from hemiec.thermo.potentials.oxygen import oxygen_doc
from hemiec.thermo.potentials.windows import window
from hemiec.thermo.uncertainty import combined_interval, describe
from hemiec.units import EV_PER_ATOM

P = ParamSpec("P")
T = TypeVar("T")
_WINDOWS = ("Li", "O")


def thermodynamics(
    plan: Plan, hops: Sequence[HopSummary], transport: TransportSummary | None
) -> tuple[Thermodynamics | None, str | None]:
    """Return the thermodynamics of a plan's relaxed cells, or why there is none.

    Parameters
    ----------
    plan
        The plan, with the phases of its chemistry and what was stored before.
    hops, transport
        Of the same plan: they hold the energies of oxygen vacancies.
    """
    try:
        cells = Cells.of(plan, hops, transport)
        stored = plan.thermodynamics
        if stored is None or stored.get("own_hash") != cells.hash:
            return _Parts(cells).document(), None
        found = Thermodynamics.model_validate(stored)
        return (found if found.oxygen_hash == cells.oxygen_hash else _Parts(cells).with_oxygen(found)), None
    except HemiecError as error:
        return None, reason_of(error)


def energy_above_hull(found: Thermodynamics | None, why_not: str | None) -> Quantity:
    """Return the energy above the hull with its provenance, or why there is none."""
    if found is not None and found.hull is not None:
        return found.hull.energy_above_hull
    reason = why_not if found is None else found.reasons["hull"]
    return energy_above_hull_not_built().model_copy(update={"reason": reason})


def interface_reaction_energy(found: Thermodynamics | None, why_not: str | None) -> Quantity:
    """Return the worst reaction energy with a solid electrolyte with its provenance, or why there is none."""
    if found is not None:
        return found.interface_reaction_energy
    return interface_reaction_energy_not_built().model_copy(update={"reason": why_not})


@dataclass
class _Parts:
    """The parts of the thermodynamics of some cells, each with its own reason if it cannot be computed."""

    cells: Cells
    reasons: dict[str, str] = field(default_factory=dict)
    not_computed: list[Partner] = field(default_factory=list)

    def document(self) -> Thermodynamics:
        """Return all parts."""
        cells = self.cells
        hull = self._part("hull", self._hull)
        reactions: list[InterfaceDoc] = self._part("interfaces", self._interfaces) or []
        return Thermodynamics(
            hull=hull,
            entropy=self._part("entropy", self._entropy, hull),
            oxygen=self._part("oxygen", self._oxygen),
            windows=[found for symbol in _WINDOWS if (found := self._part("windows", self._window, symbol))],
            interfaces=reactions,
            interface_reaction_energy=self._worst(reactions),
            reasons=self.reasons,
            protocol=cells.protocol,
            protocol_hash=cells.pool.protocol_hash,
            thermo_version=THERMO_VERSION,
            own_hash=cells.hash,
            oxygen_hash=cells.oxygen_hash,
        )

    def with_oxygen(self, found: Thermodynamics) -> Thermodynamics:
        """Return what was computed before with the oxygen deficiency of now."""
        self.reasons = {part: reason for part, reason in found.reasons.items() if part != "oxygen"}
        oxygen = self._part("oxygen", self._oxygen)
        new = {"oxygen": oxygen, "oxygen_hash": self.cells.oxygen_hash, "reasons": self.reasons}
        return found.model_copy(update=new)

    def _part(self, name: str, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return compute(*args, **kwargs)
        except HemiecError as error:
            self._note(name, reason_of(error))
            return None

    def _note(self, name: str, reason: str) -> None:
        """Add why a part, or something of it, is missing."""
        known = self.reasons.get(name)
        if known is None or reason not in known:
            self.reasons[name] = f"{known}; {reason}" if known else reason

    def _hull(self) -> HullDoc:
        cells = self.cells
        cells.require(cells.elements)
        cells.require_oxides()
        found = hull_doc(
            cells.plan.candidate,
            cells.composition,
            energies=cells.energies,
            phases=cells.phases,
            protocol=cells.protocol,
            model_error=cells.model_error,
        )
        above = found.energy_above_hull
        words = corrections_in_words(cells.plan, "relax", (part.phase_id for part in found.decomposition))
        return found.model_copy(
            update={"energy_above_hull": above.model_copy(update={"method": f"{above.method}{words}"})}
        )

    def _entropy(self, hull: HullDoc | None) -> EntropyDoc:
        if hull is None:
            raise ThermoError("there is no energy above the hull")
        return entropy_doc(
            self.cells.plan.candidate,
            hull.energy_above_hull,
            vacancies=self.cells.settings.vacancies_mix,
            charge_disorder=self.cells.settings.charge_disorder,
        )

    def _oxygen(self) -> OxygenDoc:
        found = self.cells.vacancies
        if isinstance(found, str):
            raise ThermoError(found)
        return oxygen_doc(self.cells.plan.candidate, found.site_energies, found.mean)

    def _window(self, symbol: str) -> WindowDoc:
        self.cells.require(self.cells.elements | {symbol})
        self.cells.require_oxides()
        return window(self.cells.composition, self.cells.mean_energy, self.cells.phases, symbol)

    def _interfaces(self) -> list[InterfaceDoc]:
        """Return the reactions with the partners whose phases are all known; the others leave a reason."""
        cells = self.cells
        known = [partner for partner in PARTNERS if self._has_all(partner)]
        if not known:
            return []
        return interfaces(cells.composition, cells.mean_energy, cells.phases, partners=known)

    def _has_all(self, partner: Partner) -> bool:
        def check() -> bool:
            self.cells.require(self.cells.elements | partner.elements | set(MOBILE))
            self.cells.require_oxides()
            return True

        if not self._part("interfaces", check):
            self.not_computed.append(partner)
            return False
        # Of phases that do not converge nobody has the energy: such a partner is left out for all candidates.
        lacks = lacking(self.cells.composition, self.cells.phases, [partner])
        if lacks:
            self._note("interfaces", "; ".join(lacks.values()))
        return not lacks

    def _worst(self, found: Sequence[InterfaceDoc]) -> Quantity:
        """Return the worst reaction with a solid electrolyte, with its spread and provenance."""
        doc = worst(found)
        # The worst of some electrolytes only would rank above that of all.
        if doc is None or any(partner.role == doc.role for partner in self.not_computed):
            return interface_reaction_energy_not_built().model_copy(
                update={"reason": self.reasons.get("interfaces", "no solid electrolyte is among the partners")}
            )
        cells = self.cells
        # The energy of the mixture follows that of the candidate by its share.
        values = [
            min(0.0, doc.reaction_energy - doc.worst_fraction * (energy - cells.mean_energy))
            for energy in cells.energies.values()
        ]
        interval = combined_interval(values, cells.model_error)
        products = next(kink.products for kink in doc.kinks if kink.fraction == doc.worst_fraction)
        several = len(values) > 1
        share = f"{doc.worst_fraction:.0%} of the atoms the candidate's"
        if doc.worst_fraction == 1:
            share = "where the candidate decomposes by itself"
        n_partners = len({other.partner for other in found if other.role == doc.role})
        return Quantity(
            value=doc.reaction_energy,
            unit=EV_PER_ATOM,
            method=f"with {doc.partner}, the worst of {n_partners} solid electrolytes, closed, "
            f"{share}, {cells.plan.model('relax')}; "
            f"{describe(len(values), cells.model_error)}",
            n=len(values),
            std=stdev(values) if several else None,
            min=min(values) if several else None,
            max=max(values) if several else None,
            interval=interval and (interval[0], min(0.0, interval[1])),
            protocol=cells.protocol,
            protocol_hash=cells.pool.protocol_hash,
            job_uuids=list(cells.energies),
            reference_job_uuids=[
                cells.phases[name].job_uuid for name in sorted({p.phase_id for p in products} - {CANDIDATE})
            ],
        )
