"""What the report shows of candidates beyond their entries, read from the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pydantic import ValidationError
from pymongo import ASCENDING

from hemiec.errors import StoreError
from hemiec.ranking.report.background import Background, background_of
from hemiec.schemas.stored import StructureDoc
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database
from hemiec.store.layout.migrations import upgrade


def read_backgrounds(database: Database, candidate_ids: Sequence[str]) -> dict[str, Background]:
    """Return what the store knows of candidates: sites, structures, jobs.

    A candidate that the store does not have, or cannot read, is left out; its card says so.

    Parameters
    ----------
    database
        The store; the role `read` is enough.
    candidate_ids
        Candidates; their structures are held in memory, about 20 kB each.

    Raises
    ------
    StoreError
        If a structure is stored in a layout that cannot be read.
    """
    of_these = {"candidate_id": {"$in": list(candidate_ids)}}
    structures: dict[str, list[StructureDoc]] = defaultdict(list)
    for document in database["structures"].find(of_these, {"_id": 0}).sort("structure_id", ASCENDING):
        structures[document["candidate_id"]].append(_structure(document))
    found = read_candidates(database, of_these, whole=False, report=lambda *_: None)
    return {doc.candidate_id: background_of(doc, structures[doc.candidate_id]) for doc in found}


def _structure(document: dict[str, object]) -> StructureDoc:
    try:
        return StructureDoc.model_validate(upgrade("structures", document))
    except ValidationError as error:
        raise StoreError(
            f"structure {document.get('structure_id')}: cannot be read ({error.error_count()} wrong fields).",
            mend="run `hemiec build --all`",
        ) from error
