"""The formation energies of oxygen vacancies on all sites of a candidate's cell, from its hops and its transport."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev

from hemiec.errors import ThermoError
from hemiec.ranking.calibration.fit import LEVEL
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopSummary, TransportSummary
from hemiec.store.building.plan import Plan
from hemiec.thermo.references.table import element_phase
from hemiec.thermo.uncertainty import ModelError, combined_interval
from hemiec.units import EV

_PROPERTY = "vacancy_formation_energy"


@dataclass(frozen=True)
class Vacancies:
    """Formation energies of a vacancy on each oxygen site and half an O2 at 0 K.

    ``site_energies`` are in eV, by site; ``mean`` is their mean with spread and provenance.
    """

    site_energies: list[float]
    mean: Quantity


def vacancies(plan: Plan, hops: Sequence[HopSummary], transport: TransportSummary | None) -> Vacancies:
    """Return the formation energies of oxygen vacancies.

    The energies of transport are relative to each other; vacancies at the beginnings of computed hops, whose formation
    energies are known, give the zero.

    Raises
    ------
    ThermoError
        If there are none; it says why.
    """
    job = plan.job("transport")
    if transport is None or job is None:
        raise ThermoError(plan.why_missing("transport"))
    if transport.mobile != "O":
        raise ThermoError(f"the hops move {transport.mobile}; no oxygen vacancy was computed")
    start = transport.network.start
    known = [hop for hop in hops if hop.vacancy_formation_energies and hop.hop < len(start)]
    if not known:
        raise ThermoError(
            "no vacancy is known relative to O2: its energy is missing, or relaxation and barriers have two protocols"
        )
    zeros = [hop.vacancy_formation_energies[0] - transport.site_energies[start[hop.hop]] for hop in known]
    zero = median(zeros)
    occupied = [site for site, atom in enumerate(transport.network.atom_index) if atom >= 0]
    energies = [zero + transport.site_energies[site] for site in occupied]
    n_computed = sum(transport.site_computed[site] for site in occupied)
    error = _model_error(plan, job["protocol_hash"])
    O2 = plan.references.get(element_phase("O").phase_id)
    return Vacancies(
        energies,
        Quantity(
            value=mean(energies),
            unit=EV,
            method=f"mean and std over {len(occupied)} sites, {n_computed} computed and the others predicted, "
            f"{job['protocol']}; {error.source if error else 'model error unknown'}",
            n=n_computed,
            std=stdev(energies) if len(energies) > 1 else None,
            min=min(energies),
            max=max(energies),
            interval=combined_interval([mean(energies)], error),
            protocol=job["protocol"],
            protocol_hash=job["protocol_hash"],
            job_uuids=list(dict.fromkeys([job["uuid"], *(hop.job_uuid for hop in known)])),
            reference_job_uuids=[O2["uuid"]] if O2 else [],
        ),
    )


def _model_error(plan: Plan, protocol_hash: str) -> ModelError | None:
    """Return how far the protocol's vacancies are from those of a dearer one; None if nobody compared them.

    The values are not corrected: of the shipped points, the correction predicts left-out cells worse than none does.
    """
    fits = [
        (fit.n_groups, calibration.calibration_id, fit.error_before, calibration.high_protocol)
        for calibration in plan.calibrations
        for fit in calibration.fits
        if fit.property == _PROPERTY and fit.low_protocol_hash == protocol_hash
    ]
    if not fits:
        return None
    n_cells, name, error, dearer = max(fits)
    return ModelError(
        error, f"{LEVEL:.0%} interval from the difference to {dearer} in {n_cells} cells ({name}), {error:.2f} eV"
    )
