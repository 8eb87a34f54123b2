"""Stability of a candidate at 0 K: above the hull, and above the ordered perovskites of its cations."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from statistics import mean, stdev
from typing import Any

from pymatgen.core import Composition

from hemiec.errors import ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import HullDoc, PhaseAmount
from hemiec.thermo.hull.convex import Decomposition, Hull, hull_of
from hemiec.thermo.hull.ordered import ordered_mixture
from hemiec.thermo.phases import PhaseSet
from hemiec.thermo.uncertainty import ModelError, combined_interval, describe
from hemiec.units import EV_PER_ATOM

_HULL = "energy above the convex hull at 0 K"
_ORDERED = "energy above the lowest mixture of ordered ABX3 at 0 K, anions exchanged with their elements"


def hull_doc(
    candidate: CandidateSpec,
    composition: Composition,
    *,
    energies: Mapping[str, float],
    phases: PhaseSet,
    protocol: str,
    model_error: ModelError | None = None,
) -> HullDoc:
    """Return the stability of a candidate against decomposition at 0 K.

    Parameters
    ----------
    candidate
        Says which cations are on A and on B.
    composition
        What the relaxed cells really hold, in any multiple.
    energies
        uuid of the job to the energy of its relaxed cell, in eV/atom on the scale of ``phases``: one per special
        quasirandom structure.
    phases
        Reference phases of the same protocol; the candidate is none of them.
    protocol
        Name of the protocol.
    model_error
        Of the protocol's reaction energies; None if unknown.

    Raises
    ------
    ThermoError
        If an element has no reference phase, or there is no energy, or one that is not finite.
    """
    if not energies or not all(map(isfinite, energies.values())):
        raise ThermoError(
            f"{candidate.label}: expected finite energies of one relaxed cell or more, got {dict(energies)}.",
            mend="run the jobs again: hemiec rerun",
        )
    hull = hull_of(phases, [element.symbol for element in composition])
    products = hull.decompose(composition)
    about: dict[str, Any] = {"energies": energies, "phases": phases, "protocol": protocol, "model_error": model_error}
    try:
        mixture = ordered_mixture(candidate, composition, phases)
        above_ordered = _quantity(_ORDERED, mixture.energy_per_atom, mixture.amounts, **about)
        ordered = _amounts(mixture.amounts, phases)
    except ThermoError as error:
        above_ordered = Quantity(
            value=None, unit=EV_PER_ATOM, method=f"{_ORDERED}, {protocol}", reason=error.message.rstrip(".")
        )
        ordered = []
    return HullDoc(
        energy_above_hull=_quantity(_HULL, products.energy_per_atom, products.amounts, **about),
        decomposition=_amounts(products.amounts, phases),
        energy_above_other_compositions=mean(energies.values()) - _without_own(hull, products, composition, phases),
        energy_above_ordered=above_ordered,
        ordered=ordered,
        n_phases=len(hull.phases),
        chemsys=hull.chemsys,
    )


def _quantity(
    method: str,
    hull_energy: float,
    amounts: Mapping[str, float],
    *,
    energies: Mapping[str, float],
    phases: PhaseSet,
    protocol: str,
    model_error: ModelError | None,
) -> Quantity:
    """Return the energies of the structures minus that of the products, with interval and provenance."""
    values = [energy - hull_energy for energy in energies.values()]
    several = len(values) > 1
    return Quantity(
        value=mean(values),
        unit=EV_PER_ATOM,
        method=f"{method}, {protocol}; {describe(len(values), model_error)}",
        n=len(values),
        std=stdev(values) if several else None,
        min=min(values) if several else None,
        max=max(values) if several else None,
        interval=combined_interval(values, model_error),
        protocol=protocol,
        protocol_hash=phases.protocol_hash,
        job_uuids=list(energies),
        reference_job_uuids=[phases[phase_id].job_uuid for phase_id in amounts],
    )


def _amounts(amounts: Mapping[str, float], phases: PhaseSet) -> list[PhaseAmount]:
    """Return the products, the most plentiful first."""
    return [
        PhaseAmount(phase_id=phase_id, formula=phases[phase_id].formula, amount=amount)
        for phase_id, amount in sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _without_own(hull: Hull, products: Decomposition, composition: Composition, phases: PhaseSet) -> float:
    """Return the energy of the hull of phases of other compositions than the candidate's, in eV/atom."""
    if len(products.amounts) > 1:
        return products.energy_per_atom
    own = phases[next(iter(products.amounts))].formula
    others = PhaseSet(phase for phase in phases.within(hull.elements).phases if phase.formula != own)
    return Hull(others, hull.elements).decompose(composition).energy_per_atom
