"""What all pages share, in a real browser: the token, waiting for the table, errors, and which files are loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pages import TOKEN, Open, Site, ready, serving
from playwright.sync_api import Page, Route, expect

pytestmark = [pytest.mark.store, pytest.mark.browser]


def test_the_token_is_asked_for_and_kept_for_the_tab(open_page: Open, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    with serving(site.served, tmp_path, "--token-file", str(file)) as address:
        watched = open_page(address=address, allow=("status of 401",))
        page = watched.page
        field = page.get_by_label("Token", exact=True)
        expect(field).to_be_visible()
        watched.check_accessible()
        watched.shot("token")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#table").get_by_role("alert")).to_contain_text("This server needs a token.")
        page.locator("#table").get_by_role("button", name="Try again").click()
        expect(page.get_by_role("alert")).to_have_count(0)
        # No header can hold it; if it were kept, no question would ever be sent again.
        field.fill("correct–horse–battery–staple")
        page.get_by_role("button", name="Use it").click()
        assert field.evaluate("(input) => input.validity.patternMismatch")
        field.fill("wrong-wrong-wrong-wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("alert")).to_contain_text("refused")
        page.get_by_label("Token", exact=True).fill(TOKEN)
        page.keyboard.press("Enter")
        ready(page)
        page.reload()
        ready(page)
        expect(page.get_by_role("dialog")).to_have_count(0)
        # Files need it too, which a plain link could not send.
        page.get_by_role("button", name="Download").click()
        with page.expect_download():
            page.locator("[data-format=csv]").click()
        assert TOKEN not in page.url
        assert TOKEN not in json.dumps(page.context.storage_state())


def test_waits_while_the_table_is_read(open_page: Open, site: Site) -> None:
    left = [2]

    def reading(route: Route) -> None:
        if left[0] == 0:
            route.fallback()
            return
        left[0] -= 1
        body = {
            "error": {"message": "the candidates are still being read.", "mend": None},
            "progress": {"done": 30, "total": 120},
        }
        route.fulfill(status=503, headers={"Retry-After": "1"}, json=body)

    watched = open_page(
        allow=("status of 503",), before=lambda page: page.route(re.compile(r"/api/v1/ranking\?"), reading)
    )
    page = watched.page
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.locator("#table")).to_contain_text("still being read")
    watched.check_accessible()
    watched.shot("leaderboard-loading")
    ready(page)


def test_a_server_that_is_away_is_told_and_tried_again(open_page: Open, site: Site) -> None:
    def away(page: Page) -> None:
        page.route(re.compile(r"/api/v1/ranking\?"), lambda route: route.abort())

    watched = open_page(allow=("ERR_FAILED",), before=away)
    page = watched.page
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    watched.check_accessible()
    watched.shot("leaderboard-error")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    ready(page)


def test_a_failure_of_the_server_is_told_with_its_mend(open_page: Open, site: Site) -> None:
    body = {"error": {"message": "unexpected <b>Error</b>.", "mend": "tell whoever runs this server"}}

    def failing(page: Page) -> None:
        page.route(re.compile(r"/api/v1/ranking\?"), lambda route: route.fulfill(status=500, json=body))

    page = open_page(allow=("status of 500",), before=failing).page
    expect(page.get_by_role("alert")).to_contain_text("Unexpected <b>Error</b>.")
    expect(page.get_by_role("alert")).to_contain_text("Tell whoever runs this server.")


def test_what_is_not_needed_is_not_loaded(open_page: Open, site: Site) -> None:
    asked: list[str] = []
    page = open_page(before=lambda page: page.on("request", lambda request: asked.append(request.url)), height=500).page
    ready(page)
    # The plot is out of sight.
    assert not any("plotly" in address or "3Dmol" in address for address in asked)
    page.locator("#scatter").scroll_into_view_if_needed()
    expect(page.locator("#scatter .main-svg").first).to_be_visible(timeout=30_000)
    assert any("plotly" in address for address in asked)


def test_messages_begin_like_sentences_but_names_and_units_stay(open_page: Open, site: Site) -> None:
    wanted = {
        "the server is away": "The server is away.",
        "machine-learned gaps": "Machine-learned gaps.",
        "no such campaign: x!": "No such campaign: x!",
        "eV/atom is the unit": "eV/atom is the unit.",
        "δ is 0.2": "δ is 0.2.",
        "band_gap: no value": "band_gap: no value.",
        "hm-00ff is gone": "hm-00ff is gone.",
    }
    said = open_page().page.evaluate(
        """async (texts) => {
          const page = document.querySelector("script[type=module]").src;
          const { sentenceOf } = await import(new URL("notices.js", page));
          return texts.map((text) => sentenceOf(text).join(""));
        }""",
        list(wanted),
    )
    assert said == list(wanted.values())
