"""The line in which one replica's requests wait to be sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from eibench_ray.endpoints.concurrency import Concurrency, Ending
from eibench_ray.endpoints.turnstile import Pass, Passage, Toll, Turnstile
from eibench_ray.engines.base import BudgetSpentError

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Trip:
    """A request that may be sent. What became of it is told before it ends; until then, it took its whole toll."""

    passage: Passage
    ending: Ending = Ending.DROPPED


class Line:
    """Lets requests go in the order in which they came, as many at once as the endpoint bears.

    Only the first one asks the turnstile. What that has granted is always given back, also when the row is given up in
    the middle of a call to it.
    """

    def __init__(self, turnstile: Turnstile, max_concurrency: int) -> None:
        self._turnstile = turnstile
        self._concurrency = Concurrency(max_concurrency)
        self._has_ended = asyncio.Event()
        self._first = asyncio.Lock()
        self._calls: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def trip(self, toll: Toll) -> AsyncIterator[Trip]:
        """A request's trip, once it may be sent.

        Raises:
            BudgetSpentError: it may not be sent, nor will.
        """
        number = await self._wait(toll)
        trip = Trip(Passage(toll.tokens, toll.cost_usd))
        began = time.monotonic()
        self._concurrency.begin()
        try:
            yield trip
        finally:
            self._concurrency.end(trip.ending, began, time.monotonic())
            self._has_ended.set()
            await asyncio.shield(self._call(self._turnstile.leave(number, trip.passage)))

    async def _wait(self, toll: Toll) -> int:
        async with self._first:
            while True:
                while self._concurrency.is_full:
                    self._has_ended.clear()
                    await self._has_ended.wait()
                asked = self._call(self._turnstile.enter(toll))
                try:
                    answer = await asyncio.shield(asked)
                except asyncio.CancelledError:
                    asked.add_done_callback(self._give_back)
                    raise
                if answer.is_spent:
                    raise BudgetSpentError(
                        f"budget_usd does not allow another request of up to {toll.cost_usd:.4f} USD: raise it and run "
                        f"the same command again to go on"
                    )
                if answer.number is not None:
                    return answer.number
                await asyncio.sleep(answer.wait_s)

    def _give_back(self, asked: asyncio.Task[Pass]) -> None:
        """Ends the trip that was granted to a request which is gone."""
        if not asked.cancelled() and asked.exception() is None and (number := asked.result().number) is not None:
            self._call(self._turnstile.leave(number, Passage()))

    def _call(self, call: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """A call that outlives whoever waits for it."""
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task
