"""Rows that are read and not asked yet: bounded by their bytes, pictures included."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from eibench_ray.rows.sample import Sample
from eibench_ray.worker.read_ahead import ROW_BYTES, ReadAhead, ReadSlice
from eibench_ray.worker.task_rows import TaskRow

PICTURE = bytes(10_000)
ROW = ROW_BYTES + len(PICTURE)


def rows(count: int) -> tuple[list[TaskRow], dict[str, Sequence[bytes]]]:
    """Rows of a slice, each with a picture."""
    made = [TaskRow(Sample(f"s{number}", {}), "", None, is_absent=False) for number in range(count)]
    return made, {row.sample.sample_id: (PICTURE,) for row in made}


async def read(read_ahead: ReadAhead, most: list[int]) -> None:
    """One task: a slice of 8 rows, asked one by one."""
    with await read_ahead.enter("answer") as waiting:
        await asyncio.sleep(0)
        found, images = rows(8)
        waiting.settle(found, images)
        most.append(read_ahead.num_bytes)
        for row in found:
            await asyncio.sleep(0)
            waiting.take(row, images[row.sample.sample_id])


def test_many_slices_hold_no_more_than_the_bytes_that_are_allowed() -> None:
    async def run() -> None:
        read_ahead, most = ReadAhead(20 * ROW), list[int]()
        await asyncio.gather(*(read(read_ahead, most) for _ in range(50)))
        assert len(most) == 50
        assert 8 * ROW < max(most) <= 20 * ROW, "none waits for another, or all are read at once"
        assert read_ahead.num_bytes == 0

    asyncio.run(run())


def test_a_slice_that_is_larger_than_all_that_is_allowed_is_read_alone() -> None:
    async def run() -> None:
        read_ahead, most = ReadAhead(3 * ROW), list[int]()
        await asyncio.gather(*(read(read_ahead, most) for _ in range(4)))
        assert most == [8 * ROW] * 4

    asyncio.run(run())


def test_a_task_that_fails_leaves_its_room_to_others() -> None:
    async def run() -> None:
        read_ahead = ReadAhead(8 * ROW)
        with await read_ahead.enter("answer") as waiting:
            waiting.settle(*rows(8))
            other: asyncio.Task[ReadSlice] = asyncio.create_task(read_ahead.enter("answer"))
            await asyncio.sleep(0)
            assert not other.done()
        assert (await other) is not None

    asyncio.run(run())
