"""Pictures are decoded by few threads, which together hold few pixels: one bound for all rows of a process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

MOST_THREADS = 8
# Pixels that are decoded at once, at up to 12 bytes each: 1.5 GB. One larger picture is decoded alone.
MOST_PIXELS_AT_ONCE = 128_000_000


class _Pixels:
    """Lets decoders in while the sum of their pixels stays within a bound, or while nobody else is in."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, num_pixels: int) -> Iterator[None]:
        """Waits for the room that a picture takes, and keeps it for as long as the block lasts."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + num_pixels <= self._most)
            self._used += num_pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= num_pixels
                self._changed.notify_all()


_pixels = _Pixels(MOST_PIXELS_AT_ONCE)
_threads = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), "decode")


@contextmanager
def reserved(num_pixels: int) -> Iterator[None]:
    """Waits until a picture of that many pixels may be decoded; others wait until it is."""
    with _pixels.reserve(num_pixels):
        yield


async def decode_in_thread(decode: Callable[..., T], *arguments: object) -> T:
    """Calls `decode` in one of the threads for pictures; rows beyond their number wait in line."""
    return await asyncio.get_running_loop().run_in_executor(_threads, decode, *arguments)
