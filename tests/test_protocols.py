"""Protocols as data: shipped ones, users' own with a parent, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from hemiec.cli.main import cli
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import inlined, load_dft, load_mlip, load_protocol, protocol_names, read_protocol_file
from hemiec.errors import CampaignError

NAMES = protocol_names()


def test_every_shipped_protocol_loads_and_says_what_it_is_for() -> None:
    assert {"gpaw-fast", "gpaw-standard", "gpaw-precise", "mlip-7net-0", "mlip-chgnet"} <= set(NAMES)
    assert {"vasp-mp", "vasp-r2scan", "vasp-hse-gap", "gpaw-gllbsc-gap"} <= set(NAMES)
    assert sorted(protocol_names("gpaw") + protocol_names("mlip") + protocol_names("vasp")) == NAMES
    for name in NAMES:
        protocol = load_protocol(name)
        assert protocol.name == protocol.reference == name
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
    seen = {protocol.hash}
    paths = [p for p in leaves(protocol.model_dump()) if p[0] not in ("thermo", "resources", "walltime_h")]
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
    for escape in ("../protocols/gpaw-fast", "gpaw-fast.yaml", "", "/etc/passwd"):
        with pytest.raises(CampaignError, match="unknown protocol"):
            load_protocol(escape)


def test_a_protocol_of_the_wrong_engine_is_refused() -> None:
    with pytest.raises(CampaignError, match=r"'gpaw-fast' is not a machine-learned potential; use one of mlip-7net-0"):
        load_mlip("gpaw-fast")
    with pytest.raises(CampaignError, match=r"'mlip-chgnet' has no electrons; use one of gpaw-"):
        load_dft("mlip-chgnet")


def test_a_child_says_only_what_differs_from_its_parent() -> None:
    parent = load_dft("gpaw-fast")
    child = load_dft(
        {
            "parent": "gpaw-fast",
            "name": "co-u4",
            "hubbard_u": {"Co": {"value_eV": 4.0}, "Ni": None},
            "cutoff_eV": 450,
        }
    )
    assert child.hubbard_u["Co"].value_eV == 4.0 and child.hubbard_u["Co"].orbital == "d"
    assert "Ni" not in child.hubbard_u and child.hubbard_u["Fe"] == parent.hubbard_u["Fe"]
    assert child.hash != parent.hash and child.spin == parent.spin


def test_a_child_that_changes_nothing_computes_the_same() -> None:
    assert load_protocol({"parent": "gpaw-fast", "name": "mine"}).hash == load_protocol("gpaw-fast").hash


def test_jobs_of_a_users_protocol_carry_all_of_it() -> None:
    child = load_protocol({"parent": "gpaw-fast", "name": "co-u4", "cutoff_eV": 450})
    assert isinstance(child.reference, dict) and "parent" not in child.reference
    assert load_protocol(child.reference) == child


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"parent": "gpaw-fast", "name": "x", "cutof_eV": 300}, r"unknown key 'cutof_eV'; did you mean 'cutoff_eV'"),
        ({"parent": "gpaw-fst", "name": "x"}, r"unknown protocol 'gpaw-fst'; did you mean 'gpaw-fast'"),
        ({"parent": "gpaw-fast"}, r"'name' is missing"),
        ({"parent": "gpaw-fast", "name": "gpaw-standard"}, r"'gpaw-standard' is a shipped protocol"),
        ({"parent": ["gpaw-fast"], "name": "x"}, r"'parent': expected the name of a shipped protocol"),
        ({"name": "x"}, r"'engine': expected one of mlip, gpaw, vasp"),
        ({"parent": "gpaw-fast", "name": "x", "cutoff_eV": float("nan")}, r"cutoff_eV"),
        ({"parent": "gpaw-fast", "name": "x", "hubbard_u": {"Co": {"value_eV": -1}}}, r"hubbard_u\.Co\.value_eV"),
        ({"parent": "gpaw-fast", "name": "x", "spin": {"starts": ["sideways"]}}, r"spin\.starts"),
        ({"parent": "mlip-chgnet", "name": "x", "relax": {"fmax_eV_per_A": -1}}, r"relax\.fmax_eV_per_A"),
    ],
)
def test_nonsense_is_refused_with_the_field(content: dict[str, Any], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        load_protocol(content, where="p.yaml")


def test_a_file_takes_the_place_of_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nparent: gpaw-fast\ncutoff_eV: 450\n")
    assert inlined("mine.yaml", tmp_path, where="c.yaml") == {"name": "mine", "parent": "gpaw-fast", "cutoff_eV": 450}
    assert inlined("gpaw-fast", tmp_path, where="c.yaml") == "gpaw-fast" and inlined(None, tmp_path, where="") is None
    with pytest.raises(CampaignError, match="no such file"):
        inlined("other.yaml", tmp_path, where="c.yaml")
    with pytest.raises(CampaignError, match="unknown protocol"):
        inlined("other", tmp_path, where="c.yaml")
    (tmp_path / "twice.yaml").write_text("name: mine\nname: other\nparent: gpaw-fast\n")
    with pytest.raises(CampaignError, match="given twice"):
        read_protocol_file(tmp_path / "twice.yaml")


def test_dft_protocols_share_the_materials_projects_hubbard_parameters() -> None:
    expected = {"V": 3.25, "Cr": 3.7, "Mn": 3.9, "Fe": 5.3, "Co": 3.32, "Ni": 6.2, "Mo": 4.38, "W": 6.2}
    for name in ("gpaw-fast", "gpaw-standard", "gpaw-precise", "vasp-mp"):
        # eV (doi:10.1103/PhysRevB.84.045115)
        assert {s: u.value_eV for s, u in load_dft(name).hubbard_u.items()} == expected


def test_the_command_lists_prints_and_checks(tmp_path: Path) -> None:
    listed = CliRunner().invoke(cli, ["protocols"])
    assert listed.exit_code == 0 and all(name in listed.output for name in NAMES)
    printed = CliRunner().invoke(cli, ["protocols", "gpaw-fast"])
    content = yaml.safe_load(printed.output)
    assert content["cutoff_eV"] == 400 and "parent" not in content
    (tmp_path / "mine.yaml").write_text(printed.output.replace("name: gpaw-fast", "name: mine"))
    assert CliRunner().invoke(cli, ["protocols", str(tmp_path / "mine.yaml"), "--json"]).exit_code == 0
