"""The HTML report: complete, self-contained, and safe with hostile text. All numbers here are synthetic."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from thermo_examples import amounts, hull, quantity, reaction, thermodynamics, windows
from transport_examples import dynamics, summary

from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.report.page import profile, to_html
from hemiec.ranking.report.text import chemical, interval, number, plotly_formula, spread
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import Band, HopSummary

HOSTILE = "</script><script>alert(1)</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def hop(environment: str, forward: float | None, change: float = 0.1) -> HopSummary:
    """Return a synthetic hop over 2.8 angstrom, or one that failed if forward is None."""
    if forward is None:
        return HopSummary(
            mobile="O", hop=0, environment=environment, forward_barrier=None, reverse_barrier=None,
            reaction_coordinate=[], energies=[],
            reason="NEB did not converge in 300 steps", job_uuid="uuid-of-a-failed-hop",
        )  # fmt: skip
    shape = [0.0, 0.3, 0.75, 1.0, 0.75, 0.3, 0.0]
    energies = [forward * s + change * i / 6 for i, s in enumerate(shape)]
    top = max(energies)
    return HopSummary(
        mobile="O", hop=0, environment=environment, forward_barrier=top, reverse_barrier=top - energies[-1],
        reaction_coordinate=[2.8 * i / 6 for i in range(7)], energies=energies, job_uuid=f"uuid-hop-{environment}",
    )  # fmt: skip


def known(value: float, unit: str, method: str = "synthetic method", **more: object) -> Quantity:
    return Quantity.model_validate(
        {"value": value, "unit": unit, "method": method, "n": 1, "protocol": "synthetic", "protocol_hash": "p-1",
         "job_uuids": ["uuid-1"], **more}
    )  # fmt: skip


def missing(unit: str, reason: str) -> Quantity:
    return Quantity(value=None, unit=unit, method="synthetic method", reason=reason)


def entry(position: int | None, label: str, shift: float = 0.0, **changes: object) -> LeaderboardEntry:
    """Return a synthetic entry whose quantities are spread by ``shift``."""
    fields: dict[str, object] = {
        "rank": position, "candidate_id": f"hm-{position or 0:012d}", "formula": "La0.2Y0.2Sr0.2Ba0.2Ca0.2CoO3",
        "label": label, "score": None if position is None else 0.9 - shift / 2,
        "pareto_layer": None if position is None else 1 + (position > 2),
        "band_gap": known(0.3 + shift, "eV", "GPAW, PBE+U (synthetic)"),
        "migration_barrier": known(0.6 + shift**2 / 2, "eV", "median of 5 hops (synthetic)", n=5,
                                   std=0.1, min=0.4 + shift / 4, max=0.9 + shift / 2),
        "formation_energy_per_atom": known(-2.4 + shift / 3, "eV/atom", "MLIP (synthetic)"),
        "formation_enthalpy_from_oxides_per_atom": known(-0.05 + shift / 9, "eV/atom", "MLIP (synthetic)"),
        "oxide_reaction": "0.1 La2O3 + 0.1 Y2O3 + ... -> LaCoO3", "mean_B_valence": 3.4, "tolerance_factor": 0.987,
        "bartel_tau": 3.91, "configurational_entropy": 1.61, "n_atoms": 80, "shortest_image_distance": 10.9,
        "warren_cowley_rms": 0.012, "icet_l1": 0.34,
        "hops": [hop("La-Sr | Co", 0.6), hop("Sr-Ba | Co", 0.5, -0.2), hop("Y-Ca | Co", 0.75, 0.15),
                 hop("La-Ba | Co", 0.45, -0.1), hop("Y-Y | Co", 0.8, 0.05)],
    }  # fmt: skip
    return LeaderboardEntry.model_validate({**fields, **changes})


@pytest.fixture
def doc() -> LeaderboardDoc:
    """Six synthetic candidates: one misses its barrier, one has a failed hop."""
    failed = [hop("La-Sr | Co", 0.6), hop("Sr-Sr | Co", None), hop("Y-Ca | Co", 0.7)]
    entries = [
        entry(1, "(La,Y,Sr,Ba,Ca)CoO3"),
        entry(2, "(La,Pr,Nd,Sr,Ba)CoO3", 0.25),
        entry(3, "(La,Sr)(Co,Fe)O3", 0.5, hops=failed),
        entry(4, "(Gd,Sm,Nd,Sr,Ba)(Co,Fe)O3", 0.8),
        entry(5, "(La,Y,Pr,Sr,Ca)MnO3", 1.4),
        entry(None, "Ba0.5Sr0.5CoO3", 0.6, migration_barrier=missing("eV", "3 of 5 hops failed"), hops=[]),
    ]
    return LeaderboardDoc(
        name="mixed-conductor", title=DEFAULT.title, description=DEFAULT.description, campaign="synthetic",
        criteria=DEFAULT.criteria, created_at=datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
        versions={"hemiec": "0.0.0"}, entries=entries,
    )  # fmt: skip


def outside_the_library(page: str) -> str:
    """Return the page without plotly.js, which names hosts for its maps that this page never draws."""
    library = get_plotlyjs()
    assert page.count(library) == 1
    return page.replace(library, "")


class Tags(HTMLParser):
    """The start tags and the visible text of a page, as a browser's parser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def test_report_holds_every_candidate(doc: LeaderboardDoc) -> None:
    page = outside_the_library(to_html(doc))
    seen = Tags(page)
    cards = [attrs["id"] for tag, attrs in seen.tags if tag == "article"]
    assert cards == [entry.candidate_id for entry in doc.entries]
    for entry in doc.entries:
        assert page.count(f'href="#{entry.candidate_id}"') == 1
        assert str(chemical(entry.label)) in page
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
    dangerous = f'"><img src=x onerror=alert(1)>{HOSTILE}<!-- $x$ {{{{ 7*7 }}}} {{% raw %}}'
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
    other = doc.entries[1].model_copy(update={"transport": summary(1)})  # fmt: skip
    page = outside_the_library(to_html(doc.model_copy(update={
        "title": dangerous, "description": dangerous, "campaign": dangerous, "name": dangerous,
        "versions": {dangerous: dangerous}, "entries": [other, *doc.entries[2:], hostile],
    })))  # fmt: skip
    seen = Tags(page)
    assert seen.count("img") == 0
    assert seen.count("script") == plain.count("script")
    assert not any(name.startswith("on") for _, attrs in seen.tags for name in attrs)
    assert "<!-- $x$" not in page
    assert "{{ 7*7 }}" in page
    data = json.loads(page.split('id="charts">')[1].split("</script>")[0])
    hovers = [p["hover"] for panel in data["panels"] for p in panel["points"]] + data["profiles"][-1]["hover"]
    hovers += [p[key] for p in data["order"]["points"] for key in ("hover", "label")]
    hovers += [p["hover"] for p in data["transport"][-1]["arrhenius"]["dynamics"]]
    drawn = data["thermo"][-1]
    hovers += [bar["name"] for bar in drawn["hull"]["bars"]] + [window["name"] for window in drawn["windows"]]
    hovers += [text for curve in drawn["interfaces"] for text in (curve["name"], curve["partner"], *curve["hover"])]
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
        "Energy above the hull 0.034 eV/atom [0.004, 0.064]", "Worst interface reaction energy −0.250 eV/atom",
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
    for absent in ("90 % interval]", "Uncorrected", "by magnetic start", "DFT"):
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
        "uuid-d, uuid-d2", "Band gap by magnetic start",
        "antiferromagnetic-G", "0.042", "16.00", "plateau in every attempt", "From oxides by DFT: −0.123 eV/atom",
    ):  # fmt: skip
        assert expected in text
    data = json.loads(page.split('id="charts">')[1].split("</script>")[0])
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


def test_profile_shows_every_hop_from_its_own_zero() -> None:
    hops = [hop("a", 0.6, 0.2), hop("b", 0.5, -0.3), hop("c", 0.7, 0.1)]
    path = profile(hops)
    x, y = path["x"], path["y"]
    assert len(x) == len(y) == len(path["hover"]) == len(path["size"])
    curves = [
        list(group) for real, group in groupby(zip(x, y, path["size"], strict=True), lambda p: p[0] is not None) if real
    ]
    assert len(curves) == 3
    for curve, one in zip(curves, hops, strict=True):
        energies = [point[1] for point in curve]
        assert energies[0] == 0
        assert energies[-1] == pytest.approx(one.energies[-1], abs=1e-3)
        # The barrier of each hop can be read off the line, which never overshoots what was computed.
        assert max(energies) == pytest.approx(one.forward_barrier, abs=1e-3)
        assert min(energies) == pytest.approx(min(one.energies), abs=1e-3)
        computed = [point for point in curve if point[2]]
        assert [point[1] for point in computed] == pytest.approx(one.energies, abs=1e-3)
    drawn = [value for value in x if value is not None]
    assert all(later > earlier for earlier, later in pairwise(drawn))
    assert not path["broken"]


def test_profile_leaves_room_for_a_failed_hop() -> None:
    path = profile([hop("a", 0.6, 0.2), hop("b", None), hop("c", 0.7, 0.1)])
    assert path["broken"]
    assert [span["failed"] for span in path["hops"]] == [False, True, False]
    starts = [span["from"] for span in path["hops"]]
    assert min(value for value in path["x"] if value is not None and value > starts[1]) == pytest.approx(starts[2])
    assert profile([])["x"] == []


def test_numbers_read_well() -> None:
    assert number(-0.004, 2) == "0.00"
    assert number(-1.5, 3) == "−1.500"
    assert number(None, 2) == "—"
    assert spread(known(0.5, "eV", n=4, std=0.1), 2) == "± 0.10 (n = 4)"
    assert spread(known(-0.5, "eV", n=4, min=-1, max=0.2), 1) == "−1.0 to 0.2 (n = 4)"
    assert spread(missing("eV", "failed"), 2) == ""
    assert interval(known(-0.1, "eV", interval=(-0.25, 0.1)), 1) == "[−0.2, 0.1]"
    assert interval(known(0.5, "eV"), 2) == ""
    assert chemical("La0.5Sr0.5(Co,Fe)O3") == "La<sub>0.5</sub>Sr<sub>0.5</sub>(Co,Fe)O<sub>3</sub>"
    assert chemical("<b>1</b>") == "&lt;b&gt;1&lt;/b&gt;"
    assert plotly_formula("La2O3 40 %") == "La<sub>2</sub>O<sub>3</sub> 40 %"
    assert plotly_formula("$x'<b>2") == "&#36;x&#x27;&lt;b&gt;2"
    assert math.isclose(float(number(0.125, 3)), 0.125)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which .ci/run installs")
def test_report_works_in_a_browser_without_network(doc: LeaderboardDoc, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    page = tmp_path / "leaderboard.html"
    hostile = entry(6, HOSTILE, 0.9)
    watch = """</title><script>
      addEventListener("securitypolicyviolation", event => document.documentElement.dataset.refused = event.blockedURI);
      addEventListener("error", event => document.documentElement.dataset.error = event.message);
    </script>"""
    # Two clicks on the barrier's heading: worst first. An alert of the hostile text would never return.
    sort = """<script>
      const head = document.querySelectorAll(".board th button")[4]; head.click(); head.click();
    </script></body>"""
    moved = doc.entries[0].model_copy(
        update={"transport": summary(1), "dynamics": dynamics(), "thermodynamics": thermodynamics()}
    )
    network = summary(2).network.model_copy(update={"environments": [HOSTILE] * 144})
    thermo = thermodynamics(hull=hull().model_copy(update={"decomposition": amounts(**{HOSTILE: 1.0})}))
    hostile = hostile.model_copy(update={"transport": summary(2, network=network), "thermodynamics": thermo})
    content = to_html(doc.model_copy(update={"entries": [moved, *doc.entries[1:], hostile]}))
    content = content.replace("</title>", watch, 1).replace("</body>", sort)
    page.write_text(content, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=60000", "--window-size=1300,12000",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = done.stdout
    assert '<html lang="en">' in seen, "a script error, or a request that the page's policy refused"
    assert seen.count('class="panel js-plotly-plot"') == 5
    # Two of transport and five of thermodynamics for each of two candidates.
    assert seen.count('class="chart js-plotly-plot"') == 2 * (2 + 5)
    assert seen.count('<line class="hop') == 2 * 2 * 144
    assert len(re.findall(r'<circle class="site" r="4.2" fill="rgb\(\d+,\d+,\d+\)" cx="-?[\d.]+"', seen)) == 2 * 36
    assert seen.count('class="profile js-plotly-plot"') == 6
    assert '<th title="Migration barrier" aria-sort="descending">' in seen
    rows = seen[seen.index("<tbody>") :]
    shown = [rows.index(f'href="#{e.candidate_id}"') for e in (doc.entries[4], doc.entries[0], doc.entries[5])]
    assert shown == sorted(shown)
