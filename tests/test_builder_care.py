"""Builders that are killed or run at the same time, what no campaign asks for, `mrun`, and the command."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from building import COLLECTIONS, built_hashes, consistent, content, database, ids, job, made, settings
from click.testing import CliRunner
from job_outputs import STARTED, candidate_plan, finish, made_document, plan_outputs, put, submit_made
from monty.json import MontyDecoder

from hemiec.cli.build import build as build_command
from hemiec.composition.candidate import make_candidate
from hemiec.settings import Settings, load_settings
from hemiec.store.building import builder, inputs, writing
from hemiec.store.building.builder import CandidateBuilder, build
from hemiec.store.building.orphans import find_orphans
from hemiec.store.campaigns import drop_other_plans, write_plans
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database, open_database

pytestmark = pytest.mark.store
__all__ = ["database", "made", "settings"]  # fixtures


# Kills, and several at once


def _build_in_steps(folder: str) -> None:
    """Build as `mrun` does, five candidates at a time."""
    from maggma.cli.serial import serial  # its settings are of a form that pydantic warns of

    os.environ["HEMIEC_DATA_DIR"] = folder
    serial(CandidateBuilder(chunk_size=5), no_bars=True)


def _build_again_and_again(folder: str, rounds: int) -> int:
    os.environ["HEMIEC_DATA_DIR"] = folder
    with closing(open_database(load_settings())) as database:
        return sum(build(database) for _ in range(rounds))


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes that start with everything imported."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["maggma.cli.serial", "hemiec.store.building.builder"])
    return context


def many(database: Database, n: int) -> dict[str, Any]:
    """Write a campaign of n candidates, all done."""
    document = submit_made(database, made_document())
    allowed = {"La": (3,), "Sr": (2,), "Co": (2, 3, 4), "O": (-2,)}
    mixed = [{"A": {"La": f"{k}/{n + 1}", "Sr": f"{n + 1 - k}/{n + 1}"}, "B": {"Co": "1"}} for k in range(1, n + 1)]
    specs = [make_candidate(sites, allowed) for sites in mixed]
    plans = [candidate_plan(document["candidates"][0], spec.to_mongo()) for spec in specs]
    drop_other_plans(database, "made", [])
    write_plans(database, "made", enumerate(plans))
    document["candidates"] = plans
    finish(database, document)
    return document


def test_a_builder_killed_anywhere_leaves_nothing_that_lies_and_the_next_one_finishes(
    settings: Settings, database: Database, processes: Any
) -> None:
    document = many(database, 60)
    generator = random.Random(1)
    for _ in range(5):
        before = database["candidates"].count_documents({})
        process = processes.Process(target=_build_in_steps, args=(str(settings.data_dir),))
        process.start()
        while process.is_alive() and database["candidates"].count_documents({}) <= before:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.05))  # somewhere in what it writes
        process.kill()
        process.join()
        process.close()
        assert database["builds"].count_documents({}) == 0 or database["candidates"].count_documents({}) == 60
        for doc in read_candidates(database):
            assert all(len(r.hops) == 5 and r.transport is not None for r in doc.results)
    assert database["candidates"].count_documents({}) > 0
    build(database)
    assert built_hashes(database).keys() == set(ids(document))
    consistent(database)
    assert build(database) == 0


def test_several_builders_at_once_end_in_the_same_as_one(
    settings: Settings, database: Database, processes: Any
) -> None:
    document = many(database, 40)
    with processes.Pool(3) as pool:
        runs = [pool.apply_async(_build_again_and_again, (str(settings.data_dir), 5)) for _ in range(3)]
        # Meanwhile results come in.
        for order, plan in enumerate(document["candidates"]):
            put(database, plan_outputs(plan, STARTED + timedelta(days=1, minutes=order)))
        for run in runs:
            run.get(timeout=300)
        pool.close()
        pool.join()
    build(database)
    together = content(database)
    consistent(database)
    for name in (*COLLECTIONS, "references", "builds"):
        database[name].delete_many({})
    assert build(database) == 40
    assert content(database) == together


def test_a_builder_with_an_older_view_does_not_overwrite_a_newer_document(
    database: Database, made: dict[str, Any]
) -> None:
    slow = CandidateBuilder()
    slow.database = database
    items = [slow.process_item(item) for item in slow.get_items()]
    sample = job(made["candidates"][0], "sample")["uuid"]
    found = database["outputs"].find_one({"uuid": sample})
    found["output"]["hops"], found["completed_at"] = [], (STARTED + timedelta(days=1)).isoformat()
    put(database, [found])
    assert build(database) == 2
    newer = content(database)
    slow.update_targets(items)
    slow.finalize()
    assert slow.built == 0
    assert content(database) == newer
    assert build(database) == 0


def test_a_builder_that_is_held_up_between_clock_and_parts_leaves_those_of_another_one(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = CandidateBuilder()
    slow.database = database
    items = [slow.process_item(item) for item in slow.get_items()]
    clock = writing.server_time

    def held_up(of: Database) -> datetime:
        now = clock(of)
        monkeypatch.setattr(writing, "server_time", clock)
        time.sleep(0.01)
        finish(database, made, "gap", moment=STARTED + timedelta(days=1))
        assert build(database) == 2
        return now

    monkeypatch.setattr(writing, "server_time", held_up)
    slow.update_targets(items)
    slow.finalize()
    assert slow.built == 0
    consistent(database)
    assert build(database) == 0


def test_a_builder_that_started_earlier_but_read_later_is_not_overwritten(
    database: Database, made: dict[str, Any]
) -> None:
    """Of two that overlap, the one that started later has the older outputs: it looks again."""
    early, late = CandidateBuilder(), CandidateBuilder()
    early.database = late.database = database
    reading = early.get_items()
    early_first = next(reading)
    time.sleep(0.01)
    late_items = [late.process_item(item) for item in late.get_items()]
    finish(database, made, "gap", moment=STARTED + timedelta(days=1))
    name = early_first.inputs.candidate_id
    plans = inputs.read_plans(database, [name])
    (fresh,) = inputs.read_inputs(database, early_first.shared, plans)
    inputs.fill_outputs(database, [fresh])
    early.update_targets([early.process_item(builder.Item(fresh, early_first.shared, early_first.moment))])
    late.update_targets(late_items)
    assert built_hashes(database)[name] == fresh.stamp
    consistent(database)


def test_a_document_from_the_future_is_replaced(database: Database, made: dict[str, Any]) -> None:
    build(database)
    for name in ("candidates", "hops", "structures", "transport"):
        database[name].update_many({}, {"$set": {"last_updated": "2999-01-01T00:00:00.000000Z"}})
    finish(database, made, "gap", moment=STARTED + timedelta(days=1))
    assert build(database) == 2
    assert database["hops"].count_documents({"last_updated": {"$gt": "2999"}}) == 0


# Orphans


def test_what_a_campaign_no_longer_asks_for_stays_until_it_is_removed(database: Database, made: dict[str, Any]) -> None:
    build(database)
    kept, dropped = ids(made)
    drop_other_plans(database, "made", [kept])
    build(database)
    campaigns = {d["candidate_id"]: d["campaigns"] for d in database["candidates"].find()}
    assert campaigns == {kept: ["made"], dropped: []}
    listed = find_orphans(database)
    assert listed.counts == {
        "candidates": 1,
        "hops": 5,
        "transport": 1,
        "thermodynamics": 1,
        "structures": 1,
        "optimade": 2,
    }
    assert listed.first["candidates"] == [dropped]
    assert built_hashes(database).keys() == {kept, dropped}
    runner = CliRunner()
    assert runner.invoke(build_command, ["--remove-orphans"], input="n\n").exit_code == 1
    assert built_hashes(database).keys() == {kept, dropped}
    done = json.loads(runner.invoke(build_command, ["--remove-orphans", "--yes", "--json"]).output)
    assert done["removed"] and done["documents"]["hops"] == 5
    assert built_hashes(database).keys() == {kept}
    assert find_orphans(database).total == 0
    consistent(database)


def test_without_its_campaign_everything_is_an_orphan(database: Database, made: dict[str, Any]) -> None:
    build(database)
    database["campaigns"].delete_one({"name": "made"})
    database["plans"].delete_many({"campaign": "made"})
    assert build(database) == 0
    assert database["candidates"].count_documents({"campaigns": []}) == 2
    assert find_orphans(database).counts["references"] == len(made["references"])
    find_orphans(database, remove=True)
    for name in (*COLLECTIONS, "references"):
        assert database[name].count_documents({}) == 0
    # Its outputs are there: submitted again, it is built again.
    assert database["outputs"].count_documents({}) > 0


# maggma's way, and the command


def test_the_builder_goes_through_maggma_without_secrets(database: Database) -> None:
    made = CandidateBuilder(only=["hm-1"], everything=True)
    made.database = database
    text = json.dumps(made.as_dict())
    assert "mongodb" not in text and "password" not in text and database.uri not in text
    again = MontyDecoder().process_decoded(json.loads(text))
    assert (again.only, again.everything, again.chunk_size) == (["hm-1"], True, made.chunk_size)


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("b.json", '{"@module": "hemiec.store.building.builder", "@class": "CandidateBuilder"}', ["-n", "2"]),
        ("b.py", "from hemiec.store.building.builder import CandidateBuilder as B\n__builders__ = [B()]\n", []),
    ],
    ids=["json, two processes", "python"],
)
def test_mrun_builds_the_store_of_the_settings(
    database: Database, made: dict[str, Any], tmp_path: Path, name: str, text: str, options: list[str]
) -> None:
    (tmp_path / name).write_text(text)
    command = [str(Path(sys.executable).parent / "mrun"), "--no_bars", *options, name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert built_hashes(database).keys() == set(ids(made))
    consistent(database)
    assert database["builds"].count_documents({}) == 1
    assert build(database) == 0


def test_the_command_reports_what_it_did(database: Database, made: dict[str, Any]) -> None:
    runner = CliRunner()
    report = json.loads(runner.invoke(build_command, ["--json"]).output)
    assert (report["built"], report["up_to_date"], report["failed"]) == (2, 0, 0) and report["seconds"] > 0
    assert runner.invoke(build_command).output == "0 candidates built, 2 were up to date.\n"
    basin = job(made["candidates"][0], "basin")["uuid"]
    database["outputs"].update_one(
        {"uuid": basin}, {"$unset": {"output.energy_per_atom": ""}, "$set": {"completed_at": "2026-03-01"}}
    )
    failed = runner.invoke(build_command)
    assert failed.exit_code == 1 and "could not be built" in failed.stderr
    assert runner.invoke(build_command).exit_code == 0
    assert runner.invoke(build_command, ["--all"]).exit_code == 1
