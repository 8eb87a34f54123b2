"""Gaps with the derivative discontinuity, and the datasets made for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpaw
import pytest
from gpaw import cgpaw
from pymatgen.core import Lattice, Structure

from hemiec.engines.gpaw import datasets
from hemiec.engines.gpaw.gllbsc import compute_gllbsc_gap, require_libxc
from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.protocol import load_dft
from hemiec.errors import EngineError
from hemiec.schemas.calculations import CalculationDoc, ElectronicStructure

pytestmark = pytest.mark.gpaw
needs_libxc = pytest.mark.skipif(
    not hasattr(cgpaw, "lxcXCFuncNum"), reason="GPAW was built without libxc: apt-get install libxc-dev, rebuild"
)


def protocol(**changes: Any) -> GpawProtocol:
    coarse = {
        "cutoff_eV": 400,
        "kpoint_spacing_per_A": 0.9,
        "check_kpoint_spacing_per_A": None,
        "band_edge_points": [[0, 0, 0]],
    }
    found = load_dft({"parent": "gpaw-gllbsc-gap", "name": "coarse", **coarse, **changes})
    assert isinstance(found, GpawProtocol)
    return found


def primitive(space_group: str, a: float, species: list[str], points: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(space_group, Lattice.cubic(a), species, points).get_primitive_structure()


DIAMOND = primitive("Fd-3m", 3.567, ["C"], [[0, 0, 0]])
MAGNESIA = primitive("Fm-3m", 4.212, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CUBIC = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]


def perovskite(a: float, first: str, second: str) -> Structure:
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(a), [first, second, "O"], CUBIC)


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HEMIEC_DATA_DIR", str(tmp_path))
    before = list(gpaw.setup_paths)
    yield
    gpaw.setup_paths[:] = before


def electronic(doc: CalculationDoc) -> ElectronicStructure:
    assert doc.electronic is not None
    return doc.electronic


@pytest.fixture(scope="module")
def diamond(tmp_path_factory: pytest.TempPathFactory) -> CalculationDoc:
    # The conduction minimum of diamond lies at three quarters of the way to X.
    settings = protocol(kpoint_spacing_per_A=0.78, band_edge_points=[[0, 0, 0], [0.375, 0, 0.375]])
    return compute_gllbsc_gap(DIAMOND, settings, folder=tmp_path_factory.mktemp("diamond"))


@needs_libxc
def test_diamond_has_the_published_gap(diamond: CalculationDoc) -> None:
    found = electronic(diamond)
    assert found.derivative_discontinuity is not None
    # Kohn-Sham 4.14 eV, with the discontinuity 5.41 eV: doi:10.1103/PhysRevB.82.115106.
    assert found.band_gap - found.derivative_discontinuity == pytest.approx(4.14, abs=0.1)
    assert found.band_gap == pytest.approx(5.41, abs=0.1)


@needs_libxc
def test_band_edges_are_eigenvalues_and_the_gap_holds_the_jump(diamond: CalculationDoc) -> None:
    found = electronic(diamond)
    assert found.conduction_band_minimum is not None
    assert found.valence_band_maximum is not None
    assert found.derivative_discontinuity is not None
    assert found.direct_gap is not None
    kohn_sham = found.conduction_band_minimum - found.valence_band_maximum
    assert found.band_gap == pytest.approx(kohn_sham + found.derivative_discontinuity)
    # Diamond is indirect.
    assert found.direct_gap > found.band_gap + 1
    assert not found.is_metal
    assert not found.spin_polarised
    assert found.oxygen_2p_center is None
    assert diamond.functional == "GLLBSC"
    assert diamond.attempts[-1].converged
    assert len(diamond.attempts[-1].energies) == diamond.attempts[-1].n_iterations
    assert Path(diamond.files["output"]).exists()


@needs_libxc
def test_two_spins_without_moments_are_one(tmp_path: Path) -> None:
    one = electronic(compute_gllbsc_gap(MAGNESIA, protocol(kpoint_spacing_per_A=1.6), folder=tmp_path))
    cell = MAGNESIA.copy(site_properties={"magmom": [0.5, -0.5]})
    settings = protocol(kpoint_spacing_per_A=1.6)
    two = electronic(compute_gllbsc_gap(cell, settings, start="given", folder=tmp_path))
    assert two.spin_polarised
    assert two.site_moments == pytest.approx([0, 0], abs=0.01)
    assert two.band_gap == pytest.approx(one.band_gap, abs=0.01)
    assert two.derivative_discontinuity == pytest.approx(one.derivative_discontinuity, abs=0.01)


@needs_libxc
def test_metals_have_no_discontinuity(tmp_path: Path) -> None:
    aluminium = primitive("Fm-3m", 4.05, ["Al"], [[0, 0, 0]])
    found = electronic(compute_gllbsc_gap(aluminium, protocol(), folder=tmp_path))
    assert found.is_metal
    assert found.band_gap == 0
    assert found.derivative_discontinuity is None
    assert found.dos_at_fermi_level is not None
    assert found.dos_at_fermi_level > 0.1


@needs_libxc
def test_denser_mesh_is_a_check_of_the_gap(tmp_path: Path) -> None:
    settings = protocol(kpoint_spacing_per_A=1.6, check_kpoint_spacing_per_A=1.0, band_edge_points=[])
    found = electronic(compute_gllbsc_gap(DIAMOND, settings, folder=tmp_path))
    assert found.kpoint_check is not None
    assert found.kpoint_check.kpoint_mesh > found.kpoint_mesh
    assert found.kpoint_check.band_gap == pytest.approx(found.band_gap)


@needs_libxc
@pytest.mark.parametrize("start", ["ferromagnetic", None])
def test_net_moments_are_refused(start: str | None) -> None:
    with pytest.raises(EngineError, match=r"half of the electrons|antiferromagnets only"):
        compute_gllbsc_gap(perovskite(3.88, "La", "Cr"), protocol(), start=start)


def test_without_libxc_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cgpaw, "lxcXCFuncNum", raising=False)
    with pytest.raises(EngineError, match="libxc-dev"):
        require_libxc()


def test_shipped_datasets_are_left_alone() -> None:
    assert datasets.ensure_datasets(["Mg", "O", "Sr", "Ti"], "GLLBSC") == {}
    assert not datasets.dataset_folder().exists()


@needs_libxc
def test_a_generated_dataset_is_checked_kept_and_hashed() -> None:
    record = datasets.ensure_datasets(["La", "O"], "GLLBSC")["La"]
    path = datasets.dataset_folder() / "La.GLLBSC"
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.eigenvalue_error_eV < datasets.EIGENVALUE_TOLERANCE
    # Without 4f states the empty bands of lanthanum oxides are too low.
    assert '"La-4f"' in path.read_text()
    before = path.stat().st_mtime_ns
    assert datasets.ensure_datasets(["La"], "GLLBSC") == {"La": record}
    assert path.stat().st_mtime_ns == before
    path.write_text(path.read_text() + "\n")
    with pytest.raises(EngineError, match="not the dataset that was generated"):
        datasets.ensure_datasets(["La"], "GLLBSC")


@needs_libxc
def test_a_ghost_state_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ghostly = {"core": "[Kr]4d", "rcut": [2.3, 2.0, 1.9], "vbar": ("f", 1.9)}
    monkeypatch.setitem(datasets.PARAMETERS, "La", ghostly)
    with pytest.raises(EngineError, match="Ghost"):
        datasets.ensure_datasets(["La"], "GLLBSC")
    assert not (datasets.dataset_folder() / "La.GLLBSC").exists()


def test_elements_without_parameters_are_refused() -> None:
    with pytest.raises(EngineError, match="no GLLBSC dataset of Ce"):
        datasets.ensure_datasets(["Ce"], "GLLBSC")
