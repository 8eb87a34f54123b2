"""Mixing entropy and what it decides."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hemiec.errors import ThermoError
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import EntropyDoc
from hemiec.thermo.entropy import TEMPERATURES_K, decide, entropy_doc, mixing_entropy
from hemiec.units import BOLTZMANN_EV_PER_K as K_B

FIVE = dict.fromkeys(("La", "Y", "Sr", "Ba", "Ca"), "1/5")


def above_hull(value: float | None, half_width: float | None = 0.01) -> Quantity:
    """Return an invented energy above the hull, in eV/atom."""
    interval = None if value is None or half_width is None else (value - half_width, value + half_width)
    reason = "the cell has not relaxed" if value is None else None
    return Quantity(value=value, unit="eV/atom", method="invented", interval=interval, reason=reason)


# Limits


def test_a_single_species_does_not_mix(candidate: Any) -> None:
    entropies = mixing_entropy(candidate({"Sr": 1}, {"Ti": 1}), charge_disorder=True)
    assert entropies == {"A": 0, "B": 0, "X": 0, "charge": 0}


@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_equal_shares_of_n_species_have_ln_n_per_site(candidate: Any, n: int) -> None:
    species = ("La", "Y", "Sr", "Ba", "Ca", "Nd")[:n]
    entropies = mixing_entropy(candidate(dict.fromkeys(species, f"1/{n}"), {"Fe": 1}))
    assert entropies["A"] == pytest.approx(K_B * log(n) / 5)
    assert entropies["B"] == entropies["X"] == 0


def test_five_cations_are_worth_8_meV_at_room_temperature_and_28_at_1000_K(candidate: Any) -> None:
    entropy = sum(mixing_entropy(candidate(FIVE, {"Fe": 1})).values())
    assert 298.15 * entropy == pytest.approx(0.0083, abs=5e-5)
    assert 1000 * entropy == pytest.approx(0.0277, abs=5e-5)


def test_the_sublattices_add_up_to_the_entropy_of_the_candidate(candidate: Any) -> None:
    c = candidate(FIVE, {"Co": "1/3", "Fe": "2/3"}, {"O": "11/12", "vacancy": "1/12"})
    assert sum(mixing_entropy(c).values()) == pytest.approx(K_B * c.configurational_entropy / 4.75)
    assert sum(mixing_entropy(c).values()) == pytest.approx(K_B * c.entropy_per_atom)


def test_vacancies_mix_only_if_asked(candidate: Any) -> None:
    c = candidate({"Sr": 1}, {"Fe": 1}, {"O": "5/6", "vacancy": "1/6"}, Fe=(2, 4))
    per_site = -(5 / 6 * log(5 / 6) + 1 / 6 * log(1 / 6))
    assert mixing_entropy(c)["X"] == pytest.approx(3 * K_B * per_site / 4.5)
    assert mixing_entropy(c, vacancies=False)["X"] == 0
    # Anions that are there mix over the sites they fill.
    mixed = candidate({"Cs": 1}, {"Pb": 1}, {"Cl": "1/3", "Br": "1/3", "vacancy": "1/3"}, Pb=1)
    assert mixing_entropy(mixed, vacancies=False)["X"] == pytest.approx(2 * K_B * log(2) / 4)
    assert mixing_entropy(mixed)["X"] == pytest.approx(3 * K_B * log(3) / 4)


def test_charge_disorder_of_half_and_half_is_ln_2_per_B(candidate: Any) -> None:
    c = candidate({"La": "1/2", "Sr": "1/2"}, {"Co": 1})
    assert c.oxidation_states["Co"] == 3.5
    assert "charge" not in mixing_entropy(c)
    assert mixing_entropy(c, charge_disorder=True)["charge"] == pytest.approx(K_B * log(2) / 5)
    whole = candidate({"La": 1}, {"Co": 1})
    assert mixing_entropy(whole, charge_disorder=True)["charge"] == 0


# E_hull(T)


def test_the_curve_is_a_line_whose_slope_is_the_entropy(candidate: Any) -> None:
    c = candidate(FIVE, {"Fe": 1})
    doc = entropy_doc(c, above_hull(0.02))
    entropy = K_B * log(5) / 5
    assert doc.temperatures_K == list(TEMPERATURES_K)
    assert doc.energy_above_hull == pytest.approx([0.02 - T * entropy for T in doc.temperatures_K])
    assert doc.low == pytest.approx([energy - 0.01 for energy in doc.energy_above_hull])
    assert doc.high == pytest.approx([energy + 0.01 for energy in doc.energy_above_hull])
    assert doc.stabilised_above_K == pytest.approx(0.02 / entropy)
    assert doc.stabilised_interval_K == pytest.approx((0.01 / entropy, 0.03 / entropy))
    assert EntropyDoc.model_validate(doc.to_mongo()) == doc


def test_ends_that_are_not_reached_have_no_temperature(candidate: Any) -> None:
    c = candidate(FIVE, {"Fe": 1})  # 0.0277 eV/atom at 1000 K
    doc = entropy_doc(c, above_hull(0.02, 0.025), temperatures_K=[0, 500, 1000])
    assert doc.stabilised_above_K == pytest.approx(721, abs=1)
    assert doc.stabilised_interval_K == (0.0, None)
    far = entropy_doc(c, above_hull(0.2), temperatures_K=[0, 1000])
    assert far.stabilised_above_K is None
    assert far.stabilised_interval_K == (None, None)
    below = entropy_doc(c, above_hull(-0.2))
    assert below.stabilised_above_K is None
    assert below.stabilised_interval_K == (0.0, 0.0)


def test_without_an_interval_nothing_is_decided(candidate: Any) -> None:
    doc = entropy_doc(candidate(FIVE, {"Fe": 1}), above_hull(-0.2, None))
    assert (doc.low, doc.high, doc.decided_by) == (None, None, "undecided")
    assert "no interval" in doc.method


def test_what_cannot_be_computed_is_refused(candidate: Any) -> None:
    c = candidate(FIVE, {"Fe": 1})
    with pytest.raises(ThermoError, match="the cell has not relaxed"):
        entropy_doc(c, above_hull(None))
    for temperatures in ([], [300, 200], [-1, 0], [0, float("nan")], [0, float("inf")]):
        with pytest.raises(ThermoError, match="ascend"):
            entropy_doc(c, above_hull(0.1), temperatures_K=temperatures)


# What decides


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.03, -0.01, "enthalpy"),
        (-0.01, 0.0, "enthalpy"),
        (-0.01, 0.005, "undecided"),  # stable at 0 K, or by entropy
        (0.01, 0.02, "entropy"),
        (0.01, 0.03, "entropy"),  # just: 0.03 eV/atom at the highest temperature
        (0.0, 0.02, "undecided"),  # on the hull at 0 K is stable without entropy
        (0.02, 0.04, "undecided"),  # by entropy, or not at all
        (-0.02, 0.04, "undecided"),  # anything
        (0.031, 0.05, "neither"),
        (0.03, 0.05, "undecided"),
    ],
)
def test_what_decides(low: float, high: float, expected: str) -> None:
    assert decide(low, high, 3e-5, 1000) == expected


@pytest.mark.parametrize(("low", "high", "expected"), [(0.01, 0.02, "neither"), (-0.01, 0.02, "undecided")])
def test_without_entropy_it_never_decides(low: float, high: float, expected: str) -> None:
    assert decide(low, high, 0.0, 1000) == expected


@given(low=st.floats(-0.1, 0.1), width=st.floats(0, 0.1), entropy=st.floats(0, 1e-4), inner=st.floats(0, 1))
def test_a_decision_holds_for_every_value_in_the_interval(
    low: float, width: float, entropy: float, inner: float
) -> None:
    decision = decide(low, low + width, entropy, 1000)
    value = low + inner * width
    alone = decide(value, value, entropy, 1000)
    assert alone != "undecided"
    assume(decision != "undecided")
    assert alone == decision
