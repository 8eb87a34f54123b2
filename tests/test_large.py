"""Outputs, arguments and trajectories of any size: in GridFS, a folder or S3, through real jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import boto3
import large_jobs
import pytest
from fireworks import FWorker
from fireworks.core.rocket_launcher import launch_rocket
from jobflow import SETTINGS, Flow, Job
from jobflow.managers.fireworks import flow_to_workflow
from moto import mock_aws

from hemiec.errors import StoreError
from hemiec.launch.fireworks.trust import TrustedLaunchPad
from hemiec.settings import Settings
from hemiec.store.database import open_database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.trust import Trust

pytestmark = pytest.mark.store

PACKAGES = ["large_jobs"]
Run = Callable[[Flow | Job], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("large"), mongo_uri=None, trusted_packages=PACKAGES)
    EmbeddedMongod(settings).up()
    yield settings
    EmbeddedMongod(settings).down()


@pytest.fixture
def run(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A function that runs a flow to its end on a LaunchPad of its own and returns its Fireworks."""
    monkeypatch.chdir(tmp_path)
    yield lambda flow: run_flow(flow, server, monkeypatch)


def run_flow(flow: Flow | Job, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    database = open_database(settings)
    with closing(database):
        store = database.job_store()
        monkeypatch.setattr(SETTINGS, "JOB_STORE", store)
        launchpad = TrustedLaunchPad(
            Trust(PACKAGES), job_store=store, host=database.uri, name=database.name, uri_mode=True, strm_lvl="CRITICAL"
        )
        with closing(launchpad.connection), closing(store):
            database["fw_id_assigner"].update_one(
                {}, {"$setOnInsert": {"next_fw_id": 1, "next_launch_id": 1}}, upsert=True
            )
            old_new = launchpad.add_wf(flow_to_workflow(deepcopy(flow)))  # one job belongs to one flow
            while launch_rocket(launchpad, FWorker(), strm_lvl="CRITICAL"):
                pass
            workflow = database["workflows"].find_one({"nodes": next(iter(old_new.values()))})
            assert workflow is not None
            return list(database["fireworks"].find({"fw_id": {"$in": workflow["nodes"]}}))


def output(settings: Settings, job: Job | Flow) -> Any:
    database = open_database(settings)
    with closing(database), closing(database.job_store()) as store:
        return store.get_output(job.output.uuid, load=True)


def stored(settings: Settings, job: Job) -> dict[str, Any]:
    with closing(open_database(settings)) as database:
        document = database["outputs"].find_one({"uuid": job.uuid}, sort=[("index", -1)])
        assert document is not None
        return document


def test_an_output_over_the_limit_is_stored_and_used(server: Settings, run: Run) -> None:
    first = large_jobs.large_output()
    then = large_jobs.size_of(first.output["trajectory"], small=first.output["small"][0])
    fireworks = run(Flow([first, then]))
    assert [fw["state"] for fw in fireworks] == ["COMPLETED"] * 2
    document = stored(server, first)["output"]
    # What is small can still be asked for; what is large is where trajectories are.
    assert (document["energy"], document["small"]) == (-1.0, [1])
    assert document["trajectory"]["store"] == "data"
    n = large_jobs.LARGE
    assert output(server, then) == {"n": n, "last": "T", "small": 1}
    assert output(server, first)["trajectory"] == large_jobs.text(n)


def test_other_shapes_of_large_outputs(server: Settings, run: Run) -> None:
    whole, declared = large_jobs.large_text(), large_jobs.declared()
    assert [fw["state"] for job in (whole, declared) for fw in run(job)] == ["COMPLETED"] * 2
    assert len(output(server, whole)) == large_jobs.LARGE
    kept = stored(server, declared)["output"]
    assert kept["energy"] == -2.0
    assert {name for name, value in kept.items() if isinstance(value, dict)} == {"path", "other"}
    found = output(server, declared)
    assert len(found["path"]) == 1000 and len(found["other"]) == large_jobs.LARGE


def test_a_job_made_at_run_time_may_have_a_large_argument(server: Settings, run: Run) -> None:
    job = large_jobs.hands_on()
    fireworks = run(job)
    assert {fw["state"] for fw in fireworks} == {"COMPLETED"} and len(fireworks) == 3
    n = large_jobs.LARGE
    assert output(server, job) == {"n": n, "last": "T", "small": 3}


def test_a_launch_that_adds_more_than_a_document_holds(server: Settings, run: Run) -> None:
    job = large_jobs.hands_on_much()
    fireworks = run(job)
    assert {fw["state"] for fw in fireworks} == {"COMPLETED"} and len(fireworks) == 14
    assert [found["small"] for found in output(server, job)] == list(range(12))
    with closing(open_database(server)) as database:
        # FireWorks put what the launch returned into its own GridFS.
        assert database["launches"].count_documents({"action.gridfs_id": {"$exists": True}}) == 1


def test_objects_in_a_shared_folder(
    server: Settings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = large_jobs.declared()
    run(before)
    folder = tmp_path / "objects"
    settings = server.model_copy(update={"large_objects": f"folder:{folder}"})
    job = large_jobs.declared()
    run_flow(job, settings, monkeypatch)
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert len(files) == 2 and all(p.name.endswith(".json.gz") for p in files)
    with closing(open_database(settings)) as database:
        assert database["data.files"].count_documents({"metadata.job_uuid": job.uuid}) == 0
        assert database["data_index"].count_documents({"job_uuid": job.uuid}) == 2
    # Those written before the setting was changed are found as well.
    assert output(settings, job) == output(settings, before)
    files[0].write_bytes(b"cut off")
    with pytest.raises(StoreError, match=r"large object cannot be read"):
        output(settings, job)
    files[0].unlink()
    with pytest.raises(StoreError, match=files[0].name):
        output(settings, job)


def test_a_job_that_runs_again_leaves_no_old_objects(
    server: Settings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("gridfs", f"folder:{tmp_path / 'again'}"):
        settings = server.model_copy(update={"large_objects": where})
        job = large_jobs.declared()
        run_flow(job, settings, monkeypatch)
        first = {part["blob_uuid"] for part in stored(settings, job)["output"].values() if isinstance(part, dict)}
        run_flow(job, settings, monkeypatch)
        again = {part["blob_uuid"] for part in stored(settings, job)["output"].values() if isinstance(part, dict)}
        assert len(first | again) == 4
        with closing(open_database(settings)) as database, closing(database.job_store()) as store:
            kept = store.additional_stores["data"].distinct("blob_uuid", {"job_uuid": job.uuid})
            assert set(kept) == again
        assert output(settings, job)["path"] == large_jobs.text(1000)
    assert len(list((tmp_path / "again").rglob("*.gz"))) == 2


def test_a_name_cannot_lead_out_of_the_folder(server: Settings, tmp_path: Path) -> None:
    settings = server.model_copy(update={"large_objects": f"folder:{tmp_path / 'objects'}"})
    (tmp_path / "outside.json.gz").write_bytes(b"secret")
    with closing(open_database(settings)) as database, closing(database.job_store()) as store:
        database["data_index"].insert_one({"blob_uuid": "../../outside"})
        mark = {"blob_uuid": "../../outside", "store": "data", "@class": "", "@module": ""}
        database["outputs"].insert_one({"uuid": "hostile", "index": 1, "output": {"path": mark}})
        with pytest.raises(StoreError, match="no name"):
            store.get_output("hostile", load=True)


def test_objects_in_s3(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    settings = server.model_copy(update={"large_objects": "s3://group/hemiec"})
    job = large_jobs.declared()
    with mock_aws(), closing(boto3.client("s3", region_name="us-east-1")) as client:
        client.create_bucket(Bucket="group")
        assert {fw["state"] for fw in run_flow(job, settings, monkeypatch)} == {"COMPLETED"}
        keys = [o["Key"] for o in client.list_objects_v2(Bucket="group")["Contents"]]
        assert len(keys) == 2 and all(key.startswith("hemiec/") for key in keys)
        assert len(output(settings, job)["other"]) == large_jobs.LARGE
        run_flow(job, settings, monkeypatch)
        again = [o["Key"] for o in client.list_objects_v2(Bucket="group")["Contents"]]
        assert len(again) == 2 and not set(again) & set(keys)
