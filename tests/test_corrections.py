"""Corrections of energies: each applied once, to what it is stated for, and harmless to everything else."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition
from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
from pymatgen.entries.computed_entries import ComputedEntry

from hemiec.engines.protocol import load_mlip, load_protocol, protocol_names
from hemiec.engines.settings import ElementCorrection, ThermoSettings
from hemiec.errors import ThermoError
from hemiec.thermo.corrections import applied_corrections, corrected_energy_per_atom
from hemiec.thermo.references.table import reference_phases

SETTINGS = ThermoSettings(
    o2_correction_eV_per_O=0.7,
    o2_correction_source="test",
    elemental_corrections_eV_per_atom={"Cl2": 0.6},
    phase_corrections_eV_per_atom={"La2O3": 0.08},
    element_corrections=[
        ElementCorrection(element="Fe", compounds_with=["O", "F"], eV_per_atom=-2.0),
        ElementCorrection(element="Co", compounds_with=["O", "F"], eV_per_atom=-1.0),
    ],
    not_from_elements=[],
)


def added(phase_id: str, formula: str) -> float:
    return corrected_energy_per_atom(phase_id, Composition(formula), -5.0, SETTINGS) + 5.0


@pytest.mark.parametrize(
    ("phase_id", "formula", "expected"),
    [
        ("O2-molecule", "O2", 0.7),
        ("Cl2-gas", "Cl2", 0.6),
        ("Fe-bcc", "Fe", 0.0),
        ("La2O3-A-type-sesquioxide", "La2O3", 0.08),
        ("La2O3-bixbyite", "La4O6", 0.08),
        ("CaO-rocksalt", "CaO", 0.0),
        ("Fe2O3-corundum", "Fe2O3", -2.0 * 2 / 5),
        ("FeS-troilite", "FeS", 0.0),
        ("hm-0123456789ab", "LaFe0.5Co0.5O3", -1.5 / 5),
        ("hm-0123456789ab", "LaAlO3", 0.0),
    ],
)
def test_what_is_added(phase_id: str, formula: str, expected: float) -> None:
    assert added(phase_id, formula) == pytest.approx(expected, abs=1e-12)


def test_a_solid_of_the_same_element_is_no_molecule() -> None:
    assert added("O-solid", "O2") == 0.0


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9))
def test_the_multiple_of_the_composition_does_not_matter(cobalt: int, iron: int, multiple: int) -> None:
    one = Composition({"La": 2, "Co": cobalt, "Fe": iron, "O": 3})
    assert sum(applied_corrections("hm-1", one * multiple, SETTINGS).values()) == pytest.approx(
        sum(applied_corrections("hm-1", one, SETTINGS).values())
    )


def test_reactions_within_an_oxidation_scale_keep_their_energy() -> None:
    """Corrections per atom of an element cancel where it stays an oxide: Fe2O3 + La2O3 -> 2 LaFeO3."""
    settings = SETTINGS.model_copy(update={"phase_corrections_eV_per_atom": {}})
    totals = {
        formula: Composition(formula).num_atoms
        * sum(applied_corrections(f"{formula}-phase", Composition(formula), settings).values())
        for formula in ("Fe2O3", "La2O3", "LaFeO3")
    }
    assert 2 * totals["LaFeO3"] - totals["Fe2O3"] - totals["La2O3"] == pytest.approx(0.0)


def test_it_says_what_was_applied() -> None:
    assert applied_corrections("O2-molecule", Composition("O2"), SETTINGS) == {"O2": 0.7}
    assert applied_corrections("hm-1", Composition("LaAlO3"), SETTINGS) == {}
    assert set(applied_corrections("hm-1", Composition("FeCoO3"), SETTINGS)) == {"Fe", "Co"}


def test_bad_energies_are_refused() -> None:
    with pytest.raises(ThermoError, match=r"La2O3-x is nan.*finite"):
        corrected_energy_per_atom("La2O3-x", Composition("La2O3"), nan, SETTINGS)
    with pytest.raises(ThermoError, match="no atoms"):
        corrected_energy_per_atom("hm-1", Composition({}), -1.0, SETTINGS)


@pytest.mark.parametrize("name", protocol_names())
def test_shipped_protocols_correct_phases_that_exist_and_say_why(name: str) -> None:
    thermo = load_protocol(name).thermo
    formulas = {phase.formula for phase in reference_phases()[1]}
    assert set(thermo.phase_corrections_eV_per_atom) <= formulas
    for values, source in (
        (thermo.phase_corrections_eV_per_atom, thermo.phase_corrections_source),
        (thermo.elemental_corrections_eV_per_atom, thermo.elemental_corrections_source),
        (thermo.element_corrections, thermo.element_corrections_source),
    ):
        assert not values or source != "none"
    assert thermo.model_error_eV_per_atom is None or thermo.model_error_source != "not measured"


def test_the_model_error_of_the_default_is_that_of_a_good_potential() -> None:
    error = load_mlip("mlip-chgnet").thermo.model_error_eV_per_atom
    assert error is not None
    assert 0.01 < error < 0.05


@pytest.mark.parametrize("formula", ["Fe2O3", "NiO", "Co3O4", "SrO", "MnF2", "FeS", "La2O3"])
def test_materials_project_corrections_are_those_of_pymatgen(formula: str) -> None:
    """Protocols on the scale of the Materials Project: a compound less its corrected anions, against MP2020."""
    thermo = load_protocol("vasp-mp").thermo
    composition = Composition(formula)
    entry = ComputedEntry(
        composition,
        0.0,
        parameters={
            "run_type": "GGA+U" if thermo.element_corrections else "GGA",
            "hubbards": {"Fe": 5.3, "Ni": 6.2, "Co": 3.32, "Mn": 3.9}
            if {"O", "F"} & {e.symbol for e in composition}
            else {},
            "potcar_symbols": [],
        },
        data={"oxide_type": "oxide"},
    )
    scheme = MaterialsProject2020Compatibility(check_potcar=False)
    expected = sum(adjustment.value for adjustment in scheme.get_adjustments(entry))
    ours = composition.num_atoms * sum(applied_corrections(f"{formula}-x", composition, thermo).values())
    anions = {"O": "O2", "F": "F2", "S": "S"}
    for element in composition:
        # MP2020 lowers the anion in the compound; we raise the element that it forms from by as much.
        if element.symbol in anions:
            ours -= composition[element] * thermo.molecule_corrections_eV_per_atom[anions[element.symbol]]
    assert ours == pytest.approx(expected, abs=1e-9)
