"""Counts a run's rows, tokens and costs as it goes on."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eibench_ray.driver.rate_meter import RateMeter
from eibench_ray.driver.run_events import EngineProgress, Snapshot, StepSpend
from eibench_ray.estimate.time_left import estimate_left
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork
from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.rows.wait import Wait, gather_waits
from eibench_ray.schedule.gpu_usage import step_roles
from eibench_ray.schedule.resources import Node
from eibench_ray.worker.gpu_meter import GpuUse
from eibench_ray.worker.row_attempts import ReplicaCounts
from eibench_ray.worker.task import TaskReport

_ROWS = ""  # the count of rows beside those of the engines' tokens, whose names are their keys


@dataclass(slots=True)
class EngineTotals:
    """Sums over the rows that an engine answered in this run."""

    num_new: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(slots=True)
class RunResult:
    """Result of a run.

    Attributes:
        engines: by key, those that have answered rows in this run.
        logs: key -> the file with the last lines of the engine's replica that was lost last.
        loads_s: key -> seconds of each of its loads. asked: step id -> what its rows took.
        began_at, last_row_at: when the nodes were known, and when the last rows came, on the monotonic clock.
        unfinished_steps: steps that lack rows, because their engine failed, the run was interrupted, or the budget was
            spent.
    """

    engines: defaultdict[str, EngineTotals] = field(default_factory=lambda: defaultdict(EngineTotals))
    num_loads: int = 0  # engines that were loaded: replicas that became ready, but for recorded predictions
    failed_engines: dict[str, str] = field(default_factory=dict)  # key -> why the engine was given up
    logs: dict[str, Path] = field(default_factory=dict)
    unfinished_steps: set[str] = field(default_factory=set)
    was_interrupted: bool = False
    was_preempted: bool = False  # it was interrupted because its place or its time was up, by nobody's wish
    was_handed_over: bool = False  # it was interrupted because what is left needs no GPU, and another run does that
    ended_by: str = ""  # what interrupted it, in words
    shortage: str | None = None  # why the budget allowed no further row; None where it was not spent
    loads_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    asked: defaultdict[str, AskedWork] = field(default_factory=lambda: defaultdict(AskedWork))
    nodes: tuple[Node, ...] = ()  # those that were there at the beginning
    began_at: float | None = None
    last_row_at: float | None = None

    @property
    def num_new(self) -> int:
        """Rows that engines answered in this run."""
        return sum(engine.num_new for engine in self.engines.values())

    @property
    def completion_tokens(self) -> int:
        """Tokens of these rows."""
        return sum(engine.completion_tokens for engine in self.engines.values())

    @property
    def cost_usd(self) -> float:
        """Cost of these rows."""
        return sum(engine.cost_usd for engine in self.engines.values())


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica's part of the progress display, before its slices are committed."""

    engine: str
    is_ready: bool
    counts_so_far: ReplicaCounts
    rows_reported: int  # those of its rows whose slices have come back
    is_placed: bool = True
    rows: Mapping[str, int] = field(default_factory=dict)  # by step id, those of the slices that it has

    @property
    def rows_ahead(self) -> int:
        """Rows that are finished, and whose slices are not."""
        return max(0, self.counts_so_far.rows - self.rows_reported)


class RunProgress:
    """The rows of each step, and the outcome."""

    def __init__(self, plan: Plan, work: Mapping[str, StepWork], clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._total = {step: left.num_rows for step, left in work.items()}
        self._done = {step: left.num_rows - sum(slice_.num_rows for slice_ in left.todo) for step, left in work.items()}
        self._absent = {step: left.num_absent for step, left in work.items()}
        self._done_before = dict(self._done)
        self._roles = step_roles(plan)
        self._gone: defaultdict[str, ReplicaCounts] = defaultdict(ReplicaCounts)  # by engine
        self._lost: Counter[str] = Counter()  # replicas by engine
        self._errors: Counter[str] = Counter()
        self._rates = RateMeter(clock)
        self._spent: dict[str, StepSpend] = {}
        self.outcome = RunResult()

    def add(self, report: TaskReport) -> None:
        """A task has committed rows; those of a slice that is not whole stay to do."""
        engine = self.outcome.engines[self._plan.steps[report.slice.step].engine]
        engine.num_new += report.num_new
        engine.prompt_tokens += report.prompt_tokens
        engine.completion_tokens += report.completion_tokens
        engine.cost_usd += report.cost_usd
        self._errors[report.slice.step] += report.num_errors
        self.outcome.asked[report.slice.step].add(report.asked)
        self.outcome.last_row_at = time.monotonic()
        spent = self._spent.get(report.slice.step, StepSpend())
        self._spent[report.slice.step] = StepSpend(
            spent.completion_tokens + report.completion_tokens,
            spent.cost_usd + report.cost_usd,
            spent.rows + report.num_new,
        )
        if report.is_whole:
            self._done[report.slice.step] += report.slice.num_rows
            self._absent[report.slice.step] += report.num_absent

    def add_gone(self, engine: str, counts_so_far: ReplicaCounts, *, is_lost: bool = False) -> None:
        """A replica of an engine that has done this is not asked about it any more."""
        self._gone[engine].tokens += counts_so_far.tokens
        self._gone[engine].cost_usd += counts_so_far.cost_usd
        self._lost[engine] += is_lost

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

    def snapshot(
        self,
        replicas: Iterable[ReplicaStatus],
        waits: Iterable[Wait] = (),
        horizon_s: float = math.inf,
        prior_share: float = 1.0,
    ) -> Snapshot:
        """The run's progress now.

        Args:
            replicas: those that there are.
            waits: what is waited for.
            horizon_s: the scheduler's.
            prior_share: the scheduler's.
        """
        doing: defaultdict[str, Counter[str]] = defaultdict(Counter)  # engine -> its replicas by what they do
        tokens = Counter({engine: gone.tokens for engine, gone in self._gone.items()})
        cost_usd = sum(gone.cost_usd for gone in self._gone.values())
        ahead, asking = Counter[str](), Counter[str]()  # rows by engine, by step
        gpus: defaultdict[str, tuple[GpuUse, ...]] = defaultdict(tuple)
        for replica in replicas:
            doing[replica.engine][self._doing(replica)] += 1
            tokens[replica.engine] += replica.counts_so_far.tokens
            cost_usd += replica.counts_so_far.cost_usd
            ahead[replica.engine] += replica.rows_ahead
            asking.update(replica.rows)
            gpus[replica.engine] += replica.counts_so_far.gpus
        in_flight = ahead.total()
        rows = sum(self._done.values()) - sum(self._absent.values()) + in_flight
        self._rates.note({_ROWS: rows, **tokens})
        rows_per_s = self._rates.rate(_ROWS)
        coming = self._total.keys() - self.outcome.unfinished_steps
        rows_left = max(0, sum(self._total[step] - self._done[step] for step in coming) - in_flight)
        average = self._rates.average(_ROWS)
        failed = self.outcome.failed_engines
        known = doing.keys() | self._gone.keys() | failed.keys()
        engines = {
            key: EngineProgress(
                **doing[key],
                lost=self._lost[key],
                tokens=tokens[key],
                tokens_per_s=self._rates.rate(key),
                failed=failed.get(key, ""),
            )
            for key in self._plan.engines
            if key in known
        }
        return Snapshot(
            done=dict(self._done),
            absent=dict(self._absent),
            engines=engines,
            rows_in_flight=in_flight,
            # Counts are asked for once a second: what was committed since counts already.
            tokens=max(tokens.total(), self.outcome.completion_tokens),
            cost_usd=max(cost_usd, self.outcome.cost_usd),
            waits=gather_waits(waits),
            errors=dict(self._errors),
            asking=dict(asking),
            spent=dict(self._spent),
            gpus=dict(gpus),
            rows_per_s=rows_per_s,
            left_s=estimate_left(horizon_s, prior_share, rows_left, average, rows_per_s, self._share_alike(ahead)),
        )

    def _share_alike(self, ahead: Mapping[str, int]) -> float:
        """Share of this run's rows, with those ahead of what is committed, that are of engines with rows left."""
        finished = Counter(ahead)
        at_work = set()
        for step, done in self._done.items():
            engine = self._plan.steps[step].engine
            finished[engine] += done - self._done_before[step]
            if done < self._total[step]:
                at_work.add(engine)
        return sum(finished[engine] for engine in at_work) / max(1, finished.total())

    def _doing(self, replica: ReplicaStatus) -> str:
        """The field of `EngineProgress` in which a replica counts."""
        if not replica.is_ready:
            return "loading" if replica.is_placed else "placing"
        rows: Counter[str] = Counter()
        for step, num_rows in replica.rows.items():
            rows[self._roles[step].value] += num_rows
        return rows.most_common(1)[0][0] if rows else "idle"
