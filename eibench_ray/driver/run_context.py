"""State that the parts of a driver share during a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.background_tasks import BackgroundTasks
from eibench_ray.driver.cluster_nodes import NodeWatch
from eibench_ray.driver.failure_policy import FailurePolicy
from eibench_ray.driver.run_events import Ledger
from eibench_ray.driver.run_progress import RunProgress
from eibench_ray.plan.graph import Plan
from eibench_ray.schedule.resources import EngineProfile
from eibench_ray.schedule.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run on its course: what was planned, what is known, who is told."""

    plan: Plan
    config: ClusterConfig
    profiles: Mapping[str, EngineProfile]
    scheduler: Scheduler
    counts: RunProgress
    failure_policy: FailurePolicy
    watch: NodeWatch
    jobs: BackgroundTasks
    ledger: Ledger

    def name(self, engine: str) -> str:
        """An engine's name for people."""
        return self.plan.engines[engine].name

    def is_given_up(self, engine: str) -> bool:
        """Whether an engine is never started again."""
        return engine in self.counts.outcome.failed_engines

    def spend_no_more(self, shortage: str) -> None:
        """Asks no further slice of the engines that cost money; the others go on with what can be asked.

        What was given back since the last call is taken out, too.
        """
        is_new = self.counts.outcome.shortage is None
        self.counts.outcome.shortage = shortage
        for key, spec in self.plan.engines.items():
            if spec.price is not None:
                self.counts.outcome.unfinished_steps |= self.scheduler.ask_no_more(key)
        if is_new:
            self.ledger.write("budget_spent", reason=shortage)

    def tell_deadline(self, what: str, waited_s: float, did: str, **of: object) -> None:
        """Something has not happened in time: what was waited for, for how long, and what was done then."""
        self.ledger.write("deadline", **of, what=what, waited_s=round(waited_s, 1), did=did)

    def give_up(self, engine: str, reason: str) -> None:
        """Never starts an engine again."""
        self.counts.outcome.failed_engines[engine] = reason
        self.counts.outcome.unfinished_steps |= self.scheduler.give_up(engine)
        self.ledger.write("engine_failed", engine=engine, model=self.name(engine), reason=reason)
        self.jobs.wake()
