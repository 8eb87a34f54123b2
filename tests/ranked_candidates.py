"""Synthetic candidates for tests of ranking: one composition, made-up numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hemiec.ranking.columns import BY_PROPERTY
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult, CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopSummary
from hemiec.store.candidates import composition_of

NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)


def known(name: str, value: float, **more: Any) -> Quantity:
    about = {"value": value, "unit": BY_PROPERTY[name].unit, "method": f"synthetic {name}", "n": 1}
    return Quantity.model_validate(about | more)


def missing(name: str, reason: str = "not computed yet") -> Quantity:
    return Quantity(value=None, unit=BY_PROPERTY[name].unit, method=f"synthetic {name}", reason=reason)


def quantities(gap: float | None, barrier: float | None, energy: float | None) -> dict[str, Quantity]:
    values = dict(zip(PROPERTIES, (gap, barrier, energy, -0.05, 0.02, -0.12), strict=True))
    return {name: missing(name) if value is None else known(name, value) for name, value in values.items()}


def result(plan: str, n_atoms: int, found: dict[str, Quantity]) -> CandidateResult:
    hop = HopSummary(
        mobile="O", hop=0, environment=f"hop of {plan}", forward_barrier=0.5, reverse_barrier=0.5,
        reaction_coordinate=[0.0, 1.4, 2.8], energies=[0.0, 0.5, 0.0], job_uuid="uuid-hop",
    )  # fmt: skip
    return CandidateResult(
        plan_id=plan, n_atoms=n_atoms, hops=[hop], jobs=[], oxide_reaction=f"reaction of {plan}",
        warren_cowley_rms=0.01, icet_l1=0.3, shortest_image_distance=10.0,
        confirmed_formation_enthalpy_from_oxides_per_atom=missing("formation_enthalpy_from_oxides_per_atom"),
        **found,
    )  # fmt: skip


def candidate(
    key: str,
    gap: float | None = 1.0,
    barrier: float | None = 0.6,
    energy: float | None = -2.0,
    **changes: Any,
) -> CandidateDoc:
    """Return a candidate with the given properties and no results."""
    spec = CandidateSpec(
        candidate_id=key, formula=f"La0.5Sr0.5CoO3-{key}", label=f"(La,Sr)CoO3-{key}", prototype="ABX3",
        sites={"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": "1"}, "X": {"O": "1"}},
        oxidation_states={"La": 3, "Sr": 2, "Co": 3.5, "O": -2}, mean_B_valence=3.5, tolerance_factor=0.98,
        bartel_tau=4.0, configurational_entropy=0.693,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "candidate_id": key, "candidate": spec, **composition_of(spec), "campaigns": ["synthetic"],
        "results": [], "input_hash": "0", "builder_version": 1, "last_updated": NOW, **quantities(gap, barrier, energy),
    }  # fmt: skip
    return CandidateDoc.model_validate({**fields, **changes})
