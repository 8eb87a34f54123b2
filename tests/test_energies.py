"""Sites and hops on one host: shared end points, records, restarts, refusals, and agreement with reference barriers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from pymatgen.core import Structure

from hemiec.errors import StructureError
from hemiec.transport.energies import IN_PLACE, HopCalculation, HopRecord, SiteRecord
from hemiec.transport.hops import cutoff_network, perovskite_network
from hemiec.transport.saddles.path import structure_of
from hemiec.transport.saddles.saddle import QUICK, SaddleSearch

REFERENCE = Path(__file__).with_name("reference_hops.json")
SEARCH = SaddleSearch(fmax=0.02)


def copper(alloyed: int = 0, *, shift: float = 0.0, repeat: int = 2) -> Structure:
    """Return a cubic fcc cell with some atoms made gold, moved and wrapped."""
    atoms = bulk("Cu", cubic=True, a=3.62) * (repeat, repeat, repeat)
    atoms.symbols[np.random.default_rng(4).permutation(len(atoms))[:alloyed]] = "Au"
    atoms.positions += shift
    atoms.wrap()
    return structure_of(atoms, atoms.positions)


def calculation(host: Structure, **known: Any) -> HopCalculation:
    return HopCalculation(host, cutoff_network(host, "Cu", 2.9), EMT(), SEARCH, **known)


@pytest.fixture(scope="module")
def alloy() -> HopCalculation:
    """Hops of site 0 in a disordered alloy, where no two are the same."""
    computed = calculation(copper(8))
    for hop in computed.network.hops_of(0)[:4]:
        computed.hop(int(hop))
    return computed


def test_all_hops_of_a_crystal_are_alike_and_both_ways() -> None:
    """Experiment 0.7 eV (Ehrhart, Landolt-Boernstein III/25); EMT in 32 sites is a little softer."""
    computed = calculation(copper())
    hops = [computed.hop(h) for h in (0, 37, 100)]
    for hop in hops:
        assert hop.converged
        assert hop.method == QUICK
        assert hop.forward_barrier == pytest.approx(hops[0].forward_barrier, abs=2e-3)
        assert hop.reverse_barrier == pytest.approx(hop.forward_barrier, abs=2e-3)
        assert hop.curvature < 0
        assert hop.max_force < 0.02
    assert 0.4 < hops[0].forward_barrier < 0.9


def test_the_calls_of_a_barrier_are_few(alloy: HopCalculation) -> None:
    assert len(alloy.sites) == 5
    assert all(site.n_force_calls <= 15 for site in alloy.sites)
    assert all(hop.n_force_calls <= 40 for hop in alloy.hops)
    spent = sum(r.n_force_calls for r in alloy.sites) + sum(r.n_force_calls for r in alloy.hops)
    assert spent == alloy.force_calls.calls


def test_forward_minus_reverse_is_the_difference_of_the_sites(alloy: HopCalculation) -> None:
    energies = {site.site: site.energy for site in alloy.sites}
    assert len({round(energy, 3) for energy in energies.values()}) > 1
    for hop in alloy.hops:
        start, end = (int(n[hop.hop]) for n in (alloy.network.start, alloy.network.end))
        assert hop.forward_barrier - hop.reverse_barrier == pytest.approx(energies[end] - energies[start], abs=1e-9)
        assert hop.saddle_energy > max(energies[start], energies[end])


def test_end_points_map_one_to_one(alloy: HopCalculation) -> None:
    """The final state is the relaxed cell without the other ion, and one ion crosses the hop."""
    for hop in (record.hop for record in alloy.hops):
        initial, final = alloy.end_points(hop)
        assert initial.composition == final.composition
        vector = final.lattice.get_cartesian_coords(final.frac_coords - initial.frac_coords)
        moved = np.linalg.norm(vector, axis=1)
        order = np.argsort(moved)
        assert moved[order[-2]] < 0.5 < 2 < moved[order[-1]]
        # The vacancy goes from start to end, the ion the other way.
        np.testing.assert_allclose(vector[order[-1]], -alloy.network.displacements[hop], atol=0.4)
        after = alloy.site(int(alloy.network.end[hop])).structure
        apart = final.lattice.get_all_distances(final.frac_coords, after.frac_coords)
        assert apart.min(axis=1).max() < 1e-6
        assert sorted(apart.argmin(axis=1)) == list(range(len(after)))


@pytest.mark.parametrize("shift", [0.9, -2.3])
def test_hops_across_the_cell_boundary_are_the_same(alloy: HopCalculation, shift: float) -> None:
    other = calculation(copper(8, shift=shift))
    hop = alloy.hops[0]
    alike = [
        h
        for h in range(other.network.n_hops)
        if _ends(other, h) == _ends(alloy, hop.hop)
        and np.allclose(other.network.displacements[h], alloy.network.displacements[hop.hop], atol=1e-3)
    ]
    assert len(alike) == 1
    found = other.hop(alike[0])
    assert found.forward_barrier == pytest.approx(hop.forward_barrier, abs=3e-3)
    assert found.reverse_barrier == pytest.approx(hop.reverse_barrier, abs=3e-3)


def test_a_restart_goes_on_with_what_is_there(alloy: HopCalculation) -> None:
    stored = json.dumps([[r.to_dict() for r in alloy.sites], [r.to_dict() for r in alloy.hops]])
    sites, hops = json.loads(stored)
    again = calculation(
        alloy.host,
        known_sites=[SiteRecord.from_dict(site) for site in sites],
        known_hops=[HopRecord.from_dict(hop) for hop in hops],
    )
    assert [hop.forward_barrier for hop in again.hops] == [hop.forward_barrier for hop in alloy.hops]
    assert again.hop(alloy.hops[0].hop).images[1].lattice == alloy.host.lattice
    assert again.force_calls.calls == 0
    fresh = next(int(h) for h in again.network.hops_of(0) if int(h) not in [hop.hop for hop in alloy.hops])
    assert again.hop(fresh).converged
    assert again.force_calls.calls > 0


def test_a_site_keeps_the_lowest_minimum_found(alloy: HopCalculation) -> None:
    """A site left half relaxed is found lower below the saddle; hops searched from it before are outdated."""
    hop, other = (record.hop for record in alloy.hops[:2])
    site = next(record for record in alloy.sites if record.site == 0)
    shaken = site.structure.copy().perturb(0.08)
    high = replace(site, energy=site.energy + 0.2, structure=shaken)
    old = replace(alloy.hop(other), searched_from=[x + 0.2 for x in alloy.hop(other).searched_from])
    again = HopCalculation(
        alloy.host, alloy.network, EMT(), replace(SEARCH, quench=True), known_sites=[high], known_hops=[old]
    )
    again.hop(hop)
    lowered = again.site(0)
    assert lowered.energy == pytest.approx(site.energy, abs=0.005)
    assert lowered.basin.startswith(f"below the saddle of hop {hop}, 0.2")
    assert lowered.basin.endswith(IN_PLACE)
    assert again.hop(hop).start_energy == lowered.energy or again.hop(hop).end_energy == lowered.energy
    assert again.outdated() == [other]
    once_more = again.hop(other, again=True)
    assert again.outdated() == []
    assert once_more.saddle_energy == pytest.approx(old.saddle_energy, abs=0.005)
    assert once_more.n_force_calls > old.n_force_calls


def _ends(computed: HopCalculation, hop: int) -> tuple[int, int]:
    return int(computed.network.start[hop]), int(computed.network.end[hop])


def test_what_cannot_be_computed_is_recorded_with_the_reason() -> None:
    host = copper(repeat=1)
    network = cutoff_network(host, "Cu", 3.7)
    own_image = int(np.flatnonzero(network.onto_own_image)[0])
    computed = HopCalculation(host, network, EMT(), SEARCH)
    record = computed.hop(own_image)
    assert not record.converged
    assert "own periodic image" in record.reason
    assert record.forward_barrier is None
    assert HopRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    vacant = replace(network, atom_index=np.where(np.arange(network.n_sites) == 1, -1, network.atom_index))
    hop = int(np.flatnonzero((vacant.start != vacant.end) & ((vacant.start == 1) | (vacant.end == 1)))[0])
    assert "holds no ion" in HopCalculation(host, vacant, EMT(), SEARCH).hop(hop).reason


def test_searches_that_fail_say_how_and_cost_what_they_cost() -> None:
    few = SaddleSearch(fmax=1e-5, quick_calls=3, max_steps=2, band_max_steps=2, climbing_max_steps=2)
    host = copper(8)
    computed = HopCalculation(host, cutoff_network(host, "Cu", 2.9), EMT(), few)
    record = computed.hop(0)
    assert not record.converged
    assert "eigenvector following stopped after 3 calls" in record.reason
    assert "climbing-image band stopped after 2 steps" in record.reason
    assert record.n_force_calls > 10
    assert computed.hop(0) is record


class Runaway(Calculator):
    """Draws the first atom 2 angstrom away from where it is in the host."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, host: Structure) -> None:
        super().__init__()
        self.target = host[0].coords + np.array([2, 0, 0])

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        forces = np.zeros((len(atoms), 3))
        forces[0] = self.target - atoms.positions[0]
        self.results = {"energy": float((forces**2).sum() / 2), "forces": forces}


def test_an_ion_that_leaves_its_site_is_no_vacancy() -> None:
    host = copper()
    computed = HopCalculation(host, cutoff_network(host, "Cu", 2.9), Runaway(host), SEARCH)
    site = computed.site(0)
    assert not site.converged
    assert site.energy is None
    assert "a Cu moved by" in site.reason
    assert site.n_force_calls == computed.force_calls.calls
    hop = computed.hop(int(computed.network.hops_of(0)[0]))
    assert site.reason in hop.reason


def test_networks_of_other_hosts_are_refused() -> None:
    host = copper(8)
    network = cutoff_network(host, "Cu", 2.9)
    with pytest.raises(StructureError, match="name no ions"):
        HopCalculation(host, replace(network, atom_index=None), EMT())
    with pytest.raises(StructureError, match="the host has 4"):
        HopCalculation(copper(repeat=1), network, EMT())
    everything = np.arange(network.n_sites)
    with pytest.raises(StructureError, match="Au, Cu; a walker is of one species"):
        HopCalculation(host, replace(network, atom_index=everything), EMT())
    failed = SiteRecord(99, None, None, None, IN_PLACE, 0, 0.0, 0.0, "lost")
    with pytest.raises(StructureError, match="not in the network"):
        HopCalculation(host, network, EMT(), known_sites=[failed])


# CHGNet


@pytest.mark.mlip
@pytest.mark.slow
@pytest.mark.parametrize("name", ["BaZrO3", "LaFeO3", "(La,Pr,Nd,Sr,Ba)CoO3"])
def test_barriers_agree_with_a_climbing_image_band(name: str) -> None:
    """The references are atomate2's five-image bands; `benchmarks/transport_barriers.py --write` renews them."""
    from hemiec.engines.mlip.potential import hop_calculator
    from hemiec.engines.protocol import load_mlip

    cell = json.loads(REFERENCE.read_text())[name]
    host = Structure.from_dict(cell["host"])
    wanted = cell["hops"][0]
    computed = HopCalculation(host, perovskite_network(host), hop_calculator(load_mlip("mlip-chgnet")))
    record = computed.hop(wanted["hop"])
    assert record.forward_barrier == pytest.approx(wanted["forward_barrier"], abs=0.010)
    assert computed.force_calls.calls < wanted["n_force_calls"] / 4


@pytest.mark.mlip
def test_the_quick_calculator_gives_the_models_energies_and_forces() -> None:
    from hemiec.engines.mlip.potential import calculator, hop_calculator
    from hemiec.engines.protocol import load_mlip

    protocol = load_mlip("mlip-chgnet")
    host = Structure.from_dict(json.loads(REFERENCE.read_text())["LaFeO3"]["host"])
    results = []
    for calc in (calculator(protocol), hop_calculator(protocol)):
        atoms = host.to_ase_atoms(msonable=False)
        atoms.rattle(0.05, seed=3)
        atoms.calc = calc
        results.append((float(atoms.get_potential_energy()), np.array(atoms.get_forces(), dtype=float)))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6 * len(host))
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-4)
