"""The candidates of an archive, each with its parts, every document checked, and how they compare with those here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from hemiec.composition.identity import candidate_id as name_of
from hemiec.errors import InputError, TrustError
from hemiec.schemas.documents import APART
from hemiec.store.archive.members import COLLECTIONS, Archive, canonical, member_of
from hemiec.store.database import Database, Document
from hemiec.store.trust import Trust

#: What belongs to one candidate, in collections of its own.
PARTS = ("structures", "hops", "transport", "thermodynamics")
#: When, from which inputs and for whom a document was built: two of the same content may differ in it.
_OF_BUILD = {"_id", "campaigns", "input_hash", "builder_version", "last_updated", "schema_version"}
_OUTPUT = ("jobflow.core.schemas", "JobStoreDocument")


@dataclass(frozen=True)
class Bundle:
    """One candidate of an archive with its parts and its provenance."""

    candidate: Document
    provenance: Document
    parts: dict[str, list[Document]]

    @property
    def candidate_id(self) -> str:
        """Its id."""
        return str(self.candidate["candidate_id"])


def bundles(archive: Archive, trust: Trust) -> Iterator[Bundle]:
    """Yield the candidates of an archive in the order of their ids, each with all that belongs to it.

    Raises
    ------
    InputError
        If a document is not valid, names code, belongs to no candidate of the archive, or is out of order.
    """
    streams = {name: _Groups(archive, name, trust) for name in (*PARTS, "provenance")}
    last = ""
    for candidate in _valid(archive, "candidates", trust):
        candidate_id = candidate["candidate_id"]
        if candidate_id <= last:
            raise archive.damaged(f"candidate {candidate_id} is out of order")
        last = candidate_id
        _check_name(archive, candidate)
        provenance = streams["provenance"].take(candidate_id)
        if len(provenance) != 1:
            raise archive.damaged(f"candidate {candidate_id} has {len(provenance)} provenances")
        parts = {name: streams[name].take(candidate_id) for name in PARTS}
        yield Bundle(candidate, provenance[0], parts)
    for name, stream in streams.items():
        if stream.rest is not None:
            raise archive.damaged(f"{name}: {stream.rest['candidate_id']} is no candidate of it, or out of order")


class _Groups:
    """The documents of one member, taken candidate by candidate."""

    def __init__(self, archive: Archive, name: str, trust: Trust) -> None:
        self._documents = _valid(archive, name, trust)
        self.rest = next(self._documents, None)

    def take(self, candidate_id: str) -> list[Document]:
        found = []
        while self.rest is not None and self.rest["candidate_id"] == candidate_id:
            found.append(self.rest)
            self.rest = next(self._documents, None)
        return found


def valid_references(archive: Archive, trust: Trust) -> Iterator[Document]:
    """Yield the reference phases of an archive; see :func:`bundles` for errors."""
    yield from _valid(archive, "references", trust)


def trusted(archive: Archive, member: str, trust: Trust) -> Iterator[Document]:
    """Yield the documents of a member, as they are, if none names code that may not run here.

    Raises
    ------
    InputError
        If one does.
    """
    for document in archive.documents(member):
        # jobflow writes what the document itself is, and reads its parts alone.
        is_output = (document.get("@module"), document.get("@class")) == _OUTPUT
        parts = {k: v for k, v in document.items() if not k.startswith("@")} if is_output else document
        _refuse_code(archive, parts, member, trust)
        yield document


def _valid(archive: Archive, name: str, trust: Trust) -> Iterator[Document]:
    model, key = COLLECTIONS[name]
    for document in archive.documents(member_of(name)):
        try:
            checked = model.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise archive.damaged(
                f"{name}: {str(document.get(key))[:60]!r} is not valid ({where}: {first['msg']})"
            ) from error
        if name == "provenance":
            # It is shown and never made into objects: it names the code that ran elsewhere.
            yield checked.model_dump(mode="json")
            continue
        _refuse_code(archive, document, name, trust)
        apart = {"results": {"__all__": APART}} if name == "candidates" else None
        yield checked.model_dump(mode="json", exclude=apart)


def _refuse_code(archive: Archive, document: Document, where: str, trust: Trust) -> None:
    try:
        trust.check(document)
    except (TrustError, RecursionError) as error:
        what = error.message if isinstance(error, TrustError) else "it is nested too deeply"
        raise archive.damaged(f"{where}: {what.rstrip('.')}") from error


def _check_name(archive: Archive, candidate: Document) -> None:
    """Refuse a candidate under a name that is not that of its composition."""
    sites = candidate["candidate"]["sites"]
    try:
        name = name_of({site: {s: Fraction(x) for s, x in species.items()} for site, species in sites.items()})
    except (ValueError, ZeroDivisionError, KeyError) as error:
        raise archive.damaged(f"candidate {candidate['candidate_id']} has no composition") from error
    if not name == candidate["candidate_id"] == candidate["candidate"]["candidate_id"]:
        raise archive.damaged(f"candidate {candidate['candidate_id']} has the composition of {name}")


def stored(database: Database, candidate_id: str) -> dict[str, list[Document]] | None:
    """Return a candidate of the store with its parts, or None if there is no such candidate."""
    where = {"candidate_id": candidate_id}
    candidate = database["candidates"].find_one(where, {"_id": 0})
    if candidate is None:
        return None
    parts = {name: list(database[name].find(where, {"_id": 0}).sort(COLLECTIONS[name][1], 1)) for name in PARTS}
    return {"candidates": [candidate], **parts}


def digest(documents: Mapping[str, list[Document]]) -> str:
    """Return a hash of a candidate and its parts that is equal for equal results.

    Raises
    ------
    InputError
        If a stored document cannot be read.
    """
    content = []
    for name in ("candidates", *PARTS):
        model, key = COLLECTIONS[name]
        for document in sorted(documents[name], key=lambda d: str(d[key])):
            try:
                plain = model.model_validate(document).model_dump(mode="json")
            except ValidationError as error:
                raise InputError(
                    f"{name}: {document[key]} of this store cannot be read ({error.errors()[0]['msg']}).",
                    mend="run `hemiec build`",
                ) from error
            content.append([name, {k: v for k, v in plain.items() if k not in _OF_BUILD}])
    return hashlib.sha256(b"".join(map(canonical, content))).hexdigest()


def same_reference(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two documents of a reference phase say the same."""
    names = ("phase", "energy_per_atom", "protocol", "protocol_hash")
    return all(one.get(name) == other.get(name) for name in names)
