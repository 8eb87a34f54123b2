"""What a job takes of a cluster: in no hash and in no job's name, on every job, and understood by FireWorks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jobflow import Flow, Job, JobStore, Response, job
from maggma.stores import MemoryStore

from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import load_protocol, protocol_names
from hemiec.engines.settings import LIGHT, Resources
from hemiec.errors import CampaignError
from hemiec.schemas.campaign import HopSettings, ProtocolNames, SqsSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.ladder import PromotionRule
from hemiec.settings import Settings
from hemiec.store.database import open_database
from hemiec.workflows.campaign import jobs_of
from hemiec.workflows.candidate import CandidateMaker
from hemiec.workflows.identity import identify
from hemiec.workflows.ladder import promotion_flow

Make = Callable[..., CandidateSpec]

#: As they were before protocols had resources: finished work of all who used them is found by these.
HASHES = {
    "gpaw-calibration": "0eaa9e665f76",
    "gpaw-fast": "21590e0abf11",
    "gpaw-gllbsc-gap": "47c8b76a3987",
    "gpaw-precise": "ca483f73bb3a",
    "gpaw-standard": "4825769bb0ee",
    "mlip-7net-0": "bf000cfe3422",
    "mlip-chgnet": "63c367b45f80",
    "vasp-hse-gap": "56e68add3ee7",
    "vasp-mp": "22bd40d958b7",
    "vasp-r2scan": "bccd1998239d",
}
PARTS = {
    "mlip-7net-0": {"relax": "46c63bea89a0", "anneal": "b7773ee26069", "saddle": "8f002bf36dbf"},
    "mlip-chgnet": {"relax": "b553f026d716", "anneal": "eea5f799738d", "saddle": "efe9e60f00b8"},
}


def test_no_hash_has_changed() -> None:
    assert {name: load_protocol(name).hash for name in HASHES} == HASHES
    for name, parts in PARTS.items():
        protocol = load_protocol(name)
        assert isinstance(protocol, MlipProtocol)
        assert {part: protocol.hash_of(part) for part in parts} == parts  # type: ignore[arg-type]


@pytest.mark.parametrize("name", protocol_names())
def test_every_shipped_protocol_says_where_it_runs(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.resources.category == ("mlip" if protocol.engine == "mlip" else "dft")
    assert protocol.resources.gpus == 0
    walltime_h = getattr(protocol, "walltime_h", None)
    assert walltime_h is None or 60 * walltime_h < protocol.resources.walltime_min


def test_every_quantity_has_a_unit() -> None:
    described = {name: field.description or "" for name, field in Resources.model_fields.items()}
    assert "GiB" in described["memory_gib"] and "in min" in described["walltime_min"]
    assert "unit 1" in described["cores"] and "unit 1" in described["gpus"]


def test_a_child_may_change_the_resources_alone() -> None:
    child = load_protocol(
        {"name": "chgnet-gpu", "parent": "mlip-chgnet", "resources": {"category": "gpu", "gpus": 1, "cores": 4}}
    )
    parent = load_protocol("mlip-chgnet")
    assert child.hash == parent.hash
    assert child.resources == Resources(category="gpu", cores=4, memory_gib=2, gpus=1, walltime_min=60)
    assert load_protocol(child.reference) == child
    roomy = load_protocol({"name": "roomy", "parent": "gpaw-standard", "resources": {"memory_gib": 16}}).resources
    assert roomy == load_protocol("gpaw-standard").resources.model_copy(update={"memory_gib": 16.0})


def test_what_was_stored_before_protocols_had_resources_is_still_read() -> None:
    old = load_protocol("vasp-mp").model_dump(mode="json")
    del old["resources"]
    assert load_protocol(old).resources.category == "dft"


@pytest.mark.parametrize(
    ("parent", "resources", "said"),
    [
        ("mlip-chgnet", {"gpus": 1}, "only category gpu has GPUs"),
        ("mlip-chgnet", {"category": "gpu"}, "only category gpu has GPUs"),
        ("mlip-chgnet", {"category": "cpu"}, "'mlip', 'dft' or 'gpu'"),
        ("gpaw-fast", {"cores": 0}, "greater than 0"),
        ("gpaw-fast", {"walltime": 10}, "did you mean 'walltime_min'"),
        ("gpaw-fast", ["dft"], "resources"),
        # VASP would stop itself after 23 h, but is killed after 10.
        ("vasp-mp", {"walltime_min": 600}, "less than `resources: {walltime_min: 600}`"),
    ],
)
def test_wrong_resources_are_refused(parent: str, resources: Any, said: str) -> None:
    with pytest.raises(CampaignError, match=said.replace("{", r"\{").replace("?", r"\?")):
        load_protocol({"name": "mine", "parent": parent, "resources": resources})


def all_jobs(candidate: CandidateSpec, **protocols: Any) -> dict[str, Job]:
    names = ProtocolNames(**{"gap": "gpaw-fast", "confirm": "gpaw-standard", **protocols})
    maker = CandidateMaker(sqs=SqsSettings(max_atoms=10), protocols=names, hops=HopSettings(n=2))
    found = list(jobs_of(maker.make(candidate)))
    return {one.metadata["hemiec"]["step"]: one for one in found}


def category_of(one: Job) -> str:
    about = one.metadata["hemiec"]["resources"]
    assert set(about) == {"category", "cores", "memory_gib", "gpus", "walltime_min"}
    assert one.config.manager_config["_category"] == about["category"]
    return str(about["category"])


def test_each_job_goes_to_the_workers_of_its_protocol(candidate: Make) -> None:
    jobs = all_jobs(candidate({"Sr": "1/2", "Ba": "1/2"}, {"Ti": 1}))
    categories = {step: category_of(one) for step, one in jobs.items()}
    dft = {step for step, category in categories.items() if category == "dft"}
    assert dft == {"gap-unpolarised", "static-unpolarised", "dft-hop-1"}
    assert {categories[step] for step in ("sqs", "network", "sample-1", "transport", "gap", "path-1")} == {"mlip"}
    # Preparing and collecting is light, whatever the protocol says.
    for step in ("sqs", "network", "transport", "gap", "static", "path-1"):
        assert jobs[step].metadata["hemiec"]["resources"] == LIGHT.model_dump()
    assert jobs["gap-unpolarised"].metadata["hemiec"]["resources"]["walltime_min"] == 120
    assert jobs["static-unpolarised"].metadata["hemiec"]["resources"]["walltime_min"] == 1440


def test_other_resources_are_the_same_jobs(candidate: Make) -> None:
    spec = candidate({"Sr": "1/2", "Ba": "1/2"}, {"Ti": 1})
    on_gpu = {"name": "on-gpu", "parent": "mlip-chgnet", "resources": {"category": "gpu", "gpus": 1}}
    plain, gpu = all_jobs(spec), all_jobs(spec, relax=on_gpu, barrier=on_gpu)
    assert {step: one.uuid for step, one in plain.items()} == {step: one.uuid for step, one in gpu.items()}
    assert {step for step in gpu if category_of(gpu[step]) == "gpu"} == {*("basin", "sample-1")}


def test_a_promotion_is_light() -> None:
    flow = promotion_flow(
        "trial", "relax", [], PromotionRule.model_validate({"top": 1, "by": "migration_barrier"}), seed=0
    )
    (promotion,) = jobs_of(flow)
    assert category_of(promotion) == "mlip"


@job
def restart(n: int) -> Any:
    return Response(replace=restart(n - 1)) if n else "done"


def test_a_job_that_goes_on_as_another_stays_with_its_workers() -> None:
    resources = Resources(category="dft", cores=32, memory_gib=60, walltime_min=1440)
    first = identify(restart(1), "static", {"n": 1}, resources=resources)
    assert isinstance(first, Job)
    store = JobStore(MemoryStore())
    store.connect()
    (follower,) = jobs_of(Flow.from_dict(first.run(store).replace.as_dict()))
    assert category_of(follower) == "dft"
    assert follower.metadata["hemiec"]["resources"]["cores"] == 32


@pytest.mark.store
def test_fireworks_workers_take_their_category(settings: Settings, candidate: Make) -> None:
    from fireworks import FWorker
    from jobflow.managers.fireworks import flow_to_workflow

    from hemiec.launch.fireworks.launchpad import open_launchpad

    database = open_database(settings)
    launchpad = open_launchpad(database)
    try:
        for category, gpus in (("mlip", 0), ("dft", 0), ("gpu", 1)):
            resources = Resources(category=category, cores=1, memory_gib=1, gpus=gpus, walltime_min=1)  # type: ignore[arg-type]
            one = identify(restart(0), "static", {"category": category}, resources=resources)
            launchpad.add_wf(flow_to_workflow(Flow([one])))
        spec = database["fireworks"].find_one({"spec._category": "gpu"})["spec"]  # type: ignore[index]
        assert spec["hemiec"]["resources"]["gpus"] == 1

        def taken(category: Any) -> int:
            worker = FWorker(name="test", category=category)
            return launchpad.fireworks.count_documents({"state": "READY", **worker.query})

        assert [taken(c) for c in ("", "mlip", "dft", ["mlip", "gpu"], "none")] == [3, 1, 1, 2, 0]
    finally:
        launchpad.connection.close()
        database.close()
