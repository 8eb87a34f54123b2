"""The web page: static files of this package, served from memory with tags; what they load is theirs alone."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from starlette.responses import Response

from hemiec.web.answers import is_known
from hemiec.web.headers import PAGE_POLICY
from hemiec.web.problems import not_found

#: Address to file.
PAGES = {
    "/": "index.html",
    "/candidate": "candidate.html",
    "/compare": "compare.html",
    "/campaigns": "campaigns.html",
    "/diff": "diff.html",
}
ASSETS = "/assets"
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
#: Files are named by a hash of all of them, so that what is kept never mixes two versions.
_FOREVER = "public, max-age=31536000, immutable"
_REVALIDATE = "public, no-cache"
#: Smaller ones are not worth compressing.
_COMPRESSED_FROM = 1_000

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class _File:
    body: bytes
    compressed: bytes | None
    media_type: str
    tag: str


def is_site(path: str) -> bool:
    """Return whether an address is one of the page or its files, which anybody may read as often as they like."""
    return path in PAGES or path.startswith(f"{ASSETS}/")


async def _show_page(request: Request) -> Response:
    """Answer with one of the pages; its query is for its scripts."""
    name = PAGES[request.url.path]
    page = _pages().get(name)
    if page is None:
        raise not_found("page", name)
    return _send(request, page, _REVALIDATE, {"Content-Security-Policy": PAGE_POLICY})


for _path in PAGES:
    router.add_api_route(_path, _show_page, methods=["GET"], name=f"page {_path}")


@router.get(ASSETS + "/{version}/{path:path}")
async def show_asset(request: Request, version: str, path: str) -> Response:
    """Answer with a file of the page; one that was left open over an update gets those of now."""
    asset = _assets().get(path)
    if asset is None:
        raise not_found("file", path)
    return _send(request, asset, _FOREVER if version == _version() else _REVALIDATE, {})


def _send(request: Request, file: _File, cache_control: str, headers: dict[str, str]) -> Response:
    about = {"ETag": file.tag, "Cache-Control": cache_control, "Vary": "Accept-Encoding", **headers}
    if is_known(file.tag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=about)
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, media_type=file.media_type, headers=about | {"Content-Encoding": "gzip"})
    return Response(file.body, media_type=file.media_type, headers=about)


@cache
def _assets() -> dict[str, _File]:
    """Return path below ``assets`` to file."""
    return {path: _file(path, source.read_bytes()) for path, source in _walk(_folder().joinpath("assets"), "")}


@cache
def _version() -> str:
    """Return a hash of all files of the page."""
    digest = hashlib.blake2b(digest_size=8)
    for path, asset in sorted(_assets().items()):
        digest.update(path.encode() + b"\0" + asset.body)
    return digest.hexdigest()


@cache
def _pages() -> dict[str, _File]:
    """Return name to page, its links to files named by their version."""
    found = {}
    for name in PAGES.values():
        source = _folder().joinpath(name)
        if source.is_file():
            html = source.read_text(encoding="utf-8").replace('"assets/', f'"assets/{_version()}/')
            found[name] = _file(name, html.encode())
    return found


def _file(path: str, body: bytes) -> _File:
    compressed = gzip.compress(body, 6, mtime=0) if len(body) >= _COMPRESSED_FROM else None
    tag = hashlib.blake2b(body, digest_size=12).hexdigest()
    # Weak, because it goes compressed or not.
    return _File(body, compressed, _MEDIA_TYPES[path.rpartition(".")[2]], f'W/"{tag}"')


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    """Return the files below a folder with their paths in it; hidden ones are left out."""
    found = []
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        else:
            found.append((prefix + entry.name, entry))
    return found


def _folder() -> Traversable:
    return files("hemiec.web").joinpath("site")
