"""The page of one candidate in a real browser: every section and control, its numbers against those of the store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from details import OTHER_PLAN, enrich, insert_structures, read
from pages import HOSTILE, Open, Site, Watched
from playwright.sync_api import Page, Route, expect
from pymatgen.core import Structure

from hemiec.schemas.documents import CandidateDoc

expect.set_options(timeout=30_000)
SECTIONS = [
    "Rank", "Composition", "Properties", "Structure", "Ion transport", "Electronic structure", "Stability", "Oxygen",
    "Windows of potential", "Interface reactions", "Provenance",
]  # fmt: skip
_NOT_FOUND = ("Failed to load resource: the server responded with a status of 404",)


@pytest.fixture(scope="module")
def rich(site: Site) -> Iterator[CandidateDoc]:
    """The first candidate with everything that the page can show; some others, and the hostile ones, have cells."""
    database = site.served.database
    before = {
        name: list(database[name].find({"candidate_id": site.ids[0]})) for name in ("candidates", "hops", "transport")
    }
    ids = [*site.ids[:2], *site.hostile]
    insert_structures(database, ids)
    database["structures"].update_many(
        {"candidate_id": {"$in": site.hostile}}, {"$set": {"label": HOSTILE[0], "notes": list(HOSTILE)}}
    )
    yield enrich(database, site.ids[0])
    database["structures"].delete_many({"candidate_id": {"$in": ids}})
    for name, documents in before.items():
        database[name].delete_many({"candidate_id": site.ids[0]})
        database[name].insert_many(documents)


def opened(open_page: Open, candidate_id: str, more: str = "", **about: Any) -> Watched:
    """Open the page of a candidate and wait until its slower parts are there."""
    watched: Watched = open_page(f"/candidate?id={candidate_id}{more}", **about)
    watched.page.wait_for_selector("#provenance .tree, #provenance .notice:not(.loading)")
    # The first ranking of a server compiles its kernels.
    watched.page.wait_for_selector(".rank-body:not(:has(.loading))", timeout=90_000)
    return watched


def see_all(page: Page) -> None:
    """Scroll through the page until every plot is drawn."""
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    expect(page.locator(".plot[aria-busy]")).to_have_count(0)
    page.evaluate("scrollTo(0, 0)")


def module(page: Page, name: str, expression: str, argument: Any = None) -> Any:
    """Evaluate an expression with a module of the page as ``m`` and an argument as ``a``."""
    address = page.evaluate("document.querySelector('script[type=module]').src").replace(
        "candidate.js", f"candidate/{name}.js"
    )
    return page.evaluate(
        f"async ([address, a]) => {{ const m = await import(address); return {expression}; }}", [address, argument]
    )


def test_every_section_with_the_numbers_of_the_store(open_page: Open, site: Site, rich: CandidateDoc) -> None:
    watched = opened(open_page, rich.candidate_id)
    page = watched.page
    assert page.locator("main section > h2").all_inner_texts() == SECTIONS
    assert page.locator("nav.contents a").all_inner_texts() == SECTIONS
    expect(page.locator("h1")).to_have_text(rich.candidate.label)
    gap = page.locator("#property-band_gap")
    expect(gap.locator(".value")).to_have_text(f"{rich.band_gap.value:.2f} eV")
    assert rich.band_gap.interval is not None
    expect(gap.locator(".within")).to_contain_text(re.compile(rf"{abs(rich.band_gap.interval[1]):.2f}"))
    expect(gap).to_contain_text(rich.band_gap.method, ignore_case=True)
    expect(gap).to_contain_text("4 samples")
    expect(gap.locator("code").first).to_have_text("mlip-chgnet")
    for site_name, species in rich.candidate.sites.items():
        for name, share in species.items():
            expect(page.locator(".sublattice", has_text=f"{site_name}, ")).to_contain_text(f"{name} {share}")
    see_all(page)
    assert page.locator(".plot .main-svg").count() >= 7
    expect(page.locator("#stability")).to_contain_text(str(rich.results[0].thermodynamics.hull.n_phases))  # type: ignore[union-attr]
    expect(page.locator("#electronic table").first).to_contain_text("the SCF did not converge")
    watched.check_accessible()
    watched.shot("candidate-light", full=True)


def test_dark_and_narrow(open_page: Open, rich: CandidateDoc) -> None:
    watched = opened(open_page, rich.candidate_id, theme="dark", width=400)
    see_all(watched.page)
    assert watched.page.evaluate("document.documentElement.scrollWidth") == 400
    watched.check_accessible()
    watched.shot("candidate-dark-narrow", full=True)


def test_rank_by_another_definition_is_kept_in_the_address(open_page: Open, site: Site, rich: CandidateDoc) -> None:
    watched = opened(open_page, rich.candidate_id)
    page = watched.page
    first = page.locator(".rank-number").inner_text()
    expect(page.locator(".rank-strip svg")).to_have_attribute(
        "aria-label", re.compile(rf"^rank {first[1:]}, 90 % interval")
    )
    choice = page.get_by_label("Leaderboard", exact=True)
    choice.select_option("solid-electrolyte")
    page.wait_for_url("**definition=solid-electrolyte*")
    expect(page.locator("a", has_text="The leaderboard ")).to_have_attribute("href", "./?definition=solid-electrolyte")
    card = page.request.get(
        f"{site.address}/api/v1/ranking/card/{rich.candidate_id}?definition=solid-electrolyte"
    ).json()
    shown = page.locator(".rank-number").inner_text()
    assert shown == ("Not ranked" if card["row"]["rank"] is None else f"#{card['row']['rank']}")
    n_doubts = len(card["row"]["doubts"])
    assert page.locator("#rank .doubts li").count() == n_doubts
    page.go_back()
    expect(page.locator(".rank-number")).to_have_text(first)


def test_structure_controls_and_files(open_page: Open, site: Site, rich: CandidateDoc) -> None:
    # Narrow, because the processor draws here, not a graphics card.
    watched = opened(open_page, rich.candidate_id, width=420)
    page, viewer = watched.page, watched.page.locator(".viewer")
    page.wait_for_selector(".viewer canvas", timeout=60_000)
    seen = {""}

    def changes(action: str) -> None:
        for _ in range(100):
            picture = page.evaluate("document.querySelector('.viewer canvas').toDataURL()")
            if picture not in seen:
                seen.add(picture)
                return
            page.wait_for_timeout(100)
        pytest.fail(f"{action} changed nothing")

    changes("drawing")
    for name in ("Turn left", "Tilt up", "Closer", "Along a", "Along b", "Along c"):
        page.locator("#structure").get_by_role("button", name=name, exact=True).click()
        changes(name)
    for box in ("Octahedra", "Symbols"):
        page.get_by_label(box, exact=True).click()
        changes(box)
    viewer.focus()
    page.keyboard.press("ArrowRight")
    changes("the arrow key")
    page.get_by_label("Cells").select_option("2")
    page.wait_for_url("**cells=2*")
    changes("the supercell")
    watched.shot("candidate-structure")
    page.get_by_label("Sites", exact=True).select_option("ideal")
    page.wait_for_url("**kind=ideal*")
    expect(viewer).to_have_attribute("aria-label", re.compile("ideal sites, 25 atoms"))
    stored = site.served.database["structures"].find_one({"candidate_id": rich.candidate_id})
    assert stored is not None
    check_files(page, rich.candidate_id, Structure.from_dict(stored["ideal_structure"]))
    page.reload()
    expect(page.get_by_label("Sites", exact=True)).to_have_value("ideal")
    expect(page.get_by_label("Cells")).to_have_value("2")


def check_files(page: Page, candidate_id: str, expected: Structure) -> None:
    """Save the cell in each format and compare what programs read from it."""
    for button in ("CIF", "POSCAR", "JSON"):
        with page.expect_download() as waiting:
            page.locator(".downloads").get_by_role("button", name=button).click()
        assert re.fullmatch(rf"{candidate_id}_.*-ideal\.(cif|POSCAR|json)", waiting.value.suggested_filename)
        text = waiting.value.path().read_text()
        found = (
            Structure.from_dict(json.loads(text)) if button == "JSON" else Structure.from_str(text, fmt=button.lower())
        )
        assert found.composition == expected.composition
        np.testing.assert_allclose(found.volume, expected.volume, rtol=1e-6)


def test_without_webgl_the_page_says_so_and_has_all_else(open_page: Open, rich: CandidateDoc) -> None:
    hide = """const context = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return /webgl/.test(kind) ? null : context.call(this, kind, ...more); };"""
    watched = opened(open_page, rich.candidate_id, before=lambda page: page.add_init_script(hide))
    page = watched.page
    expect(page.locator("#no-webgl")).to_contain_text("cannot draw in three dimensions")
    assert page.locator(".viewer").count() == 0
    page.locator("#structure summary", has_text="Sites").click()
    expect(page.locator("#structure tbody tr")).to_have_count(25)
    watched.check_accessible()
    watched.shot("candidate-without-webgl")


def test_barriers_are_counted_as_numpy_does(open_page: Open, rich: CandidateDoc) -> None:
    of = rich.results[0].transport
    assert of is not None
    page = open_page("/candidate").page
    found = module(page, "transport_data", "m.barrierCounts(a)", of.model_dump(mode="json"))
    sites, saddles = np.array(of.site_energies), np.array(of.saddle_energies)
    both = np.concatenate([saddles - sites[np.array(ends)] for ends in (of.network.start, of.network.end)])
    known = np.tile(np.array(of.hop_computed), 2)
    for name, chosen in (("computed", known), ("predicted", ~known)):
        np.testing.assert_array_equal(found[name], np.histogram(both[chosen], found["edges"])[0])
    shares = [0.5, 0.3, 0.15, 0.05]
    assert module(page, "transport_data", "[m.hopsForMost(a), m.hopsForMost([0, 0])]", shares) == [3, None]


def test_a_network_without_current_says_so(open_page: Open, rich: CandidateDoc) -> None:
    of = rich.results[0].transport
    assert of is not None
    still = of.model_dump(mode="json") | {"hop_share": [0.0] * len(of.hop_share)}
    page = open_page("/candidate").page
    name = "m.networkFigure(a).querySelector('.network').getAttribute('aria-label')"
    assert module(page, "network", name, still).endswith(f"{len(of.hop_share)} hops; no current flows")
    assert "carry current" in module(page, "network", name, of.model_dump(mode="json"))


def test_the_drawn_cell_is_the_stored_one(open_page: Open, site: Site, rich: CandidateDoc) -> None:
    stored = site.served.database["structures"].find_one({"candidate_id": rich.candidate_id})
    assert stored is not None
    page, lattice = open_page("/candidate").page, Structure.from_dict(stored["ideal_structure"]).lattice
    cell = module(page, "cell", "m.drawnCell(a, [2, 1, 1])", stored["ideal_structure"])
    inside = [atom for atom in cell["atoms"] if not atom["outside"]]
    assert len(inside) == 50 and len(cell["octahedra"]) == 10 and len(cell["edges"]) == 24
    distances = [
        np.linalg.norm(np.subtract(cell["atoms"][corner]["place"], cell["atoms"][octahedron["centre"]]["place"]))
        for octahedron in cell["octahedra"] for corner in octahedron["corners"]
    ]  # fmt: skip
    # Six anions at half a lattice parameter around each B: an ideal perovskite.
    np.testing.assert_allclose(distances, 3.905 / 2, rtol=1e-6)
    assert len(distances) == 60
    found = module(page, "cell", "m.measures(a)", lattice.matrix.tolist())
    np.testing.assert_allclose([*found["lengths"], *found["angles"], found["volume"]],
                               [*lattice.abc, *lattice.angles, lattice.volume], rtol=1e-9)  # fmt: skip
    corners = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    faces = module(page, "cell", "m.faces([0, 0, 0], a)", corners)
    assert len(faces) == 8
    for face in faces:
        p, q, r = (np.array(corners[k]) for k in face)
        assert np.cross(q - p, r - p) @ p > 0, "a face points inwards"
    for direction in ([1.0, 2.0, -0.5], [0.0, 0.0, -3.0]):
        x, y, z, w = module(page, "viewer", "m.turnToFront(a)", direction)
        axis, unit = np.array([x, y, z]), np.array(direction) / np.linalg.norm(direction)
        turned = unit + 2 * np.cross(axis, np.cross(axis, unit) + w * unit)
        np.testing.assert_allclose(turned, [0, 0, 1], atol=1e-9)


def test_the_kinds_of_sites_are_those_of_the_structure(open_page: Open, site: Site, rich: CandidateDoc) -> None:
    stored = site.served.database["structures"].find_one({"candidate_id": rich.candidate_id}, {"_id": 0})
    assert stored is not None and stored["relax_job_uuid"] is not None

    def listed(route: Route) -> None:
        found = route.fetch().json()
        other = found["documents"][0] | {"structure_id": "other", "relax_job_uuid": None, "member": 1}
        found["documents"].append(other | {"net_charge": 0.25})
        route.fulfill(json=found)

    def before(page: Page) -> None:
        page.route("**/candidates/*/structures", listed)
        page.route("**/api/v1/structures/other?*", lambda route: route.fulfill(json=stored["ideal_structure"]))

    page = opened(open_page, rich.candidate_id, before=before).page
    kinds = page.get_by_label("Sites", exact=True).locator("option")
    expect(kinds).to_have_text(["Relaxed", "Ideal sites"])
    expect(page.locator("#structure")).not_to_contain_text("Net charge")
    page.get_by_role("combobox", name="Structure", exact=True).select_option("other")
    expect(kinds).to_have_text(["Ideal sites"])
    expect(page.get_by_role("combobox", name="Structure", exact=True)).to_be_focused()
    expect(page.locator("#structure dl", has_text="Net charge")).to_contain_text("0.250 e")


def test_products_stand_on_the_side_of_their_voltage(open_page: Open) -> None:
    window = {"element": "Li", "low": -4.0, "high": -3.0, "voltage_low": 3.0, "voltage_high": 4.0,
              "products_below": ["without lithium"], "products_above": ["with lithium"]}  # fmt: skip
    page = open_page("/candidate").page
    ends = module(page, "thermo_data", "m.windowEnds(a)", window)
    assert ends == {"low": 3.0, "high": 4.0, "unit": "V", "below": ["with lithium"], "above": ["without lithium"]}
    ends = module(page, "thermo_data", "m.windowEnds(a)", window | {"element": "O"})
    assert ends == {"low": -4.0, "high": -3.0, "unit": "eV", "below": ["without lithium"], "above": ["with lithium"]}


def test_network_turns_by_pointer_keys_and_buttons(open_page: Open, rich: CandidateDoc) -> None:
    page = opened(open_page, rich.candidate_id).page
    network, site = page.locator(".network"), page.locator(".network circle").first
    network.scroll_into_view_if_needed()
    of = rich.results[0].transport
    assert of is not None
    assert page.locator(".network circle").count() == len(of.site_energies)
    assert page.locator(".network .hop").count() == 2 * len(of.hop_share)
    places = [site.get_attribute("cx")]

    def turned(what: str) -> None:
        assert site.get_attribute("cx") != places[-1], f"{what} did not turn it"
        places.append(site.get_attribute("cx"))

    network.focus()
    page.keyboard.press("ArrowLeft")
    turned("the arrow key")
    page.locator("#transport").get_by_role("button", name="Turn right").click()
    turned("the button")
    box = network.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 110, steps=3)
    page.mouse.up()
    turned("dragging")
    page.locator("figure:has(.network) summary").click()
    largest = max(of.hop_share)
    expect(page.locator("figure:has(.network) tbody tr").first).to_contain_text(
        of.network.environments[of.hop_share.index(largest)]
    )


def test_download_of_all_and_the_other_result(open_page: Open, rich: CandidateDoc) -> None:
    page = opened(open_page, rich.candidate_id).page
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download JSON").click()
    assert CandidateDoc.model_validate_json(waiting.value.path().read_text()) == rich
    assert waiting.value.suggested_filename == f"{rich.candidate_id}.json"
    page.get_by_label("One of 2 results").select_option(OTHER_PLAN)
    expect(page.locator("#transport")).to_contain_text("The campaign does not ask for it.")
    # That result has no thermodynamics; what is listed is there, and what is read is marked.
    assert page.locator("nav.contents a").all_inner_texts() == page.locator("main section > h2").all_inner_texts()
    page.locator("#electronic").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.querySelector('#electronic').getBoundingClientRect().top + scrollY - 300)")
    expect(page.locator("nav.contents a[aria-current]")).to_contain_text(["Electronic structure"])
    page.reload()
    expect(page.locator("#transport")).to_contain_text("The campaign does not ask for it.")
    page.go_back()
    expect(page.locator("#transport")).to_contain_text("Effective barrier")


def test_provenance_leads_from_a_number_to_its_job(open_page: Open, rich: CandidateDoc) -> None:
    watched = opened(open_page, rich.candidate_id)
    page, uuid = watched.page, rich.band_gap.job_uuids[0]
    page.locator("#provenance .tree summary", has_text="Band gap").click()
    page.locator("#provenance .tree details[open] a", has_text=uuid).click()
    job = page.locator(f"[id='job-{uuid}']")
    expect(job).to_have_attribute("open", "")
    expect(job.locator("summary").first).to_be_focused()
    expect(job).to_contain_text(uuid)
    watched.check_accessible()
    watched.shot("candidate-provenance")
    page.goto(page.url)
    expect(page.locator(f"[id='job-{uuid}']")).to_have_attribute("open", "")
    # From the card of the property, too.
    page.locator("#property-band_gap .job-link").nth(1).click()
    expect(page.locator(f"[id='job-{rich.band_gap.job_uuids[1]}']")).to_be_visible()


def test_what_is_missing_has_its_reason(open_page: Open, site: Site) -> None:
    doc = next(doc for doc in (read(site.served.database, key) for key in site.ids) if not doc.results)
    watched = opened(open_page, doc.candidate_id)
    page = watched.page
    expect(page.locator("#property-band_gap")).to_contain_text("Not computed yet.")
    expect(page.locator(".rank-number")).to_have_text("Not ranked")
    expect(page.locator("#rank")).to_contain_text("Not computed yet.")
    expect(page.locator("main")).to_contain_text("No result yet")
    expect(page.locator("#structure")).to_contain_text("No structure yet")
    watched.check_accessible()
    watched.shot("candidate-without-numbers")


def test_hostile_texts_stay_texts(open_page: Open, site: Site, rich: CandidateDoc) -> None:
    for order, candidate_id in enumerate(site.hostile):
        watched = opened(open_page, candidate_id)
        page = watched.page
        for details in page.locator("#provenance details, #transport details").all():
            details.evaluate("(part) => { part.open = true; }")
        see_all(page)
        assert page.locator("main img, main script, main iframe, main b").count() == 0
        expect(page.locator("h1")).to_contain_text(HOSTILE[order][:20])
        watched.shot(f"candidate-hostile-{order}")


def test_no_such_candidate_and_none_named(open_page: Open) -> None:
    watched = open_page("/candidate?id=hm-ffffffffffffffff", allow=_NOT_FOUND)
    expect(watched.page.get_by_role("alert")).to_contain_text("Not found")
    watched.check_accessible()
    watched.shot("candidate-not-found")
    watched = open_page("/candidate")
    expect(watched.page.locator(".notice")).to_contain_text("No candidate chosen")
    watched.check_accessible()


def test_while_it_loads_and_after_a_failure(open_page: Open, rich: CandidateDoc) -> None:
    held: list[Route] = []
    failing = [True]

    def hold(route: Route) -> None:
        if failing:
            held.append(route)
        else:
            route.fallback()

    address = f"**/api/v1/candidates/{rich.candidate_id}?*"
    watched = open_page(
        f"/candidate?id={rich.candidate_id}", allow=("Failed to load resource",),
        before=lambda page: page.route(address, hold),
    )  # fmt: skip
    page = watched.page
    expect(page.locator(".notice.loading")).to_contain_text("Reading the candidate")
    watched.check_accessible()
    watched.shot("candidate-loading")
    held[0].abort()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    watched.shot("candidate-unreachable")
    failing.clear()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("h1")).to_have_text(rich.candidate.label)
