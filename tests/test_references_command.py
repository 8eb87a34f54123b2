"""`hemiec references` on a real store: listing, submitting, sharing, and what it refuses."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from building import database, settings
from click.testing import CliRunner, Result
from pymatgen.core import Structure

from hemiec.cli.main import cli
from hemiec.engines.protocol import load_mlip
from hemiec.errors import HemiecError, InputError
from hemiec.launch import references as known
from hemiec.launch import shipped as loading
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.references import header_name, request_references, submit_references
from hemiec.schemas.submitted import CampaignDoc
from hemiec.store.database import Database
from hemiec.thermo.references import materials_project
from hemiec.thermo.references.table import ReferencePhase, element_phase, oxide_phase, reference_phases
from hemiec.workflows import references
from hemiec.workflows.references import reference_record, reference_uuid

__all__ = ["database", "settings"]
pytestmark = pytest.mark.store

CHGNET = load_mlip("mlip-chgnet")
OXYGEN, SRO, TIO2 = element_phase("O"), oxide_phase("Sr", 2), oxide_phase("Ti", 4)
Run = Callable[..., Result]


@pytest.fixture
def run(database: Database) -> Run:
    """A function from arguments to what the command did; errors are raised."""
    return lambda *arguments: CliRunner().invoke(cli, ["references", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Metals, oxygen and binary oxides are all the phases there are, and Sr, SrO and O2 are shipped."""
    few = tuple(phase for kind in reference_phases() for phase in kind)
    made = {reference_uuid(phase, CHGNET): output(phase, -3.0) for phase in (element_phase("Sr"), SRO, OXYGEN)}
    for module in (references, known):
        monkeypatch.setattr(module, "all_phases", lambda: few)
        monkeypatch.setattr(module, "shipped_outputs", lambda name: made if name == CHGNET.hash_of("relax") else {})
    monkeypatch.setattr(loading, "version_differences", lambda name: {})
    return made


def output(phase: ReferencePhase, energy: float) -> dict[str, Any]:
    """Return what the store would hold of a phase of this energy per atom."""
    cell, record = phase.structure(), reference_record(phase, CHGNET)
    return {
        "uuid": record["uuid"], "index": 1, "name": record["name"], "completed_at": "2026-01-01T00:00:00",
        "metadata": {"hemiec": {key: value for key, value in record.items() if key != "name"}},
        "output": {
            "kind": "relax", "structure": cell.as_dict(), "n_atoms": len(cell), "energy": energy * len(cell),
            "energy_per_atom": energy, "converged": True, "n_force_calls": 3, "elapsed_s": 1.0, "forces": None,
            "stress": [[0.0] * 3] * 3, "max_force": 0.01, "protocol": "mlip-chgnet",
            "protocol_hash": CHGNET.hash_of("relax"), "versions": {"hemiec": "0.0.0", "chgnet": "0.4.2"},
        },
    }  # fmt: skip


def test_what_is_listed_and_where_it_is(run: Run, database: Database) -> None:
    database["outputs"].insert_one(output(TIO2, -8.125))
    told = json.loads(run("list", "--elements", "Sr,Ti O", "--json").stdout)
    states = {phase["formula"]: phase["state"] for phase in told["phases"]}
    assert states == {"Sr": "shipped, not loaded", "O2": "shipped, not loaded", "SrO": "shipped, not loaded",
                      "Ti": "missing", "TiO2": "computed", "Ti2O3": "missing"}  # fmt: skip
    assert told["hash"] == CHGNET.hash_of("relax")
    rows = {row["phase_id"]: row for row in csv.DictReader(io.StringIO(run("list", "--csv").stdout))}
    assert len(rows) == sum(map(len, reference_phases()))
    assert float(rows[TIO2.phase_id]["energy_per_atom"]) == -8.125 and rows["Ti-hcp"]["energy_per_atom"] == ""
    table = run("list", "--elements", "Ti,O").stdout
    assert "-8.1250" in table and "4 phases by mlip-chgnet" in table and "hemiec references compute" in table
    assert "computed" not in run("list", "--elements", "Ti,O", "--protocol", "mlip-7net-0").stdout


def test_computing_belongs_to_no_campaign_and_adds_nothing_twice(
    run: Run, database: Database, queue: FireWorksQueue
) -> None:
    assert "3 jobs would be added" in run("compute", "--elements", "Sr,Ti,O", "--dry-run").stdout
    assert database["campaigns"].count_documents({}) == database["outputs"].count_documents({}) == 0
    shown = run("compute", "--elements", "Sr,Ti,O").stdout
    assert "6 phases; 3 jobs added, 0 pending, 0 finished before, 3 shipped" in shown
    assert "next: hemiec work references-mlip-chgnet" in shown
    assert "0 jobs added, 3 pending" in run("compute", "--elements", "Ti,O").stdout
    run("compute", "--elements", "Ni,O")
    header = database["campaigns"].find_one({}, {"_id": 0})
    assert header is not None and CampaignDoc.model_validate(header).n_candidates == 0
    listed = {record["uuid"]: record["phase_id"] for record in header["references"]}
    assert len(listed) == len(header["references"]) == 8, "later ones come to those that were there"
    fireworks = list(database["fireworks"].find({}))
    assert {fw["spec"]["hemiec"]["uuid"] for fw in fireworks} < set(listed)
    assert all(fw["spec"]["hemiec"]["campaigns"] == ["references-mlip-chgnet"] for fw in fireworks)
    assert database["outputs"].count_documents({"metadata.hemiec.shipped": {"$exists": True}}) == 3
    assert "nothing" not in CliRunner().invoke(cli, ["status", "references-mlip-chgnet"]).stdout


def test_what_is_shipped_is_computed_where_it_is_asked_for(run: Run, database: Database) -> None:
    run("compute", "--phase", SRO.phase_id, "--recompute")
    assert database["fireworks"].count_documents({}) == 1 and database["outputs"].count_documents({}) == 0


def test_a_campaign_file_says_which(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump({"name": "one", "space": [{"A": {"Sr": 1}, "B": {"Ti": 1}}]}))
    told = json.loads(run("compute", "--campaign", path, "--dry-run", "--json").stdout)
    assert told["phases"] > 10 and told["shipped"] == 3 and told["added"] == told["phases"] - 3


def test_dft_energies_of_compounds_from_every_magnetic_start(queue: FireWorksQueue) -> None:
    nickel, metal = oxide_phase("Ni", 2), element_phase("Ni")
    request = request_references([nickel, metal, OXYGEN], "mlip-chgnet", confirm="gpaw-standard")
    assert request.name == "references-mlip-chgnet-gpaw-standard"
    of = [(r["phase_id"], r["kind"]) for r in request.jobs.records]
    assert {phase for phase, kind in of if kind == "reference-static"} == {nickel.phase_id, OXYGEN.phase_id}
    assert of.count((nickel.phase_id, "reference-start")) > 1
    before = submit_references(queue, request)
    # The cell of O2 is shipped; its DFT energy is not.
    assert before.shipped == 1 and before.added == len(of) - 1
    again = submit_references(queue, request_references([nickel], "mlip-chgnet", confirm="gpaw-standard"))
    assert again.added == 0
    header = queue.database["campaigns"].find_one({"name": request.name})
    assert header is not None and len(header["references"]) == len(of)


def test_a_protocol_of_ones_own_has_a_name_of_its_own() -> None:
    slower = {"name": "slower", "parent": "mlip-chgnet", "relax": {"fmax_eV_per_A": 0.01}}
    faster = slower | {"relax": {"fmax_eV_per_A": 0.1}}
    assert header_name(load_mlip(slower)).startswith("references-slower-")
    assert header_name(load_mlip(slower)) != header_name(load_mlip(faster))


def test_one_phase(run: Run) -> None:
    shown = run("show", SRO.phase_id).stdout
    assert "-3.0000 eV/atom, shipped, not loaded" in shown and "by chgnet 0.4.2, hemiec 0.0.0" in shown
    assert reference_uuid(SRO, CHGNET) in shown and "Wyckoff" in shown
    for form in ("poscar", "cif"):
        cell = Structure.from_str(run("show", SRO.phase_id, "--structure", form).stdout, fmt=form)
        assert cell.composition.reduced_formula == "SrO"
        assert cell.get_primitive_structure().volume == pytest.approx(SRO.structure().volume, rel=1e-4)
    unrelaxed = run("show", TIO2.phase_id, "--structure", "poscar", "--unrelaxed").stdout
    assert Structure.from_str(unrelaxed, fmt="poscar").composition.reduced_formula == "TiO2"
    assert json.loads(run("show", SRO.phase_id, "--json").stdout)["energy_per_atom"] == -3.0


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no element": (("list", "--elements", "Sr,Xx"), "'Xx' is no element"),
    "lower case": (("list", "--elements", "sr"), "did you mean 'Sr'"),
    "no elements": (("list", "--elements", " , "), "expected symbols"),
    "an element without a phase": (("compute", "--elements", "Rn,O"), "no reference phase for element Rn"),
    "nothing said": (("compute",), "one of --elements, --campaign and --phase"),
    "too much said": (("compute", "--elements", "O", "--phase", "x"), "one of --elements, --campaign and --phase"),
    "unknown phase": (("show", "SrO-rocksal"), "did you mean 'SrO-rocksalt'"),
    "a formula": (("show", "SrO"), "of that formula there are SrO-rocksalt"),
    "nonsense": (("show", "???"), "hemiec references list"),
    "not relaxed": (("show", "TiO2-rutile", "--structure", "cif"), "has not been relaxed with mlip-chgnet"),
    "protocol for gaps": (("compute", "--elements", "O", "--protocol", "gpaw-fast"), "not a machine-learned potential"),
    "confirmed by gaps": (("compute", "--elements", "O", "--confirm", "gpaw-fast"), "gpaw-fast is for gaps"),
    "confirmed by a potential": (("compute", "--elements", "O", "--confirm", "mlip-chgnet"), "has no electrons"),
    "open f shell": (("compute", "--elements", "Pr,O", "--confirm", "gpaw-standard"), "does not treat Pr"),
    "unknown protocol": (("list", "--protocol", "mlip-chgnt"), "did you mean 'mlip-chgnet'"),
    "no such campaign": (("compute", "--campaign", "absent.yaml"), "absent.yaml"),
    "nothing to add": (("add",), "either a file, or --materials-project"),
    "no elements to add": (("add", "--materials-project"), "go together"),
    "no such file": (("add", "absent.json.gz"), "no such file"),
    "nothing to export": (("export", "x.json.gz"), "no reference phase was computed here"),
    "no such folder": (("export", "absent/x.json.gz"), "no such folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused_is_one_clear_error_and_changes_nothing(name: str, run: Run, database: Database) -> None:
    arguments, message = WRONG[name]
    with pytest.raises(HemiecError) as caught:
        run(*arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    for collection in ("campaigns", "outputs", "fireworks"):
        assert database[collection].count_documents({}) == 0


# Sharing


@pytest.fixture
def file(run: Run, database: Database, tmp_path: Path) -> Path:
    """An exported file of what was computed here: TiO2, and not SrO, which came with hemiec."""
    database["outputs"].insert_many([output(TIO2, -8.0), output(SRO, -3.0)])
    mark = {"source": "hemiec 0.1.0", "versions": {}}
    database["outputs"].update_one({"name": "relax SrO"}, {"$set": {"metadata.hemiec.shipped": mark}})
    path = tmp_path / "ours.json.gz"
    assert "1 phases by mlip-chgnet" in run("export", path).stdout
    database["outputs"].delete_many({})
    return path


def test_what_one_group_computed_another_one_adds(run: Run, database: Database, file: Path) -> None:
    assert "1 of 1 energies would be added" in run("add", file, "--dry-run").stdout
    assert database["outputs"].count_documents({}) == 0
    assert "1 of 1 energies added." in run("add", file).stdout
    (stored,) = database["outputs"].find({})
    assert stored["uuid"] == reference_uuid(TIO2, CHGNET) and stored["output"]["energy_per_atom"] == -8.0
    assert stored["metadata"]["hemiec"]["shipped"]["source"].startswith("ours.json.gz (")
    header = database["campaigns"].find_one({}, {"_id": 0})
    assert header is not None and [r["uuid"] for r in header["references"]] == [stored["uuid"]]
    CampaignDoc.model_validate(header)
    assert "added" in run("list", "--elements", "Ti,O").stdout
    assert "0 of 1 energies added; the store has the others" in run("add", file).stdout
    with pytest.raises(InputError, match="exists already"):
        run("export", file)


def _changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = json.loads(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def _result(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["outputs"][0]["output"].update(changes)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another protocol": (lambda c: c.update(protocol_hash="0" * 12), "energies of two protocols never meet"),
    "no outputs": (lambda c: c.pop("outputs"), "expected keys"),
    "outputs of another kind": (lambda c: c.update(outputs={}), "expected a list"),
    "not finite": (_result(energy_per_atom=float("nan"), energy=float("nan")), "finite"),
    "not its energy": (_result(energy_per_atom=-9.0), "is not -9.0 eV/atom"),
    "not converged": (_result(converged=False), "expected a converged relaxation"),
    "by something else": (_result(protocol_hash="x"), "expected a converged relaxation"),
    "another structure": (_result(structure=SRO.structure().as_dict()), "is not TiO2"),
    "no structure": (
        _result(structure={"@module": "pymatgen.core.structure", "@class": "Structure"}),
        "cannot be read",
    ),
    "foreign code": (_result(structure={"@module": "os", "@class": "system"}), "os"),
    "no output": (lambda c: c["outputs"].append(7), "outputs[1]"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_with_one_wrong_entry_adds_nothing(name: str, run: Run, database: Database, file: Path) -> None:
    change, message = BROKEN[name]
    with pytest.raises(InputError) as caught:
        run("add", _changed(file, change))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert database["outputs"].count_documents({}) == database["campaigns"].count_documents({}) == 0


def test_half_a_file_is_refused_and_unknown_phases_are_told(run: Run, database: Database, file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a whole file"):
        run("add", file)
    file.write_bytes(whole)
    shown = run("add", _changed(file, lambda c: c["outputs"][0].update(uuid="another")))
    assert "0 of 0 energies added" in shown.stdout and "relax TiO2" in shown.stderr
    assert database["outputs"].count_documents({}) == 0


def test_phases_of_the_materials_project_are_submitted_and_known_from_then_on(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Structure.from_spacegroup("Pm-3m", [[3.9, 0, 0], [0, 3.9, 0], [0, 0, 3.9]], ["Sr", "Ti", "O"],
                                     [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]])  # fmt: skip
    phase = materials_project.as_phase(cell, "mp-5229", "Materials Project mp-5229")
    found = materials_project.Found([phase], {"mp-2472": SRO.phase_id}, {"mp-1": "SrO9: too large"})
    monkeypatch.setattr(materials_project, "materials_project_phases", lambda elements: found)
    shown = run("add", "--materials-project", "--elements", "Sr,Ti,O")
    assert "has 1 phases that are not tabulated, 1 that are" in shown.stdout and "1 jobs added" in shown.stdout
    assert "mp-1 is left out" in shown.stderr
    (firework,) = database["fireworks"].find({})
    assert firework["spec"]["hemiec"]["phase_id"] == phase.phase_id
    assert phase.phase_id in run("list", "--elements", "Sr,Ti,O").stdout
    assert "Materials Project mp-5229" in run("show", phase.phase_id).stdout
    # Other requests do not forget it.
    run("compute", "--elements", "Ti,O")
    assert "Materials Project mp-5229" in run("show", phase.phase_id).stdout
    assert phase.phase_id not in run("list", "--protocol", "mlip-7net-0", "--csv").stdout
