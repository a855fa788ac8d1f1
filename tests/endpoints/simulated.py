"""A client and an endpoint that only compute: the real gate and the fault server's limits, on a clock of their own."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from fault_limits import Gate as Keeper
from fault_limits import Limit

from eibench_ray.ratelimit.admission import Admission
from eibench_ray.ratelimit.concurrency import Concurrency, RequestEnding
from eibench_ray.ratelimit.rate_limiter import Reservation, Spend


@dataclass(slots=True)
class Trace:
    """Record of what happened.

    Attributes:
        passed, refused: when each came to the endpoint, in seconds.
    """

    passed: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def share(self, per_min: float, begin: float, end: float) -> float:
        """Of what the limit allows in a time, how much was let through."""
        return sum(begin <= at < end for at in self.passed) / (per_min * (end - begin) / 60)

    def refusals_after(self, begin: float) -> int:
        return sum(at >= begin for at in self.refused)


@dataclass(slots=True)
class World:
    """One replica that always has more to ask, in front of an endpoint.

    Attributes:
        admission: under test.
        limit: what the endpoint allows at a time.
        latency_s: draws how long a reply takes.
        way_s: draws how long a request takes to the endpoint.
        refuses: whether the endpoint refuses a request for no reason at a time.
    """

    admission: Admission
    limit: Callable[[float], Limit]
    latency_s: Callable[[random.Random], float] = lambda draw: draw.uniform(0.2, 0.6)
    way_s: Callable[[random.Random], float] = lambda draw: draw.uniform(0.001, 0.02)
    refuses: Callable[[float, random.Random], bool] = lambda now, draw: False  # noqa: ARG005
    tokens: int = 10
    most: int = 64
    seed: int = 0

    def run(self, until_s: float) -> Trace:
        """Runs until a time and returns what happened."""
        draw = random.Random(self.seed)
        trace, concurrency = Trace(), Concurrency(self.most)
        keeper = Keeper(self.limit(0.0))
        reservation = Reservation("pool", self.tokens, 0.0)
        # (time, order, what): an order, so that what happens at one time is not compared.
        agenda: list[tuple[float, int, Callable[[float], None]]] = []
        order = 0
        asks = False

        def at(when: float, what: Callable[[float], None]) -> None:
            nonlocal order
            order += 1
            heappush(agenda, (when, order, what))

        def ask(now: float) -> None:
            nonlocal asks
            asks = False
            while not concurrency.is_full:
                passed = self.admission.enter(reservation, now)
                if passed.number is None:
                    asks = True
                    # A timer comes late, never early.
                    at(now + passed.wait_s + draw.uniform(0.0, 0.002), ask)
                    return
                concurrency.begin()
                at(now + self.way_s(draw), lambda then, number=passed.number, began=now: arrive(number, began, then))

        def arrive(number: int, began: float, now: float) -> None:
            nonlocal keeper
            limit = self.limit(now)
            if limit != keeper.limit:
                keeper = Keeper(limit)
            wait_s = keeper.wait_s(self.tokens, now)
            is_storm = self.refuses(now, draw)
            (trace.refused if wait_s > 0 or is_storm else trace.passed).append(now)
            if wait_s > 0 or is_storm:
                told = keeper.headers(wait_s)
                after_s = float(told["retry-after"]) if "retry-after" in told else None
                after_s = float(told["retry-after-ms"]) / 1000 if "retry-after-ms" in told else after_s
                spend, ending = Spend(was_limited=True, retry_after_s=after_s), RequestEnding.REFUSED
                back = now + self.way_s(draw)
            else:
                told = keeper.headers(0.0)
                allowed = told.get("x-ratelimit-limit-requests")
                spend = Spend(tokens=self.tokens, allowed_per_min=float(allowed) if allowed else None)
                ending, back = RequestEnding.REPLIED, now + self.latency_s(draw)
            at(back, lambda then: leave(number, spend, ending, began, then))

        def leave(number: int, spend: Spend, ending: RequestEnding, began: float, now: float) -> None:
            self.admission.leave(number, spend, now)
            concurrency.end(ending, began, now)
            if not asks:
                ask(now)

        at(0.0, ask)
        while agenda and agenda[0][0] < until_s:
            now, _, what = heappop(agenda)
            what(now)
        return trace
