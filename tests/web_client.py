"""A store that is served, and a client that calls the web application in this process, without a socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from stored_candidates import insert_candidates

from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod

API = "/api/v1"


class Client:
    """httpx on an application; an unexpected error becomes the 500 that a client would see."""

    def __init__(self, app: FastAPI, *, host: str = "192.0.2.1") -> None:
        self.app = app
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(host, 50_000))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://hemiec.test")

    def get(self, path: str, headers: dict[str, str] | None = None, **parameters: Any) -> httpx.Response:
        """Answer GET of an address of the API, or of any that begins with a slash."""
        address = path if path.startswith("/") else f"{API}/{path}"
        return self.request("GET", address, headers=headers, params=parameters or None)

    def request(self, method: str, path: str, **about: Any) -> httpx.Response:
        """Answer a request."""
        return self._runner.run(self._client.request(method, path, **about))

    def raw(self, path: bytes, query: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> int:
        """Send what no client library would, as a server that has read it passes it on; return the status."""
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path.decode("utf-8", "replace"), "raw_path": path, "query_string": query, "root_path": "",
            "headers": headers or [], "client": ("192.0.2.1", 1), "server": ("hemiec.test", 80),
        }  # fmt: skip
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        self._runner.run(self.app(scope, receive, send))
        return statuses[0]

    def close(self) -> None:
        """Close the client, its event loop and what the application opened."""
        self._runner.run(self._client.aclose())
        self._runner.close()
        live = getattr(self.app.state, "live", None)  # OPTIMADE's own application has none
        if live is not None:
            live.stop()
        self.app.state.reading.close()


def wait_for_table(client: Client) -> None:
    """Wait until the application has read the candidates."""
    for _ in range(600):
        if client.get("ranking", limit=1).status_code == 200:
            return
        time.sleep(0.05)
    raise AssertionError(client.get("ranking").text)


@dataclass
class Served:
    """A store with candidates: its settings, opened to write, and the ids of the candidates."""

    settings: Settings
    database: Database
    ids: list[str]

    def content(self) -> str:
        """Return a hash of every document of every collection."""
        digest = hashlib.sha256()
        for name in sorted(self.database.mongo.list_collection_names()):
            digest.update(name.encode())
            for document in self.database[name].find({}).sort("_id", 1):
                digest.update(json.dumps(document, sort_keys=True, default=str).encode())
        return digest.hexdigest()


@contextmanager
def served_store(folder: Path, n: int) -> Iterator[Served]:
    """Fill a store in a folder and stop its MongoDB in the end; settings of user and environment are hidden."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(f"HEMIEC_{name.upper()}", raising=False)
        patch.setenv("HEMIEC_DATA_DIR", str(folder))
        patch.setenv("HEMIEC_CONFIG_FILE", str(folder / "no-such-settings.yaml"))
        settings = load_settings()
    database = open_database(settings)
    try:
        yield Served(settings, database, insert_candidates(database, n))
    finally:
        database.close()
        EmbeddedMongod(settings).down()
