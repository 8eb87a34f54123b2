"""Energies that the thermodynamic benchmarks are made of: reference phases and perovskites, relaxed as campaigns do."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from hemiec.engines.mlip.cell import lowest_basin, relax_cell
from hemiec.engines.mlip.makers import relax
from hemiec.engines.mlip.potential import calculator, versions
from hemiec.engines.protocol import load_mlip
from hemiec.errors import HemiecError, NotConvergedError
from hemiec.structures.parent import Supercell, cubic_perovskite
from hemiec.structures.tilts import basin_starts, tilted_start
from hemiec.thermo.references.table import ReferencePhase

#: Holds all tilt systems that perovskites of one cation per site are found in: 20 atoms.
TWENTY = [[1, -1, 0], [1, 1, 0], [0, 0, 2]]
#: The primitive cell of the rhombohedral tilts: 10 atoms.
TEN = [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


class Energies:
    """Relaxed energies of one protocol, each computed once; with a file, kept over runs.

    Parameters
    ----------
    protocol
        Name of an MLIP protocol.
    cache
        JSON file of what is known; None to compute all anew.
    """

    def __init__(self, protocol: str, cache: Path | None = None) -> None:
        self.protocol = load_mlip(protocol)
        self.cache = cache
        self.known: dict[str, dict[str, Any]] = {}
        if cache is not None and cache.exists():
            self.known = json.loads(cache.read_text(encoding="utf-8"))

    def once(self, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is known under a key, computing it if need be; an error is a result too."""
        key = self._key(key)
        if key not in self.known:
            started = time.process_time()
            try:
                found = compute()
            except HemiecError as error:
                found = {"error": error.message}
            self.known[key] = found | {"cpu_s": round(time.process_time() - started, 1)}
            if self.cache is not None:
                self.cache.write_text(json.dumps(self.known, indent=1) + "\n", encoding="utf-8")
        return self.known[key]

    def reference(self, phase: ReferencePhase) -> float:
        """Return the energy of a reference phase in eV/atom, as its job computes it, without corrections.

        Raises
        ------
        NotConvergedError
            If it did not relax.
        """

        def compute() -> dict[str, Any]:
            with _scratch():  # atomate2 writes into the working directory
                found = relax(phase.structure(), self.protocol, relax_cell=not phase.is_molecule)
            if not found.converged:
                raise NotConvergedError(f"{phase.phase_id} did not relax.")
            return {"energy_per_atom": found.energy_per_atom}

        return self._energy(f"reference {phase.phase_id}", compute)

    def perovskite(self, formula: str, a: float) -> float:
        """Return the energy of ABO3 in its lowest tilt basin, in eV/atom, from a lattice parameter in angstrom.

        Raises
        ------
        NotConvergedError
            If no start relaxed.
        """

        def compute() -> dict[str, Any]:
            A, B = (element.symbol for element in Composition(formula) if element.symbol != "O")
            starts = basin_starts(ideal_cell(A, B, a))
            basins = lowest_basin(starts, calculator(self.protocol), fmax=self.protocol.relax.fmax_eV_per_A)
            lowest = basins.found[basins.lowest]
            return {
                "energy_per_atom": lowest.energy / len(lowest.structure),
                "tilt": basins.tilts[basins.lowest].label,
                "structure": lowest.structure.as_dict(),
            }

        return self._energy(f"perovskite {formula}", compute)

    def host(self, formula: str, a: float) -> Structure:
        """Return the structure of :meth:`perovskite`."""
        self.perovskite(formula, a)
        return Structure.from_dict(self.known[self._key(f"perovskite {formula}")]["structure"])

    def cell(self, key: str, start: Structure) -> dict[str, Any]:
        """Return energy (eV) and lattice of a structure relaxed in its basin, or the error."""

        def compute() -> dict[str, Any]:
            found = relax_cell(start, calculator(self.protocol), fmax=self.protocol.relax.fmax_eV_per_A)
            return {
                "energy": found.energy,
                "lattice": found.structure.lattice.matrix.tolist(),
                "n_atoms": len(found.structure),
            }

        return self.once(key, compute)

    def _key(self, key: str) -> str:
        """Return a key that holds for this protocol's physics and this version of its model alone."""
        used = versions(self.protocol)
        return f"{self.protocol.hash} {used[self.protocol.model.package]} {key}"

    def _energy(self, key: str, compute: Callable[[], dict[str, Any]]) -> float:
        found = self.once(key, compute)
        if "error" in found:
            raise NotConvergedError(found["error"])
        return float(found["energy_per_atom"])


def ideal_cell(A: str, B: str, a: float, rows: Any = TWENTY) -> Structure:
    """Return the cubic perovskite ABO3 in a supercell, sites labelled; a in angstrom."""
    cell = Supercell(cubic_perovskite(a), rows)
    names = {"A": A, "B": B, "X": "O"}
    return Structure(
        Lattice(cell.lattice),
        [names[site] for site in cell.sublattices],
        cell.positions,
        site_properties={"site": list(cell.sublattices)},
    )


def distorted_cell(A: str, B: str, distortion: str, volume_per_atom: float) -> Structure:
    """Return a start with the distortion of a perovskite: cubic, tetragonal (polar), rhombohedral (a-a-a-) or
    orthorhombic (a+b-b-), with a volume per atom in angstrom^3."""
    a = (5 * volume_per_atom) ** (1 / 3)
    if distortion == "rhombohedral":
        return tilted_start(ideal_cell(A, B, a, TEN), "R-3c", displacement=0.0)
    if distortion == "orthorhombic":
        return tilted_start(ideal_cell(A, B, a), "Pnma", displacement=0.0)
    cell = ideal_cell(A, B, a, np.eye(3, dtype=int).tolist())
    if distortion == "tetragonal":
        shift = {"A": 0.0, "B": 0.03, "X": -0.03}
        moved = cell.frac_coords + np.array([[0, 0, shift[site]] for site in cell.site_properties["site"]])
        long = Lattice(cell.lattice.matrix @ np.diag([0.98, 0.98, 1.04]))
        cell = Structure(long, cell.species, moved, site_properties=cell.site_properties)
    return cell


@contextmanager
def _scratch() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
