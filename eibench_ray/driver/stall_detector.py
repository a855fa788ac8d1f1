"""Whether a replica that has something to do gets on. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# What one look adds at most: who looks may have been held up itself, and then knows nothing of the time in between.
LONGEST_GAP_S = 5.0


@dataclass(slots=True)
class StallDetector:
    """A watch over one replica: for how long it has rows and does not get on.

    Attributes:
        waited_s: seconds without progress, while somebody looked.
    """

    waited_s: float = 0.0
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
