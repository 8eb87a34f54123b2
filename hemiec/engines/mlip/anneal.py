"""Short molecular dynamics that takes a relaxed cell to a lower basin."""

from __future__ import annotations

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.engines.mlip.protocol import AnnealSettings

#: Langevin friction in 1/fs: heat is exchanged within the few hundred steps of an anneal.
FRICTION_PER_FS = 0.02


def anneal(structure: Structure, calculator: Calculator, settings: AnnealSettings, *, seed: int) -> Structure:
    """Return the structure after molecular dynamics in its fixed cell, unrelaxed.

    ASE's Langevin dynamics from Maxwell-Boltzmann velocities at twice the temperature, half of which
    goes into the potential. Same seed, same path.

    Parameters
    ----------
    structure
        A relaxed structure.
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom.
    settings
        Temperature in K, number of steps, time step in fs.
    seed
        Seed of velocities and thermostat.
    """
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    atoms.calc = calculator
    rng = np.random.default_rng(seed)
    thermal_energy = units.kB * 2 * settings.temperature_K
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * np.sqrt(atoms.get_masses()[:, None] * thermal_energy))
    dynamics = Langevin(
        atoms,
        settings.timestep_fs * units.fs,
        temperature_K=settings.temperature_K,
        friction=FRICTION_PER_FS / units.fs,
        rng=rng,
        fixcm=False,
    )
    dynamics.run(settings.n_steps)
    return Structure(structure.lattice, structure.species, atoms.get_positions(wrap=False), coords_are_cartesian=True)
