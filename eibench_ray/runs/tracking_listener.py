"""Tells trackers how far a run is: each cell with the scores of its finished slices, and the sweep with its engines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from eibench_ray.driver.engine_series import engine_series, mean_use
from eibench_ray.driver.run_events import Snapshot
from eibench_ray.errors import EibenchError
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.runs.tracked_facts import cell_facts, sweep_facts
from eibench_ray.tracking.open_tracker import OpenTrackers
from eibench_ray.tracking.tracker import Progress, RunFacts

log = logging.getLogger(__name__)

EVERY_S = 10.0
# A cell has a point per so many of its rows at most, the sweep one per such a part of its time: a week makes 3,000.
CELL_POINTS = 200
SWEEP_POINTS = 500
# Scoring takes this share of the time at most: it shares a core with the driver.
SCORING_SHARE = 0.05

Scores = Mapping[str, float | int]


@dataclass(slots=True)
class _LastPoint:
    """The last point of a tracked run.

    Attributes:
        rows: -1 where it has none.
    """

    at: float
    rows: int = -1
    tokens: int = 0


class TrackingListener:
    """Leaves points for the trackers, seldom enough for any length of a run.

    Args:
        plan: of the sweep.
        trackers: who is told.
        score: the figures of a cell so far, from the store.
        clock: seconds.
    """

    def __init__(
        self,
        plan: Plan,
        trackers: OpenTrackers,
        score: Callable[[Cell], Scores],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._trackers = [tracker for tracker in trackers.values() if tracker.target is not None]
        self._score = score
        self._clock = clock
        self._began = clock()
        self._cells = [(cell, cell_facts(plan, cell)) for cell in plan.cells] if self._trackers else []
        self._sweep = sweep_facts(plan) if self._trackers else None
        self._told: dict[str, _LastPoint] = {}
        self._scoring = ThreadPoolExecutor(1, "scores for trackers")
        self._running: Future[None] | None = None
        self._rests_until = 0.0
        self._last: Snapshot | None = None

    def close(self) -> None:
        """Notes how the run left everything, and begins no further scoring."""
        self._scoring.shutdown(wait=False, cancel_futures=True)
        if self._sweep is not None and self._last is not None:
            now = self._clock()
            self._tell_sweep(self._sweep, self._last, now)
            for cell, facts in self._cells:
                if (done := _rows_done(cell, self._last)) != self._told[facts.key].rows:
                    self._send(facts, self._cell_point(cell, facts, done, self._last, now))

    def update(self, snapshot: Snapshot) -> None:
        """Notes where something moved, at most every EVERY_S."""
        if self._sweep is None:
            return
        self._last = snapshot
        now = self._clock()
        if self._is_due(self._sweep, now, max(EVERY_S, (now - self._began) / SWEEP_POINTS)):
            self._tell_sweep(self._sweep, snapshot, now)
        for cell, facts in self._cells:
            if not self._is_due(facts, now, EVERY_S):
                continue
            done = _rows_done(cell, snapshot)
            if done - self._told[facts.key].rows >= facts.num_rows / CELL_POINTS:
                self._tell_cell(cell, facts, self._cell_point(cell, facts, done, snapshot, now), now)

    def _is_due(self, facts: RunFacts, now: float, every_s: float) -> bool:
        return now - self._told.setdefault(facts.key, _LastPoint(self._began)).at >= every_s

    def _tell_sweep(self, facts: RunFacts, snapshot: Snapshot, now: float) -> None:
        done, series = sum(snapshot.done.values()), engine_series(self._plan, snapshot)
        use = mean_use(gpu for one in series for gpu in one.gpu_uses)
        rates = [one.tokens_per_s for one in series if one.tokens_per_s is not None]
        figures: dict[str, float | int] = {
            "tokens": snapshot.tokens,
            "cost_usd": snapshot.cost_usd,
            "errors": sum(snapshot.errors.values()),
            "rows_in_flight": snapshot.rows_in_flight,
            "gpus": sum(one.gpus for one in series),
            **({"tokens_per_s": sum(rates)} if rates else {}),
            **({} if use is None else {"gpu_use_percent": use}),
            **({} if snapshot.rows_per_s is None else {"rows_per_s": snapshot.rows_per_s}),
        }
        for one in series:
            figures |= {f"{figure}/{one.name}": value for figure, value in one.figures.items()}
        self._told[facts.key] = _LastPoint(now, done)
        self._send(facts, Progress(done, facts.num_rows, figures))

    def _cell_point(self, cell: Cell, facts: RunFacts, done: int, snapshot: Snapshot, now: float) -> Progress:
        """A cell's own tokens and cost, those of steps that it shares included."""
        spent = [snapshot.spent[step] for step in cell.steps if step in snapshot.spent]
        tokens = sum(one.completion_tokens for one in spent)
        told = self._told[facts.key]
        figures: dict[str, float | int] = {
            "tokens": tokens,
            "tokens_per_s": (tokens - told.tokens) / max(now - told.at, 1e-9),  # since the point before
            "errors": sum(snapshot.errors.get(step, 0) for step in cell.steps),
        }
        self._told[facts.key] = _LastPoint(now, done, tokens)
        if cost_usd := sum(one.cost_usd for one in spent):
            figures["cost_usd"] = cost_usd
        return Progress(done, facts.num_rows, figures)

    def _tell_cell(self, cell: Cell, facts: RunFacts, point: Progress, now: float) -> None:
        """Notes a point, with the cell's scores so far where there is time for them."""
        if (self._running is None or self._running.done()) and now >= self._rests_until:
            self._running = self._scoring.submit(self._tell_scored, cell, facts, point)
        else:
            self._send(facts, point)

    def _tell_scored(self, cell: Cell, facts: RunFacts, point: Progress) -> None:
        """Notes a point with the scores that the cell's committed rows have."""
        began = self._clock()
        scores: Scores = {}
        try:
            scores = self._score(cell)
        except EibenchError as error:  # a dataset that is gone, say: the run's own end says it
            log.debug("no score so far of %s: %s", facts.name, error)
        self._rests_until = self._clock() + (self._clock() - began) / SCORING_SHARE
        self._send(facts, Progress(point.rows_done, point.rows_total, {**point.figures, **scores}))

    def _send(self, facts: RunFacts, point: Progress) -> None:
        for tracker in self._trackers:
            tracker.progress(facts, point)


def _rows_done(cell: Cell, snapshot: Snapshot) -> int:
    return sum(snapshot.done[step] for step in cell.steps)
