"""The formation energies of a candidate, each with unit, method and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from statistics import mean, stdev
from typing import Any

from scipy import stats

from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import Protocol
from hemiec.errors import HemiecError, ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.store.building.phases import composition_of
from hemiec.store.building.plan import EnergyTier, Plan, energies_of
from hemiec.thermo.corrections import applied_corrections
from hemiec.thermo.formation import FormationEnergy, from_elements, from_oxides
from hemiec.units import EV_PER_ATOM

ELEMENTS, OXIDES = "formation energy from the elements", "formation enthalpy from binary oxides at 0 K"
Compute = Callable[..., FormationEnergy]


def energy_from_elements(plan: Plan) -> Quantity:
    """Return the formation energy from the elements, or why there is none."""
    return _formation(plan, "relax", from_elements, ELEMENTS)[0]


def enthalpy_from_oxides(plan: Plan, tier: EnergyTier) -> tuple[Quantity, str | None]:
    """Return the formation enthalpy from binary oxides with its reaction, or why there is none."""
    return _formation(plan, tier, from_oxides, OXIDES)


def _formation(plan: Plan, tier: EnergyTier, compute: Compute, method: str) -> tuple[Quantity, str | None]:
    step = {"relax": "basin", "confirm": "static"}[tier]
    references = {"relax": plan.references, "confirm": plan.dft_references}[tier]
    try:
        protocol = plan.protocol(tier)
        method = f"{method}, {plan.model(tier)}"
        finished = plan.finished(step)
        _require_comparable(plan.candidate, protocol, compute)
        # One per special quasirandom structure; the confirmation has one.
        outputs = [plan.outputs[job["uuid"]]["output"] for job in finished]
        raw = [o["energy_per_atom"] if tier == "relax" else o["lowest"]["energy_per_atom"] for o in outputs]
        known, made = plan.reference_energies(tier), plan.composition
        # The corrections are in the energies already.
        results = [compute(plan.candidate, plan.corrected(tier, e), known, 0.0, made=made) for e in raw]
    except HemiecError as error:
        return Quantity(value=None, unit=EV_PER_ATOM, method=method, reason=_reason(plan, references, error)), None
    result, values = results[0], [found.value for found in results]
    own = [] if tier == "relax" else [output["starts"][0]["job_uuid"] for output in outputs]
    several = len(values) > 1
    return Quantity(
        value=mean(values),
        unit=EV_PER_ATOM,
        method=f"{method}{corrections_in_words(plan, tier, (phase.phase_id for phase in result.phases))}"
        f"{', mean and std over special quasirandom structures' if several else ''}",
        n=len(values),
        std=stdev(values) if several else None,
        min=min(values) if several else None,
        max=max(values) if several else None,
        interval=_interval_of_mean(values) if several else None,
        protocol=protocol.name,
        protocol_hash=finished[0]["protocol_hash"],
        job_uuids=[*(job["uuid"] for job in finished), *own],
        reference_job_uuids=[references[phase.phase_id]["uuid"] for phase in result.phases],
    ), result.reaction


def corrections_in_words(plan: Plan, tier: EnergyTier, phase_ids: Iterable[str]) -> str:
    """Return what the protocol of a tier added to the energies of some reference phases and of the candidate."""
    settings = plan.protocol(tier).thermo
    added = applied_corrections(plan.candidate.candidate_id, plan.composition, settings)
    for phase_id in phase_ids:
        added |= applied_corrections(phase_id, composition_of(phase_id), settings)
    return "".join(f", {name} {value:+.3g} eV/atom" for name, value in added.items())


def _interval_of_mean(values: list[float]) -> tuple[float, float]:
    """Return the 90 % interval of the mean that two or more values were drawn around, by Student's t."""
    error = stats.t.ppf(0.95, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return mean(values) - error, mean(values) + error


def _require_comparable(candidate: CandidateSpec, protocol: Protocol, compute: Compute) -> None:
    species = {s for site in candidate.sites.values() for s in site}
    shifted = sorted(species & set(protocol.thermo.not_from_elements))
    if compute is from_elements and shifted:
        raise ThermoError(
            f"{protocol.name} puts compounds and metals of {', '.join(shifted)} on different energy scales; "
            "use the enthalpy from oxides"
        )
    if not isinstance(protocol, MlipProtocol) and not protocol.energies:
        raise ThermoError(f"{protocol.name} is for gaps: its total energies are not converged")


def _reason(plan: Plan, references: Mapping[str, dict[str, Any]], error: HemiecError) -> str:
    """Return the reason in a few words, with the failed job of a reference phase if there is one."""
    failed = [
        f"{p} (job {j['uuid']}): {plan.failures[j['uuid']]}"
        for p, j in references.items()
        if j["uuid"] in plan.failures and p in error.message
    ]
    text = error.message.rstrip(".")
    odd = [
        name for name, energy in energies_of(references, plan.outputs).items() if name in text and not isfinite(energy)
    ]
    if odd:
        return f"{text}: its job {references[odd[0]]['uuid']} returned an energy that is no finite number"
    return f"{text}; failed reference {failed[0]}" if failed else text
