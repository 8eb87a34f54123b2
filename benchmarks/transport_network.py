"""Diffusion on large hop networks: time and memory of the exact solve, and hops per second of kinetic Monte Carlo.

    python benchmarks/transport_network.py [N_CELLS TEMPERATURE_K]

Oxygen sites of perovskite cells, site energies normal with 0.3 eV, barriers 0.15 to 0.8 eV above the higher site, at
300 and 1000 K. With arguments: one solve of N_CELLS^3 cells, as one JSON line; sizes run in processes of their own, so
that each has its own peak memory. Beside it, of one of the three solves that a tensor takes: SciPy's sparse LU of the
same equations, and conjugate gradients with pyamg's multigrid where it is installed, as accurate as they come.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import spsolve

from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.kinetics.kinetic_monte_carlo import Simulation, kinetic_monte_carlo
from hemiec.transport.network import HopNetwork
from hemiec.units import BOLTZMANN_EV_PER_K

A = 3.9
TEMPERATURES_K = (300.0, 1000.0)
#: Cells along each axis: 1,029, 12,288, 98,304 and 397,953 sites.
SMALL, MIDDLE, LARGE, HUGE = 7, 16, 32, 51
SMALL_S, LARGE_S, HOPS_PER_S = 0.1, 30.0, 1e6
#: Peak memory per site may grow by this factor over four times the size and still count as linear.
LINEAR = 1.2
MAX_LU_SITES = 13_000


def perovskite_oxygen(n: int) -> HopNetwork:
    """Return the anion sites of n x n x n cubic perovskite cells and the hops along octahedron edges."""
    cells = np.indices((n, n, n)).reshape(3, -1).T
    number = np.arange(n**3).reshape(n, n, n)
    starts, ends, images = [], [], []
    for (i, j), up, down in itertools.product(itertools.combinations(range(3), 2), (0, 1), (0, -1)):
        # From the site on axis i to that on axis j of the same cell, of the next along i, or of the one before along j.
        to = cells.copy()
        to[:, i] += up
        to[:, j] += down
        image = to // n
        to -= image * n
        starts.append(3 * number.ravel() + i)
        ends.append(3 * number[to[:, 0], to[:, 1], to[:, 2]] + j)
        images.append(image)
    frac = (cells[:, None] + np.eye(3) / 2).reshape(-1, 3) / n
    return HopNetwork(np.eye(3) * A * n, frac, *(np.concatenate(x) for x in (starts, ends, images)))


def energies(network: HopNetwork, spread: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return random site and saddle energies in eV."""
    generator = np.random.default_rng(seed)
    sites = generator.normal(0, spread, network.n_sites)
    top = np.maximum(sites[network.start], sites[network.end])
    return sites, top + generator.uniform(0.15, 0.8, network.n_hops)


def memory_kB(*, reset: bool = False) -> int:
    """Return the peak resident memory of this process since it was reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def one_size(n: int, temperature_K: float) -> dict[str, float]:
    """Return time and memory of one solve, after a small one that loads the compiled code."""
    warm_up = perovskite_oxygen(6)
    diffusion(warm_up, *energies(warm_up), temperature_K)
    network = perovskite_oxygen(n)
    given = energies(network)
    before = memory_kB(reset=True)
    start, cpu = time.perf_counter(), time.process_time()
    found = diffusion(network, *given, temperature_K)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = memory_kB()
    return {
        "sites": network.n_sites,
        "s": seconds,
        "cpu_s": cpu,
        "kB_per_site": (peak - before) / network.n_sites,
        "log10_d": found.log10_d or 0.0,
        "barrier": found.effective_barrier or 0.0,
    }


def in_process(n: int, temperature_K: float) -> dict[str, float]:
    """Return `one_size` from a process of its own."""
    command = [sys.executable, __file__, str(n), str(temperature_K)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def equations(network: HopNetwork, temperature_K: float) -> tuple[csr_matrix, np.ndarray, Any]:
    """Return Laplacian and right-hand side of a field along x, first site grounded, and D_xx of potentials."""
    sites, saddles = energies(network)
    kT = BOLTZMANN_EV_PER_K * temperature_K
    w = np.exp((np.quantile(saddles, 0.2) - saddles) / kT)
    a, b, n = network.start, network.end, network.n_sites
    links = coo_matrix((np.tile(w, 2), (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(n, n)).tocsr()
    laplacian = (diags(np.asarray(links.sum(axis=1)).ravel()) - links).tocsr()
    d = network.displacements[:, 0]
    source = np.bincount(a, w * d, n) - np.bincount(b, w * d, n)
    scale = 1e-3 * np.exp(-np.quantile(saddles, 0.2) / kT) / np.exp(-sites / kT).sum()

    def d_xx(free: np.ndarray) -> float:
        g = np.concatenate([[0.0], free])
        return float(scale * (w * (d + g[b] - g[a]) ** 2).sum())

    return laplacian[1:, 1:], source[1:], d_xx


def peers(n: int, temperature_K: float) -> dict[str, tuple[float, float]]:
    """Return seconds and D_xx over ours of other solvers, one field of three."""
    network = perovskite_oxygen(n)
    laplacian, source, d_xx = equations(network, temperature_K)
    ours = diffusion(network, *energies(network), temperature_K).tensor[0, 0]
    found = {}
    if network.n_sites <= MAX_LU_SITES:
        start = time.perf_counter()
        potentials = spsolve(laplacian.tocsc(), source)
        found["SciPy LU"] = time.perf_counter() - start, d_xx(potentials) / ours
    try:
        import pyamg
    except ImportError:
        return found
    start = time.perf_counter()
    solver = pyamg.ruge_stuben_solver(laplacian)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it gave up shows in its result
        potentials = solver.solve(source, tol=1e-10, accel="cg", maxiter=300)
    found["pyamg + cg"] = time.perf_counter() - start, d_xx(potentials) / ours
    return found


def solves(figures: dict[str, float], others: dict[str, dict[str, float]], short: list[str]) -> None:
    """Print the table of solves and enter its figures."""
    print("exact solve of the whole tensor, one thread; peers solve for one of three fields")
    memory = {}
    sizes = {"solve_1k_s": SMALL, "solve_12k_s": MIDDLE, "solve_100k_s": LARGE, "solve_400k_s": HUGE}
    for (key, n), temperature_K in itertools.product(sizes.items(), TEMPERATURES_K):
        run = in_process(n, temperature_K)
        memory[n] = max(memory.get(n, 0), run["kB_per_site"])
        figures[key] = round(max(figures.get(key, 0), run["s"]), 4)
        print(
            f"  {run['sites']:8,.0f} sites, {temperature_K:5.0f} K: {run['s']:8.4f} s ({run['cpu_s']:.4f} CPU-s), "
            f"{run['kB_per_site']:.2f} kB per site; log10 D {run['log10_d']:.6f}, barrier {run['barrier']:.6f} eV"
        )
        for name, (seconds, ratio) in (peers(n, temperature_K) if n <= MIDDLE else {}).items():
            others.setdefault(key, {})[name] = round(seconds, 4)
            print(f"    {name:11} {seconds:8.4f} s, D_xx {ratio:.6g} times ours")
    figures |= {f"memory_kB_per_site_{key[6:-2]}": round(memory[n], 3) for key, n in sizes.items() if n >= LARGE}
    short += [key for key, limit in (("solve_1k_s", SMALL_S), ("solve_100k_s", LARGE_S)) if figures[key] > limit]
    if memory[HUGE] > LINEAR * memory[LARGE]:
        short.append("memory_kB_per_site_400k")


def walks(figures: dict[str, float], short: list[str]) -> None:
    """Print hops per second of simulations, with the exact dilute result beside them, and enter the figures."""
    print("kinetic Monte Carlo, one core, everything included (CPU time); cells of 81 sites with 0.1 eV between sites")
    cell = perovskite_oxygen(3)
    sites, saddles = energies(cell, spread=0.1)
    exact = diffusion(cell, sites, saddles, 1000.0).d
    kinetic_monte_carlo(cell, sites, saddles, 1000.0, simulation=Simulation(n_hops=100_000))
    for n_walkers, repeat, n_hops in ((1, 1, 5_000_000), (100, 5, 5_000_000), (1000, 5, 10_000_000)):
        simulation = Simulation(n_walkers, (repeat,) * 3, n_hops)
        start = time.process_time()
        found = kinetic_monte_carlo(cell, sites, saddles, 1000.0, simulation=simulation)
        rate = found.n_hops / (time.process_time() - start)
        key = f"kmc_hops_per_s_{n_walkers}_walkers"
        figures[key] = round(rate)
        short += [key] if rate < HOPS_PER_S else []
        print(
            f"  {n_walkers:5,} walkers on {found.n_sites:6,} sites: {rate / 1e6:5.2f} million hops/s; collective D "
            f"{found.collective.d:.3e} +- {found.collective.d_std:.1e}, of one walker {found.walker.d:.3e} +- "
            f"{found.walker.d_std:.1e}, exact in the dilute limit {exact:.3e} cm^2/s"
        )


def rows() -> tuple[dict[str, float], dict[str, dict[str, float]], list[str]]:
    """Print all tables; return figures, peers and the keys that fall short of their targets."""
    figures: dict[str, float] = {}
    others: dict[str, dict[str, float]] = {}
    short: list[str] = []
    solves(figures, others, short)
    walks(figures, short)
    return figures, others, short


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(one_size(int(sys.argv[1]), float(sys.argv[2]))))
    else:
        print(json.dumps(dict(zip(("figures", "peers", "short"), rows(), strict=True))))
