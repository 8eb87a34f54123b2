"""Fixtures of the tests that run jobs: one MongoDB for a file, an empty LaunchPad for each test."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fireworks import LaunchPad

from hemiec.launch.fireworks.launchpad import open_launchpad
from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongod]:
    mongod = EmbeddedMongod(Settings(data_dir=tmp_path_factory.mktemp("server")))
    mongod.up()
    yield mongod
    mongod.down()


@pytest.fixture
def settings(server: EmbeddedMongod, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty database on the server; workers find the quick jobs."""
    monkeypatch.setenv("HEMIEC_MONGO_URI", server.uri())
    monkeypatch.setenv("HEMIEC_DATABASE", f"test-{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("HEMIEC_TRUSTED_PACKAGES", '["quick_jobs"]')
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return load_settings()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.close()


@pytest.fixture
def launchpad(database: Database) -> Iterator[LaunchPad]:
    launchpad = open_launchpad(database)
    yield launchpad
    launchpad.connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where jobs note what they did."""
    (tmp_path / "events").mkdir()
    return tmp_path / "events"


def await_(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


def at_rest(count: Callable[[], int]) -> int:
    """Return a count of documents once it stays: MongoDB ends a write that it has got, even if its client is killed."""
    n, before = count(), None
    while n != before:
        time.sleep(0.5)
        n, before = count(), n
    return n


def await_done(database: Database, seconds: float = 60) -> None:
    """Wait until all workflows are done, and whoever wrote that has let go of them."""
    open_ones = {"$or": [{"state": {"$ne": "COMPLETED"}}, {"locked": True}]}
    await_(lambda: database["workflows"].count_documents(open_ones) == 0, seconds)


def assert_done(database: Database, names: dict[str, str]) -> None:
    """Every job has one result and one launch that counts, and every Firework knows."""
    uuids = [output["uuid"] for output in database["outputs"].find({}, {"uuid": 1})]
    assert sorted(uuids) == sorted(names)
    assert set(database["fireworks"].distinct("state")) == {"COMPLETED"}
    assert {len(fw["launches"]) for fw in database["fireworks"].find()} == {1}
    assert set(database["workflows"].distinct("state")) == {"COMPLETED"}
    assert database["workflows"].count_documents({"locked": True}) == 0
