"""The line before the rate limiter: its order, and that what was granted is given back, whenever a row is given up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.ratelimit.concurrency import RequestEnding
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError, Grant, Reservation, Spend
from eibench_ray.ratelimit.request_queue import RequestQueue

RESERVATION = Reservation("pool", 100, 0.5)


@dataclass
class Slow:
    """A rate limiter that answers what it is told to, each call after a turn of `pause`."""

    answers: list[Grant]
    pause: asyncio.Event = field(default_factory=asyncio.Event)
    left: list[tuple[int, Spend]] = field(default_factory=list)
    num_asking: int = 0
    most_asking: int = 0

    async def enter(self, reservation: Reservation) -> Grant:
        assert reservation is RESERVATION
        self.num_asking += 1
        self.most_asking = max(self.most_asking, self.num_asking)
        await self.pause.wait()
        self.num_asking -= 1
        return self.answers.pop(0)

    async def leave(self, number: int, spend: Spend) -> None:
        await asyncio.sleep(0)
        self.left.append((number, spend))


async def turn() -> None:
    """Lets everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ride(line: RequestQueue, name: str, log: list[str], spend: Spend | None = None) -> None:
    async with line.trip(RESERVATION) as trip:
        log.append(name)
        trip.ending = RequestEnding.REPLIED
        if spend is not None:
            trip.spend = spend


def test_requests_go_in_the_order_in_which_they_came_and_one_asks_at_a_time() -> None:
    async def run() -> None:
        limiter = Slow([Grant(None, 0.001), *map(Grant, range(6))])
        line, log = RequestQueue(limiter, 4), []
        rides = [asyncio.create_task(ride(line, str(number), log)) for number in range(6)]
        await turn()
        limiter.pause.set()
        await asyncio.gather(*rides)
        await line.close()
        assert log == [str(number) for number in range(6)]
        assert limiter.most_asking == 1
        assert limiter.left == [(number, Spend(100, 0.5)) for number in range(6)]

    asyncio.run(run())


def test_no_more_are_under_way_than_may() -> None:
    async def run() -> None:
        limiter = Slow(list(map(Grant, range(5))))
        limiter.pause.set()
        line, end = RequestQueue(limiter, 2), asyncio.Event()
        under_way: list[int] = []

        async def stay(number: int) -> None:
            async with line.trip(RESERVATION) as trip:
                trip.ending = RequestEnding.REPLIED
                under_way.append(number)
                await end.wait()

        rides = [asyncio.create_task(stay(number)) for number in range(5)]
        await turn()
        assert under_way == [0, 1]
        end.set()
        await asyncio.gather(*rides)
        assert under_way == [0, 1, 2, 3, 4]

    asyncio.run(run())


def test_what_was_granted_to_a_row_that_is_gone_is_given_back() -> None:
    async def run() -> None:
        limiter = Slow([Grant(7), Grant(8)])
        line, log = RequestQueue(limiter, 4), []
        gone = asyncio.create_task(ride(line, "gone", log))
        other = asyncio.create_task(ride(line, "other", log, Spend(3)))
        await turn()
        gone.cancel()
        await turn()
        limiter.pause.set()
        await other
        await turn()
        assert gone.cancelled()
        assert log == ["other"]
        assert sorted(limiter.left, key=lambda left: left[0]) == [(7, Spend()), (8, Spend(3))]

    asyncio.run(run())


def test_a_row_that_is_given_up_twice_while_it_leaves_has_left() -> None:
    async def run() -> None:
        limiter = Slow([Grant(1)])
        limiter.pause.set()
        line = RequestQueue(limiter, 4)

        async def stay() -> None:
            async with line.trip(RESERVATION):
                await asyncio.Event().wait()

        row = asyncio.create_task(stay())
        await turn()
        row.cancel()
        await asyncio.sleep(0)
        row.cancel()
        await turn()
        assert row.cancelled()
        assert limiter.left == [(1, Spend(100, 0.5))]

    asyncio.run(run())


def test_a_rate_limiter_that_is_lost_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Lost(Slow):
        async def leave(self, number: int, spend: Spend) -> None:  # noqa: ARG002
            raise EngineDeadError("the rate limiter is lost")

    async def run() -> None:
        limiter = Lost([Grant(1)])
        limiter.pause.set()
        line, log = RequestQueue(limiter, 4), []
        await ride(line, "answered", log)
        await line.close()
        assert log == ["answered"]

    asyncio.run(run())
    assert "limiter call failed reason=the rate limiter is lost" in caplog.text


def test_a_spent_budget_is_said_to_everybody() -> None:
    async def run() -> None:
        limiter = Slow([Grant(None, is_spent=True)] * 2)
        limiter.pause.set()
        line, log = RequestQueue(limiter, 4), []
        for _ in range(2):
            with pytest.raises(BudgetSpentError, match=r"of up to \$0\.50: raise it"):
                await ride(line, "x", log)
        assert (log, limiter.left) == ([], [])

    asyncio.run(run())
