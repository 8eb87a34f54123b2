"""Keep as many allocations in the scheduler's queue as the ready jobs need, and lost jobs and ladders moving."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pymongo.errors import PyMongoError

from hemiec.errors import InputError, LaunchError
from hemiec.launch.cluster.needs import Need, Needs
from hemiec.launch.cluster.qadapters import find_qadapter
from hemiec.launch.cluster.scheduler import Allocation, Scheduler
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.fireworks.reconcile import reconcile
from hemiec.launch.ladder import advance_settled
from hemiec.launch.lease import Lease
from hemiec.launch.status import read_status
from hemiec.launch.watch import Watch
from hemiec.settings import Settings
from hemiec.store.database import Document
from hemiec.store.outages import is_outage

LONGEST_WAIT_SECONDS = 300.0
#: The right to launch expires so long after the next step was due.
LEASE_SECONDS = 120.0
#: So many allocations in a row that ended without taking a job although some were ready: something is wrong with all.
MAX_FRUITLESS = 3


class Launcher:
    """Drain a LaunchPad under a scheduler.

    Parameters
    ----------
    settings
        The data folder, in which allocations start.
    queue
        The LaunchPad.
    scheduler
        Who gives the allocations.
    needs
        How many.
    campaign
        Work on this campaign only; None for all.
    report
        Called with a line about each event.
    """

    def __init__(
        self,
        settings: Settings,
        queue: FireWorksQueue,
        scheduler: Scheduler,
        needs: Needs,
        *,
        campaign: str | None,
        report: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.queue = queue
        self.scheduler = scheduler
        self.needs = needs
        self.campaign = campaign
        self.report = report
        self.watch = Watch(settings, queue, campaign)
        self._records = queue.database["allocations"]
        self._folder = settings.data_dir / "allocations"
        #: Troubles that were reported and have not passed.
        self._said: set[str] = set()
        #: Allocations that were there while this launcher ran.
        self._watched: set[str] = set()
        self._fruitless = 0
        #: Ready jobs that no allocation takes.
        self._stuck = 0
        self._reachable_since: datetime | None = None

    def run(self, *, interval: float, once: bool = False, forever: bool = False) -> None:
        """Take one step after another until all jobs have settled.

        Parameters
        ----------
        interval
            Seconds between steps.
        once
            Take one step only.
        forever
            Go on when everything has settled.

        Raises
        ------
        LaunchError
            If another launcher is at work on this LaunchPad, allocations end without taking a job, or jobs are left
            that no allocation takes.
        InputError
            If there is no qadapter file, or one is wrong.
        """
        if not any(self.needs.config.glob(find_qadapter(self.needs.config, "*").name)):
            raise InputError(
                f"{self.needs.config}: no {find_qadapter(self.needs.config, '<category>').name}.",
                mend="write them with `hemiec config render`, and name their folder with --config DIR",
            )
        lease = Lease(self.queue.database, "launch", interval + LONGEST_WAIT_SECONDS + LEASE_SECONDS)
        with lease.held():
            wait, settled_before = interval, False
            while True:
                try:
                    lease.renew()
                    settled = self.step()
                    wait = interval
                except PyMongoError as error:
                    if not is_outage(error):
                        raise
                    settled = False
                    self._reachable_since = datetime.now(UTC)
                    self._trouble(f"MongoDB does not answer ({type(error).__name__}); waiting for it")
                    wait = min(2 * wait, LONGEST_WAIT_SECONDS)
                if not settled:
                    self._said.discard("settled")
                elif settled_before:
                    self._settled()
                if once or (settled and settled_before and not forever):
                    break
                # What has just ended may have made more to do.
                time.sleep(min(wait, 2.0) if settled and not settled_before else wait)
                settled_before = settled
        if self._stuck and not once:
            raise LaunchError(
                f"{self._stuck} jobs are ready that no allocation takes; all others have settled.",
                mend="see the warnings above",
            )

    def step(self) -> bool:
        """Bring back what was lost, take ladders further, ask for allocations; return whether all has settled."""
        self._bring_back()
        advanced = advance_settled(self.queue, self.campaign)
        for step in advanced:
            for action in step.actions:
                self.report(f"{step.campaign}: {action}")
        self.watch.climbed(advanced)
        for line in self.watch.look():
            self.report(line)
        live = self._live()
        if live is None:
            self._trouble(f"{self.scheduler.command} does not answer; waiting for it")
            return False
        self._passed(self.scheduler.command)
        needs = self.needs.read(self.campaign)
        for need in needs.values():
            self._ask_for(need, live)
        self._stuck = sum(need.stuck for need in needs.values())
        settled = not advanced and not any(need.ready or need.running for need in needs.values())
        if settled:
            self._cancel_waiting(live)
        return settled

    def cancel(self) -> list[str]:
        """End all allocations that were asked for here, make their jobs ready again, and return their names.

        Raises
        ------
        LaunchError
            If the scheduler does not answer.
        """
        live = self._live()
        if live is None:
            raise LaunchError(f"{self.scheduler.command} does not answer.", mend="try again")
        self.scheduler.cancel(list(live))
        reconcile(self.queue.database, self.queue.launchpad, scheduler=self.scheduler)
        return list(live)

    def live(self) -> list[str]:
        """Return the names of allocations that wait or run; empty if the scheduler does not answer."""
        return list(self._live() or {})

    def _bring_back(self) -> None:
        database, launchpad = self.queue.database, self.queue.launchpad
        since = self._reachable_since
        lost = reconcile(database, launchpad, scheduler=self.scheduler, reachable_since=since)
        self._passed("MongoDB")
        if lost:
            self.report(f"{len(lost)} lost jobs are ready again")
            fireworks = database["fireworks"].find({"fw_id": {"$in": lost}}, {"spec.hemiec.uuid": 1})
            self.watch.lost([fw["spec"].get("hemiec", {}).get("uuid", "") for fw in fireworks])

    def _ask_for(self, need: Need, live: dict[str, Allocation]) -> None:
        qadapter = self.needs.qadapter(need.category)
        if qadapter is None or not need.ready:
            return
        there = self._records.count_documents({"_id": {"$in": list(live)}, "category": need.category})
        for _ in range(need.allocations - there):
            folder = self._folder / f"{need.category}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
            try:
                name = qadapter.submit(self.scheduler, folder)
            except LaunchError as error:
                self._trouble(f"no allocation for category {need.category}: {error}")
                return
            self._watched.add(name)
            self._record(name, need.category, folder)
            self.report(
                f"{name}: asked for, {need.category}, {qadapter.workers} workers; "
                f"{need.ready} jobs ready, {need.running} running"
            )

    def _record(self, name: str, category: str, folder: Path) -> None:
        # Slurm begins again at 1 when its counter is full: then this is another of the same name.
        about = {"category": category, "folder": str(folder), "ended_on": None}
        self._records.replace_one({"_id": name}, about | {"submitted_on": datetime.now(UTC).isoformat()}, upsert=True)

    def _live(self) -> dict[str, Allocation] | None:
        """Return our allocations that wait or run, and close the books on those that ended; None without an answer."""
        known = self.scheduler.allocations()
        if known is None:
            return None
        live = {name: allocation for name, allocation in known.items() if allocation.state != "ended"}
        ours = {record["_id"]: record for record in self._records.find({"ended_on": None})}
        for name, record in ours.items():
            if name not in live and self.scheduler.gave(name):
                self._ended(record)
        for name, allocation in live.items():
            # Asked for by a launcher that was killed before it could write that down.
            if name not in ours and allocation.folder is not None and allocation.folder.parent == self._folder:
                self._record(name, allocation.job_name.removeprefix("hemiec-"), allocation.folder)
                ours[name] = {}
        self._watched |= live.keys() & ours.keys()
        return {name: allocation for name, allocation in live.items() if name in ours}

    def _ended(self, record: Document) -> None:
        """Note the end of an allocation, and stop if one after the other ends without having taken a job."""
        name = record["_id"]
        launches = self.queue.database["launches"].count_documents({"fworker.name": {"$regex": f":{re.escape(name)}$"}})
        noted = {"ended_on": datetime.now(UTC).isoformat(), "launches": launches}
        self._records.update_one({"_id": name}, {"$set": noted})
        self.report(f"{name}: ended after {launches} jobs")
        qadapter = self.needs.qadapter(record["category"])
        # What plain rlaunch ran does not name its allocation.
        if launches or name not in self._watched or qadapter is None or not qadapter.names_allocation:
            self._fruitless = 0
            return
        self._fruitless += 1
        if self._fruitless >= MAX_FRUITLESS and self.queue.launchpad.run_exists():
            raise LaunchError(
                f"the last {self._fruitless} allocations ended without taking a job ({_last_words(record)}).",
                mend=f"see {record['folder']}; `hemiec launch` goes on when it is mended",
            )

    def _cancel_waiting(self, live: dict[str, Allocation]) -> None:
        """Take back allocations that have not started when there is nothing left for them to do."""
        waiting = [name for name, allocation in live.items() if allocation.state == "waiting"]
        if waiting and self.campaign is None:
            try:
                self.scheduler.cancel(waiting)
            except LaunchError as error:  # they end by themselves when they find nothing to do
                self._trouble(str(error))
                return
            self.report(f"{len(waiting)} waiting allocations cancelled: nothing is left for them")

    def _settled(self) -> None:
        if "settled" not in self._said:
            self._said.add("settled")
            self.report("all jobs have settled")
            self.watch.settled(read_status(self.queue, self.campaign, listed=()))

    def _trouble(self, line: str) -> None:
        """Report a trouble when it begins, and not each time it is still there."""
        if line not in self._said:
            self._said.add(line)
            self.report(line)

    def _passed(self, who: str) -> None:
        if passed := {line for line in self._said if line.startswith(f"{who} does not answer")}:
            self._said -= passed
            self.report(f"{who} answers again")


def config_folder() -> Path:
    """Return the folder of FireWorks' configuration, where the qadapter files are.

    Raises
    ------
    InputError
        If FW_CONFIG_FILE does not name it.
    """
    named = os.environ.get("FW_CONFIG_FILE")
    if not named:
        raise InputError(
            "no folder with qadapter files: FW_CONFIG_FILE is not set.",
            mend="write one with `hemiec config render` and name it with --config DIR",
        )
    return Path(named).expanduser().absolute().parent


def _last_words(record: Document) -> str:
    """Return the last line that an allocation printed."""
    files = sorted(Path(record["folder"]).glob("*.[oe]*"), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()[:200]
    return "it printed nothing"
