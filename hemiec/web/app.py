"""The web application: the page at /, REST under /api/v1, OPTIMADE under /optimade, and /docs on both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

import hemiec
from hemiec.settings import Settings
from hemiec.store.database import Database
from hemiec.web.compression import Compressed
from hemiec.web.description import ERRORS, TEXT, TOKEN_WRONG, describe
from hemiec.web.headers import Headed
from hemiec.web.page import router as page
from hemiec.web.problems import handle_problems
from hemiec.web.protection import (
    Guarded,
    HeadAsGet,
    RateLimit,
    check_parameters,
    check_size,
    except_for,
    require_token,
)
from hemiec.web.ranking.latest import Latest
from hemiec.web.ranking.live import Live
from hemiec.web.reading import Reading
from hemiec.web.routes import candidates, leaderboards, progress, ranking, records, snapshots, structures
from hemiec.web.site import is_site
from hemiec.web.site import router as site

API = "/api/v1"
#: Requests per second and client.
DEFAULT_RATE = 20.0
#: Comparisons of snapshots that are kept, of a megabyte or two each.
_DIFFS = 4
#: Smaller answers are not worth compressing, and a higher level costs more time than it saves.
_COMPRESSED_FROM, _COMPRESSION = 2_000, 4


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    allow_origins: Sequence[str] = (),
    rate: float | None = DEFAULT_RATE,
    table: bool = True,
    tell: Callable[[str], object] | None = None,
) -> FastAPI:
    """Return the web application on the database of the settings.

    Parameters
    ----------
    settings
        Where the database is, and the token that clients must send, if any.
    database
        An open database to use instead; it is not closed.
    allow_origins
        Web pages, as scheme and host, whose scripts may read the answers; default none.
    rate
        Requests per second and client; None for no limit.
    table
        Whether all candidates are held in memory, to rank them by rules of the moment.
    tell
        Called with a line for people now and then while that table is read from a large store.

    Raises
    ------
    StoreError
        If the database cannot be opened.
    """
    reading = Reading(settings, database)
    reading.database()
    live = Live(reading, enabled=table, tell=tell)
    token = settings.web_token.get_secret_value() if settings.web_token is not None else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        live.start()
        yield
        live.stop()
        reading.close()

    app = FastAPI(
        title="hemiec",
        version=hemiec.__version__,
        description=TEXT,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        middleware=_middleware(allow_origins, rate, token),
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.reading = reading
    app.state.live = live
    app.state.diffs = Latest(_DIFFS, waiting=3)
    app.state.current = Latest(0, waiting=3)
    app.state.private = token is not None
    handle_problems(app)
    describe(app, token=token is not None)
    api = APIRouter(prefix=API, responses={**ERRORS, **(TOKEN_WRONG if token is not None else {})})
    for part in (candidates, structures, leaderboards, records, ranking, snapshots, progress):
        api.include_router(part.router)
    app.include_router(api)
    app.include_router(site)
    app.include_router(page)
    app.state.optimade = find_spec("optimade") is not None
    if app.state.optimade:
        from hemiec.web.optimade import mount

        mount(app, reading)
    return app


def _middleware(allow_origins: Sequence[str], rate: float | None, token: str | None) -> list[Middleware]:
    """Return what every request passes, the outermost first."""
    found = [Middleware(Headed), Middleware(HeadAsGet)]
    if allow_origins:
        exposed = ["ETag", "Link", "Retry-After"]
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(allow_origins),
                allow_methods=["GET", "HEAD"],
                allow_headers=["Authorization", "If-None-Match"],
                expose_headers=exposed,
            )
        )
    if rate is not None:
        found.append(Middleware(Guarded, check=except_for(is_site, RateLimit(rate))))
    found += [Middleware(Guarded, check=check_size), Middleware(Guarded, check=check_parameters)]
    if token is not None:
        found.append(Middleware(Guarded, check=except_for(is_site, require_token(token, [f"{API}/health"]))))
    compressed = Middleware(Compressed, minimum_size=_COMPRESSED_FROM, compresslevel=_COMPRESSION)
    return [*found, compressed]
