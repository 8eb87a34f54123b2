"""Special quasirandom structures on one core: ours, cold, beside icet, smol, sqsgenerator and ATAT's mcsqs.

    python benchmarks/bench_sqs.py [--quick] [--seeds 11]

Ours is one call with an empty cache and without the shipped patterns: supercells, pairs and search are in its time;
the compiled kernel is loaded before. It runs with several seeds; a row counts as reached if the median seed reaches
the value within the time. Peers run with one seed, in the same cell and time, and with 10 s. Where the shape is free
they get the cell that we found, and those that search shapes do that too, until a hard limit. Every
structure is checked and scored by `sqs_peers`, which shares no code with the engine. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import sqs_peers as peers
from ase import Atoms

from hemiec.composition.space import enumerate_candidates
from hemiec.schemas.campaign import CampaignSpec, SqsSettings
from hemiec.structures import export
from hemiec.structures.cells import cubic_shapes, most_compact, well_shaped
from hemiec.structures.icet_score import IcetScorer
from hemiec.structures.parent import Supercell, cubic_perovskite
from hemiec.structures.problem import Problem
from hemiec.structures.search import QUALITIES, search
from hemiec.structures.sqs import make_sqs

A = peers.LATTICE_PARAMETER
LONG_S = 10.0
#: Targets are written with three digits.
ROUNDING = 5e-4
#: A smaller share of a core than this is mentioned.
BUSY = 0.95
#: Five cations of these fourteen on A, one of these metals on B: 12,012 compositions, of which 10,000 are made.
POOL = {symbol: [3] for symbol in ("La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Dy", "Y", "Bi")} | {
    "Ca": [2], "Sr": [2], "Ba": [2], "Na": [1]
}  # fmt: skip
METALS = {symbol: [2, 3, 4, 5] for symbol in ("V", "Cr", "Mn", "Fe", "Co", "Ni")}
N_COMPOSITIONS, TEMPLATES_S = 10_000, 60.0


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Parameters
    ----------
    key
        In the JSON line.
    counts
        Sites per species of each mixed sublattice.
    target
        Value to reach.
    limit_s
        Wall time to reach it in.
    budget_s
        What the search is given of it: the rest is for setting up and for the run that the budget cuts into.
    min_image
        Shortest periodic image in angstrom of a free shape; None for the most compact cell.
    score
        wc4 (the combined one for two sublattices) or l1.
    quality
        Of our search.
    """

    key: str
    counts: tuple[tuple[int, ...], ...]
    target: float
    limit_s: float
    budget_s: float
    min_image: float | None = None
    score: str = "wc4"
    quality: str = "standard"

    @property
    def shapes(self) -> list[peers.Rows]:
        """The cells that may be used, the most promising first."""
        everything = cubic_shapes(sum(self.counts[0]))
        if self.min_image is None:
            return [most_compact(everything).rows]  # type: ignore[list-item]
        return [shape.rows for shape in well_shaped(everything, self.min_image / A)]  # type: ignore[misc]


FIVE_20, FIVE_30 = ((4,) * 5,), ((6,) * 5,)
ROWS = (
    Row("A5_20_compact", FIVE_20, 0.187, 0.05, 0.030, quality="fast"),
    Row("A5_20_free", FIVE_20, 0.143, 2.0, 1.85, 8.5),
    Row("A5_30_compact_0.1s", FIVE_30, 0.100, 0.1, 0.075, quality="fast"),
    Row("A5_30_compact_2s", FIVE_30, 0.088, 2.0, 1.85, quality="best"),
    Row("six_12_free", ((2,) * 6,), 0.347, 2.0, 1.85, 0.0),
    Row("six_24_free", ((4,) * 6,), 0.145, 2.0, 1.85, 8.5, quality="best"),
    Row("A5B5_20_free", FIVE_20 * 2, 0.175, 2.0, 1.85, 8.5, quality="best"),
    Row("A5B5_20_compact", FIVE_20 * 2, 0.175, 2.0, 1.85, quality="best"),
    Row("A5_20_L1", FIVE_20, 0.618, 1.0, 0.85, score="l1"),
    Row("A5_30_L1", FIVE_30, 0.390, 1.0, 0.85, score="l1"),
)
#: The compact cell of A5 x B5 is shown beside the free shape; one of the two has to reach the value.
EITHER = {"A5B5_20_compact": "A5B5_20_free"}


@dataclass
class Outcome:
    """What came of a row: ours by seed, peers by name as (seconds, value), and the cell of our median structure."""

    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    cells: list[peers.Rows] = field(default_factory=list)
    cpu_share: float = 1.0
    same_time: dict[str, tuple[float, float]] = field(default_factory=dict)
    long: dict[str, tuple[float, float]] = field(default_factory=dict)
    free: dict[str, tuple[float, float] | None] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Ours, median over seeds."""
        return median(self.values)

    @property
    def cell(self) -> peers.Rows:
        """The cell of the structure of median value."""
        return self.cells[int(np.argsort(self.values)[(len(self.values) - 1) // 2])]

    def reached(self, row: Row) -> bool:
        """Whether value and time are what the row asks for; L1 must also be no worse than any peer's in 10 s."""
        rivals = [value for _, value in self.long.values()] if row.score == "l1" else []
        in_time = median(self.seconds) <= row.limit_s
        return in_time and self.value < row.target + ROUNDING and all(self.value < v + ROUNDING for v in rivals)


def ours(row: Row, seed: int) -> tuple[float, peers.Rows, Atoms]:
    """Return wall time in s, cell and best structure of one cold search."""
    start = time.perf_counter()
    parent = cubic_perovskite(A)
    amounts = dict(zip("AB", row.counts, strict=False))
    shapes = row.shapes[: QUALITIES[row.quality].n_shapes]
    problems = [Problem.of_shells(Supercell(parent, np.array(rows)), amounts) for rows in shapes]
    system = None
    if row.score == "l1":
        system = IcetScorer(parent, {s: len(n) for s, n in amounts.items()}, [peers.CUTOFF]).l1_system
    left = row.budget_s - (time.perf_counter() - start)
    best = search(problems, quality=row.quality, seed=seed, budget_s=left, system=system).patterns[0]
    seconds = time.perf_counter() - start
    return seconds, shapes[best.shape], _atoms(problems[best.shape], best.occupation)


def _atoms(problem: Problem, occupation: Any) -> Atoms:
    symbols = np.array([e for s, n in problem.amounts.items() for e in peers.PLACEHOLDERS[s][: len(n)]])
    cell = problem.supercell
    return Atoms(
        symbols[occupation].tolist(), scaled_positions=cell.positions[problem.sites], cell=cell.lattice, pbc=True
    )


def measure(row: Row, n_seeds: int) -> Outcome:
    """Return our side of a row."""
    outcome = Outcome()
    start, cpu = time.perf_counter(), time.process_time()
    for seed in range(n_seeds):
        seconds, rows, atoms = ours(row, seed)
        case = peers.Case(row.key, row.counts, rows)
        peers.check(case, atoms)
        outcome.seconds.append(seconds)
        outcome.values.append(peers.scores(case, atoms)[row.score])
        outcome.cells.append(rows)
    outcome.cpu_share = (time.process_time() - cpu) / (time.perf_counter() - start)
    return outcome


class Rivals:
    """The peers that are installed; what they did for one cell and time serves every row that asks for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._done: dict[tuple[str, peers.Case, float], tuple[float, dict[str, float]]] = {}
        for name in peers.PEERS:
            try:
                if name == "mcsqs":
                    peers.PEERS[name](peers.Case("found", ((2, 2),), ((1, 1, 0), (1, -1, 0), (0, 0, 2))), 1.0, 0)
                peers.warm_up(name)
                self.names.append(name)
            except peers.PeerMissing as error:
                print(error)

    def run(self, name: str, row: Row, cell: peers.Rows, budget_s: float) -> tuple[float, float]:
        """Return seconds used and value of a peer in a given cell."""
        case = peers.Case("", row.counts, cell)
        if (name, case, budget_s) not in self._done:
            start = time.perf_counter()
            atoms = peers.PEERS[name](case, budget_s, 0)
            seconds = time.perf_counter() - start
            peers.check(case, atoms)
            self._done[name, case, budget_s] = seconds, peers.scores(case, atoms)
        seconds, scores = self._done[name, case, budget_s]
        return seconds, scores[row.score]

    def free(self, name: str, row: Row, limit_s: float) -> tuple[float, float] | None:
        """Return seconds and value of a peer that chooses the shape too, or None if it took longer than the limit."""
        case = peers.Case(row.key, row.counts)
        found = peers.in_process(name, case, min(LONG_S, limit_s / 2), 0, limit_s=limit_s)
        if found is None:
            return None
        peers.check(case, found[1])
        return found[0], peers.scores(case, found[1])[row.score]


def show(row: Row, outcome: Outcome) -> None:
    """Print a row."""
    shape = "compact cell" if row.min_image is None else "free shape"
    verdict = "reached" if outcome.reached(row) else "SHORT"
    both = zip(outcome.values, outcome.seconds, strict=True)
    share = np.mean([value < row.target + ROUNDING and seconds <= row.limit_s for value, seconds in both])
    print(f"\n{row.key} ({shape}): {row.score} <= {row.target:.3f} in <= {row.limit_s:g} s: {verdict}")
    print(
        f"  hemiec        {outcome.value:.4f} ({min(outcome.values):.4f} to {max(outcome.values):.4f})   in "
        f"{median(outcome.seconds):.3f} s (90 %: {np.quantile(outcome.seconds, 0.9):.3f}); "
        f"{share:.0%} of {len(outcome.values)} seeds reach both"
    )
    if outcome.cpu_share < BUSY:
        print(f"  the machine is busy: this process got {outcome.cpu_share:.0%} of a core")
    for name in outcome.same_time:
        (short_s, short), (long_s, long) = outcome.same_time[name], outcome.long[name]
        print(
            f"  {name:12}  {short:.4f} in {short_s:6.2f} s, {short / outcome.value:5.2f}x ours;   "
            f"{long:.4f} in {long_s:5.1f} s, {long / outcome.value:5.2f}x ours"
        )
    for name, found in outcome.free.items():
        said = "nothing within the limit" if found is None else f"{found[1]:.4f} in {found[0]:.1f} s"
        print(f"  {name:12}  choosing the shape too: {said}")


def compositions(n: int) -> tuple[float, float, int]:
    """Return seconds for ``n`` different five-cation cells of 100 atoms from a warm cache, and for reading the space.

    From the first composition to the last POSCAR; icet verifies each inside `make_sqs`. Some files are read
    back and scored independently.
    """
    campaign = CampaignSpec.model_validate(
        {
            "name": "bench-sqs",
            "space": [{"A": {"choose": 5, "from": list(POOL)}, "B": {metal: 1}} for metal in METALS],
            "charge": {"unbalanced": "drop"},
            "oxidation_states": POOL | METALS,
        }
    )
    settings = SqsSettings(max_atoms=100)
    with tempfile.TemporaryDirectory() as name:
        cache, out = Path(name, "cache"), Path(name, "out")
        start = time.perf_counter()
        candidates = enumerate_candidates(campaign, where="bench")[:n]
        enumerated = time.perf_counter() - start
        first = make_sqs(candidates[0], settings, cache=cache).members[0]
        start = time.perf_counter()
        for candidate in candidates:
            export.write(make_sqs(candidate, settings, cache=cache).members[0], out, ["poscar"])
        seconds = enumerated + time.perf_counter() - start
        files = sorted(out.glob("*.POSCAR"))
        for path in files[:: max(1, len(files) // 20)]:
            _read_back(path, first.warren_cowley_rms)
    return seconds, enumerated, len(files)


def _read_back(path: Path, wc4: float) -> None:
    """Refuse a POSCAR that ASE and the independent score do not find as good as the pattern it was made from."""
    from ase.io import read

    atoms = read(path, format="vasp")
    found = peers.wc4(atoms[[symbol in POOL for symbol in atoms.symbols]])
    if abs(found - wc4) > 1e-6:
        raise ValueError(f"{path.name}: wc4 is {found:.6f}, expected {wc4:.6f}")


def compile_kernel() -> float:
    """Return the seconds that loading or compiling the kernel takes, for both objectives and two sublattices."""
    start = time.perf_counter()
    for score, counts in (("wc4", ((2, 2),) * 2), ("l1", ((2, 2),))):
        ours(Row("warm up", counts, 0, 0, 0.01, score=score, quality="fast"), 0)
    return time.perf_counter() - start


def main() -> None:
    """Run all rows and print tables and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 seeds, peers 1 s instead of 10, 1,000 compositions")
    parser.add_argument("--seeds", type=int, help="seeds of our search (11)")
    arguments = parser.parse_args()
    quick = arguments.quick
    n_seeds = arguments.seeds or (3 if quick else 11)
    long_s, hard_limit_s = (1.0, 4.0) if quick else (LONG_S, 15.0)
    warnings.filterwarnings("ignore")
    print(f"one thread; the kernel was loaded in {compile_kernel():.1f} s, which is in no time below")
    rivals = Rivals()
    print(f"in each row: the peers in the same time and in {long_s:g} s, in the cell of our structure")
    outcomes: dict[str, Outcome] = {}
    for row in ROWS:
        outcome = outcomes[row.key] = measure(row, n_seeds)
        for name in rivals.names:
            outcome.same_time[name] = rivals.run(name, row, outcome.cell, min(row.limit_s, long_s))
            outcome.long[name] = rivals.run(name, row, outcome.cell, long_s)
            if row.min_image is not None and name != "sqsgenerator" and not quick:
                outcome.free[name] = rivals.free(name, row, hard_limit_s)
        show(row, outcome)
    n = N_COMPOSITIONS // 10 if quick else N_COMPOSITIONS
    cpu = time.process_time()
    seconds, enumerated, n_files = compositions(n)
    cpu = time.process_time() - cpu
    # The whole space is read in any case.
    per_10k = enumerated + (seconds - enumerated) * N_COMPOSITIONS / n
    verdict = "reached" if per_10k <= TEMPLATES_S and n_files == n else "SHORT"
    print(f"\ncached template: {n_files:,} compositions of 100 atoms verified by icet and written as POSCAR: {verdict}")
    print(f"  hemiec        {seconds:.1f} s, of which {enumerated:.1f} s to enumerate and balance them", end="")
    print(f"; {per_10k:.1f} s for {N_COMPOSITIONS:,}, at most {TEMPLATES_S:g} s wanted (CPU time: {cpu:.1f} s)")
    print(json.dumps(summary(outcomes, long_s, per_10k, verdict)))


def summary(outcomes: dict[str, Outcome], long_s: float, per_10k: float, verdict: str) -> dict[str, Any]:
    """Return the object of the last line."""
    figures: dict[str, float] = {"templates_10k_s": round(per_10k, 1)}
    others: dict[str, dict[str, float]] = {}
    short = [] if verdict == "reached" else ["templates_10k_s"]
    for row in ROWS:
        outcome = outcomes[row.key]
        figures |= {row.key: round(outcome.value, 4), f"{row.key}_s": round(median(outcome.seconds), 3)}
        others[row.key] = {name: round(value, 4) for name, (_, value) in outcome.same_time.items()}
        others[f"{row.key}_{long_s:g}s"] = {name: round(value, 4) for name, (_, value) in outcome.long.items()}
        other = EITHER.get(row.key)
        if not outcome.reached(row) and not (other and outcomes[other].reached(row)):
            short.append(row.key)
    return {"name": "sqs", "figures": figures, "peers": others, "short": short}


if __name__ == "__main__":
    main()
