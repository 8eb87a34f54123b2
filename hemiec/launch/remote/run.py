"""Run one job of jobflow-remote in its folder: ``python -m hemiec.launch.remote.run FOLDER``.

The same as ``jf execution run`` in half the time, with two differences: what the job names is checked before it is
imported, and parts of an output that are too large for a document of MongoDB go where large objects lie.
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobflow_remote.jobs.data import IN_FILENAME, OUT_FILENAME
from jobflow_remote.jobs.run import run_remote_job
from maggma.core import Store
from monty.serialization import dumpfn

from hemiec.errors import HemiecError
from hemiec.settings import load_settings
from hemiec.store.objects import OutputStore
from hemiec.store.trust import Trust


class RemoteOutputStore(OutputStore):
    """The store of one job's output, in files of its folder."""

    def __init__(
        self,
        docs_store: Store,
        additional_stores: dict[str, Store] | None = None,
        save: dict[str, Any] | None = None,
        load: bool = False,
    ) -> None:
        super().__init__(Trust(load_settings().trusted_packages), docs_store, additional_stores, save, load)


def run(folder: Path) -> None:
    """Run the job in a folder; its output, or the reason why there is none, is written there."""
    for old in (*folder.glob(f"{OUT_FILENAME}*"), *folder.glob("*_data.json*")):
        old.unlink()  # of an earlier launch; files of the calculation itself stay
    started = datetime.now(UTC)
    try:
        path = folder / IN_FILENAME
        content = json.loads(path.read_text())
        Trust(load_settings().trusted_packages).check(content["job"])
        store = {"@module": "hemiec.launch.remote.run", "@class": RemoteOutputStore.__name__}
        path.write_text(json.dumps(content | {"store": content["store"] | store}))
    except (HemiecError, OSError, ValueError):
        ended = datetime.now(UTC)
        answer = {"response": None, "error": traceback.format_exc(), "start_time": started, "end_time": ended}
        dumpfn(answer, folder / OUT_FILENAME)
    else:
        run_remote_job(folder)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
