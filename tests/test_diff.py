"""What `hemiec diff` says: who moved, by which step, and the cause of each change, provoked one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from stored_candidates import synthetic_candidates
from thermo_examples import amounts, hull, thermodynamics

from hemiec.cli.main import cli
from hemiec.errors import InputError
from hemiec.ranking.leaderboard import rank
from hemiec.ranking.order import rank_table
from hemiec.ranking.snapshots.compare import compare
from hemiec.ranking.snapshots.sides import Facts, Rows, Side
from hemiec.ranking.table import CandidateTable, Estimates
from hemiec.schemas.definition import Criterion, LeaderboardDefinition, Ties
from hemiec.schemas.diff import DiffDoc, DiffMove
from hemiec.schemas.documents import CandidateDoc, JobRecord
from hemiec.schemas.quantity import Quantity
from hemiec.settings import Settings
from hemiec.store.candidates import documents_of
from hemiec.store.comparisons import compare_stored
from hemiec.store.database import Database, open_database
from hemiec.store.leaderboards import save_leaderboard
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.snapshots import take_snapshot

GAP = Criterion(property="band_gap", direction="minimise", best=0, worst=3)
HULL = Criterion(property="energy_above_hull", direction="minimise", best=0, worst=0.3)
RULES = LeaderboardDefinition(name="gap-and-hull", title="Gap and hull", criteria=[GAP, HULL])
N = 8
JOB, NEW_JOB = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"
Edit = Callable[[list[CandidateDoc]], object]


def quantity(value: float, unit: str = "eV", **more: Any) -> Quantity:
    about: dict[str, Any] = {
        "method": "invented",
        "n": 1,
        "protocol": "gpaw-fast",
        "protocol_hash": "a1a1",
        "job_uuids": [JOB],
    }
    return Quantity(value=value, unit=unit, **(about | more))


def candidates() -> list[CandidateDoc]:
    """Return candidates that rank in this order: all the same but their gaps, 0.1 eV apart."""
    made = []
    for k, doc in enumerate(synthetic_candidates(N)):
        result = doc.results[0].model_copy(update={"thermodynamics": thermodynamics(hull=hull(0.03))})
        made.append(doc.model_copy(update={"results": [result]}, deep=True))
        set_value(made[-1], "band_gap", quantity(round(0.1 * (k + 1), 1)))
        set_value(made[-1], "energy_above_hull", quantity(0.03, "eV/atom", protocol="mlip", protocol_hash="b2b2"))
    return made


def set_value(doc: CandidateDoc, name: str, found: Quantity) -> None:
    setattr(doc, name, found)
    setattr(doc.results[0], name, found)


def change(doc: CandidateDoc, name: str, **changes: Any) -> None:
    old: Quantity = getattr(doc, name)
    set_value(doc, name, Quantity.model_validate(old.model_dump() | changes))


@dataclass
class Store:
    """A store that is filled with the candidates anew for every comparison."""

    database: Database
    settings: Settings

    def fill(self, docs: list[CandidateDoc], energies: dict[str, float]) -> None:
        parts: dict[str, list[dict[str, Any]]] = {"candidates": [], "thermodynamics": []}
        for doc in docs:
            made = documents_of(doc)
            for name, documents in parts.items():
                documents += made[name]
        for name, documents in parts.items():
            self.database[name].delete_many({})
            self.database[name].insert_many(documents)
        self.database["references"].delete_many({})
        stored = [{"reference_id": f"{phase}:b2b2", "energy_per_atom": e} for phase, e in energies.items()]
        self.database["references"].insert_many(stored)

    def take(self, edit: Edit | None = None, energies: dict[str, float] | None = None, **options: Any) -> str:
        """Return the id of a snapshot of the candidates with some changes."""
        docs = candidates()
        if edit is not None:
            edit(docs)
        known = {"LaCoO3-invented": -7.0, "Sr2Co2O5-invented": -6.5, "BaCoO3-invented": -6.0}
        self.fill(docs, known | (energies or {}))
        return take_snapshot(self.database, self.settings, **options).snapshot_id

    def diff(self, edit: Edit | None, energies: dict[str, float] | None = None, **options: Any) -> DiffDoc:
        """Return what is said of the candidates without and with some changes."""
        options = {"definition": RULES, **options}
        return compare_stored(self.take(), self.take(edit, energies), self.settings, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("store"))
    database = open_database(settings)
    database.mongo.command("collMod", "references", validator={})
    yield Store(database, settings)
    database.close()
    EmbeddedMongod(settings).down()


def of(found: DiffDoc, doc: CandidateDoc) -> DiffMove:
    (move,) = (move for move in found.moves if move.candidate_id == doc.candidate_id)
    return move


def kinds(move: DiffMove) -> list[str]:
    return [cause.kind for cause in move.causes]


X = candidates()[2]  # of rank 3
pytestmark = pytest.mark.store


# --- every cause, provoked by a change of documents


def test_new_data(store: Store) -> None:
    found = store.diff(lambda docs: change(docs[2], "band_gap", value=0.65, job_uuids=[JOB, NEW_JOB], n=2))
    move = of(found, X)
    assert (move.status, move.rank_old, move.rank_between, move.rank_new, move.rank_alone) == ("down", 3, 3, 6, 6)
    (cause,) = move.causes
    assert (cause.kind, cause.property, cause.old, cause.new, cause.unit) == ("new-data", "band_gap", 0.3, 0.65, "eV")
    assert cause.text == "Band gap 0.30 -> 0.65 eV: new data, job bbbbbbbb, 1 -> 2 samples."
    assert cause.job_uuids == [NEW_JOB]
    # Three others are one place better, through nothing of their own.
    for other in candidates()[3:6]:
        move = of(found, other)
        assert move.status == "up"
        assert (kinds(move), move.causes[0].candidates) == (["others"], [X.candidate_id])
        assert X.candidate.label in move.causes[0].text
        assert "nothing of its own changed" in move.causes[0].text.lower()
    assert (found.n_moves, found.statuses) == (4, {"up": 3, "down": 1, "same": 4})
    assert found.causes == {"others": 3, "new-data": 1}


def test_a_job_that_ran_again_is_new_data(store: Store) -> None:
    record = JobRecord(uuid=JOB, step="gap", name="lowest gap", state="completed", completed_at="2026-11-20T10:00:00")

    def ran(when: str, value: float) -> Edit:
        def edit(docs: list[CandidateDoc]) -> None:
            change(docs[2], "band_gap", value=value)
            docs[2].results[0] = (
                docs[2].results[0].model_copy(update={"jobs": [record.model_copy(update={"completed_at": when})]})
            )

        return edit

    # A job that runs again, such as one after a failed magnetic start, keeps its uuid.
    old = store.take(ran("2026-11-20T10:00:00", 0.3))
    new = store.take(ran("2026-11-21T10:00:00", 0.05))
    (cause,) = of(compare_stored(old, new, store.settings, definition=RULES), X).causes
    assert (cause.kind, cause.job_uuids) == ("new-data", [JOB])
    assert cause.text == "Band gap 0.30 -> 0.05 eV: new data, job aaaaaaaa ran again."
    same = store.take(ran("2026-11-20T10:00:00", 0.05))
    assert kinds(of(compare_stored(old, same, store.settings, definition=RULES), X)) == ["unknown"]


def test_a_first_value_and_a_lost_one(store: Store) -> None:
    none = {"value": None, "reason": "not computed yet", "n": 0, "job_uuids": []}
    before = store.take(lambda docs: change(docs[2], "band_gap", **none))
    after = store.take()
    came = of(compare_stored(before, after, store.settings, definition=RULES), X)
    assert (came.status, came.rank_old, came.rank_new) == ("ranked", None, 3)
    assert came.causes[0].text == "Band gap is known now, 0.30 eV: new data, job aaaaaaaa."
    went = of(compare_stored(after, before, store.settings, definition=RULES), X)
    assert (went.status, went.rank_old, went.rank_new) == ("unranked", 3, None)
    assert went.causes[0].text == "Band gap has no value any more: not computed yet."


def test_another_protocol(store: Store) -> None:
    changes = {"value": 0.05, "protocol": "gpaw-standard", "protocol_hash": "c3c3", "job_uuids": [NEW_JOB]}
    found = store.diff(lambda docs: change(docs[2], "band_gap", **changes))
    move = of(found, X)
    assert (move.rank_old, move.rank_new, kinds(move)) == (3, 1, ["model"])
    text = "Band gap 0.30 -> 0.05 eV: protocol gpaw-fast (hash a1a1) -> gpaw-standard (hash c3c3), job bbbbbbbb."
    assert move.causes[0].text == text
    assert "Band gap: computed by gpaw-fast (a1a1) -> gpaw-fast (a1a1), gpaw-standard (c3c3)." in found.model_changes


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, "cal-2", "corrected by cal-2 now"),
        ("cal-1", "cal-2", "correction cal-1 -> cal-2"),
        ("cal-1", None, "not corrected by cal-1 any more"),
    ],
)
def test_another_correction(store: Store, before: str | None, after: str | None, words: str) -> None:
    old = store.take(lambda docs: change(docs[2], "band_gap", calibration=before, uncorrected=0.2))
    new = store.take(lambda docs: change(docs[2], "band_gap", value=0.05, calibration=after, uncorrected=0.2))
    found = compare_stored(old, new, store.settings, definition=RULES)
    (cause,) = of(found, X).causes
    assert (cause.kind, cause.text) == ("model", f"Band gap 0.30 -> 0.05 eV: {words}.")
    assert f"Band gap: corrected by {before or 'none'} -> {after or 'none'}." in found.model_changes


def test_another_builder_and_thermodynamics_code(store: Store) -> None:
    def edit(docs: list[CandidateDoc]) -> None:
        change(docs[2], "band_gap", value=0.05)
        docs[2].builder_version = 2
        change(docs[3], "energy_above_hull", value=0.2)
        docs[3].results[0].thermodynamics.thermo_version = 2  # type: ignore[union-attr]

    found = store.diff(edit)
    (cause,) = of(found, X).causes
    assert (cause.kind, cause.text) == ("model", "Band gap 0.30 -> 0.05 eV: builder 1 -> 2, from the same jobs.")
    (cause,) = of(found, candidates()[3]).causes
    text = "Energy above the hull 0.030 -> 0.200 eV/atom: thermodynamics code 1 -> 2, from the same jobs."
    assert (cause.kind, cause.text) == ("model", text)
    assert {"Builder: version 1 -> 1, 2.", "Thermodynamics code: version 1 -> 1, 2."} <= set(found.model_changes)


def _decompose(doc: CandidateDoc, above: float, **shares: float) -> None:
    change(doc, "energy_above_hull", value=above)
    found = doc.results[0].thermodynamics
    assert found is not None
    assert found.hull is not None
    found.hull.decomposition = amounts(**shares)


def test_a_new_competitor_on_the_hull_is_named(store: Store) -> None:
    def edit(docs: list[CandidateDoc]) -> None:
        _decompose(docs[2], 0.09, La2CoO4=0.5, LaCoO3=0.3, BaCoO3=0.2)

    found = store.diff(edit, {"La2CoO4-invented": -7.3})
    (cause,) = of(found, X).causes
    assert (cause.kind, cause.phases) == ("hull", ["La2CoO4-invented"])
    assert cause.text == (
        "Energy above the hull 0.030 -> 0.090 eV/atom: La2CoO4-invented is new among the phases it decomposes to "
        "(La2CoO4-invented had not been computed)."
    )
    assert "Reference phases of protocol b2b2: 1 are new (La2CoO4-invented)." in found.model_changes
    # One that had been computed, and now is on the hull, is named without that.
    old = store.take(energies={"La2CoO4-invented": -7.0})
    new = store.take(edit, {"La2CoO4-invented": -7.3})
    (cause,) = of(compare_stored(old, new, store.settings, definition=RULES), X).causes
    assert (cause.kind, "had not been" in cause.text) == ("hull", False)
    (cause,) = of(compare_stored(new, old, store.settings, definition=RULES), X).causes
    assert cause.kind == "hull"
    assert cause.phases == ["Sr2Co2O5-invented"]


def test_reference_phases_computed_anew(store: Store) -> None:
    found = store.diff(lambda docs: change(docs[2], "energy_above_hull", value=0.2), {"BaCoO3-invented": -6.1})
    (cause,) = of(found, X).causes
    assert (cause.kind, cause.phases) == ("references", ["BaCoO3-invented"])
    assert "BaCoO3-invented (-6.0000 -> -6.1000 eV/atom) computed anew" in cause.text
    other = {"value": 0.2, "reference_job_uuids": [NEW_JOB]}
    (cause,) = of(store.diff(lambda docs: change(docs[2], "energy_above_hull", **other)), X).causes
    assert (cause.kind, cause.job_uuids) == ("references", [NEW_JOB])


def test_what_is_stored_does_not_always_tell(store: Store) -> None:
    (cause,) = of(store.diff(lambda docs: change(docs[2], "band_gap", value=0.05)), X).causes
    assert cause.kind == "unknown"
    assert "what is stored does not tell why" in cause.text
    (cause,) = of(store.diff(lambda docs: change(docs[2], "band_gap", value=0.05, method="by hand")), X).causes
    assert (cause.kind, "by another method now: by hand" in cause.text) == ("unknown", True)


def test_other_rules(store: Store) -> None:
    def bad_hulls(docs: list[CandidateDoc]) -> None:
        change(docs[0], "energy_above_hull", value=0.065)  # as bad as 0.35 eV more of gap

    heavy = RULES.model_copy(update={"criteria": [GAP, HULL.model_copy(update={"weight": 5.0})]})
    old, new = (store.take(bad_hulls, definition=rules) for rules in (RULES, heavy))
    assert old != new
    found = compare_stored(old, new, store.settings)
    move = of(found, candidates()[0])
    assert (move.status, move.rank_old, move.rank_between, move.rank_new) == ("down", 4, 8, 8)
    assert move.causes[0].text == "By the new rules, the old data rank it 8 instead of 4."
    assert found.definition_changes == ["Energy above the hull: weight 1 -> 5."]
    assert {kind for move in found.moves for kind in kinds(move)} <= {"definition"}
    # Ranked by one definition nothing moves: the data are the same.
    assert compare_stored(old, new, store.settings, definition=RULES).n_moves == 0


def test_rules_and_data_are_told_apart(store: Store) -> None:
    def better(docs: list[CandidateDoc]) -> None:
        change(docs[7], "band_gap", value=0.01, job_uuids=[NEW_JOB])

    opposite = RULES.model_copy(
        update={"criteria": [Criterion(property="band_gap", direction="maximise", best=3, worst=0)], "name": "wide"}
    )
    found = compare_stored(store.take(definition=RULES), store.take(better, definition=opposite), store.settings)
    move = of(found, candidates()[7])
    assert (move.rank_old, move.rank_between, move.rank_new) == (8, 1, 8)
    assert kinds(move) == ["definition", "new-data"]
    assert move.causes[0].text == "By the new rules, the old data rank it 1 instead of 8."
    move = of(found, candidates()[0])
    assert (move.rank_old, move.rank_between, move.rank_new, kinds(move)) == (1, 8, 7, ["definition", "others"])
    assert len(found.definition_changes) >= 2


def test_the_condition_leaves_one_out(store: Store) -> None:
    limited = RULES.model_copy(update={"where": "band_gap < 0.55"})
    found = compare_stored(store.take(definition=RULES), store.take(definition=limited), store.settings)
    assert found.statuses == {"same": 5, "unranked": 3}
    for k in (5, 6, 7):
        (cause,) = of(found, candidates()[k]).causes
        assert (cause.kind, cause.text) == ("filter", "Left out by the condition of the new rules, 'band_gap < 0.55'.")
    assert found.definition_changes == ["Condition: none -> 'band_gap < 0.55'."]
    back = compare_stored(store.take(definition=limited), store.take(definition=RULES), store.settings)
    assert kinds(of(back, candidates()[5])) == ["filter"]
    # The same condition, and data that do not fulfil it any more.
    found = store.diff(lambda docs: change(docs[2], "band_gap", value=0.7, job_uuids=[NEW_JOB]), definition=limited)
    move = of(found, X)
    assert (move.status, kinds(move)) == ("unranked", ["filter", "new-data"])
    assert "does not fulfil the condition 'band_gap < 0.55'" in move.causes[0].text
    # The condition of a snapshot.
    chosen = compare_stored(store.take(), store.take(where="band_gap < 0.55"), store.settings, definition=RULES)
    (cause,) = of(chosen, candidates()[6]).causes
    assert (cause.kind, of(chosen, candidates()[6]).status) == ("filter", "left")
    back = compare_stored(store.take(where="band_gap < 0.55"), store.take(), store.settings, definition=RULES)
    assert (kinds(of(back, candidates()[6])), of(back, candidates()[6]).status) == (["filter"], "entered")
    # Who was left out by the old condition is not new to those that it passes.
    wide = compare_stored(store.take(where="band_gap > 0.15"), store.take(), store.settings, definition=RULES)
    (cause,) = of(wide, X).causes
    assert (
        cause.text
        == f"Nothing of its own changed: {candidates()[0].candidate.label}, not in the old one, is ranked before it."
    )


def test_new_and_removed_candidates(store: Store) -> None:
    old, new = store.take(lambda docs: docs.pop(2)), store.take()
    found = compare_stored(old, new, store.settings, definition=RULES)
    move = of(found, X)
    assert (move.status, move.rank_old, move.rank_new, kinds(move)) == ("entered", None, 3, ["added"])
    for other in candidates()[3:]:
        move = of(found, other)
        assert (move.status, kinds(move), move.causes[0].candidates) == ("down", ["new-candidate"], [X.candidate_id])
        assert f"{X.candidate.label} is new and ranked before it" in move.causes[0].text
    found = compare_stored(new, old, store.settings, definition=RULES)
    move = of(found, X)
    assert (move.status, move.rank_old, move.rank_new, kinds(move)) == ("left", 3, None, ["removed"])
    assert {tuple(kinds(of(found, other))) for other in candidates()[3:]} == {("others",)}


# --- leaderboards, limits, commands


def test_saved_leaderboards_with_and_without_a_snapshot(store: Store) -> None:
    docs = candidates()
    snapshot = store.take()
    bare = rank(docs, RULES)
    kept = bare.model_copy(update={"snapshot_id": snapshot, "leaderboard_id": "lb-0123456789abcdef"})
    for board in (bare, kept):
        save_leaderboard(store.database, board)
    moved = candidates()
    _decompose(moved[2], 0.09, La2CoO4=1.0)
    change(moved[2], "energy_above_hull", reference_job_uuids=[NEW_JOB])
    change(moved[4], "band_gap", value=0.05, job_uuids=[NEW_JOB])
    later = rank(moved, RULES)
    save_leaderboard(store.database, later)
    for old in (bare.leaderboard_id, kept.leaderboard_id):
        found = compare_stored(old, later.leaderboard_id, store.settings, database=store.database)
        assert (found.old.kind, found.old.id, found.old.n_ranked) == ("leaderboard", old, N)
        assert kinds(of(found, candidates()[4])) == ["new-data"]
        (cause,) = (cause for cause in of(found, X).causes if cause.property)
        assert (cause.kind, "which phases was not kept" in cause.text) == ("references", True)
        assert any("has no snapshot" in note for note in found.notes)
    assert found.old.snapshot_id == snapshot
    with pytest.raises(InputError, match="only the database holds"):
        compare_stored(bare.leaderboard_id, later.leaderboard_id, store.settings)
    lost = kept.model_copy(update={"snapshot_id": "snap-0000000000000000", "leaderboard_id": "lb-00"})
    save_leaderboard(store.database, lost)
    with pytest.raises(InputError, match="not in this data folder"):
        compare_stored("lb-00", later.leaderboard_id, store.settings, database=store.database)


def test_limits_itself_and_strangers(store: Store) -> None:
    same = store.take()
    found = compare_stored(same, same, store.settings)
    assert (found.n_moves, found.moves, found.definition_changes, found.model_changes) == (0, [], [], [])
    full = store.diff(lambda docs: change(docs[0], "band_gap", value=2.0))
    cut = store.diff(lambda docs: change(docs[0], "band_gap", value=2.0), limit=2)
    assert (full.n_moves, len(full.moves), cut.n_moves, len(cut.moves)) == (N, N, N, 2)
    assert cut.moves == full.moves[:2]
    assert cut.statuses == full.statuses
    assert cut.notes == [f"The 2 best of {N} that moved or changed are listed."]
    stranger = store.take(where="band_gap < 0.15"), store.take(where="band_gap > 0.75")
    with pytest.raises(InputError, match="no candidate in common"):
        compare_stored(*stranger, store.settings)


def test_command(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("HEMIEC_DATA_DIR", str(store.settings.data_dir))
    old = store.take(definition=RULES)
    new = store.take(lambda docs: change(docs[2], "band_gap", value=0.65, job_uuids=[NEW_JOB]), definition=RULES)
    runner = CliRunner()
    shown = " ".join(runner.invoke(cli, ["diff", old, new], catch_exceptions=False).output.split())
    for words in (
        "3 -> 6", "Band gap 0.30 -> 0.65 eV: new data, job bbbbbbbb.", "3 moved up, 1 moved down, 4 kept their rank.",
        "others moved 3, new data 1.", "8 of 8 candidates are ranked by gap-and-hull",
    ):  # fmt: skip
        assert words in shown
    told = runner.invoke(cli, ["diff", old, new, "--json"], catch_exceptions=False).output
    assert DiffDoc.model_validate(json.loads(told)) == compare_stored(old, new, store.settings)
    assert "Nothing moved" in runner.invoke(cli, ["diff", old, old], catch_exceptions=False).output
    with pytest.raises(InputError, match="no snapshot 'snap-nope'"):
        runner.invoke(cli, ["diff", old, "snap-nope"], catch_exceptions=False)


# --- on any data: every move has a cause, and the steps add up


def _side(rng: np.random.Generator, ids: list[str], values: dict[str, float]) -> Side:
    numbers = np.array([values[key] for key in ids])
    missing = np.full(len(ids), np.nan)
    table = CandidateTable(
        np.array(ids, dtype=np.str_), ids,
        {
            "band_gap": Estimates(numbers, missing, missing, "eV"),
            "energy_above_hull": Estimates(np.zeros(len(ids)), missing, missing, "eV/atom"),
        },
    )  # fmt: skip

    def facts_of(rows: Rows) -> Iterator[Facts]:
        for row in rows.tolist():
            job = str(rng.integers(10**9))
            yield Facts(
                {"band_gap": quantity(numbers[row], job_uuids=[job]), "energy_above_hull": quantity(0, "eV/atom")}
            )

    return Side(
        kind="snapshot", id="any", created_at=datetime.now(UTC), table=table, definition=RULES,
        chosen=lambda where: None, facts_of=facts_of,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_on_any_data_every_move_has_a_cause_and_the_numbers_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [f"hm-{k:03d}" for k in range(40)]
    before = {key: float(rng.choice(np.arange(1, 25) / 10)) for key in ids}  # with ties
    after = {key: value if rng.random() < 0.8 else float(rng.random() * 3) for key, value in before.items()}
    mine, theirs = (sorted(rng.choice(ids, size=34, replace=False).tolist()) for _ in range(2))
    old, new = _side(rng, mine, before), _side(rng, theirs, after)
    found = compare(old, new, limit=None)
    ranks_old = dict(zip(mine, rank_table(old.table, RULES).ranks.tolist(), strict=True))
    ranks_new = dict(zip(theirs, rank_table(new.table, RULES).ranks.tolist(), strict=True))
    moved = {key for key in {*mine, *theirs} if ranks_old.get(key) != ranks_new.get(key)}
    listed = {move.candidate_id: move for move in found.moves}
    changed = {key for key in set(mine) & set(theirs) if before[key] != after[key]}
    assert listed.keys() == moved | changed
    assert sum(found.statuses.values()) == len({*mine, *theirs})
    for key, move in listed.items():
        assert (move.rank_old, move.rank_new) == (ranks_old.get(key), ranks_new.get(key))
        assert move.causes
        assert ("new-data" in kinds(move)) == (key in changed)
        assert ("added" in kinds(move)) == (key not in mine)
        assert ("removed" in kinds(move)) == (key not in theirs)
        if key in ranks_old and key in ranks_new:
            alone = replace(old, table=_side(rng, mine, before | {key: after[key]}).table)
            assert move.rank_alone == rank_table(alone.table, RULES).ranks[mine.index(key)]
        for cause in move.causes:
            for other in cause.candidates:  # whoever is named did cross it
                was, is_now = ranks_old.get(other, 99), ranks_new.get(other, 99)
                assert (was < ranks_old[key]) != (is_now < ranks_new[key])


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_the_rank_alone_is_that_of_a_ranking_with_its_new_values_alone(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    ids = [f"hm-{k:03d}" for k in range(40)]
    before = {key: float(rng.choice(np.arange(1, 50) / 20)) for key in ids}
    after = {key: value if rng.random() < 0.5 else float(rng.random() * 3) for key, value in before.items()}
    rules = RULES.model_copy(update={"ties": Ties(tolerance=tolerance)})
    old, new = (replace(_side(rng, ids, values), definition=rules) for values in (before, after))
    moves = compare(old, new, limit=None).moves
    assert len(moves) > 10
    for move in moves:
        key = move.candidate_id
        alone = _side(rng, ids, before | {key: after[key]}).table
        assert move.rank_alone == rank_table(alone, rules).ranks[ids.index(key)]
