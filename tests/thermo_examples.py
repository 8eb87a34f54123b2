"""Thermodynamics as documents, for tests and pictures. Every number is invented; only the shapes are physical."""

from __future__ import annotations

from typing import Any

import numpy as np

from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import (
    EntropyDoc,
    HullDoc,
    InterfaceDoc,
    OxygenDoc,
    PhaseAmount,
    ReactionKink,
    Thermodynamics,
    WindowDoc,
)
from hemiec.units import BOLTZMANN_EV_PER_K

TEMPERATURES = [float(T) for T in range(0, 2001, 100)]
GRID_T, GRID_P = [float(T) for T in range(700, 1501, 100)], [float(p) for p in range(-8, 1)]


def amounts(**shares: float) -> list[PhaseAmount]:
    """Return products with their shares of the atoms."""
    return [PhaseAmount(phase_id=f"{name}-invented", formula=name, amount=share) for name, share in shares.items()]


def quantity(value: float | None, unit: str = "eV/atom", half: float = 0.03, reason: str | None = None) -> Quantity:
    """Return an invented quantity with an interval of that half width."""
    interval = None if value is None else (value - half, value + half)
    return Quantity(value=value, unit=unit, method="invented", n=1, interval=interval, reason=reason,
                    protocol="synthetic", protocol_hash="p-1")  # fmt: skip


def hull(above: float | None = 0.034, reason: str | None = None) -> HullDoc:
    """Return a hull with three products and two ordered perovskites."""
    return HullDoc(
        energy_above_hull=quantity(above, reason=reason),
        decomposition=amounts(LaCoO3=0.42, Sr2Co2O5=0.38, BaCoO3=0.20),
        energy_above_other_compositions=above or 0.0,
        energy_above_ordered=quantity(None if above is None else above - 0.021, reason=reason),
        ordered=amounts(LaCoO3=0.62, SrCoO3=0.42, O2=-0.04), n_phases=63, chemsys="Ba-Co-La-O-Sr",
    )  # fmt: skip


def entropy(above: float = 0.034, half: float = 0.03) -> EntropyDoc:
    """Return the curve of ln 5 on A per five atoms."""
    S = BOLTZMANN_EV_PER_K * np.log(5) / 5
    T = np.array(TEMPERATURES)
    curve, crossing = above - T * S, above / S
    return EntropyDoc(
        mixing_entropy={"A": float(S), "B": 0.0, "X": 0.0}, temperatures_K=TEMPERATURES,
        energy_above_hull=curve.tolist(), low=(curve - half).tolist(), high=(curve + half).tolist(),
        stabilised_above_K=float(crossing),
        stabilised_interval_K=(max(0.0, float((above - half) / S)), None), decided_by="entropy",
        method="ideal mixing on A, B and X (invented)",
    )  # fmt: skip


def oxygen(energy: float = 1.6) -> OxygenDoc:
    """Return the deficiency of independent sites of one energy; the gas is a line in temperature, not measured."""
    T, p = np.array(GRID_T)[:, None], np.array(GRID_P)[None, :]
    free = energy - 1.1e-3 * T + BOLTZMANN_EV_PER_K * T * np.log(10) * p / 2
    delta = 3 / (1 + np.exp(free / (BOLTZMANN_EV_PER_K * T)))
    return OxygenDoc(
        vacancy_energy=quantity(energy, "eV", 0.1), site_energies=[energy] * 3, temperatures_K=GRID_T,
        log10_pO2_bar=GRID_P, delta=delta.tolist(), mean_B_valence=(3.6 - 2 * delta).tolist(), delta_assumed=0.2,
        delta_bounds=(0.0, 3.0), delta_in_air_interval=(0.22, 0.44), delta_in_air_at_298_K=0.01, delta_in_air=0.31,
        air_temperature_K=1273.0, feedback="in air it loses more oxygen than was taken out (invented)",
        method="sites without interaction (invented)",
    )  # fmt: skip


def windows() -> list[WindowDoc]:
    """Return a window of lithium with both ends and one of oxygen that is open above."""
    return [
        WindowDoc(
            element="Li", low=-3.6, high=-1.8, products_below=amounts(La2O3=0.5, CoO2=0.5),
            products_above=amounts(Li2O=0.45, La2O3=0.30, Co=0.25), driving_force=0.034, voltage_low=1.8,
            voltage_high=3.6,
        ),
        WindowDoc(element="O", low=-2.1, high=None, products_below=amounts(La2O3=0.6, CoO=0.4), products_above=[],
                  driving_force=0.0, temperature_K=1273.0, log10_pO2_low=-8.5),
    ]  # fmt: skip


def reaction(partner: str = "Li3PS4", depth: float = 0.25, open_element: Any = None) -> InterfaceDoc:
    """Return a curve with two kinks; the candidate on its own releases a little."""
    kinks = [
        (0.0, 0.0, {partner: 1.0}), (0.3, -0.6 * depth, {"Li2S": 0.5, "La2O3": 0.3, "CoS": 0.2}),
        (0.55, -depth, {"Li3PO4": 0.4, "La2O2S": 0.35, "CoS": 0.25}), (1.0, -0.01, {"LaCoO3": 0.6, "SrCoO3": 0.4}),
    ]  # fmt: skip
    return InterfaceDoc(
        partner=partner, role="electrode" if partner == "Li" else "electrolyte", phases=amounts(**{partner: 1.0}),
        open_element=open_element, chemical_potential=None if open_element is None else -1.5,
        kinks=[ReactionKink(fraction=x, reaction_energy=E, uptake=0.0 if open_element is None else 0.2 * x,
                            products=amounts(**of)) for x, E, of in kinks],
        reaction_energy=-depth, worst_fraction=0.55, mutual_energy=0.0055 - depth,
        potential_jump={"O": 1.2, "Li": -0.8, "S": -2.0},
    )  # fmt: skip


def thermodynamics(**changes: Any) -> Thermodynamics:
    """Return all parts; ``reasons`` is empty."""
    fields: dict[str, Any] = {
        "hull": hull(), "entropy": entropy(), "oxygen": oxygen(), "windows": windows(),
        "interfaces": [reaction(), reaction(depth=0.31, open_element="Li"), reaction("Li7La3Zr2O12", 0.02)],
        "interface_reaction_energy": quantity(-0.25), "reasons": {}, "protocol": "synthetic", "protocol_hash": "p-1",
        "thermo_version": 1, "own_hash": "0",
    }  # fmt: skip
    return Thermodynamics.model_validate(fields | changes)
