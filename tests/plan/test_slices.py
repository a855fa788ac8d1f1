"""Tests of `eibench_ray/plan/slices.py` and `packed_rows.py`."""

import random

import pytest

from eibench_ray.plan.packed_rows import pack, unpack
from eibench_ray.plan.slices import Slice, cut


def test_the_first_rows_are_cut_into_whole_ranges() -> None:
    assert list(cut("a", 10, 4)) == [Slice("a", 0, 0, 4), Slice("a", 1, 4, 8), Slice("a", 2, 8, 10)]
    assert list(cut("a", 0, 4)) == []


def test_chosen_rows_lie_in_the_slices_of_their_numbers() -> None:
    rows = sorted(random.Random(0).sample(range(1000), 100))
    slices = list(cut("a", rows, 16))
    assert [row for part in slices for row in part.rows] == rows
    assert all(row // 16 == part.index for part in slices for row in part.rows)
    assert sum(part.num_rows for part in slices) == 100
    assert all(part.pick(range(part.start, part.stop)) == part.rows for part in slices)


def test_neighbouring_rows_are_a_range() -> None:
    assert list(cut("a", [5, 6], 4)) == [Slice("a", 1, 5, 7)]


@pytest.mark.parametrize("rows", [[], [0], [7], [0, 1, 2], [3, 2**31, 2**32 - 1], list(range(0, 5000, 3))])
def test_packed_rows_come_back(rows: list[int]) -> None:
    assert list(unpack(pack(rows))) == rows


@pytest.mark.parametrize("text", ["!", "AAAA"])
def test_a_text_that_holds_no_rows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(text)
