"""Holm's adjustment against R's, and against its definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.scoring.paired_tests import adjust_holm

P_VALUES = st.lists(st.floats(0, 1) | st.none(), max_size=12)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([None], [None]),
        ([0.2], [0.2]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),  # R: p.adjust(c(.01, .02, .03, .04), "holm")
        ([0.04, None, 0.01], [0.04, None, 0.02]),
        ([0.6, 0.5], [1.0, 1.0]),
    ],
)
def test_known_families(p_values: list[float | None], adjusted: list[float | None]) -> None:
    for found, expected in zip(adjust_holm(p_values), adjusted, strict=True):
        assert found == (None if expected is None else pytest.approx(expected))


@given(P_VALUES)
def test_a_line_passes_exactly_where_the_step_down_rejects_it(p_values: list[float | None]) -> None:
    level = 0.05
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    rejected = set()
    for rank, (p_value, index) in enumerate(tested):
        if p_value * (len(tested) - rank) > level:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(adjust_holm(p_values)) if p is not None and p <= level} == rejected


@given(P_VALUES)
def test_no_p_value_becomes_smaller_or_leaves_the_unit_interval(p_values: list[float | None]) -> None:
    for before, after in zip(p_values, adjust_holm(p_values), strict=True):
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert before <= after <= 1
