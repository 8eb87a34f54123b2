"""What becomes of the run folders of jobs that have ended.

Nothing that an open job could read is removed: FireWorks runs a job again beside its old folder, GPAW and VASP start
from what lies there, and VASP's next step copies from the folder of the one before.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hemiec.store.database import Database

Policy = Literal["all", "compressed", "failed", "none"]

#: Smaller files are not worth a write.
MIN_COMPRESSED_BYTES = 16 * 1024
#: What a calculation that is run again starts from, and how it finds it; FW.json names the earlier folders.
RESTART_FILES = (
    "restart.gpw",
    "restart.json",
    "WAVECAR*",
    "CHGCAR*",
    "CONTCAR*",
    "*.traj",
    "FW.json",
    "error.*.tar.gz",
)
_NOT_COMPRESSED = {".gz", ".bz2", ".xz", ".zst", ".zip", ".gpw", ".json", ".traj"}
_PART = ".hemiec-part"
_COMPLETED = "COMPLETED"
_OPEN = ("WAITING", "READY", "RESERVED", "RUNNING", "PAUSED")


def tidy_after(database: Database, fw_id: int, policy: Policy, run_dir: Path) -> None:
    """Tidy the folder of a job that has just ended and, if it was the last of its workflow, those of the others.

    Parameters
    ----------
    database
        Where the LaunchPad is.
    fw_id
        FireWorks' number of the job.
    policy
        ``all``: every folder stays as it is. ``compressed``: large text files of finished jobs are compressed.
        ``failed``: folders of finished jobs are removed when their workflow has ended, those of others stay.
        ``none``: of the others only what a calculation could go on from is kept. A workflow in which jobs wait for one
        that failed has not ended.
    run_dir
        Folders outside of it, or reached by links, are left alone.
    """
    if policy == "all":
        return
    workflow = database["workflows"].find_one({"nodes": fw_id}, {"nodes": 1})
    if workflow is None:
        return
    fields = {"fw_id": 1, "state": 1, "launches": 1, "archived_launches": 1}
    where = {"fw_id": fw_id} if policy == "compressed" else {"fw_id": {"$in": workflow["nodes"]}}
    fireworks = list(database["fireworks"].find(where, fields))
    if policy != "compressed" and any(fw["state"] in _OPEN for fw in fireworks):
        return
    for fw in fireworks:
        ids = [*fw["launches"], *fw.get("archived_launches", [])]
        for launch in database["launches"].find({"launch_id": {"$in": ids}}, {"launch_dir": 1}):
            tidy(Path(launch["launch_dir"]), policy, run_dir=run_dir, finished=fw["state"] == _COMPLETED)


def tidy(folder: Path, policy: Policy, *, run_dir: Path, finished: bool) -> None:
    """Tidy one folder; being killed in the middle does no harm, and doing it again goes on.

    Parameters
    ----------
    folder
        The run folder; one that is not there is fine.
    policy
        As for :func:`tidy_after`; ``failed`` and ``none`` remove at once.
    run_dir
        Folder that it has to lie in.
    finished
        Whether its job has a result; if not, it may be run again.
    """
    if policy == "all" or not _is_ours(folder, run_dir):
        return
    if policy == "compressed":
        if finished:
            for path in _files(folder):
                _compress(path)
    elif finished:
        shutil.rmtree(folder, ignore_errors=True)  # never follows links; what cannot be removed stays
    elif policy == "none":
        for path in _files(folder):
            if not any(path.match(pattern) for pattern in RESTART_FILES):
                path.unlink(missing_ok=True)


def _is_ours(folder: Path, run_dir: Path) -> bool:
    """Return whether it is a folder below the run folder, and no link leads to it."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    root, real = run_dir.resolve(), folder.resolve()
    return real != root and real.is_relative_to(root) and real == root / os.path.relpath(folder.absolute(), run_dir)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files in a folder and below; links are not followed."""
    for root, _, names in os.walk(folder, followlinks=False):
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _compress(path: Path) -> None:
    """Replace a large text file by a compressed one, which appears whole before the other goes."""
    if path.name.endswith(_PART):  # of one that was killed
        path.unlink(missing_ok=True)
        return
    if path.suffix in _NOT_COMPRESSED or path.stat().st_size < MIN_COMPRESSED_BYTES or not _is_text(path):
        return
    part = path.with_name(path.name + _PART)
    with path.open("rb") as source, part.open("wb") as raw:
        with gzip.GzipFile(path.name, "wb", compresslevel=6, fileobj=raw) as target:
            shutil.copyfileobj(source, target, 1024**2)
        raw.flush()
        os.fsync(raw.fileno())
    shutil.copystat(path, part)
    part.replace(path.with_name(f"{path.name}.gz"))
    path.unlink()


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(8192)
