"""The sample database that comes with hemiec: real candidates of three small campaigns, as an archive."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from hemiec.errors import InputError
from hemiec.store.archive.importing import Imported, import_archive
from hemiec.store.archive.members import Manifest, open_archive
from hemiec.store.database import Database, store_errors


def sample_archive() -> Path:
    """Return the file of `hemiec export` that the sample is."""
    return Path(str(resources.files("hemiec") / "sample" / "perovskites.zip"))


def sample_manifest() -> Manifest:
    """Return what the sample holds, and the hash that it can be cited by."""
    with open_archive(sample_archive()) as archive:
        return archive.manifest


def load_sample(database: Database, *, report: Callable[[str, int, int], None] | None = None) -> Imported:
    """Bring the sample into a store that holds nothing else, and return what was new.

    A second time nothing is; a load that was interrupted is completed.

    Parameters
    ----------
    database
        The store.
    report
        Called from time to time with what is being done, how much is done, and of how much.

    Raises
    ------
    InputError
        If the store holds candidates of its own: they and the sample would be ranked together.
    StoreError
        If the store refuses.
    """
    with store_errors():
        origin = {"origin.archive": sample_manifest().content_hash}
        of_sample = database["imported"].distinct("candidate_id", origin)
        others = database["candidates"].count_documents({"candidate_id": {"$nin": of_sample}}, limit=1)
        submitted = database["campaigns"].count_documents({}, limit=1)
    if others or submitted:
        raise InputError(
            "the sample database goes into an empty store only: this one holds campaigns or candidates of its own, "
            "and they would be ranked together.",
            mend="set HEMIEC_DATA_DIR to a new folder, or add the sample on purpose with "
            f"`hemiec import {sample_archive()}`",
        )
    return import_archive(database, sample_archive(), report=report)
