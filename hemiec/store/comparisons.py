"""Snapshots and saved leaderboards by name, to rank without the candidates of the store and to compare."""

from __future__ import annotations

import re
from pathlib import Path

from hemiec.errors import InputError
from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.snapshots.compare import LIMIT, compare
from hemiec.ranking.snapshots.files import MANIFEST
from hemiec.ranking.snapshots.sides import Mask, Side, of_leaderboard, of_snapshot, rules_of
from hemiec.ranking.snapshots.snapshot import Snapshot
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.diff import DiffDoc
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.settings import Settings
from hemiec.store.database import Database
from hemiec.store.leaderboards import read_leaderboard
from hemiec.store.queries.columns import mask
from hemiec.store.snapshots import open_snapshot

_LEADERBOARD = re.compile(r"lb-[0-9a-f]+")


def is_leaderboard(name: str | Path) -> bool:
    """Return whether a name is that of a saved leaderboard, which only the database can open."""
    return _LEADERBOARD.fullmatch(str(name)) is not None and not (Path(name) / MANIFEST).is_file()


def compare_stored(
    old: str | Path,
    new: str | Path,
    settings: Settings,
    *,
    database: Database | None = None,
    definition: LeaderboardDefinition | None = None,
    limit: int | None = LIMIT,
) -> DiffDoc:
    """Return which candidates moved between two snapshots or saved leaderboards, and why.

    Parameters
    ----------
    old, new
        A snapshot by its id or folder, or a leaderboard by its id.
    settings
        Where the snapshots are.
    database
        The store, which is needed for leaderboards.
    definition
        What both are ranked by; default what each was ranked by or taken for. Where only one says, that is taken for
        both; where none does, the default definition.
    limit
        How many candidates are listed; None for all.

    Raises
    ------
    InputError
        If there is none of a name, they have nothing in common, or a leaderboard is named and there is no database.
    StoreError
        If a snapshot is damaged.
    """
    opened = [_open(name, settings, database) for name in (old, new)]
    own = [definition or rules for _, _, rules in opened]
    fallback = next((rules for rules in own if rules is not None), DEFAULT)
    sides = [_side(board, snapshot, rules or fallback) for (board, snapshot, _), rules in zip(opened, own, strict=True)]
    return compare(sides[0], sides[1], limit=limit)


def chosen_rows(where: str, snapshot: Snapshot) -> Mask:
    """Return which candidates of a snapshot fulfil a condition, shape=(n_candidates,)."""
    return mask(where, snapshot.columns())


_Opened = tuple[LeaderboardDoc | None, Snapshot | None, LeaderboardDefinition | None]


def _open(name: str | Path, settings: Settings, database: Database | None) -> _Opened:
    """Return the leaderboard if it is one, the snapshot if there is one, and the rules that they say."""
    if not is_leaderboard(name):
        snapshot = open_snapshot(name, settings)
        return None, snapshot, snapshot.manifest.definition
    if database is None:
        raise InputError(f"{name} is a leaderboard, which only the database holds.", mend="name a snapshot instead")
    board = read_leaderboard(database, str(name))
    try:
        found = None if board.snapshot_id is None else open_snapshot(board.snapshot_id, settings)
    except InputError as error:
        raise InputError(
            f"{name} was ranked from {board.snapshot_id}, which is not in this data folder: {error.message}",
            mend="copy the snapshot there",
        ) from error
    return board, found, rules_of(board)


def _side(board: LeaderboardDoc | None, snapshot: Snapshot | None, rules: LeaderboardDefinition) -> Side:
    if snapshot is not None:
        return of_snapshot(snapshot, rules, chosen_rows, board)
    assert board is not None
    return of_leaderboard(board, rules)
