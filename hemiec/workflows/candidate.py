"""The workflow of one candidate: SQS, relaxation to the lowest basin found, vacancy hops, band gap, confirmation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

from jobflow import Flow, Job, Maker

from hemiec.composition.fractions import VACANCY
from hemiec.engines.makers import saddle_maker, starts_for
from hemiec.engines.protocol import load_dft, load_mlip
from hemiec.engines.settings import GIVEN_START, LIGHT
from hemiec.schemas.campaign import HopSettings, ProtocolNames, SqsSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.dynamics import DynamicsSettings
from hemiec.structures.plan import plan_cell
from hemiec.workflows.dynamics import DiffusionFromDynamicsMaker, DynamicsMaker
from hemiec.workflows.identity import identify
from hemiec.workflows.jobs import BasinMaker, PathMomentsMaker
from hemiec.workflows.solutions import solution_jobs
from hemiec.workflows.sqs import SqsMaker
from hemiec.workflows.transport import NetworkMaker, SampleMaker, TransportMaker

#: What is computed for a candidate, in the order of its cost. Each needs the first.
TIERS = ("relax", "barrier", "gap", "confirm", "dynamics")

#: FireWorks runs high numbers first: what the longest jobs wait for, then the longest jobs, then the rest.
PRIORITY = {
    "sqs": 90,
    "basin": 85,
    "gap": 70,
    "static": 68,
    "dft-hop": 66,
    "transport": 45,
    "network": 40,
    "sample": 30,
    "dynamics": 10,
}

#: Kind of step to the part of the MLIP protocol that decides its result.
_PROTOCOL_PART: dict[str, Literal["relax", "saddle"]] = {
    "basin": "relax",
    "sample": "saddle",
    "transport": "saddle",
}

#: Time that a run of molecular dynamics gets, in min.
DYNAMICS_WALLTIME_MIN = 1440

Reference = str | dict[str, Any]


@dataclass(frozen=True)
class _Member:
    """One special quasirandom structure of a candidate, numbered from 1, and its lowest basin."""

    number: int
    sqs: Job
    basin: Job


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
        Mobile species, and how much of its network is computed.
    dynamics
        Molecular dynamics; None for none.
    """

    name: str = "candidate"
    seed: int = 0
    sqs: SqsSettings = field(default_factory=SqsSettings)
    protocols: ProtocolNames = field(default_factory=ProtocolNames)
    hops: HopSettings = field(default_factory=HopSettings)
    dynamics: DynamicsSettings | None = None

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers that the campaign asks for."""
        asked = {**dict(self.protocols), "dynamics": self.protocols.barrier and self.dynamics}
        return tuple(tier for tier in TIERS if asked[tier] is not None)

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
            "dynamics": self.dynamics.model_dump() if self.dynamics else None,
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
        members = [self._member(candidate, number, about) for number in range(1, self._n_members(candidate) + 1)]
        jobs: list[Any] = [job for member in members for job in (member.sqs, member.basin)]
        first = members[0]
        samples: list[Job] = []
        if self.protocols.barrier and {"barrier", "confirm", "dynamics"} & set(wanted):
            networks, samples, transport = self._transport_jobs(members, candidate, self.protocols.barrier, about)
            if "barrier" in wanted:
                jobs += transport
            elif "dynamics" in wanted:
                jobs.append(networks[0])
            if "dynamics" in wanted:
                jobs += self._dynamics_jobs(networks[0], self.protocols.barrier, {**about, "tier": "dynamics"})
        if self.protocols.gap and "gap" in wanted:
            species = _species(candidate, self.sqs)
            jobs += self._gap_jobs(first, species, self.protocols.gap, {**about, "tier": "gap"})
        if self.protocols.confirm and "confirm" in wanted:
            jobs += self._confirm_jobs(first, samples, candidate, self.protocols.confirm, {**about, "tier": "confirm"})
        return Flow(jobs, name=f"{self.name} {candidate.label}")

    def _n_members(self, candidate: CandidateSpec) -> int:
        """Return how many structures there are: one if no site is mixed."""
        return self.sqs.members if plan_cell(candidate, self.sqs).mixed else 1

    def _member(self, candidate: CandidateSpec, number: int, about: dict[str, Any]) -> _Member:
        """Return the jobs of one special quasirandom structure and its lowest basin."""
        n = self._n_members(candidate)
        sqs = SqsMaker(name="sqs", settings=self.sqs.model_dump(), seed=self.seed, member=number - 1).make(
            candidate.to_mongo()
        )
        about = {**about, "tier": "relax"}
        content = {
            "candidate": candidate.candidate_id,
            "oxidation_states": candidate.oxidation_states,
            "seed": self.seed,
            **self.sqs.model_dump(exclude={"members"}),
            **({"member": number, "members": n} if n > 1 else {}),
        }
        identify(sqs, "sqs", content, step=_step("sqs", number), priority=PRIORITY["sqs"], metadata=about)
        protocol = load_mlip(self.protocols.relax)
        basin = BasinMaker(protocol=protocol.reference, seed=self.seed).make(sqs.output["ideal_structure"])
        content = {"sqs": sqs.uuid, "seed": self.seed, "anneal": protocol.hash_of("anneal")}
        self._identify(basin, "basin", content, self.protocols.relax, about, step=_step("basin", number))
        return _Member(number, sqs, basin)

    def _gap_jobs(self, member: _Member, species: list[str], protocol: Reference, about: dict[str, Any]) -> list[Any]:
        """Return the jobs of the band gap of the relaxed cell."""
        calculations, gap = solution_jobs(
            "gap",
            load_dft(protocol),
            species,
            member.basin.output["structure"],
            {"basin": member.basin.uuid},
            supercell=member.sqs.output["supercell"],
            priority=PRIORITY["gap"],
            metadata=about,
        )
        return [*calculations, gap]

    def _confirm_jobs(
        self,
        member: _Member,
        samples: list[Job],
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
            member.basin.output["structure"],
            {"basin": member.basin.uuid},
            supercell=member.sqs.output["supercell"],
            priority=PRIORITY["static"],
            metadata=about,
        )
        jobs: list[Any] = [*calculations, static]
        for k in range(min(self.hops.confirm, self.hops.n) if samples else 0):
            sample = samples[k // self.hops.batch]
            path = PathMomentsMaker(hop=k % self.hops.batch).make(sample.output["hops"], static.output["lowest"])
            identify(
                path,
                "path-moments",
                {"sample": sample.uuid, "hop": k % self.hops.batch, "static": static.uuid},
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

    def _transport_jobs(
        self, members: list[_Member], candidate: CandidateSpec, protocol: Reference, about: dict[str, Any]
    ) -> tuple[list[Job], list[Job], list[Job]]:
        """Return the networks, the samples of the first structure, and all jobs of ion transport.

        The samples of a structure follow one another, each choosing its hops by what is known from those before; once
        enough is known the rest has nothing to do.
        """
        about = {**about, "tier": "barrier"}
        loaded, hops = load_mlip(protocol), self.hops
        charge = candidate.oxidation_states[hops.mobile]
        aim = {
            "interval_eV": hops.interval_eV,
            "reference_temperature_K": hops.reference_K(charge),
            "oxidation_states": candidate.oxidation_states,
            "seed": self.seed,
        }
        networks: list[Job] = []
        samples: list[list[Job]] = []
        for member in members:
            network = NetworkMaker(mobile=hops.mobile).make(member.basin.output["structure"], member.sqs.output)
            content = {"basin": member.basin.uuid, "mobile": hops.mobile}
            step = _step("network", member.number)
            identify(network, "network", content, step=step, priority=PRIORITY["network"], metadata=about)
            found: list[Job] = []
            for k in range(ceil(hops.n / hops.batch)):
                # The last may be smaller: a campaign that asks for more later finds the others done.
                settings = {"n": min(hops.batch, hops.n - k * hops.batch), **aim}
                sample = SampleMaker(name=f"sample hops {k + 1}", protocol=loaded.reference, settings=settings).make(
                    network.output, [earlier.output for earlier in found]
                )
                content = {
                    "network": network.uuid,
                    "earlier": [job.uuid for job in found],
                    "search": loaded.saddle.model_dump(),
                    **settings,
                }
                step = _step(f"sample-{k + 1}", member.number)
                # One that failed does not hold up the others; without a network there is nothing to do.
                self._identify(sample, "sample", content, protocol, about, step=step, despite_failures=k > 0)
                found.append(sample)
            networks.append(network)
            samples.append(found)
        beside = self.dynamics.temperatures_K if self.dynamics else []
        temperatures = sorted({*hops.temperatures(charge), *beside})
        settings = {**aim, "temperatures_K": temperatures, "carriers": hops.carriers}
        transport = TransportMaker(protocol=loaded.reference, settings=settings).make(
            candidate.to_mongo(),
            [network.output for network in networks],
            [[sample.output for sample in found] for found in samples],
        )
        content = {"samples": [[job.uuid for job in found] for found in samples], **settings}
        self._identify(transport, "transport", content, protocol, about, despite_failures=True)
        jobs = [job for network, found in zip(networks, samples, strict=True) for job in (network, *found)]
        return networks, samples[0], [*jobs, transport]

    def _dynamics_jobs(self, network: Job, protocol: Reference, about: dict[str, Any]) -> list[Job]:
        """Return molecular dynamics of the first structure at every temperature, and the job that gathers them."""
        if self.dynamics is None:
            return []
        loaded, settings = load_mlip(protocol), self.dynamics.model_dump(mode="json")
        # A run of hours leaves checkpoints, but no more launches than necessary.
        resources = loaded.resources.model_copy(
            update={"walltime_min": max(loaded.resources.walltime_min, DYNAMICS_WALLTIME_MIN)}
        )
        runs = []
        for temperature in self.dynamics.temperatures_K:
            run = DynamicsMaker(
                name=f"dynamics at {temperature:g} K",
                protocol=loaded.reference,
                temperature_K=temperature,
                settings=settings,
                seed=self.seed,
            ).make(network.output)
            of_run = self.dynamics.model_dump(mode="json", exclude={"temperatures_K"})
            identify(
                run,
                "dynamics-run",
                {"network": network.uuid, "temperature_K": temperature, "seed": self.seed, **of_run},
                step=f"dynamics-{temperature:g}K",
                priority=PRIORITY["dynamics"],
                protocol=(loaded.name, loaded.hash_of("model")),
                resources=resources,
                metadata=about,
            )
            runs.append(run)
        gathered = DiffusionFromDynamicsMaker().make([run.output for run in runs], self.dynamics.temperatures_K)
        identify(
            gathered,
            "dynamics",
            {"runs": [run.uuid for run in runs]},
            priority=PRIORITY["dynamics"],
            protocol=(loaded.name, loaded.hash_of("model")),
            metadata=about,
            despite_failures=True,
        )
        return [*runs, gathered]

    @staticmethod
    def _identify(
        job: Job,
        kind: str,
        inputs: dict[str, Any],
        protocol: Reference,
        about: dict[str, Any],
        *,
        step: str | None = None,
        despite_failures: bool = False,
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
            resources=LIGHT if kind == "transport" else loaded.resources,
            metadata=about,
            despite_failures=despite_failures,
        )


def _step(step: str, number: int) -> str:
    """Return the name of a step of one structure: ``basin`` of the first, ``basin.2`` of the second."""
    return step if number == 1 else f"{step}.{number}"


def _species(candidate: CandidateSpec, sqs: SqsSettings) -> list[str]:
    """Return the element of every site of the candidate's cell."""
    amounts = plan_cell(candidate, sqs).amounts.values()
    return [s for site in amounts for s, n in site.items() if s != VACANCY for _ in range(n)]
