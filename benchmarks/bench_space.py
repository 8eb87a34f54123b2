"""Ten million compositions, charge-balanced and described, to Parquet; beside the same work with pymatgen and SMACT.

    python benchmarks/bench_space.py [--sample 2000] [--folder DIR]

Ours runs on one core, in a process of its own whose memory is measured. The peers do the same work on a random sample
of the same compositions: enumerate, charge-balance (the same rule), Goldschmidt t, Bartel tau, entropy. pymatgen has
Composition and Species objects for it, SMACT its Species and neutral_ratios; neither has a charge balance with mean
valences or these descriptors, so those lines are written here, as a careful user of them would (radii are looked
up once). Which compositions are neutral must agree; the largest difference of a number is printed (SMACT takes the
first spin state that its table lists, we and pymatgen high spin). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

TARGET_RATE, TARGET_MIB = 1_000_000, 2048
CAMPAIGN = {
    "name": "bench-space",
    "space": [
        {
            "parameters": {"x": {"from": 0, "to": "1/6", "step": "1/24"}, "delta": [0, "1/20", "1/10"]},
            "A": {
                "choose": 5,
                "from": ["La", "Pr", "Nd", "Sm", "Gd", "Y", "Bi", "Sr", "Ba", "Ca", "Na", "K"],
                "total": "5/6",
                "Li": "1/6 - x",
                "vacancy": "x",
            },
            "B": {"grid": ["Cr", "Mn", "Fe", "Co", "Ni"], "step": "1/10"},
            "oxygen_deficiency": "delta",
        }
    ],
    "charge": {"unbalanced": "drop"},
}
SITES = {"A": (1, ("XII", "X", "IX", "VIII", "VI")), "B": (1, ("VI",)), "X": (3, ("VI",))}
Sites = dict[str, dict[str, Fraction]]
Result = tuple[float, float, float] | None


def ours(path: Path) -> dict[str, Any]:
    """Write the whole space on one core; return counts, seconds and peak memory."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import pyarrow as pa

    from hemiec.composition.parquet import write_space
    from hemiec.composition.space import Space
    from hemiec.schemas.campaign import CampaignSpec

    pa.set_cpu_count(1)
    spec = CampaignSpec.model_validate(CAMPAIGN)
    started, cpu = time.perf_counter(), time.process_time()
    counts = write_space(Space(spec, where="bench"), spec, path)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "n": counts.enumerated,
        "kept": counts.kept,
        "s": seconds,
        "cpu_s": cpu,
        "MiB": peak,
        "bytes": path.stat().st_size,
    }


def sample(n: int) -> list[tuple[Sites, Result, dict[str, tuple[int, ...]]]]:
    """Return random compositions with our t, tau and entropy (None if not neutral) and the allowed states."""
    import numpy as np

    from hemiec.composition.candidate import sites_of
    from hemiec.composition.space import Space
    from hemiec.schemas.campaign import CampaignSpec

    space = Space(CampaignSpec.model_validate(CAMPAIGN), where="bench")
    (block,) = space.blocks
    chosen = sorted(random.Random(0).sample(range(len(block)), n))
    found = []
    for number in chosen:
        rows = block.rows(number, number + 1)
        columns = rows.describe()
        values = [columns[k][0] for k in ("tolerance_factor", "bartel_tau", "configurational_entropy")]
        result = tuple(map(float, values)) if rows.neutral()[0] else None
        found.append((sites_of(rows, 0), result, {s: tuple(q) for s, q in block.allowed.items()}))
    assert any(not np.isnan(r[0]) for _, r, _ in found if r)
    return found  # type: ignore[return-value]


def with_pymatgen(sites: Sites, allowed: dict[str, tuple[int, ...]]) -> Result:
    """Charge balance and descriptors with pymatgen's Composition and Species."""
    from pymatgen.core import Composition

    amounts: dict[str, float] = {}
    for site, (m, _) in SITES.items():
        for symbol, x in sites[site].items():
            if symbol != "vacancy":
                amounts[symbol] = amounts.get(symbol, 0.0) + m * float(x)
    composition = Composition(amounts)
    lowest = sum(x * min(allowed[e.symbol]) for e, x in composition.items())
    highest = sum(x * max(allowed[e.symbol]) for e, x in composition.items())
    if lowest > 1e-9 or highest < -1e-9:
        return None
    share = -lowest / (highest - lowest)

    return _descriptors(sites, allowed, share, _pymatgen_radius)


@cache
def _pymatgen_radius(symbol: str, state: int, numerals: tuple[str, ...]) -> float:
    from pymatgen.core import Species

    species = Species(symbol, state)
    for numeral in numerals:
        for spin in ("High Spin", "", "Low Spin"):
            with suppress(KeyError):
                return float(species.get_shannon_radius(numeral, spin))
    raise KeyError(symbol)


def with_smact(sites: Sites, allowed: dict[str, tuple[int, ...]]) -> Result:
    """Charge balance and descriptors with SMACT: neutral_ratios over integer states, Species for the radii.

    SMACT balances integer states only. A mixed-valence composition is therefore tried with every combination of integer
    states, the SMACT way; where none is exactly neutral the mean-valence rule decides, so that all do the same work.
    """
    import smact

    amounts: dict[str, Fraction] = {}
    for site, (m, _) in SITES.items():
        for symbol, x in sites[site].items():
            if symbol != "vacancy":
                amounts[symbol] = amounts.get(symbol, Fraction(0)) + m * x
    scale = math.lcm(*(x.denominator for x in amounts.values()))
    stoichs = [(int(x * scale),) for x in amounts.values()]
    for states in product(*(sorted({min(allowed[s]), max(allowed[s])}) for s in amounts)):
        if smact.neutral_ratios(states, stoichs=stoichs, threshold=None):
            break
    lowest = sum(float(x) * min(allowed[s]) for s, x in amounts.items())
    highest = sum(float(x) * max(allowed[s]) for s, x in amounts.items())
    if lowest > 1e-9 or highest < -1e-9:
        return None

    return _descriptors(sites, allowed, -lowest / (highest - lowest), _smact_radius)


@cache
def _smact_radius(symbol: str, state: int, numerals: tuple[str, ...]) -> float:
    import smact

    for number in [{"XII": 12, "X": 10, "IX": 9, "VIII": 8, "VI": 6}[n] for n in numerals]:
        radius = smact.Species(symbol, state, number).ionic_radius
        if radius is not None:
            return float(radius)
    raise KeyError(symbol)


def _descriptors(
    sites: Sites, allowed: dict[str, tuple[int, ...]], share: float, radius: Callable[..., float]
) -> Result:
    mean: dict[str, float] = {}
    entropy = valence = 0.0
    for site, (m, numerals) in SITES.items():
        total = ions = charge = 0.0
        for symbol, fraction in sites[site].items():
            x = float(fraction)
            entropy -= m * x * math.log(x)
            if symbol == "vacancy":
                continue
            low, high = min(allowed[symbol]), max(allowed[symbol])
            state = low + share * (high - low)
            floor = min(math.floor(state + 1e-9), high)
            r = radius(symbol, floor, numerals)
            if state - floor > 1e-9:
                r += (state - floor) * (radius(symbol, floor + 1, numerals) - r)
            total, ions, charge = total + x * r, ions + x, charge + x * state
        mean[site] = total / ions
        if site == "A":
            valence = charge / ions
    a, b, x = mean["A"], mean["B"], mean["X"]
    t = (a + x) / (math.sqrt(2) * (b + x))
    return t, x / b - valence * (valence - (a / b) / math.log(a / b)), entropy


def main() -> None:
    """Run everything and print the table and the JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        print(json.dumps(ours(arguments.ours)))
        return
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        command = [sys.executable, __file__, "--ours", str(Path(folder) / "space.parquet")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    rate = figures["n"] / figures["s"]
    print(
        f"{figures['n']:,} compositions, {figures['kept']:,} kept, one core, to Parquet: {figures['s']:.1f} s "
        f"({figures['cpu_s']:.1f} s of the core)"
    )
    print(f"peak memory {figures['MiB']:.0f} MiB, {figures['bytes'] / figures['kept']:.0f} bytes per composition kept")

    rows = sample(arguments.sample)
    peers: dict[str, float] = {}
    worst: dict[str, float] = {}
    for name, work in (("pymatgen", with_pymatgen), ("SMACT", with_smact)):
        started = time.perf_counter()
        results = [work(sites, allowed) for sites, _, allowed in rows]
        peers[name] = len(rows) / (time.perf_counter() - started)
        differences = [
            abs(u - v) for result, (_, mine, _) in zip(results, rows, strict=True) if mine and result
            for u, v in zip(mine, result, strict=True) if u == u
        ]  # fmt: skip
        assert all((mine is None) == (result is None) for result, (_, mine, _) in zip(results, rows, strict=True))
        worst[name] = max(differences)
    print(f"\n{'':12}{'compositions/s':>16}{'ours is faster by':>20}{'largest difference':>20}")
    print(f"{'hemiec':12}{rate:16,.0f}")
    for name, peer in peers.items():
        print(f"{name:12}{peer:16,.0f}{rate / peer:19,.0f}x{worst[name]:20.1e}")
    short = [
        key
        for key, missed in (("compositions_per_s", rate < TARGET_RATE), ("peak_MiB", figures["MiB"] > TARGET_MIB))
        if missed
    ]
    result = {
        "name": "space",
        "figures": {
            "compositions": figures["n"],
            "kept": figures["kept"],
            "compositions_per_s": round(rate),
            "kept_per_s": round(figures["kept"] / figures["s"]),
            "compositions_per_cpu_s": round(figures["n"] / figures["cpu_s"]),
            "peak_MiB": round(figures["MiB"]),
            "bytes_per_composition": round(figures["bytes"] / figures["kept"], 1),
        },
        "peers": {"compositions_per_s": {name: round(peer, 1) for name, peer in peers.items()}},
        "short": short,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
