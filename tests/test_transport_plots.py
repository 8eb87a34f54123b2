"""Figures of ion transport show what they are given, and the report's charts put candidates in the right order."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from crystals import perovskite
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from transport_examples import TEMPERATURES, dynamics, summary

from hemiec.errors import InputError
from hemiec.ranking.report.transport_panels import hops_for, order_panel, transport_panels
from hemiec.schemas.leaderboard import LeaderboardEntry
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import Band
from hemiec.transport.hops import perovskite_network
from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.network import HopNetwork
from hemiec.transport.plots import HopPath, Points, arrhenius, barrier_distribution, conducting_network, hop_profile
from hemiec.units import BOLTZMANN_EV_PER_K


def rendered(figure: Figure) -> bytes:
    """Return the figure as PNG: warnings of fonts or layout are errors."""
    target = io.BytesIO()
    figure.savefig(target, dpi=60)
    return target.getvalue()


@pytest.fixture(scope="module")
def network() -> HopNetwork:
    return perovskite_network(perovskite(np.diag([2, 2, 2])), "O")


def test_distribution_counts_every_barrier() -> None:
    computed, predicted = np.array([0.3, 0.5, 0.52, 0.9]), np.array([0.55, 0.7])
    figure = barrier_distribution(computed, predicted, effective=0.61, interval=(0.55, 0.7), single_hop=0.51)
    axes = figure.axes[0]
    assert sum(bar.get_height() for bar in axes.patches[:-1]) == 6
    first, last = axes.patches[0], axes.patches[-2]
    assert first.get_x() <= 0.3
    assert last.get_x() + last.get_width() >= 0.9
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "computed (4)" in labels
    assert "effective 0.61 eV (0.55 to 0.70)" in labels
    assert "eV" in axes.get_xlabel()
    assert rendered(figure)
    assert rendered(barrier_distribution([0.5]))
    for bad in ([], [np.nan]):
        with pytest.raises(InputError):
            barrier_distribution(bad)


def test_profile_passes_through_what_was_computed() -> None:
    paths = [HopPath([0, 1.4, 2.8], [3.0, 3.6, 3.1], "La-Sr | Co"), HopPath([0, 1.3, 2.7], [0.0, 0.4, -0.2])]
    figure = hop_profile(paths)
    curve, dots = figure.axes[0].lines[:2]
    assert dots.get_ydata() == pytest.approx([0, 0.6, 0.1])
    assert max(curve.get_ydata()) == pytest.approx(0.6)
    assert min(curve.get_ydata()) == 0
    assert [axes.get_title() for axes in figure.axes] == ["La-Sr | Co", ""]
    assert rendered(hop_profile(paths * 4))
    assert rendered(hop_profile(paths[0]))
    for bad in ([], HopPath([0, 1], [0, 1, 0]), HopPath([0, 0], [0, 1])):
        with pytest.raises(InputError):
            hop_profile(bad)


def test_network_draws_every_hop_from_both_ends(network: HopNetwork) -> None:
    energies = np.linspace(0, 0.3, network.n_sites)
    found = diffusion(network, energies, np.full(network.n_hops, 0.7), 1000)
    figure = conducting_network(network, found.hop_share, site_energies=energies)
    edges, *of_hops = [c for c in figure.axes[0].collections if isinstance(c, Line3DCollection)]
    assert len(edges._segments3d) == 12
    halves = np.concatenate([np.reshape(c._segments3d, (-1, 2, 3)) for c in of_hops])
    assert len(halves) == 2 * network.n_hops
    lengths = np.linalg.norm(halves[:, 1] - halves[:, 0], axis=1)
    assert lengths == pytest.approx(np.full(len(lengths), 3.905 / np.sqrt(2) / 2), rel=1e-6)
    # Ends of one hop meet at its middle, up to a lattice vector.
    ends = halves[:, 1] @ np.linalg.inv(network.lattice)
    apart = ends[:, None] - ends[None]
    meets = (np.abs(apart - apart.round()).max(axis=-1) < 1e-6).sum(axis=1)
    assert (meets == 2).all()
    assert rendered(figure)
    assert rendered(conducting_network(network, np.zeros(network.n_hops)))
    for share, sites in ((np.ones(3), None), (-np.ones(network.n_hops), None), (np.ones(network.n_hops), [0.1])):
        with pytest.raises(InputError):
            conducting_network(network, share, site_energies=sites)


def test_arrhenius_has_band_points_and_slope() -> None:
    T = np.array([1300.0, 800.0, 600.0])
    log10_d = -2 - 0.7 / (BOLTZMANN_EV_PER_K * T * np.log(10))
    runs = Points([1200, 1500], [-5.0, -4.5], [-5.2, -4.7], [-4.9, -4.4], [True, False])
    figure = arrhenius(T, log10_d, log10_d - 0.1, log10_d + 0.2, points=[runs])
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "network of hops, 0.70 eV" in labels
    assert "molecular dynamics: upper bound" in labels
    curve = next(line for line in axes.lines if len(line.get_xdata()) == 3)
    assert curve.get_xdata() == pytest.approx(1000 / np.sort(T))
    assert curve.get_ydata() == pytest.approx(np.sort(log10_d)[::-1][np.argsort(np.sort(T)[::-1])])
    assert rendered(figure)
    conductivity = arrhenius(T, log10_d, quantity="conductivity").axes[0]
    assert "σT" in conductivity.get_ylabel()
    assert conductivity.lines[0].get_ydata()[0] == pytest.approx(log10_d[2] + np.log10(600))
    for bad in (([], []), ([300.0], [1.0, 2.0]), ([-300.0], [1.0]), ([300.0], [np.inf])):
        with pytest.raises(InputError):
            arrhenius(*bad)


def entry(name: str, hop: float, barrier: float | None, half: float = 0.02) -> LeaderboardEntry:
    """Return a candidate with a median single hop and an effective barrier."""
    quantity = Quantity(value=None, unit="eV", method="m", reason="confined")
    if barrier is not None:
        interval = (barrier - half, barrier + half)
        quantity = Quantity(value=barrier, unit="eV", method="m", n=3, interval=interval)
    of = summary(hop_barrier=Quantity(value=hop, unit="eV", method="m", n=3), effective_barrier=quantity)
    none = {"value": None, "unit": "eV", "method": "m", "reason": "not computed"}
    return LeaderboardEntry.model_validate({
        "rank": None, "candidate_id": name, "formula": name, "label": name, "score": None, "pareto_layer": None,
        "band_gap": none, "migration_barrier": none, "formation_energy_per_atom": none,
        "formation_enthalpy_from_oxides_per_atom": none, "mean_B_valence": 3.0, "configurational_entropy": 1.0,
        "transport": of,
    })  # fmt: skip


def test_order_by_effective_barrier_is_set_against_that_by_single_hop() -> None:
    entries = [entry("a", 0.40, 0.70), entry("b", 0.50, 0.50), entry("c", 0.60, 0.61), entry("d", 0.65, 0.62),
               entry("e", 0.30, None)]  # fmt: skip
    found = order_panel(entries)
    assert found is not None
    places = {point["label"]: point["places"] for point in found["points"]}
    assert places == {"a": [1, 4], "b": [2, 1], "c": [3, 2], "d": [4, 3]}
    assert (found["n_pairs"], found["n_swapped"], found["n_apart"]) == (6, 3, 3)
    assert found["examples"][0]["labels"] == ["a", "b"]
    assert found["examples"][0]["effective"] == [0.70, 0.50]
    blurred = order_panel([entry("a", 0.40, 0.70, 0.2), entry("b", 0.50, 0.50, 0.2)])
    assert blurred is not None
    assert (blurred["n_swapped"], blurred["n_apart"], blurred["examples"]) == (1, 0, [])
    assert order_panel(entries[:1]) is None
    assert order_panel([]) is None


def test_an_interval_that_begins_at_zero_has_no_lower_bar() -> None:
    runs = dynamics()
    found = runs.points[1].vacancy_diffusivity.model_copy(update={"interval": (0.0, 2e-4)})
    runs.points[1] = runs.points[1].model_copy(update={"vacancy_diffusivity": found})
    drawn = transport_panels(summary(4), runs)
    assert drawn is not None
    json.dumps(drawn, allow_nan=False)
    low, high = drawn["arrhenius"]["dynamics"][1]["error"]
    assert low is None and high == pytest.approx(np.log10(2e-4 / 9e-5), abs=1e-3)


def test_report_charts_agree_with_the_result() -> None:
    of = summary(4)
    drawn = transport_panels(of, dynamics())
    assert drawn is not None
    bars = drawn["barriers"]
    assert sum(bars["computed"]) == 2 * of.n_computed
    assert sum(bars["computed"]) + sum(bars["predicted"]) == 2 * of.n_hops
    network = drawn["network"]
    sites, hops = np.array(network["sites"]), np.array(network["hops"])
    assert sites.min() > 0
    assert sites.max() < 1
    vectors = (sites[hops[:, 1]] - sites[hops[:, 0]] + hops[:, 2:]) @ np.array(network["lattice"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.full(144, 3.905 / np.sqrt(2)), rel=1e-2)
    assert min(network["energies"]) == 0
    assert 1 <= (hops_for(of) or 0) <= 144
    curve = drawn["arrhenius"]
    assert of.log10_conductivity is not None
    assert curve["median"][0] == pytest.approx((of.log10_conductivity.median[0] or 0) + np.log10(600), abs=1e-3)
    # The example's sigma T is D times 1000: so are the points of molecular dynamics.
    assert [p["y"] for p in curve["dynamics"]] == pytest.approx(np.log10([4e-5, 9e-5, 2.1e-4]) + 3, abs=1e-3)
    assert [p["bound"] for p in curve["dynamics"]] == [True, False, False]
    assert curve["beyond"][1][0] == 1800
    bare = transport_panels(of.model_copy(update={"log10_conductivity": None}), None)
    assert bare is not None
    assert bare["arrhenius"]["median"] == pytest.approx(of.log10_diffusivity.median, abs=1e-3)
    assert "D (cm" in bare["arrhenius"]["title"]
    nothing = Band(median=[None] * 5, low=[None] * 5, high=[None] * 5)
    still = transport_panels(of.model_copy(update={"log10_diffusivity": nothing, "log10_conductivity": nothing}), None)
    assert still is not None
    assert still["arrhenius"]["median"] == [None] * len(TEMPERATURES)
    assert transport_panels(None, None) is None


def test_a_tie_in_one_order_does_not_change_places() -> None:
    for entries in ([entry("a", 0.5, 0.9), entry("b", 0.5, 0.4)], [entry("a", 0.6, 0.7), entry("b", 0.5, 0.7)]):
        found = order_panel(entries)
        assert found is not None
        assert [point["places"] for point in found["points"]] == [[2, 2], [1, 1]]
        assert (found["n_swapped"], found["n_apart"], found["examples"]) == (0, 0, [])


def test_a_network_without_hops_has_all_that_the_page_draws() -> None:
    full = summary()
    bare = full.network.model_copy(update={"start": [], "end": [], "image": [], "environments": []})
    none: dict[str, object] = {key: [] for key in ("saddle_energies", "saddle_energy_std", "hop_computed", "hop_share")}
    drawn, without = (
        transport_panels(full, None),
        transport_panels(full.model_copy(update={"network": bare, **none}), None),
    )
    assert drawn is not None
    assert without is not None
    assert without["barriers"].keys() == drawn["barriers"].keys()
    assert without["barriers"]["interval"] == full.effective_barrier.interval
    assert without["network"]["hops"] == []
