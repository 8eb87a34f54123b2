"""The compiled search: simulated annealing by swaps on pair correlations, updated incrementally.

It proposes structures; :mod:`hemiec.structures.icet_score` has icet check and score each one that leaves.

A problem is a list of *classes* of pairs (a neighbour shell, or one of icet's pair orbits) and of *functions* of
the species on a site. The feature of a class c and two functions f, g is ::

    F_c(f, g) = 1/P_c sum over ordered pairs (i, j) of c of f(species on i) g(species on j)  -  target_c(f, g)

and the objective is the weighted sum of F^2 (norm 2) or |F| (norm 1). With f_x(y) = [x = y] / concentration of x
and targets of 1, F is minus the Warren-Cowley parameter; with icet's point functions it is an element of icet's
cluster vector minus its ideal value. A swap changes the features through the neighbours of two sites only.

Only the operations that IEEE 754 rounds exactly are used, so a seed gives one answer on every machine.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit


class System(NamedTuple):
    """A search problem in arrays.

    Parameters
    ----------
    counts
        How often j is a neighbour of i in class c, shape=(n_classes, n_sites, n_sites).
    neighbours
        Sites with counts[c, i, j] > 0 for any c, padded with -1, shape=(n_sites, n_max).
    side
        The two sublattices of each class, shape=(n_classes, 2).
    sublattice
        Sublattice of every site, shape=(n_sites,).
    first, last
        Sites of sublattice s are first[s] to last[s] - 1.
    pairs
        Ordered pairs of each class (from its first to its second side), shape=(n_classes,).
    phi
        Value of every function for every species, shape=(n_functions, n_species).
    functions
        Functions of sublattice s are functions[s] to functions[s + 1] - 1.
    target, weight
        Per class and pair of functions, shape=(n_classes, n_functions, n_functions); weight 0 is not counted.
    norm
        2 or 1.
    diagonal
        Whether function n is zero for all species but species n.
    """

    counts: np.ndarray
    neighbours: np.ndarray
    side: np.ndarray
    sublattice: np.ndarray
    first: np.ndarray
    last: np.ndarray
    pairs: np.ndarray
    phi: np.ndarray
    functions: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    norm: int
    diagonal: bool


_CACHED: dict[str, Any] = {"cache": True, "nogil": True}


@njit(**_CACHED)
def _next(state: np.ndarray) -> np.uint64:
    """Return 64 random bits (splitmix64, Steele et al., doi:10.1145/2714064.2660195)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(**_CACHED)
def _below(state: np.ndarray, n: int) -> int:
    return int((_next(state) >> np.uint64(32)) * np.uint64(n) >> np.uint64(32))


@njit(**_CACHED)
def _uniform(state: np.ndarray) -> float:
    return float(_next(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(**_CACHED)
def shuffle(occupation: np.ndarray, first: np.ndarray, last: np.ndarray, state: np.ndarray) -> None:
    """Shuffle the species of each sublattice, whose sites are first[s] to last[s] - 1, in place."""
    for s in range(len(first)):
        for i in range(last[s] - 1, first[s], -1):
            j = first[s] + _below(state, i - first[s] + 1)
            occupation[i], occupation[j] = occupation[j], occupation[i]


@njit(**_CACHED)
def environments(occupation: np.ndarray, system: System) -> np.ndarray:
    """Return how many neighbours of each species each site has, shape=(n_sites, n_classes, n_species)."""
    n_classes, n_sites = system.counts.shape[0], system.counts.shape[1]
    env = np.zeros((n_sites, n_classes, system.phi.shape[1]))
    for c in range(n_classes):
        for i in range(n_sites):
            for j in range(n_sites):
                env[i, c, occupation[j]] += system.counts[c, i, j]
    return env


@njit(**_CACHED)
def features(occupation: np.ndarray, env: np.ndarray, system: System) -> np.ndarray:
    """Return all features minus their targets, shape=(n_classes, n_functions, n_functions)."""
    phi, functions = system.phi, system.functions
    result = -system.target.copy()
    for c in range(result.shape[0]):
        s, t = system.side[c, 0], system.side[c, 1]
        for i in range(system.first[s], system.last[s]):
            for g in range(functions[t], functions[t + 1]):
                value = 0.0
                for y in range(phi.shape[1]):
                    value += env[i, c, y] * phi[g, y]
                for f in range(functions[s], functions[s + 1]):
                    result[c, f, g] += phi[f, occupation[i]] * value / system.pairs[c]
    return result


@njit(**_CACHED)
def objective(feature: np.ndarray, system: System) -> float:
    """Return the weighted sum of squares (norm 2) or of absolute values (norm 1)."""
    total = 0.0
    for c in range(feature.shape[0]):
        for f in range(feature.shape[1]):
            for g in range(feature.shape[2]):
                if system.weight[c, f, g] > 0.0:
                    x = feature[c, f, g]
                    total += system.weight[c, f, g] * (x * x if system.norm == 2 else abs(x))
    return total


@njit(**_CACHED)
def _swap(
    p: int, q: int, occupation: np.ndarray, env: np.ndarray, feature: np.ndarray, system: System, apply: bool,
    u: np.ndarray, v: np.ndarray, d: np.ndarray,
) -> float:  # fmt: skip
    """Return the change of the objective when the species of sites p and q swap; change the features if asked.

    u, v and d are work space: per function, per function, per species.
    """
    counts, side, phi, functions = system.counts, system.side, system.phi, system.functions
    a, b, s = occupation[p], occupation[q], system.sublattice[p]
    n_species = phi.shape[1]
    change = 0.0
    for c in range(counts.shape[0]):
        if side[c, 0] != s and side[c, 1] != s:
            continue
        own = side[c, 0] == side[c, 1]
        t = s if own else (side[c, 1] if side[c, 0] == s else side[c, 0])
        for y in range(n_species):
            d[y] = env[q, c, y] - env[p, c, y]
        image = 0.0
        if own:
            # Neither site counts itself or the other one: they change together.
            pp, qq, pq = counts[c, p, p], counts[c, q, q], counts[c, p, q]
            d[a] += pp - pq
            d[b] += pq - qq
            image = float(qq - pp)
        scale = 1.0 / system.pairs[c]
        for g in range(functions[t], functions[t + 1]):
            if system.diagonal:
                v[g] = d[g] * phi[g, g] * scale
            else:
                total = 0.0
                for y in range(n_species):
                    total += d[y] * phi[g, y]
                v[g] = total * scale
        for f in range(functions[s], functions[s + 1]):
            # Indicator functions of species that do not move do not change.
            if system.diagonal and f != a and f != b:
                continue
            u[f] = phi[f, a] - phi[f, b]
            for g in range(functions[t], functions[t + 1]):
                step = u[f] * v[g]
                i, j = (f, g) if side[c, 0] == s else (g, f)
                if own:
                    if system.diagonal:
                        # (a, b) is met twice, as (b, a) too: count it once.
                        if f == b and g == a:
                            continue
                        if g == f:
                            step *= 2.0
                        elif g in (a, b):
                            step += v[f] * (phi[g, a] - phi[g, b])
                        i, j = (f, g) if f < g else (g, f)
                    else:
                        if g < f:
                            continue
                        step += v[f] * (phi[g, a] - phi[g, b])
                    if image != 0.0:
                        step += image * scale * (phi[f, a] * phi[g, a] - phi[f, b] * phi[g, b])
                old = feature[c, i, j]
                x = old + step
                change += system.weight[c, i, j] * (x * x - old * old if system.norm == 2 else abs(x) - abs(old))
                if apply:
                    feature[c, i, j] = x
    return change


@njit(**_CACHED)
def _move(p: int, q: int, occupation: np.ndarray, env: np.ndarray, system: System) -> None:
    """Swap the species of sites p and q in the occupation and in their neighbours' environments."""
    counts, neighbours = system.counts, system.neighbours
    a, b = occupation[p], occupation[q]
    for k in range(neighbours.shape[1]):
        i, j = neighbours[p, k], neighbours[q, k]
        for c in range(counts.shape[0]):
            if i >= 0:
                env[i, c, a] -= counts[c, i, p]
                env[i, c, b] += counts[c, i, p]
            if j >= 0:
                env[j, c, b] -= counts[c, j, q]
                env[j, c, a] += counts[c, j, q]
    occupation[p], occupation[q] = b, a


@njit(**_CACHED)
def anneal(
    occupation: np.ndarray, system: System, hot: float, cold: float, n_trials: int, seed: int
) -> tuple[float, np.ndarray]:
    """Anneal from a random start and return the best objective with its occupation.

    Parameters
    ----------
    occupation
        Species index of every site, shape=(n_sites,); only its counts per sublattice matter.
    system
        The problem.
    hot, cold
        First and last temperature, in units of the objective.
    n_trials
        Swaps tried.
    seed
        Of start and swaps.
    """
    state = np.empty(1, dtype=np.uint64)
    state[0] = np.uint64(seed)
    occ = occupation.copy()
    shuffle(occ, system.first, system.last, state)
    n_functions, n_species = system.phi.shape
    env = environments(occ, system)
    feature = features(occ, env, system)
    energy = objective(feature, system)
    best, best_occ = energy, occ.copy()
    u, v, d = np.zeros(n_functions), np.zeros(n_functions), np.zeros(n_species)
    cooling = (cold / hot) ** (1.0 / max(1, n_trials // 64))
    temperature = hot
    for trial in range(n_trials):
        if trial % 64 == 63:
            temperature *= cooling
        p = _below(state, len(occ))
        s = system.sublattice[p]
        q = system.first[s] + _below(state, system.last[s] - system.first[s])
        if occ[p] == occ[q]:
            continue
        change = _swap(p, q, occ, env, feature, system, False, u, v, d)
        if change > 0.0:
            # Metropolis with (1 - x/8)^8 for exp(-x): the same bits on every machine.
            x = change / temperature
            if x >= 8.0:
                continue
            y = 1.0 - x * 0.125
            y *= y
            y *= y
            y *= y
            if _uniform(state) >= y:
                continue
        _swap(p, q, occ, env, feature, system, True, u, v, d)
        _move(p, q, occ, env, system)
        energy += change
        if energy < best - 1e-12:
            best = energy
            best_occ[:] = occ
            if best < 1e-9:
                break
    return best, best_occ
