"""What is known of an element: radius by charge, electronegativity, mass, price, supply and abundance."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

#: Coordination numbers of the cubic parent.
COORDINATION = {"A": 12, "B": 6, "X": 6}
#: A mean state this close to an integer, in e, is that integer.
_AT_NODE = 1e-9
_NUMERALS = {"IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10, "XI": 11, "XII": 12, "XIV": 14}


@dataclass(frozen=True)
class ElementFacts:
    """Facts about one element; NaN where a source lists none.

    Attributes
    ----------
    mass
        Molar mass in g/mol (pymatgen).
    electronegativity
        Pauling's, unit 1 (pymatgen).
    price
        USD per kg of element, 2013 (``elements.csv`` names the sources).
    hhi_production, hhi_reserve
        Herfindahl-Hirschman index, 0 to 10000 (doi:10.1021/cm400893e).
    abundance
        Of the continental crust, in mg/kg (CRC Handbook, 92nd edition).
    """

    mass: float
    electronegativity: float
    price: float
    hhi_production: float
    hhi_reserve: float
    abundance: float


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, float]]:
    text = (resources.files("hemiec.composition") / "elements.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["symbol"]: {k: float(v) if v else math.nan for k, v in row.items() if k != "symbol"} for row in rows}


@lru_cache(maxsize=256)
def element_facts(symbol: str) -> ElementFacts:
    """Return the facts about an element."""
    from pymatgen.core import Element

    data = Element(symbol).data
    listed = _table().get(symbol, {})
    price, production, reserve, abundance = (
        listed.get(key, math.nan) for key in ("price", "hhi_production", "hhi_reserve", "abundance")
    )
    chi = data.get("X")
    chi = float(chi) if isinstance(chi, int | float) else math.nan
    return ElementFacts(float(data["Atomic mass"]), chi, price, production, reserve, abundance)


def shannon_radius(symbol: str, oxidation_state: float, coordination: int) -> float | None:
    """Return the ionic radius in angstrom, or None if Shannon lists none for this ion.

    Non-integer mean states are interpolated between the two integer ones. Where the coordination is
    not listed the nearest listed one is taken; high spin is preferred where both spins are listed.
    Values are Shannon's (doi:10.1107/S0567739476001551) as tabulated in pymatgen.
    """
    low = math.floor(oxidation_state)
    nodes = radius_nodes(symbol, low, math.ceil(oxidation_state), coordination)
    radius = float(interpolate_radius(nodes, np.array([oxidation_state - low]))[0])
    return None if math.isnan(radius) else radius


def interpolate_radius(nodes: NDArray[np.float64], above: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return radii in angstrom at mean states ``above`` (in e) the first node, linear between neighbouring nodes.

    Between a listed and an unlisted integer state the listed radius is taken; at an unlisted integer it is NaN.
    """
    if len(nodes) == 1:
        return np.full(len(above), nodes[0])
    interval = np.minimum(above.astype(np.int64), len(nodes) - 2)
    rest = above - interval
    if not np.isnan(nodes).any():
        return nodes[interval] + rest * (nodes[1:] - nodes[:-1])[interval]
    left, right = nodes[:-1], nodes[1:]
    left, right = np.where(np.isnan(left), right, left), np.where(np.isnan(right), left, right)
    between = left[interval] + rest * (right - left)[interval]
    nearest = np.rint(above).astype(np.int64)
    return np.where(np.abs(above - nearest) < _AT_NODE, nodes[nearest], between)


@lru_cache(maxsize=1024)
def radius_nodes(symbol: str, low: int, high: int, coordination: int) -> NDArray[np.float64]:
    """Return the radii in angstrom at the integer states ``low`` to ``high``; NaN where none is listed."""
    return np.array([_listed_radius(symbol, state, coordination) for state in range(low, high + 1)])


def _listed_radius(symbol: str, state: int, coordination: int) -> float:
    from pymatgen.core import Element

    table = Element(symbol).data.get("Shannon radii", {}).get(str(state))
    listed = {_NUMERALS[key]: spins for key, spins in (table or {}).items() if key in _NUMERALS}
    if not listed:
        return math.nan
    spins = listed[min(listed, key=lambda n: abs(n - coordination))]
    return next((float(spins[s]["ionic_radius"]) for s in ("High Spin", "", "Low Spin") if s in spins), math.nan)
