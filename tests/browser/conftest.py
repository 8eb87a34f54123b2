"""A real server and a real browser, for all tests of the web page.

Chromium is Debian's, driven by Playwright. A page fails its test if it logs an error, breaks the content-security
policy, asks another host for anything or lets a hostile string run. Screenshots go to ``$HEMIEC_TEST_ARTEFACTS``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, N, Open, Site, Watched, insert_hostile, serving, watch
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from web_client import Served, served_store

_CHROMIUM = shutil.which("chromium")
_FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots."""
    named = os.environ.get("HEMIEC_TEST_ARTEFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A store of synthetic candidates, the last four of them hostile."""
    with served_store(tmp_path_factory.mktemp("browser"), 0) as store:
        store.ids = insert_hostile(store.database, N)
        yield store


@pytest.fixture(scope="session")
def site(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`hemiec serve` on that store."""
    with serving(served, tmp_path_factory.mktemp("serve")) as address:
        yield Site(address, served.ids[: -len(HOSTILE)], served.ids[-len(HOSTILE) :], served)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    if _CHROMIUM is None:
        pytest.skip("no chromium on PATH; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, site: Site, artefacts: Path) -> Iterator[Open]:
    """A function from a path of the site to a watched page; all are checked in the end."""
    contexts: list[BrowserContext] = []
    opened: list[Watched] = []

    def open_path(
        path: str = "/", *, address: str = site.address, theme: Any = "light", width: int = 1280, height: int = 900,
        allow: tuple[str, ...] = (), before: Callable[[Page], None] | None = None,
    ) -> Watched:  # fmt: skip
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
        )  # fmt: skip
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        watched = Watched(page, address, artefacts, list(allow))
        opened.append(watched)
        watch(watched)
        if before is not None:
            before(page)
        page.goto(address + path)
        return watched

    yield open_path
    try:
        for watched in opened:
            watched.check_clean()
    finally:
        for context in contexts:
            context.close()
