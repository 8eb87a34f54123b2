"""The candidates ranked by any rules, at once: rows, uncertainty, points, elements, files."""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hemiec.ranking.columns import COLUMNS
from hemiec.ranking.definition import parse_weights
from hemiec.store.campaigns import require_campaign
from hemiec.web.answers import send_json, send_stream
from hemiec.web.description import FILES, NOT_FOUND
from hemiec.web.parameters import CandidateId, NoParameters
from hemiec.web.problems import Problem
from hemiec.web.ranking.board import Filter, Ranked
from hemiec.web.ranking.doubtful import with_doubts
from hemiec.web.ranking.exports import EXPORTS
from hemiec.web.ranking.live import LiveRead
from hemiec.web.ranking.models import (
    Card,
    DefinitionList,
    ElementCounts,
    PointsAnswer,
    RankingPage,
    UncertaintyPage,
)
from hemiec.web.ranking.parameters import (
    CardQuery,
    ExportQuery,
    PointsQuery,
    RankingQuery,
    UncertaintyQuery,
    elements_of,
)
from hemiec.web.ranking.rules import definition_named, saved_definitions, shipped_definitions
from hemiec.web.ranking.scatter import scatter
from hemiec.web.ranking.uncertain import drawn_rows, note_of
from hemiec.web.reading import Read

#: Draws behind one candidate's card.
_CARD_DRAWS = 200

router = APIRouter(tags=["ranking"])


@router.get("/definitions", response_model=DefinitionList, summary="Rules that candidates can be ranked by")
def list_definitions(request: Request, read: Read, _: NoParameters) -> Response:
    """Definitions of leaderboards: those that came with hemiec, the default first, and those of saved leaderboards."""
    with read() as database:
        definitions = {**shipped_definitions(), **saved_definitions(database)}
    properties = [
        {"name": c.property, "title": c.title, "heading": c.heading, "unit": c.unit, "digits": c.digits}
        for c in COLUMNS
    ]
    documents = [definition.model_dump(mode="json") for definition in definitions.values()]
    return send_json(request, {"documents": documents, "properties": properties})


@router.get("/ranking", response_model=RankingPage, summary="The candidates ranked")
def show_ranking(request: Request, read: Read, live: LiveRead, query: Annotated[RankingQuery, Query()]) -> Response:
    """One page of the candidates under a filter, ranked by a definition with weights of the moment."""
    started = time.perf_counter()
    found = _ranked(read, live, query)
    rows, ranks = found.page(query.sort, descending=query.descending, first=query.first, limit=query.limit)
    n_found, n_ranked = found.n_found, found.n_ranked
    content = {
        "definition": found.definition.model_dump(mode="json"),
        "table": _about(live, found),
        "n_found": n_found,
        "n_ranked": n_ranked,
        "n_unranked": n_found - n_ranked,
        "first": query.first,
        "rows": with_doubts(read, found, rows, ranks),
        "sensitivity": [entry.model_dump(mode="json") for entry in found.sensitivity()],
    }
    return send_json(request, content, passing={"elapsed_ms": round((time.perf_counter() - started) * 1000, 1)})


@router.get("/ranking/uncertainty", response_model=UncertaintyPage, summary="Where the candidates may stand")
def show_uncertainty(
    request: Request, read: Read, live: LiveRead, query: Annotated[UncertaintyQuery, Query()]
) -> Response:
    """Expected ranks, intervals and probabilities of the candidates of one page, by random draws."""
    found = _ranked(read, live, query)
    rows, _ = found.page(query.sort, descending=query.descending, first=query.first, limit=query.limit)
    drawn = found.draws(query.draws)
    content = {
        "rows": drawn_rows(found, drawn, rows),
        "draws": drawn.draws,
        "seed": drawn.seed,
        "top": drawn.top,
        "n_drawn": len(drawn.rows),
        "note": note_of(found, drawn),
    }
    return send_json(request, content)


@router.get("/ranking/points", response_model=PointsAnswer, summary="Points of a scatter")
def show_points(request: Request, read: Read, live: LiveRead, query: Annotated[PointsQuery, Query()]) -> Response:
    """Two properties of the candidates under a filter: of all, or of the Pareto front and an unbiased random sample."""
    return send_json(request, scatter(_ranked(read, live, query), query))


@router.get("/ranking/elements", response_model=ElementCounts, summary="Candidates per element")
def show_elements(request: Request, read: Read, live: LiveRead, query: Annotated[CardQuery, Query()]) -> Response:
    """How many candidates under the filter have each element."""
    found = _ranked(read, live, query)
    return send_json(request, {"elements": found.board.element_counts(found.chosen)})


@router.get("/ranking/export", responses=FILES, response_class=Response, summary="The ranked list as a file")
def export_ranking(request: Request, read: Read, live: LiveRead, query: Annotated[ExportQuery, Query()]) -> Response:
    """All candidates under the filter, ranked, as a file: CSV, JSON, Parquet, or LaTeX for up to 2,000 candidates."""
    found = _ranked(read, live, query)
    export = EXPORTS[query.format]
    name = f"{found.definition.name}.{export.suffix}"
    tag = (found.key, found.table.read_at.isoformat(), query.format)
    return send_stream(request, lambda: export.parts(read, found), name=name, media_type=export.media_type, tag=tag)


@router.get(
    "/ranking/card/{candidate_id}", response_model=Card, responses=NOT_FOUND, summary="One candidate among the ranked"
)
def show_card(
    request: Request, read: Read, live: LiveRead, candidate_id: CandidateId, query: Annotated[CardQuery, Query()]
) -> Response:
    """One candidate's row, and where it may stand."""
    found = _ranked(read, live, query)
    row = found.table.row_of(candidate_id)
    if row is None:
        raise Problem(404, f"no candidate {candidate_id!r} in the table.", mend="see /ranking and /candidates")
    rows = np.array([row], dtype=np.intp)
    drawn = found.draws(_CARD_DRAWS)
    uncertainty = next(iter(drawn_rows(found, drawn, rows)), None)
    content = {
        "row": with_doubts(read, found, rows, whole=True)[0],
        "uncertainty": uncertainty,
        "note": note_of(found, drawn),
        "n_ranked": found.n_ranked,
    }
    return send_json(request, content)


def _ranked(read: Read, live: LiveRead, query: CardQuery) -> Ranked:
    """Return what a request asks for."""
    board = live.board()
    with read() as database:
        definition = definition_named(database, query.definition)
        if query.campaign is not None:
            require_campaign(database, query.campaign)
    asked = Filter(
        where=(query.where.strip(),) if query.where.strip() else (),
        campaign=query.campaign,
        elements=elements_of(query.elements),
        without=elements_of(query.without),
    )
    return board.ranked(definition, parse_weights(query.weights or ""), asked)


def _about(live: LiveRead, found: Ranked) -> dict[str, Any]:
    return {
        "status": live.status,
        "read_at": found.table.read_at.isoformat(),
        "n_candidates": len(found.table),
        "snapshot_id": None,
    }
