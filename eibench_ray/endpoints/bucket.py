"""A token bucket: so much per second, a little at once."""

from __future__ import annotations

# What may pass at once, in seconds' worth: it makes up for a client that was late, and stays under what endpoints that
# enforce a minute's limit by the second let pass at once.
BURST_S = 0.5
# Requests are not at the endpoint in the same rhythm in which they were let through.
CAUTION = 0.99


class Bucket:
    """Lets amounts through at a rate. An amount may be larger than the bucket: what follows waits the longer.

    Within any time of s seconds no more passes than `rate * s + burst`, and one amount more.
    """

    def __init__(self, smallest: float) -> None:
        """An empty limit: everything passes until a rate is set.

        Args:
            smallest: what the bucket holds at least.
        """
        self._smallest = smallest
        self._rate: float | None = None
        self._burst = smallest
        self._level = smallest
        self._at = 0.0

    @property
    def rate(self) -> float | None:
        """What may pass per second; None: no limit."""
        return self._rate

    def allow(self, rate: float | None, now: float) -> None:
        """Sets the rate; a bucket that had one keeps its level."""
        self._fill(now)
        had_none, self._rate, self._at = self._rate is None, rate, now
        if rate is not None:
            self._burst = max(rate * BURST_S, self._smallest)
            self._level = self._burst if had_none else min(self._level, self._burst)

    def wait_s(self, now: float) -> float:
        """Seconds until something may pass; 0.0: now."""
        if self._rate is None:
            return 0.0
        self._fill(now)
        return max(self._smallest - self._level, 0.0) / self._rate

    def take(self, amount: float) -> None:
        """The amount has passed; a negative one comes back."""
        self._level = min(self._level - amount, self._burst)

    def empty(self, now: float) -> None:
        """Nothing is left to pass at once."""
        self._fill(now)
        self._level = min(self._level, 0.0)

    def _fill(self, now: float) -> None:
        if self._rate is not None and now > self._at:
            self._level = min(self._level + (now - self._at) * self._rate, self._burst)
            self._at = now


def rate_under(per_min: float, smallest: float) -> float:
    """The rate per second at which a bucket overruns no minute's limit, wherever the minute begins."""
    burst = max(per_min / 60 * BURST_S, smallest)
    return CAUTION * (per_min - (burst - smallest)) / 60
