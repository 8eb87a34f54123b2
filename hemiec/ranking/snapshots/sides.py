"""What is compared: the numbers of a snapshot or of a saved leaderboard, with the rules to rank them by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hemiec.ranking.columns import BY_PROPERTY
from hemiec.ranking.snapshots.snapshot import Snapshot
from hemiec.ranking.table import CandidateTable, Estimates
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.snapshot import SnapshotManifest

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
#: Tells which rows of a snapshot fulfil a condition of the query language.
Chooser = Callable[[str, Snapshot], Mask]


@dataclass(frozen=True)
class Facts:
    """What is known of one candidate's numbers.

    Parameters
    ----------
    quantities
        Property to its quantity.
    decomposition
        Phases that it decomposes to; None if that was not kept.
    builder_version, thermo_version
        Versions of the code; None if that was not kept.
    completed
        uuid of a job to when it finished, as it is stored; empty if that was not kept.
    """

    quantities: Mapping[str, Quantity]
    decomposition: Sequence[str] | None = None
    builder_version: int | None = None
    thermo_version: int | None = None
    completed: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One of two things compared.

    Parameters
    ----------
    kind, id, created_at
        What it is.
    table
        Its numbers.
    definition
        What it was ranked by.
    chosen
        Tells which rows fulfil a condition; None where that cannot be told.
    facts_of
        Yields what is known of the candidates in some rows, ascending.
    manifest
        That of its snapshot; None if none was kept.
    campaign
        Only candidates of this campaign; None for all.
    notes
        What a reader should know.
    """

    kind: Literal["snapshot", "leaderboard"]
    id: str
    created_at: datetime
    table: CandidateTable
    definition: LeaderboardDefinition
    chosen: Callable[[str], Mask | None]
    facts_of: Callable[[Rows], Iterator[Facts]]
    manifest: SnapshotManifest | None = None
    campaign: str | None = None
    notes: list[str] = field(default_factory=list)

    def facts(self, rows: Iterable[int]) -> dict[int, Facts]:
        """Return row to what is known of its candidate."""
        wanted = np.unique(np.array(list(rows), dtype=np.intp))
        return dict(zip(wanted.tolist(), self.facts_of(wanted), strict=True))


def of_snapshot(
    snapshot: Snapshot, definition: LeaderboardDefinition, choose: Chooser, leaderboard: LeaderboardDoc | None = None
) -> Side:
    """Return a snapshot as a side.

    Parameters
    ----------
    snapshot
        The numbers.
    definition
        What it is ranked by.
    choose
        Tells which rows fulfil a condition.
    leaderboard
        The saved leaderboard that was ranked from it, if that is what is compared.
    """
    manifest = snapshot.manifest

    def facts_of(rows: Rows) -> Iterator[Facts]:
        columns = snapshot.columns()
        more = zip(columns.rows("decomposition", rows), columns.rows("thermo_version", rows), strict=True)
        for document, (phases, version) in zip(snapshot.raw_documents(rows), more, strict=True):
            with snapshot.of_this_version(document):
                quantities = {name: Quantity.model_validate(document[name]) for name in PROPERTIES if name in document}
                facts = Facts(
                    {name: quantities.get(name, _default(name)) for name in PROPERTIES},
                    phases,
                    document["builder_version"],
                    None if version is None else int(version),
                    {job["uuid"]: job["completed_at"] for result in document["results"] for job in result["jobs"]},
                )
            yield facts

    return Side(
        kind="snapshot" if leaderboard is None else "leaderboard",
        id=snapshot.snapshot_id if leaderboard is None else leaderboard.leaderboard_id,
        created_at=manifest.created_at if leaderboard is None else leaderboard.created_at,
        table=snapshot.table(),
        definition=definition,
        chosen=lambda where: choose(where, snapshot),
        facts_of=facts_of,
        manifest=manifest,
        campaign=manifest.campaign if leaderboard is None else leaderboard.campaign,
    )


def of_leaderboard(leaderboard: LeaderboardDoc, definition: LeaderboardDefinition) -> Side:
    """Return a saved leaderboard without a snapshot as a side: its entries are all that is known."""
    entries = sorted(leaderboard.entries, key=lambda entry: entry.candidate_id)

    def facts_of(rows: Rows) -> Iterator[Facts]:
        for row in rows.tolist():
            yield Facts({name: getattr(entries[row], name) for name in PROPERTIES})

    def chosen(where: str) -> Mask | None:
        return np.ones(len(entries), dtype=np.bool_) if where == leaderboard.where else None

    return Side(
        kind="leaderboard",
        id=leaderboard.leaderboard_id,
        created_at=leaderboard.created_at,
        table=_table(entries),
        definition=definition,
        chosen=chosen,
        facts_of=facts_of,
        campaign=leaderboard.campaign,
        notes=[
            f"{leaderboard.leaderboard_id} has no snapshot: which phases are on the hull, versions of the code, and "
            "candidates that its condition left out are not known of it."
        ],
    )


def rules_of(leaderboard: LeaderboardDoc) -> LeaderboardDefinition:
    """Return what a leaderboard was ranked by."""
    shared = LeaderboardDefinition.model_fields.keys() - {"draws"}
    # Without draws it has none; the definition asks for some, which do not matter here.
    draws: dict[str, Any] = {"draws": leaderboard.draws} if leaderboard.draws >= 100 else {}
    return LeaderboardDefinition.model_validate({name: getattr(leaderboard, name) for name in shared} | draws)


def _table(entries: Sequence[LeaderboardEntry]) -> CandidateTable:
    """Return entries, in the order of their ids, as a table."""
    estimates = {}
    for name in PROPERTIES:
        found: list[Quantity] = [getattr(entry, name) for entry in entries]
        rows = [(q.value, *(q.interval or (None, None))) for q in found]
        value, low, high = np.array(rows, dtype=np.float64).reshape(len(rows), 3).T.copy()
        estimates[name] = Estimates(value, low, high, BY_PROPERTY[name].unit)
    ids = np.array([entry.candidate_id for entry in entries], dtype=np.str_)
    return CandidateTable(ids, [entry.label for entry in entries], estimates)


def _default(name: str) -> Quantity:
    made: Quantity = CandidateDoc.model_fields[name].get_default(call_default_factory=True)
    return made
