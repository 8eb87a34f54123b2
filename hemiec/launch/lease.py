"""The only right to do something on a LaunchPad: kept as long as it is renewed, taken over from a dead holder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from pymongo.errors import DuplicateKeyError, PyMongoError

from hemiec.errors import LaunchError
from hemiec.launch.fireworks.worker import is_alive, worker_name
from hemiec.store.database import Database


class Lease:
    """A right that one process has at a time.

    Parameters
    ----------
    database
        Where it is written down.
    name
        What it is a right to.
    seconds
        How long it lasts without being renewed.
    """

    def __init__(self, database: Database, name: str, seconds: float) -> None:
        self.locks = database["locks"]
        self.name = name
        self.seconds = seconds

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it.

        Raises
        ------
        LaunchError
            If another process has it.
        """
        owner, now = worker_name(), datetime.now(UTC)
        holder = (self.locks.find_one({"_id": self.name}) or {}).get("owner", "")
        if is_alive(holder) is False:
            self.locks.delete_one({"_id": self.name, "owner": holder})
        claim = {"owner": owner, "expires": now + timedelta(seconds=self.seconds)}
        try:
            self.locks.update_one({"_id": self.name, "expires": {"$lt": now}}, {"$set": claim}, upsert=True)
        except DuplicateKeyError:
            raise LaunchError(
                f"another `hemiec {self.name}` ({holder}) is at work on this LaunchPad.",
                mend="let it go on, or stop it and run the same command again",
            ) from None
        try:
            yield
        finally:
            with suppress(PyMongoError):  # then it expires
                self.locks.delete_one({"_id": self.name, "owner": owner})

    def renew(self) -> None:
        """Keep it.

        Raises
        ------
        LaunchError
            If another process has taken it over, since it had expired.
        """
        expires = datetime.now(UTC) + timedelta(seconds=self.seconds)
        mine = {"_id": self.name, "owner": worker_name()}
        if self.locks.update_one(mine, {"$set": {"expires": expires}}).matched_count == 0:
            raise LaunchError(f"another `hemiec {self.name}` has taken over on this LaunchPad.")
