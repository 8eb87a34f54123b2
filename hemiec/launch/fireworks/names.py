"""Names of workers, by which every process can tell the living from the dead."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import cache

import psutil

from hemiec.launch.cluster.scheduler import current_allocation


@dataclass(frozen=True)
class WorkerName:
    """Which process on which machine, in which allocation; ``created`` (0.01 s since 1970) tells pids apart."""

    host: str
    pid: int
    created: int
    allocation: str | None = None

    def __str__(self) -> str:
        text = f"hemiec:{self.host}:{self.pid}:{self.created}"
        return text if self.allocation is None else f"{text}:{self.allocation}"

    @classmethod
    def read(cls, name: str) -> WorkerName | None:
        """Return what a name says, or None if it is not one of hemiec's."""
        prefix, *parts = name.split(":", 4)
        try:
            host, pid, created, *rest = parts
            return cls(host, int(pid), int(created), rest[0] if rest else None) if prefix == "hemiec" else None
        except ValueError:
            return None

    @staticmethod
    def prefix_here() -> str:
        """Return what the names of all workers on this machine begin with."""
        return f"hemiec:{socket.gethostname()}:"


@cache
def worker_name() -> str:
    """Return a name that tells this process from every other, also from a later one with its pid."""
    process = psutil.Process()
    name = WorkerName(socket.gethostname(), process.pid, int(process.create_time() * 100), current_allocation())
    return str(name)


def is_alive(name: str) -> bool | None:
    """Return whether the worker of that name runs; None if it is not on this machine."""
    worker = WorkerName.read(name)
    if worker is None or worker.host != socket.gethostname():
        return None
    try:
        process = psutil.Process(worker.pid)
        same = abs(int(process.create_time() * 100) - worker.created) <= 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
