"""`hemiec db backup` and `hemiec db restore`, on real servers, while others write, and killed in the middle."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import gridfs
import pytest
from fireworks import FWorker
from jobflow.core.job import store_inputs
from jobflow.managers.fireworks import flow_to_workflow
from launching import at_rest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from stored_candidates import campaigns, synthetic_candidates

from hemiec.errors import InputError, StoreError
from hemiec.launch.fireworks.launchpad import open_launchpad
from hemiec.schemas.documents import SCHEMA_VERSION, CandidateDoc
from hemiec.schemas.submitted import PlanDoc
from hemiec.settings import Settings
from hemiec.store.archive.backup import check_backup, write_backup
from hemiec.store.archive.restore import restore_backup
from hemiec.store.candidates import documents_of
from hemiec.store.database import Database, Document, open_database
from hemiec.store.mongod import EmbeddedMongod, find_mongod
from hemiec.store.users import add_user

pytestmark = pytest.mark.store

Open = Callable[..., Database]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of an embedded MongoDB for all tests here; each uses databases of its own."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("backup"), mongo_uri=None)
    EmbeddedMongod(settings).up()
    yield settings
    EmbeddedMongod(settings).down()


@pytest.fixture
def opened(server: Settings) -> Iterator[Open]:
    """A function that opens a database of that name for this test, and closes it afterwards."""
    databases: list[Database] = []
    test = secrets.token_hex(4)

    def open_one(name: str, **options: bool) -> Database:
        named = server.model_copy(update={"database": f"{test}-{name}"})
        databases.append(open_database(named, **options))
        return databases[-1]

    yield open_one
    for database in databases:
        database.close()


def hemiec(server: Settings, database: Database, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEMIEC_")}
    environment |= {"HEMIEC_DATA_DIR": str(server.data_dir), "HEMIEC_DATABASE": database.name}
    environment["HEMIEC_CONFIG_FILE"] = str(server.data_dir / "none.yaml")
    command = [sys.executable, "-m", "hemiec.cli.main", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=server.data_dir
    )


def fill(database: Database, n: int = 20, first: int = 0) -> None:
    """Add results, one in ten with a large object, and what is built from them."""
    numbers = range(first, first + n)
    objects = gridfs.GridFS(database.mongo, "data")
    for k in numbers:
        if k % 10 == 0:
            objects.put(
                os.urandom(300_000), metadata={"job_uuid": f"job-{k}", "job_index": 1, "blob_uuid": f"blob-{k}"}
            )
    database["outputs"].insert_many({"uuid": f"job-{k}", "index": 1, "output": {"energy": -k / 7}} for k in numbers)
    found = list(synthetic_candidates(first + n))[first:]
    for name, documents in (
        ("candidates", [part for doc in found for part in documents_of(doc)["candidates"]]),
        ("hops", [part for doc in found for part in documents_of(doc)["hops"]]),
        ("plans", [plan(f"c{first}", k, doc) for k, doc in zip(numbers, found, strict=True)]),
        ("campaigns", [campaigns(n)[0].model_copy(update={"name": f"c{first}"}).to_mongo()]),
    ):
        database[name].insert_many(documents)


def plan(campaign: str, order: int, candidate: CandidateDoc) -> Document:
    spec = candidate.candidate
    return PlanDoc(
        campaign=campaign, order=order, candidate=spec, plan_id="p", tier=None, stopped=None, jobs=[]
    ).to_mongo()


def contents(database: Database) -> dict[str, list[Document]]:
    names = set(database.mongo.list_collection_names()) - {"locks", "doctor", "restore", "layout"}
    return {name: list(database[name].find({}).sort("_id", 1)) for name in names}


def indexes(database: Database) -> dict[str, object]:
    return {name: database[name].index_information() for name in database.mongo.list_collection_names()}


def test_moves_everything_to_another_database(server: Settings, opened: Open, tmp_path: Path) -> None:
    source, target = opened("a"), opened("b")
    fill(source)
    source["candidates"].create_index([("campaigns", 1), ("candidate_id", -1)], name="own", sparse=True)
    launchpad = open_launchpad(source)
    with closing(launchpad.connection):
        for _ in range(3):
            launchpad.add_wf(flow_to_workflow(store_inputs(1)))
        launchpad.checkout_fw(FWorker(name="elsewhere"), str(tmp_path))
    path = tmp_path / "whole.zip"
    done = hemiec(server, source, "db", "backup", str(path), "--json")
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    said = json.loads(out)
    assert said["consistency"] == "snapshot"
    assert said["documents"]["outputs"] == 20 and said["documents"]["data.files"] == 2
    assert said["documents"]["data.chunks"] == 4  # 300 kB in chunks of 255 kiB
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["whole.zip"]

    before = contents(source)
    restored = hemiec(server, target, "db", "restore", str(path))
    out, err = restored.communicate(timeout=60)
    assert restored.returncode == 0, err
    assert "1 jobs that were running are ready" in out
    after = contents(target)
    queue = {"fireworks", "launches", "workflows"}  # the lost job of these was brought back
    assert {k: v for k, v in after.items() if k not in queue and v} == {
        k: v for k, v in before.items() if k not in queue and v
    }
    assert [fw["state"] for fw in after["fireworks"]] == ["READY"] * 3
    assert after["fw_id_assigner"][0]["next_fw_id"] == 4
    ours, theirs = indexes(source), indexes(target)
    assert {n: theirs[n] for n in before if before[n]} == {n: ours[n] for n in before if before[n]}
    assert "own" in theirs["candidates"]  # type: ignore[operator]
    blob = gridfs.GridFS(target.mongo, "data").find_one({"metadata.blob_uuid": "blob-10"})
    assert blob is not None and blob.read() == gridfs.GridFS(source.mongo, "data").get(blob._id).read()
    # A second time, it is not empty any more; no existing file is replaced either.
    again = hemiec(server, target, "db", "restore", str(path))
    assert "not empty" in again.communicate(timeout=60)[1] and again.returncode == 1
    with pytest.raises(InputError, match="exists"):
        write_backup(source, path)


def test_all_collections_are_of_one_moment_although_others_write(opened: Open, tmp_path: Path) -> None:
    source, target = opened("a"), opened("b", restoring=True)
    # The first and the last collection that is read, with enough between them to write in.
    source["fill"].insert_many({"text": "x" * 10_000} for _ in range(3_000))
    stop = threading.Event()
    written = []

    def write() -> None:
        n = 0
        while not stop.is_set():
            source["zz_late"].insert_one({"n": n})
            source["launches"].insert_one({"launch_id": n})
            n += 1
        written.append(n)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.2)
        path = tmp_path / "snapshot.zip"
        seen: list[str] = []
        manifest = write_backup(source, path, report=lambda name, done, expected: seen.append(name))
    finally:
        stop.set()
        writer.join()
    late, launches = (manifest.collections[name].documents for name in ("zz_late", "launches"))
    assert 0 < launches <= late <= launches + 1
    assert written[0] > late + 1  # it did go on
    assert seen[0] == "launches"
    restore_backup(target, path)
    assert target["zz_late"].count_documents({}) == late


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("outputs.bson.zst").header_offset + 120
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def _drop(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        kept = {i: old.read(i) for i in old.namelist() if i != "outputs.bson.zst"}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in kept.items():
            new.writestr(name, content)


def _later(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        kept = {i: old.read(i) for i in old.namelist()}
    kept["manifest.json"] = kept["manifest.json"].replace(b'"format": 2', b'"format": 3')
    with zipfile.ZipFile(path, "w") as new:
        for name, content in kept.items():
            new.writestr(name, content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "cut off"),
        (_flip, "outputs (cannot be read|is not what was written)"),
        (_drop, "not those of its manifest"),
        (_later, "format is 3"),
        (lambda path: path.write_text("no zip"), "not a backup"),
        (lambda path: path.unlink(), "no such file"),
    ],
    ids=["cut", "flip", "drop", "later", "text", "gone"],
)
def test_a_damaged_file_is_refused_before_anything_is_written(
    opened: Open, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    source, target = opened("a"), opened("b")
    fill(source)
    path = tmp_path / "backup.zip"
    write_backup(source, path)
    assert check_backup(path).collections["outputs"].documents == 20
    damage(path)
    with pytest.raises(InputError, match=message):
        restore_backup(target, path)
    assert not any(contents(target).values()) and target["restore"].find_one({}) is None


def test_merge_adds_what_is_missing_and_changes_nothing(opened: Open, tmp_path: Path) -> None:
    mine, theirs = opened("a"), opened("b")
    fill(mine, 20)
    fill(theirs, 30, first=10)  # job-10 to job-19 are in both, with other numbers
    theirs["outputs"].update_many({}, {"$set": {"output": {"energy": 1.0}}})
    theirs["fireworks"].insert_one({"fw_id": 1, "state": "READY"})
    path = tmp_path / "theirs.zip"
    write_backup(theirs, path)
    with pytest.raises(StoreError, match="not empty"):
        restore_backup(mine, path)
    before = contents(mine)
    done = restore_backup(mine, path, merge=True)
    after = contents(mine)
    for name, documents in before.items():
        assert all(document in after[name] for document in documents)
    assert done.added["outputs"] == 20 and done.left_out["outputs"] == 10
    assert mine["outputs"].count_documents({}) == 40
    assert mine["outputs"].count_documents({"output.energy": 1.0}) == 20
    # job-0 and job-10 were here; job-20 and job-30 came, and not the other job-10.
    names = [f["metadata"]["blob_uuid"] for f in after["data.files"]]
    assert sorted(names) == ["blob-0", "blob-10", "blob-20", "blob-30"]
    blob = gridfs.GridFS(mine.mongo, "data").find_one({"metadata.blob_uuid": "blob-30"})
    assert blob is not None and len(blob.read()) == 300_000
    assert {c["name"] for c in after["campaigns"]} == {"c0", "c10"}
    assert mine["plans"].count_documents({"campaign": "c10"}) == 30
    assert done.left_out["fireworks"] == 1 and mine["fireworks"].count_documents({}) == 0
    # Once more: nothing is missing.
    assert sum(restore_backup(mine, path, merge=True).added.values()) == 0


def test_documents_that_cannot_be_used_are_reported_and_kept(opened: Open, tmp_path: Path) -> None:
    source, target, third = opened("a"), opened("b", restoring=True), opened("c")
    fill(source)
    odd = [
        {"candidate_id": "hm-broken", "schema_version": SCHEMA_VERSION},
        {"candidate_id": "hm-newer", "schema_version": SCHEMA_VERSION + 1, "surprise": 1.5},
    ]
    source["candidates"].insert_many([dict(d) for d in odd], bypass_document_validation=True)
    path = tmp_path / "odd.zip"
    write_backup(source, path)
    done = restore_backup(target, path)
    told = [str(trouble) for trouble in done.trouble]
    assert len(told) == 2 and any("newer layout" in t and "hm-newer" in t for t in told)
    assert any("not what their schema says" in t and "hm-broken" in t for t in told)
    for document in odd:
        assert target["candidates"].find_one({"candidate_id": document["candidate_id"]}, {"_id": 0}) == document
    assert done.note is not None and "newer hemiec" in done.note
    with pytest.raises(StoreError, match="newer hemiec"):
        opened("b")
    # Into a store that is in use: nothing at all of a newer layout; what is broken is left out and named.
    before = contents(third)
    with pytest.raises(InputError, match=r"newer layout.*nothing was written"):
        restore_backup(third, path, merge=True)
    assert contents(third) == before and third["restore"].find_one({}) is None
    source["candidates"].delete_one({"candidate_id": "hm-newer"})
    write_backup(source, path, force=True)
    merged = restore_backup(third, path, merge=True)
    assert [(t.collection, t.documents, t.first) for t in merged.trouble] == [("candidates", 1, ("hm-broken",))]
    assert third["candidates"].count_documents({}) == 20


def test_who_may_only_read_and_write_restores_too(server: Settings, opened: Open, tmp_path: Path) -> None:
    source, prepared = opened("a"), opened("b")  # its validators are there already
    fill(source)
    path = tmp_path / "whole.zip"
    write_backup(source, path)
    add_user(prepared, "worker", "worker", "workers-password")
    uri = EmbeddedMongod(server).uri_as("worker", "workers-password", prepared.name)
    with closing(Database(uri, prepared.name)) as worker:
        done = restore_backup(worker, path)
        assert done.note is None and all(found.same for found in done.compared.values())
        source["candidates"].insert_one(
            {"candidate_id": "hm-broken", "schema_version": 2}, bypass_document_validation=True
        )
        write_backup(source, path, force=True)
        for name in source.mongo.list_collection_names():
            if name != "layout":
                worker[name].delete_many({})
        with pytest.raises(StoreError, match="validator of this database refuses"):
            restore_backup(worker, path)


def test_a_killed_restore_says_so_and_goes_on(server: Settings, opened: Open, tmp_path: Path) -> None:
    source, target, other = opened("a"), opened("b"), opened("c")
    source["outputs"].insert_many({"uuid": f"u{k}", "index": 1, "output": "x" * 1000} for k in range(40_000))
    fill(other)
    path, another = tmp_path / "large.zip", tmp_path / "other.zip"
    write_backup(source, path)
    write_backup(other, another)
    process = hemiec(server, target, "db", "restore", str(path))
    while process.poll() is None and not target["outputs"].estimated_document_count():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    n = at_rest(lambda: target["outputs"].count_documents({}))
    assert 0 < n < 40_000
    with pytest.raises(StoreError, match=r"holds only part of .*large\.zip.*hemiec db restore"):
        opened("b")
    with pytest.raises(StoreError, match=r"interrupted.*hemiec db restore .*large\.zip"):
        restore_backup(opened("b", restoring=True), another)
    done = restore_backup(opened("b", restoring=True), path)
    assert done.added["outputs"] == 40_000 - n
    assert opened("b")["outputs"].count_documents({}) == 40_000


def test_a_server_without_snapshots_is_read_queue_first(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (tmp_path / "db").mkdir()
    program = find_mongod(Settings(data_dir=tmp_path, mongo_uri=None))
    options = ["--dbpath", str(tmp_path / "db"), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
    try:
        with MongoClient(f"mongodb://127.0.0.1:{port}/", serverSelectionTimeoutMS=20_000) as client:
            client.admin.command("ping")
        database = Database(f"mongodb://127.0.0.1:{port}/", "plain")
        with closing(database):
            database.prepare()
            fill(database)
            database["fireworks"].insert_one({"fw_id": 7})
            database["fw_id_assigner"].insert_one({"next_fw_id": 3, "next_launch_id": 1})  # an older counter
            manifest = write_backup(database, tmp_path / "plain.zip")
            assert manifest.consistency == "ordered"
            order = list(manifest.collections)
            assert order.index("fireworks") < order.index("outputs") < order.index("data.files")
            target = Database(database.uri, "second")
            with closing(target):
                restore_backup(target, tmp_path / "plain.zip")
                assert contents(target)["outputs"] == contents(database)["outputs"]
                # No number is given twice.
                assert [c["next_fw_id"] for c in target["fw_id_assigner"].find()] == [8]
    finally:
        process.terminate()
        process.wait()


def test_an_interrupted_backup_leaves_no_file(opened: Open, tmp_path: Path) -> None:
    source = opened("a")
    fill(source)

    def stop(name: str, done: int, expected: int) -> None:
        raise PyMongoError("the server went away")

    with pytest.raises(StoreError, match="cannot be reached"):
        write_backup(source, tmp_path / "none.zip", report=stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="folder does not exist"):
        write_backup(source, tmp_path / "no" / "none.zip")
