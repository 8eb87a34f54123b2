"""A campaign: read, checked in full before anything runs, and turned into flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jobflow import Flow

from hemiec.composition.fractions import VACANCY
from hemiec.composition.space import enumerate_candidates
from hemiec.engines.makers import refuse_elements
from hemiec.engines.protocol import inlined, load_dft, load_mlip
from hemiec.errors import CampaignError, EngineError
from hemiec.schemas.campaign import CampaignSpec, HopSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.ladder import TIERS, TierName
from hemiec.schemas.validation import read_yaml, validate
from hemiec.structures.plan import plan_cell
from hemiec.thermo.references.shipped import not_converging
from hemiec.thermo.references.table import ReferencePhase, required_phases
from hemiec.workflows.candidate import CandidateMaker
from hemiec.workflows.identity import jobs_of, records_of
from hemiec.workflows.references import (
    REFERENCES,
    ReferenceJobs,
    reference_jobs,
    shipped_phases,
    surrounding_phases,
)
from hemiec.workflows.transport import mobile_sites

#: More candidates than this are no campaign: each is minutes to days of computing.
MAX_CANDIDATES = 100_000


@dataclass(frozen=True)
class Climb:
    """How far a campaign's candidates have come on its ladder; nobody has entered it at the start.

    ``reached`` maps candidate_id to the highest tier that it was let into, ``stopped`` to the reason why it goes no
    further for now, and ``promotions`` records the promotion jobs so far, in the order in which they were made.
    """

    reached: Mapping[str, TierName] = field(default_factory=dict)
    stopped: Mapping[str, str] = field(default_factory=dict)
    promotions: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Campaign:
    """A checked campaign with its candidates, and how far they have come."""

    spec: CampaignSpec
    candidates: list[CandidateSpec]
    climb: Climb = field(default_factory=Climb)

    @cached_property
    def maker(self) -> CandidateMaker:
        """The maker of every candidate's flow."""
        spec = self.spec
        return CandidateMaker(
            seed=spec.seed, sqs=spec.sqs, protocols=spec.protocols, hops=spec.hops, dynamics=spec.dynamics
        )

    @cached_property
    def plan_ids(self) -> dict[str, str]:
        """Candidate to the hash of what is computed for it and how."""
        return {candidate.candidate_id: self.maker.plan_id(candidate) for candidate in self.candidates}

    @property
    def phases(self) -> list[ReferencePhase]:
        """The reference phases that the candidates need, each once."""
        return _phases(self.candidates)

    @property
    def surroundings(self) -> list[ReferencePhase]:
        """The reference phases of all candidates, and those of their hulls and interfaces."""
        return _surroundings(self.candidates)

    def tiers_of(self, candidate_id: str) -> tuple[str, ...]:
        """Return what is computed for a candidate: all without a ladder, else what it has reached.

        The relaxed cell is part of every tier; a tier that the ladder leaves out is not computed.
        """
        if self.spec.ladder is None:
            return self.maker.tiers
        reached = self.climb.reached.get(candidate_id)
        if reached is None or reached == TIERS[0]:
            return ()
        names = {"relax", *(tier.tier for tier in self.spec.ladder)}
        return tuple(tier for tier in TIERS[1 : TIERS.index(reached) + 1] if tier in names)

    def flow(self, candidate: CandidateSpec) -> Flow | None:
        """Return the flow of one candidate as far as it has come, or None if nothing is computed for it."""
        tiers = self.tiers_of(candidate.candidate_id)
        return self.maker.make(candidate, tiers) if tiers else None

    @property
    def candidate_flows(self) -> list[Flow]:
        """One flow per candidate for which something is computed."""
        return [flow for flow in map(self.flow, self.candidates) if flow is not None]

    @cached_property
    def references(self) -> ReferenceJobs:
        """The jobs of the reference phases that the candidates need for which something is computed."""
        names, computed = self.spec.protocols, [c for c in self.candidates if self.tiers_of(c.candidate_id)]
        of = [c for c in computed if "confirm" in self.tiers_of(c.candidate_id)]
        phases = _unique(_phases(computed))
        if self.spec.competitors == "compute":
            hopeless = not_converging(load_mlip(names.relax).hash_of("relax"))
            phases |= _unique([p for p in _surroundings(computed) if p.phase_id not in hopeless])
        elif self.spec.competitors == "shipped":
            phases |= _unique(shipped_phases(_surroundings(computed), load_mlip(names.relax)))
        # DFT confirms enthalpies from oxides and vacancies: metals are no reference for either.
        confirmed = {p.phase_id for p in _phases(of) if p.is_molecule or p.oxidation_state != 0}
        return reference_jobs(
            list(phases.values()),
            names.relax,
            confirm=names.confirm,
            confirmed=confirmed,
            use_shipped=self.spec.shipped_references,
        )

    @property
    def reference_flows(self) -> list[Flow]:
        """One flow per reference phase of which something is to be computed: not of those that are shipped."""
        return self.references.flows

    @property
    def flows(self) -> list[Flow]:
        """Everything there is to run at present."""
        return [*self.candidate_flows, *self.reference_flows]

    @property
    def job_uuids(self) -> list[str]:
        """The uuids of all jobs that there are at present."""
        return [job.uuid for flow in self.flows for job in jobs_of(flow)]

    def header(self) -> dict[str, Any]:
        """Return what the store keeps of the campaign itself: as written, and the jobs that no candidate owns."""
        return {
            "name": self.spec.name,
            "spec": self.spec.model_dump(mode="json"),
            "n_candidates": len(self.candidates),
            "references": self.references.records,
            "promotions": [dict(record) for record in self.climb.promotions] if self.spec.ladder else [],
        }

    def plan(self, candidate: CandidateSpec, flow: Flow | None) -> dict[str, Any]:
        """Return what the store keeps of one candidate: how far it has come, and which job computes what.

        Parameters
        ----------
        candidate
            One of the campaign's.
        flow
            Its flow, from :meth:`flow`.
        """
        candidate_id = candidate.candidate_id
        return {
            "candidate": candidate.to_mongo(),
            "plan_id": self.plan_ids[candidate_id],
            "tier": self.climb.reached.get(candidate_id) if self.spec.ladder else None,
            "stopped": self.climb.stopped.get(candidate_id) if self.spec.ladder else None,
            "jobs": _records(flow),
        }

    def document(self) -> dict[str, Any]:
        """Return all that the store keeps, the plans of its candidates included."""
        return self.header() | {"candidates": [self.plan(c, self.flow(c)) for c in self.candidates]}

    def continuing(self, earlier: Mapping[str, Any] | None) -> Campaign:
        """Return the campaign as far as an earlier submission of that name had come, by its document.

        What was reached holds where the plan and the tier are still the same; a promotion is kept with its tier.
        """
        if earlier is None or self.spec.ladder is None:
            return self
        names = {tier.tier for tier in self.spec.ladder}
        kept = [
            entry
            for entry in earlier["candidates"]
            if self.plan_ids.get(entry["candidate"]["candidate_id"]) == entry["plan_id"] and entry.get("tier") in names
        ]
        return replace(
            self,
            climb=Climb(
                reached={entry["candidate"]["candidate_id"]: entry["tier"] for entry in kept},
                stopped={e["candidate"]["candidate_id"]: e["stopped"] for e in kept if e["stopped"] is not None},
                promotions=tuple(record for record in earlier.get("promotions", []) if record["tier"] in names),
            ),
        )


def campaign_of(document: Mapping[str, Any]) -> Campaign:
    """Return the campaign of a document of the store, as far as it has come.

    Raises
    ------
    CampaignError
        If an older version of hemiec wrote it in another form.
    """
    where = f"campaign {document['name']} in the store"
    spec = validate(CampaignSpec, document["spec"], where, CampaignError)
    candidates = [validate(CandidateSpec, e["candidate"], where, CampaignError) for e in document["candidates"]]
    return Campaign(spec, candidates).continuing(document)


def _phases(candidates: Sequence[CandidateSpec]) -> list[ReferencePhase]:
    return list(_unique([phase for c in candidates for phase in required_phases(c)]).values())


def _surroundings(candidates: Sequence[CandidateSpec]) -> list[ReferencePhase]:
    """Return the phases that candidates need, and those of their hulls and interfaces, each once."""
    systems = {frozenset(s for site in c.sites.values() for s in site if s != VACANCY) for c in candidates}
    return list(_unique([*_phases(candidates), *surrounding_phases(systems)]).values())


def _unique(phases: Sequence[ReferencePhase]) -> dict[str, ReferencePhase]:
    return {phase.phase_id: phase for phase in phases}


def _records(flow: Flow | None) -> list[dict[str, Any]]:
    return [] if flow is None else records_of(flow)


def read_spec(path: str | Path) -> CampaignSpec:
    """Return what stands in a campaign file; its compositions and protocols are not looked at.

    Raises
    ------
    CampaignError
        If the file cannot be read, or a key is unknown or missing.
    """
    spec = validate(CampaignSpec, read_yaml(Path(path), CampaignError), str(path), CampaignError)
    if not spec.space:
        raise CampaignError(f"{path}: key 'space': expected at least 1 composition, got none.")
    return spec


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
    spec = _with_protocol_files(read_spec(path), Path(path).parent, where)
    names = spec.protocols
    load_mlip(names.relax, where=f"{where}: protocols.relax")
    if names.barrier is not None:
        load_mlip(names.barrier, where=f"{where}: protocols.barrier")
    dft = {
        key: load_dft(reference, where=f"{where}: protocols.{key}")
        for key, reference in (("gap", names.gap), ("confirm", names.confirm))
        if reference is not None
    }
    if "confirm" in dft and not dft["confirm"].energies:
        raise CampaignError(
            f"{where}: protocols.confirm: {dft['confirm'].name} is for gaps; its total energies are not converged.",
            mend="use one whose `energies` is true, such as gpaw-standard",
        )
    if spec.dynamics is not None and names.barrier is None:
        raise CampaignError(
            f"{where}: dynamics needs a potential, and protocols.barrier is null.",
            mend="name one under protocols.barrier, or take `dynamics` out",
        )
    if spec.name.startswith(REFERENCES):
        raise CampaignError(
            f"{where}: key 'name': names that begin with {REFERENCES!r} are those of reference phases by themselves.",
            mend="choose another name",
        )
    _check_ladder(spec, where)
    candidates = enumerate_candidates(spec, where=where, limit=MAX_CANDIDATES)
    for candidate in candidates:
        plan_cell(candidate, spec.sqs, where=f"{where}: {candidate.label}")
        if names.barrier:
            _require_mobile(candidate, spec.hops, where)
        for protocol in dft.values():
            try:
                refuse_elements({s for site in candidate.sites.values() for s in site}, protocol)
            except EngineError as error:
                raise CampaignError(f"{where}: {candidate.label}: {error.message}", mend=error.mend) from error
    return Campaign(spec, candidates)


def _require_mobile(candidate: CandidateSpec, hops: HopSettings, where: str) -> None:
    """Refuse a mobile species that is not on X, or on A, and there alone, and more vacancies than it has sites."""
    mobile = hops.mobile
    on = [site for site, species in candidate.sites.items() if mobile in species]
    if on not in (["A"], ["X"]):
        known = [s for site in ("X", "A") for s in candidate.sites[site] if s != VACANCY]
        found = f"on {' and '.join(on)} of" if on else "not in"
        raise CampaignError(
            f"{where}: hops.mobile is {mobile!r}, which is {found} {candidate.label}; expected one of X or of A alone.",
            mend=f"use one of {', '.join(known)}",
        )
    n_sites = mobile_sites(candidate, mobile)
    if hops.carriers is not None and hops.carriers >= n_sites:
        raise CampaignError(
            f"{where}: hops.carriers is {hops.carriers:g}, and {mobile} has {n_sites:g} sites per formula unit of "
            f"{candidate.label}, vacant ones included; expected fewer.",
        )


def _with_protocol_files(spec: CampaignSpec, folder: Path, where: str) -> CampaignSpec:
    """Return the spec with every protocol that is the path of a YAML file, seen from the campaign, replaced by it."""
    read = {key: inlined(reference, folder, where=f"{where}: protocols.{key}") for key, reference in spec.protocols}
    return spec.model_copy(update={"protocols": spec.protocols.model_copy(update=read)})


def _check_ladder(spec: CampaignSpec, where: str) -> None:
    """Refuse tiers that have no protocol, and a confirmation of hops that no tier finds."""
    names = [tier.tier for tier in spec.ladder or ()]
    for name in ("barrier", "gap", "confirm"):
        if name in names and getattr(spec.protocols, name) is None:
            raise CampaignError(
                f"{where}: ladder: tier {name} needs a protocol, and protocols.{name} is null.",
                mend=f"name one under protocols.{name}, or leave the tier out",
            )
    if "dynamics" in names and spec.dynamics is None:
        raise CampaignError(
            f"{where}: ladder: tier dynamics needs settings, and `dynamics` is null.",
            mend="write `dynamics: {}` for the usual ones, or leave the tier out",
        )
    if "confirm" in names and "barrier" not in names and spec.protocols.barrier and spec.hops.confirm:
        raise CampaignError(
            f"{where}: ladder: tier confirm computes hops again, which tier barrier has to find first.",
            mend="add tier barrier, or set `hops: {confirm: 0}`",
        )
