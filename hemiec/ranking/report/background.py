"""What the report shows of a candidate beyond its entry on the leaderboard: sites, structures, jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hemiec.ranking.entries import shown_result
from hemiec.schemas.documents import CandidateDoc, CandidateSpec, JobRecord
from hemiec.schemas.stored import StructureDoc


@dataclass(frozen=True)
class Background:
    """What the store knows of a candidate and its entry does not; the card says what of it is missing.

    Parameters
    ----------
    spec
        Composition on the sites, charge balance and descriptors.
    structures
        Special quasirandom structures of the shown result, in the order of their members.
    jobs
        All jobs of the shown result, done or not.
    campaigns
        Names of the campaigns that asked for the candidate.
    versions
        Code versions of the jobs.
    """

    spec: CandidateSpec | None = None
    structures: Sequence[StructureDoc] = ()
    jobs: Sequence[JobRecord] = ()
    campaigns: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def background_of(doc: CandidateDoc, structures: Sequence[StructureDoc]) -> Background:
    """Return the background of a candidate.

    Parameters
    ----------
    doc
        The candidate; hops, transport, dynamics and thermodynamics are not looked at.
    structures
        Its structures, of any result and in any order; those of other results than the shown one are left out.
    """
    result = shown_result(doc)
    if result is None:
        return Background(spec=doc.candidate, campaigns=doc.campaigns)
    shown = [structure for structure in structures if structure.plan_id == result.plan_id]
    return Background(
        spec=doc.candidate,
        structures=sorted(shown, key=lambda structure: structure.member),
        jobs=result.jobs,
        campaigns=doc.campaigns,
        versions=result.versions,
    )
