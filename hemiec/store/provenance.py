"""From any number of a candidate to jobs, inputs, protocols, versions and raw files.

What should be there and is not is named in :attr:`~hemiec.schemas.provenance.Provenance.missing`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import Protocol, load_protocol
from hemiec.errors import CampaignError, InputError, did_you_mean
from hemiec.ranking.calibration.shipped import shipped_calibrations
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult, CandidateSpec
from hemiec.schemas.provenance import (
    CalibrationTrace,
    JobTrace,
    NumberTrace,
    Origin,
    ProtocolTrace,
    Provenance,
    ReferenceTrace,
    StructureTrace,
)
from hemiec.schemas.quantity import Quantity
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database, Document, store_errors
from hemiec.store.jobs import trace_jobs

#: Where what an archive says of imported candidates is kept.
IMPORTED = "imported"
#: Plain numbers of a result to the step whose job they are from; those with units and spread name their jobs.
_STEPS = {
    **dict.fromkeys(("energy_per_atom", "volume_per_atom", "tilt"), "basin"),
    **dict.fromkeys(("n_atoms", "shortest_image_distance", "warren_cowley_rms", "icet_l1"), "sqs"),
    **dict.fromkeys(("electronic", "gap_starts"), "gap"),
    **dict.fromkeys(("transport",), "transport"),
    **dict.fromkeys(("dynamics",), "dynamics"),
    **dict.fromkeys(("thermodynamics",), "basin"),
}
_NO_NUMBERS = {"plan_id", "jobs", "versions"}
_CONFIRMED = "confirmed_formation_enthalpy_from_oxides_per_atom"


def trace(
    database: Database, candidate_id: str, property: str | None = None, *, local_files: bool = False
) -> Provenance:
    """Return where the numbers of a candidate come from.

    Parameters
    ----------
    database
        The store; the role `read` is enough.
    candidate_id
        The candidate.
    property
        One number: a property, a field of a result such as ``volume_per_atom``, ``hops.3`` for the fourth hop, or a
        descriptor such as ``tolerance_factor``; default all properties and hops of the best results.
    local_files
        Whether to look on this machine's disk for what jobs left.

    Raises
    ------
    InputError
        If there is no such candidate or number.
    StoreError
        If the database cannot be read.
    """
    with store_errors():
        candidate = next(read_candidates(database, {"candidate_id": candidate_id}), None)
        if candidate is None:
            raise no_candidate(database, candidate_id)
        numbers = [number_of(candidate, property)] if property is not None else _all_numbers(candidate)
        # One that was built here since it was imported has another input hash: it is no longer the archive's.
        as_imported = {"candidate_id": candidate_id, "input_hash": candidate.input_hash}
        archived = database[IMPORTED].find_one(as_imported, {"_id": 0})
        if archived is not None:
            return _archived(archived, numbers)
        return _traced(database, candidate, numbers, local_files)


def no_candidate(database: Database, candidate_id: str) -> InputError:
    """Return the error for an id that no candidate has; it names the nearest of those that begin alike."""
    ids = database["candidates"]
    like = {"candidate_id": {"$gte": candidate_id[:7], "$lt": candidate_id[:7] + "\uffff"}}
    some = [d["candidate_id"] for d in ids.find(like, {"candidate_id": 1}).limit(1000)]
    some = some or [d["candidate_id"] for d in ids.find({}, {"candidate_id": 1}).limit(10_000)]
    message = f"no candidate {candidate_id!r} in the store"
    if not some:
        return InputError(f"{message}; there are none.", mend="run a campaign first")
    begin = [known for known in some if candidate_id and known.startswith(candidate_id)]
    hint = f"did you mean {begin[0]!r}?" if begin else did_you_mean(candidate_id, some)
    return InputError(f"{message}; {hint if hint.startswith('did') else '`hemiec query` lists those that there are.'}")


def _all_numbers(candidate: CandidateDoc) -> list[NumberTrace]:
    names = [*PROPERTIES, _CONFIRMED]
    if not candidate.results:
        return [number_of(candidate, name) for name in PROPERTIES]
    hops = range(len(_result_of(candidate, "migration_barrier").hops))
    return [number_of(candidate, name) for name in (*names, *(f"hops.{k}" for k in hops))]


def number_of(candidate: CandidateDoc, property: str) -> NumberTrace:
    """Return one number of a candidate with the jobs it was made from.

    Raises
    ------
    InputError
        If candidates have no such number, or this one has fewer hops.
    """
    name, _, rest = property.partition(".")
    if name == "hops":
        return _hop(candidate, rest)
    if name in CandidateSpec.model_fields and not rest:
        return NumberTrace(
            property=property,
            plan_id=None,
            value=getattr(candidate.candidate, name),
            unit=None,
            method="from the composition alone",
            reason=None,
            quantity=None,
            job_uuids=[],
            reference_job_uuids=[],
        )
    if name not in CandidateResult.model_fields or name in _NO_NUMBERS:
        known = {*CandidateResult.model_fields, *CandidateSpec.model_fields} - _NO_NUMBERS
        raise InputError(f"candidates have no number {property!r}; {did_you_mean(property, known)}")
    if not candidate.results:
        return _without_results(candidate, property)
    result = _result_of(candidate, name)
    found: Any = getattr(candidate, name) if name in PROPERTIES else getattr(result, name)
    within: Quantity | None = None
    for part in rest.split(".") if rest else ():
        within = found if isinstance(found, Quantity) else within
        parts = list(getattr(type(found), "model_fields", ()))
        if part not in parts:
            hint = did_you_mean(part, parts) if parts else "it has no parts."
            raise InputError(f"{candidate.candidate_id}: {property!r}: no {part!r} there; {hint}")
        found = getattr(found, part)
    number = _number(property, result, found, name)
    if within is not None:
        number.unit, number.method = within.unit, within.method
        number.job_uuids, number.reference_job_uuids = within.job_uuids, within.reference_job_uuids
    return number


def _without_results(candidate: CandidateDoc, property: str) -> NumberTrace:
    quantity: Quantity | None = getattr(candidate, property, None)
    return NumberTrace(
        property=property,
        plan_id=None,
        value=None,
        unit=quantity.unit if quantity else None,
        method=quantity.method if quantity else None,
        reason=(quantity.reason if quantity else None) or "there is no result yet",
        quantity=quantity,
        job_uuids=[],
        reference_job_uuids=[],
    )


def _result_of(candidate: CandidateDoc, name: str) -> CandidateResult:
    """Return the result that a candidate's number is from: of a property the one shown, else the first with any."""
    if name in PROPERTIES:
        best: Quantity = getattr(candidate, name)
        same = [r for r in candidate.results if getattr(r, name) == best]
        return same[0] if same else candidate.results[0]
    for result in candidate.results:
        found = getattr(result, name)
        if found not in (None, []) and getattr(found, "value", found) is not None:
            return result
    return candidate.results[0]


def _number(property: str, result: CandidateResult, found: Any, name: str) -> NumberTrace:
    quantity = found if isinstance(found, Quantity) else None
    own = list(quantity.job_uuids) if quantity else []
    if not own and name == "transport":
        own = list(result.migration_barrier.job_uuids)
    if not own and name == "thermodynamics":
        own = list(result.energy_above_hull.job_uuids or result.interface_reaction_energy.job_uuids)
    if not own and name == "dynamics" and result.dynamics is not None:
        own = list(result.dynamics.activation_energy.job_uuids)
    if not own and name in _STEPS:
        own = [job.uuid for job in result.jobs if job.step == _STEPS[name]]
    plain = found.model_dump(mode="json") if hasattr(found, "model_dump") else found
    if isinstance(plain, list):
        plain = [item.model_dump(mode="json") if hasattr(item, "model_dump") else item for item in plain]
    return NumberTrace(
        property=property,
        plan_id=result.plan_id,
        value=quantity.value if quantity else plain,
        unit=quantity.unit if quantity else None,
        method=quantity.method if quantity else None,
        reason=quantity.reason if quantity else ("nothing is stored" if found is None else None),
        quantity=quantity,
        job_uuids=own,
        reference_job_uuids=list(quantity.reference_job_uuids) if quantity else [],
    )


def _hop(candidate: CandidateDoc, rest: str) -> NumberTrace:
    if not candidate.results:
        raise InputError(f"{candidate.candidate_id}: no hop of it has been computed.")
    result = _result_of(candidate, "migration_barrier")
    order, _, part = rest.partition(".")
    if not order.isdecimal() or int(order) >= len(result.hops):
        n = len(result.hops)
        mend = f"write hops.0 to hops.{n - 1}" if n else "no hop of it has been computed"
        raise InputError(f"{candidate.candidate_id}: no hop {rest!r}.", mend=mend)
    hop = result.hops[int(order)]
    value: Any = {"forward_barrier": hop.forward_barrier, "reverse_barrier": hop.reverse_barrier}
    if hop.dft_forward_barrier is not None:
        value |= {"dft_forward_barrier": hop.dft_forward_barrier, "dft_reverse_barrier": hop.dft_reverse_barrier}
    if part:
        if part not in type(hop).model_fields:
            raise InputError(f"hops have no {part!r}; {did_you_mean(part, type(hop).model_fields)}")
        value = hop.model_dump(mode="json")[part]
    return NumberTrace(
        property=f"hops.{rest}",
        plan_id=result.plan_id,
        value=value,
        unit="eV" if not part or part.endswith("barrier") else None,
        method=f"hop {hop.hop} of {hop.mobile} by {hop.environment}",
        reason=hop.reason,
        quantity=None,
        job_uuids=[uuid for uuid in (hop.job_uuid, hop.dft_job_uuid) if uuid is not None],
        reference_job_uuids=[],
    )


def _archived(archived: Document, numbers: list[NumberTrace]) -> Provenance:
    """Return what the archive that a candidate was imported from says of some numbers, and whose archive it is."""
    stored = Provenance.model_validate(archived["provenance"])
    wanted = {uuid for number in numbers for uuid in (*number.job_uuids, *number.reference_job_uuids)}
    known = {job.uuid for job in stored.jobs}
    by_uuid = {job.uuid: job for job in stored.jobs}
    kept = _with_ancestors(wanted, lambda uuid: [i.job_uuid for i in by_uuid[uuid].inputs] if uuid in by_uuid else [])
    jobs = [job for job in stored.jobs if job.uuid in kept]
    missing = [f"the archive has nothing of job {uuid}" for uuid in sorted(wanted - known)]
    calibrations = {n.quantity.calibration for n in numbers if n.quantity is not None}
    names = {job.protocol for job in jobs} | {n.quantity.protocol for n in numbers if n.quantity is not None}
    return stored.model_copy(
        update={
            "origin": Origin.model_validate(archived["origin"]),
            "numbers": numbers,
            "jobs": jobs,
            "protocols": [p for p in stored.protocols if p.name in names],
            "references": [r for r in stored.references if r.job_uuid in kept],
            "calibrations": [c for c in stored.calibrations if c.calibration_id in calibrations],
            "versions": _versions(jobs),
            "missing": [*stored.missing, *missing],
        }
    )


def _with_ancestors(wanted: Iterable[str], parents: Callable[[str], list[str]]) -> set[str]:
    found: set[str] = set()
    front = set(wanted)
    while front:
        found |= front
        front = {parent for uuid in front for parent in parents(uuid)} - found
    return found


def _traced(database: Database, candidate: CandidateDoc, numbers: list[NumberTrace], local_files: bool) -> Provenance:
    uuids = [uuid for number in numbers for uuid in (*number.job_uuids, *number.reference_job_uuids)]
    jobs, missing = trace_jobs(database, uuids, local_files=local_files)
    missing += [f"{n.property}: the jobs that it was made from are not recorded" for n in numbers if _has_no_job(n)]
    jobs = _named(jobs, candidate)
    plans = {number.plan_id for number in numbers}
    references, no_reference = _references(database, numbers)
    calibrations, no_calibration = _calibrations(database, numbers)
    protocols, no_protocol = _protocols(database, candidate, jobs, numbers)
    structures, no_structure = _structures(database, candidate, plans)
    return Provenance(
        candidate_id=candidate.candidate_id,
        label=candidate.candidate.label,
        formula=candidate.candidate.formula,
        campaigns=candidate.campaigns,
        numbers=numbers,
        jobs=jobs,
        protocols=protocols,
        structures=structures,
        references=references,
        calibrations=calibrations,
        versions=_versions(jobs),
        missing=[*missing, *no_protocol, *no_structure, *no_reference, *no_calibration],
    )


def _named(jobs: list[JobTrace], candidate: CandidateDoc) -> list[JobTrace]:
    """Return jobs with what the candidate says of those that the queue has forgotten."""
    records = {record.uuid: record for result in candidate.results for record in result.jobs}
    named = []
    for job in jobs:
        record = records.get(job.uuid)
        if job.step is None and record is not None:
            known = {"name": record.name, "step": record.step, "completed_at": record.completed_at or job.completed_at}
            job = job.model_copy(update=known | {"protocol": record.protocol, "protocol_hash": record.protocol_hash})
        named.append(job)
    return named


def _has_no_job(number: NumberTrace) -> bool:
    return number.plan_id is not None and number.value is not None and not number.job_uuids


def _versions(jobs: list[JobTrace]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for job in jobs:
        for code, version in job.versions.items():
            found[code].add(version)
    return {code: sorted(found[code]) for code in sorted(found)}


def _structures(
    database: Database, candidate: CandidateDoc, plans: set[str | None]
) -> tuple[list[StructureTrace], list[str]]:
    where = {"candidate_id": candidate.candidate_id, "plan_id": {"$in": sorted(p for p in plans if p)}}
    fields = dict.fromkeys(StructureTrace.model_fields, 1) | {"_id": 0}
    found = list(database["structures"].find(where, fields | {"plan_id": 1}).sort("structure_id", 1))
    have = {document.pop("plan_id") for document in found}
    made = {r.plan_id for r in candidate.results if any(j.step == "sqs" and j.state == "completed" for j in r.jobs)}
    lacking = sorted(p for p in plans if p and p in made and p not in have)
    return (
        [StructureTrace.model_validate(document) for document in found],
        [f"plan {plan}: its structure is not in the store; run `hemiec build`" for plan in lacking],
    )


def _references(database: Database, numbers: list[NumberTrace]) -> tuple[list[ReferenceTrace], list[str]]:
    wanted = sorted({uuid for number in numbers for uuid in number.reference_job_uuids})
    fields = dict.fromkeys(ReferenceTrace.model_fields, 1) | {"_id": 0}
    found = list(database["references"].find({"job_uuid": {"$in": wanted}}, fields).sort("reference_id", 1))
    lacking = sorted(set(wanted) - {document["job_uuid"] for document in found})
    return (
        [ReferenceTrace.model_validate(document) for document in found],
        [f"job {uuid}: the reference phase that it computed is not in the store" for uuid in lacking],
    )


def _calibrations(database: Database, numbers: list[NumberTrace]) -> tuple[list[CalibrationTrace], list[str]]:
    wanted = sorted({n.quantity.calibration for n in numbers if n.quantity and n.quantity.calibration})
    stored = {d["calibration_id"]: d for d in database["calibrations"].find({"calibration_id": {"$in": wanted}})}
    shipped = {c.calibration_id: c.to_mongo() for c in shipped_calibrations()} if set(wanted) - set(stored) else {}
    found, missing = [], []
    for name in wanted:
        document = stored.get(name) or shipped.get(name)
        if document is None:
            missing.append(f"calibration {name} is neither in the store nor shipped with this hemiec")
            continue
        kept = {k: v for k, v in document.items() if k in CalibrationTrace.model_fields}
        about = {"n_points": len(document["points"]), "shipped": name in shipped}
        # A shipped one is fitted anew by every process.
        when = {"created_at": None} if name in shipped else {}
        found.append(CalibrationTrace.model_validate(kept | about | when))
    return found, missing


def _protocols(
    database: Database, candidate: CandidateDoc, jobs: list[JobTrace], numbers: list[NumberTrace]
) -> tuple[list[ProtocolTrace], list[str]]:
    """Return each protocol of some jobs and numbers in full: from the jobs' own settings, else from the campaigns."""
    hashes: dict[str, set[str]] = defaultdict(set)
    contents: dict[str, Any] = {}
    for quantity in (number.quantity for number in numbers):
        if quantity is not None and quantity.protocol is not None:
            hashes[quantity.protocol].update([quantity.protocol_hash] if quantity.protocol_hash else [])
    for job in jobs:
        if job.protocol is not None:
            hashes[job.protocol].update([job.protocol_hash] if job.protocol_hash else [])
            if "protocol" in job.settings:
                contents.setdefault(job.protocol, job.settings["protocol"])
    for campaign in database["campaigns"].find({"name": {"$in": candidate.campaigns}}, {"spec.protocols": 1}):
        for reference in campaign["spec"]["protocols"].values():
            name = reference.get("name") if isinstance(reference, dict) else reference
            if name in hashes:
                contents.setdefault(name, reference)
    found, missing = [], []
    for name in sorted(hashes):
        try:
            protocol = load_protocol(contents.get(name, name), where=f"protocol {name}")
        except CampaignError:
            found.append(ProtocolTrace(name=name, hashes=sorted(hashes[name]), content=None, verified=False))
            missing.append(f"protocol {name} is not known here: neither shipped nor in a job or campaign")
            continue
        others = hashes[name] - hashes_of(protocol)
        of_dynamics = {j.protocol_hash for j in jobs if j.protocol == name and (j.step or "").startswith("dynamics")}
        verified = True if not others else None if others <= of_dynamics else False
        found.append(
            ProtocolTrace(
                name=name, hashes=sorted(hashes[name]), content=protocol.model_dump(mode="json"), verified=verified
            )
        )
        if verified is False:
            missing.append(f"protocol {name}: jobs ran with another content of hash {', '.join(sorted(others))}")
    return found, missing


def hashes_of(protocol: Protocol) -> set[str]:
    """Return the hashes by which jobs may name a protocol: of all its physics, and of each part."""
    parts = {protocol.hash}
    if isinstance(protocol, MlipProtocol):
        parts |= {protocol.hash_of(part) for part in ("model", "relax", "anneal", "saddle")}
    return parts
