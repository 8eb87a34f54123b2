"""A LaunchPad that makes nothing of a document before it is known to name trusted code only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fireworks import Firework, FWAction, LaunchPad, Workflow
from fireworks.core.firework import Launch
from fireworks.core.launchpad import get_action_from_gridfs
from jobflow import JobStore

from hemiec.launch.fireworks.large import move_large_arguments
from hemiec.store.trust import Trust


class TrustedLaunchPad(LaunchPad):
    """FireWorks' LaunchPad with a check before every deserialisation.

    A Firework that names other code becomes FIZZLED when a worker takes it, with the refusal in
    ``spec._exception_details._stacktrace``, and the worker takes the next one.

    Parameters
    ----------
    trust
        What may be named.
    run_dir
        Folder in which a Firework's own folder has to be, if it names one; None for no such limit.
    job_store
        Where arguments of new jobs go that are too large for a Firework; None leaves them where they are.
    kwargs
        Of FireWorks' LaunchPad.
    """

    def __init__(
        self, trust: Trust, *, run_dir: Path | None = None, job_store: JobStore | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.trust = trust
        self.run_dir = run_dir
        self.job_store = job_store

    def __repr__(self) -> str:
        """Return its name; FireWorks would show the password."""
        return f"{type(self).__name__}({self.name!r})"

    def get_fw_dict_by_id(self, fw_id: int) -> dict[str, Any]:
        """Return the document of a Firework with its launches.

        Raises
        ------
        TrustError
            If it names code that may not run here.
        """
        document: dict[str, Any] = super().get_fw_dict_by_id(fw_id)
        self.trust.check_firework(document, run_dir=self.run_dir)
        for launch in (*document["launches"], *document["archived_launches"]):
            launch["trackers"] = []
        return document

    def get_launch_by_id(self, launch_id: int) -> Launch:
        """Return a launch.

        Raises
        ------
        TrustError
            If what it returned names code that may not run here.
        ValueError
            If there is none of that number.
        """
        document = self.launches.find_one({"launch_id": launch_id})
        if document is None:
            raise ValueError(f"No Launch exists with {launch_id=}")
        return Launch.from_dict(_checked(document, self.gridfs_fallback, self.trust))

    def complete_launch(self, launch_id: int, action: FWAction | None = None, state: str = "COMPLETED") -> Any:
        """Note the end of a launch; of jobs that it adds, arguments too large for MongoDB go to the job store."""
        if action is not None and self.job_store is not None:
            for workflow in (*action.detours, *action.additions):
                for firework in workflow.fws:
                    move_large_arguments(firework.tasks[0]["job"], self.job_store)
        return super().complete_launch(launch_id, action, state)

    def get_wf_by_fw_id_lzyfw(self, fw_id: int) -> Workflow:
        """Return a workflow whose Fireworks are read, and checked, when they are needed."""
        workflow = super().get_wf_by_fw_id_lzyfw(fw_id)
        for firework in workflow.id_fw.values():
            _check_reads(firework, self.trust)
        return workflow


def _check_reads(firework: Firework, trust: Trust) -> None:
    """Let a lazy Firework read through a check."""
    firework._lc = _CheckedLaunches(firework._lc, firework._ffs, trust)
    firework._fwc = _CheckedFireworks(firework._fwc, trust)


class _CheckedFireworks:
    """The one method of the collection of Fireworks that a lazy Firework uses."""

    def __init__(self, collection: Any, trust: Trust) -> None:
        self.collection = collection
        self.trust = trust

    def find_one(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        document: dict[str, Any] | None = self.collection.find_one(*args, **kwargs)
        if document is not None and "spec" in document:
            self.trust.check_firework(document)
        return document


class _CheckedLaunches:
    """The one method of the collection of launches that a lazy Firework uses."""

    def __init__(self, collection: Any, files: Any, trust: Trust) -> None:
        self.collection = collection
        self.files = files
        self.trust = trust

    def find(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        for document in self.collection.find(*args, **kwargs):
            yield _checked(document, self.files, self.trust)


def _checked(launch: dict[str, Any], files: Any, trust: Trust) -> dict[str, Any]:
    """Return the document of a launch, checked with what it returned, also if that lies in GridFS."""
    # Trackers read files and put their ends into the database: ours have none.
    launch = launch | {"action": get_action_from_gridfs(launch.get("action"), files), "trackers": []}
    trust.check(launch)
    return launch
