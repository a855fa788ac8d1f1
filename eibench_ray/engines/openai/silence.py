"""Whether an endpoint is dead: asked for so long, without an answer of any kind. Pure; the clock is the caller's.

>>> silence = Silence(1800.0)
>>> silence.is_over("connection refused by 127.0.0.1:1", sent_at=0.0, now=35.0)
False
>>> [str(wait) for wait in silence.waits(now=35.0)]
['waiting: connection refused by 127.0.0.1:1 for 35 s of 1800 s']
"""

from __future__ import annotations

from collections.abc import Iterator

from eibench_ray.rows.wait import Wait


class Silence:
    """The time for which an endpoint has been silent while it was asked, and why as far as is known."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._heard_at = float("-inf")
        self._since: float | None = None
        self._idle_at: float | None = None
        self.reason = ""  # why the last request brought no answer

    @property
    def has_heard(self) -> bool:
        """Whether it has ever answered."""
        return self._heard_at > float("-inf")

    def hear(self, now: float) -> None:
        """It has answered, whatever it said."""
        self._heard_at, self._since = now, None

    def is_over(self, reason: str, sent_at: float, now: float) -> bool:
        """Whether it counts as dead, now that a request of then has got no answer, for this reason.

        Time in which nobody asked is no silence.
        """
        if self._since is None:
            self._since = max(sent_at, self._heard_at)
        self.reason = reason
        return now - self._since >= self._timeout_s

    def rest(self, now: float) -> None:
        """Nobody asks it any more."""
        self._idle_at = now

    def resume(self, now: float) -> None:
        """Somebody asks it again."""
        if self._since is not None and self._idle_at is not None:
            self._since += now - self._idle_at
        self._idle_at = None

    def left_s(self, now: float) -> float:
        """Seconds after which it counts as dead if it stays silent."""
        return self._timeout_s if self._since is None else max(0.0, self._since + self._timeout_s - now)

    def heard_s(self, now: float) -> float:
        """Seconds since it last answered; infinite where it never has."""
        return now - self._heard_at

    def waits(self, now: float) -> Iterator[Wait]:
        """The wait for it while it is silent and somebody asks it."""
        if self._since is not None:
            yield Wait(self.reason, now - self._since, self._timeout_s)
