"""The OPTIMADE server: an application of its own, of optimade-python-tools' parts, to be mounted in another.

The library's application is not used: it connects by itself and logs the password, writes a log to /var/log, lets
pages of other sites in, reads settings from the environment, replaces Python's display of warnings, turns text of a
filter into regular expressions, and pages by skipping, in no stable order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from optimade import __api_version__
from optimade.exceptions import NotFound, OptimadeHTTPException, VersionNotSupported
from optimade.models import (
    EntryInfoResource,
    EntryInfoResponse,
    InfoResponse,
    LinksResource,
    LinksResponse,
    ReferenceResource,
    ReferenceResponseMany,
    ReferenceResponseOne,
    StructureResource,
    StructureResponseMany,
    StructureResponseOne,
    Warnings,
)
from optimade.models.baseinfo import BaseInfoAttributes, BaseInfoResource
from optimade.server.mappers import BaseResourceMapper, LinksMapper, ReferenceMapper, StructureMapper
from optimade.server.middleware import CheckWronglyVersionedBaseUrls, EnsureQueryParamIntegrity
from optimade.server.routers.utils import (
    BASE_URL_PREFIXES,
    JSONAPIResponse,
    get_entries,
    get_single_entry,
    meta_values,
)
from optimade.server.schemas import ERROR_RESPONSES
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException

from hemiec.errors import StoreError
from hemiec.store.building.literature import articles
from hemiec.store.building.optimade import COLLECTION
from hemiec.web.optimade.configuration import DESCRIPTION, PAGE_LIMIT, properties, server_config
from hemiec.web.optimade.entries import Lend, ListingParams, LiteralEntries, SingleParams, StoredEntries
from hemiec.web.problems import Problem, of_store

ENTRY_TYPES = ("structures", "references")


class _Json(JSONAPIResponse):
    """The library's answer, written faster."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def create_optimade_app(lend: Lend, *, max_time_ms: int) -> FastAPI:
    """Return the application, to be mounted: it answers at ``/v1`` (and the full versions) and ``/versions``.

    Parameters
    ----------
    lend
        Opens a context with the store.
    max_time_ms
        How long MongoDB may work on a request, in ms.
    """
    config = server_config()
    app = FastAPI(
        title="OPTIMADE API of hemiec",
        description=DESCRIPTION,
        version=__api_version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{BASE_URL_PREFIXES['major']}/extensions/openapi.json",
        default_response_class=JSONAPIResponse,
        dependencies=[Depends(_whole_parameters)],
    )
    # Where the library's functions look for them.
    app.state.config = config
    app.state.base_resource_mapper = BaseResourceMapper(config)
    shared: dict[str, Any] = {"config": config, "max_time_ms": max_time_ms}
    references = LiteralEntries(lend, "", resource_cls=ReferenceResource, mapper=ReferenceMapper(config), **shared).of(
        articles()
    )
    structures = StoredEntries(
        lend, COLLECTION, resource_cls=StructureResource, mapper=StructureMapper(config), **shared
    )
    links = LiteralEntries(lend, "", resource_cls=LinksResource, mapper=LinksMapper(config), **shared)
    app.state.entry_collections = {"structures": structures, "references": references, "links": links}
    for prefix in (*BASE_URL_PREFIXES.values(), ""):
        for router in (_entries(), _about()):
            app.include_router(router, prefix=prefix, include_in_schema=prefix == BASE_URL_PREFIXES["major"])
    app.include_router(_outside_versions())
    _handle_problems(app)
    return app


def _entries() -> APIRouter:
    """Return the addresses of structures, references and links."""
    router = APIRouter()

    def listing(entry_type: str) -> Callable[..., Response]:
        def get(request: Request, params: Annotated[ListingParams, Depends()]) -> Response:
            return _listed(request, params, request.app.state.entry_collections[entry_type])

        return get

    def single(entry_type: str) -> Callable[..., Response]:
        def get(request: Request, entry_id: str, params: Annotated[SingleParams, Depends()]) -> Response:
            params.entry_id = entry_id
            collection = request.app.state.entry_collections[entry_type]
            return _answer(request, get_single_entry(collection, entry_id, request, params), params.remarks)

        return get

    models: dict[str, tuple[Any, Any]] = {
        "structures": (StructureResponseMany, StructureResponseOne),
        "references": (ReferenceResponseMany, ReferenceResponseOne),
    }
    for entry_type, (many, one) in models.items():
        about: dict[str, Any] = {"tags": [entry_type], "response_model": None}
        router.get(f"/{entry_type}", responses=_described(many), **about)(listing(entry_type))
        router.get(f"/{entry_type}/{{entry_id:path}}", responses=_described(one), **about)(single(entry_type))

    @router.get("/links", responses=_described(LinksResponse), tags=["links"], response_model=None)
    def links(request: Request, params: Annotated[ListingParams, Depends()]) -> Response:
        root = {
            "id": "hemiec",
            "type": "links",
            "name": "hemiec",
            "description": DESCRIPTION,
            "base_url": _base_url(request),
            "homepage": None,
            "link_type": "root",
        }
        return _listed(request, params, request.app.state.entry_collections["links"].of([root]))

    return router


def _about() -> APIRouter:
    """Return the addresses that describe the server and its fields."""
    router = APIRouter(tags=["info"])

    @router.get("/info", responses=_described(InfoResponse), response_model=None)
    def info(request: Request) -> Response:
        attributes = BaseInfoAttributes(
            api_version=__api_version__,
            available_api_versions=[
                {"url": f"{_base_url(request)}{BASE_URL_PREFIXES['major']}", "version": __api_version__}
            ],
            formats=["json"],
            available_endpoints=["info", "links", *ENTRY_TYPES],
            entry_types_by_format={"json": list(ENTRY_TYPES)},
            is_index=False,
        )
        return _answer(request, {"data": BaseInfoResource(id="/", type="info", attributes=attributes)})

    @router.get("/info/{entry_type}", responses=_described(EntryInfoResponse), response_model=None)
    def entry_info(request: Request, entry_type: str) -> Response:
        if entry_type not in ENTRY_TYPES:
            raise NotFound(f"info/{entry_type[:60]}: expected one of {', '.join(ENTRY_TYPES)}.")
        described = properties(entry_type, request.app.state.config)
        resource = EntryInfoResource(
            id=entry_type,
            type="info",
            formats=["json"],
            description={"structures": DESCRIPTION, "references": "The literature behind the structures."}[entry_type],
            properties=described,
            output_fields_by_format={"json": list(described)},
        )
        return _answer(request, {"data": resource})

    return router


def _outside_versions() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/versions")
    def versions() -> Response:
        major = BASE_URL_PREFIXES["major"].removeprefix("/v")
        return Response(f"version\n{major}", media_type="text/csv; header=present")

    @router.get("/")
    def start(request: Request) -> Response:
        return RedirectResponse(f"{_base_url(request)}{BASE_URL_PREFIXES['major']}/info")

    @router.get("/{path:path}")
    def unknown(request: Request, path: str) -> Response:
        config = request.app.state.config.model_copy(update={"base_url": _base_url(request)})
        CheckWronglyVersionedBaseUrls.check_url(config, request.url)
        raise NotFound(f"no address {path[:60]!r}; see {BASE_URL_PREFIXES['major']}/info.")

    return router


def _listed(request: Request, params: ListingParams, collection: StoredEntries) -> Response:
    if "page_limit" not in request.query_params:
        # The library's parameters have a default of their own.
        params.page_limit = PAGE_LIMIT
    content = get_entries(collection, request, params)
    if not content["meta"].data_available:
        params.remarks.append("the store has no entries yet; `hemiec build` writes those of its candidates.")
    return _answer(request, content, params.remarks)


def _answer(request: Request, content: dict[str, Any], remarks: list[str] | None = None) -> Response:
    """Return the answer with what the specification wants to be said of it."""
    n = 0 if "errors" in content else 1
    meta = content.get("meta") or meta_values(request.app.state.config, request.url, n, n, more_data_available=False)
    meta.time_stamp = datetime.now(UTC).replace(microsecond=0)
    # The part of the address behind the base URL, which the library takes to be the root of the server.
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    version = re.match(r"/v[0-9.]+(?=/)", path)
    path = path[version.end() :] if version else path
    meta.query.representation = f"{path}?{request.url.query}" if request.url.query else path
    if remarks:
        meta.warnings = [Warnings(type="warning", detail=remark) for remark in remarks]
    parts = {key: _plain(part) for key, part in (content | {"meta": meta}).items()}
    return _Json(parts)


def _plain(part: Any) -> Any:
    if hasattr(part, "model_dump"):
        return part.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return part


def _base_url(request: Request) -> str:
    """Return the address that the application is mounted at."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def _described(model: Any) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI description says of answers; they are not validated once more when they are sent."""
    return {200: {"model": model}, **(ERROR_RESPONSES or {})}


def _whole_parameters(request: Request) -> None:
    """Refuse parameters without an equals sign, as the specification asks."""
    EnsureQueryParamIntegrity.check_url(request.url.query)


def _handle_problems(app: FastAPI) -> None:
    """Make every error a JSON:API error object."""

    def stated(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException | OptimadeHTTPException)
        return _refusal(request, error.status_code, str(error.detail), error.headers)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return _refusal(request, 400, f"{first['loc'][-1]}: {first['msg']}.")

    def not_implemented(request: Request, error: Exception) -> Response:
        return _refusal(request, 501, str(error))

    def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem | PyMongoError | StoreError)
        found = error if isinstance(error, Problem) else of_store(error)
        return _refusal(request, found.status, " ".join(filter(None, (found.message, found.mend))), found.headers)

    def unexpected(request: Request, error: Exception) -> Response:
        # Starlette raises it again once this is sent, so the server's log has the traceback.
        return _refusal(request, 500, f"unexpected {type(error).__name__}; the server's log says more.")

    app.add_exception_handler(HTTPException, stated)
    app.add_exception_handler(OptimadeHTTPException, stated)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(NotImplementedError, not_implemented)
    for kind in (Problem, PyMongoError, StoreError):
        app.add_exception_handler(kind, problem)
    app.add_exception_handler(Exception, unexpected)


def _refusal(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    # 553 is OPTIMADE's own.
    title = VersionNotSupported.title if status == 553 else HTTPStatus(status).phrase
    error = {"status": str(status), "title": title, "detail": detail}
    answer = _answer(request, {"errors": [error]})
    answer.status_code = status
    answer.headers.update(headers or {})
    return answer
