"""MongoDB's validators of the stored documents, made from their JSON schemas.

MongoDB knows draft 4 without references, formats and constants, and its own names of types. A check costs the server
about half a microsecond for each field. So the upper levels of a document are checked in full, and below them the
numbers that candidates are judged by: the value and the spread of every quantity.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hemiec.store.layout.schema_files import STORED, schema_of

#: Levels of objects and arrays whose content is checked in full, the document being the first. Candidates of 8 kB go
#: in at 0.6 of the rate without a validator (4,000 of 6,600 a second, one client); in full at all depths at 0.45.
DEPTH = 2
#: Model whose numbers are checked at any depth, and these.
_QUANTITY, _NUMBERS = "Quantity", ("value", "std")
#: Largest finite number: MongoDB takes NaN and infinity for numbers.
_LARGEST = 1.7976931348623157e308
#: JSON schema's types to MongoDB's; times are stored as text or as dates.
_TYPES = {
    "object": ["object"],
    "array": ["array"],
    "string": ["string"],
    "boolean": ["bool"],
    "null": ["null"],
    "integer": ["int", "long"],
    "number": ["double", "int", "long"],
}
_TIME = ["string", "date"]
_KEPT = (
    *("minLength", "maxLength", "pattern", "enum", "minItems", "maxItems", "uniqueItems"),
    *("minProperties", "maxProperties", "minimum", "maximum"),
)


@cache
def validators() -> dict[str, dict[str, Any]]:
    """Return collection to its validator."""
    return {name: {"$jsonSchema": json_schema(schema_of(name))} for name in STORED}


def json_schema(schema: dict[str, Any], depth: int = DEPTH) -> dict[str, Any]:
    """Return what MongoDB's ``$jsonSchema`` can check of a JSON schema.

    Parameters
    ----------
    schema
        Schema of a document, with its definitions.
    depth
        Levels whose content is checked in full.
    """
    converted = _convert(schema, schema.get("$defs", {}), depth)
    converted["properties"]["_id"] = {}
    return converted


def _convert(node: Any, definitions: dict[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {}
    if "$ref" in node:
        return _convert(definitions[node["$ref"].rpartition("/")[2]], definitions, depth)
    if "anyOf" in node or "oneOf" in node:
        return _any_of([_convert(part, definitions, depth) for part in node.get("anyOf") or node["oneOf"]])
    out = {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        out["enum"] = [node["const"]]
    kind = node.get("type")
    if kind is not None:
        out["bsonType"] = _TIME if node.get("format") == "date-time" else _TYPES[kind]
    if kind in ("integer", "number"):
        _bound(out, node)
    if depth <= 0:
        return out | (_quantities(node, definitions) or {})
    if kind == "object":
        _object(out, node, definitions, depth)
    if kind == "array":
        _array(out, node, definitions, depth)
    return out


def _quantities(node: Any, definitions: dict[str, Any]) -> dict[str, Any] | None:
    """Return what checks the numbers of all quantities in a part of a document; None if there are none."""
    if not isinstance(node, dict):
        return None
    if "$ref" in node:
        return _quantities(definitions[node["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in node:  # a model, or null
        return next(filter(None, (_quantities(part, definitions) for part in node["anyOf"])), None)
    fields = node.get("properties", {})
    if node.get("title") == _QUANTITY:
        return {"properties": {key: _convert(fields[key], definitions, 0) for key in _NUMBERS}}
    found = {key: _quantities(part, definitions) for key, part in fields.items()}
    if properties := {key: part for key, part in found.items() if part is not None}:
        return {"properties": properties}
    for key in ("items", "additionalProperties"):
        if (part := _quantities(node.get(key), definitions)) is not None:
            return {key: part}
    return None


def _bound(out: dict[str, Any], node: dict[str, Any]) -> None:
    """Add the limits of a number; NaN is below the lowest."""
    if node["type"] == "number":
        out.setdefault("minimum", -_LARGEST)
        out.setdefault("maximum", _LARGEST)
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in node:
            out |= {limit: node[exclusive], exclusive: True}


def _object(out: dict[str, Any], node: dict[str, Any], definitions: dict[str, Any], depth: int) -> None:
    if "properties" in node:
        out["properties"] = {k: _convert(v, definitions, depth - 1) for k, v in node["properties"].items()}
    if node.get("required"):
        out["required"] = node["required"]
    others = node.get("additionalProperties")
    if others is False:
        out["additionalProperties"] = False
    elif isinstance(others, dict):
        out["additionalProperties"] = _convert(others, definitions, depth - 1)


def _array(out: dict[str, Any], node: dict[str, Any], definitions: dict[str, Any], depth: int) -> None:
    if "prefixItems" in node:
        out["items"] = [_convert(part, definitions, depth - 1) for part in node["prefixItems"]]
        out["additionalItems"] = False
    elif "items" in node:
        out["items"] = _convert(node["items"], definitions, depth - 1)


def _any_of(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one schema for several; `null` beside one other is a type more of that one, which is faster to check."""
    null = {"bsonType": ["null"]}
    others = [part for part in parts if part != null]
    if len(others) == 1 and len(parts) == 2 and "bsonType" in others[0]:
        (only,) = others
        enum = {"enum": [*only["enum"], None]} if "enum" in only else {}
        return only | {"bsonType": [*only["bsonType"], "null"]} | enum
    return {"anyOf": parts} if len(parts) > 1 else parts[0]
