"""What comes from outside and means harm: it gets a 4xx, and the database stays as it is."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from pymongo.errors import OperationFailure
from starlette.requests import Request
from stored_candidates import CAMPAIGN
from web_client import API, Client, Served, served_store, wait_for_table

from hemiec.store.snapshots import take_snapshot
from hemiec.web.answers import send_file
from hemiec.web.app import create_app

pytestmark = pytest.mark.store

#: Every address with an example of its id.
PATHS = (
    "candidates",
    "hops",
    "candidates/{id}",
    "candidates/{id}/structures",
    "candidates/{id}/provenance",
    "structures/{id}",
    "leaderboards",
    "leaderboards/current",
    "leaderboards/{id}",
    "references",
    "campaigns",
    "fields",
    "health",
    "definitions",
    "ranking",
    "ranking/uncertainty",
    "ranking/points",
    "ranking/elements",
    "ranking/export",
    "ranking/card/{id}",
    "campaigns/{id}/progress",
    "snapshots",
    "snapshots/{id}",
    "snapshots/{id}/candidates.parquet",
    "diff",
)
#: Parameters of which a plain word may be a name, and then finds something or nothing.
NAMES = ("after", "protocol", "campaign", "definition", "old", "new")
#: Values that mean something to MongoDB, a shell, a path or a page, and nothing to us.
VALUES = (
    '{"$gt":""}',
    '{"$where":"sleep(10000)"}',
    "$where",
    '[{"$out":"candidates"}]',
    "this.constructor.constructor('return process')()",
    "band_gap < 1; db.dropDatabase()",
    'has({"$ne":1})',
    "__class__.__mro__",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "<script>alert(1)</script>",
    "' or '1'='1",
    "%00",
    "\u202eevil",
    "(" * 900,
    "not " * 400 + "band_gap < 1",
    "-" * 1500,
    "9" * 400,
    "1e999999999",
    "nan",
    "Infinity",
    "{{7*7}}",
    "${jndi:ldap://example.org/a}",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_store(tmp_path_factory.mktemp("attacked"), 20) as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    client = Client(create_app(served.settings, rate=None))
    take_snapshot(served.database, served.settings)
    wait_for_table(client)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def nothing_changes(served: Served) -> Iterator[None]:
    before = served.content()
    yield
    assert served.content() == before


def is_refused(answer: httpx.Response) -> bool:
    """Return whether an answer is an error of ours, of the client's making."""
    return 400 <= answer.status_code < 500 and set(answer.json()["error"]) == {"message", "mend"}


def parameters(client: Client, path: str) -> list[str]:
    """Return the parameters that an address takes, and one that most do not."""
    paths = client.get(f"{API}/openapi.json").json()["paths"]
    about = next(m["get"] for p, m in paths.items() if re.sub(r"{\w+}", "{id}", p) == f"{API}/{path}")
    return [p["name"] for p in about.get("parameters", []) if p["in"] == "query"] + ["collection"]


def address_of(client: Client, served: Served, path: str) -> str:
    """Return an address that works but for a parameter that is put behind it."""
    snapshot = client.get("snapshots").json()["documents"][0]["snapshot_id"]
    ids = {"snapshots": snapshot, "campaigns": CAMPAIGN}
    needed = f"old={snapshot}&new={snapshot}&" if path == "diff" else ""
    return f"{path.format(id=ids.get(path.partition('/')[0], served.ids[0]))}?{needed}"


@pytest.mark.parametrize("path", PATHS)
def test_operators_in_every_parameter(client: Client, served: Served, path: str) -> None:
    address = address_of(client, served, path)
    for name in parameters(client, path):
        for suffix in ("[$ne]", "[$gt]", "[$where]", "[]", ".$ne", "%5B$regex%5D"):
            answer = client.get(f"{address}{name}{suffix}=1")
            assert is_refused(answer), (address, name, answer.text)
            assert "unknown parameter" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
def test_hostile_values_of_every_parameter(client: Client, served: Served, path: str) -> None:
    address = address_of(client, served, path)
    for name in parameters(client, path):
        for value in VALUES:
            if name in NAMES and value.isalnum():
                continue  # a plain word may be a name
            answer = client.get(f"{address}{name}={quote(value)}")
            assert is_refused(answer), (address, name, value, answer.status_code, answer.text[:300])


@pytest.mark.parametrize("value", VALUES)
def test_hostile_values_as_ids(client: Client, value: str) -> None:
    paths = ("candidates/{}", "candidates/{}/structures", "candidates/{}/provenance", "structures/{}",
             "ranking/card/{}", "campaigns/{}/progress", "snapshots/{}", "snapshots/{}/candidates.parquet")  # fmt: skip
    for path in paths:
        assert is_refused(client.get(path.format(quote(value, safe=""))))
    assert is_refused(client.get(f"leaderboards/{quote(value, safe='')}"))


@pytest.mark.parametrize(
    "query",
    [
        'label = "/(a+)+$/"',
        'label in ["^(a|a)*$", "(.*a){25}"]',
        'label = ".*.*.*.*.*.*.*.*.*=.*"',
        'candidate_id = "$where: function() { while (true) {} }"',
    ],
)
def test_text_is_compared_never_matched(client: Client, query: str) -> None:
    """Nothing in the language becomes a regular expression: such a text is a text that no candidate has."""
    answer = client.get("candidates", q=query)
    assert answer.status_code == 200
    assert answer.json()["count"] == 0
    assert client.get("ranking", where=query).json()["n_found"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "label ~ '(a+)+$'",
        'label like "%"',
        "has(Co, A, B)",
        "fraction(A, __class__) > 0",
        "candidate.sites.A.La > 0",
        "_id > 0",
        "$expr > 0",
        "band_gap.value.$gt > 0",
        "band_gap < 1 and " * 120 + "band_gap < 1",
        "not (" * 60 + "band_gap < 1" + ")" * 60,
        "band_gap < 1e400",
        "band_gap < 1/0",
        "band_gap * migration_barrier < 1",
        "band_gap in [" + ",".join(["1"] * 900) + ",]",
        "import os",
        "lambda: 0",
        "[x for x in (1).__class__.__bases__]",
        "band_gap < 1\x00",
        "band_gap < １",
    ],
)
def test_hostile_queries(client: Client, query: str) -> None:
    for path in ("candidates", "hops"):
        assert is_refused(client.get(path, q=query)), query
    for path in ("ranking", "ranking/points", "ranking/elements", "ranking/uncertainty", "ranking/export"):
        assert is_refused(client.get(path, where=query)), query


@pytest.mark.parametrize(
    "parameters",
    [
        {"weights": "band_gap:1e999"}, {"weights": "band_gap:nan"}, {"weights": "band_gap:-1"},
        {"weights": "band_gap:\uff11"},
        {"weights": "band_gap:0,migration_barrier:0,formation_energy_per_atom:0"}, {"weights": "band_gap:1,band_gap:2"},
        {"weights": "__class__:1"}, {"weights": "results:1"}, {"weights": "band_gap:1;drop"}, {"weights": ","},
        {"elements": "Xx"}, {"elements": "Co,"}, {"elements": "Co,$ne"}, {"without": "Zz"}, {"elements": "vacancy"},
        {"definition": "../as-asked"}, {"definition": "lb-0000000000000000"}, {"definition": "as-asked.yaml"},
        {"campaign": "no-such-campaign"}, {"sort": "candidate_id"}, {"sort": "__class__"}, {"sort": "results"},
        {"first": "-1"}, {"first": "1e3"}, {"limit": "1001"}, {"limit": "0"}, {"descending": "perhaps"},
    ],
)  # fmt: skip
def test_hostile_ways_to_rank(client: Client, parameters: dict[str, str]) -> None:
    assert is_refused(client.get("ranking", **parameters)), parameters


def test_a_sort_and_a_page_far_away_find_nothing(client: Client) -> None:
    for sort in ("rank", "label", "band_gap"):
        answer = client.get("ranking", sort=sort, first=10_000_000).json()
        assert answer["rows"] == [] and answer["n_found"] == 20


@pytest.mark.parametrize(
    ("opening", "inner", "closing", "depths"),
    [
        ("(", "band_gap < 1", ")", (10, 100, 900)),
        ("not (", "band_gap < 1", ")", (10, 44, 45, 46, 300)),
        ("band_gap < 1 or (", "has(Co)", ")", (10, 44, 45, 46, 100)),
        ("band_gap < ((", "1", "))", (1, 2)),
        ("band_gap < 1 + ", "1", "", (1, 2)),
        ("-", "band_gap < 1", "", (10, 44, 45, 46, 1500)),
    ],
)
def test_deep_queries_are_answered_or_refused(
    client: Client, opening: str, inner: str, closing: str, depths: tuple[int, ...]
) -> None:
    for depth in depths:
        query = opening * depth + inner + closing * depth
        statuses = []
        for path, name in (("candidates", "q"), ("ranking", "where")):
            answer = client.get(path, **{name: query}, limit=1)
            assert answer.status_code == 200 or is_refused(answer), depth
            statuses.append(answer.status_code)
        assert statuses[0] == statuses[1]


def test_cursors_that_are_forged_cut_or_of_another_query(client: Client) -> None:
    def cursor(**query: object) -> str:
        address = client.get("candidates", limit=3, **query).json()["next"]
        return str(httpx.URL(f"http://x{address}").params["after"])

    good = cursor(sort="band_gap")
    assert client.get("candidates", sort="band_gap", limit=3, after=good).status_code == 200
    for other in (
        {"sort": "migration_barrier"},
        {"sort": "band_gap", "descending": True},
        {"sort": "band_gap", "q": "has(Co)"},
    ):
        assert is_refused(client.get("candidates", after=good, **other))
    assert is_refused(client.get("hops", after=good))
    mark, _, key = json.loads(base64.urlsafe_b64decode(good + "=="))
    contents = [
        [mark, {"$gt": ""}, key], [mark, [1], key], [mark, 1.0, {"$ne": None}], [mark, True, key], [mark, 1.0],
        [mark, 1.0, key, 1], {"$where": "1"}, "text", None, [[[[]]]], [mark, "text", 5],
    ]  # fmt: skip
    for content in contents:
        forged = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        assert is_refused(client.get("candidates", sort="band_gap", after=forged)), content
    for text in (good[:-5], good[5:], good[::-1], "", "=", "a" * 999, "a" * 1001, "W10", "bnVsbA", "/etc/passwd"):
        assert is_refused(client.get("candidates", sort="band_gap", after=text)), text
    huge = base64.urlsafe_b64encode(b"[" * 700).decode().rstrip("=")
    assert is_refused(client.get("candidates", sort="band_gap", after=huge))


def test_large_requests(client: Client) -> None:
    assert client.get(f"candidates?q={'a' * 5000}").status_code == 414
    assert client.get("candidates/" + "a" * 5000).status_code == 414
    assert client.get("health", headers={"X-Padding": "a" * 20_000}).status_code == 431
    assert client.get("candidates?" + "&".join(f"p{k}=1" for k in range(200))).status_code == 422
    for method in ("GET", "POST", "PUT", "DELETE"):
        large = client.request(method, f"{API}/candidates", content=b"x" * 10_000)
        assert large.status_code == 413
    for lengths in ("-1", "1e3", "9" * 30, "²"):
        headers = [(b"content-length", lengths.encode("latin-1"))]
        assert client.raw(f"{API}/health".encode(), headers=headers) == 413
    assert client.raw(f"{API}/health".encode(), headers=[(b"transfer-encoding", b"chunked")]) == 413
    # Some clients send an empty or small body with every request.
    assert client.request("GET", f"{API}/health", content=b"{}").status_code == 200


@pytest.mark.parametrize(
    "raw",
    [b"%00", b"%ff%fe", b"%c0%ae%c0%ae", b"%ed%a0%80", b"\xff", b"%0d%0aSet-Cookie:%20a=b", b"%1b[31m", b"%7f"],
)
def test_bytes_that_are_not_text(client: Client, raw: bytes) -> None:
    for path in (b"candidates/", b"structures/", b"leaderboards/", b""):
        assert client.raw(f"{API}/".encode() + path + raw) == 400
    if not raw.startswith(b"%0d"):
        # Line breaks may stand in a query.
        assert client.raw(f"{API}/candidates".encode(), b"q=" + raw) == 400
        assert client.raw(f"{API}/candidates".encode(), raw + b"=1") == 400


def test_paths_lead_nowhere_else(client: Client) -> None:
    for path in ("/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/docs/../../etc/passwd", "/page.css",
                 "/hemiec/settings.py", "/.env", "//etc/passwd", "/optimade/../../etc/passwd"):  # fmt: skip
        assert client.raw(path.encode()) in (400, 404), path


def test_file_names_are_plain() -> None:
    request = Request({"type": "http", "headers": [], "app": type("App", (), {"state": type("S", (), {"private": 0})})})
    for name in ('a"; filename="b.exe', "../../x\r\nSet-Cookie: a=b", "/etc/passwd", "..", "\x00", "é" * 300, "a;b c"):
        header = send_file(request, "x", name=name, media_type="text/plain").headers["content-disposition"]
        inner = header.removeprefix('attachment; filename="').removesuffix('"')
        assert inner and not set(inner) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert not inner.startswith(".") and len(inner) <= 150


def test_the_servers_user_may_only_read(client: Client) -> None:
    reading = client.app.state.reading
    database = reading.database()
    assert not reading.may_write()
    writes = (
        lambda: database["candidates"].insert_one({"a": 1}),
        lambda: database["candidates"].delete_many({}),
        lambda: database["candidates"].update_many({}, {"$set": {"a": 1}}),
        lambda: database["candidates"].drop(),
        lambda: list(database["candidates"].aggregate([{"$out": "stolen"}])),
        lambda: database.client["admin"].command("createUser", "me", pwd="longer-than-that", roles=["root"]),
        lambda: list(database.client["admin"]["system.users"].find({})),
    )
    for write in writes:
        with pytest.raises(OperationFailure, match=r"not authorized|requires authentication"):
            write()
    for scripted in ({"$where": "true"}, {"$expr": {"$function": {"body": "", "args": [], "lang": "js"}}}):
        with pytest.raises(OperationFailure):
            list(database["candidates"].find(scripted))
