"""What stands before every address: limits on sizes and rates, the token, and HEAD."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hemiec.web.problems import Problem, answer

MAX_URL = 4_096
MAX_HEADERS = 16_384
#: No address takes a body; some clients send an empty or small one with every request.
MAX_BODY = 4_096
MAX_PARAMETERS = 30
#: Requests at once before the mean rate counts, in seconds of it.
BURST_S = 5
#: Clients whose rate is known at a time; the one that was silent longest is forgotten first.
MAX_CLIENTS = 10_000
#: A query may be written on several lines.
_LINE_BREAKS = re.compile(rb"%(09|0a|0d)", re.IGNORECASE)


class Guarded:
    """Refuses a request for which a check raises :class:`Problem`."""

    def __init__(self, app: ASGIApp, check: Callable[[Scope], None]) -> None:
        self.app = app
        self.check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            try:
                self.check(scope)
            except Problem as problem:
                await answer(problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def except_for(free: Callable[[str], bool], check: Callable[[Scope], None]) -> Callable[[Scope], None]:
    """Return a check that lets pass the addresses for which ``free`` is true."""

    def checked(scope: Scope) -> None:
        if not free(scope["path"]):
            check(scope)

    return checked


class HeadAsGet:
    """Answers HEAD with the status and headers of GET."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, without_body)


def check_size(scope: Scope) -> None:
    """Raise Problem if the address, the headers or the body of a request are too large, or not text."""
    path, query = scope.get("raw_path") or scope["path"].encode(), scope["query_string"]
    if len(path) + len(query) > MAX_URL:
        raise Problem(414, f"the address is longer than {MAX_URL} characters.", mend="write a shorter query")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
        raise Problem(431, f"the headers are longer than {MAX_HEADERS} bytes.")
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length[:20]) > MAX_BODY:
        # What follows on this connection is the body that nobody reads.
        raise Problem(413, "no address here takes a body.", mend="use parameters", headers={"Connection": "close"})
    if not _is_text(path) or not _is_text(_LINE_BREAKS.sub(b"+", query)):
        raise Problem(400, "the address is not UTF-8 text, or has control characters in it.")


def check_parameters(scope: Scope) -> None:
    """Raise Problem if a request has too many parameters, or one of them twice."""
    query: bytes = scope["query_string"]
    if not query:
        return
    names = [unquote_to_bytes(part.split(b"=", 1)[0].replace(b"+", b" ")) for part in query.split(b"&") if part]
    if len(names) > MAX_PARAMETERS:
        raise Problem(422, f"more than {MAX_PARAMETERS} parameters.")
    for name in names:
        if names.count(name) > 1:
            raise Problem(422, f"parameter {name.decode()[:80]!r} is given more than once.", mend="give it once")


def require_token(token: str, open_paths: Iterable[str]) -> Callable[[Scope], None]:
    """Return the check that a request carries ``Authorization: Bearer`` and the token.

    Parameters
    ----------
    token
        What it must be.
    open_paths
        Addresses that need none.
    """
    # Digests have one length, so the comparison takes the same time for every guess.
    expected = hashlib.sha256(token.encode()).digest()
    allowed = frozenset(open_paths)

    def check(scope: Scope) -> None:
        if scope["path"] in allowed:
            return
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        # Header values are decoded as Latin-1.
        digest = hashlib.sha256(given.strip().encode("latin-1")).digest()
        if kind.lower() != "bearer" or not hmac.compare_digest(digest, expected):
            raise Problem(
                401,
                "this server needs a token.",
                mend="send the header `Authorization: Bearer TOKEN`; whoever runs the server has it",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return check


class RateLimit:
    """A token bucket for each client: a mean rate, and a burst of some seconds of it.

    Parameters
    ----------
    rate
        Requests per second and client.
    clock
        Seconds, for tests.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = max(1.0, rate * BURST_S)
        self.clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, scope: Scope) -> None:
        """Raise Problem if the client of a request asks too often."""
        client = client_of(scope)
        now = self.clock()
        with self._lock:
            left, since = self._left.pop(client, (self.burst, now))
            left = min(self.burst, left + (now - since) * self.rate)
            allowed = left >= 1
            self._left[client] = (left - 1 if allowed else left), now
            while len(self._left) > MAX_CLIENTS:
                self._left.popitem(last=False)
        if not allowed:
            seconds = max(1, round((1 - left) / self.rate + 0.5))
            raise Problem(
                429,
                f"more than {self.rate:g} requests per second.",
                mend=f"wait {seconds} s, and ask for larger pages (limit)",
                headers={"Retry-After": str(seconds)},
            )


def client_of(scope: Scope) -> str:
    """Return whose requests are counted together: one IPv4 address, or the 64-bit network of an IPv6 address."""
    host: Any = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def _is_text(raw: bytes) -> bool:
    """Return whether a percent-encoded text is UTF-8 without control characters."""
    try:
        return unquote_to_bytes(raw).decode().isprintable()
    except UnicodeDecodeError:
        return False
