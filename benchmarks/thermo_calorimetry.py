"""Enthalpies of formation from binary oxides against calorimetry, and the correction that is fitted to them.

Every perovskite is relaxed in its lowest tilt basin, the oxides as reference phases; the reaction is the one that was
measured. A one-parameter correction of La2O3 (the mean error of the compounds of La) is fitted here anew, each compound
left out in turn; the protocol states it in its block `thermo`. Tables in kJ/mol per formula unit ABO3 (5 atoms).
Other mixed oxides (spinels, ilmenites, layered, pyrochlore), with which a perovskite competes on the hull, took no part
in the fit: their errors are those of a hull.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition
from thermo_energies import Energies

from hemiec.engines.settings import ThermoSettings
from hemiec.errors import HemiecError, NotConvergedError
from hemiec.thermo.corrections import corrected_energy_per_atom
from hemiec.thermo.references.table import ReferencePhase, all_phases, element_phase, reference_phases

TABLE = json.loads(Path(__file__).with_name("thermo_calorimetry.json").read_text(encoding="utf-8"))
MEASURED, OTHERS = TABLE["enthalpies"], TABLE["other_oxides"]
#: Those of the project's table of reference values.
SEVEN = ("LaCrO3", "LaFeO3", "LaAlO3", "LaGaO3", "SrTiO3", "BaTiO3", "CaTiO3")
FITTED = "La2O3"
TARGET = 15.0
KJ_PER_EV = 96.485332
NONE = ThermoSettings(o2_correction_eV_per_O=0.0, o2_correction_source="none", not_from_elements=[])


@dataclass(frozen=True)
class Enthalpy:
    """A perovskite: enthalpies in kJ/mol per formula unit, measured, computed as is, and with the corrections."""

    material: str
    kind: str
    amount_fitted: float
    measured: float
    as_is: float
    without_fit: float
    corrected: float

    @property
    def counts(self) -> bool:
        """Whether the measured value is good enough for figures."""
        return self.kind != "doubtful"

    @property
    def B(self) -> str:
        """The B cation."""
        return [element.symbol for element in Composition(self.material)][1]


def oxide(formula: str) -> ReferencePhase:
    """Return the tabulated standard state of an oxide."""
    return next(phase for phase in reference_phases()[1] if phase.standard_state and phase.formula == formula)


def enthalpy(entry: dict[str, Any], energies: Energies, settings: ThermoSettings) -> float:
    """Return the enthalpy of a reaction of the table at 0 K, in kJ/mol per formula unit, with some corrections."""

    def of(phase: ReferencePhase) -> float:
        composition = Composition(phase.formula)
        energy = corrected_energy_per_atom(phase.phase_id, composition, energies.reference(phase), settings)
        return energy * composition.num_atoms

    name = entry["material"]
    product = Composition(name)
    raw = energies.perovskite(name, entry["a_A"]) if "a_A" in entry else lowest_polymorph(name, energies)
    value = corrected_energy_per_atom(name, product, raw, settings) * product.num_atoms
    oxygen = float(product["O"])
    for formula, amount in entry["oxides"].items():
        value -= amount * of(oxide(formula))
        oxygen -= amount * float(Composition(formula)["O"])
    if abs(oxygen) > 1e-9:
        value -= oxygen / 2 * of(element_phase("O"))
    return value * KJ_PER_EV


def lowest_polymorph(formula: str, energies: Energies) -> float:
    """Return the energy of the lowest tabulated polymorph, in eV/atom, without corrections.

    Raises
    ------
    NotConvergedError
        If none relaxed.
    """
    wanted = Composition(formula).reduced_formula
    found, reasons = [], []
    for phase in all_phases():
        if Composition(phase.formula).reduced_formula == wanted:
            try:
                found.append(energies.reference(phase))
            except HemiecError as error:
                reasons.append(error.message)
    if not found:
        raise NotConvergedError("; ".join(reasons) or f"no reference phase {formula}.")
    return min(found)


def errors_of_others(energies: Energies) -> list[float]:
    """Print the mixed oxides other than the perovskites; return their errors in eV/atom."""
    errors = []
    print(f"\nOther mixed oxides with {energies.protocol.name}, from oxides, kJ/mol per formula unit")
    for entry in OTHERS:
        name, measured = entry["material"], entry["enthalpy_kJ_per_mol"]
        try:
            value = enthalpy(entry, energies, energies.protocol.thermo)
        except HemiecError as error:
            print(f"  {name}: {error.message}", flush=True)
            continue
        errors.append((value - measured) / KJ_PER_EV / Composition(name).num_atoms)
        print(
            f"  {name:10s}{measured:8.1f}  {value:8.1f} ({value - measured:+6.1f}, {errors[-1]:+.3f} eV/atom)"
            f"   {entry['kind']}",
            flush=True,
        )
    return errors


def computed(energies: Energies, measured: Sequence[dict[str, Any]] = MEASURED) -> list[Enthalpy]:
    """Return all enthalpies of the table that can be computed; prints why where one cannot."""
    stated = energies.protocol.thermo
    without = stated.model_copy(update={"phase_corrections_eV_per_atom": {}})
    found = []
    for entry in measured:
        try:
            values = [enthalpy(entry, energies, settings) for settings in (NONE, without, stated)]
        except HemiecError as error:
            print(f"  {entry['material']}: {error.message}", flush=True)
            continue
        amount = entry["oxides"].get(FITTED, 0.0)
        found.append(Enthalpy(entry["material"], entry["kind"], amount, entry["enthalpy_kJ_per_mol"], *values))
    return found


def left_out(rows: Sequence[Enthalpy]) -> tuple[float, dict[str, float]]:
    """Return the fitted correction of La2O3 in kJ per mole of it, and material to its error when it is left out.

    One parameter, the mean error of the compounds made of La2O3 over the amount of it.
    """
    errors = {row.material: row.without_fit - row.measured for row in rows}
    made = {row.material: row.amount_fitted for row in rows if row.amount_fitted}

    def fit(materials: Sequence[str]) -> float:
        return float(np.mean([errors[m] / made[m] for m in materials])) if materials else 0.0

    others = {m: fit([k for k in made if k != m]) * made[m] for m in made}
    return fit(list(made)), {m: error - others.get(m, 0.0) for m, error in errors.items()}


def mean_absolute(values: Sequence[float]) -> float:
    """Return the mean absolute value."""
    return float(np.mean(np.abs(values)))


def root_mean_square(values: Sequence[float]) -> float:
    """Return the root of the mean square."""
    return math.sqrt(float(np.mean(np.square(values))))


def compare(energies: Energies) -> tuple[dict[str, float], list[str]]:
    """Print the tables; return the figures and the names of those that fall short."""
    rows = computed(energies)
    good = [row for row in rows if row.counts]
    fit, out = left_out(good)
    stated = energies.protocol.thermo.phase_corrections_eV_per_atom.get(FITTED, 0.0)
    stated *= KJ_PER_EV * Composition(FITTED).num_atoms
    _print(rows, out, energies.protocol.name)
    print(f"correction of {FITTED}: fitted {fit:.1f} kJ/mol of it, stated by the protocol {stated:.1f}")
    _by_B(good)
    seven = [row for row in good if row.material in SEVEN]
    rmse = root_mean_square(list(out.values()))
    figures = {
        "enthalpy_n": len(good),
        "enthalpy_as_is_mae_kJ_per_mol": mean_absolute([row.as_is - row.measured for row in good]),
        "enthalpy_mae_kJ_per_mol": mean_absolute([row.corrected - row.measured for row in good]),
        "enthalpy_left_out_mae_kJ_per_mol": mean_absolute(list(out.values())),
        "enthalpy_left_out_rmse_kJ_per_mol": rmse,
        "enthalpy_left_out_rmse_eV_per_atom": rmse / KJ_PER_EV / 5,
        "enthalpy_of_seven_as_is_mae_kJ_per_mol": mean_absolute([row.as_is - row.measured for row in seven]),
        "enthalpy_of_seven_mae_kJ_per_mol": mean_absolute([row.corrected - row.measured for row in seven]),
        "enthalpy_of_seven_left_out_mae_kJ_per_mol": mean_absolute([out[row.material] for row in seven]),
        f"correction_{FITTED}_fitted_kJ_per_mol": fit,
        f"correction_{FITTED}_stated_kJ_per_mol": stated,
    }
    others = errors_of_others(energies)
    figures |= {
        "other_oxides_n": len(others),
        "other_oxides_mae_eV_per_atom": mean_absolute(others),
        "other_oxides_mean_error_eV_per_atom": float(np.mean(others)),
        "other_oxides_rmse_eV_per_atom": root_mean_square(others),
        # What a hull is built from: perovskites, each with the correction fitted without it, and their competitors.
        "model_error_eV_per_atom": root_mean_square([*others, *(error / KJ_PER_EV / 5 for error in out.values())]),
    }
    for key, value in figures.items():
        print(f"  {key:45s}{value:8.3f}")
    keys = ("enthalpy_mae_kJ_per_mol", "enthalpy_left_out_mae_kJ_per_mol", "enthalpy_of_seven_left_out_mae_kJ_per_mol")
    return figures, [key for key in keys if figures[key] > TARGET]


def _print(rows: Sequence[Enthalpy], out: dict[str, float], protocol: str) -> None:
    """Print the table."""
    print(f"\nEnthalpies from oxides with {protocol}, kJ/mol per ABO3 (error in brackets)")
    print(f"{'':10s}{'measured':>10s}  {'as it is':>17s}  {'with corrections':>17s}  left out   kind")
    for row in rows:
        error = f"{out[row.material]:+8.1f}" if row.material in out else "       -"
        print(
            f"{row.material:10s}{row.measured:10.1f}  {row.as_is:8.1f} ({row.as_is - row.measured:+6.1f})"
            f"  {row.corrected:8.1f} ({row.corrected - row.measured:+6.1f})  {error}   {row.kind}"
        )


def _by_B(rows: Sequence[Enthalpy]) -> None:
    """Print the error by the cation on B."""
    by_B: dict[str, list[float]] = {}
    for row in rows:
        by_B.setdefault(row.B, []).append(row.corrected - row.measured)
    said = (f"{B} {np.mean(errors):+.0f} ({len(errors)})" for B, errors in sorted(by_B.items()))
    print("mean error by B with corrections, kJ/mol (compounds): " + ", ".join(said))
