"""Annealing, the lowest basin, and minimum-mode following."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.engines.mlip.anneal import anneal
from hemiec.engines.mlip.protocol import AnnealSettings
from hemiec.errors import NotConvergedError
from hemiec.transport.minimum_mode import follow_minimum_mode
from hemiec.workflows.jobs import BasinMaker

SETTINGS = AnnealSettings(temperature_K=600, n_steps=20, timestep_fs=2.0)


def test_anneal_is_seeded_moves_atoms_and_keeps_the_cell() -> None:
    copper = AseAtomsAdaptor.get_structure(bulk("Cu", cubic=True) * (2, 1, 1))
    first, again, other = (anneal(copper, EMT(), SETTINGS, seed=seed) for seed in (1, 1, 2))
    assert np.allclose(first.cart_coords, again.cart_coords, atol=1e-12)
    assert not np.allclose(first.cart_coords, other.cart_coords, atol=1e-3)
    assert first.lattice == copper.lattice and first.species == copper.species
    moved = np.linalg.norm(first.cart_coords - copper.cart_coords, axis=1)
    assert 0.005 < moved.max() < 1.0


def _relaxation(energy: float, *, converged: bool = True) -> dict[str, object]:
    structure = Structure(Lattice.cubic(4), ["Sr"], [[0, 0, 0]])
    return {"structure": structure, "energy_per_atom": energy, "max_force": 0.01, "converged": converged}


def test_the_lowest_basin_is_kept_and_all_energies_recorded() -> None:
    make = BasinMaker().make.original
    found = make(BasinMaker(), {"relax": _relaxation(-1.0), "relax-annealed": _relaxation(-1.2)})
    assert found["step"] == "relax-annealed" and found["energy_per_atom"] == -1.2
    assert found["energies_per_atom"] == {"relax": -1.0, "relax-annealed": -1.2}
    assert make(BasinMaker(), {"relax": _relaxation(-1.3), "relax-annealed": _relaxation(-1.2)})["step"] == "relax"


def test_a_cell_that_did_not_relax_is_no_basin() -> None:
    with pytest.raises(NotConvergedError, match="cell relaxation"):
        BasinMaker().make.original(BasinMaker(), {"relax": _relaxation(-1.0, converged=False)})


def test_minimum_mode_finds_a_quadratic_saddle_and_its_mode() -> None:
    """E = -x^2/2 + y^2 + 2 z^2, rotated: saddle at the origin, curvature -1."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    hessian = rotation @ np.diag([-1.0, 2.0, 4.0]) @ rotation.T

    def evaluate(positions):
        r = positions[0]
        return float(r @ hessian @ r / 2), -(hessian @ r)[None]

    start = (rotation @ np.array([0.3, 0.4, -0.2]))[None]
    guess = (rotation @ np.array([1.0, 0.5, 0.3]))[None]
    found = follow_minimum_mode(evaluate, start, guess, fmax=1e-3, max_steps=300)
    assert found.converged
    assert np.linalg.norm(found.positions) < 2e-3
    assert abs(found.energy) < 1e-5
    assert found.curvature == pytest.approx(-1.0, abs=0.05)
    assert abs(float(found.mode[0] @ rotation[:, 0])) > 0.99


def test_minimum_mode_leaves_a_minimum_uphill_and_reports_failure() -> None:
    """In a bowl there is no saddle: the search says so instead of returning the minimum."""
    found = follow_minimum_mode(
        lambda r: (float((r**2).sum()), -2 * r),
        np.array([[0.1, 0.0, 0.0]]),
        np.array([[1.0, 0, 0]]),
        fmax=0.01,
        max_steps=40,
    )
    assert not found.converged and found.curvature > 0
