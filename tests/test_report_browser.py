"""The HTML report in a real browser, without a network. All numbers here are synthetic."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_examples import HOSTILE, background, entry, six_candidates, with_draws
from thermo_examples import amounts, hull, thermodynamics
from transport_examples import dynamics, summary

from hemiec.ranking.report.page import to_html
from hemiec.schemas.calculations import GapStart

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which .ci/run installs")
def test_report_works_in_a_browser_without_network(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    doc = six_candidates()
    page = tmp_path / "leaderboard.html"
    hostile = entry(6, HOSTILE, 0.9)
    watch = """</title><script>
      addEventListener("securitypolicyviolation", event => document.documentElement.dataset.refused = event.blockedURI);
      addEventListener("error", event => document.documentElement.dataset.error = event.message);
    </script>"""
    # Two clicks on the barrier's heading: worst first. An alert of the hostile text would never return. What is printed
    # is all drawn; then the structure is turned by keys, and left.
    act = """<script>
      const head = document.querySelector('.board th[title="Migration barrier"] button'); head.click(); head.click();
      dispatchEvent(new Event("beforeprint"));
      const cell = document.querySelector("[data-structure]");
      const press = key => cell.dispatchEvent(new KeyboardEvent("keydown", {key}));
      const before = cell.querySelector("img")?.src;
      press("Enter");
      cell.dataset.live = cell.querySelectorAll("canvas").length;
      press("ArrowLeft"); press("Escape");
      cell.dataset.turned = cell.querySelector("img")?.src !== before;
    </script></body>"""
    starts = [
        GapStart(magnetic_start=name, energy=energy, band_gap=0.4, total_moment=0.0, job_uuid="uuid-g")
        for name, energy in (("ferromagnetic", -10.0), (HOSTILE, -9.9))
    ]
    shown = {"transport": summary(1), "dynamics": dynamics(), "thermodynamics": thermodynamics(), "gap_starts": starts}
    moved = doc.entries[0].model_copy(update=shown)
    network = summary(2).network.model_copy(update={"environments": [HOSTILE] * 144})
    thermo = thermodynamics(hull=hull().model_copy(update={"decomposition": amounts(**{HOSTILE: 1.0})}))
    hostile = hostile.model_copy(update={"transport": summary(2, network=network), "thermodynamics": thermo})
    whole = with_draws(doc.model_copy(update={"entries": [moved, *doc.entries[1:], hostile]}))
    content = to_html(whole, {moved.candidate_id: background(), hostile.candidate_id: background(relaxed=False)})
    content = content.replace("</title>", watch, 1).replace("</body>", act)
    page.write_text(content, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=60000", "--window-size=1300,2000",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    seen = done.stdout
    assert '<html lang="en">' in seen, "a script error, or a request that the page's policy refused"
    assert seen.count('class="panel js-plotly-plot"') == 5
    # Two of transport and five of thermodynamics for each of two candidates.
    assert seen.count('class="chart js-plotly-plot"') == 2 * (2 + 5)
    assert seen.count('<line class="hop') == 2 * 2 * 144
    assert len(re.findall(r'<circle class="site" r="4.2" fill="rgb\(\d+,\d+,\d+\)" cx="-?[\d.]+"', seen)) == 2 * 36
    assert seen.count('class="chart gaps js-plotly-plot"') == 1
    assert seen.count('class="profile js-plotly-plot"') == 6
    # One viewer drew both structures; it was live in the first card, and turned it.
    assert len(re.findall(r'<img alt="" src="data:image/png;base64,', seen)) == 2
    assert 'data-live="1"' in seen
    assert 'data-turned="true"' in seen
    assert '<th title="Migration barrier" aria-sort="descending">' in seen
    rows = seen[seen.index("<tbody>") :]
    shown = [rows.index(f'href="#{e.candidate_id}"') for e in (doc.entries[4], doc.entries[0], doc.entries[5])]
    assert shown == sorted(shown)
