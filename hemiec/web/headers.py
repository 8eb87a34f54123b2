"""Headers of every answer: nothing in it may load or run, and no page of another site may frame it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def content_policy(*allowed: str) -> str:
    """Return a Content-Security-Policy: nothing may load or run, or frame the answer, but what is allowed."""
    nothing = [f"{kind} 'none'" for kind in ("default-src", "base-uri", "form-action", "frame-ancestors")]
    return "; ".join((*nothing, *allowed))


#: Of the web page: its own scripts, styles and data, and nothing from anywhere else. No script or style stands in its
#: HTML; the one hash is that of an empty style element, which plotly makes and then fills with rules through the object
#: model. Pictures are drawn as data and blobs.
PAGE_POLICY = content_policy(
    "script-src 'self'",
    "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "connect-src 'self'",
    "img-src 'self' data: blob:",
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": content_policy(),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Headed:
    """Adds headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)
