"""What a candidate's samples add up to: what is known, when it is enough, and the summary of transport."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from crystals import A_LATTICE, perovskite
from pymatgen.core import Structure

from hemiec.schemas.transport import FailedHop, FailedSite, HopBarrierDoc, HopNetworkDoc, SampleDoc, SiteDoc
from hemiec.transport.hops import hop_environments, perovskite_network
from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.summary import Carriers, Origin, summarise
from hemiec.transport.survey import Aim, Survey, network_doc, network_of

AIM = Aim(interval_eV=0.05, reference_temperature_K=800, oxidation_states={"La": 3, "Sr": 2, "Ti": 4, "O": -2, "Li": 1})
ORIGIN = Origin(model="a model", protocol="mlip-x", protocol_hash="abc", versions={"hemiec": "0"})
UNKNOWN = Carriers(None, 3, -2, "not known")


def cell_of(host: Structure, mobile: str = "O") -> HopNetworkDoc:
    network = perovskite_network(host, mobile)
    doc = network_doc(network, hop_environments(host, network))
    return HopNetworkDoc(mobile=mobile, host=host.as_dict(), network=doc, versions={})


def energies(cell: HopNetworkDoc, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return site and saddle energies that depend on what the hops pass, and a little on nothing."""
    network, generator = network_of(cell.network), np.random.default_rng(seed)
    sites = -100 + generator.normal(0, 0.05, network.n_sites)
    names = cell.network.environments
    base = np.array([0.5 + 0.1 * name.count("La") for name in names]) + shift
    ends = (sites[network.start] + sites[network.end]) / 2
    return sites, ends + base + generator.normal(0, 0.02, network.n_hops)


def sample(
    cell: HopNetworkDoc, found: tuple[np.ndarray, np.ndarray], hops: Collection[int], *, stopped: str | None = None
) -> SampleDoc:
    network, (sites, saddles) = network_of(cell.network), found
    ends = sorted({int(n) for hop in hops for n in (network.start[hop], network.end[hop])})
    return SampleDoc(
        sites=[
            SiteDoc(site=n, energy=sites[n], structure={}, max_force=0.01, basin="relaxed in place", n_force_calls=20)
            for n in ends
        ],
        hops=[
            HopBarrierDoc(
                hop=h, initial_energy=sites[network.start[h]], final_energy=sites[network.end[h]],
                forward_barrier=saddles[h] - sites[network.start[h]],
                reverse_barrier=saddles[h] - sites[network.end[h]],
                reaction_coordinate=[0, 1.4, 2.8], energies=[0, 0.5, 0], max_force=0.01, n_force_calls=30,
                elapsed_s=1, method="synthetic", images=[],
            )
            for h in hops
        ],
        failed_sites=[], failed_hops=[], stopped=stopped, protocol="mlip-x", protocol_hash="abc", versions={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def cell() -> HopNetworkDoc:
    return cell_of(perovskite(2 * np.eye(3), ("La", "Sr")))


def test_a_network_survives_its_document(cell: HopNetworkDoc) -> None:
    network = network_of(cell.network)
    again = network_doc(network, cell.network.environments)
    assert again == cell.network
    assert network_of(HopNetworkDoc.model_validate_json(cell.model_dump_json()).network).n_hops == 96


def test_of_several_minima_of_a_site_the_lowest_holds(cell: HopNetworkDoc) -> None:
    found = energies(cell)
    first, second = sample(cell, found, [0, 1]), sample(cell, found, [2])
    site = first.sites[0].site
    lower = first.sites[0].model_copy(update={"energy": found[0][site] - 0.2})
    survey = Survey(cell, [first, second.model_copy(update={"sites": [lower, *second.sites]})], AIM)
    assert survey.site_energies[site] == pytest.approx(found[0][site] - 0.2)
    assert np.flatnonzero(np.isfinite(survey.saddle_energies)).tolist() == [0, 1, 2]
    np.testing.assert_allclose(survey.saddle_energies[:3], found[1][:3])
    assert survey.n_force_calls == 20 * len([*first.sites, lower, *second.sites]) + 30 * 3


def test_hops_are_chosen_until_the_interval_is_narrow(cell: HopNetworkDoc) -> None:
    found = energies(cell)
    samples: list[SampleDoc] = []
    while (survey := Survey(cell, samples, AIM)).why_enough() is None:
        chosen = survey.choose(8)
        assert len(set(chosen)) == 8
        assert not set(chosen) & set(np.flatnonzero(np.isfinite(survey.saddle_energies)).tolist())
        samples.append(sample(cell, found, chosen))
        assert len(samples) <= 12
    assert len(samples) < 6, "the surroundings say most: half of the hops are more than enough"
    assert "known to ±0.0" in (survey.why_enough() or "")
    summary = summarise([survey], [600, 800, 1000], UNKNOWN, ORIGIN, stopped="enough")
    exact = diffusion(network_of(cell.network), *found, 800)
    low, high = summary.effective_barrier.interval or (0, 0)
    assert low - 0.02 < (exact.effective_barrier or 0) < high + 0.02
    assert summary.n_computed == 8 * len(samples) == summary.effective_barrier.n
    assert sum(summary.hop_computed) == summary.n_computed
    assert summary.n_hops == 96


def test_what_failed_is_not_tried_again_and_is_told(cell: HopNetworkDoc) -> None:
    found = energies(cell)
    network = network_of(cell.network)
    done = sample(cell, found, [0, 1, 2]).model_copy(
        update={
            "failed_hops": [FailedHop(hop=5, reason="no saddle crosses the middle", n_force_calls=300)],
            "failed_sites": [FailedSite(site=20, reason="left its site", n_force_calls=90)],
        }
    )
    survey = Survey(cell, [done], AIM)
    assert set(survey.out_of_reach) == {5, *network.hops_of(20).tolist()}
    assert not set(survey.choose(96)) & {*survey.out_of_reach, 0, 1, 2}
    summary = summarise([survey], [800], UNKNOWN, ORIGIN, stopped="")
    assert (summary.hop_failures, summary.site_failures) == (
        {"5": "no saddle crosses the middle"},
        {"20": "left its site"},
    )
    assert summary.n_failed == 1
    assert not summary.hop_computed[5] and summary.saddle_energy_std[5] > 0
    assert len(summary.notes) == 2


def test_with_everything_computed_the_summary_is_the_exact_solution(cell: HopNetworkDoc) -> None:
    found = energies(cell)
    network = network_of(cell.network)
    survey = Survey(cell, [sample(cell, found, range(network.n_hops))], AIM)
    temperatures = [500.0, 800.0, 1200.0]
    summary = summarise([survey], temperatures, UNKNOWN, ORIGIN, stopped="every hop")
    exact = diffusion(network, *found, 800)
    barrier = summary.effective_barrier
    assert barrier.value == pytest.approx(exact.effective_barrier, abs=0.003)
    assert barrier.interval is not None and barrier.interval[1] - barrier.interval[0] < 0.02
    for T, log10_d in zip(temperatures, summary.log10_diffusivity.median, strict=True):
        assert log10_d == pytest.approx(diffusion(network, *found, T).log10_d, abs=0.02)
    assert all(summary.site_computed) and set(summary.site_energy_std) == {0.0}
    # Energies are relative to the thermal mean of the sites: the barrier is then the mean of the saddles in use.
    assert np.dot(summary.occupation, summary.site_energies) == pytest.approx(0, abs=2e-3)
    assert np.dot(summary.hop_share, summary.saddle_energies) == pytest.approx(barrier.value, abs=5e-3)
    assert summary.percolates == [True] * 3
    assert all(b is not None and 0.4 < b < 1 for b in summary.bottlenecks)
    single = summary.hop_barrier
    assert single.value == pytest.approx(
        np.median(np.r_[found[1] - found[0][network.start], found[1] - found[0][network.end]])
    )
    assert (
        single.n == 96 and single.min is not None and single.max is not None and single.min < single.value < single.max
    )
    assert summary.log10_conductivity is None and summary.carriers_per_formula_unit is None


def test_the_spread_over_structures_goes_into_the_interval(cell: HopNetworkDoc) -> None:
    surveys = []
    for shift in (0.0, 0.2):
        found = energies(cell, shift=shift)
        surveys.append(Survey(cell, [sample(cell, found, range(96))], AIM))
    alone = [summarise([s], [800], UNKNOWN, ORIGIN, stopped="").effective_barrier for s in surveys]
    both = summarise(surveys, [800], UNKNOWN, ORIGIN, stopped="").effective_barrier
    assert alone[1].value - alone[0].value == pytest.approx(0.2, abs=1e-3)  # type: ignore[operator]
    assert both.interval is not None
    for one in alone:
        assert both.interval[0] < one.value < both.interval[1]  # type: ignore[operator]
    assert both.n == 2 * 96
    assert "in 2 cells" in both.method


def test_conductivity_is_nernst_and_einsteins(cell: HopNetworkDoc) -> None:
    """sigma = n q^2 D / kT with n vacancies per volume, less what they block each other."""
    survey = Survey(cell, [sample(cell, energies(cell), range(96))], AIM)
    summary = summarise([survey], [1000.0], Carriers(0.1, 3, -2, "given"), ORIGIN, stopped="")
    assert summary.log10_conductivity is not None
    density = 0.1 / (A_LATTICE * 1e-8) ** 3
    charge_C, kT_J = 2 * 1.602176634e-19, 1.380649e-23 * 1000
    log10_d = summary.log10_diffusivity.median[0]
    assert log10_d is not None
    expected = density * charge_C**2 * 10**log10_d / kT_J * (1 - 0.1 / 3)
    assert summary.log10_conductivity.median[0] == pytest.approx(np.log10(expected), abs=1e-6)
    low, high = summary.log10_conductivity.low[0], summary.log10_conductivity.high[0]
    assert low is not None and high is not None
    assert low <= np.log10(expected) <= high


def test_a_network_that_does_not_percolate_has_a_reason_and_no_number() -> None:
    """One Li in eight A sites meets no other: hops onto nothing, or onto its own image."""
    host = perovskite(np.diag([2, 2, 1]), ("Li", "Li", "La", "La"))
    cell = cell_of(host, "Li")
    network = network_of(cell.network)
    assert network.n_sites == 2
    aside = cell.network.model_copy(update={
        "start": [0], "end": [1], "image": [[0, 0, 0]], "environments": ["?"],
    })  # fmt: skip
    survey = Survey(cell.model_copy(update={"network": aside}), [], AIM)
    found = np.array([0.0, 0.1]), np.array([0.4])
    done = Survey(survey.cell, [sample(survey.cell, found, [0])], AIM)
    assert survey.why_enough() is None  # one batch is computed: the single hops are of interest
    assert "does not lead through the crystal" in (done.why_enough() or "")
    summary = summarise([done], [300, 400], Carriers(0.1, 1, 1, "given"), ORIGIN, stopped="x")
    assert summary.effective_barrier.value is None
    assert "does not lead through the crystal" in (summary.effective_barrier.reason or "")
    assert summary.hop_barrier.value == pytest.approx(0.35)
    assert summary.percolates == [False] * 3 and summary.bottlenecks == [None] * 3
    assert summary.log10_diffusivity.median == [None, None]
    assert summary.log10_conductivity is not None and summary.log10_conductivity.median == [None, None]
