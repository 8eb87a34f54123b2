"""Hull and decomposition of 10,000 high-entropy candidates of ten elements, beside pymatgen's, on one core.

    python benchmarks/thermo_hull.py

Phases and energies are those shipped for mlip-chgnet. The candidates are random compositions of
(Li,La,Pr,Nd,Sr,Ba)(Co,Fe,Mn)O(3-delta), each with all ten elements. pymatgen's per-candidate times are measured on the
first of them and scaled up, for all would take minutes. Times are CPU times, with one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import time
import warnings
from functools import cache

import numpy as np
from pymatgen.analysis.phase_diagram import PatchedPhaseDiagram, PDEntry, PhaseDiagram
from pymatgen.core import Composition

from hemiec.composition.block import ChargeRule
from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.engines.protocol import load_mlip
from hemiec.thermo.corrections import corrected_energy_per_atom
from hemiec.thermo.entropy import entropy_doc
from hemiec.thermo.formation import composition
from hemiec.thermo.hull.convex import Hull
from hemiec.thermo.hull.stability import hull_doc
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.references.shipped import shipped_outputs

A, B = ("Li", "La", "Pr", "Nd", "Sr", "Ba"), ("Co", "Fe", "Mn")
ELEMENTS = (*A, *B, "O")
N = 10_000
#: Candidates that pymatgen is timed on, and compared with.
SAMPLE = 100
TARGET_S = 60.0


def shipped_phases(elements: tuple[str, ...]) -> PhaseSet:
    """Return the shipped phases of some elements with their corrected energies."""
    protocol = load_mlip("mlip-chgnet")
    phases = []
    for uuid, document in shipped_outputs(protocol.hash_of("relax")).items():
        about, output = document["metadata"]["hemiec"], document["output"]
        composition = Composition(about["phase_id"].split("-")[0])
        if not output["converged"] or not {e.symbol for e in composition} <= set(elements):
            continue
        energy = corrected_energy_per_atom(
            about["phase_id"], composition, float(output["energy_per_atom"]), protocol.thermo
        )
        phases.append(PhaseEnergy(about["phase_id"], composition, energy, protocol.hash_of("relax"), uuid))
    return PhaseSet(phases)


def compositions(n: int = N) -> list[Composition]:
    """Return random compositions of all ten elements."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(n):
        on_A, on_B = generator.dirichlet(np.ones(len(A))), generator.dirichlet(np.ones(len(B)))
        oxygen = 3 - generator.uniform(0, 0.5)
        found.append(Composition({**dict(zip(A, on_A, strict=True)), **dict(zip(B, on_B, strict=True)), "O": oxygen}))
    return found


def _pymatgen(diagram: PhaseDiagram, wanted: list[Composition]) -> tuple[float, list[float]]:
    """Return the time per candidate in s, and the energies of the hull in eV/atom."""
    energies = []
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the patched diagram says at each composition that no patch holds it
        for one in wanted:
            entry = PDEntry(one, 0.0)
            energies.append(-diagram.get_decomp_and_e_above_hull(entry, allow_negative=True)[1])
    return (time.process_time() - start) / len(wanted), energies


@cache
def rows() -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Print the table and return (figures, peers), measured once."""
    phases, wanted = shipped_phases(ELEMENTS), compositions()
    entries = [PDEntry(p.composition, p.energy_per_atom * p.composition.num_atoms, p.phase_id) for p in phases.phases]
    start = time.process_time()
    found = Hull(phases, ELEMENTS).decompose_all(wanted)
    ours = time.process_time() - start

    start = time.process_time()
    full = PhaseDiagram(entries)
    full_setup = time.process_time() - start
    full_each, full_energies = _pymatgen(full, wanted[:SAMPLE])
    start = time.process_time()
    patched = PatchedPhaseDiagram(entries)
    patched_setup = time.process_time() - start
    patched_each, patched_energies = _pymatgen(patched, wanted[:SAMPLE])

    energies = np.array([one.energy_per_atom for one in found[:SAMPLE]])
    off = float(np.abs(energies - full_energies).max())
    patched_off = float(np.abs(energies - patched_energies).max())
    documents = _documents(phases, 1_000)
    print(f"{len(phases)} phases of {'-'.join(ELEMENTS)}, {len(full.facets)} facets; {N} candidates, one core")
    print(f"{'':34}{'setup, s':>10}{'each, ms':>10}{'all, s':>10}{'largest difference, eV/atom':>30}")
    print(f"{'hemiec':34}{'':>10}{ours / N * 1e3:10.2f}{ours:10.1f}{'':>30}")
    for name, setup, each, difference in (
        ("pymatgen PhaseDiagram", full_setup, full_each, off),
        ("pymatgen PatchedPhaseDiagram", patched_setup, patched_each, patched_off),
    ):
        print(f"{name:34}{setup:10.2f}{each * 1e3:10.2f}{setup + N * each:10.1f}{difference:30.1e}")
    print(f"documents of hull and temperature, each with its own provenance: {documents * 1e3:.2f} ms per candidate")
    figures = {"hull_10000_s": ours, "hull_difference_eV": off, "hull_document_ms": documents * 1e3}
    peers = {
        "hull_10000_s": {
            "pymatgen PhaseDiagram": full_setup + N * full_each,
            "pymatgen PatchedPhaseDiagram": patched_setup + N * patched_each,
        }
    }
    return figures, peers


def _documents(phases: PhaseSet, n: int) -> float:
    """Return the time that the stored documents of a candidate take, in s."""
    generator = np.random.default_rng(1)
    spent = 0.0
    for _ in range(n):
        parts = generator.multinomial(24, np.ones(len(A)) / len(A)), generator.multinomial(24, np.ones(len(B)) / len(B))
        sites = {
            site: {s: f"{k}/24" for s, k in zip(species, amounts, strict=True) if k}
            for site, species, amounts in (("A", A, parts[0]), ("B", B, parts[1]))
        }
        candidate = make_candidate(sites, DEFAULT_OXIDATION_STATES, rule=ChargeRule(unbalanced="keep"))
        start = time.process_time()
        hull = hull_doc(
            candidate, composition(candidate), energies={"job": -7.0}, phases=phases, protocol="mlip-chgnet"
        )
        entropy_doc(candidate, hull.energy_above_hull)
        spent += time.process_time() - start
    return spent / n


def figures() -> dict[str, float]:
    """Return the measured figures."""
    return rows()[0]


def peers() -> dict[str, dict[str, float]]:
    """Return pymatgen's figures from the same run."""
    return rows()[1]


def short() -> list[str]:
    """Return the figures that miss their target: 60 s for 10,000 candidates."""
    return ["hull_10000_s"] if figures()["hull_10000_s"] > TARGET_S else []


if __name__ == "__main__":
    print(json.dumps({"name": "thermo-hull", "figures": figures(), "peers": peers(), "short": short()}))
