"""How far weights can move: exact ends, and against scores on both sides of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from hemiec.ranking.scoring import scores
from hemiec.ranking.sensitivity import weight_ranges
from hemiec.schemas.definition import Criterion, MissingRule
from hemiec.schemas.leaderboard import WeightRange

Floats = NDArray[np.float64]
NAN = np.nan
NAMES = ("band_gap", "migration_barrier", "formation_energy_per_atom", "energy_above_hull")


def criteria(*weights: float, missing: MissingRule = "leave_out") -> list[Criterion]:
    return [
        Criterion(property=name, direction="minimise", best=0, worst=1, weight=weight, required=False, missing=missing)
        for name, weight in zip(NAMES, weights, strict=False)
    ]


def ranges(matrix: list[list[float]], *weights: float, missing: MissingRule = "leave_out") -> list[WeightRange]:
    ids = np.array([f"hm-{i}" for i in range(len(matrix))])
    return weight_ranges(ids, np.array(matrix), criteria(*weights, missing=missing))


def test_two_candidates_and_two_criteria() -> None:
    """At weights 1, 1 scores are 0.6 and 0.5; they are equal where 0.9 t + 0.3 = 0.2 t + 0.8, at t = 5/7."""
    first, second = ranges([[0.9, 0.3], [0.2, 0.8]], 1, 1)
    assert (first.property, first.weight, first.high, first.winner_above) == ("band_gap", 1, None, None)
    assert first.low == pytest.approx(5 / 7)
    assert first.winner_below == "hm-1"
    # 0.9 + 0.3 t = 0.2 + 0.8 t at t = 1.4.
    assert (second.low, second.winner_below) == (0, None)
    assert (second.high, second.winner_above) == (pytest.approx(1.4), "hm-1")


def test_a_candidate_that_is_best_in_everything_wins_always() -> None:
    for found in ranges([[0.5, 0.5], [0.9, 0.8], [0.9, 0.1]], 1, 2):
        assert (found.low, found.high, found.winner_below, found.winner_above) == (0, None, None, None)


def test_the_nearest_rival_on_either_side_is_named() -> None:
    found = ranges([[1, 0], [0.7, 0.6], [0, 1], [0.6, 0.65]], 1, 1)[1]
    # 0.7 + 0.6 t wins from 1 / 0.5 ... of the others: 1 + 0 t below t = 0.5, 0.6 + 0.65 t above t = 2, 0 + t at 1.75.
    assert (found.low, found.winner_below) == (pytest.approx(0.5), "hm-0")
    assert (found.high, found.winner_above) == (pytest.approx(1.75), "hm-2")


def test_one_candidate_one_criterion_and_none() -> None:
    assert [(r.low, r.high) for r in ranges([[0.3, 0.4]], 1, 1)] == [(0, None), (0, None)]
    assert [(r.low, r.high) for r in ranges([[0.3], [0.9]], 2)] == [(0, None)]
    assert ranges([[NAN, NAN]], 1, 1) == []
    assert weight_ranges(np.array([], dtype=str), np.empty((0, 2)), criteria(1, 1)) == []


def test_equal_candidates_stay_equal_and_a_tie_ends_where_it_stands() -> None:
    assert [(r.low, r.high) for r in ranges([[0.3, 0.4], [0.3, 0.4]], 1, 1)] == [(0, None), (0, None)]
    # Equal at weight 1: the first wins by its name below, the other is better above.
    first, second = ranges([[0.2, 0.4], [0.4, 0.2]], 1, 1)
    assert (first.low, first.high, first.winner_above) == (0, 1, "hm-1")
    assert (second.low, second.high, second.winner_below) == (1, None, "hm-1")


def test_the_winner_may_be_named_where_ties_decide() -> None:
    ids, matrix = np.array(["hm-0", "hm-1"]), np.array([[0.2, 0.4], [0.4, 0.2]])
    found = weight_ranges(ids, matrix, criteria(1, 1), winner=1)[0]
    assert (found.low, found.high, found.winner_below) == (1, None, "hm-0")


def test_of_several_that_catch_up_at_once_the_fastest_wins_beyond() -> None:
    found = ranges([[1, 0], [0.5, 0.5], [0, 1], [0.25, 0.75]], 1.5, 1)[1]
    assert (found.high, found.winner_above) == (pytest.approx(1.5), "hm-2")


def test_a_criterion_that_is_left_out_makes_the_ends_roots_of_a_quadratic() -> None:
    """(0.5 + 0.9 t) / (1 + t) falls to the 0.6 of who has only the first criterion at t = 1/3."""
    found = ranges([[0.5, 0.9], [0.6, NAN]], 1, 1)
    assert (found[1].low, found[1].winner_below) == (pytest.approx(1 / 3), "hm-1")
    # With the first weight t: (0.5 t + 0.9) / (t + 1) = 0.6 at t = 3.
    assert (found[0].high, found[0].winner_above) == (pytest.approx(3), "hm-1")
    # One that lacks the criterion in question keeps its score whatever the weight: (0.5 t + 0.9) / (t + 1) = 0.7 at 1.
    level = ranges([[0.5, 0.9], [NAN, 0.7]], 1, 1)[0]
    assert (level.low, level.high, level.winner_above) == (0, 1, "hm-1")


@pytest.mark.parametrize("numbers", [[0.75, 0.25, 0.0, 0.9, 0.1], [0.3, 0.7, 0.1], [0.9, 0.3, 0.6, 0.7]])
def test_the_weight_of_the_only_criterion_that_is_known_changes_nothing(numbers: list[float]) -> None:
    for weight in (1e-3, 1.0, 3.0):
        assert [(r.low, r.high, r.winner_below) for r in ranges([[x] for x in numbers], weight)] == [(0, None, None)]
    # Of several criteria only one is known of the others, and the winner has it too.
    found = ranges([[0.9, 0.95], *([x, NAN] for x in (0.3, 0.6, 0.7))], 1, 1)
    assert [(r.low, r.high) for r in found] == [(0, None), (0, None)]


@pytest.mark.parametrize("ratio", [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("unit", [1e-290, 1.0, 1e290])
def test_a_small_or_large_weight_has_the_same_range(ratio: float, unit: float) -> None:
    """Scores are equal where 0.6 + 0.2 t = 0.5 + 0.7 t, at t = 0.2; a weight below it keeps the first winner."""
    (found,) = [r for r in ranges([[0.6, 0.2], [0.5, 0.7]], unit, unit * ratio) if r.property == NAMES[1]]
    if ratio < 0.2:
        assert (found.low, found.winner_below, found.winner_above) == (0, None, "hm-1")
        assert found.high == pytest.approx(0.2 * unit)
    else:
        assert (found.high, found.winner_below, found.winner_above) == (None, "hm-0", None)
        assert found.low == pytest.approx(0.2 * unit, rel=1e-11 * max(ratio, 10))


def test_an_end_beyond_all_numbers_is_none() -> None:
    assert [(r.high, r.winner_above) for r in ranges([[0.5, 0.2], [0.4, 0.21]], 1e308, 1e308)] == [(None, None)] * 2


def test_what_may_have_any_value_counts_as_the_middle() -> None:
    found = ranges([[0.9, NAN], [0.2, 0.8]], 1, 1, missing="whole_range")
    assert [r.model_dump() for r in found] == [r.model_dump() for r in ranges([[0.9, 0.5], [0.2, 0.8]], 1, 1)]


sixteenths = st.integers(0, 16).map(lambda k: k / 16)
tenths = st.integers(0, 10).map(lambda k: k / 10)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(
        lambda shape: st.tuples(
            arrays(np.float64, shape, elements=st.one_of(sixteenths, tenths, st.just(NAN))),
            st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=shape[1], max_size=shape[1]),
        )
    ),
    st.sampled_from(["unranked", "leave_out", "whole_range"]),
)
def test_the_winner_is_the_same_inside_and_another_beyond(case: tuple[Floats, list[float]], rule: MissingRule) -> None:
    matrix, weights = case
    rules = criteria(*weights, missing=rule)
    now = scores(matrix, rules)
    assume(not np.isnan(now).all())
    winner = int(np.nanargmax(now))

    def lead(j: int, weight: float) -> tuple[float, int]:
        """Return how far the winner is behind the best, and the best, at another weight."""
        found = scores(matrix, rules, [weight if i == j else w for i, w in enumerate(weights)])
        best = int(np.nanargmax(found))
        return float(found[best] - found[winner]), best

    ids = np.array([f"hm-{i:02}" for i in range(len(matrix))])
    for j, found in enumerate(weight_ranges(ids, matrix, rules, winner=winner)):
        assert found.low <= weights[j] and (found.high is None or found.high >= weights[j])
        top = found.high if found.high is not None else 1e6
        for share in (0.01, 0.3, 0.5, 0.9, 1.0):
            assert lead(j, found.low + share * (top - found.low))[0] <= 1e-9
        for end, other, step in ((found.low, found.winner_below, -1e-4), (found.high, found.winner_above, 1e-4)):
            if other is None:
                assert end in (0, None)
                continue
            assert end is not None
            behind, best = lead(j, end * (1 + step))
            assert behind > 0
            assert ids[best] == other
