"""A set of candidates with everything behind them in one file that can be cited, read without hemiec, and imported.

Only the manifest and the citation say when the file was written; all else depends on its content alone, and so does
the content hash by which it is cited.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from hemiec import __version__
from hemiec.errors import InputError, StoreError
from hemiec.ranking.calibration.shipped import shipped_calibrations
from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.documents import APART, SCHEMA_VERSION, CandidateDoc
from hemiec.schemas.provenance import Provenance
from hemiec.store.archive.citation import citation, readme
from hemiec.store.archive.members import (
    CITATION,
    COLLECTIONS,
    FORMAT,
    MANIFEST,
    OBJECTS,
    OUTPUTS,
    README,
    VERSION,
    Manifest,
    MemberEntry,
    canonical,
    content_hash,
    member_of,
)
from hemiec.store.campaigns import require_campaign
from hemiec.store.database import Database, Document, store_errors
from hemiec.store.layout.prepare import require_current
from hemiec.store.layout.schema_files import STORED, schema_of
from hemiec.store.provenance import no_candidate, trace
from hemiec.store.queries.language import compile

#: Of a zip archive's members: they have to have a time, and this is the earliest.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_IDS_AT_ONCE = 200
#: Called with what is being read, how much is done, and of how much.
Report = Callable[[str, int, int], None]
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass
class _Writer:
    """An archive that is being written: what has to be known of each member, and who is told how far it is."""

    file: zipfile.ZipFile
    report: Report
    members: dict[str, MemberEntry] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)

    def write(self, name: str, content: str | bytes) -> None:
        """Add a member."""
        self.write_lines(name, [content.encode() if isinstance(content, str) else content])

    def write_lines(self, name: str, lines: Iterable[bytes]) -> int:
        """Add a member from its parts, and return how many there were."""
        digest, size, n = hashlib.sha256(), 0, 0
        info = zipfile.ZipInfo(name, _EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o100644 << 16
        with self.file.open(info, "w", force_zip64=True) as member:
            for line in lines:
                member.write(line)
                digest.update(line)
                size += len(line)
                n += 1
        self.members[name] = MemberEntry(sha256=digest.hexdigest(), bytes=size)
        return n


def export_candidates(
    database: Database,
    path: Path,
    candidate_ids: Iterable[str],
    *,
    title: str | None = None,
    authors: Iterable[str] = (),
    raw: bool = False,
    created_on: datetime | None = None,
    force: bool = False,
    report: Report | None = None,
) -> Manifest:
    """Write candidates with all that belongs to them into one file, which appears when it is complete.

    Parameters
    ----------
    database
        The store; the role `read` is enough without ``raw``.
    path
        The file.
    candidate_ids
        Which candidates.
    title
        Of the citation; default one made of how many there are.
    authors
        Names for the citation.
    raw
        Whether outputs of all jobs behind them and their large objects are added.
    created_on
        When the archive says that it was written; default now.
    force
        Whether a file of that name is replaced.
    report
        Called from time to time with what is being read, how much is done, and of how much.

    Returns
    -------
    Manifest
        What the file holds.

    Raises
    ------
    InputError
        If there is nothing to export, a candidate is unknown, the file exists or its folder does not.
    StoreError
        If a document cannot be read, or the store has to be migrated first.
    """
    ids = sorted(set(candidate_ids))
    if not ids:
        raise InputError("there are no candidates to export.", mend="`hemiec query` shows what an expression finds")
    if path.exists() and not force:
        raise InputError(f"{path} exists.", mend="choose another name, or add --force")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist.", mend="make the folder first")
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with store_errors(), zipfile.ZipFile(file, "w") as archive:
                require_current(database)
                writer = _Writer(archive, report or (lambda *_: None))
                about = {"title": title, "authors": list(authors), "created_on": created_on or datetime.now(UTC)}
                manifest = _write(writer, database, ids, raw, about)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return manifest


@dataclass
class _Behind:
    """What the provenances of the candidates name: it is gathered while they are written."""

    references: set[str] = field(default_factory=set)
    calibrations: set[str] = field(default_factory=set)
    campaigns: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    versions: dict[str, set[str]] = field(default_factory=dict)
    protocols: dict[str, bytes] = field(default_factory=dict)

    def add(self, found: Provenance) -> None:
        """Note what is behind one candidate."""
        self.references.update(reference.reference_id for reference in found.references)
        self.calibrations.update(calibration.calibration_id for calibration in found.calibrations)
        self.campaigns.update(found.campaigns)
        self.jobs.update(job.uuid for job in found.jobs if job.state == "completed")
        for code, versions in found.versions.items():
            self.versions.setdefault(code, set()).update(versions)
        for protocol in found.protocols:
            if protocol.content is not None:
                text = yaml.safe_dump(protocol.content, sort_keys=False, allow_unicode=True, width=110).encode()
                short = hashlib.sha256(text).hexdigest()[:12]
                self.protocols[f"protocols/{_safe(protocol.name)}-{short}.yaml"] = text


def select_candidates(
    database: Database, expression: str = "", *, campaign: str | None = None, ids: Iterable[str] = ()
) -> list[str]:
    """Return the ids of the candidates that fulfil an expression, of one campaign, or that are named, sorted.

    Raises
    ------
    QueryError
        If the expression is not one.
    InputError
        If a named candidate, or the campaign, is not in the store.
    """
    named = set(ids)
    with store_errors():
        conditions: list[Document] = [compile(expression)] if expression.strip() else []
        if campaign is not None:
            require_campaign(database, campaign)  # says so if there is none of that name
            conditions.append({"campaigns": campaign})
        if named:
            conditions.append({"candidate_id": {"$in": sorted(named)}})
        where: Document = {"$and": conditions} if conditions else {}
        found = [d["candidate_id"] for d in database["candidates"].find(where, {"_id": 0, "candidate_id": 1})]
        for name in sorted(named.difference(found)):
            if database["candidates"].find_one({"candidate_id": name}, {"_id": 1}) is None:
                raise no_candidate(database, name)
    return sorted(found)


def _write(writer: _Writer, database: Database, ids: list[str], raw: bool, about: Mapping[str, Any]) -> Manifest:
    behind = _Behind()
    _write_documents(writer, database, ids, behind)
    _write_structures(writer, database, ids)
    for name in sorted(behind.protocols):
        writer.write(name, behind.protocols[name])
    _write_campaigns(writer, database, behind)
    versions = {code: sorted(behind.versions[code]) for code in sorted(behind.versions)}
    writer.write("versions.json", canonical(versions | {"hemiec_export": [__version__]}))
    for name, (model, _) in COLLECTIONS.items():
        schema = schema_of(name) if name in STORED else model.model_json_schema()
        writer.write(f"schemas/{name}.json", canonical(schema))
    if raw:
        _write_raw(writer, database, sorted(behind.jobs))
    n = writer.documents["candidates"]
    title = about["title"] or f"{n} {'candidate' if n == 1 else 'candidates'} computed with hemiec"
    writer.write(README, readme(title, writer.documents, raw=raw))
    found = content_hash(writer.members)
    writer.write(CITATION, citation(title, about["authors"], about["created_on"], found, versions))
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
        schema_version=SCHEMA_VERSION,
        title=title,
        created_on=about["created_on"],
        hemiec=__version__,
        content_hash=found,
        documents=writer.documents,
        members=dict(writer.members),
    )
    writer.write(MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def _write_documents(writer: _Writer, database: Database, ids: list[str], behind: _Behind) -> None:
    for name, (_, key) in COLLECTIONS.items():
        if name == "provenance":
            documents: Iterable[Document] = _provenances(database, ids, behind, writer.report)
        elif name == "calibrations":
            documents = _calibrations(database, behind.calibrations)
        elif name == "references":
            documents = _read(database, name, key, "reference_id", sorted(behind.references))
        else:
            documents = _read(database, name, key, "candidate_id", ids)
        writer.documents[name] = writer.write_lines(member_of(name), map(canonical, documents))


def _provenances(database: Database, ids: list[str], behind: _Behind, report: Report) -> Iterator[Document]:
    for n, candidate_id in enumerate(ids, 1):
        found = trace(database, candidate_id)
        report("provenance", n, len(ids))
        behind.add(found)
        yield found.model_dump(mode="json")


def _read(database: Database, name: str, key: str, field: str, values: list[str]) -> Iterator[Document]:
    """Yield valid documents by their keys, of a few hundred candidates at a time.

    Raises
    ------
    StoreError
        If one cannot be read.
    """
    model = COLLECTIONS[name][0]
    for k in range(0, len(values), _IDS_AT_ONCE):
        where = {field: {"$in": values[k : k + _IDS_AT_ONCE]}}
        for document in sorted(database[name].find(where, {"_id": 0}), key=lambda d: (d[field], str(d[key]))):
            try:
                yield model.model_validate(document).model_dump(mode="json", exclude=_absent(model, document))
            except ValidationError as error:
                first = error.errors()[0]
                raise StoreError(
                    f"{name}: {document[key]} cannot be read ({'.'.join(map(str, first['loc']))}: {first['msg']}).",
                    mend="run `hemiec build`, or leave it out",
                ) from error


def _absent(model: type[Any], document: Document) -> set[str] | dict[str, Any] | None:
    """Return what is not stored in the document itself, so that defaults of the model do not appear."""
    absent = set(model.model_fields) - set(document)
    if model is CandidateDoc:
        return {"results": {"__all__": APART}} | dict.fromkeys(absent, True)
    return absent or None


def _calibrations(database: Database, ids: set[str]) -> list[Document]:
    """Return calibrations in full: stored ones, and those that come with hemiec."""
    found = {
        d["calibration_id"]: d
        for d in database["calibrations"].find({"calibration_id": {"$in": sorted(ids)}}, {"_id": 0})
    }
    for shipped in shipped_calibrations() if ids - set(found) else ():
        if shipped.calibration_id in ids:
            # It is fitted anew by every process: when, is of no meaning.
            fixed = shipped.model_copy(update={"created_at": datetime(1970, 1, 1, tzinfo=UTC)})
            found.setdefault(shipped.calibration_id, fixed.to_mongo())
    return [found[name] for name in sorted(found)]


def _write_structures(writer: _Writer, database: Database, ids: list[str]) -> None:
    """Write each structure as CIF and POSCAR, ideal and relaxed."""
    names: set[str] = set()
    for k in range(0, len(ids), _IDS_AT_ONCE):
        found = database["structures"].find({"candidate_id": {"$in": ids[k : k + _IDS_AT_ONCE]}})
        for document in found.sort("structure_id", 1):
            folder = f"structures/{_safe(document['candidate_id'])}"
            stem = f"{_safe(document['plan_id'])}-{document['member']}"
            for kind, content in (("ideal", document["ideal_structure"]), ("relaxed", document["structure"])):
                name = f"{folder}/{stem}-{kind}"
                if content is None or name in names:
                    continue
                names.add(name)
                structure = Structure.from_dict(content)
                comment = f"{document['label']} {document['structure_id']} {kind}"
                poscar = Poscar(structure.get_sorted_structure(), comment=comment)
                writer.write(f"{name}.vasp", poscar.get_str(significant_figures=12))
                # CIF wants a label of its own for each site; ours name sublattices.
                for site in structure:
                    site.label = site.species_string
                structure.relabel_sites()
                writer.write(f"{name}.cif", f"# {comment}\n{CifWriter(structure, significant_figures=10)}")


def _write_campaigns(writer: _Writer, database: Database, behind: _Behind) -> None:
    """Write the campaigns as files that `hemiec run` takes."""
    for header in database["campaigns"].find({"name": {"$in": sorted(behind.campaigns)}}).sort("name", 1):
        try:
            spec = CampaignSpec.model_validate(header["spec"]).model_dump(mode="json")
        except ValidationError as error:
            raise StoreError(f"campaign {header['name']}: stored by another version of hemiec.") from error
        text = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110)
        writer.write(f"campaigns/{_safe(header['name'])}.yaml", text)


def _write_raw(writer: _Writer, database: Database, uuids: list[str]) -> None:
    """Write outputs of the jobs behind the numbers, and their large objects."""
    outputs = (d for k in range(0, len(uuids), _IDS_AT_ONCE) for d in _outputs(database, uuids[k : k + _IDS_AT_ONCE]))
    writer.documents["outputs"] = writer.write_lines(OUTPUTS, map(canonical, outputs))
    store = database.job_store()
    try:
        objects = store.additional_stores["data"]
        found = (
            _plain(document)
            for uuid in uuids
            for document in sorted(objects.query({"job_uuid": uuid}), key=lambda d: str(d["blob_uuid"]))
        )
        writer.documents["objects"] = writer.write_lines(OBJECTS, map(canonical, found))
    finally:
        store.close()


def _outputs(database: Database, uuids: list[str]) -> Iterator[Document]:
    where = {"uuid": {"$in": uuids}, "output": {"$ne": None}}
    with closing(database["outputs"].find(where, {"_id": 0}).sort([("uuid", 1), ("index", 1)])) as cursor:
        yield from map(_plain, cursor)


def _plain(document: Mapping[str, Any]) -> Document:
    """Return a document without MongoDB's key, times as text."""
    return {key: _text(value) for key, value in document.items() if key != "_id"}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_text(inner) for inner in value]
    return value


def _safe(name: str) -> str:
    return _UNSAFE.sub("-", name).lstrip("._+-") or "unnamed"
