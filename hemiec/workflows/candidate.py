"""The workflow of one candidate: SQS, relaxation to the lowest basin found, band gap, vacancy hops."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from jobflow import Flow, Job, Maker

from hemiec.engines import mlip
from hemiec.engines.gpaw import GapMaker
from hemiec.engines.protocol import load_gpaw, load_mlip
from hemiec.schemas.campaign import HopSettings, ProtocolNames, SqsSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.workflows.identity import identify
from hemiec.workflows.jobs import AnnealMaker, BasinMaker, HopBarrierMaker, HopWalkMaker
from hemiec.workflows.sqs import SqsMaker

#: FireWorks runs high numbers first: what the longest jobs wait for, then the longest jobs, then the rest.
PRIORITY = {"sqs": 90, "relax": 80, "anneal": 82, "basin": 85, "gap": 70, "walk": 40, "vacancy": 30, "hop": 20}

#: Kind of step to the part of the MLIP protocol that decides its result.
_PROTOCOL_PART: dict[str, Literal["relax", "anneal", "saddle"]] = {
    "relax": "relax",
    "anneal": "anneal",
    "basin": "relax",
    "vacancy": "relax",
    "hop": "saddle",
}


@dataclass
class CandidateMaker(Maker):
    """Compose everything that is computed for one candidate.

    Parameters
    ----------
    name
        Flow name; the candidate's label is added.
    seed
        Seed of SQS, displacements and walk.
    sqs
        Cell and search effort.
    protocols
        Protocol names of relaxation, barrier and gap.
    hops
        Mobile species and number of hops.
    """

    name: str = "candidate"
    seed: int = 0
    sqs: SqsSettings = field(default_factory=SqsSettings)
    protocols: ProtocolNames = field(default_factory=ProtocolNames)
    hops: HopSettings = field(default_factory=HopSettings)

    def plan_id(self, candidate: CandidateSpec) -> str:
        """Hash of charges, cell, protocols, hops and seed: equal plans give equal results."""
        names = self.protocols
        content = {
            "oxidation_states": candidate.oxidation_states,
            "seed": self.seed,
            "sqs": self.sqs.model_dump(),
            "relax": load_mlip(names.relax).hash,
            "barrier": load_mlip(names.barrier).hash if names.barrier else None,
            "gap": load_gpaw(names.gap).hash if names.gap else None,
            "hops": self.hops.model_dump(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def make(self, candidate: CandidateSpec) -> Flow:
        """Return the flow of one candidate; its jobs are named by their content."""
        about = {"candidate_id": candidate.candidate_id, "label": candidate.label, "plan_id": self.plan_id(candidate)}
        sqs = SqsMaker(name="sqs", settings=self.sqs.model_dump(), seed=self.seed).make(candidate.to_mongo())
        identify(
            sqs,
            "sqs",
            {
                "candidate": candidate.candidate_id,
                "oxidation_states": candidate.oxidation_states,
                "seed": self.seed,
                **self.sqs.model_dump(),
            },
            priority=PRIORITY["sqs"],
            metadata=about,
        )
        basin, relaxing = self._basin_jobs(sqs, about)
        jobs = [sqs, *relaxing, basin]
        if self.protocols.gap:
            gap = GapMaker(protocol=self.protocols.gap).make(basin.output["structure"], sqs.output["supercell"])
            gap_protocol = load_gpaw(self.protocols.gap)
            identify(
                gap,
                "gap",
                {"basin": basin.uuid},
                priority=PRIORITY["gap"],
                protocol=(gap_protocol.name, gap_protocol.hash),
                metadata=about,
            )
            jobs.append(gap)
        if self.protocols.barrier:
            jobs += self._hop_jobs(basin, sqs, self.protocols.barrier, about)
        return Flow(jobs, name=f"{self.name} {candidate.label}")

    def _basin_jobs(self, sqs: Job, about: dict[str, Any]) -> tuple[Job, list[Job]]:
        """Return the job that keeps the lowest basin, and the relaxations that it compares."""
        name = self.protocols.relax
        relax = self._relax_job(name, sqs.output["structure"], relax_cell=True, name="relax cell")
        self._identify(relax, "relax", {"sqs": sqs.uuid}, name, about)
        shake = AnnealMaker(protocol=name, seed=self.seed).make(relax.output.structure)
        self._identify(shake, "anneal", {"relax": relax.uuid, "seed": self.seed}, name, about)
        again = self._relax_job(name, shake.output["structure"], relax_cell=True, name="relax annealed cell")
        self._identify(again, "relax", {"anneal": shake.uuid}, name, about, step="relax-annealed")
        basin = BasinMaker(protocol=name).make(
            {
                job.metadata["hemiec"]["step"]: {
                    "structure": job.output.structure,
                    "energy_per_atom": job.output.output.energy_per_atom,
                    "forces": job.output.output.forces,
                }
                for job in (relax, again)
            }
        )
        self._identify(basin, "basin", {"relaxations": [relax.uuid, again.uuid]}, name, about)
        return basin, [relax, shake, again]

    def _hop_jobs(self, basin: Job, sqs: Job, protocol: str, about: dict[str, Any]) -> list[Job]:
        n = self.hops.n
        walk = HopWalkMaker(mobile=self.hops.mobile, n_hops=n, seed=self.seed).make(
            basin.output["structure"], sqs.output["ideal_structure"]
        )
        identify(
            walk,
            "walk",
            {"basin": basin.uuid, "seed": self.seed, **self.hops.model_dump()},
            priority=PRIORITY["walk"],
            metadata=about,
        )
        vacancies = []
        for k in range(n + 1):
            structure = walk.output["vacancy_structures"][k]
            vacancy = self._relax_job(protocol, structure, relax_cell=False, name=f"relax vacancy {k + 1}")
            self._identify(vacancy, "vacancy", {"walk": walk.uuid, "k": k}, protocol, about, step=f"vacancy-{k + 1}")
            vacancies.append(vacancy)
        hops = []
        for k in range(n):
            hop = HopBarrierMaker(name=f"hop {k + 1}", protocol=protocol).make(
                walk.output["host"],
                walk.output["hops"][k],
                vacancies[k].output.structure,
                vacancies[k + 1].output.structure,
            )
            self._identify(hop, "hop", {"walk": walk.uuid, "k": k}, protocol, about, step=f"hop-{k + 1}")
            hops.append(hop)
        return [walk, *vacancies, *hops]

    @staticmethod
    def _relax_job(protocol: str, structure: Any, *, relax_cell: bool, name: str) -> Job:
        return mlip.relax_maker(load_mlip(protocol), relax_cell=relax_cell, name=name).make(structure)

    @staticmethod
    def _identify(
        job: Job, kind: str, inputs: dict[str, Any], protocol: str, about: dict[str, Any], *, step: str | None = None
    ) -> None:
        """Name a job that the MLIP protocol decides, by the part of the protocol that does."""
        loaded = load_mlip(protocol)
        identify(
            job,
            kind,
            inputs,
            step=step,
            priority=PRIORITY[kind],
            protocol=(loaded.name, loaded.hash_of(_PROTOCOL_PART[kind])),
            metadata=about,
        )
