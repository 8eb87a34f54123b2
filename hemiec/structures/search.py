"""The search for special quasirandom patterns: over cell shapes, over random starts, on all allowed cores.

A pattern is a decoration by abstract species: what matters is how many sites each has, not its name.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hemiec.errors import InputError, did_you_mean
from hemiec.structures.kernel import System, anneal
from hemiec.structures.parent import IntArray
from hemiec.structures.problem import Problem

#: Trials of one short annealing run, per mixed site.
TRIALS_PER_SITE = 125
#: Runs handed to the cores at a time.
BATCH = 64
#: Of the shapes of one round one in so many goes on to the next.
ELIMINATION = 4
#: First and last temperature in units of the smallest step of the objective; measured on 20 to 60 sites.
HOT, COLD = {2: 2.0, 1: 6.0}, {2: 0.4, 1: 0.6}
#: Patterns whose error exceeds the best one's by more than this share are not offered as members.
POOL_TOLERANCE = 0.10
#: At most this many patterns are kept, and at least MIN_POOL of those found, however large their error.
POOL_SIZE, MIN_POOL = 64, 16


@dataclass(frozen=True)
class Effort:
    """How much is tried: shapes at the start, and short runs in all."""

    n_shapes: int
    n_runs: int


#: 0.1, 0.6 and 15 s on one core for 20 mixed sites; proportional to the number of mixed sites. The best shape for six
#: species on 24 sites is number 51 of 61 by crowding.
QUALITIES = {"fast": Effort(4, 128), "standard": Effort(64, 720), "best": Effort(64, 20000)}


@dataclass(frozen=True, eq=False)
class Pattern:
    """One decoration.

    Parameters
    ----------
    shape
        Which of the problems it solves.
    occupation
        Species number of every mixed site, shape=(n,).
    error
        Root mean square Warren-Cowley parameter over all classes, unit 1.
    """

    shape: int
    occupation: IntArray
    error: float


@dataclass(frozen=True, eq=False)
class Found:
    """Distinct patterns, the best first, and how they were found."""

    patterns: list[Pattern]
    n_runs: int
    elapsed_s: float
    truncated: bool


@dataclass(eq=False)
class _Task:
    """The kernel's input for one shape, and what came of it."""

    system: System
    occupation: IntArray
    name: bytes
    best: float = math.inf
    results: list[tuple[float, IntArray]] = field(default_factory=list)

    @cached_property
    def quantum(self) -> float:
        """Size of a small step of the objective: that of one pair more or less in one term."""
        largest = np.abs(self.system.phi).max(axis=1)
        steps = 2 * np.outer(largest, largest)[None] / self.system.pairs[:, None, None]
        return float(np.median((steps**self.system.norm * self.system.weight)[self.system.weight > 0]))

    def run(self, run: int, length: int, seed: int) -> tuple[float, IntArray]:
        """Anneal once and return root mean square (norm 2) or sum (norm 1), and the occupation.

        The seed of the run follows from everything that names it.
        """
        digest = hashlib.sha256(b"%d %d %d " % (seed, run, length) + self.name).digest()
        hot, cold = HOT[self.system.norm] * self.quantum, COLD[self.system.norm] * self.quantum
        value, occupation = anneal(self.occupation, self.system, hot, cold, length, int.from_bytes(digest[:7], "big"))
        if self.system.norm == 2:
            return math.sqrt(max(value, 0.0) / float(self.system.weight.sum())), occupation
        return float(value), occupation


def search(
    problems: Sequence[Problem],
    *,
    quality: str = "standard",
    seed: int = 0,
    budget_s: float | None = None,
    n_cores: int = 1,
    system: Callable[[Problem], System] | None = None,
) -> Found:
    """Return the best distinct patterns over several cell shapes.

    Every shape gets a few short runs; the better half goes on with twice as many and longer ones, until one is
    left. Without a budget the answer depends on the arguments alone, not on the machine or the number of cores.

    Parameters
    ----------
    problems
        One per shape, the most promising first; quality says how many are tried.
    quality
        fast, standard or best.
    seed
        Of all random numbers.
    budget_s
        Wall time after which the best so far is returned, in s; at least one run is made.
    n_cores
        Threads; the compiled search runs outside the interpreter's lock.
    system
        Gives the kernel's arrays of another objective (icet's L1); default is the sum of squared Warren-Cowley
        parameters.
    """
    if quality not in QUALITIES:
        raise InputError(f"sqs quality {quality!r} is unknown; {did_you_mean(quality, QUALITIES)}")
    effort = QUALITIES[quality]
    clock = _Clock(budget_s)
    tasks = {n: _task(problem, system) for n, problem in enumerate(problems[: effort.n_shapes])}
    alive = list(tasks)
    n_rounds = math.ceil(math.log(len(alive), ELIMINATION) - 1e-9) + 1
    n_sites = len(problems[0].sorted_occupation)
    n_runs = 0

    def one(job: tuple[int, int, int]) -> tuple[int, tuple[float, IntArray]] | None:
        shape, run, length = job
        # The very first run is always made: something must come back.
        if (shape or run) and not clock.allows(length):
            return None
        began = time.monotonic()
        result = tasks[shape].run(run, length, seed)
        clock.took(length, time.monotonic() - began)
        return shape, result

    with ThreadPoolExecutor(n_cores) as pool:
        for number in range(n_rounds):
            clock.share = (number + 1) / n_rounds
            share = max(1, effort.n_runs // (n_rounds * len(alive)))
            stretch = min(2**number, 8, share)
            length = TRIALS_PER_SITE * n_sites * stretch
            jobs = [(shape, n_runs + run, length) for run in range(max(1, share // stretch)) for shape in alive]
            for some in (jobs[k : k + BATCH] for k in range(0, len(jobs), BATCH)):
                done = [made for made in pool.map(one, some) if made is not None]
                n_runs += len(done)
                for shape, result in done:
                    tasks[shape].results.append(result)
                    tasks[shape].best = min(tasks[shape].best, result[0])
                if len(done) < len(some):
                    break
            alive = sorted(alive, key=lambda n: (round(tasks[n].best, 9), n))[: math.ceil(len(alive) / ELIMINATION)]
            if tasks[alive[0]].best < 1e-9:
                break
    patterns = _distinct(problems, tasks)
    if system is None:
        # Classes of one shell count apart in the search, together in the error that is reported.
        patterns.sort(key=lambda pattern: round(pattern.error, 6))
    return Found(patterns, n_runs, clock.elapsed, clock.refused)


class _Clock:
    """A wall-time budget, handed out round by round; without one everything is allowed."""

    def __init__(self, budget_s: float | None) -> None:
        self.started = time.monotonic()
        self.budget_s = budget_s
        self.share = 1.0
        self.refused = False
        self._s_per_trial = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def allows(self, n_trials: int) -> bool:
        """Whether a run of so many trials is likely to end within this round's share of the budget."""
        if self.budget_s is None or self.elapsed + n_trials * self._s_per_trial <= self.share * self.budget_s:
            return True
        self.refused = True
        return False

    def took(self, n_trials: int, elapsed_s: float) -> None:
        """Learn how long a run took."""
        self._s_per_trial = max(0.9 * self._s_per_trial, elapsed_s / n_trials)


def _task(problem: Problem, system: Callable[[Problem], System] | None) -> _Task:
    solved = problem.system if system is None else system(problem)
    name = repr((problem.supercell.rows.tolist(), list(problem.amounts.values()), solved.norm)).encode()
    return _Task(solved, problem.sorted_occupation, name)


def _distinct(problems: Sequence[Problem], tasks: Mapping[int, _Task]) -> list[Pattern]:
    """Return the best patterns, each once however turned, shifted or renamed: all that are within tolerance."""
    ranked = sorted(
        ((round(value, 9), shape, n) for shape, task in tasks.items() for n, (value, _) in enumerate(task.results)),
    )
    limit = ranked[0][0] * (1 + POOL_TOLERANCE) + 1e-9
    found: list[Pattern] = []
    seen: set[tuple[int, bytes]] = set()
    for value, shape, n in ranked:
        if (value > limit and len(found) >= MIN_POOL) or len(found) == POOL_SIZE:
            break
        occupation = tasks[shape].results[n][1]
        name = shape, canonical(problems[shape], occupation, anonymous=True)
        if name not in seen:
            seen.add(name)
            found.append(Pattern(shape, occupation, problems[shape].error(occupation)))
    return found


def canonical(problem: Problem, occupation: IntArray, *, anonymous: bool = False) -> bytes:
    """Return a name that two decorations of one cell share exactly if a symmetry of the cell maps one to the other.

    With ``anonymous`` also if renaming species of equal number on one sublattice does.
    """
    images = occupation[problem.permutations]
    if anonymous:
        images = _renamed(images, problem)
    # The smallest image, compared column by column so that memory stays that of the images.
    alive = np.arange(len(images))
    for column in range(images.shape[1]):
        values = images[alive, column]
        alive = alive[values == values.min()]
        if len(alive) == 1:
            break
    return images[alive[0]].astype(np.uint8).tobytes()


def _renamed(images: IntArray, problem: Problem) -> IntArray:
    """Number the species of equal amount in the order in which each image first shows them."""
    renamed = np.empty_like(images)
    start = 0
    for species in problem.amounts.values():
        for amount in set(species):
            group = [start + n for n, other in enumerate(species) if other == amount]
            first = np.stack([np.argmax(images == s, axis=1) for s in group], axis=1)
            ranks = np.argsort(np.argsort(first, axis=1), axis=1)
            for n, s in enumerate(group):
                rows, columns = np.nonzero(images == s)
                renamed[rows, columns] = np.array(group)[ranks[rows, n]]
        start += len(species)
    return renamed
