"""Backup and restore of 100,000 documents, with kill -9 of the client and of the server in the middle of each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from stored_candidates import insert_candidates

from hemiec.errors import StoreError
from hemiec.settings import Settings
from hemiec.store.archive.backup import check_backup
from hemiec.store.archive.verifying import compare
from hemiec.store.database import open_database
from hemiec.store.mongod import EmbeddedMongod

pytestmark = [pytest.mark.store, pytest.mark.slow]

DOCUMENTS = 100_000
#: A document of so many bytes: all together are about 100 MB.
PAYLOAD = "x" * 900


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Callable[[str], Settings]]:
    """A function from a name to settings of a data folder with a MongoDB of its own."""
    made: dict[str, Settings] = {}

    def settings(name: str) -> Settings:
        if name not in made:
            (tmp_path / name).mkdir()
            made[name] = Settings(data_dir=tmp_path / name, mongo_uri=None)
        return made[name]

    yield settings
    for each in made.values():
        EmbeddedMongod(each).down()


def hemiec(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEMIEC_")}
    environment |= {"HEMIEC_DATA_DIR": str(settings.data_dir), "HEMIEC_CONFIG_FILE": str(settings.data_dir / "none")}
    if settings.mongo_uri is not None:
        environment["HEMIEC_MONGO_URI"] = settings.mongo_uri.get_secret_value()
    command = [sys.executable, "-m", "hemiec.cli.main", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def fill(settings: Settings) -> None:
    with closing(open_database(settings)) as database:
        insert_candidates(database, 200)
        for first in range(0, DOCUMENTS, 10_000):
            numbers = range(first, first + 10_000)
            database["outputs"].insert_many(
                {"uuid": f"job-{k}", "index": 1, "output": {"energy": -k / 7, "text": PAYLOAD}} for k in numbers
            )


def kill_when(process: subprocess.Popen[str], pid: int | None, midway: Callable[[], bool]) -> None:
    """Kill -9 a process (default: the client itself) when something holds; the client must not be done by then."""
    while process.poll() is None and not midway():
        time.sleep(0.002)
    assert process.poll() is None, "it was done before it could be killed"
    os.kill(process.pid if pid is None else pid, signal.SIGKILL)


def test_nothing_is_lost_whatever_is_killed(folders: Callable[[str], Settings], tmp_path: Path) -> None:
    here, there = folders("here"), folders("there")
    fill(here)
    path = tmp_path / "whole.zip"

    def writing() -> bool:
        return any(part.stat().st_size > 200_000 for part in tmp_path.glob(".whole.zip.*.part"))

    # The client: no file under the name. The server: one clear error, and no file either.
    process = hemiec(here, "db", "backup", str(path))
    kill_when(process, None, writing)
    process.communicate()
    assert not path.exists()
    for left in tmp_path.glob(".whole.zip.*.part"):
        left.unlink()
    process = hemiec(here, "db", "backup", str(path))
    kill_when(process, EmbeddedMongod(here).status().pid, writing)
    code, _, err = finished(process)
    assert code == 1 and err.count("error:") == 1 and "MongoDB" in err
    assert not path.exists() and not list(tmp_path.glob(".whole.zip.*"))

    code, out, err = finished(hemiec(here, "db", "backup", str(path), "--json"))
    assert code == 0, err
    assert json.loads(out)["documents"]["outputs"] == DOCUMENTS
    manifest = check_backup(path)

    # The same into an empty server: killed twice, the same command goes on.
    with closing(open_database(there, as_is=True)) as target:

        def restored() -> int:
            return target["outputs"].estimated_document_count()

        process = hemiec(there, "db", "restore", str(path))
        kill_when(process, None, lambda: restored() > 10_000)
        process.communicate()
        first = restored()
        assert 0 < first < DOCUMENTS
        with pytest.raises(StoreError, match="holds only part of"):
            open_database(there)
        process = hemiec(there, "db", "restore", str(path))
        kill_when(process, EmbeddedMongod(there).status().pid, lambda: restored() > first)
        code, _, err = finished(process)
        assert code == 1 and err.count("error:") == 1 and "MongoDB" in err
        code, out, err = finished(hemiec(there, "db", "restore", str(path), "--json"))
        assert code == 0, err
        compared = json.loads(out)["compared"]
        assert all(found["same"] for found in compared.values())
        assert compared["outputs"]["found_documents"] == DOCUMENTS
    with closing(open_database(there)) as target:
        assert all(found.same for found in compare(target, manifest).values())


def test_from_embedded_to_a_server_and_back(folders: Callable[[str], Settings], tmp_path: Path) -> None:
    home, group = folders("home"), folders("group")
    with closing(open_database(home)) as database:
        insert_candidates(database, 50)
        store = database.job_store()
        store.update([{"uuid": "u", "index": 1, "output": {"images": [1, 2]}}], save={"data": ["images"]})
        store.close()
    server = Settings(data_dir=home.data_dir, mongo_uri=SecretStr(EmbeddedMongod(group).up()))
    away, back = tmp_path / "away.zip", tmp_path / "back.zip"
    assert finished(hemiec(home, "db", "backup", str(away)))[0] == 0
    code, out, err = finished(hemiec(server, "db", "restore", str(away)))
    assert code == 0 and "DIFFERENT" not in out, err
    assert finished(hemiec(server, "db", "backup", str(back)))[0] == 0
    returned = folders("returned")
    code, out, err = finished(hemiec(returned, "db", "restore", str(back)))
    assert code == 0, err
    # By numbers and hashes, and by what a job and a command see.
    first, last = (check_backup(path).collections for path in (away, back))
    assert {n: (e.documents, e.content) for n, e in first.items()} == {
        n: (e.documents, e.content) for n, e in last.items()
    }
    code, out, _ = finished(hemiec(returned, "db", "verify", str(away), "--database"))
    assert code == 0 and out.count("  same") >= 8
    with closing(open_database(returned)) as database:
        store = database.job_store()
        assert store.get_output("u", load=True) == {"images": [1, 2]}
        store.close()
        database["candidates"].update_one({}, {"$set": {"band_gap.value": 0.5}})
    code, out, err = finished(hemiec(returned, "db", "verify", str(away), "--database"))
    assert code == 1 and "DIFFERENT" in out and "candidates" in err
