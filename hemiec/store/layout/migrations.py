"""Bring documents of an older layout to this one: one at a time as they are read, or all of a store."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from hemiec.errors import StoreError
from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.layout.schema_files import STORED
from hemiec.store.layout.steps import to_2

Document = dict[str, Any]
_BUILD = "run `hemiec build`, which makes results anew from the jobs"
#: The steps in their order; each leads to its VERSION from the one before.
STEPS = (to_2,)
#: Collection to the field that names a document.
KEYS = {
    "candidates": "candidate_id",
    "hops": "hop_id",
    "transport": "transport_id",
    "thermodynamics": "thermodynamics_id",
    "structures": "structure_id",
    "references": "reference_id",
    "campaigns": "name",
    "plans": "plan_id",
    "calibrations": "calibration_id",
    "leaderboards": "leaderboard_id",
    "leaderboard_entries": "candidate_id",
}


def version_of(document: Document) -> int:
    """Return the version of a document's layout; one that does not say is of the first."""
    return int(document.get("schema_version", 1))


def upgrade(collection: str, document: Document) -> Document:
    """Return a document as this layout has it; what goes to other collections is still in it.

    Raises
    ------
    StoreError
        If it is of a newer layout, or not what an older hemiec wrote.
    """
    if version_of(document) > SCHEMA_VERSION:
        raise StoreError(
            f"{_named(collection, document)} was written by a newer hemiec (layout {version_of(document)}).",
            mend="update hemiec",
        )
    for step in STEPS:
        document = _stepped(step, collection, document)
    return document


def upgraded(collection: str, document: Document) -> dict[str, list[Document]]:
    """Return collection to documents of what becomes of one of an older layout; each is checked against its model.

    Raises
    ------
    StoreError
        If it cannot be brought to this layout.
    """
    parts = {collection: [document]}
    for step in STEPS:
        made: dict[str, list[Document]] = {}
        for name, documents in parts.items():
            for part in documents:
                apart = step.take_apart(name, _stepped(step, name, part)) if _is_before(step, part) else {name: [part]}
                for other, several in apart.items():
                    made.setdefault(other, []).extend(several)
        parts = made
    for name, documents in parts.items():
        for part in documents:
            _check(name, part, collection, document)
    return parts


def _is_before(step: Any, document: Document) -> bool:
    return version_of(document) < int(step.VERSION)


def _stepped(step: Any, collection: str, document: Document) -> Document:
    """Return a document after a step; as it is if it is beyond that already."""
    if not _is_before(step, document):
        return document
    try:
        return dict(step.upgrade(collection, document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{_named(collection, document)} is not what hemiec wrote in layout {step.VERSION - 1} "
            f"({type(error).__name__}: {str(error)[:200]}).",
            mend=_BUILD,
        ) from error


def _check(name: str, part: Document, collection: str, document: Document) -> None:
    try:
        STORED[name].model_validate({key: value for key, value in part.items() if key != "_id"})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"])
        raise StoreError(
            f"{_named(collection, document)} cannot be brought to layout {SCHEMA_VERSION}: {name}: {where}: "
            f"{first['msg']}.",
            mend=_BUILD,
        ) from error


def _named(collection: str, document: Document) -> str:
    return f"{collection}: {document.get(KEYS[collection], document.get('_id'))}"
