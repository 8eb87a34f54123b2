"""Comparison, campaigns and changes in a real browser: every control, on a store with two snapshots."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from details import read
from pages import HOSTILE, Open, Site, insert_hostile, serving
from playwright.sync_api import Page, Route, expect
from stored_candidates import CAMPAIGN, OTHER_CAMPAIGN
from web_client import served_store

from hemiec.schemas.diff import DiffDoc
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.candidates import documents_of
from hemiec.store.queue.progress import CampaignProgress, CandidateProgress, KindProgress, StateCounts
from hemiec.store.snapshots import take_snapshot

N = 12
_READY = 90_000
_REFUSED = ("Failed to load resource",)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str, str]]:
    """A served store and the ids of two snapshots: between them the worst gap became the best, and one went."""
    with served_store(tmp_path_factory.mktemp("other"), 0) as served:
        ids = insert_hostile(served.database, N)
        old = take_snapshot(served.database, served.settings).snapshot_id
        ranked = [doc for doc in (read(served.database, key) for key in ids[:N]) if doc.band_gap.value is not None]
        worst = max(ranked, key=lambda doc: doc.band_gap.value or 0)
        better = worst.band_gap.model_copy(
            update={"value": 0.0, "min": 0.0, "interval": (0.0, 0.05), "job_uuids": ["new"]}
        )
        changed = worst.model_copy(update={"band_gap": better})
        served.database["candidates"].delete_one({"candidate_id": worst.candidate_id})
        served.database["candidates"].insert_many(documents_of(changed)["candidates"])
        served.database["candidates"].delete_one({"candidate_id": ranked[1].candidate_id})
        ids.remove(ranked[1].candidate_id)
        new = take_snapshot(served.database, served.settings).snapshot_id
        served.ids = [worst.candidate_id, *(key for key in ids if key != worst.candidate_id)]
        with serving(served, tmp_path_factory.mktemp("serve-other")) as address:
            yield Site(address, served.ids[: -len(HOSTILE)], served.ids[-len(HOSTILE) :], served), old, new


def compared(page: Page, n: int) -> None:
    """Wait until so many candidates stand side by side."""
    expect(page.locator(".compare-table thead th")).to_have_count(n, timeout=_READY)


def test_candidates_side_by_side(open_page: Open, store: tuple[Site, str, str]) -> None:
    site = store[0]
    docs = [read(site.served.database, key) for key in site.ids[:3]]
    watched = open_page("/compare?ids=" + ",".join(site.ids[:3]), address=site.address)
    page = watched.page
    compared(page, 3)
    panels = page.locator(".interval-panel svg")
    assert panels.count() == len(PROPERTIES)
    for doc in docs:
        if doc.band_gap.value is not None:
            expect(panels.first).to_have_attribute("aria-label", re.compile(f"{doc.band_gap.value:.2f}, 90 % interval"))
    row = page.locator(".compare-table tbody tr", has=page.get_by_role("rowheader", name="Mean valence on B"))
    values = [f"{doc.candidate.mean_B_valence:.2f}" for doc in docs]
    assert [text.split(" (")[0].split("\n")[0] for text in row.locator("td").all_inner_texts()] == values
    assert row.locator("td.differs").count() == sum(value != values[0] for value in values)
    watched.check_accessible()
    watched.shot("compare-light", full=True)
    rows = page.locator(".compare-table tbody tr").count()
    page.get_by_label("Only rows that differ").check()
    page.wait_for_url("**only=true*")
    compared(page, 3)
    assert page.locator(".compare-table tbody tr").count() < rows
    assert page.locator(".compare-table tr.same").count() == 0
    page.get_by_label("Ranked by").select_option("solid-electrolyte")
    page.wait_for_url("**definition=solid-electrolyte*")
    page.get_by_role("button", name="Take").nth(1).click()
    compared(page, 2)
    page.reload()
    compared(page, 2)
    expect(page.get_by_label("Ranked by")).to_have_value("solid-electrolyte")
    page.go_back()
    compared(page, 3)
    assert page.locator(".compare-table thead a").first.get_attribute("href") == (
        f"candidate?id={site.ids[0]}&definition=solid-electrolyte"
    )


def test_candidates_are_found_and_added(open_page: Open, store: tuple[Site, str, str]) -> None:
    site = store[0]
    watched = open_page("/compare", address=site.address)
    page = watched.page
    expect(page.locator(".notice.empty")).to_contain_text("Nothing to compare yet")
    watched.check_accessible()

    def find(text: str) -> None:
        page.get_by_role("searchbox").fill(text)
        page.get_by_role("button", name="Find").click()

    find("Pb")
    expect(page.locator(".found")).to_contain_text("None found")
    find("nothing < like < that")
    expect(page.locator(".found").get_by_role("alert")).to_be_visible()
    watched.allow.extend(_REFUSED)
    find(site.ids[0])
    page.get_by_role("button", name=re.compile(f"Add .*{site.ids[0]}")).click()
    compared(page, 1)
    for wanted in range(2, 7):
        find("O")
        page.locator(".found button:not([disabled])").first.click()
        compared(page, wanted)
    expect(page.get_by_role("searchbox")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("6 are the most")
    watched.shot("compare-six", full=True)


def test_comparison_of_hostile_and_unknown_ones_dark_and_narrow(open_page: Open, store: tuple[Site, str, str]) -> None:
    site = store[0]
    unknown = "hm-ffffffffffffffff"
    watched = open_page("/compare?ids=" + ",".join([*site.hostile, unknown]), address=site.address, allow=_REFUSED,
                        theme="dark", width=400)  # fmt: skip
    page = watched.page
    compared(page, len(HOSTILE))
    expect(page.get_by_role("alert")).to_contain_text("Not found")
    assert page.locator("main img, main script, main b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    watched.check_accessible()
    watched.shot("compare-dark-narrow", full=True)
    page.get_by_role("button", name=f"Take {unknown} out").click()
    compared(page, len(HOSTILE))
    expect(page.get_by_role("alert")).to_have_count(0)


def progress(done: int, failed: int = 0) -> CampaignProgress:
    """Return how far a made-up campaign has come: 20 jobs of one kind and candidate."""
    running = int(done < 20)
    counts = {"done": done, "running": running, "waiting": 20 - running - done - failed, "failed": failed}
    return CampaignProgress(
        name=CAMPAIGN, counts=StateCounts(**counts), n_candidates=1, first=0, updated_at=datetime.now(UTC),
        kinds=[KindProgress(kind="basin", protocol="mlip-chgnet", total=20, **counts)],
        candidates=[CandidateProgress(candidate_id="hm-0123456789abcdef", label="LaCoO3", done=done, total=20,
                                      failed=failed, running=running, stopped="a job failed" if failed else None)],
    )  # fmt: skip


def test_campaigns_of_the_store(open_page: Open, store: tuple[Site, str, str]) -> None:
    site = store[0]
    watched = open_page(f"/campaigns?name={OTHER_CAMPAIGN}", address=site.address)
    page = watched.page
    expect(page.locator(".campaign h2")).to_have_text(sorted([CAMPAIGN, OTHER_CAMPAIGN]))
    expect(page.locator("#detail-title")).to_have_text(OTHER_CAMPAIGN)
    expect(page.locator(".campaign", has_text=HOSTILE[0])).to_have_count(1)
    expect(page.locator(".campaign").first.get_by_role("link")).to_have_attribute("href", f"./?campaign={CAMPAIGN}")
    page.locator(".campaign").first.get_by_role("button", name="Progress").click()
    page.wait_for_url(f"**name={CAMPAIGN}")
    expect(page.locator("#detail-title")).to_have_text(CAMPAIGN)
    watched.check_accessible()
    watched.shot("campaigns")
    page.go_back()
    expect(page.locator("#detail-title")).to_have_text(OTHER_CAMPAIGN)


def test_progress_is_read_again_until_paused(open_page: Open, store: tuple[Site, str, str]) -> None:
    site = store[0]
    answers: list[CampaignProgress | None] = [progress(5)]
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if answers[-1] is None:
            route.abort()
        else:
            route.fulfill(body=answers[-1].model_dump_json(), content_type="application/json")

    watched = open_page(f"/campaigns?name={CAMPAIGN}", address=site.address, allow=_REFUSED, theme="dark",
                        before=lambda page: page.route("**/progress?*", answer))  # fmt: skip
    page = watched.page
    spoken, bar = page.locator("#announcer"), page.locator("section .state-bar").first
    expect(spoken).to_have_text(f"{CAMPAIGN}: 5 of 20 jobs done, 1 running, 14 waiting")
    assert bar.get_attribute("aria-label") == f"{CAMPAIGN}: 5 of 20 jobs done, 1 running, 14 waiting"
    answers.append(progress(9, failed=2))
    expect(spoken).to_have_text(f"{CAMPAIGN}: 9 of 20 jobs done, 1 running, 8 waiting, 2 failed", timeout=_READY)
    expect(page.locator("table.numbers").nth(1)).to_contain_text("A job failed.")
    watched.check_accessible()
    watched.shot("campaigns-progress")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#refresh-state")).to_have_text("Paused")
    page.wait_for_timeout(300)
    n = len(asked)
    page.wait_for_timeout(5_000)
    assert len(asked) == n, "it asks while it is paused"
    answers.append(None)
    page.get_by_role("button", name="Go on refreshing").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.", timeout=_READY)
    watched.check_accessible()
    answers.append(progress(20))
    page.get_by_role("button", name="Try again").click()
    expect(spoken).to_contain_text("20 of 20", timeout=_READY)


def test_what_changed_between_two_snapshots(open_page: Open, store: tuple[Site, str, str]) -> None:
    site, old, new = store
    watched = open_page(f"/diff?old={old}&new={new}", address=site.address)
    page = watched.page
    page.wait_for_selector(".moves tbody tr", timeout=_READY)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download JSON").click()
    found = DiffDoc.model_validate_json(waiting.value.path().read_text())
    best = next(move for move in found.moves if move.candidate_id == site.ids[0])
    row = page.locator(".moves tbody tr", has_text=site.ids[0]).first
    expect(row).to_contain_text(f"#{best.rank_old} → #{best.rank_new}")
    expect(row.locator(".why")).to_contain_text("New data")
    assert row.get_by_role("link").first.get_attribute("href") == f"candidate?id={site.ids[0]}"
    assert (
        row.get_by_role("link", name="new", exact=True).get_attribute("href") == f"candidate?id={site.ids[0]}#job-new"
    )
    expect(page.locator("#moves-title")).to_have_text(f"{found.n_moves} candidates")
    watched.check_accessible()
    watched.shot("diff-light", full=True)
    page.get_by_role("button", name=re.compile("^New data")).click()
    page.wait_for_url("**cause=new-data*")
    assert page.locator(".moves tbody tr").count() == found.causes["new-data"]
    page.get_by_role("button", name=re.compile(r"^(Left|Down) \d")).first.click()
    page.wait_for_url("**status=*")
    page.go_back()
    expect(page.locator("#moves-title")).to_contain_text(f"{found.causes['new-data']} candidate")
    page.get_by_label("Ranked by").select_option("cathode-miec")
    page.wait_for_url("**definition=cathode-miec*")
    page.get_by_role("button", name="Swap the two").click()
    page.wait_for_url(f"**old={new}*")
    expect(page.locator(".sides code").first).to_have_text(new, timeout=_READY)
    page.reload()
    expect(page.locator(".sides code").first).to_have_text(new, timeout=_READY)


def test_hostile_moves_in_the_dark_on_a_narrow_screen(open_page: Open, store: tuple[Site, str, str]) -> None:
    site, old, new = store
    sides = DiffDoc.model_validate(_asked(site, f"diff?old={old}&new={new}"))
    move = sides.moves[0].model_copy(update={"label": HOSTILE[1], "rank_old": 1, "rank_new": 2})
    cause = move.causes[0].model_copy(update={"text": HOSTILE[0], "phases": [HOSTILE[0]], "job_uuids": [HOSTILE[1]],
                                              "candidates": [HOSTILE[2]]})  # fmt: skip
    moves = [move.model_copy(update={"causes": [cause]}), move.model_copy(update={"rank_old": 2, "rank_new": 1})]
    hostile = sides.model_copy(update={"moves": moves, "notes": list(HOSTILE), "model_changes": list(HOSTILE)})
    watched = open_page(
        f"/diff?old={old}&new={new}&first=-1", address=site.address, theme="dark", width=400,
        before=lambda page: page.route("**/api/v1/diff?*", lambda route: route.fulfill(
            body=hostile.model_dump_json(), content_type="application/json")),
    )  # fmt: skip
    page = watched.page
    page.wait_for_selector(".moves tbody tr", timeout=_READY)
    assert page.locator("main img, main script, main b").count() == 0
    expect(page.locator(".slopes line")).to_have_count(2)
    expect(page.locator(".moves tbody tr")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    watched.check_accessible()
    watched.shot("diff-dark-narrow", full=True)


def test_no_snapshots_and_unknown_ones(open_page: Open, store: tuple[Site, str, str]) -> None:
    site, old, _ = store
    watched = open_page(f"/diff?old={old}&new=snap-ffffffffffffffff", address=site.address, allow=_REFUSED)
    expect(watched.page.get_by_role("alert")).to_contain_text("no snapshot", ignore_case=True, timeout=_READY)
    watched.check_accessible()
    nothing = json.dumps({"documents": [], "damaged": {}, "next": None})
    watched = open_page(
        "/diff", address=site.address,
        before=lambda page: page.route(re.compile("/api/v1/(snapshots|leaderboards)"), lambda route: route.fulfill(
            body=nothing, content_type="application/json")),
    )  # fmt: skip
    expect(watched.page.locator(".notice.empty")).to_contain_text("No snapshot yet")
    watched.check_accessible()
    watched.shot("diff-empty")


def _asked(site: Site, path: str) -> object:
    return httpx.get(f"{site.address}/api/v1/{path}", timeout=120).raise_for_status().json()
