"""The gate: limits that are shared, waits that end, a budget that holds."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.admission import LONGEST_WAIT_S, Admission, LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import LIFETIME_S, Grant, Reservation, Spend

FREE = Reservation("pool", 100, 0.0)


def enter(admission: Admission, now: float, reservation: Reservation = FREE) -> int:
    """The number of a request that may pass."""
    answer = admission.enter(reservation, now)
    assert answer.number is not None
    return answer.number


def drain(admission: Admission, now: float, reservation: Reservation = FREE) -> list[int]:
    """The numbers of all that may pass at once."""
    numbers = []
    while (answer := admission.enter(reservation, now)).number is not None:
        numbers.append(answer.number)
    return numbers


requests = st.lists(
    # which of two pools, tokens, most that it costs, share of it that it costs, seconds that it takes
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 5000), st.floats(0.0, 0.5), st.floats(0.0, 1.0), st.floats(0.0, 9.0)
    ),
    min_size=1,
    max_size=40,
)


@given(requests, st.floats(0.5, 5.0))
def test_every_request_passes_or_is_told_that_it_never_will(
    plan: list[tuple[str, int, float, float, float]], budget: float
) -> None:
    limits = {"a": RateLimits("a", requests_per_min=60.0), "b": RateLimits("b", tokens_per_min=60_000.0)}
    admission, now = Admission(limits, budget), 0.0
    leaving: list[tuple[float, int, Spend]] = []
    waiting = [(0.0, line) for line in plan]
    most_tokens = sum(line[1] for line in plan)
    while waiting or leaving:
        waiting.sort(key=lambda entry: entry[0])
        leaving.sort(key=lambda entry: entry[0])
        if leaving and (not waiting or leaving[0][0] <= waiting[0][0]):
            now, number, spend = leaving.pop(0)
            admission.leave(number, spend, now)
            continue
        now, (pool, tokens, most_usd, share, lasts_s) = waiting.pop(0)
        answer = admission.enter(Reservation(pool, tokens, most_usd), now)
        if answer.number is not None:
            leaving.append((now + lasts_s, answer.number, Spend(tokens, most_usd * share)))
        elif answer.is_spent:
            assert admission.account.spent_usd + most_usd > budget
        else:
            assert 0 < answer.wait_s <= LONGEST_WAIT_S
            waiting.append((now + answer.wait_s, (pool, tokens, most_usd, share, lasts_s)))
        assert admission.account.reserved_usd + admission.account.spent_usd <= budget + 1e-6
        # As long as they take one after the other, and a second each for the way things fall.
        assert now <= most_tokens / 1000 * 1.1 + sum(line[4] + 2.0 for line in plan) + 10.0


endings = st.lists(
    # seconds until it ends, whether it was refused, and for how long the endpoint wants to be left alone
    st.tuples(st.floats(0.0, 5.0) | st.floats(0.0, 400.0), st.booleans(), st.none() | st.floats(0.0, 30.0)),
    min_size=1,
    max_size=80,
)


@given(endings)
def test_whatever_an_endpoint_answers_somebody_passes_again(plan: list[tuple[float, bool, float | None]]) -> None:
    admission, now = Admission({}), 0.0
    inside: list[tuple[float, int, Spend]] = []
    for lasts_s, was_limited, retry_after_s in plan:
        while (answer := admission.enter(FREE, now)).number is None:
            now += answer.wait_s
            assert now < 200.0 * len(plan)
        spend = Spend(was_limited=True, retry_after_s=retry_after_s) if was_limited else Spend(tokens=100)
        inside.append((now + lasts_s, answer.number, spend))
        for end in sorted(inside, key=lambda end: end[:2]):
            if end[0] <= now or len(inside) > 8:
                now = max(now, end[0])
                admission.leave(end[1], end[2], now)
                inside.remove(end)


def test_engines_of_one_pool_share_its_limit_and_others_do_not() -> None:
    admission = Admission({name: RateLimits(name, requests_per_min=600.0) for name in "ab"})
    assert len(drain(admission, 0.0, Reservation("a", 0, 0.0))) == 4
    assert drain(admission, 0.0, Reservation("a", 9, 0.0)) == []
    assert len(drain(admission, 0.0, Reservation("b", 0, 0.0))) == 4
    assert len(drain(admission, 1.0, Reservation("a", 0, 0.0))) == 4


def test_tokens_that_were_not_needed_come_back() -> None:
    admission = Admission({"pool": RateLimits("pool", tokens_per_min=60_000.0)})
    number = enter(admission, 0.0, Reservation("pool", 5000, 0.0))
    assert admission.enter(FREE, 0.0).wait_s == pytest.approx(4.5, abs=0.2)
    admission.leave(number, Spend(tokens=100), 0.0)
    enter(admission, 0.0)


def test_tokens_of_a_request_without_an_answer_may_have_been_counted() -> None:
    admission = Admission({"pool": RateLimits("pool", tokens_per_min=60_000.0)})
    admission.leave(enter(admission, 0.0, Reservation("pool", 5000, 0.0)), Spend(), 0.0)
    assert admission.enter(FREE, 0.0).number is None
    admission = Admission({"pool": RateLimits("pool", tokens_per_min=60_000.0)})
    admission.leave(enter(admission, 0.0, Reservation("pool", 5000, 0.0)), Spend(was_limited=True), 0.0)
    enter(admission, 1.0)


def test_nobody_of_a_pool_passes_before_the_time_that_the_endpoint_named() -> None:
    admission = Admission({})
    first, second = enter(admission, 0.0), enter(admission, 0.0)
    admission.leave(first, Spend(was_limited=True, retry_after_s=30.0), 1.0)
    admission.leave(second, Spend(was_limited=True, retry_after_s=2.0), 1.1)
    assert [admission.enter(FREE, now).number for now in (1.1, 3.5, 30.9)] == [None] * 3
    assert admission.enter(FREE, 1.1).wait_s == LONGEST_WAIT_S
    assert admission.enter(FREE, 30.9).wait_s == pytest.approx(0.1)
    enter(admission, 31.0)
    enter(admission, 2.0, Reservation("another", 0, 0.0))


def test_headers_name_a_limit_where_none_is_configured() -> None:
    told = Spend(tokens=100, allowed_per_min=600.0, allowed_tokens_per_min=1e9)
    admission = Admission({})
    admission.leave(enter(admission, 0.0), told, 0.0)
    assert len(drain(admission, 0.0)) == 4
    admission = Admission({"pool": RateLimits("pool", requests_per_min=6000.0)})
    admission.leave(enter(admission, 0.0), told, 0.0)
    assert len(drain(admission, 1.0)) == 49
    admission = Admission({})
    admission.leave(enter(admission, 0.0), Spend(tokens=100, allowed_per_min=-1.0, allowed_tokens_per_min=0.0), 0.0)
    assert all(admission.enter(FREE, 0.0).number is not None for _ in range(100))


def test_a_budget_counts_what_was_spent_before() -> None:
    admission = Admission({}, budget_usd=10.0, spent_usd=9.0)
    assert admission.enter(Reservation("pool", 0, 1.5), 0.0) == Grant(None, is_spent=True)
    number = enter(admission, 0.0, Reservation("pool", 0, 1.0))
    assert admission.enter(Reservation("pool", 0, 0.5), 0.0).is_spent is False
    admission.leave(number, Spend(cost_usd=0.25), 1.0)
    enter(admission, 1.0, Reservation("pool", 0, 0.5))
    assert admission.account.spent_usd == pytest.approx(9.25)


def test_to_leave_twice_is_to_leave_once() -> None:
    admission = Admission({}, budget_usd=10.0)
    number = enter(admission, 0.0, Reservation("pool", 0, 2.0))
    for _ in range(2):
        admission.leave(number, Spend(cost_usd=1.0), 1.0)
    assert (admission.account.spent_usd, admission.account.reserved_usd) == (1.0, 0.0)


def test_what_an_earlier_gate_let_through_is_paid_for() -> None:
    admission = Admission({}, budget_usd=10.0, first_number=1000)
    admission.leave(7, Spend(cost_usd=3.0), 1.0)
    assert admission.account.spent_usd == 3.0


def test_who_does_not_come_back_holds_nothing_up_for_ever() -> None:
    admission = Admission({}, budget_usd=3.0)
    lost = enter(admission, 0.0, Reservation("pool", 0, 2.0))
    assert admission.enter(Reservation("pool", 0, 2.0), LIFETIME_S).is_spent is False
    assert admission.enter(Reservation("pool", 0, 2.0), LIFETIME_S + 1).is_spent is True
    assert (admission.account.spent_usd, admission.account.reserved_usd) == (2.0, 0.0)
    admission.leave(lost, Spend(cost_usd=0.5), LIFETIME_S + 2)
    assert admission.account.spent_usd == 0.5


def test_who_takes_a_day_holds_its_reservation_for_as_long() -> None:
    admission = Admission({}, budget_usd=3.0)
    batch = Reservation("pool/batch", 0, 2.0, lifetime_s=90_000.0)
    under_way, lost = enter(admission, 0.0, batch), enter(admission, 1.0, Reservation("pool", 0, 0.5))
    assert admission.enter(Reservation("pool", 0, 1.0), 80_000.0).is_spent is False
    assert (admission.account.spent_usd, admission.account.reserved_usd) == (
        0.5,
        2.0,
    )  # who came later is given up sooner
    admission.leave(under_way, Spend(cost_usd=0.5), 80_001.0)
    assert admission.enter(Reservation("pool", 0, 2.0), 80_002.0).number not in (None, lost)


def test_a_local_limiter_goes_by_its_clock() -> None:
    now = 0.0
    limiter = LocalRateLimiter({"pool": RateLimits("pool", requests_per_min=1.0)}, clock=lambda: now)

    async def visit() -> Grant:
        return await limiter.enter(FREE)

    assert asyncio.run(visit()).number is not None
    assert asyncio.run(visit()).number is None
    now = 61.0
    answer = asyncio.run(visit())
    assert answer.number is not None
    asyncio.run(limiter.leave(answer.number, Spend(tokens=1)))
