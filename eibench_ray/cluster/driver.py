"""The driver: an asyncio loop that carries out what the scheduler decides, until the backlog is empty."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping

from eibench_ray.cluster.course import Course
from eibench_ray.cluster.crew import Crew
from eibench_ray.cluster.events import Ledger, Listener
from eibench_ray.cluster.fleet import Fleet
from eibench_ray.cluster.jobs import Jobs
from eibench_ray.cluster.membership import Membership
from eibench_ray.cluster.nodes import NodeChanges, NodeWatch
from eibench_ray.cluster.outcome import Counts, Outcome
from eibench_ray.cluster.patience import Patience
from eibench_ray.config.schema import ClusterConfig
from eibench_ray.endpoints.turnstile import Turnstile
from eibench_ray.errors import ClusterError
from eibench_ray.plan.graph import Plan
from eibench_ray.schedule.actions import Feed, Start
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.profiles import engine_profiles
from eibench_ray.schedule.roster import TALLY_S
from eibench_ray.schedule.scheduler import REVIEW_S, Scheduler
from eibench_ray.store.resume import StepWork


class Driver:
    """Runs one plan on a joined Ray cluster.

    Attributes:
        crew: the replicas; there from the moment when the nodes are known.
    """

    crew: Crew

    def __init__(
        self,
        plan: Plan,
        work: Mapping[str, StepWork],
        config: ClusterConfig,
        store_root: str,
        run_id: str,
        ledger: Ledger,
        listener: Listener,
        turnstile: Turnstile | None = None,
    ) -> None:
        self._plan = plan
        self._work = work
        self._config = config
        self._ledger = ledger
        self._listener = listener
        self._fleet = Fleet(config, plan.datasets, store_root, run_id, turnstile)
        self._watch = NodeWatch(config)
        self._counts = Counts(plan, work)
        self._jobs = Jobs()
        self._is_stop_requested = False

    def request_stop(self) -> None:
        """Stops admission; rows in flight are given up, finished ones are committed, and `run` returns."""
        self._is_stop_requested = True
        self._jobs.wake()

    async def run(self) -> Outcome:
        """What was done, once the backlog is empty, nothing left can be asked or paid for, or a stop was requested.

        Cancelled, it kills what runs and ends.

        Raises:
            ClusterError: an engine fits on no node, or Ray is gone.
            EibenchError: the store or the cluster failed under the run; what was committed is kept.
        """
        self._ledger.write("run_started")
        try:
            changes = await self._watch.look()
            course = self._set_out(changes)
            self.crew = Crew(course, self._fleet)
            membership = Membership(course, self.crew)
            membership.meet(changes)
            await self._conduct(course.scheduler, membership)
            return self._counts.outcome
        finally:
            self._ledger.write("run_ended")

    def _set_out(self, changes: NodeChanges) -> Course:
        profiles = engine_profiles(self._plan, self._config, changes.joined)
        return Course(
            plan=self._plan,
            config=self._config,
            profiles=profiles,
            scheduler=Scheduler(Backlog(self._plan, self._work), profiles),
            counts=self._counts,
            patience=Patience(self._config),
            watch=self._watch,
            jobs=self._jobs,
            ledger=self._ledger,
        )

    async def _conduct(self, scheduler: Scheduler, membership: Membership) -> None:
        """Acts whenever something has happened, and ends every replica at last, whatever happens."""
        followers = [self._jobs.spawn(self._report()), self._jobs.spawn(membership.follow())]
        left_s = self._config.stop_timeout_s
        try:
            while not scheduler.is_done and not self._is_stop_requested:
                if self.crew.must_look:
                    await membership.look()
                    self.crew.settle_doubts()
                self._act(scheduler)
                await self._jobs.next_change(REVIEW_S)
            if self._is_stop_requested:
                left_s = await self._interrupt()
        except (asyncio.CancelledError, ClusterError):
            left_s = 0.0  # told twice to stop, or Ray is gone: nothing is to be ended in order
            raise
        finally:
            for follower in followers:
                follower.cancel()
            await self.crew.close(left_s)
            self._show()

    def _act(self, scheduler: Scheduler) -> None:
        """Carries out the scheduler's decisions; each may allow another, so it is asked until it is silent."""
        while actions := scheduler.decide(time.monotonic()):
            for action in actions:
                match action:
                    case Start():
                        self.crew.start(action)
                    case Feed():
                        self.crew.feed(action)
                    case _:
                        self.crew.stop(action)

    async def _interrupt(self) -> float:
        """Lets tasks commit what they have, for as long as the configuration allows; the seconds that are left."""
        self._counts.interrupt()
        self._ledger.write("interrupted")
        deadline = time.monotonic() + self._config.stop_timeout_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.stop_timeout_s):
                await self.crew.interrupt()
                while any(member.slices for member in self.crew.ready):
                    await self._jobs.next_change(REVIEW_S)
        return max(0.0, deadline - time.monotonic())

    async def _report(self) -> None:
        """Tells the scheduler and the listener where the run stands, about once a second."""
        while True:
            await asyncio.sleep(TALLY_S)
            await self.crew.ask_tallies()
            self._jobs.wake()
            self._show()

    def _show(self) -> None:
        self._listener.update(self._counts.snapshot(member.standing for member in self.crew.members.values()))
