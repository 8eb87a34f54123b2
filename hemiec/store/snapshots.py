"""Snapshots of the candidates: taken from the database into the data folder, and opened from there."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pymongo import ASCENDING

from hemiec.errors import InputError, StoreError
from hemiec.ranking.snapshots.files import find_snapshot, list_snapshots
from hemiec.ranking.snapshots.snapshot import DOCUMENT, Snapshot
from hemiec.ranking.snapshots.writing import write_snapshot
from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.documents import APART, PROPERTIES, SCHEMA_VERSION, CandidateDoc
from hemiec.schemas.snapshot import PropertyUse, ProtocolUse, ReferenceSet, SnapshotContent, SnapshotManifest
from hemiec.settings import Settings
from hemiec.store.building.digest import digest
from hemiec.store.campaigns import require_campaign
from hemiec.store.candidates import Report
from hemiec.store.database import Database, Document
from hemiec.store.layout.migrations import upgrade
from hemiec.store.queries.order import in_time
from hemiec.store.queries.rows import MAX_TIME_MS
from hemiec.store.queries.tables import Column, arrow_schema, candidate_columns, matching, table_of_documents

if TYPE_CHECKING:
    import pyarrow as pa

#: Candidates in memory at a time; a document takes some 100 kB there.
_BATCH = 1_000
#: A candidate that is being built is read again so often, after such a pause in s.
_TRIES, _PAUSE_S = 5, 1.0
_INTERFACES = ("partner", "role", "open_element", "reaction_energy")
_OF_THERMODYNAMICS = {
    "_id": 0, "candidate_id": 1, "plan_id": 1, "input_hash": 1, "thermodynamics.thermo_version": 1,
    "thermodynamics.hull.decomposition": 1, **{f"thermodynamics.interfaces.{name}": 1 for name in _INTERFACES},
}  # fmt: skip
#: What a snapshot holds beside the fields of a candidate; made from its `thermodynamics` and from the document itself.
_MORE = (
    Column("decomposition", "texts", "", "Phases on the hull at its composition, the most plentiful first.", "_phases"),
    Column("worst_partner", "text", "", "Solid electrolyte that it reacts with the most.", "_partner"),
    Column("thermo_version", "number", "1", "Version of the code that computed hull and interfaces.", "_thermo"),
    Column(DOCUMENT, "text", "", "The document as JSON; what has a collection of its own is left out.", "_document"),
)


def snapshots_folder(settings: Settings) -> Path:
    """Return the folder of all snapshots."""
    return settings.data_dir / "snapshots"


def take_snapshot(
    database: Database,
    settings: Settings,
    *,
    where: str = "",
    campaign: str | None = None,
    definition: LeaderboardDefinition | None = None,
    report: Report | None = None,
) -> Snapshot:
    """Copy the candidates as they are now into a snapshot, which never changes; the same content is kept once.

    Parameters
    ----------
    database
        The store.
    settings
        Where the data folder is.
    where
        Condition that they fulfil, in the query language; default all.
    campaign
        Only candidates of this campaign.
    definition
        The leaderboard that it is taken for. Its own condition is not applied: what it leaves out stays in the
        snapshot, so that a comparison can tell.
    report
        Called with the id of a candidate that cannot be read, and the reason; it is then left out, and the manifest
        says so. Without it, that is an error.

    Raises
    ------
    InputError
        If there is no such campaign, the condition is wrong, or there are no candidates.
    StoreError
        If the disk is full, or the database cannot be reached.
    """
    if campaign is not None:
        require_campaign(database, campaign)  # says so if there is none of that name
    taking = _Taking(database, matching(where, campaign), report)
    chosen = {"where": where.strip(), "campaign": campaign, "definition": definition}
    folder = write_snapshot(snapshots_folder(settings), taking.tables(), taking.schema, lambda: taking.content(chosen))
    return Snapshot.at(folder)


def open_snapshot(name: str | Path, settings: Settings) -> Snapshot:
    """Return a snapshot by its id, the beginning of it, or its folder.

    Raises
    ------
    InputError
        If there is none.
    StoreError
        If it is damaged.
    """
    return Snapshot.at(find_snapshot(name, snapshots_folder(settings)))


def read_snapshots(settings: Settings) -> tuple[list[SnapshotManifest], dict[str, str]]:
    """Return the manifests of all snapshots, the latest first, and folder to reason of those that cannot be read."""
    return list_snapshots(snapshots_folder(settings))


@dataclass
class _Taking:
    """One snapshot while its candidates are read."""

    database: Database
    matches: Document
    report: Report | None
    n: int = 0
    left_out: int = 0
    torn: list[str] = field(default_factory=list)
    versions: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    counts: dict[str, Counter[Any]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.columns = (*candidate_columns().values(), *_MORE)

    @property
    def schema(self) -> pa.Schema:
        """The columns' types; documents are all different."""
        import pyarrow as pa

        schema = arrow_schema(self.columns)
        at = schema.get_field_index(DOCUMENT)
        return schema.set(at, schema.field(at).with_type(pa.string()))

    def tables(self) -> Iterator[pa.Table]:
        """Yield the candidates in the order of their ids; what they hold is counted."""
        for documents in self._batches():
            documents = self._whole(documents)
            for document in documents:
                self._count(document)
            self.n += len(documents)
            if documents:
                yield table_of_documents(documents, self.columns, self.schema)
        if not self.n:
            raise InputError(
                "there are no candidates to take a snapshot of.",
                mend="run a campaign, `hemiec build` what has finished, or ask for others",
            )

    def _batches(self) -> Iterator[list[Document]]:
        with in_time(MAX_TIME_MS):
            found = self.database["candidates"].find(self.matches, {"_id": 0}).sort("candidate_id", ASCENDING)
            batch: list[Document] = []
            with found.batch_size(_BATCH).max_time_ms(MAX_TIME_MS):
                for document in found:
                    current = self._current(document)
                    if current is not None:
                        batch.append(current)
                    if len(batch) == _BATCH:
                        yield batch
                        batch = []
            yield batch

    def _current(self, document: Document) -> Document | None:
        """Return a document of this layout, checked and without what has collections of its own; None if left out."""
        try:
            found = {k: v for k, v in upgrade("candidates", document).items() if k in CandidateDoc.model_fields}
            for result in found["results"]:
                for name in APART & result.keys():
                    del result[name]
            CandidateDoc.model_validate(found)
        except (StoreError, ValidationError, KeyError, TypeError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            message = f"candidate {document.get('candidate_id')}: stored by another version of hemiec ({reason})."
            if self.report is None:
                raise StoreError(message, mend="run `hemiec build`") from error
            self.left_out += 1
            self.report(str(document.get("candidate_id")), message)
            return None
        return found

    def _whole(self, documents: list[Document]) -> list[Document]:
        """Return documents with what their thermodynamics say, both of one pass of the builder."""
        by_id = {document["candidate_id"]: document for document in documents}
        pending = set(by_id)
        for attempt in range(_TRIES):
            parts = self._thermodynamics(pending)
            pending = {key for key in pending if any(p["input_hash"] != by_id[key]["input_hash"] for p in parts[key])}
            for key in parts.keys() - pending:
                by_id[key] |= _thermo_of(by_id[key], parts[key])
            if not pending or attempt == _TRIES - 1:
                break
            sleep(_PAUSE_S)
            again = self.database["candidates"].find({"candidate_id": {"$in": list(pending)}}, {"_id": 0})
            by_id |= {new["candidate_id"]: new for new in map(self._current, again) if new is not None}
        self.torn += sorted(pending)
        return [document | {"_document": _json(document)} for document in by_id.values()]

    def _thermodynamics(self, ids: set[str]) -> dict[str, list[Document]]:
        parts: dict[str, list[Document]] = {key: [] for key in ids}
        found = self.database["thermodynamics"].find({"candidate_id": {"$in": list(ids)}}, _OF_THERMODYNAMICS)
        for part in found.max_time_ms(MAX_TIME_MS):
            parts[part["candidate_id"]].append(part)
        return parts

    def _count(self, document: Mapping[str, Any]) -> None:
        self.versions["builder"].add(document["builder_version"])
        if document.get("_thermo") is not None:
            self.versions["thermo"].add(document["_thermo"])
        for name in PROPERTIES:
            quantity = document.get(name) or {}
            if quantity.get("value") is None:
                continue
            counts = self.counts[name]
            counts["values"] += 1
            counts["intervals"] += quantity.get("interval") is not None
            counts["protocol", quantity.get("protocol"), quantity.get("protocol_hash")] += 1
            if quantity.get("calibration") is not None:
                counts["calibration", quantity["calibration"]] += 1

    def content(self, chosen: Mapping[str, Any]) -> SnapshotContent:
        """Return what was read."""
        notes = []
        if self.left_out:
            notes.append(f"{self.left_out} candidates could not be read and are left out.")
        if self.torn:
            notes.append(
                f"{len(self.torn)} candidates were being built: their hull phases are left out "
                f"({', '.join(self.torn[:3])}{', ...' if len(self.torn) > 3 else ''})."
            )
        return SnapshotContent(
            schema_version=SCHEMA_VERSION,
            n_candidates=self.n,
            properties={name: _use(self.counts[name]) for name in PROPERTIES},
            references=_references(self.database),
            builder_versions=sorted(self.versions["builder"]),
            thermo_versions=sorted(self.versions["thermo"]),
            columns=[column.doc() for column in self.columns],
            notes=notes,
            **chosen,
        )


def _json(document: Document) -> str:
    plain = {key: value for key, value in document.items() if not key.startswith("_")}
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def _thermo_of(document: Document, parts: Sequence[Document]) -> Document:
    """Return hull phases, worst partner and version of code of the results that the best values are of."""
    by_plan = {part["plan_id"]: part["thermodynamics"] for part in parts}

    def of(name: str) -> Document:
        plans = [r["plan_id"] for r in document["results"] if r.get(name) == document.get(name)]
        return next((by_plan[plan] for plan in plans if plan in by_plan), {})

    hull, interface = of("energy_above_hull"), of("interface_reaction_energy")
    decomposition = (hull.get("hull") or {}).get("decomposition")
    closed = [i for i in interface.get("interfaces", ()) if i["role"] == "electrolyte" and i["open_element"] is None]
    has_worst = closed and (document.get("interface_reaction_energy") or {}).get("value") is not None
    return {
        "_phases": None if decomposition is None else [part["phase_id"] for part in decomposition],
        "_partner": min(closed, key=lambda i: i["reaction_energy"])["partner"] if has_worst else None,
        "_thermo": hull.get("thermo_version", interface.get("thermo_version")),
    }


def _use(counts: Counter[Any]) -> PropertyUse:
    found = [(key, n) for key, n in counts.items() if isinstance(key, tuple)]
    protocols = [ProtocolUse(protocol=key[1], protocol_hash=key[2], n=n) for key, n in found if key[0] == "protocol"]
    return PropertyUse(
        n_values=counts["values"],
        n_intervals=counts["intervals"],
        protocols=sorted(protocols, key=lambda use: (-use.n, use.protocol or "", use.protocol_hash or "")),
        calibrations=dict(sorted((key[1], n) for key, n in found if key[0] == "calibration")),
    )


def _references(database: Database) -> ReferenceSet:
    energies: dict[str, dict[str, float]] = defaultdict(dict)
    fields = {"_id": 0, "reference_id": 1, "energy_per_atom": 1}
    for found in database["references"].find({}, fields).sort("reference_id", ASCENDING):
        phase, _, protocol = found["reference_id"].rpartition(":")
        energies[protocol][phase] = found["energy_per_atom"]
    return ReferenceSet(hash=digest([energies]), energies_per_atom=energies)
