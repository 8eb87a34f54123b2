"""Answers are compressed for clients that want it, but for files that are compressed in themselves."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_COMPRESSED_ALREADY = ".parquet"


class Compressed:
    """Compresses what is worth it.

    Parameters
    ----------
    app
        What answers.
    minimum_size
        Smaller answers are sent as they are, in bytes.
    compresslevel
        1 to 9: how small against how fast.
    """

    def __init__(self, app: ASGIApp, minimum_size: int, compresslevel: int) -> None:
        self.app = app
        self.compressed = GZipMiddleware(app, minimum_size=minimum_size, compresslevel=compresslevel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_file = scope["type"] == "http" and scope["path"].endswith(_COMPRESSED_ALREADY)
        await (self.app if is_file else self.compressed)(scope, receive, send)
