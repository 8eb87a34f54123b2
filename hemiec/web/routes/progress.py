"""How far a campaign has come."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hemiec.errors import InputError
from hemiec.store.queue.progress import CampaignProgress, read_progress
from hemiec.web.answers import send_json
from hemiec.web.description import NOT_FOUND
from hemiec.web.problems import Problem
from hemiec.web.ranking.parameters import CampaignName, ProgressQuery
from hemiec.web.reading import Read

router = APIRouter(tags=["campaigns"])


@router.get(
    "/campaigns/{name}/progress",
    response_model=CampaignProgress,
    responses=NOT_FOUND,
    summary="How far a campaign has come",
)
def show_progress(
    request: Request, read: Read, name: CampaignName, query: Annotated[ProgressQuery, Query()]
) -> Response:
    """Jobs of a campaign by state, by kind and by candidate."""
    with read() as database:
        try:
            found = read_progress(database, name, first=query.first, limit=query.limit)
        except InputError as error:
            raise Problem(404, error.message, mend=error.mend) from error
    content = found.model_dump(mode="json")
    # The time of reading does not make it another answer.
    return send_json(request, content, passing={"updated_at": content.pop("updated_at")})
