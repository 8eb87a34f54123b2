"""Open the queue that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hemiec.launch.queue import Queue
from hemiec.settings import Settings
from hemiec.store.database import Database


@contextmanager
def open_queue(settings: Settings, database: Database) -> Iterator[Queue]:
    """Open the queue of a database on the backend of the settings; it is closed at the end.

    Raises
    ------
    LaunchError
        If the backend is not installed or not configured.
    """
    if settings.backend == "jobflow-remote":
        from hemiec.launch.remote.queue import RemoteQueue

        queue: Queue = RemoteQueue(settings, database)
    else:
        from hemiec.launch.fireworks.queue import FireWorksQueue

        queue = FireWorksQueue(database)
    try:
        yield queue
    finally:
        queue.close()
