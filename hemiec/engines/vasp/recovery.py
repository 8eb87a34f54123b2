"""Errors that custodian mends, the wall time after which a run goes on elsewhere, and the record of both."""

from __future__ import annotations

import gzip
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemiec.schemas.calculations import ScfAttempt

if TYPE_CHECKING:
    from custodian.custodian import ErrorHandler

#: custodian looks at a running VASP every so many seconds, and asks its monitors at every n-th look.
POLLING_S = 10.0
MONITOR_EVERY = 6
#: VASP is told to stop this long before the wall time, or a tenth of it if that is less: one ionic step must fit.
STOP_BEFORE_S = 900.0
_WALLTIME_ERROR = "Walltime reached"
_WALLTIME_START = "CUSTODIAN_WALLTIME_START"
_ITERATION = re.compile(r"^\s*[A-Z]+:\s+\d+\s+(\S+)", re.MULTILINE)
_LOOP_TIME = re.compile(r"LOOP:\s+cpu time\s*\S+\s*real time\s*(\d+\.\d+)")


def handlers(walltime_h: float | None, *, relaxing: bool) -> list[ErrorHandler]:
    """Return atomate2's error handlers, new for each run, and one that stops VASP in time.

    Parameters
    ----------
    walltime_h
        Wall time in h; None for no limit.
    relaxing
        Whether VASP may finish the ionic step; else it stops after the electronic one.
    """
    from atomate2.vasp.run import DEFAULT_HANDLERS
    from custodian.vasp.handlers import WalltimeHandler

    found: list[ErrorHandler] = [type(handler)() for handler in DEFAULT_HANDLERS]
    if walltime_h is not None:
        limit = 3600 * walltime_h
        # custodian counts from the first run of a process, a worker has many: forget the earlier ones.
        os.environ.pop(_WALLTIME_START, None)
        stop_before = min(STOP_BEFORE_S, 0.1 * limit)
        found.append(WalltimeHandler(wall_time=limit, buffer_time=stop_before, electronic_step_stop=not relaxing))
        os.environ.pop(_WALLTIME_START, None)
    return found


def corrections(folder: Path) -> list[dict[str, Any]]:
    """Return the corrections of a run in the order they were made: ``errors`` and ``actions`` of each."""
    return [c for entry in _log(folder) for c in entry.get("corrections", [])]


def reached_walltime(folder: Path) -> bool:
    """Return whether custodian stopped the run for its wall time."""
    return any(_WALLTIME_ERROR in c.get("errors", []) for c in corrections(folder))


def failed_attempts(folder: Path) -> list[ScfAttempt]:
    """Return an attempt for each correction: what was wrong, what was changed, how far the SCF had come.

    The time of an attempt is that of its finished electronic iterations.
    """
    archives = sorted(folder.glob("error.*.tar.gz"), key=lambda p: int(p.name.split(".")[1]))
    found = []
    for n, correction in enumerate(c for c in corrections(folder) if _WALLTIME_ERROR not in c.get("errors", [])):
        files = _read_archive(archives[n]) if n < len(archives) else {}
        energies = [float(e) for e in _ITERATION.findall(files.get("OSZICAR", "")) if _is_number(e)]
        found.append(
            ScfAttempt(
                settings={"custodian": correction.get("actions") or []},
                converged=False,
                n_iterations=len(energies) or None,
                elapsed_s=sum(float(t) for t in _LOOP_TIME.findall(files.get("OUTCAR", ""))),
                energies=energies,
                message=", ".join(str(e) for e in correction.get("errors", [])),
            )
        )
    return found


def _log(folder: Path) -> list[dict[str, Any]]:
    for name, opener in (("custodian.json", open), ("custodian.json.gz", gzip.open)):
        path = folder / name
        if path.is_file():
            with opener(path, "rt", encoding="utf-8") as file:
                return list(json.load(file))
    return []


def _read_archive(path: Path) -> dict[str, str]:
    """Return the texts of OSZICAR and OUTCAR in custodian's archive of a failed attempt."""
    return dict(_members(path))


def _members(path: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            name = Path(member.name).name
            file = archive.extractfile(member) if name in ("OSZICAR", "OUTCAR") else None
            if file is not None:
                yield name, file.read().decode("utf-8", errors="replace")


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
