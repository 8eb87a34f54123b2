"""Fractions, charge balance, names and descriptors of candidates, and simple spaces."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemiec.composition.candidate import candidate_id, exact_sites, make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES, SITE_MULTIPLICITY, balance_charge
from hemiec.composition.descriptors import bartel_tau, tolerance_factor
from hemiec.composition.elements import shannon_radius
from hemiec.composition.fractions import parse_fraction, parse_site
from hemiec.composition.space import enumerate_candidates
from hemiec.errors import CompositionError
from hemiec.schemas.campaign import CampaignSpec

FIFTH = Fraction(1, 5)
A_CATIONS = ("Li", "Na", "K", "La", "Y", "Sr", "Ba", "Ca", "Bi", "In")


# Fractions


@pytest.mark.parametrize("written", [0.2, "0.2", "1/5", " 1/5 ", "2/10", Fraction(1, 5), 0.2 + 1e-12, 1 / 5])
def test_notations_of_one_fifth_are_equal(written: object) -> None:
    assert parse_fraction(written) == FIFTH


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0.333, Fraction(1, 3)),
        (0.3333, Fraction(1, 3)),
        (0.667, Fraction(2, 3)),
        (0.1667, Fraction(1, 6)),
        (0.143, Fraction(1, 7)),
        (1, Fraction(1)),
        (0, Fraction(0)),
        ("1/3", Fraction(1, 3)),
        ("333/1000", Fraction(333, 1000)),  # a written fraction is meant as it is written
        (0.4321, Fraction(4321, 10_000)),  # not near any simple fraction
    ],
)
def test_decimals_become_the_simple_fraction_they_abbreviate(written: object, meant: Fraction) -> None:
    assert parse_fraction(written) == meant


@given(st.integers(1, 24).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d))))
def test_every_simple_fraction_survives_its_decimal(pair: tuple[int, int]) -> None:
    exact = Fraction(*pair)
    assert parse_fraction(str(exact)) == exact
    assert parse_fraction(float(exact)) == exact
    assert parse_fraction(round(float(exact), 4)) == exact


@pytest.mark.parametrize(
    "written", [True, None, [0.2], {"x": 1}, "a fifth", "", "1/0", math.nan, math.inf, -math.inf, 1j, -0.2, "-1/5"]
)
def test_what_is_no_fraction_is_refused(written: object) -> None:
    with pytest.raises(CompositionError, match="fraction"):
        parse_fraction(written)


def test_absurd_exponents_are_refused_at_once() -> None:
    # Fraction('1e9999999999') would compute a power of ten with ten thousand million digits.
    for written in ("1e400", "1e9999999", "1e-9999999", 10**400):
        with pytest.raises(CompositionError):
            parse_site("A", {"La": written}, where="here")


def test_sites_sum_to_one_exactly_and_drop_zeros() -> None:
    thirds = parse_site("A", {"La": 0.333, "Sr": 0.333, "Ba": 0.334, "Ca": 0}, where="here")
    assert thirds == dict.fromkeys(("La", "Sr", "Ba"), Fraction(1, 3))
    with pytest.raises(CompositionError, match=r"here: site A: fractions sum to 0\.9, expected 1"):
        parse_site("A", {"La": 0.5, "Sr": 0.4}, where="here")


@pytest.mark.parametrize("value", [-0.2, True, math.nan, "much"])
def test_a_bad_fraction_is_told_with_file_and_site(value: object) -> None:
    with pytest.raises(CompositionError, match=r"here: site A.*Sr"):
        parse_site("A", {"Sr": value}, where="here")


def test_unknown_elements_are_named() -> None:
    with pytest.raises(CompositionError, match=r"here: site B: unknown element 'Cl2'"):
        parse_site("B", {"Cl2": 1}, where="here")
    with pytest.raises(CompositionError, match=r"unknown element 'la'; did you mean 'La'"):
        parse_site("A", {"la": 1}, where="here")


# Charge


@pytest.mark.parametrize(
    ("A", "B", "species", "state"),
    [
        ({"Sr": 1}, {"Ti": 1}, "Ti", 4),
        ({"La": 1}, {"Co": 1}, "Co", 3),
        ({"Sr": 1}, {"Fe": 1}, "Fe", 4),
        ({"La": "3/5", "Sr": "2/5"}, {"Mn": 1}, "Mn", Fraction(17, 5)),
        (dict.fromkeys(("La", "Y", "Sr", "Ba", "Ca"), "1/5"), {"Co": 1}, "Co", Fraction(18, 5)),
        # values.json: the flagship without vacancies
        (dict.fromkeys(("Li", "La", "Pr", "Nd", "Sr", "Ba"), "1/6"), {"Co": 1}, "Co", Fraction(11, 3)),
    ],
)
def test_charge_balance_is_exact(
    A: dict[str, object], B: dict[str, object], species: str, state: int | Fraction
) -> None:
    sites = {site: parse_site(site, s, where="") for site, s in (("A", A), ("B", B), ("X", {"O": 1}))}
    charges = balance_charge(sites, DEFAULT_OXIDATION_STATES, where="here")
    assert charges[species] == state
    total = sum(x * SITE_MULTIPLICITY[k] * charges[s] for k, v in sites.items() for s, x in v.items())
    assert total == 0


def test_cobalt_of_the_flagship(candidate: Any) -> None:
    flagship = candidate(dict.fromkeys(("Li", "La", "Pr", "Nd", "Sr", "Ba"), "1/6"), {"Co": 1})
    assert flagship.mean_B_valence == pytest.approx(3.667, abs=5e-4)
    assert flagship.oxidation_states["Co"] == pytest.approx(11 / 3, abs=1e-6)


def test_two_flexible_species_move_by_the_same_share_of_their_ranges() -> None:
    half = Fraction(1, 2)
    sites = {"A": {"La": Fraction(1)}, "B": {"Co": half, "Cu": half}, "X": {"O": Fraction(1)}}
    charges = balance_charge(sites, {"La": (3,), "Co": (2, 4), "Cu": (1, 3), "O": (-2,)}, where="")
    share = {"Co": (charges["Co"] - 2) / 2, "Cu": (charges["Cu"] - 1) / 2}
    assert share["Co"] == share["Cu"] == Fraction(3, 4)


def test_a_species_on_two_sublattices_counts_on_both() -> None:
    half = Fraction(1, 2)
    sites = {"A": {"La": half, "Fe": half}, "B": {"Fe": Fraction(1)}, "X": {"O": Fraction(1)}}
    charges = balance_charge(sites, {"La": (3,), "Fe": (2, 4), "O": (-2,)}, where="")
    assert charges["Fe"] == 3  # 1.5 + 1.5 q = 6


def test_infeasible_charge_names_the_charge_and_the_states() -> None:
    with pytest.raises(CompositionError, match=r"cannot be charge-balanced.*Sr \+2.*Al \+3.*charge -1 e, expected 0"):
        make_candidate({"A": {"Sr": 1}, "B": {"Al": 1}}, DEFAULT_OXIDATION_STATES)
    with pytest.raises(CompositionError, match=r"charge -3 to -1 e"):
        make_candidate({"A": {"Li": 1}, "B": {"Co": 1}}, DEFAULT_OXIDATION_STATES)


def test_a_species_without_states_says_how_to_state_them() -> None:
    with pytest.raises(CompositionError, match=r"no oxidation state is stated for Tc.*oxidation_states: \{Tc: 3\}"):
        make_candidate({"A": {"Sr": 1}, "B": {"Tc": 1}}, DEFAULT_OXIDATION_STATES)


# Names


@given(
    st.lists(st.sampled_from(A_CATIONS), min_size=2, max_size=6, unique=True).flatmap(
        lambda s: st.tuples(st.just(s), st.permutations(s), st.booleans())
    )
)
def test_the_id_does_not_depend_on_order_or_notation(drawn: tuple[list[str], list[str], bool]) -> None:
    species, permuted, decimals = drawn
    allowed = DEFAULT_OXIDATION_STATES | {"Co": (0, 9)}
    n = len(species)
    one = make_candidate({"A": dict.fromkeys(species, f"1/{n}"), "B": {"Co": 1}}, allowed)
    fraction = round(1 / n, 4) if decimals else f"{2}/{2 * n}"
    two = make_candidate({"X": {"O": "3/3"}, "B": {"Co": 1.0}, "A": dict.fromkeys(permuted, fraction)}, allowed)
    assert one == two
    assert candidate_id(exact_sites(one)) == one.candidate_id


def test_different_compositions_have_different_ids(candidate: Any) -> None:
    names = {
        candidate(A, B).candidate_id
        for A, B in [
            ({"Sr": 1}, {"Ti": 1}),
            ({"Sr": 1}, {"Zr": 1}),
            ({"Sr": "1/2", "Ba": "1/2"}, {"Ti": 1}),
            ({"Sr": "1/4", "Ba": "3/4"}, {"Ti": 1}),
            ({"Sr": "3/4", "Ba": "1/4"}, {"Ti": 1}),
            ({"Sr": 1}, {"Ti": "1/2", "Zr": "1/2"}),
        ]
    }
    assert len(names) == 6


def splitmix(z: int) -> int:
    """The finaliser as published: three xor-shifts and two multiplications modulo 2^64."""
    z &= 2**64 - 1
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
    return z ^ (z >> 31)


def test_the_id_is_the_one_stored_for_ever(candidate: Any) -> None:
    # Candidate ids are keys of databases and of published lists: a change here orphans them all.
    expected = candidate({"Sr": 1}, {"Ti": 1}).candidate_id
    name = 0
    for text in ("ABX3|A|Sr=1", "ABX3|B|Ti=1", "ABX3|X|O=1"):
        name = splitmix(name + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") + 0x9E3779B97F4A7C15)
    assert expected == f"hm-{name:016x}" == "hm-6640da77fdf54ec2"


def test_formula_and_label(candidate: Any) -> None:
    mixed = candidate(dict.fromkeys(("Ca", "La", "Y", "Ba", "Sr"), 0.2), {"Co": 1})
    assert mixed.formula == "Ba0.2Sr0.2Ca0.2La0.2Y0.2CoO3"
    assert mixed.label == "(Ba,Sr,Ca,La,Y)CoO3"
    assert candidate({"La": 0.6, "Sr": 0.4}, {"Mn": 1}).label == "(Sr0.4La0.6)MnO3"


# Descriptors


def test_shannon_radii_as_published() -> None:
    # Shannon 1976, table 1
    assert shannon_radius("Sr", 2.0, 12) == 1.44
    assert shannon_radius("Ti", 4.0, 6) == 0.605
    assert shannon_radius("O", -2.0, 6) == 1.40
    assert shannon_radius("La", 3.0, 12) == 1.36
    assert shannon_radius("Fe", 3.0, 6) == 0.645  # high spin
    assert shannon_radius("Y", 3.0, 12) == shannon_radius("Y", 3.0, 9)  # nine is the highest listed
    assert shannon_radius("Sr", 7.0, 12) is None


def test_mean_states_interpolate_between_listed_radii() -> None:
    low, high = shannon_radius("Co", 3.0, 6), shannon_radius("Co", 4.0, 6)
    assert low == 0.61
    assert high == 0.53
    assert shannon_radius("Co", 3.6, 6) == pytest.approx(0.4 * low + 0.6 * high)


def test_goldschmidt_and_tau_of_strontium_titanate(candidate: Any) -> None:
    srtio3 = candidate({"Sr": 1}, {"Ti": 1})
    assert srtio3.tolerance_factor == pytest.approx((1.44 + 1.40) / (math.sqrt(2) * (0.605 + 1.40)))
    assert srtio3.tolerance_factor == pytest.approx(1.00, abs=5e-3)
    # tau = rX/rB - nA [nA - (rA/rB)/ln(rA/rB)]: by hand 2.3140 - 2 (2 - 2.3802/0.86717)
    assert srtio3.bartel_tau == pytest.approx(3.804, abs=1e-3)
    assert srtio3.bartel_tau < 4.18


def test_a_perfect_fit_has_tolerance_factor_one() -> None:
    perfect = np.array([math.sqrt(2) * (0.6 + 1.4) - 1.4])
    assert tolerance_factor(perfect, np.array([0.6]), np.array([1.4])) == pytest.approx(1.0)


def test_tau_is_undefined_for_small_A_cations(candidate: Any) -> None:
    tau = bartel_tau(np.array([0.6, 0.5, 1.6]), np.full(3, 0.6), np.full(3, 1.4), np.array([1.0, 1.0, 0.0]))
    assert np.isnan(tau[:2]).all()
    assert tau[2] == pytest.approx(1.4 / 0.6)  # nA = 0 leaves rX/rB
    assert candidate({"Li": 1}, {"Nb": 1}).bartel_tau > 4.18
    assert candidate({"Al": 1}, {"Bi": 1}).bartel_tau is None  # the larger ion on B


def test_an_untabulated_radius_gives_no_tolerance_factor(candidate: Any) -> None:
    exotic = candidate({"Sr": "1/2", "La": "1/2"}, {"V": 1}, V=(7,), La=3, O=(-4, -2))
    assert exotic.radius_mean_B is None
    assert exotic.tolerance_factor is None
    assert exotic.bartel_tau is None


def test_configurational_entropy_limits(candidate: Any) -> None:
    assert candidate({"Sr": 1}, {"Ti": 1}).configurational_entropy == 0
    five = candidate(dict.fromkeys(("La", "Y", "Sr", "Ba", "Ca"), "1/5"), {"Co": 1})
    assert five.configurational_entropy == pytest.approx(math.log(5), abs=1e-6)
    both = candidate({"Sr": "1/2", "Ba": "1/2"}, {"Ti": "1/2", "Zr": "1/2"})
    assert both.configurational_entropy == pytest.approx(2 * math.log(2), abs=1e-6)
    anions = candidate({"Ba": 1}, {"Ti": 1}, {"O": "2/3", "F": "1/3"}, Ti=(2, 4))
    per_site = 2 / 3 * math.log(3 / 2) + 1 / 3 * math.log(3)
    assert anions.configurational_entropy == anions.entropy_X == pytest.approx(3 * per_site, rel=1e-7)
    assert anions.entropy_per_atom == pytest.approx(3 * per_site / 5, rel=1e-7)


# Spaces


def space(*entries: dict[str, Any], **more: Any) -> CampaignSpec:
    return CampaignSpec.model_validate({"name": "t", "space": list(entries), **more})


def test_choose_gives_every_combination_once() -> None:
    pool = ["La", "Y", "Sr", "Ba", "Ca", "Bi"]
    entry = {"A": {"choose": 5, "from": pool}, "B": {"choose": 1, "from": ["Co", "Fe"]}}
    found = enumerate_candidates(space(entry), where="here")
    assert len(found) == comb(6, 5) * 2 == len({c.candidate_id for c in found})
    for c in found:
        assert set(c.sites["A"].values()) == {"1/5"}
        assert set(c.sites["A"]) < set(pool)
    assert {next(iter(c.sites["B"])) for c in found} == {"Co", "Fe"}


def test_a_composition_in_two_entries_is_one_candidate_in_the_order_of_the_space() -> None:
    entry = {"A": {"choose": 1, "from": ["Sr", "Ba"]}, "B": {"Ti": 1}}
    found = enumerate_candidates(space({"A": {"Ba": 1.0}, "B": {"Ti": 1}}, entry), where="here")
    assert [c.formula for c in found] == ["BaTiO3", "SrTiO3"]


def test_stated_oxidation_states_go_over_the_defaults() -> None:
    entry = {"A": {"Ce": 1}, "B": {"Fe": 1}}
    states = {"Ce": 3, "Fe": [3]}
    assert enumerate_candidates(space(entry, oxidation_states=states), where="")[0].oxidation_states["Ce"] == 3
    assert enumerate_candidates(space(entry), where="")[0].oxidation_states["Fe"] == 2


@pytest.mark.parametrize(
    "written",
    [
        {"choose": 3, "from": ["Sr", "Ba"]},
        {"choose": 0, "from": ["Sr", "Ba"]},
        {"choose": -1, "from": ["Sr", "Ba"]},
        {"choose": "2", "from": ["Sr", "Ba"]},
        {"choose": True, "from": ["Sr", "Ba"]},
        {"choose": 1.0, "from": ["Sr", "Ba"]},
        {"choose": 1, "from": "Sr"},
        {"choose": 1, "from": []},
        {"choose": 1, "from": [["Sr"], "Ba"]},
        {"choose": 1, "from": [None, "Ba"]},
        {"choose": 2, "from": ["Sr", "Sr", "Ba"]},
        {"choose": 1},
        {"from": ["Sr"]},
        {"choose": 1, "from": ["Sr"], "form": 1},
        {"choose": 1, "from": ["Zz"]},
    ],
)
def test_bad_choices_are_refused_with_their_entry(written: dict[str, Any]) -> None:
    good = {"A": {"Sr": 1}, "B": {"Ti": 1}}
    with pytest.raises(CompositionError, match=r"here: space\[1\]: site A"):
        enumerate_candidates(space(good, {"A": written, "B": {"Ti": 1}}), where="here")


@pytest.mark.parametrize("site", ["A", "B", "X"])
def test_an_empty_site_is_refused(site: str) -> None:
    entry = {"A": {"Sr": 1}, "B": {"Ti": 1}, "X": {"O": 1}} | {site: {}}
    with pytest.raises(CompositionError, match=rf"site {site} is empty"):
        enumerate_candidates(space(entry), where="here")
