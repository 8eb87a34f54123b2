"""The file that the table of candidates is kept in, from one start of the server to the next.

It lies in the data folder, appears whole or not at all, and may be deleted at any time. Several servers on one data
folder share it: one reads the store, the others wait for its file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hemiec.errors import HemiecError, StoreError
from hemiec.settings import Settings
from hemiec.store.queries.tables import arrow_schema, candidate_columns
from hemiec.web.ranking.table import LiveTable

if TYPE_CHECKING:
    import pyarrow as pa

#: What the store says of itself; the file is good while it says the same.
Mark = dict[str, Any]
_MARK, _READ_AT = b"hemiec.mark", b"hemiec.read_at"
_logger = logging.getLogger(__name__)


class KeptTable:
    """The file of one database in one data folder.

    Parameters
    ----------
    settings
        Where data folder and database are.
    """

    def __init__(self, settings: Settings) -> None:
        uri = settings.web_mongo_uri or settings.mongo_uri
        # The embedded MongoDB lies in the data folder itself. Nothing of a password goes into a name.
        server = "" if uri is None else urlsplit(uri.get_secret_value()).netloc.rpartition("@")[2]
        key = hashlib.sha256(f"{server}/{settings.database}".encode()).hexdigest()[:12]
        self.folder = settings.data_dir / "web"
        self.path = self.folder / f"candidates-{key}.parquet"

    def open(self, mark: Mark | None) -> tuple[LiveTable, Mark] | None:
        """Return the table in the file with its mark, ready for requests; None if there is none, or of another mark.

        A file that is damaged in what every request needs counts as none.

        Parameters
        ----------
        mark
            What the store says of itself; None takes any.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # The same file is opened again below; one that replaces it meanwhile has a newer mark.
            schema = pq.read_schema(self.path)
            about = schema.metadata or {}
            its_mark: Mark = json.loads(about[_MARK])
            read_at = datetime.fromisoformat(about[_READ_AT].decode())
            if (mark is not None and its_mark != mark) or schema.names != list(candidate_columns()):
                return None
            table = LiveTable(self.path, read_at)
            table.warm()
            return table, its_mark
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException, KeyError, ValueError, HemiecError) as error:
            _logger.warning("%s: not used, and read anew (%s)", self.path, error)
            return None

    @contextmanager
    def writing(self) -> Iterator[bool]:
        """Lend the right to write the file; False if another server has it.

        Raises
        ------
        StoreError
            If the data folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = True
            except BlockingIOError:
                mine = False
            except OSError:
                mine = True  # a file system without locks: two servers read, and the last file counts
            yield mine
        finally:
            os.close(lock)

    @contextmanager
    def replacing(self, mark: Mark, read_at: datetime) -> Iterator[Callable[[pa.RecordBatch], None]]:
        """Lend what writes parts of the file; it takes the place of the old one in the end, if no error came before.

        Parameters
        ----------
        mark
            What the store said of itself before it was read.
        read_at
            When that was.

        Raises
        ------
        StoreError
            If the disk is full, or the data folder cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._sweep()
        about = {_MARK: json.dumps(mark).encode(), _READ_AT: read_at.isoformat().encode()}
        schema = arrow_schema(candidate_columns().values()).with_metadata(about)
        lists = [f"{field.name}.list.element" for field in schema if pa.types.is_list(field.type)]
        encoded = [field.name for field in schema if pa.types.is_dictionary(field.type)] + lists
        try:
            part = self.folder / f"{self.path.stem}-{secrets.token_hex(8)}.part"
            # Others may read it as far as this user's files are open to them; mkstemp would not ask the umask.
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            try:
                with pq.ParquetWriter(
                    part, schema, compression="zstd", use_dictionary=encoded, write_page_checksum=True
                ) as writer:

                    def write(batch: pa.RecordBatch) -> None:
                        writer.write_table(pa.Table.from_batches([batch]).replace_schema_metadata(about))

                    yield write
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)
        except (OSError, pa.ArrowException) as error:
            raise self._cannot_write(error) from error

    def _sweep(self) -> None:
        """Remove what a server that was killed left; only whoever may write calls it."""
        for part in self.folder.glob(f"{self.path.stem}*.part"):
            with suppress(OSError):
                part.unlink()

    def _cannot_write(self, error: Exception) -> StoreError:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        return StoreError(
            f"{self.folder}: the table of candidates cannot be kept ({reason}).",
            mend="make room or the folder writable, or serve with --no-table",
        )
