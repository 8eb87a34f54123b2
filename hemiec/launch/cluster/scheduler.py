"""The batch scheduler of a cluster: which allocations there are, and how to submit and cancel them.

An allocation's name says which scheduler gave it: ``slurm-1234@cluster``, ``pbs-1234.server``, ``sge-1234@cell``.
Launches carry it in the name of their worker, so that a lost one is known wherever it ran.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal
from xml.etree import ElementTree

from hemiec.errors import LaunchError

#: A scheduler that takes longer has not answered; Slurm's own time-out is 10 s, tried a few times.
ANSWER_SECONDS = 60.0

#: ``ending``: the scheduler is still cleaning up; the processes may be there or not.
AllocationState = Literal["waiting", "running", "ending", "ended"]


@dataclass(frozen=True)
class Allocation:
    """One allocation: its state, when it started (the last time, if it was requeued) and ends, and its nodes."""

    name: str
    state: AllocationState
    started: datetime | None = None
    ends: datetime | None = None
    nodes: tuple[str, ...] = ()
    job_name: str = ""
    folder: Path | None = None


class Scheduler(ABC):
    """One scheduler, asked through its command-line tools."""

    #: FireWorks' name of it, as in the ``_fw_q_type`` of a qadapter.
    q_type: ClassVar[str]
    #: First word of its allocations' names.
    prefix: ClassVar[str]
    #: The command whose presence shows that it is here.
    command: ClassVar[str]

    @property
    def cluster(self) -> str:
        """Name of the cluster, or nothing; the same number may be given on two clusters."""
        return ""

    def name(self, number: str) -> str:
        """Return an allocation's name from what the scheduler calls it."""
        return _name(self.prefix, number, self.cluster)

    def gave(self, name: str) -> bool:
        """Return whether an allocation of that name is this scheduler's."""
        prefix, _, rest = name.partition("-")
        cluster = rest.partition("@")[2]
        return prefix == self.prefix and (not cluster or not self.cluster or cluster == self.cluster)

    @abstractmethod
    def allocations(self) -> dict[str, Allocation] | None:
        """Return name to allocation of this user's, some that have just ended among them; None without an answer."""

    @abstractmethod
    def nodes(self) -> frozenset[str]:
        """Return the names of the cluster's nodes; empty if that is not known."""

    def submitted(self, said: str) -> str:
        """Return the name of the allocation that the submit command says it has asked for.

        Raises
        ------
        LaunchError
            If it does not say so.
        """
        found = re.search(self.answer, said)
        if found is None:
            raise LaunchError(f"no number of an allocation in the scheduler's answer {said.strip()[:200]!r}.")
        return self.name(found[1])

    #: What the submit command prints, with the number of the allocation.
    answer: ClassVar[str]

    def cancel(self, names: Collection[str]) -> None:
        """End allocations.

        Raises
        ------
        LaunchError
            If the scheduler refuses or does not answer.
        """
        numbers = [name.partition("-")[2].partition("@")[0] for name in names]
        if numbers:
            self.call([self.cancel_command, *numbers])

    cancel_command: ClassVar[str] = "qdel"

    def call(self, command: list[str], *, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
        """Return what a command of the scheduler prints.

        Raises
        ------
        LaunchError
            If it fails or does not answer.
        """
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ANSWER_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise LaunchError(f"{command[0]} did not answer in {ANSWER_SECONDS:.0f} s.") from error
        except OSError as error:
            raise LaunchError(f"{command[0]}: {error.strerror}.") from error
        if done.returncode != 0:
            said = " ".join((done.stderr or done.stdout).split())[:300]
            raise LaunchError(f"{command[0]} failed ({said or f'exit code {done.returncode}'}).")
        return done.stdout


class Slurm(Scheduler):
    """Slurm."""

    q_type = "SLURM"
    prefix = "slurm"
    command = "squeue"
    cancel_command = "scancel"
    answer = r"Submitted batch job (\d+)"

    #: Everything else that squeue can print is the end of an allocation.
    _STATES: ClassVar[dict[str, AllocationState]] = {
        "PENDING": "waiting",
        "REQUEUED": "waiting",
        "REQUEUE_FED": "waiting",
        "REQUEUE_HOLD": "waiting",
        "SPECIAL_EXIT": "waiting",
        "RESV_DEL_HOLD": "waiting",
        "CONFIGURING": "running",
        "RUNNING": "running",
        "SUSPENDED": "running",
        "STOPPED": "running",
        "SIGNALING": "running",
        "RESIZING": "running",
        "STAGE_OUT": "running",
        "COMPLETING": "ending",
    }

    def __init__(self) -> None:
        self._cluster = ""

    @property
    def cluster(self) -> str:
        """Name of the cluster in Slurm's configuration; asked for until it answers."""
        if not self._cluster:
            with suppress(LaunchError):
                said = self.call(["scontrol", "show", "config"])
                found = re.search(r"^ClusterName\s*=\s*(\S+)", said, re.MULTILINE)
                self._cluster = found[1] if found else ""
        return self._cluster

    def allocations(self) -> dict[str, Allocation] | None:
        """See :meth:`Scheduler.allocations`; Slurm remembers ended ones for some minutes."""
        command = ["squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}"]
        try:
            said = self.call([*command, "--format=%A|%T|%S|%e|%N|%Z|%j"], environment={"SLURM_TIME_FORMAT": "%s"})
        except LaunchError:
            return None
        return {a.name: a for a in map(self._read, filter(None, said.splitlines()))}

    def _read(self, line: str) -> Allocation:
        number, state, started, ends, nodes, folder, job_name = line.split("|", 6)
        return Allocation(
            self.name(number),
            self._STATES.get(state, "ended"),
            # Of an allocation that waits, Slurm prints when it expects to start it.
            started=_from_epoch(started) if state != "PENDING" else None,
            ends=_from_epoch(ends),
            nodes=tuple(expand(nodes)),
            job_name=job_name,
            folder=Path(folder),
        )

    def nodes(self) -> frozenset[str]:
        """See :meth:`Scheduler.nodes`."""
        try:
            return frozenset(self.call(["sinfo", "--noheader", "--Node", "--format=%N"]).split())
        except LaunchError:
            return frozenset()


class Pbs(Scheduler):
    """OpenPBS and PBS Professional; Torque has no JSON output and is not supported."""

    q_type = "PBS"
    prefix = "pbs"
    command = "qstat"
    answer = r"^(\d+\S*)"

    _STATES: ClassVar[dict[str, AllocationState]] = {
        **dict.fromkeys("QHWTM", "waiting"),
        **dict.fromkeys("RSUB", "running"),
        "E": "ending",
    }

    def allocations(self) -> dict[str, Allocation] | None:
        """See :meth:`Scheduler.allocations`."""
        try:
            return self.read(self.call(["qstat", "-f", "-F", "json"]))
        except (LaunchError, ValueError):
            return None

    def read(self, said: str) -> dict[str, Allocation]:
        """Return name to allocation from the output of ``qstat -f -F json``.

        Raises
        ------
        ValueError
            If it is no such output.
        """
        user = getpass.getuser()
        found = {}
        for number, job in json.loads(said).get("Jobs", {}).items():
            if job.get("Job_Owner", user).partition("@")[0] != user:
                continue
            started = _from_text(job.get("stime"), "%a %b %d %H:%M:%S %Y")
            walltime = job.get("Resource_List", {}).get("walltime")
            variables = job.get("Variable_List") or {}
            folder = variables.get("PBS_O_WORKDIR")
            found[self.name(number)] = Allocation(
                self.name(number),
                self._STATES.get(job.get("job_state", ""), "ended"),
                started=started,
                ends=started + timedelta(seconds=seconds_of(walltime)) if started and walltime else None,
                # node1/0*8+node2/0*8
                nodes=tuple(dict.fromkeys(h.partition("/")[0] for h in job.get("exec_host", "").split("+") if h)),
                job_name=job.get("Job_Name", ""),
                folder=Path(folder) if folder else None,
            )
        return found

    def nodes(self) -> frozenset[str]:
        """See :meth:`Scheduler.nodes`."""
        try:
            return frozenset(json.loads(self.call(["pbsnodes", "-a", "-F", "json"])).get("nodes", {}))
        except (LaunchError, ValueError):
            return frozenset()


class Sge(Scheduler):
    """Sun, Univa and Altair Grid Engine."""

    q_type = "SGE"
    prefix = "sge"
    command = "qstat"
    answer = r"Your job(?:-array)? (\d+)"

    @property
    def cluster(self) -> str:
        """Name of the cell."""
        return os.environ.get("SGE_CELL", "")

    def allocations(self) -> dict[str, Allocation] | None:
        """See :meth:`Scheduler.allocations`."""
        try:
            return self.read(self.call(["qstat", "-xml", "-u", getpass.getuser()]))
        except (LaunchError, ElementTree.ParseError):
            return None

    def read(self, said: str) -> dict[str, Allocation]:
        """Return name to allocation from the output of ``qstat -xml``.

        Raises
        ------
        ElementTree.ParseError
            If it is no such output.
        """
        found = {}
        for job in ElementTree.fromstring(said).iter("job_list"):
            state = job.findtext("state", "")
            node = job.findtext("queue_name", "").partition("@")[2]
            name = self.name(job.findtext("JB_job_number", ""))
            found[name] = Allocation(
                name,
                "waiting" if "q" in state else "ending" if "d" in state else "running",
                started=_from_text(job.findtext("JAT_start_time", "").partition(".")[0], "%Y-%m-%dT%H:%M:%S"),
                nodes=(node,) if node else (),
                job_name=job.findtext("JB_name", ""),
            )
        return found

    def nodes(self) -> frozenset[str]:
        """See :meth:`Scheduler.nodes`."""
        try:
            hosts = ElementTree.fromstring(self.call(["qhost", "-xml"])).iter("host")
        except (LaunchError, ElementTree.ParseError):
            return frozenset()
        return frozenset(host.get("name", "") for host in hosts) - {"global"}


SCHEDULERS: dict[str, type[Scheduler]] = {s.q_type: s for s in (Slurm, Pbs, Sge)}


def find_scheduler() -> Scheduler | None:
    """Return the scheduler whose commands are on PATH, or None."""
    if shutil.which(Slurm.command):
        return Slurm()
    if shutil.which("qstat"):
        return Sge() if "SGE_ROOT" in os.environ else Pbs()
    return None


def current_allocation() -> str | None:
    """Return the name of the allocation that this process runs in, or None."""
    env = os.environ
    if "SLURM_JOB_ID" in env:
        return _name("slurm", env["SLURM_JOB_ID"], env.get("SLURM_CLUSTER_NAME", ""))
    if "PBS_JOBID" in env:
        return _name("pbs", env["PBS_JOBID"], "")
    if "SGE_ROOT" in env and env.get("JOB_ID", "").isdigit():
        return _name("sge", env["JOB_ID"], env.get("SGE_CELL", ""))
    return None


def allocation_end() -> float | None:
    """Return when the allocation that this process runs in ends, in s since 1970; None if that is not known."""
    told = os.environ.get("SLURM_JOB_END_TIME", "")
    if told.isdigit():
        return float(told)
    name, scheduler = current_allocation(), find_scheduler()
    if name is None or scheduler is None:
        return None
    mine = (scheduler.allocations() or {}).get(name)
    return mine.ends.timestamp() if mine is not None and mine.ends is not None else None


def allocated_cores() -> int:
    """Return how many cores of this machine the allocation has that this process runs in, or the process itself."""
    for variable in ("SLURM_CPUS_ON_NODE", "NCPUS", "NSLOTS"):
        if os.environ.get(variable, "").isdigit():
            return int(os.environ[variable])
    return len(os.sched_getaffinity(0))


def expand(nodes: str) -> list[str]:
    """Return the nodes of Slurm's short form: ``n[01-03,7],login`` to n01, n02, n03, n7, login."""
    found = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)?", nodes):
        short = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if short is None:
            found.append(part)
            continue
        for numbers in short[2].split(","):
            first, _, last = numbers.partition("-")
            for k in range(int(first), int(last or first) + 1):
                found.append(f"{short[1]}{k:0{len(first)}d}{short[3]}")
    return found


def seconds_of(walltime: str | int) -> int:
    """Return a walltime in s: ``days-hours:minutes:seconds`` with fewer fields as Slurm reads them, or minutes.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    text = str(walltime)
    days, dash, rest = text.rpartition("-")
    fields = [int(field) for field in rest.split(":")]
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*fields, 0, 0][:3]
    elif len(fields) == 3:
        hours, minutes, seconds = fields
    elif len(fields) <= 2:  # minutes[:seconds]
        hours, (minutes, seconds) = 0, [*fields, 0][:2]
    else:
        raise ValueError(f"{text!r} is not a walltime")
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def is_here(host: str) -> bool:
    """Return whether a host, with or without its domain, is this one."""
    return host.partition(".")[0] == socket.gethostname().partition(".")[0]


def _name(prefix: str, number: str, cluster: str) -> str:
    return f"{prefix}-{number}@{cluster}" if cluster else f"{prefix}-{number}"


def _from_epoch(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() else None


def _from_text(text: str | None, form: str) -> datetime | None:
    """Return the moment of a local time without a zone, as PBS and SGE print it."""
    try:
        return datetime.fromtimestamp(time.mktime(time.strptime(text or "", form)), UTC)
    except ValueError:
        return None
