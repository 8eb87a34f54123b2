"""The maggma builder from what jobs returned to candidates with their parts, and references."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from maggma.core import Builder

from hemiec.errors import StoreError
from hemiec.settings import load_settings
from hemiec.store.building.changes import Changes, find_changes, remember
from hemiec.store.building.documents import Built, build_one
from hemiec.store.building.failed_jobs import record_failed_jobs
from hemiec.store.building.feeds import server_time
from hemiec.store.building.inputs import Inputs, all_plans, fill_outputs, read_inputs, read_plans
from hemiec.store.building.orphans import forget_dropped
from hemiec.store.building.references import stale_references
from hemiec.store.building.shared import BUILDER_VERSION, Header, Shared
from hemiec.store.building.writing import (
    FAILURES,
    Written,
    forget_failures,
    remove_parts_of,
    write_built,
    write_references,
    written_since,
)
from hemiec.store.database import Database, Document, open_database, store_errors

__all__ = ["BUILDER_VERSION", "BuildReport", "CandidateBuilder", "Progress", "build", "update"]

#: Candidates whose plans are read together, and those whose outputs are in memory together.
_LOOK, _READ = 500, 100
#: How often a candidate is built again that another builder wrote meanwhile.
_ATTEMPTS = 5
#: Called with the candidates looked at, all there are to look at, and those built so far.
Progress = Callable[[int, int, int], None]
FailedJobs = Callable[[Collection[str] | None], dict[str, str]]


@dataclass(frozen=True)
class Item:
    """What one candidate is built from, with what all share."""

    inputs: Inputs
    shared: Shared
    moment: datetime

    @property
    def headers(self) -> dict[str, Header]:
        """The campaigns that ask for it."""
        return {entry["campaign"]: self.shared.headers[entry["campaign"]] for entry in self.inputs.entries}


@dataclass(frozen=True)
class BuildReport:
    """What a pass did: candidates built, up to date before, and not built; wall time in s; the first errors."""

    built: int
    up_to_date: int
    failed: int
    seconds: float
    errors: tuple[str, ...] = ()


class CandidateBuilder(Builder):
    """Gather the outputs of every candidate's jobs into its documents.

    Incremental: a candidate is built again only if its plans, the outputs or failures of its jobs or of the reference
    phases of its elements, thermodynamic settings of its protocols, calibrations that are for them, or the builder's
    version changed. What cannot have changed since the last complete pass is not looked at. Numbers that cannot be
    built are null with the reason; a candidate that cannot be built at all keeps its old documents.

    Under `mrun` it opens the database of the settings; its own form as a dictionary holds no address.

    Parameters
    ----------
    only
        Ids of the candidates to build; default all. Such a pass is not complete.
    everything
        Whether every candidate is looked at, and those tried again that could not be built.
    chunk_size
        How many candidates are written together.
    """

    def __init__(self, only: list[str] | None = None, everything: bool = False, chunk_size: int = _READ) -> None:
        super().__init__(sources=[], targets=[], chunk_size=chunk_size)
        self.only = only
        self.everything = everything
        self.database: Database | None = None
        self.failures: FailedJobs | None = None
        self.progress: Progress | None = None
        self.built = self.looked_at = 0
        self.errors: list[str] = []
        self._owned = False
        self._changes: Changes | None = None
        self._moment: datetime | None = None
        self._given = self._taken = 0
        self._exhausted = False

    def connect(self) -> None:
        """Open the database of the settings, unless there is one already."""
        if self.database is None:
            self.database = open_database(load_settings())
            self._owned = True

    def get_items(self) -> Iterator[Item]:
        """Yield what each candidate that needs building is made from."""
        database = self._opened()
        moment = self._moment = _now(database)
        if self.failures is not None:
            record_failed_jobs(database, self.failures(None))
        changes = self._changes = find_changes(database, moment, everything=self.everything)
        stale = stale_references(database, changes.shared, moment, everything=changes.ids is None)
        write_references(database, stale)
        for plans, total in self._batches(database, changes):
            inputs = read_inputs(database, changes.shared, plans)
            forget_failures(database, [i.candidate_id for i in inputs if i.up_to_date])
            todo = [i for i in inputs if not i.up_to_date and (self.everything or not i.failed_before)]
            self.looked_at += len(plans) - len(todo)
            for k in range(0, len(todo), _READ):
                part = todo[k : k + _READ]
                fill_outputs(database, part)
                for each in part:
                    self._given += 1
                    self.looked_at += 1
                    yield Item(each, changes.shared, moment)
                if self.progress is not None:
                    self.progress(self.looked_at, max(total, self.looked_at), self.built)
            if self.progress is not None:
                self.progress(self.looked_at, max(total, self.looked_at), self.built)
        self._exhausted = True

    def process_item(self, item: Item) -> Built:
        """Return the documents of one candidate, or why there are none; no database is needed."""
        return build_one(item.inputs, item.headers, item.shared.calibrations, item.moment)

    def update_targets(self, items: list[Built]) -> None:
        """Write the documents of candidates; see :mod:`hemiec.store.building.writing`."""
        database = self._opened()
        self._taken += len(items)
        self._count(write_built(database, items))

    def finalize(self) -> None:
        """Remember a complete pass for the next one, and close what was opened."""
        database, changes = self._opened(), self._changes
        try:
            if changes is not None and self._exhausted and self.only is None:
                if self._given != self._taken:
                    self.logger.warning("%d candidates were lost on their way.", self._given - self._taken)
                    return
                if changes.dropped:
                    forget_dropped(database)
                remember(database, changes)
        finally:
            self.close()

    def close(self) -> None:
        """Close the database if this builder opened it."""
        if self._owned and self.database is not None:
            self.database.close()
            self.database, self._owned = None, False

    def _opened(self) -> Database:
        if self.database is None:
            raise StoreError("the builder is not connected.", mend="call `connect` first")
        return self.database

    def _batches(self, database: Database, changes: Changes) -> Iterator[tuple[list[tuple[str, list[Document]]], int]]:
        """Yield the candidates to look at with their plans, some at a time, and the number of all."""
        ids = changes.ids
        if self.only is not None:
            wanted = set(self.only)
            ids = sorted(wanted if ids is None else wanted.intersection(ids))
        if ids is None:
            total = database["plans"].estimated_document_count()
            for plans in all_plans(database, _LOOK):
                yield plans, total
            return
        for k in range(0, len(ids), _LOOK):
            yield read_plans(database, ids[k : k + _LOOK]), len(ids)

    def _count(self, written: Written) -> None:
        """Count what was written, and build again what another builder wrote meanwhile."""
        for _ in range(_ATTEMPTS):
            self.built += len(written.built)
            self.errors += [f"{name} ({written.failed[name]})" for name in written.failed]
            if not written.overtaken:
                return
            written = self._again(written.overtaken)
        raise StoreError(
            f"{len(written.overtaken)} candidates are written by others all the time, such as {written.overtaken[0]}.",
            mend="run `hemiec build` again when the other builders are done",
        )

    def _again(self, ids: Sequence[str]) -> Written:
        """Build candidates from what is there now, unless a pass that started later has written them."""
        database, changes, moment = self._opened(), self._changes, self._moment
        assert changes is not None and moment is not None
        later = written_since(database, ids, moment)
        remove_parts_of(database, later, moment)
        inputs = read_inputs(database, changes.shared, read_plans(database, [i for i in ids if i not in later]))
        fill_outputs(database, inputs)
        return write_built(database, [self.process_item(Item(each, changes.shared, moment)) for each in inputs])


def update(
    database: Database,
    *,
    failures: FailedJobs | None = None,
    only: Collection[str] | None = None,
    everything: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Build what is out of date and return what was done.

    Parameters
    ----------
    database
        The store.
    failures
        Returns job uuid to the reason of those that failed, of all jobs if it is called with None: the queue's
        ``failures``. Without it, what the store was told last holds.
    only
        Ids of the candidates to build; default all.
    everything
        Whether every candidate is looked at, and those tried again that could not be built.
    progress
        Called now and then.

    Raises
    ------
    StoreError
        If MongoDB cannot be reached or refuses.
    """
    started = time.monotonic()
    builder = CandidateBuilder(None if only is None else sorted(only), everything)
    builder.database, builder.failures, builder.progress = database, failures, progress
    with store_errors():
        items = builder.get_items()
        while chunk := [builder.process_item(item) for item in islice(items, builder.chunk_size)]:
            builder.update_targets(chunk)
        builder.finalize()
        failed = database[FAILURES].count_documents({})
        total = database["candidates"].estimated_document_count()
    return BuildReport(
        built=builder.built,
        up_to_date=max(0, total - builder.built),
        failed=failed,
        seconds=time.monotonic() - started,
        errors=tuple(builder.errors),
    )


def build(
    database: Database,
    *,
    failures: FailedJobs | None = None,
    only: Collection[str] | None = None,
    strict: bool = True,
) -> int:
    """Build what is out of date and return how many candidates were.

    Parameters
    ----------
    database
        The store.
    failures, only
        As in :func:`update`.
    strict
        Whether a candidate that could not be built is an error.

    Raises
    ------
    StoreError
        If a candidate could not be built; it keeps its old documents, and the others are built.
    """
    report = update(database, failures=failures, only=only)
    if report.errors and strict:
        raise StoreError(
            f"{len(report.errors)} candidates could not be built and keep their old documents: "
            f"{'; '.join(report.errors[:3])}.",
            mend="`hemiec build --failed` lists them; if hemiec was updated, submit their campaign again",
        )
    return report.built


def _now(database: Database) -> datetime:
    """Return the server's time, which in text never lacks its microseconds: moments are compared as text."""
    moment = server_time(database)
    return moment if moment.microsecond else moment.replace(microsecond=1)
