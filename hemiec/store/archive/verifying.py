"""What a database holds, by number and hash, against what an archive says; and documents that hemiec cannot read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.store.archive.backup import Manifest, Report, Tally
from hemiec.store.database import Database, store_errors
from hemiec.store.layout.migrations import KEYS
from hemiec.store.layout.schema_files import STORED
from hemiec.store.layout.validators import validators

#: Documents of a kind that are named.
_NAMED = 5


@dataclass(frozen=True)
class Comparison:
    """One collection in an archive and in a database: number of documents, and hash of them in any order."""

    documents: int
    content: str | None
    found_documents: int
    found_content: str

    @property
    def same(self) -> bool:
        """Whether the database has exactly these documents."""
        return (self.documents, self.content) == (self.found_documents, self.found_content)


@dataclass(frozen=True)
class Trouble:
    """Documents of a collection that this hemiec cannot use: of which kind, how many, and the first ones."""

    collection: str
    kind: str
    documents: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.documents > len(self.first) else ""
        return f"{self.documents} {self.collection} {self.kind}: {', '.join(self.first)}{more}"


def compare(database: Database, manifest: Manifest, *, report: Report | None = None) -> dict[str, Comparison]:
    """Return collection to what an archive and a database hold of it.

    Parameters
    ----------
    database
        The database; all of it is read.
    manifest
        What the archive holds, from :func:`hemiec.store.archive.backup.check_backup`.
    report
        Called from time to time.
    """
    tell = report or (lambda *_: None)
    found = {}
    with store_errors():
        for name, entry in manifest.collections.items():
            tally = Tally()
            for batch in database[name].find_raw_batches({}):
                tally.add(batch)
                tell(name, tally.documents, entry.documents)
            found[name] = Comparison(entry.documents, entry.content, tally.documents, tally.content)
    return found


def find_trouble(database: Database) -> list[Trouble]:
    """Return documents of a newer or older layout, and those that are not what their schema says, by collection.

    They stay where they are; MongoDB finds them by the schemas itself.
    """
    rules = validators()
    found = []
    with store_errors():
        for name in STORED:
            newer = {"schema_version": {"$gt": SCHEMA_VERSION}}
            # One that does not say is of the first layout.
            older = {"$or": [{"schema_version": {"$exists": False}}, {"schema_version": {"$lt": SCHEMA_VERSION}}]}
            wrong = {"schema_version": SCHEMA_VERSION, "$nor": [rules[name]]}
            for kind, where in (
                ("of a newer layout (update hemiec)", newer),
                ("of an older layout (run `hemiec db migrate`)", older),
                ("that are not what their schema says", wrong),
            ):
                trouble = _trouble(database, name, kind, where)
                found += [trouble] if trouble is not None else []
    return found


def _trouble(database: Database, name: str, kind: str, where: dict[str, Any]) -> Trouble | None:
    n = database[name].count_documents(where)
    if not n:
        return None
    first = database[name].find(where, {KEYS[name]: 1}).limit(_NAMED)
    return Trouble(name, kind, n, tuple(str(document.get(KEYS[name], document["_id"])) for document in first))
