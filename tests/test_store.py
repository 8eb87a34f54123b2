"""The embedded MongoDB, the JobStore and the builder, on a real mongod."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from hemiec.errors import InputError, StoreError
from hemiec.settings import Settings, load_settings
from hemiec.store.database import open_database
from hemiec.store.mongod import EmbeddedMongod

pytestmark = pytest.mark.store


def test_starts_answers_and_is_private(settings: Settings) -> None:
    mongod = EmbeddedMongod(settings)
    uri = mongod.up()
    status = mongod.status()
    assert status.running and status.port
    for name in ("credentials.json", "keyfile", "state.json"):
        assert stat.S_IMODE((mongod.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(mongod.folder.stat().st_mode) == 0o700
    with MongoClient(uri, serverSelectionTimeoutMS=2000) as client:
        client["x"]["y"].insert_one({"a": 1})
    # Without the password nothing can be read.
    with (
        MongoClient(f"mongodb://127.0.0.1:{status.port}/?directConnection=true") as stranger,
        pytest.raises(OperationFailure),
    ):
        stranger["x"]["y"].find_one()
    # The password is on no command line.
    password = json.loads((mongod.folder / "credentials.json").read_text())["password"]
    assert password not in subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout


def test_up_twice_is_one_server_and_down_twice_is_fine(settings: Settings) -> None:
    mongod = EmbeddedMongod(settings)
    with ThreadPoolExecutor(4) as pool:
        uris = set(pool.map(lambda _: EmbeddedMongod(settings).up(), range(4)))
    assert len(uris) == 1
    assert mongod.down() is True
    assert mongod.down() is False
    assert not mongod.status().running


def test_acknowledged_writes_survive_kill_9_and_clients_go_on(settings: Settings) -> None:
    mongod = EmbeddedMongod(settings)
    with closing(open_database(settings)) as database:
        database["precious"].insert_many([{"n": n} for n in range(1000)])
        port = mongod.status().port
        # Several times: what the kernel still holds of the killed one differs from kill to kill.
        for _ in range(5):
            pid = mongod.status().pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            with closing(open_database(settings)) as again:
                assert again["precious"].count_documents({}) == 1000
            assert mongod.status().port == port
            # A client that was connected before goes on by itself.
            assert database["precious"].count_documents({}) == 1000


def test_moves_to_another_port_if_its_own_is_taken(settings: Settings) -> None:
    import socket

    mongod = EmbeddedMongod(settings)
    mongod.up()
    port = mongod.status().port
    first = open_database(settings)
    first["x"].insert_one({"kept": True})
    first.close()
    mongod.down()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        database = open_database(settings)
        assert mongod.status().port != port
        assert database["x"].count_documents({"kept": True}) == 1
        database.close()


def test_interrupted_first_start_is_completed(settings: Settings) -> None:
    """Killed at any moment of its first start, the next start finishes the job."""
    for delay in (0.05, 0.3, 0.6, 0.9):
        script = (
            "from hemiec.settings import *; from hemiec.store.mongod import *; EmbeddedMongod(load_settings()).up()"
        )
        starter = subprocess.Popen([sys.executable, "-c", script], env=os.environ | _environment(settings))
        time.sleep(delay)
        starter.kill()
        starter.wait()
        pid = EmbeddedMongod(settings).status().pid
        if pid:
            os.kill(pid, signal.SIGKILL)
    database = open_database(settings)
    database["x"].insert_one({"a": 1})
    assert database["x"].count_documents({}) == 1
    database.close()


def test_no_program_no_space_and_no_server_are_one_clear_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = settings.model_copy(update={"mongod": settings.data_dir / "no-such-program"})
    with pytest.raises(StoreError, match="HEMIEC_MONGOD"):
        open_database(missing)
    away = settings.model_copy(update={"mongo_uri": SecretStr("mongodb://user:secret@127.0.0.1:9/")})
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        open_database(away, timeout_ms=300)
    assert "secret" not in str(caught.value)
    wrong = settings.model_copy(update={"mongo_uri": SecretStr("not a uri")})
    with pytest.raises(StoreError, match="not a MongoDB URI"):
        open_database(wrong)
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(StoreError, match="MiB free"):
        open_database(settings)


def test_job_store_has_its_index_and_keeps_blobs_in_gridfs(settings: Settings) -> None:
    database = open_database(settings)
    store = database.job_store()
    store.update(
        [{"uuid": "u", "index": 1, "output": {"images": [1, 2, 3], "value": 4}}],
        save={"data": ["images"]},
    )
    raw = database["outputs"].find_one({"uuid": "u"})
    assert raw is not None and "blob_uuid" in raw["output"]["images"]
    assert database["data.files"].count_documents({}) == 1
    assert store.get_output("u", load=True)["images"] == [1, 2, 3]
    plan = database["outputs"].find({"uuid": "u"}).explain()
    store.close()
    assert "IXSCAN" in json.dumps(plan["queryPlanner"]["winningPlan"])
    database.close()


def test_settings_come_from_file_and_environment(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hemiec.yaml"
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(file))
    monkeypatch.delenv("HEMIEC_DATA_DIR", raising=False)
    file.write_text(f"data_dir: {tmp_path}\nworkers: 3\n")
    assert load_settings().workers == 3
    monkeypatch.setenv("HEMIEC_WORKERS", "1")
    assert load_settings().workers == 1
    file.write_text("workerz: 3\n")
    with pytest.raises(InputError, match="did you mean 'workers'"):
        load_settings()
    file.write_text("workers: [unclosed\n")
    with pytest.raises(InputError, match="YAML"):
        load_settings()
    file.write_text("")
    monkeypatch.setenv("HEMIEC_WORKERS", "many")
    with pytest.raises(InputError, match="HEMIEC_WORKERS"):
        load_settings()


def _environment(settings: Settings) -> dict[str, str]:
    return {"HEMIEC_DATA_DIR": str(settings.data_dir)}
