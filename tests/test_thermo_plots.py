"""Figures and words of thermodynamics show what the documents say. Every number here is invented."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib import pyplot
from matplotlib.figure import Figure
from pymatgen.analysis.phase_diagram import CompoundPhaseDiagram, PDEntry
from pymatgen.core import Composition
from scipy.interpolate import RegularGridInterpolator
from stored_candidates import insert_candidates
from thermo_examples import (
    GRID_P,
    GRID_T,
    amounts,
    entropy,
    hull,
    oxygen,
    quantity,
    reaction,
    thermodynamics,
    windows,
)

from hemiec.cli.main import cli
from hemiec.cli.thermodynamics import in_words, thermodynamics_lines
from hemiec.composition.formula import candidate_from_formula
from hemiec.errors import InputError
from hemiec.ranking.report.thermo_panels import products, thermo_facts, thermo_panels, window_text, worst_products
from hemiec.schemas.quantity import Quantity
from hemiec.settings import Settings
from hemiec.store.database import open_database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.thermo.hull.convex import Hull
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.plots import candidate as plots
from hemiec.thermo.plots.hulls import hull_cut, hull_triangle, oxide_ends
from hemiec.thermo.plots.interfaces import interface
from hemiec.thermo.plots.text import COLUMN

#: Formula to an invented energy in eV/atom; Sr3Ti2O7 and SrTi2O5 lie above the hull.
ENERGIES = {
    "Sr": 0.0, "Ti": 0.0, "O2": 0.0, "SrO": -3.0, "TiO2": -3.3, "Ti2O3": -3.15, "SrTiO3": -3.45, "Sr2TiO4": -3.35,
    "Sr3Ti2O7": -3.36, "SrTi2O5": -3.2,
}  # fmt: skip


def rendered(figure: Figure) -> bytes:
    """Return the figure as PNG: warnings of fonts or layout are errors."""
    target = io.BytesIO()
    figure.savefig(target, dpi=60)
    return target.getvalue()


@pytest.fixture(scope="module")
def phases() -> PhaseSet:
    return PhaseSet(
        PhaseEnergy(f"{formula}-invented", Composition(formula), energy, "p-1", f"uuid-{formula}")
        for formula, energy in ENERGIES.items()
    )


def test_decomposition_shows_levels_and_shares() -> None:
    found = hull(0.034)
    levels, shares = plots.decomposition(found, label="(La,Sr,Ba)CoO3").axes
    assert "meV/atom" in levels.get_xlabel()
    at = {
        name.get_text(): line.lines[0].get_xdata()[0]
        for name, line in zip(levels.get_yticklabels(), levels.containers, strict=True)
    }
    assert at == pytest.approx({"hull": 0, "ordered perovskites": 21, "candidate": 34})
    widths = [bar.get_width() for container in shares.containers for bar in container]
    assert sorted(widths) == pytest.approx([-4, 20, 38, 42, 42, 62])
    assert shares.get_xlim()[0] < -4
    bare = found.model_copy(update={"ordered": [], "energy_above_ordered": quantity(None, reason="there are none")})
    assert rendered(plots.decomposition(bare))
    with pytest.raises(InputError, match="LaCoO3 is missing"):
        plots.decomposition(hull(None, reason="LaCoO3 is missing"))


def test_temperature_of_stabilisation_is_where_the_curve_passes_zero() -> None:
    found = entropy(0.034, 0.03)
    axes = plots.hull_over_temperature(found, label="(La,Sr,Ba)CoO3").axes[0]
    curve = max(axes.lines, key=lambda line: len(line.get_xdata()))
    assert np.interp(0, -np.array(curve.get_ydata()), curve.get_xdata()) == pytest.approx(found.stabilised_above_K)
    assert "entropy decides: stable above 1226 K" in axes.get_title(loc="left")
    marked = next(line for line in axes.lines if line.get_linewidth() == 4)
    assert list(marked.get_xdata()) == pytest.approx([144, 2000], abs=1)
    unknown = {"low": None, "high": None, "stabilised_interval_K": (None, None), "stabilised_above_K": None}
    assert rendered(plots.hull_over_temperature(found.model_copy(update={**unknown, "decided_by": "neither"})))
    for bad in ({"energy_above_hull": [0.1]}, {"temperatures_K": [], "energy_above_hull": []}):
        with pytest.raises(InputError, match="temperature"):
            plots.hull_over_temperature(found.model_copy(update=bad))


def test_oxygen_map_has_the_computed_deficiency_where_it_is() -> None:
    found = oxygen()
    figure = plots.oxygen_map(found)
    axes = figure.axes[0]
    assumed = [path for c in axes.collections if c.get_linewidth()[0] == 1.8 for path in c.get_paths()]
    corners = np.concatenate([path.vertices for path in assumed])
    at = RegularGridInterpolator((GRID_T, GRID_P), np.array(found.delta))
    assert len(corners) > 3
    assert at(corners[:, ::-1]) == pytest.approx(np.full(len(corners), found.delta_assumed), abs=1e-6)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["δ = 0.2 as computed", "air: δ = 0.31"]
    assert "K" in axes.get_ylabel()
    assert "bar" in axes.get_xlabel()
    assert rendered(figure)
    flat = found.model_copy(
        update={"delta": np.zeros((9, 9)).tolist(), "mean_B_valence": np.full((9, 9), 3.6).tolist()}
    )
    assert rendered(plots.oxygen_map(flat))
    for bad in ({"temperatures_K": [1000.0]}, {"delta": [[0.1, 0.2]]}):
        with pytest.raises(InputError, match="oxygen map"):
            plots.oxygen_map(found.model_copy(update=bad))


def test_windows_are_bars_between_their_ends() -> None:
    found = windows()
    figure = plots.windows(found, label="LaCoO3")
    lithium, gas = figure.axes
    (bar,) = lithium.patches
    assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((1.8, 3.6))
    assert "Li/Li" in lithium.get_xlabel()
    # Volts run against the potential of lithium: below in volts is above in potential.
    assert "below 1.80 V: Li$_{2}$O\u00a045\u00a0%" in lithium.get_title(loc="left")
    (bar,) = gas.patches
    assert bar.get_x() == pytest.approx(-2.1)
    assert bar.get_x() + bar.get_width() == pytest.approx(gas.get_xlim()[1]), "an end that is not there is open"
    assert "eV" in gas.get_xlabel()
    assert rendered(figure)
    nothing = found[0].model_copy(update=dict.fromkeys(("low", "high", "voltage_low", "voltage_high")))
    assert rendered(plots.windows([nothing]))
    with pytest.raises(InputError):
        plots.windows([])


def test_interface_curve_passes_through_its_kinks() -> None:
    closed, lithium = reaction(), reaction(depth=0.31, open_element="Li")
    figure = interface([closed, lithium], label="LaCoO3")
    top, below, bars = figure.axes
    for axes, of, name in ((top, closed, "closed"), (below, lithium, "Li at 1.5 V")):
        (line,) = [line for line in axes.lines if len(line.get_xdata()) == 4]
        assert list(line.get_xdata()) == [kink.fraction for kink in of.kinks]
        assert min(line.get_ydata()) == pytest.approx(1000 * of.reaction_energy)
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [name]
        assert "meV/atom" in axes.get_ylabel()
    (listed,) = [text.get_text() for part in figure.subfigs for text in part.texts]
    assert listed.startswith("1: Li$_{2}$S\u00a050\u00a0%, La$_{2}$O$_{3}$\u00a030\u00a0%")
    assert "\n2: Li$_{3}$PO$_{4}$\u00a040\u00a0%" in listed
    jumps = {name.get_text(): bar.get_width() for name, bar in zip(bars.get_yticklabels(), bars.patches, strict=True)}
    assert jumps == {"Li": -0.8, "O": 1.2, "S": -2.0}
    assert rendered(figure)
    assert rendered(interface([closed.model_copy(update={"potential_jump": {}})]))
    # Of many kinks the worst and the deepest are numbered.
    steps = np.linspace(0, 1, 12)
    many = closed.model_copy(update={"kinks": [
        closed.kinks[1].model_copy(update={"fraction": x, "reaction_energy": y})
        for x, y in zip(steps, -steps * (1 - steps), strict=True)
    ]})  # fmt: skip
    figure = interface([many])
    (listed,) = [text.get_text() for part in figure.subfigs for text in part.texts]
    assert listed.endswith("and 5 more in the document")
    numbered = [text.xy[1] for text in figure.axes[0].texts]
    assert min(numbered) == pytest.approx(min(-1000 * steps * (1 - steps)))
    for bad in ([], [closed, reaction("Li6PS5Cl")], [closed.model_copy(update={"kinks": []})]):
        with pytest.raises(InputError, match="interface"):
            interface(bad)


def test_all_figures_of_a_candidate_are_drawn_and_none_is_kept_open() -> None:
    odd = reaction("Li1.3Al0.3Ti1.7(PO4)3")
    drawn = plots.figures(thermodynamics(interfaces=[*thermodynamics().interfaces, odd]), label="La0.5Sr0.5CoO$x$")
    assert set(drawn) == {
        "decomposition", "hull-over-temperature", "oxygen", "windows", "interface-Li3PS4", "interface-Li7La3Zr2O12",
        "interface-Li1.3Al0.3Ti1.7_PO4_3",
    }  # fmt: skip
    for figure in drawn.values():
        assert figure.get_size_inches()[0] == COLUMN
        assert rendered(figure)
        assert all(axes.get_xlabel() for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>")
    assert pyplot.get_fignums() == []
    parts = dict.fromkeys(("hull", "entropy", "oxygen")) | {"windows": [], "interfaces": []}
    assert plots.figures(thermodynamics(**parts), label="x") == {}


def test_hull_cut_agrees_with_a_pseudo_binary_phase_diagram(phases: PhaseSet) -> None:
    ends = oxide_ends(Composition("SrTiO3"), ["Sr"], {"Sr": 2.0})
    assert [end.reduced_formula for end in ends] == ["SrO", "TiO2"]
    figure = hull_cut(Hull(phases, ["O", "Sr", "Ti"]), ends, candidate=Composition("SrTiO3"), energy_per_atom=-3.40)
    axes = figure.axes[0]
    entries = [PDEntry(Composition(f), E * Composition(f).num_atoms) for f, E in ENERGIES.items()]
    diagram = CompoundPhaseDiagram(entries, [Composition("SrO"), Composition("TiO2")])
    on_line = {e.original_entry.composition.reduced_formula: e for e in diagram.all_entries}
    heights = {re.sub(r"[${}_]", "", text.get_text()): text.xy[1] for text in axes.texts}
    assert heights.keys() == on_line.keys()
    for formula, height in heights.items():
        assert height == pytest.approx(1000 * diagram.get_form_energy_per_atom(on_line[formula]), abs=1e-6), formula
    curve = next(line for line in axes.lines if line.get_label() == "hull")
    candidate = next(line for line in axes.lines if "candidate" in str(line.get_label()))
    assert candidate.get_xdata()[0] == pytest.approx(0.6)
    assert candidate.get_ydata()[0] - np.interp(0.6, curve.get_xdata(), curve.get_ydata()) == pytest.approx(50)
    assert rendered(figure)
    # Oxygen-deficient: the line leads beside all oxides but SrO.
    deficient = Composition("SrTiO2.9")
    ends = oxide_ends(deficient, ["Sr"], {"Sr": 2.0})
    assert rendered(hull_cut(Hull(phases, ["O", "Sr", "Ti"]), ends, candidate=deficient, energy_per_atom=-3.4))
    with pytest.raises(InputError, match="not a mixture"):
        hull_cut(Hull(phases, ["O", "Sr", "Ti"]), ends, candidate=Composition("SrTiO3"), energy_per_atom=-3.4)
    with pytest.raises(InputError, match="twice"):
        hull_cut(Hull(phases, ["O", "Sr", "Ti"]), (ends[0], ends[0]))
    with pytest.raises(InputError, match="leave no other"):
        oxide_ends(Composition("SrO"), ["Sr"], {"Sr": 2.0})


def test_hull_triangle_marks_the_candidate_among_its_corners(phases: PhaseSet) -> None:
    figure = hull_triangle(phases, ["SrO", "TiO2", "Ti2O3"], candidate=Composition("SrTiO2.9"), label="SrTiO2.9")
    axes = figure.axes[0]
    named = {re.sub(r"[${}_]", "", text.get_text()): np.array(text.xy) for text in axes.texts}
    assert named.keys() == {"SrO", "TiO2", "Ti2O3", "SrTiO3", "Sr2TiO4"}
    # SrTiO2.9 is SrO, 0.8 TiO2 and 0.1 Ti2O3: 2, 2.4 and 0.5 of 4.9 atoms.
    expected = (2 * named["SrO"] + 2.4 * named["TiO2"] + 0.5 * named["Ti2O3"]) / 4.9
    drawn = next(line for line in axes.lines if line.get_marker() == "D")
    assert [drawn.get_xdata()[0], drawn.get_ydata()[0]] == pytest.approx(expected, abs=1e-6)
    assert rendered(figure)
    for corners, candidate, message in (
        (["SrO", "TiO2"], None, "three different"), (["SrO", "TiO2", "BaO"], None, "no phase BaO"),
        (["SrO", "TiO2", "Ti2O3"], Composition("SrTiO3.5"), "no mixture"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            hull_triangle(phases, corners, candidate=candidate)
    assert pyplot.get_fignums() == []


def test_words_conserve_atoms() -> None:
    candidate = Composition("La0.4Sr0.4Ba0.2CoO3")
    text = in_words(hull().decomposition, candidate)
    assert text.startswith("0.42 LaCoO3 + 0.211 Sr2Co2O5")
    terms = [term.split() for term in text.split(" + ")]
    assert sum(float(n) * Composition(of).num_atoms for n, of in terms) == pytest.approx(candidate.num_atoms, rel=5e-3)
    assert in_words(amounts(LaCoO3=1.05, O2=-0.05), Composition("LaCoO3")) == "1.05 LaCoO3 - 0.125 O2"


def test_lines_say_what_decides_and_what_is_missing() -> None:
    spec, _ = candidate_from_formula("La0.4Sr0.4Ba0.2CoO3")
    text = "\n".join(thermodynamics_lines(spec, thermodynamics()))
    for expected in (
        "energy above the hull 0.034 eV/atom (90 %: 0.004 to 0.064) (63 phases of Ba-Co-La-O-Sr",
        "decomposes to 0.42 LaCoO3 + ", "0.42 SrCoO3 - 0.1 O2", "on the hull from 1226 K (90 %: 144 K to above 2000 K)",
        "entropy decides", "delta 0.310 (90 %: 0.220 to 0.440) in air at 1273 K, computed with 0.2",
        "Li window: 1.80 to 3.60 V", "below it gives Li2O 45%", "O window: above -2.10 eV",
        "log10 p(O2)/bar above -8.5 at 1273 K", "worst electrolyte Li3PS4: -0.250 eV/atom at 0.55",
        "Li -0.80, O +1.20", "Li3PS4 -0.250, Li7La3Zr2O12 -0.020",
    ):  # fmt: skip
        assert expected in text, expected
    nothing = dict.fromkeys(("hull", "entropy", "oxygen")) | {"windows": [], "interfaces": []}
    reasons = {"hull": "SrO is missing", "oxygen": "no vacancies"}
    lines = thermodynamics_lines(spec, thermodynamics(**nothing, reasons=reasons))
    assert lines == ["no hull: SrO is missing", "no oxygen: no vacancies"]
    incomplete = thermodynamics_lines(spec, thermodynamics(reasons={"interfaces": "Li3YCl6 is missing"}))
    assert incomplete[-1] == "interfaces: Li3YCl6 is missing"


def test_report_panels_agree_with_the_documents() -> None:
    of = thermodynamics()
    drawn = thermo_panels(of)
    assert drawn is not None
    for ordered in (False, True):
        shares = [bar["share"] for bar in drawn["hull"]["bars"] if bar["ordered"] is ordered]
        assert sum(shares) == pytest.approx(100)
        assert shares == sorted(shares, reverse=True)
    assert drawn["temperature"]["curve"][0] == pytest.approx(34)
    assert np.shape(drawn["oxygen"]["delta"]) == (len(GRID_T), len(GRID_P))
    assert [(w["low"], w["high"]) for w in drawn["windows"]] == [(1.8, 3.6), (-2.1, None)]
    assert [c["open"] for c in drawn["interfaces"]] == [False, False, True]
    assert min(drawn["interfaces"][0]["y"]) == pytest.approx(-250)
    facts = dict(thermo_facts(of))
    assert facts["Worst electrolyte"] == "−0.250 eV/atom [−0.280, −0.220] (Li3PS4)"
    assert facts["Stable"] == "by entropy, above 1226 K"
    assert window_text(windows()[1]) == "above −2.10 eV"
    assert products(amounts(SrO=0.25, LaCoO3=0.75)) == "LaCoO3 75 %, SrO 25 %"
    assert worst_products(reaction()) == "Li3PO4 40 %, La2O2S 35 %, CoS 25 %"
    inert = reaction()
    inert.kinks = [kink.model_copy(update={"reaction_energy": 0.0}) for kink in inert.kinks]
    assert worst_products(inert) == "no reaction"
    nothing = dict.fromkeys(("hull", "entropy", "oxygen")) | {"windows": [], "interfaces": []}
    lost = Quantity(value=None, unit="eV/atom", method="invented", reason="no partner is known")
    empty = thermodynamics(**nothing, interface_reaction_energy=lost)
    panels = thermo_panels(empty)
    assert panels is not None
    assert not any(panels.values())
    assert set(dict(thermo_facts(empty)).values()) == {"—"}
    assert thermo_panels(None) is None


@pytest.fixture
def ten_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Ids of ten stored candidates, the first with transport and thermodynamics."""
    settings = Settings(data_dir=tmp_path / "data")
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEMIEC_{name.upper()}", raising=False)
    monkeypatch.setenv("HEMIEC_DATA_DIR", str(settings.data_dir))
    database = open_database(settings)
    try:
        yield insert_candidates(database, 10, structures=False)
    finally:
        database.close()
        EmbeddedMongod(settings).down()


@pytest.mark.store
def test_show_writes_words_and_pictures(ten_candidates: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "figures"
    done = CliRunner().invoke(cli, ["show", ten_candidates[0], "--plot", str(folder)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "energy above the hull 0.034 eV/atom" in " ".join(done.stdout.split())
    names = {path.stem for path in folder.glob("*.png")}
    assert names >= {"decomposition", "hull-over-temperature", "oxygen", "windows", "interface-Li3PS4", "barriers"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    assert done.stderr.count("wrote ") == len(names)
    # The tenth candidate has no result: one clear error, and no folder.
    refused = CliRunner().invoke(cli, ["show", ten_candidates[9], "--plot", str(tmp_path / "none")])
    assert isinstance(refused.exception, InputError)
    assert "nothing to draw" in str(refused.exception)
    assert not (tmp_path / "none").exists()
    both = CliRunner().invoke(cli, ["show", ten_candidates[0], "--plot", str(folder), "--provenance"])
    assert "exclude each other" in str(both.exception)
