"""When an engine is given up: too many deaths, no place, no node; and what is forgiven."""

from __future__ import annotations

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.failure_policy import LONGEST_PAUSE_S, MAX_DEATHS, MAX_DEATHS_WITH_ROWS, FailurePolicy

CONFIG = ClusterConfig(name="local", placement_timeout_s=120, start_timeout_s=300)


def test_a_finished_slice_forgives_deaths() -> None:
    patience = FailurePolicy(CONFIG)
    assert [patience.died("a", ["n"]) for _ in range(MAX_DEATHS - 1)] == [False] * (MAX_DEATHS - 1)
    patience.finished_slice("a")
    assert [patience.died("a", ["n"]) for _ in range(MAX_DEATHS)] == [False] * (MAX_DEATHS - 1) + [True]
    assert not patience.died("b", ["n"])


def test_deaths_with_rows_are_borne_with_for_longer() -> None:
    patience = FailurePolicy(CONFIG)
    deaths = [patience.died("a", ["n"], with_rows=True) for _ in range(MAX_DEATHS_WITH_ROWS)]
    assert deaths == [False] * (MAX_DEATHS_WITH_ROWS - 1) + [True]
    assert (patience.num_deaths("a"), patience.num_deaths("b")) == (MAX_DEATHS_WITH_ROWS, 0)


def test_a_node_that_leaves_excuses_those_who_died_on_it() -> None:
    patience = FailurePolicy(CONFIG)
    for number in range(MAX_DEATHS):
        patience.died("a", ["n", "spot"] if number else ["n"])
    assert patience.is_over("a")
    patience.node_left("spot")
    assert not patience.is_over("a")
    assert [patience.died("a", ["n"]) for _ in range(MAX_DEATHS - 1)] == [False] * (MAX_DEATHS - 2) + [True]


def test_a_place_is_awaited_for_as_long_as_a_start_may_take() -> None:
    patience = FailurePolicy(CONFIG)
    waits = []
    for now in (0.0, 125.0, 255.0):
        waits.append(patience.waits_for_place("a", now))
        assert not patience.got_no_place("a", now)
    assert waits == [120, 120, 45]
    assert patience.got_no_place("a", 300.0)


def test_a_place_that_was_got_starts_the_clock_anew() -> None:
    patience = FailurePolicy(CONFIG)
    patience.waits_for_place("a", 0.0)
    patience.got_place("a")
    assert patience.waits_for_place("a", 1000.0) == 120
    assert not patience.got_no_place("a", 1120.0)


def test_pauses_grow_to_a_minute() -> None:
    patience = FailurePolicy(CONFIG)
    pauses = []
    for _ in range(6):
        patience.got_no_place("a", 0.0)
        pauses.append(patience.pause_s("a"))
    assert pauses == [5, 10, 20, 40, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_an_engine_without_a_node_is_told_once_and_then_given_up() -> None:
    patience = FailurePolicy(CONFIG)
    assert patience.fits_nowhere("a", 0.0) == (True, False)
    assert patience.fits_nowhere("a", 299.0) == (False, False)
    assert patience.fits_nowhere("a", 300.0) == (False, True)
    patience.fits("a")
    assert patience.fits_nowhere("a", 301.0) == (True, False)


def test_failed_starts_count_in_a_row() -> None:
    patience = FailurePolicy(ClusterConfig(name="local", max_start_failures=2))
    assert not patience.failed_to_start("a")
    patience.started("a")
    assert [patience.failed_to_start("a") for _ in range(2)] == [False, True]
    assert not patience.failed_to_start("b")


def test_rests_double_to_a_minute_and_a_finished_slice_ends_that() -> None:
    patience = FailurePolicy(CONFIG)
    rests = []
    for now in range(8):
        assert patience.is_news("a", began_at=now, now=now)
        rests.append(patience.rest_s("a"))
    assert rests == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    patience.finished_slice("a")
    assert patience.is_news("a", began_at=9.0, now=9.0)
    assert patience.rest_s("a") == 1
    assert patience.rest_s("b") == 1


def test_copies_that_die_together_are_one_trouble() -> None:
    patience = FailurePolicy(CONFIG)
    assert [patience.is_news("a", began_at=float(copy), now=100.0 + copy) for copy in range(8)] == [True] + [False] * 7
    assert patience.rest_s("a") == 1
    assert patience.is_news("a", began_at=101.0, now=200.0)
    assert patience.rest_s("a") == 2
