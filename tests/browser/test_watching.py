"""What the tests of the pages rest on: a page that does what it should not is noticed, wherever it went since."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import HOSTILE, Watched, watch
from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser]


@pytest.mark.parametrize(
    ("content", "noticed"),
    [
        (HOSTILE[1], "a hostile string ran"),
        ("<script>throw new Error('lost')</script>", "lost"),
        ("<img src='http://example.org/x.png'>", "another host"),
    ],
    ids=["hostile", "error", "host"],
)
def test_what_a_page_did_is_noticed_after_it_was_left(
    browser: Browser, tmp_path: Path, content: str, noticed: str
) -> None:
    with browser.new_context() as context:
        watched = Watched(context.new_page(), "http://127.0.0.1:1", tmp_path)
        watch(watched)
        watched.page.goto("data:text/html,<p>before</p>")
        watched.check_clean()
        watched.page.set_content(content)
        watched.page.goto("about:blank")
        with pytest.raises(AssertionError, match=noticed):
            watched.check_clean()
