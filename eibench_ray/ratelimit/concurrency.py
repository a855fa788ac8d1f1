"""The number of requests that an endpoint is sent at once: more while it bears them, fewer when it does not. Pure."""

from __future__ import annotations

from enum import Enum

FIRST = 8
# The pool's pace already answers a 429, so here it is hardly more than a courtesy.
AFTER_REFUSAL = 0.9
AFTER_FAILURE = 0.5
# Growth per reply once the endpoint has shown that it can have too much: 5% per round.
CAREFUL_GROWTH = 0.05


class RequestEnding(Enum):
    """The end of a request, as far as the endpoint's strength is concerned."""

    REPLIED = "replied"  # with whatever: an error that is the request's own fault, too
    REFUSED = "refused"  # 429
    FAILED = "failed"  # 5xx, a timeout, a lost connection
    DROPPED = "dropped"  # given up here


class Concurrency:
    """A bound for the requests in flight of one replica, between 1 and what is configured.

    It begins low and grows with each reply, by one until the endpoint first had too much, then by little. A refusal or
    a failure shrinks it, once for all requests that were in flight at the same time.
    """

    def __init__(self, most: int, first: int = FIRST) -> None:
        self._most = most
        self._limit = float(min(first, most))
        # Up to here it has borne: grown back quickly.
        self._borne = float(most)
        self._in_flight = 0
        self._shrunk_at = float("-inf")

    @property
    def limit(self) -> int:
        """Requests that may be in flight."""
        return int(self._limit)

    @property
    def is_full(self) -> bool:
        """Whether no further request may begin now."""
        return self._in_flight >= self.limit

    def begin(self) -> None:
        """A request is sent."""
        self._in_flight += 1

    def end(self, ending: RequestEnding, began: float, now: float) -> None:
        """A request has ended that began at some time."""
        was_busy = 2 * self._in_flight >= self.limit
        self._in_flight -= 1
        if ending is RequestEnding.REPLIED and was_busy:
            growth = 1.0 if self._limit < self._borne else max(CAREFUL_GROWTH, 1 / self._limit)
            self._limit = min(self._limit + growth, float(self._most))
        elif ending in (RequestEnding.REFUSED, RequestEnding.FAILED) and began > self._shrunk_at:
            factor = AFTER_REFUSAL if ending is RequestEnding.REFUSED else AFTER_FAILURE
            self._borne = self._limit * (1.0 if ending is RequestEnding.REFUSED else factor)
            self._limit = max(self._limit * factor, 1.0)
            self._shrunk_at = now
