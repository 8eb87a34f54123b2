"""Jobs named by what they compute: the same work has the same uuid, whoever asks for it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from jobflow import Job

#: Namespace of hemiec's version-5 uuids.
_NAMESPACE = uuid.UUID("5e1b7a4e-54f3-4a5a-9b57-6d0d3f4f0c11")
#: Raise a step's number when its code changes what it computes: old results are then not reused.
STEP_VERSIONS = {
    "sqs": 2,
    **dict.fromkeys(("reference", "relax", "anneal", "basin", "walk", "vacancy", "hop", "gap"), 1),
}


def identify(
    job: Job,
    kind: str,
    inputs: dict[str, Any],
    *,
    step: str | None = None,
    priority: int = 0,
    protocol: tuple[str, str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Job:
    """Give a job the uuid of its content, metadata to be found by, and a priority; return it.

    Call it before ``job.output`` is used: references carry the uuid.

    Parameters
    ----------
    job
        The job.
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
    metadata
        More to store with the output.
    """
    content = {"kind": kind, "version": STEP_VERSIONS[kind], "inputs": inputs}
    content["protocol_hash"] = protocol[1] if protocol else None
    job.set_uuid(str(uuid.uuid5(_NAMESPACE, json.dumps(content, sort_keys=True))))
    about = {
        "uuid": job.uuid,
        "kind": kind,
        "step": step or kind,
        "protocol": protocol[0] if protocol else None,
        "protocol_hash": protocol[1] if protocol else None,
        **(metadata or {}),
    }
    job.metadata["hemiec"] = about
    job.config.manager_config["_priority"] = priority
    return job
