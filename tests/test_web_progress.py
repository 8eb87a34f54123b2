"""How far campaigns have come: the web counts as `hemiec status` does, in either queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from stored_candidates import insert_candidates
from web_client import Client

from hemiec.errors import InputError
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.status import read_status
from hemiec.launch.submit import submit
from hemiec.settings import Settings
from hemiec.store.database import Database
from hemiec.store.queue import progress
from hemiec.store.queue.progress import CampaignProgress, read_progress
from hemiec.store.queue.remote import JOBS
from hemiec.store.queue.states import STATES
from hemiec.web.app import create_app
from hemiec.workflows.campaign import load_campaign

pytestmark = pytest.mark.store
SMALL: dict[str, Any] = {
    "name": "small",
    "space": [{"A": {"choose": 1, "from": ["Sr", "Ba", "Ca", "La"]}, "B": {"Ti": 1}}],
    "charge": {"unbalanced": "keep"},
    "sqs": {"max_atoms": 5, "quality": "fast"},
    "protocols": {"gap": None, "barrier": None},
    "competitors": "none",
    "shipped_references": False,
}


@pytest.fixture
def submitted(queue: FireWorksQueue, tmp_path: Path) -> FireWorksQueue:
    """A queue with a campaign of four candidates, of which the first has done all and the last has failed."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    submit(queue, load_campaign(path))
    plans = list(queue.database["plans"].find({"campaign": "small"}).sort("order", 1))
    first, third, last = (plans[k]["candidate"]["candidate_id"] for k in (0, 2, 3))
    fireworks = queue.database["fireworks"]
    fireworks.update_many({"spec.hemiec.candidate_id": first}, {"$set": {"state": "COMPLETED"}})
    for candidate_id, state in ((third, "RUNNING"), (last, "FIZZLED")):
        one = fireworks.find_one({"spec.hemiec.candidate_id": candidate_id}, sort=[("fw_id", 1)])
        fireworks.update_one({"fw_id": one["fw_id"]}, {"$set": {"state": state}})
    return queue


def counted(found: CampaignProgress) -> dict[str, int]:
    return {state: n for state, n in found.counts.model_dump().items() if n}


def test_counts_are_those_of_status(submitted: FireWorksQueue) -> None:
    found = read_progress(submitted.database, "small")
    status = read_status(submitted, "small")
    assert counted(found) == dict(status.counts)
    assert found.counts.failed == found.counts.running == 1 and found.counts.done > 1
    assert set(found.counts.model_dump()) == set(STATES)
    kinds: Counter[tuple[str, str | None]] = Counter()
    for tally in status.tallies:
        kinds[tally.kind, tally.protocol] += tally.n
    assert {(kind.kind, kind.protocol): kind.total for kind in found.kinds} == dict(kinds)
    for kind in found.kinds:
        assert sum(getattr(kind, state) for state in STATES) == kind.total
    jobs = Counter(job.candidate_id for job in status.jobs if job.candidate_id is not None)
    assert {c.candidate_id: c.total for c in found.candidates} == dict(jobs)


def test_candidates_in_which_something_runs_or_failed_come_first(submitted: FireWorksQueue) -> None:
    database = submitted.database
    order = [plan["candidate"]["candidate_id"] for plan in database["plans"].find({}).sort("order", 1)]
    expected = [order[2], order[3], order[0], order[1]]
    whole = read_progress(database, "small")
    assert [c.candidate_id for c in whole.candidates] == expected
    assert [(c.running, c.failed) for c in whole.candidates] == [(1, 0), (0, 1), (0, 0), (0, 0)]
    assert whole.candidates[2].done == whole.candidates[2].total > 0
    assert whole.n_candidates == 4
    for limit in (1, 2, 3):
        pages = [read_progress(database, "small", first=k, limit=limit).candidates for k in range(0, 6, limit)]
        assert [c.candidate_id for page in pages for c in page] == expected


def test_jobs_of_who_left_the_campaign_do_not_shift_the_pages(submitted: FireWorksQueue) -> None:
    """A candidate without a plan may still have a job that failed: pages hold everybody else once."""
    database = submitted.database
    plans = list(database["plans"].find({}).sort("order", 1))
    order = [plan["candidate"]["candidate_id"] for plan in plans]
    database["plans"].delete_one({"_id": plans[3]["_id"]})
    expected = [order[2], order[0], order[1]]
    for limit in (1, 2):
        pages = [read_progress(database, "small", first=k, limit=limit).candidates for k in range(0, 4, limit)]
        assert [c.candidate_id for page in pages for c in page] == expected


def test_a_job_replaced_between_two_looks_is_not_counted_below_zero(
    submitted: FireWorksQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"campaigns": ["small"], "kind": "gap", "protocol": "gpaw-fast", "tier": None}
    replaced = {"uuid": "a", "index": 1, "state": "COMPLETED", "job": {"metadata": {"hemiec": about}}}
    monkeypatch.setattr("hemiec.store.queue.remote._replaced", lambda *_: [replaced])
    before = read_status(submitted, "small").counts
    assert counted(read_progress(submitted.database, "small")) == dict(before)


def test_results_without_a_job_count_as_done(submitted: FireWorksQueue) -> None:
    database = submitted.database
    plan = next(iter(database["plans"].find({}).sort("order", 1)))
    uuid = plan["jobs"][0]["uuid"]
    database["fireworks"].delete_many({"spec.hemiec.uuid": uuid})
    assert uuid not in progress.states(database, [uuid])
    database["outputs"].insert_one({"uuid": uuid, "index": 1, "output": {"a": 1}})
    assert progress.states(database, [uuid, "unknown"]) == {uuid: "done"}


def test_jobs_of_the_other_queue_count_too(submitted: FireWorksQueue) -> None:
    database = submitted.database
    before = read_progress(database, "small")
    plan = next(iter(database["plans"].find({}).sort("order", 1)))
    about = {"campaigns": ["small"], "kind": "gap", "protocol": "gpaw-fast", "tier": None,
             "candidate_id": plan["candidate"]["candidate_id"]}  # fmt: skip
    job = {"name": "gap", "metadata": {"hemiec": about}}
    database["plans"].update_one({"_id": plan["_id"]}, {"$push": {"jobs": plan["jobs"][0] | {"uuid": "remote"}}})
    database[JOBS].insert_one({"uuid": "remote", "index": 1, "state": "REMOTE_ERROR", "job": job})
    after = read_progress(database, "small")
    assert after.counts.failed == before.counts.failed + 1
    assert next(kind for kind in after.kinds if kind.kind == "gap").failed == 1
    mine = next(c for c in after.candidates if c.candidate_id == about["candidate_id"])
    assert (mine.failed, mine.done) == (1, mine.total - 1)


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[Client]:
    client = Client(create_app(settings, rate=None))
    yield client
    client.close()


def test_over_rest(client: Client, submitted: FireWorksQueue) -> None:
    answer = client.get("campaigns/small/progress", limit=2)
    assert answer.status_code == 200
    expected = read_progress(submitted.database, "small", limit=2).model_dump(mode="json")
    assert {**answer.json(), "updated_at": None} == {**expected, "updated_at": None}
    known = {"If-None-Match": answer.headers["etag"]}
    assert client.get("campaigns/small/progress", headers=known, limit=2).status_code == 304
    submitted.database["fireworks"].update_many({"state": "RUNNING"}, {"$set": {"state": "COMPLETED"}})
    assert client.get("campaigns/small/progress", headers=known, limit=2).status_code == 200
    missing = client.get("campaigns/smal/progress")
    assert missing.status_code == 404 and "small" in missing.text


def test_campaigns_without_jobs(database: Database) -> None:
    insert_candidates(database, 3)
    found = read_progress(database, "synthetic")
    assert (counted(found), found.kinds, found.candidates, found.n_candidates) == ({}, [], [], 0)
    with pytest.raises(InputError, match="no campaign"):
        read_progress(database, "another")
