"""The table of all candidates that the server holds: what is in it, how it is kept, renewed and shared."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from stored_candidates import NOW, insert_candidates, synthetic_candidates
from web_client import Client, Served, served_store

from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.leaderboard import rank
from hemiec.ranking.order import rank_table
from hemiec.ranking.table import table_of
from hemiec.schemas.definition import Criterion, LeaderboardDefinition, Ties
from hemiec.schemas.documents import PROPERTIES
from hemiec.settings import Settings
from hemiec.store.candidates import documents_of, read_candidates
from hemiec.store.database import Database
from hemiec.web.app import create_app
from hemiec.web.problems import Problem
from hemiec.web.ranking.board import Board, Filter
from hemiec.web.ranking.kept import KeptTable
from hemiec.web.ranking.latest import Latest
from hemiec.web.ranking.live import Live, mark_of
from hemiec.web.ranking.standing import best_standing, contenders
from hemiec.web.reading import Reading

pytestmark = pytest.mark.store
N = 60


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_store(tmp_path_factory.mktemp("table"), N) as served:
        yield served


@pytest.fixture
def live(served: Served) -> Iterator[Live]:
    reading = Reading(served.settings)
    live = Live(reading)
    yield live
    live.stop()
    reading.close()


def ready(live: Live) -> Board:
    """Return the table as soon as it is there."""
    for _ in range(600):
        try:
            return live.board()
        except Problem as problem:
            assert problem.status == 503 and problem.headers["Retry-After"]
            time.sleep(0.05)
    raise AssertionError(live._error or "the table was never read")


def renewed(live: Live, old: Board) -> Board:
    """Return the table that takes the place of an old one."""
    for _ in range(600):
        board = live.board()
        if board is not old:
            return board
        time.sleep(0.05)
    raise AssertionError("the table was never renewed")


def test_the_table_holds_what_the_documents_say(live: Live, served: Served) -> None:
    board = ready(live)
    docs = list(read_candidates(served.database, whole=False))
    expected = table_of(docs)
    assert board.table.table.candidate_id.tolist() == expected.candidate_id.tolist()
    assert list(board.table.table.label) == list(expected.label)
    rows = board.ranked(DEFAULT, {}, Filter()).rows(np.arange(N))
    for name in PROPERTIES:
        ours, theirs = board.table.table.estimates[name], expected.estimates[name]
        assert ours.unit == theirs.unit
        for part in ("value", "low", "high"):
            np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))
        for row, doc in zip(rows, docs, strict=True):
            found, quantity = row["values"][name], getattr(doc, name)
            assert (found["value"], found["n"], found["method"]) == (quantity.value, quantity.n, quantity.method)
            assert found["reason"] == quantity.reason
            assert found["corrected"] == (quantity.calibration is not None)
    assert [row["formula"] for row in rows] == [doc.candidate.formula for doc in docs]


def test_filters_find_what_the_documents_fulfil(live: Live, served: Served) -> None:
    board = ready(live)
    docs = list(read_candidates(served.database, whole=False))

    def found(asked: Filter) -> list[bool]:
        return board.choice(asked).tolist()

    assert found(Filter()) == [True] * N
    assert found(Filter(elements=("Co", "La"), without=("Ba",))) == [
        {"Co", "La"} <= set(doc.elements) and "Ba" not in doc.elements for doc in docs
    ]
    assert found(Filter(campaign="synthetic-2")) == ["synthetic-2" in doc.campaigns for doc in docs]
    assert found(Filter(campaign="synthetic")) == [True] * N
    both = ("band_gap < 1.2", "has(Fe) or missing(band_gap)")
    value = [doc.band_gap.value for doc in docs]
    assert found(Filter(where=both)) == [
        gap is not None and gap < 1.2 and "Fe" in doc.elements for gap, doc in zip(value, docs, strict=True)
    ]
    counts = board.element_counts(board.choice(Filter(elements=("Fe",))))
    assert counts["Fe"] == sum("Fe" in doc.elements for doc in docs) == counts["O"]
    assert all(counts.values())


def test_the_next_server_takes_the_kept_table_and_reads_nothing(
    live: Live, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ready(live)
    live.stop()
    monkeypatch.setattr("hemiec.web.ranking.live.read_batches", None)
    with_reading = Reading(served.settings)
    again = Live(with_reading)
    try:
        board = ready(again)
        assert board.table.read_at == first.table.read_at
        assert len(board.table) == N
    finally:
        again.stop()
        with_reading.close()


def test_a_change_of_the_store_renews_it(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemiec.web.ranking.live.LOOK_AGAIN_S", 0.1)
    monkeypatch.setattr("hemiec.web.ranking.live.REST", 0.0)
    insert_candidates(database, 5)
    live = Live(Reading(settings, database))
    try:
        old = ready(live)
        doc = list(synthetic_candidates(6))[-1]
        database["candidates"].insert_many(documents_of(doc)["candidates"])
        board = renewed(live, old)
        assert len(board.table) == 6 and len(old.table) == 5
        assert board.table.row_of(doc.candidate_id) is not None
        # The old one can still be asked: requests under way hold it.
        assert old.choice(Filter(where=("known(tolerance_factor)",))).sum() == 5
        database["candidates"].delete_many({"candidate_id": doc.candidate_id})
        assert len(renewed(live, board).table) == 5
    finally:
        live.stop()


def test_two_servers_on_one_folder_share_the_reading(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    original = Live._read

    def counted(self: Live, *arguments: object) -> None:
        reads.append(threading.get_ident())
        time.sleep(0.5)
        original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Live, "_read", counted)
    shutil.rmtree(KeptTable(served.settings).folder, ignore_errors=True)
    readings = [Reading(served.settings) for _ in range(3)]
    lives = [Live(reading) for reading in readings]
    try:
        for live in lives:
            live.start()
        boards = [ready(live) for live in lives]
        assert len(reads) == 1
        assert len({board.table.read_at for board in boards}) == 1
    finally:
        for live, reading in zip(lives, readings, strict=True):
            live.stop()
            reading.close()
    folder = KeptTable(served.settings).folder
    assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".parquet"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_damaged_file_is_read_anew(live: Live, served: Served, damage: bytes | None) -> None:
    kept = KeptTable(served.settings)
    kept.folder.mkdir(exist_ok=True)
    if damage is None:
        ready(live)
        live.stop()
        content = bytearray(kept.path.read_bytes())
        content[len(content) // 3 : len(content) // 3 + 2_000] = bytes(2_000)
        damage = bytes(content)
    kept.path.unlink(missing_ok=True)
    kept.path.write_bytes(damage)
    (kept.folder / f"{kept.path.stem}left.part").write_bytes(b"of a server that was killed")
    reading = Reading(served.settings)
    again = Live(reading)
    try:
        assert len(ready(again).table) == N
        assert not list(kept.folder.glob("*.part"))
    finally:
        again.stop()
        reading.close()


def test_a_file_of_another_store_is_not_taken(live: Live, served: Served) -> None:
    ready(live)
    kept = KeptTable(served.settings)
    mark = mark_of(served.database)
    assert kept.open(mark) is not None and kept.open(None) is not None
    assert kept.open(mark | {"latest": "2031-01-01"}) is None
    assert KeptTable(served.settings.model_copy(update={"database": "other"})).path != kept.path


def test_a_reading_that_is_given_up_leaves_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptTable(served.settings)
    shutil.rmtree(kept.folder, ignore_errors=True)
    reading = Reading(served.settings)
    live = Live(reading)
    live._stop.set()
    with pytest.raises(Exception) as caught:
        live._renew()
    assert type(caught.value).__name__ == "_Stopped"
    assert [path.suffix for path in kept.folder.iterdir()] == [".lock"]
    reading.close()


def test_a_folder_that_cannot_be_written_is_said(served: Served, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    reading = Reading(served.settings.model_copy(update={"data_dir": in_the_way}), served.database)
    live = Live(reading)
    live.start()
    for _ in range(100):
        if live._error:
            break
        time.sleep(0.05)
    with pytest.raises(Problem, match="cannot be kept") as caught:
        live.board()
    assert caught.value.status == 503
    live.stop()


def failing(live: Live) -> Problem:
    """Return what requests are told once reading has failed."""
    live.start()
    for _ in range(200):
        if live._error:
            break
        time.sleep(0.05)
    with pytest.raises(Problem) as caught:
        live.board()
    assert caught.value.status == 503
    return caught.value


@pytest.fixture
def unread(served: Served) -> Iterator[Live]:
    """A table that is not kept yet."""
    shutil.rmtree(KeptTable(served.settings).folder, ignore_errors=True)
    reading = Reading(served.settings)
    live = Live(reading)
    yield live
    live.stop()
    reading.close()


def test_a_full_disk_is_said_and_the_store_is_not_read_again_and_again(
    unread: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemiec.web.ranking.live.RETRY_S", 0.05)
    tries = []

    def full(*_: object) -> None:
        tries.append(time.monotonic())
        time.sleep(0.1)  # as long as reading takes
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    problem = failing(unread)
    assert "No space left on device" in problem.message and "Mend" not in problem.message
    assert problem.mend is not None and "--no-table" in problem.mend
    time.sleep(1.3)
    assert len(tries) >= 2
    assert min(np.diff(tries)) > 0.5
    unread.stop()
    assert not list(unread.kept.folder.glob("*.part"))


def test_an_unexpected_error_is_said_and_tried_again(unread: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("of ours")

    with monkeypatch.context() as patch:
        patch.setattr("hemiec.web.ranking.live.read_batches", broken)
        problem = failing(unread)
        assert "unexpected ZeroDivisionError" in problem.message
        assert problem.mend is not None and "its log" in problem.mend
    assert len(ready(unread).table) == N


def test_a_file_damaged_where_only_requests_look_is_read_anew(live: Live, served: Served) -> None:
    ready(live)
    live.stop()
    kept = KeptTable(served.settings)
    schema = pq.read_schema(kept.path)
    group = pq.ParquetFile(kept.path).metadata.row_group(0)
    columns = {group.column(k).path_in_schema: group.column(k) for k in range(group.num_columns)}
    start = columns["chemsys"].dictionary_page_offset
    content = bytearray(kept.path.read_bytes())
    content[start + 60 : start + 70] = bytes(255 - byte for byte in content[start + 60 : start + 70])
    kept.path.unlink()
    kept.path.write_bytes(content)
    assert pq.read_schema(kept.path) == schema
    assert kept.open(None) is None
    reading = Reading(served.settings)
    again = Live(reading)
    try:
        assert len(ready(again).table) == N
    finally:
        again.stop()
        reading.close()


def test_the_file_is_as_open_to_others_as_the_user_wants(unread: Live) -> None:
    before = os.umask(0o077)
    try:
        ready(unread)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in unread.kept.folder.iterdir()] == [0o600, 0o600]


def test_no_table_where_none_is_wanted(served: Served) -> None:
    client = Client(create_app(served.settings, rate=None, table=False))
    try:
        for path in ("ranking", *(f"ranking/{name}" for name in ("points", "elements", "export", "card/hm-0"))):
            answer = client.get(path)
            assert answer.status_code == 404 and "--no-table" in answer.json()["error"]["mend"]
        assert client.get("definitions").status_code == 200
        assert client.get("candidates").status_code == 200
        assert client.app.state.live._thread is None
    finally:
        client.close()


def test_ranks_are_those_of_a_leaderboard(live: Live, served: Served) -> None:
    board = ready(live)
    expected = rank(list(read_candidates(served.database)), DEFAULT, created_at=NOW)
    found = board.ranked(DEFAULT, {}, Filter())
    rows, ranks = found.page("rank", descending=False, first=0, limit=N)
    entries = found.rows(rows, ranks)
    for name in ("candidate_id", "rank", "score", "pareto_layer", "missing"):
        assert [entry[name] for entry in entries] == [getattr(entry, name) for entry in expected.entries], name
    assert found.sensitivity() == expected.sensitivity


def test_arrays_are_computed_by_one_request_without_assertions_too(live: Live) -> None:
    board = ready(live)
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from hemiec.ranking.definition import DEFAULT\n"
        "from hemiec.web.ranking.board import Board, Filter\n"
        "from hemiec.web.ranking.table import LiveTable\n"
        "table = LiveTable(Path(sys.argv[1]), datetime.now(UTC)); table.warm()\n"
        "found = Board(table).ranked(DEFAULT, {'band_gap': 2}, Filter())\n"
        "print(sys.flags.optimize, {'scaled', 'scores'} <= vars(found.ranking).keys(), len(table))"
    )
    command = [sys.executable, "-O", "-c", script, str(board.table.columns.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True", str(N)]


def test_few_wait_for_one_kind_of_work_and_what_is_kept_is_had_at_once() -> None:
    latest, go, begun = Latest(2, waiting=3), threading.Event(), threading.Event()
    assert latest.get("kept", lambda: 1) == 1
    made: list[int] = []

    def slow() -> int:
        begun.set()
        go.wait(30)
        made.append(1)
        return len(made)

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(latest.get("slow", slow))) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(30)
    while latest._n_waiting < 3:
        time.sleep(0.01)
    assert latest.get("kept", lambda: 2) == 1
    with pytest.raises(Problem, match="too many") as caught:
        latest.get("more", lambda: 3)
    assert caught.value.status == 429 and caught.value.headers["Retry-After"] == "1"
    go.set()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1] and len(made) == 1
    assert latest.get("more", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        latest.get("wrong", lambda: 1 // 0)
    assert latest._n_waiting == 0


def ranking_of(scores: np.ndarray, tolerance: float = 1e-9, rule: str = "shared") -> object:
    """Return candidates whose scores are given, on a scale that leaves them as they are."""
    criterion = Criterion(property="band_gap", direction="maximise", best=1, worst=0)
    ties = Ties(rule=rule, tolerance=tolerance)
    definition = LeaderboardDefinition(name="x", title="x", criteria=[criterion], ties=ties)
    docs = sorted(synthetic_candidates(len(scores)), key=lambda doc: doc.candidate_id)
    for doc, score in zip(docs, scores, strict=True):
        doc.band_gap.value = None if np.isnan(score) else float(score)
        doc.band_gap.reason = "none" if np.isnan(score) else None
    return rank_table(table_of(docs), definition)


@pytest.mark.parametrize("rule", ["shared", "dense"])
@pytest.mark.parametrize("kind", ["different", "equal", "few", "chained"])
def test_a_page_has_the_rows_and_ranks_of_the_whole_list(kind: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hemiec.web.ranking.standing._MARGINS", (3, 20))
    rng = np.random.default_rng(3)
    n = 80
    scores = {
        "different": rng.random(n),
        "equal": np.full(n, 0.5),
        "few": rng.integers(0, 6, n) / 6,
        "chained": np.round(rng.random(n), 2),  # groups within the tolerance that hang together
    }[kind]
    scores[rng.permutation(n)[:7]] = np.nan
    whole = ranking_of(scores, tolerance=0.015, rule=rule)
    order, ranks = whole.order, whole.ranks
    for first in range(0, 73, 5):
        for limit in (1, 7, 100):
            fresh = whole.among(None)
            rows, found = best_standing(fresh, first, limit)
            assert rows.tolist() == order[first : first + limit].tolist()
            assert found.tolist() == ranks[rows].tolist()


def test_one_of_the_contenders_wins_whatever_the_weights() -> None:
    rng = np.random.default_rng(0)
    docs = sorted(synthetic_candidates(150), key=lambda doc: doc.candidate_id)
    for doc in docs:
        if rng.random() < 0.3:
            doc.migration_barrier.value, doc.migration_barrier.reason = None, "none"
    optional = {"required": False, "missing": "leave_out"}
    criteria = [
        criterion.model_copy(update=optional if criterion.property == "migration_barrier" else {})
        for criterion in DEFAULT.criteria
    ]
    ranking = rank_table(table_of(docs), DEFAULT.model_copy(update={"criteria": criteria}))
    rows = set(contenders(ranking).tolist())
    assert 0 < len(rows) < 60
    for _ in range(200):
        weights = dict(zip((c.property for c in criteria), rng.exponential(1.0, 3), strict=True))
        assert int(ranking.with_weights(weights).order[0]) in rows
