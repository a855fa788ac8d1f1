"""Requests that wait together are answered together; what a batch is made of, this module does not know."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply

log = logging.getLogger(__name__)
P = TypeVar("P")


class OutOfMemoryError(Exception):
    """A batch was too large for the memory; a smaller one may not be."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[P]):
    """A request that waits for its reply."""

    prompt: P
    reply: asyncio.Future[Reply]

    def is_wanted(self) -> bool:
        """Whether somebody still awaits it."""
        return not self.reply.done()


class RequestBatches(Generic[P]):
    """Hands batches to a function that blocks, one at a time, in a thread of its own.

    Args:
        answer: the replies to a batch, in order. It raises OutOfMemoryError where a smaller batch may do,
            EngineDeadError where none will, and anything else for a batch that holds a row which cannot be answered.
        most: requests in one batch; halved whenever the memory is too small.
    """

    def __init__(self, answer: Callable[[Sequence[Waiting[P]]], Sequence[Reply]], most: int) -> None:
        self._answer = answer
        self._most = most
        self._waiting: list[Waiting[P]] = []
        self._num_coming = 0
        self._news = asyncio.Event()
        self._death: EngineDeadError | None = None
        self._thread = ThreadPoolExecutor(1, "generate")
        self._work = asyncio.create_task(self._answer_all())

    async def ask(self, coming: Awaitable[P]) -> Reply:
        """The reply to a prompt, when its batch is answered.

        Args:
            coming: the prompt, which may still be in the making: a batch that is not full waits for it.

        Raises:
            RowError: this prompt cannot be answered.
            EngineDeadError: nothing can be answered any more.
        """
        self._num_coming += 1
        try:
            prompt = await coming
            if self._death:
                raise self._death
            waiting = Waiting(prompt, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
        finally:
            self._num_coming -= 1
            self._news.set()
        return await waiting.reply

    async def close(self) -> None:
        """Gives up what is asked, and returns when nothing is generated any more."""
        self._death = EngineDeadError("the engine was stopped")
        self._work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._work
        await asyncio.to_thread(self._thread.shutdown)

    async def _answer_all(self) -> None:
        batch: list[Waiting[P]] = []
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                while batch := self._next_batch():
                    await self._answer_batch(batch)
        finally:
            for waiting in (*batch, *self._waiting):
                waiting.reply.cancel()

    def _next_batch(self) -> list[Waiting[P]]:
        """The requests that are to be answered next; none while more are to come."""
        self._waiting = [waiting for waiting in self._waiting if waiting.is_wanted()]
        if self._num_coming and len(self._waiting) < self._most:
            return []
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        return batch

    async def _answer_batch(self, batch: Sequence[Waiting[P]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._death:
                raise self._death
            replies = await loop.run_in_executor(self._thread, self._answer, batch)
        except EngineDeadError as error:
            self._death = error
            _fail(batch, error)
        except Exception as error:
            if isinstance(error, OutOfMemoryError) and len(batch) > 1:
                self._most = min(self._most, len(batch) // 2)
                log.warning("out of memory rows=%d next=%d", len(batch), self._most)
            if len(batch) == 1:
                _fail(batch, RowError(RowErrorKind.ENGINE, " ".join(str(error).split()) or type(error).__name__))
                return
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                await self._answer_batch(half)
        else:
            for waiting, reply in zip(batch, replies, strict=True):
                if waiting.is_wanted():
                    waiting.reply.set_result(reply)


def _fail(batch: Sequence[Waiting[P]], error: Exception) -> None:
    for waiting in batch:
        if waiting.is_wanted():
            waiting.reply.set_exception(error)
