"""Asks each replica how far it is, on its own, and finds those that make no progress."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from eibench_ray.driver.replica_set import ReplicaSet
from eibench_ray.driver.replica_state import ReplicaState
from eibench_ray.driver.run_context import RunContext
from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.errors import EibenchError

# How long one that does not answer may hold up the figures of the others; once, as it is not asked again before.
ANSWER_TIMEOUT_S = 1.0


class Watchdog:
    """Asks the replicas of a run how far they are, and kills those that have rows and do not get on."""

    def __init__(self, context: RunContext, replica_set: ReplicaSet) -> None:
        self._context = context
        self._replica_set = replica_set
        self._questions: dict[int, asyncio.Task[None]] = {}
        self._detectors: dict[int, StallDetector] = {}

    async def look(self) -> None:
        """Asks those that do not owe an answer, and takes in what they say; no answer is no progress."""
        ready = {state.handle.id: state for state in self._replica_set.ready}
        states = ready | {state.handle.id: state for state in self._replica_set.starting}
        for replica in self._questions.keys() - states.keys():
            self._questions.pop(replica).cancel()
        self._detectors = {replica: self._detectors.get(replica) or StallDetector() for replica in ready}
        new = {number: state for number, state in states.items() if number not in self._questions}
        asked = {number: asyncio.create_task(self._ask(state)) for number, state in new.items()}
        self._questions |= asked
        # One that still loads may answer nobody for minutes: nobody waits for it.
        if awaited := [asked[number] for number in asked if number in ready]:
            await asyncio.wait(awaited, timeout=ANSWER_TIMEOUT_S)
        for replica, question in list(self._questions.items()):
            if question.done():
                del self._questions[replica]
                question.result()
        self._watch()

    def close(self) -> None:
        """Waits for no answer any more."""
        for question in self._questions.values():
            question.cancel()

    async def _ask(self, state: ReplicaState) -> None:
        with contextlib.suppress(EibenchError):
            if not state.is_ready:
                state.doing = await state.handle.doing()
                return
            state.counts_so_far = await state.handle.counts_so_far()
            self._context.scheduler.rows_finished(state.handle.id, state.status.rows_ahead)

    def _watch(self) -> None:
        now, timeout_s = time.monotonic(), self._context.config.progress_timeout_s
        for state in self._replica_set.ready:
            replica = state.handle.id
            if (detector := self._detectors.get(replica)) is None:
                continue
            # A slice that came back is progress even where the replica has no time to answer how far it is.
            progress = state.counts_so_far.progress + state.rows_reported
            waited_s = detector.look(progress, now, is_busy=bool(state.slices))
            if waited_s >= timeout_s:
                what = f"replica {replica} to make a token or to finish a row"
                self._replica_set.tell_deadline(state, what, waited_s, "killed it; its rows are asked again")
                reason = (
                    f"it hangs: no token and no row for {waited_s:.0f} s (cluster.progress_timeout_s={timeout_s:g})"
                )
                self._replica_set.lose(state, EngineDeadError(reason))


# What one look adds at most: who looks may have been held up itself, and then knows nothing of the time in between.
LONGEST_GAP_S = 5.0


@dataclass(slots=True)
class StallDetector:
    """A watch over one replica: for how long it has rows and does not get on."""

    waited_s: float = 0.0  # seconds without progress, while somebody looked
    _progress: int = -1
    _looked_at: float | None = None

    def look(self, progress: int, now: float, *, is_busy: bool) -> float:
        """Seconds without progress.

        Args:
            progress: a count that moves while it gets on, as it was last heard of: no answer is no progress.
            now: the time.
            is_busy: whether it has rows to ask.
        """
        gap_s = min(now - self._looked_at, LONGEST_GAP_S) if self._looked_at is not None else 0.0
        self._looked_at = now
        if progress != self._progress or not is_busy:
            self._progress, self.waited_s = progress, 0.0
        else:
            self.waited_s += gap_s
        return self.waited_s
