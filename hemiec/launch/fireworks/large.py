"""Jobs whose arguments are too large for a document of MongoDB."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import bson
from jobflow import Job, JobStore, OutputReference
from monty.json import jsanitize

#: MongoDB's limit is 16 MiB; a Firework also holds the rest of its specification.
MAX_ARGUMENTS_BYTES = 8 * 1024**2
_NAMESPACE = uuid.UUID("0e8f3c0a-3b1c-4f0e-9d55-6f6c5c7a2b10")


def move_large_arguments(job: Job, store: JobStore) -> None:
    """Put the largest arguments of a job into the store, and references to them in their places.

    The job resolves them when it runs, as it does outputs of other jobs. Doing it again stores the same once.

    Parameters
    ----------
    job
        A job that is not in the queue yet; it is changed.
    store
        The store of outputs, connected.
    """
    arguments: dict[str | int, Any] = {**dict(enumerate(job.function_args)), **job.function_kwargs}
    plain = {key: jsanitize(value, strict=True, enum_values=True, allow_bson=True) for key, value in arguments.items()}
    sizes = {key: len(bson.encode({"argument": value})) for key, value in plain.items()}
    for key in sorted(sizes, key=lambda key: sizes[key], reverse=True):
        if sum(sizes.values()) <= MAX_ARGUMENTS_BYTES:
            return
        arguments[key] = _stored(job, key, plain[key], store)
        sizes[key] = 0
        job.function_args = tuple(arguments[k] for k in range(len(job.function_args)))
        job.function_kwargs = {k: arguments[k] for k in job.function_kwargs}


def _stored(job: Job, key: str | int, value: Any, store: JobStore) -> OutputReference:
    name = str(uuid.uuid5(_NAMESPACE, f"{job.uuid}/{job.index}/{key}"))
    document = {
        "uuid": name,
        "index": 1,
        "output": value,
        "completed_at": datetime.now().isoformat(),
        "metadata": {"argument_of": job.uuid},
        "hosts": list(job.hosts),
        "name": f"argument {key} of {job.name}",
    }
    store.update(document, key=["uuid", "index"], save={"data": "output"})
    return OutputReference(name)
