"""Force calls per barrier beside atomate2's climbing-image band, on the same cells with the same potential.

    python benchmarks/transport_barriers.py             # all hops of the shipped cells
    python benchmarks/transport_barriers.py --hops 1    # one of each cell
    python benchmarks/transport_barriers.py --write     # keep the band's barriers as the references of the tests

`tests/reference_hops.json` holds relaxed cells of 20 and 25 atoms. In each, a few hops that share end points are
computed by `HopCalculation` and by `ForceFieldNebFromImagesMaker` with five images from an IDPP start, climbing,
improved tangents, to the same force. End points are counted on both sides: ours once for all hops that share them,
atomate2's, whose makers share none, for every hop, and in a second ratio once. Its relax maker relaxes them, and where
ours lie in a lower minimum the band is given that one. The band gets the quicker calculator of energies and forces too:
only calls are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms
from ase.mep import NEB
from pymatgen.core import Structure

from hemiec.engines.mlip.energy_forces import ChgnetEnergyForces
from hemiec.engines.mlip.potential import hop_calculator
from hemiec.engines.protocol import load_mlip
from hemiec.transport.energies import HopCalculation, SiteRecord
from hemiec.transport.hops import perovskite_network, vacancy
from hemiec.transport.network import HopNetwork
from hemiec.transport.saddles.path import unwrapped
from hemiec.transport.saddles.saddle import SAME_ENERGY, SaddleSearch

CELLS = Path(__file__).parents[1] / "tests" / "reference_hops.json"
FMAX, N_IMAGES, MAX_STEPS = 0.05, 5, 300
#: Targets: calls of the band over ours, agreement in eV, hops that agree, share of time outside the calls.
TIMES_FEWER, AGREE_EV, ENOUGH_HOPS, MOST_OUTSIDE = 10.0, 0.010, 20, 0.05


@dataclass(frozen=True)
class Comparison:
    """One hop by both: barriers and the saddle's energy in eV, calls without and with a share of the end points."""

    cell: str
    hop: int
    ours: float | None
    theirs: float | None
    saddle: float | None
    their_saddle: float | None
    calls: int
    their_calls: int
    method: str

    @property
    def difference(self) -> float | None:
        """Our barrier minus theirs, in eV."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs


class CountedCalls(ChgnetEnergyForces):
    """Energies and forces, counted over all copies that atomate2 makes of the calculator."""

    calls = 0

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        """Compute and count."""
        type(self).calls += 1
        super().calculate(*arguments, **keywords)


def neighbouring_hops(network: HopNetwork, n: int) -> list[int]:
    """Return ``n`` hops that share end points: from the first on, the next is the one that adds fewest sites."""
    possible = [int(hop) for hop in np.flatnonzero(network.start != network.end)]
    sites: set[int] = set()
    found: list[int] = []
    while len(found) < n:
        ends = {hop: {int(network.start[hop]), int(network.end[hop])} for hop in possible if hop not in found}
        touching = [hop for hop in ends if not found or ends[hop] & sites]
        found.append(min(touching, key=lambda hop: (len(ends[hop] - sites), hop)))
        sites |= ends[found[-1]]
    return found


class Peer:
    """atomate2's makers on one host, each vacancy relaxed once."""

    def __init__(self, host: Structure, ours: HopCalculation, counted: CountedCalls) -> None:
        self.host, self.ours, self.counted = host, ours, counted
        # Only for the mapping of end points: no energies are computed by it.
        self.mapping = HopCalculation(host, ours.network, counted)
        self.relax_calls: dict[int, int] = {}
        self.sites: dict[int, SiteRecord] = {}

    def relax(self, site: int) -> None:
        """Relax a vacancy with atomate2's maker, and again from our minimum if that is another and lower one."""
        if site in self.sites:
            return
        bare = vacancy(self.host, int(self.ours.network.atom_index[site]))
        bare.remove_site_property("site")
        record = self._relaxed(site, bare)
        self.relax_calls[site] = record.n_force_calls
        known = self.ours.site(site)
        if known.energy is not None and abs(known.energy - record.energy) > SAME_ENERGY:
            record = min(record, self._relaxed(site, known.structure), key=lambda found: found.energy)
        self.sites[site] = record

    def _relaxed(self, site: int, structure: Structure) -> SiteRecord:
        from atomate2.forcefields.jobs import ForceFieldRelaxMaker

        maker = ForceFieldRelaxMaker(
            force_field_name="CHGNet",
            relax_cell=False,
            steps=500,
            relax_kwargs={"fmax": FMAX, "use_emmet_models": True},
        )
        maker._calculator = self.counted
        before = CountedCalls.calls
        result = maker.run_ase(structure)
        final = Structure(structure.lattice, structure.species, result.final_mol_or_struct.frac_coords)
        energy = float(result.trajectory.energy[-1])
        return SiteRecord(site, energy, final, FMAX, "atomate2", CountedCalls.calls - before, 0.0, 0.0)

    def barrier(self, hop: int) -> tuple[float | None, float | None, int]:
        """Return forward barrier and energy of the saddle in eV, None if the band did not converge, and its calls."""
        from atomate2.forcefields.neb import ForceFieldNebFromImagesMaker

        network = self.ours.network
        for site in (int(network.start[hop]), int(network.end[hop])):
            self.relax(site)
        self.mapping = HopCalculation(self.host, network, self.counted, known_sites=self.sites.values())
        first, last = (unwrapped(structure) for structure in self.mapping.end_points(hop))
        images: list[Atoms] = [first, *(first.copy() for _ in range(N_IMAGES)), last]
        NEB(images).interpolate(method="idpp", mic=False)
        maker = ForceFieldNebFromImagesMaker(
            force_field_name="CHGNet",
            steps=MAX_STEPS,
            relax_kwargs={"fmax": FMAX},
            neb_kwargs={"k": 5.0, "climb": True, "method": "improvedtangent"},
        )
        maker._calculator = self.counted
        before = CountedCalls.calls
        result = maker.run_ase(images)
        calls = CountedCalls.calls - before
        energies = [float(energy) for energy in result.energies]
        if "successful" not in str(result.state):
            return None, None, calls
        return max(energies) - energies[0], max(energies), calls


def compare(name: str, host: Structure, n_hops: int, with_peer: bool) -> tuple[list[Comparison], dict[str, float]]:
    """Return the hops of one cell by both, and totals: calls with end points, time in and outside the calls."""
    protocol = load_mlip("mlip-chgnet")
    calculator = hop_calculator(protocol)
    network = perovskite_network(host)
    settings = SaddleSearch(fmax=FMAX)
    calculation = HopCalculation(host, network, calculator, settings)
    chosen = neighbouring_hops(network, n_hops)
    started = time.perf_counter()
    for hop in chosen:
        calculation.hop(hop)
    elapsed = time.perf_counter() - started
    peer = Peer(host, calculation, CountedCalls(calculator.model))
    rows = []
    for record in (calculation.hop(hop) for hop in chosen):
        theirs, saddle, calls = peer.barrier(record.hop) if with_peer else (None, None, 0)
        rows.append(
            Comparison(
                name, record.hop, record.forward_barrier, theirs, record.saddle_energy, saddle,
                record.n_force_calls, calls, record.method or f"failed: {record.reason}",
            )
        )  # fmt: skip
        show(rows[-1])
    pairs = [(int(network.start[hop]), int(network.end[hop])) for hop in chosen] if with_peer else []
    totals = {
        "calls": calculation.force_calls.calls,
        "their_calls": sum(row.their_calls for row in rows) + sum(peer.relax_calls[n] for ends in pairs for n in ends),
        "their_calls_shared": sum(row.their_calls for row in rows) + sum(peer.relax_calls.values()),
        "seconds": elapsed,
        "in_calls": calculation.force_calls.seconds,
        "sites": len(calculation.sites),
    }
    return rows, totals


def show(row: Comparison) -> None:
    """Print one hop."""
    ours, theirs = ("failed" if x is None else f"{x:.4f}" for x in (row.ours, row.theirs))
    apart = "" if row.difference is None else f"{1000 * row.difference:+6.1f} meV"
    print(
        f"  {row.cell:28} hop {row.hop:3}   {ours} eV in {row.calls:3} calls   band {theirs} in {row.their_calls:4}   "
        f"{apart:10}   {row.method}",
        flush=True,
    )


def keep(name: str, comparisons: list[Comparison]) -> None:
    """Write the band's barriers of a cell to the references that the tests read."""
    cells = json.loads(CELLS.read_text())
    cells[name]["hops"] = [
        {"hop": row.hop, "forward_barrier": round(row.theirs, 4), "n_force_calls": row.their_calls}
        for row in comparisons
        if row.theirs is not None
    ]
    CELLS.write_text(json.dumps(cells) + "\n")


def rows(n_hops: int = 3, write: bool = False) -> tuple[dict[str, float], dict[str, dict[str, float]], list[str]]:
    """Print tables; return figures, those of atomate2, and the keys that fall short of their targets."""
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    cells = {name: Structure.from_dict(cell["host"]) for name, cell in json.loads(CELLS.read_text()).items()}
    print(f"barriers by CHGNet to {FMAX} eV/angstrom, one core; calls of a hop without its end points")
    found: list[Comparison] = []
    totals = []
    for name, host in cells.items():
        comparisons, total = compare(name, host, n_hops, True)
        found += comparisons
        totals.append(total)
        if write:
            keep(name, comparisons)
    calls, theirs, shared, seconds, in_calls = (
        sum(total[key] for total in totals)
        for key in ("calls", "their_calls", "their_calls_shared", "seconds", "in_calls")
    )
    both = [row.difference for row in found if row.difference is not None]
    agree = sum(abs(difference) < AGREE_EV for difference in both)
    lower = sum(difference <= -AGREE_EV for difference in both)
    outside = 1 - in_calls / seconds
    print(
        f"{len(found)} hops: with end points {calls / len(found):.1f} calls a hop, atomate2 {theirs / len(found):.0f}: "
        f"{theirs / calls:.1f} times fewer, {shared / calls:.1f} if its end points too are counted once. "
        f"{agree} of {len(both)} barriers that both found agree within {1000 * AGREE_EV:g} meV, "
        f"{lower} more are lower than the band's; failed: ours "
        f"{sum(row.ours is None for row in found)}, band {sum(row.theirs is None for row in found)}. "
        f"Time outside the calls {outside:.1%}."
    )
    figures = {
        "calls_per_barrier": round(calls / len(found), 1),
        "calls_ratio": round(shared / calls, 2),
        "calls_ratio_own_end_points": round(theirs / calls, 2),
        "hops": float(len(found)),
        "hops_agree": float(agree),
        "hops_lower": float(lower),
        "largest_difference_meV": round(1000 * float(np.abs(both).max()), 1),
        "time_outside_calls": round(outside, 4),
    }
    short = [
        key
        for key, missed in {
            "calls_ratio": theirs / calls < TIMES_FEWER,
            "hops_agree": agree < ENOUGH_HOPS,
            "time_outside_calls": outside > MOST_OUTSIDE,
        }.items()
        if missed
    ]
    return figures, {"calls_per_barrier": {"atomate2": round(theirs / len(found), 1)}}, short


def main() -> None:
    """Run and print the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hops", type=int, default=3, help="hops per cell (3)")
    parser.add_argument("--write", action="store_true", help="keep the band's barriers as the tests' references")
    arguments = parser.parse_args()
    figures, others, short = rows(arguments.hops, arguments.write)
    print(json.dumps({"name": "transport-barriers", "figures": figures, "peers": others, "short": short}))


if __name__ == "__main__":
    main()
