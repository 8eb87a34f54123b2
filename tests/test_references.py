"""Competing phases: the table, its expansion, and the energies that are shipped."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Structure

from hemiec.composition.elements import shannon_radius
from hemiec.engines.protocol import load_mlip
from hemiec.errors import EngineError, ThermoError
from hemiec.launch.doctor import references as doctor
from hemiec.schemas.calculations import CalculationDoc
from hemiec.settings import Settings
from hemiec.thermo.references import shipped
from hemiec.thermo.references.prototypes import Prototype, expand
from hemiec.thermo.references.table import (
    ReferencePhase,
    _table,
    all_phases,
    element_phase,
    phases_within,
    reference_phases,
    required_phases,
)
from hemiec.workflows.identity import jobs_of
from hemiec.workflows.references import ReferenceMaker, reference_uuid

CHGNET = load_mlip("mlip-chgnet")
HASH = CHGNET.hash_of("relax")
TABLE = _table("competing_phases")
PROTOTYPES = [Prototype.model_validate(entry) for entry in TABLE["prototypes"]]
BY_ID = {phase.phase_id: phase for phase in all_phases()}


@cache
def built(name: str) -> tuple[ReferencePhase, Structure]:
    """Return a phase of a prototype with all of its roles, and its structure; cubic ones take half a second each."""
    phase = max((p for p in all_phases() if p.phase == name), key=lambda p: len(p.elements))
    return phase, phase.structure()


# The table


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda p: p.name)
def test_a_prototype_makes_the_structure_that_it_states(prototype: Prototype) -> None:
    phase, structure = built(prototype.name)
    assert len(structure) == prototype.primitive_atoms
    assert structure.composition.reduced_composition == Composition(phase.formula).reduced_composition
    assert structure.get_space_group_info(symprec=1e-3)[1] == prototype.space_group
    distances = structure.distance_matrix + 99 * np.eye(len(structure))
    assert 1.5 < min(distances.min(), *structure.lattice.abc) < 4
    if "O" in phase.elements:
        oxygen = [i for i, site in enumerate(structure) if site.specie.symbol == "O"]
        assert distances[np.ix_(oxygen, oxygen)].min() > 2.2


def test_prototypes_that_pymatgen_ships_are_those() -> None:
    from pymatgen.analysis.prototypes._data import AFLOW_PROTOTYPE_LIBRARY

    labels = {prototype.aflow: prototype.name for prototype in PROTOTYPES if prototype.aflow}
    assert len(labels) >= 12
    # The polar perovskite and zircon keep the free coordinates of BaTiO3 and YVO4.
    matcher = StructureMatcher(ltol=0.3, stol=0.4, angle_tol=8)
    matched = set()
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        label = entry["tags"]["aflow"]
        if label in labels and matcher.fit_anonymous(built(labels[label])[1], entry["snl"].structure):
            matched.add(label)
    assert matched == set(labels)


def test_radii_are_shannons() -> None:
    for ion, radius in TABLE["radii"].items():
        assert radius == pytest.approx(shannon_radius(ion[:-1], int(ion[-1]), 6), abs=1e-6), ion


def test_the_parent_keeps_its_lattice_and_larger_ions_have_a_larger_one() -> None:
    parent = BY_ID["SrTiO3-cubic-perovskite"]
    assert parent.lattice[0] == 3.905
    # BaZrO3: 4.19 angstrom (Wyckoff, Crystal Structures); CaTiO3's ideal cell would have 3.84.
    assert BY_ID["BaZrO3-cubic-perovskite"].lattice[0] == pytest.approx(4.19, abs=0.1)
    assert BY_ID["CaTiO3-cubic-perovskite"].lattice[0] == pytest.approx(3.84, abs=0.1)


def test_every_phase_has_its_own_name_and_says_its_elements() -> None:
    assert len(BY_ID) == len(all_phases())
    for name, phase in BY_ID.items():
        formula = Composition(name.split("-")[0])
        assert {e.symbol for e in formula} == phase.elements
        assert all(n == int(n) for n in formula.values())


@pytest.mark.parametrize(
    "formulas",
    [
        "SrTiO3 CaTiO3 LaCoO3 BaCoO3 FeTiO3 LiNbO3 BiFeO3",
        "La2CoO4 Sr2TiO4 Nd2CuO4 LaSrCoO4 Sr3Fe2O7 La4Ni3O10 Sr2Co2O5 Ca2Fe2O5 PrBaCo2O5",
        "LiMn2O4 CoFe2O4 NiFe2O4 LiCoO2 LiNiO2 LiFeO2 Li2MnO3 Li2ZrO3 Li2CuO2 Li6CoO4 LiLaO2 LiYO2",
        "La2Zr2O7 Y3Al5O12 CaFe2O4 SrLa2O4 Li7La3Zr2O12 Li2O2 SrO2 BaO2 PrO2 CoO2 Mn3O4 SrF2 F2 Cl2",
    ],
)
def test_what_competes_with_perovskites_is_there(formulas: str) -> None:
    known = {frozenset(Composition(phase.formula).reduced_composition.items()) for phase in all_phases()}
    missing = [f for f in formulas.split() if frozenset(Composition(f).reduced_composition.items()) not in known]
    assert not missing


def test_a_system_has_the_phases_of_its_elements_and_no_others() -> None:
    elements = {"La", "Sr", "Co", "O"}
    found = phases_within(elements)
    assert all(phase.elements <= elements for phase in found)
    assert {"La", "O2", "SrO", "Co3O4", "LaCoO3", "SrCoO3", "La2CoO4", "SrLa2O4"} <= {phase.formula for phase in found}
    assert {p.phase_id for p in found} < {p.phase_id for p in phases_within(elements | {"Li"})}
    assert phases_within({"Ne"}) == []


def test_formation_energies_need_no_more_than_before(candidate: Any) -> None:
    c = candidate({"La": "1/2", "Sr": "1/2"}, {"Co": 1})
    assert {p.formula for p in required_phases(c)} == {"La", "Sr", "Co", "O2", "La2O3", "SrO", "Co3O4"}
    elements, oxides = reference_phases()
    assert (len(elements), len(oxides)) == (50, 62)


def test_molecules_are_known_as_such() -> None:
    assert {p.formula for p in all_phases() if p.is_molecule} == {"O2", "F2", "Cl2"}
    assert element_phase("F").formula == "F2"


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ({"prototypes": ["cubic perovskit"], "ions": {"A": ["Sr2"], "B": ["Ti4"]}}, "names the prototype"),
        ({"prototypes": ["cubic perovskite"], "ions": {"A": ["Sr2"]}}, "gives A to roles A, B"),
        ({"prototypes": ["cubic perovskite"], "ions": {"A": ["Sr2"], "B": ["Pu4"]}}, "without a radius: Pu4"),
    ],
)
def test_a_wrong_family_is_refused(family: dict[str, Any], message: str) -> None:
    with pytest.raises(ThermoError, match=message):
        list(expand(TABLE | {"families": [family]}))


def test_formulas_take_no_brackets() -> None:
    entry = BY_ID["CaFe2O4-calcium-ferrite"].model_dump()
    with pytest.raises(ValueError, match="formula"):
        ReferencePhase.model_validate(entry | {"formula": "Ca(FeO2)2"})


# What is shipped


def test_shipped_outputs_are_those_of_the_jobs_that_would_run() -> None:
    outputs = shipped.shipped_outputs(HASH)
    by_phase = {output["metadata"]["hemiec"]["phase_id"]: output for output in outputs.values()}
    assert len(by_phase) == len(outputs) > 300
    for name, output in by_phase.items():
        assert output["uuid"] == reference_uuid(BY_ID[name], CHGNET)
    for name in ("O2-gas", "La2O3-A-type-sesquioxide", "LiCoO2-layered-rock-salt", "SrTiO3-cubic-perovskite"):
        (job,) = jobs_of(ReferenceMaker(protocol="mlip-chgnet").make(BY_ID[name]))
        output = outputs[job.uuid]
        assert output["name"] == job.name
        assert output["metadata"]["hemiec"] == job.metadata["hemiec"]


def test_shipped_outputs_are_documents_of_finished_relaxations() -> None:
    for output in shipped.shipped_outputs(HASH).values():
        phase = BY_ID[output["metadata"]["hemiec"]["phase_id"]]
        result = CalculationDoc.model_validate(output["output"])
        assert result.converged
        assert result.protocol_hash == HASH
        assert result.energy_per_atom == pytest.approx(result.energy / result.n_atoms)
        assert result.n_atoms == phase.primitive_atoms
        assert result.trajectory is None and result.directory is None
        found = {site["species"][0]["element"] for site in output["output"]["structure"]["sites"]}
        assert found == phase.elements
        datetime.fromisoformat(output["completed_at"])


def test_the_shipped_file_is_small_and_names_no_machine() -> None:
    content = (resources.files("hemiec.thermo.references") / "energies" / "mlip-chgnet.json.gz").read_bytes()
    assert len(content) < 1_000_000
    text = gzip.decompress(content).decode()
    assert "/tmp" not in text and "/home" not in text and "/work" not in text
    assert {"hemiec", "chgnet", "torch", "pymatgen"} <= set(shipped.shipped_versions(HASH))


def test_elements_and_oxides_are_all_shipped() -> None:
    outputs = shipped.shipped_outputs(HASH)
    assert {
        p.phase_id for kind in reference_phases() for p in kind if reference_uuid(p, CHGNET) not in outputs
    } == set()


def test_what_is_not_shipped_is_named_with_the_reason() -> None:
    left_out = shipped.reasons_left_out(HASH)
    assert shipped.not_converging(HASH) == set(left_out)
    assert all(reason for reason in left_out.values())
    outputs = shipped.shipped_outputs(HASH)
    assert not any(reference_uuid(BY_ID[name], CHGNET) in outputs for name in left_out)


def test_relaxed_cells_did_not_collapse() -> None:
    for output in shipped.shipped_outputs(HASH).values():
        phase = BY_ID[output["metadata"]["hemiec"]["phase_id"]]
        if phase.is_molecule or len(phase.elements) < 2:
            continue
        structure = Structure.from_dict(output["output"]["structure"])
        distances = structure.distance_matrix + 99 * np.eye(len(structure))
        assert min(distances.min(), *structure.lattice.abc) > 1.15, phase.phase_id  # O-O of superoxides: 1.28


def test_known_polymorphs_come_in_the_known_order() -> None:
    energy = {
        output["metadata"]["hemiec"]["phase_id"]: output["output"]["energy_per_atom"]
        for output in shipped.shipped_outputs(HASH).values()
    }
    for lower, higher in [
        ("CaTiO3-orthorhombic-perovskite", "CaTiO3-cubic-perovskite"),
        ("BaTiO3-rhombohedral-polar-perovskite", "BaTiO3-cubic-perovskite"),
        ("SrTiO3-tetragonal-tilted-perovskite", "SrTiO3-cubic-perovskite"),
        ("LaFeO3-orthorhombic-perovskite", "LaFeO3-rhombohedral-perovskite"),
        ("LiCoO2-layered-rock-salt", "LiCoO2-tetragonal-rock-salt"),
    ]:
        assert energy[lower] < energy[higher] + 1e-3, lower


def test_another_protocol_has_none() -> None:
    assert shipped.shipped_outputs(load_mlip("mlip-7net-0").hash_of("relax")) == {}
    assert shipped.shipped_versions("0" * 12) == {}
    assert shipped.not_converging("0" * 12) == frozenset()


def _output(**changes: Any) -> dict[str, Any]:
    output = json.loads(json.dumps(next(iter(shipped.shipped_outputs(HASH).values()))))
    return output | {"output": output["output"] | changes}


def test_packing_gives_the_same_bytes_and_refuses_what_does_not_belong() -> None:
    output = _output(directory="/somewhere", trajectory={"frames": []})
    arguments = {"left_out": {"X-y": "fell apart"}, "wanted": [output["uuid"]], "packages": {"pymatgen": "1"}}
    packed = shipped.pack("p", HASH, [output], **arguments)
    assert packed == shipped.pack("p", HASH, [output], **arguments)
    content = json.loads(gzip.decompress(packed))
    assert content["outputs"][0]["output"]["directory"] is None
    assert content["not_converging"] == {"X-y": "fell apart"}
    assert json.loads(gzip.decompress(shipped.pack("p", HASH, [output], **arguments | {"wanted": []})))["outputs"] == []
    for wrong in (_output(converged=False), _output(protocol_hash="0" * 12)):
        with pytest.raises(ThermoError, match="expected a converged relaxation"):
            shipped.pack("p", HASH, [wrong], **arguments)
    other = _output(versions=output["output"]["versions"] | {"chgnet": "0.3.8"})
    with pytest.raises(ThermoError, match="several versions of chgnet"):
        shipped.pack("p", HASH, [output, other], **arguments)


# hemiec doctor


@pytest.mark.mlip
def test_the_doctor_finds_the_installed_model_to_be_that_of_the_shipped_energies() -> None:
    found = doctor.check_references(Settings())
    assert "reference phases by chgnet" in found
    assert f"the same energies of {len(doctor.PROBES)} of them" in found


@pytest.mark.mlip
def test_the_doctor_notices_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        uuid: output | {"output": output["output"] | {"energy_per_atom": output["output"]["energy_per_atom"] + 0.01}}
        for uuid, output in shipped.shipped_outputs(HASH).items()
    }
    monkeypatch.setattr(doctor, "shipped_outputs", lambda name: made)
    with pytest.raises(EngineError, match="differ by 10 meV/atom") as error:
        doctor.check_references(Settings())
    assert "shipped_references: false" in (error.value.mend or "")


def test_the_doctor_notices_another_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "shipped_outputs", lambda name: {})
    with pytest.raises(EngineError, match="no reference energies are shipped for mlip-chgnet as it is now"):
        doctor.check_references(Settings())


def test_other_versions_of_the_model_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped.version_differences("0" * 12) == {}
    monkeypatch.setattr(shipped, "version", lambda package: "9.9")
    assert shipped.version_differences(HASH) == {"chgnet": (shipped.shipped_versions(HASH)["chgnet"], "9.9")}
