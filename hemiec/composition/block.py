"""A block of compositions: every combination of fillings of the three sublattices, charge-balanced row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hemiec.composition.charge import SITE_MULTIPLICITY, fixed_valences
from hemiec.composition.descriptors import SITES, Floats, Integers, describe
from hemiec.composition.fractions import VACANCY
from hemiec.composition.identity import combine
from hemiec.composition.options import Option, with_deficiency
from hemiec.composition.sublattice import MAX_DENOMINATOR, Sublattice
from hemiec.errors import CompositionError

#: Above this, solving for delta is refused: the parent structure is long gone (brownmillerite is 0.5).
DEFAULT_MAX_DELTA = Fraction(1, 2)


@dataclass(frozen=True)
class ChargeRule:
    """How a block is made neutral; fields as in the campaign's `charge`."""

    solve: Literal["B_valence", "delta"] = "B_valence"
    unbalanced: Literal["refuse", "drop", "keep"] = "refuse"
    max_delta: Fraction = DEFAULT_MAX_DELTA
    valence: tuple[tuple[str, int], ...] = ()


class Block:
    """The compositions made of all combinations of fillings, A slowest, X fastest.

    Parameters
    ----------
    options
        Fillings of A, B and X.
    allowed
        Species to allowed oxidation states, in e.
    rule
        How compositions are made neutral.
    where
        File and entry, for messages.
    tables
        Sublattices that exist already, by site; they must have been made from the same options and states.

    Raises
    ------
    CompositionError
        If a species has no oxidation state, or fractions are too fine for exact charges.
    """

    def __init__(
        self,
        options: Mapping[str, list[Option]],
        allowed: Mapping[str, tuple[int, ...]],
        rule: ChargeRule,
        *,
        where: str,
        tables: dict[str, Sublattice] | None = None,
    ) -> None:
        self.where, self.rule = where, rule
        self.allowed = allowed
        tables = {} if tables is None else tables
        for site in SITES:
            if site not in tables:
                states = allowed
                if rule.solve == "delta":
                    species = {s for option in options[site] for s in option if s != VACANCY}
                    states = fixed_valences(sorted(species), allowed, dict(rule.valence), where=where)
                tables[site] = Sublattice(site, options[site], states, where=where)
        self.tables = tables
        self.sizes = tuple(len(options[site]) for site in SITES)
        self.denominator = math.lcm(rule.max_delta.denominator, *(tables[site].denominator for site in SITES))
        if self.denominator > MAX_DENOMINATOR:
            raise CompositionError(
                f"{where}: the fractions have no common denominator below {MAX_DENOMINATOR}.",
                mend="use simpler fractions, such as 1/12 instead of 0.0834",
            )
        scaled = {site: self.denominator // tables[site].denominator for site in SITES}
        self.lowest = {site: tables[site].lowest * scaled[site] for site in SITES}
        self.span = {site: tables[site].span * scaled[site] for site in SITES}
        if rule.solve == "delta":
            self._prepare_deficiency(options["X"])

    def __len__(self) -> int:
        return math.prod(self.sizes)

    def _prepare_deficiency(self, anions: list[Option]) -> None:
        """Keep the largest deficiency of each X filling, in units of 1 / (2 denominator)."""
        unit = 2 * self.denominator
        m = SITE_MULTIPLICITY["X"]
        for option in anions:
            if VACANCY in option or "O" not in option:
                raise CompositionError(
                    f"{self.where}: site X: to solve for delta X must hold oxygen and no vacancies, "
                    f"got {', '.join(option)}.",
                    mend="write X as for the full compound, such as {O: 1}",
                )
        self._room = np.array([int(min(self.rule.max_delta, m * option["O"]) * unit) for option in anions], np.int64)
        self.emptied: Sublattice | None = None
        self._emptied_rows: dict[tuple[int, int], int] = {}

    def rows(self, start: int, stop: int) -> Rows:
        """Return the compositions numbered ``start`` to ``stop``, not yet described."""
        number = np.arange(start, stop, dtype=np.int64)
        _, n_B, n_X = self.sizes
        outer, x = np.divmod(number, n_X)
        a, b = np.divmod(outer, n_B)
        index = {"A": a, "B": b, "X": x}
        lowest = sum((self.lowest[site][index[site]] for site in SITES), np.zeros(len(number), np.int64))
        span = sum((self.span[site][index[site]] for site in SITES), np.zeros(len(number), np.int64))
        return Rows(self, self.tables, index, lowest, span)

    def emptied_anions(self, filling: Integers, removed: Integers) -> tuple[Sublattice, Integers]:
        """Return a table of X fillings with oxygen removed, and the row in it of each composition.

        ``removed`` is delta in units of 1 / (2 denominator).
        """
        stride = int(self._room.max()) + 1
        keys = filling * stride + removed
        distinct = np.unique(keys)
        new: list[Option] = []
        rows = np.empty(len(distinct), np.int64)
        for n, key in enumerate(distinct.tolist()):
            pair = divmod(key, stride)
            if pair not in self._emptied_rows:
                self._emptied_rows[pair] = len(self._emptied_rows)
                delta = Fraction(pair[1], 2 * self.denominator)
                option = self.tables["X"].options[pair[0]]
                new.append(with_deficiency(option, delta, where=self.where))
            rows[n] = self._emptied_rows[pair]
        if self.emptied is None:
            anions = self.tables["X"]
            self.emptied = Sublattice("X", new, anions.states, where=self.where, species=anions.species)
        elif new:
            self.emptied.extend(new, where=self.where)
        return self.emptied, rows[np.searchsorted(distinct, keys)]


@dataclass(frozen=True)
class Rows:
    """Some compositions of a block.

    Attributes
    ----------
    index
        Row in each sublattice's table, each of shape=(n,).
    lowest, span
        Charge of the formula unit with all species in their lowest state, and how much more it is in the highest;
        integers in units of e / ``block.denominator``.
    """

    block: Block
    tables: Mapping[str, Sublattice]
    index: Mapping[str, Integers]
    lowest: Integers
    span: Integers

    def __len__(self) -> int:
        return len(self.lowest)

    def take(self, chosen: NDArray[np.bool_] | Integers) -> Rows:
        """Return the chosen compositions."""
        index = {site: rows[chosen] for site, rows in self.index.items()}
        return replace(self, index=index, lowest=self.lowest[chosen], span=self.span[chosen])

    def first(self, n: int) -> Rows:
        """Return the first ``n`` compositions, or all if there are fewer."""
        return self.take(np.arange(min(n, len(self))))

    def neutral(self) -> NDArray[np.bool_]:
        """Return which compositions the block's rule makes neutral, shape=(n,)."""
        if self.block.rule.solve == "B_valence":
            return (self.lowest <= 0) & (self.lowest + self.span >= 0)
        return (self.lowest <= 0) & (-self.lowest <= self.block._room[self.index["X"]])

    def balanced(self) -> Rows:
        """Return the compositions as neutral as the rule can make them: with oxygen removed, if delta is solved for."""
        if self.block.rule.solve == "B_valence":
            return self
        # O2-: each vacancy adds two charges, so a charge of -q needs delta = q / 2.
        removed = np.clip(-self.lowest, 0, self.block._room[self.index["X"]])
        emptied, rows = self.block.emptied_anions(self.index["X"], removed)
        tables = {**self.tables, "X": emptied}
        return replace(self, tables=tables, index={**self.index, "X": rows}, lowest=self.lowest + removed)

    def share(self) -> Floats:
        """Return how far the species with several states are moved from the lowest (0) to the highest (1)."""
        moved = np.divide(-self.lowest, self.span, out=np.zeros(len(self)), where=self.span > 0)
        return np.clip(moved, 0.0, 1.0)

    def net_charge(self) -> Floats:
        """Return the charge left over, in e per formula unit."""
        least = np.maximum(self.lowest, 0) + np.minimum(self.lowest + self.span, 0)
        return least / self.block.denominator

    def words(self) -> NDArray[np.uint64]:
        """Return the 64-bit names."""
        a, b, x = (self.tables[site].words[self.index[site]] for site in SITES)
        return combine(a, b, x)

    def fraction(self, site: str, symbol: str) -> Floats:
        """Return the site fraction of a species (or vacancy) on a sublattice."""
        table = self.tables[site]
        if symbol == VACANCY:
            return (1.0 - table.sums["ions"])[self.index[site]]
        if symbol not in table.species:
            return np.zeros(len(self))
        return table.fractions[self.index[site], table.column(symbol)]

    def has(self, symbol: str) -> NDArray[np.bool_]:
        """Return which compositions hold an element on any sublattice."""
        found = np.zeros(len(self), bool)
        for site in SITES:
            if symbol in self.tables[site].species:
                found |= self.fraction(site, symbol) > 0
        return found

    def kinds(self, site: str) -> Floats:
        """Return how many kinds of ions stand on a sublattice."""
        return self.tables[site].sums["species"][self.index[site]]

    def describe(self) -> dict[str, Floats]:
        """Return charge answer and descriptors, each of shape=(n,)."""
        vacant = 1.0 - self.tables["X"].sums["ions"]
        vacant[np.abs(vacant) < 1e-12] = 0.0
        return {
            "oxygen_deficiency": SITE_MULTIPLICITY["X"] * vacant[self.index["X"]],
            "net_charge": self.net_charge(),
            **describe(self.tables, self.index, self.share()),
        }
