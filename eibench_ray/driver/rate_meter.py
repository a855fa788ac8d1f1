"""Rates of a run over its last seconds: rows, and the tokens of each engine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

# Long enough for slices to come back in, short enough to show that an engine stands still.
WINDOW_S = 30.0
# In less time a rate is chance.
LEAST_S = 2.0


class RateMeter:
    """Growth of counts per second, from the moment when each begins to grow.

    meter = RateMeter()
    meter.note({"rows": 0})        # a count per name, whenever they are known
    meter.rate("rows")             # per second over the last half minute; None: not known yet
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: deque[tuple[float, Mapping[str, int]]] = deque()
        self._began: dict[str, tuple[float, int]] = {}  # when a count was last what it was at first

    def note(self, counts: Mapping[str, int]) -> None:
        """The counts as they are now."""
        now = self._clock()
        for name, count in counts.items():
            if self._began.get(name, (now, count))[1] == count:
                self._began[name] = now, count
        self._noted.append((now, counts))
        while len(self._noted) > 2 and self._noted[1][0] <= now - WINDOW_S:
            self._noted.popleft()

    def average(self, name: str) -> float | None:
        """Growth of a count per second since it began to grow, 0 where it shrank; None as for `rate`."""
        began_at, began = self._began[name]
        now, last = self._noted[-1]
        return max(0, last[name] - began) / (now - began_at) if now - began_at >= LEAST_S else None

    def rate(self, name: str) -> float | None:
        """Growth of a count per second; None where it has not grown, or not for long enough."""
        (first_at, first), (now, last) = self._noted[0], self._noted[-1]
        began_at, began = self._began.get(name, (now, 0))
        since, count = (first_at, first[name]) if first_at > began_at else (began_at, began)
        return max(0, last[name] - count) / (now - since) if now - since >= LEAST_S else None
