"""Everything about the fillings of one sublattice that a descriptor needs, as arrays.

Every descriptor of a composition is made of sums over its three sublattices. The fillings of a sublattice are few
(hundreds to a hundred thousand), the compositions are their products: so the sums are computed here once per filling,
and a composition gathers three of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemiec.composition.charge import SITE_MULTIPLICITY, states_of
from hemiec.composition.elements import COORDINATION, ElementFacts, element_facts, radius_nodes
from hemiec.composition.fractions import VACANCY
from hemiec.composition.identity import site_word
from hemiec.composition.options import Option
from hemiec.errors import CompositionError

Floats = NDArray[np.float64]
#: Charges are integers over the common denominator of all fractions; beyond this they would not stay exact.
MAX_DENOMINATOR = 2**40
ANIONS = frozenset({"H", "N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"})


@dataclass(frozen=True)
class Flexible:
    """A species with several allowed oxidation states.

    ``radii`` holds its radius in angstrom at ``low``, ``low + 1``, ... ``high``; NaN where Shannon lists none.
    """

    symbol: str
    low: int
    high: int
    radii: Floats


class Sublattice:
    """The fillings of one sublattice; per filling (row) the sums that descriptors are made of.

    Attributes
    ----------
    options
        The fillings.
    species, fractions
        Species but vacancies, and the site fraction of each, shape=(n_options, n_species).
    flexible
        Species with several allowed states; their charge and radius depend on the whole composition.
    words
        64-bit hash of each filling.
    denominator, lowest, span
        Charge per formula unit with all species in their lowest state, and how much more it is in the highest;
        integers in units of e / denominator.
    sums
        Name to values per filling: ``ions`` (occupied share), ``atoms`` (per formula unit), ``entropy`` (R per formula
        unit), ``species`` (kinds of ions), ``mass`` (g/mol), ``cation_mass``, and weighted sums; those of charges
        and radii are over the species with one state only.
    """

    def __init__(
        self,
        site: str,
        options: Sequence[Option],
        allowed: Mapping[str, tuple[int, ...]],
        *,
        where: str,
        species: Sequence[str] = (),
    ) -> None:
        self.site = site
        self.options: list[Option] = []
        self.species = tuple(dict.fromkeys([*species, *(s for option in options for s in option if s != VACANCY)]))
        self.states = {s: states_of(s, allowed, where=where) for s in self.species}
        self.flexible = [
            Flexible(s, min(q), max(q), radius_nodes(s, min(q), max(q), COORDINATION[site]))
            for s, q in self.states.items()
            if min(q) < max(q)
        ]
        self.denominator = 1
        self.extend(options, where=where)

    def __len__(self) -> int:
        return len(self.options)

    def column(self, symbol: str) -> int:
        """Return the index of a species in ``fractions``."""
        return self.species.index(symbol)

    def extend(self, options: Sequence[Option], *, where: str) -> None:
        """Add fillings of the same species; a vacancy may be new."""
        m = SITE_MULTIPLICITY[self.site]
        scale = math.lcm(self.denominator, *(x.denominator for option in options for x in option.values()))
        if scale > MAX_DENOMINATOR:
            raise CompositionError(
                f"{where}: site {self.site}: the fractions have no common denominator below {MAX_DENOMINATOR}.",
                mend="use simpler fractions, such as 1/12 instead of 0.0834",
            )
        numerators = np.zeros((len(options), len(self.species)), np.int64)
        vacant = np.zeros(len(options))
        for row, option in enumerate(options):
            for symbol, x in option.items():
                if symbol == VACANCY:
                    vacant[row] = float(x)
                else:
                    numerators[row, self.column(symbol)] = x.numerator * (scale // x.denominator)
        low, high = (np.array([f(self.states[s]) for s in self.species], np.int64) for f in (min, max))
        words = np.array([site_word(self.site, option) for option in options], np.uint64)
        fractions = numerators / scale
        new = (fractions, words, m * numerators @ low, m * numerators @ (high - low), self._sums(fractions, vacant))
        grow = scale // self.denominator
        if not self.options:
            self.fractions, self.words, self.lowest, self.span, self.sums = new
        else:
            self.fractions = np.concatenate([self.fractions, new[0]])
            self.words = np.concatenate([self.words, new[1]])
            self.lowest = np.concatenate([self.lowest * grow, new[2]])
            self.span = np.concatenate([self.span * grow, new[3]])
            self.sums = {name: np.concatenate([values, new[4][name]]) for name, values in self.sums.items()}
        self.denominator = scale
        self.options.extend(options)

    def _sums(self, fractions: Floats, vacant: Floats) -> dict[str, Floats]:
        m = SITE_MULTIPLICITY[self.site]
        facts = [element_facts(s) for s in self.species]
        x = np.column_stack([fractions, vacant])
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = m * np.where(x > 0, -x * np.log(x), 0.0).sum(axis=1)
        fixed = np.array([min(q) if min(q) == max(q) else 0 for q in self.states.values()], float)
        is_fixed = np.array([min(q) == max(q) for q in self.states.values()], bool)
        radius = np.array(
            [
                radius_nodes(s, min(q), min(q), COORDINATION[self.site])[0] if min(q) == max(q) else 0.0
                for s, q in self.states.items()
            ]
        )
        chi = np.array([fact.electronegativity for fact in facts])
        sums = {
            "ions": fractions.sum(axis=1),
            "atoms": m * fractions.sum(axis=1),
            "entropy": entropy,
            "species": np.count_nonzero(fractions, axis=1).astype(float),
            "charge": fractions @ fixed,
            "charge2": fractions @ fixed**2,
            "radius": _weighted(fractions * is_fixed, radius),
            "radius2": _weighted(fractions * is_fixed, radius**2),
            "chi": _weighted(fractions, chi),
            "chi2": _weighted(fractions, chi**2),
        }
        return sums | self._resources(m * fractions, facts)

    def _resources(self, amounts: Floats, facts: list[ElementFacts]) -> dict[str, Floats]:
        mass = np.array([fact.mass for fact in facts])
        cation = np.array([s not in ANIONS or self.site != "X" for s in self.species])
        price, production, reserve, abundance = (
            np.array([getattr(fact, name) for fact in facts])
            for name in ("price", "hhi_production", "hhi_reserve", "abundance")
        )
        return {
            "mass": amounts @ mass,
            "cation_mass": amounts @ (mass * cation),
            "cost": _weighted(amounts * cation, mass * price),
            "hhi_production": _weighted(amounts, mass * production),
            "hhi_reserve": _weighted(amounts, mass * reserve),
            "scarcity": _weighted(amounts * cation, mass * -np.log10(abundance * 1e-6)),
        }


def _weighted(weights: Floats, values: Floats) -> Floats:
    """Return the weighted sums; NaN where a value that counts is not known, not where its weight is zero."""
    known = np.nan_to_num(values)
    unknown = (weights * np.isnan(values)).sum(axis=1) > 0
    return np.where(unknown, np.nan, weights @ known)
