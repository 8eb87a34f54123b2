"""The HTML report: complete, self-contained, and safe with hostile text. All numbers here are synthetic."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from report_examples import (
    DANGEROUS,
    Tags,
    background,
    entry,
    hop,
    known,
    missing,
    outside_the_library,
    six_candidates,
    with_draws,
)
from thermo_examples import amounts, hull, quantity, reaction, thermodynamics, windows
from transport_examples import dynamics, summary

from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.report.background import Background
from hemiec.ranking.report.page import to_html
from hemiec.ranking.report.text import chemical
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.leaderboard import Doubt, LeaderboardDoc
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import Band


@pytest.fixture
def doc() -> LeaderboardDoc:
    return six_candidates()


def data_of(page: str) -> Any:
    return json.loads(page.split('id="charts">')[1].split("</script>")[0])


def hostile_background() -> Background:
    """Return a background whose every text is hostile."""
    known = background()
    assert known.spec is not None
    sites = {DANGEROUS: {DANGEROUS: "1/2", "vacancy": "1/2"}}
    spec = known.spec.model_copy(update={"sites": sites, "oxidation_states": {DANGEROUS: 2.0}})
    first = known.structures[0]
    cell = copy.deepcopy(first.structure)
    assert cell is not None
    for site in cell["sites"]:
        site["label"] = DANGEROUS
        site["species"][0]["element"] = DANGEROUS
    words = dict.fromkeys(("tilt", "sqs_job_uuid", "relax_job_uuid"), DANGEROUS)
    changed = first.model_copy(update={"structure": cell, "notes": [DANGEROUS], **words})
    fields = dict.fromkeys(("uuid", "step", "name", "state", "completed_at", "protocol", "message"), DANGEROUS)
    jobs = [known.jobs[0].model_copy(update=fields)]
    return Background(spec=spec, structures=[changed, changed], jobs=jobs, campaigns=[DANGEROUS],
                      versions={DANGEROUS: DANGEROUS})  # fmt: skip


def test_report_holds_every_candidate(doc: LeaderboardDoc) -> None:
    page = outside_the_library(to_html(doc))
    seen = Tags(page)
    cards = [attrs["id"] for tag, attrs in seen.tags if tag == "article"]
    assert cards == [found.candidate_id for found in doc.entries]
    for found in doc.entries:
        # From the ranking and from the table of all properties.
        assert page.count(f'href="#{found.candidate_id}"') == 2
        assert str(chemical(found.label)) in page
    text = " ".join(" ".join(seen.text).split())
    for expected in (
        DEFAULT.title, "6 candidates, 5 ranked", "2030-01-02 03:04 UTC", "hemiec 0.0.0", "3 of 5 hops failed",
        "GPAW, PBE+U (synthetic)", "NEB did not converge in 300 steps", "uuid-of-a-failed-hop", "uuid-1",
        "0.40–0.90 (n = 5)", "−2.400 eV/atom", "10.9 Å", "+3.40", "1.61 R",
    ):  # fmt: skip
        assert expected in text
    assert sum("data-panel" in attrs for _, attrs in seen.tags) == 3
    assert sum("data-profile" in attrs for _, attrs in seen.tags) == 5


def test_report_asks_no_host_for_anything(doc: LeaderboardDoc) -> None:
    page = to_html(doc)
    rest = outside_the_library(page)
    for tag, attrs in Tags(rest).tags:
        assert "src" not in attrs
        assert tag not in ("iframe", "object", "embed", "form")
        assert (attrs.get("href") or "#").startswith(("#", "data:"))
    assert not re.search(r"https?:|//cdn|@import|url\(|fetch\(|XMLHttpRequest", rest)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', rest)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]
    assert "connect-src" not in policy[1]


def test_hostile_text_stays_text(doc: LeaderboardDoc) -> None:
    plain = Tags(outside_the_library(to_html(doc)))
    dangerous = DANGEROUS
    hops = [hop(dangerous, 0.5), hop(dangerous, None).model_copy(update={"reason": dangerous, "job_uuid": dangerous})]
    bad = Quantity.model_validate({**known(0.5, "eV").model_dump(), "method": dangerous, "unit": dangerous,
                                   "protocol": dangerous, "job_uuids": [dangerous]})  # fmt: skip
    transport = summary(0)
    network = transport.network.model_copy(update={"environments": [dangerous] * len(transport.network.environments)})
    unstable = {"hop_failures": {"3": dangerous}, "site_failures": {dangerous: dangerous}, "notes": [dangerous]}
    named = dict.fromkeys(("mobile", "carriers_source", "stopped", "method"), dangerous)
    transport = transport.model_copy(update={"network": network, **unstable, **named})
    runs = dynamics()
    lost = runs.points[0].vacancy_diffusivity.model_copy(update={"reason": dangerous})
    point = runs.points[0].model_copy(update={"vacancy_diffusivity": lost})
    runs = runs.model_copy(update={"points": [point, *runs.points[1:]], "missing": [dangerous], "method": dangerous})
    phases = amounts(**{dangerous: 1.0})
    reacting = [
        reaction().model_copy(update={"partner": dangerous, "potential_jump": {dangerous: 1.0}}),
        reaction(open_element="Li"),
    ]
    reacting[1].kinks[1].products = phases
    thermo = thermodynamics(
        hull=hull().model_copy(update={"decomposition": phases, "chemsys": dangerous}),
        windows=[windows()[1].model_copy(update={"element": dangerous, "products_below": phases})],
        interfaces=reacting, reasons={"windows": dangerous, dangerous: dangerous},
    )  # fmt: skip
    named_of = {"oxygen": ("method", "feedback"), "entropy": ("method",)}
    changed = {p: getattr(thermo, p).model_copy(update=dict.fromkeys(f, dangerous)) for p, f in named_of.items()}
    thermo = thermo.model_copy(update=changed)
    start = GapStart(magnetic_start=dangerous, energy=-1.0, band_gap=0.5, total_moment=0.0, job_uuid=dangerous,
                     reason=dangerous)  # fmt: skip
    hostile = entry(
        1,
        dangerous,
        candidate_id=dangerous,
        formula=dangerous,
        oxide_reaction=dangerous,
        hops=hops,
        band_gap=bad,
        migration_barrier=missing("eV", dangerous),
        transport=transport,
        dynamics=runs,
        thermodynamics=thermo,
    )
    hostile = hostile.model_copy(update={
        "doubts": [Doubt(code=dangerous, property=dangerous, text=dangerous)], "missing": [dangerous],
        "mobile": dangerous, "gap_starts": [start, start],
    })  # fmt: skip
    other = doc.entries[1].model_copy(update={"transport": summary(1)})
    drawn = with_draws(doc.model_copy(update={"entries": [other, *doc.entries[2:], hostile]}))
    ranges = [drawn.sensitivity[0].model_copy(update={"winner_below": dangerous, "property": dangerous})]
    page = outside_the_library(to_html(drawn.model_copy(update={
        "title": dangerous, "description": dangerous, "campaign": dangerous, "name": dangerous, "where": dangerous,
        "snapshot_id": dangerous, "leaderboard_id": dangerous, "versions": {dangerous: dangerous},
        "entries": [*drawn.entries[:-1], hostile], "sensitivity": ranges,
    }), {dangerous: hostile_background()}))  # fmt: skip
    seen = Tags(page)
    assert seen.count("img") == 0
    # One more: the viewer of the structure.
    assert seen.count("script") == plain.count("script") + 1
    assert not any(name.startswith("on") for _, attrs in seen.tags for name in attrs)
    assert "<!-- $x$" not in page
    assert "{{ 7*7 }}" in page
    assert data_of(page)["structures"][-1]["species"][0]["symbol"].count("<img") == 1
    data = data_of(page)
    hovers = [p["hover"] for panel in data["panels"] for p in panel["points"]] + data["profiles"][-1]["hover"]
    hovers += [p[key] for p in data["order"]["points"] for key in ("hover", "label")]
    hovers += [p["hover"] for p in data["transport"][-1]["arrhenius"]["dynamics"]]
    drawn = data["thermo"][-1]
    hovers += [bar["name"] for bar in drawn["hull"]["bars"]] + [window["name"] for window in drawn["windows"]]
    hovers += [text for curve in drawn["interfaces"] for text in (curve["name"], curve["partner"], *curve["hover"])]
    hovers += [point["name"] for point in data["gaps"][-1]["points"]]
    allowed = re.compile(r"</?b>|<br>|</?sub>")
    assert any("&lt;img" in text for text in hovers)
    assert not any("<" in allowed.sub("", text) or "$" in text for text in hovers)
    assert all("<" not in span["label"] for shape in data["profiles"] for span in shape["hops"])


def test_transport_is_shown(doc: LeaderboardDoc) -> None:
    plain = to_html(doc)
    assert 'id="order"' not in plain
    assert "Transport of" not in plain
    # By single hops the first is the easier one, by the effective barrier the second.
    low = summary(1, mean=0.7, spread=0.2, hop_barrier=known(0.4, "eV"))
    high = summary(2, mean=0.5, spread=0.02, hop_barrier=known(0.5, "eV"))
    first = doc.entries[0].model_copy(update={"transport": low, "dynamics": dynamics()})
    unseen = Quantity(value=None, unit="eV", method="m", reason="the network does not lead through the crystal")
    third = summary(3, effective_barrier=unseen, hop_share=[0.0] * 144, correlation_factor=None,
                    effective_barriers_by_axis=[None] * 3, log10_conductivity=None, carriers_per_formula_unit=None,
                    log10_diffusivity=Band(median=[None] * 5, low=[None] * 5, high=[None] * 5))  # fmt: skip
    second, last = (
        e.model_copy(update={"transport": of}) for e, of in ((doc.entries[1], high), (doc.entries[2], third))
    )
    page = outside_the_library(to_html(doc.model_copy(update={"entries": [first, second, last, *doc.entries[3:]]})))
    assert len(page) < len(outside_the_library(plain)) + 120_000
    text = " ".join(" ".join(Tags(page).text).split())
    for expected in (
        "1 of 1 pairs of candidates change places", "1 of them with effective barriers", "has the lower single hops",
        "Transport of O", f"{low.n_computed} of 144, 1 failed", "the search left the hop", "0.50, 0.55, —",
        "0.060 eV", "Stopped: the",
        "No effective barrier: the network does not lead through the crystal", "A note.", "below 4.0e−05",
        "9.0e−05 [5.4e−05, 1.4e−04]", "0.66 eV [0.40, 0.90]", "3 hops seen within 100 ps", "the run at 900 K failed",
    ):  # fmt: skip
        assert expected in text, expected


def test_thermodynamics_is_shown(doc: LeaderboardDoc) -> None:
    plain = to_html(doc)
    assert "Thermodynamics" not in Tags(plain).text
    numbers = {"energy_above_hull": quantity(0.034), "interface_reaction_energy": quantity(-0.25)}
    first = doc.entries[0].model_copy(update={"thermodynamics": thermodynamics(), **numbers})
    lost = {"oxygen": "no vacancy was computed", "hull": "SrO is missing", "windows": "SrO is missing"}
    part = thermodynamics(hull=None, entropy=None, oxygen=None, windows=[], interfaces=[], reasons=lost)
    second = doc.entries[1].model_copy(update={"thermodynamics": part})
    page = outside_the_library(to_html(doc.model_copy(update={"entries": [first, second, *doc.entries[2:]]})))
    assert len(page) < len(outside_the_library(plain)) + 40_000
    seen = Tags(page)
    text = " ".join(" ".join(seen.text).split())
    for expected in (
        "Energy above the hull invented 0.034 eV/atom [0.004, 0.064]",
        "Worst interface reaction energy invented −0.250 eV/atom",
        "by entropy, above 1226 K", "0.310 [0.22, 0.44] at 1273 K", "Window of Li 1.80 to 3.60 V", "above −2.10 eV",
        "above −8.5 at 1273 K", "the hull of 63 phases", "Ideal mixing on A, B and X (invented)",
        "In air it loses more oxygen", "O 1.20, Li −0.80, S −2.00", "Li at 1.5 V",
        "Oxygen deficiency: no vacancy was computed", "Energy above the hull: SrO is missing",
    ):  # fmt: skip
        assert expected in text, expected
    for chart, n in (("decomposition", 1), ("temperature", 1), ("oxygen", 1), ("windows", 1), ("interfaces", 1)):
        assert sum(f"data-{chart}" in attrs for _, attrs in seen.tags) == n
    # The energy above the hull is drawn against the barrier beside the usual three.
    assert sum("data-panel" in attrs for _, attrs in seen.tags) == 4


def test_intervals_corrections_and_dft_are_shown(doc: LeaderboardDoc) -> None:
    plain = " ".join(Tags(outside_the_library(to_html(doc))).text)
    for absent in ("90 % interval]", "Uncorrected", "by magnetic state", "DFT"):
        assert absent not in plain
    corrected = known(0.61, "eV", "median of 5 hops, corrected (synthetic)", n=5, std=0.1, min=0.4, max=0.9,
                      interval=(0.35, 1.02), uncorrected=0.44, calibration="cal-0123456789ab")  # fmt: skip
    dft = {"dft_forward_barrier": 0.83, "dft_reverse_barrier": 0.71, "dft_protocol": "gpaw-x", "dft_job_uuid": "uuid-d"}
    lost = {"dft_job_uuid": "uuid-d2", "dft_reason": "no SCF solution"}
    hops = [hop("La-Sr | Co", 0.6).model_copy(update=dft), hop("Y-Ca | Co", 0.7).model_copy(update=lost)]
    starts = [
        GapStart(magnetic_start="antiferromagnetic-G", energy=-10.0, band_gap=0.9, total_moment=0.0, job_uuid="uuid-g"),
        GapStart(magnetic_start="ferromagnetic", energy=-9.958, band_gap=0.2, total_moment=16.0, job_uuid="uuid-f"),
        GapStart(magnetic_start="low-spin", energy=None, band_gap=None, total_moment=None, job_uuid="uuid-l",
                 reason="plateau in every attempt"),
    ]  # fmt: skip
    first = doc.entries[0].model_copy(update={
        "migration_barrier": corrected, "hops": hops, "gap_starts": starts,
        "confirmed_formation_enthalpy_from_oxides_per_atom": known(-0.123, "eV/atom", "DFT (synthetic)"),
    })  # fmt: skip
    page = outside_the_library(to_html(doc.model_copy(update={"entries": [first, *doc.entries[1:]]})))
    text = " ".join(Tags(page).text)
    for expected in (
        "0.61* eV", "[0.35, 1.02]", "Uncorrected", "0.44", "cal-0123456789ab", "* Corrected towards DFT", "0.83",
        "0.71", "protocol gpaw-x", "no SCF solution",
        "uuid-d, uuid-d2", "Band gap by magnetic state",
        "antiferromagnetic-G", "0.042", "16.00", "plateau in every attempt", "From oxides by DFT: −0.123 eV/atom",
    ):  # fmt: skip
        assert expected in text
    data = data_of(page)
    drawn = [p for panel in data["panels"] for p in panel["points"] if p["href"] == first.candidate_id]
    assert any(p["y_error"] == pytest.approx([0.26, 0.41]) for p in drawn)
    assert any("0.61* eV, 90 % interval [0.35, 1.02]" in p["hover"] for p in drawn)


def test_empty_leaderboard_has_a_page(doc: LeaderboardDoc) -> None:
    page = outside_the_library(to_html(doc.model_copy(update={"entries": []})))
    assert "No candidate has been computed yet." in page
    assert "0 candidates, 0 ranked" in page


def test_mixed_protocols_are_pointed_out(doc: LeaderboardDoc) -> None:
    other = known(0.5, "eV", "another functional", protocol_hash="p-2")
    entries = [doc.entries[0].model_copy(update={"band_gap": other}), *doc.entries[1:]]
    page = outside_the_library(to_html(doc.model_copy(update={"entries": entries})))
    assert "Band gap: the values come from 2 protocols." in page
    assert '<sup class="mark">b</sup>' in page
    assert "protocols. Compare" not in outside_the_library(to_html(doc))
