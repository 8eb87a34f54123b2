"""Potentials of a large resistor network, by conjugate gradients on an approximate elimination.

When a node is taken out, the mesh between its neighbours is replaced by a random tree that is right on average
(approximate Gaussian elimination, doi:10.1109/FOCS.2016.68, arXiv:2303.00709): memory and time stay nearly linear. No
conductance is ever subtracted. With barriers of 0.15 to 0.8 eV at 300 K this took 30 iterations where algebraic
multigrid stalled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemiec.errors import NotConvergedError
from hemiec.transport.network import FloatArray, IntArray

#: Conjugate gradients stop when their last steps lowered the power by less than this share of it; the result is refused
#: if the residual's share is above the second number.
_TOLERANCE, _ACCEPTED = 1e-15, 1e-11
_MAX_ITERATIONS, _MAX_RESTARTS, _LAST_STEPS = 500, 5, 6
#: Parts that an edge is split into before sampling: more give a better preconditioner of more entries.
_PARTS = 2
_SEED = 1


def iterate(
    n_nodes: int, start: IntArray, end: IntArray, conductance: FloatArray, drop: FloatArray, source: FloatArray
) -> FloatArray:
    """Return the potentials of a network without edges from a node to itself.

    Parameters
    ----------
    n_nodes, start, end, conductance, drop
        As in `hemiec.transport.kinetics.elimination.potentials`.
    source
        The current that the drops drive into every node, shape=(n_nodes, n_fields).

    Raises
    ------
    NotConvergedError
        If the residual stays above its limit.
    """
    factor = _factorise(n_nodes, start, end, conductance, _PARTS, np.random.default_rng(_SEED))
    first, other, weight = _adjacency(n_nodes, start, end, conductance)
    result = np.zeros(source.shape)
    for field in range(drop.shape[1]):
        power = float(conductance @ drop[:, field] ** 2)
        if power == 0:
            continue
        result[:, field], n_iterations, residual = _conjugate_gradients(
            first, other, weight, np.ascontiguousarray(source[:, field]), factor, power
        )
        if not residual < _ACCEPTED:
            raise NotConvergedError(
                f"diffusion on a network of {n_nodes} sites: after {n_iterations} iterations the residual holds "
                f"{residual:.1e} of the power, more than {_ACCEPTED:.0e}."
            )
    return result


class Factor(NamedTuple):
    """Nodes in the order they were taken out, and how each shared its current among those left.

    Parameters
    ----------
    order
        Shape=(n_nodes,).
    first
        The shares of node ``order[n]`` are first[n] to first[n + 1] - 1.
    node, share
        Whom it went to, and how much of it.
    total
        Conductance of every node when it was taken out, 0 for the last of a connected part.
    """

    order: NDArray[np.int64]
    first: NDArray[np.int64]
    node: NDArray[np.int32]
    share: NDArray[np.float64]
    total: NDArray[np.float64]


class _Queue(NamedTuple):
    """Nodes in doubly linked lists, one list for each number of edges."""

    degree: NDArray[np.int64]
    head: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]


@njit(cache=True, nogil=True)
def _remove(queue: _Queue, i: int) -> None:
    b, a = queue.before[i], queue.after[i]
    if b >= 0:
        queue.after[b] = a
    else:
        queue.head[queue.degree[i]] = a
    if a >= 0:
        queue.before[a] = b


@njit(cache=True, nogil=True)
def _insert(queue: _Queue, i: int) -> None:
    a = queue.head[queue.degree[i]]
    queue.before[i], queue.after[i] = -1, a
    if a >= 0:
        queue.before[a] = i
    queue.head[queue.degree[i]] = i


@njit(cache=True, nogil=True)
def _change_degree(queue: _Queue, i: int, change: int) -> None:
    _remove(queue, i)
    queue.degree[i] += change
    _insert(queue, i)


@njit(cache=True, nogil=True)
def _factorise(
    n_nodes: int,
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    conductance: NDArray[np.float64],
    parts: int,
    generator: np.random.Generator,
) -> Factor:
    """Return an approximate elimination of a network without edges from a node to itself.

    The two directions of an edge are entries e and e ^ 1 of the arrays; the entries of a node form a linked list.
    Taking out node k uses its entries again for the tree between its neighbours, so that the arrays never grow.
    """
    n_entries = 2 * parts * len(start)
    to = np.empty(n_entries, dtype=np.int32)
    weight = np.empty(n_entries)
    following = np.empty(n_entries, dtype=np.int64)
    entry = np.full(n_nodes, -1, dtype=np.int64)
    queue = _Queue(
        np.zeros(n_nodes, dtype=np.int64),
        np.full(n_entries + 1, -1, dtype=np.int64),
        np.full(n_nodes, -1, dtype=np.int64),
        np.full(n_nodes, -1, dtype=np.int64),
    )
    for e in range(n_entries):
        h = e // (2 * parts)
        i, to[e] = (start[h], end[h]) if e % 2 == 0 else (end[h], start[h])
        weight[e] = conductance[h] / parts
        following[e] = entry[i]
        entry[i] = e
        queue.degree[i] += 1
    for i in range(n_nodes):
        _insert(queue, i)
    order, total = np.empty(n_nodes, dtype=np.int64), np.zeros(n_nodes)
    first = np.zeros(n_nodes + 1, dtype=np.int64)
    node, share = np.empty(n_entries + 1, dtype=np.int32), np.empty(n_entries + 1)
    position = np.full(n_nodes, -1, dtype=np.int64)
    edges, sums = np.empty(n_nodes, dtype=np.int64), np.empty(n_nodes)
    lowest = 0
    for step in range(n_nodes):
        while queue.head[lowest] < 0:
            lowest += 1
        k = queue.head[lowest]
        _remove(queue, k)
        order[step] = k
        n_near = _neighbours(entry[k], to, weight, following, queue, position, edges, sums)
        # Merged and removed edges lower the degree of neighbours, of each by at most the number that k had.
        lowest = max(0, lowest - queue.degree[k])
        at = first[step]
        first[step + 1] = at + n_near
        if at + n_near > len(node):
            node = np.concatenate((node, np.empty(len(node), dtype=np.int32)))
            share = np.concatenate((share, np.empty(len(share))))
        if n_near > 0:
            total[k] = _join(
                edges[:n_near], sums[:n_near], to, weight, following, entry, queue, node[at:], share[at:], generator
            )
    return Factor(order, first, node[: first[-1]].copy(), share[: first[-1]].copy(), total)


@njit(cache=True, nogil=True)
def _neighbours(
    e: int,
    to: NDArray[np.int32],
    weight: NDArray[np.float64],
    following: NDArray[np.int64],
    queue: _Queue,
    position: NDArray[np.int64],
    edges: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> int:
    """Return how many neighbours the node of a list has; fill in one entry and the sum of weights of each."""
    n_near = 0
    while e >= 0:
        if weight[e] > 0:
            i = to[e]
            if position[i] < 0:
                position[i] = n_near
                edges[n_near], sums[n_near] = e, weight[e]
                n_near += 1
            else:
                sums[position[i]] += weight[e]
                weight[e] = weight[e ^ 1] = 0.0
                _change_degree(queue, i, -1)
        e = following[e]
    for e in edges[:n_near]:
        position[to[e]] = -1
    return n_near


@njit(cache=True, nogil=True)
def _join(
    edges: NDArray[np.int64],
    sums: NDArray[np.float64],
    to: NDArray[np.int32],
    weight: NDArray[np.float64],
    following: NDArray[np.int64],
    entry: NDArray[np.int64],
    queue: _Queue,
    node: NDArray[np.int32],
    share: NDArray[np.float64],
    generator: np.random.Generator,
) -> float:
    """Return the conductance of a node that is taken out; write its shares, and join its neighbours by a random tree.

    Of neighbours in rising order of weight w, each is joined to one j of those after it, drawn with probability
    w_j / R, by an edge of w_i R / W (R the sum of weights after i, W of all): on average the mesh w_i w_j / W.
    """
    rising = np.argsort(sums)
    n = len(rising)
    after = np.zeros(n + 1)
    for a in range(n - 1, -1, -1):
        after[a] = after[a + 1] + sums[rising[a]]
    for a in range(n):
        e = edges[rising[a]]
        i = to[e]
        node[a], share[a] = i, sums[rising[a]] / after[0]
        if a == n - 1:
            weight[e] = weight[e ^ 1] = 0.0
            _change_degree(queue, i, -1)
            break
        drawn = generator.random() * after[a + 1]
        low, high = a + 1, n - 1
        while low < high:
            middle = (low + high) // 2
            if after[middle + 1] <= drawn:
                high = middle
            else:
                low = middle + 1
        j = to[edges[rising[low]]]
        # The neighbour's entry that led to the node now leads to j; the node's own moves to the list of j. An entry of
        # a later neighbour is still needed to know that neighbour, and is only changed at its own turn.
        to[e ^ 1] = j
        to[e] = i
        weight[e] = weight[e ^ 1] = sums[rising[a]] * (after[a + 1] / after[0])
        following[e] = entry[j]
        entry[j] = e
        _change_degree(queue, j, 1)
    return after[0]


@njit(cache=True, nogil=True)
def _precondition(factor: Factor, residual: NDArray[np.float64], result: NDArray[np.float64]) -> None:
    """Write the potentials of the approximate elimination for the currents of a residual."""
    order, first, node, share, total = factor
    result[:] = residual
    for n in range(len(order)):
        own = result[order[n]]
        for p in range(first[n], first[n + 1]):
            result[node[p]] += share[p] * own
    for n in range(len(order) - 1, -1, -1):
        k = order[n]
        own = result[k] / total[k] if total[k] > 0 else 0.0
        for p in range(first[n], first[n + 1]):
            own += share[p] * result[node[p]]
        result[k] = own


@njit(cache=True, nogil=True)
def _adjacency(
    n_nodes: int, start: NDArray[np.int64], end: NDArray[np.int64], conductance: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Return the edges of every node: first of each, the node at the other end, conductance."""
    first = np.zeros(n_nodes + 1, dtype=np.int64)
    for h in range(len(start)):
        first[start[h] + 1] += 1
        first[end[h] + 1] += 1
    first = np.cumsum(first)
    other, weight = np.empty(first[-1], dtype=np.int32), np.empty(first[-1])
    filled = first[:-1].copy()
    for h in range(len(start)):
        for i, j in ((start[h], end[h]), (end[h], start[h])):
            other[filled[i]], weight[filled[i]] = j, conductance[h]
            filled[i] += 1
    return first, other, weight


@njit(cache=True, nogil=True)
def _currents(
    first: NDArray[np.int64],
    other: NDArray[np.int32],
    weight: NDArray[np.float64],
    potential: NDArray[np.float64],
    result: NDArray[np.float64],
) -> None:
    """Write the current out of every node.

    Differences of potentials are taken first: what leaves one end of an edge then enters the other to the last bit, and
    a well conducting cluster on weak ties does not lose the sum of its currents to rounding.
    """
    for i in range(len(result)):
        out = 0.0
        for p in range(first[i], first[i + 1]):
            out += weight[p] * (potential[i] - potential[other[p]])
        result[i] = out


@njit(cache=True, nogil=True)
def _conjugate_gradients(
    first: NDArray[np.int64],
    other: NDArray[np.int32],
    weight: NDArray[np.float64],
    source: NDArray[np.float64],
    factor: Factor,
    power: float,
) -> tuple[NDArray[np.float64], int, float]:
    """Return potentials, iterations and the share of the power that the residual still holds.

    ``power`` is that at zero potentials. Every step lowers it by step length times residual norm
    (doi:10.6028/jres.049.044), so the sum of the last steps is what there is left to gain.
    """
    n = len(source)
    potential, result, preconditioned = np.zeros(n), np.empty(n), np.empty(n)
    n_iterations, share = 0, np.inf
    gains = np.full(_LAST_STEPS, np.inf)
    for _ in range(_MAX_RESTARTS):
        _currents(first, other, weight, potential, result)
        residual = source - result
        _precondition(factor, residual, preconditioned)
        norm = float((residual * preconditioned).sum())
        share = norm / power
        if share < _TOLERANCE or n_iterations >= _MAX_ITERATIONS:
            break
        direction = preconditioned.copy()
        gains[:] = np.inf
        while n_iterations < _MAX_ITERATIONS:
            _currents(first, other, weight, direction, result)
            step = norm / float((direction * result).sum())
            potential += step * direction
            residual -= step * result
            gain = step * norm
            power -= gain
            gains[n_iterations % _LAST_STEPS] = gain
            n_iterations += 1
            _precondition(factor, residual, preconditioned)
            new_norm = float((residual * preconditioned).sum())
            if gains.sum() < _TOLERANCE * power or new_norm == 0:
                break
            direction = preconditioned + (new_norm / norm) * direction
            norm = new_norm
    return potential, n_iterations, share
