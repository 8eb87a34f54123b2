"""Which code a document of the database may name: whoever can write to MongoDB must not be able to run programs.

jobflow, monty and FireWorks import whatever a document names under ``@module``, ``@callable``, ``@class`` and
``_fw_name``, and call it. Here the raw document is checked first: jobs are functions that installed packages declare
as jobs, objects are of classes that those and a few data packages define, and a Firework has none of FireWorks'
options that copy files, start other tasks or choose folders and scripts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from hemiec.errors import TrustError

#: Packages whose jobs may run.
JOB_PACKAGES = ("hemiec", "atomate2", "jobflow")
#: Modules (with all below them) whose classes may be made: what jobs, their arguments and their outputs consist of.
DATA_MODULES = (
    *("hemiec.engines", "hemiec.schemas", "hemiec.workflows", "atomate2"),
    *("jobflow.core.flow", "jobflow.core.job", "jobflow.core.reference"),
    *("emmet.core", "custodian.vasp.handlers", "custodian.vasp.validators"),
    *("pymatgen.core", "pymatgen.electronic_structure", "pymatgen.entries", "pymatgen.io.vasp", "pymatgen.symmetry"),
)
#: Classes that monty decodes by itself, from their data alone.
DATA_CLASSES = frozenset(
    {
        ("numpy", "array"),
        ("datetime", "datetime"),
        ("uuid", "UUID"),
        ("pathlib", "Path"),
        ("bson.objectid", "ObjectId"),
        ("pymatgen.io.ase", "MSONAtoms"),
    }
)
FIRETASK = "{{jobflow.managers.fireworks.JobFiretask}}"
#: What of FireWorks' own options a Firework may have. `_files_in`, `_recovery`, `_background_tasks`, `_trackers` and
#: others read, copy or run what they are told; `_queueadapter` writes into the script of the scheduler.
OPTIONS = frozenset(
    {
        *("_tasks", "_category", "_priority", "_add_launchpad_and_fw_id", "_allow_fizzled_parents", "_launch_dir"),
        # FireWorks writes these itself.
        *("_fizzled_parents", "_exception_details"),
    }
)
#: Arguments by which atomate2 and custodian run a command, import code by its name, or write a file anywhere.
_COMMAND_SUFFIX, _CODE_KEYS, _FILE_ACTION = "_cmd", frozenset({"calculator_meta", "dynamics"}), "_file_"
_JOB = ("jobflow.core.job", "Job")
_REFERENCE = ("jobflow.core.reference", "OutputReference")


@dataclass(frozen=True)
class Trust:
    """What may be named by documents.

    Parameters
    ----------
    packages
        Installed packages besides hemiec, atomate2 and jobflow whose jobs and classes may be named.
    """

    packages: Sequence[str] = ()
    _known: dict[tuple[str, str], bool] = field(default_factory=dict, repr=False, compare=False)

    def check_firework(self, firework: Mapping[str, Any], *, run_dir: Path | None = None) -> None:
        """Check a raw Firework before it is deserialised.

        Parameters
        ----------
        firework
            The document, its launches included if they are in it.
        run_dir
            Folder in which its own folder has to be, if it names one.

        Raises
        ------
        TrustError
            If it names code that may not run here.
        """
        spec = firework.get("spec", {})
        if unknown := sorted(key for key in spec if key.startswith("_") and key not in OPTIONS):
            raise self._refusal(f"has FireWorks' option {unknown[0]}")
        folder = spec.get("_launch_dir")
        if folder is not None and run_dir is not None and not _is_inside(folder, run_dir):
            raise self._refusal(f"wants to run in {str(folder)!r}, outside of {run_dir}")
        for task in spec.get("_tasks", []):
            if not isinstance(task, Mapping) or task.get("_fw_name") != FIRETASK:
                name = task.get("_fw_name") if isinstance(task, Mapping) else task
                raise self._refusal(f"has a task {name!r}")
            if task.get("store") is not None:
                raise self._refusal("brings a store of its own")
        self.check(firework)

    def check(self, content: Any) -> None:
        """Check everything nested in a raw document: job, argument, output or launch.

        Raises
        ------
        TrustError
            If it names code that may not run here.
        """
        waiting = [content]
        while waiting:
            part = waiting.pop()
            if isinstance(part, Mapping):
                self._check_mapping(part)
                waiting.extend(part.values())
            elif isinstance(part, list | tuple):
                waiting.extend(part)

    def _check_mapping(self, part: Mapping[str, Any]) -> None:
        if "_fw_name" in part and part["_fw_name"] != FIRETASK:
            raise self._refusal(f"names {part['_fw_name']!r}")
        if "@module" in part:
            module, name = part["@module"], part.get("@class")
            # jobflow marks what lies in another store by empty names.
            if "@class" in part and (module or name):
                self._check_class(module, name)
            elif "@class" not in part and "@callable" in part:
                self._check_callable(part)
            if (module, name) == _JOB and not self._is_job(part.get("function")):
                raise self._refusal(f"is not made of a job but of {_named(part.get('function'))}")
            if (module, name) == _REFERENCE and any(str(a[1]).startswith("_") for a in part.get("attributes") or ()):
                raise self._refusal("asks for a private attribute of an output")
        for key, value in part.items():
            if isinstance(key, str) and value is not None:
                self._check_argument(key, value)

    def _check_argument(self, key: str, value: Any) -> None:
        if (
            key.endswith(_COMMAND_SUFFIX)
            or key.startswith(_FILE_ACTION)
            or (key in _CODE_KEYS and isinstance(value, str) and "." in value)
        ):
            raise self._refusal(f"brings {key} of its own ({str(value)[:80]!r})")
        if key == "calculator_kwargs":
            for path in _strings(value):
                if os.sep in path and not _is_safe_file(Path(path)):
                    raise self._refusal(
                        f"loads the model {path}, which others than you can change",
                        mend="let the file belong to you or to root, and let nobody else write to it",
                    )

    def _check_class(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self._refusal(f"names {module!r}, {name!r}")
        if (module, name) in DATA_CLASSES:
            return
        if not self._is_data(module):
            raise self._refusal(f"names {module}.{name}")
        found = self._find(module, name)
        if found is not None and not (isinstance(found, type) and self._is_data(found.__module__)):
            raise self._refusal(f"names {module}.{name}")

    def _check_callable(self, part: Mapping[str, Any]) -> None:
        """A callable is a job, or a class of data (the schema of an output)."""
        if self._is_job(part):
            return
        if part.get("@bound") is None:
            self._check_class(part["@module"], part["@callable"])
            return
        raise self._refusal(f"names {_named(part)}")

    def _is_job(self, part: Any) -> bool:
        """Return whether a serialised callable is a function or method that a trusted package declares as a job."""
        if not isinstance(part, Mapping):
            return False
        module, name, bound = part.get("@module"), part.get("@callable"), part.get("@bound")
        if not (isinstance(module, str) and isinstance(name, str)) or not _is_below(module, self._job_packages):
            return False
        if bound is not None:
            # monty takes the object's class, and of the name only what stands after the first dot.
            if not isinstance(bound, Mapping) or name.count(".") != 1:
                return False
            module, owner = bound.get("@module"), bound.get("@class")
            if not (isinstance(module, str) and isinstance(owner, str)) or not self._is_data(module):
                return False
            name = f"{owner}.{name.split('.')[1]}"
        key = (module, name)
        if key not in self._known:
            original = getattr(self._find(module, name), "original", None)  # what jobflow's `@job` leaves
            self._known[key] = _is_below(getattr(original, "__module__", "") or "", self._job_packages)
        return self._known[key]

    def _find(self, module: str, name: str) -> Any:
        """Return what a trusted module calls by that name; None if there is none, which monty leaves as it is."""
        if any(part.startswith("_") for part in name.split(".")):
            raise self._refusal(f"names {module}.{name}")
        try:
            found: Any = import_module(module)
        except ImportError:
            return None
        for part in name.split("."):
            found = getattr(found, part, None)
        return found

    @property
    def _job_packages(self) -> tuple[str, ...]:
        return (*JOB_PACKAGES, *self.packages)

    def _is_data(self, module: str) -> bool:
        return _is_below(module, (*DATA_MODULES, *self.packages))

    def _refusal(self, what: str, mend: str | None = None) -> TrustError:
        packages = ", ".join(self._job_packages)
        return TrustError(
            f"the job {what}, which may not run here: only jobs of {packages} may.",
            mend=mend
            or "if it is your group's own code, add its package to the setting trusted_packages "
            "(HEMIEC_TRUSTED_PACKAGES); if nobody knows it, somebody else writes to your database",
        )


def _strings(content: Any) -> Iterator[str]:
    """Yield every string that is nested in something."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _strings(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _strings(value)


def _is_below(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _is_inside(folder: Any, run_dir: Path) -> bool:
    """Return whether a folder, links followed, is inside another; FireWorks would replace variables in it."""
    return isinstance(folder, str) and "$" not in folder and Path(folder).resolve().is_relative_to(run_dir.resolve())


def _is_safe_file(path: Path) -> bool:
    """Return whether only this user and root can change a file; one that is not there cannot be loaded either."""
    try:
        status = path.stat()
    except OSError:
        return True
    return status.st_uid in (0, os.getuid()) and not status.st_mode & 0o022


def _named(part: Any) -> str:
    return f"{part.get('@module')}.{part.get('@callable')}" if isinstance(part, Mapping) else repr(part)[:80]
