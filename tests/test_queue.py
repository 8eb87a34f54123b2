"""The queue on a real LaunchPad: its documents, counts, costs and budgets, and the commands that steer jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from fireworks import FWAction, FWorker, LaunchPad
from jobflow.managers.fireworks import flow_to_workflow

from hemiec.cli.main import cli
from hemiec.launch.budget import check_budgets
from hemiec.launch.failures import by_cause
from hemiec.launch.fireworks.enqueue import documents, graph_of
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.predict import predict
from hemiec.launch.queue import JobStatus
from hemiec.launch.status import read_status
from hemiec.launch.submit import plan_submission, submit
from hemiec.store.campaigns import read_campaign
from hemiec.store.database import Database
from hemiec.workflows.campaign import Campaign, load_campaign

FLOWS = Path(__file__).parent.parent / "flows"
SMALL: dict[str, Any] = {
    "name": "small",
    "space": [{"A": {"choose": 1, "from": ["Sr", "Ba"]}, "B": {"Ti": 1}}],
    "sqs": {"max_atoms": 5, "quality": "fast"},
    "protocols": {"gap": None, "barrier": None},
    # Reference phases are jobs like others here; what is shipped is tested in test_reference_jobs.py.
    "competitors": "none",
    "shipped_references": False,
}

Load = Callable[..., Campaign]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A function from changes to a small campaign of six jobs for each of two candidates."""

    def load(**changes: Any) -> Campaign:
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(SMALL | changes))
        return load_campaign(path)

    return load


def run_one(launchpad: LaunchPad, kind: str, *, seconds: float = 36.0, fails: str | None = None) -> int:
    """Let a job of a kind run as a worker would, for so many seconds; return its fw_id."""
    query = {"spec.hemiec.kind": kind}
    firework, launch_id = launchpad.checkout_fw(FWorker(name="hemiec:elsewhere:1:1", query=query), "/a/folder")
    assert firework is not None
    started = datetime.now(UTC) - timedelta(seconds=seconds)
    history = [{"state": "RUNNING", "created_on": started.isoformat(), "updated_on": started.isoformat()}]
    launchpad.launches.update_one({"launch_id": launch_id}, {"$set": {"state_history": history}})
    trace = {"_exception": {"_stacktrace": f"Traceback (most recent call last):\n  File x\n{fails}\n"}}
    action = FWAction(stored_data=trace if fails else {})
    launchpad.complete_launch(launch_id, action, "FIZZLED" if fails else "COMPLETED")
    return int(firework.fw_id)


@pytest.mark.parametrize("name", ["quickstart", "flagship", "ladder"])
def test_documents_are_those_that_fireworks_writes(name: str) -> None:
    campaign = load_campaign(FLOWS / f"{name}.yaml")
    for flow in [*map(campaign.maker.make, campaign.candidates[:2]), *campaign.reference_flows[:2]]:
        ours, our_fireworks = documents(flow.name, graph_of(flow), 1)
        workflow = flow_to_workflow(flow, allow_external_references=True)
        ids = {firework["spec"]["hemiec"]["uuid"]: firework["fw_id"] for firework in our_fireworks}
        numbers = {old: ids[fw.spec["hemiec"]["uuid"]] for old, fw in workflow.id_fw.items()}
        for firework in workflow:
            firework.fw_id = numbers[firework.fw_id]
        workflow._reassign_ids(numbers)
        for root in workflow.root_fw_ids:
            workflow.id_fw[root].state = workflow.fw_states[root] = "READY"
        theirs = workflow.to_db_dict()
        assert _untimed(ours) == _untimed(theirs)
        by_uuid = {fw.to_db_dict()["spec"]["hemiec"]["uuid"]: fw.to_db_dict() for fw in workflow}
        for firework in our_fireworks:
            other = by_uuid[firework["spec"]["hemiec"]["uuid"]]
            assert _untimed(firework) == _untimed(other)
            assert type(firework["created_on"]) is type(other["created_on"])


def _untimed(document: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in document.items() if key not in ("created_on", "updated_on", "nodes")}
    if "parent_links" in kept:
        kept["parent_links"] = {child: sorted(parents) for child, parents in kept["parent_links"].items()}
        kept["links"] = {parent: sorted(children) for parent, children in kept["links"].items()}
    return kept


@pytest.mark.store
def test_counts_costs_and_what_is_left(queue: FireWorksQueue, launchpad: LaunchPad, load: Load) -> None:
    submission = submit(queue, load())
    status = read_status(queue, "small", costs=True)
    assert status.n_jobs == submission.added == sum(status.counts.values())
    assert status.core_hours == 0 and status.core_hours_left is None and status.hours_left is None
    run_one(launchpad, "sqs")
    status = read_status(queue, "small", costs=True)
    assert status.counts["done"] == 1 and status.done_per_hour == 1
    assert status.core_hours == pytest.approx(0.01, rel=0.1)
    run_one(launchpad, "sqs", fails="ValueError: no")
    status = read_status(queue, "small", costs=True)
    assert status.counts["failed"] == 1
    assert status.core_hours == pytest.approx(0.02, rel=0.1), "a failed launch costs too"
    listed = {job.uuid: job.state for job in status.jobs}
    assert len(listed) == status.n_jobs
    assert queue.states(list(listed)) == listed
    assert sum(queue.seconds(list(listed)).values()) / 3600 == pytest.approx(status.core_hours)
    # Every kind once: what is left has a measure.
    run_one(launchpad, "basin")
    for _ in range(len(load().reference_flows)):
        run_one(launchpad, "reference", seconds=72)
    status = read_status(queue, "small", costs=True)
    assert status.core_hours_left == pytest.approx(0.01, rel=0.1)  # the basin of the failed candidate
    assert status.jobs_settled and status.n_blocked == 1
    assert read_status(queue, "small").core_hours is None, "what was not gathered is missing, not zero"
    assert json.loads(json.dumps(status.to_json()))["core_hours_left"] == status.core_hours_left


@pytest.mark.store
def test_dry_run_predicts_from_what_finished_jobs_took(
    queue: FireWorksQueue, launchpad: LaunchPad, load: Load, database: Database
) -> None:
    submit(queue, load())
    run_one(launchpad, "sqs", seconds=360)
    run_one(launchpad, "sqs", seconds=1080)
    more = load(name="more", seed=7)
    plan = plan_submission(queue, more)
    assert database["campaigns"].count_documents({"name": "more"}) == 0
    cost = predict(queue, plan.kinds)
    by_kind = {entry.kind: entry for entry in cost.kinds}
    assert by_kind["sqs"].n == 2 and by_kind["sqs"].n_measured == 2
    assert by_kind["sqs"].core_hours == pytest.approx(0.4, rel=0.01)
    assert by_kind["basin"].core_hours is None and not cost.complete
    assert sum(entry.n for entry in cost.kinds) == plan.added


@pytest.mark.store
def test_shared_jobs_belong_to_both_campaigns_until_one_drops_them(
    queue: FireWorksQueue, load: Load, database: Database
) -> None:
    submit(queue, load())
    n = read_status(queue, "small").n_jobs
    assert submit(queue, load(name="twin")).added == 0
    assert read_status(queue, "twin").n_jobs == read_status(queue, "small").n_jobs == n
    only_strontium = load(name="twin", space=[{"A": {"Sr": 1}, "B": {"Ti": 1}}])
    submit(queue, only_strontium)
    assert {job.label for job in queue.jobs("twin") if job.candidate_id} == {"SrTiO3"}
    assert read_status(queue, "small").n_jobs == n
    assert len(read_campaign(database, "twin")["candidates"]) == 1
    # Another seed is other work: the old jobs are no longer the campaign's.
    submit(queue, load(name="twin", seed=3))
    assert not {j.uuid for j in queue.jobs("twin") if j.kind == "sqs"} & {
        j.uuid for j in queue.jobs("small") if j.kind == "sqs"
    }


@pytest.mark.store
def test_a_spent_budget_keeps_jobs_from_starting(queue: FireWorksQueue, launchpad: LaunchPad, load: Load) -> None:
    budget = {"core_hours": 0.015}
    submit(queue, load(budget=budget))
    run_one(launchpad, "sqs")
    assert check_budgets(queue) == [] and not read_status(queue, "small").settled
    run_one(launchpad, "sqs")
    (spent,) = check_budgets(queue)
    assert (spent.campaign, spent.budget) == ("small", 0.015) and spent.used == pytest.approx(0.02, rel=0.1)
    assert check_budgets(queue) == []  # said once
    status = read_status(queue, "small")
    assert status.spent and status.n_startable == 0 and status.counts["ready"] > 0
    assert status.settled, "what waits for a larger budget must not keep `hemiec run` waiting"
    # Another campaign that wants the same jobs may have them.
    submit(queue, load(name="rich"))
    assert read_status(queue, "rich").n_startable == read_status(queue, "rich").counts["ready"]
    assert queue.startable(None, ["small"]) == read_status(queue, "rich").counts["ready"]
    submit(queue, load(budget={"core_hours": 1}))
    assert not read_status(queue, "small").spent and not read_status(queue, "small").settled


@pytest.mark.store
def test_pause_cancel_resume_and_rerun(queue: FireWorksQueue, launchpad: LaunchPad, load: Load) -> None:
    submit(queue, load())
    runner = CliRunner()

    def hemiec(*arguments: str, expected: int = 0) -> str:
        result = runner.invoke(cli, arguments)
        assert result.exit_code == expected, result.output
        return result.output

    strontium = next(job.candidate_id for job in queue.jobs("small") if job.label == "SrTiO3")
    assert "2 jobs paused" in hemiec("pause", "small", "--candidate", str(strontium))
    states = {job.state for job in queue.jobs("small") if job.candidate_id == strontium}
    assert states == {"paused"}
    assert {job.state for job in queue.jobs("small") if job.candidate_id != strontium} == {"ready", "waiting"}
    hemiec("resume", "small")
    assert {job.state for job in queue.jobs("small")} == {"ready", "waiting"}
    declined = runner.invoke(cli, ["cancel", "small", "--step", "sqs"], input="n\n")
    assert declined.exit_code == 1 and "Cancel 2 jobs" in declined.output
    assert "2 jobs cancelled" in hemiec("cancel", "small", "--step", "sqs", "--yes")
    assert read_status(queue, "small").counts["cancelled"] == 2
    blocked = [job.step for job in queue.jobs("small") if job.blocked]
    assert blocked.count("basin") == 2
    assert "2 jobs may run again" in hemiec("resume", "small")
    failed = run_one(launchpad, "sqs", fails="hemiec.errors.StructureError: SrTiO3: no cell of 3.7 angstrom")
    shown = hemiec("errors", "small", "--tail", "5")
    assert "1 × hemiec.errors.StructureError" in shown and f"fw_id {failed}" in shown
    assert "elsewhere" not in shown.split("\n")[0] and "/a/folder" in shown and "Traceback" in shown
    (entry,) = json.loads(hemiec("errors", "small", "--json"))
    assert entry["fw_id"] == failed and entry["first"]["folder"] == "/a/folder"
    assert "1 failed jobs made ready" in hemiec("rerun", "small")
    assert read_status(queue, "small").counts["failed"] == 0
    wrong = runner.invoke(cli, ["pause", "small", "--step", "sqz"])
    assert "did you mean 'sqs'" in str(wrong.exception)


def test_failures_that_differ_in_numbers_formulas_or_folders_have_one_cause() -> None:
    def failed(message: str) -> JobStatus:
        return JobStatus(uuid=message, label="", step="relax", state="failed", message=message)

    causes = by_cause(
        failed(message)
        for message in (
            "hemiec.errors.NotConvergedError: La0.2Sr0.8CoO3: force of 0.113 eV/angstrom, expected 0.055.",
            "OSError: /scratch/a/b: no space",
            "hemiec.errors.NotConvergedError: BaTiO3: force of 2 eV/angstrom, expected 0.055.",
            "OSError: /home/c/d: no space",
            "hemiec.errors.NotConvergedError: SrTiO3: force of 1e-3 eV/angstrom, expected 0.055.",
            "KeyError: 'structure'",
        )
    )
    assert [len(cause.jobs) for cause in causes] == [3, 2, 1]
    assert causes[0].message.startswith("hemiec.errors.NotConvergedError: La0.2Sr0.8CoO3")


@pytest.mark.slow
@pytest.mark.store
def test_ten_thousand_candidates_are_submitted_and_counted(
    queue: FireWorksQueue, tmp_path: Path, database: Database, record_property: Callable[[str, object], None]
) -> None:
    """No time is asserted; `make bench-launch` prints it."""
    path = tmp_path / "large.yaml"
    elements = ["La", "Sr", "Ba", "Ca", "Y", "Gd", "Sm", "K", "Bi", "Lu", "Na"]
    space = [
        {"A": {"choose": 5, "from": elements}, "B": {"choose": 3, "from": ["Ti", "Fe", "Mn", "Co", "Ni", "Cr", "Al"]}}
    ]
    large = {"name": "large", "space": space, "charge": {"unbalanced": "drop"}, "sqs": {"max_atoms": 75}}
    path.write_text(yaml.safe_dump(SMALL | large))
    everything = load_campaign(path)
    campaign = replace(everything, candidates=everything.candidates[:10_000])
    started = time.monotonic()
    submission = submit(queue, campaign)
    record_property("submit_s", time.monotonic() - started)
    assert submission.added == database["fireworks"].count_documents({})
    assert submission.added > 2 * len(campaign.candidates) == 20_000
    assert len(database["fireworks"].distinct("spec.hemiec.uuid")) == submission.added
    assert database["plans"].count_documents({"campaign": "large"}) == len(campaign.candidates)
    status = read_status(queue, "large", costs=True)
    assert status.n_jobs == submission.added and len(status.jobs) == 0
    again = submit(queue, campaign)
    assert (again.added, again.pending) == (0, submission.added)
    # The counts come from the index alone.
    pipeline = [{"$match": {"spec.hemiec.campaigns": "large"}}, {"$group": {"_id": "$state", "n": {"$sum": 1}}}]
    plan = database.mongo.command(
        "explain", {"aggregate": "fireworks", "pipeline": pipeline, "cursor": {}}, verbosity="executionStats"
    )
    assert '"totalDocsExamined": 0' in json.dumps(plan, default=str)
