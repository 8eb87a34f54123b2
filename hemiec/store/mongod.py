"""The embedded MongoDB: a private mongod in the user's data folder, on loopback, with a password.

It is a one-member replica set, so that acknowledged writes are journaled and clients ride out a
restart. It outlives the command that started it; ``hemiec db down`` stops it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote_plus

import psutil
from filelock import FileLock, Timeout
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from hemiec.errors import StoreError
from hemiec.settings import Settings

USER = "hemiec"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
DEATH_TIMEOUT_S = 10.0
#: Less free space than this and mongod is not started: it would die in the middle of a write.
MIN_FREE_BYTES = 300 * 1024**2
_AUTHENTICATION_FAILED, _NOT_YET_INITIALIZED, _ALREADY_INITIALIZED = 18, 94, 23


@dataclass(frozen=True)
class MongodStatus:
    """What is known about the embedded MongoDB."""

    running: bool
    port: int | None
    pid: int | None
    folder: Path
    size_bytes: int


class EmbeddedMongod:
    """The mongod of one data folder; every method may be called from several processes at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.data_dir / "mongodb"
        self.log = self.folder / "mongod.log"
        self._state = self.folder / "state.json"
        self._credentials = self.folder / "credentials.json"
        self._keyfile = self.folder / "keyfile"

    def up(self) -> str:
        """Start mongod if it does not run, and return its URI (with the password).

        Raises
        ------
        StoreError
            If there is no mongod program, no space, or mongod does not start.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self.folder / "lock", timeout=2 * START_TIMEOUT_S):
                # One that does not answer is starting, or was just killed.
                if self._process() is None or not (self._answers() or self._becomes_ready()):
                    self._start()
                return self.uri()
        except Timeout as error:
            raise StoreError(
                f"{self.folder}: another process has been starting MongoDB for {2 * START_TIMEOUT_S:.0f} s.",
                mend=f"see {self.log}",
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot be written ({error.strerror or error}).",
                mend="free space there or set HEMIEC_DATA_DIR to another folder",
            ) from error

    def down(self) -> bool:
        """Stop mongod and return whether it ran."""
        process = self._process()
        if process is None:
            return False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except psutil.TimeoutExpired as error:
            raise StoreError(f"mongod (pid {process.pid}) did not stop in {STOP_TIMEOUT_S:.0f} s.") from error
        return True

    def status(self) -> MongodStatus:
        """Return whether it runs, where, and how large its data are."""
        process = self._process()
        database = self.folder / "db"
        size = sum(f.stat().st_size for f in database.rglob("*") if f.is_file()) if database.exists() else 0
        port = self._port() if process else None
        return MongodStatus(process is not None, port, process.pid if process else None, self.folder, size)

    def uri(self) -> str:
        """Return the connection URI of the running mongod.

        Raises
        ------
        StoreError
            If mongod was never started in this data folder.
        """
        password = self._password()
        if self._port() is None or password is None:
            raise StoreError(f"no embedded MongoDB in {self.folder}.", mend="start it with `hemiec db up`")
        return self.uri_as(USER, password, "admin")

    def uri_as(self, user: str, password: str, database: str) -> str:
        """Return the connection URI of the running mongod for a user that lives in some database."""
        address = f"{quote_plus(user)}:{quote_plus(password)}@127.0.0.1:{self._port()}"
        return f"mongodb://{address}/?authSource={database}&directConnection=true"

    def _port(self) -> int | None:
        try:
            return int(json.loads(self._state.read_text())["port"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _password(self) -> str | None:
        try:
            return str(json.loads(self._credentials.read_text())["password"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _process(self) -> psutil.Process | None:
        """Return the mongod that holds this data folder, found by mongod's own lock file."""
        try:
            process = psutil.Process(int((self.folder / "db" / "mongod.lock").read_text().strip() or 0))
            if str(self.folder / "db") in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (FileNotFoundError, ValueError, psutil.Error):
            pass
        return None

    def _await_death(self, port: int) -> None:
        """Wait until a killed mongod has let go of its port, so that clients find the next one there.

        The kernel takes some ms, and much longer on a busy machine, to close what a killed process held.
        """
        deadline = time.monotonic() + DEATH_TIMEOUT_S
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int((self.folder / "db" / "mongod.lock").read_text().strip() or 0)
            while not _is_free(port) and psutil.pid_exists(pid) and time.monotonic() < deadline:
                time.sleep(0.02)

    def _another_comes_up(self, port: int) -> bool:
        """Return whether the server of an interrupted start, which holds the data folder, comes up on the port."""
        if "DBPathInUse" not in self._reason():
            return False
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not _is_free(port):
                return True
            time.sleep(0.1)
        return False

    def _start(self) -> None:
        program = find_mongod(self.settings)
        self._check_space()
        (self.folder / "db").mkdir(exist_ok=True)
        write_private(self._keyfile, secrets.token_hex(256), only_if_missing=True)
        write_private(self._credentials, json.dumps({"password": secrets.token_urlsafe(24)}), only_if_missing=True)
        port = self._port()
        if port is not None:
            self._await_death(port)
        if port is None or not _is_free(port):
            port = _free_port()
        write_private(self._state, json.dumps({"port": port}))
        command = [
            *(
                str(program),
                "--fork",
                "--dbpath",
                str(self.folder / "db"),
                "--port",
                str(port),
                "--bind_ip",
                "127.0.0.1",
            ),
            *("--logpath", str(self.log), "--nounixsocket", "--noscripting"),
            *("--auth", "--keyFile", str(self._keyfile), "--replSet", "rs0", "--oplogSize", "64"),
            # An empty data folder takes 5 MB instead of 300 MB with these.
            *("--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--wiredTigerEngineConfigString", "log=(file_max=4MB,prealloc=false)"),
        ]
        try:
            # It forks and is then nobody's child: Ctrl-C of this command does not reach it.
            started = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise StoreError(f"mongod did not start in {START_TIMEOUT_S:.0f} s.", mend=f"see {self.log}") from error
        if started.returncode != 0 and not self._another_comes_up(port):
            raise StoreError(f"mongod stopped while starting: {self._reason()}.", mend=f"see {self.log}")
        if not self._becomes_ready():
            raise StoreError(f"mongod stopped while starting: {self._reason()}.", mend=f"see {self.log}")

    def _becomes_ready(self) -> bool:
        """Wait until mongod is primary and knows our user, setting both up on the first start; False if it ends."""
        port = self._port()
        deadline = time.monotonic() + START_TIMEOUT_S
        trouble = "no answer"
        while time.monotonic() < deadline:
            if self._process() is None:
                return False
            try:
                with _client(f"mongodb://127.0.0.1:{port}/?directConnection=true") as bare:
                    _initiate(bare, port)
                    if not bare.admin.command("hello").get("isWritablePrimary"):
                        trouble = "not yet primary"
                        if self._authenticates():
                            self._repair_address(port)
                        time.sleep(0.1)
                        continue
                    if not self._authenticates():
                        bare.admin.command(
                            "createUser", USER, pwd=self._password(), roles=["root"], mechanisms=["SCRAM-SHA-256"]
                        )
                return True
            except PyMongoError as error:
                trouble = str(error).split(",")[0]
                time.sleep(0.1)
        raise StoreError(f"mongod did not become ready in {START_TIMEOUT_S:.0f} s ({trouble}).", mend=f"see {self.log}")

    def _answers(self) -> bool:
        try:
            with _client(self.uri()) as client:
                return bool(client.admin.command("hello").get("isWritablePrimary"))
        except (PyMongoError, StoreError):
            return False

    def _authenticates(self) -> bool:
        try:
            with _client(self.uri()) as client:
                client.admin.command("ping")
            return True
        except OperationFailure as error:
            if error.code != _AUTHENTICATION_FAILED:
                raise
            return False

    def _repair_address(self, port: int | None) -> None:
        """Tell the replica set its new port, if it was started on another one than last time."""
        with _client(self.uri()) as client:
            config = client.admin.command("replSetGetConfig")["config"]
            address = f"127.0.0.1:{port}"
            if config["members"][0]["host"] != address:
                config["members"][0]["host"] = address
                config["version"] += 1
                client.admin.command("replSetReconfig", config, force=True)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < MIN_FREE_BYTES:
            raise StoreError(
                f"{self.folder}: only {free / 1024**2:.0f} MiB free, MongoDB needs {MIN_FREE_BYTES / 1024**2:.0f} MiB.",
                mend="free space there or set HEMIEC_DATA_DIR to another disk",
            )

    def _reason(self) -> str:
        """Return the last error in mongod's log, in a few words."""
        with contextlib.suppress(OSError, ValueError):
            for line in reversed(self.log.read_text(errors="replace").splitlines()):
                entry = json.loads(line)
                if entry.get("s") in ("E", "F"):
                    detail = entry.get("attr", {}).get("error", "")
                    return f"{entry.get('msg')} {detail}".strip()[:300]
        return "no reason in its log"


def find_mongod(settings: Settings) -> Path:
    """Return the mongod program: from the settings, PATH, or the wheel of the ``mongod`` extra.

    Raises
    ------
    StoreError
        If there is none.
    """
    if settings.mongod is not None:
        if not os.access(settings.mongod, os.X_OK):
            raise StoreError(f"{settings.mongod}: not a program.", mend="correct HEMIEC_MONGOD")
        return settings.mongod
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    spec = find_spec("fiftyone")
    for location in (spec.submodule_search_locations or []) if spec else []:
        program = Path(location) / "db" / "bin" / "mongod"
        if program.exists():
            if not os.access(program, os.X_OK):
                program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            return program
    raise StoreError(
        "no MongoDB: HEMIEC_MONGO_URI is not set and there is no mongod on PATH or in the environment.",
        mend="pip install 'hemiec[mongod]', or set HEMIEC_MONGO_URI to your group's server",
    )


def _client(uri: str) -> MongoClient[dict[str, object]]:
    return MongoClient(uri, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000)


def _initiate(client: MongoClient[dict[str, object]], port: int | None) -> None:
    """Make a new data folder a one-member replica set (allowed from loopback until there is a user)."""
    if client.admin.command("hello").get("setName"):
        return
    try:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]})
    except OperationFailure as error:
        if error.code not in (_ALREADY_INITIALIZED, _NOT_YET_INITIALIZED, 13):  # 13: a user exists already
            raise


def write_private(path: Path, text: str, *, only_if_missing: bool = False) -> None:
    """Write a file of mode 0600 in one step, so that a crash leaves the old one or the new one."""
    if only_if_missing and path.exists():
        return
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
