"""Formation energies and lattice parameters of perovskites against a table of PBE+U calculations.

The table is that of Emery and Wolverton, Sci. Data 4, 170153 (2017), 5,329 ABO3 with the distortion that is lowest
among cubic, tetragonal, rhombohedral and orthorhombic, on OQMD's elemental energies. It is not shipped: --emery names
the CSV file (columns A, B, lowest_distortion, formation_energy_eV_per_atom, volume_per_atom_A3, a_A ... gamma_deg).
Of its rows whose elements all have a reference phase, 100 are drawn with a fixed seed, relaxed in the distortion that
the table says, and compared.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Composition, Lattice
from scipy import stats
from thermo_energies import Energies, distorted_cell

from hemiec.engines.settings import ThermoSettings
from hemiec.errors import HemiecError, InputError, ThermoError
from hemiec.thermo.corrections import corrected_energy_per_atom
from hemiec.thermo.references.table import element_phase

SEED = 2017
SAMPLE = 100
COLUMNS = (
    *("A", "B", "lowest_distortion", "formation_energy_eV_per_atom", "energy_above_hull_eV_per_atom"),
    *("volume_per_atom_A3", "a_A", "b_A", "c_A"),
)
#: Energy above the hull in eV/atom of the table up to which a compound may be met: most of the table is hypothetical.
NEAR_HULL = 0.2


@dataclass(frozen=True)
class Row:
    """A perovskite of the table: energies in eV/atom, lengths in angstrom, volume in angstrom^3 per atom."""

    A: str
    B: str
    distortion: str
    formation_energy: float
    above_hull: float
    volume: float
    lengths: tuple[float, float, float]

    @property
    def formula(self) -> str:
        """ABO3."""
        return f"{self.A}{self.B}O3"


def sample(path: Path) -> tuple[list[Row], str]:
    """Return the rows that are compared, and in words how they were drawn.

    Raises
    ------
    InputError
        If the file is not such a table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    missing = [name for name in COLUMNS if not table or name not in table[0]]
    if missing:
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}.")
    try:
        rows = [_row(row) for row in table]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected a number in every column of energies and lengths; {error}.") from error
    # All rows are put into a fixed order first, so that a new reference phase changes the sample but little.
    known = [row for row in random.Random(SEED).sample(rows, len(rows)) if _has_reference(row.A, row.B)]
    drawn = known[:SAMPLE]
    said = f"{len(drawn)} of {len(known)} rows (of {len(rows)}; the others have an element without a reference phase)"
    return drawn, said


def _row(row: dict[str, str]) -> Row:
    return Row(
        row["A"],
        row["B"],
        row["lowest_distortion"],
        float(row["formation_energy_eV_per_atom"]),
        float(row["energy_above_hull_eV_per_atom"]),
        float(row["volume_per_atom_A3"]),
        (float(row["a_A"]), float(row["b_A"]), float(row["c_A"])),
    )


def _has_reference(*symbols: str) -> bool:
    try:
        return all(element_phase(symbol) for symbol in symbols)
    except ThermoError:
        return False


def formation_energy(formula: str, energy_per_atom: float, energies: Energies, settings: ThermoSettings) -> float:
    """Return the formation energy from the elements in eV/atom, corrections of the protocol included."""
    composition = Composition(formula)
    value = corrected_energy_per_atom(formula, composition, energy_per_atom, settings)
    for element in composition:
        phase = element_phase(element.symbol)
        mu = corrected_energy_per_atom(phase.phase_id, Composition(phase.formula), energies.reference(phase), settings)
        value -= composition.get_atomic_fraction(element) * mu
    return value


@dataclass(frozen=True)
class Pair:
    """A row and what we find: formation energy in eV/atom, lengths in angstrom, volume in angstrom^3 per atom."""

    row: Row
    formation_energy: float
    lengths: Sequence[float]
    volume: float

    @property
    def error(self) -> float:
        """Of the formation energy, in eV/atom."""
        return self.formation_energy - self.row.formation_energy


def compare(energies: Energies, path: Path) -> tuple[dict[str, float], list[str]]:
    """Print the comparison; return its figures and the names of perovskites that did not relax."""
    rows, said = sample(path)
    print(f"\nPBE+U of Emery and Wolverton: {said}; {dict(Counter(row.distortion for row in rows))}")
    pairs, failed = [], []
    for row in rows:
        start = distorted_cell(row.A, row.B, row.distortion, row.volume)
        try:
            found = energies.cell(f"emery {row.formula} {row.distortion}", start)
            if "error" in found:
                raise ThermoError(found["error"])
            energy_per_atom = found["energy"] / found["n_atoms"]
            ours = formation_energy(row.formula, energy_per_atom, energies, energies.protocol.thermo)
        except HemiecError as error:
            failed.append(row.formula)
            print(f"  {row.formula}: {error.message}", flush=True)
            continue
        lattice = Lattice(found["lattice"])
        pairs.append(Pair(row, ours, lattice.abc, lattice.volume / found["n_atoms"]))
    near = [pair for pair in pairs if pair.row.above_hull <= NEAR_HULL]
    figures = {f"emery_{name}": value for name, value in _figures(pairs).items()}
    figures |= {f"emery_near_hull_{name}": value for name, value in _figures(near).items()}
    figures["emery_n_failed"] = len(failed)
    _print(pairs, near)
    return figures, failed


def _lengths(abc: Sequence[float], distortion: str) -> list[float]:
    """Return the lengths that are compared: of an orthorhombic cell, the two in the plane in rising order."""
    a, b, c = abc
    if distortion == "orthorhombic":
        return [*sorted((a, b)), c]
    return [a, c] if distortion == "tetragonal" else [(a + b + c) / 3]


def _figures(pairs: Sequence[Pair]) -> dict[str, float]:
    ours = np.array([pair.formation_energy for pair in pairs])
    theirs = np.array([pair.row.formation_energy for pair in pairs])
    slope, offset = np.polyfit(theirs, ours, 1)
    error = ours - theirs
    lengths = [
        (a, b)
        for pair in pairs
        for a, b in zip(
            _lengths(pair.lengths, pair.row.distortion), _lengths(pair.row.lengths, pair.row.distortion), strict=True
        )
    ]
    strain = 100 * np.array([a / b - 1 for a, b in lengths])
    dilation = 100 * np.array([pair.volume / pair.row.volume - 1 for pair in pairs])
    return {
        "n": len(pairs),
        "formation_energy_mae_eV_per_atom": float(np.abs(error).mean()),
        "formation_energy_mean_error_eV_per_atom": float(error.mean()),
        "formation_energy_shifted_mae_eV_per_atom": float(np.abs(error - np.median(error)).mean()),
        "formation_energy_slope": float(slope),
        "formation_energy_offset_eV_per_atom": float(offset),
        "formation_energy_spearman": float(stats.spearmanr(ours, theirs).statistic),
        "lattice_parameter_mae_percent": float(np.abs(strain).mean()),
        "lattice_parameter_mean_error_percent": float(strain.mean()),
        "lattice_parameter_median_error_percent": float(np.median(np.abs(strain))),
        "volume_mae_percent": float(np.abs(dilation).mean()),
    }


def _print(pairs: Sequence[Pair], near: Sequence[Pair]) -> None:
    print(f"{'':47s}{'all':>8s}  at most {NEAR_HULL} eV/atom above the hull of the table")
    for (name, value), close in zip(_figures(pairs).items(), _figures(near).values(), strict=True):
        print(f"  {name:45s}{value:8.3f}{close:8.3f}")
    worst = sorted(pairs, key=lambda pair: -abs(pair.error))[:8]
    print("  farthest: " + ", ".join(f"{pair.row.formula} {pair.error:+.2f}" for pair in worst))
