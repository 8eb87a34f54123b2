"""The network between a worker and its database is cut while MongoDB goes on: nothing is lost, nothing done twice."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fireworks import LaunchPad
from launching import assert_done, await_, await_done, database, folder, launchpad, server, settings
from pymongo.uri_parser import parse_uri
from quick_jobs import add, events, mark, marks

from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.settings import Settings
from hemiec.store.database import Database

__all__ = ["database", "folder", "launchpad", "server", "settings"]  # fixtures
pytestmark = pytest.mark.store


class Cable:
    """A line to a port of this machine that can be cut: no byte passes, and connections break."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.whole = threading.Event()
        self.whole.set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.whole.clear()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.whole.set()

    def close(self) -> None:
        self.cut()
        self.listener.close()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if not self.whole.is_set():
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.target))
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cable(settings: Settings) -> Iterator[Cable]:
    assert settings.mongo_uri is not None
    ((_, port),) = parse_uri(settings.mongo_uri.get_secret_value())["nodelist"]
    cable = Cable(port)
    yield cable
    cable.close()


@pytest.fixture
def worker(settings: Settings, cable: Cable) -> Iterator[subprocess.Popen[bytes]]:
    """A worker whose connection goes through the cable."""
    assert settings.mongo_uri is not None
    direct = settings.mongo_uri.get_secret_value()
    ((_, port),) = parse_uri(direct)["nodelist"]
    uri = direct.replace(f"127.0.0.1:{port}", f"127.0.0.1:{cable.port}")
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hemiec.launch.fireworks.worker", "--run-dir", str(settings.run_dir)]
    process = subprocess.Popen(command, env=os.environ | {"HEMIEC_MONGO_URI": uri})
    yield process
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_result_that_is_due_while_the_network_is_cut_is_written_afterwards(
    worker: subprocess.Popen[bytes],
    cable: Cable,
    database: Database,
    launchpad: LaunchPad,
    folder: Path,
) -> None:
    first = mark("m0", str(folder), 3.0)
    names = add(launchpad, [first, mark("after", str(folder), after=first.output), *marks(3, folder)[1:]])
    queue = FireWorksQueue(database)
    try:
        await_(lambda: events(folder, "started")["m0"] == 1)
        cable.cut()
        await_(lambda: events(folder, "ended")["m0"] == 1)
        time.sleep(12)  # longer than the driver waits for a server
        assert worker.poll() is None
        assert database["outputs"].count_documents({"uuid": first.uuid}) == 0
        assert queue.reconcile() == []  # its process lives, so the job is not lost
        cable.mend()
        await_done(database, 90)
    finally:
        queue.close()
    assert_done(database, names)
    assert set(events(folder, "started").values()) == {1}
