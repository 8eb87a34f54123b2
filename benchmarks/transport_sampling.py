"""How many force calls the effective barrier of a cell takes when hops are chosen, and whether its interval is honest.

    python benchmarks/transport_sampling.py

`hop_energies.json` holds the site and saddle energies of a few high-entropy cells, so sampling can be replayed: hops
are revealed as they are chosen, each at the cost it had. Compared with computing every hop by a five-image CI-NEB, and
with hops picked at random. The truth is the effective barrier from all hops that were computed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from pymatgen.core import Lattice, Structure

from hemiec.transport.learning.environments import Environments, describe
from hemiec.transport.learning.local_model import fit_local_model
from hemiec.transport.learning.sampling import estimate, next_hops
from hemiec.transport.network import HopNetwork

DATA = Path(__file__).with_name("hop_energies.json")
TEMPERATURE_K = 1000.0
#: Half of the 90 % interval at which sampling stops, in eV.
WANTED_EV = 0.05
#: Force calls of one five-image CI-NEB with its end points: mean over the 21 hops of `transport_barriers`.
NEB_CALLS = 301
BATCH, N_SEEDS, N_DRAWS = 6, 10, 200
#: Targets: force calls against CI-NEB of every hop, and how many 90 % intervals hold the truth.
MOST_OF_NEB, LEAST_COVERAGE = 0.1, 0.8
#: A "few hops" whose median barrier is compared with the effective one.
FEW = 5


@dataclass(frozen=True)
class Cell:
    """A cell with the energies that were computed: of all sites, and of all or most hops."""

    key: str
    material: str
    network: HopNetwork
    environments: Environments
    sites: np.ndarray
    saddles: np.ndarray
    site_calls: np.ndarray
    saddle_calls: np.ndarray

    @property
    def n_atoms(self) -> int:
        """Atoms in the host, three fifths of which are oxygen."""
        return self.network.n_sites * 5 // 3


@dataclass(frozen=True)
class Step:
    """Where sampling stood after a batch."""

    calls: int
    n_hops: int
    median: float
    half_width: float
    inside: bool


def load() -> list[Cell]:
    """Return the cells of `hop_energies.json`."""
    return [_cell(entry) for entry in json.loads(DATA.read_text(encoding="utf-8"))["cells"]]


def _cell(entry: dict[str, Any]) -> Cell:
    host, hops = entry["host"], entry["network"]
    structure = Structure(
        Lattice(host["lattice"]), host["species"], host["frac_coords"], site_properties={"site": list(host["site"])}
    )
    index = np.array(hops["atom_index"])
    network = HopNetwork(
        structure.lattice.matrix,
        structure.frac_coords[index],
        np.array(hops["start"]),
        np.array(hops["end"]),
        np.array(hops["image"]),
        index,
    )
    return Cell(
        entry["key"],
        entry["material"],
        network,
        describe(structure, network),
        np.array(entry["site_energies"], dtype=float),
        np.array(entry["saddle_energies"], dtype=float),
        np.array(entry["site_calls"]),
        np.array(entry["saddle_calls"]),
    )


def truth(cell: Cell) -> float:
    """Return the effective barrier in eV from all energies; the few that no search found are predicted."""
    posterior = fit_local_model(cell.environments, cell.network, cell.sites, cell.saddles)
    found = estimate(cell.network, posterior, [], reference_temperature_K=TEMPERATURE_K, n_draws=N_DRAWS)
    return found.effective_barrier.median


def replay(cell: Cell, seed: int, *, random: bool, exact: float) -> list[Step]:
    """Return what is known after every batch until the interval is narrow enough or no hop is left."""
    network = cell.network
    sites, saddles = np.full(network.n_sites, np.nan), np.full(network.n_hops, np.nan)
    # A hop that was never tried has no cost and cannot be picked; one that failed costs what was spent on it.
    failed = np.flatnonzero(cell.saddle_calls == 0).tolist()
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(cell.saddle_calls)).tolist()
    calls, steps = 0, []
    while True:
        posterior = fit_local_model(cell.environments, network, sites, saddles)
        barrier = estimate(
            network, posterior, [], reference_temperature_K=TEMPERATURE_K, n_draws=N_DRAWS, seed=seed
        ).effective_barrier
        inside = barrier.low <= exact <= barrier.high
        n_hops = int(np.isfinite(saddles).sum())
        steps.append(Step(calls, n_hops, barrier.median, barrier.half_width, inside))
        if random:
            batch, shuffled = shuffled[:BATCH], shuffled[BATCH:]
        else:
            batch = next_hops(network, posterior, BATCH, temperature_K=TEMPERATURE_K, excluded=failed, seed=seed)
        if barrier.half_width <= WANTED_EV or not batch:
            return steps
        for hop in batch:
            for site in (network.start[hop], network.end[hop]):
                if np.isnan(sites[site]):
                    sites[site] = cell.sites[site]
                    calls += int(cell.site_calls[site])
            saddles[hop] = cell.saddles[hop]
            calls += int(cell.saddle_calls[hop])
            if np.isnan(saddles[hop]):
                failed.append(hop)


def rows() -> tuple[dict[str, float], dict[str, dict[str, float]], list[str]]:
    """Print a table and return figures, those of random choice and CI-NEB, and the keys that fall short."""
    figures: dict[str, float] = {}
    peers: dict[str, dict[str, float]] = {}
    print(
        f"\neffective barrier at {TEMPERATURE_K:g} K to ±{WANTED_EV} eV (90 %): medians (ranges) over {N_SEEDS} seeds"
    )
    inside: list[bool] = []
    for cell in load():
        exact, barriers = truth(cell), _barriers(cell)
        print(
            f"\n{cell.material}, {cell.n_atoms} atoms: {exact:.3f} eV from {np.isfinite(cell.saddles).sum()} of "
            f"{cell.network.n_hops} hops; single hops {barriers.min():.2f} to {barriers.max():.2f} eV"
        )
        every_hop = NEB_CALLS * int((~cell.network.onto_own_image).sum())
        calls = {}
        for how in ("chosen", "random"):
            runs = [replay(cell, seed, random=how == "random", exact=exact) for seed in range(N_SEEDS)]
            calls[how], error = _show(how, runs, exact, every_hop)
            if how == "chosen":
                inside += [step.inside for run in runs for step in run]
                figures[f"{cell.key}_error_eV"] = round(error, 4)
        few = _median_of_few(barriers)
        low, high = np.quantile(few, [0.05, 0.95])
        print(
            f"  median of {FEW} hops: {low:.2f} to {high:.2f} eV in 90 % of picks, off by "
            f"{np.abs(few - exact).mean():.3f} eV on average"
        )
        figures |= {
            f"{cell.key}_calls": calls["chosen"],
            f"{cell.key}_share_of_neb": round(calls["chosen"] / every_hop, 4),
            f"{cell.key}_median_of_{FEW}_off_eV": round(float(np.abs(few - exact).mean()), 3),
        }
        peers[f"{cell.key}_calls"] = {"random choice": calls["random"], "CI-NEB of every hop": float(every_hop)}
    shares = [value for key, value in figures.items() if key.endswith("_share_of_neb")]
    figures |= {"share_of_neb_calls": max(shares), "interval_coverage": round(float(np.mean(inside)), 3)}
    short = [] if max(shares) <= MOST_OF_NEB else ["share_of_neb_calls"]
    if figures["interval_coverage"] < LEAST_COVERAGE:
        short.append("interval_coverage")
    return figures, peers, short


def _show(how: str, runs: list[list[Step]], exact: float, every_hop: int) -> tuple[float, float]:
    """Print a line about some replays; return the median of force calls and the mean error in eV."""
    ends = [run[-1] for run in runs]
    errors = [abs(end.median - exact) for end in ends]
    calls = float(np.median([end.calls for end in ends]))
    held = np.mean([step.inside for run in runs for step in run])
    print(
        f"  {how:7} {np.median([end.n_hops for end in ends]):3.0f} hops, {calls:5.0f} calls "
        f"({min(e.calls for e in ends)} to {max(e.calls for e in ends)}), {calls / every_hop:.1%} of {every_hop:,} "
        f"for a CI-NEB of every hop; off by {np.mean(errors):.3f} eV on average, {max(errors):.3f} at most; "
        f"truth inside {held:.0%} of the intervals on the way"
    )
    return calls, float(np.mean(errors))


def _barriers(cell: Cell) -> np.ndarray:
    """Return the barriers in eV of all hops in both directions, those onto their own image left out."""
    network = cell.network
    found = np.isfinite(cell.saddles)
    ends = np.concatenate([network.start[found], network.end[found]])
    return np.tile(cell.saddles[found], 2) - cell.sites[ends]


def _median_of_few(barriers: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([np.median(rng.choice(barriers, FEW, replace=False)) for _ in range(1000)])


if __name__ == "__main__":
    figures, peers, short = rows()
    print(json.dumps({"name": "transport_sampling", "figures": figures, "peers": peers, "short": short}))
