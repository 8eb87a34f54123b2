"""How answers are sent: JSON or a file, with an entity tag, what may be kept of it, and links to other pages."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Request
from starlette.responses import Response

from hemiec.web.parameters import Parameters

#: It may be kept, but asked about each time: builds change documents at any moment.
REVALIDATE = "no-cache"
#: What is named by a hash of its content never changes.
FOREVER = "max-age=86400, immutable"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def send_json(request: Request, content: Any, *, cache: str = REVALIDATE, next_page: str | None = None) -> Response:
    """Return an answer of JSON.

    Parameters
    ----------
    request
        What is answered.
    content
        Plain JSON types.
    cache
        What Cache-Control says, beside who may keep it.
    next_page
        Address of the next page, for the Link header.
    """
    headers = {"Link": f'<{next_page}>; rel="next"'} if next_page else {}
    return _tagged(request, orjson.dumps(content), "application/json", cache, headers)


def send_file(request: Request, content: str, *, name: str, media_type: str) -> Response:
    """Return an answer that a browser stores as a file of a name; what is no plain name in it is replaced."""
    plain = _NOT_IN_NAMES.sub("_", name).lstrip(".") or "file"
    headers = {"Content-Disposition": f'attachment; filename="{plain[:150]}"'}
    return _tagged(request, content.encode(), media_type, REVALIDATE, headers)


def address(request: Request, parameters: Parameters, **changes: Any) -> str:
    """Return the address of a request, without host, with some of its parameters changed."""
    given = {**parameters.model_dump(exclude_unset=True), **changes}
    text = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    query = urlencode({name: value for name, value in text.items() if value is not None})
    return f"{request.url.path}{'?' if query else ''}{query}"


def _tagged(request: Request, body: bytes, media_type: str, cache: str, headers: dict[str, str]) -> Response:
    # Weak, because the body may be compressed on its way.
    tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    who = "private" if request.app.state.private else "public"
    about = {"ETag": tag, "Cache-Control": f"{who}, {cache}", "Vary": "Authorization", **headers}
    if _is_known(tag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=about)
    return Response(body, media_type=media_type, headers=about)


def _is_known(tag: str, known: str | None) -> bool:
    """Return whether a client has the answer with this tag already, by its If-None-Match."""
    if known is None:
        return False
    return known.strip() == "*" or tag.removeprefix("W/") in (t.strip().removeprefix("W/") for t in known.split(","))
