"""Thermodynamics in the builder: what is computed from which phases, why not, and what computes it anew.

Energies are invented: elements between -4 and -8 eV/atom, compounds a little below their mixture.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from datetime import timedelta
from statistics import median
from typing import Any

import pytest
from building import built_hashes, content, database, ids, job, made, rebuilt, settings
from job_outputs import STARTED, finish, made_document, plan_outputs, put, submit_made
from pymatgen.core import Composition

from hemiec.engines.protocol import load_mlip
from hemiec.schemas.documents import NOT_BUILT, PROPERTIES, CandidateDoc, CandidateResult
from hemiec.store.building import cells, thermodynamics
from hemiec.store.building.builder import build, update
from hemiec.store.building.phases import systems_of
from hemiec.store.campaigns import write_header
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database
from hemiec.store.queries.language import compile
from hemiec.thermo.hull.convex import Hull
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.references.table import ReferencePhase, phases_within
from hemiec.workflows.references import reference_record

pytestmark = pytest.mark.store
__all__ = ["database", "made", "settings"]  # fixtures

CHGNET = load_mlip("mlip-chgnet")
LANTHANUM, BARIUM = frozenset({"La", "Sr", "Co", "O"}), frozenset({"Ba", "Sr", "Ti", "O"})


def energy(phase_id: str) -> float:
    """Return an invented energy in eV/atom."""
    amounts = Composition(phase_id.split("-")[0])
    mixture = sum(n * -(4 + 4 * number(e.symbol)) for e, n in amounts.items()) / amounts.num_atoms
    return mixture - (0.0 if len(amounts) == 1 else 0.5 + number(phase_id))


def number(name: str) -> float:
    return uuid.uuid5(uuid.NAMESPACE_OID, name).int / 2**128


def phases_of(elements: frozenset[str]) -> dict[str, ReferencePhase]:
    """Return the tabulated phases that the thermodynamics of some elements takes."""
    return {phase.phase_id: phase for system in systems_of(elements) for phase in phases_within(system)}


def compute(database: Database, phases: Iterable[ReferencePhase], **about: Any) -> list[dict[str, Any]]:
    """Write a campaign without candidates whose phases are done; return its records."""
    records = [reference_record(phase, CHGNET) for phase in phases]
    spec = made_document()["spec"] | {"name": "references-mlip-chgnet", "space": []}
    header = {"name": spec["name"], "spec": spec, "n_candidates": 0, "references": records, "promotions": []}
    write_header(database, header)
    put(database, (output(record, **about) for record in records))
    return records


def output(record: dict[str, Any], days: int = 0, **about: Any) -> dict[str, Any]:
    value = energy(record["phase_id"])
    return {
        "uuid": record["uuid"], "index": 1, "name": record["name"], "metadata": {"hemiec": record},
        "completed_at": (STARTED + timedelta(days=days)).isoformat(timespec="microseconds"),
        "output": {"energy_per_atom": value, "energy": value, "converged": True, "structure": {}} | about,
    }  # fmt: skip


def result_of(database: Database, candidate_id: str) -> CandidateResult:
    (doc,) = read_candidates(database, {"candidate_id": candidate_id})
    return doc.results[0]


# What is computed


def test_the_hull_is_that_of_all_phases_on_the_corrected_scale(database: Database, made: dict[str, Any]) -> None:
    """One campaign asked for the candidate, another for the phases; pymatgen's own hull is the judge in test_hull."""
    records = compute(database, phases_of(LANTHANUM).values())
    build(database)
    name = ids(made)[0]
    result = result_of(database, name)
    found = result.thermodynamics
    assert found is not None and found.reasons == {} and found.hull is not None
    correction = CHGNET.thermo.o2_correction_eV_per_O
    phases = PhaseSet(
        PhaseEnergy(name, Composition(name.split("-")[0]), energy(name) + correction * name.startswith("O2-"), "p", "u")
        for name in (record["phase_id"] for record in records)
    )
    spec = next(plan["candidate"] for plan in made["candidates"] if plan["candidate"]["candidate_id"] == name)
    cell = Composition({"La": 4, "Sr": 4, "Co": 8, "O": 24})
    expected = Hull(phases, LANTHANUM).energy_above(cell, result.energy_per_atom)
    above = result.energy_above_hull
    assert spec["sites"]["X"] == {"O": "1"}
    assert above.value == pytest.approx(expected, abs=1e-9) and above.unit == "eV/atom"
    assert found.hull.energy_above_hull == above
    assert above.job_uuids == [job(made["candidates"][0], "basin")["uuid"]]
    by_id = {record["phase_id"]: record["uuid"] for record in records}
    assert above.reference_job_uuids == [by_id[part.phase_id] for part in found.hull.decomposition]
    assert above.protocol == "mlip-chgnet" and above.protocol_hash == CHGNET.hash_of("relax")
    assert found.entropy is not None and found.entropy.energy_above_hull[0] == pytest.approx(above.value)
    assert [window.element for window in found.windows] == ["Li", "O"]
    assert {doc.partner for doc in found.interfaces} > {"Li", "Li3PS4", "Li7La3Zr2O12"}


def test_without_an_oxide_of_every_cation_there_is_no_hull(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of tantalum: beside its element alone, any oxide with it would seem to be far below the hull."""
    monkeypatch.setattr(cells.Cells, "require", lambda self, elements: None)
    compute(database, phases_of(LANTHANUM).values())
    assert database["outputs"].delete_many({"metadata.hemiec.phase_id": {"$regex": r"^Co\d*O\d*-"}}).deleted_count >= 2
    build(database)
    result = result_of(database, ids(made)[0])
    found = result.thermodynamics
    assert found is not None and found.hull is None and found.windows == [] and found.interfaces == []
    for part in ("hull", "windows", "interfaces"):
        assert "no binary oxide of Co is among the reference phases" in found.reasons[part]
    assert result.energy_above_hull.value is None and result.interface_reaction_energy.value is None
    assert "hemiec references add" in (result.energy_above_hull.reason or "")


def test_the_worst_solid_electrolyte_ranks(database: Database, made: dict[str, Any]) -> None:
    compute(database, phases_of(LANTHANUM).values())
    build(database)
    result = result_of(database, ids(made)[0])
    assert result.thermodynamics is not None
    closed = [d for d in result.thermodynamics.interfaces if d.role == "electrolyte" and d.open_element is None]
    lowest = min(closed, key=lambda doc: doc.reaction_energy)
    assert len(closed) == 5 and result.interface_reaction_energy.value == lowest.reaction_energy
    assert lowest.partner in result.interface_reaction_energy.method
    assert result.interface_reaction_energy == result.thermodynamics.interface_reaction_energy


def test_the_mean_over_structures_and_their_spread_are_told(database: Database) -> None:
    document = submit_made(database, made_document(sqs={"max_atoms": 40, "members": 3}))
    finish(database, document)
    compute(database, phases_of(LANTHANUM).values())
    basins = [j["uuid"] for j in document["candidates"][0]["jobs"] if j["kind"] == "basin"]
    for k, basin in enumerate(basins):
        database["outputs"].update_one({"uuid": basin}, {"$set": {"output.energy_per_atom": -7.0 + 0.01 * k}})
    build(database)
    result = result_of(database, ids(document)[0])
    above = result.energy_above_hull
    assert len(basins) == above.n == 3 and above.job_uuids == basins
    assert above.std == pytest.approx(0.01) and above.max - above.min == pytest.approx(0.02)  # type: ignore[operator]
    assert above.interval is not None and above.interval[0] < above.value < above.interval[1]  # type: ignore[operator]
    worst, share = result.interface_reaction_energy, 0.0
    assert result.thermodynamics is not None
    for doc in result.thermodynamics.interfaces:
        if doc.role == "electrolyte" and doc.open_element is None and doc.reaction_energy == worst.value:
            share = doc.worst_fraction
    # A mixture feels the candidate's energy by its share.
    assert worst.n == 3 and worst.std == pytest.approx(0.01 * share)


def test_vacancies_of_hops_set_the_zero_of_all_sites(database: Database, made: dict[str, Any]) -> None:
    compute(database, phases_of(LANTHANUM).values())
    build(database)
    result = result_of(database, ids(made)[0])
    assert result.thermodynamics is not None and result.transport is not None
    oxygen = result.thermodynamics.oxygen
    assert oxygen is not None
    shift = {round(a - b, 9) for a, b in zip(oxygen.site_energies, result.transport.site_energies, strict=True)}
    start = result.transport.network.start
    zeros = [
        h.vacancy_formation_energies[0] - result.transport.site_energies[start[h.hop]]
        for h in result.hops
        if not h.reason
    ]
    assert shift == {round(median(zeros), 9)}
    assert oxygen.vacancy_energy.interval is not None, "the error of the model's vacancies comes from the calibration"


def test_a_correction_of_a_cation_cancels_between_candidate_and_oxides(
    database: Database, made: dict[str, Any]
) -> None:
    """References and candidates are corrected alike; the metal and O2 are not, and a vacancy takes no cation."""
    build(database)
    before = result_of(database, ids(made)[0])
    header = {key: value for key, value in made.items() if key != "candidates"}
    correction = {"element": "Co", "compounds_with": ["O"], "eV_per_atom": -0.5}
    mine = {"parent": "mlip-chgnet", "name": "mine", "thermo": {"element_corrections": [correction]}}
    protocols = header["spec"]["protocols"] | {"relax": mine, "barrier": mine}
    write_header(database, header | {"spec": header["spec"] | {"protocols": protocols}})
    assert ids(made)[0] in rebuilt(database)
    after = result_of(database, ids(made)[0])

    def change(name: str) -> float:
        old, new = getattr(before, name), getattr(after, name)
        return float(new.value - old.value)

    assert change("formation_energy_per_atom") == pytest.approx(-0.5 / 5)
    assert change("formation_enthalpy_from_oxides_per_atom") == pytest.approx(0, abs=1e-12)
    assert "Co -0.1 eV/atom" in after.formation_energy_per_atom.method
    for old, new in zip(before.hops, after.hops, strict=True):
        assert new.vacancy_formation_energies == pytest.approx(old.vacancy_formation_energies)
        assert bool(new.vacancy_formation_energies) == (new.reason is None)


# Why there is none


def test_without_its_phases_there_is_no_hull_and_the_reason_says_what_to_do(
    database: Database, made: dict[str, Any]
) -> None:
    """The phases of a campaign alone are elements and oxides: no competitor."""
    build(database)
    (doc,) = read_candidates(database, {"candidate_id": ids(made)[0]})
    result = doc.results[0]
    reason = doc.energy_above_hull.reason or ""
    assert doc.energy_above_hull.value is None and result.thermodynamics is not None
    wanted = {phase.phase_id for phase in phases_within(LANTHANUM)}
    missing = sorted(wanted - {record["phase_id"] for record in made["references"]})
    assert f"{len(missing)} of {len(wanted)} reference phases of Co-La-O-Sr have no energy in mlip-chgnet" in reason
    assert (
        any(name in reason for name in missing)
        and "hemiec references compute --protocol mlip-chgnet --elements Co,La,O,Sr" in reason
    )
    assert set(result.thermodynamics.reasons) == {"hull", "entropy", "windows", "interfaces"}
    assert "hemiec references compute" in (doc.interface_reaction_energy.reason or "")
    # What needs no hull is there all the same.
    assert result.thermodynamics.oxygen is not None and doc.formation_energy_per_atom.value is not None


def test_what_the_shipped_file_could_not_relax_is_not_missed(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = phases_of(LANTHANUM)
    lost = next(name for name, phase in phases.items() if len(phase.elements) == 3 and phase.elements <= LANTHANUM)
    compute(database, (phase for name, phase in phases.items() if name != lost))
    build(database)
    assert "1 of" in (result_of(database, ids(made)[0]).energy_above_hull.reason or "")
    monkeypatch.setattr(cells, "not_converging", lambda protocol_hash: frozenset({lost}))
    database["candidates"].update_many({}, {"$set": {"input_hash": "another"}})
    database["thermodynamics"].delete_many({})
    update(database, everything=True)
    assert result_of(database, ids(made)[0]).energy_above_hull.value is not None


def test_a_phase_that_did_not_converge_is_left_out_and_one_that_failed_is_named(
    database: Database, made: dict[str, Any]
) -> None:
    records = compute(database, phases_of(LANTHANUM).values())
    record = next(
        r for r in records if len(Composition(r["phase_id"].split("-")[0])) == 3 and "LaCoO3" in r["phase_id"]
    )
    put(database, [output(record, days=1, converged=False, energy_per_atom=-99.0)])
    build(database)
    found = result_of(database, ids(made)[0]).thermodynamics
    assert found is not None and found.hull is not None
    assert record["phase_id"] not in {part.phase_id for part in found.hull.decomposition}
    database["outputs"].delete_one({"uuid": record["uuid"]})
    update(database, failures=lambda uuids: {record["uuid"]: "out of memory"})
    reason = result_of(database, ids(made)[0]).energy_above_hull.reason or ""
    assert f"{record['phase_id']} (its job failed: out of memory)" in reason


def test_an_energy_that_is_no_number_spoils_no_other_part(database: Database, made: dict[str, Any]) -> None:
    records = compute(database, phases_of(LANTHANUM).values())
    record = next(r for r in records if r["phase_id"].startswith("SrCoO3"))
    put(database, [output(record, days=1, energy_per_atom=math.nan)])
    build(database)
    found = result_of(database, ids(made)[0]).thermodynamics
    assert found is not None and found.hull is None and found.oxygen is not None
    assert record["phase_id"] in found.reasons["hull"] and "finite" in found.reasons["hull"]
    assert database["references"].find_one({"job_uuid": record["uuid"]}) is None


def test_an_element_outside_of_the_tables_is_named(database: Database) -> None:
    space = [{"A": {"Pu": "1/2", "Sr": "1/2"}, "B": {"Co": 1}}]
    document = submit_made(
        database, made_document(space=space, oxidation_states={"Pu": 3, "Sr": 2, "Co": [3, 4], "O": -2})
    )
    finish(database, document)
    build(database)
    result = result_of(database, ids(document)[0])
    assert "no reference phase for element Pu" in (result.energy_above_hull.reason or "")


def test_before_anything_is_relaxed_it_says_so(database: Database) -> None:
    document = submit_made(database, made_document())
    build(database)
    (doc,) = read_candidates(database, {"candidate_id": ids(document)[0]})
    for quantity in (doc.energy_above_hull, doc.interface_reaction_energy):
        assert quantity.value is None and "has not finished" in (quantity.reason or "")
    assert doc.results[0].thermodynamics is None and database["thermodynamics"].count_documents({}) == 0


# What computes it anew


def test_a_phase_within_the_elements_rebuilds_and_no_other(database: Database, made: dict[str, Any]) -> None:
    first, second = ids(made)
    both = phases_of(LANTHANUM) | phases_of(BARIUM)
    compute(database, both.values())
    assert rebuilt(database) == {first, second}
    for elements, expected in (
        ({"La", "Co", "O"}, {first}),
        ({"Ba", "Ti", "O"}, {second}),
        ({"Li", "P", "S"}, {first, second}),
    ):
        phase = next(phase for phase in both.values() if phase.elements == elements)
        record = reference_record(phase, CHGNET)
        put(database, [output(record, days=1, energy_per_atom=energy(phase.phase_id) - 0.01)])
        assert rebuilt(database) == expected, elements
    # Within the elements of neither, and of another protocol.
    other = next(phase for phase in phases_within({"Nd", "O"}) if len(phase.elements) == 2)
    header = database["campaigns"].find_one({"name": "references-mlip-chgnet"}, {"_id": 0, "schema_version": 0})
    foreign = reference_record(next(iter(both.values())), load_mlip("mlip-7net-0"))
    write_header(database, header | {"references": [*header["references"], reference_record(other, CHGNET), foreign]})  # type: ignore[index, operator]
    put(database, [output(reference_record(other, CHGNET)), output(foreign)])
    assert rebuilt(database) == set()


def test_a_campaign_that_asks_for_the_same_phases_rebuilds_nothing_of_another(
    database: Database, made: dict[str, Any]
) -> None:
    records = compute(database, phases_of(LANTHANUM).values())
    build(database)
    other = submit_made(database, made_document(name="other", space=[{"A": {"La": 1}, "B": {"Co": 1}}]))
    assert rebuilt(database) == set(ids(other))
    header = {key: value for key, value in other.items() if key != "candidates"}
    write_header(database, header | {"references": [*header["references"], *records]})
    assert rebuilt(database) == set(ids(other))


def test_a_build_for_another_reason_keeps_what_is_stored(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(database, phases_of(LANTHANUM).values())
    build(database)
    first = ids(made)[0]
    before = content(database)["thermodynamics"]
    calls: list[str] = []
    document = thermodynamics._Parts.document
    monkeypatch.setattr(thermodynamics._Parts, "document", lambda parts: calls.append("all") or document(parts))
    gap = [
        o
        for o in plan_outputs(made["candidates"][0], STARTED + timedelta(days=1))
        if o["metadata"]["hemiec"]["kind"] == "gap"
    ]
    put(database, gap)
    hashes = built_hashes(database)
    assert rebuilt(database) == {first} and calls == []
    after = content(database)["thermodynamics"]
    changed = built_hashes(database)[first] != hashes[first]
    assert changed and [d["thermodynamics"] for d in after] == [d["thermodynamics"] for d in before]
    # Another hop: the oxygen alone.
    sample = job(made["candidates"][0], "sample")["uuid"]
    moment = (STARTED + timedelta(days=1)).isoformat(timespec="microseconds")
    lower = {f"output.hops.{k}.initial_energy": -280.5 for k in range(4)}
    database["outputs"].update_one({"uuid": sample}, {"$set": lower | {"completed_at": moment}})
    assert rebuilt(database) == {first} and calls == []
    now = content(database)["thermodynamics"]
    old, new = (next(d["thermodynamics"] for d in docs if d["candidate_id"] == first) for docs in (after, now))
    assert new["oxygen"]["vacancy_energy"]["value"] == pytest.approx(old["oxygen"]["vacancy_energy"]["value"] - 0.5)
    assert {k for k in new if new[k] != old[k]} == {"oxygen", "oxygen_hash"}
    # Its own inputs: another energy of the cell.
    basin = job(made["candidates"][0], "basin")["uuid"]
    moment = (STARTED + timedelta(days=2)).isoformat(timespec="microseconds")
    database["outputs"].update_one({"uuid": basin}, {"$set": {"output.energy_per_atom": -8.5, "completed_at": moment}})
    assert rebuilt(database) == {first} and len(calls) == 1
    for module in ("cells", "shared"):
        monkeypatch.setattr(f"hemiec.store.building.{module}.THERMO_VERSION", thermodynamics.THERMO_VERSION + 1)
    assert rebuilt(database) == set(ids(made)) and len(calls) == 3


def test_a_store_of_the_unreleased_layout_is_read_and_built_anew(database: Database, made: dict[str, Any]) -> None:
    """Layout 2 had neither the two numbers nor the collection before it was released."""
    compute(database, phases_of(LANTHANUM).values())
    build(database)
    expected = content(database)
    new = ("energy_above_hull", "interface_reaction_energy")
    unset = dict.fromkeys((*new, *(f"results.0.{name}" for name in new)), "")
    database["candidates"].update_many(
        {}, {"$unset": unset, "$set": {"input_hash": "of an earlier builder", "builder_version": 6}}
    )
    database["thermodynamics"].drop()
    database["builds"].delete_many({})
    for doc in read_candidates(database):
        assert isinstance(doc, CandidateDoc) and doc.energy_above_hull.reason == NOT_BUILT
        assert doc.results[0].thermodynamics is None
    assert set(new) < set(PROPERTIES)
    assert rebuilt(database) == set(ids(made))
    assert content(database) == expected


# What asks for it


def test_the_hull_goes_by_the_names_that_people_write() -> None:
    expected = {"energy_above_hull.value": {"$lte": 0.05}}
    for name in ("energy_above_hull", "e_hull", "ehull", "hull"):
        assert compile(f"{name} <= 50 meV/atom") == expected
    assert compile("interface > -0.1 and e_hull.n >= 3") == {
        "$and": [{"interface_reaction_energy.value": {"$gt": -0.1}}, {"energy_above_hull.n": {"$gte": 3.0}}]
    }
