"""Pages, files and the Python way to what a query finds; and that every search uses an index."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pymatgen.core import Structure
from pymongo.errors import ExecutionTimeout, InvalidOperation
from stored_candidates import insert_candidates

from hemiec.cli.main import cli
from hemiec.errors import InputError, QueryError, StoreError
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.stored import HopDoc, StructureDoc
from hemiec.settings import Settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.queries.explain import explain_page
from hemiec.store.queries.fields import fields_of
from hemiec.store.queries.language import compile
from hemiec.store.queries.order import in_time, sort_field, sort_fields
from hemiec.store.queries.page import COUNT_CAP, read_page
from hemiec.store.queries.plan import order_index, paths_asked, within_index
from hemiec.store.queries.results import Results

pytestmark = pytest.mark.store
N = 120


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a store of synthetic candidates, hops and structures: every tenth without numbers, many alike."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("results"))
    database = open_database(settings)
    try:
        ids = insert_candidates(database, N)
        with_numbers = {"candidate_id": {"$in": ids[:20]}, "migration_barrier.value": {"$type": "number"}}
        database["candidates"].update_many(with_numbers, {"$set": {"migration_barrier.value": 0.5}})
        yield settings
    finally:
        database.close()
        EmbeddedMongod(settings).down()


@pytest.fixture
def store(kept: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """That store, which is only read; commands find it too."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEMIEC_{name.upper()}", raising=False)
    monkeypatch.setenv("HEMIEC_DATA_DIR", str(kept.data_dir))
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(kept.data_dir / "none.yaml"))
    database = open_database(kept)
    yield database
    database.close()


def pages(database: Database, **options: Any) -> list[dict[str, Any]]:
    """Return the documents of all pages."""
    found: list[dict[str, Any]] = []
    page = read_page(database, **options)
    found += page.documents
    while page.next is not None:
        page = read_page(database, after=page.next, **options)
        assert page.documents
        found += page.documents
    return found


# --- pages


@pytest.mark.parametrize("descending", [False, True])
def test_pages_hold_everything_once_in_order(store: Database, descending: bool) -> None:
    for sort in sort_fields("candidates"):
        path = fields_of()[sort].path
        first, _, second = path.partition(".")
        found = pages(store, sort=sort, descending=descending, limit=7)
        ids = [document["candidate_id"] for document in found]
        assert len(ids) == len(set(ids)) == N
        values = [document[first][second] if second else document[first] for document in found]
        known = [(value, key) for value, key in zip(values, ids, strict=True) if value is not None]
        # What has no value comes last, whichever way is sorted; equal values are in the order of the key.
        assert known == sorted(known, reverse=descending)
        assert values[len(known) :] == [None] * (N - len(known))
        missing = ids[len(known) :]
        assert missing == sorted(missing, reverse=descending)


def test_pages_stay_right_while_documents_come_and_go(database: Database) -> None:
    store = database
    insert_candidates(store, 40, structures=False)
    options: dict[str, Any] = {"sort": "candidate_id", "limit": 10, "fields": ["label"]}
    first = read_page(store, **options)
    seen = {document["candidate_id"] for document in first.documents}
    store["candidates"].delete_one({"candidate_id": min(seen)})
    store["candidates"].delete_one({"candidate_id": max(seen)})
    second = read_page(store, after=first.next, **options)
    rest = sorted(store["candidates"].distinct("candidate_id", {"candidate_id": {"$gt": max(seen)}}))
    assert [document["candidate_id"] for document in second.documents] == rest[:10]


def test_counts(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    page = read_page(store, limit=10)
    assert (page.count, page.count_capped, len(page.documents)) == (N, False, 10)
    every = read_page(store, limit=1000)
    assert (every.count, every.count_capped, every.next) == (N, False, None)
    assert read_page(store, where="band_gap < -1").count == 0
    assert COUNT_CAP == 10_001
    monkeypatch.setattr("hemiec.store.queries.page.COUNT_CAP", 50)
    page = read_page(store, limit=10)
    assert (page.count, page.count_capped) == (50, True)
    page = read_page(store, limit=10, counted=False)
    assert (page.count, page.count_capped) == (10, True)


def test_chosen_fields(store: Database) -> None:
    page = read_page(store, limit=3, fields=["label", "gap.std", "elements", "n_species.A"])
    for document in page.documents:
        assert list(document) == ["candidate_id", "label", "gap.std", "elements", "n_species.A"]
        assert document["n_species.A"] == 5
        assert "O" in document["elements"]
    hops = read_page(store, collection="hops", where="has(La) and forward_barrier < 1", sort="reverse_barrier", limit=5)
    assert hops.documents
    assert all("La" in hop["elements"] and hop["forward_barrier"] < 1 for hop in hops.documents)
    cells = read_page(store, collection="structures", where="nsites <= 25 and has(Co)", fields=["nsites"], limit=5)
    assert cells.documents and all(cell["nsites"] <= 25 for cell in cells.documents)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit has to be 1 to 1000"),
        ({"limit": 1001}, "limit has to be 1 to 1000"),
        ({"sort": "formula"}, "are not sorted by formula"),
        ({"sort": "bandgap"}, "did you mean 'band_gap'"),
        ({"sort": "_id"}, "unknown field '_id'"),
        ({"fields": ["label", "$where"]}, "unknown field"),
        ({"where": "bandgap < 1"}, "did you mean 'band_gap'"),
        ({"collection": "outputs"}, "collection 'outputs' cannot be queried"),
        ({"after": "xx"}, "cursor cannot be read"),
        ({"after": "é"}, "cursor cannot be read"),
        ({"after": "W" * 5000}, "cursor cannot be read"),
    ],
)
def test_wrong_requests(store: Database, options: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        read_page(store, **options)


def test_a_cursor_that_was_changed_is_refused(store: Database) -> None:
    cursor = read_page(store, limit=5).next
    assert cursor is not None
    for options in ({"descending": True}, {"sort": "band_gap"}, {"where": "band_gap < 1"}, {"collection": "hops"}):
        with pytest.raises(QueryError, match="belongs to another query"):
            read_page(store, after=cursor, **options)  # type: ignore[arg-type]
    mark, value, key = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    for content in (
        [mark, {"$gt": 0}, key],
        [mark, value, {"$ne": ""}],
        [mark, True, key],
        [mark],
        {"a": 1},
        [1, 2, 3],
    ):
        forged = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        with pytest.raises(QueryError, match="cursor cannot be read"):
            read_page(store, after=forged)


def test_what_takes_too_long_is_one_error_with_a_mend() -> None:
    with pytest.raises(StoreError, match=r"within 0.5 s.*Mend: add a condition"), in_time(500):
        raise ExecutionTimeout("operation exceeded time limit", 50)


# --- every search uses an index, or is bounded

FILTERED = [
    "",
    "band_gap < 1.2",
    "has(Co)",
    "not has(Co)",
    "has(Co, B) and n_species(A) >= 5",
    "fraction(A, La) >= 0.2",
    "barrier + barrier.std < 0.7",
    "barrier + gap < 1 or radius_mean_A < 1.2",
    "radius_variance_B < 0.01 and not charge_balanced",
    'label = "x"',
    'formula = "x"',
    'campaign = "synthetic"',
    "missing(barrier)",
]


@pytest.mark.parametrize("where", FILTERED)
def test_no_page_reads_the_whole_collection_or_sorts_it(
    store: Database, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemiec.store.queries.plan.FEW", 20)
    for sort, descending in product(sort_fields(), (False, True)):
        for step in explain_page(store, where=where, sort=sort, descending=descending, limit=10):
            assert step.indexes, (where, sort)
            # What is sorted in memory is the little that the index of a condition has found.
            assert not step.sorted_in_memory or step.documents <= 20


def test_whatever_index_is_chosen_the_same_is_found(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = insert_candidates(database, 80, structures=False)
    # As in a large store, where ids before hm-004 are the sample by which an index is chosen.
    for key in ids[:40]:
        database["candidates"].update_one({"candidate_id": key}, {"$set": {"candidate_id": f"hm-000{key[6:]}"}})
    wheres = [
        *FILTERED,
        "has(Co) and not has(Fe) and gap < 1.5",
        "not has(La) or has(Sr) and gap > 1",
        "gap < 0.3 and has(C)",
    ]
    for many, few in ((10, 5), (10, 1000), (10**6, 5)):
        monkeypatch.setattr("hemiec.store.queries.plan._MANY", many)
        monkeypatch.setattr("hemiec.store.queries.plan.FEW", few)
        for where in wheres:
            expected = set(database["candidates"].distinct("candidate_id", compile(where)))
            for sort in ("migration_barrier", "tolerance_factor", "candidate_id"):
                found = pages(database, where=where, sort=sort, limit=30, fields=["label"])
                assert len(found) == len(expected)
                assert {document["candidate_id"] for document in found} == expected


@pytest.mark.parametrize("collection", ["hops", "structures"])
def test_no_page_of_other_collections_does(store: Database, collection: str) -> None:
    for where in ("", "has(Co)", 'label = "x"', 'protocol != "x"'):
        for sort in sort_fields(collection):
            for step in explain_page(store, where=where, collection=collection, sort=sort, limit=10):
                assert step.indexes


# --- from Python


def test_documents_tables_and_structures(store: Database) -> None:
    results = Results(store)
    found = results.query("has(Co) and band_gap < 1.5", sort="band_gap")
    documents = list(found)
    assert documents and all(isinstance(document, CandidateDoc) for document in documents)
    gaps = [document.band_gap.value for document in documents]
    assert gaps == sorted(gaps) and max(gaps) < 1.5
    assert found.count() == len(documents)
    table = found.to_pandas()
    assert list(table["candidate_id"]) == [document.candidate_id for document in documents]
    assert table.attrs["units"]["band_gap"] == "eV"
    assert table["band_gap"].dtype == np.float64
    relaxed, ideal = list(found.to_structures()), list(found.to_structures("ideal"))
    assert all(isinstance(structure, Structure) for structure in relaxed)
    assert [s.properties["candidate_id"] for s in relaxed] == [document.candidate_id for document in documents]
    assert relaxed[0] != ideal[0]
    assert relaxed[0].properties["energy_per_atom"] is not None
    with pytest.raises(QueryError, match="'relaxed' or 'ideal'"):
        list(found.to_structures("best"))  # type: ignore[arg-type]
    rows = list(results.query("has(Co)", fields=["gap", "label"], limit=3))
    assert len(rows) == 3 and list(rows[0]) == ["candidate_id", "gap", "label"]
    assert len(results.query().to_pandas()) == results.query().count() == N
    assert results.query("missing(barrier)", limit=2).to_pandas()["migration_barrier"].isna().all()


def test_other_collections_and_single_documents(store: Database) -> None:
    results = Results(store)
    hops = list(results.hops("forward_barrier < 0.6 and has(La)", sort="forward_barrier"))
    assert hops and all(isinstance(hop, HopDoc) for hop in hops)
    with pytest.raises(QueryError, match="hops have no structures"):
        list(results.hops().to_structures())
    cells = list(results.structures("has(Fe)", limit=4))
    assert len(cells) == 4 and all(isinstance(cell, StructureDoc) for cell in cells)
    whole = results.candidate(hops[0].candidate_id)
    assert any(hop.forward_barrier == hops[0].forward_barrier for hop in whole.results[0].hops)
    assert [reference.phase for reference in results.references()] == ["BaO", "La2O3", "SrO"]
    assert results.leaderboard().entries[0].rank == 1
    with pytest.raises(InputError, match="no candidate 'hm-0'"):
        results.candidate("hm-0")
    for wrong in ({"sort": "formula"}, {"limit": 0}, {"fields": ["nothing"]}, {"collection": "jobs"}):
        with pytest.raises(QueryError):
            results.query(**wrong)  # type: ignore[arg-type]


def test_the_connection_is_opened_and_closed(kept: Settings, store: Database) -> None:
    with Results(kept) as results:
        assert results.query("has(Co)").count()
        client = results.database.client
    with pytest.raises(InvalidOperation, match="after close"):
        client.admin.command("ping")
    with Results(store) as results:
        assert results.references()
    assert store.client.admin.command("ping")  # it was not opened there


# --- on the command line


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["query", *arguments], catch_exceptions=False)


def test_json_keeps_its_keys(store: Database) -> None:
    expected = list(pages(store, where="band_gap < 1", sort="band_gap"))
    for more in ([], ["--limit", "1000"]):
        documents = json.loads(run("band_gap < 1", "--sort", "band_gap", "--json", *more).stdout)
        assert [document["candidate_id"] for document in documents] == [d["candidate_id"] for d in expected]
        assert list(documents[0]) == ["candidate_id", "formula", "label", *PROPERTIES]
        assert documents[0]["band_gap"] == expected[0]["band_gap"]
    assert json.loads(run("band_gap < -1", "--json").stdout) == []
    rows = json.loads(run("has(Co)", "--fields", "label,gap", "--json").stdout)
    assert list(rows[0]) == ["candidate_id", "label", "gap"]


def test_pages_on_the_command_line_follow_each_other(store: Database) -> None:
    first = run("--sort", "candidate_id", "--limit", "50", "--fields", "label", "--json")
    cursor = first.stderr.split("--after ")[1].strip()
    second = run("--sort", "candidate_id", "--limit", "100", "--fields", "label", "--json", "--after", cursor)
    ids = [row["candidate_id"] for page in (first, second) for row in json.loads(page.stdout)]
    assert ids == sorted(ids) and len(ids) == N
    assert second.stderr == ""
    assert f"{N} candidates" in run("--limit", "3").stdout


def test_csv_is_safe_in_a_spreadsheet(database: Database) -> None:
    store = database
    insert_candidates(store, 1, structures=False)
    key = store["candidates"].find_one({})["candidate_id"]  # type: ignore[index]
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", 'a,"b"'):
        store["candidates"].update_one({"candidate_id": key}, {"$set": {"candidate.label": text}})
        lines = run(f'candidate_id = "{key}"', "--fields", "label,formation_energy_per_atom", "--csv").stdout
        row = next(csv.DictReader(io.StringIO(lines)))
        assert row["label"] == (text if text.startswith("a") else f"'{text}")
        assert float(row["formation_energy_per_atom"]) < 0  # a number is no formula


def test_parquet_has_units_and_comes_whole_or_not_at_all(store: Database, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "found.parquet"
    assert run("has(Co)", "--parquet", str(path)).exit_code == 0
    table = pq.read_table(path)
    assert table.num_rows == Results(store).query("has(Co)").count()
    assert set(table.schema.names) == set(fields_of())
    assert table.schema.field("band_gap").metadata[b"unit"] == b"eV"
    assert table.schema.metadata[b"hemiec_query"] == b"has(Co)"
    before = path.read_bytes()
    for arguments in (["bandgap < 1"], ["--fields", "nothing"]):
        with pytest.raises(QueryError):
            run(*arguments, "--parquet", str(path))
    with pytest.raises(InputError, match="cannot be written"):
        run("--parquet", str(tmp_path / "none" / "x.parquet"))
    assert path.read_bytes() == before and list(tmp_path.glob(".*")) == [] and list(tmp_path.glob("*.part")) == []


def test_fields_and_plans_are_told(store: Database) -> None:
    listed = {entry["name"]: entry for entry in json.loads(run("--list-fields", "--json").stdout)}
    assert listed["band_gap"]["unit"] == "eV" and listed["band_gap"]["sortable"]
    assert "eV/atom" in run("--list-fields").stdout
    assert "index " in run("band_gap < 1", "--explain").stdout
    with pytest.raises(InputError, match="exclude each other"):
        run("--json", "--csv")


@pytest.mark.parametrize(
    ("expression", "small"),
    [
        ("", True),
        ("band_gap < 1 and has(Co) and not has(Pb)", True),
        ("barrier + 2*gap < 1.5", True),
        ("tolerance_factor < 1", False),
        ("barrier + barrier.std < 0.5", False),
        ("band_gap < 1 and (has(Co) or band_gap.max < 2)", False),
    ],
)
def test_the_smallest_index_of_an_order_that_holds_what_is_asked_for(expression: str, small: bool) -> None:
    asked = set(paths_asked(within_index(compile(expression))))
    index = order_index("candidates", sort_field("migration_barrier"), asked)
    assert index.options["name"] == f"{'ranked_by' if small else 'by'}_migration_barrier.value"
