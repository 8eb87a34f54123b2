"""Measure how often 90 % intervals hold values in cells that were not fitted: the table in docs/calibration.md.

python benchmarks/calibration_coverage.py [DATA_SETS]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from hemiec.ranking.calibration.regression import fit_line

BASE = {"cells": 12, "points": (2, 4), "icc": 0.6, "slope": 1.2, "shift": 0.2, "bend": 0.2, "ratio": 2.0, "sd": 0.12}
TWO = {"points": (2, 2), "icc": 0.7, "sd": 0.1}
SCENARIOS: dict[str, dict] = {
    **{
        f"{n} cells, correlation {icc}": {"cells": n, "points": (2, 6), "icc": icc}
        for n in (5, 8, 12)
        for icc in (0.2, 0.8)
    },
    "14 cells of 2, classes 1:3": TWO | {"cells": 14, "slope": 1.3, "shift": 0.3, "ratio": 3.0},
    "8 cells of 2, classes alike": TWO | {"cells": 8, "slope": 1.0, "shift": 0.0, "bend": 0.0, "ratio": 1.0},
    "6 cells, heavy tails": {"cells": 6, "draw": lambda rng, n: rng.standard_t(3, n) / np.sqrt(3)},
    "12 cells, heavy tails": {"draw": lambda rng, n: rng.standard_t(3, n) / np.sqrt(3)},
    "12 cells, skewed": {"draw": lambda rng, n: rng.exponential(size=n) - 1},
    "12 cells, parabola": {"curve": 0.6},
    "8 cells, one in five open-shell": {"cells": 8, "open": 0.2, "shift": 0.3},
    "8 cells, classes 1 eV apart": {"cells": 8, "shift": 1.0, "bend": 0.5, "sd": 0.05},
}


def draw_cells(rng: np.random.Generator, n: int, s: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return low, high, class and cell of the points of n synthetic cells."""
    normal: Callable = s.get("draw", lambda rng, n: rng.normal(size=n))
    rows = []
    for cell in range(n):
        k = int(rng.integers(s["points"][0], s["points"][1] + 1))
        u, share = rng.random(), s.get("open", 0.5)
        fraction = 1.0 if u < 0.9 * share else 0.5 if u < 1.1 * share else 0.0
        low = np.clip(rng.normal(0.7, 0.3) + rng.normal(0, 0.15, k), 0.05, None)
        spread = s["sd"] * s["ratio"] ** (fraction - 0.5)
        residual = spread * (np.sqrt(s["icc"]) * normal(rng, 1) + np.sqrt(1 - s["icc"]) * normal(rng, k))
        high = 0.1 + s["slope"] * low + (fraction - 0.5) * (s["shift"] + s["bend"] * low) + residual
        high += s.get("curve", 0.0) * (low - 0.7) ** 2
        rows += [(x, y, fraction, str(cell)) for x, y in zip(low, high, strict=True)]
    low, high, fraction = (np.array([row[i] for row in rows]) for i in range(3))
    return low, high, fraction, [row[3] for row in rows]


def least_squares_holds(low: np.ndarray, high: np.ndarray, x: float, y: float) -> bool:
    """Return whether the textbook interval, blind to cells and classes, holds a new value."""
    A, a = np.column_stack([np.ones_like(low), low]), np.array([1.0, x])
    b = np.linalg.lstsq(A, high, rcond=None)[0]
    freedom = len(low) - 2
    variance = ((high - A @ b) ** 2).sum() / freedom * (1 + a @ np.linalg.inv(A.T @ A) @ a)
    return bool(abs(y - a @ b) <= stats.t.ppf(0.95, freedom) * np.sqrt(variance))


def main(data_sets: int) -> None:
    """Print one line per scenario."""
    rng = np.random.default_rng(0)
    for name, changes in SCENARIOS.items():
        s = BASE | changes
        ours, textbook, opened = [], [], []
        for _ in range(data_sets):
            points = draw_cells(rng, s["cells"], s)
            line = fit_line(*points)
            new = draw_cells(rng, 10, s | {"points": (1, 1)})
            for x, y, fraction, _cell in zip(*new, strict=True):
                found = line.predict(x, fraction)
                ours.append(found.low <= y <= found.high)
                textbook.append(least_squares_holds(points[0], points[1], x, y))
                opened += [ours[-1]] if fraction == 1 else []
        inside, of_open, blind = np.mean(ours), np.mean(opened), np.mean(textbook)
        print(f"{name:34} inside {inside:.3f}  open-shell {of_open:.3f}  least squares {blind:.3f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
