"""The candidates as columns: what ranking a million of them works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import InputError
from hemiec.ranking.columns import BY_PROPERTY
from hemiec.schemas.documents import PROPERTIES, CandidateDoc
from hemiec.schemas.quantity import Quantity

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """One property of all candidates, in its unit; NaN where there is none.

    Parameters
    ----------
    value
        The best available value, corrected where there is a correction, shape=(n_candidates,).
    low, high
        The 90 % interval of ``value``, shape=(n_candidates,); NaN where none is known.
    unit
        Of all three.
    """

    value: Floats
    low: Floats
    high: Floats
    unit: str

    def take(self, rows: NDArray[np.intp]) -> Estimates:
        """Return those of some candidates, in the order of ``rows``."""
        return replace(self, value=self.value[rows], low=self.low[rows], high=self.high[rows])


@dataclass(frozen=True)
class CandidateTable:
    """Candidates in the order of their ids, with the properties that they can be ranked by.

    Equal scores are therefore settled by the row number, whatever order the candidates came in.

    Parameters
    ----------
    candidate_id
        Ascending, each once, shape=(n_candidates,).
    label
        Short formulas, shape=(n_candidates,).
    estimates
        Name of a property to its column.

    Raises
    ------
    InputError
        If a candidate comes twice or they are out of order.
    """

    candidate_id: NDArray[np.str_]
    label: Sequence[str]
    estimates: Mapping[str, Estimates]

    def __post_init__(self) -> None:
        wrong = np.flatnonzero(self.candidate_id[1:] <= self.candidate_id[:-1])
        if wrong.size:
            name = self.candidate_id[wrong[0] + 1]
            raise InputError(f"candidates to rank: {name} comes twice or out of order; expected ascending ids.")

    def __len__(self) -> int:
        return len(self.candidate_id)


def table_of(documents: Iterable[CandidateDoc]) -> CandidateTable:
    """Return the columns of candidates, in the order of their ids.

    Raises
    ------
    InputError
        If a candidate comes twice, or a value is not in the unit of its property.
    """
    ordered = sorted(documents, key=lambda document: document.candidate_id)
    ids = np.array([document.candidate_id for document in ordered], dtype=np.str_)
    labels = [document.candidate.label for document in ordered]
    return CandidateTable(ids, labels, {name: _column(ordered, name) for name in PROPERTIES})


def _column(documents: Sequence[CandidateDoc], name: str) -> Estimates:
    unit = BY_PROPERTY[name].unit
    rows = np.full((3, len(documents)), np.nan)
    for row, document in enumerate(documents):
        found: Quantity = getattr(document, name)
        if found.value is None:
            continue
        if found.unit != unit:
            raise InputError(f"{name} of {document.candidate_id}: expected it in {unit}, got {found.unit[:40]}.")
        rows[0, row] = found.value
        if found.interval is not None:
            rows[1:, row] = found.interval
    value, low, high = rows
    return Estimates(value, low, high, unit)
