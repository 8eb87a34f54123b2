"""From a campaign's space to its candidates: counted, streamed in chunks, or listed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from hemiec.composition.block import Block, ChargeRule, Rows
from hemiec.composition.candidate import specs, unbalanced_error
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.composition.constraints import Constraint, Exclusion, parse_constraint, parse_exclusion
from hemiec.composition.descriptors import SITES, Floats
from hemiec.composition.expressions import evaluate, parameters_in
from hemiec.composition.options import (
    Option,
    parameter_points,
    read_parameters,
    site_options,
    site_parameters,
    with_deficiency,
)
from hemiec.composition.sublattice import Sublattice
from hemiec.errors import CompositionError
from hemiec.schemas.campaign import CampaignSpec, ChargeSettings, SpaceEntry
from hemiec.schemas.documents import CandidateSpec

#: Compositions evaluated together: arrays of this many numbers stay in a core's cache.
CHUNK = 16_384
#: More blocks (values of parameters shared by two sites, over all entries) than this are refused.
MAX_BLOCKS = 20_000
#: At a million a second this is twelve days: surely a slip.
MAX_COMPOSITIONS = 10**12


@dataclass
class Counts:
    """What became of the compositions of a space so far; ``n`` is all of them."""

    n: int
    enumerated: int = 0
    twice: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    unbalanced: int = 0
    kept_unbalanced: int = 0
    constrained: dict[str, int] = field(default_factory=dict)
    kept: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON types."""
        return {
            "enumerated": self.enumerated,
            "given_twice": self.twice,
            "excluded": self.excluded,
            "dropped_by_charge": self.unbalanced,
            "kept_unbalanced": self.kept_unbalanced,
            "dropped_by_constraint": self.constrained,
            "kept": self.kept,
        }

    def losses(self) -> list[str]:
        """Return one line per reason that compositions were left out for."""
        found = [f"{n:,} hold {text}" for text, n in self.excluded.items() if n]
        found += [f"{self.unbalanced:,} cannot be charge-balanced"] if self.unbalanced else []
        found += [f"{n:,} fall to `{text}`" for text, n in self.constrained.items() if n]
        return found + ([f"{self.twice:,} come twice"] if self.twice else [])


class Space:
    """The compositions of a campaign: blocks of products, conditions, and what became of each.

    Iterating :meth:`chunks` holds one chunk at a time, whatever the size of the space.
    """

    def __init__(self, campaign: CampaignSpec, *, where: str) -> None:
        states = oxidation_states(campaign, where=where)
        self.where, self.name = where, campaign.name
        self.constraints: list[Constraint] = [
            parse_constraint(text, where=f"{where}: constraints[{n}]") for n, text in enumerate(campaign.constraints)
        ]
        self.exclusions: list[Exclusion] = [
            parse_exclusion(text, where=f"{where}: exclude[{n}]") for n, text in enumerate(campaign.exclude)
        ]
        self.blocks: list[Block] = []
        for n, entry in enumerate(campaign.space):
            self.blocks += _blocks(entry, entry.charge or campaign.charge, states, where=f"{where}: space[{n}]")
            if len(self.blocks) > MAX_BLOCKS:
                raise CompositionError(
                    f"{where}: space[{n}]: more than {MAX_BLOCKS} combinations of parameters that two sites share.",
                    mend="use larger steps",
                )
        n = sum(math.prod(block.sizes) for block in self.blocks)
        if n > MAX_COMPOSITIONS:
            raise CompositionError(
                f"{where}: the space has {n:.1e} compositions; at most {MAX_COMPOSITIONS:.0e} are gone through.",
                mend="use larger steps, fewer species, or several campaigns",
            )
        self.counts = self._new_counts()

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def _new_counts(self) -> Counts:
        return Counts(
            n=len(self),
            excluded={exclusion.text: 0 for exclusion in self.exclusions},
            constrained={constraint.text: 0 for constraint in self.constraints},
        )

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[Rows, dict[str, Floats]]]:
        """Yield the compositions that are kept, with their columns, in the order of the campaign.

        ``counts`` is up to date after every chunk; chunks may be empty.

        Raises
        ------
        CompositionError
            If a composition cannot be made neutral and the rule is to refuse, or none is left at the end.
        """
        self.counts = self._new_counts()
        seen = _Seen(self.blocks)
        for number, block in enumerate(self.blocks):
            for start in range(0, len(block), size):
                rows = block.rows(start, min(start + size, len(block)))
                yield self._sift(rows, seen, number)
            seen.finish(number)
        if self.counts.kept == 0:
            raise CompositionError(
                f"{self.where}: no composition is left of {self.counts.enumerated:,}: "
                f"{'; '.join(self.counts.losses())}.",
                mend="relax `constraints` or `exclude`, or allow other oxidation states",
            )

    def _sift(self, rows: Rows, seen: _Seen, number: int) -> tuple[Rows, dict[str, Floats]]:
        counts = self.counts
        counts.enumerated += len(rows)
        for exclusion in self.exclusions:
            hits = exclusion.hits(rows)
            counts.excluded[exclusion.text] += int(np.count_nonzero(hits))
            rows = rows.take(~hits)
        neutral = rows.neutral()
        n_charged = len(rows) - int(np.count_nonzero(neutral))
        if n_charged and rows.block.rule.unbalanced == "refuse":
            raise unbalanced_error(rows, int(np.argmin(neutral)), where=rows.block.where)
        if n_charged and rows.block.rule.unbalanced == "drop":
            rows = rows.take(neutral)
            counts.unbalanced += n_charged
        rows = rows.balanced()
        new = seen.new(rows, number)
        if new is not None:
            counts.twice += len(rows) - int(np.count_nonzero(new))
            rows = rows.take(new)
        columns = rows.describe()
        for constraint in self.constraints:
            kept = constraint.fulfilled(rows, columns)
            n_kept = int(np.count_nonzero(kept))
            if n_kept < len(rows):
                counts.constrained[constraint.text] += len(rows) - n_kept
                rows = rows.take(kept)
                columns = {name: values[kept] for name, values in columns.items()}
        counts.kept += len(rows)
        if rows.block.rule.unbalanced == "keep":
            counts.kept_unbalanced += int(np.count_nonzero(columns["net_charge"]))
        return rows, columns


class _Seen:
    """Which compositions came before, by their 64-bit names, where blocks can share any."""

    def __init__(self, blocks: list[Block]) -> None:
        self._shares = _blocks_that_share(blocks)
        self._names: list[NDArray[np.uint64]] = []
        self._chunks: list[NDArray[np.uint64]] = []

    def new(self, rows: Rows, number: int) -> NDArray[np.bool_] | None:
        """Return which compositions of a block are new, or None if none can have come before."""
        if not self._shares[number]:
            return None
        names = rows.words()
        new = np.ones(len(names), bool)
        for known in self._names:
            at = np.minimum(np.searchsorted(known, names), len(known) - 1)
            new &= known[at] != names
        self._chunks.append(names)
        return new

    def finish(self, number: int) -> None:
        """Remember the compositions of a block for those that follow."""
        names = [names for names in self._chunks if len(names)]
        if names:
            self._names.append(np.sort(np.concatenate(names)))
        if len(self._names) > 8:
            self._names = [np.unique(np.concatenate(self._names))]
        self._chunks = []


def _blocks_that_share(blocks: list[Block]) -> list[bool]:
    """Return per block whether another one has a filling of A and one of B in common with it."""
    if len(blocks) == 1:
        return [False]
    shared = [False] * len(blocks)
    holders: dict[tuple[str, int], set[int]] = {}
    for number, block in enumerate(blocks):
        for site in ("A", "B"):
            for word in np.unique(block.tables[site].words).tolist():
                holders.setdefault((site, word), set()).add(number)
    partners: dict[str, list[set[int]]] = {}
    for site in ("A", "B"):
        partners[site] = [set() for _ in blocks]
        for numbers in {frozenset(n) for (s, _), n in holders.items() if s == site and len(n) > 1}:
            for number in numbers:
                partners[site][number] |= numbers
    for number in range(len(blocks)):
        shared[number] = bool((partners["A"][number] & partners["B"][number]) - {number})
    return shared


def enumerate_candidates(campaign: CampaignSpec, *, where: str, limit: int | None = None) -> list[CandidateSpec]:
    """Return the campaign's candidates in the order of its space, each composition once.

    Raises
    ------
    CompositionError
        If any composition is not possible (the message names the entry), or more than ``limit`` are left.
    """
    space = Space(campaign, where=where)
    found: list[CandidateSpec] = []
    for rows, columns in space.chunks():
        if limit is not None and space.counts.kept > limit:
            raise CompositionError(
                f"{where}: the space has more than {limit:,} candidates ({len(space):,} before constraints).",
                mend="narrow it with `constraints`, `exclude` or larger steps; `hemiec space CAMPAIGN --parquet FILE` "
                "writes a space of any size, from which to pick an explicit list",
            )
        found += specs(rows, columns)
    return found


def oxidation_states(campaign: CampaignSpec, *, where: str) -> dict[str, tuple[int, ...]]:
    """Return the allowed oxidation states of every species: the campaign's over the defaults, in e."""
    for symbol, states in campaign.oxidation_states.items():
        if not Element.is_valid_symbol(symbol):
            raise CompositionError(f"{where}: oxidation_states: unknown element {symbol!r}.")
        if not states:
            raise CompositionError(f"{where}: oxidation_states: {symbol} has an empty list; give at least one integer.")
    return DEFAULT_OXIDATION_STATES | {s: tuple(q) for s, q in campaign.oxidation_states.items()}


def charge_rule(settings: ChargeSettings, *, where: str) -> ChargeRule:
    """Return the checked rule of `charge` settings."""
    largest = evaluate(settings.max_delta, {}, where=f"{where}: charge: max_delta")
    if largest > 3:
        raise CompositionError(f"{where}: charge: max_delta is {largest}, expected at most 3 oxygen per formula unit.")
    for symbol in settings.valence:
        if not Element.is_valid_symbol(symbol):
            raise CompositionError(f"{where}: charge: valence: unknown element {symbol!r}.")
    return ChargeRule(settings.solve, settings.unbalanced, largest, tuple(sorted(settings.valence.items())))


def _blocks(
    entry: SpaceEntry, charge: ChargeSettings, states: Mapping[str, tuple[int, ...]], *, where: str
) -> Iterator[Block]:
    """Yield the blocks of an entry: one per combination of the parameters that two or more sites share."""
    parameters = read_parameters(entry.parameters, where=where)
    deltas = _deltas(entry, charge, where)
    rule = charge_rule(charge, where=where)
    if entry.oxygen_deficiency == "solve":
        rule = ChargeRule("delta", rule.unbalanced, rule.max_delta, rule.valence)
    uses = {site: site_parameters(getattr(entry, site)) for site in SITES}
    uses["X"] |= frozenset().union(*map(parameters_in, deltas))
    for name in parameters:
        if not any(name in used for used in uses.values()):
            raise CompositionError(
                f"{where}: parameter {name!r} is not used.", mend="use it in a fraction or remove it"
            )
    shared = frozenset(name for name in parameters if sum(name in used for used in uses.values()) > 1)
    options: dict[tuple[Any, ...], list[Option]] = {}
    tables: dict[tuple[Any, ...], Sublattice] = {}
    for outer in parameter_points(parameters, shared):
        keys = {site: (site, *(outer[name] for name in sorted(uses[site] & shared))) for site in SITES}
        for site, key in keys.items():
            if key not in options:
                inner = parameter_points(parameters, uses[site] - shared)
                points = [{n: v for n, v in outer.items() if n in uses[site]} | point for point in inner]
                options[key] = _site(site, entry, points, deltas, where)
        ready = {site: tables[key] for site, key in keys.items() if key in tables}
        block = Block({s: options[k] for s, k in keys.items()}, states, rule, where=where, tables=ready)
        tables |= {keys[site]: table for site, table in block.tables.items()}
        yield block


def _deltas(entry: SpaceEntry, charge: ChargeSettings, where: str) -> list[object]:
    """Return the stated oxygen deficiencies as written; none if they are solved for or written on X."""
    written = entry.oxygen_deficiency
    if written is None or written == "solve":
        return []
    if charge.solve == "delta":
        raise CompositionError(
            f"{where}: oxygen_deficiency is stated ({written}) and solved for.",
            mend="remove one: `oxygen_deficiency`, or `solve: delta` under `charge`",
        )
    return written if isinstance(written, list) else [written]


def _site(
    site: str, entry: SpaceEntry, points: list[dict[str, Fraction]], deltas: list[object], where: str
) -> list[Option]:
    written = getattr(entry, site)
    if site != "X" or not deltas:
        return site_options(site, written, points, where=where)
    found: dict[tuple[tuple[str, Fraction], ...], Option] = {}
    for point, delta in product(points, deltas):
        value = evaluate(delta, point, where=f"{where}: oxygen_deficiency")
        for option in site_options(site, written, [point], where=where):
            emptied = with_deficiency(option, value, where=where)
            found.setdefault(tuple(emptied.items()), emptied)
    return list(found.values())
