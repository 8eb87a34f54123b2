"""What tests of the builder share: a MongoDB for a whole file, an empty database for each test, what was built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from job_outputs import finish, made_document, submit_made

from hemiec.settings import Settings, load_settings
from hemiec.store.building.builder import build
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod

#: What a candidate's documents are in.
COLLECTIONS = ("candidates", "hops", "transport", "thermodynamics", "structures", "optimade")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A MongoDB for a whole file; the environment names it meanwhile."""
    folder = tmp_path_factory.mktemp("builder")
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(f"HEMIEC_{name.upper()}", raising=False)
        patch.setenv("HEMIEC_DATA_DIR", str(folder))
        patch.setenv("HEMIEC_CONFIG_FILE", str(folder / "no-such-settings.yaml"))
        settings = load_settings()
        try:
            yield settings
        finally:
            EmbeddedMongod(settings).down()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """An empty store."""
    with closing(open_database(settings)) as database:
        for name in database.mongo.list_collection_names():
            if name != "layout":
                database[name].delete_many({})
        yield database


@pytest.fixture
def made(database: Database) -> dict[str, Any]:
    """A submitted campaign of two candidates, all of whose jobs are done."""
    document = submit_made(database, made_document())
    finish(database, document)
    return document


def ids(document: dict[str, Any]) -> list[str]:
    """Return the candidates of a campaign in its order."""
    return [plan["candidate"]["candidate_id"] for plan in document["candidates"]]


def job(plan: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the first job of a kind."""
    return next(job for job in plan["jobs"] if job["kind"] == kind)


def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return everything that was built, without when."""
    hidden = {"_id": 0, "last_updated": 0, "last_modified": 0}
    order = [("candidate_id", 1), ("id", 1), ("hop_id", 1)]
    return {name: list(database[name].find({}, hidden).sort(order)) for name in COLLECTIONS}


def built_hashes(database: Database) -> dict[str, str]:
    """Return candidate to the hash of what it was built from."""
    return {d["candidate_id"]: d["input_hash"] for d in database["candidates"].find()}


def consistent(database: Database) -> None:
    """Every part belongs to its candidate as it is stored, and none is missing."""
    stamps = built_hashes(database)
    for name in ("hops", "transport", "thermodynamics", "structures"):
        for part in database[name].find():
            assert part["input_hash"] == stamps[part["candidate_id"]]
    for doc in read_candidates(database):
        for result in doc.results:
            assert (result.transport is not None) == (result.migration_barrier.value is not None)
            assert (result.thermodynamics is not None) == (result.energy_per_atom is not None)


def rebuilt(database: Database) -> set[str]:
    """Build, and return the candidates whose documents were written."""
    before = {d["candidate_id"]: d["last_updated"] for d in database["candidates"].find()}
    n = build(database)
    after = {d["candidate_id"]: d["last_updated"] for d in database["candidates"].find()}
    changed = {name for name in after if after[name] != before.get(name)}
    assert len(changed) == n
    return changed
