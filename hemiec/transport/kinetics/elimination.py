"""Potentials of a resistor network, by eliminating nodes without a subtraction.

Taking a node out joins its neighbours directly (star-mesh transform): conductances are added, multiplied and divided,
never subtracted, so that each keeps its relative accuracy however many decades they span (doi:10.1287/opre.33.5.1107).
Small networks are eliminated exactly, here; large ones approximately, as the preconditioner of an iteration
(`hemiec.transport.kinetics.approximate_elimination`).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemiec.errors import NotConvergedError
from hemiec.transport.kinetics.approximate_elimination import iterate
from hemiec.transport.network import FloatArray, IntArray

#: Largest network that is eliminated exactly: above, iteration is faster.
MAX_EXACT = 400
#: The result is refused if net currents at single nodes hold more than this share of the power.
_BALANCE = 1e-11


def potentials(n_nodes: int, start: IntArray, end: IntArray, conductance: FloatArray, drop: FloatArray) -> FloatArray:
    """Return the potentials g that minimise sum_h w_h (c_h + g_end - g_start)^2, for several sets of c at once.

    Parameters
    ----------
    n_nodes
        Nodes.
    start, end
        Nodes that an edge joins, shape=(n_edges,); two nodes may be joined by several, or a node to itself.
    conductance
        w, positive and finite, shape=(n_edges,).
    drop
        c, shape=(n_edges, n_fields).

    Returns
    -------
    Potentials, zero at one node of every connected part, shape=(n_nodes, n_fields).

    Raises
    ------
    NotConvergedError
        If the residual stays above its limit, or the currents do not balance.
    """
    between = start != end
    start, end, conductance, drop = start[between], end[between], conductance[between], drop[between]
    source = np.empty((n_nodes, drop.shape[1]))
    for field in range(drop.shape[1]):
        current = conductance * drop[:, field]
        source[:, field] = np.bincount(start, current, n_nodes) - np.bincount(end, current, n_nodes)
    if n_nodes <= MAX_EXACT:
        result = eliminate(n_nodes, start, end, conductance, source)
    else:
        result = iterate(n_nodes, start, end, conductance, drop, source)
    _check_balance(n_nodes, start, end, conductance, drop + result[end] - result[start])
    return result


def _check_balance(n_nodes: int, start: IntArray, end: IntArray, conductance: FloatArray, drop: FloatArray) -> None:
    """Refuse potentials that leave net currents r at nodes of conductance W: sum of r^2 / W against the power."""
    total = np.bincount(start, conductance, n_nodes) + np.bincount(end, conductance, n_nodes)
    for current, own in zip((conductance[:, None] * drop).T, drop.T, strict=True):
        net = np.bincount(start, current, n_nodes) - np.bincount(end, current, n_nodes)
        power, lost = float(current @ own), float((net[total > 0] ** 2 / total[total > 0]).sum())
        if not lost <= _BALANCE * power:
            raise NotConvergedError(
                f"diffusion on a network of {n_nodes} sites: net currents hold {lost:.1e} of a power of {power:.1e}."
            )


@njit(cache=True, nogil=True)
def eliminate(
    n_nodes: int,
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    conductance: NDArray[np.float64],
    source: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the potentials of a network with given sources, by exact elimination in a dense matrix.

    The node with fewest neighbours goes first. Arguments as in `potentials`; ``source`` is the current into every node,
    adding to zero in every connected part, shape=(n_nodes, n_fields).
    """
    n_fields = source.shape[1]
    mesh = np.zeros((n_nodes, n_nodes))
    for h in range(len(start)):
        mesh[start[h], end[h]] += conductance[h]
        mesh[end[h], start[h]] += conductance[h]
    degree = np.zeros(n_nodes, dtype=np.int64)
    for i in range(n_nodes):
        degree[i] = np.count_nonzero(mesh[i])
    current = source.copy()
    left = np.arange(n_nodes)
    order = np.empty(n_nodes, dtype=np.int64)
    near = np.empty(n_nodes, dtype=np.int64)
    total = np.zeros(n_nodes)
    for n_left in range(n_nodes, 0, -1):
        at = np.argmin(degree[left[:n_left]])
        k = left[at]
        left[at] = left[n_left - 1]
        order[n_left - 1] = k
        n_near = 0
        for i in left[: n_left - 1]:
            if mesh[k, i] > 0:
                near[n_near] = i
                n_near += 1
                total[k] += mesh[k, i]
        for a in range(n_near):
            i = near[a]
            # The row of a node taken out holds its shares: those of its neighbours, of which none comes before it.
            share = mesh[k, i] / total[k]
            degree[i] -= 1
            for f in range(n_fields):
                current[i, f] += share * current[k, f]
            for b in range(a):
                j = near[b]
                if mesh[i, j] == 0:
                    degree[i] += 1
                    degree[j] += 1
                mesh[i, j] += share * mesh[j, k]
                mesh[j, i] = mesh[i, j]
            mesh[k, i] = share
    potential = np.zeros((n_nodes, n_fields))
    for n_left in range(1, n_nodes + 1):
        k = order[n_left - 1]
        if total[k] == 0:
            continue
        for f in range(n_fields):
            potential[k, f] = current[k, f] / total[k]
        for i in order[: n_left - 1]:
            if mesh[k, i] > 0:
                for f in range(n_fields):
                    potential[k, f] += mesh[k, i] * potential[i, f]
    return potential
