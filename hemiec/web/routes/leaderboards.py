"""Leaderboards: those that were saved, and that of this moment."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.leaderboard import rank
from hemiec.schemas.documents import APART
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.store.campaigns import require_campaign
from hemiec.store.candidates import read_candidates
from hemiec.store.leaderboards import read_leaderboard
from hemiec.web.answers import FOREVER, send_json
from hemiec.web.description import NOT_FOUND
from hemiec.web.listing import send_listing
from hemiec.web.models import CurrentLeaderboard, LeaderboardPage
from hemiec.web.parameters import CurrentQuery, EntriesQuery, LeaderboardId, Listing
from hemiec.web.problems import Problem
from hemiec.web.ranking.latest import Latest
from hemiec.web.reading import Read

#: More candidates are not ranked while somebody waits.
MAX_RANKED = 2_000
_RANKING_TIME_S = 20.0
#: Random draws behind the ranks' intervals; a saved leaderboard has more.
_DRAWS = 200

router = APIRouter(tags=["leaderboards"])


@router.get("/leaderboards", response_model=LeaderboardPage, summary="Saved leaderboards")
def list_leaderboards(request: Request, read: Read, query: Annotated[Listing, Query()]) -> Response:
    """Saved leaderboards without their entries."""
    return send_listing(request, read, query, "leaderboards", "leaderboard_id", fields={"_id": 0})


# Before the address of one, which would take "current" for an id.
@router.get("/leaderboards/current", response_model=CurrentLeaderboard, summary="The leaderboard of this moment")
def show_current(request: Request, read: Read, query: Annotated[CurrentQuery, Query()]) -> Response:
    """The candidates ranked by gap, barrier and formation energy; refused where there are too many to do it now."""
    where = {} if query.campaign is None else {"campaigns": query.campaign}
    with read(time_limit_s=_RANKING_TIME_S) as database:
        if query.campaign is not None:
            require_campaign(database, query.campaign)
        n_entries = database["candidates"].count_documents(where, limit=MAX_RANKED + 1)
        if n_entries > MAX_RANKED:
            raise Problem(
                422,
                f"there are more than {MAX_RANKED} candidates to rank.",
                mend="name a campaign, see /leaderboards for saved ones, or sort /candidates",
            )
        documents = list(read_candidates(database, where, whole=False))
    latest = max((doc.last_updated for doc in documents), default=None)
    # The time of the latest candidate, so that the answer stays the same while the candidates do.
    rules = DEFAULT.model_copy(update={"draws": _DRAWS})
    # It takes seconds: one at a time, and few may wait, so that others are answered meanwhile.
    slow: Latest = request.app.state.current
    ranked = slow.get(query.campaign, lambda: rank(documents, rules, campaign=query.campaign, created_at=latest))
    content = ranked.model_dump(mode="json", exclude={"entries": {"__all__": APART}})
    content["entries"] = content["entries"][: query.limit]
    return send_json(request, content | {"n_entries": n_entries})


@router.get(
    "/leaderboards/{leaderboard_id}",
    response_model=LeaderboardDoc,
    responses=NOT_FOUND,
    summary="One saved leaderboard",
)
def show_leaderboard(
    request: Request, read: Read, leaderboard_id: LeaderboardId, query: Annotated[EntriesQuery, Query()]
) -> Response:
    """A saved leaderboard with some of its entries, which are without what has collections of its own."""
    with read() as database:
        if database["leaderboards"].find_one({"leaderboard_id": leaderboard_id}, {"_id": 1}) is None:
            raise Problem(404, f"no leaderboard {leaderboard_id!r}.", mend="see /leaderboards")
        found = read_leaderboard(database, leaderboard_id, first=query.first, limit=query.limit)
    content = found.model_dump(mode="json", exclude={"entries": {"__all__": APART}})
    return send_json(request, content, cache=FOREVER)
