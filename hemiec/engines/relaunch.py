"""What an earlier launch of the same job left behind: a job that was killed goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def earlier_launches(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield folder and action of the earlier launches of the Firework that runs in a folder, the latest first.

    FireWorks runs a job again in a new folder, and writes there where it ran before. Nothing is yielded where no
    Firework runs, as with jobflow-remote, which runs a job again in the folder that it had.
    """
    try:
        launches = json.loads((folder / "FW.json").read_text(encoding="utf-8"))["archived_launches"]
    except (OSError, ValueError, KeyError):
        return
    for launch in sorted(launches, key=lambda found: int(found["launch_id"]), reverse=True):
        yield Path(launch["launch_dir"]), launch.get("action")
