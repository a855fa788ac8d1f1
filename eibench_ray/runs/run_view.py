"""A run at one moment, as values for people: its cells, its engines, what it waits for, the time and the money.

`run` draws them while it runs, `status --watch` from another shell; both make them from the plan and the run's record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from eibench_ray.driver.run_events import EngineProgress
from eibench_ray.estimate.time_range import Range
from eibench_ray.plan.blockers import without_blocked
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.step_names import with_mark
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.runs.run_record import RunStatus
from eibench_ray.schedule.gpu_usage import step_roles
from eibench_ray.schedule.replica_meter import TimeKind


class CellPhase(StrEnum):
    """State of a cell at one moment."""

    WAITING = "waiting"  # none of its rows is asked, and some are left
    GENERATING = "generating"
    JUDGING = "judging"
    DONE = "done"
    BLOCKED = "blocked"  # it cannot run here
    FAILED = "failed"  # an engine that it needs was given up


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell, or several in one place.

    Attributes:
        rows, done, asking: its requests, those that have a reply or an error, and those that replicas have now.
        word: stands where there is room for it, in the place of the share that is done; empty: the share does.
    """

    model: str
    setting: str
    dataset: str
    judge: str
    state: CellPhase
    rows: int
    done: int
    asking: int
    errors: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class EngineView:
    """One engine."""

    name: str
    rows: int
    done: int
    progress: EngineProgress

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to ask it."""
        return self.done >= self.rows


@dataclass(frozen=True, slots=True)
class RunView:
    """One run.

    Attributes:
        state: in a word, as `status` has it.
        in_flight: finished rows that are not in the store yet; no part of `done`.
        paid: the cost so far and the budget; empty where nothing has a price.
        silent_s: since the record was written; None where these are the driver's own values.
    """

    sweep: str
    id: str
    state: str
    elapsed_s: float
    rows: int
    done: int
    in_flight: int
    errors: int
    rows_per_s: float | None
    tokens_per_s: float | None
    left_s: Range | None
    paid: str
    cells: tuple[CellView, ...]
    engines: tuple[EngineView, ...]
    waits: tuple[str, ...]
    silent_s: float | None = None


class RunViewer:
    """Makes views of one run, whose plan does not change."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rows = {step.id: plan.datasets[step.dataset].num_rows for step in plan.steps.values()}
        self._judging = {step for step, role in step_roles(plan).items() if role is TimeKind.JUDGING}
        self._asked = list(without_blocked(plan).steps)
        self._is_paid = any(spec.price for spec in plan.engines.values())
        self._models = {cell.key: with_mark(cell.model, plan.answer_source(cell)) for cell in plan.cells}

    def view(self, status: RunStatus, now: float, *, state: str = "", silent_s: float | None = None) -> RunView:
        """The view of a record at a moment, in Unix time."""
        budget = Budget(status.budget_usd, status.spent_usd).spend(status.cost_usd)
        rates = [one.tokens_per_s for one in status.engines.values()]
        known = [rate for rate in rates if rate is not None]
        return RunView(
            sweep=self._plan.sweep,
            id=status.id,
            state=state or status.state,
            elapsed_s=max(0.0, (now if status.state == "running" else status.updated_at) - status.started_at),
            rows=self._count_rows(self._asked, status),
            done=self._count_done(self._asked, status),
            in_flight=status.rows_in_flight,
            errors=sum(status.errors.values()),
            rows_per_s=status.rows_per_s,
            tokens_per_s=sum(known) if known else None,
            left_s=status.left_s,
            paid=str(budget) if self._is_paid else "",
            cells=tuple(self._view_cell(cell, status) for cell in self._plan.cells),
            engines=tuple(self._view_engines(status)),
            waits=tuple(status.waits),
            silent_s=silent_s,
        )

    def _view_cell(self, cell: Cell, status: RunStatus) -> CellView:
        rows, done = self._count_rows(cell.steps, status), self._count_done(cell.steps, status)
        left = [step for step in cell.steps if status.done.get(step, 0) < self._rows[step]]
        asked = [step for step in left if status.asking.get(step)]
        given_up = {key for key, engine in status.engines.items() if engine.failed}
        if not left:
            state = CellPhase.DONE
        elif cell.blockers:
            state = CellPhase.BLOCKED
        elif any(self._plan.steps[step].engine in given_up for step in left):
            state = CellPhase.FAILED
        elif asked:
            # Whoever waits for a figure waits for its judge.
            state = CellPhase.JUDGING if self._judging.intersection(asked) else CellPhase.GENERATING
        else:
            state = CellPhase.WAITING
        return CellView(
            model=self._models[cell.key],
            setting=cell.setting,
            dataset=cell.dataset,
            judge=cell.judge,
            state=state,
            rows=rows,
            done=done,
            asking=min(sum(status.asking[step] for step in asked), rows - done),
            errors=sum(status.errors.get(step, 0) for step in cell.steps),
        )

    def _view_engines(self, status: RunStatus) -> Iterable[EngineView]:
        for key in self._plan.engines_of(self._asked):
            steps = [step for step in self._asked if self._plan.steps[step].engine == key]
            progress = status.engines.get(key, EngineProgress())
            rows, done = self._count_rows(steps, status), self._count_done(steps, status)
            yield EngineView(self._plan.engines[key].name, rows, done, progress)

    def _count_rows(self, steps: Sequence[str], status: RunStatus) -> int:
        """Requests of some steps, as far as one knows: without those about which there was nothing to ask."""
        return sum(self._rows[step] - status.absent.get(step, 0) for step in steps)

    def _count_done(self, steps: Sequence[str], status: RunStatus) -> int:
        return sum(status.done.get(step, 0) - status.absent.get(step, 0) for step in steps)
