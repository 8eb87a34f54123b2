"""Leaderboard definitions, ranks, Pareto layers and exports. All numbers here are synthetic."""

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hemiec.errors import InputError
from hemiec.ranking.definition import DEFAULT, LeaderboardDefinition, load_definition
from hemiec.ranking.export import to_csv, to_json, to_table
from hemiec.ranking.leaderboard import pareto_layers, rank, score, shown_result
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.definition import Criterion
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult, CandidateSpec
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopSummary
from hemiec.store.candidates import composition_of

DEFINITIONS = Path(__file__).parents[1] / "analysis" / "leaderboards"
NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
UNITS = dict(zip(PROPERTIES, ("eV", "eV", *["eV/atom"] * 4), strict=True))


def known(name: str, value: float, **more: Any) -> Quantity:
    return Quantity.model_validate({"value": value, "unit": UNITS[name], "method": f"synthetic {name}", "n": 1, **more})


def missing(name: str, reason: str = "not computed yet") -> Quantity:
    return Quantity(value=None, unit=UNITS[name], method=f"synthetic {name}", reason=reason)


def quantities(gap: float | None, barrier: float | None, energy: float | None) -> dict[str, Quantity]:
    values = dict(zip(PROPERTIES, (gap, barrier, energy, -0.05, 0.02, -0.12), strict=True))
    return {name: missing(name) if value is None else known(name, value) for name, value in values.items()}


def result(plan: str, n_atoms: int, found: dict[str, Quantity]) -> CandidateResult:
    hop = HopSummary(
        mobile="O", hop=0, environment=f"hop of {plan}", forward_barrier=0.5, reverse_barrier=0.5,
        reaction_coordinate=[0.0, 1.4, 2.8], energies=[0.0, 0.5, 0.0], job_uuid="uuid-hop",
    )  # fmt: skip
    return CandidateResult(
        plan_id=plan, n_atoms=n_atoms, hops=[hop], jobs=[], oxide_reaction=f"reaction of {plan}",
        warren_cowley_rms=0.01, icet_l1=0.3, shortest_image_distance=10.0,
        confirmed_formation_enthalpy_from_oxides_per_atom=missing("formation_enthalpy_from_oxides_per_atom"),
        **found,
    )  # fmt: skip


def candidate(
    key: str,
    gap: float | None = 1.0,
    barrier: float | None = 0.6,
    energy: float | None = -2.0,
    **changes: Any,
) -> CandidateDoc:
    """Return a synthetic candidate with the given properties and no results."""
    spec = CandidateSpec(
        candidate_id=key, formula=f"La0.5Sr0.5CoO3-{key}", label=f"(La,Sr)CoO3-{key}", prototype="ABX3",
        sites={"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": "1"}, "X": {"O": "1"}},
        oxidation_states={"La": 3, "Sr": 2, "Co": 3.5, "O": -2}, mean_B_valence=3.5, tolerance_factor=0.98,
        bartel_tau=4.0, configurational_entropy=0.693,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "candidate_id": key, "candidate": spec, **composition_of(spec), "campaigns": ["synthetic"],
        "results": [], "input_hash": "0", "builder_version": 1, "last_updated": NOW, **quantities(gap, barrier, energy),
    }  # fmt: skip
    return CandidateDoc.model_validate({**fields, **changes})


def order(doc: LeaderboardDoc) -> list[str]:
    return [entry.candidate_id for entry in doc.entries]


# Definitions


def test_shipped_default_is_the_default() -> None:
    assert load_definition(DEFINITIONS / "mixed-conductor.yaml") == DEFAULT


@pytest.mark.parametrize("path", sorted(DEFINITIONS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_definitions_load_and_rank(path: Path) -> None:
    definition = load_definition(path)
    assert definition.name == path.stem
    assert order(rank([candidate("a"), candidate("b", barrier=0.3)], definition)) == ["b", "a"]


GOOD = """
name: mine
title: Mine
criteria:
  - {property: band_gap, direction: minimise, weight: 1, best: 0, worst: 3}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("title:", "titel:", "unknown key 'titel'; did you mean 'title'?"),
        ("title: Mine", "", "title: missing."),
        ("weight", "wieght", "criteria[0]: unknown key 'wieght'; did you mean 'weight'?"),
        ("band_gap", "bandgap", "criteria[0].property: unknown property 'bandgap'; did you mean 'band_gap'?"),
        ("minimise", "minimize", "criteria[0].direction: expected minimise or maximise, got 'minimize'"),
        ("minimise", "maximise", "criteria[0].best: to maximise, expected best above worst, got best 0 and worst 3."),
        ("worst: 3", "worst: 0", "expected best below worst"),
        ("weight: 1", "weight: -1", "criteria[0].weight: expected"),
        ("best: 0", "best: low", "criteria[0].best: expected a valid number"),
        ("best: 0", "best: .nan", "criteria[0].best: expected a finite number"),
        ("name: mine", "name: ../mine", "name: expected to match pattern"),
        (GOOD, "", "expected a mapping with name, title, description, criteria, got nothing"),
        (GOOD, "a: [1", "cannot be read as YAML"),
    ],
)
def test_wrong_definition_says_what_and_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert load_definition(path).name == "mine"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_definition(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_property_may_count_once() -> None:
    twice = [DEFAULT.criteria[0], DEFAULT.criteria[0]]
    with pytest.raises(ValueError, match="'band_gap' appears twice"):
        LeaderboardDefinition(name="twice", title="Twice", criteria=twice)


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such leaderboard definition"):
        load_definition(tmp_path / "none.yaml")


# Scores and ranks


def test_score_is_one_at_best_zero_at_worst_and_clipped() -> None:
    best, worst = [c.best for c in DEFAULT.criteria], [c.worst for c in DEFAULT.criteria]
    assert score(best, DEFAULT.criteria) == 1
    assert score(worst, DEFAULT.criteria) == 0
    assert score([-9, -9, -9], DEFAULT.criteria) == 1
    assert score([9, 9, 9], DEFAULT.criteria) == 0
    # Half way in one of three equal criteria, at best in the others.
    assert score([1.5, best[1], best[2]], DEFAULT.criteria) == pytest.approx(5 / 6)


def test_stability_counts_where_a_definition_names_it() -> None:
    stable = LeaderboardDefinition(
        name="stable", title="Stable",
        criteria=[Criterion(property="energy_above_hull", direction="minimise", best=0, worst=0.1),
                  Criterion(property="interface_reaction_energy", direction="maximise", best=0, worst=-0.5)],
    )  # fmt: skip
    unstable = known("energy_above_hull", 0.09)
    docs = [candidate("a", energy_above_hull=unstable), candidate("b", gap=3)]
    assert order(rank(docs, stable)) == ["b", "a"]
    assert order(rank(docs, DEFAULT)) == ["a", "b"]
    unknown = rank([candidate("a", energy_above_hull=missing("energy_above_hull"))], stable).entries[0]
    assert unknown.rank is None
    assert rank(docs, stable).entries[1].energy_above_hull == unstable


def test_weights_count() -> None:
    criteria = [
        Criterion(property="band_gap", direction="maximise", weight=3, best=2, worst=0),
        Criterion(property="migration_barrier", direction="minimise", weight=1, best=0, worst=1),
    ]
    assert score([2, 1], criteria) == pytest.approx(0.75)
    assert score([0, 0], criteria) == pytest.approx(0.25)


def test_order_and_ties() -> None:
    docs = [candidate("c", gap=2), candidate("b", gap=1), candidate("a", gap=1), candidate("d", gap=0)]
    board = rank(docs, DEFAULT, created_at=NOW)
    assert order(board) == ["d", "a", "b", "c"]
    assert [entry.rank for entry in board.entries] == [1, 2, 3, 4]
    assert board.entries[1].score == board.entries[2].score
    assert [entry.pareto_layer for entry in board.entries] == [1, 2, 2, 3]
    assert board.created_at == NOW
    assert set(board.versions) == {"hemiec"}


def test_direction_turns_the_order() -> None:
    wide = LeaderboardDefinition(
        name="wide", title="Wide", criteria=[Criterion(property="band_gap", direction="maximise", best=3, worst=0)]
    )
    docs = [candidate("metal", gap=0), candidate("insulator", gap=3)]
    assert order(rank(docs, wide)) == ["insulator", "metal"]
    assert order(rank(docs, DEFAULT)) == ["metal", "insulator"]
    assert [entry.pareto_layer for entry in rank(docs, wide).entries] == [1, 2]


@pytest.mark.parametrize("absent", ["gap", "barrier", "energy"])
def test_missing_value_is_not_zero(absent: str) -> None:
    # With 0 in place of the missing gap or barrier this candidate would win.
    incomplete = candidate("a", **{"gap": 0.0, "barrier": 0.0, "energy": -9.0, absent: None})
    board = rank([incomplete, candidate("b", gap=3, barrier=2, energy=0)], DEFAULT)
    assert order(board) == ["b", "a"]
    last = board.entries[-1]
    assert (last.rank, last.score, last.pareto_layer) == (None, None, None)
    assert board.entries[0].pareto_layer == 1


def test_missing_value_that_does_not_count_is_no_matter() -> None:
    name = "formation_enthalpy_from_oxides_per_atom"
    board = rank([candidate("a").model_copy(update={name: missing(name)})], DEFAULT)
    assert board.entries[0].rank == 1


def test_nothing_to_rank() -> None:
    assert rank([], DEFAULT).entries == []
    assert [e.rank for e in rank([candidate("b", gap=None), candidate("a", gap=None)], DEFAULT).entries] == [None, None]


def test_campaign_chooses() -> None:
    docs = [candidate("a"), candidate("b", campaigns=["other", "more"])]
    board = rank(docs, DEFAULT, campaign="other")
    assert order(board) == ["b"]
    assert board.campaign == "other"


def test_duplicates_are_refused() -> None:
    with pytest.raises(InputError, match="hm-1 appear more than once"):
        rank([candidate("hm-1"), candidate("hm-1", gap=2)], DEFAULT)


def test_mixed_units_are_refused() -> None:
    wrong = Quantity(value=40.0, unit="kJ/mol", method="synthetic", n=1)
    with pytest.raises(InputError, match="migration_barrier: expected one unit"):
        rank([candidate("a"), candidate("b", migration_barrier=wrong)], DEFAULT)


values = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 1.5]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values, values), max_size=8), st.randoms(use_true_random=False))
def test_order_of_input_does_not_matter(rows: list[tuple[float | None, ...]], chance: random.Random) -> None:
    docs = [candidate(f"hm-{i}", *row) for i, row in enumerate(rows)]
    shuffled = chance.sample(docs, len(docs))
    board = rank(docs, DEFAULT, created_at=NOW)
    assert rank(shuffled, DEFAULT, created_at=NOW) == board
    ranked = [entry for entry in board.entries if entry.rank is not None]
    assert [entry.rank for entry in ranked] == list(range(1, len(ranked) + 1))
    assert len(ranked) == sum(None not in row for row in rows)


# Pareto layers


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def peeled(costs: list[tuple[float, ...]]) -> list[int]:
    """Return Pareto layers by their definition: take the undominated points away, layer by layer."""
    layers = [0] * len(costs)
    left, layer = set(range(len(costs))), 0
    while left:
        layer += 1
        front = {i for i in left if not any(dominates(costs[j], costs[i]) for j in left)}
        for i in front:
            layers[i] = layer
        left -= front
    return layers


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 4)] * n), min_size=1, max_size=25)))
def test_pareto_layers_equal_peeling(costs: list[tuple[float, ...]]) -> None:
    assert pareto_layers(np.array(costs, dtype=float)) == peeled(costs)


def test_pareto_layers_of_few_points() -> None:
    assert pareto_layers(np.empty((0, 3))) == []
    assert pareto_layers(np.array([[0.0, 1.0], [-0.0, 1.0], [-0.0, 2.0]])) == [1, 1, 2]
    assert pareto_layers(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])) == [1, 1, 2, 1]


# Which result is shown


def test_shown_result_is_the_one_with_the_best_barrier() -> None:
    best = quantities(1.0, 0.6, -2.0)
    gap_only = {**quantities(1.0, None, -2.0), "migration_barrier": missing("migration_barrier", "hops failed")}
    small = result("small", 40, {**best, "migration_barrier": known("migration_barrier", 0.9)})
    doc = candidate("a", results=[result("none", 20, gap_only), small, result("large", 80, best)])
    chosen = shown_result(doc)
    assert chosen is not None
    assert chosen.plan_id == "large"
    entry = rank([doc], DEFAULT).entries[0]
    assert (entry.n_atoms, entry.oxide_reaction, entry.warren_cowley_rms) == (80, "reaction of large", 0.01)
    assert [hop.environment for hop in entry.hops] == ["hop of large"]


def test_corrected_values_decide_the_rank() -> None:
    before = [candidate("a", barrier=0.4), candidate("b", barrier=0.5)]
    assert order(rank(before, DEFAULT)) == ["a", "b"]
    soft = known("migration_barrier", 0.7, uncorrected=0.4, interval=(0.5, 0.9), calibration="cal-1")
    board = rank([candidate("a", migration_barrier=soft), before[1]], DEFAULT)
    assert order(board) == ["b", "a"]
    assert board.entries[1].migration_barrier.uncorrected == 0.4


def test_magnetic_starts_and_confirmed_enthalpy_come_from_their_results() -> None:
    starts = [GapStart(magnetic_start="ferromagnetic", energy=-1.0, band_gap=1.0, total_moment=4.0, job_uuid="u")]
    best = quantities(1.0, 0.6, -2.0)
    confirmed = known("formation_enthalpy_from_oxides_per_atom", -0.1)
    barrier = result("barrier", 80, {**best, "band_gap": missing("band_gap")})
    gap = result("gap", 40, {**best, "migration_barrier": missing("migration_barrier")}).model_copy(
        update={"gap_starts": starts, "confirmed_formation_enthalpy_from_oxides_per_atom": confirmed}
    )
    entry = rank([candidate("a", results=[barrier, gap])], DEFAULT).entries[0]
    assert [hop.environment for hop in entry.hops] == ["hop of barrier"]
    assert entry.gap_starts == starts
    assert entry.confirmed_formation_enthalpy_from_oxides_per_atom == confirmed


def test_no_result_to_show() -> None:
    assert shown_result(candidate("a")) is None
    stranger = {name: known(name, 99.0) for name in PROPERTIES}
    assert shown_result(candidate("a", results=[result("other", 40, stranger)])) is None
    assert rank([candidate("a")], DEFAULT).entries[0].hops == []


# Exports


@pytest.fixture
def board() -> LeaderboardDoc:
    spread = known("migration_barrier", 0.61, n=5, std=0.1, min=0.31, max=0.82, interval=(0.43, 0.795),
                   uncorrected=0.48, calibration="cal-0123456789ab")  # fmt: skip
    hostile = missing("migration_barrier", '=HYPERLINK("http://example.invalid","x")')
    other = known("band_gap", 0.123456789012345, method="@SUM(1+1), another functional")
    docs = [
        candidate("hm-a", gap=0.4, migration_barrier=spread),
        candidate("hm-b", migration_barrier=hostile),
        candidate("hm-c", band_gap=other),
    ]
    return rank(docs, DEFAULT, created_at=NOW)


def test_json_round_trip(board: LeaderboardDoc) -> None:
    assert LeaderboardDoc.model_validate_json(to_json(board)) == board


def test_csv_round_trip(board: LeaderboardDoc) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert list(rows[0])[:5] == ["rank", "candidate_id", "formula", "band_gap_value", "band_gap_unit"]
    assert [row["candidate_id"] for row in rows] == order(board)
    for row, entry in zip(rows, board.entries, strict=True):
        assert row["rank"] == ("" if entry.rank is None else str(entry.rank))
        for name in PROPERTIES:
            found: Quantity = getattr(entry, name)
            for field in ("value", "std", "min", "max"):
                expected = getattr(found, field)
                assert (float(row[f"{name}_{field}"]) if row[f"{name}_{field}"] else None) == expected
            edges = [row[f"{name}_interval_low"], row[f"{name}_interval_high"]]
            assert edges == (["", ""] if found.interval is None else [str(edge) for edge in found.interval])
            assert row[f"{name}_uncorrected"] == ("" if found.uncorrected is None else str(found.uncorrected))
            assert row[f"{name}_calibration"] == (found.calibration or "")
            assert row[f"{name}_unit"] == found.unit
            assert row[f"{name}_n"] == str(found.n)


def test_csv_text_is_never_a_formula(board: LeaderboardDoc) -> None:
    text = to_csv(board)
    for row in csv.DictReader(io.StringIO(text)):
        for column, cell in row.items():
            if not column.endswith(("value", "std", "min", "max", "_low", "_high", "uncorrected")):
                assert not cell.startswith(("=", "+", "-", "@"))
    rows = {row["candidate_id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["hm-b"]["migration_barrier_reason"].startswith("'=HYPERLINK")
    assert rows["hm-c"]["band_gap_method"].startswith("'@SUM")
    # Numbers stay numbers.
    assert rows["hm-a"]["formation_energy_per_atom_value"] == "-2.0"


def shown(board: LeaderboardDoc) -> str:
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    console.print(to_table(board))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_table_shows_values_units_methods_and_reasons_in_100_columns(board: LeaderboardDoc) -> None:
    text = shown(board)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    for expected in ("Band gap", "eV/atom", "0.31–0.82 (5)", "0.61*", "[0.43, 0.80]", "* Corrected towards DFT",
                     "[90 % interval]", "-2.000", "Migration barrier: synthetic migration_barrier",
                     "Band gap a: @SUM(1+1), another functional", "Band gap b: synthetic band_gap",
                     "— Migration barrier of (La,Sr)CoO3-hm-b: =HYPERLINK"):  # fmt: skip
        assert expected in text
    assert "0.12 a" in text
    assert "…" not in text


def test_table_names_what_it_has_no_room_for() -> None:
    wide = {name: known(name, -0.123, n=4, min=-0.21, max=-0.1, interval=(-0.2, -0.05)) for name in PROPERTIES}
    by_interface = LeaderboardDefinition(
        name="interface", title="Interface",
        criteria=[Criterion(property="interface_reaction_energy", direction="maximise", best=0, worst=-0.5)],
    )  # fmt: skip
    text = shown(rank([candidate("a").model_copy(update=wide)], by_interface))
    head = text.splitlines()[:8]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    # What counts is there, whatever else finds no room.
    assert any("Interface" in line for line in head)
    assert "For want of room not here" in text
    left_out = text[text.index("For want of room") :].replace("\n", " ")
    assert "energy above the hull" in left_out
    assert not any("Above" in line for line in head)
    narrow = shown(rank([candidate("a")], DEFAULT))
    assert "For want of room" not in narrow
    assert "Above hull" in narrow


def test_table_prints_stored_text_as_it_is() -> None:
    doc = candidate("a")
    spec = doc.candidate.model_copy(update={"label": "[red]A[/red]\x1b[31mB"})
    text = shown(rank([doc.model_copy(update={"candidate": spec})], DEFAULT))
    assert "[red]A[/red]" in text
    assert "\x1b" not in text
