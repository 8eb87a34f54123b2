"""Budgets of campaigns: when their core-hours are spent, no more of their jobs start."""

from __future__ import annotations

from dataclasses import dataclass

from hemiec.launch.queue import Queue
from hemiec.store.campaigns import write_header
from hemiec.store.database import Database


@dataclass(frozen=True)
class Spent:
    """A campaign whose budget is spent: what it may take and what it took, in core-hours."""

    campaign: str
    budget: float
    used: float


def check_budgets(queue: Queue) -> list[Spent]:
    """Compare what campaigns took with their budgets, and return those whose budget was spent since the last call.

    Workers take no more jobs of a campaign that is marked as spent, unless another campaign wants them too; jobs that
    run are left to finish. A larger budget, submitted, takes the mark away.
    """
    news = []
    limited = {"spec.budget.core_hours": {"$ne": None}}
    for header in queue.database["campaigns"].find(limited, {"name": 1, "spec.budget": 1, "spent": 1}):
        budget = header["spec"]["budget"]["core_hours"]
        used = sum(tally.core_seconds for tally in queue.tally(header["name"], costs=True)) / 3600
        if (used >= budget) != bool(header.get("spent")):
            write_header(queue.database, {"name": header["name"], "spent": used >= budget})
            if used >= budget:
                news.append(Spent(header["name"], budget, used))
    unlimited = {"spec.budget.core_hours": None, "spent": True}
    queue.database["campaigns"].update_many(unlimited, {"$set": {"spent": False}})
    if news:
        queue.hold([spent.campaign for spent in news])
    return news


def spent_campaigns(database: Database) -> list[str]:
    """Return the names of the campaigns whose budget is spent."""
    return list(database["campaigns"].distinct("name", {"spent": True}))
