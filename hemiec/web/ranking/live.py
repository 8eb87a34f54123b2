"""The table of all candidates: read in the background, kept as a file, renewed when the store changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import pymongo
from fastapi import Depends, Request

import hemiec
from hemiec.errors import HemiecError
from hemiec.store.campaigns import BUILDS
from hemiec.store.database import Database
from hemiec.store.queries.tables import candidate_columns, read_batches
from hemiec.web.problems import Problem, Progress
from hemiec.web.ranking.board import Board
from hemiec.web.ranking.kept import KeptTable, Mark
from hemiec.web.ranking.table import LiveTable
from hemiec.web.reading import Reading

#: How often the store is asked whether it has changed, in s.
LOOK_AGAIN_S = 5.0
#: Reading takes no larger part of the time than 1 / (1 + this), whatever changes.
REST = 5.0
#: When who comes too early is told to come back, in s.
RETRY_S = 1
#: How long a request waits for a table that may be there at once, in s.
_PATIENCE_S = 0.3
#: How often somebody is told how far reading has come, in s.
_TELL_S = 3.0
_logger = logging.getLogger(__name__)


class _Stopped(Exception):
    """The server ends; what was read so far is thrown away."""


class Live:
    """The table in memory; a thread of its own reads it.

    Parameters
    ----------
    reading
        Lends the database, and knows the data folder.
    enabled
        Whether there is to be a table at all.
    tell
        Called with a line for people now and then while a large store is read.
    """

    def __init__(self, reading: Reading, *, enabled: bool = True, tell: Callable[[str], object] | None = None) -> None:
        self.reading = reading
        self.enabled = enabled
        self.tell = tell
        self.kept = KeptTable(reading.settings)
        self.progress = Progress(done=0, total=0)
        self._board: Board | None = None
        self._mark: Mark | None = None
        self._renewing = False
        self._error: HemiecError | None = None
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def status(self) -> str:
        """``ready``; ``renewing`` while a newer table is being read; ``stale`` if that failed."""
        return "renewing" if self._renewing else "stale" if self._error else "ready"

    def start(self) -> None:
        """Begin to read, unless it was begun."""
        with self._lock:
            if self.enabled and self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="hemiec-live-table", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread; what it was reading is given up."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def board(self) -> Board:
        """Return the table with the latest answers from it.

        Raises
        ------
        Problem
            If it is still being read, cannot be read, or there is to be none.
        """
        if not self.enabled:
            mend = "start `hemiec serve` without --no-table; /candidates and /leaderboards work without it"
            raise Problem(404, "this server ranks nothing: it runs without the table of candidates.", mend=mend)
        self.start()
        if self._board is None:
            self._ready.wait(_PATIENCE_S)
        board = self._board
        if board is not None:
            return board
        error = self._error
        raise Problem(
            503,
            "the candidates are still being read." if error is None else error.message,
            mend="try again in a second" if error is None else error.mend,
            headers={"Retry-After": str(RETRY_S)},
            progress=self.progress,
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            read = False
            try:
                read = self._renew()
                self._error = None
            except _Stopped:
                return
            except Exception as error:  # a thread that died would leave an old table that says it is the latest
                read = self._renewing  # and failed, perhaps near the end
                self._error = _said(error)
            finally:
                self._renewing = False
            pause = LOOK_AGAIN_S if self._board is not None else RETRY_S
            self._stop.wait(max(pause, REST * (time.monotonic() - started)) if read else pause)

    def _renew(self) -> bool:
        """Bring the table to what the store holds now; return whether the store was read for it."""
        with self.reading() as database:
            mark = mark_of(database)
        if mark == self._mark:
            return False
        if self._take(mark):
            return False
        if self._board is None:
            # Numbers of before are better than none; the answer says when they were read.
            self._take(None)
        self._renewing = True
        with self.kept.writing() as mine:
            if not mine:
                return False  # another server on this data folder reads; its file will be there
            if self._take(mark):
                return False
            with self.reading(time_limit_s=None) as database:
                self._read(database, mark)
        return True

    def _take(self, mark: Mark | None) -> bool:
        """Use the kept file if it is of a mark (None: of any); return whether it was."""
        found = self.kept.open(mark)
        if found is None:
            return False
        table, its_mark = found
        self._use(table, its_mark)
        return True

    def _read(self, database: Database, mark: Mark) -> None:
        total = database["candidates"].estimated_document_count()
        moment, told, done = datetime.now(UTC), time.monotonic(), 0
        self.progress = Progress(done=0, total=total)
        with self.kept.replacing(mark, moment) as write:
            for batch in read_batches(database):
                if self._stop.is_set():
                    raise _Stopped
                write(batch)
                done += len(batch)
                self.progress = Progress(done=done, total=max(done, total))
                if self.tell is not None and time.monotonic() - told > _TELL_S:
                    told = time.monotonic()
                    self.tell(f"reading the candidates: {done:,} of {max(done, total):,}")
        self._take(mark)

    def _use(self, table: LiveTable, mark: Mark) -> None:
        board = Board(table)
        self._board, self._mark = board, mark
        self._renewing = False
        self._ready.set()
        with suppress(Problem):  # so many ask already that nothing is left to be done
            board.warm()


def _said(error: Exception) -> HemiecError:
    """Return what visitors are told of an error while the candidates were read, and log the rest."""
    if isinstance(error, HemiecError):
        _logger.warning("live table: %s", error)
        return HemiecError(f"the candidates cannot be read ({error.message.rstrip('.')}).", mend=error.mend)
    _logger.error("live table: unexpected error", exc_info=error)
    message = f"the candidates cannot be read (unexpected {type(error).__name__})."
    return HemiecError(message, mend="tell whoever runs this server; its log says more")


def mark_of(database: Database) -> Mark:
    """Return what is different after the candidates or what the file says of them have changed."""
    fields = {"started_at": 1, "archive": 1}
    newest: Any = [("last_updated", pymongo.DESCENDING)]
    latest = database["candidates"].find_one({}, {"_id": 0, "last_updated": 1}, sort=newest) or {}
    return {
        "hemiec": hemiec.__version__,
        "columns": len(candidate_columns()),
        "builds": list(database[BUILDS].find({}, fields).sort("_id", 1)),
        "latest": latest.get("last_updated"),
        "n_candidates": database["candidates"].estimated_document_count(),
    }


def _live_of(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


#: What an address declares to get the table.
LiveRead = Annotated[Live, Depends(_live_of)]
