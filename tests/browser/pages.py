"""A served store with made-up and hostile candidates, and pages of a real browser that are watched for any breach."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect
from stored_candidates import CAMPAIGN, synthetic_candidates
from web_client import Served

from hemiec.store.candidates import documents_of
from hemiec.store.database import Database

#: Candidates of the served store, beside the hostile ones: more than one page.
N = 120
TOKEN = "correct-horse-battery-staple"
#: Text that would run, break out of an attribute, or spoil the page, if it were taken for anything but text.
HOSTILE = (
    '<img src=x onerror="window.owned=1">',
    "\"><script>window.owned=1</script><svg onload='window.owned=1'>",
    "javascript:window.owned=1//</textarea></title>${window.owned=1}{{window.owned=1}}",
    "<b>bold</b>&lt;i&gt;\u202etxet\u202c" + "x" * 300,
)
#: Where text of people and programs stands in stored candidates.
_POISONED = {
    "label", "formula", "method", "reason", "oxide_reaction", "environment", "description", "calibration", "tilt",
    "notes", "protocol", "step", "title", "note",
}  # fmt: skip


@dataclass
class Site:
    """A served store: its address, its candidates by rank of making, and the hostile ones among them."""

    address: str
    ids: list[str]
    hostile: list[str]
    served: Served


@dataclass
class Watched:
    """A page with what it did that it should not; `allow` holds patterns of console errors that a test expects."""

    page: Page
    address: str
    artefacts: Path
    allow: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def shot(self, name: str, *, full: bool = False) -> None:
        """Keep a screenshot."""
        self.page.screenshot(path=self.artefacts / f"{name}.png", full_page=full, animations="disabled")

    def check_accessible(self) -> None:
        """Fail on anything that axe finds wrong."""
        found = Axe().run(self.page).response["violations"]
        assert not found, "\n".join(
            f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:200]}\n{v['nodes'][0]['failureSummary']}"
            for v in found
        )

    def check_clean(self) -> None:
        """Fail on what the page did that it should not."""
        wrong = [error for error in self.errors if not any(re.search(pattern, error) for pattern in self.allow)]
        assert not wrong, "\n".join(wrong)


Open = Callable[..., Watched]


def watch(watched: Watched) -> None:
    """Note every error, breach of the policy, hostile string that runs and request to another host, on every page."""
    page, errors = watched.page, watched.errors
    host = urlsplit(watched.address).netloc
    page.on("console", lambda message: errors.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(f"exception: {error}"))
    page.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) =>"
        " console.error(`policy: ${e.effectiveDirective} ${e.blockedURI} ${e.sourceFile}`))"
    )
    # At once, and not in the end: the page may be left before.
    page.add_init_script("Object.defineProperty(window, 'owned', {set: () => console.error('a hostile string ran')})")

    def guard(route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https") and address.netloc != host:
            errors.append(f"another host: {route.request.url}")
            route.abort()
        else:
            route.fallback()

    page.context.route("**/*", guard)


@contextmanager
def serving(served: Served, folder: Path, *options: str) -> Iterator[str]:
    """Start `hemiec serve` on a store and yield its address; the table is still being read then."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEMIEC_")}
    environment |= {
        "HEMIEC_DATA_DIR": str(served.settings.data_dir),
        "HEMIEC_CONFIG_FILE": str(folder / "none.yaml"),
    }
    command = [sys.executable, "-m", "hemiec.cli.main", "serve", "--port", "0", "--rate", "500", *options]
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
    ):
        try:
            assert process.stdout is not None
            found = (re.search(r"API +(http://[^/]+)", line) for line in process.stdout)
            address = next((match.group(1) for match in found if match), None)
            assert address, (folder / "errors").read_text()
            yield address
        finally:
            process.terminate()
            process.wait(30)


def insert_hostile(database: Database, n: int) -> list[str]:
    """Write n candidates, then some with numbers whose every text is hostile; return their ids in that order."""
    ids: list[str] = []
    texts = iter(HOSTILE)
    for order, doc in enumerate(synthetic_candidates(n + 2 * len(HOSTILE))):
        parts = documents_of(doc)
        if order >= n:
            if doc.band_gap.value is None:
                continue
            text = next(texts, None)
            if text is None:
                break
            parts = _poisoned(parts, text)
        ids.append(doc.candidate_id)
        for name, documents in parts.items():
            if documents:
                database[name].insert_many(documents)
    database["campaigns"].update_one({"name": CAMPAIGN}, {"$set": {"n_candidates": n, "spec.description": HOSTILE[0]}})
    return ids


def _poisoned(content: Any, text: str, key: str = "") -> Any:
    """Return stored documents with a hostile text wherever text of people or programs stands."""
    if isinstance(content, dict):
        return {name: _poisoned(value, text, name) for name, value in content.items()}
    if isinstance(content, list):
        return [_poisoned(value, text, key) for value in content]
    return text if isinstance(content, str) and key in _POISONED else content


def ready(page: Page) -> None:
    """Wait until the list is shown and its uncertainty drawn."""
    expect(page.locator("#table[aria-busy=false] .ranking tbody tr[data-id]").first).to_be_attached(timeout=30_000)
    expect(page.locator(".uncertain .skeleton")).to_have_count(0, timeout=30_000)
