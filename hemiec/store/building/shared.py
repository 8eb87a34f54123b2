"""What all candidates of a pass of the builder share: campaigns, calibrations, reference phases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pymongo import ASCENDING

from hemiec.engines.protocol import load_mlip, load_protocol
from hemiec.errors import HemiecError
from hemiec.schemas.calibration import CalibrationDoc
from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.building.digest import digest
from hemiec.store.building.failed_jobs import failed_jobs
from hemiec.store.building.phases import Pool, Pools, elements_of
from hemiec.store.calibration import current_calibrations
from hemiec.store.database import Database, Document
from hemiec.thermo import THERMO_VERSION

#: Raise it when a change to what is built from an output changes what is built: everything is then built anew.
BUILDER_VERSION = 8
#: What is needed of the output of a reference phase.
_ENERGIES = {"_id": 0, "uuid": 1, "completed_at": 1} | {
    f"output.{part}{name}": 1 for part in ("", "lowest.") for name in ("energy_per_atom", "converged")
}
#: A job that was replaced leaves several documents; the one with the highest index counts.
BY_INDEX = [("uuid", ASCENDING), ("index", ASCENDING)]
#: Job records, outputs or whole chemistries are kept of so many sets of elements.
_CHEMISTRIES = 4_096


@dataclass(frozen=True)
class Header:
    """What a campaign says of all its candidates: protocols, ladder, jobs of reference phases, which species moves."""

    name: str
    protocols: Mapping[str, Any]
    ladder: Sequence[Document]
    references: Sequence[Document]
    mobile: str | None = None

    @classmethod
    def of(cls, campaign: Document) -> Header:
        """Return that of a campaign's document."""
        spec = campaign["spec"]
        moves = (spec.get("hops") or {}).get("mobile") if spec["protocols"].get("barrier") else None
        return cls(campaign["name"], spec["protocols"], spec.get("ladder") or (), campaign["references"], moves)

    @cached_property
    def stamp(self) -> str:
        """Hash of what decides numbers of every candidate, the thermodynamic settings of its protocols included."""
        thermo = [_thermo(self.protocols.get(tier)) for tier in ("relax", "confirm")]
        return digest([self.protocols, [tier["tier"] for tier in self.ladder], thermo])

    @cached_property
    def relax_hash(self) -> str | None:
        """Hash by which jobs name what relaxes; None if the protocol is unknown."""
        try:
            return load_mlip(self.protocols["relax"]).hash_of("relax")
        except (HemiecError, KeyError):
            return None


@dataclass(frozen=True)
class References:
    """The reference phases of one set of elements.

    ``jobs`` are those that each campaign lists, ``outputs`` and ``failures`` what these returned or failed of;
    ``pools`` are all phases that the hulls are made from, by the hash of the protocol, whichever campaign lists them;
    ``stamps`` maps campaign to the hash of what its candidates use of all that.
    """

    jobs: Mapping[str, Sequence[Document]]
    outputs: Mapping[str, Document]
    failures: Mapping[str, str]
    pools: Mapping[str, Pool]
    stamps: Mapping[str, str]


@dataclass
class Shared:
    """What was read once for all candidates of a pass."""

    headers: dict[str, Header]
    calibrations: list[CalibrationDoc]
    outputs: dict[str, Document]
    failures: dict[str, str]
    _kept: dict[frozenset[str], References] = field(default_factory=dict, repr=False)

    @cached_property
    def stamp(self) -> str:
        """Hash of what may decide numbers of every candidate of every campaign."""
        return digest([code_versions(), [c.calibration_id for c in self.calibrations]])

    @cached_property
    def reference_jobs(self) -> dict[str, set[str]]:
        """Uuid of a reference phase's job to the campaigns that ask for it."""
        found: dict[str, set[str]] = defaultdict(set)
        for header in self.headers.values():
            for job in header.references:
                found[job["uuid"]].add(header.name)
        return found

    @cached_property
    def pools(self) -> Pools:
        """The energies of all reference phases, whichever campaign lists them."""
        jobs = (job for header in self.headers.values() for job in header.references if job["kind"] == "reference")
        return Pools.of(jobs, self.outputs, self.failures)

    def campaign_stamp(self, name: str) -> str:
        """Return the hash of what decides numbers of all candidates of a campaign, reference phases included."""
        header = self.headers[name]
        return digest([header.stamp, header.references, self.pools.stamp(header.relax_hash)])

    @cached_property
    def _by_elements(self) -> dict[frozenset[str], list[tuple[str, Document]]]:
        """Elements to the campaigns that list phases of them, each with the job."""
        found: dict[frozenset[str], list[tuple[str, Document]]] = defaultdict(list)
        for header in self.headers.values():
            for job in header.references:
                found[elements_of(job["phase_id"])].append((header.name, job))
        return found

    def references(self, elements: frozenset[str]) -> References:
        """Return the reference phases made of some elements."""
        found = self._kept.get(elements)
        if found is None:
            if len(self._kept) >= _CHEMISTRIES:
                self._kept.clear()
            found = self._kept[elements] = self._of(elements)
        return found

    def _of(self, elements: frozenset[str]) -> References:
        jobs: dict[str, list[Document]] = {name: [] for name in self.headers}
        for of_phase, found in self._by_elements.items():
            if of_phase <= elements:
                for name, job in found:
                    jobs[name].append(job)
        uuids = {job["uuid"] for listed in jobs.values() for job in listed}
        outputs = {uuid: self.outputs[uuid] for uuid in uuids if uuid in self.outputs}
        failures = {uuid: self.failures[uuid] for uuid in uuids if uuid in self.failures}
        hashes = {header.relax_hash for header in self.headers.values() if header.relax_hash is not None}
        pools = {each: self.pools.within(each, elements) for each in hashes}
        stamps = {}
        for name, listed in jobs.items():
            own = sorted({job["uuid"] for job in listed})
            relax = self.headers[name].relax_hash
            stamps[name] = digest(
                [
                    sorted([job["uuid"], job["kind"], job["phase_id"]] for job in listed),
                    [[uuid, outputs[uuid]["completed_at"]] for uuid in own if uuid in outputs],
                    {uuid: failures[uuid] for uuid in own if uuid in failures},
                    None if relax is None else pools[relax].stamp,
                ]
            )
        return References(jobs, outputs, failures, pools, stamps)

    def calibration_stamp(self, protocol_hashes: Collection[str | None]) -> list[Any]:
        """Return what decides corrections of numbers of some protocols: which properties have any, and which fit."""
        fits = [(calibration, fit) for calibration in self.calibrations for fit in calibration.fits]
        fitting = {c.calibration_id for c, fit in fits if fit.low_protocol_hash in protocol_hashes}
        return [sorted({fit.property for _, fit in fits}), sorted(fitting)]


def code_versions() -> list[int]:
    """Return the versions of builder, layout and thermodynamics: a change of any builds everything anew."""
    return [BUILDER_VERSION, SCHEMA_VERSION, THERMO_VERSION]


def read_shared(database: Database) -> Shared:
    """Return what all candidates share, as it stands now."""
    headers = {c["name"]: Header.of(c) for c in database["campaigns"].find({}, {"name": 1, "spec": 1, "references": 1})}
    uuids = {job["uuid"] for header in headers.values() for job in header.references}
    outputs = {d["uuid"]: d for d in database["outputs"].find(with_output(uuids), _ENERGIES).sort(BY_INDEX)}
    failures = failed_jobs(database, uuids - outputs.keys())
    return Shared(headers, current_calibrations(database), outputs, failures)


def read_structures(database: Database, uuids: Sequence[str]) -> dict[str, Document | None]:
    """Return job to the relaxed structure of its reference phase; they are large, and no number is made from them."""
    fields = {"_id": 0, "uuid": 1, "output.structure": 1, "output.lowest.structure": 1}
    found = database["outputs"].find(with_output(uuids), fields).sort(BY_INDEX)
    outputs = {document["uuid"]: document.get("output", {}) for document in found}
    return {uuid: output.get("lowest", output).get("structure") for uuid, output in outputs.items()}


def with_output(uuids: Iterable[str]) -> dict[str, Any]:
    """Return the query for the finished ones: what a replaced job leaves has no output."""
    return {"uuid": {"$in": list(uuids)}, "output": {"$ne": None}}


def _thermo(reference: Any) -> Any:
    """Return the settings of a protocol that decide numbers at build time; of an unknown one, why it is."""
    if not reference:
        return None
    try:
        return load_protocol(reference).thermo.model_dump(mode="json")
    except HemiecError as error:
        return error.message
