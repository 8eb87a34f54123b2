"""From a stored candidate to its entry on a leaderboard."""

from __future__ import annotations

from hemiec.schemas.calculations import GapStart
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult
from hemiec.schemas.leaderboard import LeaderboardEntry
from hemiec.schemas.quantity import Quantity


def entry_of(doc: CandidateDoc) -> LeaderboardEntry:
    """Return what a leaderboard shows of a candidate, with no rank, score, doubts or uncertainty yet."""
    spec, result = doc.candidate, shown_result(doc)
    confirmed = [r.confirmed_formation_enthalpy_from_oxides_per_atom for r in doc.results]
    return LeaderboardEntry(
        rank=None,
        candidate_id=doc.candidate_id,
        formula=spec.formula,
        label=spec.label,
        score=None,
        pareto_layer=None,
        **{name: quantity(doc, name) for name in PROPERTIES},
        confirmed_formation_enthalpy_from_oxides_per_atom=next(
            (q for q in confirmed if q.value is not None), confirmed[0] if confirmed else None
        ),
        gap_starts=gap_starts(doc),
        oxide_reaction=result.oxide_reaction if result else None,
        mobile=doc.mobile,
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


def quantity(doc: CandidateDoc | CandidateResult | LeaderboardEntry, name: str) -> Quantity:
    """Return the quantity of a document by the name of its property."""
    found: Quantity = getattr(doc, name)
    return found


def gap_starts(doc: CandidateDoc) -> list[GapStart]:
    """Return the magnetic starts behind a candidate's own gap, which may be of another result than the shown one."""
    return next((result.gap_starts for result in doc.results if result.band_gap == doc.band_gap), [])


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
