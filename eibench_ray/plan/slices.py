"""Slices of a step: fixed ranges of its rows, and which of them are left to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slice:
    """A fixed range of a step's rows: the unit of dispatch, of commit and of retry.

    Attributes:
        start, stop: the range of dataset rows that this run asks of it.
    """

    step: str
    index: int
    start: int
    stop: int

    @property
    def num_rows(self) -> int:
        """Rows that this run asks of the slice."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class StepWork:
    """The progress of a step."""

    num_rows: int  # rows that the run asks
    num_done: int  # rows that need not be asked again, errors included
    num_errors: int  # those of them that are error rows
    todo: tuple[Slice, ...]  # slices with a row to ask
    num_absent: int = 0  # those of the done rows about which there was nothing to ask
    num_quarantined: int = 0  # those of the error rows of which the engine died

    @property
    def num_requests(self) -> int:
        """Rows that were asked or are to be, as far as one knows."""
        return self.num_rows - self.num_absent

    @property
    def num_replied(self) -> int:
        """Rows that were asked and need not be again, errors included."""
        return self.num_done - self.num_absent


def cut(step_id: str, num_rows: int, slice_rows: int) -> Iterator[Slice]:
    """The slices of a step over `num_rows` rows."""
    for index, start in enumerate(range(0, num_rows, slice_rows)):
        yield Slice(step_id, index, start, min(start + slice_rows, num_rows))
