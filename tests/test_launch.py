"""Submission, workers and repair: real FireWorks, real MongoDB, a real potential on a ten-atom cell."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import yaml
from fireworks import LaunchPad
from pymatgen.core import Structure

from hemiec.errors import InputError, LaunchError
from hemiec.launch.fireworks.crew import Crew
from hemiec.launch.fireworks.names import is_alive, worker_name
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.status import read_status
from hemiec.launch.submit import plan_submission, submit
from hemiec.schemas.documents import CandidateDoc
from hemiec.settings import Settings
from hemiec.store.building.builder import build
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.workflows.campaign import Campaign, load_campaign

pytestmark = [pytest.mark.store, pytest.mark.mlip]

SMALL = {
    "name": "small",
    "space": [{"A": {"Sr": "1/2", "Ba": "1/2"}, "B": {"Ti": 1}}],
    "sqs": {"max_atoms": 10, "quality": "fast"},
    "protocols": {"gap": None},
    # Reference phases are jobs like others here; what is shipped is tested in test_reference_jobs.py.
    "competitors": "none",
    "shipped_references": False,
    "hops": {"n": 1},
}


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


@pytest.fixture
def small(small_file: Path) -> Campaign:
    return load_campaign(small_file)


def _hemiec(settings: Settings, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hemiec.cli.main", *arguments],
        env=os.environ | {"HEMIEC_DATA_DIR": str(settings.data_dir), "COLUMNS": "120"},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str], timeout: float = 300) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def test_submitting_again_or_from_many_shells_adds_nothing_twice(
    database: Database, queue: FireWorksQueue, small: Campaign
) -> None:
    n_jobs = len(small.job_uuids)
    assert plan_submission(queue, small).added == n_jobs
    assert database["fireworks"].count_documents({}) == 0
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: submit(queue, small), range(4)))
    assert sorted(r.added for r in results) == [0, 0, 0, n_jobs]
    assert database["fireworks"].count_documents({}) == n_jobs
    assert len(database["fireworks"].distinct("spec.hemiec.uuid")) == n_jobs


def test_overlapping_campaign_adds_only_what_is_missing(
    database: Database, queue: FireWorksQueue, small: Campaign, small_file: Path
) -> None:
    submit(queue, small)
    more = SMALL | {"name": "more", "hops": {"n": 2}}
    small_file.write_text(yaml.safe_dump(more))
    larger = load_campaign(small_file)
    added = submit(queue, larger).added
    shared = set(larger.job_uuids) & set(small.job_uuids)
    assert {"sqs", "basin"} <= {
        fw["spec"]["hemiec"]["kind"] for fw in database["fireworks"].find({"spec.hemiec.uuid": {"$in": list(shared)}})
    }
    assert added == len(larger.job_uuids) - len(shared)
    assert len(database["fireworks"].distinct("spec.hemiec.uuid")) == database["fireworks"].count_documents({})
    # The new jobs wait for the relaxation of the first submission: they are in the same workflow.
    basin = next(j for j in database["fireworks"].find({"spec.hemiec.kind": "basin"}))
    workflow = database["workflows"].find_one({"nodes": basin["fw_id"]})
    samples = [fw["fw_id"] for fw in database["fireworks"].find({"spec.hemiec.kind": "sample"})]
    assert len(samples) == 2 and set(samples) <= set(workflow["nodes"])
    # Each waits for its own parents and for nothing else.
    fw_ids = {fw["spec"]["hemiec"]["uuid"]: fw["fw_id"] for fw in database["fireworks"].find()}
    for flow in larger.candidate_flows:
        for job, parents in flow.iterflow():
            waits_for = workflow["parent_links"].get(str(fw_ids[job.uuid]), [])
            assert sorted(waits_for) == sorted(fw_ids[parent] for parent in parents)


def test_half_written_submissions_are_cleaned_up(database: Database, queue: FireWorksQueue, small: Campaign) -> None:
    submit(queue, small)
    n_jobs = len(small.job_uuids)
    victims = [wf["nodes"] for wf in database["workflows"].find()]
    database["workflows"].delete_one({"nodes": victims[0][0]})  # killed before the workflow was written
    database["fireworks"].delete_one({"fw_id": victims[1][-1]})  # killed before all Fireworks were written
    database["locks"].insert_one({"_id": "submit", "owner": "hemiec:gone:1:1", "expires": datetime(2020, 1, 1)})
    submit(queue, small)
    assert len(database["fireworks"].distinct("spec.hemiec.uuid")) == n_jobs
    nodes = {node for wf in database["workflows"].find() for node in wf["nodes"]}
    assert nodes == set(database["fireworks"].distinct("fw_id"))


def test_a_dead_submitters_lock_does_not_block(database: Database, queue: FireWorksQueue, small: Campaign) -> None:
    dead = worker_name().replace(f":{os.getpid()}:", ":999999:")
    database["locks"].insert_one({"_id": "submit", "owner": dead, "expires": datetime.now(UTC) + timedelta(hours=1)})
    started = time.monotonic()
    assert submit(queue, small).added
    assert time.monotonic() - started < 30


def test_worker_names_tell_the_living_from_the_dead() -> None:
    assert is_alive(worker_name()) is True
    host, pid, created = worker_name().split(":")[1:]
    assert is_alive(f"hemiec:{host}:{pid}:{int(created) - 1000}") is False  # the pid was reused
    assert is_alive(f"hemiec:elsewhere:{pid}:{created}") is None
    assert is_alive("Automatically generated Worker") is None


def test_lost_jobs_and_stale_locks_are_brought_back(
    database: Database, queue: FireWorksQueue, launchpad: LaunchPad, small: Campaign
) -> None:
    from fireworks import FWorker

    submit(queue, small)
    dead = worker_name().replace(f":{os.getpid()}:", ":999999:")
    firework, _ = launchpad.checkout_fw(FWorker(name=dead), "/nowhere")
    database["workflows"].update_one(
        {"nodes": firework.fw_id}, {"$set": {"locked": True, "updated_on": "2020-01-01T00:00:00"}}
    )
    mine, _ = launchpad.checkout_fw(FWorker(name=worker_name()), "/nowhere")
    elsewhere, _ = launchpad.checkout_fw(FWorker(name="hemiec:elsewhere:1:1"), "/nowhere")
    assert queue.reconcile() == [firework.spec["hemiec"]["uuid"]]
    states = {fw["fw_id"]: fw["state"] for fw in database["fireworks"].find()}
    assert states[firework.fw_id] == "READY"
    assert states[mine.fw_id] == states[elsewhere.fw_id] == "RUNNING"
    assert database["workflows"].count_documents({"locked": True}) == 0


def test_jobs_that_a_failure_blocks_do_not_keep_a_campaign_open(
    database: Database, queue: FireWorksQueue, launchpad: LaunchPad, small: Campaign
) -> None:
    from fireworks import FWorker

    submit(queue, small)
    status = read_status(queue, "small")
    assert not status.settled and not any(job.blocked for job in status.jobs)
    sqs, launch_id = launchpad.checkout_fw(FWorker(query={"spec.hemiec.kind": "sqs"}), "/nowhere")
    launchpad.mark_fizzled(launch_id)
    jobs = {job.step: job for job in read_status(queue, "small").jobs}
    assert {step for step, job in jobs.items() if job.blocked} == {
        "basin", "network", "sample-1", "transport",
    }  # fmt: skip
    assert not read_status(queue, "small").settled  # the reference phases can still run
    database["fireworks"].update_many({"spec.hemiec.kind": "reference"}, {"$set": {"state": "COMPLETED"}})
    assert read_status(queue, "small").settled
    launchpad.rerun_fw(sqs.fw_id)
    assert not read_status(queue, "small").settled


def test_status_of_an_unknown_campaign_names_the_known_one(
    database: Database, queue: FireWorksQueue, small: Campaign
) -> None:
    submit(queue, small)
    with pytest.raises(InputError, match="did you mean 'small'"):
        read_status(queue, "smal")


def test_a_disk_that_fills_up_stops_the_workers_before_jobs_fail(
    settings: Settings, database: Database, queue: FireWorksQueue, small: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(queue, small)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    crew = Crew(settings, queue, campaign="small", workers=1)
    with pytest.raises(LaunchError, match="MiB free"):
        crew.run(lambda status: None)
    assert not _workers(settings)
    assert set(read_status(queue, "small").counts) == {"ready", "waiting"}


def test_workers_that_die_at_once_are_an_error_not_a_loop(
    settings: Settings, database: Database, queue: FireWorksQueue, small: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(queue, small)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LaunchError, match="stop as soon as they start"):
        Crew(settings, queue, campaign="small", workers=2).run(lambda status: None)


@pytest.mark.slow
def test_run_survives_kills_of_everything_and_ends_with_every_number(
    settings: Settings, small_file: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """kill -9 of `hemiec run`, of a worker and of mongod at random moments; then the same command again."""
    generator = random.Random(1)
    for victim in ("run", "worker", "mongod", "run"):
        process = _hemiec(settings, "run", str(small_file), cwd=tmp_path)
        time.sleep(generator.uniform(8, 16))
        if process.poll() is not None:
            _finish(process)
            break
        if victim == "run":
            process.kill()
            process.communicate()
            # A worker that was just starting notices as soon as it has started.
            deadline = time.monotonic() + 30
            while _workers(settings) and time.monotonic() < deadline:
                time.sleep(0.5)
            assert not _workers(settings), "workers outlived the command that watches them"
        else:
            pids = _workers(settings) if victim == "worker" else [EmbeddedMongod(settings).status().pid]
            for pid in pids[:1]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(generator.uniform(1, 4))
            process.kill()
            process.communicate()
    code, out, err = _finish(_hemiec(settings, "run", str(small_file), cwd=tmp_path))
    assert code == 0, err
    assert "(Ba,Sr)TiO3" in out

    queue: FireWorksQueue = request.getfixturevalue("queue")
    database = queue.database
    status = read_status(queue, "small")
    assert set(status.counts) == {"done"}
    uuids = [job.uuid for job in status.jobs]
    assert len(uuids) == len(set(uuids)) == database["outputs"].count_documents({})
    (doc,) = read_candidates(database)
    assert doc.band_gap.reason == "the campaign does not ask for it"
    assert -3.8 < doc.formation_energy_per_atom.value < -3.0
    assert 0.2 < doc.migration_barrier.value < 1.2
    _assert_recomputable(database, doc)
    # Trajectories of relaxations are large objects.
    relax = database["outputs"].find_one({"metadata.hemiec.kind": "reference"})
    assert relax is not None and "blob_uuid" in relax["output"]["trajectory"]
    store = database.job_store()
    output = store.get_output(relax["uuid"], load=True)
    store.close()
    assert len(output["trajectory"]["energy"]) == output["n_force_calls"] > 1

    # Again: nothing is computed, nothing is built, and it is quick.
    launches = database["launches"].count_documents({})
    started = time.monotonic()
    code, _, err = _finish(_hemiec(settings, "run", str(small_file), cwd=tmp_path))
    assert code == 0 and "0 jobs added" in err
    assert time.monotonic() - started < 30
    assert database["launches"].count_documents({}) == launches
    assert build(database, failures=queue.failures) == 0


def _assert_recomputable(database: Database, doc: CandidateDoc) -> None:
    """The leaderboard's numbers follow from the stored raw outputs and the jobs they name."""
    raw = {o["uuid"]: o["output"] for o in database["outputs"].find()}
    transport, *samples = doc.migration_barrier.job_uuids
    found = [hop for uuid in samples for hop in raw[uuid]["hops"]]
    assert len(found) == doc.migration_barrier.n == raw[transport]["n_computed"] > 0
    assert doc.migration_barrier.uncorrected is None
    assert doc.migration_barrier.value == raw[transport]["effective_barrier"]["value"]
    network = raw[transport]["network"]
    for hop in found:
        difference = hop["final_energy"] - hop["initial_energy"]
        assert hop["forward_barrier"] - hop["reverse_barrier"] == pytest.approx(difference, abs=1e-6)
        assert max(hop["energies"]) == pytest.approx(hop["forward_barrier"])
        saddle = raw[transport]["saddle_energies"][hop["hop"]]
        start = raw[transport]["site_energies"][network["start"][hop["hop"]]]
        assert saddle - start == pytest.approx(hop["forward_barrier"], abs=0.01)  # energies are known to some meV
    (basin,) = doc.formation_enthalpy_from_oxides_per_atom.job_uuids
    assert raw[basin]["energy_per_atom"] == min(raw[basin]["energies_per_atom"].values())
    energies = {
        Structure.from_dict(raw[u]["structure"]).reduced_formula: raw[u]["energy_per_atom"]
        for u in doc.formation_enthalpy_from_oxides_per_atom.reference_job_uuids
    }
    expected = (
        raw[basin]["energy_per_atom"]
        - (0.5 * 2 * energies["BaO"] + 0.5 * 2 * energies["SrO"] + 3 * energies["TiO2"]) / 5
    )
    enthalpy = doc.formation_enthalpy_from_oxides_per_atom
    assert enthalpy.uncorrected == pytest.approx(expected, abs=1e-6) and enthalpy.calibration
    assert enthalpy.interval[0] < enthalpy.value < enthalpy.interval[1]


def _workers(settings: Settings) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "hemiec.launch.fireworks.worker" in line and str(settings.run_dir) in line:
            found.append(process.info["pid"])
    return found
