"""A replica's time, shared out among the rows that it has at once."""

from __future__ import annotations

import pytest

from eibench_ray.rows.asked_work import AskedWork, SharedTime


def test_each_second_is_shared_among_the_rows_of_that_second() -> None:
    time = SharedTime()
    first = time.begin(0.0)
    second = time.begin(4.0)
    assert time.end(second, 8.0) == pytest.approx(2.0)
    assert time.end(first, 10.0) == pytest.approx(8.0)
    third = time.begin(100.0)  # nobody has the seconds in which there was nothing
    assert time.end(third, 101.0) == pytest.approx(1.0)
    assert time.num_rows == 0


def test_a_sum_knows_how_many_rows_there_were_at_once() -> None:
    work = AskedWork()
    assert work.at_once == 1.0
    work.add(AskedWork(1, 10, 5, 1, engine_s=2.0, row_s=4.0))
    work.add(AskedWork(1, 10, 5, 0, engine_s=8.0, row_s=10.0))
    assert (work.rows, work.prompt_tokens, work.completion_tokens, work.pictures) == (2, 20, 10, 1)
    assert work.at_once == pytest.approx(1.4)
