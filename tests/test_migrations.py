"""Stores of older versions of hemiec: read as they are, migrated, and what cannot be."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from launching import at_rest

from hemiec.errors import StoreError
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.status import read_status
from hemiec.schemas.documents import SCHEMA_VERSION, CandidateDoc
from hemiec.settings import Settings
from hemiec.store.archive.backup import read_documents, read_manifest
from hemiec.store.archive.restore import restore_backup
from hemiec.store.campaigns import read_campaign
from hemiec.store.candidates import documents_of, read_candidates
from hemiec.store.database import Database, Document, open_database
from hemiec.store.layout import migrate as migration
from hemiec.store.layout.migrate import migrate, pending
from hemiec.store.layout.migrations import KEYS, STEPS, upgrade, upgraded, version_of
from hemiec.store.layout.prepare import describe, read_stamp, require_current
from hemiec.store.layout.schema_files import STORED
from hemiec.store.mongod import EmbeddedMongod

OLD = Path(__file__).parent / "data" / "store-of-0.1.zip"
Open = Callable[..., Database]

pytestmark = pytest.mark.store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("migrations"), mongo_uri=None)
    EmbeddedMongod(settings).up()
    yield settings
    EmbeddedMongod(settings).down()


@pytest.fixture
def settings(server: Settings) -> Settings:
    """Settings of a database of this test."""
    return server.model_copy(update={"database": f"t{secrets.token_hex(4)}"})


@pytest.fixture
def opened(settings: Settings) -> Iterator[Open]:
    """A function that opens it, and closes it afterwards."""
    databases: list[Database] = []

    def open_one(**options: bool) -> Database:
        databases.append(open_database(settings, **options))
        return databases[-1]

    yield open_one
    for database in databases:
        database.close()


@pytest.fixture
def old(opened: Open) -> Database:
    """The store of hemiec 0.1, as it is."""
    database = opened(restoring=True)
    restore_backup(database, OLD)
    return database


def documents(database: Database) -> dict[str, list[Document]]:
    """Return all of ours, without the ids that MongoDB gives what a migration adds."""
    found = {name: list(database[name].find({}, {"_id": 0})) for name in STORED}
    return {name: sorted(docs, key=lambda d: json.dumps(d, default=str)) for name, docs in found.items()}


def hemiec(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEMIEC_")}
    environment |= {"HEMIEC_DATA_DIR": str(settings.data_dir), "HEMIEC_DATABASE": settings.database}
    environment["HEMIEC_CONFIG_FILE"] = str(settings.data_dir / "none.yaml")
    command = [sys.executable, "-m", "hemiec.cli.main", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def old_candidate() -> Document:
    return next(dict(raw) for raw in (document for document in _raw("candidates")) if raw["results"])


def _raw(name: str) -> list[Document]:
    """Return the documents of the old backup as plain dictionaries."""
    from bson import decode

    return [decode(document.raw) for document in read_documents(OLD, name)]


def test_an_old_store_is_refused_for_writing_and_read_as_it_is(old: Database, opened: Open) -> None:
    with pytest.raises(StoreError, match=r"older hemiec.*hemiec db migrate"):
        opened()
    assert read_stamp(old) is None, "being refused must leave no trace"
    reader = opened(read_only=True)
    with pytest.raises(StoreError, match="hemiec db migrate"):
        require_current(reader)  # what a filter on new fields would find is not all there is
    first, second = sorted(read_candidates(reader), key=lambda doc: -len(doc.results))
    assert second.results == [] and second.elements == ["Ba", "Co", "O", "Pr"]
    assert first.schema_version == SCHEMA_VERSION and first.chemsys == "Co-La-O-Sr"
    assert [len(result.hops) for result in first.results] == [3, 1]
    assert {hop.mobile for result in first.results for hop in result.hops} == {"O"}
    assert first.results[0].transport is not None and first.results[0].dynamics is not None
    brief = next(read_candidates(reader, {"candidate_id": first.candidate_id}, whole=False))
    assert brief.results[0].hops == [] and brief.results[0].transport is None
    assert brief.band_gap == first.band_gap


def test_migration_loses_nothing_and_a_second_one_does_nothing(old: Database, opened: Open) -> None:
    before = {doc.candidate_id: doc for doc in read_candidates(old)}
    assert pending(old) == {"candidates": 2, "references": 2, "campaigns": 2, "plans": 1, "calibrations": 1}
    done = migrate(old)
    assert dict(done.migrated) == {"candidates": 2, "references": 2, "campaigns": 2, "plans": 1, "calibrations": 1}
    assert dict(done.written) == {"hops": 4, "transport": 1, "plans": 1}
    assert done.left_alone == [] and pending(old) == {}
    database = opened()
    assert {doc.candidate_id: doc for doc in read_candidates(database)} == before
    assert describe(database) == f"{SCHEMA_VERSION}, validators installed"
    stored = database["candidates"].find_one({"results.0": {"$exists": True}}, {"results": 1})
    assert stored is not None and not {"hops", "transport", "dynamics", "structure"} & stored["results"][0].keys()
    for name, model in STORED.items():
        for document in database[name].find({}, {"_id": 0}):
            model.model_validate(document)
            database[name].replace_one({KEYS[name]: document[KEYS[name]]}, document)  # the validator takes it too
    oxygen = database["references"].find_one({"formula_pretty": "O2"})
    assert oxygen is not None and (oxygen["elements"], oxygen["nelements"]) == (["O"], 1)
    after = documents(database)
    again = migrate(database)
    assert (again.migrated, again.written, documents(database)) == ({}, {}, after)


def test_the_first_campaigns_are_taken_apart_and_their_jobs_learn_whose_they_are(old: Database, opened: Open) -> None:
    migrate(old)
    database = opened()
    campaign = read_campaign(database, "older")
    (plan,) = campaign["candidates"]
    assert campaign["n_candidates"] == 1 and campaign["promotions"] == []
    uuids = [job["uuid"] for job in (*plan["jobs"], *campaign["references"])]
    assert len(uuids) == 14
    of_it = {"spec.hemiec.uuid": {"$in": uuids}, "spec.hemiec.campaigns": "older"}
    assert database["fireworks"].count_documents(of_it) == 14
    shared = database["fireworks"].count_documents({"spec.hemiec.campaigns": {"$all": ["older", "cobaltites"]}})
    assert shared == 3
    with closing(FireWorksQueue(database)) as queue:
        assert read_status(queue, "older").n_jobs == 14


def test_it_parts_a_candidate_as_the_builder_does() -> None:
    old = old_candidate()
    parts = upgraded("candidates", old)
    whole = {k: v for k, v in upgrade("candidates", old).items() if k in CandidateDoc.model_fields}
    built = documents_of(CandidateDoc.model_validate(whole))
    (candidate,) = parts["candidates"]
    assert built["candidates"] == [{k: v for k, v in candidate.items() if k != "_id"}]
    # Whoever asks for what conducts oxygen finds it.
    assert candidate["mobile"] == "O" and {result["mobile"] for result in candidate["results"]} <= {"O", None}
    for name, key in (("hops", "hop_id"), ("transport", "transport_id")):
        assert [part[key] for part in built[name]] == [part[key] for part in parts[name]]
        # What 0.1 left out is what a model fills in.
        assert [STORED[name].model_validate(part) for part in parts[name]] == [
            STORED[name].model_validate(part) for part in built[name]
        ]


def test_steps_are_numbered_without_a_gap() -> None:
    assert [step.VERSION for step in STEPS] == list(range(2, SCHEMA_VERSION + 1))
    assert KEYS.keys() == STORED.keys()


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 6])
def test_killed_at_any_write_it_goes_on(
    after: int, old: Database, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is that of one undisturbed run; meanwhile nobody else writes."""
    writes = 0
    write = migration._bulk

    def die(*arguments: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == after:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(migration, "_bulk", die)
    with pytest.raises(KeyboardInterrupt):
        migrate(old)
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"not finished.*hemiec db migrate"):
        opened()
    assert len(list(read_candidates(opened(read_only=True)))) == 2
    migrate(old)
    assert {name: len(docs) for name, docs in documents(opened()).items() if docs} == {
        "candidates": 2, "hops": 4, "transport": 1, "references": 2, "campaigns": 2, "plans": 2, "calibrations": 1,
    }  # fmt: skip
    assert sum(len(result.hops) for doc in read_candidates(old) for result in doc.results) == 4


def test_kill_9_of_the_command_and_its_backup(old: Database, settings: Settings, opened: Open, tmp_path: Path) -> None:
    """Many candidates, so that the signal comes in the middle."""
    template = old_candidate()
    template.pop("_id")
    many = []
    for k in range(600):
        name = f"hm-{k:016x}"
        many.append(template | {"candidate_id": name, "candidate": template["candidate"] | {"candidate_id": name}})
    old["candidates"].insert_many(many)
    process = hemiec(settings, "db", "migrate", "--backup", str(tmp_path / "before.zip"))
    while process.poll() is None and old["hops"].estimated_document_count() <= 400:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    left = at_rest(lambda: old["candidates"].count_documents({"schema_version": 1}))
    assert 0 < left < 602
    assert read_manifest(tmp_path / "before.zip").collections["candidates"].documents == 602
    again = hemiec(settings, "db", "migrate", "--no-backup", "--json")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert json.loads(out)["migrated"]["candidates"] == left
    database = opened()
    assert database["hops"].count_documents({}) == 601 * 4 and database["transport"].count_documents({}) == 601
    require_current(database)


def test_what_cannot_be_read_or_is_newer_is_named_and_stays(old: Database, settings: Settings, opened: Open) -> None:
    template = old_candidate()
    template.pop("_id")
    torn = {k: v for k, v in template.items() if k != "results"} | {"candidate_id": "hm-torn"}
    strange = template | {"candidate_id": "hm-strange", "band_gap": {"value": "wide"}}
    future = template | {"candidate_id": "hm-future", "schema_version": SCHEMA_VERSION + 1, "spin_gap": 1}
    old["candidates"].insert_many([torn, strange, future])
    kept = {d["candidate_id"]: d for d in old["candidates"].find({"candidate_id": {"$regex": "^hm-[tsf]"}})}
    tried = hemiec(settings, "db", "migrate", "--dry-run", "--json")
    out, err = tried.communicate(timeout=60)
    assert tried.returncode == 0, err
    said = json.loads(out)
    assert said["migrated"]["candidates"] == 2 and said["unreadable"] == {"candidates": 2}
    assert pending(old)["candidates"] == 4 and old["hops"].count_documents({}) == 0, "a dry run writes nothing"
    done = hemiec(settings, "db", "migrate")
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    assert "2 documents cannot be read and stay as they are" in out and "hm-torn: candidates: hm-torn is not" in out
    assert "1 documents of a newer hemiec" in out and "hm-future" in out
    (backup,) = (settings.data_dir / "backups").glob(f"{settings.database}-*.zip")
    assert str(backup) in err and read_manifest(backup).collections["candidates"].documents == 5
    database = opened()
    for name, document in kept.items():
        assert database["candidates"].find_one({"candidate_id": name}) == document
    left_out: dict[str, str] = {}
    assert len(list(read_candidates(database, report=left_out.__setitem__))) == 2
    assert left_out.keys() == kept.keys() and "newer hemiec (layout 3)" in left_out["hm-future"]
    with pytest.raises(StoreError, match="newer hemiec"):
        list(read_candidates(database, {"candidate_id": "hm-future"}))


def test_a_newer_store_is_refused_and_not_touched(opened: Open) -> None:
    database = opened()
    database["layout"].update_one({}, {"$set": {"schema_version": SCHEMA_VERSION + 1, "hemiec": "9.9"}})
    before = read_stamp(database)
    for options in ({}, {"read_only": True}):
        with pytest.raises(StoreError, match=r"written by a newer hemiec \(9\.9\).*update hemiec"):
            opened(**options)
    with pytest.raises(StoreError, match="newer hemiec"):
        migrate(opened(as_is=True))
    assert read_stamp(database) == before


def test_one_migration_at_a_time_and_options_that_exclude_each_other(old: Database, settings: Settings) -> None:
    old["locks"].insert_one({"_id": "db migrate", "owner": "elsewhere:1:1", "expires": _far()})
    second = hemiec(settings, "db", "migrate", "--no-backup")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1 and "another `hemiec db migrate` (elsewhere" in err
    both = hemiec(settings, "db", "migrate", "--no-backup", "--backup", "x.zip")
    _, err = both.communicate(timeout=60)
    assert both.returncode == 2 and "exclude each other" in err
    assert pending(old)["candidates"] == 2


def test_documents_that_do_not_say_their_version_are_of_the_first() -> None:
    assert version_of({}) == 1
    with pytest.raises(StoreError, match=r"candidates: hm-1 is not what hemiec wrote in layout 1.*hemiec build"):
        upgrade("candidates", {"candidate_id": "hm-1"})
    window = old_candidate()
    del window["results"][0]["transport"]
    window["results"][0]["hops"][0]["environment"] = "Ti-Ti-Ta-Zr"
    with pytest.raises(StoreError, match="which species its hops move"):
        upgrade("candidates", window)


def _far() -> object:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) + timedelta(hours=1)
