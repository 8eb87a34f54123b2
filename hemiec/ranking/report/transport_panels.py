"""What the HTML report draws of ion transport: order by barrier, distribution, network, Arrhenius curve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from hemiec.ranking.export.cells import MISSING
from hemiec.ranking.report.text import number, plotly_text
from hemiec.schemas.dynamics import ArrheniusDoc
from hemiec.schemas.leaderboard import LeaderboardEntry
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import Band, TransportSummary

#: Candidates in the chart of ranks; the others are in the scatter plot beside it.
MOST_RANKS = 30
#: Bars of the distribution of barriers at most.
_BARS = 24
_EXAMPLES = 3


def transport_panels(transport: TransportSummary | None, dynamics: ArrheniusDoc | None) -> dict[str, Any] | None:
    """Return what is drawn of one candidate; None without a result."""
    if transport is None:
        return None
    return {
        "barriers": _barriers(transport),
        "network": _network(transport),
        "arrhenius": _arrhenius(transport, dynamics),
    }


def order_panel(entries: Sequence[LeaderboardEntry]) -> dict[str, Any] | None:
    """Return candidates by effective barrier and by single hop, with the pairs that the two put in another order.

    Returns
    -------
    dict or None
        ``points`` with values, errors and places (1 is lowest) by either; ``n_pairs``, how many of them change order
        (``n_swapped``), and how many of those with effective barriers whose 90 % intervals are apart (``n_apart``);
        ``examples``, the most different such pairs. None with fewer than two candidates that have both.
    """
    known = [
        (entry, of.hop_barrier, of.effective_barrier)
        for entry in entries
        if (of := entry.transport) and of.hop_barrier.value is not None and of.effective_barrier.value is not None
    ]
    if len(known) < 2:
        return None
    values = [(hop.value or 0.0, barrier.value or 0.0) for _, hop, barrier in known]
    # Equal ones stand as in the other order: a tie does not change places.
    single = _places(values)
    effective = _places([(barrier, hop) for hop, barrier in values])
    swapped = [(i, j) for i, j in combinations(range(len(known)), 2)
               if (single[i] - single[j]) * (effective[i] - effective[j]) < 0]  # fmt: skip
    apart = [(i, j) for i, j in swapped if _apart(known[i][2], known[j][2])]
    examples = sorted(apart, key=lambda pair: -abs((known[pair[0]][2].value or 0) - (known[pair[1]][2].value or 0)))
    return {
        "points": [
            {
                "label": plotly_text(entry.label),
                "href": entry.candidate_id,
                "single": hop.value,
                "effective": barrier.value,
                "error": _reach(barrier),
                "places": [single[k], effective[k]],
                "changed": any(k in pair for pair in swapped),
                "sure": any(k in pair for pair in apart),
                "hover": _order_hover(entry, hop, barrier, single[k], effective[k]),
            }
            for k, (entry, hop, barrier) in enumerate(known)
        ],
        "n_pairs": len(known) * (len(known) - 1) // 2,
        "n_swapped": len(swapped),
        "n_apart": len(apart),
        "examples": [_example(known, *pair) for pair in examples[:_EXAMPLES]],
    }


def _places(values: Sequence[tuple[float, float]]) -> list[int]:
    """Return the place of each by its first value, 1 is lowest; the second value orders equal ones."""
    order = sorted(range(len(values)), key=lambda k: values[k])
    places = [0] * len(values)
    for place, k in enumerate(order, start=1):
        places[k] = place
    return places


def _apart(one: Quantity, other: Quantity) -> bool:
    """Return whether the 90 % intervals of two quantities do not overlap; without intervals this is not known."""
    if one.interval is None or other.interval is None:
        return False
    return one.interval[1] < other.interval[0] or other.interval[1] < one.interval[0]


def _reach(found: Quantity) -> list[float]:
    if found.value is None or found.interval is None:
        return [0.0, 0.0]
    return [max(0.0, found.value - found.interval[0]), max(0.0, found.interval[1] - found.value)]


def _order_hover(entry: LeaderboardEntry, hop: Quantity, barrier: Quantity, by_hop: int, by_barrier: int) -> str:
    interval = barrier.interval
    within = f" [{number(interval[0], 2)}, {number(interval[1], 2)}]" if interval else ""
    return (
        f"<b>{plotly_text(entry.label)}</b><br>median single hop {number(hop.value, 2)} eV: place {by_hop}"
        f"<br>effective barrier {number(barrier.value, 2)} eV{within}: place {by_barrier}"
    )


def _example(known: Sequence[tuple[LeaderboardEntry, Quantity, Quantity]], i: int, j: int) -> dict[str, Any]:
    """Return a pair, the one with the lower single hop first."""
    if (known[i][1].value or 0) > (known[j][1].value or 0):
        i, j = j, i
    return {
        "labels": [known[k][0].label for k in (i, j)],
        "ids": [known[k][0].candidate_id for k in (i, j)],
        "single": [known[k][1].value for k in (i, j)],
        "effective": [known[k][2].value for k in (i, j)],
    }


def _barriers(of: TransportSummary) -> dict[str, Any]:
    """Return a histogram of the barriers of all hops, both directions, computed and predicted ones apart."""
    sites, saddles = np.array(of.site_energies), np.array(of.saddle_energies)
    both = [saddles - sites[np.array(ends, dtype=int)] for ends in (of.network.start, of.network.end)]
    known = np.array(of.hop_computed, dtype=bool)
    computed, predicted = (np.concatenate([b[mask] for b in both]) for mask in (known, ~known))
    marks = {
        "effective": of.effective_barrier.value,
        "interval": of.effective_barrier.interval,
        "single": of.hop_barrier.value,
    }
    every = np.concatenate([computed, predicted])
    if len(every) == 0:
        return {"edges": [], "computed": [], "predicted": [], **marks}
    low, high = float(every.min()), float(every.max())
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    width = next((w for w in steps if (high - low) / w < _BARS), (high - low) / _BARS)
    edges = np.arange(np.floor(low / width), np.floor(high / width) + 2) * width
    return {
        "edges": edges.round(4).tolist(),
        "computed": np.histogram(computed, edges)[0].tolist(),
        "predicted": np.histogram(predicted, edges)[0].tolist(),
        **marks,
    }


def _network(of: TransportSummary) -> dict[str, Any]:
    """Return sites between the faces of the cell and the hops with the images of those, as few digits as are seen."""
    frac = np.array(of.network.frac_coords, dtype=float).reshape(-1, 3)
    moved = frac - _faces(frac)
    shift = np.floor(moved).astype(int)
    start, end = (np.array(ends, dtype=int) for ends in (of.network.start, of.network.end))
    image = np.array(of.network.image, dtype=int).reshape(-1, 3) + shift[end] - shift[start]
    energies, saddles = np.array(of.site_energies), np.array(of.saddle_energies)
    barriers = np.minimum(saddles - energies[start], saddles - energies[end])
    share = np.array(of.hop_share, dtype=float)
    return {
        "lattice": np.array(of.network.lattice).round(3).tolist(),
        "sites": (moved - shift).round(4).tolist(),
        "energies": (energies - energies.min(initial=np.inf)).round(3).tolist(),
        "occupation": [float(f"{p:.2g}") for p in of.occupation],
        "hops": [[int(a), int(b), *map(int, by)] for a, b, by in zip(start, end, image, strict=True)],
        "share": [float(f"{s:.2g}") for s in share],
        "barriers": barriers.round(2).tolist(),
        "computed": [int(known) for known in of.hop_computed],
        "failed": [int(str(h) in of.hop_failures) for h in range(len(start))],
        "labels": list(of.network.environments),
    }


def _faces(frac: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return where the faces of the cell cut through no site: the middle of the widest gap along each axis."""
    if len(frac) == 0:
        return np.zeros(3)
    ordered = np.sort(frac % 1.0, axis=0)
    gaps = np.diff(ordered, axis=0, append=ordered[:1] + 1)
    widest, axes = gaps.argmax(axis=0), np.arange(3)
    return np.asarray(ordered[widest, axes] + gaps[widest, axes] / 2)


def hops_for(of: TransportSummary, part: float = 0.9) -> int | None:
    """Return the fewest hops that together dissipate this part of the current's power; None if nothing flows."""
    share = np.sort(np.array(of.hop_share, dtype=float))[::-1]
    total = float(share.sum())
    return int(np.searchsorted(np.cumsum(share), part * total - 1e-12)) + 1 if total > 0 else None


def _arrhenius(of: TransportSummary, dynamics: ArrheniusDoc | None) -> dict[str, Any]:
    """Return log10 of conductivity times temperature, or of D without carriers, with runs of molecular dynamics.

    The two differ by a constant, as the number of carriers is taken not to depend on temperature: by it the runs' D
    become conductivities.
    """
    T = np.array(of.temperatures_K)
    offset = _offset(of)
    conductivity = offset is not None
    curve = of.log10_conductivity if of.log10_conductivity is not None and conductivity else of.log10_diffusivity
    shift = np.log10(T) if conductivity else np.zeros(len(T))
    keys = ("median", "low", "high")
    lines = {key: _moved(getattr(curve, key), shift) for key in keys}
    drawn = {
        "temperatures": T.tolist(),
        **lines,
        "title": "log<sub>10</sub> σT (S K/cm)" if conductivity else "log<sub>10</sub> D (cm²/s)",
        "effective": of.effective_barrier.value,
        "reference": of.reference_temperature_K,
        "dynamics": _dynamics(dynamics, offset or 0.0),
        "beyond": [],
    }
    median = lines["median"]
    hottest = max((p["T"] for p in drawn["dynamics"]), default=0.0)
    if len(T) > 1 and hottest > T[-1] and median[-1] is not None and median[-2] is not None:
        slope = (median[-1] - median[-2]) / (1 / T[-1] - 1 / T[-2])
        end = median[-1] + slope * (1 / hottest - 1 / T[-1])
        drawn["beyond"] = [[float(T[-1]), median[-1]], [hottest, round(float(end), 3)]]
    return drawn


def _offset(of: TransportSummary) -> float | None:
    """Return log10 of conductivity times temperature over D, the same at all temperatures; None without carriers."""
    if of.log10_conductivity is None:
        return None
    pairs = zip(of.log10_conductivity.median, of.log10_diffusivity.median, of.temperatures_K, strict=True)
    found = [s + float(np.log10(T)) - d for s, d, T in pairs if s is not None and d is not None]
    return float(np.median(found)) if found else None


def _moved(line: Sequence[float | None], shift: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if x is None else round(x + float(by), 3) for x, by in zip(line, shift, strict=True)]


def _dynamics(dynamics: ArrheniusDoc | None, offset: float) -> list[dict[str, Any]]:
    """Return the runs that say something: values with intervals, or upper bounds."""
    drawn = []
    for point in dynamics.points if dynamics else []:
        found, bound = point.vacancy_diffusivity, point.vacancy_upper_bound
        value = found.value if found.value is not None else bound
        if not value:
            continue
        log = float(np.log10(value))
        ends = [float(np.log10(d)) if d > 0 else None for d in found.interval] if found.interval else [log, log]
        about = f"molecular dynamics, {point.temperature_K:.0f} K, {point.time_ps:.0f} ps, {point.n_hops} hops"
        drawn.append(
            {
                "T": point.temperature_K,
                "y": round(log + offset, 3),
                # An end at 0 has no place on a logarithmic axis.
                "error": [None if end is None else round(abs(end - log), 3) for end in ends],
                "bound": found.value is None,
                "hover": about + (f"<br>upper bound: {plotly_text(found.reason or '')}" if found.value is None else ""),
            }
        )
    return drawn


def band(of: Band, index: int, digits: int = 2) -> str:
    """Return one value of a band with its interval, such as ``−6.21 [−6.40, −6.02]``."""
    median, low, high = of.median[index], of.low[index], of.high[index]
    if median is None:
        return MISSING
    within = "" if low is None or high is None else f" [{number(low, digits)}, {number(high, digits)}]"
    return number(median, digits) + within


def scientific(found: Quantity) -> str:
    """Return a diffusion coefficient with its interval, such as ``2.1e-06 [1.4e-06, 3.0e-06]``."""
    if found.value is None:
        return MISSING
    within = f" [{found.interval[0]:.1e}, {found.interval[1]:.1e}]" if found.interval else ""
    return (f"{found.value:.1e}" + within).replace("e-", "e−")
