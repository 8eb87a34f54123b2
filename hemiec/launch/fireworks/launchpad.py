"""The FireWorks LaunchPad in hemiec's database."""

from __future__ import annotations

from datetime import UTC, datetime

from hemiec.launch.fireworks.trust import TrustedLaunchPad
from hemiec.store.database import Database
from hemiec.store.trust import Trust


def open_launchpad(database: Database) -> TrustedLaunchPad:
    """Return the LaunchPad, initialised without ever resetting what is there."""
    launchpad = TrustedLaunchPad(
        Trust(database.trusted_packages),
        host=database.uri,
        name=database.name,
        uri_mode=True,
        strm_lvl="CRITICAL",
        mongoclient_kwargs=database.client_kwargs,
    )
    # `LaunchPad.reset` would delete everything; all that an empty database lacks is the counter and the indexes.
    created = database["fw_id_assigner"].update_one(
        {}, {"$setOnInsert": {"next_fw_id": 1, "next_launch_id": 1, "created_on": datetime.now(UTC)}}, upsert=True
    )
    if created.upserted_id is not None:
        launchpad.tuneup()
    return launchpad
