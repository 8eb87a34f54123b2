"""The convex hull: pymatgen's numbers, exact limits, symmetries and conservation.

Energies are invented unless a test says otherwise; no potential gave them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from hemiec.engines.protocol import load_mlip
from hemiec.errors import ThermoError
from hemiec.thermo.corrections import corrected_energy_per_atom
from hemiec.thermo.hull.convex import Hull, hull_of
from hemiec.thermo.hull.stability import hull_doc
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.references.shipped import shipped_outputs

ELEMENTS = ("La", "Sr", "Co", "Fe", "O", "Li")


def phase(formula: str, energy_per_atom: float, name: str = "x", protocol: str = "p") -> PhaseEnergy:
    composition = Composition(formula)
    phase_id = f"{composition.reduced_formula}-{name}"
    return PhaseEnergy(phase_id, composition, energy_per_atom, protocol, f"job-{phase_id}")


def random_phases(elements: Iterable[str], n: int, seed: int = 0) -> list[PhaseEnergy]:
    """Return elements and compounds of two to four of them, most of them below their elements."""
    generator = np.random.default_rng(seed)
    elements = list(elements)
    energies = {symbol: float(generator.uniform(-8, -1)) for symbol in elements}
    phases = [phase(symbol, energy) for symbol, energy in energies.items()]
    for number in range(n):
        chosen = generator.choice(elements, generator.integers(2, min(4, len(elements)) + 1), replace=False)
        composition = Composition({str(symbol): int(generator.integers(1, 5)) for symbol in chosen})
        mixed = sum(energies[e.symbol] * x for e, x in composition.items()) / composition.num_atoms
        phases.append(phase(composition.formula.replace(" ", ""), mixed - generator.exponential(0.5), f"r{number}"))
    return phases


def random_compositions(elements: Iterable[str], n: int, seed: int = 1) -> list[Composition]:
    """Return random mixtures, every second one of all elements."""
    generator = np.random.default_rng(seed)
    elements = list(elements)
    compositions = []
    for number in range(n):
        k = len(elements) if number % 2 else int(generator.integers(1, len(elements) + 1))
        chosen = generator.choice(elements, k, replace=False)
        compositions.append(Composition(dict(zip(map(str, chosen), generator.dirichlet(np.ones(k)), strict=True))))
    return compositions


def diagram(phases: Iterable[PhaseEnergy]) -> PhaseDiagram:
    return PhaseDiagram(
        [PDEntry(p.composition, p.energy_per_atom * p.composition.num_atoms, p.phase_id) for p in phases]
    )


# Against pymatgen


@pytest.mark.parametrize("n_elements", [2, 3, 4, 5, 6])
def test_the_hull_is_that_of_pymatgen(n_elements: int) -> None:
    elements = ELEMENTS[:n_elements]
    phases = random_phases(elements, 60)
    pymatgen, hull = diagram(phases), Hull(PhaseSet(phases), elements)
    for composition in random_compositions(elements, 100):
        entry = PDEntry(composition, -5.0 * composition.num_atoms)
        products, above = pymatgen.get_decomp_and_e_above_hull(entry, allow_negative=True)
        found = hull.decompose(composition)
        assert hull.energy_above(composition, -5.0) == pytest.approx(above, abs=1e-9)
        assert found.energy_per_atom == pytest.approx(-5.0 - above, abs=1e-9)
        assert found.amounts == pytest.approx({e.name: share for e, share in products.items()}, abs=1e-8)
        if len(composition) == n_elements:  # inside a facet, where potentials are unique
            potentials = {e.symbol: mu for e, mu in pymatgen.get_composition_chempots(composition).items()}
            assert found.chemical_potentials == pytest.approx(potentials, abs=1e-8)


def test_the_whole_set_of_facets_is_that_of_pymatgen() -> None:
    phases = random_phases(ELEMENTS[:4], 40)
    pymatgen, hull = diagram(phases), Hull(PhaseSet(phases), ELEMENTS[:4])
    for facet in pymatgen.facets:
        members = [pymatgen.qhull_entries[n] for n in facet]
        amounts = dict.fromkeys(ELEMENTS[:4], 0.0)
        for entry in members:
            for element, share in entry.composition.fractional_composition.items():
                amounts[element.symbol] += share / len(members)
        assert set(hull.decompose(Composition(amounts)).amounts) == {entry.name for entry in members}


@pytest.mark.parametrize("on_hull", [True, False])
def test_other_compositions_are_those_of_pymatgens_phase_separation_energy(candidate: Any, on_hull: bool) -> None:
    """For a phase of the lowest energy, that function leaves out every phase of its composition."""
    elements = ("La", "Co", "O")
    own = -5.0 if on_hull else -4.6
    phases = [phase("La", -2), phase("Co", -3), phase("O2", -1), phase("La2O3", -4.5), phase("CoO", -3.5)]
    polymorph = phase("LaCoO3", -4.9, "cubic")
    separation = diagram([*phases, polymorph, phase("LaCoO3", own, "own")])
    entry = next(e for e in separation.all_entries if e.name == "LaCoO3-own")
    doc = hull_doc(
        candidate({"La": 1}, {"Co": 1}),
        Composition("LaCoO3"),
        energies={"job": own},
        phases=PhaseSet([*phases, polymorph]),
        protocol="p",
    )
    assert doc.energy_above_hull.value == pytest.approx(own + 4.9)
    if on_hull:
        expected = separation.get_phase_separation_energy(entry)
        assert doc.energy_above_other_compositions == pytest.approx(expected, abs=1e-9)
        assert doc.energy_above_other_compositions < doc.energy_above_hull.value
    else:
        assert separation.get_e_above_hull(entry) == pytest.approx(own + 4.9)
    without = Hull(PhaseSet(phases), elements).energy_above(Composition("LaCoO3"), own)
    assert doc.energy_above_other_compositions == pytest.approx(without)


# Degenerate compositions


@pytest.fixture(scope="module")
def small() -> Hull:
    return Hull(PhaseSet(random_phases(ELEMENTS[:4], 40)), ELEMENTS[:4])


def test_at_a_stable_phase_the_hull_is_that_phase(small: Hull) -> None:
    stable = set()
    for known in small.phases:
        found = small.decompose(known.composition)
        assert found.energy_per_atom <= known.energy_per_atom + 1e-9
        if found.energy_per_atom == pytest.approx(known.energy_per_atom, abs=1e-9):
            stable.add(known.phase_id)
            assert found.amounts == pytest.approx({known.phase_id: 1.0})
    assert {"La-x", "Sr-x", "Co-x", "Fe-x"} < stable


def test_a_pure_element_is_its_phase(small: Hull) -> None:
    for symbol in small.elements:
        found = small.decompose(Composition({symbol: 3}))
        assert found.amounts == pytest.approx({f"{symbol}-x": 1.0})
        assert small.energy_above(Composition(symbol), found.energy_per_atom + 0.25) == pytest.approx(0.25)


def test_on_a_tie_line_two_phases_are_in_the_proportion_of_the_lever() -> None:
    phases = [phase("Sr", 0), phase("Ti", 0), phase("O2", 0), phase("SrO", -3.0), phase("TiO2", -3.3)]
    hull = Hull(PhaseSet(phases), ("Sr", "Ti", "O"))
    found = hull.decompose(Composition("Sr2TiO4"))  # 2 SrO + TiO2
    assert found.amounts == pytest.approx({"SrO-x": 4 / 7, "TiO2-x": 3 / 7})
    assert found.energy_per_atom == pytest.approx((4 * -3.0 + 3 * -3.3) / 7)
    # On the border of facets the potentials are those of one of them: the hull lies on their plane, no phase below.
    potentials = found.chemical_potentials
    assert found.energy_per_atom == pytest.approx((2 * potentials["Sr"] + potentials["Ti"] + 4 * potentials["O"]) / 7)
    for known in phases:
        plane = sum(potentials[e.symbol] * x for e, x in known.composition.fractional_composition.items())
        assert known.energy_per_atom >= plane - 1e-9


@pytest.mark.parametrize("tiny", [1e-3, 1e-6, 1e-9, 1e-12])
def test_a_trace_of_an_element_changes_the_energy_by_a_trace(small: Hull, tiny: float) -> None:
    pure, traced = (small.decompose(Composition({"La": 1, "Co": 2, "Sr": x})) for x in (0, tiny))
    assert traced.energy_per_atom == pytest.approx(pure.energy_per_atom, abs=20 * tiny + 1e-12)
    assert sum(traced.amounts.values()) == pytest.approx(1)


def test_equal_energies_of_two_mixtures_are_no_trouble() -> None:
    """Four phases on one plane at the corners of a square: every diagonal is a right answer."""
    phases = [phase(f, 0.0) for f in ("La", "Sr", "O2")] + [phase(f, -1.0) for f in ("LaO", "SrO", "LaO2", "SrO2")]
    hull = Hull(PhaseSet(phases), ("La", "Sr", "O"))
    for composition in random_compositions(("La", "Sr", "O"), 50):
        above = diagram(phases).get_decomp_and_e_above_hull(PDEntry(composition, 0), allow_negative=True)[1]
        assert hull.energy_above(composition, 0.0) == pytest.approx(above, abs=1e-9)


# Symmetries and conservation


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n_elements=st.integers(2, 5))
def test_what_goes_in_comes_out(seed: int, n_elements: int) -> None:
    elements = ELEMENTS[:n_elements]
    phases = random_phases(elements, 25, seed)
    hull = Hull(PhaseSet(phases), elements)
    by_id = {p.phase_id: p for p in phases}
    for composition in random_compositions(elements, 5, seed):
        found = hull.decompose(composition)
        assert min(found.amounts.values()) > 0
        assert len(found.amounts) <= n_elements  # Gibbs' phase rule
        parts = [
            by_id[phase_id].composition.fractional_composition * share for phase_id, share in found.amounts.items()
        ]
        for symbol in elements:
            assert sum(part[symbol] for part in parts) == pytest.approx(
                composition.get_atomic_fraction(symbol), abs=1e-8
            )
        energy = sum(by_id[phase_id].energy_per_atom * share for phase_id, share in found.amounts.items())
        assert energy == pytest.approx(found.energy_per_atom, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_symmetries_of_the_hull(seed: int) -> None:
    elements = ELEMENTS[:4]
    phases = random_phases(elements, 20, seed)
    generator = np.random.default_rng(seed)
    hull = Hull(PhaseSet(phases), elements)
    (composition,) = random_compositions(elements, 1, seed)
    above = hull.energy_above(composition, -5.0)
    assert hull.energy_above(composition * 7.3, -5.0) == pytest.approx(above)

    order = [phases[n] for n in generator.permutation(len(phases))]
    assert Hull(PhaseSet(order), elements[::-1]).energy_above(composition, -5.0) == pytest.approx(above, abs=1e-9)

    # Other zeros of the elements' energies.
    zeros = {symbol: float(generator.normal()) for symbol in elements}

    def shifted(energy: float, of: Composition) -> float:
        return energy + sum(zeros[e.symbol] * x for e, x in of.fractional_composition.items())

    moved = [
        PhaseEnergy(p.phase_id, p.composition, shifted(p.energy_per_atom, p.composition), "p", "u") for p in phases
    ]
    energy = shifted(-5.0, composition)
    assert Hull(PhaseSet(moved), elements).energy_above(composition, energy) == pytest.approx(above, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_one_more_phase_never_makes_anything_more_stable(seed: int) -> None:
    elements = ELEMENTS[:4]
    phases = random_phases(elements, 20, seed)
    for composition in random_compositions(elements, 3, seed):
        above = [Hull(PhaseSet(phases[: len(phases) - n]), elements).energy_above(composition, -5.0) for n in range(4)]
        assert all(more >= fewer - 1e-9 for more, fewer in pairwise(above))


def test_the_order_of_asking_changes_nothing() -> None:
    phases = PhaseSet(random_phases(ELEMENTS, 80))
    compositions = random_compositions(ELEMENTS, 200)
    together = Hull(phases, ELEMENTS).decompose_all(compositions)
    backwards = Hull(phases, ELEMENTS)
    for composition, found in list(zip(compositions, together, strict=True))[::-1]:
        alone = backwards.decompose(composition)
        # To the last digit: a document built again must not differ.
        assert (alone.energy_per_atom, alone.amounts) == (found.energy_per_atom, found.amounts)
    energies = backwards.energies(backwards.fractions(compositions))
    assert energies == pytest.approx([found.energy_per_atom for found in together], abs=1e-9)


def test_the_lowest_polymorph_counts() -> None:
    phases = [phase("Sr", 0), phase("O2", 0), phase("SrO", -3.0, "rock salt"), phase("SrO", -2.9, "wurtzite")]
    hull = Hull(PhaseSet(phases), ("Sr", "O"))
    assert hull.decompose(Composition("SrO")).amounts == pytest.approx({"SrO-rock salt": 1.0})
    assert len(hull.phases) == 3


# Bad input


def test_an_element_without_a_phase_is_named_with_the_command() -> None:
    with pytest.raises(ThermoError, match=r"element Sr is missing.*references compute --elements La,O,Sr"):
        Hull(PhaseSet([phase("La", 0), phase("O2", 0), phase("SrO", -3)]), ("La", "Sr", "O"))


def test_a_composition_outside_the_system_is_refused(small: Hull) -> None:
    with pytest.raises(ThermoError, match="element Ni is not in the hull of Co-Fe-La-Sr"):
        small.decompose(Composition("LaNi5"))
    with pytest.raises(ThermoError, match="no atoms"):
        small.decompose(Composition({}))


@pytest.mark.parametrize("energy", [float("nan"), float("inf")])
def test_energies_that_are_not_finite_are_refused(small: Hull, energy: float, candidate: Any) -> None:
    with pytest.raises(ThermoError, match="finite"):
        small.energy_above(Composition("LaCo"), energy)
    with pytest.raises(ThermoError, match=r"LaO-x is (nan|inf).*hemiec rerun job-LaO-x"):
        phase("LaO", energy)
    with pytest.raises(ThermoError, match="finite energies"):
        hull_doc(
            candidate({"La": 1}, {"Co": 1}),
            Composition("LaCoO3"),
            energies={"job": energy},
            phases=PhaseSet([]),
            protocol="p",
        )


def test_two_protocols_never_meet() -> None:
    with pytest.raises(ThermoError, match="2 protocols"):
        PhaseSet([phase("La", 0), phase("Co", 0, protocol="q")])


def test_hulls_are_kept() -> None:
    phases = PhaseSet(random_phases(ELEMENTS[:3], 5))
    assert hull_of(phases, ELEMENTS[:3]) is hull_of(phases, reversed(ELEMENTS[:3]))
    assert hull_of(phases, ELEMENTS[:2]) is not hull_of(phases, ELEMENTS[:3])


# The shipped phases


@pytest.mark.parametrize(
    ("A", "B"), [(("La", "Sr"), ("Co", "Fe")), (("Li", "La", "Sr"), ("Co",)), (("Ba",), ("Ti", "Zr"))]
)
def test_the_hull_of_the_shipped_energies_is_that_of_pymatgen(A: tuple[str, ...], B: tuple[str, ...]) -> None:
    elements = (*A, *B, "O")
    phases = [p for p in shipped() if p.elements <= set(elements)]
    assert len(phases) > 2 * len(elements)
    pymatgen, hull = diagram(phases), Hull(PhaseSet(phases), elements)
    generator = np.random.default_rng(0)
    for _ in range(50):
        on_A, on_B = (generator.dirichlet(np.ones(len(site))) for site in (A, B))
        oxygen = {"O": 3 - generator.uniform(0, 0.5)}
        composition = Composition(dict(zip(A, on_A, strict=True)) | dict(zip(B, on_B, strict=True)) | oxygen)
        products, above = pymatgen.get_decomp_and_e_above_hull(PDEntry(composition, 0.0), allow_negative=True)
        found = hull.decompose(composition)
        assert found.energy_per_atom == pytest.approx(-above, abs=1e-9)
        assert found.amounts == pytest.approx({e.name: share for e, share in products.items()}, abs=1e-8)


def shipped() -> list[PhaseEnergy]:
    """Return the phases shipped for mlip-chgnet with corrected energies."""
    protocol = load_mlip("mlip-chgnet")
    found = []
    for uuid, document in shipped_outputs(protocol.hash_of("relax")).items():
        phase_id, energy = document["metadata"]["hemiec"]["phase_id"], document["output"]["energy_per_atom"]
        composition = Composition(phase_id.split("-")[0])
        corrected = corrected_energy_per_atom(phase_id, composition, float(energy), protocol.thermo)
        found.append(PhaseEnergy(phase_id, composition, corrected, protocol.hash, uuid))
    return found
