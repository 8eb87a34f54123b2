"""A real Slurm on this machine for tests: its daemons run without systemd, munge or accounting, in a temporary folder.

Every node is a slurmd of its own on loopback, so that one can be lost while the others go on.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

CLUSTER = "hemiec-test"

_CONF = """
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SchedulerType=sched/builtin
CommunicationParameters=NoInAddrAny
ReturnToService=2
SlurmdTimeout=60
KillWait=10
MinJobAge=60
InactiveLimit=0
SlurmdParameters=config_overrides
{nodes}
PartitionName=debug Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class SlurmCluster:
    """A running Slurm; ``environment`` makes its commands find it."""

    folder: Path
    nodes: Sequence[str]
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def command(self, *words: str) -> str:
        done = subprocess.run(
            words, env=os.environ | self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def states(self) -> dict[str, str]:
        """Allocation number to state."""
        lines = self.command("squeue", "--noheader", "--states=all", "--format=%A %T").splitlines()
        return dict(line.split() for line in lines)

    def start_controller(self) -> None:
        self._start("slurmctld", ["slurmctld", "-D"])
        self._await(lambda: self._quietly("scontrol", "ping") and "UP" in self.command("scontrol", "ping"))

    def stop_controller(self) -> None:
        self._end("slurmctld", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        self._start(node, ["slurmd", "-D", "-N", node])
        self._await(lambda: self.command("sinfo", "-h", "-n", node, "-o", "%t").strip() in ("idle", "mix", "alloc"))

    def lose_node(self, node: str) -> None:
        """Make a node vanish with everything on it, and the controller notice."""
        # Its jobs' processes go with it, as on a machine that loses power.
        for pid in _processes(self.environment, node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end(node, signal.SIGKILL)
        self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def up(self) -> None:
        """Start it, anew on other ports where a daemon does not come up: another process may take a port first."""
        for attempt in range(3):
            try:
                self._up()
            except AssertionError as exc:
                self.down()
                logs = "\n".join(
                    f"{path.name}:\n{path.read_text(errors='replace')[-2000:]}"
                    for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
                )
                if attempt == 2:
                    raise AssertionError(f"{exc}\n{logs}") from None
                print(f"{exc}, trying again\n{logs}")
                shutil.rmtree(self.folder)
            else:
                return

    def _up(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        host = socket.gethostname()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=4 RealMemory=20000"
            for node in self.nodes
        )
        text = _CONF.format(
            cluster=CLUSTER, host=host, controller_port=_free_port(), folder=self.folder, nodes=nodes,
            names=",".join(self.nodes),
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(text)
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)

    def down(self) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.command("scancel", "--full", "--signal=KILL", "--user=root")
            self.command("scancel", "--user=root")
        for node in self.nodes:
            if node in self._daemons:
                for pid in _processes(self.environment, node):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        for name in list(self._daemons):
            self._end(name, signal.SIGTERM)

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _end(self, name: str, how: signal.Signals) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(how)
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _quietly(self, *words: str) -> bool:
        environment = os.environ | self.environment
        return subprocess.run(words, env=environment, capture_output=True, timeout=60, check=False).returncode == 0

    def _await(self, holds: object, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not holds():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"Slurm in {self.folder} does not come up"
            time.sleep(0.1)


def _processes(environment: dict[str, str], node: str) -> list[int]:
    """The processes of a node's jobs; the daemons themselves, which have no SLURMD_NODENAME, are not among them."""
    found = []
    wanted = environment | {"SLURMD_NODENAME": node}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            theirs = process.environ()
            if all(theirs.get(name) == value for name, value in wanted.items()):
                found.append(process.pid)
            elif process.name() == "slurmstepd" and all(theirs.get(k) == v for k, v in environment.items()):
                inside = process.children(recursive=True)
                if any(child.environ().get("SLURMD_NODENAME") == node for child in inside):
                    found += [process.pid, *(child.pid for child in inside)]
    return [pid for pid in dict.fromkeys(found) if pid != os.getpid()]


def _free_port() -> int:
    """A port below those that the kernel gives to outgoing connections, which could take it before its daemon does."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A Slurm with two nodes, found by the commands of this process and of those that it starts."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "squeue") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs {', '.join(missing) or 'root'}: apt-get install slurmctld slurmd slurm-client")
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"), ("node1", "node2"))
    before = os.environ.get("SLURM_CONF")
    try:
        os.environ |= cluster.environment
        cluster.up()
        yield cluster
    finally:
        cluster.down()
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before
