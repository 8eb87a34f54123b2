"""From the inputs of one candidate to its documents; nothing here opens the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hemiec.errors import HemiecError
from hemiec.ranking.calibration.fit import calibrated_result
from hemiec.schemas.calibration import CalibrationDoc
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult, CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.stored import StructureDoc
from hemiec.store.building.assemble import assemble
from hemiec.store.building.inputs import Inputs
from hemiec.store.building.optimade import optimade_entries
from hemiec.store.building.plan import Plan
from hemiec.store.building.shared import BUILDER_VERSION, Header
from hemiec.store.building.structures import structure_docs
from hemiec.store.candidates import composition_of, documents_of
from hemiec.store.database import Document

#: What documents raise whose layout is not the one expected; everything else is an error of the builder.
_BAD_INPUT = (HemiecError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class Built:
    """What became of one candidate: its documents by collection, or why it could not be built."""

    candidate_id: str
    stamp: str
    seen: str | None
    moment: datetime
    documents: dict[str, list[Document]] = field(default_factory=dict)
    error: str | None = None


def build_one(
    inputs: Inputs, headers: dict[str, Header], calibrations: Sequence[CalibrationDoc], moment: datetime
) -> Built:
    """Return the documents of one candidate, or why there are none.

    Parameters
    ----------
    inputs
        What it is built from, outputs included.
    headers
        The campaigns by name.
    calibrations
        The current ones.
    moment
        When the pass started.
    """
    about = {"candidate_id": inputs.candidate_id, "stamp": inputs.stamp, "seen": inputs.seen, "moment": moment}
    try:
        documents = _documents(inputs, headers, calibrations, moment)
    except _BAD_INPUT as error:
        first = str(error).splitlines()[0] if str(error) else "no message"
        return Built(**about, error=f"{type(error).__name__}: {first}")  # type: ignore[arg-type]
    return Built(**about, documents=documents)  # type: ignore[arg-type]


def _documents(
    inputs: Inputs, headers: dict[str, Header], calibrations: Sequence[CalibrationDoc], moment: datetime
) -> dict[str, list[Document]]:
    results: dict[str, CandidateResult] = {}
    specs: dict[str, CandidateSpec] = {}
    structures = []
    outputs = {**inputs.references.outputs, **inputs.outputs}
    failures = {**inputs.references.failures, **inputs.failures}
    for entry, header, references in _one_per_plan(inputs, headers):
        spec = CandidateSpec.model_validate(entry["candidate"])
        plan = Plan(
            plan_id=entry["plan_id"],
            candidate=spec,
            jobs=entry["jobs"],
            references={job["phase_id"]: job for job in references if job["kind"] == "reference"},
            dft_references={job["phase_id"]: job for job in references if job["kind"] == "reference-static"},
            outputs=outputs,
            failures=failures,
            protocols=header.protocols,
            mobile=header.mobile,
            stopped=_stopped(entry, header),
            calibrations=calibrations,
            pool=inputs.references.pools.get(header.relax_hash or ""),
            thermodynamics=inputs.thermodynamics.get(entry["plan_id"]),
        )
        results[plan.plan_id] = calibrated_result(assemble(plan), spec, calibrations)
        specs[plan.plan_id] = spec
        structures += [_plain(doc) for doc in structure_docs(plan, inputs.stamp, moment)]
    ordered = sorted(results.values(), key=_preference, reverse=True)
    spec = specs[ordered[0].plan_id]
    candidate = CandidateDoc(
        candidate_id=inputs.candidate_id,
        candidate=spec,
        **composition_of(spec),
        campaigns=sorted({entry["campaign"] for entry in inputs.entries}),
        mobile=_mobile(ordered),
        **{name: _best(name, ordered) for name in PROPERTIES},
        results=ordered,
        input_hash=inputs.stamp,
        builder_version=BUILDER_VERSION,
        last_updated=moment,
    )
    documents = documents_of(candidate) | {"structures": structures}
    return documents | {"optimade": optimade_entries(documents["candidates"][0], structures)}


def _plain(doc: StructureDoc) -> Document:
    """Return a structure's document; its cells are plain already, and to go through them takes long."""
    cells = ("ideal_structure", "structure")
    return doc.model_dump(mode="json", exclude=set(cells)) | {name: getattr(doc, name) for name in cells}


def _preference(result: CandidateResult) -> tuple[int, int, str]:
    """Larger cells first, then more hops, then later jobs; among equals the plan's hash decides."""
    return result.n_atoms or 0, result.migration_barrier.n, max((j.completed_at or "" for j in result.jobs), default="")


def _best(name: str, ordered: list[CandidateResult]) -> Quantity:
    quantities: list[Quantity] = [getattr(result, name) for result in ordered]
    return next((q for q in quantities if q.value is not None), quantities[0])


def _mobile(ordered: list[CandidateResult]) -> str | None:
    """Return the species of the best barrier; without one, that whose barrier is asked for first."""
    known = [result.mobile for result in ordered if result.migration_barrier.value is not None]
    return next((mobile for mobile in [*known, *(result.mobile for result in ordered)] if mobile is not None), None)


def _one_per_plan(
    inputs: Inputs, headers: dict[str, Header]
) -> list[tuple[dict[str, Any], Header, Sequence[Document]]]:
    """Return each plan once, with campaign and reference jobs, and with the jobs of all campaigns that share it.

    The ladder of one campaign may have gone further than that of another.
    """
    merged: dict[str, tuple[dict[str, Any], Header, Sequence[Document]]] = {}
    for entry in inputs.entries:
        header, jobs = headers[entry["campaign"]], inputs.references.jobs[entry["campaign"]]
        if entry["plan_id"] not in merged:
            merged[entry["plan_id"]] = entry, header, jobs
            continue
        first, other, earlier = merged[entry["plan_id"]]
        both = sorted((first, entry), key=lambda e: len(e["jobs"]))
        own = {job["uuid"]: job for e in both for job in e["jobs"]}
        references = {job["uuid"]: job for job in (*earlier, *jobs)}
        furthest = header if both[1] is entry else other
        merged[entry["plan_id"]] = both[1] | {"jobs": list(own.values())}, furthest, list(references.values())
    return list(merged.values())


def _stopped(entry: dict[str, Any], header: Header) -> str | None:
    """Return why a ladder computes no more for a candidate for now; None where it computes everything."""
    ladder = header.ladder
    if not ladder or entry["tier"] == ladder[-1]["tier"]:
        return None
    return entry["stopped"] or f"the ladder has not come further than tier {entry['tier'] or ladder[0]['tier']} yet"
