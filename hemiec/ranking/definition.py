"""What a leaderboard ranks by: properties, directions, weights and scales, read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from hemiec.errors import InputError, did_you_mean
from hemiec.schemas.definition import Criterion
from hemiec.schemas.documents import PROPERTIES
from hemiec.schemas.quantity import Document

Direction = Literal["minimise", "maximise"]
DIRECTIONS: tuple[Direction, ...] = ("minimise", "maximise")


class LeaderboardDefinition(Document):
    """The criteria of a leaderboard, as a file in ``analysis/leaderboards`` states them."""

    name: str = Field(description="Name for files and links: lower case, digits and hyphens.", pattern=r"^[a-z0-9-]+$")
    title: str = Field(description="Title for people.", min_length=1)
    description: str = Field("", description="What the leaderboard is for.")
    criteria: list[Criterion] = Field(description="What the rank is made of.", min_length=1)

    @model_validator(mode="after")
    def _criteria_make_sense(self) -> LeaderboardDefinition:
        seen: set[str] = set()
        for index, criterion in enumerate(self.criteria):
            where = f"criteria[{index}]"
            if criterion.property not in PROPERTIES:
                hint = did_you_mean(criterion.property, PROPERTIES)
                raise ValueError(f"{where}.property: unknown property {criterion.property!r}; {hint}")
            if criterion.property in seen:
                raise ValueError(f"{where}.property: {criterion.property!r} appears twice; use one weight instead.")
            seen.add(criterion.property)
            lower_is_better = criterion.best < criterion.worst
            if criterion.best == criterion.worst or lower_is_better != (criterion.direction == "minimise"):
                relation = "below" if criterion.direction == "minimise" else "above"
                raise ValueError(
                    f"{where}.best: to {criterion.direction}, expected best {relation} worst, "
                    f"got best {criterion.best:g} and worst {criterion.worst:g}."
                )
        return self


DEFAULT = LeaderboardDefinition(
    name="mixed-conductor",
    title="Mixed ionic-electronic conductors",
    description=(
        "Small band gap for electronic conduction, low migration barrier for ionic conduction, "
        "and a formation energy from the elements that is as negative as possible."
    ),
    criteria=[
        Criterion(property="band_gap", direction="minimise", weight=1, best=0, worst=3),
        Criterion(property="migration_barrier", direction="minimise", weight=1, best=0.2, worst=1.2),
        Criterion(property="formation_energy_per_atom", direction="minimise", weight=1, best=-4, worst=-1),
    ],
)
"""The leaderboard of a campaign that names no other; the same as analysis/leaderboards/mixed-conductor.yaml."""


def load_definition(path: str | Path) -> LeaderboardDefinition:
    """Return the leaderboard definition in a YAML file.

    Raises
    ------
    InputError
        If the file is missing or is not YAML, or if a key is unknown, missing or has a wrong value.
        The message names the file, every wrong field, what was expected and what was got.
    """
    path = Path(path)
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such leaderboard definition.", mend="copy one of analysis/leaderboards/*.yaml"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as YAML ({reason}).") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a mapping with {', '.join(LeaderboardDefinition.model_fields)}, "
            f"got {'nothing' if content is None else type(content).__name__}."
        )
    try:
        return LeaderboardDefinition.model_validate(content)
    except ValidationError as error:
        problems = " ".join(_explain(details) for details in error.errors(include_url=False))
        raise InputError(f"{path}: {problems}") from error


def _explain(details: ErrorDetails) -> str:
    """Return one validation error as ``field: expected ..., got ....``."""
    location, got = details["loc"], details["input"]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if details["type"] == "extra_forbidden":
        key = str(location[-1])
        parent = field[: -len(key) - 1]
        known = Criterion.model_fields if parent else LeaderboardDefinition.model_fields
        return f"{parent + ': ' if parent else ''}unknown key {key!r}; {did_you_mean(key, known)}"
    if details["type"] == "missing":
        return f"{field}: missing."
    if details["type"] == "literal_error":
        return f"{field}: expected {' or '.join(DIRECTIONS)}, got {got!r}; {did_you_mean(str(got), DIRECTIONS)}"
    if details["type"] == "value_error":
        return details["msg"].removeprefix("Value error, ")
    expected = details["msg"].replace("Input should be", "expected").replace("String should", "expected to")
    return f"{field}: {expected}, got {got!r}."
