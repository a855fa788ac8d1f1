"""The policy's arithmetic: the shortest time in which everything fits, and the replicas that it takes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.schedule.policy import AT_ONCE, STRETCH, Demand, choose_horizon, find_horizon, pile_up

DEMANDS = st.builds(
    Demand,
    work=st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 1000)), min_size=1, max_size=3).map(pile_up),
    load_s=st.floats(0, 100),
    units=st.sampled_from([0.0, 1.0, 2.0]),
    most=st.integers(1, 50),
)


def demand(work_s: float, load_s: float = 10.0, **facts: float) -> Demand:
    return Demand(work=((0.0, work_s),), load_s=load_s, units=1.0, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "horizon_s", "num_new"),
    [
        (demand(90), 100, 1),
        (demand(90), 99, 2),
        (demand(900), 100, 10),
        (demand(90), 10, math.inf),
        (demand(900, most=5), 100, math.inf),
        (demand(90, num_ready=1), 90, 0),
        (demand(180, num_ready=1), 100, 1),
        (demand(80, num_starting=1, starting_s=20), 100, 0),
        (demand(170, num_starting=1, starting_s=20), 100, 1),
        (demand(90, worth_s=50), 40, math.inf),
        (demand(90, num_ready=3, most=2), 100, 0),
        (demand(90), math.inf, 1),
        (demand(90, num_ready=1), math.inf, 0),
    ],
)
def test_replicas_that_a_horizon_takes(one: Demand, horizon_s: float, num_new: float) -> None:
    assert one.num_new(horizon_s) == num_new


def test_work_that_comes_late_needs_more_replicas() -> None:
    early, late = demand(90), replace(demand(90), work=((50.0, 90.0),))
    assert (early.num_new(100), late.num_new(100)) == (1, 2)


def test_work_is_piled_up_from_the_latest() -> None:
    work = pile_up([(0, 1), (30, 4), (10, 2), (30, 3)])
    assert work == ((30, 7), (10, 9), (0, 10))
    assert replace(demand(0), work=work).work_s == 10


def test_what_all_engines_can_begin_only_late_has_to_fit_into_what_is_left() -> None:
    late = replace(demand(90), work=((50.0, 90.0),))
    assert find_horizon([late], 2) == pytest.approx(50 + 90 / 2, rel=0.01)
    soon = replace(demand(0.09, load_s=0.01), work=((0.05, 0.09),))
    assert find_horizon([soon], 2) == pytest.approx(0.05 + 0.09 / 2, abs=0.005)
    assert find_horizon([late] * 3, 3) == pytest.approx(50 + 90, rel=0.01), "no GPU is there for a second replica"


@pytest.mark.parametrize(
    ("demands", "num_gpus", "horizon_s"),
    [
        ([demand(90)], 1, 100),
        ([demand(90)], 10, 19),
        ([demand(90), demand(40)], 1, 150),
        ([], 1, 0),
        ([demand(90)], 0, math.inf),
    ],
)
def test_the_horizon_is_the_shortest_time_in_which_all_of_it_fits(
    demands: list[Demand], num_gpus: float, horizon_s: float
) -> None:
    assert find_horizon(demands, num_gpus) == pytest.approx(horizon_s, rel=0.01, abs=0.01)


@given(st.lists(DEMANDS, min_size=1, max_size=4), st.integers(2, 16), st.booleans())
def test_more_gpus_or_less_work_never_take_longer(demands: list[Demand], num_gpus: int, at_once: bool) -> None:
    horizon_s = find_horizon(demands, num_gpus, at_once=at_once)
    close = 1.01
    assert find_horizon(demands, num_gpus + 1, at_once=at_once) <= horizon_s * close
    assert find_horizon(demands[1:], num_gpus, at_once=at_once) <= max(horizon_s, 0.01) * close


@given(st.lists(DEMANDS, min_size=1, max_size=4), st.integers(2, 16))
def test_the_horizon_holds_the_work_of_all_and_the_way_of_each(demands: list[Demand], num_gpus: int) -> None:
    horizon_s = find_horizon(demands, num_gpus) * 1.01
    assert horizon_s * num_gpus >= sum(one.units * (one.work_s + one.load_s) for one in demands)
    assert all(horizon_s >= max(head_s, one.load_s) for one in demands for head_s, _ in one.work)


@pytest.mark.parametrize(
    ("one", "horizon_s", "starts"),
    [
        (demand(90), 100, [0]),  # all of the time is needed
        (demand(45), 100, [45]),  # 10 to load, 45 to work: it may begin at 45
        (demand(225), 100, [0, 0, 45]),  # two and a half replicas
        (demand(135, num_ready=1), 100, [55]),
        (demand(90, tail_s=10), 100, [0, 70]),
        (demand(900), 50, [0] * 22 + [20]),
    ],
)
def test_the_last_of_the_replicas_has_time(one: Demand, horizon_s: float, starts: list[float]) -> None:
    found = one.latest_starts(horizon_s, int(one.num_new(horizon_s)))
    assert found == pytest.approx(starts, abs=0.1)


def test_work_that_comes_late_is_not_due_before_it_comes() -> None:
    late = replace(demand(90), work=((50.0, 90.0),))
    assert late.latest_starts(100, 2) == pytest.approx([40, 50])


@pytest.mark.parametrize(
    ("one", "horizon_s", "kept"),
    [
        (demand(90, num_ready=3), 100, 1),
        (demand(150, num_ready=3), 100, 2),
        (demand(150, num_ready=3, held_s=10), 100, 2),
        (demand(110, num_ready=3, held_s=10), 100, 1),  # the two that go do 20 of them
        (replace(demand(90, num_ready=3), work=((60.0, 80.0), (0.0, 90.0))), 100, 2),  # 40 s for what comes late
        (replace(demand(90, num_ready=3), work=((100.0, 1.0), (0.0, 2.0))), 100, math.inf),
    ],
)
def test_a_replica_that_goes_does_what_it_holds(one: Demand, horizon_s: float, kept: int) -> None:
    assert one.num_kept(horizon_s) == kept


def test_nothing_passes_from_engine_to_engine_where_all_end_soon_at_once() -> None:
    few = [demand(90), demand(88)]
    assert choose_horizon(few, 2) == pytest.approx(100, rel=0.01)
    assert find_horizon(few, 2) * AT_ONCE > 100


def test_what_passes_on_gets_a_little_more_time() -> None:
    many = [demand(90), demand(90), demand(90)]
    assert choose_horizon(many, 2) == pytest.approx(STRETCH * find_horizon(many, 2))
