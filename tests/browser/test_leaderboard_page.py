"""The leaderboard page in a real browser: every control, keyboard only, small screens, hostile text, accessibility."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pages import HOSTILE, N, Open, Site, ready
from playwright.sync_api import Page, Route, expect
from stored_candidates import CAMPAIGN

pytestmark = [pytest.mark.store, pytest.mark.browser]
ROWS = "#table tbody tr[data-id]"


def rows(page: Page) -> list[dict[str, str]]:
    """Return the cells of the rows that are shown, by the class of their columns."""
    found: list[dict[str, str]] = page.evaluate(
        "[...document.querySelectorAll('#table tbody tr[data-id]')].map((row) => ({id: row.dataset.id,"
        " rank: row.querySelector('.rank').innerText, label: row.querySelector('.label').innerText,"
        " score: row.querySelector('.score').innerText.trim()}))"
    )
    return found


def asked(site: Site, **parameters: Any) -> dict[str, Any]:
    """Return what the server answers to the same question."""
    answer = httpx.get(f"{site.address}/api/v1/ranking", params=parameters, timeout=30)
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


def query(page: Page) -> dict[str, str]:
    """Return what the address of a page says."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def shown_is(page: Page, expected: list[dict[str, Any]]) -> None:
    """Wait until the list is that of some rows of an answer."""
    ids = [row["candidate_id"] for row in expected]
    for _ in range(100):
        if [row["id"] for row in rows(page)] == ids:
            break
        page.wait_for_timeout(50)
    assert [row["id"] for row in rows(page)] == ids
    ready(page)


def test_the_list_is_the_servers_with_its_uncertainty(open_page: Open, site: Site) -> None:
    watched = open_page()
    page = watched.page
    ready(page)
    expected = asked(site, limit=50)
    shown_is(page, expected["rows"])
    assert [row["rank"] for row in rows(page)[:3]] == ["1", "2", "3"]
    expect(page.locator("#summary")).to_contain_text(f"{expected['n_ranked']} ranked")
    expect(page.locator("#page-title")).to_have_text(expected["definition"]["title"])
    drawn = httpx.get(f"{site.address}/api/v1/ranking/uncertainty", params={"limit": 50}, timeout=30).json()["rows"]
    low, high = (round(rank) for rank in drawn[0]["rank_interval"])
    line = page.locator(ROWS).first
    expect(line.locator(".interval")).to_have_text(str(low) if low == high else f"{low}–{high}")
    assert re.fullmatch(r"[<>\u2009\d %]+", line.locator("td.top").inner_text())
    # A number with its interval, as the server has it.
    gap = expected["rows"][0]["values"]["band_gap"]
    expect(line.locator("td.value").first).to_contain_text(f"{gap['value']:.2f}".replace("-", "−"))
    watched.shot("leaderboard-light")


def test_weights_rank_at_once_and_reset(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    before = rows(page)
    slider = page.get_by_role("slider", name="Band gap")
    slider.fill("5")
    expected = asked(site, limit=50, weights="band_gap:5")["rows"]
    shown_is(page, expected)
    assert rows(page) != before
    assert query(page) == {"weights": "band_gap:5"}
    number = page.get_by_role("spinbutton", name="Weight of migration barrier as a number")
    number.fill("0")
    shown_is(page, asked(site, limit=50, weights="band_gap:5,migration_barrier:0")["rows"])
    number.fill("-1")
    expect(number).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#weights")).to_contain_text("The winner changes if")
    page.get_by_role("button", name="Reset the weights").click()
    shown_is(page, asked(site, limit=50)["rows"])
    assert rows(page) == before and query(page) == {}
    expect(slider).to_have_value("1")


def test_a_slider_that_is_dragged_for_long_leaves_its_address(open_page: Open, site: Site) -> None:
    """Browsers refuse, some with an error, to change the address hundreds of times in a few seconds."""
    page = open_page().page
    ready(page)
    written = page.evaluate("""async () => {
      let written = 0;
      const replace = history.replaceState;
      history.replaceState = function counted(...given) { written += 1; replace.apply(history, given); };
      const slider = document.querySelector("#weights input[type=range]");
      for (let step = 0; step < 400; step += 1) {
        slider.value = step % 2 ? "3" : "2";
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        if (step % 50 === 0) await new Promise(requestAnimationFrame);
      }
      await new Promise((resolve) => { setTimeout(resolve, 600); });
      return written;
    }""")
    assert written < 50
    shown_is(page, asked(site, limit=50, weights="band_gap:3")["rows"])
    assert query(page) == {"weights": "band_gap:3"}


def test_back_from_a_link_followed_right_after_a_slider_finds_its_last_weight(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    page.evaluate("""() => {
      const slider = document.querySelector("#weights input[type=range]");
      for (const weight of ["2", "3", "4.5"]) {
        slider.value = weight;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
      }
      document.querySelector("tbody .label a").click();
    }""")
    expect(page).to_have_url(re.compile("candidate"))
    page.go_back()
    expect(page.get_by_role("slider", name="Band gap")).to_have_value("4.5")
    assert query(page) == {"weights": "band_gap:4.5"}


def test_a_link_within_the_page_is_no_step_back(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    page.evaluate("""() => {
      const slider = document.querySelector("#weights input[type=range]");
      for (const weight of ["2", "4.5"]) {
        slider.value = weight;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
      }
      document.querySelector(".skip").click();
    }""")
    shown_is(page, asked(site, limit=50, weights="band_gap:4.5")["rows"])
    expect(page).to_have_url(re.compile("4.5"))
    expect(page.get_by_role("slider", name="Band gap")).to_have_value("4.5")


def test_an_address_that_nothing_has_changed_stays_as_it_came(open_page: Open, site: Site) -> None:
    page = open_page("/?from=elsewhere#scatter").page
    ready(page)
    page.locator("tbody .label a").first.click()
    expect(page).to_have_url(re.compile("candidate"))
    page.go_back()
    expect(page).to_have_url(f"{site.address}/?from=elsewhere#scatter")


def test_intervals_are_those_of_the_rows_that_are_shown(open_page: Open, site: Site) -> None:
    drawn: list[str] = []
    held: list[Route] = []

    def hold(route: Route) -> None:
        if "band_gap%3A2" in route.request.url and "uncertainty" not in route.request.url:
            held.append(route)
        else:
            route.fallback()

    page = open_page().page
    ready(page)
    page.on("request", lambda request: drawn.append(request.url) if "ranking/uncertainty" in request.url else None)
    page.route("**/api/v1/ranking?*", hold)
    slider = page.get_by_role("slider", name="Band gap")
    with page.expect_response(re.compile(r"/ranking\?.*band_gap%3A3")):
        slider.fill("3")
    slider.fill("2")
    page.wait_for_timeout(800)
    assert len(held) == 1
    assert not [address for address in drawn if "band_gap%3A2" in address]
    with page.expect_request(re.compile(r"uncertainty\?.*band_gap%3A2")):
        held[0].continue_()
    shown_is(page, asked(site, limit=50, weights="band_gap:2")["rows"])


def test_only_the_newest_question_is_shown(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    slow = []

    def late(route: Route) -> None:
        if "band_gap%3A2" in route.request.url and "uncertainty" not in route.request.url:
            slow.append(route)
        else:
            route.fallback()

    page.route("**/api/v1/ranking?*", late)
    slider = page.get_by_role("slider", name="Band gap")
    slider.fill("2")
    page.wait_for_timeout(300)
    slider.fill("4")
    shown_is(page, asked(site, limit=50, weights="band_gap:4")["rows"])
    assert len(slow) == 1
    slow[0].abort()  # it was given up by the page before
    page.wait_for_timeout(300)
    assert query(page) == {"weights": "band_gap:4"}
    expect(page.locator(".notice.error")).to_have_count(0)


def test_rules_are_chosen_and_their_winners_ranges_told(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    listed = httpx.get(f"{site.address}/api/v1/definitions").json()["documents"]
    other = next(d for d in listed if "energy_above_hull" in [c["property"] for c in d["criteria"]])
    page.get_by_label("Ranked as").select_option(other["name"])
    expected = asked(site, limit=50, definition=other["name"])
    shown_is(page, expected["rows"])
    assert query(page) == {"definition": other["name"]}
    expect(page.locator("#page-title")).to_have_text(other["title"])
    assert page.locator("#weights .weight").count() == len(other["criteria"])
    headings = page.locator("#table thead").inner_text()
    assert "hull" in headings
    for found in expected["sensitivity"]:
        if found["winner_below"]:
            expect(page.locator("#weights")).to_contain_text(f"falls below {found['low']:.2f}")
    page.go_back()
    shown_is(page, asked(site, limit=50)["rows"])
    expect(page.get_by_label("Ranked as")).to_have_value(listed[0]["name"])


def test_columns_sort_and_pages_turn(open_page: Open, site: Site) -> None:
    page = open_page("/?limit=25").page
    ready(page)
    heading = page.get_by_role("columnheader", name="Barrier")
    heading.get_by_role("button").click()
    shown_is(page, asked(site, limit=25, sort="migration_barrier")["rows"])
    expect(heading).to_have_attribute("aria-sort", "ascending")
    heading.get_by_role("button").click()
    shown_is(page, asked(site, limit=25, sort="migration_barrier", descending=True)["rows"])
    expect(heading).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Next page").click()
    shown_is(page, asked(site, limit=25, sort="migration_barrier", descending=True, first=25)["rows"])
    page.get_by_role("button", name="Last page").click()
    expect(page.locator(".pager .where")).to_contain_text(f"101–{N + len(HOSTILE)} of {N + len(HOSTILE)}")
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.get_by_role("button", name="First page").click()
    page.get_by_label("Rows per page").select_option("100")
    shown_is(page, asked(site, limit=100, sort="migration_barrier", descending=True)["rows"])
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("checkbox", name="Energy above the hull").check()
    expect(page.locator("#table thead")).to_contain_text("hull")
    assert "energy_above_hull" in query(page)["columns"]


def test_a_condition_filters_and_its_errors_stand_at_the_field(open_page: Open, site: Site) -> None:
    watched = open_page(allow=("status of 422",))
    page = watched.page
    ready(page)
    field = page.get_by_label("Condition", exact=True)
    field.fill("has(Co) and band_gap < 1.0")
    field.press("Enter")
    expected = asked(site, limit=50, where="has(Co) and band_gap < 1.0")
    shown_is(page, expected["rows"])
    expect(page.locator("#summary")).to_contain_text(f"{expected['n_found']} of {N + len(HOSTILE)} candidates")
    field.fill("bandgap < 1.0")
    page.get_by_role("button", name="Apply").click()
    error = page.locator("#condition-error")
    expect(error).to_contain_text("did you mean 'band_gap'")
    expect(field).to_have_attribute("aria-invalid", "true")
    # What was there stays.
    shown_is(page, expected["rows"])
    expect(page.locator(".notice.error")).to_have_count(0)
    watched.check_accessible()
    watched.shot("leaderboard-condition-error")
    page.get_by_text("Examples").click()
    page.get_by_role("button", name="missing(migration_barrier)").click()
    expect(error).to_be_hidden()
    shown_is(page, asked(site, limit=50, where="missing(migration_barrier)")["rows"])
    # Not ranked, and never zero: a dash with the reason.
    expect(page.locator(f"{ROWS} .missing .reason").first).to_have_text("not computed yet")
    assert rows(page)[0]["rank"].startswith("–")
    page.get_by_role("button", name="Take away the filter: missing(migration_barrier)").click()
    shown_is(page, asked(site, limit=50)["rows"])
    assert field.input_value() == ""


def test_the_fields_of_conditions_are_listed_and_put_in(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    page.locator("#condition summary", has_text="Fields").click()
    page.get_by_label("Search the fields").fill("goldschmidt")
    page.get_by_role("button", name="tolerance_factor").click()
    assert page.get_by_label("Condition", exact=True).input_value() == "tolerance_factor"


def test_no_candidate_fits(open_page: Open, site: Site) -> None:
    watched = open_page("/?where=has(Pb)")
    page = watched.page
    expect(page.get_by_text("No candidate fits the filter").first).to_be_visible()
    watched.check_accessible()
    watched.shot("leaderboard-empty")
    page.locator("#table").get_by_role("button", name="Clear all filters").click()
    shown_is(page, asked(site, limit=50)["rows"])


def test_campaigns_filter(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    page.get_by_label("Campaign").select_option(f"{CAMPAIGN}-2")
    shown_is(page, asked(site, limit=50, campaign=f"{CAMPAIGN}-2")["rows"])
    page.get_by_role("button", name="Take away the filter: campaign").click()
    shown_is(page, asked(site, limit=50)["rows"])
    expect(page.get_by_label("Campaign")).to_have_value("")


def test_elements_are_with_without_or_any(open_page: Open, site: Site) -> None:
    watched = open_page()
    page = watched.page
    ready(page)
    page.locator("#elements > summary").click()
    counts = httpx.get(f"{site.address}/api/v1/ranking/elements").json()["elements"]
    cobalt = page.locator("[data-symbol=Co]")
    expect(cobalt).to_have_attribute("aria-label", f"Co, cobalt: any, {counts['Co']} candidates")
    cobalt.click()
    shown_is(page, asked(site, limit=50, elements="Co")["rows"])
    page.locator("[data-symbol=Sr]").dblclick()
    shown_is(page, asked(site, limit=50, elements="Co", without="Sr")["rows"])
    assert query(page) == {"elements": "Co", "without": "Sr"}
    expect(cobalt).to_have_attribute("aria-label", re.compile("Co, cobalt: must be in, "))
    expect(page.locator("#elements-chosen")).to_have_text("with Co; without Sr")
    expect(page.locator("#active")).to_contain_text("without Sr")
    watched.check_accessible()
    watched.shot("leaderboard-elements")
    cobalt.focus()
    # Fe is to the left of Co, Ru below it.
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-symbol=Ru]")).to_be_focused()
    assert page.locator(".element[tabindex='0']").count() == 1
    page.get_by_role("button", name="Any elements").click()
    shown_is(page, asked(site, limit=50)["rows"])


def test_a_link_restores_the_state(open_page: Open, site: Site) -> None:
    first = open_page()
    page = first.page
    ready(page)
    page.get_by_role("slider", name="Band gap").fill("3")
    page.get_by_label("Condition", exact=True).fill("has(Fe)")
    page.get_by_role("button", name="Apply").click()
    shown_is(page, asked(site, limit=50, weights="band_gap:3", where="has(Fe)")["rows"])
    for box in page.get_by_role("checkbox", name="Compare").all()[:2]:
        box.check()
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".tool-note")).to_contain_text("copied")
    link = page.evaluate("navigator.clipboard.readText()")
    other = open_page(link.removeprefix(site.address)).page
    ready(other)
    assert rows(other) == rows(page)
    expect(other.get_by_role("slider", name="Band gap")).to_have_value("3")
    expect(other.get_by_label("Condition", exact=True)).to_have_value("has(Fe)")
    compare = other.get_by_role("link", name="Compare 2")
    ids = parse_qs(urlsplit(compare.get_attribute("href") or "").query)["ids"][0].split(",")
    assert ids == [row["id"] for row in rows(page)[:2]]


def test_notes_tell_what_is_missing_and_doubtful(open_page: Open, site: Site) -> None:
    watched = open_page()
    page = watched.page
    ready(page)
    button = page.locator(f"{ROWS} .note").first
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(page.locator(f"{ROWS} .note").first).to_have_attribute("aria-expanded", "true")
    expect(page.locator(f"{ROWS} .note").first).to_be_focused()
    first = asked(site, limit=1)["rows"][0]
    notes = page.locator(".open-notes")
    for doubt in first["doubts"]:
        expect(notes).to_contain_text(doubt["text"].rstrip("."))
    expect(notes).to_contain_text("synthetic migration_barrier")
    watched.check_accessible()
    watched.shot("leaderboard-notes")
    page.keyboard.press("Enter")
    expect(notes).to_have_count(0)


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "latex"])
def test_files_hold_the_list_under_its_filter(open_page: Open, site: Site, tmp_path: Path, kind: str) -> None:
    page = open_page("/?where=has(Co)&weights=band_gap:2").page
    ready(page)
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as waiting:
        page.locator(f"[data-format={kind}]").click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    expected = asked(site, limit=1000, where="has(Co)", weights="band_gap:2")["rows"]
    if kind == "csv":
        with file.open() as lines:
            ids = [row["candidate_id"] for row in csv.DictReader(line for line in lines if not line.startswith("#"))]
        assert ids[:5] == [row["candidate_id"] for row in expected][:5] and len(ids) == len(expected)
    elif kind == "json":
        assert expected[0]["candidate_id"] in json.dumps(json.loads(file.read_text()))
    elif kind == "parquet":
        assert file.read_bytes()[:4] == b"PAR1"
    else:
        assert "tabular" in file.read_text()


def test_keyboard_alone(open_page: Open, site: Site) -> None:
    page = open_page().page
    ready(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the ranking")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_focused()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.key ?? document.activeElement.id"))
    first = rows(page)[0]["id"]
    assert {"copy-link", "frame", "sort-band_gap", f"compare-{first}", f"link-{first}", f"notes-{first}"} <= reached
    page.get_by_role("slider", name="Band gap").focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("weights="))
    assert query(page) == {"weights": "band_gap:1.05"}
    page.locator("[data-key=sort-band_gap]").focus()
    page.keyboard.press("Enter")
    shown_is(page, asked(site, limit=50, weights="band_gap:1.05", sort="band_gap")["rows"])
    # Drawn anew, the list keeps the focus where it was.
    expect(page.locator("[data-key=sort-band_gap]")).to_be_focused()
    page.locator(f"{ROWS} input").first.focus()
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile("ids="))
    assert query(page)["ids"] == rows(page)[0]["id"]
    page.get_by_role("button", name="Download").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#download-menu")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#download-menu")).to_be_hidden()
    expect(page.get_by_role("button", name="Download")).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_accessible_in_light_and_dark_wide_and_narrow(open_page: Open, site: Site, theme: str, width: int) -> None:
    watched = open_page(theme=theme, width=width)
    page = watched.page
    ready(page)
    page.locator("#scatter").scroll_into_view_if_needed()
    page.wait_for_selector("#scatter .main-svg")
    watched.check_accessible()
    watched.shot(f"leaderboard-{theme}-{width}", full=True)
    # Nothing sticks out: the page itself never scrolls sideways.
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_theme_is_switched_and_kept(open_page: Open, site: Site) -> None:
    page = open_page().page
    page.get_by_role("button", name="Switch to the dark theme").click()
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark == "rgb(18, 22, 28)"


def test_hostile_text_is_text(open_page: Open, site: Site) -> None:
    watched = open_page("/?limit=200&columns=band_gap,energy_above_hull,interface_reaction_energy")
    page = watched.page
    ready(page)
    for candidate in site.hostile:
        page.locator(f"tr[data-id='{candidate}'] .note").click()
    watched.shot("leaderboard-hostile")
    page.locator("#scatter").scroll_into_view_if_needed()
    page.wait_for_selector("#scatter .main-svg")
    page.wait_for_timeout(300)
    shown = page.locator("#table").inner_text()
    for text in HOSTILE[:3]:
        assert text in shown
    assert page.locator("#table :is(img, script, b, svg)").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    watched.check_accessible()


@pytest.mark.parametrize(
    "name", ["definition", "where", "campaign", "elements", "sort", "columns", "ids", "x", "lasso", "weights"]
)
def test_a_hostile_link_is_refused_or_ignored(open_page: Open, site: Site, name: str) -> None:
    address = f"/?{name}=" + "%22%3E%3Cimg%20src%3Dx%20onerror%3Dwindow.owned%3D1%3E"
    watched = open_page(address, allow=("status of 422",))
    watched.page.wait_for_selector(".notice.error, #condition-error:not([hidden]), #table .ranking tbody tr")
    watched.page.wait_for_timeout(200)
    assert watched.page.locator("main img").count() == 0
