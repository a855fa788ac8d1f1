"""Few pictures are decoded at once: bounded in threads, and in pixels."""

from __future__ import annotations

import asyncio
import threading

from eibench_ray.engines import decoding_slots
from eibench_ray.engines.decoding_slots import decode_in_thread, reserved


def test_pictures_beyond_the_bound_wait_until_others_are_through() -> None:
    inside, may_leave, order = threading.Event(), threading.Event(), []

    def hold() -> None:
        with reserved(decoding_slots.MOST_PIXELS_AT_ONCE - 10):
            inside.set()
            may_leave.wait(30)
            order.append("first")

    def follow() -> None:
        with reserved(20):
            order.append("second")

    threads = [threading.Thread(target=hold), threading.Thread(target=follow)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    with reserved(10):  # what still has room goes in at once
        assert order == []
    may_leave.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second"]


def test_a_picture_beyond_the_bound_is_decoded_alone() -> None:
    with reserved(2 * decoding_slots.MOST_PIXELS_AT_ONCE):
        pass


def test_rows_share_a_few_threads() -> None:
    names = set()

    def decode(number: int) -> int:
        names.add(threading.current_thread().name)
        return number

    async def ask() -> list[int]:
        return await asyncio.gather(*(decode_in_thread(decode, number) for number in range(100)))

    assert asyncio.run(ask()) == list(range(100))
    assert len(names) <= decoding_slots.MOST_THREADS
    assert all(name.startswith("decode") for name in names)
