"""What a leaderboard ranks by: definitions that come with hemiec or are read from YAML, and what goes together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hemiec.errors import InputError, did_you_mean
from hemiec.schemas.definition import Criterion, LeaderboardDefinition, Ties
from hemiec.schemas.documents import PROPERTIES
from hemiec.schemas.quantity import Document
from hemiec.schemas.validation import read_yaml

_SUFFIXES = (".yaml", ".yml")
_WEIGHT = re.compile(r"(\w+)\s*[=:]\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
#: Fixed values of a scale that differ by a smaller share of the larger one are taken for a slip.
_RESOLVED = 1e-9
_FAR_APART = f"expected values that differ by more than {_RESOLVED:g} of the larger, and by less than 1e308"
_MEND = "copy one of analysis/leaderboards/*.yaml, or name a shipped one: "


def load_definition(source: str | Path) -> LeaderboardDefinition:
    """Return a leaderboard definition: one that comes with hemiec by its name, or that in a YAML file.

    What has a suffix .yaml or .yml or names a folder is a file; anything else is first looked up among the shipped
    ones. The condition ``where`` is not looked at: whoever applies it knows the fields.

    Raises
    ------
    InputError
        If there is none, it is not YAML, or a key is unknown, missing or has a wrong value, or the values contradict
        each other. The message names the file, every wrong field, what was expected and what was got.
    """
    path, name = Path(source), str(source)
    is_file = path.suffix in _SUFFIXES or path.name != name
    if not is_file and name in shipped_names():
        return shipped(name)
    if not is_file and not path.is_file():
        raise InputError(f"no leaderboard definition {name!r} is shipped; {did_you_mean(name, shipped_names())}")
    if not path.exists():
        raise InputError(f"{path}: no such leaderboard definition.", mend=_MEND + ", ".join(shipped_names()))
    return definition_from(read_yaml(path), str(path))


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the names of the definitions that come with hemiec."""
    return tuple(sorted(Path(file.name).stem for file in _folder().iterdir() if file.name.endswith(_SUFFIXES)))


@cache
def shipped(name: str) -> LeaderboardDefinition:
    """Return a definition that comes with hemiec.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in shipped_names():
        raise InputError(f"no leaderboard definition {name!r} is shipped; {did_you_mean(name, shipped_names())}")
    text = _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return definition_from(yaml.safe_load(text), f"{name}.yaml")


def definition_from(content: Mapping[str, Any], where: str) -> LeaderboardDefinition:
    """Return the definition that a mapping states.

    Parameters
    ----------
    content
        Keys and values as in a YAML file.
    where
        Name of the file, for errors.

    Raises
    ------
    InputError
        As :func:`load_definition` does.
    """
    try:
        definition = LeaderboardDefinition.model_validate(content)
    except ValidationError as error:
        problems = " ".join(_explain(details) for details in error.errors(include_url=False))
        raise InputError(f"{where}: {problems}") from error
    return checked(definition, where)


def checked(definition: LeaderboardDefinition, where: str = "") -> LeaderboardDefinition:
    """Return a definition whose values go together.

    Raises
    ------
    InputError
        If a property is unknown or counts twice, a scale contradicts its direction or cannot be logarithmic, what a
        missing value does contradicts ``required``, or ties are to be broken by what is no criterion.
    """
    problems = [*_criteria_problems(definition.criteria), *_ties_problems(definition)]
    if problems:
        raise InputError(f"{where or definition.name}: {' '.join(problems)}")
    return definition


def with_weights(definition: LeaderboardDefinition, weights: Mapping[str, float]) -> LeaderboardDefinition:
    """Return a definition with other weights; those not named stay, and a weight of 0 takes a criterion out.

    Raises
    ------
    InputError
        If a property is no criterion, a weight is negative or not finite, or nothing is left.
    """
    known = [criterion.property for criterion in definition.criteria]
    for name, weight in weights.items():
        if name not in known:
            raise InputError(
                f"weights: {name[:60]!r} is no criterion of {definition.name}; {did_you_mean(name, known)}"
            )
        if not 0 <= weight < float("inf"):
            raise InputError(f"weights: {name}: expected a number from 0 up, got {weight:g}.")
    criteria = [
        criterion.model_copy(update={"weight": weights.get(criterion.property, criterion.weight)})
        for criterion in definition.criteria
        if weights.get(criterion.property, criterion.weight) > 0
    ]
    if not criteria:
        raise InputError(f"weights: nothing is left of {definition.name}.", mend="give a criterion a weight above 0")
    left = {criterion.property for criterion in criteria}
    by = [name for name in definition.ties.by if name in left]
    rule = "shared" if definition.ties.rule == "broken" and not by else definition.ties.rule
    ties = definition.ties.model_copy(update={"by": by, "rule": rule})
    return definition.model_copy(update={"criteria": criteria, "ties": ties})


def parse_weights(text: str) -> dict[str, float]:
    """Return property to weight of ``band_gap=2,migration_barrier=0.5``; a colon does as well.

    Raises
    ------
    InputError
        If it cannot be read or names a property twice.
    """
    weights: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _WEIGHT.fullmatch(part)
        if found is None:
            mend = "write it like band_gap=2,migration_barrier=0.5"
            raise InputError(f"weights: cannot read {part[:60]!r}.", mend=mend)
        name = found.group(1)
        if name in weights:
            raise InputError(f"weights: {name[:60]} comes twice; expected each once.")
        weights[name] = float(found.group(2))
    return weights


def _folder() -> Any:
    """Return the shipped definitions: a link to ``analysis/leaderboards``, whose files the wheel has."""
    return files("hemiec.ranking").joinpath("definitions")


def _criteria_problems(criteria: list[Criterion]) -> Iterator[str]:
    seen: set[str] = set()
    for index, criterion in enumerate(criteria):
        where = f"criteria[{index}]"
        if criterion.property not in PROPERTIES:
            hint = did_you_mean(criterion.property, PROPERTIES)
            yield f"{where}.property: unknown property {criterion.property!r}; {hint}"
        elif criterion.property in seen:
            yield f"{where}.property: {criterion.property!r} appears twice; use one weight instead."
        seen.add(criterion.property)
        scale = _target_problems if criterion.direction == "target" else _range_problems
        problems = list(scale(criterion)) or list(_log_problems(criterion))
        yield from (f"{where}.{problem}" for problem in problems)
        if criterion.required != (criterion.missing == "unranked"):
            which = "required" if criterion.required else "optional"
            choices = "unranked" if criterion.required else "leave_out or whole_range"
            yield f"{where}.missing: of a criterion that is {which}, expected {choices}, got {criterion.missing}."


def _range_problems(criterion: Criterion) -> Iterator[str]:
    """Yield what is wrong with the scale of a property that is minimised or maximised."""
    for name in ("window", "zero_at"):
        if getattr(criterion, name) is not None:
            yield f"{name}: goes with direction target alone; a {criterion.direction}d property has best and worst."
    for name in ("best", "worst"):
        if getattr(criterion, name) is None:
            yield f"{name}: missing; expected the value that scores {1 if name == 'best' else 0}."
    best, worst = criterion.best, criterion.worst
    if best is None or worst is None:
        return
    if best == worst or (best < worst) != (criterion.direction == "minimise"):
        relation = "below" if criterion.direction == "minimise" else "above"
        yield (
            f"best: to {criterion.direction}, expected best {relation} worst, got best {best:g} and worst {worst:g}."
        )
    elif not _apart(best, worst):
        yield f"best: {_FAR_APART}; got best {best!r} and worst {worst!r}."


def _target_problems(criterion: Criterion) -> Iterator[str]:
    """Yield what is wrong with the scale of a property with a target."""
    for name in ("best", "worst"):
        if getattr(criterion, name) is not None:
            yield f"{name}: goes with minimise and maximise alone; a target has window and zero_at."
    if criterion.window is None:
        yield "window: missing; expected the two values between which the score is 1."
        return
    low, high = criterion.window
    if low > high:
        yield f"window: expected the lower value first, got {low:g} and {high:g}."
        return
    below, above = criterion.zero_at or (None, None)
    if below is not None and below >= low:
        yield f"zero_at: expected the first below the window, which begins at {low:g}, got {below:g}."
    if above is not None and above <= high:
        yield f"zero_at: expected the second above the window, which ends at {high:g}, got {above:g}."
    for value, end in ((below, low), (above, high)):
        if value not in (None, end) and not _apart(value, end):
            yield f"zero_at: {_FAR_APART}; got {value!r} beside the window's {end!r}."


def _apart(a: float, b: float) -> bool:
    """Return whether values between two can be told from them, and their difference has a place in a float."""
    return math.isfinite(a - b) and abs(a - b) > _RESOLVED * max(abs(a), abs(b))


def _log_problems(criterion: Criterion) -> Iterator[str]:
    if criterion.transform != "log":
        return
    fixed = [criterion.best, criterion.worst, *(criterion.window or ()), *(criterion.zero_at or ())]
    wrong = [value for value in fixed if value is not None and value <= 0]
    if wrong:
        yield f"transform: log needs a scale above 0, got {wrong[0]:g}."


def _ties_problems(definition: LeaderboardDefinition) -> Iterator[str]:
    ties, counted = definition.ties, [criterion.property for criterion in definition.criteria]
    for index, name in enumerate(ties.by):
        if name not in counted:
            yield f"ties.by[{index}]: {name!r} is no criterion; {did_you_mean(name, counted)}"
        elif name in ties.by[:index]:
            yield f"ties.by[{index}]: {name!r} appears twice."
    if ties.rule == "broken" and not ties.by:
        yield "ties.by: missing; rule broken needs the properties that break ties."
    if ties.rule != "broken" and ties.by:
        yield f"ties.by: goes with rule broken alone, got rule {ties.rule}."


def _explain(details: ErrorDetails) -> str:
    """Return one validation error as ``field: expected ..., got ....``."""
    location, got = details["loc"], details["input"]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if details["type"] == "extra_forbidden":
        key = str(location[-1])
        parent = field[: -len(key) - 1]
        models: dict[str, type[Document]] = {"criteria": Criterion, "ties": Ties} if parent else {}
        known = models.get(str(location[0]), LeaderboardDefinition).model_fields
        return f"{parent + ': ' if parent else ''}unknown key {key!r}; {did_you_mean(key, known)}"
    if details["type"] == "missing":
        return f"{field}: missing."
    if details["type"] == "too_short":
        return f"{field}: expected at least {details['ctx']['min_length']}, got {details['ctx']['actual_length']}."
    if details["type"] == "literal_error":
        choices = re.findall("'([^']+)'", str(details.get("ctx", {}).get("expected")))
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        near = did_you_mean(str(got), choices)
        return f"{field}: expected {listed}, got {got!r}{'; ' + near if near.startswith('did you mean') else '.'}"
    expected = details["msg"].replace("Input should be", "expected").replace("String should", "expected to")
    return f"{field}: {expected}, got {str(got)[:80]!r}."


DEFAULT = shipped("as-asked")
"""The leaderboard of whoever names no other: band gap, migration barrier and formation energy."""
