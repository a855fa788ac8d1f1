"""Whether an endpoint is dead: asked for so long, without an answer of any kind. Pure; the clock is the caller's."""

from __future__ import annotations


class Silence:
    """How long an endpoint has been silent while it was asked."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._heard_at = float("-inf")
        self._since: float | None = None

    def hear(self, now: float) -> None:
        """It has answered, whatever it said."""
        self._heard_at, self._since = now, None

    def is_over(self, sent_at: float, now: float) -> bool:
        """Whether it counts as dead, now that a request of then has got no answer.

        Time in which nobody asked is no silence.
        """
        if self._since is None:
            self._since = max(sent_at, self._heard_at)
        return now - self._since >= self._timeout_s
