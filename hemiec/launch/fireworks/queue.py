"""The queue on a FireWorks LaunchPad, drained here or under a scheduler."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow

from hemiec.launch.fireworks.enqueue import add_missing, remove_half_written, tag, untag
from hemiec.launch.fireworks.launches import (
    blocked_fireworks,
    last_line,
    last_line_of,
    seconds_by_uuid,
    stack_trace,
)
from hemiec.launch.fireworks.launchpad import open_launchpad
from hemiec.launch.fireworks.reconcile import reconcile
from hemiec.launch.queue import JobStatus, Queue, State, Tally, Trace
from hemiec.store.database import Database, Document
from hemiec.store.queue.fireworks import CHUNK, STATES, job_states, launch_seconds, tally_fireworks, wanted_by

_FIELDS = {"_id": 0, "fw_id": 1, "state": 1, "name": 1, "launches": 1, "spec.hemiec": 1, "spec._exception_details": 1}
_LAUNCH_FIELDS = {
    "_id": 0,
    "launch_id": 1,
    "state": 1,
    "state_history": 1,
    "action.stored_data._exception._stacktrace": 1,
}


class FireWorksQueue(Queue):
    """The jobs on the LaunchPad of one database.

    Parameters
    ----------
    database
        Where LaunchPad and results are.
    launchpad
        The LaunchPad; opened if not given.
    """

    backend = "fireworks"

    def __init__(self, database: Database, launchpad: LaunchPad | None = None) -> None:
        super().__init__(database)
        self.launchpad = launchpad or open_launchpad(database)

    def close(self) -> None:
        """Close the LaunchPad's own connection."""
        self.launchpad.connection.close()

    def add_missing(self, flows: Sequence[Flow], campaign: str) -> int:
        """Add jobs; see :meth:`Queue.add_missing`."""
        return add_missing(self.database, self.launchpad, flows, campaign)

    def claim(self, campaign: str, uuids: Collection[str]) -> None:
        """Make jobs a campaign's; see :meth:`Queue.claim`."""
        tag(self.database, campaign, uuids)

    def release(self, campaign: str, uuids: Collection[str]) -> None:
        """Take jobs from a campaign; see :meth:`Queue.release`."""
        untag(self.database, campaign, uuids)

    def mend_submission(self) -> None:
        """Undo a half-written submission; see :meth:`Queue.mend_submission`."""
        remove_half_written(self.database)

    def states(self, uuids: Collection[str]) -> dict[str, State]:
        """Return uuid to state; see :meth:`Queue.states`."""
        return {uuid: STATES[entry["state"]] for uuid, entry in job_states(self.database, uuids).items()}

    def tally(self, campaign: str | None = None, *, costs: bool = False, spent: Collection[str] = ()) -> list[Tally]:
        """Return counts; see :meth:`Queue.tally`."""
        return tally_fireworks(self.database, campaign, costs=costs, spent=spent)

    def jobs(
        self,
        campaign: str | None = None,
        *,
        uuids: Collection[str] | None = None,
        states: Collection[State] | None = None,
        limit: int | None = None,
    ) -> list[JobStatus]:
        """Return jobs; see :meth:`Queue.jobs`."""
        latest: dict[str, Document] = {}
        for fw in self._fireworks(campaign, uuids, states, limit):
            # Of a job that was replaced, the last Firework counts.
            latest[fw["spec"].get("hemiec", {}).get("uuid", str(fw["fw_id"]))] = fw
        fireworks = list(latest.values())
        launches = self._last_launches(fireworks)
        waiting = [fw["fw_id"] for fw in fireworks if fw["state"] == "WAITING"]
        blocked = blocked_fireworks(self.database, waiting)
        return [_status(fw, launches.get(fw["fw_id"]), fw["fw_id"] in blocked) for fw in fireworks]

    def trace(self, job: JobStatus, *, lines: int = 15) -> Trace:
        """Return the end of the traceback; see :meth:`Queue.trace`."""
        launch = self._last_launches(list(self._fireworks(None, [job.uuid], None, None))).get(job.fw_id or 0)
        if launch is None:
            return Trace(job.message or "it was never started")
        where = self.database["launches"].find_one({"launch_id": launch["launch_id"]}, {"launch_dir": 1, "host": 1})
        about = where or {}
        text = "\n".join(stack_trace(launch).splitlines()[-lines:])
        return Trace(text or "its worker died without a word", about.get("launch_dir"), about.get("host"))

    def finished_since(self, moment: datetime, campaign: str | None = None) -> int:
        """Return how many jobs were done; see :meth:`Queue.finished_since`."""
        query: Document = {"state": "COMPLETED", "updated_on": {"$gte": moment.isoformat()}}
        if campaign is not None:
            query["spec.hemiec.campaigns"] = campaign
        return self.database["fireworks"].count_documents(query)

    def blocked(self, uuids: Collection[str]) -> set[str]:
        """Return the blocked ones; see :meth:`Queue.blocked`."""
        waiting = {
            entry["fw_id"]: uuid
            for uuid, entry in job_states(self.database, uuids).items()
            if entry["state"] == "WAITING"
        }
        return {waiting[fw_id] for fw_id in blocked_fireworks(self.database, list(waiting))}

    def seconds(self, uuids: Collection[str]) -> dict[str, float]:
        """Return wall times; see :meth:`Queue.seconds`."""
        return seconds_by_uuid(self.database, uuids)

    def startable(self, campaign: str | None, spent: Collection[str]) -> int:
        """Return how many may start; see :meth:`Queue.startable`."""
        return self.database["fireworks"].count_documents({"state": "READY", **wanted_by(campaign, spent)})

    def hold(self, spent: Collection[str]) -> None:
        """Do nothing: workers look at the campaigns' documents. See :meth:`Queue.hold`."""

    def rerun(self, jobs: Sequence[JobStatus]) -> int:
        """Make failed jobs ready again; see :meth:`Queue.rerun`."""
        return self._each(jobs, {"failed"}, self.launchpad.rerun_fw)

    def cancel(self, jobs: Sequence[JobStatus]) -> int:
        """Cancel jobs; the worker of one that runs stops it at its next sign of life. See :meth:`Queue.cancel`."""
        return self._each(jobs, {"waiting", "ready", "running", "failed", "paused"}, self.launchpad.defuse_fw)

    def pause(self, jobs: Sequence[JobStatus]) -> int:
        """Pause jobs; see :meth:`Queue.pause`."""
        return self._each(jobs, {"waiting", "ready"}, self.launchpad.pause_fw)

    def resume(self, jobs: Sequence[JobStatus]) -> int:
        """Resume jobs; see :meth:`Queue.resume`."""
        n = self._each(jobs, {"paused"}, self.launchpad.resume_fw)
        return n + self._each(jobs, {"cancelled"}, self.launchpad.reignite_fw)

    def reconcile(self) -> list[str]:
        """Bring lost jobs back; see :meth:`Queue.reconcile`."""
        lost = {"fw_id": {"$in": reconcile(self.database, self.launchpad)}}
        found = self.database["fireworks"].find(lost, {"spec.hemiec.uuid": 1})
        return [fw["spec"].get("hemiec", {}).get("uuid", "") for fw in found]

    def _each(self, jobs: Sequence[JobStatus], states: set[State], act: Any) -> int:
        chosen = [job.fw_id for job in jobs if job.state in states]
        for fw_id in chosen:
            act(fw_id)
        return len(chosen)

    def _fireworks(
        self,
        campaign: str | None,
        uuids: Collection[str] | None,
        states: Collection[State] | None,
        limit: int | None,
    ) -> Iterator[Document]:
        query: Document = {} if campaign is None else {"spec.hemiec.campaigns": campaign}
        if states is not None:
            query["state"] = {"$in": [theirs for theirs, ours in STATES.items() if ours in states]}
        listed = None if uuids is None else list(uuids)
        parts = [query] if listed is None else _parts(query, listed)
        for part in parts:
            yield from self.database["fireworks"].find(part, _FIELDS).sort("fw_id").limit(limit or 0)

    def _last_launches(self, fireworks: Sequence[Document]) -> dict[int, Document]:
        """Return fw_id to the last launch."""
        owner = {fw["launches"][-1]: fw["fw_id"] for fw in fireworks if fw["launches"]}
        wanted = list(owner)
        found = {}
        for k in range(0, len(wanted), CHUNK):
            query = {"launch_id": {"$in": wanted[k : k + CHUNK]}}
            for launch in self.database["launches"].find(query, _LAUNCH_FIELDS):
                found[owner[launch["launch_id"]]] = launch
        return found


def _parts(query: Document, uuids: list[str]) -> Iterator[Document]:
    for k in range(0, len(uuids), CHUNK):
        yield {**query, "spec.hemiec.uuid": {"$in": uuids[k : k + CHUNK]}}


def _status(fw: Document, launch: Document | None, blocked: bool) -> JobStatus:
    about = fw["spec"].get("hemiec", {})
    state = STATES[fw["state"]]
    message = None
    if state == "failed":
        # A job that was refused before it was taken has no launch.
        refused = last_line_of((fw["spec"].get("_exception_details") or {}).get("_stacktrace") or "")
        message = (last_line(launch) if launch else refused) or "its worker died again and again"
    return JobStatus(
        uuid=about.get("uuid", ""),
        label=about.get("label", fw["name"]),
        step=about.get("step", fw["name"]),
        state=state,
        kind=about.get("kind", ""),
        tier=about.get("tier"),
        candidate_id=about.get("candidate_id"),
        fw_id=fw["fw_id"],
        elapsed_s=launch_seconds(launch, running=state == "running") if launch else None,
        message=message,
        blocked=blocked,
    )
