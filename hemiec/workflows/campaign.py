"""A campaign: read, checked in full before anything runs, and turned into flows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jobflow import Flow, Job

from hemiec.composition.fractions import VACANCY
from hemiec.composition.space import enumerate_candidates
from hemiec.engines.gpaw import refuse_open_shells
from hemiec.engines.protocol import load_gpaw, load_mlip
from hemiec.errors import CampaignError, EngineError
from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.validation import read_yaml, validate
from hemiec.structures.plan import plan_cell
from hemiec.thermo.references import ReferencePhase, required_phases
from hemiec.workflows.candidate import CandidateMaker
from hemiec.workflows.references import ReferenceMaker

#: More candidates than this are no campaign: each is minutes to days of computing, and all stand in one document of
#: the store, which MongoDB limits to 16 MB (about 6 kB for each candidate with six hops).
MAX_CANDIDATES = 2_000


@dataclass(frozen=True)
class Campaign:
    """A checked campaign with its candidates."""

    spec: CampaignSpec
    candidates: list[CandidateSpec]

    @property
    def maker(self) -> CandidateMaker:
        """The maker of every candidate's flow."""
        spec = self.spec
        return CandidateMaker(seed=spec.seed, sqs=spec.sqs, protocols=spec.protocols, hops=spec.hops)

    @property
    def phases(self) -> list[ReferencePhase]:
        """The reference phases that the candidates need, each once."""
        found = {phase.phase_id: phase for c in self.candidates for phase in required_phases(c)}
        return list(found.values())

    @cached_property
    def candidate_flows(self) -> list[Flow]:
        """One flow per candidate."""
        return [self.maker.make(candidate) for candidate in self.candidates]

    @cached_property
    def reference_flows(self) -> list[Flow]:
        """One flow per reference phase."""
        maker = ReferenceMaker(protocol=self.spec.protocols.relax)
        return [maker.make(phase) for phase in self.phases]

    @property
    def flows(self) -> list[Flow]:
        """Everything there is to run."""
        return [*self.candidate_flows, *self.reference_flows]

    @property
    def job_uuids(self) -> list[str]:
        """The uuids of all jobs."""
        return [job.uuid for flow in self.flows for job in jobs_of(flow)]

    def document(self) -> dict[str, Any]:
        """Return what the store keeps: the campaign as written and which job computes what."""
        return {
            "name": self.spec.name,
            "spec": self.spec.model_dump(mode="json"),
            "relax_protocol": self.spec.protocols.relax,
            "candidates": [
                {
                    "candidate": candidate.to_mongo(),
                    "plan_id": self.maker.plan_id(candidate),
                    "jobs": [job.metadata["hemiec"] | {"name": job.name} for job in jobs_of(flow)],
                }
                for candidate, flow in zip(self.candidates, self.candidate_flows, strict=True)
            ],
            "references": [
                job.metadata["hemiec"] | {"name": job.name} for flow in self.reference_flows for job in jobs_of(flow)
            ],
        }


def jobs_of(flow: Flow) -> Iterator[Job]:
    """Yield the jobs of a flat flow, parents first."""
    for job, _ in flow.iterflow():
        yield job


def read_spec(path: str | Path) -> CampaignSpec:
    """Return what stands in a campaign file; its compositions and protocols are not looked at.

    Raises
    ------
    CampaignError
        If the file cannot be read, or a key is unknown or missing.
    """
    return validate(CampaignSpec, read_yaml(Path(path), CampaignError), str(path), CampaignError)


def load_campaign(path: str | Path) -> Campaign:
    """Return the campaign in a YAML file, with every candidate checked.

    Raises
    ------
    CampaignError
        If the file cannot be read, a key is unknown or missing, or a protocol is not what is needed.
    CompositionError
        If a composition has a wrong element, wrong fractions, no charge balance, or fits no allowed cell, or there are
        more than :data:`MAX_CANDIDATES`.
    """
    where = str(path)
    spec = read_spec(path)
    names = spec.protocols
    load_mlip(names.relax, where=f"{where}: protocols.relax")
    if names.barrier is not None:
        load_mlip(names.barrier, where=f"{where}: protocols.barrier")
    gap = load_gpaw(names.gap, where=f"{where}: protocols.gap") if names.gap is not None else None
    candidates = enumerate_candidates(spec, where=where, limit=MAX_CANDIDATES)
    for candidate in candidates:
        plan_cell(candidate, spec.sqs, where=f"{where}: {candidate.label}")
        anions = [s for s in candidate.sites["X"] if s != VACANCY]
        if names.barrier and spec.hops.mobile not in anions:
            raise CampaignError(
                f"{where}: hops.mobile is {spec.hops.mobile!r}, which is not on the X site of {candidate.label}.",
                mend=f"use one of {', '.join(anions)}",
            )
        if gap is not None:
            try:
                refuse_open_shells([s for site in candidate.sites.values() for s in site], gap)
            except EngineError as error:
                raise CampaignError(f"{where}: {candidate.label}: {error.message}", mend=error.mend) from error
    return Campaign(spec, candidates)
