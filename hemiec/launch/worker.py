"""A worker: one process that runs one Firework after another until it is stopped.

Started as ``python -m hemiec.launch.worker``; models are loaded once and serve all its jobs.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import threading
import time
import warnings
from pathlib import Path

import psutil

POLL_SECONDS = 1.0
#: Threads per worker: one core each, as many workers as cores.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def worker_name() -> str:
    """Return a name that tells this process from every other, also from a later one with its pid."""
    process = psutil.Process()
    return f"hemiec:{socket.gethostname()}:{process.pid}:{int(process.create_time() * 100)}"


def is_alive(name: str) -> bool | None:
    """Return whether the worker of that name runs; None if it is not on this machine."""
    try:
        prefix, host, pid, created = name.split(":")
    except ValueError:
        return None
    if prefix != "hemiec" or host != socket.gethostname():
        return None
    try:
        process = psutil.Process(int(pid))
        same = abs(int(process.create_time() * 100) - int(created)) <= 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def work(*, run_dir: Path, campaign: str | None, parent_pid: int | None) -> None:
    """Run ready Fireworks in this process until it is told to stop.

    Parameters
    ----------
    run_dir
        Each job runs in a folder of its own in here; folders of finished jobs are kept.
    campaign
        Run only jobs of this campaign.
    parent_pid
        Stop when this process is gone.
    """
    if parent_pid is not None:
        _die_with(parent_pid)
    _quiet()
    import torch

    torch.set_num_threads(1)
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import launch_rocket
    from jobflow import SETTINGS

    from hemiec.launch.launchpad import open_launchpad
    from hemiec.launch.status import campaign_uuids
    from hemiec.settings import load_settings
    from hemiec.store.database import WORKER_TIMEOUT_MS, open_database

    database = open_database(load_settings(), timeout_ms=WORKER_TIMEOUT_MS, start=parent_pid is None)
    SETTINGS.JOB_STORE = database.job_store()
    launchpad = open_launchpad(database)

    def fworker() -> FWorker:
        query = {} if campaign is None else {"spec.hemiec.uuid": {"$in": campaign_uuids(database, campaign)}}
        return FWorker(name=worker_name(), query=query)

    worker = fworker()
    done = 0
    while True:
        if not launchpad.run_exists(worker):
            time.sleep(POLL_SECONDS)
            worker = fworker()  # a ladder adds jobs to its campaign as it climbs
            continue
        folder = _new_folder(run_dir, done)
        os.chdir(folder)
        ran = launch_rocket(launchpad, worker, strm_lvl="CRITICAL")
        os.chdir(run_dir)
        done += bool(ran)
        if folder.exists() and not any(folder.iterdir()):  # another worker was faster, or the job has a folder already
            folder.rmdir()


def _new_folder(run_dir: Path, n: int) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = run_dir / f"{stamp}-{os.getpid()}-{n}"
    folder.mkdir(parents=True)
    return folder


def _die_with(parent_pid: int) -> None:
    """End this process when its parent is gone, even if that was killed: no worker runs unwatched."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _quiet() -> None:
    """Keep libraries' chatter out of the log; errors still come through."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def main(arguments: list[str] | None = None) -> int:
    """Run a worker from the command line."""
    parser = argparse.ArgumentParser(prog="python -m hemiec.launch.worker", description=main.__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="folder for the jobs' own folders")
    parser.add_argument("--parent", type=int, help="stop when this process is gone")
    parser.add_argument("--campaign", help="run only jobs of this campaign")
    options = parser.parse_args(arguments)
    work(run_dir=options.run_dir.absolute(), campaign=options.campaign, parent_pid=options.parent)
    return 0


if __name__ == "__main__":
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    sys.exit(main())
