"""A space of any size to a Parquet file: one chunk in memory, one row group at a time, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hemiec import __version__
from hemiec.composition.block import Rows
from hemiec.composition.descriptors import SITES, UNITS, Floats
from hemiec.composition.identity import ID_LENGTH, render
from hemiec.composition.options import Option
from hemiec.composition.space import Counts, Space
from hemiec.errors import StoreError
from hemiec.schemas.campaign import CampaignSpec

if TYPE_CHECKING:
    import pyarrow as pa

#: Compositions per row group: about 80 MB in memory.
ROW_GROUP = 2**19
#: The numeric columns, in single precision: seven digits, more than any of the tables they come from.
_NUMBERS = ("oxygen_deficiency", "net_charge", *UNITS)
_SOURCES = {
    "radii": "Shannon, doi:10.1107/S0567739476001551, as tabulated in pymatgen; coordination 12, 6, 6; high spin",
    "tolerance_factor": "Goldschmidt, doi:10.1007/BF01507527",
    "bartel_tau": "Bartel et al., doi:10.1126/sciadv.aav0693, eq. 1; tau_probability from their table S1",
    "hhi": "Gaultois et al., doi:10.1021/cm400893e",
    "raw_material_cost": "prices of 2013 in pymatgen's cost table; anions and alkali metals have none",
    "scarcity": "CRC Handbook of Chemistry and Physics, 92nd edition, crustal abundance",
    "means": "over the ions of a sublattice; vacancies count in entropies only",
}


def write_space(
    space: Space,
    campaign: CampaignSpec,
    path: Path,
    *,
    on_chunk: Callable[[Rows, Mapping[str, Floats]], None] | None = None,
    row_group: int = ROW_GROUP,
) -> Counts:
    """Write every kept composition of a space with all its descriptors to a Parquet file; return the counts.

    Columns: ``candidate_id``; ``A``, ``B``, ``X`` with exact fractions, as ``Ba:1/5 La:4/5``; ``charge_balanced``;
    and, in single precision, the charge answer and all descriptors under the names of a candidate document. The
    file's metadata hold units, sources, the campaign and the version of hemiec. An interrupted or failed write leaves
    no file, and one that was there before is left as it was.

    Parameters
    ----------
    space, campaign
        What to write, and the campaign it is of.
    path
        The file.
    on_chunk
        Called with every chunk of kept compositions and their columns.
    row_group
        Compositions per row group of the file; unit 1.

    Raises
    ------
    CompositionError
        If a composition is refused or none is left.
    StoreError
        If the file cannot be written.
    """
    import pyarrow.parquet as pq

    schema = _schema(campaign)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        with pq.ParquetWriter(
            temporary,
            schema,
            compression="lz4",
            use_dictionary=[*SITES],
            dictionary_pagesize_limit=2**28,
            write_statistics=[*_NUMBERS],
            write_page_index=False,
        ) as writer:
            pending = _RowGroup(schema, row_group)
            for rows, columns in space.chunks():
                for table in pending.add(rows, columns):
                    writer.write_table(table, row_group_size=row_group)
                if on_chunk is not None:
                    on_chunk(rows, columns)
            for table in pending.rest():
                writer.write_table(table, row_group_size=row_group)
            writer.add_key_value_metadata({"hemiec_counts": json.dumps(space.counts.to_json())})
        _publish(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()
    return space.counts


def _publish(temporary: Path, path: Path) -> None:
    """Give the finished file its name, with the permissions that a new file of this user has."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    temporary.replace(path)


def _cannot_write(path: Path, error: OSError) -> StoreError:
    # pyarrow tells a full disk in its message only.
    text = str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "errno 28" in text:
        return StoreError(
            f"{path}: the disk is full; nothing was written.",
            mend="make room (about 100 bytes per composition), or choose another folder",
        )
    return StoreError(f"{path}: cannot be written ({error.strerror or text.splitlines()[0]}).")


def _schema(campaign: CampaignSpec) -> pa.Schema:
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    fields = [pa.field("candidate_id", pa.string(), nullable=False)]
    fields += [pa.field(site, text, nullable=False) for site in SITES]
    fields += [pa.field("charge_balanced", pa.bool_(), nullable=False)]
    units = {"oxygen_deficiency": "vacancies per formula unit", "net_charge": "e per formula unit", **UNITS}
    fields += [pa.field(name, pa.float32(), metadata={"unit": units[name]}) for name in _NUMBERS]
    metadata = {
        "hemiec_version": __version__,
        "hemiec_campaign": campaign.model_dump_json(),
        "hemiec_units": json.dumps(units),
        "hemiec_sources": json.dumps(_SOURCES),
    }
    return pa.schema(fields, metadata=metadata)


class _RowGroup:
    """Columns of a row group, filled chunk by chunk."""

    def __init__(self, schema: pa.Schema, size: int) -> None:
        self.schema, self.size = schema, size
        self.n = 0
        self.names = np.empty((size, ID_LENGTH), np.uint8)
        self.numbers = np.empty((len(_NUMBERS), size), np.float32)
        self.fillings = {site: _Fillings(size) for site in SITES}

    def add(self, rows: Rows, columns: Mapping[str, Floats]) -> Iterator[pa.Table]:
        """Take compositions; yield each row group that becomes full, to be written before the next one is asked for."""
        start = 0
        names = rows.words()
        while start < len(rows):
            stop = min(len(rows), start + self.size - self.n)
            here, these = slice(self.n, self.n + stop - start), slice(start, stop)
            self.names[here] = render(names[these])
            for k, name in enumerate(_NUMBERS):
                self.numbers[k, here] = columns[name][these]
            for site in SITES:
                self.fillings[site].add(rows.tables[site].options, rows.index[site][these], here)
            self.n, start = here.stop, stop
            if self.n == self.size:
                yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        """Yield what has been gathered as one row group, if anything, and start anew.

        The table shares these buffers: it must be written before more is added.
        """
        import pyarrow as pa

        if self.n == 0:
            return
        n, self.n = self.n, 0
        offsets = np.arange(0, (n + 1) * ID_LENGTH, ID_LENGTH, dtype=np.int32)
        ids = pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(self.names[:n].reshape(-1)))
        fillings = [self.fillings[site].take(n) for site in SITES]
        net = self.numbers[_NUMBERS.index("net_charge"), :n]
        # Only a column with NaN needs a mask of nulls; a sum tells, in one pass.
        numbers = [pa.array(values, from_pandas=bool(np.isnan(values.sum()))) for values in self.numbers[:, :n]]
        yield pa.Table.from_arrays([ids, *fillings, pa.array(net == 0), *numbers], schema=self.schema)


class _Fillings:
    """The fillings of one sublattice in a row group, as numbers of texts."""

    def __init__(self, size: int) -> None:
        self.codes = np.empty(size, np.int32)
        self._start()

    def _start(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._tables: dict[int, NDArray[np.int32]] = {}

    def add(self, options: list[Option], index: NDArray[np.int64], here: slice) -> None:
        known = self._tables.get(id(options))
        if known is None or len(known) < len(options):
            grown = np.full(len(options), -1, np.int32)
            if known is not None:
                grown[: len(known)] = known
            known = self._tables[id(options)] = grown
        codes = known[index]
        if codes.min() < 0:
            for row in np.unique(index[codes < 0]).tolist():
                text = filling_text(options[row])
                known[row] = self._numbers.setdefault(text, len(self.texts))
                if known[row] == len(self.texts):
                    self.texts.append(text)
            codes = known[index]
        self.codes[here] = codes

    def take(self, n: int) -> pa.DictionaryArray:
        import pyarrow as pa

        array = pa.DictionaryArray.from_arrays(pa.array(self.codes[:n]), pa.array(self.texts, pa.string()))
        self._start()
        return array


def filling_text(option: Option) -> str:
    """Return a sublattice as the file writes it: ``Ba:1/5 La:4/5``; vacancies included."""
    return " ".join(f"{symbol}:{fraction}" for symbol, fraction in option.items())
