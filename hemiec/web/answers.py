"""How answers are sent: JSON or a file, with an entity tag, what may be kept of it, and links to other pages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from hemiec.web.parameters import Parameters

#: It may be kept, but asked about each time: builds change documents at any moment.
REVALIDATE = "no-cache"
#: What is named by a hash of its content never changes.
FOREVER = "max-age=86400, immutable"
#: A file is sent by so many bytes.
_BLOCK = 2**20
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def send_json(
    request: Request,
    content: Any,
    *,
    cache: str = REVALIDATE,
    next_page: str | None = None,
    passing: dict[str, Any] | None = None,
) -> Response:
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
    passing
        What else is in the answer, but does not make it another one: the time that it took.
    """
    headers = {"Link": f'<{next_page}>; rel="next"'} if next_page else {}
    body = orjson.dumps(content)
    sent = body if passing is None else orjson.dumps(content | passing)
    return _tagged(request, sent, "application/json", cache, headers, tagged=body)


def send_file(request: Request, content: str, *, name: str, media_type: str) -> Response:
    """Return an answer that a browser stores as a file of a name; what is no plain name in it is replaced."""
    return _tagged(request, content.encode(), media_type, REVALIDATE, {"Content-Disposition": _as_file(name)})


def send_stream(
    request: Request, parts: Callable[[], Iterator[bytes]], *, name: str, media_type: str, tag: object
) -> Response:
    """Return an answer that a browser stores as a file, sent in parts while they are made.

    Parameters
    ----------
    request
        What is answered.
    parts
        Called for the content if the client does not have it yet; an error of the request is raised before the first
        part.
    name
        Of the file.
    media_type
        Of the content.
    tag
        What tells this content from others, in a form that is printed the same each time.
    """
    about = _about(request, repr(tag).encode(), REVALIDATE) | {"Content-Disposition": _as_file(name)}
    if is_known(about["ETag"], request.headers.get("if-none-match")):
        return Response(status_code=304, headers=about)
    content = parts()
    first = next(content, b"")
    return StreamingResponse(chain([first], content), media_type=media_type, headers=about)


def send_path(request: Request, path: Path, *, name: str, media_type: str, tag: str) -> Response:
    """Return an answer with a file of this machine that never changes.

    Parameters
    ----------
    request
        What is answered.
    path
        The file.
    name
        What a browser stores it as.
    media_type
        Of the content.
    tag
        Hash of the content.
    """
    about = _about(request, tag.encode(), FOREVER) | {"Content-Disposition": _as_file(name)}
    if is_known(about["ETag"], request.headers.get("if-none-match")):
        return Response(status_code=304, headers=about)
    about["Content-Length"] = str(path.stat().st_size)
    return StreamingResponse(_blocks(path), media_type=media_type, headers=about)


def address(request: Request, parameters: Parameters, **changes: Any) -> str:
    """Return the address of a request, without host, with some of its parameters changed."""
    given = {**parameters.model_dump(exclude_unset=True), **changes}
    text = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    query = urlencode({name: value for name, value in text.items() if value is not None})
    return f"{request.url.path}{'?' if query else ''}{query}"


def _tagged(
    request: Request,
    body: bytes,
    media_type: str,
    cache: str,
    headers: dict[str, str],
    *,
    tagged: bytes | None = None,
) -> Response:
    about = _about(request, body if tagged is None else tagged, cache) | headers
    if is_known(about["ETag"], request.headers.get("if-none-match")):
        return Response(status_code=304, headers=about)
    return Response(body, media_type=media_type, headers=about)


def _about(request: Request, content: bytes, cache: str) -> dict[str, str]:
    """Return the headers about keeping an answer whose content is, or is told from others by, some bytes."""
    # Weak, because the body may be compressed on its way.
    tag = f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    who = "private" if request.app.state.private else "public"
    return {"ETag": tag, "Cache-Control": f"{who}, {cache}", "Vary": "Authorization"}


def _as_file(name: str) -> str:
    """Return the header that makes a browser store an answer under a plain name."""
    plain = _NOT_IN_NAMES.sub("_", name).lstrip(".") or "file"
    return f'attachment; filename="{plain[:150]}"'


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def is_known(tag: str, known: str | None) -> bool:
    """Return whether a client has the answer with this tag already, by its If-None-Match."""
    if known is None:
        return False
    return known.strip() == "*" or tag.removeprefix("W/") in (t.strip().removeprefix("W/") for t in known.split(","))
