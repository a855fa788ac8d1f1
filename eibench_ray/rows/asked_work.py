"""Work that rows made an engine do: tokens, pictures, and each one's share of a replica's time. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AskedWork:
    """A sum over rows that were asked.

    Attributes:
        engine_s: seconds of one replica: each second in which it has rows is shared out equally among them.
        row_s: from each row's start to its end; over `engine_s`, the rows that it had at once on average.
    """

    rows: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    pictures: int = 0
    engine_s: float = 0.0
    row_s: float = 0.0

    def add(self, other: AskedWork) -> None:
        """Adds another sum."""
        self.rows += other.rows
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.pictures += other.pictures
        self.engine_s += other.engine_s
        self.row_s += other.row_s

    @property
    def at_once(self) -> float:
        """Rows that the replica had at once, on average over its time; 1 where it took none."""
        return max(1.0, self.row_s / self.engine_s) if self.engine_s else 1.0


class SharedTime:
    """A replica's time, shared out equally among the rows that it has at once.

    Example: one row from second 0 to 10, another from 4 to 8: the first has 4 + 4/2 + 2 = 8 of the ten seconds.
    """

    def __init__(self) -> None:
        self.num_rows = 0  # that are being asked
        self._share_s = 0.0  # of a row that was there all the time
        self._now = 0.0

    def begin(self, now: float) -> float:
        """A row begins; returns the mark that `end` wants."""
        self._advance(now)
        self.num_rows += 1
        return self._share_s

    def end(self, mark: float, now: float) -> float:
        """A row ends; returns its share in seconds."""
        self._advance(now)
        self.num_rows -= 1
        return self._share_s - mark

    def _advance(self, now: float) -> None:
        if self.num_rows:
            self._share_s += (now - self._now) / self.num_rows
        self._now = now
