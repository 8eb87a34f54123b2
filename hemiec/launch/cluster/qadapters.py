"""Qadapter files: how an allocation for each category of jobs is asked for.

They are FireWorks' own (`my_qadapter_<category>.yaml`), so that plain `qlaunch` takes them too.
"""

from __future__ import annotations

import re
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path

from fireworks.fw_config import SUBMIT_SCRIPT_NAME
from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter
from yaml import YAMLError, safe_load

from hemiec.errors import InputError
from hemiec.files import write_whole
from hemiec.launch.cluster.scheduler import SCHEDULERS, Scheduler, seconds_of

_FILE = "my_qadapter_{category}.yaml"


@dataclass(frozen=True)
class Qadapter:
    """One category's allocations.

    Parameters
    ----------
    path
        Its file.
    category
        Category of the jobs that its allocations take.
    adapter
        FireWorks' adapter, which writes the batch script.
    walltime_s
        Walltime of an allocation in s.
    workers
        How many jobs run at a time in one.
    """

    path: Path
    category: str
    adapter: CommonAdapter
    walltime_s: int
    workers: int

    @classmethod
    def read(cls, path: Path, category: str) -> Qadapter:
        """Return the qadapter in a file.

        Raises
        ------
        InputError
            If it cannot be read, is of a scheduler that is not supported, or lacks what is needed.
        """
        try:
            content = safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}.") from error
        except YAMLError as error:
            raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())[:200]}).") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: expected a mapping.", mend="start from `hemiec config render`")
        if content.get("_fw_q_type") not in SCHEDULERS:
            known = ", ".join(SCHEDULERS)
            raise InputError(f"{path}: `_fw_q_type` is {content.get('_fw_q_type')!r}; expected one of {known}.")
        for key in ("rocket_launch", "walltime"):
            if not content.get(key):
                raise InputError(f"{path}: no `{key}`.", mend="start from `hemiec config render`")
        try:
            walltime = seconds_of(content["walltime"])
        except ValueError as error:
            raise InputError(f"{path}: `walltime` is {content['walltime']!r}; expected HH:MM:SS.") from error
        adapter = CommonAdapter.from_dict(content)
        return cls(path, category, adapter, walltime, _workers(content["rocket_launch"]))

    @property
    def job_name(self) -> str:
        """Name of its allocations in the scheduler."""
        return f"hemiec-{self.category}"

    @property
    def names_allocation(self) -> bool:
        """Whether its launches say in which allocation they ran, as those of `hemiec work` do."""
        return "hemiec work" in self.adapter["rocket_launch"]

    def script(self, folder: Path) -> str:
        """Return the batch script of an allocation that starts in a folder.

        Raises
        ------
        InputError
            If a key has no place in the script.
        """
        self.adapter["job_name"] = self.job_name
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                return self.adapter.get_script_str(str(folder))
            except UserWarning as error:
                key = str(error).split()[1]
                raise InputError(
                    f"{self.path}: FireWorks' script for {self.adapter.q_type} has no place for `{key}`.",
                    mend=f"correct the key, or put a line for the scheduler first into `pre_rocket`; the keys are in "
                    f"{self.adapter.template_file}",
                ) from error

    def submit(self, scheduler: Scheduler, folder: Path) -> str:
        """Ask for an allocation that starts in a folder, and return its name.

        Raises
        ------
        LaunchError
            If the scheduler refuses, or does not answer.
        """
        script = self.script(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / SUBMIT_SCRIPT_NAME, script)
        # CommonAdapter would run the same command and keep to itself what it answers when it fails.
        command = self.adapter.q_commands[self.adapter.q_type]["submit_cmd"]
        said = scheduler.call([command, SUBMIT_SCRIPT_NAME], folder=folder)
        return scheduler.submitted(said)


def find_qadapter(folder: Path, category: str) -> Path:
    """Return where the qadapter of a category is in a folder, whether or not it exists."""
    return folder / _FILE.format(category=category)


def _workers(command: str) -> int:
    """Return how many jobs at a time a launch command runs: of `hemiec work` or of `rlaunch multi`."""
    found = re.search(r"(?:--workers[ =]|(?<!\w)-n ?)(\d+)", command)
    words = shlex.split(command, comments=True)
    if found:
        return int(found[1])
    if "multi" in words:
        numbers = [int(word) for word in words[words.index("multi") + 1 :] if word.isdigit()]
        return numbers[0] if numbers else 1
    return 1
