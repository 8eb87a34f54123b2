"""The patterns that are shipped with the package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.schemas.campaign import SqsSettings
from hemiec.structures.sqs import make_sqs
from hemiec.structures.templates import ENGINE_VERSION, TemplateKey, problem

STORED: dict[str, Any] = json.loads(files("hemiec.structures").joinpath("templates.json").read_text())


def key_of(stored: dict[str, Any]) -> TemplateKey:
    content = dict(stored["key"])
    content["amounts"] = tuple((site, tuple(amounts)) for site, amounts in content["amounts"])
    return TemplateKey(**content)


def test_they_belong_to_this_engine() -> None:
    assert STORED["engine"] == ENGINE_VERSION
    assert len(STORED["templates"]) > 50
    for name, stored in STORED["templates"].items():
        assert key_of(stored).name == name


@pytest.mark.parametrize("name", sorted(STORED["templates"])[::5])
def test_each_holds_its_amounts_and_has_the_error_it_claims(name: str) -> None:
    stored = STORED["templates"][name]
    key = key_of(stored)
    amounts = [n for _, species in key.amounts for n in species]
    errors = [pattern["error"] for pattern in stored["patterns"]]
    assert errors == sorted(errors)
    for pattern in (stored["patterns"][0], stored["patterns"][-1]):
        occupation = np.frombuffer(bytes.fromhex(pattern["occupation"]), dtype=np.uint8).astype(np.int64)
        assert np.bincount(occupation, minlength=len(amounts)).tolist() == amounts
        rows = tuple(tuple(row) for row in pattern["rows"])
        solved = problem(rows, key.amounts)  # type: ignore[arg-type]
        assert solved.supercell.n_units == key.n_units
        assert solved.error(occupation) == pytest.approx(pattern["error"], abs=1e-8)


def test_five_cations_on_a_hundred_atoms_come_from_the_package_at_any_quality() -> None:
    sites: dict[str, dict[str, object]] = {"A": dict.fromkeys(("La", "Pr", "Nd", "Sr", "Ba"), "1/5"), "B": {"Co": 1}}
    candidate = make_candidate(sites, DEFAULT_OXIDATION_STATES)
    for quality in ("fast", "best"):
        member = make_sqs(candidate, SqsSettings(max_atoms=100, quality=quality)).members[0]
        assert member.origin == "shipped"
        assert member.warren_cowley_rms == pytest.approx(0.132583, abs=1e-6)
