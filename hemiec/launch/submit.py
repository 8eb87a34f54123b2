"""Hand a campaign to the LaunchPad: only what is missing, once, also from two shells at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fireworks import LaunchPad

from hemiec.launch.enqueue import add_missing, job_states, remove_half_written, submission_lock
from hemiec.launch.ladder import climb, with_first_tier
from hemiec.store.database import Database
from hemiec.workflows.campaign import Campaign


@dataclass(frozen=True)
class Submission:
    """How many jobs were added, and how many were there already."""

    added: int
    finished: int
    pending: int


def submit(database: Database, launchpad: LaunchPad, campaign: Campaign) -> Submission:
    """Add the jobs of a campaign that neither have a result nor are on the LaunchPad.

    A job's uuid is a hash of its content, so equal work of other campaigns counts. Of a campaign with a ladder, the
    jobs of the first tier are added, and those of the tiers that an earlier submission has reached.

    Raises
    ------
    LaunchError
        If another submission holds the lock for too long.
    """
    with submission_lock(database):
        remove_half_written(database)
        campaign = campaign.continuing(_earlier(database, campaign))
        known = job_states(database, campaign.job_uuids)
        # The campaign comes before its jobs, so that no job is without one.
        document = campaign.document() | {"last_submitted": datetime.now(UTC)}
        database["campaigns"].replace_one({"name": campaign.spec.name}, document, upsert=True)
        added = add_missing(database, launchpad, campaign.flows)
        if campaign.spec.ladder is not None:
            added += climb(database, launchpad, campaign.spec.name, judge=False).added
    finished = sum(entry["state"] == "COMPLETED" for entry in known.values())
    return Submission(added, finished, len(known) - finished)


def plan_submission(database: Database, campaign: Campaign) -> Submission:
    """Return what :func:`submit` would add, without changing anything.

    Of a ladder, what the tiers reached so far (at first the first one) need; promotions are not counted.
    """
    campaign = with_first_tier(campaign.continuing(_earlier(database, campaign)))
    uuids = set(campaign.job_uuids)
    known = job_states(database, uuids)
    finished = sum(entry["state"] == "COMPLETED" for entry in known.values())
    return Submission(len(uuids - set(known)), finished, len(known) - finished)


def _earlier(database: Database, campaign: Campaign) -> dict[str, object] | None:
    return database["campaigns"].find_one({"name": campaign.spec.name}) if campaign.spec.ladder is not None else None
