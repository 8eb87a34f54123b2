"""What is said of a candidate's stability: products, ordered competitors, intervals.

Energies are invented; no potential gave them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition
from scipy import stats
from scipy.optimize import linprog

from hemiec.errors import ThermoError
from hemiec.schemas.thermo import HullDoc, PhaseAmount
from hemiec.thermo.formation import composition
from hemiec.thermo.hull.ordered import ordered_mixture
from hemiec.thermo.hull.stability import hull_doc
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.uncertainty import ModelError, combined_interval

#: In eV/atom.
ENERGIES = {
    **{"La": -4.9, "Sr": -1.7, "Co": -7.1, "Fe": -8.4, "Li": -1.9, "Nb": -10.1, "O2": -4.9, "Cs": -0.9, "Pb": -3.7},
    **{"F2": -1.9, "Cl2": -1.8, "CsPbF3": -4.9, "CsPbCl3": -3.4},
    **{"La2O3": -8.4, "SrO": -6.1, "CoO": -6.4, "Co3O4": -6.4, "Fe2O3": -6.8, "Li2O": -4.8, "LiCoO2": -5.9},
    **{"LaCoO3": -7.7, "LaFeO3": -8.1, "SrCoO3": -6.3, "SrFeO3": -6.7, "LiNbO3": -7.5, "SrCoO2": -6.9},
}


def phase_set(energies: Mapping[str, float] = ENERGIES) -> PhaseSet:
    return PhaseSet(
        PhaseEnergy(f"{formula}-x", Composition(formula), energy, "hash", f"job-{formula}")
        for formula, energy in energies.items()
    )


PHASES = phase_set()


def doc(candidate: Any, energies: list[float], model_error: ModelError | None = None, **changes: Any) -> HullDoc:
    about = {"energies": {f"job-{n}": energy for n, energy in enumerate(energies)}, "phases": PHASES, "protocol": "p"}
    return hull_doc(candidate, composition(candidate), model_error=model_error, **(about | changes))


def shares(amounts: list[PhaseAmount]) -> dict[str, float]:
    return {entry.formula: entry.amount for entry in amounts}


# The document


def test_a_solid_solution_against_its_end_members(candidate: Any) -> None:
    c = candidate({"La": "3/5", "Sr": "2/5"}, {"Co": 1})
    between = 0.6 * -7.7 + 0.4 * -6.3
    found = doc(c, [between + 0.01, between + 0.03], ModelError(0.02, "a set"))
    assert found.ordered and shares(found.ordered) == pytest.approx({"LaCoO3": 0.6, "SrCoO3": 0.4})
    assert found.energy_above_ordered.value == pytest.approx(0.02)
    assert found.energy_above_hull.value >= found.energy_above_ordered.value - 1e-9  # the hull has more phases
    assert found.chemsys == "Co-La-O-Sr"
    assert found.n_phases == len(PHASES.within({"La", "Sr", "Co", "O"}))
    for quantity in (found.energy_above_hull, found.energy_above_ordered):
        assert (quantity.n, quantity.unit, quantity.protocol_hash) == (2, "eV/atom", "hash")
        assert quantity.std == pytest.approx(0.02 / sqrt(2))
        assert quantity.max - quantity.min == pytest.approx(0.02)
        assert quantity.interval == pytest.approx(
            combined_interval([quantity.min, quantity.max], ModelError(0.02, "a set"))
        )
        assert quantity.job_uuids == ["job-0", "job-1"]
        assert "0.020 eV/atom (a set)" in quantity.method
    products = {f"job-{entry.formula}" for entry in found.decomposition}
    assert set(found.energy_above_hull.reference_job_uuids) == products
    assert sum(shares(found.decomposition).values()) == pytest.approx(1)
    assert HullDoc.model_validate(found.to_mongo()) == found


def test_a_candidate_below_the_hull_has_a_negative_energy(candidate: Any) -> None:
    c = candidate({"La": 1}, {"Co": 1})
    without = phase_set({formula: energy for formula, energy in ENERGIES.items() if formula != "LaCoO3"})
    found = doc(c, [-7.7], phases=without)
    assert found.energy_above_hull.value < -0.1
    assert found.energy_above_hull.interval is None
    assert found.energy_above_other_compositions == pytest.approx(found.energy_above_hull.value)
    # With itself, or a polymorph of its energy, among the phases: nothing above it, and as far from all others.
    beside = doc(c, [-7.7])
    assert beside.energy_above_hull.value == pytest.approx(0, abs=1e-12)
    assert beside.energy_above_other_compositions == pytest.approx(found.energy_above_hull.value)


def test_no_energy_is_refused(candidate: Any) -> None:
    with pytest.raises(ThermoError, match="one relaxed cell or more"):
        doc(candidate({"La": 1}, {"Co": 1}), [])
    with pytest.raises(ThermoError, match="element Ni is missing"):
        doc(candidate({"La": 1}, {"Ni": 1}), [-5.0])


# Ordered competitors


def test_vacancies_take_up_oxygen(candidate: Any) -> None:
    """La0.5Sr0.5CoO2.75 + 1/8 O2 -> (LaCoO3 + SrCoO3)/2."""
    c = candidate({"La": "1/2", "Sr": "1/2"}, {"Co": 1}, {"O": "11/12", "vacancy": "1/12"}, Co=(2, 4))
    found = ordered_mixture(c, composition(c), PHASES)
    assert found.amounts == pytest.approx({"LaCoO3-x": 2.5 / 4.75, "SrCoO3-x": 2.5 / 4.75, "O2-x": -0.25 / 4.75})
    assert sum(found.amounts.values()) == pytest.approx(1)
    by_hand = (2.5 * -7.7 + 2.5 * -6.3 - 0.25 * -4.9) / 4.75
    assert found.energy_per_atom == pytest.approx(by_hand)
    assert ordered_mixture(c, composition(c) * 8, PHASES).energy_per_atom == pytest.approx(by_hand)


def test_of_two_mixtures_the_lower_is_taken(candidate: Any) -> None:
    """LaCoO3 + SrFeO3 or LaFeO3 + SrCoO3: the same cations."""
    c = candidate({"La": "1/2", "Sr": "1/2"}, {"Co": "1/2", "Fe": "1/2"})
    found = ordered_mixture(c, composition(c), PHASES)
    assert found.energy_per_atom == pytest.approx(min(-7.7 - 6.7, -8.1 - 6.3) / 2)
    lower = ordered_mixture(c, composition(c), phase_set(ENERGIES | {"LaCoO3": -7.8}))
    assert lower.amounts == pytest.approx({"LaCoO3-x": 0.5, "SrFeO3-x": 0.5})
    # Cations of one site alone are no perovskite, whatever their energy.
    not_ordered = phase_set(ENERGIES | {"LaSrO3": -20.0, "FeCoO3": -20.0})
    assert ordered_mixture(c, composition(c), not_ordered).energy_per_atom == pytest.approx(found.energy_per_atom)
    # An ordered double perovskite is a competitor too.
    double = ordered_mixture(c, composition(c), phase_set(ENERGIES | {"LaSrCoFeO6": -7.5}))
    assert double.amounts == pytest.approx({"LaSrCoFeO6-x": 1.0})


def test_a_pair_without_a_perovskite_has_its_layered_phase(candidate: Any) -> None:
    c = candidate({"La": "3/4", "Li": "1/4"}, {"Co": 1})
    found = ordered_mixture(c, composition(c), PHASES)
    # 3/4 LaCoO3 + 1/4 LiCoO2 + 1/8 O2
    assert found.amounts == pytest.approx({"LaCoO3-x": 0.75, "LiCoO2-x": 0.2, "O2-x": 0.05})
    # SrCoO2 and oxygen lie below SrCoO3, which is there and stands for the pair.
    sr = candidate({"Sr": 1}, {"Co": 1})
    assert ordered_mixture(sr, composition(sr), PHASES).amounts == pytest.approx({"SrCoO3-x": 1.0})


def test_many_cations_are_mixed_as_a_linear_program_mixes_them(candidate: Any) -> None:
    """Amounts of every pair of La, Sr, Ba, Ca with Co, Fe, Mn, Ti; the oxygen of all of them is the same."""
    generator = np.random.default_rng(0)
    on_A, on_B = ("La", "Sr", "Ba", "Ca"), ("Co", "Fe", "Mn", "Ti")
    pairs = [(a, b) for a in on_A for b in on_B]
    energies = {f"{a}{b}O3": float(generator.normal(-7, 0.3)) for a, b in pairs}
    phases = phase_set({"O2": -4.9} | energies)
    balance = [[float(symbol in pair) for pair in pairs] for symbol in (*on_A, *on_B)]
    for _ in range(20):
        shares = [generator.multinomial(12, np.ones(4) / 4) for _ in range(2)]
        A, B = (
            {s: f"{n}/12" for s, n in zip(on, ns, strict=True) if n}
            for on, ns in zip((on_A, on_B), shares, strict=True)
        )
        c = candidate(A, B, Ti=(2, 4))
        amounts = [composition(c)[symbol] for symbol in (*on_A, *on_B)]
        lowest = linprog(list(energies.values()), A_eq=balance, b_eq=amounts).fun
        found = ordered_mixture(c, composition(c), phases)
        assert found.energy_per_atom == pytest.approx(lowest, abs=1e-8)
        for symbol in (*on_A, *on_B):
            held = sum(n / 5 for phase_id, n in found.amounts.items() if symbol in phases[phase_id].elements)
            assert 5 * held == pytest.approx(composition(c)[symbol], abs=1e-8)


def test_halides_exchange_their_own_element(candidate: Any) -> None:
    c = candidate({"Cs": 1}, {"Pb": 1}, {"F": "1/2", "Cl": "1/2"})
    found = ordered_mixture(c, composition(c), PHASES)
    fluoride = (5 * -4.9 - 1.5 * -1.9 + 1.5 * -1.8) / 5
    chloride = (5 * -3.4 - 1.5 * -1.8 + 1.5 * -1.9) / 5
    assert found.energy_per_atom == pytest.approx(min(fluoride, chloride))
    assert sum(found.amounts.values()) == pytest.approx(1)


def test_cations_that_no_mixture_has_are_a_reason(candidate: Any) -> None:
    unequal = candidate({"La": "9/10", "vacancy": "1/10"}, {"Fe": 1}, Fe=(2, 4))
    found = doc(unequal, [-8.0])
    assert found.energy_above_ordered.value is None
    assert "no mixture of the phases has that composition" in (found.energy_above_ordered.reason or "")
    assert "LaFeO3" in (found.energy_above_ordered.reason or "")
    assert found.ordered == []
    assert found.energy_above_hull.value is not None
    # Nb is held by LiNbO3, of which the candidate has no lithium.
    none = candidate({"Sr": 1}, {"Nb": 1}, Nb=4)
    with pytest.raises(ThermoError, match="no ordered ABX3 phase of its cations holds Nb, Sr"):
        ordered_mixture(none, composition(none), PHASES)


def test_a_species_on_both_sites_is_counted_once(candidate: Any) -> None:
    c = candidate({"La": "1/2", "Fe": "1/2"}, {"Fe": 1}, Fe=(2, 4))
    with pytest.raises(ThermoError, match="no mixture"):
        ordered_mixture(c, composition(c), PHASES)
    # FeFeO3 would have to be an ordered phase of A and B: hematite is not.


# Intervals

values = st.lists(st.floats(-1, 1), min_size=2, max_size=8)
errors = st.floats(0, 0.2)


def width(found: tuple[float, float] | None) -> float:
    assert found is not None
    return found[1] - found[0]


@given(values=values)
def test_without_a_model_error_it_is_students_interval(values: list[float]) -> None:
    low, high = combined_interval(values, None) or (0, 0)
    expected = stats.t.interval(0.9, len(values) - 1, mean(values), max(stdev(values), 1e-300) / sqrt(len(values)))
    assert (low, high) == pytest.approx(expected, abs=1e-9)
    assert combined_interval(values, ModelError(0, "none")) == pytest.approx((low, high))


@given(value=st.floats(-1, 1), n=st.integers(1, 6), error=errors)
def test_without_scatter_it_is_that_of_the_model(value: float, n: int, error: float) -> None:
    found = combined_interval([value] * n, ModelError(error, "a set"))
    assert found == pytest.approx(stats.norm.interval(0.9, value, max(error, 1e-300)), abs=1e-9)


@given(values=values, error=errors, more=st.floats(1.0, 3.0))
def test_it_grows_with_either_error_and_holds_both(values: list[float], error: float, more: float) -> None:
    found = combined_interval(values, ModelError(error, "a set"))
    assert mean(found or ()) == pytest.approx(mean(values), abs=1e-9)
    assert width(found) >= width(combined_interval(values, None)) - 1e-12
    assert width(found) >= width(combined_interval(values[:1], ModelError(error, "a set"))) - 1e-12
    assert width(combined_interval(values, ModelError(error * more, "a set"))) >= width(found) - 1e-12
    spread = [mean(values) + more * (value - mean(values)) for value in values]
    assert width(combined_interval(spread, ModelError(error, "a set"))) >= width(found) - 1e-9


def test_half_widths_add_as_squares() -> None:
    # Two values 0.02 apart: t(0.95, 1) = 6.313752, standard error 0.01; 1.644854 times 0.03 for the model.
    found = combined_interval([0.0, 0.02], ModelError(0.03, "a set"))
    half_width = sqrt(0.06313752**2 + 0.04934562**2)
    assert found == pytest.approx((0.01 - half_width, 0.01 + half_width), abs=1e-7)


def test_one_structure_without_a_model_error_has_no_interval() -> None:
    assert combined_interval([0.1], None) is None
    assert combined_interval([0.1], ModelError(0.01, "a set")) == pytest.approx((0.1 - 0.0164485, 0.1 + 0.0164485))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1])
def test_errors_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ThermoError, match="model error"):
        ModelError(bad, "a set")


def test_values_that_are_not_finite_have_no_interval() -> None:
    with pytest.raises(ThermoError, match="finite"):
        combined_interval([], None)
    with pytest.raises(ThermoError, match="finite"):
        combined_interval([0.0, float("nan")], None)
