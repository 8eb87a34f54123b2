"""What may stand on one sublattice: fractions, choices and grids of a campaign, expanded with exact fractions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import combinations, product
from math import comb
from typing import Any

from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.composition.elements import element_facts
from hemiec.composition.expressions import at, evaluate, parameters_in
from hemiec.composition.fractions import VACANCY, check_species, check_sum
from hemiec.errors import CompositionError, did_you_mean

#: One filling of a sublattice: species (or vacancy) to exact fraction, in canonical order, without zeros.
Option = dict[str, Fraction]
Parameters = Mapping[str, Fraction]

_CHOOSE = ("choose", "from")
_GRID = ("grid", "step", "min", "max")
KEYS = (*_CHOOSE, *_GRID, "total")
#: More fillings of one sublattice than this are refused: they are held in memory, their products are not.
MAX_OPTIONS = 200_000


def in_order(species: Mapping[str, Fraction]) -> Option:
    """Return the species by rising electronegativity, vacancies last: a composition has one formula."""

    def key(symbol: str) -> tuple[float, str]:
        if symbol == VACANCY:
            return 99.0, symbol
        chi = element_facts(symbol).electronegativity
        return (chi if chi == chi else 9.0), symbol

    return {symbol: species[symbol] for symbol in sorted(species, key=key)}


def site_parameters(written: Any) -> frozenset[str]:
    """Return the parameters that a site entry uses."""
    if isinstance(written, list):
        return frozenset().union(*map(site_parameters, written))
    if isinstance(written, dict):
        return frozenset().union(*(parameters_in(v) for k, v in written.items() if k not in ("choose", "from", "grid")))
    return parameters_in(written)


def read_parameters(written: Mapping[str, Any], *, where: str) -> dict[str, list[Fraction]]:
    """Return each parameter with its values, in the order written.

    Raises
    ------
    CompositionError
        If a name cannot be used, or the values are neither a list nor ``{from, to, step}``.
    """
    found: dict[str, list[Fraction]] = {}
    for name, values in written.items():
        here = f"{where}: parameters: {name}"
        if not name.isidentifier() or name in KEYS:
            raise CompositionError(f"{here}: expected a name such as x.")
        if isinstance(values, dict):
            found[name] = _range(values, here)
        elif isinstance(values, list) and values:
            found[name] = list(dict.fromkeys(evaluate(v, {}, where=here) for v in values))
        elif isinstance(values, int | float | str) and not isinstance(values, bool):
            found[name] = [evaluate(values, {}, where=here)]
        else:
            raise CompositionError(f"{here}: expected a list of values, or {{from: 0, to: 1/6, step: 1/24}}.")
    return found


def _range(written: Mapping[str, Any], where: str) -> list[Fraction]:
    for key in written:
        if key not in ("from", "to", "step"):
            raise CompositionError(f"{where}: unknown key {key!r}; {did_you_mean(str(key), ('from', 'to', 'step'))}")
    missing = [key for key in ("from", "to", "step") if key not in written]
    if missing:
        raise CompositionError(f"{where}: {missing[0]!r} is missing; expected {{from: 0, to: 1/6, step: 1/24}}.")
    first, last, step = (evaluate(written[key], {}, where=f"{where}: {key}") for key in ("from", "to", "step"))
    if step <= 0 or last < first:
        raise CompositionError(
            f"{where}: expected from <= to and step > 0, got from {first} to {last} in steps {step}."
        )
    n = (last - first) // step + 1
    if n > MAX_OPTIONS:
        raise CompositionError(f"{where}: {n} values are too many.", mend=f"at most {MAX_OPTIONS}: use a larger step")
    return [first + k * step for k in range(n)]


def site_options(site: str, written: Any, points: list[dict[str, Fraction]], *, where: str) -> list[Option]:
    """Return every filling of one sublattice, each once, in the order written.

    Parameters
    ----------
    site
        A, B or X.
    written
        The site as in the campaign: species to fraction, choice, grid, or a list of these.
    points
        Values of the parameters; the entry is expanded at each. One empty mapping if there are none.
    where
        File and entry, for messages.

    Raises
    ------
    CompositionError
        If anything in it is not understood, or fractions do not sum to one; the message names the parameters' values.
    """
    found: dict[tuple[tuple[str, Fraction], ...], Option] = {}
    for point in points:
        for entry in written if isinstance(written, list) else [written]:
            for species in _expand(site, entry, point, where):
                option = in_order({s: x for s, x in species.items() if x})
                check_sum(site, option, where=where, at=at(point))
                found.setdefault(tuple(option.items()), option)
        if len(found) > MAX_OPTIONS:
            raise _too_many(site, len(found), where)
    return list(found.values())


def with_deficiency(option: Option, delta: Fraction, *, where: str) -> Option:
    """Return the X sublattice with ``delta`` of its oxygen per formula unit replaced by vacancies.

    Raises
    ------
    CompositionError
        If there is less oxygen than that, or vacancies are written on X as well.
    """
    if VACANCY in option:
        raise CompositionError(
            f"{where}: site X: vacancies are written on X and as an oxygen deficiency; give one of the two."
        )
    share = delta / SITE_MULTIPLICITY["X"]
    if share > option.get("O", Fraction(0)):
        has = option.get("O", Fraction(0)) * SITE_MULTIPLICITY["X"]
        raise CompositionError(
            f"{where}: an oxygen deficiency of {float(delta):g} per formula unit needs that much oxygen on X, "
            f"which has {float(has):g}."
        )
    left = {s: x - share if s == "O" else x for s, x in option.items()} | {VACANCY: share}
    return {s: x for s, x in left.items() if x}


def _expand(site: str, entry: Mapping[str, Any], point: Parameters, where: str) -> Iterator[dict[str, Fraction]]:
    here = f"{where}: site {site}"
    if not entry:
        raise CompositionError(f"{where}: site {site} is empty; expected species with fractions, as {{La: 1}}.")
    kind = _CHOOSE if set(_CHOOSE) & set(entry) else _GRID if set(_GRID) & set(entry) else ()
    keys = (*kind, "total") if kind else ()
    if "total" in entry and not kind:
        raise CompositionError(f"{here}: `total` belongs to {{choose: ..., from: ...}} or {{grid: ..., step: ...}}.")
    fixed: dict[str, Fraction] = {}
    for symbol, value in entry.items():
        if symbol in keys:
            continue
        if symbol in KEYS:
            raise CompositionError(f"{here}: key {symbol!r} does not go with {keys[0]!r}.")
        check_species(site, symbol, where=where, keys=keys)
        fixed[symbol] = evaluate(value, point, where=f"{here}: {symbol}")
    if not kind:
        yield fixed
        return
    rest = 1 - sum(fixed.values(), Fraction(0))
    total = evaluate(entry["total"], point, where=f"{here}: total") if "total" in entry else rest
    if total <= 0:
        raise CompositionError(f"{here}: nothing is left for {kind[0]!r}: its total is {total}{at(point)}.")
    expand = _choices if kind == _CHOOSE else _grid
    for chosen in expand(site, entry, total, point, fixed, where):
        yield chosen | fixed


def _pool(site: str, pool: Any, key: str, fixed: Mapping[str, Fraction], where: str) -> list[str]:
    here = f"{where}: site {site}"
    if not isinstance(pool, list) or not pool:
        raise CompositionError(f"{here}: expected a list of species under `{key}`, as in [La, Sr, Ba].")
    if not all(isinstance(symbol, str) for symbol in pool):
        raise CompositionError(f"{here}: `{key}` lists something that is not a chemical symbol.")
    for symbol in pool:
        check_species(site, symbol, where=where)
        if symbol in fixed:
            raise CompositionError(f"{here}: {symbol} is both under `{key}` and beside it.")
    if len(set(pool)) != len(pool):
        raise CompositionError(f"{here}: a species is listed twice under `{key}`.")
    return pool


def _choices(
    site: str, entry: Mapping[str, Any], total: Fraction, point: Parameters, fixed: Parameters, where: str
) -> Iterator[dict[str, Fraction]]:
    number, written = entry.get("choose"), entry.get("from")
    expected = "expected {choose: n, from: [species, ...]} with n at most the number of species."
    if isinstance(number, bool) or not isinstance(number, int) or "from" not in entry:
        raise CompositionError(f"{where}: site {site}: {expected}")
    pool = _pool(site, written, "from", fixed, where)
    if not 1 <= number <= len(pool):
        raise CompositionError(f"{where}: site {site}: {expected}")
    if comb(len(pool), number) > MAX_OPTIONS:
        raise _too_many(site, comb(len(pool), number), where)
    for chosen in combinations(pool, number):
        yield dict.fromkeys(chosen, total / number)


def _grid(
    site: str, entry: Mapping[str, Any], total: Fraction, point: Parameters, fixed: Parameters, where: str
) -> Iterator[dict[str, Fraction]]:
    here = f"{where}: site {site}"
    if "grid" not in entry or "step" not in entry:
        raise CompositionError(f"{here}: expected {{grid: [species, ...], step: 1/10}}, with min and max if wanted.")
    pool = _pool(site, entry["grid"], "grid", fixed, where)
    step, low, high = (
        evaluate(entry.get(key, default), point, where=f"{here}: {key}")
        for key, default in (("step", 1), ("min", 0), ("max", total))
    )
    if step <= 0 or (total / step).denominator != 1:
        raise CompositionError(
            f"{here}: a step of {step} does not divide the total of {total}{at(point)}.",
            mend="choose a step that goes into the total a whole number of times",
        )
    steps, least, most = int(total / step), -int(-low // step), int(high // step)
    n = _compositions_count(steps, len(pool), least, most)
    if n > MAX_OPTIONS:
        raise _too_many(site, n, where)
    if n == 0:
        raise CompositionError(f"{here}: no composition has every species between {low} and {high}{at(point)}.")
    for counts in _compositions(steps, len(pool), least, most):
        yield {symbol: k * step for symbol, k in zip(pool, counts, strict=True)}


def _compositions(total: int, parts: int, low: int, high: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to write ``total`` as ``parts`` integers between ``low`` and ``high``."""
    if parts == 1:
        if low <= total <= high:
            yield (total,)
        return
    for first in range(max(low, total - high * (parts - 1)), min(high, total - low * (parts - 1)) + 1):
        for others in _compositions(total - first, parts - 1, low, high):
            yield (first, *others)


def _compositions_count(total: int, parts: int, low: int, high: int) -> int:
    """Return how many there are, by inclusion and exclusion."""
    total, room = total - parts * low, high - low
    if total < 0 or room < 0:
        return 0
    terms = range(min(parts, total // (room + 1)) + 1)
    return sum((-1) ** k * comb(parts, k) * comb(total - k * (room + 1) + parts - 1, parts - 1) for k in terms)


def _too_many(site: str, n: int, where: str) -> CompositionError:
    return CompositionError(
        f"{where}: site {site}: {n} fillings of one sublattice are too many; at most {MAX_OPTIONS}.",
        mend="use a larger step, fewer species, or several campaigns",
    )


def parameter_points(parameters: Mapping[str, list[Fraction]], names: frozenset[str]) -> list[dict[str, Fraction]]:
    """Return every combination of the values of the named parameters; one empty mapping for no names."""
    used = [name for name in parameters if name in names]
    return [dict(zip(used, values, strict=True)) for values in product(*(parameters[name] for name in used))]
