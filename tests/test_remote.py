"""The queue on jobflow-remote: a real runner, real processes, a real MongoDB, and `jf` beside it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psutil
import pytest
import yaml
from jobflow import Flow, Job
from jobflow_remote.config.base import Project
from jobflow_remote.utils.examples import add, add_many, add_raise, make_list, sleep

from hemiec.engines.settings import Resources
from hemiec.errors import LaunchError
from hemiec.launch.fireworks.crew import Crew
from hemiec.launch.queue import JobStatus, Tally
from hemiec.launch.remote.config import ProjectValues, check_remote, render_project
from hemiec.launch.remote.enqueue import placement
from hemiec.launch.remote.queue import RemoteQueue
from hemiec.schemas.submitted import CampaignDoc
from hemiec.settings import Settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.workflows.identity import identify

pytestmark = pytest.mark.store

PLAIN = Resources(category="dft", cores=1, memory_gib=1, walltime_min=5)
BATCH = Resources(category="mlip", cores=2, memory_gib=1, walltime_min=5)
JF = Path(sys.executable).parent / "jf"
_names = count()


@dataclass
class Remote:
    """A project of its own on its own database, and the queue on it."""

    settings: Settings
    database: Database
    queue: RemoteQueue
    project: Path
    environment: dict[str, str]

    def jf(self, *arguments: str) -> str:
        done = subprocess.run([JF, *arguments], env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def runner(self) -> Iterator[subprocess.Popen[bytes]]:
        log = (self.project.parent / "runner.log").open("ab")
        process = subprocess.Popen(
            [JF, "-fe", "runner", "run"], env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            log.close()

    def until(
        self, condition: Callable[[dict[str, JobStatus]], bool], seconds: float = 60, *, reconcile: bool = False
    ) -> dict[str, JobStatus]:
        """Return step to job when they meet a condition; meanwhile, lost jobs may be brought back."""
        deadline = time.monotonic() + seconds
        while not condition(jobs := {job.step: job for job in self.queue.jobs()}):
            if reconcile:
                self.queue.reconcile()
            assert time.monotonic() < deadline, f"{jobs}\n{(self.project.parent / 'runner.log').read_text()[-3000:]}"
            time.sleep(0.2)
        return jobs

    def document(self, step: str) -> dict[str, object]:
        found = self.database["jf_jobs"].find_one({"job.metadata.hemiec.step": step})
        assert found is not None
        return found

    def outputs(self) -> dict[str, object]:
        return {d["metadata"]["hemiec"]["step"]: d["output"] for d in self.database["outputs"].find()}


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("remote"))
    EmbeddedMongod(settings).up()
    yield settings
    EmbeddedMongod(settings).down()


@pytest.fixture
def scheduler() -> str:
    return "shell"


@pytest.fixture
def remote(mongod: Settings, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    settings = mongod.model_copy(update={"database": f"remote{next(_names)}", "backend": "jobflow-remote"})
    folder = tmp_path / "projects"
    database = open_database(settings)
    path = render_project(values(database, tmp_path, scheduler), folder)
    content = yaml.safe_load(path.read_text())
    content["runner"] |= dict.fromkeys((k for k in content["runner"] if k.startswith("delay")), 0.3)
    content["runner"]["delta_retry"] = [1]
    content["workers"]["mlip"]["batch"] |= {"sleep_time": 0.3, "max_wait": 5}
    if content["workers"]["mlip"]["resources"]:
        content["workers"]["mlip"]["resources"]["mem"] = "1G"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    for name in ("PROJECT", "CONFIG_FILE"):
        monkeypatch.delenv(f"JFREMOTE_{name}", raising=False)
    monkeypatch.setenv("JFREMOTE_PROJECTS_FOLDER", str(folder))
    monkeypatch.setenv("HEMIEC_TRUSTED_PACKAGES", '["jobflow_remote"]')
    yield Remote(settings, database, RemoteQueue(settings, database), path, dict(os.environ))
    database.close()


def values(database: Database, folder: Path, scheduler: str = "shell") -> ProjectValues:
    return ProjectValues(
        mongo_uri=database.uri,
        database=database.name,
        environment=Path(sys.executable).parent.parent,
        run_folder=folder / "runs",
        scheduler=scheduler,  # type: ignore[arg-type]
        allocations=1,
    )


def named(job: Job, step: str, *, resources: Resources = PLAIN, tolerant: bool = False, **about: str) -> Job:
    """Name a job by its step and parents, as hemiec's own jobs are."""
    inputs = {"step": step, "parents": sorted(job.input_uuids)}
    metadata = {"label": "a cell", "tier": "relax", "candidate_id": "hm-1", **about}
    found = identify(job, "sqs", inputs, step=step, resources=resources, metadata=metadata, despite_failures=tolerant)
    assert isinstance(found, Job)
    return found


def three(resources: Resources = PLAIN) -> Flow:
    first = named(add(1, 2), "first", resources=resources)
    second = named(add(first.output, 10), "second", resources=resources)
    third = named(add_many(first.output, second.output), "third", resources=resources)
    return Flow([first, second, third], name="three")


def states(jobs: dict[str, JobStatus]) -> dict[str, str]:
    return {step: job.state for step, job in jobs.items()}


def all_done(jobs: dict[str, JobStatus]) -> bool:
    return all(job.state == "done" for job in jobs.values())


def test_project_file_is_private_and_its_password_in_no_message(remote: Remote) -> None:
    password = remote.database.uri.split(":")[2].split("@")[0]
    assert stat.S_IMODE(remote.project.stat().st_mode) == 0o600
    assert password in remote.project.read_text()
    assert password not in repr(values(remote.database, Path("/x")))
    whole = remote.project.read_text()
    for wrong, expected in {
        "collection_name: jf_jobs": ("collection_name: elsewhere", "expected 'jf_jobs'"),
        f"database: {remote.database.name}": ("database: other", "expected 'remote"),
        "type: MongoStore": ("type: NoSuchStore", "queue.store"),
        "name: hemiec": ("name: other", "JFREMOTE_PROJECT"),
    }.items():
        remote.project.write_text(whole.replace(wrong, expected[0]))
        settings = remote.settings.model_copy(update={"remote_project": "hemiec"})
        with pytest.raises(LaunchError) as caught:
            RemoteQueue(settings, remote.database)
        assert expected[1] in str(caught.value) and password not in str(caught.value)


def test_doctor_wants_a_private_file_the_same_server_and_a_runner(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"no runner .never seen.*jf -p hemiec runner start"):
        check_remote(remote.settings)
    remote.project.chmod(0o644)
    with pytest.raises(LaunchError, match=r"others may read it.*chmod 600"):
        check_remote(remote.settings)
    remote.project.chmod(0o600)
    content = yaml.safe_load(remote.project.read_text())
    content["runner"]["delay_ping_db"] = 30
    remote.project.write_text(yaml.safe_dump(content, sort_keys=False))
    with remote.runner():
        while not any(d.get("runner_pings") for d in remote.database["jf_auxiliary"].find()):
            time.sleep(0.2)
        assert "workers mlip (shell), gpu (shell), dft (shell)" in check_remote(remote.settings)
    content["queue"]["store"]["uri"] = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
    content["queue"]["store"]["mongoclient_kwargs"] = {}
    remote.project.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(LaunchError, match=r"cannot be reached .ServerSelectionTimeoutError"):
        check_remote(remote.settings)
    other = EmbeddedMongod(Settings(data_dir=tmp_path / "other"))
    content["queue"]["store"]["uri"] = other.up()
    remote.project.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        with pytest.raises(LaunchError, match=r"its MongoDB is not hemiec's"):
            check_remote(remote.settings)
    finally:
        other.down()


def test_jobs_ask_the_scheduler_for_what_their_protocol_says(tmp_path: Path) -> None:
    def project(scheduler: str) -> Project:
        known = ProjectValues(
            "mongodb://u:p@host/",
            "hemiec",
            Path("/env"),
            Path("/run"),
            scheduler=scheduler,
            partition="long",  # type: ignore[arg-type]
        )
        return Project.model_validate(yaml.safe_load(render_project(known, tmp_path / scheduler).read_text()))

    wanted = Resources(category="dft", cores=8, memory_gib=20, walltime_min=90).model_dump()
    name, words = placement(project("slurm"), wanted)
    assert name == "dft" and words is not None
    header = project("slurm").workers["dft"].get_scheduler_io().generate_header(words)
    for line in ("partition=long", "nodes=1", "ntasks-per-node=8", "mem-per-cpu=2560", "time=0-1:30:0"):
        assert f"#SBATCH --{line}" in header
    header = project("pbs").workers["dft"].get_scheduler_io().generate_header(placement(project("pbs"), wanted)[1])
    assert "#PBS -q long" in header and "ncpus=8" in header and "walltime=1:30:0" in header
    assert placement(project("slurm"), {**wanted, "category": "mlip"}) == ("mlip", None)  # its allocations are its own
    assert placement(project("shell"), wanted) == ("dft", None)
    assert placement(project("slurm"), None) == ("mlip", None)


def test_workers_of_fireworks_refuse_its_jobs(remote: Remote) -> None:
    with pytest.raises(LaunchError, match="jf runner start"):
        Crew(remote.settings, remote.queue, campaign=None, workers=1)


def test_category_without_a_worker_is_refused_before_anything_is_written(remote: Remote) -> None:
    content = yaml.safe_load(remote.project.read_text())
    del content["workers"]["gpu"]
    remote.project.write_text(yaml.safe_dump(content, sort_keys=False))
    gpu = Resources(category="gpu", cores=1, memory_gib=1, gpus=1, walltime_min=5)
    queue = RemoteQueue(remote.settings, remote.database)
    with pytest.raises(LaunchError, match=r"no worker 'gpu'.*it has mlip, dft"):
        queue.add_missing([three(), Flow([named(add(1, 1), "gpu", resources=gpu)])], "one")
    assert remote.database["jf_flows"].count_documents({}) == remote.database["jf_jobs"].count_documents({}) == 0


def test_three_jobs_run_to_results_and_are_added_once(remote: Remote) -> None:
    before = datetime.now(UTC)
    assert remote.queue.add_missing([three(BATCH)], "one") == 3
    assert remote.queue.add_missing([three(BATCH)], "one") == 0
    assert states({j.step: j for j in remote.queue.jobs("one")}) == {
        "first": "ready",
        "second": "waiting",
        "third": "waiting",
    }
    with remote.runner():
        jobs = remote.until(all_done)
    assert remote.outputs() == {"first": 3, "second": 13, "third": 16}
    assert [job.step for job in remote.queue.jobs()] == ["first", "second", "third"]
    assert all(job.db_id and job.elapsed_s is not None and job.label == "a cell" for job in jobs.values())
    assert remote.queue.finished_since(before - timedelta(seconds=5), "one") == 3
    assert remote.queue.add_missing([three(BATCH)], "two") == 0
    assert remote.queue.states([jobs["third"].uuid, "no such job"]) == {jobs["third"].uuid: "done"}
    tally = remote.queue.tally("two", costs=True)
    seconds = sum(remote.queue.seconds([job.uuid for job in jobs.values()]).values())
    assert tally == [Tally("relax", "sqs", None, "done", 3, 3 * BATCH.cores, pytest.approx(BATCH.cores * seconds))]
    assert "third" not in {job.step for job in remote.queue.jobs(states={"ready"})}


def test_worker_refuses_foreign_code_and_takes_outputs_of_any_size(remote: Remote) -> None:
    large = named(make_list("x" * 20 * 1024**2, 1), "large")  # MongoDB takes 16 MiB
    length = named(add_many(large.output[0]), "reads it")
    foreign = named(add(1, 1), "foreign")
    remote.queue.add_missing([Flow([large, length]), Flow([foreign])], "one")
    jobs = remote.database["jf_jobs"]
    jobs.update_one(
        {"uuid": foreign.uuid}, {"$set": {"job.function.@module": "os", "job.function.@callable": "getcwd"}}
    )
    with remote.runner():
        found = remote.until(
            lambda jobs: jobs["large"].state == "done" and jobs["foreign"].state == jobs["reads it"].state == "failed"
        )
    assert "may not run here: only jobs of hemiec, atomate2, jobflow, jobflow_remote may" in (
        found["foreign"].message or ""
    )
    assert "'int' and 'str'" in (found["reads it"].message or "")  # it got what it asked for; that cannot be added
    store = remote.database.job_store()
    assert [len(text) for text in store.get_output(large.uuid, load=True)] == [20 * 1024**2]
    store.close()


def test_result_without_a_job_counts_as_done(remote: Remote) -> None:
    first, *_ = three().jobs
    remote.database["outputs"].insert_one({"uuid": first.uuid, "index": 1, "output": 7})
    assert remote.queue.states([first.uuid]) == {first.uuid: "done"}
    assert remote.queue.add_missing([three()], "one") == 2
    assert states({j.step: j for j in remote.queue.jobs()}) == {"second": "ready", "third": "waiting"}


def test_new_jobs_join_the_flows_that_they_wait_for(remote: Remote) -> None:
    """Jobs of two earlier flows are waited for: they become one flow, and plain `jf` still knows all of it."""
    left, right = named(add(1, 1), "left"), named(add(2, 2), "right")
    assert remote.queue.add_missing([Flow([left]), Flow([right])], "one") == 2
    both = named(add_many(left.output, right.output), "both")
    last = named(add(both.output, 100), "last")
    again = [Flow([named(add(1, 1), "left"), named(add(2, 2), "right"), both, last])]
    assert remote.queue.add_missing(again, "two") == 2
    assert remote.database["jf_flows"].count_documents({}) == 1
    assert {job.step for job in remote.queue.jobs("two")} == {"left", "right", "both", "last"}
    assert {job.step for job in remote.queue.jobs("one")} == {"left", "right"}
    with remote.runner():
        remote.until(all_done)
    assert remote.outputs() == {"left": 2, "right": 4, "both": 6, "last": 106}
    assert remote.database["jf_flows"].find_one({}, {"state": 1})["state"] == "COMPLETED"  # type: ignore[index]
    # What is done needs no joining.
    more = named(add(last.output, 1), "more")
    assert remote.queue.add_missing([Flow([more])], "three") == 1
    assert remote.document("more")["state"] == "READY"
    remote.queue.release("one", [left.uuid])
    assert [job.step for job in remote.queue.jobs("one")] == ["right"]


def test_failed_job_says_why_its_children_wait_and_it_runs_again(remote: Remote) -> None:
    bad = named(add_raise(1, 2), "bad")
    child = named(add(bad.output, 1), "child")
    anyway = named(add_many(bad.output), "anyway", tolerant=True)
    assert remote.queue.add_missing([Flow([bad, child, anyway])], "one") == 3
    with remote.runner():
        jobs = remote.until(lambda jobs: jobs["bad"].state == "failed" and jobs["anyway"].state in ("failed", "done"))
        assert jobs["bad"].message == "RuntimeError: An error for a and b"
        assert jobs["child"].state == "waiting" and jobs["child"].blocked
        assert remote.queue.blocked([j.uuid for j in jobs.values()]) == {jobs["child"].uuid}
        # It runs without its parent's result (jobflow passes None, which cannot be added).
        assert "NoneType" in (jobs["anyway"].message or "")
        assert remote.queue.reconcile() == []
        trace = remote.queue.trace(jobs["bad"])
        assert "add_raise" in trace.text and trace.folder is not None
        folder = Path(trace.folder)
        (folder / "restart.txt").write_text("half way")
        failures = remote.queue.failures([j.uuid for j in jobs.values()])
        assert failures[jobs["bad"].uuid] == "RuntimeError: An error for a and b"
        before = remote.queue.seconds([jobs["bad"].uuid])[jobs["bad"].uuid]
        assert remote.queue.rerun(list(jobs.values())) == 2
        remote.until(lambda jobs: jobs["bad"].state == "failed" and jobs["anyway"].state == "failed")
    assert (folder / "restart.txt").read_text() == "half way"
    assert remote.queue.seconds([jobs["bad"].uuid])[jobs["bad"].uuid] > before
    # A job that tolerates failures, added when its parent has failed, does not wait for it.
    late = named(add_many(bad.output, child.output), "late", tolerant=True)
    assert remote.queue.add_missing([Flow([late])], "one") == 1
    assert remote.document("late")["state"] == "READY"


def test_pause_resume_and_cancel(remote: Remote) -> None:
    long = named(sleep(60), "long")
    waiting = named(add(long.output, 1), "waiting")
    held = named(add(5, 5), "held")
    assert remote.queue.add_missing([Flow([long, waiting]), Flow([held])], "one") == 3
    jobs = {job.step: job for job in remote.queue.jobs()}
    assert remote.queue.pause([jobs["held"], jobs["waiting"]]) == 2
    with remote.runner():
        remote.until(lambda jobs: jobs["long"].state == "running")
        assert states({j.step: j for j in remote.queue.jobs()}) == {
            "long": "running",
            "waiting": "paused",
            "held": "paused",
        }
        assert remote.queue.pause([jobs["long"]]) == 0
        process = psutil.Process(int(remote.document("long")["remote"]["process_id"]))  # type: ignore[index]
        assert remote.queue.cancel([jobs["long"]]) == 1
        process.wait(10)
        assert remote.queue.resume([jobs["held"], jobs["waiting"]]) == 2
        jobs = remote.until(lambda jobs: jobs["held"].state == "done")
        assert states(jobs) == {"long": "cancelled", "waiting": "waiting", "held": "done"}
        assert jobs["waiting"].blocked
        assert remote.queue.reconcile() == []
        assert remote.queue.cancel([jobs["waiting"], jobs["held"]]) == 1
        assert remote.queue.resume([jobs["long"], jobs["waiting"]]) == 2
        remote.until(lambda jobs: jobs["long"].state == "running")
        assert remote.queue.cancel(remote.queue.jobs()) == 2


def test_jobs_of_a_spent_budget_are_held_unless_another_campaign_pays(remote: Remote) -> None:
    remote.queue.add_missing([three(), Flow([named(add(8, 8), "shared")])], "poor")
    remote.queue.add_missing([Flow([named(add(8, 8), "shared")])], "rich")
    assert remote.queue.startable("poor", []) == 2
    assert remote.queue.startable("poor", ["poor"]) == 0
    assert remote.queue.startable(None, ["poor"]) == remote.queue.startable("rich", ["poor"]) == 1
    assert sum(tally.n for tally in remote.queue.tally()) == 4
    assert sum(tally.n for tally in remote.queue.tally(spent=["poor"])) == 1
    space = [{"A": {"Sr": 1}, "B": {"Ti": 1}}]
    poor = CampaignDoc(name="poor", spec={"name": "poor", "space": space}, n_candidates=1, references=[], spent=True)
    remote.database["campaigns"].insert_one(poor.to_mongo())
    remote.queue.hold(["poor"])
    now = {job.step: job.state for job in remote.queue.jobs()}
    assert now == {"first": "paused", "second": "paused", "third": "paused", "shared": "ready"}
    remote.queue.add_missing([Flow([named(add(9, 9), "more")])], "poor")
    assert remote.queue.reconcile() == []
    assert {job.state for job in remote.queue.jobs(campaign="poor")} == {"paused", "ready"}
    assert remote.document("more")["state"] == "PAUSED"
    remote.database["campaigns"].update_one({"name": "poor"}, {"$set": {"spent": False}})
    remote.queue.reconcile()
    now = {job.step: job.state for job in remote.queue.jobs()}
    assert now == {"first": "ready", "second": "waiting", "third": "waiting", "shared": "ready", "more": "ready"}


def test_killed_jobs_come_back(remote: Remote) -> None:
    """A process, and an allocation of a batch worker, are killed with -9; both jobs run again to their results."""
    remote.queue.add_missing(
        [Flow([named(sleep(4), "plain")]), Flow([named(sleep(5), "batched", resources=BATCH)])], "one"
    )
    with remote.runner():
        remote.until(lambda jobs: all(job.state == "running" for job in jobs.values()), 90)
        for step in ("plain", "batched"):
            process = int(remote.document(step)["remote"]["process_id"])  # type: ignore[index]
            for victim in (*psutil.Process(process).children(recursive=True), psutil.Process(process)):
                victim.kill()
        jobs = remote.until(lambda jobs: all(job.state == "failed" for job in jobs.values()), 90)
        assert (jobs["plain"].message or "").startswith("killed")
        assert "likely killed" in (jobs["batched"].message or "")
        remote.database["jf_jobs"].update_many({}, {"$set": {"updated_on": datetime(2020, 1, 1)}})
        assert set(remote.queue.reconcile()) == {job.uuid for job in jobs.values()}
        remote.until(all_done, 90)
    assert remote.outputs() == {"plain": 4, "batched": 5}
    assert remote.document("plain")["hemiec"]["returns"] == 1  # type: ignore[index]


def test_lock_of_a_killed_runner_is_freed_and_its_step_done_again(remote: Remote) -> None:
    remote.queue.add_missing([three()], "one")
    jobs, flows = remote.database["jf_jobs"], remote.database["jf_flows"]
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=100)
    # As a runner leaves it that was killed after it stored a result and before it made the children ready.
    remote.database["outputs"].insert_one({"uuid": remote.document("first")["uuid"], "index": 1, "output": 3})
    lock = {"lock_id": "of a dead runner", "lock_time": long_ago}
    jobs.update_one({"job.metadata.hemiec.step": "first"}, {"$set": {"state": "COMPLETED", **lock}})
    flows.update_one({}, {"$set": lock})
    remote.queue.reconcile()
    assert flows.find_one({})["lock_id"] is not None  # type: ignore[index]  # no runner has come since
    with remote.runner():
        while not any(d.get("runner_pings") for d in remote.database["jf_auxiliary"].find()):
            time.sleep(0.2)
        assert remote.document("second")["state"] == "WAITING"
        remote.queue.reconcile()
        remote.until(all_done)
    dead = {"lock_id": "of a dead runner"}
    assert jobs.count_documents(dead) == flows.count_documents(dead) == 0


def test_job_that_a_killed_runner_has_just_submitted_is_not_submitted_again(remote: Remote) -> None:
    remote.queue.add_missing([Flow([named(sleep(60), "long")])], "one")
    with remote.runner():
        remote.until(lambda jobs: jobs["long"].state == "running")
    process = str(remote.document("long")["remote"]["process_id"])  # type: ignore[index]
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=100)
    lock = {"lock_id": "of a dead runner", "lock_time": long_ago}
    before = {"state": "UPLOADED", "remote.process_id": None, **lock}
    remote.database["jf_jobs"].update_one({}, {"$set": before})
    assert remote.queue.reconcile() == []
    document = remote.document("long")
    assert (document["state"], document["lock_id"]) == ("SUBMITTED", None)
    assert document["remote"]["process_id"] == process  # type: ignore[index]
    assert remote.queue.cancel(remote.queue.jobs()) == 1
    psutil.Process(int(process)).wait(10)


def test_half_written_submission_is_mended(remote: Remote) -> None:
    jobs, flows = remote.database["jf_jobs"], remote.database["jf_flows"]
    remote.queue.add_missing([three()], "one")
    jobs.delete_one({"job.metadata.hemiec.step": "third"})  # killed before it was written
    flows.update_one({}, {"$set": {"metadata.hemiec.writing": True}})
    flows.insert_one({"uuid": "empty", "jobs": ["x"], "ids": [["9", "x", 1]], "parents": {"x": {"1": []}},
                      "metadata": {"hemiec": {"writing": True}}})  # fmt: skip
    remote.queue.mend_submission()
    assert flows.count_documents({}) == 1
    assert len(flows.find_one({})["jobs"]) == 2  # type: ignore[index]
    assert remote.queue.add_missing([three()], "one") == 1
    flow = flows.find_one({})
    assert flow is not None and len(flow["jobs"]) == len(flow["ids"]) == len(flow["parents"]) == 3
    assert "hemiec" not in flow["metadata"]
    # A merge of two flows is finished.
    remote.queue.add_missing([Flow([named(add(1, 1), "other")])], "one")
    other = {"jobs": remote.document("other")["uuid"]}
    flows.update_one(other, {"$set": {"metadata.hemiec.into": flow["uuid"], "lock_id": "of a dead submission"}})
    remote.queue.mend_submission()
    (whole,) = flows.find({})
    assert len(whole["jobs"]) == len(whole["ids"]) == len(whole["parents"]) == 4
    assert jobs.count_documents({"job.hosts": flow["uuid"]}) == 4


def test_plain_jf_lists_and_shows_our_jobs(remote: Remote) -> None:
    remote.queue.add_missing([three(), Flow([named(add(8, 8), "other")])], "one")
    remote.queue.add_missing([Flow([named(add(8, 8), "other")])], "two")
    listed = remote.jf("job", "list", "-meta", "hemiec.campaigns=two")
    assert "READY" in listed and "WAITING" not in listed
    (job,) = remote.queue.jobs("two")
    assert job.uuid in remote.jf("job", "info", job.db_id or "").replace(" ", "")
    assert "three" in remote.jf("flow", "list")
    remote.jf("job", "pause", "-did", job.db_id or "")
    assert [job.state for job in remote.queue.jobs("two")] == ["paused"]
