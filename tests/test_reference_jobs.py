"""Reference phases in campaigns: which are listed, what is shipped and written into the store, what is computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from building import database, settings
from click.testing import CliRunner
from job_outputs import reference_outputs

from hemiec import __version__
from hemiec.cli.main import cli
from hemiec.engines.protocol import load_mlip
from hemiec.errors import CampaignError
from hemiec.launch import references as known
from hemiec.launch import shipped as loading
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.status import read_status
from hemiec.launch.submit import plan_submission, submit
from hemiec.store.database import Database
from hemiec.thermo.references.table import ReferencePhase, element_phase, oxide_phase, reference_phases
from hemiec.workflows import references
from hemiec.workflows.campaign import Campaign, load_campaign
from hemiec.workflows.identity import jobs_of
from hemiec.workflows.references import (
    ReferenceMaker,
    reference_record,
    reference_uuid,
    surrounding_phases,
)

__all__ = ["database", "settings"]
CHGNET = load_mlip("mlip-chgnet")
TITANATE = {
    "name": "titanate",
    "space": [{"A": {"choose": 1, "from": ["Sr", "Ba"]}, "B": {"Ti": 1}}],
    "sqs": {"max_atoms": 5, "quality": "fast"},
    "protocols": {"gap": None, "barrier": None},
}
Load = Callable[..., Campaign]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A function from changes to a small campaign, which it also writes to titanate.yaml."""

    def load(**changes: Any) -> Campaign:
        path = tmp_path / "titanate.yaml"
        path.write_text(yaml.safe_dump(TITANATE | changes))
        return load_campaign(path)

    return load


@pytest.fixture
def all_shipped(monkeypatch: pytest.MonkeyPatch, few_phases: tuple[ReferencePhase, ...]) -> dict[str, Any]:
    """Uuid to output: made-up energies of all phases by mlip-chgnet, in place of those that hemiec ships."""
    return _ship(monkeypatch, few_phases)


def _ship(monkeypatch: pytest.MonkeyPatch, phases: Any) -> dict[str, Any]:
    records = [reference_record(phase, CHGNET) for phase in phases]
    made = {output["uuid"]: output for output in reference_outputs(records, datetime(2026, 1, 1))}
    for output in made.values():
        output["output"]["versions"] = {"hemiec": "0.0.0", "chgnet": "0.0.1"}
    for module in (references, known):
        monkeypatch.setattr(module, "shipped_outputs", lambda name: made if name == CHGNET.hash_of("relax") else {})
    monkeypatch.setattr(loading, "version_differences", lambda name: {})
    return made


@pytest.fixture(autouse=True)
def few_phases(monkeypatch: pytest.MonkeyPatch) -> tuple[ReferencePhase, ...]:
    """Metals, oxygen and binary oxides in place of all phases: some structures take pymatgen a second."""
    few = tuple(phase for kind in reference_phases() for phase in kind)
    for module in (references, known):
        monkeypatch.setattr(module, "all_phases", lambda: few)
    return few


def _phases(campaign: Campaign) -> set[str]:
    return {record["phase_id"] for record in campaign.header()["references"]}


# Names


@pytest.mark.parametrize("phase", [element_phase("O"), element_phase("Ti"), oxide_phase("La", 3)])
@pytest.mark.parametrize("protocol", ["mlip-chgnet", "mlip-7net-0"])
def test_the_name_of_a_job_is_known_without_making_it(phase: ReferencePhase, protocol: str) -> None:
    (job,) = jobs_of(ReferenceMaker(protocol=protocol).make(phase))
    assert reference_uuid(phase, load_mlip(protocol)) == job.uuid
    assert reference_record(phase, load_mlip(protocol)) == job.metadata["hemiec"] | {"name": job.name}


def test_a_remark_on_a_phase_does_not_change_its_job_and_its_lattice_does() -> None:
    phase = oxide_phase("La", 3)
    remarked = phase.model_copy(update={"note": "another one", "source": "elsewhere"})
    moved = phase.model_copy(update={"lattice": [phase.lattice[0] + 0.01, *phase.lattice[1:]]})
    assert reference_uuid(remarked, CHGNET) == reference_uuid(phase, CHGNET) != reference_uuid(moved, CHGNET)


def test_names_do_not_change_between_versions_of_hemiec() -> None:
    """Stores hold results by these; a change of one is a new STEP_VERSIONS number, told in the change log."""
    assert reference_uuid(oxide_phase("La", 3), CHGNET) == "1e51cb54-8ff2-564f-8b7b-24282f1c8485"
    assert reference_uuid(element_phase("O"), CHGNET) == "86126b69-faa1-5a4e-9dbf-0cc9f0dc9ef0"


# Which phases


def test_phases_around_a_system_are_those_within_it_and_within_it_with_each_electrolyte() -> None:
    found = {phase.phase_id: set(phase.structure().composition.chemical_system.split("-")) for phase in
             surrounding_phases({frozenset({"Sr", "Ti", "O"})})}  # fmt: skip
    formulas = {name.split("-")[0] for name in found}
    assert {"Sr", "Ti", "O2", "SrO", "TiO2", "Ti2O3", "Li", "Li2O", "La2O3", "Y2O3", "ZrO2"} <= formulas
    assert not any({"Ba", "Co"} & elements for elements in found.values())
    # La is of one electrolyte, Y of another: nothing holds both.
    assert not any({"La", "Y"} <= elements for elements in found.values())


def test_the_key_competitors_says_which_phases_a_campaign_lists(
    load: Load, monkeypatch: pytest.MonkeyPatch, few_phases: tuple[ReferencePhase, ...]
) -> None:
    few = [p for p in few_phases if p.formula in ("Sr", "Ti", "Ti2O3", "La2O3", "CoO")]
    shipped = _ship(monkeypatch, few)
    needed = {p.phase_id for p in load().phases}
    ids = {p.phase_id: p.formula for p in few_phases}
    assert _phases(load(competitors="none")) == needed
    usual = load()
    assert {ids[name] for name in _phases(usual) - needed} == {"Ti2O3", "La2O3"}
    everything = load(competitors="compute")
    assert _phases(everything) == {p.phase_id for p in surrounding_phases({frozenset(s) for s in ELEMENTS})} | needed
    # What is shipped is not computed; the rest is.
    for campaign in (usual, everything):
        jobs = {job.uuid for flow in campaign.reference_flows for job in jobs_of(flow)}
        listed = {record["uuid"] for record in campaign.header()["references"]}
        assert jobs == listed - set(shipped)
        assert set(campaign.references.shipped) == listed & set(shipped)
    again = load(shipped_references=False)
    assert _phases(again) == _phases(usual) and not again.references.shipped
    assert len(again.reference_flows) == len(_phases(again))


ELEMENTS = (("Sr", "Ti", "O"), ("Ba", "Ti", "O"))


def test_a_wrong_word_is_refused(load: Load) -> None:
    with pytest.raises(CampaignError, match="competitors"):
        load(competitors="all")
    with pytest.raises(CampaignError, match="shipped_references"):
        load(shipped_references="sometimes")


def test_a_protocol_of_which_nothing_is_shipped_has_its_elements_and_oxides_computed(
    load: Load, all_shipped: dict[str, Any]
) -> None:
    campaign = load(protocols={"relax": "mlip-7net-0", "gap": None, "barrier": None})
    assert not campaign.references.shipped
    assert len(campaign.reference_flows) == len(campaign.phases) == len(_phases(campaign))


def test_a_dft_energy_starts_from_the_shipped_cell(load: Load, all_shipped: dict[str, Any]) -> None:
    campaign = load(protocols={"gap": None, "barrier": None, "confirm": "gpaw-standard"})
    flow = next(f for f in campaign.reference_flows if f.name.startswith("reference TiO2"))
    relax, *others = jobs_of(flow)
    assert relax.uuid in all_shipped and relax.uuid in campaign.references.shipped
    assert others and all(record["tier"] == "confirm" for record in (job.metadata["hemiec"] for job in others))
    # Metals and competitors get no DFT energy.
    oxides = {p.formula for p in campaign.phases if p.is_molecule or p.oxidation_state}
    assert {f.name.split()[1].split("-")[0] for f in campaign.reference_flows} == oxides


@pytest.mark.parametrize(("symbol", "moments"), [("O", [[1.0, 1.0]]), ("Cl", [])])
def test_the_triplet_is_that_of_oxygen_alone(symbol: str, moments: list[list[float]]) -> None:
    jobs = list(jobs_of(ReferenceMaker(confirm="gpaw-standard").make(element_phase(symbol))))
    given = [job for job in jobs if job.metadata["hemiec"]["kind"] == "given-moments"]
    assert [job.maker.moments for job in given] == moments
    assert jobs[0].maker.relax_cell is False, "a molecule keeps its box"
    assert jobs[-1].metadata["hemiec"]["kind"] == "reference-static"


def test_phases_of_ten_thousand_systems_are_found_without_a_look_at_each_phase_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    systems = {frozenset({"O", "Ti", a.symbol, b.symbol}) for a in _metals() for b in _metals()}
    found = surrounding_phases(systems)
    one_by_one = {p.phase_id for system in systems for p in surrounding_phases({system})}
    assert {p.phase_id for p in found} == one_by_one and len(found) == len(one_by_one)


def _metals() -> list[Any]:
    from pymatgen.core import Element

    return [Element(symbol) for symbol in ("Sr", "Ba", "La", "Co", "Fe", "Mn", "Ni")]


# Into the store


@pytest.mark.store
def test_submission_writes_what_is_shipped_and_computes_none_of_it(
    database: Database, queue: FireWorksQueue, load: Load, all_shipped: dict[str, Any]
) -> None:
    campaign = load()
    planned = plan_submission(queue, campaign)
    assert database["outputs"].count_documents({}) == 0, "a dry run writes nothing"
    done = submit(queue, campaign)
    assert (planned.added, planned.shipped, planned.finished) == (done.added, done.shipped, done.finished)
    assert done.added == len(campaign.job_uuids) == database["fireworks"].count_documents({})
    assert database["fireworks"].count_documents({"spec.hemiec.kind": "reference"}) == 0
    listed = {record["uuid"] for record in database["campaigns"].find_one({})["references"]}
    stored = {output["uuid"]: output for output in database["outputs"].find({}, {"_id": 0})}
    assert set(stored) == listed and done.shipped == len(listed) > 10
    for uuid, output in stored.items():
        about = output["metadata"]["hemiec"].pop("shipped")
        assert about["versions"]["chgnet"] == "0.0.1" and about["source"] == f"hemiec {__version__}"
        assert output == all_shipped[uuid], "but for the mark, it is what the job would have left"
    again = submit(queue, campaign)
    assert (again.added, again.shipped, again.finished) == (0, done.shipped, 0)
    assert database["outputs"].count_documents({}) == len(listed)


@pytest.mark.store
def test_two_at_once_write_it_once(database: Database, queue: FireWorksQueue, load: Load, all_shipped: Any) -> None:
    shipped = load().references.shipped
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda _: loading.load_shipped(queue, shipped, "titanate"), range(4)))
    assert sum(written) == len(shipped) == database["outputs"].count_documents({})


@pytest.mark.store
def test_what_was_computed_here_or_waits_here_stays(
    database: Database, queue: FireWorksQueue, load: Load, all_shipped: dict[str, Any]
) -> None:
    submit(queue, load(name="older", competitors="none", shipped_references=False))
    waiting = {fw["spec"]["hemiec"]["uuid"] for fw in database["fireworks"].find({"spec.hemiec.kind": "reference"})}
    computed = next(uuid for uuid, output in all_shipped.items() if uuid not in waiting and "Ti2O3" in output["name"])
    mine = all_shipped[computed] | {"output": {"energy_per_atom": -1.0}}
    database["outputs"].insert_one(dict(mine))
    done = submit(queue, load())
    assert done.pending == len(waiting) + database["fireworks"].count_documents(
        {"spec.hemiec.kind": {"$ne": "reference"}}
    )
    assert done.finished == 1
    assert database["outputs"].find_one({"uuid": computed}, {"_id": 0}) == mine
    assert database["outputs"].count_documents({"uuid": {"$in": list(waiting)}}) == 0
    # They are jobs of both campaigns now, so that workers of either run them.
    both = {"spec.hemiec.uuid": {"$in": list(waiting)}, "spec.hemiec.campaigns": {"$all": ["older", "titanate"]}}
    assert database["fireworks"].count_documents(both) == len(waiting)


@pytest.mark.store
def test_a_candidate_that_climbs_brings_its_phases(
    database: Database, queue: FireWorksQueue, load: Load, all_shipped: dict[str, Any]
) -> None:
    def laddered(n: int) -> Campaign:
        promote = {"top": 1, "by": "formation_energy_per_atom"}
        first = {"tier": "relax", "promote": promote, "budget": {"candidates": n}}
        return load(ladder=[first, {"tier": "barrier"}], protocols={"gap": None}, sqs={"max_atoms": 40})

    submit(queue, laddered(1))
    before = {o["metadata"]["hemiec"]["phase_id"] for o in database["outputs"].find()}
    assert any(name.startswith("SrO") for name in before) and not any(name.startswith("Ba") for name in before)
    submit(queue, laddered(2))
    after = {o["metadata"]["hemiec"]["phase_id"] for o in database["outputs"].find()}
    assert before < after and any(name.startswith("BaO") for name in after)
    assert database["fireworks"].count_documents({"spec.hemiec.kind": "reference"}) == 0


@pytest.mark.store
def test_status_counts_what_is_shipped_and_does_not_list_it(
    database: Database, queue: FireWorksQueue, load: Load, all_shipped: dict[str, Any], tmp_path: Path
) -> None:
    load()
    shown = CliRunner().invoke(cli, ["submit", str(tmp_path / "titanate.yaml")])
    assert shown.exit_code == 0, shown.output
    status = read_status(queue, "titanate")
    assert f"{status.shipped} reference phases came with hemiec" in shown.stdout
    assert all(job.kind != "reference" for job in status.jobs)
    shown = CliRunner().invoke(cli, ["status", "titanate"])
    assert f"{status.shipped} came with hemiec" in " ".join(shown.stdout.split())
    content = json.loads(CliRunner().invoke(cli, ["status", "titanate", "--json"]).stdout)
    assert content["shipped_references"] == status.shipped == database["outputs"].count_documents({})


@pytest.mark.store
def test_another_version_of_the_model_is_told_once(
    queue: FireWorksQueue, load: Load, all_shipped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submit(queue, load()).notice is None
    monkeypatch.setattr(loading, "version_differences", lambda name: {"chgnet": ("0.3.8", "0.4.2")})
    notice = submit(queue, load()).notice
    assert notice is not None and "chgnet 0.3.8" in notice and "0.4.2" in notice and "hemiec doctor" in notice
    assert submit(queue, load(shipped_references=False)).notice is None
