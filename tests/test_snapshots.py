"""Snapshots: what they hold, that they never change, and that damage is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from stored_candidates import CAMPAIGN, OTHER_CAMPAIGN, insert_candidates, synthetic_candidates

import hemiec
from hemiec.cli.main import cli
from hemiec.errors import HemiecError, InputError, StoreError
from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.snapshots import snapshot as snapshot_module
from hemiec.ranking.snapshots import writing
from hemiec.ranking.snapshots.files import (
    MANIFEST,
    TABLE,
    find_snapshot,
    list_snapshots,
    sha256_of,
    snapshot_id,
    verify_files,
)
from hemiec.ranking.snapshots.snapshot import DOCUMENT, Snapshot
from hemiec.ranking.table import table_of
from hemiec.schemas.documents import PROPERTIES, SCHEMA_VERSION
from hemiec.schemas.snapshot import SnapshotManifest
from hemiec.settings import Settings
from hemiec.store import snapshots as store_snapshots
from hemiec.store.candidates import documents_of, read_candidates
from hemiec.store.comparisons import compare_stored
from hemiec.store.database import Database
from hemiec.store.queries.tables import candidate_columns
from hemiec.store.snapshots import open_snapshot, read_snapshots, snapshots_folder, take_snapshot

pytestmark = pytest.mark.store
N = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A snapshot of made-up candidates, taken once; tests get copies of it."""
    from hemiec.store.database import open_database
    from hemiec.store.mongod import EmbeddedMongod

    settings = Settings(data_dir=tmp_path_factory.mktemp("store"))
    database = open_database(settings)
    insert_candidates(database, N, structures=False)
    yield take_snapshot(database, settings).folder
    database.close()
    EmbeddedMongod(settings).down()


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of it that may be damaged."""
    target = tmp_path / "copies" / folder.name
    shutil.copytree(folder, target)
    for path in target.iterdir():
        path.chmod(0o644)
    return target


# --- what it holds


def test_it_holds_what_the_store_holds(database: Database, settings: Settings) -> None:
    insert_candidates(database, N, structures=False)
    snapshot = take_snapshot(database, settings)
    documents = list(read_candidates(database, whole=False))
    assert list(snapshot.documents()) == documents
    expected, table = table_of(documents), snapshot.table()
    assert table.candidate_id.tolist() == expected.candidate_id.tolist()
    assert list(table.label) == list(expected.label)
    for name in PROPERTIES:
        ours, theirs = table.estimates[name], expected.estimates[name]
        assert ours.unit == theirs.unit
        for part in ("value", "low", "high"):
            np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))
    assert [d.candidate_id for d in snapshot.documents([7, 3])] == [documents[k].candidate_id for k in (3, 7)]
    # Of the candidate that has thermodynamics: what it decomposes to, and its worst partner.
    columns = snapshot.columns()
    phases = {tuple(row) for row in columns["decomposition"].to_pylist() if row is not None}
    assert phases == {("LaCoO3-invented", "Sr2Co2O5-invented", "BaCoO3-invented")}
    assert set(columns["worst_partner"].to_pylist()) == {None, "Li3PS4"}
    assert set(columns["thermo_version"].to_pylist()) == {None, 1.0}


def test_the_manifest_says_what_the_numbers_are(folder: Path) -> None:
    manifest = Snapshot.at(folder).manifest
    assert manifest.n_candidates == N
    assert (manifest.campaign, manifest.where, manifest.definition) == (None, "", None)
    assert manifest.schema_version == SCHEMA_VERSION
    assert manifest.versions["hemiec"] == hemiec.__version__
    assert manifest.builder_versions == manifest.thermo_versions == [1]
    gap = manifest.properties["band_gap"]
    assert (gap.n_values, gap.n_intervals, gap.calibrations) == (36, 36, {})
    assert [(p.protocol, p.protocol_hash, p.n) for p in gap.protocols] == [("mlip-chgnet", "efe9e60f00b8", 36)]
    energies = {"BaO-synthetic": -6.234, "La2O3-synthetic": -8.5, "SrO-synthetic": -6.353}
    assert manifest.references.energies_per_atom == {"efe9e60f00b8": energies}
    named = {column.name: column for column in manifest.columns}
    assert candidate_columns().keys() < named.keys()
    assert {named[f"{name}.low"].unit for name in PROPERTIES} == {"eV", "eV/atom"}
    assert all(column.description for column in manifest.columns)
    schema = Snapshot.at(folder).columns()._file.schema_arrow
    assert schema.field("migration_barrier.low").metadata[b"unit"] == b"eV"


def test_it_is_of_a_campaign_a_condition_and_a_definition(database: Database, settings: Settings) -> None:
    insert_candidates(database, N, structures=False)
    chosen = take_snapshot(database, settings, campaign=OTHER_CAMPAIGN, where="has(Co)", definition=DEFAULT)
    asked = {"campaigns": OTHER_CAMPAIGN, "elements": "Co"}
    assert [d.candidate_id for d in chosen.documents()] == [
        d.candidate_id for d in read_candidates(database, asked, whole=False)
    ]
    assert (chosen.manifest.campaign, chosen.manifest.where) == (OTHER_CAMPAIGN, "has(Co)")
    assert chosen.manifest.definition == DEFAULT
    everything = take_snapshot(database, settings)
    assert len(everything) == N > len(chosen) > 0
    found, broken = read_snapshots(settings)
    assert [m.snapshot_id for m in found] == [everything.snapshot_id, chosen.snapshot_id]
    assert not broken
    for wrong, message in {
        "campaign": "no campaign 'nobody'", "where": "unknown field 'nobody'",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=message):
            take_snapshot(database, settings, **{wrong: "nobody" if wrong == "campaign" else "nobody < 1"})
    with pytest.raises(InputError, match="no candidates"):
        take_snapshot(database, settings, where="has(Pb)")
    assert len(list(snapshots_folder(settings).iterdir())) == 2  # nothing is left of what failed


# --- that it never changes


def test_the_same_content_is_one_snapshot_and_another_is_another(database: Database, settings: Settings) -> None:
    insert_candidates(database, 10, structures=False)
    first = take_snapshot(database, settings)
    again = take_snapshot(database, settings)
    assert again.folder == first.folder
    assert again.manifest.created_at == first.manifest.created_at
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    changed = next(synthetic_candidates(1)).model_copy(deep=True)
    changed.band_gap.value = 3.25
    database["candidates"].replace_one({"candidate_id": changed.candidate_id}, documents_of(changed)["candidates"][0])
    other = take_snapshot(database, settings)
    assert other.snapshot_id != first.snapshot_id
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before
    row = first.table().candidate_id.tolist().index(changed.candidate_id)
    assert other.table().estimates["band_gap"].value[row] == 3.25
    assert first.table().estimates["band_gap"].value[row] != 3.25
    # A phase that is computed anew makes other numbers comparable: it is content too.
    database["references"].update_one({"phase": "BaO"}, {"$set": {"energy_per_atom": -6.3}})
    assert take_snapshot(database, settings).snapshot_id not in (first.snapshot_id, other.snapshot_id)


def test_files_are_read_only_and_readable_as_others(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [TABLE, MANIFEST]
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert stat.S_IMODE(folder.stat().st_mode) & 0o700 == 0o700


def test_another_folder_and_time_give_the_same_id(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "anything"
    shutil.copytree(folder, moved)
    assert Snapshot.at(moved, verify=True).snapshot_id == folder.name
    content = json.loads((folder / MANIFEST).read_text())
    assert snapshot_id(content | {"created_at": datetime(2000, 1, 1, tzinfo=UTC).isoformat()}) == folder.name
    assert snapshot_id(dict(reversed(content.items()))) == folder.name


def test_takers_at_the_same_time_make_one_snapshot(database: Database, settings: Settings) -> None:
    insert_candidates(database, 5, structures=False)
    command = [sys.executable, "-m", "hemiec.cli.main", "snapshots", "take", "--json"]
    takers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [json.loads(taker.communicate(timeout=120)[0]) for taker in takers]
    assert len({answer["snapshot_id"] for answer in told}) == 1
    (only,) = snapshots_folder(settings).iterdir()
    assert verify_files(only).created_at == datetime.fromisoformat(told[0]["created_at"])
    assert len({answer["created_at"] for answer in told}) == 1


# --- what goes wrong while it is taken

_WRITER = """
import sys, time
import pyarrow as pa
from pathlib import Path
from hemiec.ranking.snapshots.writing import write_snapshot
schema = pa.schema([("candidate_id", pa.string())])
def tables():
    yield pa.table([["hm-1"]], schema=schema)
    print("writing", flush=True)
    time.sleep(60)
write_snapshot(Path(sys.argv[1]), tables(), schema, lambda: None)
"""


def test_a_kill_leaves_nothing_that_looks_like_a_snapshot(copy: Path) -> None:
    root = copy.parent

    def writer() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(root)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    killed = writer()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (left,) = root.glob(".taking-*")
    assert [path.name for path in root.glob("snap-*")] == [copy.name]
    alive = writer()
    parts = set(root.glob(".taking-*"))
    for part in parts:
        os.utime(part, (time.time() - 3600, time.time() - 3600))
    # The next taker removes what the killed one left, and not what is being written.
    content = Snapshot.at(copy)
    writing._sweep(root)
    assert set(root.glob(".taking-*")) == parts - {left}
    alive.send_signal(signal.SIGINT)
    alive.communicate()
    assert not list(root.glob(".taking-*"))
    assert len(content.table()) == N


@pytest.mark.parametrize("at", [TABLE, MANIFEST])
def test_a_full_disk(copy: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    root, source = copy.parent, Snapshot.at(copy)
    made = writing.tempfile.mkdtemp

    def at_dev_full(**options: Any) -> str:
        part = made(**options)
        if at == TABLE:
            (Path(part) / at).symlink_to("/dev/full")  # every write to it fails with ENOSPC
        return part

    def no_room(path: Path, text: str) -> None:
        with Path("/dev/full").open("w") as file:
            file.write(text)

    monkeypatch.setattr(writing.tempfile, "mkdtemp", at_dev_full)
    if at == MANIFEST:
        monkeypatch.setattr(writing, "_write_read_only", no_room)
    table = source.columns()._file.read()
    with pytest.raises(StoreError, match=r"disk is full; no snapshot was taken"):
        writing.write_snapshot(root, [table], table.schema, lambda: source.manifest)
    assert [path.name for path in root.iterdir()] == [copy.name]


def test_a_folder_that_cannot_be_written(copy: Path) -> None:
    table = Snapshot.at(copy).columns()._file.read()
    with pytest.raises(StoreError, match=r"manifest\.json: the snapshot cannot be written"):
        writing.write_snapshot(copy / MANIFEST, [table], table.schema, lambda: Snapshot.at(copy).manifest)


def test_a_candidate_that_is_being_built(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_candidates(database, 5, structures=False)
    (first,) = database["thermodynamics"].find({})
    right = first["input_hash"]
    pauses: list[float] = []

    def build_goes_on(seconds: float) -> None:
        pauses.append(seconds)
        database["thermodynamics"].update_one({}, {"$set": {"input_hash": right}})

    monkeypatch.setattr(store_snapshots, "sleep", build_goes_on)
    database["thermodynamics"].update_one({}, {"$set": {"input_hash": "of the pass that is running"}})
    whole = take_snapshot(database, settings)
    assert len(pauses) == 1
    assert not whole.manifest.notes
    assert sum(row is not None for row in whole.columns()["decomposition"].to_pylist()) == 1
    # A build that never ends: its numbers are kept without the hull phases of another pass, and the manifest says so.
    monkeypatch.setattr(store_snapshots, "sleep", pauses.append)
    database["thermodynamics"].update_one({}, {"$set": {"input_hash": "of the pass that is running"}})
    torn = take_snapshot(database, settings)
    assert torn.columns()["decomposition"].to_pylist() == [None] * 5
    assert re.search(r"1 candidates were being built.*" + first["candidate_id"], torn.manifest.notes[0])


def test_a_candidate_that_cannot_be_read(database: Database, settings: Settings) -> None:
    (newer, *_) = insert_candidates(database, 5, structures=False)
    database.mongo.command("collMod", "candidates", validator={})
    database["candidates"].update_one({"candidate_id": newer}, {"$set": {"schema_version": SCHEMA_VERSION + 1}})
    with pytest.raises(StoreError, match=rf"{newer}.*newer hemiec"):
        take_snapshot(database, settings)
    told: dict[str, str] = {}
    snapshot = take_snapshot(database, settings, report=told.__setitem__)
    assert told.keys() == {newer}
    assert len(snapshot) == 4
    assert "1 candidates could not be read" in snapshot.manifest.notes[0]


# --- damage


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0x10
    path.write_bytes(content)


def test_damage_is_told(copy: Path) -> None:
    whole, pristine = copy / MANIFEST, copy.parent / "pristine"
    shutil.copytree(copy, pristine)

    def cut(name: str, share: float) -> None:
        (copy / name).write_bytes((copy / name).read_bytes()[: int(share * (copy / name).stat().st_size)])

    cases = {
        "truncated table": (lambda: cut(TABLE, 0.5), "bytes, expected"),
        "empty table": (lambda: cut(TABLE, 0), "bytes, expected"),
        "truncated manifest": (lambda: cut(MANIFEST, 0.5), "it is not JSON"),
        "empty manifest": (lambda: cut(MANIFEST, 0), "it is not JSON"),
        "a list": (lambda: whole.write_text("[]"), "it is not a manifest"),
        "an edited count": (lambda: _edit(copy, n_candidates=N + 1), "its content is that of snap-"),
        "an edited condition": (lambda: _edit(copy, where="has(Co)"), "its content is that of snap-"),
        "an edited hash": (lambda: _edit(copy, files=[]), "its content is that of snap-"),
        "another id": (lambda: _edit(copy, snapshot_id="snap-0123456789abcdef"), "it says 'snap-0123456789abcdef'"),
        "nested without end": (lambda: whole.write_text("[" * 200_000), "it is not JSON"),
        "a newer one": (lambda: _edit(copy, format_version=2), "newer hemiec"),
        "no table": (lambda: (copy / TABLE).unlink(), "it is missing"),
    }
    for name, (damage, message) in cases.items():
        damage()
        with pytest.raises(StoreError, match=message) as caught:
            Snapshot.at(copy)
        assert caught.value.mend, name
        shutil.rmtree(copy)
        shutil.copytree(pristine, copy)
    Snapshot.at(copy, verify=True)


@pytest.mark.parametrize("at", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_one_wrong_bit_is_found_and_never_read_as_data(copy: Path, at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {name: column.to_pylist() for name, column in _all(Snapshot.at(copy)).items()}
    _flip(copy / TABLE, at)
    with pytest.raises(StoreError, match="SHA-256"):
        Snapshot.at(copy)
    # Of a large one, what is read is what was written, or an error.
    monkeypatch.setattr(snapshot_module, "SMALL_BYTES", 0)
    for name, expected in columns.items():
        try:
            found = Snapshot.at(copy).columns()[name].to_pylist()
        except HemiecError as error:
            assert "damaged" in str(error)
        else:
            assert found == expected


def _all(snapshot: Snapshot) -> dict[str, Any]:
    columns = snapshot.columns()
    return {name: columns[name] for name in columns.names}


def test_a_table_of_another_snapshot_is_refused(copy: Path) -> None:
    """Even one whose manifest was made anew to fit the file, in a folder of any name."""
    copy = copy.rename(copy.parent / "mine")
    content = json.loads((copy / MANIFEST).read_text())
    content["n_candidates"] = N - 1
    content["snapshot_id"] = snapshot_id(content)
    (copy / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(StoreError, match="not what its manifest says"):
        Snapshot.at(copy).table()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda table: table.drop_columns(["band_gap.low"]), "another hemiec: it has no column 'band_gap.low'"),
        (lambda table: table.drop_columns(["thermo_version"]), "another hemiec: it has no column 'thermo_version'"),
        (lambda table: _with_documents(table, ["{"] * N), "a document in it is not JSON"),
        (
            lambda table: _with_documents(table, ['{"results": []}'] * N),
            "another version of hemiec .*'builder_version'",
        ),
        (lambda table: _with_documents(table, ['{"band_gap": {}}'] * N), "another version of hemiec .*required"),
    ],
)
def test_one_of_another_version_is_told(
    copy: Path, edit: Callable[[pa.Table], pa.Table], message: str, settings: Settings
) -> None:
    """Its manifest fits its table, but not what this hemiec reads; compared with itself but for the barriers."""
    other = copy.parent / "other"
    shutil.copytree(copy, other)
    table = pq.read_table(other / TABLE)
    at = table.column_names.index("migration_barrier")
    table = table.set_column(at, "migration_barrier", pc.add(table["migration_barrier"], 0.1))
    pq.write_table(edit(table), other / TABLE)
    content = json.loads((other / MANIFEST).read_text())
    content["columns"] = [column for column in content["columns"] if column["name"] in edit(table).column_names]
    size, digest = (other / TABLE).stat().st_size, sha256_of(other / TABLE)
    content["files"] = [{"name": TABLE, "size_bytes": size, "sha256": digest}]
    content["snapshot_id"] = snapshot_id(content)
    (other / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(StoreError, match=message):
        compare_stored(copy, other, settings)


def _with_documents(table: pa.Table, documents: list[str]) -> pa.Table:
    at = table.column_names.index(DOCUMENT)
    return table.set_column(at, DOCUMENT, pa.array(documents))


def test_a_manifest_that_names_another_file_is_refused(copy: Path) -> None:
    copy = copy.rename(copy.parent / "mine")
    content = json.loads((copy / MANIFEST).read_text())
    content["files"][0]["name"] = "other.parquet"
    content["snapshot_id"] = snapshot_id(content)
    (copy / MANIFEST).write_text(json.dumps(content))
    (copy / TABLE).rename(copy / "other.parquet")
    with pytest.raises(StoreError, match=r"it does not name candidates\.parquet"):
        Snapshot.at(copy)


def test_a_damaged_one_is_not_taken_for_the_same(database: Database, settings: Settings) -> None:
    insert_candidates(database, 5, structures=False)
    snapshot = take_snapshot(database, settings)
    (snapshot.folder / TABLE).chmod(0o644)
    _flip(snapshot.folder / TABLE, 0.5)
    with pytest.raises(StoreError, match=r"is in the way, and damaged.*remove"):
        take_snapshot(database, settings)


# --- names and commands


def test_finding_one_by_its_id_or_folder(copy: Path, tmp_path: Path) -> None:
    root = copy.parent
    assert find_snapshot(copy.name, root) == copy
    assert find_snapshot(copy.name[:12], root) == copy
    assert find_snapshot(copy, tmp_path) == copy
    twin = root / (copy.name[:-1] + ("0" if copy.name[-1] != "0" else "1"))
    shutil.copytree(copy, twin)
    for wrong, message in {
        copy.name[:-1]: "is the beginning of snap-", "snap-": "no snapshot 'snap-'", "nonsense": "no snapshot",
        copy.name[:-2] + "zz": f"did you mean '{copy.name[:10]}", "../../etc": "no snapshot",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=message):
            find_snapshot(wrong, root)
    with pytest.raises(InputError, match="none was taken yet"):
        find_snapshot("snap-0123456789abcdef", tmp_path / "nothing")


def test_a_folder_of_another_name_is_not_taken_for_that_one(copy: Path) -> None:
    root, other = copy.parent, copy.parent / "snap-0123456789abcdef"
    shutil.copytree(copy, other)
    with pytest.raises(StoreError, match=rf"the manifest of {copy.name}, in a folder of another name"):
        Snapshot.at(other)
    shutil.copytree(copy, root / "snap-of-mine")  # found by its path only
    found, broken = list_snapshots(root)
    assert [manifest.snapshot_id for manifest in found] == [copy.name]
    assert broken.keys() == {other.name, "snap-of-mine"}
    assert all(copy.name in reason for reason in broken.values())
    assert Snapshot.at(find_snapshot(root / "snap-of-mine", root)).snapshot_id == copy.name


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["snapshots", *arguments], catch_exceptions=False)


def test_commands(database: Database, settings: Settings) -> None:
    assert "hemiec snapshots take" in run("list").output
    insert_candidates(database, 10, structures=False)
    taken = run("take", "--campaign", CAMPAIGN, "--where", "has(O)", "--definition", "mixed-conductor")
    key = taken.output.partition(":")[0]
    assert "10 candidates in" in taken.output
    assert (
        run("take", "--campaign", CAMPAIGN, "--where", "has(O)", "--definition", "mixed-conductor").output
        == taken.output
    )
    listed = json.loads(run("list", "--json").output)
    assert [(one["snapshot_id"], one["definition"]["name"]) for one in listed] == [(key, "mixed-conductor")]
    assert key in run("list").output
    manifest = json.loads(run("show", key[:12], "--json").output)
    assert SnapshotManifest.model_validate(manifest) == open_snapshot(key, settings).manifest
    shown = run("show", key).output
    for words in ("10 of campaign synthetic", "has(O)", "mixed-conductor", "mlip-chgnet efe9e60f00b8 (9)", "builder 1"):
        assert words in shown
    assert f"{key}: as it was taken" in run("verify").output
    table = snapshots_folder(settings) / key / TABLE
    table.chmod(0o644)
    _flip(table, 0.5)
    with pytest.raises(StoreError, match="1 of 1 snapshots are damaged"):
        run("verify")
    _edit_with_rights(table.parent)
    assert "is left out" in run("list").output
    with pytest.raises(InputError, match="no snapshot 'snap-nope'"):
        run("show", "snap-nope")


def _edit_with_rights(folder: Path) -> None:
    (folder / MANIFEST).chmod(0o644)
    _edit(folder, where="")
