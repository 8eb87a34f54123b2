"""Distinct members of an ensemble: patterns with their species dealt out so that errors cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hemiec.structures.parent import FloatArray, IntArray
from hemiec.structures.problem import Problem
from hemiec.structures.search import POOL_TOLERANCE, canonical

#: Ways to deal the species of one pattern that compete for each place in an ensemble.
DEALS = 16


@dataclass(frozen=True, eq=False)
class Member:
    """A pattern with species dealt out.

    Parameters
    ----------
    pattern
        Number of the pattern it came from.
    occupation
        Species number of every mixed site, shape=(n,).
    """

    pattern: int
    occupation: IntArray


def choose_members(
    problems: Sequence[Problem], occupations: Sequence[IntArray], n: int, *, seed: int, dealt: bool = True
) -> list[Member]:
    """Return ``n`` members that no symmetry of their cells maps onto each other, or fewer if there are no more.

    The first is the best pattern. Each further one is, among patterns not yet used (then among all) and ways to
    deal equally frequent species, the one that brings the mean Warren-Cowley parameters of the ensemble closest
    to random. Patterns whose error is more than a tenth above the best one's come last.

    Parameters
    ----------
    problems
        The cell of each pattern.
    occupations
        Patterns, the best first, shape=(n_sites,) each.
    n
        How many.
    seed
        Of the deals.
    dealt
        Whether equally frequent species may take each other's roles; if not, patterns are used as they are.
    """
    generator = np.random.default_rng(seed)
    if n == 1:
        return [Member(0, deal(problems[0], generator)[occupations[0]] if dealt else occupations[0])]
    errors = [problem.error(occupation) for problem, occupation in zip(problems, occupations, strict=True)]
    usable = _usable(problems, occupations)
    good = [k for k in usable if errors[k] <= errors[0] * (1 + POOL_TOLERANCE) + 1e-9]
    members: list[Member] = []
    seen: set[tuple[bytes, bytes]] = set()
    total = np.zeros(0)
    for group in (good, [k for k in usable if k not in good]):
        pool = _deals(problems, occupations, group, n, generator if dealt else None)
        fresh = set(group)
        while pool and len(members) < n:
            among = [m for m in pool if m[0].pattern in fresh] or pool
            if not total.size:
                total = np.zeros_like(pool[0][1])
            sums = np.array([order for _, order in among]) + total
            best = int(np.argmin(np.round((sums**2).sum(axis=1), 9))) if members else 0
            member, order = among[best]
            pool.remove(among[best])
            name = _name(problems[member.pattern], member.occupation)
            if name in seen:
                continue
            seen.add(name)
            fresh.discard(member.pattern)
            members.append(member)
            total = total + order
    return members


def _usable(problems: Sequence[Problem], occupations: Sequence[IntArray]) -> list[int]:
    """Return the patterns that can be members together.

    Different cells hold different crystals, unless a pattern repeats within its cell: it may then come back in
    another one. Of those that repeat only the ones in the cell of the first are kept.
    """
    repeating = [k for k, occupation in enumerate(occupations) if problems[k].repeats(occupation)]
    if not repeating:
        return list(range(len(occupations)))
    first = problems[repeating[0]].supercell.rows
    return [
        k for k in range(len(occupations)) if k not in repeating or np.array_equal(problems[k].supercell.rows, first)
    ]


def mean_error(problems: Mapping[int, Problem], members: Sequence[Member]) -> float:
    """Return the root mean square of the Warren-Cowley parameters averaged over members, unit 1."""
    if not members:
        return 0.0
    orders = [_flat(problems[m.pattern], m.occupation) for m in members]
    return float(np.sqrt(np.mean(np.mean(orders, axis=0) ** 2))) if orders[0].size else 0.0


def _deals(
    problems: Sequence[Problem],
    occupations: Sequence[IntArray],
    group: Sequence[int],
    n: int,
    generator: np.random.Generator | None,
) -> list[tuple[Member, FloatArray]]:
    """Return members to choose from with their Warren-Cowley parameters, shape=(n_terms,) each."""
    per_pattern = max(DEALS, -(-3 * n // max(1, len(group))))
    found = []
    for k in group:
        names: set[bytes] = set()
        for _ in range(per_pattern):
            occupation = deal(problems[k], generator)[occupations[k]] if generator else occupations[k]
            if occupation.tobytes() not in names:
                names.add(occupation.tobytes())
                found.append((Member(k, occupation), _flat(problems[k], occupation)))
    return found


def deal(problem: Problem, generator: np.random.Generator) -> IntArray:
    """Return a random renaming of the species that keeps every amount on every sublattice."""
    renaming = np.arange(len(problem.concentrations))
    start = 0
    for amounts in problem.amounts.values():
        for amount in sorted(set(amounts)):
            group = start + np.flatnonzero(np.array(amounts) == amount)
            renaming[group] = generator.permutation(group)
        start += len(amounts)
    return renaming


def _flat(problem: Problem, occupation: IntArray) -> FloatArray:
    return np.concatenate([alpha.ravel() for alpha in problem.warren_cowley(occupation)])


def _name(problem: Problem, occupation: IntArray) -> tuple[bytes, bytes]:
    return problem.supercell.rows.tobytes(), canonical(problem, occupation)
