"""The arrival of a running sweep's rows: from when to when each step's can be asked, if all ends by a horizon.

An engine is expected to do its steps in the order of their rank, and to spread them over the time until the horizon, as
the policy means it to. What reads a step's answers gets them over the same stretch of time. Those that are asked side
by side (`ready_slices`) count as if one came after the other, too: with all their rows spread over all their time, the
paper's table took 1.154 times the bound on 512 GPUs, and takes 1.120 (simulated).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eibench_ray.schedule.scheduler_state import EngineState, SchedulerState

# A batch that runs dry takes this share of a row's time longer than the same tokens in full batches (simulated).
DRAIN = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """The batches that are expected, and the detail in which the time of rows' arrival is looked at.

    Attributes:
        token_share: a token's time, as a share of that in a full batch.
        parts: a stream of rows counts as so many parts.
        latest: what comes after this share of the time until the horizon counts as if it came before.
        max_heads: times at which an engine's work can begin; the horizon is found by trying over all of them.
    """

    token_share: float
    parts: int
    latest: float
    max_heads: int


# GPUs pass from engine to engine. What comes last is little, when it comes is not known so well, and as generation
# drains there are places for it.
FULL_BATCHES = Pace(token_share=1.0, parts=4, latest=0.7, max_heads=12)
# All replicas stand side by side, so that what comes last finds no places but its own. Simulated, the paper's table on
# 512 GPUs: 1.12 times the bound; with the other three as in full batches 1.14.
SMALL_BATCHES = Pace(token_share=0.4, parts=8, latest=1.0, max_heads=24)


@dataclass(frozen=True, slots=True)
class RowArrival:
    """The times at which the rows that are left of a step can be asked.

    Attributes:
        from_s, to_s: seconds from now between which those come that wait for other steps.
    """

    from_s: float
    to_s: float
    num_waiting: int  # how many these are; the others are there
    tail_s: float  # seconds that must pass after its last row, for its batch to run dry and for what others make of it
    pace: Pace

    def parts(self, num_rows: int, horizon_s: float) -> Iterator[tuple[float, float]]:
        """(second, rows): from when on which of a step's `num_rows` rows can be asked."""
        if num_rows > self.num_waiting:
            yield 0.0, num_rows - self.num_waiting
        num_parts = self.pace.parts if self.num_waiting else 0
        for part in range(num_parts):
            at_s = self.from_s + (part + 0.5) / num_parts * (self.to_s - self.from_s)
            yield min(at_s, max(self.from_s, self.pace.latest * horizon_s)), self.num_waiting / num_parts


@dataclass(frozen=True, slots=True)
class _StepAhead:
    """One step with rows left, by what does not depend on the horizon.

    Attributes:
        sources: the steps with rows left that it reads.
        begin_s: seconds until its engine's first replica is ready.
        row_s: seconds of one row.
        tail_s: seconds of the longest chain of steps behind it.
        first_share, last_share: which part of its engine's work it is.
    """

    id: str
    sources: tuple[str, ...]
    num_waiting: int
    begin_s: float
    row_s: float
    tail_s: float
    first_share: float
    last_share: float


class RowArrivals:
    """The streams of all steps with rows left, for one horizon after the other.

    Args:
        state: as it is now.
        now: the time.
        pace: the batches that are expected.
    """

    def __init__(self, state: SchedulerState, now: float, pace: Pace = FULL_BATCHES) -> None:
        self._state, self.pace = state, pace
        self._steps = list(self._steps_ahead(now))

    def until(self, horizon_s: float) -> dict[str, RowArrival]:
        """By step id, the streams if all ends after so many seconds."""
        made: dict[str, tuple[float, float]] = {}
        found = {}
        for step in self._steps:
            from_s = to_s = 0.0
            for source in step.sources:
                first_s, last_s = made[source]
                from_s, to_s = max(from_s, first_s), max(to_s, last_s)
            row_s, tail_s = step.row_s, step.tail_s
            found[step.id] = RowArrival(from_s, to_s, step.num_waiting, tail_s + DRAIN * row_s, self.pace)
            spread_s = max(0.0, horizon_s - tail_s - step.begin_s)
            first_s, last_s = step.begin_s + step.first_share * spread_s, step.begin_s + step.last_share * spread_s
            made[step.id] = max(first_s, from_s) + row_s, max(last_s, to_s) + row_s
        return found

    def _steps_ahead(self, now: float) -> Iterator[_StepAhead]:
        """The steps with rows left, each after those that it reads."""
        state = self._state
        tails_s, shares = self._find_tails(), dict(self._shares())
        waits_s = {key: _wait_s(engine, now) for key, engine in state.engines.items()}
        engine_of = {step: key for step, key, _ in state.backlog.steps}
        for step, key, sources in state.backlog.steps:
            if step in shares:
                unmade = (state.backlog.rows_left(engine_of[source]).get(source, 0) for source in sources)
                num_waiting = min(state.backlog.rows_left(key)[step], max(unmade, default=0))
                read = tuple(source for source in sources if source in shares)
                row_s = state.engines[key].estimate.row_s(step, self.pace.token_share)
                yield _StepAhead(step, read, num_waiting, waits_s[key], row_s, tails_s[step], *shares[step])

    def _find_tails(self) -> dict[str, float]:
        """Per step, the seconds that the longest chain of steps behind it takes, a row's time each."""
        tails_s: dict[str, float] = {}
        for step, key, sources in reversed(self._state.backlog.steps):
            tails_s.setdefault(step, 0.0)
            if step in self._state.backlog.rows_left(key):
                behind_s = tails_s[step] + self._state.engines[key].estimate.row_s(step, self.pace.token_share)
                for source in sources:
                    tails_s[source] = max(tails_s.get(source, 0.0), behind_s)
        return tails_s

    def _shares(self) -> Iterator[tuple[str, tuple[float, float]]]:
        """Per step with rows left, which part of its engine's work it is: from which share of it to which."""
        backlog = self._state.backlog
        for key, engine in self._state.engines.items():
            rows, estimate = backlog.rows_left(key), engine.estimate
            ranked = sorted(rows, key=lambda step: backlog.rank(step, estimate.tokens_per_row(step)), reverse=True)
            total_s = estimate.work_s(rows)
            done_s = 0.0
            for step in ranked:
                begin_s, done_s = done_s, done_s + rows[step] * estimate.row_work_s(step)
                yield step, (begin_s / total_s, done_s / total_s)


def _wait_s(engine: EngineState, now: float) -> float:
    """Seconds until an engine's first replica is ready, if one is started now where there is none."""
    if engine.ready:
        return 0.0
    began = min((replica.began_at for replica in engine.starting.values()), default=now)
    return max(0.0, began + engine.estimate.load_s - now)
