"""The sample database: real, small, and loaded into an empty store only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from stored_candidates import insert_candidates

from hemiec.cli.main import cli
from hemiec.errors import InputError
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database
from hemiec.store.sample import load_sample, sample_archive, sample_manifest

CAMPAIGNS = ("sample-flagship", "sample-lithium", "sample-oxygen")
FLOWS = Path(__file__).parents[1] / "flows"


def test_the_archive_is_small() -> None:
    assert sample_archive().stat().st_size < 5_000_000


def test_it_holds_real_candidates_with_all_that_leaderboards_need(database: Database) -> None:
    done = load_sample(database)
    found = list(read_candidates(database, {}))
    assert len(found) == len(done.new) >= 24
    assert {name for doc in found for name in doc.campaigns} == set(CAMPAIGNS)
    assert sum("Li" in doc.elements for doc in found) >= 6
    assert sum(doc.n_species["A"] + doc.n_species["B"] >= 5 for doc in found) >= 20
    assert len({tuple(sorted(doc.candidate.sites["B"])) for doc in found}) >= 6
    for name in PROPERTIES:
        quantities = [getattr(doc, name) for doc in found]
        assert all(q.value is not None or q.reason for q in quantities)
        assert all(q.job_uuids and q.protocol_hash for q in quantities if q.value is not None)
    barriers = [doc.migration_barrier for doc in found if doc.migration_barrier.value is not None]
    assert len(barriers) >= 24
    assert all(q.interval is not None for q in barriers)


def test_a_second_time_nothing_is_new(database: Database) -> None:
    first = load_sample(database)
    second = load_sample(database)
    assert second.new == [] and sorted(second.identical) == sorted(first.new)


def test_a_store_in_use_is_left_alone(database: Database) -> None:
    insert_candidates(database, 2)
    before = list(database["candidates"].find())
    with pytest.raises(InputError, match="empty store only"):
        load_sample(database)
    assert list(database["candidates"].find()) == before


def test_its_campaigns_are_those_of_the_files(database: Database) -> None:
    load_sample(database)
    for name in CAMPAIGNS:
        spec = yaml.safe_load((FLOWS / f"{name}.yaml").read_text(encoding="utf-8"))
        assert database["candidates"].count_documents({"campaigns": name}) >= 6, spec["description"]


def test_the_command_says_what_to_do_next(data_dir: Path, database: Database) -> None:
    ran = CliRunner().invoke(cli, ["demo-data"])
    assert ran.exit_code == 0, ran.output
    assert "next: hemiec rank" in ran.stdout
    again = json.loads(CliRunner().invoke(cli, ["demo-data", "--json"]).stdout)
    assert again["new"] == [] and again["manifest"]["content_hash"] == sample_manifest().content_hash


def test_a_damaged_archive_is_refused(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "perovskites.zip"
    shutil.copy(sample_archive(), damaged)
    damaged.write_bytes(damaged.read_bytes()[:-5000])
    monkeypatch.setattr("hemiec.store.sample.sample_archive", lambda: damaged)
    with pytest.raises(InputError, match=r"perovskites\.zip"):
        load_sample(database)
    assert database["candidates"].count_documents({}) == 0
