"""OPTIMADE: entries as they are made from documents, and the server as clients of other people see it."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from optimade.models import StructureResource
from optimade.server.mappers import StructureMapper
from pymatgen.core import DummySpecies, Structure
from pymongo.errors import ExecutionTimeout, ServerSelectionTimeoutError
from stored_candidates import insert_candidates
from web_client import Client, Served, served_store

from hemiec.settings import Settings
from hemiec.store.building.optimade import fill, optimade_entries
from hemiec.store.building.optimade_fields import provider_fields
from hemiec.store.database import Database
from hemiec.web.app import create_app
from hemiec.web.optimade import PATH, mount
from hemiec.web.optimade.configuration import server_config
from hemiec.web.optimade.entries import StoredEntries
from hemiec.web.optimade.filters import MAX_DEPTH, MAX_LENGTH
from hemiec.web.reading import Reading

pytestmark = pytest.mark.store
N = 60
BASE = f"{PATH}/v1"
BARRIER = "_hemiec_migration_barrier"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A store that the tests of this file only read."""
    with served_store(tmp_path_factory.mktemp("optimade"), N) as store:
        fill(store.database)
        yield store


@pytest.fixture(scope="module")
def filled(store: Served) -> Database:
    """Its database."""
    return store.database


@pytest.fixture(scope="module")
def app(store: Served) -> FastAPI:
    """The whole web application, as a user who may only read."""
    return create_app(store.settings, rate=None)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[Client]:
    """A client of it."""
    client = Client(app)
    yield client
    client.close()


@pytest.fixture
def url(app: FastAPI, client: Client) -> Iterator[str]:
    """Address of its OPTIMADE server on a real port."""
    with _served(app) as address:
        yield f"{address}{PATH}"


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        # Not lifespan: the application is used by other tests afterwards.
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{found.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _entries(database: Database) -> list[dict[str, Any]]:
    return list(database["optimade"].find({}, {"_id": 0}))


def _ids(client: Client, **parameters: Any) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    answer = client.get(f"{BASE}/structures", **parameters).json()
    while True:
        assert "errors" not in answer, answer["errors"]
        found += [entry["id"] for entry in answer["data"]]
        link = answer["links"]["next"]
        assert answer["meta"]["more_data_available"] is (link is not None)
        if link is None:
            return found
        parts = urlsplit(link)
        answer = client.get(parts.path, **dict(parse_qsl(parts.query, keep_blank_values=True))).json()


def test_every_entry_is_one_by_the_library_s_models(filled: Database) -> None:
    entries = _entries(filled)
    assert len(entries) == N + filled["structures"].estimated_document_count()
    described = {field.name for field in provider_fields()}
    hidden = {"candidate_id", "schema_version", "last_updated"}
    for entry in entries:
        outside = {key: entry.pop(key) for key in ("id", "type", "relationships")}
        attributes = {key: value for key, value in entry.items() if key not in hidden}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            StructureResource(**outside, attributes=attributes)
        assert {key for key in attributes if key.startswith("_")} <= described


def test_a_disordered_entry_has_the_candidate_s_fractions(filled: Database) -> None:
    candidate = filled["candidates"].find_one({"candidate.oxygen_deficiency": {"$gt": 0}, "results": {"$ne": []}})
    assert candidate is not None
    structures = list(filled["structures"].find({"candidate_id": candidate["candidate_id"]}))
    entry, *members = optimade_entries(candidate, structures)
    assert entry["structure_features"] == ["disorder"] and entry["nsites"] == 5
    species = {s["name"]: dict(zip(s["chemical_symbols"], s["concentration"], strict=True)) for s in entry["species"]}
    for site, name in (("A", "A"), ("B", "B"), ("X", "X2")):
        wanted = {s: float(Fraction(x)) for s, x in candidate["candidate"]["sites"][site].items()}
        assert species[name] == pytest.approx(wanted)
    volume = structures[0]["volume"] / 5
    assert entry["lattice_vectors"][0][0] ** 3 == pytest.approx(volume)
    assert entry["_hemiec_geometry"] == "relaxed_volume"
    assert entry["_hemiec_oxygen_deficiency"] == candidate["candidate"]["oxygen_deficiency"]
    assert "vacancy" not in entry["elements"]
    oxygen = entry["elements_ratios"][entry["elements"].index("O")]
    assert oxygen == pytest.approx((3 - entry["_hemiec_oxygen_deficiency"]) / (5 - entry["_hemiec_oxygen_deficiency"]))
    assert [m["id"] for m in members] == [s["structure_id"] for s in structures]


def test_what_is_not_relaxed_says_so(filled: Database) -> None:
    candidate = filled["candidates"].find_one({"results": {"$ne": []}})
    assert candidate is not None
    structure = filled["structures"].find_one({"candidate_id": candidate["candidate_id"]})
    assert structure is not None
    unrelaxed = structure | {"structure": None, "volume": None}
    disordered, sqs = optimade_entries(candidate, [unrelaxed])
    assert (disordered["_hemiec_geometry"], sqs["_hemiec_geometry"]) == ("ionic_radii", "ideal")
    assert 3.5 < disordered["lattice_vectors"][0][0] < 4.5
    ideal = Structure.from_dict(structure["ideal_structure"])
    assert np.allclose(sqs["cartesian_site_positions"], ideal.cart_coords)
    assert sqs["species_at_sites"] == [site.specie.symbol for site in ideal]
    assert "_hemiec_volume" not in sqs


def test_filling_again_keeps_in_step(database: Database, settings: Settings) -> None:
    insert_candidates(database, 4)
    client = Client(create_app(settings))
    [warning] = client.get(f"{BASE}/structures").json()["meta"]["warnings"]
    assert "hemiec build" in warning["detail"]
    client.close()
    assert fill(database) == fill(database) == database["optimade"].count_documents({}) == 8
    gone = database["structures"].find_one_and_delete({})
    assert gone is not None
    assert fill(database, [gone["candidate_id"]]) == 1
    assert database["optimade"].count_documents({"id": gone["structure_id"]}) == 0
    assert database["optimade"].count_documents({}) == 7


def test_fields_are_described(client: Client) -> None:
    answer = client.get(f"{BASE}/info/structures").json()
    properties = answer["data"]["properties"]
    for field in provider_fields():
        about = properties[field.name]
        assert about["description"] and about["type"] == field.type
        assert about["unit"] == field.unit and (field.unit is None) == (field.type in ("string", "list"))
        assert re.fullmatch(r"_hemiec_[a-z][a-z0-9_]*", field.name)
    wanted = ("band_gap", "migration_barrier", "migration_barrier_std", "migration_barrier_interval_low",
              "formation_energy_per_atom", "warren_cowley_rms", "tolerance_factor", "configurational_entropy",
              "candidate_id", "plan_id", "protocol", "protocol_hash", "migration_barrier_n", "label")  # fmt: skip
    assert {f"_hemiec_{name}" for name in wanted} <= set(properties)
    assert properties[BARRIER]["unit"] == "eV" and properties[BARRIER]["sortable"] is True
    assert properties["elements"]["sortable"] is False
    info = client.get(f"{BASE}/info").json()
    assert info["meta"]["provider"]["prefix"] == "hemiec" and info["meta"]["query"]["representation"] == "/info"
    assert info["data"]["attributes"]["available_api_versions"][0]["url"] == f"http://hemiec.test{BASE}"
    link = client.get(f"{BASE}/links").json()["data"]
    assert [entry["attributes"]["link_type"] for entry in link] == ["root"]
    assert link[0]["attributes"]["base_url"] == f"http://hemiec.test{PATH}"
    assert client.get(f"{PATH}/versions").text == "version\n1"


@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.parametrize("field", [BARRIER, "nelements", "_hemiec_label", "id"])
def test_pages_hold_every_entry_once_and_in_order(client: Client, filled: Database, field: str, direction: str) -> None:
    known = _entries(filled)
    found = _ids(client, sort=f"{direction}{field}", page_limit=7)
    down = direction == "-"
    rest = sorted((e for e in known if field in e), key=lambda e: (e[field], e["id"]), reverse=down)
    missing = sorted((e for e in known if field not in e), key=lambda e: e["id"], reverse=down)
    # MongoDB takes a missing number to be the lowest.
    wanted = [*rest, *missing] if down else [*missing, *rest]
    assert found == [e["id"] for e in wanted]
    assert bool(missing) == (field == BARRIER)


@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.parametrize("field", ["id", BARRIER, "_hemiec_band_gap", "nelements", "chemical_formula_reduced"])
def test_a_page_costs_no_more_than_what_it_shows(filled: Database, field: str, direction: str) -> None:
    config = server_config()
    mapper = StructureMapper(config)
    entries = StoredEntries(
        lambda: nullcontext(filled), "optimade", resource_cls=StructureResource, mapper=mapper, config=config,
        max_time_ms=5_000,
    )  # fmt: skip
    sort = entries.parse_sort_params(f"{direction}{field}")
    for last in list(filled["optimade"].find({}, sort=sort))[:: N // 2]:
        page = filled["optimade"].find(entries._after(last["id"], sort), sort=sort).limit(10)
        assert page.explain()["executionStats"]["totalDocsExamined"] <= 20


def test_pages_by_number_and_offset(client: Client) -> None:
    everything = _ids(client)
    for parameters in ({"page_offset": 20}, {"page_number": 3}):
        answer = client.get(f"{BASE}/structures", page_limit=10, **parameters).json()
        assert [entry["id"] for entry in answer["data"]] == everything[20:30]
        assert answer["meta"]["data_returned"] == answer["meta"]["data_available"] == len(everything)
        assert "page_offset" not in answer["links"]["next"]


FILTERS = {
    'elements HAS "Co"': lambda e: "Co" in e["elements"],
    'elements HAS ALL "Co", "La"': lambda e: {"Co", "La"} <= set(e["elements"]),
    'elements HAS ANY "Co", "Ti"': lambda e: {"Co", "Ti"} & set(e["elements"]),
    'NOT elements HAS "Co"': lambda e: "Co" not in e["elements"],
    "elements LENGTH 8 AND nsites>5": lambda e: len(e["elements"]) == 8 and e["nsites"] > 5,
    "_hemiec_band_gap < 1.0": lambda e: e.get("_hemiec_band_gap", 9) < 1,
    "1 > _hemiec_band_gap": lambda e: e.get("_hemiec_band_gap", 9) < 1,
    "NOT (_hemiec_band_gap < 1.0)": lambda e: e.get("_hemiec_band_gap", 0) >= 1,
    "_hemiec_band_gap IS UNKNOWN": lambda e: "_hemiec_band_gap" not in e,
    '_hemiec_kind="sqs" OR nelements != 8': lambda e: e["_hemiec_kind"] == "sqs" or e["nelements"] != 8,
    'structure_features HAS "disorder"': lambda e: e["structure_features"],
    '_hemiec_tilt = "a-a-c+" AND _hemiec_warren_cowley_rms<=0.3': lambda e: "_hemiec_tilt" in e,
    '_hemiec_tilt CONTAINS "-"': lambda e: "_hemiec_tilt" in e,
    '_hemiec_tilt CONTAINS ".*"': lambda e: False,
    'id STARTS WITH "hm-0"': lambda e: e["id"].startswith("hm-0"),
    'species.chemical_symbols HAS "vacancy"': lambda e: any("vacancy" in s["chemical_symbols"] for s in e["species"]),
    'last_modified >= "2030-01-02T03:04:30Z"': lambda e: e["last_modified"] >= datetime(2030, 1, 2, 3, 4, 30),
    'references.id HAS "zunger1990"': lambda e: e["_hemiec_kind"] == "sqs",
    "_other_thing > 3": lambda e: False,
    "_other_thing IS UNKNOWN": lambda e: True,
}  # fmt: skip


@pytest.mark.parametrize("expression", FILTERS)
def test_filters(client: Client, filled: Database, expression: str) -> None:
    wanted = {e["id"] for e in _entries(filled) if FILTERS[expression](e)}
    assert set(_ids(client, filter=expression)) == wanted
    if "_other" not in expression and ".*" not in expression:
        assert 0 < len(wanted) < filled["optimade"].estimated_document_count()


def test_entries_come_with_their_references(client: Client) -> None:
    answer = client.get(f"{BASE}/structures", filter='_hemiec_kind="sqs"', page_limit=3).json()
    named = {r["id"] for e in answer["data"] for r in e["relationships"]["references"]["data"]}
    assert {entry["id"] for entry in answer["included"]} == named
    assert {e["attributes"]["doi"] for e in answer["included"]} > {"10.1103/PhysRevLett.65.353"}
    assert client.get(f"{BASE}/structures", include="").json()["included"] == []
    found = client.get(f"{BASE}/references", filter='doi ENDS WITH "aav0693"', sort="-year").json()["data"]
    assert [entry["id"] for entry in found] == ["bartel2019"]
    assert client.get(f"{BASE}/references/bartel2019").json()["data"]["attributes"]["year"] == "2019"


def test_one_entry_and_chosen_fields(client: Client, filled: Database) -> None:
    name = filled["structures"].find_one({})["structure_id"]  # type: ignore[index]
    answer = client.get(f"{BASE}/structures/{name}", response_fields=f"nsites,{BARRIER}").json()
    assert answer["data"]["id"] == name and set(answer["data"]["attributes"]) == {"nsites", BARRIER}
    for other in ("no-such", 'x" OR id STARTS WITH "hm'):
        assert client.get(f"{BASE}/structures/{other}").json()["data"] is None


BAD: list[tuple[int, str, dict[str, Any]]] = [
    *(
        (400, "structures", {"filter": text})
        for text in (
            "nelements", "nelements>", "nelements=4 AND", "(nelements=4", "crazyfield=1", "_hemiec_bandgap<1",
            '{"$where": "sleep(1000)"}', "$where=1", "$or.x=1", '_id="1"', '_id HAS "1"', '_hemiec_band_gap="a"',
            'nelements="4"', "chemical_formula_reduced=4", 'elements="Co"', 'nelements HAS "4"', "elements LENGTH -1",
            'last_modified>"yesterday"', "last_modified>3", 'last_modified CONTAINS "2"', "1=2",
            "(" * (MAX_DEPTH + 1) + "nelements=4" + ")" * (MAX_DEPTH + 1), "NOT " * 300 + "nelements=4",
            "nelements=4 AND " * (MAX_LENGTH // 15) + "nelements=4", "id CONTAINS nelements CONTAINS 3",
        )
    ),
    (501, "structures", {"filter": "nsites=nelements"}),
    (501, "structures", {"filter": '"a"="a"'}),
    (501, "structures", {"filter": 'elements:elements_ratios HAS "Co":0.2'}),
    (501, "structures", {"filter": "dimension_types LENGTH > 2"}),
    (501, "structures", {"filter": 'structures.nsites HAS "4"'}),
    *((400, "structures", {"sort": text}) for text in ("elements", "$natural", "no", "_id", "--id", "a,b,c,d")),
    (400, "structures", {"sort": "nsites,nelements,_hemiec_label,_hemiec_band_gap"}),
    *((400, "structures", {"response_fields": text}) for text in ("no", "$where", "_hemiec_no", "_id", "_x_$y")),
    *((400, "structures", {"page_limit": n}) for n in ("-1", "x", "1e9")),
    (403, "structures", {"page_limit": 1001}),
    (403, "structures", {"page_limit": 10**30}),
    (403, "structures", {"page_offset": 10**12}),
    (400, "structures", {"page_above": "no-such"}),
    (400, "structures", {"page_above": "{$gt: 1}"}),
    (400, "structures", {"response_format": "xml"}),
    (400, "structures", {"email_address": "nobody"}),
    (400, "structures", {"include": "candidates"}),
    (400, "structures", {"unknown": "1"}),
    (400, "structures", {"remarks": "1"}),
    (400, "structures", {"_hemiec_x": "1"}),
    (400, "structures/x", {"filter": "nelements=4"}),
    (404, "candidates", {}),
    (404, "info/candidates", {}),
    (404, "%2e%2e/%2e%2e/etc/passwd", {}),
]  # fmt: skip


def test_bad_requests_are_refused_and_change_nothing(client: Client, filled: Database) -> None:
    before = filled.mongo.command("dbHash")["md5"]
    for status, path, parameters in BAD:
        answer = client.get(f"{BASE}/{path}", **parameters)
        assert answer.status_code == status, (path, parameters, answer.text[:300])
        assert answer.headers["content-type"] == "application/vnd.api+json" or status == 404
        error = answer.json()["errors"][0]
        assert error["detail"] and len(error["detail"]) < 400 and "Traceback" not in error["detail"]
        assert error["status"] == str(status) and "data" not in answer.json()
    assert client.get(f"{PATH}/v0/info").status_code == client.get(f"{PATH}/v123/structures").status_code == 553
    assert client.request("GET", f"{BASE}/structures?filter").status_code == 400
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, f"{BASE}/structures").status_code == 405
    assert filled.mongo.command("dbHash")["md5"] == before


def test_what_is_ignored_is_said(client: Client) -> None:
    answer = client.get(f"{BASE}/structures", filter="_other_thing IS UNKNOWN", _other_parameter="1", page_below="x")
    remarks = [warning["detail"] for warning in answer.json()["meta"]["warnings"]]
    assert len(remarks) == 3 and all("_other_" in remark or "page_below" in remark for remark in remarks)
    assert "warnings" not in client.get(f"{BASE}/structures").json()["meta"]


@pytest.mark.parametrize(("error", "status"), [(ExecutionTimeout("slow"), 504), (ServerSelectionTimeoutError(), 503)])
def test_trouble_of_the_database_is_told_without_its_address(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    # Within the loan of the database, as a real error would be.
    monkeypatch.setattr("pymongo.collection.Collection.find", fail)
    answer = client.get(f"{BASE}/structures")
    assert answer.status_code == status and answer.json()["errors"][0]["status"] == str(status)
    assert "127.0.0.1" not in answer.text
    monkeypatch.setattr(StoredEntries, "_find", lambda *_: 1 / 0)
    answer = client.get(f"{BASE}/structures")
    assert answer.status_code == 500 and "division" not in answer.text


def test_many_matches_are_not_counted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hemiec.web.optimade.entries.COUNT_CAP", 10)
    answer = client.get(f"{BASE}/structures", filter="nelements>0", page_limit=5).json()
    assert answer["meta"].get("data_returned") is None and answer["meta"]["more_data_available"] is True
    few = client.get(f"{BASE}/structures", filter="_hemiec_band_gap<0.2", page_limit=9).json()
    assert few["meta"]["data_returned"] == len(few["data"]) < 10


def test_nothing_of_the_environment_gets_in_and_nothing_global_is_changed(store: Served) -> None:
    """In a process of its own: the library reads the environment and sets up logging when it is imported."""
    program = """
import logging, sys, warnings
shown, handlers = warnings.showwarning, list(logging.getLogger().handlers)
from fastapi import FastAPI
from hemiec.settings import Settings
from hemiec.web.optimade import mount
from hemiec.web.reading import Reading
from web_client import Client
app = FastAPI()
app.state.reading = Reading(Settings(data_dir=sys.argv[1]))
mount(app, app.state.reading)
client = Client(app)
answer = client.get("/optimade/v1/structures", page_limit=600, api_hint="v0").json()
assert answer["meta"]["provider"]["prefix"] == "hemiec", answer
assert answer["links"]["next"] is None
assert client.get("/optimade/v1/structures", headers={"Origin": "http://elsewhere"}).headers.get(
    "access-control-allow-origin") is None
assert warnings.showwarning is shown
assert not any("optimade" in filter[2].__module__ for filter in warnings.filters)
assert logging.getLogger().handlers == handlers
assert [type(h).__name__ for h in logging.getLogger("optimade").handlers] == ["NullHandler"]
client.close()
"""
    environment = {
        "OPTIMADE_PAGE_LIMIT_MAX": "3", "OPTIMADE_PROVIDER": '{"prefix":"x","name":"x","description":"x"}',
        "OPTIMADE_BASE_URL": "http://elsewhere", "OPTIMADE_INSERT_TEST_DATA": "true", "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parent), "HEMIEC_CONFIG_FILE": "/nonexistent",
        "HOME": str(store.settings.data_dir),
    }  # fmt: skip
    command = [sys.executable, "-c", program, str(store.settings.data_dir)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == done.stderr == ""


def test_mounted_on_another_application(store: Served) -> None:
    """Below another path, and without middleware of ours."""
    outer, inner = FastAPI(), FastAPI()
    mount(inner, store.database)
    outer.mount("/results", inner)
    outer.state.reading = Reading(store.settings, store.database)
    client = Client(outer)
    answer = client.get(f"/results{BASE}/structures", page_limit=2).json()
    assert answer["links"]["next"].startswith(f"http://hemiec.test/results{BASE}/structures?")
    assert answer["meta"]["query"]["representation"] == "/structures?page_limit=2"
    assert client.get("/results/optimade/v7/info").status_code == 553
    root = client.get(f"/results{BASE}/links").json()["data"][0]["attributes"]
    assert root["base_url"] == "http://hemiec.test/results/optimade"
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("version", ["", "/v1"])
def test_the_public_validator_finds_no_error(
    url: str, version: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from optimade.validator import ImplementationValidator

    validator = ImplementationValidator(base_url=f"{url}{version}", respond_json=True, page_limit=7)
    try:
        validator.validate_implementation()
    finally:
        logging.getLogger("optimade.validator").handlers.clear()
    results = validator.results
    assert validator.valid is True
    assert not results.failure_messages + results.internal_failure_messages + results.optional_failure_messages
    assert results.success_count > 50 and results.optional_success_count > 10


def test_pymatgen_reads_and_filters(url: str, filled: Database, capsys: pytest.CaptureFixture[str]) -> None:
    from pymatgen.ext.optimade import OptimadeRester

    address = f"{url}/"
    entries = {entry["id"]: entry for entry in _entries(filled)}
    with OptimadeRester(address, timeout=60) as rester:
        everything = rester.get_structures()[address]
        cobalt = rester.get_structures(elements=["Co", "La"])[address]
        low = rester.get_snls_with_filter(f"{BARRIER} < 0.7 AND nsites > 5", [BARRIER, "_hemiec_label"])[address]
    assert "Failed" not in capsys.readouterr().out
    assert set(everything) == set(entries)
    assert set(cobalt) == {name for name, e in entries.items() if {"Co", "La"} <= set(e["elements"])}
    wanted = {n for n, e in entries.items() if e["nsites"] > 5 and e.get(BARRIER, 9) < 0.7}
    assert set(low) == wanted and 0 < len(wanted) < len(entries)
    for name, snl in low.items():
        assert snl.data["_optimade"][BARRIER] == entries[name][BARRIER]
        stored = filled["structures"].find_one({"structure_id": name})
        assert stored is not None
        original = Structure.from_dict(stored["structure"])
        assert snl.structure.species == original.species
        assert snl.structure.lattice.matrix == pytest.approx(original.lattice.matrix)
        assert snl.structure.cart_coords == pytest.approx(original.cart_coords)
    disordered = next(e for e in entries.values() if e.get("_hemiec_oxygen_deficiency") and e["nsites"] == 5)
    structure = everything[disordered["id"]].copy()
    structure.remove_species([DummySpecies("X_vacancy", oxidation_state=None)])
    ratios = structure.composition.fractional_composition.get_el_amt_dict()
    assert ratios == pytest.approx(dict(zip(disordered["elements"], disordered["elements_ratios"], strict=True)))
