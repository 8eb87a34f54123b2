"""The builder on a real store: what is built, what rebuilds what, and what cannot be built."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from building import built_hashes, consistent, content, database, ids, job, made, rebuilt, settings
from click.testing import CliRunner
from job_outputs import STARTED, finish, made_document, plan_outputs, put, reference_outputs, submit_made

from hemiec.cli.build import build as build_command
from hemiec.errors import StoreError
from hemiec.ranking.calibration.shipped import shipped_calibrations
from hemiec.schemas.calculations import GapDoc
from hemiec.schemas.documents import BasinDoc, SqsDoc
from hemiec.schemas.transport import HopNetworkDoc, SampleDoc, TransportSummary
from hemiec.store.building import builder, changes, feeds, shared, writing
from hemiec.store.building.builder import build, update
from hemiec.store.calibration import save_calibration
from hemiec.store.campaigns import write_header, write_plans
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database
from hemiec.store.queries.language import compile

pytestmark = pytest.mark.store
__all__ = ["database", "made", "settings"]  # fixtures


# What is built


def test_made_outputs_are_what_jobs_return(made: dict[str, Any]) -> None:
    schemas = {
        "sqs": SqsDoc,
        "basin": BasinDoc,
        "network": HopNetworkDoc,
        "sample": SampleDoc,
        "transport": TransportSummary,
        "gap": GapDoc,
    }
    kinds = set()
    for plan in made["candidates"]:
        for output in plan_outputs(plan, STARTED):
            kind = output["metadata"]["hemiec"]["kind"]
            kinds.add(kind)
            if kind in schemas:
                schemas[kind].model_validate(output["output"])
    assert kinds >= schemas.keys()


def test_everything_is_gathered_once(database: Database, made: dict[str, Any]) -> None:
    report = update(database)
    assert (report.built, report.failed) == (2, 0)
    assert sorted(doc.candidate_id for doc in read_candidates(database)) == sorted(ids(made))
    for doc in read_candidates(database):
        (result,) = doc.results
        assert None not in (doc.band_gap.value, doc.migration_barrier.value, doc.formation_energy_per_atom.value)
        assert [hop.reason is None for hop in result.hops] == [True] * 4 + [False]
        assert result.transport is not None and {job.state for job in result.jobs} == {"completed"}
    (structure, _) = database["structures"].find()
    assert structure["nsites"] == 40 and structure["volume"] == pytest.approx(7.8**3)
    assert database["optimade"].count_documents({}) == 4
    assert database["references"].count_documents({}) == len(made["references"])
    consistent(database)
    first = content(database)
    assert update(database).built == 0
    assert update(database, everything=True).built == 0
    database["builds"].delete_many({})
    database["candidates"].update_many({}, {"$set": {"input_hash": "another"}})
    assert build(database) == 2
    assert content(database) == first


def test_the_density_is_that_of_pymatgen(database: Database, made: dict[str, Any]) -> None:
    from pymatgen.core import Structure

    build(database)
    for structure in database["structures"].find():
        cell = Structure.from_dict(structure["structure"])
        assert structure["density"] == pytest.approx(float(cell.density), rel=1e-9)
        assert structure["formula_pretty"] == cell.composition.reduced_formula
        assert structure["formula_anonymous"] == cell.composition.anonymized_formula


def test_the_best_available_number_is_that_of_the_larger_cell_with_more_hops(
    database: Database, made: dict[str, Any]
) -> None:
    """The larger cell's numbers count, but for those that it does not have."""
    small = submit_made(database, made_document(name="small", sqs={"max_atoms": 20}))
    finish(database, small)
    for plan in small["candidates"]:
        sqs = job(plan, "sqs")["uuid"]
        database["outputs"].update_one({"uuid": sqs}, {"$set": {"output.n_atoms": 20}})
    lost = job(made["candidates"][0], "gap")["uuid"]
    database["outputs"].delete_one({"uuid": lost})
    build(database)
    plans = {plan["candidate"]["candidate_id"]: plan["plan_id"] for plan in made["candidates"]}
    for doc in read_candidates(database):
        large, other = doc.results
        assert large.plan_id == plans[doc.candidate_id] and (large.n_atoms, other.n_atoms) == (40, 20)
        assert doc.migration_barrier == large.migration_barrier
        if doc.candidate_id == ids(made)[0]:
            assert large.band_gap.value is None and doc.band_gap == other.band_gap
        else:
            assert doc.band_gap == large.band_gap


def test_the_mobile_species_is_that_of_the_barrier(database: Database) -> None:
    """Of the barrier that counts; before there is one, of the one that is asked for; none if nobody asks."""
    still = submit_made(database, made_document(name="still", protocols={"gap": None, "barrier": None}))
    build(database)
    assert {doc.mobile for doc in read_candidates(database)} == {None}
    assert {doc["mobile"] for doc in database["candidates"].find()} == {None}
    asked = submit_made(database, made_document(name="asked"))
    assert ids(asked) == ids(still)
    build(database)
    assert {doc.mobile for doc in read_candidates(database)} == {"O"}
    finish(database, asked)
    build(database)
    for doc in read_candidates(database):
        assert doc.migration_barrier.value is not None and doc.mobile == "O"
        assert sorted(str(result.mobile) for result in doc.results) == ["None", "O"]
    assert database["candidates"].count_documents(compile('mobile = "O"')) == 2
    assert database["candidates"].count_documents(compile('mobile = "Li"')) == 0


# What rebuilds what


def test_an_output_rebuilds_its_candidate_and_no_other(database: Database) -> None:
    document = submit_made(database, made_document())
    assert rebuilt(database) == set(ids(document))
    first, second = document["candidates"]
    put(database, [o for o in plan_outputs(first, STARTED) if o["metadata"]["hemiec"]["kind"] == "sqs"])
    assert rebuilt(database) == {ids(document)[0]}
    assert rebuilt(database) == set()
    # Computed anew, with the same name and another time.
    put(
        database,
        [o for o in plan_outputs(first, STARTED + timedelta(days=1)) if o["metadata"]["hemiec"]["kind"] == "sqs"],
    )
    assert rebuilt(database) == {ids(document)[0]}
    # From long ago, as a restored or late one is.
    put(
        database,
        [o for o in plan_outputs(second, STARTED - timedelta(days=900)) if o["metadata"]["hemiec"]["kind"] == "sqs"],
    )
    assert rebuilt(database) == {ids(document)[1]}
    database["outputs"].delete_one({"uuid": job(second, "sqs")["uuid"]})
    assert rebuilt(database) == {ids(document)[1]}


def test_a_reference_phase_rebuilds_what_holds_its_elements(database: Database, made: dict[str, Any]) -> None:
    build(database)
    with_co = [r for r in made["references"] if r["phase_id"].startswith("Co")]
    put(database, reference_outputs(with_co, STARTED + timedelta(days=2)))
    (cobaltite,) = (d["candidate_id"] for d in database["candidates"].find({"elements": "Co"}))
    assert rebuilt(database) == {cobaltite}
    oxygen = [r for r in made["references"] if r["phase_id"].startswith("O2")]
    put(database, reference_outputs(oxygen, STARTED + timedelta(days=3)))
    assert rebuilt(database) == set(ids(made))


def test_a_plan_rebuilds_its_candidate(database: Database, made: dict[str, Any]) -> None:
    build(database)
    plan = made["candidates"][0]
    kept = [job for job in plan["jobs"] if job["kind"] != "gap"]
    write_plans(database, "made", [(0, plan | {"jobs": kept})])
    assert rebuilt(database) == {ids(made)[0]}
    assert next(read_candidates(database, {"candidate_id": ids(made)[0]})).band_gap.value is None
    # What a job takes of a cluster is no part of a number.
    larger = [job | {"resources": job["resources"] | {"cores": 64}} for job in kept]
    write_plans(database, "made", [(0, plan | {"jobs": larger})])
    assert rebuilt(database) == set()


def test_a_failure_and_its_return_rebuild_the_candidate(database: Database) -> None:
    document = submit_made(database, made_document())
    build(database)
    uuid = job(document["candidates"][1], "basin")["uuid"]
    failed = {uuid: "ValueError: the cell fell apart"}
    assert build(database, failures=lambda _: failed) == 1
    doc = next(read_candidates(database, {"candidate_id": ids(document)[1]}))
    assert "the cell fell apart" in (doc.formation_energy_per_atom.reason or "")
    assert build(database, failures=lambda _: failed) == 0
    # Without a queue, what was learned last holds.
    assert build(database) == 0
    assert build(database, failures=lambda _: {uuid: "ValueError: another reason"}) == 1
    assert build(database, failures=lambda _: {}) == 1
    doc = next(read_candidates(database, {"candidate_id": ids(document)[1]}))
    assert "has not finished" in (doc.formation_energy_per_atom.reason or "")
    assert build(database, failures=lambda _: {}) == 0


def test_a_calibration_rebuilds_what_it_is_for(database: Database, made: dict[str, Any]) -> None:
    build(database)
    (calibration,) = shipped_calibrations()
    fits = [fit.model_copy(update={"low_protocol_hash": "of-others"}) for fit in calibration.fits]
    other = calibration.model_copy(update={"calibration_id": "cal-other", "fits": fits, "low_protocol": "other"})
    save_calibration(database, other)
    assert rebuilt(database) == set()
    again = calibration.model_copy(update={"calibration_id": "cal-again", "points": calibration.points})
    save_calibration(database, again)
    assert rebuilt(database) == set(ids(made))


def test_the_settings_of_a_protocol_rebuild_the_campaign(database: Database, made: dict[str, Any]) -> None:
    other = submit_made(
        database,
        made_document(
            name="other",
            space=[{"A": {"Ba": 1}, "B": {"Zr": 1}}],
            oxidation_states={"Ba": 2, "Zr": 4, "O": -2},
        ),
    )
    build(database)
    header = {key: value for key, value in other.items() if key != "candidates"}
    mine = {"parent": "mlip-chgnet", "name": "mine", "thermo": {"o2_correction_eV_per_O": -0.5}}
    header["spec"]["protocols"]["relax"] = mine
    write_header(database, header)
    assert rebuilt(database) == set(ids(other))


def test_a_new_version_of_the_builder_rebuilds_everything(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(database)
    for module in (shared, writing):
        monkeypatch.setattr(module, "BUILDER_VERSION", shared.BUILDER_VERSION + 1)
    assert rebuilt(database) == set(ids(made))
    assert rebuilt(database) == set()


def test_only_some_candidates_are_built_if_wanted_and_the_others_next_time(
    database: Database, made: dict[str, Any]
) -> None:
    first, second = ids(made)
    assert build(database, only=[first]) == 1
    assert built_hashes(database).keys() == {first}
    assert build(database, only=[first]) == 0
    assert build(database) == 1
    put(database, plan_outputs(made["candidates"][1], STARTED + timedelta(days=1)))
    assert build(database, only=[first]) == 0
    assert build(database, only=[second]) == 1
    assert build(database) == 0


def test_what_was_lost_from_the_store_is_built_again(database: Database, made: dict[str, Any]) -> None:
    build(database)
    database["candidates"].delete_one({"candidate_id": ids(made)[0]})
    assert rebuilt(database) == {ids(made)[0]}
    consistent(database)


def test_more_changes_than_can_be_listed_are_found_by_looking_at_everything(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(database)
    monkeypatch.setattr(changes, "MANY", 1)
    monkeypatch.setattr(builder, "_LOOK", 1)
    finish(database, made, moment=STARTED + timedelta(days=1))
    assert rebuilt(database) == set(ids(made))


def test_nothing_is_asked_per_candidate_when_nothing_has_changed(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(database)
    monkeypatch.setattr(builder, "read_inputs", lambda *_: pytest.fail("a candidate was looked at"))
    assert build(database) == 0


def test_surplus_parts_go_with_the_results_they_belonged_to(database: Database, made: dict[str, Any]) -> None:
    build(database)
    sample = job(made["candidates"][0], "sample")["uuid"]
    found = database["outputs"].find_one({"uuid": sample})
    found["output"]["hops"] = found["output"]["hops"][:1]
    found["completed_at"] = (STARTED + timedelta(days=1)).isoformat()
    put(database, [found])
    build(database)
    assert database["hops"].count_documents({"candidate_id": ids(made)[0]}) == 2
    write_plans(database, "made", [(0, made["candidates"][0] | {"jobs": []})])
    build(database)
    for name in ("hops", "structures", "transport"):
        assert database[name].count_documents({"candidate_id": ids(made)[0]}) == 0
        assert database[name].count_documents({"candidate_id": ids(made)[1]}) > 0
    assert database["optimade"].count_documents({"candidate_id": ids(made)[0]}) == 1
    consistent(database)


# Failures


def test_what_cannot_be_built_keeps_its_documents_and_is_listed(
    database: Database, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(database)
    good, name = content(database), ids(made)[0]
    basin = job(made["candidates"][0], "basin")["uuid"]
    database["outputs"].update_one(
        {"uuid": basin}, {"$unset": {"output.structure": ""}, "$set": {"completed_at": "2026-03-01T00:00:00"}}
    )
    with pytest.raises(StoreError, match=f"1 candidates could not be built .*{name}.*'structure'"):
        build(database)
    assert content(database) == good
    (noted,) = database["build_failures"].find()
    assert noted["candidate_id"] == name and noted["error"] == "KeyError: 'structure'"
    assert noted["builder_version"] == shared.BUILDER_VERSION and noted["input_hash"] != built_hashes(database)[name]
    # It is not tried in the same state again, unless that is asked for.
    calls: list[str] = []
    real = builder.build_one
    monkeypatch.setattr(builder, "build_one", lambda i, *rest: calls.append(i.candidate_id) or real(i, *rest))
    database["builds"].delete_many({})
    assert build(database) == 0 and calls == []
    assert update(database, everything=True).errors and calls == [name]
    result = CliRunner().invoke(build_command, ["--failed", "--json"])
    assert [entry["candidate_id"] for entry in json.loads(result.output)] == [name]
    put(database, [o for o in plan_outputs(made["candidates"][0], STARTED + timedelta(days=5)) if o["uuid"] == basin])
    assert build(database) == 1
    assert database["build_failures"].count_documents({}) == 0
    assert "0 candidates" in CliRunner().invoke(build_command, ["--failed"]).stderr


def test_what_the_validator_refuses_is_a_failure_of_that_candidate(database: Database, made: dict[str, Any]) -> None:
    (collection,) = database.mongo.list_collections(filter={"name": "candidates"})
    database.mongo.command("collMod", "candidates", validator={"elements": {"$ne": "Co"}})
    try:
        report = update(database)
    finally:
        database.mongo.command("collMod", "candidates", validator=collection["options"].get("validator", {}))
    assert (report.built, report.failed) == (1, 1) and "validator" in report.errors[0]


# Feeds


@pytest.mark.parametrize(
    ("replaced", "most"), [(False, 300), (False, 0), (True, 300)], ids=["history", "recent", "plans"]
)
def test_a_feed_tells_what_came_and_notices_what_no_moment_tells_of(
    database: Database, monkeypatch: pytest.MonkeyPatch, replaced: bool, most: int
) -> None:
    monkeypatch.setattr(feeds, "WHOLE_HISTORY", most)
    feed = feeds.Feed("things", "at", timedelta(hours=1), replaced)
    now = feeds.server_time(database)

    def add(**ago: float) -> Any:
        return database["things"].insert_one({"at": (now - timedelta(**ago)).isoformat()}).inserted_id

    def changes_since(trace: feeds.Trace) -> tuple[feeds.Trace, list[str] | None]:
        return feeds.trace_of(database, feed, now, feeds.Trace.from_mongo(trace.to_mongo()))

    old, recent = add(days=3), add(minutes=30)
    trace, new = feeds.trace_of(database, feed, now, None)
    assert new is None and sum(n for n, _ in trace.amounts.values()) + (trace.others or 0) == 2
    assert changes_since(trace) == (trace, [])
    added = add(minutes=20)
    again, new = changes_since(trace)
    assert new is not None and [d["_id"] for d in feeds.written_in(database, feed, new, {})] == [added]
    # Later passes see it as they saw it first.
    later = feeds.trace_of(database, feed, now + timedelta(days=1), again)
    assert later[1] == [] and feeds.trace_of(database, feed, now + timedelta(days=1), later[0])[1] == []
    # From long ago: its day is known where all days are, else it shows in the number.
    add(days=9)
    assert (changes_since(again)[1] is None) == (replaced or most == 0)
    again = changes_since(again)[0]
    # Computed anew, or gone: where plans are replaced all the time that means nothing.
    database["things"].update_one({"_id": old}, {"$set": {"at": now.isoformat()}})
    assert (changes_since(again)[1] is None) == (not replaced)
    again = changes_since(again)[0]
    database["things"].delete_one({"_id": recent})
    assert (changes_since(again)[1] is None) == (not replaced)
