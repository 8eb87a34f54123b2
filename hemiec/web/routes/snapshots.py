"""Snapshots of the store, and what has changed between two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hemiec.ranking.snapshots.files import MANIFEST, TABLE, read_manifest
from hemiec.schemas.diff import DiffDoc
from hemiec.schemas.snapshot import SnapshotManifest
from hemiec.store.comparisons import compare_stored
from hemiec.store.database import Database
from hemiec.store.snapshots import read_snapshots, snapshots_folder
from hemiec.web.answers import FOREVER, send_json, send_path
from hemiec.web.description import NOT_FOUND
from hemiec.web.parameters import NoParameters
from hemiec.web.problems import Problem
from hemiec.web.ranking.latest import Latest
from hemiec.web.ranking.models import SnapshotList
from hemiec.web.ranking.parameters import DiffQuery, SnapshotId
from hemiec.web.ranking.rules import definition_named
from hemiec.web.reading import Read

_TABLE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The table of candidates.",
        "content": {"application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}}},
    }
}
#: Reading and comparing two snapshots, in s.
_DIFF_TIME_S = 60.0

router = APIRouter(tags=["snapshots"])


@router.get("/snapshots", response_model=SnapshotList, summary="Snapshots")
def list_snapshots(request: Request, read: Read, _: NoParameters) -> Response:
    """The snapshots in the data folder of this server, the latest first."""
    found, broken = read_snapshots(read.settings)
    return send_json(request, {"documents": [manifest.to_mongo() for manifest in found], "damaged": broken})


@router.get("/snapshots/{snapshot_id}", response_model=SnapshotManifest, responses=NOT_FOUND, summary="One snapshot")
def show_snapshot(request: Request, read: Read, snapshot_id: SnapshotId, _: NoParameters) -> Response:
    """The manifest of a snapshot: what was copied, by which rules, and what it was computed by."""
    manifest = read_manifest(_folder(read, snapshot_id))
    return send_json(request, manifest.to_mongo(), cache=FOREVER)


@router.get(
    "/snapshots/{snapshot_id}/candidates.parquet",
    responses={**_TABLE, **NOT_FOUND},
    response_class=Response,
    summary="Candidates of a snapshot",
)
def send_snapshot(request: Request, read: Read, snapshot_id: SnapshotId, _: NoParameters) -> Response:
    """The candidates of a snapshot as Parquet: every field of the query language, and whole documents."""
    folder = _folder(read, snapshot_id)
    manifest = read_manifest(folder)
    tag = next(file.sha256 for file in manifest.files if file.name == TABLE)
    name = f"{snapshot_id}.parquet"
    return send_path(request, folder / TABLE, name=name, media_type="application/vnd.apache.parquet", tag=tag)


@router.get("/diff", response_model=DiffDoc, responses=NOT_FOUND, summary="Two snapshots compared")
def show_diff(request: Request, read: Read, query: Annotated[DiffQuery, Query()]) -> Response:
    """Which candidates moved between two snapshots or saved leaderboards, and why."""
    with read(time_limit_s=_DIFF_TIME_S) as database:
        rules = None if query.definition is None else definition_named(database, query.definition)
        old, new = (_side(read, database, name) for name in (query.old, query.new))
        # Neither side ever changes, and large ones take memory and time: one comparison at a time.
        kept: Latest = request.app.state.diffs
        found = kept.get(
            (query.old, query.new, rules and rules.model_dump_json(), query.limit),
            lambda: compare_stored(old, new, read.settings, database=database, definition=rules, limit=query.limit),
        )
    return send_json(request, found.to_mongo())


def _side(read: Read, database: Database, name: str) -> str | Path:
    """Return the folder of a snapshot, or the id of a saved leaderboard."""
    if name.startswith("snap-"):
        return _folder(read, name)
    if database["leaderboards"].find_one({"leaderboard_id": name}, {"_id": 1}) is None:
        raise Problem(404, f"no leaderboard {name!r}.", mend="see /leaderboards")
    return name


def _folder(read: Read, snapshot_id: str) -> Path:
    """Return the folder of a snapshot; the id has neither dots nor slashes in it."""
    folder = snapshots_folder(read.settings) / snapshot_id
    if not (folder / MANIFEST).is_file():
        raise Problem(404, f"no snapshot {snapshot_id!r}.", mend="see /snapshots")
    return folder
