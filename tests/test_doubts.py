"""What is doubtful of a candidate: every code fires on its fact and not beside it. All numbers are synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ranked_candidates import candidate, quantities, result
from report_examples import entry, structure
from thermo_examples import entropy, thermodynamics
from transport_examples import dynamics, summary

from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.doubts import BARTEL_LIMIT, CODES, NEAR_IMAGES, POOR_ORDER, doubts, structure_doubts
from hemiec.ranking.entries import entry_of
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.definition import Criterion, LeaderboardDefinition
from hemiec.schemas.leaderboard import Doubt, LeaderboardEntry
from hemiec.schemas.quantity import Quantity


def codes(of: LeaderboardEntry, definition: LeaderboardDefinition = DEFAULT) -> set[str]:
    return {doubt.code for doubt in doubts(of, definition)}


def told(code: str, found: list[Doubt]) -> str:
    return next(doubt.text for doubt in found if doubt.code == code)


def number(value: float, unit: str = "eV", **more: Any) -> Quantity:
    about = {"value": value, "unit": unit, "method": "synthetic", "n": 3, "interval": (value - 0.1, value + 0.1)}
    return Quantity.model_validate(about | more)


def sound(**changes: Any) -> LeaderboardEntry:
    """Return an entry that nothing is doubtful of, but for the changes."""
    energies = dict.fromkeys(
        ("formation_energy_per_atom", "formation_enthalpy_from_oxides_per_atom", "energy_above_hull",
         "interface_reaction_energy"), number(0.02, "eV/atom"),
    )  # fmt: skip
    fields = {"band_gap": number(1.0), "migration_barrier": number(0.6), **energies, "formula": "La0.5Sr0.5CoO3"}
    return entry(1, "(La,Sr)CoO3", **{**fields, **changes})


def start(name: str | None, gap: float | None) -> GapStart:
    reason = "plateau" if gap is None else None
    energy = None if gap is None else -1.0
    return GapStart(magnetic_start=name, energy=energy, band_gap=gap, total_moment=None, job_uuid="u", reason=reason)


def test_nothing_is_invented() -> None:
    assert doubts(sound(), DEFAULT) == []
    # Of numbers that are missing nothing is doubtful: the reason stands by them.
    lost = Quantity(value=None, unit="eV", method="extrapolated beyond its points (1 to 2 eV)", reason="failed")
    assert doubts(sound(band_gap=lost, migration_barrier=lost), DEFAULT) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"band_gap": number(0.0)}, {"metal-or-unresolved"}),
        ({"band_gap": number(1e-9)}, set()),
        ({"gap_starts": [start("ferromagnetic", 1.0)]}, {"one-magnetic-start"}),
        ({"gap_starts": [start(None, 1.0)]}, set()),
        ({"gap_starts": [start("F", 1.0), start("G", 1.25)]}, set()),
        ({"gap_starts": [start("F", 1.0), start("G", 1.35)]}, {"magnetic-states-differ"}),
        ({"gap_starts": [start("F", 1.0), start("G", None)]}, {"failed-magnetic-starts"}),
        ({"band_gap": number(1.0, interval=None)}, {"no-interval"}),
        ({"band_gap": number(1.0, interval=(0.0, 3.01))}, {"wide-interval"}),
        ({"band_gap": number(1.0, interval=(0.0, 2.99))}, set()),
        ({"migration_barrier": number(0.6, method="x; corrected to y, extrapolated beyond its points (1 to 2 eV)")},
         {"extrapolated-correction"}),
        ({"migration_barrier": number(0.6, method="x; not corrected: no calibration of z")}, {"no-correction"}),
        ({"energy_above_hull": number(0.02, "eV/atom", protocol="mlip-x")}, {"hull-by-potential"}),
        ({"energy_above_hull": number(-0.001, "eV/atom", protocol="gpaw-x")}, {"below-hull"}),
        ({"energy_above_hull": number(0.02, "eV/atom", n=1)}, {"one-structure"}),
        ({"band_gap": number(1.0, n=1)}, set()),
        ({"formula": "Pr0.5Sr0.5CoO3"}, {"open-4f-shell"}),
        ({"formula": "La0.5Lu0.5CoO3"}, set()),
        ({"formula": "BaCe0.5Zr0.5O3"}, set()),
        ({"bartel_tau": BARTEL_LIMIT + 0.01}, {"not-a-perovskite"}),
        ({"bartel_tau": BARTEL_LIMIT}, set()),
        ({"shortest_image_distance": NEAR_IMAGES - 0.01}, {"small-cell"}),
        ({"shortest_image_distance": NEAR_IMAGES}, set()),
        ({"warren_cowley_rms": POOR_ORDER + 0.01}, {"poor-randomness"}),
        ({"warren_cowley_rms": POOR_ORDER}, set()),
    ],
)  # fmt: skip
def test_facts_of_numbers(changes: dict[str, Any], expected: set[str]) -> None:
    assert codes(sound(**changes)) == expected


def test_magnetic_starts_are_those_of_the_gap_that_counts() -> None:
    """The gap is of one calculation, the barrier, and so all else that is shown, of another."""
    with_gap = result("gap", 40, quantities(1.0, None, -2.0)).model_copy(update={"gap_starts": [start("F", 1.0)]})
    starts = [start("F", 2.5), start("G", 0.1), start("C", None)]
    with_barrier = result("barrier", 80, quantities(2.5, 0.6, -2.0)).model_copy(update={"gap_starts": starts})
    doc = candidate("hm-a", 1.0, 0.6, -2.0, results=[with_gap, with_barrier])
    assert [d.code for d in doubts(doc, DEFAULT) if "magnetic" in d.code] == ["one-magnetic-start"]
    assert [d.code for d in doubts(entry_of(doc), DEFAULT)] == [d.code for d in doubts(doc, DEFAULT)]


def test_facts_of_transport() -> None:
    base = summary(0)
    quiet = {
        "n_hops": 10, "n_computed": 10, "n_failed": 0, "hop_failures": {}, "site_failures": {}, "notes": [],
        "percolates": [True] * 3,
    }  # fmt: skip

    def found(**changes: Any) -> list[Doubt]:
        return doubts(sound(transport=base.model_copy(update=quiet | changes)), DEFAULT)

    assert found() == []
    assert told("few-hops", found(n_computed=4)).startswith("4 of 10 hops are computed")
    assert [d.code for d in found(n_computed=5, saddle_model_error=0.01)] == []
    assert told("failed-hops", found(n_failed=2)) == "No saddle was found for 2 of 12 hops that were tried."
    assert {d.code for d in found(site_failures={"3": "left"})} == {"failed-sites"}
    assert {d.code for d in found(percolates=[True, False, True])} == {"no-percolation"}
    notes = ["no saddle was found for 1 of the hops that were tried; they are predicted", "a first note", "a second."]
    assert [d.text for d in found(notes=notes)] == ["A first note.", "A second."]
    barrier = number(0.4)
    poor = {"n_computed": 9, "effective_barrier": barrier, "saddle_model_error": 0.21}
    assert {d.code for d in found(**poor)} == {"poor-hop-model"}
    # All computed: nothing is predicted, however bad the model is.
    assert found(**poor | {"n_computed": 10}) == []


def test_molecular_dynamics_is_compared_before_correction() -> None:
    runs = dynamics()

    def found(network: tuple[float, float], line: tuple[float, float]) -> set[str]:
        middle = {interval: sum(interval) / 2 for interval in (network, line)}
        barrier = number(middle[network], interval=network)
        moved = runs.model_copy(update={"activation_energy": number(middle[line], interval=line)})
        transport = summary(0, effective_barrier=barrier)
        return codes(sound(transport=transport, dynamics=moved)) & {"dynamics-disagree"}

    assert found((0.5, 0.7), (0.8, 0.9)) == found((0.8, 0.9), (0.5, 0.7)) == {"dynamics-disagree"}
    assert found((0.5, 0.7), (0.6, 0.9)) == set()


def test_facts_of_thermodynamics() -> None:
    whole = thermodynamics()
    assert whole.oxygen is not None
    agrees = whole.oxygen.model_copy(update={"delta_assumed": 0.3, "delta_in_air": 0.31, "delta_in_air_interval": None})
    sure = entropy().model_copy(update={"decided_by": "enthalpy"})

    def found(**changes: Any) -> set[str]:
        parts = {"oxygen": agrees, "entropy": sure, "reasons": {}} | changes
        return codes(sound(thermodynamics=whole.model_copy(update=parts)))

    assert found() == set()
    assert found(entropy=sure.model_copy(update={"decided_by": "undecided"})) == {"stability-undecided"}
    far = agrees.model_copy(update={"delta_assumed": 0.0})
    assert found(oxygen=far) == {"other-oxygen-content"}
    within = far.model_copy(update={"delta_in_air_interval": (0.0, 0.4)})
    assert found(oxygen=within) == set()
    assert found(reasons={"hull": "SrO is missing", "windows": "SrO is missing"}) == {"thermodynamics-incomplete"}


def test_only_what_counts_needs_an_interval() -> None:
    uncertain = sound(interface_reaction_energy=number(-0.2, "eV/atom", interval=None))
    assert codes(uncertain) == set()
    counts = LeaderboardDefinition(
        name="x", title="x",
        criteria=[Criterion(property="interface_reaction_energy", direction="maximise", best=0, worst=-0.5)],
    )  # fmt: skip
    assert codes(uncertain, counts) == {"no-interval"}
    assumed = counts.model_copy(
        update={"criteria": [counts.criteria[0].model_copy(update={"standard_uncertainty": 0.05})]}
    )
    found = doubts(uncertain, assumed)
    assert told("assumed-interval", found).endswith("a standard uncertainty of 0.05 eV/atom.")


def test_scale_of_a_window_is_between_its_zeros() -> None:
    window = Criterion(property="band_gap", direction="target", window=(0, 1.5), zero_at=(-1, 3))
    definition = LeaderboardDefinition(name="x", title="x", criteria=[window])
    assert codes(sound(band_gap=number(1.0, interval=(-1.0, 3.1))), definition) == {"wide-interval"}
    assert codes(sound(band_gap=number(1.0, interval=(-1.0, 2.9))), definition) == set()
    # Without a zero on one side there is no scale to compare with.
    half = definition.model_copy(update={"criteria": [window.model_copy(update={"zero_at": (None, 3)})]})
    assert codes(sound(band_gap=number(1.0, interval=(-9.0, 9.0))), half) == set()


def test_valence_tells_whether_a_4f_shell_is_open() -> None:
    def cerium(charge: float) -> list[Doubt]:
        doc = candidate("hm-a")
        spec = doc.candidate.model_copy(update={"formula": "CeCoO3", "oxidation_states": {"Ce": charge}})
        return [d for d in doubts(doc.model_copy(update={"candidate": spec}), DEFAULT) if d.code == "open-4f-shell"]

    assert len(cerium(3.0)) == 1
    assert cerium(4.0) == []


def test_what_counts_comes_first_and_nothing_twice() -> None:
    bad = dict.fromkeys(("energy_above_hull", "migration_barrier", "band_gap"))
    bad = {name: number(-0.1, method="x; not corrected: y") for name in bad}
    found = doubts(sound(**bad, warren_cowley_rms=0.5), DEFAULT)
    assert [(d.code, d.property) for d in found] == [
        ("no-correction", "band_gap"), ("no-correction", "migration_barrier"), ("no-correction", "energy_above_hull"),
        ("below-hull", "energy_above_hull"), ("poor-randomness", None),
    ]  # fmt: skip
    assert all(d.text.endswith(".") and d.text[0].isupper() and d.code in CODES for d in found)


def test_every_code_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in page


def test_facts_of_structures() -> None:
    rounded = structure_doubts(structure())
    assert [d.code for d in rounded] == ["rounded-fractions"]
    exact = structure().model_copy(update={"rounding": 0.0})
    assert structure_doubts(exact) == []
    notes = ["this cell cuts the periods of all octahedral tilts", "another thing", "site fractions are rounded by 0.1"]
    changed = exact.model_copy(update={"notes": notes, "net_charge": -0.2, "structure": None})
    assert [d.code for d in structure_doubts(changed)] == ["not-relaxed", "charged-cell", "tilts-cut", "structure-note"]
    assert "-0.200 e" in structure_doubts(changed)[1].text
    near = exact.model_copy(update={"notes": ["no cell keeps periodic images 8.5 angstrom apart"]})
    # The distance itself is told of the candidate already.
    assert structure_doubts(near) == []
