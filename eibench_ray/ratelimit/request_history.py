"""The requests that an endpoint let through and refused in the last minute or so. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

# Seconds; more than a pace looks back on.
MEMORY_S = 75.0


class RequestHistory:
    """The times at which requests entered, and those of the refused. One that is under way counts as let through."""

    def __init__(self) -> None:
        self._entered: list[float] = []
        self._refused: list[float] = []  # by when they had entered

    def enter(self, now: float) -> None:
        """A request is sent."""
        self._entered.append(now)
        if self._entered[0] < now - 2 * MEMORY_S:
            for times in (self._entered, self._refused):
                del times[: bisect_left(times, now - MEMORY_S)]

    def refuse(self, entered: float) -> None:
        """The request that entered at some time was refused."""
        insort(self._refused, entered)

    def remembers(self, entered: float) -> bool:
        """Whether the request that entered at some time is not forgotten."""
        return bool(self._entered) and self._entered[0] <= entered

    def entered(self, begin: float, end: float) -> list[float]:
        """The times at which requests entered, after `begin` and up to `end`."""
        return self._entered[bisect_right(self._entered, begin) : bisect_right(self._entered, end)]

    def refused(self, begin: float, end: float) -> list[float]:
        """The times at which those entered that were refused, after `begin` and up to `end`."""
        return self._refused[bisect_right(self._refused, begin) : bisect_right(self._refused, end)]

    def granted(self, begin: float, end: float) -> int:
        """Requests that entered after `begin` and up to `end`, and were let through."""
        entered = bisect_right(self._entered, end) - bisect_right(self._entered, begin)
        return entered - (bisect_right(self._refused, end) - bisect_right(self._refused, begin))
