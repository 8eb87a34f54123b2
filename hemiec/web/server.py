"""The server: a socket of its own, limits on connections, and a clean end."""

from __future__ import annotations

import errno
import socket

import uvicorn
from fastapi import FastAPI

from hemiec.errors import InputError

#: Requests at once; more are told to come back.
MAX_CONCURRENT = 200
#: Bytes of a request's first lines.
_MAX_HEAD = 32_768
_IDLE_S = 10
_STOP_S = 10


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises
    ------
    InputError
        If the port is taken or not allowed, or the host is not an address of this machine.
    """
    if not 0 <= port <= 65_535:
        raise InputError(f"port {port} is none; expected 0 to 65535.")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is taken.", mend=f"choose another one, such as --port {port + 1}"
            ) from error
        if error.errno == errno.EACCES:
            raise InputError(f"port {port} is not for ordinary users.", mend="choose one from 1024 on") from error
        # Python appends the address to some of the system's words.
        reason = str(error.strerror).partition(" (while")[0]
        raise InputError(
            f"cannot listen on {host!r} ({reason}).", mend="use 127.0.0.1, or 0.0.0.0 for all addresses"
        ) from error


def serve(app: FastAPI, on: socket.socket, *, access_log: bool = False, trusted_proxy: str | None = None) -> None:
    """Serve an application until Ctrl-C or SIGTERM; requests under way are finished, for ten seconds at most.

    Parameters
    ----------
    app
        The application.
    on
        A listening socket; it is closed at the end.
    access_log
        Whether every request is logged, to the logger ``uvicorn.access``.
    trusted_proxy
        Address of a reverse proxy whose X-Forwarded-For tells clients apart; default: clients are who connects.
    """
    config = uvicorn.Config(
        app,
        # The other parser knows no limit on headers.
        http="h11",
        h11_max_incomplete_event_size=_MAX_HEAD,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=access_log,
        server_header=False,
        proxy_headers=trusted_proxy is not None,
        forwarded_allow_ips=trusted_proxy,
        limit_concurrency=MAX_CONCURRENT,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_STOP_S,
    )
    with on:
        uvicorn.Server(config).run(sockets=[on])
