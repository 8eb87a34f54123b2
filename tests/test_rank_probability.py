"""Draws of uncertain values, and the ranks and probabilities over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest, norm, rankdata

from hemiec.errors import InputError
from hemiec.ranking import probability
from hemiec.ranking.probability import RankDraws, draw_ranks
from hemiec.ranking.scoring import scaled
from hemiec.ranking.spread import Z95, HalfNormals, half_normals, stream_keys, uniforms
from hemiec.ranking.table import CandidateTable, Estimates
from hemiec.schemas.definition import LeaderboardDefinition

Floats = NDArray[np.float64]
NAN = np.nan
#: A value alone, or with its 90 % interval.
Number = float | tuple[float, float, float]
ENERGY, BARRIER = "formation_energy_per_atom", "migration_barrier"


def table(**candidates: dict[str, Number]) -> CandidateTable:
    """Return the columns of candidates in the order of their names."""
    names = sorted(candidates)
    estimates = {}
    for name in ("band_gap", ENERGY, BARRIER):
        numbers = [candidates[key].get(name, NAN) for key in names]
        rows = [number if isinstance(number, tuple) else (number, NAN, NAN) for number in numbers]
        value, low, high = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        estimates[name] = Estimates(value, low, high, "eV")
    return CandidateTable(np.array(names, dtype=np.str_), names, estimates)


def definition(*criteria: dict[str, Any], **more: Any) -> LeaderboardDefinition:
    rest = {"direction": "minimise", "best": -10, "worst": 10}
    return LeaderboardDefinition.model_validate(
        {"name": "d", "title": "D", "draws": 5_000, "top": 1, "criteria": [rest | c for c in criteria]} | more
    )


ONE = definition({"property": ENERGY})
TWO = definition({"property": ENERGY}, {"property": BARRIER})


def drawn(candidates: CandidateTable, rules: LeaderboardDefinition = ONE, **more: Any) -> RankDraws:
    return draw_ranks(candidates, rules, np.arange(len(candidates)), **more)


def spread(value: float, std: float) -> tuple[float, float, float]:
    return value, value - Z95 * std, value + Z95 * std


def random_table(n: int, seed: int = 0) -> CandidateTable:
    generator = np.random.default_rng(seed)
    return table(
        **{
            f"hm-{i:03}": {name: spread(generator.normal(), generator.uniform(0.05, 0.8)) for name in (ENERGY, BARRIER)}
            for i in range(n)
        }
    )


# Streams of random numbers


def test_streams_are_those_of_splitmix64_and_fnv_1a() -> None:
    """The first two outputs of SplitMix64 from 0, and the published FNV-1a hash of "a"."""
    found = uniforms(np.zeros(1, dtype=np.uint64), 0, 2)[:, 0]
    assert found.tolist() == [((x >> 12) + 0.5) / 2**52 for x in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)]
    from hemiec.ranking import spread as module

    state = (0xAF63DC4C8601EC8C + int(module._mixed(np.uint64(5)))) % 2**64
    assert module._keys(module._codes(np.array(["a"])), np.uint64(5))[0] == module._mixed(np.uint64(state))


def test_streams_are_even_and_know_nothing_of_each_other() -> None:
    ids = np.array([f"hm-{i:016x}" for i in range(300)])
    found = uniforms(stream_keys(ids, "band_gap", 0), 0, 300)
    assert ((found > 0) & (found < 1)).all()
    assert kstest(found.ravel(), "uniform").pvalue > 0.01
    assert kstest(found[:, 0], "uniform").pvalue > 0.001 and kstest(found[0], "uniform").pvalue > 0.001
    for other in (stream_keys(ids, "migration_barrier", 0), stream_keys(ids, "band_gap", 1)):
        assert abs(np.corrcoef(found.ravel(), uniforms(other, 0, 300).ravel())[0, 1]) < 4 / 300
    assert abs(np.corrcoef(found[:, :-1].ravel(), found[:, 1:].ravel())[0, 1]) < 4 / 300
    assert abs(np.corrcoef(found[:-1].ravel(), found[1:].ravel())[0, 1]) < 4 / 300


def test_a_stream_is_its_candidates_own() -> None:
    alone = stream_keys(np.array(["hm-a"]), "band_gap", 3)
    among = stream_keys(np.array(["hm", "hm-a", "hm-a-much-longer-name"]), "band_gap", 3)
    assert among[1] == alone[0] and len(set(among)) == 3
    assert uniforms(alone, 7, 3).tolist() == uniforms(alone, 0, 10)[7:].tolist()
    assert stream_keys(np.array(["hm-a"]), "band_gap", 3 + 2**64).tolist() == alone.tolist()


# Distributions


def percentiles(found: HalfNormals, at: list[float]) -> list[float]:
    return found.at(np.array(at)[:, None])[:, 0].tolist()


def made(value: float, low: float = NAN, high: float = NAN, **more: Any) -> HalfNormals:
    return half_normals(np.array([value]), np.array([low]), np.array([high]), **more)


def test_a_distribution_has_its_percentiles() -> None:
    assert percentiles(made(1, 0.8, 2), [0.05, 0.5, 0.95]) == pytest.approx([0.8, 1, 2])
    # Each half is half of a normal distribution.
    assert percentiles(made(1, 0.8, 2), [0.25, 0.75]) == pytest.approx(
        [1 + 0.2 / Z95 * norm.ppf(0.25), 1 + norm.ppf(0.75) / Z95]
    )
    # One end may be the value itself; an interval beside its value has its middle as the median.
    assert percentiles(made(0, 0, 1), [0.05, 0.3, 0.95]) == pytest.approx([0, 0, 1])
    assert percentiles(made(5, 0, 2), [0.05, 0.5, 0.95]) == pytest.approx([0, 1, 2])


def test_a_value_without_an_interval_is_exact_or_as_uncertain_as_is_said() -> None:
    assert percentiles(made(1), [0.01, 0.99]) == [1, 1]
    assert percentiles(made(1, standard_uncertainty=0.5), [0.05, 0.95]) == pytest.approx([1 - Z95 / 2, 1 + Z95 / 2])
    assert percentiles(made(1, 0.9, 1.1, standard_uncertainty=0.5), [0.05, 0.95]) == pytest.approx([0.9, 1.1])
    assert np.isnan(percentiles(made(NAN, standard_uncertainty=0.5), [0.5])).all()


def test_a_floor_holds_every_draw() -> None:
    assert percentiles(made(0.1, -0.5, 0.7, floor=0.0), [0.001, 0.5, 0.95]) == pytest.approx([0, 0.1, 0.7])


# Ranks and probabilities


def test_the_probability_that_one_of_two_normal_values_is_lower() -> None:
    """P(X < Y) = Phi((m_Y - m_X) / sqrt(s_X^2 + s_Y^2)) for independent normal X and Y."""
    found = drawn(table(a={ENERGY: spread(1.0, 0.3)}, b={ENERGY: spread(1.5, 0.4)}))
    exact = norm.cdf(0.5 / 0.5)
    assert found.probability_top == pytest.approx([exact, 1 - exact], abs=0.022)  # four standard errors
    assert found.expected_rank == pytest.approx([2 - exact, 1 + exact], abs=0.022)
    assert found.probability_pareto.tolist() == found.probability_top.tolist()
    assert (found.rank_low.tolist(), found.rank_high.tolist()) == ([1, 1], [2, 2])


@pytest.mark.parametrize(("threshold", "below"), [(0.9, 0.05), (1.0, 0.5), (1.8, 0.95)])
def test_an_uneven_interval_beside_an_exact_value(threshold: float, below: float) -> None:
    found = drawn(table(a={ENERGY: (1.0, 0.9, 1.8)}, b={ENERGY: threshold}))
    assert found.probability_top[0] == pytest.approx(below, abs=0.03)


def test_the_probability_of_being_on_the_front_of_two_criteria() -> None:
    """One of two is off the front where the other is lower in both: P = 1 - p q for independent criteria."""
    pair = table(
        a={ENERGY: spread(0, 0.3), BARRIER: spread(2, 0.4)}, b={ENERGY: spread(0.5, 0.4), BARRIER: spread(1.5, 0.3)}
    )
    p = norm.cdf(0.5 / 0.5)  # a is the lower in energy, b in barrier
    expected = 1 - p * (1 - p)
    assert drawn(pair, TWO).probability_pareto == pytest.approx([expected, expected], abs=0.022)
    assert np.isnan(drawn(pair, TWO, draws=100, pareto=False).probability_pareto).all()


def test_equal_candidates_share() -> None:
    found = drawn(table(a={ENERGY: spread(1, 0.2)}, b={ENERGY: spread(1, 0.2)}))
    assert found.probability_top == pytest.approx([0.5, 0.5], abs=0.03)
    assert found.probability_top.sum() == pytest.approx(1)
    # Exactly equal in every draw: both are first, or the lower barrier decides.
    same = table(a={ENERGY: 1.0, BARRIER: 0.5}, b={ENERGY: 1.0, BARRIER: 0.4})
    assert drawn(same).probability_top.tolist() == [1, 1]
    assert drawn(same).expected_rank.tolist() == [1, 1]
    rules = definition({"property": ENERGY}, {"property": BARRIER, "best": 0.1, "worst": 0.2}, draws=100,
                       ties={"rule": "broken", "by": [BARRIER]})  # fmt: skip
    assert drawn(same, rules).expected_rank.tolist() == [2, 1]


def test_alone_and_exact() -> None:
    found = drawn(table(a={ENERGY: -5.0}), draws=100)
    assert (found.expected_rank[0], found.rank_low[0], found.rank_high[0]) == (1, 1, 1)
    assert (found.score_low[0], found.score_high[0]) == (0.75, 0.75)
    assert (found.probability_top[0], found.probability_pareto[0]) == (1, 1)
    assert drawn(table(), definition({"property": ENERGY}), draws=100).rows.size == 0


def by_hand(candidates: CandidateTable, rules: LeaderboardDefinition, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Return scores and ranks of every draw, shape=(n_draws, n_candidates), all at once."""
    total = 0.0
    for criterion in rules.criteria:
        found = candidates.estimates[criterion.property]
        keys = stream_keys(candidates.candidate_id, criterion.property, seed)
        floor = 0.0 if criterion.property == BARRIER else -np.inf
        values = half_normals(found.value, found.low, found.high, floor=floor).at(uniforms(keys, 0, draws))
        total = total + criterion.weight * scaled(values, criterion)
    score = np.asarray(total) / sum(c.weight for c in rules.criteria)
    return score, rankdata(-np.round(score, 9), method="min", axis=1)


@pytest.mark.parametrize("draws", [100, 101, 640])
def test_every_number_is_that_of_the_draws(draws: int) -> None:
    rules = definition({"property": ENERGY, "weight": 2, "best": -2, "worst": 2}, {"property": BARRIER}, top=4)
    candidates = random_table(23)
    found = drawn(candidates, rules, draws=draws, seed=5)
    score, rank = by_hand(candidates, rules, draws, 5)
    assert found.expected_rank == pytest.approx(rank.mean(axis=0))
    assert found.probability_top == pytest.approx((rank <= 4).mean(axis=0))
    for low, high, values in ((found.rank_low, found.rank_high, rank), (found.score_low, found.score_high, score)):
        assert low == pytest.approx(np.quantile(values, 0.05, axis=0, method="lower"))
        assert high == pytest.approx(np.quantile(values, 0.95, axis=0, method="higher"))
        assert ((low <= values) & (values <= high)).mean(axis=0).min() >= 0.9
    assert (found.draws, found.seed, found.top) == (draws, 5, 4)


def test_the_top_k_is_full_in_every_draw() -> None:
    found = drawn(random_table(12), TWO, draws=500, top=5)
    assert found.probability_top.sum() == pytest.approx(5)
    assert found.expected_rank.sum() == pytest.approx(12 * 13 / 2)
    assert drawn(random_table(12), TWO, draws=100, top=12).probability_top.tolist() == [1] * 12


def test_a_seed_gives_one_answer_and_another_seed_another() -> None:
    first, again = (drawn(random_table(6), TWO, draws=200, seed=1) for _ in range(2))
    assert first.expected_rank.tolist() == again.expected_rank.tolist()
    assert first.expected_rank.tolist() != drawn(random_table(6), TWO, draws=200, seed=2).expected_rank.tolist()


def test_the_order_of_the_rows_does_not_matter() -> None:
    candidates, order = random_table(9), np.random.default_rng(0).permutation(9)
    straight = drawn(candidates, TWO, draws=150)
    shuffled = draw_ranks(candidates, TWO, order, draws=150)
    for name in ("expected_rank", "rank_low", "rank_high", "score_low", "score_high", "probability_top",
                 "probability_pareto"):  # fmt: skip
        assert getattr(shuffled, name).tolist() == getattr(straight, name)[order].tolist()


def test_a_candidates_scores_are_its_own_whoever_else_is_there() -> None:
    candidates = random_table(30)
    everybody = drawn(candidates, TWO, draws=150)
    some = draw_ranks(candidates, TWO, np.array([3, 11, 29]), draws=150)
    assert some.score_low.tolist() == everybody.score_low[[3, 11, 29]].tolist()
    assert some.score_high.tolist() == everybody.score_high[[3, 11, 29]].tolist()
    # With fewer rivals in the same draws nobody stands worse.
    assert (some.expected_rank <= everybody.expected_rank[[3, 11, 29]]).all()
    assert (some.probability_pareto >= everybody.probability_pareto[[3, 11, 29]]).all()


def test_a_better_value_never_stands_worse() -> None:
    """The draws are the same, moved along: what was better than in one draw stays better."""
    base = random_table(15)
    before = drawn(base, TWO, draws=200, top=3)
    for row in (0, 7, 14):
        found = base.estimates[ENERGY]
        shift = np.where(np.arange(15) == row, 0.2, 0.0)
        moved = Estimates(found.value - shift, found.low - shift, found.high - shift, found.unit)
        after = drawn(CandidateTable(base.candidate_id, base.label, {**base.estimates, ENERGY: moved}), TWO,
                      draws=200, top=3)  # fmt: skip
        assert after.expected_rank[row] <= before.expected_rank[row]
        assert after.probability_top[row] >= before.probability_top[row]
        assert after.probability_pareto[row] >= before.probability_pareto[row]
        others = np.arange(15) != row
        assert (after.expected_rank[others] >= before.expected_rank[others]).all()


# Missing values, physical limits, memory


def test_a_missing_value_does_what_its_criterion_says() -> None:
    some = table(a={ENERGY: 0.0}, b={ENERGY: 5.0, BARRIER: 0.5}, c={BARRIER: 0.5})
    required = drawn(some, definition({"property": ENERGY}, {"property": BARRIER}), draws=100)
    assert (required.rank_low.tolist(), required.rank_high.tolist()) == ([0, 1, 0], [0, 1, 0])
    assert np.isnan(required.expected_rank).tolist() == [True, False, True]
    assert np.isnan(required.probability_top).tolist() == [True, False, True]

    optional = {"property": BARRIER, "best": 0, "worst": 1, "required": False}
    left_out = drawn(some, definition({"property": ENERGY}, optional))
    assert (left_out.score_low[0], left_out.score_high[0]) == (0.5, 0.5)
    assert left_out.probability_pareto.tolist()[:2] == [1, 1]
    # It cannot dominate by what is not known, but by what is known it is dominated.
    lower = drawn(table(a={ENERGY: 0.0}, b={ENERGY: -1.0, BARRIER: 9.0}), definition({"property": ENERGY}, optional))
    assert lower.probability_pareto.tolist() == [0, 1]

    anywhere = drawn(some, definition({"property": ENERGY}, optional | {"missing": "whole_range"}), draws=3_000)
    assert [anywhere.score_low[0], anywhere.score_high[0]] == pytest.approx([0.275, 0.725], abs=0.01)
    assert np.isnan(anywhere.expected_rank[2])
    # Its barrier is lower than 0.5 in half of the draws.
    dearer = table(a={ENERGY: 5.0}, b={ENERGY: 0.0, BARRIER: 0.5})
    found = drawn(dearer, definition({"property": ENERGY}, optional | {"missing": "whole_range"}), draws=3_000)
    assert found.probability_pareto == pytest.approx([0.5, 1], abs=0.04)


def test_what_a_missing_value_is_drawn_as_counts_in_score_and_front_alike() -> None:
    """With one criterion the front of a draw is who is first in it."""
    rules = definition({"property": BARRIER, "best": 0, "worst": 1, "required": False, "missing": "whole_range"})
    found = drawn(table(a={ENERGY: 0.0}, b={BARRIER: 0.2}), rules)
    assert found.probability_top == pytest.approx([0.2, 0.8], abs=0.023)
    assert found.probability_pareto.tolist() == found.probability_top.tolist()


def test_a_missing_target_may_be_anywhere_too() -> None:
    target = {"property": BARRIER, "direction": "target", "best": None, "worst": None, "window": [0, 1],
              "zero_at": [None, 2], "required": False, "missing": "whole_range"}  # fmt: skip
    found = drawn(table(a={ENERGY: 0.0}), definition({"property": ENERGY}, target), draws=3_000)
    assert [found.score_low[0], found.score_high[0]] == pytest.approx([0.275, 0.725], abs=0.01)


def test_a_standard_uncertainty_spreads_what_has_no_interval() -> None:
    rules = definition({"property": ENERGY, "standard_uncertainty": 0.3})
    found = drawn(table(a={ENERGY: 1.0}, b={ENERGY: (1.5, 1.5, 1.5)}), rules)
    assert found.probability_top[0] == pytest.approx(norm.cdf(0.5 / 0.3), abs=0.022)


def test_no_gap_and_no_barrier_is_drawn_below_zero_and_energies_are() -> None:
    for name, below in (("band_gap", 0.0), (BARRIER, 0.0), (ENERGY, -2.0)):
        found = drawn(table(a={name: (0.5, -2.0, 3.0)}), definition({"property": name}), draws=2_000)
        assert found.score_high[0] == pytest.approx((10 - below) / 20, abs=0.01)


def test_too_many_draws_for_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probability, "MOST_BYTES", 10_000)
    with pytest.raises(InputError, match="1,000 draws of 9 candidates") as caught:
        drawn(random_table(9), TWO, draws=1_000)
    assert "choose 8 candidates at most" in str(caught.value)
    assert draw_ranks(random_table(9), TWO, np.arange(8), draws=1_000).rows.size == 8
