"""Krippendorff's alpha against published examples, and against its definition over pairs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.scoring.judge_agreement import interval_alpha

NONE = float("nan")


def read(*observers: str) -> np.ndarray:
    return np.array([[NONE if value == "." else float(value) for value in line.split()] for line in observers])


# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), examples C and D: four observers, twelve units.
KRIPPENDORFF_2011 = read(
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
# Wikipedia, Krippendorff's alpha, "A computational example": three observers, fifteen units.
WIKIPEDIA = read(
    ". . . . . 3 4 1 2 1 1 3 3 . 3",
    "1 . 2 1 3 3 4 3 . . . . . . .",
    ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
)


@pytest.mark.parametrize(("values", "alpha"), [(KRIPPENDORFF_2011, 0.849), (WIKIPEDIA, 0.811)])
def test_published_examples(values: np.ndarray, alpha: float) -> None:
    found = interval_alpha(values)
    assert found is not None
    assert round(found, 3) == alpha


@pytest.mark.parametrize(
    ("values", "alpha"),
    [
        (read("1 2 3", "1 2 3"), 1.0),
        (read("1 2", "2 1"), -0.5),
        (read("1 1", "1 1"), None),  # nothing varies
        (read("1 .", ". 2"), None),  # no unit has two values
        (read("1 2 3"), None),
        (read("1 . 2 9", "1 . 2 ."), 1.0),
    ],
)
def test_edges(values: np.ndarray, alpha: float | None) -> None:
    assert interval_alpha(values) == (None if alpha is None else pytest.approx(alpha))


def test_no_unit_at_all_has_no_alpha() -> None:
    assert interval_alpha(np.empty((2, 0))) is None


@given(st.lists(st.lists(st.integers(0, 4) | st.none(), min_size=3, max_size=3), min_size=1, max_size=8))
def test_alpha_is_its_definition_over_pairs(units: list[list[int | None]]) -> None:
    found = interval_alpha(np.array([[NONE if v is None else float(v) for v in unit] for unit in units]).T)
    pairable = [given for unit in units if len(given := [v for v in unit if v is not None]) > 1]
    pooled = [value for unit in pairable for value in unit]
    expected = sum((a - b) ** 2 for a, b in permutations(pooled, 2))
    if not expected:
        assert found is None
        return
    observed = sum((a - b) ** 2 / (len(unit) - 1) for unit in pairable for a, b in permutations(unit, 2))
    assert found == pytest.approx(1 - (len(pooled) - 1) * observed / expected)
