"""The workflow of one candidate: SQS, relaxation to the lowest basin found, vacancy hops, band gap, confirmation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from jobflow import Flow, Job, Maker

from hemiec.composition.fractions import VACANCY
from hemiec.engines.makers import relax_maker, saddle_maker, starts_for
from hemiec.engines.protocol import load_dft, load_mlip
from hemiec.engines.settings import GIVEN_START, LIGHT
from hemiec.schemas.campaign import HopSettings, ProtocolNames, SqsSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.structures.plan import plan_cell
from hemiec.workflows.identity import identify
from hemiec.workflows.jobs import AnnealMaker, BasinMaker, HopBarrierMaker, HopWalkMaker, PathMomentsMaker
from hemiec.workflows.solutions import solution_jobs
from hemiec.workflows.sqs import SqsMaker

#: What is computed for a candidate, in the order of its cost. Each needs the first.
TIERS = ("relax", "barrier", "gap", "confirm")

#: FireWorks runs high numbers first: what the longest jobs wait for, then the longest jobs, then the rest.
PRIORITY = {
    "sqs": 90,
    "basin": 85,
    "anneal": 82,
    "relax": 80,
    "gap": 70,
    "static": 68,
    "dft-hop": 66,
    "walk": 40,
    "vacancy": 30,
    "hop": 20,
}

#: Kind of step to the part of the MLIP protocol that decides its result.
_PROTOCOL_PART: dict[str, Literal["relax", "anneal", "saddle"]] = {
    "relax": "relax",
    "anneal": "anneal",
    "basin": "relax",
    "vacancy": "relax",
    "hop": "saddle",
}

Reference = str | dict[str, Any]


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
        Protocols of relaxation, barrier, gap and confirmation.
    hops
        Mobile species and number of hops.
    """

    name: str = "candidate"
    seed: int = 0
    sqs: SqsSettings = field(default_factory=SqsSettings)
    protocols: ProtocolNames = field(default_factory=ProtocolNames)
    hops: HopSettings = field(default_factory=HopSettings)

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers that the protocols allow."""
        return tuple(tier for tier in TIERS if getattr(self.protocols, tier) is not None)

    def plan_id(self, candidate: CandidateSpec) -> str:
        """Hash of charges, cell, protocols, hops and seed: equal plans give equal results."""
        names = self.protocols
        content = {
            "oxidation_states": candidate.oxidation_states,
            "seed": self.seed,
            "sqs": self.sqs.model_dump(),
            "relax": load_mlip(names.relax).hash,
            "barrier": load_mlip(names.barrier).hash if names.barrier else None,
            "gap": load_dft(names.gap).hash if names.gap else None,
            "confirm": load_dft(names.confirm).hash if names.confirm else None,
            "hops": self.hops.model_dump(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def make(self, candidate: CandidateSpec, tiers: Collection[str] = TIERS) -> Flow:
        """Return the flow of one candidate; its jobs are named by their content.

        Parameters
        ----------
        candidate
            The composition.
        tiers
            What is computed, of :data:`TIERS`; those without a protocol are left out. A job's name does not depend
            on the tiers that are computed with it.
        """
        wanted = [tier for tier in self.tiers if tier in tiers]
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
            metadata={**about, "tier": "relax"},
        )
        basin, jobs = self._basin_jobs(sqs, {**about, "tier": "relax"})
        jobs = [sqs, *jobs, basin]
        hops: list[Job] = []
        if self.protocols.barrier and ("barrier" in wanted or "confirm" in wanted):
            others, hops = self._hop_jobs(basin, sqs, self.protocols.barrier, {**about, "tier": "barrier"})
            if "barrier" in wanted:
                jobs += [*others, *hops]
        if self.protocols.gap and "gap" in wanted:
            jobs += self._gap_jobs(
                basin, sqs, _species(candidate, self.sqs), self.protocols.gap, {**about, "tier": "gap"}
            )
        if self.protocols.confirm and "confirm" in wanted:
            jobs += self._confirm_jobs(
                basin, sqs, hops, candidate, self.protocols.confirm, {**about, "tier": "confirm"}
            )
        return Flow(jobs, name=f"{self.name} {candidate.label}")

    def _basin_jobs(self, sqs: Job, about: dict[str, Any]) -> tuple[Job, list[Any]]:
        """Return the job that keeps the lowest basin, and the relaxations that it compares."""
        protocol = self.protocols.relax
        relax = self._relax_job(protocol, sqs.output["structure"], relax_cell=True, name="relax cell")
        self._identify(relax, "relax", {"sqs": sqs.uuid}, protocol, about)
        shake = AnnealMaker(protocol=load_mlip(protocol).reference, seed=self.seed).make(relax.output["structure"])
        self._identify(shake, "anneal", {"relax": relax.uuid, "seed": self.seed}, protocol, about)
        again = self._relax_job(protocol, shake.output["structure"], relax_cell=True, name="relax annealed cell")
        self._identify(again, "relax", {"anneal": shake.uuid}, protocol, about, step="relax-annealed")
        basin = BasinMaker(protocol=load_mlip(protocol).reference).make(
            {
                job.metadata["hemiec"]["step"]: {
                    key: job.output[key] for key in ("structure", "energy_per_atom", "max_force", "converged")
                }
                for job in (relax, again)
            }
        )
        self._identify(basin, "basin", {"relaxations": [relax.uuid, again.uuid]}, protocol, about)
        return basin, [relax, shake, again]

    def _gap_jobs(
        self, basin: Job, sqs: Job, species: list[str], protocol: Reference, about: dict[str, Any]
    ) -> list[Any]:
        """Return the jobs of the band gap of the relaxed cell."""
        calculations, gap = solution_jobs(
            "gap",
            load_dft(protocol),
            species,
            basin.output["structure"],
            {"basin": basin.uuid},
            supercell=sqs.output["supercell"],
            priority=PRIORITY["gap"],
            metadata=about,
        )
        return [*calculations, gap]

    def _confirm_jobs(
        self,
        basin: Job,
        sqs: Job,
        hops: list[Job],
        candidate: CandidateSpec,
        protocol: Reference,
        about: dict[str, Any],
    ) -> list[Any]:
        """Return DFT single points of the relaxed cell, and of minima and saddle of the first hops."""
        dft = load_dft(protocol)
        species = _species(candidate, self.sqs)
        calculations, static = solution_jobs(
            "static",
            dft,
            species,
            basin.output["structure"],
            {"basin": basin.uuid},
            supercell=sqs.output["supercell"],
            priority=PRIORITY["static"],
            metadata=about,
        )
        jobs: list[Any] = [*calculations, static]
        for k, hop in enumerate(hops[: self.hops.confirm]):
            path = PathMomentsMaker().make(hop.output, static.output["lowest"])
            identify(
                path,
                "path-moments",
                {"hop": hop.uuid, "static": static.uuid},
                step=f"path-{k + 1}",
                priority=PRIORITY["dft-hop"],
                metadata=about,
            )
            jobs.append(path)
            start = GIVEN_START if starts_for(species, dft.spin) else None
            saddle = saddle_maker(dft, name=f"DFT along hop {k + 1}", start=start).make(path.output)
            identify(
                saddle,
                "dft-hop",
                {"path": path.uuid},
                step=f"dft-hop-{k + 1}",
                priority=PRIORITY["dft-hop"],
                protocol=(dft.name, dft.hash),
                resources=dft.resources,
                metadata=about,
            )
            jobs.append(saddle)
        return jobs

    def _hop_jobs(
        self, basin: Job, sqs: Job, protocol: Reference, about: dict[str, Any]
    ) -> tuple[list[Any], list[Job]]:
        """Return walk and vacancies, and the saddle searches."""
        n = self.hops.n
        walk = HopWalkMaker(mobile=self.hops.mobile, n_hops=n, seed=self.seed).make(
            basin.output["structure"], sqs.output["ideal_structure"]
        )
        identify(
            walk,
            "walk",
            {"basin": basin.uuid, "seed": self.seed, "mobile": self.hops.mobile, "n": n},
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
            hop = HopBarrierMaker(name=f"hop {k + 1}", protocol=load_mlip(protocol).reference).make(
                walk.output["host"],
                walk.output["hops"][k],
                vacancies[k].output["structure"],
                vacancies[k + 1].output["structure"],
            )
            ends = [vacancies[k].uuid, vacancies[k + 1].uuid]
            inputs = {"walk": walk.uuid, "k": k, "vacancies": ends}
            self._identify(hop, "hop", inputs, protocol, about, step=f"hop-{k + 1}")
            hops.append(hop)
        return [walk, *vacancies], hops

    @staticmethod
    def _relax_job(protocol: Reference, structure: Any, *, relax_cell: bool, name: str) -> Job:
        return relax_maker(load_mlip(protocol), relax_cell=relax_cell, name=name).make(structure)

    @staticmethod
    def _identify(
        job: Job,
        kind: str,
        inputs: dict[str, Any],
        protocol: Reference,
        about: dict[str, Any],
        *,
        step: str | None = None,
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
            resources=LIGHT if kind == "basin" else loaded.resources,
            metadata=about,
        )


def _species(candidate: CandidateSpec, sqs: SqsSettings) -> list[str]:
    """Return the element of every site of the candidate's cell."""
    amounts = plan_cell(candidate, sqs).amounts.values()
    return [s for site in amounts for s, n in site.items() if s != VACANCY for _ in range(n)]
