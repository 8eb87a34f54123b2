"""The compiled walk: hops of walkers that exclude each other, by the rejection-free residence-time algorithm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemiec.transport.network import FloatArray, HopNetwork, IntArray


class HopTable(NamedTuple):
    """Directed hops of the replicated cell.

    Parameters
    ----------
    first
        Those from site i are first[i] to first[i + 1] - 1.
    other, rate
        Where each leads, and its rate relative to the fastest.
    step
        True displacement (columns 0 to 2) and harmonic one (3 to 5) in angstrom.
    """

    first: NDArray[np.int64]
    other: NDArray[np.int32]
    rate: NDArray[np.float64]
    step: NDArray[np.float64]


def hop_table(
    network: HopNetwork, E: FloatArray, S: FloatArray, harmonic: FloatArray, replicas: tuple[int, int, int]
) -> tuple[HopTable, float]:
    """Return the hops of the replicated cell with rates relative to the fastest, and ln of that rate over nu."""
    size = np.array(replicas)
    cells = np.indices(replicas).reshape(3, -1).T
    number = np.arange(len(cells)).reshape(replicas)

    def site(base: IntArray, shift: IntArray) -> IntArray:
        at = (cells[:, None, :] + shift[None]) % size
        return (number[at[..., 0], at[..., 1], at[..., 2]] * network.n_sites + base).ravel()

    open_ = np.isfinite(S)
    start, end, image = network.start[open_], network.end[open_], network.image[open_]
    here = np.zeros_like(image)
    a, b = site(start, here), site(end, image)
    back_a, back_b = site(end, here), site(start, -image)
    logs = np.concatenate([np.tile(E[start] - S[open_], len(cells)), np.tile(E[end] - S[open_], len(cells))])
    steps = np.tile(np.hstack([network.displacements, harmonic])[open_], (len(cells), 1))
    leaving, arriving = np.concatenate([a, back_a]), np.concatenate([b, back_b])
    order = np.argsort(leaving, kind="stable")
    first = np.searchsorted(leaving[order], np.arange(network.n_sites * len(cells) + 1))
    rate = np.exp(logs - logs.max())
    return HopTable(
        first, arriving[order].astype(np.int32), rate[order], np.concatenate([steps, -steps])[order]
    ), float(logs.max())


@njit(cache=True, nogil=True)
def _total_rate(
    first: NDArray[np.int64], other: NDArray[np.int32], rate: NDArray[np.float64], holder: NDArray[np.int32], i: int
) -> float:
    """Return the rate of all hops from a site to one that is free, or to the walker's own image."""
    total = 0.0
    for p in range(first[i], first[i + 1]):
        if holder[other[p]] < 0 or other[p] == i:
            total += rate[p]
    return total


@njit(cache=True, nogil=True)
def _set_leaf(tree: NDArray[np.float64], leaf: int, value: float) -> None:
    """Set a leaf and the sums above it; sums are made anew, so that rounding does not add up."""
    tree[leaf] = value
    leaf >>= 1
    while leaf >= 1:
        tree[leaf] = tree[2 * leaf] + tree[2 * leaf + 1]
        leaf >>= 1


@njit(cache=True, nogil=True)
def _next_hop(
    table: HopTable,
    tree: NDArray[np.float64],
    site: NDArray[np.int64],
    holder: NDArray[np.int32],
    uniform: float,
) -> tuple[int, int]:
    """Return the leaf of the walker and the hop that a random number from 0 to 1 selects."""
    first, other, rate, _ = table
    leaves = len(tree) // 2
    node = 1
    drawn = uniform * tree[1]
    while node < leaves:
        node *= 2
        # A branch without rate is never entered, whatever rounding left of the number drawn.
        if drawn >= tree[node] and tree[node + 1] > 0:
            drawn -= tree[node]
            node += 1
    i = site[node - leaves]
    chosen = -1
    for p in range(first[i], first[i + 1]):
        if (holder[other[p]] < 0 or other[p] == i) and rate[p] > 0:
            chosen = p
            if drawn < rate[p]:
                break
            drawn -= rate[p]
    return node, chosen


@njit(cache=True, nogil=True)
def walk(
    table: HopTable,
    filled: NDArray[np.bool_],
    walkers: NDArray[np.float64],
    ions: NDArray[np.float64],
    interval: float,
    max_hops: int,
    generator: np.random.Generator,
) -> tuple[int, float]:
    """Return the hops made until all records are full, -1 if there were too many, and the sum of their squared lengths.

    Record r of ``walkers`` and ``ions`` becomes the displacement since the start after r intervals.
    """
    first, other, rate, step = table
    site = np.flatnonzero(filled)
    # Walker and ion on every site, or -1.
    holder = np.where(filled, np.cumsum(filled) - 1, -1).astype(np.int32)
    ion = np.where(filled, -1, np.cumsum(~filled) - 1).astype(np.int32)
    leaves = 1
    while leaves < len(site):
        leaves *= 2
    tree = np.zeros(2 * leaves)
    for w in range(len(site)):
        _set_leaf(tree, leaves + w, _total_rate(first, other, rate, holder, site[w]))
    walker_at, ion_at = walkers[0].copy(), ions[0].copy()
    squares = 0.0
    time, record, n_hops = 0.0, 1, 0
    while True:
        time += generator.standard_exponential() / tree[1] if tree[1] > 0 else np.inf
        while record < len(walkers) and time > record * interval:
            walkers[record] = walker_at
            ions[record] = ion_at
            record += 1
        if record == len(walkers):
            return n_hops, squares
        if n_hops == max_hops:
            return -1, squares
        n_hops += 1
        node, chosen = _next_hop(table, tree, site, holder, generator.random())
        w = node - leaves
        i = site[w]
        site[w] = other[chosen]
        j = site[w]
        for d in range(3):
            walker_at[w, d] += step[chosen, 3 + d]
            squares += step[chosen, d] ** 2
        if i == j:
            continue
        moved = ion[j]
        for d in range(3):
            ion_at[moved, d] -= step[chosen, d]
        ion[i], ion[j] = moved, -1
        holder[i], holder[j] = -1, w
        _set_leaf(tree, node, _total_rate(first, other, rate, holder, j))
        for s in (i, j):
            for p in range(first[s], first[s + 1]):
                v = holder[other[p]]
                if v >= 0 and v != w:
                    _set_leaf(tree, leaves + v, _total_rate(first, other, rate, holder, other[p]))
