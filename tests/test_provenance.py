"""`hemiec show --provenance`: from any number to jobs, inputs, protocols, launches and files, on a real queue."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from fireworks import FWAction, FWorker, LaunchPad
from pydantic import SecretStr
from stored_candidates import candidate_doc, insert_candidates

from hemiec.cli.main import cli
from hemiec.errors import InputError
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.submit import submit
from hemiec.schemas.documents import CandidateDoc, JobRecord, ReferenceDoc
from hemiec.settings import Settings
from hemiec.store.candidates import documents_of, formula_composition
from hemiec.store.database import Database, open_database
from hemiec.store.provenance import trace
from hemiec.store.users import ensure_reader
from hemiec.workflows.campaign import load_campaign

pytestmark = pytest.mark.store

SMALL = {
    "name": "small",
    "space": [{"A": {"Sr": "1/2", "Ba": "1/2"}, "B": {"Ti": 1}}],
    "sqs": {"max_atoms": 10, "quality": "fast"},
    "protocols": {"gap": None},
    "competitors": "none",
    "shipped_references": False,
    "hops": {"n": 1},
}
VERSIONS = {"hemiec": "0.1.0", "chgnet": "0.4.2"}
ALLOCATION = "slurm:4711"


@pytest.fixture
def computed(database: Database, queue: FireWorksQueue, launchpad: LaunchPad, tmp_path: Path) -> CandidateDoc:
    """A candidate whose jobs were really submitted, and ended with outputs that a test writes."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    submit(queue, load_campaign(path))
    store = database.job_store()
    worker = FWorker(name=f"hemiec:{socket.gethostname()}:1:1:{ALLOCATION}")
    while (taken := launchpad.checkout_fw(worker, "")[0]) is not None:
        about = taken.spec["hemiec"]
        folder = tmp_path / "runs" / about["uuid"]
        folder.mkdir(parents=True)
        (folder / "energies.txt").write_text("-1.0\n")
        launch = taken.launches[-1].launch_id
        launchpad.launches.update_one({"launch_id": launch}, {"$set": {"launch_dir": str(folder)}})
        launchpad.complete_launch(launch, FWAction(), "COMPLETED")
        output = {"versions": VERSIONS, "images": [1, 2]} if about["kind"] == "sample" else {"versions": VERSIONS}
        document = {"uuid": about["uuid"], "index": 1, "output": output, "metadata": {"hemiec": about}}
        document |= {"completed_at": "2026-11-22T12:00:00", "name": taken.name, "hosts": []}
        store.update([document], save={"data": ["images"]})
    store.close()
    return _built(database)


def _built(database: Database) -> CandidateDoc:
    """Write the candidate that such jobs make, with made-up numbers."""
    plan = database["plans"].find_one({})
    header = database["campaigns"].find_one({})
    assert plan is not None and header is not None
    (spec,) = load_campaign_of(header).candidates
    jobs = {job["step"]: job["uuid"] for job in plan["jobs"]}
    synthetic = candidate_doc(spec, 1, np.random.default_rng(1))
    result = synthetic.results[0]
    barrier = result.migration_barrier.model_copy(update={"job_uuids": [jobs["transport"], jobs["sample-1"]]})
    phases = [job["uuid"] for job in header["references"]]
    enthalpy = result.formation_enthalpy_from_oxides_per_atom.model_copy(
        update={"job_uuids": [jobs["basin"]], "reference_job_uuids": phases, "calibration": "cal-none"}
    )
    none = result.band_gap.model_copy(update={"value": None, "reason": "not asked for", "job_uuids": []})
    numbers = {
        "band_gap": none,
        "migration_barrier": barrier,
        "formation_energy_per_atom": none.model_copy(update={"unit": "eV/atom"}),
        "formation_enthalpy_from_oxides_per_atom": enthalpy,
    }
    hops = [hop.model_copy(update={"job_uuid": jobs["sample-1"]}) for hop in result.hops]
    records = [
        JobRecord(uuid=uuid, step=step, name=step, state="completed", protocol=None) for step, uuid in jobs.items()
    ]
    result = result.model_copy(update=numbers | {"plan_id": plan["plan_id"], "jobs": records, "hops": hops})
    doc = synthetic.model_copy(update=numbers | {"campaigns": ["small"], "results": [result]})
    for name, documents in documents_of(doc).items():
        if documents:
            database[name].insert_many(documents)
    database["references"].insert_many(
        ReferenceDoc(
            reference_id=f"{job['phase_id']}:{job['protocol_hash']}",
            phase=job["label"],
            **formula_composition(job["phase_id"].split("-")[0]),
            energy_per_atom=-1.0,
            protocol=job["protocol"],
            protocol_hash=job["protocol_hash"],
            job_uuid=job["uuid"],
            last_updated=doc.last_updated,
        ).to_mongo()
        for job in header["references"]
    )
    return doc


def load_campaign_of(header: dict[str, Any]) -> Any:
    from hemiec.composition.space import enumerate_candidates
    from hemiec.schemas.campaign import CampaignSpec
    from hemiec.workflows.campaign import Campaign

    spec = CampaignSpec.model_validate(header["spec"])
    return Campaign(spec, enumerate_candidates(spec, where="test", limit=10))


def test_a_number_leads_to_everything_behind_it(database: Database, computed: CandidateDoc, tmp_path: Path) -> None:
    found = trace(database, computed.candidate_id, "migration_barrier", local_files=True)
    steps = [job.step for job in found.jobs]
    # Every job stands after those it took something from.
    assert set(steps) == {"sqs", "basin", "network", "sample-1", "transport"}
    order = {job.uuid: k for k, job in enumerate(found.jobs)}
    assert all(order[i.job_uuid] < order[job.uuid] for job in found.jobs for i in job.inputs)
    jobs = {job.step: job for job in found.jobs}
    assert jobs["basin"].function == "hemiec.workflows.jobs.BasinMaker.make"
    assert jobs["basin"].settings["protocol"] == "mlip-chgnet" and jobs["basin"].settings["seed"] == 0
    assert [(i.job_uuid, i.attribute) for i in jobs["basin"].inputs] == [(jobs["sqs"].uuid, "ideal_structure")]
    assert jobs["sqs"].arguments["0"]["candidate_id"] == computed.candidate_id
    (launch,) = jobs["sample-1"].launches
    assert (launch.host, launch.scheduler_id, launch.state) == (socket.gethostname(), ALLOCATION, "COMPLETED")
    assert launch.started_at and launch.elapsed_s is not None
    files = {(file.kind, Path(file.place).name): file for file in jobs["sample-1"].files}
    assert files["folder", jobs["sample-1"].uuid].present
    assert files["file", "energies.txt"].bytes == 5
    (blob,) = [file for file in jobs["sample-1"].files if file.kind == "gridfs"]
    stored = database["data.files"].find_one({"metadata.blob_uuid": blob.place})
    assert stored is not None and stored["length"] == blob.bytes
    # The protocol in full, with the hashes that the jobs name.
    (protocol,) = found.protocols
    assert protocol.content is not None and protocol.content["model"]["force_field"] == "CHGNet"
    assert protocol.verified and {job.protocol_hash for job in found.jobs} - {None} == set(protocol.hashes)
    assert found.versions == {"hemiec": ["0.1.0"], "chgnet": ["0.4.2"]}


def test_what_is_missing_is_named(database: Database, computed: CandidateDoc) -> None:
    name = "formation_enthalpy_from_oxides_per_atom"
    found = trace(database, computed.candidate_id, name)
    assert {r.job_uuid for r in found.references} == set(found.numbers[0].reference_job_uuids)
    assert {job.state for job in found.jobs} == {"completed"}
    assert any("calibration cal-none" in text for text in found.missing)
    basin = computed.formation_enthalpy_from_oxides_per_atom.job_uuids[0]
    phase = found.references[0]
    database["outputs"].delete_one({"uuid": basin})
    database["fireworks"].delete_one({"spec.hemiec.uuid": phase.job_uuid})
    database["references"].delete_one({"reference_id": phase.reference_id})
    database["fireworks"].update_many({}, {"$set": {"spec.hemiec.protocol_hash": "0" * 12}})
    found = trace(database, computed.candidate_id, name)
    said = " | ".join(found.missing)
    assert f"job {basin} (basin): it has no output" in said
    assert f"job {phase.job_uuid}: not in the queue" in said
    assert f"job {phase.job_uuid}: the reference phase" in said
    assert "protocol mlip-chgnet: jobs ran with another content" in said
    assert next(p for p in found.protocols if p.name == "mlip-chgnet").verified is False
    folders = [file for job in found.jobs for file in job.files if file.kind == "folder"]
    assert folders and all(file.present is None for file in folders)  # nobody looked


def test_what_was_shipped_says_so(database: Database, computed: CandidateDoc) -> None:
    name = "formation_enthalpy_from_oxides_per_atom"
    uuid = computed.formation_enthalpy_from_oxides_per_atom.reference_job_uuids[0]
    # As submission leaves it: an output with a mark, and no job in the queue.
    mark = {"source": "hemiec 0.1.0", "versions": VERSIONS}
    database["outputs"].update_one({"uuid": uuid}, {"$set": {"metadata.hemiec.shipped": mark}})
    database["fireworks"].delete_one({"spec.hemiec.uuid": uuid})
    found = trace(database, computed.candidate_id, name)
    job = next(job for job in found.jobs if job.uuid == uuid)
    assert (job.shipped_with, job.state, job.versions) == ("hemiec 0.1.0", "completed", VERSIONS)
    assert job.protocol == "mlip-chgnet" and not job.launches
    assert all(other.shipped_with is None for other in found.jobs if other.uuid != uuid)
    assert not any(uuid in text for text in found.missing)
    shown = CliRunner().invoke(cli, ["show", computed.candidate_id, "--provenance"], catch_exceptions=False)
    assert "came with hemiec 0.1.0, computed by chgnet 0.4.2, hemiec 0.1.0" in " ".join(shown.output.split())


def test_any_number(database: Database, computed: CandidateDoc) -> None:
    of_hop = {"sqs", "basin", "network", "sample-1"}
    for number, steps in {
        "volume_per_atom": {"sqs", "basin"},
        "n_atoms": {"sqs"},
        "migration_barrier.value": {*of_hop, "transport"},
        "hops.0": of_hop,
        "hops.1.forward_barrier": of_hop,
        "tolerance_factor": set(),
    }.items():
        found = trace(database, computed.candidate_id, number)
        assert {job.step for job in found.jobs} == steps, number
        assert found.numbers[0].value is not None


def test_what_does_not_exist_is_one_clear_error(database: Database, computed: CandidateDoc) -> None:
    known = computed.candidate_id
    other = known[:-1] + ("0" if known[-1] != "0" else "1")
    with pytest.raises(InputError, match=f"did you mean '{known}'"):
        trace(database, other)
    with pytest.raises(InputError, match=f"did you mean '{known}'"):
        trace(database, known[:8])
    with pytest.raises(InputError, match="did you mean 'volume_per_atom'"):
        trace(database, known, "volum_per_atom")
    with pytest.raises(InputError, match="no hop '99'"):
        trace(database, known, "hops.99")
    with pytest.raises(InputError, match="no 'valu' there; did you mean 'value'"):
        trace(database, known, "migration_barrier.valu")
    names = ("__class__", "results.__class__", "hops.__init__", "hops.-1", "$where", "hops.0.__class__")
    for hostile in (*names, "migration_barrier.__class__", "migration_barrier.model_dump", "tolerance_factor.real"):
        with pytest.raises(InputError):
            trace(database, known, hostile)


def test_the_command_prints_a_tree_and_json(computed: CandidateDoc) -> None:
    runner = CliRunner()
    shown = runner.invoke(cli, ["show", computed.candidate_id, "--provenance"], catch_exceptions=False)
    assert shown.exit_code == 0
    for text in ("migration_barrier", "settings:", "allocation slurm:4711", "protocol mlip-chgnet", "shown above"):
        assert text in shown.output
    arguments = ["show", computed.candidate_id, "--provenance", "--property", "band_gap", "--json"]
    told = json.loads(runner.invoke(cli, arguments, catch_exceptions=False).output)
    assert told["numbers"][0]["reason"] == "not asked for" and told["jobs"] == []
    with pytest.raises(InputError, match="--provenance"):
        runner.invoke(cli, ["show", computed.candidate_id, "--property", "band_gap"], catch_exceptions=False)


def test_a_reader_traces_and_no_secret_is_told(settings: Settings, computed: CandidateDoc, database: Database) -> None:
    database["launches"].update_many({}, {"$set": {"fworker.env": {"PASSWORD": "sekrit-env"}}})
    reading = settings.model_copy(update={"mongo_uri": SecretStr(ensure_reader(settings))})
    reader = open_database(reading, read_only=True)
    try:
        text = trace(reader, computed.candidate_id, local_files=True).model_dump_json()
    finally:
        reader.close()
    credentials = json.loads((settings.data_dir / "mongodb" / "credentials.json").read_text())
    assert "sekrit-env" not in text and credentials["password"] not in text and "mongodb://" not in text


def test_candidates_without_a_queue_are_traced_as_far_as_it_goes(database: Database) -> None:
    ids = insert_candidates(database, 10)
    found = trace(database, ids[0])
    assert {job.state for job in found.jobs} == {"unknown"}
    assert len(found.missing) >= len(found.jobs)
    nothing = trace(database, ids[9])  # nothing of it has been computed
    assert not nothing.jobs and all(number.value is None and number.reason for number in nothing.numbers)
    assert trace(database, ids[9], "volume_per_atom").numbers[0].reason == "there is no result yet"
