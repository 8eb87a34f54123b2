"""How many allocations are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fireworks import FWAction, FWorker
from launching import database, server, settings
from quick_jobs import add, fill_disk, marks, resume

from hemiec.errors import InputError
from hemiec.launch.cluster.needs import ENDING_SECONDS, Needs
from hemiec.launch.cluster.scheduler import Pbs, Scheduler, Slurm
from hemiec.launch.fireworks.crew import time_to_stop
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.store.database import Database

__all__ = ["database", "server", "settings"]  # fixtures
pytestmark = pytest.mark.store


@pytest.fixture
def queue(database: Database) -> Iterator[FireWorksQueue]:
    queue = FireWorksQueue(database)
    yield queue
    queue.close()


def qadapter(folder: Path, category: str, *, walltime_s: float, workers: int) -> None:
    content = {
        "_fw_name": "CommonAdapter",
        "_fw_q_type": "SLURM",
        "walltime": f"00:00:{walltime_s:.0f}",
        "rocket_launch": f"hemiec work --category {category} --workers {workers}",
    }
    (folder / f"my_qadapter_{category}.yaml").write_text(yaml.safe_dump(content))


def needs(queue: FireWorksQueue, folder: Path, *, per_allocation: int | None = None, said: list[str]) -> Needs:
    scheduler: Scheduler = Slurm()
    return Needs(queue, scheduler, folder, max_allocations=5, per_allocation=per_allocation, report=said.append)


def test_they_follow_declared_and_then_measured_times(queue: FireWorksQueue, tmp_path: Path) -> None:
    qadapter(tmp_path, "mlip", walltime_s=ENDING_SECONDS + 1200, workers=2)
    said: list[str] = []
    assert needs(queue, tmp_path, said=said).read(None) == {}
    add(queue.launchpad, marks(80, tmp_path), walltime_min=2)
    (need,) = needs(queue, tmp_path, said=said).read(None).values()
    # 80 jobs of 2 min: 9600 s on two workers for 1200 s.
    assert (need.category, need.ready, need.running, need.allocations) == ("mlip", 80, 0, 4)
    assert needs(queue, tmp_path, per_allocation=30, said=said).read(None)["mlip"].allocations == 3
    assert needs(queue, tmp_path, per_allocation=1, said=said).read(None)["mlip"].allocations == 5  # the most allowed
    assert needs(queue, tmp_path, said=said).read("another") == {}
    _, launch_id = queue.launchpad.checkout_fw(FWorker(), str(tmp_path))
    queue.launchpad.complete_launch(launch_id, FWAction())
    _, _ = queue.launchpad.checkout_fw(FWorker(), str(tmp_path))
    (need,) = needs(queue, tmp_path, said=said).read("quick").values()
    assert (need.ready, need.running, need.allocations) == (78, 1, 1) and need.seconds < 5
    assert not said


def test_jobs_that_no_allocation_takes_are_named(queue: FireWorksQueue, tmp_path: Path) -> None:
    qadapter(tmp_path, "mlip", walltime_s=600, workers=1)
    add(queue.launchpad, marks(2, tmp_path), walltime_min=1)
    add(queue.launchpad, [resume("long", str(tmp_path), 1)], walltime_min=60)
    add(queue.launchpad, [fill_disk("gpu", str(tmp_path))], category="gpu")
    said: list[str] = []
    reading = needs(queue, tmp_path, said=said)
    found = reading.read(None)
    assert (found["mlip"].ready, found["mlip"].stuck, found["mlip"].allocations) == (2, 1, 1)
    assert (found["gpu"].ready, found["gpu"].stuck, found["gpu"].allocations) == (0, 1, 0)
    assert len(said) == 2
    assert any("resume jobs need 60 min" in line and "they never start" in line for line in said)
    assert any("no " in line and "my_qadapter_gpu.yaml" in line for line in said)
    reading.read(None)
    assert len(said) == 2  # said once


def test_a_qadapter_of_another_scheduler_is_refused(queue: FireWorksQueue, tmp_path: Path) -> None:
    qadapter(tmp_path, "mlip", walltime_s=600, workers=1)
    add(queue.launchpad, marks(1, tmp_path))
    other = Needs(queue, Pbs(), tmp_path, max_allocations=1, per_allocation=None, report=print)
    with pytest.raises(InputError, match="is for SLURM, but the scheduler here is PBS"):
        other.read(None)


def test_the_end_is_that_of_the_allocation_or_of_the_walltime(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert time_to_stop(now, None) is None
    assert time_to_stop(now, 3600) == pytest.approx(now + 3540)
    assert time_to_stop(now, 100) == pytest.approx(now + 90)  # of a very short one, a tenth is kept free
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(now) + 1800))
    assert time_to_stop(now, 3600) == pytest.approx(now + 1740, abs=1)
