"""Rates over the last half minute."""

from __future__ import annotations

from eibench_ray.driver.rate_meter import RateMeter


def test_a_rate_is_of_the_last_half_minute_and_not_known_before_anything_grows() -> None:
    now = [0.0]
    meter, told = RateMeter(lambda: now[0]), []
    for second in range(100):
        now[0] = float(second)
        meter.note({"rows": max(0, second - 20) * 2 if second < 50 else 60, "tokens": 7})
        told.append(meter.rate("rows"))
        assert meter.rate("tokens") is None
    assert told[:22] == [None] * 22  # it loads for 20 s
    assert told[22:51] == [2.0] * 29
    assert told[60] == 2.0 * 20 / 30  # it has stood still for 10 s of 30
    assert told[85] == 0.0
    assert meter.average("rows") == 60 / 79
    assert meter.average("tokens") is None


def test_a_count_that_is_new_is_measured_from_there_on() -> None:
    now = [0.0]
    meter = RateMeter(lambda: now[0])
    meter.note({"rows": 0})
    now[0] = 10.0
    meter.note({"rows": 10, "tokens": 0})
    now[0] = 20.0
    meter.note({"rows": 20, "tokens": 50})
    assert (meter.rate("rows"), meter.rate("tokens"), meter.rate("other")) == (1.0, 5.0, None)


def test_a_count_that_shrinks_as_a_replica_is_lost_has_no_rate_below_zero() -> None:
    now = [0.0]
    meter = RateMeter(lambda: now[0])
    for second, rows in enumerate((4, 4, 7, 3, 3, 3)):
        now[0] = float(second)
        meter.note({"rows": rows})
    assert (meter.average("rows"), meter.rate("rows")) == (0.0, 0.0)
