"""Time from a change on the leaderboard page to the list that a visitor sees, in Chromium, with a million candidates.

    python benchmarks/web_page.py [-n 1000000] [--requests 40] [--folder DIR]

The store is that of web_ranking.py. Each interaction is done as a visitor's hand would do it, each time for something
new; it ends with the frame that shows the answer: the second animation frame after the table's rows are other ones. The
first contentful paint is that of the browser, in a context that has kept nothing. The last line is one JSON object.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from web_ranking import TARGET_MS, arguments, serving, store_of

FIRST_PAINT_MS = 1000.0
_PAINTED = """([change, value]) => new Promise((resolve) => {
  const table = document.getElementById("table");
  const changes = {
    weight: () => {
      const slider = document.querySelector("#weights input[type=range]");
      slider.value = value;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    },
    page: () => document.querySelector("[aria-label='Next page']").click(),
    sort: () => document.querySelectorAll("th.value button.sort")[value].click(),
  };
  const observer = new MutationObserver((records) => {
    if (!records.some((record) => [...record.addedNodes].some((node) => node.querySelector?.("tbody tr")))) return;
    observer.disconnect();
    const drawn = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve([drawn - started, performance.now() - started])));
  });
  observer.observe(table, { childList: true });
  const started = performance.now();
  changes[change]();
})"""


def first_paint(browser: Browser, address: str) -> float:
    """Return the first contentful paint of a page opened for the first time, in ms."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(address, wait_until="load")
        page.wait_for_selector("#table tbody tr")
        return float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))


def settled(page: Page) -> None:
    """Wait until what follows an answer is done: the uncertainty, the counts and the plot."""
    page.wait_for_selector("#table tbody tr")
    page.wait_for_timeout(300)
    page.wait_for_selector("#table .skeleton", state="detached")
    page.wait_for_timeout(400)


def changed(page: Page, change: str, values: list[Any]) -> dict[str, float]:
    """Return median and 95th percentile of a kind of change, to new rows and to the frame with them, in ms."""
    took = []
    for value in values:
        took.append(page.evaluate(_PAINTED, [change, value]))
        settled(page)
    drawn, painted = np.array(took).T
    figures = {}
    for name, times in (("drawn", drawn), ("painted", painted)):
        for q in (50, 95):
            figures[f"{change}_{name}_p{q}_ms"] = float(np.percentile(times, q))
    print(", ".join(f"{key} {value:.0f}" for key, value in figures.items()), flush=True)
    return figures


def measured(address: str, requests: int) -> dict[str, float]:
    """Open the page, change things, and measure."""
    rng = np.random.default_rng(0)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        paints = [first_paint(browser, address) for _ in range(5)]
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(address)
        page.wait_for_selector("#weights input[type=range]")
        settled(page)
        figures = {"first_paint_ms": float(np.median(paints)), "first_paint_worst_ms": max(paints)}
        print(f"first contentful paint {min(paints):.0f} to {max(paints):.0f} ms", flush=True)
        figures |= changed(
            page, "weight", [f"{value:.2f}" for value in rng.permutation(np.arange(0.1, 5, 0.05))[:requests]]
        )
        figures |= changed(page, "page", [None] * requests)
        figures |= changed(page, "sort", [k % 2 for k in range(requests // 2)])
        browser.close()
    return figures


def main() -> None:
    """Run it."""
    options = arguments(__doc__).parse_args()
    with store_of(options.n, options.folder) as figures, serving() as (address, _, _):
        figures |= measured(address, options.requests)
    short = [key for key in figures if "_painted_" in key and figures[key] > TARGET_MS]
    if figures["first_paint_worst_ms"] > FIRST_PAINT_MS:
        short.append("first_paint_worst_ms")
    rounded = {key: round(value, 2) for key, value in figures.items()}
    print(json.dumps({"name": "web_page", "figures": rounded, "peers": {}, "short": short}))


if __name__ == "__main__":
    main()
