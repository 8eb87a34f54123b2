"""The climbing-image nudged elastic band: the reference method, and a loose band to start from."""

from __future__ import annotations

import time

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.mep import NEB
from ase.optimize import FIRE
from pymatgen.core import Structure

from hemiec.errors import NotConvergedError
from hemiec.transport.saddles.forces import CountedImage, ForceCalls
from hemiec.transport.saddles.path import FloatArray, MinimumEnergyPath, State, check_same_atoms, profile, unwrapped

METHOD = "climbing-image band"
#: Longest step of the band's optimiser, in angstrom.
_MAX_STEP = 0.1


def climbing_image_band(
    initial: Structure,
    final: Structure,
    calculator: Calculator | ForceCalls,
    *,
    n_images: int = 5,
    fmax: float = 0.05,
    spring: float = 0.5,
    max_steps: int = 300,
) -> MinimumEnergyPath:
    """Return the path of a climbing-image band between two relaxed states, in a fixed cell.

    Improved tangents (doi:10.1063/1.1323224), a climbing image (doi:10.1063/1.1329672) from the first step and a start
    from the image-dependent pair potential (doi:10.1063/1.4878664), relaxed by FIRE.

    Parameters
    ----------
    initial, final
        Same atoms in the same order; final coordinates are the images the path leads to.
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom, or one that is counted already.
    n_images
        Moving images.
    fmax
        Largest force of the band on an atom at the end, in eV/angstrom.
    spring
        Spring constant in eV/angstrom^2.
    max_steps
        Steps; each calls the calculator once per image.

    Raises
    ------
    NotConvergedError
        If the band did not converge, or its highest image is an end point.
    StructureError
        If the end points hold different atoms or cells.
    """
    check_same_atoms(initial, final)
    started = time.perf_counter()
    counter = calculator if isinstance(calculator, ForceCalls) else ForceCalls(calculator)
    calls, seconds = counter.calls, counter.seconds
    first, last = unwrapped(initial), unwrapped(final)
    images, force, converged = _relaxed(first, last, counter, n_images, spring, fmax, max_steps, climb=True)
    if not converged:
        raise NotConvergedError(
            f"{initial.formula}: the climbing-image band stopped after {max_steps} steps with a force of {force:.3f} "
            "eV/angstrom.",
            mend="raise `max_steps` of the protocol",
        )
    states = [State(image.positions.copy(), image.get_potential_energy()) for image in images]
    structures, energies, lengths = profile(first, states)
    return MinimumEnergyPath(
        images=structures,
        energies=energies,
        initial_energy=states[0].energy,
        reaction_coordinate=lengths,
        max_force=force,
        n_force_calls=counter.calls - calls,
        elapsed_s=time.perf_counter() - started,
        seconds_in_calls=counter.seconds - seconds,
        method=METHOD,
    )


def loose_band(
    first: Atoms, last: Atoms, counter: ForceCalls, *, n_images: int, spring: float, fmax: float, max_steps: int
) -> tuple[FloatArray, FloatArray]:
    """Return positions of the highest image of a band relaxed loosely, and its tangent; shapes=(n_atoms, 3)."""
    images, _, _ = _relaxed(first, last, counter, n_images, spring, fmax, max_steps, climb=False)
    energies = [image.get_potential_energy() for image in images]
    top = 1 + int(np.argmax(energies[1:-1]))
    before, here, after = (images[top + k].positions for k in (-1, 0, 1))
    # The improved tangent of the highest image points to its higher neighbour.
    tangent = after - here if energies[top + 1] > energies[top - 1] else here - before
    return here.copy(), tangent


def _relaxed(
    first: Atoms,
    last: Atoms,
    counter: ForceCalls,
    n_images: int,
    spring: float,
    fmax: float,
    max_steps: int,
    *,
    climb: bool,
) -> tuple[list[Atoms], float, bool]:
    """Return the images of a band, its largest force in eV/angstrom, and whether it converged."""
    images = [first.copy(), *(first.copy() for _ in range(n_images)), last.copy()]
    band = NEB(images, k=spring, climb=climb, method="improvedtangent")
    band.interpolate(method="idpp", mic=False)
    for image in images:
        image.calc = CountedImage(counter)
    converged = bool(FIRE(band, logfile=None, maxstep=_MAX_STEP).run(fmax=fmax, steps=max_steps))
    return images, float(band.get_residual()), converged
