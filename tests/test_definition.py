"""Leaderboard definitions: what is shipped, what YAML may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hemiec.errors import InputError
from hemiec.ranking.definition import (
    DEFAULT,
    checked,
    definition_from,
    load_definition,
    parse_weights,
    shipped,
    shipped_names,
    with_weights,
)
from hemiec.schemas.definition import Criterion, LeaderboardDefinition, Ties
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.leaderboards import narrowed, where_filter

FOLDER = Path(__file__).parents[1] / "analysis" / "leaderboards"
GOOD = """
name: mine
title: Mine
criteria:
  - {property: band_gap, direction: minimise, weight: 1, best: 0, worst: 3}
"""
TARGET = GOOD.replace("minimise", "target").replace("best: 0, worst: 3", "window: [0.5, 1.5], zero_at: [0.1, 3]")


def problem(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_definition(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Shipped


def test_shipped_definitions_are_those_of_the_folder() -> None:
    assert shipped_names() == tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
    assert {"as-asked", "cathode-miec", "oxygen-electrode", "solid-electrolyte", "mixed-conductor"} <= {
        *shipped_names()
    }
    assert shipped("as-asked") == DEFAULT


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_definition_loads_by_name_and_as_a_file(name: str) -> None:
    definition = load_definition(name)
    assert definition == load_definition(FOLDER / f"{name}.yaml")
    assert definition.name == name
    assert definition.description
    where_filter(definition)
    # Whoever opens the file sees why each scale is as it is.
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    rows = [k for k, line in enumerate(lines) if line.lstrip().startswith("- {")]
    assert len(rows) == len(definition.criteria)
    assert all("#" in lines[k] or lines[k - 1].lstrip().startswith("#") for k in rows)


def test_what_was_asked_for_is_the_default() -> None:
    wanted = ["band_gap", "migration_barrier", "formation_energy_per_atom"]
    assert [criterion.property for criterion in DEFAULT.criteria] == wanted
    assert {criterion.direction for criterion in DEFAULT.criteria} == {"minimise"}
    assert shipped("mixed-conductor").criteria == DEFAULT.criteria


def test_shipped_definitions_want_what_their_use_needs() -> None:
    wanted = {
        "cathode-miec": {"band_gap": "minimise", "migration_barrier": "minimise", "energy_above_hull": "minimise",
                         "interface_reaction_energy": "maximise"},
        "oxygen-electrode": {"band_gap": "target", "migration_barrier": "minimise", "energy_above_hull": "minimise"},
        "solid-electrolyte": {"band_gap": "maximise", "migration_barrier": "minimise", "energy_above_hull": "minimise"},
    }  # fmt: skip
    for name, directions in wanted.items():
        assert {c.property: c.direction for c in shipped(name).criteria} == directions
    assert where_filter(shipped("oxygen-electrode")) == {"mobile": "O"}


def test_name_of_none_that_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="did you mean 'cathode-miec'"):
        load_definition("cathode-mice")
    with pytest.raises(InputError, match=r"none.yaml: no such leaderboard definition. Mend: .*as-asked"):
        load_definition(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"'../as-asked' is shipped; did you mean 'as-asked'"):
        shipped("../as-asked")
    # A file is taken for one where its name says so; a shipped name is never shadowed.
    monkeypatch.chdir(tmp_path)
    Path("as-asked").write_text(GOOD)
    Path("own").write_text(GOOD)
    assert load_definition("as-asked") == DEFAULT
    assert load_definition(tmp_path / "as-asked").name == "mine"
    assert load_definition("own").name == "mine"


# What YAML may say


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "all.yml"
    path.write_text("""
name: all-of-it
title: All of it
description: Every key.
where: has(Co) and not has(Pb)
criteria:
  - {property: band_gap, direction: target, window: [0, 1.5], zero_at: [null, 3], weight: 2, standard_uncertainty: 0.3}
  - {property: migration_barrier, direction: minimise, transform: log, best: 0.1, worst: 1, missing: whole_range}
  - {property: energy_above_hull, direction: minimise, best: 0, worst: 0.1, required: false}
ties: {rule: broken, by: [migration_barrier], tolerance: 0.01}
draws: 500
top: 3
seed: 7
""")
    definition = load_definition(path)
    gap, barrier, hull = definition.criteria
    assert (gap.window, gap.zero_at, gap.required, gap.missing) == ((0, 1.5), (None, 3), True, "unranked")
    assert (barrier.transform, barrier.required, barrier.missing) == ("log", False, "whole_range")
    assert (hull.required, hull.missing) == (False, "leave_out")
    assert (definition.ties.rule, definition.ties.by, definition.top) == ("broken", ["migration_barrier"], 3)
    # What is stored reads back, and is still what makes sense.
    assert checked(LeaderboardDefinition.model_validate(definition.to_mongo())) == definition


def test_a_leaf_of_several_wrong_ones_is_not_hidden_by_the_first(tmp_path: Path) -> None:
    text = problem(tmp_path, GOOD.replace("weight: 1", "weight: -1").replace("band_gap", "gap"))
    assert "criteria[0].weight: expected" in text
    text = problem(tmp_path, GOOD.replace("worst: 3", "worst: 0, missing: leave_out, required: true") + "draws: 5\n")
    assert "draws: expected greater than or equal to 100, got '5'." in text
    twice = GOOD.replace("worst: 3", "worst: 0") + "  - {property: bandgap, direction: maximise, best: 0, worst: 1}\n"
    text = problem(tmp_path, twice)
    assert "criteria[0].best: to minimise" in text and "criteria[1].property: unknown property 'bandgap'" in text


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("title:", "titel:", "unknown key 'titel'; did you mean 'title'?"),
        ("title: Mine", "", "title: missing."),
        ("title: Mine", "title: Mine\ntitle: Yours", "key 'title' is given twice"),
        ("weight", "wieght", "criteria[0]: unknown key 'wieght'; did you mean 'weight'?"),
        ("band_gap", "bandgap", "criteria[0].property: unknown property 'bandgap'; did you mean 'band_gap'?"),
        ("minimise", "minimize", "criteria[0].direction: expected minimise, maximise or target, got 'minimize'; did"),
        ("worst: 3", "worst: 3, transform: ln", "criteria[0].transform: expected linear or log, got 'ln'"),
        ("worst: 3", "worst: 3, missing: last", "expected unranked, leave_out or whole_range, got 'last'."),
        ("minimise", "maximise", "criteria[0].best: to maximise, expected best above worst, got best 0 and worst 3."),
        ("worst: 3", "worst: 0", "expected best below worst"),
        (", worst: 3", "", "criteria[0].worst: missing; expected the value that scores 0."),
        ("best: 0, ", "", "criteria[0].best: missing; expected the value that scores 1."),
        ("worst: 3", "worst: 3, window: [0, 1]", "criteria[0].window: goes with direction target alone"),
        ("worst: 3", "worst: 3, transform: log", "criteria[0].transform: log needs a scale above 0, got 0."),
        ("weight: 1", "weight: -1", "criteria[0].weight: expected"),
        ("weight: 1", "weight: 0", "criteria[0].weight: expected greater than 0"),
        ("best: 0", "best: low", "criteria[0].best: expected a valid number"),
        ("best: 0", "best: .nan", "criteria[0].best: expected a finite number"),
        ("worst: 3", "worst: 3, required: true, missing: leave_out", "of a criterion that is required, expected unran"),
        ("worst: 3", "worst: 3, required: false, missing: unranked", "that is optional, expected leave_out or whole_"),
        ("worst: 3", "worst: 3, standard_uncertainty: 0", "criteria[0].standard_uncertainty: expected greater than 0"),
        ("title: Mine", "title: Mine\nties: {rule: broken}", "ties.by: missing; rule broken needs"),
        (
            "title: Mine",
            "title: Mine\nties: {by: [band_gap]}",
            "ties.by: goes with rule broken alone, got rule",
        ),
        ("title: Mine", "title: Mine\nties: {rule: broken, by: [gap]}", "ties.by[0]: 'gap' is no criterion"),
        (
            "title: Mine",
            "title: Mine\nties: {rule: broken, by: [band_gap, band_gap]}",
            "ties.by[1]: 'band_gap'",
        ),
        ("title: Mine", "title: Mine\nties: {role: broken}", "ties: unknown key 'role'; did you mean 'rule'?"),
        ("title: Mine", "title: Mine\nties: {tolerance: 1}", "ties.tolerance: expected less than 1"),
        ("title: Mine", "title: Mine\nseed: -1", "seed: expected greater than or equal to 0"),
        ("name: mine", "name: ../mine", "name: expected to match pattern"),
        (GOOD, "", "expected a mapping of keys to values, got NoneType"),
        (GOOD, "[1]", "expected a mapping of keys to values, got list"),
        (GOOD, "a: [1", "not valid YAML"),
        (GOOD, "name: x\ntitle: x\ncriteria: []", "criteria: expected at least 1, got 0."),
        ("weight: 1", "weight: true", "criteria[0].weight: expected a number, got 'True'."),
        ("best: 0, worst: 3", "best: -1.7e308, worst: 1.7e308", "criteria[0].best: expected values that differ by"),
        (
            "best: 0, worst: 3",
            "transform: log, best: 1, worst: 1.0000000000000002",
            "criteria[0].best: expected values that differ by more than 1e-09 of the larger",
        ),
    ],
)
def test_wrong_definition_says_what_and_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    definition_from(yaml.safe_load(GOOD), "good")
    assert expected in problem(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("window: [0.5, 1.5], ", "", "criteria[0].window: missing; expected the two values"),
        ("[0.5, 1.5]", "[1.5, 0.5]", "criteria[0].window: expected the lower value first, got 1.5 and 0.5."),
        ("[0.5, 1.5]", "[0.5]", "criteria[0].window[1]: missing."),
        ("[0.1, 3]", "[0.4999999999999, 3]", "criteria[0].zero_at: expected values that differ by more than 1e-09"),
        ("[0.1, 3]", "[0.5, 3]", "zero_at: expected the first below the window, which begins at 0.5, got 0.5."),
        ("[0.1, 3]", "[0.1, 1]", "zero_at: expected the second above the window, which ends at 1.5, got 1."),
        ("[0.1, 3]", "[0.1, 3], best: 0", "criteria[0].best: goes with minimise and maximise alone"),
        ("[0.1, 3]", "[-1, 3], transform: log", "transform: log needs a scale above 0, got -1."),
    ],
)
def test_wrong_target_says_what_and_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    definition_from(yaml.safe_load(TARGET), "good")
    definition_from(yaml.safe_load(TARGET.replace("[0.1, 3]", "[null, 3], transform: log")), "good")
    assert expected in problem(tmp_path, TARGET.replace(old, new))


def test_property_may_count_once() -> None:
    twice = LeaderboardDefinition(name="twice", title="Twice", criteria=[DEFAULT.criteria[0], DEFAULT.criteria[0]])
    with pytest.raises(InputError, match=r"twice: criteria\[1\].property: 'band_gap' appears twice"):
        checked(twice)


def test_every_property_can_count() -> None:
    criteria = [Criterion(property=name, direction="minimise", best=0, worst=1) for name in PROPERTIES]
    everything = LeaderboardDefinition(name="all", title="All", criteria=criteria)
    assert checked(everything) is everything


# Conditions


def test_condition_is_checked_where_the_fields_are_known() -> None:
    wrong = DEFAULT.model_copy(update={"where": "band_gapp < 1"})
    with pytest.raises(InputError, match="as-asked: where: query: unknown field 'band_gapp'"):
        where_filter(wrong)
    assert where_filter(DEFAULT) == {}


def test_narrowing_keeps_both_conditions() -> None:
    either = DEFAULT.model_copy(update={"where": "has(Co) or has(Fe)"})
    assert narrowed(either, "").where == "has(Co) or has(Fe)"
    assert narrowed(DEFAULT, " has(Ni) ").where == "has(Ni)"
    assert where_filter(narrowed(either, "has(La)")) == {
        "$and": [{"$or": [{"elements": "Co"}, {"elements": "Fe"}]}, {"elements": "La"}]
    }
    # What does not stand by itself could turn the meaning of both.
    with pytest.raises(InputError, match="query: "):
        narrowed(either, "has(La)) or (has(Pb)")
    with pytest.raises(InputError, match="as-asked: where: query: "):
        narrowed(DEFAULT.model_copy(update={"where": "has(La)) or (has(Pb)"}), "has(Co)")


# Weights


def test_weights_of_text() -> None:
    assert parse_weights("band_gap=2, migration_barrier: 0.5,") == {"band_gap": 2, "migration_barrier": 0.5}
    assert parse_weights("") == {}
    for wrong in ("band_gap", "band_gap=", "=2", "band_gap=two", "band_gap=nan", "band_gap=1=2", "band_gap 2"):
        with pytest.raises(InputError, match="weights: cannot read"):
            parse_weights(wrong)
    with pytest.raises(InputError, match="band_gap comes twice"):
        parse_weights("band_gap=1,band_gap=2")


def test_other_weights_leave_the_rest_as_it_is() -> None:
    changed = with_weights(DEFAULT, {"band_gap": 3})
    assert [criterion.weight for criterion in changed.criteria] == [3, 1, 1]
    assert [criterion.weight for criterion in DEFAULT.criteria] == [1, 1, 1]
    assert with_weights(changed, {"band_gap": 1}) == DEFAULT


def test_weight_of_zero_takes_a_criterion_out() -> None:
    ties = Ties(rule="broken", by=["band_gap", "migration_barrier"])
    by_gap = DEFAULT.model_copy(update={"ties": ties})
    changed = with_weights(by_gap, {"band_gap": 0})
    assert [criterion.property for criterion in changed.criteria] == ["migration_barrier", "formation_energy_per_atom"]
    assert changed.ties.by == ["migration_barrier"]
    assert with_weights(changed, {"migration_barrier": 0}).ties.rule == "shared"
    assert checked(changed) and checked(with_weights(changed, {"migration_barrier": 0}))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"gap": 1}, "'gap' is no criterion of as-asked; did you mean 'band_gap'"),
        ({"energy_above_hull": 1}, "'energy_above_hull' is no criterion of as-asked"),
        ({"band_gap": -1}, "weights: band_gap: expected a number from 0 up, got -1."),
        ({"band_gap": float("nan")}, "weights: band_gap: expected a number from 0 up, got nan."),
        ({"band_gap": float("inf")}, "weights: band_gap: expected a number from 0 up, got inf."),
        (dict.fromkeys((c.property for c in DEFAULT.criteria), 0), "nothing is left of as-asked"),
    ],
)
def test_wrong_weights(weights: dict[str, float], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        with_weights(DEFAULT, weights)
