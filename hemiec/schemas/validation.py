"""From pydantic's errors to one clear line: which file, which field, what was expected, how to mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from hemiec.errors import InputError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which would silently keep the last of two equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            # Merged keys (<<) may be overridden; only written ones count.
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, error_type: type[InputError] = InputError) -> dict[str, Any]:
    """Return the mapping in a YAML file; a missing, unreadable or malformed file raises ``error_type``."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except FileNotFoundError as error:
        raise error_type(
            f"{path}: no such file.", mend="give the path of a YAML file, such as flows/quickstart.yaml"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise error_type(
            f"{path}:{place} not valid YAML ({getattr(error, 'problem', None) or 'malformed'})."
        ) from error
    except RecursionError as error:
        raise error_type(f"{path}: not valid YAML (nested too deeply).") from error
    except (OSError, UnicodeDecodeError) as error:
        raise error_type(f"{path}: cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise error_type(f"{path}: expected a mapping of keys to values, got {type(content).__name__}.")
    return content


def validate(
    model: type[Model], content: dict[str, Any], where: str, error_type: type[InputError] = InputError
) -> Model:
    """Return ``model`` made from ``content``; the first thing wrong raises ``error_type`` with its field."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise error_type(f"{where}: {_describe(model, error)}") from error


def _describe(model: type[BaseModel], error: ValidationError) -> str:
    problems = error.errors()
    # A misspelt key also makes the right one missing: the misspelling is what the user must hear of.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = [str(part) for part in problem["loc"]]
    field = ".".join(location)
    if problem["type"] == "extra_forbidden":
        parent = _model_at(model, problem["loc"][:-1])
        known = parent.model_fields if parent else ()
        hint = did_you_mean(location[-1], known) if known else "remove it."
        return f"unknown key {field!r}; {hint}"
    if problem["type"] == "missing":
        return f"key {field!r} is missing."
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    prefix = "expected " if problem["msg"].startswith("Input should be ") else ""
    got = f", got {problem['input']!r}" if not isinstance(problem["input"], dict | list) else ""
    return f"key {field!r}: {prefix}{message}{got}."


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model that a path of keys leads to, as far as plain annotations tell."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        fields = getattr(current, "model_fields", None)
        if not fields or part not in fields:
            return None
        current = _inner_model(fields[part].annotation)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None
