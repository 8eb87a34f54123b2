"""Thermodynamics of a candidate in words, for `hemiec show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import EntropyDoc, HullDoc, InterfaceDoc, OxygenDoc, PhaseAmount, Thermodynamics, WindowDoc

if TYPE_CHECKING:
    from pymatgen.core import Composition


def thermodynamics_lines(candidate: CandidateSpec, found: Thermodynamics) -> list[str]:
    """Return stability, oxygen, windows and interfaces of a candidate, in a few lines, and why parts are missing."""
    from hemiec.thermo.formation import composition

    amounts = composition(candidate)
    lines = [] if found.hull is None else _hull_lines(found.hull, amounts, found.protocol)
    if found.entropy is not None:
        lines.append(_entropy_line(found.entropy))
    if found.oxygen is not None:
        lines.append(_oxygen_line(found.oxygen))
    lines += [_window_line(window, amounts) for window in found.windows]
    lines += _interface_lines(found.interfaces)
    return [*lines, *(f"no {part}: {reason}" if _missing(found, part) else f"{part}: {reason}"
                      for part, reason in found.reasons.items())]  # fmt: skip


def in_words(products: Sequence[PhaseAmount], candidate: Composition) -> str:
    """Return products of one formula unit of the candidate, such as ``0.4 LaCoO3 + 0.1 Co3O4``, the largest first.

    Parameters
    ----------
    products
        With their shares of the atoms; a negative one is taken up.
    candidate
        Its amounts per formula unit.
    """
    from pymatgen.core import Composition

    units = [
        (product.amount * candidate.num_atoms / Composition(product.formula).num_atoms, product)
        for product in sorted(products, key=lambda product: -product.amount)
    ]
    made = " + ".join(f"{n:.3g} {product.formula}" for n, product in units if n > 0)
    taken = " - ".join(f"{-n:.3g} {product.formula}" for n, product in units if n < 0)
    return f"{made} - {taken}" if taken else made


def _hull_lines(hull: HullDoc, amounts: Composition, protocol: str) -> list[str]:
    lines = [
        f"energy above the hull {_text(hull.energy_above_hull)} ({hull.n_phases} phases of {hull.chemsys}, {protocol})",
        f"decomposes to {in_words(hull.decomposition, amounts)}",
    ]
    if hull.ordered:
        ordered = in_words(hull.ordered, amounts)
        lines.append(f"above ordered perovskites {_text(hull.energy_above_ordered)}: {ordered}")
    return lines


def _entropy_line(entropy: EntropyDoc) -> str:
    low, high = entropy.stabilised_interval_K
    highest = f"{entropy.temperatures_K[-1]:g} K"
    end = f"above {highest}" if high is None else f"{high:.0f} K"
    interval = "" if low is None else f" (90 %: {low:.0f} K to {end})"
    at = entropy.stabilised_above_K
    reached = "" if at is None else f"on the hull from {at:.0f} K{interval}; "
    decided = {
        "enthalpy": "enthalpy decides: stable at 0 K",
        "entropy": "entropy decides",
        "neither": f"not stable up to {highest}",
        "undecided": "what decides is open within the interval" + (interval if at is None else ""),
    }
    return f"temperature: {reached}{decided[entropy.decided_by]}; {entropy.method}"


def _oxygen_line(oxygen: OxygenDoc) -> str:
    ends = oxygen.delta_in_air_interval
    interval = "" if ends is None else f" (90 %: {ends[0]:.3f} to {ends[1]:.3f})"
    return (
        f"oxygen: delta {oxygen.delta_in_air:.3f}{interval} in air at {oxygen.air_temperature_K:g} K, computed with "
        f"{oxygen.delta_assumed:.3g}; vacancy {_text(oxygen.vacancy_energy, 2)}. {oxygen.feedback}"
    )


def _window_line(window: WindowDoc, amounts: Composition) -> str:
    low, high, unit = window.low, window.high, "eV"
    below, above = window.products_below, window.products_above
    if window.element == "Li":
        low, high, unit, below, above = window.voltage_low, window.voltage_high, "V against Li/Li+", above, below
    text = f"{window.element} window: {_range(low, high, unit)}"
    if window.temperature_K is not None and (window.log10_pO2_low, window.log10_pO2_high) != (None, None):
        ends = _range(window.log10_pO2_low, window.log10_pO2_high, f"at {window.temperature_K:g} K", digits=1)
        text += f", log10 p(O2)/bar {ends}"
    if window.driving_force:
        text += f", {window.driving_force:.3f} eV/atom above the hull taken off"
    parts = [f"{side} it {_shares(of)}" for side, of in (("below", below), ("above", above)) if of]
    return "; ".join([text, *parts])


def _interface_lines(found: Sequence[InterfaceDoc]) -> list[str]:
    closed = sorted((curve for curve in found if curve.open_element is None), key=lambda curve: curve.reaction_energy)
    lines = []
    worst = next((curve for curve in closed if curve.role == "electrolyte"), None)
    if worst is not None:
        kink = min(worst.kinks, key=lambda kink: kink.reaction_energy)
        jumps = ", ".join(f"{element} {jump:+.2f}" for element, jump in sorted(worst.potential_jump.items()))
        lines.append(
            f"worst electrolyte {worst.partner}: {worst.reaction_energy:.3f} eV/atom at {kink.fraction:.2f}, "
            f"{_shares(kink.products)}; jumps of the potential (eV): {jumps or 'none'}"
        )
    if closed:
        each = ", ".join(f"{curve.partner} {curve.reaction_energy:.3f}" for curve in closed)
        lines.append(f"reaction energies (eV/atom): {each}")
    return lines


def _missing(found: Thermodynamics, part: str) -> bool:
    return not getattr(found, part, None)


def _shares(products: Sequence[PhaseAmount]) -> str:
    ordered = sorted(products, key=lambda product: -product.amount)
    return "gives " + ", ".join(f"{product.formula} {product.amount:.0%}" for product in ordered)


def _text(found: Quantity, digits: int = 3) -> str:
    if found.value is None:
        return f"unknown: {found.reason}"
    interval = "" if found.interval is None else " (90 %: {:.{d}f} to {:.{d}f})".format(*found.interval, d=digits)
    return f"{found.value:.{digits}f} {found.unit}{interval}"


def _range(low: float | None, high: float | None, unit: str, digits: int = 2) -> str:
    if low is not None and high is not None:
        return f"{low:.{digits}f} to {high:.{digits}f} {unit}"
    if low is None and high is None:
        return "no limit"
    return f"below {high:.{digits}f} {unit}" if low is None else f"above {low:.{digits}f} {unit}"
