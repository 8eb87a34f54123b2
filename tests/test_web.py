"""The REST API on a real store, called in this process; the server itself is started in one test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from pymatgen.core import Structure
from pymongo.errors import ExecutionTimeout, OperationFailure
from stored_candidates import CAMPAIGN, OTHER_CAMPAIGN, SKIPPED, synthetic_candidates
from web_client import API, Client, Served, served_store, wait_for_table

from hemiec.errors import StoreError
from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.leaderboard import rank
from hemiec.schemas.documents import CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.schemas.provenance import Provenance
from hemiec.web.app import create_app
from hemiec.web.problems import of_store
from hemiec.web.protection import MAX_CLIENTS, Problem, RateLimit
from hemiec.web.routes import candidates, leaderboards, progress, ranking, records, snapshots, structures

pytestmark = pytest.mark.store
N = 60


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_store(tmp_path_factory.mktemp("web"), N) as served:
        yield served


@pytest.fixture(scope="module")
def docs() -> list[CandidateDoc]:
    return list(synthetic_candidates(N))


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    client = Client(create_app(served.settings, rate=None))
    wait_for_table(client)
    yield client
    client.close()


def ok(client: Client, path: str, **parameters: Any) -> Any:
    answer = client.get(path, **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(client: Client, path: str, **parameters: Any) -> tuple[int, str]:
    """Return status and text of an error, which has the one form of all errors."""
    answer = client.get(path, **parameters)
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "mend"}
    return answer.status_code, f"{body['error']['message']} {body['error']['mend']}"


# Lists


def test_pages_hold_every_candidate_once_in_order(client: Client, docs: list[CandidateDoc]) -> None:
    found, address, n_pages = [], f"{API}/candidates?limit=13&sort=band_gap&descending=true", 0
    while address:
        answer = client.get(address)
        page = answer.json()
        assert answer.headers.get("link") == (f'<{page["next"]}>; rel="next"' if page["next"] else None)
        assert page.get("count") == (None if n_pages else N)
        found += page["documents"]
        address, n_pages = page["next"], n_pages + 1
    assert n_pages == 5
    gaps = {doc.candidate_id: doc.band_gap.value for doc in docs}
    assert {row["candidate_id"] for row in found} == set(gaps)
    values = [row["band_gap"]["value"] for row in found]
    known = [value for value in values if value is not None]
    assert known == sorted((g for g in gaps.values() if g is not None), reverse=True)
    # Those without a value come last.
    assert values[len(known) :] == [None] * (N // SKIPPED)


def test_a_condition_finds_what_it_says(client: Client, docs: list[CandidateDoc]) -> None:
    page = ok(client, "candidates", q="band_gap < 1.2 and has(Co) and not has(Ba)", limit=1000)
    expected = {
        doc.candidate_id
        for doc in docs
        if doc.band_gap.value is not None and doc.band_gap.value < 1.2
        and "Co" in doc.elements and "Ba" not in doc.elements
    }  # fmt: skip
    assert {row["candidate_id"] for row in page["documents"]} == expected
    assert 0 < page["count"] == len(expected) < N
    assert all("results" not in row for row in page["documents"])


def test_chosen_fields_come_as_rows(client: Client, docs: list[CandidateDoc]) -> None:
    rows = ok(client, "candidates", fields="band_gap, barrier.std,tolerance_factor", limit=1000)["documents"]
    by_id = {doc.candidate_id: doc for doc in docs}
    for row in rows:
        doc = by_id[row["candidate_id"]]
        assert row == {
            "candidate_id": doc.candidate_id, "band_gap": doc.band_gap.value,
            "barrier.std": doc.migration_barrier.std, "tolerance_factor": doc.candidate.tolerance_factor,
        }  # fmt: skip


def test_hops_of_all_candidates(client: Client, docs: list[CandidateDoc]) -> None:
    page = ok(client, "hops", q="forward_barrier < 0.6 and has(Ba)", limit=1000)
    expected = sorted(
        hop.forward_barrier
        for doc in docs
        for result in doc.results
        for hop in result.hops
        if hop.forward_barrier is not None and hop.forward_barrier < 0.6 and "Ba" in hop.environment
    )
    assert [hop["forward_barrier"] for hop in page["documents"]] == pytest.approx(expected)


def test_small_lists_come_in_pages_too(client: Client) -> None:
    first = ok(client, "references", limit=2)
    second = ok(client, first["next"])
    assert [d["formula_pretty"] for d in (*first["documents"], *second["documents"])] == ["BaO", "La2O3", "SrO"]
    assert second["next"] is None
    assert len(ok(client, "references", formula_pretty="BaO", protocol="mlip-chgnet")["documents"]) == 1
    campaigns = ok(client, "campaigns")["documents"]
    assert {c["name"]: c["n_candidates"] for c in campaigns} == {CAMPAIGN: N, OTHER_CAMPAIGN: N // 3}
    assert ok(client, "candidates", q=f'campaign = "{OTHER_CAMPAIGN}"')["count"] == N // 3


def test_fields_of_the_language_can_all_be_asked_for(client: Client) -> None:
    for collection in ("candidates", "hops"):
        listed = ok(client, "fields", collection=collection)
        names = [field["name"] for field in listed["fields"]]
        for k in range(0, len(names), 30):
            ok(client, collection, fields=",".join(names[k : k + 30]), limit=1)
        for name in (field["name"] for field in listed["fields"] if field["sortable"]):
            ok(client, collection, sort=name, limit=1)
        assert all(field["unit"] for field in listed["fields"] if field["kind"] == "number")


# Documents


def test_one_candidate_is_what_was_stored(client: Client, docs: list[CandidateDoc]) -> None:
    doc = docs[0]
    whole = ok(client, f"candidates/{doc.candidate_id}", whole=True)
    assert CandidateDoc.model_validate(whole) == doc
    plain = CandidateDoc.model_validate(ok(client, f"candidates/{doc.candidate_id}"))
    assert plain.results[0].hops == [] and plain.band_gap == doc.band_gap


def test_structures_come_as_files_of_other_programs(client: Client, docs: list[CandidateDoc]) -> None:
    listed = ok(client, f"candidates/{docs[0].candidate_id}/structures")["documents"]
    assert len(listed) == 1 and "structure" not in listed[0]
    path = f"structures/{listed[0]['structure_id']}"
    whole = Structure.from_dict(ok(client, path))
    assert whole.composition.reduced_formula == listed[0]["formula_pretty"]
    assert whole.volume == pytest.approx(listed[0]["volume"])
    for kind in ("relaxed", "ideal"):
        expected = Structure.from_dict(ok(client, path, kind=kind))
        for form, media in (("cif", "chemical/x-cif"), ("poscar", "text/plain; charset=utf-8")):
            answer = client.get(path, format=form, kind=kind)
            assert answer.headers["content-type"] == media
            name = re.fullmatch(r'attachment; filename="([\w.-]+)"', answer.headers["content-disposition"])
            assert name and name.group(1).startswith(docs[0].candidate_id) and kind in name.group(1)
            found = Structure.from_str(answer.text, fmt=form)
            assert found.composition == expected.composition
            assert found.matches(expected, scale=False)
            assert docs[0].candidate.label in answer.text.splitlines()[0]


def test_provenance(client: Client, docs: list[CandidateDoc]) -> None:
    path = f"candidates/{docs[0].candidate_id}/provenance"
    everything = Provenance.model_validate(ok(client, path))
    assert {"band_gap", "migration_barrier"} <= {number.property for number in everything.numbers}
    one = Provenance.model_validate(ok(client, path, property="volume_per_atom"))
    assert [(n.property, n.value) for n in one.numbers] == [("volume_per_atom", 12.0)]
    for wrong in ("volume_per_atm", "band_gap.model_dump", "hops.99", "band_gap.__class__"):
        assert problem(client, path, property=wrong)[0] == 422


def test_leaderboards_saved_and_of_this_moment(
    client: Client, docs: list[CandidateDoc], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = ok(client, "leaderboards")["documents"]
    assert [board["n_entries"] for board in saved] == [N]
    key = saved[0]["leaderboard_id"]
    first = LeaderboardDoc.model_validate(ok(client, f"leaderboards/{key}", limit=40))
    rest = LeaderboardDoc.model_validate(ok(client, f"leaderboards/{key}", first=40))
    expected = [entry.candidate_id for entry in rank(docs, DEFAULT).entries]
    assert [entry.candidate_id for entry in (*first.entries, *rest.entries)] == expected
    current = ok(client, "leaderboards/current", limit=5)
    assert [entry["candidate_id"] for entry in current["entries"]] == expected[:5]
    assert current["n_entries"] == N
    assert ok(client, "leaderboards/current", campaign=OTHER_CAMPAIGN)["n_entries"] == N // 3
    monkeypatch.setattr(leaderboards, "MAX_RANKED", N - 1)
    status, text = problem(client, "leaderboards/current")
    assert status == 422 and "name a campaign" in text
    ok(client, "leaderboards/current", campaign=OTHER_CAMPAIGN)
    monkeypatch.setattr(client.app.state.current, "waiting", 0)  # as if others were being ranked
    assert problem(client, "leaderboards/current", campaign=OTHER_CAMPAIGN)[0] == 429


# What is wrong


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("candidates?lmit=3", 422, "unknown parameter 'lmit'. did you mean 'limit'?"),
        ("candidates?limit=0", 422, "limit: Input should be greater than or equal to 1, got '0'."),
        ("candidates?limit=1001", 422, "less than or equal to 1000"),
        ("candidates?limit=1&limit=2", 422, "'limit' is given more than once"),
        ("candidates?q=bnd_gap < 1", 422, "did you mean 'band_gap'?"),
        ("candidates?q=band_gap <", 422, "ends too early"),
        ("candidates?sort=bnd_gap", 422, "did you mean 'band_gap'?"),
        ("candidates?fields=band_gap,nonsense", 422, "unknown field 'nonsense'"),
        ("candidates?after=abc", 422, "the cursor cannot be read"),
        ("candidates/hm-2ac74f1108b30965", 404, "did you mean 'hm-2ac74f1108b30964'?"),
        ("candidates/hm-2ac74f1108b30965/structures", 404, "no candidate"),
        ("candidates/hm-2ac74f1108b30965/provenance", 404, "no candidate"),
        ("candidates/a b", 422, "String should match pattern"),
        ("structures/hm-0:1:2", 404, "no structure 'hm-0:1:2'."),
        ("leaderboards/lb-0", 404, "no leaderboard"),
        ("leaderboards/current?campaign=synthetik", 422, "did you mean 'synthetic'?"),
        ("health?verbose=1", 422, "unknown parameter 'verbose'. this address takes none."),
        ("nothing", 404, "see /docs"),
    ],
)
def test_one_clear_error(client: Client, path: str, status: int, expected: str) -> None:
    got, text = problem(client, path)
    assert got == status
    assert expected in text
    assert client.get(path).headers["cache-control"] == "no-store"


def test_other_methods_are_refused(client: Client) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert client.request(method, f"{API}/candidates").status_code == 405


def test_unexpected_errors_tell_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hemiec.web.routes.candidates.read_page", lambda *_, **__: 1 / 0)
    answer = client.get("candidates")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "unexpected ZeroDivisionError."
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_time_limit_that_was_met_is_504() -> None:
    late = of_store(ExecutionTimeout("operation exceeded time limit", 50, {}))
    assert late.status == 504 and late.mend
    error = StoreError("query: nothing found within 5 s.", mend="narrow it")
    error.__cause__ = ExecutionTimeout("", 50, {})
    assert (of_store(error).status, of_store(error).message) == (504, "query: nothing found within 5 s.")
    assert of_store(OperationFailure("secret words of MongoDB", 2, {})).status == 500
    assert "secret" not in of_store(OperationFailure("secret words of MongoDB", 2, {})).message


# HTTP


def test_entity_tags(client: Client, served: Served, docs: list[CandidateDoc]) -> None:
    path = f"candidates/{docs[1].candidate_id}"
    first = client.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "public, no-cache"
    for known in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    page = client.get("candidates", limit=3).headers["etag"]
    assert client.get("candidates", headers={"If-None-Match": page}, limit=3).status_code == 304
    assert client.get("candidates", headers={"If-None-Match": page}, limit=4).status_code == 200
    where = {"candidate_id": docs[1].candidate_id}
    served.database["candidates"].update_one(where, {"$set": {"input_hash": "changed"}})
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200
    served.database["candidates"].update_one(where, {"$set": {"input_hash": docs[1].input_hash}})


def test_head_and_compression(client: Client) -> None:
    whole = client.get("candidates")
    assert whole.headers["content-encoding"] == "gzip"
    head = client.request("HEAD", f"{API}/candidates")
    assert head.content == b"" and head.status_code == 200
    assert head.headers["etag"] == whole.headers["etag"]
    plain = client.get("candidates", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.json() == whole.json()


def test_headers_that_protect_are_on_every_answer(client: Client) -> None:
    for path in ("candidates", "nothing", "candidates?limit=0", "/docs", "/optimade/v1/info", f"{API}/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_other_pages_may_read_only_where_allowed(client: Client, served: Served) -> None:
    origin = {"Origin": "https://group.example.org"}
    assert "access-control-allow-origin" not in client.get("health", headers=origin).headers
    allowed = Client(create_app(served.settings, rate=None, allow_origins=["https://group.example.org"]))
    assert allowed.get("health", headers=origin).headers["access-control-allow-origin"] == origin["Origin"]
    other = allowed.get("health", headers={"Origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in other.headers
    allowed.close()


def test_token(served: Served) -> None:
    token = "correct-horse-battery-staple"
    client = Client(create_app(served.settings.model_copy(update={"web_token": SecretStr(token)}), rate=None))
    wrong = [None, "", "Bearer", f"Basic {token}", f"Bearer {token}x", f"Bearer {token[:-1]}", "Bearer \xff\xfe"]
    for path in ("candidates", "/docs", f"{API}/openapi.json", "/optimade/v1/structures", "nothing"):
        for sent in wrong:
            headers = {} if sent is None else {"Authorization": sent.encode("latin-1")}
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert token not in answer.text
    right = client.get("candidates", headers={"Authorization": f"Bearer {token}"})
    assert right.status_code == 200
    assert right.headers["cache-control"].startswith("private")
    assert client.get("health").status_code == 200
    client.close()


def test_rate_limit(served: Served) -> None:
    app = create_app(served.settings, rate=0.2)
    one, other = Client(app), Client(app, host="192.0.2.2")
    assert one.get("health").status_code == 200
    refused = one.get("health")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) in (4, 5, 6)
    assert other.get("health").status_code == 200
    one.close()
    other.close()


def test_tokens_of_a_bucket_come_back_with_time() -> None:
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])

    def allowed(host: str) -> bool:
        try:
            limit({"client": (host, 1)})
        except Problem:
            return False
        return True

    assert [allowed("192.0.2.1") for _ in range(12)] == [True] * 10 + [False] * 2
    now[0] = 1.0
    assert [allowed("192.0.2.1") for _ in range(3)] == [True, True, False]
    # One IPv6 network is one client, whichever of its addresses it uses.
    assert [allowed(f"2001:db8::{k:x}") for k in range(12)].count(True) == 10
    assert allowed("2001:db8:0:1::1")
    for k in range(MAX_CLIENTS + 100):
        allowed(f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}")
    assert len(limit._left) == MAX_CLIENTS


# Description


def test_everything_is_described_with_an_example_that_is_valid(client: Client) -> None:
    described = client.get(f"{API}/openapi.json").json()
    parts = (candidates, leaderboards, progress, ranking, records, snapshots, structures)
    models = {route.name: route.response_model for part in parts for route in part.router.routes}
    paths = described["paths"]
    assert len(paths) == 25
    for path, methods in paths.items():
        about = methods["get"]
        assert about["summary"] and about["description"]
        for parameter in about.get("parameters", []):
            schema = parameter["schema"]
            assert parameter["description"], (path, parameter["name"])
            assert schema.get("examples") or "default" in schema or parameter["name"] == "after", (path, parameter)
        for status, answer in about["responses"].items():
            assert answer["description"]
            assert status == "304" or all("example" in kind for kind in answer["content"].values()), (path, status)
        model = models[about["operationId"]]
        if model is not None:
            model.model_validate(about["responses"]["200"]["content"]["application/json"]["example"])
    assert json.dumps(described).count("HTTPValidationError") == 0


def test_the_page_loads_nothing_and_its_links_work(client: Client) -> None:
    page = client.get("/docs")
    assert "<script" not in page.text and "@import" not in page.text and "url(" not in page.text
    links = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert len(links) > 8
    for link in links:
        assert not link.startswith(("http", "//"))
        # Snapshots of the example are not here.
        expected = (404,) if "/diff?" in link else (200, 422)
        assert client.get("/" + link.replace("&amp;", "&")).status_code in expected, link
    assert "text/html" in client.get("/").headers["content-type"]
