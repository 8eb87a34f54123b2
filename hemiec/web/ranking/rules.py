"""The definitions that can be asked for by name: those that came with hemiec, and those of saved leaderboards."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pymongo import DESCENDING

from hemiec.errors import InputError, did_you_mean
from hemiec.ranking.definition import DEFAULT, shipped, shipped_names
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.store.database import Database

#: Saved leaderboards whose rules are listed, the latest.
MAX_SAVED = 50
_SAVED = "lb-"
_FIELDS = ("leaderboard_id", "title", "description", "where", "criteria", "ties", "draws", "top", "seed")


def shipped_definitions() -> dict[str, LeaderboardDefinition]:
    """Return name to definition of those that came with hemiec, the default first."""
    names = (DEFAULT.name, *(name for name in shipped_names() if name != DEFAULT.name))
    return {name: shipped(name) for name in names}


def saved_definitions(database: Database) -> dict[str, LeaderboardDefinition]:
    """Return id to definition of the latest saved leaderboards whose rules are no others' in the list."""
    order = [("created_at", DESCENDING), ("leaderboard_id", 1)]
    headers = database["leaderboards"].find({}, dict.fromkeys(_FIELDS, 1)).sort(order).limit(MAX_SAVED)
    seen = {_rules(definition) for definition in shipped_definitions().values()}
    found = {}
    for header in headers:
        definition = _definition(header)
        if definition is not None and _rules(definition) not in seen:
            seen.add(_rules(definition))
            found[definition.name] = definition
    return found


def definition_named(database: Database, name: str | None) -> LeaderboardDefinition:
    """Return a definition by its name, or that of a saved leaderboard by its id; the default without a name.

    Raises
    ------
    InputError
        If there is none.
    """
    known = shipped_definitions()
    if name is None:
        return DEFAULT
    if name in known:
        return known[name]
    if name.startswith(_SAVED):
        header = database["leaderboards"].find_one({"leaderboard_id": name}, dict.fromkeys(_FIELDS, 1))
        definition = None if header is None else _definition(header)
        if definition is not None:
            return definition
    raise InputError(f"definition: there is no {name[:64]!r}; {did_you_mean(name[:64], known)}")


def _definition(header: dict[str, Any]) -> LeaderboardDefinition | None:
    """Return the rules of a saved leaderboard, named by its id; None if they are in the form of an earlier hemiec."""
    content = {name: header[name] for name in _FIELDS[1:] if name in header}
    if not content.get("draws"):
        content.pop("draws", None)  # it was saved without draws
    try:
        return LeaderboardDefinition.model_validate({**content, "name": header["leaderboard_id"]})
    except ValidationError:
        return None


def _rules(definition: LeaderboardDefinition) -> str:
    return definition.model_dump_json(include={"where", "criteria", "ties"})
