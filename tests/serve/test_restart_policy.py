"""A server that dies is started again, not for ever."""

from __future__ import annotations

from eibench_ray.serve.server_keeper import PAUSES_S, STEADY_S, RestartPolicy


def test_one_that_dies_again_and_again_is_waited_for_longer_and_then_given_up() -> None:
    restarts = RestartPolicy()
    pauses = [restarts.died(10.0) for _ in range(4)]
    assert pauses == [*PAUSES_S, None]
    assert list(PAUSES_S) == sorted(PAUSES_S)
    assert restarts.num_deaths == 4


def test_one_that_served_long_is_forgiven() -> None:
    restarts = RestartPolicy()
    for _ in range(3):
        restarts.died(0.0)
    assert restarts.died(STEADY_S) == PAUSES_S[0]
    assert restarts.died(STEADY_S - 1) == PAUSES_S[1]
