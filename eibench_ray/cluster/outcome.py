"""What a run has done, counted as it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eibench_ray.cluster.events import Snapshot
from eibench_ray.cluster.task import TaskReport
from eibench_ray.plan.graph import Plan
from eibench_ray.store.resume import StepWork


@dataclass(slots=True)
class Outcome:
    """What a run did.

    Attributes:
        num_new, prompt_tokens, completion_tokens: over rows that engines answered in this run.
        num_loads: engines that were loaded: replicas that became ready, but for recorded predictions.
        failed_engines: key -> why the engine was given up.
        unfinished_steps: steps that lack rows, because their engine failed or the run was interrupted.
    """

    num_new: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_loads: int = 0
    failed_engines: dict[str, str] = field(default_factory=dict)
    unfinished_steps: set[str] = field(default_factory=set)
    was_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What one replica adds to the display, before its slices are committed.

    Attributes:
        rows, tokens: that it has finished.
        rows_reported: those of them whose slices are committed.
    """

    engine: str
    is_ready: bool
    rows: int
    tokens: int
    rows_reported: int


class Counts:
    """The rows of each step, and the outcome."""

    def __init__(self, plan: Plan, work: Mapping[str, StepWork]) -> None:
        self._plan = plan
        self._total = {step: left.num_rows for step, left in work.items()}
        self._done = {step: left.num_rows - sum(slice_.num_rows for slice_ in left.todo) for step, left in work.items()}
        self._tokens_of_gone = 0
        self.outcome = Outcome()

    def add(self, report: TaskReport) -> None:
        """A task has committed rows; those of a slice that is not whole stay to do."""
        self.outcome.num_new += report.num_new
        self.outcome.prompt_tokens += report.prompt_tokens
        self.outcome.completion_tokens += report.completion_tokens
        if report.is_whole:
            self._done[report.slice.step] += report.slice.num_rows

    def add_gone(self, tokens: int) -> None:
        """A replica that generated these tokens is not asked about them any more."""
        self._tokens_of_gone += tokens

    def has_work(self, engine: str) -> bool:
        """Whether rows of an engine are left."""
        steps = (step.id for step in self._plan.steps.values() if step.engine == engine)
        return any(self._done[step] < self._total[step] for step in steps)

    def interrupt(self) -> None:
        """The run was told to stop: what is left stays to do."""
        self.outcome.was_interrupted = True
        self.outcome.unfinished_steps |= {step for step, done in self._done.items() if done < self._total[step]}

    def snapshot(self, replicas: Iterable[Standing]) -> Snapshot:
        """Where the run stands."""
        by_engine: dict[str, tuple[int, int]] = {}
        in_flight, tokens = 0, self._tokens_of_gone
        for replica in replicas:
            starting, ready = by_engine.get(replica.engine, (0, 0))
            by_engine[replica.engine] = (starting + (not replica.is_ready), ready + replica.is_ready)
            in_flight += max(0, replica.rows - replica.rows_reported)
            tokens += replica.tokens
        # A tally is asked for once a second: what was committed since counts already.
        return Snapshot(dict(self._done), by_engine, in_flight, max(tokens, self.outcome.completion_tokens))
