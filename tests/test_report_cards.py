"""What the report says of the ranking itself and of each candidate beyond its numbers. All numbers are synthetic."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from report_examples import (
    Tags,
    background,
    outside_the_library,
    six_candidates,
    structure,
    with_draws,
)

from hemiec.ranking.report import page as page_module
from hemiec.ranking.report.background import Background
from hemiec.ranking.report.cards import gap_panel
from hemiec.ranking.report.page import to_html
from hemiec.ranking.report.ranking_panels import rule, standings, weights
from hemiec.ranking.report.structure_panels import composition, structure_panel, sublattice_counts, sublattices
from hemiec.ranking.report.text import chemical
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.definition import Criterion
from hemiec.schemas.leaderboard import WeightRange


def text_of(page: str) -> str:
    return " ".join(" ".join(Tags(outside_the_library(page)).text).split())


def test_ranking_tells_where_each_may_stand() -> None:
    doc = six_candidates()
    plain = text_of(to_html(doc))
    assert "No draws were made" in plain
    assert "P(top" not in plain
    assert "How far a weight can move" not in plain
    doc = with_draws(doc)
    text = text_of(to_html(doc))
    for expected in (
        "1,000 draws of every value from its 90 % interval (seed 7)", "P(top 2)", "P(Pareto)", "1.2 [1–2]", "3.2 [2–4]",
        "[0.40, 0.90]", "33 %", "<1 %", "below 0.4 (La,Pr,Nd,Sr,Ba)CoO", "above 2.5 (La,Sr)(Co,Fe)O",
        "stays first whatever the migration barrier weighs", "The gap is of one magnetic start.",
        "No search of the magnetic ground state", "1 of 6",
    ):  # fmt: skip
        assert expected in text, expected
    # With as many in the top as are ranked, its probability says nothing, and the page says so.
    all_in = text_of(to_html(doc.model_copy(update={"top": 10})))
    assert "P(top 10)" not in all_in
    assert "all are in the top 10" in all_in


def test_bars_of_ranks_keep_their_proportions() -> None:
    bars = standings(with_draws(six_candidates()).entries)
    assert bars[-1] is None
    first, second = bars[0], bars[1]
    assert first is not None
    assert second is not None
    # From rank 1 at 0 to the highest end, 6, at 100.
    assert (first.low, first.width, first.rank) == (0, 20, 0)
    assert first.expected == pytest.approx(5)
    assert (second.low, second.width, second.rank) == (0, 40, 20)
    last = bars[4]
    assert last is not None
    assert last.low + last.width == pytest.approx(100)
    assert standings([]) == []


def test_weights_reach_as_far_as_they_may() -> None:
    closed, free = weights(with_draws(six_candidates()))
    scale = 1.25 * 2.5
    assert closed["from"] == pytest.approx(100 * 0.4 / scale, abs=0.01)
    assert closed["width"] == pytest.approx(100 * 2.1 / scale, abs=0.01)
    assert (free["from"], free["width"], free["open"]) == (0, 100, True)


@pytest.mark.parametrize(("weight", "scale"), [(1e-3, "0 to 0.003"), (1.0, "0 to 3"), (1e308, "0 to 1.8e+308")])
def test_a_weight_of_any_size_has_a_bar_and_a_scale(weight: float, scale: str) -> None:
    doc = with_draws(six_candidates())
    of = WeightRange(property="band_gap", weight=weight, low=0, high=None, winner_below=None, winner_above=None)
    [bar] = weights(doc.model_copy(update={"sensitivity": [of]}))
    assert bar["scale"] == scale
    assert bar["at"] == pytest.approx(33.33 if weight < 1e300 else 55.63, abs=0.01)
    assert bar["width"] == 100


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"direction": "minimise", "best": 0.2, "worst": 1.2, "transform": "log"},
         ("lower is better", "0.2 eV scores 1, 1.2 eV scores 0, on a logarithmic scale, weight 1")),
        ({"direction": "target", "window": (0, 1.5), "zero_at": (None, 3), "weight": 2},
         ("best between 0 and 1.5 eV", "below the window all scores 0, above the window 3 eV scores 0, weight 2")),
        ({"direction": "maximise", "best": 4, "worst": -1, "missing": "whole_range", "standard_uncertainty": 0.3},
         ("higher is better", "4 eV scores 1, −1 eV scores 0, weight 1, without an interval ± 0.3 eV is taken, "
          "without a value the score is in the middle of what any value could make it")),
    ],
)  # fmt: skip
def test_rules_are_told(fields: dict[str, object], expected: tuple[str, str]) -> None:
    assert rule(Criterion.model_validate({"property": "band_gap", **fields})) == expected


def test_card_shows_what_the_store_knows() -> None:
    doc = six_candidates()
    page = to_html(doc, {doc.entries[0].candidate_id: background()})
    text = text_of(page)
    for expected in (
        "La +3 50 %", "O −2 100 %", "Relaxed special quasirandom structure of 10 atoms, the first of 2 members",
        "A: 1 La, 1 Sr; B: 1 Co, 1 Fe; X: 6 O.", "All 2 members", "0.021 eV/Å", "uuid-relax", "uuid-gap",
        "no SCF solution", "2030-01-02 03:04:05", "a-a-c+", "cannot hold the site fractions exactly",
        "hemiec show hm-000000000001 --provenance",
    ):  # fmt: skip
        assert expected in text, expected
    # The others say what they lack.
    assert text.count("No structure is shown: the report was made without the store that holds it.") == 5
    assert text.count("The composition of the sites is not in this report") == 5
    ideal = text_of(to_html(doc, {doc.entries[0].candidate_id: background(members=1, relaxed=False)}))
    assert "Ideal, not relaxed special quasirandom structure of 10 atoms." in ideal
    assert "it has not been relaxed" in ideal


def test_missing_viewer_is_loud(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    doc = six_candidates()
    monkeypatch.setattr(page_module, "viewer_script", lambda: None)
    with caplog.at_level(logging.WARNING):
        page = to_html(doc, {doc.entries[0].candidate_id: background()})
    assert "3Dmol-min.js is missing" in caplog.text
    assert "The structures are not drawn: web/site/assets/vendor/3Dmol-min.js is missing" in text_of(page)
    assert not any("data-structure" in attrs for _, attrs in Tags(outside_the_library(page)).tags)


def test_unreadable_structure_is_said() -> None:
    doc = six_candidates()
    broken = structure().model_copy(update={"structure": {"sites": "none"}})
    text = text_of(to_html(doc, {doc.entries[0].candidate_id: Background(structures=[broken])}))
    assert "No structure is shown: the stored structure cannot be read (" in text


def test_only_the_first_get_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    doc = six_candidates()
    monkeypatch.setattr(page_module, "MOST_CARDS", 2)
    monkeypatch.setattr(page_module, "MOST_ROWS", 4)
    page = outside_the_library(to_html(doc))
    assert "The first 4 of 6 candidates are here" in page
    assert "6 candidates, 5 ranked" in page
    assert str(chemical(doc.entries[4].label)) not in page
    assert sum(tag == "article" for tag, _ in Tags(page).tags) == 2
    assert "Cards of the first 2 of 6 candidates" in text_of(to_html(doc))
    assert f'href="#{doc.entries[2].candidate_id}"' not in page


def test_composition_has_shares_and_distinct_colours() -> None:
    rows = composition(background())
    assert [row["site"] for row in rows] == ["A", "B", "X"]
    for row in rows:
        assert sum(part["percent"] for part in row["parts"]) == pytest.approx(100)
    tones = [part["colour"] for row in rows for part in row["parts"]]
    assert len(set(tones)) == len(tones) == 5
    assert composition(None) == composition(Background()) == []


def test_sublattices_come_from_the_ideal_cell() -> None:
    doc, spec = structure(), background().spec
    found = sublattices(doc, spec)
    assert sorted(found) == sorted("AABB" + "X" * 6)
    assert sublattice_counts(background()) == {"A": {"La": 1, "Sr": 1}, "B": {"Co": 1, "Fe": 1}, "X": {"O": 6}}
    # Where the ideal cell says another thing than the composition, the composition decides.
    shifted = doc.model_copy(update={"supercell": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]})
    assert sublattices(shifted, spec) == found


def test_octahedra_close_about_each_B() -> None:
    panel = structure_panel(background())
    assert panel is not None
    B = {index for index, kind in enumerate(panel["species"]) if kind["site"] == "B"}
    assert len(panel["octahedra"]) == 2
    shown = {tuple(place) for _, *place in panel["atoms"]}
    for kind, corners, faces in panel["octahedra"]:
        assert kind in B
        assert {tuple(corner) for corner in corners} <= shown
        corners = np.array(corners)
        centre = corners.mean(axis=0)
        assert np.linalg.norm(corners - centre, axis=1) == pytest.approx(np.full(6, 1.95), abs=2e-3)
        assert len(faces) == 8
        # Outward normals, and a closed surface: the volume of the octahedron with half axis a is 4 a^3 / 3.
        a, b, c = (corners[[face[k] for face in faces]] - centre for k in range(3))
        volumes = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
        assert np.all(volumes > 0)
        assert volumes.sum() == pytest.approx(4 / 3 * 1.95**3, rel=1e-2)
    assert structure_panel(None) is None


def test_gaps_of_magnetic_states_are_relative_to_the_lowest() -> None:
    def start(name: str | None, energy: float | None) -> GapStart:
        gap = None if energy is None else 0.5
        return GapStart(magnetic_start=name, energy=energy, band_gap=gap, total_moment=0.0, job_uuid="u")

    panel = gap_panel([start("G", -10.0), start(None, -9.75), start("F", None)])
    assert panel is not None
    assert [(p["name"], p["energy"]) for p in panel["points"]] == [("G", 0.0), ("no spin", 0.25)]
    assert gap_panel([start("G", -10.0), start("F", None)]) is None
