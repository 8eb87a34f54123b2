"""What the pages of details do in rarer states: answers that break off, choices that vanish, keyboards, outages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from details import read
from pages import Open, Site
from playwright.sync_api import Page, Route, expect
from stored_candidates import CAMPAIGN

pytestmark = [pytest.mark.store, pytest.mark.browser]
expect.set_options(timeout=30_000)
_REFUSED = ("Failed to load resource",)


def answering(pattern: str, answer: Callable[[str], Any]) -> Callable[[Page], None]:
    """Return what lets a page get answers that are made up from the address."""

    def fulfil(route: Route) -> None:
        found = answer(route.request.url)
        if found is None:
            route.abort()
        else:
            route.fulfill(body=found if isinstance(found, str) else json.dumps(found), content_type="application/json")

    def before(page: Page) -> None:
        page.route(re.compile(pattern), fulfil)

    return before


def with_gap(site: Site) -> str:
    """Return a candidate whose band gap has an interval."""
    return next(key for key in site.ids if read(site.served.database, key).band_gap.interval is not None)


def test_equal_values_do_not_differ(open_page: Open, site: Site) -> None:
    first = with_gap(site)
    twin = "hm-0000000000000001"
    doc = json.loads(read(site.served.database, first).model_dump_json()) | {"candidate_id": twin}
    watched = open_page(
        f"/compare?ids={first},{twin}", allow=_REFUSED, before=answering(f"/candidates/{twin}", lambda _: doc)
    )
    page = watched.page
    row = page.locator(".compare-table tbody tr", has=page.get_by_role("rowheader", name="Band gap", exact=True))
    expect(row).to_contain_text("intervals overlap")
    expect(row.locator(".differs")).to_have_count(0)
    expect(page.locator(".compare-table")).to_contain_text("In the top 10")
    page.get_by_label("Only rows that differ").check()
    expect(page.locator(".compare-table")).to_contain_text("Rank")
    expect(row).to_have_count(0)


def test_controls_keep_the_focus_and_what_is_typed(open_page: Open, site: Site) -> None:
    held: list[Route] = []
    watched = open_page(
        "/compare?ids=" + ",".join(site.ids[:2]),
        before=lambda page: page.route("**/definitions", lambda route: held.append(route)),
    )
    page = watched.page
    page.get_by_role("searchbox").fill("La Co")
    held[0].fallback()
    expect(page.locator(".compare-table thead th")).to_have_count(2, timeout=90_000)
    expect(page.get_by_role("searchbox")).to_have_value("La Co")
    expect(page.get_by_role("searchbox")).to_be_focused()
    only = page.get_by_label("Only rows that differ")
    only.focus()
    page.keyboard.press("Space")
    page.wait_for_url("**only=true*")
    expect(page.locator(".compare-table tr.same")).to_have_count(0)
    expect(only).to_be_focused()


def test_a_scale_has_few_ticks_whatever_the_values(open_page: Open) -> None:
    page = open_page("/compare").page
    address = page.evaluate("document.querySelector('script[type=module]').src").replace(".js", "/intervals.js")
    for values in ([0.3, 0.30000000000000004], [0.0], [-5.0, -5.0], [1.0, 2.0], [1e-9, 3e-9], [-1e4, 1e4]):
        found = page.evaluate(
            "async ([address, values]) => { const s = (await import(address)).scaleOf(values);"
            " return [s.ticks, s.digits, values.map(s.at)]; }",
            [address, values],
        )
        ticks, digits, places = found
        assert 1 <= len(ticks) <= 6, values
        assert len({f"{tick:.{digits}f}" for tick in ticks}) == len(ticks), "ticks with the same text"
        assert all(26 <= x <= 278 for x in places)


def test_an_address_that_was_cut_off(open_page: Open, site: Site) -> None:
    page = open_page(f"/candidate?id={site.ids[0]}#%").page
    expect(page.locator("h1")).to_have_text(read(site.served.database, site.ids[0]).candidate.label)
    expect(page.locator("#provenance .tree").first).to_be_attached()


def test_an_answer_that_breaks_off_is_told(open_page: Open, site: Site) -> None:
    watched = open_page(
        f"/candidate?id={site.ids[0]}",
        before=answering("/provenance$", lambda _: '{"documents": ['),
    )
    alert = watched.page.locator("#provenance").get_by_role("alert")
    expect(alert).to_contain_text("The answer of the server broke off.")


def test_how_far_the_table_is_read_is_shown(open_page: Open, site: Site) -> None:
    body = {
        "error": {"message": "the candidates are still being read.", "mend": None},
        "progress": {"done": 30, "total": 120},
    }
    reading = [True]

    def answer(route: Route) -> None:
        if reading:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json=body)
        else:
            route.fallback()

    for path in (f"/candidate?id={site.ids[0]}", f"/compare?ids={site.ids[0]}"):
        page = open_page(
            path, allow=("status of 503",), before=lambda page: page.route("**/ranking/card/*", answer)
        ).page
        assert page.get_by_role("progressbar").evaluate("(bar) => bar.value / bar.max") == 0.25


def test_who_was_left_out_of_the_draws_is_told(open_page: Open, site: Site) -> None:
    chosen = with_gap(site)
    note = "Drawn are the 5 best by score of 9 ranked candidates; those further down are taken to stay behind them."

    def card(route: Route) -> None:
        answer = route.fetch(timeout=90_000)
        route.fulfill(json=answer.json() | {"note": note, "uncertainty": None})

    page = open_page(f"/candidate?id={chosen}", before=lambda page: page.route("**/ranking/card/*", card)).page
    expect(page.locator("#rank .rank-number")).to_contain_text("#", timeout=90_000)
    expect(page.locator("#rank")).to_contain_text(note)
    expect(page.locator("#rank")).to_contain_text("It has no probabilities, as it was not drawn.")


def counts(done: int) -> dict[str, Any]:
    """Return how far a made-up campaign has come."""
    states = dict.fromkeys(("done", "running", "ready", "waiting", "paused", "cancelled", "failed"), 0)
    return {
        "name": CAMPAIGN, "counts": states | {"done": done, "waiting": 20 - done}, "kinds": [], "n_candidates": 0,
        "first": 0, "candidates": [], "updated_at": "2026-11-22T10:00:00Z",
    }  # fmt: skip


def test_a_campaign_that_is_chosen_again_stays(open_page: Open, site: Site) -> None:
    watched = open_page(f"/campaigns?name={CAMPAIGN}", before=answering(r"/progress\?", lambda _: counts(5)))
    page = watched.page
    expect(page.locator("#detail-title")).to_have_text(CAMPAIGN)
    page.locator(".campaign.chosen").get_by_role("button", name="Progress").click()
    expect(page.locator("section .notice.loading")).to_have_count(0)
    expect(page.locator("#detail-title")).to_have_text(CAMPAIGN)


def test_campaigns_after_an_outage_and_while_paused(open_page: Open, site: Site) -> None:
    answers: list[Any] = [None]
    asked: list[str] = []

    def answer(address: str) -> Any:
        asked.append(address)
        return answers[-1]

    watched = open_page(f"/campaigns?name={CAMPAIGN}", allow=_REFUSED, before=answering(r"/progress\?", answer))
    page, state = watched.page, watched.page.locator("#refresh-state")
    expect(state).to_have_text("Not up to date")
    button = page.get_by_role("button", name="Try again")
    button.focus()
    n = len(asked)
    while len(asked) < n + 2:
        page.wait_for_timeout(200)
    expect(button).to_be_focused()
    answers.append(counts(5))
    # By itself, with nobody pressing the button.
    expect(state).to_have_text("Read again every 4 s")
    page.locator(".campaign.chosen").get_by_role("button", name="Progress").click()
    page.locator(".campaign:not(.chosen)").first.get_by_role("button", name="Progress").click()
    page.get_by_role("button", name="Pause", exact=True).click()
    page.wait_for_url("**paused=true*")
    page.wait_for_timeout(500)
    n = len(asked)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(500)
    assert len(asked) == n, "it asks while it is paused"
    page.go_back()
    expect(state).to_have_text("Read again every 4 s")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_have_attribute("aria-pressed", "false")


def snapshot(name: str, hour: int) -> dict[str, Any]:
    """Return a made-up snapshot of a list."""
    return {
        "snapshot_id": f"snap-{name}",
        "created_at": f"2026-11-22T{hour:02}:00:00Z",
        "n_candidates": 3,
        "campaign": None,
    }


def board(name: str, data: str, hour: int) -> dict[str, Any]:
    """Return a made-up saved leaderboard of a list."""
    return {
        "leaderboard_id": f"lb-{name}", "snapshot_id": f"snap-{data}", "title": "made up", "n_entries": 3,
        "created_at": f"2026-11-22T{hour:02}:01:00Z",
    }  # fmt: skip


def test_a_leaderboard_is_not_compared_with_its_own_snapshot(open_page: Open, site: Site) -> None:
    def listing(snapshots: list[Any], boards: list[Any]) -> Callable[[str], Any]:
        def answer(address: str) -> Any:
            if "/snapshots" in address:
                return {"documents": snapshots, "damaged": {}}
            if "/diff?" in address:
                return None
            if "after=" in address:
                return {"documents": boards[1:], "next": None}
            return {"documents": boards[:1], "next": "/api/v1/leaderboards?limit=100&after=x" if boards[1:] else None}

        return answer

    pattern = "/api/v1/(snapshots|leaderboards|diff)"
    once = listing([snapshot("a", 10)], [board("a", "a", 10)])
    page = open_page("/diff", before=answering(pattern, once)).page
    expect(page.locator(".notice.empty")).to_contain_text("One snapshot only")
    twice = listing([snapshot("b", 12), snapshot("a", 10)], [board("a", "a", 10), board("b", "b", 12)])
    watched = open_page("/diff", allow=_REFUSED, before=answering(pattern, twice))
    watched.page.wait_for_url("**old=lb-a&new=lb-b")
    watched = open_page("/diff?new=lb-b", before=answering(pattern, twice))
    expect(watched.page.locator(".notice.empty")).to_contain_text("Choose an earlier and a later one above.")
