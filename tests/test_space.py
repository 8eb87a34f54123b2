"""Composition spaces: their language, charge, conditions, streaming, files and names."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from hemiec.cli.main import cli
from hemiec.composition import parquet
from hemiec.composition.block import ChargeRule
from hemiec.composition.candidate import candidate_id, exact_sites, make_candidate, sites_of, specs
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES, balance_charge
from hemiec.composition.descriptors import UNITS, tau_probability
from hemiec.composition.expressions import evaluate
from hemiec.composition.formula import candidate_from_formula
from hemiec.composition.fractions import VACANCY
from hemiec.composition.identity import combine, render, site_word
from hemiec.composition.options import MAX_OPTIONS, _compositions, _compositions_count
from hemiec.composition.parquet import write_space
from hemiec.composition.space import Space, enumerate_candidates
from hemiec.errors import CompositionError, StoreError, ThermoError
from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.documents import CandidateSpec
from hemiec.store.queries.fields import fields_of
from hemiec.thermo.formation import composition, from_elements, from_oxides
from hemiec.thermo.references.table import required_phases
from hemiec.workflows.campaign import load_campaign

FIVE = ["La", "Pr", "Nd", "Sr", "Ba"]
FLAGSHIP: dict[str, Any] = {
    "parameters": {"x": {"from": 0, "to": "1/6", "step": "1/24"}},
    "A": {"choose": 5, "from": FIVE, "total": "5/6", "Li": "1/6 - x", "vacancy": "x"},
    "B": {"Co": 1},
}
#: A space with everything: flexible and fixed species, vacancies on A and X, mixed anions, grids, choices, lists.
MIXED: dict[str, Any] = {
    "parameters": {"x": [0, "1/12"], "delta": [0, "1/10", "1/4"]},
    "A": {"choose": 2, "from": ["La", "Sr", "Ba", "Bi"], "total": "5/6", "Li": "1/6 - x", "vacancy": "x"},
    "B": [{"grid": ["Co", "Fe", "Al"], "step": "1/3"}, {"Ti": "1/2", "Mn": "1/2"}],
    "X": [{"O": 1}, {"O": "2/3", "F": "1/3"}],
    "oxygen_deficiency": "delta",
}


def campaign(*entries: dict[str, Any], **more: Any) -> CampaignSpec:
    return CampaignSpec.model_validate({"name": "t", "space": list(entries), **more})


def found(*entries: dict[str, Any], **more: Any) -> list[CandidateSpec]:
    return enumerate_candidates(campaign(*entries, **more), where="here")


def entry(A: Any = None, B: Any = None, **more: Any) -> dict[str, Any]:
    return {"A": A or {"La": 1}, "B": B or {"Co": 1}, **more}


def refused(*entries: dict[str, Any], **more: Any) -> str:
    with pytest.raises(CompositionError) as caught:
        found(*entries, **more)
    message = str(caught.value)
    assert message.startswith("here: ")
    assert "\n" not in message
    return message


# Fractions as expressions


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1/6 - x", Fraction(1, 24)),
        ("x", Fraction(1, 8)),
        ("2*x + 1/4", Fraction(1, 2)),
        ("(1 - x) / 7", Fraction(1, 8)),
        ("0.2 - x", Fraction(3, 40)),  # decimals in an expression are taken as they stand
        ("-x + 1", Fraction(7, 8)),
        (0.333, Fraction(1, 3)),  # alone they abbreviate
    ],
)
def test_expressions_are_exact(written: object, value: Fraction) -> None:
    assert evaluate(written, {"x": Fraction(1, 8)}, where="here") == value


@pytest.mark.parametrize(
    "written",
    [
        "__import__('os')", "x ** 2", "x.real", "x[0]", "f(x)", "x if x else 1", "lambda: x", "x == 1", "1 / (x - x)",
        "y", "x - 1", "'x'", "x; x", "(x", "x % 2", "1j * x", "True + x", "1" * 40 + " - x",
        "x" * 300, "x := 1", None, [],
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused(written: object) -> None:
    with pytest.raises(CompositionError, match="here"):
        evaluate(written, {"x": Fraction(1, 8)}, where="here")


def test_messages_name_the_value_at_which_an_expression_fails() -> None:
    message = refused(entry({"La": 1, "Sr": "x"}, parameters={"x": [0, "1/4"]}))
    assert "space[0]: site A: fractions sum to 1.25 at x = 1/4, expected 1 (Sr 1/4, La 1)" in message
    message = refused(entry({"La": "1 - x", "Sr": "x"}, parameters={"x": ["1/2", "5/4"]}))
    assert "site A: La: 1 - x is negative (-1/4) at x = 5/4" in message


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"x": {"from": 0, "to": 1}}, "'step' is missing"),
        ({"x": {"from": 0, "to": 1, "steps": 1}}, "unknown key 'steps'; did you mean 'step'"),
        ({"x": {"from": 1, "to": 0, "step": 1}}, "from <= to"),
        ({"x": {"from": 0, "to": 1, "step": 0}}, "step > 0"),
        ({"x": {"from": 0, "to": 1, "step": "1/1000000"}}, "1000001 values are too many"),
        ({"x": []}, "expected a list of values"),
        ({"x": None}, "expected a list of values"),
        ({"x": [0], "z": [1]}, "parameter 'z' is not used"),
        ({"x y": [0]}, "expected a name such as x"),
        ({"choose": [0]}, "expected a name such as x"),
        ({"y": [0]}, "is not used"),
    ],
)
def test_bad_parameters_are_told(parameters: dict[str, Any], expected: str) -> None:
    assert expected in refused(entry({"La": "1 - x", "Sr": "x"}, parameters=parameters))


def test_an_unknown_parameter_is_corrected() -> None:
    message = refused(entry({"La": "1 - xx", "Sr": "x"}, parameters={"x": [0]}))
    assert "site A: La: unknown parameter 'xx'; did you mean 'x'?" in message


# Choices, grids, lists


def test_the_flagship_family_has_lithium_and_vacancies_beside_five_cations() -> None:
    candidates = found(FLAGSHIP)
    assert len(candidates) == 5
    for n, candidate in enumerate(candidates):
        sites = exact_sites(candidate)["A"]
        x = Fraction(n, 24)
        assert sites.get("Li", 0) == Fraction(1, 6) - x
        assert sites.get(VACANCY, 0) == x
        assert {sites[s] for s in FIVE} == {Fraction(1, 6)}
        assert VACANCY not in candidate.oxidation_states
    assert [c.mean_B_valence for c in candidates] == pytest.approx([11 / 3 + n / 24 for n in range(5)], rel=1e-7)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.integers(1, 9))
def test_grids_hold_every_composition_within_bounds_once(total: int, parts: int, low: int, high: int) -> None:
    expected = [c for c in itertools.product(range(total + 1), repeat=parts) if sum(c) == total]
    expected = [c for c in expected if all(low <= k <= high for k in c)]
    assert list(_compositions(total, parts, low, high)) == expected
    assert _compositions_count(total, parts, low, high) == len(expected)


def test_a_grid_spans_the_simplex() -> None:
    candidates = found(entry({"grid": ["La", "Sr", "Ba"], "step": "1/10"}))
    assert len(candidates) == math.comb(12, 2) == len({c.candidate_id for c in candidates})
    inner = found(entry({"grid": ["La", "Sr"], "step": "1/12", "min": "1/12", "total": "5/6", "Ca": "1/6"}))
    assert [c.sites["A"]["La"] for c in inner] == [str(Fraction(n, 12)) for n in range(1, 10)]


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ({"grid": ["La", "Sr"], "step": "3/10"}, "a step of 3/10 does not divide the total of 1"),
        ({"grid": ["La", "Sr"]}, "with min and max if wanted"),
        ({"grid": ["La", "La"], "step": "1/2"}, "listed twice under `grid`"),
        ({"grid": "La", "step": "1/2"}, "expected a list of species under `grid`"),
        ({"grid": ["La", "Sr"], "step": "1/2", "min": 1}, "no composition has every species between 1 and 1"),
        ({"grid": ["La", "Sr"], "step": "1/2", "Sr": "1/2"}, "Sr is both under `grid` and beside it"),
        ({"grid": ["La", "Sr"], "step": "1/2", "choose": 1}, "does not go with"),
        ({"grid": ["La", "Sr"], "steps": "1/2"}, "unknown key 'steps'; did you mean 'step'"),
        ({"grid": list("KCBNOFHIS"), "step": "1/40"}, "fillings of one sublattice are too many"),
        ({"choose": 1, "from": ["La"], "total": "2/3"}, "fractions sum to 0.666667"),
        ({"choose": 1, "from": ["La"], "Sr": 1}, "nothing is left for 'choose'"),
        ({"total": 1, "La": 1}, "`total` belongs to"),
        ({"vacancy": 1}, "holds only vacancies"),
        ({"Va": "1/2", "La": "1/2"}, "did you mean 'vacancy'?"),
        ({"vacency": "1/2", "La": "1/2"}, "did you mean 'vacancy'?"),
        ([{"La": 1}, {"Sr": "1/2"}], "fractions sum to 0.5"),
    ],
)
def test_bad_sites_are_told(site: Any, expected: str) -> None:
    message = refused(entry(site))
    assert "site A" in message
    assert expected in message


def test_vacancies_are_refused_on_B() -> None:
    assert "vacancies are not allowed on B" in refused(entry(B={"Co": "1/2", "vacancy": "1/2"}))


def test_no_more_fillings_than_are_kept_in_memory() -> None:
    assert math.comb(60, 5) > MAX_OPTIONS
    pool = [s for s in DEFAULT_OXIDATION_STATES if s not in ("O", "S", "F", "Cl", "Br", "I")]
    assert math.comb(len(pool), 8) > MAX_OPTIONS
    assert "are too many" in refused(entry({"choose": 8, "from": pool}))


def test_more_compositions_than_can_be_gone_through_are_refused_at_once() -> None:
    cations = {"grid": ["Ca", "Sr", "Ba", "La", "Pr"], "step": "1/24"}
    metals = {"grid": ["Co", "Fe", "Mn", "Ni", "Cr"], "step": "1/24"}
    message = refused(entry(cations, metals, X={"grid": ["O", "F", "Cl"], "step": "1/80"}))
    assert "compositions; at most 1e+12 are gone through" in message


def test_lists_and_repeats_give_each_candidate_once_in_order() -> None:
    candidates = found(
        entry([{"Sr": 1}, {"choose": 1, "from": ["Ba", "Sr"]}], {"Ti": 1}),
        entry({"grid": ["Ba", "Ca"], "step": 1}, {"Ti": 1}),
        entry({"Ba": 1.0}, {"Ti": 1}),
    )
    assert [c.formula for c in candidates] == ["SrTiO3", "BaTiO3", "CaTiO3"]


def test_parameters_that_two_sites_share_move_together() -> None:
    shared = entry({"La": "1 - x", "Sr": "x"}, {"Fe": "1 - x", "Ti": "x"}, parameters={"x": [0, "1/2", 1]})
    assert [c.formula for c in found(shared)] == ["LaFeO3", "Sr0.5La0.5Ti0.5Fe0.5O3", "SrTiO3"]
    apart = entry({"La": "1 - x", "Sr": "x"}, {"Fe": "1 - y", "Ti": "y"}, parameters={"x": [0, "1/2"], "y": [0, "1/2"]})
    assert len(found(apart)) == 4


def test_a_choice_and_the_same_fractions_written_out_are_one_candidate() -> None:
    chosen = found(entry({"choose": 5, "from": FIVE}))
    written = found(entry(dict.fromkeys(reversed(FIVE), 0.2)))
    grid = found(entry({"grid": FIVE, "step": "1/5", "min": "1/5"}))
    assert chosen == written == grid


# Oxygen deficiency and charge


def test_a_stated_deficiency_empties_oxygen_sites() -> None:
    stated = found(entry(oxygen_deficiency=[0, 0.1, "1/4"]))
    assert [c.sites["X"].get(VACANCY, "0") for c in stated] == ["0", "1/30", "1/12"]
    assert [c.oxygen_deficiency for c in stated] == pytest.approx([0, 0.1, 0.25])
    assert [c.oxidation_states["Co"] for c in stated] == pytest.approx([3, 2.8, 2.5])
    assert [c.formula for c in stated] == ["LaCoO3", "LaCoO2.9", "LaCoO2.75"]
    assert found(entry(X={"O": "29/30", "vacancy": "1/30"})) == [stated[1]]


def test_all_trivalent_cobalt_of_the_flagship_needs_a_third_of_an_oxygen() -> None:
    # values.json: no vacancies +3.67, all Co3+ at delta = 1/3
    six = entry(dict.fromkeys([*FIVE, "Li"], "1/6"))
    (full,) = found(six)
    (solved,) = found(six, charge={"solve": "delta"})
    assert full.mean_B_valence == pytest.approx(11 / 3)
    assert full.charge_solved_for == "B_valence"
    assert solved.sites["X"] == {"O": "8/9", "vacancy": "1/9"}
    assert solved.oxygen_deficiency == pytest.approx(1 / 3)
    assert solved.mean_B_valence == 3
    assert solved.charge_solved_for == "delta"
    assert found(six | {"oxygen_deficiency": "solve"}) == [solved]
    # As a stated composition it is the same candidate, by name.
    assert found(six | {"oxygen_deficiency": "1/3"})[0].candidate_id == solved.candidate_id


def test_delta_is_solved_from_stated_valences() -> None:
    iron = entry({"Sr": 1}, {"Fe": 1})
    assert found(iron, charge={"solve": "delta"})[0].formula == "SrFeO2.5"
    assert found(iron, charge={"solve": "delta", "valence": {"Fe": 4}})[0].formula == "SrFeO3"
    assert "delta = 1;" in refused(iron, charge={"solve": "delta", "valence": {"Fe": 2}})
    (reduced,) = found(iron, charge={"solve": "delta", "valence": {"Fe": 2}, "max_delta": 1})
    assert reduced.formula == "SrFeO2"
    assert "expected at most 3" in refused(iron, charge={"solve": "delta", "max_delta": 4})
    assert "which oxygen vacancies compensate" in refused(entry(B={"Ti": 1}), charge={"solve": "delta"})
    assert "`charge: {solve: delta, valence: {Mo: 6}}`" in refused(entry(B={"Mo": 1}), charge={"solve": "delta"})


def test_a_deficiency_is_stated_once() -> None:
    assert "stated (0.1) and solved for" in refused(entry(oxygen_deficiency=0.1), charge={"solve": "delta"})
    assert "give one of the two" in refused(entry(X={"O": "1/2", "vacancy": "1/2"}, oxygen_deficiency=0.1))
    assert "must hold oxygen" in refused(entry({"K": 1}, {"Mg": 1}, X={"F": 1}), charge={"solve": "delta"})
    assert "which has 0" in refused(entry({"K": 1}, {"Mg": 1}, X={"F": 1}, oxygen_deficiency=0.1))
    assert "negative" in refused(entry(oxygen_deficiency="x - 1", parameters={"x": [0]}))
    assert "unknown parameter 'sovle'" in refused(entry(oxygen_deficiency="sovle"))


def test_what_cannot_be_balanced_is_refused_dropped_or_kept() -> None:
    mixture = entry({"grid": ["La", "Sr"], "step": "1/2"}, {"Ti": 1})
    message = refused(mixture)
    assert "LaTiO3" in message or "TiO3: cannot be charge-balanced" in message
    assert "unbalanced: drop" in message
    (kept,) = found(mixture, charge={"unbalanced": "drop"})
    assert kept.formula == "SrTiO3"
    everything = found(mixture, charge={"unbalanced": "keep"})
    assert [(c.charge_balanced, c.net_charge) for c in everything] == [(True, 0), (False, 0.5), (False, 1)]
    space = Space(campaign(mixture, charge={"unbalanced": "drop"}), where="here")
    assert sum(len(rows) for rows, _ in space.chunks()) == 1
    assert space.counts.unbalanced == 2
    assert space.counts.enumerated == 3


def test_a_kept_composition_is_as_neutral_as_it_can_be() -> None:
    (low,) = found(entry({"La": 1}, {"Fe": 1}, X={"F": 1}), charge={"unbalanced": "keep"})
    assert (low.net_charge, low.mean_B_valence) == (2, 2)
    (high,) = found(entry({"Li": 1}, {"Fe": 1}), charge={"unbalanced": "keep"})
    assert (high.net_charge, high.mean_B_valence) == (-1, 4)
    (solved,) = found(entry({"Sr": 1}, {"Fe": 1}), charge={"solve": "delta", "unbalanced": "keep", "max_delta": "1/5"})
    assert (solved.oxygen_deficiency, solved.net_charge) == (pytest.approx(0.2), pytest.approx(-0.6))


def test_an_entry_may_have_its_own_charge_rule() -> None:
    a, b = found(entry({"Sr": 1}, {"Fe": 1}), entry({"Sr": 1}, {"Fe": 1}, charge={"solve": "delta"}))
    assert (a.formula, b.formula) == ("SrFeO3", "SrFeO2.5")


# Conditions


def test_constraints_keep_what_fulfils_them() -> None:
    pool = entry({"grid": ["La", "Sr", "Ba", "Li"], "step": "1/4"}, {"grid": ["Co", "Fe"], "step": "1/2"})
    everything = found(pool, charge={"unbalanced": "drop"})
    checks: dict[str, Callable[[CandidateSpec], bool]] = {
        "0.95 <= tolerance_factor <= 1.02": lambda c: 0.95 <= (c.tolerance_factor or 0) <= 1.02,
        "bartel_tau < 4.18": lambda c: c.bartel_tau is not None and c.bartel_tau < 4.18,
        "mean_B_valence <= 3.5": lambda c: c.mean_B_valence <= 3.5,
        "radius_variance_A < 0.02": lambda c: (c.radius_variance_A or 0) < 0.02,
        "fraction(A, Li) >= 0.25": lambda c: Fraction(c.sites["A"].get("Li", 0)) >= Fraction(1, 4),
        "fraction(A, vacancy) > 0": lambda c: False,
        "n_species(A) >= 3 and n_species(B) == 2": lambda c: len(c.sites["A"]) >= 3 and len(c.sites["B"]) == 2,
        "not (configurational_entropy / 2 > 0.5 or fraction(A, Ba) > fraction(A, Sr))": lambda c: (
            c.configurational_entropy <= 1
            and Fraction(c.sites["A"].get("Ba", 0)) <= Fraction(c.sites["A"].get("Sr", 0))
        ),
    }
    for text, check in checks.items():
        expected = [c for c in everything if check(c)]
        if expected:
            assert len(expected) < len(everything)
            assert found(pool, charge={"unbalanced": "drop"}, constraints=[text]) == expected, text
        else:
            assert text in refused(pool, charge={"unbalanced": "drop"}, constraints=[text])


def test_bounds_are_met_in_spite_of_round_off() -> None:
    tenths = entry({"grid": ["La", "Sr"], "step": "1/10"})
    assert len(found(tenths, constraints=["fraction(A, Sr) >= 0.3", "fraction(A, Sr) <= 0.7"])) == 5
    assert len(found(tenths, constraints=["mean_B_valence == 3.3"])) == 1


def test_a_missing_descriptor_fulfils_nothing() -> None:
    # Sn2+ has no Shannon radius.
    tin = entry({"Cs": 1}, {"Sn": 1}, X={"I": 1})
    for text in ("tolerance_factor < 99", "tolerance_factor > -99", "tolerance_factor != 1"):
        assert f"1 fall to `{text}`" in refused(tin, oxidation_states={"Sn": 2}, constraints=[text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toleranze_factor < 1", "unknown name 'toleranze_factor'; did you mean 'tolerance_factor'"),
        ("tolerance_factor", "is not a comparison"),
        ("fraction(A) > 0", "expected something like fraction(A, Li)"),
        ("fraction(C, Li) > 0", "unknown site 'C'"),
        ("fraction(A, Xx) > 0", "unknown species 'Xx'"),
        ("n_species('A') > 0", "expected something like n_species(A)"),
        ("exec(A) > 0", "unknown function 'exec'"),
        ("__import__('os').system('true') > 0", "unknown function"),
        ("bartel_tau.real < 1", "not allowed"),
        ("bartel_tau < 'x'", "not allowed"),
        ("bartel_tau in (1, 2)", "use one of < <="),
        ("bartel_tau ** 2 < 1", "not allowed"),
        ("bartel_tau <", "cannot read"),
        ("(lambda: 1)() < 2", "unknown function"),
        ("1 < " * 200 + "2", "longer than"),
    ],
)
def test_bad_constraints_are_told_with_their_number(text: str, expected: str) -> None:
    message = refused(entry(), constraints=["bartel_tau < 9", text])
    assert message.startswith("here: constraints[1]: ")
    assert expected in message


def test_exclusions_are_of_elements_or_of_elements_together() -> None:
    pool = entry({"choose": 2, "from": ["La", "Pr", "Sr", "Pb"]})
    labels = {c.label for c in found(pool, exclude=["Pb", "La & Pr", "Co & Zr"])}
    assert labels == {"(Sr,La)CoO3", "(Sr,Pr)CoO3"}
    assert "exclude[0]: unknown element 'Px'" in refused(pool, exclude=["Px"])
    # What is excluded need not be neutral.
    assert len(found(entry({"grid": ["Sr", "La"], "step": 1}, {"Ti": 1}), exclude=["La"])) == 1


def test_an_empty_space_says_how_many_fell_to_what() -> None:
    mixture = entry({"choose": 1, "from": ["La", "Sr", "Ba", "Ca"]}, {"choose": 1, "from": ["Ti", "Zr"]})
    message = refused(
        mixture, charge={"unbalanced": "drop"}, exclude=["Ba"], constraints=["bartel_tau < 0", "bartel_tau < 1"]
    )
    assert "no composition is left of 8: 2 hold Ba; 2 cannot be charge-balanced; 4 fall to `bartel_tau < 0`." in message


# One implementation, scalar and streamed


def streamed(spec: CampaignSpec, size: int) -> list[CandidateSpec]:
    return [c for rows, columns in Space(spec, where="here").chunks(size) for c in specs(rows, columns)]


@pytest.mark.parametrize("charge", [{"unbalanced": "drop"}, {"unbalanced": "keep"}], ids=str)
def test_streamed_rows_equal_candidates_made_one_by_one(charge: dict[str, str]) -> None:
    spec = campaign(MIXED, charge=charge)
    rule = ChargeRule(unbalanced=charge["unbalanced"])  # type: ignore[arg-type]
    everything = streamed(spec, 64)
    assert len(everything) > 100
    for candidate in random.Random(0).sample(everything, 60):
        alone = make_candidate(exact_sites(candidate), DEFAULT_OXIDATION_STATES, rule=rule)
        assert alone.candidate_id == candidate.candidate_id
        for name in ("mean_B_valence", "net_charge", *UNITS):
            mine, its = getattr(candidate, name), getattr(alone, name)
            assert mine == pytest.approx(its, rel=1e-7, abs=1e-12) if its is not None else mine is None, name
        if candidate.charge_balanced:
            exact = balance_charge(exact_sites(candidate), DEFAULT_OXIDATION_STATES, where="")
            assert candidate.oxidation_states == {s: round(float(q), 6) for s, q in sorted(exact.items())}


def test_solved_deficiencies_equal_those_of_candidates_made_one_by_one() -> None:
    open_oxide = {k: v for k, v in MIXED.items() if k not in ("parameters", "oxygen_deficiency")} | {
        "A": {"choose": 2, "from": ["La", "Sr", "Ba", "Bi"], "total": "5/6", "Li": "1/12", "vacancy": "1/12"}
    }
    everything = streamed(campaign(open_oxide, charge={"solve": "delta", "unbalanced": "drop"}), 7)
    assert len({c.oxygen_deficiency for c in everything}) == 5
    for candidate in everything:
        full = exact_sites(candidate)
        full["X"]["O"] += full["X"].pop(VACANCY, Fraction(0))
        assert make_candidate(full, DEFAULT_OXIDATION_STATES, rule=ChargeRule("delta")) == candidate
        total = sum(
            x * (3 if site == "X" else 1) * Fraction(str(candidate.oxidation_states[s]))
            for site, species in exact_sites(candidate).items()
            for s, x in species.items()
            if s != VACANCY
        )
        assert total == 0


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 500))
def test_the_size_of_chunks_changes_nothing(size: int) -> None:
    spec = campaign(MIXED, FLAGSHIP, charge={"unbalanced": "drop"}, constraints=["bartel_tau < 4"], exclude=["Al & Bi"])
    space = Space(spec, where="here")
    ids = [render(rows.words()).tobytes() for rows, _ in space.chunks(size)]
    counts = space.counts.to_json()
    reference = Space(spec, where="here")
    assert b"".join(ids) == b"".join(render(rows.words()).tobytes() for rows, _ in reference.chunks())
    assert counts == reference.counts.to_json()
    lost = counts["given_twice"] + counts["dropped_by_charge"]
    lost += sum(counts["excluded"].values()) + sum(counts["dropped_by_constraint"].values())
    assert counts["enumerated"] == len(space) == counts["kept"] + lost


def test_compositions_of_several_blocks_count_once() -> None:
    line = entry({"La": "1 - x", "Sr": "x"}, {"Co": "1 - x", "Fe": "x"}, parameters={"x": [0, "1/2", 1]})
    square = entry({"grid": ["La", "Sr"], "step": "1/2"}, {"grid": ["Co", "Fe"], "step": "1/2"})
    space = Space(campaign(line, square, line), where="here")
    names = np.concatenate([rows.words() for rows, _ in space.chunks(2)])
    assert len(names) == len(np.unique(names)) == 9
    assert space.counts.twice == 6
    assert space.counts.enumerated == 15


# Names


def test_names_of_a_million_compositions_differ() -> None:
    pool = ["La", "Pr", "Nd", "Sm", "Gd", "Y", "Bi", "Sr", "Ba", "Ca"]
    spec = campaign(
        entry({"choose": 5, "from": pool}, {"grid": ["Cr", "Mn", "Fe", "Co", "Ni"], "step": "1/12"}),
        charge={"unbalanced": "drop"},
    )
    names = np.concatenate([rows.words() for rows, _ in Space(spec, where="here").chunks()])
    assert len(names) > 400_000
    assert len(np.unique(names)) == len(names)
    # Well mixed: every bit is set in half of them.
    set_bits = np.unpackbits(names.view(np.uint8)).reshape(len(names), 64).mean(axis=0)
    assert np.abs(set_bits - 0.5).max() < 0.01


SITE = st.dictionaries(st.sampled_from([*FIVE, "Li", VACANCY]), st.integers(0, 6), min_size=1, max_size=5)


@given(SITE, SITE, st.randoms(use_true_random=False))
def test_names_depend_on_content_only(A: dict[str, int], B: dict[str, int], shuffle: random.Random) -> None:
    def exact(site: Mapping[str, int]) -> dict[str, Fraction]:
        return {s: Fraction(n, max(1, sum(site.values()))) for s, n in site.items()}

    def shuffled(site: dict[str, Fraction]) -> dict[str, Fraction]:
        items = [*site.items(), ("Zr", Fraction(0))]
        shuffle.shuffle(items)
        return dict(items)

    sites = {"A": exact(A), "B": exact(B), "X": {"O": Fraction(1)}}
    name = candidate_id(sites)
    assert candidate_id({site: shuffled(species) for site, species in reversed(sites.items())}) == name
    swapped = {"A": sites["B"], "B": sites["A"], "X": sites["X"]}
    same = {s: x for s, x in sites["A"].items() if x} == {s: x for s, x in sites["B"].items() if x}
    assert (candidate_id(swapped) == name) == same


def test_A_and_B_may_not_be_swapped() -> None:
    a = make_candidate({"A": {"La": 1}, "B": {"Y": 1}}, DEFAULT_OXIDATION_STATES)
    b = make_candidate({"A": {"Y": 1}, "B": {"La": 1}}, DEFAULT_OXIDATION_STATES)
    assert a.candidate_id != b.candidate_id


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_names_are_written_as_sixteen_hexadecimal_digits(words: list[int]) -> None:
    text = render(np.array(words, np.uint64)).tobytes().decode()
    assert text == "".join(f"hm-{word:016x}" for word in words)


def test_vectorised_names_equal_single_ones() -> None:
    space = Space(campaign(MIXED, charge={"unbalanced": "drop"}), where="here")
    for rows, _ in space.chunks(100):
        for n, word in enumerate(rows.words().tolist()):
            assert candidate_id(sites_of(rows, n)) == f"hm-{word:016x}"
    a, b, x = (np.array([site_word(s, {"O": Fraction(1)})], np.uint64) for s in "ABX")
    assert combine(a, b, x) != combine(b, a, x)


# Descriptors


def test_means_and_variances_are_over_the_ions() -> None:
    (c,) = found(entry({"La": "1/2", "Li": "1/3", "vacancy": "1/6"}, {"Ti": 1}), charge={"unbalanced": "keep"})
    la, li, w = 1.36, 0.92, 3 / 5  # Shannon; three of five ions are La
    assert c.radius_mean_A == pytest.approx(w * la + (1 - w) * li)
    assert c.radius_variance_A == pytest.approx(w * (1 - w) * (la - li) ** 2)
    assert c.mean_A_valence == pytest.approx(w * 3 + (1 - w) * 1)
    assert c.valence_variance_A == pytest.approx(w * (1 - w) * 4)
    assert c.electronegativity_mean_A == pytest.approx(w * 1.10 + (1 - w) * 0.98)
    assert c.electronegativity_variance_A == pytest.approx(w * (1 - w) * 0.12**2)
    assert c.octahedral_factor == pytest.approx(0.605 / 1.40)
    assert c.radius_variance_B == c.electronegativity_variance_B == c.valence_variance_B == 0
    entropy = -sum(x * math.log(x) for x in (1 / 2, 1 / 3, 1 / 6))
    assert c.entropy_A == c.configurational_entropy == pytest.approx(entropy, rel=1e-7)
    assert c.entropy_per_atom == pytest.approx(entropy / (5 - 1 / 6), rel=1e-7)


def test_variance_of_equal_radii_is_zero_for_any_fractions() -> None:
    # Zr4+ 0.72 and Nb3+ 0.72, Mg2+ 0.72
    (c,) = found(entry({"La": 1}, {"Zr": "1/3", "Mg": "2/3"}), charge={"unbalanced": "keep"})
    assert c.radius_variance_B == 0


@pytest.mark.parametrize(("tau", "probability"), [
    (1.64, 0.98), (2.31, 0.95), (3.32, 0.84), (3.58, 0.78), (3.75, 0.72), (3.95, 0.64), (4.07, 0.58), (4.18, 0.53),
    (4.34, 0.46), (4.46, 0.40), (4.80, 0.27), (5.46, 0.13), (6.43, 0.05), (7.18, 0.02), (10.97, 0.0),
])  # fmt: skip
def test_probabilities_are_those_that_the_authors_of_tau_tabulate(tau: float, probability: float) -> None:
    # Table S1 of doi:10.1126/sciadv.aav0693, tau and probability with two digits
    assert tau_probability(np.array([tau]))[0] == pytest.approx(probability, abs=0.02)


def test_probability_falls_with_tau_and_is_a_probability() -> None:
    p = tau_probability(np.linspace(-50, 2000, 5000))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) <= 0).all()


def test_masses_and_supply_are_those_of_pymatgen() -> None:
    from pymatgen.analysis.hhi import HHIModel

    for formula in ("SrTiO3", "LaCoO2.9", "Ba0.5Sr0.5Co0.8Fe0.2O3"):
        c, _ = candidate_from_formula(formula)
        whole = Composition(formula)
        assert c.molar_mass == pytest.approx(float(whole.weight), rel=1e-6)
        production, reserve = HHIModel().get_hhi(whole)
        assert (c.hhi_production, c.hhi_reserve) == pytest.approx((production, reserve), rel=1e-6)


def test_cost_and_scarcity_are_of_the_cations() -> None:
    (c,) = found(entry({"Sr": 1}, {"Ti": 1}))
    sr, ti, o = 87.62, 47.867, 15.9994
    assert c.raw_material_cost == pytest.approx((sr * 1.160 + ti * 14.76) / (sr + ti + 3 * o), rel=1e-4)
    # CRC: 370 and 5650 mg/kg
    expected = -(sr * math.log10(370e-6) + ti * math.log10(5650e-6)) / (sr + ti)
    assert c.scarcity == pytest.approx(expected, rel=1e-6)
    (potassium,) = found(entry({"K": 1}, {"Ta": 1}))
    assert potassium.raw_material_cost is None
    (cobalt,), (iron,) = found(entry()), found(entry(B={"Fe": 1}))
    assert cobalt.scarcity > iron.scarcity  # type: ignore[operator]
    assert cobalt.raw_material_cost > iron.raw_material_cost  # type: ignore[operator]


def test_every_descriptor_is_a_field_of_a_candidate_and_of_queries() -> None:
    for name in (*UNITS, "oxygen_deficiency", "net_charge"):
        assert name in CandidateSpec.model_fields
        assert fields_of()[name].path == f"candidate.{name}"


def test_fractions_too_fine_for_exact_charges_are_refused() -> None:
    primes = ["1/1009", "1/1013", "1/1019", "1/1021", "1/1031"]
    rest = 1 - sum(map(Fraction, primes))
    message = refused(entry(dict(zip(FIVE, primes, strict=True)) | {"Ca": str(rest)}))
    assert "no common denominator" in message


# Parquet


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize("row_group", [1, 7, 100, 10**6])
def test_a_file_holds_what_the_candidates_hold(tmp_path: Path, row_group: int) -> None:
    spec = campaign(MIXED, FLAGSHIP, charge={"unbalanced": "keep"}, oxidation_states={"Bi": [3, 4]})
    path = tmp_path / "space.parquet"
    counts = write_space(Space(spec, where="here"), spec, path, row_group=row_group)
    rows = table(path)
    expected = streamed(spec, 1000)
    assert len(rows) == len(expected) == counts.kept
    nulls = 0
    for row, candidate in zip(rows, expected, strict=True):
        assert row["candidate_id"] == candidate.candidate_id
        assert row["charge_balanced"] == candidate.charge_balanced
        for site in "ABX":
            assert dict(pair.split(":") for pair in row[site].split()) == candidate.sites[site]
        for name in ("net_charge", "oxygen_deficiency", *UNITS):
            value = getattr(candidate, name)
            nulls += value is None
            assert row[name] == (None if value is None else pytest.approx(value, rel=2e-7, abs=1e-7))
    assert nulls  # Bi4+ has no radius
    assert {p.name for p in tmp_path.iterdir()} == {"space.parquet"}


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    spec = campaign(FLAGSHIP, charge={"solve": "delta"})
    path = tmp_path / "space.parquet"
    write_space(Space(spec, where="here"), spec, path)
    file = pq.ParquetFile(path)
    about = {k.decode(): v.decode() for k, v in file.metadata.metadata.items() if k.startswith(b"hemiec")}
    assert CampaignSpec.model_validate_json(about["hemiec_campaign"]) == spec
    assert json.loads(about["hemiec_units"])["molar_mass"] == "g/mol"
    assert "10.1126/sciadv.aav0693" in about["hemiec_sources"]
    assert json.loads(about["hemiec_counts"])["kept"] == file.metadata.num_rows == 5
    assert about["hemiec_version"]
    assert file.schema_arrow.field("radius_mean_A").metadata == {b"unit": b"angstrom"}


class _Broken:
    """A writer that fails after the first row group."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.n = error, 0

    def __call__(self, rows: object, columns: object) -> None:
        self.n += 1
        if self.n == 2:
            raise self.error


@pytest.mark.parametrize(
    ("error", "expected", "match"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreError, "disk is full; nothing was written"),
        (OSError("Error writing bytes: [errno 28] No space left on device"), StoreError, "disk is full"),
        (OSError(errno.EIO, "Input/output error"), StoreError, "cannot be written"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
    ids=["full", "full, told by Arrow", "broken", "Ctrl-C"],
)  # fmt: skip
def test_a_failed_write_leaves_the_old_file_and_no_half_one(
    tmp_path: Path, error: BaseException, expected: type[BaseException], match: str | None, monkeypatch: Any
) -> None:
    spec = campaign(MIXED, FLAGSHIP, charge={"unbalanced": "drop"})
    path = tmp_path / "space.parquet"
    path.write_text("old")
    with pytest.raises(expected, match=match):
        write_space(Space(spec, where="here"), spec, path, row_group=10, on_chunk=_Broken(error))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["space.parquet"]


def test_a_disk_that_is_really_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def at_dev_full(**_: object) -> tuple[int, str]:
        link = tmp_path / "part"
        link.symlink_to("/dev/full")  # every write to it fails with ENOSPC
        return os.open(os.devnull, os.O_RDONLY), str(link)

    monkeypatch.setattr(parquet.tempfile, "mkstemp", at_dev_full)
    spec = campaign(MIXED, charge={"unbalanced": "drop"})
    with pytest.raises(StoreError, match="disk is full"):
        write_space(Space(spec, where="here"), spec, tmp_path / "space.parquet", row_group=10)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    spec = campaign(FLAGSHIP)
    with pytest.raises(StoreError, match=r"none/space\.parquet: cannot be written \(No such file"):
        write_space(Space(spec, where="here"), spec, tmp_path / "none" / "space.parquet")


def test_a_refused_space_leaves_no_file(tmp_path: Path) -> None:
    spec = campaign(entry({"grid": ["Sr", "La"], "step": 1}, {"Ti": 1}))
    with pytest.raises(CompositionError, match="charge"):
        write_space(Space(spec, where="here"), spec, tmp_path / "space.parquet")
    assert list(tmp_path.iterdir()) == []


# The command


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Result]]:
    def invoke(content: Mapping[str, Any] | CampaignSpec, *arguments: str) -> Result:
        path = tmp_path / "campaign.yaml"
        path.write_text(yaml.safe_dump({"name": "t", **content}, sort_keys=False))
        return CliRunner().invoke(cli, ["space", str(path), *arguments], catch_exceptions=True)

    import logging
    import warnings

    with warnings.catch_warnings():
        yield invoke
    logging.disable(logging.NOTSET)


LARGE: dict[str, Any] = {
    "space": [
        entry({"choose": 5, "from": [*FIVE, "Ca", "Y", "Sm", "Gd"]}, {"grid": ["Co", "Fe", "Mn"], "step": "1/6"})
    ],
    "charge": {"unbalanced": "drop"},
    "constraints": ["tolerance_factor > 0.95"],
}


def test_large_spaces_show_counts_and_the_first(run: Callable[..., Result], tmp_path: Path) -> None:
    n = math.comb(9, 5) * math.comb(8, 2)
    shown = run(LARGE)
    assert shown.exit_code == 0, shown.output
    assert f"{n:,} compositions: " in shown.output
    assert "fall to `tolerance_factor > 0.95`" in shown.output
    assert shown.output.count("hm-") == 20
    assert run(LARGE, "--limit", "3").output.count("hm-") == 3
    listed = json.loads(run(LARGE, "--json", "--limit", "2").stdout)
    assert listed["n"] == listed["counts"]["kept"] < listed["counts"]["enumerated"] == n
    assert len(listed["candidates"]) == 2
    rows = list(csv.DictReader(io.StringIO(run(LARGE, "--csv", "--limit", "4").stdout)))
    assert len(rows) == 4
    path = tmp_path / "all.parquet"
    assert run(LARGE, "--parquet", str(path), "--limit", "0").exit_code == 0
    ids = [row["candidate_id"] for row in table(path)]
    assert len(ids) == listed["n"] == len(set(ids))
    assert ids[:2] == [c["candidate_id"] for c in listed["candidates"]]


def test_small_spaces_are_listed_and_checked_in_full(run: Callable[..., Result]) -> None:
    small = {"space": [FLAGSHIP], "protocols": {"gap": None}}
    listed = json.loads(run(small | {"sqs": {"max_atoms": 120}}, "--json").stdout)
    assert set(listed) >= {"campaign", "n", "candidates"}
    assert listed["n"] == len(listed["candidates"]) == 5
    refused = run(small | {"sqs": {"max_atoms": 100}})
    assert "120" in str(refused.exception)


def test_campaigns_of_too_many_candidates_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(yaml.safe_dump({"name": "large", **LARGE, "constraints": []}))
    monkeypatch.setattr("hemiec.workflows.campaign.MAX_CANDIDATES", 2_000)
    assert math.comb(9, 5) * math.comb(8, 2) > 2_000
    with pytest.raises(
        CompositionError, match=r"more than 2,000 candidates.*Mend: narrow it with `constraints`.*--parquet"
    ):
        load_campaign(path)


# Thermochemistry of what has vacancies or fluorine


def test_formation_energies_use_the_composition_with_its_vacancies() -> None:
    (full,) = found(entry({"Sr": 1}, {"Fe": 1}))
    (deficient,) = found(entry({"Sr": 1}, {"Fe": 1}), charge={"solve": "delta"})
    (lithium,) = found(entry({"Li": "1/2", "La": "1/2"}, {"Ti": 1}), oxidation_states={"La": 3})
    assert composition(deficient) == Composition("SrFeO2.5")
    assert composition(lithium) == Composition("Li0.5La0.5TiO3")
    energies = {phase.phase_id: -1.0 * n for n, phase in enumerate(required_phases(full), 1)}
    assert {p.phase_id for p in required_phases(deficient)} == set(energies)
    elements = from_elements(deficient, -5.0, energies, 0.0)
    mu = {phase.cation: energies[phase.phase_id] for phase in required_phases(full) if phase.oxidation_state == 0}
    assert elements.value == pytest.approx(-5.0 - (mu["Sr"] + mu["Fe"] + 2.5 * mu["O"]) / 4.5)
    # SrO + 1/2 Fe2O3 -> SrFeO2.5: no oxygen is exchanged
    assert "O2 " not in from_oxides(deficient, -5.0, energies, 0.0).reaction.replace("O2.5", "")
    assert from_oxides(full, -5.0, energies, 0.0).reaction.startswith("1 SrO + 0.5 Fe2O3 + 0.25 O2")
    made = from_elements(full, -5.0, energies, 0.0, made=Composition("Sr10Fe10O25"))
    assert made.value == pytest.approx(elements.value)


def test_oxyfluorides_form_from_the_elements_and_not_from_oxides() -> None:
    (fluoride,) = found(entry({"Ba": 1}, {"Fe": 1}, X={"O": "2/3", "F": "1/3"}))
    phases = required_phases(fluoride)
    assert {phase.formula for phase in phases} == {"Ba", "Fe", "O2", "F2"}
    with pytest.raises(ThermoError, match=r"BaFeO2F: binary oxides are no reference.*\(F\)"):
        from_oxides(fluoride, -5.0, {}, 0.0)
    made = from_elements(fluoride, -5.0, {p.phase_id: -1.0 for p in phases}, 0.0)
    assert made.value == pytest.approx(-4.0) and made.reaction == "1 Ba + 1 Fe + 1 O2 + 0.5 F2 -> BaFeO2F"
