"""Submission, status and overhead per job, beside bare FireWorks and jobflow-remote on the same MongoDB.

    python benchmarks/bench_launch.py [--candidates 10000] [--jobs 300] [--workers 20]

Everything runs on an embedded MongoDB in a temporary folder.

- Submission: a real campaign of 10,000 candidates with nine jobs each, from the checked campaign to the queue. The
  peers get the flows of a sample, ready made: FireWorks' `add_wf` in a loop and `bulk_add_wfs`, jobflow-remote's
  `JobController.add_flow`; their times are scaled up, and making the flows, which ours includes, is printed by itself.
- Status: counts, core-hours and rate of all jobs of that campaign, beside `lpad get_fws -d less` of a tenth of them.
- Overhead: quick jobs (hemiec's own, which write moments into a structure) one after the other in one process, from the
  first start to the last end: hemiec's worker, `rlaunch rapidfire`, one `rlaunch singleshot` process per job, and
  jobflow-remote's runner with a local worker.
- Workers: many on one LaunchPad; jobs lost or computed twice are counted.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

SUBMIT_TARGET_S, STATUS_TARGET_S, OVERHEAD_TARGET_S = 60.0, 1.0, 0.1
SAMPLE = 200
CAMPAIGN = {
    "name": "bench",
    "space": [
        {
            "A": {"choose": 5, "from": ["La", "Sr", "Ba", "Ca", "Y", "Gd", "Sm", "K", "Bi", "Lu", "Na"]},
            "B": {"choose": 3, "from": ["Ti", "Fe", "Mn", "Co", "Ni", "Cr", "Al", "Ga"]},
        }
    ],
    "charge": {"unbalanced": "drop"},
    "sqs": {"max_atoms": 75},
    "protocols": {"gap": None},
    "hops": {"n": 1},
}


@contextmanager
def open_store(name: str) -> Iterator[Any]:
    """Open hemiec's queue in a database of its own on the embedded MongoDB."""
    from hemiec.launch.open import open_queue
    from hemiec.settings import load_settings
    from hemiec.store.database import open_database

    os.environ["HEMIEC_DATABASE"] = name
    settings = load_settings()
    database = open_database(settings)
    try:
        with open_queue(settings, database) as queue:
            yield queue
    finally:
        database.close()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long something took in s, and what it returned."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def submission(folder: Path, n: int) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Submit a campaign of n candidates, and a sample of its flows with the peers."""
    from jobflow.managers.fireworks import flow_to_workflow

    from hemiec.launch.fireworks.launchpad import open_launchpad
    from hemiec.launch.status import read_status
    from hemiec.launch.submit import submit
    from hemiec.workflows.campaign import load_campaign

    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(CAMPAIGN))
    check_s, everything = timed(lambda: load_campaign(path))
    campaign = replace(everything, candidates=everything.candidates[:n])
    print(f"{len(everything.candidates)} candidates read and checked in {check_s:.1f} s; {n} are submitted", flush=True)
    with open_store("ours") as queue:
        submit_s, result = timed(lambda: submit(queue, campaign))
        again_s, again = timed(lambda: submit(queue, campaign))
        assert again.added == 0
        read_status(queue, "bench", costs=True)
        status_s, status = timed(lambda: read_status(queue, "bench", costs=True))
        assert status.n_jobs == result.added
        lpad_s = _lpad(folder, queue, status.n_jobs // 10)
    scale = n / SAMPLE
    flows_s, flows = timed(lambda: [campaign.flow(c) for c in campaign.candidates[:SAMPLE]])
    with open_store("peers") as queue:
        launchpad = open_launchpad(queue.database)

        def one_by_one() -> None:
            for flow in flows:
                launchpad.add_wf(flow_to_workflow(flow))

        add_wf_s, _ = timed(one_by_one)
        bulk_s, _ = timed(lambda: launchpad.bulk_add_wfs([flow_to_workflow(flow) for flow in flows]))
        launchpad.connection.close()
    remote_s, _ = timed(lambda: _submit_remote(folder, flows[: SAMPLE // 4]))
    figures = {
        "submit_s": submit_s,
        "submit_again_s": again_s,
        "jobs": float(result.added),
        "status_s": status_s,
        "flows_alone_s": flows_s * scale,
    }
    peers = {
        "submit_s": {
            "FireWorks add_wf": add_wf_s * scale,
            "FireWorks bulk_add_wfs": bulk_s * scale,
            "jobflow-remote add_flow": remote_s * 4 * scale,
        },
        "status_s": {"lpad get_fws -d less, a tenth of the jobs": lpad_s},
    }
    return figures, peers


def _launchpad_file(folder: Path, queue: Any) -> Path:
    path = folder / f"launchpad-{queue.database.name}.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump({"host": queue.database.uri, "name": queue.database.name, "uri_mode": True}))
    return path


def _lpad(folder: Path, queue: Any, n: int) -> float:
    """Return how long FireWorks' own listing of n jobs takes."""
    command = ["lpad", "-l", str(_launchpad_file(folder, queue)), "get_fws", "-d", "less", "-m", str(n)]
    seconds, _ = timed(lambda: subprocess.run([_program(command[0]), *command[1:]], check=True, capture_output=True))
    return seconds


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def quick_flows(n: int) -> list[Any]:
    """Return flows of one quick job each."""
    from jobflow import Flow
    from pymatgen.core import Lattice, Structure

    from hemiec.workflows.identity import identify
    from hemiec.workflows.jobs import GivenMomentsMaker

    structure = Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    flows = []
    for k in range(n):
        job = GivenMomentsMaker(moments=[float(k), 0.0]).make(structure)
        identify(job, "given-moments", {"k": k}, metadata={"label": str(k), "tier": None})
        flows.append(Flow([job]))
    return flows


def overhead(folder: Path, n: int) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Run quick jobs in one process, ours and the peers'."""
    per_job: dict[str, float] = {}
    with open_store("one") as queue:
        queue.add_missing(quick_flows(n), "bench")
        with _worker(folder / "one"):
            _await(queue, n)
        per_job["ours"] = _span(queue) / n
    with open_store("rapidfire") as queue:
        queue.add_missing(quick_flows(n), "bench")
        _rlaunch(folder, queue, "rapidfire")
        per_job["rlaunch rapidfire"] = _span(queue) / n
    with open_store("singleshot") as queue:
        queue.add_missing(quick_flows(5), "bench")
        seconds, _ = timed(lambda: [_rlaunch(folder, queue, "singleshot") for _ in range(5)])
        per_job["rlaunch singleshot"] = seconds / 5
    per_job["jobflow-remote, local worker"] = _run_remote(folder, 10) / 10
    ours = per_job.pop("ours")
    return {"overhead_s_per_job": ours}, {"overhead_s_per_job": per_job}


def workers(folder: Path, n_workers: int, n_jobs: int) -> dict[str, float]:
    """Let many workers drain one LaunchPad; count what was lost or done twice."""
    from contextlib import ExitStack

    with open_store("many") as queue:
        queue.add_missing(quick_flows(n_jobs), "bench")
        with ExitStack() as stack:
            for k in range(n_workers):
                stack.enter_context(_worker(folder / f"many-{k}"))
            seconds, _ = timed(lambda: _await(queue, n_jobs))
        launches = queue.database["launches"].count_documents({})
        results = queue.database["outputs"].count_documents({})
    return {"workers": n_workers, "lost": n_jobs - results, "doubled": launches - n_jobs, "workers_s": seconds}


@contextmanager
def _worker(run_dir: Path) -> Iterator[None]:
    run_dir.mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "hemiec.launch.fireworks.worker",
        "--run-dir",
        str(run_dir),
        "--parent",
        str(os.getpid()),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _await(queue: Any, n: int) -> None:
    while queue.database["fireworks"].count_documents({"state": "COMPLETED"}) < n:
        time.sleep(0.2)


def _span(queue: Any) -> float:
    """Return the time from the first start to the last end of all launches, in s."""
    from datetime import datetime

    launches = list(queue.database["launches"].find({}, {"time_start": 1, "time_end": 1}))

    def moment(text: Any) -> datetime:
        return datetime.fromisoformat(text) if isinstance(text, str) else text

    first = min(moment(launch["time_start"]) for launch in launches)
    return (max(moment(launch["time_end"]) for launch in launches) - first).total_seconds()


def _rlaunch(folder: Path, queue: Any, mode: str) -> None:
    """Run FireWorks' own launcher with jobflow's store configured."""
    shared = {"database": queue.database.name, "uri": queue.database.uri}
    store = {
        "docs_store": {"type": "MongoStore", "collection_name": "outputs", **shared},
        "additional_stores": {"data": {"type": "GridFSStore", "collection_name": "data", **shared}},
    }
    config = folder / "jobflow.yaml"
    config.touch(mode=0o600)
    config.write_text(yaml.safe_dump({"JOB_STORE": store}))
    command = [_program("rlaunch"), "-s", "-l", str(_launchpad_file(folder, queue)), mode]
    run_dir = folder / f"rlaunch-{time.time_ns()}"
    run_dir.mkdir()
    environment = os.environ | {"JOBFLOW_CONFIG_FILE": str(config)}
    subprocess.run(command, check=True, cwd=run_dir, env=environment, stdout=subprocess.DEVNULL)


def _remote_project(folder: Path, database: Any) -> Any:
    """Return a jobflow-remote project with one local worker on a database."""
    from jobflow_remote.config.base import LocalWorker, Project

    shared = {"database": database.name, "uri": database.uri}
    here = f'export PATH="{Path(sys.executable).parent}:$PATH"'
    runs = str(folder / "remote-runs")
    return Project(
        name="bench",
        base_dir=str(folder / "remote"),
        workers={"local": LocalWorker(scheduler_type="shell", work_dir=runs, max_jobs=2, pre_run=here)},
        queue={"store": {"type": "MongoStore", "collection_name": "jf_jobs", **shared}},
        runner={
            "delay_checkout": 1, "delay_check_run_status": 1, "delay_advance_status": 1, "delay_update_batch": 1,
        },
        jobstore={
            "docs_store": {"type": "MongoStore", "collection_name": "outputs", **shared},
            "additional_stores": {"data": {"type": "GridFSStore", "collection_name": "data", **shared}},
        },
    )  # fmt: skip


def _submit_remote(folder: Path, flows: list[Any]) -> None:
    from jobflow_remote.jobs.jobcontroller import JobController

    with open_store("remote") as queue:
        controller = JobController.from_project(_remote_project(folder, queue.database))
        try:
            controller.reset()
            for flow in flows:
                controller.add_flow(flow, worker="local", allow_external_references=True)
        finally:
            controller.close()


def _run_remote(folder: Path, n: int) -> float:
    """Return how long jobflow-remote's runner takes for n quick jobs, all its delays set to a second."""
    from jobflow_remote.jobs.jobcontroller import JobController
    from jobflow_remote.jobs.runner import Runner

    (folder / "remote").mkdir(exist_ok=True)
    (folder / "remote-runs").mkdir(exist_ok=True)
    with open_store("remote-run") as queue:
        project = _remote_project(folder, queue.database)
        path = Path(os.environ["JFREMOTE_PROJECTS_FOLDER"])
        path.mkdir(exist_ok=True)
        (path / "bench.json").write_text(project.model_dump_json())
        controller = JobController.from_project(project)
        try:
            controller.reset()
            for flow in quick_flows(n):
                controller.add_flow(flow, worker="local")
            runner = Runner(project_name="bench")
            seconds, _ = timed(lambda: runner.run_all_jobs(max_seconds=600))
            assert controller.count_jobs(query={"state": "COMPLETED"}) == n
            return seconds
        finally:
            controller.close()


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=300, help="quick jobs in one process")
    parser.add_argument("--workers", type=int, default=20)
    options = parser.parse_args()
    from hemiec.settings import load_settings
    from hemiec.store.mongod import EmbeddedMongod

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEMIEC_DATA_DIR"] = str(folder / "data")
        os.environ["HEMIEC_CONFIG_FILE"] = str(folder / "none.yaml")
        os.environ["JFREMOTE_PROJECTS_FOLDER"] = str(folder / "remote-projects")  # read at import
        try:
            figures, peers = submission(folder, options.candidates)
            more, more_peers = overhead(folder, options.jobs)
            figures |= more | workers(folder, options.workers, 20 * options.workers)
            peers |= more_peers
        finally:
            EmbeddedMongod(load_settings()).down()
    targets = {
        "submit_s": SUBMIT_TARGET_S,
        "status_s": STATUS_TARGET_S,
        "overhead_s_per_job": OVERHEAD_TARGET_S,
        "lost": 0,
        "doubled": 0,
    }
    for key, value in figures.items():
        target = f"   target {targets[key]:g}" if key in targets else ""
        print(f"{key:<24}{value:>12.4g}{target}")
        for peer, theirs in peers.get(key, {}).items():
            print(f"    {peer:<44}{theirs:>10.4g}   {theirs / value:>7.1f} x ours")
    short = [key for key, target in targets.items() if figures[key] > target]
    print(json.dumps({"name": "launch", "figures": figures, "peers": peers, "short": short}))


if __name__ == "__main__":
    main()
