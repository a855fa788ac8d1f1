"""The replica that only computes: never faster than its rate, and as fast as it where the batch is full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.estimate.simulated_replica import SimulatedReplica
from eibench_ray.plan.slices import Slice
from eibench_ray.schedule.decode_speed import ALONE_SPEEDUP, DecodeSpeed

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=60)


def slice_of(index: int, num_rows: int) -> Slice:
    return Slice("step", index, 0, num_rows)


def time_of(machine: SimulatedReplica) -> float:
    """When all that a machine holds has ended."""
    now = 0.0
    while (end := machine.next_end()) is not None:
        now = end
        machine.pop(now)
    return now


def time_alone(speed: DecodeSpeed, lengths: list[int]) -> float:
    machine = SimulatedReplica(speed, 0.0)
    machine.add(slice_of(0, len(lengths)), lengths, 0.0)
    return time_of(machine)


@pytest.mark.parametrize("capacity", [1, 2, 8, 128])
def test_full_batches_run_at_the_rate(capacity: int) -> None:
    lengths = [50] * (3 * capacity)
    assert time_alone(DecodeSpeed(100.0, capacity), lengths) == pytest.approx(sum(lengths) / 100.0)


@pytest.mark.parametrize(("capacity", "speedup"), [(1, 1.0), (2, 2.0), (64, ALONE_SPEEDUP)])
def test_a_row_alone_is_faster_than_one_in_a_full_batch(capacity: int, speedup: float) -> None:
    full_s = 100 * capacity / 400.0
    assert time_alone(DecodeSpeed(400.0, capacity), [100]) == pytest.approx(full_s / speedup)


@given(LENGTHS, st.integers(1, 16))
def test_rows_take_no_less_than_their_tokens_at_the_rate(lengths: list[int], capacity: int) -> None:
    speed = DecodeSpeed(70.0, capacity)
    took_s = time_alone(speed, lengths)
    assert took_s >= sum(lengths) / 70.0 * (1 - 1e-9)
    assert took_s >= max(lengths) * speed.alone_tick_s * (1 - 1e-9)
    assert took_s <= sum(lengths) * speed.full_tick_s * (1 + 1e-9)


@given(st.lists(st.tuples(LENGTHS, st.floats(0, 20)), min_size=1, max_size=6), st.integers(1, 16))
def test_slices_that_come_later_end_later_and_all_of_them_end(
    slices: list[tuple[list[int], float]], capacity: int
) -> None:
    speed, now, tokens = DecodeSpeed(300.0, capacity), 0.0, 0
    machine = SimulatedReplica(speed, now)
    ended: list[int] = []
    for index, (lengths, pause_s) in enumerate(slices):
        until = now + pause_s
        while (end := machine.next_end()) is not None and end <= until:
            assert end >= now - 1e-6
            now = max(now, end)
            ended.append(machine.pop(now).index)
        now = until
        machine.add(slice_of(index, len(lengths)), lengths, now)
        tokens += sum(lengths)
    while (end := machine.next_end()) is not None:
        assert end >= now - 1e-6
        now = max(now, end)
        ended.append(machine.pop(now).index)
    assert sorted(ended) == list(range(len(slices)))
    assert now >= tokens / speed.tokens_per_s * (1 - 1e-9)


def test_a_slice_in_the_queue_waits_for_lanes() -> None:
    machine = SimulatedReplica(DecodeSpeed(100.0, 2), 0.0)
    machine.add(slice_of(0, 2), [100, 100], 0.0)
    machine.add(slice_of(1, 2), [100, 100], 0.0)
    assert sorted(slice_.index for slice_ in machine.slices) == [0, 1]
    first = machine.next_end()
    assert first == pytest.approx(2.0)
    assert machine.pop(2.0).index == 0
    assert machine.next_end() == pytest.approx(4.0)


def test_rows_are_done_before_their_slice_is() -> None:
    machine = SimulatedReplica(DecodeSpeed(100.0, 2), 0.0)
    machine.add(slice_of(0, 3), [10, 100, 100], 0.0)
    assert [machine.rows_done(now) for now in (0.1, 0.3, 2.05)] == [0, 1, 2]
    machine.add(slice_of(1, 1), [50], 2.05)
    end = machine.next_end()
    assert end is not None
    machine.pop(end)
    assert machine.rows_done(end) == 0
