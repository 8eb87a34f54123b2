"""The command line: help, exit codes, one-line errors, and every command on a small finished campaign."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from hemiec.cli.main import _COMMANDS, cli
from hemiec.settings import Settings
from hemiec.store.mongod import EmbeddedMongod

DOCS = Path(__file__).parent.parent / "docs"
QUICKSTART = Path(__file__).parent.parent / "flows" / "quickstart.yaml"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    """Run the installed command as a user would, in a folder elsewhere."""

    def run_command(*arguments: str, cwd: Path = tmp_path, **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "hemiec.cli.main", *arguments],
            env=os.environ | {"HEMIEC_DATA_DIR": str(settings.data_dir), "COLUMNS": "120"} | environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run_command


def _error_line(result: Result) -> str:
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.err
    return lines[0]


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_every_command_has_help_with_an_example_and_is_documented(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    if name != "db":
        assert "Example" in result.output and f"hemiec {name}" in result.output
    documented = (DOCS / "command-line.md").read_text()
    assert f"`hemiec {name}" in documented


def test_usage_errors(run: Run) -> None:
    for arguments, expected in (
        (["sttus"], "did you mean 'status'"),
        (["run"], "CAMPAIGN"),
        (["rank", "--jsn"], "--json"),
        (["sqs", "A:Sr B:Ti X:O3", "-n", "0"], "0"),
    ):
        result = run(*arguments)
        assert result.code == 2
        assert expected in _error_line(result)


BAD_CAMPAIGNS = {
    "unknown element": ({"space": [{"A": {"Lq": 1}, "B": {"Co": 1}}]}, "Lq"),
    "fractions": ({"space": [{"A": {"La": 0.5, "Sr": 0.4}, "B": {"Co": 1}}]}, "sum to 0.9"),
    "charge": ({"space": [{"A": {"La": 1}, "B": {"Ti": 1}}]}, "charge"),
    "cell": ({"space": [{"A": {"La": "1/7", "Sr": "6/7"}, "B": {"Co": 1}}], "sqs": {"max_atoms": 25}}, "35 atoms"),
    "protocol": ({"protocols": {"gap": "gpaw-fst"}}, "did you mean 'gpaw-fast'"),
    "misspelt key": ({"protocol": {}}, "did you mean 'protocols'"),
    "nested misspelt key": ({"sqs": {"max_atom": 25}}, "did you mean 'max_atoms'"),
}


@pytest.mark.parametrize("case", list(BAD_CAMPAIGNS))
@pytest.mark.store
def test_bad_campaigns_exit_2_with_one_line_and_leave_nothing(case: str, run: Run, tmp_path: Path) -> None:
    change, expected = BAD_CAMPAIGNS[case]
    path = tmp_path / "bad.yaml"
    good = {"name": "bad", "space": [{"A": {"Sr": 1}, "B": {"Ti": 1}}], "protocols": {"gap": None}}
    path.write_text(yaml.safe_dump(good | change))
    result = run("run", str(path))
    assert result.code == 2
    line = _error_line(result)
    assert expected in line and "bad.yaml" in line
    documents = json.loads(run("db", "status", "--json").out).get("documents", {})
    assert not any(documents.values())
    assert [p.name for p in tmp_path.iterdir() if "leaderboard" in p.name] == []


@pytest.mark.store
def test_store_errors_exit_1(run: Run, tmp_path: Path, settings: Settings) -> None:
    away = run("rank", HEMIEC_MONGO_URI="mongodb://me:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=300")
    assert away.code == 1
    assert "hunter2" not in away.err and "MongoDB cannot be reached" in _error_line(away)
    empty = run("rank")
    assert empty.code == 2 and "no candidates" in _error_line(empty)
    read_only = tmp_path / "file"
    read_only.write_text("not a folder")
    blocked = run("db", "up", HEMIEC_DATA_DIR=str(read_only))
    assert blocked.code == 1 and str(read_only) in _error_line(blocked)
    no_program = run("db", "up", HEMIEC_DATA_DIR=str(tmp_path / "new"), HEMIEC_MONGOD="/no/such/mongod")
    assert no_program.code == 1 and "HEMIEC_MONGOD" in _error_line(no_program)


@pytest.mark.store
def test_db_up_status_down(run: Run) -> None:
    assert run("db", "down").out == "MongoDB did not run.\n"
    assert not json.loads(run("db", "status", "--json").out)["running"]
    assert "127.0.0.1" in run("db", "up").out
    assert json.loads(run("db", "status", "--json").out)["documents"]["candidates"] == 0
    assert run("db", "down").out == "MongoDB stopped.\n"


def test_space_prints_table_json_and_csv(run: Run) -> None:
    assert "(Ba,Sr,Ca,La,Y)CoO3" in run("space", str(QUICKSTART)).out
    listed = json.loads(run("space", str(QUICKSTART), "--json").out)
    rows = list(csv.DictReader(io.StringIO(run("space", str(QUICKSTART), "--csv").out)))
    assert listed["n"] == len(rows) == 3
    assert [c["candidate_id"] for c in listed["candidates"]] == [row["candidate_id"] for row in rows]
    assert {c["mean_B_valence"] for c in listed["candidates"]} == {3.6, 4.0}


def test_sqs_of_a_formula_writes_files_others_read(run: Run, tmp_path: Path) -> None:
    from pymatgen.core import Structure

    result = run("sqs", "A:Sr0.5Ba0.5 B:Ti X:O3", "--max-atoms", "20", "--quality", "fast", "--out", "s", "--json")
    assert result.code == 0
    (doc,) = json.loads(result.out)
    for suffix in ("POSCAR", "cif"):
        (path,) = (tmp_path / "s").glob(f"*.{suffix}")
        structure = Structure.from_file(path)
        assert structure.composition.reduced_formula == "BaSrTi2O6" or len(structure) == doc["n_atoms"] == 20
        assert structure.composition["Ba"] == structure.composition["Sr"] == 2
    assert run("sqs", "A:Sr0.5Ba0.6 B:Ti X:O3").code == 2
    assert "sites" not in run("sqs", "nonsense").out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A small campaign that really ran."""
    folder = tmp_path_factory.mktemp("finished")
    settings = Settings(data_dir=folder / "data")
    campaign = {
        "name": "tiny",
        "space": [{"A": {"Sr": 1}, "B": {"Ti": 1}}, {"A": {"Ba": 1}, "B": {"Zr": 1}}],
        "sqs": {"max_atoms": 5, "quality": "fast"},
        "protocols": {"gap": None},
        "hops": {"n": 1},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(campaign))
    done = subprocess.run(
        [sys.executable, "-m", "hemiec.cli.main", "run", "tiny.yaml"],
        env=os.environ | {"HEMIEC_DATA_DIR": str(settings.data_dir)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "tiny-leaderboard.html").exists()
    yield settings
    EmbeddedMongod(settings).down()


@pytest.fixture
def on_finished(finished: Settings, run: Run) -> Run:
    return lambda *arguments: run(*arguments, HEMIEC_DATA_DIR=str(finished.data_dir))


@pytest.mark.store
@pytest.mark.mlip
def test_commands_on_a_finished_campaign(on_finished: Run, tmp_path: Path) -> None:
    ranked = json.loads(on_finished("rank", "--json").out)
    assert len(ranked["entries"]) == 2
    for entry in ranked["entries"]:
        assert entry["rank"] is None and "does not ask" in entry["band_gap"]["reason"]
        for name in ("migration_barrier", "formation_energy_per_atom", "formation_enthalpy_from_oxides_per_atom"):
            quantity = entry[name]
            assert {"value", "unit", "method", "n", "std"} <= set(quantity)
            assert quantity["value"] is not None and quantity["job_uuids"]
    identifier = ranked["entries"][0]["candidate_id"]
    assert len(list(csv.DictReader(io.StringIO(on_finished("rank", "--csv").out)))) == 2
    assert "SrTiO3" in on_finished("rank").out
    assert on_finished("rank", "--html", "report.html").code == 0
    assert "SrTiO3" in (tmp_path / "report.html").read_text()
    assert on_finished("rank", "--campaign", "tinny").code == 2

    status = json.loads(on_finished("status", "tiny", "--json").out)
    assert set(status["counts"]) == {"done"}
    assert "SrTiO3" in on_finished("status").out
    assert on_finished("errors").out == "no job failed.\n"
    assert "0 candidates built, 2 were up to date" in on_finished("build").out

    found = json.loads(on_finished("query", "has(Ti) and migration_barrier > 0", "--json").out)
    assert [doc["formula"] for doc in found] == ["SrTiO3"]
    assert json.loads(on_finished("query", "band_gap < 9", "--json").out) == []
    bad = on_finished("query", "bandgap < 1")
    assert bad.code == 2 and "did you mean 'band_gap'" in _error_line(bad)

    shown = json.loads(on_finished("show", identifier, "--json").out)
    assert shown["candidate_id"] == identifier
    uuids = {job["uuid"] for job in shown["results"][0]["jobs"]}
    assert set(shown["migration_barrier"]["job_uuids"]) <= uuids
    text = on_finished("show", identifier).out
    assert all(uuid in text for uuid in uuids)
    assert on_finished("show", "hm-nothing").code == 2


@pytest.mark.store
@pytest.mark.mlip
def test_paths_are_in_gridfs_and_come_back_through_the_job_store(finished: Settings) -> None:
    from hemiec.store.database import open_database

    database = open_database(finished)
    store = database.job_store()
    relax = database["outputs"].find_one({"metadata.hemiec.kind": "reference"})
    assert relax["metadata"]["hemiec"]["shipped"] and relax["output"]["trajectory"] is None
    assert store.get_output(relax["uuid"], load=True)["energy_per_atom"] == relax["output"]["energy_per_atom"]
    sample = database["outputs"].find_one({"metadata.hemiec.kind": "sample"})
    assert all("blob_uuid" in hop["images"] for hop in sample["output"]["hops"])
    for hop in store.get_output(sample["uuid"], load=True)["hops"]:
        assert len(hop["images"]) == len(hop["energies"]) == 3
    assert re.fullmatch(r"[0-9a-f]{12}", sample["output"]["protocol_hash"])
    store.close()
    database.close()
