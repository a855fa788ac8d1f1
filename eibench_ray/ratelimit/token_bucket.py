"""A token bucket: so much per second, a little at once. Pure."""

from __future__ import annotations

# What may pass at once, in seconds' worth: it makes up for a client that was late, and is less than what endpoints let
# pass at once that enforce a minute's limit by the second.
BURST_S = 0.5
# Requests reach the endpoint in another rhythm than the one in which they were let through.
CAUTION = 0.99


class TokenBucket:
    """Lets amounts through at a rate, as long as it holds one or more. What is larger makes the next one wait longer.

    Within any s seconds no more passes than `rate * s + burst`, and one amount more. Without a rate everything passes.
    """

    def __init__(self) -> None:
        self._rate: float | None = None
        self._burst = 1.0
        self._level = 1.0
        self._at = 0.0

    def allow(self, rate: float | None, now: float) -> None:
        """Sets what may pass per second; None: no limit. A bucket that had a limit keeps what it holds."""
        self._fill(now)
        was_free, self._rate, self._at = self._rate is None, rate, max(now, self._at)
        if rate is not None:
            self._burst = max(rate * BURST_S, 1.0)
            self._level = self._burst if was_free else min(self._level, self._burst)

    def wait_s(self, now: float) -> float:
        """Seconds until something may pass; 0.0: now."""
        if self._rate is None:
            return 0.0
        self._fill(now)
        return max(1.0 - self._level, 0.0) / self._rate

    def take(self, amount: float) -> None:
        """The amount has passed; a negative one comes back."""
        self._level = min(self._level - amount, self._burst)

    def calm(self, now: float) -> None:
        """Nothing passes at once any more, and the next not before half of its time."""
        self._fill(now)
        self._level = min(self._level, 0.5)

    def hold(self, until: float) -> None:
        """Nothing is saved up before a time."""
        self._at = max(self._at, until)

    def _fill(self, now: float) -> None:
        if self._rate is not None and now > self._at:
            self._level = min(self._level + (now - self._at) * self._rate, self._burst)
            self._at = now


def rate_under(per_min: float) -> float:
    """The rate per second at which a bucket overruns no minute's limit, wherever the minute begins."""
    burst = max(per_min / 60 * BURST_S, 1.0)
    return CAUTION * (per_min - (burst - 1.0)) / 60
