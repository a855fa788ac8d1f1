"""Coroutines that run beside the driver's loop, and what wakes that loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any


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
