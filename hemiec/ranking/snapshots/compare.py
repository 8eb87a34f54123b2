"""Which candidates moved between two rankings, and why.

Three rankings are made: the old data by the old rules, the old data by the new rules, and the new data by the new
rules. Between the first two only rules differ, between the last two only data, so each step of a candidate has its own
cause.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from hemiec.errors import InputError
from hemiec.ranking.order import Ranking
from hemiec.ranking.snapshots.causes import Change, causes_of
from hemiec.ranking.snapshots.changes import definition_changes, listed, model_changes
from hemiec.ranking.snapshots.pair import Pair
from hemiec.ranking.snapshots.sides import Facts, Rows, Side
from hemiec.schemas.diff import CauseKind, DiffCause, DiffDoc, DiffMove, DiffSide, Status

#: Candidates that are listed unless told otherwise, each with its causes.
LIMIT = 1_000
#: Others that a cause names.
_NAMED = 20
_STATUSES: tuple[Status, ...] = ("up", "down", "same", "entered", "left", "ranked", "unranked")


def compare(old: Side, new: Side, *, limit: int | None = LIMIT) -> DiffDoc:
    """Return which candidates moved from one ranking to another, and why.

    Parameters
    ----------
    old, new
        What is compared, each with the rules to rank it by.
    limit
        How many candidates are listed, the best of either rank first; None for all. Statuses are counted of all.

    Raises
    ------
    InputError
        If the two have no candidate in common.
    StoreError
        If a snapshot is damaged.
    """
    both = Pair(old, new)
    if len(old.table) and len(new.table) and not len(both.common):
        raise InputError(f"{old.id} and {new.id} have no candidate in common.", mend="compare others")
    rows = both.moved_rows()
    shown = rows if limit is None else rows[:limit]
    moves = _Explained(both, shown).moves()
    kinds = Counter(kind for move in moves for kind in sorted({cause.kind for cause in move.causes}))
    statuses = Counter(both.statuses.tolist())
    notes = list(both.notes)
    if len(shown) < len(rows):
        notes.append(f"The {len(shown):,} best of {len(rows):,} that moved or changed are listed.")
    return DiffDoc(
        old=_side(old, both.first),
        new=_side(new, both.last),
        definition_changes=definition_changes(old.definition, new.definition),
        model_changes=model_changes(old.manifest, new.manifest) if old.manifest and new.manifest else [],
        statuses={name: statuses[name] for name in _STATUSES if statuses[name]},
        causes=dict(kinds.most_common()),
        n_moves=len(rows),
        moves=moves,
        notes=notes,
    )


class _Explained:
    """The causes of some candidates' moves."""

    def __init__(self, both: Pair, rows: Rows) -> None:
        self.both, self.rows = both, rows
        touched = [row for row in rows.tolist() if any(mask[row] for mask in both.changed.values())]
        self._old = self._facts(both.old, both.row_old, touched)
        self._new = self._facts(both.new, both.row_new, touched)
        self._left_out = both.fulfilling(both.old, _condition(both.new))
        self._was_left_out = both.fulfilling(both.new, _condition(both.old))

    @staticmethod
    def _facts(side: Side, places: Rows, rows: list[int]) -> dict[int, Facts]:
        found = side.facts(int(places[row]) for row in rows)
        return {row: found[int(places[row])] for row in rows}

    def moves(self) -> list[DiffMove]:
        """Return the candidates in the order of the rows."""
        return [self._move(row) for row in self.rows.tolist()]

    def _move(self, row: int) -> DiffMove:
        both = self.both
        status: Status = str(both.statuses[row])  # type: ignore[assignment]
        return DiffMove(
            candidate_id=str(both.ids[row]),
            label=both.label(row),
            status=status,
            rank_old=_or_none(both.rank_old[row]),
            rank_between=_or_none(both.rank_between[row]),
            rank_new=_or_none(both.rank_new[row]),
            rank_alone=both.rank_alone(row) or None,
            score_old=_score(both.first, both.row_old[row]),
            score_new=_score(both.last, both.row_new[row]),
            causes=self._causes(row),
        )

    def _causes(self, row: int) -> list[DiffCause]:
        both = self.both
        if both.row_old[row] < 0:
            return [self._added(row)]
        if both.row_new[row] < 0:
            return [*self._of_rules(row), self._removed(row)]
        own = [cause for change in self._changes(row) for cause in causes_of(change)]
        found = [*self._of_rules(row), *self._of_condition(row), *own]
        if both.rank_between[row] and both.rank_new[row] and both.rank_between[row] != both.rank_new[row]:
            found += self._beside_own(row) if own else self._of_others(row)
        return found or [_cause("unknown", "what is stored does not tell why")]

    def _changes(self, row: int) -> list[Change]:
        sides = (self.both.old, self.both.new)
        energies = [side.manifest.references.energies_per_atom if side.manifest else None for side in sides]
        return [
            Change(name, self._old[row], self._new[row], *energies)
            for name, mask in self.both.changed.items()
            if mask[row]
        ]

    def _of_rules(self, row: int) -> list[DiffCause]:
        """Return what the new rules do to it on the old data."""
        both = self.both
        before, after = int(both.rank_old[row]), int(both.rank_between[row])
        if before == after:
            return []
        if both.in_old[row] and not both.in_between[row]:
            return [_cause("filter", f"left out by the condition of the new rules, '{both.new.definition.where}'")]
        if both.in_between[row] and not both.in_old[row]:
            return [
                _cause("filter", f"no longer left out by the condition '{both.old.definition.where}' of the old rules")
            ]
        if after == 0:
            return [_cause("definition", f"the new rules require a value that it lacks: rank {before} -> none")]
        return [
            _cause("definition", f"by the new rules, the old data rank it {after} instead of {before or 'not at all'}")
        ]

    def _of_condition(self, row: int) -> list[DiffCause]:
        """Return what its new data do to it under the condition of the new rules."""
        both, where = self.both, self.both.new.definition.where
        if both.in_between[row] == both.in_new[row]:
            return []
        if both.in_between[row]:
            return [_cause("filter", f"left out: what is known of it now does not fulfil the condition '{where}'")]
        return [_cause("filter", f"what is known of it now fulfils the condition '{where}', which it did not before")]

    def _beside_own(self, row: int) -> list[DiffCause]:
        """Return what others did to a candidate whose own values changed too."""
        alone, rank = self.both.rank_alone(row), int(self.both.rank_new[row])
        if alone in (0, rank):
            return []
        text = f"its own new values alone would give it rank {alone}; the moves of others make it {rank}"
        return [_cause("others", text)]

    def _of_others(self, row: int) -> list[DiffCause]:
        """Return who moved past a candidate of which nothing changed."""
        both = self.both
        before, after = both.rank_between[row], both.rank_new[row]
        was, is_now = both.rank_between, both.rank_new
        if after < before:
            fell = np.flatnonzero((was > 0) & (was < before) & ((is_now == 0) | (is_now > after)))
            text = (
                f"nothing of its own changed: {self._named(fell, was)}, which stood before it, fell behind it or left"
            )
            return [_cause("others", text if len(fell) else _TIES, self._ids(fell, was))]
        passed = (is_now > 0) & (is_now < after) & ((was == 0) | (was > before))
        fresh, known = (np.flatnonzero(passed & (new == (both.row_old < 0))) for new in (True, False))
        found = []
        if len(fresh):
            verb = "is" if len(fresh) == 1 else "are"
            names = self._named(fresh, is_now)
            # Of an old one that does not hold all that there was, who was not in it need not be new.
            whole = both.old.manifest is not None and not both.old.manifest.where and both.old.campaign is None
            words = f"{names} {verb} new and" if whole else f"{names}, not in the old one, {verb}"
            text = f"nothing of its own changed: {words} ranked before it"
            found.append(_cause("new-candidate", text, self._ids(fresh, is_now)))
        if len(known) or not found:
            text = f"nothing of its own changed: {self._named(known, is_now)} moved past it"
            found.append(_cause("others", text if len(known) else _TIES, self._ids(known, is_now)))
        return found

    def _added(self, row: int) -> DiffCause:
        both = self.both
        place = both.row_new[row]
        if self._was_left_out is not None and not self._was_left_out[place]:
            return _cause("filter", f"it was left out of the old one by its condition '{_condition(both.old)}'")
        if both.old.campaign is not None and both.old.campaign != both.new.campaign:
            return _cause("added", f"it is not in the old one, which holds campaign {both.old.campaign} alone")
        return _cause("added", "it is new")

    def _removed(self, row: int) -> DiffCause:
        both, where = self.both, _condition(self.both.new)
        if self._left_out is not None and not self._left_out[both.row_old[row]]:
            return _cause("filter", f"it is left out of the new one by its condition '{where}'")
        if both.new.campaign is not None and both.old.campaign != both.new.campaign:
            return _cause("removed", f"it is not in the new one, which holds campaign {both.new.campaign} alone")
        maybe = f", or it does not fulfil '{where}' any more; which of the two cannot be told" if where else ""
        return _cause("removed", f"it is not in the new one: it was taken out of the store or the campaign{maybe}")

    def _best(self, rows: Rows, ranks: np.ndarray) -> Rows:
        return rows[np.argsort(ranks[rows], kind="stable")]

    def _named(self, rows: Rows, ranks: np.ndarray) -> str:
        return listed([self.both.label(row) for row in self._best(rows, ranks).tolist()])

    def _ids(self, rows: Rows, ranks: np.ndarray) -> list[str]:
        return [str(self.both.ids[row]) for row in self._best(rows, ranks)[:_NAMED]]


_TIES = "nothing of its own changed: others are tied, or not tied any more"


def _condition(side: Side) -> str:
    """Return the condition of a side's snapshot."""
    return side.manifest.where if side.manifest is not None else ""


def _cause(kind: CauseKind, text: str, candidates: list[str] | None = None) -> DiffCause:
    return DiffCause(kind=kind, property=None, text=f"{text[0].upper()}{text[1:]}.", candidates=candidates or [])


def _side(side: Side, ranking: Ranking) -> DiffSide:
    return DiffSide(
        kind=side.kind,
        id=side.id,
        snapshot_id=side.manifest.snapshot_id if side.manifest else None,
        created_at=side.created_at,
        campaign=side.campaign,
        where=_condition(side),
        definition=side.definition.name,
        n_candidates=len(side.table),
        n_ranked=ranking.n_ranked,
    )


def _or_none(rank: np.int64) -> int | None:
    return int(rank) or None


def _score(ranking: Ranking, place: np.intp) -> float | None:
    score = float(ranking.scores[place]) if place >= 0 else float("nan")
    return None if np.isnan(score) else score
