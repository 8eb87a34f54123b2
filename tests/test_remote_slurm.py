"""jobflow-remote's runner on a real Slurm: jobs of both kinds, and allocations that are cancelled under them."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from jobflow import Flow
from jobflow_remote.utils.examples import sleep
from slurm import SlurmCluster, slurm
from test_remote import BATCH, PLAIN, Remote, all_done, mongod, named, remote, states, three

pytestmark = [pytest.mark.store, pytest.mark.slurm]
__all__ = ["mongod", "remote", "slurm"]  # fixtures


@pytest.fixture
def scheduler(slurm: SlurmCluster) -> str:
    return "slurm"


def allocation(remote: Remote, step: str) -> str:
    return str(remote.document(step)["remote"]["process_id"])  # type: ignore[index]


def test_three_jobs_run_and_cancelled_allocations_lose_nothing(remote: Remote, slurm: SlurmCluster) -> None:
    long = [named(sleep(6), "plain", resources=PLAIN), named(sleep(7), "batched", resources=BATCH)]
    remote.queue.add_missing([three(), *(Flow([job]) for job in long)], "one")
    with remote.runner():
        remote.until(lambda jobs: jobs["plain"].state == jobs["batched"].state == "running", 90)
        asked = slurm.command("scontrol", "show", "job", allocation(remote, "plain"))
        assert "TimeLimit=00:05:00" in asked and "MinMemoryCPU=1G" in asked and "Partition=debug" in asked
        slurm.command("scancel", allocation(remote, "plain"), allocation(remote, "batched"))
        remote.until(lambda jobs: jobs["plain"].state == jobs["batched"].state == "failed", 90)
        remote.database["jf_jobs"].update_many(
            {"state": "REMOTE_ERROR"}, {"$set": {"updated_on": datetime(2020, 1, 1)}}
        )
        assert set(remote.queue.reconcile()) == {job.uuid for job in long}
        remote.until(all_done, 150, reconcile=True)
    assert remote.outputs() == {"first": 3, "second": 13, "third": 16, "plain": 6, "batched": 7}


def test_cancel_and_pause_take_jobs_out_of_the_scheduler(remote: Remote, slurm: SlurmCluster) -> None:
    remote.queue.add_missing([Flow([named(sleep(60), f"job {k}")]) for k in range(2)], "one")
    slurm.command("scontrol", "update", "partitionname=debug", "state=down")  # jobs wait in Slurm's queue
    try:
        with remote.runner():
            remote.until(lambda jobs: all(remote.document(step)["state"] == "SUBMITTED" for step in jobs), 60)
            jobs = remote.queue.jobs()
            mine = {allocation(remote, job.step) for job in jobs}
            assert mine <= {number for number, state in slurm.states().items() if state == "PENDING"}
            assert remote.queue.pause(jobs[:1]) == remote.queue.cancel(jobs[1:]) == 1
            time.sleep(3)
            assert states({job.step: job for job in remote.queue.jobs()}) == {"job 0": "paused", "job 1": "cancelled"}
            assert not mine & {number for number, state in slurm.states().items() if state == "PENDING"}
    finally:
        slurm.command("scontrol", "update", "partitionname=debug", "state=up")
