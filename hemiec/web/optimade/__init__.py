"""OPTIMADE, the standard API of materials databases, beside the REST API: read-only, at ``/optimade/v1``."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hemiec.store.database import Database
    from hemiec.web.reading import Reading

# The library sets up a console and a file in /var/log when it is imported, unless its logger has a handler.
logging.getLogger("optimade").addHandler(logging.NullHandler())

#: Path that the server is mounted at.
PATH = "/optimade"
MAX_TIME_MS = 5_000


def mount(app: FastAPI, database: Database | Reading, *, max_time_ms: int = MAX_TIME_MS) -> None:
    """Serve the collection `optimade` of a store at ``/optimade/v1``, and ``/optimade/versions``.

    Parameters
    ----------
    app
        The server; its middleware stands before OPTIMADE too.
    database
        The store, or what lends it; a user who may only read it is enough.
    max_time_ms
        How long MongoDB may work on a request, in ms.
    """
    from hemiec.web.optimade.server import create_optimade_app
    from hemiec.web.reading import Reading

    # The library makes its logger tell everything.
    logging.getLogger("optimade").setLevel(logging.WARNING)

    def lend() -> AbstractContextManager[Database]:
        # Single steps have time limits of their own, which a limit of the whole would override.
        return database(time_limit_s=None) if isinstance(database, Reading) else nullcontext(database)

    app.mount(PATH, create_optimade_app(lend, max_time_ms=max_time_ms))
