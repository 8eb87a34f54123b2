"""Bring the reference energies that came with hemiec into the store, in place of the jobs that would compute them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from hemiec import __version__
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.launch.queue import Queue
from hemiec.store.database import Database, Document
from hemiec.thermo.references.shipped import version_differences

_DUPLICATE = 11000


def load_shipped(queue: Queue, outputs: Mapping[str, Document], campaign: str) -> int:
    """Write shipped outputs of jobs that neither have a result nor are in the queue; return how many were written.

    Submission then finds these jobs finished; those in the queue become jobs of the campaign. Calling it again, or from
    two processes at once, writes nothing twice; what is in the store is never replaced.

    Parameters
    ----------
    queue
        With the store.
    outputs
        Uuid to what the job left, as :func:`hemiec.thermo.references.shipped.shipped_outputs` returns it.
    campaign
        Name of the campaign that lists the jobs.
    """
    queue.claim(campaign, list(outputs))
    missing = set(outputs) - set(queue.states(list(outputs)))
    return insert_outputs(queue.database, [_marked(outputs[uuid]) for uuid in sorted(missing)])


def insert_outputs(database: Database, outputs: Sequence[Document]) -> int:
    """Write outputs of jobs that have none; return how many were written."""
    operations = [
        UpdateOne({"uuid": output["uuid"], "index": output["index"]}, {"$setOnInsert": output}, upsert=True)
        for output in outputs
    ]
    if not operations:
        return 0
    try:
        return database["outputs"].bulk_write(operations, ordered=False).upserted_count
    except BulkWriteError as error:
        if any(entry["code"] != _DUPLICATE for entry in error.details["writeErrors"]):
            raise
        return int(error.details["nUpserted"])  # another process wrote the rest at this moment


def count_shipped(database: Database, uuids: Collection[str]) -> int:
    """Return how many of some jobs have a result that was shipped."""
    where = {"uuid": {"$in": list(uuids)}, "metadata.hemiec.shipped": {"$exists": True}}
    return database["outputs"].count_documents(where)


def _marked(output: Mapping[str, Any]) -> Document:
    """Return a shipped output as it is stored: its metadata say which hemiec brought it and what computed it."""
    mark = {"source": f"hemiec {__version__}", "versions": dict(output["output"].get("versions") or {})}
    about = dict(output["metadata"]["hemiec"]) | {"shipped": mark}
    return dict(output) | {"metadata": dict(output["metadata"]) | {"hemiec": about}}


def version_notice(protocol: MlipProtocol) -> str | None:
    """Return one sentence if the model that is installed here is another version than that of shipped energies.

    The protocol's hash, not the version, says which results are the same: as with results that were computed before an
    upgrade, the shipped ones are used, and whoever knows that the weights have changed says so in the campaign.
    """
    differences = version_differences(protocol.hash_of("relax"))
    if not differences:
        return None
    versions = "; ".join(
        f"{package} {theirs}, and {ours} is installed" for package, (theirs, ours) in differences.items()
    )
    return (
        f"the shipped reference energies of {protocol.name} are of {versions} here. If the weights of the model "
        "differ, so do the scales of the energies: `hemiec doctor` compares them, and `shipped_references: false` in "
        "the campaign computes the phases here."
    )
