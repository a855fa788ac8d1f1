"""Requests in flight: few at first, more while it goes well, fewer when it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.ratelimit.concurrency import FIRST, Concurrency, RequestEnding


def run_round(concurrency: Concurrency, ending: RequestEnding, now: float) -> int:
    """As many endings as may be in flight, each followed by what may begin then; how many may be in flight now."""
    while not concurrency.is_full:
        concurrency.begin()
    for _ in range(concurrency.limit):
        concurrency.end(ending, now, now + 1.0)
        while not concurrency.is_full:
            concurrency.begin()
    return concurrency.limit


def test_it_doubles_until_the_endpoint_has_enough() -> None:
    concurrency = Concurrency(100)
    assert [run_round(concurrency, RequestEnding.REPLIED, now) for now in range(5)] == [16, 32, 64, 100, 100]


def test_then_it_grows_with_care() -> None:
    concurrency = Concurrency(100, first=40)
    run_round(concurrency, RequestEnding.FAILED, 0.0)
    assert [run_round(concurrency, RequestEnding.REPLIED, now) for now in range(1, 4)] == [21, 22, 23]


def test_it_stays_at_what_is_configured() -> None:
    concurrency = Concurrency(10)
    assert [run_round(concurrency, RequestEnding.REPLIED, now) for now in range(3)] == [10, 10, 10]
    assert Concurrency(3).limit == 3
    assert Concurrency(64, first=64).limit == 64


def test_many_failures_at_once_shrink_it_once() -> None:
    concurrency = Concurrency(64, first=64)
    run_round(concurrency, RequestEnding.FAILED, 0.0)
    assert concurrency.limit == 32
    run_round(concurrency, RequestEnding.FAILED, 1.5)
    assert concurrency.limit == 16


def test_a_refusal_takes_less_than_a_failure() -> None:
    concurrency = Concurrency(64, first=60)
    run_round(concurrency, RequestEnding.REFUSED, 0.0)
    assert concurrency.limit == 54


def test_it_recovers() -> None:
    concurrency = Concurrency(64, first=64)
    for now in range(0, 20, 2):
        run_round(concurrency, RequestEnding.FAILED, float(now))
    assert concurrency.limit == 1
    sizes = [run_round(concurrency, RequestEnding.REPLIED, 100.0 + 2 * now) for now in range(50)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 64


def test_it_does_not_grow_while_it_is_not_used() -> None:
    concurrency = Concurrency(64)
    for _ in range(100):
        concurrency.begin()
        concurrency.end(RequestEnding.REPLIED, 0.0, 1.0)
    assert concurrency.limit == FIRST


def test_what_was_given_up_here_says_nothing_of_the_endpoint() -> None:
    concurrency = Concurrency(64)
    run_round(concurrency, RequestEnding.DROPPED, 0.0)
    assert concurrency.limit == FIRST


@given(st.integers(1, 100), st.lists(st.tuples(st.sampled_from(RequestEnding), st.floats(0.0, 5.0)), max_size=200))
def test_one_request_may_always_be_under_way(most: int, endings: list[tuple[RequestEnding, float]]) -> None:
    concurrency, now = Concurrency(most), 0.0
    for ending, lasted_s in endings:
        now += lasted_s
        concurrency.begin()
        concurrency.end(ending, now - lasted_s, now)
        assert not concurrency.is_full
        assert 1 <= concurrency.limit <= most
