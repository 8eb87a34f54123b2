"""What jobs will cost, by what finished ones of the same kind and protocol have cost in this store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hemiec.launch.queue import Queue
from hemiec.store.database import Database

#: Outputs that are looked at for their size.
_SAMPLE = 2_000


@dataclass(frozen=True)
class KindCost:
    """What the jobs of one kind and protocol will cost: core-hours and bytes, None where none has finished yet."""

    kind: str
    protocol: str | None
    n: int
    n_measured: int
    core_hours: float | None
    bytes: float | None


@dataclass(frozen=True)
class Cost:
    """What a submission will cost; a sum over kinds is a lower bound while one of them was never measured."""

    kinds: list[KindCost]

    @property
    def core_hours(self) -> float:
        """Of all kinds that were measured."""
        return sum(kind.core_hours or 0.0 for kind in self.kinds)

    @property
    def bytes(self) -> float:
        """Of all kinds that were measured, in the database."""
        return sum(kind.bytes or 0.0 for kind in self.kinds)

    @property
    def complete(self) -> bool:
        """Whether every kind was measured."""
        return all(kind.core_hours is not None for kind in self.kinds)


def predict(queue: Queue, kinds: Mapping[tuple[str, str | None], int]) -> Cost:
    """Return what jobs will cost by the mean of finished ones, whatever the size of their cells.

    Parameters
    ----------
    queue
        Whose finished jobs are the measure.
    kinds
        Kind and protocol to number of jobs.
    """
    done: dict[tuple[str, str | None], tuple[int, float]] = {}
    for tally in queue.tally(costs=True):
        if tally.state == "done":
            n, seconds = done.get((tally.kind, tally.protocol), (0, 0.0))
            done[tally.kind, tally.protocol] = n + tally.n, seconds + tally.core_seconds
    sizes = _mean_bytes(queue.database)
    found = []
    for (kind, protocol), n in sorted(kinds.items(), key=str):
        measured, seconds = done.get((kind, protocol), (0, 0.0))
        size = sizes.get(kind)
        found.append(
            KindCost(
                kind=kind,
                protocol=protocol,
                n=n,
                n_measured=measured,
                core_hours=n * seconds / measured / 3600 if measured else None,
                bytes=n * size if size is not None else None,
            )
        )
    return Cost(found)


def _mean_bytes(database: Database) -> dict[str, float]:
    """Return kind to the mean size of an output with its large objects, in bytes."""
    sample = {"$sample": {"size": _SAMPLE}}
    own = {"$project": {"kind": "$metadata.hemiec.kind", "uuid": 1, "size": {"$bsonSize": "$$ROOT"}}}
    outputs = list(database["outputs"].aggregate([sample, own]))
    uuids = [output["uuid"] for output in outputs]
    large: dict[str, float] = {}
    for file in database["data.files"].find(
        {"metadata.job_uuid": {"$in": uuids}}, {"length": 1, "metadata.job_uuid": 1}
    ):
        uuid = file["metadata"]["job_uuid"]
        large[uuid] = large.get(uuid, 0.0) + file["length"]
    sizes: dict[str, list[float]] = {}
    for output in outputs:
        sizes.setdefault(output.get("kind") or "", []).append(output["size"] + large.get(output["uuid"], 0.0))
    return {kind: sum(values) / len(values) for kind, values in sizes.items()}
