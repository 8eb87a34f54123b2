"""Formulas to candidates: which cation stands on which site of known perovskites."""

from __future__ import annotations

import pytest

from hemiec.composition.formula import candidate_from_formula
from hemiec.errors import CompositionError

PEROVSKITES = [
    # formula, A, B, what to know
    ("SrTiO3", "Sr", "Ti"), ("BaTiO3", "Ba", "Ti"), ("CaTiO3", "Ca", "Ti"), ("PbTiO3", "Pb", "Ti"),
    ("LaCoO3", "La", "Co"), ("LaMnO3", "La", "Mn"), ("CaMnO3", "Ca", "Mn"), ("LaNiO3", "La", "Ni"),
    ("LaTiO3", "La", "Ti"), ("SrVO3", "Sr", "V"), ("SrRuO3", "Sr", "Ru"), ("CaIrO3", "Ca", "Ir"),
    ("LiNbO3", "Li", "Nb"), ("LiTaO3", "Li", "Ta"), ("KNbO3", "K", "Nb"), ("NaTaO3", "Na", "Ta"),
    ("AgNbO3", "Ag", "Nb"),
    ("BiFeO3", "Bi", "Fe"), ("BiMnO3", "Bi", "Mn"), ("BiScO3", "Bi", "Sc"), ("BaBiO3", "Ba", "Bi"),
    ("CeAlO3", "Ce", "Al"), ("CeFeO3", "Ce", "Fe"), ("BaCeO3", "Ba", "Ce"), ("SrCeO3", "Sr", "Ce"),
    ("BaPrO3", "Ba", "Pr"),
    ("YAlO3", "Y", "Al"), ("YMnO3", "Y", "Mn"), ("LaYO3", "La", "Y"), ("LaLuO3", "La", "Lu"), ("GdScO3", "Gd", "Sc"),
    ("EuTiO3", "Eu", "Ti"), ("BaPbO3", "Ba", "Pb"), ("MnTiO3", "Mn", "Ti"), ("MgSiO3", "Mg", "Si"),
    ("HgTiO3", "Hg", "Ti"),
    ("KMgF3", "K", "Mg"), ("NaMgF3", "Na", "Mg"), ("RbCaF3", "Rb", "Ca"), ("TlCdF3", "Tl", "Cd"),
    ("CsPbI3", "Cs", "Pb"), ("CsSnBr3", "Cs", "Sn"), ("CsGeCl3", "Cs", "Ge"),
    ("La0.2Pr0.2Nd0.2Sr0.2Ba0.2CoO3", "La Pr Nd Sr Ba", "Co"), ("(La,Pr,Nd,Sr,Ba)CoO3", "La Pr Nd Sr Ba", "Co"),
    ("Ba(Ti,Zr,Hf,Sn,Ce)O3", "Ba", "Ti Zr Hf Sn Ce"), ("Ba0.5Sr0.5Co0.8Fe0.2O3", "Ba Sr", "Co Fe"),
    ("Li1/12La1/6Pr1/6Nd1/6Sr1/6Ba1/6CoO3", "Li La Pr Nd Sr Ba vacancy", "Co"),
    ("Li0.33La0.557TiO3", "Li La vacancy", "Ti"), ("La2/3TiO3", "La vacancy", "Ti"),
    ("(La0.8Sr0.2)0.95MnO3", "La Sr vacancy", "Mn"), ("Na0.5Bi0.5TiO3", "Na Bi", "Ti"),
    ("La0.8Sr0.2Ga0.8Mg0.2O2.8", "La Sr", "Ga Mg"), ("BaZr0.8Y0.2O2.9", "Ba", "Zr Y"), ("SrTiO2.9", "Sr", "Ti"),
    ("La₀.₆Sr₀.₄Co₀.₂Fe₀.₈O₃", "La Sr", "Co Fe"), ("Pb(Zr0.52Ti0.48)O3", "Pb", "Zr Ti"),
    ("PbMg1/3Nb2/3O3", "Pb", "Mg Nb"),
    ("Sr2FeMoO6", "Sr", "Fe Mo"), ("La2NiMnO6", "La", "Ni Mn"), ("Ba2YBiO6", "Ba", "Y Bi"),
    ("Cs2AgBiBr6", "Cs", "Ag Bi"),
    ("K2NaAlF6", "K", "Na Al"), ("CaCu3Ti4O12", "Ca Cu", "Ti"), ("Ba3CaNb2O9", "Ba", "Ca Nb"), ("Ca2Fe2O5", "Ca", "Fe"),
    ("BaScO2F", "Ba", "Sc"), ("BaTiO2F", "Ba", "Ti"), ("SrTaO2N", "Sr", "Ta"), ("LaTaON2", "La", "Ta"),
]  # fmt: skip


@pytest.mark.parametrize(("formula", "A", "B"), PEROVSKITES, ids=[p[0] for p in PEROVSKITES])
def test_known_perovskites_are_split_as_they_are(formula: str, A: str, B: str) -> None:
    candidate, sentence = candidate_from_formula(formula)
    assert set(candidate.sites["A"]) == set(A.split())
    assert set(candidate.sites["B"]) == set(B.split())
    assert candidate.charge_balanced
    assert sentence.startswith("Split by radius and charge")
    for site, species in candidate.sites.items():
        assert f"{site} holds" in sentence
        assert all(s in sentence for s in species)


@pytest.mark.parametrize(
    ("formula", "states"),
    [
        ("EuTiO3", {"Eu": 2, "Ti": 4}), ("CeFeO3", {"Ce": 3, "Fe": 3}), ("BaCeO3", {"Ce": 4}), ("LaTiO3", {"Ti": 3}),
        ("BaBiO3", {"Bi": 4}), ("SrTiO2.9", {"Ti": 3.8}), ("BaTiO2F", {"Ti": 3}), ("Ca2Fe2O5", {"Fe": 3}),
        ("BaPbO3", {"Pb": 4}), ("PbTiO3", {"Pb": 2}), ("La0.2Pr0.2Nd0.2Sr0.2Ba0.2CoO3", {"Co": 3.4, "Pr": 3}),
    ],
)  # fmt: skip
def test_split_formulas_have_the_usual_states(formula: str, states: dict[str, float]) -> None:
    candidate, _ = candidate_from_formula(formula)
    assert {s: candidate.oxidation_states[s] for s in states} == pytest.approx(states)


def test_stated_sites_are_taken_as_stated() -> None:
    candidate, sentence = candidate_from_formula("A:Sr0.5Ba0.5 B:Co0.5Fe0.5 X:O3")
    assert candidate.sites == {"A": {"Ba": "1/2", "Sr": "1/2"}, "B": {"Fe": "1/2", "Co": "1/2"}, "X": {"O": "1"}}
    assert sentence == "Sites as stated: A holds Ba 0.5, Sr 0.5; B holds Fe 0.5, Co 0.5; X holds O 3."
    assert candidate == candidate_from_formula("Sr0.5Ba0.5Co0.5Fe0.5O3")[0]
    deficient, _ = candidate_from_formula("A:La B:Co X:O2.9")
    assert deficient.sites["X"] == {"O": "29/30", "vacancy": "1/30"}
    third, _ = candidate_from_formula("A:La B:Co X:O2.667")
    assert third.sites["X"] == {"O": "8/9", "vacancy": "1/9"}
    for empty in ("Va1/3", "vacancy1/3", "□1/3"):
        assert candidate_from_formula(f"A:La2/3{empty} B:Ti")[0] == candidate_from_formula("La2/3TiO3")[0]
    # Stated against size: what is stated counts.
    assert candidate_from_formula("A:Ti B:Sr")[0].sites["A"] == {"Ti": "1"}


def test_given_states_go_over_the_built_in_ones() -> None:
    assert candidate_from_formula("SrCoO2.5", {"Co": (3,)})[0].oxidation_states["Co"] == 3
    with pytest.raises(CompositionError, match="cannot be charge-balanced"):
        candidate_from_formula("SrCoO3", {"Co": (3,)})


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("", "it is empty|expected cations"), ("TiO2", "too few anions"), ("NaCl", "too few anions"),
        ("MgAl2O4", "too few anions"), ("LiCoO2", "too few anions"), ("SrTiO3-d", "must be a number"),
        ("SrTiO3-δ", "must be a number"), ("ABO3", "unknown element 'A'"), ("Sr(Ti,ZrO3", "not closed"),
        ("Sr)TiO3", "not opened"), ("(La0.6,Sr0.4)CoO3", "means equal amounts"), ("Sr,BaTiO3", "commas list"),
        ("La1/12Ti11/12O3", "no set of its cations"), ("Li1/12La7/12TiO3", "charge -1.16667 to -0.166667"),
        ("LiUO3", "not larger"), ("SrTiO3!", "cannot read it at '!'"), ("CH3NH3PbI3", "ABX3"),
        ("A:Sr0.5Ba0.4 B:Ti", "site A: amounts sum to 0.9, expected 1.*Va0.1"), ("A:Sr B:Ti0.9", "site B: amounts"),
        ("A:Sr B:Ti X:O4", "expected at most 3"), ("A:Sr", "site B is missing"), ("A:Sr A:Ba B:Ti", "given twice"),
        ("C:Sr B:Ti", "cannot read 'C:Sr'"), ("A:Sr B:Ti X:O1/0", "fraction"), ("A:Sr B:Va", "not allowed on B"),
        ("ReO3", "no set of its cations"), ("Y0.5Ho0.5Er0.5Lu0.5O3", "ambiguous: A:Y,Ho B:Er,Lu or A:"),
    ],
)  # fmt: skip
def test_what_is_no_perovskite_is_refused(formula: str, expected: str) -> None:
    with pytest.raises(CompositionError, match=expected):
        candidate_from_formula(formula)
