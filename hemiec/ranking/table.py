"""The candidates as columns: what ranking a million of them works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hemiec.errors import InputError

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
