"""`hemiec export` and `hemiec import`: whole, repeatable, citable, and safe against hostile files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from launching import at_rest, database, server, settings
from pydantic import SecretStr
from pymatgen.core import Structure
from stored_candidates import insert_candidates, references

from hemiec.cli.main import cli
from hemiec.errors import InputError, QueryError, StoreError
from hemiec.schemas.documents import PROPERTIES
from hemiec.settings import Settings
from hemiec.store.archive import importing
from hemiec.store.archive.exporting import export_candidates, select_candidates
from hemiec.store.archive.importing import import_archive
from hemiec.store.archive.members import DATED, MANIFEST, MemberEntry, content_hash, open_archive
from hemiec.store.building.documents import Built
from hemiec.store.building.orphans import find_orphans
from hemiec.store.building.writing import PARTS as BUILT_PARTS
from hemiec.store.building.writing import write_built
from hemiec.store.database import Database, Document, open_database
from hemiec.store.provenance import trace
from hemiec.store.users import add_user, ensure_reader
from hemiec.web.ranking.live import mark_of
from hemiec.workflows.campaign import read_spec

__all__ = ["database", "server", "settings"]  # fixtures
pytestmark = pytest.mark.store

PARTS = ("candidates", "hops", "transport", "thermodynamics", "structures", "references")
Open = Callable[[str], Database]


@pytest.fixture
def other(settings: Settings) -> Database:
    """Another empty store on the same server."""
    named = settings.model_copy(update={"database": f"{settings.database}-other"})
    with closing(open_database(named)) as opened:
        yield opened


@pytest.fixture
def ids(database: Database) -> list[str]:
    """Six candidates, the first with reference phases."""
    found = insert_candidates(database, 6)
    phases = [reference.job_uuid for reference in references()]
    name = "formation_energy_per_atom.reference_job_uuids"
    database["candidates"].update_one({"candidate_id": found[0]}, {"$set": {name: phases, f"results.0.{name}": phases}})
    return found


def contents(database: Database) -> dict[str, list[Document]]:
    found = {}
    for name in database.mongo.list_collection_names():
        if name not in ("layout", "locks", "imported", "optimade"):
            found[name] = list(database[name].find({}, {"_id": 0}).sort("_id", 1))
    return {name: documents for name, documents in found.items() if documents}


def by_key(documents: list[Document]) -> list[Document]:
    return sorted(documents, key=lambda d: json.dumps(d, sort_keys=True, default=str))


def reseal(path: Path, changes: dict[str, bytes | None], manifest: Callable[[Document], None] = lambda m: None) -> Path:
    """Write members of an archive anew, with a manifest that fits: what a forger would do."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    told = json.loads(members.pop(MANIFEST))
    for name, content in changes.items():
        members.pop(name, None)
        if content is not None:
            members[name] = content
    entries = {n: {"sha256": hashlib.sha256(c).hexdigest(), "bytes": len(c)} for n, c in members.items()}
    told["members"] = entries
    told["content_hash"] = content_hash({n: MemberEntry.model_validate(e) for n, e in entries.items()})
    manifest(told)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
        new.writestr(MANIFEST, json.dumps(told))
    return path


def test_what_is_exported_loads_elsewhere_once(
    database: Database,
    other: Database,
    ids: list[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "set.zip"
    manifest = export_candidates(database, path, ids[:4], title="Four", authors=["Doe, Jane"])
    assert manifest.documents["candidates"] == 4 and manifest.documents["references"] == 3
    assert manifest.documents["structures"] == 4 and manifest.documents["provenance"] == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 and not list(tmp_path.glob("*.part"))

    planned = import_archive(other, path, dry_run=True)
    assert planned.new == sorted(ids[:4]) and not contents(other)
    done = import_archive(other, path)
    assert done.new == sorted(ids[:4]) and done.references_added == 3
    here, there = contents(database), contents(other)
    wanted = set(ids[:4])
    for name in PARTS:
        expected = [d for d in here[name] if d.get("candidate_id") in wanted or name == "references"]
        assert by_key(there[name]) == by_key(expected), name
    before = contents(other)
    again = import_archive(other, path)
    assert again.identical == sorted(ids[:4]) and not again.new and again.references_added == 0
    assert contents(other) == before

    # It says where it is from, also for one number, and nobody takes it for an orphan.
    found = trace(other, ids[0], "formation_energy_per_atom")
    assert found.origin is not None and found.origin.archive == manifest.content_hash and found.origin.title == "Four"
    assert [r.phase for r in found.references] == sorted(r.phase for r in references())
    assert find_orphans(other, remove=True).total == 0
    assert contents(other) == before
    assert other["optimade"].count_documents({}) > 0


def test_the_archive_can_be_read_without_hemiec_and_is_reproducible(
    database: Database,
    ids: list[str],
    tmp_path: Path,
) -> None:
    days = [datetime(2030, 1, day, tzinfo=UTC) for day in (1, 1, 2)]
    paths = [tmp_path / f"{k}.zip" for k in range(3)]
    made = [
        export_candidates(database, path, ids, created_on=day, authors=["Doe, Jane", "The group"])
        for path, day in zip(paths, days, strict=True)
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert made[0].content_hash == made[2].content_hash
    first, later = zipfile.ZipFile(paths[0]), zipfile.ZipFile(paths[2])
    with first, later:
        names = first.namelist()
        assert {name for name in names if first.read(name) != later.read(name)} == set(DATED)
        for name, entry in json.loads(first.read(MANIFEST))["members"].items():
            assert hashlib.sha256(first.read(name)).hexdigest() == entry["sha256"]
        stored = database["structures"].find_one({"candidate_id": ids[0]})
        assert stored is not None
        relaxed = Structure.from_dict(stored["structure"])
        (cif,) = [n for n in names if n.startswith(f"structures/{ids[0]}/") and n.endswith("-relaxed.cif")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CIF rounds coordinates, and pymatgen says so
            read = Structure.from_str(first.read(cif).decode(), fmt="cif")
        assert read.matches(relaxed, scale=False)
        poscar = Structure.from_str(first.read(cif.replace(".cif", ".vasp")).decode(), fmt="poscar")
        assert poscar.lattice.abc == pytest.approx(relaxed.lattice.abc, abs=1e-9) and len(poscar) == len(relaxed)
        campaign = tmp_path / "campaign.yaml"
        campaign.write_bytes(first.read("campaigns/synthetic.yaml"))
        header = database["campaigns"].find_one({"name": "synthetic"})
        assert header is not None
        assert read_spec(campaign).model_dump(mode="json") == header["spec"]
        protocol = yaml.safe_load(first.read(next(n for n in names if n.startswith("protocols/mlip-chgnet-"))))
        assert protocol["model"]["force_field"] == "CHGNet"
        cited = yaml.safe_load(first.read("CITATION.cff"))
        assert cited["authors"] == [{"family-names": "Doe", "given-names": "Jane"}, {"name": "The group"}]
        assert cited["identifiers"][0]["value"] == f"sha256:{made[0].content_hash}"
        schema = json.loads(first.read("schemas/candidates.json"))
        assert schema["properties"]["migration_barrier"]["description"]
        assert str(len(ids)) in first.read("README.md").decode()


def test_what_differs_is_listed_and_stays(
    database: Database,
    other: Database,
    ids: list[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "set.zip"
    export_candidates(database, path, ids[:3])
    insert_candidates(other, 1)  # the same first candidate, computed there with another number
    other["candidates"].update_one({}, {"$set": {"band_gap.value": 0.125}})
    other["references"].update_one({"phase": "BaO"}, {"$set": {"energy_per_atom": -6.0}})
    before = contents(other)
    with pytest.raises(InputError, match=rf"reference BaO.*-6\.0000 here.*{ids[0]}.*Nothing was imported"):
        import_archive(other, path)
    with pytest.raises(InputError, match=r"computed here"):
        import_archive(other, path, keep="theirs")
    assert contents(other) == before and other["imported"].count_documents({}) == 0
    done = import_archive(other, path, keep="mine")
    assert done.kept == [ids[0]] and done.new == sorted(ids[1:3])
    assert [d["band_gap"]["value"] for d in other["candidates"].find({"candidate_id": ids[0]})] == [0.125]
    assert [d["energy_per_atom"] for d in other["references"].find({"phase": "BaO"})] == [-6.0]

    # A later edition of the archive, with fewer hops, replaces what was imported, if that is asked for.
    database["candidates"].update_one({"candidate_id": ids[1]}, {"$set": {"band_gap.value": 3.5}})
    database["hops"].delete_one({"candidate_id": ids[1], "order": 0})
    export_candidates(database, path, [ids[1]], force=True)
    with pytest.raises(InputError, match=ids[1]):
        import_archive(other, path)
    mark = mark_of(other)
    assert import_archive(other, path, keep="theirs").replaced == [ids[1]]
    # It bears no later date; whoever holds a copy of the candidates is told all the same.
    assert mark_of(other) != mark and mark_of(other) | {"builds": mark["builds"]} == mark
    for name in ("candidates", "hops"):
        here, there = (list(d[name].find({"candidate_id": ids[1]}, {"_id": 0})) for d in (database, other))
        assert by_key(there) == by_key(here)


def test_imported_numbers_stay_until_this_store_has_as_many(
    database: Database, other: Database, ids: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "set.zip"
    export_candidates(database, path, ids[:1])
    import_archive(other, path)
    imported = other["candidates"].find_one({})
    assert imported is not None

    def build(n_values: int) -> Document:
        """Write the candidate as a builder here would, with so many numbers."""
        document = {key: value for key, value in imported.items() if key != "_id"}
        document |= {"input_hash": "built here", "last_updated": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
        for name in PROPERTIES[n_values:]:
            document[name] = document[name] | {"value": None, "reason": "not computed yet"}
        parts: dict[str, list[Document]] = {name: [] for name in BUILT_PARTS}
        moment = datetime.now(UTC)
        item = Built(ids[0], "built here", imported["input_hash"], moment, parts | {"candidates": [document]})
        write_built(other, [item])
        found = other["candidates"].find_one({}, {"_id": 0})
        assert found is not None
        return found

    assert build(len(PROPERTIES) - 1)["input_hash"] == imported["input_hash"]
    assert trace(other, ids[0]).origin is not None
    assert build(len(PROPERTIES))["input_hash"] == "built here"
    assert trace(other, ids[0]).origin is None  # its numbers are from here now
    with pytest.raises(InputError, match="computed here"):
        database["candidates"].update_one({"candidate_id": ids[0]}, {"$set": {"band_gap.value": 0.5}})
        export_candidates(database, path, ids[:1], force=True)
        import_archive(other, path, keep="theirs")


def with_documents(path: Path, name: str, change: Callable[[list[Document]], Any]) -> Path:
    member = f"documents/{name}.jsonl"
    with zipfile.ZipFile(path) as archive:
        lines = [json.loads(line) for line in archive.read(member).splitlines()]
    change(lines)
    return reseal(path, {member: b"".join(json.dumps(line).encode() + b"\n" for line in lines)})


def _raw(path: Path, edit: Callable[[bytearray], None]) -> None:
    content = bytearray(path.read_bytes())
    edit(content)
    path.write_bytes(content)


def _flip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("documents/candidates.jsonl").header_offset + 150
    _raw(path, lambda content: content.__setitem__(at, content[at] ^ 0xFF))


def _append(path: Path, name: str, content: bytes, mode: int = 0o100644) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")  # a name twice
        archive.writestr(info, content)


def _code(line: Document) -> None:
    line["structure"]["sites"][0]["properties"] = {"x": {"@module": "os", "@class": "system"}}


NESTED = b'{"candidate_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (lambda p: _raw(p, lambda c: c.__delitem__(slice(-200, None))), "no zip archive|damaged"),
    "text": (lambda p: p.write_text("no zip"), "no zip archive"),
    "gone": (lambda p: p.unlink(), "cannot be read"),
    "flipped": (_flip, "cannot be read|not what was written|no JSON"),
    "slip": (lambda p: _append(p, "../../evil.txt", b"x"), "no name of a file"),
    "absolute": (lambda p: _append(p, "/etc/evil", b"x"), "no name of a file"),
    "backslash": (lambda p: _append(p, "..\\evil", b"x"), "no name of a file"),
    "link": (lambda p: _append(p, "structures/link", b"/etc/passwd", 0o120777), "no name of a file"),
    "twice": (lambda p: _append(p, "README.md", b"other"), "two members of one name"),
    "extra": (lambda p: _append(p, "extra.txt", b"x"), "not those of its manifest"),
    "bomb": (lambda p: _append(p, "bomb", bytes(64 * 1024**2)), "unpacks to 67108864 bytes"),
    "manifest": (lambda p: reseal(p, {}, lambda m: m.update(members={})), "not those of its manifest"),
    "hash": (lambda p: reseal(p, {}, lambda m: m["members"]["README.md"].update(sha256="0" * 64)), "content hash"),
    "later": (lambda p: reseal(p, {}, lambda m: m.update(version=99)), "update hemiec"),
    "schema": (lambda p: reseal(p, {}, lambda m: m.update(schema_version=99)), "update hemiec"),
    "foreign": (lambda p: reseal(p, {}, lambda m: m.update(format="x")), "not an archive of candidates"),
    "infinite": (lambda p: reseal(p, {"documents/hops.jsonl": b'{"forward_barrier": 1e999}\n'}), "no JSON"),
    "NaN": (lambda p: reseal(p, {"documents/hops.jsonl": b'{"forward_barrier": NaN}\n'}), "no JSON"),
    "nested": (lambda p: reseal(p, {"documents/candidates.jsonl": NESTED}), "no JSON"),
    "digits": (lambda p: reseal(p, {"documents/hops.jsonl": b'{"hop": ' + b"9" * 10_000 + b"}\n"}), "no JSON"),
    "long line": (lambda p: reseal(p, {"documents/hops.jsonl": os.urandom(9 * 1024**2).hex().encode()}), "longer than"),
    "field": (lambda p: with_documents(p, "candidates", lambda d: d[0].update({"$where": "1"})), "not valid"),
    "other name": (lambda p: with_documents(p, "candidates", _renamed), "has the composition of"),
    "other composition": (lambda p: with_documents(p, "candidates", _recomposed), "has the composition of"),
    "orphan": (lambda p: with_documents(p, "hops", lambda d: d[-1].update(candidate_id="hm-x")), "no candidate of it"),
    "order": (lambda p: with_documents(p, "candidates", lambda d: d.reverse()), "out of order|has 0 provenances"),
    "code": (lambda p: with_documents(p, "structures", lambda d: _code(d[0])), "names os.system"),
    "no provenance": (lambda p: with_documents(p, "provenance", lambda d: d.pop()), "has 0 provenances"),
}


def _renamed(lines: list[Document]) -> None:
    lines[0]["candidate_id"] = lines[0]["candidate"]["candidate_id"] = "hm-0000000000000000"


def _recomposed(lines: list[Document]) -> None:
    lines[0]["candidate"]["sites"]["B"] = {"Mn": "1"}


def test_a_damaged_or_hostile_archive_is_one_error_and_nothing_is_written(
    database: Database,
    other: Database,
    ids: list[str],
    tmp_path: Path,
) -> None:
    good = tmp_path / "good.zip"
    export_candidates(database, good, ids[:2])
    for case, (damage, message) in HOSTILE.items():
        path = tmp_path / "bad.zip"
        path.write_bytes(good.read_bytes())
        damage(path)
        with pytest.raises(InputError, match=message) as told:
            import_archive(other, path)
        assert len(str(told.value)) < 1000 and str(path) in str(told.value), case
        assert not contents(other) and other["imported"].count_documents({}) == 0, case
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip", "good.zip", "hemiec-data"]
    assert not (tmp_path.parent / "evil.txt").exists()
    assert import_archive(other, good).new == sorted(ids[:2])  # it was not the test


def hemiec(settings: Settings, database: Database, *arguments: str) -> subprocess.Popen[str]:
    assert settings.mongo_uri is not None
    environment = os.environ | {
        "HEMIEC_MONGO_URI": settings.mongo_uri.get_secret_value(),
        "HEMIEC_DATABASE": database.name,
    }
    command = [sys.executable, "-m", "hemiec.cli.main", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_import_leaves_whole_candidates_and_goes_on(
    settings: Settings,
    database: Database,
    other: Database,
    tmp_path: Path,
) -> None:
    ids = insert_candidates(database, 40)
    path = tmp_path / "many.zip"
    export_candidates(database, path, ids)
    done: list[str] = []
    for _ in range(5):  # on a busy machine it may end before it is killed
        for name in ("candidates", "hops", "structures", "transport", "optimade", "imported"):
            other[name].delete_many({})
        process = hemiec(settings, other, "import", str(path))
        while process.poll() is None and other["candidates"].count_documents({}) < 3:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        at_rest(lambda: other["candidates"].count_documents({}))
        done = other["candidates"].distinct("candidate_id")
        if len(done) < 40:
            break
    assert 3 <= len(done) < 40
    wanted = {name: database[name].count_documents({"candidate_id": {"$in": done}}) for name in ("hops", "structures")}
    for name, n in wanted.items():
        assert other[name].count_documents({"candidate_id": {"$in": done}}) == n
        assert other[name].count_documents({"candidate_id": {"$nin": done}}) == 0  # in one transaction each
    again = hemiec(settings, other, "import", str(path), "--json")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    told = json.loads(out)
    assert len(told["new"]) == 40 - len(done) and told["identical"] == sorted(done)
    for name in ("candidates", "hops", "structures", "transport"):
        assert by_key(contents(other)[name]) == by_key(contents(database)[name])


def test_without_transactions_a_candidate_shows_itself_last(
    database: Database,
    other: Database,
    ids: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "set.zip"
    export_candidates(database, path, ids[:2])
    monkeypatch.setattr(importing, "_has_transactions", lambda database: False)

    def interrupted(database: Database, name: str, bundle: Any, session: None) -> None:
        if name == "transport":
            raise KeyboardInterrupt
        whole(database, name, bundle, session)

    whole = importing._replace_parts
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(importing, "_replace_parts", interrupted)
        import_archive(other, path)
    assert other["candidates"].count_documents({}) == 0 and other["structures"].count_documents({}) == 1
    assert import_archive(other, path).new == sorted(ids[:2])
    assert other["structures"].count_documents({}) == 2


def test_outputs_and_large_objects_come_along(
    database: Database,
    other: Database,
    ids: list[str],
    tmp_path: Path,
) -> None:
    doc = database["candidates"].find_one({"candidate_id": ids[0]})
    assert doc is not None
    uuid = doc["migration_barrier"]["job_uuids"][0]
    store = database.job_store()
    output = {"images": [{"@module": "pymatgen.core.lattice", "@class": "Lattice", "matrix": [[1, 0, 0]] * 3}], "n": 1}
    store.update([{"uuid": uuid, "index": 1, "output": output}], save={"data": ["images"]})
    store.close()
    path = tmp_path / "raw.zip"
    manifest = export_candidates(database, path, [ids[0]], raw=True)
    assert manifest.documents["outputs"] == manifest.documents["objects"] == 1
    done = import_archive(other, path)
    assert (done.outputs_added, done.objects_added) == (1, 1)
    store = other.job_store()
    assert store.get_output(uuid, load=True)["images"] == output["images"]
    store.close()
    assert (import_archive(other, path).outputs_added, other["data.files"].count_documents({})) == (0, 1)
    # An output that names code is refused as a job's would be.
    evil = {"uuid": uuid, "index": 1, "output": {"@module": "os", "@callable": "system"}}
    reseal(path, {"raw/outputs.jsonl": json.dumps(evil).encode() + b"\n"})
    other["outputs"].delete_many({})
    with pytest.raises(InputError, match=r"names os\.system"):
        import_archive(other, path)
    assert other["outputs"].count_documents({}) == 0


def test_candidates_are_chosen_by_expression_campaign_and_id(
    settings: Settings,
    database: Database,
    ids: list[str],
    tmp_path: Path,
) -> None:
    assert select_candidates(database) == sorted(ids)
    expected = sorted(database["candidates"].distinct("candidate_id", {"elements": "Co", "band_gap.value": {"$lt": 5}}))
    assert select_candidates(database, "has(Co) and band_gap < 5") == expected
    assert select_candidates(database, campaign="synthetic-2") == sorted(ids[::3])
    assert select_candidates(database, campaign="synthetic-2", ids=ids[:2]) == [ids[0]]
    for wrong in (
        lambda: select_candidates(database, campaign="synthetix"),
        lambda: select_candidates(database, ids=["hm-none"]),
    ):
        with pytest.raises(InputError):
            wrong()
    with pytest.raises(QueryError):
        select_candidates(database, "band_gap <")
    with pytest.raises(InputError, match="no candidates to export"):
        export_candidates(database, tmp_path / "none.zip", [])
    database["structures"].update_one({"candidate_id": ids[0]}, {"$set": {"nsites": 7, "schema_version": 2}})
    runner = CliRunner()
    path = tmp_path / "told.zip"
    told = runner.invoke(cli, ["export", "has(Co)", "--to", str(path), "--json"], catch_exceptions=False)
    with open_archive(path) as archive:
        archive.verify()
        assert archive.manifest.content_hash == json.loads(told.output)["content_hash"]
    shown = runner.invoke(cli, ["import", str(path), "--dry-run"], catch_exceptions=False).output
    assert "0 candidates would be imported" in shown and "here already" in shown


def test_a_reader_exports_and_cannot_import(
    settings: Settings,
    database: Database,
    ids: list[str],
    tmp_path: Path,
) -> None:
    add_user(database, "jane", "reader", "jane-has-a-password")
    assert settings.mongo_uri is not None
    host = settings.mongo_uri.get_secret_value().rpartition("@")[2].partition("/")[0]
    uri = f"mongodb://jane:jane-has-a-password@{host}/?authSource={settings.database}&directConnection=true"
    reading = settings.model_copy(update={"mongo_uri": SecretStr(uri)})
    assert ensure_reader(reading) == uri
    path = tmp_path / "set.zip"
    with closing(open_database(reading, read_only=True)) as reader:
        export_candidates(reader, path, ids[:2])
        with pytest.raises(InputError, match="exists"):
            export_candidates(reader, path, ids[:2])
        database["candidates"].delete_many({})
        with pytest.raises(StoreError, match="not authorized"):
            import_archive(reader, path)
    assert database["imported"].count_documents({}) == 0
    with zipfile.ZipFile(path) as archive:
        assert not any(b"jane-has-a-password" in archive.read(name) for name in archive.namelist())
