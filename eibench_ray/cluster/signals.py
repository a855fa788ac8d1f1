"""Ctrl-C and SIGTERM for what runs on a cluster: once in order, twice at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


async def run_until_told(work: Coroutine[Any, Any, T], stop: Callable[[asyncio.Task[T]], object], doing: str) -> T:
    """What the work comes to; the first Ctrl-C or SIGTERM calls `stop` with its task, a second one cancels it.

    Args:
        work: runs as a task.
        stop: asks it to end in order.
        doing: what then happens, for the log.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    asked = 0

    def obey(name: str) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            log.warning("%s: %s; once more to stop at once", name, doing)
            stop(task)
        else:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, obey, number.name)
    try:
        return await task
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def as_interrupt() -> Iterator[None]:
    """Ends like Ctrl-C where the work was told twice to stop."""
    try:
        yield
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
