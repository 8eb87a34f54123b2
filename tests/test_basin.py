"""Annealing, relaxation of cells, the lowest basin, and minimum-mode following."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from crystals import perovskite
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.engines.mlip.anneal import anneal
from hemiec.engines.mlip.cell import lowest_basin, relax_cell
from hemiec.engines.mlip.potential import calculator
from hemiec.engines.mlip.protocol import AnnealSettings
from hemiec.engines.protocol import load_mlip
from hemiec.errors import NotConvergedError, StructureError
from hemiec.schemas.documents import BasinDoc
from hemiec.structures.parent import Supercell, cubic_perovskite
from hemiec.structures.tilts import basin_starts
from hemiec.transport.saddles.minimum_mode import follow_minimum_mode
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


def test_a_cell_that_no_tilt_fits_is_annealed_and_all_energies_are_recorded() -> None:
    """One formula unit cuts the period of every tilt."""
    ideal = perovskite()
    found = BasinDoc.model_validate(BasinMaker().make.original(BasinMaker(), ideal))
    assert set(found.energies_per_atom) == set(found.tilts) == {"displaced", "annealed"}
    assert found.energy_per_atom == min(found.energies_per_atom.values()) == found.energies_per_atom[found.step]
    assert found.tilt == found.tilts[found.step]
    assert found.n_force_calls > 2 and found.max_force <= 0.05
    relaxed = Structure.from_dict(found.structure)
    assert relaxed.site_properties["site"] == ideal.site_properties["site"]
    assert relaxed.lattice.abc == pytest.approx([3.94] * 3, abs=0.05)


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


# Cells


def strained_copper() -> Structure:
    """Return four copper atoms in a sheared, stretched cell, off their sites."""
    copper = AseAtomsAdaptor.get_structure(bulk("Cu", cubic=True, a=3.7))
    shear = np.array([[1.02, 0.04, 0.0], [0.0, 0.97, 0.03], [0.02, 0.0, 1.0]])
    coords = copper.cart_coords @ shear + np.random.default_rng(0).normal(scale=0.05, size=(4, 3))
    return Structure(
        copper.lattice.matrix @ shear,
        copper.species,
        coords,
        coords_are_cartesian=True,
        site_properties={"site": list("ABXX")},
    )


def test_cell_and_positions_relax_to_the_crystal_with_few_calls() -> None:
    start = strained_copper()
    found = relax_cell(start, EMT(), fmax=0.005, energy_tolerance=1e-4)
    # EMT's fcc copper: 3.589 angstrom and -0.0068 eV/atom, from a fit to its energies.
    assert found.structure.volume / 4 == pytest.approx(3.589**3 / 4, rel=2e-3)
    assert found.structure.lattice.angles == pytest.approx((90, 90, 90), abs=0.5)
    assert found.energy / 4 == pytest.approx(-0.0068, abs=5e-4)
    assert found.max_force <= 0.005
    assert found.n_force_calls < 40
    assert found.structure.site_properties == start.site_properties
    atoms = AseAtomsAdaptor.get_atoms(found.structure, msonable=False)
    atoms.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(found.energy, abs=1e-8)


def test_strains_that_are_not_free_stay() -> None:
    start = strained_copper()
    found = relax_cell(start, EMT(), free=(0, 0, 1, 0, 0, 0))
    before, after = start.lattice.matrix, found.structure.lattice.matrix
    assert np.allclose(before[:, :2], after[:, :2], atol=1e-9)
    assert not np.allclose(before[:, 2], after[:, 2], atol=1e-3)


def test_what_does_not_relax_and_left_handed_cells_are_refused() -> None:
    start = strained_copper()
    with pytest.raises(NotConvergedError, match="did not relax in 3 calls"):
        relax_cell(start, EMT(), max_calls=3)
    left = Structure(start.lattice.matrix[[1, 0, 2]], start.species, start.frac_coords[:, [1, 0, 2]])
    with pytest.raises(StructureError, match="left-handed"):
        relax_cell(left, EMT())


@pytest.mark.parametrize(
    ("A", "B", "a", "space_group"),
    [("La", "Ga", 3.9, "Pnma"), ("La", "Al", 3.8, "R-3c")],  # both as at room temperature
)
def test_the_lowest_basin_is_that_of_experiment(A: str, B: str, a: float, space_group: str) -> None:
    cell = Supercell(cubic_perovskite(a), [[1, -1, 0], [1, 1, 0], [0, 0, 2]])
    names = {"A": A, "B": B, "X": "O"}
    ideal = Structure(
        Lattice(cell.lattice),
        [names[site] for site in cell.sublattices],
        cell.positions,
        site_properties={"site": list(cell.sublattices)},
    )
    starts = basin_starts(ideal)
    assert set(starts) == {"displaced", "Pnma 1", "R-3c 0", "I4/mcm 0", "I4/mcm 1", "I4/mcm 2"}
    two = {name: starts[name] for name in ("Pnma 1", "R-3c 0")}
    basins = lowest_basin(two, calculator(load_mlip("mlip-chgnet")))
    assert basins.tilts[basins.lowest].space_group == space_group
    assert not basins.failed
    assert basins.n_force_calls < 60


def test_no_start_that_relaxes_is_an_error() -> None:
    with pytest.raises(NotConvergedError, match="did not relax"):
        lowest_basin({"displaced": strained_copper()}, EMT(), max_calls=3)
