"""Counts a run's rows, tokens and costs as it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eibench_ray.driver.run_events import Snapshot
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork
from eibench_ray.rows.wait import Wait, gather_waits
from eibench_ray.worker.row_attempts import ReplicaCounts
from eibench_ray.worker.task import TaskReport


@dataclass(slots=True)
class RunResult:
    """Result of a run.

    Attributes:
        num_new, prompt_tokens, completion_tokens, cost_usd: over rows that engines answered in this run.
        logs: key -> the file with the last lines of the engine's replica that was lost last.
        unfinished_steps: steps that lack rows, because their engine failed, the run was interrupted, or the budget was
            spent.
    """

    num_new: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    num_loads: int = 0  # engines that were loaded: replicas that became ready, but for recorded predictions
    failed_engines: dict[str, str] = field(default_factory=dict)  # key -> why the engine was given up
    logs: dict[str, Path] = field(default_factory=dict)
    unfinished_steps: set[str] = field(default_factory=set)
    was_interrupted: bool = False
    was_preempted: bool = False  # it was interrupted because its place or its time was up, by nobody's wish
    ended_by: str = ""  # what interrupted it, in words
    shortage: str | None = None  # why the budget allowed no further row; None where it was not spent


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica's part of the progress display, before its slices are committed."""

    engine: str
    is_ready: bool
    counts_so_far: ReplicaCounts
    rows_reported: int  # those of its rows whose slices have come back

    @property
    def rows_ahead(self) -> int:
        """Rows that are finished, and whose slices are not."""
        return max(0, self.counts_so_far.rows - self.rows_reported)


class RunProgress:
    """The rows of each step, and the outcome."""

    def __init__(self, plan: Plan, work: Mapping[str, StepWork]) -> None:
        self._plan = plan
        self._total = {step: left.num_rows for step, left in work.items()}
        self._done = {step: left.num_rows - sum(slice_.num_rows for slice_ in left.todo) for step, left in work.items()}
        self._absent = {step: left.num_absent for step, left in work.items()}
        self._done_before = dict(self._done)
        self._gone = ReplicaCounts()
        self._errors = 0
        self.outcome = RunResult()

    def add(self, report: TaskReport) -> None:
        """A task has committed rows; those of a slice that is not whole stay to do."""
        self.outcome.num_new += report.num_new
        self.outcome.prompt_tokens += report.prompt_tokens
        self.outcome.completion_tokens += report.completion_tokens
        self.outcome.cost_usd += report.cost_usd
        self._errors += report.num_errors
        if report.is_whole:
            self._done[report.slice.step] += report.slice.num_rows
            self._absent[report.slice.step] += report.num_absent

    def add_gone(self, counts_so_far: ReplicaCounts) -> None:
        """A replica that has done this is not asked about it any more."""
        self._gone.tokens += counts_so_far.tokens
        self._gone.cost_usd += counts_so_far.cost_usd

    def has_work(self, engine: str) -> bool:
        """Whether rows of an engine are left."""
        steps = (step.id for step in self._plan.steps.values() if step.engine == engine)
        return any(self._done[step] < self._total[step] for step in steps)

    @property
    def has_advanced(self) -> bool:
        """Whether this run has brought any step further."""
        return self.outcome.num_new > 0 or self._done != self._done_before

    def interrupt(self, *, is_preemption: bool) -> None:
        """The run was told to stop: what is left stays to do."""
        self.outcome.was_interrupted = True
        self.outcome.was_preempted = is_preemption
        self.outcome.unfinished_steps |= {step for step, done in self._done.items() if done < self._total[step]}

    def snapshot(self, replicas: Iterable[ReplicaStatus], waits: Iterable[Wait] = ()) -> Snapshot:
        """The run's progress now, with what is waited for."""
        by_engine: dict[str, tuple[int, int]] = {}
        in_flight, tokens, cost_usd = 0, self._gone.tokens, self._gone.cost_usd
        for replica in replicas:
            starting, ready = by_engine.get(replica.engine, (0, 0))
            by_engine[replica.engine] = (starting + (not replica.is_ready), ready + replica.is_ready)
            in_flight += replica.rows_ahead
            tokens += replica.counts_so_far.tokens
            cost_usd += replica.counts_so_far.cost_usd
        # A counts_so_far is asked for once a second: what was committed since counts already.
        tokens, cost_usd = max(tokens, self.outcome.completion_tokens), max(cost_usd, self.outcome.cost_usd)
        done, absent = dict(self._done), dict(self._absent)
        return Snapshot(done, absent, by_engine, in_flight, tokens, cost_usd, gather_waits(waits), self._errors)
