"""Jobs named by what they compute: the same work has the same uuid, whoever asks for it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from jobflow import Flow, Job, OnMissing, OutputReference

from hemiec.engines.settings import LIGHT, Resources

#: Namespace of hemiec's version-5 uuids.
_NAMESPACE = uuid.UUID("5e1b7a4e-54f3-4a5a-9b57-6d0d3f4f0c11")
#: Raise a step's number when its code changes what it computes or returns: old results are then not reused.
STEP_VERSIONS = {
    **dict.fromkeys(("sqs", "reference", "gap", "path-moments"), 2),
    "basin": 3,
    **dict.fromkeys(("network", "sample", "transport", "dynamics-run", "dynamics"), 1),
    **dict.fromkeys(("gap-start", "static", "static-start", "dft-hop"), 1),
    **dict.fromkeys(("reference-start", "reference-static", "given-moments", "promote"), 1),
}


def uuid_of(kind: str, inputs: dict[str, Any], protocol_hash: str | None = None) -> str:
    """Return the uuid of a job by its content.

    Parameters
    ----------
    kind
        Kind of step, a key of STEP_VERSIONS.
    inputs
        Everything that decides the result: uuids of parent jobs, settings, seed.
    protocol_hash
        Hash of the physics of its protocol; None if it has none.
    """
    content = {"kind": kind, "version": STEP_VERSIONS[kind], "inputs": inputs, "protocol_hash": protocol_hash}
    return str(uuid.uuid5(_NAMESPACE, json.dumps(content, sort_keys=True)))


def record_of(
    job_uuid: str,
    kind: str,
    *,
    step: str | None = None,
    protocol: tuple[str, str] | None = None,
    resources: Resources = LIGHT,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what is stored with a job to find it by; parameters as :func:`identify`."""
    return {
        "uuid": job_uuid,
        "kind": kind,
        "protocol": protocol[0] if protocol else None,
        "protocol_hash": protocol[1] if protocol else None,
        "resources": resources.model_dump(),
        **(metadata or {}),
        "step": step or kind,
    }


def identify(
    job: Job | Flow,
    kind: str,
    inputs: dict[str, Any],
    *,
    step: str | None = None,
    priority: int = 0,
    protocol: tuple[str, str] | None = None,
    resources: Resources = LIGHT,
    metadata: dict[str, Any] | None = None,
    despite_failures: bool = False,
) -> Job | Flow:
    """Give a job the uuid of its content, metadata to be found by, and a priority; return it.

    Of a flow, the job whose output is the flow's gets the uuid and the step; the others get ones derived from it.
    Call it before ``output`` is used: references carry the uuid.

    Parameters
    ----------
    job
        The job, or the flow of several that an engine needs.
    kind
        Kind of step, a key of STEP_VERSIONS.
    inputs
        Everything that decides the result: uuids of parent jobs, settings, seed.
    step
        Name of the step within a candidate, such as ``hop-2``; default ``kind``.
    priority
        FireWorks runs high numbers first.
    protocol
        Name and hash of the protocol; the hash is part of the content.
    resources
        What the job takes of a cluster, and which workers take it; no part of the content.
    metadata
        More to store with the output.
    despite_failures
        Whether the job runs although some of its parents failed; their outputs are then None.
    """
    name = uuid_of(kind, inputs, protocol[1] if protocol else None)
    about = record_of(name, kind, step=step, protocol=protocol, resources=resources, metadata=metadata)
    step = about["step"]
    jobs = [job] if isinstance(job, Job) else list(jobs_of(job))
    last = jobs[0].uuid if isinstance(job, Job) else job.output.uuid
    new: dict[str, str] = {}
    for part in jobs:
        is_last = part.uuid == last
        derived = name if is_last else str(uuid.uuid5(_NAMESPACE, f"{name}/{len(new)}"))
        new[part.uuid] = derived
        part.set_uuid(derived)
        role = {} if is_last else {"uuid": derived, "step": f"{step}/{part.name}", "kind": f"{kind}-part"}
        part.metadata["hemiec"] = about | role
        # FireWorks' keys; jobflow passes them on to jobs that a job starts, such as the restart of a VASP run.
        part.config.manager_config |= {"_priority": priority, "_category": resources.category}
        if despite_failures:
            part.config.on_missing_references = OnMissing.NONE
    for part in jobs:
        for reference in _references([part.function_args, part.function_kwargs]):
            reference.uuid = new.get(reference.uuid, reference.uuid)
    if isinstance(job, Flow):
        for reference in _references(job.output):
            reference.uuid = new.get(reference.uuid, reference.uuid)
    return job


def jobs_of(flow: Flow) -> Iterator[Job]:
    """Yield the jobs of a flow in the order in which they were made."""
    for part in flow.jobs:
        if isinstance(part, Flow):
            yield from jobs_of(part)
        else:
            yield part


def records_of(flow: Flow) -> list[dict[str, Any]]:
    """Return what the store keeps of the jobs of a flow."""
    return [job.metadata["hemiec"] | {"name": job.name} for job in jobs_of(flow)]


def _references(content: Any) -> Iterator[OutputReference]:
    """Yield every reference to an output in nested arguments."""
    if isinstance(content, OutputReference):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _references(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _references(value)
