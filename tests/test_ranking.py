"""Ranks, ties, missing values and what a leaderboard says beside them. All numbers here are synthetic."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked_candidates import NOW, candidate, known, missing, quantities, result

from hemiec.errors import InputError
from hemiec.ranking.definition import DEFAULT, shipped, shipped_names, with_weights
from hemiec.ranking.entries import shown_result
from hemiec.ranking.leaderboard import rank
from hemiec.ranking.order import rank_table
from hemiec.ranking.table import table_of
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.definition import Criterion, LeaderboardDefinition, Ties
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity

GAP = Criterion(property="band_gap", direction="minimise", best=0, worst=2)
BARRIER = Criterion(property="migration_barrier", direction="minimise", best=0, worst=1)


def by(*criteria: Criterion, **more: object) -> LeaderboardDefinition:
    content = {"name": "made-up", "title": "Made up", "criteria": [c.model_dump() for c in criteria], **more}
    return LeaderboardDefinition.model_validate(content)


def order(doc: LeaderboardDoc) -> list[str]:
    return [entry.candidate_id for entry in doc.entries]


def ranks(doc: LeaderboardDoc) -> dict[str, int | None]:
    return {entry.candidate_id: entry.rank for entry in doc.entries}


def only(doc: CandidateDoc, definition: LeaderboardDefinition) -> LeaderboardEntry:
    return rank([doc], definition).entries[0]


# Scores and order


def test_score_is_one_at_best_zero_at_worst_and_clipped() -> None:
    best, worst = ([getattr(c, end) for c in DEFAULT.criteria] for end in ("best", "worst"))
    assert only(candidate("a", *best), DEFAULT).score == 1
    assert only(candidate("a", *worst), DEFAULT).score == 0
    assert only(candidate("a", 0.0, 0.0, -9.0), DEFAULT).score == 1
    assert only(candidate("a", 9.0, 9.0, 9.0), DEFAULT).score == 0
    # Half way in one of three equal criteria, at best in the others.
    assert only(candidate("a", 1.5, *best[1:]), DEFAULT).score == pytest.approx(5 / 6)


def test_weights_count() -> None:
    wide = GAP.model_copy(update={"direction": "maximise", "best": 2.0, "worst": 0.0, "weight": 3.0})
    assert only(candidate("a", gap=2, barrier=1), by(wide, BARRIER)).score == pytest.approx(0.75)
    assert only(candidate("a", gap=0, barrier=0), by(wide, BARRIER)).score == pytest.approx(0.25)


def test_target_window_is_indifferent_inside() -> None:
    window = Criterion(property="band_gap", direction="target", window=(0.5, 1.5), zero_at=(None, 3.5))
    gaps = {"a": 0.5, "b": 1.0, "c": 1.5, "d": 2.5, "e": 4.0, "f": 0.4}
    board = rank([candidate(key, gap=gap) for key, gap in gaps.items()], by(window))
    scores = {entry.candidate_id: entry.score for entry in board.entries}
    assert scores == pytest.approx({"a": 1, "b": 1, "c": 1, "d": 0.5, "e": 0, "f": 0})
    assert ranks(board) == {"a": 1, "b": 1, "c": 1, "d": 4, "e": 5, "f": 5}


def test_logarithm_makes_a_factor_count_the_same_anywhere() -> None:
    decades = by(Criterion(property="migration_barrier", direction="minimise", transform="log", best=0.01, worst=1))
    board = rank([candidate("a", barrier=0.1), candidate("b", barrier=0.01), candidate("c", barrier=1)], decades)
    assert [entry.score for entry in board.entries] == pytest.approx([1, 0.5, 0])


def test_stability_counts_where_a_definition_names_it() -> None:
    stable = by(
        Criterion(property="energy_above_hull", direction="minimise", best=0, worst=0.1),
        Criterion(property="interface_reaction_energy", direction="maximise", best=0, worst=-0.5),
    )
    unstable = known("energy_above_hull", 0.09)
    docs = [candidate("a", energy_above_hull=unstable), candidate("b", gap=3)]
    assert order(rank(docs, stable)) == ["b", "a"]
    assert order(rank(docs, DEFAULT)) == ["a", "b"]
    assert rank(docs, stable).entries[1].energy_above_hull == unstable


def test_direction_turns_the_order() -> None:
    wide = by(GAP.model_copy(update={"direction": "maximise", "best": 3.0, "worst": 0.0}))
    docs = [candidate("metal", gap=0), candidate("insulator", gap=3)]
    assert order(rank(docs, wide)) == ["insulator", "metal"]
    assert order(rank(docs, DEFAULT)) == ["metal", "insulator"]
    assert [entry.pareto_layer for entry in rank(docs, wide).entries] == [1, 2]


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_definitions_rank(name: str) -> None:
    assert order(rank([candidate("a"), candidate("b", barrier=0.3)], shipped(name))) == ["b", "a"]


def test_corrected_values_decide_the_rank() -> None:
    before = [candidate("a", barrier=0.4), candidate("b", barrier=0.5)]
    assert order(rank(before, DEFAULT)) == ["a", "b"]
    soft = known("migration_barrier", 0.7, uncorrected=0.4, interval=(0.5, 0.9), calibration="cal-1")
    board = rank([candidate("a", migration_barrier=soft), before[1]], DEFAULT)
    assert order(board) == ["b", "a"]
    assert board.entries[1].migration_barrier.uncorrected == 0.4


def test_nothing_to_rank() -> None:
    assert rank([], DEFAULT).entries == []
    assert rank([], DEFAULT).sensitivity == []
    assert [e.rank for e in rank([candidate("b", gap=None), candidate("a", gap=None)], DEFAULT).entries] == [None, None]


def test_campaign_chooses() -> None:
    docs = [candidate("a"), candidate("b", campaigns=["other", "more"])]
    board = rank(docs, DEFAULT, campaign="other")
    assert order(board) == ["b"]
    assert board.campaign == "other"


def test_duplicates_are_refused() -> None:
    with pytest.raises(InputError, match="hm-1 comes twice"):
        rank([candidate("hm-1"), candidate("hm-1", gap=2)], DEFAULT)


def test_other_units_are_refused() -> None:
    wrong = Quantity(value=40.0, unit="kJ/mol", method="synthetic", n=1)
    with pytest.raises(InputError, match="migration_barrier of b: expected it in eV, got kJ/mol"):
        rank([candidate("a"), candidate("b", migration_barrier=wrong)], DEFAULT)


def test_contradictions_are_refused() -> None:
    with pytest.raises(InputError, match="expected best below worst"):
        rank([candidate("a")], by(GAP.model_copy(update={"worst": -1.0})))


# Ties


@pytest.mark.parametrize(
    ("ties", "expected"),
    [
        (Ties(), [1, 2, 2, 4]),
        (Ties(rule="dense"), [1, 2, 2, 3]),
        (Ties(tolerance=0.2), [1, 1, 1, 4]),
        (Ties(rule="broken", by=["migration_barrier"]), [1, 3, 2, 4]),
        (Ties(rule="broken", by=["band_gap"]), [1, 2, 2, 4]),
    ],
)
def test_ties(ties: Ties, expected: list[int]) -> None:
    # Only the gap decides the score; b and c are equal, and c has the lower barrier.
    little = BARRIER.model_copy(update={"best": 10.0, "worst": 11.0})
    docs = [candidate("a", gap=0), candidate("b", gap=0.5), candidate("c", gap=0.5, barrier=0.2), candidate("d", gap=1)]
    board = rank(docs, by(GAP, little, ties=ties.model_dump()))
    assert [ranks(board)[key] for key in "abcd"] == expected
    assert [entry.rank for entry in board.entries] == sorted(expected)
    assert board.ties == ties


def test_order_and_ties_of_the_default() -> None:
    docs = [candidate("c", gap=2), candidate("b", gap=1), candidate("a", gap=1), candidate("d", gap=0)]
    board = rank(docs, DEFAULT, created_at=NOW)
    assert order(board) == ["d", "a", "b", "c"]
    assert [entry.rank for entry in board.entries] == [1, 2, 2, 4]
    assert board.entries[1].score == board.entries[2].score
    assert [entry.pareto_layer for entry in board.entries] == [1, 2, 2, 3]
    assert board.created_at == NOW
    assert set(board.versions) == {"hemiec"}


# Missing values


@pytest.mark.parametrize("absent", ["gap", "barrier", "energy"])
def test_missing_value_is_not_zero(absent: str) -> None:
    # With 0 in place of the missing gap or barrier this candidate would win.
    incomplete = candidate("a", **{"gap": 0.0, "barrier": 0.0, "energy": -9.0, absent: None})
    board = rank([incomplete, candidate("b", gap=3, barrier=2, energy=0)], DEFAULT)
    assert order(board) == ["b", "a"]
    last = board.entries[-1]
    assert (last.rank, last.score, last.pareto_layer, last.uncertainty) == (None, None, None, None)
    assert len(last.missing) == 1 and absent.split("_")[0] in last.missing[0]
    assert board.entries[0].pareto_layer == 1 and board.entries[0].missing == []


def test_missing_value_that_does_not_count_is_no_matter() -> None:
    name = "formation_enthalpy_from_oxides_per_atom"
    entry = only(candidate("a").model_copy(update={name: missing(name)}), DEFAULT)
    assert (entry.rank, entry.missing) == (1, [])


def test_optional_value_is_left_out_and_never_silently_last() -> None:
    optional = BARRIER.model_copy(update={"required": False, "missing": "leave_out"})
    docs = [candidate("a", gap=1, barrier=None), candidate("b", gap=1, barrier=0.6), candidate("c", gap=1, barrier=0.4)]
    board = rank(docs, by(GAP, optional))
    # a has the score of its gap alone, 0.5: between 0.45 and 0.55.
    assert order(board) == ["c", "a", "b"]
    assert [entry.score for entry in board.entries] == pytest.approx([0.55, 0.5, 0.45])
    assert board.entries[1].missing == ["migration_barrier"]
    # It does not dominate by a number that nobody knows.
    assert [entry.pareto_layer for entry in board.entries] == [1, 3, 2]


def test_value_that_may_be_anything_stands_in_the_middle_with_a_wide_interval() -> None:
    anything = BARRIER.model_copy(update={"required": False, "missing": "whole_range"})
    exact = [candidate(key, gap=1, barrier=x) for key, x in (("b", 0.1), ("c", 0.45), ("d", 0.55), ("e", 0.9))]
    board = rank([candidate("a", gap=1, barrier=None), *exact], by(GAP, anything))
    assert ranks(board) == {"b": 1, "c": 2, "a": 3, "d": 4, "e": 5}
    found = next(entry for entry in board.entries if entry.candidate_id == "a")
    assert found.score == pytest.approx(0.5)
    assert found.uncertainty is not None
    assert found.uncertainty.rank_interval == (1, 5)
    assert found.uncertainty.score_interval == pytest.approx((0.275, 0.725), abs=0.03)
    assert found.missing == ["migration_barrier"]


def test_whoever_lacks_every_optional_value_is_not_ranked() -> None:
    optional = [c.model_copy(update={"required": False, "missing": "leave_out"}) for c in (GAP, BARRIER)]
    board = rank([candidate("a", gap=None, barrier=None), candidate("b", gap=2, barrier=1)], by(*optional))
    assert ranks(board) == {"b": 1, "a": None}
    assert board.entries[1].missing == ["band_gap", "migration_barrier"]


# How sure


def test_exact_values_leave_no_doubt_about_the_rank() -> None:
    board = rank([candidate("a", gap=0), candidate("b", gap=1), candidate("c", gap=2)], DEFAULT)
    for entry in board.entries:
        assert entry.uncertainty is not None
        assert entry.uncertainty.expected_rank == entry.rank
        assert entry.uncertainty.rank_interval == (entry.rank, entry.rank)
        assert entry.uncertainty.score_interval == pytest.approx((entry.score, entry.score))
        assert entry.uncertainty.probability_top == 1
        assert entry.uncertainty.probability_pareto == (entry.pareto_layer == 1)


def test_equal_distributions_win_equally_often() -> None:
    same = {"migration_barrier": known("migration_barrier", 0.6, interval=(0.4, 0.8))}
    definition = DEFAULT.model_copy(update={"draws": 4000, "top": 1})
    for entry in rank([candidate("a", **same), candidate("b", **same)], definition).entries:
        assert entry.uncertainty is not None
        assert entry.rank == 1
        # Four standard errors of a share of 4000 draws.
        assert entry.uncertainty.probability_top == pytest.approx(0.5, abs=0.032)
        assert entry.uncertainty.expected_rank == pytest.approx(1.5, abs=0.032)
        assert entry.uncertainty.rank_interval == (1, 2)


def test_draws_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    wide = known("migration_barrier", 0.6, interval=(0.2, 1.0))
    docs = [candidate("a", migration_barrier=wide), candidate("b", barrier=0.7), candidate("c", barrier=0.5)]
    first = rank(docs, DEFAULT, created_at=NOW)
    assert rank(docs, DEFAULT, created_at=NOW) == first
    other = rank(docs, DEFAULT.model_copy(update={"seed": 1}), created_at=NOW)
    assert other != first
    assert ranks(other) == ranks(first)
    assert (first.draws, first.top, first.seed) == (DEFAULT.draws, DEFAULT.top, DEFAULT.seed)


def test_weights_can_move_until_another_wins() -> None:
    # a leads by its gap, b by its barrier: equal where w_gap (1.0 - 0.5) = w_barrier (0.8 - 0.6).
    docs = [candidate("a", gap=0, barrier=0.4), candidate("b", gap=1, barrier=0.2)]
    gap, barrier = rank(docs, by(GAP, BARRIER)).sensitivity
    assert (gap.property, gap.weight, gap.winner_below, gap.winner_above, gap.high) == ("band_gap", 1, "b", None, None)
    assert gap.low == pytest.approx(0.4)
    assert (barrier.low, barrier.winner_above, barrier.high) == (0, "b", pytest.approx(2.5))
    for weight, winner in ((0.39, "b"), (0.41, "a")):
        assert order(rank(docs, by(GAP.model_copy(update={"weight": weight}), BARRIER)))[0] == winner


def test_doubts_come_with_the_entry() -> None:
    entry = only(candidate("a", gap=0.0), DEFAULT)
    assert entry.doubts
    assert {doubt.property for doubt in entry.doubts} <= {*PROPERTIES, None}


# Order of input and tables


values = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 1.5]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(values, values, values), max_size=8), st.randoms(use_true_random=False))
def test_order_of_input_does_not_matter(rows: list[tuple[float | None, ...]], chance: random.Random) -> None:
    docs = [candidate(f"hm-{i}", *row) for i, row in enumerate(rows)]
    shuffled = chance.sample(docs, len(docs))
    few = DEFAULT.model_copy(update={"draws": 100})
    board = rank(docs, few, created_at=NOW)
    assert rank(shuffled, few, created_at=NOW) == board
    ranked = [entry for entry in board.entries if entry.rank is not None]
    # Whoever shares a rank with others leaves the next ones out.
    assert [e.rank for e in ranked] == [1 + sum(b.score > e.score for b in ranked) for e in ranked]  # type: ignore[operator]
    assert len(ranked) == sum(None not in row for row in rows)


def test_table_has_values_and_intervals_in_the_order_of_ids() -> None:
    spread = known("migration_barrier", 0.6, interval=(0.5, 0.8))
    table = table_of([candidate("b", gap=None), candidate("a", migration_barrier=spread)])
    assert table.candidate_id.tolist() == ["a", "b"]
    assert table.label == ["(La,Sr)CoO3-a", "(La,Sr)CoO3-b"]
    barrier, gap = table.estimates["migration_barrier"], table.estimates["band_gap"]
    assert (barrier.value.tolist(), barrier.low[0], barrier.high[0], barrier.unit) == ([0.6, 0.6], 0.5, 0.8, "eV")
    assert np.isnan([barrier.low[1], gap.value[1], gap.low[0]]).all()
    assert len(table_of([])) == 0


def test_a_table_gives_the_ranks_of_the_leaderboard() -> None:
    rng = np.random.default_rng(3)
    docs = [candidate(f"hm-{i:02}", *map(float, rng.uniform((0, 0.2, -4), (3, 1.2, -1)))) for i in range(40)]
    ranking = rank_table(table_of(docs), DEFAULT)
    board = rank(docs, DEFAULT)
    assert ranking.table.candidate_id[ranking.order].tolist() == order(board)
    assert ranking.ranks[ranking.order].tolist() == [entry.rank for entry in board.entries]
    assert ranking.layers[ranking.order].tolist() == [entry.pareto_layer for entry in board.entries]
    assert ranking.n_ranked == 40
    assert ranking.page(5, 7).tolist() == ranking.order[5:12].tolist()
    # Other weights: all anew, or from what is known, is the same.
    weights = {"band_gap": 5.0, "formation_energy_per_atom": 0.0}
    anew = rank_table(table_of(docs), DEFAULT, weights=weights)
    again = ranking.with_weights(weights)
    assert again.scaled.shape == (40, 2)
    assert again.scores.tolist() == anew.scores.tolist() != ranking.scores.tolist()
    assert again.order.tolist() == anew.order.tolist()


def test_only_the_chosen_take_part() -> None:
    docs = [candidate("a", gap=0), candidate("b", gap=1), candidate("c", gap=2)]
    chosen = np.array([False, True, True])
    ranking = rank_table(table_of(docs), DEFAULT, chosen=chosen)
    assert ranking.ranks.tolist() == [0, 1, 2]
    assert ranking.layers.tolist() == [0, 1, 2]
    assert np.isnan(ranking.scores[0])
    assert {found.winner_above for found in ranking.weight_ranges()} <= {"c", None}
    assert rank_table(table_of(docs), DEFAULT, chosen=np.zeros(3, bool)).weight_ranges() == []
    with pytest.raises(InputError, match=r"expected a choice among 3, got shape \(2,\)"):
        rank_table(table_of(docs), DEFAULT, chosen=chosen[:2])


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


def test_a_winner_at_every_weight_may_lose_to_who_joins_without_the_criterion() -> None:
    """A range is of weights above 0: at 0 nothing is required any more, and who lacked the value is ranked."""
    found = [candidate("hm-a", 1.0, 0.6, -2.0), candidate("hm-b", 2.0, 0.8, -2.0), candidate("hm-c", None, 0.3, -2.0)]
    (gap, *_) = rank(found, DEFAULT).sensitivity
    assert (gap.property, gap.low, gap.high, gap.winner_below) == ("band_gap", 0, None, None)
    winners = [rank(found, with_weights(DEFAULT, {"band_gap": weight})).entries[0] for weight in (1e3, 1e-9, 0)]
    assert [entry.candidate_id for entry in winners] == ["hm-a", "hm-a", "hm-c"]
