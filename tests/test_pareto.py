"""Pareto front and layers: against their definition, by symmetry, and of points whose layers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.ranking import pareto
from hemiec.ranking.pareto import pareto_front, pareto_layers

Floats = NDArray[np.float64]
VALUES = [-np.inf, -1.0, -0.0, 0.0, 1e-300, 2.0, np.inf]


def peeled(costs: Floats) -> list[int]:
    """Return Pareto layers by their definition: take the undominated points away, layer by layer."""
    no_worse = (costs[:, None] <= costs[None]).all(axis=2)
    dominates = no_worse & (costs[:, None] < costs[None]).any(axis=2)
    layers = np.zeros(len(costs), dtype=int)
    left, layer = np.ones(len(costs), dtype=bool), 0
    while left.any():
        layer += 1
        front = left & ~dominates[left].any(axis=0)
        layers[front] = layer
        left &= ~front
    return layers.tolist()


def sphere(n: int, m: int, seed: int) -> Floats:
    """Return points on the part of a sphere where none dominates another, the centre being the worst."""
    points = np.abs(np.random.default_rng(seed).standard_normal((n, m)))
    return 1 - points / np.linalg.norm(points, axis=1, keepdims=True)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(0, 40), st.integers(1, 5)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.sampled_from(VALUES))
    )
)
def test_few_values_with_many_equal_ones_equal_peeling(costs: Floats) -> None:
    expected = peeled(costs)
    assert pareto_layers(costs).tolist() == expected
    assert pareto_front(costs).tolist() == [layer == 1 for layer in expected]


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("n_values", [3, 12, 10_000])
def test_more_points_than_are_compared_each_with_each_equal_peeling(m: int, n_values: int) -> None:
    generator = np.random.default_rng(m)
    for n in (33, 200, 900):
        costs = generator.integers(0, n_values, (n, m)).astype(np.float64)
        expected = peeled(costs)
        assert pareto_layers(costs).tolist() == expected
        assert pareto_front(costs).tolist() == [layer == 1 for layer in expected]


@pytest.mark.parametrize("m", [2, 3, 4])
def test_correlated_criteria_make_many_layers_and_opposed_ones_few(m: int) -> None:
    generator = np.random.default_rng(0)
    along = generator.random((700, 1)) + 0.02 * generator.random((700, m))
    assert pareto_layers(along).tolist() == peeled(along)
    assert pareto_layers(along).max() > 30
    across = sphere(700, m, 1) + 0.02 * generator.random((700, m))
    assert pareto_layers(across).tolist() == peeled(across)
    assert pareto_layers(across).max() < 15


@pytest.mark.parametrize("m", [2, 3, 5])
def test_a_front_of_very_many_points_is_found_among_those_behind_it(m: int) -> None:
    generator = np.random.default_rng(2)
    front = sphere(20_000, m, 3)
    behind = front + generator.uniform(1e-9, 0.5, (20_000, 1))
    costs = np.concatenate([front, behind])
    order = generator.permutation(len(costs))
    assert pareto_front(costs[order]).tolist() == (order < 20_000).tolist()
    # What is behind is a copy of the front moved along: layer 2 at the least.
    layers = pareto_layers(costs[order])
    assert (layers[order < 20_000] == 1).all() and (layers[order >= 20_000] > 1).all()


def test_a_chain_has_as_many_layers_as_points_and_one_criterion_those_of_its_values() -> None:
    chain = np.arange(5_000.0)[:, None] * [1.0, 2.0, 0.0]
    assert pareto_layers(chain[::-1]).tolist() == list(range(5_000, 0, -1))
    assert pareto_layers(np.array([[3.0], [1.0], [2.0], [1.0]])).tolist() == [3, 1, 2, 1]
    assert pareto_layers(np.full((4, 3), 7.0)).tolist() == [1, 1, 1, 1]


def test_no_points_and_one() -> None:
    assert pareto_front(np.empty((0, 3))).tolist() == []
    assert pareto_layers(np.empty((0, 3))).tolist() == []
    assert pareto_front(np.array([[np.inf, -np.inf]])).tolist() == [True]


@pytest.mark.parametrize("find", [pareto_front, pareto_layers])
def test_what_cannot_be_compared_is_refused(find: object) -> None:
    assert callable(find)
    with pytest.raises(InputError, match="1 of 2 points lack a cost"):
        find(np.array([[0.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(InputError, match=r"expected costs of shape \(n_points, n_criteria\), got \(3,\)"):
        find(np.zeros(3))
    with pytest.raises(InputError, match="n_criteria"):
        find(np.empty((3, 0)))


def test_order_of_points_and_criteria_units_and_monotone_scales_do_not_matter() -> None:
    generator = np.random.default_rng(4)
    costs = generator.integers(0, 40, (6_000, 4)).astype(np.float64)
    layers, front = pareto_layers(costs), pareto_front(costs)
    assert (front == (layers == 1)).all()
    order = generator.permutation(len(costs))
    assert (pareto_layers(costs[order]) == layers[order]).all()
    assert (pareto_layers(costs[:, [2, 0, 3, 1]]) == layers).all()
    stretched = np.exp(costs / 7) * [1e-9, 1.0, 1e9, 5.0] - 3
    assert (pareto_layers(stretched) == layers).all() and (pareto_front(stretched) == front).all()
    assert (pareto_layers(np.asfortranarray(costs)) == layers).all()
    # A criterion that says nothing new changes nothing.
    assert (pareto_layers(np.column_stack([costs, costs[:, 0]])) == layers).all()


def test_the_sieve_keeps_the_whole_front_and_drops_most_of_the_rest() -> None:
    costs = np.random.default_rng(5).random((50_000, 3))
    left = pareto._sifted(costs)
    front = np.flatnonzero(pareto_front(costs))
    assert set(front) <= set(left)
    assert len(left) < 2_000
    # Points that are equal to one of the sample are not its victims.
    twice = np.concatenate([costs, costs])
    assert set(np.flatnonzero(pareto_front(twice))) == {*front, *(front + 50_000)}


def test_taking_a_point_away_never_puts_another_further_back() -> None:
    costs = np.random.default_rng(6).integers(0, 12, (400, 3)).astype(np.float64)
    layers = pareto_layers(costs)
    for gone in range(0, 400, 37):
        left = np.delete(np.arange(400), gone)
        assert (pareto_layers(costs[left]) <= layers[left]).all()
        assert (pareto_layers(costs[left]) >= layers[left] - 1).all()
