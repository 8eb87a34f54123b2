"""The maggma builder from job outputs to candidates and references."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from maggma.core import Builder
from maggma.stores import MongoStore
from pydantic import ValidationError
from pymongo import ReplaceOne

from hemiec.engines.protocol import load_protocol
from hemiec.errors import HemiecError, StoreError
from hemiec.ranking.calibration import calibrated_result
from hemiec.schemas.calibration import CalibrationDoc
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult, CandidateSpec, ReferenceDoc
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.stored import StructureDoc
from hemiec.store.building.assemble import Plan, assemble, energies_of
from hemiec.store.building.structures import structure_docs
from hemiec.store.calibration import current_calibrations
from hemiec.store.candidates import composition_of, documents_of
from hemiec.store.database import Database

#: Raise it when a change here or in `assemble` changes what is built: everything is then built anew.
BUILDER_VERSION = 5
#: Large parts of outputs that no number is made from.
_NOT_NEEDED = {
    "output.images": 0,
    "output.objects": 0,
    "output.vacancy_structures": 0,
    "output.trajectory": 0,
    "output.forces": 0,
    "output.lowest.forces": 0,
    "output.warren_cowley": 0,
    "output.host": 0,
}
#: Collection to its key, in the order of writing: candidates last, as their stamp says that all is written.
KEYS = {
    "references": "reference_id",
    "structures": "structure_id",
    "hops": "hop_id",
    "transport": "transport_id",
    "candidates": "candidate_id",
}

#: A job that was replaced leaves several documents; the one with the highest index counts.
_BY_INDEX = {"uuid": 1, "index": 1}


class CandidateBuilder(Builder):
    """Gather the outputs of every candidate's jobs into one document per candidate.

    Incremental: a candidate is built again only if one of its jobs or reference jobs finished or failed
    since, if its campaigns or the current calibrations changed, or if the builder did. Numbers that cannot
    be built are null with the reason; a candidate that cannot be built at all keeps its old document.

    Parameters
    ----------
    database
        Where campaigns and outputs are, and candidates go.
    failures
        Returns job uuid to the reason of those that failed; the queue's ``failures``.
    only
        Ids of the candidates to build; default all.
    """

    def __init__(
        self,
        database: Database,
        failures: Callable[[Collection[str]], dict[str, str]],
        only: Collection[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.database = database
        self.failures = failures
        self.only = only
        self.calibrations: list[CalibrationDoc] = []
        shared = {"database": database.name, "uri": database.uri, "mongoclient_kwargs": database.client_kwargs}
        self.campaigns = MongoStore(collection_name="campaigns", key="name", **shared)
        self.plans = MongoStore(collection_name="plans", key="candidate.candidate_id", **shared)
        self.outputs = MongoStore(collection_name="outputs", key="uuid", **shared)
        self.candidates = MongoStore(collection_name="candidates", key="candidate_id", **shared)
        self.references = MongoStore(collection_name="references", key="reference_id", **shared)
        super().__init__(
            sources=[self.campaigns, self.plans, self.outputs],
            targets=[self.candidates, self.references],
            **kwargs,
        )

    def get_items(self) -> Iterator[dict[str, Any]]:
        """Yield what each candidate that needs building is made from."""
        campaigns = {campaign["name"]: campaign for campaign in self.campaigns.query()}
        self.calibrations = current_calibrations(self.database)
        calibration_ids = [calibration.calibration_id for calibration in self.calibrations]
        for candidate_id, entries in self._entries(campaigns):
            uuids = {j["uuid"] for _, entry, campaign in entries for j in (*entry["jobs"], *campaign["references"])}
            done = {
                d["uuid"]: d["completed_at"]
                for d in self.outputs.query(_with_output(uuids), ["uuid", "completed_at"], sort=_BY_INDEX)
            }
            failures = self.failures(uuids - set(done))
            stamp = _hash(
                [
                    [BUILDER_VERSION, calibration_ids],
                    [e[0] for e in entries],
                    [e[1] for e in entries],
                    done,
                    failures,
                    _thermo(entries),
                ]
            )
            built = self.candidates.query_one({"candidate_id": candidate_id}, ["input_hash"])
            if built is None or built["input_hash"] != stamp:
                yield {
                    "candidate_id": candidate_id,
                    "entries": entries,
                    "done": list(done),
                    "failures": failures,
                    "stamp": stamp,
                }

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the candidate's document and the documents of its reference phases."""
        outputs = {d["uuid"]: d for d in self.outputs.query(_with_output(item["done"]), _NOT_NEEDED, sort=_BY_INDEX)}
        results: dict[str, CandidateResult] = {}
        specs: dict[str, CandidateSpec] = {}
        references: dict[str, ReferenceDoc] = {}
        structures: list[StructureDoc] = []
        now = datetime.now(UTC)
        for entry, campaign in _one_per_plan(item["entries"]):
            spec = CandidateSpec.model_validate(entry["candidate"])
            plan = Plan(
                plan_id=entry["plan_id"],
                candidate=spec,
                jobs=entry["jobs"],
                references=_by_phase(campaign, "reference"),
                dft_references=_by_phase(campaign, "reference-static"),
                outputs=outputs,
                failures=item["failures"],
                protocols=campaign["spec"]["protocols"],
                stopped=_stopped(entry, campaign),
            )
            results[plan.plan_id] = calibrated_result(assemble(plan), spec, self.calibrations)
            specs[plan.plan_id] = spec
            references |= _reference_docs(plan)
            structures += structure_docs(plan, item["stamp"], now)
        ordered = sorted(results.values(), key=_preference, reverse=True)
        spec = specs[ordered[0].plan_id]
        candidate = CandidateDoc(
            candidate_id=item["candidate_id"],
            candidate=spec,
            **composition_of(spec),
            campaigns=sorted({name for name, _, _ in item["entries"]}),
            **{name: _best(name, ordered) for name in PROPERTIES},
            results=ordered,
            input_hash=item["stamp"],
            builder_version=BUILDER_VERSION,
            last_updated=now,
        )
        return documents_of(candidate) | {
            "structures": [doc.to_mongo() for doc in structures],
            "references": [doc.to_mongo() for doc in references.values()],
        }

    def update_targets(self, items: list[dict[str, Any]]) -> None:
        """Write the documents; each replaces its predecessor in one step."""
        for collection, key in KEYS.items():
            documents = {doc[key]: doc for item in items for doc in item[collection]}
            operations = [ReplaceOne({key: name}, doc, upsert=True) for name, doc in documents.items()]
            if operations:
                self.database[collection].bulk_write(operations, ordered=False)

    def forget_dropped(self) -> None:
        """Take a campaign's name off candidates that it no longer asks for; the candidates stay."""
        plans = self.plans._collection
        for name in self.campaigns.distinct("name"):
            wanted = plans.distinct("candidate.candidate_id", {"campaign": name})
            self.candidates._collection.update_many(
                {"campaigns": name, "candidate_id": {"$nin": wanted}}, {"$pull": {"campaigns": name}}
            )

    def _entries(
        self, campaigns: dict[str, dict[str, Any]]
    ) -> Iterator[tuple[str, list[tuple[str, dict[str, Any], dict[str, Any]]]]]:
        """Yield each candidate with its plans: campaign's name, plan, and campaign."""
        query: dict[str, Any] = {"campaign": {"$in": list(campaigns)}}
        if self.only is not None:
            query["candidate.candidate_id"] = {"$in": list(self.only)}
        plans = self.plans.query(query, sort={"candidate.candidate_id": 1, "campaign": 1})
        for candidate_id, group in groupby(plans, key=lambda plan: plan["candidate"]["candidate_id"]):
            entries = []
            for plan in group:
                name = plan["campaign"]
                entry = {key: plan[key] for key in ("candidate", "plan_id", "tier", "stopped", "jobs")}
                entries.append((name, entry, campaigns[name]))
            yield candidate_id, entries


def build(
    database: Database,
    *,
    failures: Callable[[Collection[str]], dict[str, str]],
    only: Collection[str] | None = None,
    strict: bool = True,
) -> int:
    """Build what is out of date and return how many candidates were.

    Parameters
    ----------
    database
        The store.
    failures
        Returns job uuid to the reason of those that failed; the queue's ``failures``.
    only
        Ids of the candidates to build; default all.
    strict
        Whether a candidate that could not be built is an error.

    Raises
    ------
    StoreError
        If a candidate could not be built; it keeps its old document, and the others are built.
    """
    builder = CandidateBuilder(database, failures, only)
    builder.connect()
    built = 0
    unbuilt = []
    try:
        for item in builder.get_items():
            try:
                document = builder.process_item(item)
            except (ValidationError, KeyError, HemiecError) as error:
                unbuilt.append(f"{item['candidate_id']} ({type(error).__name__}: {str(error).splitlines()[0]})")
                continue
            builder.update_targets([document])
            built += 1
        builder.forget_dropped()
    finally:
        builder.finalize()
    if unbuilt and strict:
        raise StoreError(
            f"{len(unbuilt)} candidates could not be built and keep their old documents: {'; '.join(unbuilt[:3])}.",
            mend="if hemiec was updated, submit their campaign again",
        )
    return built


def _preference(result: CandidateResult) -> tuple[int, int, str]:
    """Larger cells first, then more hops, then later jobs; among equals the plan's hash decides."""
    return result.n_atoms or 0, result.migration_barrier.n, max((j.completed_at or "" for j in result.jobs), default="")


def _best(name: str, ordered: list[CandidateResult]) -> Quantity:
    quantities: list[Quantity] = [getattr(result, name) for result in ordered]
    return next((q for q in quantities if q.value is not None), quantities[0])


def _one_per_plan(entries: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[tuple[dict[str, Any], ...]]:
    """Return each plan once, as entry and campaign, with the jobs of all campaigns that share it.

    The ladder of one campaign may have gone further than that of another.
    """
    merged: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for _, entry, campaign in entries:
        if entry["plan_id"] not in merged:
            merged[entry["plan_id"]] = entry, campaign
            continue
        first, other = merged[entry["plan_id"]]
        both = sorted((first, entry), key=lambda e: len(e["jobs"]))
        jobs = {job["uuid"]: job for e in both for job in e["jobs"]}
        references = {job["uuid"]: job for c in (other, campaign) for job in c["references"]}
        furthest = campaign if both[1] is entry else other
        merged[entry["plan_id"]] = (
            both[1] | {"jobs": list(jobs.values())},
            furthest | {"references": list(references.values())},
        )
    return list(merged.values())


def _stopped(entry: dict[str, Any], campaign: dict[str, Any]) -> str | None:
    """Return why a ladder computes no more for a candidate for now; None where it computes everything."""
    ladder = campaign["spec"].get("ladder")
    if not ladder or entry["tier"] == ladder[-1]["tier"]:
        return None
    return entry["stopped"] or f"the ladder has not come further than tier {entry['tier'] or ladder[0]['tier']} yet"


def _with_output(uuids: Iterable[str]) -> dict[str, Any]:
    """Return the query for the finished ones: what a replaced job leaves has no output."""
    return {"uuid": {"$in": list(uuids)}, "output": {"$ne": None}}


def _by_phase(campaign: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return phase_id to the job of that kind."""
    return {job["phase_id"]: job for job in campaign["references"] if job["kind"] == kind}


def _reference_docs(plan: Plan) -> dict[str, ReferenceDoc]:
    documents = {}
    for references in (plan.references, plan.dft_references):
        for phase_id, energy in energies_of(references, plan.outputs).items():
            job = references[phase_id]
            reference_id = f"{phase_id}:{job['protocol_hash']}"
            documents[reference_id] = ReferenceDoc(
                reference_id=reference_id,
                phase=job["label"],
                formula=phase_id.split("-")[0],
                energy_per_atom=energy,
                protocol=job["protocol"],
                protocol_hash=job["protocol_hash"],
                job_uuid=job["uuid"],
                last_updated=datetime.now(UTC),
            )
    return documents


def _thermo(entries: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[Any]:
    """Return the settings that decide numbers at build time."""
    used = [campaign["spec"]["protocols"].get(tier) for _, _, campaign in entries for tier in ("relax", "confirm")]
    settings = [load_protocol(reference).thermo.model_dump(mode="json") for reference in used if reference]
    return sorted(settings, key=str)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
