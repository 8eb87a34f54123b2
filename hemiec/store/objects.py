"""Large objects beside the outputs: in GridFS, in a folder that all workers share, or in S3.

jobflow puts what a job declares as data (trajectories, images of paths) into a store of its own, and a mark in its
place. Here the same happens by itself to any output that is too large for a document of MongoDB.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bson
from jobflow import JobStore
from maggma.core import Store
from maggma.stores import GridFSStore, MongoStore, S3Store
from monty.json import jsanitize

from hemiec.errors import StoreError
from hemiec.store.trust import Trust

#: A document of outputs that is larger is taken apart; MongoDB's limit is 16 MiB.
MAX_DOCUMENT_BYTES = 12 * 1024**2
_SAFE_NAME = re.compile(r"^[A-Za-z0-9_-]{1,100}$")


class OutputStore(JobStore):
    """jobflow's store, which takes outputs of any size and hands out only what names trusted code.

    Parameters
    ----------
    trust
        What outputs may name.
    args, kwargs
        Of jobflow's JobStore.
    """

    def __init__(self, trust: Trust, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trust = trust

    @property
    def name(self) -> str:
        """Name of the store; maggma's is the URI with the password."""
        return f"JobStore-{self.docs_store.collection_name}"

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        """Store documents; the largest parts of one that is too large go where large objects lie.

        Of a job that runs again, the large objects of the last time are removed when the new ones are there.
        """
        for doc in docs if isinstance(docs, list) else [docs]:
            document = jsanitize(doc, strict=True, allow_bson=True)
            chosen = self.save if save in (None, True) else save or {}
            parts = _with_large_parts(document, chosen)
            earlier = self._objects_of(document) if parts else []
            super().update(document, key=key, save=parts)
            if earlier:
                self.additional_stores["data"].remove_docs({"blob_uuid": {"$in": earlier}})

    def _objects_of(self, document: dict[str, Any]) -> list[str]:
        """Return the names of the large objects that a job has stored before."""
        job = {"job_uuid": document["uuid"], "job_index": document["index"]}
        names: list[str] = self.additional_stores["data"].distinct("blob_uuid", job)
        return names

    def query(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Yield documents.

        Raises
        ------
        TrustError
            If one names code that may not run here: jobflow would import it when a job asks for that output.
        """
        for document in super().query(*args, **kwargs):
            self.trust.check(document)
            yield document


def _with_large_parts(document: dict[str, Any], save: dict[str, Any]) -> dict[str, Any]:
    """Return what to save elsewhere, with the largest parts of an output added until the rest fits."""
    if len(bson.encode(document)) <= MAX_DOCUMENT_BYTES:
        return save
    declared = {part for parts in save.values() for part in (parts if isinstance(parts, list | tuple) else [parts])}
    output = document["output"]
    parts = output if isinstance(output, dict) else {}
    sizes = {name: len(bson.encode({"part": value})) for name, value in parts.items() if name not in declared}
    rest = sum(sizes.values())
    large: list[list[str]] = []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if rest <= MAX_DOCUMENT_BYTES:
            break
        large.append(["output", name])
        rest -= sizes[name]
    if not parts or rest > MAX_DOCUMENT_BYTES:
        large = [["output"]]
    if not large:
        return save
    data = save.get("data", [])
    return {**save, "data": [*(data if isinstance(data, list | tuple) else [data]), *large]}


class FolderStore(Store):
    """Objects in a folder on a shared file system, each a compressed JSON file that appears whole or not at all.

    Parameters
    ----------
    index
        Store of where each object lies.
    folder
        Absolute path; made when it is first written to.
    """

    def __init__(self, index: MongoStore, folder: str, **kwargs: Any) -> None:
        super().__init__(key="blob_uuid", **kwargs)
        self.index = index
        self.folder = folder
        self.index.key = "blob_uuid"

    @property
    def name(self) -> str:
        """Name of the store."""
        return f"folder:{self.folder}"

    @property
    def _collection(self) -> Any:
        return self.index._collection

    def connect(self, force_reset: bool = False) -> None:
        """Connect to the index."""
        self.index.connect(force_reset=force_reset)

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def update(self, docs: list[dict[str, Any]] | dict[str, Any], key: Any = None) -> None:
        """Write objects, the file before its entry in the index.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        for doc in docs if isinstance(docs, list) else [docs]:
            document = jsanitize(doc, recursive_msonable=True)
            path = self._path(document["blob_uuid"])
            try:
                _write_object(path, json.dumps(document).encode())
            except OSError as error:
                raise StoreError(
                    f"{path.parent}: large objects cannot be written ({error.strerror or error}).",
                    mend="see to space and rights there; `large_objects` in the settings names the folder",
                ) from error
            self.index.update({k: v for k, v in document.items() if k != "data"}, key="blob_uuid")

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: Any = None,
        sort: Any = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield objects whose entries in the index match.

        Raises
        ------
        StoreError
            If the file of one is missing or damaged.
        """
        for entry in self.index.query(criteria, sort=sort, skip=skip, limit=limit):
            if properties is not None and set(properties) <= set(entry):
                yield {name: entry[name] for name in properties}
                continue
            path = self._path(entry["blob_uuid"])
            try:
                yield json.loads(gzip.decompress(path.read_bytes()))
            except (OSError, EOFError, ValueError) as error:
                raise StoreError(
                    f"{path}: a large object cannot be read ({type(error).__name__}).",
                    mend="bring back the folder from its copy, or run its job again: `hemiec rerun`",
                ) from error

    def remove_docs(self, criteria: dict[str, Any]) -> None:
        """Remove objects, the entry in the index before the file."""
        for entry in list(self.index.query(criteria, properties=["blob_uuid"])):
            self.index.remove_docs({"blob_uuid": entry["blob_uuid"]})
            self._path(entry["blob_uuid"]).unlink(missing_ok=True)

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """Return how many objects match."""
        return self.index.count(criteria)

    def distinct(self, field: str, criteria: dict[str, Any] | None = None, all_exist: bool = False) -> list[Any]:
        """Return the values of a field of the index."""
        return self.index.distinct(field, criteria, all_exist)

    def groupby(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Group entries of the index."""
        return self.index.groupby(*args, **kwargs)

    def ensure_index(self, key: str, unique: bool = False) -> bool:
        """Make an index of the index."""
        return self.index.ensure_index(key, unique=unique)

    def _path(self, blob_uuid: str) -> Path:
        # The name comes from the database: it must not lead out of the folder.
        if not _SAFE_NAME.match(blob_uuid):
            raise StoreError(f"{blob_uuid!r} is no name of a large object.")
        return Path(self.folder) / blob_uuid[:2] / f"{blob_uuid}.json.gz"


class LayeredStore(Store):
    """Objects are written to the first store and looked for in all, so that the setting can be changed at any time."""

    def __init__(self, stores: Sequence[Store]) -> None:
        super().__init__(key="blob_uuid")
        self.stores = list(stores)
        for store in self.stores:
            store.key = "blob_uuid"
            if hasattr(store, "searchable_fields"):
                store.searchable_fields.extend(["job_uuid", "job_index"])

    @property
    def name(self) -> str:
        """Name of the store that is written to."""
        return str(self.stores[0].name)

    @property
    def _collection(self) -> Any:
        return self.stores[0]._collection

    def connect(self, force_reset: bool = False) -> None:
        """Connect to all."""
        for store in self.stores:
            store.connect(force_reset=force_reset)

    def close(self) -> None:
        """Close all."""
        for store in self.stores:
            store.close()

    def update(self, docs: Any, key: Any = None) -> None:
        """Write to the first."""
        self.stores[0].update(docs, key=key)

    def query(self, criteria: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Yield what is found in each."""
        for store in self.stores:
            yield from store.query(criteria, *args, **kwargs)

    def remove_docs(self, criteria: dict[str, Any]) -> None:
        """Remove from all."""
        for store in self.stores:
            if isinstance(store, S3Store):
                store.remove_docs(criteria, remove_s3_object=True)
            else:
                store.remove_docs(criteria)

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """Return how many objects match in all."""
        return sum(store.count(criteria) for store in self.stores)

    def distinct(self, field: str, criteria: dict[str, Any] | None = None, all_exist: bool = False) -> list[Any]:
        """Return the values of a field in all."""
        return [value for store in self.stores for value in store.distinct(field, criteria, all_exist)]

    def groupby(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Group what is in the first."""
        return self.stores[0].groupby(*args, **kwargs)

    def ensure_index(self, key: str, unique: bool = False) -> bool:
        """Make an index in all."""
        return all(store.ensure_index(key, unique=unique) for store in self.stores)


def object_store(where: str, gridfs: GridFSStore, index: MongoStore) -> Store:
    """Return the store of large objects that a setting names.

    Parameters
    ----------
    where
        ``gridfs``, ``folder:/path`` or ``s3://bucket/prefix``; for S3 the credentials and the end point are those of
        the environment (``AWS_...``) or of ``~/.aws``.
    gridfs
        Where objects lie by default; those that are there are found with every setting.
    index
        Where it is noted which objects lie in the folder or in S3.
    """
    if where == "gridfs":
        return gridfs
    index.key = "blob_uuid"
    if where.startswith("folder:"):
        return LayeredStore([FolderStore(index, where.removeprefix("folder:")), gridfs])
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    s3 = S3Store(index, bucket, key="blob_uuid", compress=True, sub_dir=prefix or None, endpoint_url=endpoint)
    return LayeredStore([s3, gridfs])


def _write_object(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            file.write(gzip.compress(content, compresslevel=3))
            file.flush()
            os.fsync(file.fileno())
            part.chmod(0o640)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
