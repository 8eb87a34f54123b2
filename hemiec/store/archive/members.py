"""The archive of a set of candidates: which members it has, and how to read them from a file that may be hostile.

A zip archive with one line of JSON per document, and what people need to read it without hemiec. ``manifest.json`` has
the SHA-256 of every other member.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from pydantic import Field, ValidationError

from hemiec import __version__
from hemiec.errors import InputError
from hemiec.schemas.calibration import CalibrationDoc
from hemiec.schemas.documents import SCHEMA_VERSION, CandidateDoc, ReferenceDoc
from hemiec.schemas.provenance import Provenance
from hemiec.schemas.quantity import Document as Model
from hemiec.schemas.stored import HopDoc, StructureDoc, ThermodynamicsDoc, TransportDoc

FORMAT = "hemiec-candidates"
VERSION = 1
MANIFEST, README, CITATION = "manifest.json", "README.md", "CITATION.cff"
#: Members that say when the archive was written; all others depend on its content alone.
DATED = frozenset({MANIFEST, CITATION})
#: Collection to its model and its key; each lies in `documents/<collection>.jsonl`.
COLLECTIONS: dict[str, tuple[type[Model], str]] = {
    "provenance": (Provenance, "candidate_id"),
    "candidates": (CandidateDoc, "candidate_id"),
    "structures": (StructureDoc, "structure_id"),
    "hops": (HopDoc, "hop_id"),
    "transport": (TransportDoc, "transport_id"),
    "thermodynamics": (ThermodynamicsDoc, "thermodynamics_id"),
    "references": (ReferenceDoc, "reference_id"),
    "calibrations": (CalibrationDoc, "calibration_id"),
}
#: Of `--raw`: documents of `outputs`, and large objects.
OUTPUTS, OBJECTS = "raw/outputs.jsonl", "raw/objects.jsonl"

#: No document of MongoDB is larger; a large object of GridFS may be.
MAX_LINE_BYTES, MAX_OBJECT_BYTES = 16 * 1024**2, 1024**3
MAX_MANIFEST_BYTES = 64 * 1024**2
MAX_MEMBERS = 200_000
MAX_TOTAL_BYTES = 64 * 1024**3
#: JSON of numbers shrinks to a third or a tenth; what shrinks more is made to fill memory or time.
MAX_RATIO, RATIO_FROM_BYTES = 200, 16 * 1024**2
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*){0,3}$")
_HASH = re.compile(r"^[0-9a-f]{64}$")
_ENCRYPTED = 0x1
_BLOCK = 1024**2


class MemberEntry(Model):
    """One member of an archive."""

    sha256: str = Field(description="SHA-256 of its content, in hexadecimal.", pattern=_HASH.pattern)
    bytes: int = Field(ge=0, description="Size before compression, in bytes.")


class Manifest(Model):
    """What an archive of candidates holds."""

    format: str = Field(description=f"Always {FORMAT}.")
    version: int = Field(description="Version of the layout of the archive; unit 1.")
    schema_version: int = Field(description="Version of the layout of its documents; unit 1.")
    title: str = Field(description="Title for people.")
    created_on: datetime = Field(description="When it was written, UTC.")
    hemiec: str = Field(description="Version of hemiec that wrote it.")
    content_hash: str = Field(
        description="SHA-256 of names and hashes of all members but the dated ones, in hexadecimal: equal for archives "
        "of equal content.",
        pattern=_HASH.pattern,
    )
    documents: dict[str, int] = Field(description="Kind of document to how many there are; unit 1.")
    members: dict[str, MemberEntry] = Field(description="Name of every other member to what it is.")


def content_hash(members: dict[str, MemberEntry]) -> str:
    """Return the hash of the content of an archive, whenever it was written."""
    lines = (f"{members[name].sha256}  {name}\n" for name in sorted(members) if name not in DATED)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def member_of(collection: str) -> str:
    """Return the name of the member that holds the documents of a collection."""
    return f"documents/{collection}.jsonl"


def canonical(document: Any) -> bytes:
    """Return a document as one line of JSON, the same for equal documents; NaN and infinity raise ValueError."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


class Archive:
    """An archive that was opened and whose list of members is sound; nothing of it has been unpacked."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.infos = {info.filename: info for info in self._checked(file.infolist())}
        self.manifest = self._manifest()
        if set(self.infos) != {MANIFEST, *self.manifest.members}:
            raise self.damaged("its members are not those of its manifest")
        for name, entry in self.manifest.members.items():
            if self.infos[name].file_size != entry.bytes:
                raise self.damaged(f"{name} has not the size that its manifest says")
        if content_hash(self.manifest.members) != self.manifest.content_hash:
            raise self.damaged("its content hash is not that of its members")

    def damaged(self, what: str) -> InputError:
        """Return the error for something that is wrong with the archive."""
        return InputError(f"{self.path} is damaged: {what}.", mend="use another copy; nothing was imported")

    def verify(self) -> None:
        """Read every member to its end and compare its hash.

        Raises
        ------
        InputError
            If one is not what was written.
        """
        for name, entry in self.manifest.members.items():
            digest, size = hashlib.sha256(), 0
            with self._open(name) as member:
                while block := member.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    if size > entry.bytes:
                        raise self.damaged(f"{name} is longer than its manifest says")
            if digest.hexdigest() != entry.sha256:
                raise self.damaged(f"{name} is not what was written")

    def documents(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the documents of a member, one of each line; nothing if there is no such member.

        Raises
        ------
        InputError
            If a line is too long or no JSON object.
        """
        if name not in self.infos:
            return
        limit = MAX_OBJECT_BYTES if name == OBJECTS else MAX_LINE_BYTES
        with self._open(name) as member:
            number = 0
            while line := member.readline(limit + 1):
                number += 1
                if len(line) > limit:
                    raise self.damaged(f"{name}, line {number}, is longer than {limit} bytes")
                yield self._object(line, f"{name}, line {number},")

    def _object(self, text: bytes, where: str) -> dict[str, Any]:
        try:
            content = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        except (ValueError, RecursionError, UnicodeDecodeError) as error:
            raise self.damaged(f"{where} is no JSON that hemiec writes") from error
        if not isinstance(content, dict):
            raise self.damaged(f"{where} is no JSON object")
        return content

    def _manifest(self) -> Manifest:
        if MANIFEST not in self.infos:
            raise self.damaged("it has no manifest; is it an archive of `hemiec export`?")
        if self.infos[MANIFEST].file_size > MAX_MANIFEST_BYTES:
            raise self.damaged("its manifest is too long")
        with self._open(MANIFEST) as member:
            content = self._object(member.read(MAX_MANIFEST_BYTES + 1), MANIFEST)
        if content.get("format") != FORMAT:
            raise InputError(
                f"{self.path}: not an archive of candidates.", mend="`hemiec db restore` reads backups of a database"
            )
        versions = content.get("version"), content.get("schema_version")
        later = [isinstance(n, int) and n > ours for n, ours in zip(versions, (VERSION, SCHEMA_VERSION), strict=True)]
        if any(later):
            raise InputError(
                f"{self.path}: hemiec {str(content.get('hemiec'))[:40]!r} wrote it in a layout that this hemiec "
                f"{__version__} does not know.",
                mend="update hemiec to that version or a later one",
            )
        try:
            return Manifest.model_validate(content)
        except ValidationError as error:
            raise self.damaged(f"its manifest is not valid ({error.errors()[0]['msg']})") from error

    def _checked(self, infos: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        """Return the list of members, if there is nothing in it that `hemiec export` does not write."""
        names = [info.filename for info in infos]
        if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
            raise self.damaged("it is larger than any archive may be")
        if len(set(names)) != len(names):
            raise self.damaged("it has two members of one name")
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not _NAME.fullmatch(info.filename) or kind not in (0, stat.S_IFREG):
                raise self.damaged(f"{info.filename[:80]!r} is no name of a file in it")
            if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise self.damaged(f"{info.filename} is encrypted, or packed in another way than deflate")
            if info.file_size > max(RATIO_FROM_BYTES, MAX_RATIO * info.compress_size):
                raise self.damaged(f"{info.filename} unpacks to {info.file_size} bytes from {info.compress_size}")
        return infos

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member; what is wrong with its bytes is one clear error."""
        try:
            with self._file.open(name) as member:
                yield member
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, zlib.error) as error:
            raise self.damaged(f"{name} cannot be read") from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive of candidates whose list of members is sound.

    Raises
    ------
    InputError
        If the file is missing, damaged or hostile, is something else, or a later hemiec wrote it.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    # ZipFile leaves a file open as long as a member of it is, such as one that was not read to its end.
    with raw:
        try:
            file = zipfile.ZipFile(raw)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"{path} is no zip archive, or cut off.", mend="use another copy") from error
        with file:
            yield Archive(path, file)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not allowed")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
