"""The JSON schema (draft 2020-12) of every stored document, made from its pydantic model, and the files they are in.

``db_config/schema`` holds one file per collection, for whoever reads the database without hemiec; the validators of
MongoDB are made from the same schemas. A test compares the files with the code.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hemiec.errors import InputError
from hemiec.files import write_whole
from hemiec.schemas.calibration import CalibrationDoc
from hemiec.schemas.documents import APART, SCHEMA_VERSION, CandidateDoc, ReferenceDoc
from hemiec.schemas.leaderboard import StoredEntry, StoredLeaderboard
from hemiec.schemas.quantity import Document
from hemiec.schemas.stored import HopDoc, StructureDoc, ThermodynamicsDoc, TransportDoc
from hemiec.schemas.submitted import CampaignDoc, PlanDoc

#: Collection to the model of its documents. Of candidates and entries, what has collections of its own is not stored.
STORED: dict[str, type[Document]] = {
    "candidates": CandidateDoc,
    "hops": HopDoc,
    "transport": TransportDoc,
    "thermodynamics": ThermodynamicsDoc,
    "structures": StructureDoc,
    "references": ReferenceDoc,
    "campaigns": CampaignDoc,
    "plans": PlanDoc,
    "calibrations": CalibrationDoc,
    "leaderboards": StoredLeaderboard,
    "leaderboard_entries": StoredEntry,
}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: Models of which `APART` is left out when they are stored.
_WITHOUT_PARTS = ("CandidateResult", "StoredEntry")
_FINGERPRINT = Path(__file__).with_name("fingerprint.json")


def schema_of(collection: str) -> dict[str, Any]:
    """Return the JSON schema of the documents of a collection, as they are stored (without MongoDB's ``_id``)."""
    made = STORED[collection].model_json_schema()
    definitions = made.pop("$defs", {})
    for definition in (made, *definitions.values()):
        if definition["title"] in _WITHOUT_PARTS:
            for name in APART:
                definition["properties"].pop(name)
    made["properties"]["schema_version"] |= {"const": SCHEMA_VERSION}
    made["required"] = ["schema_version", *made["required"]]
    schema = {"$schema": _DRAFT, "$id": f"{collection}.json", **made}
    used = _used(made, definitions)
    return schema | ({"$defs": {name: definitions[name] for name in sorted(used)}} if used else {})


def schema_files() -> dict[str, str]:
    """Return file name to content of the schemas of all collections."""
    return {f"{name}.json": json.dumps(schema_of(name), indent=1) + "\n" for name in STORED}


def write_schemas(folder: Path) -> list[Path]:
    """Write the schemas into a folder and return their files; in a checkout, renew the layout's fingerprint too.

    Raises
    ------
    InputError
        If the folder's parent does not exist, or a file cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        for name, content in schema_files().items():
            write_whole(folder / name, content)
    except OSError as error:
        raise InputError(f"{folder}: cannot write schemas: {error.strerror}.") from error
    return [folder / name for name in schema_files()]


def write_fingerprint() -> None:
    """Renew the hash of the validators that the package is shipped with."""
    write_whole(_FINGERPRINT, fingerprint_file())


def fingerprint_file() -> str:
    """Return the content of the shipped file that says which validators this code makes.

    Making them takes a quarter of a second, which not every command should pay to learn that a store has them.
    """
    from hemiec.store.layout.validators import validators

    content = json.dumps(validators(), sort_keys=True)
    stamp = {"schema_version": SCHEMA_VERSION, "validators": hashlib.sha256(content.encode()).hexdigest()}
    return json.dumps(stamp, indent=1) + "\n"


def _used(part: Any, definitions: dict[str, Any], found: set[str] | None = None) -> set[str]:
    """Return the names of the definitions that a part of a schema needs, directly or not."""
    names = set() if found is None else found
    if isinstance(part, dict):
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name and name not in names:
            names.add(name)
            _used(definitions[name], definitions, names)
        part = list(part.values())
    if isinstance(part, list):
        for value in part:
            _used(value, definitions, names)
    return names


def main() -> None:
    """Renew everything that is generated from the models in a checkout."""
    write_schemas(Path(__file__).parents[3] / "db_config" / "schema")
    write_fingerprint()


if __name__ == "__main__":
    main()
