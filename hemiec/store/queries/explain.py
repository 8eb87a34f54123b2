"""How MongoDB finds a page: which index, how much it looks at, how long it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hemiec.store.database import Database
from hemiec.store.queries.order import in_time
from hemiec.store.queries.page import MAX_TIME_MS, Listing
from hemiec.store.queries.plan import choose_plan


@dataclass(frozen=True)
class Step:
    """One of MongoDB's searches for a page.

    Parameters
    ----------
    indexes
        Names of the indexes used; empty if the whole collection is read.
    keys
        Entries of indexes looked at.
    documents
        Documents looked at.
    found
        Documents found.
    sorted_in_memory
        Whether what was found had to be sorted, as no index had the order.
    time_ms
        Time it took, in ms.
    """

    indexes: tuple[str, ...]
    keys: int
    documents: int
    found: int
    sorted_in_memory: bool
    time_ms: int

    def __str__(self) -> str:
        how = f"index {' and '.join(self.indexes)}" if self.indexes else "the whole collection"
        sort = ", then sorted" if self.sorted_in_memory else ""
        return (
            f"{how}: {self.keys:,} entries and {self.documents:,} documents looked at{sort}; "
            f"{self.found:,} found in {self.time_ms} ms"
        )


def explain_page(
    database: Database,
    *,
    where: str = "",
    collection: str = "candidates",
    sort: str | None = None,
    descending: bool = False,
    limit: int = 100,
    max_time_ms: int = MAX_TIME_MS,
) -> list[Step]:
    """Return how MongoDB finds the first page of a query; arguments are those of `read_page`.

    Raises
    ------
    QueryError
        If the query or the order is wrong.
    StoreError
        If it takes too long, or the database cannot be reached.
    """
    steps: list[Step] = []
    listing = Listing.of(where, collection, sort, descending)
    with in_time(max_time_ms):
        plan = choose_plan(database[collection], listing.matches, listing.order)
        for find in listing.finds(plan, None):
            missing = limit + 1 - sum(step.found for step in steps)
            if missing < 1:
                break
            ways = {"sort": dict(find["sort"]), "hint": dict(find["hint"])}
            command = {"find": collection, "filter": find["filter"], **ways, "limit": missing}
            explained = database.mongo.command("explain", command, verbosity="executionStats", maxTimeMS=max_time_ms)
            steps.append(_step(explained))
    return steps


def _step(explained: dict[str, Any]) -> Step:
    stages = list(_stages(explained["queryPlanner"]["winningPlan"]))
    stats = explained["executionStats"]
    return Step(
        tuple(dict.fromkeys(stage["indexName"] for stage in stages if "indexName" in stage)),
        stats["totalKeysExamined"],
        stats["totalDocsExamined"],
        stats["nReturned"],
        any(stage.get("stage") == "SORT" for stage in stages),
        stats["executionTimeMillis"],
    )


def _stages(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the stages of a plan, of this and of later servers, which put them one deeper."""
    if isinstance(node, dict):
        if "stage" in node:
            yield node
        for value in node.values():
            yield from _stages(value)
    elif isinstance(node, list):
        for value in node:
            yield from _stages(value)
