"""Coroutines beside the driver's loop, what wakes that loop, and blocking calls with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar


class BackgroundTasks:
    """Jobs in the background. An error that one of them ends with ends the run: `next_change` raises it."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A job that runs from now on."""
        job = asyncio.create_task(work)
        self._running.add(job)
        job.add_done_callback(self._note_end)
        return job

    def wake(self) -> None:
        """Something has happened: `next_change` returns."""
        self._changed.set()

    async def next_change(self, timeout_s: float) -> None:
        """Returns once something has happened since the last call, or after a while."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        self._changed.clear()
        if self._failure is not None:
            raise self._failure

    async def finish(self, timeout_s: float) -> None:
        """Returns once no job is left; those that take longer are cancelled.

        What goes wrong in here is passed over: the error that ended the run is the one to show.
        """
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for job in late:
                job.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _note_end(self, job: asyncio.Task[None]) -> None:
        self._running.discard(job)
        if not job.cancelled() and (error := job.exception()) is not None and self._failure is None:
            self._failure = error
        self.wake()


P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(timeout_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a function in a thread that nobody joins, and returns its result.

    `asyncio.to_thread` takes its threads from a pool, for which asyncio and Python wait when they end: a call that
    hangs (a network drive, Ray without its control service) would keep the command from ending.

    Raises:
        TimeoutError: it has not returned in time; its thread is left to itself.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)  # type: ignore[arg-type]

    def call() -> None:
        value, failure = None, None
        try:
            value = function(*args, **kwargs)
        except BaseException as error:  # whoever awaits it is told
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=call, name=getattr(function, "__name__", "call"), daemon=True).start()
    return await asyncio.wait_for(outcome, timeout_s)
