"""`hemiec serve`."""

from __future__ import annotations

import ipaddress
import logging
import re
import sys
from pathlib import Path

import click

from hemiec.errors import InputError

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+|\*")
MIN_TOKEN_LENGTH = 16


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, help="Port; 0 takes a free one.")
@click.option("--allow-origin", "origins", multiple=True, metavar="URL", help="Page whose scripts may read answers.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the token that clients must send; default HEMIEC_WEB_TOKEN, if it is set.",
)
@click.option("--rate", default=20.0, show_default=True, help="Requests per second and client; 0 for no limit.")
@click.option("--trusted-proxy", metavar="IP", help="Reverse proxy whose X-Forwarded-For tells clients apart.")
@click.option("--no-table", is_flag=True, help="Hold no table of all candidates in memory: nothing is ranked.")
@click.option("--access-log", is_flag=True, help="Print every request.")
def serve(
    host: str,
    port: int,
    origins: tuple[str, ...],
    token_file: Path | None,
    rate: float,
    trusted_proxy: str | None,
    no_table: bool,
    access_log: bool,
) -> None:
    """Serve the results over HTTP, read-only: a page, REST and OPTIMADE. Ctrl-C stops it.

    All candidates are read into memory, in the background, so that the page ranks them at once by any weights: about
    1.5 GB for a million. They are kept in the data folder for the next start.

    \b
    Examples:
      hemiec serve
      hemiec serve --host 0.0.0.0 --port 8080 --token-file token
      hemiec serve --no-table
    """
    from hemiec.cli.session import quiet
    from hemiec.settings import load_settings

    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise InputError(f"--allow-origin {origin!r}: expected scheme and host, as https://group.example.org.")
    if not 0 <= rate < float("inf"):
        raise InputError(f"--rate {rate:g}: expected requests per second, or 0 for no limit.")
    quiet()
    settings = load_settings()
    if token_file is not None:
        from pydantic import SecretStr

        settings = settings.model_copy(update={"web_token": SecretStr(_read_token(token_file))})
    try:
        from hemiec.web.app import create_app
        from hemiec.web.server import listen
        from hemiec.web.server import serve as serve_app
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed.", mend="pip install 'hemiec[web]'") from error
    with listen(host, port) as on:
        app = create_app(settings, allow_origins=origins, rate=rate or None, table=not no_table, tell=_tell)
        _announce(on.getsockname()[:2], settings.database, optimade=app.state.optimade)
        if app.state.reading.may_write():
            _warn(
                "the database user of this server may write. Mend: make another one with "
                "`hemiec db users add NAME --role reader`, and set HEMIEC_WEB_MONGO_URI"
            )
        if settings.web_token is None and not _is_loopback(host):
            _warn("everybody who reaches this machine can read the results. Mend: use --token-file")
        if access_log:
            logging.disable(logging.NOTSET)
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
        try:
            serve_app(app, on, access_log=access_log, trusted_proxy=trusted_proxy)
        except KeyboardInterrupt:
            pass  # uvicorn has ended by then, and sends the signal on, which a shell's background job ignores
        finally:
            app.state.live.stop()
            app.state.reading.close()
        click.echo("stopped.", err=True)


def _announce(address: tuple[str, int], database: str, *, optimade: bool) -> None:
    host, port = address
    # What listens on all addresses can be reached on this machine by the name that browsers accept.
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    base = f"http://{shown}:{port}"
    click.echo(f"hemiec serves database {database!r}, read-only; Ctrl-C stops it.")
    click.echo(f"  page      {base}/")
    click.echo(f"  API       {base}/api/v1")
    click.echo(f"  described {base}/docs")
    if optimade:
        click.echo(f"  OPTIMADE  {base}/optimade/v1")
    sys.stdout.flush()


def _tell(message: str) -> None:
    click.echo(message, err=True)


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_token(path: Path) -> str:
    """Return the token in a file.

    Raises
    ------
    InputError
        If the file cannot be read, others can read it, or it holds no token.
    """
    make = f"(umask 077; openssl rand -hex 32 > {path})"
    try:
        if path.stat().st_mode & 0o004:
            raise InputError(f"{path}: everybody on this machine can read it.", mend=f"chmod 600 {path}")
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.", mend=make) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as plain text.") from error
    if len(token) < MIN_TOKEN_LENGTH or not token.isprintable() or " " in token:
        raise InputError(f"{path}: expected one token of {MIN_TOKEN_LENGTH} characters or more.", mend=make)
    return token
