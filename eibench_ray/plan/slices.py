"""Slices of a step: fixed ranges of its rows, and which of them are left to do. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")

# Of a slice, where the configuration leaves it open.
MOST_ROWS = 256


@dataclass(frozen=True, slots=True)
class Slice:
    """A fixed range of a step's rows: the unit of dispatch, of commit and of retry.

    Attributes:
        start, stop: the range of dataset rows that this run asks of it.
        chosen: where it does not ask all of the range: bit n is set where it asks row start + n.
    """

    step: str
    index: int
    start: int
    stop: int
    chosen: int | None = None

    @property
    def num_rows(self) -> int:
        """Rows that this run asks of the slice."""
        return self.stop - self.start if self.chosen is None else self.chosen.bit_count()

    @property
    def rows(self) -> Sequence[int]:
        """Numbers of these rows in the dataset."""
        return self.pick(range(self.start, self.stop))

    def pick(self, values: Sequence[_T]) -> Sequence[_T]:
        """Of a value per row of the range, those of the rows that this run asks."""
        if self.chosen is None:
            return values
        return [value for number, value in enumerate(values) if self.chosen >> number & 1]


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


def cut(step_id: str, rows: int | Sequence[int], slice_rows: int) -> Iterator[Slice]:
    """The slices of a step over some rows of a dataset; those without any of them are left out.

    >>> [(part.index, list(part.rows)) for part in cut("step", [1, 3, 9], 4)]
    [(0, [1, 3]), (2, [9])]

    Args:
        step_id: the step.
        rows: their numbers, ascending; or how many, where they are the first.
        slice_rows: rows of the dataset per slice.
    """
    numbers = range(rows) if isinstance(rows, int) else rows
    place = 0
    while place < len(numbers):
        index = numbers[place] // slice_rows
        end = bisect_left(numbers, (index + 1) * slice_rows, place)
        start, stop = numbers[place], numbers[end - 1] + 1
        chosen = None if end - place == stop - start else sum(1 << row - start for row in numbers[place:end])
        yield Slice(step_id, index, start, stop, chosen)
        place = end
