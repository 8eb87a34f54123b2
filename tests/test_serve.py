"""`hemiec serve` as a process, and a server whose MongoDB goes away, comes back or moves."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner
from stored_candidates import insert_candidates
from web_client import Client

from hemiec.cli.main import cli
from hemiec.errors import InputError, StoreError
from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.web.app import create_app
from hemiec.web.reading import _limited

pytestmark = pytest.mark.store
TOKEN = "correct-horse-battery-staple"


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start `hemiec serve` on a free port and yield it with its address; it is killed if it still runs in the end."""
    command = [sys.executable, "-m", "hemiec.cli.main", "serve", "--port", "0", *options]
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=dict(os.environ)) as process,
    ):
        try:
            assert process.stdout is not None
            address = None
            for line in process.stdout:
                found = re.search(r"API +(http://\S+)", line)
                if found:
                    address = found.group(1)
                    break
            assert address, (folder / "errors").read_text()
            yield process, address
        finally:
            process.kill()


def test_serves_until_it_is_told_to_stop(database: Database, tmp_path: Path) -> None:
    insert_candidates(database, 3)
    with serving(tmp_path) as (process, address), httpx.Client(base_url=address, timeout=60) as client:
        page = client.get("candidates", params={"limit": 2}).raise_for_status()
        assert page.json()["count"] == 3
        assert "server" not in page.headers
        # What the next page is called holds on the same host.
        assert len(client.get(str(httpx.URL(address).join(page.json()["next"]))).json()["documents"]) == 1
        root = httpx.URL(address).join("/")
        assert client.get(root.join("/docs")).status_code == 200
        assert client.get(root.join("/optimade/v1/info")).status_code == 200
        # More than the parser holds is refused before anything of it is kept.
        assert client.get("candidates", headers={"X-Padding": "a" * 100_000}).status_code in (400, 431)
        assert client.head("health").status_code == 200
        assert client.post("candidates", content=b"x" * 100_000).status_code == 413
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (tmp_path / "errors").read_text() == "stopped.\n"


def test_a_token_from_a_file_and_warnings(settings: Settings, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    with serving(tmp_path, "--token-file", str(file), "--host", "0.0.0.0") as (process, address):
        assert httpx.get(f"{address}/candidates").status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{address}/candidates", headers=headers).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert (tmp_path / "errors").read_text() == "stopped.\n"
    os.environ["HEMIEC_WEB_MONGO_URI"] = database.uri
    try:
        with serving(tmp_path, "--host", "0.0.0.0", "--access-log") as (process, address):
            assert httpx.get(f"{address}/health").status_code == 200
            process.terminate()
            assert process.stdout is not None
            log = process.stdout.read()
    finally:
        del os.environ["HEMIEC_WEB_MONGO_URI"]
    assert "GET /api/v1/health" in log
    warnings = (tmp_path / "errors").read_text()
    assert "may write" in warnings and "--token-file" in warnings
    password = database.uri.split(":")[2].split("@")[0]
    assert password not in warnings + log


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--port", "99999"], "port 99999 is none"),
        (["--port", "web"], "not a valid integer"),
        (["--host", "203.0.113.9"], "cannot listen on '203.0.113.9'"),
        (["--allow-origin", "example.org"], "expected scheme and host"),
        (["--allow-origin", "https://example.org/path"], "expected scheme and host"),
        (["--rate", "-1"], "--rate -1"),
        (["--rate", "nan"], "--rate nan"),
        (["--token-file", "missing"], "no such file"),
    ],
)
def test_wrong_options(data_dir: Path, options: list[str], expected: str) -> None:
    result = CliRunner().invoke(cli, ["serve", *options])
    message = result.output + str(result.exception)
    assert expected in message
    assert not (data_dir / "mongodb").exists()


def test_a_port_that_is_taken(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["serve", "--port", str(port)])
    assert isinstance(result.exception, InputError)
    assert f"port {port} of 127.0.0.1 is taken" in str(result.exception)
    assert f"--port {port + 1}" in str(result.exception)


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [("short", 0o600, "16 characters"), ("two words of a token", 0o600, "one token"), (TOKEN, 0o644, "chmod 600")],
)
def test_files_that_hold_no_token(data_dir: Path, tmp_path: Path, content: str, mode: int, expected: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    result = CliRunner().invoke(cli, ["serve", "--port", "0", "--token-file", str(file)])
    assert isinstance(result.exception, InputError)
    assert expected in str(result.exception)
    assert content not in str(result.exception)


def test_a_short_token_in_the_settings_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEMIEC_WEB_TOKEN", "short")
    with pytest.raises(InputError, match="web_token") as caught:
        load_settings()
    assert "short'" not in str(caught.value)


def kill(mongod: EmbeddedMongod) -> None:
    pid = mongod.status().pid
    assert pid is not None
    process = psutil.Process(pid)
    process.kill()
    process.wait(30)


def test_mongodb_goes_away_comes_back_and_moves(settings: Settings, database: Database) -> None:
    ids = insert_candidates(database, 2)
    mongod = EmbeddedMongod(settings)
    client = Client(create_app(settings, rate=None))
    try:
        assert client.get(f"candidates/{ids[0]}").status_code == 200
        kill(mongod)
        for path in ("candidates", f"candidates/{ids[0]}", "health"):
            away = client.get(path)
            assert away.status_code == 503
            assert away.json()["error"] == {
                "message": "the database cannot be reached.",
                "mend": "try again in a few seconds",
            }
            assert away.headers["retry-after"] == "5"
        mongod.up()
        assert client.get(f"candidates/{ids[0]}").status_code == 200
        # As if it had come up on another port than it was opened on.
        reading = client.app.state.reading
        opened = reading.database()
        opened.close()
        reading._database = Database(opened.uri.replace(f":{mongod.status().port}/", ":1/"), opened.name)
        assert client.get("health").status_code == 503
        assert client.get(f"candidates/{ids[0]}").status_code == 200
    finally:
        client.close()


def test_the_server_does_not_start_without_its_database(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEMIEC_WEB_MONGO_URI", "mongodb://reader:secret-word@127.0.0.1:1/")
    with pytest.raises(StoreError, match="HEMIEC_WEB_MONGO_URI") as caught:
        create_app(load_settings())
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://h", "mongodb://h/?socketTimeoutMS=15000&appName=hemiec-web"),
        ("mongodb://u:p@h:1/x", "mongodb://u:p@h:1/x?socketTimeoutMS=15000&appName=hemiec-web"),
        ("mongodb://h/?tls=true", "mongodb://h/?tls=true&socketTimeoutMS=15000&appName=hemiec-web"),
        ("mongodb://h/?sockettimeoutms=1&appname=me", "mongodb://h/?sockettimeoutms=1&appname=me"),
    ],
)
def test_limits_are_added_to_a_uri(uri: str, expected: str) -> None:
    assert _limited(uri) == expected
