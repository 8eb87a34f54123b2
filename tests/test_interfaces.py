"""Interface reactions: exact small systems, conservation, pymatgen beside. Energies marked invented are made up."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from importlib import resources
from typing import Any

import numpy as np
import pytest
import yaml
from pymatgen.analysis.interface_reactions import GrandPotentialInterfacialReactivity, InterfacialReactivity
from pymatgen.analysis.phase_diagram import GrandPotentialPhaseDiagram, PDEntry, PhaseDiagram
from pymatgen.core import Composition, Element
from shipped_phases import shipped

from hemiec.errors import ThermoError
from hemiec.schemas.thermo import InterfaceDoc, ReactionKink
from hemiec.thermo.hull.convex import Hull
from hemiec.thermo.interfaces.partners import PARTNERS, Partner
from hemiec.thermo.interfaces.reactions import CANDIDATE, CLOSED, CONDITIONS, Condition, interfaces, lacking, worst
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.references.table import ReferencePhase, all_phases, element_phase

LITHIUM = Partner("Li", (("Li", 1.0),), "electrode", "metal")


def phase(formula: str, energy_per_atom: float, protocol_hash: str = "p-1") -> PhaseEnergy:
    return PhaseEnergy(f"{formula}-invented", Composition(formula), energy_per_atom, protocol_hash, "job")


def against(formula: str) -> list[Partner]:
    return [Partner(formula, ((formula, 1.0),), "electrolyte", "invented")]


def value(kink: ReactionKink, formula: str) -> float:
    return next((product.amount for product in kink.products if product.formula == formula), 0.0)


#: Invented, in eV/atom; elements at zero. Co + Li2O lies far below CoO + 2 Li.
COBALT = PhaseSet(
    [
        phase("Li", 0.0),
        phase("O2", 0.0),
        phase("Co", 0.0),
        phase("Li2O", -2.0),
        phase("CoO", -1.25),
        phase("Co3O4", -1.3),
    ]
)


def random_system(seed: int, symbols: Iterable[str] = ("Li", "O", "S", "Co", "La"), compounds: int = 30) -> PhaseSet:
    """Return invented phases, every compound below its elements."""
    rng, names = np.random.default_rng(seed), tuple(symbols)
    elements = {name: float(rng.uniform(-5, -1)) for name in names}
    found = {"O2" if name == "O" else name: energy for name, energy in elements.items()}
    while len(found) < len(names) + compounds:
        picked = rng.choice(names, rng.integers(2, min(5, len(names) + 1)), replace=False)
        composition = Composition({str(name): int(rng.integers(1, 5)) for name in picked})
        shares = np.array([composition.get_atomic_fraction(name) for name in names])
        depth = rng.uniform(0.5, 1.5) * (1 - (shares**2).sum())
        found.setdefault(composition.reduced_formula, float(shares @ list(elements.values()) - depth))
    return PhaseSet(phase(formula, energy) for formula, energy in found.items())


def two_compounds(phases: PhaseSet, seed: int) -> tuple[PhaseEnergy, PhaseEnergy]:
    compounds = [p for p in phases.phases if len(p.elements) > 1]
    first, second = np.random.default_rng(seed).choice(len(compounds), 2, replace=False)
    return compounds[first], compounds[second]


# Exact


def test_lithium_burns_to_its_oxide() -> None:
    phases = PhaseSet([phase("Li", -1.9), phase("O2", -4.9), phase("Li2O", -4.0)])
    (doc,) = interfaces(Composition("O2"), -4.9, phases, partners=[LITHIUM], conditions=[CLOSED])
    assert [k.fraction for k in doc.kinks] == pytest.approx([0, 1 / 3, 1])
    # 2 Li + O -> Li2O
    assert doc.reaction_energy == pytest.approx(-4.0 - (2 * -1.9 - 4.9) / 3)
    assert (doc.worst_fraction, doc.mutual_energy) == (pytest.approx(1 / 3), pytest.approx(doc.reaction_energy))
    assert [(p.formula, p.amount) for p in doc.kinks[1].products] == [("Li2O", pytest.approx(1))]


def test_lithium_reduces_cobalt_oxide() -> None:
    (doc,) = interfaces(Composition("CoO"), -1.25, COBALT, partners=[LITHIUM])
    # CoO + 2 Li -> Co + Li2O: two atoms of each side, (3 * -2 - 2 * -1.25) / 4
    assert doc.worst_fraction == pytest.approx(0.5)
    assert doc.reaction_energy == pytest.approx((3 * -2.0 + 2 * 1.25) / 4)
    kink = next(k for k in doc.kinks if k.fraction == doc.worst_fraction)
    assert value(kink, "Co") == pytest.approx(1 / 4)
    assert value(kink, "Li2O") == pytest.approx(3 / 4)
    assert doc.open_element is None  # lithium is its own reservoir


def test_lithium_reservoir_gives_what_the_metal_gives() -> None:
    # With Li at 0 V, CoO takes up two Li per formula unit whatever is mixed in; at -0.1 V less than the metal's energy.
    inert = against("Li2O")
    (doc,) = interfaces(Composition("CoO"), -1.25, COBALT, partners=inert, conditions=[Condition("Li", 0.0, "metal")])
    assert doc.kinks[-1].reaction_energy == pytest.approx((3 * -2.0 + 2 * 1.25) / 2)
    assert doc.kinks[-1].uptake == pytest.approx(1.0)  # 2 Li on 2 atoms
    assert doc.kinks[0].uptake == pytest.approx(0)
    (shifted,) = interfaces(
        Composition("CoO"), -1.25, COBALT, partners=inert, conditions=[Condition("Li", -0.1, "0.1 V")]
    )
    assert shifted.kinks[-1].reaction_energy - doc.kinks[-1].reaction_energy == pytest.approx(0.1 * 1.0)


def test_a_metastable_candidate_ends_at_minus_its_energy_above_the_hull() -> None:
    for above in (0.0, 0.08):
        (doc,) = interfaces(Composition("CoO"), -1.25 + above, COBALT, partners=against("Li2O"), conditions=[CLOSED])
        assert doc.kinks[0].reaction_energy == pytest.approx(0, abs=1e-12)
        assert doc.kinks[-1].reaction_energy == pytest.approx(-above, abs=1e-12)
        # CoO and Li2O coexist: nothing but the candidate's own decay
        assert doc.mutual_energy == pytest.approx(0, abs=1e-12)
        assert doc.reaction_energy == pytest.approx(-above, abs=1e-12)


def test_a_candidate_below_all_phases_is_among_the_products() -> None:
    (doc,) = interfaces(Composition("LiCoO2"), -2.5, COBALT, partners=against("Co3O4"), conditions=[CLOSED])
    assert [p.phase_id for p in doc.kinks[-1].products] == [CANDIDATE]
    assert [k.reaction_energy for k in doc.kinks] == pytest.approx([0, 0], abs=1e-12)
    assert len(COBALT) == 6  # and is not left in the set


# Laws


@pytest.mark.parametrize("seed", range(6))
def test_swapping_the_sides_mirrors_the_curve(seed: int) -> None:
    phases = random_system(seed)
    first, second = two_compounds(phases, seed)
    docs = [
        interfaces(a.composition, a.energy_per_atom, phases, partners=against(b.composition.reduced_formula))
        for a, b in ((first, second), (second, first))
    ]
    for there, back in zip(*docs, strict=True):
        assert [k.fraction for k in there.kinks] == pytest.approx([1 - k.fraction for k in back.kinks[::-1]], abs=1e-6)
        energies = [k.reaction_energy for k in back.kinks[::-1]]
        assert [k.reaction_energy for k in there.kinks] == pytest.approx(energies, abs=1e-8)
        assert there.mutual_energy == pytest.approx(back.mutual_energy, abs=1e-8)
        for element, jump in there.potential_jump.items():
            assert jump == pytest.approx(-back.potential_jump[element], abs=1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_curves_are_convex_and_atoms_are_kept(seed: int) -> None:
    phases = random_system(seed)
    first, second = two_compounds(phases, seed)
    for doc in interfaces(
        first.composition, first.energy_per_atom + 0.05, phases, partners=against(second.composition.reduced_formula)
    ):
        x, energy = (np.array([getattr(k, name) for k in doc.kinks]) for name in ("fraction", "reaction_energy"))
        assert (np.diff(x) > 0).all() and x[0] == 0 and x[-1] == 1
        assert (np.diff(np.diff(energy) / np.diff(x)) > 0).all()
        assert doc.reaction_energy == energy.min() <= 0
        assert doc.reaction_energy - 1e-9 <= doc.mutual_energy <= 0
        for kink in doc.kinks:
            assert _atoms_off(kink, doc.open_element, first.composition, second.composition) < 1e-4


def _atoms_off(kink: ReactionKink, element: str | None, candidate: Composition, partner: Composition) -> float:
    """Return the largest difference of the elements in the products and in the mixture with what it took up."""
    assert sum(p.amount for p in kink.products) == pytest.approx(1)
    off = 0.0
    for symbol in {e.symbol for e in candidate} | {e.symbol for e in partner} | {"Li", "O"}:
        after = sum(p.amount * Composition(p.formula).get_atomic_fraction(symbol) for p in kink.products)
        before = kink.fraction * candidate.get_atomic_fraction(symbol)
        before += (1 - kink.fraction) * partner.get_atomic_fraction(symbol)
        taken = kink.uptake if symbol == element else 0.0
        off = max(off, abs(after * (1 + kink.uptake) - before - taken))
    return off


@pytest.mark.parametrize("seed", range(4))
def test_without_any_of_the_open_element_the_system_is_closed(seed: int) -> None:
    # At a potential so low that nothing takes it up, an open element that neither side has changes nothing.
    phases = random_system(seed)
    poor = [p for p in phases.phases if "Li" not in p.elements and len(p.elements) > 1]
    first, second = poor[0], poor[-1]
    partners = against(second.composition.reduced_formula)
    closed, opened = interfaces(
        first.composition,
        first.energy_per_atom,
        phases,
        partners=partners,
        conditions=[CLOSED, Condition("Li", -30, "")],
    )
    assert [k.fraction for k in opened.kinks] == pytest.approx([k.fraction for k in closed.kinks], abs=1e-6)
    assert [k.reaction_energy for k in opened.kinks] == pytest.approx([k.reaction_energy for k in closed.kinks])
    assert max(abs(k.uptake) for k in opened.kinks) < 1e-5


def test_at_the_lowest_potential_all_of_the_open_element_leaves() -> None:
    phases = random_system(3)
    first, second = (p for p in two_compounds(phases, 1))
    (doc,) = interfaces(
        first.composition,
        first.energy_per_atom,
        phases,
        partners=against(second.composition.reduced_formula),
        conditions=[Condition("Li", -40.0, "")],
    )
    for kink in doc.kinks:
        share = kink.fraction * first.composition.get_atomic_fraction("Li")
        share += (1 - kink.fraction) * second.composition.get_atomic_fraction("Li")
        assert kink.uptake == pytest.approx(-share, abs=1e-4)
        assert not any("Li" in Composition(p.formula) for p in kink.products)


def test_a_partner_of_the_same_composition() -> None:
    (doc,) = interfaces(Composition("Co2O2"), -1.2, COBALT, partners=against("CoO"), conditions=[CLOSED])
    assert [(k.fraction, k.reaction_energy) for k in doc.kinks] == [(0, pytest.approx(0)), (1, pytest.approx(-0.05))]
    assert doc.mutual_energy == pytest.approx(0)
    assert doc.potential_jump == {"Li": 0.0, "O": 0.0}


# Chemical potentials


def test_potential_jump_between_lithium_and_its_oxide() -> None:
    # Li2O holds from the metal (mu_Li 0) down to its decomposition: two Li at -6 eV together, so -3 eV.
    phases = PhaseSet([phase("Li", 0.0), phase("O2", 0.0), phase("Li2O", -2.0)])
    (doc,) = interfaces(Composition("Li2O"), -2.0, phases, partners=[LITHIUM])
    assert doc.potential_jump == pytest.approx({"Li": 0.0, "O": 0.0}, abs=1e-9)
    (doc,) = interfaces(Composition("O2"), 0.0, phases, partners=[LITHIUM])
    assert doc.potential_jump == pytest.approx({"Li": -3.0, "O": 6.0})
    # What coexists has no jump; what reacts has one.
    (doc,) = interfaces(Composition("CoO"), -1.25, COBALT, partners=against("Li2O"), conditions=[CLOSED])
    assert doc.potential_jump == pytest.approx({"Li": 0.0, "O": 0.0}, abs=1e-9)
    (doc,) = interfaces(Composition("CoO"), -1.25, COBALT, partners=[LITHIUM])
    # O leaves CoO for Li at mu_O = -6: CoO gives it up at -2.5. Li enters CoO at (-6 + 2.5) / 2 below the metal.
    assert doc.potential_jump == pytest.approx({"Li": -1.75, "O": 3.5})


# Beside pymatgen


@pytest.mark.parametrize("seed", range(8))
def test_same_curves_as_pymatgen(seed: int) -> None:
    symbols = ("Li", "O", "S", "Co", "La")[: 3 + seed % 3]
    phases = random_system(seed, symbols, compounds=12 if seed % 3 == 0 else 25)
    first, second = two_compounds(phases, seed)
    conditions = [CLOSED, Condition("Li", -0.5, ""), Condition("O", -0.3, "")]
    docs = interfaces(
        first.composition,
        first.energy_per_atom,
        PhaseSet(p for p in phases.phases if p is not first),
        partners=against(second.composition.reduced_formula),
        conditions=conditions,
    )
    entries = [PDEntry(p.composition, p.energy_per_atom * p.composition.num_atoms) for p in phases.phases]
    for doc in docs:
        theirs = _pymatgen(doc, entries, first.composition, second.composition, phases)
        assert [k.fraction for k in doc.kinks] == pytest.approx([x for x, _, _ in theirs], abs=1e-6)
        assert [k.reaction_energy for k in doc.kinks] == pytest.approx([energy for _, energy, _ in theirs], abs=1e-8)
        for kink, (_, _, products) in zip(doc.kinks, theirs, strict=True):
            assert {p.formula for p in kink.products if p.amount > 1e-4} == products


def _pymatgen(
    doc: InterfaceDoc, entries: list[Any], candidate: Composition, partner: Composition, phases: PhaseSet
) -> list[tuple[float, float, set[str]]]:
    """Return pymatgen's kinks, energies per atom of all elements (its own: of those that are not open)."""
    diagram = PhaseDiagram(entries)
    with warnings.catch_warnings():
        # Of a reactant that is off the hull only in the grand potential.
        warnings.simplefilter("ignore")
        if doc.open_element is None:
            found = InterfacialReactivity(candidate, partner, diagram).get_kinks()
            return sorted((k[1], k[2], _products(k[3], set())) for k in found)
        element = doc.open_element
        assert doc.chemical_potential is not None
        mu = phases.lowest["O2" if element == "O" else element].energy_per_atom + doc.chemical_potential
        grand = GrandPotentialPhaseDiagram(entries, {Element(element): mu})
        found = GrandPotentialInterfacialReactivity(
            candidate, partner, grand, diagram, include_no_mixing_energy=True, use_hull_energy=False
        ).get_kinks()
    held = [1 - c.get_atomic_fraction(element) for c in (candidate, partner)]
    reservoir = {Composition(element).reduced_formula}
    return sorted((k[1], k[2] * (k[1] * held[0] + (1 - k[1]) * held[1]), _products(k[3], reservoir)) for k in found)


def _products(reaction: Any, reservoir: set[str]) -> set[str]:
    found = {p.reduced_formula for p in reaction.products if reaction.get_coeff(p) > 1e-4}
    # A reactant that stays is cancelled on both sides of pymatgen's equation.
    return (found or {r.reduced_formula for r in reaction.all_comp}) - reservoir


def test_curves_of_twelve_elements_lie_on_the_hull() -> None:
    symbols = ("Li", "O", "S", "P", "Co", "Fe", "Mn", "La", "Pr", "Nd", "Sr", "Ba")
    phases = random_system(11, symbols, compounds=200)
    candidate = Composition("La0.3Pr0.2Nd0.2Sr0.2Ba0.1Co0.4Fe0.3Mn0.3O2.9")
    partner = next(p for p in phases.phases if len(p.elements) > 2 and {"Li", "S"} <= p.elements)
    hull = Hull(phases, symbols)
    energy = hull.decompose(candidate).energy_per_atom + 0.03
    (doc,) = interfaces(
        candidate, energy, phases, partners=against(partner.composition.reduced_formula), conditions=[CLOSED]
    )
    assert len(doc.kinks) > 8
    ends = hull.fractions([partner.composition, candidate])
    for x in np.linspace(0, 1, 41):
        on_hull = hull.energies(((1 - x) * ends[0] + x * ends[1])[None])[0]
        curve = np.interp(x, [k.fraction for k in doc.kinks], [k.reaction_energy for k in doc.kinks])
        assert curve == pytest.approx(on_hull - (1 - x) * partner.energy_per_atom - x * energy, abs=1e-8)


# Partners and ranking


def test_partners_are_what_they_are_called() -> None:
    for partner in PARTNERS:
        assert partner.composition.almost_equals(Composition(partner.name)), partner.name
    assert [p.name for p in PARTNERS if p.role == "electrode"] == ["Li"]


def test_a_mixed_partner_has_the_energy_of_its_parts() -> None:
    mixed = Partner("Li4CoO3", (("Li2O", 2.0), ("CoO", 1.0)), "electrolyte", "invented")
    (doc,) = interfaces(Composition("Co"), 0.0, COBALT, partners=[mixed], conditions=[CLOSED])
    assert {p.formula: p.amount for p in doc.phases} == pytest.approx({"Li2O": 6 / 8, "CoO": 2 / 8})
    assert doc.kinks[0].reaction_energy == pytest.approx(0, abs=1e-12)


def test_the_worst_is_a_closed_electrolyte() -> None:
    partners = [LITHIUM, *against("Li2O"), *against("Co3O4")]
    docs = interfaces(Composition("CoO"), -1.25, COBALT, partners=partners)
    assert len(docs) == 1 + 2 * len(CONDITIONS)
    docs = interfaces(Composition("Co"), 0.0, COBALT, partners=partners)
    assert len(docs) == 3  # an element is its own reservoir
    found = worst(docs)
    assert found is not None
    # Co3O4 + Co -> 4 CoO
    assert (found.partner, found.open_element) == ("Co3O4", None)
    assert found.reaction_energy == pytest.approx((8 * -1.25 - 7 * -1.3) / 8)
    assert worst([]) is None
    assert worst([doc for doc in docs if doc.partner == "Li"]) is None


# Bad input


def test_a_missing_partner_is_named_with_the_mend() -> None:
    with pytest.raises(
        ThermoError, match=r"Li3PS4 lacks the energy of phase Li3PS4 .*references compute --elements"
    ) as e:
        interfaces(Composition("CoO"), -1.25, COBALT)
    assert "element P, S" in e.value.message
    assert e.value.mend is not None and e.value.mend.endswith("Al,Cl,Co,La,Li,O,P,S,Ti,Y,Zr")
    assert set(lacking(Composition("CoO"), COBALT)) == {p.name for p in PARTNERS} - {"Li"}
    assert not lacking(Composition("CoO"), COBALT, [LITHIUM])


def test_a_missing_element_is_named() -> None:
    with pytest.raises(ThermoError, match="Li lacks the energy of element La"):
        interfaces(Composition("LaCoO3"), -1.0, COBALT, partners=[LITHIUM])


@pytest.mark.parametrize(("amounts", "energy"), [({"Co": 1}, float("nan")), ({"Co": 1}, float("inf")), ({}, -1.0)])
def test_energies_and_atoms_must_be_there(amounts: dict[str, float], energy: float) -> None:
    with pytest.raises(ThermoError, match="need atoms and a finite energy"):
        interfaces(Composition(amounts), energy, COBALT, partners=[LITHIUM])


def test_protocols_do_not_mix() -> None:
    with pytest.raises(ThermoError, match="2 protocols"):
        PhaseSet([*COBALT.phases, phase("La", 0.0, "p-2")])


# The table


TABLE = yaml.safe_load((resources.files("hemiec.thermo.references") / "electrolyte_phases.yaml").read_text())
PHASES = [ReferencePhase.model_validate(entry) for kind in ("elements", "phases") for entry in TABLE[kind]]


@pytest.mark.parametrize("table_phase", PHASES, ids=lambda p: p.phase_id)
def test_phases_build_as_stated(table_phase: ReferencePhase) -> None:
    structure = table_phase.structure()
    formula = "Cl2" if table_phase.is_molecule else table_phase.formula
    assert structure.composition.reduced_composition.almost_equals(Composition(formula).reduced_composition)
    if table_phase.is_molecule:
        assert structure.get_distance(0, 1) == pytest.approx(1.9879, abs=1e-3)  # Huber, Herzberg
        return
    assert structure.get_space_group_info(symprec=1e-3)[1] == table_phase.space_group
    distances = structure.distance_matrix + 99 * np.eye(len(structure))
    assert 1.35 < min(distances.min(), *structure.lattice.abc) < 5.0


def test_every_partner_and_its_elements_are_in_the_tables() -> None:
    phases = all_phases()
    formulas = {Composition(p.formula).reduced_formula for p in phases}
    assert len({p.phase_id for p in phases}) == len(phases)
    for partner in PARTNERS:
        assert {Composition(formula).reduced_formula for formula, _ in partner.mixture} <= formulas
        for symbol in partner.elements:
            assert element_phase(symbol).formula in (symbol, f"{symbol}2")


# CHGNet's shipped energies against published reactions of LiCoO2


def test_lithium_cobalt_oxide_reacts_with_sulfides_and_hardly_with_garnet() -> None:
    # doi:10.1039/C5TA08574H and doi:10.1021/acs.chemmater.5b04082, PBE: about -0.3 to -0.5 eV/atom with Li3PS4,
    # -0.001 to -0.04 with Li7La3Zr2O12.
    candidate = Composition("LiCoO2")
    docs = interfaces(candidate, shipped().lowest["LiCoO2"].energy_per_atom, shipped())
    assert len(docs) == 1 + len(CONDITIONS) * (len(PARTNERS) - 1)
    closed = {doc.partner: doc for doc in docs if doc.open_element is None}
    sulfide, garnet = closed["Li3PS4"], closed["Li7La3Zr2O12"]
    assert -0.5 < sulfide.reaction_energy < -0.3
    products = {p.formula for k in sulfide.kinks if k.fraction == sulfide.worst_fraction for p in k.products}
    assert {"Li3PO4", "Li2S"} < products
    assert any({"Co", "S"} == {e.symbol for e in Composition(formula)} for formula in products)
    assert -0.04 < garnet.reaction_energy <= 0
    assert sulfide.potential_jump["O"] > 0.3  # oxygen is driven into the sulfide
    found = worst(docs)
    assert found is not None
    assert found.partner == "Li3PS4"
    # Halides and phosphates between the two
    assert sulfide.reaction_energy < closed["Li3YCl6"].reaction_energy < garnet.reaction_energy
    assert sulfide.reaction_energy < closed["Li1.3Al0.3Ti1.7(PO4)3"].reaction_energy
