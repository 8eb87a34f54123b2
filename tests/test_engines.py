"""Protocols as data, band edges, meshes, and one real band gap."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from hemiec.engines.gpaw import BandEdges, band_edges, compute_gap, kpoint_mesh, refuse_open_shells
from hemiec.engines.protocol import (
    GpawProtocol,
    MlipProtocol,
    load_gpaw,
    load_mlip,
    load_protocol,
    protocol_names,
)
from hemiec.errors import CampaignError, EngineError

NAMES = protocol_names()


def srtio3(a: float = 3.905) -> Structure:
    sites = [(0.5, 0.5, 0.5), (0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]
    return Structure(Lattice.cubic(a), ["Sr", "Ti", "O", "O", "O"], sites)


# Protocols


def test_every_shipped_protocol_loads_and_says_what_it_is_for() -> None:
    assert NAMES == ["gpaw-fast", "gpaw-standard", "mlip-7net-0", "mlip-chgnet"]
    assert protocol_names("gpaw") + protocol_names("mlip") == NAMES
    for name in NAMES:
        protocol = load_protocol(name)
        assert protocol.name == name
        assert min(len(protocol.purpose), len(protocol.cost), len(protocol.source)) > 10
        assert re.fullmatch(r"[0-9a-f]{12}", protocol.hash)
    assert len({load_protocol(name).hash for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_prose_is_not_in_the_hash(name: str) -> None:
    protocol = load_protocol(name)
    renamed = protocol.model_copy(update={"name": "other", "purpose": "x", "cost": "y", "source": "z"})
    assert renamed.hash == protocol.hash


def leaves(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all numbers in nested dicts and lists."""
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        return [p for k, v in items for p in leaves(v, (*path, k))]
    return [path] if isinstance(content, int | float) and not isinstance(content, bool) else []


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_the_physics_is_in_the_hash(name: str) -> None:
    protocol = load_protocol(name)
    content = protocol.model_dump()
    seen = {protocol.hash}
    paths = [p for p in leaves(content) if p[0] != "thermo"]
    assert len(paths) >= 5
    for path in paths:
        changed = protocol.model_dump()
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] += 1
        seen.add(type(protocol).model_validate(changed).hash)
    assert len(seen) == len(paths) + 1


def test_what_the_builder_does_with_finished_energies_is_not_in_the_hash() -> None:
    protocol = load_mlip("mlip-chgnet")
    content = protocol.model_dump()
    content["thermo"]["o2_correction_eV_per_O"] = 9.0
    assert MlipProtocol.model_validate(content).hash == protocol.hash


def test_unknown_protocols_are_corrected() -> None:
    with pytest.raises(CampaignError, match=r"f\.yaml: unknown protocol 'mlip-chgnt'; did you mean 'mlip-chgnet'\?"):
        load_protocol("mlip-chgnt", where="f.yaml")
    with pytest.raises(CampaignError, match="use one of: gpaw-fast"):
        load_protocol("vasp")
    for escape in ("../protocols/gpaw-fast", "gpaw-fast.yaml", "", "/etc/passwd"):
        with pytest.raises(CampaignError, match="unknown protocol"):
            load_protocol(escape)


def test_a_protocol_of_the_wrong_engine_is_refused() -> None:
    with pytest.raises(CampaignError, match=r"'gpaw-fast' cannot relax .*use one of mlip-7net-0, mlip-chgnet"):
        load_mlip("gpaw-fast")
    with pytest.raises(CampaignError, match=r"'mlip-chgnet' cannot compute band gaps; use one of gpaw-fast"):
        load_gpaw("mlip-chgnet")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keys_and_nonsense_are_refused(name: str) -> None:
    content = yaml.safe_load((resources.files("hemiec.engines") / "protocols" / f"{name}.yaml").read_text())
    model: type[GpawProtocol] | type[MlipProtocol] = GpawProtocol if name.startswith("gpaw") else MlipProtocol
    model.model_validate(content)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate(content | {"cutof_eV": 400})
    bad: dict[str, Any] = (
        {"cutoff_eV": float("nan")} if model is GpawProtocol else {"relax": content["relax"] | {"fmax_eV_per_A": -1}}
    )
    with pytest.raises(ValidationError):
        model.model_validate(content | bad)


def test_both_gpaw_protocols_share_their_hubbard_parameters() -> None:
    fast, standard = load_gpaw("gpaw-fast"), load_gpaw("gpaw-standard")
    assert fast.hubbard_u == standard.hubbard_u
    # Materials Project values, eV (doi:10.1103/PhysRevB.84.045115)
    assert {s: u.value_eV for s, u in fast.hubbard_u.items()} == {
        "V": 3.25, "Cr": 3.7, "Mn": 3.9, "Fe": 5.3, "Co": 3.32, "Ni": 6.2, "Mo": 4.38, "W": 6.2,
    }  # fmt: skip


# Band edges


def spins(*channels: list[list[float]]) -> np.ndarray:
    return np.array(channels, dtype=float)


def test_an_insulator_has_its_edges_at_different_kpoints() -> None:
    # shape (1 spin, 2 k-points, 3 bands); the top is at the first, the bottom at the second k-point
    edges = band_edges(spins([[-3, -1.0, 2.0], [-3, -1.5, 1.0]]), 0.0)
    assert edges == BandEdges(-1.0, 1.0, 2.5, (2,))
    assert edges.gap == 2.0
    assert edges.gap <= edges.direct_gap


def test_a_metal_has_no_edges() -> None:
    assert band_edges(spins([[-1, 0.5], [-1, -0.5]]), 0.0) is None  # the second band crosses
    assert band_edges(spins([[-1, 1], [-1, 1]], [[-1, 0.5], [-1, -0.5]]), 0.0) is None  # in one spin: half-metal


def test_a_gap_may_lie_between_spins() -> None:
    up, down = [[-2.0, -1.0, 3.0]], [[-2.0, 0.5, 4.0]]
    edges = band_edges(spins(up, down), 0.0)
    assert edges is not None
    assert edges.n_occupied == (2, 1)  # one Bohr magneton
    assert edges.gap == pytest.approx(0.5 - -1.0)
    assert band_edges(spins(down, up), 0.0).gap == edges.gap  # type: ignore[union-attr]


def test_an_empty_spin_channel_has_no_valence_band() -> None:
    edges = band_edges(spins([[-1.0, 2.0]], [[0.5, 3.0]]), 0.0)
    assert edges == BandEdges(-1.0, 0.5, 1.5, (1, 0))


def test_without_an_empty_band_nothing_is_claimed() -> None:
    with pytest.raises(EngineError, match="no empty band"):
        band_edges(spins([[-2.0, -1.0]]), 0.0)


def test_a_known_filling_replaces_the_fermi_level() -> None:
    values = spins([[-1.0, 2.0], [-0.5, 1.0]])
    assert band_edges(values, 99.0, [1]) == BandEdges(-0.5, 1.0, 1.5, (1,))
    assert band_edges(spins([[-1.0, 2.0], [3.0, 4.0]]), 99.0, [1]) is None  # bands overlap: a metal


def test_shifting_all_eigenvalues_shifts_the_edges_alone() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(2, 4, 6)), axis=2)
    values[..., 3:] += 5
    edges, shifted = band_edges(values, 2.5), band_edges(values + 7, 9.5)
    assert edges is not None
    assert shifted is not None
    assert shifted.valence_maximum == pytest.approx(edges.valence_maximum + 7)
    assert (shifted.gap, shifted.direct_gap) == pytest.approx((edges.gap, edges.direct_gap))


def test_merging_kpoint_sets_equals_their_union() -> None:
    values = np.sort(np.random.default_rng(1).normal(size=(2, 6, 4)), axis=2)
    values[..., 2:] += 6
    whole = band_edges(values, 3.0)
    one, two = band_edges(values[:, :2], 3.0), band_edges(values[:, 2:], 3.0)
    assert one is not None
    assert two is not None
    assert one.merge(two) == two.merge(one) == whole


# Meshes


@pytest.mark.parametrize(
    ("spacing", "mesh"), [(0.41, (4, 4, 4)), (0.66, (3, 3, 3)), (2.0, (1, 1, 1)), (2 * np.pi / 3.905 / 2, (2, 2, 2))]
)
def test_meshes_of_strontium_titanate(spacing: float, mesh: tuple[int, int, int]) -> None:
    assert kpoint_mesh(srtio3(), spacing) == mesh


def test_the_protocols_give_the_meshes_they_promise() -> None:
    assert kpoint_mesh(srtio3(), load_gpaw("gpaw-standard").kpoint_spacing_per_A) == (4, 4, 4)
    long = srtio3().make_supercell([1, 1, 4], in_place=False)
    assert kpoint_mesh(long, 0.41) == (4, 4, 1)
    assert kpoint_mesh(long, 0.40) == (5, 5, 2)


# Open shells


def test_open_shells_are_refused_by_name() -> None:
    protocol = load_gpaw("gpaw-fast")
    refuse_open_shells(["La", "Lu", "Ce", "Y", "Co", "O"], protocol)
    with pytest.raises(EngineError, match=r"gpaw-fast does not treat Nd, Pr: .*protocols: \{gap: null\}"):
        refuse_open_shells(["Pr", "Nd", "La", "Nd", "O"], protocol)


# GPAW itself


@pytest.mark.gpaw
@pytest.mark.slow
def test_the_gap_of_strontium_titanate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    doc = compute_gap(srtio3(), load_gpaw("gpaw-standard"))
    assert doc.band_gap == pytest.approx(1.90, abs=0.05)  # values.json: PBE, indirect
    assert doc.kpoint_mesh == [4, 4, 4]
    assert not doc.is_metal
    assert doc.direct_gap is not None
    assert doc.direct_gap > doc.band_gap
    assert doc.conduction_band_minimum - doc.valence_band_maximum == pytest.approx(doc.band_gap)  # type: ignore[operator]
    assert doc.total_moment == pytest.approx(0, abs=1e-3)
    assert doc.hubbard_u == {}
    assert doc.attempts[-1].converged
    assert set(doc.datasets) == {"Sr", "Ti", "O"}
    assert Structure.from_dict(doc.structure) == srtio3()
    assert doc.protocol_hash == load_gpaw("gpaw-standard").hash


@pytest.mark.gpaw
def test_gpaw_is_not_started_for_elements_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nickelate = srtio3()
    nickelate.replace(0, "Nd")
    with pytest.raises(EngineError, match="does not treat Nd"):
        compute_gap(nickelate, load_gpaw("gpaw-fast"))
    assert not list(tmp_path.iterdir())
