"""How many DFT force calls a barrier costs: three single points on a cheap path, beside a cold climbing-image band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from pymatgen.core import Structure

from hemiec.engines.mlip.potential import calculator
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.errors import NotConvergedError
from hemiec.transport.energies import HopCalculation
from hemiec.transport.hops import perovskite_network

FMAX = 0.05
N_IMAGES = 5
#: Single points of the DFT barrier: two minima and the saddle.
SINGLE_POINTS = 3


@dataclass(frozen=True)
class Count:
    """Calls and barriers of one hop, both ways, with the same potential standing for DFT."""

    n_atoms: int
    search_calls: int
    search_barrier: float
    end_point_calls: int
    band_calls: int
    band_barrier: float
    band_force: float
    converged: bool

    @property
    def saving(self) -> float:
        """Force calls of the cold band, end points included, over the single points."""
        return (self.end_point_calls + self.band_calls) / SINGLE_POINTS


class _Counted(Calculator):
    """Energy and forces of a shared calculator, remembered for one image and counted in ``calls``."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]
    calls = 0

    def __init__(self, shared: Calculator) -> None:
        super().__init__()
        self.shared = shared

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        """Call the shared calculator once for energy and forces."""
        super().calculate(atoms, properties, system_changes)
        type(self).calls += 1
        copy = atoms.copy()
        copy.calc = self.shared
        energy = float(copy.get_potential_energy())
        self.results = {"energy": energy, "free_energy": energy, "forces": np.array(copy.get_forces(), dtype=float)}


def count(host: Structure, protocol: MlipProtocol, *, max_steps: int = 300) -> Count:
    """Return what a vacancy hop of a relaxed host costs both ways.

    Parameters
    ----------
    host
        Relaxed cell with site labels.
    protocol
        Potential; its calls stand for DFT's in the cold band, for DFT itself would take days here.
    max_steps
        Of the band.
    """
    shared = calculator(protocol)
    calculation = HopCalculation(host, perovskite_network(host, "O"), shared)
    hop = calculation.hop(0)
    if hop.forward_barrier is None:
        raise NotConvergedError(f"{host.formula}: {hop.reason}")
    first, last = calculation.end_points(0)
    _Counted.calls = 0
    index = calculation.network.atom_index
    assert index is not None
    for end in (calculation.network.start[0], calculation.network.end[0]):
        _relax(Structure.from_sites([site for n, site in enumerate(host) if n != index[end]]), shared)
    end_calls = _Counted.calls
    _Counted.calls = 0
    barrier, force, converged = _cold_band(_atoms(first), _atoms(last), shared, max_steps)
    return Count(
        n_atoms=len(first),
        search_calls=hop.n_force_calls,
        search_barrier=hop.forward_barrier,
        end_point_calls=end_calls,
        band_calls=_Counted.calls,
        band_barrier=barrier,
        band_force=force,
        converged=converged,
    )


def _relax(structure: Structure, shared: Calculator) -> None:
    atoms = _atoms(structure)
    atoms.calc = _Counted(shared)
    BFGS(atoms, logfile=None).run(fmax=FMAX, steps=500)


def _cold_band(first: Atoms, last: Atoms, shared: Calculator, max_steps: int) -> tuple[float, float, bool]:
    """Return barrier in eV, largest force in eV/angstrom and convergence of a climbing-image band."""
    band = [first, *(first.copy() for _ in range(N_IMAGES)), last]
    neb = NEB(band, k=0.5, climb=True, method="improvedtangent")
    neb.interpolate(method="idpp", mic=False)
    for image in band:
        image.calc = _Counted(shared)
    optimiser = FIRE(neb, logfile=None, maxstep=0.1)
    converged = bool(optimiser.run(fmax=FMAX, steps=max_steps))
    energies = [image.get_potential_energy() for image in band]
    return max(energies) - energies[0], float(neb.get_residual()), converged


def _atoms(structure: Structure) -> Atoms:
    return Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.lattice.get_cartesian_coords(structure.frac_coords),
        cell=structure.lattice.matrix,
        pbc=True,
    )
