"""Snapshots as folders: found by their names, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hemiec.errors import HemiecError, InputError, StoreError, did_you_mean
from hemiec.schemas.snapshot import SNAPSHOT_FORMAT, FileDoc, SnapshotManifest

MANIFEST, TABLE = "manifest.json", "candidates.parquet"
_BLOCK = 2**20
_ID = re.compile(r"snap-[0-9a-f]{16}")


def read_manifest(folder: Path) -> SnapshotManifest:
    """Return the manifest of a snapshot, whose files are there with the sizes it says.

    Raises
    ------
    InputError
        If there is no snapshot in the folder.
    StoreError
        If the manifest was changed or is that of another snapshot, a file is missing or of another size, or a newer
        hemiec wrote it.
    """
    path = folder / MANIFEST
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{folder}: there is no snapshot in it.", mend="`hemiec snapshots list` lists them") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, "it is not a manifest")
    if isinstance(content.get("format_version"), int) and content["format_version"] > SNAPSHOT_FORMAT:
        raise StoreError(
            f"{path}: written by a newer hemiec (format {content['format_version']}).", mend="update hemiec"
        )
    said, found = content.get("snapshot_id"), snapshot_id(content)
    if said != found:
        raise _damaged(path, f"it says {str(said)[:40]!r}, and its content is that of {found}")
    if _ID.fullmatch(folder.name) and folder.name != found:
        raise StoreError(
            f"{path}: it is the manifest of {found}, in a folder of another name.", mend=f"name the folder {found}"
        )
    try:
        manifest = SnapshotManifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path}: made by another hemiec ({field}: {first['msg']}).", mend="take it again") from error
    if TABLE not in [file.name for file in manifest.files]:
        raise _damaged(path, f"it does not name {TABLE}")
    for file in manifest.files:
        _check_size(folder / file.name, file)
    return manifest


def verify_files(folder: Path) -> SnapshotManifest:
    """Return the manifest of a snapshot after every byte of its files was compared with it.

    Raises
    ------
    InputError
        If there is no snapshot in the folder.
    StoreError
        If anything of it was changed.
    """
    manifest = read_manifest(folder)
    for file in manifest.files:
        found = sha256_of(folder / file.name)
        if found != file.sha256:
            raise _damaged(folder / file.name, f"its SHA-256 is {found[:12]}..., expected {file.sha256[:12]}...")
    return manifest


def list_snapshots(root: Path) -> tuple[list[SnapshotManifest], dict[str, str]]:
    """Return the manifests of all snapshots, the latest first, and folder to reason of those that cannot be read."""
    found, broken = [], {}
    for folder in sorted(root.glob("snap-*")) if root.is_dir() else []:
        try:
            manifest = read_manifest(folder)
        except HemiecError as error:
            broken[folder.name] = error.message
            continue
        if folder.name == manifest.snapshot_id:
            found.append(manifest)
        else:
            broken[folder.name] = f"{folder}: it is {manifest.snapshot_id}, in a folder of another name."
    return sorted(found, key=lambda m: (m.created_at, m.snapshot_id), reverse=True), broken


def find_snapshot(name: str | Path, root: Path) -> Path:
    """Return the folder of a snapshot by its id, the beginning of it, or a path.

    Raises
    ------
    InputError
        If there is none, or the beginning fits several.
    """
    text = str(name)
    if (Path(text) / MANIFEST).is_file():
        return Path(text)
    known = sorted(folder.name for folder in root.glob("snap-*")) if root.is_dir() else []
    fitting = [each for each in known if len(text) >= len("snap-") + 4 and each.startswith(text)]
    if text in known or len(fitting) == 1:
        return root / (text if text in known else fitting[0])
    if fitting:
        raise InputError(f"{text!r} is the beginning of {', '.join(fitting[:4])}.", mend="give more of the id")
    hint = did_you_mean(text[:60], known) if known else "none was taken yet: `hemiec snapshots take` does."
    raise InputError(f"no snapshot {text[:60]!r} in {root}; {hint}")


def snapshot_id(manifest: dict[str, Any]) -> str:
    """Return the id of a manifest's content: a hash of everything but the id itself and the time."""
    content = {key: value for key, value in manifest.items() if key not in ("snapshot_id", "created_at")}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return f"snap-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file of a snapshot, as hexadecimal digits.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise _damaged(path, f"it cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _check_size(path: Path, file: FileDoc) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _damaged(path, "it is missing") from error
    if size != file.size_bytes:
        raise _damaged(path, f"it has {size:,} bytes, expected {file.size_bytes:,}")


def _damaged(path: Path, reason: str) -> StoreError:
    return StoreError(f"{path}: the snapshot is damaged: {reason}.", mend="use another one, or take it again")
