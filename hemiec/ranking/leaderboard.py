"""Candidates ranked by a weighted score, with Pareto layers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

import hemiec
from hemiec.errors import InputError
from hemiec.ranking.definition import LeaderboardDefinition
from hemiec.schemas.definition import Criterion
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity


def rank(
    candidates: Sequence[CandidateDoc],
    definition: LeaderboardDefinition,
    *,
    campaign: str | None = None,
    created_at: datetime | None = None,
) -> LeaderboardDoc:
    """Return the leaderboard of the candidates; it does not depend on their order.

    Candidates with a value for every criterion are ranked by score, best first, and by
    ``candidate_id`` where scores are equal. The others follow in the order of their
    ``candidate_id`` with no rank, score or Pareto layer: a missing value never counts as 0.
    Where a value was corrected towards DFT, the corrected one counts.

    Parameters
    ----------
    candidates
        The candidates, each at most once.
    definition
        What counts, in which direction, how much and on which scale.
    campaign
        Rank only the candidates that this campaign asked for; default: all.
    created_at
        Time stamp of the leaderboard; default: now, UTC.

    Raises
    ------
    InputError
        If a candidate appears twice, or a ranked property comes in different units.
    """
    chosen = [doc for doc in candidates if campaign is None or campaign in doc.campaigns]
    repeated = sorted(key for key, count in Counter(doc.candidate_id for doc in chosen).items() if count > 1)
    if repeated:
        raise InputError(f"candidates to rank: {', '.join(repeated)} appear more than once; expected each once.")
    for criterion in definition.criteria:
        _require_one_unit(chosen, criterion)

    criteria = definition.criteria
    values = {doc.candidate_id: criterion_values(doc, criteria) for doc in chosen}
    scores = {key: score(known, criteria) for key, known in values.items() if known is not None}
    by_id = {doc.candidate_id: doc for doc in chosen}
    ranked = sorted(scores, key=lambda key: (-scores[key], key))
    signs = [1.0 if criterion.direction == "minimise" else -1.0 for criterion in criteria]
    costs = np.array([values[key] for key in ranked], dtype=np.float64).reshape(len(ranked), len(signs)) * signs
    entries = [
        _entry(by_id[key], rank=position, score=scores[key], pareto_layer=layer)
        for position, (key, layer) in enumerate(zip(ranked, pareto_layers(costs), strict=True), start=1)
    ]
    unranked = sorted(by_id.keys() - scores.keys())
    entries += [_entry(by_id[key], rank=None, score=None, pareto_layer=None) for key in unranked]
    return LeaderboardDoc(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        campaign=campaign,
        criteria=criteria,
        created_at=created_at or datetime.now(UTC),
        versions={"hemiec": hemiec.__version__},
        entries=entries,
    )


def criterion_values(doc: CandidateDoc, criteria: Sequence[Criterion]) -> list[float] | None:
    """Return the value of each criterion, in its property's unit; None if any is missing."""
    values = [quantity(doc, criterion.property).value for criterion in criteria]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def score(values: Sequence[float], criteria: Sequence[Criterion]) -> float:
    """Return the weighted mean of the scaled criteria; unit 1, from 0 to 1.

    A value x is scaled as ``(worst - x) / (worst - best)``, clipped to 0..1, which gives 1 at
    ``best`` and 0 at ``worst`` in either direction.
    """
    scaled = [
        criterion.weight * min(1.0, max(0.0, (criterion.worst - value) / (criterion.worst - criterion.best)))
        for value, criterion in zip(values, criteria, strict=True)
    ]
    return math.fsum(scaled) / math.fsum(criterion.weight for criterion in criteria)


def pareto_layers(costs: NDArray[np.float64]) -> list[int]:
    """Return the Pareto layer of each point, 1 for those that no other point dominates.

    A point dominates another if it is no worse in every cost and better in at least one, so equal
    points share a layer. Layer k is what is undominated once layers 1 to k-1 are taken away.

    Parameters
    ----------
    costs
        Lower is better, shape=(n_points, n_criteria).
    """
    # Unique points come in lexicographic order: a point can be dominated only by those before it,
    # which are no worse in the first cost. Its layer is one more than the deepest that dominates it.
    # Adding zero makes -0.0 and 0.0 one point.
    points, which = np.unique(costs + 0.0, axis=0, return_inverse=True)
    others = np.ascontiguousarray(points[:, 1:].T)
    layers = np.zeros(len(points), dtype=np.int64)
    for i in range(len(points)):
        dominates = np.all(others[:, :i] <= others[:, i, None], axis=0)
        layers[i] = 1 + layers[:i][dominates].max(initial=0)
    return [int(layer) for layer in layers[which.reshape(-1)]]


def quantity(doc: CandidateDoc | CandidateResult | LeaderboardEntry, name: str) -> Quantity:
    """Return the quantity of a document by the name of its property."""
    found: Quantity = getattr(doc, name)
    return found


def shown_result(doc: CandidateDoc) -> CandidateResult | None:
    """Return the result whose hops, cell and SQS error the leaderboard shows.

    That is the result whose migration barrier equals the candidate's best available one. Among
    several such results, or if there is none, it is the one that shares the most properties with
    the candidate, the first of equals. None if no result shares any property, as when
    ``results`` is empty.
    """

    def shared(result: CandidateResult) -> tuple[bool, int]:
        equal = {name: quantity(result, name) == quantity(doc, name) for name in PROPERTIES}
        return equal["migration_barrier"], sum(equal.values())

    best = max(doc.results, key=shared, default=None)
    return best if best is not None and shared(best)[1] > 0 else None


def _require_one_unit(docs: Sequence[CandidateDoc], criterion: Criterion) -> None:
    found = {doc.candidate_id: quantity(doc, criterion.property) for doc in docs}
    units = {key: entry.unit for key, entry in found.items() if entry.value is not None}
    if len(set(units.values())) > 1:
        examples = ", ".join(sorted({unit: f"{unit} ({key})" for key, unit in units.items()}.values()))
        raise InputError(f"{criterion.property}: expected one unit for all candidates, got {examples}.")


def _entry(doc: CandidateDoc, *, rank: int | None, score: float | None, pareto_layer: int | None) -> LeaderboardEntry:
    spec, result = doc.candidate, shown_result(doc)
    gap_result = next((r for r in doc.results if r.band_gap == doc.band_gap), None)
    confirmed = [r.confirmed_formation_enthalpy_from_oxides_per_atom for r in doc.results]
    return LeaderboardEntry(
        rank=rank,
        candidate_id=doc.candidate_id,
        formula=spec.formula,
        label=spec.label,
        score=score,
        pareto_layer=pareto_layer,
        **{name: quantity(doc, name) for name in PROPERTIES},
        confirmed_formation_enthalpy_from_oxides_per_atom=next(
            (q for q in confirmed if q.value is not None), confirmed[0] if confirmed else None
        ),
        gap_starts=gap_result.gap_starts if gap_result else [],
        oxide_reaction=result.oxide_reaction if result else None,
        mean_B_valence=spec.mean_B_valence,
        tolerance_factor=spec.tolerance_factor,
        bartel_tau=spec.bartel_tau,
        configurational_entropy=spec.configurational_entropy,
        n_atoms=result.n_atoms if result else None,
        shortest_image_distance=result.shortest_image_distance if result else None,
        warren_cowley_rms=result.warren_cowley_rms if result else None,
        icet_l1=result.icet_l1 if result else None,
        hops=result.hops if result else [],
        transport=result.transport if result else None,
        dynamics=result.dynamics if result else None,
        thermodynamics=result.thermodynamics if result else None,
    )
