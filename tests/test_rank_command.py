"""`hemiec rank`: on a store and on a snapshot, every option, every file, and what is said of wrong ones."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from stored_candidates import CAMPAIGN, OTHER_CAMPAIGN, insert_candidates

from hemiec.cli.main import cli
from hemiec.errors import InputError, StoreError
from hemiec.ranking.definition import DEFAULT, shipped
from hemiec.ranking.leaderboard import rank
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.settings import Settings
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database, open_database
from hemiec.store.leaderboards import candidates_to_rank, list_leaderboards, read_leaderboard
from hemiec.store.mongod import EmbeddedMongod

pytestmark = pytest.mark.store
N = 12


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a store of synthetic candidates; in a third of them lithium moves, in the others oxygen."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("rank"))
    database = open_database(settings)
    try:
        ids = insert_candidates(database, N)
        for k, key in enumerate(ids):
            database["candidates"].update_one({"candidate_id": key}, {"$set": {"mobile": "O" if k % 3 else "Li"}})
        yield settings
    finally:
        database.close()
        EmbeddedMongod(settings).down()


@pytest.fixture
def store(kept: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """That store; commands find it too."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEMIEC_{name.upper()}", raising=False)
    monkeypatch.setenv("HEMIEC_DATA_DIR", str(kept.data_dir))
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(kept.data_dir / "no-such-settings.yaml"))
    database = open_database(kept)
    yield database
    database.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["rank", *map(str, arguments)], catch_exceptions=False)


def board(*arguments: object) -> LeaderboardDoc:
    return LeaderboardDoc.model_validate_json(run(*arguments, "--json").stdout)


def ranks(doc: LeaderboardDoc) -> dict[str, int | None]:
    return {entry.candidate_id: entry.rank for entry in doc.entries}


def test_what_was_asked_for_is_the_default(store: Database) -> None:
    found = board()
    expected = rank(list(read_candidates(store)), DEFAULT, created_at=found.created_at)
    assert found == expected
    assert len(found.entries) == N
    assert [entry.uncertainty is None for entry in found.entries] == [entry.rank is None for entry in found.entries]
    assert [w.property for w in found.sensitivity] == [c.property for c in DEFAULT.criteria]


def test_shipped_definitions_go_by_name_and_files_by_path(store: Database, tmp_path: Path) -> None:
    named = board("cathode-miec")
    assert (named.name, named.criteria) == ("cathode-miec", shipped("cathode-miec").criteria)
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{name: mine, title: Mine, where: has(Co), draws: 100, top: 2, seed: 5,\n"
        " criteria: [{property: band_gap, direction: minimise, best: 0, worst: 3}]}"
    )
    own = board(path)
    assert (own.name, own.where, own.draws, own.top, own.seed) == ("mine", "has(Co)", 100, 2, 5)
    assert 0 < len(own.entries) == store["candidates"].count_documents({"elements": "Co"}) < N
    # An option counts more than the file.
    over = board(path, "--draws", 200, "--top", 3, "--seed", 6)
    assert (over.draws, over.top, over.seed) == (200, 3, 6)


def test_candidates_are_chosen_by_campaign_and_condition(store: Database) -> None:
    third = {d["candidate_id"] for d in store["candidates"].find({"campaigns": OTHER_CAMPAIGN})}
    assert ranks(board("--campaign", OTHER_CAMPAIGN)).keys() == third
    lithium = {d["candidate_id"] for d in store["candidates"].find({"mobile": "Li"})}
    done = run("--where", 'mobile = "Li"', "--json")
    assert ranks(LeaderboardDoc.model_validate_json(done.stdout)).keys() == lithium
    assert f'candidates that fulfil mobile = "Li": {len(lithium)}' in done.stderr
    assert {entry.mobile for entry in board("oxygen-electrode").entries} == {"O"}
    both = board("oxygen-electrode", "--where", "has(La) or has(Pr)", "--campaign", CAMPAIGN)
    assert both.where == '(mobile = "O") and (has(La) or has(Pr))'
    assert both.campaign == CAMPAIGN


def test_weights_change_the_order_as_a_file_would(store: Database) -> None:
    only_gap = board("--weights", "migration_barrier=0,formation_energy_per_atom=0")
    values = [entry.band_gap.value for entry in only_gap.entries if entry.rank is not None]
    assert values == sorted(values, key=lambda gap: min(max(gap or 0, 0), 3))
    heavy = board("--weights", "band_gap=1e6")
    scores = {e.candidate_id: e.score for e in heavy.entries if e.score is not None}
    alone = {e.candidate_id: e.score for e in only_gap.entries if e.score is not None}
    assert scores == pytest.approx(alone, abs=1e-5)


def test_a_candidate_that_cannot_be_read_is_named_and_left_out_of_the_saved_list(store: Database) -> None:
    damaged = store["candidates"].find_one({}, sort=[("candidate_id", 1)])
    assert damaged is not None
    broken = {"$set": {"nelements": "many"}}
    store.client[store.name].command(
        "update", "candidates", updates=[{"q": {"_id": damaged["_id"]}, "u": broken}], bypassDocumentValidation=True
    )
    try:
        done = run("--save", "--json")
        assert done.exit_code == 0
        assert "1 candidates were left out" in done.stderr
        saved = LeaderboardDoc.model_validate_json(done.stdout)
        assert len(saved.entries) == N - 1
        assert damaged["candidate_id"] not in ranks(saved)
    finally:
        store["candidates"].replace_one({"_id": damaged["_id"]}, damaged)


def test_a_saved_leaderboard_is_that_of_its_snapshot(store: Database) -> None:
    done = run("--save", "--campaign", OTHER_CAMPAIGN, "--json")
    saved = LeaderboardDoc.model_validate_json(done.stdout)
    assert saved.snapshot_id is not None
    assert f"saved: {saved.leaderboard_id} from {saved.snapshot_id}" in done.stderr
    assert saved.leaderboard_id in {header.leaderboard_id for header in list_leaderboards(store)}
    kept = read_leaderboard(store, saved.leaderboard_id)
    assert (kept.snapshot_id, kept.sensitivity, ranks(kept)) == (saved.snapshot_id, saved.sensitivity, ranks(saved))
    assert [entry.uncertainty for entry in kept.entries] == [entry.uncertainty for entry in saved.entries]
    assert [entry.doubts for entry in kept.entries] == [entry.doubts for entry in saved.entries]
    # Saved again it is the same, under the same names.
    again = LeaderboardDoc.model_validate_json(run("--save", "--campaign", OTHER_CAMPAIGN, "--json").stdout)
    assert (again.leaderboard_id, again.snapshot_id) == (saved.leaderboard_id, saved.snapshot_id)


def test_a_snapshot_is_ranked_without_the_store(
    store: Database, kept: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = LeaderboardDoc.model_validate_json(run("--save", "--json").stdout)
    assert saved.snapshot_id is not None
    monkeypatch.setenv("HEMIEC_MONGO_URI", "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=100")
    for name in (saved.snapshot_id, kept.data_dir / "snapshots" / saved.snapshot_id):
        found = board("--snapshot", name)
        assert found.snapshot_id == saved.snapshot_id
        assert [(e.candidate_id, e.rank, e.score, e.uncertainty) for e in found.entries] == [
            (e.candidate_id, e.rank, e.score, e.uncertainty) for e in saved.entries
        ]
    lithium = board("--snapshot", saved.snapshot_id, "--where", 'mobile = "Li"')
    assert {entry.mobile for entry in lithium.entries} == {"Li"}
    with pytest.raises(StoreError):
        run()


def test_a_snapshot_of_other_candidates_is_not_saved_with_the_ranks(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hemiec.store import leaderboards

    def changed(*arguments: object, **named: object) -> object:
        docs = candidates_to_rank(*arguments, **named)  # type: ignore[arg-type]
        return [docs[0].model_copy(update={"input_hash": "of an older build"}), *docs[1:]]

    before = len(list_leaderboards(store))
    monkeypatch.setattr(leaderboards, "candidates_to_rank", changed)
    with pytest.raises(StoreError, match="the candidates changed while the snapshot was taken"):
        run("--save", "--where", "has(Co)")
    assert len(list_leaderboards(store)) == before


def test_every_file_is_written(store: Database, tmp_path: Path) -> None:
    folder = tmp_path / "new folder"
    names = {kind: folder / f"board.{kind}" for kind in ("parquet", "latex", "png", "html")}
    done = run(*(word for kind, path in names.items() for word in (f"--{kind}", path)), "--csv")
    assert {path.name for path in folder.iterdir()} == {path.name for path in names.values()}
    assert all(str(path) in done.stderr for path in names.values())
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    table = pq.read_table(names["parquet"])
    assert len(rows) == table.num_rows == N
    assert table["candidate_id"].to_pylist() == [row["candidate_id"] for row in rows]
    assert names["png"].read_bytes().startswith(b"\x89PNG")
    assert "tabular" in names["latex"].read_text()
    assert DEFAULT.title in names["html"].read_text()


def test_the_table_shows_how_sure_a_rank_is(store: Database) -> None:
    done = run("--top", 3)
    first = board("--top", 3).entries[0]
    assert first.uncertainty is not None
    low, high = first.uncertainty.rank_interval
    assert f"{low:g}" in done.stdout and f"{high:g}" in done.stdout
    assert "90 % interval" in done.stdout
    assert f"{100 * first.uncertainty.probability_top:.0f} %" in done.stdout
    # Where everybody is in the top, that says nothing.
    assert "are in the top" not in done.stderr
    assert "`hemiec rank --top 1` says which may be the best" in run("--top", 100).stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["cathode-mice"], "did you mean 'cathode-miec'"),
        (["none.yaml"], "none.yaml: no such leaderboard definition"),
        (["--where", "band_gapp < 1"], "query: unknown field 'band_gapp'"),
        (["--where", "band_gap < -5"], "no candidate fulfils 'band_gap < -5' of as-asked"),
        (["--where", "has(Co) or ("], "query: "),
        (["--weights", "energy_above_hull=1"], "'energy_above_hull' is no criterion of as-asked"),
        (["--weights", "band_gap"], "weights: cannot read 'band_gap'"),
        (["--campaign", "synthetik"], "no campaign 'synthetik'"),
        (["--snapshot", "snap-0000000000000000"], "no snapshot 'snap-0000000000000000'"),
        (["--snapshot", "x", "--save"], "a snapshot is saved already"),
        (["--snapshot", "x", "--campaign", CAMPAIGN], "a snapshot is saved already"),
        (["--campaign", CAMPAIGN[:-1]], f"did you mean {CAMPAIGN!r}?"),
        (["--html", "a.html", "--png", "./a.html"], "--html and --png name the same file"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
    ],
)
def test_wrong_input_is_one_clear_error(store: Database, arguments: list[str], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        run(*arguments)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [["--draws", 10], ["--top", 0], ["--seed", -1], ["--html", "."]])
def test_wrong_options_are_refused_before_anything_is_read(arguments: list[object]) -> None:
    assert run(*arguments).exit_code == 2


def test_file_that_cannot_be_written(store: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written"):
        run("--latex", tmp_path / "file" / "board.tex")


def test_condition_of_a_file_is_named_with_it(store: Database, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    criteria = [{"property": "band_gap", "direction": "minimise", "best": 0, "worst": 3}]
    path.write_text(json.dumps({"name": "mine", "title": "Mine", "where": "hsa(Co)", "criteria": criteria}))
    with pytest.raises(InputError, match="mine: where: query: unknown function 'hsa'"):
        run(path)


def test_a_store_of_which_nothing_can_be_read_says_why(store: Database) -> None:
    store["candidates"].update_many({}, {"$set": {"results": [{"plan_id": "torn"}]}}, bypass_document_validation=True)
    n = store["candidates"].count_documents({})
    with pytest.raises(InputError, match=rf"none of the {n} candidates can be read: candidate hm-.*hemiec build"):
        run()


def test_empty_store_says_what_to_do(database: Database) -> None:
    with pytest.raises(InputError, match=r"no candidates in the store\. Mend: run a campaign"):
        candidates_to_rank(database, DEFAULT)
    with pytest.raises(InputError, match="no candidates in the store"):
        candidates_to_rank(database, shipped("oxygen-electrode"))
