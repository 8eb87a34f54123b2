"""Who can write to the database cannot run programs: attacks through every way in which a document names code.

Also: no password is where others could read it, and the settings of an encrypted connection reach every client.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import large_jobs
import pytest
from fireworks import FWorker
from fireworks.core.rocket_launcher import launch_rocket
from jobflow import SETTINGS, OutputReference
from jobflow.managers.fireworks import flow_to_workflow
from pydantic import SecretStr
from pymatgen.core import Lattice, Structure
from pymongo import MongoClient

from hemiec.engines.gpaw.makers import GpawGapMaker
from hemiec.engines.vasp.makers import VaspGapMaker, VaspRelaxMaker
from hemiec.errors import InputError, StoreError, TrustError
from hemiec.launch.fireworks.trust import TrustedLaunchPad
from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod, find_mongod
from hemiec.store.trust import FIRETASK, Trust
from hemiec.workflows.campaign import load_campaign
from hemiec.workflows.references import ReferenceMaker

FLOWS = Path(__file__).parent.parent / "flows"
PACKAGES = ("large_jobs",)
Document = dict[str, Any]


def firework(function: Document | None = None, *, spec: Document | None = None, **arguments: Any) -> Document:
    """Return a raw Firework of a harmless job, with another function or other arguments."""
    workflow = flow_to_workflow(large_jobs.size_of("A", **arguments), allow_external_references=True)
    document: Document = json.loads(json.dumps(workflow.fws[0].to_db_dict(), default=str))
    if function is not None:
        document["spec"]["_tasks"][0]["job"]["function"] = function
    document["spec"] |= spec or {}
    return document


def callable_of(module: str, name: str, bound: Document | None = None) -> Document:
    return {"@module": module, "@callable": name, "@bound": bound}


PERTURBED = {"@module": "pymatgen.core.structure", "@class": "Structure"}
ATTACKS = {
    "os.system": firework(callable_of("os", "system")),
    "subprocess": firework(callable_of("subprocess", "run")),
    "eval": firework(callable_of("builtins", "eval")),
    "name that begins alike": firework(callable_of("hemiec_evil.jobs", "run")),
    "walk through our module": firework(callable_of("hemiec.store.mongod", "subprocess.run")),
    "walk through a module of jobs": firework(callable_of("hemiec.engines.vasp.execution", "os.system")),
    "walk from a package": firework(callable_of("hemiec", "store.mongod.os.system")),
    "our function that is no job": firework(callable_of("hemiec.engines.vasp.execution", "vasp_command")),
    "atomate2 function that is no job": firework(callable_of("atomate2.vasp.run", "run_vasp")),
    "private attribute": firework(callable_of("large_jobs", "size_of.__globals__.get")),
    "a class instead of a job": firework(callable_of("pymatgen.io.vasp.outputs", "Vasprun")),
    "method of another object": firework(
        callable_of("hemiec.workflows.jobs", "AnnealMaker.from_dict", {**PERTURBED, "sites": []})
    ),
    "job of a package on an object of another": firework(
        callable_of("hemiec.workflows.jobs", "AnnealMaker.make", {"@module": "subprocess", "@class": "Popen"})
    ),
    "object in an argument": firework(small={"@module": "subprocess", "@class": "Popen", "args": ["id"]}),
    "callable in an argument": firework(small=[{"deep": [callable_of("os", "system")]}]),
    "class that a data module imports": firework(small={"@module": "hemiec.engines.vasp.execution", "@class": "Path"}),
    "store of its own": firework(small={"@module": "maggma.stores.mongolike", "@class": "MongoStore"}),
    "task in an argument": firework(small={"_fw_name": "PyTask", "func": "os.system", "args": ["id"]}),
    "private attribute of an output": firework(small=OutputReference("u", (("a", "__class__"),)).as_dict()),
    "a command for VASP": firework(small={"run_vasp_kwargs": {"vasp_cmd": "sh -c id"}}),
    "custodian copies files": firework(small={"settings_override": [{"action": {"_file_copy": {"dest": "/x"}}}]}),
    "calculator by name": firework(small={"calculator_meta": "os.system"}),
    "PyTask": firework(spec={"_tasks": [{"_fw_name": "PyTask", "func": "os.system", "args": ["id"]}]}),
    "ScriptTask": firework(spec={"_tasks": [{"_fw_name": "ScriptTask", "script": "id"}]}),
    "explicit task": firework(spec={"_tasks": [{"_fw_name": "{{os.system}}"}]}),
    "spelled otherwise": firework(spec={"_tasks": [{"_fw_name": FIRETASK.replace("{{", "{{ ")}]}),
    "second task": firework(spec={"_tasks": [*firework()["spec"]["_tasks"], {"_fw_name": "ScriptTask"}]}),
    "no mapping": firework(spec={"_tasks": ["ScriptTask"]}),
    "background": firework(spec={"_background_tasks": [{"_fw_name": "BackgroundTask"}]}),
    "copies files": firework(spec={"_files_in": {"a": ".bashrc"}, "_files_prev": {"a": "/tmp/evil"}}),
    "reads files": firework(spec={"_trackers": [{"filename": "/etc/passwd"}]}),
    "recovers from elsewhere": firework(spec={"_recovery": {"_prev_dir": "/tmp/evil", "_mode": "cp"}}),
    "writes into the scheduler's script": firework(spec={"_queueadapter": {"pre_rocket": "id"}}),
    "runs elsewhere": firework(spec={"_launch_dir": "/home/somebody/.ssh"}),
    "runs elsewhere by dots": firework(spec={"_launch_dir": "/run/dir/../../home"}),
    "runs elsewhere by variables": firework(spec={"_launch_dir": "/run/dir/$HOME"}),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_before_anything_is_made(name: str) -> None:
    trust = Trust(PACKAGES)
    trust.check_firework(firework(), run_dir=Path("/run/dir"))  # the harmless one passes
    with pytest.raises(TrustError, match=r"may not run here|can change") as refusal:
        trust.check_firework(ATTACKS[name], run_dir=Path("/run/dir"))
    assert refusal.value.mend is not None and "trusted_packages" in refusal.value.mend


def test_a_model_that_others_can_change_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.pth"  # loading it runs what is in it
    model.write_text("")
    model.chmod(0o666)
    document = firework(small={"model": {"calculator_kwargs": {"models": [str(model)]}}})
    with pytest.raises(TrustError, match="others than you can change") as refusal:
        Trust(PACKAGES).check_firework(document)
    assert refusal.value.mend is not None and "belong to you" in refusal.value.mend
    model.chmod(0o644)
    Trust(PACKAGES).check_firework(document)


def test_only_named_packages_are_trusted() -> None:
    with pytest.raises(TrustError, match=r"large_jobs\.size_of"):
        Trust().check_firework(firework())


@pytest.mark.parametrize("file", sorted(path.name for path in FLOWS.glob("*.yaml")))
def test_all_shipped_flows_pass(file: str) -> None:
    campaign = load_campaign(FLOWS / file)
    names = campaign.spec.protocols
    flows = [campaign.maker.make(candidate) for candidate in campaign.candidates[:2]]
    flows += [ReferenceMaker(protocol=names.relax, confirm=names.confirm).make(p) for p in campaign.phases[:3]]
    check_flows(flows)


def test_dft_jobs_pass() -> None:
    perovskite = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0.5] * 3, [0] * 3, [0.5, 0, 0]]
    )
    makers = (VaspGapMaker(protocol="vasp-mp"), VaspRelaxMaker(protocol="vasp-mp"), GpawGapMaker(protocol="gpaw-fast"))
    check_flows([maker.make(perovskite) for maker in makers])


def check_flows(flows: list[Any]) -> None:
    for flow in flows:
        for fw in flow_to_workflow(flow, allow_external_references=True).fws:
            Trust().check_firework(fw.to_db_dict())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("trust")
    settings = Settings(data_dir=folder, mongo_uri=None, trusted_packages=list(PACKAGES))
    EmbeddedMongod(settings).up()
    yield settings
    EmbeddedMongod(settings).down()


def open_trusted(database: Database, **options: Any) -> TrustedLaunchPad:
    database["fw_id_assigner"].update_one({}, {"$setOnInsert": {"next_fw_id": 1, "next_launch_id": 1}}, upsert=True)
    connection = {"host": database.uri, "name": database.name, "mongoclient_kwargs": database.client_kwargs}
    return TrustedLaunchPad(Trust(PACKAGES), uri_mode=True, strm_lvl="CRITICAL", **connection, **options)


@pytest.fixture
def launchpad(server: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TrustedLaunchPad]:
    monkeypatch.chdir(tmp_path)
    database = open_database(server.model_copy(update={"database": f"t{os.urandom(4).hex()}"}))
    store = database.job_store()
    monkeypatch.setattr(SETTINGS, "JOB_STORE", store)
    launchpad = open_trusted(database, job_store=store)
    with closing(database), closing(store), closing(launchpad.connection):
        yield launchpad


def work(launchpad: TrustedLaunchPad) -> None:
    while launch_rocket(launchpad, FWorker(), strm_lvl="CRITICAL"):
        pass


@pytest.mark.store
def test_a_worker_refuses_hostile_jobs_and_runs_the_others(launchpad: TrustedLaunchPad, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    good = large_jobs.size_of("AB")
    launchpad.add_wf(flow_to_workflow(large_jobs.size_of("A")))
    launchpad.add_wf(flow_to_workflow(good))
    hostile = callable_of("os", "system")
    task = "spec._tasks.0.job."
    change = {f"{task}function": hostile, f"{task}function_args": [f"touch {proof}"]}
    launchpad.db["fireworks"].update_one({"fw_id": 1}, {"$set": change})
    work(launchpad)
    refused, ran = launchpad.db["fireworks"].find({}).sort("fw_id", 1)
    assert (refused["state"], ran["state"]) == ("FIZZLED", "COMPLETED")
    assert not proof.exists()
    last = refused["spec"]["_exception_details"]["_stacktrace"].strip().splitlines()[-1]
    assert last.startswith("hemiec.errors.TrustError: the job is not made of a job but of os.system, which may not run")
    workflow = launchpad.db["workflows"].find_one({"nodes": 1})
    assert workflow is not None and workflow["fw_states"]["1"] == "FIZZLED"


@pytest.mark.store
def test_hostile_outputs_launches_and_detours_are_refused(launchpad: TrustedLaunchPad, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    popen = {"@module": "subprocess", "@class": "Popen", "args": ["touch", str(proof)]}
    walk = callable_of("os", "system")
    for k, hostile in enumerate((popen, walk, {"deep": [walk]})):
        launchpad.db["outputs"].insert_one({"uuid": f"h{k}", "index": 1, "output": {"energy": hostile}})
        job = large_jobs.size_of(OutputReference(f"h{k}")["energy"])
        launchpad.add_wf(flow_to_workflow(job, allow_external_references=True))
    work(launchpad)
    launches = list(launchpad.db["launches"].find({}))
    assert len(launches) == 3
    for launch in launches:
        trace = launch["action"]["stored_data"]["_exception"]["_stacktrace"]
        assert "hemiec.errors.TrustError: the job names" in trace
    # What a launch is said to have returned: a detour that runs a script, in the document or in GridFS.
    script = {"fw_id": -1, "spec": {"_tasks": [{"_fw_name": "ScriptTask", "script": f"touch {proof}"}]}}
    detour = {"fws": [script], "links": {"-1": []}, "name": "", "metadata": {}, "updated_on": None}
    first = launches[0]
    action = first["action"] | {"detours": [detour]}
    as_file = launchpad.gridfs_fallback.put(json.dumps(action), encoding="utf-8")
    for content in (action, {"gridfs_id": str(as_file)}):
        launchpad.db["launches"].update_one({"launch_id": first["launch_id"]}, {"$set": {"action": content}})
        for read in (
            lambda: launchpad.get_launch_by_id(first["launch_id"]),
            lambda: launchpad.get_fw_by_id(first["fw_id"]),
            lambda: launchpad.get_wf_by_fw_id_lzyfw(first["fw_id"]).id_fw[first["fw_id"]].launches,
        ):
            with pytest.raises(TrustError, match="ScriptTask"):
                read()
    assert not proof.exists()


@pytest.mark.store
def test_jobs_made_at_run_time_are_checked_as_well(launchpad: TrustedLaunchPad) -> None:
    job = large_jobs.hands_on()
    launchpad.add_wf(flow_to_workflow(job))
    launchpad.trust = Trust(("large_jobs",))
    launch_rocket(launchpad, FWorker(), strm_lvl="CRITICAL")
    # Somebody changes the new job before it runs.
    launchpad.db["fireworks"].update_one({"state": "READY"}, {"$set": {"spec._tasks.0._fw_name": "ScriptTask"}})
    work(launchpad)
    assert launchpad.db["fireworks"].distinct("state") == ["COMPLETED", "FIZZLED", "WAITING"]


@pytest.mark.store
def test_no_password_where_others_can_read_it(server: Settings, launchpad: TrustedLaunchPad) -> None:
    launchpad.add_wf(flow_to_workflow(large_jobs.declared()))
    launchpad.add_wf(flow_to_workflow(large_jobs.size_of([])))  # fails, with a traceback
    work(launchpad)
    assert set(launchpad.db["fireworks"].distinct("state")) == {"COMPLETED", "FIZZLED"}
    password = json.loads((server.data_dir / "mongodb" / "credentials.json").read_text())["password"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEMIEC_")}
    environment |= {"HEMIEC_DATA_DIR": str(server.data_dir), "HEMIEC_CONFIG_FILE": str(server.data_dir / "none.yaml")}
    said = ""
    for command in (["--debug", "show", "hm-none"], ["--debug", "db", "status", "--json"], ["--debug", "build"]):
        done = subprocess.run(
            [sys.executable, "-m", "hemiec.cli.main", *command], env=environment, capture_output=True, text=True
        )
        said += done.stdout + done.stderr
    assert "no candidate" in said or "hm-none" in said
    said += subprocess.run(["ps", "axwww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    for name in launchpad.db.list_collection_names():
        said += str(list(launchpad.db[name].find({})))
    assert "large_jobs" in said and password not in said
    with closing(open_database(server)) as database:
        assert password not in repr(database) + str(database) + repr(server)
        assert password not in repr(launchpad) + str(launchpad) + repr(SETTINGS.JOB_STORE) + SETTINGS.JOB_STORE.name
    for path in server.data_dir.rglob("*"):
        if path.is_file() and password.encode() in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    # A URI with a wrong password is not repeated either.
    wrong = SecretStr(f"mongodb://hemiec:{password}x@127.0.0.1:1/?serverSelectionTimeoutMS=100")
    with pytest.raises(StoreError) as error:
        open_database(Settings(data_dir=server.data_dir, mongo_uri=wrong), timeout_ms=200)
    assert password not in str(error.value)


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[str]:
    """A mongod that answers by TLS only, with certificates of our own and a user of SCRAM-SHA-1 in another database."""
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=ca"
        " -addext basicConstraints=critical,CA:TRUE"
        " && openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost"
        " && printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > san"
        " && openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile san -out server.crt"
        " && cat server.key server.crt > server.pem",
        shell=True, cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (tmp_path / "db").mkdir()
    program = find_mongod(Settings(data_dir=tmp_path, mongo_uri=None))
    options = ["--dbpath", str(tmp_path / "db"), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    options += ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(tmp_path / "server.pem"), "--auth"]
    options += ["--tlsAllowConnectionsWithoutCertificates", "--tlsCAFile", str(tmp_path / "ca.pem")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
    security = f"tls=true&tlsCAFile={tmp_path / 'ca.pem'}"
    try:
        with MongoClient(f"mongodb://localhost:{port}/?{security}", serverSelectionTimeoutMS=20_000) as client:
            client.admin.command("createUser", "root", pwd="r", roles=["root"])
        with MongoClient(f"mongodb://root:r@localhost:{port}/?{security}") as client:
            roles = [{"role": "readWrite", "db": "group"}]
            client["users"].command("createUser", "u", pwd="p@ss/word", roles=roles, mechanisms=["SCRAM-SHA-1"])
        yield f"mongodb://u:p%40ss%2Fword@localhost:{port}/?{security}&authSource=users&authMechanism=SCRAM-SHA-1"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.store
def test_tls_and_scram_reach_launchpad_store_and_builder(
    encrypted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=tmp_path, mongo_uri=SecretStr(encrypted), database="group")
    database = open_database(settings)
    store = database.job_store()
    monkeypatch.setattr(SETTINGS, "JOB_STORE", store)
    launchpad = open_trusted(database)
    with closing(database), closing(store), closing(launchpad.connection):
        job = large_jobs.declared()
        launchpad.add_wf(flow_to_workflow(job))
        work(launchpad)
        assert len(store.get_output(job.uuid, load=True)["path"]) == 1000
    environment = os.environ | {"HEMIEC_MONGO_URI": encrypted, "HEMIEC_DATABASE": "group"}
    environment |= {"HEMIEC_DATA_DIR": str(tmp_path), "HEMIEC_CONFIG_FILE": str(tmp_path / "none.yaml")}
    built = subprocess.run(
        [sys.executable, "-m", "hemiec.cli.main", "build"], env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    authority = f"tlsCAFile={tmp_path / 'ca.pem'}&"
    for less in (authority, f"tls=true&{authority}"):  # a certificate of an unknown authority; no encryption
        plain = settings.model_copy(update={"mongo_uri": SecretStr(encrypted.replace(less, ""))})
        with pytest.raises(StoreError, match=r"cannot be reached|not a valid"):
            open_database(plain, timeout_ms=500)


URIS = [
    "mongodb://user:s3cr/et@127.0.0.1:1/",
    "mongodb://user:s3cr:et@127.0.0.1:1",
    "mongodb://user:s3cr%et@127.0.0.1:1/",
    "mongodb://user:s3cr@et@127.0.0.1:1/",
    "user:s3cr-et@127.0.0.1",
    "mongodb://user:s3cr-et@127.0.0.1:1/?tls=true&tlsCAFile=/no/such/file",
]


@pytest.mark.parametrize("uri", URIS)
def test_a_wrong_uri_is_not_repeated(uri: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, mongo_uri=SecretStr(uri))
    with pytest.raises((StoreError, OSError)) as error:
        open_database(settings, timeout_ms=100)
    shown = "".join(traceback.format_exception(error.value))  # what --debug prints
    assert "s3cr" not in shown and "et@" not in shown


@pytest.mark.parametrize(
    "text", ["mongo_uri: mongodb://u:s3cret@h/: x", "mongo_uri: 'mongodb://u:s3cret@h/", "a: [s3cret"]
)
def test_a_settings_file_is_not_repeated(text: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data_dir / "settings.yaml"
    path.write_text(text)
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(path))
    with pytest.raises(InputError, match=r"settings\.yaml, line 1|settings\.yaml, line 2") as error:
        load_settings()
    assert "s3cret" not in "".join(traceback.format_exception(error.value))


def test_a_settings_file_with_a_password_is_private(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data_dir / "settings.yaml"
    path.write_text("mongo_uri: mongodb://u:p@h/\n")
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(path))
    path.chmod(0o604)
    with pytest.raises(InputError, match=r"everybody on this machine can read it.*chmod 600"):
        load_settings()
    path.chmod(0o600)
    assert load_settings().mongo_uri is not None
