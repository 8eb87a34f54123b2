"""Reference phases that come with hemiec, on jobflow-remote."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_remote import Remote, mongod, remote, scheduler

from hemiec.launch.submit import submit
from hemiec.workflows.campaign import load_campaign

__all__ = ["mongod", "remote", "scheduler"]
pytestmark = pytest.mark.store


def test_shipped_phases_are_no_jobs(remote: Remote, tmp_path: Path) -> None:
    path = tmp_path / "titanate.yaml"
    space = [{"A": {"Sr": 1}, "B": {"Ti": 1}}]
    about = {"name": "titanate", "space": space, "protocols": {"gap": None, "barrier": None}}
    path.write_text(yaml.safe_dump(about | {"sqs": {"max_atoms": 5, "quality": "fast"}, "competitors": "none"}))
    campaign = load_campaign(path)
    done = submit(remote.queue, campaign)
    # Strontium, titanium, oxygen and two oxides; the jobs of the cell are left.
    assert (done.shipped, done.added, done.finished) == (5, 2, 0)
    assert remote.database["jf_jobs"].count_documents({"job.metadata.hemiec.kind": "reference"}) == 0
    listed = [record["uuid"] for record in campaign.header()["references"]]
    assert remote.queue.states(listed) == dict.fromkeys(listed, "done")
    again = submit(remote.queue, campaign)
    assert (again.shipped, again.added, again.pending) == (5, 0, 2)
