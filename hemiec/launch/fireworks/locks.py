"""Workflows whose lock was left by a killed process: take it over, and finish what the process was writing.

FireWorks changes a workflow under a lock, in several writes: Fireworks first, then the workflow. Whoever is killed in
between leaves the lock behind, so the locks that nobody holds name all workflows that are half written.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from fireworks import LaunchPad, Workflow

from hemiec.store.database import Document

#: FireWorks holds a lock for a fraction of a second; one that is seen unchanged for all of this has no owner.
GRACE = timedelta(seconds=10)
POLL_SECONDS = 0.5
_FIELDS = {"updated_on": 1, "nodes": 1}


def mend_workflows(launchpad: LaunchPad, fw_id: int | None = None) -> int:
    """Finish and unlock every workflow (or that of one Firework) whose lock nobody holds; return how many.

    It waits until it is sure, up to ten seconds, if there are locks at all.
    """
    workflows = launchpad.workflows
    query: Document = {"locked": True} | ({} if fw_id is None else {"nodes": fw_id})
    stale = {wf["_id"]: wf for wf in workflows.find(query, _FIELDS)}
    deadline = time.monotonic() + GRACE.total_seconds()
    while stale and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        held = workflows.find({"_id": {"$in": list(stale)}, "locked": True}, _FIELDS)
        stale = {wf["_id"]: wf for wf in held if wf.get("updated_on") == stale[wf["_id"]].get("updated_on")}
    return sum(_take_over(launchpad, wf) for wf in stale.values())


def _take_over(launchpad: LaunchPad, seen: Document) -> bool:
    """Finish one workflow under the lock that was left; return whether it was us who did."""
    as_seen = {"_id": seen["_id"], "locked": True, "updated_on": seen.get("updated_on")}
    now = datetime.now(UTC).isoformat()
    if launchpad.workflows.update_one(as_seen, {"$set": {"updated_on": now}}).modified_count == 0:
        return False
    workflow = launchpad.get_wf_by_fw_id_lzyfw(seen["nodes"][0])
    launchpad._update_wf(workflow, _refresh(launchpad, workflow))
    launchpad.workflows.update_one({"nodes": seen["nodes"][0]}, {"$unset": {"locked": ""}})
    return True


def _refresh(launchpad: LaunchPad, workflow: Workflow) -> set[int]:
    """Bring the states of all Fireworks of a workflow up to date, and return which changed."""
    updated: set[int] = set()
    for fw_id in _parents_first(workflow):
        fw = workflow.id_fw[fw_id]
        if fw.state == "COMPLETED" and workflow.fw_states[fw_id] != "COMPLETED":
            # What its completion brings, new jobs among it, may not have been written: it is applied again.
            _remove_orphans(launchpad, workflow, fw_id)
            fw.state = "RUNNING"
        updated |= workflow.refresh(fw_id)
    return updated


def _parents_first(workflow: Workflow) -> list[int]:
    parents = workflow.links.parent_links
    ordered: dict[int, None] = {}

    def visit(fw_id: int) -> None:
        for parent in parents.get(fw_id, []):
            if parent not in ordered:
                visit(parent)
        ordered[fw_id] = None

    for fw_id in sorted(workflow.id_fw):
        visit(fw_id)
    return list(ordered)


def _remove_orphans(launchpad: LaunchPad, workflow: Workflow, fw_id: int) -> None:
    """Delete new jobs of a Firework that were written before the workflow that should hold them."""
    for launch in workflow.id_fw[fw_id].launches:
        action = launch.action
        if action is None:
            continue
        new = [fw for wf in (*action.detours, *action.additions) for fw in wf.fws]
        uuids = [task["job"].uuid for fw in new for task in fw.tasks if "job" in task]
        if uuids:
            query = {"spec._tasks.job.uuid": {"$in": uuids}, "fw_id": {"$gt": fw_id, "$nin": list(workflow.id_fw)}}
            launchpad.fireworks.delete_many(query)
