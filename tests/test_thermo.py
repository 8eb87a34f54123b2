"""Formation energies and reference phases.

Energies marked invented are made up to check the algebra; no potential gave them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Composition, Structure

from hemiec.errors import ThermoError
from hemiec.thermo.formation import composition, from_elements, from_oxides
from hemiec.thermo.references.table import (
    ReferencePhase,
    cations,
    element_phase,
    is_oxide,
    oxide_phase,
    reference_phases,
    required_phases,
)

EV_PER_KJ_PER_MOL = 1 / 96.485332
PHASES = [phase for kind in reference_phases() for phase in kind]


def invented(candidate: Any, seed: int = 0) -> dict[str, float]:
    """Return invented energies in eV/atom for every phase the candidate needs."""
    generator = np.random.default_rng(seed)
    return {p.phase_id: float(generator.uniform(-9, -1)) for p in required_phases(candidate)}


# Algebra


def test_a_compound_at_the_energy_of_its_elements_has_no_formation_energy(candidate: Any) -> None:
    c = candidate({"La": "3/5", "Sr": "2/5"}, {"Co": "1/2", "Fe": "1/2"})
    references = invented(c)
    amounts = composition(c)
    energy = sum(
        n * (references[element_phase(e.symbol).phase_id] + (0.3 if e.symbol == "O" else 0)) for e, n in amounts.items()
    )
    assert from_elements(c, energy / 5, references, 0.3).value == pytest.approx(0, abs=1e-12)


def test_shifting_a_chemical_potential_shifts_the_energy_by_minus_its_fraction(candidate: Any) -> None:
    c = candidate({"La": "3/5", "Sr": "2/5"}, {"Co": 1})
    references = invented(c)
    before = from_elements(c, -7.0, references, 0.0).value
    for element, n in composition(c).items():
        phase_id = element_phase(element.symbol).phase_id
        shifted = references | {phase_id: references[phase_id] + 0.7}
        assert from_elements(c, -7.0, shifted, 0.0).value - before == pytest.approx(-0.7 * n / 5)
    assert from_elements(c, -7.0 + 0.7, references, 0.0).value - before == pytest.approx(0.7)


def test_the_correction_acts_on_oxygen_alone(candidate: Any) -> None:
    c = candidate({"Sr": 1}, {"Ti": 1})
    references = invented(c)
    change = from_elements(c, -7, references, 0.5).value - from_elements(c, -7, references, 0.0).value
    assert change == pytest.approx(-0.5 * 3 / 5)
    # SrO + TiO2 hold all the oxygen: the molecule does not enter.
    assert from_oxides(c, -7, references, 0.5) == from_oxides(c, -7, references, 0.0)


def test_a_fluoride_is_formed_from_its_own_gas(candidate: Any) -> None:
    c = candidate({"Na": 1}, {"Mg": 1}, {"F": 1})
    energy = {"Na": -1.3, "Mg": -1.6, "F2": -1.9}  # invented, eV/atom
    references = {p.phase_id: energy[p.formula] for p in required_phases(c)}
    found = from_elements(c, -5.0, references, 0.5)
    assert found.reaction == "1 Na + 1 Mg + 1.5 F2 -> NaMgF3"
    assert found.value == pytest.approx((5 * -5.0 + 1.3 + 1.6 + 3 * 1.9) / 5)  # the correction of O2 is not in it


def test_strontium_titanate_by_hand(candidate: Any) -> None:
    c = candidate({"Sr": 1}, {"Ti": 1})
    # invented, eV/atom
    energy = {"SrO": -6.0, "TiO2": -9.0, "Sr": -1.5, "Ti": -8.0, "O2": -5.0}
    references = {p.phase_id: energy[p.formula] for p in required_phases(c)}
    assert {p.formula for p in required_phases(c)} == set(energy)
    oxides = from_oxides(c, -8.0, references, 0.1)
    assert oxides.value == pytest.approx((5 * -8.0 - 2 * -6.0 - 3 * -9.0) / 5)
    assert oxides.reaction == "1 SrO + 1 TiO2 -> SrTiO3"
    elements = from_elements(c, -8.0, references, 0.1)
    assert elements.value == pytest.approx((5 * -8.0 - -1.5 - -8.0 - 3 * (-5.0 + 0.1)) / 5)
    assert elements.reaction == "1 Sr + 1 Ti + 1.5 O2 -> SrTiO3"


def test_the_two_references_differ_by_the_formation_energies_of_the_oxides(candidate: Any) -> None:
    c = candidate(dict.fromkeys(("La", "Y", "Sr", "Ba", "Ca"), "1/5"), {"Fe": 1})
    references, correction = invented(c), 0.2

    def mu(symbol: str) -> float:
        return references[element_phase(symbol).phase_id] + (correction if symbol == "O" else 0)

    cycle = 0.0
    for symbol in cations(c):
        phase = oxide_phase(symbol, c.oxidation_states[symbol])
        oxide = Composition(phase.formula)
        formation = oxide.num_atoms * references[phase.phase_id] - sum(n * mu(e.symbol) for e, n in oxide.items())
        cycle += float(composition(c)[symbol]) / float(oxide[symbol]) * formation
    difference = from_elements(c, -7, references, correction).value - from_oxides(c, -7, references, correction).value
    assert difference == pytest.approx(cycle / 5)


def test_oxygen_is_taken_up_where_the_oxides_lack_it(candidate: Any) -> None:
    c = candidate(dict.fromkeys(("La", "Y", "Sr", "Ba", "Ca"), "1/5"), {"Co": 1})
    assert c.oxidation_states["Co"] == 3.6
    # Co3O4 (8/3) is nearest to 3.6: A oxides hold 1.2 O, 1/3 Co3O4 holds 4/3, so 3 - 38/15 = 7/15 O come from O2.
    assert oxide_phase("Co", 3.6).formula == "Co3O4"
    references = invented(c)
    oxides = from_oxides(c, -7, references, 0.0)
    left, right = oxides.reaction.split(" -> ")
    assert "0.2333 O2" in left
    assert "O2" not in right.removeprefix(c.formula)
    o2 = element_phase("O").phase_id
    shifted = from_oxides(c, -7, references | {o2: references[o2] + 1.0}, 0.0).value
    assert shifted - oxides.value == pytest.approx(-7 / 15 / 5)
    assert from_oxides(c, -7, references, 1.0).value == pytest.approx(shifted)


def test_oxygen_is_given_off_where_the_oxides_have_too_much(candidate: Any) -> None:
    # The lowest tabulated oxide of Ti is Ti2O3: CeO2 + 1/2 Ti2O3 hold half an O more than Ce4+Ti2+O3.
    c = candidate({"Ce": 1}, {"Ti": 1}, Ti=2)
    references = invented(c)
    oxides = from_oxides(c, -7, references, 0.0)
    assert oxides.reaction == "1 CeO2 + 0.5 Ti2O3 -> CeTiO3 + 0.25 O2"
    assert from_oxides(c, -7, references, 1.0).value - oxides.value == pytest.approx(0.5 / 5)


def test_the_oxygen_of_every_reaction_balances(candidate: Any) -> None:
    for A, B in [({"La": "3/5", "Sr": "2/5"}, {"Fe": 1}), ({"Li": "1/6", "La": "5/6"}, {"Co": "1/2", "Mn": "1/2"})]:
        c = candidate(A, B)
        left, right = from_oxides(c, -7, invented(c), 0.0).reaction.split(" -> ")
        sides = [sum(_oxygen(term) for term in side.split(" + ")) for side in (left, right)]
        assert sides[0] == pytest.approx(sides[1], abs=2e-3)  # amounts are written with four digits


def _oxygen(term: str) -> float:
    amount, _, formula = term.rpartition(" ")
    return float(amount or 1) * float(Composition(formula)["O"])


def test_a_missing_reference_is_named(candidate: Any) -> None:
    c = candidate({"Sr": 1}, {"Ti": 1})
    references = invented(c)
    for phase in required_phases(c):
        rest = {k: v for k, v in references.items() if k != phase.phase_id}
        needs_it = from_oxides if phase.oxidation_state else from_elements
        with pytest.raises(ThermoError, match=rf"energy of reference phase {phase.phase_id} is missing"):
            needs_it(c, -8, rest, 0)


def test_elements_without_a_tabulated_phase_are_named(candidate: Any) -> None:
    platinate = candidate({"Sr": 1}, {"Pt": 1}, Pt=4)
    with pytest.raises(ThermoError, match="no reference phase for element Pt"):
        from_elements(platinate, -8, invented(platinate), 0)
    with pytest.raises(ThermoError, match="no reference oxide for Pt"):
        from_oxides(platinate, -8, invented(platinate), 0)


def test_halides_have_no_oxide_reference(candidate: Any) -> None:
    c = candidate({"Cs": 1}, {"Pb": 1}, {"I": 1})
    assert not is_oxide(c)
    with pytest.raises(ThermoError, match="other anions"):
        from_oxides(c, -3, {}, 0)


# The table


@cache
def built(phase_id: str) -> Structure:
    """Return the structure of a phase; cubic ones take half a second each."""
    return next(p for p in PHASES if p.phase_id == phase_id).structure()


@pytest.mark.parametrize("phase", PHASES, ids=lambda p: p.phase_id)
def test_reference_phases_build(phase: ReferencePhase) -> None:
    structure = built(phase.phase_id)
    assert structure.composition.reduced_formula == phase.formula
    cation = {s.symbol for s in structure.elements} - {"O"}
    if phase.oxidation_state:
        amounts = structure.composition
        assert len(cation) == 1
        charge = phase.oxidation_state * amounts[phase.cation] - 2 * amounts["O"]
        assert charge == pytest.approx(0, abs=0.02 * len(structure))
    else:
        assert len(structure.elements) == 1
    distances = structure.distance_matrix + 99 * np.eye(len(structure))
    shortest = min(distances.min(), min(structure.lattice.abc))
    if phase.is_molecule:
        assert shortest == pytest.approx(1.21, abs=0.03)  # Huber, Herzberg: 1.2075 angstrom
    else:
        assert 1.5 < shortest < 5.5


@pytest.mark.parametrize("phase", [p for p in PHASES if not p.is_molecule], ids=lambda p: p.phase_id)
def test_reference_phases_have_the_space_group_they_state(phase: ReferencePhase) -> None:
    assert built(phase.phase_id).get_space_group_info(symprec=1e-3)[1] == phase.space_group


def test_one_standard_state_per_element_and_per_oxidation_state() -> None:
    elements, oxides = reference_phases()
    standard = [p.cation for p in elements if p.standard_state]
    assert len(standard) == len(set(standard))
    states = [(p.cation, round(p.oxidation_state, 3)) for p in oxides if p.standard_state]
    assert len(states) == len(set(states))
    assert len({p.phase_id for p in PHASES}) == len(PHASES)
    assert {p.cation for p in oxides} <= set(standard)  # from_elements and from_oxides serve the same cations


@pytest.mark.parametrize(
    ("symbol", "state", "formula"),
    [
        ("Co", 2, "CoO"),
        ("Co", 3, "Co3O4"),
        ("Fe", 3, "Fe2O3"),
        ("Fe", 4, "Fe2O3"),
        ("Ti", 4, "TiO2"),
        ("La", 3, "La2O3"),
    ],
)
def test_the_oxide_nearest_in_oxidation_state(symbol: str, state: float, formula: str) -> None:
    assert oxide_phase(symbol, state).formula == formula


# A potential against calorimetry


@pytest.fixture
def chgnet_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function from a structure to its relaxed CHGNet energy in eV/atom; atomate2 writes to the working directory."""
    monkeypatch.chdir(tmp_path)
    from hemiec.engines.mlip.makers import relax
    from hemiec.engines.protocol import load_mlip

    protocol = load_mlip("mlip-chgnet")

    def energy(structure: Structure, *, relax_cell: bool = True) -> float:
        result = relax(structure, protocol, relax_cell=relax_cell)
        assert result.converged
        return result.energy_per_atom

    return energy


@pytest.mark.mlip
@pytest.mark.slow
@pytest.mark.parametrize(
    ("metal", "enthalpy"),
    # standard enthalpies at 298 K in kJ/mol, CODATA key values (1989)
    [("Mg", -601.6), ("Ca", -635.1)],
)
def test_chgnet_formation_energies_of_oxides(chgnet_energy: Any, metal: str, enthalpy: float) -> None:
    from hemiec.engines.protocol import load_mlip

    o2 = element_phase("O")
    mu_O = chgnet_energy(o2.structure(), relax_cell=False) + load_mlip("mlip-chgnet").thermo.o2_correction_eV_per_O
    mu = chgnet_energy(element_phase(metal).structure())
    value = chgnet_energy(oxide_phase(metal, 2).structure()) - (mu + mu_O) / 2
    assert value == pytest.approx(enthalpy * EV_PER_KJ_PER_MOL / 2, abs=0.1)


@pytest.mark.mlip
@pytest.mark.slow
def test_chgnet_enthalpy_of_strontium_titanate_from_oxides(chgnet_energy: Any, candidate: Any) -> None:
    c = candidate({"Sr": 1}, {"Ti": 1})
    perovskite = Structure.from_spacegroup(
        221, [[3.905, 0, 0], [0, 3.905, 0], [0, 0, 3.905]], ["Sr", "Ti", "O"], [(0.5,) * 3, (0, 0, 0), (0.5, 0, 0)]
    )
    references = {p.phase_id: chgnet_energy(p.structure()) for p in (oxide_phase("Sr", 2), oxide_phase("Ti", 4))}
    value = 5 * from_oxides(c, chgnet_energy(perovskite), references, 0.0).value
    # values.json: -1.396 eV per formula unit from tabulated enthalpies at 298 K
    assert value == pytest.approx(-1.396, abs=0.4)
