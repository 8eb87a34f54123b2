"""Phases of the Materials Project as reference phases, from a stand-in for its client: there is no network here."""

from __future__ import annotations

import builtins
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from hemiec.errors import HemiecError, InputError, ThermoError
from hemiec.thermo.references.materials_project import as_phase, materials_project_phases
from hemiec.thermo.references.table import ReferencePhase, all_phases

KNOWN = {phase.phase_id: phase for phase in all_phases()}


class StandIn:
    """Answers like ``MPRester``; ``asked`` holds the keywords of every request."""

    def __init__(self, **structures: Structure) -> None:
        self.structures = {name.replace("_", "-"): structure for name, structure in structures.items()}
        self.asked: list[dict[str, Any]] = []
        self.materials = SimpleNamespace(summary=SimpleNamespace(search=self._search))

    def _search(self, **wanted: Any) -> list[Any]:
        self.asked.append(wanted)
        return [
            SimpleNamespace(material_id=name, structure=structure, energy_above_hull=0.0)
            for name, structure in self.structures.items()
            if structure.composition.chemical_system in wanted["chemsys"]
        ]


def _wurtzite_like() -> Structure:
    """Return a phase that no table has: CoO as wurtzite."""
    sites = [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]]
    return Structure.from_spacegroup(186, Lattice.hexagonal(3.24, 5.2), ["Co", "O"], sites)


def test_what_is_new_becomes_a_phase_and_what_is_tabulated_is_named() -> None:
    stretched = KNOWN["CoO-rocksalt"].structure()
    stretched.scale_lattice(1.1 * stretched.volume)
    client = StandIn(mp_1=_wurtzite_like(), mp_2=stretched, mp_3=KNOWN["Co3O4-spinel"].structure())
    found = materials_project_phases({"Co", "O", "La"}, client=client)
    assert [phase.phase_id for phase in found.phases] == ["CoO-mp-1"]
    assert found.tabulated == {"mp-2": "CoO-rocksalt", "mp-3": "Co3O4-spinel"}
    (phase,) = found.phases
    assert (phase.space_group, phase.primitive_atoms, phase.oxidation_state) == (186, 4, 2.0)
    assert StructureMatcher(scale=False).fit(phase.structure(), _wurtzite_like())


def test_every_subsystem_is_asked_for_once_within_the_limits() -> None:
    client = StandIn()
    materials_project_phases({"Co", "O", "La", "Sr", "Ba", "Li", "Nd"}, client=client, max_energy_above_hull=0.05)
    systems = [system for request in client.asked for system in request["chemsys"]]
    assert len(systems) == len(set(systems)) == 2**7 - 1
    assert all(system == "-".join(sorted(system.split("-"))) for system in systems)
    assert all(request["energy_above_hull"] == (0, 0.05) for request in client.asked)
    assert all(len(request["chemsys"]) <= 60 for request in client.asked)


def test_large_cells_and_solid_oxygen_are_left_out_with_the_reason() -> None:
    large = Structure(Lattice.cubic(9), ["Co"] * 9, np.random.default_rng(0).random((9, 3)))
    oxygen = Structure(Lattice.cubic(4), ["O", "O"], [[0, 0, 0], [0.3, 0, 0]])
    found = materials_project_phases({"Co", "O"}, client=StandIn(mp_4=large, mp_5=oxygen), max_atoms=8)
    assert found.phases == []
    assert found.left_out == {"mp-4": "Co: 9 atoms, more than 8", "mp-5": "solid O2: the molecule is the reference"}


@pytest.mark.parametrize(
    "name",
    [
        "LaFeO3-orthorhombic-perovskite",
        "Ca3Co2O6-Ca3Co2O6-type",
        "La2Zr2O7-pyrochlore",
        "V2O5-layered",
        "Bi2O3-alpha-monoclinic",
    ],
)
def test_any_structure_comes_back_as_it_was(name: str) -> None:
    structure = KNOWN[name].structure()
    turned = Structure.from_sites(structure.sites[::-1])
    turned.translate_sites(range(len(turned)), [0.11, 0.07, 0.23])
    phase = as_phase(turned, "mp-6", "test")
    assert StructureMatcher(primitive_cell=False, scale=False).fit(phase.structure(), structure)
    assert phase.structure().volume == pytest.approx(structure.volume, rel=1e-4)
    assert phase.phase_id.endswith("-mp-6")
    assert ReferencePhase.model_validate(phase.model_dump(mode="json")) == phase


def test_a_cell_without_symmetry_lists_all_its_atoms() -> None:
    structure = _wurtzite_like() * (2, 1, 1)
    structure.perturb(0.1)
    phase = as_phase(structure, "mp-7", "test")
    assert phase.space_group == 1
    assert len(phase.sites) == 8


def test_partly_occupied_sites_are_refused() -> None:
    structure = Structure(Lattice.cubic(4), [{"La": 0.5, "Sr": 0.5}], [[0, 0, 0]])
    with pytest.raises(ThermoError, match="partly occupied"):
        as_phase(structure, "mp-8", "test")


@pytest.mark.parametrize(
    ("elements", "message"),
    [({"Xx"}, "expected symbols of elements, got Xx"), (set(), "got none"), (set("HBCNOFPSKVI"), "at most 10")],
)
def test_wrong_elements_are_refused(elements: set[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        materials_project_phases(elements, client=StandIn())


def test_without_a_key_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(HemiecError, match="no key for the Materials Project") as error:
        materials_project_phases({"Co", "O"})
    assert "MP_API_KEY" in (error.value.mend or "")


def test_without_its_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("mp_api"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(HemiecError, match="mp-api is not installed") as error:
        materials_project_phases({"Co", "O"}, api_key="k" * 32)
    assert error.value.mend == "pip install 'hemiec[mp]'"


def test_no_network_is_one_line_and_does_not_tell_the_key() -> None:
    class Broken(StandIn):
        def _search(self, **wanted: Any) -> list[Any]:
            raise ConnectionError("Max retries exceeded\nwith many lines")

    with pytest.raises(HemiecError, match="did not answer: Max retries exceeded") as error:
        materials_project_phases({"Co"}, api_key="secretsecret", client=Broken())
    assert "\n" not in error.value.message and "secretsecret" not in str(error.value)
