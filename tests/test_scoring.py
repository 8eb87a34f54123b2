"""Scores on fixed scales, ranks with ties, and pages of the list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.ranking.scoring import (
    best_rows,
    cost_matrix,
    costs,
    costs_at,
    descending,
    ranks,
    rows_by_rank,
    scaled,
    scaled_matrix,
    scores,
)
from hemiec.schemas.definition import Criterion, Ties

Floats = NDArray[np.float64]
NAN = np.nan


def criterion(**keys: Any) -> Criterion:
    return Criterion.model_validate({"property": "band_gap", "direction": "minimise"} | keys)


GAP = criterion(best=0, worst=3)
WIDE = criterion(direction="maximise", best=5, worst=1)
LOG = criterion(transform="log", best=0.01, worst=1)
WINDOW = criterion(direction="target", window=(1, 2), zero_at=(0.5, 4))
LOG_WINDOW = criterion(direction="target", transform="log", window=(1, 10), zero_at=(0.1, 1000))
ABRUPT = criterion(direction="target", window=(0, 1.5), zero_at=(None, 2))
SHAPES = [GAP, WIDE, LOG, WINDOW, LOG_WINDOW, ABRUPT]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (GAP, {-1: 1, 0: 1, 1.5: 0.5, 3: 0, 9: 0, -np.inf: 1, np.inf: 0}),
        (WIDE, {0: 0, 1: 0, 2: 0.25, 5: 1, 9: 1}),
        # Half way in the logarithm; what is not positive is beyond every positive value.
        (LOG, {0.001: 1, 0.01: 1, 0.1: 0.5, 1: 0, 5: 0, 0: 1, -2: 1}),
        (criterion(direction="maximise", transform="log", best=1, worst=0.01), {0: 0, -1: 0, 0.1: 0.5, 1: 1}),
        (WINDOW, {0: 0, 0.5: 0, 0.75: 0.5, 1: 1, 1.7: 1, 2: 1, 3: 0.5, 4: 0, 5: 0}),
        (LOG_WINDOW, {0: 0, 0.1: 0, 10**-0.5: 0.5, 1: 1, 10: 1, 100: 0.5, 1000: 0}),
        (ABRUPT, {-1e-9: 0, 0: 1, 1.5: 1, 1.75: 0.5, 2: 0}),
        (criterion(direction="target", window=(1, 1)), {1: 1, 0.999: 0, 1.001: 0}),
    ],
    ids=str,
)
def test_scales(rule: Criterion, expected: dict[float, float]) -> None:
    values = np.array([*expected, NAN])
    assert scaled(values, rule) == pytest.approx([*expected.values(), NAN], nan_ok=True)
    assert np.isnan(costs(values, rule)[-1])


@pytest.mark.parametrize("rule", SHAPES, ids=str)
def test_a_lower_cost_never_has_a_lower_score(rule: Criterion) -> None:
    values = np.concatenate([np.linspace(-3, 8, 400), np.geomspace(1e-4, 1e4, 200)])
    order = np.argsort(costs(values, rule), kind="stable")
    assert (np.diff(scaled(values, rule)[order]) <= 1e-12).all()


@pytest.mark.parametrize("rule", SHAPES, ids=str)
def test_a_score_has_a_cost_between_those_of_the_ends(rule: Criterion) -> None:
    score = np.linspace(0, 1, 11)
    found = costs_at(score, rule)
    assert (np.diff(found) < 0).all()
    if rule.direction != "target":
        values = found if rule.direction == "minimise" else -found
        assert scaled(values, rule) == pytest.approx(score)


def test_pareto_costs_are_not_clipped() -> None:
    assert costs(np.array([-2.0, -1.0]), GAP).tolist() == [-2, -1]
    assert costs(np.array([8.0, 9.0]), WIDE).tolist() == [-8, -9]
    # In units of the distance over which the score falls; 1 and more on a side without one.
    assert costs(np.array([0.0, 1.5, 6.0]), WINDOW) == pytest.approx([2, 0, 2])
    assert costs(np.array([-0.25, 1.0, 2.5]), ABRUPT) == pytest.approx([1.25, 0, 2])


def three(**keys: Any) -> list[Criterion]:
    rest = criterion(property="migration_barrier", best=0, worst=1, **keys)
    return [GAP.model_copy(update={"weight": 3.0}), rest]


def test_score_is_the_weighted_mean() -> None:
    columns = {"band_gap": np.array([1.5, 0.0, 3.0]), "migration_barrier": np.array([0.0, 1.0, 1.0])}
    matrix = scaled_matrix(columns, three())
    assert matrix == pytest.approx(np.array([[0.5, 1], [1, 0], [0, 0]]))
    assert scores(matrix, three()) == pytest.approx([0.625, 0.75, 0])
    assert scores(matrix, three(), [1, 1]) == pytest.approx([0.75, 0.5, 0])
    assert scores(matrix, three(), [1, 0]) == pytest.approx([0.5, 1, 0])
    assert scores(matrix, three(), [2e-9, 2e-9]) == pytest.approx([0.75, 0.5, 0])


@pytest.mark.parametrize("weights", [[0, 0], [-1, 2], [NAN, 1], [np.inf, 1], [1], [1, 1, 1]], ids=str)
def test_weights_that_make_no_score_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="expected 2 numbers from 0 up"):
        scores(np.zeros((3, 2)), three(), weights)


@pytest.mark.parametrize("unit", [5e-324, 1e-300, 1e300, 8e307])
def test_only_ratios_of_weights_count(unit: float) -> None:
    matrix = np.array([[0.3, 0.9], [0.2, 1.0], [NAN, 0.4]])
    rules = [criterion(best=0, worst=1, required=False), criterion(property="migration_barrier", best=0, worst=1)]
    assert scores(matrix, rules, [unit, 2 * unit]) == pytest.approx([0.7, 2.2 / 3, 0.4])


def test_a_missing_value_does_what_its_criterion_says_and_is_never_zero_nor_last() -> None:
    columns = {"band_gap": np.array([0.0, 0.0, NAN]), "migration_barrier": np.array([NAN, 1.0, 0.0])}
    assert scores(scaled_matrix(columns, three()), three()) == pytest.approx([NAN, 0.75, NAN], nan_ok=True)
    left_out = three(required=False)
    assert left_out[1].missing == "leave_out"
    assert scores(scaled_matrix(columns, left_out), left_out) == pytest.approx([1, 0.75, NAN], nan_ok=True)
    middle = three(required=False, missing="whole_range")
    # The middle of 0.75 and 1, the scores that the best and the worst barrier would make.
    assert scores(scaled_matrix(columns, middle), middle)[0] == pytest.approx(0.875)
    # Nothing that counts is known.
    only = [left_out[1]]
    assert np.isnan(scores(scaled_matrix(columns, only), only)[0])


def test_what_is_missing_cannot_dominate() -> None:
    columns = {"band_gap": np.array([0.0, 1.0]), "migration_barrier": np.array([NAN, 0.5])}
    assert cost_matrix(columns, three(required=False)).tolist() == [[0, np.inf], [1, 0.5]]
    assert cost_matrix(columns, three(required=False, missing="whole_range")).tolist() == [[0, 0.5], [1, 0.5]]
    assert np.isnan(cost_matrix(columns, three())[0, 1])


# Ranks


def expected_ranks(score: list[float], ties: Ties, breakers: list[tuple[float, ...]]) -> list[int]:
    """Return ranks by their definition, one candidate after the other."""
    order = sorted((i for i in range(len(score)) if not np.isnan(score[i])), key=lambda i: (-score[i], i))
    groups: list[list[int]] = []
    for i in order:
        if groups and score[groups[-1][0]] - score[i] <= ties.tolerance:
            groups[-1].append(i)
        else:
            groups.append([i])
    if ties.rule == "broken":
        split: list[list[int]] = []
        for group in groups:
            keys = sorted({breakers[i] for i in group})
            split += [[i for i in group if breakers[i] == key] for key in keys]
        groups = split
    found, before = [0] * len(score), 0
    for number, group in enumerate(groups, start=1):
        for i in group:
            found[i] = number if ties.rule == "dense" else before + 1
        before += len(group)
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([NAN, 0.0, 0.1, 0.15, 0.2, 0.5, 1.0]), st.integers(0, 2), st.integers(0, 2)),
             max_size=60),
    st.sampled_from(["shared", "dense", "broken"]),
    st.sampled_from([0.0, 1e-9, 0.07]),
)  # fmt: skip
def test_ranks_follow_their_definition(rows: list[tuple[float, int, int]], rule: str, tolerance: float) -> None:
    by = ["band_gap", "migration_barrier"] if rule == "broken" else []
    ties = Ties.model_validate({"rule": rule, "tolerance": tolerance, "by": by})
    score = [row[0] for row in rows]
    breakers = [(float(row[1]), float(row[2])) for row in rows]
    found = ranks(np.array(score), ties, np.array(breakers).reshape(len(rows), 2))
    assert found.tolist() == expected_ranks(score, ties, breakers)
    listed = rows_by_rank(found)
    assert listed.tolist() == sorted((i for i in range(len(rows)) if found[i]), key=lambda i: (found[i], i))


def test_ties() -> None:
    score = np.array([0.5, NAN, 1.0, 0.5, 0.2])
    assert ranks(score, Ties()).tolist() == [2, 0, 1, 2, 4]
    assert ranks(score, Ties(rule="dense")).tolist() == [2, 0, 1, 2, 3]
    broken = Ties(rule="broken", by=["band_gap"])
    assert ranks(score, broken, np.array([[2.0], [0], [0], [1], [0]])).tolist() == [3, 0, 1, 2, 4]
    # Equal in that too: shared. One that is missing comes behind.
    assert ranks(score, broken, np.array([[2.0], [0], [0], [2], [0]])).tolist() == [2, 0, 1, 2, 4]
    assert ranks(score, broken, np.array([[NAN], [0], [0], [9], [0]])).tolist() == [3, 0, 1, 2, 4]
    with pytest.raises(InputError, match="costs of band_gap"):
        ranks(score, broken)
    # A group reaches as far as the tolerance from its best, not from neighbour to neighbour.
    assert ranks(np.array([1.0, 0.95, 0.9]), Ties(tolerance=0.06)).tolist() == [1, 1, 3]
    assert ranks(np.empty(0), Ties()).tolist() == []


def test_rounding_makes_no_difference_between_equal_candidates() -> None:
    assert ranks(np.array([0.1 + 0.2, 0.3]), Ties()).tolist() == [1, 1]
    assert ranks(np.array([0.1 + 0.2, 0.3]), Ties(tolerance=0)).tolist() == [1, 2]


# Order and pages

SPREADS = {
    "even": lambda generator, n: generator.random(n),
    "few values": lambda generator, n: generator.integers(0, 4, n) / 4,
    "crowded": lambda generator, n: np.where(generator.random(n) < 0.001, 1e9, generator.random(n)),
    "wide": lambda generator, n: np.exp(8 * generator.standard_normal(n)),
    "tiny": lambda generator, n: generator.random(n) * 5e-324 * 100,
    "equal": lambda generator, n: np.full(n, 0.25),
    "infinite": lambda generator, n: generator.choice([-np.inf, 0.0, 1.0, np.inf], n),
}


@pytest.mark.parametrize("kind", SPREADS)
@pytest.mark.parametrize("n", [0, 1, 2, 40, 5_000])
def test_order_is_that_of_a_stable_sort(kind: str, n: int) -> None:
    score = SPREADS[kind](np.random.default_rng(n), n)
    assert descending(score).tolist() == np.argsort(-score, kind="stable").tolist()
    some = np.where(np.random.default_rng(0).random(n) < 0.2, NAN, score)
    expected = [i for i in np.argsort(-some, kind="stable") if not np.isnan(some[i])]
    assert descending(some).tolist() == expected
    for first, limit in ((0, 10), (3, 1), (n // 2, 7), (0, 0), (n + 5, 5), (0, n)):
        assert best_rows(some, first, limit).tolist() == expected[first : first + limit]


def test_numbers_too_far_apart_for_buckets_are_sorted_all_the_same() -> None:
    far = np.array([1e308, -1e308, 0.0, 1e-308, -0.0, 1e308])
    assert descending(far).tolist() == np.argsort(-far, kind="stable").tolist()
    assert best_rows(far, 1, 3).tolist() == [5, 3, 2]
