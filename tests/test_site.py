"""The files of the web page: served with tags and policy, complete, small, and third-party ones unchanged."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from web_client import Client, Served, served_store

import hemiec.web
from hemiec.web.app import create_app
from hemiec.web.headers import PAGE_POLICY
from hemiec.web.site import PAGES

pytestmark = pytest.mark.store
SITE = Path(hemiec.web.__file__).parent / "site"
VENDOR = SITE / "assets" / "vendor"
MAX_BYTES = 3_000_000
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_store(tmp_path_factory.mktemp("site"), 1) as store:
        yield store


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    client = Client(create_app(served.settings, database=served.database))
    yield client
    client.close()


def test_third_party_files_are_what_they_are_said_to_be() -> None:
    listed = {entry["file"]: entry for entry in json.loads((VENDOR / "vendored.json").read_text())}
    present = {path.name for path in VENDOR.iterdir()} - {"vendored.json"}
    assert set(listed) == present
    for name, entry in listed.items():
        body = (VENDOR / name).read_bytes()
        assert hashlib.sha256(body).hexdigest() == entry["sha256"], name
        assert entry["bytes"] == len(body) and entry["licence"] in ("MIT", "BSD-3-Clause")
    for package in {entry["package"] for entry in listed.values()}:
        assert any("LICENSE" in name for name, entry in listed.items() if entry["package"] == package)


def test_everything_is_under_three_megabytes() -> None:
    assert sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file()) < MAX_BYTES


@pytest.mark.parametrize("path", PAGES)
def test_pages_link_only_to_what_is_served(client: Client, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY and "http" not in PAGE_POLICY
    # No script, style or handler stands in the page itself.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page.text)
    links = re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)
    assert links
    for link in links:
        answer = client.get(f"/{link}")
        assert answer.status_code == 200, link
        assert "immutable" in answer.headers["cache-control"]
        assert client.get(f"/{link}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    tag = page.headers["etag"]
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        assert client.get(path, headers={"If-None-Match": known}).status_code == 304, known
    for other in ("W/*", f"{tag[:-2]}", '"other"'):
        assert client.get(path, headers={"If-None-Match": other}).status_code == 200, other


def test_scripts_import_only_what_there_is() -> None:
    for script in (SITE / "assets" / "js").rglob("*.js"):
        for name in re.findall(r'from "(\.[^"]+)"', script.read_text()):
            assert (script.parent / name).is_file(), f"{script.name} imports {name}"


def test_nothing_names_another_host_and_no_markup_is_made_of_data() -> None:
    for script in (SITE / "assets" / "js").rglob("*.js"):
        text = script.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text), script.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            script.name
        )


def test_assets_of_an_old_version_are_those_of_now(client: Client) -> None:
    answer = client.get("/assets/0000/css/base.css")
    assert answer.status_code == 200 and "no-cache" in answer.headers["cache-control"]
    for wrong in ("nothing.js", "../site.py", "..%2f..%2fapp.py", "vendor/", ""):
        assert client.get(f"/assets/0000/{wrong}").status_code in (404, 307), wrong


def test_the_page_needs_no_token_and_is_not_counted(served: Served) -> None:
    settings = served.settings.model_copy(update={"web_token": SecretStr(TOKEN)})
    client = Client(create_app(settings, database=served.database, rate=1))
    try:
        assert {client.get("/").status_code for _ in range(30)} == {200}
        assert client.get("/assets/0000/js/api.js").status_code == 200
        assert client.get("definitions").status_code == 401
    finally:
        client.close()
