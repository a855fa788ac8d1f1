"""Bounds the bytes of rows that a replica has read and not asked yet, pictures included.

A replica is given slices enough for its engine never to wait; a slice of pictures may be a hundred times as large as
one of texts. So its bytes decide when the next one is read. Rows that are asked are the engine's: its batch bounds
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from eibench_ray.worker.task_rows import TaskRow

# 1,300 pictures of 200 kB, or 100,000 texts: a slice is read in less time than a batch takes for half of that.
MOST_BYTES = 256 * 2**20
# Of a row beside its texts and pictures: the objects that it is made of.
ROW_BYTES = 2048


class ReadAhead:
    """Lets tasks read their slices in the order in which they came, as long as there is room."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._num_bytes = 0
        self._largest: dict[str, int] = {}  # bytes of each step's largest slice so far
        self._turn = asyncio.Lock()
        self._has_less = asyncio.Event()

    @property
    def num_bytes(self) -> int:
        """Bytes of what is read and not asked yet, and of what is being read, as far as that is known."""
        return self._num_bytes

    async def enter(self, step: str) -> ReadSlice:
        """A slice of a step that may be read now; one alone may be of any size."""
        async with self._turn:
            # The first slice of all is read alone: nobody knows its size.
            expected = self._largest.get(step) or max(self._largest.values(), default=self._most_bytes)
            while self._num_bytes and self._num_bytes + expected > self._most_bytes:
                self._has_less.clear()
                await self._has_less.wait()
            self._num_bytes += expected
            return ReadSlice(self, step, expected)

    def settle(self, step: str, num_bytes: int, expected: int) -> None:
        """A slice turned out to be of so many bytes."""
        self._largest[step] = max(num_bytes, self._largest.get(step, 0))
        self.release(expected - num_bytes)

    def release(self, num_bytes: int) -> None:
        """So many bytes are not waiting any more."""
        self._num_bytes -= num_bytes
        self._has_less.set()


class ReadSlice:
    """One slice's rows that wait to be asked; leaving the block releases those that are left."""

    def __init__(self, read_ahead: ReadAhead, step: str, expected: int) -> None:
        self._read_ahead = read_ahead
        self._step = step
        self._num_bytes = expected

    def __enter__(self) -> ReadSlice:
        return self

    def __exit__(self, *_: object) -> None:
        self._read_ahead.release(self._num_bytes)
        self._num_bytes = 0

    def settle(self, rows: Iterable[TaskRow], images: Mapping[str, Sequence[bytes]]) -> None:
        """These are its rows, with their pictures."""
        num_bytes = sum(row_bytes(row, images.get(row.sample.sample_id, ())) for row in rows)
        self._read_ahead.settle(self._step, num_bytes, self._num_bytes)
        self._num_bytes = num_bytes

    def take(self, row: TaskRow, images: Sequence[bytes]) -> None:
        """A row is asked."""
        num_bytes = min(self._num_bytes, row_bytes(row, images))
        self._num_bytes -= num_bytes
        self._read_ahead.release(num_bytes)


def row_bytes(row: TaskRow, images: Sequence[bytes]) -> int:
    """Bytes that a row takes until it is asked."""
    text = len(row.request.user) if row.request else 0
    return ROW_BYTES + text + sum(len(image) for image in images if image is not None)
