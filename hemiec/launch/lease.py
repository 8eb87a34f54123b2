"""The only right to do something on a queue: kept as long as it is renewed, taken over from a dead holder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from pymongo.errors import DuplicateKeyError, PyMongoError

from hemiec.errors import LaunchError
from hemiec.launch.fireworks.names import is_alive, worker_name
from hemiec.store.database import Database

#: How long a submission may take between two renewals, in s.
SUBMISSION_SECONDS = 120
_POLL_SECONDS = 0.2


class Lease:
    """A right that one process has at a time.

    ``inherited`` says, while it is held, that its last holder died or failed, perhaps between two writes.

    Parameters
    ----------
    database
        Where it is written down.
    name
        The command that it is a right to.
    seconds
        How long it lasts without being renewed.
    """

    def __init__(self, database: Database, name: str, seconds: float) -> None:
        self.locks = database["locks"]
        self.name = name
        self.seconds = seconds
        self.inherited = False

    @contextmanager
    def held(self, *, patience: float = 0) -> Iterator[Lease]:
        """Hold it.

        Parameters
        ----------
        patience
            How long to wait for another holder to let go, in s.

        Raises
        ------
        LaunchError
            If another process has it for longer.
        """
        owner = worker_name()
        deadline = time.monotonic() + patience
        while not self._claim(owner):
            holder = (self.locks.find_one({"_id": self.name}) or {}).get("owner", "")
            if is_alive(holder) is False:
                self._let_go(holder)
            elif time.monotonic() >= deadline:
                raise LaunchError(
                    f"another `hemiec {self.name}` ({holder}) is at work on this LaunchPad.",
                    mend="let it go on, or stop it and run the same command again",
                )
            else:
                time.sleep(_POLL_SECONDS)
        try:
            yield self
        except BaseException:
            # Left behind, and free: who takes it next knows that something may be half written.
            with suppress(PyMongoError):  # then it expires
                self._let_go(owner)
            raise
        with suppress(PyMongoError):
            self.locks.delete_one({"_id": self.name, "owner": owner})

    def renew(self) -> None:
        """Keep it.

        Raises
        ------
        LaunchError
            If another process has taken it over, since it had expired.
        """
        mine = {"_id": self.name, "owner": worker_name()}
        if self.locks.update_one(mine, {"$set": {"expires": self._end()}}).matched_count == 0:
            raise LaunchError(
                f"another `hemiec {self.name}` took over while this one stood still.", mend="run the same command again"
            )

    def _claim(self, owner: str) -> bool:
        free = {"_id": self.name, "expires": {"$lt": datetime.now(UTC)}}
        claim = {"$set": {"owner": owner, "expires": self._end()}}
        try:
            self.inherited = self.locks.find_one_and_update(free, claim, upsert=True, projection={"_id": 1}) is not None
        except DuplicateKeyError:
            return False
        return True

    def _let_go(self, owner: str) -> None:
        expired = {"$set": {"expires": datetime.now(UTC) - timedelta(milliseconds=1)}}
        self.locks.update_one({"_id": self.name, "owner": owner}, expired)

    def _end(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


@contextmanager
def submission_lease(database: Database) -> Iterator[Lease]:
    """Hold the only right to submit, waiting for others who do; renew it between steps.

    Raises
    ------
    LaunchError
        If another submission holds it for too long.
    """
    with Lease(database, "submit", SUBMISSION_SECONDS).held(patience=2 * SUBMISSION_SECONDS) as lease:
        yield lease
