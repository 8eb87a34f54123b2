"""Figures of a leaderboard: what they draw, for whom, and with hostile text. All numbers are synthetic."""

from __future__ import annotations

import io
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from report_examples import DANGEROUS, entry, known, missing, six_candidates, with_draws

from hemiec.errors import InputError
from hemiec.ranking.export import to_json
from hemiec.ranking.figures import (
    formula_text,
    gap_barrier_map,
    leaderboard,
    pareto_scatter,
    probability_bars,
    rank_intervals,
)
from hemiec.schemas.leaderboard import LeaderboardDoc

SCRIPTS = Path(__file__).parents[1] / "analysis" / "figures"
FIGURES: list[Callable[[LeaderboardDoc], Figure]] = [
    leaderboard, rank_intervals, probability_bars, gap_barrier_map,
    lambda doc: pareto_scatter(doc, "formation_energy_per_atom", "migration_barrier"),
]  # fmt: skip


@pytest.fixture
def doc() -> LeaderboardDoc:
    return with_draws(six_candidates())


def words(figure: Figure) -> str:
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text")))


@pytest.mark.parametrize("draw", FIGURES)
def test_every_figure_survives_hostile_text(doc: LeaderboardDoc, draw: Callable[[LeaderboardDoc], Figure]) -> None:
    label = DANGEROUS + "$\\frac{$_{3}$ \x1b 中 \U0001f600"
    bad = doc.entries[0].model_copy(update={"label": label, "band_gap": known(0.5, DANGEROUS, DANGEROUS)})
    figure = draw(doc.model_copy(update={"entries": [bad, *doc.entries[1:]], "title": label}))
    out = io.BytesIO()
    figure.savefig(out, format="png")
    assert out.getvalue().startswith(b"\x89PNG")
    figure.savefig(io.BytesIO(), format="pdf")


def test_ranks_are_drawn_at_their_intervals(doc: LeaderboardDoc) -> None:
    axes = rank_intervals(doc).axes[0]
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    assert lines == [found.uncertainty.rank_interval for found in doc.entries if found.uncertainty]
    means, ranks = (collection.get_offsets()[:, 0].tolist() for collection in axes.collections)
    assert means == [1.25, 2.25, 3.25, 4.25, 5.25]
    assert ranks == [1, 2, 3, 4, 5]
    # The first is on top, and who is not drawn is said.
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert "1 without a rank" in words(rank_intervals(doc))
    few = words(rank_intervals(doc, most=2))
    assert "first 2 of 5 ranked" in few


def test_leaderboard_without_draws_shows_ranks_and_values() -> None:
    plain = six_candidates()
    figure = leaderboard(plain)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "Rank", "Band gap (eV)", "Barrier (eV)", "Formation energy (eV/atom)",
    ]  # fmt: skip
    values = figure.axes[1].collections
    assert [float(dot.get_offsets()[0][0]) for dot in values] == [
        found.band_gap.value for found in plain.entries if found.rank
    ]
    with pytest.raises(InputError, match="no draws"):
        probability_bars(plain)


def test_missing_value_of_a_ranked_candidate_is_said(doc: LeaderboardDoc) -> None:
    lost = entry(1, "LaCoO3", band_gap=missing("eV", "failed"))
    assert "no value" in words(leaderboard(doc.model_copy(update={"entries": [lost]})))


def test_probabilities_are_the_lengths_of_bars(doc: LeaderboardDoc) -> None:
    axes = probability_bars(doc).axes[0]
    tops, fronts = axes.containers
    assert [bar.get_width() for bar in tops] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert [bar.get_width() for bar in fronts] == [0.8, 0.8, 0.8, 0.8, 0.002]


def test_probability_of_a_top_that_holds_all_is_not_drawn(doc: LeaderboardDoc) -> None:
    assert leaderboard(doc).axes[-1].get_xlabel() == "P(top 2)"
    everyone = doc.model_copy(update={"top": 5})
    assert leaderboard(everyone).axes[-1].get_xlabel() == "P(Pareto front)"
    assert len(probability_bars(everyone).axes[0].containers) == 1


def test_scatter_marks_front_and_unranked(doc: LeaderboardDoc) -> None:
    figure = pareto_scatter(doc, "band_gap", "formation_energy_per_atom")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["on the Pareto front (2)", "behind it (3)", "not ranked (1)"]
    with pytest.raises(InputError, match="unknown property 'gap'; did you mean"):
        pareto_scatter(doc, "gap", "migration_barrier")
    with pytest.raises(InputError, match="no candidate has both"):
        gap_barrier_map(doc.model_copy(update={"entries": doc.entries[-1:]}))


def test_formulas_have_subscripts_and_nothing_else_is_math() -> None:
    assert formula_text("La0.5Sr0.5CoO3") == "La$_{0.5}$Sr$_{0.5}$CoO$_{3}$"
    assert formula_text("$x$") == r"\$x\$"
    assert formula_text("a\x1bb中") == "a b\N{WHITE SQUARE}"


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_scripts_draw_from_a_file(
    script: str, doc: LeaderboardDoc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "leaderboard.json", tmp_path / "figure.pdf"
    source.write_text(to_json(doc), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [script, str(source), str(target)])
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    assert target.read_bytes().startswith(b"%PDF")
    assert len((SCRIPTS / script).read_text().splitlines()) < 80


def test_there_are_scripts() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {
        "gap_barrier_map", "leaderboard", "pareto_scatter", "probabilities", "rank_intervals",
    }  # fmt: skip
