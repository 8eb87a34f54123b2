"""Candidates and what belongs to one: its structures and where its numbers come from; and hops of all."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hemiec.schemas.documents import CandidateDoc
from hemiec.schemas.provenance import Provenance
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database
from hemiec.store.provenance import no_candidate, trace
from hemiec.store.queries.page import read_page
from hemiec.web.answers import address, send_json
from hemiec.web.description import NOT_FOUND
from hemiec.web.models import COORDINATES, CandidatePage, HopPage, StructureList
from hemiec.web.parameters import (
    CandidateId,
    CandidateQuery,
    HopQuery,
    NoParameters,
    ProvenanceQuery,
    WholeQuery,
)
from hemiec.web.problems import Problem
from hemiec.web.reading import Read

#: Structures of one candidate at most: an ensemble for each of its plans.
_MAX_STRUCTURES = 200
#: How long MongoDB may take for each part of a page, in ms.
_PAGE_TIME_MS = 5_000

router = APIRouter(tags=["candidates"])


@router.get("/candidates", response_model=CandidatePage, summary="Search candidates")
def list_candidates(request: Request, read: Read, query: Annotated[CandidateQuery, Query()]) -> Response:
    """Candidates that fulfil a condition, sorted, in pages. Without `fields` each comes without its `results`."""
    return _page(request, read, query, "candidates", without=("results",))


@router.get("/hops", response_model=HopPage, tags=["hops"], summary="Search hops")
def list_hops(request: Request, read: Read, query: Annotated[HopQuery, Query()]) -> Response:
    """Single hops of all candidates that fulfil a condition, sorted, in pages."""
    return _page(request, read, query, "hops")


@router.get("/candidates/{candidate_id}", response_model=CandidateDoc, responses=NOT_FOUND, summary="One candidate")
def show_candidate(
    request: Request, read: Read, candidate_id: CandidateId, query: Annotated[WholeQuery, Query()]
) -> Response:
    """One candidate with every result; with `whole` its hops, transport, dynamics and thermodynamics too."""
    with read() as database:
        found = next(read_candidates(database, {"candidate_id": candidate_id}, whole=query.whole), None)
        if found is None:
            raise _no_candidate(database, candidate_id)
    return send_json(request, found.to_mongo())


@router.get(
    "/candidates/{candidate_id}/structures",
    response_model=StructureList,
    responses=NOT_FOUND,
    summary="Structures of a candidate",
)
def list_structures(request: Request, read: Read, candidate_id: CandidateId, _: NoParameters) -> Response:
    """The special quasirandom structures of a candidate; `/structures/{structure_id}` has their coordinates."""
    with read() as database:
        _require_candidate(database, candidate_id)
        fields = dict.fromkeys(("_id", *COORDINATES), 0)
        found = database["structures"].find({"candidate_id": candidate_id}, fields)
        documents = list(found.sort([("plan_id", 1), ("member", 1)]).limit(_MAX_STRUCTURES))
    return send_json(request, {"documents": documents})


@router.get(
    "/candidates/{candidate_id}/provenance",
    response_model=Provenance,
    responses=NOT_FOUND,
    summary="Where numbers of a candidate come from",
)
def show_provenance(
    request: Request, read: Read, candidate_id: CandidateId, query: Annotated[ProvenanceQuery, Query()]
) -> Response:
    """From the numbers of a candidate to jobs, inputs, structures, protocols, versions and raw files."""
    with read() as database:
        _require_candidate(database, candidate_id)
        found = trace(database, candidate_id, query.property)
    return send_json(request, found.model_dump(mode="json"))


def _page(
    request: Request,
    read: Read,
    query: CandidateQuery | HopQuery,
    collection: str,
    *,
    without: tuple[str, ...] = (),
) -> Response:
    # The page limits each of its steps.
    with read(time_limit_s=None) as database:
        page = read_page(
            database,
            collection=collection,
            where=query.q,
            sort=query.sort,
            descending=query.descending,
            limit=query.limit,
            after=query.after,
            fields=query.wanted(),
            without=without,
            counted=query.count,
            max_time_ms=_PAGE_TIME_MS,
        )
    # Who goes on knows the count.
    following = None if page.next is None else address(request, query, after=page.next, count=False)
    content: dict[str, Any] = {"documents": page.documents, "next": following}
    if query.count:
        content |= {"count": page.count, "count_capped": page.count_capped}
    return send_json(request, content, next_page=following)


def _require_candidate(database: Database, candidate_id: str) -> None:
    if database["candidates"].find_one({"candidate_id": candidate_id}, {"_id": 1}) is None:
        raise _no_candidate(database, candidate_id)


def _no_candidate(database: Database, candidate_id: str) -> Problem:
    error = no_candidate(database, candidate_id)
    return Problem(404, error.message, mend=error.mend)
