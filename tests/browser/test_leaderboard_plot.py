"""The scatter of the leaderboard page in a real browser: axes, regions by mouse and by numbers, and what it says."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pages import Open, Site, ready
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.store, pytest.mark.browser]


def plotted(watched: Any) -> Page:
    """Return the page once its plot is drawn."""
    page: Page = watched.page
    ready(page)
    page.locator("#scatter").scroll_into_view_if_needed()
    expect(page.locator("#scatter .main-svg").first).to_be_visible(timeout=30_000)
    return page


def query(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def points(site: Site, **parameters: Any) -> dict[str, Any]:
    answer = httpx.get(f"{site.address}/api/v1/ranking/points", params=parameters, timeout=30)
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()["points"]
    return content


def inside(site: Site, x: tuple[float, float], y: tuple[float, float]) -> set[str]:
    """Return the candidates with gap and barrier in two ranges."""
    found = points(site, x="band_gap", y="migration_barrier", limit=5000)
    rows = zip(found["candidate_id"], found["x"], found["y"], strict=True)
    return {name for name, a, b in rows if x[0] <= a <= x[1] and y[0] <= b <= y[1]}


def listed(page: Page, n: int) -> set[str]:
    """Return the candidates of the list once it has n of them."""
    expect(page.locator("#table tbody tr[data-id]")).to_have_count(n)
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('#table tbody tr[data-id]')].map((r) => r.dataset.id)"
    )
    return set(found)


def drag(page: Page, path: list[tuple[float, float]]) -> None:
    """Drag with the mouse along points given as shares of the plot's area."""
    page.locator("#scatter .plot").scroll_into_view_if_needed()
    area = page.locator("#scatter .nsewdrag").first.bounding_box()
    assert area is not None
    corners = [(area["x"] + a * area["width"], area["y"] + b * area["height"]) for a, b in path]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=6)
    page.mouse.up()


def test_a_box_filters_the_list(open_page: Open, site: Site) -> None:
    watched = open_page("/?limit=200")
    page = plotted(watched)
    drag(page, [(0.1, 0.3), (0.5, 0.8)])
    expect(page).to_have_url(re.compile("xmin="))
    state = query(page)
    assert (state["x"], state["y"]) == ("band_gap", "migration_barrier")
    x, y = [(float(state[f"{axis}min"]), float(state[f"{axis}max"])) for axis in "xy"]
    expected = inside(site, x, y)
    assert 0 < len(expected) < 100
    assert listed(page, len(expected)) == expected
    assert float(page.get_by_label("Smallest value to the right").input_value()) == x[0]
    expect(page.locator("#active")).to_contain_text("≤ Band gap ≤")
    # The plot keeps what lies outside, and marks the region.
    expect(page.locator("#scatter .shapelayer path")).to_have_count(1)
    watched.shot("leaderboard-box")
    page.locator("#clear-brush").click()
    expect(page.locator("#active")).to_be_hidden()
    page.go_back()
    assert listed(page, len(expected)) == expected


def test_an_outline_filters_the_list(open_page: Open, site: Site) -> None:
    watched = open_page("/?limit=200")
    page = plotted(watched)
    page.get_by_role("radio", name="outline").check()
    page.wait_for_timeout(300)
    drag(page, [(0.3, 0.2), (0.7, 0.5), (0.4, 0.9), (0.1, 0.6), (0.3, 0.2)])
    expect(page).to_have_url(re.compile("lasso="))
    corners = [tuple(map(float, corner.split("~"))) for corner in query(page)["lasso"].split("_")]
    xs, ys = zip(*corners, strict=True)
    expect(page.locator("#active")).to_contain_text("outline of", timeout=30_000)
    expect(page.locator("#summary")).to_contain_text(" of 124 candidates", timeout=30_000)
    ready(page)
    shown = listed(page, page.locator("#table tbody tr[data-id]").count())
    box = inside(site, (min(xs), max(xs)), (min(ys), max(ys)))
    middle = (sum(xs) / len(xs), sum(ys) / len(ys))
    core = inside(site, (middle[0] - 0.05, middle[0] + 0.05), (middle[1] - 0.05, middle[1] + 0.05))
    assert core <= shown < box
    watched.shot("leaderboard-outline")
    # A link to it restores it.
    other = open_page(page.url.removeprefix(site.address)).page
    ready(other)
    assert listed(other, len(shown)) == shown


def test_ranges_by_keyboard(open_page: Open, site: Site) -> None:
    page = plotted(open_page("/?limit=200"))
    page.get_by_label("Largest value to the right").fill("1")
    page.get_by_label("Smallest value upwards").fill("0.5")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("xmax=1&ymin=0.5"))
    expected = inside(site, (-9, 1), (0.5, 9))
    assert listed(page, len(expected)) == expected


def test_axes_and_what_the_plot_says(open_page: Open, site: Site) -> None:
    watched = open_page()
    page = plotted(watched)
    page.get_by_label("Up", exact=True).select_option("energy_above_hull")
    expect(page.locator("#scatter .ytitle")).to_have_text("Energy above the hull / eV/atom")
    found = points(site, x="band_gap", y="energy_above_hull")
    expect(page.locator("#scatter-said")).to_contain_text(f"{sum(found['front'])} on the Pareto front")
    assert query(page)["y"] == "energy_above_hull"
    # Few points have bars of their intervals.
    page.get_by_label("Condition", exact=True).fill("has(Co) and has(Ti)")
    page.keyboard.press("Enter")
    expect(page.locator("#scatter .errorbar").first).to_be_attached()
    watched.check_accessible()


def test_a_point_leads_to_its_candidate(open_page: Open, site: Site) -> None:
    watched = open_page(allow=(".*",))
    page = plotted(watched)
    page.wait_for_timeout(300)
    # The first has a marker of its own, on top.
    star = page.locator("#scatter .scatterlayer .trace").last.locator("path.point").bounding_box()
    assert star is not None
    with page.expect_request(re.compile("/candidate\\?id=hm-")):
        page.mouse.click(star["x"] + star["width"] / 2, star["y"] + star["height"] / 2)
    page.wait_for_url(re.compile("/candidate"), wait_until="networkidle")


def test_the_plot_follows_the_theme(open_page: Open, site: Site) -> None:
    page = plotted(open_page(theme="light"))
    title = page.locator("#scatter .xtitle")
    before = title.evaluate("(text) => getComputedStyle(text).fill")
    page.locator("#theme-switch").click()
    expect(title).not_to_have_css("fill", before)
    page.locator("#theme-switch").click()
    expect(title).to_have_css("fill", before)
