"""When an engine is given up: too many deaths, no place, no node; and what is forgiven."""

from __future__ import annotations

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.failure_policy import LONGEST_PAUSE_S, MAX_DEATHS, MAX_DEATHS_WITH_ROWS, FailurePolicy

CONFIG = ClusterConfig(name="local", placement_timeout_s=120, start_timeout_s=300)


def test_a_finished_slice_forgives_deaths() -> None:
    failure_policy = FailurePolicy(CONFIG)
    assert [failure_policy.died("a", ["n"]) for _ in range(MAX_DEATHS - 1)] == [False] * (MAX_DEATHS - 1)
    failure_policy.finished_slice("a")
    assert [failure_policy.died("a", ["n"]) for _ in range(MAX_DEATHS)] == [False] * (MAX_DEATHS - 1) + [True]
    assert not failure_policy.died("b", ["n"])


def test_deaths_with_rows_are_borne_with_for_longer() -> None:
    failure_policy = FailurePolicy(CONFIG)
    deaths = [failure_policy.died("a", ["n"], with_rows=True) for _ in range(MAX_DEATHS_WITH_ROWS)]
    assert deaths == [False] * (MAX_DEATHS_WITH_ROWS - 1) + [True]
    assert (failure_policy.num_deaths("a"), failure_policy.num_deaths("b")) == (MAX_DEATHS_WITH_ROWS, 0)


def test_a_node_that_leaves_excuses_those_who_died_on_it() -> None:
    failure_policy = FailurePolicy(CONFIG)
    for number in range(MAX_DEATHS):
        failure_policy.died("a", ["n", "spot"] if number else ["n"])
    assert failure_policy.is_over("a")
    failure_policy.node_left("spot")
    assert not failure_policy.is_over("a")
    assert [failure_policy.died("a", ["n"]) for _ in range(MAX_DEATHS - 1)] == [False] * (MAX_DEATHS - 2) + [True]


def test_a_place_is_awaited_for_as_long_as_a_start_may_take() -> None:
    failure_policy = FailurePolicy(CONFIG)
    waits = []
    for now in (0.0, 125.0, 255.0):
        waits.append(failure_policy.waits_for_place("a", now))
        assert not failure_policy.got_no_place("a", now)
    assert waits == [120, 120, 45]
    assert failure_policy.got_no_place("a", 300.0)


def test_a_place_that_was_got_starts_the_clock_anew() -> None:
    failure_policy = FailurePolicy(CONFIG)
    failure_policy.waits_for_place("a", 0.0)
    failure_policy.got_place("a")
    assert failure_policy.waits_for_place("a", 1000.0) == 120
    assert not failure_policy.got_no_place("a", 1120.0)


def test_pauses_grow_to_a_minute() -> None:
    failure_policy = FailurePolicy(CONFIG)
    pauses = []
    for _ in range(6):
        failure_policy.got_no_place("a", 0.0)
        pauses.append(failure_policy.pause_s("a"))
    assert pauses == [5, 10, 20, 40, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_an_engine_without_a_node_is_told_once_and_then_given_up() -> None:
    failure_policy = FailurePolicy(CONFIG)
    assert failure_policy.fits_nowhere("a", 0.0) == (True, False)
    assert failure_policy.fits_nowhere("a", 299.0) == (False, False)
    assert failure_policy.fits_nowhere("a", 300.0) == (False, True)
    failure_policy.fits("a")
    assert failure_policy.fits_nowhere("a", 301.0) == (True, False)


def test_failed_starts_count_in_a_row() -> None:
    failure_policy = FailurePolicy(ClusterConfig(name="local", max_start_failures=2))
    assert not failure_policy.failed_to_start("a")
    failure_policy.started("a")
    assert [failure_policy.failed_to_start("a") for _ in range(2)] == [False, True]
    assert not failure_policy.failed_to_start("b")


def test_rests_double_to_a_minute_and_a_finished_slice_ends_that() -> None:
    failure_policy = FailurePolicy(CONFIG)
    rests = []
    for now in range(8):
        assert failure_policy.is_news("a", began_at=now, now=now)
        rests.append(failure_policy.rest_s("a"))
    assert rests == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    failure_policy.finished_slice("a")
    assert failure_policy.is_news("a", began_at=9.0, now=9.0)
    assert failure_policy.rest_s("a") == 1
    assert failure_policy.rest_s("b") == 1


def test_copies_that_die_together_are_one_trouble() -> None:
    failure_policy = FailurePolicy(CONFIG)
    assert [failure_policy.is_news("a", began_at=float(copy), now=100.0 + copy) for copy in range(8)] == [True] + [
        False
    ] * 7
    assert failure_policy.rest_s("a") == 1
    assert failure_policy.is_news("a", began_at=101.0, now=200.0)
    assert failure_policy.rest_s("a") == 2
