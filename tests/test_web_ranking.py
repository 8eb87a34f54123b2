"""The ranked list over REST: rules, filters, pages, uncertainty, points, files, snapshots, against the Python way."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from stored_candidates import CAMPAIGN, NOW, OTHER_CAMPAIGN
from web_client import Client, Served, served_store, wait_for_table

from hemiec.ranking.definition import DEFAULT, shipped_names, with_weights
from hemiec.ranking.doubts import doubts
from hemiec.ranking.leaderboard import rank
from hemiec.ranking.probability import draw_ranks
from hemiec.ranking.table import table_of
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.store.candidates import read_candidates
from hemiec.store.leaderboards import save_leaderboard
from hemiec.store.snapshots import take_snapshot
from hemiec.web.app import create_app

pytestmark = pytest.mark.store
N = 80


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_store(tmp_path_factory.mktemp("ranked"), N) as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    client = Client(create_app(served.settings, rate=None))
    wait_for_table(client)
    yield client
    client.close()


@pytest.fixture(scope="module")
def docs(served: Served) -> list[CandidateDoc]:
    return list(read_candidates(served.database, whole=False))


def ok(client: Client, path: str, **parameters: Any) -> Any:
    answer = client.get(path, **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def board(docs: list[CandidateDoc], weights: dict[str, float] | None = None) -> LeaderboardDoc:
    return rank(docs, with_weights(DEFAULT, weights or {}), created_at=NOW)


def test_rows_are_those_of_the_leaderboard(client: Client, docs: list[CandidateDoc]) -> None:
    weights = {"band_gap": 2.5, "migration_barrier": 0.25}
    found = ok(client, "ranking", weights="band_gap:2.5,migration_barrier:0.25", limit=1000)
    expected = board(docs, weights)
    assert [c["weight"] for c in found["definition"]["criteria"]] == [2.5, 0.25, 1.0]
    for name in ("candidate_id", "label", "formula", "rank", "score", "pareto_layer", "missing"):
        assert [row[name] for row in found["rows"]] == [getattr(entry, name) for entry in expected.entries], name
    assert found["n_found"] == N
    assert found["n_ranked"] == sum(entry.rank is not None for entry in expected.entries) == N - found["n_unranked"]
    assert found["sensitivity"] == [entry.model_dump(mode="json") for entry in expected.sensitivity]
    assert found["table"]["status"] == "ready" and found["table"]["n_candidates"] == N
    assert found["elapsed_ms"] > 0
    best, quantity = found["rows"][0]["values"]["band_gap"], expected.entries[0].band_gap
    assert (best["value"], [best["low"], best["high"]]) == (quantity.value, list(quantity.interval or ()))
    unranked = found["rows"][-1]
    assert unranked["rank"] is None and unranked["score"] is None
    assert unranked["values"]["band_gap"]["reason"] == "not computed yet"


def test_doubts_are_those_of_the_documents(client: Client, docs: list[CandidateDoc]) -> None:
    by_id = {doc.candidate_id: doc for doc in docs}
    for _ in range(2):  # asked for, and kept
        for row in ok(client, "ranking", limit=30)["rows"]:
            expected = doubts(by_id[row["candidate_id"]], DEFAULT)
            assert row["doubts"] == [doubt.model_dump(mode="json") for doubt in expected]
            assert row["doubts"]


def test_doubts_are_told_of_all_where_few_are_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping those of new candidates forgets the oldest, which may be of the very same page."""
    monkeypatch.setattr(client.app.state.live.board().doubts, "size", 10)
    assert all(row["doubts"] for row in ok(client, "ranking", limit=10)["rows"])
    assert all(row["doubts"] for row in ok(client, "ranking", limit=15)["rows"])


def test_pages_hold_everybody_once(client: Client) -> None:
    for sort in ("rank", "label", "band_gap"):
        for descending in (False, True):
            about = {"sort": sort, "descending": str(descending).lower()}
            rows: list[Any] = []
            for first in range(0, N + 20, 33):
                rows += ok(client, "ranking", first=first, limit=33, **about)["rows"]
            assert len({row["candidate_id"] for row in rows}) == len(rows) == N
            if sort == "label":
                keys = [row["label"] for row in rows]
            else:
                keys = [row["rank"] if sort == "rank" else row["values"][sort]["value"] for row in rows]
                known = [key for key in keys if key is not None]
                assert keys[len(known) :] == [None] * (N - len(known))
                keys = known
            assert keys == sorted(keys, reverse=descending)


def test_filters_are_joined(client: Client, docs: list[CandidateDoc]) -> None:
    found = ok(
        client, "ranking", where="tolerance_factor > 0.9", elements="Co,La", without="Ba", campaign=OTHER_CAMPAIGN,
        limit=1000,
    )  # fmt: skip
    expected = [
        doc
        for doc in docs
        if {"Co", "La"} <= set(doc.elements)
        and "Ba" not in doc.elements
        and OTHER_CAMPAIGN in doc.campaigns
        and (doc.candidate.tolerance_factor or 0) > 0.9
    ]
    assert 0 < len(expected) < N
    assert [row["candidate_id"] for row in found["rows"]] == [e.candidate_id for e in board(expected).entries]
    assert [row["rank"] for row in found["rows"]] == [e.rank for e in board(expected).entries]
    counts = ok(client, "ranking/elements", elements="Co,La", without="Ba", campaign=OTHER_CAMPAIGN)["elements"]
    assert counts["Co"] == counts["La"] and "Ba" not in counts
    nobody = ok(client, "ranking", where="band_gap < -1")
    assert (nobody["n_found"], nobody["rows"], nobody["sensitivity"]) == (0, [], [])
    for path in ("ranking/uncertainty", "ranking/points", "ranking/elements", "ranking/export"):
        assert client.get(path, where="band_gap < -1").status_code == 200


def test_every_shipped_definition_ranks_and_saved_ones_go_by_their_id(client: Client, served: Served) -> None:
    listed = ok(client, "definitions")
    names = [document["name"] for document in listed["documents"]]
    assert names[0] == DEFAULT.name and set(shipped_names()) <= set(names)
    assert [entry["name"] for entry in listed["properties"]] == list(PROPERTIES)
    for name in names:
        assert ok(client, "ranking", definition=name, limit=1)["definition"]["name"] == name
    other = with_weights(DEFAULT, {"band_gap": 7})
    saved = save_leaderboard(served.database, rank(list(read_candidates(served.database)), other, created_at=NOW))
    listed = ok(client, "definitions")["documents"]
    assert [document["criteria"][0]["weight"] for document in listed if document["name"] == saved] == [7]
    by_id = ok(client, "ranking", definition=saved, limit=5)["rows"]
    assert by_id == ok(client, "ranking", weights="band_gap:7", limit=5)["rows"]
    served.database["leaderboards"].delete_many({"leaderboard_id": saved})
    served.database["leaderboard_entries"].delete_many({"leaderboard_id": saved})


def test_uncertainty_is_that_of_the_draws(client: Client, docs: list[CandidateDoc]) -> None:
    found = ok(client, "ranking/uncertainty", limit=1000, draws=150)
    table = table_of(docs)
    ranked = [e.candidate_id for e in board(docs).entries if e.rank is not None]
    rows = np.searchsorted(table.candidate_id, ranked)
    drawn = draw_ranks(table, DEFAULT, rows, draws=150)
    assert (found["draws"], found["seed"], found["top"]) == (150, DEFAULT.seed, DEFAULT.top)
    assert [row["candidate_id"] for row in found["rows"]] == ranked
    assert found["n_drawn"] == len(ranked) and found["note"] is None
    for k, row in enumerate(found["rows"]):
        assert row["expected_rank"] == drawn.expected_rank[k]
        assert row["rank_interval"] == [drawn.rank_low[k], drawn.rank_high[k]]
        assert row["probability_top"] == drawn.probability_top[k]
        assert row["probability_pareto"] == drawn.probability_pareto[k]
    assert ok(client, "ranking/uncertainty", limit=1000, draws=150) == found


def test_draws_of_the_best_only_say_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hemiec.web.ranking.board.MAX_DRAWN", 10)
    found = ok(client, "ranking/uncertainty", limit=30, weights="band_gap:1.25")
    assert len(found["rows"]) == found["n_drawn"] == 10
    assert "10 best by score" in found["note"]


def test_a_card(client: Client, docs: list[CandidateDoc]) -> None:
    listed = ok(client, "ranking", limit=1)["rows"][0]
    card = ok(client, f"ranking/card/{listed['candidate_id']}")
    assert {**card["row"], "doubts": []} == {**listed, "doubts": []}
    assert card["uncertainty"]["candidate_id"] == listed["candidate_id"]
    assert card["n_ranked"] == ok(client, "ranking")["n_ranked"]
    unranked = next(doc for doc in docs if doc.band_gap.value is None)
    card = ok(client, f"ranking/card/{unranked.candidate_id}")
    assert card["row"]["rank"] is None and card["uncertainty"] is None
    missing = client.get("ranking/card/hm-0000000000000000")
    assert missing.status_code == 404 and "no candidate" in missing.text


def test_points_are_all_or_the_front_and_a_sample(client: Client, docs: list[CandidateDoc]) -> None:
    found = ok(client, "ranking/points")
    points = found["points"]
    known = {
        d.candidate_id: (d.band_gap.value, d.migration_barrier.value) for d in docs if d.band_gap.value is not None
    }
    assert dict(zip(points["candidate_id"], zip(points["x"], points["y"], strict=True), strict=True)) == known
    assert found["n_found"] == found["n_shown"] == len(known) and found["how"].startswith("All")
    assert len({len(column) for column in points.values()}) == 1
    values = np.array(list(zip(points["x"], points["y"], strict=True)))
    dominated = [bool((np.all(values <= own, axis=1) & np.any(values < own, axis=1)).any()) for own in values]
    assert points["front"] == [not one for one in dominated]
    few = ok(client, "ranking/points", limit=25)
    n_front = sum(points["front"])
    assert few["n_shown"] == 25 and sum(few["points"]["front"]) == n_front
    assert f"All {n_front} on the Pareto front" in few["how"] and "at random" in few["how"]
    assert few == ok(client, "ranking/points", limit=25)
    tiny = ok(client, "ranking/points", limit=1)
    assert tiny["n_shown"] == 1 and tiny["points"]["front"] == [True]


def test_brushing_and_axes(client: Client) -> None:
    found = ok(client, "ranking/points", xmin=0.5, xmax=1.5, ymin=0.6, ymax=0.9)
    assert 0 < found["n_found"] < N
    assert all(0.5 <= x <= 1.5 for x in found["points"]["x"]) and all(0.6 <= y <= 0.9 for y in found["points"]["y"])
    other = ok(client, "ranking/points", x="energy_above_hull", y="interface_reaction_energy")
    assert other["x"] == {"property": "energy_above_hull", "title": "Energy above the hull", "unit": "eV/atom"}
    for wrong in ({"x": "label"}, {"xmin": 2, "xmax": 1}):
        assert client.get("ranking/points", **wrong).status_code == 422


def test_exports_hold_the_whole_list(client: Client, docs: list[CandidateDoc]) -> None:
    about = {"weights": "band_gap:3", "where": "has(Co)"}
    rows = ok(client, "ranking", limit=1000, **about)["rows"]
    ids = [row["candidate_id"] for row in rows]
    answer = client.get("ranking/export", format="csv", **about)
    assert answer.headers["content-disposition"] == f'attachment; filename="{DEFAULT.name}.csv"'
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["candidate_id"] for line in lines] == ids
    assert [line["rank"] for line in lines] == [str(row["rank"] or "") for row in rows]
    assert [float(line["score"]) for line in lines if line["score"]] == [row["score"] for row in rows if row["rank"]]
    as_json = json.loads(client.get("ranking/export", format="json", **about).text)
    listed = [{name: value for name, value in row.items() if name != "doubts"} for row in rows]
    assert as_json["rows"] == listed and as_json["definition"]["criteria"][0]["weight"] == 3
    table = pq.read_table(io.BytesIO(client.get("ranking/export", format="parquet", **about).content))
    assert table["candidate_id"].to_pylist() == ids
    assert table["rank"].to_pylist() == [row["rank"] for row in rows]
    assert table["band_gap_value"].to_pylist() == [row["values"]["band_gap"]["value"] for row in rows]
    assert table.schema.field("band_gap_low").metadata[b"unit"] == b"eV"
    tex = client.get("ranking/export", format="latex", **about)
    assert tex.status_code == 200 and r"\toprule" in tex.text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hemiec.web.ranking.exports.rank", None)  # it was made, and is kept
        assert client.get("ranking/export", format="latex", **about).text == tex.text


def test_exports_in_several_parts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {kind: client.get("ranking/export", format=kind).content for kind in ("csv", "json")}
    monkeypatch.setattr("hemiec.web.ranking.exports._PART", 7)
    monkeypatch.setattr("hemiec.web.ranking.exports.MAX_LATEX", 7)
    for kind, content in whole.items():
        again = client.get("ranking/export", format=kind).content
        assert again.replace(b",\n{", b"{") == content.replace(b",\n{", b"{")
        if kind == "json":
            assert json.loads(again) == json.loads(content)
    assert pq.read_table(io.BytesIO(client.get("ranking/export", format="parquet").content)).num_rows == N
    refused = client.get("ranking/export", format="latex")
    assert refused.status_code == 422 and "narrow it" in refused.json()["error"]["mend"]


def test_tags_stay_while_the_answer_does(client: Client) -> None:
    for path in ("definitions", "ranking", *(f"ranking/{n}" for n in ("points", "elements", "uncertainty", "export"))):
        first = client.get(path)
        known = {"If-None-Match": first.headers["etag"]}
        assert client.get(path, headers=known).status_code == 304
        if path.startswith("ranking"):
            assert client.get(path, headers=known, where="has(Co)").status_code == 200


def test_a_client_that_comes_too_early_is_told_when_to_come_back(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemiec.web.ranking.live.Live._run", lambda self: self._stop.wait(60))
    client = Client(create_app(served.settings, rate=None))
    try:
        answer = client.get("ranking")
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        assert answer.json()["progress"] == {"done": 0, "total": 0}
        assert set(answer.json()["error"]) == {"message", "mend"}
    finally:
        client.close()


def test_snapshots_and_what_changed_between_them(client: Client, served: Served) -> None:
    assert ok(client, "snapshots")["documents"] == []
    old = take_snapshot(served.database, served.settings, where="has(Co)")
    time.sleep(0.01)
    new = take_snapshot(served.database, served.settings)
    listed = ok(client, "snapshots")
    assert [d["snapshot_id"] for d in listed["documents"]] == [new.snapshot_id, old.snapshot_id]
    manifest = ok(client, f"snapshots/{old.snapshot_id}")
    assert manifest == old.manifest.to_mongo()
    answer = client.get(f"snapshots/{old.snapshot_id}/candidates.parquet")
    assert answer.content == (old.folder / "candidates.parquet").read_bytes()
    assert answer.headers["content-length"] == str(len(answer.content))
    known = {"If-None-Match": answer.headers["etag"]}
    assert client.get(f"snapshots/{old.snapshot_id}/candidates.parquet", headers=known).status_code == 304
    found = ok(client, "diff", old=old.snapshot_id, new=new.snapshot_id, definition=DEFAULT.name, limit=5)
    assert found["old"]["id"] == old.snapshot_id and found["new"]["n_candidates"] == N
    assert len(found["moves"]) == 5 and all(move["causes"] for move in found["moves"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hemiec.web.routes.snapshots.compare_stored", None)  # it was made, and is kept
        again = {"old": old.snapshot_id, "new": new.snapshot_id, "definition": DEFAULT.name, "limit": 5}
        assert ok(client, "diff", **again) == found
    for pair in (("snap-0000000000000000", new.snapshot_id), (new.snapshot_id, "lb-0000000000000000")):
        assert client.get("diff", old=pair[0], new=pair[1]).status_code == 404
    (old.folder / "manifest.json").chmod(0o644)
    (old.folder / "manifest.json").write_text("{}")
    assert old.snapshot_id in ok(client, "snapshots")["damaged"]
    answer = client.get(f"snapshots/{old.snapshot_id}")
    assert answer.status_code == 503 and "the snapshot is damaged" in answer.json()["error"]["message"]
    (old.folder / "manifest.json").write_text("no JSON")
    for path in (f"snapshots/{old.snapshot_id}", f"snapshots/{old.snapshot_id}/candidates.parquet"):
        answer = client.get(path)
        assert answer.status_code == 503 and "it is not JSON" in answer.json()["error"]["message"]
        assert "retry-after" not in answer.headers


def test_campaigns_choose(client: Client) -> None:
    assert ok(client, "ranking", campaign=CAMPAIGN)["n_found"] == N
    assert ok(client, "ranking", campaign=OTHER_CAMPAIGN)["n_found"] == -(-N // 3)
