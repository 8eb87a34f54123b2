"""Jobs that make special quasirandom structures: of a campaign's candidate, or of any disordered structure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Maker, job
from pymatgen.core import Structure

from hemiec.errors import StructureError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.settings import load_settings
from hemiec.structures.sqs import make_sqs
from hemiec.structures.transformation import SqsTransformation


@dataclass
class SqsMaker(Maker):
    """Make the special quasirandom structure of a candidate.

    Parameters
    ----------
    name
        Job name.
    settings
        Cell and search effort: the keys of a campaign's ``sqs``, in plain types as jobs are stored.
    seed
        Seed of the choice among equal patterns and of the displacements.
    member
        Which of the ensemble's ``members``, from 0.
    """

    name: str = "sqs"
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    member: int = 0

    @job
    def make(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """Return an SqsDoc for a CandidateSpec (as a dict).

        Raises
        ------
        StructureError
            If there are fewer distinct structures than that.
        """
        spec = CandidateSpec.model_validate(candidate)
        settings = SqsSettings.model_validate(self.settings)
        ensemble = make_sqs(spec, settings, n=settings.members, seed=self.seed, cache=load_settings().pattern_cache)
        if self.member >= len(ensemble.members):
            raise StructureError(
                f"{spec.label}: {settings.members} structures were asked for, and there are only "
                f"{len(ensemble.members)} distinct ones of this size.",
                mend=f"set `sqs: {{members: {len(ensemble.members)}}}`, or allow larger cells",
            )
        return ensemble.members[self.member].to_mongo()


@dataclass
class DisorderedSqsMaker(Maker):
    """Make special quasirandom structures of any disordered structure, for use in other workflows.

    Parameters
    ----------
    name
        Job name.
    scaling
        Number of input cells in the result, or three repetitions.
    n
        How many distinct structures.
    quality
        fast, standard or best.
    seed
        Of the search.
    """

    name: str = "disordered sqs"
    scaling: int | list[int] = 4
    n: int = 1
    quality: str = "standard"
    seed: int = 0

    @job
    def make(self, structure: Structure) -> dict[str, Any]:
        """Return {"structure": the best, "structures": all, "objective_functions": ..., "icet_l1": ...}."""
        transformation = SqsTransformation(
            self.scaling, instances=self.n, quality=self.quality, seed=self.seed, best_only=False
        )
        ranked = transformation.apply_transformation(structure, return_ranked_list=self.n)
        return {
            "structure": ranked[0]["structure"],
            "structures": [entry["structure"] for entry in ranked],
            "objective_functions": [entry["objective_function"] for entry in ranked],
            "icet_l1": [entry["icet_l1"] for entry in ranked],
        }
