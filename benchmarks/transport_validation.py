"""Migration barriers of each bundled potential against literature, and what they cost.

    python benchmarks/transport_validation.py --model mlip-chgnet --material SrTiO3
    python benchmarks/transport_validation.py --model mlip-chgnet mlip-7net-0        # every material
    python benchmarks/transport_validation.py --table                                # the tables of the docs

A host is relaxed from every tilt system that fits a 20-atom cell and the lowest is kept, doubled to 2x2x2 (40 atoms).
Every hop that symmetry makes different gets its saddle, every site its vacancy; the effective barrier is that of
diffusion over all of them. `strain` does the same for a few hops of LaBO3 under biaxial strain, `LLTO` moves Li through
the O4 windows. Results are added to transport_reference.json as they come; what is there is not computed again (--again
does). Costs are force calls and CPU time of the calls, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase.calculators.calculator import Calculator
from pymatgen.core import Lattice, Structure

from hemiec.engines.mlip.cell import relax_cell
from hemiec.engines.mlip.energy_forces import ChgnetEnergyForces
from hemiec.engines.mlip.potential import calculator, hop_calculator, versions
from hemiec.engines.protocol import load_mlip
from hemiec.errors import NotConvergedError
from hemiec.structures.basins import left_basin, tilt_system
from hemiec.structures.parent import Supercell, cubic_perovskite
from hemiec.structures.tilts import BASIN_SYSTEMS, basin_starts, tilted_start
from hemiec.transport.energies import HopCalculation
from hemiec.transport.hops import perovskite_network
from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.network import HopNetwork
from hemiec.transport.saddles.saddle import SaddleSearch

RECORD = Path(__file__).with_name("transport_reference.json")
MODELS = ("mlip-chgnet", "mlip-7net-0", "mlip-7net-l3i5", "7net-mf-0 PBE", "chgnet r2scan")
#: All tilt systems fit it, with in-phase tilts about z alone.
SMALL = [[1, -1, 0], [1, 1, 0], [0, 0, 2]]
#: The small cell's vectors in the 2x2x2 cell.
DOUBLED = [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]
#: A to B to starting lattice parameter in angstrom (the relaxation does the rest).
TERNARIES = {
    "SrTiO3": ("Sr", "Ti", 3.94),
    "BaZrO3": ("Ba", "Zr", 4.23),
    "LaCoO3": ("La", "Co", 3.85),
    "LaFeO3": ("La", "Fe", 3.95),
    "LaGaO3": ("La", "Ga", 3.93),
}
STRAINED = {"Al": 3.82, "Ga": 3.93, "Cr": 3.91, "Fe": 3.95, "Co": 3.85, "Sc": 4.09}
#: Biaxial strains in %.
STRAINS = (-1.0, 1.0)
TEMPERATURE_K = 1000.0
ABOUT = (
    "Results of transport_validation.py. Barriers in eV, of neutral oxygen vacancies in 2x2x2 cells whose size is that "
    "of the relaxed host; effective barrier at 1000 K over all different hops. Costs on one core that others used "
    "too: force calls are the size of it."
)
FMAX, TOLERANCE = 0.03, 0.002
#: Barriers that the potentials are compared with, in eV; sources are in docs/transport-validation.md.
LITERATURE = {
    "SrTiO3": "0.62 (experiment)",
    "BaZrO3": "0.2 to 1.6 (range of DFT, any perovskite)",
    "LaCoO3": "0.55 (DFT, delta 1/3)",
    "LaFeO3": "0.77 (experiment)",
    "LaGaO3": "0.73 (pair potentials)",
    "LLTO": "0.40 (experiment)",
}
#: A symmetric start is kept instead of the displaced one if it is not higher by more, in eV per formula unit: the
#: displaced one finds the same tilts with noise, or in SrTiO3 polar shifts that only low temperatures have.
SAME = 0.006
SEARCH = SaddleSearch(climbing_images=0)


@dataclass
class Cost:
    """Force calls and their CPU time in s."""

    calls: int = 0
    cpu_s: float = 0.0


class Counting(Calculator):
    """Another calculator, counted."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, inner: Calculator, cost: Cost) -> None:
        super().__init__()
        self.inner, self.cost = inner, cost

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        """Compute energy, forces and, where the other can, stress of ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        started = time.process_time()
        copy = atoms.copy()
        copy.calc = self.inner
        forces = copy.get_forces()
        self.results = {"forces": np.array(forces, float), "energy": float(copy.get_potential_energy())}
        self.results["free_energy"] = self.results["energy"]
        if "stress" in self.inner.implemented_properties:
            self.results["stress"] = np.array(copy.get_stress(), float)
        self.cost.calls += 1
        self.cost.cpu_s += time.process_time() - started


def ideal_cell(symbols: tuple[str, str], a: float, rows: Any = SMALL) -> Structure:
    """Return the cubic perovskite of A, B and O in a supercell, sites labelled; a in angstrom."""
    cell = Supercell(cubic_perovskite(a), rows)
    names = {"A": symbols[0], "B": symbols[1], "X": "O"}
    return Structure(
        Lattice(cell.lattice),
        [names[site] for site in cell.sublattices],
        cell.positions,
        site_properties={"site": list(cell.sublattices)},
    )


def lowest_host(symbols: tuple[str, str], a: float, calc: Calculator) -> tuple[Structure, dict[str, Any]]:
    """Return the lowest of the relaxations from all tilt systems, as 2x2x2 cell, and what they were."""
    ideal = ideal_cell(symbols, a)
    # Symmetric starts, so that few hops are different; Pnma fits the cell with its in-phase tilt about z.
    starts = {"cubic": ideal, "displaced": basin_starts(ideal)["displaced"]}
    starts |= {name: tilted_start(ideal, name, displacement=0.0) for name in BASIN_SYSTEMS}
    found = {}
    for name, start in starts.items():
        try:
            cell = relax_cell(start, calc, fmax=FMAX, energy_tolerance=TOLERANCE)
        except NotConvergedError as error:
            print(f"  from {name:9s} {error.message}", flush=True)
            continue
        found[name] = (cell.structure, cell.energy / 4)
        print(
            f"  from {name:9s} {cell.energy / 4:.4f} eV/f.u.  {tilt_system(cell.structure).label}, "
            f"{cell.n_force_calls} calls",
            flush=True,
        )
    low = min(energy for _, energy in found.values())
    # Without symmetry every hop would be different.
    symmetric = [name for name in found if name != "displaced" and found[name][1] < low + SAME]
    kept = min(symmetric, key=lambda name: found[name][1]) if symmetric else "displaced"
    host = found[kept][0].copy()
    labels = host.site_properties["site"]
    host = host.make_supercell(DOUBLED, in_place=False, to_unit_cell=False)
    assert sorted(host.site_properties["site"]) == sorted(labels * 2)
    about = {
        "kept": kept,
        "tilts": tilt_system(host).label,
        "basins_meV_per_fu": {name: round(1000 * (energy - low), 1) for name, (_, energy) in found.items()},
    }
    return host, about


def orbits(host: Structure, network: HopNetwork) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of every site and hop under the symmetry of the host, each named by its first member."""
    import spglib

    numbers = [site.specie.Z for site in host]
    found = spglib.get_symmetry((host.lattice.matrix, host.frac_coords, numbers), symprec=0.03)
    assert found is not None
    middles = network.frac_coords[network.start] + (network.displacements @ np.linalg.inv(network.lattice)) / 2
    sites, hops = np.arange(network.n_sites), np.arange(network.n_hops)
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        for points, classes in ((network.frac_coords, sites), (middles, hops)):
            image = points @ rotation.T + shift
            apart = image[:, None, :] - points[None, :, :]
            apart = (apart - np.rint(apart)) @ host.lattice.matrix
            partner = np.linalg.norm(apart, axis=2).argmin(axis=1)
            np.minimum.at(classes, partner, classes.copy())
            classes[:] = np.minimum(classes, classes[partner])
    return sites, hops


def all_hops(host: Structure, network: HopNetwork, calc: Calculator, hops: Sequence[int]) -> tuple[Any, list[Any]]:
    """Return the calculation and the records of some hops, as they are reported."""
    energies = HopCalculation(host, network, calc, SEARCH)
    for hop in hops:
        record = energies.hop(int(hop))
        about = f"    hop {network.start[hop]}-{network.end[hop]} "
        if record.converged:
            about += f"{record.forward_barrier:.3f} / {record.reverse_barrier:.3f} eV, {record.method}"
        print(f"{about} {record.reason or ''} {record.n_force_calls} calls", flush=True)
    return energies, [energies.hop(int(hop)) for hop in hops]


def vacancy_barriers(host: Structure, calc: Calculator) -> dict[str, Any]:
    """Return site energies, saddles and effective barrier of oxygen vacancies; every different hop computed once."""
    network = perovskite_network(host, "O")
    sites, hops = orbits(host, network)
    energies, records = all_hops(host, network, calc, [int(n) for n in np.unique(hops)])
    changes = [left_basin(host, record.structure) for record in energies.sites if record.structure is not None]
    found: dict[str, Any] = {
        "n_different_sites": len(set(sites.tolist())),
        "hops": [
            {
                "multiplicity": int((hops == record.hop).sum()),
                "forward_eV": _rounded(record.forward_barrier),
                "reverse_eV": _rounded(record.reverse_barrier),
                "calls": record.n_force_calls,
            }
            | ({"failed": record.reason} if record.reason else {})
            for record in records
        ],
        "vacancies_that_left_the_basin": sum(change.left for change in changes),
        "vacancies": len(changes),
        "largest_coherent_turn_degrees": round(max(float(change.change.max()) for change in changes), 1),
        "hop_calls": energies.force_calls.calls,
    }
    # A class has the energy of its lowest member that was computed.
    site_energies: dict[int, float] = {}
    for record in energies.sites:
        if record.energy is not None:
            own = int(sites[record.site])
            site_energies[own] = min(record.energy, site_energies.get(own, np.inf))
    saddles = {record.hop: record.saddle_energy for record in records if record.saddle_energy is not None}
    zero = min(site_energies.values())
    found["site_energies_eV"] = sorted(round(energy - zero, 3) for energy in site_energies.values())
    # A hop that failed carries no current; the text says how many.
    S = np.array([saddles.get(int(own), zero + 5.0) - zero for own in hops])
    E = np.array([site_energies[int(own)] - zero for own in sites])
    walk = diffusion(network, E, S, TEMPERATURE_K)
    found["effective_barrier_eV"] = _rounded(walk.effective_barrier)
    print(f"    effective barrier {found['effective_barrier_eV']} eV at {TEMPERATURE_K:.0f} K", flush=True)
    return found


def strain_slope(B: str, a: float, calc: Calculator, cheap: Calculator) -> dict[str, Any]:
    """Return how hops of LaBO3 change with biaxial strain across z, in meV per %: one in the plane, one out of it.

    The lowest host's vectors in the plane are scaled, the third one and all atoms relax. A barrier is the mean of
    forward and reverse one.
    """
    host, about = lowest_host(("La", B), a, calc)
    barriers: dict[str, dict[float, float]] = {"in-plane": {}, "out-of-plane": {}}
    for strain in STRAINS:
        scale = np.diag([1 + strain / 100, 1 + strain / 100, 1.0])
        start = Structure(
            Lattice(host.lattice.matrix @ scale), host.species, host.frac_coords, site_properties=host.site_properties
        )
        strained = relax_cell(start, calc, free=(0, 0, 1, 0, 0, 0)).structure
        network = perovskite_network(strained, "O")
        hops = _directions(network)
        for name, record in zip(hops, all_hops(strained, network, cheap, list(hops.values()))[1], strict=True):
            if record.converged:
                barriers[name][strain] = (record.forward_barrier + record.reverse_barrier) / 2
    slopes = {
        name: round(1000 * (found[STRAINS[-1]] - found[STRAINS[0]]) / (STRAINS[-1] - STRAINS[0]))
        for name, found in barriers.items()
        if len(found) == len(STRAINS)
    }
    print(f"    {slopes} meV per %", flush=True)
    stored = {
        name: {f"{strain:+.0f} %": round(b, 3) for strain, b in found.items()} for name, found in barriers.items()
    }
    return about | {"barriers_eV": stored, "slopes_meV_per_percent": slopes}


def _directions(network: HopNetwork) -> dict[str, int]:
    """Return the first hop in the plane across z and the first out of it, from one site."""
    out = np.abs(network.displacements[:, 2]) > 0.25 * np.linalg.norm(network.displacements, axis=1)
    start = network.start[np.flatnonzero(~out)[0]]
    return {
        "in-plane": int(np.flatnonzero(~out)[0]),
        "out-of-plane": int(np.flatnonzero(out & ((network.start == start) | (network.end == start)))[0]),
    }


def lithium_barriers(calc: Calculator, cheap: Calculator) -> dict[str, Any]:
    """Return barriers of Li through O4 windows of Li(1/8)La(5/8)TiO3, layered: every second A layer has one La in four.

    The formal charges of the cell in which Li moves balance. The host has Li on both sites of a hop, as the walker is a
    Li vacancy: without either of them it is that cell.
    """
    ideal = ideal_cell(("La", "Ti"), 3.88, 2 * np.eye(3, dtype=int))
    layer = [n for n, site in enumerate(ideal) if site.specie.symbol == "La" and site.frac_coords[2] < 0.5]
    corner, *beside, _ = sorted(layer, key=lambda n: tuple(np.round(ideal[n].frac_coords[:2], 2)))
    other, empty = beside
    sites = ideal.copy()
    for n in (corner, other):
        sites.replace(n, "Li", properties={"site": "A"})
    sites.remove_sites([empty])
    start = Structure(
        sites.lattice,
        sites.species,
        sites.cart_coords + np.random.default_rng(0).normal(scale=0.05, size=(len(sites), 3)),
        coords_are_cartesian=True,
        site_properties=sites.site_properties,
    )
    host = relax_cell(start, calc, fmax=FMAX, energy_tolerance=TOLERANCE).structure
    print(f"  host {tilt_system(host).label}", flush=True)
    network = perovskite_network(host, "Li", ideal=sites, vacant=ideal.frac_coords[[empty]])
    assert network.atom_index is not None
    both = [
        n
        for n in range(network.n_hops)
        if min(network.atom_index[network.start[n]], network.atom_index[network.end[n]]) >= 0
        and network.start[n] != network.end[n]
    ]
    windows = [
        {
            "forward_eV": _rounded(record.forward_barrier),
            "reverse_eV": _rounded(record.reverse_barrier),
            "calls": record.n_force_calls,
        }
        | ({"failed": record.reason} if record.reason else {})
        for record in all_hops(host, network, cheap, both)[1]
    ]
    return {"composition": "Li1La5Ti8O24", "tilts": tilt_system(host).label, "windows": windows}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)


def compute(material: str, calc: Calculator, cheap: Calculator) -> dict[str, Any]:
    """Return the results of one model on one material, with what they cost; cheap has forces but no stresses."""
    cost = Cost()
    calc, cheap = Counting(calc, cost), Counting(cheap, cost)
    if material == "LLTO":
        result = lithium_barriers(calc, cheap)
    elif material.startswith("strain-"):
        B = material.removeprefix("strain-")
        result = strain_slope(B, STRAINED[B], calc, cheap)
    else:
        A, B, a = TERNARIES[material]
        host, result = lowest_host((A, B), a, calc)
        result["host_calls"] = cost.calls
        result |= vacancy_barriers(host, cheap)
    return result | {"force_calls": cost.calls, "cpu_s": round(cost.cpu_s)}


def load(model: str) -> tuple[Calculator, Calculator, dict[str, str]]:
    """Return calculators with and without stresses of a protocol, or of a model bundled without one, and versions."""
    if model == "7net-mf-0 PBE":
        from sevenn.calculator import SevenNetCalculator

        found = SevenNetCalculator("7net-mf-0", modal="PBE")
        return found, found, versions(load_mlip("mlip-7net-0"))
    if model == "chgnet r2scan":
        from chgnet.model import CHGNet
        from chgnet.model.dynamics import CHGNetCalculator

        r2scan = CHGNet.load(model_name="r2scan", verbose=False)
        cheap = ChgnetEnergyForces(r2scan)
        return CHGNetCalculator(model=r2scan, verbose=False), cheap, versions(load_mlip("mlip-chgnet"))
    protocol = load_mlip(model)
    return calculator(protocol), hop_calculator(protocol), versions(protocol)


def tables(record: dict[str, Any]) -> str:
    """Return the tables of the docs in Markdown."""
    models = [model for model in MODELS if model in record["models"]]
    found = {model: record["models"][model] for model in models}
    lines = ["", f"| material | literature, eV | {' | '.join(models)} |", "|---|---|" + "---|" * len(models)]
    for material in [*TERNARIES, "LLTO"]:
        cells = [_cell(found[model].get(material)) for model in models]
        lines.append(f"| {material} | {LITERATURE[material]} | {' | '.join(cells)} |")
    lines += ["", f"| LaBO3, meV per % | {' | '.join(models)} |", "|---|" + "---|" * len(models)]
    for B in STRAINED:
        cells = []
        for model in models:
            slopes = found[model].get(f"strain-{B}", {}).get("slopes_meV_per_percent", {})
            cells.append(", ".join(f"{slope:+d} {name}" for name, slope in slopes.items()) or "-")
        lines.append(f"| {B} | {' | '.join(cells)} |")
    lines += ["", "| cost: force calls of host, of sites and hops; CPU-s | " + " | ".join(models) + " |"]
    lines.append("|---|" + "---|" * len(models))
    for material in TERNARIES:
        cells = []
        for model in models:
            r = found[model].get(material)
            cells.append(f"{r['host_calls']} + {r['hop_calls']}; {r['cpu_s']}" if r else "-")
        lines.append(f"| {material} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(result: dict[str, Any] | None) -> str:
    """Return effective barrier, range of single hops and tilts of one result."""
    if result is None:
        return "-"
    hops = result.get("hops") or result["windows"]
    barriers = [hop[way] for hop in hops for way in ("forward_eV", "reverse_eV") if hop.get(way) is not None]
    failed = sum("failed" in hop for hop in hops)
    spread = f"{min(barriers):.2f} to {max(barriers):.2f}" if barriers else "none found"
    lost = f", {failed} of {len(hops)} hops failed" if failed else ""
    if "windows" in result:
        return f"{spread}{lost}"
    own = result["effective_barrier_eV"]
    return f"**{own:.2f}** ({spread}{lost}), {result['tilts'].split()[0]}"


def main() -> None:
    """Compute what was asked for and is not recorded yet, or print the tables."""
    materials = [*TERNARIES, "LLTO", *(f"strain-{B}" for B in STRAINED)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--material", nargs="+", choices=materials, default=materials)
    parser.add_argument("--again", action="store_true", help="compute what is recorded already, too")
    parser.add_argument("--table", action="store_true", help="print the tables of what is recorded, compute nothing")
    args = parser.parse_args()
    record: dict[str, Any] = (
        json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"about": ABOUT, "models": {}}
    )
    if args.table:
        print(tables(record))
        return
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for model in args.model:
        calc, cheap, used = load(model)
        for material in args.material:
            if not args.again and material in record["models"].get(model, {}):
                print(f"{model} {material}: recorded", flush=True)
                continue
            print(f"{model} {material}", flush=True)
            result = compute(material, calc, cheap)
            print(f"  {result['force_calls']} force calls, {result['cpu_s']:.0f} CPU-s", flush=True)
            record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else record
            record["models"].setdefault(model, {})[material] = result | {"versions": used}
            RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
