"""What a candidate is built from: plans, outputs, failed jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from pymongo import ASCENDING

from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.building.digest import digest
from hemiec.store.building.failed_jobs import failed_jobs
from hemiec.store.building.shared import BY_INDEX, References, Shared, code_versions, with_output
from hemiec.store.database import Database, Document

#: Large parts of outputs that no number is made from, by the kind of job; of other kinds the default.
_NOT_NEEDED: dict[str, dict[str, int]] = {
    "sqs": {"output.structure": 0, "output.candidate": 0, "output.warren_cowley": 0},
    "network": {"output.host": 0, **{f"output.network.{key}": 0 for key in ("frac_coords", "start", "end", "image")}},
    "sample": {"output.sites": 0, "output.hops.images": 0},
    "gap": {"output.lowest.structure": 0, "output.lowest.forces": 0, "output.lowest.attempts": 0},
    "static": {"output.lowest.structure": 0, "output.lowest.forces": 0, "output.lowest.attempts": 0},
    "basin": {"output.tilts": 0},
    "transport": {},
    "dynamics": {},
    "dynamics-run": dict.fromkeys(
        ("output.lags_ps", "output.vacancy_msd", "output.tracer_msd", "output.trajectory"), 0
    ),
}
_NEVER_NEEDED = dict.fromkeys(("_id", "metadata", "hosts"), 0)
_LARGE = {
    f"output.{key}": 0 for key in ("structure", "images", "objects", "trajectory", "forces", "saddle", "attempts")
}
#: Fields of a plan that decide what is built.
_PLAN = dict.fromkeys(("campaign", "candidate", "plan_id", "tier", "stopped", "jobs"), 1) | {"_id": 0}
#: What is built from a job's record; what it takes of a cluster is not.
_OF_A_JOB = ("uuid", "kind", "step", "name", "protocol", "protocol_hash")


@dataclass(frozen=True)
class Inputs:
    """Everything that one candidate is built from.

    ``entries`` are its plans, one per campaign, ``done`` maps the uuids of finished jobs to when they finished,
    ``failures`` those of failed ones to why; ``stamp`` is the hash of it all, ``seen`` that of the stored candidate.
    ``outputs``, and ``thermodynamics`` (plan to what is stored of it), are filled for candidates that are built.
    """

    candidate_id: str
    entries: list[Document]
    done: dict[str, Any]
    failures: dict[str, str]
    references: References
    stamp: str
    seen: str | None
    failed_before: bool
    outputs: dict[str, Document] = field(default_factory=dict)
    thermodynamics: dict[str, Document] = field(default_factory=dict)

    @property
    def up_to_date(self) -> bool:
        """Whether the stored candidate was built from just this."""
        return self.stamp == self.seen


def read_plans(database: Database, ids: Sequence[str]) -> list[tuple[str, list[Document]]]:
    """Return some candidates with their plans, one per campaign."""
    where = {"candidate.candidate_id": {"$in": list(ids)}}
    found = database["plans"].find(where, _PLAN).sort([("candidate.candidate_id", ASCENDING), ("campaign", ASCENDING)])
    return _grouped(found)


def all_plans(database: Database, n: int) -> Iterator[list[tuple[str, list[Document]]]]:
    """Yield all candidates with their plans, about n at a time, in the order of their ids."""
    order = [("candidate.candidate_id", ASCENDING), ("campaign", ASCENDING)]
    last = ""
    while True:
        where = {"candidate.candidate_id": {"$gt": last}}
        plans = list(database["plans"].find(where, _PLAN).sort(order).limit(n))
        groups = _grouped(plans)
        if len(plans) == n:
            # The last one may have more plans than were read.
            groups = groups[:-1] or read_plans(database, [groups[0][0]])
        if not groups:
            return
        yield groups
        last = groups[-1][0]


def read_inputs(database: Database, shared: Shared, plans: Iterable[tuple[str, list[Document]]]) -> list[Inputs]:
    """Return what some candidates are built from, without the outputs; a candidate of no campaign is left out."""
    known = [(c, [e for e in entries if e["campaign"] in shared.headers]) for c, entries in plans]
    asked = [(candidate_id, entries) for candidate_id, entries in known if entries]
    uuids = {job["uuid"] for _, entries in asked for entry in entries for job in entry["jobs"]}
    fields = {"_id": 0, "uuid": 1, "completed_at": 1}
    done = {d["uuid"]: d["completed_at"] for d in database["outputs"].find(with_output(uuids), fields).sort(BY_INDEX)}
    failures = failed_jobs(database, uuids - done.keys())
    of_these = {"candidate_id": {"$in": [candidate_id for candidate_id, _ in asked]}}
    hashes = {"_id": 0, "candidate_id": 1, "input_hash": 1}
    seen = {d["candidate_id"]: d["input_hash"] for d in database["candidates"].find(of_these, hashes)}
    failed = {d["candidate_id"]: d["input_hash"] for d in database["build_failures"].find(of_these, hashes)}
    inputs = []
    for candidate_id, entries in asked:
        own = [job["uuid"] for entry in entries for job in entry["jobs"]]
        finished = {uuid: done[uuid] for uuid in own if uuid in done}
        broken = {uuid: failures[uuid] for uuid in own if uuid in failures}
        species = {s for entry in entries for site in entry["candidate"]["sites"].values() for s in site}
        references = shared.references(frozenset(species | {"O"}))
        of_references = [references.stamps[entry["campaign"]] for entry in entries]
        stamp = _stamp(shared, entries, [finished, broken, of_references])
        inputs.append(
            Inputs(
                candidate_id=candidate_id,
                entries=entries,
                done=finished,
                failures=broken,
                references=references,
                stamp=stamp,
                seen=seen.get(candidate_id),
                failed_before=failed.get(candidate_id) == stamp,
            )
        )
    return inputs


def fill_outputs(database: Database, inputs: Sequence[Inputs]) -> None:
    """Read the outputs of finished jobs of some candidates, and their thermodynamics as they are stored."""
    of_kind: dict[str, set[str]] = defaultdict(set)
    for each in inputs:
        for job in (job for entry in each.entries for job in entry["jobs"]):
            if job["uuid"] in each.done:
                of_kind[job.get("kind") if job.get("kind") in _NOT_NEEDED else ""].add(job["uuid"])
    found: dict[str, Document] = {}
    for kind, uuids in of_kind.items():
        fields = _NEVER_NEEDED | _NOT_NEEDED.get(kind, _LARGE)
        found |= {d["uuid"]: d for d in database["outputs"].find(with_output(uuids), fields).sort(BY_INDEX)}
    for each in inputs:
        each.outputs.update({uuid: found[uuid] for uuid in each.done if uuid in found})
    by_id = {each.candidate_id: each for each in inputs}
    of_these = {"candidate_id": {"$in": list(by_id)}, "schema_version": SCHEMA_VERSION}
    fields = {"_id": 0, "candidate_id": 1, "plan_id": 1, "thermodynamics": 1}
    for stored in database["thermodynamics"].find(of_these, fields):
        by_id[stored["candidate_id"]].thermodynamics[stored["plan_id"]] = stored["thermodynamics"]


def _stamp(shared: Shared, entries: list[Document], of_jobs: list[Any]) -> str:
    """Return the hash of everything that a candidate is built from."""
    protocols = {job.get("protocol_hash") for entry in entries for job in entry["jobs"]}
    headers = [shared.headers[entry["campaign"]].stamp for entry in entries]
    plans = [
        [
            *(entry.get(key) for key in ("campaign", "candidate", "plan_id", "tier", "stopped")),
            [[job.get(key) for key in _OF_A_JOB] for job in entry["jobs"]],
        ]
        for entry in entries
    ]
    return digest([code_versions(), shared.calibration_stamp(protocols), headers, plans, of_jobs])


def _grouped(plans: Iterable[Document]) -> list[tuple[str, list[Document]]]:
    return [(key, list(group)) for key, group in groupby(plans, key=lambda plan: plan["candidate"]["candidate_id"])]
