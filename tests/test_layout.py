"""Stored documents: every field described, schemas and validators as the code has them, databases prepared once."""

from __future__ import annotations

import copy
import json
import math
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pymongo import MongoClient, monitoring
from pymongo.errors import OperationFailure, WriteError
from stored_candidates import insert_candidates, synthetic_candidates

from hemiec.errors import InputError, StoreError
from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.leaderboard import rank
from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.settings import Settings
from hemiec.store.candidates import documents_of
from hemiec.store.database import Database, Document, open_database
from hemiec.store.layout.indexes import INDEXES, Index
from hemiec.store.layout.prepare import fingerprint, lift, prepare, read_stamp, require_current, set_stamp
from hemiec.store.layout.schema_files import STORED, fingerprint_file, schema_files, schema_of, write_schemas
from hemiec.store.layout.validators import DEPTH, json_schema, validators
from hemiec.store.leaderboards import list_leaderboards, read_leaderboard, save_leaderboard

ROOT = Path(__file__).parents[1]
#: What a description of a number says of its unit; a dictionary of several says each.
UNIT = re.compile(
    r"unit 1\b|\bin (eV|e\b|angstrom|K\b|THz|V\b|units of|g/|USD|years|S/cm|cm\^2/s|ps|fs|s\b|min\b|degrees|Bohr|"
    r"states/eV|GiB|bytes|`unit`|the unit|its property's unit|the property's unit|the same unit|lattice vectors|"
    r"core-hours|h\b)|in `unit`|0 to 10000|Fractional|log10 of .* in|over 1 bar|\beV\b|[Cc]ore-hours"
)
#: Numbers that name something: they have no unit.
NAMES = re.compile(r"^(Seed|Index|Number within|Number of the|Its number|Place|First site|Second site|Version)")


def models(*roots: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield models and all models nested in them, each once."""
    waiting, seen = list(roots), set()
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            waiting.extend(part for part in parts_of(field.annotation) if _is_model(part))


def parts_of(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of."""
    if isinstance(annotation, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        annotation = annotation.__value__
    arguments = [a for a in typing.get_args(annotation) if not isinstance(a, FieldInfo)]
    if not arguments or typing.get_origin(annotation) is typing.Literal:
        yield annotation
        return
    for argument in arguments:
        if isinstance(argument, type) or typing.get_origin(argument) or isinstance(argument, types.UnionType):
            yield from parts_of(argument)


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def test_every_field_of_every_stored_document_says_what_it_is_and_in_which_unit() -> None:
    lacking = []
    found = list(models(*STORED.values(), LeaderboardDoc))
    assert len(found) > 30
    for model in found:
        assert model.model_config.get("extra") == "forbid", model
        assert model.model_config.get("allow_inf_nan") is False, model
        for name, field in model.model_fields.items():
            text = field.description or ""
            if not text.endswith(".") or len(text) < 8:
                lacking.append(f"{model.__name__}.{name}: no description")
            number = {int, float} & set(parts_of(field.annotation))
            if number and not (UNIT.search(text) or NAMES.search(text)):
                lacking.append(f"{model.__name__}.{name}: no unit in {text!r}")
    assert lacking == []


def test_every_stored_document_has_its_version_and_where_it_comes_from() -> None:
    for name, model in STORED.items():
        assert model.model_fields["schema_version"].default == SCHEMA_VERSION, name
    derived = {"candidates", "hops", "transport", "thermodynamics", "structures"}
    for name in derived:
        assert {"input_hash", "last_updated"} <= STORED[name].model_fields.keys(), name


def test_schemas_in_the_repository_are_those_of_the_code(tmp_path: Path) -> None:
    folder = ROOT / "db_config" / "schema"
    assert {file.name: file.read_text() for file in folder.glob("*.json")} == schema_files(), (
        "run `python -m hemiec.store.layout.schema_files`"
    )
    shipped = ROOT / "hemiec" / "store" / "layout" / "fingerprint.json"
    assert shipped.read_text() == fingerprint_file(), "run `python -m hemiec.store.layout.schema_files`"
    assert {p.name: p.read_text() for p in write_schemas(tmp_path / "schemas")} == schema_files()
    with pytest.raises(InputError, match="cannot write schemas"):
        write_schemas(tmp_path / "no" / "folder")


def test_schemas_are_whole() -> None:
    """Of draft 2020-12, every reference leads somewhere, no definition is left over."""
    for name in STORED:
        schema = schema_of(name)
        assert schema["$schema"].endswith("2020-12/schema")
        assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION
        references = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
        assert references == schema.get("$defs", {}).keys(), name
    results = schema_of("candidates")["$defs"]["CandidateResult"]["properties"]
    assert not {"hops", "transport", "dynamics", "thermodynamics", "structure"} & results.keys()


@pytest.fixture(scope="module")
def made() -> dict[str, Document]:
    """One document of each collection that a candidate fills."""
    (candidate,) = synthetic_candidates(1)
    return {name: documents[0] for name, documents in documents_of(candidate).items()}


@pytest.mark.store
def test_the_server_takes_documents_of_every_collection_and_refuses_bad_ones(
    database: Database, made: dict[str, Document]
) -> None:
    insert_candidates(database, 3)
    assert database["candidates"].count_documents({}) == 3
    bad: list[tuple[str, str, Any]] = [
        *(("candidates", "band_gap.value", v) for v in (math.nan, math.inf, -math.inf, "1.0", True, [1.0], {})),
        *(("candidates", "results.0.migration_barrier.value", v) for v in (math.nan, math.inf, "0.5")),
        *(("candidates", "candidate.tolerance_factor", v) for v in (math.nan, "1")),
        *(("candidates", "band_gap.n", v) for v in (-1, 1.5, math.nan)),
        *(("candidates", path, 1) for path in ("unknown", "band_gap.unknown", "candidate.unknown", "$where")),
        *(("candidates", "schema_version", v) for v in (SCHEMA_VERSION + 1, 1, "2", None)),
        ("candidates", "elements", "La"),
        ("candidates", "elements", [1]),
        *(("hops", "forward_barrier", v) for v in (math.nan, math.inf, "0.5")),
        ("hops", "energies.1", math.nan),
        ("transport", "transport.effective_barrier.value", math.nan),
        ("transport", "transport.effective_barrier.std", math.inf),
    ]
    for name, path, value in bad:
        with pytest.raises(WriteError, match="failed validation"):
            database[name].insert_one(changed(made[name], path, value))
    for path in ("schema_version", "elements", "band_gap", "band_gap.unit", "candidate.sites"):
        with pytest.raises(WriteError, match="failed validation"):
            database["candidates"].insert_one(changed(made["candidates"], path, KeyError))
    assert database["candidates"].count_documents({}) == 3
    database["candidates"].insert_one(changed(made["candidates"], "band_gap.value", None))


def changed(document: Document, path: str, value: Any) -> Document:
    """Return a document under another key with one value changed, or left out for `KeyError`."""
    new: Any = copy.deepcopy(document)
    key = next(name for name in ("hop_id", "transport_id", "candidate_id") if name in new)
    new[key] += "-x"
    *way, last = path.split(".")
    at = new
    for part in way:
        at = at[int(part) if isinstance(at, list) else part]
    if value is KeyError:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return new


def test_validators_say_no_more_than_mongodb_knows() -> None:
    known = {
        *("bsonType", "properties", "required", "additionalProperties", "items", "additionalItems", "enum", "anyOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }

    def check(part: Any) -> int:
        if isinstance(part, list):
            return max((check(p) for p in part), default=0)
        if not isinstance(part, dict):
            return 0
        assert part.keys() <= known, part.keys() - known
        depths = [check(v) for v in part.get("properties", {}).values()]
        depths += [check(part[key]) for key in ("items", "anyOf", "additionalProperties") if key in part]
        return 1 + max(depths, default=0)

    for validator in validators().values():
        assert check(validator["$jsonSchema"]) >= DEPTH
        assert len(json.dumps(validator)) < 100_000
    everything = json_schema(schema_of("transport"), 99)
    assert check(everything) > check(validators()["transport"]["$jsonSchema"])


@pytest.mark.store
def test_opening_what_is_prepared_costs_one_look(database: Database, settings: Settings) -> None:
    assert read_stamp(database) is not None
    commands: list[str] = []

    class Listener(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            commands.append(event.command_name)

        def succeeded(self, event: object) -> None: ...

        def failed(self, event: object) -> None: ...

    watched = Database(database.uri, database.name)
    with MongoClient(database.uri, event_listeners=[Listener()]) as client:
        watched.__dict__["client"] = client
        client.admin.command("ping")  # connects and logs in
        commands.clear()
        watched.prepare()
        assert commands == ["find"]


@pytest.mark.store
def test_indexes_are_those_of_the_table_and_own_ones_stay(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(collection: str) -> set[str]:
        return set(database[collection].index_information()) - {"_id_"}

    for name, indexes in INDEXES.items():
        assert names(name) == {index.options["name"] for index in indexes}, name
    database["candidates"].create_index("builder_version", name="own")
    database["hops"].create_index([("mobile", 1)], name="other_name")
    database["calibrations"].create_index("model", sparse=True)
    # The next version drops one, adds two of which one is there under another name, and changes one.
    table = dict(INDEXES)
    table["candidates"] = (*INDEXES["candidates"][:1], Index(("input_hash",)))
    table["hops"] = (*INDEXES["hops"], Index(("mobile",)))
    table["calibrations"] = (*INDEXES["calibrations"], Index(("model",), only=(("model", {"$gt": ""}),)))
    monkeypatch.setattr("hemiec.store.layout.prepare.INDEXES", table)
    fingerprint.cache_clear()
    try:
        prepare(database)
    finally:
        monkeypatch.undo()
        fingerprint.cache_clear()
    assert names("candidates") == {"own", "candidate_id_1", "input_hash_1"}
    assert "other_name" in names("hops") and "mobile_1" not in names("hops")
    assert "partialFilterExpression" in database["calibrations"].index_information()["model_1"]


@pytest.mark.store
def test_a_later_hemiec_of_the_same_layout_is_left_as_it_is(database: Database) -> None:
    set_stamp(database, {"hemiec": "99.0", "fingerprint": "another"})
    database["candidates"].drop_index("campaigns_1")
    prepare(database)
    assert "campaigns_1" not in database["candidates"].index_information()
    set_stamp(database, {"hemiec": "0.0.1"})
    prepare(database)
    assert "campaigns_1" in database["candidates"].index_information()


@pytest.mark.store
def test_what_a_stricter_validator_would_refuse_can_still_be_updated(
    database: Database, made: dict[str, Document]
) -> None:
    """Of an earlier hemiec, or restored: it is there, and a campaign can take its name off it."""
    loose = changed(made["candidates"], "band_gap.unit", KeyError)
    lift(database)
    database["candidates"].insert_one(loose)
    prepare(database)
    of_it = {"candidate_id": loose["candidate_id"]}
    assert database["candidates"].update_one(of_it, {"$set": {"campaigns": []}}).modified_count == 1
    with pytest.raises(WriteError, match="failed validation"):
        database["candidates"].insert_one({**loose, "_id": 1, "candidate_id": "hm-new"})


@pytest.mark.store
def test_what_two_documents_share_is_named(database: Database, made: dict[str, Document]) -> None:
    lift(database)
    database["candidates"].drop_index("candidate_id_1")
    database["candidates"].insert_many([copy.deepcopy(made["candidates"]) for _ in range(2)])
    with pytest.raises(StoreError, match=r"two documents of the same candidate_id: .*hm-"):
        prepare(database)
    assert read_stamp(database) is None


@pytest.mark.store
def test_who_may_only_read_opens_what_is_prepared(database: Database, settings: Settings) -> None:
    insert_candidates(database, 2)
    database.client.admin.command("createUser", "reader", pwd="pw", roles=[{"role": "read", "db": database.name}])
    database.client.admin.command("createUser", "writer", pwd="pw", roles=[{"role": "readWrite", "db": database.name}])
    address = database.uri.rpartition("@")[2]

    def as_user(name: str) -> Settings:
        return settings.model_copy(update={"mongo_uri": Secret(f"mongodb://{name}:pw@{address}")})

    for options in ({}, {"read_only": True}):
        reader = open_database(as_user("reader"), **options)
        require_current(reader)
        assert reader["candidates"].count_documents({}) == 2
        with pytest.raises(OperationFailure, match="not authorized"):
            reader["candidates"].delete_many({})
        reader.close()
    set_stamp(database, {"fingerprint": "an older one"})
    with pytest.raises(StoreError, match=r"has to be prepared.*may only read.*hemiec db migrate"):
        open_database(as_user("reader"))
    open_database(as_user("reader"), read_only=True).close()
    # Who may write but not change collections makes what is missing; the validators stay as they are, and it is told.
    open_database(as_user("writer")).close()
    stamp = read_stamp(database)
    assert stamp is not None and stamp["fingerprint"] == fingerprint()
    assert stamp["validators"] == "not installed: the user who prepared the database lacks the role dbAdmin"
    prepare(database, force=True)
    assert (read_stamp(database) or {})["validators"] == "installed"


def Secret(text: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(text)


@pytest.mark.store
def test_leaderboards_are_kept_under_their_content(database: Database) -> None:
    ranked = rank(list(synthetic_candidates(12)), DEFAULT)
    assert re.fullmatch(r"lb-[0-9a-f]{16}", ranked.leaderboard_id)
    again = rank(list(synthetic_candidates(12)), DEFAULT)
    assert again.leaderboard_id == ranked.leaderboard_id and again.created_at > ranked.created_at
    assert rank(list(synthetic_candidates(11)), DEFAULT).leaderboard_id != ranked.leaderboard_id
    with pytest.raises(InputError, match="none was saved yet"):
        read_leaderboard(database, ranked.leaderboard_id)
    assert save_leaderboard(database, ranked) == save_leaderboard(database, again) == ranked.leaderboard_id
    (header,) = list_leaderboards(database)
    assert (header.n_entries, header.leaderboard_id) == (12, ranked.leaderboard_id)
    read = read_leaderboard(database, ranked.leaderboard_id)
    assert [entry.candidate_id for entry in read.entries] == [entry.candidate_id for entry in ranked.entries]
    assert read.entries[0].band_gap == ranked.entries[0].band_gap and read.entries[0].hops == []
    assert read.leaderboard_id == ranked.leaderboard_id
    some = read_leaderboard(database, ranked.leaderboard_id, first=10, limit=5)
    assert [entry.candidate_id for entry in some.entries] == [e.candidate_id for e in ranked.entries[10:]]
    assert read_leaderboard(database, ranked.leaderboard_id, limit=0).entries == []
    wrong = f"{ranked.leaderboard_id[:-1]}x"
    with pytest.raises(InputError, match=f"did you mean '{ranked.leaderboard_id}'"):
        read_leaderboard(database, wrong)
