"""The line in which one replica's requests wait to be sent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from eibench_ray.ratelimit.concurrency import FIRST, Concurrency, RequestEnding
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError, Grant, RateLimiter, Reservation, Spend
from eibench_ray.rows.prices import format_usd
from eibench_ray.rows.wait import Wait

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
_CLOSE_TIMEOUT_S = 5.0


@dataclass(slots=True)
class QueuedRequest:
    """A request that may be sent. Its outcome is told before it ends; until then, it took its whole reservation."""

    spend: Spend
    ending: RequestEnding = RequestEnding.DROPPED


class RequestQueue:
    """Lets requests go in the order in which they came, as many at once as the endpoint bears.

    Only the first one asks the limiter. What that has granted is always given back, also when the row is given up in
    the middle of a call to it.
    """

    def __init__(self, limiter: RateLimiter, max_concurrency: int, first: int = FIRST) -> None:
        self._limiter = limiter
        self._concurrency = Concurrency(max_concurrency, first)
        self._has_ended = asyncio.Event()
        self._first = asyncio.Lock()
        self._calls: set[asyncio.Task[Any]] = set()
        # What the first one waits for, and since when.
        self._held: tuple[str, float] | None = None

    @asynccontextmanager
    async def trip(self, reservation: Reservation) -> AsyncIterator[QueuedRequest]:
        """A request's trip, once it may be sent.

        Raises:
            BudgetSpentError: it may not be sent, nor will.
        """
        number = await self._wait(reservation)
        trip = QueuedRequest(Spend(reservation.tokens, reservation.cost_usd))
        began = time.monotonic()
        self._concurrency.begin()
        try:
            yield trip
        finally:
            self._concurrency.end(trip.ending, began, time.monotonic())
            self._has_ended.set()
            # Nobody waits for it: a limiter that is lost must not cost an answer that was paid for.
            self._call(self._limiter.leave(number, trip.spend))

    def waits(self, now: float) -> Iterator[Wait]:
        """The wait of the first request before it may be sent, other than for replies."""
        if self._held is not None:
            reason, since = self._held
            yield Wait(reason, now - since)

    async def close(self) -> None:
        """Returns once the limiter knows of every trip that has ended, or does not answer."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=_CLOSE_TIMEOUT_S)

    async def _wait(self, reservation: Reservation) -> int:
        async with self._first:
            try:
                return await self._wait_first(reservation)
            finally:
                self._held = None

    async def _wait_first(self, reservation: Reservation) -> int:
        while True:
            while self._concurrency.is_full:
                self._has_ended.clear()
                await self._has_ended.wait()
            asked = self._call(self._limiter.enter(reservation))
            try:
                answer = await asyncio.shield(asked)
            except asyncio.CancelledError:
                asked.add_done_callback(self._give_back)
                raise
            if answer.is_spent:
                raise BudgetSpentError(
                    f"budget_usd does not allow another request of up to ${format_usd(reservation.cost_usd)}: raise "
                    f"it and run the same command again to go on"
                )
            if answer.number is not None:
                return answer.number
            self._held = self._held or (answer.reason, time.monotonic())
            await asyncio.sleep(answer.wait_s)

    def _give_back(self, asked: asyncio.Task[Grant]) -> None:
        """Ends the trip that was granted to a request which is gone."""
        if not asked.cancelled() and asked.exception() is None and (number := asked.result().number) is not None:
            self._call(self._limiter.leave(number, Spend()))

    def _end_call(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("limiter call failed reason=%s", error)

    def _call(self, call: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """A call that outlives whoever waits for it."""
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._end_call)
        return task
