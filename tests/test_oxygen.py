"""Oxygen in its gas and its vacancies in equilibrium with it: tables, exact solutions, limits.

Vacancy energies are invented to reach the limits, but where a test says that CHGNet gave them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.thermochemistry import IdealGasThermo

from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.composition.space import enumerate_candidates
from hemiec.errors import ThermoError
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import OxygenDoc
from hemiec.thermo.potentials.gases import AIR_PO2_BAR, log10_oxygen_pressure, oxygen_chemical_potential
from hemiec.thermo.potentials.oxygen import oxygen_doc, vacancy_model
from hemiec.thermo.potentials.redox import redox_couple
from hemiec.units import BOLTZMANN_EV_PER_K, KJ_PER_MOL_PER_EV
from hemiec.workflows.campaign import read_spec

#: NIST-JANAF tables, 4th edition, O2 reference state: T in K to S in J/K/mol and H - H(298.15 K) in kJ/mol.
JANAF = {
    100.0: (173.307, -5.779),
    298.15: (205.147, 0.0),
    500.0: (220.693, 6.084),
    700.0: (231.466, 12.499),
    1000.0: (243.578, 22.703),
    1300.0: (252.878, 33.344),
    1500.0: (258.068, 40.599),
    2000.0: (268.748, 59.175),
}
AT_ZERO_K = -8.683
CENTIMETRE_EV = 1.239841984e-4


# The gas


@pytest.mark.parametrize("T", JANAF)
def test_the_tables_of_enthalpy_and_entropy_are_followed(T: float) -> None:
    S, H = JANAF[T]
    expected = (H - AT_ZERO_K - T * S / 1000) / 2 / KJ_PER_MOL_PER_EV
    assert oxygen_chemical_potential(T) == pytest.approx(expected, abs=2e-5)
    if 100 < T < 2000 and T != 700:
        slope = (oxygen_chemical_potential(T + 0.5) - oxygen_chemical_potential(T - 0.5)) * 1000 * KJ_PER_MOL_PER_EV
        assert -2 * slope == pytest.approx(S, rel=2e-4)


def test_oxygen_at_room_temperature_and_at_1000_K() -> None:
    assert oxygen_chemical_potential(298.15) == pytest.approx(-0.272, abs=5e-4)
    assert oxygen_chemical_potential(1000) == pytest.approx(-1.100, abs=5e-4)


def test_statistical_mechanics_of_the_molecule_gives_the_same() -> None:
    # Spectroscopy of the ground state (Huber and Herzberg 1979): omega_e = 1580.19 cm^-1, r_e = 1.20752 angstrom.
    quantum = 1580.19 * CENTIMETRE_EV
    molecule = Atoms("O2", positions=[(0, 0, 0), (0, 0, 1.20752)])
    gas = IdealGasThermo([quantum], "linear", atoms=molecule, symmetrynumber=2, spin=1)
    for T in (200.0, 298.15, 700.0, 1000.0):
        expected = (gas.get_gibbs_energy(T, 1e5, verbose=False) - quantum / 2) / 2
        assert oxygen_chemical_potential(T) == pytest.approx(expected, abs=2e-3)


def test_pressure_acts_as_on_an_ideal_gas_and_can_be_read_back() -> None:
    T, p = np.array([[300.0], [900.0], [1800.0]]), np.array([[1e-20, 0.21, 1.0, 10.0]])
    mu = oxygen_chemical_potential(T, p)
    assert mu.shape == (3, 4)
    np.testing.assert_allclose(mu - oxygen_chemical_potential(T), BOLTZMANN_EV_PER_K * T / 2 * np.log(p), atol=1e-12)
    np.testing.assert_allclose(log10_oxygen_pressure(mu, T), np.broadcast_to(np.log10(p), (3, 4)), atol=1e-9)


def test_the_two_ranges_meet() -> None:
    assert oxygen_chemical_potential(699.999) == pytest.approx(float(oxygen_chemical_potential(700.001)), abs=2e-5)


@pytest.mark.parametrize(
    ("T", "p"), [(99.0, 1.0), (2001.0, 1.0), (np.nan, 1.0), (300.0, 0.0), (300.0, -1.0), (300.0, np.nan)]
)
def test_what_the_tables_do_not_hold_is_refused(T: float, p: float) -> None:
    with pytest.raises(ThermoError, match="O2"):
        oxygen_chemical_potential(T, p)


# Exact solutions


def boltzmann(energy: float, T: float, p: float) -> float:
    """Return exp(-(E + mu) / kT)."""
    return float(np.exp(-(energy + oxygen_chemical_potential(T, p)) / (BOLTZMANN_EV_PER_K * T)))


@pytest.mark.parametrize("energy", [0.4, 1.3, 3.0])
@pytest.mark.parametrize(("T", "p"), [(400.0, 1.0), (1000.0, 0.21), (1500.0, 1e-10)])
def test_one_site_energy_and_a_band_is_langmuir(candidate: Any, energy: float, T: float, p: float) -> None:
    model = vacancy_model(candidate({"La": 1}, {"Al": 1}), [energy])
    K = boltzmann(energy, T, p)
    assert float(model.delta(T, p)) == pytest.approx(3 * K / (1 + K), rel=1e-9)


@pytest.mark.parametrize("energy", [0.4, 1.3, 3.0])
@pytest.mark.parametrize(("T", "p"), [(400.0, 1.0), (1000.0, 0.21), (1500.0, 1e-10)])
def test_one_site_energy_and_localised_electrons_is_mass_action(
    candidate: Any, energy: float, T: float, p: float
) -> None:
    delta = float(vacancy_model(candidate({"Sr": 1}, {"Fe": 1}), [energy]).delta(T, p))
    theta, reduced = delta / 3, 2 * delta
    assert 0 < reduced < 1
    # O_O + 2 Fe(+4) = V_O + 2 Fe(+3) + O2/2
    assert theta / (1 - theta) * (reduced / (1 - reduced)) ** 2 == pytest.approx(boltzmann(energy, T, p), rel=1e-6)


def test_a_rigid_band_makes_delta_linear_in_the_potential(candidate: Any) -> None:
    # Wide band: filling it costs a delta, and entropy matters little (doi:10.1006/jssc.1997.7531).
    c = candidate({"La": "3/5", "Sr": "2/5"}, {"Co": 1})
    model = vacancy_model(c, [0.5], electrons="band", interaction_eV=8.0)
    T, p = 1000.0, np.array([1e-6, 1e-3, 1.0])
    delta = model.delta(T, p)
    mu = oxygen_chemical_potential(T, p)
    entropy = BOLTZMANN_EV_PER_K * T * np.log(delta / 3 / (1 - delta / 3))
    np.testing.assert_allclose(0.5 + mu + 8.0 * delta + entropy, 0, atol=1e-9)
    assert np.gradient(delta, mu)[1] == pytest.approx(-1 / 8.0, rel=0.35)


# Slopes of log delta over log p


def slope(model: Any, T: float, p: float, offset: float = 0.0) -> float:
    low, high = (np.log10(model.delta(T, x) - offset) for x in (p, 10 * p))
    return float(high - low)


def test_electrons_on_a_stoichiometric_lattice_give_minus_one_sixth(candidate: Any) -> None:
    model = vacancy_model(candidate({"La": 1}, {"Fe": 1}), [4.0])
    assert slope(model, 1000.0, 1e-5) == pytest.approx(-1 / 6, abs=1e-4)
    assert float(model.delta(1000.0, 1e-5)) == pytest.approx(
        (3 / 4 * boltzmann(4.0, 1000.0, 1e-5)) ** (1 / 3), rel=1e-3
    )


def test_a_reservoir_of_fixed_valence_gives_minus_one_half(candidate: Any) -> None:
    model = vacancy_model(candidate({"La": "1/2", "Sr": "1/2"}, {"Fe": 1}), [3.0])
    assert slope(model, 1000.0, 0.1) == pytest.approx(-1 / 2, abs=1e-4)
    assert float(model.delta(1000.0, 0.1)) == pytest.approx(3 * boltzmann(3.0, 1000.0, 0.1), rel=1e-3)


def test_vacancies_fixed_by_the_dopant_leave_electrons_minus_one_quarter(candidate: Any) -> None:
    c = candidate({"La": "1/2", "Sr": "1/2"}, {"Fe": 1}, {"O": "11/12", "vacancy": "1/12"})
    model = vacancy_model(c, [3.5])
    assert model.bounds[0] == c.oxygen_deficiency == 0.25
    assert slope(model, 900.0, 1e-3, offset=0.25) == pytest.approx(-1 / 4, abs=1e-3)


# Limits


@pytest.fixture
def ferrite(candidate: Any) -> Any:
    """A ferrite with a distribution of vacancy energies, in eV."""
    energies = np.random.default_rng(3).normal(1.2, 0.3, 60)
    return vacancy_model(candidate({"La": "1/5", "Sr": "4/5"}, {"Fe": 1}), energies.tolist())


def test_delta_rises_with_temperature_and_falls_with_pressure(ferrite: Any) -> None:
    T, p = np.arange(100, 2001, 50.0), np.logspace(-25, 1, 40)
    delta = ferrite.delta(T[:, None], p[None, :])
    assert (np.diff(delta, axis=0) >= -1e-12).all()
    assert (np.diff(delta, axis=1) <= 1e-12).all()
    assert delta.min() >= 0
    assert delta.max() <= ferrite.bounds[1] == pytest.approx(0.4)


def test_cold_or_stable_crystals_have_no_vacancies(ferrite: Any, candidate: Any) -> None:
    assert float(ferrite.delta(100.0, 10.0)) < 1e-9
    stable = vacancy_model(candidate({"La": 1}, {"Fe": 1}), [30.0])
    assert float(stable.delta(2000.0, 1e-20)) < 1e-15


def test_what_was_computed_with_vacancies_takes_oxygen_up_if_its_valence_allows(candidate: Any) -> None:
    oxidisable = candidate({"Sr": 1}, {"Fe": 1}, {"O": "11/12", "vacancy": "1/12"})
    assert float(vacancy_model(oxidisable, [1.0]).delta(150.0, 1.0)) < 1e-6
    full = candidate({"Sr": 1}, {"Fe": 1}, {"O": "5/6", "vacancy": "1/6"})
    assert float(vacancy_model(full, [4.0]).delta(150.0, 1.0)) == pytest.approx(0.5)


def test_a_spread_of_energies_makes_more_vacancies_than_their_mean(candidate: Any) -> None:
    c, T, p = candidate({"La": 1}, {"Al": 1}), 1000.0, 0.21
    deviations = np.array([-0.3, -0.1, 0.1, 0.3])
    kT = BOLTZMANN_EV_PER_K * T
    spread, mean = (float(vacancy_model(c, E).delta(T, p)) for E in ((3 + deviations).tolist(), [3.0]))
    # Jensen: dilute vacancies are a mean of exponentials.
    assert spread / mean == pytest.approx(np.exp(-deviations / kT).mean(), rel=1e-6)
    assert spread > mean
    # Where almost every site is empty the spread keeps oxygen in.
    hungry = [float(vacancy_model(c, E).delta(T, p)) for E in ((0.3 + deviations).tolist(), [0.3])]
    assert hungry[0] < hungry[1]


def test_repulsion_holds_delta_nearer_to_where_it_was_computed(candidate: Any) -> None:
    c = candidate({"Sr": 1}, {"Fe": 1}, {"O": "11/12", "vacancy": "1/12"})
    free, repelled = (
        vacancy_model(c, [1.3], interaction_eV=a).delta(1000.0, np.array([1e-8, 10.0])) for a in (0.0, 3.0)
    )
    assert free[0] > repelled[0] > 0.25 > repelled[1] > free[1]


def test_ferrites_in_air(candidate: Any) -> None:
    # CHGNet, 40 atoms: the next vacancy of SrFeO3 costs 0.43, 0.93, 1.28 eV at delta = 0, 1/8, 1/4, of LaFeO3 3.61 eV.
    interaction, first = np.polyfit([0, 1 / 8, 1 / 4], [0.432, 0.932, 1.282], 1)
    T = np.array([1000.0, 1173.0, 1273.0])
    strontium = vacancy_model(candidate({"Sr": 1}, {"Fe": 1}), [first], interaction_eV=interaction).delta(
        T, AIR_PO2_BAR
    )
    assert (strontium > 0.2).all()
    # Measured: 0.4 at 1173 K by coulometric titration, 0.41 at 1273 K by thermogravimetry (doi:10.1557/jmr.2019.143).
    assert np.abs(strontium[1:] - [0.40, 0.41]).max() < 0.1
    lanthanum = vacancy_model(candidate({"La": 1}, {"Fe": 1}), [3.61]).delta(T, AIR_PO2_BAR)
    assert lanthanum.max() < 0.005


# Who takes the electrons

COUPLES: dict[str, tuple[tuple[Any, ...], tuple[str, float, float]]] = {
    "all at the top": (({"Sr": 1}, {"Fe": 1}), ("Fe +4/+3", 1.0, 0.0)),
    "mixed valence": (({"La": "3/5", "Sr": "2/5"}, {"Co": 1}), ("Co +4/+3", 1.0, 0.6)),
    "an integer goes on": (({"La": 1}, {"Fe": 1}), ("Fe +3/+2", 1.0, 0.0)),
    "two share": (({"La": 1}, {"Fe": "1/2", "Co": "1/2"}), ("Fe, Co +3/+2", 1.0, 0.0)),
    "chromium stays +3": (({"La": 1}, {"Cr": "1/2", "Fe": "1/2"}), ("Fe +3/+2", 0.5, 0.0)),
    "titanium waits for iron": (({"Sr": 1}, {"Ti": "1/2", "Fe": "1/2"}), ("Fe +4/+3", 0.5, 0.0)),
    "titanium alone": (({"Sr": 1}, {"Ti": 1}), ("Ti +4/+3", 1.0, 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", COUPLES)
def test_the_couple_that_is_reduced(candidate: Any, case: str) -> None:
    sites, (name, amount, reduced) = COUPLES[case]
    couple = redox_couple(candidate(*sites), DEFAULT_OXIDATION_STATES)
    assert couple is not None
    assert set(couple.name.split()) == set(name.split())
    assert couple.amount == pytest.approx(amount)
    assert couple.reduced == pytest.approx(reduced, abs=1e-5)


def test_aluminates_have_no_couple(candidate: Any) -> None:
    assert redox_couple(candidate({"La": 1}, {"Al": 1}), DEFAULT_OXIDATION_STATES) is None


def test_a_band_reaches_the_lowest_valence_a_couple_its_own(candidate: Any) -> None:
    c = candidate({"Sr": 1}, {"Fe": 1})
    assert vacancy_model(c, [1.0]).bounds == pytest.approx((0, 0.5))
    assert vacancy_model(c, [1.0], electrons="band").bounds == pytest.approx((0, 1.0))
    starved = vacancy_model(c, [-2.0], electrons="band")
    assert float(starved.delta(1500.0, 1e-20)) == pytest.approx(1.0)


# The document


def doc(c: Any, energies: list[float], interval: tuple[float, float] | None = None, **options: Any) -> OxygenDoc:
    mean = Quantity(value=float(np.mean(energies)), unit="eV", method="invented", n=len(energies), interval=interval)
    return oxygen_doc(c, energies, mean, **options)


def test_the_map_is_neutral_everywhere(candidate: Any) -> None:
    c = candidate({"La": "2/5", "Sr": "3/5"}, {"Co": "1/2", "Fe": "1/2"}, {"O": "29/30", "vacancy": "1/30"})
    found = doc(c, [1.0, 1.3, 1.6])
    delta, valence = np.array(found.delta), np.array(found.mean_B_valence)
    assert delta.shape == valence.shape == (len(found.temperatures_K), len(found.log10_pO2_bar))
    np.testing.assert_allclose(2.4 + valence, 2 * (3 - delta), atol=1e-5)
    assert valence.min() >= 3 - 1e-5
    assert found.delta_assumed == pytest.approx(0.1)
    assert found.delta_in_air == pytest.approx(
        float(vacancy_model(c, [1.0, 1.3, 1.6]).delta(found.air_temperature_K, AIR_PO2_BAR))
    )
    assert found.delta_in_air_at_298_K < 1e-6


def test_the_interval_of_the_energies_becomes_one_of_delta(candidate: Any) -> None:
    c = candidate({"La": "1/2", "Sr": "1/2"}, {"Fe": 1})
    found = doc(c, [1.4, 1.6], interval=(1.2, 1.8))
    assert found.delta_in_air_interval is not None
    low, high = found.delta_in_air_interval
    assert low < found.delta_in_air < high
    assert low == pytest.approx(doc(c, [1.7, 1.9]).delta_in_air)
    assert doc(c, [1.4, 1.6]).delta_in_air_interval is None


def test_the_feedback_is_a_campaign_that_runs(candidate: Any, tmp_path: Path) -> None:
    c = candidate({"Sr": 1}, {"Fe": 1})
    found = doc(c, [1.5])
    assert 0.1 < found.delta_in_air < 0.45
    written = re.search(r"`(oxygen_deficiency: [^`]+)`", found.feedback)
    assert written is not None
    entry = {"A": {"Sr": 1}, "B": {"Fe": 1}} | yaml.safe_load(written.group(1))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump({"name": "again", "space": [entry]}))
    (again,) = enumerate_candidates(read_spec(path), where=str(path))
    assert again.oxygen_deficiency == pytest.approx(found.delta_in_air, abs=1 / 24)
    assert Fraction(again.oxygen_deficiency).limit_denominator(12) == Fraction(found.delta_in_air).limit_denominator(12)


def test_a_composition_that_keeps_its_oxygen_needs_no_change(candidate: Any) -> None:
    found = doc(candidate({"La": 1}, {"Fe": 1}), [4.5])
    assert "as it is made" in found.feedback
    assert "oxygen_deficiency:" not in found.feedback


def test_a_change_that_no_cell_holds_is_none(candidate: Any) -> None:
    found = doc(candidate({"La": "1/2", "Sr": "1/2"}, {"Fe": 1}), [2.0])
    assert 0.01 < found.delta_in_air < 1 / 24
    assert "as it is made" in found.feedback


def test_a_couple_that_is_used_up_is_approached_half_way(candidate: Any) -> None:
    found = doc(candidate({"Sr": 1}, {"Fe": 1}), [0.3])
    assert "Fe +4/+3 is all but used up" in found.feedback
    assert "`oxygen_deficiency: 1/4`" in found.feedback
    assert "0 to 0.5" in found.method


def test_a_cell_without_oxidised_ions_does_not_tell_whether_it_takes_up_oxygen(candidate: Any) -> None:
    found = doc(candidate({"Sr": 1}, {"Fe": 1}, {"O": "5/6", "vacancy": "1/6"}), [4.0])
    assert found.delta_in_air == pytest.approx(0.5, abs=1e-3)
    assert "they do not say" in found.feedback
    assert "`oxygen_deficiency: 1/4`" in found.feedback


BAD: dict[str, tuple[Callable[[Any], Any], list[float], dict[str, Any], str]] = {
    "no energies": (lambda make: make({"Sr": 1}, {"Fe": 1}), [], {}, "got 0"),
    "not finite": (lambda make: make({"Sr": 1}, {"Fe": 1}), [1.0, np.nan], {}, "1 are not finite"),
    "attraction": (lambda make: make({"Sr": 1}, {"Fe": 1}), [1.0], {"interaction_eV": -1.0}, "attract"),
    "no oxygen": (lambda make: make({"Cs": 1}, {"Pb": 1}, {"Cl": 1}), [1.0], {}, "no oxygen"),
    "charge left over": (
        lambda make: make({"Sr": 1}, {"Fe": 1}).model_copy(update={"charge_balanced": False, "net_charge": 0.5}),
        [1.0], {}, r"\+0.5 e",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_was_expected(candidate: Any, case: str) -> None:
    make, energies, options, message = BAD[case]
    with pytest.raises(ThermoError, match=message):
        vacancy_model(make(candidate), energies, **options)
