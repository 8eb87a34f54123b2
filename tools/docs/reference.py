"""MkDocs hook: pages of the reference that are made from the code when the site is built.

Commands come from click, files and stored documents from the pydantic models: what they say is what the program does.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import click

Schema = dict[str, Any]

_MADE = "This page is made from the code when the site is built."


def cell(text: object) -> str:
    """Return text for a cell of a Markdown table; what stands between backticks is code."""
    parts = str(text).replace("\n", " ").replace("|", r"\|").split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", r"\*") for part in parts[::2]]
    return "`".join(parts)


# Commands


def command_page() -> str:
    """Return every command with its usage, help, arguments and options."""
    from hemiec.cli.main import cli

    lines = [
        "# Commands and options",
        "",
        f"{_MADE} What the commands print, and what their JSON holds, is in [the guide](../command-line.md).",
        "",
    ]
    for name, command in _commands(cli, "hemiec"):
        lines += _command(name, command)
    return "\n".join(lines)


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=prefix)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix} {name}")


def _command(name: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", "", "```text", usage, "```", ""]
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        # A paragraph after \b is laid out by hand: examples and tables.
        if "\b" in paragraph:
            lines += ["```text", paragraph.replace("\b", "").strip("\n "), "```", ""]
        else:
            lines += [cell(" ".join(paragraph.split())), ""]
    records = [parameter.get_help_record(context) for parameter in command.params]
    # An argument without a text is in the usage already.
    rows = [record for record in records if record and record[1]]
    if rows:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| {cell(f'`{option}`')} | {cell(meaning)} |" for option, meaning in rows]
        lines.append("")
    return lines


# Schemas


def schema_sections(title: str, schema: Schema, known: dict[str, Schema]) -> list[str]:
    """Return a heading, a description and a table of fields of one JSON schema; `known` are the definitions."""
    lines = [f"## {title} {{#{_anchor(title)}}}", "", *_description(schema), ""]
    fields = schema.get("properties")
    if not fields:
        return [*lines, type_of(schema), ""]
    required = set(schema.get("required", ()))
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = "required" if name in required else _default(field)
        lines.append(f"| `{name}` | {type_of(field)} | {default} | {cell(_meaning(field, known))} |")
    return [*lines, ""]


def _meaning(field: Schema, known: dict[str, Schema]) -> str:
    # pydantic leaves out the description of a field that is the same as that of its model.
    model = known.get(field.get("$ref", "").rsplit("/", 1)[-1], {})
    return str(field.get("description") or model.get("description", "")).split("\n\n")[0]


def definitions(*schemas: Schema) -> dict[str, Schema]:
    """Return what the schemas refer to, by name."""
    found: dict[str, Schema] = {}
    for schema in schemas:
        found |= schema.get("$defs", {})
    return dict(sorted(found.items()))


def type_of(part: Schema) -> str:
    """Return the type of a field in words, for a table."""
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{_anchor(name)})"
    if "const" in part:
        return f"`{json.dumps(part['const'])}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "anyOf" in part:
        kinds = [type_of(one) for one in part["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    if part.get("type") == "array":
        return _array(part)
    if part.get("type") == "object":
        values = part.get("additionalProperties")
        return f"mapping to {type_of(values)}" if isinstance(values, dict) and values else "mapping"
    return {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false", "null": "null"}.get(
        part.get("type", ""), "any"
    ) + _limits(part)


def _array(part: Schema) -> str:
    if "prefixItems" in part:
        return f"({'; '.join(type_of(one) for one in part['prefixItems'])})"
    items = part.get("items")
    return f"list of {type_of(items)}" if isinstance(items, dict) and items else "list"


def _limits(part: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "&lt;"}
    found = [f"{sign} {part[key]}" for key, sign in signs.items() if key in part]
    if "pattern" in part:
        found.append(cell(f"`{part['pattern']}`"))
    return f", {', '.join(found)}" if found else ""


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return "null" if value is None else cell(f"`{json.dumps(value, ensure_ascii=False)}`")


def _description(schema: Schema) -> list[str]:
    """Return a model's docstring as Markdown; Sphinx roles and double backticks become code."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", schema.get("description", ""))
    return [paragraph.replace("``", "`") for paragraph in text.split("\n")]


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def model_page(title: str, intro: str, models: dict[str, Any]) -> str:
    """Return a page of models, and of what they are made of."""
    schemas = {name: model.model_json_schema() for name, model in models.items()}
    return schema_page(title, intro, schemas)


def schema_page(title: str, intro: str, schemas: dict[str, Schema]) -> str:
    """Return a page of schemas by title, each definition once after them."""
    known = definitions(*schemas.values())
    lines = [f"# {title}", "", f"{_MADE} {intro}", ""]
    for name, schema in (schemas | known).items():
        lines += schema_sections(name, schema, known)
    return "\n".join(lines)


def campaign_page() -> str:
    """Return the keys of a campaign file."""
    from hemiec.schemas.campaign import CampaignSpec

    intro = "Examples, and how fractions, charges and ladders are meant: [the campaign file](../campaign-file.md)."
    return model_page("Keys of a campaign file", intro, {"Campaign": CampaignSpec})


def leaderboard_page() -> str:
    """Return the keys of a leaderboard definition."""
    from hemiec.schemas.definition import LeaderboardDefinition

    intro = "Examples: [leaderboards](../leaderboards.md). `hemiec rank FILE` checks a file in full before it ranks."
    return model_page("Keys of a leaderboard definition", intro, {"Leaderboard": LeaderboardDefinition})


def protocol_page() -> str:
    """Return the keys of a protocol, by engine."""
    from hemiec.engines.gpaw.protocol import GpawProtocol
    from hemiec.engines.mlip.protocol import MlipProtocol
    from hemiec.engines.vasp.protocol import VaspProtocol

    intro = "What protocols are for: [protocols](../protocols.md); `hemiec protocols NAME` prints one in full."
    models = {"Machine-learned potential": MlipProtocol, "GPAW": GpawProtocol, "VASP": VaspProtocol}
    return model_page("Keys of a protocol", intro, models)


def settings_page() -> str:
    """Return the settings, with the names of their environment variables."""
    from hemiec.settings import Settings

    schema = Settings.model_json_schema()
    # Defaults that are made on the spot would be those of the machine that builds the site.
    made = {name for name, field in Settings.model_fields.items() if field.default_factory is not None}
    schema["properties"] = {
        f"HEMIEC_{name.upper()}": {key: value for key, value in field.items() if key != "default" or name not in made}
        for name, field in schema["properties"].items()
    }
    intro = (
        "In the settings file the names are in lower case, without `HEMIEC_`. "
        "What is behind them: [the database](../database.md#settings) and [its care](../database-care.md)."
    )
    return schema_page("Settings", intro, {"Environment variables": schema})


def documents_page() -> str:
    """Return the fields of all stored documents."""
    from hemiec.store.layout.schema_files import STORED, schema_of

    intro = (
        "One section per collection, then what their documents are made of. The same as JSON schemas: "
        "`db_config/schema`, or `hemiec db schema --to DIR`. How they hang together: "
        "[the layout of the database](../database-layout.md)."
    )
    return schema_page("Stored documents", intro, {name: schema_of(name) for name in STORED})


# REST


def rest_page() -> str:
    """Return every address of the REST interface with its parameters."""
    from hemiec.settings import Settings
    from hemiec.store.database import Database
    from hemiec.web.app import create_app

    # Nothing is asked of the database, so none has to be there.
    nowhere = Database("mongodb://127.0.0.1:1/", "none")
    app = create_app(Settings(mongo_uri="mongodb://127.0.0.1:1/"), database=nowhere, table=False)
    lines = [
        "# REST addresses",
        "",
        f"{_MADE} How answers, errors, pages and tokens work: [the server](../rest.md). A running server describes "
        "itself at `/docs`, and in OpenAPI at `/api/v1/openapi.json`.",
        "",
    ]
    for path, methods in app.openapi()["paths"].items():
        about = methods["get"]
        lines += [f"## {path} {{#{_anchor(path)}}}", "", cell(about["summary"]) + ".", "", *_rest_text(about)]
        rows = [_rest_row(parameter) for parameter in about.get("parameters", [])]
        if rows:
            lines += ["| parameter | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _rest_text(about: Schema) -> list[str]:
    return [about["description"], ""] if about.get("description") else []


def _rest_row(parameter: Schema) -> str:
    schema = parameter["schema"]
    default = "required" if parameter.get("required") else _default(schema)
    meaning = parameter.get("description", schema.get("description", ""))
    return f"| `{parameter['name']}` | {type_of(schema)} | {default} | {cell(meaning)} |"


#: Page of the site to the function that makes it.
PAGES = {
    "reference/commands.md": command_page,
    "reference/campaign-keys.md": campaign_page,
    "reference/leaderboard-keys.md": leaderboard_page,
    "reference/protocol-keys.md": protocol_page,
    "reference/settings.md": settings_page,
    "reference/documents.md": documents_page,
    "reference/rest.md": rest_page,
}


def on_files(files: Any, *, config: Any, **_: Any) -> Any:
    """Called by MkDocs with the files of the site."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    return files
