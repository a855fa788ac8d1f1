"""A line every minute about how far a run is, and one at once about what it begins to wait for."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping

from eibench_ray.driver.run_events import Snapshot
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.rows.wait import Wait
from eibench_ray.scoring.rounding import show_share

log = logging.getLogger(__name__)

EVERY_S = 60.0
# In the first minute, when most that is wrong shows, nobody waits longer for a word.
FIRST_S, FIRST_EVERY_S = 60.0, 9.0
# What a run waits for is told after so many seconds, well within 10.
WAIT_TOLD_AFTER_S = 5.0
_MOST_WAITS = 3
# "3.2 of 8.1 GB are here" is the same wait as "3.3 of 8.1 GB are here".
_FIGURE = re.compile(r"\d+(\.\d+)?")


class ProgressLines:
    """Tells the log where the run stands."""

    def __init__(
        self,
        plan: Plan,
        work: Mapping[str, StepWork],
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget if any(spec.price for spec in plan.engines.values()) else None
        self._work = {step: left for step, left in work.items() if left.todo}
        self._clock = clock
        self._began: float | None = None
        self._told_at = 0.0
        self._first_done = sum(left.num_rows - sum(one.num_rows for one in left.todo) for left in self._work.values())
        self._waits: dict[tuple[str, str], Wait] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Writes what is new, and every minute all of it."""
        self._tell_waits(snapshot.waits)
        now = self._clock()
        if self._began is None:
            self._began = self._told_at = now
        if now - self._told_at >= (FIRST_EVERY_S if now - self._began < FIRST_S else EVERY_S):
            self._told_at = now
            log.info("%s", self.describe(snapshot))

    def describe(self, snapshot: Snapshot) -> str:
        """The run's rows, rate, errors, cost, time left, replicas and waits in one line."""
        committed = sum(snapshot.done[step] for step in self._work)
        done, passed_s = committed + snapshot.rows_in_flight, max(self._clock() - (self._began or 0.0), 1e-9)
        absent = sum(snapshot.absent[step] for step in self._work)
        total = sum(left.num_rows for left in self._work.values())
        rate, left = (done - self._first_done) / passed_s, total - done
        words = [f"{done - absent:,} of {total - absent:,} rows ({show_share(done / max(total, 1), 0)}%)"]
        words += [f"{rate:.1f} rows/s", f"{snapshot.tokens / passed_s:.0f} tokens/s"]
        words.append(f"{snapshot.errors:,} error{'' if snapshot.errors == 1 else 's'}")
        if self._budget:
            words.append(str(self._budget.spend(snapshot.cost_usd)))
        if left:
            words.append(f"about {_in_words(left / rate)} left" if rate > 0 else "time left not known yet")
        starting = sum(count for count, _ in snapshot.replicas.values())
        ready = sum(count for _, count in snapshot.replicas.values())
        words.append(f"{ready} replica{'' if ready == 1 else 's'} ready{f', {starting} starting' if starting else ''}")
        waits = [str(wait) for wait in snapshot.waits[:_MOST_WAITS]]
        if (num_more := len(snapshot.waits) - _MOST_WAITS) > 0:
            waits.append(f"and {num_more} more")
        return "; ".join([", ".join(words), *waits])

    def _tell_waits(self, waits: tuple[Wait, ...]) -> None:
        """Tells of each wait once while it lasts, and that it is over."""
        now = {_key(wait): wait for wait in waits if wait.waited_s >= WAIT_TOLD_AFTER_S}
        for key, wait in now.items():
            if key not in self._waits:
                log.info("%s", wait)
        for key in self._waits.keys() - now.keys():
            gone = self._waits[key]
            log.info("no longer %s", gone)
        self._waits = now


def _key(wait: Wait) -> tuple[str, str]:
    who, what = wait.key
    return who, _FIGURE.sub("#", what)


def _in_words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
