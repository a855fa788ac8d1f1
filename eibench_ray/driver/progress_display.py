"""Live progress in the terminal: a bar per step, tokens per second, replicas; quiet when nobody looks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from eibench_ray.driver.run_events import Snapshot
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork
from eibench_ray.plan.step_names import titles
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.rows.wait import Wait
from eibench_ray.visible_text import in_line

# More steps than this share one bar per engine: a screen is not a list of 200 bars.
MAX_STEP_BARS = 12
# Lines about what is waited for.
MAX_WAITS = 4


class _Bars(Progress):
    """Bars, and below them a line for each wait."""

    waits: tuple[Wait, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for wait in self.waits[:MAX_WAITS]:
            yield Text(in_line(str(wait)), style="yellow", overflow="fold")
        if (num_more := len(self.waits) - MAX_WAITS) > 0:
            yield Text(f"and {num_more} more", style="yellow")


class ProgressDisplay:
    """A rich progress display on stderr; does nothing where stderr is no terminal."""

    def __init__(
        self, plan: Plan, work: Mapping[str, StepWork], console: Console, budget: Budget | None = None
    ) -> None:
        self._plan = plan
        self._budget = budget if any(spec.price for spec in plan.engines.values()) else None
        self._work = {step: left for step, left in work.items() if left.todo}
        self._started = time.monotonic()
        self._progress = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        by_engine = len(self._work) > MAX_STEP_BARS
        names = titles(plan)
        self._bars: dict[str, list[str]] = {}
        for step in self._work:
            title = in_line(plan.engines[plan.steps[step].engine].name if by_engine else names[step])
            self._bars.setdefault(title, []).append(step)
        self._tasks: dict[str, TaskID] = {}
        self._total: TaskID | None = None

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        for title, steps in self._bars.items():
            self._tasks[title] = self._progress.add_task(title, total=self._rows(steps), note="")
        self._total = self._progress.add_task("all", total=self._rows(list(self._work)), note="starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, snapshot: Snapshot) -> None:
        """Moves the bars."""
        for title, steps in self._bars.items():
            key = self._plan.steps[steps[0]].engine
            starting, ready = snapshot.replicas.get(key, (0, 0))
            note = (
                "loading" if starting and not ready else f"{ready} replica{'s' if ready != 1 else ''}" if ready else ""
            )
            done, total = self._count(steps, snapshot)
            self._progress.update(self._tasks[title], completed=done, total=total, note=note)
        self._progress.waits = snapshot.waits
        assert self._total is not None
        done, total = self._count(list(self._work), snapshot)
        rate = snapshot.tokens / max(time.monotonic() - self._started, 1e-9)
        paid = f", {self._budget.spend(snapshot.cost_usd)}" if self._budget else ""
        self._progress.update(
            self._total, completed=done + snapshot.rows_in_flight, total=total, note=f"{rate:.0f} tokens/s{paid}"
        )

    def _rows(self, steps: list[str]) -> int:
        return sum(self._work[step].num_rows for step in steps)

    def _count(self, steps: list[str], snapshot: Snapshot) -> tuple[int, int]:
        """Rows that are done, and all: without those about which there was nothing to ask."""
        num_absent = sum(snapshot.absent[step] for step in steps)
        return sum(snapshot.done[step] for step in steps) - num_absent, self._rows(steps) - num_absent
