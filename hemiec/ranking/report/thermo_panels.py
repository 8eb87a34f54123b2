"""What the HTML report draws of thermodynamics: decomposition, temperature, oxygen, windows, interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

from hemiec.ranking.export.cells import MISSING
from hemiec.ranking.report.text import interval, number, plotly_formula, plotly_text
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import (
    EntropyDoc,
    HullDoc,
    InterfaceDoc,
    OxygenDoc,
    PhaseAmount,
    Thermodynamics,
    WindowDoc,
)

#: Parts of the thermodynamics that may be missing, as people call them.
PARTS = {
    "hull": "energy above the hull",
    "entropy": "temperature of stabilisation",
    "oxygen": "oxygen deficiency",
    "windows": "windows of chemical potential",
    "interfaces": "interface reactions",
}
#: Reaction energies nearer to zero than this, in eV/atom, are rounding.
_NOTHING = 1e-6
#: Partial pressure of oxygen in air, in bar.
_AIR = 0.21


def thermo_panels(of: Thermodynamics | None) -> dict[str, Any] | None:
    """Return what is drawn of one candidate; None without a result. Parts that are missing are None or empty."""
    if of is None:
        return None
    return {
        "hull": None if of.hull is None or of.hull.energy_above_hull.value is None else _hull(of.hull),
        "temperature": None if of.entropy is None else _temperature(of.entropy),
        "oxygen": None if of.oxygen is None else _oxygen(of.oxygen),
        "windows": [_window(window) for window in of.windows],
        "interfaces": [_curve(curve) for curve in _in_order(of.interfaces)],
    }


def thermo_facts(of: Thermodynamics) -> list[tuple[str, str]]:
    """Return what a reader wants to know first: terms and values, a dash for what is missing."""
    hull, oxygen, worst = of.hull, of.oxygen, of.interface_reaction_energy
    facts = [
        ("Above the hull", _text(None if hull is None else hull.energy_above_hull)),
        ("Above ordered perovskites", _text(None if hull is None else hull.energy_above_ordered)),
        ("Stable", MISSING if of.entropy is None else verdict(of.entropy)),
        ("δ in air", MISSING if oxygen is None else _in_air(oxygen)),
        ("Worst electrolyte", f"{_text(worst)} {_worst_partner(of)}".strip()),
    ]
    return [*facts, *((f"Window of {window.element}", window_text(window)) for window in of.windows)]


def verdict(entropy: EntropyDoc) -> str:
    """Return what makes the phase stable, and from which temperature on."""
    at, highest = entropy.stabilised_above_K, entropy.temperatures_K[-1] if entropy.temperatures_K else 0.0
    return {
        "enthalpy": "by enthalpy, at 0 K",
        "entropy": "by entropy" + ("" if at is None else f", above {number(at, 0)} K"),
        "neither": f"not up to {number(highest, 0)} K",
        "undecided": "undecided within the interval",
    }[entropy.decided_by]


def window_text(window: WindowDoc) -> str:
    """Return the ends of a window: volts against Li/Li+ for lithium, else eV relative to the element."""
    low, high, unit = _ends(window)
    return f"{_range(low, high, 2)} {unit}" if (low, high) != (None, None) else _range(low, high, 2)


def pressures(window: WindowDoc) -> str:
    """Return the ends of an oxygen window as log10 of the pressure in bar, with the temperature; else nothing."""
    ends = (window.log10_pO2_low, window.log10_pO2_high)
    if window.temperature_K is None or ends == (None, None):
        return ""
    return f"{_range(*ends, 1)} at {number(window.temperature_K, 0)} K"


def products(of: Sequence[PhaseAmount]) -> str:
    """Return products with their share of the atoms, such as ``LaCoO3 62 %, SrO 38 %``, the largest first."""
    ordered = sorted(of, key=lambda product: -product.amount)
    return ", ".join(f"{product.formula} {number(100 * product.amount, 0)} %" for product in ordered) or MISSING


def curve_name(curve: InterfaceDoc) -> str:
    """Return the partner, and which element is open to a reservoir."""
    if curve.open_element is None:
        return curve.partner
    if curve.chemical_potential is None:
        return f"{curve.partner}, open to {curve.open_element}"
    if curve.open_element == "Li":
        return f"{curve.partner}, Li at {number(-curve.chemical_potential, 1)} V"
    return f"{curve.partner}, {curve.open_element} at {number(curve.chemical_potential, 2)} eV"


def worst_products(curve: InterfaceDoc) -> str:
    """Return the products where the curve is lowest; that nothing reacts, if so."""
    worst = min(curve.kinks, key=lambda kink: kink.reaction_energy, default=None)
    if worst is None or worst.reaction_energy > -_NOTHING:
        return "no reaction"
    return products(worst.products)


def _range(low: float | None, high: float | None, digits: int) -> str:
    if low is None or high is None:
        only = high if low is None else low
        return "no limit" if only is None else f"{'below' if low is None else 'above'} {number(only, digits)}"
    return f"{number(low, digits)} to {number(high, digits)}"


def _ends(window: WindowDoc) -> tuple[float | None, float | None, str]:
    if window.element == "Li":
        return window.voltage_low, window.voltage_high, "V"
    return window.low, window.high, "eV"


def _text(found: Quantity | None, digits: int = 3) -> str:
    if found is None or found.value is None:
        return MISSING
    return f"{number(found.value, digits)} {found.unit} {interval(found, digits)}".strip()


def _worst_partner(of: Thermodynamics) -> str:
    """Return the solid electrolyte that the worst reaction energy is of, in brackets."""
    worst = of.interface_reaction_energy.value
    if worst is None:
        return ""
    electrolytes = [curve for curve in of.interfaces if curve.role == "electrolyte"]
    partners = [curve_name(curve) for curve in electrolytes if abs(curve.reaction_energy - worst) < _NOTHING]
    return f"({partners[0]})" if partners else ""


def _in_air(oxygen: OxygenDoc) -> str:
    ends = oxygen.delta_in_air_interval
    within = "" if ends is None else f" [{number(ends[0], 2)}, {number(ends[1], 2)}]"
    return f"{number(oxygen.delta_in_air, 3)}{within} at {number(oxygen.air_temperature_K, 0)} K"


def _hull(of: HullDoc) -> dict[str, Any]:
    """Return the products of the two decompositions as bars, in per cent of the atoms."""
    bars = [
        {"name": plotly_formula(product.formula), "share": round(100 * product.amount, 2), "ordered": ordered}
        for ordered, several in ((False, of.decomposition), (True, of.ordered))
        for product in sorted(several, key=lambda product: -product.amount)
    ]
    return {"bars": bars}


def _temperature(of: EntropyDoc) -> dict[str, Any]:
    def row(values: Sequence[float] | None) -> list[float] | None:
        return None if values is None else [round(1000 * value, 3) for value in values]

    return {
        "T": of.temperatures_K, "curve": row(of.energy_above_hull), "low": row(of.low), "high": row(of.high),
        "at": of.stabilised_above_K, "ends": of.stabilised_interval_K,
    }  # fmt: skip


def _oxygen(of: OxygenDoc) -> dict[str, Any]:
    return {
        "T": of.temperatures_K, "pressure": of.log10_pO2_bar,
        "delta": [[round(x, 5) for x in row] for row in of.delta],
        "valence": [[round(x, 4) for x in row] for row in of.mean_B_valence],
        "assumed": of.delta_assumed, "air": [log10(_AIR), of.air_temperature_K, of.delta_in_air],
    }  # fmt: skip


def _window(of: WindowDoc) -> dict[str, Any]:
    low, high, unit = _ends(of)
    return {
        "name": f"{plotly_text(of.element)} ({unit})", "low": low, "high": high, "text": _range(low, high, 2),
        "stable": of.driving_force == 0,
    }  # fmt: skip


def _curve(of: InterfaceDoc) -> dict[str, Any]:
    """Return one curve; products are written at the kinks of closed ones, which rank."""
    closed = of.open_element is None
    name = plotly_formula(curve_name(of))
    return {
        "name": name,
        "partner": plotly_text(of.partner),
        "open": not closed,
        "x": [round(kink.fraction, 5) for kink in of.kinks],
        "y": [round(1000 * kink.reaction_energy, 3) for kink in of.kinks],
        "hover": [
            f"<b>{name}</b><br>{number(1000 * kink.reaction_energy, 0)} meV/atom at {number(kink.fraction, 2)}"
            + (f"<br>{plotly_formula(products(kink.products))}" if closed else "")
            for kink in of.kinks
        ],
    }


def _in_order(of: Sequence[InterfaceDoc]) -> list[InterfaceDoc]:
    """Return closed curves first, the worst before the others."""
    return sorted(of, key=lambda curve: (curve.open_element is not None, curve.reaction_energy))
