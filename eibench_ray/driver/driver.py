"""The driver: an asyncio loop that carries out what the scheduler decides, until the backlog is empty."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Mapping
from enum import StrEnum

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.background_tasks import BackgroundTasks
from eibench_ray.driver.cluster_nodes import NodeChanges, NodeWatch
from eibench_ray.driver.failure_policy import FailurePolicy
from eibench_ray.driver.node_monitor import NodeMonitor
from eibench_ray.driver.replica_factory import ReplicaFactory
from eibench_ray.driver.replica_set import ReplicaSet
from eibench_ray.driver.run_context import RunContext
from eibench_ray.driver.run_events import Ledger, Listener
from eibench_ray.driver.run_progress import RunProgress, RunResult
from eibench_ray.driver.walltime import Deadlines, deadlines
from eibench_ray.driver.watchdog import Watchdog
from eibench_ray.engines.cpu_builds import check_builds
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.errors import ClusterError, ClusterLostError
from eibench_ray.estimate.engine_profiles import engine_profiles
from eibench_ray.estimate.measured_profiles import NOTHING_MEASURED, Measured
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork
from eibench_ray.ratelimit.rate_limiter import RateLimiter
from eibench_ray.rows.completion import Retry
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.scheduler import REVIEW_S, Scheduler
from eibench_ray.schedule.scheduler_state import PROGRESS_S
from eibench_ray.terminal.run_log import phase


class RunEnd(StrEnum):
    """Reason why a run ends before all is asked."""

    STOP = "stop"  # somebody wants it to
    GIVE_WAY = "preemption"  # somebody else wants its place
    TIME = "walltime"  # its time is nearly over
    HAND_OVER = "hand_over"  # what is left needs no GPU, and another run does it

    @property
    def told(self) -> str:
        """The end's cause, for people; nobody says whether a signal was of a preemption."""
        return {
            "stop": "Ctrl-C",
            "preemption": "SIGTERM, SIGUSR1 or SIGHUP",
            "walltime": "its walltime",
            "hand_over": "the end of all that needs a GPU",
        }[self.value]


class Driver:
    """Runs one plan on a joined Ray cluster.

    Attributes:
        deadlines: until when what may be done, on the monotonic clock.
    """

    replica_set: ReplicaSet  # the replicas; there, as the scheduler, from the moment when the nodes are known
    _scheduler: Scheduler

    def __init__(
        self,
        plan: Plan,
        work: Mapping[str, StepWork],
        config: ClusterConfig,
        store_root: str,
        run_id: str,
        ledger: Ledger,
        listener: Listener,
        limiter: RateLimiter | None = None,
        left_s: float = math.inf,
        retry: Retry = "errors",
        measured: Measured = NOTHING_MEASURED,
    ) -> None:
        self._plan = plan
        self._work = work
        self._config = config
        self._ledger = ledger
        self._listener = listener
        self._factory = ReplicaFactory(config, plan.datasets, store_root, run_id, limiter, retry)
        self._watch = NodeWatch(config)
        self._counts = RunProgress(plan, work)
        self._jobs = BackgroundTasks()
        self._left_s = left_s
        self._measured = measured
        self.deadlines = Deadlines() if left_s == math.inf else deadlines(left_s, time.monotonic(), config)
        self._end: RunEnd | None = None
        self._has_released = False  # GPUs, as none is needed any more

    def request_stop(self) -> None:
        """Stops admission; rows in flight are given up, finished ones are committed, and `run` returns."""
        self._end = RunEnd.STOP
        self._jobs.wake()

    def give_way(self) -> None:
        """Stops admission; rows in flight have `cluster.grace_s` to finish, then it is as `request_stop`."""
        if self._end is None:
            self._end = RunEnd.GIVE_WAY
            self._jobs.wake()

    async def run(self) -> RunResult:
        """Runs until the backlog is empty, nothing left can be asked or paid for, or an end has come.

        Cancelled, it kills what runs and ends.

        Raises:
            ClusterError: an engine fits on no node, or the time that is left suffices for no row.
            ConfigError: models would run on cores beside GPUs.
            ClusterLostError: Ray is gone.
            EibenchError: the store or the cluster failed under the run; what was committed is kept.
        """
        self._ledger.write("run_started")
        try:
            with phase("asking Ray which nodes there are"):
                changes = await self._watch.look()
            context = self._set_out(changes)
            self.replica_set, self._scheduler = ReplicaSet(context, self._factory), context.scheduler
            monitor = NodeMonitor(context, self.replica_set)
            monitor.meet(changes)
            await self._conduct(monitor, Watchdog(context, self.replica_set))
            self._check_advance(context)
            return self._counts.outcome
        finally:
            self._ledger.write("run_ended")

    def _check_advance(self, context: RunContext) -> None:
        """Refuses to end as a run that may be started again where that would end just so, for ever."""
        if self._end is RunEnd.TIME and not self._counts.has_advanced:
            loads = sorted(profile.load_s for key, profile in context.profiles.items() if self._counts.has_work(key))
            raise ClusterError(
                f"the walltime left no time to finish a single row ({self._left_s:.0f} s; to load an engine should "
                f"take {loads[0]:.0f} to {loads[-1]:.0f} s): raise cluster.walltime (or the job's time limit), or "
                f"correct model.expect.load_s"
            )

    def _set_out(self, changes: NodeChanges) -> RunContext:
        self._check_builds(changes)
        profiles = engine_profiles(self._plan, self._config, changes.joined, self._measured)
        self._counts.outcome.nodes, self._counts.outcome.began_at = changes.joined, time.monotonic()
        return RunContext(
            plan=self._plan,
            config=self._config,
            profiles=profiles,
            scheduler=Scheduler(Backlog(self._plan, self._work), profiles, until=self.deadlines.rows_until),
            counts=self._counts,
            failure_policy=FailurePolicy(self._config),
            watch=self._watch,
            jobs=self._jobs,
            ledger=self._ledger,
        )

    def _check_builds(self, changes: NodeChanges) -> None:
        """Refuses to run models on the cores of nodes that have GPUs, unless the configuration says so.

        What a node has installed that is not as here, its replicas say when they start.
        """
        asked = next(
            (f"node {node.name} has {node.total.gpus:g} GPUs" for node in changes.joined if node.total.gpus), ""
        )
        engines = {self._plan.steps[step].engine for step, left in self._work.items() if left.todo}
        idle = [spec for key in engines if (spec := self._plan.engines[key]).device == "cpu"]
        installed = vllm_version()
        check_builds(idle, self._config, asked, installed[0] if installed else None)

    async def _conduct(self, monitor: NodeMonitor, watchdog: Watchdog) -> None:
        """Acts whenever something has happened, and ends every replica at last, whatever happens."""
        scheduler = self._scheduler
        followers = [self._jobs.spawn(self._report(watchdog)), self._jobs.spawn(monitor.follow())]
        left_s = self._config.stop_timeout_s
        try:
            while not scheduler.is_done and self._may_go_on(scheduler):
                if self.replica_set.must_look:
                    await monitor.look()
                    self.replica_set.settle_doubts()
                self.replica_set.act()
                self._release_gpus(scheduler)
                await self._jobs.next_change(REVIEW_S)
            if self._end is not None:
                left_s = await self._interrupt(self._end)
                if not scheduler.is_done:
                    self._counts.interrupt(is_preemption=self._end is not RunEnd.STOP)
                    self._counts.outcome.ended_by = self._end.told
                    self._counts.outcome.was_handed_over = self._end is RunEnd.HAND_OVER
        except (asyncio.CancelledError, ClusterLostError):
            left_s = 0.0  # told twice to stop, or Ray is gone: nothing is to be ended in order
            raise
        finally:
            for follower in followers:
                follower.cancel()
            watchdog.close()
            with phase("ending what is left of the replicas"):
                await self.replica_set.close(left_s)
            self._show()

    def _release_gpus(self, scheduler: Scheduler) -> None:
        """Says once that no GPU is held or needed any more, where something is left that needs none."""
        if self._has_released or scheduler.needs_gpus or scheduler.is_done:
            return
        self._has_released = True
        if num_gpus := scheduler.places.num_gpus:
            self._ledger.write("gpus_released", gpus=num_gpus)

    def _may_go_on(self, scheduler: Scheduler) -> bool:
        """Whether nobody has told it to end, the time is not over, and what is left is this run's to do."""
        now = time.monotonic()
        if self._end is None and (now >= self.deadlines.drain_at or scheduler.is_out_of_time(now)):
            self._end = RunEnd.TIME
        least_s = self._config.hand_over_s
        if self._end is None and self._has_released and least_s is not None and scheduler.horizon_s(now) >= least_s:
            self._end = RunEnd.HAND_OVER
        return self._end is None

    async def _interrupt(self, end: RunEnd) -> float:
        """Lets tasks commit what they have, for as long as the configuration allows; the seconds that are left."""
        self._ledger.write("interrupted", reason=end)
        if end is not RunEnd.STOP:
            await self._drain(self._config.grace_s, self._config.grace_s + self._config.stop_timeout_s)
        deadline = time.monotonic() + self._config.stop_timeout_s
        if self._end is RunEnd.STOP:
            await self._drain(0.0, self._config.stop_timeout_s)
        return max(0.0, deadline - time.monotonic())

    async def _drain(self, grace_s: float, timeout_s: float) -> None:
        """Returns once no replica has a slice, the time is over, or a stop is requested meanwhile."""
        is_stopping = self._end is RunEnd.STOP
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.replica_set.drain(grace_s)
                while any(state.slices for state in self.replica_set.ready) and is_stopping is (
                    self._end is RunEnd.STOP
                ):
                    await self._jobs.next_change(REVIEW_S)
                return
        for state in self.replica_set.ready:
            if state.slices:
                what = f"replica {state.handle.id} to commit the rows that are done"
                self.replica_set.tell_deadline(state, what, timeout_s, "ended it; what it had not committed is lost")

    async def _report(self, watchdog: Watchdog) -> None:
        """Tells the scheduler and the listener where the run stands, about once a second."""
        while True:
            await asyncio.sleep(PROGRESS_S)
            await watchdog.look()
            self._jobs.wake()
            self._show()

    def _show(self) -> None:
        statuses = [state.status for state in self.replica_set.states.values()]
        horizon_s, prior_share = self._scheduler.horizon_s(time.monotonic()), self._scheduler.prior_share
        self._listener.update(self._counts.snapshot(statuses, self.replica_set.waits(), horizon_s, prior_share))
