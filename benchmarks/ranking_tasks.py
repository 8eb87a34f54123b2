"""The tasks of bench_ranking.py: what they work on, and how hemiec and each peer do them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hemiec.ranking.order import Ranking, rank_table
from hemiec.ranking.pareto import pareto_front, pareto_layers
from hemiec.ranking.probability import draw_ranks
from hemiec.ranking.table import CandidateTable, Estimates
from hemiec.schemas.definition import LeaderboardDefinition

Floats = np.ndarray
#: A tool's way to do a task, and what of its result must be that of every other tool.
Work = tuple[Callable[[], Any], Callable[[Any], Any]]
SCALES = {"band_gap": (0.0, 3.0), "migration_barrier": (0.2, 1.2), "formation_energy_per_atom": (-4.0, -1.0)}
WEIGHTS = {"band_gap": 2.0, "migration_barrier": 0.7, "formation_energy_per_atom": 1.3}
SIZES = {"what_if": 1_000_000, "front": 1_000_000, "layers": 100_000, "draws": 100_000}
ON_FRONT, DRAWS, TOP, PAGE = 100_000, 200, 10, 100


def made_up(n: int) -> CandidateTable:
    """Return made-up candidates with intervals of about 0.3 eV."""
    generator = np.random.default_rng(0)
    estimates = {}
    for name, (best, worst) in SCALES.items():
        value = best - 0.1 + (worst - best + 0.2) * generator.random(n)
        low, high = value - 0.3 * generator.random(n), value + 0.3 * generator.random(n)
        estimates[name] = Estimates(value, low, high, "eV")
    ids = np.array([f"hm-{i:016x}" for i in range(n)])
    return CandidateTable(ids, [""] * n, estimates)


def rules() -> LeaderboardDefinition:
    """Return band gap, barrier and formation energy with equal weights."""
    criteria = [
        {"property": name, "direction": "minimise", "best": best, "worst": worst}
        for name, (best, worst) in SCALES.items()
    ]
    content = {"name": "bench", "title": "bench", "criteria": criteria, "top": TOP, "ties": {"tolerance": 0}}
    return LeaderboardDefinition.model_validate(content)


def points(n: int, m: int, on_front: int | None = None) -> Floats:
    """Return even random points; or some on a sphere, where none dominates another, and the others behind it."""
    generator = np.random.default_rng(1)
    if on_front is None:
        return generator.random((n, m))
    directions = np.abs(generator.standard_normal((n, m)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    inside = 0.999 * generator.random(n - on_front)[:, None] ** (1 / m)
    directions[on_front:] *= inside
    return 1.0 - directions[generator.permutation(n)]


def works(task: str, tool: str, scale: float = 1.0) -> Work:
    """Return how a tool does a task on made-up data; ``scale`` makes it smaller."""
    kind, _, form = task.partition(" ")
    n = int(SIZES[kind] * scale)
    if kind == "what_if":
        return _what_if(tool, form, n)
    if kind == "draws":
        return _draws(tool, n)
    m, _, shape = form.partition(" ")
    costs = points(n, int(m), int(ON_FRONT * scale) if shape == "huge" else None)
    return _front(tool, costs) if kind == "front" else _layers(tool, costs)


def _what_if(tool: str, form: str, n: int) -> Work:
    """Return new weights to the first page, or to the rank of everybody."""
    table = made_up(n)
    if tool == "hemiec":
        before = rank_table(table, rules())
        before.scaled  # noqa: B018 - what no weight changes is there already

        def again() -> Ranking:
            return before.with_weights(WEIGHTS)

        if form == "page":
            return lambda: again().page(0, PAGE), lambda rows: rows.tolist()
        return lambda: again().ranks, lambda ranks: int((ranks * np.arange(n)).sum())
    import pandas as pd

    frame = pd.DataFrame({name: found.value for name, found in table.estimates.items()})
    scaled = pd.DataFrame(
        {name: ((worst - frame[name]) / (worst - best)).clip(0, 1) for name, (best, worst) in SCALES.items()}
    )

    def score() -> Any:
        return sum(weight * scaled[name] for name, weight in WEIGHTS.items()) / sum(WEIGHTS.values())

    if form == "page":
        return lambda: score().nlargest(PAGE).index, lambda rows: rows.tolist()
    return (
        lambda: score().rank(ascending=False, method="min").astype("int64"),
        lambda ranks: int((ranks.to_numpy() * np.arange(n)).sum()),
    )


def _front(tool: str, costs: Floats) -> Work:
    def same(front: Any) -> tuple[int, int]:
        rows = np.flatnonzero(front) if getattr(front, "dtype", None) == np.bool_ else np.sort(front)
        return len(rows), int((rows * 7919 % 1_000_003).sum())

    if tool == "hemiec":
        return lambda: pareto_front(costs), same
    if tool == "paretoset":
        from paretoset import paretoset

        return lambda: paretoset(costs, distinct=False, use_numba=True), same
    if tool == "pymoo":
        from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

        return lambda: NonDominatedSorting().do(costs, only_non_dominated_front=True), same
    from moocore import is_nondominated

    return lambda: is_nondominated(costs, keep_weakly=True), same


def _layers(tool: str, costs: Floats) -> Work:
    def same(layers: Any) -> tuple[int, int]:
        found = np.asarray(layers, dtype=np.int64) - np.min(layers)
        return int(found.max()), int((found * (np.arange(len(found)) % 9973)).sum())

    if tool == "hemiec":
        return lambda: pareto_layers(costs), same
    if tool == "paretoset":
        from paretoset import paretorank

        return lambda: paretorank(costs, distinct=False, use_numba=True), same
    if tool == "pymoo":
        from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

        def by_fronts() -> Floats:
            layers = np.empty(len(costs), dtype=np.int64)
            for layer, rows in enumerate(NonDominatedSorting().do(costs), start=1):
                layers[rows] = layer
            return layers

        return by_fronts, same
    from moocore import pareto_rank

    return lambda: pareto_rank(costs), same


def _draws(tool: str, n: int) -> Work:
    """Return ranks, their interval and the chances of the top and the front over random draws."""
    table, definition = made_up(n), rules()

    def same(_: Any) -> None:
        """Every tool has random numbers of its own."""

    if tool == "hemiec":
        return lambda: draw_ranks(table, definition, np.arange(n), draws=DRAWS), same
    import pandas as pd
    from moocore import is_nondominated

    found = list(table.estimates.values())
    z95 = 1.6448536269514722

    def written_by_hand() -> Any:
        """Do what a careful user of NumPy, pandas and moocore would write."""
        generator = np.random.default_rng(0)
        ranks = np.empty((DRAWS, n), dtype=np.int32)
        fronts = np.zeros(n)
        for draw in range(DRAWS):
            columns = []
            for e in found:
                normal = generator.standard_normal(n)
                columns.append(e.value + np.where(normal < 0, e.value - e.low, e.high - e.value) / z95 * normal)
            scaled = [
                np.clip((worst - x) / (worst - best), 0, 1)
                for x, (best, worst) in zip(columns, SCALES.values(), strict=True)
            ]
            ranks[draw] = pd.Series(sum(scaled)).rank(ascending=False, method="min")
            fronts += is_nondominated(np.column_stack(columns), keep_weakly=True)
        ends = np.quantile(ranks, [0.05, 0.95], axis=0, method="nearest")
        return ranks.mean(axis=0), ends, (ranks <= TOP).mean(axis=0), fronts / DRAWS

    return written_by_hand, same
