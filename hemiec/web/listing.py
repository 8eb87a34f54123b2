"""Lists of what is few, in the order of its key, in pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from hemiec.web.answers import address, send_json
from hemiec.web.parameters import Listing
from hemiec.web.reading import Read


def send_listing(
    request: Request,
    read: Read,
    query: Listing,
    collection: str,
    key: str,
    *,
    fields: Mapping[str, Any],
    where: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer with one page of a collection.

    Parameters
    ----------
    request
        What is answered.
    read
        Lends the database.
    query
        How many, and after which.
    collection
        Its name.
    key
        The field that it has a unique index on; it is in the answer.
    fields
        What is wanted of each document, as MongoDB's projection.
    where
        Field to value that it must have.
    """
    wanted: dict[str, Any] = dict(where or {})
    if query.after is not None:
        wanted[key] = {"$gt": query.after}
    with read() as database:
        found = list(database[collection].find(wanted, dict(fields)).sort(key, 1).limit(query.limit + 1))
    documents = found[: query.limit]
    following = address(request, query, after=documents[-1][key]) if len(found) > query.limit else None
    return send_json(request, {"documents": documents, "next": following}, next_page=following)
