"""Protocols as data: shipped ones, users' own, their hashes and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import load_dft, load_mlip, load_protocol, protocol_names
from hemiec.errors import CampaignError

NAMES = protocol_names()


# Protocols


def test_every_shipped_protocol_loads_and_says_what_it_is_for() -> None:
    assert {"gpaw-fast", "gpaw-standard", "gpaw-precise", "gpaw-calibration", "mlip-7net-0", "mlip-chgnet"} <= set(
        NAMES
    )
    assert protocol_names("gpaw") + protocol_names("mlip") + protocol_names("vasp") == NAMES
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
    with pytest.raises(CampaignError, match="use one of: gpaw-calibration"):
        load_protocol("xyzzy")
    for escape in ("../protocols/gpaw-fast", "gpaw-fast.yaml", "", "/etc/passwd"):
        with pytest.raises(CampaignError, match="unknown protocol"):
            load_protocol(escape)


def test_a_protocol_of_the_wrong_engine_is_refused() -> None:
    with pytest.raises(CampaignError, match="'gpaw-fast' is not a machine-learned potential; use one of mlip-7net-0"):
        load_mlip("gpaw-fast")
    with pytest.raises(CampaignError, match="'mlip-chgnet' has no electrons; use one of gpaw-calibration"):
        load_dft("mlip-chgnet")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keys_and_nonsense_are_refused(name: str) -> None:
    protocol = load_protocol(name)
    content, model = protocol.model_dump(mode="json"), type(protocol)
    model.model_validate(content)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate(content | {"cutof_eV": 400})
    bad: dict[type[Any], dict[str, Any]] = {
        GpawProtocol: {"cutoff_eV": float("nan")},
        MlipProtocol: {"relax": {"fmax_eV_per_A": -1, "max_steps": 1, "optimizer": "FIRE"}},
    }
    with pytest.raises(ValidationError):
        model.model_validate(content | bad.get(model, {"functional": "none"}))


def test_a_users_protocol_names_its_parent_and_what_differs() -> None:
    mine = load_dft({"parent": "gpaw-standard", "name": "mine", "cutoff_eV": 700, "hubbard_u": {"Co": None}})
    parent = load_dft("gpaw-standard")
    assert mine.hash != parent.hash
    assert set(parent.hubbard_u) - set(mine.hubbard_u) == {"Co"}
    again = load_protocol(mine.reference)
    assert again.hash == mine.hash
    with pytest.raises(CampaignError, match="key 'cutof_eV'"):
        load_dft({"parent": "gpaw-standard", "name": "mine", "cutof_eV": 700})


def test_gpaw_protocols_share_their_hubbard_parameters() -> None:
    # Materials Project values, eV (doi:10.1103/PhysRevB.84.045115)
    published = {
        "V": 3.25, "Cr": 3.7, "Mn": 3.9, "Fe": 5.3, "Co": 3.32, "Ni": 6.2, "Mo": 4.38, "W": 6.2,
    }  # fmt: skip
    for name in ("gpaw-fast", "gpaw-standard", "gpaw-precise", "gpaw-calibration"):
        assert {s: u.value_eV for s, u in load_dft(name).hubbard_u.items()} == published
