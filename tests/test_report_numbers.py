"""Numbers, formulas and energy profiles of the report. All numbers here are synthetic."""

from __future__ import annotations

import math
from itertools import groupby, pairwise

import pytest
from report_examples import hop, known, missing

from hemiec.ranking.report.hop_profiles import profile
from hemiec.ranking.report.text import chemical, interval, number, plotly_formula, spread


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
